//! How long to wait before a lost source is retried.

use std::time::Duration;

use common::backoff::{Attempts, Backoff};

/// Pauses after a loss, with jitter, so that many sources of one server are not retried at the same moment.
const BACKOFF: Backoff =
    Backoff { first: Duration::from_secs(1), longest: Duration::from_secs(30), least: 0.5, most: 1.0 };
/// A source that delivered pictures for this long starts with the first pause again.
const STABLE: Duration = Duration::from_secs(20);

/// The attempts to reach one source.
pub fn attempts() -> Attempts {
    Attempts::new(BACKOFF, STABLE)
}

/// A random number from 0 to 1, good enough to spread pauses.
pub fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    // Each state has a random seed.
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    bits as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_from_half_a_second_to_half_a_minute_and_jitter_within_a_half() {
        let mut attempts = attempts();
        let mut longest = Vec::new();
        for _ in 0..8 {
            longest.push(attempts.failed(Duration::ZERO, 1.0).as_secs_f64());
        }
        assert_eq!(longest, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let mut attempts = super::attempts();
        let shortest = Duration::from_millis(500);
        assert_eq!(attempts.failed(Duration::ZERO, 0.0), shortest, "the shortest first pause");
        assert_eq!(attempts.failed(Duration::ZERO, 0.5), Duration::from_millis(1500));
        for _ in 0..100 {
            assert!(super::attempts().failed(Duration::ZERO, random()) >= shortest);
        }
    }

    #[test]
    fn what_was_stable_is_tried_again_soon() {
        let mut attempts = attempts();
        for _ in 0..8 {
            attempts.failed(Duration::ZERO, 1.0);
        }
        assert_eq!(attempts.failed(STABLE - Duration::from_millis(1), 1.0), BACKOFF.longest);
        assert_eq!(attempts.failed(STABLE, 1.0), Duration::from_secs(1));
    }
}
