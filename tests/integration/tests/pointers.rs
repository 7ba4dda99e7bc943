//! Who is told where the others point, from the outside: peers of a real desktop.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use common::signal::{ClientMessage, Role, ServerMessage};
use harness::Server;
use harness::wait::SOON;
use native_peer::{Channel, Event, Media, Options, Swarm};
use serde_json::{Value, json};

/// Peers, and which pointers each was told of.
struct Peers {
    swarm: Swarm,
    ids: Vec<String>,
    told: Vec<Vec<Value>>,
    /// Tokens of pings that were answered.
    answered: Vec<u64>,
}

impl Peers {
    fn new(server: &Server) -> Self {
        let streamer = "demo".to_owned();
        let options =
            Options { server: server.address(), streamer, role: Role::Controller, media: Media::Headers };
        Self { swarm: Swarm::new(options).unwrap(), ids: Vec::new(), told: Vec::new(), answered: Vec::new() }
    }

    /// One more joins, until its three channels are open.
    fn join(&mut self, pointers: bool) -> usize {
        self.swarm.set_pointers(pointers);
        let index = self.swarm.join().unwrap();
        self.ids.push(String::new());
        self.told.push(Vec::new());
        self.answered.push(0);
        let mut open = 0;
        while open < 3 {
            open += usize::from(matches!(self.next(), (peer, Event::Open(_)) if peer == index));
        }
        index
    }

    fn next(&mut self) -> (usize, Event) {
        let (peer, event) =
            self.swarm.next(Instant::now() + SOON).unwrap().expect("something happens in time");
        self.note(peer, &event);
        (peer, event)
    }

    fn listen_until(&mut self, deadline: Instant) {
        while let Some((peer, event)) = self.swarm.next(deadline).unwrap() {
            self.note(peer, &event);
        }
    }

    fn note(&mut self, peer: usize, event: &Event) {
        match event {
            Event::Signal(ServerMessage::Welcome { peer_id, .. }) => self.ids[peer] = peer_id.to_string(),
            Event::Message(Channel::General, text) => {
                let message: Value = serde_json::from_str(text).unwrap();
                match message["type"].as_str() {
                    Some("pointers") => {
                        self.told[peer].extend(message["pointers"].as_array().unwrap().iter().cloned());
                    }
                    Some("pong") => self.answered[peer] = message["token"].as_u64().unwrap(),
                    _ => {}
                }
            }
            _ => {}
        }
    }

    fn points(&mut self, peer: usize, seq: u32, x: u32) {
        let at = json!({ "x": x, "y": 20 });
        let message = json!({ "type": "pointer", "slot": 0, "seq": seq, "at": at });
        assert!(self.swarm.send_text(peer, Channel::Motion, &message.to_string()));
    }

    /// Waits until a peer has been told this last.
    #[track_caller]
    fn hears(&mut self, peer: usize, expected: &Value) {
        let deadline = Instant::now() + SOON;
        while self.told[peer].last() != Some(expected) {
            assert!(Instant::now() < deadline, "{:?} instead of {expected}", self.told[peer]);
            self.next();
        }
    }

    /// Returns when all that was said to a peer so far has come: the channel keeps the order.
    fn all_heard(&mut self, peer: usize, token: u64) {
        let ping = json!({ "type": "ping", "token": token });
        assert!(self.swarm.send_text(peer, Channel::General, &ping.to_string()));
        while self.answered[peer] != token {
            self.next();
        }
    }
}

#[test]
fn each_is_told_where_the_others_point_on_what_it_sees_if_it_wants_to_be() {
    let server = Server::start();
    server.create("demo", json!({ "type": "desktop", "width": 320, "height": 240, "audio": false }));
    let other =
        json!({ "name": "other", "source": { "type": "test", "width": 160, "height": 96, "fps": 5 } });
    server.post("/api/streamers/demo/sources", &other).expect(204);
    let mut peers = Peers::new(&server);
    let a = peers.join(true);
    let b = peers.join(true);
    let unasked = peers.join(false);
    let elsewhere = peers.join(true);
    let (stream, quality) = ("other".to_owned(), String::new());
    let request_id = Some("switch".to_owned());
    let switch = ClientMessage::Switch { slot: 0, stream, quality, request_id };
    peers.swarm.tell(elsewhere, &switch).unwrap();
    let switched = |(peer, event): &(usize, Event)| {
        *peer == elsewhere
            && matches!(event, Event::Signal(ServerMessage::SlotStatus { request_id: Some(_), .. }))
    };
    while !switched(&peers.next()) {}

    let of_a = |x: u32| json!({ "peerId": peers.ids[a], "place": { "source": "main", "at": { "x": x as f64, "y": 20.0 } } });
    let [first, last] = [of_a(11), of_a(112)];
    peers.points(a, 1, 11);
    peers.hears(b, &first);
    // Programs point as well, in the name of nobody.
    let events = json!({ "events": [{ "type": "pointer", "at": { "x": 30, "y": 40 } }] });
    server.post("/api/streamers/demo/input", &events).expect(204);
    let program = json!({ "place": { "source": "main", "at": { "x": 30.0, "y": 40.0 } } });
    peers.hears(b, &program);
    peers.hears(a, &program);

    // A hundred movements in about a second.
    let before = peers.told[b].len();
    let begun = Instant::now();
    for n in 0..100 {
        peers.points(a, 2 + n, 13 + n);
        peers.listen_until(begun + Duration::from_millis(10) * (n + 1));
    }
    peers.hears(b, &last);
    let took = begun.elapsed();
    let told = peers.told[b].len() - before;
    let most = took.as_millis() / 80 + 2;
    assert!((2..=most).contains(&(told as u128)), "told {told} times in {took:?}");

    peers.swarm.bye(a);
    let gone = json!({ "peerId": peers.ids[a] });
    peers.hears(b, &gone);
    for (token, peer) in [(1, unasked), (2, elsewhere)] {
        peers.all_heard(peer, token);
    }
    assert_eq!(peers.told[a], [program], "nobody is told of itself");
    assert_eq!(peers.told[unasked], Vec::<Value>::new());
    assert_eq!(peers.told[elsewhere], [gone], "it does not see where the others point");
}
