//! What all handlers of requests share, those of [`crate::api`] and of [`crate::signaling`]: who calls, what a request brings, and
//! how a failure looks to a client.
//!
//! [`guard`] refuses requests of other web sites, [`site`] tells who calls, [`extract`] reads bodies, paths and queries, [`headers`] lists in
//! headers, and [`problem`] maps every error to a response.

pub mod extract;
pub mod guard;
pub mod headers;
pub mod problem;
pub mod problems;
pub mod site;
