//! The monitor: starts the streamer process, outlives it, and cleans up after it.
//!
//! ```text
//! web-server ─starts▶ monitor ─starts▶ streamer ─starts▶ X server, sound server, commands, …
//!                        ◀─────────── orphans, when the streamer has ended ──┘
//! ```
//!
//! There is one for each session, for as long as that lasts, so it is to cost next to nothing: it has one thread and no
//! runtime, and is run by [a program of its own](crate::helper).
//!
//! It is child subreaper of all that a session starts, so that nothing survives the streamer, in whatever way
//! that ends. The last thing that it does is to write `exit.json`: a web-server that adopted the
//! streamer cannot wait for it. It holds no session state and does nothing while all is well.
//!
//! The streamer's output goes to a file through a descriptor in append mode. When the file gets long it is copied
//! to `streamer.log.1` and emptied; the descriptor goes on being good, and lines that are written
//! in the moment between the two are lost.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use common::exit::{EXIT_FILE, ExitReason, StreamerExit};
use common::ipc::LOG_FILE;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};

use crate::cleanup::{self, old_log, write_json};
use crate::process;
use crate::process::memory::OomKills;
use crate::process::signals::Signals;

/// In the run directory: why the streamer ends, in its own words. Read by the monitor afterwards.
const REASON_FILE: &str = "reason.json";
/// Length at which the log is rotated, bytes.
const MAX_LOG: u64 = 4 * 1024 * 1024;
/// How often the length of the log is looked at, and what was killed.
const LOG_INTERVAL: Duration = Duration::from_secs(10);
/// How long the streamer may take to end after SIGTERM.
const STOP_TIME: Duration = Duration::from_secs(10);

