//! How a thread that sleeps on file descriptors sleeps, and how other threads wake it.
//!
//! ```text
//! other threads: put something where it is found, then Wake::wake ─┐
//!                                                                  ▼
//! the thread:    wait_readable([its socket, …, wake]) ▶ Wake::reset ▶ take all that is there ─▶ (again)
//! ```
//!
//! The order on both sides is what makes sure that nothing is missed: a wake that comes before or during the wait ends
//! it, and one that comes after the reset ends the next.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Instant;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;

/// Wakes one thread, by a descriptor (`eventfd(2)`) that is readable from [`Wake::wake`] to [`Wake::reset`]. Shared by
/// the thread and everybody who wakes it.
#[derive(Debug)]
pub struct Wake(OwnedFd);

impl Wake {
    /// One that is not readable yet.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?))
    }

    /// Ends the thread's wait, or its next one if it does not wait now. Never blocks.
    pub fn wake(&self) {
        // Fails only when the counter would overflow, and then the descriptor is readable.
        let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
    }

    /// Lets the thread wait again. To be called before it takes what it was woken for.
    pub fn reset(&self) {
        // Fails only when the counter is zero already.
        let _ = rustix::io::read(&self.0, &mut [0; 8]);
    }
}

impl AsFd for Wake {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// Sleeps until one of `fds` is readable, at its end or in error: true; or until the time `until`: false. A time that has
/// passed only looks. A signal does not end the wait.
///
/// # Errors
/// The system refuses to poll.
pub fn wait_readable<'fd>(
    fds: impl IntoIterator<Item = BorrowedFd<'fd>>,
    until: Option<Instant>,
) -> io::Result<bool> {
    let mut fds: Vec<_> = fds.into_iter().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
    wait_for(&mut fds, until)
}

/// As [`wait_readable`], for what each of `fds` names; each has what came of it afterwards.
///
/// # Errors
/// The system refuses to poll.
#[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
pub fn wait_for(fds: &mut [PollFd<'_>], until: Option<Instant>) -> io::Result<bool> {
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        // What is too long for the system is for ever.
        let timeout = left.and_then(|left| Timespec::try_from(left).ok());
        match poll(fds, timeout.as_ref()) {
            Ok(ready) => return Ok(ready > 0),
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::thread::JoinHandleExt as _;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicU32, Ordering};
    use std::thread;
    use std::time::Duration;

    fn is_readable(wake: &Wake) -> bool {
        wait_readable([wake.as_fd()], Some(Instant::now())).unwrap()
    }

    #[test]
    fn a_wake_before_the_wait_ends_it_until_the_reset() {
        let wake = Wake::new().unwrap();
        assert!(!is_readable(&wake));
        wake.reset();
        assert!(!is_readable(&wake), "a reset of what is not readable does not block");
        wake.wake();
        wake.wake();
        assert!(wait_readable([wake.as_fd()], None).unwrap());
        assert!(is_readable(&wake), "until it is reset");
        wake.reset();
        assert!(!is_readable(&wake), "one reset undoes all wakes");
    }

    #[test]
    fn a_wake_during_the_wait_ends_it() {
        let wake = Arc::new(Wake::new().unwrap());
        let woken = Arc::clone(&wake);
        let thread = thread::spawn(move || wait_readable([woken.as_fd()], None).unwrap());
        wake.wake();
        assert!(thread.join().unwrap());
    }

    #[test]
    fn a_wait_ends_at_its_time() {
        let wake = Wake::new().unwrap();
        let until = Instant::now() + Duration::from_millis(20);
        assert!(!wait_readable([wake.as_fd()], Some(until)).unwrap());
        assert!(Instant::now() >= until);
        assert!(!wait_readable([], Some(until)).unwrap(), "without descriptors, too");
    }

    #[test]
    fn any_of_several_descriptors_ends_the_wait_and_so_does_the_end_of_one() {
        let wakes = [Wake::new().unwrap(), Wake::new().unwrap(), Wake::new().unwrap()];
        for wake in &wakes {
            wake.wake();
            assert!(wait_readable(wakes.iter().map(Wake::as_fd), None).unwrap());
            wake.reset();
        }
        let (reader, writer) = rustix::pipe::pipe().unwrap();
        drop(writer);
        assert!(wait_readable([wakes[0].as_fd(), reader.as_fd()], None).unwrap());
    }

    static SIGNALS: AtomicU32 = AtomicU32::new(0);

    extern "C" fn count(_signal: libc::c_int) {
        SIGNALS.fetch_add(1, Ordering::Relaxed);
    }

    #[test]
    fn signals_do_not_end_a_wait_early() {
        let handler: extern "C" fn(libc::c_int) = count;
        // SAFETY: the handler only adds to an atomic.
        unsafe { libc::signal(libc::SIGUSR1, handler as libc::sighandler_t) };
        let wake = Wake::new().unwrap();
        // Longer than this thread may be kept from its turn: it has to have sent signals by then.
        let until = Instant::now() + Duration::from_secs(1);
        let thread = thread::spawn(move || (wait_readable([wake.as_fd()], Some(until)), Instant::now()));
        while !thread.is_finished() {
            // SAFETY: the thread has not been joined, so its id is valid.
            unsafe { libc::pthread_kill(thread.as_pthread_t(), libc::SIGUSR1) };
            thread::yield_now();
        }
        let (result, end) = thread.join().unwrap();
        assert!(!result.unwrap() && end >= until);
        assert!(SIGNALS.load(Ordering::Relaxed) > 0);
    }
}
