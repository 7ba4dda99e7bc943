//! What viewers of a screen are given decodes, whatever is shown, and turns from a screen into a film and back.

use std::io::Write as _;
use std::process::{Command, Stdio};

use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use proptest::prelude::*;

use super::*;
use crate::encode::rate::Budget;
use crate::feed::{Bitrate, Demand, Tap, Tapped, Tapping};
use crate::source::SourceKey;

/// Time from one picture to the next.
const INTERVAL: Duration = Duration::from_millis(33);

/// What happens on a screen, or to who watches it.
#[derive(Debug, Clone)]
enum Step {
    /// Strokes on a plain ground appear in some rows.
    Text { top: u32, rows: u32, seed: u32 },
    /// Everything moves up, and text comes into view.
    Scroll { by: u32, seed: u32 },
    /// Noise all over, in so many pictures.
    Film { pictures: u32, seed: u32 },
    /// Nothing, until there is nothing left to do.
    Rest,
    /// Somebody joins.
    Keyframe,
    /// The path carries so much from now on.
    Limit(Option<u32>),
    /// The screen has another size.
    Resize(Size),
}

fn step() -> impl Strategy<Value = Step> {
    let side = || (8u32..100).prop_map(|half| 2 * half);
    prop_oneof![
        4 => (0u32..200, 1u32..80, any::<u32>()).prop_map(|(top, rows, seed)| Step::Text { top, rows, seed }),
        3 => (1u32..60, any::<u32>()).prop_map(|(by, seed)| Step::Scroll { by, seed }),
        3 => (1u32..60, any::<u32>()).prop_map(|(pictures, seed)| Step::Film { pictures, seed }),
        2 => Just(Step::Rest),
        1 => Just(Step::Keyframe),
        2 => prop::option::of(50_000u32..4_000_000).prop_map(Step::Limit),
        1 => (side(), side()).prop_map(|(width, height)| Step::Resize(Size { width, height })),
    ]
}

/// A screen, its encoding, and somebody who watches.
struct Session {
    video: Video,
    budget: Budget,
    /// BGRX.
    pixels: Vec<u8>,
    now: Instant,
    demand: Arc<Demand>,
    tap: Tap,
    decoder: Decoder,
    /// Since the picture has this size, the stream and what openh264 made of it.
    stream: Vec<u8>,
    shown: Vec<u8>,
    pictures: usize,
    turns: Vec<Content>,
}

impl Session {
    fn new(size: Size) -> Self {
        let now = Instant::now();
        let demand = Arc::new(Demand::new().unwrap());
        let (tapping, taps) = Tapping::new(Arc::clone(&demand));
        let mut outlet = VideoOutlet::new(Arc::clone(&demand), now, |_| {});
        outlet.take_taps(taps);
        let settings = Settings { fps: 30, bitrate_kbps: None };
        let video = Video::new(settings, size, Content::Screen, outlet, Arc::default()).unwrap();
        let mut session = Self {
            budget: Budget::new(video.terms(), now),
            pixels: vec![235; 4 * (size.width * size.height) as usize],
            video,
            now,
            demand,
            tap: tapping.tap(),
            decoder: Decoder::new().unwrap(),
            stream: Vec::new(),
            shown: Vec::new(),
            pictures: 0,
            turns: vec![Content::Screen],
        };
        session.paint(0..size.height, |_, _| 235);
        session.send(true);
        session
    }

    fn step(&mut self, step: &Step) {
        let Size { width, height } = self.video.size();
        match *step {
            Step::Text { top, rows, seed } => {
                let top = top.min(height - 2);
                self.paint(top..(top + rows).min(height), |x, y| stroke(seed, x, y));
                self.send(false);
            }
            Step::Scroll { by, seed } => {
                let by = by.min(height);
                let moved = (4 * by * width) as usize;
                self.pixels.copy_within(moved.., 0);
                self.paint(height - by..height, |x, y| stroke(seed, x, y));
                self.convert(0..height);
                self.send(false);
            }
            Step::Film { pictures, seed } => {
                for n in 0..pictures {
                    self.paint(0..height, |x, y| (64 + hash(seed ^ (n + 1), x, y) % 128) as u8);
                    self.send(false);
                }
            }
            Step::Rest => self.rest(),
            Step::Keyframe => self.send(true),
            Step::Limit(limit) => {
                self.demand.set_limit(0, Some(limit.map_or(Bitrate::Any, Bitrate::AtMost)));
            }
            Step::Resize(size) => {
                self.check_ffmpeg();
                self.video.restart(size).unwrap();
                self.pixels = vec![0; 4 * (size.width * size.height) as usize];
                self.paint(0..size.height, |x, y| stroke(7, x, y));
                self.send(true);
            }
        }
    }

