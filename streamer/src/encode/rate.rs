//! How many bits, how many frames, how much work: pure decisions, the time is always passed in.

use std::time::{Duration, Instant};

use super::encoder::Content;
use crate::media::Size;

/// Bitrate of 1280×720 at 30 frames per second when the spec does not say: text stays sharp while
/// it scrolls.
const BASE_BPS: f64 = 2_500_000.0;

/// The bitrate for a size and frame rate when the spec does not say. Grows less than the number of
/// pixels, as larger pictures have more of the same in them: 4 Mbit/s at 1920×1080.
pub fn default_bitrate(size: Size, fps: u32) -> u32 {
    let pixels = f64::from(size.width) * f64::from(size.height) / (1280.0 * 720.0);
    let bps = BASE_BPS * pixels.powf(0.58) * (f64::from(fps) / 30.0).sqrt();
    bps.clamp(150_000.0, 20_000_000.0) as u32
}

/// Two frames are at least this far apart: what a program paints in bursts is one frame.
const MIN_GAP: Duration = Duration::from_millis(8);
/// After a pause, this much time's worth of frames may follow each other at [`MIN_GAP`].
const BURST: Duration = Duration::from_millis(200);

/// A token bucket for frames: sustained, not more than `fps`; after a pause the first ones go out at
/// once. A fixed tick would be as frequent but make each frame wait for half an interval.
#[derive(Debug)]
pub struct Pacer {
    /// Time that one frame costs.
    interval: Duration,
    /// Time saved up at `updated`, at most [`BURST`] or one frame.
    credit: Duration,
    updated: Instant,
    last: Option<Instant>,
}

impl Pacer {
    /// Full credit.
    pub fn new(fps: u32, now: Instant) -> Self {
        let interval = Duration::from_secs(1) / fps.max(1);
        Self { interval, credit: BURST.max(interval), updated: now, last: None }
    }

    /// The earliest time for the next frame; may be past.
    pub fn ready_at(&self) -> Instant {
        let credit_at = self.updated + self.interval.saturating_sub(self.credit);
        self.last.map_or(credit_at, |last| credit_at.max(last + MIN_GAP))
    }

    /// A frame was taken.
    pub fn took(&mut self, now: Instant) {
        let saved = self.credit + now.saturating_duration_since(self.updated);
        self.credit = saved.min(BURST.max(self.interval)).saturating_sub(self.interval);
        self.updated = now;
        self.last = Some(now);
    }
}

/// A frame may leave this much time's worth of bits to be sent before the next one has to wait: a
/// keyframe of a full screen costs about that much.
const ALLOWANCE: Duration = Duration::from_millis(300);

/// A leaky bucket of bits: when frames are larger than the bitrate allows, the next ones come later
/// rather than pile up in a network that cannot carry them.
#[derive(Debug)]
pub struct Overshoot {
    bitrate_bps: u32,
    /// How long sending takes what was not sent yet at `updated`.
    backlog: Duration,
    updated: Instant,
}

impl Overshoot {
    /// An empty bucket that leaks `bitrate_bps`.
    pub fn new(bitrate_bps: u32, now: Instant) -> Self {
        Self { bitrate_bps: bitrate_bps.max(1), backlog: Duration::ZERO, updated: now }
    }

    /// Leaks another number of bits from now on; what was not sent yet takes longer or shorter.
    pub fn set_bitrate(&mut self, now: Instant, bitrate_bps: u32) {
        if bitrate_bps == self.bitrate_bps {
            return;
        }
        self.sent(now, 0);
        self.backlog = self.backlog.mul_f64(f64::from(self.bitrate_bps) / f64::from(bitrate_bps.max(1)));
        self.bitrate_bps = bitrate_bps.max(1);
    }

    /// Frames of this many bytes went out.
    pub fn sent(&mut self, now: Instant, len_bytes: usize) {
        let left = self.backlog.saturating_sub(now.saturating_duration_since(self.updated));
        self.backlog = left + Duration::from_secs_f64(len_bytes as f64 * 8.0 / f64::from(self.bitrate_bps));
        self.updated = now;
    }

