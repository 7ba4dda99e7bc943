//! One session after its `Init`: its sources, its slots, its peers, and what they say to each other.
//!
//! ```text
//! control loop ── request, report, event ──▶ Session ── Effects ──▶ control loop ──▶ crate::perform
//! ```
//!
//! It decides and does nothing else: it owns no thread and no socket, and waits for nothing. What is to be done is
//! noted as an [`effects::Effect`], and what takes time comes back as an event, such as [`Session::started`]. The one
//! thing that it calls is a running source ([`Running`]), whose methods never wait.

mod arbiter;
mod camera;
mod control;
pub mod effects;
mod heartbeat;
mod join;
mod lifecycle;
mod microphone;
mod mixes;
mod participants;
mod peers;
mod pointers;
mod publishing;
mod reading;
mod reports;
mod room;
mod shards;
mod signaling;
mod slots;
pub mod snapshots;
pub mod sources;

use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::api::InputRequest;
use common::clipboard::{Content, Wanted};
use common::id::{MAIN_SOURCE, PeerId, SlotIndex, StreamerId};
use common::input::{Actor, CursorShape, InvalidInput, MAX_EVENTS, validate_commands};
use common::ipc::request::{self, Patched, RemovePeer, Resize};
use common::ipc::{AnyRequest, Code, Json, RequestError, SessionState, Settings, Tell};
use common::slots::WindowList;
use common::spec::{SourceSpec, StreamerSpec};
use common::stats::NetworkStats;

use crate::link::{Asked, ReplyTo};
use crate::media::Size;
use crate::snapshot::Form;
use crate::source::{self, Running};
use crate::stats::SourceCounters;
use crate::throttle::Throttle;

use arbiter::Arbiter;
use effects::{Effect, Effects, Work};
pub use lifecycle::Started;
use mixes::Mixes;
use peers::Peers;
use pointers::Pointers;
use publishing::Publications;
pub use reading::Reads;
use room::Room;
use slots::Bound;
use snapshots::{Snapshots, Waiting};
use sources::{Life, Sources};

/// The slot that shows the main source, unless told otherwise.
const MAIN_SLOT: SlotIndex = 0;
/// Everybody is told who watches at most this often. Each telling names all and goes to all: when hundreds
/// join at once, telling of each would be what keeps them from joining.
const PARTICIPANTS_INTERVAL: Duration = Duration::from_millis(100);

/// The time at which the control loop took up an event.
#[derive(Debug, Clone, Copy)]
pub struct Now {
    /// For what is measured and waited for.
    pub instant: Instant,
    /// For what people and programs are shown.
    pub utc: DateTime<Utc>,
}

/// A shard, as far as the session knows it.
#[derive(Default)]
struct Shard {
    /// How many peers it serves.
    peers: usize,
    /// Its counters, as it reported them last.
    network: NetworkStats,
    /// How often it has been asked for its counters since it reported them.
    unanswered: u32,
}

/// The desktop's cursor, as its source reported it last.
enum DesktopCursor {
    /// Not reported yet.
    Unknown,
    /// No part of it can be seen.
    Hidden,
    /// It has this shape.
    Visible(CursorShape),
}

/// One session.
pub struct Session {
    id: StreamerId,
    spec: StreamerSpec,
    settings: Settings,
    effects: Effects,
    process_start: Instant,
    created: DateTime<Utc>,
    start_asked: Option<Instant>,
    running_since: Option<DateTime<Utc>>,
    first_frame: Option<Duration>,
    /// Of all sources together.
    counters: Arc<SourceCounters>,
    shards: Vec<Shard>,
    peers: Peers,
    control: Arbiter,
    peers_refused: u64,
    joining: BTreeMap<PeerId, join::Joining>,
    /// Who waits for what a shard says to a patch of this peer's, in order.
    patching: BTreeMap<PeerId, VecDeque<ReplyTo<Patched>>>,
    participants: Throttle,
    room: Room,
    pointers: Pointers,
    sources: Sources,
    published: Publications,
    mixes: Mixes,
    snapshots: Snapshots,
    /// What everybody sees.
    slots: BTreeMap<SlotIndex, Bound>,
    cursor: DesktopCursor,
}

