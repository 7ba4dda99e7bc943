//! Estimates how much a peer's path carries. Pure: it is passed what was sent, the feedback, and the time.
//!
//! ```text
//! sent ──▶ History ◀── feedback (transport-wide), or reports of loss alone
//!             │ outcomes
//!     ┌───────┼────────────┬─────────┐
//!     ▼       ▼            ▼         ▼
//! DelayTrend  Throughput   Losses    Trains
//!     └───────┴─────┬──────┴─────────┘
//!                   ▼
//!            rate: free ──congested──▶ limited, falls to what arrives, rises again
//! ```
//!
//! The rules are those of draft-ietf-rmcat-gcc-02 with three differences. A path that has shown no limit has no estimate, so that nothing waits
//! on a good network. A path is congested only if its queue is longer than it was: a screen that is typed into sends a few packets a
//! second, whose jitter looks like a trend. And a share of lost packets alone means little: radio links lose some anyway, which
//! retransmission repairs.
//!
//! A rate that is not used is not known to be carried. So a limited path is tried every few seconds ([`probe`]), also while a screen rests.

mod delay;
mod history;
mod probe;

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use delay::{DelayTrend, Usage};
pub use history::Arrivals;
use history::{History, Outcome};
pub use probe::TrainId;
use probe::{Shown, Trains, Trials};

/// Below this no picture can be sent.
const MIN_BPS: f64 = 100_000.0;
/// Above this a path counts as free.
const FREE_BPS: f64 = 30_000_000.0;
/// Share of what arrives that is sent on a congested path, so that its queue becomes shorter.
const DECREASE: f64 = 0.85;
/// Growth per second, far from the rate at which the path was congested.
const GROWTH: f64 = 1.15;
/// Within this share of that rate, growth is by one packet in each round trip and [`RESPONSE`].
const NEAR: f64 = 0.15;
const PACKET_BITS: f64 = 9_600.0;
const RESPONSE: Duration = Duration::from_millis(100);
/// The estimate is at most this multiple of what is known to arrive.
const HEADROOM: f64 = 1.5;
const HEADROOM_BPS: f64 = 10_000.0;
/// What a train shows is believed up to this share, and up to this multiple of the estimate.
const BELIEVED: f64 = 0.95;
const MOST_RAISE: f64 = 2.0;
/// A train that shows less than this multiple of the estimate changes nothing.
const LEAST_RAISE: f64 = 1.1;
/// The first train limits the path if it shows less: a path that carries more is no trouble at the beginning.
const FIRST_LIMIT_BPS: f64 = 4_000_000.0;
/// And then the path is believed to carry this share of it.
const FIRST_BELIEVED: f64 = 0.85;
/// A path has room for a second copy of everything when it carries this multiple of what arrives.
const ROOM: f64 = 2.5;
/// A queue shorter than this does not count.
const QUEUE: Duration = Duration::from_millis(25);
/// Share of lost packets from which a path counts as congested: with a queue, and without one.
const LOSS_WITH_QUEUE: f64 = 0.05;
const LOSS_ALONE: f64 = 0.20;
/// For receivers that report no delays: the share of lost packets from which the path counts as congested, and up to which the rate grows.
const LOSS_UNTIMED: f64 = 0.15;
const LOSS_CLEAR: f64 = 0.05;
/// The shortest delay is that of this period: routes change, and clocks drift.
const BASE_WINDOW: Duration = Duration::from_secs(20);

/// What is assumed until it is measured.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);
/// Weight of the newest share of lost packets.
const LOSS_WEIGHT: f64 = 0.5;

/// Estimates the rate of one peer's path.
#[derive(Debug)]
pub struct Estimator {
    history: History,
    trend: DelayTrend,
    throughput: Throughput,
    losses: Losses,
    delays: Delays,
    trains: Trains,
    trials: Trials,
    /// `None` while the path has shown no limit.
    rate_bps: Option<f64>,
    is_wide: bool,
    /// The rate that arrived when the path was congested last.
    capacity_bps: Option<f64>,
    updated: Instant,
    /// No conclusion is drawn before this time: packets sent at the previous rate are still under way.
    conclude_from: Instant,
    round_trip: Duration,
    /// Share of packets lost, smoothed.
    loss: f64,
    /// Feedback with arrival times has been received.
    timed: bool,
}

