//! However a streamer ends, nothing of it is left: no process, socket, shared memory or file.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeSet;
use std::path::Path;

use common::signal::StreamerState;
use harness::{Footprint, Process, Server, eventually, process};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

/// A desktop whose command starts what likes to stay: a daemon in a session of its own with an empty environment,
/// and programs that ignore every polite signal. `mark` is on their command lines.
fn stubborn(mark: u32) -> Value {
    desktop(mark, "env -i ")
}

/// The same, but that the daemon keeps its environment: by nothing else can it be known for the session's once all of its
/// ancestors have been killed.
fn marked_daemon(mark: u32) -> Value {
    desktop(mark, "")
}

fn desktop(mark: u32, without_environment: &str) -> Value {
    let command = format!(
        "setsid {without_environment}sleep {mark}.1 & (trap '' TERM HUP INT; sleep {mark}.2) & exec sh -c 'trap \"\" TERM; xterm; sleep {mark}.3'"
    );
    json!({ "type": "desktop", "width": 640, "height": 480, "command": command })
}

/// All processes with `mark` on their command lines, the session's shell aside.
fn marked(mark: u32) -> Vec<Process> {
    let wanted = format!("sleep {mark}.");
    process::all().into_iter().filter(|process| process.command_line.starts_with(&wanted)).collect()
}

/// A number that no other test uses, as the pid of a living process.
fn mark() -> u32 {
    1_000_000 + std::process::id()
}

/// All that the session has, once it is complete: X server, sound server, terminal, daemon.
fn footprint(server: &Server, mark: u32) -> Footprint {
    let processes = eventually("the whole session runs", || {
        let mut processes = server.session_processes();
        let has = |part: &str| processes.iter().any(|process| process.command_line.contains(part));
        let complete =
            ["streamer monitor", "streamer session", "Xvfb", "pulseaudio", "xterm"].into_iter().all(has);
        let daemons = marked(mark);
        let complete = complete && daemons.len() >= 2;
        processes.extend(daemons);
        complete.then_some(processes)
    });
    let footprint = Footprint::of(processes, Path::new("/nowhere"));
    // What is looked for later is really there now; else finding nothing would mean nothing.
    assert!(footprint.sockets.len() >= 5, "{footprint:?}");
    let has = |part: &str| footprint.files.keys().any(|path| path.to_string_lossy().contains(part));
    assert!(has("/tmp/.X11-unix/X") && has("ipc.sock") && has("streamer.log"), "{:?}", footprint.files);
    footprint
}

fn assert_nothing_left(footprint: &Footprint, mark: u32) {
    eventually("nothing is left", || {
        let left = footprint.leftovers();
        if !left.is_empty() {
            eprintln!("still there: {left:#?}");
        }
        left.is_empty().then_some(())
    });
    assert_eq!(marked(mark), [], "daemons of the session");
}

#[test]
fn delete_ends_the_x_server_and_everything_started_in_it() {
    let server = Server::start();
    let mark = mark();
    server.create("demo", stubborn(mark));
    let footprint = footprint(&server, mark);
    server.delete("/api/streamers/demo").expect(204);
    assert_nothing_left(&footprint, mark);
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
    assert_eq!(server.get("/api/streamers/demo").expect(404).problem().code, "streamer_not_found");
}

#[test]
fn kill_9_of_the_streamer_leaves_nothing_but_the_reason() {
    killed(&["streamer session"], stubborn, |reason| reason.contains("signal 9"));
}

#[test]
fn kill_9_of_the_monitor_ends_the_session_and_leaves_nothing_but_the_reason() {
    killed(&["streamer monitor"], stubborn, |reason| reason.contains("monitor"));
}

#[test]
fn kill_9_of_monitor_and_streamer_leaves_nothing_but_the_reason() {
    killed(&["streamer monitor", "streamer session"], marked_daemon, |reason| reason.contains("monitor"));
}

