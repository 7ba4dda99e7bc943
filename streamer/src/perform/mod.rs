//! Carries out what the session decides: owns its threads and the ways to them, and starts and ends its sources.
//!
//! ```text
//! session ── Effect ──▶ Performer ─┬─▶ web-server      (link)
//!                                  ├─▶ shards, input   (commands that never wait)
//!                                  ├─▶ sources         (started and ended on threads of their own)
//!                                  └─▶ requests        (tasks that reply later)
//! ```
//!
//! Nothing here waits: the control loop does. What fails comes back to the session as an event, or is logged.

mod readers;
mod requests;

use std::collections::BTreeMap;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::api::Peer;
use common::exit::ExitReason;
use common::id::{MAIN_SOURCE, PeerId, SourceName};
use common::ipc::{Json, SHARED_DIR, Settings, StreamerIpcMessage};
use common::signal::{PublishKind, ServerMessage};
use common::spec::{HomeDirs, StreamerSpec};
use common::stats::StreamerStats;
use tokio::sync::mpsc;

use crate::feed::{AudioOutlet, Demand, VideoOutlet};
use crate::link::{Finished, Link};
use crate::mix::{self, Plan};
use crate::peer::commands::Commands;
use crate::peer::connection::Identity;
use crate::peer::publishing::{MediaOutlet, Outlet};
use crate::peer::{Command, FeedId, Media, Network, PeerCommand, Report, handover, shard};
use crate::process::confine;
use crate::session::Started;
use crate::session::effects::{Effect, RenditionStart, SourceStart};
use crate::session::sources::Feed;
use crate::source::rendition::Rendition;
use crate::source::{self, Events, Outlets, Running, SourceKey};
use crate::stats::{SourceCounters, process_stats};
use crate::{input, snapshot};
use readers::Readers;

/// How long shards may take to say goodbye to their peers.
const SHARD_PATIENCE: Duration = Duration::from_millis(500);

/// The sending ends of the control loop's queues, for what is started here.
#[derive(Clone)]
pub struct Senders {
    /// From shards.
    pub reports: mpsc::Sender<Report>,
    /// From the sources.
    pub source: mpsc::Sender<(SourceKey, source::Event)>,
    /// A source has been started, or not.
    pub started: mpsc::Sender<(SourceKey, Started)>,
    /// Requests that took time.
    pub finished: mpsc::Sender<Finished>,
    /// The next snapshot of this source may be taken.
    pub pictured: mpsc::Sender<SourceName>,
    /// From the input thread.
    pub input: mpsc::Sender<input::Notice>,
}

struct Shard {
    commands: Commands,
    feeder: shard::Feeder,
    thread: JoinHandle<()>,
}

/// The threads of a session.
pub struct Performer {
    senders: Senders,
    shards: Vec<Shard>,
    input: input::Handle,
    encoder: snapshot::Encoder,
    /// Those that run, by their feeds.
    renditions: BTreeMap<FeedId, Rendition>,
    readers: Readers,
    /// While anything is mixed.
    mixer: Option<mix::Handle>,
    /// Of all sources together.
    counters: Arc<SourceCounters>,
    /// When the time of all feeds is zero.
    clock: Instant,
    /// For what desktops share with their programs.
    shared_dir: PathBuf,
    homes: HomeDirs,
    furnish: bool,
}

