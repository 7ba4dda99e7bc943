//! What peers publish.

use common::person::PeerRight;
use common::signal::PublishKind::{Camera, Microphone, Screen};

use super::*;
use crate::peer::publishing::Pictured;

/// No main source in a slot, and two slots.
const ROOM: &str = r#"{"source": {"type": "test"}, "share": false, "slots": 2}"#;

/// After this nobody has been heard lately.
const LONG: Duration = Duration::from_secs(10);

impl Stage {
    /// A peer that is connected, and may publish.
    fn publisher(&mut self, socket: u64, name: Option<&str>) -> PeerId {
        self.publisher_as(Role::Viewer, socket, name)
    }

    /// The same, with a role.
    pub(super) fn publisher_as(&mut self, role: Role, socket: u64, name: Option<&str>) -> PeerId {
        let display_name = name.map(str::to_owned);
        let person = Person { display_name, rights: [PeerRight::Publish].into(), ..Person::default() };
        let capabilities = Capabilities::default();
        let join =
            Join::Native { resume: None, socket, role, capabilities, ticket: Ticket::default(), person };
        let added = self.request(request::AddPeer { join: Json(join) });
        let peer = self.reply(&added).unwrap().peer;
        self.report(Report::State { peer, state: PeerState::Connected });
        peer
    }

    pub(super) fn publish(&mut self, peer: PeerId, kind: PublishKind, name: Option<&str>) {
        self.signal(peer, ClientMessage::Publish { kind, name: name.map(str::to_owned) });
    }

    /// What a peer was told of what it publishes.
    fn publications(&self, peer: PeerId) -> Vec<(PublishKind, &str, Option<SlotIndex>)> {
        let told = self.told(peer).into_iter().filter_map(|message| match message {
            ServerMessage::Published { kind, source, slot } => Some((*kind, source.as_str(), *slot)),
            _ => None,
        });
        told.collect()
    }

    fn sources_shown(&self) -> Vec<(SlotIndex, &str)> {
        self.session.slots.iter().map(|(slot, bound)| (*slot, bound.info.source.as_str())).collect()
    }
}

#[test]
fn a_camera_and_a_microphone_are_one_source_and_a_screen_is_another() {
    let mut stage = Stage::running(ROOM);
    let ann = stage.publisher(1, Some("Ann B."));
    stage.publish(ann, Camera, None);
    stage.publish(ann, Microphone, None);
    stage.publish(ann, Screen, Some("Ann B."));
    assert_eq!(stage.published, [(ann, 0, Camera), (ann, 0, Microphone), (ann, 0, Screen)]);
    assert_eq!(stage.sources_shown(), [(0, "ann-b"), (1, "ann-b-screen")]);
    assert_eq!(
        stage.publications(ann),
        [(Camera, "ann-b", Some(0)), (Microphone, "ann-b", Some(0)), (Screen, "ann-b-screen", Some(1))]
    );
    let info = &stage.session.slots[&0].info;
    assert!(info.publisher == Some(ann) && info.audio_mid.is_some() && info.width.is_none());
    // Repeated, it is told again and nothing else happens.
    stage.forget();
    stage.publish(ann, Camera, None);
    assert_eq!(stage.publications(ann), [(Camera, "ann-b", Some(0))]);
    assert!(stage.published.is_empty() && stage.commands.is_empty());
}

#[test]
fn pictures_are_known_once_there_are_some() {
    let mut stage = Stage::running(ROOM);
    let ann = stage.publisher(1, None);
    stage.publish(ann, Camera, Some("ann"));
    let state = |stage: &Stage| stage.session.sources.get("ann").unwrap().is_running();
    assert!(!state(&stage));
    let size = Some(Size { width: 640, height: 360 });
    stage.report(Report::Pictured {
        peer: ann,
        pictured: Pictured { kind: Camera, codec: VideoCodec::VP8, size },
    });
    assert!(state(&stage));
    let info = &stage.session.slots[&0].info;
    assert_eq!((info.width, info.height, info.codec), (Some(640), Some(360), Some(VideoCodec::VP8)));
}

#[test]
fn slots_go_to_those_that_wait_in_the_order_in_which_they_came() {
    let mut stage = Stage::running(ROOM);
    let peers: Vec<_> = (1..=4).map(|socket| stage.publisher(socket, None)).collect();
    for (n, peer) in peers.iter().enumerate() {
        stage.publish(*peer, Camera, Some(&format!("p{n}")));
    }
    assert_eq!(stage.sources_shown(), [(0, "p0"), (1, "p1")]);
    assert_eq!(stage.publications(peers[3]), [(Camera, "p3", None)]);
    stage.report(Report::Gone { peer: peers[0], reason: "gone".into() });
    assert_eq!(stage.sources_shown(), [(0, "p2"), (1, "p1")]);
    assert_eq!(stage.publications(peers[2]), [(Camera, "p2", None), (Camera, "p2", Some(0))]);
    stage.report(Report::State { peer: peers[1], state: PeerState::Lost });
    assert_eq!(stage.sources_shown(), [(0, "p2"), (1, "p3")]);
    let lost = stage
        .told(peers[1])
        .into_iter()
        .any(|message| matches!(message, ServerMessage::Unpublished { kind: Camera, reason: Some(_) }));
    assert!(lost);
    assert!(stage.session.sources.get("p0").is_none() && stage.session.sources.get("p1").is_none());
}

