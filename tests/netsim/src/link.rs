//! One direction of the network: which packets arrive, and when. Pure; `now` and the seed come from outside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::codel::CoDel;
use crate::rules::LinkRules;

/// How much longer a packet takes that is to be overtaken.
pub const HELD_BACK: Duration = Duration::from_millis(10);
/// Most packets under way; more are lost. A second of 100 Mbit/s in large packets.
const MAX_QUEUED: usize = 10_000;
/// How long packets wait for a limited link when nothing else is said.
const DEFAULT_QUEUE: Duration = Duration::from_secs(1);

/// What a link has done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize)]
pub struct Counters {
    /// Packets that left the link at its other end.
    pub passed: u64,
    /// Packets that did not.
    pub dropped: u64,
}

/// A link that carries packets of type `T`.
#[derive(Debug)]
pub struct Link<T> {
    rules: LinkRules,
    rng: fastrand::Rng,
    /// When the last bit of what was accepted has been sent, on a link of limited capacity.
    busy_until: Option<Instant>,
    codel: CoDel,
    /// A burst of losses goes on.
    losing: bool,
    /// No packet that is not held back arrives before this.
    in_order: Option<Instant>,
    under_way: BinaryHeap<Reverse<Packet<T>>>,
    accepted: u64,
    counters: Counters,
}

#[derive(Debug)]
struct Packet<T> {
    due: Instant,
    /// Orders what is due at the same time.
    number: u64,
    content: T,
}

impl<T> Link<T> {
    /// An empty one.
    pub fn new(rules: LinkRules, seed: u64) -> Self {
        Self {
            rules,
            rng: fastrand::Rng::with_seed(seed),
            busy_until: None,
            codel: CoDel::default(),
            losing: false,
            in_order: None,
            under_way: BinaryHeap::new(),
            accepted: 0,
            counters: Counters::default(),
        }
    }

    /// From now on. What is under way goes on as it would have, unless nothing may pass.
    pub fn set_rules(&mut self, rules: LinkRules) {
        self.rules = rules;
        self.busy_until = None;
        self.codel = CoDel::default();
        self.losing = false;
        if rules.drop {
            self.counters.dropped += self.under_way.len() as u64;
            self.under_way.clear();
        }
    }

    /// A packet of `bytes` bytes enters. False when it is lost.
    pub fn push(&mut self, now: Instant, bytes: usize, content: T) -> bool {
        match self.arrival(now, bytes) {
            Some(due) => {
                self.accepted += 1;
                self.under_way.push(Reverse(Packet { due, number: self.accepted, content }));
                true
            }
            None => {
                self.counters.dropped += 1;
                false
            }
        }
    }

    /// The next packet that has arrived at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<T> {
        if self.next_at()? > now {
            return None;
        }
        self.counters.passed += 1;
        self.under_way.pop().map(|Reverse(packet)| packet.content)
    }

    /// When to look again.
    pub fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse(packet)| packet.due)
    }

    /// What it has done so far.
    pub fn counters(&self) -> Counters {
        self.counters
    }

    fn arrival(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let rules = self.rules;
        if rules.drop || self.loses() || self.under_way.len() >= MAX_QUEUED {
            return None;
        }
        let jitter = Duration::from_micros(self.rng.u64(0..=rules.jitter_ms * 1000));
        let due = self.sent(now, bytes)? + Duration::from_millis(rules.delay_ms) + jitter;
        if rules.reorder > 0.0 && self.rng.f64() < rules.reorder {
            return Some(due + HELD_BACK);
        }
        let due = self.in_order.map_or(due, |earliest| earliest.max(due));
        self.in_order = Some(due);
        Some(due)
    }

    /// Whether the next packet is lost.
    fn loses(&mut self) -> bool {
        let LinkRules { loss, loss_burst, .. } = self.rules;
        let chance = match loss_burst {
            None => loss,
            Some(burst) if self.losing => 1.0 - 1.0 / burst,
            // Bursts begin so often that their packets are the share that is to be lost.
            Some(burst) => loss / (1.0 - loss) / burst,
        };
        self.losing = chance > 0.0 && self.rng.f64() < chance;
        self.losing
    }

    /// When the last bit has been put on the link; `None` when the packet would wait too long for that.
    fn sent(&mut self, now: Instant, bytes: usize) -> Option<Instant> {
        let Some(rate) = self.rules.rate_kbps else { return Some(now) };
        let start = self.busy_until.map_or(now, |busy| busy.max(now));
        let patience = self.rules.queue_ms.map_or(DEFAULT_QUEUE, Duration::from_millis);
        let wait = start - now;
        // Packets leave in the order in which they come, so that CoDel can be asked before they do.
        if wait > patience || self.rules.codel && self.codel.drops(start, wait) {
            return None;
        }
        // kbit/s are bits per millisecond.
        let end = start + Duration::from_secs_f64(bytes as f64 * 8.0 / rate as f64 / 1000.0);
        self.busy_until = Some(end);
        Some(end)
    }
}

impl<T> Packet<T> {
    fn key(&self) -> (Instant, u64) {
        (self.due, self.number)
    }
}

impl<T> PartialEq for Packet<T> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<T> Eq for Packet<T> {}

