//! Several web-servers as one, with a real `nats-server`: ids, placement, requests at the wrong node, tokens, and what happens when
//! NATS or a node is gone.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::{BTreeMap, BTreeSet};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::process::Command;
use std::time::{Duration, Instant};

use common::api::{Streamer, StreamerList, Token};
use common::cluster::{Node, NodeList, NodeState};
use harness::nats::{KEY, create};
use harness::server::{Answer, binary};
use harness::{Nats, Server, eventually};
use native_peer::{Media, Player, Stack};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;

const SECRET: &str = "an-admin-secret-of-all-nodes";

fn body(id: &str) -> Value {
    json!({ "id": id, "source": { "type": "test", "width": 64, "height": 36, "fps": 5 } })
}

fn on(id: &str, node: &str) -> Value {
    let mut body = body(id);
    body["placement"] = json!({ "node": node });
    body
}

fn nodes(server: &Server) -> BTreeMap<String, NodeState> {
    let answer = server.get("/api/nodes");
    match answer.status {
        200 => answer.json::<NodeList>().nodes.into_iter().map(|node| (node.name, node.state)).collect(),
        _ => BTreeMap::new(),
    }
}

fn listed(server: &Server) -> BTreeMap<String, String> {
    let list: StreamerList = server.get("/api/streamers").expect(200).json();
    list.streamers.into_iter().map(|streamer| (streamer.id.to_string(), streamer.node.unwrap())).collect()
}

/// Waits until every node knows that all of them are alive, and places streamers: others hear of a node a moment before it has read
/// what there is.
fn together(servers: &[&Server]) {
    for server in servers {
        eventually("all nodes are alive", || {
            let nodes = nodes(server);
            (nodes.len() == servers.len() && nodes.values().all(|state| *state == NodeState::Alive))
                .then_some(())
        });
    }
    harness::nats::together(servers);
}

/// The head of what a node sends of a stream as it is made; it ends as soon as that is there.
fn head_of(server: &Server, path: &str) -> Vec<u8> {
    let script = "curl -s --max-time 30 \"$1\" | head -c 12";
    let output = Command::new("sh").args(["-c", script, "sh", &server.url(path)]).output().unwrap();
    output.stdout
}

#[test]
fn every_node_serves_every_streamer() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    let created = create(&a, &on("far", "b"));
    assert_eq!(created.location.as_deref(), Some("/api/streamers/far"));
    assert_eq!(created.json::<Streamer>().node.as_deref(), Some("b"));
    assert!(!b.session_processes().is_empty(), "it runs at b");
    assert!(a.session_processes().is_empty(), "it does not run at a");

    // The same request again finds it, at either node; another spec under this id does not.
    for server in [&a, &b] {
        server.post("/api/streamers", &body("far")).expect(200);
        let other = json!({ "id": "far", "source": { "type": "test", "width": 128, "height": 36 } });
        let problem = server.post("/api/streamers", &other).expect(409).problem();
        assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("streamer_exists", Some("id")));
    }

    for server in [&a, &b] {
        let streamer: Streamer = server.get("/api/streamers/far").expect(200).json();
        assert_eq!(streamer.node.as_deref(), Some("b"));
        let snapshot = server.get("/api/streamers/far/snapshot").expect(200);
        assert!(snapshot.content_type.starts_with("image/") && snapshot.body.len() > 100);
        server.get("/api/streamers/far/logs").expect(200);
        server.get("/api/streamers/far/sources").expect(200);
        server.get("/api/streamers/far/audit").expect(200);
        let missing = server.get("/api/streamers/far/nothing").expect(404).problem();
        assert_eq!(missing.code, "route_not_found");
        let wrong = server.post("/api/streamers/far/resize", &json!({ "width": "x" })).expect(400);
        wrong.problem();
        eventually("the list has it", || (listed(server).get("far")? == "b").then_some(()));
        let of_a: StreamerList = server.get("/api/streamers?node=a").expect(200).json();
        assert_eq!(of_a.streamers, []);
    }

    // A WebSocket at the wrong node: both directions pass.
    let mut request = format!("ws://{}/api/streamers/far/peer", a.address()).into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "oriel.v1".parse().unwrap());
    let (mut socket, response) = tungstenite::connect(request).unwrap();
    assert_eq!(response.headers()["sec-websocket-protocol"], "oriel.v1");
    socket.send(tungstenite::Message::text(json!({ "type": "hello" }).to_string())).unwrap();
    let welcome = socket.read().unwrap().into_text().unwrap();
    assert!(welcome.contains("welcome"), "{welcome}");
    eventually("b has the peer", || (b.streamer("far")?.peers.len() == 1).then_some(()));
    socket.close(None).unwrap();

    // MP4 comes as it is made.
    let mp4 = head_of(&a, "/api/streamers/far/streams/main.mp4");
    assert_eq!(mp4.get(4..8), Some(&b"ftyp"[..]));

    // Files are where the session is.
    let desk = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "1000"] });
    let desk = json!({ "id": "desk", "source": desk, "placement": { "node": "b" } });
    create(&a, &desk);
    let file = "/api/streamers/desk/files/far%20away";
    let put = a.send("PUT", file, "application/octet-stream", b"from afar").expect(201);
    assert_eq!(put.location.as_deref(), Some(file));
    assert_eq!(std::fs::read(b.state_dir().join("homes/session/desk/far away")).unwrap(), b"from afar");
    assert_eq!(a.send_with("GET", file, &[("range", "bytes=5-")], &[]).expect(206).body, b"afar");
    a.delete("/api/streamers/desk").expect(204);

    a.delete("/api/streamers/far").expect(204);
    b.get("/api/streamers/far").expect(404);
    // At once, at any node.
    a.post("/api/streamers", &on("far", "a")).expect(201);
    b.delete("/api/streamers/far").expect(204);
    for server in [&a, &b] {
        eventually("no record is left", || listed(server).is_empty().then_some(()));
    }
}

