//! The host's frames on their way into the feed.

use std::sync::{Arc, PoisonError};
use std::time::Instant;

use common::media::VideoCodec;
use common::slots::HostStage;
use gamestream::video::Frame;

use super::Shared;
use crate::feed::packetize::nal_units;
use crate::feed::{Demand, VideoOutlet};
use crate::media::AccessUnit;
use crate::source::live::clock::{Clock, SECOND, Track};
use crate::source::live::h264::{Assembler, Obstacle};
use crate::source::{Event, Events};
use crate::stats::SourceCounters;

/// Lent to the thread of a session that receives video.
pub struct Pictures {
    outlet: VideoOutlet,
    counters: Arc<SourceCounters>,
    events: Events,
    shared: Arc<Shared>,
    /// Something that could not be told yet.
    untold: Option<Event>,
    online: bool,
    session: Times,
}

/// What begins anew with each session.
struct Times {
    assembler: Assembler,
    clock: Clock,
    track: Track,
    ticks: Unwrapped,
}

impl Times {
    fn new() -> Self {
        Self {
            assembler: Assembler::default(),
            clock: Clock::new(Instant::now()),
            track: Track::default(),
            ticks: Unwrapped::default(),
        }
    }
}

impl Pictures {
    /// Publishes to `outlet`.
    pub fn new(
        outlet: VideoOutlet,
        counters: Arc<SourceCounters>,
        events: Events,
        shared: Arc<Shared>,
    ) -> Self {
        Self { outlet, counters, events, shared, untold: None, online: false, session: Times::new() }
    }

    /// What viewers want.
    pub fn demand(&self) -> &Arc<Demand> {
        self.outlet.demand()
    }

    /// What everybody is told.
    pub fn shared(&self) -> &Shared {
        &self.shared
    }

    /// A new session begins.
    pub fn begin(&mut self) {
        self.session = Times::new();
    }

    /// The session was lost: the next picture is news.
    pub fn offline(&mut self) {
        self.online = false;
        self.untold = None;
    }

    /// Publishes a frame that has just come. True when it is a keyframe.
    ///
    /// # Errors
    /// Why browsers cannot show such pictures.
    pub fn publish(&mut self, frame: &Frame) -> Result<bool, Obstacle> {
        let now = Instant::now();
        let Times { assembler, clock, track, ticks } = &mut self.session;
        let Some(unit) = assembler.assemble(nal_units(&frame.data)) else { return Ok(false) };
        let Some(format) = assembler.format() else { return Ok(false) };
        if let Some(obstacle) = format.obstacle {
            return Err(obstacle);
        }
        let captured = match frame.timestamp {
            // Old hosts do not say.
            0 => now,
            stamp => clock.place(track, now, nanos_of(ticks.next(stamp))),
        };
        let unit = AccessUnit {
            codec: VideoCodec::H264,
            data: unit.data,
            keyframe: unit.keyframe,
            captured: track.increasing(captured),
            size: format.size,
        };
        let keyframe = unit.keyframe;
        self.counters.captured.add(1);
        self.counters.captured_bytes.add(unit.data.len() as u64);
        let resized = {
            let mut info = self.shared.info.lock().unwrap_or_else(PoisonError::into_inner);
            std::mem::replace(&mut info.size, unit.size) != unit.size
        };
        self.shared.still.push(&unit, format.full_range);
        let size = unit.size;
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

/// Times that begin anew every 2³² ticks, as times that do not.
#[derive(Debug, Default)]
pub struct Unwrapped(Option<i64>);

impl Unwrapped {
    /// The nearest one to the last.
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
