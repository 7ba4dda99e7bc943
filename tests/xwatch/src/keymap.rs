//! Names of the keys' symbols, as the X server's core map has them.

use anyhow::Context;
use x11rb::connection::Connection;
use x11rb::protocol::xproto::{ConnectionExt, KeyButMask};
use xkeysym::Keysym;

/// Columns of the core map: two of group 1, two of group 2, then the third level of group 1.
const LEVEL3: usize = 4;

/// A copy of the server's map. To be read again when the server says that it has changed.
pub struct Keymap {
    first: u8,
    per_code: usize,
    symbols: Vec<u32>,
}

impl Keymap {
    /// Reads the map.
    pub fn read(connection: &impl Connection) -> anyhow::Result<Self> {
        let setup = connection.setup();
        let first = setup.min_keycode;
        let last = setup.max_keycode;
        let map = connection
            .get_keyboard_mapping(first, last - first + 1)?
            .reply()
            .context("reading the keyboard's map")?;
        Ok(Self { first, per_code: usize::from(map.keysyms_per_keycode), symbols: map.keysyms })
    }

    /// What the key means with these modifiers, by X's name: `a`, `Return`, `U4F60`.
    pub fn name(&self, keycode: u8, modifiers: KeyButMask) -> String {
        let bits = u16::from(modifiers);
        let pressed = |mask: KeyButMask| usize::from(bits & u16::from(mask) != 0);
        let base = match pressed(KeyButMask::MOD5) {
            0 => 2 * usize::from((bits >> 13) & 1),
            _ => LEVEL3,
        };
        let symbol = [base + pressed(KeyButMask::SHIFT), base, 0]
            .into_iter()
            .map(|column| self.symbol(keycode, column))
            .find(|symbol| *symbol != 0)
            .unwrap_or(0);
        match Keysym::new(symbol).name() {
            Some(name) => name.trim_start_matches("XK_").to_owned(),
            None if symbol & 0xff00_0000 == 0x0100_0000 => format!("U{:04X}", symbol & 0x00ff_ffff),
            None => format!("0x{symbol:x}"),
        }
    }

    fn symbol(&self, keycode: u8, column: usize) -> u32 {
        let row = usize::from(keycode.saturating_sub(self.first));
        if column >= self.per_code {
            0
        } else {
            self.symbols.get(row * self.per_code + column).copied().unwrap_or(0)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn modifiers_choose_the_column() {
        let map = Keymap {
            first: 8,
            per_code: 6,
            symbols: vec![0x61, 0x41, 0, 0, 0x20ac, 0, /* next key */ 0x0100_4f60, 0, 0, 0, 0, 0],
        };
        let none = KeyButMask::from(0u16);
        assert_eq!(map.name(8, none), "a");
        assert_eq!(map.name(8, KeyButMask::SHIFT), "A");
        assert_eq!(map.name(8, KeyButMask::MOD5), "EuroSign");
        assert_eq!(map.name(9, KeyButMask::SHIFT), "U4F60", "a key of one level means the same with Shift");
        assert_eq!(map.name(200, none), "NoSymbol");
    }
}
