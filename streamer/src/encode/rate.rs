//! How many bits and how many frames: pure decisions, the time is always passed in.

use std::time::{Duration, Instant};

use super::content::Content;
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

/// What may be sent at once of the bits that a second has, on a path that has shown no limit: a page that appears is
/// sharp, and paid for afterwards.
const BURST_SCREEN: Duration = Duration::from_secs(1);
/// The same on a path that has one: so long does the last packet of a picture wait for the first.
const BURST_LIMITED: Duration = Duration::from_millis(250);
/// The same for films, whose encoder keeps to the bitrate by itself.
const BURST_FILM: Duration = Duration::from_millis(300);
/// A keyframe is no larger than what takes this long: whoever joins waits for it, and nothing may be known of the path.
const LONGEST_KEYFRAME: Duration = Duration::from_millis(300);
/// Detail is added in pieces that take this long.
const REFINEMENT: Duration = Duration::from_millis(33);
/// And no larger ones than this, as the next change has to wait for what is being encoded.
const MOST_REFINEMENT: usize = 24 * 1024;
/// Nothing is encoded at less.
const MIN_BPS: u32 = 80_000;
/// Detail is added to a picture that has been at rest for this long: while it moves nobody would see it, and its
/// encoding would delay the next one.
const REST: Duration = Duration::from_millis(100);

/// What pictures have to keep to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Terms {
    /// Bits per second, sustained.
    pub bitrate_bps: u32,
    /// How much time's worth of them may be sent at once.
    pub burst: Duration,
    /// How much of the burst must be free before the next picture is encoded.
    pub spare: Duration,
    /// How much of the burst detail leaves for the next change.
    pub reserve: Duration,
    /// Detail is added to a picture that has been at rest for this long.
    pub rest: Duration,
}

impl Terms {
    /// For pictures of some kind, where the spec says `wanted_bps` and those who watch can take `limit_bps`, if that
    /// is known.
    pub fn new(content: Content, wanted_bps: u32, limit_bps: Option<u32>) -> Self {
        let limit_bps = limit_bps.map(|limit| limit.max(MIN_BPS));
        let bitrate_bps = limit_bps.map_or(wanted_bps, |limit| wanted_bps.min(limit)).max(1);
        let carried = limit_bps.map(|limit| {
            let ratio = f64::from(limit) / f64::from(bitrate_bps);
            BURST_LIMITED.mul_f64(ratio).min(BURST_SCREEN)
        });
        match content {
            Content::Film => {
                let none = Duration::ZERO;
                Self { bitrate_bps, burst: BURST_FILM, spare: none, reserve: none, rest: REST }
            }
            Content::Screen => {
                let burst = carried.unwrap_or(BURST_SCREEN);
                Self { bitrate_bps, burst, spare: burst / 8, reserve: burst / 2, rest: REST }
            }
        }
    }
}

/// A leaky bucket of bits: pictures that are larger than the bitrate allows make the next ones smaller, and then later,
/// rather than pile up in a network that cannot carry them.
#[derive(Debug)]
pub struct Budget {
    terms: Terms,
    /// How long sending takes what was not sent yet at `updated`.
    backlog: Duration,
    updated: Instant,
}

impl Budget {
    /// Nothing is to be sent.
    pub fn new(terms: Terms, now: Instant) -> Self {
        Self { terms, backlog: Duration::ZERO, updated: now }
    }

    /// What pictures have to keep to now.
    pub fn terms(&self) -> Terms {
        self.terms
    }

    /// Other terms from now on; what was not sent yet takes longer or shorter.
    pub fn set_terms(&mut self, now: Instant, terms: Terms) {
        if terms.bitrate_bps != self.terms.bitrate_bps {
            self.sent(now, 0);
            let ratio = f64::from(self.terms.bitrate_bps) / f64::from(terms.bitrate_bps);
            self.backlog = self.backlog.mul_f64(ratio);
        }
        self.terms = terms;
    }

    /// Pictures of this many bytes went out.
    pub fn sent(&mut self, now: Instant, len_bytes: usize) {
        let len = Duration::from_secs_f64(len_bytes as f64 * 8.0 / f64::from(self.terms.bitrate_bps));
        self.backlog = self.backlog_at(now) + len;
        self.updated = now;
    }

    /// The earliest time for the next picture; may be past.
    pub fn ready_at(&self) -> Instant {
        self.free_at(self.terms.spare)
    }

    /// How large a picture may be `now`: half of what is free, so that the next one has room too. For a keyframe,
    /// which does not wait for its turn and holds everything, all of it.
    pub fn picture_bytes(&self, now: Instant, keyframe: bool) -> usize {
        let free = self.free(now);
        self.bytes(if keyframe {
            free.min(LONGEST_KEYFRAME).max(self.terms.burst / 4)
        } else {
            (free / 2).max(self.terms.spare / 2)
        })
    }

    /// The earliest time for adding detail; may be past.
    pub fn refinement_at(&self) -> Instant {
        self.free_at(self.terms.reserve + self.refinement())
    }

    /// How much detail may be added `now`.
    pub fn refinement_bytes(&self, now: Instant) -> usize {
        let free = self.free(now).saturating_sub(self.terms.reserve);
        self.bytes(free.max(self.refinement())).min(MOST_REFINEMENT)
    }

    fn refinement(&self) -> Duration {
        REFINEMENT.min(self.terms.spare)
    }

    fn backlog_at(&self, now: Instant) -> Duration {
        self.backlog.saturating_sub(now.saturating_duration_since(self.updated))
    }

