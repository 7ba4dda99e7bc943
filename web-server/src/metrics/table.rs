//! Which numbers of a streamer and of a peer are shown, under which names.

use common::api::{Peer, Streamer};
use common::stats::StreamerStats;

/// Grows only, or goes up and down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Its name gets `_total`.
    Counter,
    Gauge,
}

/// One number of a `T`.
pub(super) struct Metric<T> {
    pub name: &'static str,
    pub help: &'static str,
    pub kind: Kind,
    /// `None`: it is not known.
    pub value: fn(&T) -> Option<f64>,
}

const fn counter<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, help, kind: Kind::Counter, value }
}

const fn gauge<T>(name: &'static str, help: &'static str, value: fn(&T) -> Option<f64>) -> Metric<T> {
    Metric { name, help, kind: Kind::Gauge, value }
}

/// A number that is exact up to 2^53.
fn whole(number: u64) -> Option<f64> {
    Some(number as f64)
}

fn seconds(us: u64) -> Option<f64> {
    Some(us as f64 / 1e6)
}

fn stats(streamer: &Streamer) -> Option<&StreamerStats> {
    streamer.stats.as_ref()
}

/// Of each streamer. Pictures and sound are those of all its sources together.
pub(super) const STREAMER: &[Metric<Streamer>] = &[
    gauge("streamer_up", "1 while the streamer is running", |s| {
        Some(f64::from(u8::from(s.state == common::signal::StreamerState::Running)))
    }),
    gauge("streamer_peers", "Peers of the streamer, in any state", |s| whole(s.peers.len() as u64)),
    gauge("streamer_uptime_seconds", "Age of the process", |s| Some(stats(s)?.uptime_ms as f64 / 1e3)),
    gauge("streamer_first_frame_seconds", "From the start of the source to its first keyframe", |s| {
        Some(stats(s)?.first_frame_ms? as f64 / 1e3)
    }),
    gauge("video_width_pixels", "Width of the main source", |s| whole(stats(s)?.video.width.into())),
    gauge("video_height_pixels", "Height of the main source", |s| whole(stats(s)?.video.height.into())),
    counter("video_frames_captured", "Frames taken from sources", |s| whole(stats(s)?.video.captured)),
    counter("video_frames_encoded", "Access units made", |s| whole(stats(s)?.video.encoded)),
    counter("video_frames_dropped", "Frames left out before encoding", |s| whole(stats(s)?.video.dropped)),
    counter("video_keyframes", "Keyframes made", |s| whole(stats(s)?.video.keyframes)),
    counter("video_keyframes_asked", "Keyframes asked for, before coalescing", |s| {
        whole(stats(s)?.video.keyframes_asked)
    }),
    counter("video_encoded_bytes", "Bytes of all access units", |s| whole(stats(s)?.video.encoded_bytes)),
    counter("video_capture_seconds", "Time spent taking frames", |s| seconds(stats(s)?.video.capture_us)),
    counter("video_convert_seconds", "Time spent converting frames", |s| seconds(stats(s)?.video.convert_us)),
    counter("video_encode_seconds", "Time spent encoding", |s| seconds(stats(s)?.video.encode_us)),
    counter("audio_packets_encoded", "Sound packets made", |s| whole(stats(s)?.audio.encoded)),
    counter("audio_encoded_bytes", "Bytes of all sound packets", |s| whole(stats(s)?.audio.encoded_bytes)),
    counter("rtp_packets_sent", "RTP packets, those sent again included", |s| {
        whole(stats(s)?.network.rtp_packets)
    }),
    counter("sent_bytes", "Bytes of all datagrams to peers", |s| whole(stats(s)?.network.sent_bytes)),
    counter("send_calls", "System calls that sent them", |s| whole(stats(s)?.network.send_calls)),
    counter("rtp_packets_retransmitted", "Packets sent again", |s| whole(stats(s)?.network.retransmitted)),
    counter("rtp_packets_not_retransmitted", "Packets asked for again that were gone", |s| {
        whole(stats(s)?.network.not_retransmitted)
    }),
    counter("keyframe_requests", "PLI and FIR of peers", |s| whole(stats(s)?.network.keyframe_requests)),
    counter("skipped_units", "Access units not sent to a peer that could not keep up", |s| {
        whole(stats(s)?.network.skipped_units)
    }),
    counter("send_drops", "Datagrams dropped as a socket was full", |s| whole(stats(s)?.network.send_drops)),
    counter("media_queue_drops", "Units and sound packets dropped as a sending thread was behind", |s| {
        whole(stats(s)?.network.media_drops)
    }),
    counter("peers_refused", "Joins refused as there were max_peers already", |s| {
        whole(stats(s)?.peers_refused)
    }),
    counter("data_messages_dropped", "Messages over limits.data_messages_per_second", |s| {
        whole(stats(s)?.network.messages_dropped)
    }),
    counter("input_events", "Input that reached the session", |s| whole(stats(s)?.input_events)),
    counter("streamer_cpu_seconds", "CPU time of the streamer's process", |s| {
        seconds(stats(s)?.process.cpu_us)
    }),
    gauge("streamer_resident_bytes", "Memory of the streamer's process", |s| {
        whole(stats(s)?.process.rss_bytes)
    }),
    gauge("streamer_threads", "Threads of the streamer's process", |s| {
        whole(stats(s)?.process.threads.into())
    }),
    gauge("streamer_descriptors", "Open descriptors of the streamer's process", |s| {
        whole(stats(s)?.process.descriptors.into())
    }),
];

/// Of each peer.
pub(super) const PEER: &[Metric<Peer>] = &[
    gauge(
        "peer_estimate_bits_per_second",
        "What the path to the peer carries, while it shows a limit",
        |p| Some(p.stats.estimate_bps? as f64),
    ),
    gauge("peer_queue_seconds", "How long packets wait on the path to the peer", |p| {
        Some(p.stats.queue_ms / 1e3)
    }),
    gauge("peer_round_trip_seconds", "Round trip to the peer", |p| Some(p.stats.round_trip_ms? / 1e3)),
    counter("peer_lost_packets", "Packets of video that it reported lost", |p| whole(p.stats.lost)),
    counter("peer_packets", "RTP packets sent to it", |p| whole(p.stats.packets)),
    counter("peer_sent_bytes", "Bytes sent to it", |p| whole(p.stats.bytes)),
    counter("peer_frames", "Access units sent to it, of all slots", |p| whole(p.stats.frames)),
    counter("peer_skipped_units", "Access units not sent to it, as it could not keep up", |p| {
        whole(p.stats.skipped_units)
    }),
];
