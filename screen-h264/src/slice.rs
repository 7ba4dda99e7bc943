//! Slice headers (H.264 §7.3.3).

use crate::bits::BitWriter;
use crate::params::{FRAME_NUM_BITS, INITIAL_QP};

/// What the slices of a picture have in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// An IDR picture of I slices.
    Idr {
        /// Differs from that of an IDR picture right before.
        idr_pic_id: u32,
    },
    /// A picture of P slices with one reference picture, the one before.
    P {
        /// Reference pictures since the last IDR picture, modulo 2^[`FRAME_NUM_BITS`].
        frame_num: u32,
    },
}

impl Kind {
    /// `nal_unit()`'s first byte: `nal_ref_idc` 3 and the type (H.264 table 7-1).
    pub(crate) fn nal_header(self) -> u8 {
        match self {
            Self::Idr { .. } => 0x65,
            Self::P { .. } => 0x61,
        }
    }
}

/// Writes a slice header. The deblocking filter is off: it would blur edges of text that are exact without it,
/// and cost the decoder and us time for every macroblock that is not skipped.
pub(crate) fn header(kind: Kind, first_mb: u32, qp: i32, writer: &mut BitWriter) {
    writer.ue(first_mb);
    let (slice_type, frame_num) = match kind {
        Kind::Idr { .. } => (7, 0),
        Kind::P { frame_num } => (5, frame_num),
    };
    writer.ue(slice_type); // all slices of the picture are of this type
    writer.ue(0); // pic_parameter_set_id
    writer.put(frame_num, FRAME_NUM_BITS);
    match kind {
        Kind::Idr { idr_pic_id } => {
            writer.ue(idr_pic_id);
            writer.put(0, 1); // no_output_of_prior_pics_flag
            writer.put(0, 1); // long_term_reference_flag
        }
        Kind::P { .. } => {
            writer.put(0, 1); // num_ref_idx_active_override_flag
            writer.put(0, 1); // ref_pic_list_modification_flag_l0
            writer.put(0, 1); // adaptive_ref_pic_marking_mode_flag
        }
    }
    writer.se(qp - INITIAL_QP); // slice_qp_delta
    writer.ue(1); // disable_deblocking_filter_idc
}
