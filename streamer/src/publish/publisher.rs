//! Everything that one peer publishes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ};
use common::signal::PublishKind;

use super::arrivals::{Arrivals, Told};
use super::demux::Demux;
use super::frames::{Assembler, Frame, Piece};
use super::loudness::Loudness;
use super::reception::{Reception, Report};
use super::sections::{Format, Section};
use super::timeline::Timeline;
use super::{Layer, MAX_PAYLOAD, Packet};

/// Keyframes are asked for no more often than this, and than once in a round trip.
const KEYFRAME_INTERVAL: Duration = Duration::from_millis(100);
/// A publisher that sends none is asked ever less often, down to this.
const MAX_KEYFRAME_INTERVAL: Duration = Duration::from_secs(2);
/// Reception reports are this often while something comes.
const REPORT_INTERVAL: Duration = Duration::from_secs(1);
/// Where nothing is known of the path.
const UNKNOWN_ROUND_TRIP: Duration = Duration::from_millis(100);

/// What comes of packets and of time.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// A whole frame.
    Frame {
        /// Of what.
        kind: PublishKind,
        /// Which layer of it.
        layer: Layer,
        /// When it was captured, on our clock.
        captured: Instant,
        /// It.
        frame: Frame,
    },
    /// A sound packet of the microphone.
    Sound {
        /// When it was captured, on our clock.
        captured: Instant,
        /// It.
        payload: Bytes,
        /// How loud it is (RFC 6464): 0 is the loudest, 127 silence.
        level: Option<u8>,
    },
    /// The peer speaks, or does not any more.
    Speaking(bool),
    /// These packets are to be sent again.
    Nack {
        /// Of which stream.
        ssrc: u32,
        /// Their sequence numbers.
        sequences: Vec<u16>,
    },
    /// A keyframe is to be sent.
    Pli {
        /// Of which stream.
        ssrc: u32,
    },
    /// When packets arrived.
    Arrivals(Told),
    /// How streams arrive.
    Reports(Vec<Report>),
}

/// One stream of pictures.
struct Stream {
    ssrc: u32,
    assembler: Assembler,
    timeline: Timeline,
    reception: Reception,
    keyframe: Keyframe,
}

/// When a stream is asked for a keyframe.
#[derive(Debug, Default)]
struct Keyframe {
    wanted: bool,
    asked: Option<Instant>,
    /// Asked for in vain since the last one came.
    in_vain: u32,
}

impl Keyframe {
    fn due(&self, round_trip: Duration) -> Option<Instant> {
        let asked = self.asked?;
        let interval = KEYFRAME_INTERVAL.max(round_trip) * (1 << self.in_vain.min(8));
        Some(asked + interval.min(MAX_KEYFRAME_INTERVAL))
    }

    /// True when it is to be asked for now.
    fn take(&mut self, now: Instant, round_trip: Duration) -> bool {
        if !self.wanted || self.due(round_trip).is_some_and(|due| now < due) {
            return false;
        }
        self.wanted = false;
        self.asked = Some(now);
        self.in_vain += 1;
        true
    }
}

struct Sound {
    ssrc: u32,
    newest: Option<u16>,
    timeline: Timeline,
    reception: Reception,
    loudness: Loudness,
}

/// What one peer publishes.
pub struct Publisher {
    clock: Instant,
    round_trip: Duration,
    demux: Demux,
    active: BTreeSet<PublishKind>,
    streams: BTreeMap<(PublishKind, Layer), Stream>,
    sound: Option<Sound>,
    arrivals: Arrivals,
    next_report: Option<Instant>,
}

impl Publisher {
    /// A peer that may send in these sections, and publishes nothing yet.
    pub fn new(clock: Instant, sections: Vec<Section>) -> Self {
        let mut demux = Demux::default();
        demux.set_sections(sections);
        Self {
            clock,
            round_trip: UNKNOWN_ROUND_TRIP,
            demux,
            active: BTreeSet::new(),
            streams: BTreeMap::new(),
            sound: None,
            arrivals: Arrivals::new(clock),
            next_report: None,
        }
    }