type Socket = tungstenite::WebSocket<tungstenite::stream::MaybeTlsStream<TcpStream>>;

/// A page that watches a streamer by way of this server.
#[track_caller]
fn join(server: &Server, id: &str) -> (Socket, Value) {
    let url = format!("ws://{}/api/streamers/{id}/peer", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "oriel.v1".parse().unwrap());
    let (mut socket, _) = tungstenite::connect(request).unwrap();
    socket.send(tungstenite::Message::text(json!({ "type": "hello" }).to_string())).unwrap();
    loop {
        let message = socket.read().unwrap().into_text().unwrap();
        let message: Value = serde_json::from_str(&message).unwrap();
        if message["type"] == "welcome" {
            return (socket, message);
        }
    }
}

/// The status of a response that does not end, once its body has begun.
fn begins(server: &Server, path: &str) -> u16 {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    write!(stream, "GET {path} HTTP/1.1\r\nhost: {}\r\n\r\n", server.address()).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    let mut read = Vec::new();
    loop {
        let mut part = [0; 4096];
        let len = stream.read(&mut part).unwrap();
        read.extend_from_slice(&part[..len]);
        let text = String::from_utf8_lossy(&read);
        let begun = text.split_once("\r\n\r\n").is_some_and(|(_, body)| !body.is_empty());
        if begun || len == 0 {
            return text.split(' ').nth(1).unwrap().parse().unwrap();
        }
    }
}

/// Answers to one request for each route of a streamer, asked at one server.
struct Routes<'a> {
    server: &'a Server,
    id: &'a str,
    /// Method and path as in the API's description, with the answer.
    answers: BTreeMap<String, String>,
}

