//! Input as it crosses the network: the messages of the data channels `keys`, `motion` and
//! `general`, and the commands of `POST /input`.
//!
//! All of this comes from untrusted peers. It is decoded by [`decode_keys`] and its like, which bound
//! the size; what is decoded has been checked by `validate` and is finite and in range.
//!
//! Positions are pixels of the slot's picture at its full size, as `streamInfo.width` and `height` say, origin
//! top left. They may lie outside of it; the sink clamps.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::clipboard::{ClipboardType, MAX_TEXT};
use crate::files::FileEntry;
use crate::id::{PeerId, SlotIndex, SourceName};
use crate::latency::LatencyReport;

/// Label and pre-negotiated id (RFC 8832 §4: no opening handshake) of the channel for keys.
pub const KEYS_CHANNEL: (&str, u16) = ("keys", 0);
/// Label and id of the lossy channel for motion: unordered, no retransmission.
pub const MOTION_CHANNEL: (&str, u16) = ("motion", 1);
/// Label and id of the channel for everything that is neither: reliable JSON.
pub const GENERAL_CHANNEL: (&str, u16) = ("general", 2);

/// Longest data channel message from a peer, in bytes: room for the longest clipboard in JSON.
pub const MAX_CHANNEL_MESSAGE: usize = 256 * 1024;
/// Longest text typed by one event, in characters; typing takes about 1 ms per new character.
pub const MAX_TYPED: usize = 4096;
/// Most keys or buttons in one snapshot of what a peer holds; hands have fewer fingers.
pub const MAX_HELD: usize = 64;
/// Most gamepads of one client, numbered from 0.
pub const MAX_PADS: u8 = 4;
/// Most fingers of one client on one slot.
pub const MAX_TOUCHES: usize = 10;
/// Most actors whose pointers others are shown.
pub const MAX_POINTINGS: usize = 32;
/// Most events in one `POST /input`.
pub const MAX_EVENTS: usize = 1024;
/// Longest `hold_ms` of a press by an API client.
pub const MAX_HOLD_MS: u32 = 60_000;
/// Default of `hold_ms`.
pub const DEFAULT_HOLD_MS: u32 = 2_000;
/// Longest `wait`, and longest `drag`.
pub const MAX_WAIT_MS: u32 = 10_000;
/// Longest time that all waits and drags of one `POST /input` take together: less than the caller waits for the response.
pub const MAX_TOTAL_WAIT_MS: u32 = 30_000;
/// Default duration of a `drag`: programs look at the pointer between press and release.
pub const DEFAULT_DRAG_MS: u32 = 200;

/// How often a client repeats what it holds while it holds something.
pub const HELD_REPEAT_MS: u64 = 500;
/// Without a repeat for this long, what a peer holds is released.
pub const HELD_SILENCE_MS: u64 = 2_000;

/// A key by its place on the keyboard: a `KeyboardEvent.code` of UI Events (`KeyA`, `ArrowLeft`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
#[serde(try_from = "String", into = "String")]
#[schema(value_type = String, example = "KeyA")]
#[ts(type = "string")]
pub struct KeyCode(String);

impl KeyCode {
    /// A code is a short word of ASCII letters and digits.
    ///
    /// # Errors
    /// [`InvalidInput`] when it is not. Whether a keyboard has such a key is for the sink to say.
    pub fn parse(text: impl Into<String>) -> Result<Self, InvalidInput> {
        let text = text.into();
        let ok = (1..=32).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_alphanumeric());
        if ok { Ok(Self(text)) } else { Err(InvalidInput::KeyCode) }
    }

    /// The code as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyCode {
    type Error = InvalidInput;
    fn try_from(text: String) -> Result<Self, InvalidInput> {
        Self::parse(text)
    }
}

impl From<KeyCode> for String {
    fn from(code: KeyCode) -> String {
        code.0
    }
}

impl fmt::Display for KeyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A mouse button, 1..=9 as X counts: 1 left, 2 middle, 3 right, 4–7 wheel, 8 back, 9 forward.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, TS, ToSchema)]
#[serde(try_from = "u8", into = "u8")]
#[schema(value_type = u8, minimum = 1, maximum = 9)]
#[ts(type = "number")]
pub struct Button(u8);

impl Button {
    /// The left button.
    pub const LEFT: Button = Button(1);

    /// The button with X's number `n`.
    ///
    /// # Errors
    /// [`InvalidInput::Button`] unless it is 1..=9.
    pub fn new(n: u8) -> Result<Self, InvalidInput> {
        if (1..=9).contains(&n) { Ok(Self(n)) } else { Err(InvalidInput::Button(n)) }
    }

    /// X's number of the button, 1..=9.
    pub fn number(self) -> u8 {
        self.0
    }
}

impl TryFrom<u8> for Button {
    type Error = InvalidInput;
    fn try_from(n: u8) -> Result<Self, InvalidInput> {
        Self::new(n)
    }
}

