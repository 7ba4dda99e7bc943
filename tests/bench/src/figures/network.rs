//! What a browser sees over links that are narrow, lose packets or delay them unevenly.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::{Value, json};

use super::{Plan, desktop};
use crate::CODE_AREA;
use crate::browser::{self, Glass};
use crate::netsim::Netsim;
use crate::reception::Quantiles;
use crate::report::Row;
use crate::server::Server;

/// As with `glass`: not a part of the display's 60 Hz.
const FPS: f64 = 23.7;
const ID: &str = "network";
/// What a viewer's link is like is found out in this time, which is not measured.
const SETTLE: Duration = Duration::from_secs(5);

/// Nothing but the web-server, and media over TCP, can be reached.
fn no_udp() -> Value {
    json!({ "down": { "drop": true }, "up": { "drop": true } })
}

/// A link, and what is to be reached over it.
struct Link {
    name: &'static str,
    rules: Value,
    /// What it becomes while it is measured, and how many seconds after the one before.
    changes: Vec<(u64, Value)>,
    /// Milliseconds.
    p50: Option<f64>,
    p95: Option<f64>,
    longest_gap: Option<f64>,
    /// Drawn frames that are not presented, percent.
    missing: Option<f64>,
}

/// With a round trip of 40 ms, unless they say another one.
fn links() -> [Link; 6] {
    let far = || json!({ "delay_ms": 20 });
    let lossy = || json!({ "delay_ms": 20, "loss": 0.05 });
    [
        Link {
            name: "5 % loss both ways",
            rules: json!({ "down": lossy(), "up": lossy() }),
            changes: Vec::new(),
            p50: Some(35.0),
            p95: Some(65.0),
            longest_gap: Some(150.0),
            missing: Some(3.0),
        },
        Link {
            name: "2 Mbit/s, queue of 200 ms",
            rules: json!({ "down": { "delay_ms": 20, "rate_kbps": 2000, "queue_ms": 200 }, "up": far() }),
            changes: Vec::new(),
            p50: Some(60.0),
            p95: Some(130.0),
            longest_gap: None,
            missing: Some(15.6),
        },
        Link {
            name: "500 kbit/s, queue of 500 ms",
            rules: json!({ "down": { "delay_ms": 20, "rate_kbps": 500, "queue_ms": 500 }, "up": far() }),
            changes: Vec::new(),
            p50: None,
            p95: Some(400.0),
            longest_gap: None,
            missing: Some(66.2),
        },
        Link {
            name: "jitter of 0 to 30 ms",
            rules: json!({ "down": { "delay_ms": 20, "jitter_ms": 30 }, "up": { "delay_ms": 20, "jitter_ms": 30 } }),
            changes: Vec::new(),
            // 20 ms above the link's own.
            p50: Some(55.0),
            p95: None,
            longest_gap: None,
            missing: None,
        },
        Link {
            name: "10 % loss in bursts of 4, round trip of 100 ms",
            rules: json!({ "down": { "delay_ms": 50, "loss": 0.1, "loss_burst": 4.0 }, "up": { "delay_ms": 50 } }),
            changes: Vec::new(),
            p50: None,
            p95: None,
            longest_gap: Some(400.0),
            missing: None,
        },
        Link {
            name: "unlimited, 20 s of 1 Mbit/s with CoDel, unlimited",
            rules: json!({ "down": far(), "up": far() }),
            changes: vec![
                (10, json!({ "down": { "delay_ms": 20, "rate_kbps": 1000, "codel": true }, "up": far() })),
                (20, json!({ "down": far(), "up": far() })),
            ],
            p50: None,
            p95: None,
            longest_gap: Some(500.0),
            missing: None,
        },
    ]
}

/// What one page saw.
struct Run {
    latency: Quantiles,
    longest_gap_ms: f64,
    fps: f64,
    missing: f64,
}

