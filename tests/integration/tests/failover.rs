//! What survives what in a cluster: nodes, NATS and the way between them fail, with a real `nats-server`, and afterwards each streamer runs
//! exactly once, where its record says.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]
#![allow(
    clippy::disallowed_methods,
    reason = "it is measured how long it takes until something is seen again"
)]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use common::api::{Streamer, StreamerList};
use common::audit::{AuditAction, AuditList};
use common::cluster::NodeList;
use common::signal::StreamerState;
use harness::nats::{KEY, create, together_within};
use harness::{Nats, Server, Way, eventually, eventually_within};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use web_server::cluster::seal::Keys;

/// Of nodes that are lost in these tests.
const LEASE: Duration = Duration::from_secs(3);
const SHORT: (&str, &str) = ("ORIEL_CLUSTER_LEASE_S", "3");
/// A streamer of a lost node is another one's within this time after the lease. The target is a second; a machine that is busy with other
/// tests takes much longer. `scripts/soak` and `scripts/bench` hold to the target.
const FAILOVER: Duration = Duration::from_secs(10);
/// For all to settle after a fault: NATS is reached again, leases run out, processes end and start.
const HEALED: Duration = Duration::from_secs(40);

/// How long the soak test goes on, if this is that.
fn rounds() -> Option<usize> {
    std::env::var("ORIEL_FAULTS").ok().map(|rounds| rounds.parse().expect("ORIEL_FAULTS is a number"))
}

fn failover_limit() -> Duration {
    LEASE + if rounds().is_some() { Duration::from_secs(1) } else { FAILOVER }
}

fn body(id: &str, node: &str) -> Value {
    json!({
        "id": id, "placement": { "node": node },
        "source": { "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false },
    })
}

/// Node and state of each streamer, as a node lists them.
fn listed(server: &Server) -> BTreeMap<String, (String, StreamerState)> {
    let list: StreamerList = server.get("/api/streamers").expect(200).json();
    let entry = |streamer: Streamer| (streamer.id.to_string(), (streamer.node.unwrap(), streamer.state));
    list.streamers.into_iter().map(entry).collect()
}

fn at(server: &Server, id: &str) -> Option<(String, StreamerState)> {
    listed(server).remove(id)
}

fn runs_at(server: &Server, id: &str, node: &str) -> Option<()> {
    (at(server, id)? == (node.to_owned(), StreamerState::Running)).then_some(())
}

fn together(servers: &[&Server]) {
    together_within(HEALED, servers);
}

/// Pids of the streamers of a node.
fn pids(server: &Server) -> Vec<i32> {
    let monitors = server.session_processes().into_iter();
    monitors.filter(|process| process.command_line.contains(" monitor ")).map(|process| process.pid).collect()
}

/// Where these streamers run, if they and no others do, exactly once, where all nodes say.
fn places(servers: &[&Server], ids: &[&str]) -> Option<BTreeMap<String, String>> {
    let first = listed(servers[0]);
    let known = first.keys().map(String::as_str).eq(ids.iter().copied());
    let running = first.values().all(|(_, state)| *state == StreamerState::Running);
    let agreed = servers.iter().all(|server| listed(server) == first);
    let processes: usize = servers.iter().map(|server| pids(server).len()).sum();
    let served = ids
        .iter()
        .all(|id| servers.iter().all(|server| server.get(&format!("/api/streamers/{id}")).status == 200));
    (known && running && agreed && processes == ids.len() && served)
        .then(|| first.into_iter().map(|(id, (node, _))| (id, node)).collect())
}

/// Waits until these streamers, and no others, run exactly once, where all nodes say.
#[track_caller]
fn settled(servers: &[&Server], ids: &[&str]) -> BTreeMap<String, String> {
    eventually_within(HEALED, "each streamer runs once, where all nodes say", || places(servers, ids))
}

/// The same, at these nodes: of a move that has been accepted nobody may have heard yet.
#[track_caller]
fn settled_at(servers: &[&Server], expected: &[(&str, &str)]) -> BTreeMap<String, String> {
    let ids: Vec<_> = expected.iter().map(|(id, _)| *id).collect();
    eventually_within(HEALED, &format!("each streamer runs once: {expected:?}"), || {
        places(servers, &ids).filter(|places| places.values().eq(expected.iter().map(|(_, node)| *node)))
    })
}

#[test]
fn a_request_at_a_node_that_stands_still_is_given_up_when_that_is_lost() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT]);
    together(&[&a, &b]);
    let mut stays = body("stays", "b");
    stays["restart"] = json!({ "policy": "never" });
    a.post("/api/streamers", &stays).expect(201);
    b.pause();
    // Its kernel still takes connections, so nothing but the lease tells.
    let began = Instant::now();
    let problem = a.get("/api/streamers/stays/peers").expect(502).problem();
    assert!(began.elapsed() < HEALED, "{:?}", began.elapsed());
    assert_eq!(problem.code, "node_unreachable", "{problem:?}");
    assert!(problem.detail.contains("the node b cannot be reached: it is lost"), "{problem:?}");
    b.go_on();
    settled_at(&[&a, &b], &[("stays", "b")]);
    assert_eq!(a.get("/api/streamers/stays/peers").status, 200);
}

