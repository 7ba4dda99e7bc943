//! What web-server and streamer say to each other on the socket by which connections are handed over: packets of a
//! `SOCK_SEQPACKET` socket, each one message.
//!
//! ```text
//! web-server                      streamer (listens on run/<id>/tcp.sock)
//!    Hello {token}           ──▶
//!                            ◀──  Hello {token}: it can read the token, so it is no impostor
//!                            ◀──  Added {ufrag} of each peer, then of each that comes; Removed {ufrag}
//!    Connection {packet}, fd ──▶
//! ```
//!
//! `rtc` draws user names at random, again at each restart of ICE, so nothing in them can say whose they are. A streamer tells them
//! instead, all of them to each web-server that connects: the restart of one loses nothing.

/// The streamer's socket in its run directory.
pub const SOCKET_FILE: &str = "tcp.sock";
/// The longest user name (RFC 8839 §5.4).
pub const MAX_UFRAG: usize = 256;
/// The longest message: a first packet of [`super::framing::MAX_PACKET`], and its kind.
pub const MAX_MESSAGE: usize = super::framing::MAX_PACKET + 1;

const HELLO: u8 = b'H';
const ADDED: u8 = b'+';
const REMOVED: u8 = b'-';
const CONNECTION: u8 = b'C';

/// One message.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// Who speaks knows the streamer's token.
    Hello(&'a str),
    /// Connections whose first packet names this user are for the streamer.
    Added(&'a str),
    /// No longer.
    Removed(&'a str),
    /// A connection, whose descriptor comes with the message, and the first packet that was read from it.
    Connection(&'a [u8]),
}

/// No message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("what was said on the socket for connections is no message")]
pub struct Malformed;

impl<'a> Message<'a> {
    /// As it is sent.
    pub fn encode(&self) -> Vec<u8> {
        let (kind, body) = match self {
            Message::Hello(token) => (HELLO, token.as_bytes()),
            Message::Added(ufrag) => (ADDED, ufrag.as_bytes()),
            Message::Removed(ufrag) => (REMOVED, ufrag.as_bytes()),
            Message::Connection(packet) => (CONNECTION, *packet),
        };
        [&[kind], body].concat()
    }

    /// What was sent.
    ///
    /// # Errors
    /// It is no message.
    pub fn decode(bytes: &'a [u8]) -> Result<Self, Malformed> {
        let (kind, body) = bytes.split_first().ok_or(Malformed)?;
        let text = || std::str::from_utf8(body).map_err(|_| Malformed);
        let ufrag = || text().and_then(|ufrag| if is_ufrag(ufrag) { Ok(ufrag) } else { Err(Malformed) });
        match *kind {
            HELLO => Ok(Message::Hello(text()?)),
            ADDED => Ok(Message::Added(ufrag()?)),
            REMOVED => Ok(Message::Removed(ufrag()?)),
            CONNECTION => Ok(Message::Connection(body)),
            _ => Err(Malformed),
        }
    }
}

fn is_ufrag(text: &str) -> bool {
    (1..=MAX_UFRAG).contains(&text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_read_as_they_were_said() {
        let all = [
            Message::Hello("token"),
            Message::Added("ufrag"),
            Message::Removed("ufrag"),
            Message::Connection(&[0, 1, 0, 0]),
        ];
        for message in all {
            assert_eq!(Message::decode(&message.encode()), Ok(message));
        }
    }

    #[test]
    fn what_is_no_message_is_refused() {
        let long = Message::Added(&"x".repeat(MAX_UFRAG + 1)).encode();
        for bytes in [&b""[..], b"?", b"+", b"-\xff", &long] {
            assert_eq!(Message::decode(bytes), Err(Malformed), "{bytes:?}");
        }
    }
}
