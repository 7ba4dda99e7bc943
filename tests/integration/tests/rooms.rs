//! What peers publish: it reaches everybody else, takes a slot and leaves it, and hostile publishers cost nobody else anything.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::id::PeerId;
use common::person::{PeerRight, Rights};
use common::signal::{ClientMessage, PublishKind, Role, ServerMessage, SlotState, StreamInfo};
use common::slots::{Source, SourceList, SourceState};
use harness::rtsp::RtspPlayer;
use harness::{Server, eventually};
use native_peer::camera::{Camera, Microphone, Place, places};
use native_peer::{Event, Media, Options, Outgoing, Said, Swarm};
use serde_json::json;

/// Time between two pictures of a camera.
const FRAME: Duration = Duration::from_millis(33);
/// A test that waits for longer waits in vain.
const PATIENCE: Duration = Duration::from_secs(20);

/// Pictures of the layers of a camera; what is around them is less than half of the smaller one.
const HIGH_BYTES: usize = 5400;
const LOW_BYTES: usize = 400;

/// A streamer with so many slots and nothing in them.
fn room(server: &Server, slots: u8) {
    let source = json!({ "type": "test", "width": 64, "height": 64, "fps": 1, "audio": false });
    let body = json!({ "id": "room", "source": source, "share": false, "slots": slots });
    server.post("/api/streamers", &body).expect(201);
}

/// What one peer of a room has seen.
#[derive(Default)]
struct Seen {
    connected: bool,
    id: Option<PeerId>,
    offer: Option<String>,
    offers: usize,
    rights: Rights,
    /// What slots show, by slot.
    streams: BTreeMap<u8, StreamInfo>,
    states: BTreeMap<u8, SlotState>,
    /// Pictures that came, and how many began with a keyframe, by stream.
    units: BTreeMap<u32, (usize, usize)>,
    /// Bytes of the last picture.
    last_bytes: usize,
    sound: usize,
    published: Vec<(PublishKind, String, Option<u8>)>,
    unpublished: Vec<(PublishKind, Option<String>)>,
    errors: Vec<String>,
    gone: bool,
}

/// Peers of a room, of which some publish.
struct Room {
    swarm: Swarm,
    seen: Vec<Seen>,
    cameras: BTreeMap<usize, Camera>,
    /// Layers of a camera that sends several: whose, the rid, and the layer.
    layers: Vec<(usize, &'static str, Camera)>,
    /// Those that the publisher was told to send.
    taken: Vec<String>,
    microphones: BTreeMap<usize, Microphone>,
    /// Says which packet on its way to the streamer is lost.
    lost: Box<dyn FnMut() -> bool>,
    next_frame: Instant,
    /// Pictures that cameras have sent, by peer: on a busy machine fewer than are due.
    sent: BTreeMap<usize, usize>,
    plis: usize,
    nacks: usize,
    /// A keyframe is sent when it is asked for.
    obedient: bool,
}

impl Room {
    fn new(server: &Server) -> Self {
        let options = Options {
            server: server.address(),
            streamer: "room".into(),
            role: Role::Controller,
            media: Media::Units,
        };
        Self {
            swarm: Swarm::new(options).unwrap(),
            seen: Vec::new(),
            cameras: BTreeMap::new(),
            layers: Vec::new(),
            taken: Vec::new(),
            microphones: BTreeMap::new(),
            lost: Box::new(|| false),
            next_frame: Instant::now(),
            sent: BTreeMap::new(),
            plis: 0,
            nacks: 0,
            obedient: true,
        }
    }

    fn join(&mut self) -> usize {
        let peer = self.swarm.join().unwrap();
        self.seen.push(Seen::default());
        self.until("it is connected", |room| room.seen[peer].connected);
        peer
    }

    fn place(&self, peer: usize, kind: PublishKind) -> Place {
        let offer = self.seen[peer].offer.as_ref().unwrap();
        let places = places(offer);
        assert_eq!(places.len(), 3, "camera, screen, microphone in {offer}");
        let n = [PublishKind::Camera, PublishKind::Screen, PublishKind::Microphone];
        places[n.iter().position(|one| *one == kind).unwrap()].clone()
    }

