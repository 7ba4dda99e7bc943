//! `WS /api/streamers/{id}/peer`: the native protocol, [`common::signal`].
//!
//! ```text
//! open ──hello──▶ joining ──(streamer: peer added)──▶ relaying ──▶ closed
//!   └──10 s without hello──────────┴──refused──────────────────────▶ closed
//! ```
//!
//! When a WebSocket is lost its peer stays alive: media does not pass here, and the viewer may reconnect with
//! its `resumeToken`. Only `bye` ends the peer. Close codes are in [`super::websocket`].
//!
//! A client that offers no subprotocol and does not speak first is a page that was written for another server;
//! see [`multi_webrtc`].

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use bytestring::ByteString;
use common::api::PeerKind;
use common::id::{PeerId, StreamerId};
use common::ipc::{Join, Json, Tell, Ticket};
use common::person::{Person, Rights, check_display_name};
use common::signal::{ClientMessage, Role, SUBPROTOCOL, ServerMessage};
use common::spec::validate_peer_bitrate;
use serde::Deserialize;
use tokio::time::{sleep, timeout};
use tracing::field::{Empty, display};
use tracing::{Instrument, Span};

use super::gate::Gate;
use super::multi_webrtc;
use super::opened::Opened;
use super::read_layout;
use super::websocket::{End, Frame, JOIN_DEADLINE, WebSocket};
use crate::auth::Right;
use crate::cluster::Membership;
use crate::http::problem::ApiError;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry::{self, Joined};
use crate::socket::{Out, Outbox, Socket, to_text};
use crate::supervisor;

/// The client's `hello` must come within this time.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// A client without a subprotocol must send `hello` within this time to be taken for one of ours: long enough for any network, and
/// a hardly noticeable delay for a page that waits for us to begin.
const SILENCE: Duration = Duration::from_millis(700);

/// Watch and steer, by the native protocol.
///
/// # Errors
/// It is no WebSocket, or there is no such streamer.
#[utoipa::path(
    get, path = "/api/streamers/{id}/peer", tag = "signalling", operation_id = "connect_peer",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header,
         description = "`oriel.v1`; a token may stand beside it, as `oriel.token.…`, or come in `hello`"),
    ),
    responses((status = 101, description = "WebSocket, subprotocol `oriel.v1`")),
)]
pub async fn connect(
    request: HttpRequest,
    payload: web::Payload,
    gate: Gate,
    registry: web::Data<registry::Handle>,
    metrics: web::Data<Metrics>,
    ice: web::Data<ice::Config>,
    cluster: Membership,
) -> Result<HttpResponse, ApiError> {
    let limits = gate.limits();
    let id = streamer(&request, &gate, &registry).await?;
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    let known = offered.is_some();
    if let Some(offered) = offered.map(|value| value.to_str().unwrap_or_default())
        && !offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL)
    {
        return Err(ApiError::WebSocket(format!("its subprotocol is {SUBPROTOCOL}")));
    }
    let longest = limits.config().message_bytes as usize;
    let (response, websocket) = WebSocket::open(&request, payload, &[SUBPROTOCOL], longest, limits)?;
    let registry = registry.get_ref().clone();
    let metrics = metrics.get_ref().clone();
    let span = tracing::info_span!("peer", streamer = %id, socket = Empty, peer = Empty);
    let ice = ice.into_inner();
    let connection = Opened { id, gate, registry, metrics, ice, cluster, websocket };
    actix_web::rt::spawn(connection.run(known).instrument(span));
    Ok(response)
}

/// The streamer that the path names. Whether it exists is checked only for clients that are authenticated already: others must not
/// learn it.
async fn streamer(
    request: &HttpRequest,
    gate: &Gate,
    registry: &registry::Handle,
) -> Result<StreamerId, ApiError> {
    let text = request.match_info().query("id");
    let parsed = StreamerId::parse(text).map_err(|error| ApiError::field("id", error.to_string()));
    if gate.is_anonymous() {
        return parsed;
    }
    let missing = match parsed {
        Err(error) => error,
        Ok(id) => match registry.get(&id).await {
            Ok(_) => return Ok(id),
            Err(denied) => denied.into(),
        },
    };
    match multi_webrtc::without_tab(text) {
        Some(id) if registry.get(&id).await.is_ok() => Ok(id),
        _ => Err(missing),
    }
}

impl Opened {
    /// `ours`: the client has offered the subprotocol.
    async fn run(mut self, ours: bool) {
        let first = match ours {
            true => None,
            false => timeout(SILENCE, self.websocket.receive()).await.ok(),
        };
        match first {
            None if !ours && !self.gate.is_anonymous() => multi_webrtc::run(self, None).await,
            Some(Ok(Frame::Text(text))) if multi_webrtc::speaks(&text) => {
                multi_webrtc::run(self, Some(Frame::Text(text))).await;
            }
            Some(Err(end)) => self.websocket.close(end).await,
            first => Native::new(self).run(first.and_then(Result::ok)).await,
        }
    }
}

