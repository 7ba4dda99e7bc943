//! Which mixes of sound there are, of what, and who takes which.
//!
//! ```text
//! peers that take a mix ─▶ who hears the same ─▶ a feed for each ─▶ Plan ─▶ crate::mix
//!                                                      └──▶ PeerCommand::TakeMix
//! ```
//!
//! It is decided anew after each event, and what is new is told. While nobody takes a mix that costs nothing.

use std::collections::{BTreeMap, BTreeSet};

use common::id::{PeerId, SourceName};
use common::ipc::{Code, RequestError};
use common::spec::SourceSpec;

use super::Session;
use super::effects::Effect;
use super::peers::Entry;
use super::sources::{Feed, Shown, Sound};
use crate::mix::{Heard, Mixed, Plan};
use crate::peer::{Command, FeedId, PeerCommand};

/// Mixes for one peer alone, at most: each is encoded, which takes about a hundredth of a processor. One who would need another one
/// hears nothing until there is room, and is told.
const MAX_SINGLE: usize = 32;

/// Who hears a mix.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Audience {
    /// All who see what everybody sees and publish no microphone.
    Everybody,
    /// One who publishes a microphone, and so hears all but that, or has chosen what it sees.
    Single(PeerId),
}

/// The mixes of a session.
#[derive(Default)]
pub struct Mixes {
    feeds: BTreeMap<Audience, Feed>,
    /// As it was told last.
    plan: Plan,
    /// What each peer that takes a mix was told to take.
    taken: BTreeMap<PeerId, Option<FeedId>>,
}

impl Session {
    /// Follows what has changed.
    pub(super) fn update_mixes(&mut self) {
        let takers: BTreeMap<_, _> =
            self.peers.takers().map(|entry| (entry.peer.id, self.audience_of(entry))).collect();
        if takers.is_empty() && self.mixes.taken.is_empty() {
            return;
        }
        self.mixes.taken.retain(|peer, _| takers.contains_key(peer));
        let audiences: BTreeSet<_> = takers.values().copied().collect();
        self.close_mixes(&audiences);
        for audience in audiences {
            self.open_mix(audience);
        }
        let plan = self.mix_plan();
        if !plan.is_same(&self.mixes.plan) {
            self.effects.push(Effect::Mix(plan.clone()));
            self.mixes.plan = plan;
        }
        for (peer, audience) in takers {
            let feed = self.mixes.feeds.get(&audience).map(|feed| feed.id);
            if self.mixes.taken.insert(peer, feed) == Some(feed) {
                continue;
            }
            let _ = self.command(peer, PeerCommand::TakeMix(feed));
            if feed.is_none() {
                let message = format!(
                    "{MAX_SINGLE} mixes are made for single peers, the most that may; you hear nothing until one is free"
                );
                self.effects.refuse_peer(peer, RequestError::new(Code::TooManyMixes, message));
            }
        }
    }

    fn audience_of(&self, entry: &Entry) -> Audience {
        let speaks = self.published.face_of(entry.peer.id).is_some_and(|source| self.is_heard(source));
        match entry.follows_everywhere() && !speaks {
            true => Audience::Everybody,
            false => Audience::Single(entry.peer.id),
        }
    }

    fn is_heard(&self, source: &str) -> bool {
        self.sources.get(source).is_some_and(|entry| entry.listening.is_some())
    }

    /// Forgets mixes of which nobody is the audience any more.
    fn close_mixes(&mut self, audiences: &BTreeSet<Audience>) {
        let unused = self.mixes.feeds.keys().filter(|known| !audiences.contains(known));
        for audience in unused.copied().collect::<Vec<_>>() {
            if let Some(feed) = self.mixes.feeds.remove(&audience) {
                self.command_all(|| Command::RemoveFeed { feed: feed.id });
            }
        }
    }

    /// Makes a mix, unless there is one or there may be no more.
    fn open_mix(&mut self, audience: Audience) {
        if self.mixes.feeds.contains_key(&audience) {
            return;
        }
        let single = |known: &&Audience| matches!(known, Audience::Single(_));
        if single(&&audience) && self.mixes.feeds.keys().filter(single).count() >= MAX_SINGLE {
            return;
        }
        match self.sources.feed() {
            Ok(feed) => {
                self.command_all(|| Command::AddFeed { feed: feed.id, demand: feed.demand.clone() });
                self.mixes.feeds.insert(audience, feed);
            }
            Err(error) => tracing::error!(%error, "no feed for a mix"),
        }
    }

    fn mix_plan(&self) -> Plan {
        let mut plan = Plan::default();
        for (audience, Feed { id, demand }) in &self.mixes.feeds {
            let heard = self.heard_by(*audience);
            let of: BTreeSet<_> = heard.iter().map(|(_, sound)| sound.feed.id).collect();
            for (published, Sound { feed, listening }) in heard {
                plan.sources.insert(feed.id, Heard { published, demand: feed.demand, listening });
            }
            plan.mixes.insert(*id, Mixed { demand: demand.clone(), of });
        }
        plan
    }

    /// What somebody hears, and whether a peer publishes it: what its slots show, and everybody who publishes, in a slot or not. Of a
    /// peer whose slots are its own, the former alone.
    fn heard_by(&self, audience: Audience) -> Vec<(bool, Sound)> {
        let entry = match audience {
            Audience::Everybody => None,
            Audience::Single(peer) => self.peers.get(peer),
        };
        let shown: Vec<Shown> = match entry {
            None => self.slots.values().map(|bound| bound.shown.clone()).collect(),
            Some(entry) => {
                (0..entry.slots).filter_map(|slot| self.seen_by(entry.peer.id, slot).cloned()).collect()
            }
        };
        let everybody = entry.is_none_or(|entry| !entry.own_slots);
        let people = self.published.faces().filter(|_| everybody).cloned().map(Shown::native);
        let own: Option<&SourceName> = entry.and_then(|entry| self.published.face_of(entry.peer.id));
        let mut heard = Vec::new();
        for shown in shown.into_iter().chain(people).filter(|shown| Some(&shown.source) != own) {
            let spec = self.sources.get(&shown.source).map(|entry| &entry.spec);
            let published = matches!(spec, Some(SourceSpec::Publish(_)));
            heard.extend(self.sources.sound_of(&shown).map(|sound| (published, sound)));
        }
        heard
    }
}
