//! Pictures for `GET /snapshot`: scaled down, as PNG or JPEG, by one thread that gives way to all others.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use common::api::SnapshotFormat;
use tokio::sync::oneshot;

use crate::media::{Picture, Size};

/// Good for a thumbnail, and small.
const JPEG_QUALITY: u8 = 80;

/// Pictures that wait for the encoder: one of each source at most, so that this is never full.
const QUEUE: usize = 64;
/// Its niceness: encoders of video have 0.
const NICE: i32 = 10;

/// What a picture is made into.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Form {
    /// The file's format.
    pub format: SnapshotFormat,
    /// At most so many pixels wide.
    pub width: Option<u32>,
}

/// A form of a picture, and which version of it everybody has who wants it: that one need not be made again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Wanted {
    /// What it is made into.
    pub form: Form,
    /// `None`: somebody has none, or they have different ones.
    pub known: Option<u64>,
}

/// What was made of a picture.
#[derive(Debug, Clone)]
pub struct Made {
    /// Pictures of one form that look alike have the same.
    pub version: u64,
    /// Size of the picture in the file.
    pub size: Size,
    /// `None`: everybody has it.
    pub file: Option<Vec<u8>>,
}

/// What was made, or why not.
pub type Encoded = Result<Made, Error>;

struct Job {
    picture: Picture,
    wanted: Vec<Wanted>,
    answer: oneshot::Sender<Vec<Encoded>>,
}

/// The thread that encodes all snapshots. It ends with the last handle.
#[derive(Clone)]
pub struct Encoder(SyncSender<Job>);

impl Encoder {
    /// Starts the thread.
    ///
    /// # Errors
    /// The system has no more threads.
    pub fn start() -> std::io::Result<Self> {
        let (sender, jobs) = sync_channel(QUEUE);
        crate::thread::spawn("snapshots", move || work(&jobs))?;
        Ok(Self(sender))
    }

    /// Encodes a picture in each of these forms. The answer is closed without one when too many wait.
    pub fn encode(&self, picture: Picture, wanted: Vec<Wanted>) -> oneshot::Receiver<Vec<Encoded>> {
        let (answer, encoded) = oneshot::channel();
        let _ = self.0.try_send(Job { picture, wanted, answer });
        encoded
    }
}

fn work(jobs: &Receiver<Job>) {
    // Of this thread alone, on Linux. Without it snapshots are made all the same.
    if let Err(error) = rustix::process::setpriority_process(None, NICE) {
        tracing::debug!(%error, "snapshots are made at the priority of everything else");
    }
    for Job { picture, wanted, answer } in jobs {
        let _ = answer.send(wanted.iter().map(|wanted| encode(&picture, *wanted)).collect());
    }
}

