//! Clearing away what a session leaves: its processes, what its X server has put into `/tmp`, its files.
//!
//! | who does it | when | knows the processes by |
//! |---|---|---|
//! | the monitor | the streamer has ended, in whatever way | descent: it is their subreaper |
//! | the streamer | it has ended because its monitor was killed | descent, likewise |
//! | `streamer clean`, started by the web-server | the monitor was killed, and nobody has left an `exit.json` | the command lines of monitor and streamer, descent, and the session's mark in the environment |
//!
//! Nothing is removed or killed that is not the session's by its own record: a lock or a socket of an X server only if it is
//! still the one that was noted in the run directory, a process only by the path of that directory. What cannot be
//! known any more is a daemon without an environment that has outlived both monitor and streamer.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use common::exit::{EXIT_FILE, ExitReason, StreamerExit};
use common::ipc::LOG_FILE;

use crate::process::{MARK, tree};
use crate::source::desktop::xserver::{FOOTPRINT_FILE, Footprint};

/// How deep footprints are looked for: the run directory, a source's, and one to spare.
const MAX_DEPTH: usize = 3;
/// How long a streamer whose monitor was killed may take to end in good order and clean up by itself: longer than its own
/// deadline for that.
const END_TIME: Duration = Duration::from_secs(8);
/// How often it is looked whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// The log of a session that was rotated.
pub fn old_log(log: &Path) -> PathBuf {
    log.with_extension("log.1")
}

/// Ends all descendants of this process, removes what the session has left but its log, and notes how it ended.
///
/// # Errors
/// When that cannot be noted.
pub fn finish(run_dir: &Path, exit: &StreamerExit) -> io::Result<()> {
    tree::kill_all_descendants();
    clean(run_dir);
    write_json(run_dir, EXIT_FILE, exit)
}

/// Writes a file of the run directory; readers see all of it or nothing.
///
/// # Errors
/// When it cannot be written.
pub fn write_json(run_dir: &Path, name: &str, value: &impl serde::Serialize) -> io::Result<()> {
    let new = run_dir.join(format!("{name}.new"));
    let mut file = File::options().write(true).create(true).truncate(true).mode(0o600).open(&new)?;
    file.write_all(&serde_json::to_vec(value)?)?;
    file.sync_all()?;
    fs::rename(new, run_dir.join(name))
}

/// What the monitor says for a session, when it has been killed itself.
pub fn monitor_killed() -> ExitReason {
    ExitReason::Fatal { message: "the monitor of the session was killed".into() }
}

/// Does for a session what its monitor cannot do any more. A streamer that still runs is given time to do it by itself.
pub fn run(run_dir: &Path) -> ExitCode {
    let deadline = Instant::now() + END_TIME;
    while tree::exists(|process| is_program(process, run_dir, "session"))
        && !tree::exists(|process| is_program(process, run_dir, "monitor"))
        && Instant::now() < deadline
    {
        std::thread::sleep(LOOK);
    }
    if run_dir.join(EXIT_FILE).exists() {
        return ExitCode::SUCCESS;
    }
    tracing::warn!("the monitor was killed, and its streamer with it: clearing away what is left");
    let is_head = |pid: &str| is_program(pid, run_dir, "session") || is_program(pid, run_dir, "monitor");
    tree::kill_remains(is_head, |pid| is_marked(pid, run_dir));
    clean(run_dir);
    let exit = StreamerExit { code: None, signal: None, reason: monitor_killed() };
    match write_json(run_dir, EXIT_FILE, &exit) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!("writing {EXIT_FILE}: {error}");
            ExitCode::FAILURE
        }
    }
}

/// True for the process that plays this part for the session of `run_dir`.
fn is_program(pid: &str, run_dir: &Path, part: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    let args: Vec<&[u8]> = line.split(|byte| *byte == 0).skip(1).collect();
    let path = run_dir.as_os_str().as_encoded_bytes();
    args.starts_with(&[part.as_bytes(), b"--run-dir", path])
}

/// True for a program of the session of `run_dir`, wherever it has gone.
fn is_marked(pid: &str, run_dir: &Path) -> bool {
    let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    let mark = [MARK.as_bytes(), b"=", run_dir.as_os_str().as_encoded_bytes()].concat();
    let is_mark = |variable: &[u8]| {
        // A source may have a directory of its own below.
        variable.strip_prefix(&*mark).is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/"))
    };
    environment.split(|byte| *byte == 0).any(is_mark)
}

/// Removes what the session has left: X sockets in `/tmp`, and all its files but the log.
fn clean(run_dir: &Path) {
    remove_footprints(run_dir, MAX_DEPTH);
    let log = run_dir.join(LOG_FILE);
    let keep = [log.clone(), old_log(&log)];
    for entry in fs::read_dir(run_dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if keep.contains(&path) {
            continue;
        }
        // Symbolic links are removed, never followed.
        let is_dir = entry.file_type().is_ok_and(|kind| kind.is_dir());
        let removed = if is_dir { fs::remove_dir_all(&path) } else { fs::remove_file(&path) };
        if let Err(error) = removed {
            tracing::warn!("removing {}: {error}", path.display());
        }
    }
}

fn remove_footprints(dir: &Path, depth: usize) {
    if let Some(footprint) = Footprint::read(dir) {
        footprint.remove();
        let _ = fs::remove_file(dir.join(FOOTPRINT_FILE));
    }
    if depth > 1 {
        for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                remove_footprints(&entry.path(), depth - 1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cleaning_keeps_the_log_and_follows_no_links() {
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("precious"), "").unwrap();
        let dir = tempfile::tempdir().unwrap();
        for file in [LOG_FILE, "streamer.log.1", "ipc.sock", "token"] {
            fs::write(dir.path().join(file), "").unwrap();
        }
        fs::create_dir_all(dir.path().join("source/xdg")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("link")).unwrap();
        std::os::unix::fs::symlink(outside.path(), dir.path().join("source/link")).unwrap();
        clean(dir.path());
        let mut left: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|e| e.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, [LOG_FILE, "streamer.log.1"]);
        assert!(outside.path().join("precious").exists());
    }

    #[test]
    fn only_programs_that_carry_the_mark_of_the_very_session_are_its_own() {
        let dir = tempfile::tempdir().unwrap();
        let marked = |value: PathBuf| {
            let mut child = std::process::Command::new("sleep").arg("1000").env(MARK, value).spawn().unwrap();
            // Between fork and exec it has our environment, and for a moment after that none.
            let read = |name: &str| fs::read(format!("/proc/{}/{name}", child.id())).unwrap();
            while read("comm") != b"sleep\n" || read("environ").is_empty() {
                std::thread::yield_now();
            }
            let is_marked = is_marked(&child.id().to_string(), dir.path());
            child.kill().unwrap();
            child.wait().unwrap();
            is_marked
        };
        assert!(marked(dir.path().to_owned()) && marked(dir.path().join("source")));
        assert!(!marked(dir.path().with_extension("other")) && !marked("/".into()));
    }
}
