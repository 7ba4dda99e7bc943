//! A session without threads: events go in, and what it wants done is kept to be looked at. Time is what a test says.

mod camera;
mod heartbeat;
mod lifecycle;
mod microphone;
mod mixes;
mod peers;
mod pointers;
mod publishing;
mod reading;
mod room;
mod slots;

use std::collections::HashMap;
use std::marker::PhantomData;
use std::sync::Mutex;

use common::api::PeerState;
use common::exit::ExitReason;
use common::id::{RequestId, SourceName};
use common::ipc::{Join, Payload, Request, StreamerIpcMessage, Ticket};
use common::media::VideoCodec;
use common::person::Person;
use common::signal::{Capabilities, ClientMessage, PublishKind, Role, ServerMessage};
use common::slots::{BindSlot, SlotSource};
use common::spec::CursorMode;
use common::stats::StreamerStats;
use tokio::sync::oneshot;

use super::effects::{RenditionStart, SourceStart};
use super::*;
use crate::feed::{Ear, Listener, NewListeners, Tap, Tapping};
use crate::input;
use crate::media::Picture;
use crate::mix::Plan;
use crate::peer::{Command, FeedId, Report};
use crate::source::{Error, Event, Frames, Info, SourceKey};

/// A streamer whose main source is a test picture.
const TEST: &str = r#"{"source": {"type": "test"}}"#;
/// A streamer whose main source is a camera, and one that has two cameras and no main source.
const CAMERA: &str = r#"{"source": {"type": "rtsp", "url": "rtsp://h/1"}}"#;
const CAMERAS: &str = r#"{"sources": {
    "camera1": {"type": "rtsp", "url": "rtsp://h/1"},
    "camera2": {"type": "rtsp", "url": "rtsp://h/2"}
}}"#;
/// A streamer with a second test picture.
const TWO: &str = r#"{"source": {"type": "test"}, "sources": {"second": {"type": "test"}}}"#;

/// Which sources live, and which have ended, in their order.
#[derive(Default)]
struct Lives {
    living: Vec<SourceName>,
    ended: Vec<SourceName>,
    /// Peers that programs hear.
    plugged: Vec<PeerId>,
    /// The peer that they see.
    seen: Option<PeerId>,
}

/// A source that does nothing but live.
struct Fake {
    name: SourceName,
    frames: Option<Arc<Frames>>,
    lives: Arc<Mutex<Lives>>,
}

impl Drop for Fake {
    fn drop(&mut self) {
        let mut lives = self.lives.lock().unwrap();
        let at = lives.living.iter().position(|name| *name == self.name).unwrap();
        let name = lives.living.remove(at);
        lives.ended.push(name);
    }
}

impl Running for Fake {
    fn info(&self) -> Info {
        Info {
            size: Size { width: 640, height: 360 },
            fps: 30,
            audio: true,
            cursor: CursorMode::Embedded,
            input: false,
            microphone: false,
            camera: false,
            codec: VideoCodec::H264,
            window: None,
            reader: None,
        }
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        oneshot::channel().1
    }

    fn resize(&self, _size: Size) -> oneshot::Receiver<Result<(), Error>> {
        oneshot::channel().1
    }

    fn frames(&self) -> Option<Arc<Frames>> {
        self.frames.clone()
    }

    fn camera(&self) -> Result<Arc<dyn source::Camera>, source::NoCamera> {
        Ok(Arc::new(Plugs(self.lives.clone())))
    }

    fn microphone(&self) -> Option<Arc<dyn source::Microphone>> {
        Some(Arc::new(Plugs(self.lives.clone())))
    }
}

/// A microphone and a camera that note who is plugged in.
struct Plugs(Arc<Mutex<Lives>>);

impl source::Camera for Plugs {
    fn plug(&self, peer: PeerId, _: Tapping) {
        self.0.lock().unwrap().seen = Some(peer);
    }

    fn unplug(&self, peer: PeerId) {
        self.0.lock().unwrap().seen.take_if(|seen| *seen == peer);
    }
}

impl source::Microphone for Plugs {
    fn plug(&self, peer: PeerId) -> Listener {
        self.0.lock().unwrap().plugged.push(peer);
        Box::new(|_| true)
    }

    fn unplug(&self, peer: PeerId) {
        self.0.lock().unwrap().plugged.retain(|plugged| *plugged != peer);
    }
}

