//! Intra prediction (H.264 §8.3) and whole-sample inter prediction (§8.4.2.2).

use crate::frame::{Plane, Vector};

/// What of a block's surroundings may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Available {
    /// The samples to the left.
    pub(crate) left: bool,
    /// The samples above.
    pub(crate) above: bool,
    /// The sample above and to the left.
    pub(crate) corner: bool,
    /// The samples above and to the right.
    pub(crate) above_right: bool,
}

/// `Intra4x4PredMode` (H.264 table 8-2).
pub(crate) const VERTICAL: u8 = 0;
pub(crate) const HORIZONTAL: u8 = 1;
pub(crate) const DC: u8 = 2;
pub(crate) const DIAGONAL_DOWN_LEFT: u8 = 3;
pub(crate) const DIAGONAL_DOWN_RIGHT: u8 = 4;
pub(crate) const VERTICAL_RIGHT: u8 = 5;
pub(crate) const HORIZONTAL_DOWN: u8 = 6;
pub(crate) const VERTICAL_LEFT: u8 = 7;
pub(crate) const HORIZONTAL_UP: u8 = 8;

/// The 13 samples around a 4×4 block, in one line from bottom left over the corner to above right; those that
/// are not available have any value, but those above right repeat the last one above if they are not.
pub(crate) struct Edge {
    /// Index 0–3: left from bottom to top; 4: corner; 5–8: above; 9–12: above right.
    line: [u8; 13],
    /// (a + 2b + c + 2) / 4 around each sample but the first and last.
    smooth: [u8; 13],
    /// The mean of each sample and the next one.
    between: [u8; 13],
    available: Available,
}

impl Edge {
    /// The edge of the block at `x`, `y`.
    #[inline]
    pub(crate) fn new(plane: &Plane, x: usize, y: usize, available: Available) -> Self {
        let mut line = [128; 13];
        if available.left {
            for at in 0..4 {
                line[3 - at] = plane.row(x - 1, y + at, 1)[0];
            }
        }
        if available.corner {
            line[4] = plane.row(x - 1, y - 1, 1)[0];
        }
        if available.above {
            line[5..9].copy_from_slice(plane.row_of::<4>(x, y - 1));
            if available.above_right {
                line[9..13].copy_from_slice(plane.row_of::<4>(x + 4, y - 1));
            } else {
                let last = line[8];
                line[9..13].fill(last);
            }
        }
        let mut smooth = [0; 13];
        let mut between = [0; 13];
        for at in 1..12 {
            let sides = u16::from(line[at - 1]) + u16::from(line[at + 1]);
            smooth[at] = ((sides + 2 * u16::from(line[at]) + 2) >> 2) as u8;
        }
        for at in 0..12 {
            between[at] = (u16::from(line[at]) + u16::from(line[at + 1])).div_ceil(2) as u8;
        }
        Self { line, smooth, between, available }
    }

    /// Whether a mode can be used here.
    #[inline]
    pub(crate) fn allows(&self, mode: u8) -> bool {
        let Available { left, above, corner, .. } = self.available;
        match mode {
            DC => true,
            VERTICAL | DIAGONAL_DOWN_LEFT | VERTICAL_LEFT => above,
            HORIZONTAL | HORIZONTAL_UP => left,
            _ => left && above && corner,
        }
    }

    /// The prediction, rows of four (H.264 §8.3.1.2). The mode is allowed.
    #[inline]
    pub(crate) fn predict(&self, mode: u8) -> [u8; 16] {
        let line = &self.line;
        let smooth = &self.smooth;
        let between = &self.between;
        match mode {
            VERTICAL => block(|x, _| line[5 + x]),
            HORIZONTAL => block(|_, y| line[3 - y]),
            DC => {
                let left = sum(&line[..4]);
                let above = sum(&line[5..9]);
                let value = match (self.available.left, self.available.above) {
                    (true, true) => (left + above + 4) >> 3,
                    (true, false) => (left + 2) >> 2,
                    (false, true) => (above + 2) >> 2,
                    (false, false) => 128,
                };
                [value as u8; 16]
            }
            DIAGONAL_DOWN_LEFT => {
                block(|x, y| if x + y == 6 { beyond(line[11], line[12]) } else { smooth[6 + x + y] })
            }
            DIAGONAL_DOWN_RIGHT => block(|x, y| smooth[4 + x - y]),
            VERTICAL_RIGHT => block(|x, y| match 2 * x as i32 - y as i32 {
                -1 => smooth[4],
                z if z < 0 => smooth[5 - y],
                z if z % 2 == 0 => between[4 + x - y / 2],
                _ => smooth[4 + x - y / 2],
            }),
            HORIZONTAL_DOWN => block(|x, y| match 2 * y as i32 - x as i32 {
                -1 => smooth[4],
                z if z < 0 => smooth[3 + x],
                z if z % 2 == 0 => between[3 + x / 2 - y],
                _ => smooth[4 + x / 2 - y],
            }),
            VERTICAL_LEFT => {
                block(|x, y| if y % 2 == 0 { between[5 + x + y / 2] } else { smooth[6 + x + y / 2] })
            }
            _ => block(|x, y| match x + 2 * y {
                z if z > 5 => line[0],
                5 => beyond(line[1], line[0]),
                z if z % 2 == 0 => between[2 - y - x / 2],
                _ => smooth[2 - y - x / 2],
            }),
        }
    }
}

