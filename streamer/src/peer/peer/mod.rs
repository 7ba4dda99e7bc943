//! One peer as a shard sees it: its connection, its slots, its budget.

mod layers;
mod media;
mod negotiation;
mod path_news;
mod publishing;
mod slots;
mod wired;

use std::net::IpAddr;
use std::time::{Duration, Instant};

use common::api::{PeerState, PeerStats};
use common::id::PeerId;
use common::input::{GeneralMessage, KeysMessage};
use common::nat::Network;
use common::signal::Role;

use super::bandwidth::{Estimator, TrainId};
use super::connection::{Channel, Connection, ConnectionEvent, Error, Identity, Srtp};
use super::copies::Copies;
use super::counted::Counted;
use super::demux;
use super::feeds::Feeds;
use super::limit::Limit;
use super::multi_webrtc;
use super::offers::Offers;
use super::pace::Pace;
use super::parts::Parts;
use super::publishing::{Outlet, Publishing};
use super::slot::Packet;
use super::socket::{Candidates, Sockets};
use super::wire::Wire;
use super::{Begin, Binding, FeedId, Path};
use media::Restart;
use path_news::PathNews;
use slots::Slot;

/// A peer that has been lost for this long is given up, unless it has a media socket. Browsers give up after 30 s of silence, of which
/// some have passed already.
const LOST_DEADLINE: Duration = Duration::from_secs(26);
/// A peer that has not connected by then is given up.
const JOIN_DEADLINE: Duration = Duration::from_secs(15);
/// Sender reports are sent this often while media flows.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Retransmissions per second: a NACK must not become an amplifier.
const MAX_RETRANSMISSIONS: u32 = 1500;
/// Keyframes per second and slot that one peer can ask for; a receiver repeats its request until it has one.
const MAX_KEYFRAMES: u32 = 2;
/// Messages per second on data channels that keep the session busy for a while: clipboard, resize.
const MAX_HEAVY: u32 = 10;

/// Life of a peer; see [`super::connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting {
        until: Instant,
    },
    Connected,
    /// Given up at this time.
    Lost {
        until: Instant,
    },
}

/// What a peer hears.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Sound {
    /// What its slots show, each in its own section.
    OfSlots,
    /// This feed, in the section of slot 0; `None`: silence.
    Mixed(Option<FeedId>),
}

/// What the peers of a shard have in common.
pub struct Context {
    /// The feeds.
    pub feeds: Feeds,
    /// When the time of all feeds is zero.
    pub clock: Instant,
    /// Scratch space for packets; empty between two calls.
    pub packets: Vec<Packet>,
}

/// One peer.
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// What it may do.
    pub role: Role,
    connection: Connection,
    phase: Phase,
    slots: Vec<Slot>,
    sound: Sound,
    offers: Offers,
    bandwidth: Estimator,
    /// What it is sent at most, bits per second, whatever its path carries.
    most_bps: Option<f64>,
    pace: Pace,
    copies: Copies,
    /// The first packets, which show what the path carries, until they are sent.
    first_train: Option<TrainId>,
    restart: Restart,
    path_news: PathNews,
    /// Bytes of sound on the wire since the last report, and the bitrate in the interval before: silence is not sent.
    audio_bytes: usize,
    audio_bps: f64,
    next_report: Instant,
    limits: Limits,
    parts: Parts,
    /// The path of its media, once any has been sent.
    path: Option<Path>,
    /// Too much is queued on that path to send pictures.
    path_full: bool,
    /// Pictures were skipped because of that, and no keyframe has been requested since.
    starved: bool,
    stats: PeerStats,
    not_retransmitted: u64,
    /// Set for a page of `multi_webrtc`.
    page: Option<multi_webrtc::Client>,
    /// What it publishes, once it may.
    publishing: Option<Box<Publishing>>,
    /// Its media socket, which takes over while the connection is not up.
    wire: Option<Box<Wire>>,
    /// What it publishes as soon as the sections for it are agreed on; one of a kind.
    early: Vec<Outlet>,
}

/// Rate limits of one peer.
pub struct Limits {
    /// Retransmissions.
    pub retransmissions: Limit,
    /// Keyframe requests.
    pub keyframes: Limit,
    /// Messages on data channels.
    pub messages: Limit,
    /// Messages that keep the session busy.
    pub heavy: Limit,
}

impl Limits {
    fn new(now: Instant, slots: usize, messages: u32) -> Self {
        // At most MAX_SLOTS.
        let slots = slots.max(1) as u32;
        Self {
            retransmissions: Limit::new(now, MAX_RETRANSMISSIONS),
            keyframes: Limit::new(now, MAX_KEYFRAMES * slots),
            messages: Limit::new(now, messages),
            heavy: Limit::new(now, MAX_HEAVY),
        }
    }
}

