//! However a streamer ends: what is shown of it, that it runs again, how soon, and that nothing of the old one is left. The table
//! in `docs/OPERATIONS.md` says the same.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use common::api::Streamer;
use common::audit::{AuditAction, AuditList};
use common::exit::ExitReason;
use common::restart::LogTail;
use common::signal::StreamerState;
use harness::{Footprint, Process, Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn test_source() -> Value {
    json!({ "type": "test", "width": 160, "height": 90, "fps": 10, "audio": false })
}

fn desktop() -> Value {
    json!({ "type": "desktop", "width": 320, "height": 240, "command": "exec xterm" })
}

fn process(server: &Server, part: &str) -> Process {
    eventually(part, || server.session_processes().into_iter().find(|p| p.command_line.contains(part)))
}

fn signal(process: &Process, signal: Signal) {
    kill_process(Pid::from_raw(process.pid).unwrap(), signal).unwrap();
}

/// Everything of the session as it is now, but for the log, which is what is asked for afterwards.
fn footprint(server: &Server) -> Footprint {
    let mut footprint = Footprint::of(server.session_processes(), Path::new("/nowhere"));
    footprint.files.retain(|path, _| !path.ends_with("streamer.log"));
    footprint
}

/// Does something to a streamer, and waits until it runs again.
fn again(server: &Server, what: &str, harm: impl FnOnce()) -> Streamer {
    let footprint = footprint(server);
    let before = server.streamer("demo").unwrap().restarts.count;
    let begin = Instant::now();
    harm();
    let back = eventually(&format!("it runs again after {what}"), || {
        let now = server.streamer("demo")?;
        (now.state == StreamerState::Running && now.restarts.count > before).then_some(now)
    });
    let last = back.restarts.last.clone().unwrap();
    println!("{what}: runs again after {:?}; {:?}", begin.elapsed(), last.reason);
    eventually("nothing is left of the old one", || footprint.leftovers().is_empty().then_some(()));
    assert_eq!(server.run_dirs().len(), 1);
    assert!(!last.log.is_empty(), "the last lines of its log are shown");
    back
}

#[test]
fn what_crashes_is_killed_or_aborts_is_told_apart_and_runs_again() {
    let server = Server::start();
    server.create("demo", test_source());
    for (harm, number, name) in
        [(Signal::KILL, 9, "SIGKILL"), (Signal::SEGV, 11, "SIGSEGV"), (Signal::ABORT, 6, "SIGABRT")]
    {
        let session = process(&server, "streamer session");
        let back = again(&server, name, || {
            // Rust's own handler takes the first SIGSEGV for an access that will fault again when it returns, which it does not.
            eventually("it has ended", || {
                let _ = kill_process(Pid::from_raw(session.pid).unwrap(), harm);
                (!session.is_alive()).then_some(())
            });
        });
        let last = back.restarts.last.unwrap();
        let exit = last.exit.unwrap();
        assert_eq!((exit.signal, exit.reason), (Some(number), ExitReason::Unknown), "{name}");
        assert!(last.reason.contains(name), "{}", last.reason);
        assert_eq!((back.exit, back.reason), (None, None), "that is over");
    }
    let back = again(&server, "SIGKILL of the monitor", || {
        signal(&process(&server, "streamer monitor"), Signal::KILL);
    });
    assert!(back.restarts.last.unwrap().reason.contains("monitor"));
    assert_eq!(back.restarts.count, 4);

    // All of it is in the trail, and the log goes on.
    let trail: AuditList = server.get("/api/streamers/demo/audit").expect(200).json();
    let restarts = trail.entries.iter().filter(|entry| entry.action == AuditAction::Restarted).count();
    let ends: Vec<_> = trail.entries.iter().filter(|entry| entry.action == AuditAction::Ended).collect();
    assert_eq!((restarts, ends.len()), (4, 4), "{trail:?}");
    assert!(ends[3].detail.as_ref().is_some_and(|detail| detail.contains("SIGKILL")), "{:?}", ends[3]);
    let log: LogTail = server.get("/api/streamers/demo/logs?tail=2").expect(200).json();
    assert_eq!(log.lines.len(), 2);
    assert_eq!(
        server.get("/api/streamers/demo/logs?tail=0").expect(400).problem().field.as_deref(),
        Some("tail")
    );
}

#[test]
fn one_that_hangs_is_killed_and_runs_again() {
    let server = Server::start();
    server.create("demo", test_source());
    let back = again(&server, "SIGSTOP", || signal(&process(&server, "streamer session"), Signal::STOP));
    let last = back.restarts.last.unwrap();
    assert!(matches!(last.exit.unwrap().reason, ExitReason::Hung { .. }));
    assert!(last.reason.contains("nothing was heard of it"), "{}", last.reason);
}

#[test]
fn a_desktop_whose_x_server_dies_runs_again_and_one_whose_sound_server_dies_goes_on() {
    let server = Server::start();
    server.create("demo", desktop());
    let back = again(&server, "X server killed", || signal(&process(&server, "Xvfb"), Signal::KILL));
    let last = back.restarts.last.unwrap();
    assert!(matches!(last.exit.unwrap().reason, ExitReason::XServerDied { .. }), "{}", last.reason);

    let session = process(&server, "streamer session");
    let sound = process(&server, "pulseaudio");
    let begin = Instant::now();
    signal(&sound, Signal::KILL);
    server.stats_until("demo", "the death of its sound server is shown", |stats| stats.audio.restarts == 1);
    let new = eventually("another sound server runs", || {
        server
            .session_processes()
            .into_iter()
            .find(|p| p.command_line.contains("pulseaudio") && p.pid != sound.pid)
    });
    println!("sound server killed: another one after {:?}", begin.elapsed());
    assert!(new.is_alive() && session.is_alive(), "nothing else has noticed");
    assert_eq!(server.streamer("demo").unwrap().restarts.count, 1);
}

/// A control group of its own, whose memory is bounded.
struct Group(PathBuf);

impl Group {
    fn new() -> Option<Self> {
        let name = format!("oriel-test-{}", std::process::id());
        let v1 = Path::new("/sys/fs/cgroup/memory");
        let base = if v1.is_dir() { v1 } else { Path::new("/sys/fs/cgroup") };
        let group = Self(base.join(name));
        fs::create_dir(&group.0).ok()?;
        let limit = ["memory.limit_in_bytes", "memory.max"].map(|file| group.0.join(file));
        let bounded = limit.iter().any(|file| file.exists() && fs::write(file, "400M").is_ok());
        bounded.then_some(group)
    }

    fn take(&self, pid: i32) {
        fs::write(self.0.join("cgroup.procs"), pid.to_string()).unwrap();
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // It may be removed when nobody is in it any more; nobody was lost who is not ours.
        for _ in 0..500 {
            if fs::remove_dir(&self.0).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

#[test]
fn one_that_is_killed_for_want_of_memory_is_told_from_one_that_is_just_killed() {
    let Some(group) = Group::new() else {
        println!("SKIPPED: no control group with bounded memory can be made here");
        return;
    };
    let server = Server::start();
    group.take(server.process().pid);
    server.create("demo", test_source());
    let back = again(&server, "SIGKILL in a control group", || {
        signal(&process(&server, "streamer session"), Signal::KILL);
    });
    assert_eq!(back.restarts.last.unwrap().exit.unwrap().reason, ExitReason::Unknown);

    let session = process(&server, "streamer session");
    fs::write(format!("/proc/{}/oom_score_adj", session.pid), "1000").unwrap();
    // It takes memory once it is in the group.
    let hog = "import sys; sys.stdin.readline(); held = bytearray(600 << 20)";
    let mut hog = Command::new("python3").args(["-c", hog]).stdin(Stdio::piped()).spawn().unwrap();
    let back = again(&server, "out of memory", || {
        group.take(hog.id().cast_signed());
        drop(hog.stdin.take());
    });
    hog.wait().unwrap();
    let last = back.restarts.last.unwrap();
    assert_eq!(last.exit.unwrap().reason, ExitReason::OutOfMemory, "{}", last.reason);
    drop(server);
}

#[test]
fn a_deleted_socket_comes_back_and_a_new_web_server_finds_the_session() {
    let mut server = Server::start();
    server.create("demo", test_source());
    let session = process(&server, "streamer session");
    let socket = server.run_dirs()[0].join(common::ipc::SOCKET_FILE);
    fs::remove_file(&socket).unwrap();
    let begin = Instant::now();
    eventually("the socket is there again", || socket.exists().then_some(()));
    println!("IPC socket deleted: there again after {:?}", begin.elapsed());
    server.kill();
    server.start_again();
    server.state_until("demo", StreamerState::Running);
    assert!(session.is_alive(), "the same process");
    assert_eq!(server.streamer("demo").unwrap().restarts.count, 0);
}

#[test]
fn without_descriptors_new_streamers_are_refused_with_the_reason_and_the_others_go_on() {
    let server = Server::start();
    server.create("demo", test_source());
    let limit = |number: usize| {
        let pid = server.process().pid.to_string();
        let status = Command::new("prlimit").args(["--pid", &pid, &format!("--nofile={number}:")]).status();
        assert!(status.unwrap().success());
    };
    let uptime = server.stats_until("demo", "it reports", |_| true).uptime_ms;
    let held = server.process().descriptors().len();
    limit(held + 2);
    let body = json!({ "id": "other", "source": test_source(), "restart": { "policy": "never" } });
    server.post("/api/streamers", &body).expect(201);
    let failed = server.state_until("other", StreamerState::Failed).reason.unwrap();
    assert!(failed.contains("Too many open files"), "{failed}");
    limit(held + 200);
    server.stats_until("demo", "it goes on", |stats| stats.uptime_ms > uptime);
    let restarted = server.post("/api/streamers/other/restart", &json!({})).expect(202);
    assert_eq!(restarted.json::<Streamer>().state, StreamerState::Restarting);
    server.state_until("other", StreamerState::Running);
}

#[test]
fn while_the_state_directory_is_full_sessions_go_on_and_afterwards_all_is_kept() {
    let disk = tempfile::tempdir().unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=2m", "none"])
        .arg(disk.path())
        .status()
        .is_ok_and(|status| status.success());
    if !mounted {
        println!("SKIPPED: no small file system can be mounted here");
        return;
    }
    let _unmount = Unmount(disk.path().to_owned());
    let mut server = Server::start_in(disk.path());
    server.create("demo", test_source());
    server.create("spare", test_source());
    let fill = |name: &str| {
        let filler = disk.path().join(name);
        let full = Command::new("dd").arg("if=/dev/zero").arg(format!("of={}", filler.display())).output();
        assert!(!full.unwrap().status.success(), "it is full");
        filler
    };
    let filler = fill("filler");
    let uptime = server.stats_until("demo", "it reports", |_| true).uptime_ms;
    let mut note = 0;
    eventually("that nothing is kept is told", || {
        note += 1;
        let body = json!({ "name": format!("n{note}"), "source": test_source() });
        // Some fit into what the database has already.
        server.post("/api/streamers/demo/sources", &body);
        server.logs().contains("the state of streamers is not kept").then_some(())
    });
    server.stats_until("demo", "it goes on", |stats| stats.uptime_ms > uptime);
    server.get("/api/streamers/demo/snapshot").expect(200);
    let deleted = server.delete("/api/streamers/spare").expect(507).problem();
    assert_eq!(deleted.code, "not_durable", "{}", deleted.detail);
    server.get("/api/streamers/spare").expect(404);

    // Also a web-server that starts now, and finds no room for any file, serves what runs and what is wanted.
    server.kill();
    fs::remove_file(server.state_dir().join("state.db-shm")).unwrap();
    let more = fill("more");
    server.start_again();
    server.state_until("demo", StreamerState::Running);
    server.get("/api/streamers/demo/snapshot").expect(200);
    assert!(server.logs().contains("full or broken"), "{}", server.logs());

    fs::remove_file(filler).unwrap();
    fs::remove_file(more).unwrap();
    eventually("it is kept again", || server.logs().contains("is kept again").then_some(()));
    server.kill();
    server.start_again();
    server.state_until("demo", StreamerState::Running);
    server.delete("/api/streamers/demo").expect(204);
}

struct Unmount(PathBuf);

impl Drop for Unmount {
    fn drop(&mut self) {
        // Lazily: a process of the test may still hold a file.
        let _ = Command::new("umount").arg("-l").arg(&self.0).status();
    }
}

#[test]
fn what_keeps_failing_is_left_alone_with_its_reason_until_somebody_asks_for_it() {
    let server = Server::start();
    let fails = json!({ "type": "desktop", "width": 320, "height": 240, "audio": false,
                        "command": "xterm & sleep 0.3; echo the last words >&2; exit 3" });
    let body = json!({ "id": "demo", "source": fails, "restart": { "attempts": 2, "delay_ms": 10 } });
    server.post("/api/streamers", &body).expect(201);
    let failed = server.state_until("demo", StreamerState::Failed);
    let reason = failed.reason.unwrap();
    assert!(reason.contains("3 times in a row") && reason.contains("the last words"), "{reason}");
    assert_eq!(failed.restarts.count, 2);
    eventually("nothing of it runs", || server.session_processes().is_empty().then_some(()));
    server.post("/api/streamers/demo/restart", &json!({})).expect(202);
    let failed = server.state_until("demo", StreamerState::Failed);
    assert!(failed.restarts.count > 2);
}

#[test]
fn a_command_that_fails_within_its_first_second_is_the_answer_to_who_waits_for_the_start() {
    let server = Server::start();
    let create = |id: &str, command: Value| {
        let source =
            json!({ "type": "desktop", "width": 320, "height": 240, "audio": false, "command": command });
        server.post("/api/streamers?wait=running", &json!({ "id": id, "source": source }))
    };
    for (id, command, how, words) in [
        ("none", json!("nosuchprogram"), "exit code 127", "nosuchprogram"),
        ("fails", json!("echo the last words >&2; exit 3"), "exit code 3", "the last words"),
        ("late", json!("sleep 0.2; echo the last words >&2; exit 3"), "exit code 3", "the last words"),
        ("list", json!(["sh", "-c", "echo the last words; exit 3"]), "exit code 3", "the last words"),
    ] {
        let problem = create(id, command).expect(400).problem();
        assert_eq!(
            (problem.code.as_str(), problem.field.as_deref()),
            ("command_failed", Some("source.command"))
        );
        assert!(problem.detail.contains(how) && problem.detail.contains(words), "{id}: {problem:?}");
    }
    let good: Streamer = create("good", json!("exec sleep 1000")).expect(201).json();
    assert_eq!(good.state, StreamerState::Running);
}

#[test]
fn one_that_was_done_stays_ended_also_for_a_new_web_server() {
    let mut server = Server::start();
    let done =
        json!({ "type": "desktop", "width": 320, "height": 240, "audio": false, "command": "sleep 0.5" });
    server.create("demo", done);
    let ended = server.state_until("demo", StreamerState::Failed);
    assert!(matches!(ended.exit.unwrap().reason, ExitReason::Finished { .. }));
    server.kill();
    server.start_again();
    let now = server.streamer("demo").unwrap();
    assert_eq!((now.state, now.reason, now.restarts.count), (StreamerState::Failed, ended.reason, 0));
    server.delete("/api/streamers/demo").expect(204);
}

#[test]
fn a_restart_that_is_asked_for_gives_another_process_with_what_it_showed() {
    let server = Server::start();
    server.create("demo", test_source());
    let added = json!({ "name": "more", "source": test_source() });
    server.post("/api/streamers/demo/sources", &added).expect(204);
    server.put("/api/streamers/demo/slots/3", &json!({ "source": "more" })).expect(200);
    let old = process(&server, "streamer session");
    server.post("/api/streamers/demo/restart", &json!({})).expect(202);
    eventually("another process shows the same", || {
        let now = server.streamer("demo")?;
        let slots: Vec<_> = now.slots.iter().map(|slot| slot.slot).collect();
        (now.state == StreamerState::Running && slots == [0, 3]).then_some(())
    });
    assert!(!old.is_alive());
    assert_eq!(server.streamer("demo").unwrap().restarts.count, 1);
    server.post("/api/streamers/nobody/restart", &json!({})).expect(404);
}
