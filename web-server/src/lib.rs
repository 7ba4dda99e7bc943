//! Oriel's control plane: creates, lists, adopts and ends streamers, and relays signalling between
//! them and their viewers. It never touches media; that flows directly between a streamer and its peers.
//!
//! ```text
//! api, signaling ──calls──▶ registry ──commands──▶ supervisor (one per streamer) ──IPC──▶ streamer
//!                              ▲                        │
//!                              └────────events──────────┘
//! ```
//!
//! Read in this order: [`config`] says what was asked for, [`server`] assembles the parts,
//! [`registry`] owns what is known about every streamer, [`supervisor`] owns one process and the
//! connection to it, [`streams`] has the configured ones started, [`cluster`] makes several servers one, [`signaling`] and [`api`] are what clients see ([`http`] is what
//! both share), [`compat`] translates for clients of other servers, [`metrics`] is what operators see.

#![cfg_attr(
    test,
    allow(clippy::disallowed_methods, reason = "tests choose times, and may begin with that of now")
)]

pub mod accept;
pub mod api;
pub mod auth;
pub mod cluster;
pub mod compat;
pub mod config;
pub mod connections;
pub mod durable;
pub mod files;
pub mod hosts;
pub mod http;
pub mod ice;
pub mod ice_tcp;
pub mod limits;
pub mod metrics;
pub mod registry;
pub mod rtsp;
pub mod rundir;
pub mod seats;
pub mod secret;
pub mod server;
pub mod signaling;
pub mod socket;
pub mod streams;
pub mod supervisor;
pub mod tls;
pub mod user;
