//! All that is known about one streamer: its life, what it last said, and who waits for what.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::{Duration, Instant};

use chrono::{DateTime, TimeDelta, Utc};
use common::api::{Peer, Streamer};
use common::audit::AuditAction;
use common::control::Control;
use common::event::{Happening, PeerSummary};
use common::exit::ExitReason;
use common::id::{PeerId, StreamerId};
use common::ipc::request::{AddPeer, PeerAdded};
use common::ipc::{
    AnyRequest, Code, Join, Json, Payload, Request, RequestError, SessionState, StreamerIpcMessage, request,
};
use common::lifetime::StreamerPatch;
use common::restart::{LastEnd, Restarts};
use common::signal::{ServerMessage, StreamInfo, StreamerState};
use common::spec::StreamerSpec;
use common::stats::StreamerStats;
use tokio::sync::oneshot;

use super::arrangement::{Arranged, Arrangement};
use super::lifetime::{self, Activity, Lifetime, Usage};
use super::operations::{self, OperationError};
use super::request::Denied;
use super::state::{Change, Life, Stage};
use super::store::{Record, Store, Wanted};
use super::{Joined, StartError};
use crate::hosts::{self, Hosts};
use crate::socket::{self, Close, Socket};
use crate::supervisor::ask::{AskError, Ticket};
use crate::supervisor::restart::{History, Verdict, Why};
use crate::supervisor::{Failure, Generation, Handle};

/// What viewers are told that were about to join a streamer that is stopped.
const STOPPED: &str = "the streamer was stopped, as nobody used it";
/// How long a desktop's command must last before whoever waits for its start is told that it runs: a shell takes a moment to find
/// that there is no such program.
const COMMAND_PROVES: Duration = Duration::from_secs(1);
/// Why a streamer is started again that need not be.
const ASKED: &str = "a restart was asked for";

/// From 0 to 1, for jitter.
fn random() -> f64 {
    // Without randomness all come back at once, which is bearable.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// With what a streamer needs to know of Moonlight hosts.
fn resolved(request: AnyRequest, hosts: &Hosts) -> Result<AnyRequest, hosts::Error> {
    Ok(match request {
        AnyRequest::AddSource(request::AddSource { name, source: Json(source) }) => {
            request::AddSource { name, source: Json(hosts.resolve(source)?) }.into()
        }
        AnyRequest::BindSlot(request::BindSlot { slot, bind: Json(bind) }) => {
            request::BindSlot { slot, bind: Json(operations::resolve(bind, hosts)?) }.into()
        }
        request => request,
    })
}

/// A viewer that is not a peer yet.
pub(super) struct Joining {
    pub join: Join,
    pub socket: Socket,
    /// Where it waits to be one.
    pub answer: oneshot::Sender<Result<Joined, OperationError>>,
}

/// What is done with a reply when it comes.
type Then = Box<dyn FnOnce(&mut Session, Result<Payload, AskError>) + Send>;

/// A moment on both clocks: what is measured is measured on one, what is told is told on the other.
#[derive(Debug, Clone, Copy)]
pub struct Moment {
    /// On the one that only goes on.
    pub instant: Instant,
    /// On the calendar's.
    pub time: DateTime<Utc>,
}

impl Moment {
    /// Both, now.
    #[expect(
        clippy::disallowed_methods,
        reason = "the one place of the registry where the time is asked for"
    )]
    pub fn now() -> Self {
        Self { instant: Instant::now(), time: Utc::now() }
    }
}

