//! The native signalling protocol, `oriel.v1`: JSON text on `WS /api/streamers/{id}/peer`.
//!
//! `type` is in kebab-case, fields in camelCase. Unknown fields are ignored; the reply to an
//! unknown type is [`ServerMessage::Error`]. The client speaks first, with [`ClientMessage::Hello`].
//!
//! ```text
//! client                         server
//!   hello {capabilities}    ──▶
//!                           ◀──  welcome {peerId, resumeToken, …}
//!                           ◀──  offer {sdp}            every candidate is in it
//!   answer {sdp}            ──▶
//!   candidate …             ──▶
//!                           ◀──  streams-info, slot-status, participants …
//! ```

use std::str::FromStr;

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use ts_rs::TS;

use crate::control::Control;
use crate::id::{PeerId, SlotIndex};
use crate::media::VideoCodec;
pub use crate::person::PublishKind;
use crate::person::Rights;

/// WebSocket subprotocol of this version.
pub const SUBPROTOCOL: &str = "oriel.v1";
/// A WebSocket may bring its access token as one more subprotocol, which begins with this. It is never chosen.
pub const TOKEN_SUBPROTOCOL: &str = "oriel.token.";
/// WebSocket close code: the peer is gone, as it was removed or has been taken over by a newer WebSocket.
pub const CLOSE_PEER_GONE: u16 = 4000;
/// WebSocket close code: the streamer is gone or refused the peer; an `error` before it says why.
pub const CLOSE_STREAMER_GONE: u16 = 4001;
/// Longest signalling message from a client, in bytes. An answer with 16 slots has about 60 KB.
pub const MAX_MESSAGE: usize = 256 * 1024;

/// Client to server.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ClientMessage {
    /// First message: who I am and what I can do.
    Hello {
        /// Proves what this client may do, where a token is needed and none came with the WebSocket.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        token: Option<String>,
        /// The `resumeToken` of an earlier welcome: go on as the same peer, if it is still there.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        resume: Option<String>,
        /// Ask for less than the connection may have: `viewer` watches only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        role: Option<Role>,
        /// Ask for fewer rights among the peers than the connection may have; absent: all that it may have.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        rights: Option<Rights>,
        /// The name that others see, 1 to 64 characters, unless the token has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        display_name: Option<String>,
        /// Be sent at most so many kilobits per second, 100 to 100000: to save data.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        max_bitrate_kbps: Option<u32>,
        /// How sound comes: `tracks`, the default, or `mix`. A peer that goes on keeps what it chose when it came.
        // A text, so that the reply to another one names the field.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional, as = "Option<AudioLayout>")]
        audio: Option<String>,
        /// Tell me on the channel `general` where the others point. A peer that goes on keeps what it chose when it came.
        #[serde(default)]
        #[ts(optional, as = "Option<bool>")]
        pointers: bool,
        /// What this client can do.
        #[serde(default)]
        capabilities: Capabilities,
    },
    /// The answer to the server's offer.
    Answer {
        /// SDP.
        sdp: String,
    },
    /// One ICE candidate.
    Candidate {
        /// The candidate; an empty text ends them.
        candidate: String,
        /// Media section it belongs to.
        #[serde(default)]
        sdp_mid: Option<String>,
        /// Index of that section.
        #[serde(default)]
        sdp_m_line_index: Option<u16>,
    },
    /// Show me something else in a slot, whatever others see there.
    Switch {
        /// The slot, counted from 0.
        slot: SlotIndex,
        /// Name of a stream; empty: what everybody sees there.
        stream: String,
        /// Rendition: `""` or `"native"` for the stream itself, else as in `"360p"`.
        #[serde(default)]
        quality: String,
        /// Comes back in the reply: a `slot-status`, or an `error`.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<String>,
    },
    /// Stop sending a slot to me.
    Pause {
        /// The slot, counted from 0.
        slot: SlotIndex,
    },
    /// Send a paused slot again.
    Resume {
        /// The slot, counted from 0.
        slot: SlotIndex,
    },
    /// I need a keyframe in this slot.
    Keyframe {
        /// The slot, counted from 0.
        slot: SlotIndex,
    },
    /// My network has changed, or nothing arrives any more: offer again, with new ICE credentials (RFC 8445 §9). The peer, its slots
    /// and what it holds stay.
    RestartIce,
    /// I want control, where one at a time has it. Granted at once when nobody has it; else the holder is told.
    ControlRequest,
    /// I take control from whoever has it.
    ControlTake,
    /// I do not want control any more, or no longer ask for it.
    ControlRelease,
    /// I hand my control to somebody.
    ControlGrant {
        /// The peer that gets control.
        peer_id: PeerId,
    },
    /// I send this from now on, in its section of the peer connection. Needs the right to publish.
    Publish {
        /// What.
        kind: PublishKind,
        /// The name of the source that it becomes, as far as it is free; else it is named after the peer.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        name: Option<String>,
    },
    /// I do not send this any more.
    Unpublish {
        /// What.
        kind: PublishKind,
    },
    /// The desktop's programs are to hear my microphone, now or as soon as I publish it; or no more. Needs the role of a
    /// controller and the right to publish.
    SessionMicrophone {
        /// They hear it.
        enabled: bool,
    },
    /// The desktop's programs are to see my camera, now or as soon as I publish it; or no more. It takes the place of whoever they
    /// see. Needs the role of a controller and the right to publish.
    SessionCamera {
        /// They see it.
        enabled: bool,
    },
    /// A text for everybody. Needs the right to chat; five a second at most.
    Chat {
        /// 1 to 2000 characters.
        text: String,
    },
    /// A reaction that everybody sees for a moment. Needs the right to chat.
    React {
        /// 1 to 8 characters.
        emoji: String,
    },
    /// I raise my hand, or lower it.
    RaiseHand {
        /// It is up now.
        raised: bool,
    },
    /// I have muted my microphone, or am heard again. The others are told; it is I who sends no sound.
    SetMuted {
        /// It is muted now.
        muted: bool,
    },
    /// Ends what another peer publishes; it can publish it again. Needs the right to moderate.
    MutePeer {
        /// The peer.
        peer_id: PeerId,
        /// What it is to send no more.
        kind: PublishKind,
    },
    /// Removes another peer; its token stays valid. Needs the right to moderate.
    RemovePeer {
        /// The peer.
        peer_id: PeerId,
    },
    /// I am leaving; do not wait for me.
    Bye,
}