impl From<Button> for u8 {
    fn from(button: Button) -> u8 {
        button.0
    }
}

/// A mouse button of a command: its number as X counts, or its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, TS, ToSchema)]
#[serde(
    untagged,
    expecting = "button: must be a number from 1 to 9, or left, middle, right, back or forward"
)]
pub enum ButtonOrName {
    /// By its number.
    Number(Button),
    /// By its name.
    Name(ButtonName),
}

/// The name of a mouse button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum ButtonName {
    /// The left one, 1.
    Left,
    /// The middle one, 2.
    Middle,
    /// The right one, 3.
    Right,
    /// Back in a history, 8.
    Back,
    /// Forward in a history, 9.
    Forward,
}

impl From<ButtonOrName> for Button {
    fn from(button: ButtonOrName) -> Self {
        match button {
            ButtonOrName::Number(button) => button,
            ButtonOrName::Name(ButtonName::Left) => Self(1),
            ButtonOrName::Name(ButtonName::Middle) => Self(2),
            ButtonOrName::Name(ButtonName::Right) => Self(3),
            ButtonOrName::Name(ButtonName::Back) => Self(8),
            ButtonOrName::Name(ButtonName::Forward) => Self(9),
        }
    }
}

fn button<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Button, D::Error> {
    ButtonOrName::deserialize(deserializer).map(Button::from)
}

