//! Estimates how far programs are behind changes of the keymap.
//!
//! Pure. The server notifies every program of each change, and each program then reads the whole keymap, one request after the
//! other. Nothing tells when it has done so, but the cost is known: a number of round trips, each as long as one of ours.

use std::time::{Duration, Instant};

/// Requests that libX11 sends after one change. Observed with xterm of Debian 12: 15.
const ROUND_TRIPS: u32 = 16;
/// Longest wait: a text must make progress, however slow the machine is.
const MAX: Duration = Duration::from_millis(600);

/// When programs will have followed all changes so far.
#[derive(Debug, Default)]
pub struct Backlog {
    until: Option<Instant>,
}

impl Backlog {
    /// Notes that programs were notified of this many changes at once; `round_trip` is the current duration of one request.
    pub fn add(&mut self, now: Instant, changes: u32, round_trip: Duration) {
        let cost = round_trip * ROUND_TRIPS * changes;
        self.until = Some((self.followed(now) + cost).min(now + MAX));
    }

    /// When programs process an event that is sent at `now`.
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
