//! Frames to video packets: header, blocks, shards, parity, encryption. Pure.
//!
//! ```text
//! frame = header | bitstream ─▶ data shards of `payload` bytes ─▶ up to 4 blocks ─▶ + parity ─▶ packets
//! ```

use crate::crypto::{Gcm, Key};
use crate::fec;
use crate::scenario::FrameHeader;

/// Bytes before a shard's payload.
const HEADER: usize = 32;
/// Blocks of a frame.
const MAX_BLOCKS: usize = 4;
/// Shards of a block that has parity.
const MAX_SHARDS: usize = 255;

const PICTURE: u8 = 1;
const END: u8 = 2;
const START: u8 = 4;

/// What a frame is cut by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cut {
    /// Of the SDP; a packet has 16 bytes more.
    pub packet_size: usize,
    /// Parity.
    pub fec_percent: u32,
    /// Of the SDP: least parity of a block.
    pub min_parity: usize,
    /// What frames begin with.
    pub header: FrameHeader,
    /// Length of the header with [`FrameHeader::Long`].
    pub long_header: usize,
    /// The last packet is as long as its content.
    pub short_last: bool,
}

/// A frame to be sent.
#[derive(Debug, Clone, Copy)]
pub struct Frame<'a> {
    /// Counts from 1.
    pub index: u32,
    /// 90 kHz.
    pub timestamp: u32,
    /// Decodable alone.
    pub keyframe: bool,
    /// Tenths of milliseconds that it took to make.
    pub latency: u16,
    /// Annex B.
    pub bitstream: &'a [u8],
}

/// Where a packet is in its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// As it is sent, but for encryption.
    pub bytes: Vec<u8>,
    /// It holds data, not parity.
    pub data: bool,
}

/// Cuts the frames of one session.
#[derive(Debug, Default)]
pub struct Packetizer {
    /// Packets so far.
    sequence: u32,
}

impl Packetizer {
    /// The packets of a frame, in order.
    pub fn cut(&mut self, frame: &Frame<'_>, cut: &Cut) -> Vec<Packet> {
        let payload = cut.packet_size + 16 - HEADER;
        let mut bytes = header(frame, cut, payload);
        bytes.extend_from_slice(frame.bitstream);
        let chunks: Vec<&[u8]> = bytes.chunks(payload).collect();

        let percent = cut.fec_percent as usize;
        let most = MAX_SHARDS * 100 / (100 + percent);
        let needed = chunks.len().div_ceil(most);
        // A frame that is too large for blocks with parity goes without.
        let (blocks, percent) = if needed > MAX_BLOCKS { (MAX_BLOCKS, 0) } else { (needed, percent) };
        let per_block = chunks.len().div_ceil(blocks);
        let last = chunks.chunks(per_block).len() - 1;
        let mut packets = Vec::new();
        for (number, chunks) in chunks.chunks(per_block).enumerate() {
            let place = Place { number, last, percent };
            self.block(&mut packets, frame, cut, chunks, place);
        }
        packets
    }