    /// The earliest time for the next frame; may be past.
    pub fn ready_at(&self) -> Instant {
        self.updated + self.backlog.saturating_sub(ALLOWANCE)
    }
}

/// Encoding that takes more than this share of the time is too slow for [`Content::Screen`].
const BUSY: f64 = 0.6;
/// Encoding that takes less than this share of the time in [`Content::Camera`] has room for the
/// other, which takes up to three times as long.
const CALM: f64 = 0.15;
/// How long it must have been so: a change costs a keyframe.
const BUSY_FOR: Duration = Duration::from_secs(2);
/// How long before going back.
const CALM_FOR: Duration = Duration::from_secs(15);
/// So many keyframes within [`CUTS_WITHIN`] that nobody asked for: to [`Content::Screen`] every picture of a film
/// is another scene. Keyframes cost several times what other frames do, in time and in bits.
const CUTS: u32 = 4;
const CUTS_WITHIN: Duration = Duration::from_secs(1);
/// A film costs this share of the time at least, and what costs less is none.
const NO_FILM: f64 = 0.05;

/// Watches how much of the time goes into encoding, and says when a screen had better be encoded as
/// camera video for a while.
#[derive(Debug)]
pub struct Load {
    content: Content,
    /// Since when and how long was encoded since.
    window: Option<(Instant, Duration)>,
    /// When the first of some cuts was, and how many there were since.
    cuts: Option<(Instant, u32)>,
    /// Share of the time below which [`Content::Screen`] is tried again.
    calm: f64,
}

impl Load {
    /// No load so far.
    pub fn new() -> Self {
        Self { content: Content::Screen, window: None, cuts: None, calm: CALM }
    }

    /// A frame was encoded, which took `encoding` and ended `now`; `cut` if it was a keyframe that nobody
    /// asked for. Answers with the kind of content to use from now on, if it is another one.
    pub fn encoded(&mut self, now: Instant, encoding: Duration, cut: bool) -> Option<Content> {
        if cut && self.content == Content::Screen && self.counts_as_film(now) {
            (self.window, self.cuts, self.calm) = (None, None, NO_FILM);
            self.content = Content::Camera;
            return Some(Content::Camera);
        }
        let (since, spent) =
            self.window.map_or((now - encoding, encoding), |(s, spent)| (s, spent + encoding));
        self.window = Some((since, spent));
        let length = now.saturating_duration_since(since);
        let share = spent.as_secs_f64() / length.as_secs_f64().max(1e-6);
        let (needed, other) = match self.content {
            Content::Screen => (BUSY_FOR, (share > BUSY).then_some(Content::Camera)),
            Content::Camera => (CALM_FOR, (share < self.calm).then_some(Content::Screen)),
        };
        if length < needed {
            return None;
        }
        self.window = None;
        self.content = other?;
        self.calm = CALM;
        other
    }

    fn counts_as_film(&mut self, now: Instant) -> bool {
        let before = self.cuts.filter(|(first, _)| now.saturating_duration_since(*first) < CUTS_WITHIN);
        let (first, count) = before.map_or((now, 1), |(first, count)| (first, count + 1));
        self.cuts = Some((first, count));
        count >= CUTS
    }
}

impl Default for Load {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn the_default_bitrate_grows_with_size_and_frame_rate() {
        let at = |width, height, fps| default_bitrate(Size { width, height }, fps);
        assert_eq!(at(1280, 720, 30), 2_500_000);
        assert!((3_900_000..4_100_000).contains(&at(1920, 1080, 30)));
        assert!(at(1280, 720, 60) > at(1280, 720, 30));
        assert_eq!(at(16, 16, 1), 150_000);
        assert!(at(3840, 2160, 120) <= 20_000_000);
    }

    /// Frames taken as early as the pacer allows, until `length`: their times in milliseconds.
    fn greedy(pacer: &mut Pacer, start: Instant, length: Duration) -> Vec<u128> {
        let mut times = Vec::new();
        loop {
            let at = pacer.ready_at().max(start);
            if at > start + length {
                return times;
            }
            pacer.took(at);
            times.push((at - start).as_millis());
        }
    }

