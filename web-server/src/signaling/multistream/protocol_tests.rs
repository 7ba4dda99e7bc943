//! Conversations: what a client says and what happens, and what follows.

use serde_json::{Value, json};

use super::*;

const MAX: u8 = 3;
const OFFER: &str = "v=0\r\nm=video 9\r\nm=audio 9\r\nm=video 9\r\n";

/// A conversation that is checked step by step.
struct Talk(Protocol);

impl Talk {
    fn new() -> Self {
        Self(Protocol::new(Config { max_slots: MAX, ice_servers: Vec::new() }))
    }

    /// The client says it.
    fn hear(&mut self, message: Value) -> Vec<Output> {
        self.0.handle(Input::Heard(ClientMessage::decode(&message.to_string())))
    }

    /// The client says it, and is told one thing.
    fn told(&mut self, message: Value) -> Value {
        said(self.hear(message))
    }

    /// The client says it, and is refused for this.
    #[track_caller]
    fn refused(&mut self, message: Value, error: &str) {
        let shown = message.to_string();
        assert_eq!(self.told(message), json!({ "type": "error", "value": error }), "{shown}");
    }

    fn streamer(&mut self, slot: u8, stream: &str, quality: &str, status: SlotState) -> Vec<Output> {
        let error = (status == SlotState::Error).then(|| "stream_not_found".to_owned());
        let stream = stream.into();
        let quality = quality.into();
        let request_id = None;
        self.0.handle(Input::Said(signal::ServerMessage::SlotStatus {
            slot,
            stream,
            quality,
            status,
            error,
            request_id,
        }))
    }

    /// With a session of two slots, and no peer.
    fn ready() -> Self {
        let mut talk = Self::new();
        assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
        talk.0.handle(Input::Checked(Ok("secret".into())));
        talk
    }

    /// With a peer.
    fn active() -> Self {
        let mut talk = Self::ready();
        assert!(matches!(talk.hear(offer()).as_slice(), [Output::Join(_)]));
        talk.0.handle(Input::Joined(Some("answer".into())));
        talk.streamer(0, "a", "", SlotState::Pending);
        said(talk.streamer(1, "b", "360p", SlotState::Pending));
        talk
    }
}

fn init() -> Value {
    json!({ "type": "multistream/init", "request_id": 1, "slots": [
        { "slot": 0, "stream": "a", "quality": "" }, { "slot": 1, "stream": "b", "quality": "360p" } ] })
}

fn offer() -> Value {
    json!({ "type": "multistream/offer", "request_id": "o", "sdp": OFFER })
}

/// The one thing that is said to the client.
#[track_caller]
fn said(outputs: Vec<Output>) -> Value {
    match outputs.as_slice() {
        [Output::Say(text)] => serde_json::from_str(text).unwrap(),
        other => panic!("{other:?}"),
    }
}

fn slot(slot: u8, stream: &str, quality: &str) -> SlotConfig {
    SlotConfig { slot, stream: stream.into(), quality: quality.into() }
}

fn welcome(slots: u8) -> Input {
    Input::Said(signal::ServerMessage::Welcome {
        peer_id: common::id::PeerId::unique(),
        resume_token: "secret".into(),
        resumed: true,
        role: signal::Role::Viewer,
        rights: common::person::Rights::new(),
        display_name: None,
        slots,
        ice_servers: Vec::new(),
        protocol: 1,
        nodes: Vec::new(),
    })
}

