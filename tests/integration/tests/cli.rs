//! `oriel`, the command line program, against a real server.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};

use harness::{Server, Watched, binary, eventually};
use serde_json::{Value, json};

const SECRET: &str = "a-secret-that-is-long-enough-for-admins";

/// `oriel`, which knows nothing of this machine's own servers, on its way to `url`.
fn oriel(url: &str) -> Command {
    let mut command = Command::new(binary("oriel"));
    for name in ["ORIEL_TOKEN", "ORIEL_TOKEN_FILE", "ORIEL_CONTEXT", "ORIEL_CA_FILE"] {
        command.env_remove(name);
    }
    command.env("XDG_CONFIG_HOME", "/nonexistent").env("ORIEL_URL", url).stdin(Stdio::null());
    command
}

fn run(server: &Server, arguments: &[&str]) -> Output {
    oriel(&server.url("")).args(arguments).output().unwrap()
}

/// Its standard output, if it exits with `code`.
#[track_caller]
fn expect(output: &Output, code: i32) -> String {
    let stdout = String::from_utf8_lossy(&output.stdout).into_owned();
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(code), "{stdout}\n{stderr}");
    // A failure is said in words, never as JSON.
    assert!(!stderr.contains('{'), "{stderr}");
    assert_eq!(code != 0, stderr.contains("oriel: ") || stderr.contains("error: "), "{stderr}");
    stdout
}

