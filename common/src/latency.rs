//! How late a viewer sees pictures, from their capture to its screen, as the viewer itself measures it.
//!
//! A picture's RTP timestamp tells when it was captured, on the streamer's clock; what that clock says a viewer learns by
//! [`GeneralRequest::Clock`](crate::input::GeneralRequest::Clock). Pictures that are passed on as they come (cameras, what browsers
//! publish) count from their arrival at the streamer.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// Upper bounds of the classes of a histogram, milliseconds, included; one class more is for what is above the last.
pub const BOUNDS_MS: [u32; 11] = [10, 20, 30, 40, 60, 80, 120, 200, 400, 800, 1600];

/// Classes of a histogram.
pub const CLASSES: usize = BOUNDS_MS.len() + 1;

/// Most pictures of one report: a viewer sends one every ten seconds.
const MOST_PICTURES: u64 = 10_000;

/// The longest time that is believed, milliseconds.
const LONGEST_MS: f64 = 60_000.0;

/// What a viewer has measured since its last report.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct LatencyReport {
    /// Pictures in each class of [`BOUNDS_MS`]; 12 numbers, together at most 10000.
    pub counts: Vec<u32>,
    /// All of their times together, milliseconds.
    pub sum_ms: f64,
    /// Half of them are not later, milliseconds.
    pub p50_ms: f64,
    /// 95 % of them are not later, milliseconds.
    pub p95_ms: f64,
}

impl LatencyReport {
    /// Whether a viewer can have measured it.
    ///
    /// # Errors
    /// The field, and what it must be.
    pub fn validate(&self) -> Result<(), &'static str> {
        let count: u64 = self.counts.iter().map(|count| u64::from(*count)).sum();
        if self.counts.len() != CLASSES || !(1..=MOST_PICTURES).contains(&count) {
            return Err("counts: must be 12 numbers, together 1 to 10000");
        }
        if !(0.0..=LONGEST_MS * count as f64).contains(&self.sum_ms) {
            return Err("sumMs: must be 0 to 60000 for each picture");
        }
        let plausible = |ms: f64| (0.0..=LONGEST_MS).contains(&ms);
        if !plausible(self.p50_ms) || !plausible(self.p95_ms) {
            return Err("p50Ms, p95Ms: must be 0 to 60000");
        }
        Ok(())
    }
}

/// Pictures by how late they were seen.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct LatencyHistogram {
    /// How many took up to 10, 20, 30, 40, 60, 80, 120, 200, 400, 800, 1600 ms and longer than the class before, and how many longer
    /// than all; empty while there are none.
    pub counts: Vec<u64>,
    /// All of their times together, milliseconds.
    pub sum_ms: f64,
}

impl LatencyHistogram {
    /// The sum of both.
    pub fn plus(&self, other: &Self) -> Self {
        let mut sum = self.clone();
        sum.add(other.counts.iter().copied(), other.sum_ms);
        sum
    }

    fn add(&mut self, counts: impl ExactSizeIterator<Item = u64>, sum_ms: f64) {
        if self.counts.len() < counts.len() {
            self.counts.resize(counts.len(), 0);
        }
        for (count, more) in self.counts.iter_mut().zip(counts) {
            *count += more;
        }
        self.sum_ms += sum_ms;
    }

    /// How many pictures there are.
    pub fn count(&self) -> u64 {
        self.counts.iter().sum()
    }
}

/// How late one viewer sees pictures.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct PeerLatency {
    /// Half of the pictures of its last report, of ten seconds, were not later; milliseconds.
    pub p50_ms: f64,
    /// 95 % of them were not later; milliseconds.
    pub p95_ms: f64,
    /// Since it joined.
    pub histogram: LatencyHistogram,
}

impl PeerLatency {
    /// Takes a valid report.
    pub fn take(&mut self, report: &LatencyReport) {
        (self.p50_ms, self.p95_ms) = (report.p50_ms, report.p95_ms);
        self.histogram.add(report.counts.iter().copied().map(u64::from), report.sum_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> LatencyReport {
        let mut counts = vec![0; CLASSES];
        counts[1] = 3;
        counts[CLASSES - 1] = 1;
        LatencyReport { counts, sum_ms: 2045.0, p50_ms: 15.0, p95_ms: 2000.0 }
    }

    #[test]
    fn reports_add_up_and_the_last_one_tells_how_it_is_now() {
        let mut latency = PeerLatency::default();
        latency.take(&report());
        latency.take(&LatencyReport { p50_ms: 12.0, ..report() });
        assert_eq!((latency.p50_ms, latency.p95_ms), (12.0, 2000.0));
        assert_eq!((latency.histogram.count(), latency.histogram.sum_ms), (8, 4090.0));
        let all = latency.histogram.plus(&latency.histogram);
        assert_eq!((all.counts[1], all.counts[CLASSES - 1], all.sum_ms), (12, 4, 8180.0));
    }

    #[test]
    fn what_nobody_can_have_measured_is_refused_by_field() {
        assert_eq!(report().validate(), Ok(()));
        let wrong = [
            (LatencyReport { counts: vec![1; CLASSES - 1], ..report() }, "counts"),
            (LatencyReport { counts: vec![1; CLASSES + 1], ..report() }, "counts"),
            (LatencyReport { counts: vec![0; CLASSES], ..report() }, "counts"),
            (LatencyReport { counts: vec![u32::MAX; CLASSES], ..report() }, "counts"),
            (LatencyReport { sum_ms: f64::NAN, ..report() }, "sumMs"),
            (LatencyReport { sum_ms: -1.0, ..report() }, "sumMs"),
            (LatencyReport { sum_ms: 1e9, ..report() }, "sumMs"),
            (LatencyReport { p50_ms: f64::INFINITY, ..report() }, "p50Ms"),
            (LatencyReport { p95_ms: -0.1, ..report() }, "p95Ms"),
        ];
        for (report, field) in wrong {
            let error = report.validate().unwrap_err();
            assert!(error.contains(field), "{error}");
        }
    }
}
