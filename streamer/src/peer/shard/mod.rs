//! A shard: one thread that owns some of the peers, their UDP port and their timers.
//!
//! In each turn of its loop, media comes first, as everybody waits for it; then peers that come back from the negotiator;
//! then commands; then datagrams; then timers. Nothing here takes long: the negotiator does what does.
//!
//! Decisions are made in pure modules beside it: which peer a datagram is for (`routes`), which peer's timer is due (`timers`), what is
//! kept for a peer that is away (`away`).

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

mod commands;
mod negotiation;
mod traffic;
mod wires;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::api::PeerState;
use common::control::Control;
use common::id::PeerId;
use common::input::Actor;
use common::stats::NetworkStats;
use rustix::event::{PollFd, PollFlags};
use tokio::sync::mpsc;
use tracing::Span;

use super::away::Away;
use super::commands::Commands;
use super::connection::{ConnectionEvent, Identity};
use super::feeds::Feeds;
use super::handover;
use super::messages;
use super::negotiator::{Common, Negotiator, Work};
use super::peer::{Context, Peer};
use super::routes::Routes;
use super::socket::{Inbox, Network, Sockets};
use super::tcp::{Arrived, Handed};
use super::timers::Timers;
use super::wire::Message;
use super::{Binding, Command, Key, Media, Report};
use crate::feed::Demand;
use crate::input;
use crate::memory;
use crate::stats::Counter;
use crate::wake::{Wake, wait_for};

/// Units and sound packets queued for a shard: some seconds' worth. When a shard is further behind, new ones are
/// dropped; it sees the gap in the numbers and continues with the next keyframe.
const MEDIA_QUEUE: usize = 512;
/// Media and commands taken in one turn at most, so that a shard that is behind still serves its peers and can be stopped.
const PER_TURN: usize = 64;

/// Sends media to a shard.
#[derive(Clone)]
pub struct Feeder {
    media: SyncSender<Media>,
    wake: Arc<Wake>,
    dropped: Arc<Counter>,
}

impl Feeder {
    /// Queues media for the shard. Never blocks; see `MEDIA_QUEUE`.
    pub fn send(&self, media: Media) {
        if let Err(TrySendError::Full(_)) = self.media.try_send(media) {
            tracing::debug!("a shard is behind: media dropped");
            self.dropped.add(1);
        }
        self.wake.wake();
    }
}

/// Bitrates are adapted to paths at most this often.
const LIMITS_INTERVAL: Duration = Duration::from_millis(100);