pub(super) struct Session {
    pub id: StreamerId,
    pub spec: StreamerSpec,
    pub life: Life,
    pub handle: Handle,
    created: DateTime<Utc>,
    arrangement: Arrangement,
    /// The process does not have the arrangement yet.
    arrange: bool,
    history: History,
    /// Which of its processes is, or was, the last.
    generation: Generation,
    /// When another process is to be started, while that is waited for.
    due: Option<Instant>,
    /// Who has had its process told to end for another one.
    asked: Option<String>,
    /// Its process was told to end for none, and has not yet.
    halting: bool,
    lifetime: Lifetime,
    usage: Usage,
    /// Its lifetime is over: it is forgotten when it is gone.
    retired: bool,
    store: Store,
    hosts: Hosts,
    slots: Vec<StreamInfo>,
    peers: BTreeMap<PeerId, Peer>,
    control: Control,
    stats: Option<StreamerStats>,
    /// Why its source gives no pictures, while it is retried.
    absent: Option<String>,
    sockets: HashMap<PeerId, Socket>,
    joining: Vec<Joining>,
    /// What is done with the replies that are to come. At most as many as the supervisor lets wait.
    replies: HashMap<Ticket, Then>,
    /// The last ticket that was given out.
    tickets: u64,
    waiting: Vec<oneshot::Sender<Result<Streamer, StartError>>>,
    /// Until when its command may turn out to be no good, since it was started: whoever waits is not answered before.
    proves: Option<Instant>,
    /// Told when it is gone.
    deleting: Vec<oneshot::Sender<()>>,
    /// What has happened to it that nobody was told of yet. Fetched after each event and call.
    happenings: Vec<Happening>,
    /// Another process, elsewhere, has taken its place.
    given_up: bool,
}

impl Session {
    /// A streamer that is being started.
    pub fn new(record: Record, now: Moment, handle: Handle, store: Store, hosts: Hosts) -> Self {
        let Record { id, created, spec, arrangement, history, lifetime, wanted: _ } = record;
        Self {
            id,
            spec,
            life: Life::new(now.time),
            handle,
            created,
            arrangement,
            arrange: true,
            history,
            generation: 0,
            due: None,
            asked: None,
            halting: false,
            lifetime,
            usage: Usage::new(now),
            retired: false,
            store,
            hosts,
            slots: Vec::new(),
            peers: BTreeMap::new(),
            control: Control::default(),
            stats: None,
            absent: None,
            sockets: HashMap::new(),
            joining: Vec::new(),
            replies: HashMap::new(),
            tickets: 0,
            waiting: Vec::new(),
            proves: None,
            deleting: Vec::new(),
            happenings: Vec::new(),
            given_up: false,
        }
    }

    /// A streamer that ran before we did.
    pub fn adopted(
        state: SessionState,
        now: Moment,
        record: Record,
        handle: Handle,
        store: Store,
        hosts: Hosts,
    ) -> Self {
        let mut session = Self::new(record, now, handle, store, hosts);
        session.life = Life::new(state.started);
        if let Some(since) = state.running_since {
            session.life = Life { since, stage: Stage::Running };
            // For as long as we know.
            session.history.runs(now.instant);
            // Whoever started it has seen to that.
            session.arrange = false;
        }
        session.learn(state);
        // That was so before.
        session.happenings.clear();
        session
    }

    /// A streamer that failed for good, or was stopped, before we came.
    pub fn dormant(record: Record, now: Moment, handle: Handle, store: Store, hosts: Hosts) -> Self {
        let stopped = record.wanted == Wanted::Stopped;
        let mut session = Self::new(record, now, handle, store, hosts);
        if stopped {
            session.life.stage = Stage::Stopped { reason: "nobody used it (idle_timeout_s)".into() };
            return session;
        }
        let last = session.history.last.clone();
        let failure = match last {
            Some(last) => Failure { exit: last.exit, log: last.log, ..Failure::new(last.reason) },
            None => Failure::new("it ended for good"),
        };
        let since = session.history.last.as_ref().map_or(now.time, |last| last.at);
        session.life = Life { since, stage: Stage::Failed(failure) };
        session
    }

    /// As it is to be kept.
    pub fn record(&self) -> Record {
        Record {
            id: self.id.clone(),
            created: self.created,
            spec: self.spec.clone(),
            wanted: match self.life.stage {
                Stage::Failed(_) => Wanted::Ended,
                Stage::Stopped { .. } => Wanted::Stopped,
                _ => Wanted::Running,
            },
            arrangement: self.arrangement.clone(),
            history: self.history.clone(),
            lifetime: self.lifetime,
        }
    }

    /// The same, unless it is about to be deleted.
    pub fn kept(&self) -> Option<Record> {
        self.deleting.is_empty().then(|| self.record())
    }

    /// It has done something that its next process shall do again.
    pub fn arranged(&mut self, arranged: Arranged) {
        self.arrangement.take(&self.spec, arranged);
        self.keep();
    }

    fn keep(&self) {
        if let Some(record) = self.kept() {
            self.store.put(record);
        }
    }

