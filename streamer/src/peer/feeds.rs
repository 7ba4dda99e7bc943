//! What a shard knows of the feeds that it broadcasts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Instant;

use super::FeedId;
use crate::feed::gop::{Continuity, Gop};
use crate::feed::keyframe::KeyframeRequests;
use crate::feed::{Demand, VideoUnit};

/// One feed.
pub struct Feed {
    /// What was sent lately; empty for sound.
    pub gop: Gop,
    requests: KeyframeRequests,
    demand: Arc<Demand>,
}

/// All feeds, by id.
#[derive(Default)]
pub struct Feeds {
    feeds: BTreeMap<FeedId, Feed>,
}

impl Feeds {
    /// A feed that may be bound to slots from now on.
    pub fn add(&mut self, id: FeedId, demand: Arc<Demand>) {
        let feed = Feed { gop: Gop::default(), requests: KeyframeRequests::default(), demand };
        self.feeds.insert(id, feed);
    }

    /// Forgets a feed.
    pub fn remove(&mut self, id: FeedId) {
        self.feeds.remove(&id);
    }

    /// One feed.
    pub fn get(&self, id: FeedId) -> Option<&Feed> {
        self.feeds.get(&id)
    }

    /// Takes a unit of a feed. After a loss the source is asked for a keyframe.
    pub fn push(&mut self, now: Instant, id: FeedId, unit: &Arc<VideoUnit>) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        if unit.keyframe {
            feed.requests.made(now);
        }
        if feed.gop.push(unit.clone()) == Continuity::Gap && !unit.keyframe {
            feed.request_keyframe(now);
        }
    }

    /// Somebody needs a keyframe of a feed.
    pub fn request_keyframe(&mut self, now: Instant, id: FeedId) {
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.request_keyframe(now);
        }
    }

    /// One more viewer of a feed. The first one finds a cache that nobody kept up to date, and gets a keyframe.
    pub fn watch(&mut self, now: Instant, id: FeedId) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let first = feed.demand.watchers() == 0;
        feed.demand.add_watcher();
        if first || feed.gop.replay(usize::MAX).is_none() {
            feed.request_keyframe(now);
        }
    }

    /// One viewer of a feed less.
    pub fn unwatch(&mut self, id: FeedId) {
        if let Some(feed) = self.feeds.get(&id) {
            feed.demand.remove_watcher();
        }
    }

    /// Asks for the keyframes that had to wait.
    pub fn timeout(&mut self, now: Instant) {
        for feed in self.feeds.values_mut() {
            if feed.requests.due(now) {
                feed.demand.ask_keyframe();
            }
        }
    }

    /// When [`Feeds::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        self.feeds.values().filter_map(|feed| feed.requests.deadline()).min()
    }
}

impl Feed {
    fn request_keyframe(&mut self, now: Instant) {
        if self.requests.request(now) {
            self.demand.ask_keyframe();
        }
    }

    /// True when a keyframe has been asked for and has not come: what is cached is about to be replaced.
    pub fn awaits_keyframe(&self) -> bool {
        self.requests.is_waiting()
    }
}
