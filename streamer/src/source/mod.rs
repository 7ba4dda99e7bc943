//! Sources: what produces media, and takes input, inside a streamer.
//!
//! A source is started from its spec and then runs on threads of its own. It is given
//! [`Outlets`] to publish to and answers through a [`Running`]. It never knows who watches: the
//! feed's [`Demand`](crate::feed::Demand) tells it whether anybody does and when a keyframe is wanted.

pub mod desktop;
pub mod test;
pub mod video;
pub mod worker;

use std::path::PathBuf;
use std::sync::Arc;

use common::input::{Actor, CursorShape};
use common::spec::{CursorMode, SourceSpec};
use tokio::sync::{mpsc, oneshot};

use crate::feed::{AudioOutlet, VideoOutlet};
use crate::input::sink::Sink;
use crate::media::{Picture, Size};
use crate::stats::SourceCounters;

/// Where a source publishes what it makes.
pub struct Outlets {
    /// Access units.
    pub video: VideoOutlet,
    /// Sound packets.
    pub audio: AudioOutlet,
    /// What it counts.
    pub counters: Arc<SourceCounters>,
    /// What it has to say. A source blocks for at most a moment on it; the control loop always reads.
    pub events: mpsc::Sender<Event>,
    /// A directory of its own (mode 0700) that is removed after the streamer has ended.
    pub run_dir: PathBuf,
}

/// Room for events of one source; cursors change most often, at most once per capture.
pub const EVENT_QUEUE: usize = 256;

/// What a source tells the streamer.
#[derive(Debug)]
pub enum Event {
    /// The first keyframe has been published: the source is known to work.
    Started,
    /// Pictures have another size from now on.
    Resized(Size),
    /// The cursor has another shape; `None` when it is hidden.
    Cursor(Option<CursorShape>),
    /// The clipboard has a new text.
    Clipboard {
        /// The text.
        text: String,
        /// Who set it; `None` when it was a program of the session.
        by: Option<Actor>,
    },
    /// It ended by itself, and why. Nothing follows.
    Ended(String),
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
    /// Changes the size of the picture. Answered when frames have the new size.
    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>>;
    /// Where input goes; `None` if it takes none. Asked for once.
    fn take_sink(&mut self) -> Option<Box<dyn Sink>>;
    /// Its clipboard, if it has one.
    fn clipboard(&self) -> Option<Arc<dyn Clipboard>>;
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
}

/// The clipboard of a session.
pub trait Clipboard: Send + Sync {
    /// The text on it; empty if there is none. Blocks for as long as its owner takes.
    ///
    /// # Errors
    /// [`Error`] when the session is gone or the owner of the clipboard does not answer.
    fn get(&self) -> Result<String, Error>;
    /// Puts a text on it, after those before. It is told of by [`Event::Clipboard`] if it is another one than the last
    /// that was told of. Never blocks; answered when it is there, or when it cannot be.
    fn set(&self, text: String, by: Actor) -> oneshot::Receiver<Result<(), Error>>;
}

/// Starts what `spec` describes. Returns when the source runs; its first keyframe is told by
/// [`Event::Started`]. Blocks (X server, sound server): not to be called on an async thread.
///
/// # Errors
/// [`Error`] when something it needs does not come up; nothing of it is left running then.
pub fn start(spec: &SourceSpec, outlets: Outlets) -> Result<Box<dyn Running>, Error> {
    match spec {
        SourceSpec::Desktop(spec) => Ok(Box::new(desktop::start(spec, outlets)?)),
        SourceSpec::Test(spec) => Ok(Box::new(test::start(spec, outlets)?)),
    }
}
