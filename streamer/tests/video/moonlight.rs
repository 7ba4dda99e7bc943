//! A Moonlight host, played by a program that shares no code with the client: pictures are decoded, and their codes read.

use std::sync::LazyLock;
use std::time::{Duration, Instant};

use gamestream::http::{Target, get};
use gamestream::identity::Identity;
use gamestream::pairing::{Pairing, Random, Step};
use harness::FakeHost;
use harness::gamestream::PIN;
use serde_json::{Value, json};
use streamer::input::sink::{Action, Press, TouchPhase};
use streamer::source::{Error, Event};

use crate::{PATIENCE, Stage};

/// Any key and certificate do. RSA keys take seconds to make.
const KEY: &str = include_str!("../../../tests/fake-gamestream-host/data/second.key.pem");
const CERTIFICATE: &str = include_str!("../../../tests/fake-gamestream-host/data/second.cert.pem");
const UNIQUE_ID: &str = "0123456789abcdef";

static IDENTITY: LazyLock<Identity> = LazyLock::new(|| Identity::from_pem(CERTIFICATE, KEY).unwrap());

/// Pairs; the host's certificate.
fn pair(host: &FakeHost) -> String {
    let random = Random { salt: [1; 16], challenge: [2; 16], secret: [3; 16] };
    let (mut pairing, mut step) = Pairing::start(&IDENTITY, PIN, random);
    loop {
        let (tls, parameters) = match step {
            Step::Ask(parameters) => (None, parameters),
            Step::AskOverTls(parameters, certificate) => {
                (Some(IDENTITY.tls(certificate).unwrap()), parameters)
            }
            Step::Paired(certificate) => return pem(&certificate),
        };
        let ports = host.ports();
        let port = if tls.is_some() { ports.https_port } else { ports.http_port };
        let target = Target { host: "127.0.0.1", port, tls: tls.as_ref() };
        let path = format!("/pair?uniqueid={UNIQUE_ID}&uuid=0123456789abcdef0123456789abcdef&{parameters}");
        let answer = get(&target, &path, PATIENCE).unwrap();
        step = pairing.answer(&answer.text()).unwrap();
    }
}

fn pem(der: &[u8]) -> String {
    use base64::Engine as _;
    let text = base64::engine::general_purpose::STANDARD.encode(der);
    let lines: Vec<_> = text.as_bytes().chunks(64).map(|line| std::str::from_utf8(line).unwrap()).collect();
    format!("-----BEGIN CERTIFICATE-----\n{}\n-----END CERTIFICATE-----\n", lines.join("\n"))
}

fn source(host: &FakeHost, certificate: &str) -> Value {
    json!({
        "type": "moonlight", "host_id": "h", "app": "Desktop",
        "width": 640, "height": 360, "fps": 30, "bitrate_kbps": 4000,
        "access": {
            "address": "127.0.0.1", "https_port": host.ports().https_port, "unique_id": UNIQUE_ID,
            "host_certificate": certificate, "certificate": CERTIFICATE, "key": KEY,
        },
    })
}

/// A source on a host that behaves like this.
fn streaming(scenario: &Value) -> (FakeHost, Stage) {
    let host = FakeHost::start(scenario);
    let certificate = pair(&host);
    let stage = Stage::start(&source(&host, &certificate).to_string());
    (host, stage)
}

/// The numbers of the next `count` pictures, each of which must be whole.
fn numbers(stage: &mut Stage, count: usize) -> Vec<u32> {
    (0..count).map(|_| stage.next().code().expect("a picture with a code that can be read").frame).collect()
}

#[track_caller]
fn no_complaints(host: &FakeHost) {
    let state = host.state();
    assert_eq!(state["complaints"], json!([]), "what the host saw was not as it should be");
}

#[test]
fn picture_and_sound_come_as_the_host_sends_them() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    let first = stage.next();
    assert!(first.keyframe && (first.size.width, first.size.height) == (640, 360));
    let numbers = numbers(&mut stage, 60);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    let sound: Vec<_> = (0..20).map(|_| stage.audio.recv_timeout(PATIENCE).expect("sound")).collect();
    assert!(sound.windows(2).all(|pair| pair[1].time == pair[0].time + 480), "10 ms each, without gaps");
    assert_eq!(stage.counters.encoded.get(), 0, "nothing is encoded anew");
    let snapshot = stage.snapshot();
    assert_eq!((snapshot.size.width, snapshot.size.height), (640, 360));
    no_complaints(&host);
    drop(stage);
    harness::eventually("the session has ended", || host.state()["session"].is_null().then_some(()));
}

