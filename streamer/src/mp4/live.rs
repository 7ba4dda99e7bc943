//! A live stream on the timeline of one reader: pictures and sound become fragments as they come. Pure.
//!
//! A fragment has one picture and the sound since the one before. That a picture lasts until the next one is said by when that begins:
//! its own length is what is usual, as it is sent before the next one is there. Sound has no gaps: silence, which is not encoded, is
//! filled, so that players, whose clock the sound is, do not wait for it.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, VideoCodec};

use super::boxes::{self, Sample, Tracks};
use crate::feed::packetize::nal_units;
use crate::feed::{AudioUnit, ticks};
use crate::media::{AccessUnit, Size};
use crate::source::live::opus;

/// What a picture lasts, as long as nothing else is known.
const USUAL: u32 = VIDEO_CLOCK_HZ / 30;
/// 20 ms of silence, stereo (RFC 6716 §3.1: CELT, fullband; its only frame says nothing).
const SILENCE: &[u8] = &[0xfc, 0xff, 0xfe];
/// Length of that.
const SILENCE_TICKS: u32 = 960;
/// A packet that begins this close to the end of the one before follows it: capture times scatter, sound does not.
const SCATTER: u64 = 40 * AUDIO_CLOCK_HZ as u64 / 1000;
/// Silence is filled up to so long ago: what comes later than that has lost its place.
const LATE: Duration = Duration::from_millis(200);
/// Silence that is filled at once, at most: a reader that was away for longer finds a gap.
const MOST_SILENCE: u64 = 2 * AUDIO_CLOCK_HZ as u64;

const TYPE_MASK: u8 = 0x1f;
const SPS: u8 = 7;
const PPS: u8 = 8;
const DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// Why a stream cannot go on as MP4.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// It is not H.264.
    #[error("the stream is {0:?}, and only H.264 is sent as MP4")]
    Codec(VideoCodec),
    /// Its first picture does not say how it is encoded.
    #[error("the first picture has no parameter sets")]
    NoParameters,
}

/// A stream, and how far it has been told.
#[derive(Debug)]
pub struct Live {
    sound: bool,
    /// When its first picture was captured; nothing is told before.
    start: Option<Instant>,
    sequence: u32,
    /// Start of the last picture, in ticks.
    last: u64,
    /// End of the sound so far, in ticks.
    heard: u64,
    pending: Vec<Sample>,
}

impl Live {
    /// A stream that has not begun; with a track of sound if it has any.
    pub fn new(sound: bool) -> Self {
        Self { sound, start: None, sequence: 0, last: 0, heard: 0, pending: Vec::new() }
    }

    /// The bytes of a picture, and of the sound that has come since the last one. The first picture must be a keyframe.
    ///
    /// # Errors
    /// See [`Error`].
    pub fn picture(&mut self, unit: &AccessUnit) -> Result<Vec<u8>, Error> {
        if unit.codec != VideoCodec::H264 {
            return Err(Error::Codec(unit.codec));
        }
        let mut out = Vec::new();
        let start = match self.start {
            Some(start) => start,
            None => {
                out = boxes::init(&tracks(&unit.data, unit.size, self.sound)?);
                *self.start.insert(unit.captured)
            }
        };
        let elapsed = unit.captured.saturating_duration_since(start);
        // The first one is at zero, and each later than the one before.
        let time = ticks(elapsed, VIDEO_CLOCK_HZ).max(self.last + u64::from(self.sequence > 0));
        self.last = time;
        let data = with_lengths(&unit.data);
        let sample = Sample { time, duration: USUAL, keyframe: unit.keyframe, data };
        self.fragment(&mut out, &[sample]);
        Ok(out)
    }

    /// Takes a packet of sound.
    pub fn sound(&mut self, unit: &AudioUnit) {
        let (Some(start), Some(length)) = (self.start, opus::ticks(&unit.payload)) else { return };
        if !self.sound || unit.captured < start {
            return;
        }
        let time = ticks(unit.captured - start, AUDIO_CLOCK_HZ);
        // What overlaps with what has been told cannot be told any more.
        if time + SCATTER < self.heard {
            return;
        }
        if time > self.heard + SCATTER {
            self.silence_until(time);
        }
        self.push(length, &unit.payload);
    }

    /// Takes silence for sound that has not come, and will not. To be called often.
    pub fn fill(&mut self, now: Instant) {
        if let Some(start) = self.start.filter(|_| self.sound) {
            let late = now.checked_sub(LATE).unwrap_or(start);
            self.silence_until(ticks(late.saturating_duration_since(start), AUDIO_CLOCK_HZ));
        }
    }

    /// The bytes of sound that has come while no picture did, silence included.
    pub fn idle(&mut self, now: Instant) -> Vec<u8> {
        self.fill(now);
        let mut out = Vec::new();
        if !self.pending.is_empty() {
            self.fragment(&mut out, &[]);
        }
        out
    }

    /// Fills with silence what is missing up to `time`, but not more than up to it.
    fn silence_until(&mut self, time: u64) {
        self.heard = self.heard.max(time.saturating_sub(MOST_SILENCE));
        while self.heard + u64::from(SILENCE_TICKS) <= time {
            self.push(SILENCE_TICKS, &Bytes::from_static(SILENCE));
        }
    }

    fn push(&mut self, duration: u32, data: &Bytes) {
        let time = self.heard;
        self.heard += u64::from(duration);
        self.pending.push(Sample { time, duration, keyframe: true, data: data.to_vec() });
    }

