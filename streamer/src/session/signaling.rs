//! The signalling of peers, and what the web-server changes about one.

use common::api::PeerKind;
use common::id::PeerId;
use common::ipc::request::{Patched, UpdatePeer};
use common::ipc::{Code, IcePatch, RequestError};
use common::person::{PeerRight, Rights};
use common::sdp::Bounded;
use common::signal::{ClientMessage, Role, ServerMessage};
use common::slots::SlotConfig;

use super::arbiter::Wish;
use super::effects::Effect;
use super::participants::Talk;
use super::shards::no_peer;
use super::{Now, Session};
use crate::link::ReplyTo;
use crate::peer::{Command, PeerCommand};

/// Patches of one peer that wait for its shard. A player waits for each before it sends another.
const MAX_PATCHES: usize = 8;

impl Session {
    /// A peer's signalling.
    pub(super) fn signal(&mut self, now: Now, peer: PeerId, message: ClientMessage) {
        if let Some(right) = message.needs_right()
            && self.peers.get(peer).is_some_and(|entry| !entry.peer.rights.contains(&right))
        {
            return self.effects.refuse_peer(peer, missing(right));
        }
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
            ClientMessage::RestartIce => change(PeerCommand::RestartIce),
            ClientMessage::Publish { kind, name } => return self.publish(now, peer, kind, name.as_deref()),
            ClientMessage::Unpublish { kind } => return self.unpublish(now, peer, kind, None),
            ClientMessage::SessionMicrophone { enabled } => return self.microphone_wish(now, peer, enabled),
            ClientMessage::SessionCamera { enabled } => return self.camera_wish(now, peer, enabled),
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
            ClientMessage::Chat { text } => return self.talk(now, peer, Talk::Text(text)),
            ClientMessage::React { emoji } => return self.talk(now, peer, Talk::Reaction(emoji)),
            ClientMessage::RaiseHand { raised } => return self.talk(now, peer, Talk::Hand(raised)),
            ClientMessage::SetMuted { muted } => return self.talk(now, peer, Talk::Muted(muted)),
            ClientMessage::MutePeer { peer_id, kind } => {
                return self.talk(now, peer, Talk::Mute(peer_id, kind));
            }
            ClientMessage::RemovePeer { peer_id } => return self.talk(now, peer, Talk::Remove(peer_id)),
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
            self.points_no_more(peer);
            let reason = Some("the role of a controller was taken away");
            self.end_session_microphone(now, peer, reason);
            self.end_session_camera(now, peer, reason);
        }
        self.effects.signal_peer(peer, ServerMessage::Role { role });
        self.peer_changed(peer);
        self.participants(now);
        Ok(())
    }

    /// Changes what a peer may do among the peers.
    pub(super) fn set_rights(&mut self, now: Now, peer: PeerId, rights: Rights) -> Result<(), RequestError> {
        let known = self.peers.get_mut(peer).ok_or_else(|| no_peer(peer))?;
        known.rights.clone_from(&rights);
        // Others cannot be offered anything.
        let negotiates = known.kind == PeerKind::Native;
        if rights.contains(&PeerRight::Publish) {
            if negotiates {
                self.command(peer, PeerCommand::AllowPublishing)?;
            }
        } else {
            let reason = "the right to publish was taken away";
            self.unpublish_all(now, peer, reason);
            self.end_session_microphone(now, peer, Some(reason));
            self.end_session_camera(now, peer, Some(reason));
        }
        self.effects.signal_peer(peer, ServerMessage::Rights { rights });
        self.peer_changed(peer);
        self.participants(now);
        Ok(())
    }

    /// `PATCH …/peers/{peer_id}`.
    pub(super) fn update_peer(&mut self, now: Now, update: UpdatePeer) -> Result<(), RequestError> {
        let UpdatePeer { peer, role, rights, max_bitrate_kbps, session_microphone, session_camera } = update;
        if self.peers.get(peer).is_none() {
            return Err(no_peer(peer));
        }
        if let Some(role) = role {
            self.set_role(now, peer, role)?;
        }
        if let Some(kbps) = max_bitrate_kbps {
            self.set_max_bitrate(peer, Some(kbps).filter(|kbps| *kbps > 0))?;
        }
        if let Some(rights) = rights {
            self.set_rights(now, peer, rights)?;
        }
        if let Some(enabled) = session_microphone {
            self.set_session_microphone(now, peer, enabled)?;
        }
        session_camera.map_or(Ok(()), |enabled| self.set_session_camera(now, peer, enabled))
    }

    /// Changes what a peer is sent at most.
    pub(super) fn set_max_bitrate(&mut self, peer: PeerId, kbps: Option<u32>) -> Result<(), RequestError> {
        let known = self.peers.get_mut(peer).ok_or_else(|| no_peer(peer))?;
        if std::mem::replace(&mut known.max_bitrate_kbps, kbps) == kbps {
            return Ok(());
        }
        let most = self.most_for(kbps);
        self.command(peer, PeerCommand::SetMaxBitrate(most))?;
        self.peer_changed(peer);
        Ok(())
    }

    /// `PATCH …/whep/{peer_id}` and `PATCH …/whip/{peer_id}`.
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

    pub(super) fn patched(&mut self, peer: PeerId, result: Result<Option<String>, RequestError>) {
        let Some(waiting) = self.patching.get_mut(&peer) else { return };
        if let Some(to) = waiting.pop_front() {
            self.effects.reply(to, result.map(|answer| Patched { answer }));
        }
        if waiting.is_empty() {
            self.patching.remove(&peer);
        }
    }
}

fn missing(right: PeerRight) -> RequestError {
    let code = match right {
        PeerRight::Publish => Code::MayNotPublish,
        PeerRight::Chat | PeerRight::Moderate => Code::NotAllowed,
    };
    RequestError::new(code, format!("this needs the right {}", right.as_str()))
}
