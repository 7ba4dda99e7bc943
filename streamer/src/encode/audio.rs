//! Opus for sound: 48 kHz stereo, encoded in packets of 10 or 20 ms, and decoded where sound is mixed.

use bytes::Bytes;
use opus::{Application, Bitrate, Channels};

use super::Error;

/// Samples per second of each channel.
pub const SAMPLE_RATE: u32 = 48_000;
/// Left and right.
pub const CHANNELS: usize = 2;
/// Samples of each channel in one packet of a desktop's: 10 ms. Shorter ones cost more header than they save time.
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

    /// Encodes one or two times [`BLOCK`] values to one RTP payload (RFC 7587).
    ///
    /// # Errors
    /// When the block has another length, or libopus fails.
    pub fn encode(&mut self, block: &[i16]) -> Result<Bytes, Error> {
        if block.len() != BLOCK && block.len() != 2 * BLOCK {
            return Err(Error::Block(block.len()));
        }
        let len = self.opus.encode(block, &mut self.packet)?;
        Ok(Bytes::copy_from_slice(&self.packet[..len]))
    }
}

/// Longest packet: 120 ms (RFC 6716 §3.2.5), values of both channels.
const LONGEST: usize = SAMPLE_RATE as usize / 1000 * 120 * CHANNELS;

/// Decodes one stream of sound, whatever it was encoded from, to stereo.
pub struct OpusDecoder {
    opus: opus::Decoder,
    samples: Box<[i16]>,
}

impl OpusDecoder {
    /// A decoder at its beginning.
    ///
    /// # Errors
    /// When libopus refuses its settings.
    pub fn new() -> Result<Self, Error> {
        let opus = opus::Decoder::new(SAMPLE_RATE, Channels::Stereo)?;
        Ok(Self { opus, samples: vec![0; LONGEST].into_boxed_slice() })
    }

    /// The samples of the next packet, interleaved.
    ///
    /// # Errors
    /// It is no Opus, or longer than a packet may be.
    pub fn decode(&mut self, packet: &[u8]) -> Result<&[i16], Error> {
        // To libopus, nothing is a packet that is lost.
        if packet.is_empty() {
            return Err(Error::Block(0));
        }
        let decoded = self.opus.decode(packet, &mut self.samples, false)?;
        Ok(self.samples.get(..decoded * CHANNELS).unwrap_or_default())
    }

    /// What may have been in the `values` values before `packet`, which is there, when the packets with them are lost: of the
    /// redundancy in it, if it has any, else as [`OpusDecoder::conceal`]. `values` is a multiple of 2.5 ms.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn recover(&mut self, packet: &[u8], values: usize) -> Result<&[i16], Error> {
        self.fill(packet, values, true)
    }

    /// What may have come next, for `values` values, when no packet has. `values` is a multiple of 2.5 ms.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn conceal(&mut self, values: usize) -> Result<&[i16], Error> {
        self.fill(&[], values, false)
    }

    fn fill(&mut self, packet: &[u8], values: usize, recover: bool) -> Result<&[i16], Error> {
        let samples = self.samples.get_mut(..values).ok_or(Error::Block(values))?;
        let decoded = self.opus.decode(packet, samples, recover)?;
        Ok(self.samples.get(..decoded * CHANNELS).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tone_comes_back_at_its_pitch() {
        let mut encoder = OpusEncoder::new().unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let mut left = Vec::new();
        for block in 0..50 {
            let sample = |i: usize| {
                let t = (block * FRAME_SAMPLES + i / CHANNELS) as f64 / f64::from(SAMPLE_RATE);
                ((t * 440.0 * std::f64::consts::TAU).sin() * 8000.0) as i16
            };
            let packet = encoder.encode(&std::array::from_fn::<_, BLOCK, _>(sample)).unwrap();
            let decoded = decoder.decode(&packet).unwrap();
            assert_eq!(decoded.len(), BLOCK);
            left.extend(decoded.iter().step_by(CHANNELS).copied());
        }
        let half = &left[left.len() / 2..];
        let rising = half.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
        assert!((109..=111).contains(&rising), "440 Hz cross zero upwards 110 times in 250 ms, not {rising}");
    }

    #[test]
    fn what_is_lost_is_concealed_in_its_length() {
        let mut encoder = OpusEncoder::new().unwrap();
        let mut decoder = OpusDecoder::new().unwrap();
        let packet = encoder.encode(&[1000; 2 * BLOCK]).unwrap();
        assert_eq!(decoder.decode(&packet).unwrap().len(), 2 * BLOCK);
        assert_eq!(decoder.conceal(BLOCK / 4).unwrap().len(), BLOCK / 4);
        assert_eq!(decoder.recover(&packet, 2 * BLOCK).unwrap().len(), 2 * BLOCK);
        assert!(decoder.conceal(LONGEST + BLOCK).is_err());
        assert!(decoder.decode(&[]).is_err() && decoder.decode(&[0xff; 3]).is_err());
    }

    #[test]
    fn a_block_of_another_length_is_refused() {
        let mut encoder = OpusEncoder::new().unwrap();
        assert!(matches!(encoder.encode(&[0; 7]), Err(Error::Block(7))));
    }
}
