//! Frames of one RTP stream, put together from its packets.
//!
//! ```text
//!                 in order                        marker, or another timestamp
//! packet ──▶ [ buffer: packets and gaps ] ──▶ frame in the making ─────────────▶ Frame
//!                 │ a gap stays too long
//!                 └──▶ Broken: nothing but a keyframe goes on
//! ```
//!
//! A frame is given on whole, or not at all. After a loss that no retransmission makes good, everything up to the next keyframe is
//! left out, as it depends on what is missing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::VideoCodec;

use super::keyframe;

/// Packets that wait for a missing one before them: more than a second of 8 Mbit/s. A packet that is further ahead is a jump.
const MAX_AHEAD: usize = 1024;
/// Bytes that wait. What is more counts as a jump.
const MAX_BYTES: usize = 2 * 1024 * 1024;
/// Packets of one frame. Longer ones are left out.
const MAX_FRAME_PACKETS: usize = 1024;
/// Missing packets at once: beyond that, asking for each costs more than a keyframe.
const MAX_MISSING: usize = 256;
/// Packets of the past in a row after which a publisher has begun its numbers anew.
const MAX_LATE: u32 = 64;
/// A packet that is missing for so long is missing for good: whoever watches shows nothing until it comes.
const GIVE_UP: Duration = Duration::from_millis(400);
/// Packets overtake one another by less than this.
const REORDERING: Duration = Duration::from_millis(8);
/// A packet is asked for again after a round trip and this.
const ASK_AGAIN: Duration = Duration::from_millis(15);

/// One whole frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// Its codec.
    pub codec: VideoCodec,
    /// Decodable alone.
    pub keyframe: bool,
    /// Of its packets.
    pub timestamp: u32,
    /// When the first of its packets was there.
    pub arrived: Instant,
    /// Payloads, as they came.
    pub payloads: Vec<Bytes>,
}

/// A packet as it belongs to a stream.
#[derive(Debug, Clone)]
pub struct Piece {
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// It ends its frame.
    pub marker: bool,
    /// Its codec.
    pub codec: VideoCodec,
    /// Payload; empty for padding.
    pub payload: Bytes,
}

#[derive(Debug)]
enum Place {
    Missing { since: Instant, asked: Option<Instant> },
    Here { piece: Piece, arrived: Instant },
}

/// Where the next packet in order stands in its frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum At {
    /// In the frame in the making, or at the beginning of one.
    Frame,
    /// In a frame whose beginning is missing; its timestamp, once a packet has said it.
    Remains(Option<u32>),
}

/// Puts frames together.
#[derive(Debug)]
pub struct Assembler {
    /// From `next` on.
    buffer: VecDeque<Place>,
    bytes: usize,
    missing: usize,
    /// Number of the first packet in the buffer, counted on beyond 16 bits.
    next: Option<u64>,
    late: u32,
    frame: Option<Frame>,
    at: At,
    /// Something is missing that the next frame depends on.
    broken: bool,
    /// Frames left out.
    dropped: u64,
}

impl Default for Assembler {
    fn default() -> Self {
        Self {
            buffer: VecDeque::new(),
            bytes: 0,
            missing: 0,
            next: None,
            late: 0,
            frame: None,
            at: At::Frame,
            broken: true,
            dropped: 0,
        }
    }
}

impl Assembler {
    /// Takes a packet. Frames that are whole now are put behind `out`, in order.
    pub fn push(&mut self, now: Instant, piece: Piece, out: &mut Vec<Frame>) {
        let Some(next) = self.next else { return self.begin(now, piece, out) };
        // Sequence numbers have 16 bits: the nearest number that fits.
        let ahead = i64::from(piece.sequence.wrapping_sub(next as u16) as i16);
        let Ok(ahead) = usize::try_from(ahead) else {
            self.late += 1;
            if self.late > MAX_LATE {
                self.begin(now, piece, out);
            }
            return;
        };
        self.late = 0;
        if ahead >= MAX_AHEAD || self.bytes + piece.payload.len() > MAX_BYTES {
            return self.begin(now, piece, out);
        }
        while self.buffer.len() <= ahead {
            self.buffer.push_back(Place::Missing { since: now, asked: None });
            self.missing += 1;
        }
        let place = &mut self.buffer[ahead];
        if matches!(place, Place::Here { .. }) {
            return;
        }
        self.bytes += piece.payload.len();
        self.missing -= 1;
        *place = Place::Here { piece, arrived: now };
        self.advance(out);
        while self.missing > MAX_MISSING {
            self.give_up(out);
        }
    }

