//! How much of a feed one peer can take. Pure.
//!
//! There is one encoding for all, so a peer with a thin link cannot have a lower bitrate of it: it is
//! given whole GOP beginnings and skips to the next keyframe when its budget is used up. Nothing is buffered for it.
//!
//! ```text
//! Free ──loss ≥ 10 %──▶ Limited { bps } ──no loss, and the limit has grown past the feed──▶ Free
//! ```

use std::time::{Duration, Instant};

/// Share of lost packets from which a link is overloaded; radio links lose some percent anyway, which NACK repairs.
const OVERLOAD_LOSS: f32 = 0.10;
/// Share of lost packets up to which a link has room.
const CLEAR_LOSS: f32 = 0.02;
/// What an overloaded link is reduced to, and how a clear one grows, with each report (about one a second).
const DECREASE: f64 = 0.7;
const INCREASE: f64 = 1.15;
/// Below this no picture can be sent.
const MIN_BPS: f64 = 150_000.0;
/// A budget is never larger than this time's worth, so that a burst stays short.
const BURST: Duration = Duration::from_millis(500);
/// What is sent is measured over this time.
const WINDOW: Duration = Duration::from_secs(1);
/// A limited peer asks for keyframes at most this often: they are large, and all other peers get them too.
const KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);

#[derive(Debug, Clone, Copy)]
enum Link {
    Free,
    Limited { bps: f64, budget: f64, filled: Instant },
}

/// Admission of units to one peer.
#[derive(Debug)]
pub struct Pace {
    link: Link,
    window_start: Instant,
    window_bytes: u64,
    rate_bps: f64,
    last_keyframe_request: Option<Instant>,
}

impl Pace {
    /// A link that nothing is known about is free.
    pub fn new(now: Instant) -> Self {
        Self {
            link: Link::Free,
            window_start: now,
            window_bytes: 0,
            rate_bps: 0.0,
            last_keyframe_request: None,
        }
    }

    /// The peer reported the share of packets that it lost.
    pub fn report(&mut self, now: Instant, fraction_lost: f32) {
        self.roll(now);
        self.link = match self.link {
            Link::Free if fraction_lost >= OVERLOAD_LOSS => {
                let bps = (self.rate_bps * DECREASE).max(MIN_BPS);
                Link::Limited { bps, budget: 0.0, filled: now }
            }
            Link::Limited { bps, budget, filled } if fraction_lost >= OVERLOAD_LOSS => {
                Link::Limited { bps: (bps * DECREASE).max(MIN_BPS), budget, filled }
            }
            Link::Limited { bps, .. }
                if fraction_lost <= CLEAR_LOSS && bps > 2.0 * self.rate_bps.max(MIN_BPS) =>
            {
                Link::Free
            }
            Link::Limited { bps, budget, filled } if fraction_lost <= CLEAR_LOSS => {
                Link::Limited { bps: bps * INCREASE, budget, filled }
            }
            link => link,
        };
    }

    /// Whether a unit of `bytes` may be sent now; if so, it is counted.
    pub fn admit(&mut self, now: Instant, bytes: usize) -> bool {
        self.roll(now);
        if let Link::Limited { bps, budget, filled } = &mut self.link {
            let elapsed = now.saturating_duration_since(*filled).as_secs_f64();
            *filled = now;
            // A whole unit may overdraw: otherwise one larger than the budget could never be sent.
            *budget = (*budget + elapsed * *bps / 8.0).min(BURST.as_secs_f64() * *bps / 8.0);
            if *budget < 0.0 {
                return false;
            }
            *budget -= bytes as f64;
        }
        self.window_bytes += bytes as u64;
        true
    }

    /// Whether the peer may ask for a keyframe now that it had to skip: not for one that it could not be given.
    pub fn may_ask_keyframe(&mut self, now: Instant) -> bool {
        let Link::Limited { bps, budget, filled } = self.link else { return true };
        let solvent = budget + now.saturating_duration_since(filled).as_secs_f64() * bps / 8.0 >= 0.0;
        let due = solvent && self.last_keyframe_request.is_none_or(|last| now >= last + KEYFRAME_INTERVAL);
        if due {
            self.last_keyframe_request = Some(now);
        }
        due
    }

    /// Bytes that the peer can take in `time` if it is limited.
    pub fn bytes_in(&self, time: Duration) -> Option<usize> {
        match self.link {
            Link::Free => None,
            Link::Limited { bps, .. } => Some((bps / 8.0 * time.as_secs_f64()) as usize),
        }
    }

    fn roll(&mut self, now: Instant) {
        let elapsed = now.saturating_duration_since(self.window_start);
        if elapsed >= WINDOW {
            self.rate_bps = self.window_bytes as f64 * 8.0 / elapsed.as_secs_f64();
            self.window_bytes = 0;
            self.window_start = now;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: usize = 10_000;
    const FRAME: Duration = Duration::from_millis(33);

    /// Sends a feed of 2.4 Mbit/s for `seconds` and reports `loss` each second; returns units sent.
    fn run(pace: &mut Pace, now: &mut Instant, seconds: u32, loss: f32) -> usize {
        let mut sent = 0;
        for frame in 1..=seconds * 30 {
            *now += FRAME;
            sent += usize::from(pace.admit(*now, UNIT));
            if frame % 30 == 0 {
                pace.report(*now, loss);
            }
        }
        sent
    }

    #[test]
    fn a_free_link_gets_everything_even_with_some_loss() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert_eq!(run(&mut pace, &mut now, 10, 0.05), 300);
    }

    #[test]
    fn an_overloaded_link_gets_less_and_less_and_recovers() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        run(&mut pace, &mut now, 2, 0.5);
        let limited = run(&mut pace, &mut now, 5, 0.5);
        assert!(limited < 75, "{limited} of 150 units");
        run(&mut pace, &mut now, 30, 0.0);
        assert_eq!(run(&mut pace, &mut now, 2, 0.0), 60);
    }

    #[test]
    fn a_limited_peer_cannot_flood_the_others_with_keyframes() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        assert!(pace.may_ask_keyframe(now) && pace.may_ask_keyframe(now));
        run(&mut pace, &mut now, 1, 0.5);
        assert!(pace.may_ask_keyframe(now));
        assert!(!pace.may_ask_keyframe(now + KEYFRAME_INTERVAL / 2));
        assert!(pace.may_ask_keyframe(now + KEYFRAME_INTERVAL));
    }

    #[test]
    fn a_peer_in_debt_asks_for_a_keyframe_once_it_could_be_given_one() {
        let mut now = Instant::now();
        let mut pace = Pace::new(now);
        run(&mut pace, &mut now, 1, 0.5);
        let Link::Limited { bps, .. } = pace.link else { panic!("{pace:?}") };
        let debt = Duration::from_secs(3);
        assert!(pace.admit(now, (debt.as_secs_f64() * bps / 8.0) as usize));
        assert!(!pace.may_ask_keyframe(now + debt - FRAME));
        assert!(pace.may_ask_keyframe(now + debt + FRAME));
    }
}
