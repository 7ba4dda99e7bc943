//! Media over the WebSocket: pictures, sound and messages for a viewer that neither UDP nor TCP of ICE reaches, by a client made for it
//! that never answers the offer.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::ErrorKind;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use common::media_socket::{Channel, Picture, SUBPROTOCOL, ToClient, ToStreamer};
use harness::{Server, Watched, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

/// On a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long one read waits.
const READ: Duration = Duration::from_millis(50);
/// The close code of a media socket that is nobody's, or no longer.
const PEER_GONE: u16 = 4000;

fn open(server: &Server, streamer: &str, path: &str, protocol: &str) -> WebSocket<TcpStream> {
    let stream = TcpStream::connect(server.address()).unwrap();
    // The handshake waits, whatever the timeout of one read is.
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    let url = format!("ws://{}/api/streamers/{streamer}/{path}", server.address());
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", protocol.parse().unwrap());
    let socket = tungstenite::client(request, stream).unwrap().0;
    socket.get_ref().set_read_timeout(Some(READ)).unwrap();
    socket
}

/// The next message; `None` when there is none within [`READ`].
fn read(socket: &mut WebSocket<TcpStream>) -> Option<Result<Message, tungstenite::Error>> {
    match socket.read() {
        Err(tungstenite::Error::Io(error))
            if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) =>
        {
            None
        }
        other => Some(other),
    }
}

/// A viewer that has joined, and never answers the offer.
struct Viewer {
    /// Kept open: without it the peer would leave.
    _socket: WebSocket<TcpStream>,
    welcome: Value,
}

impl Viewer {
    fn join(server: &Server, streamer: &str, hello: &Value) -> Self {
        let mut socket = open(server, streamer, "peer", "oriel.v1");
        let mut message = json!({"type": "hello"});
        message.as_object_mut().unwrap().extend(hello.as_object().unwrap().clone());
        socket.send(Message::text(message.to_string())).unwrap();
        let deadline = Instant::now() + PATIENCE;
        loop {
            assert!(Instant::now() < deadline, "no welcome");
            if let Some(Message::Text(text)) = read(&mut socket).transpose().unwrap() {
                let message: Value = serde_json::from_str(&text).unwrap();
                match message["type"].as_str() {
                    Some("welcome") => return Self { _socket: socket, welcome: message },
                    Some("error") => panic!("{message}"),
                    _ => {}
                }
            }
        }
    }

    fn attach(&self) -> Value {
        json!({"peerId": self.welcome["peerId"], "resumeToken": self.welcome["resumeToken"], "codecs": ["H264"]})
    }
}

/// Something that has come by a media socket.
#[derive(Debug, Clone, PartialEq)]
enum Came {
    Attached,
    Picture(Picture, Vec<u8>),
    Sound(usize),
    Text(Value),
    Closed(u16),
}

struct Wire {
    socket: WebSocket<TcpStream>,
    received: u64,
    acknowledges: bool,
}

impl Wire {
    fn open(server: &Server, streamer: &str, attach: &Value) -> Self {
        let mut socket = open(server, streamer, "media", SUBPROTOCOL);
        socket.send(Message::text(attach.to_string())).unwrap();
        Self { socket, received: 0, acknowledges: true }
    }

    fn next(&mut self) -> Option<Came> {
        match read(&mut self.socket)? {
            Ok(Message::Binary(bytes)) => {
                self.received += bytes.len() as u64;
                let came = match ToClient::read(&bytes).expect("a frame") {
                    ToClient::Attached => Came::Attached,
                    ToClient::Picture { about, data } => Came::Picture(about, data.to_vec()),
                    ToClient::Sound { data, .. } => Came::Sound(data.len()),
                    ToClient::Message { text, .. } => Came::Text(serde_json::from_str(text).unwrap()),
                };
                if self.acknowledges {
                    self.acknowledge();
                }
                Some(came)
            }
            Ok(Message::Close(frame)) => Some(Came::Closed(frame.map_or(0, |frame| frame.code.into()))),
            Ok(_) => None,
            Err(_) => Some(Came::Closed(0)),
        }
    }

