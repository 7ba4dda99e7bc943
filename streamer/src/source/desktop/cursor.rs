//! The mouse cursor: told to viewers as a PNG, or drawn into pictures.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::input::CursorShape;
use x11rb::protocol::xfixes::GetCursorImageReply;

use crate::media::Size;
use crate::source::Error;

/// Largest side that is believed; X servers refuse to show larger ones.
const MOST_PIXELS: u16 = 512;

/// A shape: pixels with alpha, and the point of it that points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    width: u16,
    height: u16,
    hot: (u16, u16),
    /// ARGB, premultiplied, row by row.
    pixels: Vec<u32>,
}

impl Cursor {
    /// The cursor as XFIXES describes it; `None` if nothing of it can be seen.
    pub fn new(reply: GetCursorImageReply) -> Option<Self> {
        let GetCursorImageReply { width, height, xhot, yhot, cursor_image: pixels, .. } = reply;
        let plausible = width <= MOST_PIXELS && height <= MOST_PIXELS;
        let complete = pixels.len() == usize::from(width) * usize::from(height);
        let visible = pixels.iter().any(|pixel| pixel >> 24 != 0);
        (plausible && complete && visible).then_some(Self { width, height, hot: (xhot, yhot), pixels })
    }

    /// The shape for viewers.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written as a PNG.
    pub fn shape(&self) -> Result<CursorShape, Error> {
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, u32::from(self.width), u32::from(self.height));
        encoder.set_color(png::ColorType::Rgba);
        encoder.set_depth(png::BitDepth::Eight);
        let rgba: Vec<u8> = self.pixels.iter().flat_map(|pixel| straight(*pixel)).collect();
        let written = encoder.write_header().and_then(|mut writer| {
            writer.write_image_data(&rgba)?;
            writer.finish()
        });
        written.map_err(|e| Error::Io { what: "encoding the cursor".into(), source: e.into() })?;
        Ok(CursorShape {
            width: self.width,
            height: self.height,
            hot_x: self.hot.0,
            hot_y: self.hot.1,
            png: BASE64.encode(&file),
        })
    }

    /// Rows of a picture of this size that it covers when it points at `at`.
    pub fn rows(&self, at: (i32, i32), size: Size) -> Range<u32> {
        let top = at.1 - i32::from(self.hot.1);
        let clamp = |y: i32| y.clamp(0, size.height as i32) as u32;
        clamp(top)..clamp(top + i32::from(self.height))
    }

    /// Draws it, pointing at `at`, into some rows of a BGRX picture: `pixels` is row `first` and those
    /// after it, `width` pixels each.
    pub fn draw(&self, at: (i32, i32), pixels: &mut [u8], first: u32, width: u32) {
        let (left, top) = (at.0 - i32::from(self.hot.0), at.1 - i32::from(self.hot.1) - first as i32);
        let rows = (pixels.len() / (4 * width.max(1) as usize)) as i32;
        for (y, row) in (top..).zip(self.pixels.chunks(usize::from(self.width.max(1)))) {
            if !(0..rows).contains(&y) {
                continue;
            }
            for (x, source) in (left..).zip(row) {
                if (0..width as i32).contains(&x) {
                    let place = (y as usize * width as usize + x as usize) * 4;
                    blend(&mut pixels[place..place + 3], *source);
                }
            }
        }
    }
}

/// Draws a premultiplied ARGB pixel over B, G, R.
fn blend(below: &mut [u8], source: u32) {
    let left = 255 - (source >> 24);
    for (value, shift) in below.iter_mut().zip([0, 8, 16]) {
        let sum = (source >> shift & 255) + (u32::from(*value) * left + 127) / 255;
        *value = sum.min(255) as u8;
    }
}

/// R, G, B, A of a premultiplied pixel, no longer premultiplied (as PNG wants it).
fn straight(pixel: u32) -> [u8; 4] {
    let alpha = pixel >> 24;
    let channel = |shift: u32| match alpha {
        0 => 0,
        _ => ((pixel >> shift & 255) * 255 / alpha).min(255) as u8,
    };
    [channel(16), channel(8), channel(0), alpha as u8]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red, half transparent green; blue, nothing. Points with its lower left pixel.
    fn reply() -> GetCursorImageReply {
        GetCursorImageReply {
            width: 2,
            height: 2,
            xhot: 0,
            yhot: 1,
            cursor_image: vec![0xffff_0000, 0x8000_8000, 0xff00_00ff, 0],
            ..Default::default()
        }
    }

    #[test]
    fn a_shape_is_a_png_with_straight_alpha() {
        let shape = Cursor::new(reply()).unwrap().shape().unwrap();
        assert_eq!((shape.width, shape.height, shape.hot_x, shape.hot_y), (2, 2, 0, 1));
        let file = BASE64.decode(shape.png).unwrap();
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut rgba = vec![0; 16];
        reader.next_frame(&mut rgba).unwrap();
        assert_eq!(rgba, [255, 0, 0, 255, 0, 255, 0, 128, 0, 0, 255, 255, 0, 0, 0, 0]);
    }

    #[test]
    fn it_is_drawn_where_it_points_and_only_inside() {
        let cursor = Cursor::new(reply()).unwrap();
        let white = vec![255; 4 * 3 * 3];
        let mut pixels = white.clone();
        cursor.draw((1, 1), &mut pixels, 0, 3);
        let pixel = |pixels: &[u8], x: usize, y: usize| pixels[(y * 3 + x) * 4..][..3].to_vec();
        assert_eq!(pixel(&pixels, 1, 0), [0, 0, 255]);
        assert_eq!(pixel(&pixels, 2, 0), [127, 255, 127]);
        assert_eq!(pixel(&pixels, 1, 1), [255, 0, 0]);
        assert_eq!(pixel(&pixels, 2, 1), [255, 255, 255]);
        // The same in the strip of rows 1 and 2.
        let mut strip = white[..24].to_vec();
        cursor.draw((1, 1), &mut strip, 1, 3);
        assert_eq!(strip, pixels[12..]);
        for at in [(-5, 0), (0, -5), (9, 0), (0, 9), (-1, 0), (2, 0), (0, 3)] {
            cursor.draw(at, &mut pixels, 0, 3);
        }
        assert_eq!(cursor.rows((0, 0), Size { width: 3, height: 3 }), 0..1);
        assert_eq!(cursor.rows((0, 2), Size { width: 3, height: 3 }), 1..3);
        assert_eq!(cursor.rows((0, 9), Size { width: 3, height: 3 }), 3..3);
    }

    #[test]
    fn an_invisible_cursor_is_none() {
        assert_eq!(Cursor::new(GetCursorImageReply { cursor_image: vec![0; 4], ..reply() }), None);
        assert_eq!(Cursor::new(GetCursorImageReply { width: 600, ..reply() }), None);
    }
}
