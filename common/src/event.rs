//! What happens to streamers, as it is told by `GET /api/events` and `GET /api/streamers/{id}/events`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::api::{Peer, PeerKind, PeerState};
use crate::control::{Control, ControlMode};
use crate::exit::StreamerExit;
use crate::id::{PeerId, StreamerId};
use crate::signal::{Role, StreamerState};
use crate::spec::hide_addresses;

/// `event` of [`Gap::Missed`].
pub const MISSED: &str = "missed";

/// `data` of one event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EventData {
    /// Something happened to a streamer.
    Streamer(StreamerEvent),
    /// Nobody knows what happened.
    Gap(Gap),
}

/// A place in a stream where events are not there any more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Gap {
    /// Events before this one are lost: ask for the present state.
    Missed,
}

/// An event of a streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerEvent {
    /// When.
    pub at: DateTime<Utc>,
    /// To which streamer.
    pub streamer: StreamerId,
    /// What, by its `type`, which is also the `event`.
    #[serde(flatten)]
    pub what: Happening,
}

impl StreamerEvent {
    /// The same for those who are not to know where a source comes from.
    #[must_use]
    pub fn without_addresses(&self) -> Self {
        let what = match self.what.clone() {
            Happening::State { state, reason } => {
                Happening::State { state, reason: reason.as_deref().map(hide_addresses) }
            }
            Happening::Ended { reason, exit } => Happening::Ended {
                reason: hide_addresses(&reason),
                exit: exit.map(StreamerExit::without_addresses),
            },
            other => other,
        };
        Self { what, ..self.clone() }
    }
}

/// What can happen to a streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Happening {
    /// It was created.
    Created,
    /// It is in another state.
    State {
        /// Which.
        state: StreamerState,
        /// Why, if there is more to say.
        reason: Option<String>,
    },
    /// Its process ended without having been told to. `state` says what follows.
    Ended {
        /// Why, with the last words of a command.
        reason: String,
        /// The same for programs, if a process was started.
        exit: Option<StreamerExit>,
    },
    /// Nothing is left of it. The last event of a streamer.
    Deleted,
    /// A peer joined.
    PeerJoined(PeerSummary),
    /// Connection or role of a peer are others.
    PeerChanged(PeerSummary),
    /// A peer is gone.
    PeerLeft {
        /// Which.
        peer: PeerId,
        /// Why.
        reason: Option<String>,
    },
    /// Somebody else may steer, or asks for it.
    Control {
        /// Which way.
        mode: ControlMode,
        /// Who has control.
        holder: Option<PeerId>,
        /// Who asks for it, in order of asking.
        requests: Vec<PeerId>,
    },
    /// The desktop has one more window that can be shared.
    WindowOpened {
        /// As `GET …/windows` names it.
        window_id: u32,
        /// As its frame shows it.
        title: String,
        /// Name of its program.
        app: String,
    },
    /// A window has another title.
    WindowTitled {
        /// Which.
        window_id: u32,
        /// As its frame shows it.
        title: String,
    },
    /// A window is closed, or not on the screen any more.
    WindowClosed {
        /// Which.
        window_id: u32,
    },
    /// The clipboard has a new text, which `GET …/clipboard` tells to those who may know it.
    ClipboardChanged,
}

/// A peer, without what changes all the time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct PeerSummary {
    /// Which.
    pub peer: PeerId,
    /// How it came.
    pub kind: PeerKind,
    /// What it may do.
    pub role: Role,
    /// Where its connection is in its life.
    pub state: PeerState,
}

impl From<&Peer> for PeerSummary {
    fn from(peer: &Peer) -> Self {
        Self { peer: peer.id, kind: peer.kind, role: peer.role, state: peer.state }
    }
}

impl From<&Control> for Happening {
    fn from(control: &Control) -> Self {
        let Control { mode, holder, requests } = control.clone();
        Self::Control { mode, holder, requests }
    }
}

impl Happening {
    /// `type` and `event`.
    pub fn name(&self) -> &'static str {
        match self {
            Happening::Created => "created",
            Happening::State { .. } => "state",
            Happening::Ended { .. } => "ended",
            Happening::Deleted => "deleted",
            Happening::PeerJoined(_) => "peer-joined",
            Happening::PeerChanged(_) => "peer-changed",
            Happening::PeerLeft { .. } => "peer-left",
            Happening::Control { .. } => "control",
            Happening::WindowOpened { .. } => "window-opened",
            Happening::WindowTitled { .. } => "window-titled",
            Happening::WindowClosed { .. } => "window-closed",
            Happening::ClipboardChanged => "clipboard-changed",
        }
    }

    /// What somebody must be of the streamer to be told: as of the route that tells the same.
    pub fn needs(&self) -> Role {
        match self {
            Happening::Created
            | Happening::State { .. }
            | Happening::Ended { .. }
            | Happening::Deleted
            | Happening::PeerJoined(_)
            | Happening::PeerChanged(_)
            | Happening::PeerLeft { .. }
            | Happening::Control { .. } => Role::Viewer,
            Happening::WindowOpened { .. }
            | Happening::WindowTitled { .. }
            | Happening::WindowClosed { .. }
            | Happening::ClipboardChanged => Role::Controller,
        }
    }

    /// True for what only the streamer itself can know: all that is believed when it says so.
    pub fn is_of_session(&self) -> bool {
        self.needs() == Role::Controller
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_is_one_flat_object_whose_type_is_its_name() {
        let at = DateTime::from_timestamp(1_000_000_000, 0).unwrap();
        let streamer = StreamerId::parse("demo").unwrap();
        let opened = Happening::WindowOpened { window_id: 7, title: "t".into(), app: "a".into() };
        let peer = PeerSummary {
            peer: PeerId::unique(),
            kind: PeerKind::Native,
            role: Role::Viewer,
            state: PeerState::Lost,
        };
        for what in [
            Happening::Created,
            Happening::State { state: StreamerState::Running, reason: None },
            Happening::PeerLeft { peer: peer.peer, reason: None },
            Happening::PeerChanged(peer),
            Happening::from(&Control::default()),
            opened,
            Happening::ClipboardChanged,
            Happening::Deleted,
        ] {
            let event = StreamerEvent { at, streamer: streamer.clone(), what };
            let value = serde_json::to_value(&event).unwrap();
            assert_eq!((&value["type"], &value["streamer"]), (&event.what.name().into(), &"demo".into()));
            assert_eq!(serde_json::from_value::<StreamerEvent>(value).unwrap(), event);
        }
    }
}
