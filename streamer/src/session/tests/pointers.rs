//! `session/pointers`: who is told where the others point.

use common::input::{Actor, GeneralMessage, Position};

use super::*;
use crate::peer::Audience;

/// To whom, about whom, and where that one points: source and x.
type Told = (Vec<PeerId>, Option<PeerId>, Option<(String, f64)>);

impl Stage {
    /// A native peer that is connected, and is told where the others point if it wants to be.
    fn pointing(&mut self, role: Role, pointers: bool) -> PeerId {
        let capabilities = Capabilities::default();
        let ticket = Ticket { pointers, ..Ticket::default() };
        let person = Person::default();
        let join = Join::Native { resume: None, socket: 1, role, capabilities, ticket, person };
        let added = self.request(request::AddPeer { join: Json(join) });
        let peer = self.reply(&added).unwrap().peer;
        self.report(Report::State { peer, state: PeerState::Connected });
        self.forget();
        peer
    }

    fn points(&mut self, by: Actor, slot: SlotIndex, x: f64) {
        let at = Position { x, y: 0.0 };
        let notice = input::PointerNotice { at, slot, by };
        self.session.input_notice(input::Notice::Pointings(vec![notice]));
        self.collect();
    }

    /// What was said since the last call: to whom, about whom, and where that one points.
    fn pointers(&mut self) -> Vec<Told> {
        let mut all = Vec::new();
        for (_, command) in std::mem::take(&mut self.commands) {
            let Command::Say { to: Audience::These(to), text } = command else { continue };
            let GeneralMessage::Pointers { pointers } = serde_json::from_str(&text).unwrap() else {
                continue;
            };
            for pointing in pointers {
                let place = pointing.place.map(|place| (place.source, place.at.x));
                all.push((to.to_vec(), pointing.peer_id, place));
            }
        }
        all
    }
}

fn at(source: &str, x: f64) -> Option<(String, f64)> {
    Some((source.to_owned(), x))
}

#[test]
fn those_who_want_it_are_told_of_what_they_see_and_nobody_of_itself() {
    let mut stage = Stage::running(TWO);
    let a = stage.pointing(Role::Controller, true);
    stage.points(Actor::Peer(a), 0, 1.0);
    assert_eq!(stage.pointers(), [], "it is alone");
    let b = stage.pointing(Role::Viewer, true);
    let _unasked = stage.pointing(Role::Viewer, false);
    let elsewhere = stage.pointing(Role::Viewer, true);
    let choice = |stream: &str| {
        let stream = stream.to_owned();
        ClientMessage::Switch { slot: 0, stream, quality: String::new(), request_id: None }
    };
    stage.signal(elsewhere, choice("second"));
    stage.points(Actor::Peer(a), 0, 2.0);
    assert_eq!(stage.pointers(), [(vec![b], Some(a), at("main", 2.0))]);
    stage.points(Actor::Peer(a), 0, 2.0);
    assert_eq!(stage.pointers(), [], "it has not moved");
    stage.points(Actor::Api, 0, 2.0);
    let mut both = vec![a, b];
    both.sort_unstable();
    assert_eq!(stage.pointers(), [(both, None, at("main", 2.0))]);
    // What counts is what whoever points sees.
    stage.signal(a, choice("second"));
    stage.points(Actor::Peer(a), 0, 3.0);
    assert_eq!(stage.pointers(), [(vec![elsewhere], Some(a), at("second", 3.0))]);
    stage.points(Actor::Peer(a), 3, 3.0);
    assert_eq!(stage.pointers(), [], "nothing is shown there");
}

#[test]
fn who_leaves_or_may_not_steer_any_more_points_nowhere() {
    let mut stage = Stage::running(TEST);
    let [a, c, silent] = std::array::from_fn(|_| stage.pointing(Role::Controller, true));
    let b = stage.pointing(Role::Viewer, true);
    stage.points(Actor::Peer(a), 0, 1.0);
    stage.points(Actor::Peer(c), 0, 1.0);
    stage.pointers();
    stage.report(Report::Gone { peer: silent, reason: "it left".into() });
    assert_eq!(stage.pointers(), [], "nobody was told that it points");
    stage.report(Report::Gone { peer: a, reason: "it left".into() });
    let mut others = vec![b, c];
    others.sort_unstable();
    assert_eq!(stage.pointers(), [(others, Some(a), None)]);
    let role = Some(Role::Viewer);
    let update = request::UpdatePeer {
        peer: c,
        role,
        rights: None,
        max_bitrate_kbps: None,
        session_microphone: None,
        session_camera: None,
    };
    stage.request(update);
    assert_eq!(stage.pointers(), [(vec![b], Some(c), None)]);
    for peer in [a, c, b] {
        stage.points(Actor::Peer(peer), 0, 2.0);
    }
    assert_eq!(stage.pointers(), [], "what was on its way is late");
}
