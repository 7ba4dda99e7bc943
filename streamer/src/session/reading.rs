//! Players that read a stream as MP4 or RTP. Each is a peer without a connection of WebRTC: it has chosen its source, so that this runs, and
//! a thread of its own sends it ([`crate::reader`]).

use common::api::PeerKind;
use common::id::PeerId;
use common::ipc::request::PeerAdded;
use common::ipc::{Code, RequestError, Ticket};
use common::media::VideoCodec;
use common::person::Person;
use common::signal::Role;

use super::effects::Effect;
use super::join::Newcomer;
use super::peers::Presence;
use super::sources::{Shown, Sound};
use super::{Now, Session};
use crate::feed::{Ear, Tapping};
use crate::link::ReplyTo;
use crate::reader::thread::SOUND_QUEUE;

/// Readers of a streamer, each of which has a thread and its own copy of each picture. For many viewers there is WebRTC.
const MAX_READERS: usize = 16;

/// As what a player reads a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reads {
    /// Fragmented MP4.
    Mp4,
    /// RTP, which the web-server serves by RTSP.
    Rtp,
}

impl Reads {
    fn kind(self) -> PeerKind {
        match self {
            Self::Mp4 => PeerKind::Mp4,
            Self::Rtp => PeerKind::Rtsp,
        }
    }
}

/// Whether a peer of this kind is a player that reads, without a connection of WebRTC.
pub(super) fn is_reader(kind: PeerKind) -> bool {
    matches!(kind, PeerKind::Mp4 | PeerKind::Rtsp)
}

impl Session {
    /// A player wants to read a stream. It has to connect for it, with the id of its peer.
    pub(super) fn join_reader(
        &mut self,
        now: Now,
        to: ReplyTo<PeerAdded>,
        reads: Reads,
        stream: &str,
        ticket: Ticket,
    ) -> Result<(), RequestError> {
        let shown = self.readable(stream)?;
        let readers = self.peers.list().into_iter().filter(|peer| is_reader(peer.kind)).count();
        if readers >= MAX_READERS {
            let message = format!("{readers} players read streams of this streamer, the most that may");
            return Err(RequestError::new(Code::TooManyPeers, message));
        }
        let newcomer = Newcomer {
            kind: reads.kind(),
            presence: Presence::Elsewhere,
            role: Role::Viewer,
            slots: 1,
            ticket,
            person: Person::default(),
        };
        let (peer, _) = self.admit(now, newcomer)?;
        self.peers.choose(peer, 0, Some(shown.clone()));
        // From here on it is wanted, so that it is started if it did not run.
        self.update_sources(now);
        let Some((tapping, sound)) = self.feeds_of(&shown) else {
            self.peer_gone(now, peer, "its source does not run".to_owned());
            let message = format!("the source {} does not run", shown.source);
            return Err(RequestError::new(Code::SourceOffline, message));
        };
        let ear = sound.map(|Sound { feed, listening }| {
            // The thread looks for sound by itself.
            let (ear, listener) = Ear::new(feed.demand, SOUND_QUEUE, || {});
            if listening.listen(listener).is_err() {
                tracing::warn!(%peer, "too many begin to listen at once: its sound is silence");
            }
            ear
        });
        self.effects.push(Effect::OpenReader { peer, reads, tap: tapping.tap(), ear });
        // Before the reply: who has it finds the reader in the list.
        self.peer_changed(peer);
        self.effects.reply(to, Ok(PeerAdded { peer, answer: None }));
        self.participants(now);
        Ok(())
    }

    /// The source of this name, if it can be read.
    fn readable(&mut self, stream: &str) -> Result<Shown, RequestError> {
        let not_found = || RequestError::new(Code::StreamNotFound, format!("there is no stream {stream:?}"));
        let shown = self.sources.resolve(stream, "").ok_or_else(not_found)?;
        let unsupported = |message: String| Err(RequestError::new(Code::Unsupported, message));
        if shown.height.is_some() {
            return unsupported(format!("{stream} is made for slots alone; read {} instead", shown.source));
        }
        let entry = self.sources.get_mut(&shown.source).ok_or_else(not_found)?;
        if let Some(codec) = entry.info().filter(|_| entry.is_running()).map(|info| info.codec)
            && codec != VideoCodec::H264
        {
            return unsupported(format!("{stream} is {codec:?}, and readers get only H.264"));
        }
        entry.retry();
        Ok(shown)
    }

    /// What is to be tapped for a source, and the sound that belongs to it.
    fn feeds_of(&self, shown: &Shown) -> Option<(Tapping, Option<Sound>)> {
        let tapping = self.sources.get(&shown.source)?.tapping.clone()?;
        Some((tapping, self.sources.sound_of(shown)))
    }

    /// Ends a reader. It is gone when its thread is.
    pub(super) fn close_reader(&mut self, peer: PeerId) {
        self.effects.push(Effect::CloseReader(peer));
    }
}
