use std::time::Duration;

use common::control::ControlMode;
use common::exit::StreamerExit;
use common::id::SlotIndex;
use common::signal::Role;
use common::slots::{BindSlot, SlotSource};
use tokio::sync::oneshot::Receiver;

use super::super::testing::Bench;
use super::*;
use crate::socket::{Out, Outbox};

type Answered = Receiver<Result<Joined, OperationError>>;

/// A viewer comes by WebSocket.
fn come(bench: &mut Bench) -> (Outbox, Answered) {
    let (socket, outbox) = Socket::new();
    let number = socket.number();
    let join = Join::Native {
        resume: None,
        socket: number,
        role: Role::Viewer,
        capabilities: Default::default(),
        ticket: Default::default(),
        person: Default::default(),
    };
    let (answer, answered) = oneshot::channel();
    bench.session.join(Joining { join, socket, answer });
    (outbox, answered)
}

/// The same, and the streamer makes it this peer.
fn join(bench: &mut Bench, peer: PeerId) -> (Outbox, Answered) {
    let viewer = come(bench);
    bench.reply::<AddPeer>(&PeerAdded { peer, answer: None });
    viewer
}

fn crash() -> Failure {
    let reason = ExitReason::Hung { message: "it hung".into() };
    Failure { exit: Some(StreamerExit { code: None, signal: Some(9), reason }), ..Failure::new("it hung") }
}

fn texts(outbox: &mut Outbox) -> Vec<String> {
    let mut texts = Vec::new();
    while let Ok(out) = outbox.queue.try_recv() {
        if let Out::Text(text) = out {
            texts.push(text.to_string());
        }
    }
    texts
}

#[tokio::test]
async fn a_viewer_that_comes_while_it_starts_joins_when_it_runs() {
    let mut bench = Bench::starting();
    let (mut outbox, mut answered) = come(&mut bench);
    assert!(bench.requests.next().is_none(), "nobody can join yet");
    assert!(texts(&mut outbox)[0].contains("starting"));
    bench.session.change(Moment::now(), Change::SourceRuns);
    assert!(answered.try_recv().is_err(), "the streamer has not said yes");
    let peer = PeerId::unique();
    bench.reply::<AddPeer>(&PeerAdded { peer, answer: None });
    assert_eq!(answered.try_recv().unwrap().unwrap().peer, peer);
}

#[tokio::test]
async fn a_viewer_that_has_left_does_not_join_and_one_that_leaves_while_it_joins_is_detached() {
    let mut bench = Bench::starting();
    drop(come(&mut bench));
    bench.session.change(Moment::now(), Change::SourceRuns);
    assert!(bench.requests.next().is_none());

    let peer = PeerId::unique();
    let (_outbox, answered) = come(&mut bench);
    drop(answered);
    bench.reply::<AddPeer>(&PeerAdded { peer, answer: None });
    assert_eq!(bench.requests.detached(), Some(peer));
}

#[tokio::test]
async fn of_two_websockets_of_a_peer_the_newer_one_is_served_and_the_older_one_closed() {
    let mut bench = Bench::running();
    let peer = PeerId::unique();
    let (mut older, _first) = join(&mut bench, peer);
    let older_number = bench.session.sockets[&peer].number();
    let (mut newer, _second) = join(&mut bench, peer);
    assert!(matches!(older.queue.try_recv(), Ok(Out::Close(Close::Peer(_)))));

    bench.session.leave(peer, older_number, false);
    assert_eq!(bench.requests.detached(), None, "the end of the older one means nothing");
    let message = Json(ServerMessage::Role { role: Role::Viewer });
    bench.session.said(StreamerIpcMessage::ToPeer { peer, message });
    assert!(texts(&mut newer)[0].contains("role"));
    assert!(texts(&mut older).is_empty());

    let newer_number = bench.session.sockets[&peer].number();
    bench.session.leave(peer, newer_number, false);
    assert_eq!(bench.requests.detached(), Some(peer));
}

#[tokio::test]
async fn a_change_of_control_is_kept_audited_and_told_to_every_peer() {
    let mut bench = Bench::running();
    let holder = PeerId::unique();
    let (mut outbox, _answered) = join(&mut bench, holder);
    let control = Control { mode: ControlMode::Exclusive, holder: Some(holder), ..Control::default() };
    bench.session.said(StreamerIpcMessage::ControlChanged { control: Json(control.clone()) });
    assert_eq!(bench.session.view().control, control);
    assert!(texts(&mut outbox)[0].contains("exclusive"));
    let trail = bench.store.trail(bench.session.id.clone(), None, 10).await.unwrap();
    assert_eq!((trail[0].action, &trail[0].by), (AuditAction::ControlChanged, &format!("peer {holder}")));
}

