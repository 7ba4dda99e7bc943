//! What peers publish: each becomes a source, takes a free slot, and goes when its peer stops or leaves.
//!
//! ```text
//! publish ──▶ source, in a slot if one is free ──first picture──▶ shown
//!                │ no slot is free: it waits, and takes the next one
//! with all slots taken, who speaks gets that of whoever has been silent for the longest
//! unpublish, gone, lost ──▶ the source is removed, its slot is free for the next that waits
//! ```

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::api::{PeerKind, PeerState};
use common::id::{MAIN_SOURCE, PeerId, SlotIndex, SourceName};
use common::ipc::{Code, RequestError};
use common::media::VideoCodec;
use common::person::{PeerRight, Rights};
use common::signal::{PublishKind, ServerMessage};
use common::spec::{MAX_SOURCES, PublishSpec, SourceSpec, validate_name};

use super::effects::Effect;
use super::sources::{Life, Shown};
use super::{Now, Session};
use crate::feed::{Listening, Tapping};
use crate::peer::publishing::{Pictured, Taken};
use crate::peer::{Command, PeerCommand};
use crate::source::published::{Known, Published};

/// Longest name of a source that is made from a wish.
const MAX_NAME: usize = 40;

/// A source is shown for so long at least before another one takes its slot.
const LEAST_SHOWN: Duration = Duration::from_secs(3);
/// Who was heard within this keeps its slot.
const RECENTLY_HEARD: Duration = Duration::from_secs(2);

/// What becomes one source: a camera and a microphone, or a screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Subject {
    Face,
    Screen,
}

impl Subject {
    fn of(kind: PublishKind) -> Self {
        match kind {
            PublishKind::Camera | PublishKind::Microphone => Subject::Face,
            PublishKind::Screen => Subject::Screen,
        }
    }
}

/// One source that a peer publishes.
struct Publication {
    source: SourceName,
    known: Known,
    /// It has had no slot yet; those that came first get the next ones.
    waits: Option<u64>,
    /// When it was shown last.
    shown: Option<Instant>,
    /// When it was heard last; `None`: never, or it has no sound.
    heard: Option<Instant>,
    /// It is heard now.
    speaking: bool,
}

impl Publication {
    /// Whether somebody who speaks may have its slot.
    fn gives_way(&self, now: Instant) -> bool {
        let long_ago =
            |at: Option<Instant>, time| at.is_none_or(|at| now.saturating_duration_since(at) >= time);
        !self.speaking && long_ago(self.shown, LEAST_SHOWN) && long_ago(self.heard, RECENTLY_HEARD)
    }
}

/// All that is published.
#[derive(Default)]
pub struct Publications {
    all: BTreeMap<(PeerId, Subject), Publication>,
    next: u64,
}

impl Publications {
    /// Those that wait for a slot, in the order in which they came.
    fn waiting(&self) -> Vec<(PeerId, Subject)> {
        let mut waiting: Vec<_> = self.all.iter().filter_map(|(id, one)| Some((one.waits?, *id))).collect();
        waiting.sort_unstable();
        waiting.into_iter().map(|(_, id)| id).collect()
    }

    /// Whether a peer is heard now.
    pub fn is_speaking(&self, peer: PeerId) -> bool {
        self.all.get(&(peer, Subject::Face)).is_some_and(|one| one.speaking)
    }

    /// The source with a peer's camera and microphone.
    pub fn face_of(&self, peer: PeerId) -> Option<&SourceName> {
        self.all.get(&(peer, Subject::Face)).map(|one| &one.source)
    }

    /// The sources with a microphone or a camera of everybody.
    pub fn faces(&self) -> impl Iterator<Item = &SourceName> {
        let faces = self.all.iter().filter(|((_, subject), _)| *subject == Subject::Face);
        faces.map(|(_, one)| &one.source)
    }

    /// The peer that publishes a source.
    pub fn peer_of(&self, source: &str) -> Option<PeerId> {
        self.all.iter().find(|(_, one)| one.source == source).map(|((peer, _), _)| *peer)
    }
}

/// Checks the right to publish.
///
/// # Errors
/// It is not among them.
pub(super) fn check_right_to_publish(rights: &Rights) -> Result<(), RequestError> {
    if rights.contains(&PeerRight::Publish) {
        return Ok(());
    }
    Err(RequestError::new(Code::MayNotPublish, "this needs the right to publish"))
}

