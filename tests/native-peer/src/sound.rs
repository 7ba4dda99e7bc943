//! Sound that can be told apart: people who whistle, each at a pitch of its own, and what is heard of them.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::f64::consts::TAU;
use std::time::Duration;

use bytes::Bytes;

use crate::camera::{Microphone, Place};
use crate::{Error, Outgoing, Unit};

/// Samples of a second, mono.
pub const RATE: usize = 48_000;
/// Length of a packet of [`Whistle`].
pub const PACKET: Duration = Duration::from_millis(20);
/// Samples in it.
const SAMPLES: usize = RATE / 50;
/// Of what is heard, so much is remembered: half a second.
const HEARD: usize = RATE / 2;
/// Longest packet of Opus: 120 ms.
const LONGEST: usize = RATE / 1000 * 120;

/// A microphone into which somebody whistles.
pub struct Whistle {
    microphone: Microphone,
    encoder: opus::Encoder,
    hz: f64,
    at: usize,
}

impl Whistle {
    /// One that sends in this section, at this pitch.
    ///
    /// # Errors
    /// When libopus refuses.
    pub fn new(place: Place, ssrc: u32, hz: f64) -> Result<Self, Error> {
        let encoder = opus::Encoder::new(RATE as u32, opus::Channels::Mono, opus::Application::LowDelay);
        let encoder = encoder.map_err(|error| Error::Sound(error.to_string()))?;
        Ok(Self { microphone: Microphone::new(place, ssrc), encoder, hz, at: 0 })
    }

    /// The next packet.
    ///
    /// # Errors
    /// When libopus fails.
    pub fn packet(&mut self) -> Result<Outgoing, Error> {
        let sample = |i: usize| {
            let time = (self.at + i) as f64 / RATE as f64;
            ((time * self.hz * TAU).sin() * 8000.0) as i16
        };
        let samples: Vec<i16> = (0..SAMPLES).map(sample).collect();
        self.at += SAMPLES;
        let payload = self.encoder.encode_vec(&samples, 1000);
        let payload = Bytes::from(payload.map_err(|error| Error::Sound(error.to_string()))?);
        Ok(Outgoing { payload, ..self.microphone.packet() })
    }
}

/// What is heard in one stream.
struct Heard {
    decoder: opus::Decoder,
    /// The newest of it, mono.
    samples: Vec<i16>,
}

/// What one peer hears, by stream.
#[derive(Default)]
pub struct Ears(BTreeMap<u32, Heard>);

impl Ears {
    /// Takes the next packet of a stream.
    ///
    /// # Errors
    /// It is no Opus.
    pub fn hear(&mut self, packet: &Unit) -> Result<(), Error> {
        let failed = |error: opus::Error| Error::Sound(error.to_string());
        let Heard { decoder, samples } = match self.0.entry(packet.ssrc) {
            Entry::Occupied(known) => known.into_mut(),
            Entry::Vacant(new) => {
                let decoder = opus::Decoder::new(RATE as u32, opus::Channels::Mono).map_err(failed)?;
                new.insert(Heard { decoder, samples: Vec::new() })
            }
        };
        let mut decoded = [0; LONGEST];
        let count = decoder.decode(&packet.data, &mut decoded, false).map_err(failed)?;
        samples.extend_from_slice(&decoded[..count]);
        let old = samples.len().saturating_sub(HEARD);
        samples.drain(..old);
        Ok(())
    }

    /// The streams in which anything has come.
    pub fn streams(&self) -> Vec<u32> {
        self.0.keys().copied().collect()
    }

    /// Forgets what was heard so far.
    pub fn forget(&mut self) {
        self.0.clear();
    }

    /// Which of these pitches, each a fiftieth of it at least (a quiet one beside some that are loud), are in the last half second of a stream; none before there is so much.
    pub fn pitches(&self, stream: u32, of: &[f64]) -> Vec<f64> {
        let samples = self.0.get(&stream).map(|heard| &heard.samples[..]).unwrap_or_default();
        let is_heard = |hz: &f64| samples.len() >= HEARD && share(samples, *hz) > 0.02;
        of.iter().copied().filter(is_heard).collect()
    }
}

/// The share of the power of a sound, mono, that is whistled at `hz`, of 1.
pub fn share(samples: &[i16], hz: f64) -> f64 {
    let power: f64 = samples.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    // Next to nothing is no tone.
    if power < 1000.0 * samples.len() as f64 {
        return 0.0;
    }
    let mut re = 0.0;
    let mut im = 0.0;
    for (i, sample) in samples.iter().enumerate() {
        let phase = i as f64 / RATE as f64 * hz * TAU;
        re += f64::from(*sample) * phase.cos();
        im += f64::from(*sample) * phase.sin();
    }
    2.0 * re.hypot(im).powi(2) / samples.len() as f64 / power
}
