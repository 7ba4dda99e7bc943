//! Rooms from the outside: who is told of whom, what is said and what is refused, what survives the web-server, and that nothing
//! gets from one room into another.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::ErrorKind;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::signal::StreamerState;
use harness::server::Answer;
use harness::wait::SOON;
use harness::{Server, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const ADMIN: &str = "an-admin-secret-of-this-test";

fn server() -> Server {
    let mut server = Server::start_configured(
        "auth: {admin_secrets: [an-admin-secret-of-this-test]}
limits: {joins_per_minute: 100000, requests_per_second: 100000}",
    );
    server.use_token(ADMIN);
    server
}

fn create(server: &Server, id: &str, more: Value) -> Value {
    let mut body = json!({"id": id, "name": format!("The room {id}")});
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    server.post("/api/rooms?wait=running", &body).expect(201).json()
}

/// A token with these rights, for somebody of this name.
fn token(server: &Server, room: &str, name: &str, rights: &[&str]) -> String {
    let wish = json!({
        "role": "viewer", "rights": rights, "display_name": name, "user_id": format!("id-of-{name}"),
    });
    let token: Value = server.post(&format!("/api/streamers/{room}/tokens"), &wish).expect(201).json();
    token["token"].as_str().unwrap().to_owned()
}

/// Somebody's WebSocket, with all that it was told.
struct Person {
    socket: WebSocket<TcpStream>,
    heard: Vec<Value>,
    id: String,
}

impl Person {
    fn open(server: &Server, room: &str) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        let url = format!("ws://{}/api/streamers/{room}/peer", server.address());
        let mut request = url.into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "oriel.v1".parse().unwrap());
        // The handshake waits, whatever the timeout of one read is.
        stream.set_read_timeout(Some(SOON)).unwrap();
        let socket = tungstenite::client(request, stream).unwrap().0;
        socket.get_ref().set_read_timeout(Some(Duration::from_millis(20))).unwrap();
        Self { socket, heard: Vec::new(), id: String::new() }
    }

    fn enter(server: &Server, room: &str, token: &str) -> Self {
        let mut person = Self::open(server, room);
        person.say(&json!({"type": "hello", "token": token}));
        let welcome = person.hear("a welcome", |message| message["type"] == "welcome");
        person.id = welcome["peerId"].as_str().unwrap().to_owned();
        person
    }

    fn say(&mut self, message: &Value) {
        self.socket.send(Message::text(message.to_string())).unwrap();
    }

    /// The first message so far that is like this, once there is one.
    #[track_caller]
    fn hear(&mut self, what: &str, like: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        let mut known = 0;
        loop {
            if let Some(found) = self.heard[known..].iter().find(|message| like(message)) {
                return found.clone();
            }
            known = self.heard.len();
            assert!(Instant::now() < deadline, "waited in vain for {what}; there was {:?}", self.heard);
            self.read();
        }
    }

    fn read(&mut self) {
        match self.socket.read() {
            Ok(Message::Text(text)) => self.heard.push(serde_json::from_str(&text).unwrap()),
            Ok(Message::Close(frame)) => {
                let code = frame.map_or(0, |frame| u16::from(frame.code));
                self.heard.push(json!({"type": "closed", "code": code}));
            }
            Ok(_) => {}
            Err(tungstenite::Error::Io(error))
                if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => {
                self.heard.push(json!({"type": "closed"}));
                // Nothing will come any more: whoever waits does so at the pace of a read.
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    #[track_caller]
    fn error(&mut self, code: &str) -> Value {
        self.hear(code, |message| message["type"] == "error" && message["code"] == code)
    }

    /// Waits until the names that it was told last are these, in any order; `-` is somebody without one.
    #[track_caller]
    fn sees(&mut self, names: &[&str]) -> Value {
        let deadline = Instant::now() + SOON;
        let mut expected: Vec<_> = names.to_vec();
        expected.sort_unstable();
        loop {
            let last = self.heard.iter().rev().find(|message| message["type"] == "participants").cloned();
            let all = last.as_ref().map(|last| last["participants"].as_array().unwrap().clone());
            let all = all.unwrap_or_default();
            let mut seen: Vec<_> = all.iter().map(|one| one["displayName"].as_str().unwrap_or("-")).collect();
            seen.sort_unstable();
            if seen == expected {
                return last.unwrap();
            }
            assert!(Instant::now() < deadline, "{seen:?} instead of {expected:?}");
            self.read();
        }
    }

    /// The participant of this name, once it is like this.
    #[track_caller]
    fn sees_that(&mut self, name: &str, like: impl Fn(&Value) -> bool) {
        self.hear(&format!("{name} to be like that"), |message| {
            message["type"] == "participants"
                && message["participants"]
                    .as_array()
                    .unwrap()
                    .iter()
                    .any(|one| one["displayName"] == name && like(one))
        });
    }
}

fn chat(text: &str) -> Value {
    json!({"type": "chat", "text": text})
}

#[test]
fn a_room_is_created_listed_and_deleted_and_survives_the_web_server() {
    let mut server = server();
    let room = create(&server, "standup", json!({"max_participants": 3}));
    assert_eq!((&room["name"], &room["max_participants"]), (&json!("The room standup"), &json!(3)));
    assert_eq!(
        (&room["slots"], &room["has_source"], &room["participants"]),
        (&json!(8), &json!(false), &json!(0))
    );
    let again = json!({"id": "standup", "name": "The room standup", "max_participants": 3});
    server.post("/api/rooms", &again).expect(200);
    server.post("/api/rooms", &json!({"id": "standup", "name": "Another"})).expect(409);
    server.create("plain", json!({"type": "test", "width": 160, "height": 96, "fps": 5}));
    let list: Value = server.get("/api/rooms").expect(200).json();
    assert_eq!(list["rooms"].as_array().unwrap().len(), 1, "{list}");
    let code = |answer: Answer| (answer.status, answer.problem().code);
    assert_eq!(code(server.get("/api/rooms/plain")), (404, "room_not_found".into()), "it is no room");
    assert_eq!(code(server.delete("/api/rooms/plain")), (404, "room_not_found".into()));
    for (body, field) in [
        (json!({"name": ""}), "name"),
        (json!({"name": "a", "max_participants": 0}), "max_participants"),
        (json!({"name": "a", "slots": 17}), "slots"),
        (json!({"name": "a", "source": {"type": "test", "fps": 0}}), "source.fps"),
    ] {
        let problem = server.post("/api/rooms", &body).expect(400).problem();
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }

    let mut ada = Person::enter(&server, "standup", &token(&server, "standup", "Ada", &["chat"]));
    ada.say(&chat("before"));
    ada.hear("her own text", |message| message["type"] == "chat");
    server.kill();
    server.start_again();
    server.state_until("standup", StreamerState::Running);
    let room: Value = server.get("/api/rooms/standup").expect(200).json();
    assert_eq!(room["name"], "The room standup");
    let mut bob = Person::enter(&server, "standup", &token(&server, "standup", "Bob", &[]));
    let history = bob.hear("what was said", |message| message["type"] == "chat-history");
    assert_eq!(
        (&history["messages"][0]["text"], &history["messages"][0]["name"]),
        (&json!("before"), &json!("Ada"))
    );
    server.delete("/api/rooms/standup").expect(204);
    server.get("/api/rooms/standup").expect(404);
    assert!(server.streamer("standup").is_none());
}

#[test]
fn one_more_than_fit_is_refused_until_somebody_leaves() {
    let server = server();
    create(&server, "small", json!({"max_participants": 2}));
    let guest = |name| token(&server, "small", name, &[]);
    let mut ada = Person::enter(&server, "small", &guest("Ada"));
    let mut bob = Person::enter(&server, "small", &guest("Bob"));
    let mut third = Person::open(&server, "small");
    third.say(&json!({"type": "hello", "token": guest("Cy")}));
    third.error("room_full");
    ada.sees(&["Ada", "Bob"]);
    bob.say(&json!({"type": "bye"}));
    ada.sees(&["Ada"]);
    Person::enter(&server, "small", &guest("Cy"));
    ada.sees(&["Ada", "Cy"]);
}

#[test]
fn people_talk_raise_hands_and_are_moderated() {
    let server = server();
    create(&server, "talk", json!({}));
    let mut ada = Person::enter(&server, "talk", &token(&server, "talk", "Ada", &["chat", "moderate"]));
    let mut bob = Person::enter(&server, "talk", &token(&server, "talk", "Bob", &["chat", "publish"]));
    let mut guest = Person::enter(&server, "talk", &token(&server, "talk", "Guest", &[]));
    let last = ada.sees(&["Ada", "Bob", "Guest"]);
    let shown = last["participants"]
        .as_array()
        .unwrap()
        .iter()
        .find(|one| one["displayName"] == "Bob")
        .unwrap()
        .clone();
    assert_eq!((&shown["userId"], &shown["rights"]), (&json!("id-of-Bob"), &json!(["publish", "chat"])));

    bob.say(&chat("hello"));
    let said = guest.hear("Bob's text", |message| message["type"] == "chat");
    assert_eq!(
        (&said["text"], &said["name"], &said["peerId"]),
        (&json!("hello"), &json!("Bob"), &json!(bob.id))
    );
    bob.say(&json!({"type": "react", "emoji": "🎉"}));
    ada.hear("a reaction", |message| message["type"] == "reaction" && message["emoji"] == "🎉");
    guest.say(&json!({"type": "raise-hand", "raised": true}));
    ada.sees_that("Guest", |one| one["handRaised"] == true);
    guest.say(&chat("may I?"));
    guest.error("not_allowed");

    // A right that is granted holds at once.
    let peer = format!("/api/streamers/talk/peers/{}", guest.id);
    let patch = |body: Value| server.send("PATCH", &peer, "application/json", body.to_string().as_bytes());
    patch(json!({"rights": ["chat"]})).expect(204);
    guest.hear("her rights", |message| message["type"] == "rights" && message["rights"] == json!(["chat"]));
    guest.say(&chat("I may"));
    ada.hear("the guest's text", |message| message["text"] == "I may");
    patch(json!({})).expect(400);
    patch(json!({"rights": ["fly"]})).expect(400);
    let listed = server.streamer("talk").unwrap().peers;
    let listed = listed.iter().find(|known| known.id.to_string() == guest.id).unwrap();
    assert_eq!(listed.display_name.as_deref(), Some("Guest"));
    assert_eq!(serde_json::to_value(&listed.rights).unwrap(), json!(["chat"]));

    // What is not valid names its field; too much is refused, and then not.
    bob.say(&chat(&"x".repeat(2001)));
    assert_eq!(bob.error("invalid_message")["field"], "text");
    for _ in 0..20 {
        bob.say(&chat("flood"));
    }
    bob.error("too_many_messages");
    guest.say(&chat("others are heard"));
    ada.hear("the others", |message| message["text"] == "others are heard");

    let mute = |whom: &str| json!({"type": "mute-peer", "peerId": whom, "kind": "microphone"});
    bob.say(&mute(&ada.id));
    bob.error("not_allowed");
    ada.say(&mute(&bob.id));
    let told = bob.hear("that it is muted", |message| message["type"] == "muted-by");
    assert_eq!((&told["peerId"], &told["kind"]), (&json!(ada.id), &json!("microphone")));
    guest.sees_that("Bob", |one| one["muted"] == true);
    bob.say(&json!({"type": "set-muted", "muted": false}));
    ada.say(&json!({"type": "remove-peer", "peerId": "00000000-0000-7000-8000-000000000000"}));
    assert_eq!(ada.error("peer_not_found")["field"], "peerId");
    ada.say(&json!({"type": "remove-peer", "peerId": bob.id}));
    bob.hear("its end", |message| message["type"] == "closed" && message["code"] == 4000);
    guest.sees(&["Ada", "Guest"]);
}

#[test]
fn a_name_in_hello_counts_where_the_token_has_none_and_must_be_one() {
    let server = server();
    create(&server, "names", json!({}));
    let hello =
        |name: &str| json!({"type": "hello", "token": ADMIN, "displayName": name, "rights": ["chat"]});
    let mut admin = Person::open(&server, "names");
    admin.say(&hello("Root"));
    let welcome = admin.hear("a welcome", |message| message["type"] == "welcome");
    assert_eq!((&welcome["displayName"], &welcome["rights"]), (&json!("Root"), &json!(["chat"])));
    let mut ada = Person::open(&server, "names");
    let token = token(&server, "names", "Ada", &[]);
    ada.say(&json!({"type": "hello", "token": token, "displayName": "Root", "rights": ["moderate"]}));
    let welcome = ada.hear("a welcome", |message| message["type"] == "welcome");
    assert_eq!((&welcome["displayName"], &welcome["rights"]), (&json!("Ada"), &json!([])));
    let mut liar = Person::open(&server, "names");
    liar.say(&hello("\u{202e}tooR"));
    assert_eq!(liar.error("invalid_field")["field"], "displayName");
    for (field, value) in
        [("display_name", json!("a\nb")), ("user_id", json!("")), ("rights", json!(["fly"]))]
    {
        let wish = json!({"role": "viewer", field: value});
        let problem = server.post("/api/streamers/names/tokens", &wish).expect(400).problem();
        assert!(problem.field.unwrap_or_default().starts_with(field), "{field}");
    }
}

#[test]
fn nothing_of_a_room_reaches_another() {
    let server = server();
    create(&server, "a", json!({}));
    create(&server, "b", json!({}));
    let mut spy = Person::enter(&server, "b", &token(&server, "b", "Spy", &["chat", "publish", "moderate"]));
    let mut ada =
        Person::enter(&server, "a", &token(&server, "a", "Ada-of-a", &["chat", "publish", "moderate"]));
    let mut bob = Person::enter(&server, "a", &token(&server, "a", "Bob-of-a", &["chat"]));
    ada.sees(&["Ada-of-a", "Bob-of-a"]);
    // The spy acts upon those of the other room, by their ids.
    spy.say(&json!({"type": "mute-peer", "peerId": bob.id, "kind": "microphone"}));
    spy.say(&json!({"type": "remove-peer", "peerId": ada.id}));
    spy.say(&json!({"type": "control-grant", "peerId": ada.id}));
    spy.say(&json!({"type": "switch", "slot": 0, "stream": "ada"}));
    spy.error("peer_not_found");
    ada.say(&chat("a secret of a"));
    ada.say(&json!({"type": "react", "emoji": "🤫"}));
    bob.say(&json!({"type": "raise-hand", "raised": true}));
    bob.hear("the secret", |message| message["text"] == "a secret of a");
    bob.hear("the reaction", |message| message["type"] == "reaction");
    ada.sees_that("Bob-of-a", |one| one["handRaised"] == true);

    // A token of one is good for nothing in the other, whatever it permits.
    let of_b = token(&server, "b", "Thief", &["chat", "publish", "moderate"]);
    let mut thief = Person::open(&server, "a");
    thief.say(&json!({"type": "hello", "token": of_b}));
    thief.error("forbidden");
    let shows = format!("Bearer {of_b}");
    let headers = [("authorization", shows.as_str()), ("content-type", "application/sdp")];
    for (method, path) in [
        ("GET", "/api/rooms/a"),
        ("GET", "/api/streamers/a/peers"),
        ("GET", "/api/streamers/a/sources"),
        ("GET", "/api/streamers/a/events"),
        ("POST", "/api/streamers/a/whip"),
        ("POST", "/api/streamers/a/whep"),
        ("GET", "/api/rooms"),
    ] {
        server.send_with(method, path, &headers, b"").expect(403);
    }
    server.send_with("GET", "/api/rooms/b", &headers, b"").expect(200);
    // Enough has happened here for anything to have arrived: its own words go the same way.
    spy.say(&chat("my own"));
    spy.hear("its own text", |message| message["text"] == "my own");
    spy.sees(&["Spy"]);
    let all = serde_json::to_string(&spy.heard).unwrap();
    for leaked in ["secret", "🤫", "of-a", &ada.id, &bob.id] {
        // The ids are those that it said itself.
        let own = [&ada.id, &bob.id].contains(&&leaked.to_owned());
        let told = spy.heard.iter().filter(|message| message["type"] != "error");
        let found = told.map(Value::to_string).any(|message| message.contains(leaked));
        assert!(!found && (own || !all.contains(leaked)), "{leaked}: {all}");
    }
    let room: Value = server.get("/api/rooms/b").expect(200).json();
    assert_eq!(room["participants"], 1);
    eventually("both of the other are there", || {
        let room: Value = server.get("/api/rooms/a").expect(200).json();
        (room["participants"] == 2).then_some(())
    });
}

#[test]
fn a_publisher_by_whip_needs_its_right_and_a_proper_request() {
    let server = server();
    create(&server, "whip", json!({}));
    let may = format!("Bearer {}", token(&server, "whip", "Cam", &["publish"]));
    let may_not = format!("Bearer {}", token(&server, "whip", "Eve", &["chat"]));
    let path = "/api/streamers/whip/whip";
    let sdp = ("content-type", "application/sdp");
    let bearer = |token| ("authorization", token);
    let post =
        |headers: &[(&str, &str)], body: &str| server.send_with("POST", path, headers, body.as_bytes());
    let code = |answer: Answer| (answer.status, answer.problem().code);
    let garbage = "v=0\r\ngarbage";
    for (headers, body, status, expected) in [
        (vec![sdp], garbage, 401, "unauthorized"),
        (vec![sdp, bearer("Bearer wrong")], garbage, 401, "unauthorized"),
        (vec![sdp, bearer(&may_not)], garbage, 403, "forbidden"),
        (vec![("content-type", "text/plain"), bearer(&may)], garbage, 415, "unsupported_media_type"),
        (vec![sdp, bearer(&may), ("accept", "text/html")], garbage, 406, "not_acceptable"),
        (vec![sdp, bearer(&may)], garbage, 400, "bad_offer"),
    ] {
        assert_eq!(code(post(&headers, body)), (status, expected.to_owned()), "{headers:?}");
    }
    let named = format!("{path}?name=%0A");
    let answer = server.send_with("POST", &named, &[sdp, bearer(&may)], garbage.as_bytes());
    assert_eq!(answer.expect(400).problem().field.as_deref(), Some("name"));
    server.send_with("POST", "/api/streamers/none/whip", &[sdp, bearer(&may)], b"").expect(403);
    let gone = format!("{path}/01890000-0000-7000-8000-000000000000");
    for method in ["DELETE", "PATCH"] {
        assert_eq!(
            code(server.send_with(method, &gone, &[bearer(&may)], b"")),
            (404, "peer_not_found".into())
        );
    }
    let options = server.send_with("OPTIONS", path, &[], b"");
    assert_eq!(options.status, 204);
    eventually("nobody has joined by that", || server.streamer("whip")?.peers.is_empty().then_some(()));
}
