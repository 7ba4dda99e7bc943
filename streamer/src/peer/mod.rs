//! Peers: WebRTC connections that a feed is broadcast to.
//!
//! ```text
//! control loop ── Command ──▶ ┌──────────────── shard thread ───────────────┐
//! encoder, sound ── Media ──▶ │ Gop per feed · Peer (Connection, slots and   │ ──▶ one UDP port
//! control loop ◀── Report ─── │ VideoWriter, AudioWriter, Pace per slot)    │ ◀──
//! input thread ◀── events ─── └─────────────────────────────────────────────┘
//! ```
//!
//! While a connection is negotiated, which takes long, its peer is away: the negotiator's thread has it.
//! A shard owns all of this by value. Nothing on the packet path takes a lock that another peer or
//! thread can hold, and a peer that does not read, answers slowly or lies costs nobody else anything.

mod away;
mod bandwidth;
mod checks;
pub mod commands;
pub mod connection;
mod copies;
mod counted;
pub mod demux;
mod feedback;
mod feeds;
mod flow;
pub mod handover;
mod intake;
mod layers;
pub mod limit;
mod messages;
mod multi_webrtc;
pub mod negotiate;
mod negotiator;
mod offers;
mod pace;
mod parts;
mod path;
#[expect(clippy::module_inception, reason = "the folder is of all peers, the file of one")]
mod peer;
pub mod publishing;
mod routes;
pub mod shard;
mod slot;
pub mod socket;
mod tcp;
mod timers;
mod wire;

use std::collections::BTreeMap;
use std::os::unix::net::UnixStream;
use std::sync::Arc;

use common::api::{PeerState, PeerStats};
use common::clipboard::Content;
use common::control::Control;
use common::id::{PeerId, SlotIndex};
use common::ipc::{IcePatch, RequestError};
use common::media::VideoCodec;
use common::sdp::Bounded;
use common::signal::{PublishKind, Role, SlotState};
use common::stats::NetworkStats;

use crate::feed::{AudioUnit, Demand, VideoUnit};
pub use connection::Srtp;
pub use path::Path;
use publishing::{Outlet, Pictured, Taken};
pub use socket::Network;

/// Names a peer within its shard. A key is never reused, so that late messages for one peer cannot reach another.
type Key = u64;

/// A feed within its streamer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FeedId(pub u32);

/// What a slot shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Binding {
    /// Its picture.
    pub video: FeedId,
    /// The low layer of its picture, if it may have one.
    pub low: Option<FeedId>,
    /// Its sound, if it has any.
    pub audio: Option<FeedId>,
}

/// Mids of the active slots in an offer: video and audio.
pub type Sections = BTreeMap<SlotIndex, (String, String)>;

/// Output of a feed.
#[derive(Debug, Clone)]
pub enum Media {
    /// A picture.
    Video(FeedId, Arc<VideoUnit>),
    /// Sound.
    Audio(FeedId, Arc<AudioUnit>),
}

/// Who offers when a peer's connection begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begin {
    /// We offer; the answer follows by [`Command::Answer`].
    Offer {
        /// True to offer every slot once and for all; false to offer those that show something, and to offer again when these change.
        preallocated: bool,
        /// With sections in which the peer may publish.
        publishes: bool,
    },
    /// We offer only slot 0, to a page of `multi_webrtc`; the answer follows by [`Command::Answer`].
    OfferToMultiWebrtc,
    /// The peer offers to receive these slots.
    Accept {
        /// SDP.
        offer: Bounded,
        /// What each of its video sections shows, in order.
        slots: Vec<SlotChoice>,
    },
    /// The peer offers to send: a picture, sound or both.
    Publish {
        /// SDP.
        offer: Bounded,
    },
}

/// Who decides what a slot of a peer shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SlotChoice {
    /// The session: the slot shows what everybody sees in it.
    Follow,
    /// The peer: the slot shows this, or nothing.
    Own(Option<Binding>),
}

