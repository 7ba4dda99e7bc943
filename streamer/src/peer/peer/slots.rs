//! The slots of one peer: what they show, and what is reported of them.

use std::time::{Duration, Instant};

use common::id::SlotIndex;
use common::media::VIDEO_CLOCK_HZ;
use common::signal::SlotState;

use super::{Context, Peer, Sound};
use crate::feed::ticks;
use crate::peer::connection::{Connection, Error};
use crate::peer::feeds::Feeds;
use crate::peer::layers::LayerChoice;
use crate::peer::slot::{AudioWriter, Seeds, VideoWriter};
use crate::peer::{Begin, Binding, FeedId, SlotChoice};

/// A cached GOP is replayed to a limited peer when it can be sent in this time.
const REPLAY_TIME: Duration = Duration::from_millis(250);

pub(super) struct Slot {
    /// What it is to show.
    pub(super) binding: Option<Binding>,
    /// The peer has chosen it: it does not follow what everybody sees there.
    pub(super) own: bool,
    /// Index of its video sender, once it has sections; that of its sound is the next.
    pub(super) sender: Option<usize>,
    pub(super) video: VideoWriter,
    pub(super) audio: AudioWriter,
    pub(super) paused: bool,
    /// The mix that is heard in this slot, and that it is counted as a listener of.
    pub(super) mix: Option<FeedId>,
    /// Feeds that this slot is counted as a watcher of. Of two layers, its picture is the one that is sent.
    pub(super) watched: Option<Binding>,
    /// The layer that it should have.
    pub(super) layer: LayerChoice,
    /// The picture of that layer, watched too until it has a keyframe to begin with.
    pub(super) next: Option<FeedId>,
    /// The state that was reported last; `None`: report in any case.
    pub(super) reported: Option<SlotState>,
    /// Packets of its video that the peer has reported lost so far.
    pub(super) lost: u32,
}

/// The slots of a new peer, with their sections as far as these are negotiated at the beginning.
pub(super) fn create(
    connection: &mut Connection,
    bindings: &[Option<Binding>],
    begin: &Begin,
) -> Result<Vec<Slot>, Error> {
    let mut slots = Vec::new();
    for (n, (binding, own)) in shown_first(bindings, begin).into_iter().enumerate() {
        let mut slot = Slot::new(binding, own);
        if binding.is_some() || !matches!(begin, Begin::Offer { preallocated: false, .. }) {
            // At most MAX_SLOTS.
            slot.add_sections(connection, n as SlotIndex)?;
        }
        slots.push(slot);
    }
    Ok(slots)
}

/// What each slot of a new peer shows, and whether the peer has chosen it.
fn shown_first(bindings: &[Option<Binding>], begin: &Begin) -> Vec<(Option<Binding>, bool)> {
    let followed = |n: usize| bindings.get(n).copied().flatten();
    match begin {
        Begin::Offer { .. } => bindings.iter().map(|binding| (*binding, false)).collect(),
        Begin::OfferToMultiWebrtc => vec![(followed(0), false)],
        Begin::Accept { slots, .. } => {
            let shown = slots.iter().enumerate().map(|(n, choice)| match choice {
                SlotChoice::Follow => (followed(n), false),
                SlotChoice::Own(binding) => (*binding, true),
            });
            shown.collect()
        }
        Begin::Publish { .. } => Vec::new(),
    }
}

impl Slot {
    fn new(binding: Option<Binding>, own: bool) -> Self {
        Self {
            binding,
            own,
            sender: None,
            video: VideoWriter::new(seeds()),
            audio: AudioWriter::new(seeds()),
            paused: false,
            mix: None,
            watched: None,
            layer: LayerChoice::default(),
            next: None,
            reported: Some(SlotState::Inactive),
            lost: 0,
        }
    }

    /// Whether it is heard with this feed.
    pub(super) fn sounds(&self, feed: FeedId) -> bool {
        self.mix == Some(feed) || self.watched.is_some_and(|binding| binding.audio == Some(feed))
    }

    /// Something is sent in it.
    pub(super) fn is_in_use(&self) -> bool {
        self.mix.is_some() || self.watched.is_some()
    }

    /// It is heard with no mix any more.
    pub(super) fn forget_mix(&mut self, feeds: &mut Feeds) {
        if let Some(feed) = self.mix.take() {
            feeds.unwatch(feed);
        }
    }
}

