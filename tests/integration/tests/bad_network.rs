//! What a peer's network carries, or what it may be sent, is all that it is sent; others, and the streamer, are not the worse for it.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::Instant;

use common::signal::Role;
use harness::Server;
use harness::server::binary;
use native_peer::{Arrival, Event, Media, Options, Swarm};
use serde_json::{Value, json};

/// A running `netsim`; dropping it ends it.
struct Netsim {
    child: Child,
    address: SocketAddr,
}

impl Netsim {
    fn start(server: &Server) -> Self {
        let mut child = Command::new(binary("netsim"))
            .args(["--upstream", &server.url(""), "--port", "0"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.as_mut().unwrap()).read_line(&mut line).unwrap();
        let address = line.trim().strip_prefix("netsim is ready at http://").unwrap().trim_end_matches('/');
        Self { child, address: address.parse().unwrap() }
    }

    fn send(&self, method: &str, path: &str, body: &str) -> Value {
        let mut stream = TcpStream::connect(self.address).unwrap();
        let length = body.len();
        write!(stream, "{method} {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n{body}")
            .unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
        serde_json::from_str(answer.split_once("\r\n\r\n").unwrap().1).unwrap()
    }

    fn set(&self, rules: &Value) {
        self.send("PUT", "/netsim/rules", &rules.to_string());
    }
}

impl Drop for Netsim {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn swarm(server: SocketAddr) -> Swarm {
    let streamer = "demo".into();
    let role = Role::Viewer;
    let media = Media::Headers;
    let mut swarm = Swarm::new(Options { server, streamer, role, media }).unwrap();
    swarm.join().unwrap();
    swarm
}

/// The last packets of the next `count` pictures.
fn frames(swarm: &mut Swarm, count: usize) -> Vec<Arrival> {
    let deadline = Instant::now() + harness::wait::SOON;
    let mut frames = Vec::new();
    while frames.len() < count {
        match swarm.next(deadline).unwrap().expect("frames in time").1 {
            Event::Rtp(arrival) if arrival.marker => frames.push(arrival),
            Event::Closed(reason) => panic!("closed: {reason}"),
            _ => {}
        }
    }
    frames
}

/// Takes what has come without waiting for more; how many packets of media that was.
fn drain(swarm: &mut Swarm) -> usize {
    let mut packets = 0;
    // As long as there is something; the deadline is not waited for when there is.
    while let Some((_, event)) = swarm.next(Instant::now() + std::time::Duration::from_millis(20)).unwrap() {
        packets += usize::from(matches!(event, Event::Rtp(_)));
    }
    packets
}

#[test]
fn a_peer_whose_network_stops_costs_the_other_nothing_and_comes_back() {
    let server = Server::start();
    let source = json!({ "type": "test", "width": 640, "height": 360, "fps": 30, "audio": false });
    server.create("demo", source);
    let netsim = Netsim::start(&server);
    let mut far = swarm(netsim.address);
    let mut near = swarm(server.address());
    frames(&mut far, 15);
    frames(&mut near, 15);
    let before = netsim.send("GET", "/netsim/stats", "");
    assert!(before["relays"] == 1 && before["down"]["passed"].as_u64() > Some(15), "{before}");

    // By the timestamps of a second, the best of several: the machine may stand still for one.
    let rate = |near: &mut Swarm| {
        let of_a_second = |pictures: &[Arrival]| {
            let ticks = pictures[29].rtp_time.wrapping_sub(pictures[0].rtp_time);
            29.0 * 90_000.0 / f64::from(ticks)
        };
        let best = (0..5).map(|_| of_a_second(&frames(near, 30))).fold(0.0, f64::max);
        // After a pause it may be more than the source makes.
        best.min(30.0)
    };
    let usual = rate(&mut near);
    drain(&mut far);

    // Its buffers have their size once it has run for some seconds.
    let early = loop {
        frames(&mut far, 15);
        frames(&mut near, 15);
        let stats = server.stats_until("demo", "it reports", |_| true);
        if stats.uptime_ms > 4000 {
            break stats.process.rss_bytes;
        }
    };

    netsim.set(&json!({ "down": { "drop": true }, "up": { "drop": true } }));
    drain(&mut far);
    drain(&mut near);
    // As many as before, but for what the machine itself costs.
    let during = rate(&mut near);
    assert!(
        during > 0.75 * usual,
        "{during:.1} frames per second of {usual:.1} while the other's network is down"
    );
    assert_eq!(drain(&mut far), 0, "nothing passes");
    let stopped = netsim.send("GET", "/netsim/stats", "");
    assert!(stopped["down"]["dropped"].as_u64() > before["down"]["dropped"].as_u64(), "{stopped}");
    let late = server.stats_until("demo", "it reports", |_| true).process.rss_bytes;
    // Pictures that are kept for a peer would be 10 MB each second.
    assert!(late < early + (16 << 20), "memory stays flat: {early}, then {late} bytes");

    netsim.set(&json!({}));
    let back = frames(&mut far, 30);
    assert_eq!(back.len(), 30);
    assert_eq!(server.streamer("demo").unwrap().peers.len(), 2);
}

#[test]
fn frames_come_through_a_slow_link_that_loses_and_reorders() {
    let server = Server::start();
    let source = json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false });
    server.create("demo", source);
    let netsim = Netsim::start(&server);
    netsim.set(&json!({
        "down": { "loss": 0.03, "delay_ms": 20, "jitter_ms": 5, "reorder": 0.01 },
        "up": { "delay_ms": 20 },
    }));
    let mut far = swarm(netsim.address);
    frames(&mut far, 90);
    let stats = netsim.send("GET", "/netsim/stats", "");
    assert!(stats["down"]["dropped"].as_u64() > Some(0), "the link did lose: {stats}");
}

