//! A shard: one thread that owns some of the peers, their UDP port and their timers.
//!
//! Each turn of its loop: media first, as it is what everybody waits for; then viewers that come back from the negotiator;
//! then commands; then datagrams; then timers. Nothing here takes long: what does is the negotiator's.

mod negotiation;

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::api::{PeerState, Transport};
use common::control::Control;
use common::id::{PeerId, SlotIndex};
use common::input::Actor;
use common::signal::Role;
use common::stats::NetworkStats;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use tokio::sync::mpsc;
use tracing::Span;

use super::away::{Away, Counted};
use super::commands::Commands;
use super::connection::{Channel, Event, Identity};
use super::demux;
use super::feeds::Feeds;
use super::handover;
use super::messages::{self, Order};
use super::negotiator::{Common, Negotiator, Work};
use super::slot::Packet;
use super::socket::{Inbox, Network, Sockets};
use super::tcp::{Arrived, Handed};
use super::viewer::{Context, Viewer};
use super::{Audience, Binding, Command, FeedId, Media, Path, Report};
use crate::input;
use crate::stats::Counter;

/// Units and sound packets on their way to a shard: some seconds' worth. When a shard is so far behind, what comes is
/// dropped; it sees the gap in the numbers and goes on with the next keyframe.
const MEDIA_QUEUE: usize = 512;
/// Media and commands taken in one turn at most: a shard that is behind still hears its peers and its end.
const PER_TURN: usize = 64;

/// The way of media to a shard.
#[derive(Clone)]
pub struct Feeder {
    media: SyncSender<Media>,
    wake: Arc<OwnedFd>,
    dropped: Arc<Counter>,
}

impl Feeder {
    /// Gives media to the shard. Never blocks; see `MEDIA_QUEUE`.
    pub fn send(&self, media: Media) {
        if let Err(TrySendError::Full(_)) = self.media.try_send(media) {
            tracing::debug!("a shard is behind: media dropped");
            self.dropped.add(1);
        }
        wake(&self.wake);
    }
}

/// Bitrates follow paths at most this often.
const LIMITS_INTERVAL: Duration = Duration::from_millis(100);

/// Ends a shard's wait.
pub(super) fn wake(fd: &OwnedFd) {
    // Fails only when the counter would overflow, and then it is readable.
    let _ = rustix::io::write(fd, &1u64.to_ne_bytes());
}

/// A shard that has been started.
pub struct Started {
    /// For the control loop.
    pub commands: Commands,
    /// For sources.
    pub feeder: Feeder,
    /// Its thread.
    pub thread: JoinHandle<()>,
}

/// What a shard is given at its start.
pub struct Config {
    /// Which of the session's shards it is.
    pub index: usize,
    /// Where to listen, and what to offer.
    pub network: Network,
    /// Slots of every peer.
    pub slots: u8,
    /// Data channel messages of one peer, per second.
    pub messages: u32,
    /// When the time of all feeds is zero.
    pub clock: Instant,
    /// Our certificate.
    pub identity: Identity,
    /// The way of TCP connections, if any are offered.
    pub tcp: Option<handover::Handle>,
    /// Where input goes.
    pub input: input::Handle,
    /// Where reports go. The control loop always reads them; one that does not fit is dropped and logged.
    pub reports: mpsc::Sender<Report>,
}

/// Binds the sockets and starts the thread, and its negotiator's.
///
/// # Errors
/// When nothing can be bound or no thread started.
pub fn start(config: Config) -> io::Result<Started> {
    let Config { index, network, slots, messages, clock, identity, tcp, input, reports } = config;
    let sockets = Sockets::bind(&network)?;
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
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
        clock,
        input,
        reports: Reports(reports),
        sockets,
        tcp,
        handed,
        arrived: Vec::new(),
        negotiator,
        wake,
        commands: command_receiver,
        media: media_receiver,
        dropped,
        feeds: Feeds::of(index),
        viewers: BTreeMap::new(),
        next_key: 0,
        by_peer: HashMap::new(),
        by_ufrag: HashMap::new(),
        by_address: HashMap::new(),
        timers: BinaryHeap::new(),
        packets: Vec::new(),
        inbox: Inbox::default(),
        events: Vec::new(),
        limits_due: None,
        counted: NetworkStats::default(),
    };
    let thread = crate::thread::spawn("shard", move || shard.run())?;
    Ok(Started { commands, feeder, thread })
}

