//! Input messages to JSON, and whether they are as they should be. Pure.

use serde_json::{Value, json};

/// Reads a message: `u32be size | u32le magic | body`, with the channel it came on.
///
/// # Errors
/// What the protocol does not allow about it, for people.
pub fn read(channel: u8, payload: &[u8]) -> Result<Value, String> {
    let (size, rest) = payload.split_first_chunk::<4>().ok_or("input: shorter than its size")?;
    if u32::from_be_bytes(*size) as usize != rest.len() {
        return Err(format!("input: size is {}, not {}", u32::from_be_bytes(*size), rest.len()));
    }
    let (magic, body) = rest.split_first_chunk::<4>().ok_or("input: shorter than its magic")?;
    let magic = u32::from_le_bytes(*magic);
    let (value, expected) =
        decode(magic, &Body(body)).ok_or_else(|| format!("input {magic:#x}: {body:02x?}"))?;
    if channel != expected {
        return Err(format!("input {magic:#x}: came on channel {channel}, not {expected}"));
    }
    Ok(value)
}

/// A body; what is outside of it is `None`.
struct Body<'a>(&'a [u8]);

impl Body<'_> {
    fn bytes<const N: usize>(&self, at: usize) -> Option<[u8; N]> {
        self.0.get(at..at + N)?.try_into().ok()
    }
    fn u8(&self, at: usize) -> Option<u8> {
        self.0.get(at).copied()
    }
    fn be(&self, at: usize) -> Option<i16> {
        self.bytes(at).map(i16::from_be_bytes)
    }
    fn le(&self, at: usize) -> Option<i16> {
        self.bytes(at).map(i16::from_le_bytes)
    }
    fn u16(&self, at: usize) -> Option<u16> {
        self.bytes(at).map(u16::from_le_bytes)
    }
    fn u32(&self, at: usize) -> Option<u32> {
        self.bytes(at).map(u32::from_le_bytes)
    }
    fn f32(&self, at: usize) -> Option<f32> {
        self.bytes(at).map(f32::from_le_bytes)
    }
    fn has(&self, length: usize) -> Option<()> {
        (self.0.len() == length).then_some(())
    }
}

/// The event, and the channel it belongs on.
fn decode(magic: u32, body: &Body<'_>) -> Option<(Value, u8)> {
    let pads = |number: u16| 0x10 + (number & 15) as u8;
    Some(match magic {
        3 | 4 => {
            body.has(6)?;
            let vk = body.u16(1)? & 0xff;
            let modifiers = body.u8(3)?;
            (
                json!({"kind": "key", "down": magic == 3, "vk": vk, "modifiers": modifiers, "flags": body.u8(0)?}),
                2,
            )
        }
        7 => {
            body.has(4)?;
            (json!({"kind": "move", "dx": body.be(0)?, "dy": body.be(2)?}), 3)
        }
        5 => {
            body.has(10)?;
            let width = body.be(6)?;
            let height = body.be(8)?;
            (
                json!({"kind": "position", "x": body.be(0)?, "y": body.be(2)?, "width": width, "height": height}),
                3,
            )
        }
        8 | 9 => {
            body.has(1)?;
            let button = body.u8(0).filter(|button| (1..=5).contains(button))?;
            (json!({"kind": "button", "down": magic == 8, "button": button}), 3)
        }
        0x0a => {
            body.has(6)?;
            let amount = body.be(0).filter(|amount| body.be(2) == Some(*amount))?;
            (json!({"kind": "wheel", "amount": amount}), 3)
        }
        0x5500_0001 => {
            body.has(2)?;
            (json!({"kind": "hwheel", "amount": body.be(0)?}), 3)
        }
        0x17 => {
            let text = std::str::from_utf8(body.0).ok().filter(|text| text.chars().count() == 1)?;
            (json!({"kind": "text", "text": text}), 6)
        }
        0x0d => {
            body.has(2)?;
            (json!({"kind": "haptics", "on": body.u16(0)? == 1}), 0)
        }
        0x0c => {
            body.has(26)?;
            (body.u16(0)? == 0x1a && body.u16(6)? == 0x14 && body.u16(20)? == 0x9c && body.u16(24)? == 0x55)
                .then_some(())?;
            let buttons = u32::from(body.u16(8)?) | u32::from(body.u16(22)?) << 16;
            let number = body.u16(2)?;
            let value = json!({
                "kind": "pad", "number": number, "mask": body.u16(4)?, "buttons": buttons, "lt": body.u8(10)?,
                "rt": body.u8(11)?, "lx": body.le(12)?, "ly": body.le(14)?, "rx": body.le(16)?, "ry": body.le(18)?,
            });
            (value, pads(number))
        }
        0x5500_0004 => {
            body.has(8)?;
            let number = body.u8(0)?;
            let value = json!({
                "kind": "pad_arrival", "number": number, "type": body.u8(1)?, "capabilities": body.u16(2)?,
                "buttons": body.u32(4)?,
            });
            (value, pads(number.into()))
        }
        0x5500_0005 => {
            body.has(20)?;
            let number = body.u8(0)?;
            let value = json!({
                "kind": "pad_touch", "number": number, "event": body.u8(1)?, "pad": body.u8(3)?, "id": body.u32(4)?,
                "x": body.f32(8)?, "y": body.f32(12)?, "pressure": body.f32(16)?,
            });
            (value, pads(number.into()))
        }
        0x5500_0006 => {
            body.has(16)?;
            let number = body.u8(0)?;
            let value = json!({
                "kind": "pad_motion", "number": number, "type": body.u8(1)?, "x": body.f32(4)?, "y": body.f32(8)?,
                "z": body.f32(12)?,
            });
            (value, 0x20 + (number & 15))
        }
        0x5500_0007 => {
            body.has(4)?;
            let number = body.u8(0)?;
            let value = json!({"kind": "pad_battery", "number": number, "state": body.u8(1)?, "percent": body.u8(2)?});
            (value, pads(number.into()))
        }
        0x5500_0002 => {
            body.has(28)?;
            let value = json!({
                "kind": "touch", "event": touch(body.u8(0)?)?, "rotation": body.u16(2)?, "id": body.u32(4)?,
                "x": body.f32(8)?, "y": body.f32(12)?, "pressure": body.f32(16)?, "major": body.f32(20)?,
                "minor": body.f32(24)?,
            });
            (value, 5)
        }
        0x5500_0003 => {
            body.has(28)?;
            let value = json!({
                "kind": "pen", "event": touch(body.u8(0)?)?, "tool": body.u8(1)?, "buttons": body.u8(2)?,
                "x": body.f32(4)?, "y": body.f32(8)?, "pressure": body.f32(12)?,
            });
            (value, 4)
        }
        _ => return None,
    })
}

