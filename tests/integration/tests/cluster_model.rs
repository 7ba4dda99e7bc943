//! A cluster against a model of its registry: random requests at random nodes while web-servers, machines, NATS and the ways to it fail. With a
//! real `nats-server` and real web-servers; processes that only stand in for streamers, so that a run of many steps takes seconds.
//!
//! What holds, whatever fails: an id that was created is there until somebody deletes it, also when what ran it was killed; it is created once
//! for all nodes; when all is well again each streamer runs exactly once, where its record says, all nodes list the same, and no record is left
//! of what is not there.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]
#![allow(clippy::disallowed_methods, reason = "faults last for longer than a lease, or not")]

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use common::api::StreamerList;
use common::cluster::{NodeList, NodeState};
use common::id::StreamerId;
use common::restart::RestartPolicy;
use common::signal::StreamerState;
use harness::nats::KEY;
use harness::server::{Answer, stand_in};
use harness::{Nats, Server, Way, eventually, eventually_within};
use serde_json::json;
use web_server::rundir::RunDir;

const NAMES: [&str; 3] = ["a", "b", "c"];
const IDS: [&str; 6] = ["s.0", "s.1", "s.2", "s.3", "s.4", "s.5"];
/// The shortest there is.
const LEASE: Duration = Duration::from_secs(2);
/// For all to settle after a fault: NATS is reached again, leases run out, processes end and start.
const HEALED: Duration = Duration::from_secs(40);

/// Small, good enough, and its seed is all that must be known to repeat a run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % bound as u64) as usize
    }

    fn of<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.below(all.len())]
    }
}

/// What the model knows of an id.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    There,
    Gone,
    /// A request failed that may have been carried out, or one was carried out that a node did not hear of.
    Maybe,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fault {
    Machine(usize),
    WebServer(usize),
    /// The way of a node to NATS, and that back.
    Way(usize, bool, bool),
    NatsStands,
    NatsDown,
    NatsLosesData,
}

impl Fault {
    fn any(random: &mut Random) -> Self {
        let node = random.below(NAMES.len());
        match random.below(12) {
            0..=2 => Self::Machine(node),
            3 => Self::WebServer(node),
            4 => Self::Way(node, true, false),
            5 => Self::Way(node, false, true),
            6..=8 => Self::Way(node, true, true),
            9 => Self::NatsStands,
            10 => Self::NatsDown,
            _ => Self::NatsLosesData,
        }
    }
}

impl Fault {
    /// Whether both cannot be at the same time.
    fn is_like(self, other: Self) -> bool {
        let node = |fault| match fault {
            Self::Machine(n) | Self::WebServer(n) => Some(n),
            Self::Way(n, ..) => Some(NAMES.len() + n),
            Self::NatsStands | Self::NatsDown | Self::NatsLosesData => None,
        };
        node(self) == node(other)
    }
}

struct World {
    random: Random,
    nats: Nats,
    ways: [Way; 3],
    servers: [Server; 3],
    /// Where the program is that stands in for streamers.
    _programs: tempfile::TempDir,
    /// Nodes whose web-server does not run.
    down: BTreeSet<usize>,
    expected: BTreeMap<&'static str, Expected>,
    /// Nothing has failed since all was well.
    calm: bool,
    /// NATS has lost its data since then: an id may be created again that is there.
    forgot: bool,
}

impl World {
    fn start(random: Random) -> Self {
        let nats = Nats::start();
        let ways = NAMES.map(|_| Way::to(nats.port()));
        let programs = tempfile::tempdir().unwrap();
        let stand_in = stand_in(programs.path()).display().to_string();
        let node = |n: usize| {
            let more = [
                ("ORIEL_CLUSTER_LEASE_S", "2"),
                ("ORIEL_CLUSTER_ON_PARTITION", if n == 2 { "stop" } else { "keep" }),
                ("ORIEL_STREAMER_BIN", &stand_in),
            ];
            Server::start_node(&ways[n].url(), KEY, NAMES[n], &more)
        };
        let servers = [node(0), node(1), node(2)];
        Self {
            random,
            nats,
            ways,
            servers,
            _programs: programs,
            down: BTreeSet::new(),
            expected: IDS.map(|id| (id, Expected::Gone)).into(),
            calm: false,
            forgot: false,
        }
    }

