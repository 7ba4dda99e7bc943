//! Which node a new streamer is placed on. Pure.

use common::cluster::{Labels, NodeState, Placement};

/// A node that may be chosen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Candidate<'a> {
    /// Its name.
    pub name: &'a str,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether it takes streamers.
    pub state: NodeState,
    /// Streamers that it has, or is about to have.
    pub streamers: u32,
    /// Most that it takes.
    pub max_streamers: u32,
    /// Its machine has as much to do as it may.
    pub is_busy: bool,
}

impl Candidate<'_> {
    fn room(&self) -> u32 {
        if self.is_busy { 0 } else { self.max_streamers.saturating_sub(self.streamers) }
    }
}

/// Why no node can take a streamer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoCapacity {
    /// The one that was asked for is not known.
    #[error("there is no node {0:?} (placement.node)")]
    NoNode(String),
    /// The one that was asked for is lost.
    #[error("the node {0:?} is lost (placement.node)")]
    Lost(String),
    /// The one that was asked for is draining.
    #[error("the node {0:?} is draining (placement.node)")]
    Draining(String),
    /// None has the labels.
    #[error("no node has the labels {} (placement.labels)", list(.0))]
    NoLabels(Labels),
    /// Those that could take it have it, or have refused it.
    #[error("no other node could take it")]
    NoOther,
    /// Those that have the labels are lost or draining.
    #[error("all nodes that could take it are lost or draining: {lost} lost, {draining} draining")]
    NoneTakes {
        /// How many are lost.
        lost: usize,
        /// How many are draining.
        draining: usize,
    },
    /// Those that take streamers have as many as they may, or as much to do.
    #[error("all nodes that could take it are full: {}", full_or_busy(*full, *max_streamers, *busy))]
    Full {
        /// How many have as many streamers as they may.
        full: usize,
        /// How many that is, of all of these together.
        max_streamers: u64,
        /// How many more have as much to do as they may.
        busy: usize,
    },
}

fn full_or_busy(full: usize, max_streamers: u64, busy: usize) -> String {
    let full = (full > 0).then(|| format!("{full} with {max_streamers} streamers (max_streamers)"));
    let busy = (busy > 0).then(|| {
        format!("{busy} with as much to do as they may (cluster.max_cpu_percent, cluster.max_memory_mb)")
    });
    full.into_iter().chain(busy).collect::<Vec<_>>().join(", ")
}

fn list(labels: &Labels) -> String {
    labels.iter().map(|(name, value)| format!("{name}={value}")).collect::<Vec<_>>().join(", ")
}

