//! A shard: one thread that owns some of the peers, their UDP port and their timers.
//!
//! Each turn of its loop: media first, as it is what everybody waits for; then commands, at most one of
//! the expensive ones (a join takes milliseconds, a frame's interval is 33); then datagrams; then timers.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::api::PeerState;
use common::control::Control;
use common::id::PeerId;
use common::input::Actor;
use common::ipc::IcePatch;
use common::signal::Role;
use common::stats::NetworkStats;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fd::{AsFd, OwnedFd};
use tokio::sync::mpsc;
use tracing::Span;

use super::commands::Commands;
use super::connection::{Channel, Event, Identity};
use super::demux;
use super::feeds::Feeds;
use super::messages::{self, Order};
use super::negotiate;
use super::slot::Packet;
use super::socket::{Inbox, Network, Sockets};
use super::viewer::{Context, Setup, Viewer};
use super::{Audience, Begin, Binding, Command, Media, Report};
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
    /// Where input goes.
    pub input: input::Handle,
    /// Where reports go. The control loop always reads them; one that does not fit is dropped and logged.
    pub reports: mpsc::Sender<Report>,
}

/// Binds the sockets and starts the thread.
///
/// # Errors
/// When nothing can be bound or no thread started.
pub fn start(config: Config) -> io::Result<Started> {
    let sockets = Sockets::bind(&config.network)?;
    let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (commands, command_receiver) = Commands::new(wake.clone());
    let (media, media_receiver) = sync_channel(MEDIA_QUEUE);
    let dropped = Arc::<Counter>::default();
    let feeder = Feeder { media, wake: wake.clone(), dropped: dropped.clone() };
    let feeds = Feeds::of(config.index);
    let shard = Shard {
        bindings: vec![None; usize::from(config.slots)],
        first_size: (0, 0),
        control: Control::default(),
        config,
        sockets,
        wake,
        commands: command_receiver,
        media: media_receiver,
        dropped,
        feeds,
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
        network: NetworkStats::default(),
    };
    let thread = crate::thread::spawn("shard", move || shard.run())?;
    Ok(Started { commands, feeder, thread })
}

/// Index of a viewer in its shard. Never used again, so that what is late for one cannot reach another.
type Key = u64;

struct Entry {
    viewer: Viewer,
    ufrag: String,
    span: Span,
    /// The earliest of its timers in the heap.
    scheduled: Option<Instant>,
}

struct Shard {
    config: Config,
    sockets: Sockets,
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
    /// Counters of viewers that are gone, and of all that is not a viewer's.
    network: NetworkStats,
}

/// The parts of a shard that a viewer works with, borrowed apart from the viewers.
macro_rules! context {
    ($shard:ident) => {
        &mut Context { feeds: &mut $shard.feeds, clock: $shard.config.clock, packets: &mut $shard.packets }
    };
}

impl Shard {
    fn run(mut self) {
        loop {
            self.wait();
            self.take_media();
            if self.take_commands() {
                break;
            }
            self.take_datagrams();
            self.take_timers();
            self.limit_feeds();
        }
        for key in self.viewers.keys().copied().collect::<Vec<_>>() {
            self.remove(key, "the streamer has stopped");
        }
    }

