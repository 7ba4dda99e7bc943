//! `GET /metrics`: counters of this server, and those that each streamer reported last.
//!
//! Numbers of streamers come from their heartbeats, as the registry holds them, and are formatted only
//! for a request: a streamer that is gone leaves no series behind. Labels are bounded: routes
//! are patterns, streamers are at most `max_streamers`, and peers appear only where `metrics.per_peer` says so.

pub mod media;
mod process;
mod table;
pub mod tcp;

use std::fmt;
use std::time::Duration;

use common::api::{Peer, PeerKind, PeerState, Streamer, Transport};
use common::cluster::{Node, NodeState};
use common::latency::{BOUNDS_MS, LatencyHistogram};
use common::signal::StreamerState;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric, prometheus_text};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::Registry;

use self::table::{Kind, Metric};
use crate::limits::{LIMITS, Refusals};

/// Content type of [`Metrics::text`].
pub const CONTENT_TYPE: &str = prometheus_text::CONTENT_TYPE;

/// Upper bounds of request times, seconds. A list of streamers takes one millisecond, a start some seconds.
const BUCKETS: [f64; 12] = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 30.0];

const NO_LABELS: [(&str, &str); 0] = [];

/// All states that a streamer of this node can be in, so that each has a series.
const STREAMER_STATES: [(StreamerState, &str); 6] = [
    (StreamerState::Starting, "starting"),
    (StreamerState::Running, "running"),
    (StreamerState::Restarting, "restarting"),
    (StreamerState::Failed, "failed"),
    (StreamerState::Stopped, "stopped"),
    (StreamerState::Stopping, "stopping"),
];
const NODE_STATES: [(NodeState, &str); 3] =
    [(NodeState::Alive, "alive"), (NodeState::Draining, "draining"), (NodeState::Lost, "lost")];
const PEER_KINDS: [(PeerKind, &str); 7] = [
    (PeerKind::Native, "native"),
    (PeerKind::Whep, "whep"),
    (PeerKind::Whip, "whip"),
    (PeerKind::Mp4, "mp4"),
    (PeerKind::Rtsp, "rtsp"),
    (PeerKind::Multistream, "multistream"),
    (PeerKind::MultiWebrtc, "multi-webrtc"),
];
const PEER_STATES: [(PeerState, &str); 3] =
    [(PeerState::Connecting, "connecting"), (PeerState::Connected, "connected"), (PeerState::Lost, "lost")];

const TRANSPORTS: [(Transport, &str); 3] =
    [(Transport::Udp, "udp"), (Transport::Tcp, "tcp"), (Transport::Websocket, "websocket")];

/// A cluster, as this node of it sees it.
#[derive(Debug)]
pub struct View {
    /// NATS is reached.
    pub is_connected: bool,
    /// All nodes.
    pub nodes: Vec<Node>,
}

/// The counters of this server. Cheap to clone; clones share the counters.
#[derive(Debug, Clone)]
pub struct Metrics {
    requests: Family<Request, Histogram, fn() -> Histogram>,
    responses: Family<Response, Counter>,
    joins: Family<JoinLabels, Counter>,
    created: Counter,
    failures: Counter,
    refusals: Refusals,
    tcp: tcp::Counters,
    media: media::Counters,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Request {
    method: &'static str,
    route: String,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Response {
    method: &'static str,
    route: String,
    status: u16,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct JoinLabels {
    kind: &'static str,
    result: &'static str,
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            requests: Family::new_with_constructor(|| Histogram::new(BUCKETS)),
            responses: Family::default(),
            joins: Family::default(),
            created: Counter::default(),
            failures: Counter::default(),
            refusals: Refusals::default(),
            tcp: tcp::Counters::default(),
            media: media::Counters::default(),
        }
    }
}

impl Metrics {
    /// Counts a request and its response. `route` is the pattern that it matched.
    pub fn request(&self, method: &str, route: Option<String>, status: u16, took: Duration) {
        let method = known_method(method);
        let route = route.unwrap_or_else(|| "none".to_owned());
        self.requests.get_or_create(&Request { method, route: route.clone() }).observe(took.as_secs_f64());
        self.responses.get_or_create(&Response { method, route, status }).inc();
    }

