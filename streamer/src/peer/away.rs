//! Keeps what arrives for a peer while the [negotiator](super::negotiator) has it, within bounds. Pure.

use std::sync::Arc;

use common::api::PeerState;
use common::id::{PeerId, SlotIndex};
use common::signal::Role;

use super::counted::Counted;
use super::{Audience, Binding, FeedId, Media, Path, PeerCommand};

/// Most commands kept for one peer. A client sends some thirty candidates and its slots; a peer with more is removed.
const MAX_COMMANDS: usize = 128;
/// Most bytes in them that a peer has sent. A candidate has some hundred.
const MAX_COMMAND_BYTES: usize = 64 * 1024;
/// Most units and sound packets kept for a connected peer: more than a second's worth. Further ones are dropped; the writer of a
/// slot sees the gap in the numbers and continues with the next keyframe.
const MAX_MEDIA: usize = 128;
/// Most texts kept for the channel `general` of a peer that has been connected. Further ones are dropped, as on a channel that is not
/// read.
const MAX_TEXTS: usize = 64;
/// Most datagrams of the peer that are kept. Further ones are dropped, as they may be on any network.
const MAX_DATAGRAMS: usize = 128;

/// There are more commands than can be kept.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("too many commands for the peer while its connection is negotiated")]
pub struct Overflow;

/// A datagram from the peer.
#[derive(Debug, PartialEq, Eq)]
pub struct Datagram {
    /// The path on which it arrived.
    pub path: Path,
    /// Its bytes.
    pub data: Box<[u8]>,
}

/// A command that waits until the peer is back.
#[derive(Debug)]
pub enum Deferred {
    /// A change to this peer alone.
    Peer(PeerCommand),
    /// What a slot shows to everybody has changed.
    Bind {
        /// The slot.
        slot: SlotIndex,
        /// `None`: nothing.
        binding: Option<Binding>,
    },
    /// The source of this feed is lost.
    Offline(FeedId),
}

impl Deferred {
    /// Bytes in it that the peer has sent.
    fn said_bytes(&self) -> usize {
        match self {
            Deferred::Peer(PeerCommand::Candidate { candidate, mid, .. }) => {
                candidate.len() + mid.as_ref().map_or(0, String::len)
            }
            Deferred::Peer(PeerCommand::Patch(patch)) => patch.candidates.iter().map(String::len).sum(),
            Deferred::Peer(
                PeerCommand::Pause { .. }
                | PeerCommand::Switch { .. }
                | PeerCommand::Keyframe { .. }
                | PeerCommand::RestartIce
                | PeerCommand::ReportSlots
                | PeerCommand::SetRole(_)
                | PeerCommand::SetMaxBitrate(_)
                | PeerCommand::TakeMix(_)
                | PeerCommand::Attach(_)
                | PeerCommand::AllowPublishing
                | PeerCommand::Publish(_)
                | PeerCommand::Unpublish(_),
            )
            | Deferred::Bind { .. }
            | Deferred::Offline(_) => 0,
        }
    }
}

/// Takes the place of a peer that is away.
#[derive(Debug)]
pub struct Away {
    /// State of its connection when it went away.
    pub state: PeerState,
    /// Its counters when it went away.
    pub counted: Counted,
    kept: Kept,
    command_bytes: usize,
}

/// What the peer has missed, in the order in which it is delivered. Media comes first: it is for what the slots showed when the peer
/// went away.
#[derive(Debug, Default)]
pub struct Kept {
    /// Units and sound packets.
    pub media: Vec<Media>,
    /// Commands. They come before what the peer has sent meanwhile, as they may have reduced its rights.
    pub commands: Vec<Deferred>,
    /// Texts for the channel `general`.
    pub texts: Vec<(Audience, Arc<str>)>,
    /// Datagrams.
    pub datagrams: Vec<Datagram>,
}

impl Away {
    /// Takes the place of a peer in this state.
    pub fn new(state: PeerState, counted: Counted) -> Self {
        Self { state, counted, kept: Kept::default(), command_bytes: 0 }
    }

    /// Keeps a command.
    ///
    /// # Errors
    /// There are too many.
    pub fn keep_command(&mut self, command: Deferred) -> Result<(), Overflow> {
        let said = command.said_bytes();
        if self.kept.commands.len() >= MAX_COMMANDS || self.command_bytes + said > MAX_COMMAND_BYTES {
            return Err(Overflow);
        }
        self.command_bytes += said;
        self.kept.commands.push(command);
        Ok(())
    }