impl Session {
    /// A peer sends this from now on.
    pub(super) fn publish(&mut self, now: Now, peer: PeerId, kind: PublishKind, name: Option<&str>) {
        if let Err(error) = self.try_publish(now, peer, kind, name) {
            self.effects.refuse_peer(peer, error);
        }
    }

    fn try_publish(
        &mut self,
        now: Now,
        peer: PeerId,
        kind: PublishKind,
        name: Option<&str>,
    ) -> Result<(), RequestError> {
        self.check_publisher(peer)?;
        let id = (peer, Subject::of(kind));
        if !self.published.all.contains_key(&id) {
            self.add_publication(id, name)?;
        }
        let Some(Publication { source, known, .. }) = self.published.all.get(&id) else { return Ok(()) };
        let source = source.clone();
        let known = known.clone();
        let Some(entry) = self.sources.get_mut(&source) else { return Ok(()) };
        let SourceSpec::Publish(spec) = &mut entry.spec else { return Ok(()) };
        let mut told = false;
        if spec.kinds.insert(kind) {
            let video = entry.video.clone();
            let low = entry.low.clone();
            let audio = entry.audio.clone();
            let (listening, listeners) = Listening::new();
            let (tapping, taps) = Tapping::new(video.demand.clone());
            match kind {
                PublishKind::Microphone => entry.listening = Some(listening),
                PublishKind::Camera | PublishKind::Screen => entry.tapping = Some(tapping),
            }
            if let Some(shard) = self.peers.get(peer).map(|entry| entry.shard) {
                self.effects.push(Effect::Publish {
                    shard,
                    peer,
                    kind,
                    video: video.clone(),
                    low: low.clone(),
                    audio,
                    taps,
                    listeners,
                });
            }
            if kind == PublishKind::Camera {
                self.camera_published(peer);
            }
            if kind == PublishKind::Microphone {
                self.room.speaks_again(peer);
                known.set_audio(true);
                self.microphone_published(peer);
            } else {
                for feed in [Some(&video), low.as_ref()].into_iter().flatten() {
                    self.command_all(|| Command::FeedOnline { feed: feed.id, online: true });
                }
            }
            self.source_changed(&source);
            let waited = self.waits(id);
            self.fill_slots(now);
            // With a slot it was told what it publishes.
            told = waited && !self.waits(id);
            self.participants(now);
        }
        // Who has a microphone and no camera has no picture that could be waited for.
        if kind == PublishKind::Microphone {
            self.first_picture(now, &source);
        }
        if !told {
            self.tell_published(peer, kind);
        }
        Ok(())
    }

    /// Whether it waits for a slot.
    fn waits(&self, id: (PeerId, Subject)) -> bool {
        self.published.all.get(&id).is_some_and(|one| one.waits.is_some())
    }

    fn check_publisher(&self, peer: PeerId) -> Result<(), RequestError> {
        let entry = self.peers.get(peer);
        let entry = entry.ok_or_else(|| RequestError::new(Code::PeerNotFound, "you have left"))?;
        check_right_to_publish(&entry.peer.rights)?;
        // One that connects may have been faster than what its shard says of it.
        if entry.peer.state == PeerState::Lost {
            return Err(RequestError::new(Code::JoinFailed, "publish when you are connected"));
        }
        Ok(())
    }

    /// A new source of a peer's, in a slot if one is free.
    fn add_publication(&mut self, id: (PeerId, Subject), name: Option<&str>) -> Result<(), RequestError> {
        let (peer, subject) = id;
        if self.sources.all().len() >= MAX_SOURCES {
            let message = format!("this streamer has {MAX_SOURCES} sources, the most it may have");
            return Err(RequestError::new(Code::TooManySources, message));
        }
        let source = self.free_name(peer, subject, name);
        let spec = SourceSpec::Publish(PublishSpec { peer, kinds: BTreeSet::new() });
        let failed = |error: std::io::Error| RequestError::new(Code::SourceFailed, error.to_string());
        self.add_source(source.clone(), spec, false).map_err(failed)?;
        let known = Known::nothing();
        let key = self.sources.key();
        let low = self.sources.feed().map_err(failed)?;
        self.command_all(|| Command::AddFeed { feed: low.id, demand: low.demand.clone() });
        if let Some(entry) = self.sources.get_mut(&source) {
            entry.key = key;
            entry.low = Some(low);
            entry.life = Life::Warming(Box::new(Published(known.clone())));
        }
        let waits = Some(self.published.next);
        self.published.next += 1;
        let one = Publication { source, known, waits, shown: None, heard: None, speaking: false };
        self.published.all.insert(id, one);
        Ok(())
    }

