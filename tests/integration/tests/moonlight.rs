//! Moonlight hosts from the outside: added, paired, listed, streamed, by REST; keys on disk; what is refused and why.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::os::unix::fs::PermissionsExt;

use harness::gamestream::PIN;
use harness::{FakeHost, Picture, Server, eventually};
use serde_json::{Value, json};

fn add(server: &Server, host: &FakeHost) -> Value {
    let body = json!({"address": "127.0.0.1", "http_port": host.ports().http_port});
    server.post("/api/hosts", &body).expect(201).json()
}

fn path(host: &Value, rest: &str) -> String {
    format!("/api/hosts/{}{rest}", host["id"].as_str().unwrap())
}

/// Until the attempt to pair is over.
fn paired(server: &Server, host: &Value) -> Value {
    eventually("pairing is over", || {
        let host: Value = server.get(&path(host, "")).expect(200).json();
        let state = host["pairing"]["state"].as_str().unwrap().to_owned();
        (state == "paired" || state == "failed").then_some(host)
    })
}

/// Pairs, by the PIN that the server tells.
fn pair(server: &Server, fake: &FakeHost, host: &Value) -> Value {
    let started: Value = server.post(&path(host, "/pair"), &json!({})).expect(202).json();
    assert_eq!(started["state"], "waiting_for_pin");
    eventually("the host wants a PIN", || fake.state()["pin_wanted"].as_bool()?.then_some(()));
    fake.type_pin(started["pin"].as_str().unwrap());
    paired(server, host)
}

fn source(host: &Value, app: &str) -> Value {
    json!({"source": {
        "type": "moonlight", "host_id": host["id"], "app": app, "width": 640, "height": 360, "fps": 30,
    }})
}

#[test]
fn a_host_is_added_paired_and_streamed() {
    let server = Server::start();
    let fake = FakeHost::start_without_pin(&json!({}));
    let host = add(&server, &fake);
    assert_eq!(
        (&host["name"], &host["paired"], &host["state"]),
        (&json!("Fake Host"), &json!(false), &json!("online"))
    );
    assert_eq!((&host["codecs"], &host["pairing"]), (&json!(["h264"]), &Value::Null));
    let again = json!({"address": "127.0.0.1", "http_port": fake.ports().http_port});
    let again: Value = server.post("/api/hosts", &again).expect(200).json();
    assert_eq!(again["id"], host["id"]);

    let refused = server.get(&path(&host, "/apps")).expect(400).problem();
    assert_eq!(refused.code, "host_not_paired");
    let refused = server.post("/api/streamers", &source(&host, "Desktop")).expect(400).problem();
    assert_eq!(refused.code, "host_not_paired");

    let host = pair(&server, &fake, &host);
    assert_eq!((&host["pairing"], &host["paired"]), (&json!({"state": "paired"}), &json!(true)), "{host}");

    let apps: Value = server.get(&path(&host, "/apps")).expect(200).json();
    assert_eq!(apps["apps"][0]["name"], "Desktop");
    let image = server.get(apps["apps"][0]["image"].as_str().unwrap()).expect(200);
    assert!(image.content_type == "image/png" && Picture::from_png(&image.body).width > 0);

    let refused =
        server.post("/api/streamers?wait=running", &source(&host, "Nonsense")).expect(404).problem();
    assert_eq!(refused.code, "app_not_found");
    let mut spec = source(&host, "Desktop");
    spec["id"] = json!("game");
    let streamer: Value = server.post("/api/streamers?wait=running", &spec).expect(201).json();
    assert_eq!(streamer["state"], "running");
    assert!(streamer["spec"]["source"].get("access").is_none(), "{streamer}");
    server.post("/api/streamers", &spec).expect(200);
    let snapshot = server.get("/api/streamers/game/snapshot").expect(200);
    assert!(Picture::from_png(&snapshot.body).colours() > 1);
    eventually("its stage is told", || {
        let sources: Value = server.get("/api/streamers/game/sources").expect(200).json();
        (sources["sources"][0]["host"]["stage"] == "streaming").then_some(())
    });
    let press = json!({"events": [{"type": "key", "code": "KeyA"}]});
    // What is done before the host listens goes nowhere.
    eventually("a key at the host", || {
        server.post("/api/streamers/game/input", &press).expect(204);
        fake.inputs().iter().any(|input| input["vk"] == 0x41).then_some(())
    });
    let host: Value = server.get(&path(&host, "")).expect(200).json();
    assert_eq!(host["current_app"], json!({"id": 1, "name": "Desktop"}));

    for file in ["client-key.pem", "client-certificate.pem", "hosts.json"] {
        let mode =
            std::fs::metadata(server.state_dir().join("moonlight").join(file)).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{file}");
    }
    server.delete("/api/streamers/game").expect(204);
    server.post(&path(&host, "/cancel"), &json!({})).expect(204);
    assert_eq!(fake.state()["app"], Value::Null);
    assert_eq!(fake.state()["complaints"], json!([]));
}

