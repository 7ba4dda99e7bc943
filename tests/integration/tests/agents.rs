//! What programs can do with a session over REST, as programs of the session see it.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use harness::{Display, Picture, Server, Watched, eventually};
use serde_json::{Value, json};

fn say(watched: &Watched, events: &Value) {
    watched.server.post("/api/streamers/demo/input", &json!({ "events": events })).expect(204);
}

fn until(watched: &Watched, kind: &str, names: &[&str], expected: &Value) {
    eventually(&format!("X has seen {expected}"), || {
        let seen = Value::from(watched.seen(kind, names));
        let seen_len = seen.as_array().map(Vec::len);
        let wanted = expected.as_array().map(Vec::len);
        if seen_len >= wanted {
            assert_eq!(&seen, expected);
        }
        (seen_len >= wanted).then_some(())
    });
}

#[test]
fn keys_chords_clicks_and_wheel_arrive_in_their_order() {
    let watched = Watched::start("demo");
    say(
        &watched,
        &json!([
            { "type": "key", "code": "KeyA" },
            { "type": "chord", "codes": ["ControlLeft", "ShiftLeft", "KeyC"] },
        ]),
    );
    let expected = [
        ("a", true),
        ("a", false),
        ("Control_L", true),
        ("Shift_L", true),
        ("C", true),
        ("C", false),
        ("Shift_L", false),
        ("Control_L", false),
    ];
    until(&watched, "key", &["keysym", "down"], &json!(expected));

    say(
        &watched,
        &json!([
            { "type": "pointer", "at": { "x": 100, "y": 50 } },
            { "type": "click", "at": { "x": 200, "y": 150 }, "count": 2 },
            { "type": "click", "button": 3 },
            { "type": "wheel", "dx": 1, "dy": -2 },
        ]),
    );
    let at = |button: u8| [(button, true, 200, 150), (button, false, 200, 150)];
    // X's wheel is buttons: 4 up, 5 down, 6 left, 7 right. Which direction comes first is not promised.
    let expected = 2 * (2 + 1 + 1 + 2);
    let seen = eventually("X has seen all buttons", || {
        let seen = watched.seen("button", &["button", "down", "x", "y"]);
        (seen.len() >= expected).then_some(seen)
    });
    assert_eq!(Value::from(&seen[..6]), json!([at(1), at(1), at(3)].concat()));
    let count =
        |button: u8| seen[6..].iter().filter(|event| **event == json!((button, true, 200, 150))).count();
    assert_eq!((seen.len(), count(4), count(7)), (expected, 2, 1), "{seen:?}");
    assert!(watched.seen("motion", &["x", "y"]).contains(&json!([100, 50])));
}

#[test]
fn a_drag_moves_while_its_button_is_held_and_what_follows_waits_for_it() {
    let watched = Watched::start("demo");
    say(
        &watched,
        &json!([
            { "type": "drag", "from": { "x": 20, "y": 30 }, "to": { "x": 220, "y": 130 }, "duration_ms": 100 },
            { "type": "wait", "ms": 20 },
            { "type": "move", "at": { "x": 50, "y": 60 } },
            { "type": "click", "button": "right" },
        ]),
    );
    let expected = [(1, true, 20, 30), (1, false, 220, 130), (3, true, 50, 60), (3, false, 50, 60)];
    until(&watched, "button", &["button", "down", "x", "y"], &json!(expected));
    let on_its_way = |event: &Value| {
        let [x, y] = [0, 1].map(|n| event[n].as_i64().unwrap());
        (21..220).contains(&x) && (31..130).contains(&y)
    };
    assert!(watched.seen("motion", &["x", "y"]).iter().any(on_its_way));
}

/// Where the pointer is in each source, by name, and in the streamer's own `GET`.
fn pointers(server: &Server, id: &str) -> (Value, Value) {
    let list: Value = server.get(&format!("/api/streamers/{id}/sources")).expect(200).json();
    let of = |source: &Value| (source["name"].as_str().unwrap().to_owned(), source["pointer"].clone());
    let sources = Value::Object(list["sources"].as_array().unwrap().iter().map(of).collect());
    let streamer: Value = server.get(&format!("/api/streamers/{id}")).expect(200).json();
    (sources, streamer["pointer"].clone())
}

/// Waits until the pointer is there: an answer that comes late has none.
#[track_caller]
fn pointers_are(server: &Server, expected: &(Value, Value)) {
    eventually(&format!("the pointer is at {expected:?}"), || {
        (pointers(server, "demo") == *expected).then_some(())
    });
}

