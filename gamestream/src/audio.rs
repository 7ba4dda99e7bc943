//! Sound: datagrams into Opus packets.
//!
//! Four packets are a block, followed by two of parity, all of one size. Packets in order are passed on at once; a
//! packet that is missing holds up the rest of its block until parity has replaced it, or until the next
//! block is under way. Parity is made of what is encrypted, so it is decrypted last.

use std::collections::VecDeque;

use crate::crypto::Session;
use crate::fec::{self, AUDIO_DATA, AUDIO_PARITY, Matrix};
use crate::read::{u16_be, u32_be};

/// Length of an RTP header without extensions, bytes.
const HEADER: usize = 12;
/// RTP header and that of parity.
const PARITY_HEADER: usize = 24;
/// Payload type of packets with sound; the next one is that of parity.
const DATA: u8 = 97;
const PARITY: u8 = 127;
/// Longest payload: 20 ms of the highest bitrate have 1280 bytes.
const MAX_PAYLOAD: usize = 1500;
/// A packet that is further away than this is of another time.
const MAX_JUMP: i16 = 512;

/// Why a datagram is not sound.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("no audio packet")]
pub struct InvalidPacket;

/// A packet of Opus.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// RTP timestamp, milliseconds.
    pub timestamp: u32,
    /// Opus, 48 kHz stereo.
    pub data: Vec<u8>,
}

/// Counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets handed on.
    pub packets: u64,
    /// Packets recovered by parity.
    pub recovered: u64,
    /// Packets that are lost.
    pub lost: u64,
    /// Packets that could not be decrypted.
    pub forged: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Receiver {
    /// Decrypts; `None`: packets are not encrypted.
    session: Option<Session>,
    /// Milliseconds from packet to packet.
    duration: u32,
    /// Sequence number of the packet that is passed on next.
    next: Option<u16>,
    /// At most two, the older one first.
    blocks: VecDeque<Block>,
    ready: VecDeque<Packet>,
    counts: Counts,
}

#[derive(Debug)]
struct Block {
    /// Sequence number of its first packet, a multiple of four.
    base: u16,
    /// Timestamp of its first packet.
    timestamp: u32,
    data: [Option<Vec<u8>>; AUDIO_DATA],
    parity: [Option<Vec<u8>>; AUDIO_PARITY],
}

