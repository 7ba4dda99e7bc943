//! How peers join a session, and how they resume.

use std::os::unix::net::UnixStream;

use common::api::PeerKind;
use common::control::ControlMode;
use common::id::PeerId;
use common::ipc::request::PeerAdded;
use common::ipc::{Code, Join, RequestError, Ticket};
use common::media_socket::AttachMedia;
use common::person::{PeerRight, Person, Rights};
use common::sdp::Bounded;
use common::signal::{Capabilities, Role, SIGNAL_PROTOCOL, ServerMessage, StreamInfo};
use common::slots::SlotConfig;
use common::spec::MAX_SLOTS;

use super::peers::{Entry, Presence};
use super::publishing::check_right_to_publish;
use super::reading::Reads;
use super::slots::Bound;
use super::{Now, Session};
use crate::link::ReplyTo;
use crate::peer::{Attachment, Begin, Command, PeerCommand, Sections, SlotChoice, Srtp};

/// A peer that has offered, and waits for its answer.
pub struct Joining {
    pub(super) to: ReplyTo<PeerAdded>,
    /// How its slots begin. Told once the answer is on its way: before it, nobody knows the peer.
    slots: Vec<ServerMessage>,
}

/// A peer that is about to be admitted.
pub(super) struct Newcomer {
    pub(super) kind: PeerKind,
    pub(super) presence: Presence,
    pub(super) role: Role,
    pub(super) slots: u8,
    pub(super) ticket: Ticket,
    pub(super) person: Person,
}

/// A native client, as its `hello` and its token describe it.
struct NativeClient {
    socket: u64,
    role: Role,
    ticket: Ticket,
    person: Person,
}

