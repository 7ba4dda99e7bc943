//! Observes whether browsers can show a stream from elsewhere unchanged.

use std::time::{Duration, Instant};

use super::h264::Obstacle;

/// Longest distance of keyframes: with a longer one, peers that join would wait too long. Some cameras send none at all and
/// refresh their pictures bit by bit.
const LONGEST_GOP: Duration = Duration::from_secs(20);
/// Pictures with an earlier time than one before, from which this counts as reordering rather than a disturbance.
const REORDERED: u32 = 3;

/// The properties of a picture that matter here.
#[derive(Debug, Clone, Copy, Default)]
pub struct Seen {
    /// Decodable alone.
    pub keyframe: bool,
    /// Whether it depends on one that is shown after it.
    pub bidirectional: bool,
    /// Another reason why browsers cannot show it.
    pub known: Option<Obstacle>,
}

/// Observes one picture after the other.
#[derive(Debug)]
pub struct Watch {
    last_keyframe: Instant,
    newest: Option<i64>,
    reordered: u32,
}

impl Watch {
    /// Starts observing `now`.
    pub fn new(now: Instant) -> Self {
        Self { last_keyframe: now, newest: None, reordered: 0 }
    }

    /// Takes a picture that arrived `now` and is to be shown at `time`.
    pub fn see(&mut self, now: Instant, time: i64, picture: Seen) -> Option<Obstacle> {
        if picture.keyframe {
            (self.last_keyframe, self.newest) = (now, None);
        }
        self.reordered += u32::from(self.newest.is_some_and(|newest| time < newest));
        self.newest = Some(self.newest.map_or(time, |newest| newest.max(time)));
        picture
            .known
            .or((picture.bidirectional || self.reordered >= REORDERED).then_some(Obstacle::Reordered))
            .or((now - self.last_keyframe > LONGEST_GOP).then_some(Obstacle::NoKeyframes))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn unit(keyframe: bool, bidirectional: bool) -> Seen {
        Seen { keyframe, bidirectional, known: None }
    }

    #[test]
    fn b_slices_are_an_obstacle_and_so_are_times_that_go_back() {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        assert_eq!(watch.see(now, 0, unit(true, false)), None);
        assert_eq!(watch.see(now, 1, unit(false, true)), Some(Obstacle::Reordered));
        let mut watch = Watch::new(now);
        let times = [0, 3, 1, 2, 6, 4];
        let seen: Vec<_> =
            times.iter().map(|time| watch.see(now, *time, unit(*time == 0, false)).is_some()).collect();
        assert_eq!(seen, [false, false, false, false, false, true]);
    }

    #[test]
    fn a_camera_that_begins_anew_is_not_taken_for_one_that_reorders() {
        let now = Instant::now();
        let mut watch = Watch::new(now);
        for _ in 0..5 {
            assert_eq!(watch.see(now, 100, unit(false, false)), None);
            assert_eq!(watch.see(now, 0, unit(true, false)), None);
        }
    }

    #[test]
    fn without_keyframes_there_is_an_obstacle_after_a_while() {
        let start = Instant::now();
        let mut watch = Watch::new(start);
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(watch.see(at(20), 0, unit(false, false)), None);
        assert_eq!(watch.see(at(21), 1, unit(false, false)), Some(Obstacle::NoKeyframes));
        assert_eq!(watch.see(at(22), 2, unit(true, false)), None);
        assert_eq!(watch.see(at(42), 3, unit(false, false)), None);
    }
}
