//! The recording device of a desktop: what peers say, on its way to the programs.
//!
//! ```text
//! feeds ─▶ Jacks: a queue per peer ─▶ Voices: Opus decoded ─▶ a stream per peer ─▶ sink "peers"
//!                                                       mixed by the server ─▶ source "microphone" ─▶ programs
//! ```
//!
//! Feeds put packets into [`Jacks`] on their own threads. The sound's thread has the [`Voices`], and decodes only while a
//! program records.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::mpsc::Receiver;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use common::id::PeerId;
use libpulse_binding as pulse;
use pulse::context::Context;
use pulse::def::BufferAttr;
use pulse::sample::{Format, Spec};
use pulse::stream::{self, SeekMode, Stream};

use super::capture::{SAMPLE_BYTES, failed, none};
use crate::encode::audio::{CHANNELS, OpusDecoder, SAMPLE_RATE};
use crate::feed::{self, AudioUnit, Listener};
use crate::source::{self, Error};
use crate::wake::Wake;

/// The sink into which peers speak, and whose monitor the programs' microphone is.
pub const SINK: &str = "peers";
/// The recording device, as programs see it.
pub const SOURCE: &str = "microphone";
/// Packets of one peer that wait for the sound's thread: a second. What is more is dropped, as it would be late.
const QUEUE: usize = 50;
/// Sound of one peer that waits at the server at most, in bytes: 100 ms. A packet that does not fit is dropped, so that
/// a peer whose clock is fast, or whose packets come late and all at once, is never heard later than this.
const MOST_WAITING: u32 = SAMPLE_RATE / 10 * SAMPLE_BYTES as u32;
/// Sound that must wait before a peer is heard, at first and after a pause, in bytes: 40 ms. What jitters less does not
/// stutter.
const LEAST_WAITING: u32 = MOST_WAITING * 2 / 5;

/// Where peers are plugged in. Clones are the same.
#[derive(Debug, Clone)]
pub struct Jacks(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    wake: Wake,
    plugged: Mutex<BTreeMap<PeerId, Receiver<Arc<AudioUnit>>>>,
}

impl Jacks {
    /// Nobody is plugged in.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(Inner { wake: Wake::new()?, plugged: Mutex::default() })))
    }

    /// Everybody who is plugged in, with what has come since the last call.
    fn take(&self) -> Vec<(PeerId, Vec<Arc<AudioUnit>>)> {
        self.0.wake.reset();
        self.plugged().iter().map(|(peer, units)| (*peer, units.try_iter().collect())).collect()
    }

    fn plugged(&self) -> MutexGuard<'_, BTreeMap<PeerId, Receiver<Arc<AudioUnit>>>> {
        self.0.plugged.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Readable when [`Jacks::take`] has something new.
impl AsFd for Jacks {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.wake.as_fd()
    }
}

impl source::Microphone for Jacks {
    fn plug(&self, peer: PeerId) -> Listener {
        let inner = Arc::clone(&self.0);
        let (listener, units) = feed::line(QUEUE, move || inner.wake.wake());
        self.plugged().insert(peer, units);
        listener
    }

    fn unplug(&self, peer: PeerId) {
        self.plugged().remove(&peer);
        self.0.wake.wake();
    }
}

/// The streams of peers to one server. Belongs to the sound's thread.
pub struct Voices {
    jacks: Jacks,
    voices: BTreeMap<PeerId, Voice>,
}

impl Voices {
    /// Nobody speaks yet.
    pub fn of(jacks: Jacks) -> Self {
        Self { jacks, voices: BTreeMap::new() }
    }

    /// Passes on what has come, while a program records. Otherwise it is dropped and nothing is left of the streams, so
    /// that the server sleeps.
    ///
    /// # Errors
    /// The server refuses a stream.
    pub fn speak(&mut self, context: &mut Context, recorded: bool) -> Result<(), Error> {
        let plugged = self.jacks.take();
        let is_plugged = |peer: &PeerId| plugged.iter().any(|(plugged, _)| plugged == peer);
        self.voices.retain(|peer, voice| recorded && is_plugged(peer) && voice.is_good());
        for (peer, units) in plugged {
            if !recorded || units.is_empty() {
                continue;
            }
            let voice = match self.voices.entry(peer) {
                Entry::Occupied(known) => known.into_mut(),
                Entry::Vacant(new) => new.insert(Voice::start(context)?),
            };
            for unit in units {
                voice.say(&unit.payload)?;
            }
        }
        Ok(())
    }
}

