//! When packets arrived, for the publisher's congestion control (draft-holmer-rmcat-transport-wide-cc-extensions-01): without
//! being told, browsers stay at a few hundred kilobits.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// How often it is told.
const INTERVAL: Duration = Duration::from_millis(50);
/// Packets that one message tells of. What is older is left out.
const MAX_PACKETS: usize = 512;
/// Numbers that one message spans: what is missing is told, too.
const MAX_SPAN: u64 = 1024;

/// What is to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// Number of the first packet.
    pub first: u16,
    /// When the first one that came was there, in units of 64 ms since the clock began.
    pub reference: u32,
    /// Of each packet from the first one on, when it came: in units of 250 µs after the one before that came, the first one
    /// after the reference. `None`: it did not.
    pub deltas: Vec<Option<i16>>,
    /// Counts messages.
    pub count: u8,
}

/// Collects arrivals.
#[derive(Debug)]
pub struct Arrivals {
    clock: Instant,
    /// By number, counted on beyond 16 bits.
    arrived: BTreeMap<u64, Instant>,
    newest: Option<u64>,
    /// The number after the last one that was told of.
    next: Option<u64>,
    due: Option<Instant>,
    count: u8,
}

impl Arrivals {
    /// Nothing has arrived.
    pub fn new(clock: Instant) -> Self {
        Self { clock, arrived: BTreeMap::new(), newest: None, next: None, due: None, count: 0 }
    }

    /// A packet with this number has arrived.
    pub fn arrived(&mut self, now: Instant, number: u16) {
        let newest = self.newest.unwrap_or((1 << 32) | u64::from(number));
        // The nearest number that fits.
        let ahead = i64::from(number.wrapping_sub(newest as u16) as i16);
        let number = newest.saturating_add_signed(ahead);
        self.newest = Some(newest.max(number));
        if self.next.is_some_and(|next| number < next) {
            // It was told as missing, and is told again.
            self.next = Some(number);
        }
        self.arrived.entry(number).or_insert(now);
        while self.arrived.len() > MAX_PACKETS {
            self.arrived.pop_first();
        }
        self.due.get_or_insert(now + INTERVAL);
    }

    /// When there is something to tell.
    pub fn deadline(&self) -> Option<Instant> {
        self.due
    }

    /// What is to be told now.
    pub fn take(&mut self, now: Instant) -> Option<Told> {
        self.due.filter(|due| now >= *due)?;
        self.due = None;
        let oldest = *self.arrived.first_key_value()?.0;
        let newest = *self.arrived.last_key_value()?.0;
        let first =
            self.next.filter(|next| *next <= oldest).unwrap_or(oldest).max(newest.saturating_sub(MAX_SPAN));
        let arrived = std::mem::take(&mut self.arrived);
        self.next = Some(newest + 1);
        let since = |at: Instant| at.saturating_duration_since(self.clock).as_micros() as i64 / 250;
        let earliest = arrived.range(first..).next().map(|(_, at)| since(*at))?;
        let reference = earliest / 256;
        let mut last = reference * 256;
        let mut deltas = Vec::new();
        for number in first..=newest {
            let delta = arrived.get(&number).map(|at| {
                let delta = (since(*at) - last).clamp(i16::MIN.into(), i16::MAX.into()) as i16;
                last += i64::from(delta);
                delta
            });
            deltas.push(delta);
        }
        let count = self.count;
        self.count = count.wrapping_add(1);
        // 24 bits of it travel.
        Some(Told { first: first as u16, reference: reference as u32 & 0x00ff_ffff, deltas, count })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_came_and_what_did_not_is_told_every_now_and_then() {
        let clock = Instant::now();
        let at = |us| clock + Duration::from_micros(us);
        let mut arrivals = Arrivals::new(clock);
        assert_eq!((arrivals.deadline(), arrivals.take(at(1_000_000))), (None, None));
        arrivals.arrived(at(128_500), 65_534);
        arrivals.arrived(at(130_000), 0);
        arrivals.arrived(at(129_750), 1);
        assert_eq!(arrivals.take(at(130_000)), None);
        let told = arrivals.take(arrivals.deadline().unwrap()).unwrap();
        let deltas = vec![Some(2), None, Some(6), Some(-1)];
        assert_eq!(told, Told { first: 65_534, reference: 2, deltas, count: 0 });
        // What was missing then comes late; what is missing since is told with what comes next.
        arrivals.arrived(at(200_000), 65_535);
        arrivals.arrived(at(200_250), 4);
        let told = arrivals.take(at(300_000)).unwrap();
        assert_eq!((told.first, told.count), (65_535, 1));
        assert_eq!(told.deltas.iter().flatten().count(), 2);
        arrivals.arrived(at(400_000), 6);
        assert_eq!(arrivals.take(at(500_000)).unwrap().first, 5);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded(numbers in proptest::collection::vec(any::<u16>(), 0..2000)) {
            let clock = Instant::now();
            let mut arrivals = Arrivals::new(clock);
            for (n, number) in (0u32..).zip(numbers) {
                let now = clock + n * Duration::from_millis(1);
                arrivals.arrived(now, number);
                if let Some(told) = arrivals.take(now) {
                    prop_assert!(told.deltas.len() as u64 <= MAX_SPAN + 1);
                }
                prop_assert!(arrivals.arrived.len() <= MAX_PACKETS);
            }
        }
    }
}
