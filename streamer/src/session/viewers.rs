//! The peers of a session: how they join and leave, what they say by signalling, what shards say of them.

use std::sync::Arc;
use std::time::Instant;

use common::api::{PeerKind, PeerState};
use common::clipboard::Content;
use common::control::ControlMode;
use common::event::Happening;
use common::id::{PeerId, SlotIndex, TokenId};
use common::input::{Actor, GeneralMessage, MAX_CHANNEL_MESSAGE};
use common::ipc::request::{Patched, PeerAdded};
use common::ipc::{Code, IcePatch, Join, Json, RequestError, StreamerIpcMessage};
use common::person::{PeerRight, Person, Rights};
use common::sdp::Bounded;
use common::signal::{Capabilities, ClientMessage, Role, SIGNAL_PROTOCOL, ServerMessage, StreamInfo};
use common::slots::SlotConfig;
use common::spec::MAX_SLOTS;

use super::arbiter::Wish;
use super::effects::{Effect, Work};
use super::peers::Presence;
use super::slots::Bound;
use super::{Now, Session};
use crate::input;
use crate::link::ReplyTo;
use crate::media::Size;
use crate::peer::connection::Channel;
use crate::peer::{Audience, Begin, Command, PeerCommand, Report, Sections, SlotChoice, Srtp};
use crate::source::ClipboardOffer;

/// Patches of one peer that wait for its shard. A player waits for each before it sends another.
const MAX_PATCHES: usize = 8;

/// A peer that has offered, and waits for its answer.
pub struct Joining {
    to: ReplyTo<PeerAdded>,
    /// How its slots begin. Told once the answer is on its way: before it, nobody knows the peer.
    slots: Vec<ServerMessage>,
}

/// A peer that is about to be admitted.
struct Newcomer {
    kind: PeerKind,
    presence: Presence,
    role: Role,
    slots: u8,
    token_id: Option<TokenId>,
    person: Person,
}

/// A native client, as its `hello` and its token describe it.
struct NativeClient {
    socket: u64,
    role: Role,
    token_id: Option<TokenId>,
    person: Person,
}

impl Session {
    /// A peer joins, or is back.
    pub(super) fn add_peer(&mut self, now: Now, to: ReplyTo<PeerAdded>, join: Join) {
        let joined = match join {
            Join::Native { resume, socket, role, capabilities, token_id, person } => {
                let client = NativeClient { socket, role, token_id, person };
                if resume.is_some_and(|token| self.resume_native(now, to, &token, &client)) {
                    return;
                }
                self.join_native(now, to, client, capabilities)
            }
            Join::MultiWebrtc { socket, role, token_id } => {
                self.join_multi_webrtc(now, to, socket, role, token_id)
            }
            Join::Whep { offer, token_id } => self.join_whep(now, to, offer, token_id),
            Join::Whip { offer, token_id, person } => self.join_whip(now, to, offer, token_id, person),
            Join::Multistream { offer, slots, session, socket, token_id } => {
                self.join_multistream(now, to, offer, slots, session, socket, token_id)
            }
            Join::ResumeMultistream { session, socket } => self.resume_multistream(to, &session, socket),
        };
        if let Err(error) = joined {
            self.effects.refuse(to, error);
        }
    }

