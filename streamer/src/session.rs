//! One session after its `Init`: its source, its shards, its peers, and what they say to each other.
//!
//! Owned by the control loop. Everything here decides and passes on; what takes time is spawned and
//! comes back as [`Finished`] or [`Started`].

mod heartbeat;
mod viewers;

use std::collections::BTreeMap;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::exit::ExitReason;
use common::id::{MAIN_SOURCE, PeerId, SlotIndex, StreamerId};
use common::input::{Actor, CursorShape, GeneralMessage};
use common::ipc::{
    ErrorKind, Json, Reply, RequestError, ServerIpcMessage, SessionState, Settings, StreamerIpcMessage,
};
use common::media::VideoCodec;
use common::signal::{ServerMessage, StreamInfo};
use common::spec::StreamerSpec;
use common::stats::NetworkStats;

use crate::feed::{AudioOutlet, Demand, VideoOutlet};
use crate::ipc::ConnectionId;
use crate::link::{Link, ReplyTo};
use crate::media::Size;
use crate::peer::commands::Commands;
use crate::peer::connection::Identity;
use crate::peer::{Audience, Binding, Command, FeedId, Media, negotiate, shard};
use crate::peers::Peers;
use crate::source::{self, Outlets, Running};
use crate::stats::SourceCounters;
use crate::streamer::Senders;
use crate::throttle::Throttle;
use crate::{input, requests};
use viewers::general;

/// The slot that shows the main source.
const MAIN_SLOT: SlotIndex = 0;
const VIDEO_FEED: FeedId = FeedId(0);
const AUDIO_FEED: FeedId = FeedId(1);
/// How long shards may take to say goodbye to their peers.
const SHARD_PATIENCE: Duration = Duration::from_millis(500);
/// Everybody is told who watches at most this often. Each telling names all and goes to all: when hundreds
/// join at once, telling of each would be what keeps them from joining.
const PARTICIPANTS_INTERVAL: Duration = Duration::from_millis(100);

/// The outcome of starting the source.
pub type Started = Result<Box<dyn Running>, source::Error>;

/// A request that took time is done.
#[derive(Debug)]
pub struct Finished {
    /// Who asked.
    pub to: ReplyTo,
    /// The answer.
    pub result: Result<Reply, RequestError>,
}

