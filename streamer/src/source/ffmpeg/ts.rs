//! Parses ffmpeg's output: MPEG-TS (ISO/IEC 13818-1) with one stream, into packets with their timestamps.
//!
//! Only what ffmpeg's own writer produces is understood: packets of 188 bytes in step, one program whose first
//! stream has the identifier `STREAM_PID`. Anything else is an error, after which ffmpeg is started again.

use bytes::{Bytes, BytesMut};

use crate::source::live::h264::MAX_UNIT;

/// Length of a transport packet.
const PACKET: usize = 188;
const SYNC: u8 = 0x47;
/// Payload of a transport packet with nothing else in it.
const FULL_PAYLOAD: usize = 184;
/// The first stream identifier of ffmpeg (`-mpegts_start_pid`).
const STREAM_PID: u16 = 0x100;
/// Bits of a time.
const TIME_BITS: u32 = 33;

/// Why bytes cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A transport packet does not begin where it should.
    #[error("ffmpeg's output is out of step")]
    Sync,
    /// A packet without an end.
    #[error("a packet of ffmpeg's output is larger than {MAX_UNIT} bytes")]
    TooLarge,
}

/// One packet of the stream: an access unit, or Opus in its envelope.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Presentation time in ticks of 90 kHz, unwrapped beyond the 33 bits of the format.
    pub time: i64,
    /// The payload.
    pub data: Bytes,
}

/// An incremental parser.
#[derive(Debug, Default)]
pub struct Demuxer {
    /// A transport packet that is not complete yet.
    pending: Vec<u8>,
    open: Option<Open>,
    last_time: Option<i64>,
}

/// A packet that is not complete yet.
#[derive(Debug)]
struct Open {
    time: i64,
    /// Its length, if declared, which it is not for large pictures.
    len: Option<usize>,
    data: BytesMut,
}

impl Demuxer {
    /// Takes bytes, and returns the packets that they complete.
    ///
    /// # Errors
    /// [`Error`]; nothing more can be read then.
    pub fn push(&mut self, mut bytes: &[u8], mut packet: impl FnMut(Packet)) -> Result<(), Error> {
        while !bytes.is_empty() {
            let (now, later) = bytes.split_at(bytes.len().min(PACKET - self.pending.len()));
            bytes = later;
            self.pending.extend_from_slice(now);
            if self.pending.len() == PACKET {
                let transport = std::mem::take(&mut self.pending);
                let result = self.transport(&transport, &mut packet);
                self.pending = transport;
                self.pending.clear();
                result?;
            }
        }
        Ok(())
    }

    /// ISO/IEC 13818-1 §2.4.3.2.
    fn transport(&mut self, bytes: &[u8], packet: &mut impl FnMut(Packet)) -> Result<(), Error> {
        if bytes[0] != SYNC {
            return Err(Error::Sync);
        }
        let begins = bytes[1] & 0x40 != 0;
        let pid = u16::from(bytes[1] & 0x1f) << 8 | u16::from(bytes[2]);
        let has_field = bytes[3] & 0x20 != 0;
        let has_payload = bytes[3] & 0x10 != 0;
        if pid != STREAM_PID || !has_payload {
            return Ok(());
        }
        let skip = if has_field { 4 + 1 + usize::from(bytes[4]) } else { 4 };
        let Some(payload) = bytes.get(skip..) else { return Err(Error::Sync) };
        let stuffed = payload.len() < FULL_PAYLOAD;
        let complete = if begins {
            // A packet of unknown length ends where the next begins.
            self.finish(packet);
            self.open = self.begin(payload);
            false
        } else {
            if let Some(open) = &mut self.open {
                open.data.extend_from_slice(payload);
            }
            // ffmpeg uses stuffing only at the end of a packet. So a large picture is known to be complete at once, not
            // only when the next one comes.
            stuffed
        };
        let Some(open) = &self.open else { return Ok(()) };
        if open.data.len() > MAX_UNIT {
            return Err(Error::TooLarge);
        }
        if open.len.map_or(complete, |len| open.data.len() >= len) {
            self.finish(packet);
        }
        Ok(())
    }

