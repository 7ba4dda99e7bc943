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
        for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
            let children = fs::read_to_string(task.path().join("children")).unwrap_or_default();
            queue.extend(children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok()));
        }
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
