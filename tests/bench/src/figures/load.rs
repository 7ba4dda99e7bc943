//! What a desktop costs, by size and content.

use std::time::Instant;

use anyhow::{Context, Result, ensure};
use common::stats::VideoStats;

use super::{Plan, desktop};
use crate::cpu;
use crate::peers::NativePeers;
use crate::quality::{self, Luma, Which};
use crate::reception::Reception;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "load";
/// Content, its changes per second, least PSNR in dB.
const CONTENTS: [(&str, f64, f64); 4] =
    [("idle", 1.0, 36.0), ("typing", 10.0, 34.0), ("scroll", 30.0, 38.0), ("video", 30.0, 41.0)];
/// Snapshots per run; each is compared with the frame of the same picture, if that was encoded.
const SNAPSHOTS: usize = 30;
/// Changes in a row, after which the picture stays for a moment: a snapshot then shows what was sent last.
const CHANGES: u32 = 10;

/// One desktop with one native peer, for a while.
struct Run {
    cpu: f64,
    x_cpu: f64,
    video: VideoStats,
    reception: Reception,
    seconds: f64,
}

impl Run {
    fn measure(plan: Plan, server: &Server) -> Result<Self> {
        let mut peers = NativePeers::start(server, ID, false)?;
        peers.join(1)?;
        let x = server.pid_in_session(ID, "Xvfb")?;
        // A joiner's keyframe is paid for by the frames of the next second.
        server.stats(ID)?;
        server.stats(ID)?;
        let first = server.stats(ID)?;
        let before = [cpu::process_us(first.process.pid)?, cpu::process_us(x)?];
        let begin = Instant::now();
        peers.begin()?;
        std::thread::sleep(plan.time(8));
        let reception = peers.end()?;
        let after = [cpu::process_us(first.process.pid)?, cpu::process_us(x)?];
        let elapsed = begin.elapsed();
        let last = server.stats(ID)?;
        peers.finish()?;
        let percent = |n: usize| (after[n] - before[n]) as f64 / elapsed.as_micros() as f64 * 100.0;
        let seconds = (last.uptime_ms - first.uptime_ms) as f64 / 1000.0;
        let video = difference(&first.video, &last.video);
        Ok(Self { cpu: percent(0), x_cpu: percent(1), video, reception, seconds })
    }

    /// Of a picture that changed. Detail that is added at rest is paid for by it, and is no frame of its own.
    fn per_frame(&self, total: u64) -> f64 {
        total as f64 / self.video.captured as f64
    }
}

fn difference(before: &VideoStats, after: &VideoStats) -> VideoStats {
    VideoStats {
        width: after.width,
        height: after.height,
        captured: after.captured - before.captured,
        encoded: after.encoded - before.encoded,
        keyframes: after.keyframes - before.keyframes,
        keyframes_asked: after.keyframes_asked - before.keyframes_asked,
        dropped: after.dropped - before.dropped,
        encoded_bytes: after.encoded_bytes - before.encoded_bytes,
        captured_bytes: after.captured_bytes - before.captured_bytes,
        converted_bytes: after.converted_bytes - before.converted_bytes,
        capture_us: after.capture_us - before.capture_us,
        convert_us: after.convert_us - before.convert_us,
        encode_us: after.encode_us - before.encode_us,
    }
}

/// Capture, convert and encode of one changed frame of 1280×720, by content, from the streamer's counters. The targets are 1.5 times
/// what the parts took by themselves: grabbing and converting the changed rows, and encoding.
pub fn pipeline(plan: Plan) -> Result<Vec<Row>> {
    let targets = [("typing", 10.0, 6.6), ("scroll", 30.0, 6.6), ("video", 30.0, 6.4)];
    let mut rows = Vec::new();
    for (mode, fps, whole) in targets {
        let mut parts: [Vec<f64>; 5] = Default::default();
        let mut captured = Vec::new();
        for _ in 0..plan.runs(5) {
            let server = Server::start("streamer")?;
            server.create(ID, desktop(1280, 720, mode, fps, false)?)?;
            let run = Run::measure(plan, &server)?;
            ensure!(run.video.captured > 10, "only {} frames were captured", run.video.captured);
            captured.push(run.video.captured as f64 / run.seconds);
            let [capture, convert, encode] =
                [run.video.capture_us, run.video.convert_us, run.video.encode_us]
                    .map(|us| run.per_frame(us) / 1000.0);
            // Of everything, sending to the one peer included, but not of what else the machine does.
            let cpu = run.cpu * 10.0 * run.seconds / run.video.captured as f64;
            let all = [capture + convert + encode, capture, convert, encode, cpu];
            for (samples, value) in parts.iter_mut().zip(all) {
                samples.push(value);
            }
        }
        let names =
            ["capture, convert and encode", "capture", "convert", "encode", "processor time of the streamer"];
        for (n, (part, samples)) in names.into_iter().zip(parts).enumerate() {
            let row = Row::new("pipeline", format!("720p {mode}: {part}"), "ms", samples);
            rows.push(if n == 0 { row.at_most(whole * 1.5) } else { row });
        }
        if plan.once {
            // Two builds are compared at the same quality only; on its own, `load` has this.
            let noise = psnr(plan, (1280, 720), mode, fps)?.into_iter().map(|db| -db).collect();
            let what = format!("720p {mode}: noise of the decoded picture (−PSNR)");
            rows.push(Row::new("pipeline", what, "dB", noise).same_noise());
            let what = format!("720p {mode}: frames captured");
            rows.push(Row::new("pipeline", what, "1/s", captured).same_rate());
        }
    }
    Ok(rows)
}

