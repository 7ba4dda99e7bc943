//! Who a peer is to the others, and what it may do among them. A [`Role`](crate::signal::Role) says what it may do with the
//! session.

use std::collections::BTreeSet;

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

/// Most characters of a display name.
pub const MAX_DISPLAY_NAME: usize = 64;
/// Most characters of a user id.
pub const MAX_USER_ID: usize = 128;
/// Most characters of the name of a room.
pub const MAX_ROOM_NAME: usize = 100;

/// What a peer may do among the peers of a streamer. None includes another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PeerRight {
    /// May send its camera, microphone and screen.
    Publish,
    /// May send chat messages and reactions.
    Chat,
    /// May mute and remove others.
    Moderate,
}

/// What a peer may publish, each in a section of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PublishKind {
    /// A person's picture.
    Camera,
    /// A screen or window.
    Screen,
    /// A person's voice.
    Microphone,
}

impl PeerRight {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Publish, Self::Chat, Self::Moderate];

    /// As clients see it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Chat => "chat",
            Self::Moderate => "moderate",
        }
    }
}

/// The rights of one peer.
pub type Rights = BTreeSet<PeerRight>;

/// Rights as people read them: `publish, chat`.
pub fn describe_rights(rights: &Rights) -> String {
    if rights.is_empty() {
        return "no rights".to_owned();
    }
    rights.iter().map(|right| right.as_str()).collect::<Vec<_>>().join(", ")
}

/// A person, as a token or a client describes them.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Person {
    /// Shown to the others.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// Names the person to the application that gave out the token.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub user_id: Option<String>,
    /// What they may do.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub rights: Rights,
}

/// What is wrong with a name or an id.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidText {
    /// Without characters, or with too many.
    #[error("must have from 1 to {max} characters, not {found}")]
    Length {
        /// The bound.
        max: usize,
        /// How many it has.
        found: usize,
    },
    /// A character that has no picture of its own, or changes how others are shown.
    #[error("must have no control characters, such as {0:?}")]
    Character(char),
    /// Nothing of it would be seen.
    #[error("must have a character that is not white space")]
    Blank,
}

impl Person {
    /// Somebody who may do everything, and is not known by name.
    pub fn admin() -> Self {
        Self { rights: PeerRight::ALL.into(), ..Self::default() }
    }
}

/// Checks a display name.
///
/// # Errors
/// [`InvalidText`] says which rule is broken.
pub fn check_display_name(text: &str) -> Result<(), InvalidText> {
    check(text, MAX_DISPLAY_NAME)
}

/// Checks a user id.
///
/// # Errors
/// [`InvalidText`] says which rule is broken.
pub fn check_user_id(text: &str) -> Result<(), InvalidText> {
    check(text, MAX_USER_ID)
}

/// Checks the name of a room.
///
/// # Errors
/// [`InvalidText`] says which rule is broken.
pub fn check_room_name(text: &str) -> Result<(), InvalidText> {
    check(text, MAX_ROOM_NAME)
}

fn check(text: &str, max: usize) -> Result<(), InvalidText> {
    let found = text.chars().count();
    if found == 0 || found > max {
        return Err(InvalidText::Length { max, found });
    }
    match text.chars().find(|&c| c.is_control() || reorders(c)) {
        Some(c) => Err(InvalidText::Character(c)),
        None if text.trim().is_empty() => Err(InvalidText::Blank),
        None => Ok(()),
    }
}

/// Changes the direction of the text around it (Unicode UAX #9): a name could pass for another one.
fn reorders(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{061c}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_bounds_and_nothing_that_disguises_them() {
        let long = "é".repeat(MAX_DISPLAY_NAME);
        for good in ["a", "Ada Lovelace", "山田 太郎", "🙂", "Zoë", long.as_str()] {
            assert_eq!(check_display_name(good), Ok(()), "{good:?}");
        }
        let length = |found| InvalidText::Length { max: MAX_DISPLAY_NAME, found };
        for (wrong, expected) in [
            ("", length(0)),
            (&"é".repeat(MAX_DISPLAY_NAME + 1), length(MAX_DISPLAY_NAME + 1)),
            ("a\nb", InvalidText::Character('\n')),
            ("a\u{7f}", InvalidText::Character('\u{7f}')),
            ("a\u{85}", InvalidText::Character('\u{85}')),
            ("\u{202e}nimda", InvalidText::Character('\u{202e}')),
            (" \u{3000}", InvalidText::Blank),
        ] {
            assert_eq!(check_display_name(wrong), Err(expected), "{wrong:?}");
        }
        assert_eq!(check_user_id(&"u".repeat(MAX_USER_ID)), Ok(()));
        assert!(check_user_id(&"u".repeat(MAX_USER_ID + 1)).is_err());
    }

    #[test]
    fn nobody_in_particular_is_an_empty_object() {
        assert_eq!(serde_json::to_string(&Person::default()).unwrap(), "{}");
        assert_eq!(serde_json::from_str::<Person>("{}").unwrap(), Person::default());
        let text = serde_json::to_string(&Person::admin()).unwrap();
        assert_eq!(text, r#"{"rights":["publish","chat","moderate"]}"#);
        for right in PeerRight::ALL {
            assert_eq!(serde_json::to_value(right).unwrap(), right.as_str());
        }
    }
}
