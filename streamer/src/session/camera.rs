//! The peer whose camera the desktop's programs see: the last one who wished it, may do it, and publishes one.
//!
//! ```text
//! session-camera ──▶ Peer::session_camera, of one peer at a time ──and published──▶ plugged into the desktop
//! ```

use std::sync::Arc;

use common::id::PeerId;
use common::ipc::{Code, RequestError};
use common::media::VideoCodec;
use common::signal::{Role, ServerMessage};

use super::publishing::check_right_to_publish;
use super::shards::no_peer;
use super::{Now, Session};
use crate::source::desktop::camera;
use crate::source::{Camera, NoCamera};

impl Session {
    /// A peer wants to be seen by programs, or no more.
    pub(super) fn camera_wish(&mut self, now: Now, peer: PeerId, enabled: bool) {
        if let Err(error) = self.set_session_camera(now, peer, enabled) {
            self.effects.refuse_peer(peer, error);
        }
    }

    /// Programs see the camera of a peer from now on, in place of any other one, or no more. One that it publishes later is seen as
    /// well.
    pub(super) fn set_session_camera(
        &mut self,
        now: Now,
        peer: PeerId,
        enabled: bool,
    ) -> Result<(), RequestError> {
        if self.peers.get(peer).is_none() {
            return Err(no_peer(peer));
        }
        if !enabled {
            self.end_session_camera(now, peer, None);
            return Ok(());
        }
        self.check_session_camera(peer)?;
        for other in self.peers.list() {
            if other.id != peer {
                self.end_session_camera(
                    now,
                    other.id,
                    Some("the camera of another peer has taken its place"),
                );
            }
        }
        self.plug_camera(peer);
        self.camera_changed(now, peer, true, None);
        Ok(())
    }

    /// Programs see a peer no more, if they did.
    pub(super) fn end_session_camera(&mut self, now: Now, peer: PeerId, reason: Option<&str>) {
        if self.is_session_camera(peer) {
            self.unplug_camera(peer);
            self.camera_changed(now, peer, false, reason);
        }
    }

    fn is_session_camera(&self, peer: PeerId) -> bool {
        self.peers.get(peer).is_some_and(|entry| entry.peer.session_camera)
    }

    fn camera_changed(&mut self, now: Now, peer: PeerId, enabled: bool, reason: Option<&str>) {
        if let Some(known) = self.peers.get_mut(peer) {
            known.session_camera = enabled;
        }
        tracing::info!(%peer, enabled, "camera of the session");
        let reason = reason.map(str::to_owned);
        self.effects.signal_peer(peer, ServerMessage::SessionCamera { enabled, reason });
        self.peer_changed(peer);
        self.participants(now);
    }

    /// A peer publishes its camera: programs see it, if that is wished for.
    pub(super) fn camera_published(&mut self, peer: PeerId) {
        if self.is_session_camera(peer) {
            self.plug_camera(peer);
        }
    }

    /// A published camera is encoded like this from now on, which may be in a way that programs cannot be shown.
    pub(super) fn camera_pictured(&mut self, now: Now, peer: PeerId, codec: VideoCodec) {
        if !camera::takes(codec) {
            self.end_session_camera(now, peer, Some(&undecodable(codec)));
        }
    }

    /// What a peer publishes is not seen by programs any more. Its wish stays.
    pub(super) fn unplug_camera(&mut self, peer: PeerId) {
        if let Ok(camera) = self.camera() {
            camera.unplug(peer);
        }
    }

    fn plug_camera(&mut self, peer: PeerId) {
        let publishing = self.published.face_of(peer).and_then(|source| self.sources.get(source));
        let tapping = publishing.and_then(|entry| entry.tapping.clone());
        if let (Some(tapping), Ok(camera)) = (tapping, self.camera()) {
            camera.plug(peer, tapping);
        }
    }

    fn check_session_camera(&self, peer: PeerId) -> Result<(), RequestError> {
        let entry = self.peers.get(peer).ok_or_else(|| no_peer(peer))?;
        // What programs see is input as keys are.
        if entry.peer.role < Role::Controller {
            let message = "the session sees those who may steer; this peer may watch";
            return Err(RequestError::new(Code::NotAController, message));
        }
        check_right_to_publish(&entry.peer.rights)?;
        self.camera().map_err(|why| RequestError::new(Code::NoCamera, why.to_string()))?;
        let publishing = self.published.face_of(peer).and_then(|source| self.sources.get(source));
        let pictured = publishing.filter(|entry| entry.is_running()).and_then(|entry| entry.info());
        match pictured.map(|info| info.codec) {
            Some(codec) if !camera::takes(codec) => {
                Err(RequestError::new(Code::Unsupported, undecodable(codec)))
            }
            _ => Ok(()),
        }
    }

    fn camera(&self) -> Result<Arc<dyn Camera>, NoCamera> {
        let running = self.sources.main().and_then(|entry| entry.running());
        running.ok_or(NoCamera::NoDesktop)?.camera()
    }
}

fn undecodable(codec: VideoCodec) -> String {
    format!("your camera is encoded as {codec:?}, which is not decoded here: publish H.264, VP8, VP9 or AV1")
}
