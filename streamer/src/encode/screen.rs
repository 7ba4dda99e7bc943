//! H.264 by our own encoder, for screens ([`screen_h264`]): the cost of a picture follows what changed in it.

use screen_h264::{Colour, Encoder, Picture, Rect, Statistics};

use super::Error;
use super::convert::I420;
use super::encoder::{Config, Encoded, Order};
use super::rows::Rows;
use crate::media::Size;

/// Quantiser while the bitrate allows it. Text is at about 49 dB then and cannot be told from the original; what is
/// finer takes half as much again, and is added when the picture is at rest.
const FINEST_QP: u8 = 20;
/// Quantiser of a first picture on a narrow path: better seen at once, and then made sharp.
const COARSEST_QP: u8 = 51;

/// Encodes pictures of one size. Its first one is a keyframe.
pub struct Screen {
    encoder: Encoder,
    config: Config,
}

impl Screen {
    /// An encoder.
    ///
    /// # Errors
    /// When no decoder could be expected to take pictures of that size.
    pub fn new(config: Config) -> Result<Self, Error> {
        Ok(Self { encoder: encoder(config.size, config.fps)?, config })
    }

    /// What it was made for. The bitrate is of no concern to it: each picture comes with a bound.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Encodes a picture that differs from the one before in `rows` at most. Nothing if it does not differ, unless a
    /// keyframe is wanted.
    ///
    /// # Errors
    /// When the picture has another size.
    pub fn encode(&mut self, picture: &I420, rows: &Rows, order: &Order) -> Result<Option<Encoded>, Error> {
        self.encoder.set_quality(FINEST_QP, COARSEST_QP, order.max_bytes.max(1))?;
        let damage = damage(rows, self.config.size);
        let encoded = self.encoder.encode(&lent(picture)?, &damage, &[], order.keyframe)?;
        Ok(encoded.map(|encoded| self.encoded(encoded)))
    }

    /// Adds detail to the picture before, in about `max_bytes`. Nothing if there is none to add.
    pub fn refine(&mut self, max_bytes: usize) -> Option<Encoded> {
        let encoded = self.encoder.refine(max_bytes)?;
        Some(Encoded { share_of_new: None, ..self.encoded(encoded) })
    }

    /// Whether [`Screen::refine`] has nothing to add.
    pub fn is_at_rest(&self) -> bool {
        self.encoder.is_at_rest()
    }

    /// What decoders show: planes and their strides.
    #[cfg(test)]
    pub fn reconstruction(&self) -> ([&[u8]; 3], [usize; 3]) {
        self.encoder.reconstruction()
    }

    fn encoded(&self, encoded: screen_h264::Encoded) -> Encoded {
        let share = share(encoded.statistics, self.config.size);
        // A keyframe says nothing: all of it is coded, whatever changed.
        let share_of_new = (!encoded.keyframe).then_some(share);
        Encoded { data: encoded.data.into(), keyframe: encoded.keyframe, share_of_new }
    }
}

/// The share of `picture` that [`Screen`] would have to code anew if it followed `before`.
///
/// # Errors
/// When the pictures differ in size.
pub fn share_of_new(before: &I420, picture: &I420, rows: &Rows) -> Result<f64, Error> {
    let size = picture.size();
    let mut encoder = encoder(size, 1)?;
    Ok(share(encoder.survey(&lent(before)?, &lent(picture)?, &damage(rows, size))?, size))
}

fn encoder(size: Size, fps: u32) -> Result<Encoder, Error> {
    let config = screen_h264::Config {
        fps,
        colour: Colour::BT709,
        finest_qp: FINEST_QP,
        coarsest_qp: COARSEST_QP,
        ..screen_h264::Config::new(size.width, size.height)
    };
    Ok(Encoder::new(config)?)
}

fn share(statistics: Statistics, size: Size) -> f64 {
    let macroblocks = size.width.div_ceil(16) * size.height.div_ceil(16);
    f64::from(statistics.inter + statistics.intra) / f64::from(macroblocks)
}

fn damage(rows: &Rows, size: Size) -> Vec<Rect> {
    let rect = |strip: &std::ops::Range<u32>| Rect {
        x: 0,
        y: strip.start,
        width: size.width,
        height: strip.end - strip.start,
    };
    rows.strips().iter().map(rect).collect()
}

fn lent(picture: &I420) -> Result<Picture<'_>, Error> {
    let Size { width, height } = picture.size();
    let (y, u, v) = picture.planes();
    let stride = width as usize;
    Ok(Picture::new(width, height, [y, u, v], [stride, stride / 2, stride / 2])?)
}
