//! A Moonlight host that is relayed: what that adds, what is lost, and how soon there is a picture. The host is the program
//! `fake-gamestream-host`, which sends a film that was encoded beforehand.

use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use common::slots::{HostStream, SourceList};
use harness::FakeHost;
use serde_json::{Value, json};

use super::Plan;
use crate::peers::NativePeers;
use crate::reception::Quantiles;
use crate::report::Row;
use crate::server::Server;
use crate::{browser, cpu, relay};

const ID: &str = "game";
const BITRATE_KBPS: u32 = 20_000;
const PEERS: usize = 10;
/// For pairing.
const PATIENCE: Duration = Duration::from_secs(10);

/// 720p60 of 20 Mbit/s in frames of similar size, as hosts encode it; keyframes only where the film begins.
fn film(dir: &Path) -> Result<Value> {
    /// With so small a buffer the encoder stays well below what it may.
    const MAX_KBPS: u32 = BITRATE_KBPS * 49 / 40;
    const SECONDS: u64 = 5;
    let file = dir.join("film.h264");
    let rate = format!("{MAX_KBPS}k");
    // Two frames: none can be much larger than the others.
    let buffer = format!("{}k", MAX_KBPS / 30);
    let picture = "testsrc2=size=1280x720:rate=60,noise=alls=40:allf=t";
    let encoder = "-c:v libx264 -preset ultrafast -tune zerolatency -pix_fmt yuv420p -g 9999";
    let status = Command::new("ffmpeg")
        .args(["-v", "error", "-nostdin", "-f", "lavfi", "-i", picture, "-t", &SECONDS.to_string()])
        .args(encoder.split_whitespace())
        .args(["-b:v", &rate, "-maxrate", &rate, "-bufsize", &buffer])
        .args(["-x264-params", "aud=1:repeat-headers=1:sliced-threads=0:scenecut=0"])
        .arg(&file)
        .status()
        .context("ffmpeg")?;
    ensure!(status.success(), "ffmpeg makes no film: {status}");
    let kbps = std::fs::metadata(&file)?.len() * 8 / 1000 / SECONDS;
    ensure!(kbps.abs_diff(BITRATE_KBPS.into()) < 1000, "the film has {kbps} kbit/s");
    Ok(json!({ "clips": { "h264": file } }))
}

/// A host that is paired and streams.
struct Relay {
    server: Server,
    host: FakeHost,
}

impl Relay {
    fn start(scenario: &Value) -> Result<Self> {
        let server = Server::start("streamer")?;
        let host = FakeHost::start_without_pin(scenario);
        let address = json!({ "address": "127.0.0.1", "http_port": host.ports().http_port });
        server.post("/api/hosts", &address)?;
        let hosts: Value = server.json("/api/hosts")?;
        let id = hosts["hosts"][0]["id"].as_str().context("the host")?.to_owned();
        let path = format!("/api/hosts/{id}");
        server.post(&format!("{path}/pair"), &json!({}))?;
        let known: Value = server.json(&path)?;
        host.type_pin(known["pairing"]["pin"].as_str().context("a PIN")?);
        let deadline = Instant::now() + PATIENCE;
        while server.json::<Value>(&path)?["paired"] != true {
            ensure!(Instant::now() < deadline, "the host is not paired");
            std::thread::sleep(Duration::from_millis(10));
        }
        let source = json!({ "type": "moonlight", "host_id": id, "app": "Desktop", "width": 1280, "height": 720,
            "fps": 60, "bitrate_kbps": BITRATE_KBPS });
        server.create(ID, source)?;
        Ok(Self { server, host })
    }

    fn stream(&self) -> Result<HostStream> {
        let list: SourceList = self.server.json(&format!("/api/streamers/{ID}/sources"))?;
        list.sources.into_iter().find_map(|source| source.host).context("no stream of a host")
    }

    /// Native peers have joined, and all is steady. The streamer has a processor, everything else another one.
    fn peers(&self, count: usize) -> Result<NativePeers> {
        let mut peers = NativePeers::start(&self.server, ID, false)?;
        if let Some((first, second)) = cpu::two_processors() {
            cpu::pin(self.server.pid(ID)?, first)?;
            peers.pin(second)?;
            cpu::pin(self.host.pid(), second)?;
        }
        peers.join(count)?;
        // A report comes once a second: after two, all is steady.
        self.server.stats(ID)?;
        self.server.stats(ID)?;
        Ok(peers)
    }

    /// When frames were sent, in order, microseconds since 1970.
    fn sent(&self) -> Result<Vec<u64>> {
        let at = |frame: &Value| frame["at_us"].as_u64().context("a time");
        self.host.frames().iter().map(at).collect()
    }
}

/// All of them.
pub fn moonlight(plan: Plan) -> Result<Vec<Row>> {
    let dir = tempfile::tempdir()?;
    let film = film(dir.path())?;
    let mut rows = latency(plan, &film)?;
    rows.extend(losses(plan, &film)?);
    rows.extend(first_frame(plan, &film)?);
    rows.extend(forwarding(plan, &film)?);
    Ok(rows)
}

fn row(what: &str, unit: &str, samples: Vec<f64>) -> Row {
    Row::new("moonlight", what, unit, samples)
}

