//! Streams by RTSP: read by ffmpeg, by GStreamer, and by players that do what players should not.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use common::api::PeerKind;
use harness::camera::probe;
use harness::rtsp::RtspPlayer;
use harness::{Server, eventually, eventually_within};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-secret-of-this-test";
/// Reads some pictures and some sound of the stream at the URL, and prints how many, decoded, and how far apart they begin.
const GSTREAMER: &str = include_str!("../rtsp_player.py");

/// A server that serves by RTSP, and where.
fn start(more: &str) -> (Server, SocketAddr) {
    let server = Server::start_configured(&format!("rtsp: {{listen: \"127.0.0.1:0\"}}\n{more}"));
    let address = server.rtsp_address();
    (server, address)
}

fn readers(server: &Server) -> usize {
    server.streamer("demo").unwrap().peers.iter().filter(|peer| peer.kind == PeerKind::Rtsp).count()
}

/// Waits until so many are listed: a reader is answered before it is.
#[track_caller]
fn until_readers(server: &Server, count: usize) {
    eventually(&format!("{count} readers are listed"), || (readers(server) == count).then_some(()));
}

#[test]
fn ffmpeg_and_gstreamer_read_pictures_and_sound_with_a_token() {
    let (mut server, address) = start("auth: {admin_secrets: [an-admin-secret-of-this-test]}");
    server.use_token(ADMIN);
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 20 }));
    let issued: Value =
        server.post("/api/streamers/demo/tokens", &json!({ "role": "viewer" })).expect(201).json();
    let token = issued["token"].as_str().unwrap();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("read.mkv");
    // It asks for UDP first, and takes what there is.
    let recorded = Command::new("ffmpeg")
        .args([
            "-hide_banner",
            "-loglevel",
            "error",
            "-i",
            &format!("rtsp://{address}/demo/main?token={token}"),
        ])
        .args(["-t", "3", "-c", "copy", "-y"])
        .arg(&file)
        .output()
        .unwrap();
    assert!(recorded.status.success(), "{}", String::from_utf8_lossy(&recorded.stderr));
    let probed = probe(&file);
    let streams = probed["streams"].as_array().unwrap();
    let codecs: Vec<_> = streams.iter().map(|stream| stream["codec_name"].as_str().unwrap()).collect();
    assert_eq!(codecs, ["h264", "opus"]);
    assert_eq!((&streams[0]["width"], &streams[0]["height"]), (&json!(320), &json!(180)));
    let number = |n: usize, what: &str| -> f64 { streams[n][what].as_str().unwrap().parse().unwrap() };
    let frames = number(0, "nb_read_frames");
    // A busy machine makes fewer.
    assert!((10.0..=65.0).contains(&frames), "{frames} pictures in 3 s at 20 a second");
    let apart = (number(0, "start_time") - number(1, "start_time")).abs();
    assert!(apart < 0.6, "{apart} s between the first picture and the first sound");

    let desktop = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["xterm", "-e", "top", "-d", "0.2"] });
    server.create("desk", desktop);
    let url = format!("rtsp://user:{ADMIN}@{address}/desk");
    let played = Command::new("/usr/bin/python3").args(["-c", GSTREAMER, &url, "3", "50"]).output().unwrap();
    let said = String::from_utf8(played.stdout).unwrap();
    assert!(played.status.success(), "{said}{}", String::from_utf8_lossy(&played.stderr));
    let said: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((&said["width"], &said["height"]), (&json!(320), &json!(240)), "{said}");
    // Reports put them on one clock from the first packet on.
    assert!(said["apart_s"].as_f64().unwrap().abs() < 0.6, "{said}");
    eventually("the readers are gone", || (readers(&server) == 0).then_some(()));

    let mut player = RtspPlayer::connect(address);
    let url = format!("rtsp://{address}/demo");
    let refused = player.ask("DESCRIBE", &url, "").expect(401);
    assert!(refused.header("WWW-Authenticate").unwrap().starts_with("Basic "), "{refused:?}");
    player.ask("DESCRIBE", &url, "Authorization: Bearer nobody-knows-this\r\n").expect(401);
    player.ask("DESCRIBE", &format!("rtsp://{address}/desk?token={token}"), "").expect(403);
    player.ask("DESCRIBE", &url, "").expect(401);
    player.play(&format!("{url}?token={token}"));
    let id = issued["token_id"].as_str().unwrap();
    server.delete(&format!("/api/streamers/demo/tokens/{id}")).expect(204);
    while player.packet().is_some() {}
    eventually("a revoked token ends its reader", || (readers(&server) == 0).then_some(()));
    let log = server.log();
    assert!(!log.contains(token) && !log.contains(ADMIN), "{log}");
}

