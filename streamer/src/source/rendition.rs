//! A further encoding of a source's pictures: smaller ones, or pictures of the same size at a lower bitrate, for viewers whose paths are
//! narrower than others'.
//!
//! ```text
//! Frames ──newest──▶ thread `rendition`: scale ▶ H.264 ──▶ VideoOutlet
//! ```
//!
//! The thread has a [`Reader`] only while somebody watches: unwatched, the source keeps no pictures for it, and it
//! sleeps. It follows the size of the source. Its first picture, and the first one after a pause, is that of then.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::time::Instant;

use super::frames::{Frame, Reader};
use super::schedule::{Consumers, Schedule, Step};
use super::video::{Encoding, Settings};
use super::worker::{Inbox, Next, Worker};
use super::{Error, Frames};
use crate::encode::content::Content;
use crate::encode::convert::I420;
use crate::encode::encoder::Order;
use crate::encode::rate::Terms;
use crate::encode::rows::Rows;
use crate::encode::scale::{Scaler, fitted};
use crate::feed::VideoOutlet;
use crate::media::Size;
use crate::memory::{self, Unwatched};
use crate::stats::SourceCounters;
use crate::wake::Wake;

/// The size that its pictures are taken for before there is one.
const USUAL: Size = Size { width: 1280, height: 720 };

/// A rendition. Dropping it ends its thread.
pub struct Rendition {
    _thread: Worker<Infallible>,
}

impl Rendition {
    /// Starts one of this height in pixels, or of the height of the source's pictures; its width follows from their shape, and it is never
    /// larger than they are: [`Rendition::size`]. If the encoder fails, that is logged and the feed ends.
    ///
    /// # Errors
    /// When the system has no more threads or descriptors.
    pub fn start(
        frames: Arc<Frames>,
        height: Option<u32>,
        settings: Settings,
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
    ) -> Result<Self, Error> {
        let wake = Wake::new().map_err(|source| Error::Io { what: "starting a rendition".into(), source })?;
        // Until its first picture says what it needs.
        outlet.demand().set_wanted(settings.bitrate_bps(USUAL));
        let mut encoder = Encoder {
            frames,
            height,
            wake: Arc::new(wake),
            reader: None,
            waiting: None,
            scaler: Scaler::default(),
            picture: None,
            last: None,
            // Of no size that any source has: the first picture sets the bitrate.
            schedule: Schedule::new(settings.fps, Terms::new(Content::Film, 1, None), Instant::now()),
            unwatched: Unwatched::default(),
            encoding: Encoding::new(settings, Content::Film, outlet, Arc::clone(&counters)),
            counters,
        };
        let run = move |inbox: Inbox<Infallible>| {
            if let Err(error) = encoder.run(&inbox) {
                tracing::error!(?height, %error, "a rendition ended");
            }
        };
        Ok(Self { _thread: Worker::spawn("rendition", run)? })
    }

    /// The size of its pictures while those of the source have this size.
    pub fn size(source: Size, height: Option<u32>) -> Size {
        fitted(source, height.unwrap_or(source.height))
    }
}

/// State of the thread.
struct Encoder {
    frames: Arc<Frames>,
    height: Option<u32>,
    wake: Arc<Wake>,
    /// While somebody watches.
    reader: Option<Reader>,
    /// The newest frame, not yet scaled.
    waiting: Option<Arc<Frame>>,
    scaler: Scaler,
    /// Scaled; `None` before the first frame and while nobody watches.
    picture: Option<I420>,
    /// Time of the last access unit.
    last: Option<Instant>,
    schedule: Schedule,
    unwatched: Unwatched,
    encoding: Encoding,
    counters: Arc<SourceCounters>,
}

