//! The keymap of an X server: which key, with which modifiers, types which character.
//!
//! Pure: made from one reply of the server. [`Keymap::place`] looks up a character in one group (layout).

use std::collections::HashMap;

use x11rb::protocol::xkb::{GetMapReply, KTMapEntry, KeySymMap, KeyType};
use xkeysym::Keysym;

/// Real modifier bits, as in the state of a key event.
pub const SHIFT: u8 = 1;
/// Caps lock.
pub const LOCK: u8 = 2;

/// Most groups that a key can have.
const GROUPS: u8 = 4;

/// Keys that few keyboards have, no browser has a code for, and no window manager is known to use: they may
/// be given another meaning while they have only a vendor's. There are about a dozen that mean nothing; the more there
/// are, the longer each can keep the meaning that it was given.
const OBSCURE: &[u8] = &[
    128, 147, 155, 156, 157, 159, 162, 185, 186, 189, 192, 193, 194, 195, 196, 210, 211, 227, 228, 229, 249,
    250,
];
/// Symbols of vendors (`XF86…`).
const VENDOR: std::ops::RangeInclusive<u32> = 0x1008_0000..=0x1008_ffff;

/// Where a character is on the keyboard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place {
    /// The key.
    pub keycode: u8,
    /// Modifiers that must be held for it; other ones of [`Keymap::levels`] must not be held.
    pub mods: u8,
}

/// One state of the server's keymap.
#[derive(Debug, Default)]
pub struct Keymap {
    /// Places by character, for each group; the easiest first.
    chars: HashMap<(u8, char), Vec<Place>>,
    /// Real modifiers of each keycode.
    modifiers: HashMap<u8, u8>,
    /// Keycode of a Shift key.
    shift: Option<u8>,
    /// Keycode and modifier of a key that reaches the third level (AltGr).
    level3: Option<(u8, u8)>,
    /// Modifier of the key Num Lock.
    num_lock: Option<u8>,
    /// Keycodes that may be given a meaning.
    spare: Vec<u8>,
    /// First symbol of each keycode.
    first: HashMap<u8, u32>,
}

impl Keymap {
    /// Reads the server's reply; missing parts are ignored.
    pub fn new(reply: &GetMapReply) -> Self {
        let mut map = Self::default();
        let types = reply.map.types_rtrn.as_deref().unwrap_or_default();
        let keys = reply.map.syms_rtrn.as_deref().unwrap_or_default();
        let modmap = reply.map.modmap_rtrn.iter().flatten();
        map.modifiers = modmap.map(|key| (key.keycode, u16::from(key.mods) as u8)).collect();
        for (keycode, key) in (reply.first_key_sym..=u8::MAX).zip(keys) {
            match key.syms.iter().find(|sym| **sym != 0) {
                Some(sym) => {
                    map.first.insert(keycode, *sym);
                }
                None => map.spare.push(keycode),
            }
        }
        let obscure = |keycode: &&u8| map.first.get(*keycode).is_some_and(|sym| VENDOR.contains(sym));
        let obscure = OBSCURE.iter().filter(obscure).filter(|keycode| map.modifiers_of(**keycode) == 0);
        map.spare.extend(obscure.copied().collect::<Vec<u8>>());
        map.shift = map.modifier_key(Keysym::Shift_L, SHIFT).map(|(keycode, _)| keycode);
        map.num_lock = map.modifier_key(Keysym::Num_Lock, !(SHIFT | LOCK)).map(|(_, modifier)| modifier);
        map.level3 = map.modifier_key(Keysym::ISO_Level3_Shift, !(SHIFT | LOCK));
        for (keycode, key) in (reply.first_key_sym..=u8::MAX).zip(keys) {
            for group in 0..GROUPS {
                map.add(keycode, key, group, types);
            }
        }
        for places in map.chars.values_mut() {
            places.sort_by_key(|place| place.mods.count_ones());
        }
        map
    }

    /// The places of `char` in `group`, the easiest first.
    pub fn places(&self, char: char, group: u8) -> &[Place] {
        self.chars.get(&(group, char)).map_or(&[], Vec::as_slice)
    }

