//! Rooms and tokens in the words of those backends, and in ours. Pure.

use chrono::{DateTime, Utc};
use common::api::{CreateToken, Token};
use common::id::StreamerId;
use common::person::{PeerRight, Rights, check_display_name, check_user_id};
use common::rooms::{CreateRoom, Room};
use common::signal::Role;
use common::spec::{InvalidField, default_participants};
use serde::{Deserialize, Serialize};
use serde_json::json;

/// Shortest and longest life of a token, seconds.
const TOKEN_LIFE_S: std::ops::RangeInclusive<u32> = 60..=86_400;
/// Types of users who may mute and remove others, and steer.
const MODERATORS: [&str; 4] = ["moderator", "host", "admin", "owner"];
/// Types of users who only watch and write.
const VIEWERS: [&str; 2] = ["viewer", "spectator"];
/// The longest type of a user.
const MAX_USER_TYPE: usize = 32;
/// The longest address (RFC 5321 §4.5.3.1).
const MAX_EMAIL: usize = 254;

/// `POST /api/v1/tokens`. Fields that are not here are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct TokenRequest {
    /// Names the person to the backend.
    pub user_id: String,
    /// The person's address.
    #[serde(default)]
    pub email: Option<String>,
    /// The name that others see; otherwise the address, or the user's id.
    #[serde(default)]
    pub name: Option<String>,
    /// The room.
    pub room: StreamerId,
    /// What the person may do there.
    #[serde(default = "default_user_type")]
    pub user_type: String,
    /// Life of the token, in seconds.
    #[serde(default = "default_life")]
    pub expires_in: u32,
}

fn default_user_type() -> String {
    "participant".to_owned()
}

fn default_life() -> u32 {
    3600
}

/// The claims that those pages read in a token, besides `user_id`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Claims {
    /// The person's address.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub email: Option<String>,
    /// The room.
    pub room: StreamerId,
    /// What the person may do there.
    pub user_type: String,
}

impl TokenRequest {
    /// The room, the token that is meant, and what it says besides.
    ///
    /// # Errors
    /// The field that breaks a rule.
    pub fn into_parts(self) -> Result<(StreamerId, CreateToken, Claims), InvalidField> {
        let Self { user_id, email, name, room, user_type, expires_in } = self;
        if !TOKEN_LIFE_S.contains(&expires_in) {
            let (min, max) = TOKEN_LIFE_S.into_inner();
            let message = format!("must be from {min} to {max} seconds, not {expires_in}");
            return Err(InvalidField::new("expires_in", message));
        }
        check_user_id(&user_id).map_err(|error| InvalidField::new("user_id", error.to_string()))?;
        if user_type.is_empty() || user_type.chars().count() > MAX_USER_TYPE {
            return Err(InvalidField::new("user_type", format!("must have 1 to {MAX_USER_TYPE} characters")));
        }
        if email.as_ref().is_some_and(|email| email.len() > MAX_EMAIL) {
            return Err(InvalidField::new("email", format!("must have at most {MAX_EMAIL} bytes")));
        }
        if let Some(name) = &name {
            check_display_name(name).map_err(|error| InvalidField::new("name", error.to_string()))?;
        }
        let shown = |text: &String| check_display_name(text).is_ok();
        let display_name =
            name.or_else(|| email.clone().filter(shown)).or_else(|| Some(user_id.clone()).filter(shown));
        let is_one_of = |types: &[&str]| types.iter().any(|known| user_type.eq_ignore_ascii_case(known));
        let (role, rights) = match (is_one_of(&MODERATORS), is_one_of(&VIEWERS)) {
            (true, _) => (Role::Controller, Rights::from(PeerRight::ALL)),
            (false, true) => (Role::Viewer, Rights::from([PeerRight::Chat])),
            (false, false) => (Role::Viewer, Rights::from([PeerRight::Publish, PeerRight::Chat])),
        };
        let mut token = CreateToken::of(role, expires_in);
        token.rights = rights;
        token.display_name = display_name;
        token.user_id = Some(user_id);
        Ok((room.clone(), token, Claims { email, room, user_type }))
    }
}