    /// The sections are these from now on.
    pub fn set_sections(&mut self, sections: Vec<Section>) {
        self.demux.set_sections(sections);
    }

    /// Whether there is a section for this.
    pub fn may_publish(&self, kind: PublishKind) -> bool {
        self.demux.sections().iter().any(|section| section.kind == kind)
    }

    /// The path's round trip.
    pub fn set_round_trip(&mut self, round_trip: Duration) {
        self.round_trip = round_trip;
    }

    /// What comes in this section is published from now on, from its next keyframe.
    pub fn publish(&mut self, kind: PublishKind) {
        if self.active.insert(kind) {
            for (_, stream) in self.streams.iter_mut().filter(|((of, _), _)| *of == kind) {
                stream.keyframe.wanted = true;
            }
        }
    }

    /// It is not published any more.
    pub fn unpublish(&mut self, kind: PublishKind) {
        self.active.remove(&kind);
        if kind == PublishKind::Microphone {
            self.sound = None;
        }
        self.streams.retain(|(of, _), _| *of != kind);
    }

    /// Takes a packet.
    pub fn receive(&mut self, now: Instant, packet: Packet, out: &mut Vec<Output>) {
        // Of every packet, whichever stream it is of: what is not told as arrived counts as lost.
        let numbered = self.demux.sections().iter().find_map(|section| section.extensions.transport_cc);
        if let Some(&[high, low]) = packet.extension(numbered) {
            self.arrivals.arrived(now, u16::from_be_bytes([high, low]));
        }
        let Some(route) = self.demux.route(&packet) else { return };
        self.next_report.get_or_insert(now + REPORT_INTERVAL);
        let section = self.demux.sections().iter().find(|section| section.kind == route.kind);
        let ids = section.map(|section| section.extensions).unwrap_or_default();
        if !self.active.contains(&route.kind) || packet.payload.len() > MAX_PAYLOAD {
            return;
        }
        match route.format {
            Format::Opus => self.sound(now, packet, ids.audio_level, out),
            Format::Video(codec) => {
                let stream = self.stream((route.kind, route.layer), packet.ssrc);
                stream.reception.received(now, packet.sequence, packet.timestamp);
                let Packet { sequence, timestamp, marker, payload, .. } = packet;
                let piece = Piece { sequence, timestamp, marker, codec, payload };
                self.piece(now, (route.kind, route.layer), piece, out);
            }
            Format::Rtx(of) => {
                let Some(Format::Video(codec)) = self.demux.format(route.kind, of) else { return };
                let Packet { timestamp, marker, mut payload, .. } = packet;
                if payload.len() < 2 {
                    return;
                }
                // The original number, and then the original payload (RFC 4588 §4).
                let original = payload.split_to(2);
                let sequence = u16::from_be_bytes([original[0], original[1]]);
                let piece = Piece { sequence, timestamp, marker, codec, payload };
                self.piece(now, (route.kind, route.layer), piece, out);
            }
        }
    }

    /// The stream with this SSRC. Another one in its place begins anew.
    fn stream(&mut self, id: (PublishKind, Layer), ssrc: u32) -> &mut Stream {
        let clock = self.clock;
        let begin = || Stream {
            ssrc,
            assembler: Assembler::default(),
            timeline: Timeline::new(VIDEO_CLOCK_HZ),
            reception: Reception::new(clock, ssrc, VIDEO_CLOCK_HZ),
            keyframe: Keyframe::default(),
        };
        let stream = self.streams.entry(id).or_insert_with(begin);
        if stream.ssrc != ssrc {
            let keyframe = std::mem::take(&mut stream.keyframe);
            *stream = Stream { keyframe, ..begin() };
        }
        stream
    }

