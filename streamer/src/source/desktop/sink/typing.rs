//! Typing characters: finds a key for each, arranges the modifiers, and puts them back.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::thread;
use std::time::{Duration, Instant};

use x11rb::connection::Connection;
use x11rb::protocol::xkb;
use x11rb::protocol::xproto::{ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT, ModMask};
use xkeysym::Keysym;

use super::keymap::{LOCK, Place};
use super::pool::Lease;
use super::{CORE_KEYBOARD, Error, X11Sink, codes};

/// After a keycode got another meaning: programs that are told of it ask for the new keymap meanwhile. Without it
/// 95 of 100 characters are lost, with it none.
const AFTER_REMAP: Duration = Duration::from_millis(1);
/// A program has at least this long to look up what a keycode meant when it was pressed, before it gets
/// another meaning.
const KEEP_MEANING: Duration = Duration::from_millis(60);
/// On a busy machine it has longer: this many times the delay with which we get the processor ourselves.
const PER_DELAY: u32 = 16;
/// Longest wait: a text must make progress, however busy the machine is.
const MAX_KEEP_MEANING: Duration = Duration::from_millis(300);

/// Modifiers that were changed to type a character, to be restored.
#[derive(Debug, Default)]
pub(super) struct Borrowed {
    /// Keycodes that were up and are held now.
    pressed: Vec<u8>,
    /// Keycodes that were held and are up now.
    lifted: Vec<u8>,
    /// Caps Lock was on.
    caps_lock: bool,
}

/// A keycode that is given another meaning.
struct Change {
    keycode: u8,
    symbol: u32,
    /// When programs last saw it pressed with its current meaning.
    pressed: Option<Instant>,
}

impl X11Sink {
    /// Presses the key of a character. Modifiers stay as it needs them until something else happens, so that
    /// it repeats as itself.
    pub(super) fn char_down(&mut self, char: char) -> Result<(), Error> {
        self.give_back()?;
        if self.chars.contains_key(&char) {
            return Ok(());
        }
        if let Some(keycode) = control_key(char) {
            self.chars.insert(char, keycode);
            return self.press(keycode);
        }
        let state = self.keyboard_state()?;
        let place = self.find(char, state.group.into())?;
        self.lift(&state, self.keymap.levels() & !place.mods)?;
        self.hold_modifiers(place.mods & !mods(state.base_mods))?;
        self.chars.insert(char, place.keycode);
        self.pool.hold(place.keycode, true);
        self.press(place.keycode)
    }

    pub(super) fn char_up(&mut self, char: char) -> Result<(), Error> {
        if let Some(keycode) = self.chars.remove(&char) {
            self.release(keycode)?;
            self.pool.hold(keycode, false);
        }
        self.give_back()
    }

    /// Types a text, without modifiers that others hold. Characters that cannot be typed are left out and reported at the end.
    pub(super) fn text(&mut self, text: &str) -> Result<(), Error> {
        self.give_back()?;
        let state = self.keyboard_state()?;
        self.lift(&state, !LOCK)?;
        let mut missing = None;
        let mut chars = text.chars().peekable();
        while let Some(char) = chars.next() {
            // A line end of Windows is one key.
            if char == '\r' && chars.peek() == Some(&'\n') {
                continue;
            }
            self.prepare(char, chars.clone(), state.group.into())?;
            match self.tap(char, state.group.into()) {
                Err(Error::NoSuchKey(char)) => missing = Some(Error::NoSuchKey(char)),
                other => other?,
            }
        }
        self.give_back()?;
        missing.map_or(Ok(()), Err)
    }

    /// Presses and releases the key of a character.
    fn tap(&mut self, char: char, group: u8) -> Result<(), Error> {
        self.listen()?;
        let place = match control_key(char) {
            Some(keycode) => Place { keycode, mods: 0 },
            None => self.find(char, group)?,
        };
        // Neighbours in a text often need the same modifiers, which then just stay down.
        let wanted: Vec<u8> = self.keymap.keys_for(place.mods).collect();
        let (stay, go): (Vec<u8>, Vec<u8>) =
            std::mem::take(&mut self.borrowed.pressed).into_iter().partition(|key| wanted.contains(key));
        for keycode in go {
            self.fake(KEY_RELEASE_EVENT, keycode)?;
        }
        for keycode in wanted.iter().filter(|key| !stay.contains(key)) {
            self.fake(KEY_PRESS_EVENT, *keycode)?;
        }
        self.borrowed.pressed = wanted;
        let was_down = self.down.contains_key(&place.keycode);
        if was_down {
            // A peer holds this very key: it is released and pressed again.
            self.fake(KEY_RELEASE_EVENT, place.keycode)?;
        }
        self.fake(KEY_PRESS_EVENT, place.keycode)?;
        if was_down { Ok(()) } else { self.fake(KEY_RELEASE_EVENT, place.keycode) }
    }

