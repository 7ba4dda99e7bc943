//! H.264 from other encoders: converts it to the form of feeds, and tells whether browsers can show it.
//!
//! [`Assembler`] takes the NAL units of one access unit. It keeps parameter sets, puts them in front of every
//! keyframe, and leaves out what no receiver needs. It parses the bitstream only as far as needed for
//! size, profile and B-slices.

use std::collections::BTreeMap;

use bytes::{BufMut, Bytes, BytesMut};
use h264_reader::nal::sps::{AspectRatioInfo, FrameMbsFlags, SeqParameterSet, VuiParameters};
use h264_reader::rbsp::{BitRead, BitReader, BitReaderError, ByteReader, Numeric, Primitive, decode_nal};

use crate::media::Size;

/// Largest access unit, in bytes, start codes included: a 4K keyframe at the highest rate is a quarter of it.
pub const MAX_UNIT: usize = 8 * 1024 * 1024;
/// Longest parameter set. Real ones have less than a hundred bytes.
const MAX_SET: usize = 1024;
/// Identifiers of parameter sets, H.264 §7.4.2.1 and §7.4.2.2.
const MAX_SPS_ID: u32 = 31;
const MAX_PPS_ID: u32 = 255;
/// Longest side of a picture.
pub const MAX_SIDE: u32 = 8192;
/// The code for an unspecified matrix, H.264 table E-5.
const UNSPECIFIED_MATRIX: u8 = 2;
/// Plausible frame rates of a parameter set.
const FPS: std::ops::RangeInclusive<f64> = 1.0..=240.0;

/// Start code in front of each NAL unit.
pub const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Types of NAL units, H.264 table 7-1.
mod nal {
    pub const SLICE: u8 = 1;
    pub const IDR: u8 = 5;
    pub const SEI: u8 = 6;
    pub const SPS: u8 = 7;
    pub const PPS: u8 = 8;
}

/// Type of a NAL unit.
fn kind(nal: &[u8]) -> u8 {
    nal.first().map_or(0, |header| header & 0x1f)
}

/// True for a slice of a picture.
pub fn is_slice(nal: &[u8]) -> bool {
    (nal::SLICE..=nal::IDR).contains(&kind(nal))
}

/// Why browsers cannot show pictures unchanged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Obstacle {
    /// A profile that browsers do not decode (`profile_idc`): 10 bit, 4:2:2, 4:4:4 and the like.
    Profile(u8),
    /// More than 8 bits, or another format than 4:2:0, in a codec whose profile does not tell.
    Samples,
    /// Interlaced pictures.
    Interlaced,
    /// Pictures are coded in another order than they are shown, which WebRTC does not support.
    Reordered,
    /// There are no keyframes.
    NoKeyframes,
    /// Pixels that are not square, which WebRTC does not support.
    Pixels,
    /// The container declares a rotation, which WebRTC does not transmit.
    Rotated,
    /// Hidden pictures that are sent alone: browsers wait for them to be shown.
    Hidden,
    /// A codec that browsers do not decode.
    Codec,
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Profile(profile) => write!(f, "H.264 of profile {profile}"),
            Self::Samples => f.write_str("pictures that are not of 8 bits in 4:2:0"),
            Self::Interlaced => f.write_str("interlaced pictures"),
            Self::Reordered => f.write_str("B-frames"),
            Self::NoKeyframes => f.write_str("a stream whose keyframes are more than 20 s apart"),
            Self::Pixels => f.write_str("pixels that are not square"),
            Self::Rotated => f.write_str("pictures that are to be turned"),
            Self::Hidden => f.write_str("VP8 with hidden pictures (alt-ref)"),
            Self::Codec => f.write_str("a codec other than H.264, VP8, VP9 and AV1"),
        }
    }
}

/// The content of a parameter set, for the pictures that follow.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Format {
    /// Size as shown.
    pub size: Size,
    /// Frames per second, if declared.
    pub fps: Option<u32>,
    /// The reason why browsers cannot show it, if there is one.
    pub obstacle: Option<Obstacle>,
    /// Its colours.
    pub colours: Colours,
}

/// Interpretation of luma and chroma.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Colours {
    /// Luma from 0 to 255 instead of from 16 to 235.
    pub full_range: bool,
    /// `matrix_coefficients` of H.264 table E-5, if declared.
    pub matrix: Option<u8>,
}