#[test]
fn everything_may_be_encrypted_or_as_old_hosts_have_it() {
    let old = json!({
        "encrypted_rtsp": false, "session_ids": false, "encryption_supported": 0, "encryption_requested": 0,
        "feature_flags": 0, "sdp_spaces": true, "frame_header": "constant", "timestamps": false,
    });
    for scenario in [json!({"encryption_requested": 7}), old, json!({"short_last_packet": true})] {
        let (host, mut stage) = streaming(&scenario);
        stage.started();
        let numbers = numbers(&mut stage, 20);
        assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{scenario}: {numbers:?}");
        stage.audio.recv_timeout(PATIENCE).expect("sound");
        no_complaints(&host);
    }
}

#[test]
fn frames_of_several_blocks_and_hundreds_of_packets_lose_nothing() {
    // A debug build takes its time for each.
    let (host, mut stage) = streaming(&json!({"filler_bytes": 300_000, "max_fps": 5}));
    stage.started();
    let numbers = numbers(&mut stage, 20);
    assert!(numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    no_complaints(&host);
}

#[test]
fn what_is_lost_is_replaced_or_asked_for_anew_and_never_shown_broken() {
    let network = |kind: &str, share: f64| match kind {
        "random" => json!({"loss": share}),
        _ => json!({"burst": share / 4.0, "burst_length": 4}),
    };
    for (kind, share) in [("random", 0.05), ("random", 0.10), ("burst", 0.08)] {
        let (host, mut stage) = streaming(&json!({"video": network(kind, share), "filler_bytes": 20_000}));
        stage.started();
        let numbers = numbers(&mut stage, 90);
        assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]), "{kind} {share}: {numbers:?}");
        let lost = numbers[89] - numbers[0] - 89;
        let known = stage.host.get().unwrap();
        eprintln!("{kind} {share}: {lost} frames missing, {known:?}");
        let blocks = host.counter("video_blocks");
        let hopeless = host.counter("video_blocks_lost");
        assert!(hopeless * 2 < blocks, "the test's own losses are too much: {hopeless} of {blocks}");
        no_complaints(&host);
    }
}

#[test]
fn packets_that_come_late_or_twice_cost_nothing() {
    let video = json!({"reorder": 0.1, "reorder_ms": 3, "duplicate": 0.1});
    let (host, mut stage) = streaming(&json!({"video": video, "audio": {"reorder": 0.1, "reorder_ms": 3}}));
    stage.started();
    let numbers = numbers(&mut stage, 60);
    assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]), "{numbers:?}");
    no_complaints(&host);
}

#[test]
fn lies_of_the_host_do_no_harm() {
    let lies = json!([
        "shard_index",
        "shard_count",
        "block_index",
        "future_frame",
        "past_frame",
        "short",
        "long",
        "noise",
        "empty"
    ]);
    let (_host, mut stage) = streaming(&json!({"lies": lies, "lie_share": 0.05}));
    stage.started();
    let numbers = numbers(&mut stage, 60);
    assert!(numbers.windows(2).all(|pair| pair[1] > pair[0]), "{numbers:?}");
}

#[test]
fn joiners_ask_for_one_keyframe_together() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    numbers(&mut stage, 10);
    for _ in 0..20 {
        stage.watch();
    }
    stage.until("a keyframe", |picture| picture.keyframe);
    let asked = host.counter("keyframe_requests");
    assert!((1..=4).contains(&asked), "{asked} requests");
}

#[test]
fn what_viewers_do_reaches_the_host() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    let mut sink = stage.source.take_sink().expect("a sink");
    // Whatever is done before the control stream is there goes nowhere.
    harness::eventually("the host listens", || {
        sink.apply(&Action::PointerBy { dx: 1.0, dy: 0.0 }).unwrap();
        (!host.inputs().is_empty()).then_some(())
    });
    let key = |code: &str, press| Action::Key(common::input::KeyCode::parse(code).unwrap(), press);
    let at = common::input::Position { x: 320.0, y: 90.0 };
    let pad = common::input::PadState { buttons: 1, ..Default::default() };
    for action in [
        key("ShiftLeft", Press::Down),
        key("KeyA", Press::Down),
        key("KeyA", Press::Up),
        key("ShiftLeft", Press::Up),
        Action::Text("é".into()),
        Action::PointerTo(at),
        Action::Button(common::input::Button::LEFT, Press::Down),
        Action::Button(common::input::Button::LEFT, Press::Up),
        Action::Wheel { dx: 1.0, dy: -0.5 },
        Action::Touch(1, TouchPhase::Begin, at),
        Action::Touch(1, TouchPhase::End, at),
        Action::Pad(0, common::input::PadKind::Xbox, pad),
        Action::PadGone(0),
    ] {
        sink.apply(&action).unwrap();
    }
    host.input("the key", |input| input["kind"] == "key" && input["vk"] == 0x41 && input["down"] == true);
    host.input("its release", |input| {
        input["kind"] == "key" && input["vk"] == 0xa0 && input["down"] == false
    });
    host.input("the position", |input| input["kind"] == "position" && input["x"] == 320 && input["y"] == 90);
    harness::eventually("all of it", || (host.inputs().len() >= 16).then_some(()));
    no_complaints(&host);
    host.act(&json!({"action": "rumble", "pad": 0, "low": 65535, "high": 0}));
    let motors = stage.event("rumble", |event| match event {
        Event::Rumble(0, motors) => Some(motors),
        _ => None,
    });
    assert_eq!((motors.strong, motors.weak), (1.0, 0.0));
}

