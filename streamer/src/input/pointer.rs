//! Decides when others are shown the pointer, and where each actor points. Pure.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::input::{Actor, MAX_POINTINGS};

use super::PointerNotice;

/// Shortest interval of notices.
const INTERVAL: Duration = Duration::from_millis(33);
/// Shortest interval in which it is told where actors point: viewers draw the way between two positions.
const POINTINGS_INTERVAL: Duration = Duration::from_millis(80);

/// The next position to report. A newer one replaces it; the last one is always reported.
#[derive(Debug, Default)]
pub struct PointerNotices {
    last: Option<Instant>,
    pending: Option<PointerNotice>,
}

impl PointerNotices {
    /// Somebody has moved the pointer.
    pub fn moved(&mut self, notice: PointerNotice) {
        self.pending = Some(notice);
    }

    /// When [`PointerNotices::take`] has a notice; `None`: at once if at all.
    pub fn due(&self) -> Option<Instant> {
        self.pending.and(self.last).map(|last| last + INTERVAL)
    }

    /// The notice that is due now, if the pointer has moved and it is not too soon.
    pub fn take(&mut self, now: Instant) -> Option<PointerNotice> {
        if self.due().is_some_and(|due| now < due) {
            return None;
        }
        let notice = self.pending.take()?;
        self.last = Some(now);
        Some(notice)
    }
}

/// Where actors have pointed since it was told last: of each actor the newest position.
#[derive(Debug, Default)]
pub struct Pointings {
    last: Option<Instant>,
    /// At most [`MAX_POINTINGS`]. When there is no room for one more actor, its next movement after the next telling counts.
    moved: BTreeMap<Actor, PointerNotice>,
}

impl Pointings {
    /// An actor has moved the pointer.
    pub fn moved(&mut self, notice: PointerNotice) {
        if self.moved.len() < MAX_POINTINGS || self.moved.contains_key(&notice.by) {
            self.moved.insert(notice.by, notice);
        }
    }

    /// An actor may not steer any more: where it pointed is not told.
    pub fn forget(&mut self, actor: Actor) {
        self.moved.remove(&actor);
    }

    /// When [`Pointings::take`] has something; `None`: at once if at all.
    pub fn due(&self) -> Option<Instant> {
        self.last.filter(|_| !self.moved.is_empty()).map(|last| last + POINTINGS_INTERVAL)
    }

    /// What is to be told now, if anybody has moved and it is not too soon.
    pub fn take(&mut self, now: Instant) -> Option<Vec<PointerNotice>> {
        if self.moved.is_empty() || self.due().is_some_and(|due| now < due) {
            return None;
        }
        self.last = Some(now);
        Some(std::mem::take(&mut self.moved).into_values().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;
    use common::input::Position;

    fn at(x: f64) -> PointerNotice {
        PointerNotice { at: Position { x, y: 0.0 }, slot: 0, by: Actor::Api }
    }

    fn peer() -> Actor {
        Actor::Peer(PeerId::unique())
    }

    fn taken(pointings: &mut Pointings, now: Instant) -> Option<Vec<(Actor, f64)>> {
        pointings.take(now).map(|all| all.iter().map(|notice| (notice.by, notice.at.x)).collect())
    }

    #[test]
    fn the_newest_position_of_each_actor_is_told_once_in_each_interval() {
        let start = Instant::now();
        let mut actors = [peer(), peer()];
        actors.sort_unstable();
        let [a, b] = actors;
        let mut pointings = Pointings::default();
        assert_eq!(taken(&mut pointings, start), None, "nobody has moved");
        pointings.moved(PointerNotice { by: a, ..at(1.0) });
        assert_eq!(pointings.due(), None, "at once");
        assert_eq!(taken(&mut pointings, start), Some(vec![(a, 1.0)]));
        for (by, x) in [(b, 2.0), (a, 3.0), (a, 4.0)] {
            pointings.moved(PointerNotice { by, ..at(x) });
        }
        let due = start + POINTINGS_INTERVAL;
        assert_eq!(pointings.due(), Some(due));
        assert_eq!(taken(&mut pointings, due - Duration::from_millis(1)), None);
        assert_eq!(taken(&mut pointings, due), Some(vec![(a, 4.0), (b, 2.0)]));
        assert_eq!((taken(&mut pointings, due), pointings.due()), (None, None), "each is told once");
        pointings.moved(PointerNotice { by: a, ..at(5.0) });
        pointings.forget(a);
        assert_eq!(taken(&mut pointings, start + 9 * POINTINGS_INTERVAL), None);
    }

    #[test]
    fn one_actor_too_many_waits_and_those_that_are_known_go_on() {
        let now = Instant::now();
        let mut pointings = Pointings::default();
        let first = peer();
        for by in std::iter::once(first).chain(std::iter::repeat_with(peer)).take(MAX_POINTINGS + 5) {
            pointings.moved(PointerNotice { by, ..at(1.0) });
        }
        pointings.moved(PointerNotice { by: first, ..at(2.0) });
        let told = taken(&mut pointings, now).unwrap();
        assert_eq!(told.len(), MAX_POINTINGS);
        assert!(told.contains(&(first, 2.0)));
    }

    #[test]
    fn the_first_position_is_told_at_once_then_the_newest_of_each_interval() {
        let start = Instant::now();
        let mut notices = PointerNotices::default();
        assert!(notices.take(start).is_none(), "nothing has moved");
        notices.moved(at(1.0));
        assert_eq!(notices.take(start).map(|notice| notice.at.x), Some(1.0));
        notices.moved(at(2.0));
        notices.moved(at(3.0));
        assert_eq!(notices.due(), Some(start + INTERVAL));
        assert!(notices.take(start + INTERVAL - Duration::from_millis(1)).is_none());
        assert_eq!(notices.take(start + INTERVAL).map(|notice| notice.at.x), Some(3.0));
        assert!(notices.take(start + 9 * INTERVAL).is_none(), "each is told once");
        assert_eq!(notices.due(), None);
        notices.moved(at(4.0));
        assert_eq!(notices.take(start + 9 * INTERVAL).map(|notice| notice.at.x), Some(4.0), "after a pause");
    }
}
