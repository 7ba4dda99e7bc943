//! Who is there, as everybody is told; what peers say to each other; and what follows when a peer is gone.

use std::time::Instant;

use common::api::PeerKind;
use common::id::PeerId;
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::signal::{PublishKind, ServerMessage};

use super::join::Joining;
use super::shards::no_peer;
use super::{Now, Session};

/// What a peer says to the others, or does to one.
pub enum Talk {
    /// A text for all.
    Text(String),
    /// A reaction for all.
    Reaction(String),
    /// Its hand is up.
    Hand(bool),
    /// Its microphone is muted.
    Muted(bool),
    /// Another peer is to publish this no more.
    Mute(PeerId, PublishKind),
    /// Another peer is to be gone.
    Remove(PeerId),
}

impl Session {
    pub(super) fn peer_gone(&mut self, now: Now, peer: PeerId, reason: String) {
        let Some(entry) = self.peers.get(peer) else { return };
        let shard = &mut self.shards[entry.shard];
        shard.peers = shard.peers.saturating_sub(1);
        self.unpublish_all(now, peer, &reason);
        self.peers.remove(peer);
        self.room.leave(peer);
        if let Some(Joining { to, .. }) = self.joining.remove(&peer) {
            self.effects.refuse(to, RequestError::new(Code::JoinFailed, &reason));
        }
        for to in self.patching.remove(&peer).unwrap_or_default() {
            self.effects.refuse(to, RequestError::new(Code::PeerNotFound, &reason));
        }
        tracing::info!(%peer, reason, "gone");
        self.effects.send(StreamerIpcMessage::PeerGone { peer, reason });
        self.lose_control(peer);
        self.points_no_more(peer);
        self.update_sources(now);
        self.participants(now);
    }

    pub(super) fn peer_changed(&mut self, peer: PeerId) {
        if let Some(entry) = self.peers.get(peer) {
            self.effects.send(StreamerIpcMessage::PeerState { peer: Json(entry.peer.clone()) });
        }
    }

    pub(super) fn participants(&mut self, now: Now) {
        self.participants.changed();
        self.announce(now);
    }

    /// What a peer says to the others.
    pub(super) fn talk(&mut self, now: Now, peer: PeerId, talk: Talk) {
        // Late words of a peer that is gone are no error.
        let Some(by) = self.peers.get(peer).map(|entry| &entry.peer) else { return };
        let said = match talk {
            Talk::Text(text) => {
                let message = self.room.chat(now.instant, now.utc, by, text);
                message.map(|message| self.effects.broadcast(ServerMessage::Chat(message)))
            }
            Talk::Reaction(emoji) => {
                let reaction = self.room.react(now.instant, peer, &emoji);
                let message = ServerMessage::Reaction { peer_id: peer, emoji };
                reaction.map(|()| self.effects.broadcast(message))
            }
            Talk::Hand(raised) => {
                let changed = self.room.raise_hand(now.instant, peer, raised);
                changed.map(|changed| self.participants_if(now, changed))
            }
            Talk::Muted(muted) => {
                let changed = self.room.set_muted(now.instant, peer, muted);
                changed.map(|changed| self.participants_if(now, changed))
            }
            Talk::Mute(whom, kind) => self.mute(now, peer, whom, kind),
            Talk::Remove(whom) => self.remove_by(now, peer, whom),
        };
        if let Err(error) = said {
            self.effects.refuse_peer(peer, error);
        }
    }

    /// A moderator ends what a peer publishes.
    fn mute(&mut self, now: Now, by: PeerId, whom: PeerId, kind: PublishKind) -> Result<(), RequestError> {
        self.check_moderates(now, by, whom)?;
        if kind == PublishKind::Microphone {
            self.room.mute(now.instant, whom);
        }
        tracing::info!(peer = %whom, %by, ?kind, "muted");
        self.unpublish(now, whom, kind, Some("a moderator has ended it"));
        self.effects.signal_peer(whom, ServerMessage::MutedBy { peer_id: by, kind });
        self.participants(now);
        Ok(())
    }

    /// A moderator removes a peer.
    fn remove_by(&mut self, now: Now, by: PeerId, whom: PeerId) -> Result<(), RequestError> {
        self.check_moderates(now, by, whom)?;
        // Told first, so that its page does not come back by itself.
        let code = "removed".to_owned();
        let message = "a moderator has removed this peer".to_owned();
        let error = ServerMessage::Error { code, message, field: None, request_id: None };
        self.effects.signal_peer(whom, error);
        self.remove_peer(whom, format!("removed by the moderator {by}"))
    }

    fn check_moderates(&mut self, now: Now, by: PeerId, whom: PeerId) -> Result<(), RequestError> {
        self.room.moderate(now.instant, by)?;
        match self.peers.get(whom) {
            Some(_) => Ok(()),
            None => Err(no_peer(whom).with_field("peerId")),
        }
    }

    fn participants_if(&mut self, now: Now, changed: bool) {
        if changed {
            self.participants(now);
        }
    }

    /// Tells a peer that comes, or comes back, what has been said.
    pub(super) fn chat_history(&mut self, peer: PeerId) {
        let messages = self.room.history();
        let speaks = self.peers.get(peer).is_some_and(|entry| entry.peer.kind == PeerKind::Native);
        if speaks && !messages.is_empty() {
            self.effects.signal_peer(peer, ServerMessage::ChatHistory { messages });
        }
    }

    /// Tells what is due to be told.
    pub fn announce(&mut self, now: Now) {
        if self.participants.take(now.instant) {
            let mut participants = self.peers.participants(self.control.control().holder, &self.room);
            for participant in &mut participants {
                participant.publishing = self.published_by(participant.peer_id);
                participant.speaking = self.published.is_speaking(participant.peer_id);
            }
            self.effects.broadcast(ServerMessage::Participants { participants });
        }
    }

    /// When [`Session::announce`] has something to do.
    pub fn announcement_due(&self, now: Now) -> Option<Instant> {
        self.participants.due(now.instant)
    }
}
