//! `session/{join,signaling,reports,participants}`: how peers join, what they may do, and how they leave and come back.

use common::control::{ControlChange, ControlMode};
use common::ipc::{IcePatch, Ticket};
use common::signal::SlotState;
use common::slots::SlotConfig;

use super::*;
use crate::peer::{Audience, Begin, PeerCommand, Srtp};

const OFFER: &str = "v=0\r\n";

fn whep() -> request::AddPeer {
    request::AddPeer { join: Json(Join::Whep { offer: OFFER.to_owned(), ticket: Ticket::default() }) }
}

fn multistream(session: &str, socket: u64, streams: &[&str]) -> request::AddPeer {
    let config = |(slot, stream): (SlotIndex, &&str)| SlotConfig {
        slot,
        stream: (*stream).to_owned(),
        quality: String::new(),
    };
    let slots = (0..).zip(streams).map(config).collect();
    let join = Join::Multistream {
        offer: OFFER.to_owned(),
        slots,
        session: session.to_owned(),
        socket,
        ticket: Ticket::default(),
    };
    request::AddPeer { join: Json(join) }
}

fn patch(peer: PeerId) -> request::PatchPeer {
    let patch = IcePatch { sessions: None, ufrag: "u".into(), pwd: "p".into(), candidates: Vec::new() };
    request::PatchPeer { peer, patch: Json(patch) }
}

/// How shards were told to begin with peers.
fn joins(stage: &Stage) -> Vec<(usize, &Begin)> {
    let commands = stage.commands.iter();
    let joins = commands.filter_map(|(shard, command)| match command {
        Command::Join { begin, .. } => Some((*shard, begin)),
        _ => None,
    });
    joins.collect()
}

/// Whom shards were told to end, and why.
fn removed(stage: &Stage) -> Vec<(PeerId, &str)> {
    let commands = stage.commands.iter();
    let removed = commands.filter_map(|(_, command)| match command {
        Command::Remove { peer, reason } => Some((*peer, reason.as_str())),
        _ => None,
    });
    removed.collect()
}

/// The welcome that a peer got: its resume token, its role, and whether it was resumed.
fn welcome(stage: &Stage, peer: PeerId) -> (String, Role, bool) {
    let welcome = stage.told(peer).into_iter().find_map(|message| match message {
        ServerMessage::Welcome { resume_token, role, resumed, .. } => {
            Some((resume_token.clone(), *role, *resumed))
        }
        _ => None,
    });
    welcome.expect("a welcome")
}

#[test]
fn a_native_peer_is_welcomed_before_its_offer_is_asked_for() {
    let mut stage = Stage::running(TEST);
    let peer = stage.join(Role::Controller, 1);
    assert_eq!(joins(&stage), [(0, &Begin::Offer { preallocated: true, publishes: false })]);
    let (_, role, resumed) = welcome(&stage, peer);
    assert_eq!((role, resumed), (Role::Controller, false));
    assert!(stage.told(peer).iter().any(|message| matches!(message,
        ServerMessage::StreamsInfo { streams } if streams.len() == 1 && streams[0].source == "main")));
    stage.forget();
    stage.report(Report::Offer { peer, sdp: OFFER.into(), sections: None });
    assert!(matches!(stage.told(peer)[..], [ServerMessage::Offer { .. }]));
}

#[test]
fn a_player_that_offers_is_answered_when_its_shard_has_an_answer_or_refuses_the_offer() {
    let mut stage = Stage::running(TEST);
    for (result, expected) in [
        (Ok("answer".to_owned()), Ok(Some("answer".to_owned()))),
        (Err(RequestError::new(Code::BadOffer, "no video")), Err("bad_offer")),
    ] {
        stage.forget();
        let added = stage.request(whep());
        assert!(!stage.is_replied(&added));
        let peer = stage.session.peers.list()[0].id;
        let accepted = result.is_ok();
        stage.report(Report::Answer { peer, result });
        assert_eq!(stage.reply(&added).map(|added| added.answer), expected);
        assert_eq!(stage.session.peers.len(), usize::from(accepted));
        stage.report(Report::Gone { peer, reason: "done".into() });
        assert_eq!(stage.session.peers.len(), 0);
    }
    let added = stage.request(whep());
    let peer = stage.session.peers.list()[0].id;
    stage.report(Report::Gone { peer, reason: "it did not connect".into() });
    assert_eq!(stage.reply(&added).map(drop), Err("join_failed"), "gone before it was answered");
}

