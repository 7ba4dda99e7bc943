//! What a node knows of the cluster: its nodes, and who has which id, from the entries that it has read. Pure; `now` is passed in.
//!
//! ```text
//! watched entries ──heard, put, removed, listed──▶ Directory ──▶ owner of an id, nodes, candidates for placement
//! ```
//!
//! A node is alive for as long as its lease lasts since we last heard of it. Clocks of other machines do not matter. What was known of a
//! node stays when its entry is gone: its streamers are still its own.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::time::{Duration, Instant};

use common::api::Streamer;
use common::cluster::{Node, NodeState, Placement};
use common::id::StreamerId;
use common::signal::StreamerState;

use super::decide::{self, Lineage};
use super::place::{self, Candidate, NoCapacity};
use super::records::{NodeRecord, StreamerRecord};

/// Lost nodes that have no streamer are forgotten after this time.
const FORGET: Duration = Duration::from_secs(24 * 3600);

/// A node, and when we heard of it.
#[derive(Debug, Clone)]
struct Known {
    record: NodeRecord,
    heard: Instant,
}

/// A streamer's record with its revision, for changing it.
#[derive(Debug, Clone, PartialEq)]
pub struct Held {
    /// The record.
    pub record: StreamerRecord,
    /// Its revision in the bucket.
    pub revision: u64,
}

/// A record that cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable {
    /// Its revision in the bucket.
    pub revision: u64,
    /// It was written by a web-server that is newer than ours, and is no damage.
    pub newer: bool,
}

/// All that is known.
#[derive(Debug)]
pub struct Directory {
    own: String,
    lease: Duration,
    nodes: BTreeMap<String, Known>,
    streamers: BTreeMap<StreamerId, Held>,
    /// The same ids by the node that has them, none empty: each event asks for the owners or the own ones, and there may be thousands of
    /// others.
    owned: BTreeMap<String, BTreeSet<StreamerId>>,
    /// Revisions at which ids were freed, so that a late entry from before does not take them again.
    freed: BTreeMap<StreamerId, u64>,
    /// Records that cannot be read, which is not the same as none.
    unreadable: BTreeMap<StreamerId, Unreadable>,
    /// The bucket that was listed last; empty before.
    born: String,
    /// What was in an earlier bucket, whose data NATS has lost, and has not been written into this one.
    missing: BTreeMap<StreamerId, StreamerRecord>,
    /// Since when we hear of all that happens without a gap; `None` before.
    listening: Option<Instant>,
    /// Nodes of which [`Self::turned`] has said that they are abandoned.
    abandoned: BTreeSet<String>,
}

impl Directory {
    /// An empty one of the node `own`.
    pub fn new(own: String, lease: Duration) -> Self {
        Self {
            own,
            lease,
            nodes: BTreeMap::new(),
            streamers: BTreeMap::new(),
            owned: BTreeMap::new(),
            freed: BTreeMap::new(),
            unreadable: BTreeMap::new(),
            born: String::new(),
            missing: BTreeMap::new(),
            listening: None,
            abandoned: BTreeSet::new(),
        }
    }

    /// A node has renewed its lease, or was found in the bucket.
    pub fn heard(&mut self, now: Instant, record: NodeRecord) {
        self.nodes.insert(record.name.clone(), Known { record, heard: now });
        self.nodes.retain(|name, known| {
            now.saturating_duration_since(known.heard) < FORGET || self.owned.contains_key(name)
        });
    }

    /// The record of a node was read again: it is no sign of life.
    pub fn corrected(&mut self, record: NodeRecord) {
        if let Some(known) = self.nodes.get_mut(&record.name) {
            known.record = record;
        }
    }

    /// A node has taken itself out.
    pub fn left(&mut self, name: &str) {
        self.nodes.remove(name);
    }

    /// The record of an id is this one now, unless a later one is known.
    pub fn put(&mut self, id: StreamerId, held: Held) {
        let freed = self.freed.get(&id).is_some_and(|revision| *revision > held.revision);
        let newer = self.streamers.get(&id).is_some_and(|known| known.revision > held.revision);
        if !freed && !newer {
            self.freed.remove(&id);
            if self.unreadable.get(&id).is_some_and(|unreadable| unreadable.revision <= held.revision) {
                self.unreadable.remove(&id);
            }
            self.insert(id, held);
        }
    }

