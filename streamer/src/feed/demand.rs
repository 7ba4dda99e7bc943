//! What the peers want of a source: the only way back from the peers to an encoder thread.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};

use rustix::event::{EventfdFlags, eventfd};

use crate::stats::Counter;

/// Shared by the shards, which ask, and one encoder thread, which answers.
///
/// The thread sleeps on [`Demand::wake_fd`] beside its source; whatever changes here makes it readable.
#[derive(Debug)]
pub struct Demand {
    wake: OwnedFd,
    watchers: AtomicU32,
    keyframe: AtomicBool,
    asked: Counter,
}

impl Demand {
    /// Nobody watches, nothing is wanted.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new() -> std::io::Result<Self> {
        let wake = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Self {
            wake,
            watchers: AtomicU32::new(0),
            keyframe: AtomicBool::new(false),
            asked: Counter::default(),
        })
    }

    /// Readable when something has changed; [`Demand::drain`] resets it.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Resets [`Demand::wake_fd`]. Call it before looking at the rest, so that no change is missed.
    pub fn drain(&self) {
        let mut count = [0; 8];
        // Fails only when it is zero already.
        let _ = rustix::io::read(&self.wake, &mut count);
    }

    /// Makes [`Demand::wake_fd`] readable.
    pub fn wake(&self) {
        // Fails only when the counter would overflow, and then it is readable.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }

    /// How many peers watch. With none, an encoder pauses (after its first keyframe).
    pub fn watchers(&self) -> u32 {
        self.watchers.load(Ordering::Acquire)
    }

    /// Whether a keyframe is wanted, and takes the wish: the caller makes one.
    pub fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::AcqRel)
    }

    /// One more peer watches.
    pub fn add_watcher(&self) {
        if self.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
    }

    /// One peer less watches.
    pub fn remove_watcher(&self) {
        if self.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    /// Asks for a keyframe. Wishes that come before it is made are one.
    pub fn ask_keyframe(&self) {
        self.asked.add(1);
        if !self.keyframe.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// How often a keyframe was asked for.
    pub fn asked(&self) -> u64 {
        self.asked.get()
    }
}
