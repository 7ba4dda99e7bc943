//! People come to a room and leave it, in good order or without a word, for a while: nothing of them is left. With `ORIEL_STORM_S` for
//! that many seconds; `scripts/soak` does so for half an hour.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use common::signal::{ClientMessage, PublishKind, Role, ServerMessage};
use common::stats::ProcessStats;
use harness::Server;
use harness::wait::eventually_within;
use native_peer::camera::{Camera, places};
use native_peer::{Event, Media, Options, Swarm};
use serde_json::json;

/// Time between two pictures of a camera.
const FRAME: Duration = Duration::from_millis(33);
/// How long what comes to one of them is waited for.
const GLANCE: Duration = Duration::from_millis(1);
/// Time between two comings or goings.
const BETWEEN: Duration = Duration::from_millis(100);
/// People at once.
const MOST: usize = 14;
/// One that has left without a word is waited for: its connection is lost first, and then nobody has come back for it.
const FORGOTTEN: Duration = Duration::from_secs(90);
/// What a process may have grown by in a storm: the allocator keeps some of what was freed.
const MOST_GROWTH: u64 = 64 * 1024 * 1024;

/// One of them, with sockets of its own: dropping it kills it.
struct Person {
    swarm: Swarm,
    publishes: bool,
    camera: Option<Camera>,
    ssrc: u32,
    offers: usize,
    connected: bool,
    pictures: usize,
}

impl Person {
    fn come(server: &Server, publishes: bool, number: u32) -> Self {
        let options = Options {
            server: server.address(),
            streamer: "room".into(),
            role: Role::Viewer,
            media: Media::Units,
        };
        let mut swarm = Swarm::new(options).unwrap();
        swarm.join().unwrap();
        let ssrc = 10 * number + 1000;
        Self { swarm, publishes, camera: None, ssrc, offers: 0, connected: false, pictures: 0 }
    }

    /// Takes what has come.
    fn go_on(&mut self) {
        let until = Instant::now() + GLANCE;
        while let Some((_, event)) = self.swarm.next(until).unwrap() {
            match event {
                Event::Connected => self.connected = true,
                Event::Unit(_) => self.pictures += 1,
                Event::Pli { ssrc } if ssrc == self.ssrc => self.send(true),
                Event::Signal(ServerMessage::Offer { sdp }) => {
                    self.offers += 1;
                    if self.publishes {
                        self.camera = Some(Camera::new(places(&sdp)[0].clone(), self.ssrc));
                        let publish = ClientMessage::Publish { kind: PublishKind::Camera, name: None };
                        self.swarm.tell(0, &publish).unwrap();
                    }
                }
                _ => {}
            }
        }
    }

    fn send(&mut self, keyframe: bool) {
        if let Some(camera) = &mut self.camera {
            let packets = camera.picture(keyframe);
            self.swarm.send_rtp(0, &packets);
        }
    }
}

/// Random numbers that are the same each time (xorshift).
struct Dice(u32);

impl Dice {
    fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 17;
        self.0 ^= self.0 << 5;
        self.0 as usize % n
    }
}

/// What is counted of the process once nobody is there and it has had time to notice.
fn empty(server: &Server) -> ProcessStats {
    eventually_within(FORGOTTEN, "nobody is there any more", || {
        let streamer = server.streamer("room")?;
        (streamer.peers.is_empty() && streamer.slots.is_empty()).then_some(())
    });
    counted_again(server)
}

/// What is counted of the process next.
fn counted_again(server: &Server) -> ProcessStats {
    let before = server.streamer("room").unwrap().stats.map(|stats| stats.process);
    eventually_within(FORGOTTEN, "it is counted again", || {
        let now = server.streamer("room")?.stats?.process;
        (Some(&now) != before.as_ref()).then_some(now)
    })
}

#[test]
fn whoever_comes_and_goes_leaves_nothing_behind() {
    let seconds = std::env::var("ORIEL_STORM_S").ok().and_then(|text| text.parse().ok()).unwrap_or(12);
    let server = Server::start();
    let room = json!({ "id": "room", "name": "Storm", "slots": 6, "max_participants": 50 });
    server.post("/api/rooms?wait=running", &room).expect(201);
    let mut dice = Dice(0x5eed);
    let mut people: Vec<Person> = Vec::new();
    let mut number = 0;
    let mut storm = |time: Duration, least: usize, kills: bool| {
        let end = Instant::now() + time;
        let mut next_frame = Instant::now();
        let mut next = Instant::now();
        let mut seen = 0;
        let mut came = 0;
        // On a busy machine they come more slowly.
        while Instant::now() < end || came < least {
            let now = Instant::now();
            if now >= next {
                next = now + BETWEEN;
                if people.len() < 3 || people.len() < MOST && dice.below(2) == 0 {
                    number += 1;
                    came += 1;
                    people.push(Person::come(&server, dice.below(3) == 0, number));
                } else {
                    let mut one = people.swap_remove(dice.below(people.len()));
                    assert!(one.offers <= 1, "a negotiation for who comes, and none for who is there");
                    seen += one.pictures;
                    if !kills || dice.below(2) == 0 {
                        one.swarm.leave();
                    }
                }
            }
            if now >= next_frame {
                next_frame = now + FRAME;
                for one in &mut people {
                    one.send(false);
                }
            }
            for one in &mut people {
                one.go_on();
            }
        }
        for mut one in people.drain(..) {
            seen += one.pictures;
            one.swarm.leave();
        }
        (came, seen)
    };
    // What is made once is there after a first, short one.
    storm(Duration::from_secs(2), 0, false);
    let before = empty(&server);
    let (came, seen) = storm(Duration::from_secs(seconds), 25, true);
    assert!(came > 20 && seen > 100, "{came} have come, and have seen {seen} pictures");
    let mut after = empty(&server);
    // A thread that ends a source may still be there for a moment; one that is left over stays.
    let deadline = Instant::now() + FORGOTTEN;
    while after.threads > before.threads || after.descriptors > before.descriptors + 2 {
        assert!(Instant::now() < deadline, "threads or descriptors are left: {before:?}, then {after:?}");
        after = counted_again(&server);
    }
    println!("{came} have come: {before:?}, then {after:?}");
    assert!(
        after.rss_bytes < before.rss_bytes + MOST_GROWTH,
        "{} bytes, then {}",
        before.rss_bytes,
        after.rss_bytes
    );
    let sources: common::slots::SourceList = server.get("/api/streamers/room/sources").expect(200).json();
    assert_eq!(sources.sources, []);
}