    fn tell_publish(&mut self, peer: usize, kind: PublishKind) {
        let name = Some(format!("Peer {peer}"));
        self.swarm.tell(peer, &ClientMessage::Publish { kind, name }).unwrap();
    }

    /// Publishes a camera; returns the slot that it gets.
    fn publish(&mut self, peer: usize) -> Option<u8> {
        let ssrc = 1000 + 10 * peer as u32;
        let camera = Camera::new(self.place(peer, PublishKind::Camera), ssrc);
        self.cameras.insert(peer, camera);
        self.send(peer, true);
        let before = self.seen[peer].published.len();
        self.tell_publish(peer, PublishKind::Camera);
        self.until("it is published", |room| room.seen[peer].published.len() > before);
        self.seen[peer].published.last().unwrap().2
    }

    /// Publishes a camera in two layers, of 1.3 Mbit/s and of 100 kbit/s.
    fn publish_layers(&mut self, peer: usize) {
        let place = self.place(peer, PublishKind::Camera);
        self.layers = vec![
            (peer, "h", Camera::layer(place.clone(), 2000, "h", 6, HIGH_BYTES / 6)),
            (peer, "l", Camera::layer(place, 2001, "l", 2, LOW_BYTES / 2)),
        ];
        self.taken = vec!["h".into(), "l".into()];
        self.tell_publish(peer, PublishKind::Camera);
        self.until("it is published", |room| !room.seen[peer].published.is_empty());
    }

    /// The next picture of each layer that is taken, as browsers do it.
    fn send_layers(&mut self, keyframe_of: Option<u32>) {
        for (peer, rid, camera) in &mut self.layers {
            let asked = keyframe_of.is_none_or(|ssrc| camera.ssrc() == ssrc);
            if asked && self.taken.iter().any(|taken| taken == rid) {
                let packets = camera.picture(keyframe_of.is_some());
                self.swarm.send_rtp(*peer, &packets);
            }
        }
    }

    fn unpublish(&mut self, peer: usize) {
        self.cameras.remove(&peer);
        self.swarm.tell(peer, &ClientMessage::Unpublish { kind: PublishKind::Camera }).unwrap();
    }

    /// Sends the next picture of a camera.
    fn send(&mut self, peer: usize, keyframe: bool) {
        let packets = self.cameras.get_mut(&peer).unwrap().picture(keyframe);
        *self.sent.entry(peer).or_default() += 1;
        self.send_packets(peer, packets);
    }

    fn send_packets(&mut self, peer: usize, mut packets: Vec<Outgoing>) {
        packets.retain(|_| !(self.lost)());
        self.swarm.send_rtp(peer, &packets);
    }

    /// Goes on until `enough`.
    #[track_caller]
    fn until(&mut self, what: &str, enough: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !enough(self) {
            assert!(Instant::now() < deadline, "waited {PATIENCE:?} in vain until {what}");
            self.go_on();
        }
    }

    fn go_on_for(&mut self, time: Duration) {
        let end = Instant::now() + time;
        while Instant::now() < end {
            self.go_on();
        }
    }

    /// Sends what is due, and takes what comes until the next picture is.
    fn go_on(&mut self) {
        let now = Instant::now();
        if now >= self.next_frame {
            self.next_frame = now + FRAME;
            for peer in self.cameras.keys().copied().collect::<Vec<_>>() {
                self.send(peer, false);
            }
            self.send_layers(None);
            for (peer, microphone) in &mut self.microphones {
                let packet = microphone.packet();
                self.swarm.send_rtp(*peer, &[packet]);
            }
        }
        while let Some((peer, event)) = self.swarm.next(self.next_frame).unwrap() {
            self.take(peer, event);
        }
    }

