//! FLV, which ffmpeg reads from us: the only container with timestamps, H.264, AAC and G.711 whose packets ffmpeg takes
//! as soon as they are complete.
//!
//! Adobe Flash Video File Format Specification 10.1, annex E. Times are milliseconds.

use bytes::{BufMut, Bytes, BytesMut};

use crate::feed::packetize::nal_units;

const AUDIO: u8 = 8;
const VIDEO: u8 = 9;
/// `CodecID` of AVC.
const AVC: u8 = 7;
const AVC_CONFIG: u8 = 0;
const AVC_UNIT: u8 = 1;
/// Most parameter sets of each kind in a configuration.
const MAX_SETS: usize = 31;

/// Sound that can be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sound {
    /// AAC, its `AudioSpecificConfig` beside it.
    Aac,
    /// G.711 A-law, 8 kHz mono.
    PcmA,
    /// G.711 µ-law, 8 kHz mono.
    PcmU,
}

/// The header of the file.
pub fn header(video: bool) -> Bytes {
    let has = if video { 1 } else { 4 };
    Bytes::copy_from_slice(&[b'F', b'L', b'V', 1, has, 0, 0, 0, 9, 0, 0, 0, 0])
}

/// The configuration of the pictures that follow, from the parameter sets of a keyframe.
pub fn video_config(time_ms: u32, annex_b: &[u8]) -> Bytes {
    let sets = |kind: u8| -> Vec<&[u8]> {
        let all = nal_units(annex_b).filter(|nal| nal[0] & 0x1f == kind);
        all.filter(|set| set.len() >= 4 && u16::try_from(set.len()).is_ok()).take(MAX_SETS).collect()
    };
    let sps = sets(7);
    let pps = sets(8);
    tag(VIDEO, time_ms, |body| {
        body.put_slice(&[1 << 4 | AVC, AVC_CONFIG, 0, 0, 0]);
        // ISO/IEC 14496-15 §5.2.4.1; lengths of four bytes.
        let [profile, constraints, level] =
            sps.first().map_or([66, 0xc0, 30], |sps| [sps[1], sps[2], sps[3]]);
        body.put_slice(&[1, profile, constraints, level, 0xff]);
        for (count, sets) in [(0xe0 | sps.len() as u8, sps), (pps.len() as u8, pps)] {
            body.put_u8(count);
            for set in sets {
                // Checked above.
                body.put_u16(set.len() as u16);
                body.put_slice(set);
            }
        }
    })
}

/// One access unit, decoded at `decode_ms` and shown at `show_ms`.
pub fn video(decode_ms: u32, show_ms: u32, keyframe: bool, annex_b: &[u8]) -> Bytes {
    tag(VIDEO, decode_ms, |body| {
        let kind = if keyframe { 1 } else { 2 };
        let [_, offset @ ..] = show_ms.wrapping_sub(decode_ms).to_be_bytes();
        body.put_slice(&[kind << 4 | AVC, AVC_UNIT]);
        body.put_slice(&offset);
        for nal in nal_units(annex_b) {
            // An access unit is at most 8 MiB.
            body.put_u32(nal.len() as u32);
            body.put_slice(nal);
        }
    })
}

/// The `AudioSpecificConfig` of the AAC that follows.
pub fn aac_config(config: &[u8]) -> Bytes {
    tag(AUDIO, 0, |body| {
        body.put_slice(&[0xaf, 0]);
        body.put_slice(config);
    })
}

/// One packet of sound.
pub fn sound(time_ms: u32, kind: Sound, data: &[u8]) -> Bytes {
    tag(AUDIO, time_ms, |body| {
        match kind {
            Sound::Aac => body.put_slice(&[0xaf, 1]),
            Sound::PcmA => body.put_u8(0x72),
            Sound::PcmU => body.put_u8(0x82),
        }
        body.put_slice(data);
    })
}

fn tag(kind: u8, time_ms: u32, write: impl FnOnce(&mut BytesMut)) -> Bytes {
    const HEADER: usize = 11;
    let mut tag = BytesMut::new();
    let [high, time @ ..] = time_ms.to_be_bytes();
    tag.put_slice(&[kind, 0, 0, 0]);
    tag.put_slice(&time);
    tag.put_slice(&[high, 0, 0, 0]);
    write(&mut tag);
    // 24 bits: what is written here has at most 8 MiB.
    let len = (tag.len() - HEADER) as u32;
    tag[1..4].copy_from_slice(&len.to_be_bytes()[1..]);
    tag.put_u32(len + HEADER as u32);
    tag.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_picture_has_its_times_and_lengths() {
        let tag = video(0x0102_0304, 0x0102_0304 + 80, true, &[0, 0, 0, 1, 0x65, 1, 2, 0, 0, 1, 0x65, 3]);
        let body = [0x17, 1, 0, 0, 80, 0, 0, 0, 3, 0x65, 1, 2, 0, 0, 0, 2, 0x65, 3];
        assert_eq!(&tag[..11], [9, 0, 0, 18, 2, 3, 4, 1, 0, 0, 0]);
        assert_eq!(&tag[11..29], body);
        assert_eq!(&tag[29..], [0, 0, 0, 29]);
    }

    #[test]
    fn the_configuration_has_the_parameter_sets() {
        let unit = [0, 0, 0, 1, 0x67, 66, 0xc0, 31, 9, 0, 0, 0, 1, 0x68, 5, 6, 7, 0, 0, 1, 0x65, 1];
        let tag = video_config(0, &unit);
        let avcc = [1, 66, 0xc0, 31, 0xff, 0xe1, 0, 5, 0x67, 66, 0xc0, 31, 9, 1, 0, 4, 0x68, 5, 6, 7];
        assert_eq!(&tag[16..tag.len() - 4], avcc);
    }
}