/// What a client can do. Absent means the default.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase", default)]
pub struct Capabilities {
    /// Can keep all slots negotiated from the first offer on.
    pub preallocated_slots: bool,
    /// Can do SRTP with AES-GCM; `false` after a DTLS failure, to try again without.
    pub srtp_gcm: bool,
}

impl Default for Capabilities {
    fn default() -> Self {
        Self { preallocated_slots: true, srtp_gcm: true }
    }
}

/// How sound comes to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum AudioLayout {
    /// What each slot shows is heard in the slot's own audio section.
    #[default]
    Tracks,
    /// All that the peer hears is one stream, in the audio section of slot 0.
    Mix,
}

impl FromStr for AudioLayout {
    type Err = UnknownAudio;

    fn from_str(text: &str) -> Result<Self, UnknownAudio> {
        match text {
            "tracks" => Ok(Self::Tracks),
            "mix" => Ok(Self::Mix),
            _ => Err(UnknownAudio),
        }
    }
}

/// A text that names no [`AudioLayout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("must be \"tracks\" or \"mix\"")]
pub struct UnknownAudio;

/// What somebody may do with a streamer.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, TS, utoipa::ToSchema,
)]
#[serde(rename_all = "kebab-case")]
pub enum Role {
    /// May watch.
    Viewer,
    /// May watch and steer.
    Controller,
}

