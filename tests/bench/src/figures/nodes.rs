//! How a cluster grows: web-servers with a real NATS server, and thousands of processes that stand in for streamers (`stand-in` of the
//! harness), all on this machine.

use std::collections::BTreeSet;
use std::net::{Ipv4Addr, TcpListener};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use common::api::{Streamer, StreamerList};
use common::cluster::{NodeList, NodeState};
use common::signal::StreamerState;
use harness::server::stand_in;
use harness::{Nats, Process, Server, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

use super::Plan;
use crate::report::Row;

const FIGURE: &str = "nodes";
const KEY: &str = "the-key-of-a-cluster-that-is-measured-0123";
const LEASE: Duration = Duration::from_secs(6);
/// Creating at the same time, to fill a cluster.
const CREATORS: usize = 4;
const CREATIONS: usize = 200;
const PAGES: usize = 300;
const PAGE: usize = 100;
/// A cluster is filled for at most so long: with as many streamers as fit.
const FILL: Duration = Duration::from_secs(120);
/// For what a busy machine does with thousands of processes.
const PATIENCE: Duration = Duration::from_secs(120);

struct Cluster {
    nats: Nats,
    /// Where NATS says what it does.
    monitor: String,
    servers: Vec<Server>,
    created: usize,
    _programs: tempfile::TempDir,
}

/// What NATS has carried.
#[derive(Clone, Copy)]
struct Carried {
    messages: f64,
    at: Instant,
}

fn ms(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}

fn p99(mut samples: Vec<f64>) -> f64 {
    samples.sort_by(f64::total_cmp);
    samples.get(samples.len() * 99 / 100).copied().unwrap_or(f64::NAN)
}

fn until(what: &str, mut condition: impl FnMut() -> Result<bool>) -> Result<()> {
    let begin = Instant::now();
    while !condition()? {
        ensure!(begin.elapsed() < PATIENCE, "waited {PATIENCE:?} in vain until {what}");
        // Asking fifty nodes is work for this machine, too.
        std::thread::sleep(Duration::from_millis(300));
    }
    Ok(())
}

impl Cluster {
    fn start(nodes: usize) -> Result<Self> {
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port().to_string();
        let nats = Nats::start_with(&["-js", "-m", &port]);
        let programs = tempfile::tempdir()?;
        let stand_in = stand_in(programs.path()).display().to_string();
        let more = [
            ("ORIEL_STREAMER_BIN", stand_in.as_str()),
            ("ORIEL_CLUSTER_LEASE_S", "6"),
            ("ORIEL_MAX_STREAMERS", "1000"),
            ("ORIEL_LOG", "warn"),
        ];
        let servers = (0..nodes).map(|n| nats.node(KEY, &format!("n{n:02}"), &more)).collect();
        let monitor = format!("http://127.0.0.1:{port}/varz");
        let cluster = Self { nats, monitor, servers, created: 0, _programs: programs };
        cluster.all_alive()?;
        Ok(cluster)
    }

    fn all_alive(&self) -> Result<()> {
        until("all nodes know of each other", || {
            let knows = |server: &Server| {
                let nodes = server.get("/api/nodes");
                let nodes = if nodes.status == 200 { nodes.json::<NodeList>().nodes } else { Vec::new() };
                nodes.iter().filter(|node| node.state == NodeState::Alive).count() == self.servers.len()
            };
            Ok(self.servers.iter().all(knows))
        })
    }

    fn node(&self, n: usize) -> &Server {
        &self.servers[n % self.servers.len()]
    }

    /// Creates streamers until there are `count`, or [`FILL`] is over.
    fn fill(&mut self, count: usize) -> Result<()> {
        let begin = Instant::now();
        let next = AtomicUsize::new(self.created);
        std::thread::scope(|scope| {
            let create = || -> Result<()> {
                loop {
                    let more = |n: usize| (n < count && begin.elapsed() < FILL).then_some(n + 1);
                    let Ok(n) = next.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more) else {
                        return Ok(());
                    };
                    let answer = self.node(n).post("/api/streamers", &body(n));
                    ensure!(answer.status == 201, "{answer:?}");
                }
            };
            let creators: Vec<_> = (0..CREATORS).map(|_| scope.spawn(create)).collect();
            creators.into_iter().try_for_each(|creator| creator.join().expect("it does not panic"))
        })?;
        self.created = next.into_inner();
        self.all_run(&BTreeSet::new())
    }

    /// Waits until all nodes know of all streamers, and those run at none of the nodes `lost`.
    fn all_run(&self, lost: &BTreeSet<usize>) -> Result<()> {
        let names: Vec<String> = lost.iter().map(|n| format!("n{n:02}")).collect();
        let up =
            || self.servers.iter().enumerate().filter(|(n, _)| !lost.contains(n)).map(|(_, server)| server);
        until("all nodes know of all streamers", || {
            Ok(up().all(|server| {
                let nodes = server.get("/api/nodes").json::<NodeList>().nodes;
                let count: u32 =
                    nodes.iter().filter(|node| !names.contains(&node.name)).map(|node| node.streamers).sum();
                count as usize == self.created
            }))
        })?;
        let first = up().next().context("a node")?;
        until("all streamers run", || {
            let list: StreamerList = first.get("/api/streamers").json();
            Ok(list.streamers.iter().all(|streamer| streamer.state == StreamerState::Running))
        })
    }

    fn varz(&self) -> Result<Value> {
        let text = ureq::get(&self.monitor).call()?.body_mut().read_to_string()?;
        Ok(serde_json::from_str(&text)?)
    }

    fn carried(&self) -> Result<Carried> {
        let varz = self.varz()?;
        let count = |name: &str| varz[name].as_f64().with_context(|| format!("{name} of NATS"));
        Ok(Carried { messages: count("in_msgs")? + count("out_msgs")?, at: Instant::now() })
    }

    /// Messages that NATS has carried since then, each second for each node.
    fn rate(&self, since: Carried) -> Result<f64> {
        let now = self.carried()?;
        let seconds = (now.at - since.at).as_secs_f64();
        Ok((now.messages - since.messages) / seconds / self.servers.len() as f64)
    }

    /// Resident memory of a web-server on average, MiB.
    fn memory(&self) -> f64 {
        let bytes: u64 = self.servers.iter().map(|server| server.process().resident_bytes()).sum();
        bytes as f64 / self.servers.len() as f64 / f64::from(1 << 20)
    }

    /// Every process that stands in for a streamer of these servers.
    fn processes<'a>(servers: impl Iterator<Item = &'a Server>) -> Vec<Process> {
        let dirs: Vec<String> = servers.map(|server| server.state_dir().display().to_string()).collect();
        let ours = |process: &Process| dirs.iter().any(|dir| process.command_line.contains(dir.as_str()));
        process::all()
            .into_iter()
            .filter(|process| process.command_line.starts_with("streamer ") && ours(process))
            .collect()
    }

    /// Ends these machines as if their power was cut.
    fn kill(&mut self, nodes: &BTreeSet<usize>) {
        for n in nodes {
            self.servers[*n].kill();
        }
        loop {
            let left = Self::processes(nodes.iter().map(|n| &self.servers[*n]));
            if left.is_empty() {
                return;
            }
            for process in left {
                // It may have ended meanwhile.
                let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, Signal::KILL));
            }
        }
    }

    /// All figures at `count` streamers.
    fn measure(&mut self, plan: Plan, count: usize) -> Result<Vec<Row>> {
        let begin = Instant::now();
        let before = self.created;
        self.fill(count)?;
        let count = self.created;
        println!(
            "  {} streamers made at {:.0}/s, and known everywhere",
            count - before,
            (count - before) as f64 / begin.elapsed().as_secs_f64()
        );
        let nodes = self.servers.len();
        let of = format!("{count} streamers on {nodes} nodes");

        let since = self.carried()?;
        std::thread::sleep(plan.time(10));
        let rest = self.rate(since)?;
        let memory = self.memory();
        let nats = self.varz()?["mem"].as_f64().context("memory of NATS")? / f64::from(1 << 20);

        let mut pages = Vec::new();
        for n in 0..PAGES {
            // Anywhere among all ids.
            let after = format!("s{:05}", n * 7919 % count);
            let asked = Instant::now();
            let answer = self.node(n).get(&format!("/api/streamers?limit={PAGE}&after={after}"));
            pages.push(ms(asked));
            ensure!(answer.status == 200, "{answer:?}");
        }
        let mut creations = Vec::new();
        for n in self.created..self.created + CREATIONS {
            let asked = Instant::now();
            let answer = self.node(n * 7).post("/api/streamers", &body(n));
            creations.push(ms(asked));
            ensure!(answer.status == 201, "{answer:?}");
            let _: Streamer = answer.json();
        }
        self.created += CREATIONS;
        self.all_run(&BTreeSet::new())?;

        let dying: BTreeSet<usize> = (0..(nodes / 10).max(1)).map(|n| nodes - 1 - n).collect();
        self.kill(&dying);
        let since = self.carried()?;
        self.all_run(&dying)?;
        let elsewhere = ms(since.at) - LEASE.as_secs_f64() * 1000.0;
        let dies = self.rate(since)?;
        for n in &dying {
            self.servers[*n].start_again();
        }
        self.all_alive()?;
        self.all_run(&BTreeSet::new())?;

        let row = |what: &str, unit: &str, sample: f64| {
            Row::new(FIGURE, format!("{of}: {what}"), unit, vec![sample])
        };
        Ok(vec![
            row("POST (99th percentile)", "ms", p99(creations)),
            row(&format!("GET of a page of {PAGE} (99th percentile)"), "ms", p99(pages)),
            row("memory of a web-server", "MiB", memory),
            row("memory of NATS", "MiB", nats),
            row("messages of NATS for each node, at rest", "1/s", rest),
            row("messages of NATS for each node, while a tenth of the nodes is lost", "1/s", dies),
            row(
                "a tenth of the nodes killed, to all of their streamers running elsewhere: beyond the lease",
                "ms",
                elsewhere,
            ),
        ])
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        // At once, not one server after the other: each looks through all processes.
        let all = (0..self.servers.len()).collect();
        self.kill(&all);
        self.nats.kill();
    }
}

