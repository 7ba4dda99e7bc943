//! `WS /api/ws` and the streams of the configuration, from the outside: what is refused and why, and whose streamer
//! it is. That pictures come is for a browser to see (`tests/e2e`).

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::net::TcpStream;
use std::process::Command;

use common::signal::StreamerState;
use harness::server::binary;
use harness::{Server, eventually};
use serde_json::{Value, json};
use tungstenite::client::IntoClientRequest;
use tungstenite::{Message, WebSocket};

const STREAMS: &str = "
streams:
  a: test:#width=160#height=96#fps=5
  b: {type: test, width: 176, height: 96, fps: 5, audio: false}
multistream: {max_slots: 3}
";

struct Socket(WebSocket<TcpStream>);

impl Socket {
    fn open(server: &Server) -> Self {
        let stream = TcpStream::connect(server.address()).unwrap();
        stream.set_read_timeout(Some(harness::wait::SOON)).unwrap();
        let request = format!("ws://{}/api/ws", server.address()).into_client_request().unwrap();
        Self(tungstenite::client(request, stream).unwrap().0)
    }

    fn say(&mut self, text: impl Into<String>) {
        self.0.send(Message::text(text.into())).unwrap();
    }

    fn hear(&mut self) -> Value {
        loop {
            if let Message::Text(text) = self.0.read().unwrap() {
                return serde_json::from_str(&text).unwrap();
            }
        }
    }

    fn ask(&mut self, message: Value) -> Value {
        self.say(message.to_string());
        self.answer()
    }

    /// The next message that is not about a slot's stream: what becomes of that is told whenever it is known.
    fn answer(&mut self) -> Value {
        loop {
            let heard = self.hear();
            if heard["type"] != "multistream/status" {
                return heard;
            }
        }
    }

    /// It is refused for a reason that begins with `error`.
    #[track_caller]
    fn refused(&mut self, text: impl Into<String>, error: &str) {
        let text = text.into();
        let shown: String = text.chars().take(80).collect();
        self.say(text);
        let answer = self.answer();
        let value = answer["value"].as_str().unwrap_or_default();
        assert!(answer["type"] == "error" && value.starts_with(error), "{shown}: {answer}");
    }
}

fn init(slots: &[u8]) -> Value {
    let slots: Vec<_> = slots.iter().map(|slot| json!({ "slot": slot, "stream": "a" })).collect();
    json!({ "type": "multistream/init", "request_id": "1", "slots": slots })
}

/// What Chromium would offer for one slot, shortened; nobody is behind it.
const OFFER: &str = "v=0\r\no=- 1 2 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\na=group:BUNDLE 0\r\n\
    m=video 9 UDP/TLS/RTP/SAVPF 102\r\nc=IN IP4 0.0.0.0\r\na=ice-ufrag:abcd\r\na=ice-pwd:abcdefghijklmnopqrstuvwx\r\n\
    a=fingerprint:sha-256 00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF:00:11:22:33:44:55:66:77:88:99:AA:BB:CC:DD:EE:FF\r\n\
    a=setup:actpass\r\na=mid:0\r\na=recvonly\r\na=rtcp-mux\r\na=rtpmap:102 H264/90000\r\n\
    a=fmtp:102 level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f\r\n";

