//! Video: pictures, of the camera or a clip, cut into packets and sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::camera::{Camera, filler};
use crate::clip::Player;
use crate::host::{Sent, Shared, await_ping, take_pings};
use crate::network::Way;
use crate::packets::{Cut, Encryptor, Frame, Packet, Packetizer, long_header};
use crate::scenario::{Lie, Scenario};
use crate::session::Session;

/// Sends video until the session ends.
pub fn run(shared: &Shared, session: &Session) {
    let Some(client) = await_ping(shared, session, &shared.video) else {
        if !session.has_ended() {
            shared.state().complain("no ping for video within 10 s");
            session.end();
        }
        return;
    };
    let seed = shared.state().scenario.seed;
    let mut sender = Sender {
        shared,
        session,
        client,
        way: Way::new(seed),
        rng: fastrand::Rng::with_seed(seed),
        packetizer: Packetizer::default(),
        encryptor: session.settings.encrypted_video.then(|| Encryptor::new(&session.launch.key)),
        frames: 0,
        began: Instant::now(),
    };
    let mut film = match Film::open(shared, session) {
        Ok(film) => film,
        Err(error) => {
            shared.state().complain(format!("{error:#}"));
            return session.end();
        }
    };
    let mut due = Instant::now();
    while !session.has_ended() && !shared.is_stopped() {
        let now = Instant::now();
        sender.deliver(now);
        if now >= due {
            let scenario = shared.state().scenario.clone();
            sender.frame(&mut film, &scenario);
            let fps = session.settings.fps.min(scenario.max_fps);
            // A machine that is too slow makes fewer frames, and does not catch up.
            due = (due + Duration::from_secs(1) / fps).max(now);
        }
        let next = sender.way.next_at().map_or(due, |at| at.min(due));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

/// Where pictures come from.
enum Film {
    Camera(Box<Camera>),
    Clip(Player),
}

impl Film {
    fn open(shared: &Shared, session: &Session) -> anyhow::Result<Self> {
        let codec = session.settings.codec;
        let clip = shared.state().scenario.clips.get(&codec).cloned();
        Ok(match clip {
            Some(file) => Self::Clip(Player::open(codec, &file)?),
            None => Self::Camera(Box::new(Camera::new(&session.settings))),
        })
    }

    /// The next picture, and whether it is a keyframe.
    fn shoot(
        &mut self,
        number: u32,
        elapsed: Duration,
        scenario: &Scenario,
        keyframe: bool,
    ) -> (Vec<u8>, bool) {
        match self {
            Self::Camera(camera) => {
                let (mut bitstream, keyframe) = camera.shoot(number, elapsed, scenario.noise, keyframe);
                bitstream.extend(filler(scenario.filler_bytes));
                (bitstream, keyframe)
            }
            Self::Clip(player) => {
                let unit = player.next(keyframe);
                (unit.data.clone(), unit.keyframe)
            }
        }
    }
}

/// A packet on its way.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Datagram {
    bytes: Vec<u8>,
    /// With it, all data of this frame was sent.
    completes: Option<u32>,
}

struct Sender<'a> {
    shared: &'a Shared,
    session: &'a Session,
    client: SocketAddr,
    way: Way<Datagram>,
    rng: fastrand::Rng,
    packetizer: Packetizer,
    encryptor: Option<Encryptor>,
    frames: u32,
    began: Instant,
}

