//! The local socket between the web-server and a streamer.
//!
//! ```text
//! web-server                          streamer (listens on run/<id>/ipc.sock)
//!    Hello {protocol, token, purpose} ──▶
//!                                     ◀── Hello {protocol, build, …}  or  Refused
//!    ServerIpcMessage …               ──▶
//!                                     ◀── StreamerIpcMessage …
//! ```
//!
//! A newer connection that shows the token replaces an older one of its own [`message::Purpose`].

pub mod codec;
pub mod error;
pub mod message;
pub mod request;

pub use codec::{Decoder, FrameError, MAX_FRAME, Payload, encode};
pub use error::{Code, ErrorKind, RequestError};
pub use message::*;
pub use request::{AnyRequest, Request};

/// Version of the messages. Another one is refused with both named.
pub const PROTOCOL: u16 = 8;
/// The streamer's socket in its run directory.
pub const SOCKET_FILE: &str = "ipc.sock";
/// The token in the run directory, 64 hexadecimal digits, mode 0600.
pub const TOKEN_FILE: &str = "token";
/// Below the run directory: what a session shares with its programs. They reach nothing else of it.
pub const SHARED_DIR: &str = "shared";
/// The program of the small processes of a session, in the directory of the streamer.
pub const HELPER_PROGRAM: &str = "streamer-helper";
/// What the streamer and the monitor print.
pub const LOG_FILE: &str = "streamer.log";
/// In the environment of a streamer: its log filter.
pub const LOG_VARIABLE: &str = "ORIEL_LOG";
/// In the environment of a streamer: `text` or `json`.
pub const LOG_FORMAT_VARIABLE: &str = "ORIEL_LOG_FORMAT";

/// Whether somebody who says `said` knows the token of a run directory. Nobody knows an empty one.
pub fn knows_token(said: &str, token: &str) -> bool {
    // Every byte is looked at, so that the time taken says nothing about the token.
    let differ = said.bytes().zip(token.bytes()).fold(0, |differ, (a, b)| differ | (a ^ b));
    said.len() == token.len() && differ == 0 && !token.is_empty()
}
