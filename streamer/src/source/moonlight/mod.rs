//! A Moonlight host: its picture and sound are passed through, and viewers' input is sent to it.
//!
//! ```text
//! thread `moonlight`: HostSession::open (launch or resume, RTSP) ──▶ streams until it is lost ──▶ retries
//!     ├── `ml-video`    UDP ──▶ FEC ──▶ frames ──▶ VideoOutlet          these three live as long
//!     ├── `ml-audio`    UDP ──▶ FEC ──▶ Opus ────▶ AudioOutlet          as one session with the host
//!     └── `ml-control`  ENet ◀── input (Sink), keyframe requests, keep-alives
//! ```
//!
//! The protocol itself is in the crate `gamestream`; sockets, threads and clocks are here. Each medium has a
//! thread and a large receive buffer, so that a burst of packets is not lost while another one is processed.
//! The app goes on running on the host when the source ends: `POST /api/hosts/{id}/cancel` ends it.

mod audio;
mod bitstream;
mod control;
mod pictures;
mod session;
mod sink;
mod video;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::backoff::Attempts;
use common::slots::{HostStage, HostStream};
use common::spec::{CursorMode, HostAccess, MoonlightSpec};
use gamestream::input::Input;
use tokio::sync::oneshot;

use self::pictures::Pictures;
use self::session::{Failure, HostSession};
use self::sink::Steering;
use super::ffmpeg;
use super::live::backoff;
use super::live::still::Still;
use super::{Ended, Error, Event, Events, HostStatus, Info, Outlets, Running};
use crate::feed::AudioOutlet;
use crate::input::sink::Sink;
use crate::media::{Picture, Size};
use crate::stats::SourceCounters;

/// How often a thread checks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Timeout for the start of a session: launching an app may take long.
const PATIENCE: Duration = Duration::from_secs(120);
/// A host without a picture this long after its first session began has failed, which is reported.
const FIRST_PICTURE: Duration = Duration::from_secs(20);
/// When a host reports that the app does not run, it is asked once more after this time: it may be about to restart.
const QUIT_CONFIRM: Duration = Duration::from_secs(2);

/// A running source. Dropping it ends the session with the host, and waits for the threads.
pub struct Moonlight {
    shared: Arc<Shared>,
    steering: Option<Arc<Steering>>,
    thread: Option<JoinHandle<()>>,
}

/// What the threads report.
struct Shared {
    info: Mutex<Info>,
    host: Arc<HostStatus>,
    still: Arc<Still>,
    /// The handle is gone.
    stop: AtomicBool,
}

impl Shared {
    fn stops(&self) -> bool {
        self.stop.load(Ordering::Acquire)
    }

    fn stream<T>(&self, change: impl FnOnce(&mut HostStream) -> T) -> T {
        self.host.change(change)
    }

    fn stage(&self, stage: HostStage) {
        self.stream(|stream| {
            stream.stage = stage;
            if stage == HostStage::Streaming {
                stream.failure = None;
            }
        });
    }
}

/// How a session with a host ended.
enum End {
    /// We were told to.
    Stopped,
    /// It has ended for good; the reason.
    Over(Ended),
    /// It is to be retried; the reason.
    Lost(String),
    /// The host has closed it, with this text: the app has ended, or the host itself shuts down.
    Closed(String),
}

/// The result of a retry.
enum Retried {
    Session(Box<HostSession>),
    /// The app was ended on the host.
    Quit,
    /// We are to end.
    Stopped,
}

/// State that the threads of one session share.
struct Life {
    over: AtomicBool,
    ends: SyncSender<End>,
}

impl Life {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Acquire)
    }

    /// Takes the first reason; later ones are dropped.
    fn end(&self, end: End) {
        let _ = self.ends.try_send(end);
    }
}

