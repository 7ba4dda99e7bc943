//! What it costs to forward a feed to many.

use std::time::Instant;

use anyhow::{Result, ensure};

use super::{Plan, test_source};
use crate::cpu;
use crate::peers::NativePeers;
use crate::reception::Reception;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "fanout";

struct Load {
    /// Streamer's processor time per second, microseconds.
    cpu_us_per_s: f64,
    reception: Reception,
    /// Drawing, converting and encoding of one frame, ms.
    making_ms: f64,
}

/// CPU per forwarded RTP packet: one video feed of 720p30 and 2.5 Mbit/s, without sound. The streamer and the receivers have a processor
/// each. Drawing and encoding cost the same whatever the number of peers, so the slope from one peer to N is what N − 1 cost.
pub fn fanout(plan: Plan) -> Result<Vec<Row>> {
    let mut per_packet = [Vec::new(), Vec::new()];
    let mut whole = [Vec::new(), Vec::new()];
    let [mut in_to_last, mut first_to_last, mut rate] = [const { [const { Vec::new() }; 2] }; 3];
    for _ in 0..plan.runs(5) {
        let one = load(plan, 1)?;
        for (n, peers) in [50usize, 200].into_iter().enumerate() {
            let many = load(plan, peers)?;
            per_packet[n].push(slope(&one, &many));
            whole[n].push(many.cpu_us_per_s / 10_000.0);
            if n == 0 {
                for (samples, value) in in_to_last
                    .iter_mut()
                    .zip([many.reception.capture_to_last.p50, many.reception.capture_to_last.p99])
                {
                    samples.push(value - many.making_ms);
                }
                for (samples, value) in first_to_last
                    .iter_mut()
                    .zip([many.reception.first_to_last.p50, many.reception.first_to_last.p99])
                {
                    samples.push(value);
                }
            }
            rate[n].push(packets_per_s(&many) / peers as f64);
        }
    }
    let row = |what: &str, unit: &str, samples: Vec<f64>| Row::new("fanout", what, unit, samples);
    let [at_50, at_200] = per_packet;
    let [whole_50, whole_200] = whole;
    let [last_p50, last_p99] = in_to_last;
    let [spread_p50, spread_p99] = first_to_last;
    let [rate_50, rate_200] = rate;
    Ok(vec![
        // 1.25 times what was measured for `rtc` with segmented sends and mimalloc.
        row("50 peers: CPU per forwarded packet", "µs", at_50).at_most(6.3 * 1.25),
        row("200 peers: CPU per forwarded packet", "µs", at_200).at_most(5.5 * 1.25),
        row("50 peers: streamer", "% of a core", whole_50),
        row("200 peers: streamer", "% of a core", whole_200),
        row("50 peers: packets per second and peer", "1/s", rate_50).same_rate(),
        row("200 peers: packets per second and peer", "1/s", rate_200).same_rate(),
        row("50 peers: frame encoded to its last packet received, p50", "ms", last_p50).at_most(2.5),
        row("50 peers: frame encoded to its last packet received, p99", "ms", last_p99).at_most(10.0),
        row("50 peers: first packet at any peer to last packet, p50", "ms", spread_p50),
        row("50 peers: first packet at any peer to last packet, p99", "ms", spread_p99),
    ])
}

/// CPU per forwarded packet to so many peers, microseconds.
///
/// # Errors
/// When something was not received.
pub fn per_packet(plan: Plan, peers: usize) -> Result<f64> {
    let (one, many) = (load(plan, 1)?, load(plan, peers)?);
    Ok(slope(&one, &many))
}

fn packets_per_s(load: &Load) -> f64 {
    load.reception.packets as f64 / load.reception.seconds
}

fn slope(one: &Load, many: &Load) -> f64 {
    (many.cpu_us_per_s - one.cpu_us_per_s) / (packets_per_s(many) - packets_per_s(one))
}

fn load(plan: Plan, count: usize) -> Result<Load> {
    let server = Server::start("streamer")?;
    server.create(ID, test_source(false))?;
    let streamer = server.pid(ID)?;
    let mut peers = NativePeers::start(&server, ID, false)?;
    if let Some((first, second)) = cpu::two_processors() {
        cpu::pin(streamer, first)?;
        peers.pin(second)?;
    }
    peers.join(count)?;
    // A report comes once a second, and each peer's first sender report with it: after two, all is steady.
    server.stats(ID)?;
    let before = server.stats(ID)?.video;
    peers.begin()?;
    let begin = Instant::now();
    let cpu_before = cpu::process_us(streamer)?;
    std::thread::sleep(plan.time(10));
    let cpu_us_per_s = (cpu::process_us(streamer)? - cpu_before) as f64 / begin.elapsed().as_secs_f64();
    let reception = peers.end()?;
    let after = server.stats(ID)?.video;
    peers.finish()?;
    ensure!(reception.peers == count, "{} of {count} peers received video", reception.peers);
    ensure!(reception.missing == 0, "{} packets were lost at {count} peers", reception.missing);
    let us = |video: &common::stats::VideoStats| video.capture_us + video.convert_us + video.encode_us;
    let making_ms =
        (us(&after) - us(&before)) as f64 / (after.encoded - before.encoded).max(1) as f64 / 1000.0;
    Ok(Load { cpu_us_per_s, reception, making_ms })
}
