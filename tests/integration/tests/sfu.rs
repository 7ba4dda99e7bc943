//! A backend that was written for a small SFU, and the WebSockets of its pages (`docs/COMPAT.md`). Chromium plays such a page in
//! `tests/e2e`.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::TcpStream;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use harness::nats::{self, together};
use harness::wait::SOON;
use harness::{Nats, Server, eventually};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

const KEY: &str = "an-admin-secret-of-this-test";

fn start(sfu: bool) -> Server {
    Server::start_configured(&format!("auth: {{admin_secrets: [{KEY}]}}\ncompat: {{sfu: {sfu}}}"))
}

/// A request of such a backend.
#[track_caller]
fn ask(server: &Server, method: &str, path: &str, body: &Value, status: u16) -> Value {
    let headers = [("x-api-key", KEY), ("content-type", "application/json")];
    let body = if body.is_null() { Vec::new() } else { body.to_string().into_bytes() };
    let answer = server.send_with(method, path, &headers, &body).expect(status);
    if answer.body.is_empty() { Value::Null } else { answer.json() }
}

fn token(server: &Server, user: &str, user_type: &str) -> String {
    let body = json!({
        "user_id": user, "email": format!("{user}@example.org"), "room": "standup", "user_type": user_type,
    });
    let made = ask(server, "POST", "/api/v1/tokens", &body, 200);
    made["token"].as_str().unwrap().to_owned()
}

/// A page's WebSocket, or the status with which it was refused.
fn open(server: &Server, query: &str) -> Result<WebSocket<TcpStream>, u16> {
    let stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(SOON)).unwrap();
    match tungstenite::client(format!("ws://{}/ws?{query}", server.address()), stream) {
        Ok((socket, _)) => Ok(socket),
        Err(tungstenite::HandshakeError::Failure(tungstenite::Error::Http(response))) => {
            Err(response.status().as_u16())
        }
        Err(error) => panic!("{error}"),
    }
}

/// The data of the next message of this event.
fn hear(socket: &mut WebSocket<TcpStream>, event: &str) -> Value {
    loop {
        let Message::Text(text) = socket.read().unwrap() else { continue };
        let message: Value = serde_json::from_str(&text).unwrap();
        if message["event"] == event {
            return serde_json::from_str(message["data"].as_str().unwrap()).unwrap();
        }
    }
}

#[test]
fn a_backend_makes_rooms_and_tokens_in_its_own_words() {
    let server = start(true);
    let room = json!({ "name": "standup", "max_participants": 2, "unknown": 1 });
    let made = ask(&server, "POST", "/api/v1/rooms", &room, 201);
    assert_eq!(
        (&made["id"], &made["max_participants"], &made["participants"]),
        (&json!("standup"), &json!(2), &json!(0))
    );
    ask(&server, "POST", "/api/v1/rooms", &room, 200);
    assert_eq!(ask(&server, "GET", "/api/v1/rooms", &Value::Null, 200)["rooms"][0]["name"], "standup");
    assert_eq!(ask(&server, "GET", "/api/v1/rooms/standup", &Value::Null, 200)["id"], "standup");
    let user = json!({ "user_id": "u1", "email": "u1@example.org", "room": "standup", "user_type": "host", "expires_in": 60 });
    let made = ask(&server, "POST", "/api/v1/tokens", &user, 200);
    assert_eq!(made["expires_in"], 60);
    let payload = made["token"].as_str().unwrap().split('.').nth(1).unwrap();
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
    for claim in ["user_id", "email", "room", "user_type"] {
        assert_eq!(claims[claim], user[claim], "{claims}");
    }
    assert_eq!(claims["exp"].as_i64().unwrap() - claims["iat"].as_i64().unwrap(), 60);
    let wrong = |field: &str, value: Value| {
        let mut body = user.clone();
        body[field] = value;
        ask(&server, "POST", "/api/v1/tokens", &body, 400)["field"].clone()
    };
    assert_eq!(wrong("expires_in", json!(59)), "expires_in");
    assert_eq!(wrong("expires_in", json!(86_401)), "expires_in");
    assert_eq!(wrong("user_id", json!("")), "user_id");
    let nowhere = json!({ "user_id": "u1", "room": "nowhere" });
    assert_eq!(ask(&server, "POST", "/api/v1/tokens", &nowhere, 404)["code"], "room_not_found");
    // A key is a secret of the configuration, and there is no way without one.
    server.send_with("GET", "/api/v1/rooms", &[("x-api-key", "guessed")], &[]).expect(401);
    server.send_with("GET", "/api/v1/rooms", &[], &[]).expect(401);
    ask(&server, "DELETE", "/api/v1/rooms/standup", &Value::Null, 204);
    ask(&server, "GET", "/api/v1/rooms/standup", &Value::Null, 404);
}

