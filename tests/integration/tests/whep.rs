//! WHEP players from the outside, on both stacks of the native peer: pictures, candidates that come later, restarts of ICE, and
//! their end.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use harness::server::Answer;
use harness::{Server, eventually};
use native_peer::{Event, Media, Player, Stack};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use serde_json::json;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
const FRAGMENT: &str = "application/trickle-ice-sdpfrag";

struct Watching {
    server: Server,
    player: Player,
    location: String,
    etag: String,
}

impl Watching {
    fn start(stack: Stack) -> Self {
        let server = Server::start();
        server.create("demo", json!({"type": "test", "width": 160, "height": 96, "fps": 30}));
        let mut player = Player::new(stack, Media::Units).unwrap();
        let offer = player.offer().as_bytes().to_vec();
        let created = server.send("POST", "/api/streamers/demo/whep", "application/sdp", &offer).expect(201);
        player.answered(std::str::from_utf8(&created.body).unwrap()).unwrap();
        Self { server, player, location: created.location.unwrap(), etag: created.etag.unwrap() }
    }

    fn patch(&self, if_match: Option<&str>, body: &str) -> Answer {
        let if_match = if_match.map(|tag| ("if-match", tag));
        let headers: Vec<_> = [("content-type", FRAGMENT)].into_iter().chain(if_match).collect();
        self.server.send_with("PATCH", &self.location, &headers, body.as_bytes())
    }

    #[track_caller]
    fn receives(&mut self) {
        assert!(self.player.receives(20, Instant::now() + PATIENCE), "no pictures");
    }

    /// The size of the first picture that can be decoded.
    #[track_caller]
    fn picture(&mut self) -> (usize, usize) {
        let deadline = Instant::now() + PATIENCE;
        let mut decoder = Decoder::new().unwrap();
        loop {
            let event = self.player.next(deadline).expect("a picture that can be decoded");
            let Event::Unit(unit) = event else { continue };
            if let Ok(Some(picture)) = decoder.decode(&unit.data) {
                return picture.dimensions();
            }
        }
    }
}

#[test]
fn a_player_gets_pictures_that_can_be_decoded_until_it_is_deleted() {
    for stack in Stack::ALL {
        let mut watching = Watching::start(stack);
        let etag = watching.etag.clone();
        watching.patch(Some(&etag), &watching.player.fragment()).expect(204);
        assert_eq!(watching.picture(), (160, 96), "{stack}");
        let peers = || watching.server.streamer("demo").unwrap().peers.len();
        assert_eq!(peers(), 1, "{stack}");

        watching.server.delete(&watching.location).expect(200);
        eventually(&format!("the peer on {stack} is gone"), || (peers() == 0).then_some(()));
        // What was on its way may still come, and then nothing: there were fifteen pictures in as much time, and their sound.
        let deadline = Instant::now() + PATIENCE;
        while watching.player.receives(1, Instant::now() + Duration::from_millis(500)) {
            assert!(Instant::now() < deadline, "{stack} is still sent media");
        }
        watching.server.delete(&watching.location).expect(404);
    }
}

#[test]
fn candidates_come_later_and_a_restart_moves_the_pictures_to_another_socket() {
    for stack in Stack::ALL {
        candidates_and_a_restart(stack);
    }
}

fn candidates_and_a_restart(stack: Stack) {
    let mut watching = Watching::start(stack);
    let etag = watching.etag.clone();
    watching.patch(Some(&etag), &watching.player.fragment()).expect(204);
    watching.receives();

    watching.player.restart().unwrap();
    let restarted = watching.patch(Some("*"), &watching.player.fragment()).expect(200);
    assert_eq!(restarted.content_type, FRAGMENT);
    let fragment = String::from_utf8(restarted.body).unwrap();
    let renewed = restarted.etag.unwrap();
    assert_ne!(renewed, etag);
    assert!(fragment.contains(&format!("a=ice-ufrag:{}", renewed.trim_matches('"'))), "{fragment}");
    assert!(fragment.contains("a=candidate:"), "{fragment}");
    watching.player.restarted(&fragment).unwrap();
    watching.receives();

    watching.patch(Some(&etag), &watching.player.fragment()).expect(412);
    watching.patch(Some(&renewed), &watching.player.fragment()).expect(204);
    watching.server.delete(&watching.location).expect(200);
    watching.patch(Some("*"), &watching.player.fragment()).expect(404);
}

#[test]
fn what_is_wrong_with_a_patch_is_told_and_changes_nothing() {
    let mut watching = Watching::start(Stack::Rtc);
    let etag = watching.etag.clone();
    let fragment = watching.player.fragment();
    assert_eq!(watching.patch(None, &fragment).expect(428).problem().code, "precondition_required");
    let other = watching.patch(Some("\"another\""), &fragment).expect(412);
    assert_eq!(other.problem().code, "ice_session_mismatch");
    let weak = format!("W/{etag}");
    watching.patch(Some(weak.as_str()), &fragment).expect(412);
    for body in ["", "nonsense", "a=ice-ufrag:abcd\r\n", &"x".repeat(40_000)] {
        let status = watching.patch(Some(&etag), body).status;
        assert!([400, 413].contains(&status), "{status}");
    }
    let sdp = watching.server.send_with(
        "PATCH",
        &watching.location,
        &[("content-type", "application/sdp"), ("if-match", &etag)],
        fragment.as_bytes(),
    );
    sdp.expect(415);
    watching.patch(Some(&etag), &fragment).expect(204);
    watching.receives();
}
