//! Rooms: streamers that people meet in.

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::field::InvalidField;
use crate::person::check_room_name;

/// Most participants of a room; the server's own limit for peers of a streamer may be lower.
pub const MAX_PARTICIPANTS: u32 = 1000;
/// Participants of a room when its creator does not say.
pub const DEFAULT_PARTICIPANTS: u32 = 25;

/// What makes a room of a streamer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RoomSpec {
    /// Shown to people, 1 to 100 characters.
    #[schema(min_length = 1, max_length = 100)]
    pub name: String,
    /// Most peers at once, 1..=1000; the next one is refused with `room_full`.
    #[serde(default = "default_participants")]
    #[schema(minimum = 1, maximum = 1000)]
    pub max_participants: u32,
}

/// For a room whose creator does not say.
pub fn default_participants() -> u32 {
    DEFAULT_PARTICIPANTS
}

impl RoomSpec {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidField> {
        check_room_name(&self.name).map_err(|error| InvalidField::new("room.name", error.to_string()))?;
        if !(1..=MAX_PARTICIPANTS).contains(&self.max_participants) {
            let message = format!("must be from 1 to {MAX_PARTICIPANTS}, not {}", self.max_participants);
            return Err(InvalidField::new("room.max_participants", message));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::person::MAX_ROOM_NAME;

    #[test]
    fn each_bound_names_its_field() {
        let room = |name: &str, max_participants| RoomSpec { name: name.to_owned(), max_participants };
        let field = |room: RoomSpec| room.validate().err().map(|error| error.field);
        assert_eq!(field(room("Stand-up", 1)), None);
        assert_eq!(field(room(&"é".repeat(MAX_ROOM_NAME), MAX_PARTICIPANTS)), None);
        for name in ["", " ", "a\nb", &"x".repeat(MAX_ROOM_NAME + 1)] {
            assert_eq!(field(room(name, 5)), Some("room.name"), "{name:?}");
        }
        for most in [0, MAX_PARTICIPANTS + 1] {
            assert_eq!(field(room("a", most)), Some("room.max_participants"), "{most}");
        }
    }
}
