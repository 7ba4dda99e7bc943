//! Who may steer: wishes of peers and of administrators become what shards go by and everybody is told.

use common::control::{Control, ControlChange, ControlMode};
use common::id::PeerId;
use common::ipc::{Code, Json, RequestError, StreamerIpcMessage};
use common::signal::Role;

use super::Session;
use super::arbiter::Wish;
use crate::peer::Command;

impl Session {
    /// A peer wants control, or no more.
    pub(super) fn control_wish(&mut self, peer: PeerId, wish: Wish) {
        let peers = &self.peers;
        let may_steer = |peer| peers.get(peer).is_some_and(|entry| entry.peer.role >= Role::Controller);
        match self.control.wish(peer, wish, may_steer) {
            Ok(true) => self.control_changed(),
            Ok(false) => {}
            Err(error) => self.effects.refuse_peer(peer, error),
        }
    }

    /// An administrator changes it, or asks.
    pub(super) fn change_control(&mut self, change: ControlChange) -> Result<Control, RequestError> {
        let peers = &self.peers;
        let may_steer = |peer| peers.get(peer).is_some_and(|entry| entry.peer.role >= Role::Controller);
        if self.control.change(change, may_steer)? {
            self.control_changed();
        }
        Ok(self.control.control().clone())
    }

    /// A peer is gone, or may not steer any more.
    pub(super) fn lose_control(&mut self, peer: PeerId) {
        if self.control.leave(peer) {
            self.control_changed();
        }
    }

    /// Programs steer by REST while no peer has control for itself.
    pub(super) fn free_for_programs(&self) -> Result<(), RequestError> {
        let control = self.control.control();
        if control.mode == ControlMode::Shared || control.holder.is_none() {
            return Ok(());
        }
        let message = "a peer has control of this streamer; PUT …/control releases it";
        Err(RequestError::new(Code::NotInControl, message))
    }

    fn control_changed(&mut self) {
        let control = self.control.control().clone();
        tracing::info!(mode = ?control.mode, holder = ?control.holder, "control");
        self.command_all(|| Command::Control(control.clone()));
        // They say who has control.
        self.participants.changed();
        self.effects.send(StreamerIpcMessage::ControlChanged { control: Json(control) });
    }
}