/// The response to [`TokenRequest`].
pub fn token(token: &Token, claims: &Claims, expires_in: u32) -> serde_json::Value {
    json!({
        "token": token.token,
        "token_id": token.token_id,
        "room": claims.room,
        "user_type": claims.user_type,
        "expires_in": expires_in,
        "expires_at": token.expires,
    })
}

/// `POST /api/v1/rooms`. Fields that are not here are ignored.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct RoomRequest {
    /// Its id.
    #[serde(default)]
    pub id: Option<StreamerId>,
    /// Shown to people; its id as well, where that is not given and the name can be one.
    pub name: String,
    /// Most people at once.
    #[serde(default = "default_participants")]
    pub max_participants: u32,
}

impl RoomRequest {
    /// The room that is meant.
    pub fn into_room(self) -> CreateRoom {
        let Self { id, name, max_participants } = self;
        let id = id.or_else(|| StreamerId::parse(&*name).ok());
        CreateRoom { id, max_participants, ..CreateRoom::named(name) }
    }
}

/// A room, as those backends read it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RoomReply {
    id: StreamerId,
    name: String,
    max_participants: u32,
    participants: u32,
    created_at: DateTime<Utc>,
}

impl From<Room> for RoomReply {
    fn from(room: Room) -> Self {
        let Room { id, name, max_participants, participants, created, .. } = room;
        // It has no way to say that only another node knows.
        let participants = participants.unwrap_or_default();
        Self { id, name, max_participants, participants, created_at: created }
    }
}

#[cfg(test)]
mod tests {
    use common::person::{MAX_DISPLAY_NAME, MAX_USER_ID};

    use super::*;

    fn ask(body: serde_json::Value) -> Result<(CreateToken, Claims), &'static str> {
        let request: TokenRequest = serde_json::from_value(body).unwrap();
        request.into_parts().map(|(_, token, claims)| (token, claims)).map_err(|error| error.field)
    }

    #[test]
    fn a_type_of_user_says_what_the_token_permits() {
        use PeerRight::{Chat, Moderate, Publish};
        for (user_type, role, rights) in [
            (json!("participant"), Role::Viewer, vec![Publish, Chat]),
            (json!("teacher"), Role::Viewer, vec![Publish, Chat]),
            (json!("Host"), Role::Controller, vec![Publish, Chat, Moderate]),
            (json!("viewer"), Role::Viewer, vec![Chat]),
        ] {
            let body =
                json!({ "user_id": "u1", "email": "a@b.c", "room": "r", "user_type": user_type, "more": 1 });
            let (token, claims) = ask(body).unwrap();
            assert_eq!((token.role, token.rights), (role, Rights::from_iter(rights)), "{user_type}");
            assert_eq!((token.display_name.as_deref(), token.expires_in_s), (Some("a@b.c"), 3600));
            assert_eq!((json!(claims.user_type), claims.room.as_str()), (user_type, "r"));
        }
    }

    #[test]
    fn what_breaks_a_rule_is_named() {
        for (more, field) in [
            (json!({ "expires_in": 59 }), "expires_in"),
            (json!({ "expires_in": 86_401 }), "expires_in"),
            (json!({ "user_id": "" }), "user_id"),
            (json!({ "user_id": "x".repeat(MAX_USER_ID + 1) }), "user_id"),
            (json!({ "user_type": "" }), "user_type"),
            (json!({ "user_type": "x".repeat(MAX_USER_TYPE + 1) }), "user_type"),
            (json!({ "email": "x".repeat(MAX_EMAIL + 1) }), "email"),
            (json!({ "name": "x".repeat(MAX_DISPLAY_NAME + 1) }), "name"),
        ] {
            let mut body = json!({ "user_id": "u1", "room": "r", "expires_in": 60 });
            body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
            assert_eq!(ask(body.clone()), Err(field), "{body}");
        }
    }

    #[test]
    fn a_room_is_called_by_its_name_where_that_can_be_an_id() {
        let room = |body| serde_json::from_value::<RoomRequest>(body).unwrap().into_room();
        let named = room(json!({ "name": "standup", "max_participants": 5 }));
        assert_eq!((named.id.unwrap().as_str(), named.max_participants), ("standup", 5));
        assert_eq!(room(json!({ "name": "Stand-up at nine" })).id, None);
        assert_eq!(room(json!({ "id": "s", "name": "standup" })).id.unwrap().as_str(), "s");
    }
}
