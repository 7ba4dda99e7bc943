//! Whole access units again from the RTP payloads that they were cut into: for carriers other than RTP. Pure.
//!
//! The reverse of [`crate::feed::packetize`], which also takes what publishers have cut by themselves.

use bytes::{BufMut, Bytes, BytesMut};
use common::media::VideoCodec;

use super::keyframe::{vp8_descriptor, vp9_descriptor};

const START_CODE: [u8; 4] = [0, 0, 0, 1];

/// Appends the access unit of these payloads, which are all of one unit in their order: H.264 and H.265 as Annex B; VP8 and VP9 as one
/// frame; AV1 as a temporal unit, its OBUs with their lengths. `None` for payloads that cannot be read; what was appended is then of
/// no use.
pub fn put(codec: VideoCodec, payloads: &[Bytes], out: &mut BytesMut) -> Option<()> {
    match codec {
        VideoCodec::H264 => payloads.iter().try_for_each(|payload| h264(payload, out)),
        VideoCodec::H265 => payloads.iter().try_for_each(|payload| h265(payload, out)),
        VideoCodec::VP8 => payloads.iter().try_for_each(|payload| {
            out.put_slice(payload.get(vp8_descriptor(payload)?.len..)?);
            Some(())
        }),
        VideoCodec::VP9 => payloads.iter().try_for_each(|payload| {
            out.put_slice(payload.get(vp9_descriptor(payload)?..)?);
            Some(())
        }),
        VideoCodec::AV1 => av1(payloads, out),
    }
}

fn put_unit(parts: &[&[u8]], out: &mut BytesMut) {
    out.put_slice(&START_CODE);
    for part in parts {
        out.put_slice(part);
    }
}

/// RFC 6184.
fn h264(payload: &[u8], out: &mut BytesMut) -> Option<()> {
    const STAP_A: u8 = 24;
    const FU_A: u8 = 28;
    const FU_START: u8 = 0x80;
    let (&header, rest) = payload.split_first()?;
    match header & 0x1f {
        STAP_A => aggregated(rest, out)?,
        FU_A => {
            let (&fragment, part) = rest.split_first()?;
            if fragment & FU_START != 0 {
                put_unit(&[&[header & 0xe0 | fragment & 0x1f]], out);
            }
            out.put_slice(part);
        }
        _ => put_unit(&[payload], out),
    }
    Some(())
}

/// RFC 7798, without decoding order numbers.
fn h265(payload: &[u8], out: &mut BytesMut) -> Option<()> {
    const AGGREGATION: u8 = 48;
    const FRAGMENT: u8 = 49;
    const FU_START: u8 = 0x80;
    let (&[high, low], rest) = payload.split_first_chunk::<2>()?;
    match high >> 1 & 0x3f {
        AGGREGATION => aggregated(rest, out)?,
        FRAGMENT => {
            let (&fragment, part) = rest.split_first()?;
            if fragment & FU_START != 0 {
                put_unit(&[&[high & 0x81 | (fragment & 0x3f) << 1, low]], out);
            }
            out.put_slice(part);
        }
        _ => put_unit(&[payload], out),
    }
    Some(())
}

/// NAL units behind their lengths of two bytes.
fn aggregated(mut rest: &[u8], out: &mut BytesMut) -> Option<()> {
    while !rest.is_empty() {
        let (len, behind) = rest.split_first_chunk::<2>()?;
        let (unit, next) = behind.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
        put_unit(&[unit], out);
        rest = next;
    }
    Some(())
}

/// The AOM's payload format: OBUs as elements, which may go on in the next packet, without lengths of their own.
fn av1(payloads: &[Bytes], out: &mut BytesMut) -> Option<()> {
    const CONTINUES: u8 = 0x80;
    const TEMPORAL_DELIMITER: [u8; 2] = [0x12, 0];
    out.put_slice(&TEMPORAL_DELIMITER);
    let mut open = BytesMut::new();
    for payload in payloads {
        let (&header, mut rest) = payload.split_first()?;
        let mut continues = header & CONTINUES != 0;
        // Zero: each element has a length. Otherwise so many elements, the last of which has none.
        let mut left = header >> 4 & 0x03;
        while !rest.is_empty() {
            let bare = left == 1;
            left = left.saturating_sub(1);
            let (element, next) = if bare { (rest, &[][..]) } else { sized(rest)? };
            if !std::mem::take(&mut continues) {
                put_obu(&mut open, out)?;
            }
            open.put_slice(element);
            rest = next;
        }
    }
    put_obu(&mut open, out)
}