    fn join_native(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        client: NativeClient,
        capabilities: Capabilities,
    ) -> Result<(), RequestError> {
        let NativeClient { socket, role, token_id, person } = client;
        let presence = Presence::Attached { socket };
        let slots = self.spec.slots;
        let newcomer = Newcomer { kind: PeerKind::Native, presence, role, slots, token_id, person };
        let (peer, token) = self.admit(now, newcomer)?;
        let preallocated = capabilities.preallocated_slots && self.settings.preallocate_slots;
        if !preallocated {
            self.peers.set_sections(peer, Sections::new());
        }
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, token, false);
        let srtp = if capabilities.srtp_gcm { Srtp::Gcm } else { Srtp::Any };
        let publishes =
            self.peers.get(peer).is_some_and(|entry| entry.peer.rights.contains(&PeerRight::Publish));
        self.begin(now, peer, srtp, Begin::Offer { preallocated, publishes });
        Ok(())
    }

    fn join_multi_webrtc(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        socket: u64,
        role: Role,
        token_id: Option<TokenId>,
    ) -> Result<(), RequestError> {
        let presence = Presence::Attached { socket };
        let kind = PeerKind::MultiWebrtc;
        let person = Person::default();
        let newcomer = Newcomer { kind, presence, role, slots: 1, token_id, person };
        let (peer, token) = self.admit(now, newcomer)?;
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, token, false);
        self.begin(now, peer, Srtp::Any, Begin::OfferToMultiWebrtc);
        Ok(())
    }

    fn join_whep(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        offer: String,
        token_id: Option<TokenId>,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        let newcomer = Newcomer {
            kind: PeerKind::Whep,
            presence: Presence::Elsewhere,
            role: Role::Viewer,
            slots: 1,
            token_id,
            person: Person::default(),
        };
        let (peer, _) = self.admit(now, newcomer)?;
        self.joining.insert(peer, Joining { to, slots: Vec::new() });
        self.begin(now, peer, Srtp::Any, Begin::Accept { offer, slots: vec![SlotChoice::Follow] });
        Ok(())
    }

    fn join_whip(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        offer: String,
        token_id: Option<TokenId>,
        person: Person,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        if !person.rights.contains(&PeerRight::Publish) {
            return Err(RequestError::new(Code::MayNotPublish, "this needs the right to publish"));
        }
        let newcomer = Newcomer {
            kind: PeerKind::Whip,
            presence: Presence::Elsewhere,
            role: Role::Viewer,
            slots: 0,
            token_id,
            person,
        };
        let (peer, _) = self.admit(now, newcomer)?;
        self.joining.insert(peer, Joining { to, slots: Vec::new() });
        self.begin(now, peer, Srtp::Any, Begin::Publish { offer });
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "they are what a client of `multistream/*` comes with")]
    fn join_multistream(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        offer: String,
        mut wishes: Vec<SlotConfig>,
        session: String,
        socket: u64,
        token_id: Option<TokenId>,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        // The web-server has a limit of its own; what is more than ours is cut here.
        wishes.truncate(MAX_SLOTS.into());
        let newcomer = Newcomer {
            kind: PeerKind::Multistream,
            presence: Presence::Attached { socket },
            role: Role::Viewer,
            slots: wishes.len() as u8,
            token_id,
            person: Person::default(),
        };
        let (peer, _) = self.admit(now, newcomer)?;
        self.peers.set_resume_token(peer, session);
        let (slots, statuses) = self.initial_slots(peer, wishes);
        self.joining.insert(peer, Joining { to, slots: statuses });
        self.begin(now, peer, Srtp::Any, Begin::Accept { offer, slots });
        Ok(())
    }

    /// Enters a peer, in the shard that has the fewest. Returns its id and its resume token.
    fn admit(&mut self, now: Now, newcomer: Newcomer) -> Result<(PeerId, String), RequestError> {
        if self.peers.len() >= self.settings.max_peers as usize {
            self.peers_refused += 1;
            let message = format!("this streamer has {} peers, the most it may have", self.peers.len());
            return Err(RequestError::new(Code::TooManyPeers, message));
        }
        let Newcomer { kind, presence, role, slots, token_id, person } = newcomer;
        let shard = (0..self.shards.len()).min_by_key(|&n| self.shards[n].peers).unwrap_or(0);
        self.shards[shard].peers += 1;
        let (peer, token) = self.peers.add(now.utc, kind, presence, role, shard, slots);
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.token_id = token_id;
        }
        self.peers.set_person(peer, person);
        Ok((peer, token))
    }

    /// Has its shard begin with a peer that has been admitted, and tells everybody of it.
    fn begin(&mut self, now: Now, peer: PeerId, srtp: Srtp, begin: Begin) {
        if let Some(entry) = self.peers.get(peer) {
            let join = Command::Join { peer, role: entry.peer.role, srtp, begin };
            self.effects.command(entry.shard, join);
        }
        self.update_sources(now);
        self.peer_changed(peer);
        self.participants(now);
    }

    /// A native peer has a new WebSocket: it goes on. False when there is no such peer to go on with.
    fn resume_native(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        token: &str,
        client: &NativeClient,
    ) -> bool {
        let Some(entry) = self.peers.resume(PeerKind::Native, token, client.socket) else { return false };
        let peer = entry.peer.id;
        let had = entry.peer.role;
        let had_rights = entry.peer.rights.clone();
        // A new WebSocket may have fewer rights than the one before; it cannot have more.
        let role = had.min(client.role);
        let rights: Rights = had_rights.intersection(&client.person.rights).copied().collect();
        if let Some(known) = self.peers.get_mut(peer) {
            known.token_id = client.token_id;
        }
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, token.to_owned(), true);
        if role != had {
            let _ = self.set_role(now, peer, role);
        }
        if rights != had_rights {
            let _ = self.set_rights(now, peer, rights);
        }
        let _ = self.command(peer, PeerCommand::ReportSlots);
        true
    }

    /// A client of `multistream/*` is back: its peer goes on.
    fn resume_multistream(
        &mut self,
        to: ReplyTo<PeerAdded>,
        session: &str,
        socket: u64,
    ) -> Result<(), RequestError> {
        let known = self.peers.resume(PeerKind::Multistream, session, socket);
        let (peer, role) = known
            .map(|entry| (entry.peer.id, entry.peer.role))
            .ok_or_else(|| RequestError::new(Code::SessionNotFound, "that session has ended"))?;
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, session.to_owned(), true);
        let _ = self.command(peer, PeerCommand::ReportSlots);
        Ok(())
    }

    fn welcome(&mut self, peer: PeerId, role: Role, resume_token: String, resumed: bool) {
        let known = self.peers.get(peer).map(|entry| &entry.peer);
        let welcome = ServerMessage::Welcome {
            peer_id: peer,
            resume_token,
            resumed,
            role,
            rights: known.map(|peer| peer.rights.clone()).unwrap_or_default(),
            display_name: known.and_then(|peer| peer.display_name.clone()),
            slots: self.slots_of(peer),
            // The web-server knows them, and the secret from which their credentials are made.
            ice_servers: Vec::new(),
            protocol: SIGNAL_PROTOCOL,
        };
        self.effects.signal_peer(peer, welcome);
        // Without pre-allocated slots it follows the offer, which says where they are.
        if resumed || self.peers.get(peer).is_none_or(|entry| entry.sections.is_none()) {
            self.streams_info(peer);
        }
        let control = self.control.control();
        if control.mode != ControlMode::Shared {
            self.effects.signal_peer(peer, ServerMessage::Control(control.clone()));
        }
    }

    /// What all active slots show, and in which sections of the peer's connection.
    fn streams_info(&mut self, peer: PeerId) {
        let sections = self.peers.get(peer).and_then(|entry| entry.sections.as_ref());
        let located = |bound: &Bound| {
            let info = bound.info.clone();
            let Some(sections) = sections else { return Some(info) };
            let (mid, audio) = sections.get(&info.slot)?.clone();
            Some(StreamInfo { mid, audio_mid: info.audio_mid.as_ref().map(|_| audio), ..info })
        };
        let streams = self.slots.values().filter_map(located).collect();
        self.effects.signal_peer(peer, ServerMessage::StreamsInfo { streams });
    }

    /// A peer's signalling.
    pub(super) fn signal(&mut self, now: Now, peer: PeerId, message: ClientMessage) {
        let change = |command| Command::Peer { peer, command };
        let command = match message {
            ClientMessage::Switch { slot, stream, quality, request_id } => {
                return self.switch(now, peer, SlotConfig { slot, stream, quality }, request_id);
            }
            ClientMessage::Answer { sdp } => match Bounded::check(sdp) {
                Ok(sdp) => Command::Answer { peer, sdp },
                Err(error) => {
                    let error = RequestError::new(Code::BadAnswer, error.to_string());
                    return self.effects.refuse_peer(peer, error);
                }
            },
            ClientMessage::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                // An empty one says that there are no more: nothing to do.
                if candidate.is_empty() {
                    return;
                }
                change(PeerCommand::Candidate { candidate, mid: sdp_mid, index: sdp_m_line_index })
            }
            ClientMessage::Pause { slot } => change(PeerCommand::Pause { slot, paused: true }),
            ClientMessage::Resume { slot } => change(PeerCommand::Pause { slot, paused: false }),
            ClientMessage::Keyframe { slot } => change(PeerCommand::Keyframe { slot }),
            ClientMessage::Publish { kind, name } => return self.publish(now, peer, kind, name.as_deref()),
            ClientMessage::Unpublish { kind } => return self.unpublish(now, peer, kind, None),
            ClientMessage::Bye => {
                let _ = self.remove_peer(peer, "the peer said goodbye".to_owned());
                return;
            }
            ClientMessage::ControlRequest => return self.control_wish(peer, Wish::Request),
            ClientMessage::ControlTake => return self.control_wish(peer, Wish::Take),
            ClientMessage::ControlRelease => return self.control_wish(peer, Wish::Release),
            ClientMessage::ControlGrant { peer_id } => {
                return self.control_wish(peer, Wish::Grant(peer_id));
            }
            // The web-server makes a peer of it; a second one means nothing.
            ClientMessage::Hello { .. } => return,
        };
        // Late words of a peer that is gone are no error.
        let Some(entry) = self.peers.get(peer) else { return };
        self.effects.push(Effect::OfferCommand { shard: entry.shard, peer, command });
    }

    pub(super) fn set_role(&mut self, now: Now, peer: PeerId, role: Role) -> Result<(), RequestError> {
        self.command(peer, PeerCommand::SetRole(role))?;
        if let Some(known) = self.peers.get_mut(peer) {
            known.role = role;
        }
        if role < Role::Controller {
            self.lose_control(peer);
        }
        self.effects.signal_peer(peer, ServerMessage::Role { role });
        self.peer_changed(peer);
        self.participants(now);
        Ok(())
    }

    /// What a peer may do among the peers from now on.
    fn set_rights(&mut self, now: Now, peer: PeerId, rights: Rights) -> Result<(), RequestError> {
        let known = self.peers.get_mut(peer).ok_or_else(|| no_peer(peer))?;
        known.rights.clone_from(&rights);
        if !rights.contains(&PeerRight::Publish) {
            self.unpublish_all(now, peer, "the right to publish was taken away");
        }
        self.effects.signal_peer(peer, ServerMessage::Rights { rights });
        self.peer_changed(peer);
        self.participants(now);
        Ok(())
    }

    /// `PATCH …/peers/{peer_id}`.
    pub(super) fn update_peer(
        &mut self,
        now: Now,
        peer: PeerId,
        role: Option<Role>,
        rights: Option<Rights>,
    ) -> Result<(), RequestError> {
        if self.peers.get(peer).is_none() {
            return Err(no_peer(peer));
        }
        if let Some(role) = role {
            self.set_role(now, peer, role)?;
        }
        rights.map_or(Ok(()), |rights| self.set_rights(now, peer, rights))
    }

    /// A shard says something.
    pub fn report(&mut self, now: Now, report: Report) {
        match report {
            Report::Offer { peer, sdp, sections } => {
                self.effects.signal_peer(peer, ServerMessage::Offer { sdp });
                if let Some(sections) = sections {
                    self.peers.set_sections(peer, sections);
                    self.streams_info(peer);
                }
            }
            Report::Answer { peer, result } => self.offer_answered(now, peer, result),
            Report::Patched { peer, result } => self.patched(peer, result),
            Report::Refused { peer, code, message } => {
                let error = ServerMessage::Error { code: code.to_owned(), message, request_id: None };
                self.effects.signal_peer(peer, error);
            }
            Report::State { peer, state } => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.state = state;
                    self.peer_changed(peer);
                }
                match state {
                    PeerState::Connected => {
                        tracing::info!(%peer, "connected");
                        self.publish_all(now, peer);
                    }
                    PeerState::Lost => self.unpublish_all(now, peer, "the connection was lost"),
                    PeerState::Connecting => {}
                }
            }
            Report::Listening { peer } => {
                for text in self.cursor_messages() {
                    self.say_to(peer, text);
                }
            }
            Report::Slot { peer, slot, state } => {
                let status = self.slot_status(peer, slot, state);
                self.effects.signal_peer(peer, status);
            }
            Report::Resize { peer, slot, width, height } => {
                self.resize_for(peer, slot, Size { width, height })
            }
            Report::Clipboard { peer, content } => self.set_clipboard_for(peer, content),
            Report::Pictured { peer, pictured } => self.pictured(now, peer, pictured),
            Report::Layers { peer, taken } => self.layers_taken(peer, taken),
            Report::Unpublishable { peer, kind } => {
                let reason = "nothing was negotiated in which that could be sent";
                self.unpublish(now, peer, kind, Some(reason));
            }
            Report::Gone { peer, reason } => self.peer_gone(now, peer, reason),
            Report::Stats { shard, network, peers } => {
                for (id, stats) in peers {
                    if let Some(known) = self.peers.get_mut(id) {
                        known.stats = stats;
                    }
                }
                self.shard_counted(now, shard, network);
            }
        }
    }

    /// `PATCH …/whep/{peer_id}`, `PATCH …/whip/{peer_id}`.
    pub(super) fn patch_peer(&mut self, to: ReplyTo<Patched>, peer: PeerId, patch: IcePatch) {
        let by_http = |kind| matches!(kind, PeerKind::Whep | PeerKind::Whip);
        if self.peers.get(peer).is_none_or(|entry| !by_http(entry.peer.kind)) {
            let message = format!("there is no peer {peer} that came by WHEP or WHIP");
            return self.effects.refuse(to, RequestError::new(Code::PeerNotFound, message));
        }
        let waiting = self.patching.entry(peer).or_default();
        if waiting.len() >= MAX_PATCHES {
            return self.effects.refuse(to, RequestError::new(Code::Busy, "one after the other"));
        }
        waiting.push_back(to);
        let _ = self.command(peer, PeerCommand::Patch(patch));
    }

    fn patched(&mut self, peer: PeerId, result: Result<Option<String>, RequestError>) {
        let Some(waiting) = self.patching.get_mut(&peer) else { return };
        if let Some(to) = waiting.pop_front() {
            self.effects.reply(to, result.map(|answer| Patched { answer }));
        }
        if waiting.is_empty() {
            self.patching.remove(&peer);
        }
    }

    fn offer_answered(&mut self, now: Now, peer: PeerId, result: Result<String, RequestError>) {
        let Some(Joining { to, slots }) = self.joining.remove(&peer) else { return };
        match result {
            Ok(sdp) => {
                self.effects.reply(to, Ok(PeerAdded { peer, answer: Some(sdp) }));
                for status in slots {
                    self.effects.signal_peer(peer, status);
                }
            }
            Err(error) => {
                let reason = error.message.clone();
                self.effects.refuse(to, error);
                self.peer_gone(now, peer, reason);
            }
        }
    }

    fn resize_for(&mut self, peer: PeerId, slot: SlotIndex, size: Size) {
        match self.shown_to(peer, slot).map(|source| source.resize(size)) {
            // Everybody sees the outcome as `stream-updated`; a refusal is rare and logged.
            Ok(outcome) => self.effects.work(Work::Unattended { what: "resize", outcome }),
            Err(error) => self.effects.refuse_peer(peer, error),
        }
    }

    fn set_clipboard_for(&mut self, peer: PeerId, content: Content) {
        match self.clipboard() {
            Ok(clipboard) => {
                let outcome = clipboard.set(content, Actor::Peer(peer));
                self.effects.work(Work::Unattended { what: "clipboard", outcome });
            }
            Err(error) => self.effects.refuse_peer(peer, error),
        }
    }

    /// Something was copied to the clipboard: controllers are told, but not the one who set it.
    pub(super) fn clipboard_changed(&mut self, offer: ClipboardOffer, by: Option<Actor>) {
        self.effects.send(StreamerIpcMessage::Happened { what: Json(Happening::ClipboardChanged) });
        let to = match by {
            Some(Actor::Peer(peer)) => Audience::ControllersBut(peer),
            Some(Actor::Api) | None => Audience::Controllers,
        };
        let ClipboardOffer { types, content: Content { text, html, .. } } = offer;
        let text = text.unwrap_or_default();
        let message = |html| GeneralMessage::Clipboard { text: text.clone(), html, types: types.clone() };
        let mut text = general(&message(html));
        if text.len() > MAX_CHANNEL_MESSAGE {
            // No browser takes more at once. The text alone is worth more than nothing.
            text = general(&message(None));
        }
        self.command_all(|| Command::Say { to, text: text.clone() });
    }

    pub(super) fn peer_gone(&mut self, now: Now, peer: PeerId, reason: String) {
        let Some(entry) = self.peers.get(peer) else { return };
        let shard = &mut self.shards[entry.shard];
        shard.peers = shard.peers.saturating_sub(1);
        self.unpublish_all(now, peer, &reason);
        self.peers.remove(peer);
        if let Some(Joining { to, .. }) = self.joining.remove(&peer) {
            self.effects.refuse(to, RequestError::new(Code::JoinFailed, &reason));
        }
        for to in self.patching.remove(&peer).unwrap_or_default() {
            self.effects.refuse(to, RequestError::new(Code::PeerNotFound, &reason));
        }
        tracing::info!(%peer, reason, "gone");
        self.effects.send(StreamerIpcMessage::PeerGone { peer, reason });
        self.lose_control(peer);
        self.update_sources(now);
        self.participants(now);
    }

    fn peer_changed(&mut self, peer: PeerId) {
        if let Some(entry) = self.peers.get(peer) {
            self.effects.send(StreamerIpcMessage::PeerState { peer: Json(entry.peer.clone()) });
        }
    }

    pub(super) fn participants(&mut self, now: Now) {
        self.participants.changed();
        self.announce(now);
    }

    /// Tells what is due to be told.
    pub fn announce(&mut self, now: Now) {
        if self.participants.take(now.instant) {
            let mut participants = self.peers.participants(self.control.control().holder);
            for participant in &mut participants {
                participant.publishing = self.published_by(participant.peer_id);
            }
            self.effects.broadcast(ServerMessage::Participants { participants });
        }
    }

    /// When [`Session::announce`] has something to do.
    pub fn announcement_due(&self, now: Now) -> Option<Instant> {
        self.participants.due(now.instant)
    }

    /// The input thread says something.
    pub fn input_notice(&mut self, notice: input::Notice) {
        match notice {
            input::Notice::Pointer(notice) => self.pointer(notice),
            input::Notice::Refused(peer) => {
                let message = "too much waits for the text that is being typed".to_owned();
                let (channel, code) = (Channel::Keys.label().to_owned(), "busy".to_owned());
                let text = general(&GeneralMessage::Error { channel, code, message });
                self.say_to(peer, text);
            }
            input::Notice::Rumble(peer, slot, pad, input::Motors { strong, weak }) => {
                let text = general(&GeneralMessage::Rumble { slot, pad, strong, weak });
                self.say_to(peer, text);
            }
        }
    }

    /// Somebody moved the pointer: the others are shown where it is.
    fn pointer(&mut self, notice: input::PointerNotice) {
        let text = general(&GeneralMessage::CursorPosition { slot: notice.slot, at: notice.at });
        let to = match notice.by {
            Actor::Peer(peer) => Audience::AllBut(peer),
            Actor::Api => Audience::All,
        };
        self.command_all(|| Command::Say { to, text: text.clone() });
    }

    /// Changes something about one peer.
    pub(super) fn command(&mut self, peer: PeerId, command: PeerCommand) -> Result<(), RequestError> {
        self.command_shard_of(peer, Command::Peer { peer, command })
    }

    /// Has its shard end a peer. It stays known until the shard reports that it is gone.
    pub(super) fn remove_peer(&mut self, peer: PeerId, reason: String) -> Result<(), RequestError> {
        self.command_shard_of(peer, Command::Remove { peer, reason })
    }

    /// Sends a text to one peer on its channel `general`.
    fn say_to(&mut self, peer: PeerId, text: Arc<str>) {
        // One that is gone needs it no more.
        let _ = self.command_shard_of(peer, Command::Say { to: Audience::One(peer), text });
    }

    fn command_shard_of(&mut self, peer: PeerId, command: Command) -> Result<(), RequestError> {
        let entry = self.peers.get(peer).ok_or_else(|| no_peer(peer))?;
        self.effects.command(entry.shard, command);
        Ok(())
    }

    pub(super) fn command_all(&mut self, command: impl Fn() -> Command) {
        for shard in 0..self.shards.len() {
            self.effects.command(shard, command());
        }
    }
}

fn no_peer(peer: PeerId) -> RequestError {
    RequestError::new(Code::PeerNotFound, format!("there is no peer {peer}"))
}

/// The only way in for offers, as `Session::signal` is for answers: nothing that costs a shard time gets past it.
fn bounded_offer(offer: String) -> Result<Bounded, RequestError> {
    Bounded::check(offer).map_err(|error| RequestError::new(Code::BadOffer, error.to_string()))
}

/// A message for the channel `general`, as all peers get it.
pub(super) fn general(message: &GeneralMessage) -> Arc<str> {
    serde_json::to_string(message).expect("strings and finite numbers only").into()
}