enum Piece<'a> {
    Data(&'a [u8]),
    Parity(usize, &'a [u8]),
}

impl Receiver {
    /// A receiver for packets of this many milliseconds, encrypted or not.
    pub fn new(session: Option<Session>, duration: u32) -> Self {
        Self {
            session,
            duration,
            next: None,
            blocks: VecDeque::new(),
            ready: VecDeque::new(),
            counts: Counts::default(),
        }
    }

    /// Takes a datagram.
    ///
    /// # Errors
    /// [`InvalidPacket`]; nothing has changed then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidPacket> {
        let kind = bytes.get(1).ok_or(InvalidPacket)? & 0x7f;
        let (sequence, timestamp, piece) = match kind {
            DATA => {
                let sequence = u16_be(bytes, 2).ok_or(InvalidPacket)?;
                let time = u32_be(bytes, 4).ok_or(InvalidPacket)?;
                let offset = u32::from(sequence % AUDIO_DATA as u16) * self.duration;
                (sequence, time.wrapping_sub(offset), Piece::Data(bytes.get(HEADER..).ok_or(InvalidPacket)?))
            }
            PARITY => {
                let row = usize::from(*bytes.get(HEADER).ok_or(InvalidPacket)?);
                let base = u16_be(bytes, HEADER + 2).ok_or(InvalidPacket)?;
                let time = u32_be(bytes, HEADER + 4).ok_or(InvalidPacket)?;
                if row >= AUDIO_PARITY || base % AUDIO_DATA as u16 != 0 {
                    return Err(InvalidPacket);
                }
                (base, time, Piece::Parity(row, bytes.get(PARITY_HEADER..).ok_or(InvalidPacket)?))
            }
            _ => return Err(InvalidPacket),
        };
        let (Piece::Data(payload) | Piece::Parity(_, payload)) = piece;
        if payload.is_empty() || payload.len() > MAX_PAYLOAD {
            return Err(InvalidPacket);
        }
        self.place(sequence, timestamp, piece);
        Ok(())
    }

    /// The next packet.
    pub fn pop(&mut self) -> Option<Packet> {
        self.ready.pop_front()
    }

    /// Counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn place(&mut self, sequence: u16, timestamp: u32, piece: Piece<'_>) {
        let index = usize::from(sequence) % AUDIO_DATA;
        let base = sequence - index as u16;
        let is_data = matches!(piece, Piece::Data(_));
        let due = self.next.map(|next| next - next % AUDIO_DATA as u16);
        match due.map(|due| base.wrapping_sub(due) as i16) {
            Some(ahead) if (0..=MAX_JUMP).contains(&ahead) => {}
            // It has been passed on or given up.
            Some(ahead) if (-MAX_JUMP..0).contains(&ahead) => return,
            _ if is_data => {
                self.blocks.clear();
                self.next = Some(sequence);
            }
            _ => return,
        }
        let place = self.blocks.partition_point(|block| (block.base.wrapping_sub(base) as i16) < 0);
        if self.blocks.get(place).is_none_or(|block| block.base != base) {
            self.blocks.insert(place, Block::new(base, timestamp));
        }
        let block = &mut self.blocks[place];
        match piece {
            Piece::Data(payload) => block.data[index].get_or_insert_with(|| payload.to_vec()),
            Piece::Parity(row, payload) => block.parity[row].get_or_insert_with(|| payload.to_vec()),
        };
        self.counts.recovered += block.recover();
        self.hand_on();
    }

    /// Passes on packets in order. Missing ones are given up once the next block is under way.
    fn hand_on(&mut self) {
        let newest_counts = self.blocks.back().is_some_and(Block::is_under_way);
        while let (Some(next), Some(block)) = (self.next, self.blocks.front()) {
            let is_over = self.blocks.len() > if newest_counts { 1 } else { 2 };
            let gap = block.base.wrapping_sub(next) as i16;
            if gap > 0 {
                // Whole blocks before this one are missing.
                if !is_over && !newest_counts {
                    return;
                }
                self.counts.lost += gap.unsigned_abs() as u64;
                self.next = Some(block.base);
                continue;
            }
            let index = usize::from(gap.unsigned_abs());
            let timestamp = block.timestamp.wrapping_add(index as u32 * self.duration);
            match self.blocks.front().and_then(|block| block.data.get(index)?.clone()) {
                Some(data) => self.emit(next, timestamp, data),
                None if is_over => self.counts.lost += 1,
                None => return,
            }
            self.next = Some(next.wrapping_add(1));
            if index + 1 >= AUDIO_DATA {
                self.blocks.pop_front();
            }
        }
    }

    fn emit(&mut self, sequence: u16, timestamp: u32, mut data: Vec<u8>) {
        if let Some(session) = &self.session {
            match session.open_audio(sequence, &mut data) {
                Ok(len) => data.truncate(len),
                Err(_) => {
                    self.counts.forged += 1;
                    return;
                }
            }
        }
        self.counts.packets += 1;
        self.ready.push_back(Packet { timestamp, data });
    }
}

impl Block {
    fn new(base: u16, timestamp: u32) -> Self {
        Self { base, timestamp, data: Default::default(), parity: Default::default() }
    }

    /// Whether more than one packet of it has arrived: a single one may have overtaken the previous block.
    fn is_under_way(&self) -> bool {
        self.data.iter().chain(&self.parity).flatten().count() > 1
    }

