//! When a picture that changes only now and then is captured and encoded (that of a desktop, a window, a
//! rendition): pure decisions, the time is always passed in.
//!
//! ```text
//!            damage, watched: after 1 ms, as the pacer and the bitrate allow
//!  asleep ─────────────────────────────────────────────────────────▶ capture + send ─▶ settling
//!    ▲ ▲                                                                                   │
//!    │ └── damage, unwatched: capture at most 5 times a second        sent again, uncaptured,
//!    └───────────────────────────────────────────────────────── until it changes no more ◀─┘
//! ```
//!
//! Asleep there is no timer: an idle one costs nothing. Where nobody watches but further renditions want the
//! picture, it is captured as often as if somebody watched.

use std::time::{Duration, Instant};

use crate::encode::rate::{Overshoot, Pacer};

/// After the first damage, this long for the rest of it: programs paint in bursts.
const COALESCE: Duration = Duration::from_millis(1);
/// Time from one capture to the next while nobody watches.
const UNWATCHED: Duration = Duration::from_millis(200);
/// A frame that repeats the one before and is shorter than this says that there is nothing to add.
const SETTLED_BYTES: usize = 300;
/// Frames that may be spent on adding detail, far more than it takes: it ends even if the encoder
/// never runs out of things to improve.
const MOST_SETTLING: u32 = 60;
/// Detail is added once the picture has been at rest for this long: while it moves nobody would see it, and
/// its encoding would delay the next frame.
const REST: Duration = Duration::from_millis(100);
/// Detail is added no faster than this.
const SETTLE_GAP: Duration = Duration::from_millis(33);

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// Nothing before this time, if any.
    Sleep(Option<Instant>),
    /// Take over what has changed.
    Capture,
    /// Encode, after a capture if there was damage.
    Send {
        /// Take over what has changed first.
        capture: bool,
        /// Everything must be decodable from here on.
        keyframe: bool,
    },
}

/// Who wants the pictures of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consumers {
    /// Nobody.
    Nobody,
    /// Encoders of further renditions alone: they want the picture, but no access units of this source.
    Renditions,
    /// Viewers, and perhaps renditions as well.
    Viewers,
}

/// Decides when.
#[derive(Debug)]
pub struct Schedule {
    pacer: Pacer,
    overshoot: Overshoot,
    interval: Duration,
    audience: Consumers,
    keyframe: bool,
    /// Since when there has been damage that is not captured.
    damaged: Option<Instant>,
    captured: Option<Instant>,
    /// What is captured was not sent.
    unsent: bool,
    /// Frames that may still be spent on detail.
    settling: u32,
    sent: Option<Instant>,
}

impl Schedule {
    /// Wants a keyframe first, watched or not.
    pub fn new(fps: u32, bitrate_bps: u32, now: Instant) -> Self {
        Self {
            pacer: Pacer::new(fps, now),
            overshoot: Overshoot::new(bitrate_bps, now),
            interval: Duration::from_secs(1) / fps.max(1),
            audience: Consumers::Nobody,
            keyframe: true,
            damaged: None,
            captured: None,
            unsent: false,
            settling: 0,
            sent: None,
        }
    }

    /// Who watches.
    pub fn audience(&mut self, audience: Consumers) {
        self.audience = audience;
    }

    /// The next frame is to be a keyframe, and soon.
    pub fn want_keyframe(&mut self) {
        self.keyframe = true;
    }

    /// Something has changed on the screen.
    pub fn damaged(&mut self, now: Instant) {
        self.damaged.get_or_insert(now);
    }

    /// The bitrate is another one from now on.
    pub fn set_bitrate(&mut self, bitrate_bps: u32, now: Instant) {
        self.overshoot.set_bitrate(now, bitrate_bps);
    }