/// A shard that has been started.
pub struct Started {
    /// For the control loop.
    pub commands: Commands,
    /// For sources.
    pub feeder: Feeder,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// The parameters of a new shard.
pub struct Config {
    /// Index of the shard within the session.
    pub index: usize,
    /// Where to listen, and what to offer.
    pub network: Network,
    /// Slots of every peer.
    pub slots: u8,
    /// Data channel messages that one peer may send per second.
    pub messages: u32,
    /// When the time of all feeds is zero.
    pub clock: Instant,
    /// Our certificate.
    pub identity: Identity,
    /// Delivers TCP connections, if TCP is offered.
    pub tcp: Option<handover::Handle>,
    /// Takes the input of peers.
    pub input: input::Handle,
    /// Takes reports. The control loop always reads them; one for which there is no room is dropped and logged.
    pub reports: mpsc::Sender<Report>,
}

/// Binds the sockets and starts the thread, and its negotiator's.
///
/// # Errors
/// No socket can be bound, or no thread started.
pub fn start(config: Config) -> io::Result<Started> {
    let Config { index, network, slots, messages, clock, identity, tcp, input, reports } = config;
    let sockets = Sockets::bind(&network)?;
    let wake = Arc::new(Wake::new()?);
    let (commands, command_receiver) = Commands::new(wake.clone());
    let (media, media_receiver) = sync_channel(MEDIA_QUEUE);
    let dropped = Arc::<Counter>::default();
    let feeder = Feeder { media, wake: wake.clone(), dropped: dropped.clone() };
    let common = Common {
        identity,
        candidates: sockets.candidates().clone(),
        public_ips: network.public_ips,
        deny_candidates: network.deny_candidates,
        messages,
    };
    let negotiator = Negotiator::start(common, wake.clone())?;
    let (tcp, handed) = tcp.map(|tcp| tcp.of_shard(index, wake.clone())).unzip();
    let shard = Shard {
        index,
        bindings: vec![None; usize::from(slots)],
        first_size: (0, 0),
        control: Control::default(),
        context: Context { feeds: Feeds::of(index), clock, packets: Vec::new() },
        input,
        reports: Reports(reports),
        sockets,
        tcp,
        handed,
        arrived: Vec::new(),
        by_wire: Vec::new(),
        negotiator,
        wake,
        commands: command_receiver,
        media: media_receiver,
        dropped,
        peers: BTreeMap::new(),
        next_key: 0,
        keys_by_id: HashMap::new(),
        routes: Routes::default(),
        timers: Timers::default(),
        inbox: Inbox::default(),
        events: Vec::new(),
        published: Vec::new(),
        limits_due: None,
        counted: NetworkStats::default(),
    };
    let thread = crate::thread::spawn("shard", move || shard.run())?;
    Ok(Started { commands, feeder, thread })
}

struct Member {
    id: PeerId,
    place: Place,
    /// Our ICE user name, once there is a description of ours.
    ufrag: String,
    span: Span,
}

/// Which thread has a peer.
///
/// ```text
///       Join ──▶ Away ──made──▶ Here ──answer, offer due, restart──▶ Away ──done──▶ Here
/// ```
enum Place {
    Here(Box<Peer>),
    /// With the negotiator.
    Away(Box<Away>),
}

impl Member {
    fn here(&mut self) -> Option<&mut Peer> {
        match &mut self.place {
            Place::Here(peer) => Some(peer),
            Place::Away(_) => None,
        }
    }
}

/// Sends reports to the control loop.
struct Reports(mpsc::Sender<Report>);

impl Reports {
    fn send(&self, report: Report) {
        if let Err(mpsc::error::TrySendError::Full(report)) = self.0.try_send(report) {
            tracing::error!(?report, "the control loop is behind: report dropped");
        }
    }
}

struct Shard {
    index: usize,
    context: Context,
    input: input::Handle,
    reports: Reports,
    sockets: Sockets,
    /// Announces the ICE user names by which peers can connect by TCP.
    tcp: Option<handover::Names>,
    /// Delivers their connections.
    handed: Option<Receiver<Handed>>,
    /// Scratch space for what they have sent.
    arrived: Vec<Arrived>,
    /// Scratch space for what has come by a media socket.
    by_wire: Vec<Message>,
    negotiator: Negotiator,
    wake: Arc<Wake>,
    commands: Receiver<Command>,
    media: Receiver<Media>,
    /// Media that did not fit the queue.
    dropped: Arc<Counter>,
    bindings: Vec<Option<Binding>>,
    /// Size of the picture in slot 0, pixels: some peers send positions as fractions of it.
    first_size: (u32, u32),
    /// Who may steer, besides what roles permit.
    control: Control,
    peers: BTreeMap<Key, Member>,
    next_key: Key,
    keys_by_id: HashMap<PeerId, Key>,
    routes: Routes,
    timers: Timers,
    inbox: Inbox,
    events: Vec<ConnectionEvent>,
    /// What those who watch say of what is published here.
    published: Vec<(Key, Arc<Demand>)>,
    /// When bitrates are to be adapted to paths; `None` while no path has shown a limit.
    limits_due: Option<Instant>,
    /// Counters of peers that are gone.
    counted: NetworkStats,
}

impl Shard {
    fn run(mut self) {
        loop {
            self.wait();
            self.take_media();
            if self.take_negotiated().is_err() {
                tracing::error!("the negotiator has crashed");
                break;
            }
            if self.take_commands().is_break() {
                break;
            }
            self.take_datagrams();
            self.take_connections();
            self.take_wires();
            self.take_timers();
            self.limit_feeds();
        }
        for key in self.keys() {
            self.remove(key, "the streamer has stopped");
        }
    }

