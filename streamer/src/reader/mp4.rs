//! A live stream as fragmented MP4, on the timeline of one reader: pictures and sound become fragments as they come. Pure.
//!
//! A fragment has one picture and the sound since the one before. That a picture lasts until the next one is said by when that begins:
//! its own length is what is usual, as it is sent before the next one is there.

use std::time::Instant;

use common::media::{VIDEO_CLOCK_HZ, VideoCodec};

use super::boxes::{self, Sample, Tracks};
use super::sound::Sound;
use super::{Error, Format, TYPE_MASK, parameter_sets};
use crate::feed::packetize::nal_units;
use crate::feed::{AudioUnit, ticks};
use crate::media::{AccessUnit, Size};

/// What a picture lasts, as long as nothing else is known.
const USUAL: u32 = VIDEO_CLOCK_HZ / 30;

const DELIMITER: u8 = 9;
const FILLER: u8 = 12;

/// A stream, and how far it has been told.
#[derive(Debug)]
pub struct Live {
    has_sound: bool,
    /// Nothing is told before the first picture.
    begun: Option<Begun>,
    sequence: u32,
    /// Start of the last picture, in ticks.
    last: u64,
}

#[derive(Debug)]
struct Begun {
    /// When the first picture was captured.
    start: Instant,
    sound: Option<Sound>,
}

impl Live {
    /// A stream that has not begun; with a track of sound if it has any.
    pub fn new(has_sound: bool) -> Self {
        Self { has_sound, begun: None, sequence: 0, last: 0 }
    }

    fn sound_so_far(&mut self, now: Instant) -> Vec<Sample> {
        let Some(sound) = self.begun.as_mut().and_then(|begun| begun.sound.as_mut()) else {
            return Vec::new();
        };
        sound.fill(now);
        let pending = sound.pending().into_iter();
        pending
            .map(|packet| Sample {
                time: packet.time,
                duration: packet.duration,
                keyframe: true,
                data: packet.data.to_vec(),
            })
            .collect()
    }

    fn fragment(&mut self, out: &mut Vec<u8>, pictures: &[Sample], sound: &[Sample]) {
        self.sequence += 1;
        out.extend(boxes::fragment(self.sequence, pictures, sound));
    }
}

impl Format for Live {
    fn picture(&mut self, unit: &AccessUnit, now: Instant) -> Result<Vec<u8>, Error> {
        if unit.codec != VideoCodec::H264 {
            return Err(Error::Codec(unit.codec));
        }
        let mut out = Vec::new();
        let start = match &self.begun {
            Some(begun) => begun.start,
            None => {
                out = boxes::init(&tracks(&unit.data, unit.size, self.has_sound)?);
                let start = unit.captured;
                let sound = self.has_sound.then(|| Sound::new(start));
                self.begun.insert(Begun { start, sound }).start
            }
        };
        let elapsed = unit.captured.saturating_duration_since(start);
        // The first one is at zero, and each later than the one before.
        let time = ticks(elapsed, VIDEO_CLOCK_HZ).max(self.last + u64::from(self.sequence > 0));
        self.last = time;
        let data = with_lengths(&unit.data);
        let sample = Sample { time, duration: USUAL, keyframe: unit.keyframe, data };
        let sound = self.sound_so_far(now);
        self.fragment(&mut out, &[sample], &sound);
        Ok(out)
    }

    fn sound(&mut self, unit: &AudioUnit) {
        if let Some(sound) = self.begun.as_mut().and_then(|begun| begun.sound.as_mut()) {
            sound.take(unit);
        }
    }

    fn idle(&mut self, now: Instant) -> Vec<u8> {
        let sound = self.sound_so_far(now);
        let mut out = Vec::new();
        if !sound.is_empty() {
            self.fragment(&mut out, &[], &sound);
        }
        out
    }
}

/// The tracks of a stream that begins with this keyframe.
fn tracks(annex_b: &[u8], size: Size, sound: bool) -> Result<Tracks, Error> {
    let (sps, pps) = parameter_sets(annex_b)?;
    Ok(Tracks { sps, pps, size, sound })
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
    use std::time::Duration;

    use bytes::Bytes;

    use super::*;
    use crate::reader::sound::{LATE, SILENCE};

    const MS: Duration = Duration::from_millis(1);
    const KEYFRAME: &[u8] =
        &[0, 0, 0, 1, 9, 16, 0, 0, 0, 1, 0x67, 66, 192, 31, 0, 0, 1, 0x68, 8, 0, 0, 1, 0x65, 1, 2];

    fn picture(captured: Instant, data: &[u8], keyframe: bool) -> AccessUnit {
        AccessUnit { captured, ..AccessUnit::sample(data, keyframe) }
    }

    #[test]
    fn it_begins_with_a_keyframe_that_says_how_it_is_encoded() {
        let now = Instant::now();
        let mut live = Live::new(false);
        let vp8 = AccessUnit { codec: VideoCodec::VP8, ..picture(now, KEYFRAME, true) };
        assert_eq!(live.picture(&vp8, now), Err(Error::Codec(VideoCodec::VP8)));
        let bare = picture(now, &[0, 0, 1, 0x65, 1, 2], true);
        assert_eq!(live.picture(&bare, now), Err(Error::NoParameters));
        let begun = live.picture(&picture(now, KEYFRAME, true), now).unwrap();
        assert_eq!(&begun[4..8], b"ftyp");
        let sample =
            [&[0, 0, 0, 4, 0x67, 66, 192, 31, 0, 0, 0, 2, 0x68, 8, 0, 0, 0, 3, 0x65, 1, 2][..]].concat();
        assert!(begun.ends_with(&sample), "lengths, and no delimiter");
        let next = live.picture(&picture(now + 33 * MS, &[0, 0, 1, 0x41, 1], false), now).unwrap();
        assert_eq!(&next[4..8], b"moof");
    }

    #[test]
    fn pictures_are_where_they_were_captured_and_never_at_the_same_time() {
        let now = Instant::now();
        let mut live = Live::new(false);
        let mut time = |ms: u32| {
            live.picture(&picture(now + MS * ms, KEYFRAME, true), now).unwrap();
            live.last
        };
        assert_eq!([time(0), time(100), time(100), time(5000)], [0, 9000, 9001, 450_000]);
    }

    #[test]
    fn sound_comes_with_the_next_picture_or_without_one() {
        let now = Instant::now();
        let payload = Bytes::from_static(SILENCE);
        let packet = AudioUnit { captured: now, time: 0, marker: false, payload };
        let mut live = Live::new(true);
        live.sound(&packet);
        assert!(live.idle(now).is_empty(), "before the first picture nothing is heard");
        live.picture(&picture(now, KEYFRAME, true), now).unwrap();
        live.sound(&packet);
        let with_sound = live.picture(&picture(now + MS, KEYFRAME, true), now).unwrap();
        assert!(with_sound.ends_with(SILENCE));
        assert!(live.idle(now + LATE).is_empty());
        assert_eq!(&live.idle(now + LATE + 60 * MS)[4..8], b"moof");
        let mut live = Live::new(false);
        live.picture(&picture(now, KEYFRAME, true), now).unwrap();
        live.sound(&packet);
        assert!(live.idle(now + Duration::from_secs(9)).is_empty(), "it has no sound");
    }
}
