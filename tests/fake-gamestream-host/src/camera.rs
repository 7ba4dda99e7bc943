//! What the host films by itself: a picture with a frame code, encoded as H.264.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use common::timecode::{Grid, TimeCode};
use openh264::encoder::{
    BitRate, Complexity, Encoder, EncoderConfig, FrameRate, FrameType, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{ENCODER_OPTION_TRACE_LEVEL, WELS_LOG_QUIET};

use crate::session::Settings;

/// Luma of white and black in limited range.
const WHITE: u8 = 235;
const BLACK: u8 = 16;

/// What is filmed, and its encoder: constrained baseline, keyframes on request only.
pub struct Camera {
    width: usize,
    height: usize,
    luma: Vec<u8>,
    chroma: Vec<u8>,
    grid: Option<Grid>,
    rng: fastrand::Rng,
    encoder: Encoder,
}

impl Camera {
    /// For a stream of these settings.
    pub fn new(settings: &Settings) -> Self {
        let width = settings.width as usize;
        let height = settings.height as usize;
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
    pub fn shoot(&mut self, number: u32, elapsed: Duration, noise: f32, keyframe: bool) -> (Vec<u8>, bool) {
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

/// A NAL unit of filler data (H.264 §7.3.2.7), if it is to have any length.
pub fn filler(length: usize) -> Vec<u8> {
    if length == 0 {
        return Vec::new();
    }
    let mut unit = vec![0, 0, 0, 1, 12];
    unit.resize(5 + length, 0xff);
    unit.push(0x80);
    unit
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Codec;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource as _;

    #[test]
    fn pictures_carry_their_number_and_keyframes_come_on_request() {
        let settings = Settings {
            codec: Codec::H264,
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
}
