//! The host as a client sees it: everything by the protocol's document, with nothing of the host's own code but what
//! encrypts.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod client;
mod fec;

use std::time::Duration;

use client::{Client, Stream};
use fake_gamestream_host::scenario::{App, Certificate, HttpFault, Network, PairingFault, RtspFault};
use fake_gamestream_host::{Host, Options, Scenario};
use serde_json::{Value, json};

fn start(scenario: Scenario) -> (Host, Client) {
    let host = Host::start(Options { base_port: None, pin: Some("1234".to_owned()), scenario }).unwrap();
    let client = Client::new(host.ports());
    (host, client)
}

/// Looks until the host's state says so.
fn until(host: &Host, what: &str, look: impl FnMut(&mut fake_gamestream_host::host::State) -> Option<()>) {
    let found = host.shared().wait(Duration::from_secs(20), look);
    assert!(found.is_some(), "waited in vain until {what}");
}

#[test]
fn a_client_pairs_streams_steers_and_is_told_of_the_end() {
    let network = Network { loss: 0.03, reorder: 0.02, reorder_ms: 3, duplicate: 0.02, ..Network::default() };
    let scenario = Scenario {
        encryption_requested: 7,
        video: network,
        audio: Network { loss: 0.1, ..Network::default() },
        filler_bytes: 30_000,
        ..Scenario::default()
    };
    let (host, client) = start(scenario);
    client.pair("1234").unwrap();
    assert!(client.secure("applist", "").contains("<AppTitle>Desktop</AppTitle><ID>1</ID>"));
    let picture = client.secure_bytes("appasset", "&appid=1&AssetType=2&AssetIdx=0");
    assert!(picture.windows(4).any(|window| window == b"\x89PNG"));

    let mut stream = Stream::launch(&client, 1, 7);
    assert!(client.secure("serverinfo", "").contains("SUNSHINE_SERVER_BUSY"));
    let seen = stream.watch(60);
    assert!(seen.recovered > 10, "{seen:?}");
    assert!(seen.codes.len() >= 40 && seen.codes.is_sorted(), "{seen:?}");
    assert!(seen.sound_recovered > 0 && seen.opus_samples > 10_000, "{seen:?}");

    let before = host.shared().state().counters.keyframe_requests;
    stream.request_keyframe();
    until(&host, "a keyframe was asked for", |state| {
        (state.counters.keyframe_requests > before && state.counters.keyframes > 1).then_some(())
    });
    // Key A, haptics.
    stream.input(2, &[0, 0, 0, 10, 3, 0, 0, 0, 0, 0x41, 0x80, 0, 0, 0]);
    stream.input(0, &[0, 0, 0, 6, 13, 0, 0, 0, 1, 0]);
    until(&host, "both have come", |state| (state.inputs.len() == 2).then_some(()));
    let inputs: Vec<Value> = host.shared().state().inputs.clone();
    assert_eq!(inputs[0], json!({"kind": "key", "down": true, "vk": 65, "modifiers": 0, "flags": 0}));

    client.act(&json!({"action": "rumble", "pad": 0, "low": 0x1234, "high": 0xabcd}));
    assert_eq!(stream.message(0x010b), [0xee, 0xff, 0xc0, 0, 0, 0, 0x34, 0x12, 0xcd, 0xab]);
    client.act(&json!({"action": "terminate", "code": 0x8003_0023_u32}));
    assert_eq!(stream.message(0x0109), [0x80, 0x03, 0x00, 0x23]);
    stream.disconnected();
    assert_eq!(host.shared().state().complaints, Vec::<String>::new());
}

#[test]
fn an_old_host_has_no_encryption_but_that_of_control() {
    let scenario = Scenario {
        encrypted_rtsp: false,
        session_ids: false,
        encryption_supported: 0,
        sdp_spaces: true,
        appversion: "7.1.431.0".to_owned(),
        ..Scenario::default()
    };
    let (host, client) = start(scenario);
    client.pair("1234").unwrap();
    let mut stream = Stream::launch(&client, 1, 0);
    let seen = stream.watch(20);
    assert!(seen.codes.len() == 20 && seen.recovered == 0, "{seen:?}");
    // The session ends, the app goes on: what comes next is /resume.
    client.act(&json!({"action": "disconnect"}));
    stream.disconnected();
    assert!(client.secure("launch", &client.launch_query(1)).contains("status_code=\"400\""));
    let mut stream = Stream::resume(&client, 0);
    let again = stream.watch(10);
    assert!(again.codes[0] > *seen.codes.last().unwrap(), "{again:?}");
    assert!(client.secure("cancel", "").contains("<cancel>1</cancel>"));
    stream.disconnected();
    assert!(client.secure("serverinfo", "").contains("SUNSHINE_SERVER_FREE"));
    assert_eq!(host.shared().state().complaints, Vec::<String>::new());
}

