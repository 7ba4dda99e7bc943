//! How far programs are behind the changes of the keymap.
//!
//! Pure. Each change is told to every program, which then asks the server for the whole keymap, one question after the
//! other. Nothing says when it has done so, but what it costs is known: so many round trips, each as long as one of ours.

use std::time::{Duration, Instant};

/// Questions that libX11 asks after one change. Seen with xterm of Debian 12: 15.
const ROUND_TRIPS: u32 = 16;
/// However slow the machine is, a text must get on.
const MAX: Duration = Duration::from_millis(600);

/// When programs will have followed the changes so far.
#[derive(Debug, Default)]
pub struct Backlog {
    until: Option<Instant>,
}

impl Backlog {
    /// Programs were told of so many changes at once; `round_trip` is how long one question takes now.
    pub fn add(&mut self, now: Instant, changes: u32, round_trip: Duration) {
        let cost = round_trip * ROUND_TRIPS * changes;
        self.until = Some((self.followed(now) + cost).min(now + MAX));
    }

    /// When programs get to see an event that is sent at `now`.
    pub fn followed(&self, now: Instant) -> Instant {
        self.until.map_or(now, |until| until.max(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn changes_add_up_and_time_works_them_off() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        assert_eq!(backlog.followed(now), now);
        backlog.add(now, 2, MS);
        assert_eq!(backlog.followed(now), now + 32 * MS);
        backlog.add(now + 10 * MS, 1, MS);
        assert_eq!(backlog.followed(now + 10 * MS), now + 48 * MS);
        assert_eq!(backlog.followed(now + 50 * MS), now + 50 * MS);
    }

    #[test]
    fn a_slow_machine_does_not_stop_a_text() {
        let now = Instant::now();
        let mut backlog = Backlog::default();
        for _ in 0..10 {
            backlog.add(now, 30, 50 * MS);
        }
        assert_eq!(backlog.followed(now), now + MAX);
    }
}
