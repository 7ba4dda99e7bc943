//! Files, programs and variants of other streams, by ffmpeg.

use std::path::Path;
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use harness::camera::{Clip, RtspServer, serve};
use streamer::feed::Tapping;
use streamer::media::Size;
use streamer::source::{Event, Upstream};

use crate::rtsp::{count_up, ffmpegs, hear_the_tone, number_of, offline};
use crate::{PATIENCE, Stage, alone};

/// A source from a spec, whose texts may hold quotes.
fn start(spec: &serde_json::Value) -> Stage {
    Stage::start(&spec.to_string())
}

fn file(path: &Path, more: &[(&str, serde_json::Value)]) -> Stage {
    let mut spec = serde_json::json!({ "type": "ffmpeg", "input": path });
    spec.as_object_mut()
        .unwrap()
        .extend(more.iter().map(|(name, value)| ((*name).to_owned(), value.clone())));
    start(&spec)
}

/// A shell command whose output is taken.
fn program(command: &str, audio: bool) -> Stage {
    start(&serde_json::json!({ "type": "exec", "command": command, "audio": audio }))
}

#[track_caller]
fn ended(stage: &mut Stage) -> String {
    stage.event("ended", |event| match event {
        Event::Ended(ended) => Some(ended.message().to_owned()),
        _ => None,
    })
}

#[test]
fn a_file_is_played_at_its_own_speed_and_has_an_end() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip { seconds: 3, sound: Some("-c:a aac -ac 2"), ..Clip::default() };
    let mut stage = file(&clip.make(dir.path(), "it's a film.mp4"), &[]);
    stage.started();
    let start = Instant::now();
    assert_eq!(ended(&mut stage), "the file is at its end");
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    let pictures = stage.counters.captured.get();
    assert!((30..=36).contains(&pictures), "{pictures} pictures");
    count_up(&mut stage, 30);
    let seconds = stage.counters.audio_captured.get() as f64 * 0.02;
    assert!((2.5..3.2).contains(&seconds), "{seconds} s of sound");
    hear_the_tone(&stage);
}

#[test]
fn a_file_can_begin_again_and_may_have_no_sound() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip { seconds: 2, ..Clip::default() };
    let mut stage = file(&clip.make(dir.path(), "film.mp4"), &[("loop", true.into())]);
    stage.started();
    // A film of two seconds is one round of its pictures.
    count_up(&mut stage, 60);
    assert!(!stage.source.info().audio);
}

#[test]
fn a_file_that_begins_again_is_passed_on_without_a_pause() {
    let dir = tempfile::tempdir().unwrap();
    let h264 = Clip { seconds: 2, ..Clip::default() };
    let vp8 = Clip { video: "-c:v libvpx -deadline realtime -cpu-used 8 -g 12", ..h264 };
    for (file, codec) in [
        (h264.make(dir.path(), "film.mp4"), VideoCodec::H264),
        (h264.make(dir.path(), "film.ts"), VideoCodec::H264),
        (vp8.make(dir.path(), "film.webm"), VideoCodec::VP8),
    ] {
        let mut stage = played_again(&file);
        stage.started();
        // Three rounds. Less than half a second is between two, if not each time: the machine may be busy.
        let mut pauses = Vec::new();
        let mut last = stage.video.recv_timeout(PATIENCE).unwrap();
        for n in 0..60 {
            let unit = stage.video.recv_timeout(PATIENCE).unwrap();
            let gap = unit.captured - last.captured;
            assert_eq!(unit.codec, codec, "{n}");
            // The clip has two seconds of twelve pictures.
            if n % 24 == 23 {
                pauses.push(gap);
            }
            last = unit;
        }
        assert!(pauses.iter().any(|gap| *gap < Duration::from_millis(500)), "{codec:?}: {pauses:?}");
    }
}

/// A file that is passed on, again and again.
fn played_again(file: &Path) -> Stage {
    self::file(file, &[("loop", true.into()), ("video", "copy".into())])
}

#[test]
fn a_file_is_scaled_and_no_larger_than_asked_for() {
    let dir = tempfile::tempdir().unwrap();
    let more = [("height", 90.into()), ("bitrate_kbps", 100.into())];
    let mut stage = file(&Clip::default().make(dir.path(), "film.mp4"), &more);
    stage.started();
    assert_eq!(stage.next().size, Size { width: 160, height: 90 });
    let start = stage.video.recv_timeout(PATIENCE).unwrap();
    let units: Vec<_> = (0..60).map(|_| stage.video.recv_timeout(PATIENCE).unwrap()).collect();
    let seconds = (units[59].captured - start.captured).as_secs_f64();
    let bytes: usize = units.iter().map(|unit| unit.bytes).sum();
    assert!(bytes as f64 * 8.0 / seconds < 130_000.0, "{bytes} bytes in {seconds} s");
    assert!(units.iter().filter(|unit| unit.keyframe).count() >= 2, "every other second");
}

