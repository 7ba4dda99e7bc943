//! Parameter sets (H.264 §7.3.2.1, §7.3.2.2, annexes A and E): constrained baseline, one reference picture, no
//! reordering, so that a decoder shows each picture at once.

use crate::bits::BitWriter;
use crate::{Colour, Config};

/// `log2_max_frame_num_minus4 + 4`.
pub(crate) const FRAME_NUM_BITS: u32 = 8;

/// `pic_init_qp_minus26 + 26`: what slices give their quantiser relative to.
pub(crate) const INITIAL_QP: i32 = 26;

/// NAL unit headers: `nal_ref_idc` 3 and the type (H.264 table 7-1).
const SPS: u8 = 0x67;
const PPS: u8 = 0x68;

/// Limits of a level (H.264 table A-1). All have vertical vectors of at least ±512 luma samples.
struct Level {
    /// `level_idc`.
    idc: u8,
    /// Macroblocks per second.
    rate: u32,
    /// Macroblocks in a picture.
    picture: u32,
}

/// From the level that every WebRTC receiver knows (that of 42e01f) upwards.
const LEVELS: [Level; 7] = [
    Level { idc: 31, rate: 108_000, picture: 3_600 },
    Level { idc: 32, rate: 216_000, picture: 5_120 },
    Level { idc: 40, rate: 245_760, picture: 8_192 },
    Level { idc: 42, rate: 522_240, picture: 8_704 },
    Level { idc: 50, rate: 589_824, picture: 22_080 },
    Level { idc: 51, rate: 983_040, picture: 36_864 },
    Level { idc: 52, rate: 2_073_600, picture: 36_864 },
];

/// The lowest level that allows the size and rate; the highest one if it allows the size and no level the rate,
/// which decoders need not keep up with then. `None` if the picture is too large for all.
pub(crate) fn level_idc(config: &Config) -> Option<u8> {
    let columns = config.width.div_ceil(16);
    let rows = config.height.div_ceil(16);
    let side = u64::from(columns.max(rows));
    let count = u64::from(columns) * u64::from(rows);
    let holds =
        |level: &&Level| count <= u64::from(level.picture) && side * side <= 8 * u64::from(level.picture);
    let keeps_up = |level: &&Level| count * u64::from(config.fps) <= u64::from(level.rate);
    let lowest = LEVELS.iter().find(|level| holds(level) && keeps_up(level));
    lowest.or(LEVELS.last().filter(holds)).map(|level| level.idc)
}

/// Appends both parameter sets as NAL units. `level` is what [`level_idc`] said.
pub(crate) fn write(config: &Config, level: u8, out: &mut Vec<u8>) {
    let mut writer = BitWriter::default();
    sequence(config, level, &mut writer);
    writer.finish(SPS, out);
    picture(&mut writer);
    writer.finish(PPS, out);
}

/// `seq_parameter_set_data()`.
fn sequence(config: &Config, level: u8, writer: &mut BitWriter) {
    writer.put(66, 8); // profile_idc: Baseline
    writer.put(0b1100_0000, 8); // constraint_set0_flag, constraint_set1_flag: constrained baseline
    writer.put(u32::from(level), 8);
    writer.ue(0); // seq_parameter_set_id
    writer.ue(FRAME_NUM_BITS - 4); // log2_max_frame_num_minus4
    writer.ue(2); // pic_order_cnt_type: output order is decoding order
    writer.ue(1); // max_num_ref_frames
    writer.put(0, 1); // gaps_in_frame_num_value_allowed_flag
    let columns = config.width.div_ceil(16);
    let rows = config.height.div_ceil(16);
    writer.ue(columns - 1);
    writer.ue(rows - 1);
    writer.put(1, 1); // frame_mbs_only_flag
    writer.put(1, 1); // direct_8x8_inference_flag
    let right = (16 * columns - config.width) / 2;
    let bottom = (16 * rows - config.height) / 2;
    if right == 0 && bottom == 0 {
        writer.put(0, 1); // frame_cropping_flag
    } else {
        writer.put(1, 1);
        for offset in [0, right, 0, bottom] {
            writer.ue(offset);
        }
    }
    writer.put(1, 1); // vui_parameters_present_flag
    usability(config.colour, writer);
}

/// `vui_parameters()` (H.264 §E.1.1).
fn usability(colour: Colour, writer: &mut BitWriter) {
    writer.put(0, 1); // aspect_ratio_info_present_flag
    writer.put(0, 1); // overscan_info_present_flag
    writer.put(1, 1); // video_signal_type_present_flag
    writer.put(5, 3); // video_format: unspecified
    writer.put(u32::from(colour.full_range), 1);
    writer.put(1, 1); // colour_description_present_flag
    writer.put(u32::from(colour.primaries), 8);
    writer.put(u32::from(colour.transfer), 8);
    writer.put(u32::from(colour.matrix), 8);
    writer.put(0, 1); // chroma_loc_info_present_flag
    writer.put(0, 1); // timing_info_present_flag
    writer.put(0, 1); // nal_hrd_parameters_present_flag
    writer.put(0, 1); // vcl_hrd_parameters_present_flag
    writer.put(0, 1); // pic_struct_present_flag
    // Without it some decoders wait for as many pictures as the level allows before they show the first one.
    writer.put(1, 1); // bitstream_restriction_flag
    writer.put(1, 1); // motion_vectors_over_pic_boundaries_flag
    writer.ue(0); // max_bytes_per_pic_denom: no limit
    writer.ue(0); // max_bits_per_mb_denom: no limit
    writer.ue(13); // log2_max_mv_length_horizontal: quarter samples
    writer.ue(13); // log2_max_mv_length_vertical
    writer.ue(0); // max_num_reorder_frames
    writer.ue(1); // max_dec_frame_buffering
}

/// `pic_parameter_set_rbsp()`.
fn picture(writer: &mut BitWriter) {
    writer.ue(0); // pic_parameter_set_id
    writer.ue(0); // seq_parameter_set_id
    writer.put(0, 1); // entropy_coding_mode_flag: CAVLC
    writer.put(0, 1); // bottom_field_pic_order_in_frame_present_flag
    writer.ue(0); // num_slice_groups_minus1
    writer.ue(0); // num_ref_idx_l0_default_active_minus1
    writer.ue(0); // num_ref_idx_l1_default_active_minus1
    writer.put(0, 1); // weighted_pred_flag
    writer.put(0, 2); // weighted_bipred_idc
    writer.se(INITIAL_QP - 26); // pic_init_qp_minus26
    writer.se(0); // pic_init_qs_minus26
    writer.se(0); // chroma_qp_index_offset
    writer.put(1, 1); // deblocking_filter_control_present_flag
    writer.put(0, 1); // constrained_intra_pred_flag
    writer.put(0, 1); // redundant_pic_cnt_present_flag
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_level_is_high_enough_for_size_and_rate() {
        let at = |width, height, fps| level_idc(&Config { fps, ..Config::new(width, height) });
        assert_eq!(at(1280, 720, 30), Some(31));
        assert_eq!(at(1280, 720, 60), Some(32));
        assert_eq!(at(1920, 1080, 30), Some(40));
        assert_eq!(at(1920, 1080, 60), Some(42));
        assert_eq!(at(3840, 2160, 30), Some(51));
        assert_eq!(at(3840, 2160, 60), Some(52));
        assert_eq!(at(3840, 2160, 120), Some(52));
        assert_eq!(at(3840, 16, 30), Some(40));
        assert_eq!(at(16384, 16384, 30), None);
    }
}
