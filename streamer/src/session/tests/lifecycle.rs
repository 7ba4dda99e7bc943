//! `session/lifecycle`: how sources start, fail, end and start again.

use super::*;
use crate::source::Ended;

/// What the web-server was told of the loss of the main source.
fn lost(stage: &Stage) -> Vec<&str> {
    let lost = stage.said.iter().filter_map(|said| match said {
        StreamerIpcMessage::SourceLost { reason } => Some(reason.as_str()),
        _ => None,
    });
    lost.collect()
}

fn is_connected(stage: &Stage) -> bool {
    stage.said.contains(&StreamerIpcMessage::SourceConnected)
}

#[test]
fn a_session_runs_once_its_main_source_is_started_and_has_given_a_picture_in_whichever_order() {
    for keyframe_first in [false, true] {
        let mut stage = Stage::new(TEST);
        let start = stage.request(request::StartSource);
        assert_eq!(stage.take_started(), ["main"]);
        if keyframe_first {
            stage.event("main", Event::Started);
        } else {
            stage.source_started("main");
        }
        assert!(!stage.is_replied(&start) && !is_connected(&stage), "half of it is not enough");
        assert_eq!(stage.bound(0), []);
        stage.pass(Duration::from_millis(300));
        if keyframe_first {
            stage.source_started("main");
        } else {
            stage.event("main", Event::Started);
        }
        assert_eq!(stage.reply(&start), Ok(()));
        assert!(is_connected(&stage));
        assert_eq!(stage.bound(0), [Some(stage.feed("main"))]);
        stage.tick();
        stage.report(Report::Stats { shard: 0, network: NetworkStats::default(), peers: Vec::new() });
        assert_eq!(stage.heartbeats[0].first_frame_ms, Some(300));
    }
}

#[test]
fn a_session_without_a_main_source_runs_at_once_and_is_started_once() {
    let mut stage = Stage::new(CAMERAS);
    let start = stage.request(request::StartSource);
    assert_eq!(stage.reply(&start), Ok(()));
    assert_eq!(stage.take_started(), Vec::<SourceName>::new(), "nobody watches the cameras");
    let again = stage.request(request::StartSource);
    assert_eq!(stage.reply(&again), Err("already_started"));
}

#[test]
fn a_main_source_that_cannot_be_started_ends_the_session_and_says_why() {
    let host = Error::Host { code: Code::NoDesktop, message: "busy".into() };
    for (error, code) in [
        (Error::Command("sh: not found".into()), "command_failed"),
        (Error::NoWindow(7), "window_not_found"),
        (Error::Media("404".into()), "source_failed"),
        (host, "no_desktop"),
    ] {
        let mut stage = Stage::new(TEST);
        let start = stage.request(request::StartSource);
        let message = error.to_string();
        let reason = stage.source_failed("main", error);
        assert_eq!(stage.reply(&start), Err(code));
        assert_eq!(reason, Some(ExitReason::SourceFailed { message, code: Some(code.to_owned()) }));
    }
}

#[test]
fn the_session_ends_with_its_main_source_and_with_its_reason() {
    let why = || "why".to_owned();
    for (end, expected) in [
        (Ended::Finished(why()), ExitReason::Finished { message: why() }),
        (Ended::XServer(why()), ExitReason::XServerDied { message: why() }),
        (Ended::Command(why()), ExitReason::SourceEnded { message: why() }),
        (Ended::Failed(why()), ExitReason::SourceEnded { message: why() }),
    ] {
        let mut stage = Stage::running(TEST);
        assert_eq!(stage.event("main", Event::Ended(end)), Some(expected));
        assert_eq!(lost(&stage), ["why"]);
    }
}

#[test]
fn a_main_source_that_ends_before_its_first_picture_has_failed() {
    for (end, code) in
        [(Ended::Command("why".into()), "command_failed"), (Ended::Finished("why".into()), "source_failed")]
    {
        let mut stage = Stage::new(TEST);
        let start = stage.request(request::StartSource);
        stage.source_started("main");
        let reason = stage.event("main", Event::Ended(end));
        assert_eq!(stage.reply(&start), Err(code));
        let expected = ExitReason::SourceFailed { message: "why".into(), code: Some(code.to_owned()) };
        assert_eq!(reason, Some(expected));
    }
}

