//! The peers of a session: how they join and leave, what they say by signalling, what shards say of them.

use std::sync::Arc;
use std::time::Instant;

use common::api::{PeerKind, PeerState};
use common::clipboard::Content;
use common::control::ControlMode;
use common::event::Happening;
use common::id::{PeerId, SlotIndex};
use common::input::{Actor, GeneralMessage, MAX_CHANNEL_MESSAGE};
use common::ipc::request::{Patched, PeerAdded};
use common::ipc::{Code, IcePatch, Join, Json, RequestError, StreamerIpcMessage};
use common::sdp::Bounded;
use common::signal::{ClientMessage, Role, SIGNAL_PROTOCOL, ServerMessage, StreamInfo};
use common::slots::SlotConfig;
use common::spec::MAX_SLOTS;

use super::Session;
use super::arbiter::Wish;
use super::peers::Presence;
use super::slots::Bound;
use crate::link::{Link, ReplyTo};
use crate::media::Size;
use crate::peer::connection::Channel;
use crate::peer::{Audience, Begin, Command, Own, Report, Sections, Srtp};
use crate::source::ClipboardOffer;
use crate::{input, requests};

/// Patches of one peer that wait for its shard. A player waits for each before it sends another.
const MAX_PATCHES: usize = 8;

/// A peer that has offered, and waits for its answer.
pub struct Joining {
    to: ReplyTo<PeerAdded>,
    /// How its slots begin. Told once the answer is on its way: before it, nobody knows the peer.
    slots: Vec<ServerMessage>,
}

