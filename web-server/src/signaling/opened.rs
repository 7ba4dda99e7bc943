//! A WebSocket to a streamer, before it is known who speaks on it.

#![expect(clippy::disallowed_methods, reason = "a welcome is completed at the time at which it is sent")]

use std::convert::Infallible;
use std::sync::Arc;

use chrono::Utc;
use common::id::{PeerId, StreamerId};
use common::ipc;
use common::signal::ServerMessage;
use tokio::time::timeout;

use super::gate::Gate;
use super::websocket::{End, JOIN_DEADLINE, WebSocket};
use crate::cluster::Membership;
use crate::http::problem::ApiError;
use crate::ice;
use crate::metrics::Metrics;
use crate::registry;
use crate::socket::{Close, Socket};
use crate::supervisor;

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
    /// The same.
    pub cluster: Membership,
    /// The open WebSocket.
    pub websocket: WebSocket,
}

impl Opened {
    /// Adds to a `welcome` what the streamer that made it does not know: ICE servers, and the nodes of the cluster.
    pub fn complete(&self, message: &mut ServerMessage) {
        self.ice.complete(Utc::now(), message);
        if let (ServerMessage::Welcome { nodes, .. }, Some(cluster)) = (message, &self.cluster) {
            *nodes = cluster.public_urls();
        }
    }

    /// Joins the streamer, for a page that has nothing to send before; it may leave meanwhile.
    ///
    /// # Errors
    /// It is refused, takes too long, or the WebSocket ends.
    pub async fn join(
        &mut self,
        join: ipc::Join,
        socket: &Socket,
    ) -> Result<(supervisor::Handle, PeerId), End> {
        let joining = timeout(JOIN_DEADLINE, self.registry.join(&self.id, join, socket.clone()));
        tokio::pin!(joining);
        loop {
            tokio::select! {
                joined = &mut joining => {
                    let refused = |error| End::refused(ApiError::from(error).problem("").detail);
                    let joined = joined.map_err(|_| End::refused("joining took too long"))?.map_err(refused)?;
                    return Ok((joined.streamer, joined.peer));
                }
                frame = self.websocket.receive() => drop(frame?),
            }
        }
    }

    /// The WebSocket has ended, and its peer with it; but for a server that shuts down, whose peers stay: their media goes on.
    pub async fn leave(&self, peer: PeerId, socket: &Socket, end: &Result<Infallible, End>) {
        let leaves = !matches!(end, Err(End::Closed(Close::Server)));
        self.registry.leave(&self.id, peer, socket.number(), leaves).await;
    }
}
