//! Parses sequence headers of AV1 for the size of pictures, and for whether they declare their colours.

use h264_reader::rbsp::{BitRead, BitReader, BitReaderError};

use super::h264::MAX_SIDE;
use crate::feed::packetize::obus;
use crate::media::Size;

/// Type of an OBU that is a sequence header.
const SEQUENCE_HEADER: u8 = 1;
/// Longest sequence header that is parsed.
const MAX_HEADER: usize = 256;

/// The largest size that the sequence header of a temporal unit allows, which in streams of hosts and
/// cameras is that of its pictures. `None` without a sequence header.
pub fn size(temporal_unit: &[u8]) -> Option<Size> {
    let size = read_size(&mut sequence_header(temporal_unit)?).ok()?.0;
    let is_one = |side: u32| (1..=MAX_SIDE).contains(&side);
    (is_one(size.width) && is_one(size.height)).then_some(size)
}

/// Whether the sequence header of a temporal unit declares the colour matrix.
pub fn says_matrix(temporal_unit: &[u8]) -> bool {
    /// `MC_UNSPECIFIED`.
    const UNSPECIFIED: u32 = 2;
    let matrix = sequence_header(temporal_unit).and_then(|mut bits| read_matrix(&mut bits).ok().flatten());
    matrix.is_some_and(|matrix| matrix != UNSPECIFIED)
}

fn sequence_header(temporal_unit: &[u8]) -> Option<BitReader<&[u8]>> {
    let header = obus(temporal_unit).find(|obu| obu.kind == SEQUENCE_HEADER)?;
    Some(BitReader::new(&header.payload[..header.payload.len().min(MAX_HEADER)]))
}

/// Fields on which the rest of a sequence header depends.
struct Kind {
    profile: u32,
    reduced: bool,
}

/// AV1 §5.5.1, up to the size.
fn read_size(bits: &mut impl BitRead) -> Result<(Size, Kind), BitReaderError> {
    let profile = bits.read(3, "seq_profile")?;
    bits.skip(1, "still_picture")?;
    let reduced = bits.read_bool("reduced_still_picture_header")?;
    if reduced {
        bits.skip(5, "seq_level_idx")?;
    } else {
        skip_operating_points(bits)?;
    }
    let width_bits: u32 = bits.read::<u32>(4, "frame_width_bits_minus_1")? + 1;
    let height_bits: u32 = bits.read::<u32>(4, "frame_height_bits_minus_1")? + 1;
    let width = bits.read::<u32>(width_bits, "max_frame_width_minus_1")? + 1;
    let height = bits.read::<u32>(height_bits, "max_frame_height_minus_1")? + 1;
    Ok((Size { width, height }, Kind { profile, reduced }))
}

/// `matrix_coefficients`, if present: AV1 §5.5.2.
fn read_matrix(bits: &mut impl BitRead) -> Result<Option<u32>, BitReaderError> {
    let Kind { profile, reduced } = read_size(bits)?.1;
    if !reduced && bits.read_bool("frame_id_numbers_present_flag")? {
        bits.skip(7, "delta_frame_id_length_minus_2, additional_frame_id_length_minus_1")?;
    }
    bits.skip(3, "use_128x128_superblock, enable_filter_intra, enable_intra_edge_filter")?;
    if !reduced {
        skip_tools(bits)?;
    }
    bits.skip(3, "enable_superres, enable_cdef, enable_restoration")?;
    let high_bitdepth = bits.read_bool("high_bitdepth")?;
    if profile == 2 && high_bitdepth {
        bits.skip(1, "twelve_bit")?;
    }
    if profile != 1 {
        bits.skip(1, "mono_chrome")?;
    }
    if !bits.read_bool("color_description_present_flag")? {
        return Ok(None);
    }
    bits.skip(16, "color_primaries, transfer_characteristics")?;
    Ok(Some(bits.read(8, "matrix_coefficients")?))
}

/// The tools of streams that are not still pictures.
fn skip_tools(bits: &mut impl BitRead) -> Result<(), BitReaderError> {
    bits.skip(4, "enable_interintra_compound to enable_dual_filter")?;
    let order_hint = bits.read_bool("enable_order_hint")?;
    if order_hint {
        bits.skip(2, "enable_jnt_comp, enable_ref_frame_mvs")?;
    }
    let chosen = bits.read_bool("seq_choose_screen_content_tools")?;
    let screen_content = chosen || bits.read_bool("seq_force_screen_content_tools")?;
    if screen_content && !bits.read_bool("seq_choose_integer_mv")? {
        bits.skip(1, "seq_force_integer_mv")?;
    }
    if order_hint {
        bits.skip(3, "order_hint_bits_minus_1")?;
    }
    Ok(())
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

    #[test]
    fn whether_colours_are_said_is_in_the_sequence_header() {
        for encoder in [[0x3e, 0xfe], [0x36, 0xbe]] {
            let begin = [&[0, 0, 0, 0x0c, 0xc4, 0xff, 0x67][..], &encoder].concat();
            let silent = [&[0x12, 0, 0x0a, 11][..], &begin, &[0x40, 0x10]].concat();
            assert!(!says_matrix(&silent));
            let bt709 = [&[0x12, 0, 0x0a, 14][..], &begin, &[0x44, 4, 4, 4, 0x10]].concat();
            assert!(says_matrix(&bt709));
        }
        assert!(!says_matrix(&[0x12, 0, 0x32, 1, 7]));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..60)) {
            size(&bytes);
            let header = [&[0x0a, 50][..], &bytes].concat();
            size(&header);
            says_matrix(&header);
        }
    }
}
