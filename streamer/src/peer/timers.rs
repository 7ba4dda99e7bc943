//! The timers of a shard's peers. Pure.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Instant;

use super::Key;

/// One timer for each peer. Setting one needs no search: the previous time of a timer stays in the heap, and is
/// ignored when it comes.
#[derive(Debug, Default)]
pub struct Timers {
    heap: BinaryHeap<Reverse<(Instant, Key)>>,
    /// When each timer is due.
    set: HashMap<Key, Instant>,
}

impl Timers {
    /// Sets a peer's timer to `at`, unless it is due earlier.
    pub fn set(&mut self, key: Key, at: Instant) {
        if self.set.get(&key).is_none_or(|set| at < *set) {
            self.set.insert(key, at);
            self.heap.push(Reverse((at, key)));
        }
    }

    /// Removes the timer of a peer that has gone.
    pub fn remove(&mut self, key: Key) {
        self.set.remove(&key);
    }

    /// When [`Timers::take_due`] is to be called next. May be too early, never too late.
    pub fn next(&self) -> Option<Instant> {
        self.heap.peek().map(|Reverse((at, _))| *at)
    }

    /// Takes the timers that are due, the earliest first. Each has to be set again.
    pub fn take_due(&mut self, now: Instant) -> Vec<Key> {
        let mut due = Vec::new();
        while let Some(&Reverse((at, key))) = self.heap.peek()
            && at <= now
        {
            self.heap.pop();
            if self.set.get(&key) == Some(&at) {
                self.set.remove(&key);
                due.push(key);
            }
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    /// Times in a test: milliseconds after its start.
    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_timer_runs_once_at_the_earliest_of_the_times_it_was_set_to() {
        let start = Instant::now();
        for (set, runs) in [(&[5][..], 5), (&[5, 9], 5), (&[9, 5], 5), (&[5, 5], 5), (&[9, 5, 7], 5)] {
            let mut timers = Timers::default();
            for ms in set {
                timers.set(1, at(start, *ms));
            }
            assert_eq!(timers.next(), Some(at(start, runs)), "{set:?}");
            assert!(timers.take_due(at(start, runs - 1)).is_empty(), "{set:?}");
            assert_eq!(timers.take_due(at(start, runs)), [1], "{set:?}");
            assert!(timers.take_due(at(start, 100)).is_empty(), "{set:?}: it runs once");
        }
    }

    #[test]
    fn those_that_are_due_run_in_their_order_and_the_others_wait() {
        let start = Instant::now();
        let mut timers = Timers::default();
        for (key, ms) in [(1, 30), (2, 10), (3, 20), (4, 40)] {
            timers.set(key, at(start, ms));
        }
        assert_eq!(timers.take_due(at(start, 30)), [2, 3, 1]);
        assert_eq!(timers.next(), Some(at(start, 40)));
    }

    #[test]
    fn a_timer_that_is_set_anew_while_it_is_due_waits_for_the_next_turn() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(1, now);
        assert_eq!(timers.take_due(now), [1]);
        timers.set(1, now);
        assert_eq!(timers.take_due(now), [1]);
        assert_eq!(timers.next(), None);
    }

    #[test]
    fn the_timer_of_a_viewer_that_has_gone_does_not_run() {
        let now = Instant::now();
        let mut timers = Timers::default();
        timers.set(1, now);
        timers.set(2, now);
        timers.remove(1);
        assert_eq!(timers.take_due(now), [2]);
    }
}
