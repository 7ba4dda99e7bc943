//! What the session says to shards.

use std::sync::Arc;

use common::id::PeerId;
use common::input::GeneralMessage;
use common::ipc::{Code, RequestError};

use super::Session;
use super::reading::is_reader;
use crate::peer::{Audience, Command, PeerCommand};

impl Session {
    /// Changes something about one peer.
    pub(super) fn command(&mut self, peer: PeerId, command: PeerCommand) -> Result<(), RequestError> {
        self.command_shard_of(peer, Command::Peer { peer, command })
    }

    /// Has its shard end a peer. It stays known until the shard reports that it is gone.
    pub(super) fn remove_peer(&mut self, peer: PeerId, reason: String) -> Result<(), RequestError> {
        if self.peers.get(peer).is_some_and(|entry| is_reader(entry.peer.kind)) {
            self.close_reader(peer);
            return Ok(());
        }
        self.command_shard_of(peer, Command::Remove { peer, reason })
    }

    /// Sends a text to one peer on its channel `general`.
    pub(super) fn say_to(&mut self, peer: PeerId, text: Arc<str>) {
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

/// A message for the channel `general`, as all peers get it.
pub(super) fn general(message: &GeneralMessage) -> Arc<str> {
    serde_json::to_string(message).expect("strings and finite numbers only").into()
}

pub(super) fn no_peer(peer: PeerId) -> RequestError {
    RequestError::new(Code::PeerNotFound, format!("there is no peer {peer}"))
}