    fn insert(&mut self, id: StreamerId, held: Held) {
        self.missing.remove(&id);
        let node = held.record.node.clone();
        match self.streamers.insert(id.clone(), held) {
            Some(before) if before.record.node == node => return,
            Some(before) => self.disown(&before.record.node, &id),
            None => {}
        }
        self.owned.entry(node).or_default().insert(id);
    }

    fn disown(&mut self, node: &str, id: &StreamerId) {
        if let Some(ids) = self.owned.get_mut(node) {
            ids.remove(id);
            if ids.is_empty() {
                self.owned.remove(node);
            }
        }
    }

    /// The record of an id cannot be read. What was known of it before counts on.
    pub fn cannot_read(&mut self, id: StreamerId, unreadable: Unreadable) {
        self.unreadable.insert(id, unreadable);
    }

    /// The record of an id that cannot be read, if that is its latest.
    pub fn unreadable(&self, id: &StreamerId) -> Option<Unreadable> {
        self.unreadable.get(id).copied()
    }

    /// Nobody has this id any more, as of a revision.
    pub fn removed(&mut self, id: &StreamerId, revision: u64) {
        if self.streamers.get(id).is_some_and(|known| known.revision < revision)
            && let Some(known) = self.streamers.remove(id)
        {
            self.disown(&known.record.node, id);
        }
        if self.streamers.contains_key(id) {
            return;
        }
        self.missing.remove(id);
        self.unreadable.remove(id);
        // What is told late, of one that had the id before, must not make room for what is told later still.
        let freed = self.freed.entry(id.clone()).or_default();
        *freed = revision.max(*freed);
    }

    /// From now on we hear of what happens. What we have not heard before says nothing about a node.
    pub fn listens(&mut self, now: Instant) {
        self.listening = Some(now);
    }

    /// The whole bucket `born` was listed: what is not in it is gone, whatever revisions were known before; in another bucket than the last
    /// one it is missing.
    pub fn listed(
        &mut self,
        born: &str,
        streamers: BTreeMap<StreamerId, Held>,
        unreadable: BTreeMap<StreamerId, Unreadable>,
    ) {
        let before = std::mem::take(&mut self.streamers);
        if self.born != born {
            self.missing.extend(before.into_iter().map(|(id, held)| (id, held.record)));
        }
        born.clone_into(&mut self.born);
        self.owned = BTreeMap::new();
        for (id, held) in streamers {
            self.insert(id, held);
        }
        self.unreadable = unreadable;
        self.freed.clear();
    }

    /// What NATS has lost and its node does not write anew, to be written by whoever knows it: that node is lost, or has not started it yet. Without
    /// any until we have listened for a whole lease, by when whoever runs one has written it.
    pub fn orphans(&mut self, now: Instant) -> Vec<(StreamerId, StreamerRecord)> {
        let over = self.listening.is_some_and(|since| now.saturating_duration_since(since) > self.lease);
        if !over {
            return Vec::new();
        }
        let mut orphans = std::mem::take(&mut self.missing);
        orphans.retain(|_, record| {
            record.can_be_started()
                && (self.state(now, &record.node) == NodeState::Lost || !record.is_told_by_its_node())
        });
        self.missing.clone_from(&orphans);
        orphans.into_iter().collect()
    }

    /// Somebody else has written the record of an id, or it cannot be written.
    pub fn settle(&mut self, id: &StreamerId) {
        self.missing.remove(id);
    }

    /// Forgets which ids were freed up to a revision: every entry from before has been read.
    pub fn forget_freed(&mut self, up_to: u64) {
        self.freed.retain(|_, revision| *revision > up_to);
    }

    /// The record of an id.
    pub fn get(&self, id: &StreamerId) -> Option<&Held> {
        self.streamers.get(id)
    }

    /// The node that has this id, if it is another one than we are.
    pub fn elsewhere(&self, id: &StreamerId) -> Option<&str> {
        let owner = self.streamers.get(id)?.record.node.as_str();
        (owner != self.own).then_some(owner)
    }

