//! Measures what a path carries by trains of packets that are sent at once: a narrow path spreads them. And says when to try whether a
//! limited path carries more. Pure.
//!
//! ```text
//!            sent at once                 arrive spread
//! Train:  ▮▮▮▮▮▮ ────── narrow path ────── ▮  ▮  ▮  ▮  ▮  ▮     bits after the first ÷ time from first to last
//! ```

use std::time::{Duration, Instant};

use super::history::Outcome;

/// Names a train of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrainId(u32);

/// Fewer packets that arrive say nothing.
const LEAST_ARRIVED: u32 = 4;
/// Nor does a train of which less has arrived.
const LEAST_SHARE: f64 = 0.75;
/// A train that arrives within this time was not spread, as far as the receiver's clock can tell.
const NOT_SPREAD_US: i64 = 1_000;

/// What a train has shown.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shown {
    /// Bits per second at which it arrived.
    pub arrived_bps: f64,
    /// Its packets arrived in the order in which they were sent. Out of order, jitter has spread them.
    pub in_order: bool,
}

/// The train that is under way; there is one at most.
#[derive(Debug, Default)]
pub struct Trains {
    next: u32,
    current: Option<Train>,
}

#[derive(Debug)]
struct Train {
    id: TrainId,
    sent: u32,
    is_complete: bool,
    told: u32,
    arrived: u32,
    bytes: u64,
    first_bytes: u32,
    first_us: i64,
    last_us: i64,
    in_order: bool,
}

impl Trains {
    /// Begins a train. One that is under way is forgotten.
    pub fn begin(&mut self) -> TrainId {
        let id = TrainId(self.next);
        self.next = self.next.wrapping_add(1);
        self.current = Some(Train {
            id,
            sent: 0,
            is_complete: false,
            told: 0,
            arrived: 0,
            bytes: 0,
            first_bytes: 0,
            first_us: 0,
            last_us: 0,
            in_order: true,
        });
        id
    }

    /// One more packet of it was sent.
    pub fn sent(&mut self, id: TrainId) {
        if let Some(train) = self.current.as_mut().filter(|train| train.id == id) {
            train.sent += 1;
        }
    }

    /// All packets of it were sent.
    pub fn complete(&mut self, id: TrainId) {
        if let Some(train) = self.current.as_mut().filter(|train| train.id == id) {
            train.is_complete = true;
        }
    }

    /// Takes what became of packets, in the order of sending. Returns what the train has shown once all of it is known.
    pub fn told(&mut self, outcomes: &[Outcome]) -> Option<Shown> {
        let train = self.current.as_mut()?;
        let id = train.id;
        for outcome in outcomes.iter().filter(|outcome| outcome.train == Some(id)) {
            train.take(outcome);
        }
        // A packet that is reported missing, and then arrives late, is told twice.
        if !train.is_complete || train.told < train.sent {
            return None;
        }
        self.current.take()?.shown()
    }
}

impl Train {
    fn take(&mut self, outcome: &Outcome) {
        self.told += 1;
        let Some(at) = outcome.arrived_us else { return };
        if self.arrived == 0 {
            (self.first_us, self.last_us, self.first_bytes) = (at, at, outcome.bytes);
        }
        self.in_order &= at >= self.last_us;
        self.first_us = self.first_us.min(at);
        self.last_us = self.last_us.max(at);
        self.arrived += 1;
        self.bytes += u64::from(outcome.bytes);
    }

    fn shown(&self) -> Option<Shown> {
        let enough =
            self.arrived >= LEAST_ARRIVED && f64::from(self.arrived) >= LEAST_SHARE * f64::from(self.sent);
        let spread_us = (self.last_us - self.first_us).max(NOT_SPREAD_US);
        let bits = (self.bytes - u64::from(self.first_bytes)) as f64 * 8.0;
        let arrived_bps = bits * 1e6 / spread_us as f64;
        enough.then_some(Shown { arrived_bps, in_order: self.in_order })
    }
}

/// A limited path is tried this often.
const INTERVAL: Duration = Duration::from_secs(4);
/// And after a trial that showed nothing this often,
const IN_VAIN_INTERVAL: Duration = Duration::from_secs(8);
/// and after one that showed too much, twice as seldom as before, down to this.
const LONGEST_INTERVAL: Duration = Duration::from_secs(32);
/// A path that is congested again so soon after it was believed to carry more does not.
const TOO_MUCH: Duration = Duration::from_secs(3);
/// A train is to last this long at twice the rate.
const LASTS: Duration = Duration::from_millis(20);
const LEAST_BYTES: usize = 4_800;
const MOST_BYTES: usize = 40_000;

/// Decides when a limited path is tried.
#[derive(Debug)]
pub struct Trials {
    next: Option<Instant>,
    interval: Duration,
    raised: Option<Instant>,
}

impl Default for Trials {
    fn default() -> Self {
        Self { next: None, interval: INTERVAL, raised: None }
    }
}