/// One access unit, as feeds take it.
#[derive(Debug, Clone)]
pub struct Unit {
    /// Annex B; a keyframe begins with its parameter sets.
    pub data: Bytes,
    /// All of it is IDR.
    pub keyframe: bool,
    /// It has B-slices.
    pub bidirectional: bool,
}

/// See the module.
#[derive(Debug, Default)]
pub struct Assembler {
    sps: BTreeMap<u32, Bytes>,
    pps: BTreeMap<u32, Bytes>,
    format: Option<Format>,
}

impl Assembler {
    /// The content of the newest parameter set.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// The parameter sets, those of sequences first, without start codes.
    pub fn parameter_sets(&self) -> impl Iterator<Item = &Bytes> {
        self.sps.values().chain(self.pps.values())
    }

    /// Takes a parameter set that was sent outside of the stream. Other units and invalid ones are ignored.
    pub fn add_parameter_set(&mut self, nal: &[u8]) {
        match kind(nal) {
            nal::SPS => self.add_sps(nal),
            nal::PPS => self.add_pps(nal),
            _ => {}
        }
    }

    fn add_sps(&mut self, nal: &[u8]) {
        if nal.len() > MAX_SET {
            return;
        }
        let Some((id, format)) = read_sps(nal) else { return };
        if self.sps.get(&id).is_none_or(|known| known != nal) {
            self.sps.insert(id, Bytes::copy_from_slice(nal));
        }
        self.format = Some(format);
    }

    fn add_pps(&mut self, nal: &[u8]) {
        if nal.len() > MAX_SET {
            return;
        }
        let Some(id) = first_number(nal).filter(|id| *id <= MAX_PPS_ID) else { return };
        if self.pps.get(&id).is_none_or(|known| known != nal) {
            self.pps.insert(id, Bytes::copy_from_slice(nal));
        }
    }

    /// Assembles an access unit. `None` when it contains no picture, when it is too large, or when it
    /// is a keyframe without parameter sets, which nobody can decode.
    pub fn assemble<'a>(&mut self, nals: impl Iterator<Item = &'a [u8]>) -> Option<Unit> {
        let mut kept = Vec::new();
        let mut slices = 0;
        let mut idr = 0;
        let mut bidirectional = false;
        for nal in nals {
            match kind(nal) {
                nal::SPS | nal::PPS => self.add_parameter_set(nal),
                nal::SEI => kept.push(nal),
                _ if is_slice(nal) => {
                    slices += 1;
                    idr += usize::from(kind(nal) == nal::IDR);
                    bidirectional |= is_b_slice(nal);
                    kept.push(nal);
                }
                _ => {}
            }
        }
        let keyframe = slices > 0 && idr == slices;
        if slices == 0 || keyframe && (self.sps.is_empty() || self.pps.is_empty()) {
            return None;
        }
        let sets = self.parameter_sets().filter(|_| keyframe).map(|set| &set[..]);
        let all: Vec<&[u8]> = sets.chain(kept).collect();
        let len: usize = all.iter().map(|nal| START_CODE.len() + nal.len()).sum();
        if len > MAX_UNIT {
            return None;
        }
        let mut data = BytesMut::with_capacity(len);
        for nal in all {
            data.put_slice(&START_CODE);
            data.put_slice(nal);
        }
        Some(Unit { data: data.freeze(), keyframe, bidirectional })
    }
}

/// The first number after the header of a NAL unit, `ue(v)`.
fn first_number(nal: &[u8]) -> Option<u32> {
    let rbsp = decode_nal(nal.get(..nal.len().min(64))?).ok()?;
    BitReader::new(&*rbsp).read_ue("id").ok()
}

/// H.264 §7.3.3: `first_mb_in_slice`, `slice_type`.
fn is_b_slice(nal: &[u8]) -> bool {
    // Only these two numbers are needed: at most 8 bytes, and emulation prevention bytes.
    let head = &nal[..nal.len().min(16)];
    let mut bits = BitReader::new(ByteReader::skipping_h264_header(head));
    let slice_type = bits.read_ue("first_mb_in_slice").and_then(|_| bits.read_ue("slice_type"));
    slice_type.is_ok_and(|kind| kind % 5 == 1)
}