#[test]
fn what_ends_a_publication_frees_its_slot() {
    for end in 0..4 {
        let mut stage = Stage::running(ROOM);
        let ann = stage.publisher(1, None);
        stage.publish(ann, Camera, Some("ann"));
        stage.publish(ann, Microphone, None);
        match end {
            0 => {
                stage.signal(ann, ClientMessage::Unpublish { kind: Camera });
                assert_eq!(stage.sources_shown(), [(0, "ann")], "its sound goes on");
                stage.signal(ann, ClientMessage::Unpublish { kind: Microphone });
            }
            1 => {
                let rights = Some([PeerRight::Chat].into());
                let updated = stage.request(request::UpdatePeer {
                    peer: ann,
                    role: None,
                    rights,
                    max_bitrate_kbps: None,
                    session_microphone: None,
                    session_camera: None,
                });
                assert_eq!(stage.reply(&updated), Ok(()));
            }
            2 => {
                let removed = stage.request(request::RemoveSource { name: "ann".into() });
                assert_eq!(stage.reply(&removed), Ok(()));
            }
            _ => stage.report(Report::Unpublishable { peer: ann, kind: Camera }),
        }
        if end < 3 {
            assert!(stage.sources_shown().is_empty(), "{end}");
            assert!(stage.session.sources.get("ann").is_none(), "{end}");
        } else {
            assert_eq!(stage.sources_shown(), [(0, "ann")]);
        }
    }
}

#[test]
fn who_has_no_right_or_no_connection_publishes_nothing() {
    let mut stage = Stage::running(ROOM);
    let viewer = stage.connect(Role::Controller, 1);
    stage.publish(viewer, Camera, None);
    let refused = |stage: &Stage, peer| {
        let told = stage.told(peer).into_iter().rev();
        let code = told.filter_map(|message| match message {
            ServerMessage::Error { code, .. } => Some(code.clone()),
            _ => None,
        });
        code.take(1).next()
    };
    assert_eq!(refused(&stage, viewer).as_deref(), Some("may_not_publish"));
    let ann = stage.publisher(2, None);
    stage.report(Report::State { peer: ann, state: PeerState::Lost });
    stage.publish(ann, Camera, None);
    assert!(refused(&stage, ann).is_some());
    assert!(stage.published.is_empty());
}

#[test]
fn a_name_that_is_taken_gets_a_number() {
    let mut stage = Stage::running(ROOM);
    let [ann, other, nameless] = [1, 2, 3].map(|socket| stage.publisher(socket, None));
    for peer in [ann, other] {
        stage.publish(peer, Camera, Some("Anna"));
    }
    stage.publish(nameless, Camera, Some("\u{65e5}"));
    assert_eq!(stage.sources_shown(), [(0, "anna"), (1, "anna-2")]);
    let name = format!("peer-{}", &nameless.to_string()[..8]);
    assert_eq!(stage.publications(nameless), [(Camera, name.as_str(), None)]);
}

#[test]
fn who_speaks_gets_the_slot_of_whoever_has_been_silent_for_the_longest() {
    let mut stage = Stage::running(ROOM);
    let peers: Vec<_> = (1..=3).map(|socket| stage.publisher(socket, None)).collect();
    for (n, peer) in peers.iter().enumerate() {
        stage.publish(*peer, Camera, Some(&format!("p{n}")));
        stage.publish(*peer, Microphone, None);
    }
    let speak =
        |stage: &mut Stage, n: usize, speaking| stage.report(Report::Speaking { peer: peers[n], speaking });
    speak(&mut stage, 2, true);
    assert_eq!(stage.sources_shown(), [(0, "p0"), (1, "p1")], "they have only just been shown");
    speak(&mut stage, 2, false);
    stage.pass(LONG);
    speak(&mut stage, 0, true);
    speak(&mut stage, 2, true);
    assert_eq!(stage.sources_shown(), [(0, "p0"), (1, "p2")]);
    assert_eq!(stage.publications(peers[1]).last(), Some(&(Microphone, "p1", None)));
    assert_eq!(stage.publications(peers[2]).last(), Some(&(Microphone, "p2", Some(1))));
    // Nobody is silent, or has been for long.
    speak(&mut stage, 0, false);
    speak(&mut stage, 1, true);
    assert_eq!(stage.sources_shown(), [(0, "p0"), (1, "p2")]);
    stage.pass(LONG);
    speak(&mut stage, 1, true);
    assert_eq!(stage.sources_shown(), [(0, "p1"), (1, "p2")]);
    // A screen stays where it is.
    stage.publish(peers[0], Screen, Some("p0"));
    stage.report(Report::Gone { peer: peers[2], reason: "gone".into() });
    assert_eq!(stage.sources_shown(), [(0, "p1"), (1, "p0")]);
    stage.signal(peers[0], ClientMessage::Unpublish { kind: Camera });
    stage.signal(peers[0], ClientMessage::Unpublish { kind: Microphone });
    assert_eq!(stage.sources_shown(), [(0, "p1"), (1, "p0-screen")]);
    stage.pass(LONG);
    let late = stage.publisher(4, None);
    stage.publish(late, Microphone, Some("late"));
    stage.report(Report::Speaking { peer: late, speaking: true });
    assert_eq!(stage.sources_shown(), [(0, "p1"), (1, "p0-screen")], "the other one speaks");
}
