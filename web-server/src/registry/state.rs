//! The life of a streamer as the registry sees it.
//!
//! ```text
//! starting ──source runs──▶ running ◀──source runs── restarting ──▶ (ended again: restarting, or failed)
//!    │  │                    │  │  └──ended──────────────▲   ▲
//!    │  └──────ended─────────┼──┴─▶ failed ──asked for───┤   └── from starting too
//!    │                       ├──halt──▶ stopped ─────────┘
//!    │                       │         │
//!    └─────────stop──────────┴─▶ stopping ──gone──▶ (removed)
//! ```

use chrono::{DateTime, Utc};
use common::signal::StreamerState;

use crate::supervisor::Failure;

/// Where a streamer is in its life, and since when.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Life {
    /// When it came here.
    pub since: DateTime<Utc>,
    /// Where.
    pub stage: Stage,
}

/// The stages of a life, each with what is known only in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Stage {
    /// Its process or its source is being started.
    Starting,
    /// Its source has produced a keyframe.
    Running,
    /// Its process ended, or is being ended, and another one is or will be started.
    Restarting {
        /// Why.
        reason: String,
        /// When it will be, while that is waited for.
        next: Option<DateTime<Utc>>,
    },
    /// Its process ended, or never began.
    Failed(Failure),
    /// Its process was told to end, and is gone or goes in a moment.
    Stopped {
        /// Why.
        reason: String,
    },
    /// It was told to end.
    Stopping {
        /// Why.
        reason: String,
    },
}

/// What can happen to it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// The source has produced a keyframe.
    SourceRuns,
    /// The process ended, though nobody told it to, and is not started again.
    Ended(Failure),
    /// Another process takes its place.
    Restart {
        /// Why.
        reason: String,
        /// When it will be started, if that is waited for.
        next: Option<DateTime<Utc>>,
    },
    /// Its process shall end, and none take its place until that is asked for.
    Halt {
        /// Why.
        reason: String,
    },
    /// It shall end.
    Stop {
        /// Why.
        reason: String,
    },
}

impl Life {
    /// A life that begins.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self { since: now, stage: Stage::Starting }
    }

    /// What becomes of it; `None` when it stays as it is.
    pub fn after(&self, now: DateTime<Utc>, change: Change) -> Option<Self> {
        let stage = match (&self.stage, change) {
            (Stage::Stopping { .. }, _)
            | (Stage::Running | Stage::Failed(_) | Stage::Stopped { .. }, Change::SourceRuns)
            | (Stage::Failed(_) | Stage::Stopped { .. }, Change::Ended(_))
            | (Stage::Starting | Stage::Failed(_) | Stage::Stopped { .. }, Change::Halt { .. }) => {
                return None;
            }
            (Stage::Starting | Stage::Restarting { .. }, Change::SourceRuns) => Stage::Running,
            (Stage::Starting | Stage::Running | Stage::Restarting { .. }, Change::Ended(failure)) => {
                Stage::Failed(failure)
            }
            (Stage::Running | Stage::Restarting { .. }, Change::Halt { reason }) => Stage::Stopped { reason },
            (_, Change::Restart { reason, next }) => Stage::Restarting { reason, next },
            (_, Change::Stop { reason }) => Stage::Stopping { reason },
        };
        Some(Self { since: now, stage })
    }

    /// As clients see it.
    pub fn state(&self) -> StreamerState {
        match self.stage {
            Stage::Starting => StreamerState::Starting,
            Stage::Running => StreamerState::Running,
            Stage::Restarting { .. } => StreamerState::Restarting,
            Stage::Failed(_) => StreamerState::Failed,
            Stage::Stopped { .. } => StreamerState::Stopped,
            Stage::Stopping { .. } => StreamerState::Stopping,
        }
    }

    /// Why it is there, if there is more to say.
    pub fn reason(&self) -> Option<&str> {
        match &self.stage {
            Stage::Starting | Stage::Running => None,
            Stage::Failed(failure) => Some(&failure.reason),
            Stage::Restarting { reason, .. } | Stage::Stopped { reason } | Stage::Stopping { reason } => {
                Some(reason)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    fn failure() -> Failure {
        Failure { reason: "killed by signal 9".into(), exit: None, error: None, log: Vec::new() }
    }

    fn stop() -> Change {
        Change::Stop { reason: "deleted".into() }
    }

    #[test]
    fn each_stage_goes_only_where_the_drawing_says() {
        use StreamerState as S;
        let running = Life { since: at(0), stage: Stage::Running };
        let failed = Life { since: at(0), stage: Stage::Failed(failure()) };
        let stopping = Life { since: at(0), stage: Stage::Stopping { reason: "r".into() } };
        let restarting = Life { since: at(0), stage: Stage::Restarting { reason: "r".into(), next: None } };
        let halted = Life { since: at(0), stage: Stage::Stopped { reason: "r".into() } };
        let restart = || Change::Restart { reason: "r".into(), next: Some(at(9)) };
        let halt = || Change::Halt { reason: "r".into() };
        let again = Some(S::Restarting);
        let over = Some(S::Stopping);
        for (life, runs, ended, halts, restarted, stopped) in [
            (Life::new(at(0)), Some(S::Running), Some(S::Failed), None, again, over),
            (running, None, Some(S::Failed), Some(S::Stopped), again, over),
            (restarting, Some(S::Running), Some(S::Failed), Some(S::Stopped), again, over),
            (failed, None, None, None, again, over),
            (halted, None, None, None, again, over),
            (stopping, None, None, None, None, None),
        ] {
            let after = |change| life.after(at(1), change).map(|l| l.state());
            assert_eq!(after(Change::SourceRuns), runs, "{life:?}");
            assert_eq!(after(Change::Ended(failure())), ended, "{life:?}");
            assert_eq!(after(halt()), halts, "{life:?}");
            assert_eq!(after(restart()), restarted, "{life:?}");
            assert_eq!(after(stop()), stopped, "{life:?}");
        }
    }

    #[test]
    fn a_change_sets_the_time_and_carries_the_reason() {
        let failed = Life::new(at(5)).after(at(9), Change::Ended(failure())).unwrap();
        assert_eq!((failed.since, failed.reason()), (at(9), Some("killed by signal 9")));
        let stopping = failed.after(at(11), stop()).unwrap();
        assert_eq!((stopping.since, stopping.reason()), (at(11), Some("deleted")));
    }
}
