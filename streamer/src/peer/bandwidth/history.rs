//! Remembers what was sent when, by transport-wide sequence number, and matches it with feedback.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::probe::TrainId;

/// Packets that feedback can still refer to: about seven seconds at 10 Mbit/s. Older ones are forgotten.
const KEPT: usize = 8192;
/// How long feedback can still refer to a packet: some round trips of two seconds, and the interval of feedback.
const KEPT_TIME: Duration = Duration::from_secs(7);
/// Memory for this many packets is kept.
const LEAST: usize = 64;
/// The reference time of feedback has 24 bits and counts this many microseconds
/// (draft-holmer-rmcat-transport-wide-cc-extensions-01 §3.1).
const REFERENCE_US: i64 = 64_000;
const REFERENCE_RANGE: i64 = 1 << 24;

/// One feedback message: which packets arrived, and when by the receiver's clock.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrivals {
    /// Transport-wide sequence number of the first packet.
    pub first: u16,
    /// Time from which the first delta counts, 24 bits, in units of 64 ms.
    pub reference: u32,
    /// For each packet in order, the time since the previous arrival, in microseconds; `None` if it did not arrive.
    pub deltas_us: Vec<Option<i32>>,
}

/// The fate of one packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Outcome {
    /// When it was sent.
    pub sent: Instant,
    /// When it arrived by the receiver's clock, in microseconds; `None` if it has not.
    pub arrived_us: Option<i64>,
    /// Its length on the wire.
    pub bytes: u32,
    /// The train that it belongs to.
    pub train: Option<TrainId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    Unknown,
    Missing,
    Arrived,
}

#[derive(Debug, Clone, Copy)]
struct Sent {
    at: Instant,
    bytes: u32,
    train: Option<TrainId>,
    fate: Fate,
}

/// Numbers packets, and remembers the newest ones.
#[derive(Debug, Default)]
pub struct History {
    sent: VecDeque<Sent>,
    /// Number of the next packet, without wrapping.
    next: u64,
    /// Reference time of the newest feedback, without wrapping.
    reference: Option<i64>,
}

impl History {
    /// Notes that a packet of `bytes` bytes is sent, of a train if it belongs to one. Returns its transport-wide sequence number.
    pub fn sent(&mut self, now: Instant, bytes: u32, train: Option<TrainId>) -> u16 {
        let is_old = |sent: &Sent| now.saturating_duration_since(sent.at) > KEPT_TIME;
        while self.sent.len() == KEPT || self.sent.front().is_some_and(is_old) {
            self.sent.pop_front();
        }
        // What a burst took is given back after it.
        if self.sent.capacity() > 4 * self.sent.len().max(LEAST) {
            self.sent.shrink_to(2 * self.sent.len().max(LEAST));
        }
        self.sent.push_back(Sent { at: now, bytes, train, fate: Fate::Unknown });
        self.next += 1;
        (self.next - 1) as u16
    }

    /// What is new in a feedback message, in the order of sending: packets that are reported for the first time, and those that
    /// have arrived after all. Packets that were never sent, or are forgotten, are left out.
    pub fn feedback(&mut self, arrivals: &Arrivals) -> Vec<Outcome> {
        let mut time = self.unwrap_reference(arrivals.reference) * REFERENCE_US;
        let oldest = self.next - self.sent.len() as u64;
        let mut news = Vec::new();
        for (n, delta) in (0u16..).zip(&arrivals.deltas_us) {
            time += i64::from(delta.unwrap_or(0));
            let behind = (self.next as u16).wrapping_sub(arrivals.first.wrapping_add(n));
            let number = self.next.checked_sub(u64::from(behind)).filter(|number| *number >= oldest);
            // `behind` is zero, or close to the whole range, for packets that were not sent yet.
            let index = number.filter(|_| behind != 0).map(|number| (number - oldest) as usize);
            let Some(sent) = index.and_then(|index| self.sent.get_mut(index)) else { continue };
            let fate = if delta.is_some() { Fate::Arrived } else { Fate::Missing };
            let is_news = sent.fate == Fate::Unknown || (sent.fate, fate) == (Fate::Missing, Fate::Arrived);
            if is_news {
                sent.fate = fate;
                let arrived_us = delta.map(|_| time);
                let Sent { at, bytes, train, .. } = *sent;
                news.push(Outcome { sent: at, arrived_us, bytes, train });
            }
        }
        news
    }

