//! Child processes: how they are started, waited for and ended.
//!
//! A child starts in a session of its own, with no descriptor but its standard ones, and gets a signal
//! when we die in whatever way. Every child is waited for by a thread of its own, so that its end is
//! noticed at once. What children leave behind as orphans comes to us ([`become_subreaper`]), so that
//! [`tree`] can find and end it.

pub mod confine;
mod etc;
pub mod init;
pub mod memory;
pub mod signals;
pub mod tree;
mod uplink;

use std::collections::HashSet;
use std::ffi::OsString;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::mpsc::{SyncSender, sync_channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Instant;

use confine::Depth;
use rustix::process::{Pid, PidfdFlags, Signal};

/// Set for every program of a session; tells its daemons from those of others.
pub const MARK: &str = "ORIEL_SESSION";

/// Threads that only wait need hardly any stack.
const SMALL_STACK: usize = 128 * 1024;

/// Where programs are looked up, for children and for [`find_program`], when `PATH` is not set.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A process that we started. Dropping it does not end it.
#[derive(Debug)]
pub struct Child {
    pid: Pid,
    pidfd: OwnedFd,
    exit: Arc<Exit>,
}

/// How a child ended, once it has.
#[derive(Debug, Default)]
struct Exit {
    status: Mutex<Option<ExitStatus>>,
    ended: Condvar,
}

impl Child {
    /// Its process id; the leader of its session and process group.
    pub fn pid(&self) -> Pid {
        self.pid
    }

    /// How it ended, if it has.
    pub fn exited(&self) -> Option<ExitStatus> {
        *lock(&self.exit.status)
    }

    /// Sends a signal; nothing happens when it has ended. Never hits another process with the same id.
    pub fn signal(&self, signal: Signal) {
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, signal);
    }

    /// Waits for its end until `deadline`.
    #[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
    pub fn wait_until(&self, deadline: Instant) -> Option<ExitStatus> {
        let mut status = lock(&self.exit.status);
        while status.is_none() {
            let left = deadline.checked_duration_since(Instant::now())?;
            status = self.exit.ended.wait_timeout(status, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        *status
    }

    /// Ends it now and waits until it has gone.
    pub fn kill(&self) {
        self.signal(Signal::KILL);
        let mut status = lock(&self.exit.status);
        while status.is_none() {
            status = self.exit.ended.wait(status).unwrap_or_else(PoisonError::into_inner);
        }
    }
}

/// Starts `command` as every child is started (see the module) and calls `on_exit` when it has ended.
///
/// `keep` is a descriptor that the child inherits under the same number. `name` is for logs and threads.
///
/// # Errors
/// When the program cannot be run, or a thread cannot be started.
pub fn spawn(
    name: &str,
    mut command: Command,
    keep: Option<OwnedFd>,
    on_exit: impl FnOnce(ExitStatus) + Send + 'static,
) -> io::Result<Child> {
    prepare(&mut command, keep.as_ref().map(AsRawFd::as_raw_fd), Signal::KILL);
    let (sender, receiver) = sync_channel(1);
    let start = move || {
        // Held over the start, so that the reaper cannot take a child that ends at once for an orphan.
        let mut owned = lock(&OWNED.pids);
        let child = command.spawn();
        if let Ok(child) = &child {
            owned.insert(child.id());
            OWNED.changed.notify_all();
        }
        drop(keep);
        // Received by whoever waits below.
        let _ = sender.send(child);
    };
    spawner()?.send(Box::new(start)).map_err(|_| io::Error::other("the spawning thread has ended"))?;
    let mut child = receiver.recv().map_err(|_| io::Error::other("the spawning thread has ended"))??;

    let pid = pid_of(child.id());
    let exit = Arc::new(Exit::default());
    let watched = Arc::clone(&exit);
    let watch = move || {
        let status = child.wait().unwrap_or_else(|_| ExitStatus::from_raw(0));
        forget(child.id());
        *lock(&watched.status) = Some(status);
        watched.ended.notify_all();
        on_exit(status);
    };
    // Until it is watched nobody waits for it, so the id is its own.
    let pidfd = rustix::process::pidfd_open(pid, PidfdFlags::empty()).map_err(io::Error::from);
    let watching = pidfd.and_then(|pidfd| {
        let thread = thread::Builder::new().name(format!("wait {name}")).stack_size(SMALL_STACK);
        thread.spawn(watch).map(|_| pidfd)
    });
    match watching {
        Ok(pidfd) => Ok(Child { pid, pidfd, exit }),
        Err(error) => {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
            let _ = rustix::process::waitpid(Some(pid), rustix::process::WaitOptions::empty());
            forget(pid.as_raw_nonzero().get().cast_unsigned());
            Err(error)
        }
    }
}

/// Like [`spawn`], for what [`confine::command`] made with the same `depth`: kept from what is the server's and from others.
///
/// # Errors
/// Likewise, and when it must be confined and cannot be.
pub fn spawn_confined(
    name: &str,
    mut command: Command,
    depth: Depth,
    keep: Option<OwnedFd>,
    on_exit: impl FnOnce(ExitStatus) + Send + 'static,
) -> io::Result<Child> {
    let outcome = confine::confine(&mut command, depth)?;
    let Some((uplink, inherited)) = confine::uplink(&mut command, depth)? else {
        let child = spawn(name, command, keep, on_exit)?;
        report(name, &outcome);
        return Ok(child);
    };
    // Whoever has a network of its own inherits nothing else.
    let child = spawn(name, command, Some(inherited), on_exit)?;
    report(name, &outcome);
    if let Err(error) = uplink.start(child.pid()) {
        tracing::error!(name, %error, "a program has no network");
    }
    Ok(child)
}

fn report(name: &str, outcome: &confine::Outcome) {
    if let Some(error) = outcome.failure() {
        tracing::warn!(name, %error, "a program is not kept from the server's files: the system does not allow it");
    }
}

/// A child has been waited for.
fn forget(pid: u32) {
    lock(&OWNED.pids).remove(&pid);
    OWNED.changed.notify_all();
}

/// Makes `command` start as every child does: a session of its own, no descriptors but the standard
/// ones and `keep`, and `on_death` when the thread that starts it ends.
pub fn prepare(command: &mut Command, keep: Option<i32>, on_death: Signal) {
    let parent = rustix::process::getpid();
    let setup = move || {
        rustix::process::setsid()?;
        rustix::process::set_parent_process_death_signal(Some(on_death))?;
        // The parent may have died before the line above.
        if rustix::process::getppid() != Some(parent) {
            return Err(io::Error::from(rustix::io::Errno::SRCH));
        }
        crate::memory::restore_pages();
        // SAFETY: plain system calls on numbers; close-on-exec is only marked, nothing is closed here.
        unsafe {
            libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int);
            if let Some(fd) = keep {
                libc::fcntl(fd, libc::F_SETFD, 0);
            }
        }
        Ok(())
    };
    // SAFETY: between fork and exec only system calls are made; nothing allocates or locks.
    unsafe { command.pre_exec(setup) };
}

type Start = Box<dyn FnOnce() + Send>;

/// The thread that starts all children. A parent-death signal is sent when the *thread* that forked ends, so
/// this one lives as long as the process. One start at a time; who wants another waits.
fn spawner() -> io::Result<&'static SyncSender<Start>> {
    static SPAWNER: OnceLock<SyncSender<Start>> = OnceLock::new();
    if let Some(sender) = SPAWNER.get() {
        return Ok(sender);
    }
    let (sender, receiver) = sync_channel::<Start>(1);
    thread::Builder::new().name("spawn".into()).stack_size(SMALL_STACK * 4).spawn(move || {
        while let Ok(start) = receiver.recv() {
            start();
        }
    })?;
    // Lost only when two threads come first at once: the other's is used, this one's thread ends.
    Ok(SPAWNER.get_or_init(|| sender))
}