impl Estimator {
    /// An estimator for an unknown path.
    pub fn new(now: Instant) -> Self {
        Self {
            history: History::default(),
            trend: DelayTrend::default(),
            throughput: Throughput::default(),
            losses: Losses::new(now),
            delays: Delays::default(),
            trains: Trains::default(),
            trials: Trials::default(),
            rate_bps: None,
            is_wide: false,
            capacity_bps: None,
            updated: now,
            conclude_from: now,
            round_trip: UNKNOWN_ROUND_TRIP,
            loss: 0.0,
            timed: false,
        }
    }

    /// What the path carries, bits per second; `None` while it has shown no limit.
    pub fn rate_bps(&self) -> Option<f64> {
        self.rate_bps
    }

    /// The delay of the path's queue: how much longer it takes than at its best.
    pub fn queue(&self) -> Duration {
        self.delays.queue()
    }

    /// Share of packets that the path has lost lately, 0 to 1.
    pub fn loss(&self) -> f64 {
        self.loss
    }

    /// Round trip, as it was measured last.
    pub fn measured_round_trip(&self) -> Duration {
        self.round_trip
    }

    /// Whether packets queue on the path.
    pub fn is_congested(&self) -> bool {
        self.queue() > QUEUE
    }

    /// Whether the first train has shown that the path carries what a first picture needs.
    pub fn is_wide(&self) -> bool {
        self.is_wide && self.rate_bps.is_none()
    }

    /// Whether the path carries each packet twice.
    pub fn has_room(&self) -> bool {
        self.rate_bps.is_none_or(|rate| self.throughput.bps().is_some_and(|arriving| rate > ROOM * arriving))
    }

    /// Notes that a packet of `bytes` bytes is sent, of a train if it belongs to one. Returns its transport-wide sequence number.
    pub fn sent(&mut self, now: Instant, bytes: u32, train: Option<TrainId>) -> u16 {
        self.losses.sent(bytes);
        if let Some(train) = train {
            self.trains.sent(train);
        }
        self.history.sent(now, bytes, train)
    }

    /// Begins a train: packets that are sent at once from now on.
    pub fn begin_train(&mut self) -> TrainId {
        self.trains.begin()
    }

    /// All packets of a train have been sent.
    pub fn end_train(&mut self, train: TrainId) {
        self.trains.complete(train);
    }

    /// How many bytes should be sent at once now, as a train, to see whether a limited path carries more. `None`: none.
    pub fn trial(&mut self, now: Instant) -> Option<usize> {
        let bytes = self.trials.due(now, self.rate_bps?)?;
        (self.timed && !self.is_congested()).then_some(bytes)
    }

    /// When [`Estimator::trial`] may have something to say.
    pub fn trial_at(&self) -> Option<Instant> {
        self.trials.deadline().filter(|_| self.rate_bps.is_some())
    }

