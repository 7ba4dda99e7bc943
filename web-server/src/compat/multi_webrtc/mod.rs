//! Backends and pages written for the multi-peer WebRTC branch of moonlight-web-stream: a backend creates streamers
//! of Moonlight hosts by REST, and pages watch and steer them by a WebSocket and data channels.
//!
//! ```text
//! backend ── POST /api/streamers ──▶ create ──▶ the spec of a streamer
//!         ◀─ its fields beside ours ── response
//! page    ◀─ WS /api/streamers/{id}/peer ─▶ signal ─▶ our signalling
//! ```
//!
//! The WebSocket itself is in [`crate::signaling::multi_webrtc`]. Data channels end in a streamer, which translates their messages.

pub mod answer;
pub mod create;
pub mod signal;