    /// Greys of rows.
    fn paint(&mut self, rows: Range<u32>, grey: impl Fn(u32, u32) -> u8) {
        let width = self.video.size().width;
        for y in rows.clone() {
            for x in 0..width {
                let at = 4 * (y * width + x) as usize;
                self.pixels[at..at + 4].fill(grey(x, y));
            }
        }
        self.convert(rows);
    }

    fn convert(&mut self, rows: Range<u32>) {
        let Size { width, height } = self.video.size();
        let rows = rows.start & !1..rows.end.next_multiple_of(2).min(height);
        let stride = 4 * width as usize;
        let bytes = rows.start as usize * stride..rows.end as usize * stride;
        self.video.convert(rows, &self.pixels[bytes], stride).unwrap();
    }

    fn send(&mut self, keyframe: bool) {
        self.now += INTERVAL;
        self.budget.set_terms(self.now, self.video.terms());
        let max_bytes = self.budget.picture_bytes(self.now, keyframe);
        let order = Order { captured: self.now, keyframe, max_bytes };
        let sent = self.video.send(&order, INTERVAL).unwrap();
        assert!(sent.len_bytes > 0 || !keyframe, "a keyframe is a picture");
        self.sent(sent.len_bytes);
    }

    /// Adds detail until there is none left.
    fn rest(&mut self) {
        for _ in 0..300 {
            self.now = (self.now + INTERVAL).max(self.budget.refinement_at());
            let max_bytes = self.budget.refinement_bytes(self.now);
            match self.video.refine(self.now, max_bytes).unwrap() {
                None => self.send(true),
                Some(sent) => {
                    self.sent(sent.len_bytes);
                    if sent.is_complete {
                        return;
                    }
                }
            }
        }
        panic!("the picture does not come to rest");
    }

    /// Decodes what was sent, and compares it with what the encoder for screens says that decoders show.
    fn sent(&mut self, len_bytes: usize) {
        self.budget.sent(self.now, len_bytes);
        let content = self.video.encoding.content;
        if self.turns.last() != Some(&content) {
            self.turns.push(content);
        }
        let Tapped::Unit(unit) = self.tap.next(Duration::ZERO) else {
            assert_eq!(len_bytes, 0);
            return;
        };
        assert_eq!(unit.data.len(), len_bytes);
        let size = self.video.size();
        let decoded = self.decoder.decode(&unit.data).unwrap().expect("a picture per access unit");
        assert_eq!(decoded.dimensions(), (size.width as usize, size.height as usize));
        let strides = decoded.strides();
        let shown = crop([decoded.y(), decoded.u(), decoded.v()], [strides.0, strides.1, strides.2], size);
        if let Some(Encoder::Screen(screen)) = &self.video.encoding.encoder {
            let (planes, strides) = screen.reconstruction();
            assert!(crop(planes, strides, size) == shown, "picture {} differs", self.pictures);
        }
        self.stream.extend_from_slice(&unit.data);
        self.shown.extend(shown);
        self.pictures += 1;
    }

    /// ffmpeg sees the same in the stream as openh264, and does not complain. What follows has another size.
    fn check_ffmpeg(&mut self) {
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "h264", "-i", "pipe:0", "-fps_mode", "passthrough"])
            .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("this test needs ffmpeg");
        let mut input = child.stdin.take().unwrap();
        let stream = std::mem::take(&mut self.stream);
        let writer = std::thread::spawn(move || input.write_all(&stream));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "ffmpeg: {complaints}");
        assert!(output.stdout == std::mem::take(&mut self.shown), "ffmpeg shows something else");
    }

    /// Luma of what is shown against what is on the screen, in dB.
    fn psnr(&self) -> f64 {
        let Size { width, height } = self.video.size();
        let luma = (width * height) as usize;
        let shown = &self.shown[self.shown.len() - luma * 3 / 2..][..luma];
        crate::encode::encoder::tests::luma_psnr(self.video.picture().planes().0, shown.iter())
    }
}

fn hash(seed: u32, x: u32, y: u32) -> u32 {
    let mixed = (seed ^ x << 16 ^ y).wrapping_mul(0x9e37_79b1);
    (mixed ^ mixed >> 15).wrapping_mul(0x85eb_ca77) >> 8
}

