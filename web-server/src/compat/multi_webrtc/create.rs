//! The other body of `POST /api/streamers`: a stream of a Moonlight host, as those backends request it.

use common::id::StreamerId;
use common::spec::{
    AppRef, Colorspace, DEFAULT_AUDIO_QUEUE, DEFAULT_SLOTS, DEFAULT_VIDEO_QUEUE, InvalidField,
    MoonlightCodec, MoonlightSpec, PACKET_SIZES, QUEUES, SourceSpec, StreamerSpec,
};
use serde::Deserialize;
use serde_json::{Map, Value};
use sha2::{Digest, Sha256};

/// Video packets of one queued sample, a picture: a keyframe of 4K is about as large.
const PACKETS_PER_PICTURE: u32 = 256;
/// Audio packets of one queued sample: the sound of 10 ms and its parity, with room for a burst.
const PACKETS_PER_SOUND: u32 = 16;

/// The body. Fields that it does not name are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct CreateStreamer {
    /// Chosen by the backend.
    pub streamer_id: StreamerId,
    /// The id by which the host tells clients apart. Any text.
    #[serde(default)]
    pub client_unique_id: String,
    /// A host's id, or its index among all hosts, from 0.
    pub host_id: NumberOrText,
    /// An app's number in the host's list, or its name.
    pub app_id: NumberOrText,
    /// Kilobit per second.
    #[serde(default)]
    pub bitrate: Option<u32>,
    /// Longest packet of video, bytes.
    #[serde(default)]
    pub packet_size: Option<u32>,
    /// Frames per second.
    pub fps: u32,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Queued pictures.
    #[serde(default)]
    pub video_sample_queue_size: Option<u32>,
    /// Queued pieces of sound.
    #[serde(default)]
    pub audio_sample_queue_size: Option<u32>,
    /// The host's own loudspeakers play too.
    #[serde(default)]
    pub play_audio_local: bool,
    /// The formats that its viewers can decode.
    #[serde(default)]
    pub video_supported_formats: VideoFormats,
    /// The colour matrix.
    #[serde(default)]
    pub video_colorspace: VideoColorspace,
    /// Full range: luma from 0 to 255.
    #[serde(default)]
    pub video_color_range_full: bool,
}

/// An id that some backends write as a number and others as a text.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(untagged, expecting = "must be a number or a text")]
pub enum NumberOrText {
    /// `7`.
    Number(u32),
    /// `"7"` or a name.
    Text(String),
}

impl NumberOrText {
    fn text(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Text(text) => text.clone(),
        }
    }

    fn app(&self) -> AppRef {
        match self {
            Self::Number(number) => AppRef::Id(*number),
            Self::Text(text) => text.parse().map_or_else(|_| AppRef::Name(text.clone()), AppRef::Id),
        }
    }
}

/// A set of video formats, one bit each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct VideoFormats(pub u32);

impl VideoFormats {
    const H264: u32 = 0x0005;
    const HEVC: u32 = 0x0f00;
    const AV1: u32 = 0xf000;

    /// The codec for the host: H.264 if the set includes it, as every browser decodes it, and also for a set with unknown
    /// bits.
    fn codec(self) -> MoonlightCodec {
        let unknown = self.0 & !(Self::H264 | Self::HEVC | Self::AV1) != 0;
        match self.0 {
            bits if unknown || bits & Self::H264 != 0 => MoonlightCodec::H264,
            bits if bits & Self::HEVC != 0 => MoonlightCodec::Hevc,
            bits if bits & Self::AV1 != 0 => MoonlightCodec::Av1,
            _ => MoonlightCodec::H264,
        }
    }
}

/// Colours of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize)]
pub enum VideoColorspace {
    /// BT.601.
    Rec601,
    /// BT.709.
    #[default]
    Rec709,
    /// BT.2020.
    Rec2020,
}

/// True for a body of this kind: it has a streamer or a host as a field at the top, which ours never has.
pub fn speaks(body: &Map<String, Value>) -> bool {
    !body.contains_key("source") && (body.contains_key("streamer_id") || body.contains_key("host_id"))
}