    /// Begins with a packet, whatever went before.
    fn begin(&mut self, now: Instant, piece: Piece, out: &mut Vec<Frame>) {
        let first = self.next.is_none();
        self.buffer.clear();
        self.bytes = piece.payload.len();
        self.missing = 0;
        self.late = 0;
        // Far from zero, so that it can be counted back from.
        self.next = Some((1 << 32) | u64::from(piece.sequence));
        if !first {
            self.lose();
        }
        self.at = At::Remains(None);
        self.buffer.push_back(Place::Here { piece, arrived: now });
        self.advance(out);
    }

    /// Something is missing for good.
    fn lose(&mut self) {
        self.frame = None;
        self.at = At::Remains(None);
        self.broken = true;
        self.dropped += 1;
    }

    /// Gives on what is in order.
    fn advance(&mut self, out: &mut Vec<Frame>) {
        while let Some(Place::Here { .. }) = self.buffer.front() {
            let Some(Place::Here { piece, arrived }) = self.buffer.pop_front() else { return };
            self.bytes -= piece.payload.len();
            self.next = self.next.map(|next| next + 1);
            self.take(piece, arrived, out);
        }
    }

    fn take(&mut self, piece: Piece, arrived: Instant, out: &mut Vec<Frame>) {
        let Piece { timestamp, marker, codec, payload, .. } = piece;
        let says = keyframe::says(codec, &payload);
        if let At::Remains(known) = self.at {
            let ended = known.is_some_and(|known| known != timestamp);
            if !ended && !says.begins {
                self.at = if marker { At::Frame } else { At::Remains(Some(timestamp)) };
                return;
            }
            self.at = At::Frame;
        }
        if self.frame.as_ref().is_some_and(|frame| frame.timestamp != timestamp) {
            self.finish(out);
        }
        if !payload.is_empty() {
            let frame = self.frame.get_or_insert_with(|| Frame {
                codec,
                keyframe: false,
                timestamp,
                arrived,
                payloads: Vec::new(),
            });
            frame.keyframe |= says.keyframe;
            frame.payloads.push(payload);
            if frame.payloads.len() > MAX_FRAME_PACKETS || frame.codec != codec {
                return self.lose();
            }
        }
        if marker {
            self.finish(out);
        }
    }

    fn finish(&mut self, out: &mut Vec<Frame>) {
        let Some(frame) = self.frame.take() else { return };
        if frame.keyframe {
            self.broken = false;
        }
        if self.broken {
            self.dropped += 1;
        } else {
            out.push(frame);
        }
    }

    /// What is missing first is missing for good.
    fn give_up(&mut self, out: &mut Vec<Frame>) {
        while let Some(Place::Missing { .. }) = self.buffer.front() {
            self.buffer.pop_front();
            self.missing -= 1;
            self.next = self.next.map(|next| next + 1);
        }
        self.lose();
        self.advance(out);
    }

    /// Gives up what has been missing for too long.
    pub fn timeout(&mut self, now: Instant, out: &mut Vec<Frame>) {
        while let Some(Place::Missing { since, .. }) = self.buffer.front()
            && now >= *since + GIVE_UP
        {
            self.give_up(out);
        }
    }

    /// Packets that are to be asked for now; each counts as asked for.
    pub fn take_nacks(&mut self, now: Instant, round_trip: Duration, nacks: &mut Vec<u16>) {
        let Some(next) = self.next.filter(|_| self.missing > 0) else { return };
        for (n, place) in (0u64..).zip(&mut self.buffer) {
            if let Place::Missing { since, asked } = place
                && now >= due(*since, *asked, round_trip)
            {
                *asked = Some(now);
                // The low 16 bits are the sequence number.
                nacks.push(next.wrapping_add(n) as u16);
            }
        }
    }

