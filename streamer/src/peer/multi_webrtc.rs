//! The data channels of pages that were written for the multi-peer WebRTC branch of moonlight-web-stream: binary
//! messages, translated to those of our own channels. Pure: bytes and a time in, input out. The layouts are in
//! `docs/COMPAT.md`.
//!
//! All numbers are big-endian; the first byte is the type. Messages that are too short or of an unknown type are ignored, and so are
//! bytes after a message. These pages send presses and releases, and nothing in between, so
//! [`Client`] repeats for them what they hold, as long as their connection lives.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::id::SlotIndex;
use common::input::{
    Button, GeneralMessage, HELD_REPEAT_MS, KeyCode, KeysMessage, MAX_HELD, MAX_PADS, MAX_TOUCHES,
    MotionMessage, PadKind, PadState, Position,
};

/// The slot of these pages, which know one picture.
const SLOT: SlotIndex = 0;
/// Units of the wheel that make a notch.
const NOTCH: f64 = 120.0;
/// Most notches of one message of the coarse wheel: some pages send [`NOTCH`] units where notches are expected.
const MAX_NOTCHES: f64 = 10.0;
/// A touch without updates for this long has ended: pages do not report one that leaves the picture.
const TOUCH_SILENCE: Duration = Duration::from_secs(5);
const REPEAT: Duration = Duration::from_millis(HELD_REPEAT_MS);

/// A channel of theirs, by its label.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// `keyboard`.
    Keyboard,
    /// `mouse`, `mouseClicks`, `mouseAbsolute`, `mouseRelative`: the same messages on each.
    Mouse,
    /// `touch`.
    Touch,
    /// `controllers`.
    Controllers,
    /// `controller0` to `controller15`.
    Controller(u8),
}

impl Channel {
    /// The channel of a label; `None` for an unknown one.
    pub fn of(label: &str) -> Option<Self> {
        match label {
            "keyboard" => Some(Self::Keyboard),
            "mouse" | "mouseClicks" | "mouseAbsolute" | "mouseRelative" => Some(Self::Mouse),
            "touch" => Some(Self::Touch),
            "controllers" => Some(Self::Controllers),
            _ => {
                let number = label.strip_prefix("controller")?;
                let number = number.parse().ok().filter(|n: &u8| *n < 16 && n.to_string() == number)?;
                Some(Self::Controller(number))
            }
        }
    }

    /// For logs.
    pub fn label(self) -> &'static str {
        match self {
            Self::Keyboard => "keyboard",
            Self::Mouse => "mouse",
            Self::Touch => "touch",
            Self::Controllers => "controllers",
            Self::Controller(_) => "controller",
        }
    }
}

/// A translated message.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message of the channel `keys`.
    Keys(KeysMessage),
    /// A message of the channel `motion`.
    Motion(MotionMessage),
}

/// One of these pages.
#[derive(Debug, Default)]
pub struct Client {
    seq: u32,
    /// Sum of all relative motion.
    total: (f64, f64),
    /// Where the pointer is, while it is moved by positions.
    at: Option<Position>,
    keys: BTreeSet<KeyCode>,
    buttons: BTreeSet<Button>,
    /// Touches, and when each was last updated.
    touches: BTreeMap<u32, Instant>,
    pads: BTreeMap<u8, Pad>,
    /// When what is held is repeated next.
    repeat_at: Option<Instant>,
}

#[derive(Debug)]
struct Pad {
    state: PadState,
    /// When all of it was last passed on.
    told: Instant,
}

impl Client {
    /// A message. `size` is that of the picture, in pixels; zeros while there is none.
    pub fn take(&mut self, now: Instant, channel: Channel, bytes: &[u8], size: (u32, u32)) -> Option<Input> {
        let mut reader = Reader(bytes);
        let input = match channel {
            Channel::Keyboard => self.keyboard(&mut reader).map(Input::Keys),
            Channel::Mouse => self.mouse(&mut reader, size),
            Channel::Touch => self.touch(now, &mut reader, size),
            Channel::Controllers => self.controllers(&mut reader).map(Input::Keys),
            Channel::Controller(number) => self.pad(now, number, &mut reader),
        };
        if self.repeat_at.is_none() && self.holds() {
            self.repeat_at = Some(now + REPEAT);
        }
        input
    }

