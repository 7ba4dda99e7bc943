//! Bodies of the REST API: JSON in snake_case. Errors are [`Problem`]s.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::clipboard::ClipboardType;
use crate::cluster::Placement;
use crate::control::Control;
use crate::exit::StreamerExit;
use crate::id::{PeerId, SlotIndex, SourceName, StreamerId, TokenId};
use crate::input::InputCommand;
use crate::latency::PeerLatency;
use crate::lifetime::{OnIdle, StreamerPatch, TimeLimit};
use crate::person::{Person, Rights};
use crate::restart::{RestartSpec, Restarts};
use crate::signal::{Role, StreamInfo, StreamerState};
use crate::slots::Pixel;
use crate::spec::{RoomSpec, SourceSpec, StreamerSpec};
use crate::stats::StreamerStats;

/// `GET /api`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct ApiInfo {
    /// Version of the server.
    pub version: String,
    /// Versions of the API that it serves, each below `/api/{version}/`. Paths without one are of the first.
    pub api_versions: Vec<String>,
    /// What it can do, and is configured to: `files`, `rooms`, `whep`, `whip`, `multistream`, `moonlight`, `websocket-media`, `cluster`,
    /// `tls`.
    pub features: Vec<String>,
    /// Path of the documentation.
    pub docs: String,
    /// Path of its description for programs.
    pub openapi: String,
}

/// `POST /api/streamers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateStreamer {
    /// Its id; a unique one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub id: Option<StreamerId>,
    /// The main source, called `main`: when it ends, the session ends. A streamer of cameras has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub source: Option<SourceSpec>,
    /// Further sources, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<SourceName, SourceSpec>,
    /// Show `main` in slot 0 from the start. Without, all slots are free and viewers wait until something is shared.
    #[serde(default = "yes")]
    pub share: bool,
    /// Slots negotiated with every peer, 1..=16.
    #[serde(default = "default_slots")]
    #[schema(minimum = 1, maximum = 16)]
    pub slots: u8,
    /// Whether and when its process is started again after it has ended by itself.
    #[serde(default, skip_serializing_if = "RestartSpec::is_default")]
    #[ts(as = "Option<RestartSpec>", optional)]
    pub restart: RestartSpec,
    /// What each peer is sent at most, kilobits per second, 100..=100000; absent: as much as its path carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(minimum = 100, maximum = 100000)]
    pub max_bitrate_kbps: Option<u32>,
    /// It is a room, in which people meet; then it needs no source. `POST /api/rooms` is shorter.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub room: Option<RoomSpec>,
    /// It is deleted so many seconds after its creation, 1..=31536000; `null`: never. Absent: as configured.
    #[serde(default, skip_serializing_if = "TimeLimit::is_unset")]
    #[ts(as = "Option<Option<u32>>", optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub expires_in_s: TimeLimit,
    /// It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never. Absent: as configured.
    #[serde(default, skip_serializing_if = "TimeLimit::is_unset")]
    #[ts(as = "Option<Option<u32>>", optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub idle_timeout_s: TimeLimit,
    /// What happens to it then. Absent: as configured.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub on_idle: Option<OnIdle>,
    /// Which node of the cluster it runs on; absent: the one with the most room. Ignored by a server that is in no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub placement: Option<Placement>,
}

fn default_slots() -> u8 {
    crate::spec::DEFAULT_SLOTS
}

fn yes() -> bool {
    true
}

impl CreateStreamer {
    /// Id, spec and lifetime in it, not validated.
    pub fn into_parts(self) -> (Option<StreamerId>, StreamerSpec, StreamerPatch) {
        let Self { id, source, sources, share, slots, restart, max_bitrate_kbps, room, .. } = self;
        let Self { expires_in_s, idle_timeout_s, on_idle, .. } = self;
        let spec = StreamerSpec { source, sources, share, slots, restart, max_bitrate_kbps, room };
        (id, spec, StreamerPatch { expires_in_s, idle_timeout_s, on_idle })
    }
}