    fn take(&mut self, peer: usize, event: Event) {
        let seen = &mut self.seen[peer];
        match event {
            Event::Connected => seen.connected = true,
            Event::Closed(_) => seen.gone = true,
            Event::Rtp(packet) => seen.sound += usize::from(packet.payload_type == 111),
            Event::Unit(unit) => {
                seen.last_bytes = unit.data.len();
                let count = seen.units.entry(unit.ssrc).or_default();
                count.0 += 1;
                count.1 += usize::from(unit.data.get(4) == Some(&0x67));
            }
            Event::Pli { ssrc } => {
                self.plis += 1;
                if self.obedient && self.cameras.get(&peer).is_some_and(|camera| camera.ssrc() == ssrc) {
                    self.send(peer, true);
                }
                self.send_layers(Some(ssrc));
            }
            Event::Nack { sequences, .. } => {
                self.nacks += 1;
                let again = self.cameras.get(&peer).map(|camera| camera.again(&sequences));
                self.send_packets(peer, again.unwrap_or_default());
            }
            Event::Signal(ServerMessage::PublishLayers { layers, .. }) => self.taken = layers,
            Event::Signal(message) => signal(seen, message),
            _ => {}
        }
    }

    fn sent(&self, peer: usize) -> usize {
        self.sent.get(&peer).copied().unwrap_or_default()
    }

    /// How many pictures have come to a peer, of all streams.
    fn pictures(&self, peer: usize) -> usize {
        self.seen[peer].units.values().map(|(units, _)| units).sum()
    }

