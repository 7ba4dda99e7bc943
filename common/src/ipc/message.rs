//! What the web-server and a streamer say to each other.
//!
//! Requests and their replies are in [`super::request`]. Peers' signalling, specs and the like travel
//! as [`Json`] inside: these are self-describing, so that an adopted streamer of another build can ignore fields that
//! it does not know.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Deserializer, Serialize, Serializer, de::DeserializeOwned};

use super::codec::Payload;
use super::error::RequestError;
use super::request::AnyRequest;
use crate::api::{Peer, PeerState};
use crate::control::Control;
use crate::event::Happening;
use crate::exit::ExitReason;
use crate::id::{PeerId, RequestId, StreamerId, TokenId};
use crate::nat::PortRange;
use crate::person::Person;
use crate::signal::{AudioLayout, Capabilities, ClientMessage, Role, ServerMessage, StreamInfo};
use crate::slots::SlotConfig;
use crate::spec::StreamerSpec;
use crate::stats::StreamerStats;

/// First in both directions.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// [`super::PROTOCOL`] of the speaker.
    pub protocol: u16,
    /// Version of the speaker's binary, for the log.
    pub build: String,
    /// Content of the token file. The streamer's reply has it too, which proves that it could read the file.
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
    /// The media socket of one peer: after the greeting comes an [`crate::media_socket::AttachMedia`], as [`Json`], and then the frames of
    /// [`crate::media_socket`] in both directions. There may be many.
    Media,
    /// A stream for one reader, which may have any number of such connections: [`Attach`] follows the greetings, and then there is
    /// nothing but its bytes.
    Reader,
}

/// First on a connection for a reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attach {
    /// The peer that reads, as the reply to [`Join::Mp4`] or [`Join::Rtsp`] named it.
    pub peer: PeerId,
}

/// The streamer's reply to the server's [`Hello`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum HelloReply {
    /// The connection is accepted.
    Accepted(Hello),
    /// The connection is refused, and ends.
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
    /// What to run. The first message on the first control connection of a streamer; ignored later.
    Init {
        /// Its id, for logs.
        id: StreamerId,
        /// What to run.
        spec: Json<StreamerSpec>,
        /// Server-wide settings that it needs.
        settings: Box<Json<Settings>>,
    },
    /// Stop gracefully: say goodbye to the peers, end the session, exit.
    Stop {
        /// Shown to the peers.
        reason: String,
    },
    /// A message that has no reply.
    Tell(Tell),
    /// A request, whose reply is the [`StreamerIpcMessage::Reply`] of the same id.
    Request {
        /// Names the reply. No other request of this connection has it.
        id: RequestId,
        /// The request.
        request: AnyRequest,
    },
}

/// A message to a streamer that has no reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Tell {
    /// A peer's signalling. Dropped when there is no such peer.
    FromPeer {
        /// The peer that sent it.
        peer: PeerId,
        /// The message, as the client sent it.
        message: Json<ClientMessage>,
    },
    /// A peer's WebSocket is lost, not closed by `bye`: media goes on while its connection lives. Means nothing
    /// when the peer has resumed on another WebSocket meanwhile.
    DetachPeer {
        /// The peer whose WebSocket it was.
        peer: PeerId,
        /// The number that its [`Join::Native`] had.
        socket: u64,
    },
}

/// What a player says of its side of ICE.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct IcePatch {
    /// ICE sessions of ours, by their user name fragments, to one of which this must belong; `None`: to any.
    pub sessions: Option<Vec<String>>,
    /// Its user name fragment: another one than before restarts ICE.
    pub ufrag: String,
    /// Its ICE password.
    pub pwd: String,
    /// Its candidates, `candidate:…`.
    pub candidates: Vec<String>,
}

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
    /// The TCP port on which the web-server accepts connections of peers for its streamers; `None`: none is offered.
    pub tcp_port: Option<u16>,
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

/// Whether programs of a session are kept from the server's files.
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
    /// Each other, and through a network stack in a process of the session (`slirp4netns(1)`) what this machine reaches, but nothing
    /// that listens on its loopback addresses; nobody reaches them. Where that cannot be had, no program is started.
    Nat,
}

