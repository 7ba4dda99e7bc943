//! One source on its way into mixes: decoded once, and held back for long enough that what jitters does not stutter. Pure.
//!
//! ```text
//! packets ─▶ what is lost is made up ─▶ decoded ─▶ samples that wait ─▶ a frame every 20 ms
//!                                                   │ more than MOST: cut down to LEAST
//!                                                   │ less than a frame: the rest is made up, for 100 ms; then silence
//! ```
//!
//! The samples that wait are the only clock: a source whose clock is fast is cut now and then, and one whose clock is slow is
//! stretched. Neither is ever later than [`MOST`].

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use super::{FRAME, FRAME_TIME};
use crate::encode;
use crate::encode::audio::{CHANNELS, OpusDecoder, SAMPLE_RATE};
use crate::feed::AudioUnit;

/// Values of 2.5 ms, the shortest frame of Opus: lengths of what is made up are multiples of it.
const STEP: usize = SAMPLE_RATE as usize * CHANNELS / 400;
/// Values that wait before a source is heard, at first and after silence: 40 ms. What jitters less does not stutter.
const LEAST: usize = 2 * FRAME;
/// Values that wait at most: 100 ms, and more by as much as a packet is longer than a frame. When there are more, the oldest are
/// dropped down to [`LEAST`].
const MOST: usize = 5 * FRAME;
/// A source that has less than [`LEAST`] is heard after so many frames nevertheless: it made a short sound.
const PATIENCE: u32 = 2;
/// Frames in a row that are made up at most, 100 ms. Then it is silence.
const MOST_CONCEALED: usize = 5 * FRAME;
/// A longer gap is silence that was not sent.
const LONGEST_LOSS: Duration = Duration::from_millis(100);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing is heard of it; for so many frames something has waited.
    Waiting { frames: u32 },
    /// It is heard.
    Playing,
}

/// The sound of one source.
pub struct Input {
    decoder: OpusDecoder,
    samples: VecDeque<i16>,
    state: State,
    /// When the packet after the newest one was captured, if none is lost; `None` after silence.
    next: Option<Instant>,
    /// Length of the newest packet, in values.
    packet: usize,
    /// Values that were made up since then.
    concealed: usize,
}

impl Input {
    /// One that is silent.
    ///
    /// # Errors
    /// When libopus refuses.
    pub fn new() -> Result<Self, encode::Error> {
        Ok(Self {
            decoder: OpusDecoder::new()?,
            samples: VecDeque::with_capacity(MOST + FRAME),
            state: State::Waiting { frames: 0 },
            next: None,
            packet: FRAME,
            concealed: 0,
        })
    }

    /// Takes the next packet. What is no Opus is left out.
    pub fn push(&mut self, unit: &AudioUnit) {
        self.make_up_lost(unit);
        let Ok(samples) = self.decoder.decode(&unit.payload) else { return };
        self.samples.extend(samples);
        self.packet = samples.len();
        self.concealed = 0;
        self.next = unit.captured.checked_add(time_of(self.packet));
        self.cut();
    }

    /// Makes up the packets that are missing before `unit`.
    fn make_up_lost(&mut self, unit: &AudioUnit) {
        let gap = self.next.map(|next| unit.captured.saturating_duration_since(next));
        // Times that are measured scatter a little.
        let is_loss = |gap: &Duration| *gap >= time_of(self.packet) * 3 / 4 && *gap <= LONGEST_LOSS;
        let Some(gap) = gap.filter(is_loss) else { return };
        let lost = values_of(gap) / STEP * STEP;
        // Some of it has been made up already, when there was nothing to play.
        let mut missing = lost.saturating_sub(self.concealed);
        while missing > 0 {
            let values = missing.min(self.packet);
            missing -= values;
            let made = match missing {
                0 => self.decoder.recover(&unit.payload, values),
                _ => self.decoder.conceal(values),
            };
            // Without it there is less to play, and that is all.
            self.samples.extend(made.unwrap_or_default());
        }
    }

