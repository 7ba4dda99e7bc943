//! The audit trail: who did what with a streamer, and when.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// `GET /api/streamers/{id}/audit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct AuditList {
    /// The newest first.
    pub entries: Vec<AuditEntry>,
}

/// One thing that was done.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct AuditEntry {
    /// Grows with each entry of any streamer; `before` takes it.
    pub seq: u64,
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub action: AuditAction,
    /// Who: `server`, `admin`, or `peer` or `token` with its id.
    pub by: String,
    /// More about it, if there is more to say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub detail: Option<String>,
}

/// What can be done with a streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum AuditAction {
    /// It was created.
    Created,
    /// It was found running by a web-server that had just started.
    Adopted,
    /// Its process was started again.
    Restarted,
    /// Its process ended without having been told to.
    Ended,
    /// Its process was told to end, as nobody used it.
    Stopped,
    /// It was deleted.
    Deleted,
    /// A peer joined.
    Joined,
    /// A peer is gone.
    Left,
    /// A peer was removed.
    Removed,
    /// A peer may do something else from now on.
    RoleChanged,
    /// Somebody has control, or has given it away, or it is handed out in another way.
    ControlChanged,
    /// How long it lives was changed.
    LifetimeChanged,
    /// A token was given out.
    TokenIssued,
    /// A token was revoked.
    TokenRevoked,
}