/// Why bytes from a peer are not input.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum InvalidInput {
    /// Longer than [`MAX_CHANNEL_MESSAGE`].
    #[error("a message has at most {MAX_CHANNEL_MESSAGE} bytes, this one has {0}")]
    TooLong(usize),
    /// Not JSON of the channel's messages.
    #[error("not a message of this channel: {0}")]
    Malformed(String),
    /// Not a `KeyboardEvent.code`.
    #[error("code: must be a KeyboardEvent.code, 1 to 32 ASCII letters and digits")]
    KeyCode,
    /// No such button.
    #[error("button: must be from 1 to 9, not {0}")]
    Button(u8),
    /// No such gamepad.
    #[error("pad: must be less than {MAX_PADS}, not {0}")]
    Pad(u8),
    /// A trigger or stick outside of its range.
    #[error("{0}: must be finite and at most 1 from the middle")]
    Axis(&'static str),
    /// A coordinate or distance that is no finite number, or is absurdly large.
    #[error("{0}: must be a finite number of at most {MAX_COORDINATE}")]
    Number(&'static str),
    /// A text longer than its bound.
    #[error("text: at most {max} {unit}, this one has {len}")]
    Text {
        /// Its length in `unit`.
        len: usize,
        /// The most that is allowed.
        max: usize,
        /// Bytes or characters.
        unit: &'static str,
    },
    /// A report of how late pictures are seen that nobody can have measured.
    #[error("{0}")]
    Latency(&'static str),
    /// More held keys or buttons than [`MAX_HELD`].
    #[error("held: at most {MAX_HELD} keys and buttons")]
    Held,
    /// `hold_ms` over [`MAX_HOLD_MS`].
    #[error("hold_ms: at most {MAX_HOLD_MS}")]
    Hold,
    /// A `count` of none, or over [`MAX_COUNT`].
    #[error("count: must be from 1 to {MAX_COUNT}, not {0}")]
    Count(u8),
    /// A `move` without a position or a distance.
    #[error("at: a move needs `at`, or `dx` and `dy`")]
    NoMove,
    /// A wait or drag longer than [`MAX_WAIT_MS`].
    #[error("{0}: at most {MAX_WAIT_MS}")]
    Wait(&'static str),
    /// All waits and drags together are longer than [`MAX_TOTAL_WAIT_MS`].
    #[error("ms: all waits and drags of a request take at most {MAX_TOTAL_WAIT_MS} ms together")]
    TotalWait,
    /// A position that is not in the picture.
    #[error("{field}: {x}, {y} is outside of the picture, which has {width}x{height} pixels")]
    Outside {
        /// Name of the field with the position.
        field: &'static str,
        /// Pixels from the left.
        x: f64,
        /// Pixels from the top.
        y: f64,
        /// The picture's, in pixels.
        width: u32,
        /// The picture's, in pixels.
        height: u32,
    },
    /// A size that a picture cannot have.
    #[error("{0}")]
    Size(String),
    /// More clicks, events or keys than allowed.
    #[error("{field}: at most {max}")]
    TooMany {
        /// The field that is too long.
        field: &'static str,
        /// The most that is allowed.
        max: usize,
    },
}

/// Most clicks of one command.
pub const MAX_COUNT: u8 = 10;

/// Largest absolute value of a coordinate, a distance or a running total of motion.
pub const MAX_COORDINATE: f64 = 1e9;

/// Client to streamer on `keys`. In order and never lost.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum KeysMessage {
    /// A key by its place on the keyboard goes down or up.
    Key {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// The key, by its place.
        code: KeyCode,
        /// Down, or up.
        down: bool,
    },
    /// A key by the character on it goes down or up, whatever the layout of the session.
    Char {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Any Unicode character.
        char: char,
        /// Down, or up.
        down: bool,
    },
    /// The client's lock keys, sent before a key that they matter for. The session's locks follow whoever types.
    Locks {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Caps Lock; absent: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        caps: Option<bool>,
        /// Num Lock; absent: as it is.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        num: Option<bool>,
    },
    /// Types a text, character by character.
    Text {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// At most [`MAX_TYPED`] characters.
        text: String,
    },
    /// A mouse button goes down or up at a position.
    Button {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// The button.
        button: Button,
        /// Down, or up.
        down: bool,
        /// Where, if the pointer has a position (it has none while locked).
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        at: Option<Position>,
    },
    /// The wheel turns: notches, positive is down and right; fractions add up.
    Wheel {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Notches to the right.
        dx: f64,
        /// Notches downwards.
        dy: f64,
    },
    /// Everything that this client holds, sent every [`HELD_REPEAT_MS`] while it holds something.
    /// What the streamer has as held and this does not contain is released.
    Held {
        /// Slot to which it applies.
        slot: SlotIndex,
        /// Keys that are down, by their place.
        codes: Vec<KeyCode>,
        /// Keys that are down, by their character.
        chars: Vec<char>,
        /// Mouse buttons that are down.
        buttons: Vec<Button>,
        /// Numbers of the fingers that are down.
        #[serde(default)]
        touches: Vec<u32>,
    },
    /// A finger touches the picture, or no longer.
    Touch {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Which finger: the client's number for it.
        touch: u32,
        /// Down, or up.
        down: bool,
        /// Its position in the picture.
        at: Position,
    },
    /// The complete state of a gamepad. The first one announces it. Sent at once when a button changes, and every
    /// [`HELD_REPEAT_MS`] while the gamepad is not at rest.
    Pad {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Which of this client's, less than [`MAX_PADS`].
        pad: u8,
        /// What kind of gamepad it is.
        kind: PadKind,
        /// Buttons, triggers and sticks.
        state: PadState,
    },
    /// A gamepad was unplugged.
    PadGone {
        /// Slot whose source had it.
        slot: SlotIndex,
        /// Which of this client's.
        pad: u8,
    },
    /// The client lost the focus: all that it holds is released.
    Blur,
    /// Sets the session's clipboard. Controllers only.
    Clipboard {
        /// At most [`MAX_TEXT`] bytes.
        text: String,
        /// The same with its layout; at most [`MAX_TEXT`] bytes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        html: Option<String>,
    },
    /// Puts a picture on the session's clipboard, in parts: it is there with the last one. Controllers only.
    ClipboardPicture {
        /// Bytes of the picture in the parts before: 0 begins a new one.
        at: u32,
        /// The next bytes of a PNG, as base64: at most [`MAX_PART`](crate::clipboard::MAX_PART) of them, and
        /// [`MAX_PICTURE`](crate::clipboard::MAX_PICTURE) in all.
        data: String,
        /// No part follows.
        last: bool,
    },
}

/// A make of gamepads, which decides the letters and colours of its buttons.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum PadKind {
    /// A gamepad of no known maker.
    #[default]
    Unknown,
    /// An Xbox gamepad.
    Xbox,
    /// A PlayStation gamepad.
    PlayStation,
    /// A Nintendo gamepad.
    Nintendo,
    /// A Steam gamepad.
    Steam,
}

/// State of a gamepad, in the standard mapping of the Gamepad API.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct PadState {
    /// Bit `n` is button `n` of the mapping: 0–3 bottom, right, left, top; 4 and 5 shoulders; 6 and 7 triggers;
    /// 8 and 9 back and start; 10 and 11 sticks; 12–15 up, down, left, right; 16 guide.
    pub buttons: u32,
    /// Left and right, 0 to 1.
    pub triggers: [f32; 2],
    /// Left stick, right stick: each to the right and down, -1 to 1.
    pub sticks: [f32; 4],
}

/// A point of a slot's picture.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Position {
    /// Pixels from the left.
    pub x: f64,
    /// Pixels from the top.
    pub y: f64,
}