    /// Takes a measured round trip.
    pub fn round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip.clamp(Duration::from_millis(1), Duration::from_secs(2));
    }

    /// Takes feedback: which packets arrived, and when.
    pub fn feedback(&mut self, now: Instant, arrivals: &Arrivals) {
        self.timed = true;
        let outcomes = self.history.feedback(arrivals);
        for outcome in &outcomes {
            self.losses.told(outcome);
            // A train is spread by the path: that is no trend.
            if outcome.train.is_none() {
                self.trend.arrived(outcome);
            }
            self.throughput.arrived(outcome);
        }
        self.delays.arrived(now, &outcomes);
        if let Some(shown) = self.trains.told(&outcomes) {
            self.shown(now, shown);
        }
        let Some(arriving) = self.throughput.bps() else { return };
        let usage = self.trend.usage();
        let queued = self.is_congested();
        let most = if queued { LOSS_WITH_QUEUE } else { LOSS_ALONE };
        let lost = self.losses.take(now).map(|(lost, _)| lost);
        self.smooth(lost);
        let lost = lost.is_some_and(|lost| lost > most);
        if now >= self.conclude_from && (lost || usage == Usage::Over && queued) {
            self.congested(now, arriving);
        } else if usage == Usage::Normal && !queued {
            self.clear(now, arriving);
        }
        self.updated = now;
    }

    /// Takes the share of packets that the peer has lost since its last report. Ignored once there is feedback with arrival times.
    pub fn report(&mut self, now: Instant, fraction_lost: f64) {
        if self.timed {
            return;
        }
        self.losses.told_share(fraction_lost);
        let Some((lost, sent_bps)) = self.losses.take(now) else { return };
        self.smooth(Some(lost));
        let arriving = sent_bps * (1.0 - lost);
        if lost > LOSS_UNTIMED {
            self.congested(now, arriving);
        } else if lost < LOSS_CLEAR {
            self.clear(now, arriving);
        }
        self.updated = now;
    }

    fn smooth(&mut self, lost: Option<f64>) {
        if let Some(lost) = lost {
            self.loss += LOSS_WEIGHT * (lost - self.loss);
        }
    }

    /// Takes what a train has shown.
    fn shown(&mut self, now: Instant, shown: Shown) {
        let Some(rate) = self.rate_bps else {
            self.is_wide = shown.arrived_bps >= FIRST_LIMIT_BPS;
            // Packets that overtake each other were not spread by a queue.
            if shown.in_order && !self.is_wide {
                self.capacity_bps = Some(shown.arrived_bps);
                self.set_rate((FIRST_BELIEVED * shown.arrived_bps).max(MIN_BPS));
            }
            return;
        };
        let believed = (BELIEVED * shown.arrived_bps).min(MOST_RAISE * rate);
        if believed > LEAST_RAISE * rate && !self.is_congested() {
            self.trials.raised(now);
            self.capacity_bps = None;
            self.set_rate(believed);
        } else {
            self.trials.in_vain(now);
        }
    }

    fn set_rate(&mut self, rate_bps: f64) {
        self.rate_bps = (rate_bps < FREE_BPS).then_some(rate_bps);
        if self.rate_bps.is_none() {
            self.trials.stop();
        }
    }

    fn congested(&mut self, now: Instant, arriving_bps: f64) {
        self.trials.congested(now);
        self.conclude_from = now + self.round_trip + RESPONSE + self.delays.queue();
        self.capacity_bps = Some(arriving_bps);
        let rate = (DECREASE * arriving_bps).max(MIN_BPS);
        self.rate_bps = Some(self.rate_bps.map_or(rate, |before| before.min(rate)));
    }

    fn clear(&mut self, now: Instant, arriving_bps: f64) {
        let Some(rate) = self.rate_bps else { return };
        let elapsed = now.saturating_duration_since(self.updated).min(Duration::from_secs(1)).as_secs_f64();
        let near = self.capacity_bps.filter(|capacity| (rate / capacity - 1.0).abs() < NEAR);
        let grown = match near {
            Some(_) => rate + PACKET_BITS * elapsed / (self.round_trip + RESPONSE).as_secs_f64(),
            None => rate * GROWTH.powf(elapsed),
        };
        let grown = grown.min((HEADROOM * arriving_bps + HEADROOM_BPS).max(rate));
        self.set_rate(grown);
    }
}

/// The rate that arrives, by the receiver's clock.
#[derive(Debug, Default)]
struct Throughput {
    arrived: VecDeque<(i64, u32)>,
    bytes: u64,
}

/// Period before the newest packet over which the rate is measured, in microseconds.
const THROUGHPUT_WINDOW_US: i64 = 500_000;
/// A burst counts as having lasted at least this long.
const THROUGHPUT_LEAST_US: i64 = 100_000;
const THROUGHPUT_PACKETS: usize = 4096;

