//! Translates actions of the aggregator to inputs of the protocol.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use common::input::{Button, KeyCode, PadKind, PadState, Position};
use gamestream::input::{self, Input, button, capability};
use gamestream::keys::{Key, SHIFT_LEFT, key, modifier, modifier_of, of_char};

use crate::input::sink::{Action, Error, MAX_PADS, Press, Sink, TouchPhase};
use crate::wake::Wake;

/// Inputs queued for the control stream: some seconds of several fast mice. When it is full, input is dropped, and
/// everything that is held is released, as a release may have been dropped.
const QUEUE: usize = 4096;
/// A notch of a wheel.
const NOTCH: f64 = 120.0;

/// Passes input from the input thread to the control stream of the current session.
pub struct Steering {
    queue: SyncSender<Input>,
    overflow: AtomicBool,
    connected: AtomicBool,
    /// Whether the host accepts touches.
    touch: AtomicBool,
    /// Counts sessions: a new one knows no gamepads.
    session: AtomicU32,
    wake: Wake,
    size: (u32, u32),
}

impl Steering {
    /// Steering for pictures of this size.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new(width: u32, height: u32) -> io::Result<(Self, Receiver<Input>)> {
        let (queue, inputs) = sync_channel(QUEUE);
        let steering = Self {
            queue,
            overflow: AtomicBool::new(false),
            connected: AtomicBool::new(false),
            touch: AtomicBool::new(false),
            session: AtomicU32::new(0),
            wake: Wake::new()?,
            size: (width, height),
        };
        Ok((steering, inputs))
    }

    /// A session has started; `touch`: its host accepts touches.
    pub fn connected(&self, touch: bool) {
        self.touch.store(touch, Ordering::Release);
        self.session.fetch_add(1, Ordering::AcqRel);
        self.connected.store(true, Ordering::Release);
    }

    /// The session has ended: input is dropped, as hosts release everything when a session ends.
    pub fn disconnected(&self) {
        self.connected.store(false, Ordering::Release);
    }

    /// Whether something was dropped since the last call.
    pub fn take_overflow(&self) -> bool {
        self.overflow.swap(false, Ordering::AcqRel)
    }

    /// Readable when there is something to do.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Wakes the control stream's thread.
    pub fn wake(&self) {
        self.wake.wake();
    }

    /// Resets [`Steering::wake_fd`]. To be called before inputs are taken, so that none is missed.
    pub fn reset_wake(&self) {
        self.wake.reset();
    }

    fn send(&self, input: Input) {
        if !self.connected.load(Ordering::Acquire) {
            return;
        }
        if self.queue.try_send(input).is_err() {
            self.overflow.store(true, Ordering::Release);
        }
        self.wake();
    }
}

/// What is held on the host, so that it can be released.
#[derive(Debug, Default)]
pub struct Pressed {
    keys: BTreeMap<u8, Key>,
    buttons: Vec<u8>,
}

impl Pressed {
    /// Notes an input that is sent.
    pub fn see(&mut self, input: &Input) {
        match *input {
            Input::Key { key, down: true, .. } => drop(self.keys.insert(key.code, key)),
            Input::Key { key, down: false, .. } => drop(self.keys.remove(&key.code)),
            Input::Button { button, down } => {
                self.buttons.retain(|held| *held != button);
                if down {
                    self.buttons.push(button);
                }
            }
            _ => {}
        }
    }

    /// The inputs that release everything.
    pub fn take(&mut self) -> Vec<Input> {
        let buttons = std::mem::take(&mut self.buttons).into_iter();
        let buttons = buttons.map(|button| Input::Button { button, down: false });
        let keys = std::mem::take(&mut self.keys).into_values();
        buttons.chain(keys.map(|key| Input::Key { key, down: false, modifiers: 0 })).collect()
    }
}

/// The sink. Lives on the input thread, through all sessions.
pub struct Remote {
    steering: Arc<Steering>,
    translator: Translator,
}

impl Remote {
    /// A sink that sends to `steering`.
    pub fn new(steering: Arc<Steering>) -> Self {
        let translator = Translator::new(steering.size);
        Self { steering, translator }
    }
}

impl Sink for Remote {
    fn apply(&mut self, action: &Action) -> Result<(), Error> {
        let session = self.steering.session.load(Ordering::Acquire);
        self.translator.in_session(session, self.steering.touch.load(Ordering::Acquire));
        for input in self.translator.translate(action)? {
            self.steering.send(input);
        }
        Ok(())
    }
}

