//! Sound of many as one stream: who takes a mix hears everybody else in one track, and nobody's tracks are affected.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeMap;
use std::net::TcpStream;
use std::time::{Duration, Instant};

use common::signal::{ClientMessage, PublishKind, Role, ServerMessage};
use harness::Server;
use native_peer::camera::places;
use native_peer::sound::{Ears, PACKET, Whistle};
use native_peer::{Event, Media, Options, Player, Stack, Swarm};
use serde_json::json;
use tungstenite::client::IntoClientRequest as _;

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// What the test source sounds like, in the place of a desktop.
const MAIN: f64 = 440.0;
/// What people whistle.
const ANN: f64 = 700.0;
const BEN: f64 = 1100.0;
const CLEO: f64 = 1900.0;
const PITCHES: [f64; 4] = [MAIN, ANN, BEN, CLEO];

/// What one peer has seen and heard.
#[derive(Default)]
struct Seen {
    connected: bool,
    offer: Option<String>,
    published: usize,
    unpublished: usize,
    /// Sections, by stream.
    mids: BTreeMap<u32, String>,
    ears: Ears,
    errors: Vec<(String, Option<String>)>,
}

impl Seen {
    fn take(&mut self, event: Event) {
        match event {
            Event::Connected => self.connected = true,
            Event::Track { ssrc, mid } => {
                self.mids.insert(ssrc, mid);
            }
            Event::Sound(packet) => self.ears.hear(&packet).unwrap(),
            Event::Signal(ServerMessage::Offer { sdp }) => self.offer = Some(sdp),
            Event::Signal(ServerMessage::Published { .. }) => self.published += 1,
            Event::Signal(ServerMessage::Unpublished { .. }) => self.unpublished += 1,
            Event::Signal(ServerMessage::Error { code, field, .. }) => self.errors.push((code, field)),
            _ => {}
        }
    }

    /// The pitches that are heard, by section.
    fn hears(&self) -> Vec<(&str, Vec<f64>)> {
        let streams = self.ears.streams().into_iter();
        let mid = |stream| self.mids.get(&stream).map(String::as_str).unwrap_or_default();
        let mut heard: Vec<_> =
            streams.map(|stream| (mid(stream), self.ears.pitches(stream, &PITCHES))).collect();
        heard.sort_by_key(|(mid, _)| *mid);
        heard
    }

    /// All that is heard is these pitches, in one stream.
    fn hears_in_one(&self, pitches: &[f64]) -> bool {
        matches!(&self.hears()[..], [(_, heard)] if heard == pitches)
    }
}

/// A streamer, peers of it, and a player.
struct Hall<'a> {
    server: &'a Server,
    swarm: Swarm,
    seen: Vec<Seen>,
    whistles: BTreeMap<usize, Whistle>,
    player: Option<(Player, Seen)>,
    next: Instant,
}

impl<'a> Hall<'a> {
    /// With a main source that sounds, or not.
    fn start(server: &'a Server, audio: bool) -> Self {
        let source = json!({ "type": "test", "width": 64, "height": 64, "fps": 1, "audio": audio });
        server.post("/api/streamers", &json!({ "id": "hall", "source": source, "slots": 5 })).expect(201);
        let options = Options {
            server: server.address(),
            streamer: "hall".into(),
            role: Role::Controller,
            media: Media::Units,
        };
        let swarm = Swarm::new(options).unwrap();
        let next = Instant::now();
        Self { server, swarm, seen: Vec::new(), whistles: BTreeMap::new(), player: None, next }
    }

    fn join(&mut self, audio: &str) -> usize {
        self.swarm.set_audio(audio);
        let peer = self.swarm.join().unwrap();
        self.seen.push(Seen::default());
        self.until("it is connected", |hall| hall.seen[peer].connected);
        peer
    }