/// Starts a source of `type` `moonlight`. Blocks until the host streams, or has failed.
///
/// # Errors
/// [`Error::Host`], with a code that says why; or the system has no more threads or descriptors.
#[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
pub fn start(spec: &MoonlightSpec, outlets: Outlets) -> Result<Moonlight, Error> {
    let Some(access) = spec.access.clone() else {
        return Err(Error::Media(
            "source.access: the web-server has not said how the host is reached".into(),
        ));
    };
    let failed = |what: &str| {
        let what = what.to_owned();
        move |source| Error::Io { what, source }
    };
    let Outlets { video, audio, counters, events, shared_dir: _, homes: _, furnish: _, host } = outlets;
    let session = open(spec, &access, false, Instant::now() + PATIENCE, &host)?;
    let info = Info {
        size: Size { width: spec.width, height: spec.height },
        fps: spec.fps,
        audio: true,
        cursor: CursorMode::Embedded,
        input: true,
        microphone: false,
        camera: false,
        codec: bitstream::codec(spec.codec),
        window: None,
        reader: None,
    };
    let shared = Arc::new(Shared {
        info: Mutex::new(info),
        host,
        still: Arc::new(Still::new(ffmpeg::still::newest)),
        stop: AtomicBool::new(false),
    });
    let (steering, inputs) = Steering::new(spec.width, spec.height).map_err(failed("making an eventfd"))?;
    let steering = Arc::new(steering);
    let pictures =
        Pictures::new(video, Arc::clone(&counters), events.clone(), Arc::clone(&shared), spec.codec);
    let worker = Worker {
        spec: spec.clone(),
        access,
        shared: Arc::clone(&shared),
        steering: Arc::clone(&steering),
        inputs,
        pictures,
        audio,
        counters,
        events,
        attempts: backoff::attempts(),
    };
    let run = move || worker.run(session);
    let thread = crate::thread::spawn("moonlight", run);
    let thread = Some(thread.map_err(failed("starting thread \"moonlight\""))?);
    Ok(Moonlight { shared, steering: Some(steering), thread })
}

impl Drop for Moonlight {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Release);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread of a Moonlight host panicked");
        }
    }
}

impl Running for Moonlight {
    fn info(&self) -> Info {
        self.shared.info.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        self.shared.still.picture()
    }

    fn resize(&self, _: Size) -> oneshot::Receiver<Result<(), Error>> {
        let (answer, done) = oneshot::channel();
        // It is held below.
        let _ = answer.send(Err(Error::Unsupported { kind: "moonlight", what: "size of its own choice" }));
        done
    }

    fn take_sink(&mut self) -> Option<Box<dyn Sink>> {
        self.steering.take().map(|steering| Box::new(sink::Remote::new(steering)) as Box<dyn Sink>)
    }
}

/// State of the thread `moonlight`, which it lends to the threads of a session.
struct Worker {
    spec: MoonlightSpec,
    access: Box<HostAccess>,
    shared: Arc<Shared>,
    steering: Arc<Steering>,
    inputs: Receiver<Input>,
    pictures: Pictures,
    audio: AudioOutlet,
    counters: Arc<SourceCounters>,
    events: Events,
    attempts: Attempts,
}

impl Worker {
    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn run(mut self, mut session: HostSession) {
        let born = Instant::now();
        let mut has_shown = false;
        loop {
            let began = Instant::now();
            let (reason, closed) = match self.stream(&session) {
                End::Stopped => return,
                End::Over(ended) => return self.ended(ended),
                End::Lost(reason) => (reason, false),
                End::Closed(reason) => (reason, true),
            };
            has_shown |= self.shared.host.get().is_some_and(|stream| stream.stage == HostStage::Streaming);
            if !has_shown && born.elapsed() >= FIRST_PICTURE {
                return self.ended(Ended::Failed(reason));
            }
            self.pictures.offline();
            self.shared.host.change(|stream| stream.fail("host_lost", &reason));
            self.lost(reason.clone());
            match self.retry(began.elapsed(), closed) {
                Retried::Session(begun) => session = *begun,
                Retried::Quit => return self.ended(Ended::Finished(format!("{}: {reason}", Failure::Quit))),
                Retried::Stopped => return,
            }
        }
    }