/// Index of a viewer in its shard. Never used again, so that what is late for one cannot reach another.
pub(super) type Key = u64;

struct Entry {
    peer: PeerId,
    place: Place,
    /// Our ICE user name, once there is a description of ours.
    ufrag: String,
    span: Span,
    /// The earliest of its timers in the heap.
    scheduled: Option<Instant>,
}

/// Where a viewer is.
///
/// ```text
///       Join ──▶ Away ──made──▶ Here ──answer, offer due, restart──▶ Away ──done──▶ Here
/// ```
enum Place {
    Here(Box<Viewer>),
    /// With the negotiator.
    Away(Box<Away>),
}

impl Entry {
    fn here(&mut self) -> Option<&mut Viewer> {
        match &mut self.place {
            Place::Here(viewer) => Some(viewer),
            Place::Away(_) => None,
        }
    }
}

/// The way to the control loop.
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
    clock: Instant,
    input: input::Handle,
    reports: Reports,
    sockets: Sockets,
    /// Tells by which names peers can come by TCP.
    tcp: Option<handover::Names>,
    /// Their connections.
    handed: Option<Receiver<Handed>>,
    /// Scratch space for what they have sent.
    arrived: Vec<Arrived>,
    negotiator: Negotiator,
    wake: Arc<OwnedFd>,
    commands: Receiver<Command>,
    media: Receiver<Media>,
    /// Media that did not fit the queue.
    dropped: Arc<Counter>,
    feeds: Feeds,
    bindings: Vec<Option<Binding>>,
    /// Of the picture in slot 0, pixels: some peers say positions as parts of it.
    first_size: (u32, u32),
    /// Who may steer, besides what roles permit.
    control: Control,
    viewers: BTreeMap<Key, Entry>,
    next_key: Key,
    by_peer: HashMap<PeerId, Key>,
    by_ufrag: HashMap<String, Key>,
    by_address: HashMap<SocketAddr, Key>,
    timers: BinaryHeap<Reverse<(Instant, Key)>>,
    packets: Vec<Packet>,
    inbox: Inbox,
    events: Vec<Event>,
    /// When bitrates are to be compared with what paths carry; `None` while no path has shown a limit.
    limits_due: Option<Instant>,
    /// Counters of viewers that are gone.
    counted: NetworkStats,
}