#[test]
fn what_cannot_be_read_is_told() {
    let reason = offline(&mut start(&serde_json::json!({ "type": "ffmpeg", "input": "/no/such/film.mp4" })));
    assert!(reason.contains("No such file"), "{reason}");
    let dir = tempfile::tempdir().unwrap();
    let noise = dir.path().join("noise.mp4");
    std::fs::write(&noise, [7; 4000]).unwrap();
    let reason = offline(&mut file(&noise, &[]));
    assert!(reason.contains("Invalid data"), "{reason}");
}

#[test]
fn a_playlist_from_elsewhere_may_not_name_files_of_this_machine() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { seconds: 2, ..Clip::default() }.make(dir.path(), "film.ts");
    let list =
        format!("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nfile://{}\n#EXT-X-ENDLIST\n", film.display());
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/list.m3u8", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{Read as _, Write as _};
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            let _ = connection.read(&mut [0; 4096]);
            let head =
                format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\nConnection: close\r\n\r\n", list.len());
            let _ = connection.write_all((head + &list).as_bytes());
        }
    });
    let mut stage = start(&serde_json::json!({ "type": "ffmpeg", "input": url, "audio": false }));
    offline(&mut stage);
    assert_eq!(stage.counters.captured.get(), 0);
}

#[test]
fn a_camera_read_by_ffmpeg_keeps_its_password_to_itself() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip { sound: Some("-c:a aac -ac 2"), ..Clip::default() };
    let film = serve(&clip.make(dir.path(), "film.mp4"), Some("mpeg4-generic"));
    let server = RtspServer::start_at(0, Some("admin:rightpass"), &[("film", film)]);
    let source = |login: &str| {
        let url = server.url("film").replace("rtsp://", &format!("rtsp://{login}@"));
        start(&serde_json::json!({ "type": "ffmpeg", "input": url, "video": "copy" }))
    };
    let reason = offline(&mut source("admin:wrongpass"));
    assert!(reason.contains("401") && !reason.contains("wrongpass"), "{reason}");
    let mut stage = source("admin:rightpass");
    stage.started();
    let me = std::process::id().cast_signed();
    let ours = harness::process::all()
        .into_iter()
        .find(|process| process.parent == me && process.command_line.contains("pipe:1"));
    let line = ours.expect("an ffmpeg of ours").command_line;
    assert!(!line.contains("rightpass"), "everybody can see arguments: {line}");
    count_up(&mut stage, 20);
    hear_the_tone(&stage);
}

#[test]
fn programs_are_read_in_every_container() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip::default().make(dir.path(), "film.mp4");
    for (container, audio) in [
        ("-f mpegts", false),
        ("-f mpegts", true),
        ("-f mp4 -movflags frag_keyframe+empty_moov+default_base_moof", false),
        ("-bsf:v h264_mp4toannexb -f h264", false),
        ("-f matroska", false),
    ] {
        let command =
            format!("ffmpeg -v error -re -i {} -c copy -flush_packets 1 {container} -", film.display());
        let mut stage = program(&command, audio);
        stage.started();
        count_up(&mut stage, 24);
        assert_eq!(stage.source.info().size, Size { width: 320, height: 180 });
        assert_eq!(stage.counters.encoded.get(), 0);
    }
}

#[test]
fn a_program_may_have_sound() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { sound: Some("-c:a aac -ac 2"), ..Clip::default() }.make(dir.path(), "film.mp4");
    let mut stage = program(&format!("ffmpeg -v error -re -i {} -c copy -f mpegts -", film.display()), true);
    stage.started();
    count_up(&mut stage, 24);
    hear_the_tone(&stage);
}

#[test]
fn a_program_that_fails_is_told_with_its_last_words() {
    let reason = offline(&mut program("echo first >&2; echo the lens is dirty >&2; exit 3", true));
    assert_eq!(reason, "the program ended (exit code 3): the lens is dirty");
    let spec = serde_json::json!({ "type": "exec", "command": ["no-such-camera-program", "x"] });
    let reason = offline(&mut start(&spec));
    assert_eq!(reason, "\"no-such-camera-program\" is not a program that can be run");
    let reason = offline(&mut program("printf 'no film at all'; exit 0", true));
    assert!(reason.contains("Invalid data"), "{reason}");
}

