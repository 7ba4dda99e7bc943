//! The built-in test source: a moving picture with a frame number and a time code on it
//! ([`common::timecode`]), and a tone that clicks each second, when the picture flashes. Its noise is new in each
//! picture, so it is encoded as a film.
//!
//! ```text
//! thread `test-video`: Scene (BGRX) ──▶ Video ──▶ feed
//! thread `test-tone`:  Tone (samples) ──▶ Opus ──▶ feed
//! ```
//!
//! Frame `n` is due at `start + n / fps`, whatever happened before, so the frame number is a clock.
//! Unwatched, it draws 5 frames a second and encodes none; frame numbers then leave gaps. With readers of its
//! pictures ([`Frames`]) it draws all of them.

mod scene;
mod tone;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::media::VideoCodec;
use common::spec::{CursorMode, TestSpec};
use common::timecode::TimeCode;
use tokio::sync::{oneshot, watch};

use self::scene::Scene;
use self::tone::Tone;
use super::video::{Outbox, Settings, Video};
use super::worker::{Inbox, Next, Request, Worker};
use super::{Ended, Error, Event, Frames, Info, Outlets, Running};
use crate::encode::content::Content;
use crate::encode::encoder::Order;
use crate::media::{Picture, Size};
use crate::stats::SourceCounters;

/// Frames drawn per second while nobody watches.
const UNWATCHED_FPS: u32 = 5;

/// A running test source.
pub struct Test {
    video: Worker<Request>,
    frames: Arc<Frames>,
    _tone: Option<Tone>,
    size: watch::Receiver<Size>,
    fps: u32,
    audio: bool,
}

/// Starts the picture and the tone.
///
/// # Errors
/// [`Error`] when an encoder or a thread does not start.
pub fn start(spec: &TestSpec, outlets: Outlets) -> Result<Test, Error> {
    let timeline = Timeline::begin();
    let size = Size { width: spec.width, height: spec.height };
    let settings = Settings { fps: spec.fps, bitrate_kbps: spec.bitrate_kbps };
    let counters = outlets.counters;
    let frames = Arc::new(Frames::of(Arc::clone(outlets.video.demand())));
    let shown = Arc::clone(&frames);
    let video = Video::new(settings, size, Content::Film, outlets.video, Arc::clone(&counters))?;
    let tone = spec.audio.then(|| tone::start(timeline, outlets.audio, Arc::clone(&counters))).transpose()?;
    let (size_now, size) = watch::channel(size);
    let events = Outbox::new(outlets.events);
    let fps = spec.fps;
    let video = Worker::spawn("test-video", move |inbox| {
        let scene = Scene::new(*size_now.borrow());
        let mut show = Show {
            timeline,
            fps,
            scene,
            video,
            frames: shown,
            counters,
            events,
            size: size_now,
            last: None,
            steady: false,
            started: false,
        };
        if let Err(error) = show.run(&inbox) {
            show.events.send(Event::Ended(Ended::Failed(error.to_string())));
        }
    })?;
    Ok(Test { video, frames, _tone: tone, size, fps, audio: spec.audio })
}

impl Running for Test {
    fn info(&self) -> Info {
        let size = *self.size.borrow();
        let fps = self.fps;
        let audio = self.audio;
        let cursor = CursorMode::Embedded;
        let codec = VideoCodec::H264;
        Info {
            size,
            fps,
            audio,
            cursor,
            input: false,
            microphone: false,
            camera: false,
            codec,
            window: None,
            reader: None,
        }
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        self.video.picture()
    }

    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>> {
        self.video.resize(size)
    }

    fn frames(&self) -> Option<Arc<Frames>> {
        Some(Arc::clone(&self.frames))
    }
}

/// The time of the source, which the picture and the tone share.
#[derive(Debug, Clone, Copy)]
struct Timeline {
    start: Instant,
    /// `start` within its second of UTC.
    offset: Duration,
}

impl Timeline {
    #[expect(clippy::disallowed_methods, reason = "the clock of its pictures begins with it")]
    fn begin() -> Self {
        Self { start: Instant::now(), offset: Duration::from_nanos(u64::from(utc().subsec_nanos())) }
    }

    /// Time since a second began, by the clock of UTC as it was at the start.
    fn within_second(&self, at: Instant) -> Duration {
        let time = at.saturating_duration_since(self.start) + self.offset;
        Duration::from_nanos(u64::from(time.subsec_nanos()))
    }
}

