//! Slot writers: one feed rewritten for one peer, so that whatever the slot shows, the receiver sees
//! one continuous RTP stream. Pure: what comes out are [`Packet`]s for the connection to send.
//!
//! ```text
//!            bind                       keyframe, or replay of the cached GOP
//! Inactive ───────▶ Waiting ──────────────────────────▶ Live { next unit }
//!     ▲                ▲                                    │
//!     └── unbind ──────┴── gap in the feed, skip, resume ───┘
//! ```
//!
//! A writer knows its [`Place`] in the feed also while it sends nothing: when it resumes, it goes on from there if it can,
//! and never back to pictures that the receiver has shown already.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use common::media::VideoCodec;

use crate::feed::gop::{Gop, Place};
use crate::feed::{AudioUnit, VideoUnit, packetize};

/// One RTP packet to send, without header extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Payload type.
    pub payload_type: u8,
    /// Marker.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// SSRC.
    pub ssrc: u32,
    /// Tell the receiver to show frames as soon as they are decoded.
    pub playout_delay: bool,
    /// Payload, shared with every other peer.
    pub payload: Bytes,
}

/// A unit to send as a whole, by a carrier other than RTP.
#[derive(Debug, Clone)]
pub struct Whole {
    /// The unit.
    pub unit: Arc<VideoUnit>,
    /// Its time at this receiver, on the streamer's clock, 90 kHz ticks.
    pub time: u64,
}

/// What was negotiated for one codec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PayloadTypes {
    /// Payload type of the codec.
    pub media: u8,
    /// Payload type of its retransmissions (RFC 4588), if the peer supports them.
    pub rtx: Option<u8>,
}

/// What was negotiated for one video sender: every codec that the peer supports. The codec may change at any keyframe.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Codecs([Option<PayloadTypes>; 5]);

impl Codecs {
    /// Payload types of a codec; `None` when the peer does not support it.
    pub fn get(&self, codec: VideoCodec) -> Option<PayloadTypes> {
        self.0[index(codec)]
    }

    /// Adds the payload types of a codec.
    pub fn set(&mut self, codec: VideoCodec, types: Option<PayloadTypes>) {
        self.0[index(codec)] = types;
    }
}

fn index(codec: VideoCodec) -> usize {
    match codec {
        VideoCodec::H264 => 0,
        VideoCodec::H265 => 1,
        VideoCodec::AV1 => 2,
        VideoCodec::VP8 => 3,
        VideoCodec::VP9 => 4,
    }
}

/// Packets that can be retransmitted: at 2.5 Mbit/s about four seconds' worth.
const MAX_SENT: usize = 1024;
/// Of how many different packets something is made that only has to be sent.
const REPEATED: u16 = 64;
/// Distance of the timestamps of replayed frames, in 90 kHz ticks (1 ms): they are decoded at once.
const REPLAY_STEP: u64 = 90;

/// The packet of the feed that was sent with one sequence number.
#[derive(Debug, Clone, Copy)]
struct Sent {
    unit: u64,
    packet: u16,
    /// Number of its picture, in codecs that have one.
    picture: u16,
    timestamp: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Inactive,
    Waiting,
    Live { next: u64 },
}

/// What a writer did with a unit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Written {
    /// It was written to the packets.
    Sent,
    /// The writer waits for a keyframe.
    Skipped,
    /// Units are missing before it: a keyframe is to be requested.
    Lost,
    /// The slot shows nothing to this peer.
    Inactive,
}

/// Sends one video feed to one slot of one peer.
#[derive(Debug)]
pub struct VideoWriter {
    ssrc: u32,
    rtx_ssrc: u32,
    codecs: Codecs,
    state: State,
    sequence: u16,
    rtx_sequence: u16,
    /// Added to times on the streamer's clock, so that timestamps begin anywhere (RFC 3550 §5.1).
    offset: u32,
    /// Time under which the last unit was sent, on the streamer's clock.
    last_time: Option<u64>,
    /// The last unit sent, if the receiver can continue from it.
    place: Option<Place>,
    /// Number of the next picture, in codecs that have one: without gaps, whatever feed it belongs to.
    next_picture: Option<u16>,
    /// What was sent last, without gaps in its sequence numbers, up to the one before `sequence`.
    sent: VecDeque<Sent>,
    packets: u32,
    octets: u32,
}