    fn source_in(&self, peer: usize, slot: u8) -> Option<&str> {
        self.seen[peer].streams.get(&slot).map(|info| info.source.as_str())
    }
}

fn signal(seen: &mut Seen, message: ServerMessage) {
    match message {
        ServerMessage::Welcome { peer_id, rights, .. } => {
            seen.id = Some(peer_id);
            seen.rights = rights;
        }
        ServerMessage::Rights { rights } => seen.rights = rights,
        ServerMessage::Offer { sdp } => {
            seen.offer = Some(sdp);
            seen.offers += 1;
        }
        ServerMessage::StreamsInfo { streams } => {
            seen.streams = streams.into_iter().map(|info| (info.slot, info)).collect();
        }
        ServerMessage::StreamActivated { stream_info } | ServerMessage::StreamUpdated { stream_info } => {
            seen.streams.insert(stream_info.slot, stream_info);
        }
        ServerMessage::StreamDeactivated { track_id, .. } => {
            seen.streams.retain(|_, info| info.track_id != track_id);
        }
        ServerMessage::SlotStatus { slot, status, .. } => {
            seen.states.insert(slot, status);
        }
        ServerMessage::Published { kind, source, slot } => seen.published.push((kind, source, slot)),
        ServerMessage::Unpublished { kind, reason } => seen.unpublished.push((kind, reason)),
        ServerMessage::Error { code, .. } => seen.errors.push(code),
        _ => {}
    }
}

fn sources(server: &Server) -> SourceList {
    server.get("/api/streamers/room/sources").expect(200).json()
}

#[test]
fn what_one_publishes_everybody_else_receives_and_a_late_joiner_gets_a_keyframe() {
    let server = Server::start();
    room(&server, 4);
    let mut room = Room::new(&server);
    let publisher = room.join();
    let others = [room.join(), room.join()];
    assert_eq!(room.publish(publisher), Some(0));
    room.until("the others have pictures", |room| others.iter().all(|peer| room.pictures(*peer) > 10));
    // Pictures and what is told of them come by different ways.
    room.until("the size is told", |room| {
        let info = room.seen[others[0]].streams.get(&0);
        info.is_some_and(|info| (info.width, info.height) == (Some(320), Some(180)))
    });
    let info = &room.seen[others[0]].streams[&0];
    assert_eq!(info.source, "peer-0");
    assert!(info.publisher.is_some() && info.audio_mid.is_none());
    let listed = eventually("its source is listed as running", || {
        let running = |source: &Source| source.name == "peer-0" && source.state == SourceState::Running;
        sources(&server).sources.into_iter().find(running)
    });
    assert_eq!(serde_json::to_value(&listed.source).unwrap()["type"], "publish");
    let late = room.join();
    room.until("who comes late has pictures", |room| room.pictures(late) > 10);
    let (_, keyframes) = room.seen[late].units.values().next().unwrap();
    assert!(*keyframes > 0);
    // Its own picture does not come back to it.
    assert_eq!(room.pictures(publisher), 0);
    assert_eq!(
        room.seen[publisher].states.get(&0).copied().unwrap_or(SlotState::Inactive),
        SlotState::Inactive
    );

    let place = room.place(publisher, PublishKind::Microphone);
    room.microphones.insert(publisher, Microphone::new(place, 2000));
    room.tell_publish(publisher, PublishKind::Microphone);
    room.until("sound comes too, in the same slot", |room| {
        others.iter().all(|peer| room.seen[*peer].sound > 5)
            && room.seen[others[0]].streams[&0].audio_mid.is_some()
    });
    assert_eq!(room.seen[publisher].sound, 0);
    assert_eq!(sources(&server).sources.iter().filter(|source| source.name != "main").count(), 1);
}

#[test]
fn who_leaves_frees_its_slot_at_once_and_the_next_one_that_waits_takes_it() {
    let server = Server::start();
    room(&server, 1);
    let mut room = Room::new(&server);
    let peers = [room.join(), room.join(), room.join()];
    assert_eq!(room.publish(peers[0]), Some(0));
    assert_eq!(room.publish(peers[1]), None, "the only slot is taken");
    room.until("the third sees the first", |room| room.pictures(peers[2]) > 5);
    room.swarm.bye(peers[0]);
    room.cameras.remove(&peers[0]);
    room.until("the third is told that it sees the second", |room| {
        room.source_in(peers[2], 0) == Some("peer-1")
    });
    room.until("it is told as well", |room| {
        room.seen[peers[1]].published.last().is_some_and(|(_, _, slot)| *slot == Some(0))
    });
    let before = room.pictures(peers[2]);
    room.until("the third sees the second", |room| room.pictures(peers[2]) > before + 5);
    room.unpublish(peers[1]);
    room.until("the slot shows nothing", |room| room.source_in(peers[2], 0).is_none());
    eventually("the source is gone", || {
        sources(&server).sources.iter().all(|source| source.name == "main").then_some(())
    });
    room.until("it is told that it publishes no more", |room| !room.seen[peers[1]].unpublished.is_empty());
    assert_eq!(room.seen[peers[1]].unpublished, [(PublishKind::Camera, None)]);
}

#[test]
fn ten_publish_and_each_sees_nine_others() {
    let server = Server::start();
    room(&server, 10);
    let mut room = Room::new(&server);
    let peers: Vec<_> = (0..10).map(|_| room.join()).collect();
    for (slot, peer) in (0..).zip(&peers) {
        assert_eq!(room.publish(*peer), Some(slot));
    }
    room.until("each has pictures of nine", |room| {
        let nine = |peer: &usize| {
            let flowing = room.seen[*peer].units.values().filter(|(units, _)| *units > 10).count();
            flowing == 9
        };
        peers.iter().all(nine)
    });
}

#[test]
fn loss_on_the_way_of_a_publisher_is_made_good() {
    let server = Server::start();
    room(&server, 2);
    let mut room = Room::new(&server);
    let [publisher, watcher] = [room.join(), room.join()];
    let mut state = 12345_u64;
    // One in ten.
    room.lost = Box::new(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        state >> 33 & 0xff < 26
    });
    room.publish(publisher);
    room.until("pictures come", |room| room.pictures(watcher) > 5);
    let before = (room.pictures(watcher), room.sent(publisher));
    room.until("120 more are sent", |room| room.sent(publisher) > before.1 + 120);
    let came = room.pictures(watcher) - before.0;
    let sent = room.sent(publisher) - before.1;
    assert!(room.nacks > 5, "{} NACKs", room.nacks);
    assert!(4 * came > 3 * sent, "{came} of {sent} pictures");
}

#[test]
fn who_may_not_publish_is_refused() {
    let server = Server::start();
    room(&server, 1);
    let mut room = Room::new(&server);
    room.swarm.set_rights([PeerRight::Chat].into());
    let peer = room.join();
    assert_eq!(places(room.seen[peer].offer.as_ref().unwrap()), []);
    room.tell_publish(peer, PublishKind::Camera);
    room.until("it is refused", |room| room.seen[peer].errors == ["may_not_publish"]);
}