#[test]
fn b_frames_of_a_program_are_refused_when_they_are_to_be_passed_on() {
    let dir = tempfile::tempdir().unwrap();
    let video = "-c:v libx264 -preset veryfast -bf 2 -b_strategy 0 -g 12 -pix_fmt yuv420p";
    let film = Clip { video, ..Clip::default() }.make(dir.path(), "film.mp4");
    let command = format!("ffmpeg -v error -re -i {} -c copy -f mpegts -", film.display());
    let reason = offline(&mut program(&command, false));
    assert!(reason.contains("B-frames") && reason.contains("\"h264\""), "{reason}");
    let spec = serde_json::json!({ "type": "exec", "command": command, "audio": false, "video": "h264" });
    let mut stage = start(&spec);
    stage.started();
    count_up(&mut stage, 30);
}

#[test]
fn a_program_that_hangs_is_started_again() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { seconds: 3, ..Clip::default() }.make(dir.path(), "film.mp4");
    let mark = dir.path().join("hung");
    // Hangs the first time.
    let command = format!(
        "ffmpeg -v error -i {} -c copy -f mpegts -; [ -e {mark} ] || {{ touch {mark}; exec sleep 1000; }}",
        film.display(),
        mark = mark.display()
    );
    let mut stage = program(&command, false);
    stage.started();
    assert_eq!(offline(&mut stage), "nothing comes any more");
    stage.started();
}

#[test]
fn an_ffmpeg_that_is_killed_is_started_again_and_none_is_left_behind() {
    let _alone = alone();
    let dir = tempfile::tempdir().unwrap();
    let film = Clip::default().make(dir.path(), "film.mp4");
    let command = format!("ffmpeg -v error -re -i {} -c copy -f mpegts - | cat", film.display());
    let spec = serde_json::json!({ "type": "exec", "command": command, "audio": false }).to_string();
    let mut stage = Stage::start_beside(&spec, None);
    stage.started();
    let me = std::process::id().cast_signed();
    let ours = harness::process::all().into_iter().find(|process| {
        process.parent == me
            && process.command_line.starts_with("ffmpeg") | process.command_line.starts_with("/")
            && process.command_line.contains("pipe:1")
    });
    let ours = ours.expect("an ffmpeg of ours");
    assert!(!ours.environment.iter().any(|variable| variable.starts_with("CARGO")), "{:?}", ours.environment);
    rustix::process::kill_process(
        rustix::process::Pid::from_raw(ours.pid).unwrap(),
        rustix::process::Signal::KILL,
    )
    .unwrap();
    offline(&mut stage);
    stage.started();
    drop(stage);
    assert_eq!(ffmpegs(), 0);
    let left = harness::process::mentioning(dir.path());
    assert!(left.is_empty(), "{left:?}");
}

#[test]
fn a_variant_of_another_stream_is_scaled_and_has_its_times() {
    let beside = crate::STAGES.read().unwrap_or_else(std::sync::PoisonError::into_inner);
    let test = r#"{"type":"test","width":1280,"height":720,"fps":20,"audio":false}"#;
    let (mut original, tapping) = Stage::start_on(test, Upstream::None, Some(beside));
    original.started();
    let spec = r#"{"type":"ffmpeg","input":"camera1","height":360}"#;
    let (mut variant, _) = Stage::start_on(spec, Upstream::Stream(tapping.tap()), None);
    variant.started();
    assert_eq!(variant.source.info().size, Size { width: 640, height: 360 });
    assert!(!variant.source.info().audio);
    let mut frames = Vec::new();
    for _ in 0..40 {
        let unit = variant.video.recv_timeout(PATIENCE).unwrap();
        let delay = unit.captured.elapsed();
        assert!(delay < PATIENCE / 4, "{delay:?}");
        let decoded = variant.decoder.decode(&unit);
        assert_eq!(decoded.size, Size { width: 640, height: 360 });
        frames.push((unit.captured, decoded.code().map(|code| code.frame)));
    }
    let codes: Vec<_> = frames.iter().filter_map(|(_, code)| *code).collect();
    assert!(codes.len() >= 36, "the code is read in {} of 40 pictures", codes.len());
    assert!(codes.windows(2).all(|pair| pair[0] < pair[1]), "{codes:?}");
    let originals: Vec<_> = original.video.try_iter().map(|unit| unit.captured).collect();
    let near = |at: &Instant| {
        originals.iter().any(|other| at.max(other).duration_since(*at.min(other)) < Duration::from_millis(2))
    };
    assert!(frames.iter().all(|(captured, _)| near(captured)), "they were captured when the originals were");
    original.resize(640, 480);
    let resized = variant.event("resized", |event| match event {
        Event::Resized(size) => Some(size),
        _ => None,
    });
    assert_eq!(resized, Size { width: 480, height: 360 });
}

