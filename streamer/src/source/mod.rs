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
use common::input::{Actor, CursorShape};
use common::ipc::Code;
use common::media::VideoCodec;
use common::slots::{HostStream, Pixel, Reader, Window};
use common::spec::{CursorMode, HomeDirs, SourceSpec, WindowSpec};
use tokio::sync::{mpsc, oneshot};

use crate::feed::{AudioOutlet, Tap, VideoOutlet};
use crate::input::Motors;
use crate::input::sink::Sink;
use crate::media::{Picture, Size};
use crate::stats::SourceCounters;

pub use frames::Frames;

/// Where a source publishes what it makes.
pub struct Outlets {
    /// Access units.
    pub video: VideoOutlet,
    /// Sound packets.
    pub audio: AudioOutlet,
    /// What it counts.
    pub counters: Arc<SourceCounters>,
    /// What it has to say.
    pub events: Events,
    /// The session's directory (mode 0700) that its programs can reach; it is removed after the streamer has ended.
    pub shared_dir: PathBuf,
    /// Homes that the web-server has made for desktops.
    pub homes: HomeDirs,
    /// Whether a desktop without a command is furnished.
    pub furnish: bool,
    /// How it does, if it is a Moonlight host.
    pub host: Arc<HostStatus>,
}

/// Room for events of all sources; cursors change most often, at most once per capture.
pub const EVENT_QUEUE: usize = 256;

/// Names one life of a source, from its start to its end. What it says bears this name, so that what an earlier life
/// said too late is not taken for news.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SourceKey(pub u64);

/// A source's way to the control loop.
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

    /// Tells an event. Never blocks.
    ///
    /// # Errors
    /// The event, if there is no room for it now. One that nobody will read any more is dropped.
    pub fn try_send(&self, event: Event) -> Result<(), Event> {
        match self.queue.try_send((self.key, event)) {
            Ok(()) | Err(mpsc::error::TrySendError::Closed(_)) => Ok(()),
            Err(mpsc::error::TrySendError::Full((_, event))) => Err(event),
        }
    }

    /// Tells an event; waits for room. For tasks that can be dropped while they wait, as the control loop may itself wait
    /// for their end.
    pub async fn send(&self, event: Event) {
        // Nobody listens any more: the streamer is ending.
        let _ = self.queue.send((self.key, event)).await;
    }
}

/// What a source tells the streamer.
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
    /// Windows of the desktop were opened, closed, or called something else.
    Windows(Vec<Happening>),
    /// Title or focus of the window are others.
    Window(WindowInfo),
    /// A gamepad is to shake, by its number among all peers'.
    Rumble(u8, Motors),
    /// It is lost and tried again, and why. [`Event::Started`] says that it is back, with the [`Info`] of then.
    Offline(String),
    /// It ended by itself, and why. Nothing follows.
    Ended(Ended),
}

/// How the stream of a Moonlight host does, from before it has begun until after it has ended. Of other sources: nothing.
#[derive(Debug, Default)]
pub struct HostStatus(Mutex<Option<HostStream>>);

impl HostStatus {
    /// As it is now.
    pub fn get(&self) -> Option<HostStream> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Changes it.
    pub fn change<T>(&self, change: impl FnOnce(&mut HostStream) -> T) -> T {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_default())
    }
}

/// How a source ended by itself, in words.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// It was done, as it is when all is well.
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

    /// Why a session ends whose main source has ended so.
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
    /// A program that the source needs is not there or did not come up.
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
        /// What was tried.
        what: String,
        /// Why not.
        #[source]
        source: std::io::Error,
    },
    /// This kind of source cannot do that.
    #[error("a {kind} source has no {what}")]
    Unsupported {
        /// Kind of source.
        kind: &'static str,
        /// What was asked for.
        what: &'static str,
    },
    /// What is on the clipboard, or is to be there, is not carried.
    #[error(transparent)]
    Clipboard(#[from] InvalidContent),
    /// The program that owns the clipboard hangs.
    #[error("the program that owns the clipboard does not answer")]
    SilentClipboard,
    /// There is no such window.
    #[error("there is no window {0} that can be shared")]
    NoWindow(u32),
    /// A camera, file or program gives nothing that can be shown. The message has no passwords in it.
    #[error("{0}")]
    Media(String),
    /// A Moonlight host does not do what it was asked.
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
    /// What it is, for `streamInfo`.
    fn info(&self) -> Info;
    /// The newest picture, cursor included, whether or not anybody watches.
    fn picture(&self) -> oneshot::Receiver<Picture>;
    /// Where the pointer is in its picture; closed without an answer where there is none, or it is outside.
    fn pointer(&self) -> oneshot::Receiver<Pixel> {
        oneshot::channel().1
    }
    /// Changes the size of the picture. Answered when frames have the new size.
    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>>;
    /// Where input goes; `None` if it takes none. Asked for once.
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
    /// Its newest picture as encoders take it, for further renditions; `None` if it has no raw pictures.
    fn frames(&self) -> Option<Arc<Frames>> {
        None
    }
}

/// What a source is.
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
    /// Codec of its video.
    pub codec: VideoCodec,
    /// If it is a window: which.
    pub window: Option<WindowInfo>,
    /// What reads it, where there is a choice.
    pub reader: Option<Reader>,
}

/// What a window says of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WindowInfo {
    /// The X server's id of it.
    pub id: u32,
    /// As its frame shows it.
    pub title: String,
    /// Name of its program; empty if it has none.
    pub app: String,
    /// Has the keyboard.
    pub focused: bool,
}

/// The windows of a desktop.
pub trait Windows: Send + Sync {
    /// Those that can be shared, the topmost first. Takes some milliseconds.
    ///
    /// # Errors
    /// [`Error`] when the X server is gone.
    fn list(&self) -> Result<Vec<Window>, Error>;
    /// Starts to capture one. Blocks, as [`start`] does.
    ///
    /// # Errors
    /// [`Error::NoWindow`], or what kept the capture from starting; nothing of it is left running then.
    fn open(&self, spec: &WindowSpec, outlets: Outlets) -> Result<Box<dyn Running>, Error>;
}

/// The clipboard of a session.
pub trait Clipboard: Send + Sync {
    /// What it offers, and of it what is wanted. Blocks for as long as its owner takes.
    ///
    /// # Errors
    /// [`Error`] when the session is gone, or the owner of the clipboard does not answer or has something too long.
    fn get(&self, wanted: Wanted) -> Result<ClipboardOffer, Error>;
    /// Puts something on it, after what came before. It is told of by [`Event::Clipboard`], unless a peer gives back
    /// the text that was told of last. Never blocks; answered when it is there, or when it cannot be.
    fn set(&self, content: Content, by: Actor) -> oneshot::Receiver<Result<(), Error>>;
}

/// What is on a clipboard.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ClipboardOffer {
    /// All that is offered, of what is carried.
    pub types: Vec<ClipboardType>,
    /// What was fetched of it.
    pub content: Content,
}

/// What a source may build on.
pub enum Upstream {
    /// Nothing: it stands on its own.
    None,
    /// The desktop that it is a window of.
    Desktop(Arc<dyn Windows>),
    /// The stream that it encodes anew.
    Stream(Tap),
}

/// Starts what `spec` describes. Returns when the source runs; its first keyframe is told by
/// [`Event::Started`]. Blocks (X server, sound server): not to be called on an async thread.
///
/// # Errors
/// [`Error`] when something it needs does not come up; nothing of it is left running then.
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