/// A session, and what it wanted done since the test asked for it last.
struct Stage {
    session: Session,
    now: Now,
    requests: u64,
    replies: HashMap<RequestId, Result<Payload, RequestError>>,
    said: Vec<StreamerIpcMessage>,
    commands: Vec<(usize, Command)>,
    started: Vec<SourceStart>,
    stopped: Vec<Box<dyn Running>>,
    renditions: Vec<RenditionStart>,
    /// What shards are to publish: of whom, in which shard, what.
    published: Vec<(PeerId, usize, PublishKind)>,
    /// Players that read streams, with their feeds.
    readers: Vec<(PeerId, Tap, Option<Ear>)>,
    /// The ends of what they publish.
    listeners: Vec<NewListeners>,
    input: Vec<input::Event>,
    work: Vec<Work>,
    heartbeats: Vec<StreamerStats>,
    /// What is to be mixed, each time that it changed.
    plans: Vec<Plan>,
    lives: Arc<Mutex<Lives>>,
}

impl Stage {
    fn new(spec: &str) -> Self {
        Self::with(spec, 1, Settings::default())
    }

    fn with(spec: &str, shards: usize, settings: Settings) -> Self {
        let spec: StreamerSpec = serde_json::from_str(spec).unwrap();
        let now = Now { instant: Instant::now(), utc: DateTime::UNIX_EPOCH };
        let id = StreamerId::parse("demo").unwrap();
        let session = Session::new(now, id, spec, settings, shards, Arc::default()).unwrap();
        let mut stage = Self {
            session,
            now,
            requests: 0,
            replies: HashMap::new(),
            said: Vec::new(),
            commands: Vec::new(),
            started: Vec::new(),
            stopped: Vec::new(),
            renditions: Vec::new(),
            published: Vec::new(),
            readers: Vec::new(),
            listeners: Vec::new(),
            input: Vec::new(),
            work: Vec::new(),
            heartbeats: Vec::new(),
            plans: Vec::new(),
            lives: Arc::default(),
        };
        stage.collect();
        stage
    }

    /// A session that runs: its main source, if it has one, gives pictures.
    fn running(spec: &str) -> Self {
        let mut stage = Self::new(spec);
        let start = stage.request(request::StartSource);
        for name in stage.take_started() {
            stage.runs(&name);
        }
        assert_eq!(stage.reply(&start), Ok(()));
        stage.forget();
        stage
    }

    /// Sorts what the session wants done.
    fn collect(&mut self) {
        for effect in self.session.take_effects() {
            match effect {
                Effect::Reply(finished) => {
                    let (asked, result) = finished.into_parts();
                    let before = self.replies.insert(asked.request, result);
                    assert!(before.is_none(), "a request is replied to once");
                }
                Effect::Send(message) => self.said.push(message),
                Effect::Heartbeat { stats, .. } => self.heartbeats.push(*stats),
                Effect::Command { shard, command } | Effect::OfferCommand { shard, command, .. } => {
                    self.commands.push((shard, command));
                }
                Effect::Input(event) => self.input.push(event),
                Effect::Rumble(..) => {}
                Effect::Publish { shard, peer, kind, listeners, .. } => {
                    self.published.push((peer, shard, kind));
                    self.listeners.push(listeners);
                }
                Effect::OpenReader { peer, tap, ear, reads: _ } => self.readers.push((peer, tap, ear)),
                Effect::CloseReader(peer) => self.readers.retain(|(reader, ..)| *reader != peer),
                Effect::StartSource(start) => self.started.push(*start),
                Effect::StopSource { source, .. } => self.stopped.push(source),
                Effect::StartRendition(start) => self.renditions.push(start),
                Effect::Mix(plan) => self.plans.push(plan),
                Effect::Work(work) => self.work.push(work),
            }
        }
    }

    /// Forgets what was wanted so far.
    fn forget(&mut self) {
        self.said.clear();
        self.commands.clear();
        self.started.clear();
        self.stopped.clear();
        self.renditions.clear();
        self.published.clear();
        self.input.clear();
        self.work.clear();
        self.heartbeats.clear();
        self.plans.clear();
    }

    fn pass(&mut self, time: Duration) {
        self.now.instant += time;
        self.now.utc += time;
    }

    fn request<R: Request>(&mut self, request: R) -> Pending<R> {
        let id = RequestId(self.requests);
        self.requests += 1;
        self.session.request(self.now, Asked { connection: 0, request: id }, request.into());
        self.collect();
        Pending(id, PhantomData)
    }