    fn piece(&mut self, now: Instant, id: (PublishKind, Layer), piece: Piece, out: &mut Vec<Output>) {
        let Some(stream) = self.streams.get_mut(&id) else { return };
        let mut frames = Vec::new();
        stream.assembler.push(now, piece, &mut frames);
        stream.give_on(id, frames, out);
        stream.ask(now, self.round_trip, out);
    }

    fn sound(&mut self, now: Instant, packet: Packet, level: Option<u8>, out: &mut Vec<Output>) {
        let clock = self.clock;
        let ssrc = packet.ssrc;
        let begin = || Sound {
            ssrc,
            newest: None,
            timeline: Timeline::new(AUDIO_CLOCK_HZ),
            reception: Reception::new(clock, ssrc, AUDIO_CLOCK_HZ),
            loudness: Loudness::default(),
        };
        let sound = self.sound.get_or_insert_with(begin);
        if sound.ssrc != ssrc {
            *sound = begin();
        }
        sound.reception.received(now, packet.sequence, packet.timestamp);
        // What was overtaken is as good as lost: Opus conceals it.
        let is_late = |newest| packet.sequence.wrapping_sub(newest) as i16 <= 0;
        if sound.newest.is_some_and(is_late) || packet.payload.is_empty() {
            return;
        }
        sound.newest = Some(packet.sequence);
        let captured = sound.timeline.place(now, packet.timestamp);
        // The highest bit says whether it is speech.
        let level = packet.extension(level).and_then(|value| value.first()).map(|level| level & 0x7f);
        out.extend(level.and_then(|level| sound.loudness.heard(now, level)).map(Output::Speaking));
        out.push(Output::Sound { captured, payload: packet.payload, level });
    }

    /// A sender report has come; the middle 32 bits of its NTP time.
    pub fn sender_report(&mut self, now: Instant, ssrc: u32, ntp: u32) {
        let sound = self.sound.iter_mut().map(|sound| &mut sound.reception);
        let streams = self.streams.values_mut().map(|stream| &mut stream.reception);
        for reception in streams.chain(sound).filter(|reception| reception.ssrc() == ssrc) {
            reception.sender_report(now, ntp);
        }
    }

    /// Somebody needs a keyframe.
    pub fn request_keyframe(&mut self, now: Instant, kind: PublishKind, layer: Layer, out: &mut Vec<Output>) {
        let Some(stream) = self.streams.get_mut(&(kind, layer)) else { return };
        stream.keyframe.wanted = true;
        stream.ask(now, self.round_trip, out);
    }

    /// Lets time pass.
    pub fn timeout(&mut self, now: Instant, out: &mut Vec<Output>) {
        for (id, stream) in &mut self.streams {
            let mut frames = Vec::new();
            stream.assembler.timeout(now, &mut frames);
            stream.give_on(*id, frames, out);
            let mut sequences = Vec::new();
            stream.assembler.take_nacks(now, self.round_trip, &mut sequences);
            if !sequences.is_empty() {
                out.push(Output::Nack { ssrc: stream.ssrc, sequences });
            }
            stream.ask(now, self.round_trip, out);
        }
        let silent = self.sound.as_mut().and_then(|sound| sound.loudness.timeout(now));
        out.extend(silent.map(Output::Speaking));
        if let Some(told) = self.arrivals.take(now) {
            out.push(Output::Arrivals(told));
        }
        if self.next_report.is_some_and(|due| now >= due) {
            self.report(now, out);
        }
    }

    fn report(&mut self, now: Instant, out: &mut Vec<Output>) {
        self.next_report = None;
        let sound = self.sound.iter_mut().map(|sound| &mut sound.reception);
        let streams = self.streams.values_mut().map(|stream| &mut stream.reception);
        let reports: Vec<_> = streams.chain(sound).filter_map(|reception| reception.report(now)).collect();
        if !reports.is_empty() {
            out.push(Output::Reports(reports));
        }
    }

