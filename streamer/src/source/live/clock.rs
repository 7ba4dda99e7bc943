//! Maps a sender's time to ours, to find when media was captured.
//!
//! Every arrival yields a delay between the sender's clock and ours. The least delay belongs to a packet
//! that did not wait on its path; only this one maps times, so that jitter does not affect them. As the
//! sender's clock may drift and the path may get longer, the least delay is that of the last
//! `WINDOW`s, and the mapping follows it slowly. Nothing is ever captured after it has arrived.
//!
//! ```text
//! sender's time ──(+ least delay)──▶ ours, not after now ──Track::increasing──▶ captured
//! ```
//!
//! One clock serves picture and sound of a source, so that they stay together.

use std::time::{Duration, Instant};

/// Length of a window: the least delay is that of the current window and the one before.
const WINDOW: i64 = 10 * SECOND;
/// Share of elapsed time by which the mapping may move back: too little to hear or see.
const SLEW: i64 = 100;
/// A time that is earlier by more than this means a sender that started again; less means reordering.
const BACK: i64 = SECOND;
/// Two pictures are at least a tick of 90 kHz apart.
const TICK: Duration = Duration::from_nanos(11_112);

/// One second in the nanoseconds that times of senders are in.
pub const SECOND: i64 = 1_000_000_000;

/// The mapping.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    least: Option<Least>,
}

/// The least delay, in nanoseconds since the origin.
#[derive(Debug)]
struct Least {
    /// The delay that maps times now.
    used: i64,
    updated: i64,
    window_began: i64,
    this_window: i64,
    last_window: i64,
}

/// Picture or sound of a source.
#[derive(Debug, Default)]
pub struct Track {
    newest: Option<i64>,
    captured: Option<Instant>,
}

impl Clock {
    /// A clock without any arrival. No time is mapped to one before `origin`.
    pub fn new(origin: Instant) -> Self {
        Self { origin, least: None }
    }

    /// The capture time of something that arrives `now` and has `time` on the sender's clock, in nanoseconds
    /// of any origin. When the sender's clock is set back, the mapping starts again.
    pub fn place(&mut self, track: &mut Track, now: Instant, time: i64) -> Instant {
        let now = nanos(now.saturating_duration_since(self.origin));
        let delay = now.saturating_sub(time);
        let began_anew = track.newest.is_some_and(|newest| time < newest.saturating_sub(BACK));
        track.newest =
            Some(if began_anew { time } else { track.newest.map_or(time, |newest| newest.max(time)) });
        let least = match &mut self.least {
            Some(least) if !began_anew => {
                least.follow(now, delay);
                least.used
            }
            least => least.insert(Least::begin(now, delay)).used,
        };
        let placed = time.saturating_add(least).clamp(0, now);
        self.origin + Duration::from_nanos(placed.unsigned_abs())
    }

    /// The same for something that arrived earlier and was kept, by the current mapping.
    pub fn placed(&self, now: Instant, time: i64) -> Instant {
        let now = nanos(now.saturating_duration_since(self.origin));
        let used = self.least.as_ref().map_or(0, |least| least.used);
        self.origin + Duration::from_nanos(time.saturating_add(used).clamp(0, now).unsigned_abs())
    }
}

impl Least {
    fn begin(now: i64, delay: i64) -> Self {
        Self { used: delay, updated: now, window_began: now, this_window: delay, last_window: delay }
    }

    fn follow(&mut self, now: i64, delay: i64) {
        self.this_window = self.this_window.min(delay);
        if now - self.window_began >= WINDOW {
            self.last_window = std::mem::replace(&mut self.this_window, delay);
            self.window_began = now;
        }
        // Forward at once, so that no time is in the future. Back towards the least delay slowly.
        let ahead = self.this_window.min(self.last_window).saturating_sub(self.used);
        self.used = self.used.saturating_add(ahead.clamp(0, (now - self.updated).max(0) / SLEW)).min(delay);
        self.updated = now;
    }
}

impl Track {
    /// The same time, but later than that of the last call.
    pub fn increasing(&mut self, at: Instant) -> Instant {
        let at = self.captured.map_or(at, |last| at.max(last + TICK));
        self.captured = Some(at);
        at
    }
}

