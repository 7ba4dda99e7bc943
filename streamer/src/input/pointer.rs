//! Decides when others are shown the pointer. Pure.

use std::time::{Duration, Instant};

use super::PointerNotice;

/// Shortest interval of notices.
const INTERVAL: Duration = Duration::from_millis(33);

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

#[cfg(test)]
mod tests {
    use super::*;
    use common::input::{Actor, Position};

    fn at(x: f64) -> PointerNotice {
        PointerNotice { at: Position { x, y: 0.0 }, slot: 0, by: Actor::Api }
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