#[test]
fn streamers_of_a_lost_node_are_started_elsewhere_and_end_there_when_it_is_back() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT]);
    let mut c = nats.node(KEY, "c", &[SHORT, ("ORIEL_CLUSTER_LABELS", "disk=big")]);
    together(&[&a, &b, &c]);
    create(&a, &body("one", "c"));
    // What was changed at run time goes with it.
    let camera = json!({ "name": "camera", "source": { "type": "test", "fps": 5, "audio": false } });
    b.post("/api/streamers/one/sources", &camera).expect(204);
    a.put("/api/streamers/one/slots/1", &json!({ "source": "camera" })).expect(200);
    create(&a, &body("two", "c"));
    let mut never = body("never", "c");
    never["restart"] = json!({ "policy": "never" });
    create(&a, &never);
    let mut labelled = body("labelled", "c");
    labelled["placement"] = json!({ "labels": { "disk": "big" } });
    create(&a, &labelled);
    // Each is written when it has changed, so what came before is written, too.
    eventually("b knows that all of them run", || {
        let listed = listed(&b);
        (listed.len() == 4 && listed.values().all(|(_, state)| *state == StreamerState::Running))
            .then_some(())
    });

    c.kill_machine();
    let killed = Instant::now();
    eventually_within(HEALED, "another node has both", || {
        let listed = listed(&a);
        ["one", "two"].iter().all(|id| listed.get(*id).is_some_and(|(node, _)| node != "c")).then_some(())
    });
    let took = killed.elapsed();
    println!("node killed: its streamers are others' after {took:?}");
    assert!(took <= failover_limit(), "{took:?}");
    let one = at(&a, "one").unwrap().0;
    let two = at(&a, "two").unwrap().0;
    assert_ne!(one, two, "they are spread");
    for id in ["one", "two"] {
        eventually_within(HEALED, "it runs", || (at(&b, id)?.1 == StreamerState::Running).then_some(()));
    }
    let slots = || b.streamer("one").map(|streamer| streamer.slots);
    eventually("slot 1 shows the camera", || slots()?.iter().any(|slot| slot.slot == 1).then_some(()));
    let trail: AuditList = a.get("/api/streamers/one/audit").expect(200).json();
    let moved = trail.entries.iter().find(|entry| entry.action == AuditAction::Moved).unwrap();
    let detail = moved.detail.as_deref().unwrap();
    assert!(detail.contains("the node c is lost") && detail.contains("generation 2"), "{detail}");

    // What may not be started elsewhere is shown as lost, and can be deleted.
    for id in ["never", "labelled"] {
        let lost: Streamer = b.get(&format!("/api/streamers/{id}")).expect(200).json();
        assert_eq!((lost.state, lost.node.as_deref()), (StreamerState::Lost, Some("c")), "{:?}", lost.reason);
        assert_eq!(at(&a, id).unwrap().1, StreamerState::Lost);
    }
    assert_eq!(a.get("/api/streamers/never/logs").expect(502).problem().code, "node_unreachable");
    b.delete("/api/streamers/never").expect(204);
    eventually("a has heard of it", || (a.get("/api/streamers/never").status == 404).then_some(()));

    c.start_again();
    together(&[&a, &b, &c]);
    settled_at(&[&a, &b, &c], &[("labelled", "c"), ("one", one.as_str()), ("two", two.as_str())]);
    assert!(c.log().contains("ending this node's copy of a streamer"));
}