/// Children that a thread of ours waits for.
struct Owned {
    pids: Mutex<HashSet<u32>>,
    changed: Condvar,
}

static OWNED: std::sync::LazyLock<Owned> =
    std::sync::LazyLock::new(|| Owned { pids: Mutex::default(), changed: Condvar::new() });

/// Makes orphans of our children ours, and reaps them when they end.
///
/// For a process whose children are all started by [`spawn`]: any other child would be reaped under
/// the feet of whoever waits for it.
///
/// # Errors
/// When the thread cannot be started.
pub fn become_subreaper() -> io::Result<()> {
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))?;
    thread::Builder::new().name("reap".into()).stack_size(SMALL_STACK).spawn(reap)?;
    Ok(())
}

fn reap() {
    loop {
        let ended = peek();
        let mut owned = lock(&OWNED.pids);
        match ended {
            Some(pid) if !owned.contains(&pid) => {
                let _ = rustix::process::waitpid(Some(pid_of(pid)), rustix::process::WaitOptions::NOHANG);
            }
            // Its own thread is about to take it.
            Some(pid) => {
                while owned.contains(&pid) {
                    owned = OWNED.changed.wait(owned).unwrap_or_else(PoisonError::into_inner);
                }
            }
            // No children at all: orphans come only after the next one.
            None => {
                while owned.is_empty() {
                    owned = OWNED.changed.wait(owned).unwrap_or_else(PoisonError::into_inner);
                }
            }
        }
    }
}