    fn free(&self, now: Instant) -> Duration {
        self.terms.burst.saturating_sub(self.backlog_at(now))
    }

    fn free_at(&self, time: Duration) -> Instant {
        self.updated + self.backlog.saturating_sub(self.terms.burst.saturating_sub(time))
    }

    fn bytes(&self, time: Duration) -> usize {
        (time.as_secs_f64() * f64::from(self.terms.bitrate_bps) / 8.0) as usize
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

    const KBIT: u32 = 1000;

    #[test]
    fn terms_follow_what_is_shown_and_what_the_path_carries() {
        let at = |content, wanted, limit: Option<u32>| {
            let terms = Terms::new(content, wanted * KBIT, limit.map(|limit| limit * KBIT));
            (terms.bitrate_bps / KBIT, terms.burst.as_millis())
        };
        assert_eq!(at(Content::Screen, 2500, None), (2500, 1000));
        assert_eq!(at(Content::Screen, 2500, Some(500)), (500, 250));
        assert_eq!(at(Content::Screen, 2500, Some(2500)), (2500, 250));
        assert_eq!(at(Content::Screen, 2500, Some(5000)), (2500, 500));
        assert_eq!(at(Content::Screen, 2500, Some(50_000)), (2500, 1000));
        assert_eq!(at(Content::Screen, 2500, Some(1)), (80, 250));
        assert_eq!(at(Content::Film, 2500, None), (2500, 300));
        assert_eq!(at(Content::Film, 2500, Some(500)), (500, 300));
        assert_eq!(at(Content::Film, 0, None), (0, 300));
    }

    fn budget(content: Content, bitrate_bps: u32, limit: Option<u32>) -> (Budget, Instant) {
        let now = Instant::now();
        (Budget::new(Terms::new(content, bitrate_bps, limit), now), now)
    }

    #[test]
    fn the_first_keyframe_of_a_narrow_path_is_small_and_that_of_a_wide_one_is_not() {
        for (limit, first, keyframe) in
            [(Some(500_000), 7812, 15_625), (Some(2_500_000), 39_062, 78_125), (None, 156_250, 93_750)]
        {
            let (budget, now) = budget(Content::Screen, 2_500_000, limit);
            assert_eq!(budget.picture_bytes(now, false), first, "{limit:?}");
            assert_eq!(budget.picture_bytes(now, true), keyframe, "{limit:?}");
        }
    }

    #[test]
    fn a_picture_that_overshoots_delays_the_next_by_what_is_too_much() {
        let (mut bucket, start) = budget(Content::Film, 1_000_000, None);
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
        let (mut bucket, start) = budget(Content::Film, 1_000_000, None);
        bucket.sent(start, 50_000); // 400 ms
        bucket.set_terms(start + 100 * MS, Terms::new(Content::Film, 500_000, None));
        assert_eq!(bucket.ready_at(), start + 400 * MS, "600 ms are left, of which 300 may be");
    }

    #[test]
    fn pictures_within_the_bitrate_are_never_delayed() {
        for (content, limit) in
            [(Content::Film, None), (Content::Screen, None), (Content::Screen, Some(2_500_000))]
        {
            let (mut bucket, start) = budget(content, 2_500_000, limit);
            for frame in 0..300 {
                let now = start + frame * Duration::from_micros(33_333);
                assert!(bucket.ready_at() <= now, "frame {frame}");
                bucket.sent(now, 10_400);
            }
        }
    }

    /// Pictures as large as they may be, as often as they may be, every 33 ms at most: bytes in each second.
    fn busy(limit: Option<u32>, seconds: u32) -> Vec<usize> {
        let (mut bucket, start) = budget(Content::Screen, 2_500_000, limit);
        let mut sent = vec![0; seconds as usize];
        for frame in 0..30 * seconds {
            let now = start + frame * Duration::from_micros(33_333);
            if bucket.ready_at() <= now {
                let len = bucket.picture_bytes(now, frame == 0);
                bucket.sent(now, len);
                sent[(now - start).as_secs() as usize] += len;
            }
        }
        sent
    }

    #[test]
    fn on_average_the_bitrate_is_kept_after_a_burst() {
        for (limit, bps) in [(None, 2_500_000), (Some(500_000), 500_000), (Some(1_500_000), 1_500_000)] {
            let sent = busy(limit, 6);
            let second = bps / 8;
            assert!(sent[0] <= 2 * second, "{limit:?}: {sent:?}");
            for bytes in &sent[1..] {
                assert!((second * 85 / 100..second * 110 / 100).contains(bytes), "{limit:?}: {sent:?}");
            }
        }
    }

    #[test]
    fn detail_leaves_room_for_the_next_change_and_keeps_the_bitrate() {
        for limit in [None, Some(500_000)] {
            let (mut bucket, start) = budget(Content::Screen, 2_500_000, limit);
            let mut now = start;
            let mut sent = 0;
            while now < start + Duration::from_secs(3) {
                if bucket.refinement_at() <= now {
                    let len = bucket.refinement_bytes(now);
                    assert!((1..=MOST_REFINEMENT).contains(&len));
                    bucket.sent(now, len);
                    sent += len;
                }
                assert!(bucket.ready_at() <= now, "a change need not wait");
                now += 5 * MS;
            }
            let most = bucket.bytes(Duration::from_secs(3) + bucket.terms().burst);
            assert!((most * 70 / 100..=most).contains(&sent), "{limit:?}: {sent} of {most}");
        }
    }
}
