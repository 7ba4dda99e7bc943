//! All that is known about one streamer: its life, what it last said, and who waits for what.

use std::collections::{BTreeMap, HashMap};
use std::time::Instant;

use chrono::{DateTime, TimeDelta, Utc};
use common::api::{Peer, Streamer};
use common::audit::AuditAction;
use common::control::Control;
use common::id::{PeerId, StreamerId};
use common::ipc::{Join, SessionState, StreamerIpcMessage};
use common::restart::{LastEnd, Restarts};
use common::signal::{ServerMessage, StreamInfo, StreamerState};
use common::slots::{BindSlot, SlotSource};
use common::spec::StreamerSpec;
use common::stats::StreamerStats;
use tokio::sync::oneshot;

use super::StartError;
use super::arrangement::{Arranged, Arrangement};
use super::request::Denied;
use super::state::{Change, Life, Stage};
use super::store::{Record, Store, Wanted};
use crate::hosts::{self, Hosts};
use crate::signaling::{Close, Socket, socket};
use crate::supervisor::ask::{Ask, JoinAnswer, Joined};
use crate::supervisor::restart::{History, Verdict, Why};
use crate::supervisor::{Failure, Generation, Handle};

/// Why a streamer is started again that need not be.
const ASKED: &str = "a restart was asked for";

/// From 0 to 1, for jitter.
fn random() -> f64 {
    // Without randomness all come back at once, which is bearable.
    getrandom::u32().map_or(0.5, |number| f64::from(number) / f64::from(u32::MAX))
}

/// With what a streamer needs to know of Moonlight hosts.
fn resolved(ask: Ask, hosts: &Hosts) -> Result<Ask, hosts::Error> {
    Ok(match ask {
        Ask::AddSource { name, source } => Ask::AddSource { name, source: hosts.resolve(source)? },
        Ask::BindSlot { slot, bind: BindSlot { source: SlotSource::Spec(source), quality } } => {
            let source = SlotSource::Spec(hosts.resolve(source)?);
            Ask::BindSlot { slot, bind: BindSlot { source, quality } }
        }
        ask => ask,
    })
}

/// A viewer that came before the source ran.
pub(super) struct Joining {
    pub join: Join,
    pub socket: Socket,
    /// Told when it has been passed on to the streamer, or that it never will.
    pub granted: oneshot::Sender<Result<Handle, Denied>>,
    pub answer: JoinAnswer,
}

/// A moment on both clocks: what is measured is measured on one, what is told is told on the other.
#[derive(Debug, Clone, Copy)]
pub(super) struct Moment {
    pub instant: Instant,
    pub time: DateTime<Utc>,
}

impl Moment {
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
    store: Store,
    hosts: Hosts,
    slots: Vec<StreamInfo>,
    peers: BTreeMap<PeerId, Peer>,
    control: Control,
    stats: Option<StreamerStats>,
    sockets: HashMap<PeerId, Socket>,
    joining: Vec<Joining>,
    waiting: Vec<oneshot::Sender<Result<Streamer, StartError>>>,
    /// Told when it is gone.
    deleting: Vec<oneshot::Sender<()>>,
}

impl Session {
    /// A streamer that is being started.
    pub fn new(record: Record, now: DateTime<Utc>, handle: Handle, store: Store, hosts: Hosts) -> Self {
        let Record { id, created, spec, arrangement, history, wanted: _ } = record;
        Self {
            id,
            spec,
            life: Life::new(now),
            handle,
            created,
            arrangement,
            arrange: true,
            history,
            generation: 0,
            due: None,
            asked: None,
            store,
            hosts,
            slots: Vec::new(),
            peers: BTreeMap::new(),
            control: Control::default(),
            stats: None,
            sockets: HashMap::new(),
            joining: Vec::new(),
            waiting: Vec::new(),
            deleting: Vec::new(),
        }
    }

    /// A streamer that ran before we did.
    pub fn adopted(state: SessionState, record: Record, handle: Handle, store: Store, hosts: Hosts) -> Self {
        let mut session = Self::new(record, state.started, handle, store, hosts);
        if let Some(since) = state.running_since {
            session.life = Life { since, stage: Stage::Running };
            // For as long as we know.
            session.history.runs(Instant::now());
            // Whoever started it has seen to that.
            session.arrange = false;
        }
        session.learn(state);
        session
    }

    /// A streamer that failed for good before we came.
    pub fn failed(record: Record, now: DateTime<Utc>, handle: Handle, store: Store, hosts: Hosts) -> Self {
        let mut session = Self::new(record, now, handle, store, hosts);
        let last = session.history.last.clone();
        let failure = match last {
            Some(last) => Failure { exit: last.exit, log: last.log, ..Failure::new(last.reason) },
            None => Failure::new("it ended for good"),
        };
        let since = session.history.last.as_ref().map_or(now, |last| last.at);
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
                _ => Wanted::Running,
            },
            arrangement: self.arrangement.clone(),
            history: self.history.clone(),
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