    /// Modifiers that choose between the characters of a key.
    pub fn levels(&self) -> u8 {
        SHIFT | self.level3.map_or(0, |(_, modifier)| modifier)
    }

    /// The keys to hold for these modifiers.
    pub fn keys_for(&self, mods: u8) -> impl Iterator<Item = u8> {
        let shift = self.shift.filter(|_| mods & SHIFT != 0);
        let level3 = self.level3.filter(|(_, modifier)| mods & modifier != 0).map(|(keycode, _)| keycode);
        shift.into_iter().chain(level3)
    }

    /// The modifier that Num Lock locks.
    pub fn num_lock(&self) -> Option<u8> {
        self.num_lock
    }

    /// Modifiers that a key sets.
    pub fn modifiers_of(&self, keycode: u8) -> u8 {
        self.modifiers.get(&keycode).copied().unwrap_or(0)
    }

    /// Keycodes that may be given a meaning, those that have none first.
    pub fn spare(&self) -> &[u8] {
        &self.spare
    }

    /// The first symbol of a key.
    pub fn first_symbol(&self, keycode: u8) -> Option<u32> {
        self.first.get(&keycode).copied()
    }

    /// A key that has this symbol and sets one of `mods`, and that modifier.
    fn modifier_key(&self, symbol: Keysym, mods: u8) -> Option<(u8, u8)> {
        let sets = |keycode: &u8| self.modifiers_of(*keycode) & mods;
        let keys =
            self.first.iter().filter(|(_, first)| **first == symbol.raw()).map(|(keycode, _)| *keycode);
        keys.filter(|keycode| sets(keycode) != 0).min().map(|keycode| (keycode, sets(&keycode)))
    }

    /// Adds what a key gives while `group` is the keyboard's group.
    fn add(&mut self, keycode: u8, key: &KeySymMap, group: u8, types: &[KeyType]) {
        let Some(group_of_key) = group_of(key, group) else { return };
        let index = usize::from(key.kt_index[usize::from(group_of_key)]);
        let Some(kind) = types.get(index) else { return };
        let start = usize::from(group_of_key) * usize::from(key.width);
        let levels = usize::from(key.width.min(kind.num_levels));
        for (level, symbol) in key.syms.iter().skip(start).take(levels).enumerate() {
            let Some(char) = char_of(*symbol) else { continue };
            let Some(mods) = self.mods_for(kind, level as u8) else { continue };
            self.chars.entry((group, char)).or_default().push(Place { keycode, mods });
        }
    }

    /// The fewest modifiers that we can hold and that reach this level.
    fn mods_for(&self, kind: &KeyType, level: u8) -> Option<u8> {
        let bits = |entry: &KTMapEntry| u16::from(entry.mods_mask) as u8;
        let active = || kind.map.iter().filter(|entry| entry.active);
        if level == 0 && !active().any(|entry| bits(entry) == 0 && entry.level != 0) {
            return Some(0);
        }
        let ours = active().filter(|entry| entry.level == level && bits(entry) & !self.levels() == 0);
        ours.map(bits).min_by_key(|mods| mods.count_ones())
    }
}

/// The group of a key that is used while the keyboard is in `group` (XKB protocol §13.1.2 "Determining the
/// effective group").
fn group_of(key: &KeySymMap, group: u8) -> Option<u8> {
    let groups = (key.group_info & 0x0f).min(GROUPS);
    match groups {
        0 => None,
        _ if group < groups => Some(group),
        _ => Some(match key.group_info >> 6 {
            1 => groups - 1,
            2 => Some((key.group_info >> 4) & 3).filter(|group| *group < groups).unwrap_or(0),
            _ => group % groups,
        }),
    }
}

/// The character that a symbol types. Keys of the keypad are left out: what they type depends on Num Lock.
fn char_of(symbol: u32) -> Option<char> {
    match symbol {
        0 | 0xff00..=0xffff => None,
        _ => Keysym::new(symbol).key_char().filter(|char| !char.is_control()),
    }
}
