//! Why a streamer ended.
//!
//! A web-server that adopted a streamer is not its parent and cannot wait for it. Therefore the monitor, or whatever cleans
//! up in its place, writes the reason to `exit.json` in the streamer's run directory.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::secret_url::hide_addresses;

/// File in the run directory that is written last, when nothing else is left of the session.
pub const EXIT_FILE: &str = "exit.json";

/// How the streamer's process ended, and the reason if it gave one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerExit {
    /// Exit code, if it exited.
    pub code: Option<i32>,
    /// Signal, if one ended it.
    pub signal: Option<i32>,
    /// The reason that it gave.
    pub reason: ExitReason,
}

/// Why a streamer ended, as it or its monitor says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum ExitReason {
    /// It was told to stop.
    Stopped,
    /// The source could not be started.
    SourceFailed {
        /// A description of what happened, for people.
        message: String,
        /// A code for programs, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        code: Option<String>,
    },
    /// The source ended: the command exited, the X server died.
    SourceEnded {
        /// A description of what happened, for people.
        message: String,
    },
    /// The source has finished normally: the command exited with code 0, or the file is at its end.
    Finished {
        /// A description of what happened, for people.
        message: String,
    },
    /// The session's X server died.
    XServerDied {
        /// A description of what happened, for people.
        message: String,
    },
    /// It was killed for want of memory; known only where its control group counts that.
    OutOfMemory,
    /// It hung, and was killed.
    Hung {
        /// A description of what happened, for people.
        message: String,
    },
    /// A fatal error.
    Fatal {
        /// A description of what happened, for people.
        message: String,
    },
    /// It gave no reason: it crashed or was killed.
    Unknown,
}

impl StreamerExit {
    /// The same without addresses of sources, for those who may not see them.
    #[must_use]
    pub fn without_addresses(mut self) -> Self {
        match &mut self.reason {
            ExitReason::SourceFailed { message, .. }
            | ExitReason::SourceEnded { message }
            | ExitReason::Finished { message }
            | ExitReason::XServerDied { message }
            | ExitReason::Hung { message }
            | ExitReason::Fatal { message } => *message = hide_addresses(message),
            ExitReason::Stopped | ExitReason::OutOfMemory | ExitReason::Unknown => {}
        }
        self
    }
}

impl std::fmt::Display for StreamerExit {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match (&self.reason, self.signal, self.code) {
            (ExitReason::Stopped, ..) => f.write_str("stopped"),
            (
                ExitReason::SourceFailed { message, .. }
                | ExitReason::SourceEnded { message }
                | ExitReason::Finished { message }
                | ExitReason::XServerDied { message }
                | ExitReason::Hung { message }
                | ExitReason::Fatal { message },
                ..,
            ) => f.write_str(message),
            (ExitReason::OutOfMemory, ..) => f.write_str("killed, as there was no memory left for it"),
            (ExitReason::Unknown, Some(signal), _) => match signal_name(signal) {
                Some((name, how)) => write!(f, "{how} (signal {signal}, {name})"),
                None => write!(f, "killed by signal {signal}"),
            },
            // As Rust ends a program that panics.
            (ExitReason::Unknown, None, Some(101)) => f.write_str("panicked (exit code 101)"),
            (ExitReason::Unknown, None, Some(code)) => write!(f, "exited with code {code}"),
            (ExitReason::Unknown, None, None) => f.write_str("ended for an unknown reason"),
        }
    }
}

/// Name of a signal that ends programs, on every Linux that we run on, and what it means.
fn signal_name(signal: i32) -> Option<(&'static str, &'static str)> {
    let (name, how) = match signal {
        4 => ("SIGILL", "crashed"),
        6 => ("SIGABRT", "aborted"),
        7 => ("SIGBUS", "crashed"),
        8 => ("SIGFPE", "crashed"),
        9 => ("SIGKILL", "killed"),
        11 => ("SIGSEGV", "crashed"),
        15 => ("SIGTERM", "killed"),
        _ => return None,
    };
    Some((name, how))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_without_a_word_are_told_apart() {
        let end = |code, signal| StreamerExit { code, signal, reason: ExitReason::Unknown }.to_string();
        for (code, signal, text) in [
            (None, Some(9), "killed (signal 9, SIGKILL)"),
            (None, Some(11), "crashed (signal 11, SIGSEGV)"),
            (None, Some(6), "aborted (signal 6, SIGABRT)"),
            (None, Some(31), "killed by signal 31"),
            (Some(101), None, "panicked (exit code 101)"),
            (Some(3), None, "exited with code 3"),
            (None, None, "ended for an unknown reason"),
        ] {
            assert_eq!(end(code, signal), text);
        }
    }
}