#[test]
fn a_player_sets_up_plays_pauses_and_ends() {
    let (server, address) = start("");
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 20 }));
    let url = format!("rtsp://{address}/demo/main");
    let mut player = RtspPlayer::connect(address);
    let options = player.ask("OPTIONS", "*", "").expect(200);
    assert!(options.header("Public").unwrap().contains("DESCRIBE"));
    // Without a description, and in channels of its own choice.
    let set_up = |track| {
        (
            format!("{url}/trackID={track}"),
            format!("Transport: RTP/AVP/TCP;interleaved={}-{}\r\n", 10 * track, 10 * track + 5),
        )
    };
    let (video, transport) = set_up(0);
    let session = player.ask("SETUP", &video, &transport).expect(200).session();
    until_readers(&server, 1);
    let (audio, transport) = set_up(1);
    player.ask("SETUP", &audio, &format!("{transport}Session: another\r\n")).expect(454);
    player.ask("SETUP", &audio, &format!("{transport}{session}")).expect(200);
    player.ask("PLAY", &url, "").expect(454);
    let mut info = player.ask("PLAY", &url, &session).expect(200).header("RTP-Info").unwrap().to_owned();
    for round in 0..2 {
        let mut first = None;
        let mut seen = Vec::new();
        while [0, 5, 10, 15].iter().any(|channel| !seen.contains(channel)) {
            let (channel, packet) = player.packet().unwrap();
            if channel == 0 {
                first.get_or_insert(packet);
            }
            seen.push(channel);
        }
        assert_eq!(seen[..2], [5, 15], "reports come first");
        // A STAP-A with the parameter sets: it begins with a keyframe, and with the packet that was announced.
        let first = first.unwrap();
        assert_eq!(first[12] & 0x1f, 24, "{first:?}");
        let sequence = u16::from_be_bytes([first[2], first[3]]);
        assert!(info.contains(&format!("trackID=0;seq={sequence};")), "{info} {sequence}");
        if round == 0 {
            player.ask("PAUSE", &url, &session).expect(200);
            eventually("nobody reads while it pauses", || (readers(&server) == 0).then_some(()));
            player.ask("GET_PARAMETER", &url, &session).expect(200);
            // What had been sent before.
            let again = player.ask("PLAY", &url, &session).expect(200);
            info = again.header("RTP-Info").unwrap().to_owned();
            player.forget();
        }
    }
    player.ask("TEARDOWN", &url, &session).expect(200);
    player.ask("GET_PARAMETER", &url, &session).expect(454);
    eventually("it reads no more", || (readers(&server) == 0).then_some(()));
}

#[test]
fn what_players_should_not_do_is_refused_and_harms_nobody() {
    let (server, address) = start("");
    server.create("demo", json!({ "type": "test", "width": 320, "height": 180, "fps": 20 }));
    let url = format!("rtsp://{address}/demo/main");
    let mut watching = RtspPlayer::connect(address);
    watching.play(&url);

    let mut player = RtspPlayer::connect(address);
    for (method, path, headers, status) in [
        ("DESCRIBE", "/nobody", "", 404),
        ("DESCRIBE", "/demo/nothing", "", 404),
        ("DESCRIBE", "/demo/main/more", "", 404),
        ("DESCRIBE", "/demo/main", "Accept: text/html\r\n", 406),
        ("SETUP", "/demo/main/trackID=0", "Transport: RTP/AVP;unicast;client_port=5000-5001\r\n", 461),
        ("SETUP", "/demo/main/trackID=0", "", 400),
        ("PLAY", "/demo/main", "Session: guessed\r\n", 454),
        ("PAUSE", "/demo/main", "", 454),
        ("TEARDOWN", "/demo/main", "Session: guessed\r\n", 454),
        ("RECORD", "/demo/main", "", 501),
        ("PLAY", "/demo/main", "Require: eternity\r\n", 551),
    ] {
        player.ask(method, &format!("rtsp://{address}{path}"), headers).expect(status);
    }
    player.send(b"ANNOUNCE rtsp://h/demo RTSP/1.0\r\nCSeq: 77\r\nContent-Length: 3\r\n\r\nv=0");
    assert_eq!(player.response().unwrap().expect(501).header("CSeq"), Some("77"));
    // Several at once are answered in their order, whatever lies between them.
    let many = (0..50)
        .map(|n| format!("OPTIONS * RTSP/1.0\r\nCSeq: {n}\r\n\r\n$\x01\0\x04abcd"))
        .collect::<String>();
    player.send(many.as_bytes());
    for n in 0..50 {
        assert_eq!(player.response().unwrap().expect(200).header("CSeq"), Some(n.to_string().as_str()));
    }
    drop(player);
    // What is no RTSP, or too long, is told so, and ends the connection.
    for bytes in [
        b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n".to_vec(),
        [b"OPTIONS * RTSP/1.0\r\nX: ".as_slice(), &[b'a'; 20_000]].concat(),
        [b"DESCRIBE rtsp://h/demo RTSP/1.0\r\nContent-Length: 4000000000\r\n\r\n".as_slice(), &[0; 20_000]]
            .concat(),
        b"\x16\x03\x01\x02\0\x01\0\r\n\r\n".to_vec(),
    ] {
        let mut player = RtspPlayer::connect(address);
        player.send(&bytes);
        player.response().unwrap().expect(400);
        assert!(player.response().is_none(), "it is closed");
    }
    // Many that ask and leave at once.
    for _ in 0..20 {
        RtspPlayer::connect(address).send(format!("DESCRIBE {url} RTSP/1.0\r\nCSeq: 1\r\n\r\n").as_bytes());
    }
    for _ in 0..200 {
        watching.packet().expect("the other one still watches");
    }
    eventually("only that one is left", || (readers(&server) == 1).then_some(()));
}

#[test]
fn who_does_not_read_is_closed() {
    let (server, address) = start("");
    server.create("demo", json!({ "type": "test", "width": 1280, "height": 720, "fps": 30 }));
    let url = format!("rtsp://{address}/demo/main");
    let mut stuck = RtspPlayer::connect(address);
    stuck.play(&url);
    let mut watching = RtspPlayer::connect(address);
    watching.play(&url);
    until_readers(&server, 2);
    eventually_within(Duration::from_secs(120), "the one that does not read is gone", || {
        for _ in 0..20 {
            watching.packet().expect("the other one still watches");
        }
        (readers(&server) == 1).then_some(())
    });
}