    /// When [`Publisher::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let streams = self.streams.values().flat_map(|stream| {
            let keyframe = stream.keyframe.due(self.round_trip).filter(|_| stream.keyframe.wanted);
            [stream.assembler.deadline(self.round_trip), keyframe]
        });
        let silent = self.sound.as_ref().and_then(|sound| sound.loudness.deadline());
        streams.chain([self.arrivals.deadline(), self.next_report, silent]).flatten().min()
    }
}

impl Stream {
    fn give_on(&mut self, (kind, layer): (PublishKind, Layer), frames: Vec<Frame>, out: &mut Vec<Output>) {
        for frame in frames {
            if frame.keyframe {
                self.keyframe = Keyframe { asked: self.keyframe.asked, ..Keyframe::default() };
            }
            let captured = self.timeline.place(frame.arrived, frame.timestamp);
            out.push(Output::Frame { kind, layer, captured, frame });
        }
        if self.assembler.is_broken() {
            self.keyframe.wanted = true;
        }
    }

    fn ask(&mut self, now: Instant, round_trip: Duration, out: &mut Vec<Output>) {
        if self.keyframe.take(now, round_trip) {
            out.push(Output::Pli { ssrc: self.ssrc });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::sections;
    use proptest::prelude::*;

    const OURS: &str = "v=0\r\nm=video 9 x\r\na=mid:0\r\na=recvonly\r\na=rtpmap:96 VP8/90000\r\n\
        a=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n\
        a=extmap:3 http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01\r\n\
        m=audio 9 x\r\na=mid:1\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
        a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n";

    fn publisher(now: Instant) -> Publisher {
        let theirs = "v=0\r\nm=video 9 x\r\na=ssrc-group:FID 10 11\r\na=ssrc:10 cname:x\r\na=ssrc:11 cname:x\r\n\
            m=audio 9 x\r\na=ssrc:20 cname:x\r\n";
        Publisher::new(now, sections::read(OURS, theirs))
    }

    fn packet(ssrc: u32, payload_type: u8, sequence: u16, payload: &[u8]) -> Packet {
        Packet {
            ssrc,
            payload_type,
            marker: true,
            sequence,
            timestamp: u32::from(sequence) * 3000,
            extensions: vec![(3, Bytes::copy_from_slice(&sequence.to_be_bytes()))],
            payload: Bytes::copy_from_slice(payload),
        }
    }

    const KEY: [u8; 2] = [0x10, 0];
    const DELTA: [u8; 2] = [0x10, 1];

    fn frames(out: &[Output]) -> Vec<u32> {
        let timestamp = |output: &Output| match output {
            Output::Frame { frame, .. } => Some(frame.timestamp / 3000),
            _ => None,
        };
        out.iter().filter_map(timestamp).collect()
    }

    fn plis(out: &[Output]) -> usize {
        out.iter().filter(|output| matches!(output, Output::Pli { ssrc: 10 })).count()
    }

    #[test]
    fn what_is_not_published_goes_nowhere() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        let mut out = Vec::new();
        publisher.receive(now, packet(10, 96, 1, &KEY), &mut out);
        assert_eq!(out, []);
        publisher.publish(PublishKind::Camera);
        publisher.receive(now, packet(10, 96, 2, &KEY), &mut out);
        assert_eq!(frames(&out), [2]);
        publisher.unpublish(PublishKind::Camera);
        publisher.receive(now, packet(10, 96, 3, &KEY), &mut out);
        assert_eq!(frames(&out), [2]);
        assert!(
            publisher.may_publish(PublishKind::Microphone) && !publisher.may_publish(PublishKind::Screen)
        );
    }

    #[test]
    fn a_retransmission_fills_the_gap_that_was_asked_for() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        let mut out = Vec::new();
        publisher.publish(PublishKind::Camera);
        for (sequence, payload) in [(1, KEY), (3, DELTA)] {
            publisher.receive(now, packet(10, 96, sequence, &payload), &mut out);
        }
        let due = publisher.deadline().unwrap();
        publisher.timeout(due, &mut out);
        assert!(out.contains(&Output::Nack { ssrc: 10, sequences: vec![2] }));
        let again = Packet { timestamp: 6000, ..packet(11, 97, 500, &[0, 2, 0x10, 1]) };
        publisher.receive(due, again, &mut out);
        publisher.receive(due, packet(11, 97, 501, &[0]), &mut out);
        assert_eq!(frames(&out), [1, 2, 3]);
        assert_eq!(plis(&out), 0);
    }