    /// Counts a join, or a refused one.
    pub fn join(&self, kind: PeerKind, joined: bool) {
        let result = if joined { "joined" } else { "refused" };
        self.joins.get_or_create(&JoinLabels { kind: name_of(&PEER_KINDS, kind), result }).inc();
    }

    /// Counts a streamer that was created.
    pub fn created(&self) {
        self.created.inc();
    }

    /// Counts a streamer that ended by itself.
    pub fn failed(&self) {
        self.failures.inc();
    }

    /// The counters of refusals.
    pub fn refusals(&self) -> &Refusals {
        &self.refusals
    }

    /// Where TCP connections of peers are counted.
    pub fn tcp(&self) -> &tcp::Counters {
        &self.tcp
    }

    /// Where media sockets of peers are counted.
    pub fn media(&self) -> &media::Counters {
        &self.media
    }

    /// Everything, for Prometheus; of the cluster, if this server is a node of one.
    pub fn text(&self, streamers: Vec<Streamer>, per_peer: bool, cluster: Option<View>) -> String {
        let mut registry = Registry::with_prefix("oriel");
        registry.register(
            "http_request_seconds",
            "Time from a request to its response",
            self.requests.clone(),
        );
        registry.register("http_responses", "Responses by status", self.responses.clone());
        registry.register("joins", "Viewers that joined or were refused", self.joins.clone());
        registry.register("streamers_created", "Streamers that were created", self.created.clone());
        registry.register(
            "tcp_connections",
            "TCP connections for media, by what became of them",
            self.tcp.0.clone(),
        );
        registry.register(
            "media_sockets",
            "WebSockets for media, by what became of them",
            self.media.0.clone(),
        );
        registry.register(
            "streamer_failures",
            "Ends of streamers that nobody asked for",
            self.failures.clone(),
        );
        registry.register_collector(Box::new(Snapshot {
            streamers,
            per_peer,
            refusals: self.refusals.clone(),
            cluster,
        }));
        let mut text = String::new();
        prometheus_text::encode(&mut text, &registry).expect("a String takes all that is written to it");
        text
    }
}

fn known_method(method: &str) -> &'static str {
    let known = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"];
    // Anybody can make up others, and each would be a series.
    known.into_iter().find(|known| *known == method).unwrap_or("other")
}

