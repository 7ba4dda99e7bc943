//! H.265, RFC 7798, without decoding order numbers (`sprop-max-don-diff=0`).

use bytes::Bytes;

use super::{Cut, MAX_PAYLOAD, nal_units};

/// Length of the header of a NAL unit, and of a payload (H.265 §7.3.1.2).
const HEADER: usize = 2;
/// The type is in the first byte, between a zero and the highest bit of the layer.
const TYPE_MASK: u8 = 0x7e;
/// Type of a payload of several NAL units (§4.4.2).
const AGGREGATION: u8 = 48 << 1;
/// Type of a payload with a part of a NAL unit (§4.4.3).
const FRAGMENT: u8 = 49 << 1;
/// In an FU header: its first part.
const FU_START: u8 = 0x80;
/// In an FU header: its last part.
const FU_END: u8 = 0x40;
/// Types of NAL units, H.265 table 7-1.
const VPS: u8 = 32;
const PPS: u8 = 34;
const ACCESS_UNIT_DELIMITER: u8 = 35;
const FILLER: u8 = 38;

/// The RTP payloads of one access unit. Parameter sets travel together; delimiters and filler are left out.
pub fn payloads(annex_b: &[u8]) -> Vec<Bytes> {
    let mut cut = Cut::of(annex_b.len());
    let mut parameter_sets: Vec<&[u8]> = Vec::new();
    for unit in nal_units(annex_b).filter(|unit| unit.len() > HEADER) {
        match (unit[0] & TYPE_MASK) >> 1 {
            ACCESS_UNIT_DELIMITER | FILLER => {}
            VPS..=PPS => parameter_sets.push(unit),
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
    // Layer and temporal identifier are the lowest of the contained units: parameter sets have those of the base layer.
    if !cut.aggregate(&[AGGREGATION, 1], sets) {
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
    let header = [unit[0] & !TYPE_MASK | FRAGMENT, unit[1]];
    let kind = (unit[0] & TYPE_MASK) >> 1;
    cut.fragments(&unit[HEADER..], HEADER + 1, |first, last, part, cut| {
        let start = if first { FU_START } else { 0 };
        let end = if last { FU_END } else { 0 };
        cut.payload(&[&header, &[kind | start | end], part]);
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn annex_b(units: &[&[u8]]) -> Vec<u8> {
        units.iter().flat_map(|unit| [&[0, 0, 0, 1], *unit].concat()).collect()
    }

    #[test]
    fn a_keyframe_is_one_aggregate_and_its_slice() {
        // VPS, SPS, PPS, a delimiter, IDR_W_RADL.
        let vps = [0x40, 1, 0x0c];
        let sps = [0x42, 1, 2, 3];
        let pps = [0x44, 1, 9];
        let stream = annex_b(&[&[0x46, 1, 0x50], &vps, &sps, &pps, &[0x26, 1, 0xaf, 7]]);
        let aggregate = [0x60, 1, 0, 3, 0x40, 1, 0x0c, 0, 4, 0x42, 1, 2, 3, 0, 3, 0x44, 1, 9];
        assert_eq!(payloads(&stream), [aggregate.to_vec(), vec![0x26, 1, 0xaf, 7]]);
    }

    #[test]
    fn a_long_slice_is_cut_into_equal_fragments() {
        let slice: Vec<u8> = [0x02, 1].into_iter().chain((0..3000).map(|n| (n % 250) as u8 + 1)).collect();
        let cut = payloads(&annex_b(&[&slice]));
        // Type 49, layer 0, temporal identifier 1; then S, E and type 1.
        let headers: Vec<_> = cut.iter().map(|payload| payload[..3].to_vec()).collect();
        assert_eq!(headers, [[0x62, 1, 0x81], [0x62, 1, 0x01], [0x62, 1, 0x41]]);
        assert_eq!(cut.iter().map(Bytes::len).collect::<Vec<_>>(), [1003, 1003, 1003]);
        assert_eq!(cut.iter().flat_map(|payload| payload[3..].to_vec()).collect::<Vec<_>>(), slice[2..]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![0u8..3, any::<u8>()], 0..3000)) {
            prop_assert!(payloads(&bytes).iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        }
    }
}
