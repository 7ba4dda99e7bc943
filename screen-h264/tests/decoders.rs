//! Every stream decodes without an error in openh264 and in ffmpeg, bit-exactly like the encoder's own
//! reconstruction, and converges to what was on the screen.

#![allow(clippy::unwrap_used, reason = "what fails here ends the run, with its place")]

use std::io::Write as _;
use std::process::{Command, Stdio};

use openh264::decoder::Decoder;
use openh264::formats::YUVSource as _;
use proptest::prelude::*;
use proptest::strategy::ValueTree as _;
use proptest::test_runner::{Config as Runs, RngAlgorithm, TestRng, TestRunner};
use screen_h264::{Config, Encoded, Encoder, Picture, Rect, Vector};

/// Planes Y, U and V without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Screen {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl Screen {
    fn new(width: usize, height: usize) -> Self {
        let chroma = vec![128; width * height / 4];
        Self { width, height, planes: [vec![235; width * height], chroma.clone(), chroma] }
    }

    fn picture(&self) -> Picture<'_> {
        let planes = self.planes.each_ref().map(Vec::as_slice);
        let strides = [self.width, self.width / 2, self.width / 2];
        Picture::new(self.width as u32, self.height as u32, planes, strides).unwrap()
    }

    /// Paints a rectangle with what `paint` says of each place and plane.
    fn paint(&mut self, rect: Rect, mut paint: impl FnMut(&Self, usize, usize, usize) -> u8) {
        let before = self.clone();
        for plane in 0..3 {
            let scale = if plane == 0 { 1 } else { 2 };
            let width = self.width / scale;
            let right = ((rect.x + rect.width) as usize).div_ceil(scale).min(width);
            let bottom = ((rect.y + rect.height) as usize).div_ceil(scale).min(self.height / scale);
            for y in rect.y as usize / scale..bottom {
                for x in rect.x as usize / scale..right {
                    self.planes[plane][y * width + x] = paint(&before, plane, x, y);
                }
            }
        }
    }
}

/// What happens on the screen or to the encoder.
#[derive(Debug, Clone)]
enum Step {
    Fill {
        rect: Rect,
        value: u8,
    },
    /// Samples around grey.
    Noise {
        rect: Rect,
        amplitude: u8,
        seed: u64,
    },
    /// Strokes on a plain ground, as of letters.
    Strokes {
        rect: Rect,
        seed: u64,
    },
    Gradient {
        rect: Rect,
        across: u8,
        down: u8,
    },
    /// The content of a rectangle moves within it; `told` says whether the encoder gets to know by how much.
    Scroll {
        rect: Rect,
        x: i16,
        y: i16,
        told: bool,
    },
    /// Nothing changes, but there is damage.
    Damage {
        rect: Rect,
    },
    /// A hint that is wrong.
    Lie {
        rect: Rect,
        x: i16,
        y: i16,
    },
    Keyframe,
    Quality {
        finest: u8,
        more: u8,
        max_bytes: usize,
    },
    Refine {
        max_bytes: usize,
    },
}

fn rect() -> impl Strategy<Value = Rect> {
    let side = || prop_oneof![1u32..40, 1u32..200];
    (0u32..200, 0u32..200, side(), side()).prop_map(|(x, y, width, height)| Rect { x, y, width, height })
}

fn step() -> impl Strategy<Value = Step> {
    let distance =
        || prop_oneof![-4i16..=4, -40i16..=40, prop::sample::select(vec![-2048i16, -512, 512, 2047])];
    prop_oneof![
        2 => (rect(), any::<u8>()).prop_map(|(rect, value)| Step::Fill { rect, value }),
        3 => (rect(), prop_oneof![Just(255u8), any::<u8>(), 0u8..8], any::<u64>())
            .prop_map(|(rect, amplitude, seed)| Step::Noise { rect, amplitude, seed }),
        4 => (rect(), any::<u64>()).prop_map(|(rect, seed)| Step::Strokes { rect, seed }),
        2 => (rect(), 0u8..9, 0u8..9).prop_map(|(rect, across, down)| Step::Gradient { rect, across, down }),
        6 => (rect(), distance(), distance(), any::<bool>())
            .prop_map(|(rect, x, y, told)| Step::Scroll { rect, x, y, told }),
        1 => rect().prop_map(|rect| Step::Damage { rect }),
        1 => (rect(), distance(), distance()).prop_map(|(rect, x, y)| Step::Lie { rect, x, y }),
        1 => Just(Step::Keyframe),
        2 => (0u8..=51, 0u8..=51, prop_oneof![1usize..2000, 1usize..200_000])
            .prop_map(|(finest, more, max_bytes)| Step::Quality { finest, more, max_bytes }),
        3 => (1usize..20_000).prop_map(|max_bytes| Step::Refine { max_bytes }),
    ]
}