    /// The unwrapped reference time closest to that of the previous feedback.
    fn unwrap_reference(&mut self, reference: u32) -> i64 {
        let reference = i64::from(reference) % REFERENCE_RANGE;
        let last = self.reference.unwrap_or(reference);
        let ahead = (reference - last).rem_euclid(REFERENCE_RANGE);
        let ahead = if ahead > REFERENCE_RANGE / 2 { ahead - REFERENCE_RANGE } else { ahead };
        self.reference = Some(last + ahead);
        last + ahead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(first: u16, reference: u32, deltas_us: &[Option<i32>]) -> Arrivals {
        Arrivals { first, reference, deltas_us: deltas_us.to_vec() }
    }

    #[test]
    fn packets_are_told_apart_after_their_numbers_wrap() {
        let (mut history, start) = (History::default(), Instant::now());
        for n in 0..70_000u64 {
            assert_eq!(history.sent(start + Duration::from_millis(n), 100, None), n as u16);
        }
        let news = history.feedback(&arrivals(69_998u64 as u16, 1, &[Some(1000), None]));
        let sent = |n| start + Duration::from_millis(n);
        assert_eq!(
            news,
            [
                Outcome { sent: sent(69_998), arrived_us: Some(65_000), bytes: 100, train: None },
                Outcome { sent: sent(69_999), arrived_us: None, bytes: 100, train: None },
            ]
        );
    }

    #[test]
    fn what_is_too_old_for_feedback_is_forgotten_and_its_memory_given_back() {
        let (mut history, start) = (History::default(), Instant::now());
        for n in 0..5000 {
            history.sent(start + Duration::from_millis(n), 100, None);
        }
        assert_eq!(history.sent.len(), 5000);
        let later = start + Duration::from_secs(60);
        assert_eq!(history.sent(later, 100, None), 5000);
        assert_eq!(history.sent.len(), 1);
        assert!(history.sent.capacity() <= 4 * LEAST);
        assert_eq!(history.feedback(&arrivals(4999, 0, &[Some(0), Some(0)])).len(), 1);
    }

    #[test]
    fn what_was_never_sent_is_forgotten_or_was_told_before_is_no_news() {
        let (mut history, now) = (History::default(), Instant::now());
        assert_eq!(history.feedback(&arrivals(0, 0, &[Some(0); 3])), []);
        for _ in 0..3 {
            history.sent(now, 100, None);
        }
        assert_eq!(history.feedback(&arrivals(3, 0, &[Some(0); 60_000])).len(), 0, "numbers to come");
        assert_eq!(history.feedback(&arrivals(0, 0, &[Some(0), None, Some(0), Some(0)])).len(), 3);
        assert_eq!(history.feedback(&arrivals(0, 0, &[None, Some(0), None])).len(), 1, "late, after all");
        for _ in 0..KEPT {
            history.sent(now, 100, None);
        }
        assert_eq!(history.feedback(&arrivals(0, 0, &[Some(0); 3])), []);
    }

    #[test]
    fn the_receivers_clock_goes_on_when_its_reference_wraps() {
        let (mut history, now) = (History::default(), Instant::now());
        let mut arrived = |reference| {
            let first = history.sent(now, 100, None);
            history.feedback(&arrivals(first, reference, &[Some(0)]))[0].arrived_us.unwrap()
        };
        let before = arrived((1 << 24) - 1);
        assert_eq!(arrived(0) - before, REFERENCE_US);
        assert_eq!(arrived((1 << 24) - 1) - before, 0, "feedback that was overtaken");
    }
}
