//! What clients have a streamer do. A handler makes one call; the registry makes the request, and when its reply comes it
//! keeps what has changed, writes the audit trail and answers, in this order.
//!
//! ```text
//! handler ──Call::Perform──▶ registry ──request──▶ supervisor ──▶ streamer
//!    ▲                          │ keep, audit                        │
//!    └──────── reply ───────────┘◀──────── Event::Replied ───────────┘
//! ```
//!
//! Replies reach the registry in the order in which the streamer has carried the requests out, so what is kept is what
//! the streamer has become, whoever is first to be answered. A client that goes away, or waits no longer, changes
//! nothing about that: its request is carried out and kept, or refused.

use common::api::PeerPatch;
use common::audit::AuditAction;
use common::control::{Control, ControlChange};
use common::id::{PeerId, SlotIndex, SourceName, StreamerId};
use common::ipc::request::{
    self, AddPeer, ChangeControl, ClearSlot, ListSources, PeerAdded, RemovePeer, RemoveSource, UpdatePeer,
};
use common::ipc::{Join, Json, Request};
use common::person::describe_rights;
use common::signal::StreamInfo;
use common::slots::{BindSlot, SlotSource, SourceList};
use common::spec::SourceSpec;
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::arrangement::Arranged;
use super::request::{self as admission, Denied};
use super::session::Session;
use super::{Call, Handle};
use crate::hosts::{self, Hosts};
use crate::supervisor::ask::{AskError, DEADLINE};

/// Why a streamer has not done what it was to do.
#[derive(Debug, thiserror::Error)]
pub enum OperationError {
    /// It was not asked.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It refused, or did not answer.
    #[error(transparent)]
    Ask(#[from] AskError),
    /// The Moonlight host of a source is not known, or not paired.
    #[error(transparent)]
    Host(#[from] hosts::Error),
}

/// Begins an operation, or tells its client why it is denied.
pub(super) type Start = Box<dyn FnOnce(Result<&mut Session, Denied>) + Send>;

/// What follows from an operation that has succeeded.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    /// What the streamer's next process shall do again.
    pub arranged: Option<Arranged>,
    /// What goes to the audit trail.
    pub audit: Option<Audit>,
}

/// An entry of the audit trail.
#[derive(Debug)]
pub(super) struct Audit {
    pub action: AuditAction,
    /// As [`common::audit::AuditEntry::by`] has it.
    pub by: String,
    pub detail: Option<String>,
}

impl Outcome {
    fn arranged(arranged: Arranged) -> Self {
        Self { arranged: Some(arranged), audit: None }
    }

    fn audited(action: AuditAction, by: &str, detail: Option<String>) -> Self {
        Self { arranged: None, audit: Some(Audit { action, by: by.to_owned(), detail }) }
    }
}

impl Handle {
    /// Shows something in a slot, to everybody; `None`: in the first free one. Returns when its first picture is there.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn bind_slot(
        &self,
        id: &StreamerId,
        slot: Option<SlotIndex>,
        bind: BindSlot,
    ) -> Result<StreamInfo, OperationError> {
        // How a host is reached is for the streamer alone: it is not kept.
        let resolved = resolve(bind.clone(), &self.hosts)?;
        let request = request::BindSlot { slot, bind: Json(resolved) };
        let bound = move |info: &Json<StreamInfo>| Outcome::arranged(Arranged::Bound(info.0.slot, bind));
        Ok(self.perform(id, request, bound).await?.0)
    }