#[test]
fn an_absent_camera_is_waited_for_and_then_the_session_runs_without_it() {
    let mut stage = Stage::new(CAMERA);
    let start = stage.request(request::StartSource);
    stage.source_started("main");
    stage.event("main", Event::Offline("no route".into()));
    stage.pass(Duration::from_millis(19_900));
    stage.tick();
    assert!(!stage.is_replied(&start));
    stage.pass(Duration::from_millis(100));
    stage.tick();
    assert_eq!(stage.reply(&start), Ok(()));
    assert_eq!(lost(&stage).last(), Some(&"no route"));
    let last = stage.said.iter().rev().find(|said| {
        matches!(said, StreamerIpcMessage::SourceLost { .. } | StreamerIpcMessage::SourceConnected)
    });
    assert!(matches!(last, Some(StreamerIpcMessage::SourceLost { .. })), "it is not taken for connected");
    stage.forget();
    stage.event("main", Event::Started);
    assert!(is_connected(&stage) && lost(&stage).is_empty());
    assert_eq!(stage.online("main"), [true]);
}

#[test]
fn a_source_that_is_lost_and_back_is_said_to_be_offline_and_online() {
    let mut stage = Stage::running(CAMERA);
    stage.event("main", Event::Offline("no route".into()));
    assert_eq!(stage.online("main"), [false]);
    assert_eq!(lost(&stage), ["no route"]);
    stage.forget();
    stage.event("main", Event::Started);
    assert_eq!(stage.online("main"), [true]);
    assert!(is_connected(&stage));
    stage.forget();
    // Told before the news that it has been started, it is kept until then.
    let mut stage = Stage::new(CAMERA);
    stage.request(request::StartSource);
    stage.forget();
    stage.event("main", Event::Offline("no route".into()));
    assert_eq!(stage.online("main"), Vec::<bool>::new());
    stage.source_started("main");
    assert_eq!(stage.online("main"), [false]);
}

#[test]
fn a_source_that_nobody_wants_any_more_is_stopped_after_five_seconds_and_starts_anew() {
    let mut stage = Stage::running(CAMERAS);
    stage.connect(Role::Viewer, 1);
    stage.request(bind(Some(0), "camera1", ""));
    assert_eq!(stage.take_started(), ["camera1"]);
    stage.runs("camera1");
    let first = stage.key("camera1");
    stage.request(request::ClearSlot { slot: 0 });
    stage.pass(Duration::from_millis(4_900));
    stage.tick();
    assert_eq!(stage.living(), ["camera1"]);
    stage.pass(Duration::from_millis(100));
    stage.tick();
    assert!(stage.living().is_empty());
    stage.request(bind(Some(0), "camera1", ""));
    assert_eq!(stage.take_started(), ["camera1"]);
    assert_ne!(stage.key("camera1"), first);
    stage.forget();
    // What the first life says too late is not taken for news of the second one.
    stage.event_of(first, Event::Offline("no route".into()));
    assert_eq!(stage.online("camera1"), Vec::<bool>::new());
    stage.runs("camera1");
    assert_eq!(stage.living(), ["camera1"]);
}

#[test]
fn a_source_that_comes_up_when_nobody_wants_it_any_more_is_ended() {
    let mut stage = Stage::running(CAMERAS);
    stage.connect(Role::Viewer, 1);
    stage.request(bind(Some(0), "camera1", ""));
    let key = stage.key("camera1");
    let removed = stage.request(request::RemoveSource { name: "camera1".into() });
    assert_eq!(stage.reply(&removed), Ok(()));
    let source = stage.fake("camera1");
    assert_eq!(stage.session.started(stage.now, key, Ok(source)), None);
    stage.collect();
    assert!(stage.living().is_empty());
}

#[test]
fn a_named_source_that_ends_stays_in_its_slot_and_is_not_started_again_until_it_is_asked_for() {
    let mut stage = Stage::running(CAMERAS);
    stage.connect(Role::Viewer, 1);
    stage.request(bind(Some(0), "camera1", ""));
    stage.runs("camera1");
    stage.forget();
    assert_eq!(stage.event("camera1", Event::Ended(Ended::Failed("gone".into()))), None);
    assert_eq!(stage.online("camera1"), [false]);
    assert_eq!(stage.bound(0), [], "the slot keeps it");
    assert!(stage.living().is_empty());
    stage.pass(Duration::from_secs(60));
    stage.tick();
    assert_eq!(stage.take_started(), Vec::<SourceName>::new());
    stage.request(bind(Some(0), "camera1", ""));
    assert_eq!(stage.take_started(), ["camera1"]);
}

