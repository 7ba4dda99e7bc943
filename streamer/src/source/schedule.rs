//! When a picture that changes only now and then is captured and encoded (that of a desktop, a window, a
//! rendition): pure decisions, the time is always passed in.
//!
//! ```text
//!            damage, watched: after 1 ms, as the pacer and the budget allow
//!  asleep ─────────────────────────────────────────────────────────▶ capture + send ─▶ at rest
//!    ▲ ▲                                                                                   │
//!    │ └── damage, unwatched: capture at most 5 times a second             detail is added, │
//!    └──────────────────────────────────────────────────────────── until there is none left ◀─┘
//! ```
//!
//! Asleep there is no timer: an idle one costs nothing. Where nobody watches but further renditions want the
//! picture, it is captured as often as if somebody watched.

use std::time::{Duration, Instant};

use crate::encode::rate::{Budget, Pacer, Terms};

/// After the first damage, this long for the rest of it: programs paint in bursts.
const COALESCE: Duration = Duration::from_millis(1);
/// Time from one capture to the next while nobody watches.
const UNWATCHED: Duration = Duration::from_millis(200);
/// Detail is added no faster than this.
const DETAIL_GAP: Duration = Duration::from_millis(20);

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
    /// Add detail to what was sent.
    Refine,
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
    budget: Budget,
    interval: Duration,
    audience: Consumers,
    keyframe: bool,
    /// Since when there has been damage that is not captured.
    damaged: Option<Instant>,
    captured: Option<Instant>,
    /// What is captured was not sent.
    unsent: bool,
    detail: Detail,
    /// When the last access unit went out that was not mere detail.
    sent: Option<Instant>,
    /// How long nothing had changed before what was captured last did.
    pause: Duration,
}

/// What may be added to the picture while it is at rest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Detail {
    /// It is as good as it gets.
    None,
    /// From this time on.
    From(Instant),
}

impl Schedule {
    /// Wants a keyframe first, watched or not.
    pub fn new(fps: u32, terms: Terms, now: Instant) -> Self {
        Self {
            pacer: Pacer::new(fps, now),
            budget: Budget::new(terms, now),
            interval: Duration::from_secs(1) / fps.max(1),
            audience: Consumers::Nobody,
            keyframe: true,
            damaged: None,
            captured: None,
            unsent: false,
            detail: Detail::None,
            sent: None,
            pause: Duration::ZERO,
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

    /// What pictures have to keep to from now on.
    pub fn set_terms(&mut self, terms: Terms, now: Instant) {
        self.budget.set_terms(now, terms);
    }

    /// How large a picture may be `now`.
    pub fn picture_bytes(&self, now: Instant, keyframe: bool) -> usize {
        self.budget.picture_bytes(now, keyframe)
    }

    /// How much detail may be added `now`.
    pub fn refinement_bytes(&self, now: Instant) -> usize {
        self.budget.refinement_bytes(now)
    }

    /// How long nothing had changed before what was captured last did.
    pub fn pause(&self) -> Duration {
        self.pause
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
        let ready = self.pacer.ready_at().max(self.budget.ready_at());
        let (at, step) = match (self.damaged, self.unsent, self.detail) {
            (_, true, _) => (ready, Step::Send { capture, keyframe: false }),
            (Some(damaged), _, _) => (ready.max(damaged + COALESCE), Step::Send { capture, keyframe: false }),
            (None, _, Detail::From(at)) => {
                (at.max(self.budget.refinement_at()).max(self.pacer.ready_at()), Step::Refine)
            }
            (None, _, Detail::None) => return Step::Sleep(None),
        };
        if now >= at { step } else { Step::Sleep(Some(at)) }
    }

    /// Damage was taken over; `changed` if there was any. Answers how many frames were left out as
    /// the bitrate was used up.
    pub fn captured(&mut self, now: Instant, changed: bool) -> u64 {
        let since = self.damaged.take();
        if let (Some(since), true) = (since, changed) {
            self.pause = self.sent.map_or(Duration::ZERO, |sent| since.saturating_duration_since(sent));
        }
        self.captured = Some(now);
        self.unsent |= changed;
        if self.audience == Consumers::Renditions {
            self.pacer.took(now);
        }
        let Some(since) = since.filter(|_| self.audience == Consumers::Viewers) else { return 0 };
        let due = self.pacer.ready_at().max(since + COALESCE);
        let late = self.budget.ready_at().min(now).saturating_duration_since(due);
        (late.as_nanos() / self.interval.as_nanos()) as u64
    }

    /// True if a capture that changed nothing leaves nothing to send.
    pub fn nothing_to_send(&self) -> bool {
        !self.unsent && !self.keyframe
    }

    /// What was captured is out, in an access unit of this length; none if nothing had changed. `is_complete` says
    /// that there is no detail to add to it.
    pub fn sent(&mut self, now: Instant, len_bytes: usize, is_complete: bool) {
        if self.unsent || self.keyframe {
            self.pacer.took(now);
        }
        self.budget.sent(now, len_bytes);
        self.sent = Some(now);
        self.unsent = false;
        self.keyframe = false;
        self.detail = if is_complete { Detail::None } else { Detail::From(now + self.budget.terms().rest) };
    }

    /// Detail of this many bytes is out. `is_complete` says that there is no more.
    pub fn refined(&mut self, now: Instant, len_bytes: usize, is_complete: bool) {
        self.budget.sent(now, len_bytes);
        self.detail = if is_complete { Detail::None } else { Detail::From(now + DETAIL_GAP) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::encode::content::Content;

    const MS: Duration = Duration::from_millis(1);
    const SEND: Step = Step::Send { capture: true, keyframe: false };
    const LATEST: Step = Step::Send { capture: false, keyframe: false };
    const REST: Duration = Duration::from_millis(100);

    /// A schedule whose first keyframe is out and as good as it gets, watched or not.
    fn settled(watched: bool) -> (Schedule, Instant) {
        let start = Instant::now();
        let terms = Terms::new(Content::Screen, 2_500_000, None);
        let mut schedule = Schedule::new(30, terms, start);
        assert_eq!(schedule.next(start), Step::Send { capture: false, keyframe: true });
        schedule.sent(start, 20_000, false);
        schedule.audience(Consumers::Viewers);
        let later = start + Duration::from_secs(1);
        assert_eq!(schedule.next(later), Step::Refine);
        schedule.refined(later, 50, true);
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
        schedule.sent(now + 5 * MS, 1000, false);
        schedule.damaged(now + 6 * MS);
        assert_eq!(schedule.next(now + 6 * MS), Step::Sleep(Some(now + 13 * MS)));
    }

    #[test]
    fn detail_is_added_to_a_picture_at_rest_until_there_is_none_left() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now + MS, true);
        schedule.sent(now + MS, 5000, false);
        let mut at = now + MS + REST;
        for is_complete in [false, false, true] {
            assert_eq!(schedule.next(at - MS), Step::Sleep(Some(at)));
            assert_eq!(schedule.next(at), Step::Refine);
            schedule.refined(at, 2000, is_complete);
            at += DETAIL_GAP;
        }
        assert_eq!(schedule.next(at + Duration::from_secs(9)), Step::Sleep(None));
    }

    #[test]
    fn detail_is_cut_off_by_a_change_and_not_for_nobody() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now + MS, true);
        schedule.sent(now + MS, 5000, false);
        let at = now + MS + REST;
        schedule.refined(at, 2000, false);
        schedule.damaged(at + MS);
        assert_eq!(schedule.next(at + 2 * MS), SEND);
        schedule.captured(at + 2 * MS, true);
        schedule.sent(at + 2 * MS, 100, false);
        schedule.audience(Consumers::Nobody);
        assert_eq!(schedule.next(at + Duration::from_secs(9)), Step::Sleep(None));
    }

