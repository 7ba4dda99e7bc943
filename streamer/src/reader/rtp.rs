//! A live stream as RTP (RFC 3550), on the timeline of one reader: H.264 (RFC 6184) and Opus (RFC 7587), in frames of
//! [`common::rtp_stream`]. Pure.
//!
//! Reports say where both timelines are on one clock, first of all before the first packet, so that players have sound and picture in
//! step from the beginning.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::{BufMut, Bytes};
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, VideoCodec};
use common::rtp_stream::{self, AUDIO_TYPE, Description, Lane, Start, Track, VIDEO_TYPE};

use super::sound::Sound;
use super::{Error, Format, parameter_sets};
use crate::feed::packetize::h264;
use crate::feed::{AudioUnit, ticks};
use crate::media::AccessUnit;
use crate::ntp::{fixed_point, ntp};

/// Time between two reports of a track (RFC 3550 §6.2: 5 s at least).
const REPORTS: Duration = Duration::from_secs(5);
/// What all sources of one reader are called (RFC 3550 §6.5.1): it tells players that sound and picture belong together.
const CNAME: &[u8] = b"oriel";
/// First byte of an RTP packet without extensions, and of a report.
const VERSION: u8 = 0x80;
const MARKER: u8 = 0x80;
const SENDER_REPORT: u8 = 200;
const SOURCE_DESCRIPTION: u8 = 202;

/// What the world says when a reader begins: its time, and numbers that nobody can guess.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    at: Instant,
    /// `at` as NTP.
    ntp: u64,
    video: Start,
    audio: Start,
}

impl Origin {
    /// As it is now.
    #[expect(clippy::disallowed_methods, reason = "a reader begins when it begins")]
    pub fn now() -> Self {
        let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Self { at: Instant::now(), ntp: ntp(since_1970), video: start(), audio: start() }
    }

    fn ntp_at(&self, now: Instant) -> u64 {
        self.ntp.wrapping_add(fixed_point(now.saturating_duration_since(self.at)))
    }
}

/// A random beginning (RFC 3550 §5.1). Where the system has no random numbers it begins at zero, which only makes packets easier to forge.
fn start() -> Start {
    let mut bytes = [0; 10];
    if rustix::rand::getrandom(&mut bytes, rustix::rand::GetRandomFlags::empty()).is_err() {
        tracing::warn!("no random numbers for a reader");
    }
    let [a, b, c, d, e, f, g, h, i, j] = bytes;
    Start {
        ssrc: u32::from_be_bytes([a, b, c, d]),
        sequence: u16::from_be_bytes([e, f]),
        timestamp: u32::from_be_bytes([g, h, i, j]),
    }
}

/// A stream, and how far it has been told.
#[derive(Debug)]
pub struct Live {
    origin: Origin,
    has_sound: bool,
    /// Nothing is told before the first picture.
    begun: Option<Begun>,
}

#[derive(Debug)]
struct Begun {
    /// When the first picture was captured.
    start: Instant,
    /// Start of the last picture, in ticks.
    last: u64,
    video: Packets,
    sound: Option<(Sound, Packets)>,
    next_report: Instant,
}

/// The packets of a track.
#[derive(Debug)]
struct Packets {
    track: Track,
    payload_type: u8,
    clock_hz: u32,
    start: Start,
    sequence: u16,
    /// Packets and bytes of payload that were sent.
    sent: (u32, u32),
}

impl Live {
    /// A stream that has not begun; with a track of sound if it has any.
    pub fn new(origin: Origin, has_sound: bool) -> Self {
        Self { origin, has_sound, begun: None }
    }

    fn begin(&mut self, unit: &AccessUnit, now: Instant, out: &mut Vec<u8>) -> Result<&mut Begun, Error> {
        let (sps, pps) = parameter_sets(&unit.data)?;
        let Origin { video, audio, .. } = self.origin;
        let description = Description { sps, pps, video, audio: self.has_sound.then_some(audio) };
        let description = serde_json::to_vec(&description).expect("numbers only");
        // A picture whose parameter sets are too long for it is not described.
        if description.len() > rtp_stream::MAX_FRAME {
            return Err(Error::NoParameters);
        }
        rtp_stream::put(out, Lane::Description, &[&description]);
        let sound = |start| (Sound::new(unit.captured), Packets::of(Track::Audio, start));
        Ok(self.begun.insert(Begun {
            start: unit.captured,
            last: 0,
            video: Packets::of(Track::Video, video),
            sound: self.has_sound.then(|| sound(audio)),
            next_report: now,
        }))
    }
}

impl Begun {
    /// Reports that are due, and the sound so far.
    fn catch_up(&mut self, origin: &Origin, now: Instant, out: &mut Vec<u8>) {
        if now >= self.next_report {
            self.next_report = now + REPORTS;
            let ntp = origin.ntp_at(now);
            let elapsed = now.saturating_duration_since(self.start);
            self.video.report(ntp, elapsed, out);
            if let Some((_, packets)) = &self.sound {
                packets.report(ntp, elapsed, out);
            }
        }
        if let Some((sound, packets)) = &mut self.sound {
            sound.fill(now);
            for packet in sound.pending() {
                let first = packets.sent.0 == 0;
                packets.send(packet.time, first, &packet.data, out);
            }
        }
    }
}

