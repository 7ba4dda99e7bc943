//! Detects whether a queue grows on the path: by the trend of one-way delay, as in draft-ietf-rmcat-gcc-02 §5 with the slope of a line in place
//! of the Kalman filter.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::history::Outcome;

/// Packets sent within this time of the first of them form one group: differences within a group say nothing about the path.
const GROUP: Duration = Duration::from_millis(5);
/// Groups through which the line is fitted.
const WINDOW: usize = 20;
/// Smoothing factor of the accumulated delay: the weight of its past.
const SMOOTHING: f64 = 0.9;
/// Factor from the slope to the value that is compared with the threshold, in milliseconds.
const GAIN: f64 = 4.0;
/// More groups than this do not make a slope more certain.
const MOST_GROUPS: f64 = 60.0;
/// How fast the threshold follows the value that is compared with it, upwards and downwards (§5.4).
const THRESHOLD_START: f64 = 12.5;
const THRESHOLD_RANGE: (f64, f64) = (6.0, 600.0);
const THRESHOLD_UP: f64 = 0.0087;
const THRESHOLD_DOWN: f64 = 0.039;
/// Values that are this far above the threshold do not change it.
const THRESHOLD_OUTLIER: f64 = 15.0;
const THRESHOLD_MAX_STEP_MS: f64 = 100.0;
/// How long the slope must be too steep to count as overuse.
const OVERUSE_FOR_MS: f64 = 10.0;
/// After a pause this long, the path may have changed.
const PAUSE: Duration = Duration::from_secs(2);

/// State of the path's queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Usage {
    /// The queue stays as it is.
    Normal,
    /// The queue grows.
    Over,
    /// The queue becomes shorter.
    Under,
}

#[derive(Debug, Clone, Copy)]
struct Group {
    first_sent: Instant,
    last_sent: Instant,
    arrived_us: i64,
}

/// Detects a growing queue.
#[derive(Debug)]
pub struct DelayTrend {
    current: Option<Group>,
    previous: Option<Group>,
    /// When each group arrived, and the smoothed delay then, both in milliseconds.
    line: VecDeque<(f64, f64)>,
    first_arrival_us: Option<i64>,
    accumulated_ms: f64,
    smoothed_ms: f64,
    groups: f64,
    threshold_ms: f64,
    over_for_ms: f64,
    over_count: u32,
    last_trend: f64,
    usage: Usage,
}

impl Default for DelayTrend {
    fn default() -> Self {
        Self {
            current: None,
            previous: None,
            line: VecDeque::with_capacity(WINDOW),
            first_arrival_us: None,
            accumulated_ms: 0.0,
            smoothed_ms: 0.0,
            groups: 0.0,
            threshold_ms: THRESHOLD_START,
            over_for_ms: 0.0,
            over_count: 0,
            last_trend: 0.0,
            usage: Usage::Normal,
        }
    }
}

impl DelayTrend {
    /// State of the path's queue, as far as it is known.
    pub fn usage(&self) -> Usage {
        self.usage
    }

    /// Takes the arrival of a packet, in the order of sending.
    pub fn arrived(&mut self, outcome: &Outcome) {
        let Some(arrived_us) = outcome.arrived_us else { return };
        let sent = outcome.sent;
        let Some(current) = &mut self.current else {
            self.current = Some(Group { first_sent: sent, last_sent: sent, arrived_us });
            return;
        };
        if sent < current.first_sent {
            return;
        }
        if sent.saturating_duration_since(current.last_sent) > PAUSE {
            *self = Self { threshold_ms: self.threshold_ms, ..Self::default() };
            self.current = Some(Group { first_sent: sent, last_sent: sent, arrived_us });
            return;
        }
        if sent.saturating_duration_since(current.first_sent) <= GROUP {
            current.last_sent = sent;
            current.arrived_us = current.arrived_us.max(arrived_us);
            return;
        }
        let complete = std::mem::replace(current, Group { first_sent: sent, last_sent: sent, arrived_us });
        if let Some(previous) = self.previous.replace(complete) {
            self.compare(&previous, &complete);
        }
    }

    fn compare(&mut self, previous: &Group, group: &Group) {
        let sent_ms = ms(group.last_sent.saturating_duration_since(previous.last_sent));
        let arrived_ms = (group.arrived_us - previous.arrived_us) as f64 / 1000.0;
        self.groups = (self.groups + 1.0).min(MOST_GROUPS);
        self.accumulated_ms += arrived_ms - sent_ms;
        self.smoothed_ms = SMOOTHING * self.smoothed_ms + (1.0 - SMOOTHING) * self.accumulated_ms;
        let first = *self.first_arrival_us.get_or_insert(group.arrived_us);
        if self.line.len() == WINDOW {
            self.line.pop_front();
        }
        self.line.push_back(((group.arrived_us - first) as f64 / 1000.0, self.smoothed_ms));
        let trend = if self.line.len() == WINDOW { slope(&self.line) } else { 0.0 };
        self.detect(trend, sent_ms);
    }