/// Why a picture could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// By the PNG encoder.
    #[error("PNG: {0}")]
    Png(#[from] png::EncodingError),
    /// By the JPEG encoder.
    #[error("JPEG: {0}")]
    Jpeg(#[from] jpeg_encoder::EncodingError),
}

fn encode(picture: &Picture, Wanted { form: Form { format, width }, known }: Wanted) -> Encoded {
    let size = scaled(picture.size, width);
    let rgb = rgb(picture, size);
    let version = version(size, &rgb);
    if known == Some(version) {
        return Ok(Made { version, size, file: None });
    }
    let mut file = Vec::new();
    match format {
        SnapshotFormat::Png => {
            let mut encoder = png::Encoder::new(&mut file, size.width, size.height);
            encoder.set_color(png::ColorType::Rgb);
            encoder.set_depth(png::BitDepth::Eight);
            encoder.set_compression(png::Compression::Fast);
            encoder.write_header()?.write_image_data(&rgb)?;
        }
        SnapshotFormat::Jpeg => {
            let encoder = jpeg_encoder::Encoder::new(&mut file, JPEG_QUALITY);
            // Sides are at most 3840.
            encoder.encode(&rgb, size.width as u16, size.height as u16, jpeg_encoder::ColorType::Rgb)?;
        }
    }
    Ok(Made { version, size, file: Some(file) })
}

/// By all pixels: hashing them costs a small part of what encoding does.
fn version(size: Size, rgb: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (size.width, size.height, rgb).hash(&mut hasher);
    hasher.finish()
}

fn scaled(size: Size, width: Option<u32>) -> Size {
    match width {
        Some(width) if width < size.width => {
            let width = width.max(1);
            let height = u64::from(size.height) * u64::from(width) / u64::from(size.width);
            // Smaller than it was, so it fits.
            Size { width, height: (height as u32).max(1) }
        }
        _ => size,
    }
}

/// Each pixel is the mean of those that it covers, so that text in a thumbnail stays grey instead of breaking up.
fn rgb(picture: &Picture, to: Size) -> Vec<u8> {
    let from = picture.size;
    let span = |n: u32, of: u32, all: u32| {
        let start = u64::from(n) * u64::from(all) / u64::from(of);
        let end = (u64::from(n) + 1) * u64::from(all) / u64::from(of);
        start as usize..(end as usize).max(start as usize + 1)
    };
    let columns: Vec<_> = (0..to.width).map(|x| span(x, to.width, from.width)).collect();
    let stride = from.width as usize * 4;
    let mut out = Vec::with_capacity(to.width as usize * to.height as usize * 3);
    for y in 0..to.height {
        let rows = span(y, to.height, from.height);
        for columns in &columns {
            let mut sum = [0u32; 3];
            for row in rows.clone() {
                let line = &picture.pixels[row * stride..][..stride];
                for pixel in line[columns.start * 4..columns.end * 4].chunks_exact(4) {
                    for (sum, byte) in sum.iter_mut().zip(pixel) {
                        *sum += u32::from(*byte);
                    }
                }
            }
            let count = (rows.len() * columns.len()) as u32;
            out.extend(sum.iter().rev().map(|sum| (sum / count) as u8));
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture() -> Picture {
        // Left half blue, right half red, as BGRX.
        let row: Vec<u8> =
            (0..64).flat_map(|x| if x < 32 { [255, 0, 0, 9] } else { [0, 0, 255, 9] }).collect();
        Picture { pixels: row.repeat(32), size: Size { width: 64, height: 32 } }
    }

    fn encode(format: SnapshotFormat, width: Option<u32>) -> (Vec<u8>, Size) {
        let made = super::encode(&picture(), Wanted { form: Form { format, width }, known: None }).unwrap();
        (made.file.unwrap(), made.size)
    }

    fn decode(file: &[u8]) -> (u32, u32, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(file)).read_info().unwrap();
        let mut pixels = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut pixels).unwrap();
        (info.width, info.height, pixels)
    }

    #[test]
    fn a_png_has_the_pixels_of_the_picture_in_the_right_order_of_colours() {
        let (file, size) = encode(SnapshotFormat::Png, None);
        let (width, height, pixels) = decode(&file);
        assert_eq!((size.width, size.height, width, height), (64, 32, 64, 32));
        assert_eq!((&pixels[..3], &pixels[pixels.len() - 3..]), (&[0, 0, 255][..], &[255, 0, 0][..]));
    }

    #[test]
    fn what_looks_the_same_is_not_made_again() {
        let make = |picture: &Picture, width, known| {
            let form = Form { format: SnapshotFormat::Png, width };
            super::encode(picture, Wanted { form, known }).unwrap()
        };
        let first = make(&picture(), None, None);
        let again = make(&picture(), None, Some(first.version));
        assert_eq!((again.version, again.file.is_none(), again.size.width), (first.version, true, 64));
        let mut unseen = picture();
        unseen.pixels[3] = 77;
        assert!(make(&unseen, None, Some(first.version)).file.is_none(), "the fourth byte means nothing");
        let mut other = picture();
        other.pixels[0] = 0;
        let changed = make(&other, None, Some(first.version));
        assert!(changed.file.is_some() && changed.version != first.version);
        assert_ne!(make(&picture(), Some(16), None).version, first.version, "of another size");
    }

    #[test]
    fn a_thumbnail_keeps_the_aspect_ratio_and_never_grows() {
        let (file, _) = encode(SnapshotFormat::Png, Some(16));
        let (width, height, pixels) = decode(&file);
        assert_eq!((width, height), (16, 8));
        assert_eq!((&pixels[..3], &pixels[pixels.len() - 3..]), (&[0, 0, 255][..], &[255, 0, 0][..]));
        assert_eq!(encode(SnapshotFormat::Jpeg, Some(5000)).1.width, 64);
        assert_eq!(encode(SnapshotFormat::Png, Some(0)).1.width, 1);
    }
}