    /// The ids of our own streamers.
    pub fn own_ids(&self) -> BTreeSet<StreamerId> {
        self.owned.get(&self.own).cloned().unwrap_or_default()
    }

    /// Which copies of our own streamers the records are about.
    pub fn own_lineages(&self) -> BTreeMap<StreamerId, Lineage> {
        self.own().map(|(id, held)| (id.clone(), held.record.lineage())).collect()
    }

    /// The records of our own streamers.
    fn own(&self) -> impl Iterator<Item = (&StreamerId, &Held)> {
        self.of_node(&self.own)
    }

    fn of_node(&self, node: &str) -> impl Iterator<Item = (&StreamerId, &Held)> {
        let ids = self.owned.get(node).into_iter().flatten();
        ids.filter_map(|id| self.streamers.get_key_value(id))
    }

    /// The streamers of other nodes as they were lately, in order of ids: at most `limit`, after `after`, of `node` alone if it is given, and
    /// none of `except`.
    pub fn others(
        &self,
        now: Instant,
        node: Option<&str>,
        after: Option<&StreamerId>,
        limit: usize,
        except: &BTreeSet<StreamerId>,
    ) -> Vec<Streamer> {
        let shown =
            |(id, held): (&StreamerId, &Held)| match held.record.node == self.own || except.contains(id) {
                true => None,
                false => self.shown(now, held),
            };
        let from = (after.map_or(Bound::Unbounded, Bound::Excluded), Bound::Unbounded);
        match node {
            None => self.streamers.range::<StreamerId, _>(from).filter_map(shown).take(limit).collect(),
            Some(node) => {
                let ids = self.owned.get(node).into_iter().flat_map(|ids| ids.range::<StreamerId, _>(from));
                ids.filter_map(|id| shown(self.streamers.get_key_value(id)?)).take(limit).collect()
            }
        }
    }

    /// A streamer as its record says; of a lost node, with that as its state. `None` while it is being created.
    pub fn shown(&self, now: Instant, held: &Held) -> Option<Streamer> {
        let node = &held.record.node;
        let mut streamer = held.record.streamer.clone()?;
        if self.state(now, node) == NodeState::Lost {
            streamer.reason = Some(match held.record.fails_over() {
                true => format!("the node {node} is lost; another one starts it as soon as one has room"),
                false => format!("the node {node} is lost; it was {:?} there", streamer.state).to_lowercase(),
            });
            streamer.state = StreamerState::Lost;
        }
        streamer.node = Some(node.clone());
        Some(streamer)
    }

    /// Other nodes that have streamers and were not heard of for as long as their lease, while we listened all the time.
    pub fn abandoned(&self, now: Instant) -> BTreeSet<String> {
        self.expiries().filter(|(_, expiry)| *expiry < now).map(|(name, _)| name.to_owned()).collect()
    }

    /// The streamers of nodes that are abandoned since the last time, or are back, as they are shown now.
    pub fn turned(&mut self, now: Instant) -> Vec<Streamer> {
        let abandoned = self.abandoned(now);
        let turned: BTreeSet<&String> = self.abandoned.symmetric_difference(&abandoned).collect();
        let theirs = self.streamers.values().filter(|held| turned.contains(&held.record.node));
        let shown = theirs.filter_map(|held| self.shown(now, held)).collect();
        self.abandoned = abandoned;
        shown
    }

    /// When the next node is abandoned that is not yet, if nothing is heard of it.
    pub fn next_expiry(&self, now: Instant) -> Option<Instant> {
        self.expiries().map(|(_, expiry)| expiry).filter(|expiry| *expiry >= now).min()
    }

    /// When the leases of other nodes with streamers end; none while we do not listen.
    fn expiries(&self) -> impl Iterator<Item = (&str, Instant)> {
        let others = self.owned.keys().filter(|name| **name != self.own);
        others.filter_map(|name| Some((name.as_str(), self.expiry(name)?)))
    }