impl Encoder {
    fn run(&mut self, inbox: &Inbox<Infallible>) -> Result<(), Error> {
        let demand = Arc::clone(self.encoding.outlet().demand());
        loop {
            match inbox.next() {
                Next::Command(never) => match never {},
                Next::Stop => return Ok(()),
                Next::Empty => {}
            }
            demand.reset_wake();
            self.follow_audience(demand.watchers() > 0);
            if demand.take_keyframe() {
                self.schedule.want_keyframe();
            }
            let now = Instant::now();
            if self.unwatched.notice(now, self.reader.is_some()) {
                self.encoding.shrink();
                memory::give_back();
            }
            if let Some(frame) = self.reader.as_mut().and_then(Reader::take) {
                self.waiting = Some(frame);
                self.schedule.damaged(now);
            }
            let step = if self.waiting.is_some() || self.picture.is_some() {
                self.schedule.next(now)
            } else {
                Step::Sleep(None)
            };
            match step {
                Step::Send { keyframe, .. } => self.send(now, keyframe)?,
                Step::Refine => self.refine(now)?,
                // Frames come only while somebody watches, and then they are sent.
                Step::Capture => {
                    self.waiting = None;
                    self.schedule.captured(now, false);
                }
                Step::Sleep(until) => {
                    let reader = self.reader.as_ref().map(|reader| reader.wake().as_fd());
                    let others: Vec<_> = std::iter::once(demand.wake_fd()).chain(reader).collect();
                    let until = until.into_iter().chain(self.unwatched.deadline()).min();
                    inbox
                        .sleep(&others, until)
                        .map_err(|source| Error::Io { what: "waiting for a frame".into(), source })?;
                }
            }
        }
    }

    fn follow_audience(&mut self, watched: bool) {
        if watched == self.reader.is_some() {
            return;
        }
        // What was seen before is not what is there when somebody comes again.
        (self.waiting, self.picture) = (None, None);
        self.encoding.rest();
        self.reader = watched.then(|| self.frames.read(Arc::clone(&self.wake)));
        self.schedule.audience(if watched { Consumers::Viewers } else { Consumers::Nobody });
    }

    /// Scales the newest frame, if there is one, and encodes.
    fn send(&mut self, now: Instant, keyframe: bool) -> Result<(), Error> {
        let mut captured = now;
        if let Some(frame) = self.waiting.take() {
            captured = frame.captured;
            self.scale(&frame, now)?;
        }
        let Some(picture) = &self.picture else { return Ok(()) };
        // A frame may have been taken before the one before it was sent again.
        let captured = self.last.map_or(captured, |last| captured.max(last));
        let max_bytes = self.schedule.picture_bytes(now, keyframe);
        let changed = Rows::all(picture.size().height);
        let sent = self.encoding.send(picture, &changed, &Order { captured, keyframe, max_bytes })?;
        self.last = Some(captured);
        self.schedule.sent(Instant::now(), sent.len_bytes, sent.is_complete);
        Ok(())
    }

    /// Adds detail to the picture at rest.
    fn refine(&mut self, now: Instant) -> Result<(), Error> {
        let Some(picture) = &self.picture else { return Ok(()) };
        let max_bytes = self.schedule.refinement_bytes(now);
        let Some(sent) = self.encoding.refine(picture, now, max_bytes)? else { return Ok(()) };
        self.last = Some(now);
        self.schedule.refined(Instant::now(), sent.len_bytes, sent.is_complete);
        Ok(())
    }

    fn scale(&mut self, frame: &Frame, now: Instant) -> Result<(), Error> {
        let size = Rendition::size(frame.picture.size(), self.height);
        // Scaling blurs edges, so that little is like the picture before.
        let is_scaled = size != frame.picture.size();
        self.encoding.set_content(if is_scaled { Content::Film } else { frame.content });
        let mut picture = match self.picture.take() {
            Some(picture) if picture.size() == size => picture,
            _ => I420::new(size)?,
        };
        self.schedule.set_terms(self.encoding.terms(size), now);
        self.scaler.scale(&frame.picture, &mut picture)?;
        self.counters.convert_us.add_time(now.elapsed());
        self.picture = Some(picture);
        let left_out = self.schedule.captured(now, true);
        self.counters.dropped.add(left_out);
        Ok(())
    }
}
