//! Sources: what produces media, and takes input, inside a streamer.
//!
//! A source is started from its spec and then runs on threads of its own. It is given
//! [`Outlets`] to publish to and answers through a [`Running`]. It never knows who watches: the
//! feed's [`Demand`](crate::feed::Demand) tells it whether anybody does and when a keyframe is wanted.

pub mod desktop;
pub mod ffmpeg;
pub mod frames;
pub mod live;
pub mod moonlight;
pub mod published;
pub mod rendition;
pub mod rtsp;
pub mod schedule;
pub mod test;
pub mod video;
pub mod worker;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use common::clipboard::{ClipboardType, Content, InvalidContent, Wanted};
use common::event::Happening;
use common::exit::ExitReason;
use common::files::FileEntry;
use common::id::PeerId;
use common::input::{Actor, CursorShape};
use common::ipc::Code;
use common::media::VideoCodec;
use common::slots::{HostStream, Pixel, Reader, Window};
use common::spec::{CursorMode, HomeDirs, SourceSpec, WindowSpec};
use tokio::sync::{mpsc, oneshot};

use crate::feed::{AudioOutlet, Listener, Tap, Tapping, VideoOutlet};
use crate::input::Motors;
use crate::input::sink::Sink;
use crate::media::{Picture, Size};
use crate::stats::SourceCounters;

pub use frames::Frames;

/// Where a source publishes its media.
pub struct Outlets {
    /// Access units.
    pub video: VideoOutlet,
    /// Sound packets.
    pub audio: AudioOutlet,
    /// Its counters.
    pub counters: Arc<SourceCounters>,
    /// Its events.
    pub events: Events,
    /// The session's directory (mode 0700) that its programs can reach; it is removed after the streamer has ended.
    pub shared_dir: PathBuf,
    /// Homes that the web-server has made for desktops.
    pub homes: HomeDirs,
    /// Whether a desktop without a command is furnished.
    pub furnish: bool,
    /// Its status, if it is a Moonlight host.
    pub host: Arc<HostStatus>,
}

/// Room for events of all sources; cursors change most often, at most once per capture.
pub const EVENT_QUEUE: usize = 256;

/// Names one life of a source, from its start to its end. Its events bear this key, so that late events of an earlier life
/// can be ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceKey(pub u64);

/// Sends a source's events to the control loop.
#[derive(Debug, Clone)]
pub struct Events {
    key: SourceKey,
    queue: mpsc::Sender<(SourceKey, Event)>,
}

impl Events {
    /// For the source of this name.
    pub fn new(key: SourceKey, queue: mpsc::Sender<(SourceKey, Event)>) -> Self {
        Self { key, queue }
    }

    /// Sends an event. Never blocks.
    ///
    /// # Errors
    /// Returns the event if there is no room for it now. An event that nobody will read any more is dropped.
    pub fn try_send(&self, event: Event) -> Result<(), Event> {
        match self.queue.try_send((self.key, event)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full((_, event))) => Err(event),
        }
    }

    /// Sends an event; waits for room. For tasks that can be dropped while they wait, as the control loop may itself wait
    /// for their end.
    pub async fn send(&self, event: Event) {
        // Nobody reads any more: the streamer is ending.
        let _ = self.queue.send((self.key, event)).await;
    }
}

/// An event of a source.
#[derive(Debug)]
pub enum Event {
    /// The first keyframe has been published: the source is known to work.
    Started,
    /// Pictures have another size or codec from now on.
    Resized(Size),
    /// The cursor has another shape; `None` when it is hidden.
    Cursor(Option<CursorShape>),
    /// Something was copied to the clipboard.
    Clipboard {
        /// What is offered, and its texts.
        offer: ClipboardOffer,
        /// Who set it; `None` when it was a program of the session.
        by: Option<Actor>,
    },
    /// Windows of the desktop were opened, closed, or renamed.
    Windows(Vec<Happening>),
    /// A file was finished in `Downloads` of the session's home.
    Downloaded(FileEntry),
    /// Title or focus of the window have changed.
    Window(WindowInfo),
    /// A gamepad is to rumble, by its number among those of all peers.
    Rumble(u8, Motors),
    /// It is lost and being retried; the reason. [`Event::Started`] follows when it is back, with new [`Info`].
    Offline(String),
    /// It ended by itself; the reason. Nothing follows.
    Ended(Ended),
}

/// Status of the stream of a Moonlight host, from before it has begun until after it has ended. Unused for other sources.
#[derive(Debug, Default)]
pub struct HostStatus(Mutex<Option<HostStream>>);

impl HostStatus {
    /// The current status.
    pub fn get(&self) -> Option<HostStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut HostStream) -> T) -> T {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }
}