    #[test]
    fn many_wishes_are_one_keyframe_request_per_round_trip() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        let mut out = Vec::new();
        publisher.set_round_trip(Duration::from_millis(200));
        publisher.publish(PublishKind::Camera);
        publisher.receive(now, packet(10, 96, 1, &KEY), &mut out);
        for _ in 0..100 {
            publisher.request_keyframe(now, PublishKind::Camera, Layer::High, &mut out);
        }
        assert_eq!(plis(&out), 1);
        publisher.timeout(now + Duration::from_millis(399), &mut out);
        assert_eq!(plis(&out), 1);
        publisher.timeout(now + Duration::from_millis(400), &mut out);
        assert_eq!(plis(&out), 2);
    }

    #[test]
    fn who_never_sends_a_keyframe_is_asked_ever_less_often() {
        let start = Instant::now();
        let mut publisher = publisher(start);
        let mut out = Vec::new();
        publisher.publish(PublishKind::Camera);
        for n in 0..600u16 {
            let now = start + Duration::from_millis(33) * u32::from(n);
            publisher.receive(now, packet(10, 96, n, &DELTA), &mut out);
            publisher.timeout(now, &mut out);
        }
        assert!(frames(&out).is_empty());
        assert!((8..20).contains(&plis(&out)), "{} in 20 s", plis(&out));
    }

    #[test]
    fn sound_comes_as_it_is_with_how_loud_it_is() {
        let now = Instant::now();
        let mut publisher = publisher(now);
        let mut out = Vec::new();
        publisher.publish(PublishKind::Microphone);
        let mut sound = packet(20, 111, 5, &[9, 9]);
        sound.extensions = vec![(1, Bytes::from_static(&[0x80 | 30]))];
        publisher.receive(now, sound.clone(), &mut out);
        publisher.receive(now, sound, &mut out);
        let expected = Output::Sound { captured: now, payload: Bytes::from_static(&[9, 9]), level: Some(30) };
        assert_eq!(out, [expected]);
    }

    #[test]
    fn reports_and_arrivals_are_told_while_something_comes() {
        let start = Instant::now();
        let mut publisher = publisher(start);
        let mut out = Vec::new();
        publisher.publish(PublishKind::Camera);
        publisher.receive(start, packet(10, 96, 1, &KEY), &mut out);
        publisher.sender_report(start, 10, 77);
        publisher.timeout(start + REPORT_INTERVAL, &mut out);
        assert!(out.iter().any(|output| matches!(output, Output::Arrivals(told) if told.first == 1)));
        let reported = |output: &Output| match output {
            Output::Reports(reports) => reports.first().map(|report| (report.ssrc, report.last_report)),
            _ => None,
        };
        assert_eq!(out.iter().find_map(reported), Some((10, 77)));
        assert_eq!(publisher.deadline(), None, "nothing comes any more");
    }

    proptest! {
        #[test]
        fn no_packet_panics(
            packets in proptest::collection::vec(
                (0u32..24, 90u8..115, any::<u16>(), proptest::collection::vec(any::<u8>(), 0..20)),
                0..300,
            ),
        ) {
            let start = Instant::now();
            let mut publisher = publisher(start);
            let mut out = Vec::new();
            publisher.publish(PublishKind::Camera);
            publisher.publish(PublishKind::Microphone);
            for (n, (ssrc, payload_type, sequence, payload)) in (0u32..).zip(packets) {
                let now = start + n * Duration::from_millis(5);
                publisher.receive(now, packet(ssrc, payload_type, sequence, &payload), &mut out);
                publisher.timeout(now, &mut out);
            }
        }
    }
}
