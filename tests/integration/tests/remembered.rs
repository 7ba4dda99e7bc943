//! What outlives the web-server and the machine.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::fs;
use std::io::Write;
use std::net::{Shutdown, TcpStream};
use std::process::{Command, Stdio};
use std::thread;

use common::audit::{AuditAction, AuditList};
use common::signal::StreamerState;
use harness::server::binary;
use harness::{Server, eventually};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};

fn test_source(width: u32) -> Value {
    json!({ "type": "test", "width": width, "height": 90, "fps": 10, "audio": false })
}

/// Ends the web-server and every session at once, as the loss of power would, and starts the machine again as far as anybody can see;
/// what is in the state directory stays.
fn lose_power(server: &mut Server) {
    server.kill();
    for dir in server.run_dirs() {
        let file = dir.join("id.json");
        let mut meta: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
        meta["boot"] = json!("the one before");
        fs::write(file, meta.to_string()).unwrap();
    }
    let sessions = server.session_processes();
    // All are stopped before any of them can act on the end of another.
    for signal in [Signal::STOP, Signal::KILL] {
        for process in &sessions {
            // It may have ended with the one that was killed before it.
            let _ = kill_process(Pid::from_raw(process.pid).unwrap(), signal);
        }
    }
    eventually("all have ended", || sessions.iter().all(|process| !process.is_alive()).then_some(()));
}

fn trail(server: &Server, id: &str) -> Vec<AuditAction> {
    let list: AuditList = server.get(&format!("/api/streamers/{id}/audit")).expect(200).json();
    list.entries.iter().rev().map(|entry| entry.action).collect()
}

#[test]
fn after_a_loss_of_power_all_that_was_there_is_there_again_as_it_was_left() {
    let mut server = Server::start();
    let created = server.create("kept", test_source(160));
    server.create("gone", test_source(160));
    let added = json!({ "name": "more", "source": test_source(320) });
    server.post("/api/streamers/kept/sources", &added).expect(204);
    server.put("/api/streamers/kept/slots/2", &json!({ "source": "more" })).expect(200);
    server.delete("/api/streamers/kept/slots/0").expect(204);
    server.delete("/api/streamers/gone").expect(204);

    lose_power(&mut server);
    server.start_again();

    let back = server.state_until("kept", StreamerState::Running);
    assert_eq!((&back.spec, back.created), (&created.spec, created.created));
    let slots = eventually("it shows what it showed", || {
        let slots = server.streamer("kept")?.slots;
        let slots: Vec<_> = slots.iter().map(|slot| (slot.slot, slot.source.clone(), slot.width)).collect();
        // Its size is told with its first picture.
        (slots.len() == 1 && slots[0].0 == 2 && slots[0].2.is_some()).then_some(slots)
    });
    assert_eq!(slots, [(2, "more".to_owned(), Some(320))]);
    assert!(server.streamer("gone").is_none(), "what was deleted stays deleted");
    assert_eq!(server.run_dirs().len(), 1);
    assert_eq!(trail(&server, "kept"), [AuditAction::Created, AuditAction::Restarted]);
    assert_eq!(trail(&server, "gone"), [AuditAction::Created, AuditAction::Deleted]);
    let page: AuditList = server.get("/api/streamers/kept/audit?limit=1").expect(200).json();
    assert_eq!(page.entries[0].action, AuditAction::Restarted);
    let rest = format!("/api/streamers/kept/audit?before={}", page.entries[0].seq);
    assert_eq!(server.get(&rest).expect(200).json::<AuditList>().entries[0].action, AuditAction::Created);
    server.get("/api/streamers/nobody/audit").expect(404).problem();
}

