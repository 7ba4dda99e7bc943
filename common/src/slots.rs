//! What slots show: bodies of the REST API about slots, sources and windows, and the names of renditions.

use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::id::{SlotIndex, SourceName, StreamerId};
use crate::media::VideoCodec;
use crate::spec::{SourceSpec, hide_addresses};

/// `POST /api/streamers/{id}/slots` and `PUT …/slots/{n}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BindSlot {
    /// Name of a source, or a source.
    pub source: SlotSource,
    /// Rendition: `""` or `"native"` for the source itself, else as in `"360p"`.
    #[serde(default)]
    pub quality: String,
}

/// What a slot is to show.
#[derive(Debug, Clone, PartialEq, Serialize, TS, ToSchema)]
#[serde(untagged)]
pub enum SlotSource {
    /// An existing source, by name.
    Name(SourceName),
    /// A new source, which is removed when no slot shows it any more.
    Spec(SourceSpec),
}

impl<'de> Deserialize<'de> for SlotSource {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(NameOrSpec)
    }
}

/// Not derived: an untagged enum would hide what is wrong with a source.
struct NameOrSpec;

impl<'de> Visitor<'de> for NameOrSpec {
    type Value = SlotSource;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a source, or a source such as {\"type\": \"window\", \"window_id\": 7}")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<SlotSource, E> {
        Ok(SlotSource::Name(name.to_owned()))
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<SlotSource, A::Error> {
        SourceSpec::deserialize(MapAccessDeserializer::new(map)).map(SlotSource::Spec)
    }
}

/// One slot of a `multistream/*` client.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SlotConfig {
    /// The slot, counted from 0.
    pub slot: SlotIndex,
    /// Name of a stream.
    pub stream: String,
    /// Rendition: `""` or `"native"` for the stream itself, else as in `"360p"`.
    #[serde(default)]
    pub quality: String,
}

/// `GET /api/streamers/{id}/windows`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct WindowList {
    /// Those that can be shared, the topmost first.
    pub windows: Vec<Window>,
}

/// A window of a desktop.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Window {
    /// For a slot's source `{"type": "window", "window_id": …}`.
    pub id: u32,
    /// As its frame shows it.
    pub title: String,
    /// Name of its program (`WM_CLASS`); empty if it has none.
    pub app: String,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
    /// Whether it has the keyboard focus.
    pub focused: bool,
}

/// `POST /api/streamers/{id}/sources`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct AddSource {
    /// By the rules of streamer ids, and not `main`.
    pub name: SourceName,
    /// The source to add.
    pub source: SourceSpec,
}

/// `GET /api/streamers/{id}/sources`.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct SourceList {
    /// In order of names.
    pub sources: Vec<Source>,
}

impl SourceList {
    /// The list without addresses and commands of sources, which only admins may see.
    #[must_use]
    pub fn shown_to(mut self, is_admin: bool) -> Self {
        if !is_admin {
            for source in &mut self.sources {
                source.source = source.source.without_programs();
                source.reason = source.reason.as_deref().map(hide_addresses);
                if let Some(Reader { reason, .. }) = &mut source.reader {
                    *reason = reason.as_deref().map(hide_addresses);
                }
            }
        }
        self
    }
}

/// `GET /api/streams`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamList {
    /// The streamer that has them.
    pub streamer: StreamerId,
    /// Most slots of one multistream client.
    pub max_slots: SlotIndex,
    /// In order of names.
    pub streams: Vec<Source>,
}

/// A source of a streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct Source {
    /// The name of the source.
    pub name: SourceName,
    /// What it is, without passwords.
    pub source: SourceSpec,
    /// Its state.
    pub state: SourceState,
    /// Why it is offline or failed.
    pub reason: Option<String>,
    /// Size of its pictures; absent while it is not known.
    pub size: Option<(u32, u32)>,
    /// Codec of its video; absent while it is not known.
    pub codec: Option<VideoCodec>,
    /// Slots of viewers that show it, renditions included.
    pub watchers: u32,
    /// Where the pointer is, of a desktop or a window; `null` where it is outside of the picture or not known.
    #[serde(default)]
    pub pointer: Option<Pixel>,
    /// What reads a camera, once it was tried.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reader: Option<Reader>,
    /// State of the stream of a Moonlight host.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub host: Option<HostStream>,
}

/// A pixel of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Pixel {
    /// From the left.
    pub x: u32,
    /// From the top.
    pub y: u32,
}

/// What reads a camera.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Reader {
    /// The program that reads it.
    pub program: ReaderProgram,
    /// Why it is not the default reader.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub reason: Option<String>,
}

/// A program that reads cameras.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ReaderProgram {
    /// The streamer itself: with the least delay, and without a further process.
    Streamer,
    /// A child process, for what the streamer does not support.
    Ffmpeg,
}