/// Translates actions to inputs. Pure.
struct Translator {
    size: (u32, u32),
    modifiers: u8,
    /// Held modifier keys.
    held_modifiers: BTreeMap<u8, u8>,
    /// Fractions of a pixel, and of the protocol's smallest step.
    rest: Rest,
    session: u32,
    /// Whether the host accepts touches; otherwise one touch acts as the mouse.
    touch: bool,
    /// The touch that acts as the mouse.
    finger: Option<u32>,
    /// Gamepads that the host knows, by bits.
    pads: u16,
}

#[derive(Default)]
struct Rest {
    x: f64,
    y: f64,
    wheel_x: f64,
    wheel_y: f64,
}

impl Translator {
    fn new(size: (u32, u32)) -> Self {
        Self {
            size,
            modifiers: 0,
            held_modifiers: BTreeMap::new(),
            rest: Rest::default(),
            session: 0,
            touch: false,
            finger: None,
            pads: 0,
        }
    }

    /// Starts translating for another session of the host.
    fn in_session(&mut self, session: u32, touch: bool) {
        if std::mem::replace(&mut self.session, session) != session {
            (self.pads, self.finger, self.touch) = (0, None, touch);
        }
    }

    fn translate(&mut self, action: &Action) -> Result<Vec<Input>, Error> {
        Ok(match action {
            Action::Key(code, press) => vec![self.key(code, *press)?],
            // A character is typed as a whole; there is nothing to release.
            Action::Char(char, Press::Down) => self.typed(*char),
            Action::Char(_, Press::Up) => Vec::new(),
            // The protocol has no message for this.
            Action::Locks { .. } => Vec::new(),
            Action::Text(text) => text.chars().flat_map(|char| self.typed(char)).collect(),
            Action::Button(button, press) => button_inputs(*button, *press),
            Action::PointerTo(at) => vec![self.pointer(*at)],
            Action::PointerBy { dx, dy } => steps(&mut self.rest.x, *dx, &mut self.rest.y, *dy)
                .map(|(x, y)| Input::MoveBy(x, y))
                .collect(),
            Action::Wheel { dx, dy } => {
                let Rest { wheel_x, wheel_y, .. } = &mut self.rest;
                let steps: Vec<_> = steps(wheel_x, dx * NOTCH, wheel_y, -dy * NOTCH).collect();
                let right = steps.iter().filter(|step| step.0 != 0).map(|step| Input::ScrollRight(step.0));
                let up = steps.iter().filter(|step| step.1 != 0).map(|step| Input::Scroll(step.1));
                up.chain(right).collect()
            }
            Action::Touch(id, phase, at) if self.touch => vec![self.touch(*id, *phase, *at)],
            Action::Touch(id, phase, at) => self.finger(*id, *phase, *at),
            Action::Pad(number, kind, state) => self.pad(*number, *kind, state),
            Action::PadGone(number) => self.pad_gone(*number),
        })
    }

    fn touch(&self, id: u32, phase: TouchPhase, at: Position) -> Input {
        let part = |value: f64, side: u32| (value / f64::from(side.max(1))).clamp(0.0, 1.0) as f32;
        let (phase, pressure) = match phase {
            TouchPhase::Begin => (input::TouchPhase::Down, 1.0),
            TouchPhase::Move => (input::TouchPhase::Move, 1.0),
            TouchPhase::End => (input::TouchPhase::Up, 0.0),
        };
        Input::Touch { phase, id, x: part(at.x, self.size.0), y: part(at.y, self.size.1), pressure }
    }

    /// On hosts without touch the first touch acts as the mouse; others are ignored.
    fn finger(&mut self, id: u32, phase: TouchPhase, at: Position) -> Vec<Input> {
        if *self.finger.get_or_insert(id) != id {
            return Vec::new();
        }
        let press = |down| Input::Button { button: 1, down };
        match phase {
            TouchPhase::Begin => vec![self.pointer(at), press(true)],
            TouchPhase::Move => vec![self.pointer(at)],
            TouchPhase::End => {
                self.finger = None;
                vec![self.pointer(at), press(false)]
            }
        }
    }

