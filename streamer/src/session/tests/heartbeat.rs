//! `session/heartbeat`.

use super::*;

fn counted(shard: usize) -> Report {
    Report::Stats { shard, network: NetworkStats::default(), peers: Vec::new() }
}

#[test]
fn a_heartbeat_is_sent_when_every_shard_has_reported_and_not_delayed_by_one_that_does_not() {
    let mut stage = Stage::with(TEST, 2, Settings::default());
    assert_eq!(stage.tick(), None);
    assert!(stage.heartbeats.is_empty());
    stage.report(counted(0));
    assert!(stage.heartbeats.is_empty(), "the other shard has not reported");
    stage.report(counted(1));
    assert_eq!(stage.heartbeats.len(), 1);
    stage.tick();
    stage.report(counted(0));
    assert_eq!(stage.heartbeats.len(), 1);
    stage.tick();
    assert_eq!(stage.heartbeats.len(), 2, "a second later it is sent without that shard");
    stage.pass(Duration::from_secs(7));
    stage.tick();
    assert_eq!(stage.heartbeats[2].uptime_ms, 7000);
}

#[test]
fn a_shard_that_has_been_asked_ten_times_without_an_answer_is_stuck_and_ends_the_session() {
    let mut stage = Stage::with(TEST, 2, Settings::default());
    for round in 0..2 {
        for _ in 0..10 {
            assert_eq!(stage.tick(), None, "round {round}");
            stage.report(counted(0));
        }
        if round == 0 {
            stage.report(counted(1));
        }
    }
    let Some(ExitReason::Fatal { message }) = stage.tick() else { panic!("it goes on") };
    assert!(message.starts_with("shard 1, "), "{message}");
}