    fn detect(&mut self, trend: f64, since_ms: f64) {
        let compared = self.groups * trend * GAIN;
        if compared > self.threshold_ms {
            self.over_for_ms += since_ms;
            self.over_count += 1;
            if self.over_for_ms > OVERUSE_FOR_MS && self.over_count > 1 && trend >= self.last_trend {
                (self.over_for_ms, self.over_count) = (0.0, 0);
                self.usage = Usage::Over;
            }
        } else {
            (self.over_for_ms, self.over_count) = (0.0, 0);
            self.usage = if compared < -self.threshold_ms { Usage::Under } else { Usage::Normal };
        }
        self.last_trend = trend;
        self.adapt(compared, since_ms);
    }

    fn adapt(&mut self, compared: f64, since_ms: f64) {
        let beyond = compared.abs() - self.threshold_ms;
        if beyond > THRESHOLD_OUTLIER {
            return;
        }
        let speed = if beyond < 0.0 { THRESHOLD_DOWN } else { THRESHOLD_UP };
        self.threshold_ms += speed * beyond * since_ms.min(THRESHOLD_MAX_STEP_MS);
        self.threshold_ms = self.threshold_ms.clamp(THRESHOLD_RANGE.0, THRESHOLD_RANGE.1);
    }
}

fn ms(duration: Duration) -> f64 {
    duration.as_secs_f64() * 1000.0
}

/// Slope of the line of least squares through the points; zero when all have the same x.
fn slope(points: &VecDeque<(f64, f64)>) -> f64 {
    let count = points.len() as f64;
    let (sum_x, sum_y) = points.iter().fold((0.0, 0.0), |(x, y), point| (x + point.0, y + point.1));
    let mean_x = sum_x / count;
    let mean_y = sum_y / count;
    let (over, under) = points.iter().fold((0.0, 0.0), |(over, under), (x, y)| {
        (over + (x - mean_x) * (y - mean_y), under + (x - mean_x) * (x - mean_x))
    });
    if under > 0.0 { over / under } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Packets every 20 ms, each of which takes `delay_us` of its number longer than the first.
    fn usage(packets: i64, delay_us: impl Fn(i64) -> i64) -> Vec<Usage> {
        let (mut trend, start) = (DelayTrend::default(), Instant::now());
        let mut seen = Vec::new();
        for n in 0..packets {
            let sent = start + Duration::from_millis(20 * n as u64);
            let arrived_us = Some(20_000 * n + delay_us(n));
            trend.arrived(&Outcome { sent, arrived_us, bytes: 1000, train: None });
            seen.push(trend.usage());
        }
        seen
    }

    #[test]
    fn a_steady_path_is_normal_whatever_its_jitter() {
        let seen = usage(500, |n| (n * 7919 % 97) * 100);
        assert!(seen.iter().all(|usage| *usage != Usage::Over), "{seen:?}");
    }

    #[test]
    fn a_queue_that_grows_is_seen_within_a_second_and_one_that_shrinks_too() {
        let grows = usage(100, |n| (n - 50).max(0) * 4000);
        let first = grows.iter().position(|usage| *usage == Usage::Over).unwrap();
        assert!((50..90).contains(&first), "after {} packets", first - 50);
        let shrinks = usage(150, |n| (100 - n).max(0) * 4000);
        assert!(shrinks.contains(&Usage::Under));
    }

    #[test]
    fn after_a_pause_the_trend_begins_anew() {
        let (mut trend, start) = (DelayTrend::default(), Instant::now());
        let mut arrive = |ms: u64, late_ms: u64| {
            let arrived_us = Some((ms + late_ms) as i64 * 1000);
            trend.arrived(&Outcome {
                sent: start + Duration::from_millis(ms),
                arrived_us,
                bytes: 1000,
                train: None,
            });
            trend.usage()
        };
        for n in 0..60 {
            assert_ne!(arrive(20 * n, 0), Usage::Over);
        }
        // Its clock was set, or it was asleep: a delay of seconds is no queue.
        for n in 0..60 {
            assert_ne!(arrive(10_000 + 20 * n, 5_000), Usage::Over);
        }
    }
}