    fn whistle(&mut self, peer: usize, hz: f64) {
        let place = places(self.seen[peer].offer.as_ref().unwrap()).pop().unwrap();
        self.whistles.insert(peer, Whistle::new(place, 1000 + peer as u32, hz).unwrap());
        let before = self.seen[peer].published;
        self.swarm.tell(peer, &ClientMessage::Publish { kind: PublishKind::Microphone, name: None }).unwrap();
        self.until("it is published", |hall| hall.seen[peer].published > before);
    }

    fn stop_whistling(&mut self, peer: usize) {
        self.whistles.remove(&peer);
        self.swarm.tell(peer, &ClientMessage::Unpublish { kind: PublishKind::Microphone }).unwrap();
        self.until("it is published no more", |hall| hall.seen[peer].unpublished > 0);
    }

    /// A WHEP player that offers one video and one audio section.
    fn play(&mut self, query: &str) {
        let mut player = Player::new(Stack::Rtc, Media::Units).unwrap();
        let path = format!("/api/streamers/hall/whep{query}");
        let offer = player.offer().as_bytes().to_vec();
        let created = self.server.send("POST", &path, "application/sdp", &offer).expect(201);
        player.answered(std::str::from_utf8(&created.body).unwrap()).unwrap();
        let headers = [("content-type", "application/trickle-ice-sdpfrag"), ("if-match", "*")];
        let fragment = player.fragment();
        self.server.send_with("PATCH", &created.location.unwrap(), &headers, fragment.as_bytes()).expect(204);
        self.player = Some((player, Seen::default()));
        self.until("the player is connected", |hall| hall.player.as_ref().unwrap().1.connected);
    }

    #[track_caller]
    fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            let heard: Vec<_> = self.seen.iter().map(Seen::hears).collect();
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}: {heard:?}");
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
        if let Some((player, seen)) = &mut self.player {
            while let Some(event) = player.next(Instant::now() + PACKET / 10) {
                seen.take(event);
            }
        }
        while let Some((peer, event)) = self.swarm.next(self.next).unwrap() {
            self.seen[peer].take(event);
        }
    }

    /// The thread that mixes, if there is one.
    fn mixes(&self) -> bool {
        let streamers = self.server.session_processes().into_iter();
        let tasks =
            streamers.filter_map(|process| std::fs::read_dir(format!("/proc/{}/task", process.pid)).ok());
        let names = tasks.flatten().flatten().filter_map(|task| std::fs::read(task.path().join("comm")).ok());
        names.into_iter().any(|name| name == b"mixer\n")
    }
}

/// Sections of an offer in which sound comes, in order.
fn audio_sections(offer: &str) -> Vec<&str> {
    let sections = offer.split("\nm=").skip(1).filter(|section| section.starts_with("audio"));
    sections.filter_map(|section| section.lines().find_map(|line| line.strip_prefix("a=mid:"))).collect()
}

#[test]
fn all_are_heard_in_one_track_by_who_takes_a_mix_and_each_in_its_own_by_everybody_else() {
    let server = Server::start();
    let mut hall = Hall::start(&server, true);
    let [ann, ben, cleo] = [(); 3].map(|()| hall.join("tracks"));
    for (peer, hz) in [(ann, ANN), (ben, BEN), (cleo, CLEO)] {
        hall.whistle(peer, hz);
    }
    assert!(!hall.mixes(), "nobody takes a mix");
    let [taker, other] = [hall.join("mix"), hall.join("tracks")];
    hall.until("all four are heard in one track", |hall| hall.seen[taker].hears_in_one(&PITCHES));
    let first = audio_sections(hall.seen[taker].offer.as_ref().unwrap())[0];
    assert_eq!(hall.seen[taker].hears()[0].0, first);
    assert!(hall.mixes());
    let apart = |seen: &Seen| {
        let mut heard: Vec<_> = seen.hears().into_iter().map(|(_, heard)| heard).collect();
        heard.sort_by(|a, b| a.partial_cmp(b).unwrap());
        heard
    };
    hall.until("each is heard in a track of its own", |hall| {
        apart(&hall.seen[other]) == PITCHES.map(|hz| vec![hz])
    });

    // Who stops is not heard, and the others still are.
    hall.stop_whistling(ben);
    hall.until("Ben is not heard any more", |hall| hall.seen[taker].hears_in_one(&[MAIN, ANN, CLEO]));
    hall.swarm.bye(cleo);
    hall.whistles.remove(&cleo);
    hall.until("Cleo has left", |hall| hall.seen[taker].hears_in_one(&[MAIN, ANN]));

    hall.swarm.bye(taker);
    hall.until("the mixer is gone with the last one who takes a mix", |hall| !hall.mixes());
    hall.seen[other].ears.forget();
    hall.until("tracks go on", |hall| apart(&hall.seen[other]) == [MAIN, ANN].map(|hz| vec![hz]));
}

