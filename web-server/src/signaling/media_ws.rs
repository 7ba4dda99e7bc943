//! `WS /api/streamers/{id}/media`: the media socket of a peer, for viewers that neither UDP nor TCP of ICE reaches.
//!
//! ```text
//! open ──attach──▶ (streamer: it is the peer's) ──▶ relaying ──▶ closed
//!   └──10 s without it──┴──refused────────────────────────────────▶ closed
//! ```
//!
//! The first message, in text, says whose it is ([`AttachMedia`]); the streamer decides by its resume token. After it, frames of
//! [`common::media_socket`] are relayed on a connection to the streamer's process that belongs to this socket alone. We read their lengths
//! and nothing else. At most one frame is held here in each direction: a client that does not read holds up its own socket only, and the
//! streamer sends it no pictures. Our own end costs the viewer a new media socket.

use std::io;

use actix_web::{HttpRequest, HttpResponse, web};
use bytes::BytesMut;
use common::id::StreamerId;
use common::media_socket::{
    AttachMedia, MAX_TO_CLIENT, MAX_TO_STREAMER, PREFIX, SUBPROTOCOL, length, prefix,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::{Duration, timeout};
use tracing::Instrument;

use super::gate::Gate;
use super::websocket::{End, Frame, Sender, WebSocket};
use crate::http::problem::ApiError;
use crate::metrics::Metrics;
use crate::metrics::media::Outcome;
use crate::registry;
use crate::socket::Close;
use crate::supervisor::link::open_media;

/// The first message must come within this time.
const ATTACH_DEADLINE: Duration = Duration::from_secs(10);
/// Messages about what has been received, each second, besides those that `limits.data_messages_per_second` allows.
const ACKNOWLEDGEMENTS: u32 = 500;

/// Whether there are media sockets at all.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// `webrtc.websocket_media`.
    pub enabled: bool,
}

/// Receive media, and steer, where WebRTC does not get through.
///
/// # Errors
/// It is no WebSocket, there is no such streamer, or there are no media sockets.
#[utoipa::path(
    get, path = "/api/streamers/{id}/media", tag = "signalling", operation_id = "connect_media",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header,
         description = "`oriel.media.v1`; a token may stand beside it, as `oriel.token.…`, or come in the first message"),
    ),
    responses((status = 101, description = "WebSocket, subprotocol `oriel.media.v1`")),
)]
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    gate: Gate,
    registry: web::Data<registry::Handle>,
    metrics: web::Data<Metrics>,
    config: web::Data<Config>,
) -> Result<HttpResponse, ApiError> {
    if !config.enabled {
        return Err(ApiError::NoMediaSockets);
    }
    let id = StreamerId::parse(request.match_info().query("id"));
    let id = id.map_err(|error| ApiError::field("id", error.to_string()))?;
    if !gate.is_anonymous() {
        // Others must not learn whether it exists.
        registry.get(&id).await?;
    }
    let limits = gate.limits();
    let rate = limits.config().data_messages_per_second.saturating_add(ACKNOWLEDGEMENTS);
    let (response, mut websocket) =
        WebSocket::open(&request, payload, &[SUBPROTOCOL], MAX_TO_STREAMER, limits)?;
    websocket.allow(f64::from(rate));
    let span = tracing::info_span!("media", streamer = %id);
    let registry = registry.get_ref().clone();
    let metrics = metrics.get_ref().clone();
    let connection = Opened { id, gate, registry, metrics, websocket };
    actix_web::rt::spawn(connection.run().instrument(span));
    Ok(response)
}

struct Opened {
    id: StreamerId,
    gate: Gate,
    registry: registry::Handle,
    metrics: Metrics,
    websocket: WebSocket,
}

impl Opened {
    async fn run(mut self) {
        let attached = timeout(ATTACH_DEADLINE, self.attach()).await;
        let attached =
            attached.unwrap_or_else(|_| Err(End::policy("no message within 10 s that says whose it is")));
        let end = match attached {
            Ok(stream) => self.relay(stream).await,
            Err(end) => {
                self.metrics.media().count(Outcome::Refused);
                end
            }
        };
        tracing::debug!(?end, "media socket ended");
        self.websocket.close(end).await;
    }

    /// Learns whose it is, and connects to the streamer.
    async fn attach(&mut self) -> Result<UnixStream, End> {
        let Frame::Text(text) = self.websocket.receive().await? else {
            return Err(End::policy("the first message is text: whose media socket this is"));
        };
        let mut attach: AttachMedia = serde_json::from_str(&text)
            .map_err(|error| End::policy(&format!("the first message: {error}")))?;
        let token = attach.token.take();
        self.gate
            .enter(token.as_deref(), &self.id)
            .map_err(|refused| End::refused(refused.problem("").detail))?;
        let dir = self.registry.run_dir(&self.id).await.map_err(|denied| End::refused(denied.to_string()))?;
        tracing::debug!(peer = %attach.peer_id, "attaching");
        open_media(&dir, attach).await.map_err(|error| {
            tracing::warn!(%error, "no connection for a media socket");
            End::refused("the streamer does not take it")
        })
    }

    async fn relay(&mut self, stream: UnixStream) -> End {
        let (reader, writer) = stream.into_split();
        let sender = self.websocket.sender();
        tokio::select! {
            end = to_client(reader, sender, &self.metrics) => end,
            end = to_streamer(&mut self.websocket, writer) => end,
            () = self.gate.revoked() => End::revoked(),
        }
    }
}

async fn to_client(mut reader: OwnedReadHalf, mut sender: Sender, metrics: &Metrics) -> End {
    let mut attached = false;
    loop {
        let Ok(frame) = read_frame(&mut reader).await else {
            if !attached {
                metrics.media().count(Outcome::Refused);
            }
            let why = if attached {
                "another media socket has taken its place, or the peer is gone"
            } else {
                "there is no such peer, or its resume token is another one"
            };
            return End::Closed(Close::Peer(why.to_owned()));
        };
        if !attached {
            attached = true;
            metrics.media().count(Outcome::Attached);
        }
        if let Err(end) = sender.binary(frame.freeze()).await {
            return end;
        }
    }
}

async fn read_frame(reader: &mut OwnedReadHalf) -> io::Result<BytesMut> {
    let mut header = [0; PREFIX];
    reader.read_exact(&mut header).await?;
    let mut frame = BytesMut::zeroed(length(header, MAX_TO_CLIENT).map_err(io::Error::other)?);
    reader.read_exact(&mut frame).await?;
    Ok(frame)
}

async fn to_streamer(websocket: &mut WebSocket, mut writer: OwnedWriteHalf) -> End {
    loop {
        let frame = match websocket.receive().await {
            Ok(Frame::Binary(frame)) => frame,
            Ok(Frame::Text(_)) => return End::policy("all messages but the first are binary"),
            Err(end) => return end,
        };
        let Some(header) = prefix(&frame).filter(|_| !frame.is_empty()) else {
            return End::policy("a message without bytes");
        };
        // As much as the streamer reads: what the client sends meanwhile waits in the network.
        let written = async {
            writer.write_all(&header).await?;
            writer.write_all(&frame).await
        };
        if written.await.is_err() {
            return End::Closed(Close::Peer("the streamer has closed it".to_owned()));
        }
    }
}
