//! What peers say into their microphones, as a program of the desktop records it; and that a machine without a device for it has no
//! camera for programs.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use common::api::Problem;
use common::id::PeerId;
use common::signal::{ClientMessage, PublishKind, Role, ServerMessage};
use harness::Server;
use native_peer::camera::places;
use native_peer::sound::{PACKET, RATE, Whistle, share};
use native_peer::{Event, Media, Options, Swarm};
use serde_json::{Value, json};

const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Default)]
struct Seen {
    connected: bool,
    id: Option<PeerId>,
    offer: Option<String>,
    /// Slots whose programs hear microphones.
    microphones: usize,
    heard: Vec<(bool, Option<String>)>,
    errors: Vec<String>,
}

/// A desktop whose command records its default recording device, and peers.
struct Studio<'a> {
    server: &'a Server,
    file: PathBuf,
    _dir: tempfile::TempDir,
    swarm: Swarm,
    seen: Vec<Seen>,
    whistles: Vec<(usize, Whistle)>,
    next: Instant,
}

impl<'a> Studio<'a> {
    fn start(server: &'a Server, role: Role) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("recorded.raw");
        let record = format!(
            "exec parec --format=s16le --rate={RATE} --channels=1 --latency-msec=20 > {}",
            file.display()
        );
        let command = ["sh", "-c", &record];
        server
            .create("studio", json!({ "type": "desktop", "width": 320, "height": 240, "command": command }));
        let options =
            Options { server: server.address(), streamer: "studio".into(), role, media: Media::Units };
        Self {
            server,
            file,
            _dir: dir,
            swarm: Swarm::new(options).unwrap(),
            seen: Vec::new(),
            whistles: Vec::new(),
            next: Instant::now(),
        }
    }

    fn join(&mut self) -> usize {
        let peer = self.swarm.join().unwrap();
        self.seen.push(Seen::default());
        self.until("it is connected", |studio| studio.seen[peer].connected);
        peer
    }

    fn publish(&mut self, peer: usize, hz: f64) {
        let offer = self.seen[peer].offer.as_ref().unwrap();
        let place = places(offer).pop().unwrap();
        self.whistles.push((peer, Whistle::new(place, 1000 + peer as u32, hz).unwrap()));
        self.swarm.tell(peer, &ClientMessage::Publish { kind: PublishKind::Microphone, name: None }).unwrap();
    }

    fn wish(&mut self, peer: usize, enabled: bool) {
        self.swarm.tell(peer, &ClientMessage::SessionMicrophone { enabled }).unwrap();
    }

    #[track_caller]
    fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
            self.go_on();
        }
    }

    /// Sends what is due, and takes what comes until the next packet is.
    fn go_on(&mut self) {
        // Late ones follow at once: sound has its own time.
        while Instant::now() >= self.next {
            self.next += PACKET;
            for (peer, whistle) in &mut self.whistles {
                self.swarm.send_rtp(*peer, &[whistle.packet().unwrap()]);
            }
        }
        while let Some((peer, event)) = self.swarm.next(self.next).unwrap() {
            let seen = &mut self.seen[peer];
            match event {
                Event::Connected => seen.connected = true,
                Event::Signal(ServerMessage::Welcome { peer_id, .. }) => seen.id = Some(peer_id),
                Event::Signal(ServerMessage::Offer { sdp }) => seen.offer = Some(sdp),
                Event::Signal(ServerMessage::StreamsInfo { streams }) => {
                    seen.microphones = streams.iter().filter(|info| info.microphone).count();
                }
                Event::Signal(ServerMessage::SessionMicrophone { enabled, reason }) => {
                    seen.heard.push((enabled, reason));
                }
                Event::Signal(ServerMessage::Error { code, .. }) => seen.errors.push(code),
                _ => {}
            }
        }
    }

    /// The last half second that was recorded. No more is read: sound is due every 20 ms meanwhile.
    fn recorded(&self) -> Vec<i16> {
        let tail = || {
            let mut file = File::open(&self.file)?;
            let whole = file.metadata()?.len() / 2 * 2;
            file.seek(SeekFrom::Start(whole.saturating_sub(RATE as u64)))?;
            let mut bytes = Vec::new();
            file.take(RATE as u64).read_to_end(&mut bytes)?;
            Ok::<_, std::io::Error>(bytes)
        };
        // It is there once something was recorded.
        let bytes = tail().unwrap_or_default();
        bytes.as_chunks::<2>().0.iter().map(|sample| i16::from_le_bytes(*sample)).collect()
    }

    /// The share of the recorded sound that is whistled at `hz`, of 1.
    fn share(&self, hz: f64) -> f64 {
        share(&self.recorded(), hz)
    }

    fn is_silent(&self) -> bool {
        let samples = self.recorded();
        samples.len() == RATE / 2 && samples.iter().all(|sample| *sample == 0)
    }

    fn patch(&self, peer: usize, change: &Value) -> harness::Answer {
        let path = format!("/api/streamers/studio/peers/{}", self.seen[peer].id.unwrap());
        self.server.send("PATCH", &path, "application/json", change.to_string().as_bytes())
    }
}

