//! Decides at which window of its display a sink is aimed, and who may aim it at another one. Pure.

use std::time::{Duration, Instant};

use common::input::{Actor, KeysMessage};

/// How long an actor who types or clicks in a window keeps the aim against others' moving pointers.
const HOLD: Duration = Duration::from_secs(1);

/// What an event needs of the aim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Need {
    /// Its window must be in front.
    Front,
    /// The same, unless another actor is using another window: it only moves the pointer.
    FrontIfFree,
    /// Nothing: it is a release, or repeats what is held.
    Nothing,
}

impl Need {
    /// What a message of a peer needs.
    pub fn of(message: &KeysMessage) -> Self {
        match message {
            KeysMessage::Key { down: true, .. }
            | KeysMessage::Char { down: true, .. }
            | KeysMessage::Button { down: true, .. }
            | KeysMessage::Touch { down: true, .. }
            | KeysMessage::Text { .. }
            | KeysMessage::Wheel { .. } => Need::Front,
            _ => Need::Nothing,
        }
    }
}

/// The decision about an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Turn {
    /// The aim stays, and the event's window need not be in front.
    Refused,
    /// The sink is aimed at the event's window already.
    Kept,
    /// The sink is to be aimed at the event's window. What is held in the previous one is to be released first.
    Turned,
}

/// The aim of a sink.
#[derive(Debug, Default)]
pub struct Aim {
    /// `None`: the whole screen.
    window: Option<u32>,
    /// Who last needed the window in front, and when.
    last_use: Option<(Actor, Instant)>,
}

impl Aim {
    /// The window; `None`: the whole screen.
    pub fn window(&self) -> Option<u32> {
        self.window
    }

    /// Decides about an event of `by` for `window`.
    pub fn turn(&mut self, now: Instant, window: Option<u32>, by: Actor, need: Need) -> Turn {
        if !self.yields(now, window, by, need) {
            return Turn::Refused;
        }
        if need == Need::Front {
            self.last_use = Some((by, now));
        }
        let before = std::mem::replace(&mut self.window, window);
        if before == window { Turn::Kept } else { Turn::Turned }
    }

    /// Whether an event may change the aim. A pointer that merely moves over a window must not take the focus from somebody who
    /// types in another.
    fn yields(&self, now: Instant, window: Option<u32>, by: Actor, need: Need) -> bool {
        let in_use = |(actor, at): (Actor, Instant)| actor != by && now.saturating_duration_since(at) < HOLD;
        match need {
            Need::Front => true,
            Need::FrontIfFree => self.window == window || !self.last_use.is_some_and(in_use),
            Need::Nothing => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;
    use common::input::{Button, KeyCode};

    #[test]
    fn who_types_turns_it_at_once_and_who_points_when_nobody_else_types_elsewhere() {
        let [typist, other] = [PeerId::unique(), PeerId::unique()].map(Actor::Peer);
        let start = Instant::now();
        let soon = HOLD - Duration::from_millis(1);
        for (after, window, by, need, expected) in [
            (soon, Some(1), other, Need::Front, Turn::Kept),
            (soon, Some(2), other, Need::Front, Turn::Turned),
            (soon, None, other, Need::Front, Turn::Turned),
            (soon, Some(1), other, Need::FrontIfFree, Turn::Kept),
            (soon, Some(2), other, Need::FrontIfFree, Turn::Refused),
            (soon, Some(2), typist, Need::FrontIfFree, Turn::Turned),
            (HOLD, Some(2), other, Need::FrontIfFree, Turn::Turned),
            (HOLD, Some(1), typist, Need::Nothing, Turn::Refused),
            (HOLD, Some(2), typist, Need::Nothing, Turn::Refused),
        ] {
            let mut aim = Aim::default();
            assert_eq!(aim.turn(start, Some(1), typist, Need::Front), Turn::Turned);
            let case = format!("{after:?} {window:?} {need:?}, the typist: {}", by == typist);
            assert_eq!(aim.turn(start + after, window, by, need), expected, "{case}");
            let at = if expected == Turn::Turned { window } else { Some(1) };
            assert_eq!(aim.window(), at, "{case}");
        }
    }

    #[test]
    fn a_pointer_that_moves_keeps_a_window_from_nobody() {
        let [first, second] = [PeerId::unique(), PeerId::unique()].map(Actor::Peer);
        let now = Instant::now();
        let mut aim = Aim::default();
        assert_eq!(aim.turn(now, Some(1), first, Need::FrontIfFree), Turn::Turned);
        assert_eq!(aim.turn(now, Some(2), second, Need::FrontIfFree), Turn::Turned);
    }

    #[test]
    fn what_goes_down_needs_its_window_and_what_is_released_or_held_does_not() {
        let code = || KeyCode::parse("KeyA").unwrap();
        for (message, need) in [
            (KeysMessage::Key { slot: 0, code: code(), down: true }, Need::Front),
            (KeysMessage::Key { slot: 0, code: code(), down: false }, Need::Nothing),
            (KeysMessage::Button { slot: 0, button: Button::LEFT, down: true, at: None }, Need::Front),
            (KeysMessage::Button { slot: 0, button: Button::LEFT, down: false, at: None }, Need::Nothing),
            (KeysMessage::Text { slot: 0, text: "text".into() }, Need::Front),
            (KeysMessage::Blur, Need::Nothing),
        ] {
            assert_eq!(Need::of(&message), need, "{message:?}");
        }
    }
}
