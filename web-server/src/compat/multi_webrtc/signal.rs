//! Translates between the messages of those pages on their WebSocket and our own. Pure; the I/O is in
//! [`crate::signaling::multi_webrtc`].
//!
//! ```text
//! page                                             streamer
//!                                StageStarting ◀──
//!   ◀── Signaling.Description (offer)          ◀── offer
//!   ◀── WebRtcConfig
//!   ──▶ Signaling.Description (answer)         ──▶ answer
//!   ◀─▶ Signaling.AddIceCandidate              ◀─▶ candidate
//!   ◀── ConnectionComplete                     ◀── connected, and the size of slot 0 is known
//!   ◀── "PeerDisconnect"                       ◀── the peer or the streamer is gone
//! ```
//!
//! The offer comes before `WebRtcConfig`: a page that receives that without an offer makes one of its own, and the two
//! would collide; a page that has an offer answers it.

use common::api::PeerState;
use common::signal::{self, IceServer, StreamInfo};
use serde::{Deserialize, Serialize};

/// Page to server. Other messages are ignored.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub enum ClientMessage {
    /// About the peer connection.
    Signaling(Signaling),
    /// How the page begins on the other server; only the credentials in it are used.
    AuthenticateAndInit {
        /// A token.
        #[serde(default)]
        credentials: String,
    },
}

/// Server to page.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum ServerMessage {
    /// Makes the page create its peer connection.
    WebRtcConfig {
        /// The value for `RTCConfiguration.iceServers`.
        ice_servers: Vec<Server>,
    },
    /// About the peer connection.
    Signaling(Signaling),
    /// A stage has started; the page shows it while it lasts.
    StageStarting {
        /// Name of the stage.
        stage: &'static str,
    },
    /// A stage is complete.
    StageComplete {
        /// Name of the stage.
        stage: &'static str,
    },
    /// A stage has failed.
    StageFailed {
        /// Name of the stage.
        stage: &'static str,
        /// The error code; never zero.
        error_code: i32,
    },
    /// Pictures are sent, and input is accepted; sent again when the size changes.
    ConnectionComplete {
        /// What the page may send.
        capabilities: Capabilities,
        /// Width in pixels.
        width: u32,
        /// Height in pixels.
        height: u32,
    },
    /// The session has ended without the page having closed it.
    PeerDisconnect,
}

/// What a page may send.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Capabilities {
    /// Whether touches are accepted.
    pub touch: bool,
}

/// Descriptions and candidates, both ways.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Signaling {
    /// A session description.
    Description {
        /// `offer`, `answer`.
        ty: String,
        /// SDP.
        sdp: String,
    },
    /// One ICE candidate.
    AddIceCandidate {
        /// The candidate, as `candidate:…` (RFC 8839 §5.1).
        candidate: String,
        /// Media section it belongs to.
        #[serde(default)]
        sdp_mid: Option<String>,
        /// Index of that section.
        #[serde(default)]
        sdp_mline_index: Option<u16>,
        /// Unused.
        #[serde(default)]
        username_fragment: Option<String>,
    },
}

/// A STUN or TURN server. User name and credential are always present, if empty.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Server {
    urls: Vec<String>,
    username: String,
    credential: String,
}

impl From<&IceServer> for Server {
    fn from(server: &IceServer) -> Self {
        let IceServer { urls, username, credential } = server.clone();
        Self { urls, username: username.unwrap_or_default(), credential: credential.unwrap_or_default() }
    }
}

/// An event.
#[derive(Debug, Clone, PartialEq)]
pub enum Input {
    /// A message of the page.
    Heard(ClientMessage),
    /// A message of the streamer to the peer, or to all peers.
    Said(signal::ServerMessage),
    /// The peer's connection has changed.
    State(PeerState),
    /// The peer is gone, or could not join.
    Gone,
}

