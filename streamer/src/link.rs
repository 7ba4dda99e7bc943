//! The connections to the web-server, as the control loop uses them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common::id::RequestId;
use common::ipc::{Code, Payload, Purpose, Request, RequestError, StreamerIpcMessage};
use serde::Serialize;

use crate::ipc::{Connection, ConnectionId};

/// What is still queued at the end gets this long to be written.
const FLUSH_TIME: Duration = Duration::from_millis(200);

/// Names a request among all that are unanswered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asked {
    /// The connection that it came by.
    pub connection: ConnectionId,
    /// Its id there.
    pub request: RequestId,
}

impl Asked {
    /// Where the reply to `request` goes, which is the one that this names.
    pub fn by<R: Request>(self, _request: &R) -> ReplyTo<R::Reply> {
        ReplyTo::new(self)
    }
}

/// Where a reply of type `T` goes.
pub struct ReplyTo<T> {
    asked: Asked,
    reply: PhantomData<fn(T)>,
}

impl<T> ReplyTo<T> {
    /// The reply to the request that `asked` names.
    pub fn new(asked: Asked) -> Self {
        Self { asked, reply: PhantomData }
    }
}

// Derived ones would ask the same of `T`.
impl<T> Clone for ReplyTo<T> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<T> Copy for ReplyTo<T> {}

impl<T> PartialEq for ReplyTo<T> {
    fn eq(&self, other: &Self) -> bool {
        self.asked == other.asked
    }
}

impl<T> Eq for ReplyTo<T> {}

impl<T> fmt::Debug for ReplyTo<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.asked.fmt(f)
    }
}

/// The reply to a request, encoded.
#[derive(Debug)]
pub struct Finished {
    asked: Asked,
    result: Result<Payload, RequestError>,
}

impl Finished {
    /// With its reply, or why there is none.
    pub fn new<T: Serialize>(to: ReplyTo<T>, result: Result<T, RequestError>) -> Self {
        let result = result.and_then(|reply| {
            let payload = Payload::of(&reply);
            payload.map_err(|error| RequestError::new(Code::ReplyFailed, error.to_string()))
        });
        Self { asked: to.asked, result }
    }

    /// The request, and its reply or why there is none.
    pub fn into_parts(self) -> (Asked, Result<Payload, RequestError>) {
        (self.asked, self.result)
    }
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
        if let Some(slot) = self.of(purpose) {
            *slot = Some(connection);
        }
    }

    /// A connection has ended. True when it was the control connection.
    pub fn closed(&mut self, id: ConnectionId) -> bool {
        let was_control = self.control.as_ref().is_some_and(|connection| connection.id == id);
        for purpose in [Purpose::Control, Purpose::Bulk] {
            self.of(purpose).and_then(|slot| slot.take_if(|connection| connection.id == id));
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

    /// Sends the reply to a request, on the connection that it came by.
    pub fn finish(&mut self, finished: Finished) {
        let (asked, result) = finished.into_parts();
        let message = StreamerIpcMessage::Reply { request: asked.request, result };
        for purpose in [Purpose::Control, Purpose::Bulk] {
            let Some(slot) = self.of(purpose) else { continue };
            if slot.as_ref().is_some_and(|connection| connection.id == asked.connection) {
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

    /// The connection of a purpose that has one; those for media are not held here.
    fn of(&mut self, purpose: Purpose) -> Option<&mut Option<Connection>> {
        match purpose {
            Purpose::Control => Some(&mut self.control),
            Purpose::Bulk => Some(&mut self.bulk),
            Purpose::Media => None,
        }
    }
}