/// What a page says and hears. Reads until the server closes.
fn watch_until_closed(
    socket: &mut tungstenite::WebSocket<impl std::io::Read + std::io::Write>,
) -> Vec<Value> {
    let mut heard = Vec::new();
    while let Ok(message) = socket.read() {
        if let tungstenite::Message::Text(text) = message {
            heard.push(serde_json::from_str(&text).unwrap());
        }
    }
    heard
}

fn join(
    server: &Server,
    id: &str,
) -> Option<tungstenite::WebSocket<tungstenite::stream::MaybeTlsStream<TcpStream>>> {
    let url = format!("ws://{}/api/streamers/{id}/peer", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "oriel.v1".parse().unwrap());
    let (mut socket, _) = tungstenite::connect(request).ok()?;
    socket.send(tungstenite::Message::text(json!({ "type": "hello" }).to_string())).ok()?;
    loop {
        let message: Value = serde_json::from_str(&socket.read().ok()?.into_text().ok()?).unwrap();
        match message["type"].as_str().unwrap() {
            "welcome" => return Some(socket),
            "error" => return None,
            _ => {}
        }
    }
}

#[test]
fn a_streamer_is_moved_at_any_node_and_pages_follow() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT, ("ORIEL_CLUSTER_LABELS", "gpu=yes")]);
    let c =
        nats.node(KEY, "c", &[SHORT, ("ORIEL_MAX_STREAMERS", "1"), ("ORIEL_CLUSTER_LABELS", "small=yes")]);
    together(&[&a, &b, &c]);
    create(&a, &body("far", "a"));
    let moved =
        |server: &Server, to: Value, status: u16| server.post("/api/streamers/far/move", &to).expect(status);

    // A page at the third node.
    let mut page = join(&c, "far").unwrap();
    let answer: Streamer = moved(&c, json!({ "node": "b" }), 202).json();
    assert_eq!((answer.node.as_deref(), answer.state), (Some("b"), StreamerState::Restarting));
    let heard = watch_until_closed(&mut page);
    let state = heard.iter().rev().find(|message| message["type"] == "streamer-state").unwrap();
    assert_eq!(state["state"], "restarting", "a page comes back after this: {heard:?}");
    let page = eventually_within(HEALED, "the page is there again", || join(&c, "far"));
    eventually("b has the peer", || (b.streamer("far")?.peers.len() == 1).then_some(()));
    drop(page);
    settled_at(&[&a, &b, &c], &[("far", "b")]);
    assert!(pids(&a).is_empty());

    // It is there already; by labels, with nobody's wish, and refused.
    assert_eq!(moved(&a, json!({ "node": "b" }), 200).json::<Streamer>().node.as_deref(), Some("b"));
    moved(&b, json!({ "labels": { "small": "yes" } }), 202);
    settled_at(&[&a, &b, &c], &[("far", "c")]);
    for (to, status, code) in [
        (json!({ "node": "nobody" }), 503, "no_capacity"),
        (json!({ "labels": { "small": "no" } }), 503, "no_capacity"),
        // The labels from before count, and no other node has them.
        (json!({}), 503, "no_capacity"),
    ] {
        assert_eq!(moved(&a, to, status).problem().code, code);
    }
    let problem = moved(&a, json!({ "node": "a b" }), 400).problem();
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("invalid_field", Some("node")));
    let unknown = a.post("/api/streamers/unknown/move", &json!({})).expect(404).problem();
    assert_eq!(unknown.code, "streamer_not_found");
    moved(&a, json!({ "labels": { "gpu": "yes" } }), 202);
    settled_at(&[&a, &b, &c], &[("far", "b")]);

    // Two nodes place on the third at once: it takes as many as it can, and nobody is told that it is for the server to blame.
    let wish = |n: usize| {
        let mut body = body(&format!("s{n}"), "c");
        if n.is_multiple_of(2) {
            body["placement"] = json!({ "labels": { "small": "yes" } });
        }
        body
    };
    let answers: Vec<_> = std::thread::scope(|scope| {
        let ask = |n: usize| {
            let server = if n.is_multiple_of(3) { &a } else { &b };
            scope.spawn(move || server.post("/api/streamers", &wish(n)))
        };
        (0..6).map(ask).collect::<Vec<_>>().into_iter().map(|asked| asked.join().unwrap()).collect()
    });
    for answer in &answers {
        assert!(answer.status == 201 || answer.problem().code == "no_capacity", "{answer:?}");
    }
    assert_eq!(answers.iter().filter(|answer| answer.status == 201).count(), 1);

    // In pages, at any node.
    for id in ["t1", "t2", "t3"] {
        create(&b, &body(id, "a"));
    }
    eventually("c knows all", || (listed(&c).len() == 5).then_some(()));
    let page = |query: &str| -> (Vec<String>, Option<String>) {
        let list: StreamerList = c.get(&format!("/api/streamers?{query}")).expect(200).json();
        let ids = list.streamers.iter().map(|streamer| streamer.id.to_string()).collect();
        (ids, list.next.map(|id| id.to_string()))
    };
    let whole = page("").0;
    let (first, next) = page("limit=3");
    let (second, end) = page(&format!("limit=3&after={}", next.unwrap()));
    assert_eq!(([first, second].concat(), end), (whole, None));
    assert_eq!(page("node=a&limit=2"), (vec!["t1".to_owned(), "t2".to_owned()], Some("t2".to_owned())));
    for (query, field) in [("limit=0", "limit"), ("limit=1001", "limit"), ("after=%20", "after")] {
        let problem = c.get(&format!("/api/streamers?{query}")).expect(400).problem();
        assert_eq!(problem.field.as_deref(), Some(field));
    }
}