/// Client to streamer on `motion`. May be lost, doubled or out of order, so each carries a sequence number
/// and says where things are, not how they changed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum MotionMessage {
    /// The pointer is at a position.
    Pointer {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Counts this client's motion messages; older than the newest seen is dropped.
        seq: u32,
        /// Its position in the picture.
        at: Position,
    },
    /// The pointer has moved by so much since the client began to count (pointer lock).
    Relative {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Counts this client's motion messages.
        seq: u32,
        /// Running total to the right, pixels.
        total_x: f64,
        /// Running total down, pixels.
        total_y: f64,
    },
    /// A finger is at a position.
    Touch {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Counts this client's motion messages.
        seq: u32,
        /// Number of the finger.
        touch: u32,
        /// Its position in the picture.
        at: Position,
    },
    /// Triggers and sticks of a gamepad that is known by [`KeysMessage::Pad`].
    Pad {
        /// Slot whose source gets it.
        slot: SlotIndex,
        /// Counts this client's motion messages.
        seq: u32,
        /// Which of this client's.
        pad: u8,
        /// Left and right, 0 to 1.
        triggers: [f32; 2],
        /// Left stick, right stick: each to the right and down, -1 to 1.
        sticks: [f32; 4],
    },
}

impl MotionMessage {
    /// Slot whose source gets it.
    pub fn slot(&self) -> SlotIndex {
        match self {
            MotionMessage::Pointer { slot, .. }
            | MotionMessage::Relative { slot, .. }
            | MotionMessage::Touch { slot, .. }
            | MotionMessage::Pad { slot, .. } => *slot,
        }
    }

    /// Its number among this client's motion messages.
    pub fn seq(&self) -> u32 {
        match self {
            MotionMessage::Pointer { seq, .. }
            | MotionMessage::Relative { seq, .. }
            | MotionMessage::Touch { seq, .. }
            | MotionMessage::Pad { seq, .. } => *seq,
        }
    }
}

/// Client to streamer on `general`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum GeneralRequest {
    /// Resizes the desktop in a slot. Controllers only.
    Resize {
        /// Slot whose source is resized.
        slot: SlotIndex,
        /// Pixels, even.
        width: u32,
        /// Pixels, even.
        height: u32,
    },
    /// Asks for a [`GeneralMessage::Pong`], for measuring the round trip.
    Ping {
        /// Returned unchanged in the reply.
        token: u32,
    },
    /// Asks what the streamer's clock says.
    Clock {
        /// Returned unchanged in the reply.
        token: u32,
    },
    /// Tells how late this client has seen pictures lately. One every ten seconds is enough.
    Latency(LatencyReport),
}

/// Streamer to client on `general`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum GeneralMessage {
    /// The cursor over the source in a slot has this shape now.
    Cursor {
        /// Slot it belongs to.
        slot: SlotIndex,
        /// The shape; absent while the cursor is hidden.
        shape: Option<CursorShape>,
    },
    /// Somebody else moved the pointer.
    CursorPosition {
        /// Slot it belongs to.
        slot: SlotIndex,
        /// Where it is now.
        at: Position,
    },
    /// Where others point now, of those who have moved: to clients whose `hello` had `pointers`.
    Pointers {
        /// Each actor once, at most [`MAX_POINTINGS`]. Never this client itself.
        pointers: Vec<Pointing>,
    },
    /// Something was copied to the session's clipboard, perhaps the same as before. Controllers only.
    Clipboard {
        /// At most [`MAX_TEXT`] bytes; empty when it offers no text.
        text: String,
        /// The same with its layout, if it is offered and fits into the message.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        html: Option<String>,
        /// All that it offers. A picture is fetched by `GET …/clipboard?type=image/png`.
        types: Vec<ClipboardType>,
    },
    /// A file was finished in `Downloads` of the session's home, which `GET …/files/{path}` returns. Controllers only.
    Download {
        /// The file.
        file: FileEntry,
    },
    /// A gamepad of this client is to rumble until the next such message.
    Rumble {
        /// Slot it plays in.
        slot: SlotIndex,
        /// Which of this client's.
        pad: u8,
        /// The slow, strong motor, 0 to 1.
        strong: f32,
        /// The fast, weak motor, 0 to 1.
        weak: f32,
    },
    /// What this client's network carries has changed, as far as the pictures that it is sent depend on it.
    Path {
        /// What it allows for pictures, kilobits per second; absent while it has shown no limit.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        allows_kbps: Option<u32>,
        /// Pictures have less detail than without that limit, or there are fewer of them.
        reduced: bool,
    },
    /// The reply to a ping.
    Pong {
        /// The ping's token.
        token: u32,
    },
    /// What the streamer's clock says: pictures tell by their RTP timestamps when they were captured.
    Clock {
        /// The request's token.
        token: u32,
        /// The clock, in ticks of 90 kHz.
        ticks: u64,
        /// What is added to it, modulo 2^32, for the timestamps of each slot.
        offsets: Vec<u32>,
    },
    /// A message of this client was refused.
    Error {
        /// Channel it came on.
        channel: String,
        /// Stable, for programs.
        code: String,
        /// A description, for people; it may change.
        message: String,
    },
}

