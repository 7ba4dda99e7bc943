use super::*;
use common::id::PeerId;
use common::media::VideoCodec;
use common::signal::Role;
use common::spec::CursorMode;
use serde_json::{Value, json};

fn welcome() -> Input {
    let stun = IceServer { urls: vec!["stun:host:3478".into()], username: None, credential: None };
    let none = IceServer { urls: Vec::new(), username: None, credential: None };
    Input::Said(signal::ServerMessage::Welcome {
        peer_id: PeerId::unique(),
        resume_token: String::new(),
        resumed: false,
        role: Role::Controller,
        rights: common::person::Rights::new(),
        display_name: None,
        slots: 1,
        ice_servers: vec![stun, none],
        protocol: 1,
        nodes: Vec::new(),
    })
}

fn info(slot: u8, width: u32, height: u32) -> StreamInfo {
    StreamInfo {
        track_id: format!("video{slot}"),
        mid: "0".into(),
        audio_mid: None,
        slot,
        source: "main".into(),
        window_name: None,
        app_name: None,
        is_focused: true,
        width: (width > 0).then_some(width),
        height: (height > 0).then_some(height),
        codec: Some(VideoCodec::H264),
        fps: 60,
        cursor: CursorMode::Embedded,
        input: true,
        microphone: false,
        camera: false,
        publisher: None,
    }
}

/// What the page is told, as it stands on the wire.
fn told(page: &mut Translator, input: Input) -> Vec<Value> {
    let said = |output| match output {
        Output::Say(message) => serde_json::from_str(&to_text(&message)).unwrap(),
        Output::Tell(message) => panic!("{message:?}"),
    };
    page.handle(input).into_iter().map(said).collect()
}

fn offer() -> Input {
    Input::Said(signal::ServerMessage::Offer { sdp: "v=0".into() })
}

fn negotiating() -> Translator {
    let (mut page, _) = Translator::new();
    page.handle(welcome());
    page.handle(offer());
    page
}

#[test]
fn the_offer_comes_before_the_configuration() {
    let (mut page, first) = Translator::new();
    assert_eq!(first, [Output::Say(ServerMessage::StageStarting { stage: "Launch Streamer" })]);
    assert_eq!(
        told(&mut page, welcome()),
        [
            json!({"StageComplete": {"stage": "Launch Streamer"}}),
            json!({"StageStarting": {"stage": "Setup WebRTC Peer"}}),
        ]
    );
    assert_eq!(
        told(&mut page, offer()),
        [
            json!({"Signaling": {"Description": {"ty": "offer", "sdp": "v=0"}}}),
            json!({"WebRtcConfig": {"ice_servers": [
                {"urls": ["stun:host:3478"], "username": "", "credential": ""}]}}),
            json!({"StageComplete": {"stage": "Setup WebRTC Peer"}}),
            json!({"StageStarting": {"stage": "WebRTC Peer Negotiation"}}),
        ]
    );
    // A page ignores a second configuration, so it gets none.
    assert_eq!(
        told(&mut page, offer()),
        [json!({"Signaling": {"Description": {"ty": "offer", "sdp": "v=0"}}})]
    );
}

#[test]
fn the_connection_is_complete_when_it_is_up_and_the_size_is_known() {
    let complete = |width, height| json!({"ConnectionComplete": {"capabilities": {"touch": true}, "width": width, "height": height}});
    let mut page = negotiating();
    let updated = |w, h| Input::Said(signal::ServerMessage::StreamUpdated { stream_info: info(0, w, h) });
    assert_eq!(told(&mut page, updated(0, 0)), [] as [Value; 0]);
    assert_eq!(
        told(&mut page, Input::State(PeerState::Connected)),
        [
            json!({"StageComplete": {"stage": "WebRTC Peer Negotiation"}}),
            json!({"StageStarting": {"stage": "Moonlight Stream"}}),
        ]
    );
    let other = signal::ServerMessage::StreamActivated { stream_info: info(1, 640, 360) };
    assert_eq!(told(&mut page, Input::Said(other)), [] as [Value; 0]);
    assert_eq!(
        told(&mut page, updated(1920, 1080)),
        [json!({"StageComplete": {"stage": "Moonlight Stream"}}), complete(1920, 1080)]
    );
    assert_eq!(told(&mut page, updated(1920, 1080)), [] as [Value; 0], "nothing new");
    assert_eq!(told(&mut page, updated(1280, 720)), [complete(1280, 720)]);
    assert_eq!(told(&mut page, Input::State(PeerState::Lost)), [] as [Value; 0]);
    assert_eq!(told(&mut page, Input::State(PeerState::Connected)), [] as [Value; 0]);
    assert_eq!(told(&mut page, Input::Gone), [json!("PeerDisconnect")]);
}

#[test]
fn a_page_that_gets_no_pictures_is_told_at_which_stage() {
    let mut page = negotiating();
    assert_eq!(
        told(&mut page, Input::Gone),
        [
            json!({"StageFailed": {"stage": "WebRTC Peer Negotiation", "error_code": -1}}),
            json!("PeerDisconnect"),
        ]
    );
}

#[test]
fn what_the_page_says_is_in_our_words() {
    let mut page = negotiating();
    let mut says = |text: &str| page.handle(Input::Heard(parse(text).expect(text)));
    assert_eq!(
        says(r#"{"Signaling":{"Description":{"ty":"answer","sdp":"v=0\r\n"}}}"#),
        [Output::Tell(signal::ClientMessage::Answer { sdp: "v=0\r\n".into() })]
    );
    let candidate = |mid: Option<&str>| {
        let sdp_mid = mid.map(str::to_owned);
        let sdp_m_line_index = Some(0);
        [Output::Tell(signal::ClientMessage::Candidate {
            candidate: "candidate:1 1 udp".into(),
            sdp_mid,
            sdp_m_line_index,
        })]
    };
    assert_eq!(
        says(
            r#"{"Signaling":{"AddIceCandidate":{"candidate":"candidate:1 1 udp","sdp_mid":"0","sdp_mline_index":0,"username_fragment":"abcd"}}}"#
        ),
        candidate(Some("0"))
    );
    assert_eq!(
        says(
            r#"{"Signaling":{"AddIceCandidate":{"candidate":"candidate:1 1 udp","sdp_mid":"","sdp_mline_index":0}}}"#
        ),
        candidate(None)
    );
    for ignored in [
        r#"{"Signaling":{"Description":{"ty":"offer","sdp":"v=0"}}}"#,
        r#"{"AuthenticateAndInit":{"credentials":"x","client_unique_id":null,"host_id":0,"app_id":1}}"#,
    ] {
        assert_eq!(says(ignored), [], "{ignored}");
    }
    for nothing in ["", "[]", "{}", r#""PeerDisconnect""#, r#"{"type":"hello"}"#, r#"{"Signaling":{}}"#] {
        assert_eq!(parse(nothing), None, "{nothing}");
    }
}

#[test]
fn our_candidates_are_passed_on() {
    let candidate = signal::ServerMessage::Candidate {
        candidate: "candidate:1".into(),
        sdp_mid: Some("0".into()),
        sdp_m_line_index: Some(0),
    };
    assert_eq!(
        told(&mut negotiating(), Input::Said(candidate)),
        [json!({"Signaling": {"AddIceCandidate": {
            "candidate": "candidate:1", "sdp_mid": "0", "sdp_mline_index": 0, "username_fragment": null}}})]
    );
}
