//! Pauses between attempts at something that has failed. Pure: what has passed and chance are passed in.

use std::time::Duration;

/// Pauses that double from the first to the longest. Chance decides how much of each is waited for, so that many who have
/// failed at the same time do not all try again at the same time.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Before the first attempt.
    pub first: Duration,
    /// However many attempts there have been.
    pub longest: Duration,
    /// Least share of a pause that is waited for.
    pub least: f64,
    /// Most of it.
    pub most: f64,
}

impl Backoff {
    /// The pause before the `n`th attempt in a row; the first is number 1. `random` is from 0 to 1.
    pub fn pause(&self, n: u32, random: f64) -> Duration {
        let doublings = n.saturating_sub(1).min(31);
        let pause = self.first.saturating_mul(1 << doublings).min(self.longest);
        pause.mul_f64(self.least + (self.most - self.least) * random.clamp(0.0, 1.0))
    }
}

/// Attempts in a row at what has to last for a while to count as a success.
#[derive(Debug, Clone)]
pub struct Attempts {
    backoff: Backoff,
    /// What lasted for so long did not fail at once again: the next pause is the first one.
    stable: Duration,
    /// Failures in a row that came sooner.
    failures: u32,
}

impl Attempts {
    /// There was none yet.
    pub fn new(backoff: Backoff, stable: Duration) -> Self {
        Self { backoff, stable, failures: 0 }
    }

    /// It has failed after it had lasted for so long. Returns the pause before the next attempt. `random` is from 0 to 1.
    pub fn failed(&mut self, lasted: Duration, random: f64) -> Duration {
        if lasted >= self.stable {
            self.failures = 0;
        }
        self.failures = self.failures.saturating_add(1);
        self.backoff.pause(self.failures, random)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);
    const BACKOFF: Backoff =
        Backoff { first: SECOND, longest: Duration::from_secs(30), least: 0.5, most: 1.0 };

    #[test]
    fn pauses_double_up_to_a_bound() {
        let pauses: Vec<_> = (0..8).map(|n| BACKOFF.pause(n, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 1, 2, 4, 8, 16, 30, 30]);
        assert_eq!(BACKOFF.pause(u32::MAX, 1.0), BACKOFF.longest);
    }

    #[test]
    fn chance_decides_between_the_least_and_the_most_of_a_pause() {
        for (random, ms) in [(-1.0, 1000), (0.0, 1000), (0.5, 1500), (1.0, 2000), (7.0, 2000)] {
            assert_eq!(BACKOFF.pause(2, random), Duration::from_millis(ms), "{random}");
        }
        let longer = Backoff { least: 0.75, most: 1.25, ..BACKOFF };
        assert_eq!(longer.pause(1, 1.0), Duration::from_millis(1250));
    }

    #[test]
    fn what_was_stable_is_tried_again_soon() {
        let stable = Duration::from_secs(20);
        let mut attempts = Attempts::new(BACKOFF, stable);
        let pauses: Vec<_> = (0..8).map(|_| attempts.failed(Duration::ZERO, 1.0).as_secs()).collect();
        assert_eq!(pauses, [1, 2, 4, 8, 16, 30, 30, 30]);
        assert_eq!(attempts.failed(stable - Duration::from_millis(1), 1.0), BACKOFF.longest);
        assert_eq!(attempts.failed(stable, 1.0), SECOND);
    }
}
