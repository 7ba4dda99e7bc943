//! Feeds: one encoded output of a source, handed to every shard.
//!
//! ```text
//! encoder thread ── AccessUnit ──▶ VideoOutlet: cut into payloads once ── Arc<VideoUnit> ──▶ every shard
//! ```
//!
//! A source holds the outlets and publishes on its own thread; nothing here blocks it. The way
//! back, from the peers to the source, is the feed's [`Demand`].

pub mod demand;
mod ear;
pub mod gop;
pub mod keyframe;
pub mod packetize;
pub mod tap;

use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, VideoCodec};

pub use demand::{Bitrate, Demand};
pub use ear::{Ear, line};
pub use tap::{Tap, Tapped};

use crate::media::{AccessUnit, AudioPacket};
use tap::TapSender;

/// An access unit cut into RTP payloads; every peer of every shard sends these very bytes.
#[derive(Debug)]
pub struct VideoUnit {
    /// Counts the units of the feed from 0 without gaps: a gap at a receiver is a loss.
    pub number: u64,
    /// The codec of the payloads.
    pub codec: VideoCodec,
    /// Decodable alone.
    pub keyframe: bool,
    /// When the frame was captured.
    pub captured: Instant,
    /// `captured` in ticks of 90 kHz since the feed's clock began, strictly increasing.
    pub time: u64,
    /// RTP payloads, in order; the last one gets the marker.
    pub payloads: Vec<Bytes>,
    /// Length of all payloads together.
    pub bytes: usize,
}

/// One sound packet, its payload shared by all peers.
#[derive(Debug)]
pub struct AudioUnit {
    /// When its first sample was captured.
    pub captured: Instant,
    /// `captured` in ticks of 48 kHz since the feed's clock began; packets without silence between
    /// them are exactly one packet apart.
    pub time: u64,
    /// The first packet after silence (RFC 3551 §4.1).
    pub marker: bool,
    /// RTP payload.
    pub payload: Bytes,
}

/// Where a source's encoder publishes access units. Owned by the encoder thread.
pub struct VideoOutlet {
    demand: Arc<Demand>,
    clock: Instant,
    number: u64,
    last_time: Option<u64>,
    publish: Box<dyn FnMut(Arc<VideoUnit>) + Send>,
    new_taps: NewTaps,
    taps: Vec<TapSender>,
}

/// Taps on their way to a feed's thread; more than one at once is rare.
const NEW_TAPS: usize = 16;

/// Lets others tap a feed.
#[derive(Clone)]
pub struct Tapping {
    taps: SyncSender<TapSender>,
    demand: Arc<Demand>,
}

/// Taps on their way to an outlet.
pub struct NewTaps(Receiver<TapSender>);

/// Hears each packet of a feed inside the streamer, on the thread that publishes: it must not block. False when it
/// hears no more.
pub type Listener = Box<dyn FnMut(&Arc<AudioUnit>) -> bool + Send>;

/// Lets others listen to a feed's sound.
#[derive(Debug, Clone)]
pub struct Listening {
    listeners: SyncSender<Listener>,
    /// The same for all clones.
    outlet: Arc<()>,
}

/// Listeners on their way to an outlet.
pub struct NewListeners(Receiver<Listener>);

impl Listening {
    /// Lets others listen, once the feed's outlet has been given the listeners.
    pub fn new() -> (Self, NewListeners) {
        let (listeners, new_listeners) = sync_channel(NEW_TAPS);
        (Self { listeners, outlet: Arc::default() }, NewListeners(new_listeners))
    }

    /// Passes what is published from now on to `listener`; of a feed that has ended it hears nothing.
    ///
    /// # Errors
    /// So many wait already for the next packet that this one is not taken: here it is again.
    pub fn listen(&self, listener: Listener) -> Result<(), Listener> {
        match self.listeners.try_send(listener) {
            Err(TrySendError::Full(listener)) => Err(listener),
            Ok(()) | Err(TrySendError::Disconnected(_)) => Ok(()),
        }
    }

    /// Whether both are of the same outlet: of a source that was started again there is another one.
    pub fn is_same(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.outlet, &other.outlet)
    }
}

impl Tapping {
    /// Lets others tap the feed that `demand` belongs to, once its outlet has been given the taps.
    pub fn new(demand: Arc<Demand>) -> (Self, NewTaps) {
        let (taps, new_taps) = sync_channel(NEW_TAPS);
        (Self { taps, demand }, NewTaps(new_taps))
    }

