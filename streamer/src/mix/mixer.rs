//! Sums what is heard, frame by frame. Pure: packets and the time are given to it, and frames come out.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::input::Input;
use super::loudest::Ranking;
use super::{FRAME, LOUDEST};
use crate::encode;
use crate::feed::AudioUnit;
use crate::peer::FeedId;

/// Silent frames of a mix that are still given out, so that the end of a sound is not cut off in decoders.
const TAIL: u32 = 3;
/// Loudest value of a mix: what would be more is made quieter, all of it.
const LIMIT: f32 = 32_000.0;
/// How much of full loudness comes back in each frame after that: all of it in half a second.
const RELEASE: f32 = 0.04;
/// Within so many values it is made quieter: 2.5 ms, so that hardly anything is cut off until then.
const ATTACK: usize = FRAME / 8;

/// A source that is heard in mixes.
struct Source {
    input: Input,
    /// One of those of whom only the loudest are heard.
    published: bool,
    frame: Box<[i16]>,
    /// The frame has sound in it.
    sounds: bool,
}

/// What somebody hears.
struct Mix {
    of: BTreeSet<FeedId>,
    /// How loud each of it was at the end of the last frame.
    gains: BTreeMap<FeedId, f32>,
    limiter: f32,
    /// So many frames of it were silent.
    silent: u32,
}

/// All mixes of a session.
pub struct Mixer {
    sources: BTreeMap<FeedId, Source>,
    ranking: Ranking,
    mixes: BTreeMap<FeedId, Mix>,
    /// Scratch space.
    sum: Box<[f32]>,
    frame: Box<[i16]>,
}

impl Mixer {
    /// Without any.
    pub fn new() -> Self {
        Self {
            sources: BTreeMap::new(),
            ranking: Ranking::default(),
            mixes: BTreeMap::new(),
            sum: vec![0.0; FRAME].into_boxed_slice(),
            frame: vec![0; FRAME].into_boxed_slice(),
        }
    }

    /// A source can be heard from now on.
    ///
    /// # Errors
    /// When libopus refuses a decoder.
    pub fn add_source(&mut self, feed: FeedId, published: bool) -> Result<(), encode::Error> {
        let input = Input::new()?;
        let frame = vec![0; FRAME].into_boxed_slice();
        self.remove_source(feed);
        self.sources.insert(feed, Source { input, published, frame, sounds: false });
        if published {
            self.ranking.add(feed);
        }
        Ok(())
    }

    /// It cannot any more.
    pub fn remove_source(&mut self, feed: FeedId) {
        self.sources.remove(&feed);
        self.ranking.remove(feed);
    }

    /// There is a mix of these sources, in place of an earlier one.
    pub fn set_mix(&mut self, mix: FeedId, of: BTreeSet<FeedId>) {
        let new = || Mix { of: BTreeSet::new(), gains: BTreeMap::new(), limiter: 1.0, silent: TAIL };
        let mix = self.mixes.entry(mix).or_insert_with(new);
        mix.gains.retain(|feed, _| of.contains(feed));
        mix.of = of;
    }

    /// There is not any more.
    pub fn remove_mix(&mut self, mix: FeedId) {
        self.mixes.remove(&mix);
    }

    /// The next packet of a source.
    pub fn push(&mut self, feed: FeedId, unit: &AudioUnit) {
        if let Some(source) = self.sources.get_mut(&feed) {
            source.input.push(unit);
        }
    }

    /// Nothing is to be heard before the next packet.
    pub fn is_idle(&self) -> bool {
        self.sources.values().all(|source| source.input.is_silent())
            && self.mixes.values().all(|mix| mix.silent >= TAIL)
    }

    /// The next 20 ms: gives out a frame of [`FRAME`] values for each mix that `is_taken` and not silent.
    pub fn mix(
        &mut self,
        now: Instant,
        is_taken: impl Fn(FeedId) -> bool,
        mut give_out: impl FnMut(FeedId, &[i16]),
    ) {
        for (feed, source) in &mut self.sources {
            source.sounds = source.input.take(&mut source.frame);
            if source.published {
                self.ranking.heard(now, *feed, Some(&*source.frame).filter(|_| source.sounds));
            }
        }
        self.ranking.settle();
        for (id, mix) in &mut self.mixes {
            if !is_taken(*id) {
                mix.gains.clear();
                mix.silent = TAIL;
                continue;
            }
            let loudest: Vec<_> =
                self.ranking.order().filter(|feed| mix.of.contains(feed)).take(LOUDEST).collect();
            self.sum.fill(0.0);
            for feed in &mix.of {
                let Some(source) = self.sources.get(feed) else { continue };
                let gain = if source.published && !loudest.contains(feed) { 0.0 } else { 1.0 };
                let before = mix.gains.insert(*feed, gain);
                if source.sounds {
                    add(&mut self.sum, &source.frame, before.unwrap_or_default(), gain);
                }
            }
            mix.limiter = limit(&self.sum, &mut self.frame, mix.limiter);
            let is_silent = self.frame.iter().all(|value| *value == 0);
            if !is_silent {
                mix.silent = 0;
            } else if mix.silent >= TAIL {
                continue;
            } else {
                mix.silent += 1;
            }
            give_out(*id, &self.frame);
        }
    }
}