    /// Retries until a session begins. `closed`: the app may have been ended on purpose. It was if it no longer runs,
    /// unless the host was unreachable meanwhile, as an app does not survive its host.
    #[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
    fn retry(&mut self, online: Duration, closed: bool) -> Retried {
        let mut online = online;
        let mut may_be_quit = closed;
        let mut says_quit = false;
        loop {
            let wait = match says_quit {
                true => QUIT_CONFIRM,
                false => self.attempts.failed(std::mem::take(&mut online), backoff::random()),
            };
            if !self.pause(wait) {
                return Retried::Stopped;
            }
            let until = Instant::now() + PATIENCE;
            let host = &self.shared.host;
            match open(&self.spec, &self.access, may_be_quit, until, host) {
                Ok(session) => return Retried::Session(Box::new(session)),
                Err(Failure::Quit) if says_quit => return Retried::Quit,
                Err(Failure::Quit) => says_quit = true,
                Err(failure) => {
                    may_be_quit &= !failure.is_unreachable();
                    says_quit = false;
                    self.lost(failure.to_string());
                }
            }
        }
    }

    /// Streams one session until its end.
    fn stream(&mut self, session: &HostSession) -> End {
        let (ends, ended) = sync_channel(1);
        let life = Life { over: AtomicBool::new(false), ends };
        let wishes = control::Wishes::default();
        self.pictures.begin();
        let Self { shared, steering, inputs, pictures, audio, counters, events, .. } = self;
        let demand = Arc::clone(pictures.demand());
        // Drops requests for the previous session.
        while inputs.try_recv().is_ok() {}
        std::thread::scope(|scope| {
            let life = &life;
            let wishes = &wishes;
            let steering = &**steering;
            let around = control::Around { steering, demand: &demand, life, wishes, shared, events };
            let spawned = [
                named("ml-video", scope, move || video::run(session, pictures, life, wishes, steering)),
                named("ml-audio", scope, move || audio::run(session, audio, counters, life)),
                named("ml-control", scope, move || control::run(session, inputs, around)),
            ];
            let end = match spawned.into_iter().find_map(Result::err) {
                Some(error) => End::Lost(format!("the system has no thread for it: {error}")),
                None => wait(&ended, shared),
            };
            life.over.store(true, Ordering::Release);
            steering.wake();
            end
        })
    }

    /// Waits; false when the source is to end.
    #[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
    fn pause(&self, wait: Duration) -> bool {
        let until = Instant::now() + wait;
        while !self.shared.stops() {
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return true;
            }
            std::thread::sleep(left.min(LOOK));
        }
        false
    }

    fn lost(&self, reason: String) {
        tracing::warn!(%reason, "a Moonlight host is lost");
        self.shared.stage(HostStage::Lost);
        self.tell(Event::Offline(reason));
    }

    fn ended(&self, ended: Ended) {
        self.shared.stage(HostStage::Ended);
        self.tell(Event::Ended(ended));
    }

    /// Sends an event; waits for room as long as the control loop reads.
    fn tell(&self, event: Event) {
        let mut event = Some(event);
        while let Some(this) = event.take().filter(|_| !self.shared.stops()) {
            event = self.events.try_send(this).err();
            if event.is_some() {
                std::thread::sleep(LOOK);
            }
        }
    }
}

/// Begins a session, and reports its progress and failures.
fn open(
    spec: &MoonlightSpec,
    access: &HostAccess,
    may_be_quit: bool,
    until: Instant,
    host: &HostStatus,
) -> Result<HostSession, Failure> {
    let stage = |stage| host.change(|stream| stream.stage = stage);
    let session = HostSession::open(spec, access, may_be_quit, until, &stage);
    match &session {
        Ok(_) => stage(HostStage::Waiting),
        Err(failure) => host.change(|stream| stream.fail(failure.code().as_str(), &failure.to_string())),
    }
    session
}

fn named<'scope>(
    name: &str,
    scope: &'scope std::thread::Scope<'scope, '_>,
    run: impl FnOnce() + Send + 'scope,
) -> std::io::Result<()> {
    std::thread::Builder::new().name(name.into()).spawn_scoped(scope, run).map(drop)
}

fn wait(ended: &Receiver<End>, shared: &Shared) -> End {
    loop {
        match ended.recv_timeout(LOOK) {
            Ok(end) => return end,
            _ if shared.stops() => return End::Stopped,
            Err(RecvTimeoutError::Timeout) => {}
            Err(RecvTimeoutError::Disconnected) => return End::Lost("its threads have ended".into()),
        }
    }
}