    /// A tap for units that are published from now on. For a feed that has ended, the tap is at its end.
    pub fn tap(&self) -> Tap {
        let (sender, tap) = tap::tap(Arc::clone(&self.demand));
        // One that does not fit is dropped, and the tap is at its end: the caller tries again.
        let _ = self.taps.try_send(sender);
        tap.ask_keyframe();
        tap
    }
}

impl VideoOutlet {
    /// An outlet that hands every unit to `publish`, on the thread that publishes. `clock` is when
    /// the feed's time is zero; sound that belongs to it has the same.
    pub fn new(
        demand: Arc<Demand>,
        clock: Instant,
        publish: impl FnMut(Arc<VideoUnit>) + Send + 'static,
    ) -> Self {
        let (_, new_taps) = Tapping::new(Arc::clone(&demand));
        Self {
            demand,
            clock,
            number: 0,
            last_time: None,
            publish: Box::new(publish),
            new_taps,
            taps: Vec::new(),
        }
    }

    /// Publishes to these taps too. Called once.
    pub fn take_taps(&mut self, taps: NewTaps) {
        self.new_taps = taps;
    }

    /// The demand of peers.
    pub fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Broadcasts one access unit. Never blocks.
    pub fn publish(&mut self, unit: AccessUnit) {
        let payloads = packetize::payloads(&unit, self.number);
        let AccessUnit { codec, keyframe, captured, .. } = unit;
        self.publish_cut(Cut { codec, keyframe, captured, payloads }, Some(&unit));
    }

    /// Whether anybody taps the feed, so that whole access units are needed.
    pub fn is_tapped(&mut self) -> bool {
        self.taps.extend(self.new_taps.0.try_iter());
        !self.taps.is_empty()
    }

    /// Broadcasts one access unit that is cut into payloads already. Never blocks. Taps get it as a whole, if there is one.
    pub fn publish_cut(&mut self, cut: Cut, whole: Option<&AccessUnit>) {
        if let Some(unit) = whole
            && self.is_tapped()
        {
            self.taps.retain_mut(|tap| tap.send(unit));
        }
        let Cut { codec, keyframe, captured, payloads } = cut;
        if payloads.is_empty() {
            return;
        }
        let ticks = ticks_since(self.clock, captured, VIDEO_CLOCK_HZ);
        let time = self.last_time.map_or(ticks, |last| ticks.max(last + 1));
        self.last_time = Some(time);
        let bytes = payloads.iter().map(Bytes::len).sum();
        let number = self.number;
        self.number += 1;
        let unit = VideoUnit { number, codec, keyframe, captured, time, payloads, bytes };
        (self.publish)(Arc::new(unit));
    }
}

/// An access unit as a publisher has cut it.
#[derive(Debug)]
pub struct Cut {
    /// What the payloads are of.
    pub codec: VideoCodec,
    /// Decodable alone.
    pub keyframe: bool,
    /// When the frame was taken.
    pub captured: Instant,
    /// RTP payloads, in order.
    pub payloads: Vec<Bytes>,
}

/// Where a source publishes sound. Owned by the sound thread.
pub struct AudioOutlet {
    demand: Arc<Demand>,
    clock: Instant,
    /// Start time of the next packet, if there is no silence before it.
    next_time: Option<u64>,
    publish: Box<dyn FnMut(Arc<AudioUnit>) + Send>,
    new_listeners: NewListeners,
    listeners: Vec<Listener>,
}

/// A packet this close to where the last one ended (40 ms) continues it: capture times jitter, sound does not.
const CONTINUES_TICKS: u64 = 40 * AUDIO_CLOCK_HZ as u64 / 1000;

impl AudioOutlet {
    /// An outlet that hands every packet to `publish`, on the thread that publishes.
    pub fn new(
        demand: Arc<Demand>,
        clock: Instant,
        publish: impl FnMut(Arc<AudioUnit>) + Send + 'static,
    ) -> Self {
        let (_, new_listeners) = Listening::new();
        Self {
            demand,
            clock,
            next_time: None,
            publish: Box::new(publish),
            new_listeners,
            listeners: Vec::new(),
        }
    }

