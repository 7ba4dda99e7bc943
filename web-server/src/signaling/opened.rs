//! A WebSocket to a streamer, before it is known who speaks on it.

use std::sync::Arc;

use common::id::StreamerId;

use super::gate::Gate;
use super::websocket::WebSocket;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry;

/// A WebSocket to a streamer, before it is known who speaks on it.
pub struct Opened {
    /// The id of the streamer.
    pub id: StreamerId,
    /// Checks tokens and rates.
    pub gate: Gate,
    /// The registry, which knows the streamer.
    pub registry: registry::Handle,
    /// Counts joins.
    pub metrics: Metrics,
    /// For `welcome`.
    pub ice: Arc<ice::Config>,
    /// The open WebSocket.
    pub websocket: WebSocket,
}
