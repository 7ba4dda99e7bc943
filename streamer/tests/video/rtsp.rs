//! Cameras: a real RTSP server sends films whose pictures count, and what the feed gets is decoded.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use common::slots::ReaderProgram;
use harness::camera::{Clip, RtspServer, STEPS, answering, number, serve};
use streamer::media::Size;
use streamer::source::Event;

use crate::picture::Decoded;
use crate::{PATIENCE, STAGES, Stage, alone};

/// Which picture of the film this is.
pub fn number_of(decoded: &Decoded) -> u32 {
    number(decoded.at(decoded.size.width / 2, decoded.size.height / 2)[0])
}

/// Takes so many pictures, each of which must be the one after the last.
#[track_caller]
pub fn count_up(stage: &mut Stage, pictures: u32) {
    let mut last = number_of(&stage.next());
    for n in 1..pictures {
        let next = number_of(&stage.next());
        assert_eq!(next, (last + 1) % STEPS, "picture {n} follows {last}");
        last = next;
    }
}

/// Listens for two seconds; the tone must be there and the packets one after the other.
#[track_caller]
pub fn hear_the_tone(stage: &Stage) {
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let (mut heard, mut expected, mut gaps) = (Vec::new(), None, 0);
    while heard.len() < 96_000 {
        let unit = stage.audio.recv_timeout(PATIENCE).expect("sound");
        let mut samples = [0i16; 5760 * 2];
        let len = decoder.decode(&unit.payload, &mut samples, false).unwrap();
        heard.extend(samples[..len * 2].iter().step_by(2).copied());
        gaps += u32::from(expected.is_some_and(|expected| expected != unit.time));
        expected = Some(unit.time + len as u64);
    }
    // One where the machine was stopped is none of the source's.
    assert!(gaps <= 3, "{gaps} gaps");
    let second = &heard[heard.len() - 48_000..];
    let rising = second.windows(2).filter(|pair| pair[0] < 0 && pair[1] >= 0).count();
    assert!((435..=445).contains(&rising), "440 Hz, not {rising}");
    assert!(second.iter().any(|sample| sample.abs() > 1000), "loud enough");
}

/// The next reason for which it is lost.
#[track_caller]
pub fn offline(stage: &mut Stage) -> String {
    stage.event("offline", |event| match event {
        Event::Offline(reason) => Some(reason),
        _ => None,
    })
}

/// A film on a server of its own, and a source that takes it.
fn on_air(
    clip: Clip<'_>,
    file: &str,
    sound: Option<&str>,
    more: &str,
) -> (tempfile::TempDir, RtspServer, Stage) {
    let dir = tempfile::tempdir().unwrap();
    let file = clip.make(dir.path(), file);
    let server = RtspServer::start(&[("film", serve(&file, sound))]);
    let stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"{more}}}"#, server.url("film")));
    (dir, server, stage)
}

#[test]
fn h264_is_passed_on_without_calling_an_encoder() {
    let (_dir, _server, mut stage) = on_air(Clip::default(), "film.mp4", None, "");
    stage.started();
    count_up(&mut stage, 40);
    let info = stage.source.info();
    assert_eq!((info.size, info.fps, info.audio), (Size { width: 320, height: 180 }, 12, false));
    assert_eq!(stage.counters.encoded.get(), 0);
    assert!(stage.counters.captured.get() >= 40);
    let still = stage.snapshot();
    assert_eq!(still.size, info.size);
    let [blue, green, red] = [0, 1, 2].map(|channel| still.pixels[4 * (320 * 90 + 160) + channel]);
    assert!(blue.abs_diff(green) < 8 && green.abs_diff(red) < 8, "grey");
    assert!(stage.source.frames().is_none() && stage.source.take_sink().is_none());
    let resized = stage.source.resize(Size { width: 640, height: 360 }).blocking_recv().unwrap();
    assert_eq!(resized.unwrap_err().to_string(), "a rtsp source has no size of its own choice");
}

