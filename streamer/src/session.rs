//! One session after its `Init`: its sources, its slots, its shards, its peers, and what they say to each other.
//!
//! Owned by the control loop. Everything here decides and passes on; what takes time is spawned and
//! comes back as [`Finished`] or [`Started`].

mod control;
mod heartbeat;
mod lifecycle;
mod slots;
pub mod snapshots;
pub mod sources;
mod viewers;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::id::{MAIN_SOURCE, PeerId, SlotIndex, StreamerId};
use common::input::{Actor, CursorShape};
use common::ipc::{ErrorKind, Reply, RequestError, SHARED_DIR, ServerIpcMessage, SessionState, Settings};
use common::spec::{SourceSpec, StreamerSpec};
use common::stats::NetworkStats;

use crate::control::Arbiter;
use crate::ipc::ConnectionId;
use crate::link::{Link, ReplyTo};
use crate::media::Size;
use crate::peer::commands::Commands;
use crate::peer::connection::Identity;
use crate::peer::{Command, Network, shard};
use crate::peers::Peers;
use crate::process::confine;
use crate::source::{self, Running};
use crate::stats::SourceCounters;
use crate::streamer::Senders;
use crate::throttle::Throttle;
use crate::{input, requests, snapshot};

pub use lifecycle::Started;
use slots::Bound;
use snapshot::Form;
use snapshots::{Asked, Snapshots};
use sources::{Life, Sources};

/// The slot that shows the main source, unless told otherwise.
const MAIN_SLOT: SlotIndex = 0;
/// How long shards may take to say goodbye to their peers.
const SHARD_PATIENCE: Duration = Duration::from_millis(500);
/// Everybody is told who watches at most this often. Each telling names all and goes to all: when hundreds
/// join at once, telling of each would be what keeps them from joining.
const PARTICIPANTS_INTERVAL: Duration = Duration::from_millis(100);

/// A request that took time is done.
#[derive(Debug)]
pub struct Finished {
    /// Who asked.
    pub to: ReplyTo,
    /// The answer.
    pub result: Result<Reply, RequestError>,
}

struct Shard {
    commands: Commands,
    feeder: shard::Feeder,
    thread: JoinHandle<()>,
    peers: usize,
    network: NetworkStats,
}

/// One session.
pub struct Session {
    id: StreamerId,
    spec: StreamerSpec,
    settings: Settings,
    /// For what desktops share with their programs.
    shared_dir: PathBuf,
    senders: Senders,
    process_start: Instant,
    created: DateTime<Utc>,
    start_asked: Option<Instant>,
    running_since: Option<DateTime<Utc>>,
    first_frame: Option<Duration>,
    /// Of all sources together.
    counters: Arc<SourceCounters>,
    /// When the time of all feeds is zero.
    clock: Instant,
    shards: Vec<Shard>,
    input: input::Handle,
    peers: Peers,
    control: Arbiter,
    peers_refused: u64,
    joining: BTreeMap<PeerId, viewers::Joining>,
    /// Who waits for what a shard says to a patch of this peer's, in order.
    patching: BTreeMap<PeerId, VecDeque<ReplyTo>>,
    participants: Throttle,
    sources: Sources,
    snapshots: Snapshots,
    encoder: snapshot::Encoder,
    /// What everybody sees.
    slots: BTreeMap<SlotIndex, Bound>,
    /// Shape of the desktop's cursor; `None` while it is not known.
    cursor: Option<Option<CursorShape>>,
}