impl Session {
    /// A peer joins, or is back.
    pub(super) fn add_peer(&mut self, now: Now, to: ReplyTo<PeerAdded>, join: Join) {
        let joined = match join {
            Join::Native { resume, socket, role, capabilities, ticket, person } => {
                let client = NativeClient { socket, role, ticket, person };
                if resume.is_some_and(|token| self.resume_native(now, to, &token, &client)) {
                    return;
                }
                self.join_native(now, to, client, capabilities)
            }
            Join::MultiWebrtc { socket, role, ticket } => {
                self.join_multi_webrtc(now, to, socket, role, ticket)
            }
            Join::Whep { offer, ticket } => self.join_whep(now, to, offer, ticket),
            Join::Mp4 { stream, ticket } => self.join_reader(now, to, Reads::Mp4, &stream, ticket),
            Join::Rtsp { stream, ticket } => self.join_reader(now, to, Reads::Rtp, &stream, ticket),
            Join::Whip { offer, ticket, person } => self.join_whip(now, to, offer, ticket, person),
            Join::Multistream { offer, slots, session, socket, ticket } => {
                self.join_multistream(now, to, offer, slots, session, socket, ticket)
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
        let NativeClient { socket, role, ticket, person } = client;
        let presence = Presence::Attached { socket };
        let slots = self.spec.slots;
        let newcomer = Newcomer { kind: PeerKind::Native, presence, role, slots, ticket, person };
        let (peer, token) = self.admit(now, newcomer)?;
        let preallocated = capabilities.preallocated_slots && self.settings.preallocate_slots;
        if !preallocated {
            self.peers.set_sections(peer, Sections::new());
        }
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, token, false);
        let srtp = if capabilities.srtp_gcm { Srtp::Gcm } else { Srtp::Any };
        let may_publish = |entry: &Entry| entry.peer.rights.contains(&PeerRight::Publish);
        let publishes = self.peers.get(peer).is_some_and(may_publish);
        self.begin(now, peer, srtp, Begin::Offer { preallocated, publishes });
        Ok(())
    }

    fn join_multi_webrtc(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        socket: u64,
        role: Role,
        ticket: Ticket,
    ) -> Result<(), RequestError> {
        let presence = Presence::Attached { socket };
        let kind = PeerKind::MultiWebrtc;
        let person = Person::default();
        let newcomer = Newcomer { kind, presence, role, slots: 1, ticket, person };
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
        ticket: Ticket,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        let newcomer = Newcomer {
            kind: PeerKind::Whep,
            presence: Presence::Elsewhere,
            role: Role::Viewer,
            slots: 1,
            ticket,
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
        ticket: Ticket,
        person: Person,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        check_right_to_publish(&person.rights)?;
        let newcomer = Newcomer {
            kind: PeerKind::Whip,
            presence: Presence::Elsewhere,
            role: Role::Viewer,
            slots: 0,
            ticket,
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
        ticket: Ticket,
    ) -> Result<(), RequestError> {
        let offer = bounded_offer(offer)?;
        // The web-server has a limit of its own; what is more than ours is cut here.
        wishes.truncate(MAX_SLOTS.into());
        let newcomer = Newcomer {
            kind: PeerKind::Multistream,
            presence: Presence::Attached { socket },
            role: Role::Viewer,
            slots: wishes.len() as u8,
            ticket,
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
    pub(super) fn admit(&mut self, now: Now, newcomer: Newcomer) -> Result<(PeerId, String), RequestError> {
        if self.peers.len() >= self.settings.max_peers as usize {
            self.peers_refused += 1;
            let message = format!("this streamer has {} peers, the most it may have", self.peers.len());
            return Err(RequestError::new(Code::TooManyPeers, message));
        }
        if let Some(room) = &self.spec.room
            && self.peers.len() >= room.max_participants as usize
        {
            self.peers_refused += 1;
            let message = format!("this room has {} participants, the most it may have", self.peers.len());
            return Err(RequestError::new(Code::RoomFull, message));
        }
        let Newcomer { kind, presence, role, slots, ticket, person } = newcomer;
        let shard = (0..self.shards.len()).min_by_key(|&n| self.shards[n].peers).unwrap_or(0);
        self.shards[shard].peers += 1;
        let (peer, token) = self.peers.add(now.utc, kind, presence, role, shard, slots);
        if let Some(entry) = self.peers.get_mut(peer) {
            entry.token_id = ticket.token_id;
            entry.max_bitrate_kbps = ticket.max_bitrate_kbps;
        }
        self.peers.set_person(peer, person);
        self.peers.set_audio(peer, ticket.audio);
        self.peers.set_pointers(peer, ticket.pointers);
        Ok((peer, token))
    }

    /// Has its shard begin with a peer that has been admitted, and tells everybody of it.
    fn begin(&mut self, now: Now, peer: PeerId, srtp: Srtp, begin: Begin) {
        if let Some(entry) = self.peers.get(peer) {
            let most = self.most_for(entry.peer.max_bitrate_kbps);
            let join = Command::Join { peer, role: entry.peer.role, srtp, begin };
            self.effects.command(entry.shard, join);
            if most.is_some() {
                let command = PeerCommand::SetMaxBitrate(most);
                self.effects.command(entry.shard, Command::Peer { peer, command });
            }
        }
        self.update_sources(now);
        self.peer_changed(peer);
        self.participants(now);
    }

    /// What a peer that is to be sent `kbps` at most may be sent of this streamer.
    pub(super) fn most_for(&self, kbps: Option<u32>) -> Option<u32> {
        [self.spec.max_bitrate_kbps, kbps].into_iter().flatten().min()
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
            known.token_id = client.ticket.token_id;
        }
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.welcome(peer, role, token.to_owned(), true);
        if role != had {
            let _ = self.set_role(now, peer, role);
        }
        if rights != had_rights {
            let _ = self.set_rights(now, peer, rights);
        }
        let _ = self.set_max_bitrate(peer, client.ticket.max_bitrate_kbps);
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

    /// The web-server relays the media socket of a peer. One that is not its client's is dropped, and so closed.
    pub fn attach_media(&mut self, attach: AttachMedia, stream: UnixStream) {
        let AttachMedia { peer_id: peer, resume_token, codecs, .. } = attach;
        if !self.peers.is_native(peer, &resume_token) {
            return tracing::info!(%peer, "a media socket was refused: no such peer, or another one's token");
        }
        // Of a peer that has gone meanwhile, it is dropped as well.
        let _ = self.command(peer, PeerCommand::Attach(Attachment { stream, codecs }));
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
            // Those are known to the web-server, too.
            nodes: Vec::new(),
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
        self.chat_history(peer);
    }

    /// What all active slots show, and in which sections of the peer's connection.
    pub(super) fn streams_info(&mut self, peer: PeerId) {
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

    pub(super) fn offer_answered(&mut self, now: Now, peer: PeerId, result: Result<String, RequestError>) {
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
}

/// The only way in for offers, as `Session::signal` is for answers: nothing that costs a shard time gets past it.
fn bounded_offer(offer: String) -> Result<Bounded, RequestError> {
    Bounded::check(offer).map_err(|error| RequestError::new(Code::BadOffer, error.to_string()))
}