#[test]
fn the_end_of_an_app_ends_the_source_with_its_reason() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    host.act(&json!({"action": "terminate", "code": 0x8003_0023_u32}));
    let reason = stage.event("the end", |event| match event {
        Event::Ended(ended) => Some(ended.message().to_owned()),
        _ => None,
    });
    assert!(reason.contains("app has ended"), "{reason}");
    assert_eq!(stage.host.get().unwrap().termination.as_deref(), Some("0x80030023"));
}

#[test]
fn a_session_that_is_lost_is_resumed() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    host.act(&json!({"action": "disconnect"}));
    stage.event("offline", |event| matches!(event, Event::Offline(_)).then_some(()));
    stage.started();
    assert_eq!(host.counter("sessions"), 2);
    // Those of the first session that are still in the queue, then a keyframe.
    stage.until("a keyframe", |picture| picture.keyframe);
    stage.until("a keyframe of the second session", |picture| picture.keyframe);
    assert!(stage.next().code().is_some());
}

#[test]
fn a_host_that_restarts_is_found_again() {
    let (host, mut stage) = streaming(&json!({}));
    stage.started();
    host.act(&json!({"action": "restart", "down_ms": 1500}));
    stage.event("offline", |event| matches!(event, Event::Offline(_)).then_some(()));
    stage.started();
}

/// Why a source does not start.
fn refused(scenario: &Value, change: impl Fn(&mut Value)) -> (&'static str, String) {
    let host = FakeHost::start(&json!({}));
    let certificate = pair(&host);
    host.change(scenario);
    let mut source = source(&host, &certificate);
    change(&mut source);
    let spec = serde_json::from_value(source).unwrap();
    let started =
        Stage::of(None, |outlets| streamer::source::start(&spec, streamer::source::Upstream::None, outlets));
    match started.err().expect("it does not start") {
        Error::Host { code, message, .. } => (code.as_str(), message),
        other => panic!("{other}"),
    }
}

#[test]
fn whatever_keeps_a_source_from_starting_has_its_code() {
    let nothing = |_: &mut Value| {};
    let other_app = |source: &mut Value| source["app"] = json!("Nonsense");
    for (scenario, change, expected) in [
        (json!({}), &other_app as &dyn Fn(&mut Value), "app_not_found"),
        (json!({"busy_with": 1093255277}), &nothing, "host_busy"),
        (json!({"certificate": "second"}), &nothing, "host_certificate_changed"),
        (json!({"http": {"serverinfo": "hang"}}), &nothing, "host_timeout"),
        (json!({"http": {"serverinfo": {"drip": 200}}}), &nothing, "host_timeout"),
        (json!({"http": {"applist": "bomb"}}), &nothing, "host_protocol"),
        (json!({"http": {"applist": "deep"}}), &nothing, "host_protocol"),
        (json!({"http": {"launch": "redirect"}}), &nothing, "host_protocol"),
        (json!({"http": {"launch": "endless"}}), &nothing, "host_protocol"),
        (
            json!({"http": {"launch": {"status": {"code": 4294967295i64, "message": "x"}}}}),
            &nothing,
            "host_refused",
        ),
        (json!({"rtsp": {"ANNOUNCE": {"status": 400}}}), &nothing, "host_refused"),
    ] {
        let begin = Instant::now();
        let (code, message) = refused(&scenario, change);
        assert_eq!(code, expected, "{scenario}: {message}");
        assert!(begin.elapsed() < Duration::from_secs(25), "{scenario}");
    }
}