/// Server to client.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "camelCase")]
pub enum ServerMessage {
    /// The reply to `hello`.
    Welcome {
        /// This peer's id.
        peer_id: PeerId,
        /// For `hello.resume` after the WebSocket was lost.
        resume_token: String,
        /// True when an earlier peer goes on: its peer connection is still good, no offer follows.
        resumed: bool,
        /// What this peer may do.
        role: Role,
        /// What it may do among the peers.
        #[serde(default)]
        rights: Rights,
        /// The name that others see, if it has one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        display_name: Option<String>,
        /// How many slots are negotiated.
        slots: u8,
        /// For `RTCConfiguration.iceServers`.
        ice_servers: Vec<IceServer>,
        /// Version of this protocol.
        protocol: u16,
        /// Where browsers reach the nodes of the cluster: `hello.resume` goes on at any of them.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        #[ts(optional, as = "Option<Vec<String>>")]
        nodes: Vec<String>,
    },
    /// The server's offer, with all of its candidates.
    Offer {
        /// SDP.
        sdp: String,
    },
    /// One more ICE candidate.
    Candidate {
        /// The candidate, as `candidate:…` (RFC 8839 §5.1).
        candidate: String,
        /// Media section it belongs to.
        sdp_mid: Option<String>,
        /// Index of that section.
        sdp_m_line_index: Option<u16>,
    },
    /// Every active slot. To a viewer without pre-allocated slots also after every offer, with the sections of that offer.
    StreamsInfo {
        /// In order of slots.
        streams: Vec<StreamInfo>,
    },
    /// A slot shows something now.
    StreamActivated {
        /// What the slot shows now.
        stream_info: StreamInfo,
    },
    /// A slot shows nothing any more.
    StreamDeactivated {
        /// `video0` …
        track_id: String,
        /// Why, if nobody asked for it: the window was closed.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    /// Size, title or the like of what a slot shows has changed.
    StreamUpdated {
        /// All of it, as it is now.
        stream_info: StreamInfo,
    },
    /// How a slot of this peer is doing.
    SlotStatus {
        /// The slot, counted from 0.
        slot: SlotIndex,
        /// Name of the stream in it.
        stream: String,
        /// Rendition; empty is the native one.
        quality: String,
        /// How the slot is doing.
        status: SlotState,
        /// With `status: "error"` or `"offline"`: what.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        error: Option<String>,
        /// Of the `switch` that this is the reply to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<String>,
    },
    /// The streamer itself changed its state.
    StreamerState {
        /// The state that it is in now.
        state: StreamerState,
        /// The reason, for people.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    /// This peer's role has changed.
    Role {
        /// What it may do now.
        role: Role,
    },
    /// This peer's rights among the peers have changed.
    Rights {
        /// What it may do now.
        rights: Rights,
    },
    /// Who may steer, after a change and when joining.
    Control(Control),
    /// All peers, after one has come or gone.
    Participants {
        /// Everyone, this peer included.
        participants: Vec<Participant>,
    },
    /// What this peer publishes is a source now; told again when the source gets a slot.
    Published {
        /// What is published.
        kind: PublishKind,
        /// Name of the source.
        source: String,
        /// The slot that shows it to the others; absent while none is free.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        slot: Option<SlotIndex>,
    },
    /// It is not published any more.
    Unpublished {
        /// What was published.
        kind: PublishKind,
        /// The reason, for people, if the peer has not asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    /// Whether the desktop's programs hear this peer's microphone while it publishes one, after a change.
    SessionMicrophone {
        /// They hear it.
        enabled: bool,
        /// The reason, for people, if the peer has not asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    /// Whether the desktop's programs see this peer's camera while it publishes one, after a change.
    SessionCamera {
        /// They see it.
        enabled: bool,
        /// The reason, for people, if the peer has not asked for it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        reason: Option<String>,
    },
    /// Which simulcast layers anybody takes: the others need not be sent.
    PublishLayers {
        /// Of what.
        kind: PublishKind,
        /// Their rids: `h`, `l`; empty while nobody watches.
        layers: Vec<String>,
    },
    /// Somebody has sent a text to everybody.
    Chat(ChatMessage),
    /// What was sent before this peer joined or was back, if anything was.
    ChatHistory {
        /// The oldest first; at most the last 200.
        messages: Vec<ChatMessage>,
    },
    /// Somebody reacts.
    Reaction {
        /// Who.
        peer_id: PeerId,
        /// How.
        emoji: String,
    },
    /// A moderator has ended what this peer published.
    MutedBy {
        /// The moderator.
        peer_id: PeerId,
        /// What was ended.
        kind: PublishKind,
    },
    /// Something the client said was refused, or ended it.
    Error {
        /// Stable, for programs.
        code: String,
        /// A description, for people; it may change.
        message: String,
        /// The offending field of what was said, if there is one.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        field: Option<String>,
        /// Of the message that this is the reply to.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        #[ts(optional)]
        request_id: Option<String>,
    },
}

/// Version in [`ServerMessage::Welcome`].
pub const SIGNAL_PROTOCOL: u16 = 1;

/// A STUN or TURN server, as in `RTCIceServer`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
pub struct IceServer {
    /// `stun:` and `turn:` URLs.
    pub urls: Vec<String>,
    /// User name, for a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub username: Option<String>,
    /// Password, for a TURN server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub credential: Option<String>,
}

/// What an active slot shows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, utoipa::ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct StreamInfo {
    /// `video0` …; the same as the track's id.
    pub track_id: String,
    /// Media section of the video, where all slots are negotiated from the start. For a viewer without, only that of a
    /// `streams-info` that follows an offer holds.
    pub mid: String,
    /// Media section of the sound, likewise; absent when the slot has no sound.
    pub audio_mid: Option<String>,
    /// The slot, counted from 0.
    pub slot: SlotIndex,
    /// Name of the source.
    pub source: String,
    /// Title of the window, if it is one.
    pub window_name: Option<String>,
    /// Application of the window, if it is one.
    pub app_name: Option<String>,
    /// The window has the focus.
    pub is_focused: bool,
    /// Pixels; positions of input are in these. Absent until there is a picture.
    pub width: Option<u32>,
    /// Height in pixels.
    pub height: Option<u32>,
    /// Codec of the video. Absent until there is a picture.
    pub codec: Option<VideoCodec>,
    /// Highest frame rate.
    pub fps: u32,
    /// Who draws the cursor.
    pub cursor: crate::spec::CursorMode,
    /// Whether it takes input.
    pub input: bool,
    /// Whether its programs can hear the microphones of peers.
    #[serde(default)]
    pub microphone: bool,
    /// Whether its programs can see the camera of a peer.
    #[serde(default)]
    pub camera: bool,
    /// The peer that publishes it, if one does. That peer itself does not receive it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub publisher: Option<PeerId>,
}

/// Life of a slot at one peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS)]
#[serde(rename_all = "kebab-case")]
pub enum SlotState {
    /// Asked for, nothing sent yet.
    Pending,
    /// Media is sent.
    Active,
    /// Skipping to the next keyframe.
    Buffering,
    /// The source is gone and may come back.
    Offline,
    /// It cannot be shown.
    Error,
    /// Shows nothing.
    Inactive,
    /// Stopped by this peer.
    Paused,
}

/// Life of a streamer.
///
/// ```text
/// starting ──▶ running ◀─▶ restarting ──▶ failed
///     │           │ ▲
///     │           ▼ └── restarting
///     │        stopped
///     └───────────┴──▶ stopping ──▶ (gone)
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, TS, utoipa::ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum StreamerState {
    /// The process is being started, or its source is.
    Starting,
    /// The source has produced a keyframe.
    Running,
    /// A new process is being started after the old one ended.
    Restarting,
    /// It ended and will not be started again by itself.
    Failed,
    /// Its process was ended as nobody used it; it is started again when that is asked for.
    Stopped,
    /// It was told to end.
    Stopping,
    /// The node of the cluster that ran it is lost, and no other one has started it.
    Lost,
}

/// Somebody who watches.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct Participant {
    /// The id of the peer.
    pub peer_id: PeerId,
    /// What it may do with the session.
    pub role: Role,
    /// The name that it has given, or its token.
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
    /// What it sends.
    #[serde(default)]
    pub publishing: Vec<PublishKind>,
    /// Its microphone is muted, by itself or by a moderator.
    #[serde(default)]
    pub muted: bool,
    /// It is heard now.
    #[serde(default)]
    pub speaking: bool,
    /// It has raised its hand.
    #[serde(default)]
    pub hand_raised: bool,
    /// It has control, where one at a time has it.
    #[serde(default)]
    pub holds_control: bool,
    /// The desktop's programs hear its microphone while it publishes one.
    #[serde(default)]
    pub session_microphone: bool,
    /// The desktop's programs see its camera while it publishes one.
    #[serde(default)]
    pub session_camera: bool,
}

/// A text that a peer has sent to everybody.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS)]
#[serde(rename_all = "camelCase")]
pub struct ChatMessage {
    /// Counted from 1 in each streamer process: a message that is in the history as well has the same.
    pub id: u64,
    /// Who has sent it; may have left.
    pub peer_id: PeerId,
    /// The display name that it had then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub name: Option<String>,
    /// The text.
    pub text: String,
    /// When it came.
    pub at: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bare_hello_has_every_default() {
        let hello: ClientMessage = serde_json::from_str(r#"{"type":"hello"}"#).unwrap();
        let expected = ClientMessage::Hello {
            token: None,
            resume: None,
            role: None,
            rights: None,
            display_name: None,
            max_bitrate_kbps: None,
            audio: None,
            pointers: false,
            capabilities: Capabilities::default(),
        };
        assert_eq!(hello, expected);
    }

    #[test]
    fn names_on_the_wire_are_as_documented() {
        let text = serde_json::to_string(&ServerMessage::StreamDeactivated {
            track_id: "video1".into(),
            reason: None,
        });
        assert_eq!(text.unwrap(), r#"{"type":"stream-deactivated","trackId":"video1"}"#);
        let candidate = r#"{"type":"candidate","candidate":"x","sdpMid":"0","sdpMLineIndex":0}"#;
        assert!(serde_json::from_str::<ClientMessage>(candidate).is_ok());
    }
}