impl<T> PartialOrd for Packet<T> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> Ord for Packet<T> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.key().cmp(&other.key())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `count` packets of 1000 bytes, one each millisecond; their arrivals as (number, ms since the start).
    fn send(rules: LinkRules, count: u32) -> Vec<(u32, u128)> {
        let start = Instant::now();
        let mut link = Link::new(rules, 7);
        for n in 0..count {
            link.push(start + MS * n, 1000, n);
        }
        let mut arrived = Vec::new();
        while let Some(at) = link.next_at() {
            assert!(link.pop(at - Duration::from_nanos(1)).is_none(), "nothing arrives early");
            let n = link.pop(at).unwrap();
            arrived.push((n, (at - start).as_millis()));
        }
        let Counters { passed, dropped } = link.counters();
        assert_eq!((passed, passed + dropped), (arrived.len() as u64, u64::from(count)));
        arrived
    }

    #[test]
    fn without_rules_everything_arrives_at_once_and_in_order() {
        assert_eq!(send(LinkRules::default(), 3), [(0, 0), (1, 1), (2, 2)]);
    }

    #[test]
    fn loss_is_a_share_and_the_same_for_the_same_seed() {
        let rules = LinkRules { loss: 0.2, ..LinkRules::default() };
        let arrived = send(rules, 5000);
        assert!((3850..4150).contains(&arrived.len()), "{}", arrived.len());
        assert_eq!(arrived, send(rules, 5000));
        assert!(send(LinkRules { loss: 1.0, ..rules }, 100).is_empty());
    }

    #[test]
    fn losses_in_bursts_are_the_same_share_and_follow_each_other() {
        let rules = LinkRules { loss: 0.1, loss_burst: Some(5.0), ..LinkRules::default() };
        let arrived = send(rules, 9000);
        assert!((7800..8400).contains(&arrived.len()), "{}", arrived.len());
        let gaps = arrived.windows(2).filter(|pair| pair[1].0 - pair[0].0 > 1).count();
        let mean = (9000 - arrived.len()) as f64 / gaps as f64;
        assert!((4.2..5.8).contains(&mean), "{mean} packets in a burst");
    }

    #[test]
    fn codel_keeps_the_queue_short_that_would_fill_without_it() {
        // A tenth more than the link carries, for eight seconds.
        let rules = LinkRules { rate_kbps: Some(7300), queue_ms: Some(1000), ..LinkRules::default() };
        let longest = |codel| {
            let arrived = send(LinkRules { codel, ..rules }, 8000);
            let later = arrived.into_iter().filter(|(n, _)| *n > 6000);
            later.map(|(n, at)| at - u128::from(n)).max().unwrap()
        };
        let with = longest(true);
        let without = longest(false);
        assert!(without > 700 && with < without / 10, "{with} and {without} ms");
    }

    #[test]
    fn delay_and_jitter_add_up_and_keep_the_order() {
        let rules = LinkRules { delay_ms: 20, jitter_ms: 30, ..LinkRules::default() };
        let arrived = send(rules, 200);
        assert!(arrived.is_sorted_by_key(|(n, _)| *n));
        let took = |(n, at): &(u32, u128)| at - u128::from(*n);
        assert!(arrived.iter().all(|packet| (20..=50).contains(&took(packet))));
        assert!(arrived.iter().any(|packet| took(packet) > 30), "there is some jitter");
    }

    #[test]
    fn reordered_packets_are_overtaken() {
        let arrived = send(LinkRules { reorder: 0.1, ..LinkRules::default() }, 500);
        assert_eq!(arrived.len(), 500);
        let late = arrived.windows(2).filter(|pair| pair[0].0 > pair[1].0).count();
        assert!((25..75).contains(&late), "{late}");
    }

    #[test]
    fn a_limited_link_spreads_packets_and_loses_what_would_wait_too_long() {
        // 8000 bits at 4000 bits per ms take 2 ms, and come every ms.
        let rules = LinkRules { rate_kbps: Some(4000), queue_ms: Some(10), ..LinkRules::default() };
        let arrived = send(rules, 200);
        assert_eq!(arrived[..3], [(0, 2), (1, 4), (2, 6)]);
        assert!((100..=107).contains(&arrived.len()), "{}", arrived.len());
        assert!(arrived.iter().all(|(n, at)| at - u128::from(*n) <= 12));
    }

    #[test]
    fn a_stopped_link_loses_what_is_under_way_and_recovers() {
        let now = Instant::now();
        let mut link = Link::new(LinkRules { delay_ms: 5, ..LinkRules::default() }, 1);
        assert!(link.push(now, 10, 'a'));
        link.set_rules(LinkRules { drop: true, ..LinkRules::default() });
        assert!(!link.push(now, 10, 'b'));
        link.set_rules(LinkRules::default());
        assert!(link.push(now + MS * 9, 10, 'c'));
        assert_eq!(link.pop(now + MS * 9), Some('c'));
        assert_eq!(link.counters(), Counters { passed: 1, dropped: 2 });
    }

    #[test]
    fn what_is_under_way_is_bounded() {
        let now = Instant::now();
        let mut link = Link::new(LinkRules { delay_ms: 1000, ..LinkRules::default() }, 1);
        let accepted = (0..MAX_QUEUED + 5).filter(|n| link.push(now, 10, *n)).count();
        assert_eq!(accepted, MAX_QUEUED);
    }
}
