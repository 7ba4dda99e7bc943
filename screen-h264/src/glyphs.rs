//! Finds 8×8 blocks of new content in the picture before: letters repeat, and a vector is shorter than a letter.
//!
//! As in [`crate::motion`], places are picked by what they show. A place is filed under the hash of its 4×4 patch;
//! a block looks up the patches within it, and compares itself with what is around each of the places found.

use std::ops::Range;

use crate::frame::{Picture, Plane, Vector};

/// One of so many patches is filed.
const FILED: u32 = 4;

/// Patches are squares of so many samples.
const PATCH: usize = 4;

/// Files, a power of two, and places kept in each: the last ones.
const FILES: usize = 1 << 13;
const PLACES: usize = 4;

/// Places that a block is compared with, at most.
const COMPARISONS: usize = 24;

/// Differences of a block, as a sum, up to which it is alike: 16 a sample.
const ALIKE: u32 = 16 * 64;

/// A place in the picture before, or none.
type Place = Option<(u16, u16)>;

/// What looks like a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Likeness {
    pub(crate) vector: Vector,
    /// Whether it saves something to say how it differs.
    pub(crate) is_alike: bool,
}

/// Places by what they show; keeps its table between pictures.
pub(crate) struct Glyphs {
    files: Vec<[Place; PLACES]>,
}

/// The file of the patch that begins with `first`, if it is one of those that are filed.
#[inline]
fn file<'a>(first: u32, row: impl Fn(usize) -> &'a [u8]) -> Option<usize> {
    let hash = first.wrapping_mul(0x9e37_79b1);
    if first == first.rotate_left(8) || hash >= u32::MAX / FILED {
        return None;
    }
    let name =
        (1..PATCH).fold(hash, |name, at| (name.rotate_left(11) ^ samples(row(at))).wrapping_mul(0x85eb_ca6b));
    Some(name as usize >> 8 & (FILES - 1))
}

/// The four samples at the beginning of a row.
#[inline]
fn samples(row: &[u8]) -> u32 {
    row.first_chunk().map_or(0, |samples| u32::from_le_bytes(*samples))
}

impl Glyphs {
    pub(crate) fn new() -> Self {
        Self { files: vec![[None; PLACES]; FILES] }
    }

    /// Files the places of the picture before that lie in `areas`, rows and columns of macroblocks.
    pub(crate) fn file(&mut self, before: &Plane, areas: &[(usize, Range<usize>)]) {
        self.files.fill([None; PLACES]);
        for (row, columns) in areas {
            let start = 16 * columns.start;
            let len = 16 * columns.len();
            for y in 16 * row..(16 * row + 16).min(before.height() - PATCH) {
                let line = before.row(start, y, len);
                let mut at = 0;
                while at + 8 <= len {
                    let first = samples(&line[at..]);
                    if first == first.rotate_left(8) && first == samples(&line[at + 4..]) {
                        at += 4;
                        continue;
                    }
                    let x = start + at;
                    if let Some(file) = file(first, |down| before.row(x, y + down, PATCH)) {
                        let places = &mut self.files[file];
                        places.rotate_right(1);
                        places[0] = Some((x as u16, y as u16));
                    }
                    at += 1;
                }
            }
        }
    }

    /// The distance to what looks most like the 8×8 block at `x`, `y` of the picture now, if anything does.
    pub(crate) fn find(&self, before: &Plane, now: &Picture<'_>, x: usize, y: usize) -> Option<Likeness> {
        if x + 8 > now.width || y + 8 > now.height {
            return None;
        }
        let mut best: Option<(u32, Vector)> = None;
        let mut comparisons = 0;
        for down in 0..=8 - PATCH {
            let line = now.luma(x, y + down, 8);
            for across in 0..=8 - PATCH {
                let row = |at: usize| now.luma(x + across, y + down + at, PATCH);
                let Some(file) = file(samples(&line[across..]), row) else { continue };
                for place in self.files[file].into_iter().flatten() {
                    let from_x = isize::from(place.0 as i16) - across as isize;
                    let from_y = isize::from(place.1 as i16) - down as isize;
                    let vector = Vector { x: (from_x - x as isize) as i16, y: (from_y - y as isize) as i16 };
                    let inside = from_x >= 0
                        && from_y >= 0
                        && from_x as usize + 8 <= before.width()
                        && from_y as usize + 8 <= before.height();
                    if !inside || vector.y.abs() >= 512 || vector.x.abs() >= 2048 {
                        continue;
                    }
                    let difference = difference(before, (from_x as usize, from_y as usize), now, (x, y));
                    if best.is_none_or(|(least, _)| difference < least) {
                        best = Some((difference, vector));
                    }
                    comparisons += 1;
                    if difference == 0 || comparisons == COMPARISONS {
                        return best.map(likeness);
                    }
                }
            }
        }
        best.map(likeness)
    }
}

/// What was found, with what it differs by.
fn likeness((difference, vector): (u32, Vector)) -> Likeness {
    Likeness { vector, is_alike: difference <= ALIKE }
}

/// The sum of absolute differences of 8×8 blocks.
fn difference(before: &Plane, from: (usize, usize), now: &Picture<'_>, at: (usize, usize)) -> u32 {
    let row = |down: usize| {
        let here = now.luma(at.0, at.1 + down, 8).iter();
        let there = before.row(from.0, from.1 + down, 8);
        here.zip(there).map(|(a, b)| u32::from(a.abs_diff(*b))).sum::<u32>()
    };
    (0..8).map(row).sum()
}
