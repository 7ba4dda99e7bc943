//! How soon all is as before: after a restart of the web-server, and after the death of a streamer; and what the registry does
//! with many streamers.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use common::api::{Streamer, StreamerList};
use common::signal::StreamerState;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::json;

use super::Plan;
use crate::browser;
use crate::peers::NativePeers;
use crate::report::Row;
use crate::server::Server;

/// For all of them to be there again.
const DEADLINE: Duration = Duration::from_secs(60);

fn tiny() -> serde_json::Value {
    json!({ "type": "test", "width": 64, "height": 36, "fps": 1, "audio": false })
}

fn running(server: &Server) -> Result<usize> {
    let list: StreamerList = server.json("/api/streamers")?;
    Ok(list.streamers.iter().filter(|streamer| streamer.state == StreamerState::Running).count())
}

/// Web-server killed and started again: from its start until it shows all streamers as running.
pub fn adopt(plan: Plan) -> Result<Vec<Row>> {
    const STREAMERS: usize = 50;
    let mut server = Server::start("streamer")?;
    for n in 0..STREAMERS {
        server.create(&format!("s{n}"), tiny())?;
    }
    let mut ms = Vec::new();
    for _ in 0..plan.runs(10) {
        server.kill()?;
        let begin = server.start_again()?;
        while running(&server)? < STREAMERS {
            ensure!(begin.elapsed() < DEADLINE, "not all streamers were adopted");
        }
        ms.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    let what = format!("web-server restarted: start to all of {STREAMERS} streamers adopted");
    Ok(vec![Row::new("adopt", what, "ms", ms).at_most(500.0)])
}

/// Kills the streamer's process, and waits until another one runs.
fn kill(server: &Server, id: &str) -> Result<Duration> {
    let before: Streamer = server.get(id)?;
    let pid = i32::try_from(server.pid(id)?)?;
    let begin = Instant::now();
    kill_process(Pid::from_raw(pid).context("a process id")?, Signal::KILL)?;
    loop {
        let now = server.get(id)?;
        if now.state == StreamerState::Running && now.restarts.count > before.restarts.count {
            return Ok(begin.elapsed());
        }
        if begin.elapsed() > DEADLINE || now.state == StreamerState::Failed {
            bail!("it does not run again: {:?}", now.reason);
        }
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A streamer that is killed: until it runs again, and until a page presents it again.
pub fn revive(plan: Plan) -> Result<Vec<Row>> {
    let server = Server::start("streamer")?;
    let at_once = json!({ "delay_ms": 0, "attempts": 1000 });
    let create = |id: &str, restart: &serde_json::Value| {
        let source = json!({ "type": "test", "width": 640, "height": 360, "fps": 30, "audio": false });
        let body = json!({ "id": id, "source": source, "restart": restart });
        server.post("/api/streamers?wait=running", &body)
    };
    create("killed", &at_once)?;
    let mut ms = Vec::new();
    for _ in 0..plan.runs(20) {
        ms.push(kill(&server, "killed")?.as_secs_f64() * 1000.0);
    }
    create("watched", &json!({ "attempts": 1000, "max_delay_ms": 250 }))?;
    let again = browser::revive(&server.url("/"), "watched", plan.runs(10))?;
    Ok(vec![
        Row::new("revive", "test streamer killed, no backoff: kill to running again", "ms", ms)
            .at_most(1000.0),
        Row::new("revive", "test streamer killed, backoff of 250 ms: kill to presented again", "ms", again)
            .at_most(3000.0),
    ])
}

/// Many streamers: how fast they are listed, made and ended.
pub fn many(plan: Plan) -> Result<Vec<Row>> {
    /// Of so many streamers the peers are, all equally.
    const WATCHED: usize = 10;
    let (streamers, peers) = if plan.quick { (40, 100) } else { (200, 1000) };
    let server = Server::start("streamer")?;
    let begin = Instant::now();
    for n in 0..streamers {
        server.create(&format!("s{n}"), tiny())?;
    }
    let made = streamers as f64 / begin.elapsed().as_secs_f64();
    let mut watching = Vec::new();
    for n in 0..WATCHED {
        let mut of_one = NativePeers::start(&server, &format!("s{n}"), false)?;
        of_one.join(peers / WATCHED)?;
        watching.push(of_one);
    }

    let mut ms: Vec<f64> = Vec::new();
    for _ in 0..if plan.quick { 200 } else { 2000 } {
        let asked = Instant::now();
        server.text("/api/streamers")?;
        ms.push(asked.elapsed().as_secs_f64() * 1000.0);
    }
    ms.sort_by(f64::total_cmp);
    let p99 = ms[ms.len() * 99 / 100];
    for peers in watching {
        peers.finish()?;
    }

    let begin = Instant::now();
    for n in 0..streamers {
        server.delete(&format!("s{n}"))?;
    }
    let ended = streamers as f64 / begin.elapsed().as_secs_f64();
    let listed = format!("GET /api/streamers, {streamers} streamers and {peers} peers");
    Ok(vec![
        Row::new("many", format!("{listed}: median"), "ms", ms),
        Row::new("many", format!("{listed}: 99th percentile"), "ms", vec![p99]).at_most(10.0),
        Row::new("many", "streamers made, one after the other, until each runs", "1/s", vec![made]),
        Row::new("many", "streamers ended, one after the other, until nothing is left", "1/s", vec![ended]),
    ])
}