/// A number for a place, the same each time.
fn hash(seed: u64, a: usize, b: usize) -> u64 {
    let mixed = (seed ^ (a as u64) << 32 ^ b as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9) >> 32
}

/// A screen with its encoder, and what came of it.
struct Session {
    screen: Screen,
    encoder: Encoder,
    decoder: Decoder,
    stream: Vec<u8>,
    /// What ffmpeg has to show.
    shown: Vec<u8>,
    pictures: usize,
}

impl Session {
    fn new(config: Config) -> Self {
        Self {
            screen: Screen::new(config.width as usize, config.height as usize),
            encoder: Encoder::new(config).unwrap(),
            decoder: Decoder::new().unwrap(),
            stream: Vec::new(),
            shown: Vec::new(),
            pictures: 0,
        }
    }

    /// Carries out a step and checks what openh264 makes of it.
    fn step(&mut self, step: &Step) {
        let mut moves = Vec::new();
        let mut keyframe = false;
        let damage = match *step {
            Step::Fill { rect, value } => {
                self.screen.paint(rect, |_, plane, _, _| value.wrapping_mul(1 + 2 * plane as u8));
                rect
            }
            Step::Noise { rect, amplitude, seed } => {
                self.screen.paint(rect, |_, plane, x, y| {
                    let value = hash(seed + plane as u64, x, y) % (u64::from(amplitude) + 1);
                    (128 - u64::from(amplitude) / 2 + value) as u8
                });
                rect
            }
            Step::Strokes { rect, seed } => {
                self.screen.paint(rect, |_, plane, x, y| match hash(seed, x / 2, y / 9) % 4 {
                    0 if plane == 0 => 16,
                    1 if plane == 0 => (hash(seed, y / 3, 1) % 200) as u8,
                    _ if plane == 0 => 235,
                    0 => (100 + 20 * plane) as u8,
                    _ => 128,
                });
                rect
            }
            Step::Gradient { rect, across, down } => {
                self.screen.paint(rect, |_, _, x, y| {
                    (usize::from(across) * x / 2 + usize::from(down) * y / 2).min(255) as u8
                });
                rect
            }
            Step::Scroll { rect, x, y, told } => {
                let width = self.screen.width as isize;
                let height = self.screen.height as isize;
                self.screen.paint(rect, |before, plane, to_x, to_y| {
                    let scale = if plane == 0 { 1 } else { 2 };
                    let from_x = (to_x as isize + isize::from(x) / scale).clamp(0, width / scale - 1);
                    let from_y = (to_y as isize + isize::from(y) / scale).clamp(0, height / scale - 1);
                    before.planes[plane][(from_y * (width / scale) + from_x) as usize]
                });
                if told {
                    moves.push(Vector { x, y });
                }
                rect
            }
            Step::Damage { rect } => rect,
            Step::Lie { rect, x, y } => {
                moves.push(Vector { x, y });
                self.screen.paint(rect, |before, plane, x, y| {
                    let width = if plane == 0 { before.width } else { before.width / 2 };
                    before.planes[plane][y * width + x].wrapping_add(1)
                });
                rect
            }
            Step::Keyframe => {
                keyframe = true;
                Rect { x: 0, y: 0, width: 0, height: 0 }
            }
            Step::Quality { finest, more, max_bytes } => {
                self.encoder.set_quality(finest, (finest + more).min(51), max_bytes).unwrap();
                return;
            }
            Step::Refine { max_bytes } => {
                if let Some(encoded) = self.encoder.refine(max_bytes) {
                    self.check(&encoded);
                }
                return;
            }
        };
        // Chroma samples have luma around them.
        let damage =
            Rect { x: damage.x & !1, y: damage.y & !1, width: damage.width + 2, height: damage.height + 2 };
        let before = self.pictures;
        if let Some(encoded) =
            self.encoder.encode(&self.screen.picture(), &[damage], &moves, keyframe).unwrap()
        {
            self.check(&encoded);
            assert_eq!(encoded.keyframe, keyframe || before == 0);
        } else {
            assert!(!keyframe && before > 0, "a keyframe is a picture");
        }
    }

