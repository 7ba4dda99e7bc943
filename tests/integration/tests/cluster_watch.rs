//! What those who watch a cluster are told at any of its nodes: events, where pages can go on, and the configured streams.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::TcpStream;
use std::process::Command;

use common::cluster::{NodeList, NodeState};
use common::signal::StreamerState;
use harness::nats::{KEY, create, together};
use harness::{Listener, Nats, Server, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::http::HeaderValue;
use tungstenite::{Message, WebSocket};

fn on(id: &str, node: &str, restart: &str) -> Value {
    json!({
        "id": id, "placement": { "node": node }, "restart": { "policy": restart },
        "source": { "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false },
    })
}

/// Of a node that is lost in a test.
const SHORT: (&str, &str) = ("ORIEL_CLUSTER_LEASE_S", "3");

fn of(id: &str) -> impl Fn(&Value) -> bool {
    let id = id.to_owned();
    move |data| data["streamer"] == id.as_str()
}

fn in_state<'a>(id: &'a str, state: &'a str) -> impl Fn(&Value) -> bool + 'a {
    move |data| data["streamer"] == id && data["state"] == state
}

#[test]
fn who_listens_at_any_node_is_told_of_streamers_of_all() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[SHORT]);
    let b = nats.node(KEY, "b", &[SHORT]);
    let mut c = nats.node(KEY, "c", &[SHORT]);
    together(&[&a, &b, &c]);
    let mut at_a = Listener::open(&a, "/api/events", &[]);
    let mut at_b = Listener::open(&b, "/api/events", &[]);
    create(&a, &on("far", "b", "on-failure"));
    for listener in [&mut at_a, &mut at_b] {
        listener.until("created", of("far"));
        listener.until("state", in_state("far", "running"));
    }

    // It is moved: the node that has it now says so, and the one that had it is silent about how it ends its own.
    a.post("/api/streamers/far/move", &json!({ "node": "c" })).expect(202);
    at_a.until("moved", of("far"));
    at_a.until("state", in_state("far", "running"));
    create(&a, &on("near", "a", "never"));
    for listener in [&mut at_a, &mut at_b] {
        let mut between = Vec::new();
        loop {
            let told = listener.event().unwrap();
            if told.event == "created" && told.data["streamer"] == "near" {
                break;
            }
            between.push(told);
        }
        let ended = |told: &harness::listener::Told| {
            told.data["streamer"] == "far" && (told.event == "deleted" || told.data["state"] == "stopping")
        };
        assert!(!between.iter().any(ended), "{between:?}");
    }

    // Of a node that is lost the others say what becomes of its streamers.
    create(&a, &on("left", "c", "never"));
    at_a.until("state", in_state("left", "running"));
    c.kill_machine();
    at_a.until("state", in_state("left", "lost"));
    at_b.until("state", in_state("left", "lost"));
    // It may have been found elsewhere before its node was found lost here.
    eventually("it is started elsewhere", || {
        let node = a.streamer("far")?.node?;
        (node != "c").then_some(())
    });
    // With its node it is back, as it ended there.
    c.start_again();
    at_a.until("state", |data| data["streamer"] == "left" && data["state"] != "lost");
    for id in ["far", "near", "left"] {
        a.delete(&format!("/api/streamers/{id}")).expect(204);
        at_b.until("deleted", of(id));
    }
}

#[test]
fn who_listens_is_told_that_events_may_be_missing_when_nats_was_away() {
    let mut nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    create(&a, &on("far", "b", "never"));
    let mut at_a = Listener::open(&a, "/api/events", &[]);
    nats.kill();
    // What happens at b meanwhile is told there at once. At a there is a gap, after which the present state can be asked for: b may tell
    // it before a listens.
    let mut at_b = Listener::open(&b, "/api/events", &[]);
    b.post("/api/streamers/far/restart", &json!({})).expect(202);
    at_b.until("state", in_state("far", "running"));
    nats.start_again();
    at_a.until("missed", |_| true);
    eventually("its state is known at a", || {
        (a.streamer("far")?.state == StreamerState::Running).then_some(())
    });
    // From then on, what happens is told there again.
    together(&[&a, &b]);
    b.post("/api/streamers/far/restart", &json!({})).expect(202);
    at_a.until("state", in_state("far", "restarting"));
    at_a.until("state", in_state("far", "running"));
}

