//! H.264: our own encoder for screens, openh264 for films, behind one interface.

use std::time::Instant;

use bytes::Bytes;

use super::Error;
use super::content::Content;
use super::convert::I420;
use super::film::Film;
use super::rows::Rows;
use super::screen::Screen;
use crate::media::Size;

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Size of every picture.
    pub size: Size,
    /// Highest frame rate.
    pub fps: u32,
    /// Target of [`Content::Film`].
    pub bitrate_bps: u32,
    /// What the pictures are like.
    pub content: Content,
}

/// What is wanted of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Order {
    /// When it was taken.
    pub captured: Instant,
    /// It must be decodable alone.
    pub keyframe: bool,
    /// How long it may become with [`Content::Screen`]; films keep to the bitrate on average.
    pub max_bytes: usize,
}

/// What the encoder made of a picture.
#[derive(Debug)]
pub struct Encoded {
    /// Annex B; SPS and PPS come first in a keyframe. Empty when the encoder left the picture out.
    pub data: Bytes,
    /// Decodable alone (IDR).
    pub keyframe: bool,
    /// Which share of the picture was neither still nor moved, if the encoder knows.
    pub share_of_new: Option<f64>,
}

/// Encodes pictures of one size. Its first one is a keyframe.
pub enum Encoder {
    /// For [`Content::Screen`].
    Screen(Box<Screen>),
    /// For [`Content::Film`].
    Film(Box<Film>),
}

impl Encoder {
    /// An encoder; takes some milliseconds, the first picture included.
    ///
    /// # Errors
    /// When it does not start.
    pub fn new(config: Config, now: Instant) -> Result<Self, Error> {
        Ok(match config.content {
            Content::Screen => Self::Screen(Box::new(Screen::new(config)?)),
            Content::Film => Self::Film(Box::new(Film::new(config, now)?)),
        })
    }

    /// What it was made for.
    pub fn config(&self) -> &Config {
        match self {
            Self::Screen(screen) => screen.config(),
            Self::Film(film) => film.config(),
        }
    }

    /// Changes the target bitrate from the next picture on, without a keyframe.
    ///
    /// # Errors
    /// When the encoder refuses it: it is not positive.
    pub fn set_bitrate(&mut self, bps: u32) -> Result<(), Error> {
        match self {
            Self::Screen(_) => Ok(()),
            Self::Film(film) => film.set_bitrate(bps),
        }
    }

    /// Encodes a picture that differs from the one before in `rows` at most. Nothing if it does not differ, where the
    /// encoder knows that, and no keyframe is wanted.
    ///
    /// # Errors
    /// When the picture has another size, or the encoder fails.
    pub fn encode(&mut self, picture: &I420, rows: &Rows, order: &Order) -> Result<Option<Encoded>, Error> {
        match self {
            Self::Screen(screen) => screen.encode(picture, rows, order),
            Self::Film(film) => film.encode(picture, order.captured, order.keyframe).map(Some),
        }
    }

    /// Adds detail to the picture encoded last, in about `max_bytes` where the encoder can be told. Nothing if there is
    /// none to add.
    ///
    /// # Errors
    /// As of [`Encoder::encode`].
    pub fn refine(
        &mut self,
        picture: &I420,
        captured: Instant,
        max_bytes: usize,
    ) -> Result<Option<Encoded>, Error> {
        match self {
            Self::Screen(screen) => Ok(screen.refine(max_bytes)),
            Self::Film(film) => film.refine(picture, captured),
        }
    }