/// (a + 2b + c + 2) / 4 at the end of the line, where c is b.
fn beyond(a: u8, b: u8) -> u8 {
    ((u16::from(a) + 3 * u16::from(b) + 2) >> 2) as u8
}

/// A block of what `value` says of each place.
#[inline(always)]
fn block(value: impl Fn(usize, usize) -> u8) -> [u8; 16] {
    std::array::from_fn(|at| value(at % 4, at / 4))
}

/// `Intra16x16PredMode` (H.264 table 8-4).
pub(crate) mod intra_16x16 {
    pub(crate) const VERTICAL: u8 = 0;
    pub(crate) const HORIZONTAL: u8 = 1;
    pub(crate) const DC: u8 = 2;
    pub(crate) const PLANE: u8 = 3;
}

/// Predicts a square of `N` samples (16 for luma) at `x`, `y` into `out`, rows of `N`. Returns false if the mode
/// needs samples that are not available (H.264 §8.3.3).
pub(crate) fn luma_16x16(
    plane: &Plane,
    x: usize,
    y: usize,
    near: Available,
    mode: u8,
    out: &mut [u8; 256],
) -> bool {
    match mode {
        intra_16x16::VERTICAL if near.above => {
            let above = plane.row(x, y - 1, 16);
            for row in out.chunks_exact_mut(16) {
                row.copy_from_slice(above);
            }
        }
        intra_16x16::HORIZONTAL if near.left => {
            for (at, row) in out.chunks_exact_mut(16).enumerate() {
                row.fill(plane.row(x - 1, y + at, 1)[0]);
            }
        }
        intra_16x16::DC => {
            let above = near.above.then(|| sum(plane.row(x, y - 1, 16)));
            let left = near.left.then(|| column_sum(plane, x - 1, y, 16));
            out.fill(match (left, above) {
                (Some(left), Some(above)) => (left + above + 16) >> 5,
                (Some(one), None) | (None, Some(one)) => (one + 8) >> 4,
                (None, None) => 128,
            } as u8);
        }
        intra_16x16::PLANE if near.left && near.above && near.corner => {
            plane_prediction::<16>(plane, x, y, out);
        }
        _ => return false,
    }
    true
}

/// `intra_chroma_pred_mode` (H.264 table 8-5).
pub(crate) mod chroma {
    pub(crate) const DC: u8 = 0;
    pub(crate) const HORIZONTAL: u8 = 1;
    pub(crate) const VERTICAL: u8 = 2;
    pub(crate) const PLANE: u8 = 3;
}

/// Predicts the 8×8 chroma samples at `x`, `y` into `out`, rows of 8. Returns false if the mode needs samples
/// that are not available (H.264 §8.3.4).
pub(crate) fn chroma_8x8(
    plane: &Plane,
    x: usize,
    y: usize,
    near: Available,
    mode: u8,
    out: &mut [u8; 64],
) -> bool {
    match mode {
        chroma::DC => {
            for block in 0..4 {
                let column = 4 * (block % 2);
                let row = 4 * (block / 2);
                let above = near.above.then(|| sum(plane.row(x + column, y - 1, 4)));
                let left = near.left.then(|| column_sum(plane, x - 1, y + row, 4));
                // Off the diagonal, one side alone counts if it is there (H.264 §8.3.4.1–3).
                let value = match (block, left, above) {
                    (0 | 3, Some(left), Some(above)) => (left + above + 4) >> 3,
                    (1, _, Some(one)) | (2, Some(one), _) => (one + 2) >> 2,
                    (_, Some(one), None) | (_, None, Some(one)) => (one + 2) >> 2,
                    _ => 128,
                };
                for line in out[8 * row..8 * row + 32].chunks_exact_mut(8) {
                    line[column..column + 4].fill(value as u8);
                }
            }
        }
        chroma::VERTICAL if near.above => {
            let above = plane.row(x, y - 1, 8);
            for row in out.chunks_exact_mut(8) {
                row.copy_from_slice(above);
            }
        }
        chroma::HORIZONTAL if near.left => {
            for (at, row) in out.chunks_exact_mut(8).enumerate() {
                row.fill(plane.row(x - 1, y + at, 1)[0]);
            }
        }
        chroma::PLANE if near.left && near.above && near.corner => plane_prediction::<8>(plane, x, y, out),
        _ => return false,
    }
    true
}

