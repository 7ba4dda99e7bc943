//! Input that is not shared: touches and gamepads. Pure; a part of the aggregator.
//!
//! Each touch and each gamepad has a unique number at the sink. A gamepad keeps its number until it is
//! unplugged, its peer leaves, or its slot shows something else; what is pressed on it is released like
//! everything that is held: on blur, on silence, and when its peer may no longer steer.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use common::id::SlotIndex;
use common::input::{Actor, HELD_SILENCE_MS, MAX_TOUCHES, PadKind, PadState, Position};

use super::sink::{Action, MAX_PADS, TouchPhase};

/// How long something stays held without a message of its holder.
pub const SILENCE: Duration = Duration::from_millis(HELD_SILENCE_MS);

/// An actor, at one of its slots.
pub type Holder = (Actor, SlotIndex);

/// Touches and gamepads of all peers.
#[derive(Debug, Default)]
pub struct Devices {
    touches: BTreeMap<(Holder, u32), Touch>,
    pads: BTreeMap<(Holder, u8), Pad>,
    next_touch: u32,
}

#[derive(Debug)]
struct Touch {
    id: u32,
    at: Position,
    until: Instant,
}

#[derive(Debug)]
struct Pad {
    number: u8,
    kind: PadKind,
    state: PadState,
    /// `None` at rest.
    until: Option<Instant>,
}

impl Devices {
    /// A touch begins or ends.
    pub fn touch(
        &mut self,
        now: Instant,
        holder: Holder,
        touch: u32,
        down: bool,
        at: Position,
    ) -> Vec<Action> {
        let key = (holder, touch);
        if !down {
            let lifted = self.touches.remove(&key);
            return lifted.map(|touch| Action::Touch(touch.id, TouchPhase::End, at)).into_iter().collect();
        }
        let fingers = self.touches.keys().filter(|(other, _)| *other == holder).count();
        if self.touches.contains_key(&key) || fingers >= MAX_TOUCHES {
            return Vec::new();
        }
        let id = self.next_touch;
        self.next_touch = self.next_touch.wrapping_add(1);
        self.touches.insert(key, Touch { id, at, until: now + SILENCE });
        vec![Action::Touch(id, TouchPhase::Begin, at)]
    }

    /// A touch moves; ignored for one that has not begun.
    pub fn touch_moved(&mut self, holder: Holder, touch: u32, at: Position) -> Vec<Action> {
        let Some(touch) = self.touches.get_mut(&(holder, touch)) else { return Vec::new() };
        touch.at = at;
        vec![Action::Touch(touch.id, TouchPhase::Move, at)]
    }

    /// The holder has exactly these touches.
    pub fn lift_all_but(&mut self, holder: Holder, fingers: &[u32]) -> Vec<Action> {
        self.lift(|(of, touch), _| *of == holder && !fingers.contains(touch))
    }

    /// The complete state of a gamepad. Ignored for more than [`MAX_PADS`].
    pub fn pad(
        &mut self,
        now: Instant,
        holder: Holder,
        pad: u8,
        kind: PadKind,
        state: PadState,
    ) -> Vec<Action> {
        let until = (state != PadState::default()).then_some(now + SILENCE);
        if let Some(known) = self.pads.get_mut(&(holder, pad)) {
            let changed = known.state != state;
            known.state = state;
            known.until = until;
            let action = Action::Pad(known.number, known.kind, state);
            return changed.then_some(action).into_iter().collect();
        }
        let free = (0..MAX_PADS).find(|number| self.owner(*number).is_none());
        let Some(number) = free else { return Vec::new() };
        self.pads.insert((holder, pad), Pad { number, kind, state, until });
        vec![Action::Pad(number, kind, state)]
    }

