//! Which layer of a source a peer gets: the best one that its path carries. Pure.
//!
//! ```text
//!                    its share of the path is less than the layer needs
//! High ─────────────────────────────────────────────────────────────────────────────▶ Low
//!   ▲                                                                                  │
//!   ├── simulcast: after 5 s, and each time that it was too much, after twice as long ─┤
//!   └── encoded here: after its share has been enough for 6 s ─────────────────────────┘
//! ```
//!
//! What a layer needs that a peer publishes is known only while it comes, so the way up is an attempt. The low layer of what is encoded
//! here is an encoding of its own for all whose paths are narrower than others' ([`crate::source::rendition`]).

use std::time::{Duration, Instant};

use super::feeds::Need;
use crate::publish::Layer;

/// The high layer is tried after this.
const RETRY: Duration = Duration::from_secs(5);
/// And after so long at most.
const MAX_RETRY: Duration = Duration::from_secs(60);
/// An attempt that lasted for this has succeeded.
const STABLE: Duration = Duration::from_secs(10);
/// The share has to be enough for so long where it is known what is enough.
const ENOUGH_FOR: Duration = Duration::from_secs(6);
/// Enough is this share of what the layer needs: its bitrate follows the path when nobody else needs more.
pub const ENOUGH: f64 = 0.95;
/// A layer that needs a little more than its share is given time: encoders follow their estimates.
const TOLERANCE: f64 = 1.2;

/// What is known when a layer is chosen.
#[derive(Debug, Clone, Copy)]
pub struct Known {
    /// Pictures of the high layer come.
    pub high_flows: bool,
    /// Pictures of the low layer come, or would if somebody took it.
    pub has_low: bool,
    /// What the high layer needs.
    pub high: Need,
    /// What this picture may have of the path; `None`: as much as there is.
    pub share_bps: Option<f64>,
}

/// The layer of one slot.
#[derive(Debug)]
pub struct LayerChoice {
    layer: Layer,
    since: Option<Instant>,
    retry: Duration,
    /// Since when its share has been enough for the high layer.
    enough_since: Option<Instant>,
}

impl Default for LayerChoice {
    fn default() -> Self {
        Self { layer: Layer::High, since: None, retry: RETRY, enough_since: None }
    }
}

impl LayerChoice {
    /// Chooses anew. To be called every now and then.
    pub fn choose(&mut self, now: Instant, known: Known) -> Layer {
        let since = *self.since.get_or_insert(now);
        let lasted = now.saturating_duration_since(since);
        let share = known.share_bps.unwrap_or(f64::INFINITY);
        match (self.layer, known.high) {
            (Layer::High, _) if !known.has_low => {}
            (Layer::High, Need::Measured(bps)) if known.high_flows && bps > share * TOLERANCE => {
                self.retry = if lasted < STABLE { (self.retry * 2).min(MAX_RETRY) } else { RETRY };
                self.set(now, Layer::Low);
            }
            (Layer::High, Need::Chosen(bps)) if bps > share * TOLERANCE => self.set(now, Layer::Low),
            (Layer::Low, _) if !known.has_low => self.set(now, Layer::High),
            (Layer::Low, Need::Measured(_)) if lasted >= self.retry => self.set(now, Layer::High),
            (Layer::Low, Need::Chosen(bps)) => self.rise_when_enough(now, share >= bps * ENOUGH),
            (Layer::High | Layer::Low, _) => {}
        }
        self.layer
    }

    fn rise_when_enough(&mut self, now: Instant, is_enough: bool) {
        if !is_enough {
            self.enough_since = None;
        } else if now >= *self.enough_since.get_or_insert(now) + ENOUGH_FOR {
            self.set(now, Layer::High);
        }
    }

    fn set(&mut self, now: Instant, layer: Layer) {
        self.layer = layer;
        self.since = Some(now);
        self.enough_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NARROW: Known = Known {
        high_flows: true,
        has_low: true,
        high: Need::Measured(1_500_000.0),
        share_bps: Some(270_000.0),
    };

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

    #[test]
    fn an_encoding_of_ours_is_left_at_once_and_taken_again_when_the_share_has_been_enough() {
        let start = Instant::now();
        let mut choice = LayerChoice::default();
        let known = |high_bps, share_bps| Known {
            high_flows: false,
            has_low: true,
            high: Need::Chosen(high_bps),
            share_bps: Some(share_bps),
        };
        let at = |ms| start + Duration::from_millis(ms);
        assert_eq!(choice.choose(at(0), known(1e6, 0.9e6)), Layer::High, "it follows the share");
        assert_eq!(choice.choose(at(1), known(2.5e6, 0.9e6)), Layer::Low, "others can take more");
        for (ms, share, layer) in [
            (60_000, 2.0e6, Layer::Low),
            (61_000, 2.4e6, Layer::Low),
            (66_000, 2.4e6, Layer::Low),
            (66_500, 2.0e6, Layer::Low),
            (67_000, 2.4e6, Layer::Low),
            (72_999, 2.4e6, Layer::Low),
            (73_000, 2.4e6, Layer::High),
        ] {
            assert_eq!(choice.choose(at(ms), known(2.5e6, share)), layer, "{ms}");
        }
    }
}
