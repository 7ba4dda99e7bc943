//! One WebSocket, owned by the task that serves it: frames in and out, pings, and how it ends. Its messages
//! belong to the protocols.
//!
//! | close code | means |
//! |---|---|
//! | 1000 | the client has said goodbye |
//! | 1002, 1009 | a violation of the WebSocket protocol; a message that is too long |
//! | 1008 | the client does not say hello, does not read, does not answer pings, or sends too much |
//! | 1012 | the web-server shuts down; connect again and resume |
//! | 4000 | the peer is gone: removed, or taken over by a newer WebSocket |
//! | 4001 | the streamer is gone, or refused the peer; a message before it says why |

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::sync::Arc;
use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, web};
use actix_ws::{AggregatedMessage, AggregatedMessageStream, CloseCode, CloseReason, ProtocolError, Session};
use bytes::Bytes;
use bytestring::ByteString;
use common::signal::{CLOSE_PEER_GONE, CLOSE_STREAMER_GONE};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use crate::http::problem::ApiError;
use crate::limits::{Bucket, Limit, Limits};
use crate::socket::Close;

/// Time from a viewer's first message to its peer; covers the whole start of a streamer.
pub const JOIN_DEADLINE: Duration = Duration::from_secs(60);
/// Interval of pings, which keep proxies from closing an idle connection and detect that a client is gone.
const PING_INTERVAL: Duration = Duration::from_secs(15);
/// A client that has not even answered a ping for this long is gone.
const SILENCE: Duration = Duration::from_secs(45);
/// Time for the last messages and the close frame.
const CLOSE_DEADLINE: Duration = Duration::from_secs(2);
/// A close frame has room for 123 bytes of reason (RFC 6455 §5.5).
const MAX_CLOSE_REASON: usize = 123;

/// Why a WebSocket ends.
#[derive(Debug)]
pub enum End {
    /// It was lost, or closed without a goodbye.
    Lost,
    /// The client has said goodbye.
    Bye,
    /// The client broke a rule of WebSockets, or of ours about them.
    Protocol(CloseCode, String),
    /// We close it.
    Closed(Close),
}

impl End {
    /// The client breaks a rule of the protocol.
    pub fn policy(reason: &str) -> Self {
        End::Protocol(CloseCode::Policy, reason.to_owned())
    }

    /// The client's token is no longer valid.
    pub fn revoked() -> Self {
        End::Closed(Close::Peer("the token was revoked".into()))
    }

    /// The streamer is gone, or refused the peer.
    pub fn refused(reason: impl Into<String>) -> Self {
        End::Closed(Close::Streamer(reason.into()))
    }
}

/// A frame from the client.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// A text message.
    Text(ByteString),
    /// Bytes, which only media sockets use.
    Binary(Bytes),
}

/// An open WebSocket.
pub struct WebSocket {
    session: Session,
    incoming: AggregatedMessageStream,
    /// Longest message that is read at all, in bytes.
    longest: usize,
    /// When the client last sent anything.
    heard: Instant,
    pings: Interval,
    limits: Arc<Limits>,
    /// Limits the messages that it may send per second.
    rate: f64,
    messages: Bucket,
}

impl WebSocket {
    /// Accepts the upgrade. `longest` is the longest message that is read at all, in bytes: a longer one ends the
    /// WebSocket.
    ///
    /// # Errors
    /// The request is no WebSocket upgrade.
    pub fn open(
        request: &HttpRequest,
        payload: web::Payload,
        protocols: &[&str],
        longest: usize,
        limits: Arc<Limits>,
    ) -> Result<(HttpResponse, Self), ApiError> {
        let (response, session, incoming) = actix_ws::handle_with_protocols(request, payload, protocols)
            .map_err(|error| ApiError::WebSocket(error.to_string()))?;
        let incoming =
            incoming.max_frame_size(longest).aggregate_continuations().max_continuation_size(longest);
        let now = Instant::now();
        let mut pings = interval_at(now + PING_INTERVAL, PING_INTERVAL);
        pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let rate = f64::from(limits.config().messages_per_second);
        let messages = Bucket::new(now.into_std(), rate);
        Ok((response, Self { session, incoming, longest, heard: now, pings, limits, rate, messages }))
    }

    /// Lets the client send so many messages per second, not as many as `limits.messages_per_second`.
    pub fn allow(&mut self, messages_per_second: f64) {
        self.rate = messages_per_second;
        self.messages = Bucket::new(self.heard.into_std(), messages_per_second);
    }

