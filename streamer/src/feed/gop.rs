//! What a shard remembers of a feed: the current GOP, for peers that join, and recent
//! packets, for those that lost some.
//!
//! Units are shared; this holds pointers. Each shard has its own, so nothing is locked.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::VideoUnit;

/// Longest GOP that is replayed to a joining peer, in access units.
pub const MAX_REPLAY_UNITS: usize = 30;
/// Longest GOP that is replayed to a joining peer, in bytes.
pub const MAX_REPLAY_BYTES: usize = 512 * 1024;
/// How long packets are kept for retransmission. Later requests are useless: the receiver has given up the frame.
const HISTORY_TIME: Duration = Duration::from_millis(1500);
/// Most bytes kept for retransmission; the oldest go first.
const HISTORY_BYTES: usize = 4 * 1024 * 1024;

/// The newest units of one feed.
#[derive(Debug, Default)]
pub struct Gop {
    /// Every unit still remembered, oldest first, numbers without gaps.
    units: VecDeque<Arc<VideoUnit>>,
    bytes: usize,
    /// Number of the newest keyframe, if all that followed it is in `units`.
    keyframe: Option<u64>,
}

/// Identifies a unit of a feed across the lives of its source: numbers restart at 0, but time goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    number: u64,
    time: u64,
}

impl Place {
    /// The position of a unit.
    pub fn of(unit: &VideoUnit) -> Self {
        Self { number: unit.number, time: unit.time }
    }
}

/// The relation of a new unit to the previous ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Continuity {
    /// It follows the last one.
    Next,
    /// Units are missing before it: only a keyframe can be shown.
    Gap,
}

impl Gop {
    /// Takes a unit. After a gap everything older is forgotten.
    pub fn push(&mut self, unit: Arc<VideoUnit>) -> Continuity {
        let continuity = match self.units.back() {
            Some(last) if last.number + 1 != unit.number => {
                *self = Self::default();
                Continuity::Gap
            }
            _ => Continuity::Next,
        };
        if unit.keyframe {
            self.keyframe = Some(unit.number);
        }
        self.bytes += unit.bytes;
        let now = unit.captured;
        self.units.push_back(unit);
        self.forget(now);
        continuity
    }

    fn forget(&mut self, now: Instant) {
        while let Some(oldest) = self.units.front() {
            let too_old = now.saturating_duration_since(oldest.captured) > HISTORY_TIME;
            let in_gop = self.keyframe.is_some_and(|keyframe| oldest.number >= keyframe);
            // The GOP of an idle desktop may be old and still current: it stays while it is short.
            let replayable = in_gop && self.units.len() <= MAX_REPLAY_UNITS && self.bytes <= MAX_REPLAY_BYTES;
            if self.units.len() == 1 || !(self.bytes > HISTORY_BYTES || too_old && !replayable) {
                break;
            }
            if in_gop {
                self.keyframe = None;
            }
            self.bytes -= oldest.bytes;
            self.units.pop_front();
        }
    }

    /// The units that bring a peer up to date: the current GOP from its keyframe on or, for a peer that has received everything up to
    /// `place`, those after that. `None` when they are not complete, or beyond the bounds of a replay:
    /// [`MAX_REPLAY_UNITS`], [`MAX_REPLAY_BYTES`] and `max_bytes`, which the peer can receive quickly.
    pub fn replay(
        &self,
        place: Option<Place>,
        max_bytes: usize,
    ) -> Option<impl Iterator<Item = &Arc<VideoUnit>>> {
        let keyframe = self.keyframe.and_then(|number| self.index_of(number));
        let missed = place
            .and_then(|place| self.index_of(place.number).filter(|n| Place::of(&self.units[*n]) == place));
        // A keyframe that the peer has received does not help, and a newer one is the shorter way.
        let first = missed.map(|had| had + 1).max(keyframe)?;
        let units = self.units.range(first..);
        let bytes: usize = units.clone().map(|unit| unit.bytes).sum();
        let short = units.len() <= MAX_REPLAY_UNITS && bytes <= MAX_REPLAY_BYTES.min(max_bytes);
        short.then_some(units)
    }

    /// A recent payload, with its unit: the `packet`th of unit `number`.
    pub fn packet(&self, number: u64, packet: u16) -> Option<(&VideoUnit, &Bytes)> {
        let unit = &self.units[self.index_of(number)?];
        unit.payloads.get(usize::from(packet)).map(|payload| (&**unit, payload))
    }

