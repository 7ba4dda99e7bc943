//! Where merged input ends: the X server of a desktop, a Moonlight host.

use common::input::{Button, KeyCode, PadKind, PadState, Position};

/// What a sink does: the output of the aggregator. A sink sees each key and button go down once and up once.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A key by its place on the keyboard.
    Key(KeyCode, Press),
    /// A key by its character.
    Char(char, Press),
    /// Locks Caps Lock and Num Lock so, where it is said.
    Locks {
        /// Caps Lock.
        caps: Option<bool>,
        /// Num Lock.
        num: Option<bool>,
    },
    /// Types a text.
    Text(String),
    /// A mouse button.
    Button(Button, Press),
    /// Moves the pointer to a position; the sink clamps it.
    PointerTo(Position),
    /// Moves the pointer by pixels.
    PointerBy {
        /// To the right.
        dx: f64,
        /// Down.
        dy: f64,
    },
    /// Turns the wheel by notches. Fractions are kept until they make a whole one.
    Wheel {
        /// To the right.
        dx: f64,
        /// Down.
        dy: f64,
    },
    /// A finger, by a number that no other finger has now.
    Touch(u32, TouchPhase, Position),
    /// How a gamepad stands, by its number among all peers' (less than [`MAX_PADS`]). A number that is new, or that
    /// was gone, is a gamepad that has just been plugged in.
    Pad(u8, PadKind, PadState),
    /// A gamepad was unplugged.
    PadGone(u8),
}

/// Most gamepads of all peers together.
pub const MAX_PADS: u8 = 16;

/// What a finger does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchPhase {
    /// It comes down.
    Begin,
    /// It moves.
    Move,
    /// It is lifted.
    End,
}

/// Down or up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Goes down.
    Down,
    /// Goes up.
    Up,
}

/// Why an action was not carried out.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The keyboard has no such key. The session goes on.
    #[error("no key {0:?} on this keyboard")]
    NoSuchKey(String),
    /// The window that the input is for is gone, or cannot be brought to the front.
    #[error("window {0} cannot take input")]
    NoSuchWindow(u32),
    /// The session is gone.
    #[error("input: {0}")]
    Gone(String),
}

/// Carries out actions, at once and in order. Owned by the input thread.
pub trait Sink: Send {
    /// Carries out one action and makes sure that it is on its way (flushed).
    ///
    /// # Errors
    /// [`Error`]; the caller logs it and goes on unless it is [`Error::Gone`].
    fn apply(&mut self, action: &Action) -> Result<(), Error>;

    /// Makes sure that the actions that follow reach this window: it is raised, focused and on the screen, and
    /// positions are its own. `None`: they are for the whole screen. Called before everything that is for a
    /// slot, so it costs little when nothing has changed. Nothing is held when the target changes.
    ///
    /// # Errors
    /// [`Error::NoSuchWindow`] when it is gone or cannot be brought up; what follows is not carried out then.
    fn aim(&mut self, window: Option<u32>) -> Result<(), Error> {
        match window {
            None => Ok(()),
            Some(window) => Err(Error::NoSuchWindow(window)),
        }
    }
}
