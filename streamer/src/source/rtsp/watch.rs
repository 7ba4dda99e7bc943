//! Whether what a camera sends can be shown by browsers as it is.

use std::time::{Duration, Instant};

use crate::source::live::h264::{Format, Obstacle, Unit};

/// With fewer keyframes than one in so long, whoever joins would wait too long: some cameras send none at all and
/// refresh their pictures bit by bit.
const LONGEST_GOP: Duration = Duration::from_secs(20);
/// Pictures that come with an earlier time than one before: more than a camera's hiccup.
const REORDERED: u32 = 3;

/// Looks at one picture after the other.
#[derive(Debug)]
pub struct Watch {
    last_keyframe: Instant,
    newest: Option<i64>,
    reordered: u32,
}

impl Watch {
    /// Begins to look `now`.
    pub fn new(now: Instant) -> Self {
        Self { last_keyframe: now, newest: None, reordered: 0 }
    }

    /// A picture that arrived `now` and is to be shown at `time`.
    pub fn see(&mut self, now: Instant, time: i64, unit: &Unit, format: Option<Format>) -> Option<Obstacle> {
        if unit.keyframe {
            (self.last_keyframe, self.newest) = (now, None);
        }
        self.reordered += u32::from(self.newest.is_some_and(|newest| time < newest));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        let known = format.and_then(|format| format.obstacle);
        known
            .or((unit.bidirectional || self.reordered >= REORDERED).then_some(Obstacle::Reordered))
            .or((now - self.last_keyframe > LONGEST_GOP).then_some(Obstacle::NoKeyframes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;

    fn unit(keyframe: bool, bidirectional: bool) -> Unit {
        Unit { data: Bytes::new(), keyframe, bidirectional }
    }

    #[test]
    fn b_slices_are_an_obstacle_and_so_are_times_that_go_back() {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        assert_eq!(watch.see(now, 0, &unit(true, false), None), None);
        assert_eq!(watch.see(now, 1, &unit(false, true), None), Some(Obstacle::Reordered));
        let mut watch = Watch::new(now);
        let times = [0, 3, 1, 2, 6, 4];
        let seen: Vec<_> = times
            .iter()
            .map(|time| watch.see(now, *time, &unit(*time == 0, false), None).is_some())
            .collect();
        assert_eq!(seen, [false, false, false, false, false, true]);
    }

    #[test]
    fn a_camera_that_begins_anew_is_not_taken_for_one_that_reorders() {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        for _ in 0..5 {
            assert_eq!(watch.see(now, 100, &unit(false, false), None), None);
            assert_eq!(watch.see(now, 0, &unit(true, false), None), None);
        }
    }

    #[test]
    fn without_keyframes_there_is_an_obstacle_after_a_while() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.see(at(20), 0, &unit(false, false), None), None);
        assert_eq!(watch.see(at(21), 1, &unit(false, false), None), Some(Obstacle::NoKeyframes));
        assert_eq!(watch.see(at(22), 2, &unit(true, false), None), None);
        assert_eq!(watch.see(at(42), 3, &unit(false, false), None), None);
    }
}
