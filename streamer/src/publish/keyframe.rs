//! Whether an RTP payload belongs to a keyframe, and whether one begins with it; by codec.

use bytes::Bytes;
use common::media::VideoCodec;

use crate::media::Size;
use crate::source::live::{h264, open_codecs};

/// What a payload says of its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Says {
    /// The frame is a keyframe.
    pub keyframe: bool,
    /// A keyframe begins with this payload.
    pub begins: bool,
}

impl Says {
    const NOTHING: Says = Says { keyframe: false, begins: false };
}

/// What `payload` says. Of one that cannot be read: nothing.
pub fn says(codec: VideoCodec, payload: &[u8]) -> Says {
    let read = match codec {
        VideoCodec::H264 => h264_says(payload),
        VideoCodec::H265 => h265(payload),
        VideoCodec::VP8 => vp8(payload),
        VideoCodec::VP9 => vp9(payload),
        VideoCodec::AV1 => av1(payload),
    };
    read.unwrap_or(Says::NOTHING)
}

/// RFC 6184: an IDR slice, alone, aggregated or in its first fragment. Its parameter sets come before it.
fn h264_says(payload: &[u8]) -> Option<Says> {
    const IDR: u8 = 5;
    const SPS: u8 = 7;
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    let (header, rest) = payload.split_first()?;
    match header & 0x1f {
        STAP_A => {
            let kinds = aggregated(rest, 1).map(|header| header[0] & 0x1f);
            Some(kinds.fold(Says::NOTHING, |says, kind| Says {
                keyframe: says.keyframe || kind == IDR,
                begins: says.begins || kind == SPS,
            }))
        }
        FU_A => {
            let fragment = rest.first()?;
            Some(Says { keyframe: fragment & 0x1f == IDR, begins: false })
        }
        kind => Some(Says { keyframe: kind == IDR, begins: kind == SPS }),
    }
}

/// RFC 7798: a picture from which decoding can begin.
fn h265(payload: &[u8]) -> Option<Says> {
    const VPS: u8 = 32;
    const SPS: u8 = 33;
    const AGGREGATION: u8 = 48;
    const FRAGMENTATION: u8 = 49;
    let kind = |header: u8| header >> 1 & 0x3f;
    let is_key = |kind: u8| (16..=23).contains(&kind);
    let (header, rest) = payload.split_at_checked(2)?;
    match kind(header[0]) {
        AGGREGATION => {
            Some(aggregated(rest, 2).map(|header| kind(header[0])).fold(Says::NOTHING, |says, kind| Says {
                keyframe: says.keyframe || is_key(kind),
                begins: says.begins || kind == VPS || kind == SPS,
            }))
        }
        FRAGMENTATION => Some(Says { keyframe: is_key(rest.first()? & 0x3f), begins: false }),
        kind => Some(Says { keyframe: is_key(kind), begins: kind == VPS || kind == SPS }),
    }
}

/// The beginnings of NAL units behind their lengths, each with at least `header` bytes.
fn aggregated(mut rest: &[u8], header: usize) -> impl Iterator<Item = &[u8]> {
    std::iter::from_fn(move || {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (unit, next) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        rest = next;
        (unit.len() >= header).then_some(unit)
    })
}

/// What comes before a VP8 or VP9 frame in its payload.
pub(super) struct Descriptor {
    /// A frame, or a partition of one, begins here.
    begins: bool,
    /// Its length.
    pub(super) len: usize,
}

/// RFC 7741 §4.2.
pub(super) fn vp8_descriptor(payload: &[u8]) -> Option<Descriptor> {
    let first = *payload.first()?;
    let begins = first & 0x10 != 0 && first & 0x07 == 0;
    let mut len = 1;
    if first & 0x80 != 0 {
        let extensions = *payload.get(1)?;
        len = 2;
        if extensions & 0x80 != 0 {
            len += if payload.get(2)? & 0x80 != 0 { 2 } else { 1 };
        }
        len += usize::from(extensions & 0x40 != 0) + usize::from(extensions & 0x30 != 0);
    }
    Some(Descriptor { begins, len })
}

/// RFC 6386 §9.1: the inverse of the lowest bit. Only the first payload of a frame has it.
fn vp8(payload: &[u8]) -> Option<Says> {
    let Descriptor { begins, len } = vp8_descriptor(payload)?;
    let key = begins && payload.get(len)? & 0x01 == 0;
    Some(Says { keyframe: key, begins: key })
}