impl Performer {
    /// Starts the threads that every session has.
    ///
    /// # Errors
    /// When sockets or threads cannot be had.
    #[expect(clippy::disallowed_methods, reason = "the clock of all feeds begins with it")]
    pub fn start(
        spec: &StreamerSpec,
        settings: &Settings,
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
                network: Network::of(settings),
                slots: spec.slots,
                messages: settings.data_messages_per_second,
                clock,
                identity: identity.clone(),
                tcp: tcp.clone(),
                input: input.clone(),
                reports: senders.reports.clone(),
            })?;
            shards.push(Shard { commands, feeder, thread });
        }
        let readers = Readers::new(senders.reports.clone());
        Ok(Self {
            senders,
            shards,
            input,
            encoder: snapshot::Encoder::start()?,
            renditions: BTreeMap::new(),
            readers,
            mixer: None,
            counters: Arc::default(),
            clock,
            shared_dir,
            homes: settings.homes.clone(),
            furnish: settings.furnish_desktops,
        })
    }

    /// How many shards there are.
    pub fn shards(&self) -> usize {
        self.shards.len()
    }

    /// What all sources count together.
    pub fn counters(&self) -> &Arc<SourceCounters> {
        &self.counters
    }

    /// Why the session must end, if one of its threads is of no use any more.
    pub fn trouble(&self) -> Option<ExitReason> {
        if self.shards.iter().any(|shard| shard.thread.is_finished()) {
            // Its peers see nothing any more; a new process helps them, living on without it does not.
            return Some(ExitReason::Fatal { message: "a thread that serves peers has crashed".to_owned() });
        }
        for (n, shard) in self.shards.iter().enumerate() {
            if let Some(overrun) = shard.commands.overrun() {
                let message = format!("shard {n}, a thread that serves peers: {overrun}");
                return Some(ExitReason::Fatal { message });
            }
        }
        if self.mixer.as_ref().is_some_and(mix::Handle::has_crashed) {
            return Some(ExitReason::Fatal { message: "the thread that mixes sound has crashed".to_owned() });
        }
        self.input.trouble().map(|trouble| ExitReason::Fatal { message: trouble.to_string() })
    }

    /// Passes on what shards had no room for. After every event, as it may be a shard that has got on.
    pub fn flush(&mut self) {
        for shard in &mut self.shards {
            shard.commands.flush();
        }
    }

    /// The connection of a player that reads a stream has come.
    pub fn reader_connected(&mut self, peer: PeerId, socket: UnixStream) {
        self.readers.connected(peer, socket);
    }

    /// Gives up what is waited for in vain. Now and then.
    pub fn tick(&mut self, now: Instant) {
        self.readers.tick(now);
    }

    /// Carries out one effect.
    #[expect(clippy::disallowed_methods, reason = "a deadline begins when a reader is opened")]
    pub fn perform(&mut self, link: &mut Link, effect: Effect) {
        match effect {
            Effect::Reply(finished) => link.finish(finished),
            Effect::Send(message) => link.send(message),
            Effect::Heartbeat { stats, peers } => self.heartbeat(link, *stats, peers),
            Effect::Command { shard, command } => self.shards[shard].commands.send(command),
            Effect::OfferCommand { shard, peer, command } => self.offer_command(link, shard, peer, command),
            Effect::Input(event) => self.input.send(event),
            Effect::Rumble(source, pad, motors) => self.input.rumble(source, pad, motors),
            Effect::Publish { shard, peer, kind, video, low, audio, taps, listeners } => {
                let mut feeds = vec![video.id, audio.id];
                feeds.extend(low.as_ref().map(|feed| feed.id));
                let media = match kind {
                    PublishKind::Camera | PublishKind::Screen => {
                        let mut high = self.video_outlet(video);
                        high.take_taps(taps);
                        MediaOutlet::Video { high, low: low.map(|feed| self.video_outlet(feed)) }
                    }
                    PublishKind::Microphone => {
                        let mut outlet = self.audio_outlet(audio);
                        outlet.take_listeners(listeners);
                        MediaOutlet::Audio(outlet)
                    }
                };
                let command = PeerCommand::Publish(Box::new(Outlet { kind, feeds, media }));
                self.shards[shard].commands.send(Command::Peer { peer, command });
            }
            Effect::OpenReader { peer, reads, tap, ear } => {
                self.readers.open(Instant::now(), peer, reads, tap, ear);
            }
            Effect::CloseReader(peer) => self.readers.close(peer),
            Effect::StartSource(start) => self.start_source(*start),
            Effect::StopSource { source, renditions } => self.stop_source(source, &renditions),
            Effect::StartRendition(start) => self.start_rendition(start),
            Effect::Mix(plan) => self.mix(plan),
            Effect::Work(work) => requests::start(work, &self.senders, &self.input, &self.encoder),
        }
    }

    fn heartbeat(&self, link: &mut Link, stats: StreamerStats, peers: Vec<Peer>) {
        let stats = StreamerStats { input_events: self.input.applied(), process: process_stats(), ..stats };
        let peers = peers.into_iter().map(Json).collect();
        link.send(StreamerIpcMessage::Stats { stats: Box::new(Json(stats)), peers });
    }

    fn offer_command(&mut self, link: &mut Link, shard: usize, peer: PeerId, command: Command) {
        if self.shards[shard].commands.offer(command).is_err() {
            let code = "busy".to_owned();
            let message = "the session is behind with its peers; try again".to_owned();
            let message = Json(ServerMessage::Error { code, message, field: None, request_id: None });
            link.send(StreamerIpcMessage::ToPeer { peer, message });
        }
    }

    fn start_source(&self, start: SourceStart) {
        let SourceStart { name, key, spec, upstream, video, audio, taps, listeners, host } = start;
        let mut video = self.video_outlet(video);
        video.take_taps(taps);
        let mut audio = self.audio_outlet(audio);
        audio.take_listeners(listeners);
        let outlets = Outlets {
            video,
            audio,
            counters: self.counters.clone(),
            events: Events::new(key, self.senders.source.clone()),
            shared_dir: self.shared_dir.clone(),
            homes: self.homes.clone(),
            furnish: self.furnish,
            host,
        };
        let started = self.senders.started.clone();
        // Its own thread, not one of a pool: children that are to end with their parent are tied to the
        // thread that started them.
        let span = tracing::info_span!("source", name);
        let spawned = crate::thread::spawn("source-start", move || {
            let _entered = span.entered();
            let _ = started.blocking_send((key, source::start(&spec, upstream, outlets)));
        });
        if let Err(error) = spawned {
            let started = self.senders.started.clone();
            tokio::spawn(async move {
                let failed = source::Error::Io { what: "start a thread".into(), source: error };
                let _ = started.send((key, Err(failed))).await;
            });
        }
    }

    fn stop_source(&mut self, source: Box<dyn Running>, renditions: &[FeedId]) {
        let renditions: Vec<_> = renditions.iter().filter_map(|feed| self.renditions.remove(feed)).collect();
        // Waits for threads and processes to end, and the control loop must not.
        tokio::task::spawn_blocking(move || drop((renditions, source)));
    }

    fn start_rendition(&mut self, start: RenditionStart) {
        let RenditionStart { source, frames, height, settings, feed } = start;
        let id = feed.id;
        if self.renditions.contains_key(&id) {
            return;
        }
        let outlet = self.video_outlet(feed);
        match Rendition::start(frames, height, settings, outlet, self.counters.clone()) {
            Ok(rendition) => {
                self.renditions.insert(id, rendition);
            }
            Err(error) => tracing::warn!(name = source, ?height, %error, "no rendition"),
        }
    }

    fn mix(&mut self, plan: Plan) {
        if plan.mixes.is_empty() {
            self.mixer = None;
            return;
        }
        if self.mixer.is_none() {
            let feeders = self.feeders();
            let clock = self.clock;
            let outlet = move |feed, demand| audio_outlet(feed, demand, clock, feeders.clone());
            match mix::Handle::start(Box::new(outlet)) {
                Ok(mixer) => self.mixer = Some(mixer),
                // Those who take a mix hear nothing until the next change.
                Err(error) => tracing::error!(%error, "sound cannot be mixed"),
            }
        }
        if let Some(mixer) = &self.mixer {
            mixer.follow(plan);
        }
    }

    fn video_outlet(&self, feed: Feed) -> VideoOutlet {
        let feeders = self.feeders();
        VideoOutlet::new(feed.demand, self.clock, move |unit| {
            for feeder in &feeders {
                feeder.send(Media::Video(feed.id, unit.clone()));
            }
        })
    }

    fn audio_outlet(&self, feed: Feed) -> AudioOutlet {
        audio_outlet(feed.id, feed.demand, self.clock, self.feeders())
    }

    fn feeders(&self) -> Vec<shard::Feeder> {
        self.shards.iter().map(|shard| shard.feeder.clone()).collect()
    }

    /// Takes the session down: shards say goodbye to their peers, then `sources`, which are all that run, end in their
    /// order with all that they started.
    pub async fn end(self, sources: Vec<Box<dyn Running>>) {
        let Self { mut shards, renditions, readers, mixer, input, .. } = self;
        drop(mixer);
        readers.stop();
        for shard in &mut shards {
            shard.commands.stop();
        }
        let ended = tokio::task::spawn_blocking(move || {
            input.send(input::Event::Detach(MAIN_SOURCE.to_owned()));
            for shard in shards {
                shard::join(shard.thread, SHARD_PATIENCE);
            }
            drop(renditions);
            drop(sources);
        });
        let _ = ended.await;
    }
}

fn audio_outlet(
    feed: FeedId,
    demand: Arc<Demand>,
    clock: Instant,
    feeders: Vec<shard::Feeder>,
) -> AudioOutlet {
    AudioOutlet::new(demand, clock, move |unit| {
        for feeder in &feeders {
            feeder.send(Media::Audio(feed, unit.clone()));
        }
    })
}
