//! One session: captures and encodes a source once, broadcasts it to any number of WebRTC peers, and
//! merges their input.
//!
//! Read in this order: [`streamer`] assembles the parts, [`source`] makes access units, [`feed`] holds
//! and cuts them, [`peer`] sends them, [`input`] comes back, [`ipc`] talks to the web-server,
//! [`monitor`] cleans up after all of it.

pub mod media;
pub mod stats;
pub mod source;
pub mod encode;
pub mod feed;
pub mod input;
