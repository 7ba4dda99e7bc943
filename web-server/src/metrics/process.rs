//! This process, from /proc. What cannot be read is left out.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

use super::table::{Kind, Metric};

/// What there is to say of it.
pub(super) struct Process {
    cpu: Duration,
    resident_bytes: Option<u64>,
    descriptors: Option<usize>,
}

/// Reads it now.
pub(super) fn read() -> Process {
    let cpu = clock_gettime(ClockId::ProcessCPUTime);
    // Sizes are in pages; the second is what is resident.
    let pages = std::fs::read_to_string("/proc/self/statm").ok();
    let pages = pages.and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    Process {
        cpu: Duration::new(cpu.tv_sec.unsigned_abs(), cpu.tv_nsec.unsigned_abs() as u32),
        resident_bytes: pages.map(|pages| pages * rustix::param::page_size() as u64),
        descriptors: std::fs::read_dir("/proc/self/fd").ok().map(Iterator::count),
    }
}

/// Of the web-server.
pub(super) const METRICS: &[Metric<Process>] = &[
    Metric {
        name: "server_cpu_seconds",
        help: "CPU time of the web-server",
        kind: Kind::Counter,
        value: |p| Some(p.cpu.as_secs_f64()),
    },
    Metric {
        name: "server_resident_bytes",
        help: "Memory of the web-server",
        kind: Kind::Gauge,
        value: |p| Some(p.resident_bytes? as f64),
    },
    Metric {
        name: "server_descriptors",
        help: "Open descriptors of the web-server",
        kind: Kind::Gauge,
        value: |p| Some(p.descriptors? as f64),
    },
];
