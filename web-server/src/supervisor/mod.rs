//! One supervisor per streamer: owns its process, its run directory and the connections to it, and
//! reports what happens to the registry.
//!
//! ```text
//!  new:     make run dir ─▶ spawn monitor ─▶ connect ─▶ Init, StartSource ─┐
//!      ▲    adopted: connected by [`adopt`] ───────────────────────────────┴▶ serve ─▶ (process gone)
//!      │                                                                       │ ▲            │
//!      │                                                        connection lost▼ │            ▼
//!      │                                                                     reconnect    Ended, unless told to stop;
//!      └───────────────── told to restart ────────────────────────────────────── wait_for_restart
//!                                                                                         on stop: remove run dir, Gone
//! ```
//!
//! [`Handle`] is how everybody else talks to it. It never decides what a streamer's state is; that is
//! the registry's.

pub mod adopt;
pub mod ask;
mod bulk;
pub mod cgroup;
pub mod descriptors;
mod expectation;
pub mod homes;
pub mod launch;
pub mod link;
pub mod process;
pub mod restart;
mod task;
pub mod users;

use std::path::PathBuf;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use common::exit::{ExitReason, StreamerExit};
use common::id::{PeerId, StreamerId};
use common::ipc::request::RemovePeer;
use common::ipc::{
    AnyRequest, Payload, Purpose, Request, RequestError, SessionState, Settings, StreamerIpcMessage, Tell,
};
use common::spec::StreamerSpec;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tracing::Instrument;

use crate::hosts::Hosts;
use crate::ice_tcp;
use crate::rundir::RunDir;
pub use launch::{Launcher, LogSettings};

use crate::user::SessionUser;
use homes::Homes;
use users::NoneLeft;

use ask::{Answer, AskError, Ticket};
use link::{Connection, LinkError, Media};

/// Commands that wait for a streamer's connection. Full means that the streamer does not read: requests are
/// refused with [`AskError::Busy`], signalling of viewers waits, which slows only them.
const COMMANDS: usize = 256;
/// Snapshots that wait for their connection: as many as a streamer has wait for a picture. More are refused with [`AskError::Busy`].
const BULK_COMMANDS: usize = 64;

/// Lines of the log that are told with an end.
pub const LOG_LINES: usize = 20;

/// What to start.
#[derive(Clone)]
pub struct Plan {
    /// Its name.
    pub id: StreamerId,
    /// When it was asked for.
    pub created: DateTime<Utc>,
    /// What to run.
    pub spec: StreamerSpec,
    /// Server-wide settings.
    pub settings: Settings,
    /// What starts it.
    pub launcher: Arc<Launcher>,
    /// As whom it runs; `None`: as we do.
    pub user: Result<Option<SessionUser>, NoneLeft>,
    /// Directory of run directories.
    pub run_root: PathBuf,
    /// Homes of its desktops.
    pub homes: Homes,
    /// How it reaches Moonlight hosts.
    pub hosts: Hosts,
    /// By which TCP connections of its peers come.
    pub routes: ice_tcp::Routes,
    /// Turns of those that start: see [`starts_at_once`].
    pub starts: Arc<Semaphore>,
}

/// How many streamers start at the same time. Starting takes a processor, and must be done within a deadline: when all start
/// again after a restart of the machine, or hundreds are created at once, the others wait for their turn.
pub fn starts_at_once() -> usize {
    4 + 2 * std::thread::available_parallelism().map_or(1, usize::from)
}

/// What a supervisor tells the registry, with the streamer's id. [`Event::Gone`] is the last.
#[derive(Debug)]
pub enum Event {
    /// The connection was made anew: this is how it is now.
    Session(Box<SessionState>),
    /// The source runs.
    Running,
    /// The streamer said something that is not a reply.
    Said(StreamerIpcMessage),
    /// The reply to [`Handle::request`], in its place among all that the streamer says.
    Replied {
        /// Names the request.
        ticket: Ticket,
        /// The reply, or why there is none.
        reply: Result<Payload, AskError>,
    },
    /// The process ended without having been told to stop. It can be told to start again.
    Ended(Failure),
    /// The process and its run directory are gone, as was asked.
    Gone,
}