#[test]
fn a_source_that_was_made_for_a_slot_leaves_it_when_it_ends_and_goes_with_its_slot() {
    let mut stage = Stage::running(CAMERAS);
    let peer = stage.connect(Role::Viewer, 1);
    let bound = stage.request(bind_new(Some(1), r#"{"type": "rtsp", "url": "rtsp://h/3"}"#));
    assert_eq!(stage.reply(&bound).unwrap().0.source, "rtsp-1");
    stage.runs("rtsp-1");
    stage.forget();
    stage.event("rtsp-1", Event::Ended(Ended::Failed("gone".into())));
    assert_eq!(stage.bound(1), [None]);
    assert!(stage.told(peer).iter().any(|message| matches!(message,
        ServerMessage::StreamDeactivated { reason: Some(reason), .. } if reason == "gone")));
    assert_eq!(stage.session.sources.all().len(), 2);
    let removed = stage.commands.iter().filter(|(_, command)| matches!(command, Command::RemoveFeed { .. }));
    assert_eq!(removed.count(), 2, "its picture and its sound");
    // Cleared, it does the same.
    stage.request(bind_new(Some(1), r#"{"type": "rtsp", "url": "rtsp://h/3"}"#));
    stage.runs("rtsp-1");
    stage.request(request::ClearSlot { slot: 1 });
    assert!(stage.living().is_empty());
    assert_eq!(stage.session.sources.all().len(), 2);
}

#[test]
fn a_source_that_fails_to_start_refuses_all_who_wait_for_it() {
    let mut stage = Stage::running(TWO);
    stage.event("second", Event::Ended(Ended::Failed("gone".into())));
    let first = stage.request(bind(Some(1), "second", ""));
    let second = stage.request(bind(Some(2), "second", ""));
    assert_eq!(stage.take_started(), ["second"]);
    assert_eq!(stage.source_failed("second", Error::Media("404".into())), None);
    assert_eq!(stage.reply(&first).map(drop), Err("source_failed"));
    assert_eq!(stage.reply(&second).map(drop), Err("source_failed"));
    assert_eq!(stage.bound(1), []);
}

#[test]
fn sources_are_added_and_removed_by_name_within_bounds() {
    let mut stage = Stage::running(TEST);
    let spec: SourceSpec = serde_json::from_str(r#"{"type": "test"}"#).unwrap();
    let add = |name: &str| request::AddSource { name: name.to_owned(), source: Json(spec.clone()) };
    for (name, expected) in [
        ("second", Ok(())),
        ("second", Err("source_exists")),
        ("main", Err("invalid_source")),
        ("no name/", Err("invalid_source")),
    ] {
        let added = stage.request(add(name));
        assert_eq!(stage.reply(&added), expected, "{name}");
    }
    assert_eq!(stage.take_started(), ["second"], "a test picture is always on");
    for n in stage.session.sources.all().len()..common::spec::MAX_SOURCES {
        let added = stage.request(add(&format!("s{n}")));
        assert_eq!(stage.reply(&added), Ok(()));
    }
    let added = stage.request(add("one-too-many"));
    assert_eq!(stage.reply(&added), Err("too_many_sources"));
    for (name, expected) in
        [("second", Ok(())), ("second", Err("source_not_found")), ("main", Err("main_source"))]
    {
        let removed = stage.request(request::RemoveSource { name: name.to_owned() });
        assert_eq!(stage.reply(&removed), expected, "{name}");
    }
}

#[test]
fn at_the_end_the_main_source_ends_last() {
    let stage = Stage::running(TWO);
    let sources = stage.session.end();
    assert_eq!(stage.lives.lock().unwrap().living, ["main", "second"], "the caller ends them");
    drop(sources);
    assert_eq!(stage.lives.lock().unwrap().ended, ["second", "main"]);
}
