//! Which simulcast layer of a source a peer gets: the best one that its path carries. Pure.
//!
//! ```text
//!            its share of the path is less than the layer needs, or it does not come
//! High ─────────────────────────────────────────────────────────────────────────────▶ Low
//!   ▲                                                                                  │
//!   └── after a while: 5 s, and each time that it was too much, twice as long ──────────┘
//! ```
//!
//! How much a path carries is known only of what is sent on it, so the way up is an attempt.

use std::time::{Duration, Instant};

use crate::publish::Layer;

/// The high layer is tried after this.
const RETRY: Duration = Duration::from_secs(5);
/// And after so long at most.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// An attempt that lasted for this has succeeded.
const STABLE: Duration = Duration::from_secs(10);
/// A layer that needs a little more than its share is given time: encoders follow their estimates.
const TOLERANCE: f64 = 1.2;

/// What is known when a layer is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Pictures of the high layer come.
    pub high_flows: bool,
    /// Pictures of the low layer come, or would if somebody took it.
    pub has_low: bool,
    /// What the high layer needs, bits per second.
    pub high_bps: f64,
    /// What this picture may have of the path; `None`: as much as there is.
    pub share_bps: Option<f64>,
}

/// The layer of one slot.
#[derive(Debug)]
pub struct LayerChoice {
    layer: Layer,
    since: Option<Instant>,
    retry: Duration,
}

impl Default for LayerChoice {
    fn default() -> Self {
        Self { layer: Layer::High, since: None, retry: RETRY }
    }
}

impl LayerChoice {
    /// Chooses anew. To be called every now and then.
    pub fn choose(&mut self, now: Instant, known: Known) -> Layer {
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_duration_since(since);
        let too_much = known.share_bps.is_some_and(|share| known.high_bps > share * TOLERANCE);
        match self.layer {
            Layer::High if known.has_low && known.high_flows && too_much => {
                self.retry = if lasted < STABLE { (self.retry * 2).min(MAX_RETRY) } else { RETRY };
                self.set(now, Layer::Low);
            }
            Layer::Low if !known.has_low || lasted >= self.retry => self.set(now, Layer::High),
            Layer::High | Layer::Low => {}
        }
        self.layer
    }

    fn set(&mut self, now: Instant, layer: Layer) {
        self.layer = layer;
        self.since = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Known =
        Known { high_flows: true, has_low: true, high_bps: 1_500_000.0, share_bps: Some(270_000.0) };

    #[test]
    fn a_narrow_path_gets_the_low_layer_and_tries_the_high_one_ever_less_often() {
        let start = Instant::now();
        let mut choice = LayerChoice::default();
        let mut high = 0;
        for n in 0..600 {
            let now = start + n * Duration::from_millis(500);
            high += usize::from(choice.choose(now, NARROW) == Layer::High);
        }
        assert!((3..12).contains(&high), "{high} of 600 looks");
        let wide = Known { share_bps: None, ..NARROW };
        let later = start + Duration::from_secs(400);
        assert_eq!(choice.choose(later, wide), Layer::High);
        assert_eq!(choice.choose(later + MAX_RETRY, wide), Layer::High, "and stays there");
    }

    #[test]
    fn without_another_layer_there_is_nothing_to_choose() {
        let now = Instant::now();
        let mut choice = LayerChoice::default();
        assert_eq!(choice.choose(now, Known { has_low: false, ..NARROW }), Layer::High);
        assert_eq!(choice.choose(now, Known { high_flows: false, ..NARROW }), Layer::High);
        assert_eq!(choice.choose(now, NARROW), Layer::Low);
        assert_eq!(choice.choose(now, Known { has_low: false, ..NARROW }), Layer::High);
    }

    #[test]
    fn a_wide_path_gets_the_high_layer() {
        let now = Instant::now();
        let mut choice = LayerChoice::default();
        for share_bps in [None, Some(2_000_000.0), Some(1_300_000.0)] {
            assert_eq!(choice.choose(now, Known { share_bps, ..NARROW }), Layer::High);
        }
    }
}
