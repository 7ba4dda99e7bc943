//! `WS /api/ws`: the `multistream/*` protocol, [`common::multistream`], for the configured streams.
//!
//! `protocol` decides, and this module carries out its outputs. From its offer on, a client is a peer of the streamer,
//! which owns it from then on: when the WebSocket is lost, the streamer keeps the peer for 10 s, and a client
//! that reconnects with its `session` finds it as it was, also after a restart of this server.
//!
//! How a WebSocket ends is in [`super::websocket`]. Only 1002, 1008, 1009 and 1012 occur here: when a session ends,
//! its WebSocket stays open for another one.

mod protocol;

use std::collections::VecDeque;
use std::sync::Arc;

use actix_web::{HttpRequest, HttpResponse, web};
use chrono::Utc;
use common::api::PeerKind;
use common::id::{PeerId, StreamerId};
use common::ipc::{self, Json, Tell, Ticket};
use common::multistream::{ClientMessage, SUBPROTOCOL};
use common::signal::{AudioLayout, StreamerState};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use self::protocol::{Input, Join, Output, Protocol, Refusal};
use super::audio_layout;
use super::gate::Gate;
use super::websocket::{End, Frame, JOIN_DEADLINE, WebSocket};
use crate::http::problem::ApiError;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::request::Denied;
use crate::registry::{self, Joined};
use crate::socket::{Close, Out, Outbox, Socket};
use crate::supervisor;
use crate::supervisor::ask::AskError;

/// Longest message that is read at all, bytes. The reply to one that is longer than `limits.message_bytes` is an error;
/// one that is longer than this ends the WebSocket.
const MAX_READ: usize = 2 * 1024 * 1024;

/// The parameters of this endpoint.
#[derive(Debug, Clone)]
pub struct Config {
    /// The streamer of the configured streams.
    pub streamer: StreamerId,
    /// There are configured streams.
    pub configured: bool,
    /// Most slots of one client.
    pub max_slots: u8,
}

/// Watch many streams over one connection, by the `multistream/*` protocol.
///
/// # Errors
/// It is no WebSocket.
#[utoipa::path(
    get, path = "/api/ws", tag = "signalling", operation_id = "multistream",
    params(("audio" = Option<String>, Query, description = "`tracks`, the default: each slot's sound in a section of its own; `mix`: the sound of all slots as one stream, in the first audio section")),
    responses((status = 101, description = "WebSocket, JSON texts `multistream/*`")),
)]
#[expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    gate: Gate,
    registry: web::Data<registry::Handle>,
    config: web::Data<Config>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
) -> Result<HttpResponse, ApiError> {
    let audio = audio_layout(&request)?;
    let (response, websocket) = WebSocket::open(&request, payload, &[SUBPROTOCOL], MAX_READ, gate.limits())?;
    let longest = gate.limits().config().message_bytes as usize;
    // The first message, which may ask for a session, is due at once.
    let ice_servers = ice.servers(Utc::now(), config.streamer.as_str());
    let connection = ClientConnection {
        gate,
        ticket: Ticket::default(),
        audio,
        registry: registry.get_ref().clone(),
        protocol: Protocol::new(protocol::Config { max_slots: config.max_slots, ice_servers }),
        metrics: metrics.get_ref().clone(),
        websocket,
        longest,
        peer: None,
        config: config.into_inner(),
    };
    let span = tracing::info_span!("multistream", streamer = %connection.config.streamer, peer = Empty);
    actix_web::rt::spawn(connection.run().instrument(span));
    Ok(response)
}

struct ClientConnection {
    gate: Gate,
    /// What it was admitted by, once it was.
    ticket: Ticket,
    /// How sound is to come to it.
    audio: AudioLayout,
    config: Arc<Config>,
    registry: registry::Handle,
    metrics: Metrics,
    protocol: Protocol,
    websocket: WebSocket,
    /// Longest message, bytes.
    longest: usize,
    peer: Option<JoinedPeer>,
}

/// A client with a session and a peer connection.
struct JoinedPeer {
    id: PeerId,
    streamer: supervisor::Handle,
    socket: Socket,
    outbox: Outbox,
}

impl ClientConnection {
    async fn run(mut self) {
        let end = match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::debug!(?end, "multistream WebSocket ended");
        self.leave(self.gate.is_revoked()).await;
        self.websocket.close(end).await;
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        loop {
            tokio::select! {
                frame = self.websocket.receive() => {
                    let input = read(frame?, self.longest);
                    self.step(input).await?;
                }
                out = next(&mut self.peer) => self.take(out?).await?,
                () = self.gate.revoked() => return Err(End::revoked()),
            }
        }
    }

    /// Messages of the registry for this client.
    async fn take(&mut self, out: Out) -> Result<(), End> {
        match out {
            Out::Message(message) => self.step(Input::Said(*message)).await,
            Out::Close(Close::Peer(reason) | Close::Streamer(reason)) => {
                // The registry has already removed what it closes.
                self.peer = None;
                self.step(Input::Gone(reason)).await
            }
            Out::Close(Close::Server) => {
                self.step(Input::Gone("the server is restarting".into())).await?;
                Err(End::Closed(Close::Server))
            }
            // A socket for messages receives no texts.
            Out::Text(_) | Out::State(_) => Ok(()),
        }
    }