impl Packets {
    fn of(track: Track, start: Start) -> Self {
        let (payload_type, clock_hz) = match track {
            Track::Video => (VIDEO_TYPE, VIDEO_CLOCK_HZ),
            Track::Audio => (AUDIO_TYPE, AUDIO_CLOCK_HZ),
        };
        Self { track, payload_type, clock_hz, start, sequence: start.sequence, sent: (0, 0) }
    }

    /// One packet (RFC 3550 §5.1) of what begins at this time.
    fn send(&mut self, time: u64, marker: bool, payload: &Bytes, out: &mut Vec<u8>) {
        let marker = if marker { MARKER } else { 0 };
        let mut header = [0; 12];
        let mut fields = &mut header[..];
        fields.put_u8(VERSION);
        fields.put_u8(self.payload_type | marker);
        fields.put_u16(self.sequence);
        fields.put_u32(self.timestamp(time));
        fields.put_u32(self.start.ssrc);
        rtp_stream::put(out, Lane::Media(self.track), &[&header, payload]);
        self.sequence = self.sequence.wrapping_add(1);
        let (packets, bytes) = self.sent;
        self.sent = (packets.wrapping_add(1), bytes.wrapping_add(payload.len() as u32));
    }

    /// A sender report (RFC 3550 §6.4.1) and the name of the source (§6.5).
    fn report(&self, ntp: u64, elapsed: Duration, out: &mut Vec<u8>) {
        let mut report = Vec::with_capacity(48);
        report.put_slice(&[VERSION, SENDER_REPORT]);
        // Words after the first.
        report.put_u16(6);
        report.put_u32(self.start.ssrc);
        report.put_u64(ntp);
        report.put_u32(self.timestamp(ticks(elapsed, self.clock_hz)));
        report.put_u32(self.sent.0);
        report.put_u32(self.sent.1);
        // One chunk, with one item, its end, and zeros up to a whole word.
        let chunk = (4 + 2 + CNAME.len() + 1).next_multiple_of(4);
        report.put_slice(&[VERSION | 1, SOURCE_DESCRIPTION]);
        report.put_u16((chunk / 4) as u16);
        report.put_u32(self.start.ssrc);
        report.put_slice(&[1, CNAME.len() as u8]);
        report.put_slice(CNAME);
        report.resize(28 + 4 + chunk, 0);
        rtp_stream::put(out, Lane::Report(self.track), &[&report]);
    }

    /// Only the low bits travel.
    fn timestamp(&self, time: u64) -> u32 {
        self.start.timestamp.wrapping_add(time as u32)
    }
}

impl Format for Live {
    fn picture(&mut self, unit: &AccessUnit, now: Instant) -> Result<Vec<u8>, Error> {
        if unit.codec != VideoCodec::H264 {
            return Err(Error::Codec(unit.codec));
        }
        let mut out = Vec::with_capacity(unit.data.len() + 512);
        let origin = self.origin;
        let begun = match &mut self.begun {
            Some(begun) => begun,
            None => self.begin(unit, now, &mut out)?,
        };
        begun.catch_up(&origin, now, &mut out);
        let elapsed = unit.captured.saturating_duration_since(begun.start);
        // The first one is at zero, and each later than the one before.
        let later = u64::from(begun.video.sent.0 > 0);
        begun.last = ticks(elapsed, VIDEO_CLOCK_HZ).max(begun.last + later);
        let payloads = h264::payloads(&unit.data);
        let last = payloads.len().saturating_sub(1);
        for (n, payload) in payloads.iter().enumerate() {
            begun.video.send(begun.last, n == last, payload, &mut out);
        }
        Ok(out)
    }

    fn sound(&mut self, unit: &AudioUnit) {
        if let Some((sound, _)) = self.begun.as_mut().and_then(|begun| begun.sound.as_mut()) {
            sound.take(unit);
        }
    }