/// One streamer, in `GET /api/streamers` and `GET /api/streamers/{id}`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct Streamer {
    /// Its id.
    pub id: StreamerId,
    /// Its state.
    pub state: StreamerState,
    /// Since when it is in this state.
    pub since: DateTime<Utc>,
    /// Why it is in this state, if there is more to say.
    pub reason: Option<String>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it will be deleted, if it will.
    #[serde(default)]
    pub expires_at: Option<DateTime<Utc>>,
    /// After so many seconds without use it ends; absent: never.
    #[serde(default)]
    pub idle_timeout_s: Option<u32>,
    /// What happens to it then.
    #[serde(default)]
    pub on_idle: OnIdle,
    /// Since when nobody uses it; absent while somebody watches.
    #[serde(default)]
    pub idle_since: Option<DateTime<Utc>>,
    /// How its process ended, once it has.
    pub exit: Option<StreamerExit>,
    /// How often it was started again, and why.
    #[serde(default)]
    pub restarts: Restarts,
    /// What it was created from.
    pub spec: StreamerSpec,
    /// The slots that show something.
    pub slots: Vec<StreamInfo>,
    /// All peers.
    pub peers: Vec<Peer>,
    /// Who may steer, and who asks to.
    #[serde(default)]
    pub control: Control,
    /// Its counters, at most about a second old; absent before the first report.
    pub stats: Option<StreamerStats>,
    /// Where the pointer is in the picture of `main`, in the response to `GET` of this streamer alone. `null` where `main` is no
    /// running desktop.
    #[serde(default)]
    pub pointer: Option<Pixel>,
    /// The node that runs it. Absent where the server is in no cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub node: Option<String>,
}

/// `GET /api/streamers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerList {
    /// In order of their ids.
    pub streamers: Vec<Streamer>,
    /// The last id of this page, for `after`, if more follow. Absent where no `limit` was asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub next: Option<StreamerId>,
}

/// `GET /api/streamers/{id}/peers`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct PeerList {
    /// In order of joining.
    pub peers: Vec<Peer>,
}

/// A peer of a streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct Peer {
    /// Its id.
    pub id: PeerId,
    /// The protocol by which it joined.
    pub kind: PeerKind,
    /// What it may do.
    pub role: Role,
    /// State of its connection.
    pub state: PeerState,
    /// When it joined.
    pub joined: DateTime<Utc>,
    /// The name that others see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub display_name: Option<String>,
    /// The user id of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub user_id: Option<String>,
    /// What it may do among the peers.
    #[serde(default)]
    pub rights: Rights,
    /// What it is sent at most, kilobits per second; absent: as much as its path carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub max_bitrate_kbps: Option<u32>,
    /// The desktop's programs hear its microphone while it publishes one.
    #[serde(default)]
    pub session_microphone: bool,
    /// The desktop's programs see its camera while it publishes one.
    #[serde(default)]
    pub session_camera: bool,
    /// The token that it joined with, if that was one of [`CreateToken`]. Revoking it removes the peer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub token_id: Option<TokenId>,
    /// Its counters.
    pub stats: PeerStats,
}

/// The protocol by which a peer joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PeerKind {
    /// The native protocol.
    Native,
    /// A player that speaks WHEP.
    Whep,
    /// A publisher that speaks WHIP.
    Whip,
    /// `multistream/*`.
    Multistream,
    /// A player that reads a stream as MP4.
    Mp4,
    /// A player that reads a stream by RTSP.
    Rtsp,
    /// As a page of the multi-peer WebRTC branch of moonlight-web-stream.
    MultiWebrtc,
}

/// Life of a peer connection.
///
/// ```text
/// connecting ──▶ connected ◀─▶ lost ──▶ (gone)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PeerState {
    /// ICE and DTLS are under way.
    Connecting,
    /// Media flows.
    Connected,
    /// Nothing has been heard from it for some seconds.
    Lost,
}

/// What carries a peer's packets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// Datagrams.
    Udp,
    /// A TCP connection (RFC 6544).
    Tcp,
    /// A WebSocket of the web-server's, where neither of these gets through.
    Websocket,
}

/// Counters of one peer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct PeerStats {
    /// RTP packets sent.
    pub packets: u64,
    /// Bytes sent.
    pub bytes: u64,
    /// Packets of video that it reported lost, in all slots together.
    pub lost: u64,
    /// Packets sent again on its request.
    pub retransmitted: u64,
    /// Packets sent a second time before it asked, as its path loses some.
    #[serde(default)]
    pub copied: u64,
    /// Packets sent to see whether its path carries more than is known.
    #[serde(default)]
    pub probed: u64,
    /// PLI and FIR it sent.
    pub keyframe_requests: u64,
    /// Access units sent to it, of all slots together.
    #[serde(default)]
    pub frames: u64,
    /// Access units not sent to it, as it could not keep up.
    pub skipped_units: u64,
    /// Share of packets that its path has lost lately, 0 to 1.
    #[serde(default)]
    pub loss: f64,
    /// Round trip, milliseconds, from its last receiver report.
    pub round_trip_ms: Option<f64>,
    /// Estimated capacity of its path, bits per second; absent while the path has shown no limit.
    #[serde(default)]
    pub estimate_bps: Option<u64>,
    /// Queuing delay of its path, milliseconds: the delay above the lowest that was seen.
    #[serde(default)]
    pub queue_ms: f64,
    /// What carries its packets; null until it is connected.
    #[serde(default)]
    pub transport: Option<Transport>,
    /// How late it sees pictures, from their capture to its screen, as it says itself; null while it has said nothing.
    #[serde(default)]
    pub latency: Option<PeerLatency>,
}