#[test]
fn pictures_have_the_times_of_the_camera() {
    let (_dir, _server, mut stage) = on_air(Clip::default(), "film.mp4", None, r#","transport":"udp""#);
    stage.started();
    let mut last = stage.video.recv_timeout(PATIENCE).unwrap();
    for _ in 0..24 {
        let unit = stage.video.recv_timeout(PATIENCE).unwrap();
        assert!(unit.captured <= Instant::now());
        let gap = (unit.captured - last.captured).as_secs_f64() * 12.0;
        // The first pictures come in a burst that shows the least delay.
        assert!((0.0..1.6).contains(&gap), "{gap} frames");
        last = unit;
    }
    // Whenever the least delay so far is undercut, on a busy machine long after the first, times jump by what it is less.
    let mut in_a_row = 0;
    let mut gaps = Vec::new();
    while in_a_row < 24 {
        let unit = stage.video.recv_timeout(PATIENCE).unwrap();
        let gap = (unit.captured - last.captured).as_secs_f64() * 12.0;
        in_a_row = if (0.95..1.05).contains(&gap) { in_a_row + 1 } else { 0 };
        gaps.push(gap);
        assert!(gaps.len() < 150, "jitter of the network is in the times, in frames: {gaps:?}");
        last = unit;
    }
}

#[test]
fn aac_arrives_as_opus() {
    let clip = Clip { sound: Some("-c:a aac -b:a 96k -ac 2"), ..Clip::default() };
    let (_dir, _server, mut stage) = on_air(clip, "film.mp4", Some("mpeg4-generic"), "");
    stage.started();
    assert!(stage.source.info().audio);
    hear_the_tone(&stage);
    count_up(&mut stage, 20);
    assert_eq!((stage.counters.encoded.get(), stage.counters.audio_encoded.get()), (0, 0));
}

#[test]
fn opus_is_passed_on() {
    let clip = Clip { sound: Some("-c:a libopus -b:a 96k -ac 2"), ..Clip::default() };
    let (_dir, _server, mut stage) = on_air(clip, "film.mp4", Some("opus"), "");
    stage.started();
    hear_the_tone(&stage);
    count_up(&mut stage, 20);
}

#[test]
fn g711_arrives_as_opus() {
    let clip = Clip { sound: Some("-c:a pcm_mulaw -ar 8000 -ac 1"), ..Clip::default() };
    let (_dir, _server, mut stage) = on_air(clip, "film.mov", Some("pcmu"), "");
    stage.started();
    hear_the_tone(&stage);
    count_up(&mut stage, 20);
}

#[test]
fn sound_that_is_not_wanted_is_not_taken() {
    let clip = Clip { sound: Some("-c:a aac -b:a 96k -ac 2"), ..Clip::default() };
    let (_dir, _server, mut stage) = on_air(clip, "film.mp4", Some("mpeg4-generic"), r#","audio":false"#);
    stage.started();
    count_up(&mut stage, 12);
    assert!(!stage.source.info().audio && stage.audio.try_recv().is_err());
}

#[test]
fn picture_and_sound_that_belong_together_stay_together() {
    let clip = Clip { sound: Some("-c:a aac -b:a 96k -ac 2"), ..Clip::default() };
    let (_dir, _server, mut stage) = on_air(clip, "film.mp4", Some("mpeg4-generic"), "");
    stage.started();
    let mut newest = Instant::now();
    for _ in 0..36 {
        newest = stage.video.recv_timeout(PATIENCE).unwrap().captured;
    }
    let mut heard = stage.audio.recv_timeout(PATIENCE).expect("sound").captured;
    // They come by two processes, of which one may be kept from its turn for a while.
    let deadline = Instant::now() + PATIENCE;
    loop {
        newest = stage.video.try_iter().last().map_or(newest, |unit| unit.captured);
        heard = stage.audio.try_iter().last().map_or(heard, |unit| unit.captured);
        let apart = newest.max(heard) - newest.min(heard);
        if apart < Duration::from_millis(400) {
            break;
        }
        assert!(Instant::now() < deadline, "{apart:?} apart");
        std::thread::sleep(Duration::from_millis(10));
    }
}

#[test]
fn b_frames_are_encoded_anew_and_come_in_order() {
    for said in ["", " -bsf:v h264_metadata=delete_filler=1"] {
        let video = format!("-c:v libx264 -preset veryfast -bf 2 -b_strategy 0 -g 12 -pix_fmt yuv420p{said}");
        let clip = Clip { video: &video, ..Clip::default() };
        let (_dir, _server, mut stage) = on_air(clip, "film.mp4", None, "");
        stage.started();
        // The first picture may have been passed on as it was, and comes again: that others are shown before it is
        // seen only when they come.
        stage.next();
        count_up(&mut stage, 40);
    }
}

#[test]
fn profiles_that_browsers_do_not_decode_are_encoded_anew() {
    for format in ["-profile:v high444 -pix_fmt yuv444p", "-profile:v high10 -pix_fmt yuv420p10le"] {
        let video = format!("-c:v libx264 -preset veryfast -bf 0 -g 12 {format}");
        let clip = Clip { video: &video, ..Clip::default() };
        let (_dir, _server, mut stage) = on_air(clip, "film.mp4", None, "");
        stage.started();
        count_up(&mut stage, 20);
    }
}

#[test]
fn a_camera_that_loses_power_is_offline_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = [("film", serve(&Clip::default().make(dir.path(), "film.mp4"), None))];
    let server = RtspServer::start(&mounts);
    let port = server.port();
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url("film")));
    stage.started();
    count_up(&mut stage, 12);
    drop(server);
    let reason = offline(&mut stage);
    assert!(!reason.is_empty() && !reason.contains('\n'), "{reason:?}");
    let refused = offline(&mut stage);
    assert!(refused.contains("onnect"), "{refused}");
    while stage.video.try_recv().is_ok() {}
    let _server = RtspServer::start_at(port, None, &mounts);
    stage.started();
    assert!(stage.next().keyframe, "it begins again with a keyframe");
    count_up(&mut stage, 12);
}