    /// Keeps output of a feed; see `MAX_MEDIA`.
    pub fn keep_media(&mut self, media: &Media) {
        if self.state == PeerState::Connected && self.kept.media.len() < MAX_MEDIA {
            self.kept.media.push(media.clone());
        }
    }

    /// Keeps a text if it may be for `peer`; see `MAX_TEXTS`.
    pub fn keep_text(&mut self, peer: PeerId, to: &Audience, text: &Arc<str>) {
        // It may have become a controller when it is back.
        let may_hear = to.includes(peer, Role::Controller);
        if may_hear && self.state != PeerState::Connecting && self.kept.texts.len() < MAX_TEXTS {
            self.kept.texts.push((to.clone(), text.clone()));
        }
    }

    /// Keeps a datagram; see `MAX_DATAGRAMS`.
    pub fn keep_datagram(&mut self, path: Path, data: &[u8]) {
        if self.kept.datagrams.len() < MAX_DATAGRAMS {
            self.kept.datagrams.push(Datagram { path, data: data.into() });
        }
    }

    /// Everything that was kept, each kind in its order.
    pub fn into_kept(self) -> Kept {
        self.kept
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;
    use crate::feed::AudioUnit;
    use crate::peer::FeedId;

    fn away(state: PeerState) -> Away {
        Away::new(state, Counted::default())
    }

    fn keyframe(slot: u8) -> Deferred {
        Deferred::Peer(PeerCommand::Keyframe { slot })
    }

    fn candidate(len: usize) -> Deferred {
        Deferred::Peer(PeerCommand::Candidate { candidate: "x".repeat(len), mid: None, index: None })
    }

    #[test]
    fn commands_are_kept_in_order_up_to_a_bound() {
        let mut away = away(PeerState::Connecting);
        for n in 0..MAX_COMMANDS {
            assert_eq!(away.keep_command(keyframe(n as u8)), Ok(()));
        }
        assert_eq!(away.keep_command(keyframe(0)), Err(Overflow));
        let slots = away.into_kept().commands.into_iter().map(|command| match command {
            Deferred::Peer(PeerCommand::Keyframe { slot }) => usize::from(slot),
            other => panic!("{other:?}"),
        });
        assert_eq!(slots.collect::<Vec<_>>(), (0..MAX_COMMANDS).collect::<Vec<_>>());
    }

    #[test]
    fn few_long_commands_are_too_many_as_well() {
        let mut away = away(PeerState::Connecting);
        assert_eq!(away.keep_command(candidate(MAX_COMMAND_BYTES)), Ok(()));
        assert_eq!(away.keep_command(keyframe(0)), Ok(()));
        assert_eq!(away.keep_command(candidate(1)), Err(Overflow));
    }

    #[test]
    fn media_are_kept_for_who_is_connected_and_texts_for_who_has_been() {
        let payload = bytes::Bytes::new();
        let unit = AudioUnit { captured: Instant::now(), time: 0, marker: false, payload };
        let audio = Media::Audio(FeedId(1), Arc::new(unit));
        let me = PeerId::unique();
        let other = PeerId::unique();
        for (state, media, texts) in
            [(PeerState::Connecting, 0, 0), (PeerState::Lost, 0, 3), (PeerState::Connected, MAX_MEDIA, 3)]
        {
            let mut away = away(state);
            for _ in 0..2 * MAX_MEDIA {
                away.keep_media(&audio);
            }
            let audiences = [
                Audience::All,
                Audience::AllBut(other),
                Audience::AllBut(me),
                Audience::One(me),
                Audience::One(other),
                Audience::ControllersBut(me),
            ];
            for to in audiences {
                away.keep_text(me, &to, &"{}".into());
            }
            let kept = away.into_kept();
            assert_eq!((kept.media.len(), kept.texts.len()), (media, texts), "{state:?}");
        }
    }

    #[test]
    fn datagrams_beyond_the_bound_are_lost() {
        let mut away = away(PeerState::Connecting);
        let address: std::net::SocketAddr = "127.0.0.1:9".parse().unwrap();
        for n in 0..=MAX_DATAGRAMS {
            away.keep_datagram(Path::udp(address, address), &[n as u8]);
        }
        let last = away.into_kept().datagrams.pop().unwrap();
        assert_eq!(*last.data, [MAX_DATAGRAMS as u8 - 1]);
    }
}
