//! CoDel (RFC 8289): drops packets of a queue in which they have waited too long for a while. Pure.

use std::time::{Duration, Instant};

/// A wait that is shorter is good (RFC 8289 §4.4).
const TARGET: Duration = Duration::from_millis(5);
/// A longer one may last for this long before a packet is dropped (RFC 8289 §4.3).
const INTERVAL: Duration = Duration::from_millis(100);
/// A queue that is long again within this time is controlled at about the rate at which it was before.
const LATELY: Duration = Duration::from_millis(1600);

/// The state of one queue. The names are those of RFC 8289 §5.2.
#[derive(Debug, Default)]
pub struct CoDel {
    dropping: bool,
    first_above_time: Option<Instant>,
    drop_next: Option<Instant>,
    count: u32,
    last_count: u32,
}

impl CoDel {
    /// Whether a packet is dropped that leaves the queue at `now`, after it has waited for `sojourn`. To be asked of
    /// each packet, in order.
    pub fn drops(&mut self, now: Instant, sojourn: Duration) -> bool {
        if !self.is_too_long(now, sojourn) {
            self.dropping = false;
            return false;
        }
        let due = self.drop_next.filter(|next| now >= *next);
        if self.dropping {
            let Some(due) = due else { return false };
            self.count += 1;
            self.drop_next = Some(self.control_law(due));
            return true;
        }
        let added = self.count - self.last_count;
        let lately = self.drop_next.is_some_and(|next| now.saturating_duration_since(next) < LATELY);
        self.dropping = true;
        self.count = if added > 1 && lately { added } else { 1 };
        self.last_count = self.count;
        self.drop_next = Some(self.control_law(now));
        true
    }

    /// Whether packets have waited too long for an interval.
    fn is_too_long(&mut self, now: Instant, sojourn: Duration) -> bool {
        if sojourn < TARGET {
            self.first_above_time = None;
            return false;
        }
        now >= *self.first_above_time.get_or_insert(now + INTERVAL)
    }

    fn control_law(&self, at: Instant) -> Instant {
        at + INTERVAL.div_f64(f64::from(self.count).sqrt())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// When packets are dropped, in milliseconds, if each millisecond one leaves that has waited for `sojourn`.
    fn dropped(codel: &mut CoDel, start: Instant, ms: std::ops::Range<u32>, sojourn: Duration) -> Vec<u32> {
        ms.filter(|n| codel.drops(start + MS * *n, sojourn)).collect()
    }

    #[test]
    fn a_short_wait_or_a_short_burst_drops_nothing() {
        let (mut codel, start) = (CoDel::default(), Instant::now());
        assert!(dropped(&mut codel, start, 0..1000, MS * 4).is_empty());
        assert!(dropped(&mut codel, start, 1000..1099, MS * 50).is_empty());
        assert!(dropped(&mut codel, start, 1099..1200, MS).is_empty());
    }

    #[test]
    fn what_lasts_is_dropped_more_and_more_often() {
        let (mut codel, start) = (CoDel::default(), Instant::now());
        // 100 ms, and then 100/√n further each time.
        let expected = [100, 200, 271, 329, 379];
        assert_eq!(dropped(&mut codel, start, 0..400, MS * 20), expected);
    }

    #[test]
    fn a_queue_that_comes_back_soon_is_controlled_as_before() {
        let (mut codel, start) = (CoDel::default(), Instant::now());
        let first = dropped(&mut codel, start, 0..1000, MS * 20);
        dropped(&mut codel, start, 1000..1010, MS);
        let again = dropped(&mut codel, start, 1010..2000, MS * 20);
        assert!(again.len() > 2 * first.len(), "{} then {}", first.len(), again.len());
    }
}