fn read_sps(nal: &[u8]) -> Option<(u32, Format)> {
    let rbsp = decode_nal(nal).ok()?;
    let sps = SeqParameterSet::from_bits(Tolerant(BitReader::new(&*rbsp))).ok()?;
    let id = u32::from(sps.seq_parameter_set_id.id());
    let (width, height) = sps.pixel_dimensions().ok()?;
    if id > MAX_SPS_ID || !(1..=MAX_SIDE).contains(&width) || !(1..=MAX_SIDE).contains(&height) {
        return None;
    }
    let vui = sps.vui_parameters.as_ref();
    let signal = vui.and_then(|vui| vui.video_signal_type.as_ref());
    let matrix = signal.and_then(|signal| signal.colour_description.as_ref());
    let matrix = matrix.map(|colours| colours.matrix_coefficients).filter(|code| *code != UNSPECIFIED_MATRIX);
    let full_range = signal.is_some_and(|signal| signal.video_full_range_flag);
    Some((
        id,
        Format {
            size: Size { width, height },
            fps: vui.and_then(frame_rate),
            obstacle: obstacle(&sps),
            colours: Colours { full_range, matrix },
        },
    ))
}

fn frame_rate(vui: &VuiParameters) -> Option<u32> {
    let timing = vui.timing_info.as_ref()?;
    let fps = f64::from(timing.time_scale) / (2.0 * f64::from(timing.num_units_in_tick));
    FPS.contains(&fps).then(|| fps.round() as u32)
}

fn obstacle(sps: &SeqParameterSet) -> Option<Obstacle> {
    /// `profile_idc` of Baseline, Main and High; these are 8 bit, 4:2:0.
    const SHOWN: [u8; 3] = [66, 77, 100];
    let profile = u8::from(sps.profile_idc);
    if !SHOWN.contains(&profile) {
        return Some(Obstacle::Profile(profile));
    }
    if !matches!(sps.frame_mbs_flags, FrameMbsFlags::Frames) {
        return Some(Obstacle::Interlaced);
    }
    let vui = sps.vui_parameters.as_ref()?;
    let reorders = vui.bitstream_restrictions.as_ref().is_some_and(|known| known.max_num_reorder_frames > 0);
    let ratio = vui.aspect_ratio_info.as_ref().and_then(AspectRatioInfo::get);
    let stretched = ratio.is_some_and(|(width, height)| !square(width.into(), height.into()));
    reorders.then_some(Obstacle::Reordered).or(stretched.then_some(Obstacle::Pixels))
}

/// Whether pixels of these proportions are square, or nearly so: containers declare the size of a shown picture
/// in whole pixels.
pub fn square(width: u32, height: u32) -> bool {
    const SEEN: u64 = 50;
    let width = u64::from(width);
    let height = u64::from(height);
    width.abs_diff(height) * SEEN <= height
}

/// Parses parameter sets with extra bytes at the end, which some encoders add.
struct Tolerant<R>(R);

impl<R: BitRead> BitRead for Tolerant<R> {
    fn read_ue(&mut self, name: &'static str) -> Result<u32, BitReaderError> {
        self.0.read_ue(name)
    }
    fn read_se(&mut self, name: &'static str) -> Result<i32, BitReaderError> {
        self.0.read_se(name)
    }
    fn read_bool(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.0.read_bool(name)
    }
    fn read<U: Numeric>(&mut self, bits: u32, name: &'static str) -> Result<U, BitReaderError> {
        self.0.read(bits, name)
    }
    fn read_to<V: Primitive>(&mut self, name: &'static str) -> Result<V, BitReaderError> {
        self.0.read_to(name)
    }
    fn skip(&mut self, bits: u32, name: &'static str) -> Result<(), BitReaderError> {
        self.0.skip(bits, name)
    }
    fn has_more_rbsp_data(&mut self, name: &'static str) -> Result<bool, BitReaderError> {
        self.0.has_more_rbsp_data(name)
    }
    fn finish_rbsp(self) -> Result<(), BitReaderError> {
        match self.0.finish_rbsp() {
            Err(BitReaderError::RemainingData) => Ok(()),
            result => result,
        }
    }
    fn finish_sei_payload(self) -> Result<(), BitReaderError> {
        self.0.finish_sei_payload()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// By x264: 320×180 at 25 frames a second, High.
    const SPS: &str = "6764000cacb40a0cfcf808800000030080000019078a1550";
    const PPS: &str = "68ef0fcb";

    fn bytes(hex: &str) -> Vec<u8> {
        hex.as_bytes()
            .chunks(2)
            .map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap())
            .collect()
    }

