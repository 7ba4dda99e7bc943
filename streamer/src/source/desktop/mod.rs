//! A Linux desktop: an X server, sound and a command of its own, captured, steered, with a clipboard.
//!
//! ```text
//! XServer ◀── RunningCommand ──▶ Sound ──▶ AudioOutlet
//!  ▲  ▲  ▲  ▲
//!  │  │  │  └── Capture (thread `desktop`): damage ▶ rows ▶ H.264 ──▶ VideoOutlet
//!  │  │  └───── XClipboard
//!  │  └──────── X11Sink ◀── input
//!  └─────────── XWindows: each window a source of its own
//! ```
//!
//! [`start`] assembles them; dropping [`Desktop`] ends them. Attached to a display that is already
//! there, the size of that screen is taken as it is, and its X server is left running.

pub mod camera;
pub mod canvas;
pub mod capture;
pub mod clipboard;
pub mod command;
pub mod cursor;
pub mod display;
pub mod downloads;
mod furniture;
pub mod resize;
pub mod screen;
pub mod segment;
pub mod sink;
pub mod sound;
pub mod surface;
mod watch;
pub mod windows;
pub mod xserver;

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use common::slots::Pixel;
use common::spec::{CursorMode, DesktopSpec};
use tokio::sync::oneshot;

use self::camera::Camera;
use self::capture::{Capture, Pointing};
use self::clipboard::XClipboard;
use self::command::{RunningCommand, Surroundings};
use self::cursor::Onlookers;
use self::display::Display;
use self::screen::Screen;
use self::sink::X11Sink;
use self::sound::Sound;
use self::surface::Surface as _;
use self::watch::Watch;
use self::windows::{XWindows, watcher};
use self::xserver::{Abilities, XServer};
use super::video::{Outbox, Settings};
use super::worker::{Request, Worker};
use super::{
    Clipboard, Ended, Error, Event, Events, Frames, Info, Microphone, NoCamera, Outlets, Running, Windows,
};
use crate::input::sink::Sink;
use crate::media::{Picture, Size};

/// The session's command is started without sound when that takes longer than this; it takes about 0.1 s,
/// most of which is over by then.
const SOUND_PATIENCE: Duration = Duration::from_secs(1);
/// Longest wait for the news of an X server's death after its clients have lost their connections. It takes milliseconds.
const X_SERVER_PATIENCE: Duration = Duration::from_millis(200);
/// Polling interval of that wait.
const X_SERVER_LOOK: Duration = Duration::from_millis(5);

/// A running desktop. Its parts end in the order of these fields: the X server before the threads
/// that talk to it, which would otherwise wait for a server that no longer responds.
pub struct Desktop {
    /// From here on, parts end because they were told to.
    _stopping: Stopping,
    _command: Option<RunningCommand>,
    sink: Option<X11Sink>,
    _server: Option<XServer>,
    clipboard: Arc<XClipboard>,
    capture: Worker<Request>,
    frames: Arc<Frames>,
    windows: Arc<XWindows>,
    _watcher: watcher::Watch,
    _downloads: Option<downloads::Watch>,
    sound: Option<Sound>,
    camera: Result<Camera, NoCamera>,
    size: tokio::sync::watch::Receiver<Size>,
    _watch: Watch,
    fps: u32,
    cursor: CursorMode,
    /// Size of the X server's frame buffer, if the server is ours.
    largest: Option<Size>,
}

/// Starts a desktop.
///
/// # Errors
/// [`Error`] when a part of it does not start; the parts before it are ended again.
pub fn start(spec: &DesktopSpec, outlets: Outlets) -> Result<Desktop, Error> {
    let Outlets { video, audio, counters, events, shared_dir, homes, furnish, host: _ } = outlets;
    let end = End::new(events.clone(), spec.display.is_none());
    let (width, height) = spec.largest();
    let largest = Size { width, height };
    let server = match &spec.display {
        None => {
            let died = end.callback();
            Some(XServer::start(&shared_dir, Abilities { largest, opengl: spec.opengl }, move |message| {
                died(Ended::XServer(message))
            })?)
        }
        Some(_) => None,
    };
    let display = match (&server, &spec.display) {
        (Some(server), _) => server.display().clone(),
        (None, name) => Display { name: name.clone().unwrap_or_default(), xauthority: None },
    };
    let start_sound = || Sound::start(&shared_dir, audio, Arc::clone(&counters), spec.microphone);
    let sound = spec.audio.then(start_sound).transpose()?;
    let mut screen = Screen::connect(&display, spec.cursor == CursorMode::Embedded)?;
    if server.is_some() {
        screen.set_size(Size { width: spec.width, height: spec.height })?;
        screen.adopt_size()?;
    }
    let settings = Settings { fps: spec.fps, bitrate_kbps: spec.bitrate_kbps };
    let outbox = Outbox::new(events.clone());
    let frames = Arc::new(Frames::of(Arc::clone(video.demand())));
    let shown = Arc::clone(&frames);
    let onlookers = Arc::new(Onlookers::of(Arc::clone(video.demand())));
    let pointing = Pointing { mode: spec.cursor, onlookers: Arc::clone(&onlookers) };
    let (capture, size) = Capture::new(screen, settings, Some(pointing), video, shown, counters, outbox)?;
    let capture = spawn(capture, end.clone())?;
    let mut sink = X11Sink::new(&display)?;
    if server.is_some() {
        sink.lock_num()?;
    }
    let windows = Arc::new(XWindows::connect(&display, onlookers)?);
    let watch = Watch::start(&display, events.clone(), {
        let give_up = end.callback();
        let is_ours = server.is_some();
        move |reason| {
            // An X server that is not ours may come back at any time.
            if is_ours {
                give_up(Ended::XServer(reason));
            }
        }
    })?;
    let watcher = watcher::start(&display, events.clone())?;
    let clipboard = Arc::new(XClipboard::start(&display, events.clone())?);
    let camera = start_camera(spec.camera.as_deref());
    // Nothing is started on a display that is not ours.
    let own = (furnish && server.is_some() && spec.command.is_none()).then(furniture::command).flatten();
    let command = spec.command.as_ref().or(own.as_ref());
    if let (Some(sound), Some(_)) = (&sound, command) {
        sound.wait_ready(SOUND_PATIENCE);
    }
    let sound_address = sound.as_ref().map(Sound::address);
    let around = Surroundings {
        display: &display,
        sound: sound_address,
        dir: &shared_dir,
        home: &spec.home,
        homes: &homes,
    };
    let downloads = command.and_then(|_| watch_downloads(&around, events));
    let start_command = |command| RunningCommand::start(command, &spec.env, &around, end.callback());
    let running = command.map(start_command).transpose()?;
    Ok(Desktop {
        _stopping: Stopping(end),
        _command: running,
        sink: Some(sink),
        _server: server,
        clipboard,
        capture,
        frames,
        windows,
        _watcher: watcher,
        _downloads: downloads,
        sound,
        camera,
        size,
        _watch: watch,
        fps: spec.fps,
        cursor: spec.cursor,
        largest: spec.display.is_none().then_some(largest),
    })
}

