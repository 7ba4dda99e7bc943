//! Hosts that refuse, lie or stall: refused in words, in bounded time, and nothing else is the worse for it.

use std::time::{Duration, Instant};

use common::signal::StreamerState;
use harness::{Answer, Server, eventually, eventually_within};
use serde_json::{Value, json};

use crate::host::{Known, stream_of};
use crate::pictures::Viewer;

/// No answer of the web-server takes longer than this, whatever the host does.
const BOUND: Duration = Duration::from_secs(50);

/// What the API says, which must be in time; the web-server is still there.
#[track_caller]
fn bounded(server: &Server, what: &Value, ask: impl FnOnce() -> Answer) -> Answer {
    let began = Instant::now();
    let answer = ask();
    assert!(began.elapsed() < BOUND, "{what}: {:?}", began.elapsed());
    server.get("/healthz").expect(200);
    answer
}

#[test]
fn pairing_fails_in_words_and_can_be_tried_again() {
    let server = Server::start();
    let host = Known::add(&server, &json!({}));
    for fault in
        ["wrong_hash", "wrong_signature", "no_certificate", "bad_certificate", "short_answers", "rejected"]
    {
        host.fake.change(&json!({ "pairing": fault }));
        let pairing = host.pair_now(&server);
        assert_eq!(pairing["state"], "failed", "{fault}: {pairing}");
        assert!(pairing["error"].as_str().is_some_and(|error| error.len() > 10), "{fault}: {pairing}");
        assert_eq!(host.fake.state()["paired_clients"], 0, "{fault}");
    }
    // Refused once as out of order, as Sunshine does after a pairing that was broken off: tried once more by itself.
    host.fake.change(&json!({ "pairing": "out_of_order_once" }));
    let pairing = host.pair_now(&server);
    assert_eq!(pairing["state"], "paired", "{pairing}");
}

#[test]
fn answers_that_are_none_are_refused_in_time() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    for fault in [
        json!({ "status": { "code": 4_294_967_295_u32, "message": "Nothing <works> & \"all\" is lost" } }),
        json!({ "http_status": 500 }),
        json!("redirect"),
        json!("bomb"),
        json!("deep"),
        json!("endless"),
        json!({ "drip": 200 }),
        json!("close"),
        json!("garbage"),
        json!("truncated"),
        json!("long_length"),
    ] {
        host.fake.change(&json!({ "http": { "applist": fault } }));
        let answer = bounded(&server, &fault, || server.get(&host.path("/apps")));
        assert!(answer.status >= 400, "{fault}: {answer:?}");
        answer.problem();
    }
    host.fake.change(&json!({ "http": {} }));
    server.get(&host.path("/apps")).expect(200);
    let memory = server.process().resident_bytes();
    assert!(memory < 400 << 20, "{memory} bytes after all that");
}

#[test]
fn a_host_that_plays_for_somebody_else_is_left_alone() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({ "busy_with": 1_093_255_277 }));
    assert_eq!(host.stream(&server, "busy").expect(409).problem().code, "host_busy");
    assert_eq!(host.fake.counter("sessions"), 0);
}

#[test]
fn a_start_that_fails_does_so_in_words_and_in_time() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    for (n, fault) in [
        json!({ "rtsp": { "DESCRIBE": { "status": 500 } } }),
        json!({ "rtsp": { "SETUP": "bad_numbers" } }),
        json!({ "rtsp": { "ANNOUNCE": "forged" } }),
        json!({ "rtsp": { "OPTIONS": "garbage" } }),
        json!({ "rtsp": { "SETUP": "long_length" } }),
        json!({ "rtsp": { "DESCRIBE": "endless" } }),
        json!({ "http": { "launch": "close" } }),
    ]
    .into_iter()
    .enumerate()
    {
        host.fake.change(&json!({ "rtsp": {}, "http": {} }));
        host.fake.change(&fault);
        host.fake.act(&json!({ "action": "restart" }));
        let id = format!("s{n}");
        let answer = bounded(&server, &fault, || host.stream(&server, &id));
        assert!(answer.status >= 400, "{fault}: {answer:?}");
        assert!(answer.problem().detail.len() > 10, "{fault}");
        // It may have been left there, to be looked at.
        server.delete(&format!("/api/streamers/{id}"));
    }
    host.fake.change(&json!({ "rtsp": {}, "http": {} }));
    host.fake.act(&json!({ "action": "restart" }));
    host.stream(&server, "good").expect(201);
    Viewer::join(server.address(), "good").see(5);
}

#[test]
fn lies_about_lengths_and_indices_cost_pictures_and_nothing_else() {
    let server = Server::start();
    let lies = json!([
        "shard_index",
        "shard_count",
        "block_index",
        "future_frame",
        "past_frame",
        "percent",
        "short",
        "long",
        "noise",
        "payload_length",
        "flags",
        "empty"
    ]);
    // Once in clear, and once where each is told under a good seal.
    for encryption in [1, 7] {
        let host = Known::pair(
            &server,
            &json!({ "encryption_supported": encryption, "encryption_requested": encryption, "filler_bytes": 10_000 }),
        );
        let id = format!("lies{encryption}");
        host.stream(&server, &id).expect(201);
        let pid = server.stats_until(&id, "its process is known", |_| true).process.pid;
        host.fake.change(&json!({ "lies": lies, "lie_share": 0.1 }));
        let patience = Duration::from_secs(60);
        eventually_within(patience, "many lies were told", || {
            (host.fake.counter("lies") > 300).then_some(())
        });
        for raw in ["", "01", "0100ffff00000000", "0100140000000000000000000000000000000000000000ff"] {
            host.fake.act(&json!({ "action": "send_raw", "bytes": raw }));
        }
        host.fake.act(&json!({ "action": "send", "kind": 0x10b, "payload": "00" }));
        host.fake.change(&json!({ "lies": [] }));
        // The same process goes on, and what is true is shown again.
        Viewer::join_after_lies(server.address(), &id).see(10);
        let now = server.streamer(&id).unwrap();
        assert_eq!(now.state, StreamerState::Running);
        assert_eq!(now.stats.map(|stats| stats.process.pid), Some(pid));
        server.delete(&format!("/api/streamers/{id}")).expect(204);
    }
}

#[test]
fn a_host_that_falls_silent_is_come_back_to_when_it_speaks_again() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    host.stream(&server, "s").expect(201);
    let mut viewer = Viewer::join(server.address(), "s");
    viewer.see(5);
    host.fake.act(&json!({ "action": "restart", "down_ms": 1500 }));
    eventually("it streams again", || (host.fake.counter("sessions") > 1).then_some(()));
    viewer.see(5);
    assert!(stream_of(&server, "s").frames > 0);
}