/// As of letters.
fn stroke(seed: u32, x: u32, y: u32) -> u8 {
    if hash(seed, x / 2, y / 9).is_multiple_of(4) { 20 } else { 235 }
}

/// The visible part of planes, without padding.
fn crop(planes: [&[u8]; 3], strides: [usize; 3], size: Size) -> Vec<u8> {
    let mut out = Vec::new();
    for at in 0..3 {
        let scale = if at == 0 { 1 } else { 2 };
        for row in planes[at].chunks(strides[at]).take(size.height as usize / scale) {
            out.extend_from_slice(&row[..size.width as usize / scale]);
        }
    }
    out
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_is_shown_all_decoders_see_the_same(steps in prop::collection::vec(step(), 1..20)) {
        let mut session = Session::new(Size { width: 176, height: 144 });
        for step in &steps {
            session.step(step);
        }
        session.check_ffmpeg();
    }
}

#[test]
fn a_screen_turns_into_a_film_and_back_and_is_sharp_at_rest() {
    let film = Step::Film { pictures: 60, seed: 1 };
    // One of 18 rows of macroblocks.
    let text = |seed| Step::Text { top: 33, rows: 9, seed };
    for after in [vec![Step::Rest], (0..60).map(text).collect()] {
        let mut session = Session::new(Size { width: 320, height: 288 });
        for step in [text(1), film.clone()].iter().chain(&after).chain([&Step::Rest]) {
            session.step(step);
        }
        assert_eq!(session.turns, [Content::Screen, Content::Film, Content::Screen]);
        assert!(session.psnr() >= 50.0, "{} dB", session.psnr());
        session.check_ffmpeg();
    }
}

#[test]
fn the_first_picture_of_a_narrow_path_is_small_and_is_made_sharp_afterwards() {
    let size = Size { width: 1280, height: 720 };
    let first = |limit| {
        let mut session = Session::new(size);
        session.step(&Step::Text { top: 100, rows: 360, seed: 3 });
        session.step(&Step::Limit(limit));
        let before = session.stream.len();
        session.step(&Step::Keyframe);
        let len = session.stream.len() - before;
        session.step(&Step::Rest);
        (len, session.psnr())
    };
    let (narrow, at_rest) = first(Some(500_000));
    assert!(narrow < 25_000, "{narrow} bytes");
    assert!(at_rest >= 50.0, "{at_rest} dB");
    let (wide, at_rest) = first(None);
    assert!(wide > 2 * narrow, "{wide} bytes");
    assert!(at_rest >= 50.0, "{at_rest} dB");
}

#[test]
fn after_its_encoder_was_given_up_a_picture_goes_on_with_a_keyframe() {
    let mut session = Session::new(Size { width: 320, height: 288 });
    let text = |seed| Step::Text { top: 33, rows: 90, seed };
    session.step(&text(1));
    let before = session.stream.len();
    session.video.shrink();
    // Nothing has changed and no keyframe was asked for, and decoders have nothing to go on from.
    session.send(false);
    assert_eq!(session.stream[before..][..5], [0, 0, 0, 1, 0x67], "parameter sets, and then the picture");
    for step in [Step::Rest, text(2), Step::Rest] {
        session.step(&step);
    }
    assert!(session.psnr() >= 50.0, "{} dB", session.psnr());
    // What is to be refined may be asked for first.
    session.video.shrink();
    session.step(&Step::Rest);
    assert!(session.psnr() >= 50.0, "{} dB", session.psnr());
    session.check_ffmpeg();
}

#[test]
fn an_outbox_keeps_what_does_not_fit_and_only_the_newest_cursor() {
    let (events, mut received) = tokio::sync::mpsc::channel(1);
    let mut outbox = Outbox::new(Events::new(SourceKey::default(), events));
    let size = |width| Event::Resized(Size { width, height: 2 });
    outbox.send(Event::Started);
    let now = Instant::now();
    assert_eq!(outbox.retry_at(now), None);
    outbox.send(size(2));
    outbox.send(Event::Cursor(None));
    outbox.send(size(4));
    assert_eq!(outbox.retry_at(now), Some(now + RETRY));
    let mut seen = Vec::new();
    while let Ok((_, event)) = received.try_recv() {
        seen.push(format!("{event:?}"));
        outbox.flush();
    }
    assert_eq!(seen, ["Started", "Cursor(None)", "Resized(Size { width: 4, height: 2 })"]);
    assert_eq!(outbox.retry_at(now), None);
}
