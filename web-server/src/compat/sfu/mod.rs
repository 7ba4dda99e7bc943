//! Backends and pages written for a small selective forwarding unit: a backend makes rooms and tokens by REST with an API key, and pages
//! meet in a room by a WebSocket whose messages are `{event, data}`. Served while `compat.sfu` is on.
//!
//! ```text
//! backend ── POST /api/v1/rooms ───▶ rooms ──▶ a room
//!         ── POST /api/v1/tokens ──▶ rooms ──▶ a token of that room
//! page    ◀─ WS /ws?room=&token= ──▶ signal ─▶ our signalling
//! ```
//!
//! The WebSocket itself is in [`crate::signaling::sfu`], the handlers in [`crate::api::sfu`].

pub mod rooms;
pub mod signal;