impl Trials {
    /// How many bytes a train should have now, for a path that is believed to carry `rate_bps`. `None`: not now.
    pub fn due(&mut self, now: Instant, rate_bps: f64) -> Option<usize> {
        let next = *self.next.get_or_insert(now + self.interval);
        if now < next {
            return None;
        }
        self.next = Some(now + self.interval);
        let bytes = (2.0 * rate_bps * LASTS.as_secs_f64() / 8.0) as usize;
        Some(bytes.clamp(LEAST_BYTES, MOST_BYTES))
    }

    /// When [`Trials::due`] has something to say.
    pub fn deadline(&self) -> Option<Instant> {
        self.next
    }

    /// The path carries more, as a train has shown.
    pub fn raised(&mut self, now: Instant) {
        // What the last raise has brought lasts by now.
        if self.raised.is_some() {
            self.interval = INTERVAL;
        }
        self.next = Some(now + INTERVAL);
        self.raised = Some(now);
    }

    /// A train has shown that the path does not carry more.
    pub fn in_vain(&mut self, now: Instant) {
        self.interval = self.interval.max(IN_VAIN_INTERVAL);
        self.next = Some(now + self.interval);
    }

    /// The path is congested.
    pub fn congested(&mut self, now: Instant) {
        if self.raised.take().is_some_and(|raised| now.saturating_duration_since(raised) < TOO_MUCH) {
            self.interval = (self.interval * 2).min(LONGEST_INTERVAL);
        }
        self.next = Some(now + self.interval);
    }

    /// The path has no limit any more.
    pub fn stop(&mut self) {
        *self = Self::default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What a train of `count` packets of 1200 bytes shows that arrive at these times; `None`: lost.
    fn train(arrivals: &[Option<i64>]) -> Option<Shown> {
        let mut trains = Trains::default();
        let id = trains.begin();
        for _ in arrivals {
            trains.sent(id);
        }
        let sent = Instant::now();
        let outcomes: Vec<_> = arrivals
            .iter()
            .map(|at| Outcome { sent, arrived_us: *at, bytes: 1200, train: Some(id) })
            .collect();
        let (first, rest) = outcomes.split_at(2);
        assert_eq!(trains.told(first), None, "not all is known");
        assert_eq!(trains.told(rest), None, "more may be sent");
        trains.complete(id);
        trains.told(&[])
    }

    #[test]
    fn a_narrow_path_spreads_a_train_by_what_it_carries() {
        let spaced = |us: i64| (0..10).map(|n| Some(n * us)).collect::<Vec<_>>();
        let shown = train(&spaced(9_600)).unwrap();
        assert!((0.99e6..1.01e6).contains(&shown.arrived_bps) && shown.in_order, "{shown:?}");
        let shown = train(&spaced(0)).unwrap();
        assert!(shown.arrived_bps > 50e6, "{shown:?}");
    }

    #[test]
    fn a_train_of_which_too_little_arrives_shows_nothing_and_jitter_is_told() {
        assert_eq!(train(&[Some(0), None, Some(2000), None, Some(4000), Some(5000)]), None);
        assert_eq!(train(&[Some(0), Some(1000), Some(2000)]), None);
        assert!(train(&[Some(0), Some(3000), None, Some(4000), Some(5000)]).unwrap().in_order);
        assert!(!train(&[Some(0), Some(3000), Some(2000), Some(4000)]).unwrap().in_order);
    }

    #[test]
    fn an_older_train_is_no_part_of_a_newer_one() {
        let mut trains = Trains::default();
        let old = trains.begin();
        trains.sent(old);
        let new = trains.begin();
        trains.sent(old);
        trains.complete(old);
        let outcome =
            |train| Outcome { sent: Instant::now(), arrived_us: Some(0), bytes: 1, train: Some(train) };
        assert_eq!(trains.told(&[outcome(old)]), None);
        for _ in 0..4 {
            trains.sent(new);
        }
        trains.complete(new);
        assert!(trains.told(&[outcome(new); 4]).is_some());
    }

    #[test]
    fn a_path_that_does_not_carry_more_is_tried_less_often() {
        let start = Instant::now();
        let mut trials = Trials::default();
        let mut tried = 0;
        for ms in (0..120_000).step_by(100) {
            let now = start + Duration::from_millis(ms);
            if trials.due(now, 1e6).is_some() {
                tried += 1;
                trials.in_vain(now);
            }
        }
        assert!((14..17).contains(&tried), "{tried}");
        // One that carried more only for a moment is tried ever less often.
        let mut now = start + Duration::from_secs(121);
        for interval in [16, 32, 32] {
            trials.raised(now);
            now += TOO_MUCH / 2;
            trials.congested(now);
            assert_eq!(trials.deadline(), Some(now + Duration::from_secs(interval)));
        }
    }

    #[test]
    fn a_train_is_as_long_as_the_rate_wants_within_bounds() {
        for (rate, bytes) in [(100e3, LEAST_BYTES), (4e6, 20_000), (30e6, MOST_BYTES)] {
            let mut trials = Trials::default();
            let now = Instant::now();
            assert_eq!(trials.due(now, rate), None);
            assert_eq!(trials.due(now + INTERVAL, rate), Some(bytes));
        }
    }
}
