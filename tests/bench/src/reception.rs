//! What native peers received, and when: counted while it happens, joined across peers at the end. Pure.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use native_peer::{Arrival, Event, Unit};
use serde::{Deserialize, Serialize};

use crate::relay::Came;

/// Payload type of H.264 in the streamer's offer.
const H264: u8 = 102;
/// Video clock, ticks per microsecond.
const TICKS_PER_US: f64 = 0.09;
/// Captures of one frame, as computed by different peers, are this close together; frames are further apart.
const SAME_FRAME_US: f64 = 4000.0;
/// Access units kept: some minutes.
const MAX_UNITS: usize = 10_000;

/// Of many values: some quantiles, and how many there were.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Quantiles {
    /// How many.
    pub count: usize,
    /// Half are below.
    pub p50: f64,
    /// 95 % are below.
    pub p95: f64,
    /// 99 % are below.
    pub p99: f64,
    /// The largest.
    pub max: f64,
}

impl Quantiles {
    /// Of `values`, in any order; all zero when there are none.
    pub fn of(mut values: Vec<f64>) -> Self {
        values.sort_by(f64::total_cmp);
        let at = |share: f64| {
            let index = (share * values.len() as f64) as usize;
            values.get(index.min(values.len().saturating_sub(1))).copied().unwrap_or_default()
        };
        Self { count: values.len(), p50: at(0.5), p95: at(0.95), p99: at(0.99), max: at(1.0) }
    }
}

/// What all peers received between two moments. Times are in milliseconds.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Reception {
    /// Peers that received anything.
    pub peers: usize,
    /// How long it was.
    pub seconds: f64,
    /// RTP packets of all peers.
    pub packets: u64,
    /// Bytes of these datagrams.
    pub bytes: u64,
    /// Packets of video missing in the sequence numbers.
    pub missing: u64,
    /// Access units that came whole, of all peers together.
    pub frames: u64,
    /// Different access units.
    pub distinct_frames: u64,
    /// From the capture of a frame to its first packet at each peer.
    pub capture_to_first: Quantiles,
    /// From the capture of a frame to its last packet at each peer.
    pub capture_to_last: Quantiles,
    /// From a frame's first packet at any peer to its last packet at each peer.
    pub first_to_last: Quantiles,
    /// Processor time of the receivers, microseconds.
    pub cpu_us: u64,
}

#[derive(Debug, Clone, Copy)]
struct Frame {
    rtp_time: u32,
    first: Duration,
    last: Duration,
}

/// The video of one peer.
#[derive(Default)]
struct Stream {
    next_sequence: Option<u16>,
    current: Option<(Frame, bool)>,
    frames: Vec<Frame>,
    /// Wall clock time, in microseconds, at which this stream's RTP time was zero, by the earliest of its sender reports:
    /// a report can be late to read the clock, never early.
    zero_us: Option<f64>,
    missing: u64,
}

/// Collects.
pub struct Receiver {
    /// Payload type of the video.
    video: u8,
    streams: BTreeMap<(usize, u32), Stream>,
    began: Option<Instant>,
    packets: u64,
    bytes: u64,
    units: Vec<Unit>,
}

impl Default for Receiver {
    fn default() -> Self {
        let (streams, units) = Default::default();
        Self { video: H264, streams, began: None, packets: 0, bytes: 0, units }
    }
}

impl Receiver {
    /// Video has this payload type, as another server than Oriel has said.
    pub fn expect(&mut self, payload_type: u8) {
        self.video = payload_type;
    }

    /// Takes what a peer saw.
    pub fn event(&mut self, peer: usize, event: Event) {
        match event {
            Event::Rtp(arrival) => self.rtp(peer, arrival),
            Event::SenderReport { ssrc, rtp_time, wall } => {
                let stream = self.streams.entry((peer, ssrc)).or_default();
                let zero = wall.as_micros() as f64 - f64::from(rtp_time) / TICKS_PER_US;
                stream.zero_us = Some(stream.zero_us.map_or(zero, |before| unwrap(before, zero).min(before)));
            }
            Event::Unit(unit) if peer == 0 && self.units.len() < MAX_UNITS => self.units.push(unit),
            _ => {}
        }
    }

