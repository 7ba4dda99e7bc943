//! What the test picture shows:
//!
//! ```text
//! ┌───────────────┬───────────────┐
//! │   time code   │     flash     │  white for the first tenth of each second, else black
//! │               ├───────────────┤
//! │               │  colour bars  │
//! ├───────────────┴───────────────┤
//! │            ┌──┐               │  a box with noise that moves over a gradient: as hard to
//! │            └──┘               │  encode as real video, whatever the bitrate
//! └───────────────────────────────┘
//! ```

use std::ops::Range;
use std::time::Duration;

use common::timecode::{Grid, Rect, TimeCode};

use crate::media::{Picture, Size};

/// Bytes of a pixel, BGRX.
const PIXEL: usize = 4;
/// How long a flash, and the click with it, can be noticed.
const FLASH: Duration = Duration::from_millis(100);
/// Time in which the box goes from left to right and back.
const ACROSS: Duration = Duration::from_secs(8);
/// Time in which it goes down and up.
const DOWN: Duration = Duration::from_secs(5);

const BLACK: [u8; PIXEL] = [0, 0, 0, 0];
const WHITE: [u8; PIXEL] = [255, 255, 255, 0];
/// White, yellow, cyan, green, magenta, red, blue, black at three quarters, as BGRX.
const BARS: [[u8; PIXEL]; 8] = [
    [191, 191, 191, 0],
    [0, 191, 191, 0],
    [191, 191, 0, 0],
    [0, 191, 0, 0],
    [191, 0, 191, 0],
    [0, 0, 191, 0],
    [191, 0, 0, 0],
    BLACK,
];

/// The picture, and which rows of it have changed since they were taken.
pub struct Scene {
    size: Size,
    pixels: Vec<u8>,
    grid: Option<Grid>,
    flash: Option<bool>,
    noisy: Rect,
    noise: u32,
    /// Strips that have changed: the upper half, the lower half. Even rows.
    changed: [Range<u32>; 2],
    changed_bytes: u64,
}

impl Scene {
    /// The still parts.
    pub fn new(size: Size) -> Self {
        let row = size.width as usize * PIXEL;
        let middle = middle(size);
        let mut scene = Self {
            size,
            pixels: vec![0; row * size.height as usize],
            grid: Grid::new(size.width, size.height),
            flash: None,
            noisy: Rect { x: 0, y: middle, width: 0, height: 0 },
            noise: 1,
            changed: [0..middle, middle..size.height],
            changed_bytes: 0,
        };
        scene.restore(Rect { x: 0, y: middle, width: size.width, height: size.height - middle });
        let left = size.width / 2;
        let width = size.width - size.width / 2;
        for (n, colour) in (0..).zip(BARS) {
            let x = left + width * n / 8;
            let bar =
                Rect { x, y: middle / 2, width: left + width * (n + 1) / 8 - x, height: middle - middle / 2 };
            scene.fill(bar, colour);
        }
        scene
    }

    /// Draws what moves: `elapsed` since the start, at `within_second` of a second.
    pub fn draw(&mut self, code: TimeCode, elapsed: Duration, within_second: Duration) {
        self.changed_bytes = 0;
        self.draw_code(code);
        let flash = within_second < FLASH;
        if self.flash != Some(flash) {
            self.flash = Some(flash);
            let left = self.size.width / 2;
            let height = middle(self.size) / 2;
            let field = Rect { x: left, y: 0, width: self.size.width - left, height };
            self.fill(field, if flash { WHITE } else { BLACK });
            self.mark(field);
        }
        self.draw_noise(elapsed);
    }

    /// All of it.
    pub fn picture(&self) -> Picture {
        Picture { pixels: self.pixels.clone(), size: self.size }
    }

    /// How much the last [`Scene::draw`] has changed.
    pub fn changed_bytes(&self) -> u64 {
        self.changed_bytes
    }

    /// Gives the rows that have changed since the last call to `take`, with the bytes of a row.
    pub fn take_changed<E>(
        &mut self,
        mut take: impl FnMut(Range<u32>, &[u8], usize) -> Result<(), E>,
    ) -> Result<(), E> {
        let row = self.size.width as usize * PIXEL;
        for rows in &mut self.changed {
            let rows = std::mem::replace(rows, 0..0);
            if !rows.is_empty() {
                let bytes = rows.start as usize * row..rows.end as usize * row;
                take(rows, &self.pixels[bytes], row)?;
            }
        }
        Ok(())
    }

    fn draw_code(&mut self, code: TimeCode) {
        let Some(grid) = self.grid else { return };
        for (index, white) in code.cells().into_iter().enumerate() {
            self.fill(grid.cell(index), if white { WHITE } else { BLACK });
        }
        self.mark(grid.area());
    }

