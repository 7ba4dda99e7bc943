//! Each second: what a session counts, and who is forgotten.

use common::exit::ExitReason;
use common::stats::{AudioStats, NetworkStats, ProcessStats, StreamerStats, VideoStats};

use super::effects::Effect;
use super::{Now, Session};
use crate::peer::Command;

/// A shard that has been asked so often, once a second, and has not answered is stuck: its longest work, a join, takes
/// milliseconds. Counted in questions and not in time, as time passes for a process that is halted, too.
const MAX_UNANSWERED: u32 = 10;

impl Session {
    /// Each second: looks after shards, forgets the abandoned, and collects counters. A reason ends the session.
    pub fn tick(&mut self, now: Now) -> Option<ExitReason> {
        if let Some(n) = self.shards.iter().position(|shard| shard.unanswered >= MAX_UNANSWERED) {
            // Its peers see nothing any more, and a thread cannot be replaced.
            let stuck = format!("it is stuck and has not answered for {MAX_UNANSWERED} s");
            let message = format!("shard {n}, a thread that serves peers: {stuck}");
            return Some(ExitReason::Fatal { message });
        }
        for peer in self.peers.abandoned(now.instant) {
            let _ = self.remove_peer(peer, "nobody came back for it".to_owned());
        }
        self.run_without_source(now);
        self.update_sources(now);
        if self.is_report_missing() {
            // With the counters that were reported last: the heartbeat must go on.
            self.heartbeat(now);
        }
        for shard in &mut self.shards {
            shard.unanswered += 1;
        }
        self.command_all(|| Command::Stats);
        None
    }

    pub(super) fn shard_counted(&mut self, now: Now, shard: usize, network: NetworkStats) {
        let counted = &mut self.shards[shard];
        counted.unanswered = 0;
        counted.network = network;
        if !self.is_report_missing() {
            self.heartbeat(now);
        }
    }

    /// Whether a shard has been asked for its counters and has not reported them yet.
    fn is_report_missing(&self) -> bool {
        self.shards.iter().any(|shard| shard.unanswered > 0)
    }

    fn heartbeat(&mut self, now: Now) {
        let stats = Box::new(self.stats(now));
        self.effects.push(Effect::Heartbeat { stats, peers: self.peers.list() });
    }

    fn stats(&self, now: Now) -> StreamerStats {
        let counters = &self.counters;
        let size = self.sources.main().and_then(|main| main.info()).map(|info| info.size);
        let feeds = self.sources.all().values().flat_map(|entry| entry.feeds());
        StreamerStats {
            uptime_ms: now.instant.saturating_duration_since(self.process_start).as_millis() as u64,
            first_frame_ms: self.first_frame.map(|time| time.as_millis() as u64),
            video: VideoStats {
                width: size.map_or(0, |size| size.width),
                height: size.map_or(0, |size| size.height),
                captured: counters.captured.get(),
                encoded: counters.encoded.get(),
                keyframes: counters.keyframes.get(),
                keyframes_asked: feeds.map(|feed| feed.demand.asked()).sum(),
                dropped: counters.dropped.get(),
                encoded_bytes: counters.encoded_bytes.get(),
                captured_bytes: counters.captured_bytes.get(),
                converted_bytes: counters.converted_bytes.get(),
                capture_us: counters.capture_us.get(),
                convert_us: counters.convert_us.get(),
                encode_us: counters.encode_us.get(),
            },
            audio: AudioStats {
                captured: counters.audio_captured.get(),
                encoded: counters.audio_encoded.get(),
                encoded_bytes: counters.audio_bytes.get(),
                restarts: counters.sound_restarts.get(),
            },
            network: self.shards.iter().fold(NetworkStats::default(), |sum, shard| sum.plus(&shard.network)),
            input_events: 0,
            peers_refused: self.peers_refused,
            process: ProcessStats::default(),
        }
    }
}