#[test]
fn whatever_is_wrong_is_told_and_the_connection_lives() {
    let server = Server::start_configured(STREAMS);
    let mut socket = Socket::open(&server);
    let switch = json!({ "type": "multistream/switch", "slot": 0, "stream": "b" }).to_string();
    let offer = |sdp: &str| json!({ "type": "multistream/offer", "request_id": 7, "sdp": sdp }).to_string();

    socket.refused(offer(OFFER), "multistream/offer: session not initialized");
    socket.refused(switch.clone(), "multistream/switch: session not initialized");
    for text in ["", "garbage", "[]", "null", "{}"] {
        socket.refused(text, "message: ");
    }
    socket.refused(r#"{"type":"multistream/dance"}"#, "multistream/dance: unknown message");
    socket.refused(r#"{"type":"multistream/init"}"#, "multistream/init: missing field `slots`");
    socket.refused(init(&[0, 1, 2, 3]).to_string(), "multistream/init: too many slots requested");
    socket.refused(init(&[3]).to_string(), "multistream/init: invalid slot index");
    socket.refused("x".repeat(1_000_000), "message: at most 262144 bytes");
    socket.0.send(Message::binary(vec![0; 10])).unwrap();
    assert_eq!(socket.hear()["type"], "error");

    let ready = socket.ask(init(&[0]));
    assert_eq!((&ready["type"], &ready["request_id"]), (&json!("multistream/ready"), &json!("1")), "{ready}");
    assert_eq!(ready["slots"], 1);
    socket.refused(init(&[0]).to_string(), "multistream/init: session already initialized");
    socket.refused(switch, "multistream/switch: no active session");
    socket.refused(offer("v=0\r\n"), "multistream/offer: 1 slots need as many video sections");
    socket.refused(offer("nonsense\r\nm=video 9\r\n"), "multistream/offer: ");

    let answer = socket.ask(serde_json::from_str(&offer(OFFER)).unwrap());
    assert_eq!(
        (&answer["type"], &answer["request_id"]),
        (&json!("multistream/answer"), &json!(7)),
        "{answer}"
    );
    assert_eq!(answer["slots"], json!([{ "slot": 0, "stream": "a", "status": "pending" }]));
    assert!(answer["sdp"].as_str().unwrap().contains("a=candidate:"));
    let far = json!({ "type": "multistream/switch", "slot": 1, "stream": "b" }).to_string();
    socket.refused(far, "multistream/switch: invalid slot index");
    socket.refused(offer(OFFER), "multistream/offer: session already negotiated");
    socket.refused("x".repeat(1_000_000), "message: at most 262144 bytes");

    socket.say(r#"{"type":"multistream/close"}"#);
    let wrapped = json!({ "type": "multistream/init", "value": { "slots": [{ "slot": 0, "stream": "a" }] } });
    let again = socket.ask(wrapped);
    assert_eq!(again["value"]["slots"], 1, "{again}");
}

#[test]
fn without_streams_a_client_is_told_so() {
    let server = Server::start();
    Socket::open(&server).refused(init(&[0]).to_string(), "multistream/init: no streams are configured");
    assert!(server.streamer("cameras").is_none());
}

#[test]
fn the_streamer_of_the_streams_is_kept_until_they_change() {
    let mut server = Server::start_configured(STREAMS);
    let pid = |server: &Server| server.stats_until("cameras", "it reports", |_| true).process.pid;
    let first = server.state_until("cameras", StreamerState::Running);
    assert_eq!(first.spec.sources.keys().collect::<Vec<_>>(), ["a", "b"]);
    let before = pid(&server);

    server.kill();
    server.start_again();
    server.state_until("cameras", StreamerState::Running);
    assert_eq!(pid(&server), before, "it is adopted");

    server.kill();
    server.configure("streams: {c: 'test:#width=160#height=96'}");
    server.start_again();
    let now = server.state_until("cameras", StreamerState::Running);
    assert_eq!(now.spec.sources.keys().collect::<Vec<_>>(), ["c"]);
    assert_ne!(pid(&server), before, "it is another one");
    eventually("nothing is left of the first one", || (server.run_dirs().len() == 1).then_some(()));
}

#[test]
fn a_configuration_that_cannot_be_ends_the_start_with_its_reason() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("oriel.yaml");
    for (yaml, reason) in [
        ("lisen: 127.0.0.1:0", "did you mean `listen`?"),
        ("streams: {a: 'rtsp:///nowhere'}", "streams.a"),
        ("multistream: {max_slots: 99}", "multistream.max_slots: must be from 1 to 16"),
        ("listen: 0.0.0.0:0", "without an admin secret"),
    ] {
        std::fs::write(&file, yaml).unwrap();
        let output =
            Command::new(binary("web-server")).env("ORIEL_CONFIG", &file).output().expect("it starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.code() == Some(2) && said.contains(reason), "{yaml}: {said}");
    }
}