    /// When the lease of a node ends, or has ended, if nothing is heard of it; `None` while we do not listen.
    pub fn expiry(&self, name: &str) -> Option<Instant> {
        let listening = self.listening?;
        let heard = self.nodes.get(name).map_or(listening, |known| known.heard.max(listening));
        Some(heard + self.lease)
    }

    /// The streamers of these nodes that we are to start.
    pub fn takeovers(
        &self,
        now: Instant,
        abandoned: &BTreeSet<String>,
        coming: &BTreeMap<String, u32>,
    ) -> Vec<StreamerId> {
        let nodes = self.nodes(now);
        let candidates = candidates(&nodes, coming, &BTreeSet::new());
        let records = abandoned.iter().flat_map(|node| self.of_node(node));
        let records = records.map(|(id, held)| (id, &held.record));
        decide::takeovers(&self.own, &candidates, abandoned, records)
    }

    /// The record of a node.
    pub fn record(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.get(name).map(|known| &known.record)
    }

    /// Where a node is reached, by its own word.
    pub fn advertise(&self, name: &str) -> Option<&str> {
        self.nodes.get(name).map(|known| known.record.advertise.as_str())
    }

    /// Whether a node is alive. One that is not known is lost.
    pub fn state(&self, now: Instant, name: &str) -> NodeState {
        match self.nodes.get(name) {
            Some(known) if now.saturating_duration_since(known.heard) <= self.lease => {
                if known.record.draining { NodeState::Draining } else { NodeState::Alive }
            }
            _ => NodeState::Lost,
        }
    }

    /// All nodes: those that were heard of, and those that have streamers.
    pub fn nodes(&self, now: Instant) -> Vec<Node> {
        let names: BTreeSet<&String> = self.nodes.keys().chain(self.owned.keys()).collect();
        let node = |name: &String| {
            let streamers = self.owned.get(name).map_or(0, BTreeSet::len);
            let record = self.nodes.get(name).map(|known| &known.record);
            Node {
                name: name.clone(),
                state: self.state(now, name),
                advertise: record.map(|record| record.advertise.clone()),
                public_url: record.and_then(|record| record.public_url.clone()),
                labels: record.map(|record| record.labels.clone()).unwrap_or_default(),
                version: record.map(|record| record.version.clone()),
                streamers: streamers.try_into().unwrap_or(u32::MAX),
                max_streamers: record.map_or(0, |record| record.max_streamers),
                load: record.and_then(|record| record.load),
                max_cpu_percent: record.and_then(|record| record.max_cpu_percent),
                max_memory_mb: record.and_then(|record| record.max_memory_mb),
                this: *name == self.own,
            }
        };
        names.into_iter().map(node).collect()
    }

    /// Where browsers reach the nodes that are not lost, in order of names; those that say it.
    pub fn public_urls(&self, now: Instant) -> Vec<String> {
        let alive = self.nodes.iter().filter(|(name, _)| self.state(now, name) != NodeState::Lost);
        alive.filter_map(|(_, known)| known.record.public_url.clone()).collect()
    }

    /// Whether browsers reach a node at this origin: scheme, host and port (RFC 6454 §6.2), and no more.
    pub fn is_origin(&self, origin: &str) -> bool {
        let mut urls = self.nodes.values().filter_map(|known| known.record.public_url.as_deref());
        urls.any(|url| origin_of(url).eq_ignore_ascii_case(origin))
    }

    /// The node for a new streamer, which is none of `avoid`. `coming`: how many more each node is about to have, which no record says yet.
    ///
    /// # Errors
    /// No node can take it.
    pub fn place(
        &self,
        now: Instant,
        wish: &Placement,
        coming: &BTreeMap<String, u32>,
        avoid: &BTreeSet<String>,
    ) -> Result<String, NoCapacity> {
        let nodes = self.nodes(now);
        let placed = place::place(&candidates(&nodes, coming, avoid), wish);
        placed.map(str::to_owned).map_err(|missing| match missing {
            NoCapacity::NoneTakes { lost: 0, draining: 0 } | NoCapacity::NoLabels(_) if !avoid.is_empty() => {
                NoCapacity::NoOther
            }
            missing => missing,
        })
    }
}