    /// Carries out what follows from `input`, and what follows from that in turn.
    async fn step(&mut self, input: Input) -> Result<(), End> {
        let mut inputs = VecDeque::from([input]);
        while let Some(input) = inputs.pop_front() {
            for output in self.protocol.handle(input) {
                match output {
                    Output::Say(text) => self.say(text).await?,
                    Output::Check { token } => {
                        inputs.push_back(Input::Checked(self.check(token.as_deref()).await));
                    }
                    Output::Join(join) => inputs.push_back(self.join(join).await),
                    Output::Leave => self.leave(true).await,
                    Output::Tell(message) => {
                        if let Some(JoinedPeer { id: peer, streamer, .. }) = &self.peer {
                            let message = Tell::FromPeer { peer: *peer, message: Json(message) };
                            if let Err(error) = streamer.tell(message).await {
                                self.peer = None;
                                inputs.push_back(Input::Gone(error.to_string()));
                            }
                        }
                    }
                }
            }
        }
        Ok(())
    }

    async fn say(&mut self, text: String) -> Result<(), End> {
        let kick = self.peer.as_ref().map_or_else(CancellationToken::new, |peer| peer.outbox.kick.clone());
        self.websocket.send(text.into(), &kick).await
    }

    /// A secret for a new session, if the client may have one and there is a streamer for it.
    async fn check(&mut self, token: Option<&str>) -> Result<String, String> {
        let Config { streamer: id, configured, .. } = &*self.config;
        let right = self.gate.enter(token, id).map_err(|refused| refused.problem("").detail)?;
        tracing::info!(%id, by = right.name(), "joining by multistream");
        self.ticket = Ticket { audio: self.audio, ..right.ticket() };
        let known = match self.registry.get(id).await {
            Err(Denied::NotFound(_)) if !configured => {
                return Err(
                    "no streams are configured; name some in \"streams\" of the configuration file".into()
                );
            }
            known => known.map_err(|error| error.to_string())?,
        };
        match known.state {
            StreamerState::Failed
            | StreamerState::Stopped
            | StreamerState::Stopping
            | StreamerState::Lost => {
                let reason = known.reason.unwrap_or_default();
                Err(format!("the streamer {id} does not run: {reason}"))
            }
            _ => secret(),
        }
    }

    async fn join(&mut self, join: Join) -> Input {
        let refused = |error: ApiError| {
            let problem = error.problem("");
            Input::Refused(Refusal { ended: problem.code == "session_not_found", message: problem.detail })
        };
        let (socket, outbox) = Socket::of_messages();
        let number = socket.number();
        let join = match join {
            Join::Offer { sdp: offer, slots, session } => {
                let ticket = self.ticket;
                ipc::Join::Multistream { offer, slots, session, socket: number, ticket }
            }
            Join::Resume { session } => ipc::Join::ResumeMultistream { session, socket: number },
        };
        let joining = self.registry.join(&self.config.streamer, join, socket.clone());
        let joining = timeout(JOIN_DEADLINE, joining).await;
        self.metrics.join(PeerKind::Multistream, matches!(joining, Ok(Ok(_))));
        match joining {
            Err(_) => refused(AskError::Timeout(JOIN_DEADLINE).into()),
            Ok(Err(error)) => refused(error.into()),
            Ok(Ok(Joined { streamer, peer, answer })) => {
                Span::current().record("peer", display(peer));
                self.peer = Some(JoinedPeer { id: peer, streamer, socket, outbox });
                Input::Joined(answer)
            }
        }
    }

    /// The client is no longer a peer, or cannot be reached.
    async fn leave(&mut self, said_bye: bool) {
        if let Some(peer) = self.peer.take() {
            self.registry.leave(&self.config.streamer, peer.id, peer.socket.number(), said_bye).await;
        }
    }
}

fn read(frame: Frame, longest: usize) -> Input {
    match frame {
        Frame::Text(text) if text.len() > longest => {
            Input::Unreadable(format!("message: at most {longest} bytes, not {}", text.len()))
        }
        Frame::Text(text) => Input::Heard(ClientMessage::decode(&text)),
        Frame::Binary(_) => Input::Unreadable("message: must be a text in JSON, not binary".into()),
    }
}

/// The next message for the peer; pending while there is no peer. Cancel safe.
async fn next(peer: &mut Option<JoinedPeer>) -> Result<Out, End> {
    let Some(JoinedPeer { outbox, .. }) = peer else { return std::future::pending().await };
    tokio::select! {
        () = outbox.kick.cancelled() => Err(End::policy("you do not read")),
        out = outbox.queue.recv() => match out {
            Some(out) => Ok(out),
            // The socket in the same struct keeps it open.
            None => std::future::pending().await,
        }
    }
}

/// A random secret of 256 bits.
fn secret() -> Result<String, String> {
    let mut bytes = [0; 32];
    getrandom::fill(&mut bytes).map_err(|error| format!("no randomness: {error}"))?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}
