//! The union of what all peers press. Pure; one per source that takes input.
//!
//! A key or button goes down at the sink when its first holder presses it and up when its last
//! holder releases it. The pointer is where the last writer put it; wheel and relative motion add up.
//! Nothing stays pressed with nobody holding it: every hold has a deadline, which the client's
//! snapshots ([`KeysMessage::Held`]) extend.
//!
//! ```text
//! free ──first press──▶ held by {A} ──press──▶ held by {A, B} ──last release, silence, blur, gone──▶ free
//!            (down)                   (nothing)                        (up)
//! ```
//!
//! What is taken away ([`Aggregator::take_away`]) while its holder goes on holding it stays up until the holder
//! releases it and presses it again: a snapshot must not press it in another window.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::id::SlotIndex;
use common::input::{
    Actor, Button, InputCommand, KeyAction, KeyCode, KeysMessage, MAX_HELD, MotionMessage, Position,
};

use super::devices::{Devices, Holder, SILENCE};
use super::sink::{Action, Press};

/// Something that is down or up. Ordered so that modifiers, which are codes, are released last.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Held {
    Button(Button),
    Char(char),
    Code(KeyCode),
}

impl Held {
    fn action(&self, press: Press) -> Action {
        match self {
            Held::Button(button) => Action::Button(*button, press),
            Held::Char(char) => Action::Char(*char, press),
            Held::Code(code) => Action::Key(code.clone(), press),
        }
    }
}

/// The state of one holder.
#[derive(Debug, Default)]
struct Holding {
    /// What it holds, with the deadlines.
    held: BTreeMap<Held, Instant>,
    /// What was taken away from it.
    taken: BTreeSet<Held>,
    motion: Motion,
    /// The locks of its keyboard, as far as they are known: Caps Lock and Num Lock.
    locks: (Option<bool>, Option<bool>),
}

/// State of a holder's motion messages.
#[derive(Debug)]
struct Motion {
    newest: Option<u32>,
    /// The last received position.
    position: Option<Position>,
    /// `None` after a pause in which motion may have been dropped: it continues from the next total.
    total: Option<(f64, f64)>,
}

impl Default for Motion {
    fn default() -> Self {
        Self { newest: None, position: None, total: Some((0.0, 0.0)) }
    }
}

/// Merges input. The caller passes events, and carries out the returned actions in order.
#[derive(Debug, Default)]
pub struct Aggregator {
    holdings: BTreeMap<Holder, Holding>,
    /// Who put the pointer where it is.
    pointer: Option<Holder>,
    /// The actor whose locks the session's keyboard has.
    typist: Option<Holder>,
    /// Touches and gamepads, which are not shared.
    devices: Devices,
}

impl Aggregator {
    /// The locks of the session's keyboard follow whoever types.
    fn follow(&mut self, holder: Holder, out: &mut Vec<Action>) {
        if self.typist.replace(holder) == Some(holder) {
            return;
        }
        let (caps, num) = self.holdings.get(&holder).map_or((None, None), |holding| holding.locks);
        if caps.is_some() || num.is_some() {
            out.push(Action::Locks { caps, num });
        }
    }

