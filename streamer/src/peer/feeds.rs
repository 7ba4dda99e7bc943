//! What a shard knows of the feeds that it broadcasts.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::media::VideoCodec;

use super::FeedId;
use crate::feed::gop::{Continuity, Gop};
use crate::feed::keyframe::KeyframeRequests;
use crate::feed::{Bitrate, Demand, VideoUnit};
use crate::memory::{UNWATCHED_LONG, Unwatched};

/// How old a cached keyframe may be when the first viewer comes and it is shown nevertheless: nothing has changed since. A shared window is
/// bound as soon as its first keyframe is available; a request for another one would have to wait for [`KeyframeRequests`].
const FRESH: Duration = Duration::from_millis(300);

/// A feed without a picture for so long does not flow.
const FLOWING: Duration = Duration::from_secs(1);
/// Bitrates are measured over this.
const RATE_WINDOW: Duration = Duration::from_secs(1);

/// What a path has to carry for a feed, bits per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Need {
    /// What came lately.
    Measured(f64),
    /// The bitrate that our encoder keeps to.
    Chosen(f64),
}

/// One feed.
pub struct FeedState {
    /// The latest units; empty for sound.
    pub gop: Gop,
    requests: KeyframeRequests,
    demand: Arc<Demand>,
    /// Slots of this shard that show it; [`Demand`] counts those of all shards.
    watchers: u32,
    /// Its source is online.
    online: bool,
    /// Codec of its newest picture.
    codec: Option<VideoCodec>,
    rate: Rate,
}

/// How many bits a feed has a second, measured over seconds.
#[derive(Debug, Default)]
struct Rate {
    since: Option<Instant>,
    bytes: usize,
    bps: f64,
}

impl Rate {
    fn add(&mut self, now: Instant, bytes: usize) {
        let since = *self.since.get_or_insert(now);
        let elapsed = now.saturating_duration_since(since);
        if elapsed >= RATE_WINDOW {
            self.bps = self.bytes as f64 * 8.0 / elapsed.as_secs_f64();
            self.since = Some(now);
            self.bytes = 0;
        }
        self.bytes += bytes;
    }
}

/// All feeds, by id.
#[derive(Default)]
pub struct Feeds {
    shard: usize,
    feeds: BTreeMap<FeedId, FeedState>,
    unwatched: Unwatched,
}

impl Feeds {
    /// No feeds yet, for the shard with this index.
    pub fn of(shard: usize) -> Self {
        Self { shard, feeds: BTreeMap::new(), unwatched: Unwatched::default() }
    }

    /// A feed that may be bound to slots from now on.
    pub fn add(&mut self, id: FeedId, demand: Arc<Demand>) {
        let gop = Gop::default();
        let requests = KeyframeRequests::default();
        let watchers = 0;
        let online = true;
        let codec = None;
        let rate = Rate::default();
        self.feeds.insert(id, FeedState { gop, requests, demand, watchers, online, codec, rate });
    }

    /// A feed that nothing is bound to any more.
    pub fn remove(&mut self, id: FeedId) {
        self.feeds.remove(&id);
    }