impl Session {
    /// A session with its threads, and no source yet.
    ///
    /// # Errors
    /// When sockets or threads cannot be had.
    pub fn new(
        id: StreamerId,
        spec: StreamerSpec,
        settings: Settings,
        run_dir: &Path,
        senders: Senders,
    ) -> io::Result<Self> {
        let clock = Instant::now();
        let shared_dir = run_dir.join(SHARED_DIR);
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&shared_dir)?;
        let shared = std::iter::once(shared_dir.as_path()).chain(settings.homes.all());
        let shared = shared.map(Path::to_owned).collect();
        confine::configure(settings.isolation, settings.network, &settings.hidden, shared);
        let identity = Identity::generate().map_err(io::Error::other)?;
        let (input, _) = input::start(senders.input.clone())?;
        let mut shards = Vec::new();
        for index in 0..settings.shards.max(1) as usize {
            let shard::Started { commands, feeder, thread } = shard::start(shard::Config {
                index,
                network: Network::of(&settings),
                slots: spec.slots,
                messages: settings.data_messages_per_second,
                clock,
                identity: identity.clone(),
                input: input.clone(),
                reports: senders.reports.clone(),
            })?;
            shards.push(Shard { commands, feeder, thread, peers: 0, network: NetworkStats::default() });
        }
        let mut session = Self {
            id,
            spec,
            settings,
            shared_dir,
            senders,
            process_start: clock,
            created: Utc::now(),
            start_asked: None,
            running_since: None,
            first_frame: None,
            counters: Arc::default(),
            clock,
            shards,
            participants: Throttle::new(PARTICIPANTS_INTERVAL),
            input,
            peers: Peers::default(),
            control: Arbiter::default(),
            peers_refused: 0,
            joining: BTreeMap::new(),
            patching: BTreeMap::new(),
            sources: Sources::default(),
            snapshots: Snapshots::default(),
            encoder: snapshot::Encoder::start()?,
            slots: BTreeMap::new(),
            cursor: None,
        };
        let main = session.spec.source.clone().map(|spec| (MAIN_SOURCE.to_owned(), spec));
        for (name, spec) in main.into_iter().chain(session.spec.sources.clone()) {
            session.add_source(name, spec, false)?;
        }
        Ok(session)
    }

    /// All there is to know, for a web-server that has just connected. The WebSockets of the one before are gone.
    pub fn adopted(&mut self) -> SessionState {
        self.web_server_gone();
        self.peers.reachable(Instant::now());
        SessionState {
            id: self.id.clone(),
            spec: self.spec.clone().as_given(),
            started: self.created,
            running_since: self.running_since,
            slots: self.slots.values().map(|bound| bound.info.clone()).collect(),
            peers: self.peers.list(),
            control: self.control.control().clone(),
        }
    }

    /// The web-server is gone, and every WebSocket with it. Media goes on.
    pub fn web_server_gone(&mut self) {
        self.peers.detach_all(Instant::now());
    }

    /// Handles a message of the web-server's.
    pub fn message(&mut self, link: &mut Link, from: ConnectionId, message: ServerIpcMessage) {
        let to = |request| ReplyTo { connection: from, request };
        match message {
            ServerIpcMessage::StartSource { request } => self.start_session(link, to(request)),
            ServerIpcMessage::AddPeer { request, join } => self.add_peer(link, to(request), join.0),
            ServerIpcMessage::FromPeer { peer, message } => self.signal(link, peer, message.0),
            ServerIpcMessage::DetachPeer { peer, socket } => self.peers.detach(Instant::now(), peer, socket),
            ServerIpcMessage::RemovePeer { request, peer, reason } => {
                let known = self.tell(peer, Command::Remove { peer, reason });
                link.reply(to(request), known.map(|()| Reply::Done));
            }
            ServerIpcMessage::UpdatePeer { request, peer, role } => {
                let result = self.set_role(link, peer, role);
                link.reply(to(request), result.map(|()| Reply::Done));
            }
            ServerIpcMessage::PatchPeer { request, peer, patch } => {
                self.patch_peer(link, to(request), peer, patch.0);
            }
            ServerIpcMessage::BindSlot { request, slot, bind } => {
                self.bind_slot(link, to(request), slot, bind.0);
            }
            ServerIpcMessage::ClearSlot { request, slot } => {
                let result = self.clear_slot(link, slot);
                link.reply(to(request), result.map(|()| Reply::Done));
            }
            ServerIpcMessage::AddSource { request, name, source } => {
                let result = self.add_named(name, source.0);
                link.reply(to(request), result.map(|()| Reply::Done));
                self.settle();
            }
            ServerIpcMessage::RemoveSource { request, name } => {
                let result = self.remove_named(link, &name);
                link.reply(to(request), result.map(|()| Reply::Done));
                self.settle();
            }
            ServerIpcMessage::Control { request, change } => {
                let result = self.change_control(link, change.0);
                link.reply(to(request), result);
            }
            ServerIpcMessage::Snapshot { request, slot, format, width } => {
                self.snapshot(link, slot, Asked { to: to(request), form: Form { format, width } });
            }
            ServerIpcMessage::Sources { request } => self.list_sources(to(request)),
            ServerIpcMessage::Init { .. } | ServerIpcMessage::Stop { .. } => {
                unreachable!("handled by the control loop")
            }
            request => self.request(link, from, request),
        }
    }

    /// Requests that take time, and need the source.
    fn request(&mut self, link: &mut Link, from: ConnectionId, message: ServerIpcMessage) {
        let to = |request| ReplyTo { connection: from, request };
        let done = self.senders.finished.clone();
        let free = self.not_stalled().and_then(|()| self.free_for_programs());
        let (asked, result) = match message {
            ServerIpcMessage::Input { request, input } => {
                // A picture without pixels is one that has not come yet.
                let picture = self.shown_in(input.0.slot).ok().map(|source| source.info().size);
                let picture = picture.filter(|size| size.width > 0 && size.height > 0);
                let input =
                    free.and_then(|()| requests::input(to(request), done, &self.input, input.0, picture));
                (request, input)
            }
            ServerIpcMessage::GetClipboard { request, wanted } => {
                let clipboard = self.not_stalled().and_then(|()| self.clipboard());
                let get = |clipboard| requests::get_clipboard(to(request), done, clipboard, wanted);
                (request, clipboard.map(get))
            }
            ServerIpcMessage::SetClipboard { request, content } => {
                let clipboard = free.and_then(|()| self.clipboard());
                let set = clipboard.map(|clipboard| clipboard.set(content, Actor::Api));
                (request, set.map(|set| requests::set_clipboard(to(request), done, set)))
            }
            ServerIpcMessage::Windows { request } => {
                let windows = self.sources.main().and_then(|main| main.running()?.windows());
                let windows = self.not_stalled().and(windows.ok_or_else(|| {
                    let message = "this streamer has no desktop that windows could be on";
                    RequestError::new(ErrorKind::Conflict, "no_desktop", message)
                }));
                (request, windows.map(|windows| requests::windows(to(request), done, windows)))
            }
            ServerIpcMessage::Resize { request, slot, width, height } => {
                let resized = free
                    .and_then(|()| self.shown_in(slot))
                    .map(|source| source.resize(Size { width, height }));
                (request, resized.map(|resized| requests::resize(to(request), done, resized)))
            }
            other => {
                tracing::warn!(?other, "a message that needs no source came here");
                return;
            }
        };
        if let Err(error) = result {
            link.reply(to(asked), Err(error));
        }
    }

    /// Whether the desktop's X server answers, as far as is known.
    fn not_stalled(&self) -> Result<(), RequestError> {
        match self.sources.main().map(|main| (&main.spec, &main.life)) {
            Some((SourceSpec::Desktop(_), Life::Offline(_, reason))) => {
                Err(RequestError::new(ErrorKind::Timeout, "stalled", reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The running source that everybody sees in a slot.
    fn shown_in(&self, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        self.check_slot(slot)?;
        let shown = self.slots.get(&slot).map(|bound| &bound.shown.source);
        self.running(shown.map(String::as_str), slot)
    }

    /// The running source that a peer sees in a slot.
    fn shown_to(&self, peer: PeerId, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        let shown = self.seen_by(peer, slot).map(|shown| shown.source.as_str());
        self.running(shown, slot)
    }

    fn running(&self, source: Option<&str>, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        let nothing =
            || RequestError::new(ErrorKind::Conflict, "slot_inactive", format!("slot {slot} shows nothing"));
        let entry = source.and_then(|name| self.sources.get(name)).ok_or_else(nothing)?;
        entry.running().ok_or_else(|| {
            let message = format!("what slot {slot} shows is not running");
            RequestError::new(ErrorKind::Conflict, "source_offline", message)
        })
    }

    fn clipboard(&self) -> Result<Arc<dyn source::Clipboard>, RequestError> {
        let clipboard = self.sources.main().and_then(|main| main.running()?.clipboard());
        clipboard.ok_or_else(|| {
            let kind = self.spec.source.as_ref().map_or("streamer without a main", |source| source.kind());
            let message = format!("a {kind} source has no clipboard");
            RequestError::new(ErrorKind::Conflict, "no_clipboard", message)
        })
    }

    /// Takes the session down: shards say goodbye to their peers, the source and all it started end.
    pub async fn end(self) {
        let Session { mut shards, mut sources, input, .. } = self;
        shards.iter_mut().for_each(|shard| shard.commands.stop());
        let ended = tokio::task::spawn_blocking(move || {
            input.send(input::Event::Detach(MAIN_SOURCE.to_owned()));
            shards.into_iter().for_each(|shard| shard::join(shard.thread, SHARD_PATIENCE));
            // Those that are made from others first.
            let main = sources.remove(MAIN_SOURCE);
            drop(sources);
            drop(main);
        });
        let _ = ended.await;
    }
}
