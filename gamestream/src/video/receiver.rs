//! Puts frames in order, and detects losses.

use std::collections::VecDeque;

use super::frame::{Frame, Kind, Pending};
use super::packet::{InvalidPacket, Packet};

/// Frames whose packets are kept at a time: packets may be reordered across one border.
const WINDOW: u32 = 2;

/// A frame number that is further away than this is not accepted at once: one wrong number must not make all that
/// follows late.
const FAR: u32 = 128;
/// After this many packets in a row from far away, their number is accepted.
const CONVINCING: u32 = 16;

/// Counters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Packets that were of use.
    pub packets: u64,
    /// Packets that came twice, too late, or that contradict others.
    pub useless: u64,
    /// Shards that parity has replaced.
    pub recovered: u64,
    /// Frames that were handed on.
    pub frames: u64,
    /// Frames that are lost.
    pub lost: u64,
    /// Frames that came but cannot be decoded, as one before them is lost.
    pub skipped: u64,
}

/// See the module.
#[derive(Debug)]
pub struct Receiver {
    packet_size: usize,
    long_header: usize,
    /// Number of the frame that is passed on next; unknown before the first packet.
    next: Option<u32>,
    /// Frames from `next` on, by number.
    pending: Vec<Pending>,
    /// Packets in a row from far away.
    strays: u32,
    ready: VecDeque<Frame>,
    /// Nothing can be decoded before an IDR frame.
    broken: bool,
    /// A frame came since: the way is free again, so asking for one makes sense.
    wants_idr: bool,
    is_idr: fn(&[u8]) -> bool,
    counts: Counts,
}

impl Receiver {
    /// A receiver for a stream of this packet size (at least 64), and this length of long headers. `is_idr` parses
    /// bitstreams of frames without a declared type.
    pub fn new(packet_size: usize, long_header: usize, is_idr: fn(&[u8]) -> bool) -> Self {
        Self {
            packet_size: packet_size.max(64),
            long_header,
            next: None,
            pending: Vec::new(),
            strays: 0,
            ready: VecDeque::new(),
            broken: true,
            wants_idr: false,
            is_idr,
            counts: Counts::default(),
        }
    }

    /// Takes a (decrypted) packet.
    ///
    /// # Errors
    /// [`InvalidPacket`]; nothing has changed then.
    pub fn push(&mut self, bytes: &[u8]) -> Result<(), InvalidPacket> {
        let packet = Packet::read(bytes, self.packet_size)?;
        let mut next = *self.next.get_or_insert(packet.frame);
        if is_far(packet.frame, next) {
            self.counts.useless += 1;
            self.strays += 1;
            if self.strays < CONVINCING {
                return Ok(());
            }
            self.begin_anew(packet.frame);
            next = packet.frame;
        }
        self.strays = 0;
        let ahead = packet.frame.wrapping_sub(next);
        if ahead > u32::MAX / 2 {
            self.counts.useless += 1;
            return Ok(());
        }
        if ahead >= WINDOW {
            self.give_up_before(packet.frame.wrapping_sub(WINDOW - 1));
        }
        let place = self.pending.iter().position(|frame| frame.index == packet.frame);
        let place = place.unwrap_or_else(|| {
            self.pending.push(Pending::new(&packet));
            self.pending.len() - 1
        });
        let frame = &mut self.pending[place];
        match frame.push(&packet, self.packet_size) {
            Some(recovered) => {
                self.counts.packets += 1;
                self.counts.recovered += recovered as u64;
            }
            None => self.counts.useless += 1,
        }
        if frame.is_complete() {
            let frame = self.pending.swap_remove(place);
            // Those before it will not come any more.
            self.give_up_before(frame.index);
            self.next = Some(frame.index.wrapping_add(1));
            self.complete(frame);
        } else if frame.is_broken() {
            self.give_up_before(packet.frame.wrapping_add(1));
        }
        Ok(())
    }

    /// The next frame that can be decoded.
    pub fn pop(&mut self) -> Option<Frame> {
        self.ready.pop_front()
    }

    /// Whether the host is to be asked for an IDR frame; true until one came.
    pub fn wants_idr(&self) -> bool {
        self.broken && self.wants_idr
    }

