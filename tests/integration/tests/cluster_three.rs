//! Nodes of a cluster whose records three NATS servers keep: any one of these may be lost, also the one that leads.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeSet;

use common::api::StreamerList;
use common::cluster::{NodeList, NodeState};
use harness::nats::{KEY, create, together};
use harness::{Nats, Server, eventually};
use serde_json::{Value, json};

const STREAM: &str = "$JS.API.STREAM.INFO.KV_oriel-streamers";

/// Which of the servers leads the records, once all three have them.
fn leader(nats: &[Nats; 3]) -> usize {
    eventually("all three servers have the records", || {
        let info: Value = serde_json::from_slice(&nats[0].request(STREAM, b"")).unwrap();
        let others = info["cluster"]["replicas"].as_array()?;
        let current = others.iter().filter(|other| other["current"] == true).count();
        let leader = info["cluster"]["leader"].as_str()?.strip_prefix('n')?.parse().ok()?;
        (current == 2).then_some(leader)
    })
}

fn listed(server: &Server) -> BTreeSet<String> {
    let list: StreamerList = server.get("/api/streamers").expect(200).json();
    list.streamers.into_iter().map(|streamer| streamer.id.to_string()).collect()
}

fn pids(server: &Server) -> BTreeSet<i32> {
    server.session_processes().into_iter().map(|process| process.pid).collect()
}

#[test]
fn one_of_three_nats_servers_may_be_lost_with_its_data() {
    let mut nats = Nats::three();
    let urls = nats.each_ref().map(Nats::url).join(",");
    let [a, b] =
        ["a", "b"].map(|name| Server::start_node(&urls, KEY, name, &[("ORIEL_CLUSTER_REPLICAS", "3")]));
    together(&[&a, &b]);
    let body = |id: &str| {
        let source = json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false });
        json!({ "id": id, "source": source, "placement": { "node": "b" } })
    };
    create(&a, &body("first"));
    let before = pids(&b);
    for loses_data in [false, true] {
        let lost = leader(&nats);
        nats[lost].kill();
        create(&a, &body("second"));
        let both = ["first", "second"].map(str::to_owned).into();
        eventually("both nodes list both", || (listed(&a) == both && listed(&b) == both).then_some(()));
        eventually("it is deleted at the node that does not run it", || {
            let answer = a.delete("/api/streamers/second");
            assert!(matches!(answer.status, 204 | 404 | 502..=504), "{answer:?}");
            (answer.status == 404).then_some(())
        });
        if loses_data {
            nats[lost].lose_data();
        }
        nats[lost].start_again();
    }
    leader(&nats);
    let first = ["first".to_owned()].into();
    eventually("nothing else is left", || {
        (listed(&a) == first && listed(&b) == first && pids(&b) == before).then_some(())
    });
    let nodes = a.get("/api/nodes").expect(200).json::<NodeList>().nodes;
    assert!(nodes.len() == 2 && nodes.iter().all(|node| node.state == NodeState::Alive), "{nodes:?}");
}
