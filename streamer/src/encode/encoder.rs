//! H.264 by openh264: constrained baseline, one slice and one thread per picture.

use std::time::Instant;

use bytes::Bytes;
use openh264::encoder::{
    BitRate, Complexity, Encoder as OpenH264, EncoderConfig, FrameRate, FrameType, Level, Profile, QpRange,
    RateControlMode, SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::YUVSlices;
use openh264::{OpenH264API, Timestamp};
use openh264_sys2::{
    ENCODER_OPTION, ENCODER_OPTION_BITRATE, ENCODER_OPTION_MAX_BITRATE, ENCODER_OPTION_TRACE_LEVEL,
    SBitrateInfo, SPATIAL_LAYER_0, SPATIAL_LAYER_ALL, WELS_LOG_QUIET,
};

use super::Error;
use super::convert::I420;
use crate::media::Size;

/// Quantiser: above 0 the rate control works (at 0 it overshoots the bitrate threefold), and 14
/// cannot be told from lossless.
const QP: (u8, u8) = (14, 51);

/// What the pictures are like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Content {
    /// Text and edges, scrolling: sharp, and found again where it moved to.
    Screen,
    /// Anything; about a third of the work of [`Content::Screen`] on little changes.
    Camera,
}

/// What an encoder is made for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Config {
    /// Size of every picture.
    pub size: Size,
    /// Highest frame rate.
    pub fps: u32,
    /// Target.
    pub bitrate_bps: u32,
    /// What the pictures are like.
    pub content: Content,
}

/// What the encoder made of a picture.
#[derive(Debug)]
pub struct Encoded {
    /// Annex B; SPS and PPS come first in a keyframe. Empty when the encoder left the picture out.
    pub data: Bytes,
    /// Decodable alone (IDR).
    pub keyframe: bool,
}

/// Encodes pictures of one size. Its first one is a keyframe.
pub struct Encoder {
    openh264: OpenH264,
    config: Config,
    began: Instant,
    /// Length of the last access unit: what the next one is likely to need.
    expected_len: usize,
    /// A picture has been encoded. Before that openh264 has no encoder yet whose bitrate could be changed.
    has_begun: bool,
}