/// The node with the most room of those that the placement permits; of equal ones the first by name.
///
/// # Errors
/// What was missing.
pub fn place<'a>(nodes: &[Candidate<'a>], wish: &Placement) -> Result<&'a str, NoCapacity> {
    let named = nodes.iter().filter(|node| wish.node.as_ref().is_none_or(|name| name == node.name));
    let named: Vec<_> = named.collect();
    if let (Some(name), [only]) = (&wish.node, named.as_slice()) {
        match only.state {
            NodeState::Lost => return Err(NoCapacity::Lost(name.clone())),
            NodeState::Draining => return Err(NoCapacity::Draining(name.clone())),
            NodeState::Alive => {}
        }
    }
    if let (Some(name), []) = (&wish.node, named.as_slice()) {
        return Err(NoCapacity::NoNode(name.clone()));
    }
    let has =
        |node: &&&Candidate<'_>| wish.labels.iter().all(|(name, value)| node.labels.get(name) == Some(value));
    let labelled: Vec<_> = named.iter().filter(has).collect();
    if labelled.is_empty() && !wish.labels.is_empty() {
        return Err(NoCapacity::NoLabels(wish.labels.clone()));
    }
    let taking: Vec<_> = labelled.iter().filter(|node| node.state == NodeState::Alive).collect();
    if taking.is_empty() {
        let of = |state| labelled.iter().filter(|node| node.state == state).count();
        return Err(NoCapacity::NoneTakes { lost: of(NodeState::Lost), draining: of(NodeState::Draining) });
    }
    let free = taking.iter().filter(|node| node.room() > 0);
    let best = free.max_by(|a, b| a.room().cmp(&b.room()).then_with(|| b.name.cmp(a.name)));
    best.map(|node| node.name).ok_or_else(|| {
        let full: Vec<_> = taking.iter().filter(|node| node.streamers >= node.max_streamers).collect();
        NoCapacity::Full {
            full: full.len(),
            max_streamers: full.iter().map(|node| u64::from(node.max_streamers)).sum(),
            busy: taking.len() - full.len(),
        }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn node<'a>(name: &'a str, labels: &'a Labels, streamers: u32) -> Candidate<'a> {
        Candidate { name, labels, state: NodeState::Alive, streamers, max_streamers: 4, is_busy: false }
    }

    #[test]
    fn it_is_said_what_was_missing() {
        let gpu: Labels = [("gpu".to_owned(), "yes".to_owned())].into();
        let none = Labels::new();
        let lost = Candidate { state: NodeState::Lost, ..node("lost", &none, 0) };
        let draining = Candidate { state: NodeState::Draining, ..node("draining", &gpu, 0) };
        let nodes = [node("a", &none, 1), node("b", &none, 0), node("full", &gpu, 4), lost, draining];
        let on = |name: &str| Placement { node: Some(name.into()), labels: Labels::new() };
        let with = |labels: &Labels| Placement { node: None, labels: labels.clone() };
        assert_eq!(place(&nodes, &Placement::default()), Ok("b"));
        assert_eq!(place(&nodes, &on("a")), Ok("a"));
        assert_eq!(place(&nodes, &on("x")), Err(NoCapacity::NoNode("x".into())));
        assert_eq!(place(&nodes, &on("lost")), Err(NoCapacity::Lost("lost".into())));
        assert_eq!(place(&nodes, &on("draining")), Err(NoCapacity::Draining("draining".into())));
        let full = NoCapacity::Full { full: 1, max_streamers: 4, busy: 0 };
        assert_eq!(place(&nodes, &with(&gpu)), Err(full.clone()));
        assert_eq!(
            full.to_string(),
            "all nodes that could take it are full: 1 with 4 streamers (max_streamers)"
        );
        let busy = Candidate { is_busy: true, ..node("busy", &gpu, 1) };
        let both = place(&[busy, node("full", &gpu, 4)], &with(&gpu)).unwrap_err();
        assert_eq!(both, NoCapacity::Full { full: 1, max_streamers: 4, busy: 1 });
        assert!(both.to_string().ends_with(
            ", 1 with as much to do as they may (cluster.max_cpu_percent, cluster.max_memory_mb)"
        ));
        let zone: Labels = [("zone".to_owned(), "b".to_owned())].into();
        let missing = place(&nodes, &with(&zone)).unwrap_err();
        assert!(missing.to_string().contains("zone=b"), "{missing}");
        assert_eq!(
            place(&nodes[3..], &Placement::default()),
            Err(NoCapacity::NoneTakes { lost: 1, draining: 1 })
        );
    }

    fn states() -> impl Strategy<Value = NodeState> {
        prop_oneof![3 => Just(NodeState::Alive), 1 => Just(NodeState::Draining), 1 => Just(NodeState::Lost)]
    }

    proptest! {
        #[test]
        fn never_on_one_that_is_draining_or_lost_or_full_or_unlike(
            specs in prop::collection::vec((states(), 0u32..6, 0u32..6, any::<bool>(), prop::bool::weighted(0.3)), 0..8),
            wants_gpu in any::<bool>(),
        ) {
            let gpu: Labels = [("gpu".to_owned(), "yes".to_owned())].into();
            let none = Labels::new();
            let names: Vec<String> = (0..specs.len()).map(|n| format!("n{n}")).collect();
            let nodes: Vec<_> = specs.iter().zip(&names).map(|((state, streamers, max, has, is_busy), name)| Candidate {
                name,
                labels: if *has { &gpu } else { &none },
                state: *state,
                streamers: *streamers,
                max_streamers: *max,
                is_busy: *is_busy,
            }).collect();
            let labels = if wants_gpu { gpu.clone() } else { none.clone() };
            let fits = |node: &&Candidate<'_>| {
                node.state == NodeState::Alive
                    && node.streamers < node.max_streamers
                    && !node.is_busy
                    && (!wants_gpu || node.labels == &gpu)
            };
            match place(&nodes, &Placement { node: None, labels }) {
                Ok(name) => {
                    let chosen = nodes.iter().find(|node| node.name == name);
                    prop_assert!(chosen.is_some_and(|node| fits(&node)));
                }
                Err(_) => prop_assert!(!nodes.iter().any(|node| fits(&node))),
            }
        }

        #[test]
        fn at_equal_capacity_the_load_is_spread_evenly(count in 1usize..8, placed in 0u32..200) {
            let none = Labels::new();
            let names: Vec<String> = (0..count).map(|n| format!("n{n}")).collect();
            let mut load = vec![0u32; count];
            for _ in 0..placed {
                let nodes: Vec<_> = names.iter().zip(&load).map(|(name, streamers)| Candidate {
                    max_streamers: 200,
                    ..node(name, &none, *streamers)
                }).collect();
                let chosen = place(&nodes, &Placement::default()).unwrap();
                load[names.iter().position(|name| name == chosen).unwrap()] += 1;
            }
            let most = load.iter().max().unwrap();
            let least = load.iter().min().unwrap();
            prop_assert!(most - least <= 1, "{load:?}");
        }
    }
}