    /// A message of the channel `keys`. Messages for the clipboard are not for the aggregator.
    pub fn keys(&mut self, now: Instant, actor: Actor, message: KeysMessage) -> Vec<Action> {
        let mut out = Vec::new();
        match message {
            KeysMessage::Key { slot, code, down } => {
                if down {
                    self.follow((actor, slot), &mut out);
                }
                self.set((actor, slot), Held::Code(code), down.then_some(now + SILENCE), &mut out);
            }
            KeysMessage::Char { slot, char, down } => {
                self.set((actor, slot), Held::Char(char), down.then_some(now + SILENCE), &mut out);
            }
            KeysMessage::Button { slot, button, down, at } => {
                if let Some(at) = at {
                    self.pointer = Some((actor, slot));
                    out.push(Action::PointerTo(at));
                }
                self.set((actor, slot), Held::Button(button), down.then_some(now + SILENCE), &mut out);
            }
            KeysMessage::Locks { slot, caps, num } => {
                let known = &mut self.holdings.entry((actor, slot)).or_default().locks;
                *known = (caps.or(known.0), num.or(known.1));
                // Set again with the next key.
                self.typist.take_if(|typist| *typist == (actor, slot));
            }
            KeysMessage::Text { text, .. } => out.push(Action::Text(text)),
            KeysMessage::Wheel { dx, dy, .. } => out.push(Action::Wheel { dx, dy }),
            KeysMessage::Held { slot, codes, chars, buttons, touches } => {
                out = self.devices.lift_all_but((actor, slot), &touches);
                let snapshot = codes.into_iter().map(Held::Code);
                let snapshot = snapshot.chain(chars.into_iter().map(Held::Char));
                let snapshot = snapshot.chain(buttons.into_iter().map(Held::Button)).collect();
                self.reconcile(now, (actor, slot), snapshot, &mut out);
            }
            KeysMessage::Touch { slot, touch, down, at } => {
                out = self.devices.touch(now, (actor, slot), touch, down, at);
            }
            KeysMessage::Pad { slot, pad, kind, state } => {
                out = self.devices.pad(now, (actor, slot), pad, kind, state);
            }
            KeysMessage::PadGone { slot, pad } => out = self.devices.unplug((actor, slot), pad),
            KeysMessage::Blur => out = self.gone(actor),
            KeysMessage::Clipboard { .. } | KeysMessage::ClipboardPicture { .. } => {}
        }
        self.seen(now, actor);
        out
    }

    /// A message of the lossy channel `motion`; outdated ones are ignored.
    pub fn motion(&mut self, now: Instant, actor: Actor, message: MotionMessage) -> Vec<Action> {
        self.seen(now, actor);
        let slot = message.slot();
        let seq = message.seq();
        let motion = &mut self.holdings.entry((actor, slot)).or_default().motion;
        // Serial number arithmetic (RFC 1982): older is more than half the circle ahead.
        if motion.newest.is_some_and(|newest| seq.wrapping_sub(newest).wrapping_sub(1) > u32::MAX / 2) {
            return Vec::new();
        }
        motion.newest = Some(seq);
        match message {
            MotionMessage::Pointer { at, .. } => {
                // Clients repeat their last position, as it may have been lost. If it was not, and somebody else
                // has moved the pointer since, the repetition is outdated.
                let repeated = motion.position.replace(at) == Some(at);
                if repeated && self.pointer.is_some_and(|last| last != (actor, slot)) {
                    return Vec::new();
                }
                self.pointer = Some((actor, slot));
                vec![Action::PointerTo(at)]
            }
            MotionMessage::Relative { total_x, total_y, .. } => {
                let before = motion.total.replace((total_x, total_y));
                let by = before.map(|(x, y)| Action::PointerBy { dx: total_x - x, dy: total_y - y });
                by.into_iter().collect()
            }
            MotionMessage::Touch { touch, at, .. } => self.devices.touch_moved((actor, slot), touch, at),
            MotionMessage::Pad { pad, triggers, sticks, .. } => {
                self.devices.pad_moved(now, (actor, slot), pad, triggers, sticks)
            }
        }
    }

