//! How soon there is a picture.

use anyhow::{Context, Result};
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
        let (mut whole, mut own) = (Vec::new(), Vec::new());
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
