//! Who may do what: every route and every message, by everybody who could come, from every page that could be open.
//! What is expected follows from the table of routes itself, so that a new route is tested without being named here.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::sync::Mutex;

use chrono::{Duration, Utc};
use common::access::Need;
use common::api::{Streamer, Token};
use common::id::{StreamerId, TokenId};
use common::person::Person;
use common::signal::{Role, StreamerState};
use harness::{Server, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};
use web_server::api::{Entry, table};
use web_server::auth::key::Key;
use web_server::auth::token::{Claims, NoMore, sign, whole_seconds};

const ADMIN: &str = "an-admin-secret-of-this-test";
/// Requests under way at the same time.
const AT_ONCE: usize = 8;
const CONFIG: &str = "
auth: {admin_secrets: [an-admin-secret-of-this-test]}
limits: {failed_logins_per_minute: 100000, requests_per_second: 100000, joins_per_minute: 100000}
streams: {a: 'test:#width=160#height=96#fps=5'}
";

fn server() -> Server {
    let mut server = Server::start_configured(CONFIG);
    server.use_token(ADMIN);
    server.create("a", json!({"type": "test", "width": 160, "height": 96, "fps": 5, "audio": false}));
    server
}

fn token(server: &Server, id: &str, role: &str) -> Token {
    server.post(&format!("/api/streamers/{id}/tokens"), &json!({ "role": role })).expect(201).json()
}

/// Who comes, with what, and what it permits of the streamer `a`.
struct Comer {
    name: &'static str,
    shows: Option<String>,
    is: Is,
}

#[derive(Clone, Copy, PartialEq)]
enum Is {
    Nobody,
    Invalid,
    /// Good for another streamer.
    Foreign,
    At(Need),
}

fn comers(server: &Server, own: &str, other: &str) -> Vec<Comer> {
    let revoked = token(server, own, "controller");
    server.delete(&format!("/api/streamers/{own}/tokens/{}", revoked.token_id)).expect(204);
    let expired = Claims {
        streamer: StreamerId::parse(own).unwrap(),
        role: Role::Controller,
        person: Person::default(),
        token: TokenId::unique(),
        max_bitrate_kbps: None,
        expires: whole_seconds(Utc::now() - Duration::seconds(1)),
    };
    let expired = sign(&Key::load(server.state_dir()).unwrap(), &expired, &NoMore {}, Utc::now());
    let comer = |name, shows: &str, is| Comer { name, shows: Some(shows.to_owned()), is };
    vec![
        Comer { name: "no token", shows: None, is: Is::Nobody },
        comer("wrong", "a-secret-that-is-not-the-one", Is::Invalid),
        comer("expired", &expired, Is::Invalid),
        comer("revoked", &revoked.token, Is::Invalid),
        comer("another's viewer", &token(server, other, "viewer").token, Is::Foreign),
        comer("another's controller", &token(server, other, "controller").token, Is::Foreign),
        comer("viewer", &token(server, own, "viewer").token, Is::At(Need::Viewer)),
        comer("controller", &token(server, own, "controller").token, Is::At(Need::Controller)),
        comer("admin", ADMIN, Is::At(Need::Admin)),
    ]
}

/// A path of this route, about streamer `a` where it is about one.
fn path(entry: &Entry) -> String {
    // What an admin deletes or restarts is not there: the others still need it.
    let ends = [("DELETE", "/api/streamers/{id}"), ("POST", "/api/streamers/{id}/restart")];
    let id = if ends.contains(&(entry.method, entry.path)) { "missing" } else { "a" };
    let uuid = "01890000-0000-7000-8000-000000000000";
    let path = entry.path.replace("{id}", id).replace("{slot}", "0").replace("{name}", "none");
    path.replace("{peer_id}", uuid).replace("{token_id}", uuid).replace("{file:.*}", "favicon.svg")
}