    /// ISO/IEC 13818-1 §2.4.3.6. `None` for what has no time or is no such packet.
    fn begin(&mut self, bytes: &[u8]) -> Option<Open> {
        let [0, 0, 1, _, high, low, _, flags, header_len, rest @ ..] = bytes else { return None };
        let [a, b, c, d, e, ..] = *rest else { return None };
        if flags & 0x80 == 0 {
            return None;
        }
        let bits = |byte: u8, mask: u8, shift: u32| i64::from(byte & mask) << shift;
        let time = bits(a, 0x0e, 29)
            | bits(b, 0xff, 22)
            | bits(c, 0xfe, 14)
            | bits(d, 0xff, 7)
            | bits(e, 0xfe, 0) >> 1;
        let header_len = usize::from(*header_len);
        let data = BytesMut::from(rest.get(header_len..)?);
        let len = match usize::from(u16::from_be_bytes([*high, *low])) {
            0 => None,
            len => Some(len.checked_sub(3 + header_len)?),
        };
        Some(Open { time: self.unwrap(time), len, data })
    }

    /// The time nearest to the last one that has these bits.
    fn unwrap(&mut self, time: i64) -> i64 {
        let unused = i64::BITS - TIME_BITS;
        let time = self.last_time.map_or(time, |last| last + (((time - last) << unused) >> unused));
        self.last_time = Some(time);
        time
    }

    fn finish(&mut self, packet: &mut impl FnMut(Packet)) {
        if let Some(mut open) = self.open.take()
            && !open.data.is_empty()
        {
            open.data.truncate(open.len.unwrap_or(usize::MAX));
            packet(Packet { time: open.time, data: open.data.freeze() });
        }
    }
}

/// The Opus packets in one packet of the stream («Opus in MPEG-TS», ETSI TS 103 491 annex; each has a control header
/// with its length). An incomplete packet is left out.
pub fn opus_packets(mut data: Bytes) -> impl Iterator<Item = Bytes> {
    std::iter::from_fn(move || {
        let (start, end) = opus_packet(&data)?;
        let packet = data.slice(start..end);
        data = data.slice(end..);
        Some(packet)
    })
}

