//! Limits where connectivity checks go, and how often (pure). A peer chooses its candidates freely, so they may name addresses of
//! others. Those must be sent no more than a few packets, and some addresses none at all.
//!
//! `rtc` checks every pair at one interval, which has to be short for a quick join. Everything that it sends passes through here; to
//! `rtc`, a check that is held back looks like one that was lost.
//!
//! ```text
//! unheard ──own pace, at most MAX_TRIES──▶ … ──its response to one of ours──▶ answered: as often as rtc wants
//!    └── each request from there earns one check (RFC 8445 §7.3.1.4)
//! ```

use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use common::nat::Network;

use super::demux::{self, Stun, Transaction};

/// Unsolicited checks are at least this far apart, over all pairs of a peer (Ta of RFC 8445 §14.2).
const PACE: Duration = Duration::from_millis(20);
/// Unsolicited checks that may be sent at once: a join has few pairs, and must not wait for any of them.
const BURST: u32 = 10;
/// Pairs of our addresses and a peer's that are checked or heard from (RFC 8445 §6.1.2.5).
const MAX_PAIRS: usize = 100;
/// Unsolicited and unanswered checks of a pair. With the pauses between them they take six seconds.
const MAX_TRIES: u32 = 7;
/// The same, over all pairs and the whole life of a peer.
const MAX_UNANSWERED: u32 = 256;
/// Pause after the first check of a pair; doubled with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// Checks that requests from the other end of a pair have earned, and that have not been sent yet.
const MAX_EARNED: u32 = 4;
/// Checks of a pair that may still be answered: a second's worth, where each request earns one.
const MAX_TRANSACTIONS: usize = 32;

/// From one of our addresses to one of the peer's.
#[derive(Debug)]
struct Pair {
    /// Unsolicited checks that were sent.
    tries: u32,
    /// The earliest time of the next one.
    next: Instant,
    earned: u32,
    /// Transactions of checks, and when each was sent.
    transactions: VecDeque<(Transaction, Instant)>,
    answered: bool,
}

impl Pair {
    fn new(now: Instant) -> Self {
        Self { tries: 0, next: now, earned: 0, transactions: VecDeque::new(), answered: false }
    }
}

/// What may be sent to the addresses of one peer.
#[derive(Debug)]
pub struct Checks {
    denied: Vec<Network>,
    pairs: HashMap<(SocketAddr, SocketAddr), Pair>,
    unanswered: u32,
    /// When the next unsolicited check would be sent if there were no bursts.
    due: Instant,
    round_trip: Option<Duration>,
}

impl Checks {
    /// Nothing is sent to, or taken from, addresses in `denied`.
    pub fn new(now: Instant, denied: &[Network]) -> Self {
        Self { denied: denied.to_vec(), pairs: HashMap::new(), unanswered: 0, due: now, round_trip: None }
    }

    /// Whether an address is never contacted.
    pub fn denies(&self, ip: IpAddr) -> bool {
        self.denied.iter().any(|network| network.contains(ip))
    }

    /// The shortest time that any of the peer's addresses took to respond to its first check.
    pub fn round_trip(&self) -> Option<Duration> {
        self.round_trip
    }

    /// Whether a datagram may be sent.
    pub fn may_send(&mut self, now: Instant, local: SocketAddr, to: SocketAddr, data: &[u8]) -> bool {
        if self.denies(to.ip()) {
            return false;
        }
        let Some(Stun::Request(transaction)) = demux::stun(data) else { return true };
        let room = self.pairs.len() < MAX_PAIRS;
        if !room && !self.pairs.contains_key(&(local, to)) {
            return false;
        }
        let pair = self.pairs.entry((local, to)).or_insert_with(|| Pair::new(now));
        if pair.answered {
            return true;
        }
        if pair.earned > 0 {
            pair.earned -= 1;
        } else {
            let spent = pair.tries >= MAX_TRIES || self.unanswered >= MAX_UNANSWERED;
            if spent || now < pair.next || now + PACE * (BURST - 1) < self.due {
                return false;
            }
            pair.next = now + FIRST_PAUSE * 2u32.pow(pair.tries);
            pair.tries += 1;
            self.unanswered += 1;
            self.due = self.due.max(now) + PACE;
        }
        if pair.transactions.len() == MAX_TRANSACTIONS {
            pair.transactions.pop_front();
        }
        pair.transactions.push_back((transaction, now));
        true
    }

