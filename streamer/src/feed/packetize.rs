//! Cuts access units into RTP payloads, once per feed (RFC 6184, packetization-mode 1).
//!
//! The parts of a NAL unit that needs more than one packet (FU-A) are of equal size but for the last,
//! so that they can leave in one segmented send. All payloads of a unit lie in one buffer.

use bytes::{BufMut, Bytes, BytesMut};

/// Longest payload, in bytes. With RTP header, extensions and the SRTP tag a datagram stays within 1200
/// bytes, which passes every path that WebRTC is used on (IPv6's 1280 less tunnels).
pub const MAX_PAYLOAD: usize = 1152;

/// `nal_unit_type` in the first byte of a NAL unit (H.264 §7.3.1).
pub const TYPE_MASK: u8 = 0x1f;
/// Type of a payload of several NAL units (RFC 6184 §5.7.1).
pub const STAP_A: u8 = 24;
/// Type of a payload with a part of a NAL unit (RFC 6184 §5.8).
pub const FU_A: u8 = 28;
/// In an FU header: its first part.
pub const FU_START: u8 = 0x80;
/// In an FU header: its last part.
pub const FU_END: u8 = 0x40;
const NRI_MASK: u8 = 0x60;
const SPS: u8 = 7;
const PPS: u8 = 8;
const ACCESS_UNIT_DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// The NAL units of an Annex B byte stream (H.264 §B.1), without start codes.
///
/// Empty units and trailing zero bytes are left out. Bytes before the first start code are ignored.
pub fn nal_units(annex_b: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = after_start_code(annex_b).unwrap_or_default();
    std::iter::from_fn(move || {
        while !rest.is_empty() {
            let end = find_start_code(rest).unwrap_or(rest.len());
            let (unit, tail) = rest.split_at(end);
            rest = after_start_code(tail).unwrap_or_default();
            // A trailing_zero_8bits or the first byte of a four byte start code.
            let len = unit.iter().rposition(|&b| b != 0).map_or(0, |last| last + 1);
            if len > 0 {
                return Some(&unit[..len]);
            }
        }
        None
    })
}

fn after_start_code(bytes: &[u8]) -> Option<&[u8]> {
    find_start_code(bytes).map(|at| &bytes[at + 3..])
}

/// Where the next `00 00 01` begins. Steps by up to three bytes: most bytes of video are above one.
fn find_start_code(bytes: &[u8]) -> Option<usize> {
    let mut at = 2;
    while at < bytes.len() {
        match bytes[at] {
            1 if bytes[at - 1] == 0 && bytes[at - 2] == 0 => return Some(at - 2),
            0 => at += 1,
            _ => at += 3,
        }
    }
    None
}

/// The RTP payloads of one H.264 access unit. Parameter sets travel together in a STAP-A;
/// delimiters and filler, which no receiver needs, are left out.
pub fn h264(annex_b: &[u8]) -> Vec<Bytes> {
    let mut buffer = BytesMut::with_capacity(annex_b.len() + annex_b.len() / 256 + 64);
    let mut ends = Vec::with_capacity(annex_b.len() / MAX_PAYLOAD + 4);
    let mut parameter_sets: Vec<&[u8]> = Vec::new();
    for unit in nal_units(annex_b) {
        match unit[0] & TYPE_MASK {
            ACCESS_UNIT_DELIMITER | FILLER => {}
            SPS | PPS => parameter_sets.push(unit),
            _ => {
                put_parameter_sets(&mut parameter_sets, &mut buffer, &mut ends);
                put_unit(unit, &mut buffer, &mut ends);
            }
        }
    }
    put_parameter_sets(&mut parameter_sets, &mut buffer, &mut ends);
    let all = buffer.freeze();
    let starts = std::iter::once(0).chain(ends.iter().copied());
    starts.zip(&ends).map(|(start, &end)| all.slice(start..end)).collect()
}

