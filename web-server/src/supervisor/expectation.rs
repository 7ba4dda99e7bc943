//! What is expected of a streamer's process and until when, and how it is told that it ended. Pure.
//!
//! ```text
//! starting ──runs──▶ (no deadline) ──told to end──▶ ending
//!    └──start failed──▶ ending                        │
//!    deadline over ──────────▶ it is killed ◀─────────┘
//! ```
//!
//! Besides, a process that is connected is never silent for long.

use std::time::{Duration, Instant};

use common::exit::{ExitReason, StreamerExit};
use common::ipc::RequestError;
use common::spec::SourceSpec;

use super::Failure;

/// From StartSource to its reply. A desktop has an X server, a sound server and a command to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// The same, of a Moonlight host, which has 120 s to launch an app.
const HOST_START_DEADLINE: Duration = Duration::from_secs(140);
/// From being told to stop, or from a failed start, to the end of the monitor.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// A streamer says something each second. One that has been silent for so long does not work any more, however busy the machine is.
const SILENCE_DEADLINE: Duration = Duration::from_secs(10);
/// A streamer whose connection is lost more often is not kept.
const MAX_RECONNECTS: u32 = 5;

/// What one process is expected to do.
#[derive(Debug)]
pub struct Expectation {
    /// When it must have got on, and what is said of it if it has not.
    deadline: Option<(Instant, &'static str)>,
    /// When it last said something, or was connected.
    heard: Instant,
    /// It was told to end, on this connection.
    told_to_end: bool,
    /// How often its connection was lost.
    losses: u32,
    /// What its source said instead of starting.
    start_error: Option<RequestError>,
}

/// What a process has failed to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unmet {
    /// It has not got on in time.
    Overdue(&'static str),
    /// Nothing has been heard of it for too long.
    Silent,
}

/// Why a process is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Forced {
    /// It did not answer.
    Hung(String),
    /// It did not do in time what it had to.
    Overdue(String),
}

impl From<Unmet> for Forced {
    fn from(unmet: Unmet) -> Self {
        match unmet {
            Unmet::Overdue(reason) => Forced::Overdue(reason.to_owned()),
            Unmet::Silent => {
                let seconds = SILENCE_DEADLINE.as_secs();
                Forced::Hung(format!("it hung: nothing was heard of it for {seconds} s"))
            }
        }
    }
}

impl Expectation {
    /// Of a process that begins now, or is adopted.
    pub fn new(now: Instant) -> Self {
        Self { deadline: None, heard: now, told_to_end: false, losses: 0, start_error: None }
    }

    /// There is a connection to it, on which nothing has been said yet.
    pub fn connected(&mut self, now: Instant) {
        self.heard = now;
        self.told_to_end = false;
    }

    /// It is told to start its source.
    pub fn starts(&mut self, now: Instant, source: Option<&SourceSpec>) {
        let time = match source {
            Some(SourceSpec::Moonlight(_)) => HOST_START_DEADLINE,
            _ => START_DEADLINE,
        };
        self.deadline = Some((now + time, "its source did not start in time"));
    }

    /// Its source could not be started. It ends by itself.
    pub fn start_failed(&mut self, now: Instant, error: RequestError) {
        self.start_error = Some(error);
        self.deadline = Some((now + STOP_DEADLINE, "it failed to start and did not end"));
    }

    /// Its source runs: it need not get on, unless it was told to end.
    pub fn runs(&mut self) {
        if !self.told_to_end {
            self.deadline = None;
        }
    }

    /// It is told to end.
    pub fn ends(&mut self, now: Instant) {
        self.told_to_end = true;
        self.deadline = Some((now + STOP_DEADLINE, "it did not stop in time"));
    }

    /// Whether it was told to end on this connection.
    pub fn is_told_to_end(&self) -> bool {
        self.told_to_end
    }

    /// It has said something.
    pub fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When [`Self::check`] is to be asked next.
    pub fn next_check(&self) -> Instant {
        let silence = self.heard + SILENCE_DEADLINE;
        self.deadline.map_or(silence, |(at, _)| at.min(silence))
    }

    /// What it has failed to do by now.
    pub fn check(&self, now: Instant) -> Option<Unmet> {
        match self.deadline {
            Some((at, reason)) if at <= now => Some(Unmet::Overdue(reason)),
            _ if self.heard + SILENCE_DEADLINE <= now => Some(Unmet::Silent),
            _ => None,
        }
    }

    /// Its connection is lost. Returns whether it is to be connected again: if not, all that is left is to wait for its end.
    pub fn lost(&mut self) -> bool {
        self.losses += 1;
        self.losses <= MAX_RECONNECTS && self.start_error.is_none()
    }

