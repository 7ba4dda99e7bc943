//! Shared by all sources from elsewhere: a thread, what they publish, and
//! how they are lost and retried.
//!
//! ```text
//! thread `rtsp`, `ffmpeg`, …: task ──▶ Publisher ──▶ VideoOutlet, AudioOutlet
//!            ▲                              └──▶ newest GOP ──(asked)──▶ picture
//!  Live ─────┘ stop
//!
//!        first picture           lost, Event::Offline
//!  Trying ───────────▶ Online ─────────────────────────▶ Trying …
//!        Event::Started
//! ```
//!
//! The task is asynchronous but has its thread to itself: it publishes what arrives at once. Such a source
//! cannot produce a keyframe on request, as its encoder is not ours: peers that join are served from the feed's cached GOP,
//! or wait for the next keyframe.

pub mod av1;
pub mod backoff;
pub mod clock;
pub mod h264;
pub mod h265;
pub mod open_codecs;
pub mod opus;
pub mod still;
pub mod watch;

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::backoff::Attempts;
use common::media::VideoCodec;
use common::slots::Reader;
use common::spec::CursorMode;
use tokio::sync::oneshot;
use tokio_util::sync::CancellationToken;

use self::h264::{Colours, Format};
use self::still::{Decode, Still};
use super::{Ended, Error, Event, Events, Info, Outlets, Running};
use crate::feed::{AudioOutlet, VideoOutlet};
use crate::media::{AccessUnit, AudioPacket, Picture, Size};
use crate::stats::SourceCounters;

/// Frame rate until it is known.
const UNKNOWN_FPS: u32 = 25;
/// Pictures between two estimates of the frame rate.
const FPS_SAMPLE: u32 = 30;
/// Timeout for work after the end of the task (saying goodbye to a camera).
const GOODBYE: Duration = Duration::from_millis(500);

/// A source that comes from elsewhere. Dropping it stops its thread and waits for it.
pub struct Live {
    kind: &'static str,
    shared: Arc<Shared>,
    stop: CancellationToken,
    thread: Option<JoinHandle<()>>,
}

/// State that the thread shares.
#[derive(Debug)]
struct Shared {
    info: Mutex<Info>,
    still: Arc<Still>,
}

impl Live {
    /// Runs `task` on a thread called `kind` until it ends or the handle is dropped; it is then dropped, wherever
    /// it waits. It receives the publisher. Pictures of codecs other than H.264 are decoded by `decode`.
    ///
    /// # Errors
    /// The system has no more threads or descriptors.
    pub fn start<T, F>(kind: &'static str, outlets: Outlets, decode: Decode, task: T) -> Result<Self, Error>
    where
        T: FnOnce(Publisher) -> F + Send + 'static,
        F: Future<Output = ()>,
    {
        let failed = |source| Error::Io { what: format!("starting thread {kind:?}"), source };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let info = Info {
            size: Size { width: 0, height: 0 },
            fps: UNKNOWN_FPS,
            audio: false,
            cursor: CursorMode::Embedded,
            input: false,
            microphone: false,
            camera: false,
            codec: VideoCodec::H264,
            window: None,
            reader: None,
        };
        let still = Arc::new(Still::new(decode));
        let shared = Arc::new(Shared { info: Mutex::new(info), still });
        let publisher = Publisher::new(outlets, Arc::clone(&shared));
        let stop = CancellationToken::new();
        let stopped = stop.clone();
        let run = move || {
            runtime.block_on(async {
                stopped.run_until_cancelled(task(publisher)).await;
                // A timeout only means that a camera no longer responds.
                let _ = tokio::time::timeout(GOODBYE, background()).await;
            });
        };
        let thread = crate::thread::spawn(kind, run).map_err(failed)?;
        Ok(Self { kind, shared, stop, thread: Some(thread) })
    }
}

/// Waits for work that runs beside the task.
async fn background() {
    const LOOK_AGAIN: Duration = Duration::from_millis(5);
    while tokio::runtime::Handle::current().metrics().num_alive_tasks() > 0 {
        tokio::time::sleep(LOOK_AGAIN).await;
    }
}

impl Drop for Live {
    fn drop(&mut self) {
        self.stop.cancel();
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!(kind = self.kind, "a source's thread panicked");
        }
    }
}

impl Running for Live {
    /// The size is 0×0 before the first [`Event::Started`].
    fn info(&self) -> Info {
        self.shared.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        self.shared.still.picture()
    }

