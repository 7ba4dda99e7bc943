//! `session/slots`: what slots show, to everybody and to peers that have chosen for themselves.

use super::*;
use common::signal::SlotState;

use crate::peer::{PeerCommand, SlotChoice};

/// The states of a slot that a peer was told, with the stream, the error and the request.
type State<'a> = (SlotState, &'a str, Option<&'a str>, Option<&'a str>);

fn states(stage: &Stage, peer: PeerId, of: SlotIndex) -> Vec<State<'_>> {
    let told = stage.told(peer).into_iter();
    let states = told.filter_map(|message| match message {
        ServerMessage::SlotStatus { slot, stream, status, error, request_id, .. } if *slot == of => {
            Some((*status, stream.as_str(), error.as_deref(), request_id.as_deref()))
        }
        _ => None,
    });
    states.collect()
}

/// What a shard was told that a peer sees in a slot.
#[derive(Debug, PartialEq)]
enum Sees {
    /// What everybody sees.
    Followed,
    /// What it has chosen.
    Own(Option<FeedId>),
}

fn switches(stage: &Stage) -> Vec<(SlotIndex, Sees)> {
    let switches = stage.commands.iter().filter_map(|(_, command)| match command {
        Command::Peer { command: PeerCommand::Switch { slot, own: SlotChoice::Follow }, .. } => {
            Some((*slot, Sees::Followed))
        }
        Command::Peer { command: PeerCommand::Switch { slot, own: SlotChoice::Own(binding) }, .. } => {
            Some((*slot, Sees::Own(binding.map(|binding| binding.video))))
        }
        _ => None,
    });
    switches.collect()
}

fn switch(slot: SlotIndex, stream: &str, quality: &str, request: &str) -> ClientMessage {
    ClientMessage::Switch {
        slot,
        stream: stream.to_owned(),
        quality: quality.to_owned(),
        request_id: Some(request.to_owned()),
    }
}

#[test]
fn a_slot_keeps_what_it_shows_until_its_successor_has_a_picture() {
    let mut stage = Stage::new(TWO);
    stage.request(request::StartSource);
    stage.runs("main");
    stage.forget();
    let bound = stage.request(bind(Some(0), "second", ""));
    stage.source_started("second");
    assert!(!stage.is_replied(&bound));
    assert_eq!(stage.bound(0), []);
    assert_eq!(stage.session.slots[&0].shown.source, "main");
    // Meanwhile the slot is kept for it.
    let other = stage.request(bind(Some(0), "main", ""));
    assert_eq!(stage.reply(&other).map(drop), Err("slot_busy"));
    stage.event("second", Event::Started);
    assert_eq!(stage.reply(&bound).unwrap().0.source, "second");
    assert_eq!(stage.bound(0), [Some(stage.feed("second"))]);
}

#[test]
fn what_comes_from_elsewhere_is_bound_at_once() {
    let mut stage = Stage::running(CAMERAS);
    let peer = stage.connect(Role::Viewer, 1);
    stage.forget();
    let bound = stage.request(bind(Some(0), "camera1", ""));
    let info = stage.reply(&bound).unwrap().0;
    assert_eq!((info.source.as_str(), info.width), ("camera1", None));
    assert_eq!(stage.bound(0), [Some(stage.feed("camera1"))]);
    assert!(matches!(stage.told(peer)[..], [ServerMessage::StreamActivated { .. }]));
    stage.forget();
    stage.runs("camera1");
    let [ServerMessage::StreamUpdated { stream_info }] = stage.told(peer)[..] else {
        panic!("{:?}", stage.said)
    };
    assert_eq!((stream_info.width, stream_info.height), (Some(640), Some(360)));
}