impl CreateStreamer {
    /// The spec to create, not validated. `host` resolves the text to the id of a host.
    ///
    /// # Errors
    /// The error of `host`.
    pub fn into_spec<E>(
        self,
        host: impl FnOnce(&str) -> Result<String, E>,
    ) -> Result<(StreamerId, StreamerSpec), E> {
        let queue = |samples: Option<u32>, packets: u32| {
            let wanted = samples.map(|samples| samples.saturating_mul(packets));
            wanted.map(|wanted| wanted.clamp(*QUEUES.start(), *QUEUES.end()))
        };
        let moonlight = MoonlightSpec {
            host_id: host(&self.host_id.text())?,
            app: self.app_id.app(),
            width: self.width,
            height: self.height,
            fps: self.fps,
            bitrate_kbps: self.bitrate,
            packet_size: self.packet_size.map_or(*PACKET_SIZES.end(), |bytes| {
                bytes.clamp(*PACKET_SIZES.start(), *PACKET_SIZES.end()) / 16 * 16
            }),
            codec: self.video_supported_formats.codec(),
            colorspace: match self.video_colorspace {
                VideoColorspace::Rec601 => Colorspace::Rec601,
                VideoColorspace::Rec709 => Colorspace::Rec709,
                VideoColorspace::Rec2020 => Colorspace::Rec2020,
            },
            color_range_full: self.video_color_range_full,
            play_audio_local: self.play_audio_local,
            client_unique_id: unique_id(&self.client_unique_id),
            video_queue: queue(self.video_sample_queue_size, PACKETS_PER_PICTURE)
                .unwrap_or(DEFAULT_VIDEO_QUEUE),
            audio_queue: queue(self.audio_sample_queue_size, PACKETS_PER_SOUND)
                .unwrap_or(DEFAULT_AUDIO_QUEUE),
            access: None,
        };
        let spec = StreamerSpec {
            source: Some(SourceSpec::Moonlight(moonlight)),
            sources: std::collections::BTreeMap::default(),
            share: true,
            slots: DEFAULT_SLOTS,
            restart: common::restart::RestartSpec::default(),
            max_bitrate_kbps: None,
            room: None,
        };
        Ok((self.streamer_id, spec))
    }
}

/// Sixteen hexadecimal digits, as hosts require, for any text; always the same ones for the same text.
fn unique_id(text: &str) -> Option<String> {
    if text.is_empty() {
        return None;
    }
    if text.len() == 16 && text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Some(text.to_owned());
    }
    Some(Sha256::digest(text).iter().take(8).map(|byte| format!("{byte:02x}")).collect())
}