impl Encoder {
    /// An encoder; takes some milliseconds, the first picture included.
    ///
    /// # Errors
    /// When openh264 does not start.
    pub fn new(config: Config, now: Instant) -> Result<Self, Error> {
        let content = match config.content {
            Content::Screen => UsageType::ScreenContentRealTime,
            Content::Camera => UsageType::CameraVideoRealTime,
        };
        let settings = EncoderConfig::new()
            .usage_type(content)
            .bitrate(BitRate::from_bps(config.bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(config.fps as f32))
            .rate_control_mode(RateControlMode::Bitrate)
            .qp(QpRange::new(QP.0, QP.1))
            .complexity(Complexity::Low)
            .num_threads(1)
            // It would leave out more than half of the pictures of a busy screen; we lower the frame
            // rate instead, before encoding.
            .skip_frames(false)
            // A screen's scrolling is found by it. Camera video needs no keyframe where the scene changes.
            .scene_change_detect(config.content == Content::Screen)
            // Not for screens: openh264 would turn them off by itself, with a warning.
            .adaptive_quantization(config.content == Content::Camera)
            .background_detection(config.content == Content::Camera)
            .profile(Profile::Baseline)
            .level(level(&config))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .vui(VuiConfig::bt709());
        let mut openh264 = OpenH264::with_api_config(OpenH264API::from_source(), settings)?;
        // What it has to say goes to the standard error; without this it says that frames are not skipped.
        let mut quiet = WELS_LOG_QUIET;
        set_option(&mut openh264, ENCODER_OPTION_TRACE_LEVEL, &mut quiet, "silence")?;
        Ok(Self { openh264, config, began: now, expected_len: 16 * 1024, has_begun: false })
    }

    /// What it was made for, with the bitrate of now.
    pub fn config(&self) -> &Config {
        &self.config
    }

    /// Encodes a picture taken at `captured`.
    ///
    /// # Errors
    /// When the picture has another size, or openh264 fails.
    pub fn encode(&mut self, picture: &I420, captured: Instant, keyframe: bool) -> Result<Encoded, Error> {
        let Size { width, height } = picture.size();
        if picture.size() != self.config.size {
            return Err(Error::Size { width, height });
        }
        if keyframe {
            self.openh264.force_intra_frame();
        }
        let width = width as usize;
        let source =
            YUVSlices::new(picture.planes(), (width, height as usize), (width, width / 2, width / 2));
        let at = captured.saturating_duration_since(self.began).as_millis() as u64;
        let unit = self.openh264.encode_at(&source, Timestamp::from_millis(at))?;
        self.has_begun = true;
        let keyframe = unit.frame_type() == FrameType::IDR;
        let mut data = Vec::with_capacity(self.expected_len);
        unit.write_vec(&mut data);
        self.expected_len = data.len() + data.len() / 4;
        Ok(Encoded { data: data.into(), keyframe })
    }

    /// Changes the target bitrate from the next picture on, without a keyframe.
    ///
    /// # Errors
    /// When openh264 refuses it: it is not positive.
    pub fn set_bitrate(&mut self, bps: u32) -> Result<(), Error> {
        if bps == self.config.bitrate_bps {
            return Ok(());
        }
        if !self.has_begun {
            *self = Self::new(Config { bitrate_bps: bps, ..self.config }, self.began)?;
            return Ok(());
        }
        // openh264 refuses a target above the maximum, and a maximum below the target.
        let maximum = (ENCODER_OPTION_MAX_BITRATE, SPATIAL_LAYER_0);
        let target = (ENCODER_OPTION_BITRATE, SPATIAL_LAYER_ALL);
        let order = if bps > self.config.bitrate_bps { [maximum, target] } else { [target, maximum] };
        for (option, layer) in order {
            let bitrate = i32::try_from(bps).unwrap_or(i32::MAX);
            let mut info = SBitrateInfo { iLayer: layer, iBitrate: bitrate };
            set_option(&mut self.openh264, option, &mut info, "the bitrate")?;
        }
        self.config.bitrate_bps = bps;
        Ok(())
    }
}

/// Sets an option. `T` is the type that openh264 documents for it.
fn set_option<T>(
    openh264: &mut OpenH264,
    option: ENCODER_OPTION,
    value: &mut T,
    what: &'static str,
) -> Result<(), Error> {
    // SAFETY: the options set in this module take a pointer to the type given, read it and do not keep it;
    // none of them is one that the crate's own encoder relies on.
    let code = unsafe { openh264.raw_api().set_option(option, (&raw mut *value).cast()) };
    if code == 0 { Ok(()) } else { Err(Error::VideoCode { what, code }) }
}

/// Limits of a level (H.264 table A-1).
struct Limits {
    level: Level,
    /// Macroblocks per second.
    rate: u32,
    /// Macroblocks in a picture.
    picture: u32,
    /// Bits per second.
    bits: u32,
}

const fn limits(level: Level, rate: u32, picture: u32, kbps: u32) -> Limits {
    Limits { level, rate, picture, bits: kbps * 1000 }
}

/// From the level every WebRTC receiver knows (that of 42e01f) upwards.
const LEVELS: [Limits; 7] = [
    limits(Level::Level_3_1, 108_000, 3_600, 14_000),
    limits(Level::Level_3_2, 216_000, 5_120, 20_000),
    limits(Level::Level_4_0, 245_760, 8_192, 20_000),
    limits(Level::Level_4_1, 245_760, 8_192, 50_000),
    limits(Level::Level_4_2, 522_240, 8_704, 50_000),
    limits(Level::Level_5_0, 589_824, 22_080, 135_000),
    limits(Level::Level_5_1, 983_040, 36_864, 240_000),
];

/// The lowest level that allows `config`; the highest one for what no level below it does.
fn level(config: &Config) -> Level {
    let columns = config.size.width.div_ceil(16);
    let rows = config.size.height.div_ceil(16);
    let side = columns.max(rows);
    let fits = |limits: &&Limits| {
        columns * rows <= limits.picture
            && side * side <= 8 * limits.picture
            && columns * rows * config.fps <= limits.rate
            && config.bitrate_bps <= limits.bits
    };
    LEVELS.iter().find(fits).map_or(Level::Level_5_2, |limits| limits.level)
}

#[cfg(test)]
mod tests {
    use super::*;
    use openh264::decoder::Decoder;
    use openh264::formats::YUVSource as _;
    use std::time::Duration;

    fn config(width: u32, height: u32, content: Content) -> Config {
        Config { size: Size { width, height }, fps: 30, bitrate_bps: 2_500_000, content }
    }

    /// A picture with edges that moves: lines of different slopes, by `step`.
    fn picture(size: Size, step: u32) -> I420 {
        let mut picture = I420::new(size).unwrap();
        let mut pixels = Vec::new();
        for y in 0..size.height {
            for x in 0..size.width {
                let line = (x + 3 * y + 4 * step) % 64 < 6 || (2 * x + y + step) % 96 < 4;
                pixels.extend(if line { [20, 30, 40, 0] } else { [230, 220, 210, 0] });
            }
        }
        picture.convert(0..size.height, &pixels, 4 * size.width as usize).unwrap();
        picture
    }

