//! Decides how a macroblock is coded, codes it and reconstructs it (H.264 §7.3.5, §8.3, §8.4).

use crate::bits::BitWriter;
use crate::cavlc::{self, Context};
use crate::frame::{Frame, Vector};
use crate::predict::{self, Available, Edge};
use crate::slice::Kind;
use crate::transform::{self, Block, Rounding};

/// The most bits of a macroblock (H.264 §A.3.1: 128 more than its samples).
const MAX_BITS: usize = 3200;

/// Positions of the 4×4 luma blocks in coding order, in blocks (H.264 figure 6-10).
const CODING_ORDER: [(usize, usize); 16] = [
    (0, 0),
    (1, 0),
    (0, 1),
    (1, 1),
    (2, 0),
    (3, 0),
    (2, 1),
    (3, 1),
    (0, 2),
    (1, 2),
    (0, 3),
    (1, 3),
    (2, 2),
    (3, 2),
    (2, 3),
    (3, 3),
];

/// Differences of a macroblock that are neither the same nor something else altogether: from one to 24 a sample.
const FILM: std::ops::Range<u32> = 256..24 * 256;

/// Steps by one sample that are made towards less difference.
const STEPS: usize = 8;

/// Directions to try next to the best of vertical, horizontal and none.
const NEAR_VERTICAL: [u8; 4] = [
    predict::VERTICAL_RIGHT,
    predict::VERTICAL_LEFT,
    predict::DIAGONAL_DOWN_RIGHT,
    predict::DIAGONAL_DOWN_LEFT,
];
const NEAR_HORIZONTAL: [u8; 4] = [
    predict::HORIZONTAL_DOWN,
    predict::HORIZONTAL_UP,
    predict::DIAGONAL_DOWN_RIGHT,
    predict::DIAGONAL_DOWN_LEFT,
];
const DIAGONAL: [u8; 4] = [
    predict::DIAGONAL_DOWN_LEFT,
    predict::DIAGONAL_DOWN_RIGHT,
    predict::VERTICAL_RIGHT,
    predict::HORIZONTAL_DOWN,
];

/// A quarter of a macroblock, as a source of the vector that is expected of another one (H.264 §8.4.1.3.2).
#[derive(Debug, Clone, Copy)]
enum Neighbour {
    /// It is outside the slice, or coded later.
    Unavailable,
    /// It is intra coded, and has no vector.
    Intra,
    /// It is predicted by this vector.
    Inter(Vector),
}

impl Neighbour {
    /// This one if it is available, and otherwise another one.
    fn or_else(self, other: impl FnOnce() -> Self) -> Self {
        match self {
            Neighbour::Unavailable => other(),
            Neighbour::Intra | Neighbour::Inter(_) => self,
        }
    }

    fn vector(self) -> Option<Vector> {
        match self {
            Neighbour::Unavailable | Neighbour::Intra => None,
            Neighbour::Inter(vector) => Some(vector),
        }
    }
}

/// What of a coded macroblock matters to those after it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Macroblock {
    intra: bool,
    /// Of the four 8×8 quarters.
    vectors: [Vector; 4],
    /// Coefficients of each 4×4 luma block, in raster order.
    luma: [u8; 16],
    /// Coefficients of each 4×4 chroma block, without DC.
    chroma: [[u8; 4]; 2],
    /// `Intra4x4PredMode` of each luma block; DC in all other kinds of macroblocks.
    modes: [u8; 16],
}

impl Macroblock {
    /// Skipped, where the picture before has the same.
    pub(crate) const STILL: Self = Self {
        intra: false,
        vectors: [Vector::ZERO; 4],
        luma: [0; 16],
        chroma: [[0; 4]; 2],
        modes: [predict::DC; 16],
    };

    const INTRA: Self = Self { intra: true, ..Self::STILL };

    /// Whether the vectors of macroblocks after this one depend on it.
    pub(crate) fn has_moved(&self) -> bool {
        self.vectors != [Vector::ZERO; 4]
    }
}

/// How a macroblock was coded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Coded {
    /// Nothing was written: it shows the same as before.
    Still,
    /// A vector and no luma residual.
    Moved,
    /// Predicted from the picture before, with a residual.
    Inter,
    /// Predicted from its surroundings.
    Intra,
}

/// Levels of a macroblock, in scan order.
struct Levels {
    /// DC coefficients of Intra_16x16.
    dc: [i16; 16],
    /// 4×4 luma blocks in raster order of blocks.
    luma: [[i16; 16]; 16],
    /// Which of them are not all zero.
    coded: u16,
    chroma_dc: [[i16; 4]; 2],
    chroma_ac: [[[i16; 16]; 4]; 2],
    /// 0: no chroma, 1: DC, 2: DC and AC.
    chroma: u8,
}

impl Levels {
    const NONE: Self = Self {
        dc: [0; 16],
        luma: [[0; 16]; 16],
        coded: 0,
        chroma_dc: [[0; 4]; 2],
        chroma_ac: [[[0; 16]; 4]; 2],
        chroma: 0,
    };

    /// The luma part of the coded block pattern: a bit for each quarter.
    fn luma_pattern(&self) -> u8 {
        let quarters = [0x0033u16, 0x00cc, 0x3300, 0xcc00];
        let bits = quarters.iter().enumerate();
        bits.fold(0, |pattern, (at, quarter)| pattern | u8::from(self.coded & quarter != 0) << at)
    }
}

