//! How long a streamer lives that nobody deletes.

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::spec::InvalidField;

/// Shortest and longest time that can be asked for, seconds: up to a year.
pub const LIFETIME_S: std::ops::RangeInclusive<u32> = 1..=365 * 24 * 3600;

/// What becomes of a streamer that nobody has used for its `idle_timeout_s`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Hash, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum OnIdle {
    /// Its process ends. The streamer stays, in state `stopped`, and can be started again.
    #[default]
    Stop,
    /// It is deleted.
    Delete,
}

/// `PATCH /api/streamers/{id}`: what is absent stays as it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamerPatch {
    /// It is deleted so many seconds from now, 1..=31536000; `null`: never.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub expires_in_s: Option<Option<u32>>,
    /// It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never.
    #[serde(default, deserialize_with = "given", skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub idle_timeout_s: Option<Option<u32>>,
    /// What becomes of it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub on_idle: Option<OnIdle>,
}

/// A field that may be absent, `null`, or a value: absent is its default.
pub(crate) fn given<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

impl StreamerPatch {
    /// Nothing ends it but its end.
    pub const NEVER: Self = Self { expires_in_s: Some(None), idle_timeout_s: Some(None), on_idle: None };

    /// This, with what it leaves open from `default`.
    #[must_use]
    pub fn over(self, default: Self) -> Self {
        Self {
            expires_in_s: self.expires_in_s.or(default.expires_in_s),
            idle_timeout_s: self.idle_timeout_s.or(default.idle_timeout_s),
            on_idle: self.on_idle.or(default.on_idle),
        }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidField> {
        let times = [("expires_in_s", self.expires_in_s), ("idle_timeout_s", self.idle_timeout_s)];
        for (field, value) in times {
            if let Some(value) = value.flatten()
                && !LIFETIME_S.contains(&value)
            {
                let (min, max) = (LIFETIME_S.start(), LIFETIME_S.end());
                return Err(InvalidField::new(field, format!("must be from {min} to {max}, not {value}")));
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> StreamerPatch {
        serde_json::from_str(text).unwrap()
    }

    #[test]
    fn absent_is_not_null_either_way() {
        assert_eq!(read("{}"), StreamerPatch::default());
        let patch = read(r#"{"expires_in_s":null,"idle_timeout_s":60}"#);
        assert_eq!((patch.expires_in_s, patch.idle_timeout_s), (Some(None), Some(Some(60))));
        for text in ["{}", r#"{"expires_in_s":null,"idle_timeout_s":60,"on_idle":"delete"}"#] {
            assert_eq!(serde_json::to_string(&read(text)).unwrap(), text);
        }
    }

    #[test]
    fn bounds_are_checked_by_name() {
        for (text, field) in [
            (r#"{"expires_in_s":0}"#, "expires_in_s"),
            (r#"{"expires_in_s":31536001}"#, "expires_in_s"),
            (r#"{"expires_in_s":1,"idle_timeout_s":0}"#, "idle_timeout_s"),
        ] {
            assert_eq!(read(text).validate().unwrap_err().field, field, "{text}");
        }
        assert_eq!(read(r#"{"expires_in_s":31536000,"idle_timeout_s":null}"#).validate(), Ok(()));
    }

    #[test]
    fn what_is_not_said_is_the_default() {
        let default = read(r#"{"expires_in_s":7,"idle_timeout_s":8,"on_idle":"delete"}"#);
        assert_eq!(StreamerPatch::default().over(default), default);
        let said = read(r#"{"expires_in_s":null,"on_idle":"stop"}"#).over(default);
        assert_eq!(said, read(r#"{"expires_in_s":null,"idle_timeout_s":8,"on_idle":"stop"}"#));
    }
}
