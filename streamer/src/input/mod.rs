//! Input: decoded from peers, merged by [`aggregate`], carried out by a [`sink`].
//!
//! ```text
//! shards ──▶ decode (common::input) ──▶ thread `input`: Aggregator ──▶ Sink (X, …)
//! ```

pub mod sink;
