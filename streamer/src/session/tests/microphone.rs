//! Who is heard by the desktop's programs, and until when.

use common::person::PeerRight;
use common::signal::PublishKind::{Camera, Microphone};

use super::*;

impl Stage {
    fn wish(&mut self, peer: PeerId, enabled: bool) {
        self.signal(peer, ClientMessage::SessionMicrophone { enabled });
    }

    fn plugged(&self) -> Vec<PeerId> {
        self.lives.lock().unwrap().plugged.clone()
    }

    /// What a peer was told of its microphone: whether it is heard, and whether there is a reason.
    fn heard(&self, peer: PeerId) -> Vec<(bool, bool)> {
        let told = self.told(peer).into_iter().filter_map(|message| match message {
            ServerMessage::SessionMicrophone { enabled, reason } => Some((*enabled, reason.is_some())),
            _ => None,
        });
        told.collect()
    }

    fn last_error(&self, peer: PeerId) -> Option<String> {
        let told = self.told(peer).into_iter().rev();
        told.filter_map(|message| match message {
            ServerMessage::Error { code, .. } => Some(code.clone()),
            _ => None,
        })
        .next()
    }
}

#[test]
fn a_peer_is_heard_while_it_wishes_and_publishes_in_whatever_order() {
    let mut stage = Stage::running(TEST);
    let [ann, ben] = [1, 2].map(|socket| stage.publisher_as(Role::Controller, socket, None));
    stage.publish(ann, Microphone, None);
    assert_eq!(stage.plugged(), []);
    stage.wish(ann, true);
    stage.wish(ben, true);
    assert_eq!(stage.plugged(), [ann]);
    stage.publish(ben, Camera, None);
    assert_eq!(stage.plugged(), [ann], "a camera is not heard");
    stage.publish(ben, Microphone, None);
    assert_eq!(stage.plugged(), [ann, ben]);
    stage.signal(ben, ClientMessage::Unpublish { kind: Microphone });
    assert_eq!(stage.plugged(), [ann]);
    stage.publish(ben, Microphone, None);
    assert_eq!(stage.plugged(), [ann, ben], "the wish has stayed");
    stage.wish(ann, false);
    assert_eq!(stage.plugged(), [ben]);
    assert_eq!(
        (stage.heard(ann), stage.heard(ben)),
        (vec![(true, false), (false, false)], vec![(true, false)])
    );
    stage.report(Report::Gone { peer: ben, reason: "gone".into() });
    assert_eq!(stage.plugged(), []);
}

#[test]
fn who_may_not_steer_or_publish_is_not_heard_any_more_and_is_told_why() {
    for change in 0..2 {
        let mut stage = Stage::running(TEST);
        let ann = stage.publisher_as(Role::Controller, 1, None);
        stage.publish(ann, Microphone, None);
        stage.wish(ann, true);
        let role = (change == 0).then_some(Role::Viewer);
        let rights = (change == 1).then(|| [PeerRight::Chat].into());
        let update = request::UpdatePeer {
            peer: ann,
            role,
            rights,
            max_bitrate_kbps: None,
            session_microphone: None,
            session_camera: None,
        };
        let updated = stage.request(update);
        assert_eq!(stage.reply(&updated), Ok(()));
        assert_eq!(
            (stage.plugged(), stage.heard(ann)),
            (vec![], vec![(true, false), (false, true)]),
            "{change}"
        );
        stage.wish(ann, true);
        let code = ["not_a_controller", "may_not_publish"][change];
        assert_eq!(stage.last_error(ann).as_deref(), Some(code));
        let update = request::UpdatePeer {
            peer: ann,
            role: None,
            rights: None,
            max_bitrate_kbps: None,
            session_microphone: Some(true),
            session_camera: None,
        };
        let updated = stage.request(update);
        assert_eq!(stage.reply(&updated), Err(code));
        assert_eq!(stage.plugged(), []);
    }
}

#[test]
fn without_a_desktop_nobody_hears_anything() {
    let mut stage = Stage::new("{}");
    stage.request(request::StartSource);
    let ann = stage.publisher_as(Role::Controller, 1, None);
    stage.wish(ann, true);
    assert_eq!(stage.last_error(ann).as_deref(), Some("no_microphone"));
    stage.wish(ann, false);
    assert_eq!(stage.heard(ann), []);
}

#[test]
fn one_that_turns_it_on_and_off_without_a_sound_is_stopped() {
    let mut stage = Stage::running(TEST);
    let ann = stage.publisher_as(Role::Controller, 1, None);
    stage.publish(ann, Microphone, None);
    for _ in 0..100 {
        stage.wish(ann, true);
        stage.wish(ann, false);
    }
    assert_eq!(stage.last_error(ann).as_deref(), Some("busy"));
}
