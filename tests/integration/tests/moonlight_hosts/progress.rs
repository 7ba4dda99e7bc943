//! How far a stream is, what keeps it from beginning, and how it does, as the API tells.

use common::slots::{HostStage, LinkQuality, SourceList};
use harness::{Server, eventually};
use serde_json::{Value, json};

use crate::host::{Known, stream_of};
use crate::pictures::Viewer;

/// Asks for a streamer without waiting for it.
fn ask(server: &Server, host: &Known, id: &str) {
    let source = json!({ "type": "moonlight", "host_id": host.id, "app": "Desktop", "width": 640, "height": 360, "fps": 30 });
    server.post("/api/streamers", &json!({ "id": id, "source": source })).expect(201);
}

/// Waits until a stream is at this stage.
#[track_caller]
fn at(server: &Server, id: &str, stage: HostStage) {
    eventually("the stage", || {
        let answer = server.get(&format!("/api/streamers/{id}/sources"));
        let list: SourceList = (answer.status == 200).then(|| answer.json())?;
        let now = list.sources.into_iter().find_map(|source| source.host)?;
        (now.stage == stage).then_some(())
    });
}

#[test]
fn each_stage_is_told_while_a_host_is_slow() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    for (id, fault, stage) in [
        ("asked", json!({ "http": { "serverinfo": "hang" } }), HostStage::Asking),
        ("launched", json!({ "http": { "launch": "hang" } }), HostStage::Launching),
        ("negotiated", json!({ "rtsp": { "DESCRIBE": "hang" } }), HostStage::Negotiating),
        ("waiting", json!({ "mute_video": true }), HostStage::Waiting),
    ] {
        host.fake.change(&fault);
        ask(&server, &host, id);
        at(&server, id, stage);
        host.fake.change(&json!({ "http": {}, "rtsp": {} }));
        if stage == HostStage::Waiting {
            host.fake.change(&json!({ "mute_video": false }));
            at(&server, id, HostStage::Streaming);
        }
        server.delete(&format!("/api/streamers/{id}")).expect(204);
        host.fake.act(&json!({ "action": "restart" }));
    }
}

#[test]
fn what_keeps_a_stream_from_beginning_has_its_code_whoever_asks() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({ "busy_with": 1_093_255_277 }));
    ask(&server, &host, "busy");
    let failed = eventually("the streamer has failed", || {
        let streamer: Value = server.get("/api/streamers/busy").expect(200).json();
        (streamer["state"] == "failed").then_some(streamer)
    });
    assert_eq!(failed["exit"]["reason"]["code"], "host_busy", "{failed}");
    // A source among others has failed, and its streamer goes on.
    let source = json!({ "type": "moonlight", "host_id": host.id, "app": "Desktop" });
    let sources = json!({ "game": source });
    let several = json!({ "id": "several", "sources": sources, "source": { "type": "test" } });
    server.post("/api/streamers?wait=running", &several).expect(201);
    let failure = eventually("the failure", || stream_of(&server, "several").failure);
    assert_eq!((failure.stage, failure.code.as_str()), (HostStage::Launching, "host_busy"));
    host.fake.change(&json!({ "busy_with": null }));
    // Whoever asks for it begins it anew.
    server.post("/api/streamers/several/slots", &json!({ "source": "game" })).expect(201);
    at(&server, "several", HostStage::Streaming);
    assert_eq!(stream_of(&server, "several").failure, None);
}

#[test]
fn a_poor_connection_is_told_and_so_is_its_recovery() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    host.stream(&server, "poor").expect(201);
    let mut viewer = Viewer::join(server.address(), "poor");
    let mut until = |quality| {
        eventually("the quality", || {
            viewer.see(1);
            (stream_of(&server, "poor").quality == Some(quality)).then_some(())
        });
    };
    until(LinkQuality::Ok);
    host.fake.change(&json!({ "video": { "loss": 0.5 }, "fec_percent": 5 }));
    eventually("the quality", || {
        (stream_of(&server, "poor").quality == Some(LinkQuality::Poor)).then_some(())
    });
    host.fake.change(&json!({ "video": {}, "fec_percent": 20 }));
    until(LinkQuality::Ok);
    host.fake.change(&json!({ "mute_video": true }));
    eventually("a host that is silent is not ok", || {
        (stream_of(&server, "poor").quality == Some(LinkQuality::Poor)).then_some(())
    });
}

