//! Media sockets of peers, by what became of them.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;

/// What became of a media socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Its streamer took it.
    Attached,
    /// It did not say whose it is, or was not that peer's.
    Refused,
}

/// All outcomes, so that each has a number, if only zero.
const OUTCOMES: [(Outcome, &str); 2] = [(Outcome::Attached, "attached"), (Outcome::Refused, "refused")];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct Label {
    result: &'static str,
}

/// Counts media sockets. Cheap to clone; all clones are the same.
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