    fn resize(&self, _: Size) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, done) = oneshot::channel();
        // It is held below.
        let _ = answer.send(Err(Error::Unsupported { kind: self.kind, what: "size of its own choice" }));
        done
    }
}

/// Where a task publishes; keeps whether the source is online. Owned by the task.
pub struct Publisher {
    video: VideoOutlet,
    audio: AudioOutlet,
    counters: Arc<SourceCounters>,
    events: Events,
    shared: Arc<Shared>,
    state: State,
    attempts: Attempts,
    rate: Rate,
}

enum State {
    /// There is no picture yet; the reason that was reported.
    Trying(Option<String>),
    /// There are pictures, since then.
    Online(Instant),
}

impl Publisher {
    fn new(outlets: Outlets, shared: Arc<Shared>) -> Self {
        let Outlets { video, audio, counters, events, shared_dir: _, homes: _, furnish: _, host: _ } =
            outlets;
        let state = State::Trying(None);
        let attempts = backoff::attempts();
        let rate = Rate::default();
        Self { video, audio, counters, events, shared, state, attempts, rate }
    }

    /// Sets whether it has sound from now on.
    pub fn has_audio(&mut self, audio: bool) {
        self.info(|info| info.audio = audio);
    }

    /// Sets the program that reads it from now on.
    pub fn has_reader(&mut self, reader: Reader) {
        self.info(|info| info.reader = Some(reader));
    }

    /// There have been pictures since it was lost.
    pub fn is_online(&self) -> bool {
        matches!(self.state, State::Online(_))
    }

    /// Publishes a picture. Those before the first keyframe (since it was lost) are dropped. `format` is the content of
    /// its parameter set.
    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    pub async fn video(&mut self, unit: AccessUnit, format: Option<Format>) {
        if matches!(self.state, State::Trying(_)) && !unit.keyframe {
            return;
        }
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(unit.data.len() as u64);
        let counted = self.rate.picture(unit.captured);
        let fps = match self.state {
            State::Trying(_) => format.and_then(|format| format.fps),
            State::Online(_) => counted,
        };
        let changed = self.info(|info| {
            info.fps = fps.unwrap_or(info.fps);
            let recoded = std::mem::replace(&mut info.codec, unit.codec) != unit.codec;
            std::mem::replace(&mut info.size, unit.size) != unit.size || recoded
        });
        self.shared.still.push(&unit, format.map_or_else(Colours::default, |format| format.colours));
        let size = unit.size;
        self.video.publish(unit);
        match self.state {
            State::Trying(_) => {
                self.state = State::Online(Instant::now());
                self.events.send(Event::Started).await;
            }
            State::Online(_) if changed => self.events.send(Event::Resized(size)).await,
            State::Online(_) => {}
        }
    }

    /// Publishes sound.
    pub fn audio(&mut self, packet: AudioPacket) {
        self.counters.audio_captured.add(1);
        self.counters.audio_bytes.add(packet.data.len() as u64);
        self.audio.publish(packet);
    }

    /// The source is lost. Reports this, unless it was reported already, and returns the pause before the retry.
    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    pub async fn lost(&mut self, reason: String) -> Duration {
        let online = match &self.state {
            State::Online(since) => since.elapsed(),
            State::Trying(_) => Duration::ZERO,
        };
        let known = matches!(&self.state, State::Trying(Some(told)) if *told == reason);
        self.rate = Rate::default();
        if !known {
            tracing::warn!(%reason, "a source is lost");
            self.state = State::Trying(Some(reason.clone()));
            self.events.send(Event::Offline(reason)).await;
        }
        self.attempts.failed(online, backoff::random())
    }

    /// The source has ended.
    pub async fn ended(&mut self, end: Ended) {
        self.events.send(Event::Ended(end)).await;
    }

    fn info<T>(&self, change: impl FnOnce(&mut Info) -> T) -> T {
        change(&mut self.shared.info.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Counts pictures per second.
#[derive(Debug, Default)]
struct Rate {
    began: Option<Instant>,
    pictures: u32,
}

impl Rate {
    /// An estimate, whenever there is a new one.
    fn picture(&mut self, captured: Instant) -> Option<u32> {
        let began = *self.began.get_or_insert(captured);
        self.pictures += 1;
        if self.pictures <= FPS_SAMPLE {
            return None;
        }
        let seconds = captured.saturating_duration_since(began).as_secs_f64();
        *self = Self { began: Some(captured), pictures: 1 };
        Some((f64::from(FPS_SAMPLE) / seconds.max(0.001)).round().clamp(1.0, 240.0) as u32)
    }
}