/// Where somebody points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Pointing {
    /// Who; `participants` has the name. Absent: programs, by REST.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub peer_id: Option<PeerId>,
    /// Where; absent: nowhere any more, as it has left or may not steer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub place: Option<Place>,
}

/// A point of what a source shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
pub struct Place {
    /// Name of the source.
    pub source: SourceName,
    /// The pixel of its picture; may lie outside of it.
    pub at: Position,
}

/// A picture of the cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct CursorShape {
    /// Width in pixels.
    pub width: u16,
    /// Height in pixels.
    pub height: u16,
    /// The point of the picture that points.
    pub hot_x: u16,
    /// The point of the picture that points.
    pub hot_y: u16,
    /// A PNG with alpha, base64.
    pub png: String,
}

/// One command of `POST /api/streamers/{id}/input`, for programs that steer a session.
///
/// Presses that are not followed by their release end by themselves after `hold_ms`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case", deny_unknown_fields)]
pub enum InputCommand {
    /// A key by its place on the keyboard.
    Key {
        /// The key, by its place.
        code: KeyCode,
        /// Press and release, or only one of them.
        #[serde(default)]
        action: KeyAction,
        /// After how long a `down` is released by itself.
        #[serde(default = "default_hold_ms")]
        hold_ms: u32,
    },
    /// Keys pressed in this order and released in the opposite one: `["ControlLeft", "KeyC"]`.
    Chord {
        /// At most [`MAX_HELD`].
        codes: Vec<KeyCode>,
    },
    /// Types a text, whatever the layout; a newline is Enter.
    Text {
        /// At most [`MAX_TYPED`] characters.
        text: String,
    },
    /// Moves the pointer.
    Pointer {
        /// The position to move to.
        at: Position,
    },
    /// Moves the pointer to a position, or by a distance, or both in this order.
    Move {
        /// The position to move to; without it the pointer moves by `dx` and `dy`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// Pixels to the right.
        #[serde(default)]
        dx: f64,
        /// Pixels downwards.
        #[serde(default)]
        dy: f64,
    },
    /// Moves the pointer while a button is held: what lies at one position is dragged to another.
    Drag {
        /// Where the button goes down.
        from: Position,
        /// Where it is released.
        to: Position,
        /// Which button; the left one, if absent.
        #[serde(default = "left", deserialize_with = "button")]
        #[ts(as = "ButtonOrName")]
        #[schema(value_type = ButtonOrName)]
        button: Button,
        /// How long that takes, in milliseconds; at most 10 000.
        #[serde(default = "default_drag_ms")]
        duration_ms: u32,
    },
    /// Lets time pass before what follows.
    Wait {
        /// Milliseconds, at most 10 000; all waits and drags of a request together at most 30 000.
        ms: u32,
    },
    /// Presses and releases a button.
    Click {
        /// Where; where the pointer is, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// Which button; the left one, if absent.
        #[serde(default = "left", deserialize_with = "button")]
        #[ts(as = "ButtonOrName")]
        #[schema(value_type = ButtonOrName)]
        button: Button,
        /// How often; 2 is a double click. From 1 to 10.
        #[serde(default = "once")]
        count: u8,
    },
    /// A mouse button.
    Button {
        /// The button.
        #[serde(deserialize_with = "button")]
        #[ts(as = "ButtonOrName")]
        #[schema(value_type = ButtonOrName)]
        button: Button,
        /// Press and release, or only one of them.
        #[serde(default)]
        action: KeyAction,
        /// Where; where the pointer is, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
        /// After how long a `down` is released by itself.
        #[serde(default = "default_hold_ms")]
        hold_ms: u32,
    },
    /// Turns the wheel, in notches; positive is down and right.
    Wheel {
        /// Notches to the right.
        #[serde(default)]
        dx: f64,
        /// Notches downwards.
        #[serde(default)]
        dy: f64,
        /// Where; where the pointer is, if absent.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        at: Option<Position>,
    },
}

fn default_hold_ms() -> u32 {
    DEFAULT_HOLD_MS
}
fn default_drag_ms() -> u32 {
    DEFAULT_DRAG_MS
}
fn left() -> Button {
    Button::LEFT
}
fn once() -> u8 {
    1
}

/// What to do with a key or button.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum KeyAction {
    /// Press and release.
    #[default]
    Tap,
    /// Press; released by `up` or after `hold_ms`.
    Down,
    /// Releases it.
    Up,
}

/// Who sent input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Actor {
    /// A peer, by its id.
    Peer(PeerId),
    /// A program by `POST /input`.
    Api,
}

/// Decodes a message of the channel `keys`.
///
/// # Errors
/// [`InvalidInput`] says what is wrong; nothing of the message is used then.
pub fn decode_keys(bytes: &[u8]) -> Result<KeysMessage, InvalidInput> {
    let message: KeysMessage = decode(bytes)?;
    message.validate()?;
    Ok(message)
}

