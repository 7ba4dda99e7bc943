//! What crosses a process or network boundary: ids, what a streamer is made of, input, signalling,
//! REST bodies, and the IPC between web-server and streamer.
//!
//! No I/O, no clock, no async runtime. Types only, with the rules that both sides must agree on
//! (bounds, validation, framing).

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests choose times, and may begin with that of now")
)]

pub mod access;
pub mod api;
pub mod audit;
pub mod backoff;
pub mod cgroup;
pub mod clipboard;
pub mod cluster;
pub mod control;
pub mod event;
pub mod exit;
pub mod field;
pub mod files;
pub mod hosts;
pub mod ice_tcp;
pub mod id;
pub mod input;
pub mod ipc;
pub mod latency;
pub mod lifetime;
pub mod media;
pub mod media_socket;
pub mod multistream;
pub mod nat;
pub mod person;
pub mod restart;
pub mod rooms;
pub mod rtp_stream;
pub mod sdp;
pub mod secret_url;
pub mod signal;
pub mod slots;
pub mod spec;
pub mod stats;
pub mod timecode;
