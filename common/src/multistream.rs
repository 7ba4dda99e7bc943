//! The `multistream/*` protocol: JSON text on `WS /api/ws`. One connection, many streams, each slot switched on
//! its own.
//!
//! ```text
//! client                                   server
//!   multistream/init {slots}          ──▶
//!                                     ◀──  multistream/ready {session, slots}         how many
//!   multistream/offer {sdp}           ──▶  its video sections, in order, are the slots
//!                                     ◀──  multistream/answer {sdp, slots}      every candidate is in it
//!   multistream/ice {candidate} …     ──▶
//!                                     ◀──  multistream/status {slot, status} …
//!   multistream/switch, pause, resume, keyframe …
//!   multistream/close                 ──▶
//! ```
//!
//! Every message comes in two shapes, [`Shape`]: with its fields beside `type`, or all of them inside `value`.
//! Replies have the shape of the client's `init`. Errors have one shape:
//! `{"type":"error","value":"multistream/init: too many slots requested"}`.
//!
//! Unknown fields are ignored; the reply to an unknown type is an error. `request_id` is a text or a number and comes
//! back as it was.

use serde::{Deserialize, Deserializer, Serialize};
use serde_json::{Map, Value};
use ts_rs::TS;

use crate::id::SlotIndex;
use crate::signal::{IceServer, SlotState};
use crate::slots::SlotConfig;

/// WebSocket subprotocol, for those who offer any: browsers that bring a token in that way must.
pub const SUBPROTOCOL: &str = "oriel.multistream";
/// Slots that a client may ask for when the configuration does not say.
pub const DEFAULT_MAX_SLOTS: u8 = 9;
/// Name of the streamer of the configured streams when the configuration does not say.
pub const DEFAULT_STREAMER: &str = "cameras";
/// For how long the connection of a client that has lost its WebSocket is kept, seconds.
pub const GRACE_S: u64 = 10;

/// Client to server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(tag = "type")]
#[ts(rename = "MultistreamClientMessage")]
pub enum ClientMessage {
    /// First message: what the slots are to show.
    #[serde(rename = "multistream/init")]
    Init {
        /// Comes back in `ready`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// The `session` of an earlier `ready`: go on with it, if it is still there. Its slots are as they were,
        /// and `slots` is what a new one shows if it is not.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        session: Option<String>,
        /// Proves what this client may do, where a token is needed and none came with the WebSocket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        token: Option<String>,
        /// One for each video section that will be offered. A slot in between that is left out shows nothing yet.
        #[serde(deserialize_with = "slot_configs")]
        slots: Vec<SlotConfig>,
    },
    /// The client's offer to receive.
    #[serde(rename = "multistream/offer")]
    Offer {
        /// Comes back in `answer`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// SDP.
        sdp: String,
    },
    /// Show something else in a slot.
    #[serde(rename = "multistream/switch")]
    Switch {
        /// Comes back in `status`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// The slot, counted from 0.
        #[serde(deserialize_with = "slot_index")]
        slot: SlotIndex,
        /// Name of a stream; empty: nothing.
        stream: String,
        /// Rendition: `""` or `"native"` for the stream itself, else as in `"360p"`.
        #[serde(default)]
        quality: String,
    },
    /// One ICE candidate.
    #[serde(rename = "multistream/ice")]
    Ice {
        /// The candidate, or `RTCIceCandidate.toJSON()`; an empty text ends them.
        #[serde(alias = "value")]
        candidate: Candidate,
    },
    /// Stop sending a slot.
    #[serde(rename = "multistream/pause")]
    Pause {
        /// Which; -1: all.
        slot: SlotOrAll,
    },
    /// Send a paused slot again.
    #[serde(rename = "multistream/resume")]
    Resume {
        /// Which; -1: all.
        slot: SlotOrAll,
    },
    /// Send a keyframe in a slot.
    #[serde(rename = "multistream/keyframe")]
    Keyframe {
        /// Which; -1: all.
        slot: SlotOrAll,
    },
    /// The session is over. The WebSocket stays open for another one.
    #[serde(rename = "multistream/close")]
    Close,
}

