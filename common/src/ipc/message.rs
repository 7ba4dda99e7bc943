//! What the web-server and a streamer say to each other.
//!
//! What asks for something carries a [`RequestId`], documents which [`Reply`] answers it, and is
//! answered exactly once. Peers' signalling, specs and the like travel as [`Json`] inside: these are
//! self-describing, so that an adopted streamer of another build can ignore fields that it does not know.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use crate::api::{InputRequest, Peer, PeerState, SnapshotFormat};
use crate::clipboard::{ClipboardType, Content, Wanted};
use crate::control::{Control, ControlChange};
use crate::event::Happening;
use crate::exit::ExitReason;
use crate::id::{PeerId, RequestId, SlotIndex, SourceName, StreamerId, TokenId};
use crate::nat::PortRange;
use crate::signal::{Capabilities, ClientMessage, Role, ServerMessage, StreamInfo};
use crate::slots::{BindSlot, SlotConfig, SourceList, WindowList};
use crate::spec::{SourceSpec, StreamerSpec};
use crate::stats::StreamerStats;

/// First in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL`] of the speaker.
    pub protocol: u16,
    /// Version of the speaker's binary, for the log.
    pub build: String,
    /// Content of the token file. The streamer answers with it too: it proves that it could read it.
    pub token: String,
    /// What this connection is for.
    pub purpose: Purpose,
}

/// Each purpose has a connection of its own, so that large replies never delay control.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Purpose {
    /// Signalling and everything small.
    Control,
    /// Snapshots and other large replies.
    Bulk,
}

/// The streamer's answer to the server's [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloReply {
    /// Welcome.
    Accepted(Hello),
    /// No; the connection ends.
    Refused(Refusal),
}

/// Why a streamer refuses a connection.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Refusal {
    /// The two speak different versions.
    #[error("the streamer speaks IPC protocol {streamer}, the web-server {server}")]
    Protocol {
        /// The streamer's version.
        streamer: u16,
        /// The web-server's version.
        server: u16,
    },
    /// The token is not the one in the run directory.
    #[error("wrong IPC token")]
    Token,
    /// The process at the other end runs as somebody else.
    #[error("the peer runs as another user")]
    User,
}

/// A value that travels as JSON text inside a bincode frame.
#[derive(Debug, Clone, PartialEq)]
pub struct Json<T>(pub T);

impl<T: Serialize> Serialize for Json<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = serde_json::to_string(&self.0).map_err(serde::ser::Error::custom)?;
        text.serialize(serializer)
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Json<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        serde_json::from_str(&text).map(Json).map_err(serde::de::Error::custom)
    }
}