/// Decodes a message of the channel `motion`.
///
/// # Errors
/// As [`decode_keys`].
pub fn decode_motion(bytes: &[u8]) -> Result<MotionMessage, InvalidInput> {
    let message: MotionMessage = decode(bytes)?;
    message.validate()?;
    Ok(message)
}

/// Decodes a message of the channel `general`.
///
/// # Errors
/// As [`decode_keys`].
pub fn decode_general(bytes: &[u8]) -> Result<GeneralRequest, InvalidInput> {
    let message: GeneralRequest = decode(bytes)?;
    match &message {
        GeneralRequest::Resize { width, height, .. } => {
            crate::spec::validate_size(*width, *height).map_err(|e| InvalidInput::Size(e.to_string()))?;
        }
        GeneralRequest::Latency(report) => report.validate().map_err(InvalidInput::Latency)?,
        GeneralRequest::Ping { .. } | GeneralRequest::Clock { .. } => {}
    }
    Ok(message)
}

fn decode<'a, T: Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, InvalidInput> {
    if bytes.len() > MAX_CHANNEL_MESSAGE {
        return Err(InvalidInput::TooLong(bytes.len()));
    }
    serde_json::from_slice(bytes).map_err(|e| InvalidInput::Malformed(e.to_string()))
}

impl KeysMessage {
    fn validate(&self) -> Result<(), InvalidInput> {
        match self {
            KeysMessage::Text { text, .. } => validate_typed(text),
            KeysMessage::Button { at, .. } => at.map_or(Ok(()), |at| at.validate("at")),
            KeysMessage::Wheel { dx, dy, .. } => validate_wheel(*dx, *dy),
            KeysMessage::Held { codes, chars, buttons, touches, .. } => {
                let len = codes.len() + chars.len() + buttons.len() + touches.len();
                if len > MAX_HELD { Err(InvalidInput::Held) } else { Ok(()) }
            }
            KeysMessage::Touch { at, .. } => at.validate("at"),
            KeysMessage::Pad { pad, state, .. } => {
                validate_pad(*pad)?;
                validate_axes(&state.triggers, &state.sticks)
            }
            KeysMessage::PadGone { pad, .. } => validate_pad(*pad),
            KeysMessage::Clipboard { text, html } => {
                validate_clipboard(text)?;
                html.as_deref().map_or(Ok(()), validate_clipboard)
            }
            KeysMessage::ClipboardPicture { .. }
            | KeysMessage::Key { .. }
            | KeysMessage::Char { .. }
            | KeysMessage::Locks { .. }
            | KeysMessage::Blur => Ok(()),
        }
    }
}

impl MotionMessage {
    fn validate(&self) -> Result<(), InvalidInput> {
        match self {
            MotionMessage::Pointer { at, .. } => at.validate("at"),
            MotionMessage::Relative { total_x, total_y, .. } => {
                finite("totalX", *total_x).and(finite("totalY", *total_y))
            }
            MotionMessage::Touch { at, .. } => at.validate("at"),
            MotionMessage::Pad { pad, triggers, sticks, .. } => {
                validate_pad(*pad)?;
                validate_axes(triggers, sticks)
            }
        }
    }
}

impl InputCommand {
    /// Checks every bound.
    ///
    /// # Errors
    /// The first rule that is broken, with the name of its field.
    pub fn validate(&self) -> Result<(), InvalidInput> {
        for (field, at) in self.positions() {
            at.validate(field)?;
        }
        match self {
            InputCommand::Key { hold_ms, .. } | InputCommand::Button { hold_ms, .. } => {
                validate_hold(*hold_ms)
            }
            InputCommand::Chord { codes } => at_most("codes", codes.len(), MAX_HELD),
            InputCommand::Text { text } => validate_typed(text),
            InputCommand::Pointer { .. } => Ok(()),
            InputCommand::Move { at: None, dx: 0.0, dy: 0.0 } => Err(InvalidInput::NoMove),
            InputCommand::Move { dx, dy, .. } => finite("dx", *dx).and(finite("dy", *dy)),
            InputCommand::Drag { duration_ms, .. } => validate_wait("duration_ms", *duration_ms),
            InputCommand::Wait { ms } => validate_wait("ms", *ms),
            InputCommand::Click { count, .. } => {
                if (1..=MAX_COUNT).contains(count) {
                    Ok(())
                } else {
                    Err(InvalidInput::Count(*count))
                }
            }
            InputCommand::Wheel { dx, dy, .. } => validate_wheel(*dx, *dy),
        }
    }

    /// Checks that every position is in a picture of this size: one that a program has seen elsewhere is a mistake of
    /// its own, which must not become a click at the edge.
    ///
    /// # Errors
    /// [`InvalidInput::Outside`] names the first that is not.
    pub fn validate_inside(&self, width: u32, height: u32) -> Result<(), InvalidInput> {
        for (field, Position { x, y }) in self.positions() {
            let inside = (0.0..f64::from(width)).contains(&x) && (0.0..f64::from(height)).contains(&y);
            if !inside {
                return Err(InvalidInput::Outside { field, x, y, width, height });
            }
        }
        Ok(())
    }