fn touch(event: u8) -> Option<&'static str> {
    let names = ["hover", "down", "up", "move", "cancel", "button", "hover-leave", "cancel-all"];
    names.get(usize::from(event)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::from_hex;

    /// What is read from a published control message, type and length included.
    fn published(channel: u8, message: &str) -> Value {
        let message = from_hex(message).unwrap();
        assert_eq!(message[..2], [6, 2]);
        assert_eq!(usize::from(u16::from_le_bytes([message[2], message[3]])), message.len() - 4);
        read(channel, &message[4..]).unwrap()
    }

    #[test]
    fn keyboard_and_mouse_are_as_published() {
        let key = published(2, "06020e000000000a03000000004180000000");
        assert_eq!(key, json!({"kind": "key", "down": true, "vk": 0x41, "modifiers": 0, "flags": 0}));
        let key = published(2, "06020e000000000a04000000004180010000");
        assert_eq!(key, json!({"kind": "key", "down": false, "vk": 0x41, "modifiers": 1, "flags": 0}));
        let moved = published(3, "06020c0000000008070000000005fffd");
        assert_eq!(moved, json!({"kind": "move", "dx": 5, "dy": -3}));
        let at = published(3, "060212000000000e05000000012c00c8000004ff02cf");
        assert_eq!(at, json!({"kind": "position", "x": 300, "y": 200, "width": 1279, "height": 719}));
        let down = published(3, "06020900000000050800000001");
        assert_eq!(down, json!({"kind": "button", "down": true, "button": 1}));
        assert_eq!(published(3, "06020900000000050900000001")["down"], false);
        let wheel = published(3, "06020e000000000a0a000000007800780000");
        assert_eq!(wheel, json!({"kind": "wheel", "amount": 120}));
        let wheel = published(3, "06020a000000000601000055ff88");
        assert_eq!(wheel, json!({"kind": "hwheel", "amount": -120}));
        assert_eq!(published(6, "06020a000000000617000000c3a9"), json!({"kind": "text", "text": "é"}));
        assert_eq!(published(0, "06020a00000000060d0000000100"), json!({"kind": "haptics", "on": true}));
    }

    #[test]
    fn pads_and_touch_are_as_published() {
        let pad = published(0x10, "060210000000000c0400005500010300fff70000");
        let arrival =
            json!({"kind": "pad_arrival", "number": 0, "type": 1, "capabilities": 3, "buttons": 0xf7ff});
        assert_eq!(pad, arrival);
        let pad =
            published(0x10, "060222000000001e0c0000001a00000001001400001080ffe80318fc000000009c0000005500");
        let expected = json!({
            "kind": "pad", "number": 0, "mask": 1, "buttons": 0x1000, "lt": 128, "rt": 255, "lx": 1000, "ly": -1000,
            "rx": 0, "ry": 0,
        });
        assert_eq!(pad, expected);
        let touch =
            published(5, "0602240000000020020000550100ffff010000000000003f0000803e0000803f0000000000000000");
        let expected = json!({
            "kind": "touch", "event": "down", "rotation": 0xffff, "id": 1, "x": 0.5, "y": 0.25, "pressure": 1.0,
            "major": 0.0, "minor": 0.0,
        });
        assert_eq!(touch, expected);
    }

    #[test]
    fn what_is_wrong_is_said() {
        let message = from_hex("0000000a03000000004180000000").unwrap();
        assert!(read(2, &message).is_ok());
        assert!(read(3, &message).unwrap_err().contains("channel 3, not 2"));
        assert!(read(2, &message[..13]).unwrap_err().contains("size"));
        assert!(read(2, &[]).is_err());
        assert!(read(0, &from_hex("0000000499999999").unwrap()).is_err());
    }
}
