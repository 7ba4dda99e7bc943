//! Pictures: what comes in, and what the encoder keeps.

use crate::Error;

/// A picture to encode: planes Y, U and V of 8 bits, chroma at half the resolution both ways (4:2:0).
#[derive(Debug, Clone, Copy)]
pub struct Picture<'a> {
    pub(crate) width: usize,
    pub(crate) height: usize,
    pub(crate) planes: [&'a [u8]; 3],
    pub(crate) strides: [usize; 3],
}

impl<'a> Picture<'a> {
    /// A picture of `width` × `height` luma samples. Rows of a plane begin `strides` bytes apart.
    ///
    /// # Errors
    /// [`Error::Size`] if a side is odd or zero; [`Error::Plane`] if a plane has less than its rows, or a stride
    /// is shorter than a row.
    pub fn new(width: u32, height: u32, planes: [&'a [u8]; 3], strides: [usize; 3]) -> Result<Self, Error> {
        if width == 0 || height == 0 || !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Error::Size { width, height });
        }
        let width = width as usize;
        let height = height as usize;
        for (at, name) in ["Y", "U", "V"].into_iter().enumerate() {
            let row = if at == 0 { width } else { width / 2 };
            let rows = if at == 0 { height } else { height / 2 };
            let needed = strides[at].checked_mul(rows - 1).and_then(|len| len.checked_add(row));
            if strides[at] < row || needed.is_none_or(|needed| planes[at].len() < needed) {
                return Err(Error::Plane { name, len: planes[at].len(), stride: strides[at] });
            }
        }
        Ok(Self { width, height, planes, strides })
    }

    /// The luma samples from `x` on in row `y`.
    #[inline]
    pub(crate) fn luma(&self, x: usize, y: usize, count: usize) -> &'a [u8] {
        let at = y * self.strides[0] + x;
        &self.planes[0][at..at + count]
    }

    /// Samples of a plane from `x` on in row `y`.
    #[inline]
    pub(crate) fn row(&self, plane: usize, x: usize, y: usize, count: usize) -> &'a [u8] {
        let at = y * self.strides[plane] + x;
        &self.planes[plane][at..at + count]
    }
}

/// A rectangle in luma samples. What lies outside of the picture is ignored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rect {
    /// Distance from the left.
    pub x: u32,
    /// Distance from the top.
    pub y: u32,
    /// Extent to the right.
    pub width: u32,
    /// Extent downwards.
    pub height: u32,
}

/// A distance in whole luma samples, from a block to where its content was in the picture before: positive to
/// the right and downwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub struct Vector {
    /// Luma samples to the right.
    pub x: i16,
    /// Luma samples downwards.
    pub y: i16,
}

impl Vector {
    /// No motion.
    pub(crate) const ZERO: Self = Self { x: 0, y: 0 };
}

/// A plane of whole macroblocks.
#[derive(Debug, Clone)]
pub(crate) struct Plane {
    stride: usize,
    height: usize,
    data: Vec<u8>,
}

impl Plane {
    fn new(width: usize, height: usize, value: u8) -> Self {
        Self { stride: width, height, data: vec![value; width * height] }
    }

    pub(crate) fn width(&self) -> usize {
        self.stride
    }

    pub(crate) fn height(&self) -> usize {
        self.height
    }

    pub(crate) fn data(&self) -> &[u8] {
        &self.data
    }

    /// `count` samples from `x` on in row `y`.
    #[inline]
    pub(crate) fn row(&self, x: usize, y: usize, count: usize) -> &[u8] {
        let at = y * self.stride + x;
        &self.data[at..at + count]
    }

    /// The same, to be written to.
    #[inline]
    pub(crate) fn row_mut(&mut self, x: usize, y: usize, count: usize) -> &mut [u8] {
        let at = y * self.stride + x;
        &mut self.data[at..at + count]
    }

    /// The square of `N` by `N` (`L` in all) samples at `x`, `y`.
    #[inline]
    pub(crate) fn square<const N: usize, const L: usize>(&self, x: usize, y: usize) -> [u8; L] {
        let mut out = [0; L];
        for (at, row) in out.chunks_exact_mut(N).enumerate() {
            row.copy_from_slice(self.row_of::<N>(x, y + at));
        }
        out
    }

    /// Writes a square of `N` by `N` samples at `x`, `y`.
    #[inline]
    pub(crate) fn set_square<const N: usize>(&mut self, x: usize, y: usize, samples: &[u8]) {
        for (at, row) in samples.chunks_exact(N).enumerate() {
            self.row_mut(x, y + at, N).copy_from_slice(row);
        }
    }
}

