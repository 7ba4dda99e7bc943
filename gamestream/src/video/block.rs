//! A block of a frame: data shards, and parity that can replace them.

use super::packet::{FIRST, FLAGS, LAST, Packet, SHARD_HEADER};
use crate::fec::{self, Matrix};

/// See the module.
#[derive(Debug)]
pub(super) struct Block {
    /// Length of every shard.
    len: usize,
    data: usize,
    parity: usize,
    /// Sequence number of the first shard.
    first: u16,
    /// All data shards in a row.
    bytes: Vec<u8>,
    came: Vec<bool>,
    missing: usize,
    /// Payload bytes of the last data shard as received; the rest of it is zeros.
    last: usize,
    /// Parity that came: its row, and its bytes.
    spare: Vec<(usize, Vec<u8>)>,
}

/// The effect of a packet on a block.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Pushed {
    /// It is a duplicate, or contradicts the packets before.
    Nothing,
    /// It is one more.
    Kept,
    /// All data is complete; the number of recovered shards.
    Complete(usize),
    /// The recovered data is invalid: the frame is lost.
    Broken,
}

impl Block {
    /// The block of this packet, whose shards have `len` bytes.
    pub(super) fn new(packet: &Packet<'_>, len: usize) -> Self {
        Self {
            len,
            data: packet.data,
            parity: packet.parity,
            first: first(packet),
            bytes: vec![0; len * packet.data],
            came: vec![false; packet.data],
            missing: packet.data,
            last: len - SHARD_HEADER,
            spare: Vec::new(),
        }
    }

    pub(super) fn is_complete(&self) -> bool {
        self.missing == 0
    }

    /// Number of data shards.
    pub(super) fn shards(&self) -> usize {
        self.data
    }

    /// Payload bytes of the last data shard as received.
    pub(super) fn last(&self) -> usize {
        self.last
    }

    /// Payloads of all data shards, in order.
    pub(super) fn payloads(&self) -> impl Iterator<Item = &[u8]> {
        self.bytes.chunks_exact(self.len).map(|shard| &shard[SHARD_HEADER..])
    }

    pub(super) fn push(&mut self, packet: &Packet<'_>) -> Pushed {
        let same = (self.data, self.parity, self.first) == (packet.data, packet.parity, first(packet));
        if !same || self.is_complete() || packet.shard.len() > self.len {
            return Pushed::Nothing;
        }
        match packet.index.checked_sub(self.data) {
            None if self.came[packet.index] => return Pushed::Nothing,
            None => {
                let is_last = packet.index + 1 == self.data;
                // The last one may be shorter, and no other.
                if packet.shard.len() < self.len && !is_last {
                    return Pushed::Nothing;
                }
                if is_last {
                    self.last = packet.shard.len().saturating_sub(SHARD_HEADER);
                }
                let at = packet.index * self.len;
                self.bytes[at..at + packet.shard.len()].copy_from_slice(packet.shard);
                self.came[packet.index] = true;
                self.missing -= 1;
            }
            Some(row) => {
                if packet.shard.len() != self.len || self.spare.iter().any(|(known, _)| *known == row) {
                    return Pushed::Nothing;
                }
                self.spare.push((row, packet.shard.to_vec()));
            }
        }
        match self.missing {
            0 => Pushed::Complete(0),
            missing if missing <= self.spare.len() => self.recover(),
            _ => Pushed::Kept,
        }
    }

    fn recover(&mut self) -> Pushed {
        let at = |index: usize| index * self.len..(index + 1) * self.len;
        let came: Vec<_> =
            (0..self.data).filter(|i| self.came[*i]).map(|i| (i, &self.bytes[at(i)])).collect();
        let spare: Vec<_> = self.spare.iter().map(|(row, shard)| (*row, &shard[..])).collect();
        let missing: Vec<_> = (0..self.data).filter(|i| !self.came[*i]).collect();
        let matrix = Matrix::Cauchy { parity: self.parity };
        let Some(recovered) = fec::recover(matrix, self.len, &came, &spare, &missing) else {
            return Pushed::Broken;
        };
        for (index, shard) in missing.iter().zip(&recovered) {
            if !self.flags_fit(*index, shard[0]) {
                return Pushed::Broken;
            }
            self.bytes[at(*index)].copy_from_slice(shard);
        }
        self.missing = 0;
        Pushed::Complete(missing.len())
    }

    /// Flags of a recovered shard, which follow from its position.
    fn flags_fit(&self, index: usize, flags: u8) -> bool {
        let is = |flag: u8| flags & flag != 0;
        flags & !FLAGS == 0 && (index != 0 || is(FIRST)) && (index + 1 != self.data || is(LAST))
    }
}

fn first(packet: &Packet<'_>) -> u16 {
    packet.sequence.wrapping_sub(packet.index as u16)
}