/// Where supervisors report to. Bounded by whoever makes it; a supervisor waits when it is full.
pub type Events = mpsc::Sender<(StreamerId, Event)>;

/// Why a streamer's process ended, or never began.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// For people.
    pub reason: String,
    /// How the process ended, if one was started.
    pub exit: Option<StreamerExit>,
    /// The source's own error, if it could not be started.
    pub error: Option<RequestError>,
    /// The last lines of the log.
    pub log: Vec<String>,
}

impl Failure {
    /// One of which nothing more is known.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), exit: None, error: None, log: Vec::new() }
    }

    /// The source was done, as it is when all is well.
    pub fn is_finished(&self) -> bool {
        self.exit.as_ref().is_some_and(|exit| matches!(exit.reason, ExitReason::Finished { .. }))
    }
}

/// Which of a streamer's processes: counts from 0 in each web-server.
pub type Generation = u64;

enum Command {
    Ask { request: AnyRequest, answer: Answer },
    Request { ticket: Ticket, request: AnyRequest },
    Tell(Tell),
}

/// Talks to one streamer; stays valid, if useless, after its end.
#[derive(Debug, Clone)]
pub struct Handle {
    dir: RunDir,
    control: mpsc::Sender<Command>,
    bulk: mpsc::Sender<bulk::Command>,
    stop: Arc<watch::Sender<Option<String>>>,
    /// The generation whose process another one is to replace.
    replace: Arc<watch::Sender<Option<Generation>>>,
    /// The generation whose process is to end, and none to replace it yet.
    halt: Arc<watch::Sender<Option<Generation>>>,
}

impl std::fmt::Debug for Command {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Command::Ask { .. } => "Ask",
            Command::Request { .. } => "Request",
            Command::Tell(_) => "Tell",
        })
    }
}

impl Handle {
    /// Asks and waits for the answer. When it is dropped before, the answer is thrown away.
    ///
    /// # Errors
    /// See [`AskError`].
    pub async fn ask<R: Request>(&self, request: R) -> Result<R::Reply, AskError> {
        let request = request.into();
        let deadline = ask::deadline(&request);
        let (sender, answer) = oneshot::channel();
        if ask::is_bulk(&request) {
            self.bulk.try_send(bulk::Command { request, answer: sender }).map_err(refused)?;
        } else {
            self.control.try_send(Command::Ask { request, answer: sender }).map_err(refused)?;
        }
        match tokio::time::timeout(deadline, answer).await {
            Ok(answer) => Ok(answer.unwrap_or(Err(AskError::Gone))?.read()?),
            Err(_) => Err(AskError::Timeout(deadline)),
        }
    }

    /// Makes a request for the registry, before whatever is asked next; [`Event::Replied`] follows in any case.
    ///
    /// # Errors
    /// There is no room, or nobody to ask, and nothing follows.
    pub fn request(&self, ticket: Ticket, request: AnyRequest) -> Result<(), AskError> {
        self.control.try_send(Command::Request { ticket, request }).map_err(refused)
    }

    /// Says something that has no answer, waiting for room.
    ///
    /// # Errors
    /// The streamer is gone.
    pub async fn tell(&self, message: Tell) -> Result<(), AskError> {
        self.control.send(Command::Tell(message)).await.map_err(|_| AskError::Gone)
    }

    /// Says that a peer's WebSocket, of this number, is gone, without waiting for an answer or for room: were it
    /// lost, the streamer would notice by the peer's own silence, only later.
    pub fn leave(&self, peer: PeerId, socket: u64, said_bye: bool) {
        let command = if said_bye {
            let (answer, _) = oneshot::channel();
            Command::Ask { request: RemovePeer { peer, reason: "left".into() }.into(), answer }
        } else {
            Command::Tell(Tell::DetachPeer { peer, socket })
        };
        if let Err(error) = self.control.try_send(command) {
            tracing::debug!(%peer, %error, "a streamer was not told that a viewer left");
        }
    }

