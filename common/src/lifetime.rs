//! Lifetimes of streamers that nobody deletes.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::spec::InvalidField;

/// Shortest and longest time that can be asked for, seconds: up to a year.
pub const LIFETIME_S: std::ops::RangeInclusive<u32> = 1..=365 * 24 * 3600;

/// What happens to a streamer that nobody has used for its `idle_timeout_s`.
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
    #[serde(default, skip_serializing_if = "TimeLimit::is_unset")]
    #[ts(as = "Option<Option<u32>>", optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub expires_in_s: TimeLimit,
    /// It ends, as `on_idle` says, when nobody has used it for so many seconds, 1..=31536000; `null`: never.
    #[serde(default, skip_serializing_if = "TimeLimit::is_unset")]
    #[ts(as = "Option<Option<u32>>", optional)]
    #[schema(value_type = Option<u32>, minimum = 1, maximum = 31536000)]
    pub idle_timeout_s: TimeLimit,
    /// What happens to it then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub on_idle: Option<OnIdle>,
}

/// A field of a body that may be absent, `null`, or a number of seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeLimit {
    /// Absent: what was there, or the configuration's default, stays.
    #[default]
    Unset,
    /// `null`: there is no limit.
    Never,
    /// A number of seconds.
    After(u32),
}

impl TimeLimit {
    /// Whether the field is absent, as serde asks.
    pub fn is_unset(&self) -> bool {
        *self == TimeLimit::Unset
    }

    /// This, or `default` if it is unset.
    #[must_use]
    pub fn or(self, default: Self) -> Self {
        if self.is_unset() { default } else { self }
    }
}

impl Serialize for TimeLimit {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            TimeLimit::Unset | TimeLimit::Never => serializer.serialize_none(),
            TimeLimit::After(seconds) => seconds.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for TimeLimit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Option::deserialize(deserializer)?.map_or(TimeLimit::Never, TimeLimit::After))
    }
}

impl StreamerPatch {
    /// No limits, whatever is configured.
    pub const NEVER: Self =
        Self { expires_in_s: TimeLimit::Never, idle_timeout_s: TimeLimit::Never, on_idle: None };

    /// This patch, with absent fields taken from `default`.
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
            if let TimeLimit::After(value) = value
                && !LIFETIME_S.contains(&value)
            {
                let min = LIFETIME_S.start();
                let max = LIFETIME_S.end();
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
        assert_eq!((patch.expires_in_s, patch.idle_timeout_s), (TimeLimit::Never, TimeLimit::After(60)));
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