    /// Gives spare keycodes to `char`, if it needs one, and in the same change to as many of the characters that follow as
    /// there are keycodes for. A program asks for the whole keymap whenever any of it has changed: one change for each
    /// character is more than it can follow, and it would look up keys that mean something else by then.
    fn prepare(&mut self, char: char, following: impl Iterator<Item = char>, group: u8) -> Result<(), Error> {
        self.listen()?;
        if self.stale {
            self.refresh_keymap()?;
        }
        if !self.needs_spare(char, group) || self.pool.has(Keysym::from_char(char).raw()) {
            return Ok(());
        }
        let mut symbols = Vec::new();
        for char in std::iter::once(char).chain(following) {
            let symbol = Keysym::from_char(char).raw();
            if self.needs_spare(char, group) && !symbols.contains(&symbol) {
                symbols.push(symbol);
            }
            if symbols.len() >= self.pool.free() {
                break;
            }
        }
        let now = self.backlog.followed(Instant::now());
        let leases = symbols.into_iter().filter_map(|symbol| Some((self.pool.lease(symbol, now)?, symbol)));
        let changes = leases.filter_map(|(lease, symbol)| match lease {
            Lease::Ready(_) => None,
            Lease::Remap(keycode, pressed) => Some(Change { keycode, symbol, pressed }),
        });
        let changes: Vec<Change> = changes.collect();
        self.remap(changes)
    }

    /// Whether a key can have this character, but no key of the layout that is up does.
    fn needs_spare(&self, char: char, group: u8) -> bool {
        !char.is_control() && self.key_of_layout(char, group).is_none()
    }

    /// A key of the layout that has this character and is not held down. Not one of the pool: the keymap knows what it
    /// meant when the keymap was read, and only the pool what it means now.
    fn key_of_layout(&self, char: char, group: u8) -> Option<Place> {
        let usable =
            |place: &&Place| !self.down.contains_key(&place.keycode) && !self.pool.contains(place.keycode);
        self.keymap.places(char, group).iter().find(usable).copied()
    }

    /// A key for a character: one of the layout, or a spare one that gets it.
    fn find(&mut self, char: char, group: u8) -> Result<Place, Error> {
        if self.stale {
            self.refresh_keymap()?;
        }
        if let Some(place) = self.key_of_layout(char, group) {
            return Ok(place);
        }
        let none = || Error::NoSuchKey(char.to_string());
        if char.is_control() {
            return Err(none());
        }
        let symbol = Keysym::from_char(char).raw();
        let keycode = match self.pool.lease(symbol, self.backlog.followed(Instant::now())).ok_or_else(none)? {
            Lease::Ready(keycode) => keycode,
            Lease::Remap(keycode, pressed) => {
                self.remap(vec![Change { keycode, symbol, pressed }])?;
                keycode
            }
        };
        Ok(Place { keycode, mods: 0 })
    }

    /// Gives keycodes other meanings, neighbours in one request.
    fn remap(&mut self, mut changes: Vec<Change>) -> Result<(), Error> {
        self.x.flush()?;
        let keep = (KEEP_MEANING + self.delay * PER_DELAY).min(MAX_KEEP_MEANING);
        let last = changes.iter().filter_map(|change| change.pressed).max();
        if let Some(last) = last {
            thread::sleep((last + keep).saturating_duration_since(Instant::now()));
        }
        changes.sort_by_key(|change| change.keycode);
        for change in &changes {
            if !self.originals.contains_key(&change.keycode) {
                let original = self.x.get_keyboard_mapping(change.keycode, 1)?.reply()?.keysyms;
                self.originals.insert(change.keycode, original);
            }
        }
        let mut requests = 0;
        for run in changes.chunk_by(|a, b| a.keycode.checked_add(1) == Some(b.keycode)) {
            requests += 1;
            // The same on all levels of both groups: whatever is held, it is this character.
            let symbols: Vec<u32> = run.iter().flat_map(|change| [change.symbol; 4]).collect();
            self.x.change_keyboard_mapping(run.len() as u8, run[0].keycode, 4, &symbols)?;
        }
        // The reply means that the server has done it and has notified all clients.
        let asked = Instant::now();
        self.x.get_input_focus()?.reply()?;
        thread::sleep(AFTER_REMAP);
        let delay = asked.elapsed().saturating_sub(AFTER_REMAP);
        // Rises at once, falls slowly.
        self.delay = delay.max(self.delay * 15 / 16);
        self.backlog.add(Instant::now(), requests, self.delay);
        Ok(())
    }

