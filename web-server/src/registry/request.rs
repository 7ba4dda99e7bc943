//! Whether a request is granted, given what is known: pure, so that every answer can be tested.

use common::id::StreamerId;
use common::spec::{StreamerSpec, hide_addresses};

use super::state::{Life, Stage};
use crate::supervisor::users::NoneLeft;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// There is no such streamer.
    #[error("there is no streamer {0}")]
    NotFound(StreamerId),
    /// The id is in use.
    #[error("a streamer {0} with another spec is already there; delete it first or choose another id")]
    Exists(StreamerId),
    /// No more fit.
    #[error("{max} streamers are there already, and no more are allowed (--max-streamers)")]
    TooMany {
        /// The bound.
        max: usize,
    },
    /// Each needs a user of its own, and none is left.
    #[error("{0}; delete a streamer, or make the range larger")]
    NoUser(#[from] NoneLeft),
    /// It has not started yet.
    #[error("the streamer is still starting")]
    Starting,
    /// It has ended, and another process is being started.
    #[error("the streamer is being started again: {}", hide_addresses(.0))]
    Restarting(String),
    /// It ended by itself.
    #[error("the streamer has failed: {}", hide_addresses(.0))]
    Failed(String),
    /// Its process was ended.
    #[error("the streamer is stopped: {}; POST …/restart starts it again", hide_addresses(.0))]
    Stopped(String),
    /// It is about to end.
    #[error("the streamer is stopping")]
    Stopping,
    /// We are about to end.
    #[error("the server is shutting down")]
    ShuttingDown,
    /// It has been done, but a crash would undo it.
    #[error(
        "the streamer {id} has ended, but this cannot be written to the state directory ({reason}); make room there: a \
         server that is started before that is written starts the streamer again"
    )]
    NotDurable {
        /// Of what has ended.
        id: StreamerId,
        /// Why it is not on the disk.
        reason: String,
    },
    /// What is kept on the disk cannot be read.
    #[error("the state directory cannot be read: {0}")]
    Store(String),
}

/// How `POST /api/streamers` is granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Admission {
    /// Start it.
    Create,
    /// It is already there as it is asked for.
    Existing,
}

/// May `id` be created with `spec`, given who has that id, if anybody, and how many there are?
///
/// # Errors
/// The reason why not.
pub fn create(
    id: &StreamerId,
    spec: &StreamerSpec,
    holder: Option<(&Life, &StreamerSpec)>,
    count: usize,
    max: usize,
) -> Result<Admission, Denied> {
    match holder {
        Some((Life { stage: Stage::Stopping { .. }, .. }, _)) => Err(Denied::Stopping),
        Some((_, existing)) if existing == spec => Ok(Admission::Existing),
        Some(_) => Err(Denied::Exists(id.clone())),
        None if count >= max => Err(Denied::TooMany { max }),
        None => Ok(Admission::Create),
    }
}

/// May something be asked of a streamer that only a running one can do?
///
/// # Errors
/// The reason why not.
pub fn reach(life: &Life) -> Result<(), Denied> {
    match &life.stage {
        Stage::Running => Ok(()),
        Stage::Starting => Err(Denied::Starting),
        Stage::Restarting { reason, .. } => Err(Denied::Restarting(reason.clone())),
        Stage::Failed(failure) => Err(Denied::Failed(failure.reason.clone())),
        Stage::Stopped { reason } => Err(Denied::Stopped(reason.clone())),
        Stage::Stopping { .. } => Err(Denied::Stopping),
    }
}

/// Decides whether a streamer can be asked for something that it can also do while it is starting.
///
/// # Errors
/// The reason why it cannot.
pub fn reach_while_starting(life: &Life) -> Result<(), Denied> {
    match &life.stage {
        Stage::Starting => Ok(()),
        _ => reach(life),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::supervisor::Failure;
    use chrono::DateTime;

    fn life(stage: Stage) -> Life {
        Life { since: DateTime::UNIX_EPOCH, stage }
    }

    fn spec(fps: u32) -> StreamerSpec {
        serde_json::from_value(serde_json::json!({"source": {"type": "test", "fps": fps}})).unwrap()
    }

    fn failed() -> Stage {
        Stage::Failed(Failure::new("why"))
    }

    #[test]
    fn creating_is_granted_once_and_repeated_harmlessly() {
        let id = StreamerId::parse("a").unwrap();
        let stopping = || Stage::Stopping { reason: "r".into() };
        for (holder, count, expected) in [
            (None, 0, Ok(Admission::Create)),
            (None, 2, Err(Denied::TooMany { max: 2 })),
            (Some((Stage::Starting, 30)), 1, Ok(Admission::Existing)),
            (Some((Stage::Running, 30)), 2, Ok(Admission::Existing)),
            (Some((failed(), 30)), 1, Ok(Admission::Existing)),
            (Some((Stage::Running, 25)), 1, Err(Denied::Exists(id.clone()))),
            (Some((failed(), 25)), 1, Err(Denied::Exists(id.clone()))),
            (Some((stopping(), 30)), 1, Err(Denied::Stopping)),
            (Some((stopping(), 25)), 1, Err(Denied::Stopping)),
        ] {
            let holder = holder.map(|(stage, fps)| (life(stage), spec(fps)));
            let borrowed = holder.as_ref().map(|(life, spec)| (life, spec));
            assert_eq!(create(&id, &spec(30), borrowed, count, 2), expected, "{holder:?}");
        }
    }

    #[test]
    fn only_a_running_streamer_can_be_asked_things() {
        assert_eq!(reach(&life(Stage::Running)), Ok(()));
        assert_eq!(reach(&life(Stage::Starting)), Err(Denied::Starting));
        assert_eq!(reach_while_starting(&life(Stage::Starting)), Ok(()));
        assert_eq!(reach_while_starting(&life(failed())), Err(Denied::Failed("why".into())));
        assert_eq!(reach(&life(failed())), Err(Denied::Failed("why".into())));
        let stopped = life(Stage::Stopped { reason: "idle".into() });
        assert_eq!(reach(&stopped), Err(Denied::Stopped("idle".into())));
        assert_eq!(reach(&life(Stage::Stopping { reason: "r".into() })), Err(Denied::Stopping));
    }
}