/// Web-server to streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ServerIpcMessage {
    /// What to be. First on the first control connection of a streamer's life; refused later.
    Init {
        /// Its name, for logs.
        id: StreamerId,
        /// What to run.
        spec: Json<StreamerSpec>,
        /// Server-wide settings that it needs.
        settings: Box<Json<Settings>>,
    },
    /// Starts the source of the spec. Replied by [`Reply::Done`] when its first keyframe is encoded, or by the
    /// source's error, after which the streamer ends.
    StartSource {
        /// Names the reply.
        request: RequestId,
    },
    /// A peer joins. Replied by [`Reply::PeerAdded`].
    AddPeer {
        /// Names the reply.
        request: RequestId,
        /// How it comes.
        join: Json<Join>,
    },
    /// A peer's signalling. Dropped when there is no such peer.
    FromPeer {
        /// Who says it.
        peer: PeerId,
        /// What.
        message: Json<ClientMessage>,
    },
    /// A peer's WebSocket is lost, not closed by `bye`: media goes on while its connection lives. Means nothing
    /// when the peer has resumed on another WebSocket meanwhile.
    DetachPeer {
        /// Whose.
        peer: PeerId,
        /// Which: the number that its [`Join::Native`] had.
        socket: u64,
    },
    /// Ends a peer. Replied by [`Reply::Done`], or `peer_not_found`.
    RemovePeer {
        /// Names the reply.
        request: RequestId,
        /// Whom.
        peer: PeerId,
        /// Told to the peer.
        reason: String,
    },
    /// Changes what a peer may do. Replied by [`Reply::Done`], or `peer_not_found`.
    UpdatePeer {
        /// Names the reply.
        request: RequestId,
        /// Whose.
        peer: PeerId,
        /// What it may do from now on.
        role: Role,
    },
    /// `POST /input`. Replied by [`Reply::Done`] when everything has reached the sink.
    Input {
        /// Names the reply.
        request: RequestId,
        /// The commands.
        input: Json<InputRequest>,
    },
    /// A picture now. Replied by [`Reply::Snapshot`].
    Snapshot {
        /// Names the reply.
        request: RequestId,
        /// Of which slot.
        slot: SlotIndex,
        /// File format.
        format: SnapshotFormat,
        /// Scaled down to this width, pixels.
        width: Option<u32>,
    },
    /// Reads the session's clipboard. Replied by [`Reply::Clipboard`].
    GetClipboard {
        /// Names the reply.
        request: RequestId,
        /// What of it.
        wanted: Wanted,
    },
    /// Sets the session's clipboard. Replied by [`Reply::Done`].
    SetClipboard {
        /// Names the reply.
        request: RequestId,
        /// What is to be on it.
        content: Content,
    },
    /// Shows something in a slot, to everybody. Replied by [`Reply::Bound`] when its first picture is there.
    BindSlot {
        /// Names the reply.
        request: RequestId,
        /// Which; `None`: the first free one.
        slot: Option<SlotIndex>,
        /// What.
        bind: Json<BindSlot>,
    },
    /// Shows nothing in a slot. Replied by [`Reply::Done`], also when it showed nothing.
    ClearSlot {
        /// Names the reply.
        request: RequestId,
        /// Which.
        slot: SlotIndex,
    },
    /// The windows of the session's desktop. Replied by [`Reply::Windows`].
    Windows {
        /// Names the reply.
        request: RequestId,
    },
    /// Adds a named source. Replied by [`Reply::Done`]; it starts when it is wanted.
    AddSource {
        /// Names the reply.
        request: RequestId,
        /// Its name.
        name: SourceName,
        /// What it is.
        source: Json<SourceSpec>,
    },
    /// Removes a named source, from all slots that show it too. Replied by [`Reply::Done`].
    RemoveSource {
        /// Names the reply.
        request: RequestId,
        /// Its name.
        name: SourceName,
    },
    /// The sources of the session. Replied by [`Reply::Sources`].
    Sources {
        /// Names the reply.
        request: RequestId,
    },
    /// Resizes a desktop. Replied by [`Reply::Done`] once frames have the new size.
    Resize {
        /// Names the reply.
        request: RequestId,
        /// Slot whose source is resized.
        slot: SlotIndex,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// Stop gracefully: tell the peers, end the session, exit.
    Stop {
        /// Told to the peers.
        reason: String,
    },
    /// Changes who may steer; an empty change asks. Replied by [`Reply::Control`], or `not_a_controller`.
    Control {
        /// Names the reply.
        request: RequestId,
        /// What is to be.
        change: Json<ControlChange>,
    },
    /// A WHEP player has more candidates, or restarts ICE. Replied by [`Reply::Patched`], or `ice_session_mismatch`.
    PatchPeer {
        /// Names the reply.
        request: RequestId,
        /// Whose connection.
        peer: PeerId,
        /// What it says.
        patch: Json<IcePatch>,
    },
}

/// What a player says of its side of ICE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcePatch {
    /// ICE sessions of ours, by their user name fragments, to one of which this must belong; `None`: to any.
    pub sessions: Option<Vec<String>>,
    /// Its user name fragment: another one than before restarts ICE.
    pub ufrag: String,
    /// Its password.
    pub pwd: String,
    /// Its candidates, `candidate:…`.
    pub candidates: Vec<String>,
}

/// Code of the answer to a [`ServerIpcMessage::PatchPeer`] that belongs to another ICE session.
pub const ICE_SESSION_MISMATCH: &str = "ice_session_mismatch";

/// Server-wide settings that a streamer needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Settings {
    /// Addresses to offer and listen on; empty: every address of this machine, loopback included.
    pub listen_ips: Vec<std::net::IpAddr>,
    /// Network interfaces whose addresses these are when none are named; see [`crate::nat::interface_wanted`].
    pub interfaces: Vec<String>,
    /// UDP ports to take, one for each thread that sends to peers; `None`: any free one.
    pub udp_ports: Option<PortRange>,
    /// Addresses that a 1:1 NAT gives us outside, at most one of each family: offered in place of our own.
    pub public_ips: Vec<std::net::IpAddr>,
    /// Addresses that are never contacted, whatever peers say of their candidates.
    pub deny_candidates: Vec<crate::nat::Network>,
    /// Most peers at once.
    pub max_peers: u32,
    /// Threads that send to peers.
    pub shards: u32,
    /// Messages on the data channels of one peer, per second.
    pub data_messages_per_second: u32,
    /// Negotiate all slots with the first offer. `false`: active ones only, and a new offer with each change.
    pub preallocate_slots: bool,
    /// Whether the programs of a session are kept from [`Settings::hidden`].
    pub isolation: Isolation,
    /// The server's own directories and files, absolute.
    pub hidden: Vec<std::path::PathBuf>,
    /// What the programs of a session reach by network.
    pub network: ProgramNetwork,
    /// Homes of this streamer's desktops.
    pub homes: crate::spec::HomeDirs,
    /// Whether a desktop that has no command gets a window manager and a terminal, in which anything can be run.
    pub furnish_desktops: bool,
}

