//! Cuts access units into RTP payloads, once per feed: H.264 (RFC 6184), H.265 (RFC 7798), VP8 (RFC 7741), VP9 (RFC 9628)
//! and AV1 (the AOM's RTP payload specification).
//!
//! The parts of a picture that needs more than one packet are of equal size but for the last, so that they can leave in
//! one segmented send. All payloads of a unit lie in one buffer. Nothing is kept from one unit to the next.

mod annex_b;
mod av1;
pub mod h264;
mod h265;
mod vp8;
mod vp9;

use bytes::{BufMut, Bytes, BytesMut};
use common::media::VideoCodec;

use crate::media::AccessUnit;
pub use annex_b::nal_units;
pub use av1::obus;

/// Longest payload, in bytes. With RTP header, extensions and the SRTP tag a datagram stays within 1200
/// bytes, which passes every path that WebRTC is used on (IPv6's 1280 less tunnels).
pub const MAX_PAYLOAD: usize = 1152;

/// Bits of picture numbers (VP8, VP9).
const PICTURE_ID_BITS: u16 = 0x7fff;
/// The bit in front of them: there are 15 bits, not 7.
const LONG_PICTURE_ID: u16 = 0x8000;

/// The RTP payloads of the `number`th unit of a feed; none when there is nothing in it that a receiver needs.
pub fn payloads(unit: &AccessUnit, number: u64) -> Vec<Bytes> {
    match unit.codec {
        VideoCodec::H264 => h264::payloads(&unit.data),
        VideoCodec::H265 => h265::payloads(&unit.data),
        VideoCodec::VP8 => vp8::payloads(&unit.data, picture_id(number)),
        VideoCodec::VP9 => vp9::payloads(&unit.data, unit.keyframe, picture_id(number)),
        VideoCodec::AV1 => av1::payloads(&unit.data, unit.keyframe),
    }
}

/// The picture number in the payloads of the `number`th unit of a feed, in codecs that have one.
pub fn picture_id(number: u64) -> u16 {
    // Only the low bits are used.
    number as u16 & PICTURE_ID_BITS
}

/// The payload with this number of its picture. One that has no number of 15 bits, as those of publishers may not, stays as it is.
pub fn numbered(codec: VideoCodec, payload: &Bytes, id: u16) -> Bytes {
    let at = match codec {
        VideoCodec::VP8 => vp8::picture_id_at(payload),
        VideoCodec::VP9 => vp9::picture_id_at(payload),
        VideoCodec::H264 | VideoCodec::H265 | VideoCodec::AV1 => None,
    };
    let number = at.and_then(|at| Some((at, payload.get(at..at + 2)?)));
    let Some((at, _)) = number.filter(|(_, number)| number[0] & 0x80 != 0 && **number != long_picture_id(id))
    else {
        return payload.clone();
    };
    let mut renumbered = BytesMut::from(&payload[..]);
    renumbered[at..at + 2].copy_from_slice(&long_picture_id(id));
    renumbered.freeze()
}

fn long_picture_id(id: u16) -> [u8; 2] {
    (id | LONG_PICTURE_ID).to_be_bytes()
}

/// Payloads that are being written, one after another into one buffer.
struct Cut {
    buffer: BytesMut,
    ends: Vec<usize>,
}

impl Cut {
    /// Payloads, with room for a unit of this many bytes.
    fn of(len: usize) -> Self {
        let buffer = BytesMut::with_capacity(len + len / 128 + 64);
        Self { buffer, ends: Vec::with_capacity(len / MAX_PAYLOAD + 4) }
    }

    /// Adds one payload of these pieces.
    fn payload(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            self.buffer.put_slice(piece);
        }
        self.ends.push(self.buffer.len());
    }

    /// Adds one payload of `header` and all of these, each after its length in two bytes (RFC 6184 §5.7.1, RFC 7798 §4.4.2).
    /// False when there are fewer than two or they do not fit.
    fn aggregate(&mut self, header: &[u8], units: &[&[u8]]) -> bool {
        let total = header.len() + units.iter().map(|unit| 2 + unit.len()).sum::<usize>();
        if units.len() < 2 || total > MAX_PAYLOAD {
            return false;
        }
        self.buffer.put_slice(header);
        for unit in units {
            // Fits: the total is at most MAX_PAYLOAD.
            self.buffer.put_u16(unit.len() as u16);
            self.buffer.put_slice(unit);
        }
        self.ends.push(self.buffer.len());
        true
    }

    /// Cuts `data` into parts of equal size that fit behind headers of `header` bytes. `put` is told whether a part is the
    /// first and whether it is the last.
    fn fragments(&mut self, data: &[u8], header: usize, mut put: impl FnMut(bool, bool, &[u8], &mut Self)) {
        if data.is_empty() {
            return;
        }
        let parts = data.len().div_ceil(MAX_PAYLOAD - header);
        let size = data.len().div_ceil(parts);
        let last = data.len().div_ceil(size) - 1;
        for (n, part) in data.chunks(size).enumerate() {
            put(n == 0, n == last, part, self);
        }
    }

    fn finish(self) -> Vec<Bytes> {
        let all = self.buffer.freeze();
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, &end)| all.slice(start..end)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_number_of_a_picture_is_changed() {
        for (codec, at) in [(VideoCodec::VP8, 2), (VideoCodec::VP9, 1)] {
            let unit = AccessUnit { codec, ..AccessUnit::sample(&[0xa2; 2000], true) };
            let payload = &payloads(&unit, 0x1_8003)[0];
            assert_eq!(payload[at..at + 2], [0x80, 3], "{codec:?}");
            assert_eq!(numbered(codec, payload, 3).as_ptr(), payload.as_ptr(), "nothing is copied");
            let other = numbered(codec, payload, 0x7ffe);
            assert_eq!(other[at..at + 2], [0xff, 0xfe]);
            assert_eq!((&other[..at], &other[at + 2..]), (&payload[..at], &payload[at + 2..]));
        }
    }

    #[test]
    fn payloads_without_a_long_number_stay_as_they_are() {
        for (codec, payload) in [
            (VideoCodec::VP8, &[0x10, 0x80, 0x80, 1][..]),
            (VideoCodec::VP8, &[0x90, 0x40, 0x80, 1]),
            (VideoCodec::VP8, &[0x90, 0x80, 0x7f, 1]),
            (VideoCodec::VP8, &[0x90, 0x80, 0x80]),
            (VideoCodec::VP9, &[0x08, 0x80, 1]),
            (VideoCodec::VP9, &[0x88, 0x7f, 1]),
            (VideoCodec::VP9, &[0x88]),
            (VideoCodec::H264, &[0x90, 0x80, 0x80, 1]),
        ] {
            let payload = Bytes::copy_from_slice(payload);
            assert_eq!(numbered(codec, &payload, 5), payload, "{codec:?}");
        }
    }
}
