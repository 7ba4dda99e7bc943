//! Offers and answers of one peer.

use std::collections::BTreeSet;
use std::time::Instant;

use common::id::SlotIndex;
use common::ipc::{Code, IcePatch, RequestError};
use common::sdp::Bounded;

use super::slots::Slot;
use super::{Context, Peer};
use crate::peer::connection::{Connection, Error};
use crate::peer::offers::Offers;
use crate::peer::publishing::Publishing;
use crate::peer::{Begin, Sections, negotiate};

/// How the negotiation with a new peer has begun.
pub(super) struct Begun {
    /// Our offer, or our answer to the peer's.
    pub(super) sdp: String,
    pub(super) offers: Offers,
    /// What the peer may publish, if that is known already.
    pub(super) publishing: Option<Box<Publishing>>,
}

/// The first SDP to a new peer: our offer, or our answer to the peer's.
pub(super) fn begin(
    now: Instant,
    connection: &mut Connection,
    slots: &[Slot],
    begin: Begin,
) -> Result<Begun, Error> {
    let mut publishing = None;
    let (sdp, offers) = match begin {
        Begin::OfferToMultiWebrtc => (connection.offer_to_multi_webrtc(now)?, Offers::all()),
        Begin::Offer { preallocated, publishes } => {
            if publishes {
                negotiate::add_publishing_sections(connection.pc()).map_err(Error::slots)?;
                connection.allow_publishing(now);
            }
            let offers = if preallocated { Offers::all() } else { Offers::active(active(slots)) };
            (connection.offer(now)?, offers)
        }
        Begin::Accept { offer, .. } => (connection.accept(now, offer)?, Offers::answered_all()),
        Begin::Publish { offer } => {
            connection.allow_publishing(now);
            let (answer, sections) = connection.accept_publisher(now, offer)?;
            publishing = Some(Box::new(Publishing::new(now, sections)));
            (answer, Offers::answered_all())
        }
    };
    Ok(Begun { sdp, offers, publishing })
}

impl Peer {
    /// Takes a player's side of ICE; `session` is our current user name fragment. If the session goes on, adds the candidates. Returns true
    /// for a restart, which [`Peer::restart`] carries out.
    ///
    /// # Errors
    /// It refers to another session, comes too often, or cannot be used.
    pub fn patch(&mut self, now: Instant, patch: &IcePatch, session: &str) -> Result<bool, RequestError> {
        if patch.sessions.as_ref().is_some_and(|named| !named.iter().any(|name| name == session)) {
            let message = "the ICE session was restarted meanwhile";
            return Err(RequestError::new(Code::IceSessionMismatch, message));
        }
        if !self.connection.is_peers_ufrag(&patch.ufrag) {
            if !self.limits.heavy.admit(now) {
                return Err(RequestError::new(Code::Busy, "too many restarts at once"));
            }
            return Ok(true);
        }
        let bad = |error: Error| RequestError::new(Code::BadFragment, error.to_string());
        for candidate in &patch.candidates {
            self.connection.add_candidate(candidate.clone(), None, Some(0)).map_err(bad)?;
        }
        Ok(false)
    }

    /// Answers a player that restarts ICE. Takes long; see [`crate::peer::negotiator`].
    ///
    /// # Errors
    /// Its transport cannot be used.
    pub fn restart(&mut self, now: Instant, patch: &IcePatch) -> Result<String, Error> {
        self.connection.restart(now, &patch.ufrag, &patch.pwd, &patch.candidates)
    }

    /// True while an offer to the peer is open.
    pub fn awaits_answer(&self) -> bool {
        self.offers.outstanding()
    }

    /// Takes the peer's answer; [`Peer::negotiated`] is to follow. Takes long; see [`crate::peer::negotiator`].
    ///
    /// # Errors
    /// It is no SDP, or does not fit our offer.
    pub fn answer(&mut self, now: Instant, sdp: Bounded) -> Result<(), Error> {
        let sections = self.connection.answer(now, sdp)?;
        self.agree();
        match &mut self.publishing {
            Some(publishing) => publishing.set_sections(sections),
            None if sections.is_empty() => {}
            None => self.publishing = Some(Box::new(Publishing::new(now, sections))),
        }
        Ok(())
    }

    /// True when the tracks differ from those offered last, and no offer is open.
    pub fn owes_offer(&self) -> bool {
        self.offers.due(&active(&self.slots))
    }

