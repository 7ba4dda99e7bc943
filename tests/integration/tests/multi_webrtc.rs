//! Backends and pages written for another server (`docs/COMPAT.md`), from the outside: what they send stands here as
//! they send it.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use harness::{FakeHost, Server, Watched, eventually};
use native_peer::{Page, PageEvent};
use serde_json::{Value, json};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

/// What such a backend sends; `host_id` counts hosts from 0.
fn body(id: &str) -> Value {
    json!({
        "streamer_id": id, "client_unique_id": format!("client-of-{id}"), "host_id": 0, "app_id": 1,
        "bitrate": 20000, "packet_size": 1024, "fps": 30, "width": 640, "height": 360,
        "video_sample_queue_size": 10, "audio_sample_queue_size": 10, "play_audio_local": false,
        "video_supported_formats": 1, "video_colorspace": "Rec709", "video_color_range_full": false,
    })
}

#[test]
fn a_backend_creates_a_streamer_in_its_own_words_and_reads_the_answers() {
    let server = Server::start();
    // Who has no right to it gets 401, as everywhere.
    assert_eq!(server.get("/api/authenticate").expect(200).body, b"");
    let refused = server.post("/api/streamers", &body("agent-1")).expect(404);
    let refused: Value = serde_json::from_slice(&refused.body).unwrap();
    assert_eq!((&refused["code"], &refused["error"]), (&json!("host_not_found"), &refused["detail"]));

    let fake = FakeHost::start_without_pin(&json!({}));
    let host = json!({"address": "127.0.0.1", "http_port": fake.ports().http_port});
    let host: Value = server.post("/api/hosts", &host).expect(201).json();
    let path = format!("/api/hosts/{}", host["id"].as_str().unwrap());
    let started: Value = server.post(&format!("{path}/pair"), &json!({})).expect(202).json();
    eventually("the host wants a PIN", || fake.state()["pin_wanted"].as_bool()?.then_some(()));
    fake.type_pin(started["pin"].as_str().unwrap());
    eventually("the host is paired", || {
        server.get(&path).expect(200).json::<Value>()["paired"].as_bool()?.then_some(())
    });

    let created: Value = server.post("/api/streamers", &body("agent-1")).expect(200).json();
    for (field, value) in [
        ("streamer_id", json!("agent-1")),
        ("status", json!("starting")),
        ("moonlight_connected", json!(false)),
        ("connected_peers", json!(0)),
        ("width", json!(640)),
        ("height", json!(360)),
        ("fps", json!(30)),
        ("peers", json!([])),
    ] {
        assert_eq!(created[field], value, "{field}");
    }
    assert_eq!((&created["id"], &created["spec"]["source"]["host_id"]), (&json!("agent-1"), &host["id"]));
    assert!(created["created_at"].is_string(), "{created}");
    let one = eventually("it is active", || {
        let one: Value = server.get("/api/streamers/agent-1").expect(200).json();
        (one["status"] == "active").then_some(one)
    });
    assert_eq!(one["moonlight_connected"], true);
    server.post("/api/streamers", &body("agent-1")).expect(200);
    let list: Value = server.get("/api/streamers").expect(200).json();
    assert_eq!(list["streamers"][0]["streamer_id"], "agent-1");

    let mut wrong = body("agent-2");
    wrong["video_colorspace"] = json!("Rec777");
    let refused = server.post("/api/streamers", &wrong).expect(400).problem();
    assert_eq!(refused.field.as_deref(), Some("video_colorspace"));
    wrong = body("agent-2");
    wrong["bitrate"] = json!(1);
    let refused = server.post("/api/streamers", &wrong).expect(400).problem();
    assert_eq!(refused.field.as_deref(), Some("bitrate"));
    server.delete("/api/streamers/agent-1").expect(204);
    assert_eq!(fake.state()["complaints"], json!([]));
}

/// Until X has seen `expected`; the page lives on meanwhile.
#[track_caller]
fn until_seen(watched: &Watched, page: &mut Page, kind: &str, names: &[&str], expected: &Value) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = Value::from(watched.seen(kind, names));
        if seen == *expected {
            return;
        }
        assert!(Instant::now() < deadline, "{seen} instead of {expected}");
        live(page, Duration::from_millis(20));
    }
}

/// Lets a page do what it does, for a while.
fn live(page: &mut Page, time: Duration) {
    let deadline = Instant::now() + time;
    while page.next(deadline).unwrap().is_some() {}
}

/// All that happens until `last` does.
#[track_caller]
fn until(page: &mut Page, what: &str, last: impl Fn(&PageEvent) -> bool) -> Vec<PageEvent> {
    let deadline = Instant::now() + PATIENCE;
    let mut seen = Vec::new();
    loop {
        let event = page.next(deadline).unwrap();
        let event = event.unwrap_or_else(|| panic!("not within {PATIENCE:?}: {what}; but {seen:?}"));
        let found = last(&event);
        seen.push(event);
        if found {
            return seen;
        }
    }
}

fn heard(event: &PageEvent, name: &str) -> bool {
    matches!(event, PageEvent::Heard(value) if value.get(name).is_some() || value == name)
}

/// A page of which all channels are open and to which the connection is complete.
#[track_caller]
fn connected(server: &Server, path: &str) -> (Page, Vec<PageEvent>) {
    let mut page = Page::open(server.address(), path).unwrap();
    let mut seen = until(&mut page, "complete", |event| heard(event, "ConnectionComplete"));
    for label in ["general", "keyboard", "mouse"] {
        let open = PageEvent::Open(label.into());
        if !seen.contains(&open) {
            seen.extend(until(&mut page, label, |event| *event == open));
        }
    }
    (page, seen)
}

