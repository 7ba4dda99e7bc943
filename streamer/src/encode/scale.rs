//! Makes pictures smaller.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};

use super::Error;
use super::convert::I420;
use crate::media::Size;

/// Scales pictures; keeps the memory that it works in.
#[derive(Default)]
pub struct Scaler {
    resizer: Resizer,
}

impl Scaler {
    /// Fills `to` with what `from` shows, plane by plane.
    ///
    /// # Errors
    /// [`Error::Convert`] when a picture is larger than the library can take.
    pub fn scale(&mut self, from: &I420, to: &mut I420) -> Result<(), Error> {
        if from.size() == to.size() {
            to.clone_from(from);
            return Ok(());
        }
        // Averages what becomes one pixel, so that thin lines and text become lighter rather than broken.
        let options = ResizeOptions::new().resize_alg(ResizeAlg::Convolution(FilterType::Bilinear));
        let old = from.size();
        let new = to.size();
        let from = from.planes();
        let to = to.planes_mut();
        for (from, to, shrink) in [(from.0, to.0, 1), (from.1, to.1, 2), (from.2, to.2, 2)] {
            let failed = |e: &dyn std::fmt::Display| Error::Convert(format!("scaling: {e}"));
            // Typed: images of a type known at run time compile the code for every type of pixel there is.
            let from = TypedImageRef::<U8>::from_buffer(old.width / shrink, old.height / shrink, from);
            let from = from.map_err(|e| failed(&e))?;
            let to = TypedImage::<U8>::from_buffer(new.width / shrink, new.height / shrink, to);
            let mut to = to.map_err(|e| failed(&e))?;
            self.resizer.resize_typed(&from, &mut to, &options).map_err(|e| failed(&e))?;
        }
        Ok(())
    }
}

/// The size of a picture of this height and the shape of `source`: even, no side shorter than 16, and never larger
/// than `source`.
pub fn fitted(source: Size, height: u32) -> Size {
    if height >= source.height {
        return source;
    }
    let height = (height & !1).max(16).min(source.height);
    // Rounded to the nearest even width.
    let halves = (u64::from(source.width) * u64::from(height) + u64::from(source.height))
        / (2 * u64::from(source.height));
    let width = u32::try_from(2 * halves).unwrap_or(source.width).max(16).min(source.width);
    Size { width, height }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(width: u32, height: u32) -> Size {
        Size { width, height }
    }

    #[test]
    fn the_shape_is_kept_sides_are_even_and_nothing_is_enlarged() {
        assert_eq!(fitted(size(1920, 1080), 360), size(640, 360));
        assert_eq!(fitted(size(1366, 768), 360), size(640, 360));
        assert_eq!(fitted(size(1366, 768), 361), size(640, 360));
        assert_eq!(fitted(size(640, 360), 360), size(640, 360));
        assert_eq!(fitted(size(640, 360), 1080), size(640, 360));
        assert_eq!(fitted(size(3840, 16), 8), size(3840, 16));
        assert_eq!(fitted(size(16, 2160), 360), size(16, 360));
        assert_eq!(fitted(size(3840, 2160), 1), size(28, 16));
    }

    #[test]
    fn what_is_where_stays_there() {
        let from = size(64, 32);
        let to = size(32, 16);
        let mut picture = I420::new(from).unwrap();
        let pixels: Vec<u8> =
            (0..64 * 32).flat_map(|at| if at % 64 < 32 { [0, 0, 255, 0] } else { [255, 0, 0, 0] }).collect();
        picture.convert(0..32, &pixels, 4 * 64).unwrap();
        let mut small = I420::new(to).unwrap();
        Scaler::default().scale(&picture, &mut small).unwrap();
        let (y, u, v) = small.planes();
        assert_eq!((y.len(), u.len(), v.len()), (512, 128, 128));
        for row in y.chunks(32) {
            assert!(
                row[..14].iter().all(|y| y.abs_diff(63) <= 1)
                    && row[18..].iter().all(|y| y.abs_diff(32) <= 1)
            );
        }
        for row in v.chunks(16) {
            assert!(
                row[..6].iter().all(|v| v.abs_diff(240) <= 1)
                    && row[10..].iter().all(|v| v.abs_diff(118) <= 1)
            );
        }
    }
}