    /// The reply to a request; it must be there.
    fn reply<R: Request>(&mut self, pending: &Pending<R>) -> Result<R::Reply, &'static str> {
        let reply = self.replies.remove(&pending.0).expect("a reply");
        reply.map(|payload| payload.read().unwrap()).map_err(|error| error.code.as_str())
    }

    fn is_replied<R: Request>(&self, pending: &Pending<R>) -> bool {
        self.replies.contains_key(&pending.0)
    }

    fn tick(&mut self) -> Option<ExitReason> {
        let reason = self.session.tick(self.now);
        self.collect();
        reason
    }

    fn report(&mut self, report: Report) {
        self.session.report(self.now, report);
        self.collect();
    }

    /// Names of the sources that are to be started.
    fn take_started(&mut self) -> Vec<SourceName> {
        std::mem::take(&mut self.started).into_iter().map(|start| start.name).collect()
    }

    /// The life that a source lives now.
    fn key(&self, name: &str) -> SourceKey {
        self.session.sources.get(name).unwrap().key
    }

    fn fake(&self, name: &str) -> Box<dyn Running> {
        self.lives.lock().unwrap().living.push(name.to_owned());
        let frames = Some(Arc::new(Frames::default()));
        Box::new(Fake { name: name.to_owned(), frames, lives: self.lives.clone() })
    }

    /// The sources that have not been ended.
    fn living(&mut self) -> Vec<SourceName> {
        self.stopped.clear();
        self.lives.lock().unwrap().living.clone()
    }

    fn source_started(&mut self, name: &str) -> Option<ExitReason> {
        let key = self.key(name);
        let reason = self.session.started(self.now, key, Ok(self.fake(name)));
        self.collect();
        reason
    }

    fn source_failed(&mut self, name: &str, error: Error) -> Option<ExitReason> {
        let key = self.key(name);
        let reason = self.session.started(self.now, key, Err(error));
        self.collect();
        reason
    }

    fn event(&mut self, name: &str, event: Event) -> Option<ExitReason> {
        self.event_of(self.key(name), event)
    }

    fn event_of(&mut self, key: SourceKey, event: Event) -> Option<ExitReason> {
        let reason = self.session.source_event(self.now, key, event);
        self.collect();
        reason
    }

    /// A source is started and gives its first picture.
    fn runs(&mut self, name: &str) {
        assert_eq!(self.source_started(name), None);
        assert_eq!(self.event(name, Event::Started), None);
    }

    /// A native peer that has joined.
    fn join(&mut self, role: Role, socket: u64) -> PeerId {
        let added = self.request(native(role, socket, None));
        self.reply(&added).unwrap().peer
    }

    /// A native peer that has joined and is connected.
    fn connect(&mut self, role: Role, socket: u64) -> PeerId {
        let peer = self.join(role, socket);
        self.report(Report::State { peer, state: PeerState::Connected });
        peer
    }

    fn signal(&mut self, peer: PeerId, message: ClientMessage) {
        self.session.tell_received(self.now, Tell::FromPeer { peer, message: Json(message) });
        self.collect();
    }

    /// What a peer was told, or all peers were.
    fn told(&self, peer: PeerId) -> Vec<&ServerMessage> {
        let told = self.said.iter().filter_map(|said| match said {
            StreamerIpcMessage::ToPeer { peer: to, message } => (*to == peer).then_some(&message.0),
            StreamerIpcMessage::Broadcast { message } => Some(&message.0),
            _ => None,
        });
        told.collect()
    }

    /// What a slot was bound to, each time that it was.
    fn bound(&self, slot: SlotIndex) -> Vec<Option<FeedId>> {
        let bound = |(_, command): &(usize, Command)| match command {
            Command::Bind { slot: at, binding, .. } if *at == slot => {
                Some(binding.map(|binding| binding.video))
            }
            _ => None,
        };
        self.commands.iter().filter_map(bound).collect()
    }

    /// The feed of a source's pictures.
    fn feed(&self, name: &str) -> FeedId {
        self.session.sources.get(name).unwrap().video.id
    }

    /// Whether shards were told that a source's pictures come, or come no more, each time.
    fn online(&self, name: &str) -> Vec<bool> {
        let of = self.feed(name);
        let online = |(_, command): &(usize, Command)| match command {
            Command::FeedOnline { feed, online } if *feed == of => Some(*online),
            _ => None,
        };
        self.commands.iter().filter_map(online).collect()
    }
}

/// A request that waits for its reply.
struct Pending<R>(RequestId, PhantomData<R>);

fn native(role: Role, socket: u64, resume: Option<String>) -> request::AddPeer {
    person(role, socket, resume, Person::default())
}

fn person(role: Role, socket: u64, resume: Option<String>, person: Person) -> request::AddPeer {
    let capabilities = Capabilities::default();
    let join = Join::Native { resume, socket, role, capabilities, ticket: Ticket::default(), person };
    request::AddPeer { join: Json(join) }
}

fn bind(slot: Option<SlotIndex>, stream: &str, quality: &str) -> request::BindSlot {
    let source = SlotSource::Name(stream.to_owned());
    let bind = BindSlot { source, quality: quality.to_owned() };
    request::BindSlot { slot, bind: Json(bind) }
}

fn bind_new(slot: Option<SlotIndex>, spec: &str) -> request::BindSlot {
    let spec = serde_json::from_str(spec).unwrap();
    let bind = BindSlot { source: SlotSource::Spec(spec), quality: String::new() };
    request::BindSlot { slot, bind: Json(bind) }
}
