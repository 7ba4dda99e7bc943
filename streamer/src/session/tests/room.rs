//! `session/participants` and `session/room`: who is who, what peers say to each other, and how many fit into a room.

use common::control::{ControlChange, ControlMode};
use common::person::{PeerRight, Rights};
use common::signal::{ChatMessage, Participant, PublishKind};

use super::*;

const ROOM: &str = r#"{"room": {"name": "Stand-up", "max_participants": 2}}"#;

impl Stage {
    /// A session that runs.
    fn room() -> Self {
        let mut stage = Self::new(ROOM);
        let started = stage.request(request::StartSource);
        assert_eq!(stage.reply(&started), Ok(()), "a room needs no source");
        stage
    }

    fn enter(&mut self, name: &str, rights: &[PeerRight]) -> PeerId {
        let display_name = Some(name.to_owned());
        let who = Person { display_name, rights: rights.iter().copied().collect(), ..Person::default() };
        let added = self.request(person(Role::Viewer, 1, None, who));
        self.reply(&added).unwrap().peer
    }

    fn last_participants(&self) -> Vec<Participant> {
        let told = self.said.iter().rev().find_map(|said| match said {
            StreamerIpcMessage::Broadcast { message: Json(ServerMessage::Participants { participants }) } => {
                Some(participants.clone())
            }
            _ => None,
        });
        told.expect("participants are told")
    }

    fn after(&mut self, time: Duration) {
        self.now.instant += time;
        self.session.announce(self.now);
        self.collect();
    }

    fn history(&self, peer: PeerId) -> Vec<ChatMessage> {
        let history = self.told(peer).into_iter().filter_map(|message| match message {
            ServerMessage::ChatHistory { messages } => Some(messages.clone()),
            _ => None,
        });
        history.flatten().collect()
    }

    fn refusals(&self, peer: PeerId) -> Vec<(String, Option<String>)> {
        let told = self.told(peer).into_iter();
        let refused = told.filter_map(|message| match message {
            ServerMessage::Error { code, field, .. } => Some((code.clone(), field.clone())),
            _ => None,
        });
        refused.collect()
    }
}

#[test]
fn one_more_than_fit_into_a_room_is_refused() {
    let mut stage = Stage::room();
    let ada = stage.enter("Ada", &[]);
    stage.enter("Bob", &[]);
    let third = stage.request(native(Role::Viewer, 3, None));
    assert_eq!(stage.reply(&third), Err("room_full"));
    stage.report(Report::Gone { peer: ada, reason: "left".into() });
    let fourth = stage.request(native(Role::Viewer, 4, None));
    assert!(stage.reply(&fourth).is_ok());
}

#[test]
fn everybody_is_told_who_is_there_and_what_they_show() {
    let mut stage = Stage::room();
    let ada = stage.enter("Ada", &[PeerRight::Chat, PeerRight::Moderate]);
    let added = stage.request(native(Role::Controller, 2, None));
    let bob = stage.reply(&added).unwrap().peer;
    stage.after(PARTICIPANTS_INTERVAL);
    stage.signal(ada, ClientMessage::RaiseHand { raised: true });
    stage.signal(bob, ClientMessage::SetMuted { muted: true });
    let change = ControlChange { mode: Some(ControlMode::Exclusive), holder: Some(bob), release: false };
    let changed = stage.request(request::ChangeControl { change: Json(change) });
    assert!(stage.reply(&changed).is_ok());
    stage.after(PARTICIPANTS_INTERVAL);
    let participants = stage.last_participants();
    let of = |id| participants.iter().find(|one: &&Participant| one.peer_id == id).unwrap();
    assert_eq!(of(ada).display_name.as_deref(), Some("Ada"));
    assert_eq!(of(ada).rights, Rights::from([PeerRight::Chat, PeerRight::Moderate]));
    assert!(of(ada).hand_raised && !of(ada).muted && !of(ada).holds_control);
    assert!(of(bob).muted && !of(bob).hand_raised && of(bob).holds_control);
    assert_eq!(of(bob).display_name, None);
}

