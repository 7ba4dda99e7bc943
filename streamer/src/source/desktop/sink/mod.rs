//! The input of an X server, by its XTest extension.
//!
//! Keys by place are passed on as they are. A character is typed by the key that has it, with the
//! modifiers that it needs; one that no key has gets a spare keycode that is given its meaning first (`pool`).
//! Modifiers that are held by peers would change characters, so those that are in the way are released for
//! as long as it takes: for the press of a character, the ones that choose between the characters of a key
//! (Shift, AltGr), so that Ctrl+C remains one; for a text, all. Caps Lock is undone likewise.
//!
//! Input for one window of the display reaches that window: `aim`.
//!
//! Everything that is still held when the sink is dropped is released.

mod aim;
mod backlog;
mod codes;
mod keymap;
mod pool;
mod typing;
mod wheel;

use std::collections::HashMap;
use std::time::Duration;

use common::input::{Button, KeyCode, Position};
use x11rb::connection::{Connection, RequestConnection};
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::xproto::{
    self, BUTTON_PRESS_EVENT, BUTTON_RELEASE_EVENT, ConnectionExt as _, KEY_PRESS_EVENT, KEY_RELEASE_EVENT,
};
use x11rb::protocol::{Event, xkb, xtest};
use x11rb::rust_connection::RustConnection;

use super::display::Display;
use crate::input::sink::{Action, Error, Press, Sink};
use crate::source;
use aim::Aim;
use backlog::Backlog;
use keymap::Keymap;
use pool::Pool;
use typing::Borrowed;
use wheel::{Remainder, Wheel};

/// The keyboard and pointer that programs see.
const CORE_KEYBOARD: u16 = 0x100;
const ABSOLUTE: u8 = 0;
const RELATIVE: u8 = 1;

/// Input of one X server. Owned by the input thread.
pub struct X11Sink {
    x: RustConnection,
    root: xproto::Window,
    keymap: Keymap,
    pool: Pool,
    /// Original meanings of the pool's keycodes.
    originals: HashMap<u8, Vec<u32>>,
    /// The keymap has changed since it was read.
    stale: bool,
    /// Recent delay in getting the processor, which programs suffer, too.
    delay: Duration,
    /// How far programs are behind our changes of the keymap.
    backlog: Backlog,
    /// Keycodes that are down because of us, by how many keys and characters hold them.
    down: HashMap<u8, u32>,
    /// Keycodes of the characters that are held.
    chars: HashMap<char, u8>,
    /// Buttons that are down because of us; bit n is button n.
    buttons: u16,
    /// Modifiers that were changed for the character pressed last, until something else happens.
    borrowed: Borrowed,
    wheel: Wheel,
    moved: (Remainder, Remainder),
    aim: Aim,
}

impl X11Sink {
    /// Connects to a display.
    ///
    /// # Errors
    /// [`source::Error::X`] when it refuses the connection, or lacks XTest or XKB.
    pub fn new(display: &Display) -> Result<Self, source::Error> {
        let (x, screen) = display.connect()?;
        let failed = |e: &dyn std::fmt::Display| source::Error::X(format!("input: {e}"));
        for extension in [xtest::X11_EXTENSION_NAME, xkb::X11_EXTENSION_NAME] {
            if x.extension_information(extension).map_err(|e| failed(&e))?.is_none() {
                return Err(failed(&format!("display {} has no {extension} extension", display.name)));
            }
        }
        let root = x.setup().roots.get(screen).ok_or_else(|| failed(&"no screen"))?.root;
        let aim = Aim::new(&x, root).map_err(|e| failed(&e))?;
        let mut sink = Self {
            x,
            root,
            keymap: Keymap::default(),
            pool: Pool::default(),
            originals: HashMap::new(),
            stale: true,
            delay: Duration::ZERO,
            backlog: Backlog::default(),
            down: HashMap::new(),
            chars: HashMap::new(),
            buttons: 0,
            borrowed: Borrowed::default(),
            wheel: Wheel::default(),
            moved: Default::default(),
            aim,
        };
        sink.watch_keymap().and_then(|()| sink.refresh_keymap()).map_err(|e| failed(&e))?;
        Ok(sink)
    }

