//! How soon a page that is connected shows something else.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use common::signal::{Role, ServerMessage};
use common::slots::WindowList;
use native_peer::{Event, Media, Options, Swarm};
use serde_json::{Value, json};

use super::Plan;
use crate::browser;
use crate::report::Row;
use crate::server::Server;

const ID: &str = "slots";
/// Widths of the streams, which tell them apart.
const WIDTHS: [u32; 7] = [320, 336, 352, 368, 384, 400, 416];
/// Two terminals of which one covers the other, without a window manager.
const WINDOWS: &str = "xterm -geometry 120x40+10+10 -T one & exec xterm -geometry 120x40+40+40 -T two";

/// `switch` at six slots, and `PUT slot` with a window.
pub fn slots(plan: Plan) -> Result<Vec<Row>> {
    let mut rows = switches(plan)?;
    rows.extend(windows(plan)?);
    Ok(rows)
}

fn switches(plan: Plan) -> Result<Vec<Row>> {
    let server = Server::start("streamer")?;
    let stream = |width: &u32| {
        let source = json!({ "type": "test", "width": width, "height": 180, "fps": 15, "audio": false });
        (format!("w{width}"), source)
    };
    let sources: serde_json::Map<String, Value> = WIDTHS.iter().map(stream).collect();
    server.post("/api/streamers?wait=running", &json!({ "id": ID, "slots": 6, "sources": sources }))?;
    let names: Vec<_> = WIDTHS.iter().map(|width| format!("w{width}")).collect();
    let seen = browser::slots(&server.url("/"), ID, "switch", plan.runs(120).max(12), &names)?;
    let mut sorted = seen.presented_ms.clone();
    sorted.sort_by(f64::total_cmp);
    let p95 = sorted[sorted.len() * 95 / 100];
    let row = |what: &str, unit: &str, samples| Row::new("slots", what, unit, samples);
    Ok(vec![
        row("switch at six slots: sent to first frame presented", "ms", seen.presented_ms).at_most(100.0),
        row("switch at six slots: the same, p95", "ms", vec![p95]).at_most(200.0),
        row("switch at six slots: sent to answered", "ms", seen.answered_ms),
        row("paused slot: received in a second", "bytes", vec![seen.paused_bytes]).at_most(0.0),
    ])
}

fn windows(plan: Plan) -> Result<Vec<Row>> {
    let server = Server::start("streamer")?;
    server.create(ID, json!({ "type": "desktop", "audio": false, "command": WINDOWS }))?;
    let ids = window_ids(&server)?;
    let names: Vec<_> = ids.iter().map(u32::to_string).collect();
    let seen = browser::slots(&server.url("/"), ID, "windows", plan.runs(40).max(8), &names)?;
    let row = |what: &str, samples| Row::new("slots", what, "ms", samples);
    Ok(vec![
        row("PUT slot with a window: to first frame presented", seen.presented_ms).at_most(100.0),
        row("PUT slot with a window: to first RTP packet", first_packets(plan, &server, &ids)?).at_most(40.0),
    ])
}

fn window_ids(server: &Server) -> Result<Vec<u32>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    while Instant::now() < deadline {
        let list: WindowList = server.json(&format!("/api/streamers/{ID}/windows"))?;
        if list.windows.len() >= 2 {
            return Ok(list.windows.iter().map(|window| window.id).collect());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    bail!("the terminals do not come up")
}

/// From a request to the kernel's receive time of the first packet in its slot, at a native peer.
fn first_packets(plan: Plan, server: &Server, windows: &[u32]) -> Result<Vec<f64>> {
    let role = Role::Viewer;
    let media = Media::Headers;
    let mut swarm = Swarm::new(Options { server: server.address(), streamer: ID.into(), role, media })?;
    swarm.join()?;
    let mut ssrc = None;
    let mut connected = false;
    let deadline = Instant::now() + Duration::from_secs(10);
    while ssrc.is_none() || !connected {
        match swarm.next(deadline)?.context("the peer does not join")?.1 {
            Event::Signal(ServerMessage::Offer { sdp }) => ssrc = video_ssrc(&sdp, 1),
            Event::Connected => connected = true,
            _ => {}
        }
    }
    let mut samples = Vec::new();
    for n in 0..plan.runs(40).max(8) {
        let body = json!({ "source": { "type": "window", "window_id": windows[n % windows.len()] } });
        let path = format!("/api/streamers/{ID}/slots/1");
        let begin = SystemTime::now().duration_since(UNIX_EPOCH)?;
        let first = std::thread::scope(|scope| {
            let request = scope.spawn(|| server.put(&path, &body));
            let deadline = Instant::now() + Duration::from_secs(5);
            let first = loop {
                match swarm.next(deadline)? {
                    Some((_, Event::Rtp(packet))) if Some(packet.ssrc) == ssrc && packet.at > begin => {
                        break packet.at;
                    }
                    Some(_) => {}
                    None => bail!("no packet came"),
                }
            };
            request.join().map_err(|_| anyhow::anyhow!("the request panicked"))??;
            Ok(first)
        })?;
        samples.push((first - begin).as_secs_f64() * 1000.0);
        server.delete_path(&path)?;
        // What is still on its way of this window must not be taken for the next.
        let quiet = Instant::now() + Duration::from_millis(200);
        while swarm.next(quiet)?.is_some() {}
    }
    swarm.leave();
    ensure!(!samples.is_empty(), "nothing was measured");
    Ok(samples)
}

/// SSRC of a slot's video, by an offer of ours.
fn video_ssrc(sdp: &str, slot: u8) -> Option<u32> {
    let section = sdp.split("m=video").find(|section| section.contains(&format!("a=msid:slot{slot} ")))?;
    section.lines().find_map(|line| line.strip_prefix("a=ssrc:")?.split(' ').next()?.parse().ok())
}