impl Routes<'_> {
    /// Sends a request. What is in braces in `path` is replaced by `part`.
    #[track_caller]
    fn send(
        &mut self,
        method: &str,
        path: &str,
        part: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let sent = match path.split_once('{') {
            Some((before, after)) => format!("{before}{part}{}", after.split_once('}').unwrap().1),
            None => path.to_owned(),
        };
        let base = format!("/api/streamers/{}", self.id);
        let answer = self.server.send_with(method, &format!("{base}{sent}"), headers, body);
        let code = if answer.content_type == "application/problem+json" {
            answer.problem().code
        } else {
            String::new()
        };
        self.note(method, path, &format!("{} {code}", answer.status));
        answer
    }

    fn note(&mut self, method: &str, path: &str, answer: &str) {
        let path = path.split('?').next().unwrap();
        self.answers.insert(format!("{method} {path}"), answer.trim_end().to_owned());
    }

    #[track_caller]
    fn json(&mut self, method: &str, path: &str, part: &str, body: Value) -> Answer {
        let body = body.to_string();
        self.send(method, path, part, &[("content-type", "application/json")], body.as_bytes())
    }

    #[track_caller]
    fn get(&mut self, path: &str) -> Answer {
        self.send("GET", path, "", &[], &[])
    }

    fn all(mut self) -> BTreeMap<String, String> {
        let test = json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false });
        for path in ["", "/audit", "/logs", "/sources", "/windows", "/snapshot", "/control", "/peers"] {
            self.get(path);
        }
        self.json("PATCH", "", "", json!({ "idle_timeout_s": 3600 }));
        self.json("PUT", "/clipboard", "", json!({ "text": "from afar" }));
        let clipboard: Value = self.get("/clipboard").json();
        assert_eq!(clipboard["text"], "from afar");
        self.json("POST", "/resize", "", json!({ "width": 400, "height": 300 }));
        self.json("POST", "/input", "", json!({ "events": [{ "type": "text", "text": "a" }] }));
        let plain = [("content-type", "application/octet-stream")];
        self.send("PUT", "/files/{path}", "far", &plain, b"from afar");
        assert_eq!(self.send("GET", "/files/{path}", "far", &[], &[]).body, b"from afar");
        self.send("DELETE", "/files/{path}", "far", &[], &[]);

        self.json("POST", "/sources", "", json!({ "name": "camera", "source": test }));
        self.json("POST", "/slots", "", json!({ "source": "camera" }));
        self.json("PUT", "/slots/{slot}", "1", json!({ "source": "camera" }));
        self.send("DELETE", "/slots/{slot}", "1", &[], &[]);
        self.send("DELETE", "/sources/{name}", "camera", &[], &[]);

        let wish = json!({ "role": "viewer", "expires_in_s": 600 });
        let token: Token = self.json("POST", "/tokens", "", wish).json();
        self.send("DELETE", "/tokens/{token_id}", &token.token_id.to_string(), &[], &[]);

        let (socket, welcome) = join(self.server, self.id);
        self.note("GET", "/peer", "101");
        let peer = welcome["peerId"].as_str().unwrap();
        self.json("PUT", "/control", "", json!({ "mode": "exclusive", "holder": peer }));
        self.json("PATCH", "/peers/{peer_id}", peer, json!({ "role": "viewer" }));
        self.send("DELETE", "/peers/{peer_id}", peer, &[], &[]);
        drop(socket);
        // It is asked for without an upgrade: the streamer's own node says so.
        self.get("/media");

        let mut player = Player::new(Stack::Rtc, Media::Units).unwrap();
        let offer = player.offer().as_bytes().to_vec();
        let created =
            self.send("POST", "/whep", "", &[("content-type", "application/sdp")], &offer).expect(201);
        player.answered(std::str::from_utf8(&created.body).unwrap()).unwrap();
        let location = created.location.unwrap();
        let peer = location.strip_prefix(&format!("/api/streamers/{}/whep/", self.id)).unwrap();
        let etag = created.etag.unwrap();
        let fragment = [("content-type", "application/trickle-ice-sdpfrag"), ("if-match", &etag)];
        self.send("PATCH", "/whep/{peer_id}", peer, &fragment, player.fragment().as_bytes());
        assert!(player.receives(1, Instant::now() + Duration::from_secs(30)), "its picture");
        self.send("DELETE", "/whep/{peer_id}", peer, &[], &[]);

        // Refused in the same words: not what it takes, and nobody who published.
        self.send("POST", "/whip", "", &[("content-type", "application/sdp")], b"v=0");
        self.send("PATCH", "/whip/{peer_id}", peer, &fragment, player.fragment().as_bytes());
        self.send("DELETE", "/whip/{peer_id}", peer, &[], &[]);

        for path in ["/events", "/streams/{name}.mp4"] {
            let sent = format!("/api/streamers/{}{}", self.id, path.replace("{name}", "main"));
            let status = begins(self.server, &sent);
            self.note("GET", path, &status.to_string());
        }
        self.json("POST", "/restart", "", json!({}));
        self.json("POST", "/move", "", json!({ "node": "b" }));
        self.send("DELETE", "", "", &[], &[]);
        self.answers
    }
}

