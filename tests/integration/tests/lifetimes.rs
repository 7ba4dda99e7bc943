//! Streamers that end though nobody deletes them: at their time, or when nobody uses them.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use common::api::Streamer;
use common::audit::{AuditAction, AuditList};
use common::lifetime::OnIdle;
use common::signal::{Role, StreamerState};
use harness::{Listener, Server, eventually};
use native_peer::{Media, Options, Swarm};
use serde_json::{Value, json};

fn tiny() -> Value {
    json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false })
}

/// Creates a streamer that lives as `lifetime` says, and waits until it runs.
fn create(server: &Server, id: &str, lifetime: &Value) -> Streamer {
    let mut body = json!({ "id": id, "source": tiny() });
    body.as_object_mut().unwrap().extend(lifetime.as_object().unwrap().clone());
    server.post("/api/streamers?wait=running", &body).expect(201).json()
}

fn gone(server: &Server, id: &str) {
    eventually(&format!("{id} is gone"), || server.streamer(id).is_none().then_some(()));
}

fn trail(server: &Server, id: &str) -> Vec<AuditAction> {
    let list: AuditList = server.get(&format!("/api/streamers/{id}/audit")).expect(200).json();
    list.entries.iter().rev().map(|entry| entry.action).collect()
}

/// How long [`ends_when_idle`] lets a streamer be unused, ms: longer than a busy machine holds up whoever uses it.
const IDLE_MS: u64 = 5000;

/// A streamer that runs is deleted when nobody uses it for [`IDLE_MS`] from now on.
fn ends_when_idle(server: &Server) {
    let patch = json!({ "idle_timeout_s": IDLE_MS / 1000 }).to_string();
    server.send("PATCH", "/api/streamers/idle", "application/json", patch.as_bytes()).expect(200);
}

/// Its next event that says that it is in this state.
#[track_caller]
fn told(listener: &mut Listener, state: &str) {
    listener.until("state", |data| data["streamer"] == "idle" && data["state"] == state);
}

/// Milliseconds that it has run, as it says itself.
fn uptime_ms(server: &Server, id: &str) -> u64 {
    server.streamer(id).and_then(|streamer| streamer.stats).map_or(0, |stats| stats.uptime_ms)
}

#[test]
fn a_streamer_is_deleted_at_its_time_by_whichever_server_is_there_then() {
    let mut server = Server::start();
    let whole = create(&server, "whole", &json!({ "expires_in_s": 3600 }));
    assert_eq!((whole.expires_at.unwrap() - whole.created).num_seconds(), 3600, "{whole:?}");
    server.delete("/api/streamers/whole").expect(204);
    create(&server, "short", &json!({}));
    // From when it runs: long enough for a second server to start on a busy machine.
    let patch = json!({ "expires_in_s": 8 }).to_string();
    let begin = Instant::now();
    let patched =
        server.send("PATCH", "/api/streamers/short", "application/json", patch.as_bytes()).expect(200);
    let expires_at = patched.json::<Streamer>().expires_at.unwrap();
    server.kill();
    server.start_again();
    assert_eq!(server.streamer("short").unwrap().expires_at, Some(expires_at));
    gone(&server, "short");
    assert!(begin.elapsed() >= Duration::from_secs(8), "not before its time");
    eventually("nothing is left of it", || {
        (server.run_dirs().is_empty() && server.session_processes().is_empty()).then_some(())
    });
    let expected =
        [AuditAction::Created, AuditAction::LifetimeChanged, AuditAction::Adopted, AuditAction::Deleted];
    assert_eq!(trail(&server, "short"), expected);
    // Nor is it remembered.
    server.kill();
    server.start_again();
    assert!(server.streamer("short").is_none());
}

#[test]
fn one_whose_time_is_over_while_no_server_runs_is_gone_with_the_next() {
    let mut server = Server::start();
    create(&server, "short", &json!({}));
    // Once it runs, however long that took.
    let patch = json!({ "expires_in_s": 1 }).to_string();
    let patched =
        server.send("PATCH", "/api/streamers/short", "application/json", patch.as_bytes()).expect(200);
    server.kill();
    let left = patched.json::<Streamer>().expires_at.unwrap();
    eventually("its time is over", || (chrono::Utc::now() > left).then_some(()));
    server.start_again();
    gone(&server, "short");
    eventually("nothing is left of it", || {
        (server.run_dirs().is_empty() && server.session_processes().is_empty()).then_some(())
    });
}

