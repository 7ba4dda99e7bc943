//! What is counted of a peer, and of all peers of a shard together. Pure.

use common::api::PeerStats;
use common::stats::NetworkStats;

/// Counters of a peer.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// The counters that REST shows.
    pub stats: PeerStats,
    /// Packets whose retransmission was requested but not possible.
    pub not_retransmitted: u64,
    /// Messages on its data channels that exceeded the limit.
    pub messages_dropped: u64,
}

impl Counted {
    /// Adds them to those of the whole shard.
    pub fn add_to(&self, network: &mut NetworkStats) {
        network.rtp_packets += self.stats.packets;
        network.retransmitted += self.stats.retransmitted;
        network.not_retransmitted += self.not_retransmitted;
        network.keyframe_requests += self.stats.keyframe_requests;
        network.skipped_units += self.stats.skipped_units;
        network.messages_dropped += self.messages_dropped;
        if let Some(latency) = &self.stats.latency {
            network.latency = network.latency.plus(&latency.histogram);
        }
    }
}

#[cfg(test)]
mod tests {
    use common::latency::{LatencyHistogram, PeerLatency};

    use super::*;

    #[test]
    fn a_shard_has_what_its_viewers_have_together() {
        let mut latency = PeerLatency::default();
        latency.histogram.counts = vec![0, 0, 7];
        let stats = PeerStats {
            packets: 1,
            retransmitted: 2,
            keyframe_requests: 4,
            skipped_units: 5,
            latency: Some(latency.clone()),
            ..Default::default()
        };
        let counted = Counted { stats, not_retransmitted: 3, messages_dropped: 6 };
        let mut network = NetworkStats::default();
        counted.add_to(&mut network);
        counted.add_to(&mut network);
        let expected = NetworkStats {
            rtp_packets: 2,
            retransmitted: 4,
            not_retransmitted: 6,
            keyframe_requests: 8,
            skipped_units: 10,
            messages_dropped: 12,
            ..NetworkStats::default()
        };
        assert_eq!(network.latency.counts[2], 14);
        assert_eq!(NetworkStats { latency: LatencyHistogram::default(), ..network }, expected);
    }
}