    /// The source of a feed is lost, or is back. The cache of a lost one is outdated.
    pub fn set_online(&mut self, id: FeedId, online: bool) {
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.online = online;
            if !online {
                feed.gop = Gop::default();
                feed.requests.cancel();
            }
        }
    }

    /// True while the source of a feed is online.
    pub fn is_online(&self, id: FeedId) -> bool {
        self.feeds.get(&id).is_some_and(|feed| feed.online)
    }

    /// Codec of the newest picture of a feed; `None` while there was none.
    pub fn codec(&self, id: FeedId) -> Option<VideoCodec> {
        self.feeds.get(&id)?.codec
    }

    /// Whether pictures of a feed come: there was one within the last second.
    pub fn flows(&self, now: Instant, id: FeedId) -> bool {
        let newest = self.feeds.get(&id).and_then(|feed| feed.gop.newest());
        newest.is_some_and(|unit| now.saturating_duration_since(unit.captured) < FLOWING)
    }

    /// What a path would have to carry for a feed whose bitrate nothing limits, bits per second: what came lately, if that is not chosen here.
    pub fn wanted_bps(&self, id: FeedId) -> f64 {
        let Some(feed) = self.feeds.get(&id) else { return 0.0 };
        feed.demand.wanted_bps().map_or(feed.rate.bps, f64::from)
    }

    /// What a path has to carry for a feed.
    pub fn need(&self, id: FeedId) -> Need {
        let feed = self.feeds.get(&id);
        let chosen = feed.and_then(|feed| feed.demand.bitrate_bps());
        let measured = feed.map_or(0.0, |feed| feed.rate.bps);
        chosen.map_or(Need::Measured(measured), |bps| Need::Chosen(f64::from(bps)))
    }

    /// One feed.
    pub fn get(&self, id: FeedId) -> Option<&FeedState> {
        self.feeds.get(&id)
    }

    /// Takes a unit of a feed. After a loss, a keyframe is requested from the source.
    pub fn push(&mut self, now: Instant, id: FeedId, unit: &Arc<VideoUnit>) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        feed.codec = Some(unit.codec);
        feed.rate.add(now, unit.bytes);
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

    /// Counts one more viewer of a picture, which can receive `share` of it as far as is known. The cache was not kept up to date while nobody watched, so the first viewer gets a new
    /// keyframe; unless the source has just begun, and its first keyframe can be shown.
    pub fn watch(&mut self, now: Instant, id: FeedId, share: Bitrate) {
        let Some(feed) = self.feeds.get_mut(&id) else { return };
        let fresh = |unit: &Arc<VideoUnit>| now.saturating_duration_since(unit.captured) < FRESH;
        let stale = feed.demand.watchers() == 0 && !feed.gop.newest().is_some_and(fresh);
        feed.add_watcher();
        self.unwatched = Unwatched::Watched;
        // Before the keyframe is requested, so that it is no larger than it may be.
        feed.demand.raise_limit(self.shard, share);
        if stale || feed.gop.replay(None, usize::MAX).is_none() {
            feed.request_keyframe(now);
        }
    }

    /// Counts one more listener of sound, which has no keyframes to wait for.
    pub fn listen(&mut self, id: FeedId) {
        self.unwatched = Unwatched::Watched;
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.add_watcher();
        }
    }

    /// Counts one viewer or listener of a feed less. With the last one, pending keyframe requests are dropped.
    pub fn unwatch(&mut self, id: FeedId) {
        if let Some(feed) = self.feeds.get_mut(&id) {
            feed.watchers = feed.watchers.saturating_sub(1);
            if feed.watchers == 0 {
                feed.requests.cancel();
                feed.demand.set_limit(self.shard, None);
            }
            feed.demand.remove_watcher();
        }
    }

    /// Limits bitrates: takes what each viewer can receive of each picture that it watches.
    pub fn limit(&mut self, shares: impl Iterator<Item = (FeedId, Bitrate)>) {
        let mut most = BTreeMap::new();
        for (id, share) in shares {
            let most = most.entry(id).or_insert(share);
            *most = share.max(*most);
        }
        for (id, most) in most {
            if let Some(feed) = self.feeds.get(&id) {
                feed.demand.set_limit(self.shard, Some(most));
            }
        }
    }

    /// Sends the keyframe requests that had to wait.
    pub fn timeout(&mut self, now: Instant) {
        for feed in self.feeds.values_mut() {
            if feed.requests.due(now) {
                feed.demand.ask_keyframe();
            }
        }
    }

    /// When [`Feeds::timeout`] or [`Feeds::forget`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let requests = self.feeds.values().filter_map(|feed| feed.requests.deadline());
        requests.chain(self.unwatched.deadline()).min()
    }

    /// Forgets the units of feeds once nobody here has watched or listened for [`UNWATCHED_LONG`]; who comes then is served by a new
    /// keyframe. Those of feeds that flow all the same stay: cameras make no keyframes on demand. True when that was done just now.
    pub fn forget(&mut self, now: Instant) -> bool {
        if !self.unwatched.notice(now, self.feeds.values().any(|feed| feed.watchers > 0)) {
            return false;
        }
        for feed in self.feeds.values_mut() {
            let newest = feed.gop.newest().map(|unit| unit.captured);
            if newest.is_some_and(|at| now.saturating_duration_since(at) >= UNWATCHED_LONG) {
                feed.gop = Gop::default();
            }
        }
        true
    }
}

impl FeedState {
    fn add_watcher(&mut self) {
        self.watchers += 1;
        self.demand.add_watcher();
    }

    fn request_keyframe(&mut self, now: Instant) {
        if self.requests.request(now) {
            self.demand.ask_keyframe();
        }
    }