    /// When [`Client::repeat`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.repeat_at
    }

    /// Everything that is held, if it is time to repeat it.
    pub fn repeat(&mut self, now: Instant) -> Option<KeysMessage> {
        self.repeat_at.filter(|at| now >= *at)?;
        self.touches.retain(|_, heard| now.saturating_duration_since(*heard) < TOUCH_SILENCE);
        self.repeat_at = self.holds().then(|| now + REPEAT);
        Some(KeysMessage::Held {
            slot: SLOT,
            codes: self.keys.iter().cloned().collect(),
            chars: Vec::new(),
            buttons: self.buttons.iter().copied().collect(),
            touches: self.touches.keys().copied().collect(),
        })
    }

    fn holds(&self) -> bool {
        !(self.keys.is_empty() && self.buttons.is_empty() && self.touches.is_empty())
    }

    fn keyboard(&mut self, reader: &mut Reader<'_>) -> Option<KeysMessage> {
        match reader.u8()? {
            0 => {
                let down = reader.u8()? != 0;
                // Modifiers come as keys as well.
                reader.u8()?;
                let code = key_code(reader.u16()?)?;
                keep(&mut self.keys, code.clone(), down);
                Some(KeysMessage::Key { slot: SLOT, code, down })
            }
            1 => {
                // Of UTF-16 units, while what follows is UTF-8, with whatever was left in the buffer behind it.
                let units = usize::from(reader.u8()?);
                let valid = reader.0.utf8_chunks().next().map_or("", |chunk| chunk.valid());
                let mut seen = 0;
                let text: String = valid
                    .chars()
                    .take_while(|c| {
                        seen += c.len_utf16();
                        seen <= units
                    })
                    .collect();
                (!text.is_empty()).then_some(KeysMessage::Text { slot: SLOT, text })
            }
            _ => None,
        }
    }

    fn mouse(&mut self, reader: &mut Reader<'_>, size: (u32, u32)) -> Option<Input> {
        match reader.u8()? {
            0 => {
                let dx = reader.i16()?;
                let dy = reader.i16()?;
                self.total.0 += f64::from(dx);
                self.total.1 += f64::from(dy);
                self.at = None;
                let (total_x, total_y) = self.total;
                Some(Input::Motion(MotionMessage::Relative {
                    slot: SLOT,
                    seq: self.next(),
                    total_x,
                    total_y,
                }))
            }
            1 => {
                let x = reader.i16()?;
                let y = reader.i16()?;
                let width = reader.i16()?;
                let height = reader.i16()?;
                if width <= 0 || height <= 0 {
                    return None;
                }
                let x = f64::from(x) / f64::from(width);
                let y = f64::from(y) / f64::from(height);
                let at = position(x, y, size)?;
                self.at = Some(at);
                Some(Input::Motion(MotionMessage::Pointer { slot: SLOT, seq: self.next(), at }))
            }
            2 => {
                let down = reader.u8()? != 0;
                let button = Button::new(match reader.u8()? {
                    number @ 1..=3 => number,
                    // X counts the wheel before these.
                    number @ 4..=5 => number + 4,
                    _ => return None,
                });
                let button = button.ok()?;
                keep(&mut self.buttons, button, down);
                Some(Input::Keys(KeysMessage::Button { slot: SLOT, button, down, at: self.at }))
            }
            3 => {
                let dx = f64::from(reader.i16()?);
                let dy = f64::from(reader.i16()?);
                Some(wheel(dx / NOTCH, dy / NOTCH))
            }
            4 => {
                let dx = f64::from(reader.i8()?);
                let dy = f64::from(reader.i8()?);
                let notches = |n: f64| if n.abs() > MAX_NOTCHES { n / NOTCH } else { n };
                Some(wheel(notches(dx), notches(dy)))
            }
            _ => None,
        }
    }

    fn touch(&mut self, now: Instant, reader: &mut Reader<'_>, size: (u32, u32)) -> Option<Input> {
        let kind = reader.u8()?;
        let touch = reader.u32()?;
        let x = f64::from(reader.f32()?);
        let y = f64::from(reader.f32()?);
        // Force and radii are not used, but a message without them is incomplete.
        reader.skip(14)?;
        let at = position(x, y, size)?;
        match kind {
            0 => {
                if self.touches.len() >= MAX_TOUCHES && !self.touches.contains_key(&touch) {
                    return None;
                }
                self.touches.insert(touch, now);
                Some(Input::Keys(KeysMessage::Touch { slot: SLOT, touch, down: true, at }))
            }
            1 => {
                *self.touches.get_mut(&touch)? = now;
                Some(Input::Motion(MotionMessage::Touch { slot: SLOT, seq: self.next(), touch, at }))
            }
            2 => {
                self.touches.remove(&touch);
                Some(Input::Keys(KeysMessage::Touch { slot: SLOT, touch, down: false, at }))
            }
            _ => None,
        }
    }

    fn controllers(&mut self, reader: &mut Reader<'_>) -> Option<KeysMessage> {
        match reader.u8()? {
            // A gamepad counts as added by its first state: the number in this message may be another one's.
            1 => {
                let pad = reader.u8()?;
                self.pads.remove(&pad)?;
                Some(KeysMessage::PadGone { slot: SLOT, pad })
            }
            _ => None,
        }
    }

    fn pad(&mut self, now: Instant, pad: u8, reader: &mut Reader<'_>) -> Option<Input> {
        if reader.u8()? != 0 || pad >= MAX_PADS {
            return None;
        }
        let buttons = pad_buttons(reader.u32()?);
        let triggers = [reader.u8()?, reader.u8()?].map(|trigger| f32::from(trigger) / 255.0);
        let stick = |value: i16| (f32::from(value) / f32::from(i16::MAX)).clamp(-1.0, 1.0);
        let [left_x, left_y] = [reader.i16()?, reader.i16()?].map(stick);
        let [right_x, right_y] = [reader.i16()?, reader.i16()?].map(stick);
        // Their y axis points up.
        let state = PadState { buttons, triggers, sticks: [left_x, -left_y, right_x, -right_y] };
        let known = self.pads.get(&pad);
        let due = known.is_none_or(|known| known.state.buttons != buttons || now >= known.told + REPEAT);
        if due {
            self.pads.insert(pad, Pad { state, told: now });
            return Some(Input::Keys(KeysMessage::Pad { slot: SLOT, pad, kind: PadKind::Unknown, state }));
        }
        let known = self.pads.get_mut(&pad).filter(|known| known.state != state)?;
        known.state = state;
        let sticks = state.sticks;
        let seq = self.next();
        Some(Input::Motion(MotionMessage::Pad { slot: SLOT, seq, pad, triggers, sticks }))
    }

    fn next(&mut self) -> u32 {
        self.seq = self.seq.wrapping_add(1);
        self.seq
    }
}