fn opus_packet(data: &[u8]) -> Option<(usize, usize)> {
    let [0x7f, flags, rest @ ..] = data else { return None };
    if flags & 0xe0 != 0xe0 {
        return None;
    }
    let more = rest.iter().take_while(|byte| **byte == 0xff).count();
    let len = 255 * more + usize::from(*rest.get(more)?);
    let mut start = 2 + more + 1;
    // Samples to be trimmed at the start and at the end.
    start += 2 * (usize::from(flags & 0x10 != 0) + usize::from(flags & 0x08 != 0));
    if flags & 0x04 != 0 {
        start += 1 + usize::from(*data.get(start)?);
    }
    (start + len <= data.len()).then_some((start, start + len))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// As ffmpeg writes it: the length left out when it does not fit, stuffing in the last transport packet only.
    fn mux(time: u64, data: &[u8]) -> Vec<u8> {
        let mut pes = vec![0, 0, 1, 0xe0];
        pes.extend(u16::try_from(data.len() + 8).unwrap_or(0).to_be_bytes());
        pes.extend([0x80, 0x80, 5]);
        let low = |shift: u32, mask: u64| ((time >> shift) & mask) as u8;
        pes.extend([
            0x21 | low(29, 0x0e),
            low(22, 0xff),
            1 | low(14, 0xfe),
            low(7, 0xff),
            1 | (low(0, 0x7f) << 1),
        ]);
        pes.extend(data);
        let mut out = Vec::new();
        for (i, chunk) in pes.chunks(184).enumerate() {
            out.extend([0x47, if i == 0 { 0x41 } else { 0x01 }, 0, 0x10]);
            match 184 - chunk.len() {
                0 => {}
                1 => {
                    *out.last_mut().unwrap() = 0x30;
                    out.push(0);
                }
                stuffing => {
                    *out.last_mut().unwrap() = 0x30;
                    out.extend([(stuffing - 1) as u8, 0]);
                    out.resize(out.len() + stuffing - 2, 0xff);
                }
            }
            out.extend(chunk);
        }
        out
    }

    fn demux(demuxer: &mut Demuxer, bytes: &[u8]) -> Vec<Packet> {
        let mut packets = Vec::new();
        demuxer.push(bytes, |packet| packets.push(packet)).unwrap();
        packets
    }

    #[test]
    fn a_packet_is_complete_with_its_last_byte_however_large_it_is() {
        for len in [1, 100, 170, 171, 184, 1000, 65_000, 65_600, 300_000] {
            let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8).collect();
            let packets = demux(&mut Demuxer::default(), &mux(1234, &data));
            assert_eq!(packets, [Packet { time: 1234, data: data.into() }], "{len} bytes");
        }
    }

    #[test]
    fn a_large_packet_that_leaves_no_room_ends_where_the_next_begins() {
        let data = vec![7; 184 * 400 - 14];
        let mut demuxer = Demuxer::default();
        assert_eq!(demux(&mut demuxer, &mux(1, &data)), []);
        let packets = demux(&mut demuxer, &mux(2, &[1]));
        assert_eq!(
            packets.iter().map(|packet| (packet.time, packet.data.len())).collect::<Vec<_>>(),
            [(1, data.len()), (2, 1)]
        );
    }

    #[test]
    fn times_go_on_beyond_their_bits() {
        let mut demuxer = Demuxer::default();
        let last = (1u64 << 33) - 10;
        let mut times = Vec::new();
        for time in [last, 20, 10, 1 << 32, last] {
            times
                .extend(demux(&mut demuxer, &mux(time, &[1])).iter().map(|packet| packet.time - last as i64));
        }
        assert_eq!(times, [0, 30, 20, (1 << 32) + 10, 1 << 33]);
    }

    #[test]
    fn opus_is_taken_out_of_its_envelope() {
        let mut data = vec![0x7f, 0xe0, 0xff, 1];
        data.extend([9; 256]);
        // With samples to leave out at the start.
        data.extend([0x7f, 0xf0, 2, 1, 56, 5, 6]);
        data.extend([0x7f, 0xe0, 9, 1]);
        let packets: Vec<_> = opus_packets(data.into()).collect();
        assert_eq!(packets, [Bytes::from(vec![9; 256]), Bytes::from_static(&[5, 6])]);
    }

    proptest! {
        #[test]
        fn anything_is_read_or_refused(mut bytes in proptest::collection::vec(any::<u8>(), 0..2000)) {
            let _ = Demuxer::default().push(&bytes, |_| {});
            // In step, and of the right stream.
            for packet in bytes.chunks_mut(PACKET) {
                for (byte, value) in packet.iter_mut().zip([SYNC, 0x41, 0]) {
                    *byte = value;
                }
            }
            let _ = Demuxer::default().push(&bytes, |packet| {
                let _ = opus_packets(packet.data).count();
            });
            let _ = opus_packets(bytes.into()).count();
        }

        #[test]
        fn it_does_not_matter_how_bytes_arrive(
            lens in proptest::collection::vec(1usize..2000, 1..10),
            cut in 1usize..500,
        ) {
            let bytes: Vec<u8> =
                lens.iter().enumerate().flat_map(|(i, len)| mux(i as u64, &vec![i as u8; *len])).collect();
            let mut demuxer = Demuxer::default();
            let mut packets = Vec::new();
            for part in bytes.chunks(cut) {
                packets.extend(demux(&mut demuxer, part));
            }
            prop_assert_eq!(packets.iter().map(|packet| packet.data.len()).collect::<Vec<_>>(), lens);
        }
    }
}