/// The luma prediction that was chosen.
#[derive(Clone, Copy)]
enum Choice {
    Inter([Vector; 4]),
    Intra16(u8),
    Intra4,
}

/// Codes the macroblocks of a slice.
pub(crate) struct Coder<'a> {
    pub(crate) kind: Kind,
    pub(crate) columns: usize,
    /// The slice's first row of macroblocks.
    pub(crate) first_row: usize,
    /// What is to be shown.
    pub(crate) source: &'a Frame,
    /// What decoders show of the picture before.
    pub(crate) reference: &'a Frame,
    /// What decoders show of this picture; where nothing was coded, the same as `reference`.
    pub(crate) reconstruction: &'a mut Frame,
    pub(crate) macroblocks: &'a mut [Macroblock],
    /// Vectors worth trying for blocks that are not found elsewhere as a whole.
    pub(crate) vectors: &'a [Vector],
    pub(crate) writer: BitWriter,
    /// `QP_Y,PRED`
    pub(crate) last_qp: i32,
    /// Macroblocks skipped since the last one that was not.
    pub(crate) skipped: u32,
}

impl Coder<'_> {
    /// Codes a macroblock that shows the same as before: nothing, unless the vectors around it say that it moved.
    pub(crate) fn still(&mut self, x: usize, y: usize) -> Coded {
        self.moved(x, y, Vector::ZERO, 0)
    }

    /// Codes a macroblock that shows what the picture before has at a distance of `vector`. Chroma that lies
    /// between two samples gets a residual at quantiser `qp` if it needs one.
    pub(crate) fn moved(&mut self, x: usize, y: usize, vector: Vector, qp: i32) -> Coded {
        let mut levels = Levels::NONE;
        if vector != Vector::ZERO {
            self.predict_inter(x, y, [vector; 4]);
            if (vector.x | vector.y) & 1 != 0 && self.chroma_error(x, y, 8, 8) > 256 {
                self.chroma_residual(x, y, qp, Rounding(16), &mut levels);
            }
        }
        let mut this = Macroblock { vectors: [vector; 4], ..Macroblock::STILL };
        self.write_inter(x, y, &mut this, &levels, qp);
        self.macroblocks[y * self.columns + x] = this;
        if vector == Vector::ZERO { Coded::Still } else { Coded::Moved }
    }

    /// Codes a macroblock whose content is new, or improves it. `likenesses` are distances at which its quarters
    /// may find something similar.
    pub(crate) fn new_content(&mut self, x: usize, y: usize, qp: i32, likenesses: [Vector; 4]) -> Coded {
        let writer = self.writer.mark();
        let last_qp = self.last_qp;
        let skipped = self.skipped;
        let mut qp = qp;
        loop {
            let start = self.writer.len_bits();
            let coded = self.try_new_content(x, y, qp, likenesses);
            if self.writer.len_bits() - start <= MAX_BITS || qp >= 51 {
                return coded;
            }
            self.writer.rewind(writer);
            self.last_qp = last_qp;
            self.skipped = skipped;
            qp = (qp + 4).min(51);
        }
    }

    fn try_new_content(&mut self, x: usize, y: usize, qp: i32, likenesses: [Vector; 4]) -> Coded {
        let near = self.near(x, y);
        let lambda = lambda(qp);
        let source: [u8; 256] = self.source.planes[0].square::<16, 256>(16 * x, 16 * y);
        let mut choice = Choice::Intra16(predict::intra_16x16::DC);
        let mut cost = u32::MAX;
        if matches!(self.kind, Kind::P { .. }) {
            let (vectors, inter_cost) = self.best_vectors(x, y, &source, lambda, likenesses);
            choice = Choice::Inter(vectors);
            cost = inter_cost;
        }
        let mut prediction = [0; 256];
        let mut best_16x16 = [0; 256];
        // What is predicted almost exactly is not worth looking for something better.
        let good_enough = 64 + 16 * lambda;
        if cost > good_enough {
            for mode in 0..4 {
                if mode == predict::intra_16x16::PLANE && cost > 16 * 256 {
                    continue; // not a smooth surface
                }
                let plane = &self.reconstruction.planes[0];
                if !predict::luma_16x16(plane, 16 * x, 16 * y, near, mode, &mut prediction) {
                    continue;
                }
                let this_cost = sad(&source, &prediction) + 3 * lambda;
                if this_cost < cost {
                    cost = this_cost;
                    choice = Choice::Intra16(mode);
                    best_16x16 = prediction;
                    if cost == 3 * lambda {
                        break;
                    }
                }
            }
        }
        let mut levels = Levels::NONE;
        let mut this = Macroblock::INTRA;
        if cost > good_enough {
            let cost_4x4 = self.intra_4x4(x, y, near, qp, cost, &mut this, &mut levels);
            if cost_4x4 < cost {
                choice = Choice::Intra4;
            }
        }
        match choice {
            Choice::Inter(vectors) => {
                levels = Levels::NONE;
                this = Macroblock { vectors, ..Macroblock::STILL };
                self.predict_inter(x, y, vectors);
                self.luma_residual(x, y, &source, qp, Rounding(16), &mut levels);
                self.chroma_residual(x, y, qp, Rounding(16), &mut levels);
                self.write_inter(x, y, &mut this, &levels, qp);
            }
            Choice::Intra16(mode) => {
                levels = Levels::NONE;
                this = Macroblock::INTRA;
                self.reconstruction.planes[0].set_square::<16>(16 * x, 16 * y, &best_16x16);
                self.luma_residual_16x16(x, y, &source, qp, &mut levels);
                let chroma_mode = self.predict_chroma(x, y, near);
                self.chroma_residual(x, y, qp, Rounding(21), &mut levels);
                self.write_intra_16x16(x, y, &mut this, &levels, mode, chroma_mode, qp);
            }
            Choice::Intra4 => {
                let chroma_mode = self.predict_chroma(x, y, near);
                self.chroma_residual(x, y, qp, Rounding(21), &mut levels);
                self.write_intra_4x4(x, y, near, &mut this, &levels, chroma_mode, qp);
            }
        }
        self.macroblocks[y * self.columns + x] = this;
        if this.intra { Coded::Intra } else { Coded::Inter }
    }

    /// Which macroblocks around can be used: those of the slice that are coded already (H.264 §6.4.9).
    fn near(&self, x: usize, y: usize) -> Available {
        let left = x > 0;
        let above = y > self.first_row;
        Available { left, above, corner: left && above, above_right: above && x + 1 < self.columns }
    }

    // ---- Inter prediction ----

    /// The vectors of least cost for a macroblock, and the cost: differences of luma samples, and bits.
    fn best_vectors(
        &self,
        x: usize,
        y: usize,
        source: &[u8; 256],
        lambda: u32,
        likenesses: [Vector; 4],
    ) -> ([Vector; 4], u32) {
        let predicted = self.skip_vector(x, y);
        let expected = self.predict_vector(x, y, &[Vector::ZERO; 4], 0, 0, 2);
        let mut best = [(Vector::ZERO, u32::MAX); 4];
        let mut best_whole = (Vector::ZERO, u32::MAX);
        let near = [Vector::ZERO, predicted, expected];
        let consider = |vector: Vector, best: &mut [(Vector, u32); 4], best_whole: &mut (Vector, u32)| {
            if !self.is_inside(x, y, vector) {
                return;
            }
            let costs = self.quarter_costs(x, y, source, vector);
            let bits = lambda * vector_bits(vector, expected);
            let whole = costs.iter().sum::<u32>() + bits;
            if whole < best_whole.1 {
                *best_whole = (vector, whole);
            }
            for (best, cost) in best.iter_mut().zip(costs) {
                if cost + bits < best.1 {
                    *best = (vector, cost + bits);
                }
            }
        };
        for (at, &vector) in near.iter().chain(self.vectors).enumerate() {
            if !near[..at.min(3)].contains(&vector) {
                consider(vector, &mut best, &mut best_whole);
            }
        }
        // Film moves by a little from what is expected; text that differs much is not found by small steps.
        for _ in 0..STEPS {
            let (centre, cost) = best_whole;
            if !FILM.contains(&cost) {
                break;
            }
            for (across, down) in [(0, -1), (-1, 0), (1, 0), (0, 1)] {
                let vector = Vector { x: centre.x + across, y: centre.y + down };
                consider(vector, &mut best, &mut best_whole);
            }
            if best_whole.0 == centre {
                break;
            }
        }
        for (quarter, &vector) in likenesses.iter().enumerate() {
            if vector == Vector::ZERO {
                continue;
            }
            let block_x = 8 * (quarter % 2);
            let block_y = 8 * (quarter / 2);
            let from_x = ((16 * x + block_x) as isize + isize::from(vector.x)) as usize;
            let from_y = ((16 * y + block_y) as isize + isize::from(vector.y)) as usize;
            let mut cost = lambda * vector_bits(vector, expected);
            for at in 0..8 {
                let row = &source[16 * (block_y + at) + block_x..][..8];
                cost += sad_row(row, self.reference.planes[0].row(from_x, from_y + at, 8));
            }
            if cost < best[quarter].1 {
                best[quarter] = (vector, cost);
            }
        }
        let split = best.iter().map(|(_, cost)| cost).sum::<u32>() + 4 * lambda;
        if split < best_whole.1 {
            (best.map(|(vector, _)| vector), split)
        } else {
            ([best_whole.0; 4], best_whole.1)
        }
    }

    /// Whether the macroblock at a distance lies inside of the picture, and the distance is allowed (H.264
    /// table A-1).
    fn is_inside(&self, x: usize, y: usize, vector: Vector) -> bool {
        let plane = &self.reference.planes[0];
        is_inside(plane.width(), plane.height(), x, y, vector)
    }

    /// Differences of the four quarters to what the picture before has at a distance.
    fn quarter_costs(&self, x: usize, y: usize, source: &[u8; 256], vector: Vector) -> [u32; 4] {
        let from_x = (16 * x as isize + isize::from(vector.x)) as usize;
        let from_y = (16 * y as isize + isize::from(vector.y)) as usize;
        let mut costs = [0; 4];
        for (at, row) in source.chunks_exact(16).enumerate() {
            let other = self.reference.planes[0].row(from_x, from_y + at, 16);
            let half = 2 * (at / 8);
            costs[half] += sad_row(&row[..8], &other[..8]);
            costs[half + 1] += sad_row(&row[8..], &other[8..]);
        }
        costs
    }

    /// Writes the prediction of all samples to the reconstruction (H.264 §8.4.2.2).
    fn predict_inter(&mut self, x: usize, y: usize, vectors: [Vector; 4]) {
        let whole = vectors == [vectors[0]; 4];
        for (quarter, &vector) in vectors.iter().enumerate().take(if whole { 1 } else { 4 }) {
            let to_x = 16 * x + 8 * (quarter % 2);
            let to_y = 16 * y + 8 * (quarter / 2);
            let from_x = (to_x as isize + isize::from(vector.x)) as usize;
            let from_y = (to_y as isize + isize::from(vector.y)) as usize;
            let to = &mut self.reconstruction.planes[0];
            if whole {
                to.copy_square::<16>(to_x, to_y, &self.reference.planes[0], from_x, from_y);
            } else {
                to.copy_square::<8>(to_x, to_y, &self.reference.planes[0], from_x, from_y);
            }
            for plane in 1..3 {
                let from = &self.reference.planes[plane];
                let to = &mut self.reconstruction.planes[plane];
                let at = (to_x / 2, to_y / 2);
                if whole {
                    predict::chroma_inter::<8>(from, to, at, vector);
                } else {
                    predict::chroma_inter::<4>(from, to, at, vector);
                }
            }
        }
    }

    /// The vector that a skipped macroblock has here (H.264 §8.4.1.1).
    pub(crate) fn skip_vector(&self, x: usize, y: usize) -> Vector {
        if x == 0 || y == self.first_row {
            return Vector::ZERO;
        }
        let here = y * self.columns + x;
        let left = &self.macroblocks[here - 1];
        let above = &self.macroblocks[here - self.columns];
        let still = |from: &Macroblock, quarter: usize| !from.intra && from.vectors[quarter] == Vector::ZERO;
        if still(left, 1) || still(above, 2) {
            return Vector::ZERO;
        }
        self.predict_vector(x, y, &[Vector::ZERO; 4], 0, 0, 2)
    }

    /// The vector that is expected of a partition from those around it (H.264 §8.4.1.3). The partition begins
    /// at quarter `left`, `top` and is `width` quarters wide; `vectors` are this macroblock's, as far as known.
    fn predict_vector(
        &self,
        x: usize,
        y: usize,
        vectors: &[Vector; 4],
        left: isize,
        top: isize,
        width: isize,
    ) -> Vector {
        let a = self.neighbour(x, y, vectors, left - 1, top);
        let b = self.neighbour(x, y, vectors, left, top - 1);
        let c = self
            .neighbour(x, y, vectors, left + width, top - 1)
            .or_else(|| self.neighbour(x, y, vectors, left - 1, top - 1));
        if let (Neighbour::Inter(a), Neighbour::Unavailable, Neighbour::Unavailable) = (a, b, c) {
            return a;
        }
        let [a, b, c] = [a, b, c].map(Neighbour::vector);
        match (a, b, c) {
            (Some(one), None, None) | (None, Some(one), None) | (None, None, Some(one)) => one,
            _ => {
                let [a, b, c] = [a, b, c].map(Option::unwrap_or_default);
                let median = |a: i16, b: i16, c: i16| a.max(b).min(a.min(b).max(c));
                Vector { x: median(a.x, b.x, c.x), y: median(a.y, b.y, c.y) }
            }
        }
    }

    /// What the quarter at `left`, `top` relative to a macroblock says of its vector.
    fn neighbour(&self, x: usize, y: usize, vectors: &[Vector; 4], left: isize, top: isize) -> Neighbour {
        let near = self.near(x, y);
        let available = match (left, top) {
            (0 | 1, 0 | 1) => return Neighbour::Inter(vectors[(2 * top + left) as usize]),
            (-1, -1) => near.corner,
            (-1, _) => near.left,
            (2, -1) => near.above_right,
            (_, -1) => near.above,
            _ => false, // to the right, coded later
        };
        if !available {
            return Neighbour::Unavailable;
        }
        let column = (x as isize + left.div_euclid(2)) as usize;
        let row = (y as isize + top.div_euclid(2)) as usize;
        let macroblock = &self.macroblocks[row * self.columns + column];
        let quarter = 2 * top.rem_euclid(2) + left.rem_euclid(2);
        if macroblock.intra {
            return Neighbour::Intra;
        }
        Neighbour::Inter(macroblock.vectors[quarter as usize])
    }

    // ---- Intra prediction ----

    /// Predicts, codes and reconstructs the luma blocks one after the other, each with its best mode, and
    /// returns the cost; gives up where it gets higher than `limit`.
    #[allow(clippy::too_many_arguments, reason = "an inner loop with what it needs")]
    fn intra_4x4(
        &mut self,
        x: usize,
        y: usize,
        near: Available,
        qp: i32,
        limit: u32,
        this: &mut Macroblock,
        levels: &mut Levels,
    ) -> u32 {
        let lambda = lambda(qp);
        let mut cost = 6 * lambda;
        for (at, &(column, row)) in CODING_ORDER.iter().enumerate() {
            let available = Available {
                left: near.left || column > 0,
                above: near.above || row > 0,
                corner: match (column, row) {
                    (0, 0) => near.corner,
                    (0, _) => near.left,
                    (_, 0) => near.above,
                    _ => true,
                },
                above_right: match at {
                    3 | 7 | 11 | 13 | 15 => false,
                    5 => near.above_right,
                    _ => near.above || row > 0,
                },
            };
            let block_x = 16 * x + 4 * column;
            let block_y = 16 * y + 4 * row;
            let source: [u8; 16] = self.source.planes[0].square::<4, 16>(block_x, block_y);
            let edge = Edge::new(&self.reconstruction.planes[0], block_x, block_y, available);
            let expected = self.expected_mode(x, y, near, this, column, row);
            let mut best = (u32::MAX, predict::DC, [0; 16]);
            let mut modes: &[u8] = &[predict::VERTICAL, predict::HORIZONTAL, predict::DC];
            for round in 0..2 {
                for &mode in modes {
                    if !edge.allows(mode) {
                        continue;
                    }
                    let prediction = edge.predict(mode);
                    let bits = if mode == expected { 1 } else { 4 };
                    let this_cost = sad(&source, &prediction) + lambda * bits;
                    if this_cost < best.0 {
                        best = (this_cost, mode, prediction);
                    }
                }
                // What fits well needs no other direction; what does not, one near the best so far.
                if round == 1 || best.0 <= 4 * lambda + 8 {
                    break;
                }
                modes = match best.1 {
                    predict::VERTICAL => &NEAR_VERTICAL,
                    predict::HORIZONTAL => &NEAR_HORIZONTAL,
                    _ => &DIAGONAL,
                };
            }
            let (block_cost, mode, prediction) = best;
            cost += block_cost;
            if cost >= limit {
                return cost;
            }
            this.modes[4 * row + column] = mode;
            let residual: Block = std::array::from_fn(|at| i32::from(source[at]) - i32::from(prediction[at]));
            let (quantised, any) = transform::quantise(&transform::forward(&residual), qp, Rounding(21), 0);
            let mut shown = prediction;
            if any {
                levels.luma[4 * row + column] = transform::zig_zag(&quantised, 0);
                levels.coded |= 1 << (4 * row + column);
                let back = transform::inverse(&transform::scale(&quantised, qp));
                shown = add(&shown, &back);
            }
            self.reconstruction.planes[0].set_square::<4>(block_x, block_y, &shown);
        }
        cost
    }

    /// `predIntra4x4PredMode` (H.264 §8.3.1.1).
    fn expected_mode(
        &self,
        x: usize,
        y: usize,
        near: Available,
        this: &Macroblock,
        column: usize,
        row: usize,
    ) -> u8 {
        let here = y * self.columns + x;
        let left = match column {
            0 if !near.left => return predict::DC,
            0 => self.macroblocks[here - 1].modes[4 * row + 3],
            _ => this.modes[4 * row + column - 1],
        };
        let above = match row {
            0 if !near.above => return predict::DC,
            0 => self.macroblocks[here - self.columns].modes[12 + column],
            _ => this.modes[4 * (row - 1) + column],
        };
        left.min(above)
    }

    /// Predicts both chroma planes with their best mode and returns it.
    fn predict_chroma(&mut self, x: usize, y: usize, near: Available) -> u8 {
        let source = [1, 2].map(|plane: usize| self.source.planes[plane].square::<8, 64>(8 * x, 8 * y));
        let mut best = (u32::MAX, predict::chroma::DC, [[0; 64]; 2]);
        for mode in 0..4 {
            let mut prediction = [[0; 64]; 2];
            let fits = (0..2).all(|at| {
                let plane = &self.reconstruction.planes[at + 1];
                predict::chroma_8x8(plane, 8 * x, 8 * y, near, mode, &mut prediction[at])
            });
            if !fits {
                continue;
            }
            let cost = sad(&source[0], &prediction[0]) + sad(&source[1], &prediction[1]);
            if cost < best.0 {
                best = (cost, mode, prediction);
                if cost == 0 {
                    break;
                }
            }
        }
        for (at, prediction) in best.2.iter().enumerate() {
            self.reconstruction.planes[at + 1].set_square::<8>(8 * x, 8 * y, prediction);
        }
        best.1
    }

    // ---- Residuals: the reconstruction holds the prediction, and afterwards what decoders show ----

    fn luma_residual(
        &mut self,
        x: usize,
        y: usize,
        source: &[u8; 256],
        qp: i32,
        rounding: Rounding,
        levels: &mut Levels,
    ) {
        for at in 0..16 {
            let column = at % 4;
            let row = at / 4;
            let block_x = 16 * x + 4 * column;
            let block_y = 16 * y + 4 * row;
            let plane = &mut self.reconstruction.planes[0];
            let prediction: [u8; 16] = plane.square::<4, 16>(block_x, block_y);
            let residual: Block = std::array::from_fn(|sample| {
                let from = 64 * row + 16 * (sample / 4) + 4 * column + sample % 4;
                i32::from(source[from]) - i32::from(prediction[sample])
            });
            if residual == [0; 16] {
                continue;
            }
            let (quantised, any) = transform::quantise(&transform::forward(&residual), qp, rounding, 0);
            if any {
                levels.luma[at] = transform::zig_zag(&quantised, 0);
                levels.coded |= 1 << at;
                let back = transform::inverse(&transform::scale(&quantised, qp));
                plane.set_square::<4>(block_x, block_y, &add(&prediction, &back));
            }
        }
    }

    fn luma_residual_16x16(&mut self, x: usize, y: usize, source: &[u8; 256], qp: i32, levels: &mut Levels) {
        let rounding = Rounding(21);
        let plane = &mut self.reconstruction.planes[0];
        let prediction: [u8; 256] = plane.square::<16, 256>(16 * x, 16 * y);
        if prediction == *source {
            return;
        }
        let mut dc = [0; 16];
        let mut scaled = [[0; 16]; 16];
        for at in 0..16 {
            let residual: Block = std::array::from_fn(|sample| {
                let from = 64 * (at / 4) + 16 * (sample / 4) + 4 * (at % 4) + sample % 4;
                i32::from(source[from]) - i32::from(prediction[from])
            });
            let coefficients = transform::forward(&residual);
            dc[at] = coefficients[0];
            let (quantised, any) = transform::quantise(&coefficients, qp, rounding, 1);
            if any {
                levels.luma[at] = transform::zig_zag(&quantised, 1);
                levels.coded |= 1 << at;
                scaled[at] = transform::scale(&quantised, qp);
            }
        }
        let dc_levels = transform::quantise_luma_dc(&dc, qp, rounding);
        levels.dc = transform::zig_zag(&dc_levels, 0);
        let dc = transform::scale_luma_dc(&dc_levels, qp);
        for at in 0..16 {
            scaled[at][0] = dc[at];
            if scaled[at] == [0; 16] {
                continue;
            }
            let before: [u8; 16] = std::array::from_fn(|sample| {
                prediction[64 * (at / 4) + 16 * (sample / 4) + 4 * (at % 4) + sample % 4]
            });
            let shown = add(&before, &transform::inverse(&scaled[at]));
            plane.set_square::<4>(16 * x + 4 * (at % 4), 16 * y + 4 * (at / 4), &shown);
        }
    }

    fn chroma_residual(&mut self, x: usize, y: usize, qp: i32, rounding: Rounding, levels: &mut Levels) {
        let qp = transform::chroma_qp(qp);
        for at in 0..2 {
            let source: [u8; 64] = self.source.planes[at + 1].square::<8, 64>(8 * x, 8 * y);
            let plane = &mut self.reconstruction.planes[at + 1];
            let prediction: [u8; 64] = plane.square::<8, 64>(8 * x, 8 * y);
            if source == prediction {
                continue;
            }
            let index = |block: usize, sample: usize| {
                32 * (block / 2) + 8 * (sample / 4) + 4 * (block % 2) + sample % 4
            };
            let mut dc = [0; 4];
            let mut scaled = [[0; 16]; 4];
            for block in 0..4 {
                let residual: Block = std::array::from_fn(|sample| {
                    let from = index(block, sample);
                    i32::from(source[from]) - i32::from(prediction[from])
                });
                let coefficients = transform::forward(&residual);
                dc[block] = coefficients[0];
                let (quantised, any) = transform::quantise(&coefficients, qp, rounding, 1);
                if any {
                    levels.chroma_ac[at][block] = transform::zig_zag(&quantised, 1);
                    levels.chroma = 2;
                    scaled[block] = transform::scale(&quantised, qp);
                }
            }
            let dc_levels = transform::quantise_chroma_dc(dc, qp, rounding);
            if dc_levels != [0; 4] {
                levels.chroma = levels.chroma.max(1);
            }
            levels.chroma_dc[at] = dc_levels.map(|level| level as i16);
            let dc = transform::scale_chroma_dc(dc_levels, qp);
            for block in 0..4 {
                scaled[block][0] = dc[block];
                if scaled[block] == [0; 16] {
                    continue;
                }
                let before: [u8; 16] = std::array::from_fn(|sample| prediction[index(block, sample)]);
                let shown = add(&before, &transform::inverse(&scaled[block]));
                plane.set_square::<4>(8 * x + 4 * (block % 2), 8 * y + 4 * (block / 2), &shown);
            }
        }
    }

    /// Squared differences of luma between what is to be shown and what is, in the upper left `width` × `height`
    /// samples.
    pub(crate) fn luma_error(&self, x: usize, y: usize, width: usize, height: usize) -> u32 {
        let wanted = &self.source.planes[0];
        let shown = &self.reconstruction.planes[0];
        let rows = 16 * y..16 * y + height;
        rows.map(|row| squares(wanted.row(16 * x, row, width), shown.row(16 * x, row, width))).sum()
    }

    /// The same of both chroma planes, in the upper left `width` × `height` samples of each.
    pub(crate) fn chroma_error(&self, x: usize, y: usize, width: usize, height: usize) -> u32 {
        let error = |plane: usize| -> u32 {
            let wanted = &self.source.planes[plane];
            let shown = &self.reconstruction.planes[plane];
            let rows = 8 * y..8 * y + height;
            rows.map(|row| squares(wanted.row(8 * x, row, width), shown.row(8 * x, row, width))).sum()
        };
        error(1) + error(2)
    }

    // ---- Syntax (H.264 §7.3.5) ----

    /// `mb_skip_run` before a macroblock that is not skipped.
    fn write_skips(&mut self) {
        if matches!(self.kind, Kind::P { .. }) {
            self.writer.ue(self.skipped);
            self.skipped = 0;
        }
    }

    /// `mb_qp_delta`
    fn write_qp(&mut self, qp: i32) {
        let delta = qp - self.last_qp;
        // Modulo 52, nearest to zero (H.264 §7.4.5).
        let delta = if delta > 25 {
            delta - 52
        } else if delta < -26 {
            delta + 52
        } else {
            delta
        };
        self.writer.se(delta);
        self.last_qp = qp;
    }

    fn write_inter(&mut self, x: usize, y: usize, this: &mut Macroblock, levels: &Levels, qp: i32) {
        let vectors = this.vectors;
        let pattern = levels.luma_pattern() | levels.chroma << 4;
        let whole = vectors == [vectors[0]; 4];
        if pattern == 0 && whole && vectors[0] == self.skip_vector(x, y) {
            self.skipped += 1;
            return;
        }
        self.write_skips();
        // mb_type and the partitions: left, top, width.
        let (kind, partitions): (u32, &[(isize, isize, isize)]) = if whole {
            (0, &[(0, 0, 2)])
        } else if vectors[0] == vectors[1] && vectors[2] == vectors[3] {
            (1, &[(0, 0, 2), (0, 1, 2)])
        } else if vectors[0] == vectors[2] && vectors[1] == vectors[3] {
            (2, &[(0, 0, 1), (1, 0, 1)])
        } else {
            (3, &[(0, 0, 1), (1, 0, 1), (0, 1, 1), (1, 1, 1)])
        };
        self.writer.ue(kind);
        if kind == 3 {
            self.writer.put(0b1111, 4); // sub_mb_type P_L0_8x8 four times
        }
        for &(left, top, width) in partitions {
            let expected = self.partition_vector(x, y, &vectors, kind, left, top, width);
            let vector = vectors[(2 * top + left) as usize];
            self.writer.se(4 * (i32::from(vector.x) - i32::from(expected.x)));
            self.writer.se(4 * (i32::from(vector.y) - i32::from(expected.y)));
        }
        cavlc::coded_block_pattern(pattern, false, &mut self.writer);
        if pattern != 0 {
            self.write_qp(qp);
            self.write_luma(x, y, this, levels, false);
            self.write_chroma(x, y, this, levels);
        }
    }

    /// The vector that is expected of a partition, by the kind of partitioning (H.264 §8.4.1.3).
    #[allow(clippy::too_many_arguments, reason = "a partition's place")]
    fn partition_vector(
        &self,
        x: usize,
        y: usize,
        vectors: &[Vector; 4],
        kind: u32,
        left: isize,
        top: isize,
        width: isize,
    ) -> Vector {
        // Halves take the vector from the side that they have for themselves.
        let directed = match (kind, left, top) {
            (1, _, 0) => self.neighbour(x, y, vectors, 0, -1),
            (1, _, _) => self.neighbour(x, y, vectors, -1, 1),
            (2, 0, _) => self.neighbour(x, y, vectors, -1, 0),
            (2, _, _) => {
                self.neighbour(x, y, vectors, 2, -1).or_else(|| self.neighbour(x, y, vectors, 0, -1))
            }
            _ => Neighbour::Unavailable,
        };
        match directed.vector() {
            Some(vector) => vector,
            None => self.predict_vector(x, y, vectors, left, top, width),
        }
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of a macroblock")]
    fn write_intra_16x16(
        &mut self,
        x: usize,
        y: usize,
        this: &mut Macroblock,
        levels: &Levels,
        mode: u8,
        chroma_mode: u8,
        qp: i32,
    ) {
        self.write_skips();
        let kind =
            1 + u32::from(mode) + 4 * u32::from(levels.chroma) + if levels.coded != 0 { 12 } else { 0 };
        self.writer.ue(kind + self.intra_offset());
        self.writer.ue(u32::from(chroma_mode));
        self.write_qp(qp);
        let context = self.luma_context(x, y, this, 0, 0);
        cavlc::block(&levels.dc, context, &mut self.writer);
        if levels.coded != 0 {
            self.write_luma(x, y, this, levels, true);
        }
        self.write_chroma(x, y, this, levels);
    }

    #[allow(clippy::too_many_arguments, reason = "the fields of a macroblock")]
    fn write_intra_4x4(
        &mut self,
        x: usize,
        y: usize,
        near: Available,
        this: &mut Macroblock,
        levels: &Levels,
        chroma_mode: u8,
        qp: i32,
    ) {
        self.write_skips();
        self.writer.ue(self.intra_offset());
        for (column, row) in CODING_ORDER {
            let mode = this.modes[4 * row + column];
            let expected = self.expected_mode(x, y, near, this, column, row);
            if mode == expected {
                self.writer.put(1, 1);
            } else {
                self.writer.put(u32::from(mode - u8::from(mode > expected)), 4);
            }
        }
        self.writer.ue(u32::from(chroma_mode));
        let pattern = levels.luma_pattern() | levels.chroma << 4;
        cavlc::coded_block_pattern(pattern, true, &mut self.writer);
        if pattern != 0 {
            self.write_qp(qp);
            self.write_luma(x, y, this, levels, false);
            self.write_chroma(x, y, this, levels);
        }
    }

    /// What `mb_type` of an intra macroblock begins at (H.264 tables 7-11, 7-13).
    fn intra_offset(&self) -> u32 {
        match self.kind {
            Kind::Idr { .. } => 0,
            Kind::P { .. } => 5,
        }
    }

    /// Writes the luma blocks: all quarters of Intra_16x16, otherwise those of the coded block pattern.
    fn write_luma(&mut self, x: usize, y: usize, this: &mut Macroblock, levels: &Levels, intra_16x16: bool) {
        let pattern = levels.luma_pattern();
        for (at, (column, row)) in CODING_ORDER.into_iter().enumerate() {
            if !intra_16x16 && pattern >> (at / 4) & 1 == 0 {
                continue;
            }
            let context = self.luma_context(x, y, this, column, row);
            let index = 4 * row + column;
            let block = &levels.luma[index][..if intra_16x16 { 15 } else { 16 }];
            this.luma[index] = cavlc::block(block, context, &mut self.writer);
        }
    }

    fn write_chroma(&mut self, x: usize, y: usize, this: &mut Macroblock, levels: &Levels) {
        if levels.chroma == 0 {
            return;
        }
        for dc in &levels.chroma_dc {
            cavlc::block(dc, Context::ChromaDc, &mut self.writer);
        }
        if levels.chroma == 1 {
            return;
        }
        for plane in 0..2 {
            for block in 0..4 {
                let context = self.chroma_context(x, y, this, plane, block % 2, block / 2);
                let levels = &levels.chroma_ac[plane][block][..15];
                this.chroma[plane][block] = cavlc::block(levels, context, &mut self.writer);
            }
        }
    }

    /// `nC` of a luma block (H.264 §9.2.1).
    fn luma_context(&self, x: usize, y: usize, this: &Macroblock, column: usize, row: usize) -> Context {
        let here = y * self.columns + x;
        let left = match column {
            0 if x == 0 => None,
            0 => Some(self.macroblocks[here - 1].luma[4 * row + 3]),
            _ => Some(this.luma[4 * row + column - 1]),
        };
        let above = match row {
            0 if y == self.first_row => None,
            0 => Some(self.macroblocks[here - self.columns].luma[12 + column]),
            _ => Some(this.luma[4 * (row - 1) + column]),
        };
        context(left, above)
    }

    /// `nC` of a chroma block.
    fn chroma_context(
        &self,
        x: usize,
        y: usize,
        this: &Macroblock,
        plane: usize,
        column: usize,
        row: usize,
    ) -> Context {
        let here = y * self.columns + x;
        let left = match column {
            0 if x == 0 => None,
            0 => Some(self.macroblocks[here - 1].chroma[plane][2 * row + 1]),
            _ => Some(this.chroma[plane][2 * row]),
        };
        let above = match row {
            0 if y == self.first_row => None,
            0 => Some(self.macroblocks[here - self.columns].chroma[plane][2 + column]),
            _ => Some(this.chroma[plane][column]),
        };
        context(left, above)
    }
}

