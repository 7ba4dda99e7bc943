//! Nodes of a cluster.

use common::cluster::{Node, NodeList};
use common::files::encoded;

use super::word;
use crate::args::Nodes;
use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, table};

pub fn run(client: &Client, out: Output, what: Nodes) -> Result<(), Failure> {
    let (name, act, done) = match what {
        Nodes::Ls => return list(client, out),
        Nodes::Drain { name } => (name, "drain", "takes no new sessions"),
        Nodes::Undrain { name } => (name, "undrain", "takes new sessions"),
    };
    let answer = client.send("POST", &format!("/api/nodes/{}/{act}", encoded(name.as_bytes())), None)?;
    out.answer(&answer, || Ok(format!("{name} {done}")))
}

fn list(client: &Client, out: Output) -> Result<(), Failure> {
    let answer = client.get("/api/nodes")?;
    out.answer(&answer, || {
        let row = |node: Node| {
            let name = if node.this { format!("{} (this one)", node.name) } else { node.name };
            let labels: Vec<_> = node.labels.iter().map(|(name, value)| format!("{name}={value}")).collect();
            vec![
                name,
                word(&node.state),
                format!("{} of {}", node.streamers, node.max_streamers),
                node.load.map_or_else(String::new, |load| format!("{} %", load.cpu_percent)),
                node.load.map_or_else(String::new, |load| format!("{} MiB", load.memory_mb)),
                labels.join(","),
                node.version.unwrap_or_default(),
                node.advertise.unwrap_or_default(),
            ]
        };
        let rows = answer.json::<NodeList>()?.nodes.into_iter().map(row).collect();
        let heading = ["NAME", "STATE", "SESSIONS", "CPU", "MEMORY", "LABELS", "VERSION", "ADDRESS"];
        Ok(table(&heading, rows, "no nodes"))
    })
}
