//! The web-server may come and go; sessions do not notice.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::process::{Command, Stdio};
use std::time::Instant;

use common::signal::StreamerState;
use harness::server::binary;
use harness::{Process, Server, eventually};
use serde_json::{Value, json};

fn test_source() -> Value {
    json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false })
}

/// The process that is the session itself.
fn session(server: &Server) -> Process {
    let mut processes = server.session_processes();
    processes.retain(|process| process.command_line.starts_with("streamer session"));
    assert_eq!(processes.len(), 1, "{processes:?}");
    processes.remove(0)
}

#[test]
fn a_killed_web_server_that_starts_again_finds_its_session_as_it_was() {
    let mut server = Server::start();
    let desktop =
        json!({ "type": "desktop", "width": 320, "height": 240, "audio": false, "command": "xterm" });
    let created = server.create("demo", desktop);
    let before = session(&server);
    let uptime = server.stats_until("demo", "it reports", |_| true).uptime_ms;

    server.kill();
    assert!(before.is_alive(), "the session does not notice");
    server.start_again();

    let adopted = server.state_until("demo", StreamerState::Running);
    assert_eq!((&adopted.spec, adopted.created), (&created.spec, created.created));
    let after = session(&server);
    assert_eq!((after.pid, after.started), (before.pid, before.started), "the same process");
    let stats = server.stats_until("demo", "it goes on", |stats| stats.uptime_ms > uptime);
    assert_eq!(stats.process.pid.cast_signed(), before.pid);

    // The web-server that adopted it can do with it whatever the one could that made it.
    server.get("/api/streamers/demo/snapshot").expect(200);
    server.delete("/api/streamers/demo").expect(204);
    eventually("nothing of it runs", || server.session_processes().is_empty().then_some(()));
}

#[test]
fn a_session_that_died_meanwhile_is_cleared_away_and_started_again() {
    let mut server = Server::start();
    server.create("demo", test_source());
    let process = session(&server);
    server.kill();
    let pid = rustix::process::Pid::from_raw(process.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    eventually("monitor and streamer have ended", || server.session_processes().is_empty().then_some(()));
    server.start_again();
    server.state_until("demo", StreamerState::Running);
    assert_ne!(session(&server).pid, process.pid);
    assert_eq!(server.run_dirs().len(), 1);
    server.create("other", test_source());
}

#[test]
fn a_second_web_server_on_the_same_state_is_refused_by_name() {
    let server = Server::start();
    server.create("demo", test_source());
    let mut second = Command::new(binary("web-server"))
        .args(["--port", "0", "--state-dir"])
        .arg(server.state_dir())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let deadline = Instant::now() + harness::wait::SOON;
    let status = loop {
        match second.try_wait().unwrap() {
            Some(status) => break Some(status),
            None if Instant::now() > deadline => {
                second.kill().unwrap();
                break None;
            }
            None => std::thread::sleep(std::time::Duration::from_millis(10)),
        }
    };
    let output = second.wait_with_output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(status.is_some_and(|status| !status.success()), "{status:?}: {said}");
    let holder = format!("pid {}", server.process().pid);
    assert!(said.contains("already works") && said.contains(&holder), "{said}");
    assert_eq!(server.streamer("demo").map(|now| now.state), Some(StreamerState::Running));
}

/// Bounds against something being badly wrong. What it takes on a quiet machine is for the benchmarks.
#[test]
fn the_first_frame_comes_soon() {
    let server = Server::start();
    let desktop = json!({ "type": "desktop", "width": 320, "height": 240, "command": "xterm" });
    for (id, source, bound_ms) in [("test", test_source(), 15_000), ("desktop", desktop, 30_000)] {
        let start = Instant::now();
        server.create(id, source);
        let took = start.elapsed().as_millis();
        let first =
            server.stats_until(id, "it reports", |stats| stats.first_frame_ms.is_some()).first_frame_ms;
        println!(
            "{id}: running {took} ms after the request; first frame {first:?} ms after the process' start"
        );
        assert!(took < bound_ms && first.is_some_and(|first| u128::from(first) <= took), "{took} {first:?}");
    }
}