/// A URL without its path.
pub fn origin_of(url: &str) -> &str {
    let host = url.find("://").map_or(0, |at| at + "://".len());
    url[host..].find('/').map_or(url, |end| &url[..host + end])
}

fn candidates<'a>(
    nodes: &'a [Node],
    coming: &BTreeMap<String, u32>,
    avoid: &BTreeSet<String>,
) -> Vec<Candidate<'a>> {
    let candidate = |node: &'a Node| Candidate {
        name: &node.name,
        labels: &node.labels,
        state: node.state,
        streamers: node.streamers + coming.get(&node.name).copied().unwrap_or_default(),
        max_streamers: node.max_streamers,
        is_busy: node.is_busy(),
    };
    nodes.iter().filter(|node| !avoid.contains(&node.name)).map(candidate).collect()
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use common::cluster::{Labels, Load};

    use super::*;

    const LEASE: Duration = Duration::from_secs(6);

    fn id(text: &str) -> StreamerId {
        StreamerId::parse(text).unwrap()
    }

    fn node(name: &str) -> NodeRecord {
        NodeRecord {
            name: name.into(),
            instance: 1,
            advertise: format!("http://{name}:8080"),
            public_url: (name != "c").then(|| format!("https://{name}.example")),
            labels: Labels::new(),
            version: "1".into(),
            max_streamers: 2,
            load: None,
            max_cpu_percent: None,
            max_memory_mb: None,
            draining: false,
        }
    }

    fn held(node: &str, revision: u64) -> Held {
        let lineage = Lineage { claim: 1, generation: 1 };
        Held { record: StreamerRecord::new(node, lineage, Labels::new(), DateTime::UNIX_EPOCH), revision }
    }

    fn streamer(name: &str) -> Streamer {
        let text = format!(
            r#"{{"id":"{name}","state":"running","since":"2026-01-01T00:00:00Z","reason":null,"created":"2026-01-01T00:00:00Z",
                "exit":null,"spec":{{"source":{{"type":"test"}}}},"slots":[],"peers":[],"stats":null}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn a_node_is_alive_for_its_lease_and_keeps_its_streamers_when_it_is_lost() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        directory.heard(now, node("b"));
        directory.put(id("x"), held("b", 1));
        assert_eq!(directory.state(now + LEASE, "b"), NodeState::Alive);
        let late = now + LEASE + Duration::from_millis(1);
        assert_eq!(directory.state(late, "b"), NodeState::Lost);
        assert_eq!(directory.elsewhere(&id("x")), Some("b"));
        assert_eq!(directory.advertise("b"), Some("http://b:8080"));
        directory.heard(late, NodeRecord { draining: true, ..node("b") });
        assert_eq!(directory.state(late, "b"), NodeState::Draining);
        assert_eq!(directory.state(late, "never heard of"), NodeState::Lost);
        directory.heard(late, node("c"));
        assert_eq!(directory.public_urls(late), ["https://b.example"]);
        assert!(directory.public_urls(late + LEASE * 2).is_empty());
        assert!(directory.is_origin("https://B.example") && !directory.is_origin("https://b.example.evil"));
        assert!(!directory.is_origin("http://b.example") && !directory.is_origin("https://c.example"));
        assert_eq!(
            ["https://b.example/base", "https://b.example:1", "http://[::1]:80/"].map(origin_of),
            ["https://b.example", "https://b.example:1", "http://[::1]:80"]
        );
    }

    #[test]
    fn a_node_is_abandoned_when_we_have_listened_to_its_silence_for_a_lease() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        directory.heard(now, node("b"));
        directory.put(id("x"), held("b", 1));
        directory.put(id("y"), held("never heard of", 2));
        directory.put(id("z"), held("a", 3));
        let later = now + LEASE * 3;
        assert!(
            directory.abandoned(later).is_empty() && directory.next_expiry(later).is_none(),
            "nobody listened"
        );
        assert_eq!(directory.expiry("b"), None);
        directory.listens(later);
        assert_eq!(directory.expiry("b"), Some(later + LEASE));
        assert!(directory.abandoned(later + LEASE).is_empty());
        assert_eq!(directory.next_expiry(later), Some(later + LEASE));
        directory.heard(later + LEASE / 2, node("b"));
        let silent = later + LEASE + Duration::from_millis(1);
        assert_eq!(directory.abandoned(silent), ["never heard of".to_owned()].into());
        assert_eq!(directory.next_expiry(silent), Some(later + LEASE / 2 + LEASE));
        assert_eq!(directory.abandoned(silent + LEASE).len(), 2);
        // After a gap, silence begins anew.
        directory.listens(silent + LEASE);
        assert!(directory.abandoned(silent + LEASE).is_empty());
    }

    #[test]
    fn entries_that_come_late_change_nothing() {
        let mut directory = Directory::new("a".into(), LEASE);
        directory.put(id("x"), held("b", 5));
        directory.put(id("x"), held("c", 4));
        assert_eq!(directory.elsewhere(&id("x")), Some("b"));
        directory.removed(&id("x"), 3);
        assert!(directory.get(&id("x")).is_some());
        directory.removed(&id("x"), 6);
        directory.removed(&id("x"), 4);
        directory.put(id("x"), held("b", 5));
        assert_eq!(directory.get(&id("x")), None, "what was read late is from before it was freed");
        directory.put(id("x"), held("c", 7));
        assert_eq!(directory.elsewhere(&id("x")), Some("c"));
        // A bucket that was made anew counts from 1.
        directory.cannot_read(id("x"), Unreadable { revision: 8, newer: false });
        assert!(directory.unreadable(&id("x")).is_some());
        directory.put(id("x"), held("c", 9));
        assert_eq!(directory.unreadable(&id("x")), None);
        directory.listed("1", [(id("x"), held("a", 1))].into(), BTreeMap::new());
        assert_eq!(directory.elsewhere(&id("x")), None);
        assert_eq!(directory.own().count(), 1);
    }

    #[test]
    fn what_nats_has_lost_is_written_anew_for_those_who_cannot() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        let told = |node: &str, by: Option<&str>| {
            let mut held = held(node, 1);
            let kept = r#"{"id":"x","created":"2026-01-01T00:00:00Z","wanted":"running","spec":{"source":{"type":"test"}}}"#;
            held.record.kept = Some(serde_json::from_str(kept).unwrap());
            held.record.streamer = Some(Streamer { node: by.map(str::to_owned), ..streamer("x") });
            held
        };
        let before = [
            ("claimed", held("c", 1)),
            ("deleted", told("c", Some("c"))),
            ("given", told("b", Some("a"))),
            ("lost", told("c", Some("c"))),
            ("old", told("b", None)),
            ("runs", told("b", Some("b"))),
            ("written", told("c", Some("c"))),
        ];
        let before: BTreeMap<_, _> = before.into_iter().map(|(name, held)| (id(name), held)).collect();
        let orphans = |directory: &mut Directory, now: Instant| -> Vec<String> {
            directory.orphans(now).into_iter().map(|(id, _)| id.to_string()).collect()
        };
        directory.listed("1", before.clone(), BTreeMap::new());
        directory.listens(now);
        let late = now + LEASE + Duration::from_millis(1);
        assert!(orphans(&mut directory, late).is_empty(), "nothing is lost");
        directory.listed("2", BTreeMap::new(), BTreeMap::new());
        directory.removed(&id("deleted"), 1);
        directory.put(id("written"), told("c", Some("c")));
        // Listed again, as the connection was lost once more.
        directory.listed("2", [(id("written"), told("c", Some("c")))].into(), BTreeMap::new());
        directory.heard(now + LEASE / 2, node("b"));
        assert!(orphans(&mut directory, now + LEASE).is_empty(), "its node may write it still");
        assert_eq!(orphans(&mut directory, late), ["given", "lost"]);
        directory.put(id("given"), told("b", Some("a")));
        assert_eq!(orphans(&mut directory, late), ["lost"]);
        directory.settle(&id("lost"));
        // What a node that was alive then has not written has ended.
        assert!(orphans(&mut directory, late + LEASE * 2).is_empty());
    }

    #[test]
    fn whose_a_streamer_is_follows_its_record() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        let counts = |directory: &Directory| -> Vec<(String, u32)> {
            directory.nodes(now).into_iter().map(|node| (node.name, node.streamers)).collect()
        };
        directory.put(id("x"), held("a", 1));
        directory.put(id("y"), held("a", 2));
        directory.put(id("x"), held("b", 3));
        assert_eq!(counts(&directory), [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(directory.own_ids(), [id("y")].into());
        // The same node again, and one that is no news.
        directory.put(id("x"), held("b", 4));
        directory.put(id("x"), held("a", 1));
        directory.removed(&id("y"), 5);
        assert_eq!(counts(&directory), [("b".to_owned(), 1)]);
        directory.listed("1", [(id("z"), held("c", 1))].into(), BTreeMap::new());
        assert_eq!(counts(&directory), [("c".to_owned(), 1)]);
    }

    #[test]
    fn pages_of_a_node_or_of_all_leave_out_what_is_to_be_left_out_and_are_full_all_the_same() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        for (n, node) in ["b", "c", "a", "b", "b", "c"].into_iter().enumerate() {
            let name = format!("s{n}");
            let mut held = held(node, n as u64 + 1);
            held.record.streamer = Some(streamer(&name));
            directory.put(id(&name), held);
        }
        let page = |node, after: Option<&str>, limit, except: &str| -> Vec<String> {
            let except = [id(except)].into();
            let found = directory.others(now, node, after.map(id).as_ref(), limit, &except);
            found.into_iter().map(|streamer| streamer.id.to_string()).collect()
        };
        assert_eq!(page(None, None, 9, "none"), ["s0", "s1", "s3", "s4", "s5"]);
        assert_eq!(page(None, None, 2, "s1"), ["s0", "s3"]);
        assert_eq!(page(None, Some("s1"), 2, "none"), ["s3", "s4"]);
        assert_eq!(page(Some("b"), Some("s0"), 9, "none"), ["s3", "s4"]);
        assert_eq!(page(Some("b"), None, 2, "s3"), ["s0", "s4"]);
        assert!(page(Some("a"), None, 9, "none").is_empty() && page(Some("d"), None, 9, "none").is_empty());
    }

    #[test]
    fn placement_counts_what_is_there_and_what_is_coming() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        directory.heard(now, node("a"));
        directory.heard(now, node("b"));
        let place = |directory: &Directory, coming: &BTreeMap<String, u32>| {
            directory.place(now, &Placement::default(), coming, &BTreeSet::new())
        };
        directory.put(id("x"), held("a", 1));
        assert_eq!(place(&directory, &BTreeMap::new()).as_deref(), Ok("b"));
        let coming = BTreeMap::from([("b".to_owned(), 2)]);
        assert_eq!(place(&directory, &coming).as_deref(), Ok("a"));
        directory.put(id("y"), held("a", 2));
        assert!(matches!(place(&directory, &coming), Err(NoCapacity::Full { full: 2, .. })));
        let load = Some(Load { cpu_percent: 150, memory_mb: 4000 });
        let bound =
            |max_cpu_percent, max_memory_mb| NodeRecord { load, max_cpu_percent, max_memory_mb, ..node("b") };
        for (record, takes) in [
            (bound(Some(151), Some(4001)), true),
            (bound(Some(150), None), false),
            (bound(None, Some(4000)), false),
            (NodeRecord { load: None, ..bound(Some(1), Some(1)) }, true),
        ] {
            directory.heard(now, record.clone());
            let placed = place(&directory, &BTreeMap::new());
            assert_eq!(placed.is_ok(), takes, "{record:?}: {placed:?}");
        }
        // One that only its streamers tell of takes no more.
        directory.put(id("z"), held("c", 3));
        let nodes = directory.nodes(now);
        let shown: Vec<_> =
            nodes.iter().map(|node| (node.name.as_str(), node.state, node.streamers)).collect();
        assert_eq!(
            shown,
            [("a", NodeState::Alive, 2), ("b", NodeState::Alive, 0), ("c", NodeState::Lost, 1)]
        );
        assert!(nodes[0].this && !nodes[1].this);
    }
}
