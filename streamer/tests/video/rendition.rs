//! Further renditions: what comes out of them, and that they cost nothing while nobody watches.

use std::sync::Arc;
use std::sync::mpsc::{self, Receiver};
use std::time::{Duration, Instant};

use streamer::feed::{Demand, VideoOutlet, VideoUnit};
use streamer::media::Size;
use streamer::source::rendition::Rendition;
use streamer::source::video::Settings;
use streamer::stats::SourceCounters;

use crate::painter::{BARE, BLUE, GREEN, Program, RED};
use crate::picture::{Decoded, Decoder};
use crate::{PATIENCE, QUEUE, Stage, next_before_rest};

/// A rendition and what comes out of it.
struct Small {
    _rendition: Rendition,
    units: Receiver<Arc<VideoUnit>>,
    demand: Arc<Demand>,
    counters: Arc<SourceCounters>,
    decoder: Decoder,
}

impl Small {
    fn of(stage: &Stage, height: u32) -> Self {
        let demand = Arc::new(Demand::new().unwrap());
        let (sender, units) = mpsc::sync_channel(QUEUE);
        let outlet = VideoOutlet::new(Arc::clone(&demand), Instant::now(), move |unit| {
            let _ = sender.try_send(unit);
        });
        let counters = Arc::new(SourceCounters::default());
        let frames = stage.source.frames().unwrap();
        let settings = Settings { fps: 30, bitrate_kbps: None };
        let rendition =
            Rendition::start(frames, Some(height), settings, outlet, Arc::clone(&counters)).unwrap();
        Self { _rendition: rendition, units, demand, counters, decoder: Decoder::new() }
    }

    fn watch(&self) {
        self.demand.add_watcher();
        self.demand.ask_keyframe();
    }

    fn until(&mut self, what: &str, wanted: impl Fn(&Decoded) -> bool) -> Decoded {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let unit = self.units.recv_timeout(PATIENCE).expect("a picture");
            let decoded = self.decoder.decode(&unit);
            if wanted(&decoded) {
                return decoded;
            }
            assert!(Instant::now() < deadline, "waiting for {what}");
        }
    }

    /// Takes what comes until nothing does.
    fn rest(&self) -> usize {
        let mut units = 0;
        while next_before_rest(&self.units).is_some() {
            units += 1;
        }
        units
    }
}

#[test]
fn a_screen_at_rest_is_seen_at_once_settles_and_answers_keyframe_requests() {
    let mut stage = Stage::start(BARE);
    stage.started();
    let program = Program::on(&stage, false);
    program.open("window", RED, (0, 0), (400, 600));
    program.open("window", BLUE, (400, 0), (400, 600));
    stage.watch();
    stage.settle();
    stage.video_demand.remove_watcher();
    let before = stage.counters.encoded.get();

    let mut small = Small::of(&stage, 240);
    assert!(small.units.recv_timeout(Duration::from_millis(200)).is_err(), "nobody watches");
    small.watch();
    let first = small.until("the first picture", |_| true);
    assert!(first.keyframe);
    assert_eq!(first.size, Size { width: 320, height: 240 });
    assert!(first.shows(80, 120, RED.1) && first.shows(240, 120, BLUE.1));
    small.rest();
    assert!(small.units.recv_timeout(Duration::from_millis(300)).is_err(), "it settles");
    small.demand.ask_keyframe();
    assert!(small.until("a keyframe", |_| true).keyframe);
    assert_eq!(stage.counters.encoded.get(), before, "the source's own encoder has nothing to do with it");
}

#[test]
fn what_moves_is_seen_and_unwatched_it_costs_nothing() {
    let mut stage = Stage::start(BARE);
    stage.started();
    let program = Program::on(&stage, false);
    let window = program.open("window", RED, (0, 0), (800, 600));
    let mut small = Small::of(&stage, 300);
    small.watch();
    small.until("red", |decoded| decoded.shows(200, 150, RED.1));
    program.paint(window, BLUE);
    small.until("blue", |decoded| decoded.shows(200, 150, BLUE.1));
    assert_eq!(stage.counters.encoded.get(), 1, "the source's own keyframe");

    small.demand.remove_watcher();
    let frames = stage.source.frames().unwrap();
    crate::painter::until("the reader to go", || (!frames.wanted()).then_some(()));
    small.rest();
    let encoded = small.counters.encoded.get();
    let converted = stage.counters.converted_bytes.get();
    let captured = stage.counters.captured.get();
    program.paint(window, RED);
    program.paint(window, GREEN);
    crate::painter::until("a capture", || (stage.counters.captured.get() > captured).then_some(()));
    assert_eq!((small.counters.encoded.get(), stage.counters.converted_bytes.get()), (encoded, converted));

    small.watch();
    let back = small.until("the first picture", |_| true);
    assert!(back.keyframe && !back.shows(200, 150, BLUE.1), "nothing of before");
    // What was captured first may still have been red.
    small.until("green", |decoded| decoded.shows(200, 150, GREEN.1));
}

#[test]
fn it_follows_the_size_of_its_source_and_never_enlarges() {
    let mut stage = Stage::start(r#"{"type":"test","width":640,"height":360,"audio":false}"#);
    stage.started();
    let (mut small, mut large) = (Small::of(&stage, 180), Small::of(&stage, 1080));
    small.watch();
    large.watch();
    assert_eq!(small.until("a picture", |_| true).size, Size { width: 320, height: 180 });
    assert_eq!(large.until("a picture", |_| true).size, Size { width: 640, height: 360 });
    // Frame numbers go on at the rate of the source, although nobody watches that.
    let mut numbers = Vec::new();
    while numbers.len() < 15 {
        numbers.push(large.until("a picture", |_| true).code().expect("a code").frame);
    }
    let span = numbers[14] - numbers[0];
    // A busy machine leaves out some; at the rate of what nobody watches it were more than eighty.
    assert!((14..=70).contains(&span), "{numbers:?}");
    stage.resize(1280, 720);
    let first = large.until("the new size", |decoded| decoded.size == Size { width: 1280, height: 720 });
    assert!(first.keyframe);
    stage.resize(400, 300);
    let first = small.until("the new shape", |decoded| decoded.size == Size { width: 240, height: 180 });
    assert!(first.keyframe);
}

#[test]
fn dropping_it_ends_its_thread() {
    let alone = crate::alone();
    let mut stage = Stage::start_beside(r#"{"type":"test","width":640,"height":360,"audio":false}"#, None);
    stage.started();
    let mut small = Small::of(&stage, 180);
    small.watch();
    small.until("a picture", |_| true);
    assert_eq!(crate::threads("rendition"), 1);
    drop(small);
    assert_eq!(crate::threads("rendition"), 0);
    assert!(!stage.source.frames().unwrap().wanted());
    drop(alone);
}
