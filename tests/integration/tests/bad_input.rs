//! Bad input is refused with its reason, and costs nobody anything.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::TcpStream;
use std::time::Instant;

use common::signal::{Role, ServerMessage, StreamerState};
use harness::{Server, eventually};
use native_peer::{Channel, Event, Media, Options, Swarm};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const STREAMERS: &str = "/api/streamers";

fn test_source() -> Value {
    json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false })
}

/// Nothing has been started, or nothing is left of it.
fn assert_clean(server: &Server) {
    eventually("nothing runs", || server.session_processes().is_empty().then_some(()));
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
    assert_eq!(server.get(STREAMERS).expect(200).json::<Value>(), json!({ "streamers": [] }));
}

#[test]
fn a_bad_request_is_refused_by_field_and_starts_nothing() {
    let server = Server::start();
    let long = "x".repeat(65);
    for (body, field) in [
        (json!({ "source": { "type": "tset" } }), "source"),
        (json!({ "source": { "type": "test", "width": 0 } }), "source.width"),
        (json!({ "source": { "type": "test", "width": 100_000 } }), "source.width"),
        (json!({ "source": { "type": "desktop", "height": 0 } }), "source.height"),
        (json!({ "source": { "type": "desktop", "height": 100_000 } }), "source.height"),
        (json!({ "source": { "type": "desktop", "command": [] } }), "source.command"),
        (json!({ "source": { "type": "test" }, "slots": 17 }), "slots"),
        (json!({ "source": { "type": "test" }, "id": "../etc" }), "id"),
        (json!({ "source": { "type": "test" }, "id": "" }), "id"),
        (json!({ "source": { "type": "test" }, "id": long }), "id"),
        (json!({ "source": { "type": "test" }, "id": 7 }), "id"),
    ] {
        let problem = server.post(STREAMERS, &body).expect(400).problem();
        assert_eq!(problem.code, "invalid_field", "{body}");
        let named = problem.field.unwrap_or_default();
        assert!(named == field || named.starts_with(&format!("{field}.")), "{body}: {named}");
    }
    for text in ["", "{", "nonsense", "\u{0}"] {
        let answer = server.send("POST", STREAMERS, "application/json", text.as_bytes());
        assert_eq!(answer.expect(400).problem().code, "malformed_json", "{text:?}");
    }
    let wrong = server.send("POST", STREAMERS, "text/plain", b"{}").expect(415);
    assert_eq!(wrong.problem().code, "unsupported_media_type");
    let huge = server.send("POST", STREAMERS, "application/json", &vec![b' '; 4 << 20]).expect(413);
    assert_eq!(huge.problem().code, "body_too_large");
    assert_clean(&server);
}

#[test]
fn what_is_not_there_is_not_found() {
    let server = Server::start();
    let text = json!({ "text": "x" });
    let answers = [
        server.get("/api/streamers/nobody"),
        server.get("/api/streamers/nobody/snapshot"),
        server.get("/api/streamers/nobody/clipboard"),
        server.put("/api/streamers/nobody/clipboard", &text),
        server.post("/api/streamers/nobody/input", &json!({ "events": [] })),
        server.post("/api/streamers/nobody/resize", &json!({ "width": 320, "height": 240 })),
        server.delete("/api/streamers/nobody"),
    ];
    for answer in answers {
        assert_eq!(answer.expect(404).problem().code, "streamer_not_found");
    }
    assert_eq!(server.get("/api/nothing").expect(404).problem().code, "route_not_found");
    assert_clean(&server);
}

#[test]
fn the_same_name_is_the_same_streamer_or_a_conflict() {
    let server = Server::start();
    let first = server.create("demo", test_source());
    let body = json!({ "id": "demo", "source": test_source() });
    let again: common::api::Streamer = server.post(STREAMERS, &body).expect(200).json();
    assert_eq!(again.created, first.created);
    let other = json!({ "id": "demo", "source": { "type": "test", "width": 640, "height": 360 } });
    let problem = server.post(STREAMERS, &other).expect(409).problem();
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("streamer_exists", Some("id")));
    assert_eq!(server.streamer("demo").map(|now| now.spec), Some(first.spec));
}

#[test]
fn a_command_that_cannot_run_or_ends_at_once_is_told_with_its_reason() {
    let server = Server::start();
    for (id, command, reason) in [
        ("no-program", json!(["no-such-program-anywhere"]), "no-such-program-anywhere"),
        ("no-line", json!("no-such-line-anywhere"), "no-such-line-anywhere"),
        ("ends", json!("echo the last words >&2; exit 3"), "the last words"),
    ] {
        let source =
            json!({ "type": "desktop", "width": 320, "height": 240, "audio": false, "command": command });
        let body = json!({ "id": id, "source": source, "restart": { "policy": "never" } });
        server.post(STREAMERS, &body).expect(201);
        let failed = server.state_until(id, StreamerState::Failed);
        let said = failed.reason.unwrap_or_default();
        assert!(said.contains(reason), "{id}: {said:?}");
        eventually("nothing of it runs", || server.session_processes().is_empty().then_some(()));
        server.delete(&format!("{STREAMERS}/{id}")).expect(204);
    }
    assert_clean(&server);
}