#[track_caller]
fn refusal(output: &Output, code: i32) -> String {
    expect(output, code);
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn sessions_are_created_listed_shown_and_deleted() {
    let server = Server::start();
    assert!(expect(&run(&server, &["ls"]), 0).starts_with("no sessions"));
    let made = run(&server, &["create", "a", "--preset", "test", "--size", "320x240", "--wait"]);
    assert_eq!(expect(&made, 0), "a\n");

    let list = expect(&run(&server, &["ls"]), 0);
    let row = list.lines().find(|line| line.starts_with("a ")).unwrap_or_else(|| panic!("{list}"));
    assert!(row.contains("running") && row.contains("test") && row.contains("320x240"), "{row}");
    let listed: Value = serde_json::from_str(&expect(&run(&server, &["ls", "--json"]), 0)).unwrap();
    assert_eq!(listed["streamers"][0]["id"], "a");
    assert!(expect(&run(&server, &["show", "a"]), 0).contains("running"));

    let shot = run(&server, &["shot", "a"]);
    assert_eq!(shot.status.code(), Some(0));
    // PNG §11.2.2: width and height follow the name of the first chunk.
    assert_eq!(shot.stdout[..8], *b"\x89PNG\r\n\x1a\n");
    assert_eq!(shot.stdout[16..24], [0, 0, 1, 64, 0, 0, 0, 240]);

    expect(&run(&server, &["update", "a", "--expires", "1h"]), 0);
    assert!(server.streamer("a").unwrap().expires_at.is_some());
    assert!(!expect(&run(&server, &["logs", "a"]), 0).is_empty());
    expect(&run(&server, &["create", "b", "--preset", "test"]), 0);
    refusal(&run(&server, &["rm", "--all"]), 2);
    expect(&run(&server, &["rm", "--all", "--yes"]), 0);
    assert!(server.streamer("a").is_none() && server.streamer("b").is_none());
}

#[test]
fn a_spec_is_read_from_standard_input_and_its_faults_name_the_field() {
    let server = Server::start();
    let create = |spec: &Value| {
        let mut child = oriel(&server.url(""))
            .args(["create", "c", "--spec", "-"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(spec.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    };
    let error = refusal(&create(&json!({ "source": { "type": "test", "width": 0 } })), 1);
    assert!(error.starts_with("oriel: Bad Request: must be from 16 to"), "{error}");
    assert!(error.contains("field source.width"), "{error}");
    expect(&create(&json!({ "source": { "type": "test" }, "slots": 2 })), 0);
    assert_eq!(server.streamer("c").unwrap().spec.slots, 2);
}

#[test]
fn exit_codes_tell_failures_apart() {
    let mut server = Server::start_with(&[("ORIEL_ADMIN_SECRET", SECRET)]);
    server.use_token(SECRET);
    let with = |token: &str, arguments: &[&str]| {
        oriel(&server.url("")).env("ORIEL_TOKEN", token).args(arguments).output().unwrap()
    };
    expect(&with(SECRET, &["ls"]), 0);
    let error = refusal(&with(SECRET, &["show", "nobody"]), 3);
    assert!(error.contains("nobody"), "{error}");
    refusal(&run(&server, &["ls"]), 4);
    let error = refusal(&with("wrong-secret", &["ls"]), 4);
    assert!(!error.contains("wrong-secret"), "{error}");
    let error = refusal(&with("bad\u{7f}secret", &["ls"]), 2);
    assert!(!error.contains("bad"), "{error}");
    refusal(&with(SECRET, &["show", "a/b"]), 2);
    refusal(&with(SECRET, &["shot"]), 2);

    // Taken and given back, so that nothing listens there.
    let nobody = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap();
    refusal(&oriel(&format!("http://{nobody}")).arg("ls").output().unwrap(), 5);
    // One that accepts and says nothing.
    let silent = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let url = format!("http://{}", silent.local_addr().unwrap());
    refusal(&oriel(&url).args(["ls", "--timeout", "1s"]).output().unwrap(), 6);
}

#[test]
fn tokens_permit_what_they_say_until_they_are_revoked() {
    let mut server = Server::start_with(&[("ORIEL_ADMIN_SECRET", SECRET)]);
    server.use_token(SECRET);
    server.create("a", json!({ "type": "test", "width": 320, "height": 240 }));
    let with = |token: &str, arguments: &[&str]| {
        oriel(&server.url("")).env("ORIEL_TOKEN", token).args(arguments).output().unwrap()
    };
    let made = expect(&with(SECRET, &["token", "create", "a", "--expires", "10m", "--json"]), 0);
    let made: Value = serde_json::from_str(&made).unwrap();
    let token = made["token"].as_str().unwrap();
    expect(&with(token, &["show", "a"]), 0);
    refusal(&with(token, &["rm", "a"]), 4);
    expect(&with(SECRET, &["token", "revoke", "a", made["token_id"].as_str().unwrap()]), 0);
    refusal(&with(token, &["show", "a"]), 4);

    let invited = with(SECRET, &["invite", "a", "--role", "controller"]);
    assert_eq!(invited.status.code(), Some(0));
    let link = String::from_utf8(invited.stdout).unwrap();
    let token = link.trim().strip_prefix(&server.url("/s/a#token=")).unwrap_or_else(|| panic!("{link}"));
    expect(&with(token, &["show", "a"]), 0);
}

#[test]
fn contexts_are_kept_for_their_owner_and_name_the_server() {
    let server = Server::start_with(&[("ORIEL_ADMIN_SECRET", SECRET)]);
    let folder = tempfile::tempdir().unwrap();
    let secret = folder.path().join("secret");
    std::fs::write(&secret, format!("{SECRET}\n")).unwrap();
    let here = |arguments: &[&str]| {
        let mut command = oriel("");
        command
            .env_remove("ORIEL_URL")
            .env("XDG_CONFIG_HOME", folder.path())
            .args(arguments)
            .output()
            .unwrap()
    };
    expect(&here(&["context", "add", "mine", &server.url(""), "--token-file", secret.to_str().unwrap()]), 0);
    expect(&here(&["context", "add", "other", "http://127.0.0.1:1"]), 0);
    let file = folder.path().join("oriel/contexts.toml");
    assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    expect(&here(&["ls"]), 0);
    refusal(&here(&["ls", "--context", "other"]), 5);
    expect(&here(&["context", "use", "other"]), 0);
    refusal(&here(&["ls"]), 5);
    expect(&here(&["ls", "--context", "mine"]), 0);
    // Its token is for its own server.
    refusal(&here(&["ls", "--url", &server.url("")]), 4);
    let listed = expect(&here(&["context", "ls"]), 0) + &expect(&here(&["context", "ls", "--json"]), 0);
    assert!(listed.contains("mine") && !listed.contains(SECRET), "{listed}");
    refusal(&here(&["ls", "--context", "nobody"]), 2);
    expect(&here(&["context", "rm", "mine"]), 0);
    refusal(&here(&["ls", "--context", "mine"]), 2);
}

#[test]
fn what_is_typed_and_clicked_reaches_a_program() {
    let watched = Watched::start("demo");
    let say = |arguments: &[&str]| expect(&run(&watched.server, arguments), 0);
    say(&["type", "demo", "x"]);
    say(&["key", "demo", "ctrl+c"]);
    say(&["click", "demo", "20", "30", "--button", "right"]);
    eventually("the program has seen all of it", || {
        let keys = Value::from(watched.seen("key", &["keysym", "down"])).to_string();
        let buttons = Value::from(watched.seen("button", &["button", "down", "x", "y"])).to_string();
        (keys.contains("[\"x\",true]")
            && keys.contains("[\"Control_L\",true],[\"c\",true]")
            && buttons.contains("[3,true,20,30]"))
        .then_some(())
    });
    let outside = run(&watched.server, &["click", "demo", "99999", "1"]);
    assert!(refusal(&outside, 1).contains("outside of the picture"));
}

#[test]
fn a_command_is_run_and_its_end_is_the_exit_code() {
    let server = Server::start();
    expect(&run(&server, &["run", "--id", "good", "--", "true"]), 0);
    assert!(server.streamer("good").is_some());
    let bad = run(&server, &["run", "--id", "bad", "--rm", "--", "sh", "-c", "echo some words; exit 3"]);
    assert_eq!(bad.status.code(), Some(7));
    let error = String::from_utf8_lossy(&bad.stderr).into_owned();
    assert!(error.contains("oriel: the command of bad has failed") && error.contains('3'), "{error}");
    assert!(server.streamer("bad").is_none());
    let long = run(&server, &["run", "--id", "long", "--rm", "--timeout", "2s", "--", "sleep", "1000"]);
    assert_eq!(long.status.code(), Some(6), "{}", String::from_utf8_lossy(&long.stderr));
    assert!(server.streamer("long").is_none());
}

/// Ends a program when a test is over, however it is over.
struct Ends(Child);

impl Drop for Ends {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn events_are_shown_as_they_happen_and_end_with_the_session() {
    let server = Server::start();
    server.create("a", json!({ "type": "test", "width": 320, "height": 240 }));
    let mut listener = oriel(&server.url(""));
    listener.args(["events", "a", "--json"]).stdout(Stdio::piped());
    let mut listener = Ends(listener.spawn().unwrap());
    let lines = BufReader::new(listener.0.stdout.take().unwrap()).lines();
    let (sender, received) = std::sync::mpsc::sync_channel(1024);
    let reader = std::thread::spawn(move || {
        for line in lines {
            sender.send(serde_json::from_str::<Value>(&line.unwrap()).unwrap()).unwrap();
        }
    });
    // Something happens until it is seen to listen.
    let mut modes = ["exclusive", "shared"].into_iter().cycle();
    let first = eventually("it shows an event", || {
        server.put("/api/streamers/a/control", &json!({ "mode": modes.next() })).expect(200);
        received.try_recv().ok()
    });
    assert_eq!((&first["type"], &first["streamer"]), (&json!("control"), &json!("a")));
    server.delete("/api/streamers/a").expect(204);
    reader.join().unwrap();
    let last = received.into_iter().last().unwrap();
    assert_eq!(last["type"], "deleted");
    assert!(listener.0.wait().unwrap().success());
}

#[test]
fn the_server_is_started_and_its_configuration_checked() {
    let folder = tempfile::tempdir().unwrap();
    let config = |what: &str, text: &str| {
        let file = folder.path().join("oriel.yaml");
        std::fs::write(&file, text).unwrap();
        let file = file.to_str().unwrap();
        oriel("").env_remove("ORIEL_URL").args(["config", what, "--config", file]).output().unwrap()
    };
    assert_eq!(config("check", "max_streamers: 3\n").status.code(), Some(0));
    assert_eq!(config("check", "max_streamer: 3\n").status.code(), Some(2));
    assert!(String::from_utf8_lossy(&config("print", "max_streamers: 3\n").stdout).contains("max_streamers"));
    let help = oriel("").args(["serve", "--help"]).output().unwrap();
    assert!(String::from_utf8_lossy(&help.stdout).contains("--state-dir"));
}

#[test]
fn completions_and_manual_pages_are_made() {
    for shell in ["bash", "zsh", "fish"] {
        let script = expect(&oriel("").args(["completions", shell]).output().unwrap(), 0);
        assert!(script.contains("oriel") && script.contains("windows"), "{shell}");
    }
    let folder = tempfile::tempdir().unwrap();
    expect(&oriel("").arg("man").arg(folder.path()).output().unwrap(), 0);
    for page in ["oriel.1", "oriel-create.1", "oriel-token-revoke.1"] {
        assert!(Path::new(folder.path()).join(page).is_file(), "{page}");
    }
}
