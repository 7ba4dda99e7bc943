//! A frame: its blocks, and the header in front of the bitstream.

use super::block::{Block, Pushed};
use super::packet::{Packet, SHARD_HEADER};
use crate::read::u16_le;

/// Most blocks of a frame.
const BLOCKS: usize = 4;
/// Length of the usual header.
const SHORT_HEADER: usize = 8;
/// First byte of the usual header, and of the one that only GeForce Experience has.
const SHORT: u8 = 0x01;
const LONG: u8 = 0x81;

/// The declared type of a frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Depends on the one before.
    Predicted,
    /// A keyframe (IDR): decodable alone.
    Idr,
    /// Refreshes a part of the picture.
    IntraRefresh,
    /// Depends on an earlier one that is known to have arrived.
    AfterInvalidation,
    /// Does not say: look into the bitstream.
    Unknown,
}

/// A complete frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Counts from 1.
    pub index: u32,
    /// Its declared type.
    pub kind: Kind,
    /// When it was captured, ticks of 90 kHz; 0 on old hosts.
    pub timestamp: u32,
    /// Time of capture and encoding, tenths of a millisecond; 0 when the host does not report it.
    pub host_latency: u16,
    /// Annex B, or OBUs of AV1.
    pub data: Vec<u8>,
}

/// Length of the long header of a host of this version (`appversion`).
pub fn long_header(version: [i32; 4]) -> usize {
    match version {
        [7, 1, build, _] if build < 446 => 24,
        [7, 1, build, _] if build < 450 => 41,
        _ => 44,
    }
}

/// A frame that is being put together.
#[derive(Debug)]
pub(super) struct Pending {
    pub(super) index: u32,
    timestamp: u32,
    blocks: [Option<Block>; BLOCKS],
    last: u8,
    broken: bool,
}

impl Pending {
    pub(super) fn new(packet: &Packet<'_>) -> Self {
        Self {
            index: packet.frame,
            timestamp: packet.timestamp,
            blocks: [const { None }; BLOCKS],
            last: packet.last_block,
            broken: false,
        }
    }

    /// Takes a packet of this frame, of a stream of this packet size. Returns the number of shards that were recovered.
    pub(super) fn push(&mut self, packet: &Packet<'_>, packet_size: usize) -> Option<usize> {
        let block = self.blocks.get_mut(usize::from(packet.block))?;
        if packet.last_block != self.last {
            return None;
        }
        let len = packet_size - super::OVERHEAD + SHARD_HEADER;
        let block = block.get_or_insert_with(|| Block::new(packet, len));
        match block.push(packet) {
            Pushed::Nothing => None,
            Pushed::Kept => Some(0),
            Pushed::Complete(recovered) => Some(recovered),
            Pushed::Broken => {
                self.broken = true;
                None
            }
        }
    }

    /// It cannot be completed any more.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    pub(super) fn is_complete(&self) -> bool {
        !self.broken && self.needed().all(|block| block.as_ref().is_some_and(Block::is_complete))
    }

    fn needed(&self) -> impl Iterator<Item = &Option<Block>> {
        self.blocks.iter().take(usize::from(self.last) + 1)
    }

    /// The frame, once it is complete. `None` when its header lies.
    pub(super) fn finish(self, long_header: usize) -> Option<Frame> {
        let blocks: Vec<_> = self.needed().flatten().collect();
        let mut data =
            Vec::with_capacity(blocks.iter().flat_map(|block| block.payloads()).map(<[u8]>::len).sum());
        for payload in blocks.iter().flat_map(|block| block.payloads()) {
            data.extend_from_slice(payload);
        }
        let shards: usize = blocks.iter().map(|block| block.shards()).sum();
        let payload = data.len().checked_div(shards)?;
        let came = blocks.last()?.last();
        let (header, kind, end) = match *data.first()? {
            SHORT => {
                let kind = kind(*data.get(3)?);
                let last = usize::from(u16_le(&data, 4)?);
                let exact = (shards - 1) * payload + last;
                match kind {
                    Kind::Unknown => (SHORT_HEADER, kind, without_zeros(&data)),
                    _ if last > payload.min(came) || exact < SHORT_HEADER => return None,
                    _ => (SHORT_HEADER, kind, exact),
                }
            }
            LONG => (long_header, Kind::Unknown, without_zeros(&data)),
            _ => return None,
        };
        let host_latency = if kind == Kind::Unknown { 0 } else { u16_le(&data, 1)? };
        data.truncate(end);
        if data.len() <= header {
            return None;
        }
        data.drain(..header);
        Some(Frame { index: self.index, kind, timestamp: self.timestamp, host_latency, data })
    }
}

fn kind(byte: u8) -> Kind {
    match byte {
        1 => Kind::Predicted,
        2 => Kind::Idr,
        4 => Kind::IntraRefresh,
        5 => Kind::AfterInvalidation,
        _ => Kind::Unknown,
    }
}

/// Length without the zeros at the end, which no NAL unit ends with.
fn without_zeros(data: &[u8]) -> usize {
    data.iter().rposition(|byte| *byte != 0).map_or(0, |last| last + 1)
}
