//! Counters that threads of a source share with the control loop. Relaxed atomics: each is a
//! number of its own, nothing is derived from two of them that must agree.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use common::stats::ProcessStats;

/// A counter that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds `n`.
    pub fn add(&self, n: u64) {
        self.0.fetch_add(n, Relaxed);
    }
    /// Adds the microseconds of `time`.
    pub fn add_time(&self, time: Duration) {
        self.add(time.as_micros() as u64);
    }
    /// Its value.
    pub fn get(&self) -> u64 {
        self.0.load(Relaxed)
    }
}

/// What one source counts; the names are those of [`common::stats`].
#[derive(Debug, Default)]
#[allow(missing_docs, reason = "documented where they are reported, in common::stats")]
pub struct SourceCounters {
    pub captured: Counter,
    pub encoded: Counter,
    pub keyframes: Counter,
    pub dropped: Counter,
    pub encoded_bytes: Counter,
    pub captured_bytes: Counter,
    pub converted_bytes: Counter,
    pub capture_us: Counter,
    pub convert_us: Counter,
    pub encode_us: Counter,
    pub audio_captured: Counter,
    pub audio_encoded: Counter,
    pub audio_bytes: Counter,
    pub sound_restarts: Counter,
}

/// This process, read from /proc. Zeros where it cannot be read.
pub fn process_stats() -> ProcessStats {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let field = |name: &str| -> u64 {
        let line = status.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        line.and_then(|value| value.split_whitespace().next()?.parse().ok()).unwrap_or(0)
    };
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    ProcessStats {
        pid: std::process::id(),
        cpu_us: usage.tv_sec as u64 * 1_000_000 + usage.tv_nsec as u64 / 1000,
        rss_bytes: field("VmRSS") * 1024,
        threads: field("Threads") as u32,
        descriptors: std::fs::read_dir("/proc/self/fd").map_or(0, |dir| dir.count() as u32),
    }
}
