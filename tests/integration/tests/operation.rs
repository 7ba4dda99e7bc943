//! What operators see: configuration, metrics, readiness, logs.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::path::Path;
use std::process::{Command, Output};

use harness::server::binary;
use harness::{Server, eventually};
use serde_json::{Value, json};

fn test_source() -> Value {
    json!({ "type": "test", "width": 320, "height": 180, "fps": 30, "audio": false })
}

/// `web-server` with these arguments and no variables of ours but these.
fn web_server(arguments: &[&str], variables: &[(&str, &str)]) -> Output {
    let mut command = Command::new(binary("web-server"));
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("ORIEL_")) {
        command.env_remove(name);
    }
    command.args(arguments).envs(variables.iter().copied()).output().unwrap()
}

fn write(dir: &Path, name: &str, text: &str) -> String {
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    path.to_str().unwrap().to_owned()
}

#[test]
fn a_configuration_is_checked_without_starting_anything() {
    let dir = tempfile::tempdir().unwrap();
    let good = write(
        dir.path(),
        "good.toml",
        "max_peers = 7\n[streams]\na = \"rtsp://u:hunter2@h/x\"\n\
         b = \"exec:curl http://u:hunter2@h\"\n",
    );
    let bad = write(dir.path(), "bad.yaml", "max_peer: 7\n");
    let state = dir.path().join("state");
    let state = state.to_str().unwrap();

    let checked = web_server(&["check-config", "--config", &good, "--state-dir", state], &[]);
    assert!(checked.status.success(), "{checked:?}");
    // Where it is written there need be no streamer; it would not start there, which is said.
    let elsewhere =
        ["check-config", "--config", &good, "--state-dir", state, "--streamer-bin", "/nowhere/streamer"];
    let checked = web_server(&elsewhere, &[]);
    assert!(checked.status.success(), "{checked:?}");
    assert!(
        String::from_utf8_lossy(&checked.stderr).contains("no streamer binary at /nowhere/streamer"),
        "{checked:?}"
    );
    let printed = web_server(&["print-config", "--streamer-bin", "/nowhere/streamer"], &[]);
    assert!(printed.status.success(), "{printed:?}");
    let started = web_server(&["--state-dir", state, "--streamer-bin", "/nowhere/streamer"], &[]);
    assert_eq!(started.status.code(), Some(2), "{started:?}");
    let refused = web_server(&["--config", &bad, "check-config"], &[]);
    assert_eq!(refused.status.code(), Some(2));
    let error = String::from_utf8_lossy(&refused.stderr);
    assert!(error.contains("did you mean `max_peers`?"), "{error}");

    let arguments = ["print-config", "--config", &good, "--state-dir", state, "--port=0"];
    let printed = web_server(&arguments, &[("ORIEL_LOG", "debug"), ("ORIEL_LOK", "x")]);
    let text = String::from_utf8_lossy(&printed.stdout);
    for (key, origin) in [
        ("max_peers: 7", good.as_str()),
        ("log: \"debug\"", "ORIEL_LOG"),
        ("port: 0", "--port"),
        ("max_streamers: 64", "default"),
    ] {
        let line = text.lines().find(|line| line.starts_with(key));
        let line = line.unwrap_or_else(|| panic!("{key} is not in\n{text}"));
        assert!(line.ends_with(&format!("# {origin}")), "{line}");
    }
    assert!(!text.contains("hunter2"), "{text}");
    let warned = String::from_utf8_lossy(&printed.stderr);
    assert!(warned.contains("ORIEL_LOK") && warned.contains("did you mean ORIEL_LOG?"), "{warned}");
    assert!(!Path::new(state).exists(), "nothing was started");
}

#[test]
fn metrics_follow_a_streamer_and_go_with_it() {
    let server = Server::start_configured("metrics: {per_peer: true}");
    server.create("demo", test_source());
    server.stats_until("demo", "pictures are counted", |stats| stats.video.encoded > 0);
    let metrics = || {
        let answer = server.get("/metrics").expect(200);
        assert!(answer.content_type.starts_with("text/plain; version=0.0.4"), "{}", answer.content_type);
        String::from_utf8(answer.body).unwrap()
    };
    let text = metrics();
    let value = |text: &str, series: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(series)?.trim().parse::<f64>().ok());
        line.unwrap_or_else(|| panic!("{series} is not in\n{text}"))
    };
    assert!(value(&text, "oriel_video_frames_encoded_total{streamer=\"demo\"}") > 0.0);
    assert!(value(&text, "oriel_streamer_resident_bytes{streamer=\"demo\"}") > 1e6);
    assert_eq!(value(&text, "oriel_streamers{state=\"running\"}"), 1.0);
    assert_eq!(value(&text, "oriel_streamers_created_total"), 1.0);
    let created = "oriel_http_responses_total{method=\"POST\",route=\"/api/streamers\",status=\"201\"}";
    assert_eq!(value(&text, created), 1.0);
    let one = "oriel_http_request_seconds_count{method=\"POST\",route=\"/api/streamers\"}";
    assert_eq!(value(&text, one), 1.0);

    server.delete("/api/streamers/demo").expect(204);
    let text = metrics();
    assert!(!text.contains("streamer=\"demo\""), "{text}");
    assert_eq!(value(&text, "oriel_streamers{state=\"running\"}"), 0.0);
}

#[test]
fn readyz_says_what_is_missing() {
    let dir = tempfile::tempdir().unwrap();
    let program = dir.path().join("streamer");
    std::fs::copy(binary("streamer"), &program).unwrap();
    let server = Server::start_configured(&format!("streamer_bin: {}", program.display()));
    assert_eq!(server.get("/readyz").expect(200).body, b"ready\n");
    std::fs::remove_file(&program).unwrap();
    let problem = server.get("/readyz").expect(503).problem();
    assert_eq!(problem.code, "not_ready");
    assert!(problem.detail.contains(program.to_str().unwrap()), "{problem:?}");
    server.get("/healthz").expect(200);
}

#[test]
fn both_processes_log_json_in_which_the_streamer_is_named() {
    let server = Server::start_configured("log: debug\nlog_format: json");
    server.create("demo", test_source());
    let run_dir = server.run_dirs().remove(0);
    let named = |text: &str| {
        // The last line may be half written.
        let whole = text.rsplit_once('\n').map_or("", |(whole, _)| whole);
        // Standard output is in the same file.
        let line = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error}: {line}"));
        let lines: Vec<Value> = whole.lines().map(line).collect();
        lines.into_iter().find(|line| line["span"]["id"] == "demo" || line["spans"][0]["id"] == "demo")
    };
    let of_server = eventually("the web-server names it", || named(&server.log()));
    assert_eq!(of_server["spans"][0]["name"], "streamer", "{of_server}");
    eventually("the streamer names itself", || {
        named(&std::fs::read_to_string(run_dir.join(common::ipc::LOG_FILE)).unwrap_or_default())
    });
}