/// Translates one of our messages to bytes for the channel `controllers`; `None` for those that these pages do not know.
pub fn translate(text: &str) -> Option<Vec<u8>> {
    let GeneralMessage::Rumble { pad, strong, weak, .. } = serde_json::from_str(text).ok()? else {
        return None;
    };
    let motor = |strength: f32| (strength.clamp(0.0, 1.0) * f32::from(u16::MAX)).round() as u16;
    let mut bytes = vec![0, pad];
    bytes.extend(motor(strong).to_be_bytes());
    bytes.extend(motor(weak).to_be_bytes());
    Some(bytes)
}

/// Notes that something is held or not.
fn keep<T: Ord>(held: &mut BTreeSet<T>, what: T, down: bool) {
    if !down {
        held.remove(&what);
    } else if held.len() < MAX_HELD {
        held.insert(what);
    }
}

/// Their axes point up and right.
fn wheel(right: f64, up: f64) -> Input {
    Input::Keys(KeysMessage::Wheel { slot: SLOT, dx: right, dy: -up })
}

/// Pixels of a picture, from fractions of it.
fn position(x: f64, y: f64, (width, height): (u32, u32)) -> Option<Position> {
    if width == 0 || height == 0 || !x.is_finite() || !y.is_finite() {
        return None;
    }
    let within = |fraction: f64, side: u32| fraction.clamp(0.0, 1.0) * f64::from(side);
    Some(Position { x: within(x, width), y: within(y, height) })
}

/// Buttons of the standard mapping for theirs, bit by bit, by the name of the button on the gamepad.
fn pad_buttons(theirs: u32) -> u32 {
    const BUTTONS: [(u32, u32); 15] = [
        (0x1000, 0),
        (0x2000, 1),
        (0x4000, 2),
        (0x8000, 3),
        (0x100, 4),
        (0x200, 5),
        (0x20, 8),
        (0x10, 9),
        (0x40, 10),
        (0x80, 11),
        (0x1, 12),
        (0x2, 13),
        (0x4, 14),
        (0x8, 15),
        (0x400, 16),
    ];
    BUTTONS.iter().filter(|(bit, _)| theirs & bit != 0).map(|(_, button)| 1 << button).sum()
}

