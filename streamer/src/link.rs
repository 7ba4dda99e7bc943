//! The connections to the web-server, as the control loop uses them.

use std::time::Duration;

use common::id::RequestId;
use common::ipc::{Purpose, Reply, RequestError, StreamerIpcMessage};

use crate::ipc::{Connection, ConnectionId};

/// What is still queued at the end gets this long to be written.
const FLUSH_TIME: Duration = Duration::from_millis(200);

/// Whom a reply goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ReplyTo {
    /// The connection that asked.
    pub connection: ConnectionId,
    /// Its request.
    pub request: RequestId,
}

/// At most one connection of each purpose.
#[derive(Debug, Default)]
pub struct Link {
    control: Option<Connection>,
    bulk: Option<Connection>,
}

impl Link {
    /// A newer connection replaces the older one of its purpose.
    pub fn connected(&mut self, connection: Connection) {
        let purpose = connection.purpose;
        *self.of(purpose) = Some(connection);
    }

    /// A connection has ended. True when it was the control connection.
    pub fn closed(&mut self, id: ConnectionId) -> bool {
        let was_control = self.control.as_ref().is_some_and(|connection| connection.id == id);
        for purpose in [Purpose::Control, Purpose::Bulk] {
            self.of(purpose).take_if(|connection| connection.id == id);
        }
        was_control
    }

    /// True for a connection that has not been replaced.
    pub fn is_current(&self, id: ConnectionId) -> bool {
        [&self.control, &self.bulk].into_iter().flatten().any(|connection| connection.id == id)
    }

    /// Says something on the control connection. Lost when there is none: `Ready` tells it all to the next one.
    pub fn send(&mut self, message: StreamerIpcMessage) {
        if self.control.as_ref().is_some_and(|connection| !connection.send(message)) {
            tracing::error!("the web-server does not read: connection closed");
            self.control = None;
        }
    }

    /// Answers a request, on the connection that it came by.
    pub fn reply(&mut self, to: ReplyTo, result: Result<Reply, RequestError>) {
        let message = StreamerIpcMessage::Reply { request: to.request, result };
        for purpose in [Purpose::Control, Purpose::Bulk] {
            let slot = self.of(purpose);
            if slot.as_ref().is_some_and(|connection| connection.id == to.connection) {
                if slot.as_ref().is_some_and(|connection| !connection.send(message)) {
                    *slot = None;
                }
                return;
            }
        }
    }

    /// Closes both connections after what is queued has been written.
    pub async fn close(&mut self) {
        for connection in [self.control.take(), self.bulk.take()].into_iter().flatten() {
            // A web-server that does not read cannot keep a session.
            let _ = tokio::time::timeout(FLUSH_TIME, connection.close()).await;
        }
    }

    fn of(&mut self, purpose: Purpose) -> &mut Option<Connection> {
        match purpose {
            Purpose::Control => &mut self.control,
            Purpose::Bulk => &mut self.bulk,
        }
    }
}
