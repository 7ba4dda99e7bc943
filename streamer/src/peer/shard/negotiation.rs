//! What a shard has its negotiator do, and what it makes up for when a viewer is back.

use std::time::Instant;

use common::api::PeerState;
use common::id::PeerId;
use common::ipc::{Code, IcePatch, RequestError};
use common::sdp::Bounded;
use common::signal::Role;

use super::{Entry, Key, Place, Shard};
use crate::peer::away::{Away, Deferred, Kept};
use crate::peer::counted::Counted;
use crate::peer::negotiator::{Crashed, Done, Full, Join, Made, Outcome, Work};
use crate::peer::viewer::Viewer;
use crate::peer::{Begin, Report, Srtp, negotiate};

impl Shard {
    /// A new peer: its viewer is made, and is away until then.
    pub(super) fn join(&mut self, peer: PeerId, role: Role, srtp: Srtp, begin: Begin) {
        let key = self.next_key;
        self.next_key += 1;
        let join = Join { peer, role, srtp, bindings: self.bindings.clone(), begin };
        if self.negotiator.send(key, false, Work::Join(Box::new(join))) == Err(Full) {
            let message = "the streamer is busy with others that join; try again";
            let error = RequestError::new(Code::Busy, message);
            return self.reports.send(Report::Answer { peer, result: Err(error) });
        }
        let entry = Entry {
            peer,
            place: Place::Away(Box::new(Away::new(PeerState::Connecting, Counted::default()))),
            ufrag: String::new(),
            span: tracing::info_span!("peer", id = %peer),
        };
        self.viewers.insert(key, entry);
        self.by_peer.insert(peer, key);
    }

    /// A peer answers our offer.
    pub(super) fn answer(&mut self, key: Key, sdp: Bounded) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let peer = entry.peer;
        // While one is away, its peer has no offer to answer.
        if entry.here().is_some_and(|viewer| viewer.awaits_answer()) {
            return self.negotiate(key, |viewer| Work::Answer(viewer, sdp));
        }
        let message = "there is no open offer".to_owned();
        self.reports.send(Report::Refused { peer, code: "unexpected_answer", message });
    }

    /// A player's side of ICE.
    pub(super) fn patch(&mut self, now: Instant, key: Key, patch: IcePatch) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let peer = entry.peer;
        let Place::Here(viewer) = &mut entry.place else { return };
        match viewer.patch(now, &patch, &entry.ufrag) {
            Ok(true) => return self.negotiate(key, |viewer| Work::Restart(viewer, patch)),
            Ok(false) => self.reports.send(Report::Patched { peer, result: Ok(None) }),
            Err(error) => self.reports.send(Report::Patched { peer, result: Err(error) }),
        }
        self.after_input(now, key);
    }

    /// Has a viewer make another offer if its tracks have changed.
    pub(super) fn offer_if_due(&mut self, key: Key) {
        let viewer = self.viewers.get_mut(&key).and_then(Entry::here);
        if viewer.is_some_and(|viewer| viewer.owes_offer()) {
            self.negotiate(key, Work::Offer);
        }
    }

    /// Gives a viewer to the negotiator.
    fn negotiate(&mut self, key: Key, work: impl FnOnce(Box<Viewer>) -> Work) {
        let Some(entry) = self.viewers.get_mut(&key) else { return };
        let Some((state, counted)) = entry.here().map(|viewer| (viewer.state(), viewer.counted())) else {
            return;
        };
        let away = Place::Away(Box::new(Away::new(state, counted)));
        if let Place::Here(viewer) = std::mem::replace(&mut entry.place, away) {
            let urgent = state == PeerState::Connected;
            self.negotiator.send(key, urgent, work(viewer)).expect("only new peers are refused");
        }
    }

    /// Keeps a command for a viewer that is away. One for which too much comes is given up.
    pub(super) fn keep(&mut self, key: Key, command: Deferred) {
        let Some(Place::Away(away)) = self.viewers.get_mut(&key).map(|entry| &mut entry.place) else {
            return;
        };
        if let Err(overflow) = away.keep_command(command) {
            self.remove(key, &overflow.to_string());
        }
    }

    /// Takes viewers back from the negotiator.
    pub(super) fn take_negotiated(&mut self) -> Result<(), Crashed> {
        while let Some(done) = self.negotiator.take()? {
            self.negotiated(Instant::now(), done);
        }
        Ok(())
    }

    fn negotiated(&mut self, now: Instant, Done { key, viewer, outcome }: Done) {
        let Some(entry) = self.viewers.get_mut(&key) else {
            // It was removed meanwhile.
            if let Some(viewer) = viewer {
                self.let_go(viewer);
            }
            return;
        };
        let _entered = entry.span.clone().entered();
        let Some(viewer) = viewer else { return self.not_made(key, outcome) };
        let Place::Away(away) = std::mem::replace(&mut entry.place, Place::Here(viewer)) else { return };
        let Kept { media, commands, texts, datagrams } = away.into_kept();
        for media in &media {
            self.with(key, |viewer, cx| viewer.write(now, media, cx));
        }
        self.outcome(now, key, outcome);
        for command in commands {
            self.deferred(now, key, command);
        }
        for (to, text) in &texts {
            self.say(now, key, *to, text);
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
        let Some(entry) = self.viewers.get(&key) else { return };
        let peer = entry.peer;
        match outcome {
            Outcome::Offered(Made { sdp, sections }) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Offer { peer, sdp, sections });
            }
            Outcome::Accepted(Made { sdp, .. }) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Answer { peer, result: Ok(sdp) });
                self.with(key, |viewer, cx| viewer.negotiated(now, cx));
            }
            Outcome::Agreed => {
                self.with(key, |viewer, cx| viewer.negotiated(now, cx));
            }
            Outcome::Refused(message) => {
                self.reports.send(Report::Refused { peer, code: "bad_answer", message });
            }
            Outcome::Restarted(Ok(Made { sdp, .. })) => {
                self.learn_ufrag(key, &sdp);
                self.reports.send(Report::Patched { peer, result: Ok(Some(sdp)) });
            }
            Outcome::Restarted(Err(error)) => {
                self.reports.send(Report::Patched { peer, result: Err(error) });
            }
            Outcome::Unanswerable(reason) | Outcome::Failed(reason) => self.remove(key, &reason),
        }
    }

    /// There is no viewer for a new peer.
    fn not_made(&mut self, key: Key, outcome: Outcome) {
        let reason = match outcome {
            Outcome::Unanswerable(reason) => {
                if let Some(entry) = self.viewers.get(&key) {
                    let error = RequestError::new(Code::BadOffer, &reason);
                    self.reports.send(Report::Answer { peer: entry.peer, result: Err(error) });
                }
                reason
            }
            Outcome::Failed(reason) => reason,
            _ => "its connection could not be made".to_owned(),
        };
        // Whoever was answered is forgotten already where this is told.
        self.remove(key, &reason);
    }

    /// Our ICE user name in a description of ours is how packets find this viewer from now on.
    fn learn_ufrag(&mut self, key: Key, sdp: &str) {
        let (Some(entry), Some(ufrag)) = (self.viewers.get_mut(&key), negotiate::ice_ufrag(sdp)) else {
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