/// 720p30 and 1080p30 × idle, typing, scroll, video.
pub fn load(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (width, height) in [(1280, 720), (1920, 1080)] {
        for (mode, fps, least_psnr) in CONTENTS {
            let name = format!("{height}p {mode}");
            let row =
                |what: &str, unit: &str, samples| Row::new("load", format!("{name}: {what}"), unit, samples);
            let mut runs = Vec::new();
            for _ in 0..plan.runs(3) {
                let server = Server::start("streamer")?;
                server.create(ID, desktop(width, height, mode, fps, false)?)?;
                runs.push(Run::measure(plan, &server)?);
            }
            let of = |part: fn(&Run) -> f64| runs.iter().map(part).collect::<Vec<_>>();
            rows.push(row("streamer", "% of a core", of(|run| run.cpu)));
            rows.push(row("X server", "% of a core", of(|run| run.x_cpu)));
            rows.push(row("allocations", "1/s", vec![allocations(plan, (width, height), mode, fps)?]));
            if mode != "idle" {
                let encoded = of(|run| run.video.encoded as f64 / run.seconds);
                rows.push(row("frames encoded", "1/s", encoded).same_rate());
                rows.push(row("frames dropped", "1/s", of(|run| run.video.dropped as f64 / run.seconds)));
                rows.push(row(
                    "capture to first packet, p50",
                    "ms",
                    of(|run| run.reception.capture_to_first.p50),
                ));
                rows.push(row(
                    "capture to first packet, p99",
                    "ms",
                    of(|run| run.reception.capture_to_first.p99),
                ));
                rows.push(row(
                    "copied from the X server",
                    "kB per frame",
                    of(|run| run.per_frame(run.video.captured_bytes) / 1000.0),
                ));
                rows.push(row(
                    "converted",
                    "kB per frame",
                    of(|run| run.per_frame(run.video.converted_bytes) / 1000.0),
                ));
                rows.push(row(
                    "encoded",
                    "kB per frame",
                    of(|run| run.per_frame(run.video.encoded_bytes) / 1000.0),
                ));
            }
            rows.push(distortion(&name, psnr(plan, (width, height), mode, fps)?, least_psnr));
        }
    }
    Ok(rows)
}

/// As mean error below the peak: so that less is better, as with all other figures.
fn distortion(name: &str, psnr: Vec<f64>, least: f64) -> Row {
    let samples = psnr.into_iter().map(|db| -db).collect();
    let row = Row::new("load", format!("{name}: noise of the decoded picture (−PSNR)"), "dB", samples);
    row.at_most(-least).same_noise()
}

/// Decoded frames against snapshots.
fn psnr(plan: Plan, (width, height): (u32, u32), mode: &str, fps: f64) -> Result<Vec<f64>> {
    let server = Server::start("streamer")?;
    let mut source = desktop(width, height, mode, fps, false)?;
    if let Some(command) = source["command"].as_array_mut() {
        command.extend(["--pause-after".into(), CHANGES.to_string().into()]);
    }
    server.create(ID, source)?;
    let mut peers = NativePeers::start(&server, ID, true)?;
    peers.join(1)?;
    peers.measure(plan.time(3))?;
    let (count, which) = if mode == "idle" { (1, Which::Last) } else { (SNAPSHOTS, Which::First) };
    let snapshots = (0..count).map(|_| Luma::of_png(&server.snapshot(ID)?)).collect::<Result<Vec<_>>>()?;
    // What was on the last snapshot is on its way to be encoded and received.
    server.stats(ID)?;
    server.stats(ID)?;
    let file = tempfile::NamedTempFile::new()?;
    peers.write_units(file.path())?;
    peers.finish()?;
    let seen = quality::compare(file.path(), &snapshots, which)?;
    ensure!(!seen.is_empty(), "{mode}: no snapshot shows a frame that was encoded");
    Ok(seen)
}

/// Allocations per second of a streamer that counts them, with one peer.
fn allocations(plan: Plan, (width, height): (u32, u32), mode: &str, fps: f64) -> Result<f64> {
    let server = Server::start("streamer-counting")?;
    server.create(ID, desktop(width, height, mode, fps, false)?)?;
    let mut peers = NativePeers::start(&server, ID, false)?;
    peers.join(1)?;
    server.stats(ID)?;
    let before = server.allocations()?;
    peers.measure(plan.time(4))?;
    let after = server.allocations()?;
    peers.finish()?;
    let seconds = after.at.saturating_sub(before.at).as_secs_f64();
    (seconds > 0.0)
        .then(|| (after.count - before.count) as f64 / seconds)
        .context("allocations are not counted")
}