    /// Triggers and sticks of a gamepad; ignored for an unknown one.
    pub fn pad_moved(
        &mut self,
        now: Instant,
        holder: Holder,
        pad: u8,
        triggers: [f32; 2],
        sticks: [f32; 4],
    ) -> Vec<Action> {
        let Some(known) = self.pads.get(&(holder, pad)) else { return Vec::new() };
        let state = PadState { triggers, sticks, ..known.state };
        self.pad(now, holder, pad, known.kind, state)
    }

    /// A gamepad was unplugged.
    pub fn unplug(&mut self, holder: Holder, pad: u8) -> Vec<Action> {
        self.pads.remove(&(holder, pad)).map(|pad| Action::PadGone(pad.number)).into_iter().collect()
    }

    /// The owner of a gamepad, by its number at the sink.
    pub fn owner(&self, number: u8) -> Option<(Holder, u8)> {
        self.pads.iter().find(|(_, pad)| pad.number == number).map(|(key, _)| *key)
    }

    /// Releases everything that these touch or press.
    pub fn release(&mut self, of: impl Fn(&Holder) -> bool) -> Vec<Action> {
        let mut out = self.lift(|(holder, _), _| of(holder));
        out.extend(self.let_go(|holder, _| of(holder)));
        out
    }

    /// These have left: their gamepads are unplugged.
    pub fn leave(&mut self, of: impl Fn(&Holder) -> bool) -> Vec<Action> {
        let mut out = self.lift(|(holder, _), _| of(holder));
        let unplugged = self.pads.extract_if(.., |(holder, _), _| of(holder));
        out.extend(unplugged.map(|(_, pad)| Action::PadGone(pad.number)));
        out
    }

    /// Releases what was not repeated in time.
    pub fn timeout(&mut self, now: Instant) -> Vec<Action> {
        let mut out = self.lift(|_, touch| touch.until <= now);
        out.extend(self.let_go(|_, pad| pad.until.is_some_and(|until| until <= now)));
        out
    }