    /// When [`Assembler::timeout`] or [`Assembler::take_nacks`] has something to do.
    pub fn deadline(&self, round_trip: Duration) -> Option<Instant> {
        if self.missing == 0 {
            return None;
        }
        let places = self.buffer.iter().filter_map(|place| match place {
            Place::Missing { since, asked } => Some(due(*since, *asked, round_trip).min(*since + GIVE_UP)),
            Place::Here { .. } => None,
        });
        places.min()
    }

    /// Nothing can be given on before a keyframe.
    pub fn is_broken(&self) -> bool {
        self.broken
    }

    /// Frames left out.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }
}

/// When a missing packet is asked for.
fn due(since: Instant, asked: Option<Instant>, round_trip: Duration) -> Instant {
    match asked {
        None => since + REORDERING,
        Some(at) => at + round_trip.min(GIVE_UP) + ASK_AGAIN,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const RTT: Duration = Duration::from_millis(50);

    /// Packet `part` of `parts` of frame `frame`, VP8.
    fn piece(sequence: u16, frame: u32, part: usize, parts: usize, keyframe: bool) -> Piece {
        let descriptor = if part == 0 { 0x10 } else { 0x00 };
        let tag = u8::from(!keyframe);
        let payload = Bytes::from(vec![descriptor, tag, frame as u8, part as u8]);
        let marker = part + 1 == parts;
        Piece { sequence, timestamp: frame * 3000, marker, codec: VideoCodec::VP8, payload }
    }

    /// `frames` frames of three packets; every tenth one is a keyframe.
    fn stream(first: u16, frames: u32) -> Vec<Piece> {
        let mut sequence = first;
        let mut pieces = Vec::new();
        for frame in 0..frames {
            for part in 0..3 {
                pieces.push(piece(sequence, frame, part, 3, frame % 10 == 0));
                sequence = sequence.wrapping_add(1);
            }
        }
        pieces
    }

    fn numbers(frames: &[Frame]) -> Vec<u32> {
        frames.iter().map(|frame| frame.timestamp / 3000).collect()
    }

    #[test]
    fn frames_are_whole_and_in_order_whatever_order_their_packets_come_in() {
        let mut pieces = stream(u16::MAX - 3, 5);
        pieces.swap(2, 5);
        pieces.swap(8, 7);
        let mut assembler = Assembler::default();
        let (now, mut out) = (Instant::now(), Vec::new());
        for piece in pieces.iter().chain(&pieces[3..9]) {
            assembler.push(now, piece.clone(), &mut out);
        }
        assert_eq!(numbers(&out), [0, 1, 2, 3, 4]);
        assert!(out.iter().all(|frame| frame.payloads.len() == 3));
        assert!(out[0].keyframe && !out[1].keyframe);
        assert_eq!(assembler.deadline(RTT), None);
    }

    #[test]
    fn a_missing_packet_is_asked_for_and_makes_its_frame_good() {
        let pieces = stream(10, 4);
        let mut assembler = Assembler::default();
        let (now, mut out, mut nacks) = (Instant::now(), Vec::new(), Vec::new());
        for piece in pieces.iter().filter(|piece| piece.sequence != 14) {
            assembler.push(now, piece.clone(), &mut out);
        }
        assert_eq!(numbers(&out), [0]);
        assembler.take_nacks(now, RTT, &mut nacks);
        assert!(nacks.is_empty(), "it may only have been overtaken");
        let due = assembler.deadline(RTT).unwrap();
        assembler.take_nacks(due, RTT, &mut nacks);
        assembler.take_nacks(due + RTT, RTT, &mut nacks);
        assert_eq!(nacks, [14]);
        assembler.take_nacks(due + RTT + ASK_AGAIN, RTT, &mut nacks);
        assert_eq!(nacks, [14, 14]);
        assembler.push(due + RTT, pieces[4].clone(), &mut out);
        assert_eq!(numbers(&out), [0, 1, 2, 3]);
    }

    #[test]
    fn what_stays_missing_costs_everything_up_to_the_next_keyframe() {
        let pieces = stream(0, 12);
        let mut assembler = Assembler::default();
        let (now, mut out) = (Instant::now(), Vec::new());
        for piece in &pieces[..4] {
            assembler.push(now, piece.clone(), &mut out);
        }
        for piece in &pieces[5..] {
            assembler.push(now, piece.clone(), &mut out);
        }
        assembler.timeout(now + GIVE_UP - Duration::from_millis(1), &mut out);
        assert_eq!(numbers(&out), [0]);
        assembler.timeout(now + GIVE_UP, &mut out);
        assert_eq!(numbers(&out), [0, 10, 11]);
        assert!(!assembler.is_broken());
    }

    #[test]
    fn nothing_comes_before_a_keyframe_and_padding_is_no_picture() {
        let mut assembler = Assembler::default();
        let (now, mut out) = (Instant::now(), Vec::new());
        let pieces = stream(0, 12);
        for piece in &pieces[4..31] {
            assembler.push(now, piece.clone(), &mut out);
        }
        assert!(assembler.is_broken() && out.is_empty());
        for piece in &pieces[31..33] {
            assembler.push(now, piece.clone(), &mut out);
        }
        let padding = Piece { payload: Bytes::new(), marker: false, ..pieces[32].clone() };
        assembler.push(now, Piece { sequence: 33, ..padding }, &mut out);
        for piece in &pieces[33..] {
            let piece = Piece { sequence: piece.sequence + 1, ..piece.clone() };
            assembler.push(now, piece, &mut out);
        }
        assert_eq!(numbers(&out), [10, 11]);
    }

    #[test]
    fn a_frame_without_a_marker_ends_where_another_begins() {
        let mut assembler = Assembler::default();
        let (now, mut out) = (Instant::now(), Vec::new());
        for piece in stream(0, 3) {
            assembler.push(now, Piece { marker: false, ..piece }, &mut out);
        }
        assert_eq!(numbers(&out), [0, 1]);
    }

    #[test]
    fn numbers_that_jump_are_a_new_beginning() {
        let mut assembler = Assembler::default();
        let (now, mut out) = (Instant::now(), Vec::new());
        for piece in stream(0, 3).into_iter().chain(stream(30_000, 3)) {
            assembler.push(now, piece, &mut out);
        }
        assert_eq!(numbers(&out), [0, 1, 2, 0, 1, 2]);
        // Back, by less than can be told from packets that are late: after some of them.
        for piece in stream(29_000, 60) {
            assembler.push(now, piece, &mut out);
        }
        assert_eq!(numbers(&out)[6..].first(), Some(&30));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_bounded_and_in_order(
            packets in proptest::collection::vec((any::<u16>(), 0u32..4, any::<bool>(), 0usize..40), 0..600),
        ) {
            let mut assembler = Assembler::default();
            let (start, mut out, mut nacks) = (Instant::now(), Vec::new(), Vec::new());
            for (n, (sequence, timestamp, marker, len)) in (0u64..).zip(packets) {
                let payload = Bytes::from(vec![sequence as u8; len]);
                let now = start + Duration::from_millis(n);
                let piece = Piece { sequence, timestamp, marker, codec: VideoCodec::VP8, payload };
                assembler.push(now, piece, &mut out);
                assembler.timeout(now, &mut out);
                assembler.take_nacks(now, RTT, &mut nacks);
                prop_assert!(assembler.buffer.len() <= MAX_AHEAD && assembler.missing <= MAX_MISSING);
                let missing = assembler.buffer.iter().filter(|place| matches!(place, Place::Missing { .. }));
                prop_assert_eq!(missing.count(), assembler.missing);
            }
        }

        #[test]
        fn of_a_lossy_path_come_whole_frames_that_depend_on_nothing_missing(
            lost in proptest::collection::vec(any::<bool>(), 120),
        ) {
            let mut assembler = Assembler::default();
            let (start, mut out) = (Instant::now(), Vec::new());
            let pieces = stream(65_500, 40);
            for (n, piece) in (0u32..).zip(&pieces) {
                let now = start + n * Duration::from_millis(11);
                if !lost[n as usize] {
                    assembler.push(now, piece.clone(), &mut out);
                }
                assembler.timeout(now, &mut out);
            }
            assembler.timeout(start + Duration::from_secs(10), &mut out);
            let mut last = None;
            for frame in &out {
                let number = frame.timestamp / 3000;
                prop_assert_eq!(frame.payloads.len(), 3);
                prop_assert!(frame.keyframe || last == Some(number - 1), "{:?} then {}", last, number);
                last = Some(number);
            }
        }
    }
}