    #[test]
    fn a_keyframe_has_its_parameter_sets_and_is_constrained_baseline() {
        for content in [Content::Screen, Content::Camera] {
            let config = config(320, 240, content);
            let start = Instant::now();
            let mut encoder = Encoder::new(config, start).unwrap();
            for step in 0..4 {
                let at = start + Duration::from_millis(33 * u64::from(step));
                let unit = encoder.encode(&picture(config.size, step), at, step == 2).unwrap();
                assert_eq!(unit.keyframe, step % 2 == 0, "{content:?} step {step}");
                if unit.keyframe {
                    let [0, 0, 0, 1, sps, profile, constraints, level, ..] = unit.data[..] else {
                        panic!("no SPS first: {:x?}", &unit.data[..8]);
                    };
                    assert_eq!((sps & 31, profile, level), (7, 66, 31));
                    assert_eq!(constraints & 0x40, 0x40, "constraint_set1: {constraints:x}");
                    assert!(unit.data.windows(4).any(|w| w[..3] == [0, 0, 1] && w[3] & 31 == 8), "no PPS");
                }
            }
        }
    }

    #[test]
    fn what_is_decoded_looks_like_what_was_encoded() {
        for (content, size) in [(Content::Screen, (1366, 768)), (Content::Camera, (128, 64))] {
            let config = config(size.0, size.1, content);
            let start = Instant::now();
            let mut encoder = Encoder::new(config, start).unwrap();
            let mut decoder = Decoder::new().unwrap();
            let shown = picture(config.size, 5);
            let mut psnr = 0.0;
            for step in 0..20 {
                let at = start + Duration::from_millis(33 * step);
                let unit = encoder.encode(&shown, at, false).unwrap();
                let decoded = decoder.decode(&unit.data).unwrap().expect("a picture per access unit");
                assert_eq!(decoded.dimensions(), (size.0 as usize, size.1 as usize));
                let rows = decoded.y().chunks(decoded.strides().0);
                let rows = rows.flat_map(|row| &row[..size.0 as usize]);
                psnr = luma_psnr(shown.planes().0, rows);
            }
            assert!(psnr > 38.0, "{content:?}: {psnr:.1} dB");
        }
    }

    fn luma_psnr<'a>(expected: &[u8], seen: impl Iterator<Item = &'a u8>) -> f64 {
        let square = |(a, b): (&u8, &u8)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        let error: f64 = expected.iter().zip(seen).map(square).sum();
        10.0 * (255.0 * 255.0 * expected.len() as f64 / error.max(1.0)).log10()
    }

    #[test]
    fn the_bitrate_follows_at_run_time_without_a_keyframe() {
        let config = Config { bitrate_bps: 600_000, ..config(640, 360, Content::Camera) };
        let start = Instant::now();
        let mut encoder = Encoder::new(config, start).unwrap();
        let mut bytes = [0; 3];
        for step in 0..90u32 {
            if step == 30 {
                encoder.set_bitrate(6_000_000).unwrap();
            } else if step == 60 {
                encoder.set_bitrate(600_000).unwrap();
            }
            let at = start + Duration::from_millis(33 * u64::from(step));
            let unit = encoder.encode(&picture(config.size, step * 7), at, false).unwrap();
            assert_eq!(unit.keyframe, step == 0);
            // The first pictures after a change are still paid for.
            bytes[step as usize / 30] += if step % 30 >= 10 { unit.data.len() } else { 0 };
        }
        assert!(bytes[1] > 2 * bytes[0] && bytes[1] > 2 * bytes[2], "{bytes:?}");
    }

    #[test]
    fn the_bitrate_follows_before_the_first_picture_too() {
        let len = |before: u32, after: u32| {
            let config = Config { bitrate_bps: before, ..config(640, 360, Content::Camera) };
            let start = Instant::now();
            let mut encoder = Encoder::new(config, start).unwrap();
            encoder.set_bitrate(after).unwrap();
            encoder.encode(&picture(config.size, 0), start, false).unwrap().data.len()
        };
        assert_eq!(len(6_000_000, 300_000), len(300_000, 300_000));
        assert_eq!(len(300_000, 6_000_000), len(6_000_000, 6_000_000));
    }

    #[test]
    fn the_level_is_high_enough_for_size_rate_and_bitrate() {
        let at = |width, height, fps, bitrate_bps| {
            format!("{:?}", level(&Config { fps, bitrate_bps, ..config(width, height, Content::Screen) }))
        };
        assert_eq!(at(1280, 720, 30, 2_500_000), "Level_3_1");
        assert_eq!(at(1280, 720, 60, 2_500_000), "Level_3_2");
        assert_eq!(at(1920, 1080, 30, 4_000_000), "Level_4_0");
        assert_eq!(at(1920, 1080, 60, 4_000_000), "Level_4_2");
        assert_eq!(at(3840, 2160, 30, 9_000_000), "Level_5_1");
        assert_eq!(at(3840, 2160, 120, 9_000_000), "Level_5_2");
        assert_eq!(at(3840, 16, 30, 1_000_000), "Level_4_0");
    }
}