/// An error of our spec, with the name that the field has in their body.
pub fn in_its_words(error: InvalidField) -> InvalidField {
    let field = match error.field {
        "source.width" => "width",
        "source.height" => "height",
        "source.fps" => "fps",
        "source.bitrate_kbps" => "bitrate",
        "source.host_id" => "host_id",
        "source.app" => "app_id",
        other => other,
    };
    InvalidField { field, ..error }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    /// The body of a backend that was written for the other server.
    fn example() -> Value {
        json!({
            "streamer_id": "agent-1", "client_unique_id": "helix-agent-1", "host_id": 0, "app_id": 1,
            "bitrate": 20000, "packet_size": 1024, "fps": 60, "width": 1920, "height": 1080,
            "video_sample_queue_size": 10, "audio_sample_queue_size": 10, "play_audio_local": false,
            "video_supported_formats": 1, "video_colorspace": "Rec709", "video_color_range_full": false,
        })
    }

    fn spec_of(body: Value) -> MoonlightSpec {
        let body: CreateStreamer = serde_json::from_value(body).unwrap();
        let (_, spec) = body.into_spec(|host| Ok::<_, ()>(format!("host {host}"))).unwrap();
        spec.validate().unwrap();
        match spec.source {
            Some(SourceSpec::Moonlight(spec)) => spec,
            other => panic!("{other:?}"),
        }
    }

    fn with(field: &str, value: Value) -> Value {
        let mut body = example();
        body[field] = value;
        body
    }

    #[test]
    fn the_example_is_a_stream_of_a_host() {
        let body: CreateStreamer = serde_json::from_value(example()).unwrap();
        let (id, _) = body.into_spec(|host| Ok::<_, ()>(host.to_owned())).unwrap();
        assert_eq!(id.as_str(), "agent-1");
        let spec = spec_of(example());
        assert_eq!((spec.host_id.as_str(), &spec.app), ("host 0", &AppRef::Id(1)));
        assert_eq!((spec.width, spec.height, spec.fps, spec.bitrate_kbps), (1920, 1080, 60, Some(20_000)));
        assert_eq!(
            (spec.packet_size, spec.codec, spec.colorspace),
            (1024, MoonlightCodec::H264, Colorspace::Rec709)
        );
        assert_eq!((spec.video_queue, spec.audio_queue), (2560, 160));
        let id = spec.client_unique_id.unwrap();
        assert!(id.len() == 16 && id.bytes().all(|byte| byte.is_ascii_hexdigit()), "{id}");
    }

    #[test]
    fn hosts_and_apps_are_named_by_numbers_or_texts() {
        for (value, host, app) in [
            (json!(7), "host 7", AppRef::Id(7)),
            (json!("7"), "host 7", AppRef::Id(7)),
            (json!("Desktop"), "host Desktop", AppRef::Name("Desktop".into())),
        ] {
            assert_eq!(spec_of(with("host_id", value.clone())).host_id, host);
            assert_eq!(spec_of(with("app_id", value)).app, app);
        }
        let error = serde_json::from_value::<CreateStreamer>(with("app_id", json!(-1))).unwrap_err();
        assert!(error.to_string().contains("a number or a text"), "{error}");
    }

    #[test]
    fn formats_are_bits_and_h264_is_preferred() {
        use MoonlightCodec::{Av1, H264, Hevc};
        for (bits, codec) in [
            (1, H264),
            (4, H264),
            (0x100, Hevc),
            (0x200 | 0x1000, Hevc),
            (0x101, H264),
            (0x1000, Av1),
            (0x8000, Av1),
            (0, H264),
            (0x100 | 0x10_0000, H264),
            (0x2, H264),
        ] {
            assert_eq!(spec_of(with("video_supported_formats", json!(bits))).codec, codec, "{bits:#x}");
        }
    }

    #[test]
    fn texts_of_any_kind_tell_clients_apart() {
        let id = |text: &str| spec_of(with("client_unique_id", json!(text))).client_unique_id;
        assert_eq!(id(""), None);
        assert_eq!(id("0123456789abcdef").as_deref(), Some("0123456789abcdef"));
        assert!(id("ä") != id("ö") && id("ä") == id("ä"));
    }

    #[test]
    fn what_hosts_and_sockets_do_not_take_becomes_the_nearest_that_they_do() {
        assert_eq!(spec_of(with("packet_size", json!(1000))).packet_size, 992);
        assert_eq!(spec_of(with("packet_size", json!(9000))).packet_size, 1392);
        assert_eq!(spec_of(with("packet_size", json!(0))).packet_size, 256);
        assert_eq!(spec_of(with("video_sample_queue_size", json!(0))).video_queue, 16);
        assert_eq!(spec_of(with("video_sample_queue_size", json!(u32::MAX))).video_queue, 16_384);
    }

    #[test]
    fn colours_have_their_names_and_rules_the_names_of_the_body() {
        assert_eq!(spec_of(with("video_colorspace", json!("Rec601"))).colorspace, Colorspace::Rec601);
        assert_eq!(spec_of(with("video_colorspace", json!("Rec2020"))).colorspace, Colorspace::Rec2020);
        assert!(serde_json::from_value::<CreateStreamer>(with("video_colorspace", json!("rec709"))).is_err());
        let body: CreateStreamer = serde_json::from_value(with("bitrate", json!(1))).unwrap();
        let (_, spec) = body.into_spec(|host| Ok::<_, ()>(host.to_owned())).unwrap();
        assert_eq!(in_its_words(spec.validate().unwrap_err()).field, "bitrate");
    }

    #[test]
    fn its_bodies_are_told_from_ours() {
        let object = |value: Value| value.as_object().cloned().unwrap();
        assert!(speaks(&object(example())));
        assert!(speaks(&object(json!({"host_id": 0}))));
        for ours in
            [json!({"id": "a", "source": {"type": "test"}}), json!({}), json!({"source": {}, "host_id": 1})]
        {
            assert!(!speaks(&object(ours)));
        }
    }
}