/// Random initial values of an RTP stream.
#[derive(Debug, Clone, Copy)]
pub struct Seeds {
    /// SSRC.
    pub ssrc: u32,
    /// SSRC of retransmissions.
    pub rtx_ssrc: u32,
    /// First sequence number.
    pub sequence: u16,
    /// Offset of timestamps.
    pub offset: u32,
}

impl VideoWriter {
    /// A writer that shows nothing yet.
    pub fn new(seeds: Seeds) -> Self {
        Self {
            ssrc: seeds.ssrc,
            rtx_ssrc: seeds.rtx_ssrc,
            codecs: Codecs::default(),
            state: State::Inactive,
            sequence: seeds.sequence,
            rtx_sequence: seeds.sequence ^ 0x5555,
            offset: seeds.offset,
            last_time: None,
            place: None,
            next_picture: None,
            sent: VecDeque::new(),
            packets: 0,
            octets: 0,
        }
    }

    /// SSRC of the media.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// SSRC of retransmissions.
    pub fn rtx_ssrc(&self) -> u32 {
        self.rtx_ssrc
    }

    /// What is added to times on the streamer's clock, modulo 2^32, for timestamps.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Sets what was negotiated.
    pub fn set_codecs(&mut self, codecs: Codecs) {
        self.codecs = codecs;
    }

    /// The slot shows a feed from its next keyframe on; [`VideoWriter::replay`] may be quicker.
    pub fn wait(&mut self) {
        self.state = State::Waiting;
    }

    /// The slot shows nothing; nothing is sent.
    pub fn stop(&mut self) {
        self.state = State::Inactive;
    }

    /// The slot shows another feed: packets of the previous one cannot be retransmitted.
    pub fn forget_sent(&mut self) {
        self.sent = VecDeque::new();
        self.forget_place();
    }

    /// What was sent may not have arrived: only a keyframe can follow.
    pub fn forget_place(&mut self) {
        self.place = None;
    }

    /// Whether the peer supports this codec; any codec, while it is not known.
    pub fn supports(&self, codec: Option<VideoCodec>) -> bool {
        codec.map_or(self.codecs != Codecs::default(), |codec| self.codecs.get(codec).is_some())
    }

    /// Waits for a keyframe.
    pub fn is_waiting(&self) -> bool {
        self.state == State::Waiting
    }

    /// Sends.
    pub fn is_live(&self) -> bool {
        matches!(self.state, State::Live { .. })
    }

    /// Begins with the cached GOP, or with its part after the last unit sent, if that is short enough: all
    /// frames at once, the newest at `now` (time on the streamer's clock). False when it is too long and the writer has to
    /// wait for a keyframe.
    pub fn replay(&mut self, now: u64, gop: &Gop, max_bytes: usize, out: &mut Vec<Packet>) -> bool {
        let Some(units) = gop.replay(self.place, max_bytes) else { return false };
        let Some(behind) = gop.newest().map(|unit| unit.number) else { return false };
        for unit in units {
            let early = (behind - unit.number) * REPLAY_STEP;
            self.put(unit, now.saturating_sub(early), true, out);
        }
        self.state = State::Live { next: behind + 1 };
        true
    }

    /// As [`VideoWriter::replay`], for a carrier that takes units as a whole.
    pub fn replay_whole(&mut self, now: u64, gop: &Gop, out: &mut Vec<Whole>) -> bool {
        let Some(units) = gop.replay(self.place, usize::MAX) else { return false };
        let Some(behind) = gop.newest().map(|unit| unit.number) else { return false };
        for unit in units {
            let early = (behind - unit.number) * REPLAY_STEP;
            let time = self.advance(unit, now.saturating_sub(early));
            out.push(Whole { unit: unit.clone(), time });
        }
        self.state = State::Live { next: behind + 1 };
        true
    }

    /// Takes the next unit of the feed.
    pub fn write(&mut self, unit: &VideoUnit, out: &mut Vec<Packet>) -> Written {
        let written = self.follow(unit);
        if written == Written::Sent {
            self.put(unit, unit.time, unit.keyframe, out);
        }
        written
    }

    /// As [`VideoWriter::write`], for a carrier that takes units as a whole.
    pub fn write_whole(&mut self, unit: &Arc<VideoUnit>, out: &mut Vec<Whole>) -> Written {
        let written = self.follow(unit);
        if written == Written::Sent {
            let time = self.advance(unit, unit.time);
            out.push(Whole { unit: unit.clone(), time });
        }
        written
    }

