//! Whether and when a streamer that has ended by itself is restarted: with a growing pause and jitter, until it has failed too
//! often. Pure: time and chance are passed in.

use std::time::{Duration, Instant};

use common::backoff::Backoff;
use common::exit::{ExitReason, StreamerExit};
use common::restart::{LastEnd, RestartPolicy, RestartSpec};
use serde::{Deserialize, Serialize};

/// A process that ran for so long counts as healthy: its failure is the first of a new row.
const STABLE: Duration = Duration::from_secs(60);
/// Pauses before a host elsewhere that was busy or unreachable is tried again. Whoever waits for it wants it soon after it is
/// back.
const ELSEWHERE: Backoff = backoff(Duration::from_secs(5), Duration::from_secs(60));

/// What is remembered of a streamer's restarts.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct History {
    /// Restarts since it was created.
    pub count: u32,
    /// How its process last ended.
    pub last: Option<LastEnd>,
    /// Its source has run in some process: the spec is known to work.
    ran: bool,
    /// Ends in a row that came soon.
    quick: u32,
    /// Starts in a row that failed as a host elsewhere was busy or away.
    elsewhere: u32,
    /// Since when its source runs.
    #[serde(skip)]
    running_since: Option<Instant>,
}

/// What follows from an end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// It is restarted.
    Restart {
        /// After so long.
        after: Duration,
    },
    /// It stays ended.
    StayEnded(Why),
}

/// Why a streamer is not restarted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// Its policy says so.
    Policy,
    /// It was done.
    Finished,
    /// It has never run: the spec does not work.
    NeverRan,
    /// It has ended too often in too short a time.
    CrashLoop {
        /// How often in a row.
        ends: u32,
    },
}

impl History {
    /// Its source runs.
    pub fn runs(&mut self, now: Instant) {
        self.ran = true;
        self.elsewhere = 0;
        self.running_since = Some(now);
    }

    /// Its process has ended by itself, or could not be started. `random` is from 0 to 1.
    pub fn ended(
        &mut self,
        now: Instant,
        spec: &RestartSpec,
        exit: Option<&StreamerExit>,
        random: f64,
    ) -> Verdict {
        let ran_for = self.running_since.take().map(|since| now.saturating_duration_since(since));
        if ran_for.is_some_and(|time| time >= STABLE) {
            self.quick = 0;
        }
        let finished = exit.is_some_and(|exit| matches!(exit.reason, ExitReason::Finished { .. }));
        match spec.policy {
            RestartPolicy::Never => return Verdict::StayEnded(Why::Policy),
            RestartPolicy::OnFailure if finished => return Verdict::StayEnded(Why::Finished),
            RestartPolicy::OnFailure if !self.ran => return Verdict::StayEnded(Why::NeverRan),
            RestartPolicy::OnFailure | RestartPolicy::Always => {}
        }
        // No number of attempts makes a machine elsewhere free, and none of them is this streamer's fault.
        if exit.is_some_and(is_elsewhere) {
            self.elsewhere = self.elsewhere.saturating_add(1);
            return Verdict::Restart { after: ELSEWHERE.pause(self.elsewhere, random) };
        }
        self.quick += 1;
        if self.quick > spec.attempts {
            return Verdict::StayEnded(Why::CrashLoop { ends: self.quick });
        }
        Verdict::Restart { after: delay(spec, self.quick, random) }
    }

    /// What of it matters to whoever runs the streamer next.
    #[must_use]
    pub fn for_successor(&self) -> Self {
        Self { last: None, running_since: None, ..self.clone() }
    }

    /// Notes a restart.
    pub fn restarted(&mut self) {
        self.count = self.count.saturating_add(1);
        self.running_since = None;
    }

    /// Somebody restarts it on purpose: earlier failures no longer count.
    pub fn forgive(&mut self) {
        self.quick = 0;
    }
}

/// What it needs is another machine's, which is busy or away.
fn is_elsewhere(exit: &StreamerExit) -> bool {
    let ExitReason::SourceFailed { code: Some(code), .. } = &exit.reason else { return false };
    matches!(code.as_str(), "host_busy" | "host_timeout")
}

/// The pause before the `n`th restart in a row.
fn delay(spec: &RestartSpec, n: u32, random: f64) -> Duration {
    let ms = |ms: u32| Duration::from_millis(ms.into());
    backoff(ms(spec.delay_ms), ms(spec.max_delay_ms)).pause(n, random)
}

