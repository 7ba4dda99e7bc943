//! ICE over TCP (RFC 6544): how packets are framed on a connection, and how the web-server, which accepts the connections of all
//! streamers on one port, hands each to the streamer whose peer it is from.
//!
//! ```text
//! peer ──TCP──▶ web-server: reads one framed binding request, finds the streamer by our user name in it
//!                   │ SCM_RIGHTS: the connection, and what was read of it
//!                   ▼
//!               streamer: the peer's packets from here on; the web-server has no part in them
//! ```

pub mod framing;
pub mod handover;
pub mod stun;
