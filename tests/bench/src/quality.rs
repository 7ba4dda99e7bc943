//! How much of a picture survives encoding: decoded frames against snapshots of the same frame.
//!
//! `scene` writes the number of each picture into it, so a snapshot and the frame that was encoded from the same picture find each other.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use common::timecode::Grid;
use openh264::decoder::Decoder;
use openh264::formats::YUVSource;

use crate::CODE_AREA;

const SPS: u8 = 7;

/// The brightness of a picture.
pub struct Luma {
    width: usize,
    height: usize,
    values: Vec<u8>,
}

impl Luma {
    /// Of a PNG as a snapshot has it, by BT.709 in limited range as the encoder gets it.
    ///
    /// # Errors
    /// When it is none.
    pub fn of_png(png: &[u8]) -> Result<Self> {
        let mut reader = png::Decoder::new(std::io::Cursor::new(png)).read_info()?;
        let mut pixels = vec![0; reader.output_buffer_size().context("the size of the picture")?];
        let info = reader.next_frame(&mut pixels)?;
        let step = info.color_type.samples();
        ensure!(step >= 3, "a snapshot has colours");
        let luma = |pixel: &[u8]| {
            let [red, green, blue] = [pixel[0], pixel[1], pixel[2]].map(f64::from);
            (16.0 + (0.2126 * red + 0.7152 * green + 0.0722 * blue) * 219.0 / 255.0).round() as u8
        };
        let values = pixels.chunks_exact(step).map(luma).collect();
        Ok(Self { width: info.width as usize, height: info.height as usize, values })
    }

    fn of_frame(frame: &impl YUVSource) -> Self {
        let (width, height) = frame.dimensions();
        let rows = frame.y().chunks(frame.strides().0).take(height);
        Self { width, height, values: rows.flat_map(|row| &row[..width]).copied().collect() }
    }

    /// Number of the picture.
    pub fn number(&self) -> Option<u32> {
        let grid = Grid::new(CODE_AREA.0, CODE_AREA.1)?;
        Some(grid.read(|x, y| self.values[y as usize * self.width + x as usize])?.frame)
    }

    /// Peak signal to noise ratio, dB; 100 when they are equal.
    pub fn psnr(&self, other: &Self) -> Result<f64> {
        ensure!((self.width, self.height) == (other.width, other.height), "pictures of different sizes");
        let square = |(a, b): (&u8, &u8)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        let error: f64 =
            self.values.iter().zip(&other.values).map(square).sum::<f64>() / self.values.len() as f64;
        Ok(if error == 0.0 { 100.0 } else { (10.0 * (255.0 * 255.0 / error).log10()).min(100.0) })
    }
}

/// Which of the frames that show the same picture is looked at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Which {
    /// As it looked at once, in motion.
    First,
    /// With the detail that was added at rest.
    Last,
}

/// Decodes what a native peer has written, and compares each snapshot with a frame that has its number. Returns a PSNR
/// for each snapshot whose picture was encoded.
///
/// # Errors
/// When the stream cannot be decoded.
pub fn compare(units: &Path, snapshots: &[Luma], which: Which) -> Result<Vec<f64>> {
    let wanted: BTreeMap<u32, &Luma> =
        snapshots.iter().filter_map(|snapshot| Some((snapshot.number()?, snapshot))).collect();
    ensure!(!wanted.is_empty(), "no snapshot has a number");
    let mut found = BTreeMap::new();
    let mut decoder = Decoder::new()?;
    let bytes = std::fs::read(units)?;
    let mut rest = &bytes[..];
    let mut begun = false;
    while let Some((len, tail)) = rest.split_first_chunk::<4>() {
        let (unit, tail) =
            tail.split_at_checked(u32::from_be_bytes(*len) as usize).context("a whole access unit")?;
        rest = tail;
        // Nothing can be decoded before the first keyframe, which begins with its parameter sets.
        begun |= unit.get(4).is_some_and(|kind| kind & 0x1f == SPS);
        if !begun {
            continue;
        }
        let Some(frame) = decoder.decode(unit)? else { continue };
        let frame = Luma::of_frame(&frame);
        if let Some(snapshot) = frame.number().and_then(|number| Some((number, wanted.get(&number)?))) {
            let psnr = snapshot.1.psnr(&frame)?;
            match which {
                Which::First => *found.entry(snapshot.0).or_insert(psnr),
                Which::Last => found.insert(snapshot.0, psnr).unwrap_or(psnr),
            };
        }
    }
    Ok(found.into_values().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_is_that_of_the_definition() {
        let picture = |value: u8| Luma { width: 4, height: 4, values: vec![value; 16] };
        assert_eq!(picture(9).psnr(&picture(9)).unwrap(), 100.0);
        assert!((picture(10).psnr(&picture(20)).unwrap() - 28.13).abs() < 0.01);
    }
}
