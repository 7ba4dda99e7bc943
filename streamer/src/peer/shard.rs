//! A shard: one thread that owns some of the peers, their UDP port and their timers.
//!
//! Each turn of its loop: media first, as it is what everybody waits for; then viewers that come back from the negotiator;
//! then commands; then datagrams; then timers. Nothing here takes long: what does is the negotiator's.
//!
//! What it decides is decided beside it: whose a datagram is (`routes`), whose timer runs (`timers`), what is kept for a viewer
//! that is away (`away`).

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

mod negotiation;

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd as _;
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
use rustix::event::{PollFd, PollFlags};
use tokio::sync::mpsc;
use tracing::Span;

use super::away::{Away, Deferred};
use super::commands::Commands;
use super::connection::{Channel, Event, Identity};
use super::feeds::Feeds;
use super::handover;
use super::messages::{self, Order};
use super::negotiator::{Common, Negotiator, Work};
use super::routes::Routes;
use super::socket::{Inbox, Network, Sockets};
use super::tcp::{Arrived, Handed};
use super::timers::Timers;
use super::viewer::{Context, Viewer};
use super::{Audience, Binding, Command, FeedId, Key, Media, Path, PeerCommand, Report};
use crate::feed::Demand;
use crate::input;
use crate::stats::Counter;
use crate::wake::{Wake, wait_for};

/// Units and sound packets on their way to a shard: some seconds' worth. When a shard is so far behind, what comes is
/// dropped; it sees the gap in the numbers and goes on with the next keyframe.
const MEDIA_QUEUE: usize = 512;
/// Media and commands taken in one turn at most: a shard that is behind still hears its peers and its end.
const PER_TURN: usize = 64;

/// The way of media to a shard.
#[derive(Clone)]
pub struct Feeder {
    media: SyncSender<Media>,
    wake: Arc<Wake>,
    dropped: Arc<Counter>,
}

impl Feeder {
    /// Gives media to the shard. Never blocks; see `MEDIA_QUEUE`.
    pub fn send(&self, media: Media) {
        if let Err(TrySendError::Full(_)) = self.media.try_send(media) {
            tracing::debug!("a shard is behind: media dropped");
            self.dropped.add(1);
        }
        self.wake.wake();
    }
}

/// Bitrates follow paths at most this often.
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
        negotiator,
        wake,
        commands: command_receiver,
        media: media_receiver,
        dropped,
        viewers: BTreeMap::new(),
        next_key: 0,
        by_peer: HashMap::new(),
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

