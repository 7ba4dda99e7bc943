//! `WS /ws?room=&token=`: the WebSocket of a page that was written for a small selective forwarding unit, while `compat.sfu` is on. Its
//! messages are in [`signal`](crate::compat::sfu::signal).
//!
//! A page leaves by closing the WebSocket: its peer is then removed.

use std::convert::Infallible;

use actix_web::{HttpRequest, HttpResponse, web};
use common::api::PeerKind;
use common::id::{PeerId, StreamerId};
use common::ipc::{self, Json, Tell};
use common::signal::Capabilities;
use serde::Deserialize;
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::gate::Gate;
use super::opened::Opened;
use super::websocket::{End, Frame, WebSocket};
use crate::cluster::Membership;
use crate::compat::sfu::signal::{Input, Output, Translator, parse};
use crate::http::problem::ApiError;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry;
use crate::secret::Secret;
use crate::socket::{Out, Outbox, Socket};
use crate::supervisor;

/// The query of such a page.
#[derive(Deserialize)]
struct Query {
    room: StreamerId,
    #[serde(default)]
    token: Option<String>,
}

/// The room that a query names, if it names one.
pub fn room_of(query: &str) -> Option<StreamerId> {
    Some(web::Query::<Query>::from_query(query).ok()?.into_inner().room)
}

/// Meet in a room, as a page of that kind.
///
/// # Errors
/// It is no WebSocket, the token permits nothing, or there is no such room.
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    mut gate: Gate,
    registry: web::Data<registry::Handle>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let query = web::Query::<Query>::from_query(request.query_string());
    let Query { room, token } =
        query.map_err(|error| ApiError::field("room", error.to_string()))?.into_inner();
    let token = token.map(Secret::new);
    // Checked before the WebSocket is there, so that a page learns by the status what is wrong.
    let right = gate.enter(token.as_ref().map(Secret::expose), &room)?;
    let streamer = registry.get(&room).await?;
    if streamer.spec.room.is_none() {
        return Err(ApiError::NoRoom(room));
    }
    let limits = gate.limits();
    let longest = limits.config().message_bytes as usize;
    let (response, websocket) = WebSocket::open(&request, payload, &[], longest, limits)?;
    let registry = registry.get_ref().clone();
    let metrics = metrics.get_ref().clone();
    let span = tracing::info_span!("sfu", streamer = %room, peer = Empty);
    let connection = Opened { id: room, gate, registry, metrics, ice: ice.into_inner(), cluster, websocket };
    let (socket, outbox) = Socket::of_everything();
    let join = ipc::Join::Native {
        resume: None,
        socket: socket.number(),
        role: right.role(),
        // Those pages show a picture for each section that sends, and are offered to again with each change.
        capabilities: Capabilities { preallocated_slots: false, srtp_gcm: false },
        ticket: right.ticket(),
        person: right.person(),
    };
    let page = Page { connection, socket, outbox, translator: Translator::default() };
    actix_web::rt::spawn(page.run(join).instrument(span));
    Ok(response)
}

struct Page {
    connection: Opened,
    socket: Socket,
    outbox: Outbox,
    translator: Translator,
}

impl Page {
    async fn run(mut self, join: ipc::Join) {
        let end = match self.converse(join).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::debug!(?end, "WebSocket of a page ended");
        self.connection.websocket.close(end).await;
    }

    async fn converse(&mut self, join: ipc::Join) -> Result<Infallible, End> {
        let joined = self.connection.join(join, &self.socket).await;
        self.connection.metrics.join(PeerKind::Native, joined.is_ok());
        let (streamer, peer) = joined?;
        Span::current().record("peer", display(peer));
        let end = self.relay(&streamer, peer).await;
        self.connection.leave(peer, &self.socket, &end).await;
        end
    }

    async fn relay(&mut self, streamer: &supervisor::Handle, peer: PeerId) -> Result<Infallible, End> {
        loop {
            let input = tokio::select! {
                frame = self.connection.websocket.receive() => match frame? {
                    Frame::Text(text) => parse(&text).map(Input::Heard),
                    Frame::Binary(_) => None,
                },
                Some(out) = self.outbox.queue.recv() => match out {
                    Out::Message(mut message) => {
                        self.connection.complete(&mut message);
                        Some(Input::Said(*message))
                    }
                    // Broadcasts are encoded for our own protocol.
                    Out::Text(text) => serde_json::from_str(&text).ok().map(Input::Said),
                    Out::State(state) => Some(Input::State(state)),
                    Out::Close(why) => return Err(End::Closed(why)),
                },
                () = self.outbox.kick.cancelled() => return Err(End::policy("you do not read")),
                () = self.connection.gate.revoked() => return Err(End::revoked()),
            };
            // Unknown messages are ignored, as those pages ignore unknown ones.
            let Some(input) = input else { continue };
            for output in self.translator.handle(input) {
                match output {
                    Output::Say(text) => {
                        self.connection.websocket.send(text.into(), &self.outbox.kick).await?;
                    }
                    Output::Tell(message) => {
                        let message = Tell::FromPeer { peer, message: Json(message) };
                        streamer.tell(message).await.map_err(|error| End::refused(error.to_string()))?;
                    }
                }
            }
        }
    }
}
