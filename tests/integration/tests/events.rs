//! What happens, as a program is told that listens and never polls.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::time::{Duration, Instant};

use common::api::Token;
use common::signal::Role;
use harness::wait::SOON;
use harness::{Listener, Process, Server, eventually};
use native_peer::{Event as PeerEvent, Media, Options, Swarm};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

const ADMIN: &str = "an-admin-secret-of-this-test";

fn tiny() -> Value {
    json!({ "type": "test", "width": 64, "height": 36, "fps": 5, "audio": false })
}

fn any(_: &Value) -> bool {
    true
}

fn in_state(state: &str) -> impl Fn(&Value) -> bool {
    let state = state.to_owned();
    move |data| data["state"] == state.as_str()
}

#[test]
fn the_whole_life_of_a_streamer_is_told_to_whoever_listens_to_all_or_to_it() {
    let server = Server::start();
    let mut all = Listener::open(&server, "/api/events", &[]);
    server.create("other", tiny());
    server.create("demo", tiny());
    let created = all.until("created", |data| data["streamer"] == "demo");
    assert!(created["at"].is_string(), "{created}");
    let running = all.until("state", |data| data["streamer"] == "demo" && data["state"] == "running");
    assert!(running["reason"].is_null());
    let mut one = Listener::open(&server, "/api/streamers/demo/events", &[]);

    let mut swarm = Swarm::new(Options {
        server: server.address(),
        streamer: "demo".into(),
        role: Role::Controller,
        media: Media::Headers,
    })
    .unwrap();
    swarm.join().unwrap();
    let deadline = Instant::now() + SOON;
    loop {
        assert!(Instant::now() < deadline, "the peer does not connect");
        if let Some((_, PeerEvent::Connected)) =
            swarm.next(Instant::now() + Duration::from_millis(20)).unwrap()
        {
            break;
        }
    }
    let joined = one.until("peer-joined", any);
    assert_eq!((&joined["streamer"], &joined["kind"]), (&"demo".into(), &"native".into()));
    one.until("peer-changed", in_state("connected"));
    let peer = joined["peer"].clone();
    server.put("/api/streamers/demo/control", &json!({ "mode": "exclusive" })).expect(200);
    one.until("control", |data| data["mode"] == "exclusive" && data["holder"].is_null());
    server.put("/api/streamers/demo/control", &json!({ "holder": peer })).expect(200);
    one.until("control", |data| data["holder"] == peer);
    swarm.leave();
    drop(swarm);
    let left = one.until("peer-left", any);
    assert_eq!(left["peer"], peer);

    let of_demo = server.stats_until("demo", "its first counters", |_| true).process.pid;
    kill_process(Pid::from_raw(of_demo.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let ended = one.until("ended", any);
    assert_eq!(ended["exit"]["signal"], 9, "{ended}");
    assert!(ended["reason"].as_str().unwrap().contains("SIGKILL"));
    one.until("state", in_state("restarting"));
    one.until("state", in_state("running"));
    // The mode outlives the process. Told before it ends again, it is not among what comes last.
    one.until("control", |data| data["mode"] == "exclusive");
    server.delete("/api/streamers/demo").expect(204);
    one.until("state", in_state("stopping"));
    assert_eq!(one.rest(), ["deleted"], "and then the stream ends");
    // All of that was told to the other one, too, in the same order.
    all.until("peer-left", |data| data["streamer"] == "demo");
    all.until("ended", |data| data["streamer"] == "demo");
    all.until("deleted", |data| data["streamer"] == "demo");
    let problem = server.get("/api/streamers/demo/events").expect(404).problem();
    assert_eq!(problem.code, "streamer_not_found");
}

#[test]
fn who_comes_back_is_told_what_came_meanwhile_or_that_it_is_lost() {
    let mut server = Server::start();
    server.create("demo", tiny());
    let mut listener = Listener::open(&server, "/api/streamers/demo/events", &[]);
    let control = |server: &Server, mode: &str| {
        server.put("/api/streamers/demo/control", &json!({ "mode": mode })).expect(200);
    };
    control(&server, "exclusive");
    listener.until("control", |data| data["mode"] == "exclusive");
    let last = listener.last_id.clone();
    drop(listener);
    control(&server, "shared");
    server.create("other", tiny());
    control(&server, "exclusive");
    let back = [("last-event-id", last.as_str())];
    let mut again = Listener::open(&server, "/api/streamers/demo/events", &back);
    let modes: Vec<_> = (0..2).map(|_| again.event().unwrap().data["mode"].clone()).collect();
    assert_eq!(modes, ["shared", "exclusive"], "nothing twice, nothing left out, and nothing of others");

    // Another server knows nothing of it, and says so.
    server.kill();
    assert!(again.event().is_none());
    server.start_again();
    let mut listener = Listener::open(&server, "/api/streamers/demo/events", &back);
    assert_eq!(listener.event().unwrap().event, "missed");
    control(&server, "shared");
    listener.until("control", |data| data["mode"] == "shared");
    for nonsense in ["", "7", "garbage"] {
        let mut listener = Listener::open(&server, "/api/events", &[("last-event-id", nonsense)]);
        assert_eq!(listener.event().unwrap().event, "missed", "{nonsense:?}");
    }
}

#[test]
fn windows_and_the_clipboard_are_told_to_controllers_and_no_text_of_it_to_anybody() {
    let mut server = Server::start_configured(&format!("auth: {{admin_secrets: [{ADMIN}]}}"));
    server.use_token(ADMIN);
    // Each waits for the test: what happens before somebody listens is told to nobody.
    let program =
        "until test -e \"$HOME/rename\"; do sleep 0.05; done; printf '\\033]2;second\\007'; exec cat";
    let command = format!(
        "until test -e \"$HOME/open\"; do sleep 0.05; done; exec xterm -title first -e sh -c '{}'",
        program.replace('\'', "'\\''")
    );
    let source =
        json!({ "type": "desktop", "width": 640, "height": 480, "audio": false, "command": command });
    server.post("/api/streamers", &json!({ "id": "demo", "source": source })).expect(201);
    let bearer = |role: &str| {
        let token: Token =
            server.post("/api/streamers/demo/tokens", &json!({ "role": role })).expect(201).json();
        (format!("Bearer {}", token.token), token.token_id)
    };
    let (controller, _) = bearer("controller");
    let (viewer, token_of_viewer) = bearer("viewer");
    let path = "/api/streamers/demo/events";
    let mut controls = Listener::open(&server, path, &[("authorization", &controller)]);
    let mut views = Listener::open(&server, path, &[("authorization", &viewer)]);
    let (status, _) = Listener::ask(&server, "/api/events", &[("authorization", &controller)]);
    assert_eq!(status, 403, "all of them are for admins");

    let home = server.state_dir().join("homes/session/demo");
    let go_on = |flag: &str| eventually("its home is there", || std::fs::write(home.join(flag), "").ok());
    go_on("open");
    let opened = controls.until("window-opened", |data| data["title"] == "first");
    assert_eq!(opened["app"], "XTerm");
    go_on("rename");
    let titled = controls.until("window-titled", |data| data["title"] == "second");
    assert_eq!(titled["window_id"], opened["window_id"]);
    let secret = "a secret that was copied";
    server.put("/api/streamers/demo/clipboard", &json!({ "text": secret })).expect(204);
    let changed = controls.until("clipboard-changed", any);
    assert!(!changed.to_string().contains("secret"), "{changed}");
    // As a browser does it: only what is finished is told, by its last name.
    let downloads = home.join("Downloads");
    std::fs::create_dir(&downloads).unwrap();
    std::fs::write(downloads.join("a b.pdf.crdownload"), "half").unwrap();
    std::fs::rename(downloads.join("a b.pdf.crdownload"), downloads.join("a b.pdf")).unwrap();
    let downloaded = controls.until("downloaded", any);
    assert_eq!(
        (&downloaded["file"]["path"], &downloaded["file"]["size"]),
        (&json!("Downloads/a%20b.pdf"), &json!(4))
    );
    let xterm = |process: &Process| process.command_line.contains("xterm");
    let xterm = server.session_processes().into_iter().find(xterm).unwrap();
    kill_process(Pid::from_raw(xterm.pid).unwrap(), Signal::TERM).unwrap();
    // The session ends with its command, so the window is either told to be closed, or gone with it.
    controls.until("ended", any);
    let mut seen = vec![views.event().unwrap()];
    while seen.last().unwrap().event != "ended" {
        seen.push(views.event().unwrap());
    }
    let names: Vec<_> = seen.iter().map(|told| told.event.as_str()).collect();
    assert!(names.iter().all(|name| ["state", "ended"].contains(name)), "{names:?}");

    server.delete(&format!("/api/streamers/demo/tokens/{token_of_viewer}")).expect(204);
    views.rest();
}

#[test]
fn a_window_that_is_closed_is_told() {
    let server = Server::start();
    let command = "until test -e \"$HOME/open\"; do sleep 0.05; done; \
                   xterm -title short -e sleep 1000 & exec xterm -title long";
    let source =
        json!({ "type": "desktop", "width": 640, "height": 480, "audio": false, "command": command });
    server.post("/api/streamers", &json!({ "id": "demo", "source": source })).expect(201);
    let mut listener = Listener::open(&server, "/api/streamers/demo/events", &[]);
    // What happens before somebody listens is told to nobody.
    let flag = server.state_dir().join("homes/session/demo/open");
    eventually("its home is there", || std::fs::write(&flag, "").ok());
    let opened = listener.until("window-opened", |data| data["title"] == "short");
    // Not the init above it, whose arguments name it as well: with that the session would end.
    let short = |process: &Process| process.command_line.starts_with("xterm -title short");
    let short = eventually("it runs", || server.session_processes().into_iter().find(short));
    kill_process(Pid::from_raw(short.pid).unwrap(), Signal::TERM).unwrap();
    listener.until("window-closed", |data| data["window_id"] == opened["window_id"]);
}

#[test]
fn so_many_listen_at_once_and_no_more_and_a_server_that_ends_waits_for_none() {
    let server = Server::start();
    let mut listeners: Vec<_> = (0..64).map(|_| Listener::open(&server, "/api/events", &[])).collect();
    let (status, refused) = Listener::ask(&server, "/api/events", &[]);
    let body = refused.text();
    assert_eq!(status, 429, "{body}");
    assert!(body.contains("too_many_listeners"), "{body}");
    drop(listeners.pop());
    eventually("a place is free", || {
        let (status, _) = Listener::ask(&server, "/api/events", &[]);
        (status == 200).then_some(())
    });
    // Comments come when nothing else does.
    let first = &mut listeners[0];
    let heartbeat = std::iter::from_fn(|| first.line()).find(|line| line.starts_with(": nothing"));
    assert!(heartbeat.is_some());
    kill_process(Pid::from_raw(server.process().pid).unwrap(), Signal::TERM).unwrap();
    // It cuts what has not ended after two seconds.
    let ended = listeners.into_iter().map(Listener::is_ended).filter(|ended| *ended).count();
    assert_eq!(ended, 63, "it ends them itself");
}

#[test]
fn a_listener_that_never_reads_holds_up_nobody() {
    let server = Server::start();
    server.create("demo", tiny());
    let _deaf = Listener::open(&server, "/api/events", &[]);
    let mut listener = Listener::open(&server, "/api/events", &[]);
    for round in 0..500 {
        let mode = if round % 2 == 0 { "exclusive" } else { "shared" };
        server.put("/api/streamers/demo/control", &json!({ "mode": mode })).expect(200);
        listener.until("control", |data| data["mode"] == mode);
    }
}