    /// A name for a source: as it is wished for, else after the peer; with a number if it is taken.
    fn free_name(&self, peer: PeerId, subject: Subject, wish: Option<&str>) -> SourceName {
        let shown = self.peers.get(peer).and_then(|entry| entry.peer.display_name.as_deref());
        let mut wishes = [wish, shown].into_iter().flatten().map(as_name);
        let wished = wishes.find(|name| validate_name(name).is_ok());
        let by_peer = || format!("peer-{}", &peer.to_string()[..8]);
        let base = wished.unwrap_or_else(by_peer);
        let base = match subject {
            Subject::Face => base,
            Subject::Screen => format!("{base}-screen"),
        };
        let numbered = (2u32..).map(|n| format!("{base}-{n}"));
        let mut names = std::iter::once(base.clone()).chain(numbered);
        names.find(|name| name != MAIN_SOURCE && self.sources.get(name).is_none()).unwrap_or(base)
    }

    fn tell_published(&mut self, peer: PeerId, kind: PublishKind) {
        let Some(one) = self.published.all.get(&(peer, Subject::of(kind))) else { return };
        let source = one.source.clone();
        let slot = self.slot_of(&source);
        self.effects.signal_peer(peer, ServerMessage::Published { kind, source, slot });
    }

    /// The slot in which everybody sees a source.
    fn slot_of(&self, source: &str) -> Option<SlotIndex> {
        self.slots.iter().find(|(_, bound)| bound.shown.source == source).map(|(slot, _)| *slot)
    }

    /// A peer that came by WHIP is connected: what it has offered to send is published.
    pub(super) fn publish_all(&mut self, now: Now, peer: PeerId) {
        if self.peers.get(peer).is_some_and(|entry| entry.peer.kind == PeerKind::Whip) {
            for kind in [PublishKind::Camera, PublishKind::Microphone] {
                self.publish(now, peer, kind, None);
            }
        }
    }

    /// Gives free slots to what waits for one.
    pub(super) fn fill_slots(&mut self, now: Now) {
        for id in self.published.waiting() {
            let Ok(slot) = self.choose_slot(None) else { return };
            let Some(one) = self.published.all.get_mut(&id) else { continue };
            one.waits = None;
            one.shown = Some(now.instant);
            let source = one.source.clone();
            self.show(slot, Shown::native(source.clone()));
            for kind in self.kinds_of(&source) {
                self.tell_published(id.0, kind);
            }
        }
    }

    /// What a peer publishes.
    pub(super) fn published_by(&self, peer: PeerId) -> Vec<PublishKind> {
        let sources = self.published.all.iter().filter(|((of, _), _)| *of == peer);
        sources.flat_map(|(_, one)| self.kinds_of(&one.source)).collect()
    }

    /// A peer is heard, or is not any more. While it has no slot it gets that of whoever has been silent for the longest.
    pub(super) fn speaking(&mut self, now: Now, peer: PeerId, speaking: bool) {
        let Some(one) = self.published.all.get_mut(&(peer, Subject::Face)) else { return };
        one.speaking = speaking;
        one.heard = Some(now.instant);
        if speaking && one.waits.is_some() {
            self.show_speaker(now, peer);
        }
        self.participants(now);
    }

    fn show_speaker(&mut self, now: Now, peer: PeerId) {
        let silent = self.published.all.iter().filter(|((_, subject), one)| {
            *subject == Subject::Face && one.waits.is_none() && one.gives_way(now.instant)
        });
        let shown = silent.filter_map(|(id, one)| Some((one.heard, *id, self.slot_of(&one.source)?)));
        let Some((_, silent, slot)) = shown.min() else { return };
        let next = self.published.next;
        self.published.next += 1;
        if let Some(one) = self.published.all.get_mut(&silent) {
            one.waits = Some(next);
        }
        let Some(one) = self.published.all.get_mut(&(peer, Subject::Face)) else { return };
        one.waits = None;
        one.shown = Some(now.instant);
        let source = one.source.clone();
        self.show(slot, Shown::native(source.clone()));
        for peer in [silent.0, peer] {
            for kind in self.published_by(peer) {
                if Subject::of(kind) == Subject::Face {
                    self.tell_published(peer, kind);
                }
            }
        }
    }

    fn kinds_of(&self, source: &str) -> BTreeSet<PublishKind> {
        match self.sources.get(source).map(|entry| &entry.spec) {
            Some(SourceSpec::Publish(spec)) => spec.kinds.clone(),
            _ => BTreeSet::new(),
        }
    }