impl Throughput {
    fn arrived(&mut self, outcome: &Outcome) {
        let Some(at) = outcome.arrived_us else { return };
        let newest = self.arrived.back().map_or(at, |(newest, _)| *newest);
        // A reordered packet counts as arriving now. After a clock was set back, the measurement starts again.
        if newest - at > THROUGHPUT_WINDOW_US {
            (self.arrived, self.bytes) = (VecDeque::new(), 0);
        }
        self.arrived
            .push_back((at.max(self.arrived.back().map_or(at, |(newest, _)| *newest)), outcome.bytes));
        self.bytes += u64::from(outcome.bytes);
        let oldest = self.arrived.back().map_or(at, |(newest, _)| newest - THROUGHPUT_WINDOW_US);
        while let Some((at, bytes)) = self.arrived.front().copied()
            && (at < oldest || self.arrived.len() > THROUGHPUT_PACKETS)
        {
            self.arrived.pop_front();
            self.bytes -= u64::from(bytes);
        }
    }

    fn bps(&self) -> Option<f64> {
        let ((first, _), (last, _)) = (self.arrived.front()?, self.arrived.back()?);
        let lasted_us = (last - first).max(THROUGHPUT_LEAST_US);
        Some(self.bytes as f64 * 8e6 / lasted_us as f64)
    }
}

/// Shares of lost packets, over enough time and packets to be significant.
#[derive(Debug)]
struct Losses {
    since: Instant,
    told: f64,
    lost: f64,
    /// Packets since the last report, for receivers that report only shares.
    packets: u32,
    bytes: u64,
}

const LOSS_WINDOW: Duration = Duration::from_secs(1);
const LOSS_PACKETS: f64 = 40.0;

impl Losses {
    fn new(now: Instant) -> Self {
        Self { since: now, told: 0.0, lost: 0.0, packets: 0, bytes: 0 }
    }

    fn sent(&mut self, bytes: u32) {
        self.packets += 1;
        self.bytes += u64::from(bytes);
    }

    fn told(&mut self, outcome: &Outcome) {
        self.told += 1.0;
        if outcome.arrived_us.is_none() {
            self.lost += 1.0;
        }
    }

    fn told_share(&mut self, fraction_lost: f64) {
        let packets = f64::from(std::mem::take(&mut self.packets));
        self.told += packets;
        self.lost += packets * fraction_lost.clamp(0.0, 1.0);
    }

    /// The share lost, and the rate sent, bits per second, once they are significant. Then starts again.
    fn take(&mut self, now: Instant) -> Option<(f64, f64)> {
        let lasted = now.saturating_duration_since(self.since);
        if lasted < LOSS_WINDOW || self.told < LOSS_PACKETS {
            return None;
        }
        let lost = self.lost / self.told;
        let sent = self.bytes as f64 * 8.0 / lasted.as_secs_f64();
        *self = Self::new(now);
        Some((lost, sent))
    }
}

/// One-way delays, as far as clocks of both ends can be compared: up to a constant.
#[derive(Debug, Default)]
struct Delays {
    epoch: Option<Instant>,
    /// The shortest of this window and of the one before, microseconds.
    base: [Option<i64>; 2],
    window: Option<Instant>,
    now_us: i64,
}

impl Delays {
    fn arrived(&mut self, now: Instant, outcomes: &[Outcome]) {
        let delays = outcomes.iter().filter_map(|outcome| {
            let epoch = *self.epoch.get_or_insert(outcome.sent);
            let sent = outcome.sent.saturating_duration_since(epoch);
            Some(outcome.arrived_us? - i64::try_from(sent.as_micros()).ok()?)
        });
        let Some(shortest) = delays.min() else { return };
        let window = *self.window.get_or_insert(now);
        if now.saturating_duration_since(window) > BASE_WINDOW {
            self.window = Some(now);
            self.base = [None, self.base[0]];
        }
        self.base[0] = Some(self.base[0].map_or(shortest, |base| base.min(shortest)));
        self.now_us = shortest;
    }

    fn queue(&self) -> Duration {
        let base = self.base.into_iter().flatten().min();
        let above = base.map_or(0, |base| self.now_us - base);
        Duration::from_micros(u64::try_from(above).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests;
