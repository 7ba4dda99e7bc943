//! Compares this encoder with openh264 as the streamer configures it: time, bytes and quality on rendered text,
//! scrolling, page flips and film. Prints a table in Markdown.
//!
//! `cargo run --release -p screen-h264 --example compare`; needs ffmpeg, which renders the text and the film.
//! Text is this repository's own, in a dark terminal with coloured columns and as a light document.

#![allow(clippy::unwrap_used, reason = "what fails here ends the run, with its place")]

use std::process::Command;
use std::time::Duration;

use openh264::decoder::Decoder;
use openh264::encoder::{
    BitRate, Complexity, Encoder as OpenH264, EncoderConfig, FrameRate, Profile, QpRange, RateControlMode,
    SpsPpsStrategy, UsageType, VuiConfig,
};
use openh264::formats::{YUVSlices, YUVSource as _};
use openh264::{OpenH264API, Timestamp};
use rustix::time::{ClockId, clock_gettime};
use screen_h264::{Config, Encoder, Picture, Rect};

/// Runs of each encoder on each sequence.
const ROUNDS: usize = 5;

/// A picture with chroma at full resolution, so that it can be moved by any distance before it is sampled down.
#[derive(Clone)]
struct Image {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

impl Image {
    /// Pictures that ffmpeg makes.
    fn render(width: usize, height: usize, count: usize, source: &str, filter: &str) -> Vec<Self> {
        let output = Command::new("ffmpeg")
            .args([
                "-v",
                "error",
                "-f",
                "lavfi",
                "-i",
                source,
                "-vf",
                filter,
                "-frames:v",
                &count.to_string(),
            ])
            .args(["-f", "rawvideo", "-pix_fmt", "yuv444p", "-"])
            .output()
            .expect("ffmpeg renders the pictures");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let size = width * height;
        assert_eq!(output.stdout.len(), 3 * size * count);
        let image = |bytes: &[u8]| {
            let planes = [0, 1, 2].map(|at| bytes[at * size..(at + 1) * size].to_vec());
            Self { width, height, planes }
        };
        output.stdout.chunks(3 * size).map(image).collect()
    }

    /// Light text on a dark ground: line numbers, file names and text in different colours.
    fn terminal(width: usize, height: usize) -> Self {
        let font = "fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSansMono.ttf:fontsize=14:line_spacing=2";
        let text = |at: usize, colour: &str, text: &str| {
            let file = std::env::temp_dir().join(format!("screen-h264-{}-{at}.txt", std::process::id()));
            std::fs::write(&file, text).unwrap();
            let file = file.display();
            format!("drawtext={font}:expansion=none:textfile={file}:fontcolor={colour}:x={at}:y=4")
        };
        let lines: Vec<&str> = TEXT.lines().filter(|line| !line.is_empty()).collect();
        let column =
            |line: &dyn Fn(usize) -> String| (0..height / 17).map(line).collect::<Vec<_>>().join("\n");
        let numbers = column(&|at| format!("{:5}", at + 1));
        let names = column(&|at| format!("{:12}", ["encoder.rs:", "motion.rs:", "bits.rs:"][at % 3]));
        let texts = column(&|at| lines[at % lines.len()].to_owned());
        let filter =
            [text(8, "0x6a9fb5", &numbers), text(64, "0x90a959", &names), text(170, "0xd0d0d0", &texts)]
                .join(",");
        Self::render(width, height, 1, &format!("color=c=0x181818:s={width}x{height}"), &filter).remove(0)
    }

    /// Dark text on a light ground, proportional.
    fn document(width: usize, height: usize) -> Self {
        let file = std::env::temp_dir().join(format!("screen-h264-{}-document.txt", std::process::id()));
        let lines: Vec<&str> = TEXT.lines().filter(|line| line.starts_with("//")).collect();
        let text: Vec<_> =
            (0..height / 22).map(|at| lines[at % lines.len()].trim_start_matches('/')).collect();
        std::fs::write(&file, text.join("\n")).unwrap();
        let filter = format!(
            "drawtext=fontfile=/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf:fontsize=16:line_spacing=3:\
             expansion=none:textfile={}:fontcolor=0x202020:x=24:y=8",
            file.display()
        );
        Self::render(width, height, 1, &format!("color=c=white:s={width}x{height}"), &filter).remove(0)
    }

    /// Copies a rectangle of another image.
    fn blit(&mut self, to: (usize, usize), from: &Self, at: (usize, usize), size: (usize, usize)) {
        for plane in 0..3 {
            for row in 0..size.1 {
                let source = (at.1 + row) * from.width + at.0;
                let target = (to.1 + row) * self.width + to.0;
                self.planes[plane][target..target + size.0]
                    .copy_from_slice(&from.planes[plane][source..source + size.0]);
            }
        }
    }