#[test]
fn a_node_without_nats_keeps_or_stops_what_others_may_have_started_and_one_copy_is_left() {
    let mut nats = Nats::start();
    let to_b = Way::to(nats.port());
    let to_c = Way::to(nats.port());
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = Server::start_node(&to_b.url(), KEY, "b", &[SHORT]);
    let c = Server::start_node(&to_c.url(), KEY, "c", &[SHORT, ("ORIEL_CLUSTER_ON_PARTITION", "stop")]);
    together(&[&a, &b, &c]);
    create(&a, &body("keeps", "b"));
    create(&a, &body("stops", "c"));
    eventually("a knows both", || (listed(&a).len() == 2).then_some(()));
    let kept = pids(&b);

    // What they send arrives nowhere; what is sent to c arrives nowhere either.
    to_b.cut(true, false);
    to_c.cut(true, true);
    for id in ["keeps", "stops"] {
        eventually_within(HEALED, "a runs it", || runs_at(&a, id, "a"));
    }
    eventually_within(HEALED, "c has stopped its copy", || pids(&c).is_empty().then_some(()));
    assert_eq!(pids(&b), kept, "b goes on with its copy");
    let own: Streamer = b.get("/api/streamers/keeps").expect(200).json();
    assert_eq!((own.state, own.node.as_deref()), (StreamerState::Running, Some("b")));
    assert_eq!(c.post("/api/streamers", &body("new", "c")).expect(503).problem().code, "cluster_unreachable");
    to_b.cut(false, false);
    to_c.cut(false, false);
    settled_at(&[&a, &b, &c], &[("keeps", "a"), ("stops", "a")]);
    // What was listed by all may be so before all take streamers again.
    together(&[&a, &b, &c]);

    // NATS is gone for longer than a lease: nobody can start anything elsewhere, and what c has stopped goes on there.
    a.post("/api/streamers/keeps/move", &json!({ "node": "b" })).expect(202);
    a.post("/api/streamers/stops/move", &json!({ "node": "c" })).expect(202);
    let places = settled_at(&[&a, &b, &c], &[("keeps", "b"), ("stops", "c")]);
    let kept = pids(&b);
    nats.kill();
    eventually_within(HEALED, "c has stopped it", || pids(&c).is_empty().then_some(()));
    nats.start_again();
    assert_eq!(settled(&[&a, &b, &c], &["keeps", "stops"]), places);
    assert_eq!(pids(&b), kept, "what runs is not touched");
    together(&[&a, &b, &c]);

    // NATS stands still for longer than a lease, and what was sent to it meanwhile is done then: nothing moves, nothing ends.
    a.post("/api/streamers/stops/move", &json!({ "node": "a" })).expect(202);
    let places = settled_at(&[&a, &b, &c], &[("keeps", "b"), ("stops", "a")]);
    let before = (pids(&a), pids(&b));
    nats.pause();
    std::thread::sleep(LEASE + Duration::from_secs(1));
    nats.go_on();
    let again = Instant::now();
    eventually_within(HEALED, "creations are possible again", || {
        // One that was refused while its outcome was not known may be there all the same.
        [200, 201].contains(&a.post("/api/streamers", &body("probe", "a")).status).then_some(())
    });
    println!("NATS goes on: a node creates after {:?}", again.elapsed());
    a.delete("/api/streamers/probe").expect(204);
    assert_eq!(settled(&[&a, &b, &c], &["keeps", "stops"]), places);
    assert_eq!((pids(&a), pids(&b)), before);

    // Its data is lost while b is away: b's copy, which is newer than any record, stays.
    to_b.cut(true, true);
    nats.kill();
    nats.lose_data();
    nats.start_again();
    together(&[&a, &c]);
    to_b.cut(false, false);
    assert_eq!(settled(&[&a, &b, &c], &["keeps", "stops"]), places);
    assert_eq!((pids(&a), pids(&b)), before);
}