#[test]
fn a_right_that_is_granted_later_costs_one_offer_and_then_the_peer_publishes() {
    let server = Server::start();
    room(&server, 3);
    let mut room = Room::new(&server);
    room.swarm.set_rights([PeerRight::Chat].into());
    let peer = room.join();
    room.swarm.set_rights(PeerRight::ALL.into());
    let other = room.join();
    assert_eq!(room.publish(other), Some(0));
    room.until("the peer sees the other", |room| room.pictures(peer) > 5);

    let path = format!("/api/streamers/room/peers/{}", room.seen[peer].id.unwrap());
    let grant = |rights: &str| {
        let change = format!(r#"{{"rights": {rights}}}"#);
        server.send("PATCH", &path, "application/json", change.as_bytes()).expect(204);
    };
    grant(r#"["publish"]"#);
    room.until("it is told", |room| room.seen[peer].rights.contains(&PeerRight::Publish));
    // At once, as a page does: the sections may still be on their way.
    room.tell_publish(peer, PublishKind::Camera);
    room.until("it is published", |room| !room.seen[peer].published.is_empty());
    room.until("the sections are offered", |room| room.seen[peer].offers == 2);
    let before = room.pictures(peer);
    let camera = Camera::new(room.place(peer, PublishKind::Camera), 77);
    room.cameras.insert(peer, camera);
    room.until("the other sees it", |room| room.pictures(other) > 20);
    assert!(room.pictures(peer) > before, "what it sees goes on");
    assert_eq!(room.seen[peer].units.len(), 1, "it does not get its own");

    // Taken away and granted again, it has its sections already.
    grant("[]");
    room.until("its source is gone", |room| room.source_in(other, 1).is_none());
    grant(r#"["publish"]"#);
    room.until("it is told again", |room| room.seen[peer].rights.contains(&PeerRight::Publish));
    room.tell_publish(peer, PublishKind::Camera);
    let before = room.pictures(other);
    room.until("the other sees it again", |room| room.pictures(other) > before + 10);
    assert_eq!((room.seen[peer].offers, room.seen[other].offers), (2, 1));
    assert!(room.seen[peer].errors.is_empty() && !room.seen[peer].gone);
}

#[test]
fn a_hostile_publisher_costs_nobody_else_a_picture() {
    let server = Server::start();
    room(&server, 3);
    let mut room = Room::new(&server);
    let [hostile, honest, watcher] = [room.join(), room.join(), room.join()];
    assert_eq!(room.publish(honest), Some(0));
    assert_eq!(room.publish(hostile), Some(1));
    room.until("pictures come", |room| room.seen[watcher].units.len() == 2);
    room.cameras.remove(&hostile);
    let place = room.place(hostile, PublishKind::Camera);
    let honest_ssrc = room.cameras[&honest].ssrc();
    let honest_pictures = |room: &Room| room.seen[watcher].units.values().map(|(units, _)| *units).max();
    let before = honest_pictures(&room).unwrap();
    let mid = (place.mid_extension, Bytes::copy_from_slice(place.mid.as_bytes()));
    let started = Instant::now();
    for n in 0..20_000_u32 {
        // Lying kinds, sizes, numbers, times and streams, and never a keyframe.
        let len = if n % 50 == 0 { 1400 } else { n as usize % 40 };
        let packet = Outgoing {
            ssrc: if n % 7 == 0 { honest_ssrc } else { 5000 + n % 300 },
            payload_type: [102, 103, 96, 97, 98, 45, 100, 111, 120][n as usize % 9],
            marker: n % 3 == 0,
            sequence: (n.wrapping_mul(40_503) >> 3) as u16,
            timestamp: n.wrapping_mul(2_654_435_761),
            extensions: if n % 5 == 0 { vec![(14, Bytes::from(vec![0xff; 16]))] } else { vec![mid.clone()] },
            payload: Bytes::from((0..len).map(|at| (n as usize * 31 + at * 7) as u8).collect::<Vec<_>>()),
        };
        room.swarm.send_rtp(hostile, &[packet]);
        if n % 200 == 0 {
            room.go_on();
        }
    }
    room.until("the honest one's pictures still come", |room| honest_pictures(room).unwrap() > before + 60);
    let seconds = started.elapsed().as_secs_f64();
    assert!(!room.seen[honest].gone && !room.seen[watcher].gone);
    assert!(room.plis < 40 + (seconds * 12.0) as usize, "{} PLIs in {seconds:.1} s", room.plis);
    assert!(server.streamer("room").is_some());
}

#[test]
fn who_never_sends_a_keyframe_is_asked_for_one_ever_less_often_and_shows_nothing() {
    let server = Server::start();
    room(&server, 1);
    let mut room = Room::new(&server);
    let [publisher, watcher] = [room.join(), room.join()];
    room.obedient = false;
    let camera = Camera::new(room.place(publisher, PublishKind::Camera), 77);
    room.cameras.insert(publisher, camera);
    room.tell_publish(publisher, PublishKind::Camera);
    let began = Instant::now();
    room.until("it is asked again", |room| room.plis >= 3);
    room.go_on_for(Duration::from_secs(3));
    let most = 5 + 2 * began.elapsed().as_secs() as usize;
    assert!(room.plis < most, "{} PLIs in {:?}", room.plis, began.elapsed());
    assert_eq!(room.pictures(watcher), 0);
    room.obedient = true;
    room.until("it shows something once it has sent one", |room| room.pictures(watcher) > 5);
}

#[test]
fn ten_that_join_at_once_cost_ten_negotiations() {
    let server = Server::start();
    room(&server, 4);
    let mut room = Room::new(&server);
    let there = room.join();
    assert_eq!(room.publish(there), Some(0));
    let came: Vec<usize> = (0..10).map(|_| room.swarm.join().unwrap()).collect();
    room.seen.resize_with(11, Seen::default);
    room.until("all are connected and see who was there", |room| {
        came.iter().all(|peer| room.seen[*peer].connected && room.pictures(*peer) > 3)
    });
    // What one of them shows costs none.
    assert_eq!(room.publish(came[4]), Some(1));
    room.until("all see the new one", |room| {
        came.iter().filter(|peer| **peer != came[4]).all(|peer| room.seen[*peer].units.len() == 2)
    });
    assert_eq!(room.seen.iter().map(|seen| seen.offers).sum::<usize>(), 11);
}

#[test]
fn who_sends_ten_times_as_much_as_people_do_costs_nobody_else_a_picture() {
    let server = Server::start();
    room(&server, 3);
    let mut room = Room::new(&server);
    let [hostile, honest, watcher] = [room.join(), room.join(), room.join()];
    assert_eq!(room.publish(honest), Some(0));
    assert_eq!(room.publish(hostile), Some(1));
    room.until("pictures come, and whose they are is told", |room| {
        room.seen[watcher].units.len() == 2 && room.seen[watcher].streams.contains_key(&0)
    });
    let mut flood = room.cameras.remove(&hostile).unwrap();
    let of_honest = |room: &Room| {
        let slot = &room.seen[watcher].streams[&0];
        assert_eq!(slot.publisher, room.seen[honest].id);
        room.seen[watcher].units.values().map(|(units, _)| *units).max().unwrap()
    };
    let before = (of_honest(&room), room.sent(honest));
    let started = Instant::now();
    // Whole pictures, each larger than a screen needs, three hundred a second.
    while started.elapsed() < Duration::from_secs(3) {
        for _ in 0..10 {
            let mut packets = flood.picture(false);
            for packet in &mut packets {
                packet.payload = Bytes::from(vec![0x41; 1300]);
            }
            room.swarm.send_rtp(hostile, &packets);
        }
        room.go_on();
    }
    let came = of_honest(&room) - before.0;
    let sent = room.sent(honest) - before.1;
    assert!(2 * came > sent, "{came} of {sent} pictures of the honest one");
    assert!(!room.seen[honest].gone && !room.seen[watcher].gone && server.streamer("room").is_some());
}

#[test]
fn who_storms_with_rtcp_costs_nobody_else_a_picture_and_asks_publishers_for_no_more_keyframes() {
    let server = Server::start();
    room(&server, 3);
    let mut room = Room::new(&server);
    let [honest, watcher, hostile] = [room.join(), room.join(), room.join()];
    assert_eq!(room.publish(honest), Some(0));
    room.until("pictures come", |room| room.pictures(watcher) > 5 && room.pictures(hostile) > 5);
    let ssrc = *room.seen[hostile].units.keys().next().unwrap();
    let before = (room.pictures(watcher), room.sent(honest), room.plis);
    // Everything that it can have got is missing, and so is a keyframe; it can take nothing, or anything; some seven thousand packets a second.
    let everything = Said::Missing((0..u16::MAX).step_by(17).take(250).collect());
    let storm = [Said::Keyframe, everything, Said::AtMost(0.0), Said::AtMost(f32::MAX)];
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(3) {
        for _ in 0..60 {
            room.swarm.say(hostile, ssrc, &storm);
        }
        room.go_on();
    }
    let (came, sent) = (room.pictures(watcher) - before.0, room.sent(honest) - before.1);
    assert!(2 * came > sent, "{came} of {sent} pictures of the honest one");
    let stats = server.stats_until("room", "the storm has arrived", |stats| {
        stats.network.keyframe_requests > 500 && stats.network.not_retransmitted > 500
    });
    let asked = room.plis - before.2;
    assert!(asked <= 12, "the honest one was asked for {asked} keyframes of {:?}", stats.network);
    assert!(!room.seen[honest].gone && !room.seen[watcher].gone && server.streamer("room").is_some());
    let before = room.pictures(hostile);
    room.until("the hostile one sees pictures, too", |room| room.pictures(hostile) > before + 10);
}

#[test]
fn who_may_have_little_gets_the_small_layer_and_layers_that_nobody_takes_are_not_sent() {
    let server = Server::start();
    room(&server, 2);
    let mut room = Room::new(&server);
    let [publisher, wide, narrow] = [room.join(), room.join(), room.join()];
    let limit = |room: &Room, kbps: u32| {
        let path = format!("/api/streamers/room/peers/{}", room.seen[narrow].id.as_ref().unwrap());
        let body = json!({ "max_bitrate_kbps": kbps }).to_string();
        server.send("PATCH", &path, "application/json", body.as_bytes()).expect(204);
    };
    limit(&room, 300);
    room.publish_layers(publisher);
    let is_small = |room: &Room, peer: usize| (LOW_BYTES..HIGH_BYTES).contains(&room.seen[peer].last_bytes);
    let is_large = |room: &Room, peer: usize| room.seen[peer].last_bytes >= HIGH_BYTES;
    room.until("each has the layer of its path", |room| is_small(room, narrow) && is_large(room, wide));
    assert_eq!(room.taken, ["h", "l"]);

    limit(&room, 0);
    room.until("both have the large layer", |room| is_large(room, narrow) && is_large(room, wide));
    let lifted = Instant::now();
    room.until("the small one is not sent any more", |room| room.taken == ["h"]);
    assert!(lifted.elapsed() < Duration::from_secs(5), "{:?}", lifted.elapsed());

    // The small one is sent again for whoever needs it.
    limit(&room, 300);
    room.until("it has the small layer again", |room| is_small(room, narrow) && is_large(room, wide));
    let before = room.pictures(wide);
    room.go_on_for(Duration::from_secs(1));
    assert!(room.pictures(wide) > before && is_large(&room, wide), "the other one has what it had");
}

#[test]
fn what_is_published_is_read_by_rtsp() {
    let server = Server::start_configured("rtsp: {listen: \"127.0.0.1:0\"}");
    room(&server, 4);
    let mut room = Room::new(&server);
    let alice = room.join();
    room.publish(alice);
    let (_, source, _) = room.seen[alice].published[0].clone();
    let address = server.rtsp_address();
    let url = format!("rtsp://{address}/room/{source}");
    let reading = std::thread::spawn(move || {
        let mut player = RtspPlayer::connect(address);
        let description = player.play(&url);
        let pictures = (0..200).map(|_| player.packet().unwrap()).filter(|(channel, _)| *channel == 0);
        (description, pictures.map(|(_, packet)| packet).collect::<Vec<_>>())
    });
    room.until("it has read", |_| reading.is_finished());
    let (description, packets) = reading.join().unwrap();
    // The sequence parameter set of the camera.
    assert!(description.contains("profile-level-id=64000C;sprop-parameter-sets=Z2QADKy0"), "{description}");
    let sequence = |packet: &[u8]| u16::from_be_bytes([packet[2], packet[3]]);
    assert!(
        packets.len() > 50
            && packets.windows(2).all(|pair| sequence(&pair[1]) == sequence(&pair[0]).wrapping_add(1))
    );
    let pictures = packets.iter().filter(|packet| packet[1] & 0x80 != 0).count();
    assert!(pictures > 10, "{pictures} pictures end in {} packets", packets.len());
}
