//! Spare keycodes for characters that no key has.
//!
//! Pure: decides which keycode a character gets; the sink changes the server's keymap. The least recently
//! used keycode is given away first, and never one that is held down.

use std::time::Instant;

/// Spare keycodes and what they mean now.
#[derive(Debug, Default)]
pub struct Pool {
    slots: Vec<Slot>,
    /// Counts uses; a slot's stamp tells which was used last.
    clock: u64,
}

#[derive(Debug)]
struct Slot {
    keycode: u8,
    symbol: Option<u32>,
    used: u64,
    used_at: Option<Instant>,
    held: bool,
}

/// A keycode for a character.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lease {
    /// The keycode has this meaning already.
    Ready(u8),
    /// It must be given this meaning first. It was pressed last at that time: programs
    /// that are slow may still have to look up what it meant then.
    Remap(u8, Option<Instant>),
}

impl Pool {
    /// Takes these keycodes from now on. What still means what it was given, by `meaning`, stays as it is.
    pub fn refill(&mut self, keycodes: impl IntoIterator<Item = u8>, meaning: impl Fn(u8) -> Option<u32>) {
        self.slots.retain(|slot| slot.symbol.is_some() && slot.symbol == meaning(slot.keycode));
        for keycode in keycodes {
            if !self.contains(keycode) {
                self.slots.push(Slot { keycode, symbol: None, used: 0, used_at: None, held: false });
            }
        }
    }

    /// A keycode for `symbol`, which programs see pressed at `now`; `None` when all are held down.
    pub fn lease(&mut self, symbol: u32, now: Instant) -> Option<Lease> {
        self.clock += 1;
        let ready = self.slots.iter().position(|slot| slot.symbol == Some(symbol) && !slot.held);
        let free = self.slots.iter().enumerate().filter(|(_, slot)| !slot.held);
        let oldest = free.min_by_key(|(_, slot)| slot.used).map(|(index, _)| index);
        let slot = &mut self.slots[ready.or(oldest)?];
        let before = slot.used_at.replace(now);
        slot.used = self.clock;
        slot.symbol = Some(symbol);
        Some(if ready.is_some() { Lease::Ready(slot.keycode) } else { Lease::Remap(slot.keycode, before) })
    }

    /// Notes that a keycode is held down, or no longer is. Keycodes outside of the pool are ignored.
    pub fn hold(&mut self, keycode: u8, held: bool) {
        if let Some(slot) = self.slots.iter_mut().find(|slot| slot.keycode == keycode) {
            slot.held = held;
        }
    }

    /// True when a keycode has this meaning and is not held down.
    pub fn has(&self, symbol: u32) -> bool {
        self.slots.iter().any(|slot| slot.symbol == Some(symbol) && !slot.held)
    }

    /// How many keycodes are not held down.
    pub fn free(&self) -> usize {
        self.slots.iter().filter(|slot| !slot.held).count()
    }

    /// True for one of the pool's keycodes.
    pub fn contains(&self, keycode: u8) -> bool {
        self.slots.iter().any(|slot| slot.keycode == keycode)
    }

    /// Keycodes that have been given a meaning, with it.
    pub fn given(&self) -> impl Iterator<Item = (u8, u32)> {
        self.slots.iter().filter_map(|slot| Some((slot.keycode, slot.symbol?)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keycode(lease: Option<Lease>) -> u8 {
        match lease {
            Some(Lease::Ready(keycode) | Lease::Remap(keycode, _)) => keycode,
            None => panic!("the pool is exhausted"),
        }
    }

    #[test]
    fn a_character_keeps_its_keycode_until_it_is_the_least_recently_used() {
        let mut pool = Pool::default();
        pool.refill([100, 101], |_| None);
        let now = Instant::now();
        let a = keycode(pool.lease(1, now));
        let b = keycode(pool.lease(2, now));
        assert_ne!(a, b);
        assert_eq!(pool.lease(1, now), Some(Lease::Ready(a)));
        assert_eq!(pool.lease(3, now), Some(Lease::Remap(b, Some(now))));
        assert_eq!(pool.lease(1, now), Some(Lease::Ready(a)));
    }

    #[test]
    fn what_was_used_lately_stays_so_when_the_keymap_changes() {
        let mut pool = Pool::default();
        pool.refill([100, 101], |_| None);
        let now = Instant::now();
        let a = keycode(pool.lease(1, now));
        pool.refill([100, 101], |keycode| (keycode == a).then_some(1));
        assert_eq!(pool.lease(2, now), Some(Lease::Remap(201 - a, None)));
        assert_eq!(pool.lease(1, now), Some(Lease::Ready(a)));
        // The layout was reset: no meaning is left.
        pool.refill([100, 101], |_| None);
        assert!(matches!(pool.lease(1, now), Some(Lease::Remap(..))));
    }

    #[test]
    fn a_held_keycode_is_not_given_away() {
        let mut pool = Pool::default();
        pool.refill([100, 101], |_| None);
        let now = Instant::now();
        let a = keycode(pool.lease(1, now));
        pool.hold(a, true);
        for symbol in 2..9 {
            assert_ne!(keycode(pool.lease(symbol, now)), a);
        }
        let b = keycode(pool.lease(9, now));
        pool.hold(b, true);
        assert_eq!(pool.lease(10, now), None);
        pool.hold(a, false);
        assert_eq!(keycode(pool.lease(10, now)), a);
    }
}