#[test]
fn each_route_of_a_streamer_answers_at_every_node_as_at_its_own() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    let desk = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "1000"] });
    let mut answers = [&b, &a].map(|server| {
        let body = json!({ "id": "desk", "slots": 2, "source": desk, "placement": { "node": "b" } });
        create(server, &body);
        let answers = Routes { server, id: "desk", answers: BTreeMap::new() }.all();
        eventually("the id is free", || (server.get("/api/streamers/desk").status == 404).then_some(()));
        answers
    });
    let [own, other] = &answers;
    assert_eq!(own, other);
    let api: Value = a.get("/api/openapi.json").expect(200).json();
    let prefix = "/api/streamers/{id}";
    let described: BTreeSet<String> = api["paths"]
        .as_object()
        .unwrap()
        .iter()
        .flat_map(|(path, methods)| {
            let path = path.strip_prefix(prefix);
            let methods = methods
                .as_object()
                .unwrap()
                .keys()
                .filter(|key| ["get", "put", "post", "patch", "delete"].contains(&key.as_str()));
            methods.filter_map(move |method| Some(format!("{} {}", method.to_uppercase(), path?)))
        })
        .collect();
    assert_eq!(own.keys().cloned().collect::<BTreeSet<_>>(), described, "a request for each route");
    for refused in ["GET /media", "POST /whip", "PATCH /whip/{peer_id}", "DELETE /whip/{peer_id}"] {
        let answer = answers[1].remove(refused).unwrap();
        assert!(answer.starts_with('4') && !answer.contains("streamer_not_found"), "{refused}: {answer}");
    }
    let failed: Vec<_> = answers[1].iter().filter(|(_, answer)| !answer.starts_with(['1', '2'])).collect();
    assert!(failed.is_empty(), "{failed:?}");

    // A room is a streamer by another name, and a node is asked for by its own.
    let room = json!({ "id": "room", "name": "Room", "placement": { "node": "b" } });
    a.post("/api/rooms?wait=running", &room).expect(201);
    for server in [&a, &b] {
        let room: Value = server.get("/api/rooms/room").expect(200).json();
        assert_eq!(
            (&room["id"], &room["node"], &room["participants"]),
            (&json!("room"), &json!("b"), &json!(0))
        );
        for name in ["a", "b"] {
            let node: Node = server.get(&format!("/api/nodes/{name}")).expect(200).json();
            assert_eq!((node.name.as_str(), node.state), (name, NodeState::Alive));
        }
    }
    let in_list = |server: &Server| {
        eventually("it is listed", || {
            let rooms: Value = server.get("/api/rooms").expect(200).json();
            rooms["rooms"].get(0).cloned()
        })
    };
    assert_eq!(in_list(&b)["participants"], json!(0));
    let there = in_list(&a);
    assert_eq!((&there["node"], &there["participants"]), (&json!("b"), &Value::Null), "only its node knows");
    b.delete("/api/rooms/room").expect(204);
    assert_eq!(a.get("/api/rooms/room").status, 404);
}

#[test]
fn of_two_that_create_an_id_at_once_exactly_one_does() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    let slots = |id: &str, slots: u8| json!({ "id": id, "share": false, "slots": slots, "source": { "type": "test" } });
    let began = Instant::now();
    let mut stood_still = 0;
    for round in 0..200 {
        let id = format!("round-{round}");
        let (first, second) = std::thread::scope(|scope| {
            let first = scope.spawn(|| a.post("/api/streamers", &slots(&id, 1)).status);
            let second = b.post("/api/streamers", &slots(&id, 2)).status;
            (first.join().unwrap(), second)
        });
        // NATS was waited for in vain: the machine has stood still.
        if first.max(second) >= 500 {
            stood_still += 1;
            eventually("it is free", || {
                (a.delete(&format!("/api/streamers/{id}")).status == 404).then_some(())
            });
            continue;
        }
        assert_eq!(first.min(second), 201, "{round}");
        assert_eq!(first.max(second), 409, "{round}");
        a.delete(&format!("/api/streamers/{id}")).expect(204);
        assert_eq!(b.get(&format!("/api/streamers/{id}")).status, 404);
    }
    println!("took {:?}", began.elapsed());
    assert!(stood_still < 20, "{stood_still} of 200");
}