/// Server to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type")]
#[ts(rename = "MultistreamServerMessage")]
pub enum ServerMessage {
    /// The reply to `init`.
    #[serde(rename = "multistream/ready")]
    Ready {
        /// Of the `init`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// For `init` after the WebSocket was lost.
        session: String,
        /// True when an earlier session goes on: its peer connection is still good, and no offer is needed.
        resumed: bool,
        /// For `RTCConfiguration.iceServers`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        ice_servers: Vec<IceServer>,
        /// How many slots the session has. When one goes on, a `status` of each follows.
        slots: SlotIndex,
    },
    /// The answer to `offer`.
    #[serde(rename = "multistream/answer")]
    Answer {
        /// Of the `offer`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// SDP.
        sdp: String,
        /// All slots, in order. One that cannot be shown does not keep the others from it.
        slots: Vec<SlotStatus>,
    },
    /// How a slot is doing.
    #[serde(rename = "multistream/status")]
    Status {
        /// Of the `switch` that this is the reply to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<RequestTag>,
        /// The slot, counted from 0.
        slot: SlotIndex,
        /// What the slot shows, and how it is doing.
        status: SlotStatus,
    },
    /// One more ICE candidate of the server's. The same in both shapes.
    #[serde(rename = "multistream/ice")]
    Ice {
        /// The candidate, as `candidate:…` (RFC 8839 §5.1).
        value: String,
    },
    /// The session is over, though the client has not closed it.
    #[serde(rename = "multistream/disconnected")]
    Disconnected {
        /// The reason, for people.
        reason: String,
    },
    /// Something that the client said was refused. The same in both shapes.
    #[serde(rename = "error")]
    Error {
        /// Type of the message and what is wrong.
        value: String,
    },
}

/// How a slot is doing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct SlotStatus {
    /// The slot, counted from 0.
    pub slot: SlotIndex,
    /// Name of the stream with that of its rendition, if it is not the native one: `camera1-360p`.
    pub stream: String,
    /// How the slot is doing.
    pub status: SlotState,
    /// With `error` or `offline`: what.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub error: Option<String>,
}

/// What a client calls a request.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(untagged)]
pub enum RequestTag {
    /// As it was.
    Number(i64),
    /// As it was.
    Text(String),
}

/// A candidate as clients write it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(untagged)]
pub enum Candidate {
    /// The candidate alone.
    Line(String),
    /// `RTCIceCandidate.toJSON()`.
    #[serde(rename_all = "camelCase")]
    Init {
        /// The candidate, as `candidate:…` (RFC 8839 §5.1).
        candidate: String,
        /// Media section it belongs to.
        #[serde(default)]
        sdp_mid: Option<String>,
        /// Index of that section.
        #[serde(default)]
        sdp_m_line_index: Option<u16>,
    },
}

/// A slot, or all of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(from = "i64", into = "i64")]
#[ts(type = "number")]
pub enum SlotOrAll {
    /// `-1`.
    All,
    /// The slot of this index.
    One(SlotIndex),
}

impl From<i64> for SlotOrAll {
    fn from(number: i64) -> Self {
        if number == -1 { SlotOrAll::All } else { SlotOrAll::One(nearest(number)) }
    }
}

impl From<SlotOrAll> for i64 {
    fn from(slot: SlotOrAll) -> Self {
        match slot {
            SlotOrAll::All => -1,
            SlotOrAll::One(slot) => slot.into(),
        }
    }
}

/// A number that no slot can have becomes one that no connection has: the reply is then the one about slots, not
/// one about types.
fn nearest(number: i64) -> SlotIndex {
    SlotIndex::try_from(number).unwrap_or(SlotIndex::MAX)
}

fn slot_index<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SlotIndex, D::Error> {
    i64::deserialize(deserializer).map(nearest)
}

fn slot_configs<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<SlotConfig>, D::Error> {
    #[derive(Deserialize)]
    struct Wish {
        #[serde(deserialize_with = "slot_index")]
        slot: SlotIndex,
        #[serde(default)]
        stream: String,
        #[serde(default)]
        quality: String,
    }
    let wishes = Vec::<Wish>::deserialize(deserializer)?;
    Ok(wishes
        .into_iter()
        .map(|Wish { slot, stream, quality }| SlotConfig { slot, stream, quality })
        .collect())
}

/// How a message is laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Shape {
    /// `{"type":"multistream/init","slots":[…]}`.
    #[default]
    Plain,
    /// `{"type":"multistream/init","value":{"slots":[…]}}`.
    Wrapped,
}

/// Why a text is no message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is no JSON.
    #[error("message: not valid JSON: {0}")]
    Json(String),
    /// It is something else than a message.
    #[error("message: must be an object with a text \"type\"")]
    Untyped,
    /// There is no such message.
    #[error("{0}: unknown message")]
    Unknown(String),
    /// A field is missing, or is something else.
    #[error("{kind}: {message}")]
    Field {
        /// Type of the message.
        kind: String,
        /// A description of what is wrong, for people.
        message: String,
    },
}

/// How much of an unknown type comes back.
const MAX_NAME: usize = 64;

