//! H.265 from other encoders: finds keyframes and their size, and puts parameter sets in front of each.
//!
//! As with H.264, the bitstream is parsed only as far as needed, and passed through.

use std::num::NonZeroUsize;

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader};

use super::h264::{MAX_SIDE, MAX_UNIT, Obstacle, START_CODE};
use crate::media::Size;

/// Longest parameter sets of a stream, all together. Real ones have some hundred bytes.
const MAX_SETS: usize = 4096;
/// Length of the header of a NAL unit.
const HEADER: usize = 2;

/// Types of NAL units, H.265 table 7-1.
mod nal {
    use std::ops::RangeInclusive;

    /// Slices of a picture.
    pub const SLICES: RangeInclusive<u8> = 0..=31;
    /// Those of them that belong to a picture that is decodable alone.
    pub const KEY_SLICES: RangeInclusive<u8> = 16..=23;
    /// Parameter sets of the video, of sequences, of pictures.
    pub const SETS: RangeInclusive<u8> = 32..=34;
    pub const SPS: u8 = 33;
    pub const ACCESS_UNIT_DELIMITER: u8 = 35;
    pub const FILLER: u8 = 38;
}

/// Type of a NAL unit.
fn kind(nal: &[u8]) -> u8 {
    // An empty unit counts as filler.
    nal.first().map_or(nal::FILLER, |header| header >> 1 & 0x3f)
}

/// True for a slice of a picture that is decodable alone.
pub fn is_key_slice(nal: &[u8]) -> bool {
    nal::KEY_SLICES.contains(&kind(nal))
}

/// The content of a parameter set, for the pictures that follow.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Size as shown.
    pub size: Size,
    /// The reason why browsers cannot show it, if there is one.
    pub obstacle: Option<Obstacle>,
}

/// One access unit, as feeds take it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Annex B; a keyframe has its parameter sets.
    pub data: Bytes,
    /// Whether it is decodable alone.
    pub keyframe: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Assembler {
    /// The newest parameter sets, with start codes.
    sets: Bytes,
    format: Option<Format>,
}

impl Assembler {
    /// The content of the newest parameter set.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Assembles an access unit. `None` when it contains no picture, when it is too large, or when it
    /// is a keyframe without parameter sets, which nobody can decode.
    pub fn assemble<'a>(&mut self, nals: impl Iterator<Item = &'a [u8]>) -> Option<Unit> {
        let mut data = BytesMut::new();
        let mut sets = BytesMut::new();
        let mut slices = 0;
        let mut key_slices = 0;
        for nal in nals {
            let kind = kind(nal);
            if matches!(kind, nal::ACCESS_UNIT_DELIMITER | nal::FILLER) {
                continue;
            }
            slices += usize::from(nal::SLICES.contains(&kind));
            key_slices += usize::from(is_key_slice(nal));
            let into = if nal::SETS.contains(&kind) { &mut sets } else { &mut data };
            into.put_slice(&START_CODE);
            into.put_slice(nal);
            if kind == nal::SPS {
                self.format = read_sps(nal).ok().flatten().or(self.format);
            }
            if data.len() > MAX_UNIT || sets.len() > MAX_SETS {
                return None;
            }
        }
        if !sets.is_empty() {
            self.sets = sets.freeze();
        }
        let keyframe = slices > 0 && key_slices == slices;
        if slices == 0 || keyframe && (self.sets.is_empty() || self.format.is_none()) {
            return None;
        }
        let data = if keyframe { Bytes::from([&self.sets[..], &data].concat()) } else { data.freeze() };
        Some(Unit { data, keyframe })
    }
}