fn hello(server: &Server, origin: Option<&str>) -> Result<(WebSocket<TcpStream>, Value), u16> {
    let address = server.address();
    let mut request = format!("ws://{address}/api/streamers/far/peer").into_client_request().unwrap();
    let headers = request.headers_mut();
    headers.insert("sec-websocket-protocol", HeaderValue::from_static("oriel.v1"));
    if let Some(origin) = origin {
        headers.insert("origin", origin.parse().unwrap());
    }
    let stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
    let mut socket = match tungstenite::client(request, stream) {
        Ok((socket, _)) => socket,
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(answer))) => {
            return Err(answer.status().as_u16());
        }
        Err(error) => panic!("{error}"),
    };
    socket.send(Message::text(json!({ "type": "hello" }).to_string())).unwrap();
    loop {
        let Message::Text(text) = socket.read().unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["type"] == "welcome" {
            return Ok((socket, message));
        }
    }
}

/// That it resumes there is for a browser to show (`tests/e2e`): only one with a connection has something to resume.
#[test]
fn a_page_whose_node_dies_is_let_in_at_another() {
    let nats = Nats::start();
    let urls = ["https://a.example", "https://b.example/oriel"];
    let mut a = nats.node(KEY, "a", &[("ORIEL_CLUSTER_PUBLIC_URL", urls[0])]);
    let b = nats.node(KEY, "b", &[("ORIEL_CLUSTER_PUBLIC_URL", urls[1])]);
    // It does not say where browsers reach it.
    let c = nats.node(KEY, "c", &[]);
    together(&[&a, &b, &c]);
    create(&a, &on("far", "c", "never"));
    let (_first, welcome) = hello(&a, None).unwrap();
    assert_eq!(welcome["nodes"], json!(urls), "of the one that runs it");
    // The page may connect there, and is let in there.
    let page = Command::new("curl").args(["-si", &a.url("/")]).output().unwrap();
    let policy = String::from_utf8_lossy(&page.stdout).into_owned();
    let expected = "connect-src 'self' https://a.example wss://a.example https://b.example wss://b.example;";
    assert!(policy.contains(expected), "{policy}");
    assert_eq!(hello(&b, Some("https://elsewhere.example")).unwrap_err(), 403);
    a.kill();
    hello(&b, Some(urls[0])).unwrap();
    // Also when the others have noticed: pages of a lost node are the ones that come.
    for server in [&b, &c] {
        eventually("a is lost", || {
            let nodes = server.get("/api/nodes").expect(200).json::<NodeList>().nodes;
            nodes.iter().any(|node| node.name == "a" && node.state == NodeState::Lost).then_some(())
        });
    }
    let (_second, later) = hello(&b, Some(urls[0])).unwrap();
    assert_eq!(later["nodes"], json!([urls[1]]));
}

#[test]
fn configured_streams_are_served_at_every_node() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[("ORIEL_STREAMS", "door=test:#width=160#height=96#fps=5")]);
    together(&[&a, &b]);
    eventually("the streams are listed at the other node", || {
        let list: Value = a.get("/api/streams").expect(200).json();
        (list["streams"][0]["name"] == "door").then_some(())
    });
    let request = format!("ws://{}/api/ws", a.address()).into_client_request().unwrap();
    let stream = TcpStream::connect(a.address()).unwrap();
    stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
    let (mut socket, _) = tungstenite::client(request, stream).unwrap();
    socket
        .send(Message::text(
            json!({ "type": "multistream/init", "request_id": "1", "slots": [{ "slot": 0, "stream": "door" }] }).to_string(),
        ))
        .unwrap();
    let answer = loop {
        if let Message::Text(text) = socket.read().unwrap() {
            break serde_json::from_str::<Value>(&text).unwrap();
        }
    };
    assert_eq!(answer["type"], "multistream/ready", "{answer}");
}