    /// Shows nothing in a slot.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn clear_slot(&self, id: &StreamerId, slot: SlotIndex) -> Result<(), OperationError> {
        let cleared = move |(): &()| Outcome::arranged(Arranged::Cleared(slot));
        self.perform(id, ClearSlot { slot }, cleared).await
    }

    /// Adds a named source. It starts when it is wanted.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn add_source(
        &self,
        id: &StreamerId,
        name: SourceName,
        source: SourceSpec,
    ) -> Result<(), OperationError> {
        let resolved = self.hosts.resolve(source.clone())?;
        let request = request::AddSource { name: name.clone(), source: Json(resolved) };
        self.perform(id, request, move |(): &()| Outcome::arranged(Arranged::Added(name, source))).await
    }

    /// Removes a named source, from all slots that show it too.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn remove_source(&self, id: &StreamerId, name: SourceName) -> Result<(), OperationError> {
        let request = RemoveSource { name: name.clone() };
        self.perform(id, request, move |(): &()| Outcome::arranged(Arranged::Removed(name))).await
    }

    /// The sources of a streamer, which may still be starting.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn list_sources(&self, id: &StreamerId) -> Result<SourceList, OperationError> {
        Ok(self.reach_while_starting(id).await?.ask(ListSources).await?.0)
    }

    /// Changes who may steer, as `by` wishes.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn change_control(
        &self,
        id: &StreamerId,
        change: ControlChange,
        by: &str,
    ) -> Result<Control, OperationError> {
        let detail = serde_json::to_string(&change).ok();
        let mut outcome = Outcome::audited(AuditAction::ControlChanged, by, detail);
        outcome.arranged = change.mode.map(Arranged::Control);
        let request = ChangeControl { change: Json(change) };
        Ok(self.perform(id, request, move |_| outcome).await?.0)
    }

    /// Changes what a peer may do, as `by` wishes.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn update_peer(
        &self,
        id: &StreamerId,
        peer: PeerId,
        patch: PeerPatch,
        by: &str,
    ) -> Result<(), OperationError> {
        let PeerPatch { role, rights, max_bitrate_kbps, session_microphone, session_camera } = patch;
        let role_now = role.map(|role| format!("{role:?}").to_lowercase());
        let rights_now = rights.as_ref().map(describe_rights);
        let most_now = max_bitrate_kbps.map(|kbps| match kbps {
            0 => "any bitrate".to_owned(),
            kbps => format!("at most {kbps} kbit/s"),
        });
        let device_now = |device: &str, on: bool| {
            let now = if on { "on" } else { "off" };
            format!("{device} of the session {now}")
        };
        let microphone_now = session_microphone.map(|on| device_now("microphone", on));
        let camera_now = session_camera.map(|on| device_now("camera", on));
        let changes = [role_now, rights_now, most_now, microphone_now, camera_now];
        let changes: Vec<_> = changes.into_iter().flatten().collect();
        let detail = format!("peer {peer}: {}", changes.join("; "));
        let outcome = Outcome::audited(AuditAction::RoleChanged, by, Some(detail));
        let update = UpdatePeer { peer, role, rights, max_bitrate_kbps, session_microphone, session_camera };
        self.perform(id, update, move |(): &()| outcome).await
    }

    /// Removes a peer, as `by` wishes.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn remove_peer(&self, id: &StreamerId, peer: PeerId, by: &str) -> Result<(), OperationError> {
        let outcome = Outcome::audited(AuditAction::Removed, by, Some(format!("peer {peer}")));
        let request = RemovePeer { peer, reason: "removed".into() };
        self.perform(id, request, move |(): &()| outcome).await
    }

    /// Adds a peer without a WebSocket. One for whose caller it comes too late does not stay.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn add_peer(&self, id: &StreamerId, join: Join) -> Result<PeerAdded, OperationError> {
        self.begin(id, move |session, answer| {
            session.ask(AddPeer { join: Json(join) }, move |session, added| {
                if let Err(Ok(PeerAdded { peer, .. })) = answer.send(added.map_err(OperationError::Ask)) {
                    session.remove_unwanted(peer);
                }
            });
        })
        .await
    }

    /// Makes a request that changes nothing which is to be kept. Cancelling stops only the waiting.
    ///
    /// # Errors
    /// See [`OperationError`].
    pub async fn ask<R: Request>(&self, id: &StreamerId, request: R) -> Result<R::Reply, OperationError> {
        Ok(self.reach(id).await?.ask(request).await?)
    }

    /// Makes a request, and sees to what follows from its reply.
    async fn perform<R: Request>(
        &self,
        id: &StreamerId,
        request: R,
        outcome: impl FnOnce(&R::Reply) -> Outcome + Send + 'static,
    ) -> Result<R::Reply, OperationError> {
        self.begin(id, move |session, answer| session.perform(request, outcome, answer)).await
    }

    /// Has the registry begin something with a running streamer, and waits until it is answered. Cancelling stops only
    /// the waiting.
    async fn begin<T: Send + 'static>(
        &self,
        id: &StreamerId,
        begin: impl FnOnce(&mut Session, oneshot::Sender<Result<T, OperationError>>) + Send + 'static,
    ) -> Result<T, OperationError> {
        let (answer, answered) = oneshot::channel();
        let start = move |session: Result<&mut Session, Denied>| match session {
            Ok(session) => match admission::reach(&session.life) {
                Ok(()) => begin(session, answer),
                Err(denied) => drop(answer.send(Err(denied.into()))),
            },
            Err(denied) => drop(answer.send(Err(denied.into()))),
        };
        let call = Call::Perform { id: id.clone(), start: Box::new(start) };
        self.calls.send(call).await.map_err(|_| Denied::ShuttingDown)?;
        match timeout(DEADLINE, answered).await {
            Ok(answered) => answered.unwrap_or(Err(AskError::Gone.into())),
            Err(_) => Err(AskError::Timeout(DEADLINE).into()),
        }
    }
}