    fn wait(&self) {
        let now = Instant::now();
        let timer = self.timers.peek().map(|Reverse((at, _))| *at);
        let deadline = [timer, self.feeds.deadline(), self.limits_due].into_iter().flatten().min();
        let timeout = deadline.map(|at| at.saturating_duration_since(now));
        let timeout = timeout.and_then(|wait| Timespec::try_from(wait).ok());
        let mut fds: Vec<_> =
            self.sockets.fds().map(|fd| PollFd::from_borrowed_fd(fd, PollFlags::IN)).collect();
        fds.push(PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN));
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, timeout.as_ref());
        // Reset before the queues are read, so that nothing is missed. Fails when it is zero already.
        let _ = rustix::io::read(&*self.wake, &mut [0; 8]);
    }

    fn take_media(&mut self) {
        for taken in 1.. {
            let Ok(media) = self.media.try_recv() else { return };
            let now = Instant::now();
            match media {
                Media::Video(feed, unit) => {
                    self.feeds.push(now, feed, &unit);
                    for (key, entry) in &mut self.viewers {
                        entry.viewer.write_video(now, feed, &unit, context!(self));
                        entry.viewer.transmit(&mut self.sockets, |_, _| {});
                        if entry.viewer.is_limited() {
                            // Packets may wait for their turn.
                            schedule(&mut self.timers, *key, entry);
                        }
                    }
                    self.report_slots();
                }
                Media::Audio(feed, unit) => {
                    for entry in self.viewers.values_mut() {
                        entry.viewer.write_audio(now, feed, &unit);
                        entry.viewer.transmit(&mut self.sockets, |_, _| {});
                    }
                }
            }
            if taken == PER_TURN {
                return wake(&self.wake);
            }
        }
    }

    fn report_slots(&mut self) {
        for entry in self.viewers.values_mut() {
            let peer = entry.viewer.id;
            for (slot, state) in entry.viewer.changed_slots(&self.feeds) {
                report(&self.config, Report::Slot { peer, slot, state });
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
            let expensive =
                matches!(command, Command::Join { .. } | Command::Answer { .. } | Command::Patch { .. });
            self.command(Instant::now(), command);
            if expensive || taken == PER_TURN {
                // More may wait: come back at once after the media.
                wake(&self.wake);
                break;
            }
        }
        false
    }

    fn command(&mut self, now: Instant, command: Command) {
        match command {
            Command::Join { peer, role, srtp, begin } => self.join(now, peer, role, srtp, begin),
            Command::AddFeed { feed, demand } => self.feeds.add(feed, demand),
            Command::RemoveFeed { feed } => self.feeds.remove(feed),
            Command::FeedOnline { feed, online } => {
                self.feeds.set_online(feed, online);
                if !online {
                    self.viewers.values_mut().for_each(|entry| entry.viewer.offline(feed));
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
                for entry in self.viewers.values_mut() {
                    entry.viewer.bind(now, slot, binding, context!(self));
                    entry.viewer.transmit(&mut self.sockets, |_, _| {});
                }
                self.viewers
                    .keys()
                    .copied()
                    .collect::<Vec<_>>()
                    .into_iter()
                    .for_each(|key| self.offer(now, key));
                self.report_slots();
            }
            Command::Control(control) => self.set_control(control),
            Command::Say { to, text } => self.say(now, to, &text),
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
                }
            }
            // Handled by the caller.
            Command::Stop => {}
        }
    }

    /// Whoever may not steer any more lets go of what it held.
    fn set_control(&mut self, control: Control) {
        for viewer in self.viewers.values().map(|entry| &entry.viewer) {
            if self.control.admits(viewer.id) && !control.admits(viewer.id) {
                self.config.input.gone(Actor::Peer(viewer.id));
            }
        }
        self.control = control;
    }

    fn join(&mut self, now: Instant, peer: PeerId, role: Role, srtp: super::Srtp, begin: Begin) {
        let offers = !matches!(begin, Begin::Accept { .. });
        let setup = Setup {
            id: peer,
            role,
            srtp,
            identity: &self.config.identity,
            candidates: self.sockets.candidates(),
            public_ips: &self.config.network.public_ips,
            deny_candidates: &self.config.network.deny_candidates,
            bindings: &self.bindings,
            messages: self.config.messages,
        };
        match Viewer::new(now, setup, begin) {
            Ok((mut viewer, sdp)) => {
                let sections = viewer.sections();
                let key = self.next_key;
                self.next_key += 1;
                self.by_peer.insert(peer, key);
                let span = tracing::info_span!("peer", id = %peer);
                self.viewers.insert(key, Entry { viewer, ufrag: String::new(), span, scheduled: None });
                self.learn_ufrag(key, &sdp);
                if offers {
                    report(&self.config, Report::Offer { peer, sdp, sections });
                } else {
                    report(&self.config, Report::Answer { peer, result: Ok(sdp) });
                    self.with(key, |viewer, cx| viewer.negotiated(now, cx));
                }
                self.after_input(now, key);
            }
            Err(error) if offers => {
                report(&self.config, Report::Gone { peer, reason: error.to_string() });
            }
            Err(error) => report(&self.config, Report::Answer { peer, result: Err(error.to_string()) }),
        }
    }

    /// Our ICE user name in a description of ours is how packets find this viewer from now on.
    fn learn_ufrag(&mut self, key: Key, sdp: &str) {
        let (Some(entry), Some(ufrag)) = (self.viewers.get_mut(&key), negotiate::ice_ufrag(sdp)) else {
            return;
        };
        self.by_ufrag.remove(&entry.ufrag);
        self.by_ufrag.insert(ufrag.to_owned(), key);
        entry.ufrag = ufrag.to_owned();
    }

    fn patch(&mut self, now: Instant, key: Key, patch: &IcePatch) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let peer = entry.viewer.id;
        let result = entry.viewer.patch(now, patch, &entry.ufrag);
        if let Ok(Some(answer)) = &result {
            self.learn_ufrag(key, answer);
        }
        report(&self.config, Report::Patched { peer, result });
    }

    fn with<T>(&mut self, key: Key, act: impl FnOnce(&mut Viewer, &mut Context<'_>) -> T) -> Option<T> {
        let entry = self.viewers.get_mut(&key)?;
        Some(act(&mut entry.viewer, context!(self)))
    }

    fn peer_command(&mut self, now: Instant, key: Key, command: Command) {
        let _entered = self.viewers.get(&key).map(|entry| entry.span.clone().entered());
        let refused = match command {
            Command::Answer { sdp, .. } => self.with(key, |viewer, cx| {
                if !viewer.awaits_answer() {
                    return Some(("unexpected_answer", "there is no open offer".to_owned()));
                }
                match viewer.connection().answer(now, sdp) {
                    Ok(()) => {
                        viewer.negotiated(now, cx);
                        None
                    }
                    Err(error) => Some(("bad_answer", error.to_string())),
                }
            }),
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
            Command::SetRole { peer, role } => {
                if role < Role::Controller {
                    self.config.input.gone(Actor::Peer(peer));
                }
                self.with(key, |viewer, _| viewer.role = role);
                None
            }
            Command::Patch { patch, .. } => {
                self.patch(now, key, &patch);
                None
            }
            Command::Remove { reason, .. } => {
                self.remove(key, &reason);
                return;
            }
            _ => None,
        };
        if let (Some(Some((code, message))), Some(entry)) = (refused, self.viewers.get(&key)) {
            report(&self.config, Report::Refused { peer: entry.viewer.id, code, message });
        }
        self.offer(now, key);
        self.after_input(now, key);
        self.report_slots();
    }

    /// Makes a viewer another offer if its tracks have changed.
    fn offer(&mut self, now: Instant, key: Key) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let peer = entry.viewer.id;
        match entry.viewer.offer_if_due(now) {
            Ok(None) => {}
            Ok(Some(sdp)) => {
                let sections = entry.viewer.sections();
                report(&self.config, Report::Offer { peer, sdp, sections });
            }
            Err(error) => self.remove(key, &error.to_string()),
        }
    }

    fn say(&mut self, now: Instant, to: Audience, text: &str) {
        for (key, entry) in &mut self.viewers {
            let viewer = &mut entry.viewer;
            let hears = match to {
                Audience::All => true,
                Audience::AllBut(peer) => viewer.id != peer,
                Audience::Controllers => viewer.role >= Role::Controller,
                Audience::ControllersBut(peer) => viewer.role >= Role::Controller && viewer.id != peer,
                Audience::One(peer) => viewer.id == peer,
            };
            if hears && viewer.say(now, text) {
                viewer.transmit(&mut self.sockets, |_, _| {});
                schedule(&mut self.timers, *key, entry);
            }
        }
    }

    fn take_datagrams(&mut self) {
        // The sockets are borrowed while they are read, so what arrives is copied out first.
        let mut inbox = std::mem::take(&mut self.inbox);
        inbox.clear();
        self.sockets.receive(|datagram| inbox.push(&datagram));
        for (local, from, data) in inbox.iter() {
            let now = Instant::now();
            let by_name = demux::our_ufrag(data).and_then(|ufrag| self.by_ufrag.get(ufrag));
            let Some(key) = by_name.or_else(|| self.by_address.get(&from)).copied() else { continue };
            if let Some(entry) = self.viewers.get_mut(&key) {
                let _entered = entry.span.clone().entered();
                entry.viewer.connection().receive(now, local, from, data);
                self.after_input(now, key);
            }
        }
        self.inbox = inbox;
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
            if entry.viewer.timeout(now, self.config.clock) {
                if let Some(held) = messages::repeat(now, &mut entry.viewer, &self.control) {
                    // Left out, it is what was held that is let go.
                    let _ = self.config.input.keys(Actor::Peer(entry.viewer.id), held);
                }
                self.after_input(now, key);
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
        let limited = self.viewers.values().any(|entry| entry.viewer.is_limited());
        self.limits_due = limited.then(|| now + LIMITS_INTERVAL);
        let shares = self.viewers.values().flat_map(|entry| entry.viewer.shares());
        self.feeds.limit(shares);
    }

    /// After every input to a viewer: takes what happened, sends what is to be sent, sets its timer.
    fn after_input(&mut self, now: Instant, key: Key) {
        let mut events = std::mem::take(&mut self.events);
        if let Some(entry) = self.viewers.get_mut(&key) {
            entry.viewer.poll(now, &mut events);
        }
        for event in events.drain(..) {
            self.event(now, key, event);
        }
        self.events = events;
        if let Some(entry) = self.viewers.get_mut(&key) {
            let by_address = &mut self.by_address;
            entry.viewer.transmit(&mut self.sockets, |to, data| {
                if demux::proves_address(data) {
                    by_address.insert(to, key);
                } else {
                    // Our own checks go wherever the peer's candidates say. That must not take others' addresses.
                    by_address.entry(to).or_insert(key);
                }
            });
            schedule(&mut self.timers, key, entry);
        }
    }

    fn event(&mut self, now: Instant, key: Key, event: Event) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let viewer = &mut entry.viewer;
        let peer = viewer.id;
        match event {
            Event::Connected => {
                viewer.connected(now, context!(self));
                report(&self.config, Report::State { peer, state: PeerState::Connected });
                self.report_slots();
            }
            Event::Lost => {
                viewer.lost(now, context!(self));
                report(&self.config, Report::State { peer, state: PeerState::Lost });
                self.report_slots();
            }
            Event::Closed(reason) => self.remove(key, reason),
            Event::Open(Channel::General) => report(&self.config, Report::Listening { peer }),
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
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let viewer = &mut entry.viewer;
        let taken = match channel {
            Channel::MultiWebrtc(channel) => {
                messages::take_translated(now, viewer, &self.control, (channel, bytes), self.first_size)
            }
            channel => messages::take(now, viewer, &self.control, channel, bytes),
        };
        match taken {
            Ok(None) => {}
            Ok(Some(Order::Keys(message))) => {
                let by = Actor::Peer(entry.viewer.id);
                if self.config.input.keys(by, message).is_err() {
                    entry.viewer.refuse(now, channel, "busy", "input comes faster than the session takes it");
                }
            }
            // A motion that is left out is made good by the next one.
            Ok(Some(Order::Motion(message))) => {
                self.config.input.motion(Actor::Peer(entry.viewer.id), message);
            }
            Ok(Some(Order::Report(told))) => report(&self.config, told),
            Err(refused) => entry.viewer.refuse(now, channel, refused.code, &refused.message),
        }
    }

    fn remove(&mut self, key: Key, reason: &str) {
        let Some(mut entry) = self.viewers.remove(&key) else { return };
        entry.viewer.leave(context!(self));
        entry.viewer.transmit(&mut self.sockets, |_, _| {});
        self.by_ufrag.remove(&entry.ufrag);
        self.by_peer.remove(&entry.viewer.id);
        self.by_address.retain(|_, owner| *owner != key);
        add_stats(&mut self.network, &entry.viewer);
        let peer = entry.viewer.id;
        self.config.input.forget(Actor::Peer(peer));
        report(&self.config, Report::Gone { peer, reason: reason.to_owned() });
    }

    fn stats(&mut self) {
        let mut network = self.network.clone();
        let counts = self.sockets.counts();
        (network.sent_bytes, network.send_calls, network.send_drops) =
            (counts.bytes, counts.calls, counts.drops);
        network.media_drops = self.dropped.get();
        for entry in self.viewers.values() {
            network.peers += u32::from(entry.viewer.state() == PeerState::Connected);
            add_stats(&mut network, &entry.viewer);
        }
        let peers = self.viewers.values().map(|entry| (entry.viewer.id, entry.viewer.stats().0)).collect();
        report(&self.config, Report::Stats { shard: self.config.index, network, peers });
    }
}

