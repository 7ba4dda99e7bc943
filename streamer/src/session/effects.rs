//! What the session wants to have done. It decides and notes it here, in order; the control loop has it carried out
//! (`perform`) after each event.

use std::sync::Arc;

use common::api::{InputRequest, Peer};
use common::clipboard::Wanted;
use common::id::{PeerId, SourceName};
use common::ipc::request::Clipboard;
use common::ipc::{Json, RequestError, StreamerIpcMessage};
use common::signal::{PublishKind, ServerMessage};
use common::slots::{Pixel, Source, SourceList, WindowList};
use common::spec::SourceSpec;
use common::stats::StreamerStats;
use serde::Serialize;
use tokio::sync::oneshot;

use super::reading::Reads;
use super::snapshots::Batch;
use super::sources::Feed;
use crate::feed::{Ear, NewListeners, NewTaps, Tap};
use crate::input::{self, Motors};
use crate::link::{Finished, ReplyTo};
use crate::media::Picture;
use crate::mix::Plan;
use crate::peer::{Command, FeedId};
use crate::source::video::Settings;
use crate::source::{self, Frames, HostStatus, Running, SourceKey, Upstream, Windows};

/// Something that is to be done outside the session.
pub enum Effect {
    /// Replies to a request of the web-server's.
    Reply(Finished),
    /// Says something to the web-server, on the control connection.
    Send(StreamerIpcMessage),
    /// Says how the session does. What the process itself counts is filled in when it is sent.
    Heartbeat {
        /// With the counters of the input thread and of the process at zero.
        stats: Box<StreamerStats>,
        /// Everybody who is connected.
        peers: Vec<Peer>,
    },
    /// Gives a shard a command of the session's.
    Command {
        /// Index of the shard.
        shard: usize,
        /// What it is to do.
        command: Command,
    },
    /// Gives a shard what a peer asked for. While the shard is too far behind, the peer is refused with `busy` instead.
    OfferCommand {
        /// Index of the shard.
        shard: usize,
        /// Who asked.
        peer: PeerId,
        /// What the shard is to do.
        command: Command,
    },
    /// Tells the input thread what it must know.
    Input(input::Event),
    /// Tells the input thread that a source shakes a gamepad. Left out when the thread is busy.
    Rumble(SourceName, u8, Motors),
    /// Has a shard publish what a peer sends: pictures to the one feed, or sound to the other.
    Publish {
        /// Index of the peer's shard.
        shard: usize,
        /// The peer.
        peer: PeerId,
        /// What it sends.
        kind: PublishKind,
        /// The source's pictures.
        video: Feed,
        /// The low layer of them.
        low: Option<Feed>,
        /// Its sound.
        audio: Feed,
        /// Readers of the pictures inside the streamer.
        taps: NewTaps,
        /// Who hears the sound there.
        listeners: NewListeners,
    },
    /// Has a player read these feeds, once its connection comes; [`super::Session::report`] is told when it is gone.
    OpenReader {
        /// The player.
        peer: PeerId,
        /// As what it reads.
        reads: Reads,
        /// Its pictures.
        tap: Tap,
        /// Its sound, if there is any.
        ear: Option<Ear>,
    },
    /// Ends a player.
    CloseReader(PeerId),
    /// Starts a source on a thread of its own; [`super::Session::started`] is told the outcome.
    StartSource(Box<SourceStart>),
    /// Ends a source, and before it the renditions that are made from it. Takes time, and is not waited for.
    StopSource {
        /// The source; dropping it ends it.
        source: Box<dyn Running>,
        /// Feeds of its renditions.
        renditions: Vec<FeedId>,
    },
    /// Starts a rendition, unless it runs already. A failure is logged.
    StartRendition(RenditionStart),
    /// Mixes this from now on.
    Mix(Plan),
    /// Carries out a request that takes time, off the control loop.
    Work(Work),
}

/// A source that is to be started.
pub struct SourceStart {
    /// Its name.
    pub name: SourceName,
    /// Names this life of it.
    pub key: SourceKey,
    /// What it is.
    pub spec: SourceSpec,
    /// What it builds on.
    pub upstream: Upstream,
    /// Where its pictures go.
    pub video: Feed,
    /// Where its sound goes.
    pub audio: Feed,
    /// Readers of its access units inside the streamer.
    pub taps: NewTaps,
    /// Who hears its sound there.
    pub listeners: NewListeners,
    /// How it does, if it is a Moonlight host.
    pub host: Arc<HostStatus>,
}