/// Status and code of what must be refused; `None`: it gets to what is behind the route.
fn expected(entry: &Entry, comer: &Comer, evil: bool) -> Option<(u16, &'static str)> {
    let harmless = matches!(entry.method, "GET" | "OPTIONS") && !entry.in_band;
    if evil && !harmless {
        return Some((403, "origin_not_allowed"));
    }
    match comer.is {
        _ if entry.need == Need::Nothing => None,
        // A WebSocket may say it later: see the tests of the messages.
        Is::Nobody if entry.in_band => None,
        Is::Nobody | Is::Invalid => Some((401, "unauthorized")),
        Is::Foreign => Some((403, "forbidden")),
        // Their tokens have no rights among the peers.
        Is::At(role) if role < Need::Admin && entry.right.is_some() => Some((403, "forbidden")),
        Is::At(role) if role >= entry.need => None,
        Is::At(_) => Some((403, "forbidden")),
    }
}

/// Status and problem code of a request, of which only the head of the answer is waited for if it succeeds.
fn ask(server: &Server, entry: &Entry, headers: &[(&str, String)]) -> (u16, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
    let mut request = format!("{} {} HTTP/1.1\r\nhost: {}\r\n", entry.method, path(entry), server.address());
    for (name, value) in headers {
        request += &format!("{name}: {value}\r\n");
    }
    request += match entry.in_band {
        true => {
            "connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
                 sec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\nsec-websocket-protocol: oriel.v1\r\n\r\n"
        }
        false => "connection: close\r\ncontent-length: 0\r\n\r\n",
    };
    stream.write_all(request.as_bytes()).unwrap();
    let mut lines = BufReader::new(stream).lines().map_while(Result::ok);
    let status: u16 = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
    if status < 400 {
        return (status, String::new());
    }
    let body: String = lines.skip_while(|line| !line.is_empty()).collect();
    let problem: Value = serde_json::from_str(&body).unwrap_or_default();
    (status, problem["code"].as_str().unwrap_or_default().to_owned())
}

/// What a route has done wrong, by whoever comes from whichever page.
fn wrongly_served(
    server: &Server,
    entry: &Entry,
    comers: &[Comer],
    origins: &[Option<String>],
) -> Vec<String> {
    let mut wrong = Vec::new();
    for comer in comers {
        for (n, origin) in origins.iter().enumerate() {
            let mut headers = Vec::new();
            headers.extend(comer.shows.iter().map(|token| ("authorization", format!("Bearer {token}"))));
            headers.extend(origin.iter().map(|origin| ("origin", origin.clone())));
            let (status, code) = ask(server, entry, &headers);
            // The cameras are another streamer than the one that the tokens are for.
            let cameras = ["/api/streams", "/api/ws"].contains(&entry.path);
            let foreign = cameras && matches!(comer.is, Is::At(r) if r < Need::Admin);
            let own = cameras && comer.is == Is::Foreign;
            let stand_in = |is| Comer { name: comer.name, shows: None, is };
            let seen = match (foreign, own) {
                (true, _) => expected(entry, &stand_in(Is::Foreign), n == 2),
                (_, true) => expected(entry, &stand_in(Is::At(Need::Viewer)), n == 2),
                _ => expected(entry, comer, n == 2),
            };
            let right = match seen {
                Some(refusal) => (status, code.as_str()) == refusal,
                None => !matches!(status, 401 | 403 | 500..),
            };
            if !right {
                let from = origin.as_deref().unwrap_or("no page");
                wrong.push(format!(
                    "{} {} by {} from {from}: {status} {code}, not {seen:?}",
                    entry.method, entry.path, comer.name
                ));
            }
        }
    }
    wrong
}

#[test]
fn every_route_serves_exactly_those_who_may_use_it() {
    let server = server();
    let comers = comers(&server, "a", "cameras");
    let origins =
        [None, Some(format!("http://{}", server.address())), Some("http://evil.example".to_owned())];
    // Several at a time: what takes long is mostly waited for.
    let entries = Mutex::new(table().into_iter());
    let wrong = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for _ in 0..AT_ONCE {
            scope.spawn(|| {
                loop {
                    let Some(entry) = entries.lock().unwrap().next() else { return };
                    let found = wrongly_served(&server, &entry, &comers, &origins);
                    wrong.lock().unwrap().extend(found);
                }
            });
        }
    });
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert!(server.streamer("a").is_some(), "it is still there");
}

struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(server: &Server, path: &str, protocols: &str) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
        let mut request = format!("ws://{}{path}", server.address()).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", protocols.parse().unwrap());
        Self(tungstenite::client(request, stream).unwrap().0)
    }

    fn say(&mut self, message: &Value) {
        self.0.send(Message::text(message.to_string())).unwrap();
    }

    /// The next message that is one of these types.
    #[track_caller]
    fn hear(&mut self, types: &[&str]) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                if types.contains(&message["type"].as_str().unwrap()) {
                    return message;
                }
            }
        }
    }
}

