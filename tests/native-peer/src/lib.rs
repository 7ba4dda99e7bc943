//! Viewers without a browser: they speak the native protocol ([`common::signal`]) over a real WebSocket and
//! receive by real ICE, DTLS and SRTP, any number of them on the caller's thread.
//!
//! ```text
//! Swarm (epoll) ─┬─ Peer: Signalling (WebSocket) · Endpoint (rtc or webrtc, with a UDP socket of its own)
//!                ├─ Peer …
//!                └─▶ Event, by Swarm::next
//! Player (poll) ─── Endpoint, for WHEP
//! ```
//!
//! What a peer does WebRTC with is its [`Stack`]; [`stack`] says what each is good for. With [`Media::Headers`] a peer on
//! [`Stack::Rtc`] only looks at RTP headers, which are not encrypted, and so costs little more than the system call that
//! receives; with [`Media::Units`] it decrypts and hands out whole access units. Peers on [`Stack::Webrtc`] always decrypt.

pub mod camera;
mod crowd;
mod depacketize;
mod page;
mod player;
mod signalling;
pub mod sound;
pub mod stack;
mod swarm;

use std::time::Duration;

use bytes::Bytes;
use common::media::VideoCodec;
use common::signal::ServerMessage;

pub use crowd::{Watcher, largest_offer};
pub use page::{Page, PageEvent};
pub use player::Player;
pub use stack::Stack;
pub use swarm::{Options, Swarm};

/// What a peer does with RTP.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Media {
    /// Looks at the headers.
    Headers,
    /// Decrypts it and joins the payloads of H.264 to access units as well.
    Units,
    /// The same; can decode this codec too.
    UnitsOf(VideoCodec),
}

/// Something that a peer has seen.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// A message of the signalling.
    Signal(ServerMessage),
    /// Media can arrive.
    Connected,
    /// The connection or the signalling has ended. Both stacks follow the W3C's definition: a connection whose DTLS the other
    /// end has closed is still connected, until ICE fails half a minute later.
    Closed(String),
    /// A data channel can be used.
    Open(Channel),
    /// A message on a data channel.
    Message(Channel, String),
    /// The first packet of a track has arrived; not with [`Media::Headers`] on [`Stack::Rtc`].
    Track {
        /// Its stream.
        ssrc: u32,
        /// Its section of the offer.
        mid: String,
    },
    /// An RTP packet has arrived.
    Rtp(Arrival),
    /// A sender report: this RTP time is this wall clock time (since 1970).
    SenderReport {
        /// Of which stream.
        ssrc: u32,
        /// A moment in the stream's timestamps.
        rtp_time: u32,
        /// The same moment.
        wall: Duration,
    },
    /// A whole access unit, with [`Media::Units`].
    Unit(Unit),
    /// A packet of Opus, with [`Media::Units`].
    Sound(Unit),
    /// Packets that the peer has sent are to be sent again; on [`Stack::Rtc`].
    Nack {
        /// Of which stream.
        ssrc: u32,
        /// Their sequence numbers.
        sequences: Vec<u16>,
    },
    /// The peer is to send a keyframe; on [`Stack::Rtc`].
    Pli {
        /// In which stream.
        ssrc: u32,
    },
}

/// What a peer says by RTCP of a stream that it receives.
#[derive(Debug, Clone, PartialEq)]
pub enum Said {
    /// It needs a keyframe (RFC 4585 §6.3.1).
    Keyframe,
    /// These packets have not come (RFC 4585 §6.2.1).
    Missing(Vec<u16>),
    /// It can take so many bits per second (draft-alvestrand-rmcat-remb-03).
    AtMost(f32),
}

/// An RTP packet that a peer sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Stream.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Marker.
    pub marker: bool,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub timestamp: u32,
    /// Header extensions: ids and values.
    pub extensions: Vec<(u8, Bytes)>,
    /// Payload.
    pub payload: Bytes,
}

/// A data channel, by its number in the protocol.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Keys and buttons.
    Keys,
    /// Pointer motion.
    Motion,
    /// Everything else.
    General,
}

/// The header of an RTP packet, and when it came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrival {
    /// Stream.
    pub ssrc: u32,
    /// Payload type.
    pub payload_type: u8,
    /// Sequence number.
    pub sequence: u16,
    /// Timestamp.
    pub rtp_time: u32,
    /// Last packet of its access unit.
    pub marker: bool,
    /// Length of the datagram; on [`Stack::Webrtc`] without what SRTP adds.
    pub len_bytes: usize,
    /// When the kernel received it, since 1970: the receiver's own work is not in it. On [`Stack::Webrtc`] it is.
    pub at: Duration,
}

/// An encoded picture, or a packet of sound, as it was received.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unit {
    /// Stream.
    pub ssrc: u32,
    /// RTP time.
    pub rtp_time: u32,
    /// Annex B; of AV1, OBUs with their lengths; a packet of Opus.
    pub data: Bytes,
}

/// Why a peer cannot join, or the machine refuses.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A system call.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
    /// The WebSocket was refused or broke.
    #[error("signalling: {0}")]
    Signalling(String),
    /// libopus refused something.
    #[error("sound: {0}")]
    Sound(String),
    /// The stack refused something.
    #[error("{0}: {1}")]
    Rtc(&'static str, String),
}