#[tokio::test]
async fn a_crash_is_followed_by_another_process_when_its_pause_is_over_and_not_before() {
    let mut bench = Bench::running();
    let (mut outbox, _answered) = join(&mut bench, PeerId::unique());
    let now = Moment::now();
    bench.session.ended(now, crash());
    assert_eq!(bench.session.view().state, StreamerState::Restarting);
    let closed = std::iter::from_fn(|| outbox.queue.try_recv().ok());
    assert!(closed.last().is_some_and(|out| matches!(out, Out::Close(Close::Streamer(_)))));

    let due = bench.session.due().expect("a restart is due");
    assert!(due > now.instant);
    let early = Moment { instant: due - Duration::from_millis(1), ..now };
    bench.session.start_if_due(early);
    assert_eq!(bench.requests.started_after(), None);
    bench.session.start_if_due(Moment { instant: due, ..now });
    assert_eq!(bench.requests.started_after(), Some(0), "the process that ended is followed by another");
    assert_eq!(bench.session.due(), None);
}

#[tokio::test]
async fn what_becomes_of_a_streamer_that_ends_follows_from_its_policy_and_its_past() {
    for (policy, ran, expected) in [
        ("on-failure", true, StreamerState::Restarting),
        ("on-failure", false, StreamerState::Failed),
        ("always", false, StreamerState::Restarting),
        ("never", true, StreamerState::Failed),
    ] {
        let mut bench = if ran { Bench::running() } else { Bench::starting() };
        bench.session.spec.restart.policy = serde_json::from_value(policy.into()).unwrap();
        let (waiting, mut started) = oneshot::channel();
        bench.session.wait_started(Moment::now(), waiting);
        bench.session.ended(Moment::now(), crash());
        assert_eq!(bench.session.view().state, expected, "{policy}, ran: {ran}");
        // Who waits for the start is told of a failure, even when it is tried again.
        assert_eq!(started.try_recv().unwrap().is_ok(), ran, "{policy}, ran: {ran}");
        let (mut outbox, mut answered) = come(&mut bench);
        let denied = answered.try_recv().is_ok_and(|answer| answer.is_err());
        assert_eq!(denied, expected == StreamerState::Failed, "{policy}, ran: {ran}");
        drop(texts(&mut outbox));
    }
}

#[tokio::test]
async fn a_streamer_that_is_deleted_tells_so_when_it_is_gone() {
    let mut bench = Bench::running();
    let (gone, mut told) = oneshot::channel();
    bench.session.delete(Moment::now(), "the streamer was deleted", gone);
    assert_eq!(bench.session.view().state, StreamerState::Stopping);
    assert_eq!(bench.session.kept(), None, "a server that starts now does not start it");
    assert_eq!(bench.requests.stopped().as_deref(), Some("the streamer was deleted"));
    let (_outbox, mut answered) = come(&mut bench);
    assert!(matches!(answered.try_recv(), Ok(Err(OperationError::Denied(Denied::Stopping)))));
    assert!(told.try_recv().is_err());
    bench.session.gone();
    assert!(told.try_recv().is_ok());
}

fn named(name: &str) -> BindSlot {
    BindSlot { source: SlotSource::Name(name.into()), quality: String::new() }
}

fn binds(slot: SlotIndex, name: &str) -> AnyRequest {
    request::BindSlot { slot: Some(slot), bind: Json(named(name)) }.into()
}

#[tokio::test]
async fn what_a_client_changes_while_a_new_process_is_given_what_the_old_one_had_stays() {
    let mut bench = Bench::starting();
    for (slot, name) in [(1, "a"), (2, "b"), (3, "c")] {
        bench.session.arranged(Arranged::Bound(slot, named(name)));
    }
    bench.session.change(Moment::now(), Change::SourceRuns);
    let (first, request) = bench.request();
    assert_eq!(request, binds(1, "a"));
    bench.session.arranged(Arranged::Bound(2, named("new")));
    assert!(bench.requests.next().is_none(), "one after the other");
    bench.session.replied(first, Err(AskError::Timeout(Duration::from_secs(10))));
    let (last, request) = bench.request();
    assert_eq!(request, binds(3, "c"), "without the one that was changed");

    bench.session.arranged(Arranged::Cleared(3));
    bench.session.replied(last, Ok(Payload::of(&()).unwrap()));
    let kept = bench.session.record().arrangement.replay();
    assert_eq!(
        kept,
        [binds(1, "a"), binds(2, "new"), binds(3, "c")],
        "the streamer did the last one after that"
    );
    assert!(bench.requests.next().is_none());
}

#[tokio::test]
async fn a_process_that_ends_while_it_is_given_what_the_old_one_had_is_asked_for_no_more() {
    let mut bench = Bench::starting();
    for (slot, name) in [(1, "a"), (2, "b")] {
        bench.session.arranged(Arranged::Bound(slot, named(name)));
    }
    bench.session.change(Moment::now(), Change::SourceRuns);
    let (first, _) = bench.request();
    bench.session.replied(first, Err(AskError::Gone));
    assert!(bench.requests.next().is_none());
}
