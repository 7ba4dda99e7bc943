//! The thread that captures and encodes a desktop, or a window.
//!
//! ```text
//! X damage ─▶ Surface: rows into shared memory ─▶ Video: convert rows ─▶ encode ─▶ feed
//!                 │                                   ▲       └─▶ Frames ─▶ further renditions
//!                 └─ cursor (embedded) drawn into ────┘ a copy of the rows that it covers
//! ```
//!
//! It sleeps on the X connection, the feed's demand and its commands at once; [`Schedule`] says what to do.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::ops::Range;
use std::sync::Arc;
use std::time::Instant;

use common::slots::Pixel;
use common::spec::CursorMode;
use tokio::sync::watch;

use super::canvas::Grab;
use super::cursor::{Answer, Cursor, Looks, Onlookers, Shapes};
use super::surface::{Change, Surface};
use crate::encode::content::Content;
use crate::encode::encoder::Order;
use crate::encode::rows::Rows;
use crate::feed::VideoOutlet;
use crate::media::{Picture, Size};
use crate::memory::{self, Unwatched};
use crate::source::schedule::{Consumers, Schedule, Step};
use crate::source::video::{Outbox, Settings, Video};
use crate::source::worker::{Inbox, Next, Request};
use crate::source::{Ended, Error, Event, Frames};
use crate::stats::SourceCounters;

/// State of the thread.
pub struct Capture<S> {
    surface: S,
    video: Video,
    frames: Arc<Frames>,
    schedule: Schedule,
    unwatched: Unwatched,
    /// Rows that are captured but not yet converted for the encoder.
    unconverted: Rows,
    /// `None` for a window, whose cursor is that of its desktop.
    pointer: Option<Pointer>,
    /// Rows with the cursor drawn into them.
    composed: Vec<u8>,
    counters: Arc<SourceCounters>,
    events: Outbox,
    size: watch::Sender<Size>,
    started: bool,
}

/// The mouse pointer, as far as it is known here.
struct Pointer {
    mode: CursorMode,
    onlookers: Arc<Onlookers>,
    looks: Looks,
    shapes: Shapes,
    /// Serial of the shape that the server reported last.
    serial: Option<u32>,
    /// The shape when it was last looked up.
    cursor: Option<Arc<Cursor>>,
    /// Its position in the encoder's picture; only with [`CursorMode::Embedded`].
    drawn_at: Option<(i32, i32)>,
}

/// Who shows the cursor of a surface, and how.
pub struct Pointing {
    /// Whether viewers draw it, or it is drawn into the picture.
    pub mode: CursorMode,
    /// Who shows it beside the surface's own viewers.
    pub onlookers: Arc<Onlookers>,
}

/// The size that is encoded of a surface: made even.
pub fn even(size: Size) -> Size {
    Size { width: size.width & !1, height: size.height & !1 }
}