fn body(n: usize) -> Value {
    json!({
        "id": format!("s{n:05}"),
        "source": { "type": "test", "width": 64, "height": 36, "fps": 1, "audio": false },
    })
}

/// Three nodes with a hundred streamers each, listed whole at any of them.
fn listed() -> Result<Row> {
    let mut cluster = Cluster::start(3)?;
    cluster.fill(300)?;
    let mut times = Vec::new();
    for n in 0..PAGES {
        let asked = Instant::now();
        let answer = cluster.node(n).get("/api/streamers");
        times.push(ms(asked));
        if answer.json::<StreamerList>().streamers.len() != 300 {
            bail!("not all are listed");
        }
    }
    Ok(Row::new(
        FIGURE,
        "3 nodes of 100 streamers listed at any node (99th percentile)",
        "ms",
        vec![p99(times)],
    )
    .at_most(10.0))
}

/// All of it.
pub fn nodes(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = vec![listed()?];
    let (nodes, counts) = if plan.quick { (10, [100, 1000]) } else { (50, [1000, 10_000]) };
    let mut cluster = Cluster::start(nodes)?;
    for count in counts {
        match cluster.measure(plan, count) {
            Ok(more) => rows.extend(more),
            // What was measured with fewer stays true.
            Err(error) if cluster.created > counts[0] => {
                println!("  given up with {} streamers: {error:#}", cluster.created);
                break;
            }
            Err(error) => return Err(error),
        }
    }
    Ok(rows)
}