#[test]
fn what_a_client_asked_for_before_it_hung_up_is_there_again_too() {
    let mut server = Server::start();
    server.create("kept", test_source(160));
    // Large, so that its first picture takes a while.
    let large = json!({ "type": "test", "width": 3840, "height": 2160, "fps": 10, "audio": false });
    let added = json!({ "name": "large", "source": large });
    server.post("/api/streamers/kept/sources", &added).expect(204);

    let body = json!({ "source": "large" }).to_string();
    let mut client = TcpStream::connect(server.address()).unwrap();
    write!(
        client,
        "PUT /api/streamers/kept/slots/2 HTTP/1.1\r\nHost: {}\r\nContent-Type: application/json\r\n\
         Content-Length: {}\r\n\r\n{body}",
        server.address(),
        body.len()
    )
    .unwrap();
    let shows = |server: &Server| {
        let slots = server.streamer("kept")?.slots;
        slots.iter().any(|slot| slot.slot == 2 && slot.source == "large").then_some(())
    };
    eventually("the source is starting for it", || {
        let list: Value = server.get("/api/streamers/kept/sources").expect(200).json();
        let sources = list["sources"].as_array()?.clone();
        sources.iter().any(|source| source["name"] == "large" && source["state"] != "idle").then_some(())
    });
    client.shutdown(Shutdown::Both).unwrap();
    drop(client);
    eventually("it is shown all the same", || shows(&server));
    // Nobody waits until it is kept. It is written in order, and this is answered once it is.
    server.create("beside", test_source(160));

    lose_power(&mut server);
    server.start_again();

    server.state_until("kept", StreamerState::Running);
    eventually("it is shown again", || shows(&server));
}

#[test]
fn of_two_clients_at_once_the_one_whose_source_is_shown_is_kept() {
    let mut server = Server::start();
    server.create("kept", test_source(160));
    for name in ["a", "b"] {
        let added = json!({ "name": name, "source": test_source(320) });
        server.post("/api/streamers/kept/sources", &added).expect(204);
        // It runs from now on: neither of the two below waits for it.
        let slot = if name == "a" { 1 } else { 2 };
        server.put(&format!("/api/streamers/kept/slots/{slot}"), &json!({ "source": name })).expect(200);
    }
    thread::scope(|scope| {
        for name in ["a", "b"] {
            let server = &server;
            scope.spawn(move || {
                for _ in 0..50 {
                    server.put("/api/streamers/kept/slots/3", &json!({ "source": name })).expect(200);
                }
            });
        }
    });
    let shown = |server: &Server| {
        let slots = server.streamer("kept")?.slots;
        slots.iter().find(|slot| slot.slot == 3).map(|slot| slot.source.clone())
    };
    let before = eventually("both are done", || shown(&server));

    lose_power(&mut server);
    server.start_again();

    server.state_until("kept", StreamerState::Running);
    assert_eq!(eventually("it shows something again", || shown(&server)), before);
}

#[test]
fn the_configured_streams_come_back_as_they_are_configured_now() {
    let stream = |width: u32| format!("streams: {{one: 'test:#width={width}#height=90'}}");
    let mut server = Server::start_configured(&stream(160));
    server.state_until("cameras", StreamerState::Running);
    lose_power(&mut server);
    server.configure(&stream(320));
    server.start_again();
    let cameras = server.state_until("cameras", StreamerState::Running);
    let spec = serde_json::to_value(&cameras.spec).unwrap();
    assert_eq!(spec["sources"]["one"]["width"], 320, "{spec}");
}

#[test]
fn a_damaged_database_ends_the_start_with_its_name_and_is_not_touched() {
    let mut server = Server::start();
    server.create("demo", test_source(160));
    server.kill();
    let file = server.state_dir().join("state.db");
    for beside in ["state.db-wal", "state.db-shm"] {
        let _ = fs::remove_file(server.state_dir().join(beside));
    }
    fs::write(&file, "this was a database once").unwrap();
    let output = Command::new(binary("web-server"))
        .args(["--port", "0", "--state-dir"])
        .arg(server.state_dir())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success() && said.contains("state.db") && said.contains("damaged"), "{said}");
    assert_eq!(fs::read(&file).unwrap(), b"this was a database once");

    // As the message says: without it, what runs is found all the same.
    fs::remove_file(&file).unwrap();
    server.start_again();
    assert_eq!(server.streamer("demo").map(|now| now.state), Some(StreamerState::Running));
}
