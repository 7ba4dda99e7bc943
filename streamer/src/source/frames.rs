//! The newest raw picture of a source, for encoders other than its own.
//!
//! ```text
//! capture thread ── copy, put (latest wins) ──▶ Frames ──▶ take, on the thread of each rendition
//!        ▲                                        │
//!        └──────────── a reader has come ─────────┘
//! ```
//!
//! A picture is copied only while somebody wants one: a source without further renditions pays nothing.

use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use crate::encode::content::Content;
use crate::encode::convert::I420;
use crate::feed::Demand;
use crate::wake::Wake;

/// A picture and when it was captured.
pub struct Frame {
    /// The picture.
    pub picture: I420,
    /// When it was captured.
    pub captured: Instant,
    /// What it is like.
    pub content: Content,
}

/// The cell that holds it. It holds one picture at most; each reader takes it once.
#[derive(Default)]
pub struct Frames {
    readers: AtomicU32,
    /// A reader has been added, and no picture since.
    newcomer: AtomicBool,
    /// Wakes the source.
    source: Option<Arc<Demand>>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// Counts pictures: a reader knows by it whether it has seen this one.
    number: u64,
    newest: Option<Arc<Frame>>,
    /// A picture that nobody reads any more, whose memory is reused.
    spare: Option<Arc<Frame>>,
    wake: Vec<(u64, Arc<Wake>)>,
    next_reader: u64,
}

/// One reader. While it lives, pictures are kept for it.
pub struct Reader {
    frames: Arc<Frames>,
    wake: Arc<Wake>,
    id: u64,
    seen: u64,
}

impl Frames {
    /// For a source whose thread sleeps on this demand: it is woken when a reader comes, so that one gets a picture
    /// also when nothing moves. ([`Frames::default`] is for sources that make pictures all the time.)
    pub fn of(source: Arc<Demand>) -> Self {
        Self { source: Some(source), ..Self::default() }
    }

    /// True while there is a reader: only then is [`Frames::put`] worth a copy.
    pub fn wanted(&self) -> bool {
        self.readers.load(Ordering::Acquire) > 0
    }

    /// True once after a reader was added: it is to get the current picture.
    pub fn take_newcomer(&self) -> bool {
        self.newcomer.load(Ordering::Acquire) && self.newcomer.swap(false, Ordering::AcqRel)
    }

    /// Puts a newer picture, and wakes readers.
    pub fn put(&self, frame: Frame) {
        let mut state = self.lock();
        if state.wake.is_empty() {
            return;
        }
        state.number += 1;
        state.spare = state.newest.replace(Arc::new(frame));
        for (_, wake) in &state.wake {
            wake.wake();
        }
    }

    /// As [`Frames::put`], of a picture that the caller keeps.
    pub fn copy(&self, picture: &I420, captured: Instant, content: Content) {
        let spare = self.lock().spare.take();
        let copy = match spare.and_then(Arc::into_inner) {
            Some(Frame { picture: mut copy, .. }) => {
                copy.clone_from(picture);
                copy
            }
            None => picture.clone(),
        };
        self.put(Frame { picture: copy, captured, content });
    }

    /// A reader, whose `wake` becomes readable with each new picture.
    pub fn read(self: &Arc<Self>, wake: Arc<Wake>) -> Reader {
        let id = {
            let mut state = self.lock();
            let id = state.next_reader;
            state.next_reader += 1;
            state.wake.push((id, Arc::clone(&wake)));
            self.readers.fetch_add(1, Ordering::AcqRel);
            id
        };
        self.newcomer.store(true, Ordering::Release);
        if let Some(source) = &self.source {
            source.wake();
        }
        Reader { frames: Arc::clone(self), wake, id, seen: 0 }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // Nothing that is done under the lock can panic half way.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Reader {
    /// The newest picture, if it has not been taken yet.
    pub fn take(&mut self) -> Option<Arc<Frame>> {
        self.wake.reset();
        let state = self.frames.lock();
        if state.number == self.seen {
            return None;
        }
        self.seen = state.number;
        state.newest.clone()
    }

    /// What becomes readable with each new picture.
    pub fn wake(&self) -> &Wake {
        &self.wake
    }
}

impl Drop for Reader {
    fn drop(&mut self) {
        let mut state = self.frames.lock();
        state.wake.retain(|(id, _)| *id != self.id);
        if self.frames.readers.fetch_sub(1, Ordering::AcqRel) == 1 {
            (state.newest, state.spare) = (None, None);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::Size;
    use crate::wake::wait_readable;

    fn wake() -> Arc<Wake> {
        Arc::new(Wake::new().unwrap())
    }

    fn picture(width: u32) -> I420 {
        I420::new(Size { width, height: 16 }).unwrap()
    }

    #[test]
    fn a_reader_gets_each_picture_once_and_the_newest_wins() {
        let frames = Arc::new(Frames::default());
        assert!(!frames.wanted() && !frames.take_newcomer());
        let mut reader = frames.read(wake());
        assert!(frames.wanted() && frames.take_newcomer() && !frames.take_newcomer());
        assert!(reader.take().is_none());
        for width in [16, 18, 20] {
            frames.copy(&picture(width), Instant::now(), Content::Film);
        }
        assert_eq!(reader.take().unwrap().picture.size().width, 20);
        assert!(reader.take().is_none());
        let mut other = frames.read(wake());
        assert_eq!(other.take().unwrap().picture.size().width, 20, "what is there is there for all");
        drop((reader, other));
        assert!(!frames.wanted() && frames.lock().newest.is_none());
    }

    #[test]
    fn memory_is_used_again_and_never_while_somebody_reads_it() {
        let frames = Arc::new(Frames::default());
        let mut reader = frames.read(wake());
        frames.copy(&picture(16), Instant::now(), Content::Film);
        let first = reader.take().unwrap();
        let address = |frame: &Frame| frame.picture.planes().0.as_ptr();
        for _ in 0..4 {
            frames.copy(&picture(16), Instant::now(), Content::Film);
            assert_ne!(address(&reader.take().unwrap()), address(&first));
        }
        let mut seen = std::collections::BTreeSet::new();
        for _ in 0..10 {
            frames.copy(&picture(16), Instant::now(), Content::Film);
            seen.insert(address(&reader.take().unwrap()));
        }
        assert!(seen.len() <= 3, "{}", seen.len());
    }

    #[test]
    fn a_source_is_woken_when_a_reader_comes() {
        let demand = Arc::new(Demand::new().unwrap());
        let frames = Arc::new(Frames::of(Arc::clone(&demand)));
        let _reader = frames.read(wake());
        assert!(wait_readable([demand.wake_fd()], Some(Instant::now())).unwrap());
    }
}
