//! The two stacks that native peers can be on, side by side.

use anyhow::{Result, ensure};
use native_peer::Stack;

use super::{Plan, test_source};
use crate::peers::NativePeers;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "stacks";
const PEERS: usize = 20;

/// How soon peers have joined and what a received packet costs them. Both kinds decrypt, and join packets to access units.
pub fn stacks(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for stack in Stack::ALL {
        let mut join = Vec::new();
        let mut cpu = Vec::new();
        let mut capture = Vec::new();
        for _ in 0..plan.runs(5) {
            let server = Server::start("streamer")?;
            server.create(ID, test_source(false))?;
            let mut peers = NativePeers::start_on(stack, &server, ID, true)?;
            join.push(peers.join(PEERS)?.ms);
            // A peer's first sender report comes with the report of this second: after two, all have one.
            server.stats(ID)?;
            server.stats(ID)?;
            let received = peers.measure(plan.time(10))?;
            peers.finish()?;
            ensure!(received.peers == PEERS, "{} of {PEERS} peers received video", received.peers);
            ensure!(received.missing == 0, "{} packets were lost", received.missing);
            cpu.push(received.cpu_us as f64 / received.packets as f64);
            capture.push(received.capture_to_last.p50);
        }
        let row = |what: &str, unit: &str, samples| {
            Row::new("stacks", format!("{PEERS} peers on {stack}: {what}"), unit, samples)
        };
        rows.push(row("all have joined", "ms", join));
        rows.push(row("CPU of the peers per received packet", "µs", cpu));
        rows.push(row("capture to the last packet of a frame, p50", "ms", capture));
    }
    Ok(rows)
}