#[test]
fn programs_hear_those_who_wish_it_all_at_once_and_nobody_else() {
    let server = Server::start();
    let mut studio = Studio::start(&server, Role::Controller);
    let [ann, ben] = [studio.join(), studio.join()];
    studio.until("pages are told that there is somebody to speak to", |studio| {
        studio.seen[ann].microphones == 1
    });
    studio.publish(ann, 1000.0);
    studio.until("silence is recorded: publishing alone is not speaking to programs", Studio::is_silent);

    studio.wish(ann, true);
    studio.until("Ann is told that she is heard", |studio| studio.seen[ann].heard == [(true, None)]);
    studio.until("Ann is recorded", |studio| studio.share(1000.0) > 0.9);

    // The wish comes first this time, by REST.
    studio.patch(ben, &json!({ "session_microphone": true })).expect(204);
    studio.until("Ben is told", |studio| studio.seen[ben].heard == [(true, None)]);
    studio.publish(ben, 2500.0);
    studio.until("both are recorded", |studio| {
        [1000.0, 2500.0].into_iter().all(|hz| (0.3..0.7).contains(&studio.share(hz)))
    });

    studio.wish(ann, false);
    studio.until("Ben alone is recorded", |studio| studio.share(2500.0) > 0.9);
    studio.patch(ben, &json!({ "role": "viewer" })).expect(204);
    studio.until("nobody is recorded", Studio::is_silent);
    studio
        .until("Ann is told that she is not", |studio| studio.seen[ann].heard.last() == Some(&(false, None)));
    studio.until("Ben is told why", |studio| matches!(studio.seen[ben].heard.last(), Some((false, Some(_)))));

    studio.wish(ann, true);
    studio.until("Ann is recorded again", |studio| studio.share(1000.0) > 0.9);
    studio.swarm.tell(ann, &ClientMessage::Unpublish { kind: PublishKind::Microphone }).unwrap();
    studio.until("what is not published is not heard", Studio::is_silent);
}

#[test]
fn who_may_not_steer_is_not_heard_and_is_told_why() {
    let server = Server::start();
    let mut studio = Studio::start(&server, Role::Viewer);
    let viewer = studio.join();
    studio.publish(viewer, 1000.0);
    studio.wish(viewer, true);
    studio.until("it is refused", |studio| studio.seen[viewer].errors == ["not_a_controller"]);
    let answer = studio.patch(viewer, &json!({ "session_microphone": true })).expect(409);
    assert_eq!(answer.json::<Problem>().code, "not_a_controller");
    studio.patch(viewer, &json!({ "role": "controller", "rights": [] })).expect(204);
    studio.wish(viewer, true);
    studio.until("the right is missing", |studio| studio.seen[viewer].errors.len() == 2);
    assert_eq!(studio.seen[viewer].errors[1], "may_not_publish");
    studio.until("it was never heard", Studio::is_silent);
}

