//! Pictures that were encoded beforehand, sent again and again: for codecs that this program cannot encode, and at rates that
//! would cost more to encode than to stream.
//!
//! H.264 and HEVC come as Annex B in which a delimiter begins each access unit, AV1 as IVF.

use std::path::Path;

use anyhow::{Context as _, ensure};

use crate::scenario::Codec;

/// One encoded picture.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Annex B, or OBUs with their lengths.
    pub data: Vec<u8>,
    /// Decodable alone.
    pub keyframe: bool,
}

/// Plays a clip.
pub struct Player {
    units: Vec<Unit>,
    next: usize,
}

impl Player {
    /// Of this file.
    ///
    /// # Errors
    /// When it cannot be read, or does not begin with a keyframe.
    pub fn open(codec: Codec, file: &Path) -> anyhow::Result<Self> {
        let bytes = std::fs::read(file).with_context(|| file.display().to_string())?;
        let units = units(codec, &bytes);
        ensure!(
            units.first().is_some_and(|unit| unit.keyframe),
            "{} begins with no keyframe",
            file.display()
        );
        Ok(Self { units, next: 0 })
    }

    /// The next picture: a keyframe if one is wanted.
    pub fn next(&mut self, keyframe: bool) -> &Unit {
        if keyframe {
            let later = self.units[self.next..].iter().position(|unit| unit.keyframe);
            // The first one is a keyframe.
            self.next = later.map_or(0, |later| self.next + later);
        }
        let unit = &self.units[self.next];
        self.next = (self.next + 1) % self.units.len();
        unit
    }
}

/// The access units of a file.
pub fn units(codec: Codec, bytes: &[u8]) -> Vec<Unit> {
    let pieces = match codec {
        Codec::H264 => at_delimiters(bytes, |nal| nal & 0x1f == 9),
        Codec::Hevc => at_delimiters(bytes, |nal| nal >> 1 & 0x3f == 35),
        Codec::Av1 => of_ivf(bytes),
    };
    pieces.into_iter().map(|data| Unit { keyframe: is_keyframe(codec, data), data: data.to_vec() }).collect()
}

/// Where NAL units begin: the places of their start codes, and of what follows these.
fn starts(bytes: &[u8]) -> impl Iterator<Item = (usize, usize)> {
    let is_start = |at: &usize| bytes[*at..].starts_with(&[0, 0, 1]);
    (0..bytes.len().saturating_sub(3)).filter(is_start).map(|at| {
        // The zero of a long start code belongs to it.
        let begin = if at > 0 && bytes[at - 1] == 0 { at - 1 } else { at };
        (begin, at + 3)
    })
}

fn at_delimiters(bytes: &[u8], is_delimiter: fn(u8) -> bool) -> Vec<&[u8]> {
    let mut begins: Vec<usize> =
        starts(bytes).filter(|(_, nal)| is_delimiter(bytes[*nal])).map(|(begin, _)| begin).collect();
    begins.push(bytes.len());
    begins.windows(2).map(|pair| &bytes[pair[0]..pair[1]]).collect()
}

/// A header of 32 bytes; then, for each picture, its length in four bytes, its time in eight, and itself.
fn of_ivf(bytes: &[u8]) -> Vec<&[u8]> {
    let mut rest = bytes.get(32..).unwrap_or_default();
    let mut pictures = Vec::new();
    while let Some((len, after)) = rest.split_first_chunk::<4>() {
        let len = u32::from_le_bytes(*len) as usize;
        let Some((picture, after)) = after.get(8..).and_then(|after| after.split_at_checked(len)) else {
            break;
        };
        pictures.push(picture);
        rest = after;
    }
    pictures
}

fn is_keyframe(codec: Codec, unit: &[u8]) -> bool {
    let has = |wanted: fn(u8) -> bool| starts(unit).any(|(_, nal)| wanted(unit[nal]));
    match codec {
        Codec::H264 => has(|nal| nal & 0x1f == 5),
        // IDR with and without leading pictures.
        Codec::Hevc => has(|nal| matches!(nal >> 1 & 0x3f, 19 | 20)),
        // A sequence header behind the delimiter of two bytes.
        Codec::Av1 => unit.get(2).is_some_and(|obu| obu >> 3 & 15 == 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn access_units_begin_at_delimiters_and_keyframes_are_known() {
        let h264 = [0, 0, 0, 1, 9, 16, 0, 0, 1, 0x65, 7, 0, 0, 0, 1, 9, 16, 0, 0, 1, 0x41, 8];
        let seen = units(Codec::H264, &h264);
        assert_eq!(
            seen.iter().map(|unit| (unit.data.len(), unit.keyframe)).collect::<Vec<_>>(),
            [(11, true), (11, false)]
        );
        let hevc = [0, 0, 0, 1, 0x46, 1, 0, 0, 1, 0x26, 1, 7, 0, 0, 1, 0x46, 1, 0, 0, 1, 2, 1];
        let seen = units(Codec::Hevc, &hevc);
        assert_eq!(seen.iter().map(|unit| unit.keyframe).collect::<Vec<_>>(), [true, false]);
        assert_eq!(seen.iter().flat_map(|unit| unit.data.clone()).collect::<Vec<_>>(), hevc);
    }

    #[test]
    fn a_wanted_keyframe_is_the_next_one() {
        let unit = |n: u8| Unit { data: vec![n], keyframe: n.is_multiple_of(3) };
        let mut player = Player { units: (0..5).map(unit).collect(), next: 0 };
        let mut next = |keyframe| player.next(keyframe).data[0];
        assert_eq!([next(true), next(false), next(true), next(true), next(false)], [0, 1, 3, 0, 1]);
    }
}
