//! Coalesces and rate-limits keyframe requests of many peers for one feed.

use std::time::{Duration, Instant};

/// Keyframes are large: requests sooner than this after the last keyframe wait for this long.
const MIN_INTERVAL: Duration = Duration::from_millis(250);

/// Decides when a keyframe is requested from a feed's source.
#[derive(Debug, Default)]
pub struct KeyframeRequests {
    /// When a keyframe was last requested or made.
    last: Option<Instant>,
    wanted: bool,
}

impl KeyframeRequests {
    /// Takes a request. True when the source is to be asked now; false when it was asked
    /// already or will be by [`KeyframeRequests::due`].
    pub fn request(&mut self, now: Instant) -> bool {
        self.wanted = true;
        self.due(now)
    }

    /// A keyframe has been made, which serves all requests.
    pub fn made(&mut self, now: Instant) {
        self.last = Some(now);
        self.wanted = false;
    }

    /// Drops pending requests. The rate limit stays as it is.
    pub fn cancel(&mut self) {
        self.wanted = false;
    }

    /// True when a request that had to wait is due now. Repeats the request after a while if no keyframe was made.
    pub fn due(&mut self, now: Instant) -> bool {
        let due = self.wanted && self.deadline().is_none_or(|at| now >= at);
        if due {
            self.last = Some(now);
        }
        due
    }

    /// True from a request until its keyframe.
    pub fn is_waiting(&self) -> bool {
        self.wanted
    }

    /// When [`KeyframeRequests::due`] may become true.
    pub fn deadline(&self) -> Option<Instant> {
        if self.wanted { self.last.map(|last| last + MIN_INTERVAL) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_request_goes_out_at_once_and_more_are_one() {
        let mut requests = KeyframeRequests::default();
        let now = Instant::now();
        assert!(requests.request(now));
        assert!(!requests.request(now));
        assert!(!requests.request(now + MIN_INTERVAL / 2));
    }

    #[test]
    fn a_request_after_a_keyframe_waits_its_turn() {
        let mut requests = KeyframeRequests::default();
        let now = Instant::now();
        requests.made(now);
        assert!(!requests.request(now + Duration::from_millis(10)));
        assert_eq!(requests.deadline(), Some(now + MIN_INTERVAL));
        assert!(!requests.due(now + MIN_INTERVAL - Duration::from_millis(1)));
        assert!(requests.due(now + MIN_INTERVAL));
    }

    #[test]
    fn a_source_that_did_not_answer_is_asked_again() {
        let mut requests = KeyframeRequests::default();
        let now = Instant::now();
        assert!(requests.request(now));
        assert!(requests.due(now + MIN_INTERVAL));
        requests.made(now + MIN_INTERVAL);
        assert!(!requests.due(now + 10 * MIN_INTERVAL));
        assert_eq!(requests.deadline(), None);
    }
}
