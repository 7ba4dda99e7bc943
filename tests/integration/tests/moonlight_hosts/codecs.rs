//! HEVC and AV1: what a viewer gets is what the host has sent, bit by bit; and what becomes of those who cannot decode it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use common::signal::{Role, ServerMessage, SlotState};
use fake_gamestream_host::clip;
use fake_gamestream_host::scenario::Codec;
use harness::{Picture, Server};
use native_peer::{Event, Media, Options, Swarm};
use serde_json::{Value, json};

use crate::host::Known;

/// Until enough has been seen, on a busy machine.
const PATIENCE: Duration = Duration::from_secs(30);
/// So many pictures are compared: more than there are in a clip.
const ENOUGH: usize = 120;

/// Three seconds of 640×360, with a keyframe every second.
#[track_caller]
fn film(dir: &Path, name: &str, encoder: &str) -> PathBuf {
    let file = dir.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", "testsrc2=size=640x360:rate=30", "-t", "3"]);
    ffmpeg.args(["-pix_fmt", "yuv420p", "-g", "30"]).args(encoder.split_whitespace()).arg(&file);
    let output = ffmpeg.output().expect("ffmpeg runs: the package \"ffmpeg\" is needed");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    file
}

const H264: &str =
    "-c:v libx264 -preset ultrafast -tune zerolatency -x264-params aud=1:repeat-headers=1:scenecut=0";
const HEVC: &str = "-c:v libx265 -preset ultrafast -tune zerolatency \
                    -x265-params aud=1:repeat-headers=1:bframes=0:scenecut=0:log-level=none";
const AV1: &str = "-c:v libsvtav1 -preset 12 -svtav1-params pred-struct=1:rc=0";

/// What of a unit travels: NAL units but for delimiters, each behind four bytes; OBUs but for delimiters.
fn on_the_way(codec: Codec, unit: &[u8]) -> Vec<u8> {
    if codec == Codec::Av1 {
        return unit.strip_prefix(&[0x12, 0]).unwrap_or(unit).to_vec();
    }
    let starts: Vec<usize> = (0..unit.len() - 3).filter(|at| unit[*at..].starts_with(&[0, 0, 1])).collect();
    let ends = starts[1..].iter().copied().chain([unit.len()]);
    let mut all = Vec::new();
    for (start, end) in starts.iter().zip(ends) {
        let nal = &unit[start + 3..end];
        let nal = &nal[..nal.iter().rposition(|byte| *byte != 0).unwrap() + 1];
        let is_delimiter = if codec == Codec::H264 { nal[0] & 31 == 9 } else { nal[0] >> 1 == 35 };
        if !is_delimiter {
            all.extend([&[0, 0, 0, 1], nal].concat());
        }
    }
    all
}

fn peer(server: &Server, media: Media) -> Swarm {
    let options = Options { server: server.address(), streamer: "film".into(), role: Role::Viewer, media };
    let mut swarm = Swarm::new(options).unwrap();
    swarm.join().unwrap();
    swarm
}

/// The units that a viewer gets.
#[track_caller]
fn units(server: &Server, codec: VideoCodec) -> Vec<Vec<u8>> {
    let mut swarm = peer(server, Media::UnitsOf(codec));
    let mut units = Vec::new();
    let deadline = Instant::now() + PATIENCE;
    while units.len() < ENOUGH {
        match swarm.next(deadline).unwrap().expect("units") {
            (_, Event::Unit(unit)) => units.push(unit.data.to_vec()),
            (_, Event::Closed(reason)) => panic!("closed: {reason}"),
            _ => {}
        }
    }
    units
}

/// Every unit is one of the film's, and follows the one before it, unless it is a keyframe, which somebody has asked for.
#[track_caller]
fn compare(film: &[clip::Unit], codec: Codec, seen: &[Vec<u8>]) {
    let sent: Vec<_> = film.iter().map(|unit| on_the_way(codec, &unit.data)).collect();
    let mut last = None;
    for (n, unit) in seen.iter().enumerate() {
        let place = sent.iter().position(|sent| sent == unit);
        let place = place.unwrap_or_else(|| panic!("unit {n} of {} bytes was not sent", unit.len()));
        let follows = last.is_some_and(|last| (last + 1) % sent.len() == place);
        assert!(follows || film[place].keyframe, "unit {n} is picture {place}, after {last:?}");
        last = Some(place);
    }
}

#[track_caller]
fn passed_on(codec: Codec, name: &str, encoder: &str, spoken: VideoCodec) {
    let dir = tempfile::tempdir().unwrap();
    let file = film(dir.path(), name, encoder);
    let server = Server::start();
    // All that is optional on the way, so that it is all of the client that is in between.
    let host = Known::pair(
        &server,
        &json!({ "codecs": 0x1_0101, "clips": { codec_name(codec): file }, "encryption_requested": 7,
            "video": { "loss": 0.01, "reorder": 0.02, "reorder_ms": 3 } }),
    );
    host.stream_of(&server, "film", codec_name(codec)).expect(201);
    let seen = units(&server, spoken);
    compare(&clip::units(codec, &std::fs::read(&file).unwrap()), codec, &seen);
    let snapshot = server.get("/api/streamers/film/snapshot").expect(200);
    let picture = Picture::from_png(&snapshot.body);
    assert!((picture.width, picture.height) == (640, 360) && picture.colours() > 10);
    assert_eq!(host.complaints(), json!([]));
}

fn codec_name(codec: Codec) -> &'static str {
    match codec {
        Codec::H264 => "h264",
        Codec::Hevc => "hevc",
        Codec::Av1 => "av1",
    }
}

#[test]
fn h264_of_a_real_encoder_is_passed_on_bit_by_bit() {
    passed_on(Codec::H264, "film.h264", H264, VideoCodec::H264);
}

#[test]
fn hevc_is_passed_on_bit_by_bit() {
    passed_on(Codec::Hevc, "film.hevc", HEVC, VideoCodec::H265);
}

#[test]
fn av1_is_passed_on_bit_by_bit() {
    passed_on(Codec::Av1, "film.ivf", AV1, VideoCodec::AV1);
}

#[test]
fn a_viewer_that_cannot_decode_it_is_told_so() {
    let dir = tempfile::tempdir().unwrap();
    let file = film(dir.path(), "film.hevc", HEVC);
    let server = Server::start();
    let host = Known::pair(&server, &json!({ "codecs": 0x101, "clips": { "hevc": file } }));
    host.stream_of(&server, "film", "hevc").expect(201);
    let mut swarm = peer(&server, Media::Units);
    let deadline = Instant::now() + PATIENCE;
    let error = loop {
        match swarm.next(deadline).unwrap().expect("a status") {
            (_, Event::Signal(ServerMessage::SlotStatus { status: SlotState::Error, error, .. })) => {
                break error;
            }
            (_, Event::Unit(_)) => panic!("it cannot decode this"),
            _ => {}
        }
    };
    assert_eq!(error.as_deref(), Some("codec_unsupported"));
}

#[test]
fn a_host_that_does_not_encode_it_is_not_asked_to() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    let known: Value = server.get(&host.path("")).expect(200).json();
    assert_eq!(known["codecs"], json!(["h264"]));
    for codec in ["hevc", "av1"] {
        let refused = host.stream_of(&server, codec, codec).expect(400).problem();
        assert_eq!(refused.code, "host_codec_unsupported", "{}", refused.detail);
    }
    assert_eq!(host.fake.state()["app"], Value::Null, "nothing was launched");
    let refused = host.stream_of(&server, "vp9", "vp9").expect(400).problem();
    assert!(refused.detail.contains("vp9"), "{}", refused.detail);
}
