//! The content of a session's clipboard, and the bounds on what is transferred.
//!
//! The owner of a clipboard names the media types that it offers and converts to one on request. Three types are
//! transferred ([`ClipboardType`]). Texts are fetched after each copy; a picture is fetched when somebody asks for it.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// Longest text on a clipboard, and longest text typed by one message, in bytes.
pub const MAX_TEXT: usize = 128 * 1024;
/// Longest picture on a clipboard, in bytes: a screenshot of a large screen, and room for it in an IPC frame.
pub const MAX_PICTURE: usize = 4 * 1024 * 1024;
/// Most bytes of a picture in one message of the channel `keys`: 64 KiB as base64, a quarter of what a message may have.
pub const MAX_PART: usize = 48 * 1024;
/// How every PNG begins (PNG §5.2).
pub const PNG_SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// A media type that is transferred.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
pub enum ClipboardType {
    /// Plain text.
    #[serde(rename = "text/plain")]
    Text,
    /// The same text with its layout: a piece of HTML.
    #[serde(rename = "text/html")]
    Html,
    /// A picture as PNG.
    #[serde(rename = "image/png")]
    Png,
}

impl ClipboardType {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Text, Self::Html, Self::Png];

    /// Its media type.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Text => "text/plain",
            Self::Html => "text/html",
            Self::Png => "image/png",
        }
    }

    /// Longest content of this type, in bytes.
    pub fn max_len(self) -> usize {
        match self {
            Self::Text | Self::Html => MAX_TEXT,
            Self::Png => MAX_PICTURE,
        }
    }
}

/// Which part of a clipboard to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Wanted {
    /// The text and its HTML.
    Texts,
    /// The picture, as PNG.
    Picture,
}

/// Content of a clipboard: what was fetched, or what is to be put there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct Content {
    /// The plain text.
    pub text: Option<String>,
    /// The text's HTML.
    pub html: Option<String>,
    /// A file in PNG.
    pub png: Option<Vec<u8>>,
}

/// Why something cannot be put on a clipboard.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidContent {
    /// A part is too long.
    #[error("{} on a clipboard has at most {} bytes, not {len}", kind.media_type(), kind.max_len())]
    TooLong {
        /// The media type that was asked for.
        kind: ClipboardType,
        /// Its length in bytes.
        len: usize,
    },
    /// The picture is no PNG.
    #[error("the picture is not a PNG: it does not begin as one")]
    NotPng,
}

impl Content {
    /// Content with a text and nothing else.
    pub fn text(text: impl Into<String>) -> Self {
        Self { text: Some(text.into()), ..Self::default() }
    }

    /// The types that it has content of.
    pub fn types(&self) -> Vec<ClipboardType> {
        let has = |kind: &ClipboardType| match kind {
            ClipboardType::Text => self.text.is_some(),
            ClipboardType::Html => self.html.is_some(),
            ClipboardType::Png => self.png.is_some(),
        };
        ClipboardType::ALL.into_iter().filter(has).collect()
    }

    /// Checks the lengths, and that the picture is a PNG.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidContent> {
        let lengths = [
            (ClipboardType::Text, self.text.as_ref().map(String::len)),
            (ClipboardType::Html, self.html.as_ref().map(String::len)),
            (ClipboardType::Png, self.png.as_ref().map(Vec::len)),
        ];
        for (kind, len) in lengths {
            if let Some(len) = len.filter(|len| *len > kind.max_len()) {
                return Err(InvalidContent::TooLong { kind, len });
            }
        }
        match &self.png {
            Some(png) if !png.starts_with(PNG_SIGNATURE) => Err(InvalidContent::NotPng),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn png(len: usize) -> Vec<u8> {
        let mut png = PNG_SIGNATURE.to_vec();
        png.resize(len, 7);
        png
    }

    #[test]
    fn what_is_too_long_or_no_png_is_refused_with_the_limit() {
        let content = |text: usize, html: usize, png: Vec<u8>| Content {
            text: Some("x".repeat(text)),
            html: Some("x".repeat(html)),
            png: Some(png),
        };
        assert_eq!(content(MAX_TEXT, MAX_TEXT, png(MAX_PICTURE)).validate(), Ok(()));
        for (content, message) in [
            (
                content(MAX_TEXT + 1, 0, png(9)),
                "text/plain on a clipboard has at most 131072 bytes, not 131073",
            ),
            (
                content(0, MAX_TEXT + 1, png(9)),
                "text/html on a clipboard has at most 131072 bytes, not 131073",
            ),
            (
                content(0, 0, png(MAX_PICTURE + 1)),
                "image/png on a clipboard has at most 4194304 bytes, not 4194305",
            ),
            (content(0, 0, b"GIF89a".to_vec()), "the picture is not a PNG: it does not begin as one"),
        ] {
            assert_eq!(content.validate().unwrap_err().to_string(), message);
        }
        assert_eq!(Content::text("").types(), [ClipboardType::Text]);
        assert_eq!(content(0, 0, png(9)).types(), ClipboardType::ALL);
        assert_eq!(Content::default().types(), []);
    }

    #[test]
    fn media_types_are_what_json_says() {
        for kind in ClipboardType::ALL {
            assert_eq!(serde_json::to_value(kind).unwrap(), kind.media_type());
        }
    }
}
