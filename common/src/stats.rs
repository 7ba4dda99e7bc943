//! What a streamer counts and reports each second.
//!
//! Counters only grow while the process lives; rates are for the reader to derive.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::latency::LatencyHistogram;

/// All counters of a streamer at one moment.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerStats {
    /// Milliseconds since the process started.
    pub uptime_ms: u64,
    /// From the start of the source to its first encoded keyframe, in ms; absent before it.
    pub first_frame_ms: Option<u64>,
    /// The video of the main source.
    pub video: VideoStats,
    /// The sound of the main source.
    pub audio: AudioStats,
    /// All peers together.
    pub network: NetworkStats,
    /// Input that reached the sink.
    pub input_events: u64,
    /// Joins that were refused because the limit of peers was reached.
    #[serde(default)]
    pub peers_refused: u64,
    /// The streamer's process, without the X server and the programs of the session.
    pub process: ProcessStats,
}

/// Capture and encoding.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct VideoStats {
    /// Current width, pixels.
    pub width: u32,
    /// Current height, pixels.
    pub height: u32,
    /// Frames taken from the source.
    pub captured: u64,
    /// Calls of the encoder that gave an access unit.
    pub encoded: u64,
    /// Of these, keyframes.
    pub keyframes: u64,
    /// Keyframes asked for by peers, joins and switches, before coalescing.
    pub keyframes_asked: u64,
    /// Frames left out before encoding, as the encoder or the bitrate was behind.
    pub dropped: u64,
    /// Bytes of all access units.
    pub encoded_bytes: u64,
    /// Rows grabbed times their length: bytes copied from the source.
    pub captured_bytes: u64,
    /// Bytes of pixels converted to the encoder's format.
    pub converted_bytes: u64,
    /// Time spent grabbing, microseconds in total.
    pub capture_us: u64,
    /// Time spent converting, microseconds in total.
    pub convert_us: u64,
    /// Time spent encoding, microseconds in total.
    pub encode_us: u64,
}

/// Counters of sound.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct AudioStats {
    /// Blocks of samples taken from the source.
    pub captured: u64,
    /// Packets encoded; silence makes none.
    pub encoded: u64,
    /// Bytes of all packets.
    pub encoded_bytes: u64,
    /// Times that the sound server died and was started again.
    #[serde(default)]
    pub restarts: u64,
}

/// Counters of the peers' sockets.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct NetworkStats {
    /// Peers connected now.
    pub peers: u32,
    /// RTP packets sent, retransmissions included.
    pub rtp_packets: u64,
    /// Bytes of all datagrams sent.
    pub sent_bytes: u64,
    /// System calls that sent them.
    pub send_calls: u64,
    /// Packets sent again on a NACK.
    pub retransmitted: u64,
    /// Packets that a NACK asked for and that were gone.
    pub not_retransmitted: u64,
    /// PLI and FIR received.
    pub keyframe_requests: u64,
    /// Access units not sent to a peer that could not keep up.
    pub skipped_units: u64,
    /// Datagrams dropped because a socket was full.
    pub send_drops: u64,
    /// Access units and sound packets dropped because a sending thread was behind.
    #[serde(default)]
    pub media_drops: u64,
    /// How late viewers saw pictures, as they say themselves.
    #[serde(default)]
    pub latency: LatencyHistogram,
    /// Messages on data channels that were dropped, as their peer sent more per second than it may.
    #[serde(default)]
    pub messages_dropped: u64,
}

/// Counters of one process, from `/proc`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct ProcessStats {
    /// Process id.
    pub pid: u32,
    /// User and system time, microseconds in total.
    pub cpu_us: u64,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Number of threads.
    pub threads: u32,
    /// Open file descriptors.
    pub descriptors: u32,
}

impl NetworkStats {
    /// The sum of both.
    pub fn plus(&self, other: &Self) -> Self {
        Self {
            peers: self.peers + other.peers,
            rtp_packets: self.rtp_packets + other.rtp_packets,
            sent_bytes: self.sent_bytes + other.sent_bytes,
            send_calls: self.send_calls + other.send_calls,
            retransmitted: self.retransmitted + other.retransmitted,
            not_retransmitted: self.not_retransmitted + other.not_retransmitted,
            keyframe_requests: self.keyframe_requests + other.keyframe_requests,
            skipped_units: self.skipped_units + other.skipped_units,
            send_drops: self.send_drops + other.send_drops,
            media_drops: self.media_drops + other.media_drops,
            messages_dropped: self.messages_dropped + other.messages_dropped,
            latency: self.latency.plus(&other.latency),
        }
    }
}