/// Waits until some child has ended and leaves it to be waited for. `None` when there are no children.
fn peek() -> Option<u32> {
    loop {
        // SAFETY: `info` is plain data that the call fills.
        let (result, pid) = unsafe {
            let mut info: libc::siginfo_t = std::mem::zeroed();
            let result = libc::waitid(libc::P_ALL, 0, &raw mut info, libc::WEXITED | libc::WNOWAIT);
            (result, info.si_pid())
        };
        match result {
            0 => return Some(pid.cast_unsigned()),
            _ if io::Error::last_os_error().kind() == io::ErrorKind::Interrupted => {}
            _ => return None,
        }
    }
}

/// How a process ended, in words: `exit code 1`, `signal 9`.
pub fn exit_text(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "unknown status".into(),
    }
}

/// `PATH` of this process, or a sensible one.
pub fn search_path() -> OsString {
    std::env::var_os("PATH").filter(|path| !path.is_empty()).unwrap_or_else(|| DEFAULT_PATH.into())
}

/// The file that would be run for `program`, looked up in `path` unless it has a slash.
pub fn find_program(program: &str, path: &std::ffi::OsStr) -> Option<PathBuf> {
    use rustix::fs::{Access, access};
    let runnable = |file: &PathBuf| file.is_file() && access(file, Access::EXEC_OK).is_ok();
    if program.contains('/') {
        return Some(PathBuf::from(program)).filter(runnable);
    }
    std::env::split_paths(path).map(|dir| dir.join(program)).find(runnable)
}

/// The end of a log file, for an error message: at most `max` bytes, from the beginning of a line.
/// Empty when there is nothing to read.
pub fn log_tail(file: &Path, max: u64) -> String {
    use std::io::{Read, Seek, SeekFrom};
    let read = || -> io::Result<(Vec<u8>, bool)> {
        let mut file = std::fs::File::open(file)?;
        let skip = file.metadata()?.len().saturating_sub(max);
        file.seek(SeekFrom::Start(skip))?;
        let mut tail = Vec::new();
        file.take(max).read_to_end(&mut tail)?;
        Ok((tail, skip > 0))
    };
    let Ok((tail, cut)) = read() else { return String::new() };
    let text = String::from_utf8_lossy(&tail);
    let text = match text.split_once('\n') {
        Some((_, rest)) if cut => rest,
        _ => &text,
    };
    text.trim().to_owned()
}

fn pid_of(pid: u32) -> Pid {
    Pid::from_raw(pid.cast_signed()).expect("a process id is positive")
}

/// A poisoned lock is used on: what it guards is one value that is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
