//! Video: a picture with a frame code, encoded, cut and sent.

use std::net::SocketAddr;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::timecode::{Grid, TimeCode};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_TRACE_LEVEL, WELS_LOG_QUIET};

use crate::host::{Shared, await_ping, take_pings};
use crate::network::Way;
use crate::packets::{Cut, Encryptor, Frame, Packet, Packetizer, long_header};
use crate::scenario::{Lie, Scenario};
use crate::session::{Session, Settings};

/// Luma of white and black in limited range.
const WHITE: u8 = 235;
const BLACK: u8 = 16;

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
    let mut camera = Camera::new(&session.settings);
    let mut due = Instant::now();
    while !session.has_ended() && !shared.is_stopped() {
        let now = Instant::now();
        sender.deliver(now);
        if now >= due {
            let scenario = shared.state().scenario.clone();
            sender.frame(&mut camera, &scenario);
            let fps = session.settings.fps.min(scenario.max_fps);
            // A machine that is too slow makes fewer frames, and does not catch up.
            due = (due + Duration::from_secs(1) / fps).max(now);
        }
        let next = sender.way.next_at().map_or(due, |at| at.min(due));
        std::thread::sleep(next.saturating_duration_since(Instant::now()));
    }
}

struct Sender<'a> {
    shared: &'a Shared,
    session: &'a Session,
    client: SocketAddr,
    way: Way,
    rng: fastrand::Rng,
    packetizer: Packetizer,
    encryptor: Option<Encryptor>,
    frames: u32,
    began: Instant,
}

impl Sender<'_> {
    /// Makes a frame and puts its packets on their way.
    fn frame(&mut self, camera: &mut Camera, scenario: &Scenario) {
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
        let (mut bitstream, keyframe) =
            camera.shoot(number, elapsed, scenario.noise, self.session.take_keyframe());
        bitstream.extend(filler(scenario.filler_bytes));
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
        let (mut lies, mut data_lost, mut parity_lost) = (0, 0, 0);
        // Per block: lost, parity.
        let mut blocks = [(0, 0); 4];
        let count = packets.len();
        for mut packet in packets {
            let block = &mut blocks[usize::from(packet.bytes[27] >> 4 & 3)];
            block.1 += usize::from(!packet.data);
            if !scenario.lies.is_empty() && self.rng.f64() < scenario.lie_share {
                let kind = scenario.lies[self.rng.usize(..scenario.lies.len())];
                lie(&mut packet.bytes, kind, &mut self.rng);
                lies += 1;
            }
            let sealed = match &mut self.encryptor {
                Some(encryptor) => encryptor.seal(self.frames, &packet.bytes),
                None => packet.bytes,
            };
            if !self.way.push(now, &scenario.video, sealed) {
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
        while let Some(packet) = self.way.pop(now) {
            // A buffer that is full, or a client that is gone: the packet is lost, as on any network.
            let _ = self.shared.video.send_to(&packet, self.client);
        }
    }
}

/// A NAL unit of filler data (H.264 §7.3.2.7), if it is to have any length.
fn filler(length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    let mut unit = vec![0, 0, 0, 1, 12];
    unit.resize(5 + length, 0xff);
    unit.push(0x80);
    unit
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

/// What is filmed, and its encoder: constrained baseline, keyframes on request only.
struct Camera {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    chroma: Vec<u8>,
    grid: Option<Grid>,
    rng: fastrand::Rng,
    encoder: Encoder,
}

impl Camera {
    fn new(settings: &Settings) -> Self {
        let (width, height) = (settings.width as usize, settings.height as usize);
        let config = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .bitrate(BitRate::from_bps(settings.bitrate_kbps.clamp(100, 200_000) * 1000))
            .max_frame_rate(FrameRate::from_hz(settings.fps as f32))
            .rate_control_mode(RateControlMode::Bitrate)
            .qp(QpRange::new(14, 51))
            .complexity(Complexity::Low)
            .num_threads(1)
            .skip_frames(false)
            .scene_change_detect(false)
            .profile(Profile::Baseline)
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .vui(VuiConfig::bt709());
        let mut encoder = Encoder::with_api_config(OpenH264API::from_source(), config)
            .expect("openh264 takes these settings");
        let mut quiet = WELS_LOG_QUIET;
        // SAFETY: this option takes a pointer to a log level, reads it and does not keep it.
        unsafe { encoder.raw_api().set_option(ENCODER_OPTION_TRACE_LEVEL, (&raw mut quiet).cast()) };
        let mut camera = Self {
            width,
            height,
            luma: vec![128; width * height],
            chroma: vec![128; width * height / 4],
            grid: Grid::new(settings.width, settings.height),
            rng: fastrand::Rng::with_seed(7),
            encoder,
        };
        for y in 0..height {
            camera.luma[y * width..][..width].fill((BLACK as usize + y * 200 / height) as u8);
        }
        camera
    }

    /// The next picture, as Annex B, and whether it is a keyframe.
    fn shoot(&mut self, number: u32, elapsed: Duration, noise: f32, keyframe: bool) -> (Vec<u8>, bool) {
        let time = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let code = TimeCode { frame: number, time_us: time.as_micros() as u64 };
        if let Some(grid) = self.grid {
            for (index, white) in code.cells().into_iter().enumerate() {
                let cell = grid.cell(index);
                for y in cell.y..cell.y + cell.height {
                    let row = &mut self.luma[y as usize * self.width..][..self.width];
                    row[cell.x as usize..][..cell.width as usize].fill(if white { WHITE } else { BLACK });
                }
            }
        }
        // The code is in the upper half.
        let rows = (self.height as f32 * noise.min(0.5)) as usize;
        let start = (self.height - rows) * self.width;
        self.luma[start..].fill_with(|| 96 + (self.rng.u8(..) & 63));
        if keyframe {
            self.encoder.force_intra_frame();
        }
        let size = (self.width, self.height);
        let strides = (self.width, self.width / 2, self.width / 2);
        let picture = YUVSlices::new((&self.luma, &self.chroma, &self.chroma), size, strides);
        let unit = self.encoder.encode_at(&picture, Timestamp::from_millis(elapsed.as_millis() as u64));
        let unit = unit.expect("openh264 encodes pictures of the size it was made for");
        let mut bytes = Vec::new();
        unit.write_vec(&mut bytes);
        (bytes, unit.frame_type() == FrameType::IDR)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource as _;

    #[test]
    fn pictures_carry_their_number_and_keyframes_come_on_request() {
        let settings = Settings {
            width: 320,
            height: 180,
            fps: 30,
            packet_size: 1024,
            bitrate_kbps: 1000,
            min_parity: 2,
            audio_packet_ms: 5,
            control_v2: true,
            encrypted_video: false,
            encrypted_audio: false,
            echoes_ids: true,
        };
        let mut camera = Camera::new(&settings);
        let mut decoder = Decoder::new().unwrap();
        for n in 0..20 {
            let elapsed = Duration::from_millis(33 * u64::from(n));
            let (mut bytes, keyframe) = camera.shoot(1000 + n, elapsed, 0.2, n == 7);
            assert_eq!(keyframe, n == 0 || n == 7, "{n}");
            bytes.extend(filler(3000));
            let picture = decoder.decode(&bytes).unwrap().expect("a picture for each");
            let stride = picture.strides().0;
            let code =
                Grid::new(320, 180).unwrap().read(|x, y| picture.y()[y as usize * stride + x as usize]);
            assert_eq!(code.map(|code| code.frame), Some(1000 + n));
        }
    }

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