#[test]
fn whoever_is_not_paired_is_refused() {
    let (host, client) = start(Scenario::default());
    assert!(client.plain("serverinfo", "").contains("<PairStatus>0</PairStatus>"));
    assert!(client.secure("applist", "").contains("status_code=\"401\""));
    assert!(client.pair("4321").unwrap_err().contains("PIN"));
    assert!(client.secure("serverinfo", "").contains("status_code=\"401\""));
    client.pair("1234").unwrap();
    assert!(client.secure("serverinfo", "").contains("<PairStatus>1</PairStatus>"));
    client.act(&json!({"action": "unpair"}));
    assert!(client.secure("serverinfo", "").contains("status_code=\"401\""));
    client.pair("1234").unwrap();
    assert!(client.secure("launch", &client.launch_query(77)).contains("status_code=\"404\""));
    assert!(client.secure("resume", &client.launch_query(1)).contains("status_code=\"503\""));
    client.change(&json!({"busy_with": 1, "apps": [App { id: 1, name: String::new(), hdr: true }]}));
    assert!(client.secure("launch", &client.launch_query(1)).contains("already running"));
    assert!(host.shared().state().session.is_none());
}

#[test]
fn pairing_fails_in_each_way() {
    let (_host, client) = start(Scenario::default());
    for (fault, reason) in [
        (PairingFault::WrongHash, "PIN"),
        (PairingFault::WrongSignature, "signature"),
        (PairingFault::NoCertificate, "plaincert"),
        (PairingFault::BadCertificate, "certificate"),
        (PairingFault::ShortAnswers, "length"),
        (PairingFault::Rejected, "rejected"),
        (PairingFault::OutOfOrderOnce, "plaincert"),
    ] {
        client.change(&json!({"pairing": fault}));
        let error = client.pair("1234").unwrap_err();
        assert!(error.contains(reason), "{fault:?}: {error}");
    }
    client.pair("1234").unwrap();
    client.change(&json!({"certificate": Certificate::Second}));
    assert_ne!(client.certificate_of_host(), client.pinned());
}

#[test]
fn faults_of_http_and_rtsp_are_what_they_say() {
    let (_host, client) = start(Scenario::default());
    let answer = |fault: HttpFault| {
        client.change(&json!({"http": {"serverinfo": fault}}));
        client.plain("serverinfo", "")
    };
    let status = answer(HttpFault::Status { code: 4_294_967_295, message: "a \"b\"".to_owned() });
    assert!(status.contains("status_code=\"4294967295\" status_message=\"a &quot;b&quot;\""));
    assert!(answer(HttpFault::HttpStatus(500)).starts_with("HTTP/1.1 500"));
    assert!(answer(HttpFault::Redirect).contains("Location: /serverinfo?uniqueid="));
    assert!(answer(HttpFault::Bomb).contains("<!ENTITY a29"));
    assert!(answer(HttpFault::Deep).len() > 300_000);
    assert_eq!(answer(HttpFault::Close), "");
    assert!(!answer(HttpFault::Garbage).contains("HTTP"));
    assert!(!answer(HttpFault::Truncated).contains("</root>"));
    assert!(answer(HttpFault::LongLength).contains("000\r\n"));
    assert!(answer(HttpFault::Drip(0)).contains("</root>"));

    client.change(&json!({"http": {}}));
    client.pair("1234").unwrap();
    for (fault, expected) in [
        (RtspFault::Status(500), "RTSP/1.0 500"),
        (RtspFault::Close, ""),
        (RtspFault::Forged, "forged"),
        (RtspFault::BadNumbers, "server_port=9"),
        (RtspFault::LongLength, "forged"),
        (RtspFault::Garbage, "forged"),
    ] {
        client.change(&json!({"rtsp": {"SETUP": fault}}));
        client.secure("cancel", "");
        let answer = Stream::set_up(&client, 1);
        assert!(answer.starts_with(expected) || answer.contains("server_port=9"), "{fault:?}: {answer:.80}");
    }
}

#[test]
fn a_pairing_that_is_broken_off_costs_the_next_one_its_answer() {
    let (_host, client) = start(Scenario::default());
    assert!(client.try_pair("4321").unwrap_err().contains("PIN"));
    assert!(client.try_pair("1234").unwrap_err().contains("no plaincert in "), "no answer at all");
    client.try_pair("1234").unwrap();
}

#[test]
fn what_a_launched_app_inherits_stays_open_until_it_ends() {
    let (host, client) = start(Scenario { launch_ms: 300, one_session: true, ..Scenario::default() });
    client.pair("1234").unwrap();
    let mut stream = Stream::launch(&client, 1, 1);
    assert_eq!(stream.watch(5).codes.len(), 5);
    assert_eq!(host.shared().state().app_sockets.len(), 1);
    assert!(client.secure("resume", &client.launch_query(1)).contains("status_code=\"503\""));
    client.act(&json!({"action": "shutdown", "down_ms": 300}));
    assert_eq!(stream.message(0x0109), [0x80, 0x03, 0x00, 0x23]);
    assert_eq!(client.try_secure("serverinfo"), None, "it is down");
    assert!(host.shared().state().app_sockets.is_empty());
}

#[test]
fn a_restart_forgets_all_but_pairings() {
    let (host, client) = start(Scenario::default());
    client.pair("1234").unwrap();
    let mut stream = Stream::launch(&client, 1, 1);
    assert_eq!(stream.watch(5).codes.len(), 5);
    client.act(&json!({"action": "restart", "down_ms": 300}));
    assert_eq!(client.try_secure("serverinfo"), None, "it is down");
    until(&host, "it is up", |state| (state.down_until?.elapsed() > Duration::ZERO).then_some(()));
    assert!(client.secure("serverinfo", "").contains("SUNSHINE_SERVER_FREE"));
    assert_eq!(Stream::launch(&client, 1, 1).watch(5).codes.len(), 5);
}
