//! Whether somebody speaks, by how loud their packets say that they are (RFC 6464).

use std::time::{Duration, Instant};

/// As loud as speech, in -dBov: what is less is breathing, keys and fans.
pub const LOUD: u8 = 45;
/// So many loud packets, not many of them apart, are speech: one is a click.
const BEGIN: u32 = 4;
/// Pauses between words are shorter than this.
const PAUSE: Duration = Duration::from_millis(1000);
/// Loud packets that are further apart than this have nothing to do with each other.
const APART: Duration = Duration::from_millis(200);

/// Follows the sound of one peer.
#[derive(Debug, Default)]
pub struct Loudness {
    last_loud: Option<Instant>,
    loud: u32,
    speaking: bool,
}

impl Loudness {
    /// A packet of this loudness has come. What is new: the peer speaks, or does not any more.
    pub fn heard(&mut self, now: Instant, level: u8) -> Option<bool> {
        if level > LOUD {
            return self.timeout(now);
        }
        let near = self.last_loud.is_some_and(|last| now.saturating_duration_since(last) < APART);
        self.loud = if near { self.loud.saturating_add(1) } else { 1 };
        self.last_loud = Some(now);
        let begins = !self.speaking && self.loud >= BEGIN;
        self.speaking |= begins;
        begins.then_some(true)
    }

    /// Lets time pass.
    pub fn timeout(&mut self, now: Instant) -> Option<bool> {
        let ends = self.deadline().is_some_and(|end| now >= end);
        if ends {
            self.speaking = false;
            self.loud = 0;
        }
        ends.then_some(false)
    }

    /// When a peer that speaks has stopped, unless it is heard again.
    pub fn deadline(&self) -> Option<Instant> {
        self.last_loud.filter(|_| self.speaking).map(|last| last + PAUSE)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PACKET: Duration = Duration::from_millis(20);

    #[test]
    fn speech_is_more_than_a_click_and_goes_on_over_pauses() {
        let start = Instant::now();
        let mut loudness = Loudness::default();
        let mut news = Vec::new();
        let mut say = |from: u32, levels: &[u8]| {
            for (n, level) in (from..).zip(levels) {
                let now = start + n * PACKET;
                news.extend(loudness.heard(now, *level).map(|speaking| (n, speaking)));
            }
        };
        say(0, &[20, 127, 127, 127, 127]);
        say(100, &[30, 30, 50, 30, 30]);
        say(130, &[127; 10]);
        say(140, &[30]);
        say(141, &[127; 60]);
        assert_eq!(news, [(104, true), (190, false)]);
    }

    #[test]
    fn who_is_not_heard_at_all_any_more_has_stopped() {
        let start = Instant::now();
        let mut loudness = Loudness::default();
        assert_eq!(loudness.deadline(), None);
        for n in 0..BEGIN {
            loudness.heard(start + n * PACKET, 10);
        }
        let end = loudness.deadline().unwrap();
        assert_eq!(loudness.timeout(end - PACKET), None);
        assert_eq!((loudness.timeout(end), loudness.deadline()), (Some(false), None));
    }
}
