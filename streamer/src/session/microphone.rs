//! Peers whose microphones the desktop's programs hear: those who wish it, may do it, and publish one.
//!
//! ```text
//! session-microphone ──▶ Peer::session_microphone ──and published──▶ plugged into the desktop, mixed with the others
//! ```

use std::sync::Arc;

use common::id::PeerId;
use common::ipc::{Code, RequestError};
use common::signal::{Role, ServerMessage};

use super::publishing::check_right_to_publish;
use super::shards::no_peer;
use super::{Now, Session};
use crate::source::Microphone;

impl Session {
    /// A peer wants to be heard by programs, or no more.
    pub(super) fn microphone_wish(&mut self, now: Now, peer: PeerId, enabled: bool) {
        if let Err(error) = self.set_session_microphone(now, peer, enabled) {
            self.effects.refuse_peer(peer, error);
        }
    }

    /// Programs hear the microphone of a peer from now on, or no more. One that it publishes later is heard as well.
    pub(super) fn set_session_microphone(
        &mut self,
        now: Now,
        peer: PeerId,
        enabled: bool,
    ) -> Result<(), RequestError> {
        if self.peers.get(peer).is_none() {
            return Err(no_peer(peer));
        }
        if !enabled {
            self.end_session_microphone(now, peer, None);
            return Ok(());
        }
        self.check_session_microphone(peer)?;
        self.plug_microphone(peer)?;
        self.microphone_changed(now, peer, true, None);
        Ok(())
    }

    /// Programs hear a peer no more, if they did.
    pub(super) fn end_session_microphone(&mut self, now: Now, peer: PeerId, reason: Option<&str>) {
        if self.peers.get(peer).is_some_and(|entry| entry.peer.session_microphone) {
            self.unplug_microphone(peer);
            self.microphone_changed(now, peer, false, reason);
        }
    }

    fn microphone_changed(&mut self, now: Now, peer: PeerId, enabled: bool, reason: Option<&str>) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.session_microphone = enabled;
        }
        tracing::info!(%peer, enabled, "microphone of the session");
        let reason = reason.map(str::to_owned);
        self.effects.signal_peer(peer, ServerMessage::SessionMicrophone { enabled, reason });
        self.peer_changed(peer);
        self.participants(now);
    }

    /// A peer publishes its microphone: programs hear it, if that is wished for.
    pub(super) fn microphone_published(&mut self, peer: PeerId) {
        if self.peers.get(peer).is_some_and(|entry| entry.peer.session_microphone)
            && let Err(error) = self.plug_microphone(peer)
        {
            self.effects.refuse_peer(peer, error);
        }
    }

    /// The desktop runs: its programs hear those who wish it, and see the one who does.
    pub(super) fn desktop_runs(&mut self) {
        for peer in self.peers.list() {
            self.microphone_published(peer.id);
            self.camera_published(peer.id);
        }
    }

    /// What a peer publishes is not heard by programs any more. Its wish stays.
    pub(super) fn unplug_microphone(&mut self, peer: PeerId) {
        if let Some(microphone) = self.microphone() {
            microphone.unplug(peer);
        }
    }

    fn plug_microphone(&mut self, peer: PeerId) -> Result<(), RequestError> {
        let listening = self.published.face_of(peer).and_then(|source| self.sources.get(source));
        let listening = listening.and_then(|entry| entry.listening.as_ref());
        let (Some(listening), Some(microphone)) = (listening, self.microphone()) else { return Ok(()) };
        match listening.listen(microphone.plug(peer)) {
            Ok(()) => Ok(()),
            // It was turned on and off again and again, and no sound has come meanwhile.
            Err(_) => Err(RequestError::new(Code::Busy, "your microphone is turned on and off too often")),
        }
    }

    fn check_session_microphone(&self, peer: PeerId) -> Result<(), RequestError> {
        let entry = self.peers.get(peer).ok_or_else(|| no_peer(peer))?;
        // What programs hear is input as keys are.
        if entry.peer.role < Role::Controller {
            let message = "the session hears those who may steer; this peer may watch";
            return Err(RequestError::new(Code::NotAController, message));
        }
        check_right_to_publish(&entry.peer.rights)?;
        if self.microphone().is_none() {
            let message =
                "there is no desktop that has a microphone here: its `audio` and `microphone` must be true";
            return Err(RequestError::new(Code::NoMicrophone, message));
        }
        Ok(())
    }

    fn microphone(&self) -> Option<Arc<dyn Microphone>> {
        self.sources.main()?.running()?.microphone()
    }
}