    /// Whether a unit can be shown after those before it.
    fn follow(&mut self, unit: &VideoUnit) -> Written {
        let follows = match self.state {
            State::Inactive => return Written::Inactive,
            State::Waiting => false,
            State::Live { next } => next == unit.number,
        };
        if !follows && !unit.keyframe {
            let was_live = self.is_live();
            self.state = State::Waiting;
            return if was_live { Written::Lost } else { Written::Skipped };
        }
        self.state = State::Live { next: unit.number + 1 };
        Written::Sent
    }

    /// The receiver has everything up to this unit. Returns its time there, which only grows.
    fn advance(&mut self, unit: &VideoUnit, time: u64) -> u64 {
        let time = self.last_time.map_or(time, |last| time.max(last + 1));
        self.last_time = Some(time);
        self.place = Some(Place::of(unit));
        time
    }

    fn put(&mut self, unit: &VideoUnit, time: u64, playout_delay: bool, out: &mut Vec<Packet>) {
        let Some(PayloadTypes { media: payload_type, .. }) = self.codecs.get(unit.codec) else { return };
        let time = self.advance(unit, time);
        let timestamp = (time as u32).wrapping_add(self.offset);
        let last = unit.payloads.len() - 1;
        let picture = self.next_picture.unwrap_or_else(|| packetize::picture_id(unit.number));
        self.next_picture = Some(packetize::picture_id(u64::from(picture) + 1));
        for (n, payload) in unit.payloads.iter().enumerate() {
            let sequence = self.sequence;
            self.sequence = sequence.wrapping_add(1);
            // Units have far fewer than 65536 packets: the largest is bounded by the encoder's output.
            if self.sent.len() == MAX_SENT {
                self.sent.pop_front();
            }
            self.sent.push_back(Sent { unit: unit.number, packet: n as u16, picture, timestamp });
            self.packets = self.packets.wrapping_add(1);
            self.octets = self.octets.wrapping_add(payload.len() as u32);
            let ssrc = self.ssrc;
            // After a switch or a pause its picture has another number at this peer.
            let payload = packetize::numbered(unit.codec, payload, picture);
            let marker = n == last;
            out.push(Packet { payload_type, marker, sequence, timestamp, ssrc, playout_delay, payload });
        }
    }

    /// The packet that was sent as `sequence`, as a retransmission (RFC 4588 §4), if it is remembered.
    pub fn retransmit(&mut self, sequence: u16, gop: &Gop) -> Option<Packet> {
        // The newest one is one behind the next.
        let behind = usize::from(self.sequence.wrapping_sub(sequence));
        let sent = *self.sent.get(self.sent.len().checked_sub(behind)?)?;
        let (unit, original) = gop.packet(sent.unit, sent.packet)?;
        let payload_type = self.codecs.get(unit.codec)?.rtx?;
        let original = packetize::numbered(unit.codec, original, sent.picture);
        let mut payload = BytesMut::with_capacity(2 + original.len());
        payload.put_u16(sequence);
        payload.put_slice(&original);
        let rtx = self.rtx_sequence;
        self.rtx_sequence = rtx.wrapping_add(1);
        Some(Packet {
            payload_type,
            marker: usize::from(sent.packet) + 1 == unit.payloads.len(),
            sequence: rtx,
            timestamp: sent.timestamp,
            ssrc: self.rtx_ssrc,
            playout_delay: false,
            payload: payload.freeze(),
        })
    }

    /// Takes back the packet that was written last, as it was not sent: the next one gets its number. False if it is not the last one.
    pub fn take_back(&mut self, packet: &Packet) -> bool {
        if packet.ssrc != self.ssrc || packet.sequence.wrapping_add(1) != self.sequence {
            return false;
        }
        self.sequence = packet.sequence;
        self.packets = self.packets.wrapping_sub(1);
        self.octets = self.octets.wrapping_sub(packet.payload.len() as u32);
        self.sent.pop_back();
        true
    }

    /// The packets that were written last, as retransmissions of `bytes` bytes together: more than once if they are few.
    pub fn repeat_newest(&mut self, bytes: usize, gop: &Gop, out: &mut Vec<Packet>) {
        let mut left = bytes;
        while left > 0 {
            let before = left;
            for back in 1..=REPEATED {
                let Some(packet) = self.retransmit(self.sequence.wrapping_sub(back), gop) else { break };
                left = left.saturating_sub(packet.payload.len());
                out.push(packet);
                if left == 0 {
                    return;
                }
            }
            if left == before {
                return;
            }
        }
    }