    /// Whether a datagram that has arrived is to be processed. Each request makes its source address a candidate, so
    /// requests have the same bound.
    pub fn may_receive(&mut self, now: Instant, local: SocketAddr, from: SocketAddr, data: &[u8]) -> bool {
        if self.denies(from.ip()) {
            return false;
        }
        let room = self.pairs.len() < MAX_PAIRS;
        match demux::stun(data) {
            Some(Stun::Request(_)) => {
                if !room && !self.pairs.contains_key(&(local, from)) {
                    return false;
                }
                let pair = self.pairs.entry((local, from)).or_insert_with(|| Pair::new(now));
                pair.earned = (pair.earned + 1).min(MAX_EARNED);
            }
            // Only somebody who has received our check knows the transaction; anything else could be forged.
            Some(Stun::Success(transaction)) => {
                if let Some(pair) = self.pairs.get_mut(&(local, from))
                    && let Some((_, sent)) = pair.transactions.iter().find(|(known, _)| *known == transaction)
                {
                    let took = now.saturating_duration_since(*sent);
                    self.round_trip = Some(self.round_trip.map_or(took, |least| least.min(took)));
                    pair.answered = true;
                    pair.transactions = VecDeque::new();
                }
            }
            None => {}
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TICK: Duration = Duration::from_millis(5);

    fn address(n: u16) -> SocketAddr {
        SocketAddr::from(([203, 0, 113, 1], n))
    }

    fn local() -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], 5000))
    }

    fn stun(class: u8, transaction: u64) -> Vec<u8> {
        let mut datagram = vec![class, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0];
        datagram.extend(transaction.to_be_bytes());
        datagram
    }

    /// A check of every address each tick for `ticks` of them, as `rtc` sends them; those that were let through.
    fn run(checks: &mut Checks, start: Instant, ticks: u32, to: &[SocketAddr]) -> Vec<(Instant, SocketAddr)> {
        let mut sent = Vec::new();
        for tick in 0..ticks {
            let now = start + TICK * tick;
            for to in to {
                if checks.may_send(now, local(), *to, &stun(0, u64::from(tick))) {
                    sent.push((now, *to));
                }
            }
        }
        sent
    }

    #[test]
    fn addresses_that_do_not_answer_get_few_checks_and_slowly() {
        let start = Instant::now();
        let third_parties: Vec<_> = (1..=24).map(address).collect();
        let mut checks = Checks::new(start, &[]);
        let sent = run(&mut checks, start, 12_000, &third_parties);
        assert_eq!(sent.len(), 24 * MAX_TRIES as usize, "in a minute");
        let first_second = sent.iter().filter(|(at, _)| *at < start + Duration::from_secs(1)).count();
        assert!(first_second <= 60, "{first_second}");
        for to in third_parties {
            let times: Vec<_> = sent.iter().filter(|(_, sent)| *sent == to).map(|(at, _)| *at).collect();
            for (tries, pause) in times.windows(2).enumerate() {
                assert!(pause[1] - pause[0] >= FIRST_PAUSE * 2u32.pow(tries as u32));
            }
        }
    }

    #[test]
    fn pairs_and_unanswered_checks_are_bounded() {
        let start = Instant::now();
        let many: Vec<_> = (1..=500).map(address).collect();
        let mut checks = Checks::new(start, &[]);
        let sent = run(&mut checks, start, 12_000, &many);
        assert_eq!(sent.len(), MAX_UNANSWERED as usize);
        let pairs: std::collections::HashSet<_> = sent.iter().map(|(_, to)| to).collect();
        assert!(pairs.len() <= MAX_PAIRS);
        assert!(!checks.may_receive(start, local(), address(501), &stun(0, 9)), "no more candidates");
    }

    #[test]
    fn the_first_check_of_a_join_waits_for_nothing() {
        let start = Instant::now();
        let mut checks = Checks::new(start, &[]);
        let few: Vec<_> = (1..=BURST as u16).map(address).collect();
        assert_eq!(run(&mut checks, start, 1, &few).len(), few.len());
    }

    #[test]
    fn a_request_earns_a_check_and_a_response_as_many_as_are_wanted() {
        let now = Instant::now();
        let to = address(1);
        let mut checks = Checks::new(now, &[]);
        let check = |checks: &mut Checks, n| checks.may_send(now, local(), to, &stun(0, n));
        assert!(check(&mut checks, 1));
        assert!(!check(&mut checks, 2));
        assert!(checks.may_receive(now, local(), to, &stun(0, 77)));
        assert!(check(&mut checks, 3));
        assert!(!check(&mut checks, 4));
        // Of a check that was never sent, and from another address.
        assert!(checks.may_receive(now, local(), to, &stun(1, 4)));
        assert!(checks.may_receive(now, local(), address(2), &stun(1, 3)));
        assert!(!check(&mut checks, 5));
        assert!(checks.may_receive(now, local(), to, &stun(1, 3)));
        assert!((6..1000).all(|n| check(&mut checks, n)));
    }

    #[test]
    fn the_round_trip_is_the_shortest_of_all_pairs_and_nobody_else_can_shorten_it() {
        let start = Instant::now();
        let mut checks = Checks::new(start, &[]);
        for n in 1..=2 {
            assert!(checks.may_send(start, local(), address(n), &stun(0, u64::from(n))));
        }
        let mut response = |from, transaction, after_ms| {
            let now = start + Duration::from_millis(after_ms);
            checks.may_receive(now, local(), address(from), &stun(1, transaction));
            checks.round_trip().map(|round_trip| round_trip.as_millis())
        };
        assert_eq!(response(1, 99, 1), None, "to a check that was never sent");
        assert_eq!(response(3, 1, 2), None, "from where none was sent to");
        assert_eq!(response(1, 1, 60), Some(60));
        assert_eq!(response(1, 1, 70), Some(60), "once more");
        assert_eq!(response(2, 2, 80), Some(60));
    }

    #[test]
    fn denied_addresses_are_neither_sent_to_nor_heard() {
        let now = Instant::now();
        let mut checks = Checks::new(now, &["203.0.113.0/24".parse().unwrap()]);
        for data in [stun(0, 1), stun(1, 1), vec![0x80; 20]] {
            assert!(!checks.may_send(now, local(), address(1), &data));
            assert!(!checks.may_receive(now, local(), address(1), &data));
            assert!(checks.may_receive(now, address(1), local(), &data));
        }
        assert!(checks.denies("::ffff:203.0.113.9".parse().unwrap()));
    }
}
