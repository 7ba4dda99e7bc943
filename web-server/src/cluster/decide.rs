//! What a node does with a streamer, from what it runs, what it remembers and what the record says. Pure.
//!
//! A record says which node is to run a streamer. Whoever gives it to another node counts its generation up, by a compare-and-set. So a node
//! that comes back finds out by the record alone whether what it runs is still its own. ARCHITECTURE.md has [`reconcile`] as a table.

use std::collections::{BTreeMap, BTreeSet};

use common::cluster::{Labels, Placement};
use common::id::StreamerId;
use serde::{Deserialize, Serialize};

use super::place::{self, Candidate};
use super::records::StreamerRecord;

/// Which streamer of an id, and which copy of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lineage {
    /// Tells streamers apart that had the same id one after the other.
    pub claim: u64,
    /// How often it was given to a node.
    pub generation: u64,
}

/// What is to be done with a streamer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// There is nothing to do, and nothing to remember.
    Forget,
    /// Make its record, for this lineage or, without one, for a new one.
    Write(Option<Lineage>),
    /// It is ours: have the record say how it is.
    Keep(Lineage),
    /// The record is of an older copy, which lost its place to ours: make it ours again.
    Override,
    /// End our copy.
    End(Ended),
    /// Neither is older: each node answers for its own until one of them is deleted.
    Conflict {
        /// The other node.
        node: String,
    },
    /// It was given to us: start it.
    Start,
    /// It has ended here: remove its record.
    Remove,
}

/// Why our copy ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Another node has it.
    Elsewhere {
        /// Which one.
        node: String,
        /// The generation there.
        generation: u64,
    },
    /// It was deleted, or another one was created under its id and deleted, while we were away.
    Deleted,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Elsewhere { node, generation } => {
                write!(f, "it is at the node {node} now (generation {generation})")
            }
            Ended::Deleted => write!(f, "it was deleted while this node could not reach the cluster"),
        }
    }
}

/// What a node knows of a streamer without the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Local {
    /// The registry has it.
    pub runs: bool,
    /// The copy that was started here last, if it ever had a record.
    pub remembered: Option<Lineage>,
}

/// Decides what the node `own` does with a streamer. `same_bucket`: the bucket is the one that our records were written to; otherwise its
/// data was lost, and what is missing there was not deleted.
pub fn reconcile(own: &str, local: Local, record: Option<&StreamerRecord>, same_bucket: bool) -> Step {
    let Some(record) = record else {
        return match local {
            Local { runs: false, .. } => Step::Forget,
            Local { remembered: Some(_), .. } if same_bucket => Step::End(Ended::Deleted),
            Local { remembered, .. } => Step::Write(remembered),
        };
    };
    let there = record.lineage();
    let ours = record.node == own;
    match (local.runs, local.remembered) {
        (false, _) if !ours => Step::Forget,
        (false, Some(here)) if here.claim == there.claim && here.generation >= there.generation => {
            Step::Remove
        }
        (false, _) if !record.can_be_started() => Step::Remove,
        (false, _) => Step::Start,
        (true, Some(here)) if ours && here.claim == there.claim => {
            Step::Keep(Lineage { generation: here.generation.max(there.generation), ..here })
        }
        (true, _) if ours => Step::Keep(there),
        (true, Some(here)) if here.claim == there.claim && here.generation > there.generation => {
            Step::Override
        }
        (true, Some(_)) => {
            Step::End(Ended::Elsewhere { node: record.node.clone(), generation: there.generation })
        }
        (true, None) => Step::Conflict { node: record.node.clone() },
    }
}

