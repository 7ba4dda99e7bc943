//! Identifiers. Newtypes, so that a peer's id cannot be passed where a streamer's is meant.

use std::fmt;

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;
use uuid::Uuid;

/// The name of a streamer: `[A-Za-z0-9][A-Za-z0-9._-]{0,63}`.
///
/// Safe in a URL path and in a log line. It is not used as a file name (socket paths must stay
/// short), but could be.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, pattern = "^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$", example = "demo")]
#[ts(type = "string")]
pub struct StreamerId(String);

/// Longest streamer id, in bytes.
pub const MAX_STREAMER_ID_LEN: usize = 64;

/// Why a text is not a [`StreamerId`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// No characters at all.
    #[error("an id must not be empty")]
    Empty,
    /// More than [`MAX_STREAMER_ID_LEN`] bytes.
    #[error("an id has at most {MAX_STREAMER_ID_LEN} characters, this one has {0}")]
    TooLong(usize),
    /// A character outside the allowed set, or one that may not come first.
    #[error("{0:?} is not allowed in an id; use letters, digits, '.', '_' and '-', a letter or digit first")]
    Character(char),
}

impl StreamerId {
    /// Checks `text` against the grammar of ids.
    ///
    /// # Errors
    /// [`InvalidId`] says which rule is broken.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
        let text = text.into();
        let first = text.chars().next().ok_or(InvalidId::Empty)?;
        if text.len() > MAX_STREAMER_ID_LEN {
            return Err(InvalidId::TooLong(text.chars().count()));
        }
        if !first.is_ascii_alphanumeric() {
            return Err(InvalidId::Character(first));
        }
        let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
        match text.chars().find(|&c| !allowed(c)) {
            Some(c) => Err(InvalidId::Character(c)),
            None => Ok(Self(text)),
        }
    }

    /// A new id that no other streamer has: a UUIDv7, which sorts by time of creation.
    pub fn unique() -> Self {
        Self(Uuid::now_v7().to_string())
    }

    /// The id as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for StreamerId {
    type Error = InvalidId;
    fn try_from(text: String) -> Result<Self, InvalidId> {
        Self::parse(text)
    }
}

impl From<StreamerId> for String {
    fn from(id: StreamerId) -> String {
        id.0
    }
}

impl fmt::Display for StreamerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Identifies a peer, one connection to a streamer. The streamer gives it out, so that it outlives the web-server.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
#[schema(value_type = String, format = "uuid")]
#[ts(type = "string")]
pub struct PeerId(pub Uuid);

impl PeerId {
    /// A new id that no other peer has.
    pub fn unique() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for PeerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Identifies a token that the web-server issued. It is not the token, and no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
#[schema(value_type = String, format = "uuid")]
#[ts(type = "string")]
pub struct TokenId(pub Uuid);

impl TokenId {
    /// A new id that no other token has.
    pub fn unique() -> Self {
        Self(Uuid::now_v7())
    }
}

impl fmt::Display for TokenId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Joins a reply to its request within one IPC connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct RequestId(pub u64);

/// A pre-allocated place in a peer connection: an index (`video0`, `audio0` …), never an identity.
pub type SlotIndex = u8;

/// The name of a source within its streamer; what the spec starts is called [`MAIN_SOURCE`].
pub type SourceName = String;

/// Name of the source that a streamer's spec describes.
pub const MAIN_SOURCE: &str = "main";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_outside_the_grammar_are_refused_with_the_reason() {
        let long = "a".repeat(65);
        for (text, expected) in [
            ("", InvalidId::Empty),
            (long.as_str(), InvalidId::TooLong(65)),
            (".hidden", InvalidId::Character('.')),
            ("-x", InvalidId::Character('-')),
            ("a/b", InvalidId::Character('/')),
            ("a b", InvalidId::Character(' ')),
            ("ä", InvalidId::Character('ä')),
            ("a\0", InvalidId::Character('\0')),
        ] {
            assert_eq!(StreamerId::parse(text), Err(expected), "{text:?}");
        }
    }

    #[test]
    fn ids_of_the_grammar_are_kept_as_they_are() {
        for text in ["a", "0", "demo", "A.b_c-9", &"x".repeat(64)] {
            assert_eq!(StreamerId::parse(text).unwrap().as_str(), text);
        }
        assert!(StreamerId::parse(StreamerId::unique().as_str()).is_ok());
    }
}