/// `POST /api/streamers/{id}/input`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct InputRequest {
    /// Slot whose source gets it.
    #[serde(default)]
    pub slot: SlotIndex,
    /// Carried out in this order; at most 1024.
    pub events: Vec<InputCommand>,
}

/// `GET /api/streamers/{id}/clipboard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct ClipboardBody {
    /// At most 131072 bytes; empty when it offers no text.
    pub text: String,
    /// The same text as HTML; at most 131072 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub html: Option<String>,
    /// All types that it offers.
    pub types: Vec<ClipboardType>,
}

/// `PUT /api/streamers/{id}/clipboard`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct SetClipboard {
    /// At most 131072 bytes.
    pub text: String,
    /// The same text as HTML; at most 131072 bytes.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub html: Option<String>,
}

/// `POST /api/streamers/{id}/resize`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ResizeRequest {
    /// Slot whose source is resized.
    #[serde(default)]
    pub slot: SlotIndex,
    /// Pixels, even.
    pub width: u32,
    /// Pixels, even.
    pub height: u32,
}

/// `PATCH /api/streamers/{id}/peers/{peer_id}`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PeerPatch {
    /// What it may do with the session from now on; absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub role: Option<Role>,
    /// What it may do among the peers from now on; absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub rights: Option<Rights>,
    /// What it is sent at most from now on, kilobits per second, 100..=100000, within what the streamer allows; 0: as much as its path
    /// carries; absent: as before.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(maximum = 100000)]
    pub max_bitrate_kbps: Option<u32>,
    /// Whether the desktop's programs hear its microphone from now on; absent: as before. It must be a controller with the
    /// right to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_microphone: Option<bool>,
    /// Whether the desktop's programs see its camera from now on, in place of any other peer's; absent: as before. It must be a
    /// controller with the right to publish.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub session_camera: Option<bool>,
}

/// `POST /api/streamers/{id}/tokens`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateToken {
    /// What the token permits.
    pub role: Role,
    /// What it permits among the peers.
    #[serde(default, skip_serializing_if = "Rights::is_empty")]
    #[ts(as = "Option<Rights>", optional)]
    pub rights: Rights,
    /// The name that others see, 1 to 64 characters. Absent: the one that the client gives.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(min_length = 1, max_length = 64)]
    pub display_name: Option<String>,
    /// Names the person to your application, 1 to 128 characters. Other peers see it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(min_length = 1, max_length = 128)]
    pub user_id: Option<String>,
    /// What a peer with this token is sent at most, kilobits per second, 100..=100000.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(minimum = 100, maximum = 100000)]
    pub max_bitrate_kbps: Option<u32>,
    /// Lifetime in seconds, 10..=604800.
    #[serde(default = "default_token_life")]
    #[schema(minimum = 10, maximum = 604800)]
    pub expires_in_s: u32,
}

/// Shortest and longest life of a token, seconds.
pub const TOKEN_LIFE_S: std::ops::RangeInclusive<u32> = 10..=7 * 24 * 3600;

fn default_token_life() -> u32 {
    3600
}

impl CreateToken {
    /// A token for watching, or for watching and steering, that says nothing of who has it.
    pub fn of(role: Role, expires_in_s: u32) -> Self {
        let rights = Rights::new();
        Self { role, rights, display_name: None, user_id: None, max_bitrate_kbps: None, expires_in_s }
    }

    /// Whom the token describes.
    pub fn person(&self) -> Person {
        Person {
            display_name: self.display_name.clone(),
            user_id: self.user_id.clone(),
            rights: self.rights.clone(),
        }
    }
}

/// The response to [`CreateToken`]. The token itself is not kept and cannot be asked for again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Token {
    /// The secret: `Authorization: Bearer …`.
    pub token: String,
    /// Its id, for revoking it.
    pub token_id: TokenId,
    /// What the token permits.
    pub role: Role,
    /// What it permits among the peers.
    #[serde(default)]
    pub rights: Rights,
    /// When the token expires.
    pub expires: DateTime<Utc>,
}

/// Picture format of a snapshot.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum SnapshotFormat {
    /// Lossless.
    #[default]
    Png,
    /// Small; for thumbnails.
    Jpeg,
}

/// `application/problem+json` (RFC 9457).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Problem {
    /// Identifies the kind: a URL of the documentation that this server serves, relative to the server; or `about:blank`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The status' phrase.
    pub title: String,
    /// HTTP status code.
    pub status: u16,
    /// What happened and what to do, for people.
    pub detail: String,
    /// Stable, for programs: `streamer_not_found`.
    pub code: String,
    /// Path of the offending field, if there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub field: Option<String>,
    /// Identifies the request in the log.
    pub request_id: String,
}
