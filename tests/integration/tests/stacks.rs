//! The same viewers by the native protocol on both stacks of the native peer: what an application gets that uses WebRTC as
//! libraries offer it, and what comes on the wire.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::Instant;

use common::api::PeerState;
use common::signal::{Capabilities, ClientMessage, Role, ServerMessage, StreamInfo};
use harness::wait::SOON;
use harness::{Display, Process, Server, eventually};
use native_peer::{Channel, Event, Media, Options, Stack, Swarm};
use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use serde_json::{Value, json};

const SIZE: (usize, usize) = (160, 96);

fn test_source() -> Value {
    json!({ "type": "test", "width": SIZE.0, "height": SIZE.1, "fps": 15 })
}

/// One peer of the streamer `demo`, and what it has seen.
struct Viewer {
    stack: Stack,
    swarm: Swarm,
    seen: Vec<Event>,
    decoder: Decoder,
}

impl Viewer {
    fn join(server: &Server, stack: Stack, role: Role) -> Self {
        Self::join_with(server, stack, role, Capabilities::default())
    }

    fn join_with(server: &Server, stack: Stack, role: Role, capabilities: Capabilities) -> Self {
        let server = server.address();
        let streamer = "demo".into();
        let media = Media::Units;
        let mut swarm = Swarm::on(stack, Options { server, streamer, role, media }).unwrap();
        swarm.set_capabilities(capabilities);
        swarm.join().unwrap();
        Self { stack, swarm, seen: Vec::new(), decoder: Decoder::new().unwrap() }
    }

    /// Watches until `enough` has come of all that it has seen since it joined.
    #[track_caller]
    fn until<T>(&mut self, what: &str, mut enough: impl FnMut(&[Event]) -> Option<T>) -> T {
        let deadline = Instant::now() + SOON;
        loop {
            if let Some(found) = enough(&self.seen) {
                return found;
            }
            let next = self.swarm.next(deadline).unwrap();
            let Some((_, event)) = next else {
                panic!("{}: waited {SOON:?} in vain until {what}", self.stack)
            };
            if let Event::Closed(reason) = &event {
                panic!("{}: closed while it waits until {what}: {reason}", self.stack);
            }
            self.seen.push(event);
        }
    }

    /// Watches until the next picture of a stream could be decoded; its size.
    #[track_caller]
    fn picture(&mut self, ssrc: u32) -> (usize, usize) {
        // What came before it watched is as good as any.
        let mut next = 0;
        loop {
            let unit = self.until(&format!("a picture of stream {ssrc} can be decoded"), |seen| {
                let (at, unit) = seen.iter().enumerate().skip(next).find_map(|(at, event)| match event {
                    Event::Unit(unit) if unit.ssrc == ssrc => Some((at, unit.clone())),
                    _ => None,
                })?;
                next = at + 1;
                Some(unit)
            });
            // What comes before a keyframe cannot be.
            if let Ok(Some(picture)) = self.decoder.decode(&unit.data) {
                return picture.dimensions();
            }
        }
    }

    /// The stream of the track in this section of the offer.
    #[track_caller]
    fn track(&mut self, mid: &str) -> u32 {
        self.until(&format!("the track of section {mid} has begun"), |seen| {
            seen.iter().find_map(|event| match event {
                Event::Track { ssrc, mid: of } if of == mid => Some(*ssrc),
                _ => None,
            })
        })
    }

    /// Forgets what it has seen, so that it waits for what comes from now on.
    fn forget(&mut self) {
        self.seen.clear();
    }

    /// Leaves, which the streamer notices.
    #[track_caller]
    fn leave(mut self, server: &Server) {
        self.swarm.leave();
        eventually("it has left", || peer_states(server).is_empty().then_some(()));
    }

    fn offers(&self) -> usize {
        self.seen.iter().filter(|event| matches!(event, Event::Signal(ServerMessage::Offer { .. }))).count()
    }
}

/// What the slots show, as it was told last.
fn streams(seen: &[Event]) -> Option<Vec<StreamInfo>> {
    seen.iter().rev().find_map(|event| match event {
        Event::Signal(ServerMessage::StreamsInfo { streams }) => Some(streams.clone()),
        _ => None,
    })
}

fn peer_states(server: &Server) -> Vec<PeerState> {
    server.streamer("demo").unwrap().peers.iter().map(|peer| peer.state).collect()
}