fn context(left: Option<u8>, above: Option<u8>) -> Context {
    Context::Neighbours(match (left, above) {
        (Some(left), Some(above)) => (left + above + 1) >> 1,
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => 0,
    })
}

/// Whether the macroblock at a distance lies inside of a picture of so many samples, and the distance is allowed
/// at every level in use (H.264 table A-1).
pub(crate) fn is_inside(width: usize, height: usize, x: usize, y: usize, vector: Vector) -> bool {
    let from_x = 16 * x as isize + isize::from(vector.x);
    let from_y = 16 * y as isize + isize::from(vector.y);
    from_x >= 0
        && from_y >= 0
        && from_x + 16 <= width as isize
        && from_y + 16 <= height as isize
        && vector.x.abs() < 2048
        && vector.y.abs() < 512
}

/// What a bit is worth, in differences of samples.
fn lambda(qp: i32) -> u32 {
    ((f64::from(qp - 12) / 6.0).exp2().round() as u32).max(1)
}

/// About how many bits a vector takes.
fn vector_bits(vector: Vector, expected: Vector) -> u32 {
    let bits = |difference: i32| 2 * (8 * difference.unsigned_abs() + 1).ilog2() + 1;
    bits(i32::from(vector.x) - i32::from(expected.x)) + bits(i32::from(vector.y) - i32::from(expected.y))
}

/// The sum of absolute differences.
#[inline]
fn sad_row(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum()
}

#[inline]
fn sad<const N: usize>(a: &[u8; N], b: &[u8; N]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b))).sum()
}

#[inline]
fn squares(a: &[u8], b: &[u8]) -> u32 {
    a.iter().zip(b).map(|(&a, &b)| u32::from(a.abs_diff(b)).pow(2)).sum()
}

/// A prediction and its residual, in the range of samples.
#[inline]
fn add(prediction: &[u8; 16], residual: &Block) -> [u8; 16] {
    std::array::from_fn(|at| (i32::from(prediction[at]) + residual[at]).clamp(0, 255) as u8)
}