    /// A connection for the stream that a peer reads ([`common::ipc::Join::Mp4`]).
    ///
    /// # Errors
    /// The streamer is gone.
    pub async fn attach(&self, peer: PeerId) -> Result<Media, LinkError> {
        Connection::open(&self.dir, Purpose::Reader).await?.attach(peer).await
    }

    /// Has another process take the place of this generation's. If that one still runs it is told to end first, and
    /// [`Event::Ended`] follows. Ignored when a later generation runs already.
    pub fn replace(&self, generation: Generation) {
        self.replace.send_replace(Some(generation));
    }

    /// Ends this generation's process; [`Event::Ended`] follows. No other takes its place until [`Self::replace`] is called. Ignored
    /// when it has ended, or a later generation runs.
    pub fn halt(&self, generation: Generation) {
        self.halt.send_replace(Some(generation));
    }

    /// Tells the streamer to end, gracefully at first; [`Event::Gone`] follows in any case.
    pub fn stop(&self, reason: &str) {
        self.stop.send_if_modified(|stop| {
            let first = stop.is_none();
            stop.get_or_insert_with(|| reason.to_owned());
            first
        });
    }
}

fn refused<T>(error: mpsc::error::TrySendError<T>) -> AskError {
    match error {
        mpsc::error::TrySendError::Full(_) => AskError::Busy,
        mpsc::error::TrySendError::Closed(_) => AskError::Gone,
    }
}

/// What a [`Handle`] without a supervisor was asked for.
#[cfg(test)]
pub(crate) struct Requests {
    control: mpsc::Receiver<Command>,
    handle: Handle,
}

#[cfg(test)]
impl Requests {
    /// The next request of the registry's, if there is one.
    pub(crate) fn next(&mut self) -> Option<(Ticket, AnyRequest)> {
        match self.control.try_recv().ok()? {
            Command::Request { ticket, request } => Some((ticket, request)),
            other => panic!("not a request of the registry's: {other:?}"),
        }
    }

    /// The peer whose WebSocket is lost, if that is the next thing to be told.
    pub(crate) fn detached(&mut self) -> Option<PeerId> {
        match self.control.try_recv().ok()? {
            Command::Tell(Tell::DetachPeer { peer, .. }) => Some(peer),
            other => panic!("not the loss of a WebSocket: {other:?}"),
        }
    }

    /// The process after which another one is to be started.
    pub(crate) fn started_after(&self) -> Option<Generation> {
        *self.handle.replace.borrow()
    }

    /// Why the streamer is to end, if it is.
    pub(crate) fn stopped(&self) -> Option<String> {
        self.handle.stop.borrow().clone()
    }
}

/// A handle without a supervisor: a test says what the streamer replies.
#[cfg(test)]
pub(crate) fn unsupervised() -> (Handle, Requests) {
    let (control_sender, control) = mpsc::channel(COMMANDS);
    let (bulk, _) = mpsc::channel(BULK_COMMANDS);
    let handle = Handle {
        dir: RunDir::of(
            std::path::Path::new("/nonexistent"),
            &StreamerId::parse("none").expect("a good name"),
        ),
        control: control_sender,
        bulk,
        stop: watch::Sender::new(None).into(),
        replace: watch::Sender::new(None).into(),
        halt: watch::Sender::new(None).into(),
    };
    (handle.clone(), Requests { control, handle })
}

/// Starts a streamer and its supervisor.
pub fn start(plan: Plan, events: Events) -> Handle {
    supervise(plan, task::Begin::New, events)
}

/// Supervises a streamer that was found running.
pub fn resume(found: adopt::Found, plan: Plan, events: Events) -> Handle {
    supervise(plan, task::Begin::Adopted(Box::new(found)), events)
}

/// Supervises a streamer that has ended, and waits until it is told to restart it.
pub fn dormant(plan: Plan, events: Events) -> Handle {
    supervise(plan, task::Begin::Dormant, events)
}

fn supervise(plan: Plan, begin: task::Begin, events: Events) -> Handle {
    let span = tracing::info_span!("streamer", id = %plan.id);
    let (handle, supervisor, bulk) = task::Supervisor::new(plan, events);
    tokio::spawn(supervisor.run(begin, bulk).instrument(span));
    handle
}