#[test]
fn a_wrong_password_is_told_without_it_and_the_right_one_works() {
    let dir = tempfile::tempdir().unwrap();
    let mounts = [("film", serve(&Clip::default().make(dir.path(), "film.mp4"), None))];
    let server = RtspServer::start_at(0, Some("admin:right@horse"), &mounts);
    let source = |login: &str| {
        let url = server.url("film").replace("rtsp://", &format!("rtsp://{login}"));
        Stage::start(&format!(r#"{{"type":"rtsp","url":"{url}"}}"#))
    };
    for (login, part) in
        [("admin:wrong-horse@", "refuses user or password"), ("", "wants a user and a password")]
    {
        let reason = offline(&mut source(login));
        assert!(reason.contains(part) && !reason.contains("horse"), "{reason}");
    }
    let mut stage = source("admin:right%40horse@");
    stage.started();
    count_up(&mut stage, 12);
}

#[test]
fn what_a_camera_does_not_have_is_told() {
    let (_dir, server, _stage) = on_air(Clip::default(), "film.mp4", None, "");
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url("other")));
    let reason = offline(&mut stage);
    assert!(reason.contains("404"), "{reason}");
}

/// Makes another answer of one.
type Change = fn(&str) -> String;

/// Stands in front of a camera and changes its answers; gives its URL. As many connections as come.
fn in_front_of(server: &RtspServer, change: Change) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/film", listener.local_addr().unwrap());
    let port = server.port();
    std::thread::spawn(move || {
        for client in listener.incoming() {
            let client = client.unwrap();
            let camera = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
            let (mut from_client, mut to_camera) = (client.try_clone().unwrap(), camera.try_clone().unwrap());
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_client, &mut to_camera);
                let _ = to_camera.shutdown(std::net::Shutdown::Both);
            });
            std::thread::spawn(move || {
                let (mut from_camera, mut to_client, mut buffer) = (camera, client, [0; 65536]);
                while let Ok(len @ 1..) = from_camera.read(&mut buffer) {
                    // Answers to what is asked before there is media come alone.
                    let answer = std::str::from_utf8(&buffer[..len]).ok();
                    let changed = answer.filter(|answer| answer.starts_with("RTSP/1.0")).map(change);
                    let bytes = changed.as_deref().map_or(&buffer[..len], str::as_bytes);
                    if to_client.write_all(bytes).is_err() {
                        break;
                    }
                }
                let _ = to_client.shutdown(std::net::Shutdown::Both);
            });
        }
    });
    url
}

