//! From what a program draws to what a browser shows, and from a key to its echo.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Plan, desktop};
use crate::CODE_AREA;
use crate::browser::{self, Glass};
use crate::cpu;
use crate::peers::NativePeers;
use crate::reception::Quantiles;
use crate::report::Row;
use crate::server::Server;

/// Not a part of the display's 60 Hz, so that frames meet it at every phase.
const FPS: f64 = 23.7;
const ID: &str = "glass";

/// One run with one browser and some native peers.
struct Run {
    latency: Quantiles,
    streamer_cpu: f64,
    x_cpu: f64,
    fps: f64,
    unread: f64,
    lost: f64,
}

/// Glass to glass: `scene` draws its time code beside moving content; Chromium reads it from what it presents.
pub fn glass(plan: Plan) -> Result<Vec<Row>> {
    let cases: [(&str, usize, bool, f64, Option<f64>); 3] = [
        ("one Chromium", 0, false, 20.0, Some(35.0)),
        ("one Chromium, sound played", 0, true, 20.0, Some(35.0)),
        ("one Chromium and ten native peers", 10, false, 25.0, None),
    ];
    let mut rows = Vec::new();
    for (name, natives, sound, p50, p95) in cases {
        // New processes each time: what locks to the display's phase differs from one to the next.
        let runs = (0..plan.runs(5)).map(|_| run(plan, natives, sound)).collect::<Result<Vec<_>>>()?;
        let of = |part: fn(&Run) -> f64| runs.iter().map(part).collect::<Vec<_>>();
        let row = |what: &str, unit: &str, part| Row::new("glass", format!("{name}: {what}"), unit, of(part));
        rows.push(row("drawn to presented, p50", "ms", |run| run.latency.p50).at_most(p50));
        let tail = row("drawn to presented, p95", "ms", |run| run.latency.p95);
        rows.push(match p95 {
            Some(p95) => tail.at_most(p95),
            None => tail,
        });
        rows.push(row("drawn to presented, p99", "ms", |run| run.latency.p99));
        let cpu = row("streamer", "% of a core", |run| run.streamer_cpu);
        rows.push(if natives == 0 { cpu.at_most(15.0) } else { cpu });
        rows.push(row("X server", "% of a core", |run| run.x_cpu));
        rows.push(row("frames presented per second", "1/s", |run| run.fps).same_rate());
        rows.push(row("drawn frames not presented", "%", |run| run.lost));
        rows.push(row("presented frames without a readable code", "%", |run| run.unread));
    }
    Ok(rows)
}

fn run(plan: Plan, natives: usize, sound: bool) -> Result<Run> {
    let server = Server::start("streamer")?;
    let mut source = desktop(1280, 720, "moving", FPS, true)?;
    if sound {
        let scene = source["command"].as_array().cloned().unwrap_or_default();
        let words: Vec<&str> = scene.iter().filter_map(|word| word.as_str()).collect();
        // Noise, as silence is not sent.
        source["command"] = json!(format!("pacat --raw /dev/urandom & exec {}", words.join(" ")));
    }
    server.create(ID, source)?;
    let mut peers = NativePeers::start(&server, ID, false)?;
    if natives > 0 {
        peers.join(natives)?;
    }
    let mut page = Glass::open(&server.viewer(ID), CODE_AREA, sound)?;
    let streamer = server.pid(ID)?;
    let x = server.pid_in_session(ID, "Xvfb")?;
    let audio_before = server.stats(ID)?.audio.encoded;
    page.begin()?;
    let begin = Instant::now();
    let before = [cpu::process_us(streamer)?, cpu::process_us(x)?];
    std::thread::sleep(plan.time(12));
    let after = [cpu::process_us(streamer)?, cpu::process_us(x)?];
    let elapsed = begin.elapsed();
    let seen = page.end()?;
    ensure!(seen.latencies_ms.len() > 20, "only {} frames had a code", seen.latencies_ms.len());
    let audio = server.stats(ID)?.audio.encoded - audio_before;
    ensure!(sound == (audio > 0), "sound was to be {sound}, and {audio} packets of it were encoded");
    peers.finish()?;
    let percent = |n: usize| (after[n] - before[n]) as f64 / elapsed.as_micros() as f64 * 100.0;
    let drawn =
        seen.frames.last().zip(seen.frames.first()).map_or(1, |(last, first)| last - first + 1) as f64;
    Ok(Run {
        latency: Quantiles::of(seen.latencies_ms.clone()),
        streamer_cpu: percent(0),
        x_cpu: percent(1),
        fps: seen.presented as f64 / elapsed.as_secs_f64(),
        unread: seen.unread as f64 * 100.0 / (seen.unread + seen.frames.len()) as f64,
        lost: (drawn - seen.presented as f64).max(0.0) * 100.0 / drawn,
    })
}

/// Key event in a page to the changed pixel presented: a terminal that echoes.
pub fn keys(plan: Plan) -> Result<Vec<Row>> {
    let mut p50 = Vec::new();
    let mut p95 = Vec::new();
    for _ in 0..plan.runs(5) {
        let server = Server::start("streamer")?;
        let terminal = json!(["xterm", "-geometry", "200x50+0+0", "-fn", "fixed", "-e", "cat"]);
        server.create(ID, json!({ "type": "desktop", "command": terminal }))?;
        let echoes = Quantiles::of(browser::keys(&server.viewer(ID), if plan.quick { 8 } else { 40 })?);
        p50.push(echoes.p50);
        p95.push(echoes.p95);
    }
    Ok(vec![
        Row::new("keys", "key event to echo presented, median of a page", "ms", p50).at_most(40.0),
        Row::new("keys", "key event to echo presented, p95 of a page", "ms", p95),
    ])
}