    fn fragment(&mut self, out: &mut Vec<u8>, pictures: &[Sample]) {
        self.sequence += 1;
        out.extend(boxes::fragment(self.sequence, pictures, &self.pending));
        self.pending.clear();
    }
}

/// The tracks of a stream that begins with this keyframe.
fn tracks(annex_b: &[u8], size: Size, sound: bool) -> Result<Tracks, Error> {
    let set = |kind| nal_units(annex_b).find(|unit| unit[0] & TYPE_MASK == kind).map(<[u8]>::to_vec);
    match (set(SPS).filter(|sps| sps.len() >= 4), set(PPS)) {
        (Some(sps), Some(pps)) => Ok(Tracks { sps, pps, size, sound }),
        _ => Err(Error::NoParameters),
    }
}

/// NAL units with their lengths instead of start codes; without delimiters and filler.
fn with_lengths(annex_b: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(annex_b.len() + 16);
    for unit in nal_units(annex_b) {
        if !matches!(unit[0] & TYPE_MASK, DELIMITER | FILLER) {
            out.extend((unit.len() as u32).to_be_bytes());
            out.extend(unit);
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const KEYFRAME: &[u8] =
        &[0, 0, 0, 1, 9, 16, 0, 0, 0, 1, 0x67, 66, 192, 31, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 2];

    fn picture(captured: Instant, data: &[u8], keyframe: bool) -> AccessUnit {
        AccessUnit { captured, ..AccessUnit::sample(data, keyframe) }
    }

    fn packet(captured: Instant) -> AudioUnit {
        let payload = Bytes::from_static(SILENCE);
        AudioUnit { captured, time: 0, marker: false, payload }
    }

    /// The times of all sound that waits, and how long it is.
    fn waiting(live: &Live) -> Vec<(u64, u32)> {
        live.pending.iter().map(|sample| (sample.time, sample.duration)).collect()
    }

    #[test]
    fn it_begins_with_a_keyframe_that_says_how_it_is_encoded() {
        let now = Instant::now();
        let mut live = Live::new(false);
        let vp8 = AccessUnit { codec: VideoCodec::VP8, ..picture(now, KEYFRAME, true) };
        assert_eq!(live.picture(&vp8), Err(Error::Codec(VideoCodec::VP8)));
        let bare = picture(now, &[0, 0, 1, 0x65, 1, 2], true);
        assert_eq!(live.picture(&bare), Err(Error::NoParameters));
        let begun = live.picture(&picture(now, KEYFRAME, true)).unwrap();
        assert_eq!(&begun[4..8], b"ftyp");
        let sample =
            [&[0, 0, 0, 4, 0x67, 66, 192, 31, 0, 0, 0, 2, 0x68, 8, 0, 0, 0, 3, 0x65, 1, 2][..]].concat();
        assert!(begun.ends_with(&sample), "lengths, and no delimiter");
        let next = live.picture(&picture(now + 33 * MS, &[0, 0, 1, 0x41, 1], false)).unwrap();
        assert_eq!(&next[4..8], b"moof");
    }

    #[test]
    fn pictures_are_where_they_were_captured_and_never_at_the_same_time() {
        let now = Instant::now();
        let mut live = Live::new(false);
        let mut time = |ms: u32| {
            live.picture(&picture(now + MS * ms, KEYFRAME, true)).unwrap();
            live.last
        };
        assert_eq!([time(0), time(100), time(100), time(5000)], [0, 9000, 9001, 450_000]);
    }

    #[test]
    fn sound_has_no_gaps_and_what_comes_too_late_is_left_out() {
        let now = Instant::now();
        let mut live = Live::new(true);
        live.sound(&packet(now));
        assert_eq!(waiting(&live), [], "before the first picture nothing is heard");
        live.picture(&picture(now, KEYFRAME, true)).unwrap();
        live.sound(&packet(now - 20 * MS));
        for ms in [3, 18, 41] {
            live.sound(&packet(now + MS * ms));
        }
        assert_eq!(waiting(&live), [(0, 960), (960, 960), (1920, 960)]);
        // A pause: silence fills it up to the packet.
        live.sound(&packet(now + 160 * MS));
        assert_eq!(waiting(&live).len(), 3 + 5 + 1);
        assert_eq!(live.heard, 9 * 960);
        live.sound(&packet(now + 100 * MS));
        assert_eq!(live.heard, 9 * 960, "that has been told already");
        live.picture(&picture(now + 180 * MS, KEYFRAME, true)).unwrap();
        assert_eq!(waiting(&live), []);
    }

    #[test]
    fn while_nothing_comes_silence_does() {
        let now = Instant::now();
        let mut live = Live::new(true);
        assert!(live.idle(now).is_empty(), "before the first picture");
        live.picture(&picture(now, KEYFRAME, true)).unwrap();
        assert!(live.idle(now + LATE).is_empty());
        assert_eq!(&live.idle(now + LATE + 60 * MS)[4..8], b"moof");
        assert_eq!(live.heard, 3 * 960);
        // After a very long time there is a gap.
        live.idle(now + Duration::from_secs(100));
        assert_eq!(live.heard / 48_000, 99);
        let mut live = Live::new(false);
        live.picture(&picture(now, KEYFRAME, true)).unwrap();
        live.sound(&packet(now));
        assert!(live.idle(now + Duration::from_secs(9)).is_empty(), "it has no sound");
    }
}