#[test]
fn a_session_begins_with_init_and_offer() {
    let mut talk = Talk::new();
    assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
    let ready = said(talk.0.handle(Input::Checked(Ok("secret".into()))));
    assert_eq!(
        ready,
        json!({ "type": "multistream/ready", "request_id": 1, "session": "secret", "resumed": false, "slots": 2 })
    );
    let join = Join::Offer {
        sdp: OFFER.into(),
        slots: vec![slot(0, "a", ""), slot(1, "b", "360p")],
        session: "secret".into(),
    };
    assert_eq!(talk.hear(offer()), [Output::Join(join)]);
    // The answer is told once all slots are known, in whatever order these things come.
    assert_eq!(talk.0.handle(Input::Joined(Some("answer".into()))), []);
    assert_eq!(talk.streamer(0, "a", "", SlotState::Pending), []);
    let candidate = json!({ "type": "multistream/ice", "candidate": "candidate:1" });
    let told = signal::ClientMessage::Candidate {
        candidate: "candidate:1".into(),
        sdp_mid: None,
        sdp_m_line_index: None,
    };
    assert_eq!(talk.hear(candidate), [Output::Tell(told)]);
    assert_eq!(
        said(talk.streamer(1, "b", "360p", SlotState::Error)),
        json!({ "type": "multistream/answer", "request_id": "o", "sdp": "answer", "slots": [
            { "slot": 0, "stream": "a", "status": "pending" },
            { "slot": 1, "stream": "b-360p", "status": "error", "error": "stream not found" } ] })
    );
    assert_eq!(
        said(talk.streamer(0, "a", "", SlotState::Active)),
        json!({ "type": "multistream/status", "slot": 0,
            "status": { "slot": 0, "stream": "a", "status": "active" } })
    );
}

#[test]
fn what_comes_out_of_turn_is_refused_and_changes_nothing() {
    let switch = || json!({ "type": "multistream/switch", "slot": 0, "stream": "c" });
    let ice = || json!({ "type": "multistream/ice", "candidate": "candidate:1" });
    let pause = || json!({ "type": "multistream/pause", "slot": -1 });
    let mut idle = Talk::new();
    for (message, kind) in
        [(offer(), "offer"), (switch(), "switch"), (ice(), "ice"), (pause(), "pause"), (close(), "close")]
    {
        idle.refused(message, &format!("multistream/{kind}: session not initialized"));
    }
    let mut ready = Talk::ready();
    ready.refused(init(), "multistream/init: session already initialized");
    for (message, kind) in [(switch(), "switch"), (ice(), "ice"), (pause(), "pause")] {
        ready.refused(message, &format!("multistream/{kind}: no active session"));
    }
    assert!(matches!(ready.hear(offer()).as_slice(), [Output::Join(_)]));
    let mut active = Talk::active();
    active.refused(init(), "multistream/init: session already initialized");
    active.refused(offer(), "multistream/offer: session already negotiated");
    assert!(matches!(active.hear(switch()).as_slice(), [Output::Tell(_)]));
}

fn close() -> Value {
    json!({ "type": "multistream/close" })
}

#[test]
fn what_cannot_be_is_refused_with_its_reason() {
    let ask = |slots: Value| json!({ "type": "multistream/init", "slots": slots });
    let one = |slot: i64| json!({ "slot": slot, "stream": "a" });
    for (slots, error) in [
        (json!([]), "no slots requested"),
        (json!([one(0), one(1), one(2), one(3)]), "too many slots requested"),
        (json!([one(3)]), "invalid slot index"),
        (json!([one(-1)]), "invalid slot index"),
        (json!([one(1), one(1)]), "slot 1 is requested twice"),
        (json!([{ "slot": 0, "stream": "x".repeat(129) }]), "the name of a stream has at most 128 bytes"),
    ] {
        Talk::new().refused(ask(slots), &format!("multistream/init: {error}"));
    }
    let mut talk = Talk::ready();
    let short = json!({ "type": "multistream/offer", "sdp": "v=0\r\nm=video 9\r\n" });
    talk.refused(short, "multistream/offer: 2 slots need as many video sections, the offer has 1");
    let mut talk = Talk::active();
    for slot in [2, 255, -2] {
        let switch = json!({ "type": "multistream/switch", "slot": slot, "stream": "a" });
        talk.refused(switch, "multistream/switch: invalid slot index");
        let pause = json!({ "type": "multistream/pause", "slot": slot });
        talk.refused(pause, "multistream/pause: invalid slot index");
    }
    talk.refused(json!({ "type": "multistream/dance" }), "multistream/dance: unknown message");
    let long = talk.0.handle(Input::Unreadable("message: too long".into()));
    assert_eq!(said(long), json!({ "type": "error", "value": "message: too long" }));
}