    fn draw_noise(&mut self, elapsed: Duration) {
        let middle = middle(self.size);
        let width = self.size.width / 4;
        let height = (self.size.height - middle) / 2;
        let x = there_and_back(elapsed, ACROSS, self.size.width - width);
        let y = middle + there_and_back(elapsed, DOWN, self.size.height - middle - height);
        self.restore(self.noisy);
        self.mark(self.noisy);
        self.noisy = Rect { x, y, width, height };
        self.mark(self.noisy);
        for y in y..y + height {
            let row = self.row(y, x, width);
            let mut state = self.noise;
            for pixel in self.pixels[row].chunks_exact_mut(PIXEL) {
                state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                let grey = 96 + (state >> 26) as u8;
                pixel.copy_from_slice(&[grey, grey, grey, 0]);
            }
            self.noise = state;
        }
    }

    /// Draws the gradient of the lower half.
    fn restore(&mut self, rect: Rect) {
        for y in rect.y..rect.y + rect.height {
            let down = (y * 255 / self.size.height) as u8;
            let row = self.row(y, rect.x, rect.width);
            for (x, pixel) in (rect.x..).zip(self.pixels[row].chunks_exact_mut(PIXEL)) {
                let across = (x * 255 / self.size.width) as u8;
                pixel.copy_from_slice(&[255 - across, down, across, 0]);
            }
        }
    }

    fn fill(&mut self, rect: Rect, colour: [u8; PIXEL]) {
        for y in rect.y..rect.y + rect.height {
            let row = self.row(y, rect.x, rect.width);
            self.pixels[row].as_chunks_mut::<PIXEL>().0.fill(colour);
        }
    }

    /// Bytes of `width` pixels from column `x` of row `y` on.
    fn row(&self, y: u32, x: u32, width: u32) -> Range<usize> {
        let start = (y as usize * self.size.width as usize + x as usize) * PIXEL;
        start..start + width as usize * PIXEL
    }

    fn mark(&mut self, rect: Rect) {
        if rect.height == 0 {
            return;
        }
        self.changed_bytes += u64::from(rect.width) * u64::from(rect.height) * PIXEL as u64;
        let from = rect.y & !1;
        let to = (rect.y + rect.height).next_multiple_of(2).min(self.size.height);
        let half = &mut self.changed[usize::from(rect.y >= middle(self.size))];
        *half = if half.start >= half.end { from..to } else { half.start.min(from)..half.end.max(to) };
    }
}

/// First row of the lower half; even.
fn middle(size: Size) -> u32 {
    size.height.div_ceil(4) * 2
}

/// A position from 0 to `most` that goes there and back in `period`.
fn there_and_back(elapsed: Duration, period: Duration, most: u32) -> u32 {
    let phase = (elapsed.as_micros() % period.as_micros()) as f64 / period.as_micros() as f64;
    (f64::from(most) * (1.0 - (2.0 * phase - 1.0).abs())) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(frame: u32) -> TimeCode {
        TimeCode { frame, time_us: 1_700_000_000_000_000 + u64::from(frame) }
    }

    fn read(picture: &Picture) -> Option<TimeCode> {
        let Size { width, height } = picture.size;
        Grid::new(width, height)?.read(|x, y| picture.pixels[(y * width + x) as usize * PIXEL])
    }

    #[test]
    fn every_size_is_drawn_and_has_its_code_if_it_is_large_enough() {
        for (width, height) in [(16, 16), (18, 3840 / 2), (128, 64), (640, 360), (1366, 768), (3840, 16)] {
            let mut scene = Scene::new(Size { width, height });
            for ms in [0, 3999, 4000, 7999] {
                let time = Duration::from_millis(ms);
                scene.draw(code(ms as u32), time, time);
                let expected = Grid::new(width, height).map(|_| code(ms as u32));
                assert_eq!(read(&scene.picture()), expected, "{width}x{height} at {ms} ms");
            }
        }
    }

    #[test]
    fn rows_that_are_not_taken_have_not_changed() {
        let size = Size { width: 320, height: 182 };
        let mut scene = Scene::new(size);
        let mut copy = vec![0; 320 * 182 * PIXEL];
        for frame in 0..300 {
            let time = Duration::from_millis(37 * u64::from(frame));
            scene.draw(code(frame), time, Duration::from_nanos(u64::from(time.subsec_nanos())));
            let taken = scene.take_changed(|rows, pixels, row| {
                assert!(rows.start % 2 == 0 && rows.end % 2 == 0 && rows.end <= 182);
                copy[rows.start as usize * row..rows.end as usize * row].copy_from_slice(pixels);
                Ok::<_, std::convert::Infallible>(())
            });
            assert!(taken.is_ok());
            assert!(copy == scene.picture().pixels, "frame {frame}");
        }
    }

    #[test]
    fn it_flashes_at_the_beginning_of_a_second() {
        let size = Size { width: 640, height: 360 };
        let mut scene = Scene::new(size);
        let mut corner = |ms| {
            scene.draw(code(0), Duration::ZERO, Duration::from_millis(ms));
            scene.picture().pixels[639 * PIXEL]
        };
        assert_eq!([corner(0), corner(99), corner(100), corner(999)], [255, 255, 0, 0]);
    }
}
