//! The way of packets to the client: what is lost, late, doubled and overtaken. Pure; `now` and the seed come from outside.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::{Duration, Instant};

use crate::scenario::Network;

/// Packets under way to one receiver.
pub struct Way<P> {
    rng: fastrand::Rng,
    /// Losses that are left of a burst.
    burst: u32,
    under_way: BinaryHeap<Reverse<(Instant, u64, P)>>,
    entered: u64,
    /// Packets that were lost.
    pub lost: u64,
}

impl<P: Clone + Ord> Way<P> {
    /// Nothing is under way.
    pub fn new(seed: u64) -> Self {
        let rng = fastrand::Rng::with_seed(seed);
        Self { rng, burst: 0, under_way: BinaryHeap::new(), entered: 0, lost: 0 }
    }

    /// A packet enters. False when it is lost.
    pub fn push(&mut self, now: Instant, rules: &Network, packet: P) -> bool {
        if self.is_lost(rules) {
            self.lost += 1;
            return false;
        }
        let mut due = now + Duration::from_millis(rules.delay_ms);
        if self.happens(rules.reorder) {
            due += Duration::from_millis(rules.reorder_ms);
        }
        if self.happens(rules.duplicate) {
            self.enter(due, packet.clone());
        }
        self.enter(due, packet);
        true
    }

    /// The next packet that has arrived at `now`.
    pub fn pop(&mut self, now: Instant) -> Option<P> {
        if self.next_at()? > now {
            return None;
        }
        self.under_way.pop().map(|Reverse((_, _, packet))| packet)
    }

    /// When to look again.
    pub fn next_at(&self) -> Option<Instant> {
        self.under_way.peek().map(|Reverse((due, ..))| *due)
    }

    fn enter(&mut self, due: Instant, packet: P) {
        self.entered += 1;
        self.under_way.push(Reverse((due, self.entered, packet)));
    }

    fn is_lost(&mut self, rules: &Network) -> bool {
        if self.burst == 0 && self.happens(rules.burst) {
            self.burst = rules.burst_length;
        }
        if self.burst > 0 {
            self.burst -= 1;
            return true;
        }
        self.happens(rules.loss)
    }

    fn happens(&mut self, share: f64) -> bool {
        share > 0.0 && self.rng.f64() < share
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// Sends `count` packets, one each millisecond; the numbers of those that arrive, in order.
    fn send(rules: Network, count: u32) -> (Vec<u32>, u64) {
        let start = Instant::now();
        let mut way = Way::new(3);
        let mut arrived = Vec::new();
        let mut now = start;
        for n in 0..count {
            way.push(now, &rules, n.to_be_bytes().to_vec());
            now += MS;
            while let Some(packet) = way.pop(now) {
                arrived.push(u32::from_be_bytes(packet.try_into().unwrap()));
            }
        }
        while let Some(at) = way.next_at() {
            let packet = way.pop(at).unwrap();
            arrived.push(u32::from_be_bytes(packet.try_into().unwrap()));
        }
        (arrived, way.lost)
    }

    #[test]
    fn nothing_happens_by_itself() {
        let (arrived, lost) = send(Network::default(), 100);
        assert_eq!((arrived, lost), ((0..100).collect(), 0));
    }

    #[test]
    fn losses_are_a_share_or_bursts() {
        let (arrived, lost) = send(Network { loss: 0.1, ..Network::default() }, 5000);
        assert!((400..600).contains(&lost) && arrived.len() as u64 + lost == 5000, "{lost}");
        let (arrived, lost) = send(Network { burst: 0.01, burst_length: 8, ..Network::default() }, 5000);
        let gaps: Vec<u32> =
            arrived.windows(2).map(|pair| pair[1] - pair[0] - 1).filter(|gap| *gap > 0).collect();
        assert!(lost > 200 && gaps.iter().all(|gap| gap % 8 == 0), "{lost}: {gaps:?}");
    }

    #[test]
    fn packets_are_overtaken_and_doubled() {
        let rules = Network { reorder: 0.1, reorder_ms: 5, duplicate: 0.1, ..Network::default() };
        let (arrived, _) = send(rules, 1000);
        assert!((1050..1150).contains(&arrived.len()));
        assert!((50..150).contains(&arrived.windows(2).filter(|pair| pair[0] > pair[1]).count()));
    }
}