#[test]
fn a_binding_that_cannot_be_is_refused_and_changes_nothing() {
    let mut stage = Stage::running(r#"{"source": {"type": "test"}, "slots": 2}"#);
    let window = r#"{"type": "window", "window_id": 7}"#;
    for (request, code) in [
        (bind(Some(2), "main", ""), "slot_not_found"),
        (bind(Some(1), "nothing", ""), "stream_not_found"),
        (bind(Some(1), "main", "much"), "stream_not_found"),
        (bind_new(Some(1), window), "no_desktop"),
        (bind_new(Some(1), r#"{"type": "rtsp", "url": "nonsense"}"#), "invalid_source"),
    ] {
        let bound = stage.request(request);
        assert_eq!(stage.reply(&bound).map(drop), Err(code));
    }
    assert_eq!(stage.bound(1), []);
    assert_eq!(stage.session.sources.all().len(), 1);
    let free = stage.request(bind(None, "main", ""));
    assert_eq!(stage.reply(&free).unwrap().0.slot, 1);
    let none = stage.request(bind(None, "main", ""));
    assert_eq!(stage.reply(&none).map(drop), Err("no_free_slot"));
}

#[test]
fn a_cleared_slot_shows_nothing_and_those_who_chose_what_it_showed_keep_it() {
    let mut stage = Stage::running(TWO);
    let peer = stage.connect(Role::Viewer, 1);
    stage.signal(peer, switch(0, "second", "", "a"));
    stage.forget();
    let cleared = stage.request(request::ClearSlot { slot: 0 });
    assert_eq!(stage.reply(&cleared), Ok(()));
    assert_eq!(stage.bound(0), [None]);
    assert!(matches!(stage.told(peer)[..], [ServerMessage::StreamDeactivated { reason: None, .. }]));
    assert_eq!(switches(&stage), []);
    stage.forget();
    let cleared = stage.request(request::ClearSlot { slot: 0 });
    assert_eq!(stage.reply(&cleared), Ok(()), "it shows nothing already");
    assert!(stage.commands.is_empty() && stage.said.is_empty());
    let cleared = stage.request(request::ClearSlot { slot: 200 });
    assert_eq!(stage.reply(&cleared), Err("slot_not_found"));
}

#[test]
fn a_peer_switches_for_itself_and_is_told_with_its_request() {
    let mut stage = Stage::running(TWO);
    let peer = stage.connect(Role::Viewer, 1);
    let second = stage.feed("second");
    stage.forget();
    stage.signal(peer, switch(0, "second", "", "a"));
    assert_eq!(switches(&stage), [(0, Sees::Own(Some(second)))]);
    assert_eq!(stage.bound(0), [], "everybody else sees what they saw");
    stage.report(Report::Slot { peer, slot: 0, state: SlotState::Pending });
    stage.report(Report::Slot { peer, slot: 0, state: SlotState::Active });
    stage.report(Report::Slot { peer, slot: 0, state: SlotState::Offline });
    assert_eq!(
        states(&stage, peer, 0),
        [
            (SlotState::Pending, "second", None, Some("a")),
            (SlotState::Active, "second", None, Some("a")),
            (SlotState::Offline, "second", None, None),
        ],
        "the request is answered once it is settled"
    );
    stage.forget();
    stage.signal(peer, switch(0, "", "", "b"));
    assert_eq!(switches(&stage), [(0, Sees::Followed)]);
    stage.report(Report::Slot { peer, slot: 0, state: SlotState::Active });
    assert_eq!(states(&stage, peer, 0), [(SlotState::Active, "main", None, Some("b"))]);
}

#[test]
fn a_switch_that_cannot_be_is_refused_with_its_request_and_changes_nothing() {
    let mut stage = Stage::running(r#"{"source": {"type": "test"}, "slots": 2}"#);
    let peer = stage.connect(Role::Viewer, 1);
    stage.forget();
    stage.signal(peer, switch(2, "main", "", "a"));
    assert!(matches!(stage.told(peer)[..],
        [ServerMessage::Error { code, request_id: Some(request), .. }] if code == "slot_not_found" && request == "a"));
    stage.forget();
    stage.signal(peer, switch(1, "nothing", "", "b"));
    assert_eq!(states(&stage, peer, 1), [(SlotState::Error, "nothing", Some("stream_not_found"), Some("b"))]);
    assert_eq!(switches(&stage), []);
}

#[test]
fn who_chose_a_source_sees_what_everybody_does_when_it_is_removed() {
    let mut stage = Stage::running(TWO);
    let peer = stage.connect(Role::Viewer, 1);
    stage.request(bind(Some(1), "second", ""));
    stage.signal(peer, switch(0, "second", "", "a"));
    stage.forget();
    stage.request(request::RemoveSource { name: "second".into() });
    assert_eq!(switches(&stage), [(0, Sees::Followed)]);
    assert_eq!(stage.bound(1), [None]);
    assert_eq!(stage.bound(0), []);
}

#[test]
fn a_rendition_has_a_feed_of_its_own_and_runs_while_its_source_does() {
    let mut stage = Stage::running(TEST);
    stage.forget();
    let bound = stage.request(bind(Some(1), "main", "180p"));
    let info = stage.reply(&bound).unwrap().0;
    assert_eq!((info.source.as_str(), info.width, info.height), ("main-180p", Some(320), Some(180)));
    let rendition = stage.renditions.iter().find(|start| start.height == Some(180)).expect("it is started");
    let feed = rendition.feed.id;
    assert_eq!(stage.bound(1), [Some(feed)]);
    assert_ne!(feed, stage.feed("main"));
    stage.forget();
    // A second slot shows the same one.
    stage.request(bind(Some(2), "main", "180p"));
    assert_eq!(stage.bound(2), [Some(feed)]);
    assert!(stage.renditions.is_empty());
    // What is not smaller is the source itself.
    stage.request(bind(Some(3), "main", "360p"));
    assert_eq!(stage.bound(3), [Some(stage.feed("main"))]);
}