#[test]
fn kill_9_of_the_monitor_while_no_web_server_runs_leaves_nothing_either() {
    let mut server = Server::start();
    let mark = mark();
    server.create("demo", stubborn(mark));
    let mut footprint = footprint(&server, mark);
    let log = |path: &Path| path.ends_with("streamer.log");
    server.kill();
    kill(&footprint, &["streamer monitor"]);
    footprint.files.retain(|path, _| !log(path));
    assert_nothing_left(&footprint, mark);
    server.start_again();
    server.delete("/api/streamers/demo").expect(204);
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn what_died_whole_while_no_web_server_ran_is_cleared_away_by_the_next() {
    let mut server = Server::start();
    let mark = mark();
    server.create("demo", marked_daemon(mark));
    let footprint = footprint(&server, mark);
    server.kill();
    kill(&footprint, &["streamer monitor", "streamer session"]);
    server.start_again();
    // It is wanted, so it is started again.
    server.delete("/api/streamers/demo").expect(204);
    assert_nothing_left(&footprint, mark);
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
}

#[test]
fn kill_9_of_the_x_server_ends_the_session_with_its_reason() {
    killed(&["Xvfb"], stubborn, |reason| reason.contains("the X server died"));
}

/// Kills processes of a session, all before any of them can act on the end of another.
fn kill(footprint: &Footprint, victims: &[&str]) {
    let pid = |victim: &&str| {
        let found = footprint.processes.iter().find(|process| process.command_line.contains(victim));
        Pid::from_raw(found.unwrap().pid).unwrap()
    };
    let pids: Vec<_> = victims.iter().map(pid).collect();
    for signal in [Signal::STOP, Signal::KILL] {
        for pid in &pids {
            // It may have ended with the one that was killed before it.
            let _ = kill_process(*pid, signal);
        }
    }
}

fn killed(victims: &[&str], source: fn(u32) -> Value, is_right: impl Fn(&str) -> bool) {
    let server = Server::start();
    let mark = mark();
    let body = json!({ "id": "demo", "source": source(mark), "restart": { "policy": "never" } });
    server.post("/api/streamers?wait=running", &body).expect(201);
    let mut footprint = footprint(&server, mark);
    // The log is what a failed streamer is asked for.
    footprint.files.retain(|path, _| !path.ends_with("streamer.log"));
    kill(&footprint, victims);
    let failed = server.state_until("demo", StreamerState::Failed);
    let reason = failed.reason.unwrap_or_default();
    assert!(is_right(&reason), "the reason is {reason:?}");
    assert_nothing_left(&footprint, mark);
    server.delete("/api/streamers/demo").expect(204);
    assert_eq!(server.run_dirs(), Vec::<std::path::PathBuf>::new());
}

/// What the web-server itself holds, and what of streamers there is in the usual places.
fn held(server: &Server) -> (usize, BTreeSet<String>) {
    let own = server.process();
    let children = process::all().into_iter().filter(|process| process.parent == own.pid);
    let children = children.map(|process| format!("{process:?}"));
    let dirs = server.run_dirs().into_iter().map(|dir| dir.display().to_string());
    let sessions = server.session_processes().into_iter().map(|process| format!("{process:?}"));
    (own.descriptors().len(), children.chain(dirs).chain(sessions).collect())
}

#[test]
fn fifty_rounds_of_create_and_delete_leave_nothing_behind() {
    let server = Server::start();
    let test = json!({ "type": "test", "width": 320, "height": 180, "fps": 30 });
    let desktop = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["xterm"] });
    let round = |n: usize| {
        let id = format!("round-{n}");
        let source = if n.is_multiple_of(10) { &desktop } else { &test };
        server.create(&id, source.clone());
        let footprint = Footprint::of(server.session_processes(), Path::new("/nowhere"));
        assert!(footprint.processes.len() >= 2, "{footprint:?}");
        server.delete(&format!("/api/streamers/{id}")).expect(204);
        eventually("nothing is left of the round", || footprint.leftovers().is_empty().then_some(()));
    };
    // The first round brings pools to their size.
    round(0);
    let before = held(&server);
    assert_eq!(before.1, BTreeSet::new());
    for n in 1..=50 {
        round(n);
    }
    eventually("the web-server holds as many descriptors as before", || {
        let now = held(&server);
        assert_eq!(now.1, BTreeSet::new());
        (now.0 <= before.0).then_some(())
    });
}
