//! TCP connections of peers, by what became of them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// What became of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its streamer has it.
    HandedOver,
    /// Too many were waited for.
    Busy,
    /// Its first packet did not come.
    Silent,
    /// Its first packet was not one of ICE.
    NotIce,
    /// No streamer had the peer that it named.
    Unknown,
    /// Its streamer did not take it.
    NotTaken,
}

/// All outcomes, so that each has a number, if only zero.
const OUTCOMES: [(Outcome, &str); 6] = [
    (Outcome::HandedOver, "handed_over"),
    (Outcome::Busy, "busy"),
    (Outcome::Silent, "silent"),
    (Outcome::NotIce, "not_ice"),
    (Outcome::Unknown, "unknown"),
    (Outcome::NotTaken, "not_taken"),
];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Label {
    result: &'static str,
}

/// Counts connections. Cheap to clone; all clones are the same.
#[derive(Debug, Clone)]
pub struct Counters(pub(super) Family<Label, Counter>);

impl Default for Counters {
    fn default() -> Self {
        let family = Family::default();
        for (_, result) in OUTCOMES {
            drop(family.get_or_create(&Label { result }));
        }
        Self(family)
    }
}

impl Counters {
    /// One more.
    pub fn count(&self, outcome: Outcome) {
        let result = super::name_of(&OUTCOMES, outcome);
        self.0.get_or_create(&Label { result }).inc();
    }
}
