//! The connections to the web-server, as the control loop uses them.

use std::fmt;
use std::marker::PhantomData;
use std::time::Duration;

use common::id::RequestId;
use common::ipc::{Code, Payload, Request, RequestError, StreamerIpcMessage};
use serde::Serialize;

use crate::ipc::{Connection, ConnectionId, Lane};

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
        let lane = connection.lane;
        *self.of(lane) = Some(connection);
    }

    /// A connection has ended. True when it was the control connection.
    pub fn closed(&mut self, id: ConnectionId) -> bool {
        let was_control = self.control.as_ref().is_some_and(|connection| connection.id == id);
        for lane in [Lane::Control, Lane::Bulk] {
            self.of(lane).take_if(|connection| connection.id == id);
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
        for lane in [Lane::Control, Lane::Bulk] {
            let slot = self.of(lane);
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

    fn of(&mut self, lane: Lane) -> &mut Option<Connection> {
        match lane {
            Lane::Control => &mut self.control,
            Lane::Bulk => &mut self.bulk,
        }
    }
}
