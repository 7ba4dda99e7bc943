//! Cuts captured sound into blocks of 10 ms with even timestamps, and decides which are worth encoding.

use std::time::{Duration, Instant};

use crate::encode::audio::{BLOCK, CHANNELS, SAMPLE_RATE};

/// Length of a block.
const BLOCK_TIME: Duration = Duration::from_millis(10);
/// Largest difference of measured and counted time. With a larger one the count starts again: something was lost, or
/// capture stood still.
const MAX_DRIFT: Duration = Duration::from_millis(40);
/// How much of a smaller difference is corrected at each block: measurements scatter by a
/// millisecond or two, the clocks differ by some 10 ppm.
const CORRECTION: u32 = 32;
/// Silent blocks that are still encoded, so that the end of a sound is not cut off in the decoder.
const TAIL_BLOCKS: u32 = 5;

/// One stream of samples on its way to the encoder.
#[derive(Debug)]
pub struct Blocks {
    pending: Vec<i16>,
    /// Time of the first sample of the next block, by counting.
    next: Option<Instant>,
    /// Time of the last block; the next one is later, whatever is measured.
    last: Option<Instant>,
    silent: u32,
}

/// A block of sound.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Block<'a> {
    /// Both channels interleaved, [`BLOCK`] values.
    pub samples: &'a [i16],
    /// When its first sample was captured.
    pub captured: Instant,
    /// The block is silent, and so were enough blocks before it.
    pub silent: bool,
}

impl Blocks {
    /// Nothing yet.
    pub fn new() -> Self {
        Self { pending: Vec::with_capacity(2 * BLOCK), next: None, last: None, silent: TAIL_BLOCKS + 1 }
    }

    /// Takes interleaved samples, the first of which was captured at `captured`, and passes each complete block
    /// to `emit`.
    pub fn push(&mut self, samples: &[i16], captured: Instant, mut emit: impl FnMut(Block<'_>)) {
        let pending = self.pending.len() / CHANNELS;
        let waiting = Duration::from_secs(1) * pending as u32 / SAMPLE_RATE;
        let measured = captured.checked_sub(waiting).unwrap_or(captured);
        self.next = Some(match self.next {
            Some(counted) => reconcile(counted, measured),
            None => measured,
        });
        self.pending.extend_from_slice(samples);
        let mut used = 0;
        while let Some(samples) = self.pending.get(used..used + BLOCK) {
            let counted = self.next.unwrap_or(measured);
            // An Opus decoder needs only the order of packets to be right.
            let captured = match self.last {
                Some(last) if counted <= last => last + Duration::from_micros(1),
                _ => counted,
            };
            self.silent = if samples.iter().all(|s| *s == 0) { self.silent.saturating_add(1) } else { 0 };
            emit(Block { samples, captured, silent: self.is_silent() });
            self.last = Some(captured);
            self.next = Some(counted + BLOCK_TIME);
            used += BLOCK;
        }
        self.pending.drain(..used);
    }

    /// Whether the last blocks were silent, and enough of them were encoded.
    pub fn is_silent(&self) -> bool {
        self.silent > TAIL_BLOCKS
    }

    /// To be called after a pause of capture: drops an incomplete block, and measures time again.
    pub fn interrupted(&mut self) {
        self.pending.clear();
        self.next = None;
    }
}

fn reconcile(counted: Instant, measured: Instant) -> Instant {
    if measured >= counted {
        let ahead = measured - counted;
        if ahead > MAX_DRIFT { measured } else { counted + ahead / CORRECTION }
    } else {
        let behind = counted - measured;
        if behind > MAX_DRIFT {
            measured
        } else {
            counted.checked_sub(behind / CORRECTION).unwrap_or(counted)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    fn collect(blocks: &mut Blocks, samples: &[i16], captured: Instant) -> Vec<(Instant, bool)> {
        let mut all = Vec::new();
        blocks.push(samples, captured, |block| {
            assert_eq!(block.samples.len(), BLOCK);
            all.push((block.captured, block.silent));
        });
        all
    }

    #[test]
    fn fragments_of_any_size_become_even_blocks() {
        let mut blocks = Blocks::new();
        let t0 = Instant::now() + Duration::from_secs(1);
        let mut all = Vec::new();
        // 7 ms fragments, measured with a scatter of 2 ms.
        for i in 0..100u32 {
            let scatter = if i % 2 == 0 { 0 } else { 2 };
            all.extend(collect(&mut blocks, &[1; 7 * 96], t0 + MS * (7 * i + scatter)));
        }
        assert_eq!(all.len(), 70);
        for pair in all.windows(2) {
            let gap = pair[1].0 - pair[0].0;
            assert!(gap.abs_diff(10 * MS) < MS / 5, "{gap:?}");
        }
        let end = all[69].0 - t0;
        assert!(end.abs_diff(690 * MS) <= 2 * MS, "{end:?}");
    }

    #[test]
    fn a_hole_is_seen_in_the_timestamps_and_never_goes_back() {
        let mut blocks = Blocks::new();
        let t0 = Instant::now() + Duration::from_secs(1);
        let first = collect(&mut blocks, &[1; BLOCK], t0);
        let late = collect(&mut blocks, &[1; BLOCK], t0 + 500 * MS);
        let early = collect(&mut blocks, &[1; BLOCK], t0 + 100 * MS);
        assert_eq!((first[0].0, late[0].0), (t0, t0 + 500 * MS));
        assert!(early[0].0 > late[0].0);
    }

    #[test]
    fn silence_ends_after_a_short_tail_and_sound_comes_through_at_once() {
        let mut blocks = Blocks::new();
        let mut at = Instant::now();
        let mut next = |value: i16| {
            at += 10 * MS;
            collect(&mut blocks, &[value; BLOCK], at)[0].1
        };
        assert!(next(0), "silence from the beginning");
        assert!(!next(1));
        let tail: Vec<bool> = (0..7).map(|_| next(0)).collect();
        assert_eq!(tail, [false, false, false, false, false, true, true]);
        assert!(!next(-1));
    }
}
