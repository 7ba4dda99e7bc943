//! What a stream says of its pictures reaches whoever sees them: colours, proportions, direction, fields; and what browsers could
//! not make of it is said.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use common::media::VideoCodec;
use harness::camera::{Clip, RtspServer, serve};
use streamer::media::{Picture, Size};
use streamer::source::{Event, Upstream};

use crate::picture::Decoded;
use crate::rtsp::{count_up, offline};
use crate::{PATIENCE, Stage};

/// A film made by ffmpeg from these arguments.
#[track_caller]
fn make(dir: &Path, name: &str, arguments: &str) -> PathBuf {
    let file = dir.join(name);
    let mut ffmpeg = Command::new("ffmpeg");
    ffmpeg.args(["-v", "error", "-nostdin", "-y"]).args(arguments.split_whitespace()).arg(&file);
    let status = ffmpeg.status().expect("ffmpeg runs: the package \"ffmpeg\" is needed");
    assert!(status.success(), "ffmpeg makes {name}: {status}");
    file
}

fn source(file: &Path, video: &str) -> serde_json::Value {
    serde_json::json!({ "type": "ffmpeg", "input": file, "video": video, "loop": true, "audio": false })
}

fn play(file: &Path, video: &str) -> Stage {
    Stage::start(&source(file, video).to_string())
}

/// A program that writes this file to its standard output.
fn program(file: &Path, container: &str, video: &str) -> Stage {
    let command = format!("ffmpeg -v error -re -i {} -c copy -flush_packets 1 {container} -", file.display());
    let spec = serde_json::json!({ "type": "exec", "command": command, "audio": false, "video": video });
    Stage::start(&spec.to_string())
}

/// Red in the left half and green in the right. An encoder that begins on a busy machine comes near them with its second or third
/// picture; a wrong matrix never does.
#[track_caller]
fn assert_red_and_green(stage: &Stage, what: &str) {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = red_and_green(&stage.snapshot());
        let expected = [255, 0, 0, 0, 255, 0];
        if seen.iter().zip(expected).all(|(seen, wanted): (&u8, u8)| seen.abs_diff(wanted) <= 8) {
            return;
        }
        assert!(Instant::now() < deadline, "{what}: {seen:?}, not {expected:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Red, green and blue in the middle of the left half, then of the right.
fn red_and_green(picture: &Picture) -> Vec<u8> {
    let at = |x: u32| {
        let pixel = 4 * (picture.size.height / 2 * picture.size.width + x) as usize;
        [picture.pixels[pixel + 2], picture.pixels[pixel + 1], picture.pixels[pixel]]
    };
    [at(picture.size.width / 4), at(picture.size.width * 3 / 4)].concat()
}

/// Two colours as H.264 of this size with this matrix and range, which it says in these words.
fn coloured(dir: &Path, height: u32, matrix: &str, range: &str, said: &str) -> PathBuf {
    let arguments = format!(
        "-f lavfi -i color=red:s=64x{height}:r=10:d=1,format=gbrp -f lavfi -i color=lime:s=64x{height}:r=10:d=1,format=gbrp \
         -filter_complex hstack,scale=out_color_matrix={matrix}:out_range={range},format=yuv420p{said} \
         -c:v libx264 -preset ultrafast -bf 0 -g 10"
    );
    make(dir, &format!("{height}-{matrix}-{range}-{}.mp4", said.len()), &arguments)
}

#[test]
fn colours_are_those_that_the_stream_says() {
    let dir = tempfile::tempdir().unwrap();
    let said = |colours: &str| format!(",setparams={colours}");
    for (height, matrix, range, said) in [
        (720, "bt601", "tv", said("colorspace=smpte170m")),
        (360, "bt709", "tv", said("colorspace=bt709")),
        (720, "bt601", "pc", said("colorspace=bt470bg:range=pc")),
        // By their size.
        (720, "bt709", "tv", String::new()),
        (360, "bt601", "tv", String::new()),
    ] {
        let film = coloured(dir.path(), height, matrix, range, &said);
        let what = format!("{height} rows of {matrix}{said}");
        let (mut stage, tapping) = Stage::start_on(&source(&film, "copy").to_string(), Upstream::None, None);
        stage.started();
        assert_red_and_green(&stage, &what);
        for (how, scaled) in [
            ("h264", serde_json::json!({ "type": "ffmpeg", "input": "x", "height": 180 })),
            ("vp8", serde_json::json!({ "type": "ffmpeg", "input": "x", "video": "vp8" })),
        ] {
            let tap = Upstream::Stream(tapping.tap());
            let (mut rendition, _) = Stage::start_on(&scaled.to_string(), tap, None);
            rendition.started();
            assert_red_and_green(&rendition, &format!("{what}, anew as {how}"));
        }
        drop(stage);
        let mut anew = play(&film, "h264");
        anew.started();
        assert_red_and_green(&anew, &format!("{what}, encoded anew"));
    }
}

#[test]
fn vp9_and_av1_that_say_nothing_of_their_colours_have_those_of_hdtv() {
    let dir = tempfile::tempdir().unwrap();
    for (name, encoder) in [
        ("vp9", "libvpx-vp9 -deadline realtime -cpu-used 8"),
        ("av1", "libaom-av1 -usage realtime -cpu-used 8"),
    ] {
        for said in ["", " -colorspace bt709"] {
            let arguments = format!(
                "-f lavfi -i color=red:s=64x360:r=10:d=1,format=gbrp -f lavfi -i color=lime:s=64x360:r=10:d=1,format=gbrp \
                 -filter_complex hstack,scale=out_color_matrix=bt709:out_range=tv,format=yuv420p -c:v {encoder}{said} -g 10"
            );
            let film = make(dir.path(), &format!("{name}{}.webm", said.len()), &arguments);
            let mut stage = play(&film, "copy");
            stage.started();
            assert_red_and_green(&stage, &format!("{name}{said}"));
        }
    }
}

#[test]
fn pixels_become_square_or_it_is_said_why_not() {
    const STRETCHED: &str = "-c:v libx264 -preset ultrafast -bf 0 -g 12 -pix_fmt yuv420p -vf setsar=64/45";
    let dir = tempfile::tempdir().unwrap();
    let clip = Clip { width: 180, height: 144, video: STRETCHED, ..Clip::default() };
    let film = clip.make(dir.path(), "film.mp4");
    let mut anew = play(&film, "h264");
    anew.started();
    assert_eq!(anew.next().size, Size { width: 256, height: 144 });
    let mut scaled = source(&film, "h264");
    scaled["height"] = 72.into();
    let mut scaled = Stage::start(&scaled.to_string());
    scaled.started();
    assert_eq!(scaled.next().size, Size { width: 128, height: 72 });
    let reason = offline(&mut play(&film, "copy"));
    assert!(reason.contains("not square") && reason.contains("\"h264\""), "{reason}");
    let server = RtspServer::start(&[("film", serve(&film, None))]);
    let mut camera = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url("film")));
    camera.started();
    assert_eq!(camera.next().size, Size { width: 256, height: 144 }, "a camera is encoded anew");
    // In a container that says it, of a codec that does not.
    let vp8 =
        Clip { video: "-c:v libvpx -deadline realtime -cpu-used 8 -vf setsar=64/45", seconds: 2, ..clip };
    let reason = offline(&mut play(&vp8.make(dir.path(), "film.webm"), "copy"));
    assert!(reason.contains("not square"), "{reason}");
}

