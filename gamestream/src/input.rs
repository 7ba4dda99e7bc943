//! Input, encoded as bytes of the control stream ([`crate::control::Message::Input`]).

use crate::keys::Key;

/// Most gamepads of a session.
pub const MAX_PADS: u8 = 16;

/// An input for the host.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Input {
    /// A key goes down or up.
    Key {
        /// Which.
        key: Key,
        /// Down, or up.
        down: bool,
        /// Modifiers that are down, see [`crate::keys::modifier`].
        modifiers: u8,
    },
    /// A character is typed.
    Character(char),
    /// Relative motion of the pointer, to the right and down.
    MoveBy(i16, i16),
    /// The pointer is at a point of a picture of this size.
    MoveTo {
        /// Pixels from the left.
        x: i16,
        /// Pixels from the top.
        y: i16,
        /// Width in pixels.
        width: i16,
        /// Height in pixels.
        height: i16,
    },
    /// A mouse button: 1 left, 2 middle, 3 right, 4 back, 5 forward.
    Button {
        /// Number of the button.
        button: u8,
        /// Down, or up.
        down: bool,
    },
    /// Turn of the wheel upwards; a notch is 120.
    Scroll(i16),
    /// Turn of the wheel to the right; a notch is 120.
    ScrollRight(i16),
    /// A finger on the screen.
    Touch {
        /// Its phase.
        phase: TouchPhase,
        /// Number of the finger.
        id: u32,
        /// Horizontal position, from 0 to 1 of the width.
        x: f32,
        /// Vertical position, from 0 to 1 of the height.
        y: f32,
        /// From 0 to 1.
        pressure: f32,
    },
    /// Gamepads may shake from now on.
    EnableRumble,
    /// A gamepad was plugged in.
    PadArrived {
        /// Number of the gamepad, from 0.
        pad: u8,
        /// What kind of gamepad it is.
        kind: PadKind,
        /// Its capabilities.
        capabilities: u16,
        /// Its buttons.
        buttons: u32,
    },
    /// The complete state of a gamepad, and the set of gamepads.
    Pad {
        /// Number of the gamepad, from 0.
        pad: u8,
        /// A bit for each gamepad; without its own bit, this one is unplugged.
        present: u16,
        /// Buttons, triggers and sticks.
        state: PadState,
    },
}

/// The phase of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchPhase {
    /// Touches.
    Down,
    /// Lets go.
    Up,
    /// Moves.
    Move,
    /// It was cancelled.
    Cancel,
}

/// A make of gamepads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum PadKind {
    /// Any other.
    Unknown = 0,
    /// An Xbox gamepad.
    Xbox = 1,
    /// A PlayStation gamepad.
    PlayStation = 2,
    /// A Nintendo gamepad.
    Nintendo = 3,
    /// A Steam gamepad.
    Steam = 4,
}

/// Capabilities of a gamepad, as bits.
pub mod capability {
    /// Triggers with more than two positions.
    pub const TRIGGERS: u16 = 1;
    /// The gamepad can rumble.
    pub const RUMBLE: u16 = 2;
}

/// State of a gamepad.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PadState {
    /// See [`button`].
    pub buttons: u32,
    /// Left and right trigger.
    pub triggers: [u8; 2],
    /// Left x and y, right x and y; positive is right and up.
    pub sticks: [i16; 4],
}

/// Buttons of a gamepad, as bits.
pub mod button {
    /// Bits in the order of the standard gamepad of browsers; triggers are not buttons.
    pub const STANDARD: [u32; 17] =
        [0x1000, 0x2000, 0x4000, 0x8000, 0x100, 0x200, 0, 0, 0x20, 0x10, 0x40, 0x80, 1, 2, 4, 8, 0x400];
    /// All of them.
    pub const ALL: u32 = 0xf7ff;
}

/// Channel of a message, and whether it may be lost.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Encoded {
    /// Channel of the control stream.
    pub channel: u8,
    /// Payload of the message.
    pub payload: Vec<u8>,
}