struct Entry {
    peer: PeerId,
    place: Place,
    /// Our ICE user name, once there is a description of ours.
    ufrag: String,
    span: Span,
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
    context: Context,
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
    wake: Arc<Wake>,
    commands: Receiver<Command>,
    media: Receiver<Media>,
    /// Media that did not fit the queue.
    dropped: Arc<Counter>,
    bindings: Vec<Option<Binding>>,
    /// Of the picture in slot 0, pixels: some peers say positions as parts of it.
    first_size: (u32, u32),
    /// Who may steer, besides what roles permit.
    control: Control,
    viewers: BTreeMap<Key, Entry>,
    next_key: Key,
    by_peer: HashMap<PeerId, Key>,
    routes: Routes,
    timers: Timers,
    inbox: Inbox,
    events: Vec<Event>,
    /// What those who watch say of what is published here.
    published: Vec<(Key, Arc<Demand>)>,
    /// When bitrates are to be compared with what paths carry; `None` while no path has shown a limit.
    limits_due: Option<Instant>,
    /// Counters of viewers that are gone.
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
        // Fails only for want of memory: the turn is taken at once then.
        let _ = wait_for(&mut fds, deadline);
        let said: Vec<_> = fds[before..].iter().map(PollFd::revents).collect();
        let wishes = self.published.iter().zip(&fds[before - self.published.len()..]);
        let wishes = wishes.filter(|(_, fd)| !fd.revents().is_empty());
        let wished: Vec<_> = wishes.map(|((key, demand), _)| (*key, demand.clone())).collect();
        drop(fds);
        self.sockets.tcp().polled(said.into_iter());
        self.wake.reset();
        for (key, demand) in wished {
            demand.reset_wake();
            self.take_wishes(key);
        }
    }

    /// Asks a peer for what those who watch it want. One that is away is asked when it is back.
    fn take_wishes(&mut self, key: Key) {
        let now = Instant::now();
        if let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) {
            viewer.take_wishes(now);
            for taken in viewer.news_of_layers(now) {
                self.reports.send(Report::Layers { peer: viewer.id, taken });
            }
            viewer.transmit(&mut self.sockets, |_, _| {});
            schedule(&mut self.timers, key, viewer);
        }
    }

    /// Something that a peer publishes has begun or ended.
    fn follow_published(&mut self, key: Key) {
        self.published.retain(|(of, _)| *of != key);
        let demands = self.viewers.get_mut(&key).and_then(Entry::here).map(|viewer| viewer.demands());
        self.published.extend(demands.unwrap_or_default().into_iter().map(|demand| (key, demand)));
    }

    fn take_media(&mut self) {
        for taken in 1.. {
            let Ok(media) = self.media.try_recv() else { return };
            let now = Instant::now();
            if let Media::Video(feed, unit) = &media {
                self.context.feeds.push(now, *feed, unit);
            }
            for (key, entry) in &mut self.viewers {
                match &mut entry.place {
                    Place::Here(viewer) => {
                        viewer.write(now, &media, &mut self.context);
                        viewer.transmit(&mut self.sockets, |_, _| {});
                        if viewer.is_limited() {
                            // Packets may wait for their turn.
                            schedule(&mut self.timers, *key, viewer);
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
        for viewer in self.viewers.values_mut().filter_map(Entry::here) {
            let peer = viewer.id;
            for (slot, state) in viewer.changed_slots(&self.context.feeds) {
                self.reports.send(Report::Slot { peer, slot, state });
            }
        }
    }

    /// Breaks when the shard is to end.
    fn take_commands(&mut self) -> ControlFlow<()> {
        for taken in 1.. {
            match self.commands.try_recv() {
                Ok(command) => self.command(Instant::now(), command)?,
                Err(TryRecvError::Empty) => break,
                Err(TryRecvError::Disconnected) => return ControlFlow::Break(()),
            }
            if taken == PER_TURN {
                // More may wait: come back at once after the media.
                self.wake.wake();
                break;
            }
        }
        ControlFlow::Continue(())
    }

    /// Breaks when the shard is to end.
    fn command(&mut self, now: Instant, command: Command) -> ControlFlow<()> {
        match command {
            Command::Join { peer, role, srtp, begin } => self.join(peer, role, srtp, begin),
            Command::Answer { peer, sdp } => self.for_peer(peer, |shard, key| shard.answer(key, sdp)),
            Command::Peer { peer, command } => {
                self.for_peer(peer, |shard, key| shard.peer_command(now, key, command));
            }
            Command::Remove { peer, reason } => self.for_peer(peer, |shard, key| shard.remove(key, &reason)),
            Command::AddFeed { feed, demand } => self.context.feeds.add(feed, demand),
            Command::RemoveFeed { feed } => self.context.feeds.remove(feed),
            Command::FeedOnline { feed, online } => {
                self.context.feeds.set_online(feed, online);
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
            Command::Stop => return ControlFlow::Break(()),
        }
        ControlFlow::Continue(())
    }

    /// Does something for one peer, within its span. Nothing when the peer is gone.
    fn for_peer(&mut self, peer: PeerId, act: impl FnOnce(&mut Self, Key)) {
        let Some(key) = self.by_peer.get(&peer).copied() else { return };
        let Some(entry) = self.viewers.get(&key) else { return };
        let _entered = entry.span.clone().entered();
        act(self, key);
        self.report_slots();
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
            Some(Place::Away(_)) => self.keep(key, Deferred::Offline(feed)),
            None => {}
        }
    }

    /// What a slot shows to everybody has changed.
    fn bind(&mut self, now: Instant, key: Key, slot: SlotIndex, binding: Option<Binding>) {
        match self.viewers.get_mut(&key).map(|entry| &mut entry.place) {
            Some(Place::Here(viewer)) => {
                viewer.bind(now, slot, binding, &mut self.context);
                viewer.transmit(&mut self.sockets, |_, _| {});
                self.offer_if_due(key);
            }
            Some(Place::Away(_)) => self.keep(key, Deferred::Bind { slot, binding }),
            None => {}
        }
    }

    fn with<T>(&mut self, key: Key, act: impl FnOnce(&mut Viewer, &mut Context) -> T) -> Option<T> {
        let viewer = self.viewers.get_mut(&key)?.here()?;
        Some(act(viewer, &mut self.context))
    }

    /// What came while the peer was away.
    fn deferred(&mut self, now: Instant, key: Key, command: Deferred) {
        match command {
            Deferred::Peer(command) => self.peer_command(now, key, command),
            Deferred::Bind { slot, binding } => self.bind(now, key, slot, binding),
            Deferred::Offline(feed) => self.offline(key, feed),
        }
    }

    fn peer_command(&mut self, now: Instant, key: Key, command: PeerCommand) {
        let Some(entry) = self.viewers.get(&key) else { return };
        let peer = entry.peer;
        if matches!(command, PeerCommand::SetRole(role) if role < Role::Controller) {
            // At once, also of one that is away: nothing may stay pressed by who may press nothing.
            self.input.gone(Actor::Peer(peer));
        }
        if matches!(entry.place, Place::Away(_)) {
            return self.keep(key, Deferred::Peer(command));
        }
        let refused = match command {
            PeerCommand::Patch(patch) => return self.patch(now, key, patch),
            PeerCommand::Candidate { candidate, mid, index } => self
                .with(key, |viewer, _| {
                    let added = viewer.connection().add_candidate(candidate, mid, index);
                    added.err().map(|error| ("bad_candidate", error.to_string()))
                })
                .flatten(),
            PeerCommand::Pause { slot, paused } => {
                self.with_slot(key, slot, |viewer, cx| viewer.pause(now, slot, paused, cx))
            }
            PeerCommand::Switch { slot, own } => {
                let followed = self.bindings.get(usize::from(slot)).copied().flatten();
                self.with_slot(key, slot, |viewer, cx| viewer.switch(now, slot, own, followed, cx))
            }
            PeerCommand::Keyframe { slot } => {
                self.with_slot(key, slot, |viewer, cx| viewer.request_keyframe(now, slot, cx))
            }
            PeerCommand::ReportSlots => {
                self.with(key, |viewer, _| viewer.forget_told());
                None
            }
            PeerCommand::SetRole(role) => {
                self.with(key, |viewer, _| viewer.role = role);
                None
            }
            PeerCommand::Publish(outlet) => {
                let kind = outlet.kind;
                if self.with(key, |viewer, cx| viewer.publish(now, *outlet, cx)) == Some(false) {
                    self.reports.send(Report::Unpublishable { peer, kind });
                }
                self.follow_published(key);
                self.take_wishes(key);
                None
            }
            PeerCommand::Unpublish(kind) => {
                self.with(key, |viewer, _| viewer.unpublish(kind));
                self.follow_published(key);
                None
            }
        };
        if let Some((code, message)) = refused {
            self.reports.send(Report::Refused { peer, code, message });
        }
        self.offer_if_due(key);
        self.after_input(now, key);
    }

    /// Acts on a slot of a peer; `act` says whether there is such a slot. Returns the refusal if there is none.
    fn with_slot(
        &mut self,
        key: Key,
        slot: SlotIndex,
        act: impl FnOnce(&mut Viewer, &mut Context) -> bool,
    ) -> Option<(&'static str, String)> {
        let known = self.with(key, act)?;
        (!known).then(|| ("slot_not_found", format!("there is no slot {slot}")))
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
        if to.includes(viewer.id, viewer.role) && viewer.say(now, text) {
            viewer.transmit(&mut self.sockets, |_, _| {});
            schedule(&mut self.timers, key, viewer);
        }
    }

    fn take_datagrams(&mut self) {
        // The sockets are borrowed while they are read, so what arrives is copied out first.
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        self.sockets.receive(|datagram| inbox.push(&datagram));
        for (path, data) in inbox.iter() {
            if let Some(key) = self.routes.find(path.remote, data) {
                self.datagram(Instant::now(), key, path, data);
            }
        }
        self.inbox = inbox;
    }

    /// Takes TCP connections of peers, and what has come by those that are there.
    fn take_connections(&mut self) {
        while let Some(handed) = self.handed.as_ref().and_then(|handed| handed.try_recv().ok()) {
            // The peer of a connection that is dropped is gone.
            let Some(key) = self.routes.named(&handed.packet) else { continue };
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
        self.context.feeds.timeout(now);
        // Once: a timer that is due again at once waits for the next turn.
        for key in self.timers.take_due(now) {
            let Some(entry) = self.viewers.get_mut(&key) else { continue };
            let _entered = entry.span.clone().entered();
            // One that is away gets its timer when it is back.
            let Some(viewer) = entry.here() else { continue };
            if viewer.timeout(now, self.context.clock) {
                if let Some(held) = messages::repeat(now, viewer, &self.control) {
                    // Left out, it is what was held that is let go.
                    let _ = self.input.keys(Actor::Peer(viewer.id), held);
                }
                self.after_input(now, key);
                self.with(key, |viewer, cx| {
                    viewer.resume(now, cx);
                    viewer.choose_layers(now, cx);
                });
                if self.published.iter().any(|(of, _)| *of == key) {
                    // What nobody takes any more is told after a while.
                    self.take_wishes(key);
                }
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
        self.context.feeds.limit(viewers.iter().flat_map(|viewer| viewer.shares()));
    }

    /// After every input to a viewer: takes what happened, sends what is to be sent, sets its timer.
    fn after_input(&mut self, now: Instant, key: Key) {
        let mut events = std::mem::take(&mut self.events);
        let mut pictured = Vec::new();
        if let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) {
            viewer.poll(now, &mut events, &mut pictured);
            for pictured in pictured {
                self.reports.send(Report::Pictured { peer: viewer.id, pictured });
            }
        }
        for event in events.drain(..) {
            self.event(now, key, event);
        }
        self.events = events;
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        if let Place::Here(viewer) = &mut entry.place {
            viewer.transmit(&mut self.sockets, |path, data| {
                // What comes by a connection is the peer's whose connection it is.
                if path.transport != Transport::Tcp {
                    self.routes.sent(key, path.remote, data);
                }
            });
            schedule(&mut self.timers, key, viewer);
        }
    }

    fn event(&mut self, now: Instant, key: Key, event: Event) {
        let Some(viewer) = self.viewers.get_mut(&key).and_then(Entry::here) else { return };
        let peer = viewer.id;
        match event {
            Event::Connected => {
                viewer.connected(now, &mut self.context);
                self.reports.send(Report::State { peer, state: PeerState::Connected });
                self.report_slots();
            }
            Event::Lost => {
                viewer.lost(now, &mut self.context);
                self.reports.send(Report::State { peer, state: PeerState::Lost });
                self.report_slots();
            }
            Event::Closed(reason) => self.remove(key, reason),
            Event::Open(Channel::General) => self.reports.send(Report::Listening { peer }),
            Event::Open(_) => {}
            Event::Message(channel, bytes) => self.message(now, key, channel, &bytes),
            Event::Feedback(feedback) => {
                viewer.feedback(now, feedback, &mut self.context);
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
        if let Some(tcp) = &self.tcp {
            tcp.removed(&entry.ufrag);
        }
        self.by_peer.remove(&entry.peer);
        self.published.retain(|(of, _)| *of != key);
        self.routes.remove(key, &entry.ufrag);
        self.timers.remove(key);
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
        viewer.leave(&mut self.context);
        viewer.transmit(&mut self.sockets, |_, _| {});
        viewer.counted().add_to(&mut self.counted);
    }

    fn stats(&mut self) {
        if !self.negotiator.is_well() {
            // Left without an answer, the control loop takes this shard for stuck and ends the session.
            return tracing::error!("the negotiator has been at one peer for seconds");
        }
        let mut network = self.counted.clone();
        let counts = self.sockets.counts();
        network.sent_bytes = counts.bytes;
        network.send_calls = counts.calls;
        network.send_drops = counts.drops;
        network.media_drops = self.dropped.get();
        let mut peers = Vec::with_capacity(self.viewers.len());
        for entry in self.viewers.values() {
            let (state, counted) = match &entry.place {
                Place::Here(viewer) => (viewer.state(), viewer.counted()),
                Place::Away(away) => (away.state, away.counted.clone()),
            };
            network.peers += u32::from(state == PeerState::Connected);
            counted.add_to(&mut network);
            peers.push((entry.peer, counted.stats));
        }
        self.reports.send(Report::Stats { shard: self.index, network, peers });
    }
}

/// Has the timer of a viewer run when the viewer needs it.
fn schedule(timers: &mut Timers, key: Key, viewer: &mut Viewer) {
    if let Some(deadline) = viewer.deadline() {
        timers.set(key, deadline);
    }
}

/// Waits for a shard to end after [`Command::Stop`], but not for ever.
pub fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}
