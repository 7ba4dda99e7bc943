//! One session: captures and encodes a source once, broadcasts it to any number of WebRTC peers, and
//! merges their input.
//!
//! The modules are in reading order: [`streamer`] is the control loop and owns the [`session`], [`source`]
//! makes access units, [`feed`] holds and cuts them, [`mix`] sums sound, [`peer`] sends them, [`input`] comes back, [`ipc`]
//! talks to the web-server, [`monitor`] cleans up after all of it.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests choose times, and may begin with that of now")
)]

#[cfg(feature = "count-allocations")]
pub mod allocations;
pub mod cleanup;
pub mod config;
#[cfg(test)]
mod counting;
pub mod encode;
pub mod feed;
pub mod helper;
pub mod input;
pub mod ipc;
mod link;
pub mod media;
pub mod memory;
pub mod mix;
pub mod monitor;
pub mod ntp;
pub mod peer;
mod perform;
pub mod process;
pub mod publish;
pub mod reader;
pub mod session;
mod snapshot;
pub mod source;
pub mod stats;
pub mod streamer;
pub mod thread;
mod throttle;
pub mod wake;