#[test]
fn a_page_watches_and_steers_in_its_own_words() {
    let watched = Watched::start("agent-1");
    let (mut page, seen) = connected(&watched.server, "/api/streamers/agent-1/peer");
    let said: Vec<&Value> = seen
        .iter()
        .filter_map(|event| if let PageEvent::Heard(value) = event { Some(value) } else { None })
        .collect();
    let first = |name: &str| said.iter().position(|value| value.get(name).is_some()).expect(name);
    let offer = said.iter().position(|value| value["Signaling"]["Description"]["ty"] == "offer").unwrap();
    assert!(offer < first("WebRtcConfig") && first("WebRtcConfig") < first("ConnectionComplete"), "{said:?}");
    assert!(said.iter().all(|value| value.is_object()), "a bare text is an error to a page: {said:?}");
    let complete = &said[first("ConnectionComplete")]["ConnectionComplete"];
    assert_eq!((&complete["width"], &complete["height"]), (&json!(640), &json!(480)));
    let is_picture = |event: &PageEvent| matches!(event, PageEvent::Rtp(102));
    // A screen at rest sends one, which may have come before the channels were open.
    if !seen.iter().any(is_picture) {
        until(&mut page, "pictures", is_picture);
    }
    let peers = eventually("the list says that it is connected", || {
        let peers: Value = watched.server.get("/api/streamers/agent-1").expect(200).json();
        (peers["connected_peers"] == 1).then_some(peers)
    });
    assert_eq!(peers["peers"][0]["kind"], "multi-webrtc");
    assert_eq!(peers["peers"][0]["peer_id"], peers["peers"][0]["id"]);

    // A, with Shift.
    for key in [[0, 1, 1, 0, 0xa0], [0, 1, 1, 0, 0x41], [0, 0, 1, 0, 0x41], [0, 0, 0, 0, 0xa0]] {
        assert!(page.send("keyboard", &key));
    }
    let keys = json!([["Shift_L", true], ["A", true], ["A", false], ["Shift_L", false]]);
    until_seen(&watched, &mut page, "key", &["keysym", "down"], &keys);

    // To the middle, where the left button is pressed; by (20, -10), where it is released.
    for message in [&[1, 8, 0, 8, 0, 16, 0, 16, 0][..], &[2, 1, 1]] {
        assert!(page.send("mouse", message));
    }
    until_seen(&watched, &mut page, "button", &["button", "down", "x", "y"], &json!([[1, true, 320, 240]]));
    for message in [&[0, 0, 20, 0xff, 0xf6][..], &[2, 0, 1], &[3, 0, 0, 0, 120]] {
        assert!(page.send("mouse", message));
    }
    let buttons =
        json!([[1, true, 320, 240], [1, false, 340, 230], [4, true, 340, 230], [4, false, 340, 230]]);
    until_seen(&watched, &mut page, "button", &["button", "down", "x", "y"], &buttons);

    // Malformed, too short, unknown: nothing comes of it, and the page lives.
    for (label, bytes) in [("keyboard", &[0, 0, 0x80, 0, 0xff][..]), ("keyboard", &[]), ("mouse", &[1, 8])] {
        assert!(page.send(label, bytes));
    }
    assert!(page.send("keyboard", &[1, 1, b'x']));
    until_seen(&watched, &mut page, "key", &["keysym", "down"], &{
        let mut keys = keys;
        keys.as_array_mut().unwrap().extend([json!(["x", true]), json!(["x", false])]);
        keys
    });
}

#[test]
fn what_a_page_holds_stays_held_until_it_lets_go_or_leaves() {
    let watched = Watched::start("agent-1");
    let (mut page, _) = connected(&watched.server, "/api/streamers/agent-1/peer");
    assert!(page.send("keyboard", &[0, 1, 0, 0, 0x42]));
    until_seen(&watched, &mut page, "key", &["keysym", "down"], &json!([["b", true]]));
    // Longer than what says nothing is held.
    live(&mut page, Duration::from_millis(2 * common::input::HELD_SILENCE_MS));
    assert_eq!(watched.seen("key", &["keysym", "down"]), [json!(["b", true])]);
    drop(page);
    eventually("the key is released", || {
        (watched.seen("key", &["keysym", "down"]).last() == Some(&json!(["b", false]))).then_some(())
    });
    eventually("the peer has left", || {
        let streamer: Value = watched.server.get("/api/streamers/agent-1").expect(200).json();
        (streamer["peers"] == json!([])).then_some(())
    });
}

#[test]
fn pages_are_told_when_the_streamer_ends_and_find_it_by_their_paths() {
    let server = Server::start();
    server.create("agent-1", json!({"type": "test", "width": 160, "height": 96, "fps": 5}));
    let (mut page, _) =
        connected(&server, "/api/api/streamers/agent-1-01890a5d-ac96-774b-bcce-b302099a8057/peer");
    server.delete("/api/streamers/agent-1").expect(204);
    until(&mut page, "it is over", |event| heard(event, "PeerDisconnect"));
    let Err(refused) = Page::open(server.address(), "/api/streamers/agent-1/peer") else {
        panic!("a streamer that is gone")
    };
    assert!(refused.to_string().contains("404"), "{refused}");
}
