//! What pictures are like, by what it takes to code them: pure, the time is always passed in.
//!
//! ```text
//!             for a second most pictures bring much that is new, without a pause
//!  Screen ──────────────────────────────────────────────────────────────────────▶ Film
//!    ▲                                                                              │
//!    └───── for a second surveys find little that is new, or there are pauses; ◀────┘
//!           or nothing moves any more
//! ```
//!
//! The encoder for screens says itself how much of a picture was neither still nor moved. openh264 does not, so a
//! film is looked at by a survey now and then ([`super::screen::share_of_new`]), which counts the same. The same
//! pictures therefore come to the same verdict, whatever was shown before and however busy the machine is.

use std::time::{Duration, Instant};

/// What pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Text and edges, of which little changes at a time or moves as a whole.
    Screen,
    /// Anything else: much of it is new in each picture.
    Film,
}

/// A picture of which more than this share is new belongs to a film. Below it openh264, which looks at all of every
/// picture, takes longer than the encoder for screens.
const FILM_SHARE: f64 = 1.0 / 12.0;
/// A picture of which less than this share is new belongs to a screen. Between the two, things stay as they are.
const SCREEN_SHARE: f64 = 1.0 / 16.0;
/// A film does not pause for longer than this; pages that are turned do.
const PAUSE: Duration = Duration::from_millis(150);
/// How long the other kind must have prevailed: a change costs a keyframe.
const PREVAILS: Duration = Duration::from_secs(1);
/// Time between two surveys of a film.
const SURVEY_INTERVAL: Duration = Duration::from_millis(500);
/// A picture counts for no more time than this.
const LONGEST: Duration = Duration::from_millis(500);

/// Decides what the pictures of a screen are.
#[derive(Debug)]
pub struct Classifier {
    content: Content,
    /// How long pictures of the other kind have prevailed. Those of this kind count against it.
    prevailed: Duration,
    /// When a picture was judged last.
    judged: Option<Instant>,
    /// When a film was surveyed last.
    surveyed: Option<Instant>,
}

impl Classifier {
    /// A screen, until it is seen to be something else.
    pub fn new() -> Self {
        Self { content: Content::Screen, prevailed: Duration::ZERO, judged: None, surveyed: None }
    }

    /// Whether the picture of `now` is to be surveyed.
    pub fn wants_survey(&self, now: Instant) -> bool {
        self.content == Content::Film && self.surveyed.is_none_or(|last| now >= last + SURVEY_INTERVAL)
    }

    /// A picture was taken `now`, of which `share_of_new` was new, if that is known; nothing had changed for
    /// `pause` before it did. Returns the kind of content from now on if it is another one.
    pub fn judge(&mut self, now: Instant, share_of_new: Option<f64>, pause: Duration) -> Option<Content> {
        if self.content == Content::Film && share_of_new.is_some() {
            self.surveyed = Some(now);
        }
        let other = match (self.content, share_of_new) {
            (Content::Screen, _) if pause > PAUSE => false,
            (Content::Film, _) if pause > PAUSE => true,
            (Content::Screen, Some(share)) => share > FILM_SHARE,
            (Content::Film, Some(share)) => share < SCREEN_SHARE,
            (_, None) => return None,
        };
        let time =
            self.judged.map_or(Duration::ZERO, |last| now.saturating_duration_since(last)).min(LONGEST);
        self.judged = Some(now);
        self.prevailed = if other { self.prevailed + time } else { self.prevailed.saturating_sub(time) };
        (self.prevailed >= PREVAILS).then(|| self.turn(now))
    }

    /// Nothing moves any more, so it is no film. Returns the kind of content from now on if it is another one.
    pub fn rest(&mut self, now: Instant) -> Option<Content> {
        (self.content == Content::Film).then(|| self.turn(now))
    }

    fn turn(&mut self, now: Instant) -> Content {
        self.content = match self.content {
            Content::Screen => Content::Film,
            Content::Film => Content::Screen,
        };
        self.prevailed = Duration::ZERO;
        self.judged = Some(now);
        self.surveyed = Some(now);
        self.content
    }
}

