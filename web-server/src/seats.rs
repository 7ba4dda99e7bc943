//! Things of which somebody may hold so many at a time.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// How many each key holds. All clones are the same.
#[derive(Debug, Clone)]
pub struct Seats<K> {
    most: u32,
    held: Held<K>,
}

#[derive(Debug, Clone)]
struct Held<K>(Arc<Mutex<HashMap<K, u32>>>);

/// One of those that a key holds. It counts until it is dropped.
#[derive(Debug)]
#[must_use]
pub struct Seat<K: Eq + Hash> {
    key: K,
    held: Held<K>,
}

impl<K: Eq + Hash + Copy> Seats<K> {
    /// None is held; each key may hold `most`.
    pub fn new(most: u32) -> Self {
        Self { most, held: Held(Arc::default()) }
    }

    /// One more, unless the key holds as many as it may.
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

    /// Nothing is held, and nothing is kept of what was.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.held.lock().is_empty()
    }
}

impl<K> Held<K> {
    /// For some arithmetic only; what a panic leaves behind is whole.
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