    /// Turns Num Lock on, so that the number pad types digits.
    ///
    /// # Errors
    /// [`source::Error::X`] when the server is gone.
    pub fn lock_num(&mut self) -> Result<(), source::Error> {
        let Some(modifier) = self.keymap.num_lock() else { return Ok(()) };
        // Flushed: programs may read the state at once, and the first input may come much later.
        let locked = self.lock(modifier, true).and_then(|()| Ok(self.x.flush()?));
        locked.map_err(|e| source::Error::X(format!("input: {e}")))
    }

    fn follow_locks(&mut self, caps: Option<bool>, num: Option<bool>) -> Result<(), Error> {
        if let Some(caps) = caps {
            self.lock(keymap::LOCK, caps)?;
        }
        match (num, self.keymap.num_lock()) {
            (Some(num), Some(modifier)) => self.lock(modifier, num),
            _ => Ok(()),
        }
    }

    fn key(&mut self, code: &KeyCode, press: Press) -> Result<(), Error> {
        let Some(keycode) = codes::keycode(code.as_str()) else {
            return Err(Error::NoSuchKey(code.to_string()));
        };
        self.give_back()?;
        match press {
            Press::Down => self.press(keycode),
            Press::Up => self.release(keycode),
        }
    }

    /// Counts one more holder of this keycode; it goes down with the first.
    fn press(&mut self, keycode: u8) -> Result<(), Error> {
        let holders = self.down.entry(keycode).or_default();
        *holders += 1;
        if *holders == 1 { self.fake(KEY_PRESS_EVENT, keycode) } else { Ok(()) }
    }

    /// Counts one holder of this keycode less; it goes up with the last.
    fn release(&mut self, keycode: u8) -> Result<(), Error> {
        match self.down.get_mut(&keycode) {
            None => Ok(()),
            Some(holders) if *holders > 1 => {
                *holders -= 1;
                Ok(())
            }
            Some(_) => {
                self.down.remove(&keycode);
                self.fake(KEY_RELEASE_EVENT, keycode)
            }
        }
    }

    fn button(&mut self, button: Button, press: Press) -> Result<(), Error> {
        self.give_back()?;
        let bit = 1 << button.number();
        match press {
            Press::Down => {
                self.buttons |= bit;
                self.fake(BUTTON_PRESS_EVENT, button.number())
            }
            Press::Up => {
                self.buttons &= !bit;
                self.fake(BUTTON_RELEASE_EVENT, button.number())
            }
        }
    }

    fn pointer_to(&mut self, at: Position) -> Result<(), Error> {
        let (x, y) = self.on_screen(at)?;
        // The server keeps it on the screen.
        self.fake_at(xproto::MOTION_NOTIFY_EVENT, ABSOLUTE, saturate(x.max(0)), saturate(y.max(0)))
    }

    fn pointer_by(&mut self, dx: f64, dy: f64) -> Result<(), Error> {
        let x = saturate(self.moved.0.add(dx));
        let y = saturate(self.moved.1.add(dy));
        if (x, y) == (0, 0) { Ok(()) } else { self.fake_at(xproto::MOTION_NOTIFY_EVENT, RELATIVE, x, y) }
    }

    fn turn(&mut self, dx: f64, dy: f64) -> Result<(), Error> {
        for (button, clicks) in self.wheel.turn(dx, dy) {
            for _ in 0..clicks {
                self.fake(BUTTON_PRESS_EVENT, button)?;
                self.fake(BUTTON_RELEASE_EVENT, button)?;
            }
        }
        Ok(())
    }

    fn fake(&self, event: u8, detail: u8) -> Result<(), Error> {
        self.fake_at(event, detail, 0, 0)
    }

    fn fake_at(&self, event: u8, detail: u8, x: i16, y: i16) -> Result<(), Error> {
        xtest::fake_input(&self.x, event, detail, x11rb::CURRENT_TIME, self.root, x, y, 0)?;
        Ok(())
    }