/// `scene` in a desktop of 720p, watched by one Chromium over each link.
pub fn network(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for link in links() {
        let runs = (0..plan.runs(3)).map(|_| run(plan, &link)).collect::<Result<Vec<_>>>()?;
        let row = |what: &str, unit: &str, part: fn(&Run) -> f64, target: Option<f64>| {
            let samples = runs.iter().map(part).collect();
            let row = Row::new("network", format!("{}: {what}", link.name), unit, samples);
            match target {
                Some(target) => row.at_most(target),
                None => row,
            }
        };
        rows.push(row("drawn to presented, p50", "ms", |run| run.latency.p50, link.p50));
        rows.push(row("drawn to presented, p95", "ms", |run| run.latency.p95, link.p95));
        rows.push(row("longest gap", "ms", |run| run.longest_gap_ms, link.longest_gap));
        rows.push(row("frames presented per second", "1/s", |run| run.fps, None).same_rate());
        rows.push(row("drawn frames not presented", "%", |run| run.missing, link.missing));
    }
    Ok(rows)
}

fn run(plan: Plan, link: &Link) -> Result<Run> {
    let server = Server::start("streamer")?;
    server.create(ID, desktop(1280, 720, "moving", FPS, true)?)?;
    let netsim = Netsim::start(&server)?;
    netsim.set(&link.rules)?;
    let mut page = Glass::open(&netsim.viewer(ID), CODE_AREA, false)?;
    std::thread::sleep(SETTLE);
    let start = Instant::now();
    page.begin()?;
    for (seconds, rules) in &link.changes {
        std::thread::sleep(plan.time(*seconds));
        netsim.set(rules)?;
    }
    std::thread::sleep(plan.time(20));
    let time = start.elapsed();
    let seen = page.end()?;
    ensure!(seen.latencies_ms.len() > 5, "only {} frames had a code", seen.latencies_ms.len());
    let drawn =
        seen.frames.last().zip(seen.frames.first()).map_or(1, |(last, first)| last - first + 1) as f64;
    Ok(Run {
        latency: Quantiles::of(seen.latencies_ms),
        longest_gap_ms: seen.longest_gap_ms,
        fps: seen.presented as f64 / time.as_secs_f64(),
        missing: (drawn - seen.frames.len() as f64).max(0.0) * 100.0 / drawn,
    })
}

/// How media reaches a viewer, and what is to be reached with it.
struct Way {
    name: &'static str,
    udp: bool,
    tcp: bool,
    /// Of the first picture, milliseconds, by that over UDP.
    first: fn(f64) -> f64,
    /// Of drawn to presented, milliseconds, by that over UDP.
    p50: fn(f64) -> f64,
}

/// By UDP first, with which the others are compared.
const WAYS: [Way; 3] = [
    Way { name: "UDP", udp: true, tcp: true, first: |_| 170.0, p50: |_| 20.0 },
    Way { name: "TCP", udp: false, tcp: true, first: |udp| 1.2 * udp + 300.0, p50: |udp| 1.5 * udp },
    Way { name: "WebSocket", udp: false, tcp: false, first: |_| 800.0, p50: |udp| 1.5 * udp },
];

/// The first picture, and glass to glass, by each way on which media can come.
pub fn blocked(plan: Plan) -> Result<Vec<Row>> {
    let mut rows: Vec<Row> = Vec::new();
    let mut udp = None;
    for way in WAYS {
        let server = if way.tcp { Server::start("streamer")? } else { Server::without_tcp("streamer")? };
        server.create(ID, desktop(1280, 720, "moving", FPS, true)?)?;
        let netsim = Netsim::start(&server)?;
        if !way.udp {
            netsim.set(&no_udp())?;
        }
        let joins = browser::join(&netsim.viewer(ID), plan.runs(10))?;
        let first: Vec<f64> = joins.iter().map(|join| join.ms).collect();
        let mut p50 = Vec::new();
        let mut p95 = Vec::new();
        for _ in 0..plan.runs(3) {
            let page = Glass::open(&netsim.viewer(ID), CODE_AREA, false)?;
            std::thread::sleep(SETTLE);
            let seen = Quantiles::of(page.measure(plan.time(10))?.latencies_ms);
            p50.push(seen.p50);
            p95.push(seen.p95);
        }
        let (first_udp, p50_udp) =
            *udp.get_or_insert_with(|| (Quantiles::of(first.clone()).p50, Quantiles::of(p50.clone()).p50));
        let row =
            |what: &str, samples| Row::new("blocked", format!("by {}: {what}", way.name), "ms", samples);
        rows.push(row("WebSocket open to first frame presented", first).at_most((way.first)(first_udp)));
        rows.push(row("drawn to presented, p50", p50).at_most((way.p50)(p50_udp)));
        rows.push(row("drawn to presented, p95", p95));
    }
    Ok(rows)
}
