//! The 4×4 integer transform, the Hadamard transforms of DC coefficients, and quantisation (H.264 §8.5).
//!
//! Blocks are rows of four values from top to bottom; levels that are written are in zig-zag order.

use crate::cavlc::MAX_LEVEL;

/// A 4×4 block in raster order.
pub(crate) type Block = [i32; 16];

/// Raster index of each coefficient in zig-zag order (H.264 figure 8-8 a).
const ZIG_ZAG: [usize; 16] = [0, 1, 4, 8, 5, 2, 3, 6, 9, 12, 13, 10, 7, 11, 14, 15];

/// `normAdjust4x4` (H.264 §8.5.9) by quantiser modulo 6: corners, centres, others.
const SCALE: [[i32; 3]; 6] =
    [[10, 16, 13], [11, 18, 14], [13, 20, 16], [14, 23, 18], [16, 25, 20], [18, 29, 23]];

/// Reciprocals of [`SCALE`] with the norms of the forward transform, times 2^15: what a coefficient is
/// multiplied by to be quantised.
const RECIPROCAL: [[i32; 3]; 6] = [
    [13107, 5243, 8066],
    [11916, 4660, 7490],
    [10082, 4194, 6554],
    [9362, 3647, 5825],
    [8192, 3355, 5243],
    [7282, 2893, 4559],
];

/// Which entry of a row of [`SCALE`] a raster index has.
const fn class(index: usize) -> usize {
    match (index / 4 % 2, index % 2) {
        (0, 0) => 0,
        (1, 1) => 1,
        _ => 2,
    }
}

/// Spreads a table over all indices.
const fn spread(table: [[i32; 3]; 6]) -> [Block; 6] {
    let mut all = [[0; 16]; 6];
    let mut remainder = 0;
    while remainder < 6 {
        let mut index = 0;
        while index < 16 {
            all[remainder][index] = table[remainder][class(index)];
            index += 1;
        }
        remainder += 1;
    }
    all
}

const SCALES: [Block; 6] = spread(SCALE);
const RECIPROCALS: [Block; 6] = spread(RECIPROCAL);

/// Chroma's quantiser for luma's, from 30 on; below they are the same (H.264 table 8-15).
const CHROMA_QP: [u8; 22] =
    [29, 30, 31, 32, 32, 33, 34, 34, 35, 35, 36, 36, 37, 37, 37, 38, 38, 38, 39, 39, 39, 39];

/// Chroma's quantiser for luma's.
pub(crate) fn chroma_qp(qp: i32) -> i32 {
    if qp < 30 { qp } else { i32::from(CHROMA_QP[(qp - 30) as usize]) }
}

/// How a quantiser rounds: the share of a step, in sixty-fourths, from which a value goes up.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rounding(pub(crate) i32);

/// The forward transform, not normalised.
#[inline(always)]
pub(crate) fn forward(block: &Block) -> Block {
    let mut rows = [0; 16];
    for at in 0..4 {
        let row = &block[4 * at..4 * at + 4];
        let outer = row[0] + row[3];
        let inner = row[1] + row[2];
        let outer_difference = row[0] - row[3];
        let inner_difference = row[1] - row[2];
        rows[4 * at] = outer + inner;
        rows[4 * at + 1] = 2 * outer_difference + inner_difference;
        rows[4 * at + 2] = outer - inner;
        rows[4 * at + 3] = outer_difference - 2 * inner_difference;
    }
    let mut out = [0; 16];
    for at in 0..4 {
        let outer = rows[at] + rows[at + 12];
        let inner = rows[at + 4] + rows[at + 8];
        let outer_difference = rows[at] - rows[at + 12];
        let inner_difference = rows[at + 4] - rows[at + 8];
        out[at] = outer + inner;
        out[at + 4] = 2 * outer_difference + inner_difference;
        out[at + 8] = outer - inner;
        out[at + 12] = outer_difference - 2 * inner_difference;
    }
    out
}

/// The inverse transform of scaled coefficients (H.264 §8.5.12.2): a residual.
#[inline(always)]
pub(crate) fn inverse(block: &Block) -> Block {
    let mut rows = [0; 16];
    for at in 0..4 {
        let row = &block[4 * at..4 * at + 4];
        let even_sum = row[0] + row[2];
        let even_difference = row[0] - row[2];
        let odd_difference = (row[1] >> 1) - row[3];
        let odd_sum = row[1] + (row[3] >> 1);
        rows[4 * at] = even_sum + odd_sum;
        rows[4 * at + 1] = even_difference + odd_difference;
        rows[4 * at + 2] = even_difference - odd_difference;
        rows[4 * at + 3] = even_sum - odd_sum;
    }
    let mut out = [0; 16];
    for at in 0..4 {
        let even_sum = rows[at] + rows[at + 8];
        let even_difference = rows[at] - rows[at + 8];
        let odd_difference = (rows[at + 4] >> 1) - rows[at + 12];
        let odd_sum = rows[at + 4] + (rows[at + 12] >> 1);
        out[at] = (even_sum + odd_sum + 32) >> 6;
        out[at + 4] = (even_difference + odd_difference + 32) >> 6;
        out[at + 8] = (even_difference - odd_difference + 32) >> 6;
        out[at + 12] = (even_sum - odd_sum + 32) >> 6;
    }
    out
}

/// Quantises one coefficient: `reciprocal` is times 2^`bits`.
#[inline(always)]
fn quantise_one(value: i32, reciprocal: i32, offset: i32, bits: i32) -> i32 {
    let magnitude = ((value.abs() * reciprocal + offset) >> bits).min(MAX_LEVEL);
    if value < 0 { -magnitude } else { magnitude }
}

