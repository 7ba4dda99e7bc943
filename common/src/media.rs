//! Words for media that both processes and the browser use.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// A video codec, named as in SDP and in `RTCRtpCodec.mimeType`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
pub enum VideoCodec {
    /// H.264 / AVC, RFC 6184.
    H264,
    /// H.265 / HEVC, RFC 7798.
    H265,
    /// AV1, the AOM RTP payload specification.
    AV1,
    /// VP8, RFC 7741.
    VP8,
    /// VP9, RFC 9628.
    VP9,
}

/// RTP clock of every video codec, ticks per second.
pub const VIDEO_CLOCK_HZ: u32 = 90_000;

/// RTP clock of Opus, ticks per second, whatever the sampling rate of the input (RFC 7587 §4.1).
pub const AUDIO_CLOCK_HZ: u32 = 48_000;
