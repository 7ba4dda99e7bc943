//! Whose camera the desktop's programs see, and until when.

use common::media::VideoCodec;
use common::person::PeerRight;
use common::signal::PublishKind::{Camera, Microphone};

use super::*;
use crate::peer::publishing::Pictured;

impl Stage {
    fn camera_wish(&mut self, peer: PeerId, enabled: bool) {
        self.signal(peer, ClientMessage::SessionCamera { enabled });
    }

    fn seen(&self) -> Option<PeerId> {
        self.lives.lock().unwrap().seen
    }

    /// What a peer was told of its camera: whether it is seen, and whether there is a reason.
    fn told_of_camera(&self, peer: PeerId) -> Vec<(bool, bool)> {
        let told = self.told(peer).into_iter().filter_map(|message| match message {
            ServerMessage::SessionCamera { enabled, reason } => Some((*enabled, reason.is_some())),
            _ => None,
        });
        told.collect()
    }

    fn errors(&self, peer: PeerId) -> Vec<String> {
        let told = self.told(peer).into_iter().filter_map(|message| match message {
            ServerMessage::Error { code, .. } => Some(code.clone()),
            _ => None,
        });
        told.collect()
    }

    fn patch_camera(&mut self, peer: PeerId, role: Option<Role>) -> Result<(), &'static str> {
        let updated = self.request(request::UpdatePeer {
            peer,
            role,
            rights: None,
            max_bitrate_kbps: None,
            session_microphone: None,
            session_camera: role.is_none().then_some(true),
        });
        self.reply(&updated)
    }
}

#[test]
fn the_last_who_wishes_it_is_seen_while_it_publishes_and_the_one_before_is_told() {
    let mut stage = Stage::running(TEST);
    let [ann, ben] = [1, 2].map(|socket| stage.publisher_as(Role::Controller, socket, None));
    stage.publish(ann, Camera, None);
    assert_eq!(stage.seen(), None, "publishing alone shows nothing to programs");
    stage.camera_wish(ann, true);
    assert_eq!(stage.seen(), Some(ann));
    stage.publish(ben, Microphone, None);
    assert_eq!(stage.patch_camera(ben, None), Ok(()));
    assert_eq!(stage.seen(), None, "Ben has taken the place, and has a microphone alone");
    stage.publish(ben, Camera, None);
    assert_eq!(stage.seen(), Some(ben));
    assert_eq!(stage.told_of_camera(ann), [(true, false), (false, true)]);
    stage.signal(ben, ClientMessage::Unpublish { kind: Camera });
    assert_eq!(stage.seen(), None);
    stage.publish(ben, Camera, None);
    assert_eq!(stage.seen(), Some(ben), "the wish has stayed");
    stage.camera_wish(ann, false);
    assert_eq!(stage.seen(), Some(ben), "it is not Ann who is seen");
    stage.camera_wish(ben, false);
    assert_eq!(stage.seen(), None);
    assert_eq!(stage.told_of_camera(ben), [(true, false), (false, false)]);
    stage.camera_wish(ben, true);
    stage.report(Report::Gone { peer: ben, reason: "gone".into() });
    assert_eq!(stage.seen(), None);
}

#[test]
fn who_may_not_steer_or_publish_is_not_seen_any_more_and_is_told_why() {
    let mut stage = Stage::running(TEST);
    let ann = stage.publisher_as(Role::Controller, 1, None);
    stage.publish(ann, Camera, None);
    stage.camera_wish(ann, true);
    assert_eq!(stage.patch_camera(ann, Some(Role::Viewer)), Ok(()));
    assert_eq!((stage.seen(), stage.told_of_camera(ann)), (None, vec![(true, false), (false, true)]));
    stage.camera_wish(ann, true);
    assert_eq!(stage.errors(ann), ["not_a_controller"]);
    assert_eq!(stage.patch_camera(ann, None), Err("not_a_controller"));

    let ben = stage.publisher_as(Role::Controller, 2, None);
    stage.publish(ben, Camera, None);
    stage.camera_wish(ben, true);
    let updated = stage.request(request::UpdatePeer {
        peer: ben,
        role: None,
        rights: Some([PeerRight::Chat].into()),
        max_bitrate_kbps: None,
        session_microphone: None,
        session_camera: None,
    });
    assert_eq!(stage.reply(&updated), Ok(()));
    assert_eq!((stage.seen(), stage.told_of_camera(ben)), (None, vec![(true, false), (false, true)]));
    stage.camera_wish(ben, true);
    assert_eq!(stage.errors(ben), ["may_not_publish"]);
}

#[test]
fn without_a_desktop_there_is_no_camera() {
    let mut stage = Stage::new("{}");
    stage.request(request::StartSource);
    let ann = stage.publisher_as(Role::Controller, 1, None);
    stage.camera_wish(ann, true);
    assert_eq!(stage.errors(ann), ["no_camera"]);
    stage.camera_wish(ann, false);
    assert_eq!(stage.told_of_camera(ann), []);
}

#[test]
fn pictures_that_cannot_be_decoded_end_it_with_a_reason() {
    let mut stage = Stage::running(TEST);
    let ann = stage.publisher_as(Role::Controller, 1, None);
    stage.publish(ann, Camera, None);
    stage.camera_wish(ann, true);
    let size = Some(Size { width: 640, height: 360 });
    let pictured = |codec| Report::Pictured { peer: ann, pictured: Pictured { kind: Camera, codec, size } };
    stage.report(pictured(VideoCodec::VP8));
    assert_eq!(stage.seen(), Some(ann));
    stage.report(pictured(VideoCodec::H265));
    assert_eq!((stage.seen(), stage.told_of_camera(ann)), (None, vec![(true, false), (false, true)]));
    stage.camera_wish(ann, true);
    assert_eq!(stage.errors(ann), ["unsupported"]);
}
