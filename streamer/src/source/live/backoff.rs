//! How long to wait before a lost source is tried again.

use std::time::Duration;

/// After the first loss.
const FIRST: Duration = Duration::from_millis(500);
/// However often it was lost.
const LONGEST: Duration = Duration::from_secs(30);
/// What gave pictures for so long was not lost at once again: the next wait is the first one.
const STABLE: Duration = Duration::from_secs(20);

/// Waits that double from `FIRST` to `LONGEST`, each shortened at random by up to a half, so that many
/// sources of one server do not come back at the same moment.
#[derive(Debug)]
pub struct Backoff {
    next: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { next: 2 * FIRST }
    }
}

impl Backoff {
    /// It was lost after it had given pictures for `online`. `random` is from 0 to 1. How long to wait.
    pub fn lost(&mut self, online: Duration, random: f64) -> Duration {
        if online >= STABLE {
            *self = Self::default();
        }
        let longest = self.next;
        self.next = (2 * longest).min(LONGEST);
        longest.mul_f64(1.0 - random.clamp(0.0, 1.0) / 2.0)
    }
}

/// From 0 to 1; good enough to spread waits.
pub fn random() -> f64 {
    use std::hash::{BuildHasher, Hasher};
    // Each state is seeded anew.
    let bits = std::collections::hash_map::RandomState::new().build_hasher().finish();
    bits as f64 / u64::MAX as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_half_a_second_to_half_a_minute_and_jitter_within_a_half() {
        let mut backoff = Backoff::default();
        let mut longest = Vec::new();
        for _ in 0..8 {
            longest.push(backoff.lost(Duration::ZERO, 0.0).as_secs_f64());
        }
        assert_eq!(longest, [1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0, 30.0]);
        let mut backoff = Backoff::default();
        assert_eq!(backoff.lost(Duration::ZERO, 1.0), FIRST, "the shortest first wait");
        assert_eq!(backoff.lost(Duration::ZERO, 0.5), Duration::from_millis(1500));
        for _ in 0..100 {
            assert!(Backoff::default().lost(Duration::ZERO, random()) >= FIRST);
        }
    }

    #[test]
    fn what_was_stable_is_tried_again_soon() {
        let mut backoff = Backoff::default();
        for _ in 0..8 {
            backoff.lost(Duration::ZERO, 0.0);
        }
        assert_eq!(backoff.lost(STABLE - Duration::from_millis(1), 0.0), LONGEST);
        assert_eq!(backoff.lost(STABLE, 0.0), Duration::from_secs(1));
    }
}