    /// The first thing that is like this.
    #[track_caller]
    fn until(&mut self, what: &str, mut like: impl FnMut(&Came) -> bool) -> Came {
        let deadline = Instant::now() + PATIENCE;
        let mut others = 0;
        loop {
            match self.next() {
                Some(came) if like(&came) => return came,
                Some(Came::Closed(code)) => {
                    panic!("closed ({code}) instead of {what}, after {others} others")
                }
                Some(_) => others += 1,
                None => {}
            }
            assert!(Instant::now() < deadline, "waited in vain for {what}; {others} others came");
        }
    }

    #[track_caller]
    fn picture(&mut self, what: &str) -> (Picture, Vec<u8>) {
        match self.until(what, |came| matches!(came, Came::Picture(..))) {
            Came::Picture(about, data) => (about, data),
            other => panic!("{other:?}"),
        }
    }

    fn acknowledge(&mut self) {
        self.send(&ToStreamer::Received { bytes: self.received });
    }

    fn say(&mut self, channel: Channel, message: &Value) {
        self.send(&ToStreamer::Message { channel, bytes: message.to_string().as_bytes() });
    }

    fn send(&mut self, frame: &ToStreamer<'_>) {
        // One that is closed meanwhile says so when it is read.
        let _ = self.socket.send(Message::binary(frame.encode()));
    }

    /// How it ends, if nothing comes before.
    #[track_caller]
    fn end(&mut self) -> u16 {
        match self.until("its end", |came| matches!(came, Came::Closed(_))) {
            Came::Closed(code) => code,
            other => panic!("{other:?}"),
        }
    }
}

/// A streamer whose picture never stands still.
fn demo(server: &Server) {
    server.create("demo", json!({"type": "test", "width": 320, "height": 192, "fps": 30}));
}

fn peers(server: &Server, streamer: &str) -> Vec<Value> {
    let found: Value = server.get(&format!("/api/streamers/{streamer}")).expect(200).json();
    found["peers"].as_array().unwrap().clone()
}