/// RFC 9628 §4.2: not predicted, of the lowest spatial layer.
fn vp9(payload: &[u8]) -> Option<Says> {
    const HAS_PICTURE_ID: u8 = 0x80;
    const PREDICTED: u8 = 0x40;
    const HAS_LAYERS: u8 = 0x20;
    const BEGINS: u8 = 0x08;
    let first = *payload.first()?;
    let mut at = 1;
    if first & HAS_PICTURE_ID != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    let base = first & HAS_LAYERS == 0 || payload.get(at)? >> 1 & 0x07 == 0;
    let key = first & PREDICTED == 0 && first & BEGINS != 0 && base;
    Some(Says { keyframe: key, begins: key })
}

/// The aggregation header of the AV1 payload format: a coded video sequence begins.
fn av1(payload: &[u8]) -> Option<Says> {
    const CONTINUES: u8 = 0x80;
    const SEQUENCE: u8 = 0x08;
    let header = *payload.first()?;
    let key = header & SEQUENCE != 0 && header & CONTINUES == 0;
    Some(Says { keyframe: key, begins: key })
}

/// The size of the picture of a keyframe, if it says it where it is cheaply found.
pub fn size(codec: VideoCodec, payloads: &[Bytes]) -> Option<Size> {
    let first = payloads.first()?;
    match codec {
        VideoCodec::H264 => payloads.iter().find_map(|payload| h264_size(payload)),
        VideoCodec::VP8 => open_codecs::header(codec, first.get(vp8_descriptor(first)?.len..)?)?.size,
        VideoCodec::VP9 => open_codecs::header(codec, first.get(vp9_descriptor(first)?..)?)?.size,
        VideoCodec::H265 | VideoCodec::AV1 => None,
    }
}

fn h264_size(payload: &[u8]) -> Option<Size> {
    const STAP_A: u8 = 24;
    let mut sets = h264::Assembler::default();
    let (header, rest) = payload.split_first()?;
    if header & 0x1f == STAP_A {
        for unit in aggregated(rest, 1) {
            sets.add_parameter_set(unit);
        }
    } else {
        sets.add_parameter_set(payload);
    }
    sets.format().map(|format| format.size)
}