    /// The peer may publish from now on: another offer is due, unless an earlier one has the sections for it.
    pub fn allow_publishing(&mut self) {
        if !self.connection.allows_publishing() {
            self.offers.allow_publishing();
        }
    }

    /// True while the sections in which the peer may publish are on their way: they are not agreed on yet.
    pub(super) fn awaits_sections(&self) -> bool {
        let offered = self.offers.outstanding() && self.connection.allows_publishing();
        self.publishing.is_none() && (offered || self.offers.owes_publishing())
    }

    /// The path leads nowhere, says the peer: the next offer restarts ICE.
    ///
    /// # Errors
    /// It comes too often.
    pub fn restart_ice(&mut self, now: Instant) -> Result<(), RequestError> {
        if !self.limits.heavy.admit(now) {
            return Err(RequestError::new(Code::Busy, "too many restarts at once"));
        }
        self.offers.restart_ice();
        self.extend(now);
        Ok(())
    }

    /// Makes another offer. Takes long; see [`crate::peer::negotiator`].
    ///
    /// # Errors
    /// When `rtc` refuses.
    pub fn offer(&mut self, now: Instant) -> Result<String, Error> {
        let follows_slots = self.offers.offered().is_some();
        for (n, slot) in self.slots.iter_mut().enumerate().filter(|_| follows_slots) {
            match slot.sender {
                // At most MAX_SLOTS.
                None if slot.binding.is_some() => slot.add_sections(&mut self.connection, n as SlotIndex)?,
                None => {}
                Some(index) => negotiate::set_sending(self.connection.pc(), index, slot.binding.is_some()),
            }
        }
        if self.offers.owes_publishing() {
            negotiate::add_publishing_sections(self.connection.pc()).map_err(Error::slots)?;
            self.connection.allow_publishing(now);
        }
        let restarts = self.offers.owes_restart();
        self.offers.made(active(&self.slots));
        if restarts { self.connection.reoffer_restarted(now) } else { self.connection.reoffer(now) }
    }

    /// The sections of each slot in the last offer, if slots are not pre-allocated: their order is that in which slots were
    /// first active.
    pub fn sections(&mut self) -> Option<Sections> {
        let offered = self.offers.offered()?;
        let pc = self.connection.pc();
        let sections = offered.iter().filter_map(|slot| {
            let sender = self.slots.get(usize::from(*slot))?.sender?;
            Some((*slot, negotiate::mids(pc, sender)?))
        });
        Some(sections.collect())
    }

    /// Offer and answer are in place: takes what was agreed.
    pub(super) fn agree(&mut self) {
        self.offers.answered();
        let Self { connection, slots, .. } = self;
        if let Some(index) = slots.iter().find_map(|slot| slot.sender) {
            connection.negotiated(index);
        }
        // Also in slots that show nothing yet, so that nothing is left to do when they do.
        for slot in slots {
            let Some(index) = slot.sender else { continue };
            slot.video.set_codecs(negotiate::video_codecs(connection.pc(), index));
            slot.audio.set_payload_type(negotiate::audio_payload_type(connection.pc(), index + 1));
        }
    }

    /// Offer and answer are in place: wakes the feeds while the connection is being established.
    pub fn negotiated(&mut self, now: Instant, cx: &mut Context) {
        for n in 0..self.slots.len() {
            self.update_watch(now, n, cx);
            // If the peer was connected before, slots may have become ready by this answer.
            if self.is_up() && !self.slots[n].video.is_live() {
                self.start_slot(now, n, cx);
            }
        }
    }
}

impl Slot {
    /// Adds the sections of this slot to what is negotiated next.
    pub(super) fn add_sections(&mut self, connection: &mut Connection, slot: SlotIndex) -> Result<(), Error> {
        let ssrcs = (self.video.ssrc(), self.video.rtx_ssrc());
        let added = negotiate::add_slot(connection.pc(), slot, ssrcs, self.audio.ssrc());
        self.sender = Some(added.map_err(Error::slots)?);
        Ok(())
    }
}

/// Slots that show something.
fn active(slots: &[Slot]) -> BTreeSet<SlotIndex> {
    // At most MAX_SLOTS.
    slots.iter().enumerate().filter(|(_, slot)| slot.binding.is_some()).map(|(n, _)| n as SlotIndex).collect()
}

impl Error {
    fn slots(error: impl std::fmt::Display) -> Self {
        Self::new("slots", error)
    }
}