/// Adds a source to a sum. It gets louder or quieter over the frame, so that nothing clicks.
fn add(sum: &mut [f32], frame: &[i16], from: f32, to: f32) {
    if from == 0.0 && to == 0.0 {
        return;
    }
    let step = (to - from) / FRAME as f32;
    for (i, (sum, value)) in sum.iter_mut().zip(frame).enumerate() {
        *sum += f32::from(*value) * (from + step * i as f32);
    }
}

/// Makes a sum quieter where it is too loud, given how much it was made quieter before. Returns how much it is now.
fn limit(sum: &[f32], frame: &mut [i16], before: f32) -> f32 {
    let peak = sum.iter().fold(0.0_f32, |peak, value| peak.max(value.abs()));
    let wanted = if peak > LIMIT { LIMIT / peak } else { 1.0 };
    let gain = wanted.min(before + RELEASE);
    for (i, (value, sum)) in frame.iter_mut().zip(sum).enumerate() {
        let done = (i as f32 / ATTACK as f32).min(1.0);
        // A conversion saturates.
        *value = (sum * (before + (gain - before) * done)) as i16;
    }
    gain
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mix::FRAME_TIME;
    use crate::mix::tests::{Tone, tone_in};

    const MIX: FeedId = FeedId(100);

    /// Sources that whistle, each at a pitch of its own, and what is heard of them in each mix.
    struct Stage {
        mixer: Mixer,
        start: Instant,
        frames: u32,
        tones: BTreeMap<FeedId, Tone>,
        heard: BTreeMap<FeedId, Vec<i16>>,
    }

    fn hz(n: u32) -> f64 {
        400.0 + 150.0 * f64::from(n)
    }

    impl Stage {
        /// With this many who publish, and a desktop.
        fn new(published: u32) -> Self {
            let mut stage = Self {
                mixer: Mixer::new(),
                start: Instant::now(),
                frames: 0,
                tones: BTreeMap::new(),
                heard: BTreeMap::new(),
            };
            for n in 0..=published {
                stage.mixer.add_source(FeedId(n), n > 0).unwrap();
                stage.tones.insert(FeedId(n), Tone::new(hz(n), FRAME));
            }
            stage
        }

        fn all(&self) -> BTreeSet<FeedId> {
            self.tones.keys().copied().collect()
        }

        /// Lets these sound for so many frames.
        fn play(&mut self, frames: u32, sounding: &[u32]) {
            for _ in 0..frames {
                let now = self.start + self.frames * FRAME_TIME;
                self.frames += 1;
                for n in sounding {
                    let unit = self.tones.get_mut(&FeedId(*n)).unwrap().unit(now);
                    self.mixer.push(FeedId(*n), &unit);
                }
                let heard = &mut self.heard;
                self.mixer.mix(now, |_| true, |mix, frame| heard.entry(mix).or_default().extend(frame));
            }
        }

        /// Which tones are in the last half second of a mix.
        fn tones(&self, mix: FeedId) -> Vec<u32> {
            let heard = self.heard.get(&mix).map(Vec::as_slice).unwrap_or_default();
            let tail = &heard[heard.len().saturating_sub(25 * FRAME)..];
            (0..self.tones.len() as u32).filter(|n| tone_in(tail, hz(*n)) > 0.02).collect()
        }
    }

    #[test]
    fn each_mix_is_the_sum_of_what_it_is_of() {
        let mut stage = Stage::new(3);
        let [all, but_one, one] = [FeedId(100), FeedId(101), FeedId(102)];
        stage.mixer.set_mix(all, stage.all());
        stage.mixer.set_mix(but_one, [FeedId(0), FeedId(2), FeedId(3)].into());
        stage.mixer.set_mix(one, [FeedId(3)].into());
        stage.play(60, &[0, 1, 2, 3]);
        assert_eq!(stage.tones(all), [0, 1, 2, 3]);
        assert_eq!(stage.tones(but_one), [0, 2, 3]);
        assert_eq!(stage.tones(one), [3]);
        assert_eq!(stage.heard[&all].len(), stage.heard[&one].len());
    }

    #[test]
    fn of_many_who_publish_the_three_loudest_are_heard_and_a_desktop_always() {
        let mut stage = Stage::new(6);
        stage.mixer.set_mix(MIX, stage.all());
        stage.mixer.set_mix(FeedId(101), stage.all().into_iter().filter(|feed| *feed != FeedId(5)).collect());
        stage.play(60, &[0, 4, 5, 6]);
        assert_eq!(stage.tones(MIX), [0, 4, 5, 6]);
        assert_eq!(stage.tones(FeedId(101)), [0, 4, 6]);
        // Others who are no louder have to wait until somebody stops.
        stage.play(60, &[0, 1, 4, 5, 6]);
        assert_eq!(stage.tones(MIX), [0, 4, 5, 6]);
        assert_eq!(stage.tones(FeedId(101)), [0, 1, 4, 6], "without one there is room for another");
        stage.play(120, &[0, 1, 5, 6]);
        assert_eq!(stage.tones(MIX), [0, 1, 5, 6]);
        // Who is much louder does not.
        stage.tones.get_mut(&FeedId(2)).unwrap().amplitude = 16_000.0;
        stage.play(120, &[0, 1, 2, 5, 6]);
        let tones = stage.tones(MIX);
        assert!(tones.contains(&2) && tones.len() == 4, "{tones:?}");
    }

    #[test]
    fn what_is_too_loud_together_is_made_quieter_and_not_cut_off() {
        let mut stage = Stage::new(3);
        stage.mixer.set_mix(MIX, stage.all());
        for tone in stage.tones.values_mut() {
            tone.amplitude = 30_000.0;
        }
        stage.play(80, &[0, 1, 2, 3]);
        let heard = &stage.heard[&MIX];
        let tail = &heard[heard.len() - 25 * FRAME..];
        let shares: f64 = (0..4).map(|n| tone_in(tail, hz(n))).sum();
        assert!(shares > 0.95, "nothing but the tones is heard: {shares}");
        let peak = tail.iter().map(|value| value.unsigned_abs()).max().unwrap();
        assert!((25_000..=32_767).contains(&peak), "{peak}");
    }

    #[test]
    fn nothing_jumps_when_somebody_is_taken_in_or_left_out() {
        let mut sum = vec![0.0; FRAME];
        let frame = [10_000; FRAME];
        for (from, to) in [(0.0, 1.0), (1.0, 0.0)] {
            sum.fill(0.0);
            add(&mut sum, &frame, from, to);
            let (first, last) = (sum[0] / 10_000.0, sum[FRAME - 1] / 10_000.0);
            assert!((first - from).abs() < 0.01 && (last - to).abs() < 0.01, "{first} {last}");
            assert!(sum.windows(2).all(|pair| (pair[1] - pair[0]).abs() < 20.0));
        }
    }

    #[test]
    fn silence_is_not_given_out_but_for_its_beginning() {
        let mut stage = Stage::new(1);
        stage.mixer.set_mix(MIX, stage.all());
        assert!(stage.mixer.is_idle());
        stage.play(50, &[]);
        assert!(stage.heard.is_empty() && stage.mixer.is_idle());
        stage.play(50, &[1]);
        let heard = stage.heard[&MIX].len();
        assert!(!stage.mixer.is_idle());
        stage.play(200, &[]);
        let more = stage.heard[&MIX].len() - heard;
        assert!(more <= 12 * FRAME, "{more}");
        assert!(stage.mixer.is_idle());
        stage.play(50, &[1]);
        assert_eq!(stage.tones(MIX), [1]);
    }

    #[test]
    fn what_nobody_takes_is_not_mixed_and_what_is_gone_is_not_heard() {
        let mut stage = Stage::new(2);
        stage.mixer.set_mix(MIX, stage.all());
        stage.play(50, &[1, 2]);
        let unit = stage.tones.get_mut(&FeedId(1)).unwrap().unit(stage.start);
        stage.mixer.push(FeedId(1), &unit);
        stage.mixer.mix(stage.start, |_| false, |_, _| panic!("nobody takes it"));
        stage.mixer.remove_source(FeedId(2));
        stage.mixer.push(FeedId(2), &unit);
        stage.play(60, &[1]);
        assert_eq!(stage.tones(MIX), [1]);
        stage.mixer.remove_mix(MIX);
        let before = stage.heard[&MIX].len();
        stage.play(10, &[1]);
        assert_eq!(stage.heard[&MIX].len(), before);
    }
}
