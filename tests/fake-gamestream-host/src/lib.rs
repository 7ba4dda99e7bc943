//! A GameStream host for tests. It pairs over real TLS, streams real H.264 and Opus with forward error correction and
//! encryption, records the input that reaches it, and misbehaves as a [`Scenario`] says.
//!
//! It shares no code with Oriel's client: framing, cryptography and error correction are written a second time, so that
//! each checks the other.
//!
//! ```text
//!  client ──HTTP(S)──▶ web (pairing, applist, launch) ─Launch─▶ rtsp ─Session─▶ video ┐
//!         ──RTSP─────▶                                                          audio ├─▶ network ──UDP──▶ client
//!         ──ENet─────▶ control ─▶ input record                                        ┘
//!  test   ──HTTP─────▶ api: scenario, PIN, actions, record (loopback)
//! ```
//!
//! [`host`] holds the one state that all of them share and starts the threads.

pub mod api;
pub mod audio;
pub mod camera;
pub mod clip;
pub mod control;
pub mod crypto;
pub mod fec;
pub mod host;
pub mod http;
pub mod identity;
pub mod input;
pub mod network;
pub mod packets;
pub mod pairing;
pub mod rtsp;
pub mod scenario;
pub mod sdp;
pub mod session;
pub mod video;
pub mod web;

pub use host::{Host, Options, Ports};
pub use scenario::Scenario;
