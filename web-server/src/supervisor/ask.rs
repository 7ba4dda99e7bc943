//! How requests to a streamer are made, and the table of those that wait for their replies.

use std::collections::HashMap;
use std::time::Duration;

use common::clipboard::Wanted;
use common::id::RequestId;
use common::ipc::{AnyRequest, FrameError, Payload, RequestError};
use tokio::sync::oneshot;

/// Most requests that wait for their replies on one connection. More are refused with [`AskError::Busy`]: each belongs to an
/// HTTP request or a joining viewer, and a streamer that is so far behind is not helped by more. Those that nobody waits for
/// any more make room, but for the registry's, which always waits.
const MAX_PENDING: usize = 256;

/// How long the reply to most requests may take.
pub const DEADLINE: Duration = Duration::from_secs(10);

/// How long the reply to a request may take.
pub fn deadline(request: &AnyRequest) -> Duration {
    match request {
        // Typing is paced by the session: 4096 characters take seconds, and there may be many texts.
        AnyRequest::SendInput(_) => Duration::from_secs(60),
        _ => DEADLINE,
    }
}

/// True when a request or its reply is large, and must not delay others.
pub fn is_bulk(request: &AnyRequest) -> bool {
    match request {
        AnyRequest::TakeSnapshot(_) => true,
        AnyRequest::GetClipboard(request) => request.wanted == Wanted::Picture,
        AnyRequest::SetClipboard(request) => request.content.png.is_some(),
        _ => false,
    }
}

/// Why there is no answer, or a bad one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum AskError {
    /// The streamer's own words.
    #[error(transparent)]
    Refused(#[from] RequestError),
    /// The streamer is gone, or the connection to it was lost before it answered.
    #[error("the streamer ended before it answered")]
    Gone,
    /// It did not answer in time.
    #[error("the streamer did not answer within {} s", .0.as_secs())]
    Timeout(Duration),
    /// Too many questions wait already.
    #[error("the streamer is busy; try again")]
    Busy,
    /// It answered something else, or the request does not fit a message.
    #[error("the streamer gave an answer that does not fit the question")]
    Unexpected,
}

impl From<FrameError> for AskError {
    fn from(_: FrameError) -> Self {
        AskError::Unexpected
    }
}

/// Where an answer goes.
pub type Answer = oneshot::Sender<Result<Payload, AskError>>;

/// Names a request of the registry's among all that it has made of one streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Ticket(pub u64);

/// Who waits.
#[derive(Debug)]
pub enum Waiting {
    /// Somebody who made a request.
    Answer(Answer),
    /// The registry: its replies take the same way as everything else that the streamer says, in the same order.
    Registry(Ticket),
    /// The supervisor itself, for the source to start.
    Start,
}

/// May stop waiting.
pub trait Abandon {
    /// True when nobody waits any more.
    fn is_abandoned(&self) -> bool;
}

impl Abandon for Answer {
    fn is_abandoned(&self) -> bool {
        self.is_closed()
    }
}

impl Abandon for Waiting {
    fn is_abandoned(&self) -> bool {
        matches!(self, Waiting::Answer(answer) if answer.is_abandoned())
    }
}

/// The requests of one connection that wait for their replies.
#[derive(Debug)]
pub struct Pending<W> {
    last: u64,
    waiting: HashMap<RequestId, W>,
}

impl<W> Default for Pending<W> {
    fn default() -> Self {
        Self { last: 0, waiting: HashMap::new() }
    }
}

impl<W: Abandon> Pending<W> {
    /// Enters a request, and gives it an id.
    ///
    /// # Errors
    /// Gives it back when too many wait.
    pub fn enter(&mut self, waiting: W) -> Result<RequestId, W> {
        if self.waiting.len() >= MAX_PENDING {
            self.waiting.retain(|_, waiting| !waiting.is_abandoned());
        }
        if self.waiting.len() >= MAX_PENDING {
            return Err(waiting);
        }
        self.last += 1;
        let id = RequestId(self.last);
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Who waits for this reply; `None` when nobody does (any more).
    pub fn take(&mut self, id: RequestId) -> Option<W> {
        self.waiting.remove(&id)
    }

    /// Everybody who waits: the connection is lost, and no reply will come.
    pub fn take_all(&mut self) -> Vec<W> {
        self.waiting.drain().map(|(_, waiting)| waiting).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_bounded_and_makes_room_for_those_who_still_wait() {
        let mut pending = Pending::default();
        let mut kept = Vec::new();
        for n in 0..MAX_PENDING {
            let (answer, receiver) = oneshot::channel();
            pending.enter(answer).unwrap();
            if n > 0 {
                kept.push(receiver);
            }
        }
        let enter = |pending: &mut Pending<Answer>| {
            let (answer, receiver) = oneshot::channel();
            (pending.enter(answer).is_ok(), receiver)
        };
        let (first, _waits) = enter(&mut pending);
        assert!(first, "the one whose asker has gone makes room");
        assert!(!enter(&mut pending).0, "all others still wait");
        kept.clear();
        assert!(enter(&mut pending).0);
    }

    #[test]
    fn losing_the_connection_gives_back_everybody_who_waits() {
        let mut pending = Pending::default();
        pending.enter(Waiting::Registry(Ticket(7))).unwrap();
        pending.enter(Waiting::Start).unwrap();
        assert_eq!(pending.take_all().len(), 2);
        assert!(pending.take_all().is_empty());
    }
}
