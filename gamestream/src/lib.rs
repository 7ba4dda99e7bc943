//! The client's side of the GameStream protocol, as Sunshine, Wolf, Moonshine and GeForce Experience speak it to
//! Moonlight clients (generation 7: version 7.1.431 and later).
//!
//! ```text
//! identity, pairing ──▶ http ──▶ serverinfo, applist, launch    web-server and streamer
//! rtsp, sdp ──▶ what is streamed, and where to                   streamer
//! control, input ◀──▶ sealed messages over ENet                  streamer
//! video ──▶ frames       audio ──▶ Opus packets                  streamer
//! ```
//!
//! What is read here comes from a host that may be hostile: nothing panics, and everything is bounded. The
//! modules know no clock, no runtime and no sockets. The one exception is [`http`], which both processes need
//! in exactly the same form: a request that blocks, with a deadline.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests choose times, and may begin with that of now")
)]

pub mod audio;
pub mod control;
pub mod crypto;
pub mod fec;
pub mod http;
pub mod identity;
pub mod input;
pub mod keys;
pub mod pairing;
pub mod reply;
pub mod rtsp;
pub mod sdp;
pub mod video;

mod read;
