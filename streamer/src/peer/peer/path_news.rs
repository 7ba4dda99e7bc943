//! When a client is told what its network allows. Pure.

use std::time::{Duration, Instant};

/// It is told that pictures are reduced when they have been for so long, and that they are not any more after as long.
const LASTS: Duration = Duration::from_secs(2);
/// A bitrate that differs by less than this share from the one told last is no news.
const SAME: f64 = 0.2;

/// What a client can be told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PathNow {
    /// What its path allows for pictures, kilobits per second; `None` if it has shown no limit.
    pub allows_kbps: Option<u32>,
    /// Its pictures are worse for it.
    pub is_reduced: bool,
}

/// What it was told last.
#[derive(Debug)]
pub(super) struct PathNews {
    told: PathNow,
    /// Since when `is_reduced` differs from what was told.
    differs_since: Option<Instant>,
}

impl Default for PathNews {
    fn default() -> Self {
        Self { told: PathNow { allows_kbps: None, is_reduced: false }, differs_since: None }
    }
}

impl PathNews {
    /// What the client is to be told `now`, if there is news.
    pub fn take(&mut self, now: Instant, path: PathNow) -> Option<PathNow> {
        let differs = path.is_reduced != self.told.is_reduced;
        self.differs_since = self.differs_since.or(Some(now)).filter(|_| differs);
        let lasted = self.differs_since.is_some_and(|since| now >= since + LASTS);
        let other_rate = !differs && path.is_reduced && !is_close(path.allows_kbps, self.told.allows_kbps);
        if !lasted && !other_rate {
            return None;
        }
        self.differs_since = None;
        self.told = path;
        Some(path)
    }
}

fn is_close(a: Option<u32>, b: Option<u32>) -> bool {
    match (a, b) {
        (Some(a), Some(b)) => (f64::from(a) / f64::from(b.max(1)) - 1.0).abs() < SAME,
        (a, b) => a == b,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_lasts_or_differs_much_is_told() {
        let start = Instant::now();
        let mut news = PathNews::default();
        let path = |kbps, is_reduced| PathNow { allows_kbps: Some(kbps), is_reduced };
        for (ms, now, is_told) in [
            (0, path(1000, true), false),
            (1000, path(3000, false), false),
            (2000, path(1000, true), false),
            (3000, path(1000, true), false),
            (4000, path(1000, true), true),
            (5000, path(1100, true), false),
            (6000, path(1300, true), true),
            (7000, path(9000, false), false),
            (8999, path(9000, false), false),
            (9000, path(9000, false), true),
            (10_000, path(4000, false), false),
        ] {
            let told = news.take(start + Duration::from_millis(ms), now);
            assert_eq!(told, is_told.then_some(now), "{ms}");
        }
    }
}