/// Bits per second of what comes, by the timestamps of so many pictures.
fn bitrate(swarm: &mut Swarm, pictures: usize) -> f64 {
    let deadline = Instant::now() + harness::wait::SOON;
    let mut times = Vec::new();
    let mut bytes = 0;
    while times.len() < pictures {
        match swarm.next(deadline).unwrap().expect("frames in time").1 {
            Event::Rtp(arrival) => {
                bytes += arrival.len_bytes;
                if arrival.marker {
                    times.push(arrival.rtp_time);
                }
            }
            Event::Closed(reason) => panic!("closed: {reason}"),
            _ => {}
        }
    }
    let ticks = times[pictures - 1].wrapping_sub(times[0]);
    bytes as f64 * 8.0 * 90_000.0 / f64::from(ticks)
}

#[test]
fn a_peer_is_sent_no_more_than_its_streamer_and_rest_allow() {
    let server = Server::start();
    let source = json!({
        "type": "test", "width": 640, "height": 360, "fps": 30, "bitrate_kbps": 2500, "audio": false,
    });
    let body = json!({ "id": "demo", "source": source, "max_bitrate_kbps": 900 });
    server.post("/api/streamers?wait=running", &body).expect(201);
    let mut peer = swarm(server.address());
    let within = |peer: &mut Swarm, least: f64, most: f64| {
        // What was encoded before, and the keyframe, are larger.
        bitrate(peer, 30);
        let bps = bitrate(peer, 90);
        assert!((least..most).contains(&bps), "{bps:.0} bit/s instead of {least} to {most}");
    };
    within(&mut peer, 500e3, 1.0e6);
    let id = server.streamer("demo").unwrap().peers[0].id;
    let change = |kbps: u32, status: u16| {
        let path = format!("/api/streamers/demo/peers/{id}");
        let body = json!({ "max_bitrate_kbps": kbps }).to_string();
        server.send("PATCH", &path, "application/json", body.as_bytes()).expect(status)
    };
    change(300, 204);
    within(&mut peer, 150e3, 400e3);
    assert_eq!(server.streamer("demo").unwrap().peers[0].max_bitrate_kbps, Some(300));
    change(0, 204);
    within(&mut peer, 500e3, 1.0e6);
    let refused: common::api::Problem = change(99, 400).json();
    assert_eq!(refused.field.as_deref(), Some("max_bitrate_kbps"));
}
