//! Second copies of packets, for paths that lose some and are long. Pure.
//!
//! A lost packet that is asked for comes a round trip later, together with the next picture or after it, so that the receiver
//! shows one picture in place of two. Where a path loses packets steadily, a copy of each follows by itself, as a retransmission
//! (RFC 4588), soon enough for the picture's turn. It doubles what the peer is sent, so it is only done for pictures of some packets, where
//! the path has room for them, and while it loses enough. Where packets are copied, so is what is asked for: it is asked for while its
//! copy may still come, and is sent nevertheless, because waiting for the copy costs another round trip whenever that is lost, too.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Copies begin when so much is lost, and end below [`LOSS_END`].
const LOSS_BEGIN: f64 = 0.01;
const LOSS_END: f64 = 0.004;
/// A path that loses more than this is not merely lossy, but full.
const LOSS_MOST: f64 = 0.2;
/// On a shorter path a packet that is asked for comes in time.
const LONG: Duration = Duration::from_millis(20);
/// A copy follows this much later at most, so that it does not share the fate of a burst.
const DELAY_MOST: Duration = Duration::from_millis(10);
/// A picture of more packets gets none.
const PACKETS_MOST: usize = 48;
/// Copies that wait at most: the oldest are forgotten.
const KEPT: usize = 1024;

/// The path of a peer, as far as copies depend on it.
#[derive(Debug, Clone, Copy)]
pub struct PathState {
    /// Share of packets that it loses, 0 to 1.
    pub loss: f64,
    /// Round trip.
    pub round_trip: Duration,
    /// It carries each packet twice.
    pub has_room: bool,
}

/// The copies of one peer.
#[derive(Debug, Default)]
pub struct Copies {
    /// How long after a packet its copy goes out; `None`: not at all.
    delay: Option<Duration>,
    waiting: VecDeque<Copy>,
}

/// A packet that goes out again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Copy {
    /// When.
    pub at: Instant,
    /// In which slot.
    pub slot: usize,
    /// The sequence number of the packet.
    pub sequence: u16,
}

impl Copies {
    /// What the path is like now.
    pub fn follow(&mut self, path: PathState) {
        let least = if self.delay.is_some() { LOSS_END } else { LOSS_BEGIN };
        let helps = path.round_trip >= LONG && (least..LOSS_MOST).contains(&path.loss) && path.has_room;
        self.delay = helps.then(|| (path.round_trip / 4).min(DELAY_MOST));
    }

    /// These packets go out in a slot: a picture, or what was asked for of one.
    pub fn push(&mut self, now: Instant, slot: usize, sequences: impl ExactSizeIterator<Item = u16>) {
        let Some(delay) = self.delay.filter(|_| sequences.len() <= PACKETS_MOST) else { return };
        for sequence in sequences {
            if self.waiting.len() == KEPT {
                self.waiting.pop_front();
            }
            self.waiting.push_back(Copy { at: now + delay, slot, sequence });
        }
    }

    /// The next copy that is to go out now.
    pub fn pop(&mut self, now: Instant) -> Option<Copy> {
        self.waiting.pop_front_if(|copy| copy.at <= now)
    }

    /// When [`Copies::pop`] has something again.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.front().map(|copy| copy.at)
    }

    /// Forgets what waits.
    pub fn clear(&mut self) {
        self.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const LOSSY: PathState = PathState { loss: 0.05, round_trip: Duration::from_millis(40), has_room: true };

    fn following(path: PathState) -> Copies {
        let mut copies = Copies::default();
        copies.follow(path);
        copies
    }

    #[test]
    fn copies_are_for_paths_that_are_long_lossy_and_wide() {
        let now = Instant::now();
        for (path, expected) in [
            (LOSSY, Some(10)),
            (PathState { round_trip: 24 * MS, ..LOSSY }, Some(6)),
            (PathState { round_trip: 5 * MS, ..LOSSY }, None),
            (PathState { loss: 0.005, ..LOSSY }, None),
            (PathState { loss: 0.3, ..LOSSY }, None),
            (PathState { has_room: false, ..LOSSY }, None),
        ] {
            let mut copies = following(path);
            copies.push(now, 0, [7].into_iter());
            let delay = copies.deadline().map(|at| (at - now).as_millis());
            assert_eq!(delay, expected, "{path:?}");
        }
    }

    #[test]
    fn they_end_only_when_little_is_lost() {
        let mut copies = following(LOSSY);
        for (loss, expected) in [(0.005, true), (0.003, false), (0.005, false), (0.01, true)] {
            copies.follow(PathState { loss, ..LOSSY });
            assert_eq!(copies.delay.is_some(), expected, "{loss}");
        }
    }

    #[test]
    fn each_packet_goes_out_once_more_in_order_when_it_is_time() {
        let now = Instant::now();
        let mut copies = following(LOSSY);
        copies.push(now, 1, [u16::MAX, 0].into_iter());
        copies.push(now + 2 * MS, 0, [9].into_iter());
        copies.push(now, 0, 0..100u16);
        assert_eq!(copies.pop(now + 9 * MS), None);
        let out: Vec<_> = std::iter::from_fn(|| copies.pop(now + 12 * MS)).collect();
        let expected = [(1, u16::MAX), (1, 0), (0, 9)];
        assert_eq!(out.iter().map(|copy| (copy.slot, copy.sequence)).collect::<Vec<_>>(), expected);
        assert_eq!(copies.deadline(), None);
    }

    #[test]
    fn what_waits_is_bounded() {
        let now = Instant::now();
        let mut copies = following(LOSSY);
        for n in 0..3000u16 {
            copies.push(now, 0, [n].into_iter());
        }
        assert_eq!(copies.waiting.len(), KEPT);
        copies.clear();
        assert_eq!(copies.deadline(), None);
    }
}
