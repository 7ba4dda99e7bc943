//! `WS /api/streamers/{id}/peer`: the native protocol, [`common::signal`].
//!
//! ```text
//! open ──hello──▶ joining ──(streamer: peer added)──▶ relaying ──▶ closed
//!   └──10 s without hello──────────┴──refused──────────────────────▶ closed
//! ```
//!
//! A WebSocket that is lost leaves its peer alive: media does not pass here, and the viewer may come back with
//! its `resumeToken`. Only `bye` ends the peer.
//!
//! | close code | means |
//! |---|---|
//! | 1000 | after `bye` |
//! | 1002, 1009 | not WebSocket as it should be; a message too long |
//! | 1008 | no `hello` within 10 s, or the client does not read or does not answer pings |
//! | 1012 | the web-server ends; connect again and resume |
//! | 4000 | the peer is gone: removed, or taken over by a newer WebSocket |
//! | 4001 | the streamer is gone, or refused the peer; an `error` or `streamer-state` before it says why |

use std::time::Duration;

use actix_web::http::header;
use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use bytestring::ByteString;
use common::id::{PeerId, StreamerId};
use common::ipc::{Join, Json, ServerIpcMessage};
use common::signal::{ClientMessage, MAX_MESSAGE, Role, SUBPROTOCOL, ServerMessage};
use serde::Deserialize;
use tokio::sync::oneshot;
use tokio::time::{Instant, interval_at, sleep, timeout};

use super::socket::{Close, Out, Outbox, Socket, to_text};
use crate::api::extract::Id;
use crate::api::problem::ApiError;
use crate::registry::{self, Viewer};
use crate::supervisor;

/// The client speaks first, and soon.
const HELLO_DEADLINE: Duration = Duration::from_secs(10);
/// From `hello` to being a peer; covers the whole start of a streamer.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);
/// Keeps proxies from closing an idle connection, and finds out that a client is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A client that has not even answered a ping for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// For the last messages and the close frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// A close frame has room for 123 bytes of reason (RFC 6455 §5.5).
const MAX_CLOSE_REASON: usize = 123;

/// Watch and steer, by the native protocol.
///
/// # Errors
/// It is no WebSocket, or there is no such streamer.
#[utoipa::path(
    get, path = "/api/streamers/{id}/peer", tag = "signalling",
    params(
        ("id" = String, Path, description = "Name of the streamer"),
        ("Sec-WebSocket-Protocol" = Option<String>, Header, description = "`oriel.v1`"),
    ),
    responses((status = 101, description = "WebSocket, subprotocol `oriel.v1`")),
)]
pub async fn connect(
    request: HttpRequest,
    id: Id,
    payload: web::Payload,
    registry: web::Data<registry::Handle>,
) -> Result<HttpResponse, ApiError> {
    registry.get(&id.0).await?;
    let offered = request.headers().get(header::SEC_WEBSOCKET_PROTOCOL);
    if let Some(offered) = offered.map(|value| value.to_str().unwrap_or_default())
        && !offered.split(',').any(|protocol| protocol.trim() == SUBPROTOCOL)
    {
        return Err(ApiError::WebSocket(format!("its subprotocol is {SUBPROTOCOL}, not {offered:?}")));
    }
    let (response, session, incoming) = actix_ws::handle_with_protocols(&request, payload, &[SUBPROTOCOL])
        .map_err(|error| ApiError::WebSocket(error.to_string()))?;
    let incoming =
        incoming.max_frame_size(MAX_MESSAGE).aggregate_continuations().max_continuation_size(MAX_MESSAGE);
    let (socket, outbox) = Socket::new();
    let registry = registry.get_ref().clone();
    let connection =
        Connection { id: id.0, registry, session, incoming, socket, outbox, heard: Instant::now() };
    actix_web::rt::spawn(connection.run());
    Ok(response)
}

struct Connection {
    id: StreamerId,
    registry: registry::Handle,
    session: Session,
    incoming: AggregatedMessageStream,
    socket: Socket,
    outbox: Outbox,
    /// When the client last sent anything.
    heard: Instant,
}

/// Why a WebSocket ends.
#[derive(Debug)]
enum End {
    /// It was lost, or closed without `bye`.
    Lost,
    /// `bye`.
    Bye,
    /// The client broke a rule of WebSockets.
    Protocol(CloseCode, String),
    /// We close it.
    Closed(Close),
}

impl End {
    fn policy(reason: &str) -> Self {
        End::Protocol(CloseCode::Policy, reason.to_owned())
    }

    fn refused(reason: impl Into<String>) -> Self {
        End::Closed(Close::Streamer(reason.into()))
    }
}

impl Connection {
    async fn run(mut self) {
        let end = match self.converse().await {
            Ok(never) => match never {},
            Err(end) => end,
        };
        tracing::debug!(id = %self.id, socket = self.socket.number(), ?end, "WebSocket ended");
        let reason = match end {
            End::Lost => return,
            End::Bye => CloseReason::from(CloseCode::Normal),
            End::Protocol(code, reason) => close_reason(code, &reason),
            End::Closed(Close::Peer(reason)) => close_reason(CloseCode::Other(4000), &reason),
            End::Closed(Close::Streamer(reason)) => close_reason(CloseCode::Other(4001), &reason),
            End::Closed(Close::Server) => close_reason(CloseCode::Restart, "the server is restarting"),
        };
        // A client that does not take even this is dropped.
        let _ = timeout(CLOSE_DEADLINE, self.session.close(Some(reason))).await;
    }

