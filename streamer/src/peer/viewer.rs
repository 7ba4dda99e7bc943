//! One peer as a shard sees it: its connection, its slots, its budget.

use std::collections::BTreeSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use common::api::{PeerState, PeerStats};
use common::id::{PeerId, SlotIndex};
use common::input::{GeneralMessage, KeysMessage};
use common::ipc::{Code, IcePatch, RequestError};
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};
use common::nat::Network;
use common::sdp::Bounded;
use common::signal::{PublishKind, Role, SlotState};

use super::bandwidth::Estimator;
use super::connection::{Channel, Connection, Error, Event, Identity, Srtp};
use super::counted::Counted;
use super::demux;
use super::feedback::Feedback;
use super::feeds::Feeds;
use super::layers::{self, LayerChoice};
use super::limit::Limit;
use super::multi_webrtc;
use super::negotiate;
use super::offers::Offers;
use super::pace::{self, Pace};
use super::parts::Parts;
use super::publishing::{Outlet, Pictured, Publishing, Taken};
use super::slot::{AudioWriter, Packet, Seeds, VideoWriter, Written};
use super::socket::{Candidates, Sockets};
use super::{Begin, Binding, FeedId, Media, Path, Sections, SlotChoice};
use crate::feed::{AudioUnit, Bitrate, Demand, VideoUnit, ticks};
use crate::publish::Layer;

/// A peer that has not connected by then is given up.
const JOIN_DEADLINE: Duration = Duration::from_secs(15);
/// Sender reports are sent this often while media flows.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// A cached GOP is replayed when it fits what a limited peer can take in this time.
const REPLAY_TIME: Duration = Duration::from_millis(250);
/// Retransmissions per second: a NACK must not become an amplifier.
const MAX_RETRANSMISSIONS: u32 = 1500;
/// Keyframes per second and slot that one peer can ask for; a receiver repeats its request until it has one.
const MAX_KEYFRAMES: u32 = 2;
/// Of the messages on data channels, the ones that keep the session busy for a while: clipboard, resize.
const MAX_HEAVY: u32 = 10;
/// Of what a path carries, what pictures are to use: the rest is for retransmissions.
const VIDEO_SHARE: f64 = 0.9;
/// No picture is given less.
const MIN_VIDEO_BPS: f64 = 80_000.0;
/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// Life of a peer; see [`super::connection`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting { until: Instant },
    Connected,
    Lost,
}

struct Slot {
    /// What it is to show.
    binding: Option<Binding>,
    /// The peer has chosen it: what everybody sees there is nothing to it.
    own: bool,
    /// Index of its video sender, once it has sections; its sound's is the next.
    sender: Option<usize>,
    video: VideoWriter,
    audio: AudioWriter,
    paused: bool,
    /// Feeds that this slot is counted as a watcher of. Of two layers, its picture is the one that is sent.
    watched: Option<Binding>,
    /// The layer that it should have.
    layer: LayerChoice,
    /// The picture of that layer, watched too until it has a keyframe to begin with.
    next: Option<FeedId>,
    /// What was told of it last; `None`: tell in any case.
    reported: Option<SlotState>,
    /// Packets of its video that the peer has reported lost so far.
    lost: u32,
}

/// What the viewers of a shard have in common.
pub struct Context {
    /// The feeds.
    pub feeds: Feeds,
    /// When the time of all feeds is zero.
    pub clock: Instant,
    /// Scratch space for packets; empty between two calls.
    pub packets: Vec<Packet>,
}

/// One peer.
pub struct Viewer {
    /// Its id.
    pub id: PeerId,
    /// What it may do.
    pub role: Role,
    connection: Connection,
    phase: Phase,
    slots: Vec<Slot>,
    offers: Offers,
    bandwidth: Estimator,
    pace: Pace,
    /// Sound on the wire since the last report, and in the interval before that: silence is not sent.
    audio_bytes: usize,
    audio_bps: f64,
    next_report: Instant,
    limits: Limits,
    parts: Parts,
    /// By which its media go, once they do.
    path: Option<Path>,
    /// So much waits on that path that it takes no pictures.
    path_full: bool,
    /// Pictures were left out for that, and nothing has been asked for in their place.
    starved: bool,
    stats: PeerStats,
    not_retransmitted: u64,
    /// It is one of these pages.
    page: Option<multi_webrtc::Client>,
    /// What it publishes, once it may.
    publishing: Option<Box<Publishing>>,
}

/// What a peer may do how often.
pub struct Limits {
    /// Packets sent again.
    pub retransmissions: Limit,
    /// Keyframes asked for.
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

/// How a new viewer is to be made.
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
    /// Stand in for them in what is offered; see [`common::nat::offered`].
    pub public_ips: &'a [IpAddr],
    /// Never contacted.
    pub deny_candidates: &'a [Network],
    /// What the slots show.
    pub bindings: &'a [Option<Binding>],
    /// Data channel messages that it may send per second.
    pub messages: u32,
}

