//! Signals that wait to be taken, for the small processes of a session, which have one thread and no runtime.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;
use std::time::Instant;

/// Signals that are blocked from [`Signals::block`] on, and taken one by one.
pub struct Signals {
    set: libc::sigset_t,
    /// The mask as it was, and as it is to be for programs.
    before: libc::sigset_t,
}

impl Signals {
    /// Blocks these signals for this thread and those that it starts.
    ///
    /// # Errors
    /// The system does not know one of them.
    pub fn block(signals: impl IntoIterator<Item = libc::c_int>) -> io::Result<Self> {
        // SAFETY: the sets are plain data that these calls fill.
        unsafe {
            let mut set = std::mem::zeroed();
            let mut before = std::mem::zeroed();
            libc::sigemptyset(&raw mut set);
            for signal in signals {
                if libc::sigaddset(&raw mut set, signal) != 0 {
                    return Err(io::Error::last_os_error());
                }
            }
            match libc::sigprocmask(libc::SIG_BLOCK, &raw const set, &raw mut before) {
                0 => Ok(Self { set, before }),
                _ => Err(io::Error::last_os_error()),
            }
        }
    }

    /// Waits for the next one.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn wait(&self) -> io::Result<libc::c_int> {
        loop {
            // SAFETY: the set is initialised, and nothing is wanted but the number.
            let signal = unsafe { libc::sigwaitinfo(&raw const self.set, std::ptr::null_mut()) };
            if let Some(signal) = taken(signal)? {
                return Ok(signal);
            }
        }
    }

    /// Waits for the next one until `deadline`. `None`: the time has come, or another signal has ended the wait early.
    ///
    /// # Errors
    /// The system refuses to wait.
    pub fn wait_until(&self, deadline: Instant) -> io::Result<Option<libc::c_int>> {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = libc::timespec {
            tv_sec: left.as_secs().try_into().unwrap_or(libc::time_t::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        // SAFETY: set and time are initialised, and nothing is wanted but the number.
        taken(unsafe { libc::sigtimedwait(&raw const self.set, std::ptr::null_mut(), &raw const timeout) })
    }

    /// Has `command` start with the mask as it was.
    pub fn restore_in(&self, command: &mut Command) {
        let before = self.before;
        // SAFETY: between fork and exec only a system call is made, on memory that is there.
        unsafe { command.pre_exec(move || restore(&before)) };
    }

    /// Ends this process by a signal, as the program has ended, without a core of its own.
    pub fn die_of(&self, signal: libc::c_int) {
        // SAFETY: plain system calls; the set is initialised.
        unsafe {
            libc::prctl(libc::PR_SET_DUMPABLE, 0, 0, 0, 0);
            libc::signal(signal, libc::SIG_DFL);
            let _ = restore(&self.before);
            libc::raise(signal);
        }
    }
}

/// What a wait for signals has returned.
fn taken(result: libc::c_int) -> io::Result<Option<libc::c_int>> {
    if result >= 0 {
        return Ok(Some(result));
    }
    let error = io::Error::last_os_error();
    match error.kind() {
        io::ErrorKind::Interrupted | io::ErrorKind::WouldBlock => Ok(None),
        _ => Err(error),
    }
}

fn restore(set: &libc::sigset_t) -> io::Result<()> {
    // SAFETY: a plain system call on an initialised set.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, std::ptr::from_ref(set), std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