    /// Publishes to these listeners too. Called once.
    pub fn take_listeners(&mut self, listeners: NewListeners) {
        self.new_listeners = listeners;
    }

    /// The demand of peers; keyframe requests are not used here.
    pub fn demand(&self) -> &Arc<Demand> {
        &self.demand
    }

    /// Broadcasts one packet. Never blocks.
    pub fn publish(&mut self, packet: AudioPacket) {
        let ticks = ticks_since(self.clock, packet.captured, AUDIO_CLOCK_HZ);
        let continued = self.next_time.filter(|next| next.abs_diff(ticks) < CONTINUES_TICKS);
        // After silence time goes on where the clock is, but never back.
        let time = continued.unwrap_or_else(|| self.next_time.map_or(ticks, |next| ticks.max(next)));
        self.next_time = Some(time + u64::from(packet.ticks));
        let unit =
            AudioUnit { captured: packet.captured, time, marker: continued.is_none(), payload: packet.data };
        let unit = Arc::new(unit);
        self.listeners.extend(self.new_listeners.0.try_iter());
        self.listeners.retain_mut(|listener| listener(&unit));
        (self.publish)(unit);
    }
}

fn ticks_since(clock: Instant, at: Instant, hz: u32) -> u64 {
    ticks(at.saturating_duration_since(clock), hz)
}

/// A duration in ticks of `hz`.
pub fn ticks(elapsed: Duration, hz: u32) -> u64 {
    elapsed.as_secs() * u64::from(hz) + u64::from(elapsed.subsec_nanos()) * u64::from(hz) / 1_000_000_000
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    fn demand() -> Arc<Demand> {
        Arc::new(Demand::new().unwrap())
    }

    #[test]
    fn video_time_strictly_increases_and_numbers_have_no_gaps() {
        let (sent, units) = mpsc::sync_channel(8);
        let start = Instant::now();
        let mut outlet = VideoOutlet::new(demand(), start, move |unit| sent.send(unit).unwrap());
        for ms in [0, 0, 33] {
            let captured = start + Duration::from_millis(ms);
            outlet.publish(AccessUnit { captured, ..AccessUnit::sample(&[0, 0, 1, 0x65, 1], true) });
        }
        drop(outlet);
        let seen: Vec<_> = units.iter().map(|unit| (unit.number, unit.time)).collect();
        assert_eq!(seen, [(0, 0), (1, 1), (2, 2970)]);
    }

    #[test]
    fn listeners_hear_what_comes_until_they_say_that_they_do_not() {
        let (listening, listeners) = Listening::new();
        let mut outlet = AudioOutlet::new(demand(), Instant::now(), |_| {});
        outlet.take_listeners(listeners);
        let (sent, heard) = mpsc::sync_channel(8);
        let mut left = 2;
        let listener = move |unit: &Arc<AudioUnit>| {
            left -= 1;
            sent.send(unit.payload[0]).unwrap();
            left > 0
        };
        assert!(listening.listen(Box::new(listener)).is_ok());
        for n in 1..=3 {
            let captured = Instant::now();
            outlet.publish(AudioPacket { data: Bytes::copy_from_slice(&[n]), captured, ticks: 480 });
        }
        assert_eq!(heard.iter().collect::<Vec<_>>(), [1, 2]);
        let taken = (0..=NEW_TAPS).filter(|_| listening.listen(Box::new(|_| true)).is_ok()).count();
        assert_eq!(taken, NEW_TAPS, "more wait for the next packet than there is room for");
        drop(outlet);
        assert!(listening.listen(Box::new(|_| true)).is_ok(), "the feed has ended");
    }

    #[test]
    fn sound_is_evenly_timed_until_there_is_silence() {
        let (sent, units) = mpsc::sync_channel(8);
        let start = Instant::now();
        let mut outlet = AudioOutlet::new(demand(), start, move |unit| sent.send(unit).unwrap());
        for ms in [5, 17, 24, 2000] {
            let captured = start + Duration::from_millis(ms);
            outlet.publish(AudioPacket { data: Bytes::from_static(&[1]), captured, ticks: 480 });
        }
        drop(outlet);
        let seen: Vec<_> = units.iter().map(|unit| (unit.time, unit.marker)).collect();
        assert_eq!(seen, [(240, true), (720, false), (1200, false), (96_000, true)]);
    }
}