    /// When [`Devices::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let touches = self.touches.values().map(|touch| touch.until);
        touches.chain(self.pads.values().filter_map(|pad| pad.until)).min()
    }

    /// Notes that a holder is alive.
    pub fn seen(&mut self, now: Instant, actor: Actor) {
        let touches = self.touches.iter_mut().filter(|((holder, _), _)| holder.0 == actor);
        for (_, touch) in touches {
            touch.until = now + SILENCE;
        }
        let pads = self.pads.iter_mut().filter(|((holder, _), pad)| holder.0 == actor && pad.until.is_some());
        for (_, pad) in pads {
            pad.until = Some(now + SILENCE);
        }
    }

    fn lift(&mut self, which: impl Fn(&(Holder, u32), &Touch) -> bool) -> Vec<Action> {
        let lifted = self.touches.extract_if(.., |key, touch| which(key, touch));
        lifted.map(|(_, touch)| Action::Touch(touch.id, TouchPhase::End, touch.at)).collect()
    }

    fn let_go(&mut self, which: impl Fn(&Holder, &Pad) -> bool) -> Vec<Action> {
        let pressed =
            self.pads.iter_mut().filter(|((holder, _), pad)| pad.until.is_some() && which(holder, pad));
        pressed
            .map(|(_, pad)| {
                pad.until = None;
                pad.state = PadState::default();
                Action::Pad(pad.number, pad.kind, pad.state)
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;

    const REST: PadState = PadState { buttons: 0, triggers: [0.0; 2], sticks: [0.0; 4] };
    const PRESSED: PadState = PadState { buttons: 1, triggers: [0.0, 0.5], sticks: [0.0, 1.0, 0.0, 0.0] };
    const AT: Position = Position { x: 3.0, y: 4.0 };

    fn holder() -> Holder {
        (Actor::Peer(PeerId::unique()), 0)
    }

    #[test]
    fn gamepads_get_numbers_of_their_own_and_give_them_back() {
        let now = Instant::now();
        let kind = PadKind::Xbox;
        let mut devices = Devices::default();
        let anna = holder();
        let bob = holder();
        assert_eq!(devices.pad(now, anna, 0, kind, REST), [Action::Pad(0, kind, REST)]);
        assert_eq!(devices.pad(now, bob, 0, kind, REST), [Action::Pad(1, kind, REST)]);
        assert_eq!(devices.pad(now, anna, 1, kind, PRESSED), [Action::Pad(2, kind, PRESSED)]);
        assert_eq!(devices.pad(now, anna, 0, kind, REST), [], "nothing new");
        assert_eq!(devices.owner(1), Some((bob, 0)));
        assert_eq!(devices.leave(|holder| *holder == bob), [Action::PadGone(1)]);
        assert_eq!(devices.unplug(anna, 1), [Action::PadGone(2)]);
        assert_eq!(devices.unplug(anna, 1), []);
        assert_eq!(devices.pad(now, bob, 3, kind, REST), [Action::Pad(1, kind, REST)]);
    }

    #[test]
    fn there_are_at_most_sixteen_gamepads() {
        let now = Instant::now();
        let mut devices = Devices::default();
        let peers: Vec<Holder> = (0..5).map(|_| holder()).collect();
        let all = peers.iter().flat_map(|peer| (0..4).map(|pad| (*peer, pad)));
        let taken =
            all.filter(|(peer, pad)| !devices.pad(now, *peer, *pad, PadKind::Unknown, REST).is_empty());
        assert_eq!(taken.count(), 16);
    }

    #[test]
    fn what_is_pressed_comes_to_rest_in_silence_and_the_gamepad_stays() {
        let now = Instant::now();
        let kind = PadKind::Xbox;
        let peer = holder();
        let mut devices = Devices::default();
        assert_eq!(devices.pad_moved(now, peer, 0, [0.0; 2], [1.0; 4]), [], "not known yet");
        devices.pad(now, peer, 0, kind, PRESSED);
        let moved = PadState { sticks: [0.5; 4], ..PRESSED };
        assert_eq!(
            devices.pad_moved(now, peer, 0, PRESSED.triggers, [0.5; 4]),
            [Action::Pad(0, kind, moved)]
        );
        let later = now + SILENCE - Duration::from_millis(1);
        assert_eq!(devices.timeout(later), []);
        devices.seen(later, peer.0);
        assert_eq!(devices.deadline(), Some(later + SILENCE));
        assert_eq!(devices.timeout(later + SILENCE), [Action::Pad(0, kind, REST)]);
        assert_eq!(devices.deadline(), None);
        assert_eq!(devices.release(|_| true), [], "once");
        assert_eq!(devices.pad(now, peer, 0, kind, PRESSED), [Action::Pad(0, kind, PRESSED)]);
    }

    #[test]
    fn fingers_are_lifted_where_they_were() {
        let now = Instant::now();
        let peer = holder();
        let mut devices = Devices::default();
        let to = Position { x: 9.0, y: 9.0 };
        assert_eq!(devices.touch(now, peer, 7, true, AT), [Action::Touch(0, TouchPhase::Begin, AT)]);
        assert_eq!(devices.touch(now, peer, 7, true, AT), [], "it is down");
        assert_eq!(devices.touch(now, holder(), 7, true, AT), [Action::Touch(1, TouchPhase::Begin, AT)]);
        assert_eq!(devices.touch_moved(peer, 7, to), [Action::Touch(0, TouchPhase::Move, to)]);
        assert_eq!(devices.touch_moved(peer, 8, to), []);
        assert_eq!(devices.lift_all_but(peer, &[7]), []);
        assert_eq!(devices.lift_all_but(peer, &[]), [Action::Touch(0, TouchPhase::End, to)]);
        assert_eq!(devices.timeout(now + SILENCE), [Action::Touch(1, TouchPhase::End, AT)]);
        let down = (0..20).filter(|touch| !devices.touch(now, peer, *touch, true, AT).is_empty());
        assert_eq!(down.count(), MAX_TOUCHES);
    }
}
