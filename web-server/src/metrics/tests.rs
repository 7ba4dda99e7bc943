use std::collections::BTreeSet;
use std::path::Path;

use common::api::{Peer, PeerStats};
use common::id::{PeerId, StreamerId};
use common::latency::{LatencyHistogram, PeerLatency};
use common::signal::Role;
use common::stats::{NetworkStats, StreamerStats, VideoStats};
use serde_json::json;

use super::*;

fn streamer(id: &str) -> Streamer {
    let now = chrono::Utc::now();
    let peer = Peer {
        id: PeerId::unique(),
        kind: PeerKind::Whep,
        role: Role::Viewer,
        state: PeerState::Connected,
        joined: now,
        stats: PeerStats {
            round_trip_ms: Some(12.5),
            lost: 3,
            frames: 60,
            latency: Some(PeerLatency { histogram: latency(), ..PeerLatency::default() }),
            ..PeerStats::default()
        },
        display_name: None,
        user_id: None,
        rights: common::person::Rights::new(),
        max_bitrate_kbps: None,
        session_microphone: false,
        session_camera: false,
        token_id: None,
    };
    let value = json!({
        "id": StreamerId::parse(id).unwrap(), "state": "running", "since": now, "reason": null, "created": now,
        "exit": null, "slots": [], "peers": [peer],
        "spec": {"source": {"type": "test"}, "sources": {}, "share": true, "slots": 4},
        "stats": StreamerStats {
            first_frame_ms: Some(80),
            video: VideoStats { encoded: 7, encode_us: 2_500_000, ..VideoStats::default() },
            network: NetworkStats { media_drops: 2, latency: latency(), ..NetworkStats::default() },
            ..StreamerStats::default()
        },
    });
    serde_json::from_value(value).unwrap()
}

/// Three pictures within 10 ms, and one that took longer than any class.
fn latency() -> LatencyHistogram {
    LatencyHistogram { counts: vec![3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1], sum_ms: 2024.0 }
}

/// A server to which everything has happened.
fn busy() -> Metrics {
    let metrics = Metrics::default();
    metrics.request("GET", Some("/api/streamers/{id}".into()), 200, Duration::from_millis(3));
    metrics.join(PeerKind::Native, true);
    metrics.created();
    metrics.failed();
    metrics
}

fn names(text: &str) -> BTreeSet<&str> {
    let samples = text.lines().filter(|line| !line.starts_with('#') && !line.is_empty());
    samples.map(|line| line.split(['{', ' ']).next().unwrap()).collect()
}

#[test]
fn numbers_of_streamers_bear_their_name_and_go_with_them() {
    let metrics = busy();
    let text = metrics.text(vec![streamer("desk"), streamer("eye")], false, None);
    for line in [
        "oriel_video_frames_encoded_total{streamer=\"desk\"} 7",
        "oriel_video_encode_seconds_total{streamer=\"eye\"} 2.5",
        "oriel_streamer_first_frame_seconds{streamer=\"desk\"} 0.08",
        "oriel_media_queue_drops_total{streamer=\"desk\"} 2",
        "oriel_glass_to_glass_seconds_bucket{streamer=\"desk\",le=\"0.01\"} 3",
        "oriel_glass_to_glass_seconds_bucket{streamer=\"desk\",le=\"1.6\"} 3",
        "oriel_glass_to_glass_seconds_bucket{streamer=\"desk\",le=\"+Inf\"} 4",
        "oriel_glass_to_glass_seconds_count{streamer=\"desk\"} 4",
        "oriel_glass_to_glass_seconds_sum{streamer=\"desk\"} 2.024",
        "oriel_streamers{state=\"running\"} 2",
        "oriel_streamers{state=\"failed\"} 0",
        "oriel_peers{kind=\"whep\",state=\"connected\"} 2",
        "oriel_joins_total{kind=\"native\",result=\"joined\"} 1",
        "oriel_http_responses_total{method=\"GET\",route=\"/api/streamers/{id}\",status=\"200\"} 1",
    ] {
        let exact = |found: &str| {
            let (name, value) = line.rsplit_once(' ').unwrap();
            let (found_name, found_value) = found.rsplit_once(' ').unwrap();
            name == found_name && value.parse::<f64>().unwrap() == found_value.parse::<f64>().unwrap()
        };
        assert!(text.lines().filter(|line| !line.starts_with('#')).any(exact), "{line} is not in\n{text}");
    }
    assert!(
        !metrics.text(Vec::new(), false, None).contains("desk"),
        "a streamer that is gone leaves nothing"
    );
}