    /// Drops the oldest samples when there are too many; what is left follows them without a click.
    fn cut(&mut self) {
        let longer = self.packet.saturating_sub(FRAME);
        if self.samples.len() <= MOST + longer {
            return;
        }
        let excess = self.samples.len() - LEAST - longer;
        for i in 0..FRAME {
            let late = i as f32 / FRAME as f32;
            let mixed =
                f32::from(self.samples[i]) * (1.0 - late) + f32::from(self.samples[excess + i]) * late;
            // Between two values that fit.
            self.samples[excess + i] = mixed as i16;
        }
        self.samples.drain(..excess);
    }

    /// The next 20 ms, [`FRAME`] values; false when there is nothing to be heard, and `frame` is as it was.
    pub fn take(&mut self, frame: &mut [i16]) -> bool {
        if let State::Waiting { frames } = &mut self.state {
            if self.samples.is_empty() {
                return false;
            }
            *frames += 1;
            if self.samples.len() < LEAST && *frames <= PATIENCE {
                return false;
            }
            self.state = State::Playing;
        }
        let there = self.samples.len().min(FRAME);
        let (played, missing) = frame.split_at_mut(there);
        for (value, sample) in played.iter_mut().zip(self.samples.drain(..there)) {
            *value = sample;
        }
        if missing.is_empty() {
            return true;
        }
        let fades = self.concealed + FRAME >= MOST_CONCEALED;
        self.make_up(missing);
        if fades {
            let len = missing.len() as f32;
            for (i, value) in missing.iter_mut().enumerate() {
                *value = (f32::from(*value) * (1.0 - i as f32 / len)) as i16;
            }
            self.state = State::Waiting { frames: 0 };
            self.next = None;
        }
        true
    }

    fn make_up(&mut self, missing: &mut [i16]) {
        missing.fill(0);
        let made = self.decoder.conceal(missing.len().next_multiple_of(STEP)).unwrap_or_default();
        for (value, made) in missing.iter_mut().zip(made) {
            *value = *made;
        }
        self.concealed += missing.len();
    }

    /// Nothing is heard of it, and nothing waits.
    pub fn is_silent(&self) -> bool {
        self.state != State::Playing && self.samples.is_empty()
    }

    /// How much waits.
    #[cfg(test)]
    fn waits(&self) -> Duration {
        time_of(self.samples.len())
    }
}

/// How long so many values take.
fn time_of(values: usize) -> Duration {
    // At most some thousand.
    FRAME_TIME * values as u32 / FRAME as u32
}

