//! Why a streamer ended.
//!
//! A web-server that adopted a streamer is not its parent and cannot wait for it, so the monitor, or whoever clears a
//! session away in its place, writes the reason to `exit.json` in the streamer's run directory.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// File in the run directory that is written as the very last thing, when nothing else is left of the session.
pub const EXIT_FILE: &str = "exit.json";

/// How the streamer process ended, and why if it could say so.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerExit {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
    /// Its own last word.
    pub reason: ExitReason,
}

/// Why, in the streamer's or the monitor's words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExitReason {
    /// It was told to stop.
    Stopped,
    /// The source could not be started.
    SourceFailed {
        /// What happened.
        message: String,
    },
    /// The source ended: the command exited, the X server died.
    SourceEnded {
        /// What happened.
        message: String,
    },
    /// It found that it cannot go on.
    Fatal {
        /// What happened.
        message: String,
    },
    /// It ended without a word: a crash or a kill.
    Unknown,
}

impl std::fmt::Display for StreamerExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.reason, self.signal, self.code) {
            (ExitReason::Stopped, ..) => f.write_str("stopped"),
            (
                ExitReason::SourceFailed { message }
                | ExitReason::SourceEnded { message }
                | ExitReason::Fatal { message },
                ..,
            ) => f.write_str(message),
            (ExitReason::Unknown, Some(signal), _) => write!(f, "killed by signal {signal}"),
            (ExitReason::Unknown, None, Some(code)) => write!(f, "exited with code {code}"),
            (ExitReason::Unknown, None, None) => f.write_str("ended for an unknown reason"),
        }
    }
}