    /// Another sending end, for frames that are sent while the client is heard.
    pub fn sender(&self) -> Sender {
        Sender(self.session.clone())
    }

    /// The client's next frame. Handles pings meanwhile. Cancel safe: no message is lost.
    ///
    /// # Errors
    /// How the WebSocket ended.
    pub async fn receive(&mut self) -> Result<Frame, End> {
        loop {
            let message = tokio::select! {
                // First: a message that waits to be read shows that the client is alive.
                biased;
                message = receive(&mut self.incoming, self.longest) => message.inspect_err(|end| {
                    if matches!(end, End::Protocol(CloseCode::Size, _)) {
                        self.limits.refusals().refused(Limit::MessageBytes);
                    }
                })?,
                _ = self.pings.tick() => {
                    if self.heard.elapsed() > SILENCE {
                        return Err(End::policy("you do not answer pings"));
                    }
                    self.session.ping(b"").await.map_err(|_| End::Lost)?;
                    continue;
                }
            };
            self.heard = Instant::now();
            // Pings and pongs count, too: each causes work.
            if !self.messages.take(self.heard.into_std(), self.rate, self.rate) {
                self.limits.refusals().refused(Limit::Messages);
                return Err(End::policy("too many messages (limits.messages_per_second)"));
            }
            match message {
                AggregatedMessage::Text(text) => return Ok(Frame::Text(text)),
                AggregatedMessage::Binary(bytes) => return Ok(Frame::Binary(bytes)),
                AggregatedMessage::Ping(payload) => {
                    self.session.pong(&payload).await.map_err(|_| End::Lost)?;
                }
                AggregatedMessage::Pong(_) => {}
                AggregatedMessage::Close(_) => return Err(End::Lost),
            }
        }
    }

    /// Sends a text, unless `kick` is cancelled before there is room for it.
    ///
    /// # Errors
    /// How the WebSocket ended.
    pub async fn send(&mut self, text: ByteString, kick: &CancellationToken) -> Result<(), End> {
        tokio::select! {
            biased;
            () = kick.cancelled() => Err(End::policy("you do not read")),
            sent = self.session.text(text) => sent.map_err(|_| End::Lost),
        }
    }

    /// Closes the WebSocket with the reason, if the client is still connected.
    pub async fn close(self, end: End) {
        let reason = match end {
            End::Lost => return,
            End::Bye => CloseReason::from(CloseCode::Normal),
            End::Protocol(code, reason) => close_reason(code, &reason),
            End::Closed(Close::Peer(reason)) => close_reason(CloseCode::Other(CLOSE_PEER_GONE), &reason),
            End::Closed(Close::Streamer(reason)) => {
                close_reason(CloseCode::Other(CLOSE_STREAMER_GONE), &reason)
            }
            End::Closed(Close::Server) => close_reason(CloseCode::Restart, "the server is restarting"),
        };
        // A client that does not even read this is dropped.
        let _ = timeout(CLOSE_DEADLINE, self.session.close(Some(reason))).await;
    }
}

/// Sends binary messages.
pub struct Sender(Session);

impl Sender {
    /// Sends bytes, once there is room for them.
    ///
    /// # Errors
    /// How the WebSocket ended.
    pub async fn binary(&mut self, bytes: Bytes) -> Result<(), End> {
        self.0.binary(bytes).await.map_err(|_| End::Lost)
    }
}

/// The next frame.
async fn receive(incoming: &mut AggregatedMessageStream, longest: usize) -> Result<AggregatedMessage, End> {
    match incoming.recv().await {
        None => Err(End::Lost),
        Some(Ok(message)) => Ok(message),
        Some(Err(error)) => Err(match error {
            // A message in too many pieces is reported as an I/O error of no kind.
            ProtocolError::Io(error) if error.kind() != std::io::ErrorKind::Other => End::Lost,
            ProtocolError::Io(_) | ProtocolError::Overflow => {
                End::Protocol(CloseCode::Size, format!("a message has at most {longest} bytes"))
            }
            error => End::Protocol(CloseCode::Protocol, error.to_string()),
        }),
    }
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
    fn a_long_reason_is_cut_between_characters() {
        let reason = close_reason(CloseCode::Normal, &"ä".repeat(100)).description.unwrap();
        assert_eq!((reason.len(), reason.chars().count()), (122, 61));
    }
}
