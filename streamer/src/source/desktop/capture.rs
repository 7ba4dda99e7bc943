//! The thread that captures and encodes a desktop.
//!
//! ```text
//! X damage ─▶ Screen: rows into shared memory ─▶ Video: convert rows, encode ─▶ feed
//!                 │                                   ▲
//!                 └─ cursor (embedded) drawn into ────┘ a copy of the rows that it covers
//! ```
//!
//! It sleeps on the X connection, the feed's demand and its commands at once; [`Schedule`] says what to do.

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use common::spec::CursorMode;
use tokio::sync::watch;

use super::cursor::Cursor;
use super::rows::Rows;
use super::schedule::{Schedule, Step};
use super::screen::{Change, Grab, Screen};
use crate::encode::encoder::Content;
use crate::encode::rate::Load;
use crate::feed::VideoOutlet;
use crate::media::{Picture, Size};
use crate::source::video::{Outbox, Settings, Video};
use crate::source::worker::{Inbox, Next, Request};
use crate::source::{Error, Event};
use crate::stats::SourceCounters;

/// State of the thread.
pub struct Capture {
    screen: Screen,
    video: Video,
    content: Content,
    load: Load,
    schedule: Schedule,
    /// Captured, and not yet as the encoder takes it.
    unconverted: Rows,
    pointer: Pointer,
    /// Rows with the cursor drawn into them.
    composed: Vec<u8>,
    counters: Arc<SourceCounters>,
    events: Outbox,
    size: watch::Sender<Size>,
    started: bool,
}

/// The mouse pointer as it is known here.
struct Pointer {
    mode: CursorMode,
    cursor: Option<Cursor>,
    /// The cursor has another shape by now.
    stale: bool,
    /// Where it is drawn in the encoder's picture; only with [`CursorMode::Embedded`].
    drawn_at: Option<(i32, i32)>,
}

/// What is encoded of a screen: its size, made even.
pub fn even(size: Size) -> Size {
    Size { width: size.width & !1, height: size.height & !1 }
}

impl Capture {
    /// Captures the whole screen once.
    ///
    /// # Errors
    /// [`Error`] when the X server is gone or the encoder does not start.
    pub fn new(
        mut screen: Screen,
        settings: Settings,
        cursor: CursorMode,
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
        events: Outbox,
    ) -> Result<(Self, watch::Receiver<Size>), Error> {
        if screen.grab(&Rows::all(screen.size().height))? == Grab::Resized {
            screen.adopt_size()?;
        }
        let size = even(screen.size());
        let content = Content::Screen;
        let video = Video::new(settings, size, content, outlet, Arc::clone(&counters))?;
        let schedule = Schedule::new(settings.fps, video.bitrate_bps(), Instant::now());
        let unconverted = Rows::all(size.height);
        counters.captured.add(1);
        let (size, size_now) = watch::channel(size);
        let pointer = Pointer { mode: cursor, cursor: None, stale: true, drawn_at: None };
        let capture = Self {
            screen,
            video,
            content,
            load: Load::new(),
            schedule,
            unconverted,
            pointer,
            composed: Vec::new(),
            counters,
            events,
            size,
            started: false,
        };
        Ok((capture, size_now))
    }

    /// Runs until its handle is gone, or the X server or the encoder fails.
    ///
    /// # Errors
    /// What failed.
    pub fn run(&mut self, inbox: &Inbox<Request>) -> Result<(), Error> {
        let demand = Arc::clone(self.video.outlet().demand());
        loop {
            while let Some(change) = self.screen.next_change()? {
                self.changed(change)?;
            }
            match inbox.next() {
                Next::Command(request) => {
                    self.handle(request)?;
                    continue;
                }
                Next::Stop => return Ok(()),
                Next::Empty => {}
            }
            demand.drain();
            self.schedule.watched(demand.watchers() > 0);
            if demand.take_keyframe() {
                self.schedule.want_keyframe();
            }
            if self.pointer.stale {
                self.look_at_cursor()?;
                continue;
            }
            let now = Instant::now();
            match self.schedule.next(now) {
                Step::Capture => self.capture(now)?,
                Step::Send { capture, keyframe } => {
                    if capture {
                        self.capture(now)?;
                    }
                    if !self.schedule.nothing_to_send() {
                        self.send(now, keyframe)?;
                    }
                }
                Step::Sleep(until) => {
                    self.events.flush();
                    let until = until.into_iter().chain(self.events.retry_at(now)).min();
                    inbox
                        .sleep(&[self.screen.fd(), demand.wake_fd()], until)
                        .map_err(|source| Error::Io { what: "waiting for the X server".into(), source })?;
                }
            }
        }
    }

    /// Tells why it ended.
    pub fn ended(mut self, reason: String) {
        self.events.send(Event::Ended(reason));
    }

