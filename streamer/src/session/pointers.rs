//! Who is told where the others point.
//!
//! ```text
//! input thread ── who pointed where, at most 12 times a second ──▶ Pointers ── what of it is news ──▶ audiences ──▶ shards
//! ```
//!
//! A peer is told of the pointers over sources that it sees in a slot, and never of its own. All who are told the same share
//! one message, which is made once. While nobody wants to be told, nothing is kept.

use std::collections::{BTreeMap, BTreeSet};

use common::id::PeerId;
use common::input::{Actor, GeneralMessage, MAX_POINTINGS, Place, Pointing};
use common::signal::Role;

use super::Session;
use super::shards::general;
use crate::input::PointerNotice;
use crate::peer::{Audience, Command};

/// An actor points elsewhere; `None`: nowhere any more.
#[derive(Debug, Clone, PartialEq)]
struct News {
    by: Actor,
    place: Option<Place>,
}

impl From<&News> for Pointing {
    fn from(news: &News) -> Self {
        let peer_id = match news.by {
            Actor::Peer(peer) => Some(peer),
            Actor::Api => None,
        };
        Self { peer_id, place: news.place.clone() }
    }
}

/// Where actors point, as it was told last. Pure.
#[derive(Debug, Default)]
pub struct Pointers {
    /// With the movement that it was the outcome of, counted. At most [`MAX_POINTINGS`]: who moved longest ago makes room.
    known: BTreeMap<Actor, (Place, u64)>,
    movements: u64,
}

impl Pointers {
    /// An actor points there. Returns that if it is news: clients repeat their last position.
    fn moved(&mut self, by: Actor, place: Place) -> Option<News> {
        self.movements += 1;
        let before = self.known.insert(by, (place.clone(), self.movements));
        if before.is_some_and(|(before, _)| before == place) {
            return None;
        }
        if self.known.len() > MAX_POINTINGS {
            // Viewers have stopped showing it, or do so soon.
            let oldest =
                self.known.iter().min_by_key(|(_, (_, movement))| *movement).map(|(actor, _)| *actor);
            oldest.map(|actor| self.known.remove(&actor));
        }
        Some(News { by, place: Some(place) })
    }

    /// An actor points no more. Returns that if anybody was told that it did.
    fn left(&mut self, by: Actor) -> Option<News> {
        self.known.remove(&by).map(|_| News { by, place: None })
    }
}

/// Who is told which of the news, by their indexes. Pure.
fn audiences(
    news: &[News],
    watchers: impl Iterator<Item = PeerId>,
    sees: impl Fn(PeerId, &str) -> bool,
) -> BTreeMap<Vec<usize>, Vec<PeerId>> {
    let mut audiences = BTreeMap::<_, Vec<_>>::new();
    for watcher in watchers {
        let concerns = |News { by, place }: &News| {
            *by != Actor::Peer(watcher) && place.as_ref().is_none_or(|place| sees(watcher, &place.source))
        };
        let told: Vec<_> = (0..news.len()).filter(|&index| concerns(&news[index])).collect();
        if !told.is_empty() {
            audiences.entry(told).or_default().push(watcher);
        }
    }
    audiences
}

impl Session {
    /// Actors have moved the pointer.
    pub(super) fn pointed(&mut self, pointings: &[PointerNotice]) {
        if self.peers.told_of_pointers().next().is_none() {
            return;
        }
        let places: Vec<_> = pointings.iter().filter_map(|notice| self.place_of(notice)).collect();
        let news: Vec<_> =
            places.into_iter().filter_map(|(by, place)| self.pointers.moved(by, place)).collect();
        self.tell_pointers(&news);
    }

    /// A peer has left, or may not steer any more.
    pub(super) fn points_no_more(&mut self, peer: PeerId) {
        if let Some(news) = self.pointers.left(Actor::Peer(peer)) {
            self.tell_pointers(&[news]);
        }
    }

