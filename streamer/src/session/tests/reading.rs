//! Players that read a stream as MP4.

use common::api::PeerKind;

use super::*;

impl Stage {
    fn read(&mut self, stream: &str) -> Result<PeerId, &'static str> {
        let join = Join::Mp4 { stream: stream.to_owned(), ticket: Default::default() };
        let added = self.request(request::AddPeer { join: Json(join) });
        self.reply(&added).map(|added| added.peer)
    }

    fn reading(&self) -> Vec<PeerId> {
        self.readers.iter().map(|(peer, ..)| *peer).collect()
    }
}

#[test]
fn a_reader_is_a_peer_for_whom_its_source_runs_until_it_is_gone() {
    let mut stage = Stage::new(CAMERAS);
    stage.request(request::StartSource);
    assert_eq!(stage.take_started(), Vec::<String>::new());
    let reader = stage.read("camera1").unwrap();
    assert_eq!(stage.take_started(), ["camera1"]);
    assert_eq!(stage.reading(), [reader]);
    let entry = stage.session.sources.get("camera1").unwrap();
    assert_eq!((entry.video.demand.watchers(), entry.audio.demand.watchers()), (1, 1));
    let listed = stage.session.peers.list();
    assert_eq!((listed.len(), listed[0].kind), (1, PeerKind::Mp4));
    stage.runs("camera1");

    // It is removed as any peer, and gone when its thread is.
    let removed = stage.request(request::RemovePeer { peer: reader, reason: "removed".into() });
    assert_eq!(stage.reply(&removed), Ok(()));
    assert_eq!(stage.reading(), []);
    stage.report(Report::Gone { peer: reader, reason: "it was removed".into() });
    let entry = stage.session.sources.get("camera1").unwrap();
    assert_eq!((entry.video.demand.watchers(), entry.audio.demand.watchers()), (0, 0));
    stage.pass(Duration::from_secs(6));
    stage.tick();
    stage.pass(Duration::from_secs(6));
    stage.tick();
    assert_eq!(stage.living(), Vec::<String>::new());
}

#[test]
fn a_reader_sees_nothing_of_slots_and_only_so_many_read() {
    let mut stage = Stage::running(TEST);
    assert_eq!(stage.read("nothing"), Err("stream_not_found"));
    assert_eq!(stage.read("main-180p"), Err("unsupported"));
    for _ in 0..16 {
        stage.read("main").unwrap();
    }
    assert_eq!(stage.read("main"), Err("too_many_peers"));
    assert_eq!(stage.session.peers.len(), 16);
    assert!(!stage.session.peers.anybody_follows());
}

#[test]
fn what_a_peer_publishes_can_be_read_while_it_has_pictures() {
    let mut stage = Stage::running(r#"{"source": {"type": "test"}, "share": false, "slots": 2}"#);
    let ann = stage.publisher_as(Role::Viewer, 1, None);
    stage.publish(ann, PublishKind::Microphone, Some("ann"));
    assert_eq!(stage.read("ann"), Err("source_offline"), "there are no pictures");
    assert_eq!(stage.session.peers.len(), 1);
    stage.publish(ann, PublishKind::Camera, None);
    stage.read("ann").unwrap();
    let entry = stage.session.sources.get("ann").unwrap();
    assert_eq!((entry.video.demand.watchers(), entry.audio.demand.watchers()), (1, 1));
}