    /// Counters.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn begin_anew(&mut self, frame: u32) {
        self.pending.clear();
        self.next = Some(frame);
        self.lose(1);
    }

    fn complete(&mut self, frame: Pending) {
        let Some(frame) = frame.finish(self.long_header) else { return self.lose(1) };
        let idr = match frame.kind {
            Kind::Idr => true,
            Kind::Unknown => (self.is_idr)(&frame.data),
            Kind::Predicted | Kind::IntraRefresh | Kind::AfterInvalidation => false,
        };
        self.broken &= !idr;
        if self.broken {
            self.wants_idr = true;
            self.counts.skipped += 1;
            return;
        }
        self.wants_idr = false;
        self.counts.frames += 1;
        self.ready.push_back(frame);
    }

    /// Frames before this one are lost, those that are complete excepted.
    fn give_up_before(&mut self, index: u32) {
        let Some(next) = self.next else { return };
        let lost = index.wrapping_sub(next);
        if lost == 0 || lost > u32::MAX / 2 {
            return;
        }
        self.pending.retain(|frame| frame.index.wrapping_sub(index) <= u32::MAX / 2);
        self.next = Some(index);
        self.lose(u64::from(lost));
    }

    fn lose(&mut self, frames: u64) {
        self.counts.lost += frames;
        self.broken = true;
    }
}