    /// A command of a program.
    pub fn command(&mut self, now: Instant, slot: SlotIndex, command: InputCommand) -> Vec<Action> {
        let holder = (Actor::Api, slot);
        self.pointer = Some(holder);
        let mut out = Vec::new();
        let to = |at: Option<Position>| at.map(Action::PointerTo);
        match command {
            InputCommand::Key { code, action, hold_ms } => {
                self.press(now, holder, Held::Code(code), action, hold_ms, &mut out);
            }
            InputCommand::Chord { codes } => {
                let keys: Vec<_> = codes.into_iter().map(Held::Code).collect();
                for key in &keys {
                    self.set(holder, key.clone(), Some(now), &mut out);
                }
                for key in keys.into_iter().rev() {
                    self.set(holder, key, None, &mut out);
                }
            }
            InputCommand::Text { text } => out.push(Action::Text(text)),
            InputCommand::Pointer { at } => out.push(Action::PointerTo(at)),
            InputCommand::Move { at, dx, dy } => {
                out.extend(to(at));
                if (dx, dy) != (0.0, 0.0) {
                    out.push(Action::PointerBy { dx, dy });
                }
            }
            // Waits are not for the sink, and a drag arrives as single commands.
            InputCommand::Wait { .. } | InputCommand::Drag { .. } => {}
            InputCommand::Click { at, button, count } => {
                out.extend(to(at));
                for _ in 0..count {
                    self.press(now, holder, Held::Button(button), KeyAction::Tap, 0, &mut out);
                }
            }
            InputCommand::Button { button, action, at, hold_ms } => {
                out.extend(to(at));
                self.press(now, holder, Held::Button(button), action, hold_ms, &mut out);
            }
            InputCommand::Wheel { dx, dy, at } => {
                out.extend(to(at));
                out.push(Action::Wheel { dx, dy });
            }
        }
        out
    }

    /// Somebody left, lost the right to steer, or lost the focus: what only it held is released.
    pub fn gone(&mut self, actor: Actor) -> Vec<Action> {
        let of_actor = self.holdings.iter_mut().filter(|(holder, _)| holder.0 == actor);
        for (_, holding) in of_actor {
            holding.motion.total = None;
        }
        let mut out = self.release_all(|holder| holder.0 == actor);
        out.extend(self.devices.release(|holder| holder.0 == actor));
        out
    }

    /// The owner of a gamepad, by its number among those of all peers: the actor, the slot, and the actor's own number.
    pub fn pad_of(&self, number: u8) -> Option<(Actor, SlotIndex, u8)> {
        self.devices.owner(number).map(|((actor, slot), pad)| (actor, slot, pad))
    }

    /// A slot shows something else to `whom`: what they held in it is released.
    pub fn rebound(&mut self, slot: SlotIndex, whom: impl Fn(Actor) -> bool) -> Vec<Action> {
        self.take_away_from(|(actor, at)| *at == slot && whom(*actor))
    }

    /// Input goes elsewhere from now on: what anybody holds is released, and stays so.
    pub fn take_away(&mut self) -> Vec<Action> {
        self.take_away_from(|_| true)
    }

    fn take_away_from(&mut self, of: impl Fn(&Holder) -> bool) -> Vec<Action> {
        let of_these = |(holder, holding): (&Holder, &Holding)| {
            of(holder).then(|| (*holder, holding.held.keys().cloned().collect::<BTreeSet<_>>()))
        };
        let taken: Vec<_> = self.holdings.iter().filter_map(of_these).collect();
        let mut out = self.release_all(&of);
        out.extend(self.devices.leave(&of));
        for (holder, held) in taken {
            let holding = self.holdings.entry(holder).or_default();
            holding.taken.extend(held);
            // A client that never sends snapshots must not fill memory.
            if holding.taken.len() > MAX_HELD {
                holding.taken.clear();
            }
        }
        out
    }

    /// Releases what was not repeated in time.
    pub fn timeout(&mut self, now: Instant) -> Vec<Action> {
        let late = |holding: &Holding| -> Vec<Held> {
            holding.held.iter().filter(|(_, until)| **until <= now).map(|(held, _)| held.clone()).collect()
        };
        let late: Vec<_> = self.holdings.iter().map(|(holder, holding)| (*holder, late(holding))).collect();
        let mut out = self.devices.timeout(now);
        for (holder, held) in late {
            for held in held {
                self.set(holder, held, None, &mut out);
            }
        }
        out
    }

