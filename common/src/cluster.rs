//! Nodes of a cluster, and where a streamer is placed: bodies of `/api/nodes` and part of `POST /api/streamers`.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::spec::InvalidField;

/// Longest name of a node, bytes.
pub const MAX_NODE_NAME: usize = 63;
/// Most labels of a node.
pub const MAX_LABELS: usize = 32;
/// Longest name or value of a label, bytes.
pub const MAX_LABEL: usize = 63;

/// By name.
pub type Labels = BTreeMap<String, String>;

/// Which node a streamer may run on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Placement {
    /// The node on which it is started. When that is lost, another one may start it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub node: Option<String>,
    /// Nodes that have all of these labels.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    #[ts(as = "Option<Labels>", optional)]
    pub labels: Labels,
}

impl Placement {
    /// Checks names and bounds.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn validate(&self) -> Result<(), InvalidField> {
        if let Some(node) = &self.node {
            check_node_name(node).map_err(|message| InvalidField::new("placement.node", message))?;
        }
        check_labels(&self.labels).map_err(|message| InvalidField::new("placement.labels", message))
    }
}

/// Checks the name of a node: letters, digits, `.`, `_` and `-`, a letter or digit first.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check_node_name(name: &str) -> Result<(), String> {
    check_text(name, MAX_NODE_NAME, "the name of a node")
}

/// Checks names and values of labels.
///
/// # Errors
/// What is wrong with them, for people.
pub fn check_labels(labels: &Labels) -> Result<(), String> {
    if labels.len() > MAX_LABELS {
        return Err(format!("at most {MAX_LABELS} labels are possible, not {}", labels.len()));
    }
    for (name, value) in labels {
        check_text(name, MAX_LABEL, "the name of a label")?;
        check_text(value, MAX_LABEL, "the value of a label")?;
    }
    Ok(())
}

fn check_text(text: &str, max: usize, what: &str) -> Result<(), String> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let begins = text.chars().next().is_some_and(|c| c.is_ascii_alphanumeric());
    match begins && text.len() <= max && text.chars().all(allowed) {
        true => Ok(()),
        false => Err(format!(
            "{what} has 1 to {max} letters, digits, '.', '_' and '-', a letter or digit first; not {text:?}"
        )),
    }
}

/// Whether a node can be reached, and takes streamers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum NodeState {
    /// It renews its lease, and takes new streamers.
    Alive,
    /// It renews its lease, and keeps the streamers that it has, but takes no new ones.
    Draining,
    /// Its lease has run out. Other nodes start its streamers whose restart policy allows it.
    Lost,
}

/// What the machine of a node has to do, whoever has it done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Load {
    /// Processors that are busy, percent of one, on average since the lease was renewed before.
    pub cpu_percent: u32,
    /// Memory in use, MiB.
    pub memory_mb: u32,
}

/// A node of the cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// Whether it can be reached.
    pub state: NodeState,
    /// URL at which the other nodes reach it; absent when it was lost before this server was started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub advertise: Option<String>,
    /// URL at which browsers reach it; absent when it has not said one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub public_url: Option<String>,
    /// Its labels.
    pub labels: Labels,
    /// Version of its web-server; absent as `advertise` is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub version: Option<String>,
    /// Streamers that it has.
    pub streamers: u32,
    /// Most that it takes.
    pub max_streamers: u32,
    /// What its machine had to do when the lease was last renewed; absent where it is not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub load: Option<Load>,
    /// It takes no more while `load.cpu_percent` is not less (`cluster.max_cpu_percent`); absent without such a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub max_cpu_percent: Option<u32>,
    /// It takes no more while `load.memory_mb` is not less (`cluster.max_memory_mb`); absent without such a bound.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub max_memory_mb: Option<u32>,
    /// It is the one that has answered.
    pub this: bool,
}

impl Node {
    /// Whether its machine has as much to do as it may, so that the node takes no more. What is not known is no reason.
    pub fn is_busy(&self) -> bool {
        let reached = |what: fn(&Load) -> u32, most: Option<u32>| {
            self.load.zip(most).is_some_and(|(load, most)| what(&load) >= most)
        };
        reached(|load| load.cpu_percent, self.max_cpu_percent)
            || reached(|load| load.memory_mb, self.max_memory_mb)
    }
}

/// `GET /api/nodes`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct NodeList {
    /// In order of their names.
    pub nodes: Vec<Node>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_short_and_plain() {
        for good in ["a", "node-1.rack_2", "0"] {
            assert_eq!(check_node_name(good), Ok(()), "{good}");
        }
        for bad in ["", "-a", "a b", "ä", "a/b", "a*", &"a".repeat(MAX_NODE_NAME + 1)] {
            assert!(check_node_name(bad).is_err(), "{bad}");
        }
        let labels = |name: &str, value: &str| Labels::from([(name.to_owned(), value.to_owned())]);
        assert_eq!(check_labels(&labels("gpu", "yes")), Ok(()));
        assert!(check_labels(&labels("gpu", "")).is_err() && check_labels(&labels("g=pu", "yes")).is_err());
        let many = (0..=MAX_LABELS).map(|n| (n.to_string(), "x".to_owned())).collect();
        assert!(check_labels(&many).is_err());
        let placement = Placement { node: Some("a b".into()), labels: Labels::new() };
        assert_eq!(placement.validate().unwrap_err().field, "placement.node");
    }
}