/// Runs the program `streamer` for the session of `run_dir` to its end, and cleans up after it. Fails only when it cannot say
/// how that went.
pub fn run(run_dir: &Path, streamer: &Path) -> ExitCode {
    let exit = match supervise(run_dir, streamer) {
        Ok(StreamerEnd { status, out_of_memory }) => StreamerExit {
            code: status.exit_status(),
            signal: status.terminating_signal(),
            reason: match read_reason(run_dir) {
                ExitReason::Unknown if out_of_memory => ExitReason::OutOfMemory,
                reason => reason,
            },
        },
        Err(error) => StreamerExit {
            code: None,
            signal: None,
            reason: ExitReason::Fatal { message: format!("the streamer cannot be run: {error}") },
        },
    };
    match cleanup::finish(run_dir, &exit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("writing {EXIT_FILE}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Tells the monitor why this streamer ends. To be called right before an orderly exit.
///
/// # Errors
/// When the file cannot be written; the reason is unknown then.
pub fn write_reason(run_dir: &Path, reason: &ExitReason) -> io::Result<()> {
    write_json(run_dir, REASON_FILE, reason)
}

fn read_reason(run_dir: &Path) -> ExitReason {
    let text = fs::read(run_dir.join(REASON_FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or(ExitReason::Unknown)
}

/// How the streamer ended.
struct StreamerEnd {
    status: WaitStatus,
    /// By SIGKILL, when the kernel had just killed in our control group for want of memory.
    out_of_memory: bool,
}

/// Starts the streamer and waits for its end.
fn supervise(run_dir: &Path, streamer: &Path) -> io::Result<StreamerEnd> {
    for stale in [REASON_FILE, EXIT_FILE] {
        match fs::remove_file(run_dir.join(stale)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
    }
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    watch(run_dir, streamer)
}

fn watch(run_dir: &Path, program: &Path) -> io::Result<StreamerEnd> {
    // Before the start, so that none is missed. SIGHUP is taken and ignored: the terminal that the web-server was started
    // from is of no concern to a session.
    let signals = Signals::block([libc::SIGCHLD, libc::SIGTERM, libc::SIGINT, libc::SIGHUP])?;
    let log = run_dir.join(LOG_FILE);
    let oom_kills = OomKills::here();
    let count = || oom_kills.as_ref().and_then(OomKills::count);
    // Looked at again and again: what was killed earlier in the same control group means nothing.
    let mut killed_before = count();
    // This thread is the only one: the streamer is told when the thread that started it ends.
    let streamer = start(program, run_dir, &log, &signals)?;

    let mut kill_at: Option<Instant> = None;
    let mut look_at = Instant::now();
    loop {
        let due = kill_at.map_or(look_at, |kill_at| kill_at.min(look_at));
        match signals.wait_until(due)? {
            Some(libc::SIGCHLD) => {
                if let Some(status) = reap(streamer) {
                    let killed = status.terminating_signal() == Some(Signal::KILL.as_raw());
                    return Ok(StreamerEnd { status, out_of_memory: killed && count() > killed_before });
                }
            }
            Some(libc::SIGTERM | libc::SIGINT) => stop(streamer, &mut kill_at),
            Some(_) | None => {}
        }
        let now = Instant::now();
        if kill_at.is_some_and(|kill_at| kill_at <= now) {
            tracing::warn!("the streamer did not end within {} s and is killed", STOP_TIME.as_secs());
            let _ = rustix::process::kill_process(streamer, Signal::KILL);
            kill_at = None;
        }
        if look_at <= now {
            if let Err(error) = rotate(&log, MAX_LOG) {
                tracing::warn!("rotating the log: {error}");
            }
            killed_before = count();
            look_at = now + LOG_INTERVAL;
        }
    }
}

fn start(program: &Path, run_dir: &Path, log: &Path, signals: &Signals) -> io::Result<Pid> {
    let output = File::options().create(true).append(true).mode(0o600).open(log)?;
    let mut command = Command::new(program);
    command.arg0("streamer").args(["session", "--run-dir"]).arg(run_dir);
    command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output);
    // When the monitor is killed the streamer still ends in good order.
    process::prepare(&mut command, None, Signal::TERM);
    signals.restore_in(&mut command);
    let child = command.spawn()?;
    Ok(Pid::from_child(&child))
}

/// Passes the wish to stop on. Sent once: the streamer takes a second one for impatience.
fn stop(streamer: Pid, kill_at: &mut Option<Instant>) {
    if kill_at.is_none() {
        // It has not been waited for, so the id is still its own.
        let _ = rustix::process::kill_process(streamer, Signal::TERM);
        *kill_at = Some(Instant::now() + STOP_TIME);
    }
}

/// Reaps all that has ended; orphans come to us as soon as they are handed on. The status of the streamer, if it
/// was among them.
fn reap(streamer: Pid) -> Option<WaitStatus> {
    loop {
        match rustix::process::wait(WaitOptions::NOHANG) {
            Ok(Some((pid, status))) if pid == streamer => return Some(status),
            Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
            Ok(None) | Err(_) => return None,
        }
    }
}

fn rotate(log: &Path, max: u64) -> io::Result<()> {
    if fs::metadata(log)?.len() < max {
        return Ok(());
    }
    fs::copy(log, old_log(log))?;
    File::options().write(true).open(log)?.set_len(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    #[test]
    fn the_last_word_is_read_back() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(read_reason(dir.path()), ExitReason::Unknown);
        let reason = ExitReason::SourceEnded { message: "the X server died (signal 9)".into() };
        write_reason(dir.path(), &reason).unwrap();
        assert_eq!(read_reason(dir.path()), reason);
        fs::write(dir.path().join(REASON_FILE), "{").unwrap();
        assert_eq!(read_reason(dir.path()), ExitReason::Unknown);
    }

    #[test]
    fn a_rotated_log_goes_on_through_the_same_descriptor() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join(LOG_FILE);
        let mut writer = File::options().create(true).append(true).open(&log).unwrap();
        writer.write_all(b"short\n").unwrap();
        rotate(&log, 10).unwrap();
        assert!(!old_log(&log).exists());
        writer.write_all(b"long enough\n").unwrap();
        rotate(&log, 10).unwrap();
        writer.write_all(b"new\n").unwrap();
        assert_eq!(fs::read(old_log(&log)).unwrap(), b"short\nlong enough\n");
        assert_eq!(fs::read(&log).unwrap(), b"new\n");
    }
}