fn put_parameter_sets(sets: &mut Vec<&[u8]>, buffer: &mut BytesMut, ends: &mut Vec<usize>) {
    let total: usize = 1 + sets.iter().map(|set| 2 + set.len()).sum::<usize>();
    if sets.len() > 1 && total <= MAX_PAYLOAD {
        let nri = sets.iter().map(|set| set[0] & NRI_MASK).max().unwrap_or(NRI_MASK);
        buffer.put_u8(nri | STAP_A);
        for set in sets.iter() {
            // Fits: the total is at most MAX_PAYLOAD.
            buffer.put_u16(set.len() as u16);
            buffer.put_slice(set);
        }
        ends.push(buffer.len());
    } else {
        sets.iter().for_each(|set| put_unit(set, buffer, ends));
    }
    sets.clear();
}

fn put_unit(unit: &[u8], buffer: &mut BytesMut, ends: &mut Vec<usize>) {
    if unit.len() <= MAX_PAYLOAD {
        buffer.put_slice(unit);
        ends.push(buffer.len());
        return;
    }
    let indicator = unit[0] & !TYPE_MASK | FU_A;
    let kind = unit[0] & TYPE_MASK;
    let body = &unit[1..];
    let parts = body.len().div_ceil(MAX_PAYLOAD - 2);
    let size = body.len().div_ceil(parts);
    let last = body.len().div_ceil(size) - 1;
    for (n, part) in body.chunks(size).enumerate() {
        let start = if n == 0 { FU_START } else { 0 };
        let end = if n == last { FU_END } else { 0 };
        buffer.put_slice(&[indicator, kind | start | end]);
        buffer.put_slice(part);
        ends.push(buffer.len());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The receiver's side of RFC 6184, written from the document.
    fn depacketize(payloads: &[Bytes]) -> Vec<Vec<u8>> {
        let mut units: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            match payload[0] & 0x1f {
                24 => {
                    let mut rest = &payload[1..];
                    while !rest.is_empty() {
                        let len = u16::from_be_bytes([rest[0], rest[1]]) as usize;
                        units.push(rest[2..2 + len].to_vec());
                        rest = &rest[2 + len..];
                    }
                }
                28 => {
                    if payload[1] & 0x80 != 0 {
                        units.push(vec![payload[0] & 0xe0 | payload[1] & 0x1f]);
                    }
                    units.last_mut().unwrap().extend_from_slice(&payload[2..]);
                }
                _ => units.push(payload.to_vec()),
            }
        }
        units
    }

    fn annex_b(units: &[Vec<u8>]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], unit.as_slice()].concat()).collect()
    }

    /// A NAL unit without emulated start codes and without zeros at its end.
    fn nal(kind: u8, len: usize) -> Vec<u8> {
        std::iter::once(0x60 | kind).chain((1..len).map(|n| (n % 250) as u8 + 1)).collect()
    }

    #[test]
    fn a_keyframe_is_one_aggregate_and_equal_fragments() {
        let units = [nal(7, 20), nal(8, 5), nal(5, 5000)];
        let payloads = h264(&annex_b(&units));
        assert_eq!(depacketize(&payloads), units);
        assert_eq!(payloads.len(), 6);
        let fragments: Vec<_> = payloads[1..].iter().map(Bytes::len).collect();
        assert!(fragments[..4].iter().all(|&len| len == fragments[0]) && fragments[4] <= fragments[0]);
        assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
    }

    #[test]
    fn delimiters_and_filler_do_not_travel() {
        let units = [vec![9, 0xf0], nal(1, 30), nal(12, 40)];
        assert_eq!(depacketize(&h264(&annex_b(&units))), [nal(1, 30)]);
    }

    #[test]
    fn three_byte_start_codes_and_trailing_zeros_are_understood() {
        let stream = [&[0, 0, 1, 0x65, 7, 7], &[0, 0, 0, 0][..], &[0, 0, 1, 0x41, 9]].concat();
        assert_eq!(nal_units(&stream).collect::<Vec<_>>(), [&[0x65, 7, 7][..], &[0x41, 9]]);
        assert_eq!(nal_units(&[1, 2, 3]).count(), 0);
        assert_eq!(nal_units(&[0, 0, 1]).count(), 0);
    }

    proptest! {
        #[test]
        fn every_unit_arrives_whole(lens in proptest::collection::vec(2usize..9000, 1..6)) {
            let units: Vec<_> = lens.iter().map(|&len| nal(1, len)).collect();
            let payloads = h264(&annex_b(&units));
            prop_assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
            prop_assert_eq!(depacketize(&payloads), units);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8..3, 0..400)) {
            h264(&bytes);
        }
    }
}