/// From the moment at which the host gives the last data packet of a frame to the system, to the moment at which the kernel has the
/// frame's first packet for the last of the peers.
fn latency(plan: Plan, film: &Value) -> Result<Vec<Row>> {
    let [mut p50, mut p99, mut last_p50, mut last_p99] = [const { Vec::new() }; 4];
    for _ in 0..plan.runs(5) {
        let relay = Relay::start(film)?;
        let mut peers = relay.peers(PEERS)?;
        peers.begin()?;
        std::thread::sleep(plan.time(20));
        let frames = peers.frames()?;
        let reception = peers.end()?;
        peers.finish()?;
        ensure!(reception.missing == 0, "{} packets were lost on the way to peers", reception.missing);
        ensure!(frames.len() == PEERS, "{} of {PEERS} peers received video", frames.len());
        let delays = relay::delays(&relay.sent()?, &frames)?;
        let first = Quantiles::of(delays.to_first);
        let last = Quantiles::of(delays.to_last);
        for (samples, value) in [
            (&mut p50, first.p50),
            (&mut p99, first.p99),
            (&mut last_p50, last.p50),
            (&mut last_p99, last.p99),
        ] {
            samples.push(value);
        }
    }
    let what = |what: &str| format!("720p60 of 20 Mbit/s, 10 peers: frame sent to its {what}");
    Ok(vec![
        row(&what("first packet at the last peer, p50"), "ms", p50).at_most(1.0),
        row(&what("first packet at the last peer, p99"), "ms", p99).at_most(3.0),
        row(&what("last packet at the last peer, p50"), "ms", last_p50),
        row(&what("last packet at the last peer, p99"), "ms", last_p99),
    ])
}

/// What becomes of frames when the network between host and streamer loses nothing, and when it loses 8 % of all packets.
fn losses(plan: Plan, film: &Value) -> Result<Vec<Row>> {
    let mut rows = Vec::new();
    for (name, loss, target) in [("nothing lost", 0.0, 0.0), ("8 % lost, 20 % parity", 0.08, 2.0)] {
        let relay = Relay::start(film)?;
        let peers = relay.peers(1)?;
        relay.host.change(&json!({ "video": { "loss": loss } }));
        let before = relay.stream()?;
        let begin = Instant::now();
        std::thread::sleep(plan.time(60));
        let after = relay.stream()?;
        let seconds = begin.elapsed().as_secs_f64();
        peers.finish()?;
        let per_second = |count: u64| vec![count as f64 / seconds];
        let what = |what: &str| format!("720p60 of 20 Mbit/s, {name}: {what}");
        let received = per_second(after.frames - before.frames);
        rows.push(row(&what("frames received"), "1/s", received).same_rate());
        let lost = per_second(after.lost_frames - before.lost_frames);
        rows.push(row(&what("frames lost"), "1/s", lost).at_most(target));
        let skipped = per_second(after.skipped_frames - before.skipped_frames);
        rows.push(row(&what("frames left out until a keyframe"), "1/s", skipped));
        let recovered = per_second(after.recovered_packets - before.recovered_packets);
        rows.push(row(&what("packets recovered"), "1/s", recovered));
    }
    Ok(rows)
}

/// How soon a host is seen that was never seen before.
fn first_frame(plan: Plan, film: &Value) -> Result<Vec<Row>> {
    let server = Server::start("streamer")?;
    let host = FakeHost::start_without_pin(film);
    let ports = host.ports();
    let firsts = browser::moonlight(&server.url("/"), ports.http_port, ports.api_port, plan.runs(20).max(3))?;
    let of = |value: fn(&browser::First) -> f64| firsts.iter().map(value).collect::<Vec<_>>();
    Ok(vec![
        row("begin of pairing to first frame presented", "ms", of(|first| first.ms)).at_most(1500.0),
        row("of it: pairing", "ms", of(|first| first.pair_ms)),
        row("of it: start of the streamer until it runs", "ms", of(|first| first.start_ms)),
    ])
}

/// CPU per forwarded packet, as the figure `fanout` has it: the slope from one peer to many.
fn forwarding(plan: Plan, film: &Value) -> Result<Vec<Row>> {
    const MANY: usize = 20;
    let [mut per_packet, mut alone] = [const { Vec::new() }; 2];
    for _ in 0..plan.runs(3) {
        let one = load(plan, film, 1)?;
        let many = load(plan, film, MANY)?;
        per_packet.push((many.cpu_us - one.cpu_us) / (many.packets - one.packets));
        alone.push(one.cpu_us / 10_000.0);
    }
    Ok(vec![
        // That of the figure `fanout` for 50 peers.
        row("20 peers: CPU per forwarded packet", "µs", per_packet).at_most(6.3 * 1.25),
        row("one peer: streamer, receiving included", "% of a core", alone),
    ])
}

/// Each second.
struct Load {
    cpu_us: f64,
    packets: f64,
}

fn load(plan: Plan, film: &Value, count: usize) -> Result<Load> {
    let relay = Relay::start(film)?;
    let mut peers = relay.peers(count)?;
    let streamer = relay.server.pid(ID)?;
    peers.begin()?;
    let begin = Instant::now();
    let before = cpu::process_us(streamer)?;
    std::thread::sleep(plan.time(10));
    let cpu = (cpu::process_us(streamer)? - before) as f64;
    let seconds = begin.elapsed().as_secs_f64();
    let reception = peers.end()?;
    peers.finish()?;
    if reception.peers != count || reception.missing > 0 {
        bail!("{} of {count} peers received video, {} packets missing", reception.peers, reception.missing);
    }
    Ok(Load { cpu_us: cpu / seconds, packets: reception.packets as f64 / reception.seconds })
}