    fn idle(&mut self, now: Instant) -> Vec<u8> {
        let mut out = Vec::new();
        if let Some(begun) = &mut self.begun {
            begun.catch_up(&self.origin, now, &mut out);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;
    use crate::reader::sound::{LATE, SILENCE};

    const MS: Duration = Duration::from_millis(1);
    const KEYFRAME: &[u8] = &[0, 0, 1, 0x67, 66, 192, 31, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 2];

    fn origin(at: Instant) -> Origin {
        let start = |ssrc| Start { ssrc, sequence: u16::MAX, timestamp: u32::MAX };
        Origin { at, ntp: ntp(Duration::from_secs(1)), video: start(7), audio: start(8) }
    }

    fn picture(captured: Instant, data: &[u8]) -> AccessUnit {
        AccessUnit { captured, ..AccessUnit::sample(data, true) }
    }

    fn packet(captured: Instant) -> AudioUnit {
        AudioUnit { captured, time: 0, marker: false, payload: Bytes::from_static(SILENCE) }
    }

    fn frames(bytes: &[u8]) -> Vec<(Lane, Bytes)> {
        let mut buffer = BytesMut::from(bytes);
        std::iter::from_fn(|| rtp_stream::take(&mut buffer).unwrap()).collect()
    }

    /// Lane, sequence number, timestamp and marker of each packet of media.
    fn packets(bytes: &[u8]) -> Vec<(Track, u16, u32, bool)> {
        let media = frames(bytes).into_iter().filter_map(|(lane, data)| match lane {
            Lane::Media(track) => Some((track, data)),
            _ => None,
        });
        media
            .map(|(track, data)| {
                let sequence = u16::from_be_bytes([data[2], data[3]]);
                let timestamp = u32::from_be_bytes(data[4..8].try_into().unwrap());
                (track, sequence, timestamp, data[1] & MARKER != 0)
            })
            .collect()
    }

    #[test]
    fn it_begins_with_a_description_and_reports_that_are_on_one_clock() {
        let now = Instant::now();
        let mut live = Live::new(origin(now), true);
        live.sound(&packet(now));
        assert!(live.idle(now).is_empty(), "before the first picture");
        // It is sent 250 ms after it was captured.
        let begun = frames(&live.picture(&picture(now, KEYFRAME), now + 250 * MS).unwrap());
        let lanes: Vec<_> = begun.iter().map(|(lane, _)| *lane).collect();
        let [video, audio] = [Track::Video, Track::Audio].map(Lane::Report);
        assert_eq!(lanes[..3], [Lane::Description, video, audio]);
        let description: Description = serde_json::from_slice(&begun[0].1).unwrap();
        assert_eq!((&description.sps[..], &description.pps[..]), (&[0x67, 66, 192, 31][..], &[0x68, 8][..]));
        assert_eq!((description.video.ssrc, description.audio.map(|audio| audio.ssrc)), (7, Some(8)));
        for ((_, report), clock) in begun[1..3].iter().zip([90_000, 48_000]) {
            let word = |n: usize| u32::from_be_bytes(report[4 * n..][..4].try_into().unwrap());
            assert_eq!((report[0], report[1], word(0) & 0xffff), (0x80, 200, 6));
            // 1 s after 1970 and another quarter, which is a quarter of a second on either clock.
            assert_eq!((word(2), word(3)), (2_208_988_801, 1 << 30));
            assert_eq!(word(4), (clock / 4) - 1, "the first timestamp is the last one that there is");
            assert_eq!((report[28], report[29], word(7) & 0xffff, word(8)), (0x81, 202, 3, word(1)));
            assert_eq!((&report[36..], report.len()), (&b"\x01\x05oriel\0"[..], 44));
        }
        let mut without = Live::new(origin(now), false);
        let begun = frames(&without.picture(&picture(now, KEYFRAME), now).unwrap());
        let description: Description = serde_json::from_slice(&begun[0].1).unwrap();
        assert_eq!((begun.len(), description.audio), (2 + 2, None));
        let vp8 = AccessUnit { codec: VideoCodec::VP8, ..picture(now, KEYFRAME) };
        assert_eq!(without.picture(&vp8, now), Err(Error::Codec(VideoCodec::VP8)));
        let bare = picture(now, &[0, 0, 1, 0x65, 1]);
        assert_eq!(Live::new(origin(now), true).picture(&bare, now), Err(Error::NoParameters));
    }

    #[test]
    fn packets_are_numbered_and_where_they_were_captured() {
        let now = Instant::now();
        let mut live = Live::new(origin(now), true);
        let mut large = KEYFRAME.to_vec();
        large.resize(3000, 7);
        let [v, a] = [Track::Video, Track::Audio];
        let begun = packets(&live.picture(&picture(now, &large), now).unwrap());
        let first = [(v, 65535, u32::MAX, false), (v, 0, u32::MAX, false)];
        assert_eq!((&begun[..2], begun.last()), (&first[..], Some(&(v, 2, u32::MAX, true))));
        live.sound(&packet(now));
        live.sound(&packet(now + 20 * MS));
        let next = packets(&live.picture(&picture(now + 40 * MS, KEYFRAME), now + 40 * MS).unwrap());
        let sound = [(a, 65535, u32::MAX, true), (a, 0, 959, false)];
        assert_eq!((&next[..2], next[2]), (&sound[..], (v, 3, 3599, false)));
        // Two pictures of the same time.
        let again = packets(&live.picture(&picture(now + 40 * MS, KEYFRAME), now + 40 * MS).unwrap());
        assert_eq!(again[0].2, 3600);
        // Nothing comes, and silence does; after five seconds there are reports, too.
        assert_eq!(packets(&live.idle(now + LATE + 60 * MS)), [(a, 1, 1919, false)]);
        let later = frames(&live.idle(now + REPORTS));
        assert_eq!((later[0].0, later[1].0), (Lane::Report(v), Lane::Report(a)));
        let sent = u32::from_be_bytes(later[1].1[20..24].try_into().unwrap());
        assert_eq!(sent, 3, "packets of sound so far");
    }
}