/// Whether programs of a session are kept from what is the server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Isolation {
    /// Where the system allows it.
    #[default]
    Auto,
    /// Always: where the system does not allow it, no program is started.
    Required,
    /// Not at all.
    Off,
}

/// What the programs of a session reach by network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ProgramNetwork {
    /// What this machine reaches, and what listens on it.
    #[default]
    Host,
    /// Each other, on a loopback interface of their own, and nothing else. Where the system does not allow that, no program is
    /// started.
    Isolated,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen_ips: Vec::new(),
            interfaces: Vec::new(),
            udp_ports: None,
            public_ips: Vec::new(),
            deny_candidates: crate::nat::denied_candidates(),
            max_peers: 500,
            shards: 1,
            // A fast mouse sends 1000.
            data_messages_per_second: 3000,
            preallocate_slots: true,
            isolation: Isolation::default(),
            hidden: Vec::new(),
            network: ProgramNetwork::default(),
            homes: crate::spec::HomeDirs::default(),
            furnish_desktops: false,
        }
    }
}

/// How a peer comes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Join {
    /// By the native protocol. `welcome` and `offer` follow by [`StreamerIpcMessage::ToPeer`].
    Native {
        /// Token of an earlier welcome.
        resume: Option<String>,
        /// Number of its WebSocket, which no other one of this web-server has.
        socket: u64,
        /// What it may do.
        role: Role,
        /// What it can do.
        capabilities: Capabilities,
        /// The token that it came with.
        #[serde(default)]
        token_id: Option<TokenId>,
    },
    /// As a page of the multi-peer WebRTC branch of moonlight-web-stream: what it says was translated, and what it is
    /// told will be. It has slot 0 alone, and data channels of its own. `welcome` and `offer` follow as for
    /// [`Join::Native`].
    MultiWebrtc {
        /// Number of its WebSocket.
        socket: u64,
        /// What it may do.
        role: Role,
        /// The token that it came with.
        #[serde(default)]
        token_id: Option<TokenId>,
    },
    /// By WHEP: the offer of a player. The answer is in the reply.
    Whep {
        /// SDP.
        offer: String,
        /// The token that it came with.
        #[serde(default)]
        token_id: Option<TokenId>,
    },
    /// By `multistream/*`: the client offers, and its video sections are the slots, each with a stream of its own.
    /// The answer is in the reply; by [`StreamerIpcMessage::ToPeer`] follow a `slot-status` for each slot, and what
    /// becomes of them.
    Multistream {
        /// SDP.
        offer: String,
        /// What the slots are to show, in order of the offer's video sections.
        slots: Vec<SlotConfig>,
        /// Proves later that it is the same client. A secret that nobody can guess.
        session: String,
        /// Its WebSocket, as [`ServerIpcMessage::DetachPeer`] will name it.
        socket: u64,
        /// The token that it came with.
        #[serde(default)]
        token_id: Option<TokenId>,
    },
    /// A client of `multistream/*` has a new WebSocket. Its peer goes on: `welcome` with the number of its slots
    /// and a `slot-status` for each of them follow by [`StreamerIpcMessage::ToPeer`]. Refused with
    /// `session_not_found` when there is no such peer any more.
    ResumeMultistream {
        /// As it was when it came.
        session: String,
        /// Its WebSocket, as [`ServerIpcMessage::DetachPeer`] will name it.
        socket: u64,
    },
}

