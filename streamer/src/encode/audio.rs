//! Opus for sound: 48 kHz stereo, one packet per block of 10 ms.

use bytes::Bytes;
use opus::{Application, Bitrate, Channels};

use super::Error;

/// Samples per second of each channel.
pub const SAMPLE_RATE: u32 = 48_000;
/// Left and right.
pub const CHANNELS: usize = 2;
/// Samples of each channel in one packet: 10 ms. Shorter ones cost more header than they save time.
pub const FRAME_SAMPLES: usize = 480;
/// Values in one block: samples of both channels, interleaved.
pub const BLOCK: usize = FRAME_SAMPLES * CHANNELS;
/// Music is transparent to most ears from here on.
const BITRATE_BPS: i32 = 96_000;
/// Longest packet of one frame (RFC 6716 §3.2.1: at most 1275 bytes, and one for the table of contents).
const MAX_PACKET: usize = 1276;

/// Encodes one stream of sound, each block right after the one before.
pub struct OpusEncoder {
    opus: opus::Encoder,
    packet: [u8; MAX_PACKET],
}

impl OpusEncoder {
    /// An encoder at its beginning.
    ///
    /// # Errors
    /// When libopus refuses its settings.
    pub fn new() -> Result<Self, Error> {
        // Low delay leaves out the speech codec: its lookahead would add 4 ms.
        let mut opus = opus::Encoder::new(SAMPLE_RATE, Channels::Stereo, Application::LowDelay)?;
        opus.set_bitrate(Bitrate::Bits(BITRATE_BPS))?;
        Ok(Self { opus, packet: [0; MAX_PACKET] })
    }

    /// Encodes [`BLOCK`] values to one RTP payload (RFC 7587).
    ///
    /// # Errors
    /// When the block has another length, or libopus fails.
    pub fn encode(&mut self, block: &[i16]) -> Result<Bytes, Error> {
        if block.len() != BLOCK {
            return Err(Error::Block(block.len()));
        }
        let len = self.opus.encode(block, &mut self.packet)?;
        Ok(Bytes::copy_from_slice(&self.packet[..len]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_comes_back_at_its_pitch() {
        let mut encoder = OpusEncoder::new().unwrap();
        let mut decoder = opus::Decoder::new(SAMPLE_RATE, Channels::Stereo).unwrap();
        let mut left = Vec::new();
        for block in 0..50 {
            let sample = |i: usize| {
                let t = (block * FRAME_SAMPLES + i / CHANNELS) as f64 / f64::from(SAMPLE_RATE);
                ((t * 440.0 * std::f64::consts::TAU).sin() * 8000.0) as i16
            };
            let packet = encoder.encode(&std::array::from_fn::<_, BLOCK, _>(sample)).unwrap();
            let mut decoded = [0; BLOCK];
            assert_eq!(decoder.decode(&packet, &mut decoded, false).unwrap(), FRAME_SAMPLES);
            left.extend(decoded.iter().step_by(CHANNELS).copied());
        }
        let half = &left[left.len() / 2..];
        let rising = half.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((109..=111).contains(&rising), "440 Hz cross zero upwards 110 times in 250 ms, not {rising}");
    }

    #[test]
    fn a_block_of_another_length_is_refused() {
        let mut encoder = OpusEncoder::new().unwrap();
        assert!(matches!(encoder.encode(&[0; 7]), Err(Error::Block(7))));
    }
}