    /// What to do.
    pub fn next(&self, now: Instant) -> Step {
        let capture = self.damaged.is_some();
        if self.keyframe {
            return Step::Send { capture, keyframe: true };
        }
        if self.audience != Consumers::Viewers {
            let Some(damaged) = self.damaged else { return Step::Sleep(None) };
            let at = match self.audience {
                Consumers::Renditions => self.pacer.ready_at().max(damaged + COALESCE),
                _ => self.captured.map_or(damaged, |last| damaged.max(last + UNWATCHED)),
            };
            return if now >= at { Step::Capture } else { Step::Sleep(Some(at)) };
        }
        let ready = self.pacer.ready_at().max(self.overshoot.ready_at());
        let at = match (self.damaged, self.unsent, self.settling, self.sent) {
            (_, true, _, _) => ready,
            (Some(damaged), _, _, _) => ready.max(damaged + COALESCE),
            (None, _, MOST_SETTLING, Some(sent)) => ready.max(sent + REST),
            (None, _, 1.., Some(sent)) => ready.max(sent + self.interval.max(SETTLE_GAP)),
            _ => return Step::Sleep(None),
        };
        if now >= at { Step::Send { capture, keyframe: false } } else { Step::Sleep(Some(at)) }
    }

    /// Damage was taken over; `changed` if there was any. Answers how many frames were left out as
    /// the bitrate was used up.
    pub fn captured(&mut self, now: Instant, changed: bool) -> u64 {
        let since = self.damaged.take();
        self.captured = Some(now);
        self.unsent |= changed;
        if self.audience == Consumers::Renditions {
            self.pacer.took(now);
        }
        let Some(since) = since.filter(|_| self.audience == Consumers::Viewers) else { return 0 };
        let due = self.pacer.ready_at().max(since + COALESCE);
        let late = self.overshoot.ready_at().min(now).saturating_duration_since(due);
        (late.as_nanos() / self.interval.as_nanos()) as u64
    }

    /// True if a capture that changed nothing leaves nothing to send.
    pub fn nothing_to_send(&self) -> bool {
        !self.unsent && !self.keyframe && self.settling == 0
    }

    /// An access unit of this length went out.
    pub fn sent(&mut self, now: Instant, len_bytes: usize) {
        if self.unsent || self.keyframe {
            self.settling = MOST_SETTLING;
            self.pacer.took(now);
        } else if len_bytes < SETTLED_BYTES {
            self.settling = 0;
        } else {
            self.settling = self.settling.saturating_sub(1);
        }
        self.overshoot.sent(now, len_bytes);
        self.sent = Some(now);
        self.unsent = false;
        self.keyframe = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);
    const SEND: Step = Step::Send { capture: true, keyframe: false };
    const SETTLE: Step = Step::Send { capture: false, keyframe: false };

    /// A schedule whose first keyframe is out and settled, watched or not.
    fn settled(watched: bool) -> (Schedule, Instant) {
        let start = Instant::now();
        let mut schedule = Schedule::new(30, 2_500_000, start);
        assert_eq!(schedule.next(start), Step::Send { capture: false, keyframe: true });
        schedule.sent(start, 20_000);
        schedule.audience(Consumers::Viewers);
        let later = start + Duration::from_secs(1);
        assert_eq!(schedule.next(later), SETTLE);
        schedule.sent(later, 50);
        schedule.audience(if watched { Consumers::Viewers } else { Consumers::Nobody });
        (schedule, later + Duration::from_secs(1))
    }

    #[test]
    fn nothing_happens_on_an_idle_desktop() {
        for watched in [false, true] {
            let (schedule, now) = settled(watched);
            assert_eq!(schedule.next(now), Step::Sleep(None));
        }
    }

