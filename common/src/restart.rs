//! Restart policies: when a streamer that has ended by itself is started again.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::exit::StreamerExit;
use crate::field::InvalidField;
use crate::secret_url::hide_addresses;

/// Longest pause that can be asked for, ms.
const MAX_DELAY_MS: u32 = 3_600_000;
/// Most quick failures in a row that can be asked for.
const MAX_ATTEMPTS: u32 = 1_000_000;

/// Whether and when a streamer that has ended by itself is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct RestartSpec {
    /// The ends after which it is started again.
    pub policy: RestartPolicy,
    /// Pause before the first restart, ms; doubled with each quick failure, a quarter more or less by chance.
    #[schema(maximum = 3600000)]
    pub delay_ms: u32,
    /// Longest such pause, ms.
    #[schema(maximum = 3600000)]
    pub max_delay_ms: u32,
    /// Quick failures in a row after which it is left in `failed`, 1..=1000000. One that ran for a minute counts anew.
    #[schema(minimum = 1, maximum = 1000000)]
    pub attempts: u32,
}

/// After which ends a streamer is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// It is never started again.
    Never,
    /// When it crashed, was killed, hung, or its source ended with an error; not when its source was done (a desktop's command
    /// exited with code 0), and not when it has never run.
    #[default]
    OnFailure,
    /// Whenever it was not told to end.
    Always,
}

impl Default for RestartSpec {
    fn default() -> Self {
        Self { policy: RestartPolicy::default(), delay_ms: 250, max_delay_ms: 30_000, attempts: 5 }
    }
}

impl RestartSpec {
    /// Whether it equals the default and can be left out.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidField> {
        let delays = [("restart.delay_ms", self.delay_ms), ("restart.max_delay_ms", self.max_delay_ms)];
        for (field, value) in delays {
            if value > MAX_DELAY_MS {
                return Err(InvalidField::new(field, format!("must be at most {MAX_DELAY_MS}, not {value}")));
            }
        }
        if !(1..=MAX_ATTEMPTS).contains(&self.attempts) {
            let message = format!("must be from 1 to {MAX_ATTEMPTS}, not {}", self.attempts);
            return Err(InvalidField::new("restart.attempts", message));
        }
        Ok(())
    }
}

/// Restarts of a streamer so far.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct Restarts {
    /// How often it was started again since it was created.
    pub count: u32,
    /// Time of the next restart, while one is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub next: Option<DateTime<Utc>>,
    /// How it last ended, if it has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub last: Option<LastEnd>,
}

/// How a streamer's process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct LastEnd {
    /// Time of the end.
    pub at: DateTime<Utc>,
    /// The reason, for people.
    pub reason: String,
    /// Exit code or signal and the reason that it gave, if a process was started.
    pub exit: Option<StreamerExit>,
    /// The last lines of its log.
    pub log: Vec<String>,
}

impl LastEnd {
    /// The same without logs and addresses of sources, for those who may not see them.
    #[must_use]
    pub fn without_log(self) -> Self {
        let exit = self.exit.map(StreamerExit::without_addresses);
        Self { log: Vec::new(), reason: hide_addresses(&self.reason), exit, ..self }
    }
}

/// `GET /api/streamers/{id}/logs`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct LogTail {
    /// The last lines, in order; long ones are cut.
    pub lines: Vec<String>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_out_is_the_default_and_bounds_are_checked() {
        let read = |text| serde_json::from_str::<RestartSpec>(text).unwrap();
        assert!(read("{}").is_default());
        let never = read(r#"{"policy":"never"}"#);
        assert_eq!(never, RestartSpec { policy: RestartPolicy::Never, ..RestartSpec::default() });
        for (text, field) in [
            (r#"{"attempts":0}"#, "restart.attempts"),
            (r#"{"delay_ms":3600001}"#, "restart.delay_ms"),
            (r#"{"max_delay_ms":3600001}"#, "restart.max_delay_ms"),
        ] {
            assert_eq!(read(text).validate().unwrap_err().field, field);
        }
        assert!(serde_json::from_str::<RestartSpec>(r#"{"policy":"sometimes"}"#).is_err());
    }
}