#[test]
fn pages_are_offered_to_and_chat() {
    let server = start(true);
    ask(&server, "POST", "/api/v1/rooms", &json!({ "name": "standup", "max_participants": 2 }), 201);
    let [ann, ben] = ["ann", "ben"].map(|user| token(&server, user, "participant"));
    assert_eq!(open(&server, "room=standup").err(), Some(401));
    assert_eq!(open(&server, "room=standup&token=guessed").err(), Some(401));
    assert_eq!(open(&server, &format!("token={ann}")).err(), Some(400));
    assert_eq!(open(&server, &format!("room=other&token={ann}")).err(), Some(403));
    assert_eq!(open(&server, &format!("room=nowhere&token={KEY}")).err(), Some(404));
    let mut pages = [&ann, &ben].map(|token| open(&server, &format!("room=standup&token={token}")).unwrap());
    for page in &mut pages {
        let offer = hear(page, "offer");
        assert_eq!(offer["type"], "offer");
        // Nobody sends anything: there is only what the page could send.
        let sdp = offer["sdp"].as_str().unwrap();
        assert_eq!((sdp.matches("a=recvonly").count(), sdp.matches("a=sendonly").count()), (3, 0), "{sdp}");
    }
    let say = |data: Value| Message::text(json!({ "event": "chat", "data": data }).to_string());
    pages[0].send(Message::text("no message")).unwrap();
    pages[0].send(say(json!("{\"message\":\"good morning\"}"))).unwrap();
    for page in &mut pages {
        let chat = hear(page, "chat");
        let seen = (&chat["user_id"], &chat["name"], &chat["message"]);
        assert_eq!(seen, (&json!("ann"), &json!("ann@example.org"), &json!("good morning")));
    }
    // The room has two already: a third is told so as the WebSocket ends.
    let mut third = open(&server, &format!("room=standup&token={ann}")).unwrap();
    let refused = loop {
        match third.read().unwrap() {
            Message::Close(frame) => break frame.unwrap(),
            _ => continue,
        }
    };
    assert_eq!(u16::from(refused.code), 4001, "{refused}");
    let [first, mut second] = pages;
    drop(first);
    let participants =
        || ask(&server, "GET", "/api/v1/rooms/standup", &Value::Null, 200)["participants"].clone();
    eventually("who closes its WebSocket has left", || (participants() == 1).then_some(()));
    ask(&server, "DELETE", "/api/v1/rooms/standup", &Value::Null, 204);
    while second.read().is_ok_and(|message| !message.is_close()) {}
}

#[test]
fn any_node_of_a_cluster_serves_a_room_of_another_one() {
    let nats = Nats::start();
    let [a, b] = ["a", "b"].map(|name| {
        let variables =
            [("ORIEL_COMPAT_SFU", "true"), ("ORIEL_ADMIN_SECRET", KEY), ("ORIEL_MAX_STREAMERS", "1")];
        let mut node = nats.node(nats::KEY, name, &variables);
        node.use_token(KEY);
        node
    });
    together(&[&a, &b]);
    // Each has room for one.
    for name in ["standup", "another"] {
        ask(&a, "POST", "/api/v1/rooms", &json!({ "name": name }), 201);
    }
    let node = |name: &str| ask(&a, "GET", &format!("/api/rooms/{name}"), &Value::Null, 200)["node"].clone();
    let other = if node("standup") == "a" { &b } else { &a };
    assert_ne!(node("standup"), node("another"));
    ask(other, "POST", "/api/v1/rooms", &json!({ "name": "standup" }), 200);
    assert_eq!(ask(other, "GET", "/api/v1/rooms/standup", &Value::Null, 200)["name"], "standup");
    let ann = token(other, "ann", "participant");
    let mut page = open(other, &format!("room=standup&token={ann}")).unwrap();
    assert_eq!(hear(&mut page, "offer")["type"], "offer");
    assert_eq!(ask(other, "GET", "/api/v1/rooms/standup", &Value::Null, 200)["participants"], 1);
    ask(other, "DELETE", "/api/v1/rooms/standup", &Value::Null, 204);
    while page.read().is_ok_and(|message| !message.is_close()) {}
}

#[test]
fn without_the_switch_none_of_it_is_there() {
    let server = start(false);
    server.send_with("GET", "/api/rooms", &[("x-api-key", KEY)], &[]).expect(401);
    let key = ("authorization", "Bearer an-admin-secret-of-this-test");
    server.send_with("GET", "/api/v1/rooms/standup", &[key], &[]).expect(404);
    assert_eq!(open(&server, &format!("room=standup&token={KEY}")).err(), Some(404));
}
