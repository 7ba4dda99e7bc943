//! Where merged input ends: the X server of a desktop, a Moonlight host.

pub mod x11;

use common::input::{Button, KeyCode, Position};

/// What a sink does: the output of the aggregator. A sink sees each key and button go down once and up once.
#[derive(Debug, Clone, PartialEq)]
pub enum Action {
    /// A key by its place on the keyboard.
    Key(KeyCode, Press),
    /// A key by its character.
    Char(char, Press),
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
}
