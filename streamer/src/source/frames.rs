//! The newest raw picture of a source, for encoders other than its own.
//!
//! ```text
//! capture thread ── put (latest wins) ──▶ Frames ──▶ take, on the thread of each rendition
//! ```
//!
//! A picture is copied only while somebody wants one: a source without further renditions pays nothing.

use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use crate::encode::convert::I420;

/// A picture and when it was captured.
pub struct Frame {
    /// The picture.
    pub picture: I420,
    /// When.
    pub captured: Instant,
}

/// The cell that holds it. Never more than one waits in it; each reader gets it once.
#[derive(Default)]
pub struct Frames {
    readers: AtomicU32,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts pictures: a reader knows by it whether it has seen this one.
    number: u64,
    newest: Option<Arc<Frame>>,
    wake: Vec<(u64, Arc<OwnedFd>)>,
    next_reader: u64,
}

/// One reader. While it lives, pictures are kept for it.
pub struct Reader {
    frames: Arc<Frames>,
    wake: Arc<OwnedFd>,
    id: u64,
    seen: u64,
}

impl Frames {
    /// True while somebody reads: only then is [`Frames::put`] worth a copy.
    pub fn wanted(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// A newer picture. Whoever reads is woken.
    pub fn put(&self, frame: Frame) {
        let mut state = self.lock();
        state.number += 1;
        state.newest = Some(Arc::new(frame));
        for (_, wake) in &state.wake {
            // Fails only when the counter would overflow, and then it is readable.
            let _ = rustix::io::write(&**wake, &1u64.to_ne_bytes());
        }
    }

    /// A reader, whose `wake` becomes readable with each new picture.
    pub fn read(self: &Arc<Self>, wake: Arc<OwnedFd>) -> Reader {
        let mut state = self.lock();
        let id = state.next_reader;
        state.next_reader += 1;
        state.wake.push((id, Arc::clone(&wake)));
        self.readers.fetch_add(1, Ordering::AcqRel);
        Reader { frames: Arc::clone(self), wake, id, seen: 0 }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The newest picture, if it has not been taken yet.
    pub fn take(&mut self) -> Option<Arc<Frame>> {
        let state = self.frames.lock();
        if state.number == self.seen {
            return None;
        }
        self.seen = state.number;
        state.newest.clone()
    }

    /// What becomes readable with each new picture.
    pub fn wake(&self) -> &OwnedFd {
        &self.wake
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.frames.lock();
        state.wake.retain(|(id, _)| *id != self.id);
        if self.frames.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            state.newest = None;
        }
    }
}