/// A duration in the unit of senders' times.
pub fn nanos(duration: Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MS: i64 = SECOND / 1000;

    struct Link {
        clock: Clock,
        track: Track,
        origin: Instant,
    }

    impl Link {
        fn new() -> Self {
            let origin = Instant::now();
            Self { clock: Clock::new(origin), track: Track::default(), origin }
        }

        /// Arrival and the sender's time in milliseconds; when it was captured, in milliseconds.
        fn at(&mut self, arrival: f64, time: f64) -> f64 {
            let now = self.origin + Duration::from_secs_f64(arrival / 1000.0);
            let placed = self.clock.place(&mut self.track, now, (time * MS as f64) as i64);
            (placed - self.origin).as_secs_f64() * 1000.0
        }
    }

    #[test]
    fn jitter_does_not_get_into_the_times() {
        let mut link = Link::new();
        link.at(1000.0, 0.0);
        let mut last = 0.0;
        for frame in 1..500 {
            let time = f64::from(frame) * 40.0;
            // A deterministic jitter of 0 to 35 ms.
            last = link.at(1000.0 + time + f64::from(frame * 7 % 8) * 5.0, time);
            assert!((last - 1000.0 - time).abs() < 0.1, "frame {frame} at {last}");
        }
        assert!(last > 20_000.0);
    }

    #[test]
    fn a_burst_after_a_stall_is_placed_where_it_was_captured() {
        let mut link = Link::new();
        for frame in 0..50 {
            link.at(f64::from(frame) * 40.0, f64::from(frame) * 40.0);
        }
        for frame in 50..100 {
            let placed = link.at(4000.0, f64::from(frame) * 40.0);
            assert!((placed - f64::from(frame) * 40.0).abs() < 25.0, "{frame} at {placed}");
        }
    }

    #[test]
    fn a_drifting_sender_is_followed_in_both_directions() {
        for speed in [0.9995, 1.0005] {
            let mut link = Link::new();
            let mut placed = 0.0;
            let minutes = 25 * 60 * 20;
            for frame in 0..minutes {
                let time = f64::from(frame) * 40.0;
                placed = link.at(time * speed + f64::from(frame * 7 % 8), time);
            }
            let now = f64::from(minutes - 1) * 40.0 * speed;
            assert!((now - placed).abs() < 25.0, "sender at {speed}: placed {} ms ago", now - placed);
        }
    }

    #[test]
    fn a_jump_of_the_sender_in_either_direction_begins_at_now() {
        let mut link = Link::new();
        for frame in 0..50 {
            link.at(f64::from(frame) * 40.0, f64::from(frame) * 40.0);
        }
        assert!((link.at(2000.0, 3_600_000.0) - 2000.0).abs() < 0.1);
        assert!((link.at(2040.0, 3_600_040.0) - 2040.0).abs() < 0.1);
        assert!((link.at(2080.0, 0.0) - 2080.0).abs() < 0.1);
        assert!((link.at(2130.0, 40.0) - 2120.0).abs() < 0.1, "and goes on from there");
    }

    #[test]
    fn pictures_in_decoding_order_keep_their_times() {
        let mut link = Link::new();
        let times: Vec<f64> =
            [0.0, 120.0, 40.0, 80.0].iter().map(|&time| link.at(200.0 + time, time) - 200.0).collect();
        assert_eq!(times.iter().map(|time| time.round()).collect::<Vec<_>>(), [0.0, 120.0, 40.0, 80.0]);
    }

    #[test]
    fn what_was_kept_for_a_while_is_placed_by_what_is_known_by_now() {
        let mut link = Link::new();
        link.at(1000.0, 0.0);
        link.at(1010.0, 40.0);
        let now = link.origin + Duration::from_secs(2);
        let placed = |time: i64| (link.clock.placed(now, time * MS) - link.origin).as_millis();
        assert_eq!([placed(0), placed(40), placed(5000), placed(-5000)], [970, 1010, 2000, 0]);
    }

    #[test]
    fn a_track_never_stands_still() {
        let mut track = Track::default();
        let now = Instant::now();
        let first = track.increasing(now);
        let second = track.increasing(now);
        let third = track.increasing(now - Duration::from_millis(5));
        assert!(first < second && second < third && third < now + Duration::from_millis(1));
    }

    proptest! {
        #[test]
        fn whatever_a_sender_says_nothing_is_captured_before_the_beginning_or_after_now(
            arrivals in proptest::collection::vec((0u64..60_000, any::<i64>()), 1..50)
        ) {
            let origin = Instant::now();
            let mut track = Track::default();
            let mut clock = Clock::new(origin);
            let mut now = origin;
            for (wait, time) in arrivals {
                now += Duration::from_millis(wait);
                let placed = clock.place(&mut track, now, time);
                prop_assert!(origin <= placed && placed <= now);
            }
        }
    }
}