#[test]
fn one_that_nobody_uses_is_stopped_stays_so_and_can_be_started_again() {
    let mut server = Server::start();
    // Between two states nobody may have looked.
    let mut listener = Listener::open(&server, "/api/events", &[]);
    let created = create(&server, "idle", &json!({ "idle_timeout_s": 2, "on_idle": "stop" }));
    assert_eq!((created.idle_timeout_s, created.on_idle), (Some(2), OnIdle::Stop));
    assert!(created.idle_since.is_some(), "nobody watches: {created:?}");
    told(&mut listener, "running");
    told(&mut listener, "stopped");
    let stopped = server.streamer("idle").unwrap();
    assert!(stopped.reason.unwrap().contains("idle_timeout_s"));
    assert!(stopped.stats.is_none() && stopped.peers.is_empty());
    eventually("its processes have ended", || server.session_processes().is_empty().then_some(()));
    let refused = server.get("/api/streamers/idle/snapshot").expect(409).problem();
    assert_eq!(refused.code, "streamer_stopped", "{refused:?}");
    let metrics = String::from_utf8(server.get("/metrics").expect(200).body).unwrap();
    assert!(metrics.contains("oriel_streamers{state=\"stopped\"} 1"), "{metrics}");
    assert!(metrics.contains("oriel_streamers{state=\"failed\"} 0"), "{metrics}");

    server.kill();
    server.start_again();
    let still = server.streamer("idle").unwrap();
    assert_eq!((still.state, still.created), (StreamerState::Stopped, created.created));
    let mut listener = Listener::open(&server, "/api/events", &[]);
    server.post("/api/streamers/idle/restart", &json!({})).expect(202);
    told(&mut listener, "running");
    told(&mut listener, "stopped");
    // While the process may still be on its way out.
    server.post("/api/streamers/idle/restart", &json!({})).expect(202);
    told(&mut listener, "running");
    assert!(trail(&server, "idle").contains(&AuditAction::Stopped));
    server.delete("/api/streamers/idle").expect(204);
}

#[test]
fn whoever_asks_it_things_keeps_it_and_whoever_asks_how_it_is_does_not() {
    let server = Server::start();
    create(&server, "idle", &json!({ "on_idle": "delete" }));
    server.get("/api/streamers/idle/snapshot").expect(200);
    ends_when_idle(&server);
    let begin = uptime_ms(&server, "idle");
    eventually("it has run for longer", || {
        server.get("/api/streamers/idle/snapshot").expect(200);
        (uptime_ms(&server, "idle") > begin + IDLE_MS + 2000).then_some(())
    });
    gone(&server, "idle");
    let expected = [AuditAction::Created, AuditAction::LifetimeChanged, AuditAction::Deleted];
    assert_eq!(trail(&server, "idle"), expected);
}

#[test]
fn whoever_watches_keeps_it_until_he_leaves() {
    let server = Server::start();
    create(&server, "idle", &json!({ "on_idle": "delete" }));
    let mut swarm = Swarm::new(Options {
        server: server.address(),
        streamer: "idle".into(),
        role: Role::Viewer,
        media: Media::Headers,
    })
    .unwrap();
    swarm.join().unwrap();
    let deadline = Instant::now() + harness::wait::SOON;
    while server.streamer("idle").unwrap().idle_since.is_some() {
        assert!(Instant::now() < deadline, "nobody watches");
        swarm.next(Instant::now() + Duration::from_millis(20)).unwrap();
    }
    ends_when_idle(&server);
    let begin = uptime_ms(&server, "idle");
    while uptime_ms(&server, "idle") < begin + IDLE_MS + 2000 {
        assert!(Instant::now() < deadline, "it is gone, or does not say how long it runs");
        swarm.next(Instant::now() + Duration::from_millis(20)).unwrap();
    }
    assert_eq!(server.streamer("idle").unwrap().idle_since, None);
    swarm.leave();
    drop(swarm);
    gone(&server, "idle");
}

#[test]
fn how_long_it_lives_can_be_changed_and_the_change_is_kept() {
    let mut server = Server::start();
    create(&server, "demo", &json!({ "expires_in_s": 3600, "idle_timeout_s": 3600 }));
    let patch = |server: &Server, body: Value| {
        server.send("PATCH", "/api/streamers/demo", "application/json", body.to_string().as_bytes())
    };
    let changed: Streamer =
        patch(&server, json!({ "expires_in_s": null, "on_idle": "delete" })).expect(200).json();
    assert_eq!(changed.expires_at, None);
    assert_eq!((changed.idle_timeout_s, changed.on_idle), (Some(3600), OnIdle::Delete));
    for (body, field) in [
        (json!({ "expires_in_s": 0 }), "expires_in_s"),
        (json!({ "idle_timeout_s": "soon" }), "idle_timeout_s"),
        (json!({ "on_idle": "explode" }), "on_idle"),
        (json!({ "expires": 1 }), "expires"),
    ] {
        let problem = patch(&server, body).expect(400).problem();
        assert_eq!(problem.field.as_deref(), Some(field), "{problem:?}");
    }
    let unknown = server.send("PATCH", "/api/streamers/none", "application/json", b"{}");
    assert_eq!(unknown.expect(404).problem().code, "streamer_not_found");
    server.kill();
    server.start_again();
    let kept = server.streamer("demo").unwrap();
    assert_eq!((kept.expires_at, kept.idle_timeout_s, kept.on_idle), (None, Some(3600), OnIdle::Delete));
    assert!(trail(&server, "demo").contains(&AuditAction::LifetimeChanged));
    patch(&server, json!({ "expires_in_s": 1 })).expect(200);
    gone(&server, "demo");
}

#[test]
fn the_configuration_says_how_long_those_live_of_which_nothing_is_said() {
    let server = Server::start_configured(
        "sessions: {idle_timeout_s: 4, on_idle: delete}\nstreams: {one: 'test:#width=64#height=36'}",
    );
    let said = create(&server, "said", &json!({ "idle_timeout_s": null }));
    assert_eq!(said.idle_timeout_s, None);
    let silent = create(&server, "silent", &json!({}));
    assert_eq!((silent.idle_timeout_s, silent.on_idle), (Some(4), OnIdle::Delete));
    gone(&server, "silent");
    assert!(server.streamer("said").is_some());
    assert!(
        server.streamer("cameras").is_some(),
        "configured streams are there as long as they are configured"
    );
}
