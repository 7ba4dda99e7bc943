//! VP8, VP9 and AV1 from other encoders: parses the headers of pictures, which are passed through.

use common::media::VideoCodec;
use h264_reader::rbsp::{BitRead as _, BitReader, BitReaderError};

use super::av1;
use crate::media::Size;

/// The header of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Header {
    /// Decodable alone.
    pub keyframe: bool,
    /// Its size, if that is easily found in the header.
    pub size: Option<Size>,
    /// It is decoded and not shown, and is sent alone. VP9 and AV1 combine such pictures with one that is shown.
    pub hidden: bool,
}

/// Parses it. `None` if it is no picture of this codec.
pub fn header(codec: VideoCodec, picture: &[u8]) -> Option<Header> {
    match codec {
        VideoCodec::VP8 => vp8(picture),
        VideoCodec::VP9 => vp9(picture),
        VideoCodec::AV1 => av1_header(picture),
        VideoCodec::H264 | VideoCodec::H265 => None,
    }
}

/// Whether a keyframe declares its colour matrix, or its codec has a fixed one.
pub fn says_matrix(codec: VideoCodec, keyframe: &[u8]) -> bool {
    /// `CS_UNKNOWN`.
    const UNKNOWN: u32 = 0;
    match codec {
        VideoCodec::VP9 => vp9_matrix(keyframe).is_ok_and(|space| space != UNKNOWN),
        VideoCodec::AV1 => av1::says_matrix(keyframe),
        VideoCodec::VP8 | VideoCodec::H264 | VideoCodec::H265 => true,
    }
}

/// `color_space` of a keyframe, VP9 bitstream specification §6.2 and §6.2.2.
fn vp9_matrix(keyframe: &[u8]) -> Result<u32, BitReaderError> {
    let mut bits = BitReader::new(keyframe);
    bits.skip(2, "frame_marker")?;
    let low = bits.read_bool("profile_low_bit")?;
    let high = bits.read_bool("profile_high_bit")?;
    if low && high {
        bits.skip(1, "reserved_zero")?;
    }
    bits.skip(4 + 24, "show_existing_frame to the sync code")?;
    if high {
        bits.skip(1, "ten_or_twelve_bit")?;
    }
    bits.read(3, "color_space")
}

/// RFC 6386 §9.1.
fn vp8(picture: &[u8]) -> Option<Header> {
    const START_CODE: [u8; 3] = [0x9d, 0x01, 0x2a];
    /// The two highest bits of each side are a scaling, which is never used.
    const SIDE: u16 = 0x3fff;
    /// `show_frame` in the first byte.
    const SHOWN: u8 = 1 << 4;
    let [tag, _, _, rest @ ..] = picture else { return None };
    let hidden = tag & SHOWN == 0;
    if tag & 1 != 0 {
        return Some(Header { keyframe: false, size: None, hidden });
    }
    let [a, b, c, w0, w1, h0, h1, ..] = *rest else { return None };
    if [a, b, c] != START_CODE {
        return None;
    }
    let side = |low, high| u32::from(u16::from_le_bytes([low, high]) & SIDE);
    let size = Size { width: side(w0, w1), height: side(h0, h1) };
    (size.width > 0 && size.height > 0).then_some(Header { keyframe: true, size: Some(size), hidden })
}

/// VP9 bitstream specification §6.2; of a superframe, that of its first frame.
fn vp9(picture: &[u8]) -> Option<Header> {
    let first = *picture.first()?;
    let bit = |n: u32| first >> (7 - n) & 1;
    if first >> 6 != 2 {
        return None;
    }
    // Profile 3 has one more reserved bit.
    let at = if bit(2) == 1 && bit(3) == 1 { 5 } else { 4 };
    let shows_existing = bit(at);
    let frame_type = bit(at + 1);
    Some(Header { keyframe: shows_existing == 0 && frame_type == 0, size: None, hidden: false })
}

/// With encoders for streaming, a temporal unit with a sequence header begins with a keyframe (AV1 §7.5).
fn av1_header(unit: &[u8]) -> Option<Header> {
    const SEQUENCE_HEADER: u8 = 1;
    const TEMPORAL_DELIMITER: u8 = 2;
    let mut rest = unit;
    // A delimiter has two bytes: its header, and its length of zero.
    while let [first, 0, after @ ..] = rest
        && first >> 3 & 0x0f == TEMPORAL_DELIMITER
    {
        rest = after;
    }
    let keyframe = rest.first()? >> 3 & 0x0f == SEQUENCE_HEADER;
    Some(Header { keyframe, size: None, hidden: false })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn keyframes_are_known() {
        let size = Some(Size { width: 320, height: 180 });
        // As libvpx writes them.
        for (codec, picture, expected) in [
            (
                VideoCodec::VP8,
                &[0x30, 0x51, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 0x47][..],
                Some((true, size)),
            ),
            (VideoCodec::VP8, &[0xb1, 2, 0, 7], Some((false, None))),
            (VideoCodec::VP8, &[0x30, 0x51, 0, 1, 2, 3, 0x40, 1, 0xb4, 0], None),
            (VideoCodec::VP8, &[], None),
            (VideoCodec::VP9, &[0x82, 0x49, 0x83, 0x42], Some((true, None))),
            (VideoCodec::VP9, &[0x86, 0], Some((false, None))),
            (VideoCodec::VP9, &[0x8a], Some((false, None))),
            (VideoCodec::VP9, &[0x12], None),
            (VideoCodec::AV1, &[0x12, 0, 0x0a, 10, 0], Some((true, None))),
            (VideoCodec::AV1, &[0x12, 0, 0x32, 10, 0], Some((false, None))),
            (VideoCodec::AV1, &[0x12, 0], None),
            (VideoCodec::H264, &[0x65], None),
        ] {
            let read = header(codec, picture).map(|header| (header.keyframe, header.size));
            assert_eq!(read, expected, "{codec:?} {picture:?}");
        }
    }

    #[test]
    fn whether_colours_are_said_is_known() {
        // Keyframes of libvpx: profile 0 and profile 2, without and with `-colorspace bt709`.
        for (picture, said) in [
            (&[0x82, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0][..], false),
            (&[0x82, 0x49, 0x83, 0x42, 0x40, 0x27, 0xf0], true),
            (&[0x92, 0x49, 0x83, 0x42, 0x00, 0x27, 0xf0], false),
            (&[0x92, 0x49, 0x83, 0x42, 0x20, 0x27, 0xf0], true),
            (&[0x82], false),
        ] {
            assert_eq!(says_matrix(VideoCodec::VP9, picture), said, "{picture:x?}");
        }
        assert!(says_matrix(VideoCodec::VP8, &[]));
    }

    #[test]
    fn hidden_pictures_of_vp8_are_known() {
        // An alt-ref picture of libvpx, and the one after it.
        for (first, expected) in [(0x81, true), (0xb1, false), (0x30, false)] {
            let picture = [first, 2, 0, 0x9d, 1, 0x2a, 0x40, 1, 0xb4, 0, 0x47];
            assert_eq!(header(VideoCodec::VP8, &picture).map(|header| header.hidden), Some(expected));
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..20)) {
            for codec in [VideoCodec::VP8, VideoCodec::VP9, VideoCodec::AV1] {
                let _ = header(codec, &bytes);
                says_matrix(codec, &bytes);
            }
        }
    }
}
