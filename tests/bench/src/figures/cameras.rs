//! Six cameras of a real RTSP server, passed on as they are.

use std::time::Instant;

use anyhow::{Result, ensure};
use harness::camera::{Clip, RtspServer, serve};
use serde_json::{Value, json};

use super::Plan;
use crate::browser::{self, Cameras};
use crate::cpu;
use crate::report::Row;
use crate::server::Server;

/// The streamer that `multistream/*` clients see.
const ID: &str = "cameras";
const COUNT: usize = 6;
const MIB: f64 = 1024.0 * 1024.0;

/// One page with all of them, and six pages with one each.
pub fn cameras(plan: Plan) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let film = Clip { seconds: 600, ..Clip::default() }.make(dir.path(), "film.mp4");
    let names: Vec<_> = (1..=COUNT).map(|n| format!("camera{n}")).collect();
    let mounts: Vec<_> = names.iter().map(|name| (name.as_str(), serve(&film, None))).collect();
    let rtsp = RtspServer::start(&mounts);
    let server = Server::start("streamer")?;
    let source = |name: &String| {
        (name.clone(), json!({ "type": "rtsp", "url": rtsp.url(name), "audio": false, "always_on": true }))
    };
    let sources: serde_json::Map<String, Value> = names.iter().map(source).collect();
    server.post("/api/streamers?wait=running", &json!({ "id": ID, "share": false, "sources": sources }))?;
    let row = |what: &str, unit: &str, samples| Row::new("cameras", what, unit, samples);

    let connected = browser::connect(&server.url("/"), plan.runs(30).max(3), &names)?;
    let nobody = load(plan, &server, None)?;
    let mut one = Vec::new();
    let mut six = Vec::new();
    for _ in 0..plan.runs(3) {
        one.push(load(plan, &server, Some(Cameras::open(&server.url("/"), "one", &names)?))?);
        six.push(load(plan, &server, Some(Cameras::open(&server.url("/"), "six", &names)?))?);
    }
    let encoded: u64 = one.iter().chain(&six).map(|load| load.encoded).sum();
    let of = |loads: &[Load], value: fn(&Load) -> f64| loads.iter().map(value).collect::<Vec<_>>();
    let ratios = |value: &dyn Fn(&Load) -> f64| {
        one.iter().zip(&six).map(|(one, six)| value(one) / value(six)).collect::<Vec<_>>()
    };
    // What serving them costs: receiving six cameras costs the same in both.
    let serving = |load: &Load| (load.percent - nobody.percent).max(0.01);
    let per_packet = one.iter().map(|load| load.us_per_packet).collect();
    Ok(vec![
        row("six cameras: connect to all six presenting", "ms", connected).at_most(1000.0),
        row("six cameras, one connection: streamer", "% of a core", of(&one, |load| load.percent)),
        row("six cameras, six pages: streamer", "% of a core", of(&six, |load| load.percent)),
        row("the same, nobody watching: streamer", "% of a core", vec![nobody.percent]),
        row("one connection against six pages: streamer's CPU", "ratio", ratios(&|load| load.percent)),
        row("the same, without what receiving costs", "ratio", ratios(&serving)).at_most(0.5),
        row("one connection against six pages: browser's memory", "ratio", ratios(&|load| load.memory))
            .at_most(0.6),
        row("six cameras, one page: browser", "MiB", of(&one, |load| load.memory / MIB)),
        row("six cameras, six pages: browser", "MiB", of(&six, |load| load.memory / MIB)),
        row("six cameras, one viewer: encoder calls", "calls", vec![encoded as f64]).at_most(0.0),
        row("six cameras, one viewer: CPU per packet sent, receiving included", "µs", per_packet),
    ])
}

/// What it cost for some time.
struct Load {
    percent: f64,
    us_per_packet: f64,
    encoded: u64,
    memory: f64,
}

fn load(plan: Plan, server: &Server, pages: Option<Cameras>) -> Result<Load> {
    let pid = server.pid(ID)?;
    let before = server.stats(ID)?;
    let begin = Instant::now();
    let cpu_before = cpu::process_us(pid)?;
    std::thread::sleep(plan.time(10));
    let cpu = cpu::process_us(pid)? - cpu_before;
    let elapsed = begin.elapsed();
    let after = server.stats(ID)?;
    let memory = pages.map_or(Ok(0.0), Cameras::end)?;
    let packets = after.network.rtp_packets - before.network.rtp_packets;
    ensure!(memory == 0.0 || packets > 0, "nothing was sent");
    Ok(Load {
        percent: cpu as f64 / elapsed.as_micros() as f64 * 100.0,
        us_per_packet: cpu as f64 / packets.max(1) as f64,
        encoded: after.video.encoded - before.video.encoded,
        memory,
    })
}
