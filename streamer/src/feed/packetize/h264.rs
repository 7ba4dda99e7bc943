//! H.264, RFC 6184, packetization-mode 1.

use bytes::Bytes;

use super::{Cut, MAX_PAYLOAD, nal_units};

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

/// The RTP payloads of one access unit. Parameter sets travel together in a STAP-A;
/// delimiters and filler, which no receiver needs, are left out.
pub fn payloads(annex_b: &[u8]) -> Vec<Bytes> {
    let mut cut = Cut::of(annex_b.len());
    let mut parameter_sets: Vec<&[u8]> = Vec::new();
    for unit in nal_units(annex_b) {
        match unit[0] & TYPE_MASK {
            ACCESS_UNIT_DELIMITER | FILLER => {}
            SPS | PPS => parameter_sets.push(unit),
            _ => {
                put_parameter_sets(&mut parameter_sets, &mut cut);
                put_unit(unit, &mut cut);
            }
        }
    }
    put_parameter_sets(&mut parameter_sets, &mut cut);
    cut.finish()
}

fn put_parameter_sets(sets: &mut Vec<&[u8]>, cut: &mut Cut) {
    let nri = sets.iter().map(|set| set[0] & NRI_MASK).max().unwrap_or(NRI_MASK);
    if !cut.aggregate(&[nri | STAP_A], sets) {
        for set in sets.iter() {
            put_unit(set, cut);
        }
    }
    sets.clear();
}

fn put_unit(unit: &[u8], cut: &mut Cut) {
    if unit.len() <= MAX_PAYLOAD {
        return cut.payload(&[unit]);
    }
    let indicator = unit[0] & !TYPE_MASK | FU_A;
    let kind = unit[0] & TYPE_MASK;
    cut.fragments(&unit[1..], 2, |first, last, part, cut| {
        let start = if first { FU_START } else { 0 };
        let end = if last { FU_END } else { 0 };
        cut.payload(&[&[indicator, kind | start | end], part]);
    });
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
        let payloads = payloads(&annex_b(&units));
        assert_eq!(depacketize(&payloads), units);
        assert_eq!(payloads.len(), 6);
        let fragments: Vec<_> = payloads[1..].iter().map(Bytes::len).collect();
        assert!(fragments[..4].iter().all(|&len| len == fragments[0]) && fragments[4] <= fragments[0]);
        assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
    }

    #[test]
    fn delimiters_and_filler_do_not_travel() {
        let units = [vec![9, 0xf0], nal(1, 30), nal(12, 40)];
        assert_eq!(depacketize(&payloads(&annex_b(&units))), [nal(1, 30)]);
    }

    proptest! {
        #[test]
        fn every_unit_arrives_whole(lens in proptest::collection::vec(2usize..9000, 1..6)) {
            let units: Vec<_> = lens.iter().map(|&len| nal(1, len)).collect();
            let payloads = payloads(&annex_b(&units));
            prop_assert!(payloads.iter().all(|p| p.len() <= MAX_PAYLOAD));
            prop_assert_eq!(depacketize(&payloads), units);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(0u8..3, 0..400)) {
            payloads(&bytes);
        }
    }
}
