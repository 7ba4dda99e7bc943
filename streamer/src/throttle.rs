//! Something that everybody is told, but not more often than it can be listened to. Pure.

use std::time::{Duration, Instant};

/// The first change is told at once; those that follow it within the interval are told together at its end.
#[derive(Debug)]
pub struct Throttle {
    interval: Duration,
    told: Option<Instant>,
    pending: bool,
}

impl Throttle {
    /// Nothing told yet.
    pub fn new(interval: Duration) -> Self {
        Self { interval, told: None, pending: false }
    }

    /// Something has changed.
    pub fn changed(&mut self) {
        self.pending = true;
    }

    /// When there is something to be told, if there is: may be past.
    pub fn due(&self, now: Instant) -> Option<Instant> {
        self.pending.then(|| self.told.map_or(now, |told| told + self.interval))
    }

    /// True if it is to be told now, which is then done.
    pub fn take(&mut self, now: Instant) -> bool {
        let due = self.due(now).is_some_and(|due| due <= now);
        if due {
            (self.told, self.pending) = (Some(now), false);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn one_change_is_told_at_once_and_many_at_the_end_of_the_interval() {
        let (mut throttle, start) = (Throttle::new(100 * MS), Instant::now());
        assert!(!throttle.take(start));
        let mut told = Vec::new();
        for ms in 0..1000 {
            let now = start + ms * MS;
            if ms < 250 {
                throttle.changed();
            }
            if throttle.take(now) {
                told.push(ms);
            }
        }
        assert_eq!(told, [0, 100, 200, 300]);
        assert_eq!(throttle.due(start + 1000 * MS), None);
    }
}