/// How many values there are in a time.
fn values_of(time: Duration) -> usize {
    time.as_micros() as usize * FRAME / FRAME_TIME.as_micros() as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::audio::BLOCK;
    use crate::mix::tests::{Tone, tone_in};

    const HZ: f64 = 1000.0;

    /// A source that whistles, with packets of so many values, and what is heard of it.
    struct Stage {
        start: Instant,
        tone: Tone,
        input: Input,
        heard: Vec<i16>,
        /// How long each frame took to be heard, from its capture.
        silent: usize,
    }

    impl Stage {
        fn new(values: usize) -> Self {
            let start = Instant::now();
            let tone = Tone::new(HZ, values);
            Self { start, tone, input: Input::new().unwrap(), heard: Vec::new(), silent: 0 }
        }

        /// The next packet, captured at this time.
        fn unit(&mut self, ms: u64) -> AudioUnit {
            self.tone.unit(self.start + Duration::from_millis(ms))
        }

        fn push(&mut self, ms: u64) {
            let unit = self.unit(ms);
            self.input.push(&unit);
        }

        fn lose(&mut self) {
            self.unit(0);
        }

        fn take(&mut self) {
            let mut frame = [0; FRAME];
            match self.input.take(&mut frame) {
                true => self.heard.extend(frame),
                false => self.silent += 1,
            }
        }

        fn purity(&self) -> f64 {
            tone_in(&self.heard, HZ)
        }
    }

    #[test]
    fn packets_of_any_length_are_heard_as_they_were() {
        for (values, every) in [(BLOCK, 10), (2 * BLOCK, 20)] {
            let mut stage = Stage::new(values);
            for n in 0..100 {
                for k in 0..20 / every {
                    stage.push(n * 20 + k * every);
                }
                stage.take();
            }
            assert!(stage.purity() > 0.98, "{values}: {}", stage.purity());
            assert_eq!(stage.silent, 1, "it is heard once two frames wait");
            assert_eq!(stage.input.waits(), FRAME_TIME, "{values}");
        }
    }

    #[test]
    fn what_jitters_by_a_frame_does_not_stutter() {
        let mut stage = Stage::new(FRAME);
        for n in 0..100 {
            // Every other packet comes together with the one after.
            if n % 2 == 1 {
                stage.push((n - 1) * 20);
                stage.push(n * 20);
            }
            stage.take();
        }
        assert!(stage.purity() > 0.95, "{}", stage.purity());
    }

    #[test]
    fn a_packet_that_is_lost_is_made_up_and_delays_nothing() {
        let mut stage = Stage::new(FRAME);
        for n in 0..200 {
            if n % 10 == 9 {
                stage.lose();
            } else {
                stage.push(n * 20);
            }
            stage.take();
        }
        assert!(stage.purity() > 0.8, "{}", stage.purity());
        assert!(stage.silent <= 2 && stage.input.waits() <= 2 * FRAME_TIME, "{:?}", stage.input.waits());
    }

    #[test]
    fn a_clock_that_is_fast_or_slow_builds_up_no_delay() {
        // Of a thousand frames by the clock of the source, so many fewer or more by ours: 5 %.
        for (every, packets) in [(20, 2), (20, 0)] {
            let mut stage = Stage::new(FRAME);
            let mut most = Duration::ZERO;
            let mut captured = 0;
            for n in 0..1000 {
                for _ in 0..if n % every == 0 { packets } else { 1 } {
                    stage.push(captured);
                    captured += 20;
                }
                most = most.max(stage.input.waits());
                stage.take();
            }
            assert!(most <= time_of(MOST), "{packets}: {most:?}");
            // What is cut or stretched costs a little, and nobody hears silence.
            assert!(
                stage.purity() > 0.5 && stage.silent <= 2,
                "{packets}: {} {}",
                stage.purity(),
                stage.silent
            );
        }
    }

    #[test]
    fn what_comes_all_at_once_is_cut_to_what_may_wait() {
        let mut stage = Stage::new(FRAME);
        for n in 0..50 {
            stage.push(n * 20);
            assert!(stage.input.waits() <= time_of(MOST));
        }
        let mut long = Stage::new(6 * FRAME);
        for n in 0..20 {
            long.push(n * 120);
            for _ in 0..6 {
                long.take();
            }
        }
        assert!(long.purity() > 0.9, "packets of 120 ms are not cut: {}", long.purity());
    }

    #[test]
    fn who_stops_is_silent_soon_and_a_short_sound_is_heard_too() {
        let mut stage = Stage::new(BLOCK);
        stage.push(0);
        for _ in 0..20 {
            stage.take();
        }
        assert!(stage.input.is_silent());
        assert!(stage.heard.len() >= BLOCK && stage.heard.len() <= BLOCK + MOST_CONCEALED + FRAME);
        assert!(stage.heard[..BLOCK].iter().any(|value| *value != 0));
        // After silence it is no loss.
        stage.push(5000);
        assert_eq!(stage.input.waits(), FRAME_TIME / 2);
    }

    #[test]
    fn what_is_no_opus_is_left_out() {
        let mut stage = Stage::new(FRAME);
        for payload in [&[][..], &[0xff; 3], &[0; 2000]] {
            let unit = AudioUnit { payload: bytes::Bytes::copy_from_slice(payload), ..stage.unit(0) };
            stage.input.push(&unit);
        }
        stage.take();
        stage.push(20);
        stage.push(40);
        stage.take();
        assert!(!stage.heard.is_empty());
    }
}
