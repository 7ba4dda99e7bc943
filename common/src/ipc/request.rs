//! The requests to a streamer. Each is a type of its own and names the type of its reply, so that neither end can
//! mistake one reply for another.
//!
//! A new request is a struct here and a line of `requests!` at the end; `ARCHITECTURE.md` shows what follows.

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::codec::blob;
use super::{IcePatch, Join, Json};
use crate::api::{InputRequest, SnapshotFormat};
use crate::clipboard::{ClipboardType, Content, Wanted};
use crate::control::{Control, ControlChange};
use crate::id::{PeerId, SlotIndex, SourceName};
use crate::person::Rights;
use crate::signal::{Role, StreamInfo};
use crate::slots::{SourceList, WindowList};
use crate::spec::SourceSpec;

/// A request to a streamer. It has exactly one outcome: its reply, or a [`super::RequestError`].
pub trait Request: Into<AnyRequest> + Send + 'static {
    /// The type of the reply when it succeeds.
    type Reply: Serialize + DeserializeOwned + Send + 'static;
}

/// Starts the source of the spec. The reply comes when its first keyframe is encoded; or it is the source's error, after which
/// the streamer ends.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StartSource;

/// A peer joins.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddPeer {
    /// How it joins, and what it may do.
    pub join: Json<Join>,
}

/// The peer is there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PeerAdded {
    /// Its id: a new one, or the one it had before.
    pub peer: PeerId,
    /// For a peer that offered: SDP.
    pub answer: Option<String>,
}

/// Ends a peer; fails with `peer_not_found` if there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemovePeer {
    /// The id of the peer.
    pub peer: PeerId,
    /// Shown to the peer.
    pub reason: String,
}

/// Changes what a peer may do; fails with `peer_not_found` if there is none.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct UpdatePeer {
    /// The id of the peer.
    pub peer: PeerId,
    /// What it may do with the session from now on; `None`: as before.
    pub role: Option<Role>,
    /// What it may do among the peers from now on; `None`: as before.
    pub rights: Option<Rights>,
    /// What it is sent at most from now on, kilobits per second; 0: as much as its path carries; `None`: as before.
    #[serde(default)]
    pub max_bitrate_kbps: Option<u32>,
    /// Whether the desktop's programs hear its microphone from now on; `None`: as before.
    #[serde(default)]
    pub session_microphone: Option<bool>,
    /// Whether the desktop's programs see its camera from now on; `None`: as before.
    #[serde(default)]
    pub session_camera: Option<bool>,
}

/// A WHEP player has more candidates, or restarts ICE; fails with `ice_session_mismatch` if it means another ICE session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PatchPeer {
    /// The id of the peer.
    pub peer: PeerId,
    /// The player's side of ICE.
    pub patch: Json<IcePatch>,
}

/// The player's side of ICE is known.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Patched {
    /// After a restart: SDP with our side.
    pub answer: Option<String>,
}

/// `POST /input`. The reply comes when everything has reached the sink.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SendInput {
    /// What to do, in order.
    pub input: Json<InputRequest>,
}

/// Takes a snapshot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TakeSnapshot {
    /// The slot, counted from 0.
    pub slot: SlotIndex,
    /// File format.
    pub format: SnapshotFormat,
    /// Scaled down to this width, pixels.
    pub width: Option<u32>,
    /// It is not made if the picture still has this version.
    #[serde(default)]
    pub unless: Option<u64>,
}

/// A snapshot as a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// The encoded picture; empty when it still has the version that was asked for.
    #[serde(with = "blob")]
    pub image: Vec<u8>,
    /// What pictures of this form that look alike have in common; absent from a streamer that knows of none.
    #[serde(default)]
    pub version: Option<u64>,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Reads the session's clipboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GetClipboard {
    /// Which part of it.
    pub wanted: Wanted,
}

/// What is on the clipboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Clipboard {
    /// The types that it offers.
    pub types: Vec<ClipboardType>,
    /// The part that was asked for.
    pub content: Content,
}

/// Sets the session's clipboard.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SetClipboard {
    /// The new content.
    pub content: Content,
}

/// Shows something in a slot, to everybody. The reply comes when its first picture is there.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BindSlot {
    /// Which slot; `None`: the first free one.
    pub slot: Option<SlotIndex>,
    /// What it is to show.
    pub bind: Json<crate::slots::BindSlot>,
}

/// Shows nothing in a slot. Succeeds also when it showed nothing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClearSlot {
    /// The slot, counted from 0.
    pub slot: SlotIndex,
}

/// The windows of the session's desktop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListWindows;

/// Adds a named source. It starts when it is wanted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AddSource {
    /// The name of the source.
    pub name: SourceName,
    /// The source to add.
    pub source: Json<SourceSpec>,
}

/// Removes a named source, from all slots that show it too.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RemoveSource {
    /// The name of the source.
    pub name: SourceName,
}

/// The sources of the session.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ListSources;

/// Resizes a desktop. The reply comes once frames have the new size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Resize {
    /// The slot whose source is resized.
    pub slot: SlotIndex,
    /// Width in pixels.
    pub width: u32,
    /// Height in pixels.
    pub height: u32,
}

/// Changes who may steer; an empty change only asks. Fails with `not_a_controller` if the new holder may not steer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChangeControl {
    /// The change.
    pub change: Json<ControlChange>,
}

/// Makes [`AnyRequest`] of the requests, and gives each its reply.
macro_rules! requests {
    ($($request:ident => $reply:ty,)*) => {
        /// Any request, as it travels.
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        pub enum AnyRequest {
            $(
                #[doc = concat!("See [`struct@", stringify!($request), "`].")]
                $request($request),
            )*
        }

        $(
            impl Request for $request {
                type Reply = $reply;
            }

            impl From<$request> for AnyRequest {
                fn from(request: $request) -> Self {
                    AnyRequest::$request(request)
                }
            }
        )*
    };
}

// In the order of the wire: a new one goes to the end.
requests! {
    StartSource => (),
    AddPeer => PeerAdded,
    RemovePeer => (),
    UpdatePeer => (),
    PatchPeer => Patched,
    SendInput => (),
    TakeSnapshot => Picture,
    GetClipboard => Clipboard,
    SetClipboard => (),
    BindSlot => Json<StreamInfo>,
    ClearSlot => (),
    ListWindows => Json<WindowList>,
    AddSource => (),
    RemoveSource => (),
    ListSources => Json<SourceList>,
    Resize => (),
    ChangeControl => Json<Control>,
}
