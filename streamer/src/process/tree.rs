//! Finding and ending everything that was started by somebody: children, their children, and daemons
//! that forked twice to get away.
//!
//! A daemon whose parents are gone has come to us, the subreaper, and nothing in its ancestry
//! tells who started it. It is known by a mark in its environment: a path that only that session has there.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::time::{Duration, Instant};

use rustix::process::{Pid, PidfdFlags, Signal};

use crate::wake::wait_readable;

/// One process. The start time tells it from a later one with the same id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Process {
    /// Its id.
    pub pid: Pid,
    started: u64,
}

/// What /proc says about a process.
struct ProcessEntry {
    process: Process,
    parent: i32,
    /// The session it is in, named by the process that began it.
    session: i32,
    zombie: bool,
}

/// How long to wait for killed processes to go before looking again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);

/// How long to try to kill. What is still there then hangs in the kernel.
const KILL_TIME: Duration = Duration::from_secs(5);

/// Whom to end.
#[derive(Debug, Clone, Copy)]
pub struct Target<'a> {
    /// This one, if it still runs, what descends from it, and what is in a session that it leads.
    pub root: Option<Pid>,
    /// And of our own descendants those with this variable (`NAME=value`), with what descends from them.
    pub mark: Option<&'a str>,
}

/// Living descendants of `root`, without itself.
pub fn descendants(root: Pid) -> Vec<Process> {
    let all = entries();
    let mut found = closure(&all, HashSet::from([number(root)]));
    found.retain(|process| process.pid != root);
    found
}

/// Ends what `target` says: SIGTERM, `grace` to end, then SIGKILL until nothing is left.
pub fn end(target: Target<'_>, grace: Duration) {
    let mut known: HashSet<Process> = find_root(target).into_iter().collect();
    let deadline = Instant::now() + grace;
    let mut told = HashSet::new();
    loop {
        let alive = find(target, &mut known);
        let left = deadline.saturating_duration_since(Instant::now());
        if alive.is_empty() || left.is_zero() {
            break;
        }
        let new: Vec<Process> = alive.iter().copied().filter(|process| told.insert(*process)).collect();
        signal(&new, Signal::TERM);
        wait(&alive, left.min(LOOK_AGAIN));
    }
    while Instant::now() < deadline + KILL_TIME {
        let alive = find(target, &mut known);
        if alive.is_empty() {
            return;
        }
        signal(&alive, Signal::KILL);
        wait(&alive, LOOK_AGAIN);
    }
}

/// Kills all descendants of this process and reaps them, until there are none.
///
/// Only for a process in which nobody else waits for children.
pub fn kill_all_descendants() {
    let me = rustix::process::getpid();
    loop {
        let alive = descendants(me);
        signal(&alive, Signal::KILL);
        wait(&alive, LOOK_AGAIN);
        loop {
            match rustix::process::wait(rustix::process::WaitOptions::NOHANG) {
                Ok(Some(_)) => {}
                // Some live on: look again, as they may have had children before the signal came.
                Ok(None) => break,
                Err(rustix::io::Errno::INTR) => {}
                Err(_) => return,
            }
        }
    }
}

/// True when some living process is so. `is_it` is given its id as `/proc` has it.
pub fn exists(is_it: impl Fn(&str) -> bool) -> bool {
    entries().iter().any(|entry| !entry.zombie && is_it(&number(entry.process.pid).to_string()))
}

/// Kills, from outside, the processes that are heads of something, what descends from them, and the marked ones with what
/// descends from them.
///
/// Heads are halted first and killed last: they start nothing any more, and what is below can be found to the end.
pub fn kill_remains(is_head: impl Fn(&str) -> bool, is_marked: impl Fn(&str) -> bool) {
    let me = rustix::process::getpid();
    let deadline = Instant::now() + KILL_TIME;
    while Instant::now() < deadline {
        let all = entries();
        let living = all.iter().filter(|entry| !entry.zombie && entry.process.pid != me);
        let named = living.map(|entry| (entry.process, number(entry.process.pid)));
        let (heads, rest): (Vec<_>, Vec<_>) = named.partition(|(_, pid)| is_head(&pid.to_string()));
        let marked = rest.into_iter().filter(|(_, pid)| is_marked(&pid.to_string()));
        let seeds = heads.iter().copied().chain(marked).map(|(_, pid)| pid).collect();
        let heads: HashSet<Process> = heads.into_iter().map(|(process, _)| process).collect();
        let below: Vec<Process> =
            closure(&all, seeds).into_iter().filter(|process| !heads.contains(process)).collect();
        let heads: Vec<Process> = heads.into_iter().collect();
        let victims = if below.is_empty() { &heads } else { &below };
        if victims.is_empty() {
            return;
        }
        signal(&heads, Signal::STOP);
        signal(victims, Signal::KILL);
        wait(victims, LOOK_AGAIN);
    }
}