/// A WebSocket on which our own protocol is spoken.
struct Native {
    connection: Opened,
    socket: Socket,
    outbox: Outbox,
}

impl Native {
    fn new(connection: Opened) -> Self {
        let (socket, outbox) = Socket::new();
        Span::current().record("socket", socket.number());
        Self { connection, socket, outbox }
    }

    async fn run(mut self, first: Option<Frame>) {
        let end = match self.converse(first).await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::debug!(?end, "WebSocket ended");
        self.connection.websocket.close(end).await;
    }

    async fn converse(&mut self, first: Option<Frame>) -> Result<std::convert::Infallible, End> {
        let hello = timeout(HELLO_DEADLINE, self.hello(first)).await;
        let join = hello.unwrap_or_else(|_| Err(End::policy("no hello within 10 s")))?;
        let joined = self.join(join).await;
        self.connection.metrics.join(PeerKind::Native, joined.is_ok());
        let (streamer, peer) = joined?;
        Span::current().record("peer", display(peer));
        let end = self.relay(&streamer, peer).await;
        let said_bye = matches!(end, Err(End::Bye)) || self.connection.gate.is_revoked();
        self.connection.registry.leave(&self.connection.id, peer, self.socket.number(), said_bye).await;
        end
    }

    /// Waits for `hello`; the reply to everything else is an error.
    async fn hello(&mut self, mut first: Option<Frame>) -> Result<Join, End> {
        loop {
            let said = match first.take() {
                Some(frame) => self.received(frame).await?,
                None => self.receive().await?,
            };
            match said {
                Some(ClientMessage::Hello {
                    token,
                    resume,
                    role,
                    rights,
                    display_name,
                    max_bitrate_kbps,
                    audio,
                    pointers,
                    capabilities,
                }) => {
                    let right = match self.connection.gate.enter(token.as_deref(), &self.connection.id) {
                        Ok(right) => right,
                        Err(refused) => return Err(self.refuse(refused).await?),
                    };
                    let role = role.unwrap_or(Role::Controller).min(right.role());
                    let socket = self.socket.number();
                    let ticket = match ticket(&right, max_bitrate_kbps, audio.as_deref()) {
                        Ok(ticket) => Ticket { pointers, ..ticket },
                        Err(invalid) => return Err(self.refuse(invalid).await?),
                    };
                    let person = match person(&right, rights.as_ref(), display_name) {
                        Ok(person) => person,
                        Err(invalid) => return Err(self.refuse(invalid).await?),
                    };
                    tracing::info!(id = %self.connection.id, socket, ?role, by = right.name(), "joining");
                    return Ok(Join::Native { resume, socket, role, capabilities, ticket, person });
                }
                Some(ClientMessage::Bye) => return Err(End::Bye),
                Some(_) => self.error("hello_expected", "say hello first").await?,
                None => {}
            }
        }
    }

    /// Tells the client why it is refused. Returns how the WebSocket ends.
    async fn refuse(&mut self, refused: ApiError) -> Result<End, End> {
        let problem = refused.problem("");
        self.error_in(&problem.code, &problem.detail, problem.field).await?;
        Ok(End::refused(problem.detail))
    }

    async fn join(&mut self, join: Join) -> Result<(supervisor::Handle, PeerId), End> {
        let registry = self.connection.registry.clone();
        let id = self.connection.id.clone();
        let socket = self.socket.clone();
        let joining = async move { registry.join(&id, join, socket).await };
        tokio::pin!(joining);
        let deadline = sleep(JOIN_DEADLINE);
        tokio::pin!(deadline);
        loop {
            let out = tokio::select! {
                // First the reply of the join: what follows in the queue is for that peer.
                biased;
                joined = &mut joining => match joined {
                    Ok(Joined { streamer, peer, .. }) => return Ok((streamer, peer)),
                    Err(error) => {
                        let problem = ApiError::from(error).problem("");
                        self.error(&problem.code, &problem.detail).await?;
                        return Err(End::refused(problem.detail));
                    }
                },
                Some(out) = self.outbox.queue.recv() => out,
                () = &mut deadline => return Err(End::refused("joining took too long")),
            };
            self.write(out).await?;
        }
    }

    async fn relay(
        &mut self,
        streamer: &supervisor::Handle,
        peer: PeerId,
    ) -> Result<std::convert::Infallible, End> {
        loop {
            tokio::select! {
                frame = self.connection.websocket.receive() => {
                    if let Some(message) = self.received(frame?).await? {
                        self.forward(streamer, peer, message).await?;
                    }
                }
                Some(out) = self.outbox.queue.recv() => self.write(out).await?,
                () = self.outbox.kick.cancelled() => return Err(End::policy("you do not read")),
                () = self.connection.gate.revoked() => return Err(End::revoked()),
            }
        }
    }

