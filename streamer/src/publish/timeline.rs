//! When what bears a timestamp was captured, on our clock.
//!
//! A publisher's clock runs as it likes, and its packets come late by as much as the network wants. The packet that was the
//! least late lately sets the time for all others: so pictures keep the intervals that they were taken at.

use std::time::{Duration, Instant};

/// The least delay is looked for over so long.
const WINDOW: Duration = Duration::from_secs(4);
/// A timestamp that is off by more than this is a new beginning.
const MAX_OFF: Duration = Duration::from_secs(2);
/// Of what all packets of a window were late, so much is taken back at once.
const CATCH_UP: u32 = 4;

#[derive(Debug, Clone, Copy)]
struct Anchor {
    at: Instant,
    timestamp: u32,
}

/// The times of one stream.
#[derive(Debug)]
pub struct Timeline {
    hz: u32,
    anchor: Option<Anchor>,
    window_end: Option<Instant>,
    /// How late the least late packet of this window was.
    least: Option<Duration>,
}

impl Timeline {
    /// Of a stream with so many ticks per second.
    pub fn new(hz: u32) -> Self {
        Self { hz, anchor: None, window_end: None, least: None }
    }

    /// When what bears `timestamp`, and has arrived now, was captured.
    pub fn place(&mut self, now: Instant, timestamp: u32) -> Instant {
        let placed = self.anchor.and_then(|anchor| self.after(anchor, timestamp));
        let Some(at) = placed.filter(|at| is_near(now, *at)) else { return self.begin(now, timestamp) };
        let Some(late) = now.checked_duration_since(at) else { return self.begin(now, timestamp) };
        self.least = Some(self.least.map_or(late, |least| least.min(late)));
        // The anchor goes along, so that timestamps that wrap stay near it.
        self.anchor = Some(Anchor { at, timestamp });
        if self.window_end.is_none_or(|end| now >= end) {
            if let Some(least) = self.least.take().filter(|_| self.window_end.is_some()) {
                self.anchor = Some(Anchor { at: at + least / CATCH_UP, timestamp });
            }
            self.window_end = Some(now + WINDOW);
        }
        at
    }

    fn begin(&mut self, now: Instant, timestamp: u32) -> Instant {
        self.anchor = Some(Anchor { at: now, timestamp });
        self.window_end = None;
        self.least = None;
        now
    }

    fn after(&self, anchor: Anchor, timestamp: u32) -> Option<Instant> {
        let ticks = timestamp.wrapping_sub(anchor.timestamp) as i32;
        let distance = Duration::from_secs_f64(f64::from(ticks.unsigned_abs()) / f64::from(self.hz));
        if ticks >= 0 { anchor.at.checked_add(distance) } else { anchor.at.checked_sub(distance) }
    }
}

fn is_near(now: Instant, at: Instant) -> bool {
    now.saturating_duration_since(at) < MAX_OFF && at.saturating_duration_since(now) < MAX_OFF
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRAME: Duration = Duration::from_millis(40);

    #[test]
    fn intervals_are_those_of_the_timestamps_whatever_the_network_does() {
        let mut timeline = Timeline::new(90_000);
        let start = Instant::now();
        let late = [30, 10, 50, 12, 45, 10].map(Duration::from_millis);
        let mut placed = Vec::new();
        for (n, late) in (0u32..).zip(late) {
            let timestamp = u32::MAX.wrapping_add(n * 3600);
            placed.push(timeline.place(start + n * FRAME + late, timestamp));
        }
        // From the least late one on.
        let intervals: Vec<_> = placed.windows(2).map(|pair| pair[1] - pair[0]).collect();
        assert_eq!(intervals[1..].iter().map(Duration::as_millis).collect::<Vec<_>>(), [40, 40, 40, 40]);
        assert_eq!(placed[5].duration_since(start), 5 * FRAME + Duration::from_millis(10));
    }

    #[test]
    fn a_clock_that_is_slow_is_followed_and_one_that_jumps_begins_anew() {
        let mut timeline = Timeline::new(90_000);
        let start = Instant::now();
        let mut late = Duration::ZERO;
        for n in 0..100_000u32 {
            // A frame is 40 ms by the publisher's clock, and 40.004 by ours.
            let now = start + n * (FRAME + Duration::from_micros(4));
            late = now.saturating_duration_since(timeline.place(now, n.wrapping_mul(3600)));
        }
        assert!(late < Duration::from_millis(5), "{late:?}");
        let now = start + Duration::from_secs(9000);
        assert_eq!(timeline.place(now, 5), now);
    }
}