impl ClientMessage {
    /// Reads a message in either shape.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn decode(text: &str) -> Result<(Self, Shape), Malformed> {
        let value: Value = serde_json::from_str(text).map_err(|error| Malformed::Json(error.to_string()))?;
        let Value::Object(mut fields) = value else { return Err(Malformed::Untyped) };
        let Some(Value::String(kind)) = fields.get("type").cloned() else { return Err(Malformed::Untyped) };
        let shape = match fields.remove("value") {
            // What is beside a wrapped value is not part of the message.
            Some(Value::Object(mut inner)) => {
                inner.insert("type".into(), kind.clone().into());
                fields = inner;
                Shape::Wrapped
            }
            Some(other) => {
                fields.insert("value".into(), other);
                Shape::Plain
            }
            None => Shape::Plain,
        };
        let message = serde_json::from_value(Value::Object(fields)).map_err(|error| {
            let message = error.to_string();
            match message.starts_with("unknown variant") {
                true => Malformed::Unknown(kind.chars().take(MAX_NAME).collect()),
                false => Malformed::Field { kind, message },
            }
        })?;
        Ok((message, shape))
    }

    /// Its type, which errors about it begin with.
    pub fn kind(&self) -> &'static str {
        match self {
            ClientMessage::Init { .. } => "multistream/init",
            ClientMessage::Offer { .. } => "multistream/offer",
            ClientMessage::Switch { .. } => "multistream/switch",
            ClientMessage::Ice { .. } => "multistream/ice",
            ClientMessage::Pause { .. } => "multistream/pause",
            ClientMessage::Resume { .. } => "multistream/resume",
            ClientMessage::Keyframe { .. } => "multistream/keyframe",
            ClientMessage::Close => "multistream/close",
        }
    }
}

impl ServerMessage {
    /// The message as text.
    pub fn encode(&self, shape: Shape) -> String {
        let plain = matches!(self, ServerMessage::Ice { .. } | ServerMessage::Error { .. });
        if shape == Shape::Plain || plain {
            return serde_json::to_string(self).expect(WRITABLE);
        }
        let mut fields = match serde_json::to_value(self).expect(WRITABLE) {
            Value::Object(fields) => fields,
            _ => Map::new(),
        };
        let kind = fields.remove("type").unwrap_or_default();
        serde_json::json!({ "type": kind, "value": fields }).to_string()
    }
}

