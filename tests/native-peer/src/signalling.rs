//! The WebSocket of one peer, without blocking.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};

use common::signal::{ClientMessage, SUBPROTOCOL, ServerMessage};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

use crate::Error;

/// An open WebSocket on which `hello` has been said.
pub struct Signalling {
    socket: WebSocket<TcpStream>,
}

/// What was read.
pub enum Read {
    /// A message.
    Message(ServerMessage),
    /// Nothing now.
    Nothing,
    /// It has ended, and why.
    Ended(String),
}

fn failed(error: impl std::fmt::Display) -> Error {
    Error::Signalling(error.to_string())
}

impl Signalling {
    /// Connects (blocks until the server has agreed) and says `hello`.
    pub fn connect(server: SocketAddr, streamer: &str, hello: &ClientMessage) -> Result<Self, Error> {
        let stream = TcpStream::connect(server).map_err(|e| Error::Io("connecting", e))?;
        stream.set_nodelay(true).map_err(|e| Error::Io("setting TCP_NODELAY", e))?;
        let url = format!("ws://{server}/api/streamers/{streamer}/peer");
        let mut request = url.into_client_request().map_err(failed)?;
        let protocol = HeaderValue::from_static(SUBPROTOCOL);
        request.headers_mut().insert("Sec-WebSocket-Protocol", protocol);
        let (socket, _) = tungstenite::client(request, stream).map_err(failed)?;
        let mut signalling = Self { socket };
        signalling.send(hello)?;
        signalling.socket.get_ref().set_nonblocking(true).map_err(|e| Error::Io("setting O_NONBLOCK", e))?;
        Ok(signalling)
    }

    /// For epoll.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    /// Sends a message; what the kernel has no room for leaves with the next one.
    pub fn send(&mut self, message: &ClientMessage) -> Result<(), Error> {
        let text = serde_json::to_string(message).map_err(failed)?;
        match self.socket.send(Message::text(text)) {
            Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => Ok(()),
            other => other.map_err(failed),
        }
    }

    /// The next message. Pings are answered here.
    pub fn read(&mut self) -> Read {
        loop {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    return match serde_json::from_str(&text) {
                        Ok(message) => Read::Message(message),
                        Err(error) => Read::Ended(format!("not understood: {error}: {text}")),
                    };
                }
                Ok(Message::Close(frame)) => {
                    let reason = frame.map_or_else(|| "closed".into(), |frame| frame.to_string());
                    return Read::Ended(reason);
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => {
                    return Read::Nothing;
                }
                Err(error) => return Read::Ended(error.to_string()),
            }
        }
    }
}