impl Session {
    /// A session with so many shards, and none of its sources started. `counters` are what its sources count.
    ///
    /// # Errors
    /// When the process is out of descriptors.
    pub fn new(
        now: Now,
        id: StreamerId,
        spec: StreamerSpec,
        settings: Settings,
        shards: usize,
        counters: Arc<SourceCounters>,
    ) -> io::Result<Self> {
        let mut session = Self {
            id,
            spec,
            settings,
            effects: Effects::default(),
            process_start: now.instant,
            created: now.utc,
            start_asked: None,
            running_since: None,
            first_frame: None,
            counters,
            shards: std::iter::repeat_with(Shard::default).take(shards).collect(),
            peers: Peers::default(),
            control: Arbiter::default(),
            peers_refused: 0,
            joining: BTreeMap::new(),
            patching: BTreeMap::new(),
            participants: Throttle::new(PARTICIPANTS_INTERVAL),
            room: Room::default(),
            pointers: Pointers::default(),
            sources: Sources::default(),
            published: Publications::default(),
            mixes: Mixes::default(),
            snapshots: Snapshots::default(),
            slots: BTreeMap::new(),
            cursor: DesktopCursor::Unknown,
        };
        let main = session.spec.source.clone().map(|spec| (MAIN_SOURCE.to_owned(), spec));
        for (name, spec) in main.into_iter().chain(session.spec.sources.clone()) {
            session.add_source(name, spec, false)?;
        }
        Ok(session)
    }

    /// What is to be done now, in order. To be taken after each event.
    pub fn take_effects(&mut self) -> Vec<Effect> {
        // Whatever has happened, it may have changed what somebody hears.
        self.update_mixes();
        self.effects.take()
    }

    /// All there is to know, for a web-server that has just connected. The WebSockets of the one before are gone.
    pub fn adopted(&mut self, now: Now) -> SessionState {
        self.web_server_gone(now);
        self.peers.reachable(now.instant);
        SessionState {
            id: self.id.clone(),
            spec: self.spec.clone().as_given(),
            started: self.created,
            running_since: self.running_since,
            slots: self.slots.values().map(|bound| bound.info.clone()).collect(),
            peers: self.peers.list(),
            control: self.control.control().clone(),
        }
    }

    /// The web-server is gone, and every WebSocket with it. Media goes on.
    pub fn web_server_gone(&mut self, now: Now) {
        self.peers.detach_all(now.instant);
    }

    /// The web-server says something that it expects no reply to.
    pub fn tell_received(&mut self, now: Now, tell: Tell) {
        match tell {
            Tell::FromPeer { peer, message } => self.signal(now, peer, message.0),
            Tell::DetachPeer { peer, socket } => self.peers.detach(now.instant, peer, socket),
        }
    }