/// Length of what comes before a VP9 frame (RFC 9628 §4.2), with the sizes of its layers where it has them.
pub(super) fn vp9_descriptor(payload: &[u8]) -> Option<usize> {
    let first = *payload.first()?;
    let mut at = 1;
    if first & 0x80 != 0 {
        at += if payload.get(at)? & 0x80 != 0 { 2 } else { 1 };
    }
    if first & 0x20 != 0 {
        // In flexible mode there is no index of the lowest layer.
        at += if first & 0x10 != 0 { 1 } else { 2 };
    }
    if first & 0x50 == 0x50 {
        // In flexible mode: which pictures it is predicted from. The lowest bit of each byte says that another one follows.
        while payload.get(at)? & 0x01 != 0 {
            at += 1;
        }
        at += 1;
    }
    if first & 0x02 != 0 {
        let structure = *payload.get(at)?;
        at += 1;
        if structure & 0x10 != 0 {
            at += 4 * (1 + usize::from(structure >> 5));
        }
        if structure & 0x08 != 0 {
            let pictures = *payload.get(at)?;
            at += 1;
            for _ in 0..pictures {
                at += 1 + usize::from(payload.get(at)? >> 2 & 0x03);
            }
        }
    }
    Some(at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packetize;
    use crate::media::AccessUnit;
    use proptest::prelude::*;

    #[test]
    fn keyframes_are_told_by_what_their_payloads_begin_with() {
        use VideoCodec::{AV1, H264, H265, VP8, VP9};
        let key = Says { keyframe: true, begins: false };
        let first = Says { keyframe: true, begins: true };
        let sets = Says { keyframe: false, begins: true };
        let none = Says::NOTHING;
        for (codec, payload, expected) in [
            (H264, &[0x65, 1][..], key),
            (H264, &[0x61, 1], none),
            (H264, &[0x67, 1], sets),
            (H264, &[0x78, 0, 2, 0x67, 1, 0, 1, 0x68, 0, 1, 0x65], first),
            (H264, &[0x78, 0, 2, 0x41, 1], none),
            (H264, &[0x78, 0xff, 0xff, 0x65], none),
            (H264, &[0x7c, 0x85, 1], key),
            (H264, &[0x7c, 0x05, 1], key),
            (H264, &[0x7c, 0x81, 1], none),
            (H264, &[0x7c], none),
            (H264, &[], none),
            (H265, &[0x26, 1, 7], key),
            (H265, &[0x02, 1, 7], none),
            (H265, &[0x40, 1, 7], sets),
            (H265, &[0x62, 1, 0x93, 7], key),
            (H265, &[0x60, 1, 0, 2, 0x40, 1, 0, 2, 0x26, 1], first),
            (H265, &[0x60], none),
            (VP8, &[0x10, 0x00], first),
            (VP8, &[0x10, 0x01], none),
            (VP8, &[0x00, 0x00], none),
            (VP8, &[0x11, 0x00], none),
            (VP8, &[0x90, 0xe0, 0x80, 1, 7, 0x20, 0x00], first),
            (VP8, &[0x90, 0x80, 1, 0x00], first),
            (VP8, &[0x90, 0x80], none),
            (VP9, &[0x88, 0x80, 1, 0], first),
            (VP9, &[0xc8, 0x80, 1, 0], none),
            (VP9, &[0x80, 0x80, 1, 0], none),
            (VP9, &[0xa8, 0x80, 1, 0x02, 7], none),
            (VP9, &[0xa8, 0x80, 1, 0x00, 7], first),
            (AV1, &[0x08, 1, 2], first),
            (AV1, &[0x88, 1, 2], none),
            (AV1, &[0x00, 1, 2], none),
        ] {
            assert_eq!(says(codec, payload), expected, "{codec:?} {payload:x?}");
        }
    }

    #[test]
    fn what_we_cut_ourselves_is_read_as_what_it_is() {
        let annex_b = [&[0, 0, 0, 1, 0x67, 66, 0xc0, 30][..], &[0, 0, 0, 1, 0x68, 1], &[0, 0, 0, 1, 0x65]];
        let h264 = [annex_b.concat(), vec![7; 3000]].concat();
        for (codec, data) in [(VideoCodec::H264, h264), (VideoCodec::VP8, vec![0; 3000])] {
            let unit = AccessUnit { codec, ..AccessUnit::sample(&data, true) };
            let payloads = packetize::payloads(&unit, 1);
            assert!(says(codec, &payloads[0]).begins, "{codec:?}");
            assert!(payloads.iter().any(|payload| says(codec, payload).keyframe), "{codec:?}");
        }
    }

    #[test]
    fn keyframes_say_their_size() {
        let vp8 = [0x90, 0x80, 0x80, 1, 0x10, 0, 0, 0x9d, 0x01, 0x2a, 0x80, 0x02, 0x68, 0x41];
        let vp8 = [Bytes::copy_from_slice(&vp8)];
        assert_eq!(size(VideoCodec::VP8, &vp8), Some(Size { width: 640, height: 360 }));
        // By x264: 320×180.
        let sps = [
            0x67, 0x64, 0, 0x0c, 0xac, 0xb4, 0x0a, 0x0c, 0xfc, 0xf8, 0x08, 0x80, 0, 0, 3, 0, 0x80, 0, 0,
            0x19, 7, 0x8a, 0x15, 0x50,
        ];
        let aggregate = [&[0x78, 0, 24][..], &sps, &[0, 1, 0x68]].concat();
        for first in [sps.to_vec(), aggregate] {
            let payloads = [Bytes::from(first), Bytes::from_static(&[0x65, 1])];
            assert_eq!(size(VideoCodec::H264, &payloads), Some(Size { width: 320, height: 180 }));
        }
        assert_eq!(size(VideoCodec::H264, &[]), None);
    }

    proptest! {
        #[test]
        fn no_payload_panics(payload in proptest::collection::vec(any::<u8>(), 0..40)) {
            for codec in [VideoCodec::H264, VideoCodec::H265, VideoCodec::VP8, VideoCodec::VP9, VideoCodec::AV1] {
                says(codec, &payload);
                size(codec, &[Bytes::copy_from_slice(&payload)]);
            }
        }
    }
}