const WRITABLE: &str = "texts and numbers only, under text keys";

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn decode(value: Value) -> Result<(ClientMessage, Shape), String> {
        ClientMessage::decode(&value.to_string()).map_err(|error| error.to_string())
    }

    fn slot(slot: SlotIndex, stream: &str, quality: &str) -> SlotConfig {
        SlotConfig { slot, stream: stream.into(), quality: quality.into() }
    }

    /// Every message of a client, as it stands on the wire in both shapes.
    #[test]
    fn clients_are_understood_in_both_shapes() {
        let text = |text: &str| Some(RequestTag::Text(text.into()));
        let golden = [
            (
                json!({ "request_id": "a", "slots": [
                    { "slot": 0, "stream": "camera1", "quality": "360p" }, { "slot": 1, "stream": "camera2" } ] }),
                ClientMessage::Init {
                    request_id: text("a"),
                    session: None,
                    token: None,
                    slots: vec![slot(0, "camera1", "360p"), slot(1, "camera2", "")],
                },
            ),
            (
                json!({ "request_id": 7, "session": "s", "slots": [] }),
                ClientMessage::Init {
                    request_id: Some(RequestTag::Number(7)),
                    session: Some("s".into()),
                    token: None,
                    slots: vec![],
                },
            ),
            (json!({ "sdp": "v=0" }), ClientMessage::Offer { request_id: None, sdp: "v=0".into() }),
            (
                json!({ "request_id": "b", "slot": 2, "stream": "x", "quality": "native" }),
                ClientMessage::Switch {
                    request_id: text("b"),
                    slot: 2,
                    stream: "x".into(),
                    quality: "native".into(),
                },
            ),
            (
                json!({ "candidate": "candidate:1" }),
                ClientMessage::Ice { candidate: Candidate::Line("candidate:1".into()) },
            ),
            (
                json!({ "candidate": { "candidate": "c", "sdpMid": "0", "sdpMLineIndex": 0, "usernameFragment": "u" } }),
                ClientMessage::Ice {
                    candidate: Candidate::Init {
                        candidate: "c".into(),
                        sdp_mid: Some("0".into()),
                        sdp_m_line_index: Some(0),
                    },
                },
            ),
            (json!({ "slot": 3 }), ClientMessage::Pause { slot: SlotOrAll::One(3) }),
            (json!({ "slot": -1 }), ClientMessage::Resume { slot: SlotOrAll::All }),
            (json!({ "slot": -1 }), ClientMessage::Keyframe { slot: SlotOrAll::All }),
            (json!({}), ClientMessage::Close),
        ];
        for (fields, message) in golden {
            let mut plain = fields.clone();
            plain["type"] = message.kind().into();
            assert_eq!(decode(plain), Ok((message.clone(), Shape::Plain)));
            let wrapped = json!({ "type": message.kind(), "value": fields, "unknown": true });
            assert_eq!(decode(wrapped), Ok((message, Shape::Wrapped)));
        }
        let bare = json!({ "type": "multistream/ice", "value": "candidate:1" });
        let message = ClientMessage::Ice { candidate: Candidate::Line("candidate:1".into()) };
        assert_eq!(decode(bare), Ok((message, Shape::Plain)));
    }

    #[test]
    fn slots_that_cannot_be_are_not_an_error_of_types() {
        for number in [-2, 255, 256, i64::MAX] {
            let switch = json!({ "type": "multistream/switch", "slot": number, "stream": "x" });
            let Ok((ClientMessage::Switch { slot, .. }, _)) = decode(switch) else { panic!("{number}") };
            assert_eq!(slot, SlotIndex::MAX);
            let pause = json!({ "type": "multistream/pause", "slot": number });
            let expected = ClientMessage::Pause { slot: SlotOrAll::One(SlotIndex::MAX) };
            assert_eq!(decode(pause).unwrap().0, expected);
        }
    }

    #[test]
    fn what_is_wrong_with_a_message_is_told() {
        for (text, expected) in [
            ("", "message: not valid JSON"),
            ("{", "message: not valid JSON"),
            ("[]", "message: must be an object"),
            (r#"{"type":7}"#, "message: must be an object"),
            (r#"{"type":"multistream/dance"}"#, "multistream/dance: unknown message"),
            (r#"{"type":"multistream/dance","value":{}}"#, "multistream/dance: unknown message"),
            (r#"{"type":"multistream/offer"}"#, "multistream/offer: missing field `sdp`"),
            (r#"{"type":"multistream/init","slots":7}"#, "multistream/init: "),
            (r#"{"type":"multistream/init","value":[]}"#, "multistream/init: missing field `slots`"),
            (r#"{"type":"multistream/switch","slot":"0","stream":""}"#, "multistream/switch: "),
        ] {
            let error = ClientMessage::decode(text).unwrap_err().to_string();
            assert!(error.starts_with(expected), "{text}: {error}");
        }
        let long = format!(r#"{{"type":"{}"}}"#, "x".repeat(10_000));
        assert!(ClientMessage::decode(&long).unwrap_err().to_string().len() < 100);
    }

    /// Every message of the server, as it stands on the wire.
    #[test]
    fn servers_speak_in_both_shapes() {
        let status = |status, error: Option<&str>| SlotStatus {
            slot: 0,
            stream: "camera1".into(),
            status,
            error: error.map(str::to_owned),
        };
        let refused = status(SlotState::Error, Some("stream not found"));
        let id = Some(RequestTag::Text("a".into()));
        let golden = [
            (
                ServerMessage::Ready {
                    request_id: id.clone(),
                    session: "s".into(),
                    resumed: false,
                    ice_servers: vec![],
                    slots: 2,
                },
                r#"{"type":"multistream/ready","request_id":"a","session":"s","resumed":false,"slots":2}"#,
            ),
            (
                ServerMessage::Answer { request_id: id, sdp: "v=0".into(), slots: vec![refused.clone()] },
                r#"{"type":"multistream/answer","request_id":"a","sdp":"v=0","slots":[{"slot":0,"stream":"camera1","status":"error","error":"stream not found"}]}"#,
            ),
            (
                ServerMessage::Status { request_id: None, slot: 0, status: refused },
                r#"{"type":"multistream/status","slot":0,"status":{"slot":0,"stream":"camera1","status":"error","error":"stream not found"}}"#,
            ),
            (
                ServerMessage::Disconnected { reason: "gone".into() },
                r#"{"type":"multistream/disconnected","reason":"gone"}"#,
            ),
        ];
        for (message, plain) in golden {
            assert_eq!(message.encode(Shape::Plain), plain);
            let mut fields: Value = serde_json::from_str(plain).unwrap();
            let kind = fields.as_object_mut().unwrap().remove("type").unwrap();
            let wrapped: Value = serde_json::from_str(&message.encode(Shape::Wrapped)).unwrap();
            assert_eq!(wrapped, json!({ "type": kind, "value": fields }));
        }
        for shape in [Shape::Plain, Shape::Wrapped] {
            let error = ServerMessage::Error { value: "multistream/init: too many slots requested".into() };
            let text = r#"{"type":"error","value":"multistream/init: too many slots requested"}"#;
            assert_eq!(error.encode(shape), text);
            let ice = ServerMessage::Ice { value: "candidate:1".into() };
            assert_eq!(ice.encode(shape), r#"{"type":"multistream/ice","value":"candidate:1"}"#);
        }
    }
}