    /// How the end of the process is told, with the last lines of its `log`. `exit` is how it ended, as the system and it
    /// itself say; what its source said and why it was killed tell more.
    pub fn failure(self, mut exit: StreamerExit, forced: Option<Forced>, log: Vec<String>) -> Failure {
        let error = self.start_error;
        let reason = match (&error, forced) {
            (Some(error), _) => error.message.clone(),
            (None, Some(Forced::Hung(message))) => {
                exit.reason = ExitReason::Hung { message: message.clone() };
                message
            }
            (None, Some(Forced::Overdue(reason))) => reason,
            (None, None) => exit.to_string(),
        };
        Failure { reason, exit: Some(exit), error, log }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ipc::Code;
    use serde_json::json;

    const MS: Duration = Duration::from_millis(1);

    fn error() -> RequestError {
        RequestError::new(Code::CommandFailed, "no such program")
    }

    #[test]
    fn each_step_has_its_time_and_a_source_that_runs_has_as_much_as_it_likes() {
        type Step = fn(&mut Expectation, Instant);
        let start = Instant::now();
        let starts: Step = |process, now| process.starts(now, None);
        let runs: Step = |process, _| process.runs();
        let ends: Step = |process, now| process.ends(now);
        let fails: Step = |process, now| process.start_failed(now, error());
        let connected: Step = |process, now| process.connected(now);
        for (steps, expected) in [
            (vec![], None),
            (vec![starts], Some((START_DEADLINE, "its source did not start in time"))),
            (vec![starts, runs], None),
            (vec![starts, fails], Some((STOP_DEADLINE, "it failed to start and did not end"))),
            (vec![starts, runs, ends], Some((STOP_DEADLINE, "it did not stop in time"))),
            (vec![starts, ends, runs], Some((STOP_DEADLINE, "it did not stop in time"))),
            // On a new connection it is told once more.
            (vec![starts, ends, connected, runs], None),
        ] {
            let mut process = Expectation::new(start);
            for step in steps {
                step(&mut process, start);
            }
            let Some((time, reason)) = expected else {
                assert_eq!(process.check(start + SILENCE_DEADLINE - MS), None);
                assert_eq!(process.next_check(), start + SILENCE_DEADLINE);
                continue;
            };
            process.heard(start + time - MS);
            assert_eq!(process.check(start + time - MS), None, "{reason}");
            assert_eq!(process.check(start + time), Some(Unmet::Overdue(reason)));
            assert_eq!(process.next_check(), start + time);
        }
    }

    #[test]
    fn a_moonlight_host_has_longer_to_start() {
        let host: SourceSpec =
            serde_json::from_value(json!({"type": "moonlight", "host_id": "pc", "app": "Desktop"})).unwrap();
        let start = Instant::now();
        let mut process = Expectation::new(start);
        process.starts(start, Some(&host));
        process.heard(start + HOST_START_DEADLINE);
        assert_eq!(process.check(start + HOST_START_DEADLINE - MS), None);
        assert!(process.check(start + HOST_START_DEADLINE).is_some());
    }

    #[test]
    fn one_that_says_nothing_is_silent_and_each_word_gives_it_more_time() {
        let start = Instant::now();
        let mut process = Expectation::new(start);
        assert_eq!(process.check(start + SILENCE_DEADLINE), Some(Unmet::Silent));
        process.heard(start + SILENCE_DEADLINE);
        assert_eq!(process.check(start + SILENCE_DEADLINE), None);
        assert_eq!(process.next_check(), start + 2 * SILENCE_DEADLINE);
        assert_eq!(process.check(start + 2 * SILENCE_DEADLINE), Some(Unmet::Silent));
    }

    #[test]
    fn it_is_connected_again_a_few_times_and_never_when_its_start_has_failed() {
        let mut process = Expectation::new(Instant::now());
        for _ in 0..MAX_RECONNECTS {
            assert!(process.lost());
        }
        assert!(!process.lost());
        let mut process = Expectation::new(Instant::now());
        process.start_failed(Instant::now(), error());
        assert!(!process.lost());
    }

    #[test]
    fn the_end_is_told_by_whoever_knows_most_of_it() {
        let killed = || StreamerExit { code: None, signal: Some(9), reason: ExitReason::OutOfMemory };
        let hung = || Some(Forced::from(Unmet::Silent));
        let overdue = || Some(Forced::from(Unmet::Overdue("it did not stop in time")));
        for (start_failed, forced, reason, is_hung) in [
            (true, None, "no such program".to_owned(), false),
            (true, hung(), "no such program".to_owned(), false),
            (false, hung(), "it hung: nothing was heard of it for 10 s".to_owned(), true),
            (false, overdue(), "it did not stop in time".to_owned(), false),
            (false, None, killed().to_string(), false),
        ] {
            let mut process = Expectation::new(Instant::now());
            if start_failed {
                process.start_failed(Instant::now(), error());
            }
            let failure = process.failure(killed(), forced, vec!["last line".into()]);
            assert_eq!((&failure.reason, failure.error.is_some()), (&reason, start_failed));
            let exit = failure.exit.map(|exit| exit.reason);
            assert_eq!(matches!(exit, Some(ExitReason::Hung { .. })), is_hung, "{reason}");
            assert_eq!(failure.log, ["last line"]);
        }
    }
}
