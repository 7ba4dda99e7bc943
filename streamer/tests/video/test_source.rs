use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use streamer::media::Size;
use streamer::source::Event;

use crate::{PATIENCE, Stage};

#[test]
fn unwatched_it_encodes_one_keyframe_and_its_time_goes_on() {
    let begin = Instant::now();
    let mut stage = Stage::start(r#"{"type":"test","width":640,"height":360}"#);
    stage.started();
    assert!(begin.elapsed() < PATIENCE / 4, "{:?}", begin.elapsed());
    let first = stage.next();
    assert!(first.keyframe);
    assert_eq!(first.code().expect("a code").frame, 0);
    while stage.counters.captured.get() < 4 {
        assert!(begin.elapsed() < PATIENCE);
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stage.counters.encoded.get(), 1);
    stage.watch();
    let joined = stage.next();
    assert!(joined.keyframe);
    assert!(joined.code().unwrap().frame >= 15, "three times 200 ms have passed: {:?}", joined.code());
}

#[test]
fn frames_and_times_are_read_back_in_order_at_the_rate() {
    let mut stage = Stage::start(r#"{"type":"test","width":1280,"height":720,"fps":30}"#);
    stage.watch();
    let mut codes = Vec::new();
    while codes.len() < 40 {
        codes.push(stage.next().code().expect("every frame has a readable code"));
    }
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_micros() as u64;
    let dropped = stage.counters.dropped.get() as u32;
    let steps: Vec<_> = codes.windows(2).map(|pair| pair[1].frame - pair[0].frame).skip(1).collect();
    assert!(steps.iter().sum::<u32>() <= steps.len() as u32 + dropped, "{steps:?}, {dropped} dropped");
    assert!(steps.iter().all(|step| *step >= 1), "{steps:?}");
    let span = codes[39].time_us - codes[1].time_us;
    let expected = u64::from(codes[39].frame - codes[1].frame) * 1_000_000 / 30;
    assert!(span.abs_diff(expected) < 40_000, "{span} µs for {expected} µs of frames");
    assert!(now.abs_diff(codes[39].time_us) < (PATIENCE / 4).as_micros() as u64);
}

#[test]
fn small_pictures_have_a_code_and_smaller_ones_none() {
    let mut stage = Stage::start(r#"{"type":"test","width":128,"height":64,"bitrate_kbps":150}"#);
    stage.watch();
    for _ in 0..20 {
        assert!(stage.next().code().is_some());
    }
    drop(stage);
    let mut stage = Stage::start(r#"{"type":"test","width":16,"height":16,"audio":false}"#);
    stage.watch();
    let tiny = stage.next();
    assert_eq!((tiny.size, tiny.code()), (Size { width: 16, height: 16 }, None));
}

#[test]
fn it_can_be_resized_and_looks_like_its_snapshot() {
    let mut stage = Stage::start(r#"{"type":"test","width":320,"height":180,"fps":5}"#);
    stage.watch();
    stage.next();
    stage.resize(854, 480);
    let size = Size { width: 854, height: 480 };
    stage.event("resized", |event| matches!(event, Event::Resized(to) if to == size).then_some(()));
    assert_eq!(stage.source.info().size, size);
    let first = stage.until("the new size", |decoded| decoded.size == size);
    assert!(first.keyframe);
    let decoded = stage.next();
    let snapshot = stage.snapshot();
    assert!(decoded.psnr(&snapshot) > 25.0, "{:.1} dB", decoded.psnr(&snapshot));
}

#[test]
fn its_tone_is_continuous_while_somebody_listens() {
    let mut stage = Stage::start(r#"{"type":"test","width":128,"height":64}"#);
    stage.started();
    assert_eq!(stage.counters.audio_encoded.get(), 0, "nobody listens");
    stage.audio_demand.add_watcher();
    let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
    let mut times = Vec::new();
    let mut loudest = 0;
    let mut in_a_row = 0;
    let mut longest = 0;
    while longest < 40 && times.len() < 400 {
        let unit = stage.audio.recv_timeout(PATIENCE).unwrap();
        let mut samples = [0; 960];
        assert_eq!(decoder.decode(&unit.payload, &mut samples, false).unwrap(), 480);
        loudest = loudest.max(samples.into_iter().max().unwrap());
        let even = times.last().is_some_and(|last| unit.time - last == 480);
        in_a_row = if even { in_a_row + 1 } else { 0 };
        longest = longest.max(in_a_row);
        times.push(unit.time);
    }
    assert!(longest >= 40, "packets are 480 ticks apart unless the machine stands still: {times:?}");
    assert!(loudest > 1500, "{loudest}");
    stage.audio_demand.remove_watcher();
}