impl Session {
    /// Makes a request; keeps what follows from its reply, and answers.
    pub(super) fn perform<R: Request>(
        &mut self,
        request: R,
        outcome: impl FnOnce(&R::Reply) -> Outcome + Send + 'static,
        answer: oneshot::Sender<Result<R::Reply, OperationError>>,
    ) {
        self.ask(request, move |session, reply| {
            if let Ok(reply) = &reply {
                session.take_outcome(outcome(reply));
            }
            // Whoever has stopped waiting does not miss it.
            let _ = answer.send(reply.map_err(OperationError::Ask));
        });
    }

    fn take_outcome(&mut self, outcome: Outcome) {
        if let Some(arranged) = outcome.arranged {
            self.arranged(arranged);
        }
        if let Some(Audit { action, by, detail }) = outcome.audit {
            self.audit(action, &by, detail);
        }
    }

    /// A peer has been added for a client that is gone.
    fn remove_unwanted(&mut self, peer: PeerId) {
        let request = RemovePeer { peer, reason: "nobody waited for the answer".into() };
        self.ask(request, |_, removed| {
            if let Err(error) = removed {
                tracing::debug!(%error, "a peer that nobody waited for was not removed");
            }
        });
    }
}

/// With what a streamer needs to know of Moonlight hosts.
///
/// # Errors
/// The host is not known, or not paired.
pub(super) fn resolve(bind: BindSlot, hosts: &Hosts) -> Result<BindSlot, hosts::Error> {
    let source = match bind.source {
        SlotSource::Spec(source) => SlotSource::Spec(hosts.resolve(source)?),
        name @ SlotSource::Name(_) => name,
    };
    Ok(BindSlot { source, ..bind })
}

#[cfg(test)]
mod tests {
    use common::ipc::{AnyRequest, Code, Payload, RequestError};
    use serde_json::json;
    use tokio::sync::mpsc;
    use tokio::task::JoinHandle;

    use super::super::events::Log;
    use super::super::testing::{Bench, id};
    use super::*;
    use crate::supervisor::ask::Ticket;

    /// A running streamer whose replies the test gives, and the way to the registry that has it.
    struct Streamer {
        bench: Bench,
        handle: Handle,
        calls: mpsc::Receiver<Call>,
    }

    impl Streamer {
        fn running() -> Self {
            let bench = Bench::running();
            let (sender, calls) = mpsc::channel(8);
            let handle = Handle {
                calls: sender,
                store: bench.store.clone(),
                hosts: bench.hosts.clone(),
                run_root: bench.dir.path().into(),
                latest: Log::new(0).latest(),
            };
            Self { bench, handle, calls }
        }

        /// Begins an operation, up to the request that it makes of the streamer.
        async fn begin<T: Send + 'static>(
            &mut self,
            operation: impl Future<Output = T> + Send + 'static,
        ) -> (JoinHandle<T>, Ticket) {
            let waiting = tokio::spawn(operation);
            let Some(Call::Perform { start, .. }) = self.calls.recv().await else { panic!("another call") };
            start(Ok(&mut self.bench.session));
            (waiting, self.bench.request().0)
        }

        async fn bind(
            &mut self,
            slot: SlotIndex,
            name: &str,
        ) -> (JoinHandle<Result<StreamInfo, OperationError>>, Ticket) {
            let handle = self.handle.clone();
            let bind = named(name);
            self.begin(async move { handle.bind_slot(&id(), Some(slot), bind).await }).await
        }