#[test]
fn a_client_that_wraps_is_answered_in_kind() {
    let mut talk = Talk::new();
    let mut fields = init();
    fields.as_object_mut().unwrap().remove("type");
    assert_eq!(
        talk.hear(json!({ "type": "multistream/init", "value": fields })),
        [Output::Check { token: None }]
    );
    let ready = said(talk.0.handle(Input::Checked(Ok("secret".into()))));
    assert_eq!(ready["value"]["session"], "secret");
    talk.refused(init(), "multistream/init: session already initialized");
}

#[test]
fn without_a_streamer_there_is_no_session() {
    let mut talk = Talk::new();
    talk.hear(init());
    let error = said(talk.0.handle(Input::Checked(Err("no streams are configured".into()))));
    assert_eq!(error["value"], "multistream/init: no streams are configured");
    assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
}

#[test]
fn a_refused_offer_can_be_followed_by_a_better_one() {
    let mut talk = Talk::ready();
    talk.hear(offer());
    let refusal = Refusal { ended: false, message: "no SDP".into() };
    assert_eq!(said(talk.0.handle(Input::Refused(refusal)))["value"], "multistream/offer: no SDP");
    assert!(matches!(talk.hear(offer()).as_slice(), [Output::Join(_)]));
}

#[test]
fn slots_are_told_by_the_names_of_their_streams_whether_or_not_a_rendition_is_a_stream_of_its_own() {
    for (stream, quality, name) in
        [("b-360p", "", "b-360p"), ("b", "360p", "b-360p"), ("b", "native", "b"), ("c", "", "c")]
    {
        let status = said(Talk::active().streamer(1, stream, quality, SlotState::Active));
        assert_eq!(status["status"], json!({ "slot": 1, "stream": name, "status": "active" }));
    }
}

#[test]
fn no_status_is_told_twice() {
    let mut talk = Talk::active();
    assert_eq!(talk.streamer(0, "a", "", SlotState::Pending), [], "the answer has it");
    said(talk.streamer(0, "a", "", SlotState::Active));
    assert_eq!(talk.streamer(0, "a", "", SlotState::Active), []);
    said(talk.streamer(0, "a", "", SlotState::Buffering));
    said(talk.streamer(0, "a", "", SlotState::Active));
    // A switch to what is there already is answered all the same, once.
    let mut answer = |tag: &str| {
        talk.0.handle(Input::Said(signal::ServerMessage::SlotStatus {
            slot: 0,
            stream: "a".into(),
            quality: String::new(),
            status: SlotState::Active,
            error: None,
            request_id: Some(tag.into()),
        }))
    };
    assert_eq!(said(answer("7"))["request_id"], 7);
    assert_eq!(answer("7"), []);
    assert_eq!(said(answer("8"))["request_id"], 8);
}

#[test]
fn a_switch_is_answered_under_its_own_number() {
    let mut talk = Talk::active();
    for tag in [json!(7), json!("seven")] {
        let switch = json!({ "type": "multistream/switch", "request_id": tag, "slot": 1, "stream": "c" });
        let outputs = talk.hear(switch);
        let [Output::Tell(signal::ClientMessage::Switch { slot: 1, stream, quality, request_id })] =
            outputs.as_slice()
        else {
            panic!("{outputs:?}")
        };
        let status = talk.0.handle(Input::Said(signal::ServerMessage::SlotStatus {
            slot: 1,
            stream: stream.clone(),
            quality: quality.clone(),
            status: SlotState::Active,
            error: None,
            request_id: request_id.clone(),
        }));
        assert_eq!(said(status)["request_id"], tag);
    }
}