#[expect(clippy::disallowed_methods, reason = "its pictures show the time")]
fn utc() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// State of the thread that draws and encodes.
struct Show {
    timeline: Timeline,
    fps: u32,
    scene: Scene,
    video: Video,
    frames: Arc<Frames>,
    counters: Arc<SourceCounters>,
    events: Outbox,
    size: watch::Sender<Size>,
    /// Number of the frame drawn last.
    last: Option<u64>,
    /// Whether it was drawn for a reader that gets every frame.
    steady: bool,
    started: bool,
}

impl Show {
    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn run(&mut self, inbox: &Inbox<Request>) -> Result<(), Error> {
        let demand = Arc::clone(self.video.outlet().demand());
        let mut keyframe = true;
        loop {
            match inbox.next() {
                Next::Command(command) => self.handle(command)?,
                Next::Stop => return Ok(()),
                Next::Empty => {
                    demand.reset_wake();
                    keyframe |= demand.take_keyframe();
                    let encoded = keyframe || demand.watchers() > 0;
                    let wanted = encoded || self.frames.wanted();
                    let now = Instant::now();
                    let due = self.due(wanted);
                    if now >= due {
                        self.draw(now, wanted);
                        if wanted {
                            self.convert(now)?;
                        }
                        if encoded {
                            self.send(now, keyframe)?;
                            keyframe = false;
                        }
                        continue;
                    }
                    self.events.flush();
                    let until = self.events.retry_at(now).map_or(due, |retry| retry.min(due));
                    inbox.sleep(&[demand.wake_fd()], Some(until)).map_err(poll_failed)?;
                }
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn handle(&mut self, request: Request) -> Result<(), Error> {
        match request {
            Request::Picture(answer) => {
                if self.last.is_none() {
                    self.draw(Instant::now(), true);
                }
                // The requester may be gone.
                let _ = answer.send(self.scene.picture());
            }
            Request::Pointer(no_pointer) => drop(no_pointer),
            Request::Resize(size, answer) => {
                let result = self.video.restart(size);
                if result.is_ok() {
                    self.scene = Scene::new(size);
                    let now = Instant::now();
                    self.draw(now, true);
                    self.convert(now)?;
                    self.size.send_replace(size);
                    self.events.send(Event::Resized(size));
                    self.send(now, true)?;
                }
                let _ = answer.send(result);
            }
        }
        Ok(())
    }

    /// When the next frame is due.
    fn due(&self, wanted: bool) -> Instant {
        let step = if wanted { 1 } else { (self.fps / UNWATCHED_FPS).max(1) };
        let next = self.last.map_or(0, |last| last + u64::from(step));
        self.timeline.start + Duration::from_nanos(next * 1_000_000_000 / u64::from(self.fps))
    }

    /// Draws the frame of `now`.
    #[expect(clippy::disallowed_methods, reason = "measures how long it takes")]
    fn draw(&mut self, now: Instant, wanted: bool) {
        let elapsed = now.saturating_duration_since(self.timeline.start);
        // Due times are rounded down to nanoseconds, so the number of the frame is that of a moment later.
        let number = ((elapsed.as_nanos() + 1) * u128::from(self.fps) / 1_000_000_000) as u64;
        if let Some(last) = self.last.filter(|_| wanted && self.steady) {
            self.counters.dropped.add(number.saturating_sub(last + 1));
        }
        (self.last, self.steady) = (Some(number), wanted);
        let code = TimeCode { frame: number as u32, time_us: utc().as_micros() as u64 };
        let start = Instant::now();
        self.scene.draw(code, elapsed, self.timeline.within_second(now));
        self.counters.capture_us.add_time(start.elapsed());
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(self.scene.changed_bytes());
    }

    /// Converts the rows that have changed, for encoders.
    fn convert(&mut self, captured: Instant) -> Result<(), Error> {
        self.scene.take_changed(|rows, pixels, stride| self.video.convert(rows, pixels, stride))?;
        if self.frames.wanted() {
            self.frames.copy(self.video.picture(), captured, self.video.content());
        }
        Ok(())
    }

    fn send(&mut self, captured: Instant, keyframe: bool) -> Result<(), Error> {
        let order = Order { captured, keyframe, max_bytes: usize::MAX };
        self.video.send(&order, Duration::ZERO)?;
        if !self.started {
            self.started = true;
            self.events.send(Event::Started);
        }
        Ok(())
    }
}

fn poll_failed(source: std::io::Error) -> Error {
    Error::Io { what: "waiting".into(), source }
}
