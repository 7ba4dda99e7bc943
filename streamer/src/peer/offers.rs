//! Decides when a peer is sent a new offer. Pure.
//!
//! ```text
//!           offer made                  answered, tracks as offered
//! Settled ─────────────▶ Outstanding ─────────────────────────────▶ Settled
//!    ▲ tracks changed         │ answered, tracks have changed meanwhile
//!    └────────────────────────┴──▶ a new offer at once
//! ```
//!
//! For a peer with pre-allocated slots the first offer contains all of them. Otherwise an offer contains the active slots, and there is
//! a new one each time that they change, but never while another one is open (RFC 9429 §3.2). A peer that may publish later than it
//! came gets one more offer, with the sections for it. One whose path leads nowhere any more is offered new ICE credentials.

use std::collections::BTreeSet;

use common::id::SlotIndex;

/// What was offered to one peer.
#[derive(Debug)]
pub struct Offers {
    /// Slots with tracks in the last offer; `None`: all slots, in each offer.
    offered: Option<BTreeSet<SlotIndex>>,
    /// Those of them that an answer has agreed to.
    agreed: BTreeSet<SlotIndex>,
    /// An answer has agreed to all slots, if they are all offered.
    agreed_all: bool,
    outstanding: bool,
    /// The next offer is to have the sections in which the peer can publish.
    publishing: bool,
    /// The next offer is to restart ICE.
    restart: bool,
}

impl Offers {
    /// One offer with all slots has been made.
    pub fn all() -> Self {
        Self::new(None, true)
    }

    /// The peer has offered all slots, and has been answered.
    pub fn answered_all() -> Self {
        Self { agreed_all: true, ..Self::new(None, false) }
    }

    /// An offer with these slots has been made.
    pub fn active(slots: BTreeSet<SlotIndex>) -> Self {
        Self::new(Some(slots), true)
    }

    fn new(offered: Option<BTreeSet<SlotIndex>>, outstanding: bool) -> Self {
        let agreed = BTreeSet::new();
        Self { offered, agreed, agreed_all: false, outstanding, publishing: false, restart: false }
    }

    /// The next offer is to have the sections in which the peer can publish.
    pub fn allow_publishing(&mut self) {
        self.publishing = true;
    }

    /// True until that offer has been made.
    pub fn owes_publishing(&self) -> bool {
        self.publishing
    }

    /// The next offer is to restart ICE.
    pub fn restart_ice(&mut self) {
        self.restart = true;
    }

    /// True until that offer has been made.
    pub fn owes_restart(&self) -> bool {
        self.restart
    }

    /// The slots of the last offer, if offers follow what is active.
    pub fn offered(&self) -> Option<&BTreeSet<SlotIndex>> {
        self.offered.as_ref()
    }

    /// True while an answer is awaited.
    pub fn outstanding(&self) -> bool {
        self.outstanding
    }

    /// The answer has arrived.
    pub fn answered(&mut self) {
        self.outstanding = false;
        self.agreed_all = self.offered.is_none();
        self.agreed = self.offered.clone().unwrap_or_default();
    }

    /// True when an offer with these slots is to be made now.
    pub fn due(&self, active: &BTreeSet<SlotIndex>) -> bool {
        let changed = self.offered.as_ref().is_some_and(|offered| offered != active);
        !self.outstanding && (changed || self.publishing || self.restart)
    }

    /// That offer has been made.
    pub fn made(&mut self, active: BTreeSet<SlotIndex>) {
        self.agreed.retain(|slot| active.contains(slot));
        self.offered = self.offered.take().map(|_| active);
        self.outstanding = true;
        self.publishing = false;
        self.restart = false;
    }

    /// True when the tracks of a slot are agreed on.
    pub fn has(&self, slot: SlotIndex) -> bool {
        if self.offered.is_some() { self.agreed.contains(&slot) } else { self.agreed_all }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slots(slots: &[SlotIndex]) -> BTreeSet<SlotIndex> {
        slots.iter().copied().collect()
    }

    #[test]
    fn preallocated_slots_are_offered_once() {
        let mut offers = Offers::all();
        offers.answered();
        assert!(!offers.due(&slots(&[0, 1])) && !offers.due(&slots(&[])));
        assert!(offers.has(15));
    }

    #[test]
    fn a_peer_that_may_publish_later_gets_one_more_offer_and_sees_what_it_saw_meanwhile() {
        let mut offers = Offers::all();
        offers.allow_publishing();
        assert!(!offers.due(&slots(&[0])), "the first one is open");
        offers.answered();
        assert!(offers.due(&slots(&[0])) && offers.owes_publishing());
        offers.made(slots(&[0]));
        assert!(offers.outstanding() && offers.has(15) && offers.offered().is_none());
        offers.answered();
        assert!(!offers.due(&slots(&[])) && offers.has(15));
        let mut offers = Offers::active(slots(&[0]));
        offers.answered();
        offers.allow_publishing();
        assert!(offers.due(&slots(&[0])));
        offers.made(slots(&[0]));
        offers.answered();
        assert!(!offers.due(&slots(&[0])) && offers.due(&slots(&[1])));
    }

    #[test]
    fn a_restart_is_offered_once_after_what_is_open() {
        let mut offers = Offers::all();
        offers.restart_ice();
        assert!(!offers.due(&slots(&[0])), "the first one is open");
        offers.answered();
        assert!(offers.due(&slots(&[0])) && offers.owes_restart());
        offers.made(slots(&[0]));
        assert!(!offers.owes_restart() && offers.outstanding() && offers.has(15));
        offers.answered();
        assert!(!offers.due(&slots(&[0])));
    }

    #[test]
    fn an_offer_is_made_when_tracks_change_and_none_is_open() {
        let mut offers = Offers::active(slots(&[0]));
        assert!(!offers.due(&slots(&[0, 1])), "the first one is open");
        assert!(!offers.has(0));
        offers.answered();
        assert!(offers.has(0) && !offers.has(1));
        assert!(!offers.due(&slots(&[0])), "nothing has changed");
        assert!(offers.due(&slots(&[0, 1])));
        offers.made(slots(&[0, 1]));
        assert!(offers.has(0) && !offers.has(1), "what was agreed on before goes on meanwhile");
        // Two changes while an offer is open lead to one more offer, and to none if they undo each other.
        assert!(!offers.due(&slots(&[1])));
        offers.answered();
        assert!(offers.due(&slots(&[1])) && !offers.due(&slots(&[0, 1])));
    }
}