    /// Makes a request of the streamer. `then` has the reply in its place among all that the streamer says.
    pub fn ask<R: Request>(
        &mut self,
        request: R,
        then: impl FnOnce(&mut Self, Result<R::Reply, AskError>) + Send + 'static,
    ) {
        let read = |payload: Payload| payload.read().map_err(AskError::from);
        self.ask_any(request.into(), move |session, reply| then(session, reply.and_then(read)));
    }

    /// The same, of any request; only its own type can be read from the reply.
    fn ask_any(
        &mut self,
        request: AnyRequest,
        then: impl FnOnce(&mut Self, Result<Payload, AskError>) + Send + 'static,
    ) {
        self.tickets += 1;
        let ticket = Ticket(self.tickets);
        match self.handle.request(ticket, request) {
            Ok(()) => drop(self.replies.insert(ticket, Box::new(then))),
            Err(error) => then(self, Err(error)),
        }
    }

    /// The reply to a request has come, or never will.
    pub fn replied(&mut self, ticket: Ticket, reply: Result<Payload, AskError>) {
        if let Some(then) = self.replies.remove(&ticket) {
            then(self, reply);
        }
    }

    pub(super) fn audit(&self, action: AuditAction, by: &str, detail: Option<String>) {
        super::audit(&self.store, &self.id, action, by, detail);
    }

    /// Takes what a streamer says about itself for the truth.
    pub fn learn(&mut self, state: SessionState) {
        self.slots = state.slots;
        self.set_peers(state.peers);
        self.set_control(state.control);
    }

    /// Whoever listens is to be told of this.
    pub fn happened(&mut self, what: Happening) {
        if !self.given_up {
            self.happenings.push(what);
        }
    }

    /// What nobody was told of yet.
    pub fn take_happenings(&mut self) -> Vec<Happening> {
        std::mem::take(&mut self.happenings)
    }

    /// As clients see it.
    pub fn view(&self) -> Streamer {
        let exit = match &self.life.stage {
            Stage::Failed(failure) => failure.exit.clone(),
            _ => None,
        };
        Streamer {
            id: self.id.clone(),
            state: self.life.state(),
            since: self.life.since,
            reason: self.reason(),
            created: self.created,
            expires_at: self.lifetime.expires_at,
            idle_timeout_s: self.lifetime.idle_timeout_s,
            on_idle: self.lifetime.on_idle,
            idle_since: self.usage.idle_since().map(|since| since.time),
            exit,
            restarts: self.restarts(),
            spec: self.spec.redacted(),
            slots: self.slots.clone(),
            peers: self.peers.values().cloned().collect(),
            control: self.control.clone(),
            stats: self.stats.clone(),
            pointer: None,
            node: None,
        }
    }

    /// Why it is in its state, or runs without a picture.
    fn reason(&self) -> Option<String> {
        let absent = self.absent.as_ref().filter(|_| self.life.stage == Stage::Running);
        let absent = absent.map(|reason| format!("its source is offline: {reason}"));
        absent.or_else(|| self.life.reason().map(str::to_owned))
    }

    fn restarts(&self) -> Restarts {
        let next = match &self.life.stage {
            Stage::Restarting { next, .. } => *next,
            _ => None,
        };
        Restarts { count: self.history.count, next, last: self.history.last.clone() }
    }

    /// A peer, if it is known.
    pub fn peer(&self, peer: PeerId) -> Option<Peer> {
        self.peers.get(&peer).cloned()
    }

    /// Goes on with its life, and tells everybody whom it concerns.
    pub fn change(&mut self, now: Moment, change: Change) {
        let Some(life) = self.life.after(now.time, change) else { return };
        let before = std::mem::replace(&mut self.life, life);
        let state = self.life.state();
        let reason = self.life.reason().map(str::to_owned);
        tracing::info!(id = %self.id, ?state, reason, "streamer");
        for joining in &self.joining {
            joining.socket.send(&self.news_for_joiners());
        }
        self.broadcast(&ServerMessage::StreamerState { state, reason: reason.clone() });
        self.happened(Happening::State { state, reason: reason.clone() });
        match &self.life.stage {
            Stage::Running => {
                if before.stage == Stage::Starting {
                    // However long that took, nobody could use it before.
                    self.usage.used(now);
                }
                self.history.runs(now.instant);
                self.keep();
                self.proves = self.spec.has_command().then(|| now.instant + COMMAND_PROVES);
                if std::mem::take(&mut self.arrange) {
                    self.rearrange();
                }
            }
            Stage::Failed(_) | Stage::Stopped { .. } | Stage::Restarting { .. } => {
                self.process_gone(&reason.unwrap_or_default())
            }
            Stage::Starting | Stage::Stopping { .. } => {}
        }
        self.reply_to_waiting();
        if self.life.stage != Stage::Running {
            self.proves = None;
        }
    }

