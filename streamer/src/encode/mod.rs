//! Encoders: pictures to H.264, sound to Opus, and what decides how often and how much.
//!
//! ```text
//! BGRX rows ──▶ convert: I420 ──▶ encoder: screen or film ──▶ access unit
//!                   ▲                  ▲             ▲
//!                   │                  │             └── content: which of the two
//!                   └── rate: when, ───┴── and at how many bits
//! ```
//!
//! Nothing here knows where pictures come from or who watches.

pub mod audio;
pub mod content;
pub mod convert;
pub mod encoder;
pub mod film;
pub mod rate;
pub mod rows;
pub mod scale;
pub mod screen;

/// Why something could not be encoded.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The encoder for screens refused something.
    #[error("screen-h264: {0}")]
    Screen(#[from] screen_h264::Error),
    /// openh264 refused something.
    #[error("openh264: {0}")]
    Video(#[from] openh264::Error),
    /// openh264 refused something, by its number.
    #[error("openh264: {what}: error {code}")]
    VideoCode {
        /// What was asked of it.
        what: &'static str,
        /// Its answer.
        code: i32,
    },
    /// The picture cannot be encoded: odd, empty or too large.
    #[error("a picture of {width}x{height} cannot be encoded")]
    Size {
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Pixels could not be converted.
    #[error("converting pixels: {0}")]
    Convert(String),
    /// libopus refused something.
    #[error("opus: {0}")]
    Sound(#[from] opus::Error),
    /// Not one block of samples.
    #[error("a block of sound has {expected} values, not {0}", expected = audio::BLOCK)]
    Block(usize),
}
