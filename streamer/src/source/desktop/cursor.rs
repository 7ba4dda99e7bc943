//! The mouse cursor: sent to viewers as a PNG, or drawn into pictures.
//!
//! The server names each shape by a serial, so that the pictures of an animated cursor are fetched and encoded once
//! ([`Shapes`]), and only while there is somebody to see them ([`Looks`], [`Onlookers`]).

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use common::input::CursorShape;
use x11rb::protocol::xfixes::GetCursorImageReply;

use crate::feed::Demand;
use crate::media::Size;
use crate::source::Error;

/// Largest accepted side; X servers refuse to show larger cursors.
const MOST_PIXELS: u16 = 512;

/// Shapes that are remembered: those of a few animated cursors, 16 KB each as a rule and 1 MB at most.
const MOST_SHAPES: usize = 64;

/// Shown when the server does not report its cursor: every X server has this arrow. `X` is black, `.` white.
const ARROW: [&str; 17] = [
    ".          ",
    "..         ",
    ".X.        ",
    ".XX.       ",
    ".XXX.      ",
    ".XXXX.     ",
    ".XXXXX.    ",
    ".XXXXXX.   ",
    ".XXXXXXX.  ",
    ".XXXXXXXX. ",
    ".XXXXX.....",
    ".XX.XX.    ",
    ".X. .XX.   ",
    "..  .XX.   ",
    ".    .XX.  ",
    "     .XX.  ",
    "      ..   ",
];

/// An X server's reply when it is asked for its cursor.
#[derive(Debug)]
pub enum Answer {
    /// This shape; `None` if no part of it can be seen.
    Shape {
        /// Serial of the shape.
        serial: u32,
        /// The shape.
        cursor: Option<Arc<Cursor>>,
    },
    /// It refuses, as for a cursor that was freed while it is shown (`xsetroot -cursor_name`).
    Unknown,
}

/// A shape: pixels with alpha, and its hot spot.
#[derive(Debug)]
pub struct Cursor {
    width: u16,
    height: u16,
    hot: (u16, u16),
    /// ARGB, premultiplied, row by row.
    pixels: Vec<u32>,
    encoded: OnceLock<CursorShape>,
}

impl PartialEq for Cursor {
    fn eq(&self, other: &Self) -> bool {
        let form = |cursor: &Self| (cursor.width, cursor.height, cursor.hot);
        form(self) == form(other) && self.pixels == other.pixels
    }
}

impl Cursor {
    /// The cursor as XFIXES describes it; `None` if no part of it can be seen.
    pub fn new(reply: GetCursorImageReply) -> Option<Self> {
        let GetCursorImageReply { width, height, xhot, yhot, cursor_image: pixels, .. } = reply;
        let plausible = width <= MOST_PIXELS && height <= MOST_PIXELS;
        let complete = pixels.len() == usize::from(width) * usize::from(height);
        let visible = pixels.iter().any(|pixel| pixel >> 24 != 0);
        let encoded = OnceLock::new();
        (plausible && complete && visible).then_some(Self {
            width,
            height,
            hot: (xhot, yhot),
            pixels,
            encoded,
        })
    }

    /// An arrow that points with its upper left pixel.
    pub fn arrow() -> Self {
        let pixel = |char: u8| match char {
            b'X' => 0xff00_0000,
            b'.' => 0xffff_ffff,
            _ => 0,
        };
        Self {
            width: ARROW[0].len() as u16,
            height: ARROW.len() as u16,
            hot: (0, 0),
            pixels: ARROW.iter().flat_map(|row| row.bytes()).map(pixel).collect(),
            encoded: OnceLock::new(),
        }
    }

    /// The shape for viewers; encoded once.
    ///
    /// # Errors
    /// [`Error::Io`] when it cannot be written as a PNG.
    pub fn shape(&self) -> Result<CursorShape, Error> {
        if let Some(shape) = self.encoded.get() {
            return Ok(shape.clone());
        }
        let shape = self.encode()?;
        Ok(self.encoded.get_or_init(|| shape).clone())
    }