#[test]
fn who_publishes_and_takes_a_mix_does_not_hear_itself() {
    let server = Server::start();
    let mut hall = Hall::start(&server, false);
    let [ann, ben, cleo] = [(); 3].map(|()| hall.join("mix"));
    hall.whistle(ann, ANN);
    hall.until("Ben hears Ann", |hall| hall.seen[ben].hears_in_one(&[ANN]));
    hall.whistle(ben, BEN);
    hall.until("Ann hears Ben alone", |hall| hall.seen[ann].hears_in_one(&[BEN]));
    hall.until("Ben hears Ann alone", |hall| hall.seen[ben].hears_in_one(&[ANN]));
    hall.until("Cleo hears both", |hall| hall.seen[cleo].hears_in_one(&[ANN, BEN]));
    hall.stop_whistling(ann);
    hall.until("Ann hears Ben still", |hall| hall.seen[ann].hears_in_one(&[BEN]));
    hall.whistle(cleo, CLEO);
    hall.until("Ann hears both others", |hall| hall.seen[ann].hears_in_one(&[BEN, CLEO]));
    hall.until("Cleo hears Ben alone", |hall| hall.seen[cleo].hears_in_one(&[BEN]));
}

#[test]
fn a_player_hears_everybody_in_its_one_track_if_it_asks_for_that() {
    let server = Server::start();
    let mut hall = Hall::start(&server, true);
    let [ann, ben] = [(); 2].map(|()| hall.join("tracks"));
    hall.whistle(ann, ANN);
    hall.whistle(ben, BEN);
    hall.play("?audio=tracks");
    let heard = |hall: &Hall<'_>, pitches: &[f64]| hall.player.as_ref().unwrap().1.hears_in_one(pitches);
    hall.until("slot 0 alone is heard", |hall| heard(hall, &[MAIN]));
    hall.play("?audio=mix");
    hall.until("all are heard", |hall| heard(hall, &[MAIN, ANN, BEN]));
    let problem = server
        .send("POST", "/api/streamers/hall/whep?audio=stereo", "application/sdp", b"v=0\r\n")
        .expect(400)
        .problem();
    assert_eq!(problem.field.as_deref(), Some("audio"));
    assert!(problem.detail.contains("\"mix\""), "{}", problem.detail);
}

#[test]
fn what_is_no_way_for_sound_to_come_is_refused_with_the_field() {
    let server = Server::start_configured("streams:\n  a: \"test:#width=64#height=64\"\n");
    let mut hall = Hall::start(&server, false);
    hall.swarm.set_audio("stereo");
    let peer = hall.swarm.join().unwrap();
    hall.seen.push(Seen::default());
    hall.until("it is refused", |hall| !hall.seen[peer].errors.is_empty());
    let (code, field) = &hall.seen[peer].errors[0];
    assert_eq!((code.as_str(), field.as_deref()), ("invalid_field", Some("audio")));

    let connect = |query: &str| {
        let stream = TcpStream::connect(server.address()).unwrap();
        let request = format!("ws://{}/api/ws{query}", server.address()).into_client_request().unwrap();
        tungstenite::client(request, stream).map(drop).map_err(|error| error.to_string())
    };
    assert_eq!(connect("?audio=mix"), Ok(()));
    assert!(connect("?audio=stereo").unwrap_err().contains("400"));
}
