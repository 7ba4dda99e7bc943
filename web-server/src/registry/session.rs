//! All that is known about one streamer: its life, what it last said, and who waits for what.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, Utc};
use common::api::{Peer, Streamer};
use common::audit::AuditAction;
use common::control::Control;
use common::id::{PeerId, StreamerId};
use common::ipc::{Join, SessionState, StreamerIpcMessage};
use common::signal::{ServerMessage, StreamInfo};
use common::spec::StreamerSpec;
use common::stats::StreamerStats;
use tokio::sync::oneshot;

use super::StartError;
use super::arrangement::{Arranged, Arrangement};
use super::request::Denied;
use super::state::{Change, Life, Stage};
use super::store::{Record, Store, Wanted};
use crate::signaling::{Close, Socket, socket};
use crate::supervisor::Handle;
use crate::supervisor::ask::{JoinAnswer, Joined};

/// A viewer that came before the source ran.
pub(super) struct Joining {
    pub join: Join,
    pub socket: Socket,
    /// Told when it has been passed on to the streamer, or that it never will.
    pub granted: oneshot::Sender<Result<Handle, Denied>>,
    pub answer: JoinAnswer,
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
    store: Store,
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
    pub fn new(record: Record, now: DateTime<Utc>, handle: Handle, store: Store) -> Self {
        let Record { id, created, spec, arrangement, wanted: _ } = record;
        Self {
            id,
            spec,
            life: Life::new(now),
            handle,
            created,
            arrangement,
            arrange: true,
            store,
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
    pub fn adopted(
        state: SessionState,
        created: DateTime<Utc>,
        handle: Handle,
        arrangement: Arrangement,
        store: Store,
    ) -> Self {
        let (id, spec, wanted) = (state.id.clone(), state.spec.clone(), Wanted::Running);
        let mut session =
            Self::new(Record { id, created, spec, wanted, arrangement }, state.started, handle, store);
        if let Some(since) = state.running_since {
            session.life = Life { since, stage: Stage::Running };
            // Whoever started it has seen to that.
            session.arrange = false;
        }
        session.learn(state);
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
            spec: self.spec.redacted(),
            slots: self.slots.clone(),
            peers: self.peers.values().cloned().collect(),
            control: self.control.clone(),
            stats: self.stats.clone(),
        }
    }

    /// A peer, if it is known.
    pub fn peer(&self, peer: PeerId) -> Option<Peer> {
        self.peers.get(&peer).cloned()
    }

    /// Goes on with its life, and tells everybody whom it concerns.
    pub fn change(&mut self, now: DateTime<Utc>, change: Change) {
        let Some(life) = self.life.after(now, change) else { return };
        self.life = life;
        let state = self.life.state();
        tracing::info!(id = %self.id, ?state, reason = self.life.reason(), "streamer");
        let message = ServerMessage::StreamerState { state, reason: self.life.reason().map(str::to_owned) };
        self.joining.iter().for_each(|joining| joining.socket.send(&message));
        self.broadcast(&message);
        self.settle();
        match &self.life.stage {
            Stage::Running if std::mem::take(&mut self.arrange) => self.rearrange(),
            Stage::Failed(failure) => {
                let reason = failure.reason.clone();
                self.audit(AuditAction::Ended, "server", Some(reason.clone()));
                self.keep();
                self.slots.clear();
                self.peers.clear();
                self.close_sockets(&Close::Streamer(reason));
            }
            _ => {}
        }
    }

    /// Gives a new process what an earlier one had at run time.
    fn rearrange(&self) {
        let (id, handle, asks) = (self.id.clone(), self.handle.clone(), self.arrangement.replay());
        tokio::spawn(async move {
            for ask in asks {
                let what = format!("{ask:?}");
                if let Err(error) = handle.ask(ask).await {
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
        if matches!(self.life.stage, Stage::Starting) {
            let state = self.life.state();
            joining.socket.send(&ServerMessage::StreamerState { state, reason: None });
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
    pub fn delete(&mut self, now: DateTime<Utc>, reason: &str, gone: oneshot::Sender<()>) {
        self.deleting.push(gone);
        self.store.remove(self.id.clone());
        self.stop(now, reason);
    }

    /// Ends the streamer.
    pub fn stop(&mut self, now: DateTime<Utc>, reason: &str) {
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
            Stage::Starting => return,
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