    fn wait(&mut self) {
        let deadline =
            [self.timers.next(), self.context.feeds.deadline(), self.limits_due].into_iter().flatten().min();
        let (datagrams, tcp) = self.sockets.fds();
        let wishes = self.published.iter().map(|(_, demand)| demand.wake_fd());
        let readable = datagrams.chain([self.wake.as_fd()]).chain(wishes);
        let mut fds: Vec<_> = readable.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        let before = fds.len();
        fds.extend(tcp.poll_fds());
        let wired = fds.len();
        fds.extend(wires::poll_fds(&self.peers));
        // Fails only without memory; then the turn is taken at once.
        let _ = wait_for(&mut fds, deadline);
        let said: Vec<_> = fds[before..wired].iter().map(PollFd::revents).collect();
        let said_by_wires: Vec<_> = fds[wired..].iter().map(PollFd::revents).collect();
        let wishes = self.published.iter().zip(&fds[before - self.published.len()..]);
        let wishes = wishes.filter(|(_, fd)| !fd.revents().is_empty());
        let wished: Vec<_> = wishes.map(|((key, demand), _)| (*key, demand.clone())).collect();
        drop(fds);
        self.sockets.tcp().polled(said.into_iter());
        wires::polled(&mut self.peers, said_by_wires.into_iter());
        self.wake.reset();
        for (key, demand) in wished {
            demand.reset_wake();
            self.take_wishes(key);
        }
    }

    /// Asks a peer for what those who watch it want. One that is away is asked when it is back.
    fn take_wishes(&mut self, key: Key) {
        let now = Instant::now();
        if let Some(peer) = self.peers.get_mut(&key).and_then(Member::here) {
            peer.take_wishes(now);
            for taken in peer.news_of_layers(now) {
                self.reports.send(Report::Layers { peer: peer.id, taken });
            }
            peer.transmit(&mut self.sockets, |_, _| {});
            schedule(&mut self.timers, key, peer);
        }
    }

    /// Something that a peer publishes has begun or ended.
    fn follow_published(&mut self, key: Key) {
        self.published.retain(|(of, _)| *of != key);
        let demands = self.peers.get_mut(&key).and_then(Member::here).map(|peer| peer.demands());
        self.published.extend(demands.unwrap_or_default().into_iter().map(|demand| (key, demand)));
    }

    fn take_media(&mut self) {
        for taken in 1.. {
            let Ok(media) = self.media.try_recv() else { return };
            let now = Instant::now();
            if let Media::Video(feed, unit) = &media {
                self.context.feeds.push(now, *feed, unit);
            }
            for (key, entry) in &mut self.peers {
                match &mut entry.place {
                    Place::Here(peer) => {
                        peer.write(now, &media, &mut self.context);
                        peer.transmit(&mut self.sockets, |_, _| {});
                        if peer.delays_packets() {
                            schedule(&mut self.timers, *key, peer);
                        }
                    }
                    Place::Away(away) => away.keep_media(&media),
                }
            }
            if let Media::Video(..) = media {
                self.report_slots();
            }
            if taken == PER_TURN {
                return self.wake.wake();
            }
        }
    }

    fn report_slots(&mut self) {
        for peer in self.peers.values_mut().filter_map(Member::here) {
            let id = peer.id;
            for (slot, state) in peer.changed_slots(&self.context.feeds) {
                self.reports.send(Report::Slot { peer: id, slot, state });
            }
        }
    }

    fn keys(&self) -> Vec<Key> {
        self.peers.keys().copied().collect()
    }

    fn with<T>(&mut self, key: Key, act: impl FnOnce(&mut Peer, &mut Context) -> T) -> Option<T> {
        let peer = self.peers.get_mut(&key)?.here()?;
        Some(act(peer, &mut self.context))
    }