/// With the lines changed that begin so.
fn with_line(answer: &str, beginning: &str, change: impl Fn(&str) -> String) -> String {
    let lines = answer
        .split("\r\n")
        .map(|line| if line.starts_with(beginning) { change(line) } else { line.to_owned() });
    lines.collect::<Vec<_>>().join("\r\n")
}

#[test]
fn a_camera_that_is_not_understood_is_read_by_ffmpeg_and_it_is_said_why() {
    let dir = tempfile::tempdir().unwrap();
    let server = RtspServer::start(&[("film", serve(&Clip::default().make(dir.path(), "film.mp4"), None))]);
    let session: Change = |answer| {
        with_line(answer, "Session:", |line| {
            format!("{};timeout=30;x=1", line.split(';').next().unwrap_or_default())
        })
    };
    let ssrc: Change = |answer| {
        with_line(answer, "Transport:", |line| {
            let known: Vec<_> = line.split(';').filter(|part| !part.starts_with("ssrc")).collect();
            format!("{};ssrc=DEADBEEF", known.join(";"))
        })
    };
    for (said, change) in [("timeout", session), ("ssrc", ssrc)] {
        let url = in_front_of(&server, change);
        let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{url}"}}"#));
        stage.started();
        count_up(&mut stage, 24);
        let reader = stage.source.info().reader.expect("a reader");
        assert_eq!(reader.program, ReaderProgram::Ffmpeg);
        let reason = reader.reason.expect("a reason");
        assert!(reason.contains(said) && !reason.contains('\n'), "{reason}");
        let events = stage.events_so_far();
        assert!(!events.iter().any(|event| matches!(event, Event::Offline(_))), "{events:?}");
    }
}

#[test]
fn a_camera_that_has_moved_is_followed() {
    let dir = tempfile::tempdir().unwrap();
    let server = RtspServer::start(&[("film", serve(&Clip::default().make(dir.path(), "film.mp4"), None))]);
    let moved = answering(&format!("302 Moved Temporarily\r\nLocation: {}", server.url("film")));
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"rtsp://{moved}/x"}}"#));
    stage.started();
    count_up(&mut stage, 24);
    let reader = stage.source.info().reader.expect("a reader");
    assert_eq!((reader.program, reader.reason), (ReaderProgram::Streamer, None));
}

#[test]
fn a_camera_that_has_moved_often_or_to_the_same_host_is_followed_and_one_that_goes_round_is_not() {
    let dir = tempfile::tempdir().unwrap();
    let server = RtspServer::start(&[("film", serve(&Clip::default().make(dir.path(), "film.mp4"), None))]);
    let mut to = server.url("film");
    for _ in 0..5 {
        to = format!("rtsp://{}/x", answering(&format!("301 Moved\r\nLocation: {to}")));
    }
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{to}"}}"#));
    stage.started();
    count_up(&mut stage, 5);
    // A relative location leads back to where it came from.
    let round = answering("302 Found\r\nLocation: /round");
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"rtsp://{round}/x"}}"#));
    let reason = offline(&mut stage);
    assert!(reason.contains("more than 5 times") && !reason.contains("ffmpeg"), "{reason}");
}