    /// The process has ended without having been told to stop: another one takes its place, or none.
    pub fn ended(&mut self, now: Moment, failure: Failure) {
        if matches!(self.life.stage, Stage::Stopping { .. }) {
            return;
        }
        let halted = std::mem::take(&mut self.halting);
        if let Some(by) = self.asked.take() {
            return self.restart_now(now, &by, ASKED);
        }
        if halted {
            // Whatever it said meanwhile is gone with it, too.
            return self.process_gone(STOPPED);
        }
        let Failure { reason, exit, log, .. } = failure.clone();
        self.audit(AuditAction::Ended, "server", Some(reason.clone()));
        self.happened(Happening::Ended { reason: reason.clone(), exit: exit.clone() });
        let verdict = self.history.ended(now.instant, &self.spec.restart, exit.as_ref(), random());
        self.history.last = Some(LastEnd { at: now.time, reason: reason.clone(), exit, log });
        match verdict {
            Verdict::Restart { after } => {
                self.due = Some(now.instant + after);
                let next = TimeDelta::from_std(after).ok().map(|after| now.time + after);
                self.fail_waiting(&failure);
                self.change(now, Change::Restart { reason, next });
            }
            Verdict::StayEnded(Why::CrashLoop { ends }) => {
                let reason = format!("it ended {ends} times in a row, the last time: {reason}");
                self.change(now, Change::Ended(Failure { reason, ..failure }));
            }
            Verdict::StayEnded(Why::Policy | Why::Finished | Why::NeverRan) => {
                self.change(now, Change::Ended(failure));
            }
        }
        self.keep();
    }

    /// Another process shall take the place of this one, or of the last.
    ///
    /// # Errors
    /// It is stopping.
    pub fn restart(&mut self, now: Moment, by: &str) -> Result<(), Denied> {
        self.history.forgive();
        self.usage.used(now);
        match &self.life.stage {
            Stage::Stopping { .. } => return Err(Denied::Stopping),
            Stage::Stopped { .. } if !self.halting => self.restart_now(now, by, ASKED),
            Stage::Failed(_) | Stage::Restarting { next: Some(_), .. } => {
                self.restart_now(now, by, ASKED);
            }
            Stage::Starting
            | Stage::Running
            | Stage::Stopped { .. }
            | Stage::Restarting { next: None, .. } => {
                self.asked = Some(by.to_owned());
                self.handle.replace(self.generation);
                self.change(now, Change::Restart { reason: ASKED.to_owned(), next: None });
            }
        }
        Ok(())
    }