    /// Decodes and compares.
    fn check(&mut self, encoded: &Encoded) {
        let decoded = self.decoder.decode(&encoded.data).unwrap().expect("a picture per access unit");
        let (planes, strides) = self.encoder.reconstruction();
        let expected = crop(planes, strides, self.screen.width, self.screen.height);
        assert_eq!(decoded.dimensions(), (self.screen.width, self.screen.height));
        let (y_stride, u_stride, v_stride) = decoded.strides();
        let planes = [decoded.y(), decoded.u(), decoded.v()];
        let seen = crop(planes, [y_stride, u_stride, v_stride], self.screen.width, self.screen.height);
        if let Some(at) = (0..expected.len()).find(|&at| expected[at] != seen[at]) {
            let luma = self.screen.width * self.screen.height;
            let place = (at < luma).then(|| (at % self.screen.width, at / self.screen.width));
            panic!("picture {}: openh264 differs at {at} ({place:?})", self.pictures);
        }
        self.stream.extend_from_slice(&encoded.data);
        self.shown.extend_from_slice(&expected);
        self.pictures += 1;
    }

    /// Checks what ffmpeg makes of the stream so far, and forgets it; the next picture has to be a keyframe.
    fn check_ffmpeg(&mut self) {
        let mut child = Command::new("ffmpeg")
            .args(["-v", "error", "-f", "h264", "-i", "pipe:0", "-fps_mode", "passthrough"])
            .args(["-f", "rawvideo", "-pix_fmt", "yuv420p", "pipe:1"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("these tests need ffmpeg");
        let mut input = child.stdin.take().unwrap();
        let stream = std::mem::take(&mut self.stream);
        let writer = std::thread::spawn(move || input.write_all(&stream));
        let output = child.wait_with_output().unwrap();
        writer.join().unwrap().unwrap();
        let complaints = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && complaints.is_empty(), "ffmpeg: {complaints}");
        let expected = std::mem::take(&mut self.shown);
        assert_eq!(output.stdout.len(), expected.len(), "pictures of ffmpeg");
        let size = self.screen.width * self.screen.height * 3 / 2;
        let differs = expected.iter().zip(&output.stdout).position(|(a, b)| a != b);
        assert_eq!(differs, None, "ffmpeg differs in picture {:?}", differs.map(|at| at / size));
    }

    /// Improves the picture until it is at rest.
    fn settle(&mut self) {
        for _ in 0..200 {
            match self.encoder.refine(1 << 20) {
                Some(encoded) => self.check(&encoded),
                None => return,
            }
        }
        panic!("the picture does not come to rest");
    }

    fn luma_psnr(&self) -> f64 {
        let (planes, strides) = self.encoder.reconstruction();
        let shown = crop(planes, strides, self.screen.width, self.screen.height);
        let square = |(a, b): (&u8, &u8)| f64::from(i32::from(*a) - i32::from(*b)).powi(2);
        let error: f64 = self.screen.planes[0].iter().zip(&shown).map(square).sum();
        10.0 * (255.0 * 255.0 * self.screen.planes[0].len() as f64 / error.max(1.0)).log10()
    }
}

/// The visible part of planes, without padding.
fn crop(planes: [&[u8]; 3], strides: [usize; 3], width: usize, height: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(width * height * 3 / 2);
    for at in 0..3 {
        let scale = if at == 0 { 1 } else { 2 };
        for row in planes[at].chunks(strides[at]).take(height / scale) {
            out.extend_from_slice(&row[..width / scale]);
        }
    }
    out
}

fn config() -> impl Strategy<Value = Config> {
    let side = || prop_oneof![1u32..=20, 1u32..=100].prop_map(|half| 2 * half);
    let quantisers = (0u8..=30, 0u8..=51);
    (side(), side(), quantisers, 1u32..=4).prop_map(|(width, height, (finest, more), slices)| Config {
        slices: slices.min(height.div_ceil(16)),
        finest_qp: finest,
        coarsest_qp: (finest + more).min(51),
        ..Config::new(width, height)
    })
}

proptest! {
    #![proptest_config(Runs { cases: 64, failure_persistence: None, ..Runs::default() })]

    #[test]
    fn whatever_happens_both_decoders_show_what_the_encoder_reconstructed(
        config in config(), steps in prop::collection::vec(step(), 1..24)
    ) {
        let mut session = Session::new(config);
        for step in &steps {
            session.step(step);
        }
        if session.pictures > 0 {
            session.check_ffmpeg();
        }
    }

    #[test]
    fn a_picture_at_rest_converges_to_what_is_on_the_screen(
        config in config(), steps in prop::collection::vec(step(), 1..12)
    ) {
        let mut session = Session::new(config);
        session.step(&Step::Keyframe);
        for step in &steps {
            session.step(step);
        }
        session.settle();
        prop_assert!(session.encoder.is_at_rest());
        prop_assert!(session.luma_psnr() >= 50.0, "{} dB", session.luma_psnr());
        session.check_ffmpeg();
    }
}

#[test]
fn levels_that_need_escape_codes_decode() {
    for qp in [0, 1, 5, 6, 12, 24, 51] {
        let mut session = Session::new(Config { finest_qp: qp, ..Config::new(64, 48) });
        let whole = Rect { x: 0, y: 0, width: 64, height: 48 };
        for seed in 0..4 {
            session
                .screen
                .paint(whole, |_, _, x, y| if hash(seed, x, y).is_multiple_of(2) { 0 } else { 255 });
            let picture = session.screen.picture();
            let encoded = session.encoder.encode(&picture, &[whole], &[], seed == 2).unwrap().unwrap();
            session.check(&encoded);
            // Flat to the opposite: the largest DC coefficients there are.
            session.step(&Step::Fill { rect: whole, value: if seed % 2 == 0 { 0 } else { 255 } });
        }
        session.check_ffmpeg();
    }
}

#[test]
fn scrolled_text_is_vectors_and_nothing_else() {
    let mut session = Session::new(Config::new(320, 240));
    let whole = Rect { x: 0, y: 0, width: 320, height: 240 };
    session.step(&Step::Strokes { rect: whole, seed: 7 });
    for y in [2, 18, 34, 34] {
        let before = session.screen.clone();
        session.screen.paint(whole, |_, plane, x, to_y| {
            let (width, height, y) = if plane == 0 { (320, 240, y) } else { (160, 120, y / 2) };
            before.planes[plane][(to_y + y).min(height - 1) * width + x]
        });
        let encoded =
            session.encoder.encode(&session.screen.picture(), &[whole], &[], false).unwrap().unwrap();
        session.check(&encoded);
        let rows = 240 / 16 - (y as u32).div_ceil(16);
        assert!(encoded.statistics.moved >= 20 * (rows - 1), "by {y}: {:?}", encoded.statistics);
    }
    session.check_ffmpeg();
}

#[test]
fn a_dragged_window_is_found_wherever_it_went() {
    let mut session = Session::new(Config::new(640, 480));
    session.step(&Step::Fill { rect: Rect { x: 0, y: 0, width: 640, height: 480 }, value: 90 });
    let window = Rect { x: 101, y: 83, width: 320, height: 240 };
    session.step(&Step::Strokes { rect: window, seed: 3 });
    let (mut x, mut y) = (101i32, 83i32);
    for (across, down) in [(37, 22), (-58, 31), (1, -1), (0, 17)] {
        let before = session.screen.clone();
        let whole = Rect { x: 0, y: 0, width: 640, height: 480 };
        x += across;
        y += down;
        session.screen.paint(whole, |_, plane, to_x, to_y| {
            // Luma alone moves; the window and its ground are grey.
            let inside = (x..x + 320).contains(&(to_x as i32)) && (y..y + 240).contains(&(to_y as i32));
            match plane {
                0 if inside => before.planes[0][((to_y as i32 - down) * 640 + to_x as i32 - across) as usize],
                0 => 90,
                _ => 128,
            }
        });
        let picture = session.screen.picture();
        let encoded = session.encoder.encode(&picture, &[whole], &[], false).unwrap().unwrap();
        session.check(&encoded);
        // All macroblocks that lie within the window: at least 19 by 14.
        assert!(encoded.statistics.moved >= 19 * 14, "by {across}, {down}: {:?}", encoded.statistics);
        let is_near = (across, down) == (1, -1);
        assert_eq!(encoded.statistics.searched, !is_near, "by {across}, {down}");
    }
    session.check_ffmpeg();
}

#[test]
fn letters_of_new_text_are_found_in_the_picture_before() {
    let whole = Rect { x: 0, y: 0, width: 640, height: 480 };
    // Six letters of 8×16, in one order and then in another, at odd rows.
    let page = |screen: &mut Screen, seed: u64, top: usize| {
        screen.paint(whole, |_, plane, x, y| {
            let row = (y + 16 - top) / 16;
            let letter = hash(seed, x / 8, row) % 6;
            let ink = hash(letter, x % 8 / 2, (y + 16 - top) % 16).is_multiple_of(3);
            if plane != 0 {
                128
            } else if ink {
                16
            } else {
                235
            }
        });
    };
    let mut lens = Vec::new();
    for first in [1, 2] {
        let mut session = Session::new(Config::new(640, 480));
        if first == 1 {
            page(&mut session.screen, 7, 0);
        }
        session.step(&Step::Keyframe);
        page(&mut session.screen, 8, 5);
        let picture = session.screen.picture();
        let encoded = session.encoder.encode(&picture, &[whole], &[], false).unwrap().unwrap();
        session.check(&encoded);
        lens.push(encoded.data.len());
        session.check_ffmpeg();
    }
    assert!(3 * lens[0] < lens[1], "after the same letters {} bytes, after none {}", lens[0], lens[1]);
}

#[test]
fn what_is_not_damaged_is_neither_looked_at_nor_paid_for() {
    let mut session = Session::new(Config::new(640, 480));
    let whole = Rect { x: 0, y: 0, width: 640, height: 480 };
    session.step(&Step::Strokes { rect: whole, seed: 1 });
    session.settle();
    let shown = session.luma_psnr();
    // Outside of the damage the planes hold something else; nobody must see it.
    session.screen.planes[0][..640 * 100].fill(0);
    session.screen.planes[0][640 * 300..640 * 310].fill(16);
    let damage = Rect { x: 0, y: 300, width: 640, height: 10 };
    let encoded = session.encoder.encode(&session.screen.picture(), &[damage], &[], false).unwrap().unwrap();
    session.check(&encoded);
    let looked_at = encoded.statistics;
    assert_eq!(looked_at.still + looked_at.moved + looked_at.inter + looked_at.intra, 2 * 40);
    assert!(session.luma_psnr() < shown, "the undamaged part was taken over");
    let again = session.encoder.encode(&session.screen.picture(), &[damage], &[], false).unwrap();
    assert_eq!(again, None);
    session.check_ffmpeg();
}

#[test]
fn a_bound_makes_pictures_coarser_at_first_and_good_in_the_end() {
    let mut session = Session::new(Config { max_bytes: 24_000, ..Config::new(640, 480) });
    let whole = Rect { x: 0, y: 0, width: 640, height: 480 };
    session.step(&Step::Fill { rect: whole, value: 235 });
    // The first picture of a kind teaches the encoder what it takes.
    for seed in 0..3 {
        let before = session.stream.len();
        session.step(&Step::Strokes { rect: whole, seed });
        let len = session.stream.len() - before;
        assert!(len < if seed == 0 { 40_000 } else { 28_000 }, "{len} bytes");
    }
    let coarse = session.luma_psnr();
    session.settle();
    assert!(coarse < 40.0 && session.luma_psnr() >= 50.0, "{coarse} and {} dB", session.luma_psnr());
    assert!(session.encoder.is_at_rest());
    session.check_ffmpeg();
}

#[test]
fn a_survey_counts_what_encoding_would_count_and_leaves_the_encoder_at_a_keyframe() {
    let whole = Rect { x: 0, y: 0, width: 320, height: 240 };
    let mut session = Session::new(Config::new(320, 240));
    session.step(&Step::Strokes { rect: whole, seed: 7 });
    let before = session.screen.clone();
    let scrolled = Rect { x: 0, y: 0, width: 320, height: 128 };
    session.screen.paint(scrolled, |screen, plane, x, y| {
        let (width, y) = if plane == 0 { (320, y + 16) } else { (160, y + 8) };
        screen.planes[plane][y * width + x]
    });
    let new = Rect { x: 0, y: 192, width: 320, height: 32 };
    session.screen.paint(new, |_, plane, x, y| hash(9 + plane as u64, x, y) as u8);
    let picture = session.screen.picture();
    let mut other = Encoder::new(Config::new(320, 240)).unwrap();
    let surveyed = other.survey(&before.picture(), &picture, &[whole]).unwrap();
    let encoded = session.encoder.encode(&picture, &[whole], &[], false).unwrap().unwrap().statistics;
    assert_eq!(surveyed.still, 20 * 5, "{surveyed:?}");
    assert_eq!(surveyed.inter, 20 * 2, "{surveyed:?}");
    assert_eq!((surveyed.still, surveyed.moved), (encoded.still, encoded.moved), "{encoded:?}");
    assert_eq!(other.refine(1000), None);
    assert!(other.encode(&picture, &[], &[], false).unwrap().unwrap().keyframe);
    assert!(other.survey(&before.picture(), &Screen::new(64, 64).picture(), &[]).is_err());
}

#[test]
fn what_cannot_be_encoded_is_refused() {
    assert!(Encoder::new(Config::new(0, 16)).is_err());
    assert!(Encoder::new(Config::new(17, 16)).is_err());
    assert!(Encoder::new(Config::new(20_000, 20_000)).is_err());
    assert!(Encoder::new(Config { slices: 2, ..Config::new(16, 16) }).is_err());
    assert!(Encoder::new(Config { slices: 0, ..Config::new(16, 16) }).is_err());
    assert!(Encoder::new(Config { finest_qp: 52, ..Config::new(16, 16) }).is_err());
    assert!(Encoder::new(Config { max_bytes: 0, ..Config::new(16, 16) }).is_err());
    let plane = [0; 64];
    assert!(Picture::new(8, 8, [&plane, &plane, &plane], [8, 4, 4]).is_ok());
    assert!(Picture::new(8, 8, [&plane[1..], &plane, &plane], [8, 4, 4]).is_err());
    assert!(Picture::new(8, 8, [&plane, &plane, &plane], [7, 4, 4]).is_err());
    assert!(Picture::new(8, 8, [&plane, &plane, &plane], [usize::MAX, 4, 4]).is_err());
    let mut encoder = Encoder::new(Config::new(16, 16)).unwrap();
    let picture = Picture::new(8, 8, [&plane, &plane, &plane], [8, 4, 4]).unwrap();
    assert!(encoder.encode(&picture, &[], &[], false).is_err());
    assert!(encoder.set_quality(30, 20, 1000).is_err());
    assert_eq!(encoder.refine(1000), None);
}

/// `ORIEL_SOAK_PICTURES` pictures (100 000 if not set), from `ORIEL_SOAK_SEED`.
#[test]
#[ignore = "takes minutes"]
fn soak() {
    let number = |name, default| std::env::var(name).map_or(default, |value| value.parse().unwrap());
    let pictures: u64 = number("ORIEL_SOAK_PICTURES", 100_000);
    let seed = number("ORIEL_SOAK_SEED", 1);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Runs::default(), rng);
    let mut done = 0;
    while done < pictures {
        let config = config().new_tree(&mut runner).unwrap().current();
        let mut session = Session::new(config);
        while session.pictures < 500 {
            session.step(&step().new_tree(&mut runner).unwrap().current());
        }
        session.settle();
        assert!(session.luma_psnr() >= 50.0, "{} dB", session.luma_psnr());
        done += session.pictures as u64;
        session.check_ffmpeg();
    }
    println!("{done} pictures");
}
