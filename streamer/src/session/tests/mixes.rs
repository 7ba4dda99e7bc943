//! Which mixes there are, of what, and who takes which.

use std::collections::BTreeSet;

use common::person::PeerRight;
use common::signal::AudioLayout;
use common::signal::PublishKind::{Camera, Microphone};
use common::slots::SlotConfig;

use super::*;
use crate::peer::PeerCommand;

/// A desktop's stand-in that everybody sees, and four slots.
const ROOM: &str = r#"{"source": {"type": "test"}, "sources": {"second": {"type": "test"}}, "slots": 4}"#;

fn mix() -> Ticket {
    Ticket { audio: AudioLayout::Mix, ..Ticket::default() }
}

impl Stage {
    /// A native peer that takes a mix, and may publish.
    fn taker(&mut self, socket: u64) -> PeerId {
        let person = Person { rights: [PeerRight::Publish].into(), ..Person::default() };
        let capabilities = Capabilities::default();
        let role = Role::Viewer;
        let join = Join::Native { resume: None, socket, role, capabilities, ticket: mix(), person };
        let added = self.request(request::AddPeer { join: Json(join) });
        let peer = self.reply(&added).unwrap().peer;
        self.report(Report::State { peer, state: PeerState::Connected });
        peer
    }

    /// What a peer was told to take, each time.
    fn taken(&self, peer: PeerId) -> Vec<Option<FeedId>> {
        let taken = |(_, command): &(usize, Command)| match command {
            Command::Peer { peer: of, command: PeerCommand::TakeMix(feed) } if *of == peer => Some(*feed),
            _ => None,
        };
        self.commands.iter().filter_map(taken).collect()
    }

    /// Names of the sources in the mix that a peer takes now.
    fn hears(&self, peer: PeerId) -> Vec<&str> {
        let feed = self.taken(peer).last().copied().flatten().unwrap();
        let of = &self.plans.last().unwrap().mixes[&feed].of;
        let sources = self.session.sources.all().iter();
        sources.filter(|(_, entry)| of.contains(&entry.audio.id)).map(|(name, _)| name.as_str()).collect()
    }

    fn microphone(&mut self, peer: PeerId, name: &str) {
        self.publish(peer, Microphone, Some(name));
    }
}

#[test]
fn nothing_is_mixed_while_nobody_takes_a_mix() {
    let mut stage = Stage::running(ROOM);
    let ann = stage.publisher_as(Role::Viewer, 1, None);
    stage.microphone(ann, "ann");
    assert!(stage.plans.is_empty() && stage.taken(ann).is_empty());
}

#[test]
fn all_who_publish_no_microphone_share_one_mix_of_the_desktop_and_everybody() {
    let mut stage = Stage::running(ROOM);
    let [ann, ben] = [stage.taker(1), stage.taker(2)];
    let whep = Join::Whep { offer: "v=0\r\n".to_owned(), ticket: mix() };
    stage.request(request::AddPeer { join: Json(whep) });
    let [cleo, dora] = [3, 4].map(|socket| stage.publisher_as(Role::Viewer, socket, None));
    stage.microphone(cleo, "cleo");
    stage.publish(dora, Camera, Some("dora"));
    stage.publish(ben, Camera, Some("ben"));
    let plan = stage.plans.last().unwrap();
    assert_eq!(plan.mixes.len(), 1);
    assert_eq!(plan.sources.values().filter(|heard| heard.published).count(), 1);
    assert_eq!(stage.taken(ann), stage.taken(ben));
    assert_eq!(stage.hears(ann), ["cleo", "main"], "cameras have no sound");
    let told = stage
        .commands
        .iter()
        .filter(|(_, command)| matches!(command, Command::Peer { command: PeerCommand::TakeMix(_), .. }));
    assert_eq!(told.count(), 3, "each is told once");
}

#[test]
fn who_publishes_a_microphone_hears_all_but_that_and_shares_again_afterwards() {
    let mut stage = Stage::running(ROOM);
    let [ann, ben] = [stage.taker(1), stage.taker(2)];
    stage.microphone(ann, "ann");
    assert_eq!(stage.hears(ann), ["main"]);
    assert_eq!(stage.hears(ben), ["ann", "main"]);
    stage.microphone(ben, "ben");
    assert_eq!(stage.hears(ann), ["ben", "main"]);
    assert_eq!(stage.hears(ben), ["ann", "main"]);
    stage.signal(ann, ClientMessage::Unpublish { kind: Microphone });
    stage.signal(ben, ClientMessage::Unpublish { kind: Microphone });
    assert_eq!(stage.hears(ann), ["main"]);
    assert_eq!(stage.taken(ann).last(), stage.taken(ben).last());
    assert_eq!(stage.plans.last().unwrap().mixes.len(), 1);
}

