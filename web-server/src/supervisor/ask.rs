//! What can be asked of a streamer, and the table of questions that wait for their answers.

use std::collections::HashMap;
use std::time::Duration;

use common::api::{InputRequest, SnapshotFormat};
use common::clipboard::{Content, Wanted};
use common::control::ControlChange;
use common::id::{PeerId, RequestId, SlotIndex, SourceName};
use common::ipc::{IcePatch, Join, Json, Reply, RequestError, ServerIpcMessage};
use common::signal::Role;
use common::slots::BindSlot;
use common::spec::SourceSpec;
use tokio::sync::oneshot;

use crate::signaling::Socket;

/// Most questions that wait for an answer on one connection. More are refused with [`AskError::Busy`]: each
/// belongs to an HTTP request or a joining viewer, and a streamer that is so far behind is not helped by more.
const MAX_PENDING: usize = 256;

/// A question to a streamer that has one answer.
#[derive(Debug, Clone, PartialEq)]
pub enum Ask {
    /// A viewer comes.
    AddPeer(Join),
    /// End a peer.
    RemovePeer {
        /// Whom.
        peer: PeerId,
        /// Told to the peer.
        reason: String,
    },
    /// Change what a peer may do.
    UpdatePeer {
        /// Whose.
        peer: PeerId,
        /// What it may do from now on.
        role: Role,
    },
    /// Carry out input.
    Input(InputRequest),
    /// A picture now.
    Snapshot {
        /// Of which slot.
        slot: SlotIndex,
        /// File format.
        format: SnapshotFormat,
        /// Scaled down to this width, pixels.
        width: Option<u32>,
    },
    /// Read this of the clipboard.
    GetClipboard(Wanted),
    /// Set the clipboard.
    SetClipboard(Content),
    /// Show something in a slot; `None`: the first free one.
    BindSlot {
        /// Which.
        slot: Option<SlotIndex>,
        /// What.
        bind: BindSlot,
    },
    /// Show nothing in a slot.
    ClearSlot {
        /// Which.
        slot: SlotIndex,
    },
    /// The windows that can be shared.
    Windows,
    /// The sources that there are.
    Sources,
    /// Add a named source.
    AddSource {
        /// Its name.
        name: SourceName,
        /// What it is.
        source: SourceSpec,
    },
    /// Remove a named source.
    RemoveSource {
        /// Its name.
        name: SourceName,
    },
    /// Change who may steer, or ask.
    Control(ControlChange),
    /// Tell a player's connection of its side of ICE.
    PatchPeer {
        /// Whose.
        peer: PeerId,
        /// What it says.
        patch: IcePatch,
    },
    /// Resize a desktop.
    Resize {
        /// Slot whose source is resized.
        slot: SlotIndex,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
}

impl Ask {
    /// How long the answer may take.
    pub fn deadline(&self) -> Duration {
        match self {
            // Typing is paced by the session: 4096 characters take seconds, and there may be many texts.
            Ask::Input(_) => Duration::from_secs(60),
            _ => Duration::from_secs(10),
        }
    }

    /// True when it or its answer is large, and must not delay others.
    pub fn is_bulk(&self) -> bool {
        match self {
            Ask::Snapshot { .. } | Ask::GetClipboard(Wanted::Picture) => true,
            Ask::SetClipboard(content) => content.png.is_some(),
            _ => false,
        }
    }

    /// The message that asks it.
    pub fn into_message(self, request: RequestId) -> ServerIpcMessage {
        match self {
            Ask::AddPeer(join) => ServerIpcMessage::AddPeer { request, join: Json(join) },
            Ask::RemovePeer { peer, reason } => ServerIpcMessage::RemovePeer { request, peer, reason },
            Ask::UpdatePeer { peer, role } => ServerIpcMessage::UpdatePeer { request, peer, role },
            Ask::Input(input) => ServerIpcMessage::Input { request, input: Json(input) },
            Ask::Snapshot { slot, format, width } => {
                ServerIpcMessage::Snapshot { request, slot, format, width }
            }
            Ask::GetClipboard(wanted) => ServerIpcMessage::GetClipboard { request, wanted },
            Ask::SetClipboard(content) => ServerIpcMessage::SetClipboard { request, content },
            Ask::BindSlot { slot, bind } => ServerIpcMessage::BindSlot { request, slot, bind: Json(bind) },
            Ask::ClearSlot { slot } => ServerIpcMessage::ClearSlot { request, slot },
            Ask::Windows => ServerIpcMessage::Windows { request },
            Ask::Sources => ServerIpcMessage::Sources { request },
            Ask::AddSource { name, source } => {
                ServerIpcMessage::AddSource { request, name, source: Json(source) }
            }
            Ask::Control(change) => ServerIpcMessage::Control { request, change: Json(change) },
            Ask::RemoveSource { name } => ServerIpcMessage::RemoveSource { request, name },
            Ask::PatchPeer { peer, patch } => {
                ServerIpcMessage::PatchPeer { request, peer, patch: Json(patch) }
            }
            Ask::Resize { slot, width, height } => ServerIpcMessage::Resize { request, slot, width, height },
        }
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
    /// It answered something else.
    #[error("the streamer gave an answer that does not fit the question")]
    Unexpected,
}

/// Where an answer goes.
pub type Answer = oneshot::Sender<Result<Reply, AskError>>;

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
    /// Somebody who asked an [`Ask`].
    Answer(Answer),
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
            Waiting::Answer(answer) => drop(answer.send(Err(error))),
            Waiting::Join { answer, .. } => drop(answer.send(Err(error))),
            Waiting::Start => {}
        }
    }

    fn is_abandoned(&self) -> bool {
        match self {
            Waiting::Answer(answer) => answer.is_closed(),
            Waiting::Join { answer, .. } => answer.is_closed(),
            Waiting::Start => false,
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
        self.waiting.drain().for_each(|(_, waiting)| waiting.fail(AskError::Gone));
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