/// Takes so many pictures of a VP8 source, none of which is missing.
fn vp8_units(stage: &Stage, pictures: usize) {
    let units: Vec<_> = (0..pictures).map(|_| stage.video.recv_timeout(PATIENCE).unwrap()).collect();
    for unit in &units {
        assert_eq!(unit.codec, VideoCodec::VP8);
        // RFC 6386 §9.1, behind the four bytes of RFC 7741: a keyframe has this bit clear.
        assert_eq!(unit.keyframe, unit.payloads[0][4] & 1 == 0);
    }
    assert!(units.windows(2).all(|pair| pair[0].time < pair[1].time && pair[0].number + 1 == pair[1].number));
    let keyframes = units.iter().filter(|unit| unit.keyframe).count();
    assert!(keyframes >= 2, "{keyframes} of {pictures} pictures are keyframes");
}

/// What a VP8 source shows, decoded and encoded anew as H.264, counts on; and so do snapshots of it.
fn vp8_shows_the_film(stage: &Stage, tapping: &Tapping) {
    let spec = r#"{"type":"ffmpeg","input":"camera1"}"#;
    let (mut variant, _) = Stage::start_on(spec, Upstream::Stream(tapping.tap()), None);
    variant.started();
    assert_eq!(variant.source.info().codec, VideoCodec::H264);
    count_up(&mut variant, 20);
    let picture = stage.snapshot();
    assert_eq!(picture.size, Size { width: 320, height: 180 });
    let centre = picture.pixels[4 * (90 * 320 + 160)..][..3].to_vec();
    assert!(centre.iter().all(|value| value.abs_diff(centre[0]) < 8), "grey, not {centre:?}");
}

#[test]
fn a_file_can_be_encoded_anew_as_vp8() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip::default().make(dir.path(), "film.mp4");
    let spec = serde_json::json!({ "type": "ffmpeg", "input": film, "video": "vp8", "audio": false });
    let (mut stage, tapping) = Stage::start_on(&spec.to_string(), Upstream::None, None);
    stage.started();
    assert_eq!(stage.source.info().size, Size { width: 320, height: 180 });
    vp8_units(&stage, 36);
    vp8_shows_the_film(&stage, &tapping);
}

#[test]
fn vp8_is_passed_on_from_files_and_from_programs() {
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip { video: "-c:v libvpx -deadline realtime -cpu-used 8 -g 12 -b:v 1M", ..Clip::default() };
    let film = clip.make(dir.path(), "film.webm");
    let pipe = |container: &str| {
        let command =
            format!("ffmpeg -v error -re -i {} -c copy -flush_packets 1 {container} -", film.display());
        serde_json::json!({ "type": "exec", "command": command, "audio": false })
    };
    let file = serde_json::json!({ "type": "ffmpeg", "input": film, "video": "copy", "audio": false });
    for spec in [file, pipe("-f ivf"), pipe("-f webm -cluster_time_limit 100")] {
        let (mut stage, tapping) = Stage::start_on(&spec.to_string(), Upstream::None, None);
        stage.started();
        let info = stage.source.info();
        assert_eq!((info.codec, info.size), (VideoCodec::VP8, Size { width: 320, height: 180 }));
        vp8_units(&stage, 24);
        vp8_shows_the_film(&stage, &tapping);
    }
}

#[test]
fn a_variant_of_another_stream_can_be_vp8() {
    let test = r#"{"type":"test","width":320,"height":180,"fps":20,"audio":false}"#;
    let (mut original, tapping) = Stage::start_on(test, Upstream::None, None);
    original.started();
    let spec = r#"{"type":"ffmpeg","input":"camera1","video":"vp8"}"#;
    let (mut variant, _) = Stage::start_on(spec, Upstream::Stream(tapping.tap()), None);
    variant.started();
    let captured: Vec<_> = (0..50).map(|_| variant.video.recv_timeout(PATIENCE).unwrap().captured).collect();
    let originals: Vec<_> = original.video.try_iter().map(|unit| unit.captured).collect();
    let near = |at: &Instant| {
        originals.iter().any(|other| at.max(other).duration_since(*at.min(other)) < Duration::from_millis(2))
    };
    assert!(captured.iter().all(near), "they were captured when the originals were");
    assert_eq!(variant.source.info().codec, VideoCodec::VP8);
}

