//! What a node knows of the cluster: its nodes, and who has which id, from the entries that it has read. Pure; `now` is passed in.
//!
//! ```text
//! watched entries ──heard, put, removed, listed──▶ Directory ──▶ owner of an id, nodes, candidates for placement
//! ```
//!
//! A node is alive for as long as its lease lasts since we last heard of it. Clocks of other machines do not matter. What was known of a
//! node stays when its entry is gone: its streamers are still its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::api::Streamer;
use common::cluster::{Node, NodeState, Placement};
use common::id::StreamerId;

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

/// All that is known.
#[derive(Debug)]
pub struct Directory {
    own: String,
    lease: Duration,
    nodes: BTreeMap<String, Known>,
    streamers: BTreeMap<StreamerId, Held>,
    /// Revisions at which ids were freed, so that a late entry from before does not take them again.
    freed: BTreeMap<StreamerId, u64>,
}

impl Directory {
    /// An empty one of the node `own`.
    pub fn new(own: String, lease: Duration) -> Self {
        Self { own, lease, nodes: BTreeMap::new(), streamers: BTreeMap::new(), freed: BTreeMap::new() }
    }

    /// A node has renewed its lease, or was found in the bucket.
    pub fn heard(&mut self, now: Instant, record: NodeRecord) {
        self.nodes.insert(record.name.clone(), Known { record, heard: now });
        let owners: BTreeSet<&str> = self.streamers.values().map(|held| held.record.node.as_str()).collect();
        self.nodes.retain(|name, known| {
            now.saturating_duration_since(known.heard) < FORGET || owners.contains(name.as_str())
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
            self.streamers.insert(id, held);
        }
    }

    /// Nobody has this id any more, as of a revision.
    pub fn removed(&mut self, id: &StreamerId, revision: u64) {
        if self.streamers.get(id).is_some_and(|known| known.revision < revision) {
            self.streamers.remove(id);
        }
        if self.streamers.contains_key(id) {
            return;
        }
        self.freed.insert(id.clone(), revision);
    }

    /// The whole bucket was listed: what is not in it is gone, whatever revisions were known before.
    pub fn listed(&mut self, streamers: BTreeMap<StreamerId, Held>) {
        self.streamers = streamers;
        self.freed.clear();
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

    /// The records of our own streamers.
    pub fn own(&self) -> BTreeMap<StreamerId, Held> {
        let own = self.streamers.iter().filter(|(_, held)| held.record.node == self.own);
        own.map(|(id, held)| (id.clone(), held.clone())).collect()
    }

    /// The streamers of other nodes as they were lately; of lost nodes, with that as the reason.
    pub fn others(&self, now: Instant) -> Vec<Streamer> {
        let others = self.streamers.values().filter(|held| held.record.node != self.own);
        let shown = others.filter_map(|held| {
            let node = &held.record.node;
            let mut streamer = held.record.streamer.clone()?;
            if self.state(now, node) == NodeState::Lost {
                streamer.reason =
                    Some(format!("the node {node} is lost; this is how the streamer was before"));
            }
            streamer.node = Some(node.clone());
            Some(streamer)
        });
        shown.collect()
    }

    /// The record of a node.
    pub fn record(&self, name: &str) -> Option<&NodeRecord> {
        self.nodes.get(name).map(|known| &known.record)
    }

    /// Where a node is reached, by its own word.
    pub fn advertise(&self, name: &str) -> Option<&str> {
        self.nodes.get(name).map(|known| known.record.advertise.as_str())
    }

    /// Another process of this name was heard within the lease.
    pub fn is_taken(&self, now: Instant, name: &str, instance: u64) -> bool {
        let known = self.nodes.get(name).filter(|known| known.record.instance != instance);
        known.is_some_and(|known| now.saturating_duration_since(known.heard) <= self.lease)
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
        let mut count: BTreeMap<&str, u32> = self.nodes.keys().map(|name| (name.as_str(), 0)).collect();
        for held in self.streamers.values() {
            *count.entry(&held.record.node).or_default() += 1;
        }
        let node = |(name, streamers): (&str, u32)| {
            let record = self.nodes.get(name).map(|known| &known.record);
            Node {
                name: name.to_owned(),
                state: self.state(now, name),
                advertise: record.map(|record| record.advertise.clone()),
                labels: record.map(|record| record.labels.clone()).unwrap_or_default(),
                version: record.map(|record| record.version.clone()),
                streamers,
                max_streamers: record.map_or(0, |record| record.max_streamers),
                this: name == self.own,
            }
        };
        count.into_iter().map(node).collect()
    }

    /// The node for a new streamer. `coming`: how many more each node is about to have, which no record says yet.
    ///
    /// # Errors
    /// No node can take it.
    pub fn place(
        &self,
        now: Instant,
        wish: &Placement,
        coming: &BTreeMap<String, u32>,
    ) -> Result<String, NoCapacity> {
        let nodes = self.nodes(now);
        let candidates = nodes.iter().map(|node| Candidate {
            name: &node.name,
            labels: &node.labels,
            state: node.state,
            streamers: node.streamers + coming.get(&node.name).copied().unwrap_or_default(),
            max_streamers: node.max_streamers,
        });
        let candidates: Vec<_> = candidates.collect();
        place::place(&candidates, wish).map(str::to_owned)
    }
}

#[cfg(test)]
mod tests {
    use common::cluster::Labels;

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
            labels: Labels::new(),
            version: "1".into(),
            max_streamers: 2,
            draining: false,
        }
    }

    fn held(node: &str, revision: u64) -> Held {
        Held { record: StreamerRecord { node: node.into(), claim: 1, streamer: None }, revision }
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
        assert!(directory.is_taken(late, "b", 2) && !directory.is_taken(late, "b", 1));
        assert!(!directory.is_taken(late + LEASE * 2, "b", 2));
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
        directory.put(id("x"), held("b", 5));
        assert_eq!(directory.get(&id("x")), None, "what was read late is from before it was freed");
        directory.put(id("x"), held("c", 7));
        assert_eq!(directory.elsewhere(&id("x")), Some("c"));
        // A bucket that was made anew counts from 1.
        directory.listed([(id("x"), held("a", 1))].into());
        assert_eq!(directory.elsewhere(&id("x")), None);
        assert_eq!(directory.own().len(), 1);
    }

    #[test]
    fn placement_counts_what_is_there_and_what_is_coming() {
        let now = Instant::now();
        let mut directory = Directory::new("a".into(), LEASE);
        directory.heard(now, node("a"));
        directory.heard(now, node("b"));
        let place = |directory: &Directory, coming: &BTreeMap<String, u32>| {
            directory.place(now, &Placement::default(), coming)
        };
        directory.put(id("x"), held("a", 1));
        assert_eq!(place(&directory, &BTreeMap::new()).as_deref(), Ok("b"));
        let coming = BTreeMap::from([("b".to_owned(), 2)]);
        assert_eq!(place(&directory, &coming).as_deref(), Ok("a"));
        directory.put(id("y"), held("a", 2));
        assert!(matches!(place(&directory, &coming), Err(NoCapacity::Full { nodes: 2, .. })));
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
