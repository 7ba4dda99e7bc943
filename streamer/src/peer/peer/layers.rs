//! Which simulcast layers a peer gets, and how its slots go from one to another.

use std::time::Instant;

use common::input::GeneralMessage;

use super::path_news::PathNow;
use super::slots::Slot;
use super::{Context, Peer};
use crate::feed::{Bitrate, VideoUnit};
use crate::peer::feeds::{Feeds, Need};
use crate::peer::layers::{ENOUGH, Known};
use crate::peer::{Binding, FeedId};
use crate::publish::Layer;

impl Peer {
    /// Chooses layers anew. To be called every second.
    pub fn choose_layers(&mut self, now: Instant, cx: &mut Context) {
        let share_bps = self.share().map(f64::from);
        let share = self.bitrate();
        for slot in &mut self.slots {
            let (Some(binding), Some(watched)) = (slot.binding, slot.watched) else { continue };
            let Some(low) = binding.low else { continue };
            let known = Known {
                high_flows: cx.feeds.flows(now, binding.video),
                has_low: cx.feeds.codec(low).is_some() || matches!(cx.feeds.need(low), Need::Chosen(_)),
                high: cx.feeds.need(binding.video),
                share_bps,
            };
            let wanted = match slot.layer.choose(now, known) {
                Layer::High => binding.video,
                Layer::Low => low,
            };
            let next = (wanted != watched.video).then_some(wanted);
            if slot.next != next {
                slot.forget_next(&mut cx.feeds);
                slot.next = next;
                if let Some(next) = next {
                    cx.feeds.watch(now, next, share);
                    cx.feeds.request_keyframe(now, next);
                }
            }
        }
    }
}

impl Peer {
    /// Tells the client what its path allows, if there is news of that. To be called every second.
    pub fn tell_path(&mut self, now: Instant, cx: &Context) {
        let share = self.share();
        let is_short = |slot: &Slot| {
            let wanted = slot
                .binding
                .filter(|_| slot.watched.is_some())
                .map(|binding| cx.feeds.wanted_bps(binding.video));
            wanted.zip(share).is_some_and(|(wanted, share)| wanted * ENOUGH > f64::from(share))
        };
        let is_reduced = self.slots.iter().any(is_short);
        let path = PathNow { allows_kbps: share.map(|bps| bps / 1000), is_reduced };
        if let Some(PathNow { allows_kbps, is_reduced }) = self.path_news.take(now, path) {
            self.tell(now, &GeneralMessage::Path { allows_kbps, reduced: is_reduced });
        }
    }
}

impl Slot {
    /// The picture that stands in its binding for what is watched: of two layers, the high one.
    pub(super) fn first_layer(&self, watched: Binding) -> FeedId {
        match self.binding {
            Some(binding) if binding.low == Some(watched.video) => binding.video,
            _ => watched.video,
        }
    }

    /// Does not wait for another layer any more.
    pub(super) fn forget_next(&mut self, feeds: &mut Feeds) {
        if let Some(next) = self.next.take() {
            feeds.unwatch(next);
        }
    }

    /// Goes on with another layer of its source if this unit is where it can: with the one that it waits for; or, while it has
    /// nothing to show, with whichever comes of what a peer publishes.
    pub(super) fn change_layer(
        &mut self,
        now: Instant,
        feed: FeedId,
        unit: &VideoUnit,
        share: Bitrate,
        feeds: &mut Feeds,
    ) {
        let (Some(binding), Some(watched)) = (self.binding, self.watched) else { return };
        if !unit.keyframe || watched.video == feed {
            return;
        }
        let is_layer = (feed == binding.video || Some(feed) == binding.low)
            && matches!(feeds.need(feed), Need::Measured(_));
        if self.next == Some(feed) {
            self.next = None;
        } else if is_layer && self.video.is_waiting() && !feeds.flows(now, watched.video) {
            feeds.watch(now, feed, share);
        } else {
            return;
        }
        feeds.unwatch(watched.video);
        self.watched = Some(Binding { video: feed, ..watched });
        self.video.forget_sent();
        self.video.wait();
    }
}