/// The parts of a shard that a viewer works with, borrowed apart from the viewers.
macro_rules! context {
    ($shard:ident) => {
        &mut Context { feeds: &mut $shard.feeds, clock: $shard.clock, packets: &mut $shard.packets }
    };
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
            if self.take_commands() {
                break;
            }
            self.take_datagrams();
            self.take_connections();
            self.take_timers();
            self.limit_feeds();
        }
        for key in self.keys() {
            self.remove(key, "the streamer has stopped");
        }
    }

    fn wait(&mut self) {
        let now = Instant::now();
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let deadline = [timer, self.feeds.deadline(), self.limits_due].into_iter().flatten().min();
        let timeout = deadline.map(|at| at.saturating_duration_since(now));
        let timeout = timeout.and_then(|wait| Timespec::try_from(wait).ok());
        let (datagrams, tcp) = self.sockets.fds();
        let mut fds: Vec<_> = datagrams.map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        let before = fds.len();
        fds.extend(tcp.poll_fds());
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
        let said: Vec<_> = fds[before..].iter().map(PollFd::revents).collect();
        drop(fds);
        self.sockets.tcp().polled(said.into_iter());
        // Reset before the queues are read, so that nothing is missed. Fails when it is zero already.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    fn take_media(&mut self) {
        for taken in 1.. {
            let Ok(media) = self.media.try_recv() else { return };
            let now = Instant::now();
            if let Media::Video(feed, unit) = &media {
                self.feeds.push(now, *feed, unit);
            }
            for (key, entry) in &mut self.viewers {
                match &mut entry.place {
                    Place::Here(viewer) => {
                        viewer.write(now, &media, context!(self));
                        viewer.transmit(&mut self.sockets, |_, _| {});
                        if viewer.is_limited() {
                            // Packets may wait for their turn.
                            schedule(&mut self.timers, *key, &mut entry.scheduled, viewer);
                        }
                    }
                    Place::Away(away) => away.keep_media(&media),
                }
            }
            if let Media::Video(..) = media {
                self.report_slots();
            }
            if taken == PER_TURN {
                return wake(&self.wake);
            }
        }
    }

    fn report_slots(&mut self) {
        for viewer in self.viewers.values_mut().filter_map(Entry::here) {
            let peer = viewer.id;
            for (slot, state) in viewer.changed_slots(&self.feeds) {
                self.reports.send(Report::Slot { peer, slot, state });
            }
        }
    }

    /// True when the shard is to end.
    fn take_commands(&mut self) -> bool {
        for taken in 1.. {
            let command = match self.commands.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return true,
                Err(TryRecvError::Empty) => return false,
                Ok(command) => command,
            };
            self.command(Instant::now(), command);
            if taken == PER_TURN {
                // More may wait: come back at once after the media.
                wake(&self.wake);
                break;
            }
        }
        false
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join { peer, role, srtp, begin } => self.join(peer, role, srtp, begin),
            Command::AddFeed { feed, demand } => self.feeds.add(feed, demand),
            Command::RemoveFeed { feed } => self.feeds.remove(feed),
            Command::FeedOnline { feed, online } => {
                self.feeds.set_online(feed, online);
                if !online {
                    for key in self.keys() {
                        self.offline(key, feed);
                    }
                }
                self.report_slots();
            }
            Command::Bind { slot, binding, size } => {
                if let Some(bound) = self.bindings.get_mut(usize::from(slot)) {
                    *bound = binding;
                }
                if slot == 0 {
                    self.first_size = size;
                }
                for key in self.keys() {
                    self.bind(now, key, slot, binding);
                }
                self.report_slots();
            }
            Command::Control(control) => self.set_control(control),
            Command::Say { to, text } => self.say_to_all(now, to, &text),
            Command::Stats => self.stats(),
            Command::Answer { peer, .. }
            | Command::Candidate { peer, .. }
            | Command::Pause { peer, .. }
            | Command::Switch { peer, .. }
            | Command::Keyframe { peer, .. }
            | Command::TellSlots { peer }
            | Command::Patch { peer, .. }
            | Command::SetRole { peer, .. }
            | Command::Remove { peer, .. } => {
                if let Some(key) = self.by_peer.get(&peer).copied() {
                    self.peer_command(now, key, command);
                    self.report_slots();
                }
            }
            // Handled by the caller.
            Command::Stop => {}
        }
    }

    /// Whoever may not steer any more lets go of what it held.
    fn set_control(&mut self, control: Control) {
        for peer in self.by_peer.keys().copied() {
            if self.control.admits(peer) && !control.admits(peer) {
                self.input.gone(Actor::Peer(peer));
            }
        }
        self.control = control;
    }

    fn keys(&self) -> Vec<Key> {
        self.viewers.keys().copied().collect()
    }

    /// A feed is lost.
    fn offline(&mut self, key: Key, feed: FeedId) {
        match self.viewers.get_mut(&key).map(|entry| &mut entry.place) {
            Some(Place::Here(viewer)) => viewer.offline(feed),
            Some(Place::Away(_)) => self.keep(key, Command::FeedOnline { feed, online: false }),
            None => {}
        }
    }

    /// What a slot shows to everybody has changed.
    fn bind(&mut self, now: Instant, key: Key, slot: SlotIndex, binding: Option<Binding>) {
        match self.viewers.get_mut(&key).map(|entry| &mut entry.place) {
            Some(Place::Here(viewer)) => {
                viewer.bind(now, slot, binding, context!(self));
                viewer.transmit(&mut self.sockets, |_, _| {});
                self.offer_if_due(key);
            }
            Some(Place::Away(_)) => self.keep(key, Command::Bind { slot, binding, size: self.first_size }),
            None => {}
        }
    }

    fn with<T>(&mut self, key: Key, act: impl FnOnce(&mut Viewer, &mut Context<'_>) -> T) -> Option<T> {
        let viewer = self.viewers.get_mut(&key)?.here()?;
        Some(act(viewer, context!(self)))
    }

    fn peer_command(&mut self, now: Instant, key: Key, command: Command) {
        let Some(entry) = self.viewers.get(&key) else { return };
        let peer = entry.peer;
        let away = matches!(entry.place, Place::Away(_));
        let _entered = entry.span.clone().entered();
        let refused = match command {
            Command::Remove { reason, .. } => return self.remove(key, &reason),
            Command::Answer { sdp, .. } => return self.answer(key, sdp),
            Command::SetRole { role, .. } if role < Role::Controller && away => {
                self.input.gone(Actor::Peer(peer));
                return self.keep(key, command);
            }
            command if away => return self.keep(key, command),
            Command::Bind { slot, binding, .. } => return self.bind(now, key, slot, binding),
            Command::FeedOnline { feed, .. } => return self.offline(key, feed),
            Command::Patch { patch, .. } => return self.patch(now, key, patch),
            Command::Candidate { candidate, mid, index, .. } => self.with(key, |viewer, _| {
                let added = viewer.connection().add_candidate(candidate, mid, index);
                added.err().map(|error| ("bad_candidate", error.to_string()))
            }),
            Command::Pause { slot, paused, .. } => self.with(key, |viewer, cx| {
                let known = viewer.pause(now, slot, paused, cx);
                (!known).then(|| ("slot_not_found", format!("there is no slot {slot}")))
            }),
            Command::Switch { slot, own, .. } => {
                let followed = self.bindings.get(usize::from(slot)).copied().flatten();
                self.with(key, |viewer, cx| {
                    let known = viewer.switch(now, slot, own, followed, cx);
                    (!known).then(|| ("slot_not_found", format!("there is no slot {slot}")))
                })
            }
            Command::Keyframe { slot, .. } => self.with(key, |viewer, cx| {
                let known = viewer.request_keyframe(now, slot, cx);
                (!known).then(|| ("slot_not_found", format!("there is no slot {slot}")))
            }),
            Command::TellSlots { .. } => {
                self.with(key, |viewer, _| viewer.forget_told());
                None
            }
            Command::SetRole { role, .. } => {
                if role < Role::Controller {
                    self.input.gone(Actor::Peer(peer));
                }
                self.with(key, |viewer, _| viewer.role = role);
                None
            }
            _ => None,
        };
        if let Some(Some((code, message))) = refused {
            self.reports.send(Report::Refused { peer, code, message });
        }
        self.offer_if_due(key);
        self.after_input(now, key);
    }

    fn say_to_all(&mut self, now: Instant, to: Audience, text: &Arc<str>) {
        for key in self.keys() {
            self.say(now, key, to, text);
        }
    }

    fn say(&mut self, now: Instant, key: Key, to: Audience, text: &Arc<str>) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let viewer = match &mut entry.place {
            Place::Here(viewer) => viewer,
            Place::Away(away) => return away.keep_text(entry.peer, to, text),
        };
        let hears = match to {
            Audience::All => true,
            Audience::AllBut(peer) => viewer.id != peer,
            Audience::Controllers => viewer.role >= Role::Controller,
            Audience::ControllersBut(peer) => viewer.role >= Role::Controller && viewer.id != peer,
            Audience::One(peer) => viewer.id == peer,
        };
        if hears && viewer.say(now, text) {
            viewer.transmit(&mut self.sockets, |_, _| {});
            schedule(&mut self.timers, key, &mut entry.scheduled, viewer);
        }
    }

    fn take_datagrams(&mut self) {
        // The sockets are borrowed while they are read, so what arrives is copied out first.
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        self.sockets.receive(|datagram| inbox.push(&datagram));
        for (path, data) in inbox.iter() {
            let now = Instant::now();
            let by_name = demux::our_ufrag(data).and_then(|ufrag| self.by_ufrag.get(ufrag));
            let Some(key) = by_name.or_else(|| self.by_address.get(&path.remote)).copied() else { continue };
            self.datagram(now, key, path, data);
        }
        self.inbox = inbox;
    }

    /// Takes TCP connections of peers, and what has come by those that are there.
    fn take_connections(&mut self) {
        while let Some(handed) = self.handed.as_ref().and_then(|handed| handed.try_recv().ok()) {
            let named = demux::our_ufrag(&handed.packet).and_then(|ufrag| self.by_ufrag.get(ufrag));
            // The peer of a connection that is dropped is gone.
            let Some(key) = named.copied() else { continue };
            match self.sockets.tcp().add(key, handed.stream) {
                Ok(path) => self.datagram(Instant::now(), key, path, &handed.packet),
                Err(error) => tracing::debug!(%error, "a TCP connection of a peer's is not taken"),
            }
        }
        let mut arrived = std::mem::take(&mut self.arrived);
        self.sockets.tcp().receive(&mut arrived);
        for Arrived { owner, path, data } in arrived.drain(..) {
            self.datagram(Instant::now(), owner, path, &data);
        }
        self.arrived = arrived;
    }

    fn datagram(&mut self, now: Instant, key: Key, path: Path, data: &[u8]) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let _entered = entry.span.clone().entered();
        match &mut entry.place {
            Place::Here(viewer) => {
                viewer.connection().receive(now, path, data);
                self.after_input(now, key);
            }
            Place::Away(away) => away.keep_datagram(path, data),
        }
    }

    fn take_timers(&mut self) {
        let now = Instant::now();
        self.feeds.timeout(now);
        // Those that are due now, once: a timer that is due again at once waits for the next turn.
        let mut due = Vec::new();
        while let Some(Reverse((at, key))) = self.timers.peek().copied().filter(|Reverse((at, _))| *at <= now)
        {
            self.timers.pop();
            due.push((at, key));
        }
        for (at, key) in due {
            let Some(entry) = self.viewers.get_mut(&key).filter(|entry| entry.scheduled == Some(at)) else {
                continue;
            };
            entry.scheduled = None;
            let _entered = entry.span.clone().entered();
            // One that is away gets its timer when it is back.
            let Some(viewer) = entry.here() else { continue };
            if viewer.timeout(now, self.clock) {
                if let Some(held) = messages::repeat(now, viewer, &self.control) {
                    // Left out, it is what was held that is let go.
                    let _ = self.input.keys(Actor::Peer(viewer.id), held);
                }
                self.after_input(now, key);
                self.with(key, |viewer, cx| viewer.resume(now, cx));
            } else {
                self.remove(key, "the connection was not made in time");
            }
        }
    }

    /// Tells sources which bitrate helps those who watch them: as much as the one with the widest path can take, so that
    /// nobody pays for another's.
    fn limit_feeds(&mut self) {
        let now = Instant::now();
        if self.limits_due.is_none_or(|due| now < due) {
            return;
        }
        let viewers: Vec<&Viewer> =
            self.viewers.values_mut().filter_map(Entry::here).map(|viewer| &*viewer).collect();
        let limited = viewers.iter().any(|viewer| viewer.is_limited());
        self.limits_due = limited.then(|| now + LIMITS_INTERVAL);
        self.feeds.limit(viewers.iter().flat_map(|viewer| viewer.shares()));
    }

    /// After every input to a viewer: takes what happened, sends what is to be sent, sets its timer.
    fn after_input(&mut self, now: Instant, key: Key) {
        let mut events = std::mem::take(&mut self.events);
        if let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) {
            viewer.poll(now, &mut events);
        }
        for event in events.drain(..) {
            self.event(now, key, event);
        }
        self.events = events;
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        if let Place::Here(viewer) = &mut entry.place {
            let by_address = &mut self.by_address;
            viewer.transmit(&mut self.sockets, |path, data| {
                let to = path.remote;
                if path.transport == Transport::Tcp {
                    // What comes by a connection is the peer's whose connection it is.
                } else if demux::proves_address(data) {
                    by_address.insert(to, key);
                } else {
                    // Our own checks go wherever the peer's candidates say. That must not take others' addresses.
                    by_address.entry(to).or_insert(key);
                }
            });
            schedule(&mut self.timers, key, &mut entry.scheduled, viewer);
        }
    }

    fn event(&mut self, now: Instant, key: Key, event: Event) {
        let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) else { return };
        let peer = viewer.id;
        match event {
            Event::Connected => {
                viewer.connected(now, context!(self));
                self.reports.send(Report::State { peer, state: PeerState::Connected });
                self.report_slots();
            }
            Event::Lost => {
                viewer.lost(now, context!(self));
                self.reports.send(Report::State { peer, state: PeerState::Lost });
                self.report_slots();
            }
            Event::Closed(reason) => self.remove(key, reason),
            Event::Open(Channel::General) => self.reports.send(Report::Listening { peer }),
            Event::Open(_) => {}
            Event::Message(channel, bytes) => self.message(now, key, channel, &bytes),
            Event::Feedback(feedback) => {
                viewer.feedback(now, feedback, context!(self));
                if viewer.is_limited() {
                    self.limits_due.get_or_insert(now + LIMITS_INTERVAL);
                }
            }
        }
    }

    fn message(&mut self, now: Instant, key: Key, channel: Channel, bytes: &[u8]) {
        let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) else { return };
        let taken = match channel {
            Channel::MultiWebrtc(channel) => {
                messages::take_translated(now, viewer, &self.control, (channel, bytes), self.first_size)
            }
            channel => messages::take(now, viewer, &self.control, channel, bytes),
        };
        match taken {
            Ok(None) => {}
            Ok(Some(Order::Keys(message))) => {
                let by = Actor::Peer(viewer.id);
                if self.input.keys(by, message).is_err() {
                    viewer.refuse(now, channel, "busy", "input comes faster than the session takes it");
                }
            }
            // A motion that is left out is made good by the next one.
            Ok(Some(Order::Motion(message))) => {
                self.input.motion(Actor::Peer(viewer.id), message);
            }
            Ok(Some(Order::Report(told))) => self.reports.send(told),
            Err(refused) => viewer.refuse(now, channel, refused.code, &refused.message),
        }
    }

    fn remove(&mut self, key: Key, reason: &str) {
        let Some(entry) = self.viewers.remove(&key) else { return };
        self.by_ufrag.remove(&entry.ufrag);
        if let Some(tcp) = &self.tcp {
            tcp.removed(&entry.ufrag);
        }
        self.by_peer.remove(&entry.peer);
        self.by_address.retain(|_, owner| *owner != key);
        let viewer = match entry.place {
            Place::Here(viewer) => Some(viewer),
            // One that is being negotiated is let go when it comes back.
            Place::Away(_) => self.negotiator.withdraw(key).and_then(Work::into_viewer),
        };
        if let Some(viewer) = viewer {
            self.let_go(viewer);
        }
        self.sockets.tcp().remove(key);
        self.input.forget(Actor::Peer(entry.peer));
        self.reports.send(Report::Gone { peer: entry.peer, reason: reason.to_owned() });
    }

    /// A viewer goes for good.
    fn let_go(&mut self, mut viewer: Box<Viewer>) {
        viewer.leave(context!(self));
        viewer.transmit(&mut self.sockets, |_, _| {});
        add_stats(&mut self.counted, &viewer.counted());
    }

    fn stats(&mut self) {
        if !self.negotiator.is_well() {
            // Left without an answer, the control loop takes this shard for stuck and ends the session.
            return tracing::error!("the negotiator has been at one peer for seconds");
        }
        let mut network = self.counted.clone();
        let counts = self.sockets.counts();
        (network.sent_bytes, network.send_calls, network.send_drops) =
            (counts.bytes, counts.calls, counts.drops);
        network.media_drops = self.dropped.get();
        let mut peers = Vec::with_capacity(self.viewers.len());
        for entry in self.viewers.values() {
            let (state, counted) = match &entry.place {
                Place::Here(viewer) => (viewer.state(), viewer.counted()),
                Place::Away(away) => (away.state, away.counted.clone()),
            };
            network.peers += u32::from(state == PeerState::Connected);
            add_stats(&mut network, &counted);
            peers.push((entry.peer, counted.stats));
        }
        self.reports.send(Report::Stats { shard: self.index, network, peers });
    }
}

fn add_stats(network: &mut NetworkStats, counted: &Counted) {
    let stats = &counted.stats;
    network.rtp_packets += stats.packets;
    network.retransmitted += stats.retransmitted;
    network.not_retransmitted += counted.not_retransmitted;
    network.keyframe_requests += stats.keyframe_requests;
    network.skipped_units += stats.skipped_units;
    network.messages_dropped += counted.messages_dropped;
}

/// Sets the timer of a viewer if it has to run earlier than is planned.
fn schedule(
    timers: &mut BinaryHeap<Reverse<(Instant, Key)>>,
    key: Key,
    scheduled: &mut Option<Instant>,
    viewer: &mut Viewer,
) {
    let Some(deadline) = viewer.deadline() else { return };
    if scheduled.is_none_or(|scheduled| deadline < scheduled) {
        *scheduled = Some(deadline);
        timers.push(Reverse((deadline, key)));
    }
}

/// Waits for a shard to end after [`Command::Stop`], but not for ever.
pub fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}