#[test]
fn where_the_pointer_is_is_told_in_the_pixels_of_each_picture() {
    let server = Server::start();
    let source = json!({ "type": "desktop", "width": 640, "height": 480, "audio": false,
        "command": ["xterm", "-b", "0", "-bw", "0", "-geometry", "20x10+100+50"] });
    server.create("demo", source);
    let more = json!({ "name": "pattern", "source": { "type": "test" } });
    server.post("/api/streamers/demo/sources", &more).expect(204);
    let window = eventually("the terminal has a window", || {
        let list: Value = server.get("/api/streamers/demo/windows").expect(200).json();
        list["windows"][0]["id"].as_u64()
    });
    let shared = json!({ "source": { "type": "window", "window_id": window } });
    let slot: Value = server.post("/api/streamers/demo/slots", &shared).expect(201).json();
    let (slot, shared) = (slot["slot"].clone(), slot["source"].as_str().unwrap().to_owned());

    let move_to = |slot: &Value, x: u32, y: u32| {
        let events = json!([{ "type": "move", "at": { "x": x, "y": y } }]);
        let input = json!({ "slot": slot, "events": events });
        server.post("/api/streamers/demo/input", &input).expect(204);
    };
    let at = |x: u32, y: u32| json!({ "x": x, "y": y });
    move_to(&json!(0), 110, 70);
    let expected = json!({ "main": at(110, 70), "pattern": null, shared.as_str(): at(10, 20) });
    pointers_are(&server, &(expected, at(110, 70)));
    move_to(&slot, 3, 4);
    let expected = json!({ "main": at(103, 54), "pattern": null, shared.as_str(): at(3, 4) });
    pointers_are(&server, &(expected, at(103, 54)));
    // Beside the window.
    move_to(&json!(0), 639, 479);
    let expected = json!({ "main": at(639, 479), "pattern": null, shared.as_str(): null });
    pointers_are(&server, &(expected, at(639, 479)));

    server.create("pattern", json!({ "type": "test" }));
    assert_eq!(pointers(&server, "pattern"), (json!({ "main": null }), Value::Null));
}

#[test]
fn what_an_agent_forgets_to_release_is_released_after_its_hold_time() {
    let watched = Watched::start("demo");
    say(
        &watched,
        &json!([
            { "type": "key", "code": "KeyX", "action": "down", "hold_ms": 2000 },
            { "type": "button", "button": 1, "action": "down", "hold_ms": 2000, "at": { "x": 10, "y": 10 } },
        ]),
    );
    until(&watched, "key", &["keysym", "down"], &json!([("x", true), ("x", false)]));
    until(&watched, "button", &["button", "down"], &json!([(1, true), (1, false)]));
    // By the X server's clock.
    let times = watched.seen("key", &["time"]);
    let time = |n: usize| times[n][0].as_u64().unwrap();
    let held = time(1) - time(0);
    // What comes late there makes it shorter or longer.
    assert!((1_000..30_000).contains(&held), "held for {held} ms");

    // What is released in time is released once.
    say(
        &watched,
        &json!([
            { "type": "key", "code": "KeyY", "action": "down" },
            { "type": "key", "code": "KeyY", "action": "up" },
            { "type": "key", "code": "KeyZ" },
        ]),
    );
    let keys = [("x", true), ("x", false), ("y", true), ("y", false), ("z", true), ("z", false)];
    until(&watched, "key", &["keysym", "down"], &json!(keys));
}

#[test]
fn what_makes_no_sense_is_refused_whole_and_names_its_field() {
    let watched = Watched::start("demo");
    let input = "/api/streamers/demo/input";
    let good = json!({ "type": "key", "code": "KeyA" });
    for (event, field) in [
        (json!({ "type": "nonsense" }), "events"),
        (json!({ "type": "key", "code": "Key A" }), "events"),
        (json!({ "type": "key", "code": "KeyA", "hold_ms": 60_001 }), "events"),
        (json!({ "type": "button", "button": 10 }), "events"),
        (json!({ "type": "button", "button": 0 }), "events"),
        (json!({ "type": "pointer", "at": { "x": 1e300, "y": 0 } }), "events"),
        (json!({ "type": "click", "count": 11 }), "events[1]"),
        (json!({ "type": "click", "count": 0 }), "events[1]"),
        (json!({ "type": "click", "button": "up" }), "events"),
        (json!({ "type": "click", "at": { "x": 5000, "y": 10 } }), "events[1]"),
        (json!({ "type": "pointer", "at": { "x": 10, "y": -1 } }), "events[1]"),
        (json!({ "type": "drag", "from": { "x": 10, "y": 10 }, "to": { "x": 10, "y": 5000 } }), "events[1]"),
        (json!({ "type": "wait", "ms": 10_001 }), "events[1]"),
        (json!({ "type": "move" }), "events[1]"),
        (json!({ "type": "text", "text": "x".repeat(4097) }), "events"),
    ] {
        let problem = watched.server.post(input, &json!({ "events": [good, event] })).expect(400).problem();
        let named = problem.field.unwrap_or_default();
        assert!(named.starts_with(field), "{event}: {named:?} {}", problem.detail);
    }
    let many = vec![good.clone(); 1025];
    let problem = watched.server.post(input, &json!({ "events": many })).expect(400).problem();
    assert_eq!(problem.field.as_deref(), Some("events"));
    let nowhere = watched.server.post(input, &json!({ "slot": 3, "events": [good] }));
    assert!((400..500).contains(&nowhere.status), "{nowhere:?}");
    nowhere.problem();

    let refused =
        |query: &str| watched.server.get(&format!("/api/streamers/demo/snapshot?{query}")).expect(400);
    for (query, field) in
        [("format=gif", "format"), ("width=0", "width"), ("width=x", "width"), ("slot=300", "slot")]
    {
        assert_eq!(refused(query).problem().field.as_deref(), Some(field), "{query}");
    }
    let long = json!({ "text": "x".repeat(128 * 1024 + 1) });
    let problem = watched.server.put("/api/streamers/demo/clipboard", &long).expect(413).problem();
    assert_eq!(problem.field.as_deref(), Some("text"));
    let whep = watched.server.send("POST", "/api/streamers/demo/whep", "application/sdp", b"v=0\r\ngarbage");
    assert!((400..500).contains(&whep.status), "{whep:?}");
    whep.problem();

    // None of it had an effect, and the next thing has.
    say(&watched, &json!([{ "type": "key", "code": "KeyQ" }]));
    until(&watched, "key", &["keysym", "down"], &json!([("q", true), ("q", false)]));
    assert_eq!(watched.seen("button", &["button"]), Vec::<Value>::new());
}