    /// When [`Aggregator::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let held = self.holdings.values().flat_map(|holding| holding.held.values()).min().copied();
        held.into_iter().chain(self.devices.deadline()).min()
    }

    fn press(
        &mut self,
        now: Instant,
        holder: Holder,
        held: Held,
        action: KeyAction,
        hold_ms: u32,
        out: &mut Vec<Action>,
    ) {
        let until = now + Duration::from_millis(hold_ms.into());
        match action {
            KeyAction::Down => self.set(holder, held, Some(until), out),
            KeyAction::Up => self.set(holder, held, None, out),
            KeyAction::Tap => {
                self.set(holder, held.clone(), Some(until), out);
                self.set(holder, held, None, out);
            }
        }
    }

    /// The one place where something goes down (`until`) or up (`None`) for a holder.
    fn set(&mut self, holder: Holder, held: Held, until: Option<Instant>, out: &mut Vec<Action>) {
        let by_others =
            self.holdings.iter().any(|(other, holding)| *other != holder && holding.held.contains_key(&held));
        let holding = self.holdings.entry(holder).or_default();
        holding.taken.remove(&held);
        let changed = match until {
            // More than anybody can hold: a flood of names must not fill memory.
            Some(_) if holding.held.len() >= MAX_HELD && !holding.held.contains_key(&held) => false,
            Some(until) => holding.held.insert(held.clone(), until).is_none(),
            None => holding.held.remove(&held).is_some(),
        };
        if changed && !by_others {
            out.push(held.action(if until.is_some() { Press::Down } else { Press::Up }));
        }
    }

    fn reconcile(&mut self, now: Instant, holder: Holder, snapshot: Vec<Held>, out: &mut Vec<Action>) {
        let held = self.holdings.get(&holder).map(|holding| holding.held.keys().cloned().collect::<Vec<_>>());
        for stale in held.unwrap_or_default().into_iter().filter(|held| !snapshot.contains(held)) {
            self.set(holder, stale, None, out);
        }
        let taken = self.holdings.get_mut(&holder).map(|holding| {
            holding.taken.retain(|held| snapshot.contains(held));
            holding.taken.clone()
        });
        let taken = taken.unwrap_or_default();
        // What was released after a timeout and is still held goes down again.
        for held in snapshot.into_iter().filter(|held| !taken.contains(held)) {
            self.set(holder, held, Some(now + SILENCE), out);
        }
    }

    /// A message of a peer shows that it is alive. Programs have none: what they hold ends by itself.
    pub fn seen(&mut self, now: Instant, actor: Actor) {
        if actor != Actor::Api {
            let of_actor = self.holdings.iter_mut().filter(|(holder, _)| holder.0 == actor);
            for until in of_actor.flat_map(|(_, holding)| holding.held.values_mut()) {
                *until = now + SILENCE;
            }
            self.devices.seen(now, actor);
        }
    }

    fn release_all(&mut self, of: impl Fn(&Holder) -> bool) -> Vec<Action> {
        let mut out = Vec::new();
        let holders: Vec<_> = self.holdings.keys().filter(|holder| of(holder)).copied().collect();
        for holder in holders {
            let held =
                self.holdings.get(&holder).map(|holding| holding.held.keys().cloned().collect::<Vec<_>>());
            for held in held.unwrap_or_default() {
                self.set(holder, held, None, &mut out);
            }
            // The motion's sequence numbers and totals stay: a client counts on after a blur.
        }
        out
    }

    /// A peer is gone for good: forgets it after releasing what it held.
    pub fn forget(&mut self, actor: Actor) -> Vec<Action> {
        let mut out = self.gone(actor);
        out.extend(self.devices.leave(|holder| holder.0 == actor));
        self.holdings.retain(|holder, _| holder.0 != actor);
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn peer(n: u128) -> Actor {
        Actor::Peer(PeerId(uuid::Uuid::from_u128(n)))
    }

    fn key(code: &str, down: bool) -> KeysMessage {
        KeysMessage::Key { slot: 0, code: KeyCode::parse(code).unwrap(), down }
    }

    fn down(code: &str) -> Action {
        Action::Key(KeyCode::parse(code).unwrap(), Press::Down)
    }

    fn up(code: &str) -> Action {
        Action::Key(KeyCode::parse(code).unwrap(), Press::Up)
    }

    #[test]
    fn a_key_is_down_from_its_first_press_to_its_last_release() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        assert_eq!(input.keys(now, peer(1), key("KeyA", true)), [down("KeyA")]);
        assert_eq!(input.keys(now, peer(2), key("KeyA", true)), []);
        assert_eq!(input.keys(now, peer(1), key("KeyA", false)), []);
        assert_eq!(input.keys(now, peer(1), key("KeyA", false)), []);
        assert_eq!(input.keys(now, peer(2), key("KeyA", false)), [up("KeyA")]);
    }

    #[test]
    fn locks_follow_whoever_types() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let locks = |caps, num| KeysMessage::Locks { slot: 0, caps, num };
        assert_eq!(input.keys(now, peer(1), locks(Some(true), None)), []);
        let first = Action::Locks { caps: Some(true), num: None };
        assert_eq!(input.keys(now, peer(1), key("KeyA", true)), [first.clone(), down("KeyA")]);
        assert_eq!(input.keys(now, peer(1), key("KeyB", true)), [down("KeyB")], "it is told once");
        assert_eq!(
            input.keys(now, peer(2), key("KeyC", true)),
            [down("KeyC")],
            "who says nothing changes nothing"
        );
        input.keys(now, peer(2), locks(Some(false), Some(true)));
        let second = Action::Locks { caps: Some(false), num: Some(true) };
        assert_eq!(input.keys(now, peer(2), key("KeyD", true)), [second, down("KeyD")]);
        assert_eq!(input.keys(now, peer(1), key("KeyE", true)), [first, down("KeyE")], "it types again");
        input.keys(now, peer(1), locks(None, Some(false)));
        let both = Action::Locks { caps: Some(true), num: Some(false) };
        assert_eq!(input.keys(now, peer(1), key("KeyF", true)), [both, down("KeyF")]);
    }

    #[test]
    fn a_silent_holder_loses_only_what_it_alone_holds() {
        let mut input = Aggregator::default();
        let start = Instant::now();
        input.keys(start, peer(1), key("KeyA", true));
        input.keys(start, peer(1), key("KeyB", true));
        let later = start + Duration::from_secs(1);
        input.keys(later, peer(2), key("KeyB", true));
        assert_eq!(input.deadline(), Some(start + SILENCE));
        assert_eq!(input.timeout(start + SILENCE), [up("KeyA")]);
        assert_eq!(input.timeout(later + SILENCE), [up("KeyB")]);
        assert_eq!(input.deadline(), None);
    }

    #[test]
    fn what_was_taken_away_is_not_pressed_again_by_a_snapshot() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let held = || KeysMessage::Held {
            slot: 0,
            codes: vec![KeyCode::parse("KeyA").unwrap()],
            chars: Vec::new(),
            buttons: Vec::new(),
            touches: Vec::new(),
        };
        input.keys(now, peer(1), key("KeyA", true));
        assert_eq!(input.take_away(), [up("KeyA")]);
        assert_eq!(input.keys(now, peer(1), held()), []);
        assert_eq!(input.keys(now, peer(1), key("KeyA", false)), []);
        assert_eq!(input.keys(now, peer(1), key("KeyA", true)), [down("KeyA")]);
        assert_eq!(input.keys(now, peer(1), held()), []);
    }

    #[test]
    fn a_snapshot_keeps_what_it_names_and_repairs_the_rest() {
        let mut input = Aggregator::default();
        let start = Instant::now();
        input.keys(start, peer(1), key("KeyA", true));
        input.keys(start, peer(1), key("KeyB", true));
        let held = KeysMessage::Held {
            slot: 0,
            codes: vec![KeyCode::parse("KeyB").unwrap(), KeyCode::parse("KeyC").unwrap()],
            chars: vec![],
            buttons: vec![],
            touches: vec![],
        };
        let later = start + Duration::from_millis(1900);
        assert_eq!(input.keys(later, peer(1), held), [up("KeyA"), down("KeyC")]);
        assert_eq!(input.timeout(start + SILENCE), []);
        assert_eq!(input.timeout(later + SILENCE), [up("KeyB"), up("KeyC")]);
    }

    #[test]
    fn motion_that_was_overtaken_does_nothing_and_totals_lose_nothing() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let relative = |seq, total_x| MotionMessage::Relative { slot: 0, seq, total_x, total_y: 0.0 };
        let by = |dx| vec![Action::PointerBy { dx, dy: 0.0 }];
        assert_eq!(input.motion(now, peer(1), relative(u32::MAX, 5.0)), by(5.0));
        assert_eq!(input.motion(now, peer(1), relative(1, 12.0)), by(7.0));
        assert_eq!(input.motion(now, peer(1), relative(0, 9.0)), []);
        assert_eq!(input.motion(now, peer(1), relative(1, 12.0)), []);
        assert_eq!(input.motion(now, peer(1), relative(2, 13.0)), by(1.0));
        input.gone(peer(1));
        assert_eq!(input.motion(now, peer(1), relative(3, 500.0)), []);
        assert_eq!(input.motion(now, peer(1), relative(4, 501.0)), by(1.0));
    }

    #[test]
    fn a_repeated_position_does_not_take_the_pointer_back() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let to = |x| Position { x, y: 0.0 };
        let pointer = |seq, x| MotionMessage::Pointer { slot: 0, seq, at: to(x) };
        assert_eq!(input.motion(now, peer(1), pointer(1, 5.0)), [Action::PointerTo(to(5.0))]);
        assert_eq!(input.motion(now, peer(2), pointer(1, 9.0)), [Action::PointerTo(to(9.0))]);
        assert_eq!(input.motion(now, peer(1), pointer(2, 5.0)), []);
        // The first one was lost: its repetition counts.
        assert_eq!(input.motion(now, peer(1), pointer(4, 6.0)), [Action::PointerTo(to(6.0))]);
        assert_eq!(input.motion(now, peer(1), pointer(5, 6.0)), [Action::PointerTo(to(6.0))]);
    }

    #[test]
    fn a_button_goes_down_where_it_happened() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let at = Some(Position { x: 3.0, y: 4.0 });
        let press = KeysMessage::Button { slot: 0, button: Button::LEFT, down: true, at };
        let expected =
            [Action::PointerTo(Position { x: 3.0, y: 4.0 }), Action::Button(Button::LEFT, Press::Down)];
        assert_eq!(input.keys(now, peer(1), press), expected);
    }

    #[test]
    fn what_a_program_holds_ends_by_itself_whatever_others_do() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let hold = |action| InputCommand::Key { code: KeyCode::parse("KeyA").unwrap(), action, hold_ms: 300 };
        assert_eq!(input.command(now, 0, hold(KeyAction::Down)), [down("KeyA")]);
        input.keys(now, peer(1), key("KeyB", true));
        assert_eq!(input.timeout(now + Duration::from_millis(300)), [up("KeyA")]);
        assert_eq!(input.command(now, 0, hold(KeyAction::Tap)), [down("KeyA"), up("KeyA")]);
    }

    #[test]
    fn a_chord_lets_go_in_the_opposite_order() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let codes = ["ControlLeft", "KeyC"].map(|code| KeyCode::parse(code).unwrap()).to_vec();
        let expected = [down("ControlLeft"), down("KeyC"), up("KeyC"), up("ControlLeft")];
        assert_eq!(input.command(now, 0, InputCommand::Chord { codes }), expected);
    }

    #[test]
    fn rebinding_a_slot_releases_what_was_held_in_it() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        input.keys(now, peer(1), key("KeyA", true));
        assert_eq!(input.rebound(1, |_| true), []);
        assert_eq!(input.rebound(0, |actor| actor != peer(1)), []);
        assert_eq!(input.rebound(0, |_| true), [up("KeyA")]);
    }

    #[test]
    fn a_flood_of_keys_is_bounded() {
        let mut input = Aggregator::default();
        let now = Instant::now();
        let pressed: usize =
            (0..10_000).map(|n| input.keys(now, peer(1), key(&format!("Key{n}"), true)).len()).sum();
        assert_eq!(pressed, MAX_HELD);
        assert_eq!(input.forget(peer(1)).len(), MAX_HELD);
        assert!(input.holdings.is_empty());
    }

    #[derive(Debug, Clone)]
    enum Step {
        Key(u128, usize, bool),
        Held(u128, Vec<usize>),
        Blur(u128),
        Gone(u128),
        Wait(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        let peer = 0..3u128;
        let code = 0..4usize;
        prop_oneof![
            6 => (peer.clone(), code.clone(), any::<bool>()).prop_map(|(p, c, d)| Step::Key(p, c, d)),
            2 => (peer.clone(), proptest::collection::vec(code, 0..3)).prop_map(|(p, c)| Step::Held(p, c)),
            1 => peer.clone().prop_map(Step::Blur),
            1 => peer.prop_map(Step::Gone),
            2 => (0..3000u64).prop_map(Step::Wait),
        ]
    }

    const CODES: [&str; 4] = ["KeyA", "KeyB", "ShiftLeft", "F1"];

    proptest! {
        /// The sink sees downs and ups in turn for each key, and at every moment exactly the union is down.
        #[test]
        fn the_sink_holds_exactly_the_union(steps in proptest::collection::vec(step(), 1..80)) {
            let mut input = Aggregator::default();
            let mut now = Instant::now();
            let mut sink = BTreeSet::new();
            let mut model: BTreeMap<u128, (BTreeSet<usize>, Instant)> = BTreeMap::new();
            for step in steps {
                let actions = match step {
                    Step::Key(p, c, d) => {
                        let (held, seen) = model.entry(p).or_insert_with(|| (BTreeSet::new(), now));
                        *seen = now;
                        if d { held.insert(c); } else { held.remove(&c); }
                        input.keys(now, peer(p), key(CODES[c], d))
                    }
                    Step::Held(p, codes) => {
                        model.insert(p, (codes.iter().copied().collect(), now));
                        let codes = codes.iter().map(|&c| KeyCode::parse(CODES[c]).unwrap()).collect();
                        let held = KeysMessage::Held { slot: 0, codes, chars: vec![], buttons: vec![], touches: vec![] };
                        input.keys(now, peer(p), held)
                    }
                    Step::Blur(p) => { model.remove(&p); input.keys(now, peer(p), KeysMessage::Blur) }
                    Step::Gone(p) => { model.remove(&p); input.forget(peer(p)) }
                    Step::Wait(ms) => {
                        now += Duration::from_millis(ms);
                        model.retain(|_, (_, seen)| *seen + SILENCE > now);
                        input.timeout(now)
                    }
                };
                for action in actions {
                    let Action::Key(code, press) = action else { panic!("{action:?}") };
                    match press {
                        Press::Down => prop_assert!(sink.insert(code.to_string()), "{code} down twice"),
                        Press::Up => prop_assert!(sink.remove(code.as_str()), "{code} up twice"),
                    }
                }
                let union: BTreeSet<_> =
                    model.values().flat_map(|(held, _)| held).map(|&c| CODES[c].to_string()).collect();
                prop_assert_eq!(&sink, &union);
            }
        }
    }
}