    /// How long it takes by itself, in milliseconds.
    pub fn takes_ms(&self) -> u32 {
        match self {
            InputCommand::Wait { ms } => *ms,
            InputCommand::Drag { duration_ms, .. } => *duration_ms,
            _ => 0,
        }
    }

    /// Its positions, each with its field.
    fn positions(&self) -> impl Iterator<Item = (&'static str, Position)> {
        let named = match self {
            InputCommand::Pointer { at } => [Some(("at", *at)), None],
            InputCommand::Move { at, .. }
            | InputCommand::Click { at, .. }
            | InputCommand::Button { at, .. }
            | InputCommand::Wheel { at, .. } => [at.map(|at| ("at", at)), None],
            InputCommand::Drag { from, to, .. } => [Some(("from", *from)), Some(("to", *to))],
            InputCommand::Key { .. }
            | InputCommand::Chord { .. }
            | InputCommand::Text { .. }
            | InputCommand::Wait { .. } => [None, None],
        };
        named.into_iter().flatten()
    }
}

/// Checks the commands of one request, each and all together.
///
/// # Errors
/// The index of the first command that breaks a rule, and which.
pub fn validate_commands(commands: &[InputCommand]) -> Result<(), (usize, InvalidInput)> {
    let mut total = 0u32;
    for (index, command) in commands.iter().enumerate() {
        command.validate().map_err(|error| (index, error))?;
        total = total.saturating_add(command.takes_ms());
        if total > MAX_TOTAL_WAIT_MS {
            return Err((index, InvalidInput::TotalWait));
        }
    }
    Ok(())
}

impl Position {
    fn validate(self, field: &'static str) -> Result<(), InvalidInput> {
        finite(field, self.x).and(finite(field, self.y))
    }
}

fn validate_clipboard(text: &str) -> Result<(), InvalidInput> {
    match text.len() {
        len if len > MAX_TEXT => Err(InvalidInput::Text { len, max: MAX_TEXT, unit: "bytes" }),
        _ => Ok(()),
    }
}

fn validate_typed(text: &str) -> Result<(), InvalidInput> {
    match text.chars().count() {
        len if len > MAX_TYPED => Err(InvalidInput::Text { len, max: MAX_TYPED, unit: "characters" }),
        _ => Ok(()),
    }
}

/// More notches than this in one event come from no wheel.
const MAX_NOTCHES: f64 = 100.0;

fn validate_wheel(dx: f64, dy: f64) -> Result<(), InvalidInput> {
    for (field, value) in [("dx", dx), ("dy", dy)] {
        if !(value.is_finite() && value.abs() <= MAX_NOTCHES) {
            return Err(InvalidInput::Number(field));
        }
    }
    Ok(())
}

fn validate_pad(pad: u8) -> Result<(), InvalidInput> {
    if pad < MAX_PADS { Ok(()) } else { Err(InvalidInput::Pad(pad)) }
}

fn validate_axes(triggers: &[f32; 2], sticks: &[f32; 4]) -> Result<(), InvalidInput> {
    // What is no number is in no range.
    if !triggers.iter().all(|trigger| (0.0..=1.0).contains(trigger)) {
        return Err(InvalidInput::Axis("triggers"));
    }
    if !sticks.iter().all(|stick| (-1.0..=1.0).contains(stick)) {
        return Err(InvalidInput::Axis("sticks"));
    }
    Ok(())
}

fn validate_hold(hold_ms: u32) -> Result<(), InvalidInput> {
    if hold_ms > MAX_HOLD_MS { Err(InvalidInput::Hold) } else { Ok(()) }
}

fn validate_wait(field: &'static str, ms: u32) -> Result<(), InvalidInput> {
    if ms > MAX_WAIT_MS { Err(InvalidInput::Wait(field)) } else { Ok(()) }
}

fn at_most(field: &'static str, len: usize, max: usize) -> Result<(), InvalidInput> {
    if len > max { Err(InvalidInput::TooMany { field, max }) } else { Ok(()) }
}