impl Default for Classifier {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Pictures for some time: each so many milliseconds after the one before, with shares that repeat.
    struct Scene {
        ms: u64,
        gap_ms: u64,
        shares: &'static [f64],
    }

    const fn scene(ms: u64, gap_ms: u64, shares: &'static [f64]) -> Scene {
        Scene { ms, gap_ms, shares }
    }

    /// Shows scenes one after the other; the times of changes, in milliseconds, and what to.
    fn show(scenes: &[Scene]) -> Vec<(u64, Content)> {
        let start = Instant::now();
        let mut classifier = Classifier::new();
        let mut content = Content::Screen;
        let mut changes = Vec::new();
        let mut ms = 0;
        for scene in scenes {
            let end = ms + scene.ms;
            for share in scene.shares.iter().cycle() {
                ms += scene.gap_ms;
                if ms > end {
                    break;
                }
                let now = start + Duration::from_millis(ms);
                let known = content == Content::Screen || classifier.wants_survey(now);
                let pause = Duration::from_millis(scene.gap_ms);
                if let Some(other) = classifier.judge(now, known.then_some(*share), pause) {
                    content = other;
                    changes.push((ms, other));
                }
            }
            ms = end;
        }
        changes
    }

    const FILM: Scene = scene(5000, 40, &[0.25]);

    #[test]
    fn each_kind_of_content_is_what_it_is_taken_for() {
        for (name, scene, expected) in [
            ("a film in a window", FILM, Content::Film),
            ("a film with some pictures that repeat", scene(5000, 33, &[0.25, 0.25, 0.0]), Content::Film),
            ("typing", scene(5000, 100, &[0.002]), Content::Screen),
            ("scrolling", scene(5000, 33, &[0.05]), Content::Screen),
            ("pages that are turned", scene(20_000, 333, &[0.9]), Content::Screen),
            ("pages with typing between", scene(20_000, 100, &[0.9, 0.01, 0.01, 0.01]), Content::Screen),
            ("noise that moves as a whole", scene(20_000, 42, &[0.011]), Content::Screen),
            ("nothing", scene(5000, 33, &[0.0]), Content::Screen),
        ] {
            let after = |before: &[Scene], scene: Scene| {
                let scenes: Vec<_> = before.iter().map(|s| Scene { ..*s }).chain([scene]).collect();
                show(&scenes).last().map_or(Content::Screen, |(_, content)| *content)
            };
            let copy = || Scene { ..scene };
            assert_eq!(after(&[], copy()), expected, "{name}");
            assert_eq!(after(&[FILM], copy()), expected, "{name}, after a film");
        }
    }

    #[test]
    fn a_change_takes_a_second_and_content_between_the_two_stays_what_it_was() {
        let changes = show(&[FILM, scene(5000, 40, &[0.07]), scene(5000, 40, &[0.01])]);
        let [(film, Content::Film), (screen, Content::Screen)] = changes[..] else { panic!("{changes:?}") };
        assert!((1000..1200).contains(&film), "{film} ms");
        assert!((10_900..11_700).contains(&screen), "{screen} ms");
        assert_eq!(show(&[scene(60_000, 40, &[0.07])]), []);
    }

    #[test]
    fn a_slow_machine_comes_to_the_same_verdict() {
        // The encoder takes 300 ms a picture, and there is always another one: no pause.
        let start = Instant::now();
        let mut classifier = Classifier::new();
        let judged: Vec<_> = (0..6)
            .map(|n| classifier.judge(start + n * Duration::from_millis(300), Some(0.9), Duration::ZERO))
            .collect();
        assert_eq!(judged, [None, None, None, None, Some(Content::Film), None]);
    }

    #[test]
    fn a_film_that_stops_is_a_screen_at_once() {
        let start = Instant::now();
        let mut classifier = Classifier::new();
        assert_eq!(classifier.rest(start), None);
        let film = (0..100)
            .find_map(|n| classifier.judge(start + n * Duration::from_millis(40), Some(0.5), Duration::ZERO));
        assert_eq!(film, Some(Content::Film));
        assert_eq!(classifier.rest(start + Duration::from_secs(9)), Some(Content::Screen));
        assert!(!classifier.wants_survey(start + Duration::from_secs(99)));
    }
}