impl Plane {
    /// Copies a square of `N` by `N` samples to `x`, `y` from another plane.
    #[inline]
    pub(crate) fn copy_square<const N: usize>(
        &mut self,
        x: usize,
        y: usize,
        from: &Self,
        from_x: usize,
        from_y: usize,
    ) {
        for at in 0..N {
            let source: &[u8; N] = from.row_of(from_x, from_y + at);
            self.row_mut(x, y + at, N).copy_from_slice(source);
        }
    }

    /// `N` samples from `x` on in row `y`.
    #[inline]
    pub(crate) fn row_of<const N: usize>(&self, x: usize, y: usize) -> &[u8; N] {
        self.row(x, y, N).first_chunk().expect("the row has N samples")
    }
}

/// A picture of whole macroblocks: Y, U and V.
#[derive(Debug, Clone)]
pub(crate) struct Frame {
    pub(crate) planes: [Plane; 3],
}

impl Frame {
    /// A grey picture of so many macroblocks.
    pub(crate) fn new(columns: usize, rows: usize) -> Self {
        let chroma = Plane::new(8 * columns, 8 * rows, 128);
        Self { planes: [Plane::new(16 * columns, 16 * rows, 128), chroma.clone(), chroma] }
    }

    /// Copies a macroblock from a picture; beyond the picture's edges, the last samples are repeated.
    pub(crate) fn load(&mut self, picture: &Picture<'_>, column: usize, row: usize) {
        for (at, plane) in self.planes.iter_mut().enumerate() {
            let side = if at == 0 { 16 } else { 8 };
            let width = if at == 0 { picture.width } else { picture.width / 2 };
            let height = if at == 0 { picture.height } else { picture.height / 2 };
            let x = column * side;
            let inside = side.min(width - x);
            for y in row * side..(row + 1) * side {
                let from = picture.row(at, x, y.min(height - 1), inside);
                let to = plane.row_mut(x, y, side);
                if let (Some(to), Some(from)) = (to.first_chunk_mut::<16>(), from.first_chunk::<16>()) {
                    *to = *from;
                    continue;
                }
                if let (8, Some(to), Some(from)) = (side, to.first_chunk_mut::<8>(), from.first_chunk::<8>())
                {
                    *to = *from;
                    continue;
                }
                to[..inside].copy_from_slice(from);
                to[inside..].fill(from[inside - 1]);
            }
        }
    }

    /// Whether a macroblock shows the same as in `picture`.
    pub(crate) fn shows(&self, picture: &Picture<'_>, column: usize, row: usize) -> bool {
        self.matches(picture, column, row, Vector::ZERO)
    }

    /// Whether a macroblock of `picture` shows what is here at a distance of `vector`, which lies inside.
    pub(crate) fn matches(&self, picture: &Picture<'_>, column: usize, row: usize, vector: Vector) -> bool {
        let x = 16 * column;
        let y = 16 * row;
        let width = 16.min(picture.width - x);
        let height = 16.min(picture.height - y);
        let from_x = (x as isize + isize::from(vector.x)) as usize;
        let from_y = (y as isize + isize::from(vector.y)) as usize;
        let same = |at| same(picture.luma(x, y + at, width), self.planes[0].row(from_x, from_y + at, width));
        // Odd distances have chroma between two samples: the residual says how well that fits.
        (0..height).all(same)
            && (vector.x % 2 != 0
                || vector.y % 2 != 0
                || (1..3).all(|plane| {
                    (0..height / 2).all(|at| {
                        let here = picture.row(plane, x / 2, y / 2 + at, width / 2);
                        here == self.planes[plane].row(from_x / 2, from_y / 2 + at, width / 2)
                    })
                }))
    }

    /// Copies a macroblock from a frame of the same size.
    pub(crate) fn copy(&mut self, from: &Self, column: usize, row: usize) {
        let x = 16 * column;
        let y = 16 * row;
        self.planes[0].copy_square::<16>(x, y, &from.planes[0], x, y);
        for plane in 1..3 {
            self.planes[plane].copy_square::<8>(x / 2, y / 2, &from.planes[plane], x / 2, y / 2);
        }
    }
}

/// Whether rows are the same; those of whole macroblocks are compared at once.
#[inline]
fn same(a: &[u8], b: &[u8]) -> bool {
    match (<&[u8; 16]>::try_from(a), <&[u8; 16]>::try_from(b)) {
        (Ok(a), Ok(b)) => a == b,
        _ => a == b,
    }
}