/// The root with its descendants and its session. Looked at once: later its id may be another's.
fn find_root(target: Target<'_>) -> Vec<Process> {
    let Some(root) = target.root.map(number) else { return Vec::new() };
    let all = entries();
    let seeds = all.iter().filter(|e| e.session == root).map(|e| number(e.process.pid)).chain([root]);
    closure(&all, seeds.collect())
}

/// Living processes of `target`, and of what was `known` before. A process stays known when its
/// parent dies and it is handed to somebody else.
fn find(target: Target<'_>, known: &mut HashSet<Process>) -> Vec<Process> {
    let all = entries();
    let mut seeds: HashSet<i32> =
        all.iter().filter(|e| known.contains(&e.process)).map(|e| number(e.process.pid)).collect();
    if let Some(mark) = target.mark {
        let me = rustix::process::getpid();
        let ours = closure(&all, HashSet::from([number(me)]));
        let marked = ours.iter().filter(|process| process.pid != me && is_marked(process.pid, mark));
        seeds.extend(marked.map(|process| number(process.pid)));
    }
    let found = closure(&all, seeds);
    known.extend(found.iter().copied());
    found
}

/// The living among `seeds` and their descendants.
fn closure(all: &[ProcessEntry], seeds: HashSet<i32>) -> Vec<Process> {
    let mut children: HashMap<i32, Vec<&ProcessEntry>> = HashMap::new();
    for entry in all {
        children.entry(entry.parent).or_default().push(entry);
    }
    let is_seed = |entry: &&ProcessEntry| seeds.contains(&number(entry.process.pid));
    let mut queue: Vec<&ProcessEntry> = all.iter().filter(is_seed).collect();
    let mut seen = HashSet::new();
    let mut found = Vec::new();
    while let Some(entry) = queue.pop() {
        if !seen.insert(entry.process) {
            continue;
        }
        if !entry.zombie {
            found.push(entry.process);
        }
        queue.extend(children.get(&number(entry.process.pid)).into_iter().flatten());
    }
    found
}

fn number(pid: Pid) -> i32 {
    pid.as_raw_nonzero().get()
}

fn entries() -> Vec<ProcessEntry> {
    let Ok(dir) = std::fs::read_dir("/proc") else { return Vec::new() };
    dir.flatten().filter_map(|entry| read_entry(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// proc(5), `/proc/pid/stat`. The name of the program may contain anything, so fields count from its last `)`.
fn read_entry(pid: i32) -> Option<ProcessEntry> {
    let stat = std::fs::read(format!("/proc/{pid}/stat")).ok()?;
    let stat = String::from_utf8_lossy(&stat);
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let process = Process { pid: Pid::from_raw(pid)?, started: fields.get(19)?.parse().ok()? };
    Some(ProcessEntry {
        process,
        parent: fields.get(1)?.parse().ok()?,
        session: fields.get(3)?.parse().ok()?,
        zombie: matches!(*fields.first()?, "Z" | "X"),
    })
}

fn is_marked(pid: Pid, mark: &str) -> bool {
    let environ = std::fs::read(format!("/proc/{}/environ", pid.as_raw_nonzero())).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// A handle that stays with this process, if it is still the same one.
fn open(process: Process) -> Option<OwnedFd> {
    let fd = rustix::process::pidfd_open(process.pid, PidfdFlags::empty()).ok()?;
    let now = read_entry(number(process.pid))?;
    (now.process == process && !now.zombie).then_some(fd)
}

fn signal(processes: &[Process], signal: Signal) {
    for fd in processes.iter().filter_map(|process| open(*process)) {
        // It may have ended just now.
        let _ = rustix::process::pidfd_send_signal(&fd, signal);
    }
}

/// Waits until all of `processes` have ended, or for `timeout`.
fn wait(processes: &[Process], timeout: Duration) {
    let deadline = Instant::now() + timeout;
    for fd in processes.iter().filter_map(|process| open(*process)) {
        if let Err(error) = wait_readable([fd.as_fd()], Some(deadline)) {
            tracing::warn!(%error, "cannot wait for the end of a process");
        }
    }
}
