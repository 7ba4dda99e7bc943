//! An H.264 encoder for screens: constrained baseline, CAVLC, one reference picture.
//!
//! Of a screen it is known what changed. The cost of a picture follows that, and not its size: macroblocks
//! outside of the damage are skipped without being looked at, content that moved becomes a vector, and only the
//! remaining ones are predicted, transformed and coded. What was coded coarsely for want of bits is improved
//! by [`Encoder::refine`], until the picture at rest is as good as wanted.
//!
//! The crate is plain code: no I/O, no clock, no threads, no `unsafe`. Every picture is reconstructed exactly as
//! decoders do.
//!
//! ```
//! use screen_h264::{Config, Encoder, Picture, Rect};
//!
//! # fn main() -> Result<(), screen_h264::Error> {
//! let mut encoder = Encoder::new(Config { max_bytes: 40_000, ..Config::new(320, 240) })?;
//! let mut luma = vec![235; 320 * 240];
//! let chroma = vec![128; 160 * 120];
//! let picture = Picture::new(320, 240, [&luma, &chroma, &chroma], [320, 160, 160])?;
//! let keyframe = encoder.encode(&picture, &[], &[], false)?.expect("the first picture is a keyframe");
//! assert!(keyframe.keyframe);
//!
//! luma[320 * 100..320 * 116].fill(16);
//! let picture = Picture::new(320, 240, [&luma, &chroma, &chroma], [320, 160, 160])?;
//! let damage = Rect { x: 0, y: 100, width: 320, height: 16 };
//! let update = encoder.encode(&picture, &[damage], &[], false)?.expect("something changed");
//! assert!(update.data.len() < keyframe.data.len());
//! while let Some(better) = encoder.refine(20_000) {
//!     assert!(!better.keyframe);
//! }
//! # Ok(())
//! # }
//! ```
//!
//! ```text
//! picture + damage ──▶ what changed ──▶ motion, glyphs ──▶ macroblock: how the others are coded
//!                                                          │ predict, transform, cavlc, bits
//!                      access unit ◀── slice, params ◀─────┘
//! ```

#![forbid(unsafe_code)]

mod bits;
mod cavlc;
mod encoder;
mod frame;
mod glyphs;
mod macroblock;
mod motion;
mod params;
mod predict;
mod rate;
mod slice;
mod transform;

pub use encoder::{Colour, Config, Encoded, Encoder, Statistics};
pub use frame::{Picture, Rect, Vector};

/// Why something could not be encoded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// A side is odd, zero, too large for any level, or not that of the encoder.
    #[error("a picture of {width}x{height} cannot be encoded")]
    Size {
        /// Luma samples.
        width: u32,
        /// Luma samples.
        height: u32,
    },
    /// A plane lacks rows, or its stride is shorter than a row.
    #[error("plane {name} of {len} bytes with a stride of {stride} does not hold the picture")]
    Plane {
        /// Y, U or V.
        name: &'static str,
        /// Bytes.
        len: usize,
        /// Bytes.
        stride: usize,
    },
    /// A value of the configuration is out of range.
    #[error("{field}: {problem}")]
    Config {
        /// The field's name.
        field: &'static str,
        /// What it has to be.
        problem: &'static str,
    },
}