#[test]
fn what_nats_has_lost_and_its_node_cannot_write_anew_is_written_by_another_one() {
    let mut nats = Nats::start();
    let to_b = Way::to(nats.port());
    // Longer than it takes to ask for a move to a node that is cut off already.
    let lease = [("ORIEL_CLUSTER_LEASE_S", "8")];
    let a = nats.node(KEY, "a", &lease);
    let b = Server::start_node(&to_b.url(), KEY, "b", &lease);
    let mut c = nats.node(KEY, "c", &lease);
    together(&[&a, &b, &c]);
    create(&a, &body("dies", "c"));
    create(&a, &body("ends", "b"));
    create(&a, &body("moves", "a"));
    settled_at(&[&a, &b, &c], &[("dies", "c"), ("ends", "b"), ("moves", "a")]);

    // One is given to b, which does not hear of it; one ends at b; one is lost with its machine: all while NATS loses its data.
    to_b.cut(true, true);
    a.post("/api/streamers/moves/move", &json!({ "node": "b" })).expect(202);
    eventually_within(HEALED, "a has ended it", || pids(&a).is_empty().then_some(()));
    c.kill_machine();
    nats.kill();
    nats.lose_data();
    nats.start_again();
    to_b.cut(false, false);
    b.delete("/api/streamers/ends").expect(204);
    let places = settled(&[&a, &b], &["dies", "moves"]);
    assert_eq!(places["moves"], "b");
    assert_ne!(places["dies"], "c");
    // The machine is back, and with it what it remembers.
    c.start_again();
    together(&[&a, &b, &c]);
    assert_eq!(settled(&[&a, &b, &c], &["dies", "moves"]), places);
}

#[test]
fn what_others_write_into_the_buckets_hurts_nobody() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT]);
    together(&[&a, &b]);
    create(&a, &body("far", "b"));
    // As long as a record can be, and too long for one.
    let long = [vec![1; 700_000], vec![1; 900_000]];
    for key in [
        "oriel-nodes.c",
        "oriel-streamers.far",
        "oriel-streamers.evil",
        "oriel-streamers.a=b",
        "oriel-revoked.x",
    ] {
        let values = [&b""[..], b"{}", b"\x01 not sealed with the key of this cluster", &long[0], &long[1]];
        nats.publish(&format!("$KV.{key}"), &values);
    }
    // A node of another cluster that uses the same buckets by mistake, and one that is called as another.
    let stranger = nats.node("the-key-of-another-cluster-0123456789abcd", "d", &[SHORT]);
    let twin = nats.node(KEY, "a", &[SHORT]);
    eventually("the twin says so", || {
        twin.log().contains("another node of this cluster has the name").then_some(())
    });
    assert_eq!(
        twin.post("/api/streamers", &body("x", "a")).expect(503).problem().code,
        "cluster_unreachable"
    );
    // b runs it, and has written its record anew.
    eventually("a serves it", || (a.get("/api/streamers/far").status == 200).then_some(()));
    eventually("a says what it ignores", || {
        let log = a.log();
        (log.contains("a record of a streamer is ignored") && log.contains("a record of a node is ignored"))
            .then_some(())
    });
    assert_eq!(
        stranger.post("/api/streamers", &body("far", "d")).expect(503).problem().code,
        "cluster_unreachable"
    );
    for server in [&a, &b] {
        let names: Vec<_> = server.get("/api/nodes").expect(200).json::<NodeList>().nodes;
        assert_eq!(names.iter().map(|node| node.name.as_str()).collect::<Vec<_>>(), ["a", "b"]);
        server.get("/api/streamers/far").expect(200);
        server.post("/api/streamers", &body("after", "a"));
    }
    b.delete("/api/streamers/after").expect(204);
}