/// An action, to be carried out in order.
#[derive(Debug, Clone, PartialEq)]
pub enum Output {
    /// Send this to the page.
    Say(ServerMessage),
    /// Send a message of the peer to the streamer.
    Tell(signal::ClientMessage),
}

/// The stage that a page has reached.
///
/// ```text
/// Launching ──welcome──▶ SettingUp ──offer──▶ Negotiating ──connected──▶ Waiting ──a picture──▶ Complete
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Launching,
    SettingUp,
    Negotiating,
    Waiting,
    Complete(Picture),
}

/// What slot 0 shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Picture {
    width: u32,
    height: u32,
    input: bool,
}

/// One page's conversation.
#[derive(Debug)]
pub struct Translator {
    stage: Stage,
    ice_servers: Vec<Server>,
    picture: Option<Picture>,
    out: Vec<Output>,
}

/// The error code for failures without one.
const FAILED: i32 = -1;
/// The slot that these pages show.
const TRACK: &str = "video0";

impl Stage {
    /// The stage that the page shows; `None` once it shows pictures.
    fn name(self) -> Option<&'static str> {
        match self {
            Self::Launching => Some("Launch Streamer"),
            Self::SettingUp => Some("Setup WebRTC Peer"),
            Self::Negotiating => Some("WebRTC Peer Negotiation"),
            Self::Waiting => Some("Moonlight Stream"),
            Self::Complete(_) => None,
        }
    }
}

impl Translator {
    /// A page that has just opened its WebSocket, and the first messages to it.
    pub fn new() -> (Self, Vec<Output>) {
        let stage = Stage::Launching;
        let mut page = Self { stage, ice_servers: Vec::new(), picture: None, out: Vec::new() };
        page.say_starting();
        let out = std::mem::take(&mut page.out);
        (page, out)
    }

    /// Handles an event; returns the actions that follow.
    pub fn handle(&mut self, input: Input) -> Vec<Output> {
        match input {
            Input::Heard(message) => self.heard(message),
            Input::Said(message) => self.said(message),
            Input::State(PeerState::Connected) if self.stage == Stage::Negotiating => {
                self.go_on(Stage::Waiting);
                self.pictures();
            }
            // The peer can be lost and come back, which the page learns from its own connection.
            Input::State(_) => {}
            Input::Gone => {
                if let Some(stage) = self.stage.name() {
                    self.say(ServerMessage::StageFailed { stage, error_code: FAILED });
                }
                self.say(ServerMessage::PeerDisconnect);
            }
        }
        std::mem::take(&mut self.out)
    }

    fn say(&mut self, message: ServerMessage) {
        self.out.push(Output::Say(message));
    }

    fn say_starting(&mut self) {
        if let Some(stage) = self.stage.name() {
            self.say(ServerMessage::StageStarting { stage });
        }
    }

    fn go_on(&mut self, to: Stage) {
        if let Some(stage) = self.stage.name() {
            self.say(ServerMessage::StageComplete { stage });
        }
        self.stage = to;
        self.say_starting();
    }

    fn heard(&mut self, message: ClientMessage) {
        let told = match message {
            ClientMessage::Signaling(Signaling::Description { ty, sdp }) if ty == "answer" => {
                signal::ClientMessage::Answer { sdp }
            }
            // An offer of the page crosses ours, which the page answers as well.
            ClientMessage::Signaling(Signaling::Description { .. })
            | ClientMessage::AuthenticateAndInit { .. } => return,
            ClientMessage::Signaling(Signaling::AddIceCandidate {
                candidate,
                sdp_mid,
                sdp_mline_index: sdp_m_line_index,
                ..
            }) => {
                let sdp_mid = sdp_mid.filter(|mid| !mid.is_empty());
                signal::ClientMessage::Candidate { candidate, sdp_mid, sdp_m_line_index }
            }
        };
        self.out.push(Output::Tell(told));
    }

