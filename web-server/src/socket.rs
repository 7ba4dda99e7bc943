//! The sending end of a viewer's WebSocket, as the registry holds it.

use std::sync::atomic::{AtomicU64, Ordering};

use bytestring::ByteString;
use common::api::PeerState;
use common::signal::ServerMessage;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// Messages that wait for a viewer's WebSocket. Joining takes about ten, a busy session a few per second. When
/// it is full, the viewer does not read: its WebSocket is closed, and it may come back and resume.
const QUEUE: usize = 128;

/// What goes to a WebSocket.
#[derive(Debug, Clone, PartialEq)]
pub enum Out {
    /// A [`ServerMessage`] in JSON.
    Text(ByteString),
    /// A message that the WebSocket's task completes, or puts into its own words.
    Message(Box<ServerMessage>),
    /// The peer's connection has another state; for clients that cannot see it themselves.
    State(PeerState),
    /// Nothing follows; close.
    Close(Close),
}

/// Why the server closes a WebSocket; codes of RFC 6455 §7.4.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Close {
    /// The peer is gone: removed, or the same viewer has come by another WebSocket.
    Peer(String),
    /// The streamer has ended.
    Streamer(String),
    /// The web-server ends; the streamer may well go on.
    Server,
}

/// The protocol of a viewer's WebSocket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Language {
    /// The native protocol.
    Native,
    /// Another protocol: it gets messages, and only those for this viewer.
    Other,
    /// Another protocol, which gets every message.
    Everything,
}

/// Sends to one viewer's WebSocket. Never waits.
#[derive(Debug, Clone)]
pub struct Socket {
    number: u64,
    language: Language,
    queue: mpsc::Sender<Out>,
    kick: CancellationToken,
}

/// The receiving end, in the task of the WebSocket.
#[derive(Debug)]
pub struct Outbox {
    /// Messages, in order.
    pub queue: mpsc::Receiver<Out>,
    /// Cancelled when the viewer does not read: the task ends at once, whatever is queued.
    pub kick: CancellationToken,
}

impl Socket {
    /// A new socket and its receiving end, for the native protocol: the WebSocket's task gets texts.
    pub fn new() -> (Self, Outbox) {
        Self::speaking(Language::Native)
    }

    /// The same for another protocol: the WebSocket's task gets messages.
    pub fn of_messages() -> (Self, Outbox) {
        Self::speaking(Language::Other)
    }

    /// The same for a translation of the native protocol: the WebSocket's task gets every message, and the
    /// states of its peer's connection.
    pub fn of_everything() -> (Self, Outbox) {
        Self::speaking(Language::Everything)
    }

    fn speaking(language: Language) -> (Self, Outbox) {
        static LAST: AtomicU64 = AtomicU64::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let (sender, receiver) = mpsc::channel(QUEUE);
        let kick = CancellationToken::new();
        (Self { number, language, queue: sender, kick: kick.clone() }, Outbox { queue: receiver, kick })
    }

    /// A number that no other WebSocket of this process has.
    pub fn number(&self) -> u64 {
        self.number
    }

    /// Sends `message`.
    pub fn send(&self, message: &ServerMessage) {
        self.push(match (self.language, message) {
            // A welcome is not complete yet.
            (Language::Other | Language::Everything, _)
            | (Language::Native, ServerMessage::Welcome { .. }) => Out::Message(Box::new(message.clone())),
            (Language::Native, _) => Out::Text(to_text(message)),
        });
    }

    /// Sends what [`to_text`] made of a message that goes to everybody: to native viewers, and translations.
    pub fn broadcast(&self, text: ByteString) {
        if self.language != Language::Other {
            self.push(Out::Text(text));
        }
    }

    /// Sends the state of the peer's connection, to translations only.
    pub fn state(&self, state: PeerState) {
        if self.language == Language::Everything {
            self.push(Out::State(state));
        }
    }

    /// Closes the WebSocket after what has been sent.
    pub fn close(&self, why: Close) {
        self.push(Out::Close(why));
    }

    fn push(&self, out: Out) {
        if let Err(mpsc::error::TrySendError::Full(_)) = self.queue.try_send(out)
            && !self.kick.is_cancelled()
        {
            tracing::warn!(socket = self.number, "a viewer does not read its WebSocket; closing it");
            self.kick.cancel();
        }
    }
}

/// A message as it goes over the wire.
pub fn to_text(message: &ServerMessage) -> ByteString {
    serde_json::to_string(message).expect("signalling messages have string keys and finite numbers").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_viewer_that_does_not_read_is_kicked_and_nothing_waits_for_it() {
        let (socket, outbox) = Socket::new();
        let message =
            ServerMessage::Error { code: "c".into(), message: "m".into(), field: None, request_id: None };
        for _ in 0..QUEUE {
            socket.send(&message);
        }
        assert!(!outbox.kick.is_cancelled());
        socket.send(&message);
        assert!(outbox.kick.is_cancelled());
        assert_eq!(outbox.queue.len(), QUEUE);
    }
}