impl Peer {
    /// Changes what a slot shows, unless the peer has chosen for itself.
    pub fn bind(&mut self, now: Instant, slot: SlotIndex, binding: Option<Binding>, cx: &mut Context) {
        let n = usize::from(slot);
        if self.slots.get(n).is_some_and(|slot| !slot.own) {
            self.show(now, n, binding, cx);
        }
    }

    /// Takes the peer's choice for a slot; `followed` is what everybody sees there. False when there is no such slot.
    pub fn switch(
        &mut self,
        now: Instant,
        slot: SlotIndex,
        own: SlotChoice,
        followed: Option<Binding>,
        cx: &mut Context,
    ) -> bool {
        let n = usize::from(slot);
        let Some(state) = self.slots.get_mut(n) else { return false };
        state.own = own != SlotChoice::Follow;
        // The client waits for a report, even if nothing changes.
        state.reported = None;
        let binding = match own {
            SlotChoice::Follow => followed,
            SlotChoice::Own(binding) => binding,
        };
        self.show(now, n, binding, cx);
        true
    }

    /// Has a slot show something.
    pub(super) fn show(&mut self, now: Instant, n: usize, binding: Option<Binding>, cx: &mut Context) {
        // Nobody receives what it publishes itself.
        let binding = binding.filter(|binding| !self.is_own(binding));
        // Who takes a mix hears it there.
        let binding = match self.sound {
            Sound::OfSlots => binding,
            Sound::Mixed(_) => binding.map(without_sound),
        };
        let state = &mut self.slots[n];
        if std::mem::replace(&mut state.binding, binding) == binding {
            return;
        }
        state.video.forget_sent();
        if self.is_agreed() {
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
    }

    /// Stops or resumes a slot. False when there is no such slot.
    pub fn pause(&mut self, now: Instant, slot: SlotIndex, paused: bool, cx: &mut Context) -> bool {
        let n = usize::from(slot);
        let Some(state) = self.slots.get_mut(n) else { return false };
        state.paused = paused;
        if self.is_agreed() {
            self.update_watch(now, n, cx);
            self.start_slot(now, n, cx);
        }
        true
    }

    /// All that it hears is this feed from now on; `None`: silence.
    pub fn take_mix(&mut self, feed: Option<FeedId>, cx: &mut Context) {
        self.sound = Sound::Mixed(feed);
        for slot in &mut self.slots {
            slot.binding = slot.binding.map(without_sound);
            let audio = slot.watched.as_mut().and_then(|watched| watched.audio.take());
            if let Some(audio) = audio {
                cx.feeds.unwatch(audio);
            }
        }
        if self.is_agreed() {
            self.update_mix(cx);
        }
    }

    /// It is known which slots the peer takes: it has answered, or takes all by its media socket.
    fn is_agreed(&self) -> bool {
        self.connection.is_answered() || self.is_on_wire()
    }

    /// Whether a slot's media can come to the peer now.
    fn reaches(&self, n: usize) -> bool {
        self.is_on_wire() || (!self.is_lost() && self.offers.has(n as SlotIndex))
    }

    /// Counts slot 0 as a listener of the mix exactly while it is sent there: unless every slot is paused.
    fn update_mix(&mut self, cx: &mut Context) {
        let Sound::Mixed(feed) = self.sound else { return };
        let reachable = self.reaches(0);
        let up = self.is_up();
        let paused = self.slots.iter().all(|slot| slot.paused);
        let Some(slot) = self.slots.first_mut() else { return };
        let wanted = feed.filter(|_| reachable && !paused);
        if slot.mix != wanted {
            slot.forget_mix(&mut cx.feeds);
            slot.mix = wanted;
            if let Some(feed) = wanted {
                cx.feeds.listen(feed);
            }
        }
        slot.audio.set_active(up && slot.is_in_use());
    }

    /// Counts a slot as a watcher of its feeds exactly while it wants their media.
    pub(super) fn update_watch(&mut self, now: Instant, n: usize, cx: &mut Context) {
        self.update_mix(cx);
        let reachable = self.reaches(n);
        let slot = &mut self.slots[n];
        let wanted = slot.binding.filter(|_| reachable && !slot.paused);
        // One of its two layers is as good as the other here.
        if slot.watched.map(|watched| Binding { video: slot.first_layer(watched), ..watched }) == wanted {
            return;
        }
        slot.forget_next(&mut cx.feeds);
        slot.layer = LayerChoice::default();
        unwatch(slot.watched, &mut cx.feeds);
        slot.watched = wanted;
        let share = self.bitrate();
        if let Some(binding) = wanted {
            cx.feeds.watch(now, binding.video, share);
            if let Some(audio) = binding.audio {
                cx.feeds.listen(audio);
            }
        }
    }

    /// Starts a slot's writers, from the cache if possible, or stops them.
    pub(super) fn start_slot(&mut self, now: Instant, n: usize, cx: &mut Context) {
        let up = self.is_up();
        let on_wire = self.is_on_wire();
        let slot = &mut self.slots[n];
        slot.audio.set_active(up && slot.is_in_use());
        let Some(binding) = slot.watched.filter(|_| up) else { return slot.video.stop() };
        slot.video.wait();
        let max_bytes = self.pace.bytes_in(REPLAY_TIME).unwrap_or(usize::MAX);
        let feed = cx.feeds.get(binding.video).filter(|feed| !feed.awaits_keyframe());
        let elapsed = now.saturating_duration_since(cx.clock);
        let time = ticks(elapsed, VIDEO_CLOCK_HZ);
        let mut wholes = Vec::new();
        let replayed = feed.is_some_and(|feed| match on_wire {
            true => slot.video.replay_whole(time, &feed.gop, &mut wholes),
            false => slot.video.replay(time, &feed.gop, max_bytes, &mut cx.packets),
        });
        if !replayed {
            cx.feeds.request_keyframe(now, binding.video);
        }
        self.send_whole(now, n, &wholes);
        self.send(now, &mut cx.packets);
    }

    /// The source of a feed is lost: nothing before its next keyframe can be shown.
    pub fn offline(&mut self, feed: FeedId) {
        let shows = |slot: &&mut Slot| slot.watched.is_some_and(|binding| binding.video == feed);
        for slot in self.slots.iter_mut().filter(shows).filter(|slot| slot.video.is_live()) {
            slot.video.wait();
        }
    }

    /// Has the state of every slot reported once more.
    pub fn forget_told(&mut self) {
        for slot in &mut self.slots {
            slot.reported = None;
        }
    }

    /// Slots whose state differs from the one reported last.
    pub fn changed_slots(&mut self, feeds: &Feeds) -> Vec<(SlotIndex, SlotState)> {
        let up = self.is_up();
        let on_wire = self.is_on_wire();
        let mut changed = Vec::new();
        let wire = self.wire.as_ref().filter(|_| on_wire);
        let answered = self.connection.is_answered();
        let unsupported = |slot: &Slot, codec| match wire {
            Some(wire) => !wire.supports(codec),
            None => answered && !slot.video.supports(codec),
        };
        for (n, slot) in self.slots.iter_mut().enumerate() {
            let codec = slot.binding.and_then(|binding| feeds.codec(binding.video));
            let state = match slot.binding {
                None => SlotState::Inactive,
                Some(_) if !on_wire && !self.offers.has(n as SlotIndex) => SlotState::Pending,
                Some(_) if unsupported(slot, codec) => SlotState::Error,
                Some(_) if slot.paused => SlotState::Paused,
                Some(_) if !up => SlotState::Pending,
                Some(binding) if !feeds.is_online(binding.video) => SlotState::Offline,
                Some(_) if slot.video.is_waiting() => SlotState::Buffering,
                Some(_) => SlotState::Active,
            };
            if slot.reported.replace(state) != Some(state) {
                // At most MAX_SLOTS.
                changed.push((n as SlotIndex, state));
            }
        }
        changed
    }
}

fn without_sound(binding: Binding) -> Binding {
    Binding { audio: None, ..binding }
}

/// Counts a slot out of the feeds of a binding.
pub(super) fn unwatch(binding: Option<Binding>, feeds: &mut Feeds) {
    if let Some(binding) = binding {
        feeds.unwatch(binding.video);
        if let Some(audio) = binding.audio {
            feeds.unwatch(audio);
        }
    }
}

fn seeds() -> Seeds {
    let random = uuid::Uuid::new_v4().as_u128();
    // The version and variant bits of a UUID lie in the middle; these parts are all random. Zero is
    // not a good SSRC: some receivers take it for "unknown".
    Seeds {
        ssrc: (random as u32) | 1,
        rtx_ssrc: ((random >> 96) as u32) & !1 | 2,
        sequence: (random >> 32) as u16,
        offset: uuid::Uuid::new_v4().as_u128() as u32,
    }
}