    /// Whether [`Encoder::refine`] has nothing to add.
    pub fn is_at_rest(&self) -> bool {
        match self {
            Self::Screen(screen) => screen.is_at_rest(),
            Self::Film(film) => film.is_at_rest(),
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource as _;
    use std::time::Duration;

    fn config(width: u32, height: u32, content: Content) -> Config {
        Config { size: Size { width, height }, fps: 30, bitrate_bps: 2_500_000, content }
    }

    fn order(captured: Instant, keyframe: bool) -> Order {
        Order { captured, keyframe, max_bytes: 200_000 }
    }

    /// A picture with edges that moves: lines of different slopes, by `step`.
    pub fn picture(size: Size, step: u32) -> I420 {
        let mut picture = I420::new(size).unwrap();
        let mut pixels = Vec::new();
        for y in 0..size.height {
            for x in 0..size.width {
                let line = (x + 3 * y + 4 * step) % 64 < 6 || (2 * x + y + step) % 96 < 4;
                pixels.extend(if line { [20, 30, 40, 0] } else { [230, 220, 210, 0] });
            }
        }
        picture.convert(0..size.height, &pixels, 4 * size.width as usize).unwrap();
        picture
    }

    #[test]
    fn a_keyframe_has_its_parameter_sets_and_is_constrained_baseline() {
        for content in [Content::Screen, Content::Film] {
            let config = config(320, 240, content);
            let start = Instant::now();
            let mut encoder = Encoder::new(config, start).unwrap();
            for step in 0..4 {
                let at = start + Duration::from_millis(33 * u64::from(step));
                let picture = picture(config.size, step);
                let unit = encoder.encode(&picture, &Rows::all(240), &order(at, step == 2)).unwrap().unwrap();
                assert_eq!(unit.keyframe, step % 2 == 0, "{content:?} step {step}");
                if unit.keyframe {
                    let [0, 0, 0, 1, sps, profile, constraints, level, ..] = unit.data[..] else {
                        panic!("no SPS first: {:x?}", &unit.data[..8]);
                    };
                    assert_eq!((sps & 31, profile, level), (7, 66, 31));
                    assert_eq!(constraints & 0x40, 0x40, "constraint_set1: {constraints:x}");
                    assert!(unit.data.windows(4).any(|w| w[..3] == [0, 0, 1] && w[3] & 31 == 8), "no PPS");
                }
            }
        }
    }

    #[test]
    fn what_is_decoded_looks_like_what_was_encoded_and_better_at_rest() {
        for (content, size, expected) in
            [(Content::Screen, (1366, 768), 50.0), (Content::Film, (128, 64), 38.0)]
        {
            let config = config(size.0, size.1, content);
            let start = Instant::now();
            let mut encoder = Encoder::new(config, start).unwrap();
            let mut decoder = Decoder::new().unwrap();
            let shown = picture(config.size, 5);
            let first = encoder.encode(&shown, &Rows::all(size.1), &order(start, false)).unwrap();
            let mut unit = first.expect("the first picture is a keyframe");
            let mut psnr = 0.0;
            for step in 1..20 {
                let decoded = decoder.decode(&unit.data).unwrap().expect("a picture per access unit");
                assert_eq!(decoded.dimensions(), (size.0 as usize, size.1 as usize));
                let rows = decoded.y().chunks(decoded.strides().0);
                psnr = luma_psnr(shown.planes().0, rows.flat_map(|row| &row[..size.0 as usize]));
                let at = start + Duration::from_millis(33 * step);
                let next = match content {
                    Content::Screen => encoder.refine(&shown, at, 200_000).unwrap(),
                    Content::Film => encoder.encode(&shown, &Rows::default(), &order(at, false)).unwrap(),
                };
                let Some(next) = next else { break };
                unit = next;
            }
            assert!(content == Content::Film || encoder.is_at_rest());
            assert!(psnr > expected, "{content:?}: {psnr:.1} dB");
        }
    }

    /// Of the same number of samples.
    pub fn luma_psnr<'a>(expected: &[u8], seen: impl Iterator<Item = &'a u8>) -> f64 {
        let square = |(a, b): (&u8, &u8)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        let error: f64 = expected.iter().zip(seen).map(square).sum();
        10.0 * (255.0 * 255.0 * expected.len() as f64 / error.max(1.0)).log10()
    }

    #[test]
    fn a_screen_that_does_not_change_is_a_picture_only_when_a_keyframe_is_wanted() {
        let config = config(320, 240, Content::Screen);
        let start = Instant::now();
        let mut encoder = Encoder::new(config, start).unwrap();
        let shown = picture(config.size, 1);
        let mut encode = |keyframe| encoder.encode(&shown, &Rows::all(240), &order(start, keyframe)).unwrap();
        assert!(encode(false).is_some_and(|unit| unit.keyframe));
        assert!(encode(false).is_none());
        assert!(encode(true).is_some_and(|unit| unit.keyframe));
    }
}