    async fn converse(&mut self) -> Result<std::convert::Infallible, End> {
        let hello = timeout(HELLO_DEADLINE, self.hello()).await;
        let join = hello.unwrap_or_else(|_| Err(End::policy("no hello within 10 s")))?;
        let (streamer, peer) = self.join(join).await?;
        let end = self.relay(&streamer, peer).await;
        let said_bye = matches!(end, Err(End::Bye));
        self.registry.leave(&self.id, peer, self.socket.number(), said_bye).await;
        end
    }

    /// Waits for `hello`, answering everything else with an error.
    async fn hello(&mut self) -> Result<Join, End> {
        loop {
            match self.receive().await? {
                Some(ClientMessage::Hello { resume, role, capabilities }) => {
                    let role = role.unwrap_or(Role::Controller);
                    let socket = self.socket.number();
                    return Ok(Join::Native { resume, socket, role, capabilities });
                }
                Some(ClientMessage::Bye) => return Err(End::Bye),
                Some(_) => self.error("hello_expected", "say hello first").await?,
                None => {}
            }
        }
    }

    async fn join(&mut self, join: Join) -> Result<(supervisor::Handle, PeerId), End> {
        let (answer, answered) = oneshot::channel();
        let viewer = Viewer { join, socket: self.socket.clone(), answer };
        let (registry, id) = (self.registry.clone(), self.id.clone());
        let joining = async move {
            let streamer = registry.join(&id, viewer).await.map_err(ApiError::from)?;
            let peer = answered.await.unwrap_or(Err(supervisor::ask::AskError::Gone));
            Ok::<_, ApiError>((streamer, peer.map_err(ApiError::from)?))
        };
        tokio::pin!(joining);
        let deadline = sleep(JOIN_DEADLINE);
        tokio::pin!(deadline);
        loop {
            let out = tokio::select! {
                // The peer first: what follows in the queue is for it.
                biased;
                joined = &mut joining => match joined {
                    Ok(joined) => return Ok(joined),
                    Err(error) => {
                        let problem = error.problem("");
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
        let mut pings = interval_at(Instant::now() + PING_INTERVAL, PING_INTERVAL);
        loop {
            tokio::select! {
                message = receive(&mut self.incoming) => {
                    if let Some(message) = self.received(message?).await? {
                        self.forward(streamer, peer, message).await?;
                    }
                }
                Some(out) = self.outbox.queue.recv() => self.write(out).await?,
                () = self.outbox.kick.cancelled() => return Err(End::policy("you do not read")),
                _ = pings.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(End::policy("you do not answer pings"));
                    }
                    self.session.ping(b"").await.map_err(|_| End::Lost)?;
                }
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
                let message = ServerIpcMessage::FromPeer { peer, message: Json(message) };
                streamer.tell(message).await.map_err(|error| End::refused(error.to_string()))
            }
        }
    }

    /// The next message of the client; `None` for one that was answered here.
    async fn receive(&mut self) -> Result<Option<ClientMessage>, End> {
        let message = receive(&mut self.incoming).await?;
        self.received(message).await
    }

    async fn received(&mut self, message: AggregatedMessage) -> Result<Option<ClientMessage>, End> {
        self.heard = Instant::now();
        match message {
            AggregatedMessage::Text(text) => match parse(&text) {
                Ok(message) => return Ok(Some(message)),
                Err((code, message)) => self.error(code, &message).await?,
            },
            AggregatedMessage::Binary(_) => {
                self.error("binary_not_supported", "this protocol is JSON text").await?;
            }
            AggregatedMessage::Ping(payload) => {
                self.session.pong(&payload).await.map_err(|_| End::Lost)?;
            }
            AggregatedMessage::Pong(_) => {}
            AggregatedMessage::Close(_) => return Err(End::Lost),
        }
        Ok(None)
    }

    async fn error(&mut self, code: &str, message: &str) -> Result<(), End> {
        let message = ServerMessage::Error { code: code.into(), message: message.into(), request_id: None };
        self.write(Out::Text(to_text(&message))).await
    }

    async fn write(&mut self, out: Out) -> Result<(), End> {
        let text = match out {
            Out::Text(text) => text,
            Out::Close(why) => return Err(End::Closed(why)),
        };
        tokio::select! {
            biased;
            () = self.outbox.kick.cancelled() => Err(End::policy("you do not read")),
            sent = self.session.text(text) => sent.map_err(|_| End::Lost),
        }
    }
}

/// The next frame.
async fn receive(incoming: &mut AggregatedMessageStream) -> Result<AggregatedMessage, End> {
    match incoming.recv().await {
        None => Err(End::Lost),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(match error {
            // A message in too many pieces is reported as an I/O error of no kind.
            ProtocolError::Io(error) if error.kind() != std::io::ErrorKind::Other => End::Lost,
            ProtocolError::Io(_) | ProtocolError::Overflow => {
                End::Protocol(CloseCode::Size, format!("a message has at most {MAX_MESSAGE} bytes"))
            }
            error => End::Protocol(CloseCode::Protocol, error.to_string()),
        }),
    }
}

/// A client's message, or code and text of what is wrong with it.
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

fn close_reason(code: CloseCode, reason: &str) -> CloseReason {
    let mut end = reason.len().min(MAX_CLOSE_REASON);
    while !reason.is_char_boundary(end) {
        end -= 1;
    }
    CloseReason { code, description: Some(reason[..end].to_owned()) }
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

    #[test]
    fn a_long_reason_is_cut_between_characters() {
        let reason = close_reason(CloseCode::Normal, &"ä".repeat(100)).description.unwrap();
        assert_eq!((reason.len(), reason.chars().count()), (122, 61));
    }
}
