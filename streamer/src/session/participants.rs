//! Who is there, as everybody is told; and what follows when a peer is gone.

use std::time::Instant;

use common::id::PeerId;
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::signal::ServerMessage;

use super::join::Joining;
use super::{Now, Session};

impl Session {
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

    pub(super) fn peer_changed(&mut self, peer: PeerId) {
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