    fn format(sps: &str) -> Format {
        let mut assembler = Assembler::default();
        assembler.add_parameter_set(&bytes(sps));
        assembler.format().expect("a format")
    }

    #[test]
    fn size_and_frame_rate_are_read() {
        let size = Size { width: 320, height: 180 };
        let colours = Colours::default();
        assert_eq!(format(SPS), Format { size, fps: Some(25), obstacle: None, colours });
        let full = format("67640028acb403c0113f2e02d9000003000100000300320f1832a0");
        assert_eq!((full.size, full.colours.full_range), (Size { width: 1920, height: 1080 }, true));
        // A camera may add bytes.
        assert_eq!(format(&format!("{SPS}0102")).size, size);
    }

    #[test]
    fn what_browsers_cannot_show_is_known_from_the_parameter_set() {
        for (sps, obstacle) in [
            ("6764000cacd941419f9f011000000300100000030320f1429960", Obstacle::Reordered),
            ("676e000ca6cb40a0cfcf80880000030008000003019078a155", Obstacle::Profile(110)),
            ("67f4000c919681419f8dc044000003000400000300c83c50aa80", Obstacle::Profile(244)),
            ("67640028ace8078044fde022000003000200000300643e2c5d40", Obstacle::Interlaced),
        ] {
            assert_eq!(format(sps).obstacle, Some(obstacle), "{sps}");
        }
    }

    #[test]
    fn pixels_are_square_when_nobody_sees_a_difference() {
        assert!(square(1, 1) && square(853, 854) && square(4096, 4095));
        assert!(!square(64, 45) && !square(12, 11) && !square(10, 11) && !square(1, 0));
    }

    #[test]
    fn parameter_sets_stand_in_front_of_every_keyframe_once() {
        let sps = bytes(SPS);
        let pps = bytes(PPS);
        let mut assembler = Assembler::default();
        assert!(assembler.assemble([&[0x65, 0x88][..]].into_iter()).is_none(), "nobody could decode it");
        let first = assembler.assemble([&sps[..], &pps, &[9, 0x10], &[0x65, 0x88]].into_iter()).unwrap();
        let later = assembler.assemble([&[0x65, 0x88][..]].into_iter()).unwrap();
        let expected = [&START_CODE[..], &sps, &START_CODE, &pps, &START_CODE, &[0x65, 0x88]].concat();
        assert!(first.keyframe && first.data == expected && later.data == expected);
        let next = assembler.assemble([&[0x41, 0x9a][..]].into_iter()).unwrap();
        assert!(!next.keyframe && !next.bidirectional);
        assert_eq!(next.data, [0, 0, 0, 1, 0x41, 0x9a][..]);
    }

    #[test]
    fn b_slices_are_seen() {
        // first_mb_in_slice 0 (1), slice_type 6 (00111) or 5 (00110).
        assert!(is_b_slice(&[0x01, 0b1001_1100]));
        assert!(!is_b_slice(&[0x41, 0b1001_1000]));
        assert!(!is_b_slice(&[0x41]));
    }

    #[test]
    fn a_unit_that_is_too_large_is_left_out() {
        let slice = vec![0x41; MAX_UNIT];
        assert!(Assembler::default().assemble([&slice[..]].into_iter()).is_none());
    }

    proptest! {
        #[test]
        fn anything_is_assembled_or_left_out(
            nals in proptest::collection::vec(
                (prop_oneof![Just(0x67u8), Just(0x68), Just(0x65), Just(0x41), any::<u8>()],
                 proptest::collection::vec(any::<u8>(), 0..60)),
                0..12,
            )
        ) {
            let nals: Vec<Vec<u8>> = nals.into_iter().map(|(first, rest)| [vec![first], rest].concat()).collect();
            let unit = Assembler::default().assemble(nals.iter().map(|nal| &nal[..]));
            prop_assert!(unit.is_none_or(|unit| !unit.data.is_empty()));
        }

        #[test]
        fn a_broken_parameter_set_is_left_out(at in 0usize..24, byte in any::<u8>(), cut in 0usize..24) {
            let mut sps = bytes(SPS);
            sps[at] = byte;
            sps.truncate(cut.max(at) + 1);
            let mut assembler = Assembler::default();
            assembler.add_parameter_set(&sps);
            let size = assembler.format().map(|format| format.size);
            prop_assert!(size.is_none_or(|size| size.width <= MAX_SIDE && size.height <= MAX_SIDE));
        }
    }
}
