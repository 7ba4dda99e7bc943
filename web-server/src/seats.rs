//! Limits on what one key may hold at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Counts what each key holds. Clones share the counts.
#[derive(Debug, Clone)]
pub struct Seats<K> {
    most: u32,
    held: Held<K>,
}

#[derive(Debug, Clone)]
struct Held<K>(Arc<Mutex<HashMap<K, u32>>>);

/// One seat of a key. It counts until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Seat<K: Eq + Hash> {
    key: K,
    held: Held<K>,
}

impl<K: Eq + Hash + Copy> Seats<K> {
    /// No seat is taken; each key may take `most`.
    pub fn new(most: u32) -> Self {
        Self { most, held: Held(Arc::default()) }
    }

    /// Takes a seat; `None` when the key has as many as it may.
    pub fn take(&self, key: K) -> Option<Seat<K>> {
        let mut held = self.held.lock();
        let count = held.get(&key).copied().unwrap_or_default();
        if count >= self.most {
            return None;
        }
        held.insert(key, count + 1);
        drop(held);
        Some(Seat { key, held: self.held.clone() })
    }

    /// Whether no key has a seat, and nothing is kept of earlier ones.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }
}

impl<K> Held<K> {
    /// The lock is held for arithmetic only, so that a panic cannot leave the counts inconsistent.
    fn lock(&self) -> MutexGuard<'_, HashMap<K, u32>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<K: Eq + Hash> Drop for Seat<K> {
    fn drop(&mut self) {
        let mut held = self.held.lock();
        if let Some(count) = held.get_mut(&self.key) {
            *count -= 1;
            if *count == 0 {
                held.remove(&self.key);
            }
        }
    }
}