impl Sender<'_> {
    /// Makes a frame and puts its packets on their way.
    fn frame(&mut self, film: &mut Film, scenario: &Scenario) {
        if let Some(client) = take_pings(self.shared, self.session, &self.shared.video) {
            self.client = client;
        }
        if scenario.mute_video {
            return;
        }
        let number = {
            let mut state = self.shared.state();
            state.counters.newest_frame += 1;
            state.counters.newest_frame
        };
        let started = Instant::now();
        let elapsed = started.saturating_duration_since(self.began);
        let (bitstream, keyframe) = film.shoot(number, elapsed, scenario, self.session.take_keyframe());
        self.frames += 1;
        let timestamp = if scenario.timestamps { (elapsed.as_micros() * 9 / 100) as u32 } else { 0 };
        let latency = (started.elapsed().as_micros() / 100) as u16;
        let frame = Frame { index: self.frames, timestamp, keyframe, latency, bitstream: &bitstream };
        let cut = Cut {
            packet_size: self.session.settings.packet_size as usize,
            fec_percent: scenario.fec_percent,
            min_parity: self.session.settings.min_parity as usize,
            header: scenario.frame_header,
            long_header: long_header(&scenario.appversion),
            short_last: scenario.short_last_packet,
        };
        let packets = self.packetizer.cut(&frame, &cut);
        let length = bitstream.len();
        self.send(packets, scenario);
        self.deliver(Instant::now());
        let mut state = self.shared.state();
        state.counters.frames += 1;
        state.counters.keyframes += u64::from(keyframe);
        state.counters.frame_bytes += length as u64;
        drop(state);
        self.shared.notify();
    }

    fn send(&mut self, packets: Vec<Packet>, scenario: &Scenario) {
        let now = Instant::now();
        let mut lies = 0;
        let mut data_lost = 0;
        let mut parity_lost = 0;
        // Per block: lost, parity.
        let mut blocks = [(0, 0); 4];
        let count = packets.len();
        let last = packets.iter().rposition(|packet| packet.data);
        for (place, mut packet) in packets.into_iter().enumerate() {
            let block = &mut blocks[usize::from(packet.bytes[27] >> 4 & 3)];
            block.1 += usize::from(!packet.data);
            if !scenario.lies.is_empty() && self.rng.f64() < scenario.lie_share {
                let kind = scenario.lies[self.rng.usize(..scenario.lies.len())];
                lie(&mut packet.bytes, kind, &mut self.rng);
                lies += 1;
            }
            let bytes = match &mut self.encryptor {
                Some(encryptor) => encryptor.seal(self.frames, &packet.bytes),
                None => packet.bytes,
            };
            let completes = (Some(place) == last).then_some(self.frames);
            if !self.way.push(now, &scenario.video, Datagram { bytes, completes }) {
                block.0 += 1;
                *if packet.data { &mut data_lost } else { &mut parity_lost } += 1;
            }
        }
        let used = blocks.iter().filter(|(lost, parity)| *lost > 0 || *parity > 0).count().max(1);
        let blocks_lost = blocks.iter().filter(|(lost, parity)| lost > parity).count() as u64;
        let counters = &mut self.shared.state().counters;
        counters.video_packets += count as u64;
        counters.video_data_lost += data_lost;
        counters.video_parity_lost += parity_lost;
        counters.video_blocks += used as u64;
        counters.video_blocks_lost += blocks_lost;
        counters.frames_lost += u64::from(blocks_lost > 0);
        counters.lies += lies;
    }

    fn deliver(&mut self, now: Instant) {
        while let Some(Datagram { bytes, completes }) = self.way.pop(now) {
            let at = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
            // A buffer that is full, or a client that is gone: the packet is lost, as on any network.
            let _ = self.shared.video.send_to(&bytes, self.client);
            if let Some(frame) = completes {
                self.shared.state().sent(Sent { frame, at_us: at.as_micros() as u64 });
            }
        }
    }
}

/// Makes a packet untrue.
fn lie(packet: &mut Vec<u8>, kind: Lie, rng: &mut fastrand::Rng) {
    let info = u32::from_le_bytes([packet[28], packet[29], packet[30], packet[31]]);
    let mut set_info = |info: u32| packet[28..32].copy_from_slice(&info.to_le_bytes());
    match kind {
        Lie::ShardIndex => set_info(info & !(0x3ff << 12) | rng.u32(256..0x400) << 12),
        Lie::ShardCount => set_info(info & 0x3f_ffff | if rng.bool() { 0x3ff << 22 } else { 0 }),
        Lie::Percent => set_info(info & !0xff0 | rng.u32(..256) << 4),
        Lie::BlockIndex => packet[27] = 3 << 4 | 1 << 6,
        Lie::FutureFrame => packet[20..24].copy_from_slice(&1_000_000_000_u32.to_le_bytes()),
        Lie::PastFrame => packet[20..24].copy_from_slice(&0_u32.to_le_bytes()),
        Lie::Short => packet.truncate(rng.usize(..packet.len())),
        Lie::Long => packet.extend(std::iter::repeat_n(7, rng.usize(1..500))),
        Lie::Noise => packet.fill_with(|| rng.u8(..)),
        Lie::PayloadLength => packet[36..38].copy_from_slice(&0xffff_u16.to_le_bytes()),
        Lie::Flags => packet[24] = rng.u8(..),
        Lie::Parity => packet[32..].fill_with(|| rng.u8(..)),
        Lie::Empty => packet.clear(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_lie_can_be_told_about_every_packet() {
        use Lie::*;
        let all = [
            ShardIndex,
            ShardCount,
            BlockIndex,
            FutureFrame,
            PastFrame,
            Percent,
            Short,
            Long,
            Noise,
            PayloadLength,
            Flags,
            Parity,
            Empty,
        ];
        let mut rng = fastrand::Rng::with_seed(1);
        for kind in all {
            let original: Vec<u8> = (0..144).collect();
            let told = std::iter::repeat_with(|| {
                let mut packet = original.clone();
                lie(&mut packet, kind, &mut rng);
                packet
            });
            assert!(told.take(20).any(|packet| packet != original), "{kind:?}");
        }
    }
}