fn sum(samples: &[u8]) -> u32 {
    samples.iter().map(|&sample| u32::from(sample)).sum()
}

fn column_sum(plane: &Plane, x: usize, y: usize, count: usize) -> u32 {
    (y..y + count).map(|y| u32::from(plane.row(x, y, 1)[0])).sum()
}

/// Plane prediction of a square of `N` samples (H.264 §8.3.3.4, §8.3.4.4).
fn plane_prediction<const N: usize>(plane: &Plane, x: usize, y: usize, out: &mut [u8]) {
    let half = N / 2;
    let above = plane.row(x - 1, y - 1, N + 1);
    let left = |at: usize| i32::from(plane.row(x - 1, y + at - 1, 1)[0]);
    let mut horizontal = 0;
    let mut vertical = 0;
    for at in 1..=half {
        horizontal += at as i32 * (i32::from(above[half + at]) - i32::from(above[half - at]));
        vertical += at as i32 * (left(half + at) - left(half - at));
    }
    let (b, c) = if N == 16 {
        ((5 * horizontal + 32) >> 6, (5 * vertical + 32) >> 6)
    } else {
        ((34 * horizontal + 32) >> 6, (34 * vertical + 32) >> 6)
    };
    let a = 16 * (left(N) + i32::from(above[N]));
    for (row_at, row) in out.chunks_exact_mut(N).enumerate() {
        for (at, sample) in row.iter_mut().enumerate() {
            let value = a + b * (at as i32 - half as i32 + 1) + c * (row_at as i32 - half as i32 + 1);
            *sample = ((value + 16) >> 5).clamp(0, 255) as u8;
        }
    }
}

/// Copies `N` × `N` chroma samples to `at` from where a whole-sample luma vector points: at odd distances the
/// mean of the samples around (H.264 §8.4.2.2.2). Samples beyond the edge are those at the edge.
pub(crate) fn chroma_inter<const N: usize>(from: &Plane, to: &mut Plane, at: (usize, usize), vector: Vector) {
    let x = (at.0 as isize + isize::from(vector.x >> 1)) as usize;
    let y = (at.1 as isize + isize::from(vector.y >> 1)) as usize;
    let half_x = vector.x & 1 != 0;
    let half_y = vector.y & 1 != 0;
    if !half_x && !half_y {
        to.copy_square::<N>(at.0, at.1, from, x, y);
        return;
    }
    let right = N.min(from.width() - x - 1);
    // A row and the same one sample further to the right; at the edge the last sample counts twice.
    let rows = |y: usize| {
        let y = y.min(from.height() - 1);
        let mut row = [0u16; N];
        let mut shifted = [0u16; N];
        for (to, from) in row.iter_mut().zip(from.row(x, y, N)) {
            *to = u16::from(*from);
        }
        shifted[N - 1] = row[N - 1];
        for (to, from) in shifted.iter_mut().zip(from.row(x + 1, y, right)) {
            *to = u16::from(*from);
        }
        (row, shifted)
    };
    let mut above = rows(y);
    for row in 0..N {
        let below = rows(y + row + 1);
        let target = to.row_mut(at.0, at.1 + row, N);
        for (column, sample) in target.iter_mut().enumerate() {
            let here = above.0[column];
            *sample = match (half_x, half_y) {
                (true, true) => (here + above.1[column] + below.0[column] + below.1[column] + 2) >> 2,
                (true, false) => (here + above.1[column] + 1) >> 1,
                _ => (here + below.0[column] + 1) >> 1,
            } as u8;
        }
        above = below;
    }
}
