//! BGRX to I420 (BT.709, limited range), a strip of rows at a time.
//!
//! Chroma is sampled once for two rows, so strips begin and end at even rows; a picture converted
//! strip by strip is then the same as one converted at once.

use std::ops::Range;

use yuv::{
    BufferStoreMut, YuvConversionMode, YuvPlanarImageMut, YuvRange, YuvStandardMatrix, bgra_to_yuv420,
};

use super::Error;
use crate::media::Size;

/// A picture as the encoder takes it: planes Y, U, V without padding, even width and height.
pub struct I420 {
    size: Size,
    y: Vec<u8>,
    u: Vec<u8>,
    v: Vec<u8>,
}

impl Clone for I420 {
    fn clone(&self) -> Self {
        Self { size: self.size, y: self.y.clone(), u: self.u.clone(), v: self.v.clone() }
    }

    /// Without new memory if there is enough.
    fn clone_from(&mut self, other: &Self) {
        self.size = other.size;
        self.y.clone_from(&other.y);
        self.u.clone_from(&other.u);
        self.v.clone_from(&other.v);
    }
}

impl I420 {
    /// A black picture.
    ///
    /// # Errors
    /// [`Error::Size`] if a side is odd or zero.
    pub fn new(size: Size) -> Result<Self, Error> {
        let Size { width, height } = size;
        if width == 0 || height == 0 || !width.is_multiple_of(2) || !height.is_multiple_of(2) {
            return Err(Error::Size { width, height });
        }
        let luma = width as usize * height as usize;
        Ok(Self { size, y: vec![16; luma], u: vec![128; luma / 4], v: vec![128; luma / 4] })
    }

    /// Its size in pixels.
    pub fn size(&self) -> Size {
        self.size
    }

    /// Y, U and V.
    pub fn planes(&self) -> (&[u8], &[u8], &[u8]) {
        (&self.y, &self.u, &self.v)
    }

    /// Y, U and V, to be written to.
    pub fn planes_mut(&mut self) -> (&mut [u8], &mut [u8], &mut [u8]) {
        (&mut self.y, &mut self.u, &mut self.v)
    }

    /// Converts `rows`, which begin and end at even rows. `pixels` are these rows alone, BGRX, one
    /// every `stride` bytes; what is to the right of the picture is left out.
    ///
    /// # Errors
    /// [`Error::Convert`] when the rows are not in the picture or `pixels` has not enough of them.
    pub fn convert(&mut self, rows: Range<u32>, pixels: &[u8], stride: usize) -> Result<(), Error> {
        if rows.is_empty() {
            return Ok(());
        }
        if rows.end > self.size.height || !rows.start.is_multiple_of(2) || !rows.end.is_multiple_of(2) {
            return Err(Error::Convert(format!("rows {rows:?} of a picture of {:?}", self.size)));
        }
        let width = self.size.width;
        let from = rows.start as usize * width as usize;
        let to = rows.end as usize * width as usize;
        let mut strip = YuvPlanarImageMut {
            y_plane: BufferStoreMut::Borrowed(&mut self.y[from..to]),
            y_stride: width,
            u_plane: BufferStoreMut::Borrowed(&mut self.u[from / 4..to / 4]),
            u_stride: width / 2,
            v_plane: BufferStoreMut::Borrowed(&mut self.v[from / 4..to / 4]),
            v_stride: width / 2,
            width,
            height: rows.end - rows.start,
        };
        bgra_to_yuv420(
            &mut strip,
            pixels,
            stride as u32,
            YuvRange::Limited,
            YuvStandardMatrix::Bt709,
            YuvConversionMode::Balanced,
        )
        .map_err(|e| Error::Convert(e.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZE: Size = Size { width: 70, height: 46 };

    fn noise(len: usize) -> Vec<u8> {
        let mut state = 1u32;
        let next = |_| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 24) as u8
        };
        (0..len).map(next).collect()
    }

    #[test]
    fn strips_are_the_same_as_the_whole() {
        let stride = 4 * 72;
        let pixels = noise(stride * 46);
        let mut whole = I420::new(SIZE).unwrap();
        whole.convert(0..46, &pixels, stride).unwrap();
        let mut strips = I420::new(SIZE).unwrap();
        for rows in [20..46, 0..2, 2..20] {
            let part = &pixels[rows.start as usize * stride..rows.end as usize * stride];
            strips.convert(rows, part, stride).unwrap();
        }
        assert!(whole.y.iter().any(|&y| y != 16), "something was converted");
        assert!(whole.planes() == strips.planes());
    }

    #[test]
    fn colours_are_those_of_bt709_in_limited_range() {
        for (bgrx, expected) in [
            ([0, 0, 0, 0], [16, 128, 128]),
            ([255, 255, 255, 0], [235, 128, 128]),
            ([0, 0, 255, 0], [63, 102, 240]),
            ([0, 255, 0, 0], [173, 42, 26]),
            ([255, 0, 0, 0], [32, 240, 118]),
        ] {
            let mut picture = I420::new(SIZE).unwrap();
            picture.convert(0..46, &bgrx.repeat(70 * 46), 4 * 70).unwrap();
            let (y, u, v) = picture.planes();
            for (plane, expected) in [y, u, v].into_iter().zip(expected) {
                assert!(plane.iter().all(|&value| i32::abs(i32::from(value) - expected) <= 1), "{bgrx:?}");
            }
        }
    }

    #[test]
    fn rows_that_are_not_there_are_refused() {
        let mut picture = I420::new(SIZE).unwrap();
        let pixels = vec![0; 4 * 70 * 46];
        for rows in [0..48, 1..4, 0..3] {
            assert!(picture.convert(rows.clone(), &pixels, 4 * 70).is_err(), "{rows:?}");
        }
        assert!(picture.convert(0..46, &pixels[..4 * 70 * 45], 4 * 70).is_err());
        assert!(I420::new(Size { width: 71, height: 46 }).is_err());
    }
}