/// The key of a Windows virtual-key code, by its place on a US keyboard.
fn key_code(code: u16) -> Option<KeyCode> {
    let named = match code {
        0x08 => "Backspace",
        0x09 => "Tab",
        0x0d => "Enter",
        0x10 => "ShiftLeft",
        0x11 => "ControlLeft",
        0x12 => "AltLeft",
        0x13 => "Pause",
        0x14 => "CapsLock",
        0x15 => "Lang1",
        0x17 => "Lang2",
        0x1b => "Escape",
        0x1c => "Convert",
        0x1d => "NonConvert",
        0x20 => "Space",
        0x21 => "PageUp",
        0x22 => "PageDown",
        0x23 => "End",
        0x24 => "Home",
        0x25 => "ArrowLeft",
        0x26 => "ArrowUp",
        0x27 => "ArrowRight",
        0x28 => "ArrowDown",
        0x29 => "Select",
        0x2c => "PrintScreen",
        0x2d => "Insert",
        0x2e => "Delete",
        0x5b => "MetaLeft",
        0x5c => "MetaRight",
        0x5d => "ContextMenu",
        0x5f => "Sleep",
        0x6a => "NumpadMultiply",
        0x6b => "NumpadAdd",
        0x6c => "NumpadComma",
        0x6d => "NumpadSubtract",
        0x6e => "NumpadDecimal",
        0x6f => "NumpadDivide",
        0x90 => "NumLock",
        0x91 => "ScrollLock",
        0xa0 => "ShiftLeft",
        0xa1 => "ShiftRight",
        0xa2 => "ControlLeft",
        0xa3 => "ControlRight",
        0xa4 => "AltLeft",
        0xa5 => "AltRight",
        0xa6 => "BrowserBack",
        0xa7 => "BrowserForward",
        0xa8 => "BrowserRefresh",
        0xa9 => "BrowserStop",
        0xaa => "BrowserSearch",
        0xab => "BrowserFavorites",
        0xac => "BrowserHome",
        0xad => "AudioVolumeMute",
        0xae => "AudioVolumeDown",
        0xaf => "AudioVolumeUp",
        0xb0 => "MediaTrackNext",
        0xb1 => "MediaTrackPrevious",
        0xb2 => "MediaStop",
        0xb3 => "MediaPlayPause",
        0xb4 => "LaunchMail",
        0xb5 => "MediaSelect",
        0xb6 => "LaunchApp1",
        0xb7 => "LaunchApp2",
        0xba => "Semicolon",
        0xbb => "Equal",
        0xbc => "Comma",
        0xbd => "Minus",
        0xbe => "Period",
        0xbf => "Slash",
        0xc0 => "Backquote",
        0xdb => "BracketLeft",
        0xdc => "Backslash",
        0xdd => "BracketRight",
        0xde => "Quote",
        0xe2 => "IntlBackslash",
        _ => {
            let numbered = match code {
                0x30..=0x39 => format!("Digit{}", code - 0x30),
                0x41..=0x5a => format!("Key{}", char::from(code as u8)),
                0x60..=0x69 => format!("Numpad{}", code - 0x60),
                0x70..=0x87 => format!("F{}", code - 0x6f),
                _ => return None,
            };
            return KeyCode::parse(numbered).ok();
        }
    };
    KeyCode::parse(named).ok()
}

/// Takes numbers from the front.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Option<[u8; N]> {
        let (taken, rest) = self.0.split_first_chunk()?;
        self.0 = rest;
        Some(*taken)
    }

    fn skip(&mut self, bytes: usize) -> Option<()> {
        self.0 = self.0.get(bytes..)?;
        Some(())
    }

    fn u8(&mut self) -> Option<u8> {
        self.take().map(u8::from_be_bytes)
    }

    fn i8(&mut self) -> Option<i8> {
        self.take().map(i8::from_be_bytes)
    }

    fn u16(&mut self) -> Option<u16> {
        self.take().map(u16::from_be_bytes)
    }

    fn i16(&mut self) -> Option<i16> {
        self.take().map(i16::from_be_bytes)
    }

    fn u32(&mut self) -> Option<u32> {
        self.take().map(u32::from_be_bytes)
    }

    fn f32(&mut self) -> Option<f32> {
        self.take().map(f32::from_be_bytes)
    }
}

#[cfg(test)]
#[path = "multi_webrtc_tests.rs"]
mod tests;