#[test]
fn an_app_that_takes_long_to_launch_leaves_its_host_paired() {
    let server = Server::start();
    // Longer than anybody waits for an answer that a host has ready: nobody else is answered over TLS meanwhile.
    let host = Known::pair(&server, &json!({ "launch_ms": 15_000 }));
    ask(&server, &host, "slow");
    at(&server, "slow", HostStage::Launching);
    let view: Value = server.get(&host.path("")).expect(200).json();
    assert_eq!((&view["paired"], &view["state"]), (&json!(true), &json!("online")), "{view}");
    assert_eq!(stream_of(&server, "slow").stage, HostStage::Launching, "it was asked meanwhile");
    at(&server, "slow", HostStage::Streaming);
    assert!(
        stream_of(&server, "slow").round_trip_ms.is_none_or(|ms| ms < 400.0),
        "no guess is told as measured"
    );
    assert_eq!(host.complaints(), json!([]), "no TLS session is resumed");
}

#[test]
fn a_host_with_no_stream_to_spare_is_busy() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({ "one_session": true }));
    host.stream(&server, "first").expect(201);
    assert_eq!(host.stream(&server, "second").expect(409).problem().code, "host_busy");
    at(&server, "first", HostStage::Streaming);
}

#[test]
fn a_host_that_is_told_to_stop_and_starts_again_is_come_back_to() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    host.stream(&server, "stays").expect(201);
    at(&server, "stays", HostStage::Streaming);
    // With the very code by which an app ends.
    host.fake.act(&json!({ "action": "shutdown", "down_ms": 4_000 }));
    at(&server, "stays", HostStage::Lost);
    assert_eq!(stream_of(&server, "stays").termination.as_deref(), Some("0x80030023"));
    at(&server, "stays", HostStage::Streaming);
    assert_eq!(host.fake.counter("sessions"), 2);
}

#[test]
fn a_host_that_ends_the_stream_for_now_is_come_back_to_and_its_code_stays() {
    let server = Server::start();
    let host = Known::pair(&server, &json!({}));
    host.stream(&server, "ended").expect(201);
    // It is not back before the failure has been read.
    let refused = json!({ "http": { "launch": { "status": { "code": 500, "message": "not now" } } } });
    host.fake.change(&refused);
    // Frames could not be converted: no end that anybody has asked for.
    host.fake.act(&json!({ "action": "terminate", "code": 0x800e_9403_u32 }));
    let failure = eventually("it is lost", || stream_of(&server, "ended").failure);
    assert!(["host_lost", "host_refused"].contains(&failure.code.as_str()), "{failure:?}");
    host.fake.change(&json!({ "http": {} }));
    at(&server, "ended", HostStage::Streaming);
    let stream = stream_of(&server, "ended");
    assert_eq!((stream.termination.as_deref(), stream.failure), (Some("0x800e9403"), None));
    // The app has ended: so does the session, with that as its reason.
    host.fake.act(&json!({ "action": "terminate", "code": 0x8003_0023_u32 }));
    let ended = eventually("the streamer has ended", || {
        let answer = server.get("/api/streamers/ended");
        let streamer: Value = (answer.status == 200).then(|| answer.json())?;
        streamer["exit"]["reason"]["kind"].is_string().then_some(streamer)
    });
    let reason = &ended["exit"]["reason"];
    assert!(reason["message"].as_str().is_some_and(|text| text.contains("0x80030023")), "{ended}");
}
