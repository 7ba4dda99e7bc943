//! Each second: what a session counts, and who is forgotten.

use std::time::Instant;

use common::exit::ExitReason;
use common::ipc::{Json, StreamerIpcMessage};
use common::stats::{AudioStats, NetworkStats, StreamerStats, VideoStats};

use super::Session;
use crate::link::Link;
use crate::peer::Command;
use crate::stats::process_stats;

impl Session {
    /// Each second: looks after shards, forgets the abandoned, and collects counters. A reason ends the session.
    pub fn tick(&mut self, link: &mut Link) -> Option<ExitReason> {
        if self.shards.iter().any(|shard| shard.thread.is_finished()) {
            // Its peers see nothing any more; a new process helps them, living on without it does not.
            return Some(ExitReason::Fatal { message: "a thread that serves peers has crashed".to_owned() });
        }
        for (n, shard) in self.shards.iter().enumerate() {
            if let Some(trouble) = shard.commands.trouble() {
                let message = format!("shard {n}, a thread that serves peers: {trouble}");
                return Some(ExitReason::Fatal { message });
            }
        }
        if let Some(trouble) = self.input.trouble() {
            return Some(ExitReason::Fatal { message: trouble.to_string() });
        }
        for peer in self.peers.abandoned(Instant::now()) {
            let _ = self.tell(peer, Command::Remove { peer, reason: "nobody came back for it".to_owned() });
        }
        self.run_without_source(link);
        self.settle();
        if self.shards.iter().any(|shard| shard.commands.owes_answer()) {
            // With the counters that it told last: the heartbeat must go on.
            self.heartbeat(link);
        }
        self.shards.iter_mut().for_each(|shard| shard.commands.ask_stats());
        None
    }

    pub(super) fn shard_counted(&mut self, link: &mut Link, shard: usize, network: NetworkStats) {
        let counted = &mut self.shards[shard];
        counted.commands.answered();
        counted.network = network;
        if !self.shards.iter().any(|shard| shard.commands.owes_answer()) {
            self.heartbeat(link);
        }
    }

    pub(super) fn heartbeat(&self, link: &mut Link) {
        let stats = Box::new(Json(self.stats()));
        let peers = self.peers.list().into_iter().map(Json).collect();
        link.send(StreamerIpcMessage::Stats { stats, peers });
    }

    pub(super) fn stats(&self) -> StreamerStats {
        let counters = &self.counters;
        let size = self.sources.main().and_then(|main| main.info()).map(|info| info.size);
        let feeds = self.sources.all().values().flat_map(|entry| entry.feeds());
        StreamerStats {
            uptime_ms: self.process_start.elapsed().as_millis() as u64,
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
            input_events: self.input.applied(),
            peers_refused: self.peers_refused,
            process: process_stats(),
        }
    }
}