    fn audit(&self, action: AuditAction, by: &str, detail: Option<String>) {
        super::audit(&self.store, &self.id, action, by, detail);
    }

    /// Takes what a streamer says about itself for the truth.
    pub fn learn(&mut self, state: SessionState) {
        self.slots = state.slots;
        self.set_peers(state.peers);
        self.control = state.control;
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
            reason: self.life.reason().map(str::to_owned),
            created: self.created,
            exit,
            restarts: self.restarts(),
            spec: self.spec.redacted(),
            slots: self.slots.clone(),
            peers: self.peers.values().cloned().collect(),
            control: self.control.clone(),
            stats: self.stats.clone(),
        }
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
        self.life = life;
        let (state, reason) = (self.life.state(), self.life.reason().map(str::to_owned));
        tracing::info!(id = %self.id, ?state, reason, "streamer");
        self.joining.iter().for_each(|joining| joining.socket.send(&self.news_for_joiners()));
        self.broadcast(&ServerMessage::StreamerState { state, reason: reason.clone() });
        match &self.life.stage {
            Stage::Running => {
                self.history.runs(now.instant);
                self.keep();
                if std::mem::take(&mut self.arrange) {
                    self.rearrange();
                }
            }
            Stage::Failed(_) | Stage::Restarting { .. } => self.process_gone(&reason.unwrap_or_default()),
            Stage::Starting | Stage::Stopping { .. } => {}
        }
        self.settle();
    }

    /// The process has ended without having been told to stop: another one takes its place, or none.
    pub fn ended(&mut self, now: Moment, failure: Failure) {
        if matches!(self.life.stage, Stage::Stopping { .. }) {
            return;
        }
        if let Some(by) = self.asked.take() {
            return self.start_again(now, &by, ASKED);
        }
        let Failure { reason, exit, log, .. } = failure.clone();
        self.audit(AuditAction::Ended, "server", Some(reason.clone()));
        let verdict = self.history.ended(now.instant, &self.spec.restart, exit.as_ref(), random());
        self.history.last = Some(LastEnd { at: now.time, reason: reason.clone(), exit, log });
        match verdict {
            Verdict::Again { after } => {
                self.due = Some(now.instant + after);
                let next = TimeDelta::from_std(after).ok().map(|after| now.time + after);
                self.fail_waiting(&failure);
                self.change(now, Change::Restart { reason, next });
            }
            Verdict::Stays(Why::CrashLoop { ends }) => {
                let reason = format!("it ended {ends} times in a row, the last time: {reason}");
                self.change(now, Change::Ended(Failure { reason, ..failure }));
            }
            Verdict::Stays(Why::Policy | Why::Finished | Why::NeverRan) => {
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
        match &self.life.stage {
            Stage::Stopping { .. } => return Err(Denied::Stopping),
            Stage::Failed(_) | Stage::Restarting { next: Some(_), .. } => {
                self.start_again(now, by, ASKED);
            }
            Stage::Starting | Stage::Running | Stage::Restarting { next: None, .. } => {
                self.asked = Some(by.to_owned());
                self.handle.again(self.generation);
                self.change(now, Change::Restart { reason: ASKED.to_owned(), next: None });
            }
        }
        Ok(())
    }

    /// When [`Self::start_if_due`] has something to do.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Starts another process, if its time has come.
    pub fn start_if_due(&mut self, now: Moment) {
        if self.due.is_some_and(|due| due <= now.instant) {
            let reason = self.life.reason().unwrap_or_default().to_owned();
            self.start_again(now, "server", &reason);
        }
    }

    fn start_again(&mut self, now: Moment, by: &str, reason: &str) {
        self.due = None;
        self.arrange = true;
        self.history.started_again();
        self.audit(AuditAction::Restarted, by, Some(reason.to_owned()));
        self.handle.again(self.generation);
        self.generation += 1;
        self.change(now, Change::Restart { reason: reason.to_owned(), next: None });
        self.keep();
    }

    /// What the process had is gone with it.
    fn process_gone(&mut self, reason: &str) {
        self.slots.clear();
        self.peers.clear();
        self.control = Control::default();
        self.stats = None;
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
        for answer in std::mem::take(&mut self.waiting) {
            // Whoever has stopped waiting does not miss it.
            let _ = answer.send(Err(StartError::Failed(Box::new(failure.clone()))));
        }
    }

    /// Gives a new process what an earlier one had at run time.
    fn rearrange(&self) {
        let (id, handle, asks) = (self.id.clone(), self.handle.clone(), self.arrangement.replay());
        let hosts = self.hosts.clone();
        // Commands are passed on in their order, and joins come after this one.
        let first = self.arrangement.replay_first().map(|ask| self.handle.put(ask));
        if let Some(Err(error)) = first {
            tracing::warn!(%id, %error, "a new process is not told who may steer");
        }
        tokio::spawn(async move {
            for ask in asks {
                let what = format!("{ask:?}");
                let done = match resolved(ask, &hosts) {
                    Ok(ask) => handle.ask(ask).await.map(drop).map_err(|error| error.to_string()),
                    Err(error) => Err(error.to_string()),
                };
                if let Err(error) = done {
                    tracing::warn!(%id, what, %error, "a new process cannot be what the old one was");
                }
            }
        });
    }

    /// Answers when the source runs, or never will.
    pub fn wait_started(&mut self, answer: oneshot::Sender<Result<Streamer, StartError>>) {
        self.waiting.push(answer);
        self.settle();
    }

    /// Brings a viewer to the streamer, at once or when its source runs.
    pub fn join(&mut self, joining: Joining) {
        if matches!(self.life.stage, Stage::Starting | Stage::Restarting { .. }) {
            joining.socket.send(&self.news_for_joiners());
        }
        self.joining.push(joining);
        self.settle();
    }

    /// A viewer is a peer now. An older WebSocket of the same peer is closed.
    pub fn attach(&mut self, joined: Joined, socket: Socket, answer: JoinAnswer) {
        let peer = joined.peer;
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

    /// Ends the streamer.
    pub fn stop(&mut self, now: Moment, reason: &str) {
        self.due = None;
        self.change(now, Change::Stop { reason: reason.to_owned() });
        self.handle.stop(reason);
    }

    /// Everything is gone; the session is of no more use.
    pub fn gone(mut self) {
        self.close_sockets(&Close::Streamer("the streamer has ended".into()));
        for answer in self.deleting {
            // Whoever has stopped waiting does not miss it.
            let _ = answer.send(());
        }
    }

    /// Closes every viewer's WebSocket.
    pub fn close_sockets(&mut self, why: &Close) {
        self.sockets.drain().for_each(|(_, socket)| socket.close(why.clone()));
    }

    /// Takes in what the streamer said.
    pub fn said(&mut self, message: StreamerIpcMessage) {
        match message {
            StreamerIpcMessage::SlotsChanged { slots } => {
                self.slots = slots.into_iter().map(|slot| slot.0).collect();
            }
            StreamerIpcMessage::ToPeer { peer, message } => {
                if let Some(socket) = self.sockets.get(&peer) {
                    socket.send(&message.0);
                }
            }
            StreamerIpcMessage::Broadcast { message } => {
                if let ServerMessage::Control(control) = &message.0 {
                    self.control_changed(control.clone());
                }
                self.broadcast(&message.0);
            }
            StreamerIpcMessage::PeerState { peer } => self.peer_state(peer.0),
            StreamerIpcMessage::PeerGone { peer, reason } => {
                tracing::info!(id = %self.id, %peer, reason, "peer gone");
                if self.peers.remove(&peer).is_some() {
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
                tracing::info!(id = %self.id, reason, "the source ended");
            }
            StreamerIpcMessage::Exit { reason } => {
                tracing::debug!(id = %self.id, reason = ?reason.0, "last words")
            }
            other @ (StreamerIpcMessage::Ready(_)
            | StreamerIpcMessage::SourceConnected
            | StreamerIpcMessage::Reply { .. }) => {
                tracing::debug!(id = %self.id, ?other, "unexpected from a streamer");
            }
        }
    }

    fn peer_state(&mut self, peer: Peer) {
        let (id, kind, token) = (peer.id, peer.kind, peer.token_id);
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
        let before = std::mem::replace(&mut self.control, control).holder;
        match self.control.holder {
            holder if holder == before => {}
            Some(holder) => self.audit(AuditAction::ControlChanged, &format!("peer {holder}"), None),
            None => self.audit(AuditAction::ControlChanged, "server", Some("nobody has control".into())),
        }
    }

    fn set_peers(&mut self, peers: Vec<Peer>) {
        self.peers = peers.into_iter().map(|peer| (peer.id, peer)).collect();
    }

    fn broadcast(&self, message: &ServerMessage) {
        let text = socket::to_text(message);
        self.sockets.values().for_each(|socket| socket.broadcast(text.clone()));
    }

    /// Answers those who wait for the start, once it is decided.
    fn settle(&mut self) {
        let decided = match &self.life.stage {
            Stage::Starting | Stage::Restarting { .. } => return,
            Stage::Running => Ok(()),
            Stage::Failed(failure) => Err(StartError::Failed(Box::new(failure.clone()))),
            Stage::Stopping { .. } => Err(StartError::Denied(Denied::Stopping)),
        };
        for answer in std::mem::take(&mut self.waiting) {
            // Whoever has stopped waiting does not miss it.
            let _ = answer.send(decided.clone().map(|()| self.view()));
        }
        for Joining { join, socket, granted, answer } in std::mem::take(&mut self.joining) {
            match super::request::reach(&self.life) {
                Err(denied) => drop(granted.send(Err(denied))),
                // A viewer that has left in the meantime need not join.
                Ok(()) if granted.send(Ok(self.handle.clone())).is_err() => {}
                Ok(()) => self.handle.join(join, socket, answer),
            }
        }
    }
}
