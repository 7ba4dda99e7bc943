//! Cameras, as REST shows them.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::time::Duration;

use common::signal::StreamerState;
use harness::camera::{Clip, RtspServer, answering, answering_in_lines, serve};
use harness::{Server, eventually, eventually_within};
use serde_json::{Value, json};

#[test]
fn what_reads_a_camera_is_told_and_why() {
    let dir = tempfile::tempdir().unwrap();
    let film = serve(&Clip::default().make(dir.path(), "film.mp4"), None);
    let camera = RtspServer::start(&[("film", film)]);
    let moved = answering(&format!("302 Moved Temporarily\r\nLocation: {}", camera.url("film")));
    let broken = answering("500 Out of film");
    let bare = answering_in_lines("500 Out of film", "\n");
    let server = Server::start();
    let rtsp = |url: String| json!({"type": "rtsp", "url": url, "always_on": true});
    let sources = json!({
        "usual": rtsp(camera.url("film")),
        "moved": rtsp(format!("rtsp://{moved}/x")),
        "broken": rtsp(format!("rtsp://{broken}/x")),
        "bare": rtsp(format!("rtsp://{bare}/x")),
    });
    server.post("/api/streamers", &json!({"id": "cameras", "sources": sources})).expect(201);
    let source = |name: &str, state: &str| {
        eventually(&format!("{name} to be {state}"), || {
            let all: Value = server.get("/api/streamers/cameras/sources").expect(200).json();
            let all = all["sources"].as_array().unwrap().clone();
            all.into_iter().find(|source| source["name"] == name && source["state"] == state)
        })
    };
    assert_eq!(source("usual", "running")["reader"], json!({"program": "streamer"}));
    let moved = source("moved", "running");
    assert_eq!((&moved["reader"]["program"], &moved["size"]), (&json!("streamer"), &json!([320, 180])));
    let broken = source("broken", "offline");
    assert_eq!(broken["reader"], json!({"program": "streamer"}));
    let reason = broken["reason"].as_str().unwrap();
    assert!(reason.contains("500") && reason.contains("ffmpeg: "), "{reason}");
    let bare = source("bare", "offline");
    assert!(bare["reason"].as_str().unwrap().contains("ffmpeg: "), "{bare}");
}

#[test]
fn a_session_whose_camera_is_absent_runs_and_shows_it_once_it_is_there() {
    let dir = tempfile::tempdir().unwrap();
    let film = serve(&Clip::default().make(dir.path(), "film.mp4"), None);
    let camera = RtspServer::start(&[("film", film.clone())]);
    let port = camera.port();
    let url = camera.url("film");
    drop(camera);
    let server = Server::start();
    let silent = json!({"type": "exec", "command": "sleep 600", "always_on": true});
    server.post("/api/streamers", &json!({"id": "silent", "source": silent})).expect(201);

    let door = server.create("door", json!({"type": "rtsp", "url": url, "always_on": true}));
    assert_eq!(door.state, StreamerState::Running);
    let reason = door.reason.unwrap();
    assert!(reason.contains("offline") && reason.contains("refused"), "{reason}");
    let sources: Value = server.get("/api/streamers/door/sources").expect(200).json();
    assert_eq!(sources["sources"][0]["state"], "offline", "{sources}");
    let silent = server.state_until("silent", StreamerState::Running);
    assert!(silent.reason.unwrap().contains("nothing was received"));

    let _camera = RtspServer::start_at(port, None, &[("film", film)]);
    // It is tried again after pauses of up to 30 s.
    let soon = Duration::from_secs(60);
    let door = eventually_within(soon, "it shows the camera", || {
        server.streamer("door").filter(|d| d.reason.is_none())
    });
    assert_eq!(door.state, StreamerState::Running);
    server.stats_until("door", "pictures come", |stats| stats.video.captured > 0);
    server.get("/api/streamers/door/snapshot").expect(200);
}
