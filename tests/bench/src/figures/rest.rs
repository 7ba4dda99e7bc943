//! What does not happen: work for nobody, work done twice, memory that grows.

use std::time::Instant;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Plan, test_source};
use crate::cpu;
use crate::peers::NativePeers;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "rest";
const MIB: f64 = 1024.0 * 1024.0;

/// A desktop on which nothing happens, with two peers.
pub fn idle(plan: Plan) -> Result<Vec<Row>> {
    let mut streamer = Vec::new();
    let mut x = Vec::new();
    for _ in 0..plan.runs(5) {
        let server = Server::start("streamer")?;
        let terminal = json!(["xterm", "-geometry", "100x40+0+0", "-e", "cat"]);
        server.create(ID, json!({ "type": "desktop", "command": terminal }))?;
        let mut peers = NativePeers::start(&server, ID, false)?;
        peers.join(2)?;
        // Until the picture has settled, which is sent several times.
        let settled = |encoded: u64| Ok::<_, anyhow::Error>(server.stats(ID)?.video.encoded == encoded);
        while !settled(server.stats(ID)?.video.encoded)? {}
        let pids = [server.pid(ID)?, server.pid_in_session(ID, "Xvfb")?];
        let begin = Instant::now();
        let before = [cpu::process_us(pids[0])?, cpu::process_us(pids[1])?];
        std::thread::sleep(plan.time(10));
        let after = [cpu::process_us(pids[0])?, cpu::process_us(pids[1])?];
        let percent = |n: usize| (after[n] - before[n]) as f64 / begin.elapsed().as_micros() as f64 * 100.0;
        streamer.push(percent(0));
        x.push(percent(1));
        peers.finish()?;
    }
    Ok(vec![
        Row::new("idle", "idle desktop with two peers: streamer", "% of a core", streamer).at_most(1.0),
        Row::new("idle", "idle desktop with two peers: X server", "% of a core", x),
    ])
}

/// Encoder calls per different frame that peers receive.
pub fn encode_once(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for count in [1, 10, 50] {
        let mut ratios = Vec::new();
        for _ in 0..plan.runs(3) {
            let server = Server::start("streamer")?;
            server.create(ID, test_source(false))?;
            let mut peers = NativePeers::start(&server, ID, false)?;
            peers.join(count)?;
            let begin = server.stats(ID)?;
            peers.measure(plan.time(5))?;
            let end = server.stats(ID)?;
            peers.finish()?;
            let seconds = (end.uptime_ms - begin.uptime_ms) as f64 / 1000.0;
            ratios.push((end.video.encoded - begin.video.encoded) as f64 / seconds);
        }
        // 30 frames a second are encoded; one more may fall into the time of a report.
        let what = format!("{count} peers of a 30 fps feed: encoder calls");
        rows.push(Row::new("encode-once", what, "1/s", ratios).at_most(31.0));
    }
    Ok(rows)
}

/// Memory: what is resident of the streamer alone, and what all processes of a desktop have for themselves with their share of the rest.
pub fn memory(plan: Plan) -> Result<Vec<Row>> {
    let mut idle = Vec::new();
    let mut all_unwatched = Vec::new();
    let mut all_watched = Vec::new();
    let mut watched = Vec::new();
    let mut per_peer = Vec::new();
    for _ in 0..plan.runs(5) {
        let server = Server::start("streamer")?;
        server.create(ID, json!({ "type": "desktop", "command": ["xterm"] }))?;
        let streamer = server.pid(ID)?;
        idle.push(cpu::resident_bytes(streamer)? as f64 / MIB);
        all_unwatched.push(cpu::session_pss_bytes(streamer)? as f64 / MIB);
        let mut peers = NativePeers::start(&server, ID, false)?;
        peers.join(1)?;
        peers.measure(plan.time(3))?;
        all_watched.push(cpu::session_pss_bytes(streamer)? as f64 / MIB);
        peers.finish()?;
        server.delete(ID)?;

        server.create("feed", test_source(true))?;
        let streamer = server.pid("feed")?;
        let mut peers = NativePeers::start(&server, "feed", false)?;
        let mut resident = Vec::new();
        for (joining, seconds) in [(1, 6), (49, 6), (50, 6)] {
            peers.join(joining)?;
            // Histories fill up, and are full after this time.
            peers.measure(plan.time(seconds))?;
            resident.push(cpu::resident_bytes(streamer)? as f64 / MIB);
        }
        peers.finish()?;
        ensure!(resident[2] > resident[0], "memory did not grow with peers: {resident:?}");
        watched.push(resident[0]);
        per_peer.push((resident[2] - resident[0]) / 99.0);
    }
    Ok(vec![
        Row::new("memory", "idle desktop of 720p", "MiB", idle).at_most(60.0),
        Row::new("memory", "idle desktop of 720p, all its processes (PSS)", "MiB", all_unwatched),
        Row::new("memory", "idle desktop of 720p, one peer, all its processes (PSS)", "MiB", all_watched),
        Row::new("memory", "test source of 720p, one peer", "MiB", watched),
        Row::new("memory", "each further peer (slope from 1 to 100)", "MiB", per_peer).at_most(0.6),
    ])
}
