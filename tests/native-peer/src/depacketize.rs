//! From RTP payloads back to access units, of packets that arrive in order: H.264 (RFC 6184), H.265 (RFC 7798) and AV1 (the
//! AOM's RTP payload specification).

use bytes::Bytes;
use common::media::VideoCodec;

use crate::Unit;

/// H.264: several NAL units, and a piece of one.
const STAP_A: u8 = 24;
const FU_A: u8 = 28;
/// H.265: the same.
const AGGREGATION: u8 = 48;
const FRAGMENT: u8 = 49;
/// In the header of a piece: the first one.
const FU_START: u8 = 0x80;
/// AV1, in the aggregation header: the first element goes on with the last one before; the last one goes on.
const CONTINUES: u8 = 0x80;
const CONTINUED: u8 = 0x40;
/// AV1, in the header of an OBU.
const HAS_EXTENSION: u8 = 0x04;
const HAS_SIZE: u8 = 0x02;
const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// One stream. A unit with a packet missing is left out.
#[derive(Default)]
pub struct Depacketizer {
    next_sequence: Option<u16>,
    rtp_time: u32,
    data: Vec<u8>,
    /// AV1: an element whose rest is still to come.
    element: Vec<u8>,
    broken: bool,
}

impl Depacketizer {
    /// Takes a packet; returns the unit that it completes.
    pub fn push(&mut self, codec: VideoCodec, header: &rtc::rtp::Header, payload: &[u8]) -> Option<Unit> {
        let follows = self.next_sequence.is_none_or(|next| next == header.sequence_number);
        self.next_sequence = Some(header.sequence_number.wrapping_add(1));
        if header.timestamp != self.rtp_time {
            self.rtp_time = header.timestamp;
            self.data.clear();
            self.element.clear();
            self.broken = false;
        }
        self.broken |= !follows;
        match codec {
            VideoCodec::H265 => self.h265(payload),
            VideoCodec::AV1 => self.av1(payload),
            _ => self.h264(payload),
        }
        if !header.marker {
            return None;
        }
        self.broken |= !self.element.is_empty();
        let data = Bytes::from(std::mem::take(&mut self.data));
        let whole = !std::mem::take(&mut self.broken) && !data.is_empty();
        whole.then_some(Unit { ssrc: header.ssrc, rtp_time: header.timestamp, data })
    }

    fn nal(&mut self, pieces: &[&[u8]]) {
        self.data.extend_from_slice(&START_CODE);
        for piece in pieces {
            self.data.extend_from_slice(piece);
        }
    }

    /// NAL units, each behind its length.
    fn aggregate(&mut self, mut rest: &[u8]) {
        while let Some((len, tail)) = rest.split_first_chunk::<2>() {
            let Some((nal, tail)) = tail.split_at_checked(u16::from_be_bytes(*len).into()) else { return };
            self.nal(&[nal]);
            rest = tail;
        }
    }

    /// A piece of a NAL unit, which begins with `nal_header` if it is the first one.
    fn fragment(&mut self, fu_header: u8, nal_header: &[u8], body: &[u8]) {
        let first = fu_header & FU_START != 0;
        // In the middle of a unit when nothing came before: its beginning was lost.
        self.broken |= !first && self.data.is_empty();
        if first {
            self.nal(&[nal_header]);
        }
        self.data.extend_from_slice(body);
    }

    fn h264(&mut self, payload: &[u8]) {
        let Some((&first, rest)) = payload.split_first() else { return };
        match first & 0x1f {
            STAP_A => self.aggregate(rest),
            FU_A => {
                let Some((&header, body)) = rest.split_first() else { return };
                self.fragment(header, &[first & 0xe0 | header & 0x1f], body);
            }
            _ => self.nal(&[payload]),
        }
    }

    fn h265(&mut self, payload: &[u8]) {
        let Some((&[first, second], rest)) = payload.split_first_chunk() else { return };
        match first >> 1 & 0x3f {
            AGGREGATION => self.aggregate(rest),
            FRAGMENT => {
                let Some((&header, body)) = rest.split_first() else { return };
                self.fragment(header, &[first & 0x81 | (header & 0x3f) << 1, second], body);
            }
            _ => self.nal(&[payload]),
        }
    }

    /// Elements that are all behind their lengths.
    fn av1(&mut self, payload: &[u8]) {
        let Some((&header, mut rest)) = payload.split_first() else { return };
        self.broken |= (header & CONTINUES != 0) == self.element.is_empty();
        while let Some((len, tail)) = leb128(rest) {
            let Some((part, tail)) = tail.split_at_checked(len) else { return self.broken = true };
            self.element.extend_from_slice(part);
            rest = tail;
            if !rest.is_empty() || header & CONTINUED == 0 {
                self.end_element();
            }
        }
    }