impl Viewer {
    /// A viewer and its first SDP: our offer, or our answer to the peer's. Takes long; see [`super::negotiator`].
    ///
    /// # Errors
    /// When the peer's offer cannot be answered.
    pub fn new(now: Instant, setup: Setup<'_>, begin: Begin) -> Result<(Self, String), Error> {
        let Setup { id, role, srtp, identity, candidates, bindings, messages, .. } = setup;
        let mut connection = Connection::new(now, identity, srtp, candidates)?;
        connection.set_public_ips(setup.public_ips);
        connection.deny_candidates(now, setup.deny_candidates);
        let shown: Vec<_> = match &begin {
            Begin::Offer { .. } => bindings.iter().map(|binding| (*binding, false)).collect(),
            Begin::OfferToMultiWebrtc => vec![(bindings.first().copied().flatten(), false)],
            Begin::Accept { slots, .. } => {
                let followed = |n: usize| bindings.get(n).copied().flatten();
                let shown = slots.iter().enumerate().map(|(n, own)| match own {
                    SlotChoice::Follow => (followed(n), false),
                    SlotChoice::Own(binding) => (*binding, true),
                });
                shown.collect()
            }
            Begin::Publish { .. } => Vec::new(),
        };
        let mut slots = Vec::with_capacity(shown.len());
        for (n, (binding, own)) in shown.into_iter().enumerate() {
            let video = VideoWriter::new(seeds());
            let audio = AudioWriter::new(seeds());
            let reported = Some(SlotState::Inactive);
            let sender = None;
            let watched = None;
            let paused = false;
            let lost = 0;
            let layer = LayerChoice::default();
            let next = None;
            let mut slot =
                Slot { binding, own, sender, video, audio, paused, watched, layer, next, reported, lost };
            if binding.is_some() || !matches!(begin, Begin::Offer { preallocated: false, .. }) {
                // At most MAX_SLOTS.
                slot.add_sections(&mut connection, n as SlotIndex)?;
            }
            slots.push(slot);
        }
        let accepts = matches!(begin, Begin::Accept { .. } | Begin::Publish { .. });
        let mut publishing = None;
        let page = (begin == Begin::OfferToMultiWebrtc).then(multi_webrtc::Client::default);
        let (sdp, offers) = match begin {
            Begin::OfferToMultiWebrtc => (connection.offer_to_multi_webrtc(now)?, Offers::all()),
            Begin::Offer { preallocated, publishes } => {
                if publishes {
                    negotiate::add_publishing_sections(connection.pc()).map_err(Error::slots)?;
                    connection.allow_publishing(now);
                }
                let offers = if preallocated { Offers::all() } else { Offers::active(active(&slots)) };
                (connection.offer(now)?, offers)
            }
            Begin::Accept { offer, .. } => (connection.accept(now, offer)?, Offers::answered_all()),
            Begin::Publish { offer } => {
                connection.allow_publishing(now);
                let (answer, sections) = connection.accept_publisher(now, offer)?;
                publishing = Some(Box::new(Publishing::new(now, sections)));
                (answer, Offers::answered_all())
            }
        };
        let mut viewer = Self {
            id,
            role,
            connection,
            phase: Phase::Connecting { until: now + JOIN_DEADLINE },
            limits: Limits::new(now, slots.len(), messages),
            parts: Parts::default(),
            path: None,
            path_full: false,
            starved: false,
            slots,
            offers,
            bandwidth: Estimator::new(now),
            pace: Pace::new(now),
            audio_bytes: 0,
            audio_bps: 0.0,
            next_report: now,
            stats: PeerStats::default(),
            not_retransmitted: 0,
            page,
            publishing,
        };
        if accepts {
            viewer.agree();
        }
        Ok((viewer, sdp))
    }

    /// The connection.
    pub fn connection(&mut self) -> &mut Connection {
        &mut self.connection
    }

    /// Checks a player's side of ICE against ours, whose user name fragment is `session` now, and takes the candidates of one that
    /// goes on. True when it is a restart: [`Viewer::restart`] is to follow.
    ///
    /// # Errors
    /// It means another session, comes too often, or cannot be used.
    pub fn patch(&mut self, now: Instant, patch: &IcePatch, session: &str) -> Result<bool, RequestError> {
        if patch.sessions.as_ref().is_some_and(|named| !named.iter().any(|name| name == session)) {
            let message = "the ICE session was restarted meanwhile";
            return Err(RequestError::new(Code::IceSessionMismatch, message));
        }
        if !self.connection.is_peers_ufrag(&patch.ufrag) {
            if !self.limits.heavy.admit(now) {
                return Err(RequestError::new(Code::Busy, "too many restarts at once"));
            }
            return Ok(true);
        }
        let bad = |error: Error| RequestError::new(Code::BadFragment, error.to_string());
        for candidate in &patch.candidates {
            self.connection.add_candidate(candidate.clone(), None, Some(0)).map_err(bad)?;
        }
        Ok(false)
    }

