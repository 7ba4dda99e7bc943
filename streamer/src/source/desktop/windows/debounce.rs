//! When a window that is being resized is followed: pure, the time is always passed in.

use std::time::{Duration, Instant};

/// Sizes that follow each other within this time are one: a new size costs an encoder and a keyframe.
const QUIET: Duration = Duration::from_millis(250);
/// One that goes on and on, as when somebody drags a corner, is followed this often.
const LONGEST: Duration = Duration::from_secs(1);

/// One timer, set again with each change.
#[derive(Debug, Default)]
pub struct Debounce {
    /// When the first change was that is not followed yet, and when it will be.
    pending: Option<(Instant, Instant)>,
}

impl Debounce {
    /// There is another size.
    pub fn changed(&mut self, now: Instant) {
        let first = self.pending.map_or(now, |(first, _)| first);
        self.pending = Some((first, (now + QUIET).min(first + LONGEST)));
    }

    /// There is another size, and nothing more is to be waited for.
    pub fn at_once(&mut self, now: Instant) {
        self.pending = Some((now, now));
    }

    /// When it is to be followed, if it is.
    pub fn due(&self) -> Option<Instant> {
        self.pending.map(|(_, due)| due)
    }

    /// True if it is to be followed now, which is then done.
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