#[test]
fn an_offer_beyond_the_bounds_makes_no_peer() {
    let mut stage = Stage::running(TEST);
    let offer = "a".repeat(common::sdp::MAX_BYTES + 1);
    let added =
        stage.request(request::AddPeer { join: Json(Join::Whep { offer, ticket: Ticket::default() }) });
    assert_eq!(stage.reply(&added).map(drop), Err("bad_offer"));
    assert_eq!(stage.session.peers.len(), 0);
    assert_eq!(joins(&stage), []);
}

#[test]
fn a_client_with_slots_of_its_own_is_told_of_each_once_it_has_its_answer() {
    let mut stage = Stage::running(CAMERAS);
    let added = stage.request(multistream("secret", 1, &["camera1", "nothing", ""]));
    assert_eq!(stage.take_started(), ["camera1"]);
    let peer = stage.session.peers.list()[0].id;
    assert!(stage.told(peer).iter().all(|message| !matches!(message, ServerMessage::SlotStatus { .. })));
    stage.report(Report::Answer { peer, result: Ok("answer".into()) });
    assert!(stage.is_replied(&added));
    let told = stage.told(peer).into_iter().filter_map(|message| match message {
        ServerMessage::SlotStatus { slot, status, error, .. } => Some((*slot, *status, error.as_deref())),
        _ => None,
    });
    let told: Vec<_> = told.collect();
    assert_eq!(
        told,
        [
            (0, SlotState::Pending, None),
            (1, SlotState::Error, Some("stream_not_found")),
            (2, SlotState::Inactive, None)
        ]
    );
}

#[test]
fn one_peer_more_than_the_most_is_refused_and_counted() {
    let mut stage = Stage::with(TEST, 1, Settings { max_peers: 2, ..Settings::default() });
    let first = stage.join(Role::Viewer, 1);
    stage.join(Role::Viewer, 2);
    let added = stage.request(native(Role::Viewer, 3, None));
    assert_eq!(stage.reply(&added).map(drop), Err("too_many_peers"));
    stage.tick();
    stage.report(Report::Stats { shard: 0, network: NetworkStats::default(), peers: Vec::new() });
    assert_eq!(stage.heartbeats[0].peers_refused, 1);
    stage.report(Report::Gone { peer: first, reason: "done".into() });
    stage.join(Role::Viewer, 3);
}

#[test]
fn peers_go_to_the_shard_that_has_the_fewest() {
    let mut stage = Stage::with(TEST, 3, Settings::default());
    let first = stage.join(Role::Viewer, 1);
    for socket in 2..=6 {
        stage.join(Role::Viewer, socket);
    }
    let shards: Vec<_> = joins(&stage).iter().map(|(shard, _)| *shard).collect();
    assert_eq!(shards, [0, 1, 2, 0, 1, 2]);
    stage.report(Report::Gone { peer: first, reason: "done".into() });
    stage.forget();
    stage.join(Role::Viewer, 7);
    assert_eq!(joins(&stage)[0].0, 0);
}

#[test]
fn a_player_without_aes_gcm_gets_both_profiles() {
    for (gcm, expected) in [(true, Srtp::Gcm), (false, Srtp::Any)] {
        let mut stage = Stage::running(TEST);
        let capabilities = Capabilities { srtp_gcm: gcm, ..Capabilities::default() };
        let join = Join::Native {
            resume: None,
            socket: 1,
            role: Role::Viewer,
            capabilities,
            ticket: Ticket::default(),
            person: Person::default(),
        };
        stage.request(request::AddPeer { join: Json(join) });
        assert!(
            stage
                .commands
                .iter()
                .any(|(_, command)| matches!(command, Command::Join { srtp, .. } if *srtp == expected))
        );
    }
}