    /// Releases the keys that hold any of `unwanted`, whoever pressed them, and undoes Caps Lock.
    fn lift(&mut self, state: &xkb::GetStateReply, unwanted: u8) -> Result<(), Error> {
        if mods(state.base_mods) & unwanted != 0 {
            let keys = self.x.query_keymap()?.reply()?.keys;
            let is_down = |keycode: &u8| keys[usize::from(*keycode / 8)] & (1 << (keycode % 8)) != 0;
            for keycode in (8..=u8::MAX).filter(is_down) {
                if self.keymap.modifiers_of(keycode) & unwanted != 0 {
                    self.fake(KEY_RELEASE_EVENT, keycode)?;
                    self.borrowed.lifted.push(keycode);
                }
            }
        }
        if mods(state.locked_mods) & LOCK != 0 {
            self.set_caps_lock(false)?;
            self.borrowed.caps_lock = true;
        }
        Ok(())
    }

    fn hold_modifiers(&mut self, wanted: u8) -> Result<(), Error> {
        let keys: Vec<u8> = self.keymap.keys_for(wanted).collect();
        for keycode in keys {
            self.fake(KEY_PRESS_EVENT, keycode)?;
            self.borrowed.pressed.push(keycode);
        }
        Ok(())
    }

    /// Restores modifiers as they were before the last character.
    pub(super) fn give_back(&mut self) -> Result<(), Error> {
        let borrowed = std::mem::take(&mut self.borrowed);
        for keycode in borrowed.pressed {
            self.fake(KEY_RELEASE_EVENT, keycode)?;
        }
        for keycode in borrowed.lifted {
            self.fake(KEY_PRESS_EVENT, keycode)?;
        }
        if borrowed.caps_lock {
            self.set_caps_lock(true)?;
        }
        Ok(())
    }

    fn set_caps_lock(&self, on: bool) -> Result<(), Error> {
        self.lock(LOCK, on)
    }

    /// Locks modifiers, or unlocks them.
    pub(super) fn lock(&self, modifiers: u8, on: bool) -> Result<(), Error> {
        let affected = ModMask::from(u16::from(modifiers));
        let none = ModMask::from(0u16);
        let locked = if on { affected } else { none };
        let group = xkb::Group::M1;
        xkb::latch_lock_state(&self.x, CORE_KEYBOARD, affected, locked, false, group, none, false, 0)?;
        Ok(())
    }

    fn keyboard_state(&mut self) -> Result<xkb::GetStateReply, Error> {
        if self.stale {
            self.refresh_keymap()?;
        }
        Ok(xkb::get_state(&self.x, CORE_KEYBOARD)?.reply()?)
    }

    /// Rebuilds the pool after a change of the keymap: keycodes without a meaning are spare, and those that still have the
    /// one that we gave it.
    pub(super) fn refill_pool(&mut self) {
        // A physical key that this layout does not use is no spare: a peer may press it.
        let spare = self.keymap.spare().iter().copied().filter(|keycode| !codes::is_key(*keycode));
        self.pool.refill(spare, |keycode| self.keymap.first_symbol(keycode));
    }

    /// Restores the original meanings of the pool's keycodes.
    pub(super) fn clear_pool(&mut self) -> Result<(), Error> {
        let originals = std::mem::take(&mut self.originals);
        for (keycode, _) in std::mem::take(&mut self.pool).given() {
            let symbols = originals.get(&keycode).map_or(&[0][..], Vec::as_slice);
            self.x.change_keyboard_mapping(1, keycode, symbols.len() as u8, symbols)?;
        }
        Ok(())
    }
}

/// Keys of control characters.
fn control_key(char: char) -> Option<u8> {
    let code = match char {
        '\n' | '\r' => "Enter",
        '\t' => "Tab",
        '\u{8}' => "Backspace",
        '\u{1b}' => "Escape",
        '\u{7f}' => "Delete",
        _ => return None,
    };
    codes::keycode(code)
}

fn mods(mask: ModMask) -> u8 {
    u16::from(mask) as u8
}
