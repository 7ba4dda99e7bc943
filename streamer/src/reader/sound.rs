//! The sound of a stream on the timeline of one reader, without gaps: silence, which is not encoded, is filled, so that players, whose
//! clock the sound is, do not wait for it. Pure.

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::AUDIO_CLOCK_HZ;

use crate::feed::{AudioUnit, ticks};
use crate::source::live::opus;

/// 20 ms of silence, stereo (RFC 6716 §3.1: CELT, fullband; its only frame says nothing).
pub const SILENCE: &[u8] = &[0xfc, 0xff, 0xfe];
/// Length of that.
const SILENCE_TICKS: u32 = 960;
/// A packet that begins this close to the end of the one before follows it: capture times scatter, sound does not.
const SCATTER: u64 = 40 * AUDIO_CLOCK_HZ as u64 / 1000;
/// Silence is filled up to so long ago: what comes later than that has lost its place.
pub const LATE: Duration = Duration::from_millis(200);
/// Silence that is filled at once, at most: a reader that was away for longer finds a gap.
const MOST_SILENCE: u64 = 2 * AUDIO_CLOCK_HZ as u64;

/// A packet of sound in its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packet {
    /// Start, in ticks of 48 kHz since the beginning.
    pub time: u64,
    /// Length in such ticks.
    pub duration: u32,
    /// Opus.
    pub data: Bytes,
}

/// Sound, and how far it has been told.
#[derive(Debug)]
pub struct Sound {
    start: Instant,
    /// End of the sound so far, in ticks.
    heard: u64,
    pending: Vec<Packet>,
}

impl Sound {
    /// Sound that begins now, at the time zero.
    pub fn new(start: Instant) -> Self {
        Self { start, heard: 0, pending: Vec::new() }
    }

    /// Takes a packet, unless it was captured before the beginning or comes too late.
    pub fn take(&mut self, unit: &AudioUnit) {
        let Some(length) = opus::ticks(&unit.payload).filter(|_| unit.captured >= self.start) else { return };
        let time = self.ticks(unit.captured);
        // What overlaps with what has been told cannot be told any more.
        if time + SCATTER < self.heard {
            return;
        }
        if time > self.heard + SCATTER {
            self.silence_until(time);
        }
        self.push(length, unit.payload.clone());
    }

    /// Takes silence for sound that has not come, and will not. To be called often.
    pub fn fill(&mut self, now: Instant) {
        let late = now.checked_sub(LATE).unwrap_or(self.start);
        self.silence_until(self.ticks(late));
    }

    /// What has come since this was called last.
    pub fn pending(&mut self) -> Vec<Packet> {
        std::mem::take(&mut self.pending)
    }

    fn ticks(&self, at: Instant) -> u64 {
        ticks(at.saturating_duration_since(self.start), AUDIO_CLOCK_HZ)
    }

    /// Fills with silence what is missing up to `time`, but not more than up to it.
    fn silence_until(&mut self, time: u64) {
        self.heard = self.heard.max(time.saturating_sub(MOST_SILENCE));
        while self.heard + u64::from(SILENCE_TICKS) <= time {
            self.push(SILENCE_TICKS, Bytes::from_static(SILENCE));
        }
    }

    fn push(&mut self, duration: u32, data: Bytes) {
        let time = self.heard;
        self.heard += u64::from(duration);
        self.pending.push(Packet { time, duration, data });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn packet(captured: Instant) -> AudioUnit {
        let payload = Bytes::from_static(SILENCE);
        AudioUnit { captured, time: 0, marker: false, payload }
    }

    /// The times of all sound that waits, and how long it is.
    fn waiting(sound: &Sound) -> Vec<(u64, u32)> {
        sound.pending.iter().map(|packet| (packet.time, packet.duration)).collect()
    }

    #[test]
    fn it_has_no_gaps_and_what_comes_too_late_is_left_out() {
        let now = Instant::now();
        let mut sound = Sound::new(now);
        sound.take(&packet(now - 20 * MS));
        assert_eq!(waiting(&sound), [], "it was before the beginning");
        for ms in [3, 18, 41] {
            sound.take(&packet(now + MS * ms));
        }
        assert_eq!(waiting(&sound), [(0, 960), (960, 960), (1920, 960)]);
        // A pause: silence fills it up to the packet.
        sound.take(&packet(now + 160 * MS));
        assert_eq!(waiting(&sound).len(), 3 + 5 + 1);
        assert_eq!(sound.heard, 9 * 960);
        sound.take(&packet(now + 100 * MS));
        assert_eq!(sound.heard, 9 * 960, "that has been told already");
        assert_eq!((sound.pending().len(), sound.pending().len()), (9, 0));
    }

    #[test]
    fn while_nothing_comes_silence_does() {
        let now = Instant::now();
        let mut sound = Sound::new(now);
        sound.fill(now + LATE);
        assert_eq!(waiting(&sound), []);
        sound.fill(now + LATE + 60 * MS);
        assert_eq!(sound.heard, 3 * 960);
        // After a very long time there is a gap.
        sound.fill(now + Duration::from_secs(100));
        assert_eq!(sound.heard / 48_000, 99);
    }
}