#[test]
fn the_first_picture_can_be_decoded_and_tracks_are_in_the_sections_that_are_told() {
    let server = Server::start();
    server.create("demo", test_source());
    for (slot, stack) in (1_u8..).zip(Stack::ALL) {
        let mut viewer = Viewer::join(&server, stack, Role::Viewer);
        let streams = viewer.until("the slots are told", streams);
        assert_eq!(streams[0].slot, 0, "{stack}: {streams:?}");
        let video = viewer.track(&streams[0].mid);
        viewer.track(streams[0].audio_mid.as_deref().unwrap());
        assert_eq!(viewer.picture(video), SIZE, "{stack}");

        // A slot that was negotiated in advance is filled: no offer, a track in its section.
        viewer.forget();
        let path = format!("/api/streamers/demo/slots/{slot}");
        server.put(&path, &json!({ "source": "main" })).expect(200);
        let second = viewer.track(&(2 * slot).to_string());
        assert_ne!(second, video, "{stack}");
        assert_eq!(viewer.picture(second), SIZE, "{stack}");
        assert_eq!(viewer.offers(), 0, "{stack}");
        server.delete(&path).expect(204);
        viewer.leave(&server);
    }
}

#[test]
fn without_slots_in_advance_a_new_offer_is_answered_and_the_tracks_of_the_first_go_on() {
    let server = Server::start();
    server.create("demo", test_source());
    let capabilities = Capabilities { preallocated_slots: false, ..Capabilities::default() };
    for stack in Stack::ALL {
        let mut viewer = Viewer::join_with(&server, stack, Role::Viewer, capabilities.clone());
        let told = viewer.until("the slots are told", streams);
        let first = viewer.track(&told[0].mid);
        assert_eq!((viewer.picture(first), viewer.offers()), (SIZE, 1), "{stack}");

        viewer.forget();
        server.put("/api/streamers/demo/slots/1", &json!({ "source": "main" })).expect(200);
        let told = viewer.until("both slots are told", |seen| streams(seen).filter(|told| told.len() == 2));
        let second = viewer.track(&told[1].mid);
        assert_ne!(second, first, "{stack}");
        assert_eq!((viewer.picture(second), viewer.offers()), (SIZE, 1), "{stack}");
        viewer.forget();
        viewer.decoder = Decoder::new().unwrap();
        viewer.swarm.tell(0, &ClientMessage::Keyframe { slot: told[0].slot }).unwrap();
        assert_eq!(viewer.picture(first), SIZE, "{stack}: of the first track");

        // And a third one, in which the second track ends.
        server.delete("/api/streamers/demo/slots/1").expect(204);
        viewer.until("one slot is told", |seen| streams(seen).filter(|told| told.len() == 1));
        viewer.forget();
        viewer.until("the first track goes on", |seen| {
            let of_first = |event: &&Event| matches!(event, Event::Rtp(packet) if packet.ssrc == first);
            (seen.iter().filter(of_first).count() > 5).then_some(())
        });
        viewer.leave(&server);
    }
}

/// A program of the session, by the end of its path.
fn program(server: &Server, name: &str) -> Process {
    eventually(&format!("{name} runs"), || {
        let runs = |process: &Process| {
            let program = process.command_line.split(' ').next().unwrap_or_default();
            program.rsplit('/').next() == Some(name)
        };
        server.session_processes().into_iter().find(runs)
    })
}

