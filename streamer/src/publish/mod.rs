//! What a peer publishes: RTP in, whole frames and sound packets out. Pure: packets and the time are given to it, and what is to
//! be sent to the publisher is said, not sent.
//!
//! ```text
//! packet ──▶ Demux: which section, layer, retransmission ──▶ Assembler per layer ──▶ Frame
//!                                                    │           └── Nack, Pli
//!                                                    └──▶ sound, as it came
//! ```
//!
//! Payloads stay as they came: nothing is depacketized, decoded or encoded. Everything here is from outside: counts, sizes,
//! sequence numbers and header extensions are bounded before they are believed.

pub mod arrivals;
pub mod demux;
pub mod frames;
pub mod keyframe;
pub mod loudness;
pub mod publisher;
pub mod reception;
pub mod sections;
pub mod timeline;
pub mod whole;

use bytes::Bytes;

pub use publisher::{Output, Publisher};

/// Longest payload that is forwarded. Browsers, OBS, ffmpeg and GStreamer send up to 1200 bytes; what is longer than this would
/// not pass every path to those who watch.
pub const MAX_PAYLOAD: usize = 1400;

/// One RTP packet of a publisher, without its padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// SSRC.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Marker.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Header extensions: ids and values (RFC 8285).
    pub extensions: Vec<(u8, Bytes)>,
    /// Payload; empty if it is padding alone.
    pub payload: Bytes,
}

impl Packet {
    /// The value of a header extension.
    pub fn extension(&self, id: Option<u8>) -> Option<&[u8]> {
        let id = id?;
        self.extensions.iter().find(|(known, _)| *known == id).map(|(_, value)| &value[..])
    }
}

/// Which of the streams of a section: simulcast layers by their rid, the best one first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Layer {
    /// `h`, or the only one.
    High,
    /// `l`.
    Low,
}

impl Layer {
    /// Both.
    pub const ALL: [Layer; 2] = [Layer::High, Layer::Low];

    /// Its rid (RFC 8851).
    pub fn rid(self) -> &'static str {
        match self {
            Layer::High => "h",
            Layer::Low => "l",
        }
    }

    /// The layer with this rid.
    pub fn of_rid(rid: &[u8]) -> Option<Self> {
        Self::ALL.into_iter().find(|layer| layer.rid().as_bytes() == rid)
    }
}
