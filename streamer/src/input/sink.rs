//! The destination of merged input: the X server of a desktop, or a Moonlight host.

use common::input::{Button, KeyCode, PadKind, PadState, Position};

/// An output of the aggregator, which a sink carries out. A sink sees each key and button go down once and up once.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A key by its place on the keyboard.
    Key(KeyCode, Press),
    /// A key by its character.
    Char(char, Press),
    /// Sets Caps Lock and Num Lock, where given.
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
    /// A touch, by a number that no other touch has now.
    Touch(u32, TouchPhase, Position),
    /// The state of a gamepad, by its number among those of all peers (less than [`MAX_PADS`]). A new number, or one that
    /// was gone, is a gamepad that has just been plugged in.
    Pad(u8, PadKind, PadState),
    /// A gamepad was unplugged.
    PadGone(u8),
}

/// Most gamepads of all peers together.
pub const MAX_PADS: u8 = 16;

/// The phase of a touch.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TouchPhase {
    /// It begins.
    Begin,
    /// It moves.
    Move,
    /// It ends.
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
    /// positions are relative to it. `None`: they are for the whole screen. Called before everything that is for a
    /// slot, so it must be cheap when nothing has changed. Nothing is held when the target changes.
    ///
    /// # Errors
    /// [`Error::NoSuchWindow`] when it is gone or cannot be brought up; then the actions that follow are not carried out.
    fn aim(&mut self, window: Option<u32>) -> Result<(), Error> {
        match window {
            None => Ok(()),
            Some(window) => Err(Error::NoSuchWindow(window)),
        }
    }
}