    /// Answers a player that restarts ICE. Takes long; see [`super::negotiator`].
    ///
    /// # Errors
    /// Its transport cannot be used.
    pub fn restart(&mut self, now: Instant, patch: &IcePatch) -> Result<String, Error> {
        self.connection.restart(now, &patch.ufrag, &patch.pwd, &patch.candidates)
    }

    /// True while an answer of the peer's is awaited.
    pub fn awaits_answer(&self) -> bool {
        self.offers.outstanding()
    }

    /// Takes the peer's answer; [`Viewer::negotiated`] is to follow. Takes long; see [`super::negotiator`].
    ///
    /// # Errors
    /// It is no SDP, or does not fit our offer.
    pub fn answer(&mut self, now: Instant, sdp: Bounded) -> Result<(), Error> {
        let sections = self.connection.answer(now, sdp)?;
        self.agree();
        match &mut self.publishing {
            Some(publishing) => publishing.set_sections(sections),
            None if sections.is_empty() => {}
            None => self.publishing = Some(Box::new(Publishing::new(now, sections))),
        }
        Ok(())
    }

    /// True when the peer's tracks are to be others than those offered last, and no offer is open.
    pub fn owes_offer(&self) -> bool {
        self.offers.due(&active(&self.slots))
    }

    /// Another offer. Takes long; see [`super::negotiator`].
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn offer(&mut self, now: Instant) -> Result<String, Error> {
        for (n, slot) in self.slots.iter_mut().enumerate() {
            match slot.sender {
                // At most MAX_SLOTS.
                None if slot.binding.is_some() => slot.add_sections(&mut self.connection, n as SlotIndex)?,
                None => {}
                Some(index) => negotiate::set_sending(self.connection.pc(), index, slot.binding.is_some()),
            }
        }
        self.offers.made(active(&self.slots));
        self.connection.reoffer(now)
    }

    /// The sections of each slot in the offer made last, if slots are not pre-allocated: they are where they were
    /// first active.
    pub fn sections(&mut self) -> Option<Sections> {
        let offered = self.offers.offered()?;
        let pc = self.connection.pc();
        let sections = offered.iter().filter_map(|slot| {
            let sender = self.slots.get(usize::from(*slot))?.sender?;
            Some((*slot, negotiate::mids(pc, sender)?))
        });
        Some(sections.collect())
    }

    /// Offer and answer are in place: takes what was agreed.
    fn agree(&mut self) {
        self.offers.answered();
        let Self { connection, slots, .. } = self;
        if let Some(index) = slots.iter().find_map(|slot| slot.sender) {
            connection.negotiated(index);
        }
        // Also in slots that show nothing yet, so that showing something costs nothing more.
        for slot in slots {
            let Some(index) = slot.sender else { continue };
            slot.video.set_codecs(negotiate::video_codecs(connection.pc(), index));
            slot.audio.set_payload_type(negotiate::audio_payload_type(connection.pc(), index + 1));
        }
    }

    /// Offer and answer are in place: has the feeds wake up while the connection comes up.
    pub fn negotiated(&mut self, now: Instant, cx: &mut Context) {
        for n in 0..self.slots.len() {
            self.update_watch(now, n, cx);
            // Of a peer that was connected before, slots may have become ready by this answer.
            if self.phase == Phase::Connected && !self.slots[n].video.is_live() {
                self.start_slot(now, n, cx);
            }
        }
    }

    /// What a slot shows to everybody has changed.
    pub fn bind(&mut self, now: Instant, slot: SlotIndex, binding: Option<Binding>, cx: &mut Context) {
        let n = usize::from(slot);
        if self.slots.get(n).is_some_and(|slot| !slot.own) {
            self.show(now, n, binding, cx);
        }
    }

    /// This peer's own choice for a slot; `followed` is what everybody sees there. False when there is no such slot.
    pub fn switch(
        &mut self,
        now: Instant,
        slot: SlotIndex,
        own: SlotChoice,
        followed: Option<Binding>,
        cx: &mut Context,
    ) -> bool {
        let n = usize::from(slot);
        let Some(state) = self.slots.get_mut(n) else { return false };
        state.own = own != SlotChoice::Follow;
        // Whoever asked waits for an answer.
        state.reported = None;
        let binding = match own {
            SlotChoice::Follow => followed,
            SlotChoice::Own(binding) => binding,
        };
        self.show(now, n, binding, cx);
        true
    }