impl<S: Surface> Capture<S> {
    /// Captures everything once.
    ///
    /// # Errors
    /// [`Error`] when the X server is gone or the encoder does not start.
    pub fn new(
        mut surface: S,
        settings: Settings,
        pointing: Option<Pointing>,
        outlet: VideoOutlet,
        frames: Arc<Frames>,
        counters: Arc<SourceCounters>,
        events: Outbox,
    ) -> Result<(Self, watch::Receiver<Size>), Error> {
        // Starting the encoder takes time, in which the surface can become ready.
        let size = even(surface.size());
        let mut video = Video::new(settings, size, Content::Screen, outlet, Arc::clone(&counters))?;
        surface.prepare()?;
        if surface.grab(&Rows::all(surface.size().height))? == Grab::Resized {
            surface.adopt_size()?;
        }
        let size = even(surface.size());
        if size != video.size() {
            video.restart(size)?;
        }
        let schedule = Schedule::new(settings.fps, video.terms(), Instant::now());
        let unconverted = Rows::all(size.height);
        counters.captured.add(1);
        let (size, size_now) = watch::channel(size);
        let pointer = pointing.map(|Pointing { mode, onlookers }| Pointer {
            mode,
            onlookers,
            looks: Looks::new(settings.fps),
            shapes: Shapes::default(),
            serial: None,
            cursor: None,
            drawn_at: None,
        });
        let capture = Self {
            surface,
            video,
            frames,
            schedule,
            unwatched: Unwatched::default(),
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
    /// [`Error`] of the X server or the encoder.
    pub fn run(&mut self, inbox: &Inbox<Request>) -> Result<(), Error> {
        let demand = Arc::clone(self.video.outlet().demand());
        loop {
            while let Some(change) = self.surface.next_change(Instant::now())? {
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
            demand.reset_wake();
            let audience = self.audience(demand.watchers());
            self.schedule.audience(audience);
            if demand.take_keyframe() {
                self.schedule.want_keyframe();
            }
            let now = Instant::now();
            if self.unwatched.notice(now, audience != Consumers::Nobody) {
                self.shrink();
            }
            self.schedule.set_terms(self.video.terms(), now);
            let look_at = self.pointer.as_ref().and_then(|pointer| pointer.look_at(now, audience));
            if look_at.is_some_and(|at| at <= now) {
                self.look_at_cursor(now)?;
                continue;
            }
            if self.frames.take_newcomer() {
                self.show(now)?;
            }
            match self.schedule.next(now) {
                Step::Capture => {
                    self.capture(now)?;
                    if self.frames.wanted() {
                        self.show(now)?;
                    }
                }
                Step::Send { capture, keyframe } => {
                    if capture {
                        self.capture(now)?;
                    }
                    if !self.schedule.nothing_to_send() {
                        self.send(now, keyframe)?;
                    }
                }
                Step::Refine => self.refine(now)?,
                Step::Sleep(until) => {
                    self.events.flush();
                    let others = [
                        self.events.retry_at(now),
                        self.surface.wake_at(now),
                        look_at,
                        self.unwatched.deadline(),
                    ];
                    let until = until.into_iter().chain(others.into_iter().flatten()).min();
                    inbox
                        .sleep(&[self.surface.fd(), demand.wake_fd()], until)
                        .map_err(|source| Error::Io { what: "waiting for the X server".into(), source })?;
                }
            }
        }
    }

    fn audience(&self, watchers: u32) -> Consumers {
        match watchers {
            0 if self.frames.wanted() => Consumers::Renditions,
            0 => Consumers::Nobody,
            _ => Consumers::Viewers,
        }
    }

    /// Nobody has watched for long.
    fn shrink(&mut self) {
        self.video.shrink();
        self.composed = Vec::new();
        memory::give_back();
    }

    /// Reports why the thread ended.
    pub fn ended(mut self, reason: String) {
        self.events.send(Event::Ended(Ended::Failed(reason)));
    }

    fn changed(&mut self, change: Change) -> Result<(), Error> {
        match change {
            Change::Damage | Change::Pointer => self.schedule.damaged(Instant::now()),
            Change::Cursor(serial) => {
                if let Some(pointer) = &mut self.pointer {
                    pointer.serial = Some(serial);
                    pointer.looks.changed();
                }
            }
            Change::Size => self.follow_size()?,
            Change::Window(info) => self.events.send(Event::Window(info)),
        }
        Ok(())
    }

    fn handle(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Picture(answer) => {
                let picture = self.picture()?;
                // The requester may be gone.
                let _ = answer.send(picture);
            }
            Request::Pointer(answer) => {
                if let Some(pixel) = inside(self.surface.pointer()?, *self.size.borrow()) {
                    let _ = answer.send(pixel);
                }
            }
            Request::Resize(size, answer) => {
                let result = if size == *self.size.borrow() { Ok(()) } else { self.surface.set_size(size) };
                self.follow_size()?;
                let _ = answer.send(result);
            }
        }
        Ok(())
    }

    /// Captures the rows that were drawn to.
    fn capture(&mut self, now: Instant) -> Result<(), Error> {
        let rows = self.surface.take_damage()?;
        if !rows.is_empty() {
            if self.surface.grab(&rows)? == Grab::Resized {
                return self.follow_size();
            }
            self.counters.captured.add(1);
            self.counters.captured_bytes.add(rows.count() as u64 * self.surface.stride() as u64);
            self.counters.capture_us.add_time(now.elapsed());
            self.unconverted.extend(&rows, self.size.borrow().height);
        }
        let moved = self.follow_pointer()?;
        let left_out = self.schedule.captured(now, moved || !rows.is_empty());
        self.counters.dropped.add(left_out);
        Ok(())
    }

    /// Converts the rows that have changed, for encoders.
    fn show(&mut self, captured: Instant) -> Result<(), Error> {
        for strip in std::mem::take(&mut self.unconverted).strips() {
            self.convert(strip.clone())?;
        }
        if self.frames.wanted() {
            self.frames.copy(self.video.picture(), captured, self.video.content());
        }
        Ok(())
    }

    /// Converts the rows that have changed, and encodes.
    fn send(&mut self, captured: Instant, keyframe: bool) -> Result<(), Error> {
        if !self.unconverted.is_empty() {
            self.show(captured)?;
        }
        let max_bytes = self.schedule.picture_bytes(captured, keyframe);
        let sent = self.video.send(&Order { captured, keyframe, max_bytes }, self.schedule.pause())?;
        // There is an encoder to give up again, whoever it was for.
        self.unwatched = Unwatched::Watched;
        let now = Instant::now();
        // It may be of another kind by now.
        self.schedule.set_terms(self.video.terms(), now);
        self.schedule.sent(now, sent.len_bytes, sent.is_complete);
        if !self.started {
            self.started = true;
            self.events.send(Event::Started);
        }
        Ok(())
    }

    /// Adds detail to the picture at rest.
    fn refine(&mut self, now: Instant) -> Result<(), Error> {
        let max_bytes = self.schedule.refinement_bytes(now);
        match self.video.refine(now, max_bytes)? {
            Some(sent) => {
                self.schedule.refined(Instant::now(), sent.len_bytes, sent.is_complete);
                Ok(())
            }
            None => self.send(now, true),
        }
    }

    fn convert(&mut self, rows: Range<u32>) -> Result<(), Error> {
        let stride = self.surface.stride();
        let bytes = rows.start as usize * stride..rows.end as usize * stride;
        let pixels = &self.surface.pixels()[bytes];
        let drawn = self.pointer.as_ref().and_then(Pointer::drawn);
        let covered = drawn.map(|(cursor, at)| (cursor, at, cursor.rows(at, self.surface.size())));
        match covered {
            Some((cursor, at, under)) if under.start < rows.end && rows.start < under.end => {
                self.composed.clear();
                self.composed.extend_from_slice(pixels);
                cursor.draw(at, &mut self.composed, rows.start, self.surface.size().width);
                self.video.convert(rows, &self.composed, stride)
            }
            _ => self.video.convert(rows, pixels, stride),
        }
    }

    /// Adopts another size of the surface, if it has one. The next unit is a keyframe of that size.
    fn follow_size(&mut self) -> Result<(), Error> {
        if !self.surface.adopt_size()? {
            // Its pixels may have changed nevertheless.
            self.schedule.damaged(Instant::now());
            return Ok(());
        }
        let size = even(self.surface.size());
        self.video.restart(size)?;
        let now = Instant::now();
        self.schedule.set_terms(self.video.terms(), now);
        self.schedule.want_keyframe();
        self.unconverted = Rows::all(size.height);
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(self.surface.pixels().len() as u64);
        self.follow_pointer()?;
        self.size.send_replace(size);
        self.events.send(Event::Resized(size));
        self.send(now, true)
    }

    /// Queries the shape of the cursor, and shows it.
    fn look_at_cursor(&mut self, now: Instant) -> Result<(), Error> {
        let Some(pointer) = &mut self.pointer else { return Ok(()) };
        let first = pointer.looks.looked(now);
        let cursor = pointer.shape(&self.surface)?;
        if cursor == pointer.cursor && !first {
            return Ok(());
        }
        match pointer.mode {
            CursorMode::Client => {
                let shape = cursor.as_deref().map(Cursor::shape).transpose()?;
                self.events.send(Event::Cursor(shape));
            }
            CursorMode::Embedded => {
                pointer.uncover(&mut self.unconverted, self.surface.size());
                self.schedule.damaged(now);
            }
        }
        pointer.cursor = cursor;
        Ok(())
    }

    /// Moves an embedded cursor to the pointer's position. Returns whether this changed the picture.
    fn follow_pointer(&mut self) -> Result<bool, Error> {
        let Some(pointer) = self.pointer.as_mut().filter(|pointer| pointer.mode == CursorMode::Embedded)
        else {
            return Ok(false);
        };
        let at = self.surface.pointer()?;
        if pointer.drawn_at == Some(at) {
            return Ok(false);
        }
        pointer.uncover(&mut self.unconverted, self.surface.size());
        pointer.drawn_at = Some(at);
        if let Some(cursor) = &pointer.cursor {
            let rows = cursor.rows(at, self.surface.size());
            self.unconverted.add(rows, self.size.borrow().height);
        }
        Ok(true)
    }

    /// The surface as it is now, with the cursor.
    fn picture(&mut self) -> Result<Picture, Error> {
        // Rows that are newer than the last capture stay damaged, and are captured again for the encoder.
        while self.surface.grab(&Rows::all(self.surface.size().height))? == Grab::Resized {
            self.follow_size()?;
        }
        let mut picture = cut(self.surface.pixels(), self.surface.stride(), *self.size.borrow());
        let pointer = self.pointer.as_mut();
        if let Some(cursor) = pointer.map(|pointer| pointer.shape(&self.surface)).transpose()?.flatten() {
            let at = self.surface.pointer()?;
            cursor.draw(at, &mut picture.pixels, 0, picture.size.width);
        }
        Ok(picture)
    }
}

impl Pointer {
    /// When its shape is to be queried, if at all.
    fn look_at(&self, now: Instant, audience: Consumers) -> Option<Instant> {
        self.looks.due_at(now, audience != Consumers::Nobody || self.onlookers.any())
    }

    /// Its current shape; `None` if no part of it can be seen. Known shapes are not queried again.
    fn shape(&mut self, surface: &impl Surface) -> Result<Option<Arc<Cursor>>, Error> {
        if let Some(known) = self.serial.and_then(|serial| self.shapes.get(serial)) {
            return Ok(known.cursor.clone());
        }
        match surface.cursor()? {
            Answer::Shape { serial, cursor } => {
                self.shapes.add(serial, cursor.clone());
                Ok(cursor)
            }
            // An unknown shape is shown as the previous one, or as an arrow.
            Answer::Unknown => Ok(Some(self.cursor.clone().unwrap_or_else(|| Arc::new(Cursor::arrow())))),
        }
    }

    /// The cursor that is drawn into the encoder's picture, and its position.
    fn drawn(&self) -> Option<(&Cursor, (i32, i32))> {
        Some((self.cursor.as_deref()?, self.drawn_at?))
    }

    /// The rows of a surface of `size` under it are to be converted again without it.
    fn uncover(&mut self, unconverted: &mut Rows, size: Size) {
        if let Some((cursor, at)) = self.drawn() {
            unconverted.add(cursor.rows(at, size), even(size).height);
        }
        self.drawn_at = None;
    }
}

/// The pixel of a picture at this place, if there is one.
fn inside((x, y): (i32, i32), size: Size) -> Option<Pixel> {
    let pixel = Pixel { x: u32::try_from(x).ok()?, y: u32::try_from(y).ok()? };
    (pixel.x < size.width && pixel.y < size.height).then_some(pixel)
}

/// The part of `size` at the top left.
fn cut(pixels: &[u8], stride: usize, size: Size) -> Picture {
    let row = 4 * size.width as usize;
    let rows = pixels.chunks(stride.max(1)).take(size.height as usize);
    Picture { pixels: rows.flat_map(|pixels| &pixels[..row]).copied().collect(), size }
}