    fn encode(&self) -> Result<CursorShape, Error> {
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
        let left = at.0 - i32::from(self.hot.0);
        let top = at.1 - i32::from(self.hot.1) - first as i32;
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

/// Shapes by their serials, the newest last.
#[derive(Debug, Default)]
pub struct Shapes {
    known: VecDeque<Shape>,
}

/// A shape that is remembered.
#[derive(Debug, PartialEq)]
pub struct Shape {
    serial: u32,
    /// `None`: no part of it can be seen.
    pub cursor: Option<Arc<Cursor>>,
}

impl Shapes {
    /// The shape with this serial, if it is remembered.
    pub fn get(&self, serial: u32) -> Option<&Shape> {
        self.known.iter().rev().find(|shape| shape.serial == serial)
    }

    /// Remembers a shape, and forgets the oldest if there are too many.
    pub fn add(&mut self, serial: u32, cursor: Option<Arc<Cursor>>) {
        self.known.retain(|shape| shape.serial != serial);
        if self.known.len() == MOST_SHAPES {
            self.known.pop_front();
        }
        self.known.push_back(Shape { serial, cursor });
    }
}

/// Decides when the shape of the cursor is queried: once at the start, then after it has changed, while somebody can see it,
/// and no more often than pictures are made.
#[derive(Debug)]
pub struct Looks {
    interval: Duration,
    changed: bool,
    last: Option<Instant>,
}

impl Looks {
    /// It has not been queried yet.
    pub fn new(fps: u32) -> Self {
        Self { interval: Duration::from_secs(1) / fps.max(1), changed: true, last: None }
    }

    /// It has another shape.
    pub fn changed(&mut self) {
        self.changed = true;
    }

    /// Notes that it is queried now. Returns whether that is the first time.
    pub fn looked(&mut self, now: Instant) -> bool {
        self.changed = false;
        self.last.replace(now).is_none()
    }

    /// When to query it, if at all. `seen`: somebody can see it.
    pub fn due_at(&self, now: Instant, seen: bool) -> Option<Instant> {
        match self.last {
            None => Some(now),
            Some(last) => (self.changed && seen).then(|| now.max(last + self.interval)),
        }
    }
}

/// The other sources that show the cursor of a desktop: its shared windows.
#[derive(Debug)]
pub struct Onlookers {
    count: AtomicU32,
    /// Wakes the desktop's thread.
    desktop: Arc<Demand>,
}

impl Onlookers {
    /// No onlookers yet, for the desktop whose thread sleeps on this demand.
    pub fn of(desktop: Arc<Demand>) -> Self {
        Self { count: AtomicU32::new(0), desktop }
    }

    /// Whether there is any.
    pub fn any(&self) -> bool {
        self.count.load(Ordering::Acquire) > 0
    }

    /// Adds one, for as long as the returned value lives.
    pub fn join(self: &Arc<Self>) -> Onlooker {
        self.count.fetch_add(1, Ordering::AcqRel);
        self.desktop.wake();
        Onlooker(Arc::clone(self))
    }
}

/// One of the [`Onlookers`].
#[derive(Debug)]
pub struct Onlooker(Arc<Onlookers>);

impl Drop for Onlooker {
    fn drop(&mut self) {
        self.0.count.fetch_sub(1, Ordering::AcqRel);
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
    fn the_arrow_points_with_its_tip() {
        let arrow = Cursor::arrow();
        assert!(ARROW.iter().all(|row| row.len() == usize::from(arrow.width)));
        let mut pixels = vec![0x80; 4 * 32 * 32];
        arrow.draw((5, 6), &mut pixels, 0, 32);
        let pixel = |x: usize, y: usize| pixels[(y * 32 + x) * 4..][..3].to_vec();
        assert_eq!(pixel(5, 6), [255; 3]);
        assert_eq!(pixel(6, 8), [0; 3]);
        assert_eq!(pixel(4, 6), [0x80; 3]);
        assert!(arrow.shape().unwrap().png.starts_with("iVBOR"));
    }

    #[test]
    fn shapes_are_remembered_by_serial_and_bounded() {
        let mut shapes = Shapes::default();
        assert_eq!(shapes.get(1), None);
        shapes.add(1, None);
        shapes.add(2, Some(Arc::new(Cursor::arrow())));
        assert_eq!(shapes.get(1), Some(&Shape { serial: 1, cursor: None }));
        let arrow = Some(Arc::new(Cursor::arrow()));
        assert_eq!(shapes.get(2), Some(&Shape { serial: 2, cursor: arrow }));
        for serial in 3..3 + MOST_SHAPES as u32 {
            shapes.add(serial, None);
        }
        assert_eq!(shapes.get(2), None);
        assert_eq!(shapes.known.len(), MOST_SHAPES);
    }

    #[test]
    fn a_shape_is_looked_up_once_and_then_only_for_somebody_and_at_the_rate_of_pictures() {
        let mut looks = Looks::new(20);
        let start = Instant::now();
        assert_eq!(looks.due_at(start, false), Some(start));
        assert!(looks.looked(start));
        assert_eq!(looks.due_at(start, true), None);
        looks.changed();
        let soon = start + Duration::from_millis(10);
        assert_eq!(looks.due_at(soon, false), None);
        assert_eq!(looks.due_at(soon, true), Some(start + Duration::from_millis(50)));
        let later = start + Duration::from_secs(1);
        assert_eq!(looks.due_at(later, true), Some(later));
        assert!(!looks.looked(later));
        assert_eq!(looks.due_at(later, true), None);
    }

    #[test]
    fn an_invisible_cursor_is_none() {
        assert_eq!(Cursor::new(GetCursorImageReply { cursor_image: vec![0; 4], ..reply() }), None);
        assert_eq!(Cursor::new(GetCursorImageReply { width: 600, ..reply() }), None);
    }
}
