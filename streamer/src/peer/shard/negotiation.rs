//! Sends peers to the negotiator, and takes them back with what they have missed.

use std::time::Instant;

use common::api::PeerState;
use common::id::PeerId;
use common::ipc::{Code, IcePatch, RequestError};
use common::sdp::Bounded;
use common::signal::Role;

use super::{Key, Member, Place, Shard};
use crate::peer::away::{Away, Deferred, Kept};
use crate::peer::counted::Counted;
use crate::peer::negotiator::{Crashed, Done, Full, Join, Made, Outcome, Work};
use crate::peer::peer::Peer;
use crate::peer::{Begin, Report, Srtp, negotiate};

impl Shard {
    /// Has the negotiator create a new peer, which is away until then.
    pub(super) fn join(&mut self, id: PeerId, role: Role, srtp: Srtp, begin: Begin) {
        let key = self.next_key;
        self.next_key += 1;
        let join = Join { id, role, srtp, bindings: self.bindings.clone(), begin };
        if self.negotiator.send(key, false, Work::Join(Box::new(join))) == Err(Full) {
            let message = "the streamer is busy with others that join; try again";
            let error = RequestError::new(Code::Busy, message);
            return self.reports.send(Report::Answer { peer: id, result: Err(error) });
        }
        let entry = Member {
            id,
            place: Place::Away(Box::new(Away::new(PeerState::Connecting, Counted::default()))),
            ufrag: String::new(),
            span: tracing::info_span!("peer", id = %id),
        };
        self.peers.insert(key, entry);
        self.keys_by_id.insert(id, key);
    }

    /// Has the negotiator take a peer's answer to our offer.
    pub(super) fn answer(&mut self, key: Key, sdp: Bounded) {
        let Some(entry) = self.peers.get_mut(&key) else { return };
        let id = entry.id;
        // While a peer is away, it has no open offer to answer.
        if entry.here().is_some_and(|peer| peer.awaits_answer()) {
            return self.negotiate(key, |peer| Work::Answer(peer, sdp));
        }
        let message = "there is no open offer".to_owned();
        self.reports.send(Report::Refused { peer: id, code: "unexpected_answer", message });
    }

    /// Takes a player's side of ICE: further candidates, or a restart.
    pub(super) fn patch(&mut self, now: Instant, key: Key, patch: IcePatch) {
        let Some(entry) = self.peers.get_mut(&key) else { return };
        let id = entry.id;
        let Place::Here(peer) = &mut entry.place else { return };
        match peer.patch(now, &patch, &entry.ufrag) {
            Ok(true) => return self.negotiate(key, |peer| Work::Restart(peer, patch)),
            Ok(false) => self.reports.send(Report::Patched { peer: id, result: Ok(None) }),
            Err(error) => self.reports.send(Report::Patched { peer: id, result: Err(error) }),
        }
        self.after_input(now, key);
    }

    /// Has ICE begin again for a peer that says its path leads nowhere. Until there is another one, its media socket serves it, if it has
    /// one. Returns the refusal, if there is one.
    pub(super) fn restart_ice(&mut self, now: Instant, key: Key) -> Option<(&'static str, String)> {
        if let Err(error) = self.with(key, |peer, _| peer.restart_ice(now))? {
            return Some((error.code.as_str(), error.message));
        }
        self.lost(now, key);
        None
    }

    /// Has the negotiator make another offer for a peer whose tracks have changed.
    pub(super) fn offer_if_due(&mut self, key: Key) {
        let peer = self.peers.get_mut(&key).and_then(Member::here);
        if peer.is_some_and(|peer| peer.owes_offer()) {
            self.negotiate(key, Work::Offer);
        }
    }

    /// Moves a peer to the negotiator.
    fn negotiate(&mut self, key: Key, work: impl FnOnce(Box<Peer>) -> Work) {
        let Some(entry) = self.peers.get_mut(&key) else { return };
        let Some((state, counted)) = entry.here().map(|peer| (peer.state(), peer.counted())) else {
            return;
        };
        let away = Place::Away(Box::new(Away::new(state, counted)));
        if let Place::Here(peer) = std::mem::replace(&mut entry.place, away) {
            let urgent = state == PeerState::Connected;
            self.negotiator.send(key, urgent, work(peer)).expect("only new peers are refused");
        }
    }