    /// A sender report at `now` (time on the streamer's clock); `None` while nothing was sent.
    pub fn report(&self, now: u64) -> Option<SenderInfo> {
        let rtp_time = (now as u32).wrapping_add(self.offset);
        let report = SenderInfo { ssrc: self.ssrc, rtp_time, packets: self.packets, octets: self.octets };
        (self.packets > 0).then_some(report)
    }
}

/// Numbers of a sender report (RFC 3550 §6.4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderInfo {
    /// SSRC of the stream.
    pub ssrc: u32,
    /// The report's moment in the stream's timestamps.
    pub rtp_time: u32,
    /// Packets sent so far.
    pub packets: u32,
    /// Payload bytes sent so far.
    pub octets: u32,
}

/// Sends one sound feed to one slot of one peer.
#[derive(Debug)]
pub struct AudioWriter {
    ssrc: u32,
    payload_type: Option<u8>,
    active: bool,
    sequence: u16,
    offset: u32,
    packets: u32,
    octets: u32,
}

impl AudioWriter {
    /// A writer that sends nothing yet.
    pub fn new(seeds: Seeds) -> Self {
        let Seeds { ssrc, sequence, offset, .. } = seeds;
        Self { ssrc, payload_type: None, active: false, sequence, offset, packets: 0, octets: 0 }
    }

    /// SSRC of the sound.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// Sets what was negotiated; `None` when the peer does not receive this track.
    pub fn set_payload_type(&mut self, payload_type: Option<u8>) {
        self.payload_type = payload_type;
    }

    /// Whether it sends.
    pub fn is_active(&self) -> bool {
        self.active
    }

    /// Sends from now on, or stops.
    pub fn set_active(&mut self, active: bool) {
        self.active = active;
    }

    /// The next packet of the feed; `None` when none is to be sent.
    pub fn write(&mut self, unit: &AudioUnit) -> Option<Packet> {
        let payload_type = self.payload_type.filter(|_| self.active)?;
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        self.packets = self.packets.wrapping_add(1);
        self.octets = self.octets.wrapping_add(unit.payload.len() as u32);
        Some(Packet {
            payload_type,
            marker: unit.marker,
            sequence,
            timestamp: (unit.time as u32).wrapping_add(self.offset),
            ssrc: self.ssrc,
            playout_delay: false,
            payload: unit.payload.clone(),
        })
    }