#[test]
fn a_text_goes_to_all_and_to_those_who_come_later() {
    let mut stage = Stage::room();
    let ada = stage.enter("Ada", &[PeerRight::Chat]);
    assert_eq!(stage.history(ada), []);
    stage.signal(ada, ClientMessage::Chat { text: "hello".into() });
    stage.signal(ada, ClientMessage::React { emoji: "👋".into() });
    assert!(stage.told(ada).iter().any(|message| matches!(message,
        ServerMessage::Chat(ChatMessage { id: 1, name: Some(name), text, .. }) if name == "Ada" && text == "hello")));
    assert!(stage.told(ada).iter().any(|message| matches!(message,
        ServerMessage::Reaction { peer_id, emoji } if *peer_id == ada && emoji == "👋")));
    stage.report(Report::Gone { peer: ada, reason: "left".into() });
    let bob = stage.enter("Bob", &[]);
    let history = stage.history(bob);
    assert_eq!(
        history.iter().map(|one| (one.peer_id, one.text.as_str())).collect::<Vec<_>>(),
        [(ada, "hello")]
    );
    stage.signal(bob, ClientMessage::Chat { text: "I may not".into() });
    assert_eq!(stage.refusals(bob), [("not_allowed".to_owned(), None)]);
    let invalid = stage.request(request::UpdatePeer {
        peer: bob,
        role: None,
        rights: Some(PeerRight::ALL.into()),
        max_bitrate_kbps: None,
        session_microphone: None,
        session_camera: None,
    });
    assert_eq!(stage.reply(&invalid), Ok(()));
    stage.signal(bob, ClientMessage::Chat { text: String::new() });
    assert_eq!(stage.refusals(bob)[1], ("invalid_message".to_owned(), Some("text".to_owned())));
    stage.signal(bob, ClientMessage::Chat { text: "now I may".into() });
    assert!(
        stage.told(bob).iter().any(|message| matches!(message, ServerMessage::Chat(said) if said.id == 2))
    );
}

#[test]
fn a_moderator_mutes_and_removes_and_nobody_else_does() {
    let mut stage = Stage::room();
    let ada = stage.enter("Ada", &[PeerRight::Moderate]);
    let bob = stage.enter("Bob", &[PeerRight::Publish, PeerRight::Chat]);
    let kind = PublishKind::Microphone;
    stage.signal(bob, ClientMessage::MutePeer { peer_id: ada, kind });
    stage.signal(bob, ClientMessage::RemovePeer { peer_id: ada });
    assert_eq!(stage.refusals(bob).len(), 2);
    stage.signal(ada, ClientMessage::MutePeer { peer_id: bob, kind });
    stage.after(PARTICIPANTS_INTERVAL);
    assert!(stage.last_participants().iter().all(|one| one.muted == (one.peer_id == bob)));
    assert!(stage.told(bob).contains(&&ServerMessage::MutedBy { peer_id: ada, kind }));
    assert!(!stage.told(ada).contains(&&ServerMessage::MutedBy { peer_id: ada, kind }));
    stage.commands.clear();
    stage.signal(ada, ClientMessage::RemovePeer { peer_id: bob });
    assert!(stage.commands.iter().any(|(_, command)| matches!(command,
        Command::Remove { peer, .. } if *peer == bob)));
    stage.signal(ada, ClientMessage::RemovePeer { peer_id: PeerId::unique() });
    assert_eq!(stage.refusals(ada), [("peer_not_found".to_owned(), Some("peerId".to_owned()))]);
}

#[test]
fn a_websocket_that_comes_back_with_less_has_less() {
    let mut stage = Stage::room();
    let added = stage.request(person(Role::Controller, 1, None, Person::admin()));
    let ada = stage.reply(&added).unwrap().peer;
    stage.report(Report::State { peer: ada, state: PeerState::Connected });
    let token = stage.told(ada).into_iter().find_map(|message| match message {
        ServerMessage::Welcome { resume_token, rights, .. } => {
            assert_eq!(*rights, PeerRight::ALL.into());
            Some(resume_token.clone())
        }
        _ => None,
    });
    let less = Person { rights: [PeerRight::Chat].into(), ..Person::default() };
    let back = stage.request(person(Role::Controller, 2, token.clone(), less));
    assert_eq!(stage.reply(&back).unwrap().peer, ada);
    assert!(stage.told(ada).contains(&&ServerMessage::Rights { rights: [PeerRight::Chat].into() }));
    let more = stage.request(person(Role::Controller, 3, token, Person::admin()));
    assert_eq!(stage.reply(&more).unwrap().peer, ada);
    stage.signal(ada, ClientMessage::MutePeer { peer_id: ada, kind: PublishKind::Camera });
    assert_eq!(stage.refusals(ada), [("not_allowed".to_owned(), None)]);
}