        fn shown(&self) -> Vec<AnyRequest> {
            self.bench.session.record().arrangement.replay()
        }
    }

    fn named(name: &str) -> BindSlot {
        BindSlot { source: SlotSource::Name(name.into()), quality: String::new() }
    }

    fn shows(slot: SlotIndex, name: &str) -> Vec<AnyRequest> {
        vec![request::BindSlot { slot: Some(slot), bind: Json(named(name)) }.into()]
    }

    fn bound(slot: SlotIndex, name: &str) -> Payload {
        let info = json!({
            "trackId": format!("video{slot}"), "mid": "0", "slot": slot, "source": name, "isFocused": true,
            "fps": 30, "cursor": "client", "input": false,
        });
        Payload::of(&Json(serde_json::from_value::<StreamInfo>(info).unwrap())).unwrap()
    }

    #[tokio::test]
    async fn of_two_that_race_the_one_that_the_streamer_did_last_is_kept() {
        let mut streamer = Streamer::running();
        let (first, a) = streamer.bind(1, "a").await;
        let (second, b) = streamer.bind(1, "b").await;
        streamer.bench.session.replied(b, Ok(bound(1, "b")));
        streamer.bench.session.replied(a, Ok(bound(1, "a")));
        assert_eq!(streamer.shown(), shows(1, "a"), "the source of `a` was the slower one to start");
        assert_eq!(first.await.unwrap().unwrap().source, "a");
        assert_eq!(second.await.unwrap().unwrap().source, "b");
    }

    #[tokio::test]
    async fn what_a_client_has_asked_for_that_is_gone_is_kept_and_audited() {
        let mut streamer = Streamer::running();
        let (client, ticket) = streamer.bind(1, "a").await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        streamer.bench.session.replied(ticket, Ok(bound(1, "a")));
        assert_eq!(streamer.shown(), shows(1, "a"));

        let handle = streamer.handle.clone();
        let change = ControlChange::default();
        let operation = async move { handle.change_control(&id(), change, "admin").await };
        let (client, ticket) = streamer.begin(operation).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        let control = Payload::of(&Json(Control::default())).unwrap();
        streamer.bench.session.replied(ticket, Ok(control));
        let trail = streamer.bench.store.trail(id(), None, 10).await.unwrap();
        let audited: Vec<_> = trail.iter().map(|entry| (entry.action, entry.by.as_str())).collect();
        assert_eq!(audited, [(AuditAction::ControlChanged, "admin")]);
    }

    #[tokio::test]
    async fn what_the_streamer_refuses_is_neither_kept_nor_audited() {
        let mut streamer = Streamer::running();
        let (client, ticket) = streamer.bind(9, "a").await;
        let error = RequestError::new(Code::SlotNotFound, "there is no slot 9");
        streamer.bench.session.replied(ticket, Err(AskError::Refused(error.clone())));
        assert_eq!(streamer.shown(), []);
        let refused = client.await.unwrap().unwrap_err();
        assert!(matches!(refused, OperationError::Ask(AskError::Refused(said)) if said == error));

        let handle = streamer.handle.clone();
        let peer = PeerId::unique();
        let operation = async move { handle.remove_peer(&id(), peer, "admin").await };
        let (client, ticket) = streamer.begin(operation).await;
        streamer.bench.session.replied(ticket, Err(AskError::Gone));
        assert!(matches!(client.await.unwrap(), Err(OperationError::Ask(AskError::Gone))));
        assert_eq!(streamer.bench.store.trail(id(), None, 10).await.unwrap(), []);
    }

    #[tokio::test]
    async fn a_peer_that_nobody_waits_for_any_more_does_not_stay() {
        let mut streamer = Streamer::running();
        let handle = streamer.handle.clone();
        let join = Join::Whep { offer: String::new(), ticket: Default::default() };
        let operation = async move { handle.add_peer(&id(), join).await };
        let (client, ticket) = streamer.begin(operation).await;
        client.abort();
        assert!(client.await.unwrap_err().is_cancelled());
        let peer = PeerId::unique();
        let added = PeerAdded { peer, answer: Some("v=0".into()) };
        streamer.bench.session.replied(ticket, Ok(Payload::of(&added).unwrap()));
        let (_, request) = streamer.bench.request();
        assert!(matches!(request, AnyRequest::RemovePeer(RemovePeer { peer: gone, .. }) if gone == peer));
    }
}