/// What the control loop wants of a shard. In order.
#[derive(Debug)]
pub enum Command {
    /// A new peer. The shard reports [`Report::Offer`] or [`Report::Answer`].
    Join {
        /// Its id.
        peer: PeerId,
        /// What it may do.
        role: Role,
        /// Which SRTP profiles it is offered.
        srtp: Srtp,
        /// Who offers.
        begin: Begin,
    },
    /// A peer's answer to our offer.
    Answer {
        /// The peer that answers.
        peer: PeerId,
        /// SDP.
        sdp: Bounded,
    },
    /// Changes something about one peer. Ignored when the peer is gone.
    Peer {
        /// The peer.
        peer: PeerId,
        /// What is to change.
        command: PeerCommand,
    },
    /// Ends a peer.
    Remove {
        /// The peer.
        peer: PeerId,
        /// For [`Report::Gone`].
        reason: String,
    },
    /// Who may steer from now on, besides what roles permit.
    Control(Control),
    /// A feed that may be bound from now on.
    AddFeed {
        /// Its id.
        feed: FeedId,
        /// The way back to its source.
        demand: Arc<Demand>,
    },
    /// A feed that nothing is bound to any more.
    RemoveFeed {
        /// Its id.
        feed: FeedId,
    },
    /// The source of a feed is lost and being retried, or is back.
    FeedOnline {
        /// The feed.
        feed: FeedId,
        /// False while its source is lost.
        online: bool,
    },
    /// What a slot shows from now on, to everybody who has not chosen otherwise.
    Bind {
        /// The slot.
        slot: SlotIndex,
        /// `None`: nothing.
        binding: Option<Binding>,
        /// Size of its picture in pixels; zeros while it is not known.
        size: (u32, u32),
    },
    /// Sends a text on the channel `general`.
    Say {
        /// Who gets it.
        to: Audience,
        /// A `GeneralMessage`, as JSON.
        text: Arc<str>,
    },
    /// Asks for [`Report::Stats`].
    Stats,
    /// Closes every connection and ends the thread.
    Stop,
}

/// A change to one peer. While the negotiator has the peer, it is kept until the peer is back (`away`).
#[derive(Debug)]
pub enum PeerCommand {
    /// Adds a candidate of the peer's.
    Candidate {
        /// The candidate.
        candidate: String,
        /// The media section that it belongs to, by its id.
        mid: Option<String>,
        /// The same, by its index.
        index: Option<u16>,
    },
    /// Stops or resumes a slot.
    Pause {
        /// The slot.
        slot: SlotIndex,
        /// True to stop it.
        paused: bool,
    },
    /// Changes who decides what a slot shows to this peer. The shard reports [`Report::Slot`], also when the slot's state
    /// stays the same.
    Switch {
        /// The slot.
        slot: SlotIndex,
        /// Who decides, and what the peer has chosen.
        own: SlotChoice,
    },
    /// Requests a keyframe of what a slot shows.
    Keyframe {
        /// The slot.
        slot: SlotIndex,
    },
    /// Offers again, with new ICE credentials: the path that there was leads nowhere.
    RestartIce,
    /// Reports the states of all slots once more: the peer has a new WebSocket.
    ReportSlots,
    /// Takes a WHEP player's side of ICE. The shard reports [`Report::Patched`], in order.
    Patch(IcePatch),
    /// Changes what the peer may do.
    SetRole(Role),
    /// Changes what the peer is sent at most, kilobits per second; `None`: as much as its path carries.
    SetMaxBitrate(Option<u32>),
    /// All that the peer hears is this feed from now on, in the audio section of slot 0; `None`: silence.
    TakeMix(Option<FeedId>),
    /// The peer has a media socket, in place of an earlier one.
    Attach(Attachment),
    /// The peer may publish from now on: it gets the sections for it, if it has none.
    AllowPublishing,
    /// Publishes something that the peer sends. While the sections for it are on their way, it waits for them.
    Publish(Box<Outlet>),
    /// Publishes it no longer.
    Unpublish(PublishKind),
}

/// A connection of the web-server's, by which it relays the media socket of a peer.
#[derive(Debug)]
pub struct Attachment {
    /// The connection.
    pub stream: UnixStream,
    /// What the client decodes.
    pub codecs: Vec<VideoCodec>,
}

/// Who gets a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Audience {
    /// Every native peer.
    All,
    /// Every native peer but this one.
    AllBut(PeerId),
    /// Every controller.
    Controllers,
    /// Every controller but this one.
    ControllersBut(PeerId),
    /// One peer.
    One(PeerId),
    /// These peers, in the order of their ids.
    These(Arc<[PeerId]>),
}