fn counted(server: &Server, result: &str) -> u64 {
    let metrics = String::from_utf8(server.get("/metrics").expect(200).body).unwrap();
    let name = format!("oriel_media_sockets_total{{result=\"{result}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(&name)).expect("the counter").parse().unwrap()
}

#[test]
fn pictures_and_sound_come_by_the_media_socket_and_the_api_says_so() {
    let server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    assert_eq!(wire.until("the first frame", |_| true), Came::Attached);
    let (first, data) = wire.picture("a picture");
    assert_eq!((first.slot, first.codec, first.keyframe), (0, VideoCodec::H264, true));
    // Annex B: parameter sets come first.
    assert_eq!((&data[..4], data[4] & 0x1f), (&[0, 0, 0, 1][..], 7));
    let mut before = first.time_us;
    for _ in 0..20 {
        let (next, data) = wire.picture("further pictures");
        assert!(next.time_us > before, "{} after {before}", next.time_us);
        assert_eq!(data[..4], [0, 0, 0, 1]);
        before = next.time_us;
    }
    wire.until("sound", |came| matches!(came, Came::Sound(len) if *len > 0));
    let peer = eventually("the API says which way", || {
        peers(&server, "demo").pop().filter(|peer| peer["stats"]["frames"].as_u64() > Some(20))
    });
    assert_eq!((&peer["state"], &peer["stats"]["transport"]), (&json!("connected"), &json!("websocket")));
    assert_eq!((counted(&server, "attached"), counted(&server, "refused")), (1, 0));
}

#[test]
fn it_outlives_the_time_in_which_a_connection_must_be_made() {
    let server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    let joined = Instant::now();
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    while joined.elapsed() < Duration::from_secs(17) {
        wire.picture("pictures, for longer than 15 s");
    }
    assert_eq!(peers(&server, "demo")[0]["state"], "connected");
}

#[test]
fn a_media_socket_is_its_viewers_alone() {
    let server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    let other = Viewer::join(&server, "demo", &json!({}));
    let own = viewer.attach();
    let with = |name: &str, value: &Value| {
        let mut attach = own.clone();
        attach[name] = value.clone();
        attach
    };
    let unknown = json!("00000000-0000-4000-8000-000000000000");
    for attach in [
        with("resumeToken", &json!("")),
        with("resumeToken", &json!("0".repeat(64))),
        with("resumeToken", &other.welcome["resumeToken"]),
        with("peerId", &other.welcome["peerId"]),
        with("peerId", &unknown),
    ] {
        let mut wire = Wire::open(&server, "demo", &attach);
        // Nothing comes before the end.
        assert_eq!(wire.until("a refusal", |_| true), Came::Closed(PEER_GONE), "{attach}");
    }
    assert_eq!(counted(&server, "refused"), 5);
    let mut wire = Wire::open(&server, "demo", &own);
    wire.picture("a picture for its owner");
}

#[test]
fn what_is_no_attach_message_or_no_frame_ends_the_media_socket_alone() {
    let server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    const POLICY: u16 = 1008;
    let mut wire = Wire::open(&server, "demo", &json!({"peerId": 7}));
    assert_eq!(wire.end(), POLICY);
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    wire.picture("a picture");
    wire.socket.send(Message::text("{}")).unwrap();
    assert_eq!(wire.until("its end", |came| matches!(came, Came::Closed(_))), Came::Closed(POLICY));
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    wire.picture("a picture on another one");
    wire.socket.send(Message::binary(vec![77, 1])).unwrap();
    assert_eq!(wire.until("its end", |came| matches!(came, Came::Closed(_))), Came::Closed(PEER_GONE));
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    wire.picture("a picture after all of this");
}

#[test]
fn a_second_media_socket_replaces_the_first_and_begins_with_a_keyframe() {
    let server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    let mut first = Wire::open(&server, "demo", &viewer.attach());
    first.picture("a picture on the first");
    let mut second = Wire::open(&server, "demo", &viewer.attach());
    let (picture, _) = second.picture("a picture on the second");
    assert!(picture.keyframe);
    assert_eq!(
        first.until("the first one's end", |came| matches!(came, Came::Closed(_))),
        Came::Closed(PEER_GONE)
    );
    second.picture("pictures go on");
    assert_eq!(peers(&server, "demo").len(), 1);
}

#[test]
fn who_acknowledges_nothing_is_sent_no_more_pictures_and_then_begins_with_a_keyframe() {
    let server = Server::start();
    server.create("demo", json!({"type": "test", "width": 1280, "height": 720, "fps": 30}));
    let slow = Viewer::join(&server, "demo", &json!({}));
    let good = Viewer::join(&server, "demo", &json!({}));
    let mut slow_wire = Wire::open(&server, "demo", &slow.attach());
    let mut good_wire = Wire::open(&server, "demo", &good.attach());
    slow_wire.acknowledges = false;
    slow_wire.picture("the first picture");
    let skipped = |viewer: &Viewer| {
        let peers = peers(&server, "demo");
        let peer = peers.iter().find(|peer| peer["id"] == viewer.welcome["peerId"]).unwrap().clone();
        peer["stats"]["skipped_units"].as_u64().unwrap()
    };
    let stop = AtomicBool::new(false);
    let newest = std::thread::scope(|scope| {
        // As it comes, whatever the other one does.
        scope.spawn(|| {
            while !stop.load(Ordering::Relaxed) {
                good_wire.next();
            }
        });
        let deadline = Instant::now() + PATIENCE;
        let mut newest = 0;
        // But for what this machine keeps the other one from reading.
        while skipped(&slow) < 30 + 2 * skipped(&good) && Instant::now() < deadline {
            // Sound goes on.
            for _ in 0..20 {
                if let Some(Came::Picture(picture, _)) = slow_wire.next() {
                    newest = picture.time_us;
                }
            }
        }
        let skipped = (skipped(&good), skipped(&slow));
        stop.store(true, Ordering::Relaxed);
        let (good, slow) = skipped;
        assert!(
            slow >= 30 + 2 * good,
            "it is sent everything, or the other one is not: {slow}, beside {good}"
        );
        newest
    });
    slow_wire.acknowledges = true;
    slow_wire.acknowledge();
    let (picture, _) = slow_wire.picture("a picture when there is room again");
    assert!(picture.keyframe && picture.time_us > newest + 500_000, "{picture:?} after {newest}");
    slow_wire.picture("pictures go on");
}

#[test]
fn a_peer_comes_back_to_another_web_server() {
    let mut server = Server::start();
    demo(&server);
    let viewer = Viewer::join(&server, "demo", &json!({}));
    let mut wire = Wire::open(&server, "demo", &viewer.attach());
    wire.picture("a picture");
    server.kill();
    assert!(matches!(wire.until("its end", |came| matches!(came, Came::Closed(_))), Came::Closed(_)));
    server.start_again();
    let again = Viewer::join(&server, "demo", &json!({"resume": viewer.welcome["resumeToken"]}));
    assert_eq!(
        (&again.welcome["resumed"], &again.welcome["peerId"]),
        (&json!(true), &viewer.welcome["peerId"])
    );
    let mut wire = Wire::open(&server, "demo", &again.attach());
    let (picture, _) = wire.picture("a picture by the other web-server");
    assert!(picture.keyframe);
    for _ in 0..10 {
        wire.picture("further pictures");
    }
}

#[test]
fn a_server_without_media_sockets_refuses_them() {
    let server = Server::start_configured("webrtc: {websocket_media: false}\n");
    demo(&server);
    let problem = server.get("/api/streamers/demo/media").expect(404).problem();
    assert_eq!(problem.code, "no_media_sockets");
}

/// The keys that have reached a desktop: what, and whether down.
fn keys(watched: &Watched) -> Vec<Value> {
    watched.seen("key", &["keysym", "down"])
}

#[test]
fn keys_reach_the_session_and_stay_down_when_the_media_socket_is_replaced() {
    let watched = Watched::start("desk");
    let viewer = Viewer::join(&watched.server, "desk", &json!({}));
    let mut wire = Wire::open(&watched.server, "desk", &viewer.attach());
    wire.picture("a picture");
    let key = |down: bool| json!({"type": "key", "slot": 0, "code": "KeyB", "down": down});
    let pong = json!({"type": "pong", "token": 7});
    // A key of which nothing is heard for two seconds is released: on a machine that has stood still the wire is replaced again.
    for _ in 0..5 {
        let before = keys(&watched).len();
        let said = Instant::now();
        wire.say(Channel::Keys, &key(true));
        eventually("the key is down", || (keys(&watched)[before..] == [json!(["b", true])]).then_some(()));
        wire = Wire::open(&watched.server, "desk", &viewer.attach());
        wire.picture("a picture on the second");
        wire.say(Channel::General, &json!({"type": "ping", "token": 7}));
        wire.until("a reply", |came| matches!(came, Came::Text(message) if *message == pong));
        let since = keys(&watched)[before..].to_vec();
        let in_time = said.elapsed() < Duration::from_millis(1500);
        wire.say(Channel::Keys, &key(false));
        let is_up = || (keys(&watched).last() == Some(&json!(["b", false]))).then_some(());
        eventually("the key is up", is_up);
        if in_time {
            assert_eq!(since, [json!(["b", true])]);
            assert_eq!(keys(&watched).len(), before + 2);
            return;
        }
    }
    panic!("this machine stands still again and again");
}

#[test]
fn roles_hold_on_the_media_socket() {
    let watched = Watched::start("desk");
    let viewer = Viewer::join(&watched.server, "desk", &json!({"role": "viewer"}));
    let mut wire = Wire::open(&watched.server, "desk", &viewer.attach());
    wire.picture("a picture");
    wire.say(Channel::Keys, &json!({"type": "key", "slot": 0, "code": "KeyB", "down": true}));
    let refused = |came: &Came| matches!(came, Came::Text(message) if message["code"] == "not_a_controller");
    let Came::Text(message) = wire.until("a refusal", refused) else { unreachable!() };
    assert_eq!((&message["type"], &message["channel"]), (&json!("error"), &json!("keys")));
    assert_eq!(keys(&watched), Vec::<Value>::new());
}
