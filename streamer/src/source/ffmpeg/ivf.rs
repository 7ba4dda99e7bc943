//! IVF: VP8, VP9 and AV1 from and to ffmpeg, frame by frame with their timestamps.
//!
//! ```text
//! file:  "DKIF"  version 2  length of this header 2  codec 4  width 2  height 2  units per second 4  ticks per unit 4  …
//! frame: length 4  time 8  data
//! ```
//! All numbers little endian.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use common::media::VideoCodec;

use super::ts::Packet;
use crate::media::Size;
use crate::source::live::h264::MAX_UNIT;

/// The signature.
pub const MAGIC: [u8; 4] = *b"DKIF";
const HEADER: usize = 32;
const FRAME_HEADER: usize = 12;
/// Units per second of the timestamps that are returned.
const TICKS: i128 = 90_000;
/// Units per second of the timestamps that we write.
const OUR_UNITS: u32 = 1000;

/// Why bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The signature is missing.
    #[error("ffmpeg's output is not IVF")]
    Header,
    /// An unexpected codec.
    #[error("ffmpeg's output is of an unknown codec")]
    Codec,
    /// A frame without an end.
    #[error("a frame of ffmpeg's output is larger than {MAX_UNIT} bytes")]
    TooLarge,
}

/// The header of the file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Format {
    /// Codec of all frames.
    pub codec: VideoCodec,
    /// Size of the first picture.
    pub size: Size,
    /// Units of time per second, and how many of them a tick of its times is.
    rate: (u32, u32),
}

/// An incremental parser.
#[derive(Debug, Default)]
pub struct Demuxer {
    pending: BytesMut,
    format: Option<Format>,
}

impl Demuxer {
    /// The header, once it has been read.
    pub fn format(&self) -> Option<Format> {
        self.format
    }

    /// Takes bytes, and returns the frames that they complete.
    ///
    /// # Errors
    /// [`Error`]; nothing more can be read then.
    pub fn push(&mut self, bytes: &[u8], mut packet: impl FnMut(Format, Packet)) -> Result<(), Error> {
        self.pending.extend_from_slice(bytes);
        loop {
            let Some(format) = self.format else {
                if self.pending.len() < HEADER {
                    return Ok(());
                }
                self.format = Some(read_header(&self.pending.split_to(HEADER))?);
                continue;
            };
            let Some(&[a, b, c, d]) = self.pending.first_chunk() else { return Ok(()) };
            let len = u32::from_le_bytes([a, b, c, d]) as usize;
            if len > MAX_UNIT {
                return Err(Error::TooLarge);
            }
            if self.pending.len() < FRAME_HEADER + len {
                return Ok(());
            }
            self.pending.advance(4);
            let time = format.ticks(self.pending.get_u64_le());
            let data = self.pending.split_to(len).freeze();
            packet(format, Packet { time, data });
        }
    }
}

impl Format {
    /// A time as ticks of 90 kHz.
    fn ticks(&self, time: u64) -> i64 {
        let (units, per_tick) = self.rate;
        let ticks = i128::from(time) * i128::from(per_tick) * TICKS / i128::from(units);
        // No valid timestamp is that large.
        i64::try_from(ticks).unwrap_or(i64::MAX)
    }
}

fn read_header(bytes: &[u8]) -> Result<Format, Error> {
    let word = |at: usize| u32::from_le_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    if bytes[..4] != MAGIC {
        return Err(Error::Header);
    }
    let codec = match &bytes[8..12] {
        b"VP80" => VideoCodec::VP8,
        b"VP90" => VideoCodec::VP9,
        b"AV01" => VideoCodec::AV1,
        _ => return Err(Error::Codec),
    };
    let size = Size { width: word(12) & 0xffff, height: word(12) >> 16 };
    let rate = (word(16), word(20));
    if rate.0 == 0 || size.width == 0 || size.height == 0 {
        return Err(Error::Header);
    }
    Ok(Format { codec, size, rate })
}

/// The header of what we write: `None` if IVF does not support this codec. Timestamps are milliseconds.
pub fn header(codec: VideoCodec, size: Size) -> Option<Bytes> {
    let name = match codec {
        VideoCodec::VP8 => b"VP80",
        VideoCodec::VP9 => b"VP90",
        VideoCodec::AV1 => b"AV01",
        VideoCodec::H264 | VideoCodec::H265 => return None,
    };
    let mut header = BytesMut::with_capacity(HEADER);
    header.put_slice(&MAGIC);
    header.put_u16_le(0);
    header.put_u16_le(HEADER as u16);
    header.put_slice(name);
    for side in [size.width, size.height] {
        header.put_u16_le(u16::try_from(side).unwrap_or(u16::MAX));
    }
    header.put_u32_le(OUR_UNITS);
    header.put_u32_le(1);
    header.put_u64_le(0);
    Some(header.freeze())
}

/// One picture, shown at `time_ms`.
pub fn frame(time_ms: u32, picture: &[u8]) -> Bytes {
    let mut frame = BytesMut::with_capacity(FRAME_HEADER + picture.len());
    // At most MAX_UNIT.
    frame.put_u32_le(picture.len() as u32);
    frame.put_u64_le(time_ms.into());
    frame.put_slice(picture);
    frame.freeze()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SIZE: Size = Size { width: 320, height: 180 };

    #[test]
    fn what_is_written_is_read_however_it_arrives() {
        let frames = [frame(0, &[1, 2, 3]), frame(40, &[]), frame(u32::MAX, &[9; 5000])];
        let file = [&header(VideoCodec::VP9, SIZE).unwrap()[..], &frames.concat()].concat();
        for cut in [1, 31, 7000] {
            let mut demuxer = Demuxer::default();
            let mut read = Vec::new();
            for part in file.chunks(cut) {
                demuxer
                    .push(part, |format, packet| read.push((format.codec, packet.time, packet.data)))
                    .unwrap();
            }
            assert_eq!(
                (demuxer.format().unwrap().codec, demuxer.format().unwrap().size),
                (VideoCodec::VP9, SIZE)
            );
            let seen: Vec<_> = read.iter().map(|(_, time, data)| (*time, data.len())).collect();
            assert_eq!(seen, [(0, 3), (3600, 0), (i64::from(u32::MAX) * 90, 5000)]);
        }
        assert!(header(VideoCodec::H264, SIZE).is_none());
    }

    #[test]
    fn what_is_not_ivf_is_refused() {
        let file = |change: fn(&mut Vec<u8>)| {
            let mut bytes = header(VideoCodec::VP8, SIZE).unwrap().to_vec();
            bytes.extend([0xff; 4]);
            change(&mut bytes);
            Demuxer::default().push(&bytes, |_, _| {}).unwrap_err()
        };
        assert_eq!(file(|bytes| bytes[0] = 0), Error::Header);
        assert_eq!(file(|bytes| bytes[8] = b'X'), Error::Codec);
        assert_eq!(file(|bytes| bytes[16..20].fill(0)), Error::Header);
        assert_eq!(file(|_| {}), Error::TooLarge);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let mut file = header(VideoCodec::AV1, SIZE).unwrap().to_vec();
            file.extend(&bytes);
            let _ = Demuxer::default().push(&file, |_, _| {});
            let _ = Demuxer::default().push(&bytes, |_, _| {});
        }
    }
}
