//! A host that streams its screen to Moonlight clients.

use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use super::{InvalidField, validate_picture};

/// Longest id or name that can be asked for, in bytes.
const MAX_TEXT: usize = 256;
/// Sizes of packets that hosts and networks take, bytes, in steps of 16.
pub const PACKET_SIZES: std::ops::RangeInclusive<u32> = 256..=1392;
/// Packets that can be asked to wait.
pub const QUEUES: std::ops::RangeInclusive<u32> = 16..=16_384;
/// Video packets that wait when a spec does not say.
pub const DEFAULT_VIDEO_QUEUE: u32 = 4096;
/// Audio packets that wait when a spec does not say.
pub const DEFAULT_AUDIO_QUEUE: u32 = 256;

/// A stream of a Moonlight host (Sunshine, Wolf, GeForce Experience): its picture and sound are passed on as they are.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct MoonlightSpec {
    /// Which host, as `GET /api/hosts` names it. It must be paired.
    pub host_id: String,
    /// What to run there: its name or its number in the host's list.
    pub app: AppRef,
    /// Pixels, even.
    #[serde(default = "super::default_width")]
    pub width: u32,
    /// Pixels, even.
    #[serde(default = "super::default_height")]
    pub height: u32,
    /// Frames per second.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Of picture, parity and sound together, kilobit per second; chosen from size and frame rate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// Size of video packets in bytes, a multiple of 16.
    #[serde(default = "default_packet_size")]
    pub packet_size: u32,
    /// What the host encodes.
    #[serde(default)]
    pub codec: MoonlightCodec,
    /// The colours of the pictures.
    #[serde(default)]
    pub colorspace: Colorspace,
    /// Luma from 0 to 255 instead of from 16 to 235.
    #[serde(default)]
    pub color_range_full: bool,
    /// The host's own loudspeakers play too.
    #[serde(default)]
    pub play_audio_local: bool,
    /// By which hosts tell clients apart, 16 hexadecimal digits; that of this server if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_unique_id: Option<String>,
    /// Video packets that the system keeps while we are busy.
    #[serde(default = "default_video_queue")]
    pub video_queue: u32,
    /// Audio packets that the system keeps while we are busy.
    #[serde(default = "default_audio_queue")]
    pub audio_queue: u32,
    /// How the host is reached. Set by the web-server for the streamer, never by a client, and shown to nobody.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(ignore)]
    #[ts(skip)]
    pub access: Option<Box<HostAccess>>,
}

fn default_fps() -> u32 {
    60
}
fn default_packet_size() -> u32 {
    1392
}
fn default_video_queue() -> u32 {
    DEFAULT_VIDEO_QUEUE
}
fn default_audio_queue() -> u32 {
    DEFAULT_AUDIO_QUEUE
}

/// An app of a host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(untagged)]
pub enum AppRef {
    /// By its number.
    Id(u32),
    /// By its name.
    Name(String),
}

impl fmt::Display for AppRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Id(id) => write!(f, "{id}"),
            Self::Name(name) => write!(f, "{name:?}"),
        }
    }
}

/// What a host encodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum MoonlightCodec {
    /// H.264, which every browser decodes.
    #[default]
    H264,
    /// HEVC (H.265), which some browsers decode, on some machines.
    Hevc,
    /// AV1, which most browsers decode.
    Av1,
}

impl fmt::Display for MoonlightCodec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H264 => "H.264",
            Self::Hevc => "HEVC",
            Self::Av1 => "AV1",
        })
    }
}

/// Colours of a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Colorspace {
    /// BT.601, of SD television.
    Rec601,
    /// BT.709, of HD television.
    #[default]
    Rec709,
    /// BT.2020, of UHD television.
    Rec2020,
}

/// How a paired host is reached, with the keys for it.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostAccess {
    /// Name or address.
    pub address: String,
    /// Port of HTTPS.
    pub https_port: u16,
    /// By which it tells clients apart.
    pub unique_id: String,
    /// The one certificate that it may have, PEM.
    pub host_certificate: String,
    /// Ours, PEM.
    pub certificate: String,
    /// Its key, PEM.
    pub key: String,
}

impl fmt::Debug for HostAccess {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostAccess").field("address", &self.address).finish_non_exhaustive()
    }
}

impl MoonlightSpec {
    pub(super) fn validate(&self) -> Result<(), InvalidField> {
        let bad = |field, message: String| Err(InvalidField::new(field, message));
        validate_picture(self.width, self.height, self.fps, self.bitrate_kbps)?;
        if self.host_id.is_empty() || self.host_id.len() > MAX_TEXT {
            return bad("source.host_id", "must be an id out of GET /api/hosts".into());
        }
        if matches!(&self.app, AppRef::Name(name) if name.is_empty() || name.len() > MAX_TEXT) {
            return bad("source.app", format!("must have from 1 to {MAX_TEXT} bytes"));
        }
        if !PACKET_SIZES.contains(&self.packet_size) || !self.packet_size.is_multiple_of(16) {
            let min = PACKET_SIZES.start();
            let max = PACKET_SIZES.end();
            let rule = format!("must be a multiple of 16 from {min} to {max}, not {}", self.packet_size);
            return bad("source.packet_size", rule);
        }
        for (field, queue) in
            [("source.video_queue", self.video_queue), ("source.audio_queue", self.audio_queue)]
        {
            if !QUEUES.contains(&queue) {
                let min = QUEUES.start();
                let max = QUEUES.end();
                return bad(field, format!("must be from {min} to {max} packets, not {queue}"));
            }
        }
        match &self.client_unique_id {
            Some(id) if id.len() != 16 || !id.bytes().all(|b| b.is_ascii_hexdigit()) => {
                bad("source.client_unique_id", format!("must have 16 hexadecimal digits, not {id:?}"))
            }
            _ => Ok(()),
        }
    }
}