    /// Carries out a request of the web-server's. Each is answered exactly once, here or when it is done.
    pub fn request(&mut self, now: Now, asked: Asked, request: AnyRequest) {
        match request {
            AnyRequest::StartSource(request) => self.start_session(now, asked.by(&request)),
            AnyRequest::AddPeer(request) => self.add_peer(now, asked.by(&request), request.join.0),
            AnyRequest::RemovePeer(request) => {
                let to = asked.by(&request);
                let RemovePeer { peer, reason } = request;
                let result = self.remove_peer(peer, reason);
                self.effects.reply(to, result);
            }
            AnyRequest::UpdatePeer(request) => {
                let to = asked.by(&request);
                let result = self.update_peer(now, request);
                self.effects.reply(to, result);
            }
            AnyRequest::PatchPeer(request) => {
                self.patch_peer(asked.by(&request), request.peer, request.patch.0);
            }
            AnyRequest::SendInput(request) => self.send_input(asked.by(&request), request.input.0),
            AnyRequest::TakeSnapshot(request) => {
                let form = Form { format: request.format, width: request.width };
                let waiting = Waiting { to: asked.by(&request), form, unless: request.unless };
                self.snapshot(request.slot, waiting);
            }
            AnyRequest::GetClipboard(request) => {
                self.get_clipboard(asked.by(&request), request.wanted);
            }
            AnyRequest::SetClipboard(request) => {
                self.set_clipboard(asked.by(&request), request.content);
            }
            AnyRequest::BindSlot(request) => {
                self.bind_slot(now, asked.by(&request), request.slot, request.bind.0);
            }
            AnyRequest::ClearSlot(request) => {
                let result = self.clear_slot(now, request.slot);
                self.effects.reply(asked.by(&request), result);
            }
            AnyRequest::ListWindows(request) => self.list_windows(asked.by(&request)),
            AnyRequest::AddSource(request) => {
                let to = asked.by(&request);
                let result = self.add_named(request.name, request.source.0);
                self.effects.reply(to, result);
                self.update_sources(now);
            }
            AnyRequest::RemoveSource(request) => {
                let result = self.remove_named(now, &request.name);
                self.effects.reply(asked.by(&request), result);
                self.update_sources(now);
            }
            AnyRequest::ListSources(request) => self.list_sources(asked.by(&request)),
            AnyRequest::Resize(request) => self.resize(asked.by(&request), &request),
            AnyRequest::ChangeControl(request) => {
                let to = asked.by(&request);
                let result = self.change_control(request.change.0);
                self.effects.reply(to, result.map(Json));
            }
        }
    }

    fn send_input(&mut self, to: ReplyTo<()>, input: InputRequest) {
        // A picture without pixels is one that has not come yet.
        let picture = self.shown_in(input.slot).ok().map(|source| source.info().size);
        let picture = picture.filter(|size| size.width > 0 && size.height > 0);
        match self.open_to_programs().and_then(|()| validate_input(&input, picture)) {
            Ok(()) => self.effects.work(Work::SendInput { to, input }),
            Err(error) => self.effects.refuse(to, error),
        }
    }

    fn get_clipboard(&mut self, to: ReplyTo<request::Clipboard>, wanted: Wanted) {
        match self.not_stalled().and_then(|()| self.clipboard()) {
            Ok(clipboard) => self.effects.work(Work::GetClipboard { to, clipboard, wanted }),
            Err(error) => self.effects.refuse(to, error),
        }
    }

    fn set_clipboard(&mut self, to: ReplyTo<()>, content: Content) {
        match self.open_to_programs().and_then(|()| self.clipboard()) {
            Ok(clipboard) => {
                let outcome = clipboard.set(content, Actor::Api);
                self.effects.work(Work::SetClipboard { to, outcome });
            }
            Err(error) => self.effects.refuse(to, error),
        }
    }

    fn list_windows(&mut self, to: ReplyTo<Json<WindowList>>) {
        let windows = self.sources.main().and_then(|main| main.running()?.windows());
        let windows = self.not_stalled().and(windows.ok_or_else(|| {
            let message = "this streamer has no desktop that windows could be on";
            RequestError::new(Code::NoDesktop, message)
        }));
        match windows {
            Ok(windows) => self.effects.work(Work::ListWindows { to, windows }),
            Err(error) => self.effects.refuse(to, error),
        }
    }

    fn resize(&mut self, to: ReplyTo<()>, request: &Resize) {
        let size = Size { width: request.width, height: request.height };
        let shown = self.open_to_programs().and_then(|()| self.shown_in(request.slot));
        let resized = shown.and_then(|source| {
            check_size(size, source.largest())?;
            Ok(source.resize(size))
        });
        match resized {
            Ok(outcome) => self.effects.work(Work::Resize { to, outcome }),
            Err(error) => self.effects.refuse(to, error),
        }
    }