/// How a source ended by itself, with a text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was done, which is no error.
    Finished(String),
    /// Its X server died.
    XServer(String),
    /// Its command ended with an error.
    Command(String),
    /// Anything else.
    Failed(String),
}

impl Ended {
    /// What happened.
    pub fn message(&self) -> &str {
        let (Ended::Finished(message)
        | Ended::XServer(message)
        | Ended::Command(message)
        | Ended::Failed(message)) = self;
        message
    }

    /// The reason of a session whose main source has ended like this.
    pub fn into_reason(self) -> ExitReason {
        match self {
            Ended::Finished(message) => ExitReason::Finished { message },
            Ended::XServer(message) => ExitReason::XServerDied { message },
            Ended::Command(message) | Ended::Failed(message) => ExitReason::SourceEnded { message },
        }
    }
}

/// Why a source could not be started, or a request to it failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A program that the source needs is missing or did not start.
    #[error("{program}: {message}")]
    Program {
        /// Its name.
        program: String,
        /// What happened.
        message: String,
    },
    /// The command of the spec cannot be run.
    #[error("source.command: {0}")]
    Command(String),
    /// The X server refused something or is gone.
    #[error("X server: {0}")]
    X(String),
    /// The encoder refused something.
    #[error("encoder: {0}")]
    Encode(#[from] crate::encode::Error),
    /// The sound server refused something or is gone.
    #[error("sound: {0}")]
    Sound(String),
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed.
        what: String,
        /// The error of the system.
        #[source]
        source: std::io::Error,
    },
    /// This kind of source cannot do that.
    #[error("a {kind} source has no {what}")]
    Unsupported {
        /// Kind of source.
        kind: &'static str,
        /// The requested operation.
        what: &'static str,
    },
    /// The content of the clipboard, present or new, cannot be transferred.
    #[error(transparent)]
    Clipboard(#[from] InvalidContent),
    /// The program that owns the clipboard hangs.
    #[error("the program that owns the clipboard does not answer")]
    SilentClipboard,
    /// There is no such window.
    #[error("there is no window {0} that can be shared")]
    NoWindow(u32),
    /// A camera, file or program delivers nothing that can be shown. The message contains no passwords.
    #[error("{0}")]
    Media(String),
    /// A Moonlight host refuses or fails.
    #[error("{message}")]
    Host {
        /// Stable, for programs.
        code: Code,
        /// For people.
        message: String,
    },
    /// The source has ended.
    #[error("the source has ended")]
    Ended,
}

/// A source that has been started. Dropping it stops it and waits for its threads.
pub trait Running: Send {
    /// Its properties, for `streamInfo`.
    fn info(&self) -> Info;
    /// The newest picture, cursor included, whether or not anybody watches.
    fn picture(&self) -> oneshot::Receiver<Picture>;
    /// The position of the pointer in its picture; the channel is closed without one where there is no pointer, or it is outside.
    fn pointer(&self) -> oneshot::Receiver<Pixel> {
        oneshot::channel().1
    }
    /// Changes the size of the picture. The reply comes when frames have the new size.
    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>>;
    /// The largest size that it can have, if there is a bound of its own.
    fn largest(&self) -> Option<Size> {
        None
    }
    /// Its sink for input; `None` if it takes none. Called once.
    fn take_sink(&mut self) -> Option<Box<dyn Sink>> {
        None
    }
    /// Its clipboard, if it has one.
    fn clipboard(&self) -> Option<Arc<dyn Clipboard>> {
        None
    }
    /// Its windows, if it is a desktop.
    fn windows(&self) -> Option<Arc<dyn Windows>> {
        None
    }
    /// Its newest raw picture, for further renditions; `None` if it has no raw pictures.
    fn frames(&self) -> Option<Arc<Frames>> {
        None
    }
    /// Its camera, if it has programs that can see a peer.
    ///
    /// # Errors
    /// [`NoCamera`] says why not.
    fn camera(&self) -> Result<Arc<dyn Camera>, NoCamera> {
        Err(NoCamera::NoDesktop)
    }
    /// Its recording device, if it has programs that peers can speak to.
    fn microphone(&self) -> Option<Arc<dyn Microphone>> {
        None
    }
}

/// Properties of a source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Info {
    /// Size of its pictures now.
    pub size: Size,
    /// Highest frame rate.
    pub fps: u32,
    /// Has sound.
    pub audio: bool,
    /// Who draws the cursor.
    pub cursor: CursorMode,
    /// Takes input.
    pub input: bool,
    /// Its programs can hear peers.
    pub microphone: bool,
    /// Its programs can see a peer.
    pub camera: bool,
    /// Codec of its video.
    pub codec: VideoCodec,
    /// The window, if it is one.
    pub window: Option<WindowInfo>,
    /// The program that reads it, where there is a choice.
    pub reader: Option<Reader>,
}