    /// Recovers missing packets, if there is enough parity; returns their number.
    fn recover(&mut self) -> u64 {
        let missing: Vec<_> = (0..AUDIO_DATA).filter(|index| self.data[*index].is_none()).collect();
        let came = self.data.iter().enumerate().filter_map(|(i, data)| Some((i, &**data.as_ref()?)));
        let came: Vec<_> = came.collect();
        let parity = self.parity.iter().enumerate().filter_map(|(i, data)| Some((i, &**data.as_ref()?)));
        let parity: Vec<_> = parity.collect();
        let Some((_, any)) = parity.first() else { return 0 };
        if missing.is_empty() {
            return 0;
        }
        let Some(recovered) = fec::recover(Matrix::Audio, any.len(), &came, &parity, &missing) else {
            return 0;
        };
        for (index, data) in missing.iter().zip(recovered) {
            self.data[*index] = Some(data);
        }
        missing.len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Blocks of four packets and parity; packet `n` is eight bytes of `n`.
    fn host(from: u16, blocks: u16) -> Vec<Vec<u8>> {
        let mut out = Vec::new();
        for base in (0..blocks).map(|block| from.wrapping_add(block * 4)) {
            let data: Vec<Vec<u8>> = (0..4).map(|i| vec![base.wrapping_add(i) as u8; 8]).collect();
            for (i, payload) in (0u16..).zip(&data) {
                let sequence = base.wrapping_add(i);
                let mut packet = vec![0x80, DATA];
                packet.extend(sequence.to_be_bytes());
                packet.extend((u32::from(sequence) * 10).to_be_bytes());
                packet.extend([0; 4]);
                packet.extend(payload);
                out.push(packet);
            }
            for (row, payload) in (0u8..).zip(fec::tests::encode(Matrix::Audio, 2, &data)) {
                let mut packet = vec![0x80, PARITY];
                packet.extend(base.wrapping_add(4 + u16::from(row)).to_be_bytes());
                packet.extend([0; 8]);
                packet.extend([row, DATA]);
                packet.extend(base.to_be_bytes());
                packet.extend((u32::from(base) * 10).to_be_bytes());
                packet.extend([0; 4]);
                packet.extend(payload);
                out.push(packet);
            }
        }
        out
    }

    fn all(receiver: &mut Receiver) -> Vec<u8> {
        std::iter::from_fn(|| receiver.pop()).map(|packet| packet.data[0]).collect()
    }

    #[test]
    fn packets_of_a_real_host_are_read() {
        let mut receiver = Receiver::new(None, 10);
        let mut first = hex::decode("806100000000000000000000").unwrap();
        first.extend([0xf4; 120]);
        receiver.push(&first).unwrap();
        assert_eq!(receiver.pop(), Some(Packet { timestamp: 0, data: vec![0xf4; 120] }));
        let mut second = hex::decode("806100010000000a00000000").unwrap();
        second.extend([0xf4; 120]);
        receiver.push(&second).unwrap();
        assert_eq!(receiver.pop().map(|packet| packet.timestamp), Some(10));
    }

    #[test]
    fn what_comes_in_order_is_handed_on_at_once() {
        let mut receiver = Receiver::new(None, 10);
        for packet in &host(0, 2) {
            receiver.push(packet).unwrap();
            let expected = usize::from(packet[1] == DATA);
            assert_eq!(all(&mut receiver).len(), expected);
        }
    }

    #[test]
    fn two_lost_packets_of_a_block_come_back_with_their_times() {
        let mut receiver = Receiver::new(None, 10);
        let packets = host(0, 2);
        for (_, packet) in packets.iter().enumerate().filter(|(i, _)| ![7, 8].contains(i)) {
            receiver.push(packet).unwrap();
        }
        let out: Vec<_> = std::iter::from_fn(|| receiver.pop()).map(|p| (p.data[0], p.timestamp)).collect();
        assert_eq!(out, (0..8).map(|n| (n, u32::from(n) * 10)).collect::<Vec<_>>());
        assert_eq!((receiver.counts().recovered, receiver.counts().lost), (2, 0));
    }

    #[test]
    fn what_is_lost_for_good_is_given_up_when_the_next_block_is_under_way() {
        let mut receiver = Receiver::new(None, 10);
        let packets = host(0, 3);
        let lost = [1, 2, 4, 5];
        for (_, packet) in packets.iter().enumerate().filter(|(i, _)| !lost.contains(i)) {
            receiver.push(packet).unwrap();
        }
        assert_eq!(all(&mut receiver), [0, 3, 4, 5, 6, 7, 8, 9, 10, 11]);
        assert_eq!(receiver.counts().lost, 2);
    }

    #[test]
    fn a_whole_lost_block_is_given_up_and_numbers_may_begin_anew() {
        let mut receiver = Receiver::new(None, 10);
        let packets = host(65528, 4);
        for packet in packets[..6].iter().chain(&packets[12..]) {
            receiver.push(packet).unwrap();
        }
        assert_eq!(all(&mut receiver), [248, 249, 250, 251, 0, 1, 2, 3, 4, 5, 6, 7]);
        assert_eq!(receiver.counts().lost, 4);
        for packet in &host(30_000, 1) {
            receiver.push(packet).unwrap();
        }
        assert_eq!(all(&mut receiver).len(), 4);
    }

    #[test]
    fn the_middle_of_a_block_is_a_beginning_too() {
        let mut receiver = Receiver::new(None, 10);
        for packet in &host(0, 2)[2..] {
            receiver.push(packet).unwrap();
        }
        assert_eq!(all(&mut receiver), [2, 3, 4, 5, 6, 7]);
    }

    proptest! {
        #[test]
        fn what_comes_out_is_in_order_whatever_happens_on_the_way(
            order in proptest::collection::vec((0usize..60, any::<bool>()), 0..200)
        ) {
            let packets = host(0, 10);
            let mut receiver = Receiver::new(None, 10);
            for (index, keep) in order {
                if keep {
                    receiver.push(&packets[index]).unwrap();
                }
                prop_assert!(receiver.blocks.len() <= 3 + 128);
            }
            let out = all(&mut receiver);
            prop_assert!(out.windows(2).all(|pair| pair[0] < pair[1]), "{:?}", out);
        }

        #[test]
        fn no_bytes_panic(packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..40), 0..40)) {
            let mut receiver = Receiver::new(Some(Session::new([1; 16], 2)), 10);
            for mut packet in packets {
                if let Some(kind) = packet.get_mut(1) {
                    *kind = if *kind & 1 == 0 { DATA } else { PARITY };
                }
                let _ = receiver.push(&packet);
            }
        }
    }
}
