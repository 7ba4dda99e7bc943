//! The figures, by name.

mod cameras;
mod cluster;
mod fanout;
mod glass;
mod join;
mod load;
mod moonlight;
mod network;
mod nodes;
mod rest;
mod restart;
mod rooms;
mod slots;
mod stacks;

use std::time::Duration;

use anyhow::Result;

use crate::report::Row;
use crate::server::binary;

/// How much is measured.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    /// Fewer and shorter runs, to see that everything works.
    pub quick: bool,
    /// One run: it is one of a pair.
    pub once: bool,
}

impl Plan {
    /// How often a figure is measured.
    pub fn runs(self, full: usize) -> usize {
        match self {
            Plan { once: true, .. } => 1,
            Plan { quick: true, .. } => full.min(2),
            _ => full,
        }
    }

    /// How long one measurement takes.
    pub fn time(self, full_s: u64) -> Duration {
        Duration::from_secs(if self.quick { full_s.min(3) } else { full_s })
    }
}

/// One figure.
pub struct Figure {
    /// By which it is chosen.
    pub name: &'static str,
    /// In one line.
    pub about: &'static str,
    /// Measures it.
    pub measure: fn(Plan) -> Result<Vec<Row>>,
}

/// All of them, in the order in which they are shown.
pub const FIGURES: [Figure; 23] = [
    Figure { name: "first-frame", about: "POST to the first encoded frame", measure: join::first_frame },
    Figure {
        name: "join",
        about: "WebSocket open to the first frame presented in Chromium",
        measure: join::join,
    },
    Figure {
        name: "crowd",
        about: "gaps at a watcher while 50 peers join at the bounds",
        measure: join::crowd,
    },
    Figure {
        name: "pipeline",
        about: "capture, convert, encode of one changed frame",
        measure: load::pipeline,
    },
    Figure {
        name: "glass",
        about: "glass to glass in Chromium, and the server's CPU",
        measure: glass::glass,
    },
    Figure {
        name: "network",
        about: "glass to glass over links that are narrow, lose packets or delay them",
        measure: network::network,
    },
    Figure {
        name: "blocked",
        about: "first picture and glass to glass where UDP does not get through",
        measure: network::blocked,
    },
    Figure { name: "keys", about: "key event in a page to the echo presented", measure: glass::keys },
    Figure {
        name: "load",
        about: "CPU, latency, bytes, quality, allocations by content",
        measure: load::load,
    },
    Figure { name: "idle", about: "CPU of an idle desktop with two peers", measure: rest::idle },
    Figure {
        name: "encode-once",
        about: "encoder calls whatever the number of peers",
        measure: rest::encode_once,
    },
    Figure {
        name: "fanout",
        about: "CPU per forwarded packet, and spread of a frame",
        measure: fanout::fanout,
    },
    Figure {
        name: "rooms",
        about: "CPU per packet of what peers publish, and how long it is under way",
        measure: rooms::rooms,
    },
    Figure {
        name: "stacks",
        about: "native peers on rtc and on webrtc: joining, CPU per received packet",
        measure: stacks::stacks,
    },
    Figure {
        name: "slots",
        about: "a switch, and a window shared, to the first frame presented",
        measure: slots::slots,
    },
    Figure {
        name: "cameras",
        about: "six cameras: one connection, and six pages with one each",
        measure: cameras::cameras,
    },
    Figure {
        name: "moonlight",
        about: "a Moonlight host relayed: delay, losses, first frame, CPU",
        measure: moonlight::moonlight,
    },
    Figure {
        name: "adopt",
        about: "web-server restarted, to all streamers adopted",
        measure: restart::adopt,
    },
    Figure {
        name: "revive",
        about: "streamer killed, to running and presented again",
        measure: restart::revive,
    },
    Figure { name: "many", about: "200 streamers: listed, made, ended", measure: restart::many },
    Figure {
        name: "cluster",
        about: "three nodes: what another node costs, and how long faults last",
        measure: cluster::cluster,
    },
    Figure {
        name: "nodes",
        about: "how a cluster of fifty nodes grows, with processes that stand in for streamers",
        measure: nodes::nodes,
    },
    Figure { name: "memory", about: "resident memory, idle and per peer", measure: rest::memory },
];

/// A desktop with `scene` in it.
fn desktop(width: u32, height: u32, mode: &str, fps: f64, audio: bool) -> Result<serde_json::Value> {
    let scene = binary("scene")?;
    Ok(serde_json::json!({
        "type": "desktop", "width": width, "height": height, "fps": 30, "audio": audio,
        "command": [scene, "--mode", mode, "--fps", fps.to_string()],
    }))
}

/// The test source, as a feed of a known bitrate.
fn test_source(audio: bool) -> serde_json::Value {
    serde_json::json!({
        "type": "test", "width": 1280, "height": 720, "fps": 30, "bitrate_kbps": 2500, "audio": audio,
    })
}