fn add_stats(network: &mut NetworkStats, viewer: &Viewer) {
    let (stats, not_retransmitted) = viewer.stats();
    network.rtp_packets += stats.packets;
    network.retransmitted += stats.retransmitted;
    network.not_retransmitted += not_retransmitted;
    network.keyframe_requests += stats.keyframe_requests;
    network.skipped_units += stats.skipped_units;
    network.messages_dropped += viewer.messages_dropped();
}

/// Sets the timer of a viewer if it has to run earlier than is planned.
fn schedule(timers: &mut BinaryHeap<Reverse<(Instant, Key)>>, key: Key, entry: &mut Entry) {
    let Some(deadline) = entry.viewer.deadline() else { return };
    if entry.scheduled.is_none_or(|scheduled| deadline < scheduled) {
        entry.scheduled = Some(deadline);
        timers.push(Reverse((deadline, key)));
    }
}

fn report(config: &Config, report: Report) {
    if let Err(mpsc::error::TrySendError::Full(report)) = config.reports.try_send(report) {
        tracing::error!(?report, "the control loop is behind: report dropped");
    }
}

/// Waits for a shard to end after [`Command::Stop`], but not for ever.
pub fn join(thread: JoinHandle<()>, patience: Duration) {
    let deadline = Instant::now() + patience;
    while !thread.is_finished() && Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(2));
    }
}