    fn said(&mut self, message: signal::ServerMessage) {
        match message {
            signal::ServerMessage::Welcome { ice_servers, .. } => {
                // A browser refuses a server without a URL.
                let servers = ice_servers.iter().filter(|server| !server.urls.is_empty());
                self.ice_servers = servers.map(Server::from).collect();
                self.go_on(Stage::SettingUp);
            }
            signal::ServerMessage::Offer { sdp } => {
                let offer = Signaling::Description { ty: "offer".into(), sdp };
                self.say(ServerMessage::Signaling(offer));
                if self.stage == Stage::SettingUp {
                    let ice_servers = std::mem::take(&mut self.ice_servers);
                    self.say(ServerMessage::WebRtcConfig { ice_servers });
                    self.go_on(Stage::Negotiating);
                }
            }
            signal::ServerMessage::Candidate { candidate, sdp_mid, sdp_m_line_index } => {
                let sdp_mline_index = sdp_m_line_index;
                let username_fragment = None;
                let candidate =
                    Signaling::AddIceCandidate { candidate, sdp_mid, sdp_mline_index, username_fragment };
                self.say(ServerMessage::Signaling(candidate));
            }
            signal::ServerMessage::StreamsInfo { streams } => {
                self.picture = streams.iter().find_map(picture);
                self.pictures();
            }
            signal::ServerMessage::StreamActivated { stream_info }
            | signal::ServerMessage::StreamUpdated { stream_info } => {
                self.picture = picture(&stream_info).or(self.picture);
                self.pictures();
            }
            signal::ServerMessage::StreamDeactivated { track_id, .. } if track_id == TRACK => {
                self.picture = None;
            }
            signal::ServerMessage::Error { code, message, .. } => {
                tracing::debug!(code, message, "a page was refused something");
            }
            // The page's protocol has no messages for these.
            signal::ServerMessage::StreamDeactivated { .. }
            | signal::ServerMessage::SlotStatus { .. }
            | signal::ServerMessage::StreamerState { .. }
            | signal::ServerMessage::Role { .. }
            | signal::ServerMessage::Rights { .. }
            | signal::ServerMessage::Chat(_)
            | signal::ServerMessage::ChatHistory { .. }
            | signal::ServerMessage::Reaction { .. }
            | signal::ServerMessage::MutedBy { .. }
            | signal::ServerMessage::Control(_)
            | signal::ServerMessage::Published { .. }
            | signal::ServerMessage::Unpublished { .. }
            | signal::ServerMessage::SessionMicrophone { .. }
            | signal::ServerMessage::SessionCamera { .. }
            | signal::ServerMessage::PublishLayers { .. }
            | signal::ServerMessage::Participants { .. } => {}
        }
    }

    /// Reports that pictures are shown, once they are, and when their size changes.
    fn pictures(&mut self) {
        let Some(picture) = self.picture else { return };
        match self.stage {
            Stage::Waiting => self.go_on(Stage::Complete(picture)),
            Stage::Complete(told) if told != picture => self.stage = Stage::Complete(picture),
            _ => return,
        }
        let Picture { width, height, input: touch } = picture;
        self.say(ServerMessage::ConnectionComplete { capabilities: Capabilities { touch }, width, height });
    }
}

/// What slot 0 shows, once its size is known.
fn picture(info: &StreamInfo) -> Option<Picture> {
    let StreamInfo { slot, width, height, input, .. } = *info;
    if slot > 0 {
        return None;
    }
    Some(Picture { width: width?, height: height?, input })
}

/// Parses a message of the page; `None` for anything else.
pub fn parse(text: &str) -> Option<ClientMessage> {
    serde_json::from_str(text).ok()
}

/// A message as it is sent.
pub fn to_text(message: &ServerMessage) -> String {
    serde_json::to_string(message).expect("texts and whole numbers only")
}

#[cfg(test)]
#[path = "signal_tests.rs"]
mod tests;