    /// True while a requested keyframe has not arrived: the cache is about to be replaced.
    pub fn awaits_keyframe(&self) -> bool {
        self.requests.is_waiting()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FEED: FeedId = FeedId(7);

    fn feeds() -> (Feeds, Arc<Demand>) {
        let mut feeds = Feeds::default();
        let demand = Arc::new(Demand::new().unwrap());
        feeds.add(FEED, demand.clone());
        (feeds, demand)
    }

    #[test]
    fn a_sound_is_never_asked_for_a_keyframe() {
        let (mut feeds, demand) = feeds();
        feeds.listen(FEED);
        assert_eq!((demand.watchers(), demand.asked(), feeds.deadline()), (1, 0, None));
    }

    #[test]
    fn a_bitrate_follows_those_who_watch_as_long_as_all_of_them_need_it() {
        let ((mut feeds, demand), now) = (feeds(), Instant::now());
        let at_most = |bps| (FEED, Bitrate::AtMost(bps));
        feeds.watch(now, FEED, Bitrate::Any);
        feeds.watch(now, FEED, Bitrate::Any);
        feeds.limit([at_most(500_000), at_most(800_000)].into_iter());
        assert_eq!(demand.limit_bps(), Some(800_000));
        feeds.watch(now, FEED, Bitrate::Any);
        assert_eq!(demand.limit_bps(), None, "who has just come is not known to need it");
        feeds.limit([at_most(500_000), (FEED, Bitrate::Any)].into_iter());
        assert_eq!(demand.limit_bps(), None);
        feeds.limit([at_most(500_000)].into_iter());
        for _ in 0..3 {
            feeds.unwatch(FEED);
        }
        assert_eq!(demand.limit_bps(), None, "nobody watches");
    }

    #[test]
    fn the_first_keyframe_of_a_source_is_shown_and_an_old_one_is_replaced() {
        let keyframe = |captured| {
            let payloads = vec![bytes::Bytes::from_static(&[1])];
            let number = 0;
            let codec = VideoCodec::H264;
            Arc::new(VideoUnit { number, codec, keyframe: true, captured, time: 0, payloads, bytes: 1 })
        };
        let now = Instant::now();
        for (age, asked) in [(FRESH / 2, false), (FRESH, true)] {
            let (mut feeds, demand) = feeds();
            feeds.push(now, FEED, &keyframe(now));
            feeds.watch(now + age, FEED, Bitrate::Any);
            assert_eq!(demand.asked() > 0 || feeds.deadline().is_some(), asked, "{age:?}");
        }
    }

    #[test]
    fn what_nobody_has_watched_for_a_minute_is_forgotten_unless_it_flows() {
        let unit = |captured| {
            let payloads = vec![bytes::Bytes::from_static(&[1])];
            let codec = VideoCodec::H264;
            Arc::new(VideoUnit { number: 0, codec, keyframe: true, captured, time: 0, payloads, bytes: 1 })
        };
        let flowing = FeedId(8);
        let ((mut feeds, demand), start) = (feeds(), Instant::now());
        feeds.add(flowing, Arc::new(Demand::new().unwrap()));
        feeds.watch(start, FEED, Bitrate::Any);
        feeds.push(start, FEED, &unit(start));
        assert!(!feeds.forget(start + 2 * UNWATCHED_LONG), "it is watched");
        let left = start + 2 * UNWATCHED_LONG;
        feeds.unwatch(FEED);
        assert!(!feeds.forget(left));
        let due = left + UNWATCHED_LONG;
        assert_eq!(feeds.deadline(), Some(due));
        assert!(!feeds.forget(due - RATE_WINDOW));
        feeds.push(due, flowing, &unit(due - RATE_WINDOW));
        assert!(feeds.forget(due));
        assert!(feeds.get(FEED).unwrap().gop.newest().is_none());
        assert!(feeds.get(flowing).unwrap().gop.newest().is_some(), "its next keyframe may be far away");
        assert!(!feeds.forget(due + UNWATCHED_LONG), "once");
        assert_eq!(feeds.deadline(), None, "an idle shard sleeps");
        // Who comes then is served by a new keyframe, and the time begins anew.
        let asked = demand.asked();
        feeds.watch(due, FEED, Bitrate::Any);
        assert_eq!(demand.asked(), asked + 1);
        feeds.unwatch(FEED);
        assert!(!feeds.forget(due + RATE_WINDOW));
        assert_eq!(feeds.deadline(), Some(due + RATE_WINDOW + UNWATCHED_LONG));
    }

    #[test]
    fn a_keyframe_that_nobody_waits_for_any_more_is_not_asked_for_again() {
        let ((mut feeds, demand), now) = (feeds(), Instant::now());
        feeds.watch(now, FEED, Bitrate::Any);
        feeds.watch(now, FEED, Bitrate::Any);
        assert_eq!((demand.watchers(), demand.asked()), (2, 1));
        feeds.unwatch(FEED);
        assert!(feeds.deadline().is_some());
        feeds.unwatch(FEED);
        assert_eq!((demand.watchers(), feeds.deadline()), (0, None));
        // Coming back quickly is no way around the limit, and coming back is still served.
        feeds.watch(now, FEED, Bitrate::Any);
        assert_eq!(demand.asked(), 1);
        let due = feeds.deadline().unwrap();
        assert!(due > now);
        feeds.timeout(due);
        assert_eq!(demand.asked(), 2);
    }
}
