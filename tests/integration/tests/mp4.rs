//! Streams as live MP4, read by ffmpeg and by a reader that does what readers should not.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use common::api::PeerKind;
use harness::camera::probe;
use harness::{Server, eventually};
use serde_json::{Value, json};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);

fn url(server: &Server, name: &str) -> String {
    server.url(&format!("/api/streamers/demo/streams/{name}.mp4"))
}

/// Reads some seconds of a stream into a file, as they are.
#[track_caller]
fn record(server: &Server, name: &str, seconds: u32, file: &Path) {
    let output = Command::new("ffmpeg")
        .args(["-hide_banner", "-loglevel", "error", "-i", &url(server, name)])
        .args(["-t", &seconds.to_string(), "-c", "copy", "-y"])
        .arg(file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// A connection that has asked for a stream, and read the head of the response.
fn open(server: &Server, name: &str) -> (TcpStream, String) {
    let mut stream = TcpStream::connect(server.address()).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let request =
        format!("GET /api/streamers/demo/streams/{name}.mp4 HTTP/1.1\r\nHost: {}\r\n\r\n", server.address());
    stream.write_all(request.as_bytes()).unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    (stream, String::from_utf8(head).unwrap())
}

fn readers(server: &Server) -> usize {
    server.streamer("demo").unwrap().peers.iter().filter(|peer| peer.kind == PeerKind::Mp4).count()
}

#[test]
fn ffmpeg_reads_pictures_and_sound_that_are_whole() {
    let server = Server::start();
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 20 }));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("read.mp4");
    record(&server, "main", 3, &file);
    let probed = probe(&file);
    let streams = probed["streams"].as_array().unwrap();
    let codecs: Vec<_> = streams.iter().map(|stream| stream["codec_name"].as_str().unwrap()).collect();
    assert_eq!(codecs, ["h264", "opus"]);
    assert_eq!((&streams[0]["width"], &streams[0]["height"]), (&json!(320), &json!(180)));
    let frames = |n: usize| -> u32 { streams[n]["nb_read_frames"].as_str().unwrap().parse().unwrap() };
    // A busy machine makes fewer.
    assert!((10..=62).contains(&frames(0)), "{} pictures in 3 s at 20 a second", frames(0));
    let seconds = |n: usize| -> f64 { streams[n]["duration"].as_str().unwrap().parse().unwrap() };
    assert!((seconds(0) - seconds(1)).abs() < 2.5, "{} s of pictures, {} s of sound", seconds(0), seconds(1));
    eventually("the reader is gone", || (readers(&server) == 0).then_some(()));
}

#[test]
fn a_desktop_that_stands_still_and_is_silent_goes_on_and_survives_a_new_size() {
    let server = Server::start();
    let command = ["xterm", "-e", "sh", "-c", "exec cat"];
    server.create("demo", json!({ "type": "desktop", "width": 320, "height": 240, "command": command }));
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("read.mp4");
    std::thread::scope(|scope| {
        let reading = scope.spawn(|| record(&server, "main", 4, &file));
        eventually("somebody reads", || (readers(&server) == 1).then_some(()));
        server.post("/api/streamers/demo/resize", &json!({ "width": 400, "height": 300 })).expect(204);
        reading.join().unwrap();
    });
    let probed = probe(&file);
    let sound = &probed["streams"][1];
    assert_eq!(sound["codec_name"], "opus");
    let seconds: f64 = sound["duration"].as_str().unwrap().parse().unwrap();
    assert!((1.5..5.0).contains(&seconds), "{seconds} s of silence");
}

#[test]
fn a_source_that_nobody_watched_runs_for_its_reader() {
    let server = Server::start();
    let sources = json!({ "door": { "type": "ffmpeg", "input": "main", "height": 90 } });
    let source = json!({ "type": "test", "width": 320, "height": 180, "fps": 10 });
    server
        .post("/api/streamers?wait=running", &json!({ "id": "demo", "source": source, "sources": sources }))
        .expect(201);
    let (_stream, head) = open(&server, "door");
    assert!(head.starts_with("HTTP/1.1 200") && head.contains("video/mp4"), "{head}");
    let watched = || {
        let list: Value = server.get("/api/streamers/demo/sources").expect(200).json();
        let door = list["sources"].as_array()?.iter().find(|source| source["name"] == "door")?;
        (door["state"] == "running" && door["watchers"] == 1).then_some(())
    };
    eventually("it counts as a viewer", watched);
}

#[test]
fn what_cannot_be_read_is_refused_in_words() {
    let mut server = Server::start_configured("auth: {admin_secrets: [an-admin-secret-of-this-test]}");
    server.use_token("an-admin-secret-of-this-test");
    let source = json!({ "type": "test", "width": 320, "height": 180, "fps": 10 });
    let sources = json!({ "web": { "type": "ffmpeg", "input": "main", "video": "vp8" } });
    server
        .post("/api/streamers?wait=running", &json!({ "id": "demo", "source": source, "sources": sources }))
        .expect(201);
    let refused = |name: &str, status: u16| {
        let answer = server.get(&format!("/api/streamers/demo/streams/{name}.mp4")).expect(status);
        answer.problem().code
    };
    assert_eq!(refused("nothing", 404), "stream_not_found");
    assert_eq!(refused("main-90p", 409), "unsupported");
    assert_eq!(refused("web", 409), "source_offline", "it is VP8, which is known once it runs");
    let path = "/api/streamers/demo/streams/main.mp4";
    server
        .send_with("HEAD", path, &[("authorization", "Bearer an-admin-secret-of-this-test")], &[])
        .expect(200);
    // The one of the refused VP8 leaves the list when the streamer has said so.
    eventually("no reader is left", || (readers(&server) == 0).then_some(()));
    server.use_token("nobody-knows-this");
    server.get(path).expect(401);
}

#[test]
fn a_reader_is_listed_is_one_of_few_and_can_be_removed() {
    let server = Server::start();
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 10 }));
    let open: Vec<_> = (0..16).map(|_| open(&server, "main").0).collect();
    // Each is answered before it is listed.
    eventually("all are listed", || (readers(&server) == 16).then_some(()));
    let answer = server.get("/api/streamers/demo/streams/main.mp4").expect(429);
    assert_eq!(answer.problem().code, "too_many_peers");
    let peers = server.streamer("demo").unwrap().peers;
    server.delete(&format!("/api/streamers/demo/peers/{}", peers[0].id)).expect(204);
    eventually("it is gone", || (readers(&server) == 15).then_some(()));
    drop(open);
    eventually("all are gone", || (readers(&server) == 0).then_some(()));
}
