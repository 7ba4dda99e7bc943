//! Bodies of `/api/rooms`: rooms are streamers, in fewer words.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::api::Streamer;
use crate::cluster::Placement;
use crate::id::{SourceName, StreamerId};
use crate::lifetime::{OnIdle, StreamerPatch, TimeLimit};
use crate::restart::RestartSpec;
use crate::signal::StreamerState;
use crate::spec::{RoomSpec, SourceSpec, StreamerSpec, default_participants};

/// Slots of a room whose creator does not say.
const DEFAULT_SLOTS: u8 = 8;

/// `POST /api/rooms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CreateRoom {
    /// Its id, that of its streamer; a unique one if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub id: Option<StreamerId>,
    /// Shown to people, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Most peers at once, 1..=1000.
    #[serde(default = "default_participants")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max_participants: u32,
    /// What everybody sees in slot 0 besides each other: a desktop, say. The room ends with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub source: Option<SourceSpec>,
    /// Further sources, by name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<SourceName, SourceSpec>,
    /// Slots negotiated with every peer, 1..=16: so many pictures are seen at once.
    #[serde(default = "default_slots")]
    #[schema(minimum = 1, maximum = 16)]
    pub slots: u8,
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
    /// Which node of a cluster it may be at. Absent: any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub placement: Option<Placement>,
}

fn default_slots() -> u8 {
    DEFAULT_SLOTS
}

impl CreateRoom {
    /// A room of this name, with the defaults for all else.
    pub fn named(name: String) -> Self {
        Self {
            id: None,
            name,
            max_participants: default_participants(),
            source: None,
            sources: BTreeMap::new(),
            slots: DEFAULT_SLOTS,
            expires_in_s: TimeLimit::default(),
            idle_timeout_s: TimeLimit::default(),
            on_idle: None,
            placement: None,
        }
    }

    /// Id, spec and lifetime of its streamer, not validated.
    pub fn into_parts(self) -> (Option<StreamerId>, StreamerSpec, StreamerPatch) {
        let room = RoomSpec { name: self.name, max_participants: self.max_participants };
        let spec = StreamerSpec {
            source: self.source,
            sources: self.sources,
            share: true,
            slots: self.slots,
            restart: RestartSpec::default(),
            max_bitrate_kbps: None,
            room: Some(room),
        };
        let Self { id, expires_in_s, idle_timeout_s, on_idle, .. } = self;
        (id, spec, StreamerPatch { expires_in_s, idle_timeout_s, on_idle })
    }
}

/// A room, in `GET /api/rooms` and `GET /api/rooms/{id}`. `GET /api/streamers/{id}` has the rest of it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct Room {
    /// Its id, that of its streamer.
    pub id: StreamerId,
    /// Shown to people.
    pub name: String,
    /// Most peers at once.
    pub max_participants: u32,
    /// How many there are; absent in the list of a cluster where the room is at another node than the one that has answered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub participants: Option<u32>,
    /// Slots negotiated with every peer.
    pub slots: u8,
    /// Whether it has a source of its own, such as a desktop.
    pub has_source: bool,
    /// State of its streamer.
    pub state: StreamerState,
    /// The node of the cluster that it is at; absent without a cluster.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub node: Option<String>,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// When it will be deleted, if it will.
    pub expires_at: Option<DateTime<Utc>>,
}

impl Room {
    /// The room that a streamer is, if it is one.
    pub fn of(streamer: &Streamer) -> Option<Self> {
        let RoomSpec { name, max_participants } = streamer.spec.room.clone()?;
        Some(Self {
            id: streamer.id.clone(),
            name,
            max_participants,
            participants: Some(u32::try_from(streamer.peers.len()).unwrap_or(u32::MAX)),
            slots: streamer.spec.slots,
            has_source: streamer.spec.source.is_some(),
            state: streamer.state,
            node: streamer.node.clone(),
            created: streamer.created,
            expires_at: streamer.expires_at,
        })
    }
}

/// `GET /api/rooms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct RoomList {
    /// In order of their ids.
    pub rooms: Vec<Room>,
}