    fn any_node(&mut self) -> usize {
        let up: Vec<_> = (0..NAMES.len()).filter(|n| !self.down.contains(n)).collect();
        self.random.of(&up)
    }

    /// A request to create `id`, which no other has the spec of.
    fn body(&mut self, id: &str) -> serde_json::Value {
        let policy = ["on-failure", "always", "on-failure", "never"];
        let mut body = json!({
            "id": id, "restart": { "policy": self.random.of(&policy) }, "idle_timeout_s": null,
            "source": { "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false },
        });
        body["slots"] = json!(1 + self.random.below(16));
        body["source"]["fps"] = json!(1 + self.random.below(60));
        if self.random.below(2) == 0 {
            body["placement"] = json!({ "node": self.random.of(&NAMES) });
        }
        body
    }

    fn step(&mut self) {
        let id = self.random.of(&IDS);
        let n = self.any_node();
        match self.random.below(10) {
            0..=3 => {
                let body = self.body(id);
                let answer = self.servers[n].post("/api/streamers", &body);
                self.said(id, n, "create", &answer);
                self.created(id, &[answer]);
            }
            4 => {
                let m = self.any_node();
                let bodies = [self.body(id), self.body(id)];
                let answers = std::thread::scope(|scope| {
                    let other = scope.spawn(|| self.servers[m].post("/api/streamers", &bodies[1]));
                    [self.servers[n].post("/api/streamers", &bodies[0]), other.join().unwrap()]
                });
                self.said(id, n, "create at once", &answers[0]);
                self.said(id, m, "create at once", &answers[1]);
                self.created(id, &answers);
            }
            5 | 6 => {
                let answer = self.servers[n].delete(&format!("/api/streamers/{id}"));
                self.said(id, n, "delete", &answer);
                self.deleted(id, &answer);
            }
            _ => {
                let to = match self.random.below(2) {
                    0 => json!({ "node": self.random.of(&NAMES) }),
                    _ => json!({}),
                };
                let answer = self.servers[n].post(&format!("/api/streamers/{id}/move"), &to);
                self.said(id, n, &format!("move to {to}"), &answer);
                assert!([200, 202, 404, 409, 502, 503, 504].contains(&answer.status), "{answer:?}");
                if self.calm {
                    let there = self.expected[id] == Expected::There;
                    // It may have been created, or moved, so lately that it cannot be moved yet.
                    assert!((answer.status == 404) != there, "{:?}: {answer:?}", self.expected[id]);
                }
            }
        }
    }

    fn said(&self, id: &str, n: usize, what: &str, answer: &Answer) {
        let code = if answer.status >= 400 { answer.problem().code } else { String::new() };
        println!("  {what} {id} at {}: {} {code}", NAMES[n], answer.status);
    }

    /// An id was asked for, once or twice at the same time.
    fn created(&mut self, id: &'static str, answers: &[Answer]) {
        for answer in answers {
            assert!([200, 201, 409, 502, 503, 504].contains(&answer.status), "{answer:?}");
        }
        let count =
            |statuses: &[u16]| answers.iter().filter(|answer| statuses.contains(&answer.status)).count();
        let before = self.expected[id];
        // A machine that stands still for longer than NATS is waited for is a fault as well.
        self.calm &= count(&[502, 503, 504]) == 0;
        if self.calm {
            let fresh = usize::from(before == Expected::Gone);
            assert_eq!(count(&[201]), fresh, "each id is created once: {before:?}");
            assert_eq!(count(&[200, 409]), answers.len() - fresh, "{answers:?}");
        }
        assert!(self.forgot || count(&[201]) <= 1, "each id is created once: {answers:?}");
        assert!(self.forgot || before != Expected::There || count(&[201]) == 0, "it was there: {answers:?}");
        let expected = match before {
            _ if count(&[200, 201]) > 0 => Expected::There,
            // It may have been created there, and nobody was told.
            Expected::Gone if count(&[502, 504]) > 0 => Expected::Maybe,
            before => before,
        };
        self.expected.insert(id, expected);
    }

    fn deleted(&mut self, id: &'static str, answer: &Answer) {
        assert!([204, 404, 409, 502, 503, 504].contains(&answer.status), "{answer:?}");
        self.calm &= ![502, 503, 504].contains(&answer.status);
        let expected = match (self.expected[id], answer.status) {
            (Expected::There, 204) if self.calm => Expected::Gone,
            (Expected::Gone, 404) if self.calm => Expected::Gone,
            (before, _) if self.calm => panic!("{before:?}: {answer:?}"),
            // The node that was asked may not have heard of it.
            (before, 404) | (before @ Expected::Gone, _) => before,
            // Another copy may have been started, or the deletion done later.
            _ => Expected::Maybe,
        };
        self.expected.insert(id, expected);
    }

    fn begin(&mut self, fault: Fault) {
        self.calm = false;
        match fault {
            Fault::Machine(n) => self.servers[n].kill_machine(),
            Fault::WebServer(n) => self.servers[n].kill(),
            Fault::Way(n, to_nats, from_nats) => self.ways[n].cut(to_nats, from_nats),
            Fault::NatsStands => self.nats.pause(),
            Fault::NatsDown => self.nats.kill(),
            Fault::NatsLosesData => {
                self.nats.kill();
                self.nats.lose_data();
                self.forgot = true;
            }
        }
        if let Fault::Machine(n) | Fault::WebServer(n) = fault {
            self.down.insert(n);
        }
    }

    fn end(&mut self, fault: Fault) {
        match fault {
            Fault::Machine(n) | Fault::WebServer(n) => {
                self.servers[n].start_again();
                self.down.remove(&n);
            }
            Fault::Way(n, ..) => self.ways[n].cut(false, false),
            Fault::NatsStands => self.nats.go_on(),
            Fault::NatsDown | Fault::NatsLosesData => self.nats.start_again(),
        }
    }

    /// What is wrong, if anything is, with a cluster in which nothing fails.
    fn wrong(&self) -> Result<BTreeSet<String>, String> {
        let list = |server: &Server| -> Result<BTreeMap<String, (String, StreamerState)>, String> {
            let list: StreamerList = server.get("/api/streamers").expect(200).json();
            let entries = list.streamers.into_iter().map(|one| {
                let ends =
                    one.state == StreamerState::Failed && one.spec.restart.policy == RestartPolicy::Never;
                if one.state != StreamerState::Running && !ends {
                    return Err(format!("{} is {:?}", one.id, one.state));
                }
                Ok((one.id.to_string(), (one.node.ok_or("no node")?, one.state)))
            });
            entries.collect()
        };
        let first = list(&self.servers[0])?;
        for (id, expected) in &self.expected {
            match (expected, first.contains_key(*id)) {
                (Expected::There, false) => return Err(format!("{id} is lost")),
                (Expected::Gone, true) => return Err(format!("{id} is there again")),
                _ => {}
            }
        }
        for (server, name) in self.servers.iter().zip(NAMES) {
            let other = list(server)?;
            if other != first {
                return Err(format!("{name} lists {other:?}, and {} {first:?}", NAMES[0]));
            }
            // This counts ids that are taken and not listed, too.
            let nodes = server.get("/api/nodes").expect(200).json::<NodeList>().nodes;
            let alive = nodes.iter().filter(|node| node.state == NodeState::Alive).count();
            let records: u32 = nodes.iter().map(|node| node.streamers).sum();
            if alive != NAMES.len() || records as usize != first.len() {
                return Err(format!("{name} knows of {alive} nodes and {records} records for {first:?}"));
            }
            let processes = server.session_processes();
            let monitors = processes.iter().filter(|process| process.command_line.contains(" monitor "));
            let mut left = monitors.count();
            for (id, (node, state)) in &first {
                let dir =
                    RunDir::of(&server.state_dir().join("run"), &StreamerId::parse(id.clone()).unwrap());
                let dir = dir.path().display().to_string();
                let own = processes.iter().filter(|process| {
                    process.command_line.contains(" monitor ") && process.command_line.contains(&dir)
                });
                let count = own.count();
                left -= count;
                // What is never started again has failed with what ran it.
                if count != usize::from(node == name && *state == StreamerState::Running) {
                    return Err(format!("{id} ({state:?}) of {node} runs {count} times at {name}"));
                }
                if server.get(&format!("/api/streamers/{id}")).status != 200 {
                    return Err(format!("{name} does not serve {id} of {node}"));
                }
            }
            if left > 0 {
                return Err(format!("{left} processes at {name} are of no streamer"));
            }
        }
        Ok(first.into_keys().collect())
    }

    /// Waits until all is well, and learns what has become of what was not known.
    fn settle(&mut self) {
        let began = Instant::now();
        let mut last = String::new();
        let there = loop {
            match self.wrong() {
                Ok(there) => break there,
                Err(wrong) if began.elapsed() > HEALED => panic!("after {HEALED:?}: {wrong}"),
                Err(wrong) if wrong == last => std::thread::sleep(Duration::from_millis(20)),
                Err(wrong) => {
                    println!("  {:?}: {wrong}", began.elapsed());
                    last = wrong;
                }
            }
        };
        println!("  settled after {:?}: {there:?}", began.elapsed());
        for (id, expected) in &mut self.expected {
            *expected = if there.contains(*id) { Expected::There } else { Expected::Gone };
        }
        self.calm = true;
        self.forgot = false;
    }

    /// Requests, something fails, requests, all is well again.
    fn episode(&mut self) {
        for _ in 0..3 {
            self.step();
        }
        let mut faults = vec![Fault::any(&mut self.random)];
        let second = Fault::any(&mut self.random);
        if self.random.below(3) == 0 && !second.is_like(faults[0]) {
            faults.push(second);
        }
        let long = self.random.below(2) == 0;
        println!(" {faults:?}, {}", if long { "longer than a lease" } else { "for a moment" });
        let began = Instant::now();
        for fault in &faults {
            self.begin(*fault);
            self.step();
            self.step();
        }
        let lasts = if long { LEASE + Duration::from_secs(1) } else { LEASE / 4 };
        std::thread::sleep(lasts.saturating_sub(began.elapsed()));
        if long {
            self.step();
        }
        for fault in faults {
            self.end(fault);
        }
        println!(" over");
        self.step();
        self.step();
        self.settle();
    }
}

#[test]
fn the_registry_of_a_cluster_is_as_its_model() {
    let number = |name: &str| std::env::var(name).ok().map(|text| text.parse::<u64>().expect(name));
    // A long run is another one each time.
    let drawn = || number("ORIEL_MODEL").map_or(20, |_| u64::from(std::process::id()) << 20 | 1);
    let seed = number("ORIEL_SEED").unwrap_or_else(drawn);
    println!("ORIEL_SEED={seed}");
    let mut world = World::start(Random(seed));
    world.settle();
    let began = Instant::now();
    for episode in 0..number("ORIEL_MODEL").unwrap_or(5) {
        println!("episode {episode}");
        world.episode();
    }
    println!("episodes took {:?}", began.elapsed());
    for id in IDS {
        if world.expected[id] == Expected::There {
            world.servers[0].delete(&format!("/api/streamers/{id}")).expect(204);
            world.expected.insert(id, Expected::Gone);
        }
    }
    world.settle();
    // One that has just come sees what is in the bucket, and nothing else.
    let late = world.nats.node(KEY, "late", &[("ORIEL_CLUSTER_LEASE_S", "2")]);
    let nodes = eventually_within(HEALED, "it has heard of the others", || {
        let answer = late.get("/api/nodes");
        let nodes = (answer.status == 200).then(|| answer.json::<NodeList>().nodes)?;
        (nodes.len() == NAMES.len() + 1).then_some(nodes)
    });
    assert!(nodes.iter().all(|node| node.streamers == 0), "{nodes:?}");
    eventually("it creates", || {
        let late_one = json!({ "id": "late", "placement": { "node": "late" }, "source": { "type": "test" } });
        // One that was refused while its outcome was not known may be there all the same.
        [200, 201].contains(&late.post("/api/streamers", &late_one).status).then_some(())
    });
    let nodes = late.get("/api/nodes").expect(200).json::<NodeList>().nodes;
    assert_eq!(nodes.iter().map(|node| node.streamers).sum::<u32>(), 1, "{nodes:?}");
}