    /// The element becomes an OBU with a length, as in the low-overhead bitstream.
    fn end_element(&mut self) {
        let element = std::mem::take(&mut self.element);
        let head = 1 + usize::from(element.first().is_some_and(|header| header & HAS_EXTENSION != 0));
        let Some((head, body)) = element.split_at_checked(head) else { return self.broken = true };
        self.data.push(head[0] | HAS_SIZE);
        self.data.extend_from_slice(&head[1..]);
        let mut len = body.len();
        while len >= 0x80 {
            // The low bits are what is meant.
            self.data.push(len as u8 | 0x80);
            len >>= 7;
        }
        self.data.push(len as u8);
        self.data.extend_from_slice(body);
    }
}

/// AV1 §4.10.5, of at most four bytes.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = bytes.iter().take(4).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(len);
    Some((number.iter().rev().fold(0, |value, byte| value << 7 | usize::from(byte & 0x7f)), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(depacketizer: &mut Depacketizer, sequence: u16, marker: bool, payload: &[u8]) -> Option<Bytes> {
        let header =
            rtc::rtp::Header { sequence_number: sequence, timestamp: 7, marker, ..Default::default() };
        depacketizer.push(VideoCodec::H264, &header, payload).map(|unit| unit.data)
    }

    #[test]
    fn aggregates_fragments_and_single_units_become_one_access_unit() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 9, false, &[24, 0, 1, 0x67, 0, 2, 0x68, 5]), None);
        assert_eq!(push(&mut stream, 10, false, &[0x7c, 0x85, 1, 2]), None);
        assert_eq!(push(&mut stream, 11, false, &[0x7c, 0x45, 3]), None);
        let unit = push(&mut stream, 12, true, &[0x41, 9]).unwrap();
        assert_eq!(
            unit[..],
            [0, 0, 0, 1, 0x67, 0, 0, 0, 1, 0x68, 5, 0, 0, 0, 1, 0x65, 1, 2, 3, 0, 0, 0, 1, 0x41, 9]
        );
    }

    #[test]
    fn a_unit_without_its_beginning_is_left_out() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 1, true, &[0x7c, 0x45, 3]), None);
        assert!(push(&mut stream, 2, true, &[0x41, 3]).is_some());
    }

    #[test]
    fn a_unit_with_a_hole_is_left_out_and_the_next_one_is_not() {
        let mut stream = Depacketizer::default();
        assert_eq!(push(&mut stream, 1, false, &[0x41, 1]), None);
        assert_eq!(push(&mut stream, 3, true, &[0x41, 2]), None);
        assert!(push(&mut stream, 4, true, &[0x41, 3]).is_some());
    }

    fn whole(codec: VideoCodec, payloads: &[&[u8]]) -> Option<Bytes> {
        let mut stream = Depacketizer::default();
        let last = payloads.len() - 1;
        let units = (0..).zip(payloads).filter_map(|(n, payload)| {
            let marker = usize::from(n) == last;
            let header = rtc::rtp::Header { sequence_number: n, timestamp: 7, marker, ..Default::default() };
            stream.push(codec, &header, payload)
        });
        units.map(|unit| unit.data).next()
    }

    #[test]
    fn h265_comes_in_aggregates_and_fragments() {
        let payloads: [&[u8]; 3] =
            [&[0x60, 1, 0, 3, 0x40, 1, 7, 0, 2, 0x42, 1], &[0x62, 1, 0x93, 5], &[0x62, 1, 0x53, 6]];
        let unit = [0, 0, 0, 1, 0x40, 1, 7, 0, 0, 0, 1, 0x42, 1, 0, 0, 0, 1, 0x26, 1, 5, 6];
        assert_eq!(whole(VideoCodec::H265, &payloads).unwrap()[..], unit);
        assert_eq!(whole(VideoCodec::H265, &payloads[2..]), None, "its beginning is missing");
    }

    #[test]
    fn obus_get_their_lengths_back() {
        let payloads: [&[u8]; 2] = [&[0x48, 2, 0x08, 9, 3, 0x34, 0x20, 1], &[0x80, 1, 2]];
        assert_eq!(whole(VideoCodec::AV1, &payloads).unwrap()[..], [0x0a, 1, 9, 0x36, 0x20, 2, 1, 2]);
        assert_eq!(whole(VideoCodec::AV1, &payloads[..1]), None, "its end is missing");
    }
}