/// What an earlier web-server has sealed with `key`, by version: `web-server/src/cluster/recorded`.
fn recorded() -> (String, BTreeMap<String, Vec<u8>>) {
    let file: Value =
        serde_json::from_str(include_str!("../../../web-server/src/cluster/recorded/records.json")).unwrap();
    let records = file["records"].as_array().unwrap().iter();
    let records = records.filter(|record| record["bucket"] == "oriel-streamers").map(|record| {
        let sealed = STANDARD.decode(record["sealed"].as_str().unwrap()).unwrap();
        (record["version"].as_str().unwrap().to_owned(), sealed)
    });
    (file["key"].as_str().unwrap().to_owned(), records.collect())
}

#[test]
fn records_of_older_and_newer_web_servers_are_as_good_as_our_own() {
    let (key, records) = recorded();
    let nats = Nats::start();
    let a = nats.node(&key, "a", &[SHORT, ("ORIEL_CLUSTER_LABELS", "gpu=yes")]);
    together(&[&a]);
    let keys = Keys::derive(&key);
    let bucket = |name: &str| format!("$KV.oriel-streamers.{name}");
    let read = |name: &str| -> Value {
        let wish = json!({ "last_by_subj": bucket(name) }).to_string();
        let reply = nats.request("$JS.API.STREAM.MSG.GET.KV_oriel-streamers", wish.as_bytes());
        let reply: Value = serde_json::from_slice(&reply).unwrap();
        let sealed = STANDARD.decode(reply["message"]["data"].as_str().unwrap()).unwrap();
        serde_json::from_slice(&keys.open(name, &sealed).unwrap()).unwrap()
    };

    // That of a node that could not have its streamers started elsewhere yet, which is gone: it is shown, and can be deleted.
    nats.publish(&bucket("cam=1"), &[&records["before generations"]]);
    eventually("a lists it", || (at(&a, "cam.1")? == ("old".to_owned(), StreamerState::Lost)).then_some(()));
    a.delete("/api/streamers/cam.1").expect(204);

    // One that can be, by which a newer web-server has said something that we do not know.
    let sealed = &records["0.1.0"];
    let mut newer: Value = serde_json::from_slice(&keys.open("cam=1", sealed).unwrap()).unwrap();
    newer["priority"] = json!({ "class": "high" });
    nats.publish(&bucket("cam=1"), &[&keys.seal("cam=1", newer.to_string().as_bytes()).unwrap()]);
    eventually_within(HEALED, "a runs it", || runs_at(&a, "cam.1", "a"));
    let slots = || a.streamer("cam.1").map(|streamer| streamer.slots);
    eventually("slot 1 shows what it did", || {
        slots()?.iter().any(|slot| slot.slot == 1 && slot.source == "more").then_some(())
    });
    let record = eventually("its record says how it is", || {
        let record = read("cam=1");
        (record["node"] == "a" && record["streamer"]["state"] == "running").then_some(record)
    });
    assert_eq!((&record["generation"], &record["priority"]), (&json!(2), &newer["priority"]));

    // One that starts what only a newer web-server can: nothing is started by a part of it, and it is kept whole for one.
    for part in ["streamer", "kept"] {
        newer[part]["id"] = json!("next");
        newer[part]["spec"]["source"]["hologram"] = json!(true);
    }
    nats.publish(&bucket("next"), &[&keys.seal("next", newer.to_string().as_bytes()).unwrap()]);
    let record = eventually_within(HEALED, "a has tried", || {
        a.log().contains("its spec needs a newer web-server").then(|| read("next"))
    });
    assert_eq!((&record["kept"], &record["priority"]), (&newer["kept"], &newer["priority"]));
    assert_eq!(pids(&a).len(), 1);
}