    /// Reads what the server has sent: changes of the keymap, and the end of the connection.
    fn listen(&mut self) -> Result<(), Error> {
        while let Some(event) = self.x.poll_for_event()? {
            self.aim.note(&event);
            self.stale |= match event {
                Event::XkbNewKeyboardNotify(_) => true,
                Event::XkbMapNotify(change) => !self.is_our_change(&change),
                _ => false,
            };
        }
        Ok(())
    }

    fn is_our_change(&self, change: &xkb::MapNotifyEvent) -> bool {
        let keycodes = change.first_key_sym..change.first_key_sym.saturating_add(change.n_key_syms);
        change.n_key_syms > 0 && keycodes.into_iter().all(|keycode| self.pool.contains(keycode))
    }

    /// Subscribes to changes of the keymap.
    fn watch_keymap(&self) -> Result<(), Error> {
        xkb::use_extension(&self.x, 1, 0)?.reply()?;
        let events = xkb::EventType::NEW_KEYBOARD_NOTIFY | xkb::EventType::MAP_NOTIFY;
        let parts = xkb::MapPart::KEY_SYMS | xkb::MapPart::KEY_TYPES | xkb::MapPart::MODIFIER_MAP;
        let nothing = xkb::EventType::from(0u16);
        let details = xkb::SelectEventsAux::new();
        xkb::select_events(&self.x, CORE_KEYBOARD, nothing, events, parts, parts, &details)?;
        Ok(())
    }

    fn refresh_keymap(&mut self) -> Result<(), Error> {
        self.stale = false;
        let parts = xkb::MapPart::KEY_SYMS | xkb::MapPart::KEY_TYPES | xkb::MapPart::MODIFIER_MAP;
        let none = xkb::MapPart::from(0u16);
        let no_mods = xkb::VMod::from(0u16);
        let reply = xkb::get_map(
            &self.x,
            CORE_KEYBOARD,
            parts,
            none,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            no_mods,
            0,
            0,
            0,
            0,
            0,
            0,
        )?;
        self.keymap = Keymap::new(&reply.reply()?);
        self.refill_pool();
        Ok(())
    }

    /// Releases everything.
    fn release_all(&mut self) -> Result<(), Error> {
        self.give_back()?;
        for (keycode, _) in std::mem::take(&mut self.down) {
            self.fake(KEY_RELEASE_EVENT, keycode)?;
        }
        for button in (1..=9).filter(|button| self.buttons & (1 << button) != 0) {
            self.fake(BUTTON_RELEASE_EVENT, button)?;
        }
        self.clear_pool()?;
        // Closing the connection now would lose what the server has not read yet.
        self.x.get_input_focus()?.reply()?;
        Ok(())
    }
}

impl Sink for X11Sink {
    fn apply(&mut self, action: &Action) -> Result<(), Error> {
        self.listen()?;
        let result = match action {
            Action::Key(code, press) => self.key(code, *press),
            Action::Char(char, Press::Down) => self.char_down(*char),
            Action::Char(char, Press::Up) => self.char_up(*char),
            Action::Locks { caps, num } => self.follow_locks(*caps, *num),
            Action::Text(text) => self.text(text),
            Action::Button(button, press) => self.button(*button, *press),
            Action::PointerTo(at) => self.pointer_to(*at),
            Action::PointerBy { dx, dy } => self.pointer_by(*dx, *dy),
            Action::Wheel { dx, dy } => self.turn(*dx, *dy),
            // XTest has neither.
            Action::Touch(..) | Action::Pad(..) | Action::PadGone(_) => Ok(()),
        };
        self.x.flush()?;
        result
    }

    fn aim(&mut self, window: Option<u32>) -> Result<(), Error> {
        let result = self.aim_at(window);
        self.x.flush()?;
        result
    }
}

fn saturate(n: i32) -> i16 {
    n.clamp(i16::MIN.into(), i16::MAX.into()) as i16
}

impl Drop for X11Sink {
    fn drop(&mut self) {
        if let Err(error) = self.release_all() {
            tracing::debug!("releasing what was held: {error}");
        }
    }
}

impl From<ConnectionError> for Error {
    fn from(error: ConnectionError) -> Self {
        Error::Gone(error.to_string())
    }
}

impl From<ReplyError> for Error {
    fn from(error: ReplyError) -> Self {
        Error::Gone(error.to_string())
    }
}