    fn rtp(&mut self, peer: usize, arrival: Arrival) {
        self.packets += 1;
        self.bytes += arrival.len_bytes as u64;
        if arrival.payload_type == self.video {
            self.streams.entry((peer, arrival.ssrc)).or_default().packet(&arrival);
        }
    }

    /// Forgets what was counted so far.
    pub fn start(&mut self) {
        (self.packets, self.bytes, self.began) = (0, 0, Some(Instant::now()));
        for stream in self.streams.values_mut() {
            (stream.missing, stream.current) = (0, None);
            stream.frames.clear();
        }
    }

    /// What was received since [`Receiver::start`].
    pub fn stop(&mut self) -> Reception {
        let streams: Vec<&Stream> =
            self.streams.values().filter(|stream| !stream.frames.is_empty()).collect();
        let mut arrivals: Vec<(f64, f64, f64)> = Vec::new();
        for stream in &streams {
            let Some(zero) = stream.zero_us else { continue };
            for frame in &stream.frames {
                let first = frame.first.as_micros() as f64;
                let captured = unwrap(first, zero + f64::from(frame.rtp_time) / TICKS_PER_US);
                arrivals.push((captured, first, frame.last.as_micros() as f64));
            }
        }
        let (distinct_frames, first_to_last) = spread_of_frames(&mut arrivals);
        let ms = |from_to: &dyn Fn(&(f64, f64, f64)) -> f64| {
            Quantiles::of(arrivals.iter().map(|arrival| from_to(arrival) / 1000.0).collect())
        };
        Reception {
            peers: streams.len(),
            seconds: self.began.map_or(0.0, |began| began.elapsed().as_secs_f64()),
            packets: self.packets,
            bytes: self.bytes,
            missing: streams.iter().map(|stream| stream.missing).sum(),
            frames: streams.iter().map(|stream| stream.frames.len() as u64).sum(),
            distinct_frames,
            capture_to_first: ms(&|(captured, first, _)| first - captured),
            capture_to_last: ms(&|(captured, _, last)| last - captured),
            first_to_last: Quantiles::of(first_to_last),
            cpu_us: 0,
        }
    }

    /// Of each stream of video, when the frames came that came whole since [`Receiver::start`], in order.
    pub fn frames(&self) -> Vec<Vec<Came>> {
        let us = |at: Duration| at.as_micros() as u64;
        let came = |frame: &Frame| (us(frame.first), us(frame.last));
        let streams = self.streams.values().filter(|stream| !stream.frames.is_empty());
        streams.map(|stream| stream.frames.iter().map(came).collect()).collect()
    }

    /// Writes the access units of the first peer, each behind its length (four bytes, big endian). Returns how many.
    ///
    /// # Errors
    /// When there are none, or the file cannot be written.
    pub fn write_units(&self, file: &Path) -> Result<usize> {
        ensure!(!self.units.is_empty(), "no access units; was the program started with --units?");
        let mut out = std::io::BufWriter::new(std::fs::File::create(file)?);
        for unit in &self.units {
            out.write_all(&u32::try_from(unit.data.len())?.to_be_bytes())?;
            out.write_all(&unit.data)?;
        }
        out.flush()?;
        Ok(self.units.len())
    }
}

/// RTP time wraps: the time nearest to `near` that is a whole number of wraps from `value`.
fn unwrap(near: f64, value: f64) -> f64 {
    let wrap = f64::from(u32::MAX) + 1.0;
    let wrap = wrap / TICKS_PER_US;
    value + ((near - value) / wrap).round() * wrap
}