#[test]
fn streamers_are_placed_where_they_may_and_where_there_is_room() {
    let nats = Nats::start();
    let small = [("ORIEL_MAX_STREAMERS", "2")];
    let a = nats.node(KEY, "a", &small);
    let b = nats.node(KEY, "b", &[small[0], ("ORIEL_CLUSTER_LABELS", "gpu=yes")]);
    together(&[&a, &b]);
    let mut labelled = body("g");
    labelled["placement"] = json!({ "labels": { "gpu": "yes" } });
    let placed = a.post("/api/streamers", &labelled).expect(201);
    assert_eq!(placed.json::<Streamer>().node.as_deref(), Some("b"));
    let refused = |body: &Value, part: &str| {
        let problem = a.post("/api/streamers", body).expect(503).problem();
        assert!(problem.code == "no_capacity" && problem.detail.contains(part), "{problem:?}");
    };
    labelled["id"] = json!("h");
    labelled["placement"] = json!({ "labels": { "gpu": "no" } });
    refused(&labelled, "gpu=no");
    refused(&on("h", "nobody"), "nobody");

    // Drained at the other one.
    let drained: Node = a.send("POST", "/api/nodes/b/drain", "", &[]).expect(200).json();
    assert_eq!(
        (drained.state, drained.this),
        (NodeState::Draining, false),
        "it was not the one that was asked"
    );
    refused(&on("h", "b"), "draining");
    for id in ["x", "y"] {
        eventually("b is not chosen", || (nodes(&a).get("b") == Some(&NodeState::Draining)).then_some(()));
        assert_eq!(
            a.post("/api/streamers", &body(id)).expect(201).json::<Streamer>().node.as_deref(),
            Some("a")
        );
    }
    refused(&body("z"), "full");
    a.send("POST", "/api/nodes/b/undrain", "", &[]).expect(200);
    eventually("b is chosen again", || (nodes(&a).get("b") == Some(&NodeState::Alive)).then_some(()));
    assert_eq!(
        a.post("/api/streamers", &body("z")).expect(201).json::<Streamer>().node.as_deref(),
        Some("b")
    );
    refused(&body("more"), "full");
    assert_eq!(a.get("/api/nodes/nobody").expect(404).problem().code, "node_not_found");
}

#[test]
fn a_token_counts_at_every_node_until_it_is_revoked_at_any() {
    let nats = Nats::start();
    let secret = [("ORIEL_ADMIN_SECRET", SECRET)];
    let mut a = nats.node(KEY, "a", &secret);
    let mut b = nats.node(KEY, "b", &secret);
    a.use_token(SECRET);
    b.use_token(SECRET);
    together(&[&a, &b]);
    create(&a, &on("far", "b"));
    let wish = json!({ "role": "viewer", "expires_in_s": 600 });
    let token: Token = a.post("/api/streamers/far/tokens", &wish).expect(201).json();
    let bearer = format!("Bearer {}", token.token);
    let get = |server: &Server, path: &str| -> Answer {
        server.send_with("GET", path, &[("authorization", &bearer)], &[])
    };
    for server in [&a, &b] {
        get(server, "/api/streamers/far").expect(200);
        get(server, "/api/streamers").expect(403);
        let stranger = server.send_with("GET", "/api/streamers/far", &[], &[]).expect(401);
        assert_eq!(stranger.problem().code, "unauthorized");
    }
    a.delete(&format!("/api/streamers/far/tokens/{}", token.token_id)).expect(204);
    get(&b, "/api/streamers/far").expect(401);
    eventually("a knows it, too", || (get(&a, "/api/streamers").status == 401).then_some(()));

    // A pass that nobody with the key has made is none.
    let pass = [("x-oriel-pass", "1 a 127.0.0.1 1 0 0000000000000000 AAAA")];
    assert_eq!(b.send_with("GET", "/api/streamers/far", &pass, &[]).expect(403).problem().code, "bad_pass");
}

