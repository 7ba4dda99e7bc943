//! A stream for players that speak no WebRTC: as fragmented MP4, or as RTP for those that speak RTSP.
//!
//! ```text
//! feeds ── Tap, Listener ──▶ Reader (a thread for each) ── Format: one timeline ──▶ a socket of the web-server's
//! ```
//!
//! A reader has its own timeline, which begins with the first keyframe that it gets. One that does not read in time goes on with a
//! later keyframe ([`crate::feed::tap`]); one that does not read for long is closed. Nobody else notices either.

pub mod boxes;
pub mod mp4;
pub mod rtp;
pub mod sound;
pub mod thread;

use std::time::Instant;

use common::media::VideoCodec;

use crate::feed::AudioUnit;
use crate::feed::packetize::nal_units;
use crate::media::AccessUnit;

const TYPE_MASK: u8 = 0x1f;
const SPS: u8 = 7;
const PPS: u8 = 8;

/// What a stream becomes for one reader: bytes, in the order in which they are to be sent. Pure.
pub trait Format: Send {
    /// The bytes of a picture, and of the sound that has come since the last one. The first picture must be a keyframe.
    ///
    /// # Errors
    /// See [`Error`].
    fn picture(&mut self, unit: &AccessUnit, now: Instant) -> Result<Vec<u8>, Error>;

    /// Takes a packet of sound.
    fn sound(&mut self, unit: &AudioUnit);

    /// The bytes of sound that has come while no picture did, silence included.
    fn idle(&mut self, now: Instant) -> Vec<u8>;
}

/// Why a stream cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not H.264.
    #[error("the stream is {0:?}, and readers get only H.264")]
    Codec(VideoCodec),
    /// Its first picture does not say how it is encoded.
    #[error("the first picture has no parameter sets")]
    NoParameters,
}

/// The first parameter sets of a keyframe: of a sequence, with four bytes at least, and of a picture.
fn parameter_sets(annex_b: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Error> {
    let set = |kind| nal_units(annex_b).find(|unit| unit[0] & TYPE_MASK == kind).map(<[u8]>::to_vec);
    set(SPS).filter(|sps| sps.len() >= 4).zip(set(PPS)).ok_or(Error::NoParameters)
}
