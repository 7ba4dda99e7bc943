//! Finds content that moved, by hashes of small patches that are the same in both pictures.
//!
//! Places are picked by what they show, not by where they are: a run of eight samples whose hash has a certain
//! value is a landmark in both pictures, wherever it moved to. A landmark is then named by a hash of the patch
//! around it. A name that is unique in both pictures votes for the distance between its two places; the
//! distances with most votes are candidates, and whether a block really moved is decided by comparing it.

use std::ops::Range;

use crate::frame::{Picture, Plane, Vector};

/// One of so many runs of samples is a landmark.
const LANDMARKS: u32 = 64;

/// Rows of a patch, from that of the landmark; each is 16 samples wide.
const PATCH_ROWS: [usize; 4] = [0, 2, 5, 7];
const PATCH_WIDTH: usize = 16;
const PATCH_HEIGHT: usize = 8;

/// Places in the table of names: more than landmarks of a large picture full of text, so that few get lost by
/// sharing a place. A power of two.
const NAMES: usize = 1 << 14;

/// Distances that are tried for a block.
const CANDIDATES: usize = 6;

/// Votes that a distance needs.
const VOTES: usize = 3;

const MULTIPLIER: u64 = 0x9e37_79b9_7f4a_7c15;

/// A place by its name.
#[derive(Debug, Clone, Copy, Default)]
struct Landmark {
    /// Hash of the patch; 0 for none.
    name: u32,
    x: u16,
    y: u16,
    /// Found more than once.
    repeated: bool,
}

/// Finds candidates; keeps its table between pictures.
pub(crate) struct Search {
    names: Vec<Landmark>,
    votes: Vec<Vector>,
}

/// Rows of luma samples.
trait Rows {
    fn at(&self, x: usize, y: usize, count: usize) -> &[u8];
}

impl Rows for Plane {
    #[inline]
    fn at(&self, x: usize, y: usize, count: usize) -> &[u8] {
        self.row(x, y, count)
    }
}

impl Rows for Picture<'_> {
    #[inline]
    fn at(&self, x: usize, y: usize, count: usize) -> &[u8] {
        self.luma(x, y, count)
    }
}

/// The eight samples at the beginning of a row.
#[inline]
fn run(row: &[u8]) -> u64 {
    row.first_chunk().map_or(0, |samples| u64::from_le_bytes(*samples))
}

/// Calls `found` with the name and place of each landmark whose patch lies within.
fn landmarks(
    rows: &impl Rows,
    columns: Range<usize>,
    lines: Range<usize>,
    step: usize,
    mut found: impl FnMut(u32, usize, usize),
) {
    if columns.len() < PATCH_WIDTH || lines.len() < PATCH_HEIGHT {
        return;
    }
    for y in (lines.start..=lines.end - PATCH_HEIGHT).step_by(step) {
        let row = rows.at(columns.start, y, columns.len());
        let last = row.len() - PATCH_WIDTH;
        let mut at = 0;
        while at <= last {
            let samples = run(&row[at..]);
            // Where all samples are the same, every place looks like the next one; most of a page is like that.
            if samples == samples.rotate_left(8) {
                at += if samples == run(&row[at + 8..]) { 8 } else { 1 };
                continue;
            }
            let x = columns.start + at;
            at += 1;
            if samples.wrapping_mul(MULTIPLIER) >> 32 >= (1 << 32) / u64::from(LANDMARKS) {
                continue;
            }
            let name = PATCH_ROWS.iter().fold(0u64, |name, &down| {
                let row = rows.at(x, y + down, PATCH_WIDTH);
                let both = run(row).rotate_left(23) ^ run(&row[8..]).wrapping_mul(MULTIPLIER);
                (name.rotate_left(29) ^ both).wrapping_mul(MULTIPLIER)
            });
            found((name >> 32) as u32 | 1, x, y);
        }
    }
}

impl Search {
    pub(crate) fn new() -> Self {
        Self { names: vec![Landmark::default(); NAMES], votes: Vec::new() }
    }

    /// The distances from blocks of `now` to where their content was in `before`, most votes first. `areas` are
    /// macroblocks that changed, as rows and columns of macroblocks: what moved was there before as well.
    pub(crate) fn candidates(
        &mut self,
        before: &Plane,
        now: &Picture<'_>,
        areas: &[(usize, Range<usize>)],
        out: &mut Vec<Vector>,
    ) {
        self.names.fill(Landmark::default());
        let bottom = areas.iter().map(|(row, _)| 16 * row + 16).max().unwrap_or_default();
        for (row, columns) in areas {
            // Patches may reach into the rows below.
            let lines = 16 * row..(16 * row + 16 + PATCH_HEIGHT - 1).min(bottom);
            let columns = 16 * columns.start..16 * columns.end;
            landmarks(before, columns, lines, 1, |name, x, y| {
                let place = &mut self.names[name as usize / 2 % NAMES];
                if place.name == 0 {
                    *place = Landmark { name, x: x as u16, y: y as u16, repeated: false };
                } else {
                    place.repeated |= place.name == name;
                }
            });
        }
        self.votes.clear();
        // A large area has landmarks enough in a part of its rows.
        let count: usize = areas.iter().map(|(_, columns)| columns.len()).sum();
        let step = if count > 256 { 4 } else { 1 };
        for (row, columns) in areas {
            let lines = 16 * row..(16 * row + 16 + PATCH_HEIGHT - 1).min(bottom).min(now.height);
            let columns = 16 * columns.start..(16 * columns.end).min(now.width);
            landmarks(now, columns, lines, step, |name, x, y| {
                let place = self.names[name as usize / 2 % NAMES];
                if place.name == name && !place.repeated {
                    let vector = Vector {
                        x: (i32::from(place.x) - x as i32) as i16,
                        y: (i32::from(place.y) - y as i32) as i16,
                    };
                    if vector != Vector::ZERO {
                        self.votes.push(vector);
                    }
                }
            });
        }
        self.votes.sort_unstable();
        let mut counts: Vec<(usize, Vector)> =
            self.votes.chunk_by(|a, b| a == b).map(|same| (same.len(), same[0])).collect();
        counts.sort_unstable_by(|a, b| b.cmp(a));
        out.extend(
            counts
                .iter()
                .take_while(|(votes, _)| *votes >= VOTES)
                .map(|(_, vector)| *vector)
                .take(CANDIDATES),
        );
    }
}
