//! Waiting for conditions.

use std::time::{Duration, Instant};

/// Timeout for what should happen at once, on a machine that is busy or stands still for a while: it is for what never happens.
pub const SOON: Duration = Duration::from_secs(60);
/// Polling interval.
const INTERVAL: Duration = Duration::from_millis(10);

/// Polls `condition` until it returns something.
///
/// # Panics
/// The condition was not met within [`SOON`]; `what` names it.
#[track_caller]
pub fn eventually<T>(what: &str, condition: impl FnMut() -> Option<T>) -> T {
    eventually_within(SOON, what, condition)
}

/// As [`eventually`], for what takes longer.
///
/// # Panics
/// The condition was not met within `limit`.
#[track_caller]
pub fn eventually_within<T>(limit: Duration, what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + limit;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {limit:?} in vain until {what}");
        std::thread::sleep(INTERVAL);
    }
}