    /// 4:2:0.
    fn subsample(&self) -> Yuv {
        let chroma = |plane: &[u8]| {
            let mut out = Vec::with_capacity(plane.len() / 4);
            for rows in plane.chunks_exact(2 * self.width) {
                let (above, below) = rows.split_at(self.width);
                for (above, below) in above.chunks_exact(2).zip(below.chunks_exact(2)) {
                    let sum: u32 = above.iter().chain(below).map(|&sample| u32::from(sample)).sum();
                    out.push(((sum + 2) / 4) as u8);
                }
            }
            out
        };
        Yuv {
            width: self.width,
            height: self.height,
            planes: [self.planes[0].clone(), chroma(&self.planes[1]), chroma(&self.planes[2])],
        }
    }
}

/// What is drawn: the larger part of this crate.
const TEXT: &str = concat!(
    include_str!("../src/encoder.rs"),
    include_str!("../src/macroblock.rs"),
    include_str!("../src/predict.rs"),
    include_str!("../src/cavlc.rs"),
);

/// A 4:2:0 picture without padding.
#[derive(Clone)]
struct Yuv {
    width: usize,
    height: usize,
    planes: [Vec<u8>; 3],
}

/// Pictures with what changed from each to the next, and pauses in which pictures are improved.
struct Sequence {
    name: &'static str,
    frames: Vec<Yuv>,
    damage: Vec<Rect>,
    /// Pictures a change lasts: in the others the same is shown, and can be improved.
    hold: usize,
}

fn rect(x: usize, y: usize, width: usize, height: usize) -> Rect {
    Rect { x: x as u32, y: y as u32, width: width as u32, height: height as u32 }
}

/// A line is written, two characters a picture.
fn typing(width: usize, height: usize) -> Sequence {
    let text = Image::terminal(width, height);
    // The longest line in view, so that there is something to write in every picture.
    let lines = TEXT.lines().filter(|line| !line.is_empty()).take(height / 17 - 1);
    let (line, _) = lines.enumerate().max_by_key(|(_, line)| line.len()).unwrap();
    let top = 4 + line * 17;
    let ground = Image::render(width, 32, 1, &format!("color=c=0x181818:s={width}x32"), "null").remove(0);
    let frames = (0..60).map(|at| {
        let mut image = text.clone();
        let written = (170 + 17 * at).min(width);
        image.blit((written, top), &ground, (written, 0), (width - written, 17));
        image.subsample()
    });
    Sequence { name: "typing", frames: frames.collect(), damage: vec![rect(0, top, width, 17); 60], hold: 1 }
}

/// A window on a still desktop scrolls by `step` rows a picture.
fn scroll(name: &'static str, width: usize, height: usize, step: usize) -> Sequence {
    let desktop = Image::document(width, height);
    let window_width = width * 3 / 4 - 3;
    let window_height = height * 3 / 4 + 5;
    let text = Image::terminal(width, (window_height + 60 * step).next_multiple_of(2));
    let frames = (0..60).map(|at| {
        let mut image = desktop.clone();
        image.blit((101, 51), &text, (0, at * step), (window_width, window_height));
        image.subsample()
    });
    let damage = vec![rect(100, 50, window_width + 2, window_height + 2); 60];
    Sequence { name, frames: frames.collect(), damage, hold: 1 }
}

/// Other pages of text: the next ones of the same, or if each picture is another one, from two by turns.
fn pages(name: &'static str, width: usize, height: usize, hold: usize) -> Sequence {
    let terminal = Image::terminal(width, 8 * height);
    let document = Image::document(width, 8 * height);
    let count = if hold == 1 { 24 } else { 8 };
    let frames = (0..count).flat_map(|at| {
        let mut image = Image { width, height, planes: Default::default() };
        image.planes = [0; 3].map(|_| vec![0; width * height]);
        let from = if hold > 1 || at % 2 == 0 { &terminal } else { &document };
        image.blit((0, 0), from, (0, at % 8 * height), (width, height));
        vec![image.subsample(); hold]
    });
    let frames: Vec<_> = frames.collect();
    Sequence { name, damage: vec![rect(0, 0, width, height); frames.len()], frames, hold }
}

/// A film of 640×360 on a still desktop.
fn film(name: &'static str, source: &str, filter: &str, moving: bool) -> Sequence {
    let desktop = Image::document(1280, 720);
    let height = if moving { 360 + 240 } else { 360 };
    let film = Image::render(640, height, if moving { 1 } else { 60 }, source, filter);
    let frames = (0..60).map(|at| {
        let mut image = desktop.clone();
        let (picture, from) = if moving { (0, 4 * at) } else { (at, 0) };
        image.blit((333, 181), &film[picture], (0, from), (640, 360));
        image.subsample()
    });
    Sequence { name, frames: frames.collect(), damage: vec![rect(332, 180, 642, 362); 60], hold: 1 }
}

/// What an encoder made of a sequence.
#[derive(Default)]
struct Outcome {
    times: Vec<Duration>,
    bytes: Vec<usize>,
    luma: Vec<f64>,
    chroma: Vec<f64>,
    /// Luma at the end of each hold.
    settled: Vec<f64>,
}

impl Outcome {
    fn print(&mut self, sequence: &str, encoder: &str) {
        self.times.sort_unstable();
        let time =
            |share: f64| self.times[(share * (self.times.len() - 1) as f64) as usize].as_secs_f64() * 1e3;
        let mean = |values: &[f64]| values.iter().sum::<f64>() / values.len().max(1) as f64;
        let bytes = self.bytes.iter().sum::<usize>() / self.bytes.len().max(1);
        let largest = self.bytes.iter().max().copied().unwrap_or_default();
        println!(
            "| {sequence} | {encoder} | {:.2} | {:.2} | {bytes} | {largest} | {:.1} | {:.1} | {:.1} |",
            time(0.5),
            time(0.95),
            mean(&self.luma),
            mean(&self.chroma),
            mean(&self.settled),
        );
    }

