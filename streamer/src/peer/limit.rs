//! A token bucket that limits how often a peer may do something. Pure.

use std::time::Instant;

/// A limit of `per_second` times a second, and `per_second` times at once after a second without use.
#[derive(Debug)]
pub struct Limit {
    per_second: f64,
    left: f64,
    filled: Instant,
    refused: u64,
}

impl Limit {
    /// An unused limit.
    pub fn new(now: Instant, per_second: u32) -> Self {
        let per_second = f64::from(per_second);
        Self { per_second, left: per_second, filled: now, refused: 0 }
    }

    /// Whether it may be done now; if so, this counts as one use.
    pub fn admit(&mut self, now: Instant) -> bool {
        let elapsed = now.saturating_duration_since(self.filled).as_secs_f64();
        self.filled = now;
        self.left = (self.left + elapsed * self.per_second).min(self.per_second);
        let admitted = self.left >= 1.0;
        if admitted {
            self.left -= 1.0;
        } else {
            self.refused += 1;
        }
        admitted
    }

    /// How often it was refused.
    pub fn refused(&self) -> u64 {
        self.refused
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_flood_is_cut_to_the_rate_and_a_rest_gives_no_more_than_a_second() {
        let start = Instant::now();
        let mut limit = Limit::new(start, 10);
        let burst = |limit: &mut Limit, at| (0..100).filter(|_| limit.admit(at)).count();
        assert_eq!(burst(&mut limit, start), 10);
        assert_eq!(burst(&mut limit, start + Duration::from_millis(550)), 5);
        assert_eq!(burst(&mut limit, start + Duration::from_secs(60)), 10);
        assert_eq!(limit.refused(), 300 - 25);
    }
}