/// A rendition that is to be started.
pub struct RenditionStart {
    /// The source that it is made from.
    pub source: SourceName,
    /// Pictures of that source.
    pub frames: Arc<Frames>,
    /// Lines of its own pictures; `None`: as many as the source's.
    pub height: Option<u32>,
    /// How it is encoded.
    pub settings: Settings,
    /// Where its pictures go.
    pub feed: Feed,
}

/// The outcome of something that a source was asked to do.
pub type Outcome = oneshot::Receiver<Result<(), source::Error>>;

/// A request that takes time. Each is replied to when it is done, or has taken too long.
pub enum Work {
    /// `POST …/input`.
    SendInput {
        /// Where the reply goes.
        to: ReplyTo<()>,
        /// What is to be put in; it has been validated.
        input: InputRequest,
    },
    /// `GET …/snapshot`, for all who wait for this picture. [`super::Session::picture_over`] is told when the next one may be taken.
    TakeSnapshots {
        /// The source whose picture it is.
        source: SourceName,
        /// The picture.
        picture: oneshot::Receiver<Picture>,
        /// What is to be made of it, and for whom.
        batch: Batch,
    },
    /// `GET …/clipboard`.
    GetClipboard {
        /// Where the reply goes.
        to: ReplyTo<Clipboard>,
        /// Whose owner is asked.
        clipboard: Arc<dyn source::Clipboard>,
        /// Which part of it.
        wanted: Wanted,
    },
    /// `PUT …/clipboard`.
    SetClipboard {
        /// Where the reply goes.
        to: ReplyTo<()>,
        /// Whether it is there.
        outcome: Outcome,
    },
    /// `GET …/sources`.
    ListSources {
        /// Where the reply goes.
        to: ReplyTo<Json<SourceList>>,
        /// All of them, and of those that run where the pointer is.
        sources: Vec<(Source, Option<oneshot::Receiver<Pixel>>)>,
    },
    /// `GET …/windows`.
    ListWindows {
        /// Where the reply goes.
        to: ReplyTo<Json<WindowList>>,
        /// The desktop that is asked.
        windows: Arc<dyn Windows>,
    },
    /// `POST …/resize`.
    Resize {
        /// Where the reply goes.
        to: ReplyTo<()>,
        /// Whether frames have the new size.
        outcome: Outcome,
    },
    /// Something that nobody waits for; its failure is logged.
    Unattended {
        /// What it is, for the log.
        what: &'static str,
        /// Whether it was done.
        outcome: Outcome,
    },
}

/// Effects in the order in which they are to be carried out. One event has a few, or a few for each peer; the control
/// loop takes them after each event.
#[derive(Default)]
pub struct Effects(Vec<Effect>);

impl Effects {
    /// Everything that has been noted since.
    pub fn take(&mut self) -> Vec<Effect> {
        std::mem::take(&mut self.0)
    }

    /// Notes an effect.
    pub fn push(&mut self, effect: Effect) {
        self.0.push(effect);
    }

    /// Replies to a request.
    pub fn reply<T: Serialize>(&mut self, to: ReplyTo<T>, result: Result<T, RequestError>) {
        self.push(Effect::Reply(Finished::new(to, result)));
    }

    /// Refuses a request.
    pub fn refuse<T: Serialize>(&mut self, to: ReplyTo<T>, error: RequestError) {
        self.reply(to, Err(error));
    }

    /// Says something to the web-server.
    pub fn send(&mut self, message: StreamerIpcMessage) {
        self.push(Effect::Send(message));
    }

    /// Sends a peer a message of its signalling.
    pub fn signal_peer(&mut self, peer: PeerId, message: ServerMessage) {
        self.send(StreamerIpcMessage::ToPeer { peer, message: Json(message) });
    }

    /// Sends all peers a message of their signalling.
    pub fn broadcast(&mut self, message: ServerMessage) {
        self.send(StreamerIpcMessage::Broadcast { message: Json(message) });
    }

    /// Tells a peer that what it asked for is refused.
    pub fn refuse_peer(&mut self, peer: PeerId, error: RequestError) {
        let RequestError { code, message, field } = error;
        let code = code.to_string();
        self.signal_peer(peer, ServerMessage::Error { code, message, field, request_id: None });
    }

    /// Gives a shard a command.
    pub fn command(&mut self, shard: usize, command: Command) {
        self.push(Effect::Command { shard, command });
    }

    /// Tells the input thread what it must know.
    pub fn input(&mut self, event: input::Event) {
        self.push(Effect::Input(event));
    }

    /// Carries out what takes time.
    pub fn work(&mut self, work: Work) {
        self.push(Effect::Work(work));
    }
}