    /// A peer sends this no longer.
    pub(super) fn unpublish(&mut self, now: Now, peer: PeerId, kind: PublishKind, reason: Option<&str>) {
        let id = (peer, Subject::of(kind));
        let Some(Publication { source, known, .. }) = self.published.all.get(&id) else { return };
        let source = source.clone();
        let known = known.clone();
        let Some(entry) = self.sources.get_mut(&source) else { return };
        let SourceSpec::Publish(spec) = &mut entry.spec else { return };
        if !spec.kinds.remove(&kind) {
            return;
        }
        let nothing_left = spec.kinds.is_empty();
        let pictures: Vec<_> = std::iter::once(&entry.video).chain(&entry.low).map(|feed| feed.id).collect();
        if kind == PublishKind::Microphone {
            entry.listening = None;
            self.unplug_microphone(peer);
        }
        if kind == PublishKind::Camera {
            self.unplug_camera(peer);
        }
        let _ = self.command(peer, PeerCommand::Unpublish(kind));
        self.participants(now);
        let reason = reason.map(str::to_owned);
        self.effects.signal_peer(peer, ServerMessage::Unpublished { kind, reason: reason.clone() });
        if nothing_left {
            self.published.all.remove(&id);
            let reason = reason.unwrap_or_else(|| "it is not published any more".to_owned());
            self.clear_all_of(&source, &reason);
            self.drop_source(&source);
            self.fill_slots(now);
        } else if kind == PublishKind::Microphone {
            known.set_audio(false);
            self.source_changed(&source);
        } else {
            known.set_pictures(VideoCodec::H264, None);
            if let Some(entry) = self.sources.get_mut(&source) {
                entry.tapping = None;
            }
            self.source_changed(&source);
            for feed in pictures {
                self.command_all(|| Command::FeedOnline { feed, online: false });
            }
        }
        self.update_sources(now);
    }

    /// A peer publishes nothing any more.
    pub(super) fn unpublish_all(&mut self, now: Now, peer: PeerId, reason: &str) {
        for kind in [PublishKind::Camera, PublishKind::Microphone, PublishKind::Screen] {
            self.unpublish(now, peer, kind, Some(reason));
        }
    }

    /// The source of this name, if a peer publishes it, is published no longer. False when it is none.
    pub(super) fn unpublish_source(&mut self, now: Now, source: &str, reason: &str) -> bool {
        let Some(peer) = self.published.peer_of(source) else { return false };
        for kind in self.kinds_of(source) {
            self.unpublish(now, peer, kind, Some(reason));
        }
        true
    }

    /// The first picture of a peer's is there, or its pictures are others now.
    pub(super) fn pictured(&mut self, now: Now, peer: PeerId, pictured: Pictured) {
        let Pictured { kind, codec, size } = pictured;
        let Some(one) = self.published.all.get(&(peer, Subject::of(kind))) else { return };
        one.known.set_pictures(codec, size);
        let source = one.source.clone();
        if kind == PublishKind::Camera {
            self.camera_pictured(now, peer, codec);
        }
        let running = self.sources.get(&source).is_some_and(|entry| entry.is_running());
        if running {
            self.source_changed(&source);
        } else {
            self.first_picture(now, &source);
        }
    }
}

impl Session {
    /// Which layers of what a peer publishes anybody takes.
    pub(super) fn layers_taken(&mut self, peer: PeerId, taken: Taken) {
        let Taken { kind, layers } = taken;
        let layers = layers.into_iter().map(|layer| layer.rid().to_owned()).collect();
        self.effects.signal_peer(peer, ServerMessage::PublishLayers { kind, layers });
    }
}

/// A wish as the name of a source: what is no letter or digit becomes a dash.
fn as_name(wish: &str) -> String {
    let mut name = String::new();
    for letter in wish.chars().take(4 * MAX_NAME) {
        if letter.is_ascii_alphanumeric() {
            name.push(letter.to_ascii_lowercase());
        } else if !name.is_empty() && !name.ends_with('-') {
            name.push('-');
        }
    }
    name.truncate(MAX_NAME);
    name.trim_end_matches('-').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wishes_become_names() {
        for (wish, name) in [
            ("Ann's camera", "ann-s-camera"),
            ("  x  ", "x"),
            ("../../etc", "etc"),
            ("日本", ""),
            (&"a".repeat(99), &"a".repeat(MAX_NAME)),
        ] {
            assert_eq!(as_name(wish), name);
        }
    }
}