/// An open WebSocket of a peer that has said nothing yet.
struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(server: &Server, id: &str) -> Result<Self, String> {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
        let url = format!("ws://{}/api/streamers/{id}/peer", server.address());
        let request = url.into_client_request().unwrap();
        let opened = tungstenite::client(request, stream);
        opened.map(|(socket, _)| Self(socket)).map_err(|error| error.to_string())
    }

    fn say(&mut self, text: &str) {
        self.0.send(Message::text(text)).unwrap();
    }

    /// Skips what comes until `wanted` takes something.
    fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(ServerMessage) -> Option<T>) -> T {
        loop {
            let message = self.0.read().unwrap_or_else(|error| panic!("{error} before {what}"));
            if let Message::Text(text) = message
                && let Some(found) = wanted(serde_json::from_str(&text).unwrap())
            {
                return found;
            }
        }
    }

    fn error(&mut self) -> String {
        self.until("an error", |message| match message {
            ServerMessage::Error { code, message, .. } => {
                assert!(!message.is_empty());
                Some(code)
            }
            _ => None,
        })
    }

    fn join(&mut self) {
        self.say(r#"{"type":"hello"}"#);
        self.until("the offer", |message| matches!(message, ServerMessage::Offer { .. }).then_some(()));
    }

    /// The code with which the server closes.
    fn closed(&mut self) -> u16 {
        loop {
            match self.0.read() {
                Ok(Message::Close(frame)) => return frame.map_or(1005, |frame| frame.code.into()),
                Ok(_) => {}
                Err(error) => panic!("{error} instead of a close frame"),
            }
        }
    }
}

#[test]
fn garbage_on_the_websocket_is_answered_and_hurts_nobody_else() {
    let server = Server::start();
    server.create("demo", test_source());
    let pid = server.stats_until("demo", "it reports", |_| true).process.pid;
    assert!(Socket::open(&server, "nobody").is_err_and(|error| error.contains("404")));

    let mut witness = Socket::open(&server, "demo").unwrap();
    witness.join();

    // Before and after hello.
    let mut socket = Socket::open(&server, "demo").unwrap();
    for joined in [false, true] {
        for text in ["", "garbage", "{}", "[]", "null", r#"{"type":"nonsense"}"#, r#"{"type":"answer"}"#] {
            socket.say(text);
            assert!(!socket.error().is_empty(), "{text} {joined}");
        }
        socket.0.send(Message::binary(vec![0u8; 100])).unwrap();
        assert_eq!(socket.error(), "binary_not_supported");
        if !joined {
            socket.say(r#"{"type":"answer","sdp":""}"#);
            assert_eq!(socket.error(), "hello_expected");
            socket.join();
        }
    }
    socket.say(r#"{"type":"hello"}"#);
    assert_eq!(socket.error(), "already_joined");

    // An answer that is none, from somebody who should know better.
    socket.say(&json!({ "type": "answer", "sdp": "v=0\r\nnonsense" }).to_string());
    assert!(!socket.error().is_empty());

    let mut loud = Socket::open(&server, "demo").unwrap();
    loud.join();
    // It may hang up before it has read all of it.
    let _ = loud.0.send(Message::text("x".repeat(300 * 1024)));
    assert_eq!(loud.closed(), 1009);

    // The one that did nothing wrong is still served by the same process.
    witness.say("garbage");
    assert!(!witness.error().is_empty());
    let now = server.stats_until("demo", "it reports", |_| true);
    assert_eq!(now.process.pid, pid);
    assert_eq!(server.streamer("demo").map(|now| now.state), Some(StreamerState::Running));
}

#[test]
fn garbage_on_every_data_channel_ends_nothing() {
    let server = Server::start();
    server.create("demo", test_source());
    let pid = server.stats_until("demo", "it reports", |_| true).process.pid;
    let options = Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Controller,
        media: Media::Headers,
    };
    let mut peers = Swarm::new(options).unwrap();
    let bad = peers.join().unwrap();
    let good = peers.join().unwrap();
    let deadline = Instant::now() + harness::wait::SOON;

    let mut open = Vec::new();
    while open.len() < 6 {
        let event = peers.next(deadline).unwrap().expect("all channels of both in time");
        if let (peer, Event::Open(channel)) = event {
            open.push((peer, channel));
        }
    }
    let long = "x".repeat(15_000);
    let deep = "[".repeat(10_000);
    for channel in [Channel::Keys, Channel::Motion, Channel::General] {
        for text in ["", "garbage", "{}", "null", "[1,2", r#"{"type":"nonsense"}"#, "\u{0}", &long, &deep] {
            assert!(peers.send_text(bad, channel, text), "{channel:?} takes a message");
        }
    }
    // What the other gets from now on comes after the garbage has been looked at: two seconds of frames.
    let mut frames = 0;
    let mut complaints = 0;
    let deadline = Instant::now() + harness::wait::SOON;
    while frames < 60 || complaints == 0 {
        match peers.next(deadline).unwrap().expect("frames, and a complaint, in time") {
            (peer, Event::Rtp(arrival)) if peer == good && arrival.marker => frames += 1,
            (peer, Event::Closed(reason)) if peer == good => panic!("the other peer was ended: {reason}"),
            (peer, Event::Message(Channel::General, text)) if peer == bad && text.contains("error") => {
                complaints += 1;
            }
            _ => {}
        }
    }
    let now = server.stats_until("demo", "it reports", |_| true);
    assert_eq!(now.process.pid, pid);
}