    fn changed(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Damage | Change::Pointer => self.schedule.damaged(Instant::now()),
            Change::Cursor => self.pointer.stale = true,
            Change::Size => self.follow_size()?,
        }
        Ok(())
    }

    fn handle(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Picture(answer) => {
                let picture = self.picture()?;
                // The asker may have given up.
                let _ = answer.send(picture);
            }
            Request::Resize(size, answer) => {
                let result = if size == *self.size.borrow() { Ok(()) } else { self.screen.set_size(size) };
                self.follow_size()?;
                let _ = answer.send(result);
            }
        }
        Ok(())
    }

    /// Takes over what was drawn.
    fn capture(&mut self, now: Instant) -> Result<(), Error> {
        let rows = self.screen.take_damage()?;
        if !rows.is_empty() {
            if self.screen.grab(&rows)? == Grab::Resized {
                return self.follow_size();
            }
            self.counters.captured.add(1);
            self.counters.captured_bytes.add(rows.count() as u64 * self.screen.stride() as u64);
            self.counters.capture_us.add_time(now.elapsed());
            self.unconverted.extend(&rows, self.size.borrow().height);
        }
        let moved = self.follow_pointer()?;
        let left_out = self.schedule.captured(now, moved || !rows.is_empty());
        self.counters.dropped.add(left_out);
        Ok(())
    }

    /// Converts what has changed, and encodes.
    fn send(&mut self, captured: Instant, keyframe: bool) -> Result<(), Error> {
        for strip in std::mem::take(&mut self.unconverted).strips() {
            self.convert(strip.clone())?;
        }
        let sent = self.video.send(captured, keyframe)?;
        let now = Instant::now();
        self.schedule.sent(now, sent.len_bytes);
        let cut = sent.keyframe && !keyframe;
        if let Some(content) = self.load.encoded(now, sent.encoding, cut) {
            tracing::info!(?content, "encoding has another load");
            self.content = content;
            self.video.restart(*self.size.borrow(), content)?;
            self.schedule.want_keyframe();
        }
        if !self.started {
            self.started = true;
            self.events.send(Event::Started);
        }
        Ok(())
    }

    fn convert(&mut self, rows: Range<u32>) -> Result<(), Error> {
        let stride = self.screen.stride();
        let bytes = rows.start as usize * stride..rows.end as usize * stride;
        let pixels = &self.screen.pixels()[bytes];
        let covered = match (&self.pointer.cursor, self.pointer.drawn_at) {
            (Some(cursor), Some(at)) => Some((cursor, at, cursor.rows(at, self.screen.size()))),
            _ => None,
        };
        match covered {
            Some((cursor, at, under)) if under.start < rows.end && rows.start < under.end => {
                self.composed.clear();
                self.composed.extend_from_slice(pixels);
                cursor.draw(at, &mut self.composed, rows.start, self.screen.size().width);
                self.video.convert(rows, &self.composed, stride)
            }
            _ => self.video.convert(rows, pixels, stride),
        }
    }

    /// Starts again at another size, if the screen has one. What is published next is a keyframe of it.
    fn follow_size(&mut self) -> Result<(), Error> {
        if !self.screen.adopt_size()? {
            return Ok(());
        }
        let size = even(self.screen.size());
        self.video.restart(size, self.content)?;
        let now = Instant::now();
        self.schedule.set_bitrate(self.video.bitrate_bps(), now);
        self.schedule.want_keyframe();
        self.unconverted = Rows::all(size.height);
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(self.screen.pixels().len() as u64);
        self.follow_pointer()?;
        self.size.send_replace(size);
        self.events.send(Event::Resized(size));
        self.send(now, true)
    }

    /// Looks up the shape of the cursor.
    fn look_at_cursor(&mut self) -> Result<(), Error> {
        self.pointer.stale = false;
        let cursor = self.screen.cursor()?;
        if cursor == self.pointer.cursor && self.started {
            return Ok(());
        }
        match self.pointer.mode {
            CursorMode::Client => {
                let shape = cursor.as_ref().map(Cursor::shape).transpose()?;
                self.events.send(Event::Cursor(shape));
            }
            CursorMode::Embedded => {
                self.uncover();
                self.schedule.damaged(Instant::now());
            }
        }
        self.pointer.cursor = cursor;
        Ok(())
    }

    /// With an embedded cursor, moves it to where the pointer is. Answers whether it changed the picture.
    fn follow_pointer(&mut self) -> Result<bool, Error> {
        let CursorMode::Embedded = self.pointer.mode else { return Ok(false) };
        let at = self.screen.pointer()?;
        if self.pointer.drawn_at == Some(at) {
            return Ok(false);
        }
        self.uncover();
        self.pointer.drawn_at = Some(at);
        if let Some(cursor) = &self.pointer.cursor {
            let rows = cursor.rows(at, self.screen.size());
            self.unconverted.add(rows, self.size.borrow().height);
        }
        Ok(true)
    }

    /// The rows under the cursor are to be converted again without it.
    fn uncover(&mut self) {
        if let (Some(cursor), Some(at)) = (&self.pointer.cursor, self.pointer.drawn_at.take()) {
            let rows = cursor.rows(at, self.screen.size());
            self.unconverted.add(rows, self.size.borrow().height);
        }
    }

    /// The screen as it is now, with the cursor.
    fn picture(&mut self) -> Result<Picture, Error> {
        // What is newer than the last capture is still damaged, and so captured again for the encoder.
        while self.screen.grab(&Rows::all(self.screen.size().height))? == Grab::Resized {
            self.follow_size()?;
        }
        let mut picture = cut(self.screen.pixels(), self.screen.stride(), *self.size.borrow());
        if let Some(cursor) = self.screen.cursor()? {
            let at = self.screen.pointer()?;
            cursor.draw(at, &mut picture.pixels, 0, picture.size.width);
        }
        Ok(picture)
    }
}

/// The part of `size` at the top left.
fn cut(pixels: &[u8], stride: usize, size: Size) -> Picture {
    let row = 4 * size.width as usize;
    let rows = pixels.chunks(stride.max(1)).take(size.height as usize);
    Picture { pixels: rows.flat_map(|pixels| &pixels[..row]).copied().collect(), size }
}
