//! Exclusive control: which of the controllers may steer.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::id::PeerId;

/// How controllers share a streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ControlMode {
    /// All of them steer together.
    #[default]
    Shared,
    /// One at a time steers: the holder.
    Exclusive,
}

/// Who may steer: `GET /api/streamers/{id}/control`, and the message `control`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
pub struct Control {
    /// Whether all controllers steer, or one at a time.
    pub mode: ControlMode,
    /// The peer that has control; `null` when control is free or shared.
    pub holder: Option<PeerId>,
    /// Peers that have asked for control, in order.
    #[serde(default)]
    pub requests: Vec<PeerId>,
}

impl Control {
    /// Whether this peer may steer, if its role permits it.
    pub fn admits(&self, peer: PeerId) -> bool {
        self.mode == ControlMode::Shared || self.holder == Some(peer)
    }
}

/// `PUT /api/streamers/{id}/control`: what is absent stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ControlChange {
    /// The new mode. Changing to `shared` ends the control that somebody has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub mode: Option<ControlMode>,
    /// Give control to this peer. Only where one at a time has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub holder: Option<PeerId>,
    /// Take control from whoever has it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub release: bool,
}
