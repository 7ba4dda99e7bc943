//! What processes cost, read from the system.

use std::fs;

use anyhow::{Context, Result, bail};
use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};

/// User and system time of a process, microseconds, threads that have ended included.
///
/// # Errors
/// When there is no such process.
pub fn process_us(pid: u32) -> Result<u64> {
    let mut clock: libc::clockid_t = 0;
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: both calls write to the variables given, which outlive them.
    let failed = unsafe {
        libc::clock_getcpuclockid(pid as libc::pid_t, &raw mut clock) != 0
            || libc::clock_gettime(clock, &raw mut time) != 0
    };
    if failed {
        bail!("process {pid} is gone");
    }
    Ok(time.tv_sec as u64 * 1_000_000 + time.tv_nsec as u64 / 1000)
}

/// Resident memory of a process, bytes.
///
/// # Errors
/// When there is no such process.
pub fn resident_bytes(pid: u32) -> Result<u64> {
    let status = fs::read_to_string(format!("/proc/{pid}/status"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).context("no VmRSS")?;
    let kib: u64 = line.trim().trim_end_matches(" kB").trim().parse()?;
    Ok(kib * 1024)
}

/// Memory of all processes of a session, of which `streamer` is one, bytes: what each has for itself, and its share of the rest (PSS).
///
/// # Errors
/// When there is no such process, or it cannot be looked into.
pub fn session_pss_bytes(streamer: u32) -> Result<u64> {
    let stat = fs::read_to_string(format!("/proc/{streamer}/stat"))?;
    let fields = stat.rsplit_once(')').context("no name in stat")?.1;
    // Its monitor, below which everything is.
    let monitor = fields.split_whitespace().nth(1).context("no parent in stat")?.parse()?;
    let mut queue = vec![monitor];
    let mut kib = 0;
    while let Some(pid) = queue.pop() {
        // A program may end meanwhile.
        let rollup = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap_or_default();
        let pss = rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
        kib += pss.map_or(Ok(0), |pss| pss.trim().trim_end_matches(" kB").parse::<u64>())?;
        queue.extend(children(pid));
    }
    Ok(kib * 1024)
}

/// What all threads of a process have started.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let lists = tasks.map(|task| fs::read_to_string(task.path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().filter_map(|pid| pid.parse().ok()).collect::<Vec<_>>())
        .collect()
}

/// The process of this name among those that `root` and its children have started.
///
/// # Errors
/// When there is none.
pub fn find(root: u32, name: &str) -> Result<u32> {
    let mut queue = vec![root];
    while let Some(pid) = queue.pop() {
        let comm = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        if comm.trim() == name {
            return Ok(pid);
        }
        queue.extend(children(pid));
    }
    bail!("no {name} below process {root}")
}

/// Keeps all threads of a process, and those that they start, on one processor.
///
/// # Errors
/// When the system refuses.
pub fn pin(pid: u32, processor: usize) -> Result<()> {
    let mut set = CpuSet::new();
    set.set(processor);
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let tid: i32 = task?.file_name().to_string_lossy().parse()?;
        sched_setaffinity(Some(Pid::from_raw(tid).context("a thread id")?), &set)?;
    }
    Ok(())
}

/// A processor for the measured process and one for everything else, if there are two.
pub fn two_processors() -> Option<(usize, usize)> {
    (std::thread::available_parallelism().ok()?.get() >= 2).then_some((0, 1))
}