/// Properties of a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowInfo {
    /// Its id at the X server.
    pub id: u32,
    /// Its title.
    pub title: String,
    /// Name of its program; empty if it has none.
    pub app: String,
    /// Whether it has the focus.
    pub focused: bool,
}

/// The windows of a desktop.
pub trait Windows: Send + Sync {
    /// The windows that can be shared, the topmost first. Takes some milliseconds.
    ///
    /// # Errors
    /// [`Error`] when the X server is gone.
    fn list(&self) -> Result<Vec<Window>, Error>;
    /// Starts capturing one. Blocks, as [`start`] does.
    ///
    /// # Errors
    /// [`Error::NoWindow`], or the reason why the capture did not start; then nothing of it is left running.
    fn open(&self, spec: &WindowSpec, outlets: Outlets) -> Result<Box<dyn Running>, Error>;
}

/// The recording device of a desktop. All peers that are plugged in are heard at once.
pub trait Microphone: Send + Sync {
    /// Programs hear what the returned listener hears, until the peer is unplugged or plugged in again.
    fn plug(&self, peer: PeerId) -> Listener;
    /// Programs hear this peer no more.
    fn unplug(&self, peer: PeerId);
}

/// The camera of a desktop. One peer is plugged in at a time.
pub trait Camera: Send + Sync {
    /// Programs see the pictures of this peer's feed, in place of any other peer's, until it is unplugged.
    fn plug(&self, peer: PeerId, tapping: Tapping);
    /// Programs see this peer no more, if they did.
    fn unplug(&self, peer: PeerId);
}

/// Why programs cannot see a peer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCamera {
    /// There are no programs.
    #[error("there is no desktop here whose programs could see a camera")]
    NoDesktop,
    /// Its spec names no device.
    #[error("the desktop has no camera: its `camera` must name a device, such as \"/dev/video10\"")]
    NotNamed,
    /// The device cannot be used; the text says why, and what to do.
    #[error("the desktop has no camera: {0}")]
    Device(String),
}

/// The clipboard of a session.
pub trait Clipboard: Send + Sync {
    /// The types that it offers, and the content that is wanted. Blocks until its owner has replied.
    ///
    /// # Errors
    /// [`Error`] when the session is gone, or the owner of the clipboard does not reply or its content is too long.
    fn get(&self, wanted: Wanted) -> Result<ClipboardOffer, Error>;
    /// Puts content on it, after previous requests. This is reported by [`Event::Clipboard`], unless a peer sends back
    /// the text that was reported last. Never blocks; the reply comes when it is done, or has failed.
    fn set(&self, content: Content, by: Actor) -> oneshot::Receiver<Result<(), Error>>;
}

/// The content of a clipboard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClipboardOffer {
    /// All transferable types that are offered.
    pub types: Vec<ClipboardType>,
    /// The content that was fetched.
    pub content: Content,
}

/// What a source is built on.
pub enum Upstream {
    /// Nothing: it stands on its own.
    None,
    /// The desktop that it is a window of.
    Desktop(Arc<dyn Windows>),
    /// The stream that it re-encodes.
    Stream(Tap),
}

/// Starts the source of a spec. Returns when the source runs; its first keyframe is reported by
/// [`Event::Started`]. Blocks (X server, sound server): not to be called on an async thread.
///
/// # Errors
/// [`Error`] when something that it needs does not start; then nothing of it is left running.
pub fn start(spec: &SourceSpec, upstream: Upstream, outlets: Outlets) -> Result<Box<dyn Running>, Error> {
    match (spec, upstream) {
        (SourceSpec::Desktop(spec), _) => Ok(Box::new(desktop::start(spec, outlets)?)),
        (SourceSpec::Test(spec), _) => Ok(Box::new(test::start(spec, outlets)?)),
        (SourceSpec::Window(spec), Upstream::Desktop(desktop)) => desktop.open(spec, outlets),
        (SourceSpec::Window(_), _) => Err(Error::Unsupported { kind: "window", what: "desktop to be on" }),
        (SourceSpec::Rtsp(spec), _) => Ok(Box::new(rtsp::start(spec, outlets)?)),
        (SourceSpec::Ffmpeg(spec), Upstream::Stream(tap)) => {
            Ok(Box::new(ffmpeg::start(spec, Some(tap), outlets)?))
        }
        (SourceSpec::Ffmpeg(spec), _) => Ok(Box::new(ffmpeg::start(spec, None, outlets)?)),
        (SourceSpec::Exec(spec), _) => Ok(Box::new(ffmpeg::start_program(spec, outlets)?)),
        (SourceSpec::Moonlight(spec), _) => Ok(Box::new(moonlight::start(spec, outlets)?)),
        (SourceSpec::Publish(_), _) => Err(Error::Unsupported { kind: "publish", what: "start of its own" }),
    }
}