#[test]
fn who_has_chosen_what_it_sees_hears_that() {
    let mut stage = Stage::running(ROOM);
    let ann = stage.taker(1);
    let speaker = stage.publisher_as(Role::Viewer, 2, None);
    stage.microphone(speaker, "ben");
    stage.signal(
        ann,
        ClientMessage::Switch { slot: 0, stream: "second".into(), quality: String::new(), request_id: None },
    );
    stage.runs("second");
    assert_eq!(stage.hears(ann), ["ben", "second"]);
    // Slots that are a peer's own have nothing of the others.
    let wish = |slot, stream: &str| SlotConfig { slot, stream: stream.into(), quality: String::new() };
    let join = Join::Multistream {
        offer: "v=0\r\n".to_owned(),
        slots: vec![wish(0, "second"), wish(1, "main"), wish(2, "")],
        session: "secret".into(),
        socket: 3,
        ticket: mix(),
    };
    stage.request(request::AddPeer { join: Json(join) });
    let peer =
        stage.session.peers.list().into_iter().map(|peer| peer.id).find(|id| ![ann, speaker].contains(id));
    assert_eq!(stage.hears(peer.unwrap()), ["main", "second"]);
}

#[test]
fn a_source_that_is_started_again_is_heard_again() {
    let mut stage = Stage::running(TWO);
    let bound = stage.request(bind(Some(1), "second", ""));
    stage.runs("second");
    assert!(stage.reply(&bound).is_ok());
    let ann = stage.taker(1);
    assert_eq!(stage.hears(ann), ["main", "second"]);
    let heard = |stage: &Stage| {
        let feed = stage.session.sources.get("second").unwrap().audio.id;
        stage.plans.last().unwrap().sources.get(&feed).map(|heard| heard.listening.clone())
    };
    let before = heard(&stage).unwrap();
    stage.event("second", Event::Ended(crate::source::Ended::Failed("it broke".into())));
    assert!(heard(&stage).is_none());
    stage.signal(
        ann,
        ClientMessage::Switch { slot: 1, stream: "second".into(), quality: String::new(), request_id: None },
    );
    stage.runs("second");
    assert!(!heard(&stage).unwrap().is_same(&before));
}

#[test]
fn with_the_last_who_takes_one_every_mix_is_gone() {
    let mut stage = Stage::running(ROOM);
    let [ann, ben] = [stage.taker(1), stage.taker(2)];
    stage.microphone(ann, "ann");
    stage.report(Report::Gone { peer: ann, reason: "gone".into() });
    assert_eq!(stage.hears(ben), ["main"]);
    stage.report(Report::Gone { peer: ben, reason: "gone".into() });
    let plan = stage.plans.last().unwrap();
    assert!(plan.mixes.is_empty() && plan.sources.is_empty());
    let feeds = |wanted: fn(&Command) -> Option<FeedId>| -> BTreeSet<_> {
        stage.commands.iter().filter_map(|(_, command)| wanted(command)).collect()
    };
    let taken: BTreeSet<_> = [ann, ben].iter().flat_map(|peer| stage.taken(*peer)).flatten().collect();
    let removed = feeds(|command| match command {
        Command::RemoveFeed { feed } => Some(*feed),
        _ => None,
    });
    assert!(taken.is_subset(&removed), "{taken:?} {removed:?}");
    stage.forget();
    assert_eq!(stage.tick(), None);
    assert!(stage.plans.is_empty());
}

#[test]
fn who_would_need_one_mix_too_many_hears_nothing_and_is_told_until_there_is_room() {
    let mut stage = Stage::running(r#"{"source": {"type": "test"}, "slots": 4}"#);
    let takers: Vec<_> = (1..=33).map(|socket| stage.taker(socket)).collect();
    for (n, peer) in takers.iter().enumerate() {
        stage.microphone(*peer, &format!("p{n}"));
    }
    let late = *takers.last().unwrap();
    assert_eq!(stage.taken(late).last(), Some(&None));
    let refused = stage
        .told(late)
        .into_iter()
        .any(|message| matches!(message, ServerMessage::Error { code, .. } if code == "too_many_mixes"));
    assert!(refused);
    assert_eq!(stage.plans.last().unwrap().mixes.len(), 32);
    stage.report(Report::Gone { peer: takers[0], reason: "gone".into() });
    assert!(stage.hears(late).contains(&"main"));
}