/// Streamer to web-server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamerIpcMessage {
    /// First after `Hello` on a control connection: all there is to know for whoever adopts it.
    Ready(Box<Json<Ready>>),
    /// The main source has produced a keyframe: its first one, or the first since it was lost.
    SourceConnected,
    /// The main source gives no pictures: it is absent and retried, or it ended, and the streamer ends too with the same reason.
    SourceLost {
        /// Why.
        reason: String,
    },
    /// What slots show has changed: all active ones, as they are now.
    SlotsChanged {
        /// In order of slots.
        slots: Vec<Json<StreamInfo>>,
    },
    /// Signalling for one peer. Dropped when it has no WebSocket.
    ToPeer {
        /// For whom.
        peer: PeerId,
        /// What.
        message: Json<ServerMessage>,
    },
    /// Signalling for every peer with a WebSocket.
    Broadcast {
        /// What.
        message: Json<ServerMessage>,
    },
    /// A peer joined or changed its state.
    PeerState {
        /// All about it.
        peer: Json<Peer>,
    },
    /// A peer is gone. Its WebSocket, if it has one, is closed.
    PeerGone {
        /// Who.
        peer: PeerId,
        /// Why.
        reason: String,
    },
    /// Each second: the heartbeat.
    Stats {
        /// Of the streamer.
        stats: Box<Json<StreamerStats>>,
        /// Of every peer.
        peers: Vec<Json<Peer>>,
    },
    /// The answer to a request.
    Reply {
        /// Which.
        request: RequestId,
        /// What.
        result: Result<Reply, RequestError>,
    },
    /// Last words.
    Exit {
        /// Why it ends.
        reason: Json<ExitReason>,
    },
    /// Something that only the session knows of, for whoever listens: see [`Happening::is_of_session`].
    Happened {
        /// What.
        what: Json<Happening>,
    },
}

/// What a streamer is, for whoever connects.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ready {
    /// `None` until `Init`.
    pub session: Option<SessionState>,
    /// Id of the streamer process.
    pub pid: u32,
}

/// A streamer after its `Init`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SessionState {
    /// Its name.
    pub id: StreamerId,
    /// What it runs.
    pub spec: StreamerSpec,
    /// When the process started.
    pub started: DateTime<Utc>,
    /// Since when its source is running; `None` while it starts.
    pub running_since: Option<DateTime<Utc>>,
    /// Active slots.
    pub slots: Vec<StreamInfo>,
    /// Who is there.
    pub peers: Vec<Peer>,
    /// Who may steer.
    #[serde(default)]
    pub control: Control,
}

/// The good answers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Reply {
    /// Nothing to say but that it is done.
    Done,
    /// The peer is there.
    PeerAdded {
        /// Its id: a new one, or the one it had before.
        peer: PeerId,
        /// For a peer that offered: SDP.
        answer: Option<String>,
    },
    /// A picture.
    Snapshot {
        /// The file.
        image: Vec<u8>,
        /// Pixels.
        width: u32,
        /// Pixels.
        height: u32,
    },
    /// A slot shows what was asked for.
    Bound {
        /// What it shows.
        stream_info: Json<StreamInfo>,
    },
    /// What can be shared.
    Windows(Json<WindowList>),
    /// What there is.
    Sources(Json<SourceList>),
    /// The clipboard.
    Clipboard {
        /// What it offers.
        types: Vec<ClipboardType>,
        /// What was asked for of it.
        content: Content,
    },
    /// Who may steer.
    Control(Json<Control>),
    /// The peer's side of ICE is known.
    Patched {
        /// After a restart: SDP with our side.
        answer: Option<String>,
    },
}

/// A request that was refused or failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct RequestError {
    /// Which kind: the HTTP status follows from it.
    pub kind: ErrorKind,
    /// Stable, for programs.
    pub code: String,
    /// For people.
    pub message: String,
    /// Path of the offending field of the request or the spec, if there is one: `source.command`.
    pub field: Option<String>,
}

/// Kinds of failures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ErrorKind {
    /// The request itself is wrong.
    Invalid,
    /// What it names does not exist.
    NotFound,
    /// It does not fit the state: not started, already started, wrong kind of source.
    Conflict,
    /// A bound is reached.
    Limit,
    /// Something is longer than is carried.
    TooLong,
    /// It should have worked and did not.
    Failed,
    /// Somebody else, a host on the network or a program of the session, did not answer in time.
    Timeout,
}

/// Code of the answer to a second [`ServerIpcMessage::StartSource`].
pub const ALREADY_STARTED: &str = "already_started";

impl RequestError {
    /// An error of this kind.
    pub fn new(kind: ErrorKind, code: &str, message: impl Into<String>) -> Self {
        Self { kind, code: code.to_owned(), message: message.into(), field: None }
    }

    /// The same, naming the field that is to blame.
    #[must_use]
    pub fn with_field(self, field: &str) -> Self {
        Self { field: Some(field.to_owned()), ..self }
    }
}

impl StreamerIpcMessage {
    /// True for what may be dropped when the web-server does not read fast enough: a newer one
    /// replaces it.
    pub fn is_replaceable(&self) -> bool {
        matches!(self, StreamerIpcMessage::Stats { .. })
    }
}

/// A peer's connection state as it is reported, for logs.
impl std::fmt::Display for PeerState {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            PeerState::Connecting => "connecting",
            PeerState::Connected => "connected",
            PeerState::Lost => "lost",
        })
    }
}
