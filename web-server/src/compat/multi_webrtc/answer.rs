//! The fields that those backends read. All responses contain them beside our own fields, because a request does not tell which kind of
//! client made it.

use chrono::{DateTime, Utc};
use common::api::{Peer, PeerState, Problem, Streamer, StreamerList};
use common::id::{PeerId, StreamerId};
use common::signal::StreamerState;
use common::spec::{SourceSpec, StreamerSpec};
use serde::Serialize;
use serde_json::{Map, Value};

/// Their fields of a streamer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct StreamerFields {
    streamer_id: StreamerId,
    status: Status,
    /// The source has delivered pictures.
    moonlight_connected: bool,
    /// Peers that receive.
    connected_peers: usize,
    width: u32,
    height: u32,
    fps: u32,
    created_at: DateTime<Utc>,
}

/// The state of a streamer, in their three values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Status {
    Starting,
    Active,
    Failed,
}

/// Their fields of a peer.
#[derive(Debug, Clone, PartialEq, Serialize)]
struct PeerFields {
    peer_id: PeerId,
    connected_at: DateTime<Utc>,
}

/// Their fields of a refusal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct ProblemFields {
    error: String,
}

/// A streamer, with our fields and theirs.
pub fn streamer(streamer: &Streamer) -> Value {
    let mut shown = object(streamer);
    let peers = streamer.peers.iter().map(peer).collect();
    shown.insert("peers".into(), Value::Array(peers));
    shown.extend(object(&StreamerFields::of(streamer)));
    Value::Object(shown)
}

/// All streamers, with our fields and theirs.
pub fn streamers(list: &StreamerList) -> Value {
    let mut shown = object(list);
    shown.insert("streamers".into(), list.streamers.iter().map(streamer).collect());
    Value::Object(shown)
}

/// A refusal, with our fields and theirs.
pub fn problem(problem: &Problem) -> Value {
    let mut shown = object(problem);
    shown.extend(object(&ProblemFields { error: problem.detail.clone() }));
    Value::Object(shown)
}

fn peer(peer: &Peer) -> Value {
    let mut shown = object(peer);
    shown.extend(object(&PeerFields { peer_id: peer.id, connected_at: peer.joined }));
    Value::Object(shown)
}

impl StreamerFields {
    fn of(streamer: &Streamer) -> Self {
        let shown = streamer.slots.first().and_then(|slot| Some((slot.width?, slot.height?, slot.fps)));
        let (width, height, fps) = shown.unwrap_or_else(|| picture(&streamer.spec));
        Self {
            streamer_id: streamer.id.clone(),
            status: Status::of(streamer.state),
            moonlight_connected: streamer.state == StreamerState::Running,
            connected_peers: streamer.peers.iter().filter(|peer| peer.state == PeerState::Connected).count(),
            width,
            height,
            fps,
            created_at: streamer.created,
        }
    }
}

impl Status {
    fn of(state: StreamerState) -> Self {
        match state {
            StreamerState::Starting | StreamerState::Restarting => Self::Starting,
            StreamerState::Running => Self::Active,
            // A streamer that is ending cannot be joined any more.
            StreamerState::Failed
            | StreamerState::Stopped
            | StreamerState::Stopping
            | StreamerState::Lost => Self::Failed,
        }
    }
}

/// Width, height and frame rate of a streamer's spec; zeros where its source determines them.
fn picture(spec: &StreamerSpec) -> (u32, u32, u32) {
    match &spec.source {
        Some(SourceSpec::Moonlight(spec)) => (spec.width, spec.height, spec.fps),
        Some(SourceSpec::Desktop(spec)) => (spec.width, spec.height, spec.fps),
        Some(SourceSpec::Test(spec)) => (spec.width, spec.height, spec.fps),
        Some(
            SourceSpec::Window(_)
            | SourceSpec::Rtsp(_)
            | SourceSpec::Ffmpeg(_)
            | SourceSpec::Exec(_)
            | SourceSpec::Publish(_),
        )
        | None => (0, 0, 0),
    }
}

fn object<T: Serialize>(of: &T) -> Map<String, Value> {
    match serde_json::to_value(of).expect("text, numbers and maps with text keys") {
        Value::Object(fields) => fields,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::api::PeerStats;
    use serde_json::json;

    fn example(state: StreamerState) -> Streamer {
        serde_json::from_value(json!({
            "id": "agent-1", "state": state, "since": "2025-10-15T04:54:53.5Z", "reason": null,
            "created": "2025-10-15T04:54:53.123456789Z", "exit": null, "slots": [], "stats": null,
            "spec": {"source": {"type": "test", "width": 1920, "height": 1080, "fps": 60}},
            "peers": [
                {"id": "01890a5d-ac96-774b-bcce-b302099a8057", "kind": "native", "role": "viewer",
                 "state": "connected", "joined": "2025-10-15T05:00:00Z", "stats": PeerStats::default()},
                {"id": "01890a5d-ac96-774b-bcce-b302099a8058", "kind": "native", "role": "viewer",
                 "state": "connecting", "joined": "2025-10-15T05:00:01Z", "stats": PeerStats::default()},
            ],
        }))
        .unwrap()
    }

    #[test]
    fn its_fields_stand_beside_ours() {
        let ours = example(StreamerState::Running);
        let shown = streamer(&ours);
        for (field, value) in [
            ("streamer_id", json!("agent-1")),
            ("status", json!("active")),
            ("moonlight_connected", json!(true)),
            ("connected_peers", json!(1)),
            ("width", json!(1920)),
            ("height", json!(1080)),
            ("fps", json!(60)),
            ("created_at", json!("2025-10-15T04:54:53.123456789Z")),
        ] {
            assert_eq!(shown[field], value, "{field}");
        }
        assert_eq!(shown["peers"][0]["peer_id"], shown["peers"][0]["id"]);
        assert_eq!(shown["peers"][1]["connected_at"], json!("2025-10-15T05:00:01Z"));
        assert_eq!(serde_json::from_value::<Streamer>(shown).unwrap(), ours, "ours is all there");
        let list = streamers(&StreamerList { streamers: vec![ours], next: None });
        assert_eq!(list["streamers"][0]["status"], "active");
    }

    #[test]
    fn five_states_are_three_words() {
        for (state, status) in [
            (StreamerState::Starting, "starting"),
            (StreamerState::Restarting, "starting"),
            (StreamerState::Running, "active"),
            (StreamerState::Failed, "failed"),
            (StreamerState::Stopping, "failed"),
        ] {
            let shown = streamer(&example(state));
            assert_eq!(
                (&shown["status"], &shown["moonlight_connected"]),
                (&json!(status), &json!(status == "active"))
            );
        }
    }

    #[test]
    fn a_refusal_has_its_text_where_it_is_looked_for() {
        let refused = crate::http::problem::ApiError::NoRoute.problem("r");
        let shown = problem(&refused);
        assert_eq!((&shown["error"], &shown["code"]), (&shown["detail"], &json!("route_not_found")));
    }
}
