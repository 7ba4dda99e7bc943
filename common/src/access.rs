//! Who may do what: the roles, and what each message of a peer needs.
//!
//! Every message has a row here: the matches have no wildcard, so a new message does not compile without one. The rows of
//! REST are in its table of routes, in the web-server's `api/mod.rs`; `docs/SECURITY.md` shows both.

use std::fmt;

use crate::input::{GeneralRequest, KeysMessage, MotionMessage};
use crate::person::PeerRight;
use crate::signal::{ClientMessage, Role};

/// The least right that is needed. Ordered: each includes those before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Need {
    /// None: the route or message neither tells nor changes anything.
    Nothing,
    /// May watch the streamer.
    Viewer,
    /// May watch and steer it.
    Controller,
    /// May do everything.
    Admin,
}

impl From<Role> for Need {
    fn from(role: Role) -> Self {
        match role {
            Role::Viewer => Need::Viewer,
            Role::Controller => Need::Controller,
        }
    }
}

impl fmt::Display for Need {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Need::Nothing => "nothing",
            Need::Viewer => "viewer",
            Need::Controller => "controller",
            Need::Admin => "admin",
        })
    }
}

impl ClientMessage {
    /// The least role of the peer that sends it.
    pub fn needs(&self) -> Role {
        match self {
            // Some need a right as well: see below.
            ClientMessage::Chat { .. }
            | ClientMessage::React { .. }
            | ClientMessage::RaiseHand { .. }
            | ClientMessage::SetMuted { .. }
            | ClientMessage::MutePeer { .. }
            | ClientMessage::RemovePeer { .. }
            | ClientMessage::Hello { .. }
            | ClientMessage::Answer { .. }
            | ClientMessage::Candidate { .. }
            | ClientMessage::Switch { .. }
            | ClientMessage::Pause { .. }
            | ClientMessage::Resume { .. }
            | ClientMessage::Keyframe { .. }
            | ClientMessage::RestartIce
            | ClientMessage::Publish { .. }
            | ClientMessage::Unpublish { .. }
            | ClientMessage::SessionMicrophone { enabled: false }
            | ClientMessage::SessionCamera { enabled: false }
            | ClientMessage::Bye => Role::Viewer,
            ClientMessage::SessionMicrophone { enabled: true }
            | ClientMessage::SessionCamera { enabled: true }
            | ClientMessage::ControlRequest
            | ClientMessage::ControlTake
            | ClientMessage::ControlRelease
            | ClientMessage::ControlGrant { .. } => Role::Controller,
        }
    }
}

impl ClientMessage {
    /// The right among the peers that the sender needs, whatever its role is.
    pub fn needs_right(&self) -> Option<PeerRight> {
        match self {
            ClientMessage::Publish { .. }
            | ClientMessage::SessionMicrophone { enabled: true }
            | ClientMessage::SessionCamera { enabled: true } => Some(PeerRight::Publish),
            ClientMessage::Chat { .. } | ClientMessage::React { .. } => Some(PeerRight::Chat),
            ClientMessage::MutePeer { .. } | ClientMessage::RemovePeer { .. } => Some(PeerRight::Moderate),
            ClientMessage::Unpublish { .. }
            | ClientMessage::SessionMicrophone { enabled: false }
            | ClientMessage::SessionCamera { enabled: false }
            | ClientMessage::RaiseHand { .. }
            | ClientMessage::SetMuted { .. }
            | ClientMessage::Hello { .. }
            | ClientMessage::Answer { .. }
            | ClientMessage::Candidate { .. }
            | ClientMessage::Switch { .. }
            | ClientMessage::Pause { .. }
            | ClientMessage::Resume { .. }
            | ClientMessage::Keyframe { .. }
            | ClientMessage::RestartIce
            | ClientMessage::Bye
            | ClientMessage::ControlRequest
            | ClientMessage::ControlTake
            | ClientMessage::ControlRelease
            | ClientMessage::ControlGrant { .. } => None,
        }
    }
}

/// The right that a message on a data channel needs. With exclusive control, one that [steers](Steers::steers) also needs
/// control.
pub trait Steers {
    /// The least role of the peer that sends it.
    fn needs(&self) -> Role;

    /// It changes what the session does.
    fn steers(&self) -> bool {
        self.needs() >= Role::Controller
    }
}

impl Steers for KeysMessage {
    fn needs(&self) -> Role {
        match self {
            KeysMessage::Key { .. }
            | KeysMessage::Char { .. }
            | KeysMessage::Locks { .. }
            | KeysMessage::Text { .. }
            | KeysMessage::Button { .. }
            | KeysMessage::Wheel { .. }
            | KeysMessage::Held { .. }
            | KeysMessage::Touch { .. }
            | KeysMessage::Pad { .. }
            | KeysMessage::PadGone { .. }
            | KeysMessage::Blur
            | KeysMessage::Clipboard { .. }
            | KeysMessage::ClipboardPicture { .. } => Role::Controller,
        }
    }

    fn steers(&self) -> bool {
        // Letting go is nothing that anybody must be kept from.
        !matches!(self, KeysMessage::Blur)
    }
}

impl Steers for MotionMessage {
    fn needs(&self) -> Role {
        match self {
            MotionMessage::Pointer { .. }
            | MotionMessage::Relative { .. }
            | MotionMessage::Touch { .. }
            | MotionMessage::Pad { .. } => Role::Controller,
        }
    }
}

impl Steers for GeneralRequest {
    fn needs(&self) -> Role {
        match self {
            GeneralRequest::Ping { .. } | GeneralRequest::Clock { .. } | GeneralRequest::Latency(_) => {
                Role::Viewer
            }
            GeneralRequest::Resize { .. } => Role::Controller,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_may_do_more_may_do_less() {
        assert!(Need::Admin > Need::Controller && Need::Controller > Need::Viewer);
        assert!(Need::Viewer > Need::Nothing);
        assert_eq!(Need::from(Role::Controller), Need::Controller);
    }

    #[test]
    fn a_viewer_watches_and_no_more() {
        assert_eq!(ClientMessage::Pause { slot: 0 }.needs(), Role::Viewer);
        assert_eq!(ClientMessage::ControlTake.needs(), Role::Controller);
        assert_eq!(KeysMessage::Clipboard { text: String::new(), html: None }.needs(), Role::Controller);
        assert_eq!(GeneralRequest::Ping { token: 1 }.needs(), Role::Viewer);
        assert!(!GeneralRequest::Ping { token: 1 }.steers() && !KeysMessage::Blur.steers());
    }
}