#[test]
fn a_desktop_without_a_microphone_says_so() {
    let server = Server::start();
    let source = json!({ "type": "desktop", "width": 320, "height": 240, "microphone": false });
    server.create("studio", source);
    let options = Options {
        server: server.address(),
        streamer: "studio".into(),
        role: Role::Controller,
        media: Media::Units,
    };
    let mut swarm = Swarm::new(options).unwrap();
    let peer = swarm.join().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut asked = false;
    loop {
        let (_, event) = swarm.next(deadline).unwrap().expect("an answer");
        match event {
            Event::Connected if !asked => {
                asked = true;
                swarm.tell(peer, &ClientMessage::SessionMicrophone { enabled: true }).unwrap();
            }
            Event::Signal(ServerMessage::Error { code, .. }) => break assert_eq!(code, "no_microphone"),
            _ => {}
        }
    }
    let listed = server.streamer("studio").unwrap();
    assert!(!listed.peers[0].session_microphone && !listed.slots[0].microphone);
}

/// Says this to the streamer once connected, and returns the error that it is answered with: code, message.
fn refusal(server: &Server, streamer: &str, said: &ClientMessage) -> (PeerId, String, String) {
    let options = Options {
        server: server.address(),
        streamer: streamer.into(),
        role: Role::Controller,
        media: Media::Units,
    };
    let mut swarm = Swarm::new(options).unwrap();
    let peer = swarm.join().unwrap();
    let deadline = Instant::now() + PATIENCE;
    let mut id = None;
    loop {
        let (_, event) = swarm.next(deadline).unwrap().expect("an answer");
        match event {
            Event::Signal(ServerMessage::Welcome { peer_id, .. }) => id = Some(peer_id),
            Event::Connected => swarm.tell(peer, said).unwrap(),
            Event::Signal(ServerMessage::Error { code, message, .. }) => {
                // The same by REST, while the peer is there.
                let id = id.unwrap();
                let path = format!("/api/streamers/{streamer}/peers/{id}");
                let answer = server.send("PATCH", &path, "application/json", br#"{"session_camera": true}"#);
                assert_eq!(answer.expect(409).json::<Problem>().code, code);
                let listed = server.streamer(streamer).unwrap();
                assert!(!listed.peers[0].session_camera && !listed.slots[0].camera);
                return (id, code, message);
            }
            _ => {}
        }
    }
}

#[test]
fn a_desktop_without_a_camera_runs_and_says_what_is_missing() {
    let server = Server::start();
    let wish = ClientMessage::SessionCamera { enabled: true };
    server.create("plain", json!({ "type": "desktop", "width": 320, "height": 240 }));
    let (_, code, message) = refusal(&server, "plain", &wish);
    assert_eq!(code, "no_camera");
    assert!(message.contains("`camera` must name a device"), "{message}");

    let camera = "/dev/video254";
    assert!(!std::path::Path::new(camera).exists(), "this test needs a machine without {camera}");
    let source = json!({ "type": "desktop", "width": 320, "height": 240, "camera": camera });
    server.create("studio", source);
    let (_, code, message) = refusal(&server, "studio", &wish);
    assert_eq!(code, "no_camera");
    assert!(message.contains("modprobe v4l2loopback video_nr=254"), "{message}");

    // Nothing but a video device can be named.
    let spec = json!({ "id": "other", "source": { "type": "desktop", "camera": "/etc/passwd" } });
    let answer = server.send("POST", "/api/streamers", "application/json", spec.to_string().as_bytes());
    let problem: Problem = answer.expect(400).json();
    assert_eq!((problem.code.as_str(), problem.field.as_deref()), ("invalid_field", Some("source.camera")));
}