/// The stream of a Moonlight host.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct HostStream {
    /// The stage that it has reached.
    pub stage: HostStage,
    /// Quality of the network between the host and this server; absent while it is not known.
    pub quality: Option<LinkQuality>,
    /// The last failure; absent while it streams.
    pub failure: Option<HostFailure>,
    /// The code by which the host ended the stream last, as in `0x80030023`.
    pub termination: Option<String>,
    /// Complete frames received in this session with the host.
    pub frames: u64,
    /// Frames that are lost.
    pub lost_frames: u64,
    /// Frames received that could not be decoded, as an earlier one was lost.
    pub skipped_frames: u64,
    /// Lost packets that were recovered by FEC.
    pub recovered_packets: u64,
    /// Keyframes requested from the host.
    pub keyframe_requests: u64,
    /// Round trip to the host, milliseconds; absent until it is measured.
    pub round_trip_ms: Option<f64>,
}

impl HostStream {
    /// Notes that the present stage has failed.
    pub fn fail(&mut self, code: &str, message: &str) {
        let code = code.to_owned();
        let message = message.to_owned();
        self.failure = Some(HostFailure { stage: self.stage, code, message });
    }
}

/// A stage that has failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct HostFailure {
    /// The stage that failed.
    pub stage: HostStage,
    /// Stable, for programs: `host_timeout`, `host_busy`, `host_lost` and the like.
    pub code: String,
    /// A description, for people; it may change.
    pub message: String,
}

/// A stage of the stream of a host, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum HostStage {
    /// Asking the host for its capabilities and what it runs.
    #[default]
    Asking,
    /// Launching the app, or resuming the one that runs.
    Launching,
    /// Negotiating the stream.
    Negotiating,
    /// Waiting for the first picture.
    Waiting,
    /// Streaming.
    Streaming,
    /// The stream was lost and is retried after a pause.
    Lost,
    /// The host has ended the stream for good.
    Ended,
}

/// Quality of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum LinkQuality {
    /// All frames arrive.
    Ok,
    /// Frames were lost in the last seconds, or nothing came for one.
    Poor,
}

/// Life of a source.
///
/// ```text
/// idle ──wanted──▶ starting ──first keyframe──▶ running ⇄ offline
///   ▲                                              │
///   └──────────── nobody wants it any more ────────┘
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SourceState {
    /// Nobody watches it.
    Idle,
    /// It starts.
    Starting,
    /// Pictures come.
    Running,
    /// It was lost, and is retried.
    Offline,
}

/// The name under which a rendition of a stream can be asked for: `camera1` and `360p` are `camera1-360p`.
pub fn rendition_name(stream: &str, quality: &str) -> String {
    match quality {
        "" | "native" => stream.to_owned(),
        quality => format!("{stream}-{quality}"),
    }
}

/// Lines of a rendition that is named by its height: `360p`. Even, and a size that a picture can have.
pub fn rendition_height(quality: &str) -> Option<u32> {
    let height = quality.strip_suffix('p')?;
    // Only what `format!` would give: not "+360p" or "0360p".
    let height = height.parse().ok().filter(|lines: &u32| lines.to_string() == height)?;
    (height % 2 == 0 && (crate::spec::MIN_SIDE..=crate::spec::MAX_HEIGHT).contains(&height)).then_some(height)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renditions_are_named_by_their_height() {
        assert_eq!(rendition_name("camera1", "360p"), "camera1-360p");
        assert_eq!(rendition_name("camera1", "native"), "camera1");
        assert_eq!(rendition_name("camera1", ""), "camera1");
        assert_eq!(rendition_height("360p"), Some(360));
        for none in ["", "native", "p", "361p", "0p", "+360p", "0360p", "99999p", "360"] {
            assert_eq!(rendition_height(none), None, "{none}");
        }
    }

    #[test]
    fn viewers_see_no_address_of_a_source() {
        let list: SourceList = serde_json::from_value(serde_json::json!({ "sources": [{
            "name": "door", "source": { "type": "ffmpeg", "input": "http://10.0.0.7:9/***", "video": "copy" },
            "state": "offline", "reason": "ffmpeg: http://10.0.0.7:9/***: refused", "size": null, "codec": null, "watchers": 0,
            "reader": { "program": "ffmpeg", "reason": "302 from rtsp://10.0.0.7:554/x" },
        }] }))
        .unwrap();
        let text = |is_admin| serde_json::to_string(&list.clone().shown_to(is_admin)).unwrap();
        assert!(text(true).contains("10.0.0.7"));
        assert!(!text(false).contains("10.0.0.7") && text(false).contains("refused"), "{}", text(false));
    }

    #[test]
    fn a_slot_takes_a_name_or_a_source() {
        let named: BindSlot = serde_json::from_str(r#"{"source":"camera1","quality":"360p"}"#).unwrap();
        assert_eq!(named.source, SlotSource::Name("camera1".into()));
        let window: BindSlot = serde_json::from_str(r#"{"source":{"type":"window","window_id":7}}"#).unwrap();
        assert!(matches!(window.source, SlotSource::Spec(SourceSpec::Window(_))));
        let error =
            serde_json::from_str::<BindSlot>(r#"{"source":{"type":"window","windowid":7}}"#).unwrap_err();
        assert!(error.to_string().contains("windowid"), "{error}");
    }
}