    fn pad(&mut self, number: u8, kind: PadKind, state: &PadState) -> Vec<Input> {
        if number >= MAX_PADS {
            return Vec::new();
        }
        let bit = 1 << number;
        let kind = match kind {
            PadKind::Unknown => input::PadKind::Unknown,
            PadKind::Xbox => input::PadKind::Xbox,
            PadKind::PlayStation => input::PadKind::PlayStation,
            PadKind::Nintendo => input::PadKind::Nintendo,
            PadKind::Steam => input::PadKind::Steam,
        };
        let capabilities = capability::TRIGGERS | capability::RUMBLE;
        let arrived = Input::PadArrived { pad: number, kind, capabilities, buttons: button::ALL };
        let is_new = self.pads & bit == 0;
        self.pads |= bit;
        let stands = Input::Pad { pad: number, present: self.pads, state: pad_state(state) };
        is_new.then_some(arrived).into_iter().chain([stands]).collect()
    }

    fn pad_gone(&mut self, number: u8) -> Vec<Input> {
        let bit = 1u16.checked_shl(number.into()).unwrap_or(0);
        if self.pads & bit == 0 {
            return Vec::new();
        }
        self.pads &= !bit;
        vec![Input::Pad { pad: number, present: self.pads, state: input::PadState::default() }]
    }

    fn key(&mut self, code: &KeyCode, press: Press) -> Result<Input, Error> {
        let key = key(code.as_str()).ok_or_else(|| Error::NoSuchKey(code.to_string()))?;
        let down = press == Press::Down;
        let modifier = modifier_of(key);
        if modifier != 0 {
            match down {
                true => self.held_modifiers.insert(key.code, modifier),
                false => self.held_modifiers.remove(&key.code),
            };
            self.modifiers = self.held_modifiers.values().fold(0, |all, one| all | one);
        }
        Ok(Input::Key { key, down, modifiers: self.modifiers })
    }

    /// Types characters of the US layout with its keys, and others as text. Sunshine on Linux types a text as Ctrl, Shift, U and a
    /// number, which terminals take for control keys.
    fn typed(&self, char: char) -> Vec<Input> {
        let Some((key, shifted)) = of_char(char) else {
            return if char.is_control() { Vec::new() } else { vec![Input::Character(char)] };
        };
        let press = |code: u8, down| {
            let modifiers = if down { modifier::SHIFT } else { 0 };
            Input::Key { key: Key { code, raw: false }, down, modifiers: self.modifiers | modifiers }
        };
        let held = self.held_modifiers.iter().filter(|(_, modifier)| **modifier == modifier::SHIFT);
        let held: Vec<u8> = held.map(|(code, _)| *code).collect();
        // Shift as the character needs it, whatever is held, and restored afterwards.
        let (before, after): (Vec<_>, Vec<_>) = match (shifted, held.is_empty()) {
            (true, true) => (vec![press(SHIFT_LEFT, true)], vec![press(SHIFT_LEFT, false)]),
            (false, false) => (
                held.iter().map(|code| press(*code, false)).collect(),
                held.iter().map(|code| press(*code, true)).collect(),
            ),
            _ => (Vec::new(), Vec::new()),
        };
        let modifiers = self.modifiers & !modifier::SHIFT | if shifted { modifier::SHIFT } else { 0 };
        let tap = [true, false].map(|down| Input::Key { key, down, modifiers });
        before.into_iter().chain(tap).chain(after).collect()
    }

    fn pointer(&self, at: Position) -> Input {
        let width = self.size.0.min(i16::MAX as u32);
        let height = self.size.1.min(i16::MAX as u32);
        let clamp =
            |value: f64, side: u32| value.round().clamp(0.0, f64::from(side.saturating_sub(1))) as i16;
        let x = clamp(at.x, width);
        let y = clamp(at.y, height);
        Input::MoveTo { x, y, width: width as i16, height: height as i16 }
    }
}

/// Whole steps of both axes, split into as many messages as the protocol needs; fractions are kept.
fn steps(rest_x: &mut f64, dx: f64, rest_y: &mut f64, dy: f64) -> impl Iterator<Item = (i16, i16)> + use<> {
    /// Most messages for one movement: more than a hand can cause.
    const MAX_PIECES: usize = 16;
    let whole = |rest: &mut f64, by: f64| {
        *rest += by;
        let whole = rest.trunc();
        *rest -= whole;
        whole
    };
    let mut x = whole(rest_x, dx);
    let mut y = whole(rest_y, dy);
    let piece = |left: &mut f64| {
        let piece = left.clamp(f64::from(i16::MIN), f64::from(i16::MAX));
        *left -= piece;
        piece as i16
    };
    std::iter::from_fn(move || (x != 0.0 || y != 0.0).then(|| (piece(&mut x), piece(&mut y))))
        .take(MAX_PIECES)
}

