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

/// An entry of the audit trail.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct AuditEntry {
    /// Sequence number over all streamers; the value for `before`.
    pub seq: u64,
    /// Time of the action.
    pub at: DateTime<Utc>,
    /// What was done.
    pub action: AuditAction,
    /// Who did it: `server`, `admin`, or `peer` or `token` with its id.
    pub by: String,
    /// Details, if there are any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub detail: Option<String>,
}

/// An action on a streamer.
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
    /// Another node of the cluster runs it now, or this one does.
    Moved,
    /// A peer joined.
    Joined,
    /// A peer is gone.
    Left,
    /// A peer was removed.
    Removed,
    /// The role of a peer was changed.
    RoleChanged,
    /// Control was taken, granted or released, or its mode was changed.
    ControlChanged,
    /// Its lifetime was changed.
    LifetimeChanged,
    /// A token was given out.
    TokenIssued,
    /// A token was revoked.
    TokenRevoked,
    /// A file or directory of its home was sent to somebody.
    FileRead,
    /// A file or directory of its home was made or replaced.
    FileWritten,
    /// A file or directory of its home was deleted.
    FileDeleted,
}