#[test]
fn a_peer_joins_with_the_token_in_its_first_message_or_beside_its_subprotocol() {
    let server = server();
    for comer in comers(&server, "a", "cameras") {
        let mut hello = json!({"type": "hello"});
        if let Some(token) = &comer.shows {
            hello["token"] = json!(token);
        }
        let mut socket = Socket::open(&server, "/api/streamers/a/peer", "oriel.v1");
        socket.say(&hello);
        let heard = socket.hear(&["welcome", "error"]);
        match comer.is {
            Is::At(role) => {
                let expected = if role == Need::Viewer { "viewer" } else { "controller" };
                assert_eq!(heard["role"], expected, "{}: {heard}", comer.name);
                let token = comer.shows.as_deref().unwrap();
                let mut socket =
                    Socket::open(&server, "/api/streamers/a/peer", &format!("oriel.v1, oriel.token.{token}"));
                socket.say(&json!({"type": "hello"}));
                assert_eq!(socket.hear(&["welcome", "error"])["role"], expected, "{}", comer.name);
            }
            Is::Foreign => assert_eq!(heard["code"], "forbidden", "{}: {heard}", comer.name),
            Is::Nobody | Is::Invalid => assert_eq!(heard["code"], "unauthorized", "{}: {heard}", comer.name),
        }
    }
    // Which streamers there are is not told to whoever may not know.
    let mut socket = Socket::open(&server, "/api/streamers/missing/peer", "oriel.v1");
    socket.say(&json!({"type": "hello"}));
    assert_eq!(socket.hear(&["error"])["code"], "unauthorized");
}

#[test]
fn a_multistream_client_shows_its_token_with_init() {
    let server = server();
    for comer in comers(&server, "cameras", "a") {
        let mut init = json!({"type": "multistream/init", "slots": [{"slot": 0, "stream": "a"}]});
        if let Some(token) = &comer.shows {
            init["token"] = json!(token);
        }
        let mut socket = Socket::open(&server, "/api/ws", "oriel.multistream");
        socket.say(&init);
        let heard = socket.hear(&["multistream/ready", "error"]);
        let ready = heard["type"] == "multistream/ready";
        assert_eq!(ready, matches!(comer.is, Is::At(_)), "{}: {heard}", comer.name);
    }
}

#[test]
fn a_viewer_can_ask_for_no_more_than_it_may() {
    let server = server();
    server.put("/api/streamers/a/control", &json!({"mode": "exclusive"})).expect(200);
    let viewer = token(&server, "a", "viewer").token;
    let mut socket = Socket::open(&server, "/api/streamers/a/peer", "oriel.v1");
    socket.say(&json!({"type": "hello", "token": viewer, "role": "controller"}));
    assert_eq!(socket.hear(&["welcome"])["role"], "viewer");
    let peer = "01890000-0000-7000-8000-000000000000";
    for message in [
        json!({"type": "control-request"}),
        json!({"type": "control-take"}),
        json!({"type": "control-release"}),
        json!({"type": "control-grant", "peerId": peer}),
    ] {
        socket.say(&message);
        assert_eq!(socket.hear(&["error"])["code"], "not_a_controller", "{message}");
    }
}

#[test]
fn a_revoked_token_ends_whoever_came_with_it_also_after_a_restart() {
    let mut server = server();
    let made = token(&server, "a", "viewer");
    let mut socket = Socket::open(&server, "/api/streamers/a/peer", "oriel.v1");
    socket.say(&json!({"type": "hello", "token": made.token}));
    socket.hear(&["welcome"]);
    let peers = || server.get("/api/streamers/a").expect(200).json::<Streamer>().peers;
    let peer = eventually("the peer is known", || peers().pop());
    assert_eq!(peer.token_id, Some(made.token_id));
    server.delete(&format!("/api/streamers/a/tokens/{}", made.token_id)).expect(204);
    eventually("the peer is gone", || peers().is_empty().then_some(()));
    server.kill();
    server.start_again();
    eventually("it is adopted", || server.streamer("a"));
    let bearer = format!("Bearer {}", made.token);
    let answer = server.send_with("GET", "/api/streamers/a", &[("authorization", &bearer)], &[]);
    assert_eq!((answer.status, answer.problem().code.as_str()), (401, "unauthorized"));
}