/// From the standard mapping of browsers, whose sticks point down.
fn pad_state(state: &PadState) -> input::PadState {
    let pressed = (0..).zip(button::STANDARD).filter(|(bit, _)| state.buttons >> bit & 1 != 0);
    let axis = |value: f32| (value.clamp(-1.0, 1.0) * f32::from(i16::MAX)).round() as i16;
    let [left_x, left_y, right_x, right_y] = state.sticks;
    input::PadState {
        buttons: pressed.fold(0, |all, (_, one)| all | one),
        triggers: state.triggers.map(|trigger| (trigger.clamp(0.0, 1.0) * 255.0).round() as u8),
        sticks: [axis(left_x), axis(-left_y), axis(right_x), axis(-right_y)],
    }
}

fn button_inputs(button: Button, press: Press) -> Vec<Input> {
    let down = press == Press::Down;
    // X counts the wheel among the buttons, up to 7.
    let wheel = |input: Input| if down { vec![input] } else { Vec::new() };
    match button.number() {
        button @ 1..=3 => vec![Input::Button { button, down }],
        4 => wheel(Input::Scroll(NOTCH as i16)),
        5 => wheel(Input::Scroll(-NOTCH as i16)),
        6 => wheel(Input::ScrollRight(-NOTCH as i16)),
        7 => wheel(Input::ScrollRight(NOTCH as i16)),
        other => vec![Input::Button { button: other - 4, down }],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn translator() -> Translator {
        Translator::new((1280, 720))
    }

    fn code(code: &str) -> KeyCode {
        KeyCode::parse(code).unwrap()
    }

    #[test]
    fn modifiers_are_told_with_every_key_until_their_last_key_is_up() {
        let mut translator = translator();
        let mut modifiers = |name: &str, press| match translator.key(&code(name), press).unwrap() {
            Input::Key { modifiers, .. } => modifiers,
            other => panic!("{other:?}"),
        };
        assert_eq!(modifiers("ShiftLeft", Press::Down), modifier::SHIFT);
        assert_eq!(modifiers("ShiftRight", Press::Down), modifier::SHIFT);
        assert_eq!(modifiers("KeyA", Press::Down), modifier::SHIFT);
        assert_eq!(modifiers("ShiftLeft", Press::Up), modifier::SHIFT);
        assert_eq!(modifiers("ShiftRight", Press::Up), 0);
        assert!(matches!(translator.key(&code("Nonsense"), Press::Down), Err(Error::NoSuchKey(_))));
    }

    #[test]
    fn positions_are_clamped_and_distances_add_up() {
        let mut translator = translator();
        let to = |x, y| Input::MoveTo { x, y, width: 1280, height: 720 };
        assert_eq!(translator.pointer(Position { x: 300.4, y: 200.0 }), to(300, 200));
        assert_eq!(translator.pointer(Position { x: -5.0, y: 1e9 }), to(0, 719));
        let mut by = |dx, dy| translator.translate(&Action::PointerBy { dx, dy }).unwrap();
        assert_eq!(by(0.6, -0.4), []);
        assert_eq!(by(0.6, -0.8), [Input::MoveBy(1, -1)]);
        assert_eq!(by(40_000.0, 0.0), [Input::MoveBy(i16::MAX, 0), Input::MoveBy(7233, 0)]);
        assert_eq!(by(1e9, 0.0).len(), 16, "and no more");
    }

    #[test]
    fn the_wheel_turns_both_ways_in_parts_of_a_notch() {
        let mut translator = translator();
        let mut wheel = |dx, dy| translator.translate(&Action::Wheel { dx, dy }).unwrap();
        assert_eq!(wheel(0.0, 1.0), [Input::Scroll(-120)]);
        assert_eq!(wheel(-1.0, -0.25), [Input::Scroll(30), Input::ScrollRight(-120)]);
        assert_eq!(wheel(0.001, 0.001), []);
        assert_eq!(button_inputs(Button::new(4).unwrap(), Press::Down), [Input::Scroll(120)]);
        assert_eq!(button_inputs(Button::new(4).unwrap(), Press::Up), []);
        let forward = Input::Button { button: 5, down: true };
        assert_eq!(button_inputs(Button::new(9).unwrap(), Press::Down), [forward]);
    }

    /// Key events: code, and whether it is down.
    fn keys(inputs: &[Input]) -> Vec<(u8, bool)> {
        let key = |input: &Input| match input {
            Input::Key { key, down, .. } => (key.code, *down),
            other => panic!("{other:?}"),
        };
        inputs.iter().map(key).collect()
    }

    #[test]
    fn texts_are_typed_by_keys_where_the_us_layout_has_them() {
        let mut translator = translator();
        let mut typed = |text: &str| translator.translate(&Action::Text(text.into())).unwrap();
        assert_eq!(typed("é"), [Input::Character('é')]);
        assert_eq!(keys(&typed("a\n")), [(0x41, true), (0x41, false), (0x0d, true), (0x0d, false)]);
        let shifted = typed("A");
        assert_eq!(keys(&shifted), [(0xa0, true), (0x41, true), (0x41, false), (0xa0, false)]);
        let modifiers = |input: &Input| match input {
            Input::Key { modifiers, .. } => *modifiers,
            other => panic!("{other:?}"),
        };
        assert_eq!(shifted.iter().map(modifiers).collect::<Vec<_>>(), [1, 1, 1, 0]);
        assert_eq!(typed("\u{7}"), [], "a bell is no key");
    }

    #[test]
    fn what_is_held_does_not_change_what_is_typed() {
        let mut translator = translator();
        translator.key(&code("ShiftRight"), Press::Down).unwrap();
        let typed =
            |translator: &mut Translator, char| translator.translate(&Action::Char(char, Press::Down));
        let plain = typed(&mut translator, '1').unwrap();
        assert_eq!(keys(&plain), [(0xa1, false), (0x31, true), (0x31, false), (0xa1, true)]);
        let shifted = typed(&mut translator, '!').unwrap();
        assert_eq!(keys(&shifted), [(0x31, true), (0x31, false)]);
    }

    #[test]
    fn gamepads_arrive_stand_somehow_and_go() {
        let mut translator = translator();
        let state = PadState { buttons: 1 | 1 << 13, triggers: [0.5, 1.0], sticks: [0.0, 1.0, -1.0, 0.0] };
        let mut pad = |number| translator.translate(&Action::Pad(number, PadKind::Xbox, state)).unwrap();
        let first = pad(0);
        assert!(matches!(first[0], Input::PadArrived { pad: 0, kind: input::PadKind::Xbox, .. }));
        let stands =
            input::PadState { buttons: 0x1002, triggers: [128, 255], sticks: [0, -32767, -32767, 0] };
        assert_eq!(first[1], Input::Pad { pad: 0, present: 1, state: stands });
        assert_eq!(pad(0).len(), 1);
        assert_eq!(pad(15)[1], Input::Pad { pad: 15, present: 0x8001, state: stands });
        assert_eq!(pad(16), []);
        let gone = translator.translate(&Action::PadGone(0)).unwrap();
        assert_eq!(gone, [Input::Pad { pad: 0, present: 0x8000, state: input::PadState::default() }]);
        assert_eq!(translator.translate(&Action::PadGone(0)).unwrap(), []);
        translator.in_session(7, false);
        assert_eq!(translator.pad(15, PadKind::Xbox, &state).len(), 2, "a new session knows none");
    }

    #[test]
    fn fingers_are_fingers_where_the_host_takes_them_else_the_first_is_a_mouse() {
        let mut translator = translator();
        let at = Position { x: 640.0, y: 180.0 };
        let mut touch = |id, phase| translator.translate(&Action::Touch(id, phase, at)).unwrap();
        let press = |down| Input::Button { button: 1, down };
        assert_eq!(touch(7, TouchPhase::Begin)[1], press(true));
        assert_eq!(touch(8, TouchPhase::Begin), []);
        assert_eq!(touch(7, TouchPhase::End)[1], press(false));
        translator.in_session(1, true);
        let down = input::TouchPhase::Down;
        let expected = Input::Touch { phase: down, id: 7, x: 0.5, y: 0.25, pressure: 1.0 };
        assert_eq!(translator.translate(&Action::Touch(7, TouchPhase::Begin, at)).unwrap(), [expected]);
    }

    #[test]
    fn what_finds_no_room_has_everything_let_go() {
        let (steering, inputs) = Steering::new(16, 16).unwrap();
        let press = Input::Button { button: 1, down: true };
        steering.send(press);
        assert!(inputs.try_recv().is_err(), "nobody listens");
        steering.connected(false);
        for _ in 0..=QUEUE {
            steering.send(press);
        }
        assert!(steering.take_overflow() && !steering.take_overflow());
        let mut pressed = Pressed::default();
        for input in inputs.try_iter() {
            pressed.see(&input);
        }
        let down = Input::Key { key: key("KeyA").unwrap(), down: true, modifiers: 0 };
        pressed.see(&down);
        assert_eq!(pressed.take().len(), 2);
        assert_eq!(pressed.take(), []);
    }
}