    fn block(
        &mut self,
        packets: &mut Vec<Packet>,
        frame: &Frame<'_>,
        cut: &Cut,
        chunks: &[&[u8]],
        place: Place,
    ) {
        let data = chunks.len();
        let mut percent = place.percent;
        let mut parity = (data * place.percent).div_ceil(100);
        if percent > 0 && parity < cut.min_parity && data + cut.min_parity <= MAX_SHARDS {
            parity = cut.min_parity;
            percent = 100 * parity / data;
        }
        let mut shards: Vec<Vec<u8>> = (self.sequence..)
            .zip(chunks.iter().enumerate())
            .map(|(sequence, (index, chunk))| {
                let start = if index == 0 { START } else { 0 };
                let end = if index + 1 == data { END } else { 0 };
                let mut shard = vec![0; cut.packet_size + 16];
                shard[16..20].copy_from_slice(&(sequence << 8).to_le_bytes());
                shard[24] = PICTURE | start | end;
                shard[HEADER..HEADER + chunk.len()].copy_from_slice(chunk);
                shard
            })
            .collect();
        // As Sunshine does it: the parity is that of shards whose RTP header, frame and block are still 0.
        let rows = fec::cauchy(data, parity);
        let parity: Vec<Vec<u8>> =
            rows.iter().map(|row| fec::parity(row, shards.iter().map(Vec::as_slice))).collect();
        shards.extend(parity);
        for (index, mut shard) in shards.into_iter().enumerate() {
            let info = (percent as u32) << 4 | (index as u32) << 12 | (data as u32) << 22;
            shard[0] = 0x90;
            shard[1] = 0;
            shard[2..4].copy_from_slice(&(self.sequence as u16).to_be_bytes());
            shard[4..8].copy_from_slice(&frame.timestamp.to_be_bytes());
            shard[8..16].fill(0);
            shard[20..24].copy_from_slice(&frame.index.to_le_bytes());
            shard[26] = 0x10;
            shard[27] = (place.number as u8) << 4 | (place.last as u8) << 6;
            shard[28..32].copy_from_slice(&info.to_le_bytes());
            let ends_frame = place.number == place.last && index + 1 == data;
            if cut.short_last && ends_frame {
                shard.truncate(HEADER + chunks[index].len());
            }
            packets.push(Packet { bytes: shard, data: index < data });
            self.sequence = self.sequence.wrapping_add(1) & 0xff_ffff;
        }
    }
}

#[derive(Clone, Copy)]
struct Place {
    number: usize,
    last: usize,
    percent: usize,
}

fn header(frame: &Frame<'_>, cut: &Cut, payload: usize) -> Vec<u8> {
    if cut.header == FrameHeader::Constant {
        return b"\x017charss".to_vec();
    }
    let mut header = vec![0; if cut.header == FrameHeader::Long { cut.long_header } else { 8 }];
    let total = header.len() + frame.bitstream.len();
    let last = (total - 1) % payload + 1;
    header[0] = if cut.header == FrameHeader::Long { 0x81 } else { 0x01 };
    header[1..3].copy_from_slice(&frame.latency.to_le_bytes());
    header[3] = if frame.keyframe { 2 } else { 1 };
    header[4..6].copy_from_slice(&(last as u16).to_le_bytes());
    header
}

/// How long a host of this `appversion` makes [`FrameHeader::Long`].
pub fn long_header(appversion: &str) -> usize {
    let numbers: Vec<i32> = appversion.split('.').filter_map(|part| part.parse().ok()).collect();
    match numbers[..] {
        [7, 1, 415..=445, ..] => 24,
        [7, 1, 446..=449, ..] => 41,
        _ => 44,
    }
}

/// Encrypts the packets of one session.
pub struct Encryptor {
    gcm: Gcm,
    counter: u64,
}

impl Encryptor {
    /// With the session's key.
    pub fn new(key: &Key) -> Self {
        Self { gcm: Gcm::short(key), counter: 0 }
    }

    /// The packet with its prefix.
    pub fn seal(&mut self, frame: u32, packet: &[u8]) -> Vec<u8> {
        let mut iv = [0; 16];
        iv[..8].copy_from_slice(&self.counter.to_le_bytes());
        iv[11] = b'V';
        self.counter += 1;
        let mut sealed = iv[..12].to_vec();
        sealed.extend(frame.to_le_bytes());
        let mut data = packet.to_vec();
        sealed.extend(self.gcm.seal(&iv, &mut data));
        sealed.extend(data);
        sealed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    const CUT: Cut = Cut {
        packet_size: 1024,
        fec_percent: 20,
        min_parity: 2,
        header: FrameHeader::Short,
        long_header: 44,
        short_last: false,
    };

    fn frame(bitstream: &[u8]) -> Frame<'_> {
        Frame { index: 2, timestamp: 9000, keyframe: true, latency: 7, bitstream }
    }

    /// `fecInfo` of a packet: percent, index, data shards.
    fn info(packet: &[u8]) -> (u32, u32, u32) {
        let info = u32::from_le_bytes(packet[28..32].try_into().unwrap());
        (info >> 4 & 0xff, info >> 12 & 0x3ff, info >> 22)
    }