/// Quantises coefficients from `first` on. Returns levels in raster order and whether one is not zero.
#[inline(always)]
pub(crate) fn quantise(coefficients: &Block, qp: i32, rounding: Rounding, first: usize) -> (Block, bool) {
    let bits = 15 + qp / 6;
    let offset = rounding.0 << (bits - 6);
    let reciprocals = &RECIPROCALS[(qp % 6) as usize];
    let mut levels = [0; 16];
    let mut any = 0;
    for at in 0..16 {
        levels[at] = quantise_one(coefficients[at], reciprocals[at], offset, bits);
    }
    levels[..first].fill(0);
    for level in levels {
        any |= level;
    }
    (levels, any != 0)
}

/// Scales levels (raster order) to coefficients of the inverse transform (H.264 §8.5.12.1).
#[inline(always)]
pub(crate) fn scale(levels: &Block, qp: i32) -> Block {
    let scales = &SCALES[(qp % 6) as usize];
    let mut out = [0; 16];
    for at in 0..16 {
        out[at] = (levels[at] * scales[at]) << (qp / 6);
    }
    out
}

/// Levels in zig-zag order, from the one at `first` on; the remaining places are zero.
#[inline(always)]
pub(crate) fn zig_zag(levels: &Block, first: usize) -> [i16; 16] {
    let mut out = [0; 16];
    for (to, &from) in out.iter_mut().zip(&ZIG_ZAG[first..]) {
        *to = levels[from] as i16;
    }
    out
}

/// The 4×4 Hadamard transform.
fn hadamard(block: &Block) -> Block {
    let mut rows = [0; 16];
    for at in 0..4 {
        let row = &block[4 * at..4 * at + 4];
        let [a, b, c, d] = [row[0] + row[1], row[0] - row[1], row[2] + row[3], row[2] - row[3]];
        rows[4 * at] = a + c;
        rows[4 * at + 1] = a - c;
        rows[4 * at + 2] = b - d;
        rows[4 * at + 3] = b + d;
    }
    let mut out = [0; 16];
    for at in 0..4 {
        let a = rows[at] + rows[at + 4];
        let b = rows[at] - rows[at + 4];
        let c = rows[at + 8] + rows[at + 12];
        let d = rows[at + 8] - rows[at + 12];
        out[at] = a + c;
        out[at + 4] = a - c;
        out[at + 8] = b - d;
        out[at + 12] = b + d;
    }
    out
}

/// Transforms and quantises the DC coefficients of the 16 luma blocks (raster order) of an Intra_16x16
/// macroblock.
pub(crate) fn quantise_luma_dc(dc: &Block, qp: i32, rounding: Rounding) -> Block {
    let bits = 16 + qp / 6;
    let offset = rounding.0 << (bits - 6);
    let reciprocal = RECIPROCAL[(qp % 6) as usize][0];
    hadamard(dc).map(|value| quantise_one((value + (value > 0) as i32) >> 1, reciprocal, offset, bits))
}

/// The scaled DC coefficients from their levels (H.264 §8.5.10).
pub(crate) fn scale_luma_dc(levels: &Block, qp: i32) -> Block {
    let scale = SCALE[(qp % 6) as usize][0];
    let shift = qp / 6;
    hadamard(levels).map(|value| {
        if shift >= 2 {
            (value * scale) << (shift - 2)
        } else {
            (value * scale + (1 << (1 - shift))) >> (2 - shift)
        }
    })
}

/// The 2×2 Hadamard transform.
fn hadamard_2x2([a, b, c, d]: [i32; 4]) -> [i32; 4] {
    [a + b + c + d, a - b + c - d, a + b - c - d, a - b - c + d]
}

/// Transforms and quantises the DC coefficients of the four blocks of a chroma plane. `qp` is chroma's.
pub(crate) fn quantise_chroma_dc(dc: [i32; 4], qp: i32, rounding: Rounding) -> [i32; 4] {
    let bits = 16 + qp / 6;
    let offset = rounding.0 << (bits - 6);
    let reciprocal = RECIPROCAL[(qp % 6) as usize][0];
    hadamard_2x2(dc).map(|value| quantise_one(value, reciprocal, offset, bits))
}

/// The scaled DC coefficients from their levels (H.264 §8.5.11).
pub(crate) fn scale_chroma_dc(levels: [i32; 4], qp: i32) -> [i32; 4] {
    let scale = SCALE[(qp % 6) as usize][0];
    hadamard_2x2(levels).map(|value| ((value * scale) << (qp / 6)) >> 1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Half the quantiser's step, in samples, rounded up (H.264 §8.5: the step doubles every 6).
    fn half_step(qp: i32) -> i32 {
        let steps = [0.625, 0.6875, 0.8125, 0.875, 1.0, 1.125];
        let step = steps[(qp % 6) as usize] * f64::from(1 << (qp / 6));
        (step / 2.0).ceil() as i32
    }

    proptest! {
        #[test]
        fn a_residual_comes_back_within_some_steps(
            block in prop::array::uniform16(-255i32..=255), qp in 0..=51i32,
        ) {
            let (levels, _) = quantise(&forward(&block), qp, Rounding(32), 0);
            let back = inverse(&scale(&levels, qp));
            for (a, b) in block.iter().zip(back) {
                prop_assert!((a - b).abs() <= 1 + 4 * half_step(qp), "{} {} at {}", a, b, qp);
            }
        }
    }

    #[test]
    fn chroma_is_quantised_less_coarsely_where_luma_is_very_coarse() {
        assert_eq!([0, 29, 30, 34, 39, 51].map(chroma_qp), [0, 29, 29, 32, 35, 39]);
    }
}