#[test]
fn a_role_that_is_taken_away_takes_control_along() {
    let mut stage = Stage::running(TEST);
    let [a, b] = [1, 2].map(|socket| stage.connect(Role::Controller, socket));
    let exclusive = ControlChange { mode: Some(ControlMode::Exclusive), holder: Some(a), release: false };
    let changed = stage.request(request::ChangeControl { change: Json(exclusive) });
    assert_eq!(stage.reply(&changed).unwrap().0.holder, Some(a));
    stage.signal(b, ClientMessage::ControlRequest);
    stage.forget();
    let updated = stage.request(request::UpdatePeer {
        peer: a,
        role: Some(Role::Viewer),
        rights: None,
        max_bitrate_kbps: None,
        session_microphone: None,
        session_camera: None,
    });
    assert_eq!(stage.reply(&updated), Ok(()));
    assert!(stage.told(a).contains(&&ServerMessage::Role { role: Role::Viewer }));
    assert_eq!(stage.session.control.control().holder, Some(b), "who asked first has it now");
    let told = |(_, command): &(usize, Command)| matches!(command, Command::Control(control) if control.holder == Some(b));
    assert!(stage.commands.iter().any(told));
    stage.signal(a, ClientMessage::ControlTake);
    assert!(stage.told(a).iter().any(|message| matches!(message,
        ServerMessage::Error { code, .. } if code == "not_a_controller")));
    let unknown = stage.request(request::UpdatePeer {
        peer: PeerId::unique(),
        role: Some(Role::Viewer),
        rights: None,
        max_bitrate_kbps: None,
        session_microphone: None,
        session_camera: None,
    });
    assert_eq!(stage.reply(&unknown), Err("peer_not_found"));
}

#[test]
fn a_peer_that_says_goodbye_is_ended_and_everybody_is_told_when_it_is_gone() {
    let mut stage = Stage::running(TEST);
    let [a, b] = [1, 2].map(|socket| stage.connect(Role::Controller, socket));
    stage.pass(Duration::from_secs(1));
    stage.forget();
    stage.signal(a, ClientMessage::Bye);
    assert_eq!(removed(&stage), [(a, "the peer said goodbye")]);
    assert_eq!(stage.session.peers.len(), 2);
    stage.report(Report::Gone { peer: a, reason: "goodbye".into() });
    assert!(
        stage.said.iter().any(|said| matches!(said, StreamerIpcMessage::PeerGone { peer, .. } if *peer == a))
    );
    assert!(stage.told(b).iter().any(|message| matches!(message,
        ServerMessage::Participants { participants } if participants.len() == 1)));
    stage.forget();
    // What it says too late is no error.
    stage.signal(a, ClientMessage::Keyframe { slot: 0 });
    stage.report(Report::Gone { peer: a, reason: "goodbye".into() });
    assert!(stage.said.is_empty() && stage.commands.is_empty());
}

#[test]
fn a_peer_resumes_with_its_token_and_never_gets_more_rights_than_it_had() {
    for (had, wants, expected) in [
        (Role::Controller, Role::Controller, Role::Controller),
        (Role::Controller, Role::Viewer, Role::Viewer),
        (Role::Viewer, Role::Controller, Role::Viewer),
    ] {
        let mut stage = Stage::running(TEST);
        let peer = stage.connect(had, 1);
        let (token, ..) = welcome(&stage, peer);
        stage.session.tell_received(stage.now, Tell::DetachPeer { peer, socket: 1 });
        stage.forget();
        let added = stage.request(native(wants, 2, Some(token.clone())));
        assert_eq!(stage.reply(&added).unwrap().peer, peer);
        assert_eq!(welcome(&stage, peer), (token, expected, true));
        assert_eq!(stage.session.peers.get(peer).unwrap().peer.role, expected);
        assert_eq!(joins(&stage), [], "its connection goes on");
        let told = |(_, command): &(usize, Command)| {
            matches!(command, Command::Peer { command: PeerCommand::ReportSlots, .. })
        };
        assert!(stage.commands.iter().any(told));
        stage.forget();
        let added = stage.request(native(wants, 3, Some("another".into())));
        assert_ne!(stage.reply(&added).unwrap().peer, peer);
    }
}

#[test]
fn a_detached_peer_is_ended_when_its_connection_is_down_and_nobody_came_back_for_it() {
    let mut stage = Stage::running(TEST);
    let up = stage.connect(Role::Viewer, 1);
    let down = stage.join(Role::Viewer, 2);
    for (peer, socket) in [(up, 1), (down, 2)] {
        stage.session.tell_received(stage.now, Tell::DetachPeer { peer, socket });
    }
    stage.forget();
    stage.pass(Duration::from_millis(29_900));
    stage.tick();
    assert_eq!(removed(&stage), []);
    stage.pass(Duration::from_millis(100));
    stage.tick();
    assert_eq!(removed(&stage), [(down, "nobody came back for it")]);
}

