//! H.264 by openh264, for films: constrained baseline, one slice and one thread per picture.

use std::time::Instant;

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
use super::encoder::{Config, Encoded};
use crate::media::Size;

/// Quantiser: above 0 the rate control works (at 0 it overshoots the bitrate threefold), and 14
/// cannot be told from lossless.
const QP: (u8, u8) = (14, 51);
/// A picture that repeats the one before and is shorter than this says that there is nothing to add.
const SETTLED_BYTES: usize = 300;
/// Pictures that may be spent on adding detail, far more than it takes: it ends even if the encoder
/// never runs out of things to improve.
const MOST_REPEATS: u32 = 60;

/// Encodes pictures of one size. Its first one is a keyframe.
pub struct Film {
    openh264: OpenH264,
    config: Config,
    began: Instant,
    /// Length of the last access unit: what the next one is likely to need.
    expected_len: usize,
    /// A picture has been encoded. Before that openh264 has no encoder yet whose bitrate could be changed.
    has_begun: bool,
    /// How often the last picture may still be encoded again, to add detail.
    repeats: u32,
}

impl Film {
    /// An encoder; takes some milliseconds, the first picture included.
    ///
    /// # Errors
    /// When openh264 does not start.
    pub fn new(config: Config, now: Instant) -> Result<Self, Error> {
        let settings = EncoderConfig::new()
            .usage_type(UsageType::CameraVideoRealTime)
            .bitrate(BitRate::from_bps(config.bitrate_bps))
            .max_frame_rate(FrameRate::from_hz(config.fps as f32))
            .rate_control_mode(RateControlMode::Bitrate)
            .qp(QpRange::new(QP.0, QP.1))
            .complexity(Complexity::Low)
            .num_threads(1)
            // It would leave out more than half of the pictures of a busy screen; we lower the frame
            // rate instead, before encoding.
            .skip_frames(false)
            // A film needs no keyframe where the scene changes.
            .scene_change_detect(false)
            .adaptive_quantization(true)
            .background_detection(true)
            .profile(Profile::Baseline)
            .level(level(&config))
            .sps_pps_strategy(SpsPpsStrategy::ConstantId)
            .vui(VuiConfig::bt709());
        let mut openh264 = OpenH264::with_api_config(OpenH264API::from_source(), settings)?;
        // What it has to say goes to the standard error; without this it says that frames are not skipped.
        let mut quiet = WELS_LOG_QUIET;
        set_option(&mut openh264, ENCODER_OPTION_TRACE_LEVEL, &mut quiet, "silence")?;
        Ok(Self { openh264, config, began: now, expected_len: 16 * 1024, has_begun: false, repeats: 0 })
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
        self.repeats = MOST_REPEATS;
        Ok(Encoded { data: data.into(), keyframe, share_of_new: None })
    }

    /// Encodes the picture before once more, which adds detail. Nothing if there is none to add.
    ///
    /// # Errors
    /// As of [`Film::encode`].
    pub fn refine(&mut self, picture: &I420, captured: Instant) -> Result<Option<Encoded>, Error> {
        let Some(repeats) = self.repeats.checked_sub(1) else { return Ok(None) };
        let encoded = self.encode(picture, captured, false)?;
        self.repeats = if encoded.data.len() < SETTLED_BYTES { 0 } else { repeats };
        Ok(Some(encoded))
    }

    /// Whether [`Film::refine`] has nothing to add.
    pub fn is_at_rest(&self) -> bool {
        self.repeats == 0
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
    use crate::encode::content::Content;
    use crate::encode::encoder::tests::picture;
    use std::time::Duration;

    fn config(width: u32, height: u32) -> Config {
        Config { size: Size { width, height }, fps: 30, bitrate_bps: 2_500_000, content: Content::Film }
    }

    #[test]
    fn a_picture_at_rest_is_repeated_until_there_is_nothing_to_add_and_no_longer_than_that() {
        let config = Config { bitrate_bps: 600_000, ..config(640, 360) };
        let start = Instant::now();
        let mut encoder = Film::new(config, start).unwrap();
        assert!(encoder.is_at_rest(), "nothing was encoded");
        let shown = picture(config.size, 3);
        encoder.encode(&shown, start, false).unwrap();
        let mut lens = Vec::new();
        let at = |repeat: usize| start + Duration::from_millis(33 * (repeat as u64 + 1));
        while let Some(unit) = encoder.refine(&shown, at(lens.len())).unwrap() {
            assert!(!unit.keyframe);
            lens.push(unit.data.len());
        }
        assert!(encoder.is_at_rest());
        let (last, before) = lens.split_last().unwrap();
        assert!(*last < SETTLED_BYTES && before.iter().all(|len| *len >= SETTLED_BYTES), "{lens:?}");
        assert!(lens.len() < MOST_REPEATS as usize, "{lens:?}");
    }

    #[test]
    fn the_bitrate_follows_at_run_time_without_a_keyframe() {
        let config = Config { bitrate_bps: 600_000, ..config(640, 360) };
        let start = Instant::now();
        let mut encoder = Film::new(config, start).unwrap();
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
            let config = Config { bitrate_bps: before, ..config(640, 360) };
            let start = Instant::now();
            let mut encoder = Film::new(config, start).unwrap();
            encoder.set_bitrate(after).unwrap();
            encoder.encode(&picture(config.size, 0), start, false).unwrap().data.len()
        };
        assert_eq!(len(6_000_000, 300_000), len(300_000, 300_000));
        assert_eq!(len(300_000, 6_000_000), len(6_000_000, 6_000_000));
    }

    #[test]
    fn the_level_is_high_enough_for_size_rate_and_bitrate() {
        let at = |width, height, fps, bitrate_bps| {
            format!("{:?}", level(&Config { fps, bitrate_bps, ..config(width, height) }))
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