fn sized(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut len = 0_usize;
    for (n, byte) in bytes.iter().enumerate().take(4) {
        len |= usize::from(byte & 0x7f) << (7 * n);
        if byte & 0x80 == 0 {
            return bytes.get(n + 1..)?.split_at_checked(len);
        }
    }
    None
}

/// Writes an OBU with its length, and empties `obu`.
fn put_obu(obu: &mut BytesMut, out: &mut BytesMut) -> Option<()> {
    const HAS_EXTENSION: u8 = 0x04;
    const HAS_SIZE: u8 = 0x02;
    let Some(&header) = obu.first() else { return Some(()) };
    if header & HAS_SIZE != 0 {
        out.put_slice(obu);
        obu.clear();
        return Some(());
    }
    let headers = if header & HAS_EXTENSION == 0 { 1 } else { 2 };
    let (first, body) = obu.split_at_checked(headers)?;
    out.put_u8(header | HAS_SIZE);
    out.put_slice(&first[1..]);
    let mut len = body.len();
    while len >= 0x80 {
        out.put_u8(len as u8 | 0x80);
        len >>= 7;
    }
    out.put_u8(len as u8);
    out.put_slice(body);
    obu.clear();
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::feed::packetize;
    use crate::media::AccessUnit;

    fn again(codec: VideoCodec, data: &[u8]) -> Vec<u8> {
        let unit = AccessUnit { codec, ..AccessUnit::sample(data, true) };
        let mut out = BytesMut::new();
        put(codec, &packetize::payloads(&unit, 7), &mut out).expect("payloads of our own");
        out.to_vec()
    }

    #[test]
    fn a_unit_is_the_same_after_it_was_cut() {
        let long: Vec<u8> = (0..5000).map(|n| (n % 251) as u8 | 1).collect();
        let h264 =
            [&[0, 0, 0, 1, 0x67, 1, 2][..], &[0, 0, 0, 1, 0x68, 3], &[0, 0, 0, 1, 0x65], &long].concat();
        assert_eq!(again(VideoCodec::H264, &h264), h264);
        let h265 = [&[0, 0, 0, 1, 0x40, 1, 2][..], &[0, 0, 0, 1, 0x42, 1, 3], &[0, 0, 0, 1, 0x26, 1], &long]
            .concat();
        assert_eq!(again(VideoCodec::H265, &h265), h265);
        assert_eq!(again(VideoCodec::VP8, &long), long);
        assert_eq!(again(VideoCodec::VP9, &long), long);
        // Temporal delimiter; sequence header of 3 bytes; frame of 300 bytes with an extension.
        let av1 = [&[0x12, 0, 0x0a, 3, 1, 2, 3, 0x36, 0x20, 0xac, 0x02][..], &long[..300]].concat();
        assert_eq!(again(VideoCodec::AV1, &av1), av1);
        let long_obu = [&[0x12, 0, 0x32, 0x88, 0x27][..], &long].concat();
        assert_eq!(again(VideoCodec::AV1, &long_obu), long_obu);
    }

    #[test]
    fn the_last_of_a_number_of_elements_has_no_length() {
        let payload = Bytes::from_static(&[0x20, 2, 0x08, 5, 0x30, 6, 7]);
        let mut out = BytesMut::new();
        put(VideoCodec::AV1, &[payload], &mut out).unwrap();
        assert_eq!(out[..], [0x12, 0, 0x0a, 1, 5, 0x32, 2, 6, 7]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic(payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..4)) {
            let payloads: Vec<Bytes> = payloads.into_iter().map(Bytes::from).collect();
            for codec in
                [VideoCodec::H264, VideoCodec::H265, VideoCodec::VP8, VideoCodec::VP9, VideoCodec::AV1]
            {
                let _ = put(codec, &payloads, &mut BytesMut::new());
            }
        }
    }
}