fn name_of<T: PartialEq + Copy>(names: &[(T, &'static str)], of: T) -> &'static str {
    names.iter().find(|(value, _)| *value == of).map_or("other", |(_, name)| name)
}

/// What the registry knew when it was asked.
#[derive(Debug)]
struct Snapshot {
    streamers: Vec<Streamer>,
    per_peer: bool,
    refusals: Refusals,
    cluster: Option<View>,
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let streamers = &self.streamers;
        let states = STREAMER_STATES.map(|(state, name)| {
            let count = streamers.iter().filter(|streamer| streamer.state == state).count();
            ([("state", name)], count as f64)
        });
        family(&mut encoder, Kind::Gauge, "streamers", "Streamers by state", states)?;
        let peers = || streamers.iter().flat_map(|streamer| &streamer.peers);
        let by_state = PEER_KINDS.iter().flat_map(|(kind, kind_name)| {
            PEER_STATES.map(|(state, state_name)| {
                let count = peers().filter(|peer| peer.kind == *kind && peer.state == state).count();
                ([("kind", *kind_name), ("state", state_name)], count as f64)
            })
        });
        family(&mut encoder, Kind::Gauge, "peers", "Peers of all streamers", by_state)?;
        let by_transport = TRANSPORTS.map(|(transport, name)| {
            let carried = |peer: &&Peer| peer.state == PeerState::Connected;
            let count =
                peers().filter(carried).filter(|peer| peer.stats.transport == Some(transport)).count();
            ([("transport", name)], count as f64)
        });
        let help = "Connected peers by what carries their media";
        family(&mut encoder, Kind::Gauge, "peers_by_transport", help, by_transport)?;
        if let Some(View { is_connected, nodes }) = &self.cluster {
            let connected = [(NO_LABELS, f64::from(u8::from(*is_connected)))];
            let help = "Whether this node of a cluster reaches NATS";
            family(&mut encoder, Kind::Gauge, "cluster_connected", help, connected)?;
            let nodes = NODE_STATES.map(|(state, name)| {
                ([("state", name)], nodes.iter().filter(|node| node.state == state).count() as f64)
            });
            let help = "Nodes of the cluster by state, as this one knows them";
            family(&mut encoder, Kind::Gauge, "cluster_nodes", help, nodes)?;
        }
        let version = [([("version", env!("CARGO_PKG_VERSION"))], 1.0)];
        family(&mut encoder, Kind::Gauge, "build_info", "Version of the web-server", version)?;
        let refused = LIMITS.map(|(limit, key)| ([("limit", key)], self.refusals.of(limit) as f64));
        family(
            &mut encoder,
            Kind::Counter,
            "refusals",
            "What was over a limit, by the key of that",
            refused,
        )?;
        let wrong = [(NO_LABELS, self.refusals.failed_logins() as f64)];
        family(&mut encoder, Kind::Counter, "wrong_tokens", "Tokens and secrets that were wrong", wrong)?;
        let ours = process::read();
        for Metric { name, help, kind, value } in process::METRICS {
            let values = value(&ours).map(|value| (NO_LABELS, value));
            family(&mut encoder, *kind, name, help, values)?;
        }
        for Metric { name, help, kind, value } in table::STREAMER {
            let values = streamers
                .iter()
                .filter_map(|streamer| Some(([("streamer", streamer.id.as_str())], value(streamer)?)));
            family(&mut encoder, *kind, name, help, values)?;
        }
        let latencies = streamers.iter().filter_map(|streamer| {
            Some(([("streamer", streamer.id.as_str())], &streamer.stats.as_ref()?.network.latency))
        });
        let help = "From the capture of a picture to the screen, as viewers measure it";
        histograms(&mut encoder, "glass_to_glass_seconds", help, latencies)?;
        if self.per_peer {
            let peers: Vec<_> = streamers
                .iter()
                .flat_map(|streamer| streamer.peers.iter().map(move |peer| (streamer, peer)))
                .map(|(streamer, peer)| (streamer.id.as_str(), peer.id.to_string(), peer))
                .collect();
            for Metric { name, help, kind, value } in table::PEER {
                let values = peers.iter().filter_map(|(streamer, id, peer)| {
                    Some(([("streamer", *streamer), ("peer", id.as_str())], value(peer)?))
                });
                family(&mut encoder, *kind, name, help, values)?;
            }
            let latencies = peers.iter().filter_map(|(streamer, id, peer)| {
                let latency = peer.stats.latency.as_ref()?;
                Some(([("streamer", *streamer), ("peer", id.as_str())], &latency.histogram))
            });
            let help = "From the capture of a picture to the peer's screen, as it measures it";
            histograms(&mut encoder, "peer_glass_to_glass_seconds", help, latencies)?;
        }
        Ok(())
    }
}

/// All histograms of one metric. Those of nothing are left out.
fn histograms<'a, L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, &'a LatencyHistogram)>,
) -> fmt::Result {
    let mut values = values.into_iter().filter(|(_, histogram)| histogram.count() > 0).peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let bounds = BOUNDS_MS.iter().map(|ms| f64::from(*ms) / 1e3).chain([f64::MAX]);
    let mut metric = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
    for (labels, histogram) in values {
        let buckets: Vec<_> = bounds.clone().zip(histogram.counts.iter().copied()).collect();
        let mut one = metric.encode_family(&labels)?;
        one.encode_histogram::<[(&str, &str); 0]>(histogram.sum_ms / 1e3, histogram.count(), &buckets, None)?;
    }
    Ok(())
}

/// All values of one metric. One that has none is left out.
fn family<L: EncodeLabelSet>(
    encoder: &mut DescriptorEncoder<'_>,
    kind: Kind,
    name: &str,
    help: &str,
    values: impl IntoIterator<Item = (L, f64)>,
) -> fmt::Result {
    let mut values = values.into_iter().peekable();
    if values.peek().is_none() {
        return Ok(());
    }
    let of = match kind {
        Kind::Counter => MetricType::Counter,
        Kind::Gauge => MetricType::Gauge,
    };
    let mut metric = encoder.encode_descriptor(name, help, None, of)?;
    for (labels, value) in values {
        let one = metric.encode_family(&labels)?;
        match kind {
            Kind::Counter => ConstCounter::new(value).encode(one)?,
            Kind::Gauge => ConstGauge::new(value).encode(one)?,
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
