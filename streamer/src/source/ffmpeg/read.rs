//! Converts output of ffmpeg for feeds.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::time::{Duration, Instant};

use super::ivf;
use super::ts::{Packet, opus_packets};
use common::media::VideoCodec;

use crate::feed::packetize::nal_units;
use crate::media::{AccessUnit, AudioPacket, Size};
use crate::source::live::clock::{Clock, SECOND, Track};
use crate::source::live::h264::{Assembler, Format, Obstacle};
use crate::source::live::watch::{Seen, Watch};
use crate::source::live::{open_codecs, opus};

/// Ticks of MPEG-TS per second.
const TICKS: i64 = 90_000;

/// The origin of the packets' timestamps.
#[derive(Debug)]
pub enum Times {
    /// A foreign clock: mapped to ours by the times of arrival.
    Theirs {
        /// The mapping.
        clock: Clock,
        /// Of pictures.
        picture: Track,
        /// Of sound.
        sound: Track,
    },
    /// Our own clock, relative to this moment.
    Ours(Instant),
}

/// See the module.
#[derive(Debug)]
pub struct Reader {
    times: Times,
    assembler: Assembler,
    /// Pictures and sound of a feed must never go back.
    picture: Track,
    sound: Track,
    /// Size and colours of the newest keyframe, in codecs that declare them only there.
    size: Option<Size>,
    /// Set from the first picture on.
    watch: Option<Watch>,
    /// Detects pictures that browsers cannot show.
    obstacle: Option<Obstacle>,
}

impl Reader {
    /// A reader of a new ffmpeg.
    pub fn new(times: Times) -> Self {
        let picture = Track::default();
        let sound = Track::default();
        let assembler = Assembler::default();
        Self { times, assembler, picture, sound, size: None, watch: None, obstacle: None }
    }

    /// A reader for timestamps of a foreign clock.
    pub fn theirs() -> Self {
        let clock = Clock::new(Instant::now());
        Self::new(Times::Theirs { clock, picture: Track::default(), sound: Track::default() })
    }

    /// The reason why browsers cannot show the pictures, if there is one.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.obstacle
    }

    /// The newest parameter set.
    pub fn format(&self) -> Option<Format> {
        self.assembler.format()
    }

    /// Takes a picture that has arrived `now`. `None` when it contains none, or its size is not known.
    pub fn picture(&mut self, packet: &Packet, now: Instant) -> Option<AccessUnit> {
        let at = self.place(packet, now);
        let unit = self.assembler.assemble(nal_units(&packet.data))?;
        let format = self.assembler.format()?;
        let keyframe = unit.keyframe;
        let bidirectional = unit.bidirectional;
        self.see(now, packet, Seen { keyframe, bidirectional, known: format.obstacle });
        let captured = self.picture.increasing(at);
        let codec = VideoCodec::H264;
        let size = format.size;
        Some(AccessUnit { codec, data: unit.data, keyframe: unit.keyframe, captured, size })
    }

    /// Takes a frame of another codec that has arrived `now`. `None` when it contains no picture.
    pub fn frame(&mut self, format: ivf::Format, packet: &Packet, now: Instant) -> Option<AccessUnit> {
        let at = self.place(packet, now);
        let open_codecs::Header { keyframe, size, hidden } = open_codecs::header(format.codec, &packet.data)?;
        let known = hidden.then_some(Obstacle::Hidden);
        self.see(now, packet, Seen { keyframe, bidirectional: false, known });
        if keyframe {
            self.size = size;
        }
        let size = self.size.unwrap_or(format.size);
        let captured = self.picture.increasing(at);
        Some(AccessUnit { codec: format.codec, data: packet.data.clone(), keyframe, captured, size })
    }

    fn see(&mut self, now: Instant, packet: &Packet, picture: Seen) {
        let watch = self.watch.get_or_insert_with(|| Watch::new(now));
        let seen = watch.see(now, nanos(packet.time), picture);
        self.obstacle = self.obstacle.or(seen);
    }

    fn place(&mut self, packet: &Packet, now: Instant) -> Instant {
        match &mut self.times {
            Times::Theirs { clock, picture, .. } => clock.place(picture, now, nanos(packet.time)),
            Times::Ours(began) => since(*began, packet.time),
        }
    }

    /// Takes the sound packets in a packet that has arrived `now`.
    pub fn sound(&mut self, packet: &Packet, now: Instant) -> Vec<AudioPacket> {
        let mut at = match &mut self.times {
            Times::Theirs { clock, sound, .. } => clock.place(sound, now, nanos(packet.time)),
            Times::Ours(began) => since(*began, packet.time),
        };
        let mut packets = Vec::new();
        for data in opus_packets(packet.data.clone()) {
            let Some(ticks) = opus::ticks(&data) else { continue };
            packets.push(AudioPacket { data, captured: self.sound.increasing(at), ticks });
            at += Duration::from_secs(ticks.into()) / common::media::AUDIO_CLOCK_HZ;
        }
        packets
    }
}

fn nanos(ticks: i64) -> i64 {
    ticks / TICKS * SECOND + ticks % TICKS * SECOND / TICKS
}

fn since(began: Instant, ticks: i64) -> Instant {
    began + Duration::from_nanos(nanos(ticks.max(0)).unsigned_abs())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ticks_become_nanoseconds() {
        assert_eq!(nanos(90_000 * 3600), 3600 * SECOND);
        assert_eq!(nanos(9), 100_000);
        let began = Instant::now();
        assert_eq!(since(began, 90_000 * 3600 + 9) - began, Duration::from_micros(3_600_000_100));
    }

    proptest! {
        #[test]
        fn whatever_comes_is_a_picture_or_nothing(
            data in proptest::collection::vec(prop_oneof![Just(0u8), Just(1), Just(0x67), Just(0x65), any::<u8>()], 0..200),
            time in 0i64..1 << 34,
        ) {
            let mut reader = Reader::theirs();
            let packet = Packet { time, data: data.into() };
            let _ = reader.picture(&packet, Instant::now());
            let _ = reader.sound(&packet, Instant::now());
        }
    }
}