    /// Notes what decoders show.
    fn seen(&mut self, sequence: &Sequence, at: usize, planes: [&[u8]; 3], strides: [usize; 3]) {
        let frame = &sequence.frames[at];
        let luma = psnr(frame, planes, strides, 0..1);
        self.luma.push(luma);
        self.chroma.push(psnr(frame, planes, strides, 1..3));
        if at % sequence.hold == sequence.hold - 1 {
            self.settled.push(luma);
        }
    }
}

/// Time that this thread has run: what else runs on the machine hardly matters. Neither encoder has threads.
fn cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

/// PSNR of planes, at most 99 dB.
fn psnr(frame: &Yuv, planes: [&[u8]; 3], strides: [usize; 3], which: std::ops::Range<usize>) -> f64 {
    let mut error = 0;
    let mut count = 0;
    for at in which {
        let width = if at == 0 { frame.width } else { frame.width / 2 };
        for (wanted, shown) in frame.planes[at].chunks(width).zip(planes[at].chunks(strides[at])) {
            error += wanted.iter().zip(shown).map(|(&a, &b)| u64::from(a.abs_diff(b)).pow(2)).sum::<u64>();
            count += width;
        }
    }
    let mse = error as f64 / count as f64;
    if mse == 0.0 { 99.0 } else { (10.0 * (255.0f64.powi(2) / mse).log10()).min(99.0) }
}

/// Ours: the picture where something changes; in between, improvements.
fn ours(sequence: &Sequence, config: Config, refine: usize) -> Outcome {
    let mut encoder = Encoder::new(config).unwrap();
    let mut outcome = Outcome::default();
    for (at, frame) in sequence.frames.iter().enumerate() {
        let planes = frame.planes.each_ref().map(Vec::as_slice);
        let strides = [frame.width, frame.width / 2, frame.width / 2];
        let picture = Picture::new(config.width, config.height, planes, strides).unwrap();
        let start = cpu_time();
        let encoded = if at % sequence.hold == 0 {
            encoder.encode(&picture, &sequence.damage[at..at + 1], &[], false).unwrap()
        } else {
            encoder.refine(refine)
        };
        let took = cpu_time() - start;
        if at == 0 {
            // Everyone begins with a good picture; it is not counted.
            while encoder.refine(1 << 20).is_some() {}
            continue;
        }
        if at % sequence.hold == 0 {
            outcome.times.push(took);
        }
        outcome.bytes.push(encoded.map_or(0, |encoded| encoded.data.len()));
        let (planes, strides) = encoder.reconstruction();
        outcome.seen(sequence, at, planes, strides);
    }
    outcome
}

/// openh264, each picture at the time it is shown.
fn theirs(sequence: &Sequence, config: Config, usage: UsageType, bitrate: u32) -> Outcome {
    let screen = matches!(usage, UsageType::ScreenContentRealTime);
    let settings = EncoderConfig::new()
        .usage_type(usage)
        .bitrate(BitRate::from_bps(bitrate))
        .max_frame_rate(FrameRate::from_hz(30.0))
        .rate_control_mode(RateControlMode::Bitrate)
        .qp(QpRange::new(14, 51))
        .complexity(Complexity::Low)
        .num_threads(1)
        .skip_frames(false)
        .scene_change_detect(screen)
        .adaptive_quantization(!screen)
        .background_detection(!screen)
        .profile(Profile::Baseline)
        .sps_pps_strategy(SpsPpsStrategy::ConstantId)
        .vui(VuiConfig::bt709());
    let mut encoder = OpenH264::with_api_config(OpenH264API::from_source(), settings).unwrap();
    let mut decoder = Decoder::new().unwrap();
    let mut outcome = Outcome::default();
    let width = config.width as usize;
    // The first picture is shown for a second before it counts: everyone begins with a good one.
    let shown = std::iter::repeat_n(0, 30).chain(0..sequence.frames.len());
    for (step, at) in shown.enumerate() {
        let frame = &sequence.frames[at];
        let [y, u, v] = frame.planes.each_ref().map(Vec::as_slice);
        let slices = YUVSlices::new((y, u, v), (width, frame.height), (width, width / 2, width / 2));
        let start = cpu_time();
        let unit = encoder.encode_at(&slices, Timestamp::from_millis(step as u64 * 33)).unwrap();
        let mut data = Vec::new();
        unit.write_vec(&mut data);
        let took = cpu_time() - start;
        let decoded = decoder.decode(&data).unwrap();
        if step <= 30 {
            continue;
        }
        if at % sequence.hold == 0 {
            outcome.times.push(took);
        }
        outcome.bytes.push(data.len());
        if let Some(decoded) = decoded {
            let (y, u, v) = decoded.strides();
            outcome.seen(sequence, at, [decoded.y(), decoded.u(), decoded.v()], [y, u, v]);
        }
    }
    outcome
}

fn main() {
    let only = std::env::args().nth(1);
    type Make = fn() -> Sequence;
    let sequences: [(&str, Make); 9] = [
        ("typing", || typing(1280, 720)),
        ("typing-1080", || Sequence { name: "1080p typing", ..typing(1920, 1080) }),
        ("scroll", || scroll("720p scroll by 51", 1280, 720, 51)),
        ("scroll-smooth", || scroll("720p scroll by 7", 1280, 720, 7)),
        ("scroll-1080", || scroll("1080p scroll by 51", 1920, 1080, 51)),
        ("flip", || pages("page flip, 10 pictures each", 1280, 720, 10)),
        ("repaint", || pages("a new page each picture", 1280, 720, 1)),
        ("noise", || {
            film("noise 640×360 moving by 4", "nullsrc=s=640x600", "geq=random(1)*255:128:128", true)
        }),
        ("film", || film("film 640×360 (mandelbrot)", "mandelbrot=s=640x360:r=30", "null", false)),
    ];
    println!(
        "| sequence | encoder | ms p50 | ms p95 | bytes/picture | largest | luma dB | chroma dB | settled |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    for (name, make) in sequences {
        if only.as_ref().is_some_and(|only| only != name) {
            continue;
        }
        let sequence = make();
        let frame = &sequence.frames[0];
        let config = Config::new(frame.width as u32, frame.height as u32);
        let bitrate = if config.width > 1280 { 4_000_000 } else { 2_500_000 };
        let usages = [
            ("openh264 screen", UsageType::ScreenContentRealTime),
            ("openh264 camera", UsageType::CameraVideoRealTime),
        ];
        let bounds = [
            ("ours, QP 12", 12, usize::MAX / 16),
            ("ours, QP 20", 20, usize::MAX / 16),
            ("ours, QP 28", 28, usize::MAX / 16),
            ("ours, QP 12, ≤ 40 kB", 12, 40_000),
        ];
        let mut outcomes: Vec<Outcome> = Vec::new();
        // By turns, so that what disturbs one run disturbs all of them; times are of all runs.
        for round in 0..ROUNDS {
            let others = usages.iter().map(|(_, usage)| theirs(&sequence, config, *usage, bitrate));
            let mut run: Vec<_> = others.collect();
            run.extend(bounds.iter().map(|&(_, finest_qp, max_bytes)| {
                ours(&sequence, Config { finest_qp, max_bytes, ..config }, 20_000)
            }));
            if round == 0 {
                outcomes = run;
            } else {
                for (outcome, run) in outcomes.iter_mut().zip(run) {
                    outcome.times.extend(run.times);
                }
            }
        }
        let labels = usages.iter().map(|(label, _)| *label).chain(bounds.iter().map(|(label, ..)| *label));
        for (label, outcome) in labels.zip(&mut outcomes) {
            outcome.print(sequence.name, label);
        }
    }
}