#[test]
fn a_multistream_client_comes_back_by_its_session_or_is_refused() {
    let mut stage = Stage::running(CAMERAS);
    stage.request(multistream("secret", 1, &["camera1"]));
    let peer = stage.session.peers.list()[0].id;
    stage.report(Report::Answer { peer, result: Ok("answer".into()) });
    stage.report(Report::State { peer, state: PeerState::Connected });
    let resume = |session: &str| {
        let join = Join::ResumeMultistream { session: session.to_owned(), socket: 2 };
        request::AddPeer { join: Json(join) }
    };
    let added = stage.request(resume("secret"));
    assert_eq!(stage.reply(&added).unwrap().peer, peer);
    let added = stage.request(resume("another"));
    assert_eq!(stage.reply(&added).map(drop), Err("session_not_found"));
}

#[test]
fn everybody_is_told_who_watches_at_once_and_then_at_most_every_tenth_of_a_second() {
    let mut stage = Stage::running(TEST);
    let peer = stage.join(Role::Viewer, 1);
    let counts = |stage: &Stage| {
        let count = |message: &ServerMessage| match message {
            ServerMessage::Participants { participants } => Some(participants.len()),
            _ => None,
        };
        stage.told(peer).into_iter().filter_map(count).collect::<Vec<_>>()
    };
    assert_eq!(counts(&stage), [1]);
    stage.join(Role::Viewer, 2);
    stage.join(Role::Viewer, 3);
    assert_eq!(counts(&stage), [1]);
    let due = stage.session.announcement_due(stage.now).unwrap();
    assert_eq!(due - stage.now.instant, Duration::from_millis(100));
    stage.pass(Duration::from_millis(100));
    stage.session.announce(stage.now);
    stage.collect();
    assert_eq!(counts(&stage), [1, 3]);
    assert_eq!(stage.session.announcement_due(stage.now), None);
}

#[test]
fn patches_of_a_player_are_answered_in_their_order_and_bounded() {
    let mut stage = Stage::running(TEST);
    stage.request(whep());
    let peer = stage.session.peers.list()[0].id;
    let patches: Vec<_> = (0..8).map(|_| stage.request(patch(peer))).collect();
    let one_more = stage.request(patch(peer));
    assert_eq!(stage.reply(&one_more).map(drop), Err("busy"));
    stage.report(Report::Patched { peer, result: Ok(Some("restarted".into())) });
    let mismatch = RequestError::new(Code::IceSessionMismatch, "another");
    stage.report(Report::Patched { peer, result: Err(mismatch) });
    assert_eq!(stage.reply(&patches[0]).unwrap().answer.as_deref(), Some("restarted"));
    assert_eq!(stage.reply(&patches[1]).map(drop), Err("ice_session_mismatch"));
    assert!(!stage.is_replied(&patches[2]));
    stage.report(Report::Gone { peer, reason: "done".into() });
    for waiting in &patches[2..] {
        assert_eq!(stage.reply(waiting).map(drop), Err("peer_not_found"));
    }
    let native = stage.connect(Role::Viewer, 1);
    let refused = stage.request(patch(native));
    assert_eq!(stage.reply(&refused).map(drop), Err("peer_not_found"), "it came by another way");
}

#[test]
fn an_adopted_session_has_lost_its_websockets_and_not_its_peers() {
    let mut stage = Stage::running(TEST);
    let peer = stage.connect(Role::Controller, 1);
    let down = stage.join(Role::Viewer, 2);
    let state = stage.session.adopted(stage.now);
    assert_eq!(state.peers.len(), 2);
    assert_eq!(state.slots.len(), 1);
    assert!(state.running_since.is_some());
    stage.forget();
    stage.pass(Duration::from_secs(30));
    stage.tick();
    assert_eq!(removed(&stage), [(down, "nobody came back for it")]);
    assert!(stage.session.peers.get(peer).is_some());
}

#[test]
fn the_pointer_of_one_peer_is_shown_to_all_others() {
    let mut stage = Stage::running(TEST);
    let peer = stage.connect(Role::Controller, 1);
    for (by, expected) in [(Actor::Peer(peer), Audience::AllBut(peer)), (Actor::Api, Audience::All)] {
        stage.forget();
        let at = common::input::Position { x: 1.0, y: 2.0 };
        let notice = input::PointerNotice { at, slot: 0, by };
        stage.session.input_notice(input::Notice::Pointer(notice));
        stage.collect();
        assert!(matches!(&stage.commands[..], [(0, Command::Say { to, .. })] if *to == expected));
    }
}