#[test]
fn all_slots_can_be_meant_at_once() {
    let mut talk = Talk::active();
    let each =
        |message: fn(u8) -> signal::ClientMessage| [Output::Tell(message(0)), Output::Tell(message(1))];
    let all = |kind: &str| json!({ "type": format!("multistream/{kind}"), "slot": -1 });
    assert_eq!(talk.hear(all("pause")), each(|slot| signal::ClientMessage::Pause { slot }));
    assert_eq!(talk.hear(all("resume")), each(|slot| signal::ClientMessage::Resume { slot }));
    assert_eq!(talk.hear(all("keyframe")), each(|slot| signal::ClientMessage::Keyframe { slot }));
    let one = talk.hear(json!({ "type": "multistream/pause", "slot": 1 }));
    assert_eq!(one, [Output::Tell(signal::ClientMessage::Pause { slot: 1 })]);
}

#[test]
fn a_session_that_ends_makes_room_for_another() {
    let mut talk = Talk::active();
    assert_eq!(talk.hear(close()), [Output::Leave]);
    assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
    let mut talk = Talk::active();
    let told = said(talk.0.handle(Input::Gone("removed".into())));
    assert_eq!(told, json!({ "type": "multistream/disconnected", "reason": "removed" }));
    // Late words.
    assert_eq!(talk.streamer(0, "a", "", SlotState::Active), []);
    assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
}

#[test]
fn a_client_that_comes_back_finds_its_slots() {
    let back = |slots: Value| json!({ "type": "multistream/init", "request_id": 2, "session": "old", "slots": slots });
    let resume = || [Output::Join(Join::Resume { session: "old".into() })];
    let checked = || Input::Checked(Ok("fresh".into()));
    let mut talk = Talk::new();
    assert_eq!(talk.hear(back(json!([]))), [Output::Check { token: None }]);
    assert_eq!(talk.0.handle(checked()), resume());
    assert_eq!(talk.0.handle(Input::Joined(None)), []);
    assert_eq!(talk.0.handle(welcome(2)), []);
    assert_eq!(talk.streamer(1, "gone", "", SlotState::Error), []);
    let told = talk.streamer(0, "a", "", SlotState::Active).into_iter().map(|output| said(vec![output]));
    let status =
        |slot: u8, status: Value| json!({ "type": "multistream/status", "slot": slot, "status": status });
    assert_eq!(
        told.collect::<Vec<_>>(),
        [
            json!({ "type": "multistream/ready", "request_id": 2, "session": "old", "resumed": true, "slots": 2 }),
            status(0, json!({ "slot": 0, "stream": "a", "status": "active" })),
            status(1, json!({ "slot": 1, "stream": "gone", "status": "error", "error": "stream not found" })),
        ]
    );
    let switch = json!({ "type": "multistream/switch", "slot": 1, "stream": "b" });
    assert!(matches!(talk.hear(switch).as_slice(), [Output::Tell(_)]), "no offer is needed");

    // It came too late: a new session, or at least the reason.
    let ended = || Input::Refused(Refusal { ended: true, message: "that session has ended".into() });
    let mut talk = Talk::new();
    talk.hear(back(json!([{ "slot": 0, "stream": "a" }])));
    talk.0.handle(checked());
    let ready = said(talk.0.handle(ended()));
    assert_eq!((&ready["session"], &ready["resumed"]), (&json!("fresh"), &json!(false)));
    let mut talk = Talk::new();
    talk.hear(back(json!([])));
    talk.0.handle(checked());
    assert_eq!(said(talk.0.handle(ended()))["value"], "multistream/init: that session has ended");
    assert_eq!(talk.hear(init()), [Output::Check { token: None }]);
}

#[test]
fn a_peer_that_nobody_waits_for_is_let_go() {
    let mut talk = Talk::ready();
    talk.hear(offer());
    talk.hear(close());
    assert_eq!(talk.0.handle(Input::Joined(Some("answer".into()))), [Output::Leave]);
}
