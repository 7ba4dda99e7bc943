//! How soon there is a picture, and what others see of somebody who joins.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use common::signal::Role;
use native_peer::{Media, Options, Watcher, largest_offer};
use serde_json::json;

use super::{Plan, test_source};
use crate::browser;
use crate::report::Row;
use crate::server::Server;

const STREAMER: &str = "streamer";

/// `POST` to the first encoded frame: how long `POST ?wait=running` takes to be answered, which is after the first keyframe was
/// published, and the part of it that the source took.
pub fn first_frame(plan: Plan) -> Result<Vec<Row>> {
    let sources = [
        ("test source", test_source(true), 100.0),
        ("desktop with a terminal", json!({ "type": "desktop", "command": ["xterm"] }), 1500.0),
    ];
    let mut rows = Vec::new();
    for (name, source, target) in sources {
        let server = Server::start(STREAMER)?;
        let mut whole = Vec::new();
        let mut own = Vec::new();
        for n in 0..plan.runs(15) {
            let id = format!("first-{n}");
            let begin = std::time::Instant::now();
            server.create(&id, source.clone())?;
            whole.push(begin.elapsed().as_secs_f64() * 1000.0);
            own.push(server.stats(&id)?.first_frame_ms.context("it runs without a first frame")? as f64);
            server.delete(&id)?;
        }
        let what = |part: &str| format!("{name}: {part} to first encoded frame");
        rows.push(Row::new("first-frame", what("POST"), "ms", whole).at_most(target));
        rows.push(Row::new("first-frame", what("start of the source"), "ms", own));
    }
    Ok(rows)
}

/// WebSocket open to the first presented frame, in Chromium, for sources that are watched by nobody else.
pub fn join(plan: Plan) -> Result<Vec<Row>> {
    let sources = [
        ("test source", test_source(true)),
        ("desktop with a terminal", json!({ "type": "desktop", "command": ["xterm"] })),
    ];
    let mut rows = Vec::new();
    for (name, source) in sources {
        let server = Server::start(STREAMER)?;
        server.create("join", source)?;
        let joins = browser::join(&server.viewer("join"), if plan.quick { 5 } else { 30 })?;
        let ms = joins.iter().map(|join| join.ms).collect();
        rows.push(
            Row::new("join", format!("{name}: WebSocket open to first frame presented"), "ms", ms)
                .at_most(170.0),
        );
        let ms = joins.iter().map(|join| join.page_ms).collect();
        rows.push(Row::new("join", format!("{name}: navigation to first frame presented"), "ms", ms));
    }
    Ok(rows)
}

/// Joins at a time, and in all. More in a minute are refused.
const AT_ONCE: usize = 8;
const JOINS: usize = 50;
const INTERVAL_MS: f64 = 1000.0 / 30.0;

/// The longest gap between two pictures at a peer that watches, while others join by WHEP with offers as large as are taken.
pub fn crowd(plan: Plan) -> Result<Vec<Row>> {
    let offer = largest_offer();
    let mut calm = Vec::new();
    let mut crowded = Vec::new();
    let mut took = Vec::new();
    for _ in 0..plan.runs(10) {
        let server = Server::start(STREAMER)?;
        server.create("crowd", test_source(false))?;
        let role = Role::Viewer;
        let media = Media::Headers;
        let options = Options { server: server.address(), streamer: "crowd".into(), role, media };
        let watcher = Watcher::start(options)?;
        calm.push(ms(watcher.gaps(|| std::thread::sleep(Duration::from_secs(3)))?[0]));
        let begin = std::time::Instant::now();
        let mut joined = Ok(());
        crowded.push(ms(watcher.gaps(|| joined = join_all(&server, &offer))?[0]));
        took.push(ms(begin.elapsed()));
        joined?;
    }
    let row = |what: String, samples| Row::new("crowd", what, "ms", samples);
    Ok(vec![
        row("longest gap at a watcher in three seconds without joins".into(), calm),
        row(format!("longest gap at a watcher while {JOINS} peers join at the bounds"), crowded)
            .at_most(2.0 * INTERVAL_MS),
        row(format!("{JOINS} joins at the bounds, {AT_ONCE} at a time: all answered"), took),
    ])
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn join_all(server: &Server, offer: &str) -> Result<()> {
    let next = AtomicUsize::new(0);
    let some = || -> Result<()> {
        while next.fetch_add(1, Ordering::Relaxed) < JOINS {
            server.post_text("/api/streamers/crowd/whep", "application/sdp", offer)?;
        }
        Ok(())
    };
    let results: Vec<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..AT_ONCE).map(|_| scope.spawn(some)).collect();
        threads.into_iter().map(std::thread::ScopedJoinHandle::join).collect()
    });
    ensure!(results.iter().all(Result::is_ok), "a thread that joins has panicked");
    results.into_iter().flatten().collect()
}