    #[test]
    fn detail_is_added_as_fast_as_the_bitrate_allows() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        schedule.captured(now + MS, true);
        schedule.sent(now + MS, 250_000, false); // 800 ms at 2.5 Mbit/s
        // Half of a second's worth stays free, and a piece takes 33 ms.
        let at = now + MS + (800 - (500 - 33)) * MS;
        assert_eq!(schedule.next(now + 200 * MS), Step::Sleep(Some(at)));
        assert_eq!(schedule.next(at), Step::Refine);
    }

    #[test]
    fn a_moving_picture_gets_no_detail_between_its_frames() {
        let (mut schedule, start) = settled(true);
        for frame in 0..10 {
            let now = start + frame * 50 * MS;
            schedule.damaged(now);
            assert_eq!(schedule.next(now + MS), SEND);
            schedule.captured(now + MS, true);
            schedule.sent(now + MS, 5000, false);
            assert_eq!(schedule.next(now + 2 * MS), Step::Sleep(Some(now + MS + REST)));
            assert_eq!(schedule.pause(), if frame == 0 { Duration::from_secs(2) } else { 49 * MS });
        }
    }

    #[test]
    fn damage_that_changed_nothing_is_not_sent() {
        let (mut schedule, now) = settled(true);
        schedule.damaged(now);
        assert_eq!(schedule.next(now + MS), SEND);
        schedule.captured(now + MS, false);
        assert!(schedule.nothing_to_send());
        assert_eq!(schedule.next(now + MS), Step::Sleep(None));
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
        assert_eq!(schedule.next(now), LATEST);
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
        schedule.sent(now + MS, 304_687, false); // 975 ms at 2.5 Mbit/s, of which 875 may wait
        schedule.damaged(now + 10 * MS);
        let at = now + 101 * MS;
        let Step::Sleep(Some(wake)) = schedule.next(now + 50 * MS) else { panic!("waits") };
        assert!(at - MS < wake && wake <= at);
        assert_eq!(schedule.next(at), SEND);
        assert_eq!(schedule.captured(at, true), 2);
    }
}