#[test]
fn pictures_stand_upright_or_it_is_said_why_not() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { seconds: 3, ..Clip::default() }.make(dir.path(), "film.mp4");
    let turned =
        make(dir.path(), "turned.mp4", &format!("-i {} -c copy -metadata:s:v rotate=90", film.display()));
    let mut anew = play(&turned, "h264");
    anew.started();
    assert_eq!(anew.next().size, Size { width: 180, height: 320 });
    let reason = offline(&mut play(&turned, "copy"));
    assert!(reason.contains("to be turned"), "{reason}");
    let mut upright = play(&film, "copy");
    upright.started();
    assert_eq!(upright.next().size, Size { width: 320, height: 180 });
}

/// Pixels that are like the row after the next, and unlike the next: fields of different times.
fn combed(picture: &Decoded) -> usize {
    let luma = |x, y| picture.at(x, y)[0];
    let Size { width, height } = picture.size;
    (0..height - 2)
        .flat_map(|y| (0..width).map(move |x| (x, y)))
        .filter(|&(x, y)| {
            luma(x, y).abs_diff(luma(x, y + 1)) > 40 && luma(x, y).abs_diff(luma(x, y + 2)) < 10
        })
        .count()
}

#[test]
fn fields_become_whole_pictures() {
    let dir = tempfile::tempdir().unwrap();
    // Bars that move by eight pixels in each field.
    let fields = "-f lavfi -i color=black:s=320x240:r=50:d=2,format=yuv420p,geq=lum='if(lt(mod(X+8*N\\,64)\\,32)\\,30\\,220)':cb=128:cr=128,tinterlace=interleave_top,setfield=tff";
    let film = make(
        dir.path(),
        "fields.ts",
        &format!("{fields} -c:v mpeg2video -flags +ilme+ildct -top 1 -b:v 8M -g 12 -bf 0"),
    );
    for mut stage in [play(&film, "h264"), program(&film, "-f mpegts", "h264")] {
        stage.started();
        let combs: Vec<_> = (0..20).map(|_| combed(&stage.next())).collect();
        // Without, it is 19 040.
        assert!(combs.iter().all(|combs| *combs < 400), "{combs:?}");
    }
}

