//! The size of AV1 pictures, out of their sequence header.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::h264::MAX_SIDE;
use crate::feed::packetize::obus;
use crate::media::Size;

/// Type of an OBU that is a sequence header.
const SEQUENCE_HEADER: u8 = 1;
/// Longest one that is looked into.
const MAX_HEADER: usize = 256;

/// The largest size that the sequence header of a temporal unit allows, which is that of its pictures in what hosts and
/// cameras send. `None` when it has none.
pub fn size(temporal_unit: &[u8]) -> Option<Size> {
    let header = obus(temporal_unit).find(|obu| obu.kind == SEQUENCE_HEADER)?;
    let size = read(&header.payload[..header.payload.len().min(MAX_HEADER)]).ok()?;
    let is_one = |side: u32| (1..=MAX_SIDE).contains(&side);
    (is_one(size.width) && is_one(size.height)).then_some(size)
}

/// AV1 §5.5.1, as far as the size.
fn read(payload: &[u8]) -> Result<Size, BitReaderError> {
    let mut bits = BitReader::new(payload);
    bits.skip(4, "seq_profile, still_picture")?;
    if bits.read_bool("reduced_still_picture_header")? {
        bits.skip(5, "seq_level_idx")?;
    } else {
        skip_operating_points(&mut bits)?;
    }
    let width_bits: u32 = bits.read::<u32>(4, "frame_width_bits_minus_1")? + 1;
    let height_bits: u32 = bits.read::<u32>(4, "frame_height_bits_minus_1")? + 1;
    let width = bits.read::<u32>(width_bits, "max_frame_width_minus_1")? + 1;
    let height = bits.read::<u32>(height_bits, "max_frame_height_minus_1")? + 1;
    Ok(Size { width, height })
}

fn skip_operating_points(bits: &mut impl BitRead) -> Result<(), BitReaderError> {
    /// Levels above this one have a tier.
    const LAST_WITHOUT_TIER: u32 = 7;
    let mut delay_bits = None;
    if bits.read_bool("timing_info_present_flag")? {
        bits.skip(64, "num_units_in_display_tick, time_scale")?;
        if bits.read_bool("equal_picture_interval")? {
            bits.read_ue("num_ticks_per_picture_minus_1")?;
        }
        if bits.read_bool("decoder_model_info_present_flag")? {
            delay_bits = Some(bits.read::<u32>(5, "buffer_delay_length_minus_1")? + 1);
            bits.skip(42, "the rest of the decoder model")?;
        }
    }
    let has_display_delay = bits.read_bool("initial_display_delay_present_flag")?;
    let points = bits.read::<u32>(5, "operating_points_cnt_minus_1")? + 1;
    for _ in 0..points {
        bits.skip(12, "operating_point_idc")?;
        if bits.read::<u32>(5, "seq_level_idx")? > LAST_WITHOUT_TIER {
            bits.skip(1, "seq_tier")?;
        }
        if let Some(delay_bits) = delay_bits
            && bits.read_bool("decoder_model_present_for_this_op")?
        {
            bits.skip(2 * delay_bits + 1, "operating parameters")?;
        }
        if has_display_delay && bits.read_bool("initial_display_delay_present_for_this_op")? {
            bits.skip(4, "initial_display_delay_minus_1")?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_size_is_in_the_sequence_header() {
        // As SVT-AV1 and libaom write them, 640×360, behind a delimiter.
        for last in [[0x3e, 0xfe, 0x40, 0x10], [0x36, 0xbe, 0x40, 0x10]] {
            let header = [&[0, 0, 0, 0x0c, 0xc4, 0xff, 0x67][..], &last].concat();
            let size = size(&[&[0x12, 0, 0x0a, 11][..], &header].concat());
            assert_eq!(size, Some(Size { width: 640, height: 360 }));
        }
        assert_eq!(size(&[0x12, 0, 0x32, 1, 7]), None);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            size(&bytes);
            size(&[&[0x0a, 50][..], &bytes].concat());
        }
    }
}
