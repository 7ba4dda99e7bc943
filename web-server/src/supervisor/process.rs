//! The monitor process of a streamer: starting it detached from us, noticing its end whether it is our
//! child or adopted, and, when nothing else helps, killing it with everything it started.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::Duration;

use common::exit::{ExitReason, StreamerExit};
use rustix::process::{Pid, PidfdFlags, Signal};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::process::Child;

use super::launch::Launcher;
use crate::rundir::{ProcessId, RunDir};
use crate::user::SessionUser;

/// How often a killed process tree is looked at until it is gone, and how long apart.
const KILL_ROUNDS: u32 = 100;
const KILL_INTERVAL: Duration = Duration::from_millis(20);

/// A running monitor.
#[derive(Debug)]
pub struct Monitor {
    id: ProcessId,
    how: How,
}

#[derive(Debug)]
enum How {
    /// We started it and must reap it.
    Child(Child),
    /// An earlier web-server started it. Readable once it has ended.
    Adopted(AsyncFd<OwnedFd>),
}

impl Monitor {
    /// Starts one for `dir`, as `user` unless as we do.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn spawn(launcher: &Launcher, dir: &RunDir, user: Option<&SessionUser>) -> io::Result<Self> {
        let child = launcher.monitor(dir, user)?;
        let pid = child.id().and_then(|pid| i32::try_from(pid).ok()).ok_or(io::ErrorKind::NotFound)?;
        // A child keeps its pid until it is reaped, so this reads the right process.
        let start_ticks = start_ticks(pid).ok_or(io::ErrorKind::NotFound)?;
        Ok(Self { id: ProcessId { pid, start_ticks }, how: How::Child(child) })
    }

    /// Takes over a monitor that is not our child; `None` when it has ended.
    pub fn adopt(id: ProcessId) -> Option<Self> {
        let fd = rustix::process::pidfd_open(Pid::from_raw(id.pid)?, PidfdFlags::NONBLOCK).ok()?;
        // Looked at after the descriptor holds on to the process: now the pid cannot be given to another.
        if start_ticks(id.pid) != Some(id.start_ticks) {
            return None;
        }
        // SAFETY: the descriptor is owned by `fd`, which the AsyncFd takes and hands out to nobody: it stays
        // the same open descriptor until both are dropped.
        let fd = unsafe { AsyncFd::register_with_interest(fd, Interest::READABLE) }
            .inspect_err(|error| tracing::error!(pid = id.pid, ?error, "cannot watch a process"))
            .ok()?;
        Some(Self { id, how: How::Adopted(fd) })
    }

    /// Which process it is.
    pub fn id(&self) -> ProcessId {
        self.id
    }

    /// Waits until it has ended, and reaps it if it is our child. Its status is known only then.
    /// Cancel safe; may be called again.
    pub async fn ended(&mut self) -> Option<ExitStatus> {
        match &mut self.how {
            How::Child(child) => child
                .wait()
                .await
                .inspect_err(|error| tracing::error!(%error, "cannot wait for a monitor"))
                .ok(),
            How::Adopted(fd) => {
                if let Err(error) = fd.readable().await {
                    tracing::error!(%error, "cannot wait for an adopted monitor");
                }
                None
            }
        }
    }

    /// Kills everything below the monitor, then the monitor, and waits until it is gone.
    pub async fn kill(&mut self) {
        for _ in 0..KILL_ROUNDS {
            let below = descendants(self.id.pid);
            if below.is_empty() {
                break;
            }
            // What forks between the look and the kill is found by the next round: orphans become
            // children of the monitor, which is their subreaper.
            for process in below {
                kill(process);
            }
            if tokio::time::timeout(KILL_INTERVAL, self.ended()).await.is_ok() {
                return;
            }
        }
        kill(self.id.pid);
        self.ended().await;
    }
}

/// What a process' status says when nothing better does.
pub fn exit_from_status(status: Option<ExitStatus>) -> StreamerExit {
    StreamerExit {
        code: status.and_then(|s| s.code()),
        signal: status.and_then(|s| s.signal()),
        reason: ExitReason::Unknown,
    }
}

/// Sends SIGKILL. That the process is gone already is fine.
pub fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid)
        && let Err(error) = rustix::process::kill_process(pid, Signal::KILL)
        && error != rustix::io::Errno::SRCH
    {
        tracing::warn!(?pid, %error, "cannot kill a process");
    }
}

fn start_ticks(pid: i32) -> Option<u64> {
    stat(pid).map(|stat| stat.start_ticks)
}

/// Every living process below `root`, children before grandchildren.
fn descendants(root: i32) -> Vec<i32> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let processes: Vec<(i32, i32)> = entries
        .filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok())
        .filter_map(|pid| stat(pid).filter(|s| s.state != 'Z').map(|s| (pid, s.parent)))
        .collect();
    below(root, &processes)
}

/// The pids of `processes` (pid, parent) that descend from `root`.
fn below(root: i32, processes: &[(i32, i32)]) -> Vec<i32> {
    let mut found = Vec::new();
    let mut parents = vec![root];
    while let Some(parent) = parents.pop() {
        let children =
            processes.iter().filter(|(pid, of)| *of == parent && *pid != root).map(|(pid, _)| *pid);
        for child in children {
            found.push(child);
            parents.push(child);
        }
    }
    found
}

#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    parent: i32,
    start_ticks: u64,
}

fn stat(pid: i32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// `proc_pid_stat(5)`. The second field, the program's name, may itself hold spaces and parentheses.
fn parse_stat(text: &str) -> Option<Stat> {
    let mut fields = text.get(text.rfind(')')? + 2..)?.split(' ');
    let state = fields.next()?.chars().next()?;
    let parent = fields.next()?.parse().ok()?;
    // Field 22 of all; state was field 3 and the parent field 4.
    let start_ticks = fields.nth(17)?.parse().ok()?;
    Some(Stat { state, parent, start_ticks })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_may_be_named_anything() {
        let line = "42 (a) S 1 (x) R 7 8 9 0 -1 4 1 2 3 4 5 6 7 8 20 0 1 0 123456 1 2 3";
        assert_eq!(parse_stat(line), Some(Stat { state: 'R', parent: 7, start_ticks: 123_456 }));
        assert_eq!(parse_stat("42 (a"), None);
        assert_eq!(parse_stat(""), None);
    }

    #[test]
    fn our_own_entry_in_proc_is_understood() {
        let us = std::process::id() as i32;
        let stat = stat(us).unwrap();
        assert_eq!(stat.parent, std::os::unix::process::parent_id() as i32);
        assert!(stat.start_ticks > 0);
    }

    #[test]
    fn grandchildren_are_below_and_siblings_are_not() {
        let processes = [(1, 0), (10, 1), (11, 10), (12, 11), (20, 1), (21, 20)];
        let mut found = below(10, &processes);
        found.sort_unstable();
        assert_eq!(found, [11, 12]);
        assert!(below(12, &processes).is_empty());
    }

    #[tokio::test]
    async fn a_pid_that_was_given_to_another_process_is_not_adopted() {
        let us = std::process::id() as i32;
        let start_ticks = start_ticks(us).unwrap();
        assert!(Monitor::adopt(ProcessId { pid: us, start_ticks }).is_some());
        assert!(Monitor::adopt(ProcessId { pid: us, start_ticks: start_ticks - 1 }).is_none());
    }
}