#[test]
fn control_is_exclusive_to_one_and_survives_the_web_server() {
    let mut server = server();
    let join = |server: &Server| {
        let mut socket = Socket::open(server, "/api/streamers/a/peer", "oriel.v1");
        socket.say(&json!({"type": "hello", "token": ADMIN}));
        let id = socket.hear(&["welcome"])["peerId"].clone();
        (socket, id)
    };
    let (mut a, a_id) = join(&server);
    let (mut b, b_id) = join(&server);
    a.say(&json!({"type": "control-take"}));
    assert_eq!(a.hear(&["error"])["code"], "control_is_shared");
    server.put("/api/streamers/a/control", &json!({"mode": "exclusive"})).expect(200);
    assert_eq!(a.hear(&["control"])["holder"], Value::Null);
    a.say(&json!({"type": "control-request"}));
    assert_eq!(a.hear(&["control"])["holder"], a_id);
    // Programs are kept out as well.
    let input = json!({"events": [{"type": "text", "text": "x"}]});
    let refused = server.post("/api/streamers/a/input", &input).expect(409);
    assert_eq!(refused.problem().code, "not_in_control");
    b.say(&json!({"type": "control-request"}));
    assert_eq!(a.hear(&["control"])["requests"], json!([b_id]));
    a.say(&json!({"type": "control-grant", "peerId": b_id}));
    assert_eq!(a.hear(&["control"])["holder"], b_id);
    server.kill();
    server.start_again();
    let control = eventually("it is adopted", || {
        let answer = server.get("/api/streamers/a/control");
        (answer.status == 200).then(|| answer.json::<Value>())
    });
    assert_eq!((&control["mode"], &control["holder"]), (&json!("exclusive"), &b_id));
    let trail = server.get("/api/streamers/a/audit").expect(200);
    let trail = String::from_utf8_lossy(&trail.body).into_owned();
    assert!(trail.contains("control-changed") && trail.contains(b_id.as_str().unwrap()), "{trail}");
    // A role that does not permit to steer ends control.
    let path = format!("/api/streamers/a/peers/{}", b_id.as_str().unwrap());
    server.send("PATCH", &path, "application/json", br#"{"role":"viewer"}"#).expect(204);
    assert_eq!(server.get("/api/streamers/a/control").json::<Value>()["holder"], Value::Null);
    // A new process of the streamer, in which nobody is a peer yet, is as exclusive as the one before.
    server.post("/api/streamers/a/restart", &json!({})).expect(202);
    let (mut c, _) = eventually("it runs again", || {
        let now = server.streamer("a")?;
        (now.restarts.count == 1 && now.state == StreamerState::Running).then(|| join(&server))
    });
    c.say(&json!({"type": "control-take"}));
    assert_eq!(c.hear(&["control", "error"])["mode"], "exclusive");
}

#[test]
fn only_admins_see_how_a_streamer_was_made_and_start_what_is_not_there() {
    let server = server();
    let command = json!(["sleep", "1000"]);
    let body = json!({"id": "b", "source": {"type": "test", "width": 160, "height": 96, "fps": 5},
        "sources": {"x": {"type": "exec", "command": command}}});
    server.post("/api/streamers", &body).expect(201);
    let controller = format!("Bearer {}", token(&server, "b", "controller").token);
    let seen =
        server.send_with("GET", "/api/streamers/b", &[("authorization", &controller)], &[]).expect(200);
    assert!(!String::from_utf8_lossy(&seen.body).contains("sleep"));
    assert!(String::from_utf8_lossy(&server.get("/api/streamers/b").body).contains("sleep"));
    let headers = [("authorization", controller.as_str()), ("content-type", "application/json")];
    let exec = json!({"source": {"type": "exec", "command": ["true"]}}).to_string();
    let refused = server.send_with("PUT", "/api/streamers/b/slots/1", &headers, exec.as_bytes());
    assert_eq!((refused.status, refused.problem().code.as_str()), (403, "forbidden"));
}

#[test]
fn a_session_inherits_no_secret_and_no_privilege() {
    let mut server =
        Server::start_with(&[("ORIEL_ADMIN_SECRET", ADMIN), ("CLOUD_KEY", "a-secret-of-its-owner")]);
    server.use_token(ADMIN);
    server.create("a", json!({"type": "desktop", "command": ["sleep", "1000"], "audio": false}));
    let processes = server.session_processes();
    assert!(processes.iter().any(|process| process.command_line.contains(" monitor ")));
    for process in processes {
        let read = |file: &str| std::fs::read(format!("/proc/{}/{file}", process.pid)).unwrap_or_default();
        let environment = String::from_utf8_lossy(&read("environ")).into_owned();
        let status = String::from_utf8_lossy(&read("status")).into_owned();
        // A program that was only needed for the start.
        if !process.is_alive() {
            continue;
        }
        assert!(
            !environment.contains("CLOUD_KEY") && !environment.contains(ADMIN),
            "{}",
            process.command_line
        );
        assert!(status.contains("NoNewPrivs:\t1"), "{}: {status}", process.command_line);
    }
}

#[test]
fn secrets_and_tokens_are_in_no_log() {
    let mut server = Server::start_with(&[
        ("ORIEL_ADMIN_SECRET", ADMIN),
        ("ORIEL_LOG", "info,web_server=trace,streamer=trace"),
    ]);
    server.use_token(ADMIN);
    let source = json!({"type": "test", "width": 160, "height": 96, "fps": 5, "audio": false});
    let camera =
        json!({"type": "rtsp", "url": "rtsp://user:camera-password@127.0.0.1:9/x", "always_on": true});
    let query = json!({"type": "ffmpeg", "input": "http://127.0.0.1:9/flv?user=u&password=query-password",
        "always_on": true});
    let body = json!({"id": "a", "source": source, "sources": {"door": camera, "gate": query}});
    server.post("/api/streamers?wait=running", &body).expect(201);
    let made = token(&server, "a", "viewer").token;
    let mut secrets =
        vec![ADMIN.to_owned(), made.clone(), "camera-password".to_owned(), "query-password".to_owned()];
    for path in ["/api/streamers/a", "/api/streamers/a/sources"] {
        let text = String::from_utf8(server.get(path).expect(200).body).unwrap();
        assert!(text.contains("http://127.0.0.1:9/***") && !text.contains("-password"), "{text}");
        let bearer = format!("Bearer {made}");
        let shown = server.send_with("GET", path, &[("authorization", &bearer)], &[]).expect(200);
        let text = String::from_utf8(shown.body).unwrap();
        assert!(text.contains("gate") && !text.contains("127.0.0.1"), "a viewer sees no address: {text}");
    }
    for protocols in ["oriel.v1".to_owned(), format!("oriel.v1, oriel.token.{made}")] {
        let mut socket = Socket::open(&server, "/api/streamers/a/peer", &protocols);
        socket.say(&json!({"type": "hello", "token": made}));
        let welcome = socket.hear(&["welcome"]);
        secrets.push(welcome["resumeToken"].as_str().unwrap().to_owned());
        let offer = socket.hear(&["offer"]);
        let sdp = offer["sdp"].as_str().unwrap();
        let password = sdp.lines().find_map(|line| line.strip_prefix("a=ice-pwd:")).unwrap();
        secrets.push(password.to_owned());
        // What is wrong is no reason to repeat it.
        let mut wrong = Socket::open(&server, "/api/streamers/a/peer", "oriel.v1");
        wrong.say(&json!({"type": "hello", "token": format!("{made}x")}));
        wrong.hear(&["error"]);
    }
    let bearer = format!("Bearer {made}y");
    server.send_with("GET", "/api/streamers/a", &[("authorization", &bearer)], &[]).expect(401);
    let logs = server.logs();
    assert!(logs.contains("joining") && logs.len() > 1000, "there is something to look through: {logs}");
    for secret in secrets {
        assert!(!logs.contains(&secret), "{secret} is in a log");
    }
}

#[test]
fn what_fails_tells_a_viewer_neither_a_path_nor_an_address() {
    let mut server = Server::start_with(&[("ORIEL_ADMIN_SECRET", ADMIN)]);
    server.use_token(ADMIN);
    let film = json!({"type": "ffmpeg", "input": "/srv/HiddenDir/film.mp4", "always_on": true});
    let program = json!({"type": "exec", "always_on": true,
        "command": "echo 'rtsp://10.0.0.7/HiddenKey: refused, as /opt/HiddenDir/x says' >&2; exit 3"});
    let source = json!({"type": "test", "width": 160, "height": 96, "fps": 5, "audio": false});
    let body = json!({"id": "a", "source": source, "sources": {"film": film, "program": program}});
    server.post("/api/streamers?wait=running", &body).expect(201);
    let ends =
        json!({"type": "desktop", "command": "sleep 1; echo 'cannot open /srv/HiddenDir/y' >&2; exit 4"});
    let body = json!({"id": "b", "source": ends, "restart": {"policy": "never"}});
    server.post("/api/streamers", &body).expect(201);
    let bearers = ["a", "b"].map(|id| format!("Bearer {}", token(&server, id, "viewer").token));
    let seen = |path: &str, bearer: Option<&String>| {
        let headers: Vec<_> = bearer.map(|bearer| ("authorization", bearer.as_str())).into_iter().collect();
        let answer = match bearer {
            Some(_) => server.send_with("GET", path, &headers, &[]),
            None => server.get(path),
        };
        String::from_utf8(answer.body).unwrap()
    };
    // What the admin sees first, so that there is something to be hidden.
    let all = eventually("both sources fail", || {
        let text = seen("/api/streamers/a/sources", None);
        (text.contains("HiddenDir/film.mp4: ") && text.contains("/opt/HiddenDir/x")).then_some(text)
    });
    // The command itself is for admins, who have given it.
    assert!(all.contains("rtsp://10.0.0.7/***: refused"), "redacted for everybody: {all}");
    server.state_until("b", common::signal::StreamerState::Failed);
    assert!(seen("/api/streamers/b", None).contains("cannot open /srv/HiddenDir/y"));
    for (path, bearer) in [
        ("/api/streamers/a/sources", &bearers[0]),
        ("/api/streamers/b", &bearers[1]),
        ("/api/streamers/b/sources", &bearers[1]),
        ("/api/streamers/b/control", &bearers[1]),
    ] {
        let text = seen(path, Some(bearer));
        assert!(!text.contains("Hidden") && !text.contains("10.0.0.7"), "{path}: {text}");
        assert!(text.contains("exit code"), "how it ended is told: {path}: {text}");
    }
}

#[test]
fn too_many_requests_joins_and_wrong_tokens_of_an_address_are_refused_by_name() {
    let mut server = Server::start_configured(
        "auth: {admin_secrets: [an-admin-secret-of-this-test]}\n\
         limits: {failed_logins_per_minute: 3, requests_per_second: 2, joins_per_minute: 4}\n",
    );
    let codes = |path: &str, headers: &[(&str, &str)], times: usize| -> Vec<String> {
        let answers = (0..times).map(|_| server.send_with("GET", path, headers, &[]));
        answers.filter(|answer| answer.status >= 400).map(|answer| answer.problem().code).collect()
    };
    let some = |codes: &[String], code: &str| codes.iter().any(|found| found == code);
    assert!(some(&codes("/healthz", &[], 40), "too_many_requests"));
    let joins = codes("/api/streamers/a/peer", &[("x-forwarded-for", "10.0.0.9")], 40);
    assert!(some(&joins, "too_many_requests"), "{joins:?}");
    let wrong = codes("/api/streamers", &[("authorization", "Bearer wrong-wrong-wrong")], 10);
    assert_eq!(wrong.last().map(String::as_str), Some("too_many_failed_logins"));
    // The right one is let in all the same.
    let right = codes("/api/streamers", &[("authorization", "Bearer an-admin-secret-of-this-test")], 1);
    assert_eq!(right, [""; 0]);
    server.kill();
}

#[test]
fn a_forwarded_request_inherits_nothing_of_this_machine() {
    let server = Server::start();
    server.get("/api/streamers").expect(200);
    for name in ["x-forwarded-for", "forwarded", "via", "x-real-ip", "x-forwarded-proto"] {
        let answer = server.send_with("GET", "/api/streamers", &[(name, "127.0.0.1")], &[]);
        assert_eq!((answer.status, answer.problem().code.as_str()), (401, "unauthorized"), "{name}");
    }
}