    /// What an actor points at; `None` if it may not steer any more, or its slot shows nothing by now.
    fn place_of(&self, notice: &PointerNotice) -> Option<(Actor, Place)> {
        let PointerNotice { at, slot, by } = *notice;
        let shown = match by {
            Actor::Peer(peer) => {
                let role = self.peers.get(peer)?.peer.role;
                self.seen_by(peer, slot).filter(|_| role >= Role::Controller)?
            }
            Actor::Api => &self.slots.get(&slot)?.shown,
        };
        Some((by, Place { source: shown.source.clone(), at }))
    }

    fn tell_pointers(&mut self, news: &[News]) {
        // Most see what everybody sees.
        let followed: BTreeSet<_> = self.slots.values().map(|bound| bound.shown.source.as_str()).collect();
        let sees = |peer, source: &str| match self.peers.get(peer) {
            Some(entry) if entry.follows_everywhere() => followed.contains(source),
            Some(entry) => (0..entry.slots)
                .any(|slot| self.seen_by(peer, slot).is_some_and(|shown| shown.source == source)),
            None => false,
        };
        let watchers = self.peers.told_of_pointers().map(|entry| entry.peer.id);
        for (told, peers) in audiences(news, watchers, sees) {
            let pointers = told.into_iter().map(|index| Pointing::from(&news[index])).collect();
            let text = general(&GeneralMessage::Pointers { pointers });
            let to = Audience::These(peers.into());
            self.command_all(|| Command::Say { to: to.clone(), text: text.clone() });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::input::Position;

    fn place(source: &str, x: f64) -> Place {
        Place { source: source.into(), at: Position { x, y: 0.0 } }
    }

    fn peers<const N: usize>() -> [PeerId; N] {
        let mut peers = std::array::from_fn(|_| PeerId::unique());
        peers.sort_unstable();
        peers
    }

    #[test]
    fn a_position_is_news_once_and_who_leaves_is_news_if_it_was_known() {
        let [a, b] = peers().map(Actor::Peer);
        let mut pointers = Pointers::default();
        for (by, to, is_news) in [
            (a, Some(place("main", 1.0)), true),
            (a, Some(place("main", 1.0)), false),
            (b, Some(place("main", 1.0)), true),
            (a, Some(place("other", 1.0)), true),
            (a, None, true),
            (a, None, false),
            (a, Some(place("other", 1.0)), true),
        ] {
            let news = match to.clone() {
                Some(place) => pointers.moved(by, place),
                None => pointers.left(by),
            };
            assert_eq!(news, is_news.then_some(News { by, place: to }));
        }
    }

    #[test]
    fn who_moved_longest_ago_makes_room() {
        let all: [Actor; MAX_POINTINGS + 1] = peers().map(Actor::Peer);
        let mut pointers = Pointers::default();
        for by in &all[..MAX_POINTINGS] {
            pointers.moved(*by, place("main", 1.0));
        }
        // The first is repeated, which is no news, and so is the second the one that moved longest ago.
        assert_eq!(pointers.moved(all[0], place("main", 1.0)), None);
        assert!(pointers.moved(all[MAX_POINTINGS], place("main", 1.0)).is_some());
        assert_eq!(pointers.left(all[1]), None);
        assert!(pointers.left(all[0]).is_some());
    }

    #[test]
    fn each_is_told_of_what_it_sees_but_not_of_itself_and_those_who_are_told_the_same_share_it() {
        let [a, b, c, elsewhere] = peers();
        let moved = |by, source: &str| News { by, place: Some(place(source, 1.0)) };
        let sees = |peer, source: &str| (peer == elsewhere) == (source == "camera");
        let news = [
            moved(Actor::Peer(a), "main"),
            moved(Actor::Api, "main"),
            moved(Actor::Peer(elsewhere), "camera"),
        ];
        let all = [a, b, c, elsewhere];
        let told = |news: &[News]| audiences(news, all.into_iter(), sees).into_iter().collect::<Vec<_>>();
        assert_eq!(told(&news), [(vec![0, 1], vec![b, c]), (vec![1], vec![a])]);
        assert_eq!(told(&news[2..]), [], "nobody else sees it");
        let left = News { by: Actor::Peer(elsewhere), place: None };
        assert_eq!(told(&[left]), [(vec![0], vec![a, b, c])], "where it pointed is of no concern");
        assert_eq!(told(&[]), []);
    }
}
