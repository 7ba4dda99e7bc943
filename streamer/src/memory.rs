//! Memory of this process: what keeps it small, and what gives it back.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// What nobody has watched for this long gives up what it can make anew: encoders, histories, free memory.
pub const UNWATCHED_LONG: Duration = Duration::from_secs(60);

/// Notices that nobody has watched for [`UNWATCHED_LONG`]. Pure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Unwatched {
    /// Somebody watches.
    #[default]
    Watched,
    /// Nobody has, since then.
    Since(Instant),
    /// Nobody has for so long, and that was noticed.
    Noticed,
}

impl Unwatched {
    /// To be called whenever something changes, and at [`Unwatched::deadline`]. True once, when nobody has watched for long.
    pub fn notice(&mut self, now: Instant, watched: bool) -> bool {
        match *self {
            _ if watched => *self = Self::Watched,
            Self::Watched => *self = Self::Since(now),
            Self::Since(since) if now.saturating_duration_since(since) >= UNWATCHED_LONG => {
                *self = Self::Noticed;
                return true;
            }
            Self::Since(_) | Self::Noticed => {}
        }
        false
    }

    /// When [`Unwatched::notice`] has something to notice.
    pub fn deadline(&self) -> Option<Instant> {
        match self {
            Self::Since(since) => Some(*since + UNWATCHED_LONG),
            Self::Watched | Self::Noticed => None,
        }
    }
}

/// Whether this process has given up huge pages, which its children are not to do.
static SMALL_PAGES: AtomicBool = AtomicBool::new(false);

/// Has memory come in small pages from now on. Where the system hands out huge ones unasked, each thread's few allocations would
/// take 2 MiB; pictures, which could gain by them, are read in order.
pub fn use_small_pages() {
    // SAFETY: plain system calls on numbers.
    let is_new = unsafe {
        libc::prctl(libc::PR_GET_THP_DISABLE, 0, 0, 0, 0) == 0
            && libc::prctl(libc::PR_SET_THP_DISABLE, 1, 0, 0, 0) == 0
    };
    SMALL_PAGES.store(is_new, Ordering::Release);
}

/// Lets this process, a child between fork and exec, have huge pages again, as programs expect. Only a system call.
pub fn restore_pages() {
    if SMALL_PAGES.load(Ordering::Acquire) {
        // SAFETY: a plain system call on numbers.
        unsafe { libc::prctl(libc::PR_SET_THP_DISABLE, 0, 0, 0, 0) };
    }
}

/// Gives memory that this thread has freed back to the system, and what C libraries have freed. Takes a millisecond or so.
pub fn give_back() {
    // SAFETY: both calls may be made by any thread at any time.
    unsafe {
        libmimalloc_sys::mi_collect(true);
        libc::malloc_trim(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_unwatched_for_long_is_noticed_once_each_time() {
        let start = Instant::now();
        let mut unwatched = Unwatched::default();
        assert!(!unwatched.notice(start, true));
        assert_eq!(unwatched.deadline(), None);
        let mut left = start;
        for _ in 0..2 {
            left += 3 * UNWATCHED_LONG;
            assert!(!unwatched.notice(left, false), "the time begins when the last one leaves");
            assert!(!unwatched.notice(left + UNWATCHED_LONG / 2, false));
            assert_eq!(unwatched.deadline(), Some(left + UNWATCHED_LONG));
            assert!(unwatched.notice(left + UNWATCHED_LONG, false));
            assert!(!unwatched.notice(left + 2 * UNWATCHED_LONG, false));
            assert_eq!(unwatched.deadline(), None, "what is idle sleeps");
            assert!(!unwatched.notice(left + 2 * UNWATCHED_LONG, true));
        }
    }

    #[test]
    fn a_child_has_the_pages_that_programs_expect() {
        let disabled = |command: &mut std::process::Command| {
            let output = command.output().unwrap();
            String::from_utf8(output.stdout).unwrap().contains("THP_enabled:\t0")
        };
        let mut status = std::process::Command::new("cat");
        status.arg("/proc/self/status");
        use_small_pages();
        assert!(disabled(&mut status), "children inherit it");
        crate::process::prepare(&mut status, None, rustix::process::Signal::KILL);
        assert!(!disabled(&mut status), "and those of ours have it undone");
        restore_pages();
    }
}
