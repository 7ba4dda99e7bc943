//! Files in the home of a session, by `/api/streamers/{id}/files`.

use chrono::{DateTime, Utc};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// Everything but what RFC 3986 §2.3 calls unreserved.
const ENCODED: AsciiSet = NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// A name as it stands in an address.
pub fn encoded(name: &[u8]) -> String {
    percent_encode(name, &ENCODED).to_string()
}

/// `GET /api/streamers/{id}/files/{path}` of a directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct FileList {
    /// In order of their names, byte by byte.
    pub entries: Vec<FileEntry>,
    /// More follow: the value for `after`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub next: Option<String>,
}

/// A file or directory in the home of a session.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct FileEntry {
    /// Its name, to be shown. What is not UTF-8 in it is replaced; `path` has it as it is.
    pub name: String,
    /// Where it is below the home, percent-encoded: what stands behind `files/` in its address.
    pub path: String,
    /// What it is.
    pub kind: FileKind,
    /// Length in bytes; 0 for what is no file.
    pub size: u64,
    /// When its content changed last.
    pub modified: DateTime<Utc>,
}

/// What an entry of a directory is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileKind {
    /// A regular file.
    File,
    /// A directory.
    Directory,
    /// A symbolic link, which is not followed.
    Link,
    /// A socket, pipe or device, which is never opened.
    Other,
}

/// The state of an upload in parts that is not complete (`202`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct FileUpload {
    /// How many bytes are here: where the next part begins.
    pub received: u64,
    /// Length of the whole file in bytes.
    pub total: u64,
}