/// The streamers of lost nodes that are for the node `own` to start. `nodes` are those that may be chosen, with what they have.
///
/// All nodes place all such streamers in the same order, so with the same view each is for exactly one. Where views differ, the
/// compare-and-set decides.
pub fn takeovers<'a>(
    own: &str,
    nodes: &[Candidate<'a>],
    abandoned: &BTreeSet<String>,
    records: impl Iterator<Item = (&'a StreamerId, &'a StreamerRecord)>,
) -> Vec<StreamerId> {
    let mut nodes = nodes.to_vec();
    let mut ours = Vec::new();
    let lost = records.filter(|(_, record)| abandoned.contains(&record.node) && record.fails_over());
    let lost: BTreeMap<&StreamerId, &Labels> = lost.map(|(id, record)| (id, &record.labels)).collect();
    for (id, labels) in lost {
        let wish = Placement { node: None, labels: labels.clone() };
        // Without room it stays where it is, and is placed when there is some.
        let Ok(chosen) = place::place(&nodes, &wish) else { continue };
        if chosen == own {
            ours.push(id.clone());
        }
        if let Some(node) = nodes.iter_mut().find(|node| node.name == chosen) {
            node.streamers += 1;
        }
    }
    ours
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;
    use common::cluster::NodeState;
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;
    use crate::cluster::records::Origin;

    fn lineage(claim: u64, generation: u64) -> Lineage {
        Lineage { claim, generation }
    }

    /// A record of a streamer that runs.
    fn record(node: &str, lineage: Lineage) -> StreamerRecord {
        let kept = json!({
            "id": "x", "created": "2026-01-01T00:00:00Z", "wanted": "running", "spec": {"source": {"type": "test"}},
        });
        let kept = Some(serde_json::from_value(kept).unwrap());
        StreamerRecord { kept, ..StreamerRecord::new(node, lineage, Labels::new(), DateTime::UNIX_EPOCH) }
    }

    fn runs(remembered: Option<Lineage>) -> Local {
        Local { runs: true, remembered }
    }

    fn ended(remembered: Option<Lineage>) -> Local {
        Local { runs: false, remembered }
    }

    /// The table of ARCHITECTURE.md. We are `a`.
    #[test]
    fn what_wins_when_a_node_and_the_bucket_differ() {
        let first = lineage(7, 1);
        let second = lineage(7, 2);
        let other = lineage(8, 1);
        let elsewhere = |generation| Step::End(Ended::Elsewhere { node: "b".into(), generation });
        let conflict = Step::Conflict { node: "b".into() };
        for (local, record, same_bucket, expected) in [
            // It runs, and has no record.
            (runs(None), None, true, Step::Write(None)),
            (runs(Some(second)), None, true, Step::End(Ended::Deleted)),
            (runs(Some(second)), None, false, Step::Write(Some(second))),
            // It runs, and the record is ours.
            (runs(Some(first)), Some(record("a", first)), true, Step::Keep(first)),
            (runs(Some(first)), Some(record("a", second)), true, Step::Keep(second)),
            (runs(Some(second)), Some(record("a", first)), true, Step::Keep(second)),
            (runs(None), Some(record("a", first)), true, Step::Keep(first)),
            (runs(Some(first)), Some(record("a", other)), true, Step::Keep(other)),
            // It runs, and the record is another node's.
            (runs(Some(first)), Some(record("b", second)), true, elsewhere(2)),
            (runs(Some(first)), Some(record("b", second)), false, elsewhere(2)),
            (runs(Some(second)), Some(record("b", second)), true, elsewhere(2)),
            (runs(Some(second)), Some(record("b", first)), false, Step::Override),
            (runs(Some(second)), Some(record("b", other)), true, elsewhere(1)),
            (runs(None), Some(record("b", first)), true, conflict),
            // It does not run.
            (ended(None), None, true, Step::Forget),
            (ended(Some(first)), Some(record("b", second)), true, Step::Forget),
            (ended(Some(first)), Some(record("a", first)), true, Step::Remove),
            (ended(Some(first)), Some(record("a", second)), true, Step::Start),
            (ended(Some(first)), Some(record("a", other)), true, Step::Start),
            (ended(None), Some(record("a", first)), true, Step::Start),
            (ended(None), Some(StreamerRecord { kept: None, ..record("a", first) }), true, Step::Remove),
        ] {
            let step = reconcile("a", local, record.as_ref(), same_bucket);
            assert_eq!(step, expected, "{local:?} {record:?} {same_bucket}");
        }
    }

    fn candidate<'a>(name: &'a str, labels: &'a Labels, streamers: u32) -> Candidate<'a> {
        Candidate { name, labels, state: NodeState::Alive, streamers, max_streamers: 4, is_busy: false }
    }

    fn ids(count: usize) -> Vec<StreamerId> {
        (0..count).map(|n| StreamerId::parse(format!("s{n:02}")).unwrap()).collect()
    }

    #[test]
    fn what_may_not_be_started_elsewhere_stays_where_it_is() {
        let none = Labels::new();
        let gpu: Labels = [("gpu".to_owned(), "yes".to_owned())].into();
        let nodes = [candidate("a", &none, 0), candidate("b", &gpu, 0)];
        let lost: BTreeSet<String> = ["c".to_owned()].into();
        let ids = ids(5);
        let mut never = record("c", lineage(1, 1));
        never.kept.as_mut().unwrap().spec.restart.policy = common::restart::RestartPolicy::Never;
        let mut stopped = record("c", lineage(1, 1));
        stopped.kept.as_mut().unwrap().wanted = crate::registry::store::Wanted::Stopped;
        let wants_gpu = StreamerRecord { labels: gpu.clone(), ..record("c", lineage(1, 1)) };
        let records = [never, stopped, record("d", lineage(1, 1)), wants_gpu, record("c", lineage(1, 1))];
        let of = |own: &str| takeovers(own, &nodes, &lost, ids.iter().zip(&records));
        assert_eq!((of("a"), of("b")), (vec![ids[4].clone()], vec![ids[3].clone()]));
    }

    proptest! {
        #[test]
        fn each_lost_streamer_is_for_exactly_one_node_while_there_is_room(
            loads in prop::collection::vec(0u32..5, 1..6),
            lost in 0usize..12,
        ) {
            let none = Labels::new();
            let names: Vec<String> = (0..loads.len()).map(|n| format!("n{n}")).collect();
            let nodes: Vec<_> = names.iter().zip(&loads).map(|(name, load)| candidate(name, &none, *load)).collect();
            let ids = ids(lost);
            let record = record("gone", lineage(1, 1));
            let gone: BTreeSet<String> = ["gone".to_owned()].into();
            let of = |own: &String| takeovers(own, &nodes, &gone, ids.iter().map(|id| (id, &record)));
            let mut all: Vec<_> = names.iter().flat_map(of).collect();
            all.sort();
            let taken = all.len();
            all.dedup();
            let room: u32 = loads.iter().map(|load| 4u32.saturating_sub(*load)).sum();
            prop_assert_eq!((taken, all.len()), (lost.min(room as usize), taken));
            for (name, load) in names.iter().zip(&loads) {
                prop_assert!(of(name).len() as u32 + load.min(&4) <= 4);
            }
        }
    }

    /// A cluster of three nodes and one id, whose decisions are carried out one at a time, by what each node saw last.
    #[derive(Default)]
    struct Model {
        /// The record, with its revision.
        bucket: Option<(StreamerRecord, u64)>,
        revision: u64,
        born: u32,
        claims: u64,
        nodes: [Member; 3],
    }

    #[derive(Default)]
    struct Member {
        /// The copy that runs.
        runs: bool,
        remembered: Option<Lineage>,
        born: Option<u32>,
        /// It cannot reach the bucket.
        apart: bool,
        /// What it saw of the bucket, and of which bucket.
        seen: (Option<(StreamerRecord, u64)>, u32),
    }

    const NAMES: [&str; 3] = ["a", "b", "c"];

    impl Model {
        fn revision_seen(&self, n: usize) -> Option<u64> {
            self.nodes[n].seen.0.as_ref().map(|(_, revision)| *revision)
        }

        /// A compare-and-set on what node `n` saw. A write to an earlier bucket is lost with the connection.
        fn set(&mut self, n: usize, record: Option<StreamerRecord>) -> bool {
            let now = self.bucket.as_ref().map(|(_, revision)| *revision);
            if self.nodes[n].seen.1 != self.born || now != self.revision_seen(n) {
                return false;
            }
            self.revision += 1;
            self.bucket = record.map(|record| (record, self.revision));
            self.see(n);
            true
        }

        fn see(&mut self, n: usize) {
            if self.nodes[n].apart {
                return;
            }
            self.nodes[n].seen = (self.bucket.clone(), self.born);
        }

        fn agree(&mut self, n: usize) {
            if self.nodes[n].apart {
                return;
            }
            let Member { runs, remembered, born, .. } = self.nodes[n];
            let local = Local { runs, remembered };
            let seen = self.nodes[n].seen.clone();
            let same_bucket = born == Some(seen.1);
            let mut written = true;
            match reconcile(NAMES[n], local, seen.0.as_ref().map(|(record, _)| record), same_bucket) {
                Step::Forget => self.nodes[n].remembered = None,
                Step::Write(lineage) => {
                    self.claims += 1;
                    let lineage = lineage.unwrap_or(Lineage { claim: self.claims, generation: 1 });
                    written = self.set(n, Some(record(NAMES[n], lineage)));
                    if written {
                        self.nodes[n].remembered = Some(lineage);
                    }
                }
                Step::Keep(lineage) => {
                    self.nodes[n].remembered = Some(lineage);
                    if seen.0.is_some_and(|(record, _)| record.lineage() != lineage) {
                        written = self.set(n, Some(record(NAMES[n], lineage)));
                    }
                }
                Step::Override => {
                    let lineage = remembered.expect("only what is remembered is newer");
                    written = self.set(n, Some(record(NAMES[n], lineage)));
                }
                Step::End(_) => self.nodes[n].runs = false,
                Step::Conflict { .. } => {}
                Step::Start => {
                    let (record, _) = seen.0.expect("what is started has a record");
                    self.nodes[n].runs = true;
                    self.nodes[n].remembered = Some(record.lineage());
                }
                Step::Remove => {
                    written = self.set(n, None);
                    if written {
                        self.nodes[n].remembered = None;
                    }
                }
            }
            if written {
                self.nodes[n].born = Some(seen.1);
            }
        }

        /// Node `n` gives the streamer to `to`, as when its node is lost or somebody moves it.
        fn give(&mut self, n: usize, to: usize) {
            let Some((record, _)) = self.nodes[n].seen.0.clone().filter(|_| !self.nodes[n].apart) else {
                return;
            };
            let origin = Origin { node: record.node.clone(), by: "server".into(), why: String::new() };
            self.set(n, Some(record.given_to(NAMES[to], origin, DateTime::UNIX_EPOCH)));
        }

        fn do_one(&mut self, (what, n, to): (u8, usize, usize)) {
            match what {
                0 | 1 => self.see(n),
                2 | 3 => self.agree(n),
                4 => self.give(n, to),
                5 => self.nodes[n].apart = true,
                6 => self.nodes[n].apart = false,
                // A request creates it, if the node sees that nobody has it.
                7 => {
                    self.see(n);
                    let node = &self.nodes[n];
                    if !node.apart && self.bucket.is_none() && !node.runs {
                        self.claims += 1;
                        let lineage = Lineage { claim: self.claims, generation: 1 };
                        self.set(n, Some(record(NAMES[n], lineage)));
                        self.nodes[n].runs = true;
                        self.nodes[n].remembered = Some(lineage);
                        self.nodes[n].born = Some(self.born);
                    }
                }
                // A request ends it. The record is removed now or later.
                8 => {
                    self.nodes[n].runs = false;
                    if to == 0 {
                        self.agree(n);
                    }
                }
                // NATS loses its data.
                9 => {
                    self.bucket = None;
                    self.born += 1;
                    self.revision = 0;
                }
                // Its state directory is lost, and with it all that ran.
                _ => self.nodes[n] = Member::default(),
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn after_healing_there_is_one_copy_and_it_is_where_the_record_says(
            steps in prop::collection::vec((0u8..11, 0usize..3, 0usize..3), 0..60),
        ) {
            let mut model = Model::default();
            for step in steps {
                model.do_one(step);
            }
            for node in &mut model.nodes {
                node.apart = false;
            }
            for _ in 0..6 {
                for n in 0..3 {
                    model.see(n);
                    model.agree(n);
                }
            }
            let run: Vec<_> = NAMES.iter().zip(&model.nodes).filter(|(_, node)| node.runs).collect();
            let owner = model.bucket.as_ref().map(|(record, _)| record.node.as_str());
            let run: Vec<&str> = run.into_iter().map(|(name, _)| *name).collect();
            prop_assert_eq!(run, owner.into_iter().collect::<Vec<_>>());
            // Nothing changes any more.
            let revision = model.revision;
            for n in 0..3 {
                model.agree(n);
            }
            prop_assert_eq!(model.revision, revision);
        }
    }
}
