//! A cluster of three nodes on one machine, with a real NATS server: what another node in between costs, and how long faults last.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use common::api::{Streamer, StreamerList};
use harness::nats::together;
use harness::{Nats, Server, eventually, eventually_within};
use serde_json::{Value, json};

use super::{Plan, test_source};
use crate::browser;
use crate::report::Row;

const KEY: &str = "the-key-of-a-cluster-that-is-measured-0123";
/// Of the nodes, as one of them is lost.
const LEASE: (&str, &str) = ("ORIEL_CLUSTER_LEASE_S", "3");
const LEASE_MS: f64 = 3000.0;
const PATIENCE: Duration = Duration::from_secs(30);
const REQUESTS: usize = 200;
const CREATIONS: usize = 20;

fn body(id: &str, node: &str) -> Value {
    json!({
        "id": id, "placement": { "node": node },
        "source": { "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false },
    })
}

fn node_of(server: &Server, id: &str) -> Option<String> {
    let list: StreamerList = server.get("/api/streamers").json();
    list.streamers.into_iter().find(|streamer| streamer.id.to_string() == id)?.node
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn median(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() / 2).copied().unwrap_or(f64::NAN)
}

/// Requests at the node that has the streamer and at another one, in turns.
fn requests(a: &Server, b: &Server) -> Result<[f64; 2]> {
    a.post("/api/streamers?wait=running", &body("one", "b")).expect(201);
    let mut gets = [Vec::new(), Vec::new()];
    for _ in 0..REQUESTS {
        for (server, times) in [b, a].into_iter().zip(&mut gets) {
            let begin = Instant::now();
            let answer = server.get("/api/streamers/one");
            times.push(ms(begin));
            ensure!(answer.status == 200, "{answer:?}");
        }
    }
    let mut posts = [Vec::new(), Vec::new()];
    for n in 0..CREATIONS {
        for (server, times) in [b, a].into_iter().zip(&mut posts) {
            let id = format!("new-{n}");
            let begin = Instant::now();
            let answer = server.post("/api/streamers", &body(&id, "b"));
            times.push(ms(begin));
            ensure!(answer.json::<Streamer>().node.as_deref() == Some("b"));
            b.delete(&format!("/api/streamers/{id}")).expect(204);
        }
    }
    b.delete("/api/streamers/one").expect(204);
    let more = |[own, other]: [Vec<f64>; 2]| median(other) - median(own);
    Ok([more(gets), more(posts)])
}

/// Chromium opens the page of a streamer at its own node and at another one: the median of each.
fn joins(plan: Plan, a: &Server, b: &Server) -> Result<f64> {
    let body = json!({ "id": "join", "placement": { "node": "b" }, "source": test_source(true) });
    a.post("/api/streamers?wait=running", &body).expect(201);
    let at = |server: &Server| -> Result<f64> {
        let joins = browser::join(&server.url("/s/join"), if plan.quick { 5 } else { 10 })?;
        Ok(median(joins.iter().map(|join| join.ms).collect()))
    };
    let own = at(b)?;
    let other = at(a)?;
    b.delete("/api/streamers/join").expect(204);
    Ok(other - own)
}

/// All of it.
pub fn cluster(plan: Plan) -> Result<Vec<Row>> {
    let mut gets = Vec::new();
    let mut posts = Vec::new();
    let mut joined = Vec::new();
    let mut lost = Vec::new();
    let mut again = Vec::new();
    for _ in 0..plan.runs(5) {
        let mut nats = Nats::start();
        let a = nats.node(KEY, "a", &[LEASE]);
        let b = nats.node(KEY, "b", &[LEASE]);
        let mut c = nats.node(KEY, "c", &[LEASE]);
        together(&[&a, &b, &c]);
        let [get, post] = requests(&a, &b)?;
        gets.push(get);
        posts.push(post);
        joined.push(joins(plan, &a, &b)?);

        a.post("/api/streamers?wait=running", &body("lost", "c")).expect(201);
        eventually("c has said how it is", || (node_of(&b, "lost")? == "c").then_some(()));
        c.kill_machine();
        let begin = Instant::now();
        eventually_within(PATIENCE, "another node has it", || (node_of(&a, "lost")? != "c").then_some(()));
        lost.push(ms(begin) - LEASE_MS);

        nats.kill();
        eventually("nothing can be created", || {
            (a.post("/api/streamers", &body("probe", "a")).status == 503).then_some(())
        });
        nats.start_again();
        let begin = Instant::now();
        for server in [&a, &b] {
            eventually_within(PATIENCE, "a node creates again", || {
                (server.post("/api/streamers", &body("probe", "a")).status < 300).then_some(())
            });
        }
        eventually_within(PATIENCE, "the other node lists it", || node_of(&b, "probe"));
        again.push(ms(begin));
    }
    Ok(vec![
        Row::new("cluster", "GET of a streamer at another node: more than at its own (p50)", "ms", gets)
            .at_most(1.5),
        Row::new("cluster", "POST for another node: more than at that one (p50)", "ms", posts).at_most(10.0),
        Row::new(
            "cluster",
            "WebSocket open to first frame presented, page of another node: more than of its own (p50)",
            "ms",
            joined,
        )
        .at_most(15.0),
        Row::new(
            "cluster",
            "node killed, to its streamer given to another one: beyond the lease",
            "ms",
            lost,
        )
        .at_most(1000.0),
        Row::new("cluster", "NATS restarted, to all nodes creating and listing again", "ms", again)
            .at_most(2000.0),
    ])
}