#[test]
fn behind_a_path_prefix_all_paths_in_answers_have_it() {
    let secret = "an-admin-secret-of-this-test";
    let mut server = Server::start_with(&[("ORIEL_ADMIN_SECRET", secret), ("ORIEL_BASE_PATH", "/oriel")]);
    server.use_token(secret);
    let fake = FakeHost::start_without_pin(&json!({}));
    let body = json!({"address": "127.0.0.1", "http_port": fake.ports().http_port});
    let added = server.post("/oriel/api/hosts", &body).expect(201);
    let location = added.location.clone().unwrap();
    assert_eq!(location, format!("/oriel/api/hosts/{}", added.json::<Value>()["id"].as_str().unwrap()));
    let started: Value = server.post(&format!("{location}/pair"), &json!({})).expect(202).json();
    assert_eq!(started["state"], "waiting_for_pin");
    fake.type_pin(started["pin"].as_str().unwrap());
    eventually("the host is paired", || {
        let host: Value = server.get(&location).expect(200).json();
        host["paired"].as_bool()?.then_some(())
    });
    let apps: Value = server.get(&format!("{location}/apps")).expect(200).json();
    let image = apps["apps"][0]["image"].as_str().unwrap();
    assert_eq!(image, format!("{location}/apps/1/image"));
    assert_eq!(server.get(image).expect(200).content_type, "image/png");
}

#[test]
fn what_cannot_be_done_with_a_host_has_its_code() {
    let server = Server::start();
    let unknown = json!({"id": "unknown"});
    for (method, rest) in
        [("GET", ""), ("DELETE", ""), ("POST", "/pair"), ("GET", "/apps"), ("POST", "/cancel")]
    {
        let answer = server.send(method, &path(&unknown, rest), "application/json", b"{}").expect(404);
        assert_eq!(answer.problem().code, "host_not_found", "{method} {rest}");
    }
    let refused = server.post("/api/streamers", &source(&unknown, "x")).expect(404).problem();
    assert_eq!(refused.code, "host_not_found");
    let nobody = json!({"address": "127.0.0.1", "http_port": 1});
    assert_eq!(server.post("/api/hosts", &nobody).expect(504).problem().code, "host_timeout");
    let bad = json!({"address": "a b"});
    assert_eq!(server.post("/api/hosts", &bad).expect(400).problem().field.as_deref(), Some("address"));

    let fake = FakeHost::start_without_pin(&json!({}));
    let host = add(&server, &fake);
    let started: Value = server.post(&path(&host, "/pair"), &json!({})).expect(202).json();
    let same: Value = server.post(&path(&host, "/pair"), &json!({})).expect(202).json();
    assert_eq!(started, same, "one attempt at a time");
    eventually("the host wants a PIN", || fake.state()["pin_wanted"].as_bool()?.then_some(()));
    let wrong = if started["pin"] == PIN { "4321" } else { PIN };
    fake.type_pin(wrong);
    assert_eq!(paired(&server, &host)["pairing"]["code"], "wrong_pin");
    // The host has not been left with a half-open attempt, which would cost the next one its answer.
    assert_eq!(pair(&server, &fake, &host)["pairing"]["state"], "paired");
    server.delete(&path(&host, "")).expect(204);
    server.get(&path(&host, "")).expect(404);
}

#[test]
fn a_host_that_was_installed_anew_is_refused_until_it_is_paired_again() {
    let server = Server::start();
    let fake = FakeHost::start_without_pin(&json!({}));
    let host = add(&server, &fake);
    assert_eq!(pair(&server, &fake, &host)["paired"], true);
    fake.change(&json!({"certificate": "second"}));
    // Whatever is asked before: it is not one that has forgotten us.
    for _ in 0..2 {
        let view: Value = server.get(&path(&host, "")).expect(200).json();
        assert_eq!((&view["paired"], &view["certificate_changed"]), (&json!(true), &json!(true)), "{view}");
    }
    let source = json!({"type": "moonlight", "host_id": host["id"], "app": "Desktop"});
    let refused =
        server.post("/api/streamers?wait=running", &json!({"source": source})).expect(409).problem();
    assert_eq!(refused.code, "host_certificate_changed");
    let refused = server.get(&path(&host, "/apps")).expect(502).problem();
    assert_eq!(refused.code, "host_certificate_changed");
    assert_eq!(pair(&server, &fake, &host)["pairing"]["state"], "paired");
    server.get(&path(&host, "/apps")).expect(200);
    let view: Value = server.get(&path(&host, "")).expect(200).json();
    assert_eq!(view["certificate_changed"], false, "{view}");
    fake.act(&json!({"action": "unpair"}));
    assert_eq!(server.get(&path(&host, "/apps")).expect(400).problem().code, "host_not_paired");
}
