//! Who of those who publish is mixed when there are many: the loudest, with as few changes as can be. Pure.

use std::time::Instant;

use crate::peer::FeedId;
use crate::publish::loudness::{LOUD, Loudness};

/// Somebody who speaks takes the place of somebody who speaks, too, when heard at so many times the power (6 dB).
const LOUDER: f64 = 4.0;
/// Powers are averaged over about so many frames in which something is said.
const AVERAGED: f64 = 16.0;
/// Full scale of samples, as power.
const FULL: f64 = 32_768.0 * 32_768.0;

struct Person {
    feed: FeedId,
    loudness: Loudness,
    speaks: bool,
    power: f64,
}

impl Person {
    fn goes_before(&self, other: &Self) -> bool {
        self.speaks && (!other.speaks || self.power > LOUDER * other.power)
    }
}

/// Those who publish, those first who are to be heard.
#[derive(Default)]
pub struct Ranking(Vec<Person>);

impl Ranking {
    /// Somebody publishes. Until heard, behind all others.
    pub fn add(&mut self, feed: FeedId) {
        self.0.push(Person { feed, loudness: Loudness::default(), speaks: false, power: 0.0 });
    }

    /// Somebody publishes no more.
    pub fn remove(&mut self, feed: FeedId) {
        self.0.retain(|person| person.feed != feed);
    }

    /// The next frame of somebody; `None`: silence.
    pub fn heard(&mut self, now: Instant, feed: FeedId, frame: Option<&[i16]>) {
        let Some(person) = self.0.iter_mut().find(|person| person.feed == feed) else { return };
        let power = frame.map_or(0.0, power);
        let level = level(power);
        // Pauses make nobody quieter.
        if level <= LOUD {
            person.power += (power - person.power) / AVERAGED;
        }
        let news = match frame {
            Some(_) => person.loudness.heard(now, level),
            None => person.loudness.timeout(now),
        };
        person.speaks = news.unwrap_or(person.speaks);
    }

    /// Puts forward those who have become louder. Once after each frame.
    pub fn settle(&mut self) {
        for n in (1..self.0.len()).rev() {
            if self.0[n].goes_before(&self.0[n - 1]) {
                self.0.swap(n, n - 1);
            }
        }
    }

    /// Everybody, in order.
    pub fn order(&self) -> impl Iterator<Item = FeedId> {
        self.0.iter().map(|person| person.feed)
    }
}

/// Mean square of samples.
fn power(frame: &[i16]) -> f64 {
    frame.iter().map(|sample| f64::from(*sample).powi(2)).sum::<f64>() / frame.len().max(1) as f64
}

/// In -dBov, as RFC 6464 has it: 127 is silence.
fn level(power: f64) -> u8 {
    // In range by the clamp.
    (-10.0 * (power / FULL).log10()).clamp(0.0, 127.0) as u8
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::{FRAME, FRAME_TIME};

    #[test]
    fn levels_are_those_of_rfc_6464() {
        for (sample, expected) in [(0, 127), (1, 90), (327, 40), (32_767, 0), (i16::MIN, 0)] {
            assert_eq!(level(power(&[sample; FRAME])), expected, "{sample}");
        }
    }

    /// Who is in front after each of these is heard for so many frames: their samples, by index.
    fn after(steps: &[(u32, &[i16])]) -> Vec<Vec<u32>> {
        let mut ranking = Ranking::default();
        let mut now = Instant::now();
        let people = steps[0].1.len() as u32;
        for n in 0..people {
            ranking.add(FeedId(n));
        }
        let mut seen = Vec::new();
        for (frames, samples) in steps {
            for _ in 0..*frames {
                for (n, sample) in (0..).zip(*samples) {
                    let frame = [*sample; FRAME];
                    ranking.heard(now, FeedId(n), Some(&frame[..]).filter(|_| *sample != 0));
                }
                ranking.settle();
                now += FRAME_TIME;
            }
            seen.push(ranking.order().map(|feed| feed.0).collect());
        }
        seen
    }

    #[test]
    fn who_speaks_goes_before_who_does_not_and_stays_there_in_pauses() {
        let seen = after(&[
            (10, &[0, 0, 0, 3000]),
            // A click is no speech.
            (2, &[0, 0, 9000, 0]),
            (10, &[0, 0, 3000, 0]),
            (200, &[0, 0, 0, 0]),
        ]);
        // Who stops first goes behind the other, and before those who have said nothing.
        assert_eq!(seen, [[3, 0, 1, 2], [3, 0, 1, 2], [3, 2, 0, 1], [2, 3, 0, 1]]);
    }

    #[test]
    fn who_is_hardly_louder_changes_nothing_and_who_is_much_louder_does() {
        let seen = after(&[(50, &[3000, 4000]), (100, &[3000, 9000]), (100, &[3000, 4000])]);
        assert_eq!(seen, [[0, 1], [1, 0], [1, 0]]);
    }

    #[test]
    fn who_publishes_no_more_is_forgotten() {
        let mut ranking = Ranking::default();
        ranking.add(FeedId(1));
        ranking.add(FeedId(2));
        ranking.remove(FeedId(1));
        ranking.heard(Instant::now(), FeedId(1), None);
        assert_eq!(ranking.order().collect::<Vec<_>>(), [FeedId(2)]);
    }
}
