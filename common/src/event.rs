//! Events of streamers, as sent by `GET /api/events` and `GET /api/streamers/{id}/events`.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use crate::api::{Peer, PeerKind, PeerState};
use crate::control::{Control, ControlMode};
use crate::exit::StreamerExit;
use crate::files::FileEntry;
use crate::id::{PeerId, StreamerId};
use crate::person::Rights;
use crate::secret_url::hide_addresses;
use crate::signal::{Role, StreamerState};

/// `event` of [`Gap::Missed`].
pub const MISSED: &str = "missed";

/// `data` of one event of a stream.
#[derive(Debug, Clone, PartialEq, Serialize, ToSchema)]
#[serde(untagged)]
pub enum EventData {
    /// Something happened to a streamer.
    Streamer(StreamerEvent),
    /// Events are missing.
    Gap(Gap),
}

/// A gap in a stream of events.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum Gap {
    /// Events before this one are lost: ask for the present state.
    Missed,
}

/// An event of a streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
pub struct StreamerEvent {
    /// Time of the event.
    pub at: DateTime<Utc>,
    /// The id of the streamer.
    pub streamer: StreamerId,
    /// What happened; its `type` is also the `event` of the stream.
    #[serde(flatten)]
    pub what: Happening,
}

impl StreamerEvent {
    /// The same without addresses of sources, for those who may not see them.
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
        /// The state that it is in now.
        state: StreamerState,
        /// The reason, if there is one.
        reason: Option<String>,
    },
    /// Its process ended without having been told to. `state` says what follows.
    Ended {
        /// The reason, with the last output of a command.
        reason: String,
        /// The same for programs, if a process was started.
        exit: Option<StreamerExit>,
    },
    /// Nothing is left of it. The last event of a streamer.
    Deleted,
    /// Another node of the cluster goes on with it from here: it was moved, or its node was lost.
    Moved,
    /// A peer joined.
    PeerJoined(PeerSummary),
    /// The connection or role of a peer has changed.
    PeerChanged(PeerSummary),
    /// A peer is gone.
    PeerLeft {
        /// The id of the peer.
        peer: PeerId,
        /// The reason, for people.
        reason: Option<String>,
    },
    /// Control, or the requests for it, have changed.
    Control {
        /// Whether all controllers steer, or one at a time.
        mode: ControlMode,
        /// Who has control.
        holder: Option<PeerId>,
        /// Peers that have asked for control, in order.
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
        /// Its id, as in `GET …/windows`.
        window_id: u32,
        /// As its frame shows it.
        title: String,
    },
    /// A window is closed, or not on the screen any more.
    WindowClosed {
        /// Its id, as in `GET …/windows`.
        window_id: u32,
    },
    /// The clipboard has a new text; `GET …/clipboard` returns it.
    ClipboardChanged,
    /// A file was finished in `Downloads` of the session's home; `GET …/files/{path}` returns it.
    Downloaded {
        /// The file.
        file: FileEntry,
    },
}

/// A peer without its counters.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
pub struct PeerSummary {
    /// The id of the peer.
    pub peer: PeerId,
    /// The protocol by which it joined.
    pub kind: PeerKind,
    /// What it may do.
    pub role: Role,
    /// The name that others see.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub display_name: Option<String>,
    /// The user id of its token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub user_id: Option<String>,
    /// What it may do among the peers.
    #[serde(default)]
    pub rights: Rights,
    /// State of its connection.
    pub state: PeerState,
}

impl From<&Peer> for PeerSummary {
    fn from(peer: &Peer) -> Self {
        Self {
            peer: peer.id,
            kind: peer.kind,
            role: peer.role,
            display_name: peer.display_name.clone(),
            user_id: peer.user_id.clone(),
            rights: peer.rights.clone(),
            state: peer.state,
        }
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
            Happening::Moved => "moved",
            Happening::PeerJoined(_) => "peer-joined",
            Happening::PeerChanged(_) => "peer-changed",
            Happening::PeerLeft { .. } => "peer-left",
            Happening::Control { .. } => "control",
            Happening::WindowOpened { .. } => "window-opened",
            Happening::WindowTitled { .. } => "window-titled",
            Happening::WindowClosed { .. } => "window-closed",
            Happening::ClipboardChanged => "clipboard-changed",
            Happening::Downloaded { .. } => "downloaded",
        }
    }

    /// The least role for receiving the event: that of the route which returns the same.
    pub fn needs(&self) -> Role {
        match self {
            Happening::Created
            | Happening::State { .. }
            | Happening::Ended { .. }
            | Happening::Deleted
            | Happening::Moved
            | Happening::PeerJoined(_)
            | Happening::PeerChanged(_)
            | Happening::PeerLeft { .. }
            | Happening::Control { .. } => Role::Viewer,
            Happening::WindowOpened { .. }
            | Happening::WindowTitled { .. }
            | Happening::WindowClosed { .. }
            | Happening::ClipboardChanged
            | Happening::Downloaded { .. } => Role::Controller,
        }
    }

    /// Whether only the streamer can know of it. The web-server accepts no other events from a streamer.
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
            display_name: None,
            user_id: None,
            rights: Rights::new(),
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