impl Input {
    /// As it is sent.
    pub fn encode(&self) -> Encoded {
        let mut out = Writer::default();
        let channel = match *self {
            Self::Key { key, down, modifiers } => {
                out.magic(if down { 3 } else { 4 }).bytes(&[u8::from(key.raw)]);
                out.bytes(&(0x8000 | u16::from(key.code)).to_le_bytes()).bytes(&[modifiers, 0, 0]);
                2
            }
            Self::Character(char) => {
                out.magic(0x17).bytes(char.encode_utf8(&mut [0; 4]).as_bytes());
                6
            }
            Self::MoveBy(dx, dy) => {
                out.magic(7).be(&[dx, dy]);
                3
            }
            Self::MoveTo { x, y, width, height } => {
                out.magic(5).be(&[x, y, 0, width.saturating_sub(1), height.saturating_sub(1)]);
                3
            }
            Self::Button { button, down } => {
                out.magic(if down { 8 } else { 9 }).bytes(&[button]);
                3
            }
            Self::Scroll(amount) => {
                out.magic(0x0a).be(&[amount, amount, 0]);
                3
            }
            Self::ScrollRight(amount) => {
                out.magic(0x5500_0001).be(&[amount]);
                3
            }
            Self::Touch { phase, id, x, y, pressure } => {
                let phase = match phase {
                    TouchPhase::Down => 1,
                    TouchPhase::Up => 2,
                    TouchPhase::Move => 3,
                    TouchPhase::Cancel => 4,
                };
                out.magic(0x5500_0002).bytes(&[phase, 0, 0xff, 0xff]).bytes(&id.to_le_bytes());
                for value in [x, y, pressure, 0.0, 0.0] {
                    out.bytes(&value.to_le_bytes());
                }
                5
            }
            Self::EnableRumble => {
                out.magic(0x0d).bytes(&[1, 0]);
                0
            }
            Self::PadArrived { pad, kind, capabilities, buttons } => {
                out.magic(0x5500_0004).bytes(&[pad, kind as u8]);
                out.bytes(&capabilities.to_le_bytes()).bytes(&buttons.to_le_bytes());
                pad_channel(pad)
            }
            Self::Pad { pad, present, state } => {
                let [low, high] = [state.buttons as u16, (state.buttons >> 16) as u16];
                out.magic(0x0c).le(&[0x1a, u16::from(pad), present, 0x14, low]).bytes(&state.triggers);
                out.le(&state.sticks.map(|axis| axis as u16)).le(&[0x9c, high, 0x55]);
                pad_channel(pad)
            }
        };
        Encoded { channel, payload: out.finish() }
    }
}

fn pad_channel(pad: u8) -> u8 {
    0x10 + pad % MAX_PADS
}

#[derive(Default)]
struct Writer(Vec<u8>);

impl Writer {
    fn magic(&mut self, magic: u32) -> &mut Self {
        self.bytes(&magic.to_le_bytes())
    }

    fn bytes(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    fn be(&mut self, values: &[i16]) -> &mut Self {
        for value in values {
            self.0.extend_from_slice(&value.to_be_bytes());
        }
        self
    }

    fn le(&mut self, values: &[u16]) -> &mut Self {
        for value in values {
            self.0.extend_from_slice(&value.to_le_bytes());
        }
        self
    }

    fn finish(self) -> Vec<u8> {
        let mut out = (self.0.len() as u32).to_be_bytes().to_vec();
        out.extend(self.0);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::keys::{key, modifier};

    /// As in the protocol's description: with type and length in front.
    fn plain(input: Input) -> String {
        let payload = input.encode().payload;
        format!("0602{}{}", hex::encode((payload.len() as u16).to_le_bytes()), hex::encode(payload))
    }

    #[test]
    fn input_is_encoded_as_the_protocol_says() {
        let a = key("KeyA").unwrap();
        let state =
            PadState { buttons: button::STANDARD[0], triggers: [128, 255], sticks: [1000, -1000, 0, 0] };
        for (input, expected) in [
            (Input::Key { key: a, down: true, modifiers: 0 }, "06020e000000000a03000000004180000000"),
            (
                Input::Key { key: a, down: false, modifiers: modifier::SHIFT },
                "06020e000000000a04000000004180010000",
            ),
            (Input::MoveBy(5, -3), "06020c0000000008070000000005fffd"),
            (
                Input::MoveTo { x: 300, y: 200, width: 1280, height: 720 },
                "060212000000000e05000000012c00c8000004ff02cf",
            ),
            (Input::Button { button: 1, down: true }, "06020900000000050800000001"),
            (Input::Button { button: 1, down: false }, "06020900000000050900000001"),
            (Input::Scroll(120), "06020e000000000a0a000000007800780000"),
            (Input::ScrollRight(-120), "06020a000000000601000055ff88"),
            (Input::Character('é'), "06020a000000000617000000c3a9"),
            (Input::EnableRumble, "06020a00000000060d0000000100"),
            (
                Input::PadArrived { pad: 0, kind: PadKind::Xbox, capabilities: 3, buttons: button::ALL },
                "060210000000000c0400005500010300fff70000",
            ),
            (
                Input::Pad { pad: 0, present: 1, state },
                "060222000000001e0c0000001a00000001001400001080ffe80318fc000000009c0000005500",
            ),
            (
                Input::Touch { phase: TouchPhase::Down, id: 1, x: 0.5, y: 0.25, pressure: 1.0 },
                "0602240000000020020000550100ffff010000000000003f0000803e0000803f0000000000000000",
            ),
        ] {
            assert_eq!(plain(input), expected, "{input:?}");
        }
    }
}
