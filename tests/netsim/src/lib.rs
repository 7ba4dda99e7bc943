//! A bad network between a browser and a session, for tests.
//!
//! ```text
//!  browser ──HTTP, WebSocket──▶ proxy ──▶ web-server
//!     ▲                           │ puts its own UDP ports into offers,
//!     │                           │ and takes the browser's addresses out of answers
//!     └──UDP──▶ relay (two links) ──UDP──▶ streamer
//! ```
//!
//! The proxy leaves the two ends no way to each other but the relay, whose links lose, delay, reorder and
//! limit packets as `PUT /netsim/rules` says. It needs no rights and no support of the kernel. Only native
//! signalling is rewritten; WHEP players go through the proxy and past the relay.

pub mod codel;
pub mod http;
pub mod link;
pub mod proxy;
pub mod relay;
pub mod rules;
pub mod signaling;
