//! Who is there, as the control loop knows it. The media of a peer lives in its shard; this is what
//! survives the web-server: ids, roles, resume tokens.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::api::{Peer, PeerKind, PeerState, PeerStats};
use common::id::{PeerId, SlotIndex};
use common::ipc::knows_token;
use common::person::{Person, Rights};
use common::signal::{AudioLayout, Participant, Role, SlotState};
use common::slots::SlotConfig;

use super::room::Room;
use super::sources::Shown;
use crate::peer::Sections;

/// A peer whose WebSocket is gone and whose connection is not up is forgotten after this.
const RESUME_GRACE: Duration = Duration::from_secs(30);
/// A `multistream/*` client whose WebSocket is gone is forgotten after this, whether or not its connection is up.
const MULTISTREAM_GRACE: Duration = Duration::from_secs(common::multistream::GRACE_S);

/// One peer.
#[derive(Debug)]
pub struct Entry {
    /// As REST shows it.
    pub peer: Peer,
    /// Index of its shard.
    pub shard: usize,
    /// Slots of its connection.
    pub slots: u8,
    /// It came with slots of its own: what everybody sees is nothing to it.
    pub own_slots: bool,
    /// How sound comes to it.
    pub audio: AudioLayout,
    /// It is told where the others point.
    pub pointers: bool,
    /// Where slots are in its last offer, if they are not pre-allocated.
    pub sections: Option<Sections>,
    /// What it has chosen to see, by slot.
    choices: BTreeMap<SlotIndex, Shown>,
    /// What it asked for when it came and cannot have, by slot, and why. A choice takes its place.
    unfulfilled: BTreeMap<SlotIndex, (SlotConfig, &'static str)>,
    /// Its requests that are not answered yet, by slot.
    asked: BTreeMap<SlotIndex, String>,
    /// Proves that a new WebSocket belongs to it.
    resume_token: String,
    presence: Presence,
}

impl Entry {
    /// It sees in every slot what everybody sees there.
    pub fn follows_everywhere(&self) -> bool {
        !self.own_slots && self.choices.is_empty()
    }
}

/// How a peer can be reached besides its connection.
///
/// ```text
/// Attached { a } ──resume──▶ Attached { b }
///    │ loss of a      ▲         ▲   (the loss of a, told late, is not b's)
///    ▼                │         │
/// Detached ──resume───┴─────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Presence {
    /// By this WebSocket of the web-server's.
    Attached {
        /// Its number.
        socket: u64,
    },
    /// Its WebSocket is gone.
    Detached {
        /// When it went.
        since: Instant,
    },
    /// It has no WebSocket that could be lost: the web-server ends it by its id (WHEP).
    Elsewhere,
}

/// All peers of a streamer.
#[derive(Debug, Default)]
pub struct Peers {
    entries: BTreeMap<PeerId, Entry>,
    /// There is no web-server that anybody could come back to.
    unreachable: bool,
}

impl Peers {
    /// A new peer with so many slots. Returns its id and its resume token.
    pub fn add(
        &mut self,
        joined: DateTime<Utc>,
        kind: PeerKind,
        presence: Presence,
        role: Role,
        shard: usize,
        slots: u8,
    ) -> (PeerId, String) {
        let id = PeerId::unique();
        let resume_token = format!("{}{}", uuid::Uuid::new_v4().simple(), uuid::Uuid::new_v4().simple());
        let peer = Peer {
            id,
            kind,
            role,
            state: PeerState::Connecting,
            joined,
            display_name: None,
            user_id: None,
            rights: Rights::new(),
            max_bitrate_kbps: None,
            session_microphone: false,
            session_camera: false,
            token_id: None,
            stats: PeerStats::default(),
        };
        let entry = Entry {
            peer,
            shard,
            slots,
            own_slots: matches!(kind, PeerKind::Multistream | PeerKind::Mp4 | PeerKind::Rtsp),
            audio: AudioLayout::default(),
            pointers: false,
            sections: None,
            choices: BTreeMap::new(),
            unfulfilled: BTreeMap::new(),
            asked: BTreeMap::new(),
            resume_token: resume_token.clone(),
            presence,
        };
        self.entries.insert(id, entry);
        (id, resume_token)
    }

