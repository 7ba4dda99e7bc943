//! Rooms: what it costs to forward what peers publish, and how long it takes.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::{Plan, fanout};
use crate::browser;
use crate::cpu;
use crate::janus::Janus;
use crate::peers::NativePeers;
use crate::reception::Quantiles;
use crate::relay;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "room";
/// As many packets a second as the feed of `fanout` has.
const PIECES: usize = 9;

/// What was measured with some peers in a room.
struct Load {
    /// Streamer's processor time per second, microseconds.
    cpu_us_per_s: f64,
    /// RTP packets of all receivers.
    packets_per_s: f64,
    /// Of a picture of the first camera: sent, to its last packet at the last peer, milliseconds.
    to_last: Quantiles,
}

/// One camera for many, and ten for each other. Per packet it is the slope from two peers to many for one camera, so that receiving it is
/// excluded; of ten for each other, everything is in it.
pub fn rooms(plan: Plan) -> Result<Vec<Row>> {
    let [mut one_50, mut one_200, mut ten, mut p50, mut p99, mut ratio] = [const { Vec::new() }; 6];
    let [mut janus_50, mut against_janus, mut janus_p99] = [const { Vec::new() }; 3];
    for _ in 0..plan.runs(3) {
        let few = load(plan, 1, 2)?;
        let many = load(plan, 1, 51)?;
        one_50.push(slope(&few, &many));
        p50.push(many.to_last.p50);
        p99.push(many.to_last.p99);
        one_200.push(slope(&few, &load(plan, 1, 201)?));
        ratio.push(slope(&few, &many) / fanout::per_packet(plan, 50)?);
        if let Some(of_few) = janus_load(plan, 2)? {
            let of_many = janus_load(plan, 51)?.context("Janus was there before")?;
            let per_packet = slope(&of_few, &of_many);
            janus_50.push(per_packet);
            against_janus.push(slope(&few, &many) / per_packet);
            janus_p99.push(of_many.to_last.p99);
        }
        let ten_of_them = load(plan, 10, 10)?;
        ten.push(ten_of_them.cpu_us_per_s / ten_of_them.packets_per_s);
    }
    let row = |what: &str, unit: &str, samples| Row::new("rooms", what, unit, samples);
    let mut rows = vec![
        row("one camera, 50 others: CPU per forwarded packet", "µs", one_50),
        row("the same, against a feed of the streamer's own (`fanout`)", "ratio", ratio).at_most(1.3),
        row("one camera, 200 others: CPU per forwarded packet", "µs", one_200),
        row("one camera, 50 others: picture sent to its last packet at the last peer, p50", "ms", p50),
        row("one camera, 50 others: picture sent to its last packet at the last peer, p99", "ms", p99)
            .at_most(5.0),
        row("ten cameras for each other: CPU per forwarded packet, receiving included", "µs", ten),
    ];
    if !janus_50.is_empty() {
        rows.extend([
            row("Janus' videoroom, one camera, 50 others: CPU per forwarded packet", "µs", janus_50),
            row(
                "one camera, 50 others, CPU per forwarded packet: Oriel against Janus",
                "ratio",
                against_janus,
            )
            .at_most(0.5),
            row("Janus: picture sent to its last packet at the last peer, p99", "ms", janus_p99),
        ]);
    }
    rows.extend(faces(plan)?);
    Ok(rows)
}

/// A picture from one page to another; both ends are in one page, whose clock tells how long it took.
fn faces(plan: Plan) -> Result<[Row; 4]> {
    let server = Server::start("streamer")?;
    server.post("/api/rooms?wait=running", &json!({ "id": ID, "name": "Room" }))?;
    let browser::Faces { direct_ms, relayed_ms, joined_ms } =
        browser::faces(&server.url("/"), ID, plan.runs(3), plan.time(10))?;
    let p50 = |runs: Vec<Vec<f64>>| -> Vec<f64> {
        runs.into_iter().map(|values| Quantiles::of(values).p50).collect()
    };
    let (direct, relayed) = (p50(direct_ms), p50(relayed_ms));
    let ratio = relayed.iter().zip(&direct).map(|(relayed, direct)| relayed / direct).collect();
    let row = |what: &str, unit: &str, samples| Row::new("rooms", what, unit, samples);
    Ok([
        row("page to page: drawn to presented, p50", "ms", relayed),
        row("page to page by a direct connection: drawn to presented, p50", "ms", direct),
        row("page to page, drawn to presented: through Oriel against directly", "ratio", ratio).at_most(1.1),
        row("offer of a player to the first picture of who publishes already", "ms", joined_ms)
            .at_most(250.0),
    ])
}

/// CPU per forwarded packet from a few peers to many, microseconds.
fn slope(few: &Load, many: &Load) -> f64 {
    (many.cpu_us_per_s - few.cpu_us_per_s) / (many.packets_per_s - few.packets_per_s)
}

fn load(plan: Plan, cameras: usize, peers_in_all: usize) -> Result<Load> {
    let server = Server::start("streamer")?;
    let room = json!({ "id": ID, "name": "Room", "max_participants": 1000, "slots": 12 });
    server.post("/api/rooms?wait=running", &room)?;
    let streamer = server.pid(ID)?;
    let mut peers = NativePeers::start_in_room(&server, ID)?;
    if let Some((first, second)) = cpu::two_processors() {
        cpu::pin(streamer, first)?;
        peers.pin(second)?;
    }
    peers.join(peers_in_all)?;
    peers.publish(cameras, PIECES)?;
    // Reports come once a second: after two, all is steady.
    server.stats(ID)?;
    server.stats(ID)?;
    measure(plan, streamer, peers, cameras, peers_in_all)
}

/// What a process costs that forwards so many cameras to all others of these peers.
fn measure(
    plan: Plan,
    pid: u32,
    mut peers: NativePeers,
    cameras: usize,
    peers_in_all: usize,
) -> Result<Load> {
    peers.begin()?;
    let begin = Instant::now();
    let cpu_before = cpu::process_us(pid)?;
    std::thread::sleep(plan.time(10));
    let cpu_us_per_s = (cpu::process_us(pid)? - cpu_before) as f64 / begin.elapsed().as_secs_f64();
    let (sent, frames) = (peers.sent()?, peers.frames()?);
    let reception = peers.end()?;
    peers.finish()?;
    let streams = cameras * (peers_in_all - 1);
    ensure!(reception.peers == streams, "{} of {streams} streams were received", reception.peers);
    ensure!(reception.missing == 0, "{} packets were lost", reception.missing);
    let to_last = if cameras == 1 { relay::delays(&sent, &frames)?.to_last } else { Vec::new() };
    Ok(Load {
        cpu_us_per_s,
        packets_per_s: reception.packets as f64 / reception.seconds,
        to_last: Quantiles::of(to_last),
    })
}

/// One camera in the videoroom of Janus; `None` where it is not installed.
fn janus_load(plan: Plan, peers_in_all: usize) -> Result<Option<Load>> {
    let Some(janus) = Janus::start()? else { return Ok(None) };
    let mut peers = NativePeers::start_at_janus(&janus)?;
    if let Some((first, second)) = cpu::two_processors() {
        cpu::pin(janus.pid(), first)?;
        peers.pin(second)?;
    }
    peers.publish(1, PIECES)?;
    peers.join(peers_in_all - 1)?;
    // As long as ours is left alone.
    std::thread::sleep(Duration::from_secs(2));
    measure(plan, janus.pid(), peers, 1, peers_in_all).map(Some)
}
