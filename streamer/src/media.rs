//! What flows through a streamer: access units and sound packets on one clock.

use std::time::Instant;

use bytes::Bytes;
use common::media::VideoCodec;

/// One encoded picture.
#[derive(Debug, Clone)]
pub struct AccessUnit {
    /// How it is encoded. May change with a keyframe.
    pub codec: VideoCodec,
    /// H.264 and H.265: Annex B, with start codes; a keyframe begins with its parameter sets. VP8, VP9: what one frame of a
    /// container holds. AV1: a temporal unit, with the lengths of its OBUs.
    pub data: Bytes,
    /// Decodable alone.
    pub keyframe: bool,
    /// When the frame was taken from the source. Strictly increasing within a feed.
    pub captured: Instant,
    /// Size of the picture in pixels.
    pub size: Size,
}

#[cfg(test)]
impl AccessUnit {
    /// Something of H.264, taken now.
    pub fn sample(data: &[u8], keyframe: bool) -> Self {
        let size = Size { width: 16, height: 16 };
        let codec = VideoCodec::H264;
        let data = Bytes::copy_from_slice(data);
        let captured = Instant::now();
        Self { codec, data, keyframe, captured, size }
    }
}

/// One Opus packet of 48 kHz stereo.
#[derive(Debug, Clone)]
pub struct AudioPacket {
    /// RFC 7587 payload.
    pub data: Bytes,
    /// When its first sample was captured.
    pub captured: Instant,
    /// Length in ticks of 48 kHz: 480 or 960.
    pub ticks: u32,
}

/// Size of a picture in pixels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Size {
    /// Pixels from left to right.
    pub width: u32,
    /// Pixels from top to bottom.
    pub height: u32,
}

impl Size {
    /// No wider and no higher than `largest`. Sides are as even as they were, if those of `largest` are even.
    #[must_use]
    pub fn within(self, largest: Self) -> Self {
        Self { width: self.width.min(largest.width), height: self.height.min(largest.height) }
    }
}

/// A whole picture in memory, for snapshots: BGRX, 4 bytes a pixel, rows of `4 * width` bytes.
#[derive(Debug, Clone)]
pub struct Picture {
    /// `4 * width * height` bytes; the fourth byte of a pixel means nothing.
    pub pixels: Vec<u8>,
    /// Its size.
    pub size: Size,
}
