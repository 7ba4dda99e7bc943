//! How requests to a streamer are made, and the table of those that wait for their replies.

use std::collections::HashMap;
use std::time::Duration;

use common::clipboard::Wanted;
use common::id::{PeerId, RequestId};
use common::ipc::{AnyRequest, FrameError, Payload, RequestError};
use tokio::sync::oneshot;

use crate::socket::Socket;

/// Most questions that wait for an answer on one connection. More are refused with [`AskError::Busy`]: each
/// belongs to an HTTP request or a joining viewer, and a streamer that is so far behind is not helped by more.
const MAX_PENDING: usize = 256;

/// How long the reply to a request may take.
pub fn deadline(request: &AnyRequest) -> Duration {
    match request {
        // Typing is paced by the session: 4096 characters take seconds, and there may be many texts.
        AnyRequest::SendInput(_) => Duration::from_secs(60),
        _ => Duration::from_secs(10),
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

/// A viewer that has joined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Joined {
    /// The peer that it is now.
    pub peer: PeerId,
    /// SDP, if it had offered.
    pub answer: Option<String>,
}

/// Where the answer to a viewer's join goes.
pub type JoinAnswer = oneshot::Sender<Result<Joined, AskError>>;

/// Who waits.
#[derive(Debug)]
pub enum Waiting {
    /// Somebody who made a request.
    Answer(Answer),
    /// Somebody who has a peer added. If nobody waits for the answer any more, the peer must not stay.
    Added(Answer),
    /// A viewer who joins by WebSocket. Signalling for it follows the answer at once, so the answer must
    /// take the same way as that signalling.
    Join {
        /// The viewer's WebSocket.
        socket: Socket,
        /// Told when it is attached.
        answer: JoinAnswer,
    },
    /// The supervisor itself, for the source to start.
    Start,
}

impl Waiting {
    /// Tells whoever waits that there is no answer.
    pub fn fail(self, error: AskError) {
        // Whoever has stopped waiting does not miss it.
        match self {
            Waiting::Answer(answer) | Waiting::Added(answer) => drop(answer.send(Err(error))),
            Waiting::Join { answer, .. } => drop(answer.send(Err(error))),
            Waiting::Start => {}
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Waiting::Answer(answer) => answer.is_closed(),
            Waiting::Added(_) | Waiting::Join { .. } | Waiting::Start => false,
        }
    }
}

/// The questions of one connection that wait for their answers.
#[derive(Debug, Default)]
pub struct Pending {
    last: u64,
    waiting: HashMap<RequestId, Waiting>,
}

impl Pending {
    /// A number that no other question of this connection has.
    pub fn fresh_id(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last)
    }

    /// Enters a question.
    ///
    /// # Errors
    /// Gives it back when too many wait.
    pub fn enter(&mut self, waiting: Waiting) -> Result<RequestId, Waiting> {
        if self.waiting.len() >= MAX_PENDING {
            self.waiting.retain(|_, waiting| !waiting.is_abandoned());
        }
        if self.waiting.len() >= MAX_PENDING {
            return Err(waiting);
        }
        let id = self.fresh_id();
        self.waiting.insert(id, waiting);
        Ok(id)
    }

    /// Who waits for this answer; `None` when nobody does (any more).
    pub fn take(&mut self, id: RequestId) -> Option<Waiting> {
        self.waiting.remove(&id)
    }

    /// True when nobody waits.
    pub fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// The connection is lost: no answer will come.
    pub fn fail_all(&mut self) {
        for (_, waiting) in self.waiting.drain() {
            waiting.fail(AskError::Gone);
        }
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
            pending.enter(Waiting::Answer(answer)).unwrap();
            if n > 0 {
                kept.push(receiver);
            }
        }
        let enter = |pending: &mut Pending| {
            let (answer, receiver) = oneshot::channel();
            (pending.enter(Waiting::Answer(answer)).is_ok(), receiver)
        };
        let (first, _waits) = enter(&mut pending);
        assert!(first, "the one whose asker has gone makes room");
        assert!(!enter(&mut pending).0, "all others still wait");
        kept.clear();
        assert!(enter(&mut pending).0);
    }

    #[test]
    fn losing_the_connection_answers_everybody() {
        let mut pending = Pending::default();
        let (answer, mut receiver) = oneshot::channel();
        pending.enter(Waiting::Answer(answer)).unwrap();
        pending.fail_all();
        assert_eq!(receiver.try_recv(), Ok(Err(AskError::Gone)));
        assert!(pending.is_empty());
    }
}