    fn show(&mut self, now: Instant, n: usize, binding: Option<Binding>, cx: &mut Context) {
        // Nobody receives what it publishes itself.
        let binding = binding.filter(|binding| !self.is_own(binding));
        let state = &mut self.slots[n];
        if std::mem::replace(&mut state.binding, binding) == binding {
            return;
        }
        state.video.forget_sent();
        if self.connection.is_answered() {
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    fn is_own(&self, binding: &Binding) -> bool {
        self.publishing.as_ref().is_some_and(|publishing| publishing.is_own(binding))
    }

    /// Publishes what comes in a section from now on; slots that show the source it belongs to are emptied. False when there is no
    /// such section.
    pub fn publish(&mut self, now: Instant, outlet: Outlet, cx: &mut Context) -> bool {
        let Some(publishing) = &mut self.publishing else { return false };
        if !publishing.publish(outlet) {
            return false;
        }
        for n in 0..self.slots.len() {
            let binding = self.slots[n].binding;
            self.show(now, n, binding, cx);
        }
        true
    }

    /// Publishes it no longer.
    pub fn unpublish(&mut self, kind: PublishKind) {
        if let Some(publishing) = &mut self.publishing {
            publishing.unpublish(kind);
        }
    }

    /// What those who watch say of what it publishes.
    pub fn demands(&self) -> Vec<Arc<Demand>> {
        self.publishing.iter().flat_map(|publishing| publishing.demands().cloned()).collect()
    }

    /// Which layers of what it publishes anybody takes, as far as that is news.
    pub fn news_of_layers(&mut self, now: Instant) -> Vec<Taken> {
        self.publishing.as_mut().map(|publishing| publishing.news_of_layers(now)).unwrap_or_default()
    }

    /// Asks the peer for the keyframes that those who watch want.
    pub fn take_wishes(&mut self, now: Instant) {
        if let Some(publishing) = &mut self.publishing {
            publishing.take_wishes(now, &mut self.connection);
        }
    }

    /// Stops or resumes a slot. False when there is no such slot.
    pub fn pause(&mut self, now: Instant, slot: SlotIndex, paused: bool, cx: &mut Context) -> bool {
        let n = usize::from(slot);
        let Some(state) = self.slots.get_mut(n) else { return false };
        state.paused = paused;
        if self.connection.is_answered() {
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
        true
    }

    /// Media can be sent.
    pub fn connected(&mut self, now: Instant, cx: &mut Context) {
        self.phase = Phase::Connected;
        self.pace.begin(self.connection.round_trip());
        for n in 0..self.slots.len() {
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// Nothing is heard of the peer: sends nothing until it is.
    pub fn lost(&mut self, now: Instant, cx: &mut Context) {
        self.phase = Phase::Lost;
        self.pace.clear();
        for n in 0..self.slots.len() {
            self.slots[n].video.forget_place();
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// The peer goes: says goodbye, and counts it out of its feeds.
    pub fn leave(&mut self, cx: &mut Context) {
        for slot in &mut self.slots {
            slot.forget_next(&mut cx.feeds);
            unwatch(slot.watched.take(), &mut cx.feeds);
        }
        self.connection.close();
    }

    /// State of the connection.
    pub fn state(&self) -> PeerState {
        match self.phase {
            Phase::Connecting { .. } => PeerState::Connecting,
            Phase::Connected => PeerState::Connected,
            Phase::Lost => PeerState::Lost,
        }
    }

    /// Counts a slot as a watcher of its feeds exactly while it wants their media.
    fn update_watch(&mut self, now: Instant, n: usize, cx: &mut Context) {
        let slot = &mut self.slots[n];
        let agreed = self.offers.has(n as SlotIndex);
        let wanted = slot.binding.filter(|_| agreed && !slot.paused && self.phase != Phase::Lost);
        // One of its two layers is as good as the other here.
        if slot.watched.map(|watched| Binding { video: slot.first_layer(watched), ..watched }) == wanted {
            return;
        }
        slot.forget_next(&mut cx.feeds);
        slot.layer = LayerChoice::default();
        unwatch(slot.watched, &mut cx.feeds);
        slot.watched = wanted;
        if let Some(binding) = wanted {
            cx.feeds.watch(now, binding.video);
            if let Some(audio) = binding.audio {
                cx.feeds.listen(audio);
            }
        }
    }

    /// Lets a slot's writers begin, from the cache if they can, or stop.
    fn start_slot(&mut self, now: Instant, n: usize, cx: &mut Context) {
        let connected = self.phase == Phase::Connected;
        let slot = &mut self.slots[n];
        let Some(binding) = slot.watched.filter(|_| connected) else {
            slot.video.stop();
            slot.audio.set_active(false);
            return;
        };
        slot.audio.set_active(true);
        slot.video.wait();
        let max_bytes = self.pace.bytes_in(REPLAY_TIME).unwrap_or(usize::MAX);
        let feed = cx.feeds.get(binding.video).filter(|feed| !feed.awaits_keyframe());
        let elapsed = now.saturating_duration_since(cx.clock);
        let time = ticks(elapsed, VIDEO_CLOCK_HZ);
        let replayed =
            feed.is_some_and(|feed| slot.video.replay(time, &feed.gop, max_bytes, &mut cx.packets));
        if !replayed {
            cx.feeds.request_keyframe(now, binding.video);
        }
        self.send(now, &mut cx.packets);
    }

    /// The source of a feed is lost: nothing that comes before its next keyframe can be shown.
    pub fn offline(&mut self, feed: FeedId) {
        let shows = |slot: &&mut Slot| slot.watched.is_some_and(|binding| binding.video == feed);
        for slot in self.slots.iter_mut().filter(shows).filter(|slot| slot.video.is_live()) {
            slot.video.wait();
        }
    }

    /// Sends what a feed has made in every slot that shows it.
    pub fn write(&mut self, now: Instant, media: &Media, cx: &mut Context) {
        match media {
            Media::Video(feed, unit) => self.write_video(now, *feed, unit, cx),
            Media::Audio(feed, unit) => self.write_audio(now, *feed, unit),
        }
    }

    fn write_video(&mut self, now: Instant, feed: FeedId, unit: &VideoUnit, cx: &mut Context) {
        if self.phase != Phase::Connected {
            return;
        }
        for slot in &mut self.slots {
            slot.change_layer(now, feed, unit, cx);
            if slot.watched.is_none_or(|binding| binding.video != feed) {
                continue;
            }
            let sendable = unit.keyframe || slot.video.is_live();
            let blocked = sendable && (self.path_full || !self.pace.admits());
            if blocked {
                slot.video.wait();
            }
            let written = if blocked { Written::Lost } else { slot.video.write(unit, &mut cx.packets) };
            match written {
                Written::Sent => self.stats.frames += 1,
                _ => self.stats.skipped_units += 1,
            }
            // Also while it waits: the moment of the loss may have been too soon to ask.
            if matches!(written, Written::Lost | Written::Skipped) {
                if self.path_full {
                    // It could not be given one now.
                    self.starved = true;
                } else if self.pace.may_ask_keyframe(now) {
                    cx.feeds.request_keyframe(now, feed);
                }
            }
        }
        self.send(now, &mut cx.packets);
    }

    /// Asks for keyframes in place of the pictures that were left out while its path was full, once it is not.
    pub fn resume(&mut self, now: Instant, cx: &mut Context) {
        if self.path_full || !std::mem::take(&mut self.starved) {
            return;
        }
        for slot in self.slots.iter().filter(|slot| slot.video.is_waiting()) {
            if let Some(binding) = slot.watched {
                cx.feeds.request_keyframe(now, binding.video);
            }
        }
    }

    /// Chooses layers anew. To be called every second.
    pub fn choose_layers(&mut self, now: Instant, cx: &mut Context) {
        let share = self.share().map(f64::from);
        for slot in &mut self.slots {
            let (Some(binding), Some(watched)) = (slot.binding, slot.watched) else { continue };
            let Some(low) = binding.low else { continue };
            let known = layers::Known {
                high_flows: cx.feeds.flows(now, binding.video),
                has_low: cx.feeds.codec(low).is_some(),
                high_bps: cx.feeds.bitrate(binding.video),
                share_bps: share,
            };
            let wanted = match slot.layer.choose(now, known) {
                Layer::High => binding.video,
                Layer::Low => low,
            };
            let next = (wanted != watched.video).then_some(wanted);
            if slot.next != next {
                slot.forget_next(&mut cx.feeds);
                slot.next = next;
                if let Some(next) = next {
                    cx.feeds.watch(now, next);
                    cx.feeds.request_keyframe(now, next);
                }
            }
        }
    }

    fn write_audio(&mut self, now: Instant, feed: FeedId, unit: &AudioUnit) {
        if self.phase != Phase::Connected {
            return;
        }
        let shows = |slot: &&mut Slot| slot.watched.is_some_and(|binding| binding.audio == Some(feed));
        for packet in self.slots.iter_mut().filter(shows).filter_map(|slot| slot.audio.write(unit)) {
            self.stats.packets += 1;
            self.audio_bytes += pace::on_wire(&packet);
            self.connection.send_rtp(now, packet, None);
        }
    }

    /// Sends packets of video, or has them wait for their turn.
    fn send(&mut self, now: Instant, packets: &mut Vec<Packet>) {
        for packet in packets.drain(..) {
            self.pace.push(packet);
        }
        self.send_due(now);
    }

    fn send_due(&mut self, now: Instant) {
        while let Some(packet) = self.pace.pop(now) {
            self.stats.packets += 1;
            // Far below 4 GiB.
            let number = self.bandwidth.sent(now, pace::on_wire(&packet) as u32);
            self.connection.send_rtp(now, packet, Some(number));
        }
    }

    /// Takes over what the estimator says of the path.
    fn follow_bandwidth(&mut self) {
        self.pace.set_path(self.bandwidth.rate_bps(), self.bandwidth.is_congested());
        // Far below 2^64.
        self.stats.estimate_bps = self.bandwidth.rate_bps().map(|bps| bps as u64);
        self.stats.queue_ms = self.bandwidth.queue().as_secs_f64() * 1000.0;
    }

    /// True while its path carries less than anything may want.
    pub fn is_limited(&self) -> bool {
        self.pace.is_limited()
    }

    /// The pictures that it watches, and what each may have of its path.
    pub fn shares(&self) -> impl Iterator<Item = (FeedId, Bitrate)> {
        let watched = self.slots.iter().filter_map(|slot| slot.watched).filter(|_| self.phase != Phase::Lost);
        let share = self.share().map_or(Bitrate::Any, Bitrate::AtMost);
        watched.map(move |binding| (binding.video, share))
    }

    /// What each picture may have of its path, bits per second; `None`: as much as there is.
    fn share(&self) -> Option<u32> {
        let pictures = self.slots.iter().filter(|slot| slot.watched.is_some()).count().max(1);
        self.bandwidth.rate_bps().map(|bps| {
            let left = bps * VIDEO_SHARE - self.audio_bps;
            (left / pictures as f64).max(MIN_VIDEO_BPS) as u32
        })
    }

    /// Acts on RTCP.
    pub fn feedback(&mut self, now: Instant, feedback: Feedback, cx: &mut Context) {
        match feedback {
            Feedback::Nack { ssrc, sequences } => self.retransmit(now, ssrc, &sequences, cx),
            Feedback::Keyframe { ssrc } => {
                let slot = self.slots.iter().find(|slot| slot.video.ssrc() == ssrc);
                let watched = slot.and_then(|slot| slot.watched);
                self.wants_keyframe(now, watched, cx);
            }
            Feedback::Arrivals(arrivals) => {
                self.bandwidth.feedback(now, &arrivals);
                self.follow_bandwidth();
            }
            Feedback::Report { ssrc, fraction_lost, lost, last_report, delay } => {
                if let Some(slot) = self.slots.iter_mut().find(|slot| slot.video.ssrc() == ssrc) {
                    // What came late after all is taken back by receivers; counters here only grow.
                    slot.lost = slot.lost.max(lost);
                    self.stats.lost = self.slots.iter().map(|slot| u64::from(slot.lost)).sum();
                    self.bandwidth.report(now, f64::from(fraction_lost));
                    self.follow_bandwidth();
                }
                if let Some(ms) = round_trip_ms(last_report, delay) {
                    self.stats.round_trip_ms = Some(ms);
                    self.bandwidth.round_trip(Duration::from_secs_f64(ms / 1000.0));
                }
            }
            Feedback::SenderReport { ssrc, ntp } => {
                if let Some(publishing) = &mut self.publishing {
                    publishing.sender_report(now, ssrc, ntp);
                }
            }
        }
    }

    fn retransmit(&mut self, now: Instant, ssrc: u32, sequences: &[u16], cx: &mut Context) {
        let Some(slot) = self.slots.iter_mut().find(|slot| slot.video.ssrc() == ssrc) else { return };
        let Some(feed) = slot.watched.and_then(|binding| cx.feeds.get(binding.video)) else { return };
        for &sequence in sequences {
            let packet =
                slot.video.retransmit(sequence, &feed.gop).filter(|_| self.limits.retransmissions.admit(now));
            if packet.is_some_and(|packet| self.pace.push_again(packet)) {
                self.stats.retransmitted += 1;
            } else {
                self.not_retransmitted += 1;
            }
        }
        self.send_due(now);
    }

    /// A client's own wish for a keyframe. False when there is no such slot.
    pub fn request_keyframe(&mut self, now: Instant, slot: SlotIndex, cx: &mut Context) -> bool {
        let Some(slot) = self.slots.get(usize::from(slot)) else { return false };
        let watched = slot.watched;
        self.wants_keyframe(now, watched, cx);
        true
    }

    /// Everybody gets a keyframe that one peer asks for, so one peer cannot ask for many.
    fn wants_keyframe(&mut self, now: Instant, binding: Option<Binding>, cx: &mut Context) {
        let Some(binding) = binding else { return };
        self.stats.keyframe_requests += 1;
        // Who is limited may be asking for the one that is on its way.
        if self.limits.keyframes.admit(now) && self.pace.may_ask_keyframe(now) {
            cx.feeds.request_keyframe(now, binding.video);
        }
    }

    /// What this peer may send on its data channels.
    pub fn limits(&mut self) -> &mut Limits {
        &mut self.limits
    }

    /// The picture for the clipboard that it is sending.
    pub fn parts(&mut self) -> &mut Parts {
        &mut self.parts
    }

    /// Queues a message for this peer alone, as [`Viewer::say`] does.
    pub fn tell(&mut self, now: Instant, message: &GeneralMessage) {
        let text = serde_json::to_string(message).expect("strings and finite numbers only");
        self.say(now, &text);
    }

    /// Queues a text on the channel `general`. False when it had to be left out, or would not be understood.
    pub fn say(&mut self, now: Instant, text: &str) -> bool {
        if self.page.is_none() {
            return self.connection.send_text(now, Channel::General, text);
        }
        let controllers = Channel::MultiWebrtc(multi_webrtc::Channel::Controllers);
        multi_webrtc::translate(text)
            .is_some_and(|bytes| self.connection.send_bytes(now, controllers, &bytes))
    }

    /// What is known of it if it is one of these pages.
    pub fn page(&mut self) -> Option<&mut multi_webrtc::Client> {
        self.page.as_mut()
    }

    /// What it holds, if it does not say so itself and it is time. Of one that is lost, nothing: what it holds is let
    /// go then.
    pub fn repeat(&mut self, now: Instant) -> Option<KeysMessage> {
        let connected = self.phase == Phase::Connected;
        self.page.as_mut()?.repeat(now).filter(|_| connected)
    }

    /// Tells the peer that a message of its was not carried out.
    pub fn refuse(&mut self, now: Instant, channel: Channel, code: &str, message: &str) {
        let channel = channel.label().to_owned();
        let code = code.to_owned();
        let message = message.to_owned();
        self.tell(now, &GeneralMessage::Error { channel, code, message });
    }

    /// What happened on the connection. What is new of the pictures that the peer publishes is put behind `pictured`.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<Event>, pictured: &mut Vec<Pictured>) {
        self.connection.poll(now, events);
        if let Some(publishing) = &mut self.publishing {
            publishing.receive(now, &mut self.connection, pictured);
        }
    }

    /// Sends everything that is queued; `learn` is told where what goes.
    pub fn transmit(&mut self, sockets: &mut Sockets, mut learn: impl FnMut(Path, &[u8])) {
        while let Some(datagram) = self.connection.transmit() {
            self.stats.bytes += datagram.data.len() as u64;
            learn(datagram.path, &datagram.data);
            if !demux::is_stun(&datagram.data) {
                self.path = Some(datagram.path);
                self.stats.transport = Some(datagram.path.transport);
            }
            sockets.send(datagram.path, &datagram.data);
        }
        sockets.flush();
        self.path_full = self.path.is_some_and(|path| sockets.tcp().is_full(&path));
    }

    /// Lets timers run. False when the peer did not connect in time.
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
        !matches!(self.phase, Phase::Connecting { until } if now >= until)
    }

    fn report(&mut self, now: Instant, clock: Instant) {
        let elapsed = now.saturating_duration_since(clock);
        let video = ticks(elapsed, VIDEO_CLOCK_HZ);
        let audio = ticks(elapsed, AUDIO_CLOCK_HZ);
        let reports = self.slots.iter().filter(|slot| slot.watched.is_some());
        let reports: Vec<_> =
            reports.flat_map(|slot| [slot.video.report(video), slot.audio.report(audio)]).flatten().collect();
        self.connection.send_reports(now, ntp_now(), &reports);
    }

    /// When [`Viewer::timeout`] has something to do.
    pub fn deadline(&mut self) -> Option<Instant> {
        let own = match self.phase {
            Phase::Connecting { until } => Some(until),
            Phase::Connected => Some(self.next_report),
            Phase::Lost => None,
        };
        let repeat = self.page.as_ref().and_then(multi_webrtc::Client::deadline);
        let publishing = self.publishing.as_ref().and_then(|publishing| publishing.deadline());
        [own, repeat, publishing, self.pace.deadline(), self.connection.deadline()]
            .into_iter()
            .flatten()
            .min()
    }

    /// Its counters.
    pub fn counted(&self) -> Counted {
        Counted {
            stats: self.stats.clone(),
            not_retransmitted: self.not_retransmitted,
            messages_dropped: self.limits.messages.refused(),
        }
    }

    /// What was told is told again, of every slot.
    pub fn forget_told(&mut self) {
        for slot in &mut self.slots {
            slot.reported = None;
        }
    }

    /// Slots whose state is not what was last told.
    pub fn changed_slots(&mut self, feeds: &Feeds) -> Vec<(SlotIndex, SlotState)> {
        let connected = self.phase == Phase::Connected;
        let mut changed = Vec::new();
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let codec = slot.binding.and_then(|binding| feeds.codec(binding.video));
            let state = match slot.binding {
                None => SlotState::Inactive,
                Some(_) if !self.offers.has(n as SlotIndex) => SlotState::Pending,
                Some(_) if self.connection.is_answered() && !slot.video.supports(codec) => SlotState::Error,
                Some(_) if slot.paused => SlotState::Paused,
                Some(_) if !connected => SlotState::Pending,
                Some(binding) if !feeds.is_online(binding.video) => SlotState::Offline,
                Some(_) if slot.video.is_waiting() => SlotState::Buffering,
                Some(_) => SlotState::Active,
            };
            if slot.reported.replace(state) != Some(state) {
                // At most MAX_SLOTS.
                changed.push((n as SlotIndex, state));
            }
        }
        changed
    }
}

impl Slot {
    /// The picture that stands in its binding for what is watched: of two layers, the high one.
    fn first_layer(&self, watched: Binding) -> FeedId {
        match self.binding {
            Some(binding) if binding.low == Some(watched.video) => binding.video,
            _ => watched.video,
        }
    }

    /// Does not wait for another layer any more.
    fn forget_next(&mut self, feeds: &mut Feeds) {
        if let Some(next) = self.next.take() {
            feeds.unwatch(next);
        }
    }

    /// Goes on with another layer of its source if this unit is where it can: with the one that it waits for; or, while it has
    /// nothing to show, with whichever comes.
    fn change_layer(&mut self, now: Instant, feed: FeedId, unit: &VideoUnit, cx: &mut Context) {
        let (Some(binding), Some(watched)) = (self.binding, self.watched) else { return };
        if !unit.keyframe || watched.video == feed {
            return;
        }
        let waits = self.next == Some(feed);
        let is_layer = feed == binding.video || Some(feed) == binding.low;
        if waits {
            self.next = None;
        } else if is_layer && self.video.is_waiting() && !cx.feeds.flows(now, watched.video) {
            cx.feeds.watch(now, feed);
        } else {
            return;
        }
        cx.feeds.unwatch(watched.video);
        self.watched = Some(Binding { video: feed, ..watched });
        self.video.forget_sent();
        self.video.wait();
    }

    fn add_sections(&mut self, connection: &mut Connection, slot: SlotIndex) -> Result<(), Error> {
        let ssrcs = (self.video.ssrc(), self.video.rtx_ssrc());
        let added = negotiate::add_slot(connection.pc(), slot, ssrcs, self.audio.ssrc());
        self.sender = Some(added.map_err(Error::slots)?);
        Ok(())
    }
}

/// Slots that show something.
fn active(slots: &[Slot]) -> BTreeSet<SlotIndex> {
    // At most MAX_SLOTS.
    slots.iter().enumerate().filter(|(_, slot)| slot.binding.is_some()).map(|(n, _)| n as SlotIndex).collect()
}

impl Error {
    fn slots(error: impl std::fmt::Display) -> Self {
        Self::new("slots", error)
    }
}

fn unwatch(binding: Option<Binding>, feeds: &mut Feeds) {
    if let Some(binding) = binding {
        feeds.unwatch(binding.video);
        if let Some(audio) = binding.audio {
            feeds.unwatch(audio);
        }
    }
}

fn seeds() -> Seeds {
    let random = uuid::Uuid::new_v4().as_u128();
    // The version and variant bits of a UUID lie in the middle; these parts are all random. Zero is
    // not a good SSRC: some receivers take it for "unknown".
    Seeds {
        ssrc: (random as u32) | 1,
        rtx_ssrc: ((random >> 96) as u32) & !1 | 2,
        sequence: (random >> 32) as u16,
        offset: uuid::Uuid::new_v4().as_u128() as u32,
    }
}

/// Now, as a 64 bit NTP timestamp (RFC 3550 §4).
#[expect(clippy::disallowed_methods, reason = "sender reports tell the time at which they are sent")]
fn ntp_now() -> u64 {
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    ((now.as_secs() + NTP_UNIX) << 32) | ((u64::from(now.subsec_nanos()) << 32) / 1_000_000_000)
}

/// Round trip by a reception report (RFC 3550 §6.4.1): what passed since our report less the peer's delay.
fn round_trip_ms(last_report: u32, delay: u32) -> Option<f64> {
    if last_report == 0 {
        return None;
    }
    let now = (ntp_now() >> 16) as u32;
    let ticks = now.wrapping_sub(last_report).wrapping_sub(delay);
    // More than half the range is a clock that was set back, or a lie.
    (ticks < u32::MAX / 2).then(|| f64::from(ticks) * 1000.0 / 65_536.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::peer::connection::Srtp;

    #[test]
    fn what_a_peer_lost_is_the_sum_of_what_it_lost_in_each_slot() {
        let now = Instant::now();
        let setup = Setup {
            id: PeerId::unique(),
            role: Role::Viewer,
            srtp: Srtp::Gcm,
            identity: &Identity::generate().unwrap(),
            candidates: &Candidates::default(),
            public_ips: &[],
            deny_candidates: &[],
            bindings: &[None; 2],
            messages: 1,
        };
        let (mut viewer, _) =
            Viewer::new(now, setup, Begin::Offer { preallocated: true, publishes: false }).unwrap();
        let mut cx = Context { feeds: Feeds::default(), clock: now, packets: Vec::new() };
        let video = |viewer: &Viewer, n: usize| viewer.slots[n].video.ssrc();
        let audio = viewer.slots[0].audio.ssrc();
        let first = video(&viewer, 0);
        let second = video(&viewer, 1);
        for (ssrc, lost, sum) in
            [(first, 5, 5), (second, 3, 8), (first, 7, 10), (second, 2, 10), (audio, 9, 10)]
        {
            let report = Feedback::Report { ssrc, fraction_lost: 0.0, lost, last_report: 0, delay: 0 };
            viewer.feedback(now, report, &mut cx);
            assert_eq!(viewer.counted().stats.lost, sum, "{ssrc} {lost}");
        }
    }
}