/// One peer's.
struct Voice {
    stream: Stream,
    decoder: OpusDecoder,
}

impl Voice {
    fn start(context: &mut Context) -> Result<Self, Error> {
        let decoder = OpusDecoder::new().map_err(|error| Error::Sound(format!("decoder: {error}")))?;
        let spec = Spec { format: Format::S16le, channels: CHANNELS as u8, rate: SAMPLE_RATE };
        let mut stream = Stream::new(context, "peer", &spec, None).ok_or_else(none("stream"))?;
        let attributes = BufferAttr {
            maxlength: 2 * MOST_WAITING,
            tlength: MOST_WAITING,
            prebuf: LEAST_WAITING,
            minreq: u32::MAX,
            fragsize: u32::MAX,
        };
        let flags = stream::FlagSet::ADJUST_LATENCY | stream::FlagSet::DONT_MOVE;
        stream
            .connect_playback(Some(SINK), Some(&attributes), flags, None, None)
            .map_err(failed("a peer's stream"))?;
        Ok(Self { stream, decoder })
    }

    fn is_good(&self) -> bool {
        self.stream.get_state().is_good()
    }

    /// Passes one packet on. What is no Opus, comes before the server is ready, or does not fit is dropped.
    fn say(&mut self, packet: &[u8]) -> Result<(), Error> {
        if self.stream.get_state() != stream::State::Ready {
            return Ok(());
        }
        let Ok(samples) = self.decoder.decode(packet) else { return Ok(()) };
        let bytes: Vec<u8> = samples.iter().flat_map(|sample| sample.to_le_bytes()).collect();
        if self.stream.writable_size().is_none_or(|room| room < bytes.len()) {
            return Ok(());
        }
        self.stream.write(&bytes, None, 0, SeekMode::Relative).map_err(failed("a peer's stream"))
    }
}

impl Drop for Voice {
    fn drop(&mut self) {
        // Fails only when the connection is gone, and the stream with it.
        let _ = self.stream.disconnect();
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use bytes::Bytes;

    use super::*;
    use crate::source::Microphone as _;
    use crate::wake::wait_readable;

    fn unit(n: u8) -> Arc<AudioUnit> {
        let payload = Bytes::copy_from_slice(&[n]);
        Arc::new(AudioUnit { captured: Instant::now(), time: 0, marker: false, payload })
    }

    fn taken(jacks: &Jacks) -> Vec<(PeerId, Vec<u8>)> {
        let payloads = |units: Vec<Arc<AudioUnit>>| units.iter().map(|unit| unit.payload[0]).collect();
        jacks.take().into_iter().map(|(peer, units)| (peer, payloads(units))).collect()
    }

    #[test]
    fn a_peer_is_heard_while_it_is_plugged_in() {
        let jacks = Jacks::new().unwrap();
        let is_woken = || wait_readable([jacks.as_fd()], Some(Instant::now())).unwrap();
        let peer = PeerId::unique();
        let mut listener = jacks.plug(peer);
        assert!(listener(&unit(1)) && listener(&unit(2)) && is_woken());
        assert_eq!(taken(&jacks), [(peer, vec![1, 2])]);
        assert!(!is_woken());
        let mut again = jacks.plug(peer);
        assert!(!listener(&unit(3)), "a newer one takes the place of the one before");
        assert!(again(&unit(4)));
        jacks.unplug(peer);
        assert!(!again(&unit(5)) && is_woken());
        assert_eq!(taken(&jacks), []);
    }

    #[test]
    fn what_waits_for_too_long_is_dropped() {
        let jacks = Jacks::new().unwrap();
        let mut listener = jacks.plug(PeerId::unique());
        for n in 0..=u8::MAX {
            assert!(listener(&unit(n)));
        }
        let taken = taken(&jacks);
        assert_eq!(taken[0].1, (0..QUEUE as u8).collect::<Vec<_>>());
    }
}
