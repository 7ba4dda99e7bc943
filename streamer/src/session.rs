//! One session after its `Init`: its sources, its slots, its shards, its peers, and what they say to each other.
//!
//! Owned by the control loop. Everything here decides and passes on; what takes time is spawned and
//! comes back as `link::Finished` or [`Started`].

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
use common::api::InputRequest;
use common::clipboard::{Content, Wanted};
use common::id::{MAIN_SOURCE, PeerId, SlotIndex, StreamerId};
use common::input::{Actor, CursorShape};
use common::ipc::request::{self, Patched, RemovePeer, Resize};
use common::ipc::{AnyRequest, Code, Json, RequestError, SHARED_DIR, SessionState, Settings, Tell};
use common::slots::WindowList;
use common::spec::{SourceSpec, StreamerSpec};
use common::stats::NetworkStats;

use crate::control::Arbiter;
use crate::link::{Asked, Link, ReplyTo};
use crate::media::Size;
use crate::peer::commands::Commands;
use crate::peer::connection::Identity;
use crate::peer::{Command, Network, handover, shard};
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
use snapshots::{Snapshots, Waiting};
use sources::{Life, Sources};

/// The slot that shows the main source, unless told otherwise.
const MAIN_SLOT: SlotIndex = 0;
/// How long shards may take to say goodbye to their peers.
const SHARD_PATIENCE: Duration = Duration::from_millis(500);
/// Everybody is told who watches at most this often. Each telling names all and goes to all: when hundreds
/// join at once, telling of each would be what keeps them from joining.
const PARTICIPANTS_INTERVAL: Duration = Duration::from_millis(100);

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
    patching: BTreeMap<PeerId, VecDeque<ReplyTo<Patched>>>,
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
        let tcp = settings.tcp_port.map(|_| handover::start(run_dir)).transpose()?;
        let mut shards = Vec::new();
        for index in 0..settings.shards.max(1) as usize {
            let shard::Started { commands, feeder, thread } = shard::start(shard::Config {
                index,
                network: Network::of(&settings),
                slots: spec.slots,
                messages: settings.data_messages_per_second,
                clock,
                identity: identity.clone(),
                tcp: tcp.clone(),
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

    /// Carries out what the web-server says and expects no reply to.
    pub fn told(&mut self, link: &mut Link, tell: Tell) {
        match tell {
            Tell::FromPeer { peer, message } => self.signal(link, peer, message.0),
            Tell::DetachPeer { peer, socket } => self.peers.detach(Instant::now(), peer, socket),
        }
    }

    /// Carries out a request of the web-server's. Each is answered exactly once, here or when it is done.
    pub fn request(&mut self, link: &mut Link, asked: Asked, request: AnyRequest) {
        match request {
            AnyRequest::StartSource(request) => self.start_session(link, asked.by(&request)),
            AnyRequest::AddPeer(request) => self.add_peer(link, asked.by(&request), request.join.0),
            AnyRequest::RemovePeer(request) => {
                let to = asked.by(&request);
                let RemovePeer { peer, reason } = request;
                link.reply(to, self.tell(peer, Command::Remove { peer, reason }));
            }
            AnyRequest::UpdatePeer(request) => {
                let result = self.set_role(link, request.peer, request.role);
                link.reply(asked.by(&request), result);
            }
            AnyRequest::PatchPeer(request) => {
                self.patch_peer(link, asked.by(&request), request.peer, request.patch.0);
            }
            AnyRequest::SendInput(request) => self.send_input(link, asked.by(&request), request.input.0),
            AnyRequest::TakeSnapshot(request) => {
                let form = Form { format: request.format, width: request.width };
                self.snapshot(link, request.slot, Waiting { to: asked.by(&request), form });
            }
            AnyRequest::GetClipboard(request) => {
                self.get_clipboard(link, asked.by(&request), request.wanted);
            }
            AnyRequest::SetClipboard(request) => {
                self.set_clipboard(link, asked.by(&request), request.content);
            }
            AnyRequest::BindSlot(request) => {
                self.bind_slot(link, asked.by(&request), request.slot, request.bind.0);
            }
            AnyRequest::ClearSlot(request) => {
                let result = self.clear_slot(link, request.slot);
                link.reply(asked.by(&request), result);
            }
            AnyRequest::ListWindows(request) => self.list_windows(link, asked.by(&request)),
            AnyRequest::AddSource(request) => {
                let to = asked.by(&request);
                link.reply(to, self.add_named(request.name, request.source.0));
                self.settle();
            }
            AnyRequest::RemoveSource(request) => {
                let result = self.remove_named(link, &request.name);
                link.reply(asked.by(&request), result);
                self.settle();
            }
            AnyRequest::ListSources(request) => self.list_sources(asked.by(&request)),
            AnyRequest::Resize(request) => self.resize(link, asked.by(&request), &request),
            AnyRequest::ChangeControl(request) => {
                let to = asked.by(&request);
                let result = self.change_control(link, request.change.0);
                link.reply(to, result.map(Json));
            }
        }
    }

    fn send_input(&mut self, link: &mut Link, to: ReplyTo<()>, input: InputRequest) {
        // A picture without pixels is one that has not come yet.
        let picture = self.shown_in(input.slot).ok().map(|source| source.info().size);
        let picture = picture.filter(|size| size.width > 0 && size.height > 0);
        let done = self.senders.finished.clone();
        let sent =
            self.open_to_programs().and_then(|()| requests::input(to, done, &self.input, input, picture));
        if let Err(error) = sent {
            link.refuse(to, error);
        }
    }

    fn get_clipboard(&mut self, link: &mut Link, to: ReplyTo<request::Clipboard>, wanted: Wanted) {
        match self.not_stalled().and_then(|()| self.clipboard()) {
            Ok(clipboard) => requests::get_clipboard(to, self.senders.finished.clone(), clipboard, wanted),
            Err(error) => link.refuse(to, error),
        }
    }

    fn set_clipboard(&mut self, link: &mut Link, to: ReplyTo<()>, content: Content) {
        match self.open_to_programs().and_then(|()| self.clipboard()) {
            Ok(clipboard) => {
                let set = clipboard.set(content, Actor::Api);
                requests::set_clipboard(to, self.senders.finished.clone(), set);
            }
            Err(error) => link.refuse(to, error),
        }
    }

    fn list_windows(&mut self, link: &mut Link, to: ReplyTo<Json<WindowList>>) {
        let windows = self.sources.main().and_then(|main| main.running()?.windows());
        let windows = self.not_stalled().and(windows.ok_or_else(|| {
            let message = "this streamer has no desktop that windows could be on";
            RequestError::new(Code::NoDesktop, message)
        }));
        match windows {
            Ok(windows) => requests::windows(to, self.senders.finished.clone(), windows),
            Err(error) => link.refuse(to, error),
        }
    }

    fn resize(&mut self, link: &mut Link, to: ReplyTo<()>, request: &Resize) {
        let size = Size { width: request.width, height: request.height };
        let resized = self.open_to_programs().and_then(|()| self.shown_in(request.slot));
        match resized.map(|source| source.resize(size)) {
            Ok(resized) => requests::resize(to, self.senders.finished.clone(), resized),
            Err(error) => link.refuse(to, error),
        }
    }

    /// Whether a program may steer by REST now.
    fn open_to_programs(&self) -> Result<(), RequestError> {
        self.not_stalled().and_then(|()| self.free_for_programs())
    }

    /// Whether the desktop's X server answers, as far as is known.
    fn not_stalled(&self) -> Result<(), RequestError> {
        match self.sources.main().map(|main| (&main.spec, &main.life)) {
            Some((SourceSpec::Desktop(_), Life::Offline(_, reason))) => {
                Err(RequestError::new(Code::Stalled, reason.clone()))
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
        let nothing = || RequestError::new(Code::SlotInactive, format!("slot {slot} shows nothing"));
        let entry = source.and_then(|name| self.sources.get(name)).ok_or_else(nothing)?;
        entry.running().ok_or_else(|| {
            let message = format!("what slot {slot} shows is not running");
            RequestError::new(Code::SourceOffline, message)
        })
    }

    fn clipboard(&self) -> Result<Arc<dyn source::Clipboard>, RequestError> {
        let clipboard = self.sources.main().and_then(|main| main.running()?.clipboard());
        clipboard.ok_or_else(|| {
            let kind = self.spec.source.as_ref().map_or("streamer without a main", |source| source.kind());
            let message = format!("a {kind} source has no clipboard");
            RequestError::new(Code::NoClipboard, message)
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