    #[test]
    fn a_packet_is_as_published_plain_and_encrypted() {
        let mut packetizer = Packetizer { sequence: 5 };
        let packets = packetizer.cut(&frame(&[0, 0, 0, 1, 0x67, 0x42]), &Cut { short_last: true, ..CUT });
        let plain = "90000005000023280000000000000000000500000200000007001000800c40000107\
                     00020e000000000000016742";
        assert_eq!(packets[0].bytes, from_hex(plain).unwrap());
        assert_eq!(packets.len(), 3, "200 % of one");
        let key: Key = std::array::from_fn(|n| n as u8);
        let mut encryptor = Encryptor { gcm: Gcm::short(&key), counter: 3 };
        let published = "030000000000000000000056020000003a7cab38c0f1e3dca38665f60cf98aa1f81487388335f7ffb727\
                         2e58b93f9ab249eaa3dda190d0bec5b58cd34ea9c678e8b70845a09d20286ebb82ca5109";
        assert_eq!(encryptor.seal(2, &packets[0].bytes), from_hex(published).unwrap());
    }

    #[test]
    fn the_first_packet_of_a_real_session_has_our_numbers() {
        // 27 data shards at 20 %: fecInfo 0x06c00140.
        let bitstream = vec![1; 27 * 1008 - 8];
        let packets = Packetizer::default().cut(&Frame { index: 1, ..frame(&bitstream) }, &CUT);
        assert_eq!(packets[0].bytes[16..32], from_hex("0000000001000000050010004001c006").unwrap());
        assert_eq!(packets.len(), 27 + 6);
        assert!(packets.iter().all(|packet| packet.bytes.len() == 1040));
        assert_eq!(info(&packets[32].bytes), (20, 32, 27));
        let last_length = u16::from_le_bytes(packets[0].bytes[36..38].try_into().unwrap());
        assert_eq!(last_length, 1008);
    }

    #[test]
    fn parity_is_that_of_shards_without_their_header() {
        let bitstream: Vec<u8> = (0..3000u32).map(|n| (n * 7) as u8).collect();
        let packets = Packetizer::default().cut(&frame(&bitstream), &CUT);
        let (data, parity): (Vec<_>, Vec<_>) = packets.iter().partition(|packet| packet.data);
        assert_eq!((data.len(), parity.len()), (3, 2));
        // The matrix of (3, 2) as published.
        for (parity, row) in parity.iter().zip([[0x8e, 0xf4, 0x47], [0xf4, 0x8e, 0xa7]]) {
            for at in (16..20).chain(24..26).chain(32..1040) {
                let sum = (0..3).fold(0, |sum, n| sum ^ fec::multiply(row[n], data[n].bytes[at]));
                assert_eq!(parity.bytes[at], sum, "byte {at}");
            }
        }
    }

    #[test]
    fn large_frames_have_blocks_and_huge_ones_no_parity() {
        let of = |shards: usize| {
            let bitstream = vec![9; shards * 1008 - 8];
            Packetizer::default().cut(&frame(&bitstream), &CUT)
        };
        let packets = of(500);
        let blocks: Vec<u8> = packets.iter().map(|packet| packet.bytes[27]).collect();
        assert!(blocks.is_sorted());
        assert_eq!((blocks[0], *blocks.last().unwrap()), (0x80, 0xa0), "3 blocks");
        let starts = packets.iter().filter(|packet| packet.data && packet.bytes[24] & START != 0).count();
        assert_eq!(starts, 3);
        for packet in &packets {
            let (percent, index, data) = info(&packet.bytes);
            assert!(index < data + (data * percent).div_ceil(100) && data <= 212);
        }
        let packets = of(900);
        assert_eq!(packets.len(), 900);
        assert_eq!(info(&packets[0].bytes), (0, 0, 225));
    }

    #[test]
    fn long_headers_have_the_length_of_their_version() {
        assert_eq!(["7.1.431.0", "7.1.447.0", "7.1.450.0"].map(long_header), [24, 41, 44]);
    }
}