impl Session {
    pub(super) fn add_peer(&mut self, link: &mut Link, to: ReplyTo<PeerAdded>, join: Join) {
        if let Join::Native { resume: Some(token), role, socket, token_id, .. } = &join
            && let Some(entry) = self.peers.resume(PeerKind::Native, token, *socket)
        {
            let (peer, had) = (entry.peer.id, entry.peer.role);
            // A new WebSocket may have fewer rights than the one before; it cannot have more.
            let (role, token) = (had.min(*role), token.clone());
            if let Some(known) = self.peers.get_mut(peer) {
                known.token_id = *token_id;
            }
            link.reply(to, Ok(PeerAdded { peer, answer: None }));
            self.welcome(link, peer, role, token, true);
            if role != had {
                let _ = self.set_role(link, peer, role);
            }
            let _ = self.tell(peer, Command::TellSlots { peer });
            return;
        }
        let token_id = match &join {
            Join::Native { token_id, .. }
            | Join::MultiWebrtc { token_id, .. }
            | Join::Whep { token_id, .. }
            | Join::Multistream { token_id, .. } => *token_id,
            Join::ResumeMultistream { .. } => None,
        };
        // The only way in for offers, as `signal` is for answers: nothing that costs a shard time gets past it.
        let offer = match &join {
            Join::Whep { offer, .. } | Join::Multistream { offer, .. } => {
                match Bounded::check(offer.clone()) {
                    Ok(offer) => Some(offer),
                    Err(error) => {
                        let error = RequestError::new(Code::BadOffer, error.to_string());
                        return link.reply(to, Err(error));
                    }
                }
            }
            Join::Native { .. } | Join::MultiWebrtc { .. } | Join::ResumeMultistream { .. } => None,
        };
        let mut presence = Presence::Elsewhere;
        let (kind, role, srtp, slots) = match &join {
            Join::Native { role, capabilities, socket, .. } => {
                presence = Presence::Attached { socket: *socket };
                let srtp = if capabilities.srtp_gcm { Srtp::Gcm } else { Srtp::Any };
                (PeerKind::Native, *role, srtp, self.spec.slots)
            }
            Join::MultiWebrtc { role, socket, .. } => {
                presence = Presence::Attached { socket: *socket };
                (PeerKind::MultiWebrtc, *role, Srtp::Any, 1)
            }
            Join::Whep { .. } => (PeerKind::Whep, Role::Viewer, Srtp::Any, 1),
            // At most MAX_SLOTS: the web-server has a limit of its own, and what is more is cut here.
            Join::Multistream { slots, socket, .. } => {
                presence = Presence::Attached { socket: *socket };
                (PeerKind::Multistream, Role::Viewer, Srtp::Any, slots.len().min(MAX_SLOTS.into()) as u8)
            }
            Join::ResumeMultistream { session, socket } => {
                return self.resume_multistream(link, to, session, *socket);
            }
        };
        if self.peers.len() >= self.settings.max_peers as usize {
            self.peers_refused += 1;
            let message = format!("this streamer has {} peers, the most it may have", self.peers.len());
            return link.reply(to, Err(RequestError::new(Code::TooManyPeers, message)));
        }
        let shard = (0..self.shards.len()).min_by_key(|&n| self.shards[n].peers).unwrap_or(0);
        self.shards[shard].peers += 1;
        let (peer, token) = self.peers.add(kind, presence, role, shard, slots);
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.token_id = token_id;
        }
        let begin = match (join, offer) {
            (Join::Native { capabilities, .. }, _) => {
                let preallocated = capabilities.preallocated_slots && self.settings.preallocate_slots;
                if !preallocated {
                    self.peers.set_sections(peer, Sections::new());
                }
                link.reply(to, Ok(PeerAdded { peer, answer: None }));
                self.welcome(link, peer, role, token, false);
                Begin::Offer { preallocated }
            }
            (Join::MultiWebrtc { .. }, _) => {
                link.reply(to, Ok(PeerAdded { peer, answer: None }));
                self.welcome(link, peer, role, token, false);
                Begin::OfferToMultiWebrtc
            }
            (Join::Whep { .. }, Some(offer)) => {
                self.joining.insert(peer, Joining { to, slots: Vec::new() });
                Begin::Accept { offer, slots: vec![Own::Follow] }
            }
            (Join::Multistream { slots: mut wishes, session, .. }, Some(offer)) => {
                wishes.truncate(MAX_SLOTS.into());
                self.peers.set_resume_token(peer, session);
                let (slots, told) = self.wishes(peer, wishes);
                self.joining.insert(peer, Joining { to, slots: told });
                Begin::Accept { offer, slots }
            }
            (Join::ResumeMultistream { .. }, _) => unreachable!("it has a peer already"),
            (Join::Whep { .. } | Join::Multistream { .. }, None) => unreachable!("its offer was checked"),
        };
        self.shards[shard].commands.send(Command::Join { peer, role, srtp, begin });
        self.settle();
        self.peer_changed(link, peer);
        self.participants(link);
    }

    /// A client of `multistream/*` is back: its peer goes on.
    fn resume_multistream(&mut self, link: &mut Link, to: ReplyTo<PeerAdded>, session: &str, socket: u64) {
        let known = self.peers.resume(PeerKind::Multistream, session, socket);
        let Some((peer, role)) = known.map(|entry| (entry.peer.id, entry.peer.role)) else {
            let message = "that session has ended";
            return link.reply(to, Err(RequestError::new(Code::SessionNotFound, message)));
        };
        link.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(link, peer, role, session.to_owned(), true);
        let _ = self.tell(peer, Command::TellSlots { peer });
    }

    pub(super) fn welcome(
        &self,
        link: &mut Link,
        peer: PeerId,
        role: Role,
        resume_token: String,
        resumed: bool,
    ) {
        let welcome = ServerMessage::Welcome {
            peer_id: peer,
            resume_token,
            resumed,
            role,
            slots: self.slots_of(peer),
            // The web-server knows them, and the secret from which their credentials are made.
            ice_servers: Vec::new(),
            protocol: SIGNAL_PROTOCOL,
        };
        to_peer(link, peer, welcome);
        // Without pre-allocated slots it follows the offer, which says where they are.
        if resumed || self.peers.get(peer).is_none_or(|entry| entry.sections.is_none()) {
            self.streams_info(link, peer);
        }
        let control = self.control.control();
        if control.mode != ControlMode::Shared {
            to_peer(link, peer, ServerMessage::Control(control.clone()));
        }
    }

    /// What all active slots show, and in which sections of the peer's connection.
    fn streams_info(&self, link: &mut Link, peer: PeerId) {
        let sections = self.peers.get(peer).and_then(|entry| entry.sections.as_ref());
        let located = |bound: &Bound| {
            let info = bound.info.clone();
            let Some(sections) = sections else { return Some(info) };
            let (mid, audio) = sections.get(&info.slot)?.clone();
            Some(StreamInfo { mid, audio_mid: info.audio_mid.as_ref().map(|_| audio), ..info })
        };
        let streams = self.slots.values().filter_map(located).collect();
        to_peer(link, peer, ServerMessage::StreamsInfo { streams });
    }

    /// A peer's signalling.
    pub(super) fn signal(&mut self, link: &mut Link, peer: PeerId, message: ClientMessage) {
        let command = match message {
            ClientMessage::Switch { slot, stream, quality, request_id } => {
                return self.switch(link, peer, SlotConfig { slot, stream, quality }, request_id);
            }
            ClientMessage::Answer { sdp } => match Bounded::check(sdp) {
                Ok(sdp) => Command::Answer { peer, sdp },
                Err(error) => {
                    let error = RequestError::new(Code::BadAnswer, error.to_string());
                    return refuse(link, peer, error);
                }
            },
            ClientMessage::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                // An empty one says that there are no more: nothing to do.
                if candidate.is_empty() {
                    return;
                }
                Command::Candidate { peer, candidate, mid: sdp_mid, index: sdp_m_line_index }
            }
            ClientMessage::Pause { slot } => Command::Pause { peer, slot, paused: true },
            ClientMessage::Resume { slot } => Command::Pause { peer, slot, paused: false },
            ClientMessage::Keyframe { slot } => Command::Keyframe { peer, slot },
            ClientMessage::Bye => {
                let _ = self.tell(peer, Command::Remove { peer, reason: "the peer said goodbye".to_owned() });
                return;
            }
            ClientMessage::ControlRequest => return self.control_wish(link, peer, Wish::Request),
            ClientMessage::ControlTake => return self.control_wish(link, peer, Wish::Take),
            ClientMessage::ControlRelease => return self.control_wish(link, peer, Wish::Release),
            ClientMessage::ControlGrant { peer_id } => {
                return self.control_wish(link, peer, Wish::Grant(peer_id));
            }
            // The web-server makes a peer of it; a second one means nothing.
            ClientMessage::Hello { .. } => return,
        };
        // Late words of a peer that is gone are no error.
        let Some(entry) = self.peers.get(peer) else { return };
        if self.shards[entry.shard].commands.offer(command).is_err() {
            let message = "the session is behind with its peers; try again".to_owned();
            to_peer(link, peer, ServerMessage::Error { code: "busy".to_owned(), message, request_id: None });
        }
    }

    pub(super) fn set_role(&mut self, link: &mut Link, peer: PeerId, role: Role) -> Result<(), RequestError> {
        self.tell(peer, Command::SetRole { peer, role })?;
        if let Some(known) = self.peers.get_mut(peer) {
            known.role = role;
        }
        if role < Role::Controller {
            self.out_of_control(link, peer);
        }
        to_peer(link, peer, ServerMessage::Role { role });
        self.peer_changed(link, peer);
        self.participants(link);
        Ok(())
    }

    /// A shard says something.
    pub fn report(&mut self, link: &mut Link, report: Report) {
        match report {
            Report::Offer { peer, sdp, sections } => {
                to_peer(link, peer, ServerMessage::Offer { sdp });
                if let Some(sections) = sections {
                    self.peers.set_sections(peer, sections);
                    self.streams_info(link, peer);
                }
            }
            Report::Answer { peer, result } => self.offer_answered(link, peer, result),
            Report::Patched { peer, result } => self.patched(link, peer, result),
            Report::Refused { peer, code, message } => {
                let error = ServerMessage::Error { code: code.to_owned(), message, request_id: None };
                to_peer(link, peer, error);
            }
            Report::State { peer, state } => {
                if let Some(known) = self.peers.get_mut(peer) {
                    known.state = state;
                    self.peer_changed(link, peer);
                }
                if state == PeerState::Connected {
                    tracing::info!(%peer, "connected");
                }
            }
            Report::Listening { peer } => {
                for text in self.cursor_messages() {
                    let _ = self.tell(peer, Command::Say { to: Audience::One(peer), text });
                }
            }
            Report::Slot { peer, slot, state } => {
                let status = self.slot_status(peer, slot, state);
                to_peer(link, peer, status);
            }
            Report::Resize { peer, slot, width, height } => {
                self.resize_for(link, peer, slot, Size { width, height })
            }
            Report::Clipboard { peer, content } => self.set_clipboard_for(link, peer, content),
            Report::Gone { peer, reason } => self.peer_gone(link, peer, reason),
            Report::Stats { shard, network, peers } => {
                for (id, stats) in peers {
                    if let Some(known) = self.peers.get_mut(id) {
                        known.stats = stats;
                    }
                }
                self.shard_counted(link, shard, network);
            }
        }
    }

    /// `PATCH …/whep/{peer_id}`.
    pub(super) fn patch_peer(
        &mut self,
        link: &mut Link,
        to: ReplyTo<Patched>,
        peer: PeerId,
        patch: IcePatch,
    ) {
        if self.peers.get(peer).is_none_or(|entry| entry.peer.kind != PeerKind::Whep) {
            let message = format!("there is no peer {peer} that came by WHEP");
            return link.reply(to, Err(RequestError::new(Code::PeerNotFound, message)));
        }
        let waiting = self.patching.entry(peer).or_default();
        if waiting.len() >= MAX_PATCHES {
            return link.reply(to, Err(RequestError::new(Code::Busy, "one after the other")));
        }
        waiting.push_back(to);
        let _ = self.tell(peer, Command::Patch { peer, patch });
    }

    fn patched(&mut self, link: &mut Link, peer: PeerId, result: Result<Option<String>, RequestError>) {
        let Some(waiting) = self.patching.get_mut(&peer) else { return };
        if let Some(to) = waiting.pop_front() {
            link.reply(to, result.map(|answer| Patched { answer }));
        }
        if waiting.is_empty() {
            self.patching.remove(&peer);
        }
    }

    fn offer_answered(&mut self, link: &mut Link, peer: PeerId, result: Result<String, RequestError>) {
        let Some(Joining { to, slots }) = self.joining.remove(&peer) else { return };
        match result {
            Ok(sdp) => {
                link.reply(to, Ok(PeerAdded { peer, answer: Some(sdp) }));
                slots.into_iter().for_each(|status| to_peer(link, peer, status));
            }
            Err(error) => {
                let reason = error.message.clone();
                link.reply(to, Err(error));
                self.peer_gone(link, peer, reason);
            }
        }
    }

    pub(super) fn resize_for(&self, link: &mut Link, peer: PeerId, slot: SlotIndex, size: Size) {
        match self.shown_to(peer, slot) {
            // Everybody sees the outcome as `stream-updated`; a refusal is rare and logged.
            Ok(source) => requests::report_failure("resize", source.resize(size)),
            Err(error) => refuse(link, peer, error),
        }
    }

    pub(super) fn set_clipboard_for(&self, link: &mut Link, peer: PeerId, content: Content) {
        match self.clipboard() {
            Ok(clipboard) => {
                requests::report_failure("clipboard", clipboard.set(content, Actor::Peer(peer)));
            }
            Err(error) => refuse(link, peer, error),
        }
    }

    /// Something was copied to the clipboard: controllers are told, but not the one who set it.
    pub(super) fn clipboard_changed(&mut self, link: &mut Link, offer: ClipboardOffer, by: Option<Actor>) {
        link.send(StreamerIpcMessage::Happened { what: Json(Happening::ClipboardChanged) });
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
        self.tell_all(|| Command::Say { to, text: text.clone() });
    }

    pub(super) fn peer_gone(&mut self, link: &mut Link, peer: PeerId, reason: String) {
        let Some(entry) = self.peers.get(peer) else { return };
        let shard = &mut self.shards[entry.shard];
        shard.peers = shard.peers.saturating_sub(1);
        self.peers.remove(peer);
        if let Some(Joining { to, .. }) = self.joining.remove(&peer) {
            link.reply(to, Err(RequestError::new(Code::JoinFailed, &reason)));
        }
        for to in self.patching.remove(&peer).unwrap_or_default() {
            link.reply(to, Err(RequestError::new(Code::PeerNotFound, &reason)));
        }
        tracing::info!(%peer, reason, "gone");
        link.send(StreamerIpcMessage::PeerGone { peer, reason });
        self.out_of_control(link, peer);
        self.settle();
        self.participants(link);
    }

    pub(super) fn peer_changed(&self, link: &mut Link, peer: PeerId) {
        if let Some(entry) = self.peers.get(peer) {
            link.send(StreamerIpcMessage::PeerState { peer: Json(entry.peer.clone()) });
        }
    }

    pub(super) fn participants(&mut self, link: &mut Link) {
        self.participants.changed();
        self.announce(link);
    }

    /// Tells what is due to be told.
    pub fn announce(&mut self, link: &mut Link) {
        if self.participants.take(Instant::now()) {
            self.broadcast(link, ServerMessage::Participants { participants: self.peers.participants() });
        }
    }

    /// When [`Session::announce`] has something to do.
    pub fn announcement_due(&self) -> Option<Instant> {
        self.participants.due(Instant::now())
    }

    pub(super) fn broadcast(&self, link: &mut Link, message: ServerMessage) {
        link.send(StreamerIpcMessage::Broadcast { message: Json(message) });
    }

    /// The input thread says something.
    pub fn input_notice(&mut self, notice: input::Notice) {
        match notice {
            input::Notice::Pointer(notice) => self.pointer(notice),
            input::Notice::Refused(peer) => {
                let message = "too much waits for the text that is being typed".to_owned();
                let (channel, code) = (Channel::Keys.label().to_owned(), "busy".to_owned());
                let text = general(&GeneralMessage::Error { channel, code, message });
                let _ = self.tell(peer, Command::Say { to: Audience::One(peer), text });
            }
            input::Notice::Rumble(peer, slot, pad, input::Motors { strong, weak }) => {
                let text = general(&GeneralMessage::Rumble { slot, pad, strong, weak });
                let _ = self.tell(peer, Command::Say { to: Audience::One(peer), text });
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
        self.tell_all(|| Command::Say { to, text: text.clone() });
    }

    pub(super) fn tell(&mut self, peer: PeerId, command: Command) -> Result<(), RequestError> {
        let entry = self
            .peers
            .get(peer)
            .ok_or_else(|| RequestError::new(Code::PeerNotFound, format!("there is no peer {peer}")))?;
        self.shards[entry.shard].commands.send(command);
        Ok(())
    }

    pub(super) fn tell_all(&mut self, command: impl Fn() -> Command) {
        self.shards.iter_mut().for_each(|shard| shard.commands.send(command()));
    }

    /// Passes on what shards had no room for. After every event, as it may be a shard that has got on.
    pub fn flush(&mut self) {
        self.shards.iter_mut().for_each(|shard| shard.commands.flush());
    }
}

pub(super) fn refuse(link: &mut Link, peer: PeerId, error: RequestError) {
    let (code, message, request_id) = (error.code.to_string(), error.message, None);
    to_peer(link, peer, ServerMessage::Error { code, message, request_id });
}

pub(super) fn to_peer(link: &mut Link, peer: PeerId, message: ServerMessage) {
    link.send(StreamerIpcMessage::ToPeer { peer, message: Json(message) });
}

/// A message for the channel `general`, as all peers get it.
pub(super) fn general(message: &GeneralMessage) -> Arc<str> {
    serde_json::to_string(message).expect("strings and finite numbers only").into()
}
