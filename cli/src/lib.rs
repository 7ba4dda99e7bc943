//! `oriel`: sessions of a server from the command line.
//!
//! ```text
//! args (what was asked for) ──▶ commands (one request or a few each) ──▶ client (HTTP) ──▶ web-server
//!                                   │
//!                                   └──▶ output (tables for people, the server's JSON for programs)
//! ```
//!
//! Everything that a command can be refused for is a [`failure::Failure`], which says the exit code. Bodies are the types of
//! crate `common`; nothing of the API is defined here a second time.

pub mod args;
pub mod client;
pub mod commands;
pub mod contexts;
pub mod failure;
pub mod keys;
pub mod output;
pub mod text;