    /// The newest unit.
    pub fn newest(&self) -> Option<&Arc<VideoUnit>> {
        self.units.back()
    }

    fn index_of(&self, number: u64) -> Option<usize> {
        let first = self.units.front()?.number;
        let index = usize::try_from(number.checked_sub(first)?).ok()?;
        (index < self.units.len()).then_some(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(number: u64, keyframe: bool, at: Instant, bytes: usize) -> Arc<VideoUnit> {
        let payloads = vec![Bytes::from(vec![number as u8; bytes])];
        let codec = common::media::VideoCodec::H264;
        Arc::new(VideoUnit { number, codec, keyframe, captured: at, time: 0, payloads, bytes })
    }

    fn replayed(gop: &Gop) -> Option<Vec<u64>> {
        gop.replay(None, usize::MAX).map(|units| units.map(|u| u.number).collect())
    }

    #[test]
    fn a_joiner_is_served_from_the_newest_keyframe() {
        let mut gop = Gop::default();
        let now = Instant::now();
        for (number, keyframe) in [(0, true), (1, false), (2, true), (3, false)] {
            gop.push(unit(number, keyframe, now, 10));
        }
        assert_eq!(replayed(&gop), Some(vec![2, 3]));
    }

    #[test]
    fn a_long_gop_is_not_replayed() {
        let mut gop = Gop::default();
        let now = Instant::now();
        gop.push(unit(0, true, now, 10));
        for number in 1..=MAX_REPLAY_UNITS as u64 {
            gop.push(unit(number, false, now, 10));
        }
        assert_eq!(replayed(&gop), None);
        let mut gop = Gop::default();
        gop.push(unit(0, true, now, 1000));
        assert!(gop.replay(None, 999).is_none());
        assert!(gop.replay(None, 1000).is_some());
    }

    #[test]
    fn an_idle_gop_stays_however_old_it_is() {
        let mut gop = Gop::default();
        let now = Instant::now();
        gop.push(unit(0, true, now, 10));
        gop.push(unit(1, false, now + Duration::from_secs(3600), 10));
        assert_eq!(replayed(&gop), Some(vec![0, 1]));
    }

    #[test]
    fn who_has_had_a_part_gets_the_rest_unless_a_keyframe_is_the_shorter_way() {
        let mut gop = Gop::default();
        let now = Instant::now();
        for (number, keyframe) in [(0, true), (1, false), (2, false)] {
            gop.push(unit(number, keyframe, now, 10));
        }
        let after = |gop: &Gop, place: Place| {
            gop.replay(Some(place), usize::MAX).map(|units| units.map(|u| u.number).collect::<Vec<_>>())
        };
        let had = Place { number: 1, time: 0 };
        assert_eq!(after(&gop, had), Some(vec![2]));
        assert_eq!(after(&gop, Place { number: 2, time: 0 }), Some(vec![]));
        // The same number of an earlier life of the source.
        assert_eq!(after(&gop, Place { number: 1, time: 99 }), Some(vec![0, 1, 2]));
        gop.push(unit(3, true, now, 10));
        gop.push(unit(4, false, now, 10));
        assert_eq!(after(&gop, had), Some(vec![3, 4]));
        assert_eq!(after(&gop, Place { number: 3, time: 0 }), Some(vec![4]));
    }

    #[test]
    fn after_a_gap_only_a_keyframe_helps() {
        let mut gop = Gop::default();
        let now = Instant::now();
        assert_eq!(gop.push(unit(0, true, now, 10)), Continuity::Next);
        assert_eq!(gop.push(unit(2, false, now, 10)), Continuity::Gap);
        assert_eq!(replayed(&gop), None);
        assert!(gop.packet(0, 0).is_none());
        gop.push(unit(3, true, now, 10));
        assert_eq!(replayed(&gop), Some(vec![3]));
    }

    #[test]
    fn memory_is_bounded_in_time_and_bytes() {
        let mut gop = Gop::default();
        let now = Instant::now();
        for number in 0..1000 {
            gop.push(unit(number, number == 0, now + Duration::from_millis(33 * number), 100));
        }
        assert!(gop.units.len() < 60, "{}", gop.units.len());
        assert!(gop.packet(999, 0).is_some() && gop.packet(900, 0).is_none());
        assert!(gop.packet(999, 1).is_none() && gop.packet(1000, 0).is_none());
        for number in 1000..1010 {
            gop.push(unit(number, false, now + Duration::from_secs(40), 1024 * 1024));
        }
        assert!(gop.bytes <= HISTORY_BYTES);
    }
}