    /// As [`VideoWriter::report`]; `now` in ticks of the sound's clock.
    pub fn report(&self, now: u64) -> Option<SenderInfo> {
        let rtp_time = (now as u32).wrapping_add(self.offset);
        let report = SenderInfo { ssrc: self.ssrc, rtp_time, packets: self.packets, octets: self.octets };
        (self.packets > 0).then_some(report)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::media::AccessUnit;
    use std::time::Instant;

    fn unit(number: u64, keyframe: bool, time: u64) -> Arc<VideoUnit> {
        let payloads = vec![Bytes::from(vec![number as u8; 10]), Bytes::from(vec![number as u8; 5])];
        let codec = VideoCodec::H264;
        let captured = Instant::now();
        Arc::new(VideoUnit { number, codec, keyframe, captured, time, payloads, bytes: 15 })
    }

    fn writer() -> VideoWriter {
        let mut writer =
            VideoWriter::new(Seeds { ssrc: 1, rtx_ssrc: 2, sequence: u16::MAX, offset: u32::MAX });
        let mut codecs = Codecs::default();
        codecs.set(VideoCodec::H264, Some(PayloadTypes { media: 102, rtx: Some(103) }));
        codecs.set(VideoCodec::VP8, Some(PayloadTypes { media: 96, rtx: Some(97) }));
        writer.set_codecs(codecs);
        writer
    }

    #[test]
    fn nothing_is_sent_before_a_keyframe_and_nothing_when_inactive() {
        let (mut writer, mut out) = (writer(), Vec::new());
        assert_eq!(writer.write(&unit(0, true, 0), &mut out), Written::Inactive);
        writer.wait();
        assert_eq!(writer.write(&unit(1, false, 1), &mut out), Written::Skipped);
        assert!(out.is_empty());
        assert_eq!(writer.write(&unit(2, true, 2), &mut out), Written::Sent);
        assert_eq!(
            out.iter().map(|p| (p.sequence, p.marker)).collect::<Vec<_>>(),
            [(u16::MAX, false), (0, true)]
        );
    }

    #[test]
    fn a_missing_unit_is_never_papered_over() {
        let (mut writer, mut out) = (writer(), Vec::new());
        writer.wait();
        writer.write(&unit(0, true, 0), &mut out);
        out.clear();
        assert_eq!(writer.write(&unit(2, false, 2), &mut out), Written::Lost);
        assert_eq!(writer.write(&unit(3, false, 3), &mut out), Written::Skipped);
        assert!(out.is_empty());
        assert_eq!(writer.write(&unit(4, true, 4), &mut out), Written::Sent);
    }

    #[test]
    fn what_was_not_sent_is_taken_back_and_leaves_no_gap() {
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        writer.wait();
        for (n, unit) in [unit(0, true, 0), unit(1, false, 1)].into_iter().enumerate() {
            gop.push(unit.clone());
            assert_eq!(writer.write(&unit, &mut out), Written::Sent, "{n}");
        }
        let packets: Vec<_> = std::mem::take(&mut out);
        assert!(!writer.take_back(&packets[1]), "others follow it");
        assert!(packets[1..].iter().rev().all(|packet| writer.take_back(packet)));
        assert!(writer.retransmit(packets[1].sequence, &gop).is_none());
        assert!(writer.retransmit(packets[0].sequence, &gop).is_some());
        assert_eq!(writer.report(0).map(|report| (report.packets, report.octets)), Some((1, 10)));
        writer.wait();
        writer.write(&unit(7, true, 7), &mut out);
        assert_eq!(out[0].sequence, packets[1].sequence);
    }

    #[test]
    fn a_slot_goes_from_packets_to_whole_units_and_back_at_keyframes() {
        let mut writer = writer();
        let mut packets = Vec::new();
        let mut wholes = Vec::new();
        let mut gop = Gop::default();
        let cached = unit(0, true, 3000);
        gop.push(cached.clone());
        writer.wait();
        writer.write(&cached, &mut packets);
        // To another carrier: what the receiver had is of no use there.
        writer.forget_sent();
        writer.wait();
        assert!(writer.replay_whole(9000, &gop, &mut wholes));
        assert_eq!(writer.write_whole(&unit(1, false, 9000), &mut wholes), Written::Sent);
        assert_eq!(writer.write_whole(&unit(3, false, 12_000), &mut wholes), Written::Lost);
        assert_eq!(writer.write_whole(&unit(4, true, 15_000), &mut wholes), Written::Sent);
        let sent: Vec<_> = wholes.iter().map(|whole| (whole.unit.number, whole.time)).collect();
        assert_eq!(sent, [(0, 9000), (1, 9001), (4, 15_000)]);
        packets.clear();
        writer.forget_sent();
        writer.wait();
        assert_eq!(writer.write(&unit(5, false, 18_000), &mut packets), Written::Skipped);
        assert_eq!(writer.write(&unit(6, true, 21_000), &mut packets), Written::Sent);
        assert_eq!(packets.iter().map(|packet| packet.sequence).collect::<Vec<_>>(), [1, 2]);
    }

    #[test]
    fn a_replay_is_compressed_and_what_follows_is_later() {
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        for n in 0..3 {
            gop.push(unit(n, n == 0, n * 3000));
        }
        writer.wait();
        assert!(writer.replay(900_000, &gop, usize::MAX, &mut out));
        writer.write(&unit(3, false, 899_000), &mut out);
        let times: Vec<_> = out.iter().filter(|p| p.marker).map(|p| p.timestamp.wrapping_add(1)).collect();
        assert_eq!(times, [899_820, 899_910, 900_000, 900_001]);
        let first = out[0].sequence;
        assert!(out.iter().enumerate().all(|(n, p)| p.sequence == first.wrapping_add(n as u16)));
    }

    #[test]
    fn a_writer_that_resumes_goes_on_where_it_was() {
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        let sent = |out: &mut Vec<Packet>| {
            out.drain(..).filter(|p| p.marker).map(|p| p.payload[0]).collect::<Vec<_>>()
        };
        writer.wait();
        for n in 0..3 {
            gop.push(unit(n, n == 0, n * 3000));
            writer.write(&unit(n, n == 0, n * 3000), &mut out);
        }
        assert_eq!(sent(&mut out), [0, 1, 2]);
        writer.stop();
        gop.push(unit(3, false, 9000));
        writer.wait();
        assert!(writer.replay(9000, &gop, usize::MAX, &mut out));
        assert_eq!(sent(&mut out), [3]);
        // No unit came meanwhile: there is nothing to send, and the next unit follows.
        writer.stop();
        writer.wait();
        assert!(writer.replay(9000, &gop, usize::MAX, &mut out));
        assert_eq!(writer.write(&unit(4, false, 12_000), &mut out), Written::Sent);
        assert_eq!(sent(&mut out), [4]);
        gop.push(unit(4, false, 12_000));
        // What was sent may be lost: replayed from the keyframe.
        writer.forget_place();
        writer.wait();
        assert!(writer.replay(15_000, &gop, usize::MAX, &mut out));
        assert_eq!(sent(&mut out), [0, 1, 2, 3, 4]);
    }

    #[test]
    fn a_slot_goes_from_one_codec_to_another_and_its_pictures_are_numbered_through() {
        let vp8 = |number| {
            let unit = AccessUnit { codec: VideoCodec::VP8, ..AccessUnit::sample(&[0; 20], true) };
            let payloads = packetize::payloads(&unit, number);
            let bytes = 24;
            let codec = VideoCodec::VP8;
            let keyframe = number % 2 == 0;
            let captured = unit.captured;
            Arc::new(VideoUnit { number, codec, keyframe, captured, time: number, payloads, bytes })
        };
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        writer.wait();
        writer.write(&unit(0, true, 0), &mut out);
        // Another feed, and later yet another one.
        for number in [700, 701, 20] {
            if number != 701 {
                writer.forget_sent();
                writer.wait();
            }
            writer.write(&vp8(number), &mut out);
        }
        gop.push(vp8(20));
        let types: Vec<_> = out.iter().map(|packet| packet.payload_type).collect();
        assert_eq!(types, [102, 102, 96, 96, 96]);
        let numbers: Vec<_> = out[2..].iter().map(|packet| packet.payload[2..4].to_vec()).collect();
        assert_eq!(numbers, [[0x80, 1], [0x80, 2], [0x80, 3]]);
        let rtx = writer.retransmit(out[4].sequence, &gop).unwrap();
        assert_eq!((rtx.payload_type, &rtx.payload[2..]), (97, &out[4].payload[..]));
        assert!(writer.supports(Some(VideoCodec::VP8)) && writer.supports(None));
        assert!(!writer.supports(Some(VideoCodec::AV1)));
    }

    #[test]
    fn as_many_packets_are_remembered_as_were_sent_up_to_a_bound_over_the_wrap_of_their_numbers() {
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        assert!(writer.retransmit(0, &gop).is_none());
        writer.wait();
        for number in 0..40_000 {
            let sent = unit(number, number == 0, number * 90);
            gop.push(sent.clone());
            out.clear();
            writer.write(&sent, &mut out);
            assert!(writer.sent.len() <= MAX_SENT && writer.sent.len() as u64 <= 2 * (number + 1));
            for packet in &out {
                let rtx = writer.retransmit(packet.sequence, &gop).unwrap();
                assert_eq!(rtx.payload[..2], packet.sequence.to_be_bytes());
                assert_eq!(rtx.payload[2..], packet.payload);
            }
            let next = out.last().unwrap().sequence.wrapping_add(1);
            assert!(writer.retransmit(next, &gop).is_none(), "it was not sent yet");
        }
        writer.forget_sent();
        assert!(writer.retransmit(out[0].sequence, &gop).is_none());
    }

    #[test]
    fn a_retransmission_carries_the_original_and_its_number() {
        let (mut writer, mut out, mut gop) = (writer(), Vec::new(), Gop::default());
        let sent = unit(0, true, 0);
        gop.push(sent.clone());
        writer.wait();
        writer.write(&sent, &mut out);
        let rtx = writer.retransmit(0, &gop).unwrap();
        assert_eq!((rtx.ssrc, rtx.payload_type, rtx.marker, rtx.timestamp), (2, 103, true, out[1].timestamp));
        assert_eq!(rtx.payload[..], [&[0, 0][..], &out[1].payload].concat());
        assert_eq!(writer.retransmit(0, &gop).unwrap().sequence, rtx.sequence.wrapping_add(1));
        assert!(writer.retransmit(77, &gop).is_none());
    }
}
