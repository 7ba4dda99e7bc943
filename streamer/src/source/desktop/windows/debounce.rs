//! Decides when the size of a window that is being resized is adopted. Pure: the time is passed in.

use std::time::{Duration, Instant};

/// Changes that follow each other within this time count as one: a new size costs an encoder and a keyframe.
const QUIET: Duration = Duration::from_millis(250);
/// A continuous change, as when somebody drags a corner, is adopted this often.
const LONGEST: Duration = Duration::from_secs(1);

/// A timer that is set again with each change.
#[derive(Debug, Default)]
pub struct Debounce {
    /// The time of the first change that is not adopted yet, and when it will be.
    pending: Option<(Instant, Instant)>,
}

impl Debounce {
    /// Notes another size.
    pub fn changed(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, (now + QUIET).min(first + LONGEST)));
    }

    /// Notes another size that is to be adopted at once.
    pub fn at_once(&mut self, now: Instant) {
        self.pending = Some((now, now));
    }

    /// When the size is to be adopted, if it has changed.
    pub fn due(&self) -> Option<Instant> {
        self.pending.map(|(_, due)| due)
    }

    /// True if the size is to be adopted now; counts as adopted then.
    pub fn take(&mut self, now: Instant) -> bool {
        self.pending.take_if(|(_, due)| *due <= now).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn sizes_in_quick_succession_are_followed_once_when_they_rest() {
        let mut debounce = Debounce::default();
        let start = Instant::now();
        assert!(debounce.due().is_none() && !debounce.take(start));
        for step in 0..3 {
            debounce.changed(start + step * 100 * MS);
            assert!(!debounce.take(start + step * 100 * MS));
        }
        assert_eq!(debounce.due(), Some(start + 450 * MS));
        assert!(!debounce.take(start + 449 * MS));
        assert!(debounce.take(start + 450 * MS));
        assert!(debounce.due().is_none() && !debounce.take(start + 500 * MS));
    }

    #[test]
    fn a_corner_that_is_dragged_for_long_is_followed_once_a_second() {
        let mut debounce = Debounce::default();
        let start = Instant::now();
        let followed = (0..3000u32).filter(|ms| {
            let now = start + *ms * MS;
            debounce.changed(now);
            debounce.take(now)
        });
        assert_eq!(followed.collect::<Vec<_>>(), [1000, 2001]);
    }

    #[test]
    fn what_is_known_to_be_final_is_followed_at_once() {
        let mut debounce = Debounce::default();
        let start = Instant::now();
        debounce.changed(start);
        debounce.at_once(start + MS);
        assert!(debounce.take(start + MS));
    }
}