#[test]
fn peers_are_shown_only_when_asked_for() {
    let metrics = Metrics::default();
    let streamer = streamer("desk");
    let peer = streamer.peers[0].id;
    assert!(!metrics.text(vec![streamer.clone()], false, None).contains("oriel_peer_"));
    let text = metrics.text(vec![streamer], true, None);
    let line = format!("oriel_peer_round_trip_seconds{{streamer=\"desk\",peer=\"{peer}\"}} 0.0125");
    assert!(text.contains(&line), "{text}");
    let line = format!("oriel_peer_glass_to_glass_seconds_count{{streamer=\"desk\",peer=\"{peer}\"}} 4");
    assert!(text.contains(&line), "{text}");
}

#[test]
fn what_clients_make_up_makes_no_series() {
    let metrics = Metrics::default();
    for n in 0..100 {
        metrics.request(&format!("BREW{n}"), None, 404, Duration::ZERO);
    }
    let text = metrics.text(Vec::new(), false, None);
    let series = text.lines().filter(|line| line.starts_with("oriel_http_responses_total")).count();
    assert_eq!(series, 1, "{text}");
}

#[test]
fn every_query_of_the_dashboard_is_about_metrics_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/grafana-dashboard.json");
    let board: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let text = busy().text(vec![streamer("desk")], true, None);
    let there = names(&text);
    let mut asked = BTreeSet::new();
    let panels = board["panels"].as_array().unwrap();
    for expression in panels
        .iter()
        .filter_map(|panel| panel["targets"].as_array())
        .flatten()
        .map(|target| target["expr"].as_str().expect("each target has a query"))
        .chain([board["templating"]["list"][1]["query"]["query"].as_str().unwrap()])
    {
        let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
        let metrics: Vec<_> =
            expression.split(word).filter(|word| word.starts_with("oriel_")).map(str::to_owned).collect();
        assert!(!metrics.is_empty(), "{expression}");
        for metric in metrics {
            assert!(there.contains(metric.as_str()), "{metric} does not exist: {expression}");
            asked.insert(metric);
        }
    }
    assert!(asked.len() > 30, "{asked:?}");
    let ids: BTreeSet<_> = panels.iter().map(|panel| panel["id"].as_u64().unwrap()).collect();
    assert_eq!(ids.len(), panels.len(), "panels have ids of their own");
}

#[test]
fn every_alert_rule_is_about_metrics_that_there_are() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/alerts.yaml");
    let rules = std::fs::read_to_string(path).unwrap();
    let text =
        busy().text(vec![streamer("desk")], false, Some(View { is_connected: true, nodes: Vec::new() }));
    let there = names(&text);
    let word = |c: char| !c.is_ascii_alphanumeric() && c != '_';
    let asked: BTreeSet<_> = rules.split(word).filter(|word| word.starts_with("oriel_")).collect();
    assert!(asked.len() > 5, "{asked:?}");
    for metric in asked {
        assert!(there.contains(metric), "{metric} does not exist");
    }
}

#[test]
fn a_cluster_is_shown_by_its_nodes() {
    let node = |name: &str, state| Node {
        name: name.into(),
        state,
        advertise: None,
        public_url: None,
        labels: Default::default(),
        version: None,
        streamers: 0,
        max_streamers: 1,
        load: None,
        max_cpu_percent: None,
        max_memory_mb: None,
        this: name == "a",
    };
    let nodes = vec![node("a", NodeState::Alive), node("b", NodeState::Alive), node("c", NodeState::Lost)];
    let text = Metrics::default().text(Vec::new(), false, Some(View { is_connected: false, nodes }));
    for line in [
        "oriel_cluster_connected 0.0",
        "oriel_cluster_nodes{state=\"alive\"} 2.0",
        "oriel_cluster_nodes{state=\"draining\"} 0.0",
        "oriel_cluster_nodes{state=\"lost\"} 1.0",
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
    assert!(!Metrics::default().text(Vec::new(), false, None).contains("cluster"));
}