impl Audience {
    /// Whether a peer of this role is among them.
    fn includes(&self, peer: PeerId, role: Role) -> bool {
        match self {
            Audience::All => true,
            Audience::AllBut(other) => peer != *other,
            Audience::Controllers => role >= Role::Controller,
            Audience::ControllersBut(other) => role >= Role::Controller && peer != *other,
            Audience::One(one) => peer == *one,
            Audience::These(these) => these.binary_search(&peer).is_ok(),
        }
    }
}

/// What a shard tells the control loop.
#[derive(Debug)]
pub enum Report {
    /// Our offer to a peer: a new one, or one whose tracks have changed.
    Offer {
        /// The peer that it is for.
        peer: PeerId,
        /// SDP.
        sdp: String,
        /// Where slots are in it, if that is not the same for all peers.
        sections: Option<Sections>,
    },
    /// Our answer to a new peer's offer, or what is wrong with the offer. In the latter case the peer is gone.
    Answer {
        /// The peer that had offered.
        peer: PeerId,
        /// SDP.
        result: Result<String, RequestError>,
    },
    /// A player's side of ICE is known, or what is wrong with it.
    Patched {
        /// The peer.
        peer: PeerId,
        /// After a restart: SDP with our side.
        result: Result<Option<String>, RequestError>,
    },
    /// A peer's signalling was refused.
    Refused {
        /// The peer.
        peer: PeerId,
        /// Stable, for programs.
        code: &'static str,
        /// For people.
        message: String,
    },
    /// A peer's connection changed its state.
    State {
        /// The peer.
        peer: PeerId,
        /// The state.
        state: PeerState,
    },
    /// A peer's `general` channel is open.
    Listening {
        /// The peer.
        peer: PeerId,
    },
    /// A slot of a peer changed its state.
    Slot {
        /// The peer.
        peer: PeerId,
        /// The slot.
        slot: SlotIndex,
        /// The state.
        state: SlotState,
    },
    /// A peer asks to resize what a slot shows. It is a controller.
    Resize {
        /// The peer.
        peer: PeerId,
        /// The slot.
        slot: SlotIndex,
        /// Wanted width in pixels.
        width: u32,
        /// Wanted height in pixels.
        height: u32,
    },
    /// A controller sets the clipboard.
    Clipboard {
        /// The peer.
        peer: PeerId,
        /// The new content.
        content: Content,
    },
    /// The first picture that a peer publishes is there, or it has another codec or size.
    Pictured {
        /// Who.
        peer: PeerId,
        /// What is known of it.
        pictured: Pictured,
    },
    /// A peer that publishes its microphone speaks, or does not any more.
    Speaking {
        /// Who.
        peer: PeerId,
        /// It speaks.
        speaking: bool,
    },
    /// Which layers of what a peer publishes anybody takes.
    Layers {
        /// Who.
        peer: PeerId,
        /// Of what.
        taken: Taken,
    },
    /// Something that a peer is to publish has no section in its connection.
    Unpublishable {
        /// Who.
        peer: PeerId,
        /// What.
        kind: PublishKind,
    },
    /// A peer is gone.
    Gone {
        /// The peer.
        peer: PeerId,
        /// The reason, for logs and for the web-server.
        reason: String,
    },
    /// The shard's counters.
    Stats {
        /// Index of the shard.
        shard: usize,
        /// Sums over all its peers.
        network: NetworkStats,
        /// The counters of each peer.
        peers: Vec<(PeerId, PeerStats)>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_audience_is_of_roles_and_of_peers() {
        let [me, other] = [PeerId::unique(), PeerId::unique()];
        let mut both = [me, other];
        both.sort_unstable();
        for (audience, viewer, controller) in [
            (Audience::All, true, true),
            (Audience::AllBut(me), false, false),
            (Audience::AllBut(other), true, true),
            (Audience::Controllers, false, true),
            (Audience::ControllersBut(me), false, false),
            (Audience::ControllersBut(other), false, true),
            (Audience::One(me), true, true),
            (Audience::One(other), false, false),
            (Audience::These(both.into()), true, true),
            (Audience::These([other].into()), false, false),
            (Audience::These([].into()), false, false),
        ] {
            assert_eq!(audience.includes(me, Role::Viewer), viewer, "{audience:?}");
            assert_eq!(audience.includes(me, Role::Controller), controller, "{audience:?}");
        }
    }
}