    /// A peer is resumed by this token, which was given to it before it came.
    pub fn set_resume_token(&mut self, id: PeerId, token: String) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.resume_token = token;
        }
    }

    /// Who a peer is to the others.
    pub fn set_person(&mut self, id: PeerId, person: Person) {
        if let Some(entry) = self.entries.get_mut(&id) {
            let Person { display_name, user_id, rights } = person;
            entry.peer.display_name = display_name;
            entry.peer.user_id = user_id;
            entry.peer.rights = rights;
        }
    }

    /// How sound comes to a peer. Chosen when it joins.
    pub fn set_audio(&mut self, id: PeerId, audio: AudioLayout) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.audio = audio;
        }
    }

    /// A peer wants to be told where the others point. Chosen when it joins.
    pub fn set_pointers(&mut self, id: PeerId, wanted: bool) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.pointers = wanted;
        }
    }

    /// Those who are told where the others point, in the order of their ids.
    pub fn told_of_pointers(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.pointers && entry.peer.state == PeerState::Connected)
    }

    /// Those who take a mix.
    pub fn takers(&self) -> impl Iterator<Item = &Entry> {
        self.entries.values().filter(|entry| entry.audio == AudioLayout::Mix)
    }

    /// Where slots are in the offer that a peer gets.
    pub fn set_sections(&mut self, id: PeerId, sections: Sections) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.sections = Some(sections);
        }
    }

    /// A peer came with a wish that cannot be fulfilled.
    pub fn refuse(&mut self, id: PeerId, wish: SlotConfig, why: &'static str) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.unfulfilled.insert(wish.slot, (wish, why));
        }
    }

    /// What a peer came with for a slot and cannot have, and why.
    pub fn unfulfilled(&self, id: PeerId, slot: SlotIndex) -> Option<(&SlotConfig, &'static str)> {
        self.entries.get(&id)?.unfulfilled.get(&slot).map(|(wish, why)| (wish, *why))
    }

    /// What a peer wants to see in a slot from now on; `None`: what everybody sees, or nothing if it has slots of
    /// its own.
    pub fn choose(&mut self, id: PeerId, slot: SlotIndex, shown: Option<Shown>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        entry.unfulfilled.remove(&slot);
        match shown {
            Some(shown) => entry.choices.insert(slot, shown),
            None => entry.choices.remove(&slot),
        };
    }

    /// What a peer has chosen for a slot.
    pub fn choice(&self, id: PeerId, slot: SlotIndex) -> Option<&Shown> {
        self.entries.get(&id)?.choices.get(&slot)
    }

    /// All that somebody has chosen.
    pub fn choices(&self) -> impl Iterator<Item = &Shown> {
        self.entries.values().flat_map(|entry| entry.choices.values())
    }

    /// Who has chosen to see a source, and in which slots.
    pub fn showing(&self, source: &str) -> Vec<(PeerId, SlotIndex)> {
        let of = |entry: &Entry| {
            let slots = entry.choices.iter().filter(|(_, shown)| shown.source == source);
            slots.map(|(slot, _)| (entry.peer.id, *slot)).collect::<Vec<_>>()
        };
        self.entries.values().flat_map(of).collect()
    }

    /// True when somebody sees what everybody sees.
    pub fn anybody_follows(&self) -> bool {
        self.entries.values().any(|entry| !entry.own_slots)
    }

    /// A peer asks for something in a slot. A later request takes the place of one that is not answered yet.
    pub fn asked(&mut self, id: PeerId, slot: SlotIndex, request: Option<String>) {
        let Some(entry) = self.entries.get_mut(&id) else { return };
        match request {
            Some(request) => entry.asked.insert(slot, request),
            None => entry.asked.remove(&slot),
        };
    }

    /// The request that news of a slot answers; the last ones, if it is settled by them.
    pub fn answered(&mut self, id: PeerId, slot: SlotIndex, status: SlotState) -> Option<String> {
        let entry = self.entries.get_mut(&id)?;
        match status {
            SlotState::Pending | SlotState::Buffering => entry.asked.get(&slot).cloned(),
            _ => entry.asked.remove(&slot),
        }
    }

    /// The peer that an earlier welcome gave `token` to, attached to this WebSocket from now on. Its connection must be
    /// worth going on with.
    pub fn resume(&mut self, kind: PeerKind, token: &str, socket: u64) -> Option<&Entry> {
        let known = |entry: &&mut Entry| entry.peer.kind == kind && entry.resume_token == token;
        let entry = self.entries.values_mut().find(known)?;
        if entry.peer.state == PeerState::Connecting {
            return None;
        }
        entry.presence = Presence::Attached { socket };
        Some(entry)
    }

    /// Whether a client that names this peer and shows `token` is the native client that it belongs to.
    pub fn is_native(&self, id: PeerId, token: &str) -> bool {
        let native = self.entries.get(&id).filter(|entry| entry.peer.kind == PeerKind::Native);
        native.is_some_and(|entry| knows_token(token, &entry.resume_token))
    }

    /// A peer's WebSocket is gone. Told of one that the peer has left for a newer one, nothing changes.
    pub fn detach(&mut self, now: Instant, id: PeerId, socket: u64) {
        if let Some(entry) = self.entries.get_mut(&id)
            && entry.presence == (Presence::Attached { socket })
        {
            entry.presence = Presence::Detached { since: now };
        }
    }

    /// Every WebSocket is gone, with the web-server.
    pub fn detach_all(&mut self, now: Instant) {
        self.unreachable = true;
        for entry in self.entries.values_mut() {
            if matches!(entry.presence, Presence::Attached { .. }) {
                entry.presence = Presence::Detached { since: now };
            }
        }
    }

    /// There is a web-server again: those whose connection lives only by coming back have their time from now.
    pub fn reachable(&mut self, now: Instant) {
        self.unreachable = false;
        for entry in self.entries.values_mut().filter(|entry| entry.peer.kind == PeerKind::Multistream) {
            if let Presence::Detached { since } = &mut entry.presence {
                *since = now;
            }
        }
    }

    /// Peers that nobody will come back for.
    pub fn abandoned(&self, now: Instant) -> Vec<PeerId> {
        let gone = |entry: &&Entry| {
            let Presence::Detached { since } = entry.presence else { return false };
            let must_return = entry.peer.kind == PeerKind::Multistream && !self.unreachable;
            must_return && now >= since + MULTISTREAM_GRACE
                || entry.peer.state != PeerState::Connected && now >= since + RESUME_GRACE
        };
        self.entries.values().filter(gone).map(|entry| entry.peer.id).collect()
    }

    /// One peer.
    pub fn get(&self, id: PeerId) -> Option<&Entry> {
        self.entries.get(&id)
    }

    /// One peer, as REST shows it.
    pub fn get_mut(&mut self, id: PeerId) -> Option<&mut Peer> {
        self.entries.get_mut(&id).map(|entry| &mut entry.peer)
    }

    /// Forgets a peer. False when it is not known.
    pub fn remove(&mut self, id: PeerId) -> bool {
        self.entries.remove(&id).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Everyone, as REST shows them.
    pub fn list(&self) -> Vec<Peer> {
        self.entries.values().map(|entry| entry.peer.clone()).collect()
    }

    /// Everyone, as the others see them.
    pub fn participants(&self, in_control: Option<PeerId>, room: &Room) -> Vec<Participant> {
        let participant = |Entry { peer, .. }: &Entry| Participant {
            peer_id: peer.id,
            role: peer.role,
            display_name: peer.display_name.clone(),
            user_id: peer.user_id.clone(),
            rights: peer.rights.clone(),
            publishing: Vec::new(),
            muted: room.is_muted(peer.id),
            speaking: false,
            hand_raised: room.has_raised_hand(peer.id),
            holds_control: in_control == Some(peer.id),
            session_microphone: peer.session_microphone,
            session_camera: peer.session_camera,
        };
        self.entries.values().map(participant).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_is_resumed_by_its_token_alone_and_only_once_it_was_connected() {
        let mut peers = Peers::default();
        let (id, token) = peers.add(
            DateTime::UNIX_EPOCH,
            PeerKind::Native,
            Presence::Attached { socket: 1 },
            Role::Controller,
            0,
            4,
        );
        assert!(peers.resume(PeerKind::Native, &token, 2).is_none());
        peers.get_mut(id).unwrap().state = PeerState::Connected;
        assert_eq!(peers.resume(PeerKind::Native, &token, 2).unwrap().peer.id, id);
        assert!(peers.resume(PeerKind::Native, "", 3).is_none());
        peers.remove(id);
        assert!(peers.resume(PeerKind::Native, &token, 3).is_none());
    }

    #[test]
    fn the_loss_of_a_websocket_that_was_left_for_a_newer_one_detaches_nobody() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (id, token) = peers.add(
            DateTime::UNIX_EPOCH,
            PeerKind::Native,
            Presence::Attached { socket: 1 },
            Role::Viewer,
            0,
            4,
        );
        peers.get_mut(id).unwrap().state = PeerState::Lost;
        peers.resume(PeerKind::Native, &token, 2).unwrap();
        peers.detach(now, id, 1);
        assert_eq!(peers.abandoned(now + RESUME_GRACE), []);
        peers.detach(now, id, 2);
        assert_eq!(peers.abandoned(now + RESUME_GRACE), [id]);
        // Told twice, it is gone since the first time.
        peers.detach(now + RESUME_GRACE, id, 2);
        assert_eq!(peers.abandoned(now + RESUME_GRACE), [id]);
    }

    #[test]
    fn only_a_peer_without_websocket_and_connection_is_abandoned() {
        let (mut peers, now) = (Peers::default(), Instant::now());
        let (a, _) = peers.add(
            DateTime::UNIX_EPOCH,
            PeerKind::Native,
            Presence::Attached { socket: 1 },
            Role::Viewer,
            0,
            4,
        );
        let (b, _) = peers.add(
            DateTime::UNIX_EPOCH,
            PeerKind::Native,
            Presence::Attached { socket: 2 },
            Role::Viewer,
            0,
            4,
        );
        let (whep, _) =
            peers.add(DateTime::UNIX_EPOCH, PeerKind::Whep, Presence::Elsewhere, Role::Viewer, 0, 4);
        peers.get_mut(b).unwrap().state = PeerState::Connected;
        peers.detach_all(now);
        assert_eq!(peers.abandoned(now + RESUME_GRACE / 2), []);
        assert_eq!(peers.abandoned(now + RESUME_GRACE), [a]);
        assert!(peers.get(whep).is_some());
    }

    #[test]
    fn a_multistream_client_must_come_back_soon_once_it_can() {
        let (mut peers, start) = (Peers::default(), Instant::now());
        let (id, _) = peers.add(
            DateTime::UNIX_EPOCH,
            PeerKind::Multistream,
            Presence::Attached { socket: 1 },
            Role::Viewer,
            0,
            4,
        );
        peers.set_resume_token(id, "secret".into());
        peers.get_mut(id).unwrap().state = PeerState::Connected;
        peers.detach(start, id, 1);
        let late = start + MULTISTREAM_GRACE;
        assert_eq!(peers.abandoned(late - Duration::from_millis(1)), []);
        assert_eq!(peers.abandoned(late), [id]);
        // Without a web-server it cannot.
        peers.detach_all(start);
        assert_eq!(peers.abandoned(late), []);
        peers.reachable(late);
        assert_eq!(peers.abandoned(late), []);
        assert_eq!(peers.abandoned(late + MULTISTREAM_GRACE), [id]);
        assert!(peers.resume(PeerKind::Multistream, "secret", 2).is_some());
        assert_eq!(peers.abandoned(late + MULTISTREAM_GRACE), []);
    }
}