/// Its version, its page, and where a problem's type leads; all of it also with the version in the path.
fn it_has_a_page_and_a_version(server: &Server) {
    let info: common::api::ApiInfo = server.get("/api").expect(200).json();
    assert!(info.features.iter().any(|feature| feature == "files"), "{info:?}");
    let versioned = format!("/api/{}", info.api_versions[0]);
    assert_eq!(server.get(&versioned).expect(200).json::<common::api::ApiInfo>(), info);
    let page = server.get(&info.docs).expect(200);
    assert_eq!(page.content_type, "text/html; charset=utf-8");
    let problem = server.get(&format!("{versioned}/streamers/none?x=1")).expect(404).problem();
    let (path, anchor) = problem.kind.split_once('#').expect("a place on a page");
    assert_eq!((path, problem.code.as_str()), (info.docs.as_str(), "streamer_not_found"));
    assert!(String::from_utf8(page.body).unwrap().contains(&format!("id=\"{anchor}\"")), "{anchor}");
}

#[test]
fn the_api_describes_itself() {
    let server = Server::start();
    let api: Value = server.get("/api/openapi.json").expect(200).json();
    it_has_a_page_and_a_version(&server);
    assert!(api["openapi"].as_str().is_some_and(|version| version.starts_with("3.1")), "{}", api["openapi"]);
    for (path, method) in [
        ("/api/streamers", "post"),
        ("/api/streamers/{id}", "delete"),
        ("/api/streamers/{id}/snapshot", "get"),
        ("/api/streamers/{id}/input", "post"),
        ("/api/streamers/{id}/clipboard", "put"),
        ("/api/streamers/{id}/whep", "post"),
    ] {
        assert!(api["paths"][path][method].is_object(), "{method} {path}");
    }
}

/// An X server that is not a streamer's.
struct XServer {
    child: Child,
    number: String,
}

impl XServer {
    fn start() -> Self {
        let mut child = Command::new("Xvfb")
            .args(["-displayfd", "1", "-screen", "0", "800x600x24", "-nolisten", "tcp"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .expect("Xvfb is installed");
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        Self { child, number: line.trim().to_owned() }
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        // Politely, so that it removes its socket.
        let pid = rustix::process::Pid::from_raw(self.child.id().cast_signed());
        let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::TERM));
        let _ = self.child.wait();
    }
}

#[test]
fn a_display_that_already_runs_is_shared_and_left_alone() {
    let mut x = XServer::start();
    let server = Server::start();
    let display = format!(":{}", x.number);
    let source = json!({ "type": "desktop", "width": 800, "height": 600, "audio": false, "display": display, "command": ["xterm", "-geometry", "40x10+0+0"] });
    server.create("guest", source);
    let terminal = eventually("the terminal runs", || {
        let mut processes = server.session_processes().into_iter();
        processes.find(|process| process.command_line.contains("xterm"))
    });
    assert_eq!(terminal.variable("DISPLAY"), Some(display.as_str()));
    let seen = eventually("the terminal is on the picture", || {
        let answer = server.get("/api/streamers/guest/snapshot").expect(200);
        Some(Picture::from_png(&answer.body)).filter(|picture| picture.colours() > 1)
    });
    assert_eq!((seen.width, seen.height), (800, 600));
    server.delete("/api/streamers/guest").expect(204);
    eventually("the terminal has ended", || (!terminal.is_alive()).then_some(()));
    assert!(x.child.try_wait().unwrap().is_none(), "the X server is not ours to end");
    assert!(Path::new(&format!("/tmp/.X11-unix/X{}", x.number)).exists());
    assert_eq!(Display::without_cookie(&x.number).size(), (800, 600));
}
