//! A stream as fragmented MP4, for players that speak no WebRTC.
//!
//! ```text
//! feeds ── Tap, Listener ──▶ Reader (a thread for each) ── Live: boxes on one timeline ──▶ a socket of the web-server's
//! ```
//!
//! A reader has its own timeline, which begins with the first keyframe that it gets. One that does not read in time goes on with a
//! later keyframe ([`crate::feed::tap`]); one that does not read for long is closed. Nobody else notices either.

pub mod boxes;
pub mod live;
pub mod reader;