    async fn forward(
        &mut self,
        streamer: &supervisor::Handle,
        peer: PeerId,
        message: ClientMessage,
    ) -> Result<(), End> {
        match message {
            ClientMessage::Bye => Err(End::Bye),
            ClientMessage::Hello { .. } => self.error("already_joined", "hello has been said").await,
            message => {
                let message = Tell::FromPeer { peer, message: Json(message) };
                streamer.tell(message).await.map_err(|error| End::refused(error.to_string()))
            }
        }
    }

    /// The next message of the client; `None` for one that was refused here.
    async fn receive(&mut self) -> Result<Option<ClientMessage>, End> {
        let frame = self.connection.websocket.receive().await?;
        self.received(frame).await
    }

    async fn received(&mut self, frame: Frame) -> Result<Option<ClientMessage>, End> {
        match frame {
            Frame::Text(text) => match parse(&text) {
                Ok(message) => return Ok(Some(message)),
                Err((code, message)) => self.error(code, &message).await?,
            },
            Frame::Binary(_) => self.error("binary_not_supported", "this protocol is JSON text").await?,
        }
        Ok(None)
    }

    async fn error(&mut self, code: &str, message: &str) -> Result<(), End> {
        self.error_in(code, message, None).await
    }

    async fn error_in(&mut self, code: &str, message: &str, field: Option<String>) -> Result<(), End> {
        let message =
            ServerMessage::Error { code: code.into(), message: message.into(), field, request_id: None };
        self.write(Out::Text(to_text(&message))).await
    }

    async fn write(&mut self, out: Out) -> Result<(), End> {
        let text = match out {
            Out::Text(text) => text,
            Out::Message(mut message) => {
                self.connection.complete(&mut message);
                to_text(&message)
            }
            Out::Close(why) => return Err(End::Closed(why)),
            // A native viewer learns this from its connection.
            Out::State(_) => return Ok(()),
        };
        self.connection.websocket.send(text, &self.outbox.kick).await
    }
}

/// Who the client is to the others: what its token says, where that says something.
///
/// # Errors
/// The name in `hello` is not valid, whether or not it counts.
fn person(right: &Right, rights: Option<&Rights>, display_name: Option<String>) -> Result<Person, ApiError> {
    if let Some(name) = &display_name {
        check_display_name(name).map_err(|error| ApiError::field("displayName", error.to_string()))?;
    }
    let mut person = right.person();
    person.display_name = person.display_name.or(display_name);
    if let Some(rights) = rights {
        person.rights.retain(|right| rights.contains(right));
    }
    Ok(person)
}

/// What the client is admitted by, with the lower of both bounds: what its token says and what it wishes.
///
/// # Errors
/// A wish is out of range, or names nothing that there is.
fn ticket(right: &Right, wish: Option<u32>, audio: Option<&str>) -> Result<Ticket, ApiError> {
    validate_peer_bitrate(wish).map_err(|error| ApiError::field("maxBitrateKbps", error.to_string()))?;
    let mut ticket = right.ticket();
    ticket.max_bitrate_kbps = [ticket.max_bitrate_kbps, wish].into_iter().flatten().min();
    ticket.audio = audio.map(read_layout).transpose()?.unwrap_or_default();
    Ok(ticket)
}

/// Parses a client's message; the error has a code and a text for the client.
fn parse(text: &ByteString) -> Result<ClientMessage, (&'static str, String)> {
    #[derive(Deserialize)]
    struct Tag {
        r#type: String,
    }
    serde_json::from_str(text).map_err(|error| {
        if !error.is_data() {
            return ("malformed_json", format!("not valid JSON: {error}"));
        }
        match serde_json::from_str::<Tag>(text) {
            Err(_) => ("malformed_message", "a message is an object with a text \"type\"".into()),
            Ok(Tag { r#type }) if error.to_string().starts_with("unknown variant") => {
                ("unknown_type", format!("there is no message of type {type:?}"))
            }
            Ok(Tag { r#type }) => ("malformed_message", format!("{type}: {error}")),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_message_is_told() {
        for (text, code, part) in [
            ("", "malformed_json", "JSON"),
            ("{", "malformed_json", "JSON"),
            ("[]", "malformed_message", "type"),
            ("{}", "malformed_message", "type"),
            (r#"{"type":7}"#, "malformed_message", "type"),
            (r#"{"type":"dance"}"#, "unknown_type", "dance"),
            (r#"{"type":"answer"}"#, "malformed_message", "sdp"),
            (r#"{"type":"pause","slot":-1}"#, "malformed_message", "pause"),
        ] {
            let (found, message) = parse(&ByteString::from(text)).unwrap_err();
            assert_eq!(found, code, "{text}");
            assert!(message.contains(part), "{text}: {message}");
        }
        let bye = ByteString::from_static(r#"{"type":"bye","unknown":1}"#);
        assert_eq!(parse(&bye), Ok(ClientMessage::Bye));
    }
}