/// Finds which arrivals (captured, first, last; microseconds) are of one frame. Returns how many frames there are, and
/// the time from the first arrival at any peer to the last one at each, in milliseconds.
fn spread_of_frames(arrivals: &mut [(f64, f64, f64)]) -> (u64, Vec<f64>) {
    arrivals.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut count = 0;
    let mut spread = Vec::with_capacity(arrivals.len());
    for frame in arrivals.chunk_by(|a, b| b.0 - a.0 < SAME_FRAME_US) {
        let first = frame.iter().map(|arrival| arrival.1).fold(f64::INFINITY, f64::min);
        spread.extend(frame.iter().map(|arrival| (arrival.2 - first) / 1000.0));
        count += 1;
    }
    (count, spread)
}

impl Stream {
    fn packet(&mut self, arrival: &Arrival) {
        let expected = self.next_sequence.unwrap_or(arrival.sequence);
        let skipped = arrival.sequence.wrapping_sub(expected);
        self.next_sequence = Some(arrival.sequence.wrapping_add(1));
        self.missing += u64::from(skipped);
        let new = self.current.is_none_or(|(frame, _)| frame.rtp_time != arrival.rtp_time);
        if new {
            let frame = Frame { rtp_time: arrival.rtp_time, first: arrival.at, last: arrival.at };
            // The first unit after a start may have lost its beginning.
            let whole = self.current.is_some() && skipped == 0;
            self.current = Some((frame, whole));
        }
        let Some((frame, whole)) = &mut self.current else { return };
        frame.last = frame.last.max(arrival.at);
        *whole &= skipped == 0;
        if arrival.marker && *whole {
            self.frames.push(*frame);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn packet(sequence: u16, rtp_time: u32, marker: bool, at_us: u64) -> Event {
        let at = Duration::from_secs(1_000_000) + Duration::from_micros(at_us);
        Event::Rtp(Arrival { ssrc: 1, payload_type: H264, sequence, rtp_time, marker, len_bytes: 100, at })
    }

    fn report(rtp_time: u32, at_us: u64) -> Event {
        let wall = Duration::from_secs(1_000_000) + Duration::from_micros(at_us);
        Event::SenderReport { ssrc: 1, rtp_time, wall }
    }

    /// Two peers whose RTP times begin elsewhere; a frame captured at 100 ms and one at 133.333 ms.
    #[test]
    fn frames_of_different_peers_are_recognised_and_timed() {
        let mut receiver = Receiver::default();
        receiver.start();
        for (peer, offset, late) in [(0, 0u32, 0), (1, u32::MAX - 10_000, 2000)] {
            receiver.event(peer, report(offset, 0));
            let time = |ms: u32| offset.wrapping_add(ms * 90);
            receiver.event(peer, packet(1, time(50), true, 50_000));
            receiver.event(peer, packet(2, time(100), false, 105_000 + late));
            receiver.event(peer, packet(3, time(100), true, 106_000 + late));
            receiver.event(peer, packet(4, time(133), true, 140_000 + late));
        }
        let seen = receiver.stop();
        assert_eq!((seen.peers, seen.frames, seen.distinct_frames, seen.missing), (2, 4, 2, 0));
        assert!((seen.capture_to_first.max - 9.0).abs() < 0.1, "{seen:?}");
        assert!((seen.first_to_last.max - 3.0).abs() < 0.1, "{seen:?}");
        assert!((seen.capture_to_last.p50 - 8.0).abs() < 0.1, "{seen:?}");
    }

    #[test]
    fn a_frame_with_a_hole_is_counted_as_missing_and_not_timed() {
        let mut receiver = Receiver::default();
        receiver.start();
        receiver.event(0, report(0, 0));
        for (sequence, ms, marker) in [(1, 10, true), (2, 40, false), (4, 40, true), (5, 70, true)] {
            receiver.event(0, packet(sequence, ms * 90, marker, u64::from(ms) * 1000));
        }
        let seen = receiver.stop();
        assert_eq!((seen.frames, seen.missing), (1, 1));
    }

    #[test]
    fn quantiles_are_values_that_occurred() {
        let quantiles = Quantiles::of((0..100).rev().map(f64::from).collect());
        assert_eq!((quantiles.p50, quantiles.p95, quantiles.p99, quantiles.max), (50.0, 95.0, 99.0, 99.0));
    }
}