    #[test]
    fn damage_is_sent_after_a_millisecond_and_the_next_after_the_gap() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        schedule.damaged(now + MS / 2);
        assert_eq!(schedule.next(now + MS / 2), Step::Sleep(Some(now + MS)));
        assert_eq!(schedule.next(now + MS), SEND);
        assert_eq!(schedule.captured(now + MS, true), 0);
        schedule.sent(now + 5 * MS, 1000);
        schedule.damaged(now + 6 * MS);
        assert_eq!(schedule.next(now + 6 * MS), Step::Sleep(Some(now + 13 * MS)));
    }

    #[test]
    fn a_picture_is_sent_again_until_there_is_nothing_to_add() {
        let (mut schedule, mut now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now + MS, true);
        schedule.sent(now + MS, 5000);
        for len_bytes in [2000, 900, 400, 299] {
            let Step::Sleep(Some(at)) = schedule.next(now + 2 * MS) else { panic!("settles") };
            assert_eq!(schedule.next(at), SETTLE);
            schedule.sent(at, len_bytes);
            now = at;
        }
        assert_eq!(schedule.next(now + Duration::from_secs(9)), Step::Sleep(None));
    }

    #[test]
    fn a_moving_picture_is_not_sent_again_between_its_frames() {
        let (mut schedule, start) = settled(true);
        for frame in 0..10 {
            let now = start + frame * 90 * MS;
            schedule.damaged(now);
            assert_eq!(schedule.next(now + MS), SEND);
            schedule.captured(now + MS, true);
            schedule.sent(now + MS, 5000);
            assert_eq!(schedule.next(now + 2 * MS), Step::Sleep(Some(now + MS + REST)));
        }
    }

    #[test]
    fn settling_ends_even_if_frames_stay_large() {
        let (mut schedule, mut now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now, true);
        let mut frames = 0;
        loop {
            schedule.sent(now, 1000);
            frames += 1;
            match schedule.next(now + Duration::from_secs(1)) {
                Step::Sleep(None) => break,
                step => assert_eq!(step, SETTLE),
            }
            now += Duration::from_secs(1);
        }
        assert_eq!(frames, 1 + MOST_SETTLING);
    }

    #[test]
    fn unwatched_it_captures_five_times_a_second_and_sends_nothing() {
        let (mut schedule, start) = settled(false);
        let mut captures = 0;
        for ms in 0..1000 {
            let now = start + ms * MS;
            schedule.damaged(now);
            match schedule.next(now) {
                Step::Capture => {
                    captures += 1;
                    schedule.captured(now, true);
                }
                step => assert!(matches!(step, Step::Sleep(Some(_))), "{step:?}"),
            }
        }
        assert_eq!(captures, 5);
    }

    #[test]
    fn for_renditions_it_captures_at_the_rate_and_sends_nothing() {
        let (mut schedule, start) = settled(false);
        schedule.audience(Consumers::Renditions);
        let mut captures = Vec::new();
        for ms in 0..2000 {
            let now = start + ms * MS;
            schedule.damaged(now);
            match schedule.next(now) {
                Step::Capture => {
                    captures.push(ms);
                    schedule.captured(now, true);
                }
                step => assert!(matches!(step, Step::Sleep(Some(_))), "{step:?}"),
            }
        }
        assert_eq!(captures[0], 1);
        assert!((60..=66).contains(&captures.len()), "30 a second and a burst: {}", captures.len());
    }

    #[test]
    fn what_changed_unwatched_is_sent_to_the_first_watcher() {
        let (mut schedule, now) = settled(false);
        schedule.damaged(now);
        schedule.captured(now, true);
        assert_eq!(schedule.next(now), Step::Sleep(None));
        schedule.audience(Consumers::Viewers);
        assert_eq!(schedule.next(now), SETTLE);
    }

    #[test]
    fn a_keyframe_does_not_wait_even_for_a_watcher() {
        let (mut schedule, now) = settled(false);
        schedule.want_keyframe();
        assert_eq!(schedule.next(now), Step::Send { capture: false, keyframe: true });
        schedule.damaged(now);
        assert_eq!(schedule.next(now), Step::Send { capture: true, keyframe: true });
    }

    #[test]
    fn frames_that_the_bitrate_does_not_allow_are_left_out_and_counted() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now + MS, true);
        schedule.sent(now + MS, 125_000); // 400 ms at 2.5 Mbit/s
        schedule.damaged(now + 10 * MS);
        let at = now + 101 * MS;
        assert_eq!(schedule.next(now + 50 * MS), Step::Sleep(Some(at)));
        assert_eq!(schedule.next(at), SEND);
        assert_eq!(schedule.captured(at, true), 2);
    }
}