    /// Whether a program may steer by REST now.
    fn open_to_programs(&self) -> Result<(), RequestError> {
        self.not_stalled().and_then(|()| self.free_for_programs())
    }

    /// Whether the desktop's X server answers, as far as is known.
    fn not_stalled(&self) -> Result<(), RequestError> {
        match self.sources.main().map(|main| (&main.spec, &main.life)) {
            Some((SourceSpec::Desktop(_), Life::Offline(_, reason))) => {
                Err(RequestError::new(Code::Stalled, reason.clone()))
            }
            _ => Ok(()),
        }
    }

    /// The running source that everybody sees in a slot.
    fn shown_in(&self, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        self.check_slot(slot)?;
        let shown = self.slots.get(&slot).map(|bound| &bound.shown.source);
        self.running(shown.map(String::as_str), slot)
    }

    /// The running source that a peer sees in a slot.
    fn shown_to(&self, peer: PeerId, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        let shown = self.seen_by(peer, slot).map(|shown| shown.source.as_str());
        self.running(shown, slot)
    }

    fn running(&self, source: Option<&str>, slot: SlotIndex) -> Result<&dyn Running, RequestError> {
        let nothing = || RequestError::new(Code::SlotInactive, format!("slot {slot} shows nothing"));
        let entry = source.and_then(|name| self.sources.get(name)).ok_or_else(nothing)?;
        entry.running().ok_or_else(|| {
            let message = format!("what slot {slot} shows is not running");
            RequestError::new(Code::SourceOffline, message)
        })
    }

    fn clipboard(&self) -> Result<Arc<dyn source::Clipboard>, RequestError> {
        let clipboard = self.sources.main().and_then(|main| main.running()?.clipboard());
        clipboard.ok_or_else(|| {
            let kind = self.spec.source.as_ref().map_or("streamer without a main", |source| source.kind());
            let message = format!("a {kind} source has no clipboard");
            RequestError::new(Code::NoClipboard, message)
        })
    }

    /// Ends the session. Returns the sources that run, in the order in which they are to end.
    pub fn end(mut self) -> Vec<Box<dyn Running>> {
        // The main source last: others may be made from it.
        let main = self.sources.remove(MAIN_SOURCE);
        let others = self.sources.into_entries();
        others.chain(main).filter_map(|entry| entry.life.into_running()).collect()
    }
}

/// Whether a source that can be `largest` can have this size.
fn check_size(size: Size, largest: Option<Size>) -> Result<(), RequestError> {
    let Some(largest) = largest else { return Ok(()) };
    let sides = [("width", size.width, largest.width), ("height", size.height, largest.height)];
    match sides.into_iter().find(|(_, wanted, largest)| wanted > largest) {
        Some((side, wanted, largest)) => {
            let message = format!(
                "{side}: the screen of this desktop can be at most {largest}, not {wanted}; a streamer is created with \
                 source.max_{side} for more"
            );
            Err(RequestError::new(Code::SizeTooLarge, message).with_field(side))
        }
        None => Ok(()),
    }
}

/// Whether `input` keeps its bounds, those of the picture in its slot too, if that is known. One event that does not
/// makes the whole request invalid: nothing of it is carried out.
fn validate_input(input: &InputRequest, picture: Option<Size>) -> Result<(), RequestError> {
    let invalid = |message| RequestError::new(Code::InvalidInput, message);
    if input.events.len() > MAX_EVENTS {
        let message = format!("events: at most {MAX_EVENTS}, not {}", input.events.len());
        return Err(invalid(message).with_field("events"));
    }
    let named = |(index, error): (usize, InvalidInput)| {
        invalid(format!("events[{index}].{error}")).with_field(&format!("events[{index}]"))
    };
    validate_commands(&input.events).map_err(named)?;
    if let Some(Size { width, height }) = picture {
        for (index, event) in input.events.iter().enumerate() {
            event.validate_inside(width, height).map_err(|error| named((index, error)))?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests;
