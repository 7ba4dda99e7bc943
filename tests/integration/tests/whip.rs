//! Encoders of others that publish by WHIP, watched by a WHEP player: ffmpeg (8 or newer) and aiortc. Where one is not there, its test
//! says so and passes.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use harness::nats::{KEY, together};
use harness::{Nats, Server, eventually};
use native_peer::{Event, Media, Player, Stack};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use serde_json::{Value, json};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const ADMIN: &str = "an-admin-secret-of-this-test";
const AIORTC: &str = include_str!("../whip_publisher.py");

/// A publisher of the test's, which ends with it.
struct Publisher(Child);

impl Publisher {
    fn start(command: &mut Command) -> Self {
        Self(command.stdin(Stdio::null()).stdout(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

struct Room {
    server: Server,
    token: String,
}

impl Room {
    fn start() -> Self {
        let mut server = Server::start_configured("auth: {admin_secrets: [an-admin-secret-of-this-test]}");
        server.use_token(ADMIN);
        Self::at(server, &json!({"id": "studio", "room": {"name": "Studio"}}))
    }

    /// It is asked for at `server`, which may be another node than the one that it runs at.
    fn at(server: Server, body: &Value) -> Self {
        server.post("/api/streamers?wait=running", body).expect(201);
        let wish = json!({"role": "viewer", "rights": ["publish"], "display_name": "Cam 1"});
        let token: Value = server.post("/api/streamers/studio/tokens", &wish).expect(201).json();
        Self { server, token: token["token"].as_str().unwrap().to_owned() }
    }

    fn url(&self) -> String {
        self.server.url("/api/streamers/studio/whip")
    }

    /// The sizes of a picture that a WHEP player decodes.
    #[track_caller]
    fn watched(&self) -> (usize, usize) {
        eventually("what is published has a slot", || {
            let streamer = self.server.streamer("studio")?;
            streamer.slots.iter().any(|slot| slot.source == "cam-1" && slot.slot == 0).then_some(())
        });
        let mut player = Player::new(Stack::ALL[0], Media::Units).unwrap();
        let offer = player.offer().as_bytes().to_vec();
        let path = "/api/streamers/studio/whep";
        let created = self.server.send("POST", path, "application/sdp", &offer).expect(201);
        player.answered(std::str::from_utf8(&created.body).unwrap()).unwrap();
        let deadline = Instant::now() + PATIENCE;
        let mut decoder = Decoder::new().unwrap();
        loop {
            let event = player.next(deadline).expect("a picture that can be decoded");
            let Event::Unit(unit) = event else { continue };
            if let Ok(Some(picture)) = decoder.decode(&unit.data) {
                return picture.dimensions();
            }
        }
    }

    /// The publisher, as REST shows it.
    #[track_caller]
    fn publisher(&self) -> common::api::Peer {
        let whip = |peer: &common::api::Peer| peer.kind == common::api::PeerKind::Whip;
        eventually("the publisher is there", || self.server.streamer("studio")?.peers.into_iter().find(whip))
    }

    /// Waits until nothing is published any more.
    #[track_caller]
    fn is_free(&self) {
        eventually("its slot is free", || {
            let streamer = self.server.streamer("studio")?;
            streamer.slots.is_empty().then_some(())
        });
    }
}

/// A program that the environment names, if it does.
fn named(variable: &str) -> Option<String> {
    let found = std::env::var(variable).ok().filter(|path| Path::new(path).is_file());
    if found.is_none() {
        println!("SKIPPED: {variable} names no program (scripts/whip-clients does)");
    }
    found
}

#[test]
fn ffmpeg_publishes_and_a_player_watches() {
    let Some(ffmpeg) = named("ORIEL_FFMPEG_WHIP") else { return };
    let room = Room::start();
    let publisher = Publisher::start(
        Command::new(ffmpeg)
            .args(["-hide_banner", "-loglevel", "warning", "-re"])
            .args(["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=15"])
            .args(["-f", "lavfi", "-i", "sine=frequency=440:sample_rate=48000"])
            .args([
                "-c:v",
                "libx264",
                "-profile:v",
                "baseline",
                "-preset",
                "ultrafast",
                "-tune",
                "zerolatency",
            ])
            .args(["-pix_fmt", "yuv420p", "-g", "15", "-bf", "0", "-c:a", "libopus", "-ac", "2"])
            .args(["-f", "whip", "-authorization", &room.token, &room.url()]),
    );
    assert_eq!(room.watched(), (320, 180));
    let peer = room.publisher();
    assert_eq!(peer.display_name.as_deref(), Some("Cam 1"));
    drop(publisher);
    // It could not say goodbye: whoever may removes it.
    room.server.delete(&format!("/api/streamers/studio/peers/{}", peer.id)).expect(204);
    room.is_free();
}

#[test]
fn aiortc_publishes_tells_its_candidates_later_and_leaves() {
    let Some(python) = named("ORIEL_AIORTC_PYTHON") else { return };
    publishes_and_leaves(&Room::start(), &python);
}

#[test]
fn aiortc_publishes_at_another_node_than_that_of_the_room() {
    let Some(python) = named("ORIEL_AIORTC_PYTHON") else { return };
    let nats = Nats::start();
    let b = nats.node(KEY, "b", &[]);
    let a = nats.node(KEY, "a", &[]);
    together(&[&a, &b]);
    let placed = json!({"id": "studio", "room": {"name": "Studio"}, "placement": {"node": "b"}});
    let room = Room::at(a, &placed);
    assert_eq!(room.server.streamer("studio").unwrap().node.as_deref(), Some("b"));
    publishes_and_leaves(&room, &python);
}

/// All that RFC 9725 has for a publisher, by aiortc.
#[track_caller]
fn publishes_and_leaves(room: &Room, python: &str) {
    let mut publisher =
        Publisher::start(Command::new(python).arg("-c").arg(AIORTC).args([&room.url(), &room.token]));
    assert_eq!(room.watched(), (640, 480));
    let peer = room.publisher();
    // It says all that RFC 9725 has for it, checks the responses, and deletes itself; its exit says how that went.
    let status = eventually("the publisher has ended", || publisher.0.try_wait().unwrap());
    assert!(status.success(), "{status}: see its output above");
    room.is_free();
    eventually("it is listed no more", || {
        let peers = room.server.streamer("studio")?.peers;
        (!peers.iter().any(|known| known.id == peer.id)).then_some(())
    });
}