/// Life of the source.
///
/// ```text
/// Idle ──StartSource──▶ Starting ──started──▶ Warming ──first keyframe──▶ Running
///                          └── first keyframe, then started ──────────────────┘
/// ```
enum Stage {
    Idle,
    Starting { asked: ReplyTo, keyframe: bool },
    Warming { asked: ReplyTo, source: Box<dyn Running> },
    Running { source: Box<dyn Running>, since: DateTime<Utc> },
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
    run_dir: PathBuf,
    senders: Senders,
    process_start: Instant,
    created: DateTime<Utc>,
    stage: Stage,
    start_asked: Option<Instant>,
    first_frame: Option<Duration>,
    counters: Arc<SourceCounters>,
    video_demand: Arc<Demand>,
    audio_demand: Arc<Demand>,
    /// When the time of all feeds is zero.
    clock: Instant,
    shards: Vec<Shard>,
    input: input::Handle,
    peers: Peers,
    joining: BTreeMap<PeerId, ReplyTo>,
    participants: Throttle,
    slots: BTreeMap<SlotIndex, StreamInfo>,
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
        run_dir: PathBuf,
        senders: Senders,
    ) -> io::Result<Self> {
        let clock = Instant::now();
        let identity = Identity::generate().map_err(io::Error::other)?;
        let (input, _) = input::start(senders.input.clone())?;
        let mut shards = Vec::new();
        for index in 0..settings.shards.max(1) as usize {
            let shard::Started { commands, feeder, thread } = shard::start(shard::Config {
                index,
                ips: settings.listen_ips.clone(),
                slots: spec.slots,
                clock,
                identity: identity.clone(),
                input: input.clone(),
                reports: senders.reports.clone(),
            })?;
            shards.push(Shard { commands, feeder, thread, peers: 0, network: NetworkStats::default() });
        }
        Ok(Self {
            id,
            spec,
            settings,
            run_dir,
            senders,
            process_start: clock,
            created: Utc::now(),
            stage: Stage::Idle,
            start_asked: None,
            first_frame: None,
            counters: Arc::default(),
            video_demand: Arc::new(Demand::new()?),
            audio_demand: Arc::new(Demand::new()?),
            clock,
            shards,
            participants: Throttle::new(PARTICIPANTS_INTERVAL),
            input,
            peers: Peers::default(),
            joining: BTreeMap::new(),
            slots: BTreeMap::new(),
            cursor: None,
        })
    }

    /// All there is to know, for a web-server that has just connected. The WebSockets of the one before are gone.
    pub fn adopted(&mut self) -> SessionState {
        self.web_server_gone();
        SessionState {
            id: self.id.clone(),
            spec: self.spec.clone(),
            started: self.created,
            running_since: match self.stage {
                Stage::Running { since, .. } => Some(since),
                _ => None,
            },
            slots: self.slots.values().cloned().collect(),
            peers: self.peers.list(),
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
            ServerIpcMessage::StartSource { request } => self.start_source(link, to(request)),
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
        let (asked, result) = match message {
            ServerIpcMessage::Input { request, input } => {
                (request, requests::input(to(request), done, &self.input, input.0))
            }
            ServerIpcMessage::Snapshot { request, slot, format, width } => {
                let picture = self.shown_in(slot).map(|source| source.picture());
                (
                    request,
                    picture.map(|picture| requests::snapshot(to(request), done, picture, format, width)),
                )
            }
            ServerIpcMessage::GetClipboard { request } => {
                let clipboard = self.clipboard();
                (request, clipboard.map(|clipboard| requests::get_clipboard(to(request), done, clipboard)))
            }
            ServerIpcMessage::SetClipboard { request, text } => {
                let clipboard = self.clipboard();
                let set = clipboard.map(|clipboard| clipboard.set(text, Actor::Api));
                (request, set.map(|set| requests::set_clipboard(to(request), done, set)))
            }
            ServerIpcMessage::Resize { request, slot, width, height } => {
                let resized = self.shown_in(slot).map(|source| source.resize(Size { width, height }));
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

    fn source(&self) -> Option<&dyn Running> {
        match &self.stage {
            Stage::Warming { source, .. } | Stage::Running { source, .. } => Some(&**source),
            Stage::Idle | Stage::Starting { .. } => None,
        }
    }

    fn shown_in(&self, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        if slot >= self.spec.slots {
            let message = format!("there is no slot {slot}; this streamer has {}", self.spec.slots);
            return Err(RequestError::new(ErrorKind::NotFound, "slot_not_found", message));
        }
        let source = self.source().filter(|_| slot == MAIN_SLOT);
        source.ok_or_else(|| {
            RequestError::new(ErrorKind::Conflict, "slot_inactive", format!("slot {slot} shows nothing"))
        })
    }

    fn clipboard(&self) -> Result<Arc<dyn source::Clipboard>, RequestError> {
        self.shown_in(MAIN_SLOT)?.clipboard().ok_or_else(|| {
            let message = format!("a {} source has no clipboard", self.spec.source.kind());
            RequestError::new(ErrorKind::Conflict, "no_clipboard", message)
        })
    }

    fn start_source(&mut self, link: &mut Link, asked: ReplyTo) {
        if !matches!(self.stage, Stage::Idle) {
            let error =
                RequestError::new(ErrorKind::Conflict, "already_started", "the source has been started");
            return link.reply(asked, Err(error));
        }
        self.stage = Stage::Starting { asked, keyframe: false };
        self.start_asked = Some(Instant::now());
        let feeds = [(VIDEO_FEED, self.video_demand.clone()), (AUDIO_FEED, self.audio_demand.clone())];
        for (feed, demand) in feeds {
            self.tell_all(|| Command::AddFeed { feed, demand: demand.clone() });
        }
        let (spec, outlets, started) =
            (self.spec.source.clone(), self.outlets(), self.senders.started.clone());
        // Its own thread, not one of a pool: children that are to end with their parent are tied to the
        // thread that started them.
        let thread = std::thread::Builder::new().name("source-start".into());
        let spawned = thread.spawn(move || {
            let _ = started.blocking_send(source::start(&spec, outlets));
        });
        if let Err(error) = spawned {
            let started = self.senders.started.clone();
            tokio::spawn(async move {
                let failed = source::Error::Io { what: "start a thread".into(), source: error };
                let _ = started.send(Err(failed)).await;
            });
        }
    }

    fn outlets(&self) -> Outlets {
        let shards = || self.shards.iter().map(|shard| shard.feeder.clone()).collect::<Vec<_>>();
        let (video_shards, audio_shards) = (shards(), shards());
        Outlets {
            video: VideoOutlet::new(self.video_demand.clone(), self.clock, move |unit| {
                video_shards.iter().for_each(|shard| shard.send(Media::Video(VIDEO_FEED, unit.clone())));
            }),
            audio: AudioOutlet::new(self.audio_demand.clone(), self.clock, move |unit| {
                audio_shards.iter().for_each(|shard| shard.send(Media::Audio(AUDIO_FEED, unit.clone())));
            }),
            counters: self.counters.clone(),
            events: self.senders.source.clone(),
            run_dir: self.run_dir.clone(),
        }
    }

    /// The source has been started, or not: in the latter case the session ends.
    pub fn started(&mut self, link: &mut Link, started: Started) -> Option<ExitReason> {
        let Stage::Starting { asked, keyframe } = self.stage else { return None };
        match started {
            Ok(mut source) => {
                if let Some(sink) = source.take_sink() {
                    self.input.send(input::Event::Attach(MAIN_SOURCE.to_owned(), vec![MAIN_SLOT], sink));
                }
                if keyframe {
                    self.source_works(link, asked, source);
                } else {
                    self.stage = Stage::Warming { asked, source };
                }
                None
            }
            Err(error) => {
                let message = error.to_string();
                let refusal = match error {
                    source::Error::Command(_) => {
                        RequestError::new(ErrorKind::Invalid, "command_failed", &message)
                            .with_field("source.command")
                    }
                    _ => RequestError::new(ErrorKind::Failed, "source_failed", &message),
                };
                link.reply(asked, Err(refusal));
                Some(ExitReason::SourceFailed { message })
            }
        }
    }

    /// The source says something.
    pub fn source_event(&mut self, link: &mut Link, event: source::Event) -> Option<ExitReason> {
        match event {
            source::Event::Started => match std::mem::replace(&mut self.stage, Stage::Idle) {
                Stage::Warming { asked, source } => self.source_works(link, asked, source),
                // The keyframe has overtaken the news that the source has been started.
                Stage::Starting { asked, .. } => self.stage = Stage::Starting { asked, keyframe: true },
                stage => self.stage = stage,
            },
            source::Event::Resized(size) => {
                if let Some(info) = self.slots.get_mut(&MAIN_SLOT) {
                    (info.width, info.height) = (size.width, size.height);
                    let stream_info = info.clone();
                    self.broadcast(link, ServerMessage::StreamUpdated { stream_info });
                    self.slots_changed(link);
                }
            }
            source::Event::Cursor(shape) => {
                let text = general(&GeneralMessage::Cursor { slot: MAIN_SLOT, shape: shape.clone() });
                self.cursor = Some(shape);
                self.tell_all(|| Command::Say { to: Audience::All, text: text.clone() });
            }
            source::Event::Clipboard { text, by } => self.clipboard_changed(text, by),
            source::Event::Ended(message) => return Some(self.source_ended(link, message)),
        }
        None
    }

    /// The source is started and the first keyframe is there.
    fn source_works(&mut self, link: &mut Link, asked: ReplyTo, source: Box<dyn Running>) {
        let info = source.info();
        self.stage = Stage::Running { source, since: Utc::now() };
        self.first_frame = self.start_asked.map(|asked| asked.elapsed());
        let audio = info.audio.then_some(AUDIO_FEED);
        let binding = Some(Binding { video: VIDEO_FEED, audio, codec: VideoCodec::H264 });
        self.tell_all(|| Command::Bind { slot: MAIN_SLOT, binding });
        let stream_info = stream_info(MAIN_SLOT, &info);
        self.slots.insert(MAIN_SLOT, stream_info.clone());
        // Before the reply: whoever waits for it is shown the slots too.
        self.slots_changed(link);
        link.reply(asked, Ok(Reply::Done));
        link.send(StreamerIpcMessage::SourceConnected);
        self.broadcast(link, ServerMessage::StreamActivated { stream_info });
    }

    fn source_ended(&mut self, link: &mut Link, message: String) -> ExitReason {
        link.send(StreamerIpcMessage::SourceLost { reason: message.clone() });
        match &self.stage {
            Stage::Starting { asked, .. } | Stage::Warming { asked, .. } => {
                link.reply(*asked, Err(RequestError::new(ErrorKind::Failed, "source_failed", &message)));
                ExitReason::SourceFailed { message }
            }
            Stage::Idle | Stage::Running { .. } => ExitReason::SourceEnded { message },
        }
    }

    fn slots_changed(&self, link: &mut Link) {
        let slots = self.slots.values().cloned().map(Json).collect();
        link.send(StreamerIpcMessage::SlotsChanged { slots });
    }

    /// Takes the session down: shards say goodbye to their peers, the source and all it started end.
    pub async fn end(self) {
        let Session { mut shards, stage, input, .. } = self;
        shards.iter_mut().for_each(|shard| shard.commands.stop());
        let ended = tokio::task::spawn_blocking(move || {
            // Waits while the queue is full, as it may be when the X server hangs.
            input.send(input::Event::Detach(MAIN_SOURCE.to_owned()));
            shards.into_iter().for_each(|shard| shard::join(shard.thread, SHARD_PATIENCE));
            drop(stage);
        });
        let _ = ended.await;
    }
}

fn stream_info(slot: SlotIndex, info: &source::Info) -> StreamInfo {
    let (mid, audio_mid) = negotiate::offered_mids(slot);
    StreamInfo {
        track_id: format!("video{slot}"),
        mid,
        audio_mid: info.audio.then_some(audio_mid),
        slot,
        source: MAIN_SOURCE.to_owned(),
        window_name: None,
        app_name: None,
        is_focused: true,
        width: info.size.width,
        height: info.size.height,
        codec: VideoCodec::H264,
        fps: info.fps,
        cursor: info.cursor,
        input: info.input,
    }
}