#[test]
fn without_nats_all_that_runs_goes_on_and_when_its_data_is_lost_it_is_told_again() {
    let mut nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    create(&a, &on("far", "b"));
    create(&a, &on("near", "a"));
    for server in [&a, &b] {
        eventually("both are listed", || (listed(server).len() == 2).then_some(()));
    }
    nats.kill();
    eventually("nothing can be created", || {
        let answer = a.post("/api/streamers", &body("new"));
        (answer.status == 503).then(|| assert_eq!(answer.problem().code, "cluster_unreachable"))
    });
    for server in [&a, &b] {
        for id in ["far", "near"] {
            server.get(&format!("/api/streamers/{id}")).expect(200);
        }
    }
    // One ends while nobody can be told.
    a.delete("/api/streamers/near").expect(204);
    nats.lose_data();
    nats.start_again();
    for server in [&a, &b] {
        eventually("the record of the one that runs is there again, and that alone", || {
            // One that was refused while its outcome was not known may be there all the same.
            let there = [200, 201].contains(&server.post("/api/streamers", &on("probe", "a")).status);
            there.then(|| server.delete("/api/streamers/probe").expect(204))?;
            let listed = listed(server);
            (listed.len() == 1 && listed.get("far")? == "b").then_some(())
        });
    }
    a.delete("/api/streamers/far").expect(204);
    together(&[&a, &b]);
    a.post("/api/streamers", &on("near", "b")).expect(201);
}

#[test]
fn the_command_line_places_sessions_and_drains_nodes() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[("ORIEL_CLUSTER_LABELS", "gpu=yes")]);
    together(&[&a, &b]);
    let oriel = |arguments: &str| {
        let url = a.url("/");
        let output =
            Command::new(binary("oriel")).args(["--url", &url]).args(arguments.split(' ')).output().unwrap();
        let said = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap()).concat();
        (output.status.code(), said)
    };
    let line = |listed: &str, of: &str| -> Option<Vec<String>> {
        let line = listed.lines().find(|line| line.starts_with(of))?;
        Some(line.split_whitespace().map(str::to_owned).collect())
    };
    for (wish, id, node) in
        [("--node b", "one", "b"), ("--label gpu=yes", "two", "b"), ("--node a", "three", "a")]
    {
        let (status, said) = oriel(&format!("create {id} --preset test {wish} --wait"));
        assert_eq!(status, Some(0), "{said}");
        eventually("it is listed with its node", || {
            let (_, listed) = oriel("ls");
            line(&listed, id)?.contains(&node.to_owned()).then_some(())
        });
    }
    assert_eq!(oriel("create four --preset test --label gpu=no").0, Some(1));
    let (status, said) = oriel("nodes drain b");
    assert_eq!((status, said.trim_end()), (Some(0), "b takes no new sessions"));
    let drained = ["b", "draining", "2", "of", "64"].map(str::to_owned);
    let listed = eventually("the other node has heard of it", || {
        let (_, listed) = oriel("nodes ls");
        (line(&listed, "b")?[..5] == drained).then_some(listed)
    });
    assert!(listed.contains("gpu=yes") && listed.contains(" MiB "), "{listed}");
    assert_eq!(line(&listed, "a").unwrap()[..4], ["a", "(this", "one)", "alive"].map(str::to_owned));
    assert_eq!(oriel("create four --preset test --node b").0, Some(1));
    assert_eq!(oriel("nodes undrain b").0, Some(0));
    eventually("it takes sessions again", || {
        (oriel("create four --preset test --node b").0 == Some(0)).then_some(())
    });
    assert_eq!(oriel("nodes drain nowhere").0, Some(3));
}