fn is_far(frame: u32, next: u32) -> bool {
    let ahead = frame.wrapping_sub(next);
    let behind = next.wrapping_sub(frame);
    ahead.min(behind) > FAR
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fec::Matrix;
    use crate::fec::tests::encode;
    use proptest::prelude::*;

    const SIZE: usize = 64;
    const PAYLOAD: usize = SIZE - super::super::OVERHEAD;

    /// A host that cuts frames as the protocol requires, written independently of the parser.
    #[derive(Default)]
    struct Host {
        sequence: u16,
        frame: u32,
    }

    impl Host {
        /// Datagrams of a frame of this kind, in blocks of at most `max` shards.
        fn frame(&mut self, kind: u8, bitstream: &[u8], percent: usize, max: usize) -> Vec<Vec<u8>> {
            self.frame += 1;
            let len = 8 + bitstream.len();
            let last = (len - 1) % PAYLOAD + 1;
            let mut bytes = vec![1, 7, 0, kind, last as u8, 0, 0, 0];
            bytes.extend_from_slice(bitstream);
            bytes.resize(len.div_ceil(PAYLOAD) * PAYLOAD, 0);
            let payloads: Vec<_> = bytes.chunks(PAYLOAD).collect();
            let blocks: Vec<_> = payloads.chunks(max).collect();
            let mut out = Vec::new();
            for (number, block) in blocks.iter().enumerate() {
                let count = block.len();
                let parity = (count * percent).div_ceil(100);
                let mut shards: Vec<Vec<u8>> = block
                    .iter()
                    .enumerate()
                    .map(|(i, payload)| {
                        let mut shard = vec![0; SIZE + 16];
                        shard[24] = 1 | u8::from(i == 0) << 2 | u8::from(i + 1 == count) << 1;
                        shard[32..].copy_from_slice(payload);
                        shard
                    })
                    .collect();
                shards.extend(encode(Matrix::Cauchy { parity }, parity, &shards));
                for (index, shard) in shards.iter_mut().enumerate() {
                    shard[0] = 0x90;
                    shard[2..4].copy_from_slice(&self.sequence.to_be_bytes());
                    shard[4..8].copy_from_slice(&(self.frame * 1500).to_be_bytes());
                    shard[20..24].copy_from_slice(&self.frame.to_le_bytes());
                    shard[27] = (number as u8) << 4 | ((blocks.len() - 1) as u8) << 6;
                    let info = (percent << 4 | index << 12 | count << 22) as u32;
                    shard[28..32].copy_from_slice(&info.to_le_bytes());
                    self.sequence = self.sequence.wrapping_add(1);
                }
                out.extend(shards);
            }
            out
        }
    }

    fn receiver() -> Receiver {
        Receiver::new(SIZE, 44, |_| false)
    }

    fn content(seed: usize, len: usize) -> Vec<u8> {
        (0..len).map(|i| (i * 7 + seed) as u8).collect()
    }

    fn indices(receiver: &mut Receiver) -> Vec<u32> {
        std::iter::from_fn(|| receiver.pop()).map(|frame| frame.index).collect()
    }

    #[test]
    fn frames_of_several_blocks_come_out_exactly() {
        let mut host = Host::default();
        let mut receiver = receiver();
        for (kind, len) in [(2, 3000), (1, 1), (1, PAYLOAD - 8), (1, PAYLOAD - 7), (1, 900)] {
            let bitstream = content(len, len);
            for packet in host.frame(kind, &bitstream, 20, 20) {
                receiver.push(&packet).unwrap();
            }
            let frame = receiver.pop().unwrap();
            assert!(frame.data == bitstream, "{len}");
            assert_eq!(
                (frame.index, frame.timestamp, frame.host_latency),
                (host.frame, host.frame * 1500, 7)
            );
        }
        assert_eq!((receiver.counts().lost, receiver.counts().recovered), (0, 0));
    }

    #[test]
    fn lost_packets_are_recovered_whichever_they_are() {
        let bitstream = content(3, 700);
        let packets = Host::default().frame(2, &bitstream, 40, 255);
        for lost in 0..packets.len() - 1 {
            let mut receiver = receiver();
            for (_, packet) in packets.iter().enumerate().filter(|(i, _)| *i != lost && *i != lost + 1) {
                receiver.push(packet).unwrap();
            }
            assert!(receiver.pop().unwrap().data == bitstream, "{lost}");
        }
    }

    #[test]
    fn a_lost_frame_breaks_all_until_an_idr_frame_which_is_asked_for_when_the_way_is_free() {
        let mut host = Host::default();
        let mut receiver = receiver();
        let mut send = |kind, keep: fn(usize) -> bool, receiver: &mut Receiver| {
            let packets = host.frame(kind, &content(1, 400), 0, 255);
            for (_, p) in packets.iter().enumerate().filter(|(i, _)| keep(*i)) {
                receiver.push(p).unwrap();
            }
        };
        send(2, |_| true, &mut receiver);
        send(1, |i| i != 3, &mut receiver);
        assert!(!receiver.wants_idr(), "it may still come");
        send(1, |_| true, &mut receiver);
        assert!(receiver.wants_idr());
        assert_eq!(indices(&mut receiver), [1]);
        send(1, |_| true, &mut receiver);
        send(2, |_| true, &mut receiver);
        assert!(!receiver.wants_idr());
        send(1, |_| true, &mut receiver);
        assert_eq!(indices(&mut receiver), [5, 6]);
        assert_eq!((receiver.counts().lost, receiver.counts().skipped), (1, 2));
    }

    #[test]
    fn packets_that_overtake_a_border_of_frames_cost_nothing() {
        let mut host = Host::default();
        let mut receiver = receiver();
        let mut all: Vec<_> =
            [2, 1, 1].iter().flat_map(|kind| host.frame(*kind, &content(1, 300), 0, 255)).collect();
        let frame = all.len() / 3;
        all.swap(frame - 1, frame);
        all.swap(frame * 2 - 1, frame * 2);
        for packet in &all {
            receiver.push(packet).unwrap();
            // Twice is as good as once.
            receiver.push(packet).unwrap();
        }
        assert_eq!(indices(&mut receiver), [1, 2, 3]);
        assert_eq!((receiver.counts().lost, receiver.counts().useless), (0, all.len() as u64));
    }

    #[test]
    fn whole_frames_that_are_skipped_are_lost_too() {
        let mut host = Host::default();
        let mut receiver = receiver();
        for kind in [2, 1, 1, 1, 2] {
            let packets = host.frame(kind, &content(1, 100), 0, 255);
            if kind == 2 {
                for packet in &packets {
                    receiver.push(packet).unwrap();
                }
            }
        }
        assert_eq!(indices(&mut receiver), [1, 5]);
        assert_eq!(receiver.counts().lost, 3);
    }

    #[test]
    fn a_frame_from_far_away_is_believed_when_all_that_follows_is_from_there() {
        let mut host = Host::default();
        let mut receiver = receiver();
        for number in 0..4 {
            let packets = host.frame(2, &content(1, 900), 0, 255);
            for packet in &packets {
                let mut far = packet.clone();
                far[20..24].copy_from_slice(&(1_000_000_000 + number as u32).to_le_bytes());
                receiver.push(packet).unwrap();
                receiver.push(&far).unwrap();
            }
        }
        assert_eq!((indices(&mut receiver), receiver.counts().lost), (vec![1, 2, 3, 4], 0));
        host.frame = 5000;
        for kind in [1, 2] {
            for p in &host.frame(kind, &content(1, 900), 0, 255) {
                receiver.push(p).unwrap();
            }
        }
        assert_eq!(indices(&mut receiver), [5002]);
    }

    #[test]
    fn a_header_that_lies_loses_its_frame() {
        let mut receiver = receiver();
        let mut packets = Host::default().frame(2, &content(1, 10), 0, 255);
        packets[0][36] = 200;
        receiver.push(&packets[0]).unwrap();
        assert_eq!((receiver.pop(), receiver.counts().lost), (None, 1));
    }

    #[test]
    fn packets_that_were_cut_are_not_taken_for_whole_ones() {
        let bitstream = content(1, 100);
        let mut packets = Host::default().frame(2, &bitstream, 0, 255);
        let cut = packets[0][..60].to_vec();
        let mut receiver = receiver();
        receiver.push(&cut).unwrap();
        for packet in &packets {
            receiver.push(packet).unwrap();
        }
        assert!(receiver.pop().unwrap().data == bitstream, "the first one is not believed");
        // The last one may be as short as its content, and no shorter: 108 bytes are two payloads and 12 bytes.
        for (len, whole) in [(32 + 12, true), (32 + 11, false)] {
            packets[2].truncate(len);
            let mut receiver = self::receiver();
            for packet in &packets {
                receiver.push(packet).unwrap();
            }
            assert_eq!(receiver.pop().is_some(), whole, "{len}");
        }
    }

    #[test]
    fn frames_of_old_hosts_end_where_their_zeros_begin() {
        let mut receiver = Receiver::new(SIZE, 44, |data| data.first() == Some(&0));
        let mut packets = Host::default().frame(2, &[0, 0, 0, 1, 0x65, 9], 0, 255);
        packets[0][32..40].copy_from_slice(b"\x017charss");
        receiver.push(&packets[0]).unwrap();
        assert_eq!(receiver.pop().unwrap().data, [0, 0, 0, 1, 0x65, 9]);
    }

    proptest! {
        #[test]
        fn no_bytes_panic_or_fill_memory(
            packets in proptest::collection::vec((0u32..6, any::<u8>(), any::<u32>(), any::<u16>(), 0usize..48), 0..200)
        ) {
            let mut receiver = receiver();
            for (frame, blocks, info, sequence, len) in packets {
                let mut bytes = vec![1; 32 + len];
                bytes[2..4].copy_from_slice(&sequence.to_be_bytes());
                bytes[20..24].copy_from_slice(&frame.wrapping_sub(2).to_le_bytes());
                bytes[27] = blocks;
                // Few shards, so that some frames get complete.
                bytes[28..32].copy_from_slice(&(info & 0x00ff_3fff).to_le_bytes());
                let _ = receiver.push(&bytes);
                prop_assert!(receiver.pending.len() <= WINDOW as usize + 1);
                while receiver.pop().is_some() {}
            }
        }

        #[test]
        fn what_comes_out_is_what_went_in_whatever_is_lost(
            losses in proptest::collection::vec(any::<u16>(), 300),
            rate in 0u16..12_000,
        ) {
            let mut host = Host::default();
            let mut receiver = receiver();
            let mut losses = losses.into_iter().cycle();
            let mut want_idr = true;
            for number in 0..30 {
                let bitstream = content(number, 200 + number * 37);
                let kind = if want_idr { 2 } else { 1 };
                for packet in host.frame(kind, &bitstream, 20, 10) {
                    if losses.next().is_some_and(|roll| roll >= rate) {
                        receiver.push(&packet).unwrap();
                    }
                }
                while let Some(frame) = receiver.pop() {
                    let number = frame.index as usize - 1;
                    prop_assert_eq!(frame.data, content(number, 200 + number * 37));
                }
                want_idr = receiver.wants_idr();
            }
        }
    }
}
