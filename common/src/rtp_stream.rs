//! A stream as RTP on its way from a streamer to the web-server, which serves it by RTSP: the frames on the connection of a reader
//! ([`crate::ipc::Purpose::Reader`]). Pure.
//!
//! ```text
//! lane (1) │ 0 (1) │ length (2, big-endian) │ a description, once and first; then packets of RTP and RTCP
//! ```
//!
//! The web-server reads nothing of a packet: it puts the number of an interleaved channel in the place of the lane.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize};

/// Bytes before each frame.
pub const HEADER: usize = 4;
/// The longest frame: a description with parameter sets of the largest size that there are, and longer than any packet.
pub const MAX_FRAME: usize = 8 * 1024;
/// Payload type of the pictures.
pub const VIDEO_TYPE: u8 = 96;
/// Payload type of the sound.
pub const AUDIO_TYPE: u8 = 97;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// A [`Description`], as JSON.
    Description,
    /// RTP.
    Media(Track),
    /// RTCP.
    Report(Track),
}

/// One of the two streams of packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Track {
    /// H.264 (RFC 6184), 90 kHz.
    Video,
    /// Opus (RFC 7587), 48 kHz.
    Audio,
}

const LANES: [(Lane, u8); 5] = [
    (Lane::Description, 0),
    (Lane::Media(Track::Video), 1),
    (Lane::Report(Track::Video), 2),
    (Lane::Media(Track::Audio), 3),
    (Lane::Report(Track::Audio), 4),
];

/// What the packets are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Description {
    /// Sequence parameter set of the first picture, four bytes at least.
    pub sps: Vec<u8>,
    /// Picture parameter set.
    pub pps: Vec<u8>,
    /// The pictures.
    pub video: Start,
    /// The sound, if there is any.
    pub audio: Option<Start>,
}

/// Where a track begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Start {
    /// Of all of its packets.
    pub ssrc: u32,
    /// Sequence number of its first packet.
    pub sequence: u16,
    /// Timestamp of the beginning of the stream.
    pub timestamp: u32,
}

/// A frame that is none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A frame that is too long.
    #[error("a frame has {0} bytes, more than may be")]
    TooLong(usize),
    /// A lane that does not exist.
    #[error("there is no lane {0}")]
    Lane(u8),
}

/// Appends a frame of these pieces. One that is too long is left out.
pub fn put(out: &mut impl BufMut, lane: Lane, pieces: &[&[u8]]) {
    let len = pieces.iter().map(|piece| piece.len()).sum::<usize>();
    if len > MAX_FRAME {
        return;
    }
    let byte = LANES.iter().find(|(known, _)| *known == lane).map_or(0, |(_, byte)| *byte);
    out.put_u8(byte);
    out.put_u8(0);
    out.put_u16(len as u16);
    for piece in pieces {
        out.put_slice(piece);
    }
}

/// Takes the next frame, once it is whole.
///
/// # Errors
/// See [`Malformed`]: nothing after it can be read.
pub fn take(buffer: &mut BytesMut) -> Result<Option<(Lane, Bytes)>, Malformed> {
    let Some(header) = buffer.first_chunk::<HEADER>() else { return Ok(None) };
    let len = usize::from(u16::from_be_bytes([header[2], header[3]]));
    let lane = LANES.iter().find(|(_, byte)| *byte == header[0]).map(|(lane, _)| *lane);
    let lane = lane.ok_or(Malformed::Lane(header[0]))?;
    if len > MAX_FRAME {
        return Err(Malformed::TooLong(len));
    }
    if buffer.len() < HEADER + len {
        return Ok(None);
    }
    buffer.advance(HEADER);
    Ok(Some((lane, buffer.split_to(len).freeze())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_as_they_went_in() {
        let mut out = BytesMut::new();
        for (lane, byte) in LANES {
            put(&mut out, lane, &[&[byte; 3], &[9]]);
        }
        put(&mut out, Lane::Description, &[&[0; MAX_FRAME + 1]]);
        let mut half = out.split_off(7);
        for (n, (lane, byte)) in LANES.into_iter().enumerate() {
            if n == 0 {
                assert_eq!(take(&mut out), Ok(None), "it is not whole");
                out.unsplit(half.split());
            }
            assert_eq!(take(&mut out), Ok(Some((lane, Bytes::from(vec![byte, byte, byte, 9])))));
        }
        assert_eq!((take(&mut out), out.len()), (Ok(None), 0));
    }

    #[test]
    fn what_is_no_frame_is_an_error() {
        for (bytes, error) in
            [([7, 0, 0, 1], Malformed::Lane(7)), ([1, 0, 0xff, 0xff], Malformed::TooLong(65_535))]
        {
            assert_eq!(take(&mut BytesMut::from(&bytes[..])), Err(error));
        }
    }
}