/// The clock of a node, of which only what compares it to another's may suffer.
#[test]
fn a_clock_that_is_wrong_by_an_hour_costs_what_is_forwarded_and_nothing_else() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    // Of the calendar alone: time passes as it does.
    let clock = [
        SHORT,
        ("LD_PRELOAD", "/usr/$LIB/faketime/libfaketime.so.1"),
        ("FAKETIME", "+1h"),
        ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
    ];
    let b = nats.node(KEY, "b", &clock);
    together(&[&a, &b]);
    create(&a, &body("near", "a"));
    create(&b, &body("far", "b"));
    let before = (pids(&a), pids(&b));
    let until = Instant::now() + LEASE + Duration::from_secs(1);
    while Instant::now() < until {
        together(&[&a, &b]);
    }
    for (server, other, own) in [(&a, "far", "near"), (&b, "near", "far")] {
        eventually("all are listed", || {
            let listed = listed(server);
            (listed.len() == 2 && listed.values().all(|(_, state)| *state == StreamerState::Running))
                .then_some(())
        });
        server.get(&format!("/api/streamers/{own}")).expect(200);
        let problem = server.get(&format!("/api/streamers/{other}")).expect(403).problem();
        assert_eq!(problem.code, "bad_pass");
        let ms = problem.detail.split("differ by ").nth(1).and_then(|rest| rest.split(' ').next());
        let ms: i64 = ms.and_then(|ms| ms.parse().ok()).unwrap();
        assert!((3_590_000..3_700_000).contains(&ms.abs()), "{problem:?}");
    }
    assert_eq!((pids(&a), pids(&b)), before, "nothing was started elsewhere");
}

#[test]
fn a_streamer_that_is_too_long_for_a_record_runs_where_it_is_and_cannot_be_moved() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT]);
    together(&[&a, &b]);
    let env: BTreeMap<String, String> = (0..40).map(|n| (format!("V{n}"), "x".repeat(12_000))).collect();
    let source =
        json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "1000"], "env": env });
    create(&a, &json!({ "id": "long", "source": source, "placement": { "node": "b" } }));
    eventually("it is listed at the other node", || runs_at(&a, "long", "b"));
    let problem = a.post("/api/streamers/long/move", &json!({ "node": "a" })).expect(409).problem();
    assert!(problem.detail.contains("too long"), "{problem:?}");
    create(&a, &body("short", "b"));
    a.delete("/api/streamers/long").expect(204);
    settled(&[&a, &b], &["short"]);
}

/// Small, good enough, and its seed is all that must be known to repeat a round.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

#[test]
fn after_random_faults_each_streamer_runs_once() {
    let seed = std::env::var("ORIEL_SEED").ok().and_then(|seed| seed.parse().ok());
    // What fails in the suite is to fail again; scripts/soak looks for more.
    let drawn = || rounds().map_or(20, |_| u64::from(std::process::id()) << 20 | 1);
    let seed = seed.unwrap_or_else(drawn);
    println!("ORIEL_SEED={seed}");
    let mut random = Random(seed);
    let mut nats = Nats::start();
    let ways = [Way::to(nats.port()), Way::to(nats.port()), Way::to(nats.port())];
    let names = ["a", "b", "c"];
    let node = |n: usize| {
        let policy = if n == 2 { "stop" } else { "keep" };
        Server::start_node(&ways[n].url(), KEY, names[n], &[SHORT, ("ORIEL_CLUSTER_ON_PARTITION", policy)])
    };
    let mut servers = [node(0), node(1), node(2)];
    let ids = ["one", "three", "two"];
    together(&servers.each_ref());
    for (id, name) in ids.iter().zip(names) {
        create(&servers[0], &body(id, name));
    }
    for round in 0..rounds().unwrap_or(3) {
        let n = random.below(3) as usize;
        let fault = random.below(8);
        let long = random.below(2) == 0;
        println!("round {round}: fault {fault} at {}, {}", names[n], if long { "long" } else { "short" });
        match fault {
            0 | 1 => servers[n].kill_machine(),
            2 => servers[n].kill(),
            3 => ways[n].cut(true, random.below(2) == 0),
            4 => ways[n].cut(false, true),
            5 => nats.pause(),
            _ => nats.kill(),
        }
        let began = Instant::now();
        // For longer than a lease, or not.
        let lasts = if long { LEASE + Duration::from_secs(2) } else { LEASE / 3 };
        std::thread::sleep(lasts.saturating_sub(began.elapsed()));
        match fault {
            0..=2 => servers[n].start_again(),
            3 | 4 => ways[n].cut(false, false),
            5 => nats.go_on(),
            _ => {
                if fault == 7 {
                    nats.lose_data();
                }
                nats.start_again();
            }
        }
        let healed = Instant::now();
        let places = settled(&servers.each_ref(), &ids);
        together(&servers.each_ref());
        println!("settled after {:?}: {places:?}", healed.elapsed());
    }
    for id in ids {
        servers[0].delete(&format!("/api/streamers/{id}")).expect(204);
    }
    settled(&servers.each_ref(), &[]);
}