#[test]
fn keys_and_the_pointer_reach_the_session_by_their_channels_and_answers_come_back() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("typed");
    let server = Server::start();
    let command = format!("stty -echo; exec cat > {}", file.display());
    let argv = ["xterm", "-geometry", "160x50+0+0", "-e", "sh", "-c", &command];
    let desktop = json!({ "type": "desktop", "width": 640, "height": 480, "audio": false, "command": argv });
    server.create("demo", desktop);
    let display = Display::of(&program(&server, "cat"));
    let mut typed = String::new();
    for (stack, key, letter, at) in
        [(Stack::Rtc, "KeyA", "a\n", (101, 77)), (Stack::Webrtc, "KeyB", "b\n", (202, 155))]
    {
        let mut viewer = Viewer::join(&server, stack, Role::Controller);
        viewer.until("its channels are open", |seen| {
            let open = |channel| seen.contains(&Event::Open(channel));
            (open(Channel::Keys) && open(Channel::Motion) && open(Channel::General)).then_some(())
        });
        for (code, down) in [(key, true), (key, false), ("Enter", true), ("Enter", false)] {
            let message = json!({ "type": "key", "slot": 0, "code": code, "down": down });
            assert!(viewer.swarm.send_text(0, Channel::Keys, &message.to_string()), "{stack}");
        }
        typed.push_str(letter);
        eventually(&format!("what was typed on {stack} is there"), || {
            (std::fs::read_to_string(&file).ok()? == typed).then_some(())
        });
        let message = json!({ "type": "pointer", "slot": 0, "seq": 1, "at": { "x": at.0, "y": at.1 } });
        assert!(viewer.swarm.send_text(0, Channel::Motion, &message.to_string()), "{stack}");
        eventually(&format!("the pointer is where {stack} has put it"), || {
            (display.pointer() == at).then_some(())
        });
        assert!(viewer.swarm.send_text(0, Channel::General, r#"{"type":"ping","token":7}"#), "{stack}");
        viewer.until("the ping is answered", |seen| {
            let is_pong = |text: &str| text.contains("\"pong\"") && text.contains('7');
            let pong =
                |event: &Event| matches!(event, Event::Message(Channel::General, text) if is_pong(text));
            seen.iter().any(pong).then_some(())
        });
    }
}

#[test]
fn a_viewer_that_is_killed_is_noticed_and_another_one_gets_its_pictures() {
    let server = Server::start();
    server.create("demo", test_source());
    for stack in Stack::ALL {
        let mut viewer = Viewer::join(&server, stack, Role::Viewer);
        let video = viewer.track("0");
        viewer.picture(video);
        eventually("it is connected", || (peer_states(&server) == [PeerState::Connected]).then_some(()));
        // Its sockets close, and nothing says goodbye.
        drop(viewer);
        eventually(&format!("the viewer on {stack} is lost"), || {
            peer_states(&server).iter().all(|state| *state == PeerState::Lost).then_some(())
        });

        let mut next = Viewer::join(&server, stack, Role::Viewer);
        let video = next.track("0");
        assert_eq!(next.picture(video), SIZE, "{stack}");
        next.swarm.leave();
        eventually("it has left, and the other one may be lost still", || {
            peer_states(&server).iter().all(|state| *state == PeerState::Lost).then_some(())
        });
        // So that the next stack's viewers are alone.
        server.delete("/api/streamers/demo").expect(204);
        server.create("demo", test_source());
    }
}

#[test]
fn a_viewer_that_loses_its_websocket_goes_on_with_the_same_connection() {
    let server = Server::start();
    server.create("demo", test_source());
    for stack in Stack::ALL {
        let mut viewer = Viewer::join(&server, stack, Role::Viewer);
        let video = viewer.track("0");
        viewer.picture(video);
        viewer.forget();
        viewer.swarm.reconnect(0).unwrap();
        let resumed = viewer.until("it is welcome", |seen| {
            seen.iter().find_map(|event| match event {
                Event::Signal(ServerMessage::Welcome { resumed, .. }) => Some(*resumed),
                _ => None,
            })
        });
        assert!(resumed, "{stack}");
        viewer.forget();
        viewer.swarm.tell(0, &ClientMessage::Keyframe { slot: 0 }).unwrap();
        assert_eq!(viewer.picture(video), SIZE, "{stack}");
        assert_eq!((viewer.offers(), peer_states(&server).len()), (0, 1), "{stack}");
        viewer.leave(&server);
    }
}

#[test]
fn ice_is_restarted_on_request_and_the_same_connection_goes_on() {
    let server = Server::start();
    server.create("demo", test_source());
    for stack in Stack::ALL {
        let mut viewer = Viewer::join(&server, stack, Role::Viewer);
        let video = viewer.track("0");
        viewer.picture(video);
        let offer = |seen: &[Event]| {
            seen.iter().find_map(|event| match event {
                Event::Signal(ServerMessage::Offer { sdp }) => Some(sdp.clone()),
                _ => None,
            })
        };
        let first = viewer.until("the first offer is there", offer);
        let peer = server.streamer("demo").unwrap().peers[0].id;
        viewer.forget();
        viewer.swarm.tell(0, &ClientMessage::RestartIce).unwrap();
        let second = viewer.until("another offer is there", offer);
        let line = |sdp: &str, name: &str| sdp.lines().find(|line| line.starts_with(name)).map(str::to_owned);
        for name in ["a=ice-ufrag:", "a=ice-pwd:"] {
            assert_ne!(line(&first, name).unwrap(), line(&second, name).unwrap(), "{stack}");
        }
        let name = "a=fingerprint:";
        assert_eq!(line(&first, name), line(&second, name), "{stack}");
        viewer.forget();
        viewer.decoder = Decoder::new().unwrap();
        assert_eq!(viewer.picture(video), SIZE, "{stack}");
        eventually("its list says so", || (peer_states(&server) == [PeerState::Connected]).then_some(()));
        assert_eq!(server.streamer("demo").unwrap().peers[0].id, peer, "{stack}");
        viewer.leave(&server);
    }
}