    /// Keeps a command for a peer that is away. If there are too many, the peer is removed.
    pub(super) fn keep(&mut self, key: Key, command: Deferred) {
        let Some(Place::Away(away)) = self.peers.get_mut(&key).map(|entry| &mut entry.place) else {
            return;
        };
        if let Err(overflow) = away.keep_command(command) {
            self.remove(key, &overflow.to_string());
        }
    }

    /// Takes peers back from the negotiator.
    pub(super) fn take_negotiated(&mut self) -> Result<(), Crashed> {
        while let Some(done) = self.negotiator.take()? {
            self.negotiated(Instant::now(), done);
        }
        Ok(())
    }

    fn negotiated(&mut self, now: Instant, Done { key, peer, outcome }: Done) {
        let Some(entry) = self.peers.get_mut(&key) else {
            // It was removed meanwhile.
            if let Some(peer) = peer {
                self.let_go(peer);
            }
            return;
        };
        let _entered = entry.span.clone().entered();
        let Some(peer) = peer else { return self.not_made(key, outcome) };
        let Place::Away(away) = std::mem::replace(&mut entry.place, Place::Here(peer)) else { return };
        let Kept { media, commands, texts, datagrams } = away.into_kept();
        for media in &media {
            self.with(key, |peer, cx| peer.write(now, media, cx));
        }
        self.outcome(now, key, outcome);
        for command in commands {
            self.deferred(now, key, command);
        }
        for (to, text) in &texts {
            self.say(now, key, to, text);
        }
        for datagram in &datagrams {
            self.datagram(now, key, datagram.path, &datagram.data);
        }
        self.offer_if_due(key);
        self.after_input(now, key);
        self.take_wishes(key);
        self.report_slots();
    }

    fn outcome(&mut self, now: Instant, key: Key, outcome: Outcome) {
        let Some(entry) = self.peers.get(&key) else { return };
        let id = entry.id;
        match outcome {
            Outcome::Offered(Made { sdp, sections }) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Offer { peer: id, sdp, sections });
            }
            Outcome::Accepted(Made { sdp, .. }) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Answer { peer: id, result: Ok(sdp) });
                self.with(key, |peer, cx| peer.negotiated(now, cx));
            }
            Outcome::Agreed => {
                self.with(key, |peer, cx| peer.negotiated(now, cx));
                for outlet in self.with(key, |peer, _| peer.take_early()).unwrap_or_default() {
                    self.publish(now, key, outlet);
                }
            }
            Outcome::Refused(message) => {
                self.reports.send(Report::Refused { peer: id, code: "bad_answer", message });
            }
            Outcome::Restarted(Ok(Made { sdp, .. })) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Patched { peer: id, result: Ok(Some(sdp)) });
            }
            Outcome::Restarted(Err(error)) => {
                self.reports.send(Report::Patched { peer: id, result: Err(error) });
            }
            Outcome::Unanswerable(reason) | Outcome::Failed(reason) => self.remove(key, &reason),
        }
    }

    /// A new peer could not be created.
    fn not_made(&mut self, key: Key, outcome: Outcome) {
        let reason = match outcome {
            Outcome::Unanswerable(reason) => {
                if let Some(entry) = self.peers.get(&key) {
                    let error = RequestError::new(Code::BadOffer, &reason);
                    self.reports.send(Report::Answer { peer: entry.id, result: Err(error) });
                }
                reason
            }
            Outcome::Failed(reason) => reason,
            _ => "its connection could not be made".to_owned(),
        };
        // The control loop has already forgotten a peer whose offer was refused.
        self.remove(key, &reason);
    }

    /// From now on, packets for this peer are recognized by our ICE user name in this description of ours.
    fn learn_ufrag(&mut self, key: Key, sdp: &str) {
        let (Some(entry), Some(ufrag)) = (self.peers.get_mut(&key), negotiate::ice_ufrag(sdp)) else {
            return;
        };
        if entry.ufrag == ufrag {
            return;
        }
        self.routes.rename(key, &entry.ufrag, ufrag);
        if let Some(tcp) = &self.tcp {
            tcp.renamed(&entry.ufrag, ufrag);
        }
        entry.ufrag = ufrag.to_owned();
    }
}