fn finite(field: &'static str, value: f64) -> Result<(), InvalidInput> {
    let ok = value.is_finite() && value.abs() <= MAX_COORDINATE;
    if ok { Ok(()) } else { Err(InvalidInput::Number(field)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_input_is_refused_with_its_field() {
        for (json, expected) in [
            (r#"{"type":"key","slot":0,"code":"","down":true}"#, "code"),
            (r#"{"type":"key","slot":0,"code":"Key A","down":true}"#, "code"),
            (r#"{"type":"button","slot":0,"button":10,"down":true}"#, "button"),
            (r#"{"type":"button","slot":0,"button":0,"down":true}"#, "button"),
            (r#"{"type":"wheel","slot":0,"dx":0,"dy":1e30}"#, "dy"),
            (r#"{"type":"pad-gone","slot":0,"pad":4}"#, "pad"),
            (
                r#"{"type":"pad","slot":0,"pad":0,"kind":"xbox","state":{"buttons":0,"triggers":[0,2],"sticks":[0,0,0,0]}}"#,
                "triggers",
            ),
            (r#"{"type":"touch","slot":0,"touch":1,"down":true,"at":{"x":1e300,"y":0}}"#, "at"),
            (r#"{"type":"kye"}"#, "kye"),
            ("{", "EOF"),
            ("", "EOF"),
        ] {
            let error = decode_keys(json.as_bytes()).unwrap_err().to_string();
            assert!(error.contains(expected), "{json}: {error}");
        }
        assert!(matches!(decode_keys(&vec![b' '; MAX_CHANNEL_MESSAGE + 1]), Err(InvalidInput::TooLong(_))));
    }

    fn command(json: &str) -> InputCommand {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn the_words_that_people_expect_are_understood() {
        for (json, number) in [
            (r#"{"type":"click"}"#, 1),
            (r#"{"type":"click","button":"middle"}"#, 2),
            (r#"{"type":"button","button":"right"}"#, 3),
            (r#"{"type":"button","button":8}"#, 8),
            (r#"{"type":"drag","from":{"x":0,"y":0},"to":{"x":1,"y":1},"button":"forward"}"#, 9),
        ] {
            let read = command(json);
            let (InputCommand::Click { button, .. }
            | InputCommand::Button { button, .. }
            | InputCommand::Drag { button, .. }) = read
            else {
                panic!("{read:?}")
            };
            assert_eq!(button.number(), number, "{json}");
            assert_eq!(command(&serde_json::to_string(&read).unwrap()), read);
        }
        for json in [
            r#"{"type":"move","at":{"x":5,"y":6}}"#,
            r#"{"type":"move","dx":5}"#,
            r#"{"type":"wait","ms":5}"#,
        ] {
            assert_eq!(command(json).validate(), Ok(()), "{json}");
        }
        let unknown = serde_json::from_str::<InputCommand>(r#"{"type":"click","button":"up"}"#).unwrap_err();
        assert!(unknown.to_string().contains("left, middle, right"), "{unknown}");
    }

    #[test]
    fn a_command_that_makes_no_sense_is_refused_with_its_field() {
        for (json, expected) in [
            (r#"{"type":"click","count":0}"#, "count"),
            (r#"{"type":"click","count":11}"#, "count"),
            (r#"{"type":"move"}"#, "at"),
            (r#"{"type":"wait","ms":10001}"#, "ms"),
            (r#"{"type":"drag","from":{"x":0,"y":0},"to":{"x":1e300,"y":1}}"#, "to"),
            (r#"{"type":"drag","from":{"x":0,"y":0},"to":{"x":1,"y":1},"duration_ms":10001}"#, "duration_ms"),
        ] {
            let error = command(json).validate().unwrap_err().to_string();
            assert!(error.starts_with(expected), "{json}: {error}");
        }
        let waits = vec![InputCommand::Wait { ms: MAX_WAIT_MS }; 4];
        assert_eq!(validate_commands(&waits[..3]), Ok(()));
        assert_eq!(validate_commands(&waits), Err((3, InvalidInput::TotalWait)));
    }

    #[test]
    fn a_position_is_inside_the_picture_or_refused() {
        let inside = |json: &str| command(json).validate_inside(640, 480);
        assert_eq!(inside(r#"{"type":"click","at":{"x":0,"y":479.9}}"#), Ok(()));
        assert_eq!(inside(r#"{"type":"click"}"#), Ok(()));
        for json in [
            r#"{"type":"click","at":{"x":640,"y":0}}"#,
            r#"{"type":"pointer","at":{"x":-1,"y":0}}"#,
            r#"{"type":"move","at":{"x":0,"y":480}}"#,
            r#"{"type":"wheel","dy":1,"at":{"x":5000,"y":10}}"#,
            r#"{"type":"drag","from":{"x":0,"y":0},"to":{"x":640,"y":1}}"#,
        ] {
            let error = inside(json).unwrap_err().to_string();
            assert!(error.contains("outside of the picture, which has 640x480"), "{error}");
        }
    }

    #[test]
    fn unknown_fields_are_ignored() {
        let json = r#"{"type":"pointer","slot":0,"seq":1,"at":{"x":1,"y":2},"pressure":0.5}"#;
        assert!(decode_motion(json.as_bytes()).is_ok());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_keys(&bytes);
            let _ = decode_motion(&bytes);
            let _ = decode_general(&bytes);
        }
    }
}