    #[test]
    fn after_a_pause_frames_follow_at_the_gap_and_then_at_the_rate() {
        let start = Instant::now();
        let mut pacer = Pacer::new(30, start);
        let times = greedy(&mut pacer, start, 2000 * MS);
        assert_eq!(times[..6], [0, 8, 16, 24, 32, 40]);
        assert!((60..=66).contains(&times.len()), "60 frames in 2 s and a burst: {}", times.len());
        let late: Vec<_> = times.windows(2).map(|pair| pair[1] - pair[0]).skip(20).collect();
        assert!(late.iter().all(|gap| (33..=34).contains(gap)), "{late:?}");
    }

    #[test]
    fn credit_is_bounded_and_one_frame_is_always_possible() {
        let start = Instant::now();
        let mut pacer = Pacer::new(2, start);
        assert!(pacer.ready_at() <= start);
        assert_eq!(greedy(&mut pacer, start, 1100 * MS), [0, 500, 1000]);
        let later = start + Duration::from_secs(3600);
        assert_eq!(greedy(&mut pacer, later, 600 * MS), [0, 500]);
    }

    #[test]
    fn a_frame_that_overshoots_delays_the_next_by_what_is_too_much() {
        let start = Instant::now();
        let mut bucket = Overshoot::new(1_000_000, start);
        bucket.sent(start, 25_000); // 200 ms
        assert!(bucket.ready_at() <= start);
        bucket.sent(start, 25_000);
        assert_eq!(bucket.ready_at(), start + 100 * MS);
        bucket.sent(start + 100 * MS, 12_500);
        assert_eq!(bucket.ready_at(), start + 200 * MS);
        bucket.sent(start + 5000 * MS, 100);
        assert!(bucket.ready_at() <= start + 5000 * MS);
    }

    #[test]
    fn what_is_not_sent_yet_takes_as_long_as_the_new_bitrate_says() {
        let start = Instant::now();
        let mut bucket = Overshoot::new(1_000_000, start);
        bucket.sent(start, 50_000); // 400 ms
        bucket.set_bitrate(start + 100 * MS, 500_000);
        assert_eq!(bucket.ready_at(), start + 400 * MS, "600 ms are left, of which 300 may be");
    }

    #[test]
    fn frames_within_the_bitrate_are_never_delayed() {
        let start = Instant::now();
        let mut bucket = Overshoot::new(2_500_000, start);
        for frame in 0..300 {
            let now = start + frame * Duration::from_micros(33_333);
            assert!(bucket.ready_at() <= now, "frame {frame}");
            bucket.sent(now, 10_400);
        }
    }

    #[test]
    fn content_changes_under_sustained_load_and_back_when_it_is_long_over() {
        let mut load = Load::new();
        let start = Instant::now();
        let mut run = |from: u64, to: u64, encoding: Duration| {
            (from..to)
                .step_by(33)
                .find_map(|ms| load.encoded(start + Duration::from_millis(ms), encoding, false))
        };
        assert_eq!(run(0, 10_000, 10 * MS), None, "a third of the time is fine");
        assert_eq!(run(10_000, 11_000, 30 * MS), None, "a short peak is fine");
        assert_eq!(run(11_000, 20_000, 30 * MS), Some(Content::Camera));
        assert_eq!(run(20_000, 60_000, 10 * MS), None, "stays while it would be busy again");
        assert_eq!(run(60_000, 120_000, 3 * MS), Some(Content::Screen));
    }

    #[test]
    fn a_film_on_the_screen_is_encoded_as_one_until_it_is_over() {
        let mut load = Load::new();
        let start = Instant::now();
        let mut run = |from: u64, to: u64, encoding: Duration, cut_every: u64| {
            (from..to).step_by(33).find_map(|ms| {
                let cut = cut_every > 0 && ((ms - from) / 33).is_multiple_of(cut_every);
                load.encoded(start + Duration::from_millis(ms), encoding, cut)
            })
        };
        assert_eq!(run(0, 10_000, 6 * MS, 20), None, "pages that are turned are no film");
        assert_eq!(run(10_000, 11_000, 12 * MS, 2), Some(Content::Camera));
        assert_eq!(run(11_000, 60_000, 4 * MS, 0), None, "it goes on");
        assert_eq!(run(60_000, 120_000, MS, 0), Some(Content::Screen));
    }
}