#[test]
fn a_cover_is_not_the_film_whether_it_is_marked_or_not() {
    let dir = tempfile::tempdir().unwrap();
    let film = Clip { seconds: 2, ..Clip::default() }.make(dir.path(), "film.mp4");
    let cover = make(dir.path(), "cover.jpg", "-f lavfi -i color=red:s=600x600:d=0.04 -frames:v 1");
    let both = format!("-i {} -i {} -map 0:v -map 1:v -c copy", cover.display(), film.display());
    let unmarked = format!("{both} -disposition:v:0 0 -disposition:v:1 default");
    let marked = format!(
        "-i {} -i {} -map 1:v -map 0:v -c copy -disposition:v:1 attached_pic",
        cover.display(),
        film.display()
    );
    for file in [make(dir.path(), "unmarked.mkv", &unmarked), make(dir.path(), "marked.mp4", &marked)] {
        for video in ["h264", "copy"] {
            let mut stage = play(&file, video);
            stage.started();
            assert_eq!(
                stage.source.info().size,
                Size { width: 320, height: 180 },
                "{video} {}",
                file.display()
            );
            // More than a cover, and more than one round.
            count_up(&mut stage, 30);
        }
    }
}

#[test]
fn sound_with_a_cover_is_said_to_have_no_video() {
    let dir = tempfile::tempdir().unwrap();
    let cover = make(dir.path(), "cover.png", "-f lavfi -i color=red:s=64x64:d=0.04 -frames:v 1");
    let sound = format!(
        "-f lavfi -i sine=d=20 -i {} -map 0 -map 1 -c:v copy -disposition:v attached_pic -c:a",
        cover.display()
    );
    for (name, codec) in [("a.flac", "flac"), ("a.m4a", "aac")] {
        let file = make(dir.path(), name, &format!("{sound} {codec}"));
        for video in ["h264", "copy"] {
            let reason = offline(&mut play(&file, video));
            assert!(reason.contains("no video"), "{name} {video}: {reason}");
        }
    }
}

/// VP8 with pictures that are decoded and not shown: libvpx makes them when it has seen the film before.
fn hidden(dir: &Path) -> PathBuf {
    let film = "-f lavfi -i testsrc2=s=160x90:r=12:d=4 -c:v libvpx -deadline good -cpu-used 1 -auto-alt-ref 1 -lag-in-frames 25 -b:v 200k";
    let log = dir.join("pass");
    make(dir, "first.webm", &format!("{film} -pass 1 -passlogfile {}", log.display()));
    make(dir, "hidden.webm", &format!("{film} -pass 2 -passlogfile {}", log.display()))
}

#[test]
fn hidden_pictures_are_not_passed_on_and_it_is_said_why() {
    let dir = tempfile::tempdir().unwrap();
    let film = hidden(dir.path());
    let starts = dir.path().join("starts");
    let command = format!(
        "echo start >> {}; exec ffmpeg -v error -re -stream_loop -1 -i {} -c copy -f webm -cluster_time_limit 100 -",
        starts.display(),
        film.display()
    );
    let spec = serde_json::json!({ "type": "exec", "command": command, "audio": false });
    let mut stage = Stage::start(&spec.to_string());
    let reason = offline(&mut stage);
    assert!(reason.contains("VP8 with hidden pictures") && reason.contains("\"h264\""), "{reason}");
    let published = stage.counters.captured.get();
    // It is tried again, and not shown for a moment each time.
    let deadline = Instant::now() + PATIENCE;
    while std::fs::read_to_string(&starts).unwrap().lines().count() < 4 {
        assert!(Instant::now() < deadline, "it is started again");
        std::thread::sleep(Duration::from_millis(20));
    }
    let events = stage.events_so_far();
    assert!(events.is_empty(), "{events:?}");
    assert_eq!(stage.counters.captured.get(), published);
}

#[test]
fn a_camera_with_hidden_pictures_is_encoded_anew() {
    let dir = tempfile::tempdir().unwrap();
    let film = hidden(dir.path());
    let vp8 = format!("filesrc location={} ! matroskademux ! rtpvp8pay name=pay0 pt=96", film.display());
    let server = RtspServer::start(&[("vp8", vp8)]);
    let mut stage = Stage::start(&format!(r#"{{"type":"rtsp","url":"{}"}}"#, server.url("vp8")));
    stage.started();
    let deadline = Instant::now() + PATIENCE;
    while stage.video.recv_timeout(PATIENCE).unwrap().codec != VideoCodec::H264 {
        assert!(Instant::now() < deadline, "it is encoded anew");
    }
    let events = stage.events_so_far();
    assert!(!events.iter().any(|event| matches!(event, Event::Offline(_))), "{events:?}");
}

#[test]
fn keyframes_that_do_not_come_are_missed() {
    let dir = tempfile::tempdir().unwrap();
    let clip =
        Clip { video: "-c:v libx264 -preset ultrafast -bf 0 -g 10000 -pix_fmt yuv420p", ..Clip::default() };
    let film = clip.make(dir.path(), "film.mp4");
    let mut stages = [play(&film, "copy"), program(&film, "-f mpegts", "copy")];
    let deadline = Instant::now() + Duration::from_secs(20) + PATIENCE;
    for stage in &mut stages {
        stage.started();
    }
    for stage in &mut stages {
        // Pictures come until then.
        while stage.video.recv_timeout(Duration::from_secs(2)).is_ok() {
            assert!(Instant::now() < deadline, "it is not passed on for ever");
        }
        let reason = offline(stage);
        assert!(reason.contains("keyframes") && reason.contains("\"h264\""), "{reason}");
    }
}
