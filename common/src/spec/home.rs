//! Where the programs of a desktop keep what is theirs.

use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::{PartialSchema, ToSchema};

use super::InvalidField;

/// Longest path that is taken, bytes.
const MAX_PATH: usize = 1024;

/// The home directory of a desktop's programs: `HOME`, and what follows from it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(try_from = "String", into = "String")]
#[ts(type = "\"session\" | \"kept\" | string")]
pub enum Home {
    /// Its own, empty at first, and removed with the streamer.
    #[default]
    Session,
    /// Its own, by the streamer's id: there again when one of this id is created anew.
    Kept,
    /// This directory of the machine, which the configuration must allow.
    Path(PathBuf),
}

impl Home {
    /// Nothing was chosen.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// Checks that a path is one that can be looked up in a list of allowed ones.
    ///
    /// # Errors
    /// `source.home`.
    pub fn validate(&self) -> Result<(), InvalidField> {
        let Self::Path(path) = self else { return Ok(()) };
        let is_plain = |part: Component<'_>| matches!(part, Component::RootDir | Component::Normal(_));
        let text = path.as_os_str().as_encoded_bytes();
        let fits = text.len() <= MAX_PATH && !text.contains(&0) && path.components().all(is_plain);
        match path.is_absolute() && fits {
            true => Ok(()),
            false => Err(InvalidField::new(
                "source.home",
                format!(
                    "must be \"session\", \"kept\", or an absolute path without \"..\" of at most {MAX_PATH} bytes, \
                     not {:?}",
                    path.to_string_lossy().chars().take(100).collect::<String>()
                ),
            )),
        }
    }

    /// It is one of these directories, or within one.
    pub fn is_within(&self, allowed: &[PathBuf]) -> bool {
        match self {
            Self::Session | Self::Kept => true,
            Self::Path(path) => allowed.iter().any(|allowed| path.starts_with(allowed)),
        }
    }
}

impl From<String> for Home {
    fn from(text: String) -> Self {
        match text.as_str() {
            "session" => Self::Session,
            "kept" => Self::Kept,
            _ => Self::Path(text.into()),
        }
    }
}

impl From<Home> for String {
    fn from(home: Home) -> Self {
        match home {
            Home::Session => "session".into(),
            Home::Kept => "kept".into(),
            Home::Path(path) => path.to_string_lossy().into_owned(),
        }
    }
}

impl PartialSchema for Home {
    fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::Schema> {
        let text = utoipa::openapi::ObjectBuilder::new().schema_type(utoipa::openapi::schema::Type::String);
        text.description(Some("`session`, `kept`, or an absolute path that the configuration allows.")).into()
    }
}

impl ToSchema for Home {}

/// Directories of one streamer that the web-server makes for it; only those that its desktops ask for are there.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct HomeDirs {
    /// Of [`Home::Session`].
    pub session: Option<PathBuf>,
    /// Of [`Home::Kept`].
    pub kept: Option<PathBuf>,
}

impl HomeDirs {
    /// All that are there.
    pub fn all(&self) -> impl Iterator<Item = &Path> {
        self.session.iter().chain(&self.kept).map(PathBuf::as_path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(text: &str) -> Home {
        text.to_owned().into()
    }

    #[test]
    fn homes_are_read_and_written_as_words_or_paths() {
        for (text, expected) in
            [("session", Home::Session), ("kept", Home::Kept), ("/srv/a", Home::Path("/srv/a".into()))]
        {
            assert_eq!(home(text), expected);
            assert_eq!(String::from(expected), text);
        }
    }

    #[test]
    fn paths_must_be_plain_and_below_what_is_allowed() {
        for bad in ["", "srv", "Session", "/srv/../etc", "../x", "/a\0b", &format!("/{}", "a".repeat(2000))] {
            assert_eq!(home(bad).validate().unwrap_err().field, "source.home", "{bad:?}");
        }
        let allowed = [PathBuf::from("/srv/agents")];
        assert!(home("/srv/agents").is_within(&allowed) && home("/srv/agents/a").is_within(&allowed));
        assert!(!home("/srv/agents2").is_within(&allowed) && !home("/srv").is_within(&allowed));
        assert!(home("kept").is_within(&[]));
        assert_eq!(home("/srv/agents/a").validate(), Ok(()));
    }
}
