//! What this machine has to do, whoever has it done, from /proc: processors that are busy between two readings, and memory in use.
//!
//! It is the whole machine's, also in a container: what other programs take is not there for streamers.

use std::fs;

use common::cluster::Load;

/// Time of all processors since the machine began, in ticks (proc_stat(5)).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Ticks {
    all: u64,
    idle: u64,
    processors: u64,
}

/// Reads it again and again.
#[derive(Debug, Default)]
pub(super) struct Meter {
    last: Option<Ticks>,
    load: Option<Load>,
}

impl Meter {
    /// What there was to do between the last two readings; nothing is known before the second, and where the system does not tell it.
    pub(super) fn load(&self) -> Option<Load> {
        self.load
    }

    pub(super) fn read(&mut self) {
        let ticks = fs::read_to_string("/proc/stat").ok().as_deref().and_then(ticks);
        let memory = fs::read_to_string("/proc/meminfo").ok().as_deref().and_then(used_mb);
        let cpu = self.last.zip(ticks).and_then(|(before, after)| busy_percent(before, after));
        self.load = cpu.zip(memory).map(|(cpu_percent, memory_mb)| Load { cpu_percent, memory_mb });
        self.last = ticks;
    }
}

/// The first lines of `/proc/stat`: `cpu` with user, nice, system, idle, iowait, irq, softirq and steal; and one for each processor.
fn ticks(stat: &str) -> Option<Ticks> {
    let mut lines = stat.lines();
    let sum = lines.next()?.strip_prefix("cpu ")?;
    // What follows, the time of guests, is part of user and nice.
    let times: Vec<u64> = sum.split_whitespace().take(8).map_while(|time| time.parse().ok()).collect();
    let idle = times.get(3)?.checked_add(*times.get(4)?)?;
    let all = times.iter().try_fold(0_u64, |sum, time| sum.checked_add(*time))?;
    Some(Ticks { all, idle, processors: lines.take_while(|line| line.starts_with("cpu")).count() as u64 })
}

/// Percent of one processor. `None` where no time has passed, and where the counters went back, as `iowait` may.
fn busy_percent(before: Ticks, after: Ticks) -> Option<u32> {
    let all = after.all.checked_sub(before.all).filter(|all| *all > 0)?;
    let busy = all.checked_sub(after.idle.checked_sub(before.idle)?)?;
    u32::try_from(u128::from(busy) * 100 * u128::from(after.processors) / u128::from(all)).ok()
}

/// Memory that could not be had without ending something, MiB: `MemTotal` less `MemAvailable` (proc_meminfo(5)).
fn used_mb(meminfo: &str) -> Option<u32> {
    let kib = |name: &str| -> Option<u64> {
        let line = meminfo.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))?;
        line.split_whitespace().next()?.parse().ok()
    };
    u32::try_from(kib("MemTotal")?.saturating_sub(kib("MemAvailable")?) / 1024).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "cpu  100 0 50 800 50 0 0 0 7 0\ncpu0 50 0 25 400 25 0 0 0 7 0\ncpu1 50 0 25 400 25 0 0 0 0 0\nintr 5\ncpus 7\n";

    #[test]
    fn busy_processors_are_counted_between_two_readings() {
        let before = ticks(STAT).unwrap();
        assert_eq!(before, Ticks { all: 1000, idle: 850, processors: 2 });
        let after = Ticks { all: 1200, idle: 900, processors: 2 };
        assert_eq!(busy_percent(before, after), Some(150));
        assert_eq!(busy_percent(before, before), None, "no time has passed");
        assert_eq!(busy_percent(after, before), None);
        assert_eq!(busy_percent(before, Ticks { idle: 840, ..after }), None, "iowait may go back");
        for malformed in ["", "cpu", "cpu  1 2 3", "cpu  1 2 x 4 5", "intr 5\n"] {
            assert_eq!(ticks(malformed), None, "{malformed:?}");
        }
        assert_eq!(ticks(&format!("cpu  1 1 1 {} 1", u64::MAX)), None);
    }

    #[test]
    fn memory_in_use_is_what_is_not_available() {
        let text = "MemTotal:        8000000 kB\nMemFree:          100000 kB\nMemAvailable:    2880000 kB\n";
        assert_eq!(used_mb(text), Some(5000));
        assert_eq!(used_mb("MemTotal:        8000000 kB\n"), None);
        assert_eq!(used_mb("MemTotal: many kB\nMemAvailable: 1 kB\n"), None);
    }

    #[test]
    fn this_machine_tells_both() {
        let mut meter = Meter::default();
        meter.read();
        assert_eq!(meter.load(), None, "there is no time before the first reading");
        while meter.load().is_none() {
            meter.read();
        }
        assert!(meter.load().unwrap().memory_mb > 0);
    }
}