/// A quarter more or less, by chance.
const fn backoff(first: Duration, longest: Duration) -> Backoff {
    Backoff { first, longest, least: 0.75, most: 1.25 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(reason: ExitReason) -> Option<StreamerExit> {
        Some(StreamerExit { code: None, signal: Some(9), reason })
    }

    fn with(policy: RestartPolicy) -> RestartSpec {
        RestartSpec { policy, ..RestartSpec::default() }
    }

    #[test]
    fn a_host_that_is_busy_or_away_uses_up_no_restarts() {
        let spec = RestartSpec { attempts: 1, ..RestartSpec::default() };
        let failed =
            |code: &str| exit(ExitReason::SourceFailed { message: "m".into(), code: Some(code.into()) });
        let start = Instant::now();
        let mut history = History::default();
        let verdict = history.ended(start, &spec, failed("host_busy").as_ref(), 0.5);
        assert_eq!(verdict, Verdict::StayEnded(Why::NeverRan), "whoever created it is told");
        history.runs(start);
        let mut pauses = Vec::new();
        for code in ["host_busy", "host_timeout", "host_busy", "host_busy", "host_busy", "host_busy"] {
            match history.ended(start, &spec, failed(code).as_ref(), 0.5) {
                Verdict::Restart { after } => pauses.push(after.as_secs()),
                Verdict::StayEnded(why) => panic!("{why:?}"),
            }
        }
        assert_eq!(pauses, [5, 10, 20, 40, 60, 60]);
        let after = Duration::from_millis(250);
        let verdict = history.ended(start, &spec, failed("host_refused").as_ref(), 0.5);
        assert_eq!(verdict, Verdict::Restart { after }, "its own failures count as if there had been none");
    }

    /// What follows for one that ran, or never did, for each kind of end.
    #[test]
    fn policies_decide_by_how_it_ended() {
        use RestartPolicy::{Always, Never, OnFailure};
        let message = || "m".to_owned();
        let ends = [
            (ExitReason::Unknown, true),
            (ExitReason::OutOfMemory, true),
            (ExitReason::Hung { message: message() }, true),
            (ExitReason::XServerDied { message: message() }, true),
            (ExitReason::SourceEnded { message: message() }, true),
            (ExitReason::Fatal { message: message() }, true),
            // By somebody else than us.
            (ExitReason::Stopped, true),
            (ExitReason::Finished { message: message() }, false),
        ];
        for (reason, is_failure) in ends {
            let verdict = |policy, ran| {
                let mut history = History::default();
                let start = Instant::now();
                if ran {
                    history.runs(start);
                }
                history.ended(start, &with(policy), exit(reason.clone()).as_ref(), 0.5)
            };
            let restart = Verdict::Restart { after: Duration::from_millis(250) };
            assert_eq!(verdict(Never, true), Verdict::StayEnded(Why::Policy));
            assert_eq!(verdict(Always, true), restart);
            assert_eq!(verdict(Always, false), restart);
            let expected = if is_failure { restart } else { Verdict::StayEnded(Why::Finished) };
            assert_eq!(verdict(OnFailure, true), expected, "{reason:?}");
            if is_failure {
                assert_eq!(verdict(OnFailure, false), Verdict::StayEnded(Why::NeverRan));
            }
        }
    }

    #[test]
    fn pauses_double_up_to_a_bound_and_after_too_many_it_is_left_alone() {
        let spec = RestartSpec { max_delay_ms: 1500, ..RestartSpec::default() };
        let mut history = History::default();
        let mut now = Instant::now();
        for expected in [250, 500, 1000, 1500, 1500] {
            history.runs(now);
            now += Duration::from_secs(59);
            let verdict = history.ended(now, &spec, exit(ExitReason::Unknown).as_ref(), 0.5);
            assert_eq!(verdict, Verdict::Restart { after: Duration::from_millis(expected) });
            history.restarted();
        }
        history.runs(now);
        let verdict = history.ended(now, &spec, None, 0.5);
        assert_eq!(verdict, Verdict::StayEnded(Why::CrashLoop { ends: 6 }));
        assert_eq!(history.count, 5);
        history.forgive();
        history.restarted();
        let verdict = history.ended(now, &spec, None, 0.5);
        assert_eq!(verdict, Verdict::Restart { after: Duration::from_millis(250) });
    }

    #[test]
    fn one_that_ran_for_a_minute_counts_anew() {
        let spec = RestartSpec::default();
        let mut history = History::default();
        let mut now = Instant::now();
        for _ in 0..20 {
            history.runs(now);
            now += STABLE;
            let verdict = history.ended(now, &spec, None, 0.5);
            assert_eq!(verdict, Verdict::Restart { after: Duration::from_millis(250) });
        }
    }

    #[test]
    fn chance_spreads_a_pause_by_a_quarter_either_way() {
        let spec = RestartSpec { delay_ms: 1000, ..RestartSpec::default() };
        let ms = |random| delay(&spec, 1, random).as_millis();
        assert_eq!((ms(0.0), ms(0.5), ms(1.0)), (750, 1000, 1250));
        let longest = RestartSpec { delay_ms: 3_600_000, max_delay_ms: 3_600_000, ..spec };
        assert_eq!(delay(&longest, u32::MAX, 0.5), Duration::from_secs(3600));
    }
}