#[test]
fn a_variant_ends_with_its_stream() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { seconds: 2, ..Clip::default() }.make(dir.path(), "film.mp4");
    let spec = serde_json::json!({ "type": "ffmpeg", "input": film }).to_string();
    let (original, tapping) = Stage::start_on(&spec, Upstream::None, None);
    let variant = r#"{"type":"ffmpeg","input":"camera1","height":90}"#;
    let (mut variant, _) = Stage::start_on(variant, Upstream::Stream(tapping.tap()), None);
    variant.started();
    let first = number_of(&variant.next());
    assert!(first < 24);
    drop(original);
    assert_eq!(ended(&mut variant), "the stream that it is a variant of has ended");
}

/// An ffmpeg that sends a live picture to this URL, which it may listen at, and is killed when this is dropped.
struct Broadcast(std::process::Child);

impl Broadcast {
    /// A keyframe each second.
    fn start(output: &str) -> Self {
        let picture = "-f lavfi -i testsrc2=s=320x240:r=20 -c:v libx264 -preset ultrafast -tune zerolatency -g 20 -pix_fmt yuv420p";
        let mut command = std::process::Command::new("ffmpeg");
        command.args(["-v", "error", "-nostdin", "-re"]).args(picture.split_whitespace());
        command.args(output.split_whitespace()).stdout(std::process::Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Broadcast {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that nobody has now.
fn free_port() -> u16 {
    // Below those that the system gives away by itself, to the sockets of other tests among others.
    let first = 20_000 + std::process::id() as u16 % 5_000 * 2;
    let free = |port: &u16| {
        std::net::TcpListener::bind(("127.0.0.1", *port)).is_ok()
            && std::net::UdpSocket::bind(("127.0.0.1", *port)).is_ok()
    };
    (first..32_000).find(free).expect("a free port")
}

#[test]
fn cameras_by_rtmp_and_srt_are_read() {
    let rtmp = free_port();
    let srt = free_port();
    for (output, input) in [
        (
            format!("-f flv -listen 1 rtmp://127.0.0.1:{rtmp}/live/cam"),
            format!("rtmp://127.0.0.1:{rtmp}/live/cam"),
        ),
        (format!("-f mpegts srt://127.0.0.1:{srt}?mode=listener"), format!("srt://127.0.0.1:{srt}")),
    ] {
        let _broadcast = Broadcast::start(&output);
        // There is no sound, which is found out without connecting again: this end serves one client.
        let mut stage = start(&serde_json::json!({ "type": "ffmpeg", "input": input }));
        // It is tried again until the other end listens.
        stage.started();
        assert!(!stage.source.info().audio);
        assert_eq!(stage.next().size, Size { width: 320, height: 240 });
    }
}

/// Serves what broadcasts in this container write, one for each connection. The URL of it.
fn live_server(container: &'static str) -> String {
    use std::io::{Read as _, Write as _};
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for connection in listener.incoming() {
            let mut connection = connection.unwrap();
            std::thread::spawn(move || {
                let _ = connection.read(&mut [0; 4096]);
                let mut broadcast = Broadcast::start(&format!("-f {container} -flush_packets 1 -"));
                let mut output = broadcast.0.stdout.take().unwrap();
                let _ = connection.write_all(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n");
                let _ = std::io::copy(&mut output, &mut connection);
            });
        }
    });
    url
}

#[test]
fn a_live_url_is_shown_soon_whether_it_has_a_secret_or_not() {
    for container in ["mpegts", "flv"] {
        for path in ["", "/live/k3yk3yk3y?password=x"] {
            let url = format!("{}{path}", live_server(container));
            let started_after = || {
                let begin = Instant::now();
                let mut stage = start(&serde_json::json!({ "type": "ffmpeg", "input": url, "audio": false }));
                stage.started();
                begin.elapsed()
            };
            // Half a second on an idle machine; by ffmpeg's own analysis more than five everywhere, and each time.
            let took: Vec<_> = (0..3).map(|_| started_after()).collect();
            assert!(took.iter().any(|took| *took < Duration::from_secs(5)), "{container}{path}: {took:?}");
        }
    }
}

#[test]
fn the_name_of_a_file_in_a_url_is_decoded() {
    let dir = tempfile::tempdir().unwrap();
    Clip { seconds: 2, ..Clip::default() }.make(dir.path(), "50% of a film.mp4");
    for host in ["", "localhost"] {
        let url = format!("file://{host}{}/50%25%20of%20a%20film.mp4", dir.path().display());
        let mut stage = start(&serde_json::json!({ "type": "ffmpeg", "input": url }));
        stage.started();
    }
}
