//! The demand of peers for a source: the only way back from the peers to an encoder thread.

use std::collections::BTreeMap;
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::stats::Counter;
use crate::wake::Wake;

/// Shared by the shards, which make requests, and one encoder thread, which serves them.
///
/// The thread sleeps on [`Demand::wake_fd`] beside its source; every change makes it readable.
#[derive(Debug)]
pub struct Demand {
    wake: Wake,
    watchers: AtomicU32,
    keyframe: AtomicBool,
    asked: Counter,
    /// The limit of each shard with viewers.
    limits: Mutex<BTreeMap<usize, Bitrate>>,
    /// The limit of all of them; [`UNLIMITED`] if there is none.
    limit_bps: AtomicU32,
    /// What is encoded when nothing limits it; 0: the bitrate cannot be chosen.
    wanted_bps: AtomicU32,
}

/// The bitrate that the viewers of one shard can receive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Bitrate {
    /// At most this many bits per second.
    AtMost(u32),
    /// Any bitrate.
    Any,
}

/// No bitrate is too high.
const UNLIMITED: u32 = u32::MAX;
/// A limit that differs by less than this share counts as unchanged, so that encoders do not follow every packet.
const SAME: f64 = 0.05;

impl Demand {
    /// No viewers and no requests.
    ///
    /// # Errors
    /// The process is out of descriptors.
    pub fn new() -> std::io::Result<Self> {
        Ok(Self {
            wake: Wake::new()?,
            watchers: AtomicU32::new(0),
            keyframe: AtomicBool::new(false),
            asked: Counter::default(),
            limits: Mutex::default(),
            limit_bps: AtomicU32::new(UNLIMITED),
            wanted_bps: AtomicU32::new(0),
        })
    }

    /// Readable when something has changed; [`Demand::reset_wake`] resets it.
    pub fn wake_fd(&self) -> BorrowedFd<'_> {
        self.wake.as_fd()
    }

    /// Resets [`Demand::wake_fd`]. To be called before anything else is read here, so that no change is missed.
    pub fn reset_wake(&self) {
        self.wake.reset();
    }

    /// Wakes the encoder thread.
    pub fn wake(&self) {
        self.wake.wake();
    }

    /// The number of viewers. Without any, an encoder pauses (after its first keyframe).
    pub fn watchers(&self) -> u32 {
        self.watchers.load(Ordering::Acquire)
    }

    /// Takes a pending keyframe request. If true, the caller must make a keyframe.
    pub fn take_keyframe(&self) -> bool {
        self.keyframe.swap(false, Ordering::AcqRel)
    }

    /// Counts one more viewer.
    pub fn add_watcher(&self) {
        if self.watchers.fetch_add(1, Ordering::AcqRel) == 0 {
            self.wake();
        }
    }

    /// Counts one viewer less.
    pub fn remove_watcher(&self) {
        if self.watchers.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.wake();
        }
    }

    /// Requests a keyframe. Requests that come before it is made are coalesced.
    pub fn ask_keyframe(&self) {
        self.asked.add(1);
        if !self.keyframe.swap(true, Ordering::AcqRel) {
            self.wake();
        }
    }

    /// The highest bitrate that any viewer can receive, bits per second; `None`: unlimited.
    pub fn limit_bps(&self) -> Option<u32> {
        let limit = self.limit_bps.load(Ordering::Acquire);
        (limit != UNLIMITED).then_some(limit)
    }

    /// The bitrate of an encoder that keeps to [`Demand::limit_bps`], bits per second; `None` for a feed whose bitrate cannot be chosen.
    pub fn bitrate_bps(&self) -> Option<u32> {
        self.wanted_bps().map(|wanted| self.limit_bps().map_or(wanted, |limit| limit.min(wanted)))
    }

    /// What an encoder needs when nothing limits it, bits per second; `None` for a feed whose bitrate cannot be chosen.
    pub fn wanted_bps(&self) -> Option<u32> {
        let wanted = self.wanted_bps.load(Ordering::Acquire);
        (wanted > 0).then_some(wanted)
    }

    /// Sets what an encoder needs when nothing limits it, bits per second.
    pub fn set_wanted(&self, bps: u32) {
        self.wanted_bps.store(bps, Ordering::Release);
    }

    /// Sets the most that any viewer on a shard can receive; `None`: nobody watches there.
    pub fn set_limit(&self, shard: usize, most: Option<Bitrate>) {
        let mut limits = self.limits();
        match most {
            Some(most) => limits.insert(shard, most),
            None => limits.remove(&shard),
        };
        self.apply(&limits);
    }

    /// One more viewer of a shard can receive this much.
    pub fn raise_limit(&self, shard: usize, share: Bitrate) {
        let mut limits = self.limits();
        let most = limits.entry(shard).or_insert(share);
        *most = share.max(*most);
        self.apply(&limits);
    }

    fn limits(&self) -> MutexGuard<'_, BTreeMap<usize, Bitrate>> {
        // Nothing that is done under the lock can panic half way.
        self.limits.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn apply(&self, limits: &BTreeMap<usize, Bitrate>) {
        let limit = match limits.values().max() {
            Some(Bitrate::AtMost(bps)) => *bps,
            Some(Bitrate::Any) | None => UNLIMITED,
        };
        let before = self.limit_bps.load(Ordering::Acquire);
        if (f64::from(limit) / f64::from(before.max(1)) - 1.0).abs() > SAME {
            self.limit_bps.store(limit, Ordering::Release);
        }
    }

    /// The number of keyframe requests.
    pub fn asked(&self) -> u64 {
        self.asked.get()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_widest_path_of_all_shards_sets_the_limit() {
        let demand = Demand::new().unwrap();
        assert_eq!(demand.limit_bps(), None);
        demand.set_limit(0, Some(Bitrate::AtMost(500_000)));
        assert_eq!(demand.limit_bps(), Some(500_000));
        demand.set_limit(1, Some(Bitrate::AtMost(2_000_000)));
        assert_eq!(demand.limit_bps(), Some(2_000_000));
        demand.set_limit(1, Some(Bitrate::AtMost(2_050_000)));
        assert_eq!(demand.limit_bps(), Some(2_000_000), "nearly the same");
        demand.set_limit(0, Some(Bitrate::Any));
        assert_eq!(demand.limit_bps(), None);
        demand.set_limit(0, None);
        assert_eq!(demand.limit_bps(), Some(2_050_000));
        demand.set_limit(1, None);
        assert_eq!(demand.limit_bps(), None, "nobody watches");
        demand.raise_limit(2, Bitrate::AtMost(700_000));
        demand.raise_limit(2, Bitrate::AtMost(300_000));
        assert_eq!(demand.limit_bps(), Some(700_000));
    }

    #[test]
    fn the_bitrate_of_an_encoder_is_what_it_wants_within_the_limit() {
        let demand = Demand::new().unwrap();
        assert_eq!(demand.bitrate_bps(), None, "it is not one that follows");
        demand.set_wanted(2_000_000);
        assert_eq!(demand.bitrate_bps(), Some(2_000_000));
        demand.set_limit(0, Some(Bitrate::AtMost(500_000)));
        assert_eq!(demand.bitrate_bps(), Some(500_000));
        demand.set_limit(0, Some(Bitrate::AtMost(5_000_000)));
        assert_eq!(demand.bitrate_bps(), Some(2_000_000));
    }
}