#[test]
fn what_ffmpeg_does_not_understand_either_is_told_with_both_reasons() {
    let camera = answering("500 Out of film");
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"rtsp://{camera}/x"}}"#));
    let reason = offline(&mut stage);
    assert!(reason.contains("500") && reason.contains("; ffmpeg: "), "{reason}");
    let reader = stage.source.info().reader.expect("a reader");
    assert_eq!((reader.program, reader.reason), (ReaderProgram::Streamer, None));
}

#[test]
fn a_camera_that_sends_something_else_is_passed_on_if_browsers_know_it_and_encoded_anew_if_not() {
    // RTP takes JPEG in blocks of eight.
    let live = "videotestsrc is-live=true ! video/x-raw,format=I420,width=320,height=176,framerate=12/1";
    let server = RtspServer::start(&[
        ("vp8", format!("{live} ! vp8enc deadline=1 keyframe-max-dist=12 ! rtpvp8pay name=pay0 pt=96")),
        ("jpeg", format!("{live} ! jpegenc ! rtpjpegpay name=pay0 pt=26")),
    ]);
    for (name, codec) in [("vp8", VideoCodec::VP8), ("jpeg", VideoCodec::H264)] {
        let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url(name)));
        stage.started();
        let info = stage.source.info();
        assert_eq!((info.codec, info.size), (codec, Size { width: 320, height: 176 }), "{name}");
        let units: Vec<_> = (0..30).map(|_| stage.video.recv_timeout(PATIENCE).unwrap()).collect();
        assert!(units[0].keyframe && units.iter().all(|unit| unit.codec == codec), "{name}");
        assert_eq!(stage.counters.encoded.get(), 0);
    }
}

#[test]
fn a_source_that_is_dropped_leaves_nothing_behind() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let video = "-c:v libx264 -preset veryfast -bf 2 -b_strategy 0 -g 12 -pix_fmt yuv420p";
    let clip = Clip { video, sound: Some("-c:a aac -b:a 96k -ac 2"), ..Clip::default() };
    let file = clip.make(dir.path(), "film.mp4");
    let server = RtspServer::start(&[("film", serve(&file, Some("mpeg4-generic")))]);
    let mut descriptors = Vec::new();
    // The first one starts what stays for all of them.
    for _ in 0..3 {
        let mut stage =
            Stage::start_beside(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url("film")), None);
        stage.started();
        hear_the_tone(&stage);
        assert_eq!(ffmpegs(), 2, "one for the picture, one for the sound");
        let start = Instant::now();
        drop(stage);
        assert!(start.elapsed() < PATIENCE / 4, "{:?}", start.elapsed());
        assert_eq!(ffmpegs(), 0);
        let me = harness::Process::read(std::process::id().cast_signed()).unwrap();
        descriptors.push(me.descriptors().len());
    }
    assert_eq!(descriptors[1], descriptors[2], "descriptors after each");
}

/// How many children of ours are ffmpeg.
pub fn ffmpegs() -> usize {
    let me = std::process::id().cast_signed();
    let is_ours =
        |process: &harness::Process| process.parent == me && process.command_line.contains("ffmpeg");
    harness::process::all().iter().filter(|process| is_ours(process)).count()
}

#[test]
fn starting_does_not_wait_for_a_camera_that_is_not_there() {
    let _beside = STAGES.read().unwrap_or_else(PoisonError::into_inner);
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("rtsp://{}/film", listener.local_addr().unwrap());
    let start = Instant::now();
    let stage = Stage::start_beside(&format!(r#"{{"type":"rtsp","url":"{url}"}}"#), None);
    assert_eq!(stage.source.info().size, Size { width: 0, height: 0 });
    assert!(stage.source.picture().blocking_recv().is_err(), "no picture yet");
    drop(stage);
    assert!(start.elapsed() < Duration::from_secs(5), "nor does ending it");
}