/// H.265 §7.3.2.2.1, up to the depth of samples. `None` for invalid sizes.
fn read_sps(nal: &[u8]) -> Result<Option<Format>, BitReaderError> {
    const CHROMA_420: u32 = 1;
    const CHROMA_444: u32 = 3;
    const HEADER_LEN: NonZeroUsize = NonZeroUsize::new(HEADER).expect("it is not zero");
    let nal = &nal[..nal.len().min(MAX_SETS)];
    let mut bits = BitReader::new(ByteReader::skipping_bytes(nal, HEADER_LEN));
    bits.skip(4, "sps_video_parameter_set_id")?;
    let sub_layers: u8 = bits.read(3, "sps_max_sub_layers_minus1")?;
    bits.skip(1, "sps_temporal_id_nesting_flag")?;
    skip_profile(&mut bits, u32::from(sub_layers))?;
    bits.read_ue("sps_seq_parameter_set_id")?;
    let chroma = bits.read_ue("chroma_format_idc")?;
    if chroma == CHROMA_444 {
        bits.skip(1, "separate_colour_plane_flag")?;
    }
    let width = bits.read_ue("pic_width_in_luma_samples")?;
    let height = bits.read_ue("pic_height_in_luma_samples")?;
    let mut cropped = [0u32; 4];
    if bits.read_bool("conformance_window_flag")? {
        for side in &mut cropped {
            *side = bits.read_ue("conf_win_offset")?;
        }
    }
    let deep = bits.read_ue("bit_depth_luma_minus8")? > 0;
    // In units of chroma: two samples of luma in 4:2:0, the only format that is shown.
    let [left, right, top, bottom] = cropped;
    let shown = |side: u32, a: u32, b: u32| side.checked_sub(a.checked_add(b)?.checked_mul(2)?);
    let (Some(width), Some(height)) = (shown(width, left, right), shown(height, top, bottom)) else {
        return Ok(None);
    };
    if !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return Ok(None);
    }
    let obstacle = (chroma != CHROMA_420 || deep).then_some(Obstacle::Samples);
    Ok(Some(Format { size: Size { width, height }, obstacle }))
}

/// H.265 §7.3.3.
fn skip_profile(bits: &mut impl BitRead, sub_layers: u32) -> Result<(), BitReaderError> {
    bits.skip(88, "general profile")?;
    bits.skip(8, "general_level_idc")?;
    let mut present = [(false, false); 7];
    for (profile, level) in present.iter_mut().take(sub_layers as usize) {
        *profile = bits.read_bool("sub_layer_profile_present_flag")?;
        *level = bits.read_bool("sub_layer_level_present_flag")?;
    }
    if sub_layers > 0 {
        bits.skip(2 * 8u32.saturating_sub(sub_layers), "reserved_zero_2bits")?;
    }
    for (profile, level) in present {
        bits.skip(if profile { 88 } else { 0 } + if level { 8 } else { 0 }, "sub layer")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As x265 writes it, 640×360 of 8 bits in 4:2:0: a window cuts eight rows of 368.
    const SPS: &[u8] = b"\x42\x01\x01\x01\x60\x00\x00\x03\x00\x90\x00\x00\x03\x00\x00\x03\x00\x3f\xa0\x05\x02\x01\x71\xf2\xe5\xba\
        \x4a\x4c\x2f\x01\x68\x08\x00\x00\x03\x00\x08\x00\x00\x03\x00\xf0\x40";

    #[test]
    fn a_keyframe_gets_the_parameter_sets_that_it_lacks() {
        let mut assembler = Assembler::default();
        let vps = &[0x40, 1, 7][..];
        let pps = &[0x44, 1, 7][..];
        let idr = &[0x26, 1, 7][..];
        let other = &[0x02, 1, 7][..];
        assert!(assembler.assemble([idr].into_iter()).is_none(), "nobody could decode it");
        let first = assembler.assemble([&[0x46, 1, 0x50][..], vps, SPS, pps, idr].into_iter()).unwrap();
        assert!(first.keyframe && !first.data.windows(2).any(|bytes| bytes == [0x46, 1]), "{first:?}");
        let size = Size { width: 640, height: 360 };
        assert_eq!(assembler.format(), Some(Format { size, obstacle: None }));
        assert_eq!(assembler.assemble([idr].into_iter()).unwrap().data, first.data);
        let next = assembler.assemble([other].into_iter()).unwrap();
        assert_eq!((next.keyframe, &next.data[..]), (false, &[0, 0, 0, 1, 2, 1, 7][..]));
        assert!(assembler.assemble([vps].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200), len in 0..60usize) {
            let sps = [&SPS[..len.min(SPS.len())], &bytes].concat();
            let mut assembler = Assembler::default();
            assembler.assemble([&sps[..], &bytes].into_iter());
        }
    }
}