#[test]
fn a_node_whose_machine_has_enough_to_do_takes_no_streamers() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    // Less than any machine uses.
    let b = nats.node(KEY, "b", &[("ORIEL_CLUSTER_MAX_MEMORY_MB", "1")]);
    together(&[&a, &b]);
    let busy: Node = eventually("its load is known", || {
        let node: Node = a.get("/api/nodes/b").expect(200).json();
        node.load.is_some().then_some(node)
    });
    assert!(busy.is_busy() && busy.state == NodeState::Alive && busy.max_memory_mb == Some(1), "{busy:?}");
    for n in 0..3 {
        let placed = a.post("/api/streamers", &body(&format!("s{n}"))).expect(201);
        assert_eq!(placed.json::<Streamer>().node.as_deref(), Some("a"));
    }
    let problem = a.post("/api/streamers", &on("wished", "b")).expect(503).problem();
    assert!(problem.code == "no_capacity" && problem.detail.contains("cluster.max_memory_mb"), "{problem:?}");
    let moved = a.post("/api/streamers/s0/move", &json!({ "node": "b" })).expect(503).problem();
    assert_eq!(moved.code, "no_capacity", "{moved:?}");
    // Nor by a body that comes to it.
    assert_eq!(
        b.post("/api/streamers", &body("there")).expect(201).json::<Streamer>().node.as_deref(),
        Some("a")
    );
}

#[test]
fn an_id_that_is_freed_and_taken_again_and_again_is_there_each_time() {
    let nats = Nats::start();
    let a = nats.node(KEY, "a", &[]);
    let b = nats.node(KEY, "b", &[]);
    together(&[&a, &b]);
    for round in 0..60 {
        a.post("/api/streamers", &on("again", "a")).expect(201);
        // By the node itself and by another one, and now and then when all that is to be written about it has been.
        if round % 20 == 0 {
            eventually("the other node lists it", || listed(&b).contains_key("again").then_some(()));
        }
        let by = if round % 2 == 0 { &a } else { &b };
        by.delete("/api/streamers/again").expect(204);
    }
}

/// Where something answers one client as a NATS server of this version would that has nothing but its name.
fn of_version(version: &str) -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let address = listener.local_addr().unwrap();
    let info = format!(
        "INFO {{\"server_id\":\"x\",\"server_name\":\"x\",\"version\":\"{version}\",\"go\":\"x\",\"host\":\"127.0.0.1\",\"port\":{},\"headers\":true,\
         \"max_payload\":1048576,\"proto\":1,\"client_id\":1}}\r\n",
        address.port()
    );
    std::thread::spawn(move || {
        let (mut client, _) = listener.accept().unwrap();
        client.write_all(info.as_bytes()).unwrap();
        // Ends with the client.
        for line in BufReader::new(client.try_clone().unwrap()).lines().map_while(Result::ok) {
            if line == "PING" && client.write_all(b"PONG\r\n").is_err() {
                return;
            }
        }
    });
    format!("nats://{address}")
}

#[test]
fn check_config_says_what_is_wrong_with_nats() {
    let check = |url: &str| {
        let output = Command::new(binary("web-server"))
            .args(["check-config", "--cluster-nats", url, "--cluster-key", KEY, "--cluster-name", "a"])
            .args(["--cluster-advertise", "http://127.0.0.1:1"])
            .output()
            .unwrap();
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Nothing is wrong with the configuration: a server would start, and try again.
    let cannot_join = Some(3);
    let says = |url: &str, what: &str| {
        let (status, said) = check(url);
        assert!(status == cannot_join && said.contains(what), "{what}: {status:?} {said}");
    };
    let good = Nats::start();
    assert_eq!(check(&good.url()).0, Some(0));
    let free = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    says(&format!("nats://{free}"), "cannot connect");
    let plain = Nats::start_with(&[]);
    says(&plain.url(), "no JetStream");
    let folder = tempfile::tempdir().unwrap();
    let short = folder.path().join("nats.conf");
    std::fs::write(&short, "max_payload: 65536").unwrap();
    let short = Nats::start_with(&["-js", "-c", short.to_str().unwrap()]);
    says(&short.url(), "max_payload");
    let closed = Nats::start_with(&["-js", "--user", "u", "--pass", "p"]);
    says(&closed.url(), "not authorised");
    says(&of_version("2.8.4"), "2.8.4");
}