/// The parameters of a new peer.
pub struct Setup<'a> {
    /// Its id.
    pub id: PeerId,
    /// What it may do.
    pub role: Role,
    /// SRTP profiles.
    pub srtp: Srtp,
    /// Our certificate.
    pub identity: &'a Identity,
    /// Our host candidates.
    pub candidates: &'a Candidates,
    /// Replace them in what is offered; see [`common::nat::offered`].
    pub public_ips: &'a [IpAddr],
    /// Networks that are never contacted.
    pub deny_candidates: &'a [Network],
    /// What the slots show.
    pub bindings: &'a [Option<Binding>],
    /// Data channel messages that it may send per second.
    pub messages: u32,
}

impl Peer {
    /// A peer and its first SDP: our offer, or our answer to the peer's. Takes long; see [`super::negotiator`].
    ///
    /// # Errors
    /// When the peer's offer cannot be answered.
    pub fn new(now: Instant, setup: Setup<'_>, begin: Begin) -> Result<(Self, String), Error> {
        let mut connection = Connection::new(now, setup.identity, setup.srtp, setup.candidates)?;
        connection.set_public_ips(setup.public_ips);
        connection.deny_candidates(now, setup.deny_candidates);
        let slots = slots::create(&mut connection, setup.bindings, &begin)?;
        let accepts = matches!(begin, Begin::Accept { .. } | Begin::Publish { .. });
        let page = (begin == Begin::OfferToMultiWebrtc).then(multi_webrtc::Client::default);
        let begun = negotiation::begin(now, &mut connection, &slots, begin)?;
        let mut peer = Self {
            id: setup.id,
            role: setup.role,
            connection,
            phase: Phase::Connecting { until: now + JOIN_DEADLINE },
            limits: Limits::new(now, slots.len(), setup.messages),
            parts: Parts::default(),
            path: None,
            path_full: false,
            starved: false,
            slots,
            sound: Sound::OfSlots,
            offers: begun.offers,
            bandwidth: Estimator::new(now),
            most_bps: None,
            pace: Pace::new(now),
            copies: Copies::default(),
            first_train: None,
            restart: Restart::default(),
            path_news: PathNews::default(),
            audio_bytes: 0,
            audio_bps: 0.0,
            next_report: now,
            stats: PeerStats::default(),
            not_retransmitted: 0,
            page,
            publishing: begun.publishing,
            wire: None,
            early: Vec::new(),
        };
        if accepts {
            peer.agree();
        }
        Ok((peer, begun.sdp))
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Media can be sent.
    pub fn connected(&mut self, now: Instant, cx: &mut Context) {
        self.phase = Phase::Connected;
        let is_unknown = self.pace.begin(self.connection.round_trip());
        self.first_train = is_unknown.then(|| self.bandwidth.begin_train());
        for n in 0..self.slots.len() {
            if self.wire.is_some() {
                // What came by the media socket is of no use to the receiver of RTP.
                self.slots[n].video.forget_sent();
            }
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// Media is sent by the connection.
    pub fn is_connected(&self) -> bool {
        self.phase == Phase::Connected
    }

    /// The peer is lost: nothing is sent to it until it is heard again.
    pub fn lost(&mut self, now: Instant, cx: &mut Context) {
        self.phase = Phase::Lost { until: now + LOST_DEADLINE };
        self.pace.clear();
        self.copies.clear();
        for n in 0..self.slots.len() {
            self.slots[n].video.forget_place();
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// A lost peer tries again: it gets as long as one that has just been lost.
    pub(super) fn extend(&mut self, now: Instant) {
        if let Phase::Lost { until } = &mut self.phase {
            *until = now + LOST_DEADLINE;
        }
    }

    /// Closes the connection, and counts the peer out of its feeds.
    pub fn leave(&mut self, cx: &mut Context) {
        for slot in &mut self.slots {
            slot.forget_next(&mut cx.feeds);
            slots::unwatch(slot.watched.take(), &mut cx.feeds);
            slot.forget_mix(&mut cx.feeds);
        }
        self.connection.close();
    }

    /// State of the connection.
    pub fn state(&self) -> PeerState {
        match self.phase {
            _ if self.wire.is_some() => PeerState::Connected,
            Phase::Connecting { .. } => PeerState::Connecting,
            Phase::Connected => PeerState::Connected,
            Phase::Lost { .. } => PeerState::Lost,
        }
    }

    /// The rate limits of this peer.
    pub fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// The parts of a picture for the clipboard that it is sending.
    pub fn parts(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Queues a message for this peer alone, as [`Peer::say`] does.
    pub fn tell(&mut self, now: Instant, message: &GeneralMessage) {
        let text = serde_json::to_string(message).expect("strings and finite numbers only");
        self.say(now, &text);
    }

    /// Queues a text on the channel `general`. False when it was dropped, or when the page would not understand it.
    pub fn say(&mut self, now: Instant, text: &str) -> bool {
        if self.page.is_none() {
            return self.say_by_wire(now, text)
                || self.connection.send_text(now, Channel::General, text)
                // The connection is up, its channels are about to be.
                || self.wire.as_mut().is_some_and(|wire| wire.text(now, text));
        }
        let controllers = Channel::MultiWebrtc(multi_webrtc::Channel::Controllers);
        multi_webrtc::translate(text)
            .is_some_and(|bytes| self.connection.send_bytes(now, controllers, &bytes))
    }

    /// The state of a page of `multi_webrtc`.
    pub fn page(&mut self) -> Option<&mut multi_webrtc::Client> {
        self.page.as_mut()
    }

    /// Everything that a page of `multi_webrtc` holds, if it is time to repeat it. Nothing while the peer is lost: what it holds is then
    /// released.
    pub fn repeat(&mut self, now: Instant) -> Option<KeysMessage> {
        let connected = self.phase == Phase::Connected;
        self.page.as_mut()?.repeat(now).filter(|_| connected)
    }

    /// Tells the peer that a message was refused.
    pub fn refuse(&mut self, now: Instant, channel: Channel, code: &str, message: &str) {
        let channel = channel.label().to_owned();
        let code = code.to_owned();
        let message = message.to_owned();
        self.tell(now, &GeneralMessage::Error { channel, code, message });
    }

    /// Collects what happened on the connection.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<ConnectionEvent>) {
        self.connection.poll(now, events);
        if let Some(publishing) = &mut self.publishing {
            publishing.receive(now, &mut self.connection);
        }
    }

    /// Sends everything that is queued; `learn` is called with each datagram and its path.
    pub fn transmit(&mut self, sockets: &mut Sockets, mut learn: impl FnMut(Path, &[u8])) {
        let Self { connection, stats, path, .. } = self;
        connection.transmit(|at, data| {
            stats.bytes += data.len() as u64;
            learn(at, data);
            if !demux::is_stun(data) {
                *path = Some(at);
                stats.transport = Some(at.transport);
            }
            sockets.send(at, data);
        });
        sockets.flush();
        if let Some(wire) = &mut self.wire {
            wire.flush();
        }
        if !self.is_on_wire() {
            self.path_full = self.path.is_some_and(|path| sockets.tcp().is_full(&path));
        }
    }

    /// Runs timers. False when the peer did not connect in time.
    pub fn timeout(&mut self, now: Instant, clock: Instant) -> bool {
        self.connection.timeout(now);
        if let Some(publishing) = &mut self.publishing {
            publishing.timeout(now, &mut self.connection);
        }
        self.send_due(now);
        if self.phase == Phase::Connected && now >= self.next_report {
            self.next_report = now + REPORT_INTERVAL;
            self.audio_bps = self.audio_bytes as f64 * 8.0 / REPORT_INTERVAL.as_secs_f64();
            self.audio_bytes = 0;
            self.report(now, clock);
        }
        self.given_up().is_none_or(|until| now < until)
    }

    /// When it is given up, unless media can be sent before.
    fn given_up(&self) -> Option<Instant> {
        let until = match self.phase {
            Phase::Connecting { until } => Some(until),
            Phase::Connected => None,
            Phase::Lost { until } => Some(until),
        };
        until.filter(|_| self.wire.is_none())
    }

    /// Why it is given up.
    pub fn failure(&self) -> &'static str {
        match self.phase {
            Phase::Connecting { .. } => "the connection was not made in time",
            Phase::Connected | Phase::Lost { .. } => "the connection failed",
        }
    }

    /// When [`Peer::timeout`] has something to do.
    pub fn deadline(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Connected => Some(self.next_report),
            Phase::Connecting { .. } | Phase::Lost { .. } => self.given_up(),
        };
        let repeat = self.page.as_ref().and_then(multi_webrtc::Client::deadline);
        let publishing = self.publishing.as_ref().and_then(|publishing| publishing.deadline());
        let trial = self.bandwidth.trial_at().filter(|_| self.phase == Phase::Connected);
        let sending = [self.pace.deadline(), self.copies.deadline(), trial];
        let others = [own, repeat, publishing, self.connection.deadline()];
        sending.into_iter().chain(others).flatten().min()
    }

    /// Its counters.
    pub fn counted(&self) -> Counted {
        Counted {
            stats: self.stats.clone(),
            not_retransmitted: self.not_retransmitted,
            messages_dropped: self.limits.messages.refused(),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixStream;
    use std::sync::Arc;

    use super::*;
    use crate::feed::Demand;
    use crate::peer::connection::Srtp;
    use crate::peer::feedback::Feedback;

    fn peer(now: Instant, bindings: &[Option<Binding>]) -> Peer {
        let setup = Setup {
            id: PeerId::unique(),
            role: Role::Viewer,
            srtp: Srtp::Gcm,
            identity: &Identity::generate().unwrap(),
            candidates: &Candidates::default(),
            public_ips: &[],
            deny_candidates: &[],
            bindings,
            messages: 1,
        };
        Peer::new(now, setup, Begin::Offer { preallocated: true, publishes: false }).unwrap().0
    }

    #[test]
    fn who_takes_a_mix_hears_that_in_slot_0_and_nothing_else() {
        let now = Instant::now();
        let mut cx = Context { feeds: Feeds::default(), clock: now, packets: Vec::new() };
        let feeds: [_; 6] = std::array::from_fn(|n| FeedId(n as u32));
        let demands = feeds.map(|feed| {
            let demand = Arc::new(Demand::new().unwrap());
            cx.feeds.add(feed, demand.clone());
            demand
        });
        let [video, audio, other, sound, mix, next] = feeds;
        let listeners = || demands.clone().map(|demand| demand.watchers());
        let binding = |video, audio| Some(Binding { video, low: None, audio: Some(audio) });
        let mut peer = peer(now, &[binding(video, audio), None]);
        // It has a media socket, so that it is up without being negotiated.
        let (ours, _theirs) = UnixStream::pair().unwrap();
        peer.attach(now, Wire::new(now, ours, Vec::new()).unwrap(), &mut cx);
        assert_eq!(listeners(), [1, 1, 0, 0, 0, 0]);
        peer.take_mix(Some(mix), &mut cx);
        assert_eq!(listeners(), [1, 0, 0, 0, 1, 0]);
        peer.bind(now, 1, binding(other, sound), &mut cx);
        assert_eq!(listeners(), [1, 0, 1, 0, 1, 0]);
        assert!(peer.slots[0].sounds(mix) && !peer.slots[1].sounds(sound));
        // Whatever slot 0 shows.
        peer.bind(now, 0, None, &mut cx);
        assert_eq!(listeners(), [0, 0, 1, 0, 1, 0]);
        assert!(peer.slots[0].audio.is_active());
        peer.pause(now, 0, true, &mut cx);
        assert_eq!(listeners(), [0, 0, 1, 0, 1, 0]);
        peer.pause(now, 1, true, &mut cx);
        assert_eq!(listeners(), [0; 6], "every slot is paused");
        assert!(!peer.slots[0].audio.is_active());
        peer.take_mix(Some(next), &mut cx);
        peer.pause(now, 1, false, &mut cx);
        assert_eq!(listeners(), [0, 0, 1, 0, 0, 1]);
        peer.take_mix(None, &mut cx);
        assert_eq!(listeners(), [0, 0, 1, 0, 0, 0]);
        peer.take_mix(Some(mix), &mut cx);
        peer.leave(&mut cx);
        assert_eq!(listeners(), [0; 6]);
    }

    #[test]
    fn what_a_peer_lost_is_the_sum_of_what_it_lost_in_each_slot() {
        let now = Instant::now();
        let mut peer = peer(now, &[None; 2]);
        let mut cx = Context { feeds: Feeds::default(), clock: now, packets: Vec::new() };
        let video = |peer: &Peer, n: usize| peer.slots[n].video.ssrc();
        let audio = peer.slots[0].audio.ssrc();
        let first = video(&peer, 0);
        let second = video(&peer, 1);
        for (ssrc, lost, sum) in
            [(first, 5, 5), (second, 3, 8), (first, 7, 10), (second, 2, 10), (audio, 9, 10)]
        {
            let report = Feedback::Report { ssrc, fraction_lost: 0.0, lost, last_report: 0, delay: 0 };
            peer.feedback(now, report, &mut cx);
            assert_eq!(peer.counted().stats.lost, sum, "{ssrc} {lost}");
        }
    }
}