    /// When [`Self::start_if_due`] or [`Self::reply_if_proven`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        let proven = self.proves.filter(|_| !self.waiting.is_empty());
        self.due.into_iter().chain(proven).min()
    }

    /// Replies to those who wait for the start, if the command has lasted long enough.
    pub fn reply_if_proven(&mut self, now: Moment) {
        if self.proves.take_if(|until| *until <= now.instant).is_some() {
            self.reply_to_waiting();
        }
    }

    /// When [`Self::end_if_over`] has something to do, if nothing else happens before.
    pub fn ends(&self, now: Moment) -> Option<Instant> {
        match self.verdict(now) {
            lifetime::Verdict::Lives { until } => until,
            lifetime::Verdict::Stop { .. } | lifetime::Verdict::Delete { .. } => Some(now.instant),
        }
    }

    /// Ends the streamer, if its lifetime is over.
    pub fn end_if_over(&mut self, now: Moment) {
        match self.verdict(now) {
            lifetime::Verdict::Lives { .. } => {}
            lifetime::Verdict::Stop { reason } => self.halt(now, reason),
            lifetime::Verdict::Delete { reason } => {
                self.audit(AuditAction::Deleted, "server", Some(reason.clone()));
                // It is forgotten when it is gone: who takes over from us in between ends it, too.
                self.retired = true;
                self.stop(now, &reason);
            }
        }
    }

    fn halt(&mut self, now: Moment, reason: String) {
        self.audit(AuditAction::Stopped, "server", Some(reason.clone()));
        // While it waits to be started again, there is no process to end.
        self.halting = self.due.take().is_none();
        self.handle.halt(self.generation);
        self.change(now, Change::Halt { reason });
        self.keep();
    }

    /// Ends its process until a restart is asked for. Whether it has one that could be ended now.
    pub fn pause(&mut self, now: Moment, reason: String) -> bool {
        let active = self.activity() == Activity::Active;
        if active {
            self.send_away(&reason);
            self.halt(now, reason);
        }
        active
    }

    /// Viewers come back, to wherever it runs then.
    fn send_away(&mut self, reason: &str) {
        let state = StreamerState::Restarting;
        self.broadcast(&ServerMessage::StreamerState { state, reason: Some(reason.to_owned()) });
        self.close_sockets(&Close::Streamer(reason.to_owned()));
        for Joining { answer, .. } in std::mem::take(&mut self.joining) {
            // A viewer that has left does not miss it.
            let _ = answer.send(Err(Denied::Restarting(reason.to_owned()).into()));
        }
    }

    fn verdict(&self, now: Moment) -> lifetime::Verdict {
        lifetime::decide(&self.lifetime, &self.usage, self.activity(), now)
    }

    fn activity(&self) -> Activity {
        match &self.life.stage {
            Stage::Starting => Activity::Starting,
            // Until its process has ended, nothing can be stopped.
            Stage::Restarting { next: None, .. } => Activity::Starting,
            Stage::Running | Stage::Restarting { next: Some(_), .. } => Activity::Active,
            Stage::Failed(_) | Stage::Stopped { .. } => Activity::Ended,
            Stage::Stopping { .. } => Activity::Stopping,
        }
    }

    /// Somebody asks it to do something.
    pub fn used(&mut self, now: Moment) {
        self.usage.used(now);
    }

    /// After whatever may have changed who watches.
    pub fn notice(&mut self, now: Moment) {
        let watched = !(self.peers.is_empty() && self.sockets.is_empty() && self.joining.is_empty());
        self.usage.watched(now, watched);
    }

    /// Changes how long it lives.
    ///
    /// # Errors
    /// It is stopping.
    pub fn patch(&mut self, now: Moment, patch: StreamerPatch, by: &str) -> Result<(), Denied> {
        if matches!(self.life.stage, Stage::Stopping { .. }) {
            return Err(Denied::Stopping);
        }
        self.lifetime = self.lifetime.changed(patch, now.time);
        self.usage.used(now);
        self.audit(AuditAction::LifetimeChanged, by, Some(self.lifetime.describe()));
        self.keep();
        Ok(())
    }

    /// Its process ends as it was told to, which is no failure.
    pub fn ends_as_told(&self) -> bool {
        self.halting || self.asked.is_some()
    }

    /// Starts another process, if its time has come.
    pub fn start_if_due(&mut self, now: Moment) {
        if self.due.is_some_and(|due| due <= now.instant) {
            let reason = self.life.reason().unwrap_or_default().to_owned();
            self.restart_now(now, "server", &reason);
        }
    }

    fn restart_now(&mut self, now: Moment, by: &str, reason: &str) {
        self.due = None;
        self.arrange = true;
        self.history.restarted();
        self.audit(AuditAction::Restarted, by, Some(reason.to_owned()));
        self.handle.replace(self.generation);
        self.generation += 1;
        self.change(now, Change::Restart { reason: reason.to_owned(), next: None });
        self.keep();
    }

    /// What the process had is gone with it.
    fn process_gone(&mut self, reason: &str) {
        self.slots.clear();
        for peer in std::mem::take(&mut self.peers).into_keys() {
            self.happened(Happening::PeerLeft { peer, reason: Some(reason.to_owned()) });
        }
        self.set_control(Control::default());
        self.stats = None;
        self.absent = None;
        self.close_sockets(&Close::Streamer(reason.to_owned()));
    }

    /// To whoever is not yet a peer, one process is as good as another: only whether it is worth waiting matters.
    fn news_for_joiners(&self) -> ServerMessage {
        let state = match self.life.state() {
            StreamerState::Restarting => StreamerState::Starting,
            state => state,
        };
        ServerMessage::StreamerState { state, reason: self.life.reason().map(str::to_owned) }
    }

    /// Whoever waits for the start is told why it did not work, even if it is tried again.
    fn fail_waiting(&mut self, failure: &Failure) {
        let failed = Err(self.failed_start(failure));
        for answer in std::mem::take(&mut self.waiting) {
            // Fails when nobody waits any more.
            let _ = answer.send(failed.clone());
        }
    }

    /// How a start failed: of a command that has just been started, as if it could not be.
    fn failed_start(&self, failure: &Failure) -> StartError {
        let mut failure = failure.clone();
        let by_command =
            failure.exit.as_ref().is_some_and(|exit| matches!(exit.reason, ExitReason::SourceEnded { .. }));
        if self.proves.is_some() && by_command && failure.error.is_none() {
            let error = RequestError::new(Code::CommandFailed, &failure.reason);
            failure.error = Some(error.with_field("source.command"));
        }
        StartError::Failed(Box::new(failure))
    }

    /// Gives a new process what an earlier one had at run time.
    fn rearrange(&mut self) {
        // Requests are passed on in their order, and joins come after this one.
        if let Some(request) = self.arrangement.replay_first() {
            self.ask(request, |session, control| {
                if let Err(error) = control {
                    tracing::warn!(id = %session.id, %error, "a new process does not know who may steer");
                }
            });
        }
        self.replay(self.arrangement.replay().into());
    }

    /// Makes these requests, one after the other, as a slot may show a source that is to be added. One whose effect was
    /// changed by a client meanwhile is left out.
    fn replay(&mut self, mut requests: VecDeque<AnyRequest>) {
        let still = self.arrangement.replay();
        let next = std::iter::from_fn(|| requests.pop_front()).find(|request| still.contains(request));
        let Some(request) = next else { return };
        let arranged = Arranged::by(&request);
        let what = format!("{request:?}");
        match resolved(request, &self.hosts) {
            Ok(request) => self.ask_any(request, move |session, reply| match reply {
                Ok(_) => {
                    // A client's may have been done before this one: what was done last is kept.
                    if let Some(arranged) = arranged {
                        session.arranged(arranged);
                    }
                    session.replay(requests);
                }
                // With the process: the next one is given everything.
                Err(AskError::Gone) => {}
                Err(error) => {
                    session.warn_of_replay(&what, &error);
                    session.replay(requests);
                }
            }),
            Err(error) => {
                self.warn_of_replay(&what, &error);
                self.replay(requests);
            }
        }
    }

    fn warn_of_replay(&self, what: &str, error: &dyn std::error::Error) {
        tracing::warn!(id = %self.id, what, %error, "a new process cannot be what the old one was");
    }

    /// Answers when the source runs, or never will.
    pub fn wait_started(&mut self, now: Moment, answer: oneshot::Sender<Result<Streamer, StartError>>) {
        self.waiting.push(answer);
        self.reply_if_proven(now);
        self.reply_to_waiting();
    }

    /// Brings a viewer to the streamer, at once or when its source runs.
    pub fn join(&mut self, joining: Joining) {
        if matches!(self.life.stage, Stage::Starting | Stage::Restarting { .. }) {
            joining.socket.send(&self.news_for_joiners());
        }
        self.joining.push(joining);
        self.reply_to_waiting();
    }

    /// A viewer is a peer now. An older WebSocket of the same peer is closed.
    fn attach(
        &mut self,
        added: PeerAdded,
        socket: Socket,
        answer: oneshot::Sender<Result<Joined, OperationError>>,
    ) {
        let peer = added.peer;
        let joined = Joined { streamer: self.handle.clone(), peer, answer: added.answer };
        // The streamer goes by the newer one from now on, whether or not that is still there.
        if let Some(older) = self.sockets.remove(&peer) {
            older.close(Close::Peer("replaced by a newer connection of this peer".into()));
        }
        if answer.send(Ok(joined)).is_err() {
            // The viewer went away while it joined.
            return self.handle.leave(peer, socket.number(), false);
        }
        self.sockets.insert(peer, socket);
    }

    /// A WebSocket has ended, unless a newer one has taken its place.
    pub fn leave(&mut self, peer: PeerId, socket: u64, said_bye: bool) {
        if self.sockets.get(&peer).is_some_and(|current| current.number() == socket) {
            self.sockets.remove(&peer);
            self.handle.leave(peer, socket, said_bye);
        }
    }

    /// Answers when everything is gone.
    pub fn delete(&mut self, now: Moment, reason: &str, gone: oneshot::Sender<()>) {
        self.deleting.push(gone);
        self.store.remove(self.id.clone());
        self.stop(now, reason);
    }

    /// When it was created.
    pub fn created(&self) -> DateTime<Utc> {
        self.created
    }

    /// Another process, elsewhere, has taken its place.
    pub fn give_up(&mut self, now: Moment, reason: &str) {
        self.given_up = true;
        self.send_away(reason);
        let (nobody_waits, _) = oneshot::channel();
        self.delete(now, reason, nobody_waits);
    }

    /// Another process, elsewhere, has taken its place: what happens to this one concerns nobody.
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Ends the streamer.
    pub fn stop(&mut self, now: Moment, reason: &str) {
        self.due = None;
        self.change(now, Change::Stop { reason: reason.to_owned() });
        self.handle.stop(reason);
    }

    /// It is to be no more: somebody has asked for that, or its time is over.
    pub fn is_deleted(&self) -> bool {
        self.retired || !self.deleting.is_empty()
    }

    /// Everything is gone; the session is of no more use.
    pub fn gone(mut self) {
        if self.retired {
            self.store.remove(self.id.clone());
        }
        self.close_sockets(&Close::Streamer("the streamer has ended".into()));
        for answer in self.deleting {
            // Fails when nobody waits any more.
            let _ = answer.send(());
        }
    }

    /// Closes every viewer's WebSocket.
    pub fn close_sockets(&mut self, why: &Close) {
        for (_, socket) in self.sockets.drain() {
            socket.close(why.clone());
        }
    }

    /// Its source gives pictures, or the session has begun to run without them.
    pub fn source_runs(&mut self, now: Moment) {
        if self.life.stage == Stage::Running {
            self.absent = None;
        }
        self.change(now, Change::SourceRuns);
    }

    /// Takes in what the streamer said.
    pub fn said(&mut self, message: StreamerIpcMessage) {
        if self.halting {
            // Last words; what it was is gone already.
            return;
        }
        match message {
            StreamerIpcMessage::SlotsChanged { slots } => {
                self.slots = slots.into_iter().map(|slot| slot.0).collect();
            }
            StreamerIpcMessage::ToPeer { peer, message } => {
                if let Some(socket) = self.sockets.get(&peer) {
                    socket.send(&message.0);
                }
            }
            StreamerIpcMessage::Broadcast { message } => self.broadcast(&message.0),
            StreamerIpcMessage::ControlChanged { control: Json(control) } => {
                self.control_changed(control.clone());
                self.broadcast(&ServerMessage::Control(control));
            }
            StreamerIpcMessage::PeerState { peer } => self.peer_state(peer.0),
            StreamerIpcMessage::PeerGone { peer, reason } => {
                tracing::info!(id = %self.id, %peer, reason, "peer gone");
                if self.peers.remove(&peer).is_some() {
                    self.happened(Happening::PeerLeft { peer, reason: Some(reason.clone()) });
                    self.audit(AuditAction::Left, &format!("peer {peer}"), Some(reason.clone()));
                }
                if let Some(socket) = self.sockets.remove(&peer) {
                    socket.close(Close::Peer(reason));
                }
            }
            StreamerIpcMessage::Stats { stats, peers } => {
                self.stats = Some(stats.0);
                self.set_peers(peers.into_iter().map(|peer| peer.0).collect());
            }
            StreamerIpcMessage::SourceLost { reason } => {
                tracing::info!(id = %self.id, reason, "the source is lost");
                self.absent = Some(reason);
            }
            // What is the registry's to tell is not the streamer's.
            StreamerIpcMessage::Happened { what } if what.0.is_of_session() => {
                if matches!(what.0, Happening::WindowOpened { .. }) && self.proves.take().is_some() {
                    // A program that has opened a window has begun to work.
                    self.reply_to_waiting();
                }
                self.happened(what.0);
            }
            StreamerIpcMessage::Exit { reason } => {
                tracing::debug!(id = %self.id, reason = ?reason.0, "last words")
            }
            other @ (StreamerIpcMessage::Ready(_)
            | StreamerIpcMessage::SourceConnected
            | StreamerIpcMessage::Happened { .. }
            | StreamerIpcMessage::Reply { .. }) => {
                tracing::debug!(id = %self.id, ?other, "unexpected from a streamer");
            }
        }
    }

    fn peer_state(&mut self, peer: Peer) {
        let id = peer.id;
        let kind = peer.kind;
        let token = peer.token_id;
        self.compare_peer(&peer);
        if let Some(socket) = self.sockets.get(&id) {
            socket.state(peer.state);
        }
        if self.peers.insert(id, peer).is_none() {
            let by = token.map(|token| format!(" by token {token}")).unwrap_or_default();
            let detail = format!("{}{by}", format!("{kind:?}").to_lowercase());
            self.audit(AuditAction::Joined, &format!("peer {id}"), Some(detail));
        }
    }

    fn control_changed(&mut self, control: Control) {
        let before = self.control.holder;
        self.set_control(control);
        match self.control.holder {
            holder if holder == before => {}
            Some(holder) => self.audit(AuditAction::ControlChanged, &format!("peer {holder}"), None),
            None => self.audit(AuditAction::ControlChanged, "server", Some("nobody has control".into())),
        }
    }

    fn set_control(&mut self, control: Control) {
        if self.control != control {
            self.happened(Happening::from(&control));
            self.control = control;
        }
    }

    fn set_peers(&mut self, peers: Vec<Peer>) {
        for peer in &peers {
            self.compare_peer(peer);
        }
        let now = peers.into_iter().map(|peer| (peer.id, peer)).collect();
        let before = std::mem::replace(&mut self.peers, now);
        for peer in before.into_keys().filter(|peer| !self.peers.contains_key(peer)).collect::<Vec<_>>() {
            self.happened(Happening::PeerLeft { peer, reason: None });
        }
    }

    /// Before a peer is known as it is now.
    fn compare_peer(&mut self, peer: &Peer) {
        let now = PeerSummary::from(peer);
        match self.peers.get(&peer.id).map(PeerSummary::from) {
            None => self.happened(Happening::PeerJoined(now)),
            Some(before) if before != now => self.happened(Happening::PeerChanged(now)),
            Some(_) => {}
        }
    }

    fn broadcast(&self, message: &ServerMessage) {
        let text = socket::to_text(message);
        for socket in self.sockets.values() {
            socket.broadcast(text.clone());
        }
    }

    /// Replies to those who wait for the start, once its outcome is known.
    fn reply_to_waiting(&mut self) {
        let decided = match &self.life.stage {
            Stage::Starting | Stage::Restarting { .. } => return,
            Stage::Running => Ok(()),
            // A command that has already finished counts as started.
            Stage::Failed(failure) if self.proves.is_some() && failure.is_finished() => Ok(()),
            Stage::Failed(failure) => Err(self.failed_start(failure)),
            Stage::Stopped { reason } => Err(StartError::Denied(Denied::Stopped(reason.clone()))),
            Stage::Stopping { .. } => Err(StartError::Denied(Denied::Stopping)),
        };
        let unproven = self.life.stage == Stage::Running && self.proves.is_some();
        let waiting = if unproven { Vec::new() } else { std::mem::take(&mut self.waiting) };
        for answer in waiting {
            // Fails when nobody waits any more.
            let _ = answer.send(decided.clone().map(|()| self.view()));
        }
        for Joining { join, socket, answer } in std::mem::take(&mut self.joining) {
            match super::request::reach(&self.life) {
                Err(denied) => drop(answer.send(Err(denied.into()))),
                // A viewer that has left in the meantime need not join.
                Ok(()) if answer.is_closed() => {}
                Ok(()) => self.ask(AddPeer { join: Json(join) }, move |session, added| match added {
                    Ok(added) => session.attach(added, socket, answer),
                    // A viewer that has left does not miss it.
                    Err(error) => drop(answer.send(Err(error.into()))),
                }),
            }
        }
    }
}

#[cfg(test)]
mod tests;