impl ProgramNetwork {
    /// Whether programs have a network of their own, not the machine's.
    pub fn is_own(self) -> bool {
        self != Self::Host
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            listen_ips: Vec::new(),
            interfaces: Vec::new(),
            udp_ports: None,
            tcp_port: None,
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

/// What a peer was admitted by, and how it is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Ticket {
    /// The token that it came with.
    pub token_id: Option<TokenId>,
    /// What it is sent at most, kilobits per second; `None`: as much as its path carries.
    pub max_bitrate_kbps: Option<u32>,
    /// How sound comes to it.
    pub audio: AudioLayout,
    /// It is told where the others point.
    pub pointers: bool,
}

/// How a peer joins.
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
        /// What its client supports.
        capabilities: Capabilities,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
        /// Who it is to the others.
        #[serde(default)]
        person: Person,
    },
    /// As a page of the multi-peer WebRTC branch of moonlight-web-stream: what it says was translated, and what it is
    /// told will be. It has slot 0 alone, and data channels of its own. `welcome` and `offer` follow as for
    /// [`Join::Native`].
    MultiWebrtc {
        /// Number of its WebSocket.
        socket: u64,
        /// What it may do.
        role: Role,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
    },
    /// By WHEP: the offer of a player. The answer is in the reply.
    Whep {
        /// SDP.
        offer: String,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
    },
    /// By WHIP: the offer of a publisher. The answer is in the reply.
    Whip {
        /// SDP.
        offer: String,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
        /// Who it is to the others.
        #[serde(default)]
        person: Person,
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
        /// Its WebSocket, as [`Tell::DetachPeer`] will name it.
        socket: u64,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
    },
    /// By HTTP: a player reads a stream as MP4. A connection of [`Purpose::Reader`] must follow within seconds.
    Mp4 {
        /// Name of a source.
        stream: String,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
    },
    /// By RTSP: a player reads a stream as RTP. A connection of [`Purpose::Reader`] must follow within seconds, which has frames of
    /// [`crate::rtp_stream`].
    Rtsp {
        /// Name of a source.
        stream: String,
        /// What it was admitted by.
        #[serde(flatten)]
        ticket: Ticket,
    },
    /// A client of `multistream/*` has a new WebSocket. Its peer goes on: `welcome` with the number of its slots
    /// and a `slot-status` for each of them follow by [`StreamerIpcMessage::ToPeer`]. Refused with
    /// `session_not_found` when there is no such peer any more.
    ResumeMultistream {
        /// As it was when it came.
        session: String,
        /// Its WebSocket, as [`Tell::DetachPeer`] will name it.
        socket: u64,
    },
}

/// Streamer to web-server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum StreamerIpcMessage {
    /// The first message after `Hello` on a control connection: the state of the streamer, for a web-server that adopts it.
    Ready(Box<Json<Ready>>),
    /// The main source has produced a keyframe: its first one, or the first since it was lost.
    SourceConnected,
    /// The main source gives no pictures: it is absent and retried; or it has ended, and the streamer ends with the same reason.
    SourceLost {
        /// The reason, for people.
        reason: String,
    },
    /// What slots show has changed: all active ones, as they are now.
    SlotsChanged {
        /// In order of slots.
        slots: Vec<Json<StreamInfo>>,
    },
    /// Signalling for one peer. Dropped when it has no WebSocket.
    ToPeer {
        /// The peer that it is for.
        peer: PeerId,
        /// The message, as the client gets it.
        message: Json<ServerMessage>,
    },
    /// Signalling for every peer with a WebSocket.
    Broadcast {
        /// The message, as the client gets it.
        message: Json<ServerMessage>,
    },
    /// Who may steer has changed. The web-server keeps it, and tells every peer with a WebSocket.
    ControlChanged {
        /// As it is now.
        control: Json<Control>,
    },
    /// A peer joined or changed its state.
    PeerState {
        /// The peer as it is now.
        peer: Json<Peer>,
    },
    /// A peer is gone. Its WebSocket, if it has one, is closed.
    PeerGone {
        /// The id of the peer.
        peer: PeerId,
        /// The reason, for people.
        reason: String,
    },
    /// Each second: the heartbeat.
    Stats {
        /// Counters of the streamer.
        stats: Box<Json<StreamerStats>>,
        /// Every peer with its counters.
        peers: Vec<Json<Peer>>,
    },
    /// The outcome of a request.
    Reply {
        /// The id of the request.
        request: RequestId,
        /// The request's [`super::Request::Reply`], or why there is none.
        result: Result<Payload, RequestError>,
    },
    /// The last message of a streamer.
    Exit {
        /// Why it ends.
        reason: Json<ExitReason>,
    },
    /// An event that only the session knows of; see [`Happening::is_of_session`].
    Happened {
        /// The event.
        what: Json<Happening>,
    },
}

/// The state of a streamer, for the web-server that connects.
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
    /// Its id.
    pub id: StreamerId,
    /// What it runs.
    pub spec: StreamerSpec,
    /// When the process started.
    pub started: DateTime<Utc>,
    /// Since when its source is running; `None` while it starts.
    pub running_since: Option<DateTime<Utc>>,
    /// The slots that show something.
    pub slots: Vec<StreamInfo>,
    /// All peers.
    pub peers: Vec<Peer>,
    /// Who may steer, and who asks to.
    #[serde(default)]
    pub control: Control,
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