/// Without its device a desktop has no camera, which is no reason to have no desktop.
fn start_camera(path: Option<&str>) -> Result<Camera, NoCamera> {
    let path = path.ok_or(NoCamera::NotNamed)?;
    Camera::start(Path::new(path)).inspect_err(|why| tracing::warn!("{why}"))
}

/// Without it downloads are not offered, which is no reason to have no desktop.
fn watch_downloads(around: &Surroundings<'_>, events: Events) -> Option<downloads::Watch> {
    let home = command::home(around).ok()?;
    downloads::start(&home, events)
        .inspect_err(|error| tracing::warn!(%error, "downloads of the session are not reported"))
        .ok()
}

fn spawn(mut capture: Capture<Screen>, end: End) -> Result<Worker<Request>, Error> {
    Worker::spawn("desktop", move |inbox| {
        if let Err(error) = capture.run(&inbox) {
            end.let_x_server_speak();
            if end.is_first() {
                capture.ended(error.to_string());
            }
        }
    })
}

impl Running for Desktop {
    fn info(&self) -> Info {
        let size = *self.size.borrow();
        let audio = self.sound.is_some();
        let microphone = self.microphone().is_some();
        let camera = self.camera.is_ok();
        let fps = self.fps;
        let cursor = self.cursor;
        let codec = VideoCodec::H264;
        Info { size, fps, audio, cursor, input: true, microphone, camera, codec, window: None, reader: None }
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        self.capture.picture()
    }

    fn pointer(&self) -> oneshot::Receiver<Pixel> {
        self.capture.pointer()
    }

    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>> {
        self.capture.resize(size)
    }

    fn largest(&self) -> Option<Size> {
        self.largest
    }

    fn take_sink(&mut self) -> Option<Box<dyn Sink>> {
        self.sink.take().map(|sink| Box::new(sink) as Box<dyn Sink>)
    }

    fn clipboard(&self) -> Option<Arc<dyn Clipboard>> {
        Some(Arc::clone(&self.clipboard) as Arc<dyn Clipboard>)
    }

    fn windows(&self) -> Option<Arc<dyn Windows>> {
        Some(Arc::clone(&self.windows) as Arc<dyn Windows>)
    }

    fn frames(&self) -> Option<Arc<Frames>> {
        Some(Arc::clone(&self.frames))
    }

    fn camera(&self) -> Result<Arc<dyn super::Camera>, NoCamera> {
        self.camera.as_ref().map(Camera::socket).map_err(NoCamera::clone)
    }

    fn microphone(&self) -> Option<Arc<dyn Microphone>> {
        self.sound.as_ref().and_then(Sound::microphone)
    }
}

/// Reports the end of a desktop once, by the part that ends first: the others follow from it.
#[derive(Clone)]
struct End {
    reported: Arc<AtomicBool>,
    /// Whether the X server is ours, so that its end is reported.
    x_server: bool,
    events: Events,
}

impl End {
    fn new(events: Events, x_server: bool) -> Self {
        Self { reported: Arc::new(AtomicBool::new(false)), x_server, events }
    }

    /// When an X server dies, its clients notice by their lost connections, often before its end is known. Waits
    /// a moment, so that the cause is reported and not its consequence.
    #[expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]
    fn let_x_server_speak(&self) {
        let deadline = Instant::now() + X_SERVER_PATIENCE;
        while self.x_server && !self.reported.load(Ordering::Acquire) && Instant::now() < deadline {
            thread::sleep(X_SERVER_LOOK);
        }
    }

    fn is_first(&self) -> bool {
        !self.reported.swap(true, Ordering::AcqRel)
    }

    /// To be called with the end, on a thread that is not one of the parts.
    fn callback(&self) -> impl FnOnce(Ended) + Send + 'static {
        let end = self.clone();
        move |ended| {
            if matches!(ended, Ended::Command(_) | Ended::Failed(_)) {
                end.let_x_server_speak();
            }
            if end.is_first()
                && let Err(event) = end.events.try_send(Event::Ended(ended))
            {
                tracing::error!(?event, "the end of the desktop could not be told");
            }
        }
    }
}

/// Once this is dropped, no end is reported.
struct Stopping(End);

impl Drop for Stopping {
    fn drop(&mut self) {
        self.0.reported.store(true, Ordering::Release);
    }
}