    fn take_timers(&mut self) {
        let now = Instant::now();
        self.context.feeds.timeout(now);
        if self.context.feeds.forget(now) {
            memory::give_back();
        }
        // Each timer once: one that is due again at once waits for the next turn.
        for key in self.timers.take_due(now) {
            let Some(entry) = self.peers.get_mut(&key) else { continue };
            let _entered = entry.span.clone().entered();
            // The timer of a peer that is away runs when it is back.
            let Some(peer) = entry.here() else { continue };
            if peer.timeout(now, self.context.clock) {
                if let Some(held) = messages::repeat(now, peer, &self.control) {
                    // If this is dropped, what the peer held is released.
                    let _ = self.input.keys(Actor::Peer(peer.id), held);
                }
                self.with(key, |peer, cx| {
                    peer.send_copies(now, cx);
                    peer.try_path(now, cx);
                });
                self.after_input(now, key);
                self.with(key, |peer, cx| {
                    peer.resume(now, cx);
                    peer.choose_layers(now, cx);
                    peer.tell_path(now, cx);
                });
                if self.published.iter().any(|(of, _)| *of == key) {
                    // What nobody takes any more is told after a while.
                    self.take_wishes(key);
                }
            } else {
                let reason = peer.failure();
                self.remove(key, reason);
            }
        }
    }

    /// Limits the bitrate of sources to what the viewer with the widest path can receive, so that no viewer's quality suffers from
    /// another's path.
    fn limit_feeds(&mut self) {
        let now = Instant::now();
        if self.limits_due.is_none_or(|due| now < due) {
            return;
        }
        let peers: Vec<&Peer> = self.peers.values_mut().filter_map(Member::here).map(|peer| &*peer).collect();
        let limited = peers.iter().any(|peer| peer.is_limited());
        self.limits_due = limited.then(|| now + LIMITS_INTERVAL);
        self.context.feeds.limit(peers.iter().flat_map(|peer| peer.shares()));
        for peer in self.peers.values_mut().filter_map(Member::here) {
            peer.restart_pictures(now, &mut self.context);
        }
    }

    fn remove(&mut self, key: Key, reason: &str) {
        let Some(entry) = self.peers.remove(&key) else { return };
        if let Some(tcp) = &self.tcp {
            tcp.removed(&entry.ufrag);
        }
        self.keys_by_id.remove(&entry.id);
        self.published.retain(|(of, _)| *of != key);
        self.routes.remove(key, &entry.ufrag);
        self.timers.remove(key);
        let peer = match entry.place {
            Place::Here(peer) => Some(peer),
            // A peer that is being negotiated is dropped when it comes back.
            Place::Away(_) => self.negotiator.withdraw(key).and_then(Work::into_peer),
        };
        if let Some(peer) = peer {
            self.let_go(peer);
        }
        self.sockets.tcp().remove(key);
        self.input.forget(Actor::Peer(entry.id));
        self.reports.send(Report::Gone { peer: entry.id, reason: reason.to_owned() });
    }

    /// Ends a peer's connection and counts it out.
    fn let_go(&mut self, mut peer: Box<Peer>) {
        peer.leave(&mut self.context);
        peer.transmit(&mut self.sockets, |_, _| {});
        peer.counted().add_to(&mut self.counted);
    }

    fn stats(&mut self) {
        if !self.negotiator.is_well() {
            // Without a report, the control loop takes this shard for stuck and ends the session.
            return tracing::error!("the negotiator has been at one peer for seconds");
        }
        let mut network = self.counted.clone();
        let counts = self.sockets.counts();
        network.sent_bytes = counts.bytes;
        network.send_calls = counts.calls;
        network.send_drops = counts.drops;
        network.media_drops = self.dropped.get();
        let mut peers = Vec::with_capacity(self.peers.len());
        for entry in self.peers.values() {
            let (state, counted) = match &entry.place {
                Place::Here(peer) => (peer.state(), peer.counted()),
                Place::Away(away) => (away.state, away.counted.clone()),
            };
            network.peers += u32::from(state == PeerState::Connected);
            counted.add_to(&mut network);
            peers.push((entry.id, counted.stats));
        }
        self.reports.send(Report::Stats { shard: self.index, network, peers });
    }
}

/// Sets the timer of a peer to its next deadline.
fn schedule(timers: &mut Timers, key: Key, peer: &mut Peer) {
    if let Some(deadline) = peer.deadline() {
        timers.set(key, deadline);
    }
}

/// Waits for a shard to end after [`Command::Stop`], for `patience` at most.
pub fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}
