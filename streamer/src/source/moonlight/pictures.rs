//! Publishes the host's frames to the feed.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use common::slots::HostStage;
use common::spec::MoonlightCodec;
use gamestream::video::Frame;

use super::Shared;
use super::bitstream::{self, Bitstream, Unit};
use crate::feed::{Demand, VideoOutlet};
use crate::media::AccessUnit;
use crate::source::live::clock::{Clock, SECOND, Track};
use crate::source::live::h264::Obstacle;
use crate::source::{Event, Events};
use crate::stats::SourceCounters;

/// Lent to the thread of a session that receives video.
pub struct Pictures {
    outlet: VideoOutlet,
    counters: Arc<SourceCounters>,
    events: Events,
    shared: Arc<Shared>,
    codec: MoonlightCodec,
    /// An event for which there was no room yet.
    untold: Option<Event>,
    online: bool,
    session: Times,
}

/// State that is reset with each session.
struct Times {
    bitstream: Bitstream,
    clock: Clock,
    track: Track,
    ticks: Unwrapped,
}

impl Times {
    fn new(codec: MoonlightCodec) -> Self {
        Self {
            bitstream: Bitstream::new(codec),
            clock: Clock::new(Instant::now()),
            track: Track::default(),
            ticks: Unwrapped::default(),
        }
    }
}

impl Pictures {
    /// Publishes pictures of this codec to `outlet`.
    pub fn new(
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
        events: Events,
        shared: Arc<Shared>,
        codec: MoonlightCodec,
    ) -> Self {
        let session = Times::new(codec);
        Self { outlet, counters, events, shared, codec, untold: None, online: false, session }
    }

    /// Demand of viewers.
    pub fn demand(&self) -> &Arc<Demand> {
        self.outlet.demand()
    }

    /// Whether a frame of a host that does not say so is decodable alone.
    pub fn is_key(&self) -> fn(&[u8]) -> bool {
        bitstream::is_key(self.codec)
    }

    /// The status that is shown.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A new session begins.
    pub fn begin(&mut self) {
        self.session = Times::new(self.codec);
    }

    /// The session was lost: the next picture is reported.
    pub fn offline(&mut self) {
        self.online = false;
        self.untold = None;
    }

    /// Publishes a frame that has just arrived. True when it is a keyframe.
    ///
    /// # Errors
    /// The reason why browsers cannot show such pictures.
    pub fn publish(&mut self, frame: Frame) -> Result<bool, Obstacle> {
        let now = Instant::now();
        let Times { bitstream, clock, track, ticks } = &mut self.session;
        let timestamp = frame.timestamp;
        let Some(Unit { data, keyframe, size, colours }) = bitstream.unit(frame)? else {
            return Ok(false);
        };
        let captured = match timestamp {
            // Old hosts do not declare it.
            0 => now,
            stamp => clock.place(track, now, nanos_of(ticks.next(stamp))),
        };
        let unit = AccessUnit {
            codec: bitstream::codec(self.codec),
            data,
            keyframe,
            captured: track.increasing(captured),
            size,
        };
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(unit.data.len() as u64);
        let resized = {
            let mut info = self.shared.info.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut info.size, size) != size
        };
        self.shared.still.push(&unit, colours);
        self.outlet.publish(unit);
        if !std::mem::replace(&mut self.online, true) {
            self.shared.stage(HostStage::Streaming);
            self.untold = Some(Event::Started);
        } else if resized && self.untold.is_none() {
            self.untold = Some(Event::Resized(size));
        }
        self.untold = self.untold.take().and_then(|event| self.events.try_send(event).err());
        Ok(keyframe)
    }
}

/// Ticks of 90 kHz in nanoseconds.
fn nanos_of(ticks: i64) -> i64 {
    ticks.saturating_mul(SECOND / 1000) / 90
}

/// Unwraps timestamps of 32 bits.
#[derive(Debug, Default)]
pub struct Unwrapped(Option<i64>);

impl Unwrapped {
    /// The unwrapped time that is nearest to the last one.
    pub fn next(&mut self, stamp: u32) -> i64 {
        let time = match self.0 {
            None => i64::from(stamp),
            Some(last) => last + i64::from(stamp.wrapping_sub(last as u32) as i32),
        };
        self.0 = Some(time);
        time
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_go_on_where_stamps_begin_anew() {
        let mut times = Unwrapped::default();
        let seen = [u32::MAX - 1, 1, 0, 3].map(|stamp| times.next(stamp));
        let base = i64::from(u32::MAX) - 1;
        assert_eq!(seen, [base, base + 3, base + 2, base + 5]);
        assert_eq!(nanos_of(90_000), SECOND);
    }
}
