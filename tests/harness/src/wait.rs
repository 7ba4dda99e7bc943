//! Waiting for conditions.

use std::time::{Duration, Instant};

/// For what should happen at once, on a machine that is busy with other things.
pub const SOON: Duration = Duration::from_secs(20);
/// Between two looks.
const INTERVAL: Duration = Duration::from_millis(10);

/// Looks until `condition` gives something.
///
/// # Panics
/// When it has not within [`SOON`]; `what` says what was waited for.
#[track_caller]
pub fn eventually<T>(what: &str, mut condition: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + SOON;
    loop {
        if let Some(value) = condition() {
            return value;
        }
        assert!(Instant::now() < deadline, "waited {SOON:?} in vain until {what}");
        std::thread::sleep(INTERVAL);
    }
}
