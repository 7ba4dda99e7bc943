//! The task of a node: it renews the lease, lists and watches the buckets, and makes records agree with what runs here.
//!
//! A connection that is lost, a watch that is deaf and a bucket that was made anew have one answer: connect, list everything, and watch
//! from there. What this node knows is written again where it is missing, so nothing depends on what NATS has kept.

#![expect(clippy::disallowed_methods, reason = "the task of a node is an edge")]

use std::collections::{BTreeMap, BTreeSet};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::api::Streamer;
use common::event::{Happening, StreamerEvent};
use common::id::{StreamerId, TokenId};
use common::spec::StreamerSpec;
use tokio::sync::{Mutex, watch};
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, sleep, sleep_until, timeout};

use super::agree::{agree, pause, put as put_streamer};
use super::directory::{Held, Unreadable};
use super::events::Exchange;
use super::nats::{Bucket, Entry, Error, Nats, Watched};
use super::records::{
    self, Malformed, NodeRecord, Origin, Record, RevokedRecord, StreamerRecord, id_of, key_of,
};
use super::seal::Keys;
use super::{Cluster, lock};
use crate::auth::Auth;
use crate::registry::Handle;
use crate::registry::events::News;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(500);
/// Changes of streamers are written together, so often at most.
const GATHER: Duration = Duration::from_millis(100);
/// So often in the time of a lease it is renewed: two renewals may be lost.
const RENEWALS: u32 = 3;
/// When a lease has run out by our clock and not by that of NATS, so soon it is looked again.
const LOOK_AGAIN: Duration = Duration::from_millis(200);
/// Markers of deletions stay for those who are a little behind; who was away for longer lists anyway.
const KEEP_MARKERS: Duration = Duration::from_secs(60);

/// The calendar's time, for records.
pub(super) fn today() -> DateTime<Utc> {
    Utc::now()
}

/// Whether this node may run such a streamer, or why not.
pub type Allows = Box<dyn Fn(&StreamerSpec) -> Result<(), String> + Send + Sync>;

/// What the task of a node works with.
pub struct Node {
    /// The node.
    pub cluster: Cluster,
    /// What runs here.
    pub registry: Handle,
    /// What tokens are good for nothing.
    pub auth: Arc<Auth>,
    /// Why a spec may not be started here, if it may not.
    pub allows: Allows,
}

/// The time by which leases are judged.
pub(super) fn now() -> Instant {
    Instant::now()
}

/// Writes that a token is good for nothing any more.
pub(super) async fn publish_revocation(keys: &Keys, nats: &Nats, token: TokenId) -> Result<(), Error> {
    put(keys, &nats.revoked, &token.to_string(), &RevokedRecord { at: Utc::now() }).await
}

/// Writes a record, whoever has written it before.
async fn put<T: Record>(keys: &Keys, bucket: &Bucket, key: &str, record: &T) -> Result<(), Error> {
    let sealed = records::write(keys, key, record).map_err(|error| Error::File(error.to_string()))?;
    bucket.put(key, sealed).await.map(drop)
}

/// Works for as long as the server does.
pub async fn run(node: Node) {
    let cluster = node.cluster.clone();
    let exchange = Arc::default();
    let mut told = String::new();
    loop {
        let error = match session(&node, &exchange).await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        let was_connected = lock(&cluster.0.nats).is_ok();
        *lock(&cluster.0.nats) = Err(error.clone());
        cluster.0.ready.store(false, Ordering::Relaxed);
        // An outage is one line, not one every half second.
        if was_connected || error != told {
            tracing::warn!(%error, "the cluster cannot be reached; what runs here goes on");
        }
        told = error;
        sleep(RETRY).await;
    }
}

/// Ends what other nodes may start, for as long as this one is lost to them. For `cluster.on_partition: stop`.
pub async fn pause_while_lost(cluster: Cluster, registry: Handle) {
    loop {
        // Others count from when they hear of a renewal, which is later.
        let lost = *lock(&cluster.0.renewed) + cluster.0.config.lease;
        if now() < lost {
            sleep_until(lost.into()).await;
            continue;
        }
        pause(&cluster, &registry, now).await;
        sleep(RETRY).await;
    }
}

/// Other nodes need not wait for the lease to run out, unless this one has streamers: those go on, and wait for us for that long.
pub async fn leave(cluster: &Cluster) {
    let Ok(nats) = cluster.nats() else { return };
    if !lock(&cluster.0.directory).own_ids().is_empty() {
        return;
    }
    let leave = async {
        if let Some(entry) = nats.nodes.get(&key_of(cluster.name())).await? {
            nats.nodes.remove(&entry.key, entry.revision).await?;
        }
        Ok::<(), Error>(())
    };
    if !matches!(timeout(Duration::from_secs(1), leave).await, Ok(Ok(()))) {
        tracing::info!("other nodes notice by the lease that this node has ended");
    }
}

struct Session<'a> {
    node: &'a Node,
    cluster: &'a Cluster,
    nats: Nats,
    /// Names the bucket of streamers.
    born: String,
    /// When NATS last answered.
    answered: Instant,
    /// When it is looked again whether there is something to take over.
    look_again: Option<Instant>,
    /// Markers that were seen, by when, to be forgotten: key and revision.
    markers: Vec<(Instant, String, u64)>,
}

async fn session(node: &Node, exchange: &Arc<Mutex<Exchange>>) -> Result<Infallible, Error> {
    let cluster = &node.cluster;
    let nats = Nats::connect(&cluster.0.config).await?;
    let (entries, mut nodes) = nats.nodes.list().await?;
    let mut session = Session {
        node,
        cluster,
        nats: nats.clone(),
        born: String::new(),
        answered: now(),
        look_again: None,
        markers: Vec::new(),
    };
    for entry in entries.into_values() {
        session.node(entry)?;
    }
    session.renew().await?;
    let (entries, mut streamers) = nats.streamers.list().await?;
    session.born = streamers.born();
    session.list(entries);
    lock(&cluster.0.directory).listens(now());
    let (entries, mut revoked) = nats.revoked.list().await?;
    session.share_revocations(&entries).await?;
    for entry in entries.into_values() {
        session.revocation(entry);
    }
    session.agree().await?;
    *lock(&cluster.0.nats) = Ok(nats.clone());
    cluster.0.ready.store(true, Ordering::Relaxed);
    session.renew().await?;
    tracing::info!(node = cluster.name(), "this server is a node of a cluster");
    // A task of its own: what is written here must not keep events waiting. It ends with this session.
    let mut exchanging = JoinSet::new();
    let mut exchange = Arc::clone(exchange).lock_owned().await;
    let (exchanges, over, registry) = (cluster.clone(), nats.clone(), node.registry.clone());
    exchanging.spawn(async move { exchange.run(&exchanges, &over, &registry).await });

    let mut renewals = interval(cluster.0.config.lease / RENEWALS);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut happened = node.registry.latest_event();
    let mut kept = node.registry.kept_changes();
    loop {
        let due = session.due();
        tokio::select! {
            () = nats.lost.cancelled() => return Err(Error::Lost),
            Some(Ok(Err(error))) = exchanging.join_next() => return Err(error),
            entry = nodes.next() => session.node(entry?)?,
            entry = streamers.next() => session.streamer(entry?),
            entry = revoked.next() => session.revocation(entry?),
            () = wait_until(due) => session.take_over().await?,
            _ = renewals.tick() => {
                session.renew().await?;
                check(&nats, &mut nodes, &mut streamers, &mut revoked).await?;
                session.forget_markers().await?;
                session.agree().await?;
                session.write_orphans().await?;
                session.take_over().await?;
            }
            () = either(&mut happened, &mut kept) => {
                sleep(GATHER).await;
                happened.mark_unchanged();
                kept.mark_unchanged();
                session.agree().await?;
            }
            () = cluster.0.changed.notified() => session.agree().await?,
        }
    }
}

/// Returns when one of these has changed. Without a registry nothing changes any more. Cancel safe.
async fn either<A, B>(first: &mut watch::Receiver<A>, second: &mut watch::Receiver<B>) {
    let changed = tokio::select! {
        changed = first.changed() => changed,
        changed = second.changed() => changed,
    };
    if changed.is_err() {
        std::future::pending::<()>().await;
    }
}

/// Returns at `due`; without it, never.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

async fn check(
    nats: &Nats,
    nodes: &mut Watched,
    streamers: &mut Watched,
    revoked: &mut Watched,
) -> Result<(), Error> {
    nodes.check(&nats.nodes).await?;
    streamers.check(&nats.streamers).await?;
    revoked.check(&nats.revoked).await
}

impl Session<'_> {
    fn keys(&self) -> &Keys {
        &self.cluster.0.keys
    }

    async fn renew(&mut self) -> Result<(), Error> {
        renew(self.cluster, &self.nats).await?;
        self.has_answered();
        Ok(())
    }

    /// NATS has answered. When it had not for long, we may have missed renewals of others. Returns whether we have not.
    fn has_answered(&mut self) -> bool {
        let now = now();
        let silence = now.saturating_duration_since(self.answered);
        self.answered = now;
        // A renewal is due in every third of a lease.
        let heard_all = silence <= self.cluster.0.config.lease * 2 / 3;
        if !heard_all {
            lock(&self.cluster.0.directory).listens(now);
        }
        heard_all
    }

    fn node(&self, entry: Entry) -> Result<(), Error> {
        let name = id_of(&entry.key);
        let Some(value) = entry.value else {
            if name != self.cluster.name() {
                lock(&self.cluster.0.directory).left(&name);
            }
            return Ok(());
        };
        match records::read::<NodeRecord>(self.keys(), &entry.key, &value) {
            // Its lease has not run out. When both begin at once, both wait, and who comes back first has the name.
            Ok(record) if name == self.cluster.name() && record.instance != self.cluster.0.instance => {
                return Err(Error::NameTaken(name));
            }
            Ok(record) => lock(&self.cluster.0.directory).heard(now(), record),
            Err(error) => tracing::warn!(node = name, %error, "a record of a node is ignored"),
        }
        Ok(())
    }

    /// When there may be something to take over.
    fn due(&self) -> Option<Instant> {
        let moment = Duration::from_millis(1);
        // One that has just been is not missed, and just after: at that moment it is not over yet.
        let expiry = now().checked_sub(2 * moment);
        let expiry = expiry.and_then(|since| lock(&self.cluster.0.directory).next_expiry(since));
        let expiry = expiry.map(|at| at + moment);
        expiry.into_iter().chain(self.look_again).min()
    }

    /// Writes what NATS has lost and nobody else can write.
    async fn write_orphans(&self) -> Result<(), Error> {
        let orphans = lock(&self.cluster.0.directory).orphans(now());
        if orphans.is_empty() {
            return Ok(());
        }
        for (id, record) in orphans {
            tracing::warn!(%id, node = record.node, "NATS has lost the record of a streamer that its node cannot write: it is written anew");
            if !put_streamer(self.cluster, &self.nats, &id, record, None).await? {
                lock(&self.cluster.0.directory).settle(&id);
            }
        }
        self.agree().await
    }

    /// Takes streamers of lost nodes that are for us to start.
    async fn take_over(&mut self) -> Result<(), Error> {
        self.look_again = None;
        self.tell_of_lost().await;
        let abandoned = lock(&self.cluster.0.directory).abandoned(now());
        // What is for others to start, or for nobody now, is looked at again at the next renewal.
        if self.takeovers(&abandoned).is_empty() {
            return Ok(());
        }
        self.look_again = Some(now() + LOOK_AGAIN);
        let mut lost = abandoned.clone();
        for name in &abandoned {
            // By the clock of NATS, whatever has kept us from listening.
            if self.cluster.read::<NodeRecord>(&self.nats.nodes, name).await?.is_some() {
                lost.remove(name);
            }
        }
        if !self.has_answered() {
            return Ok(());
        }
        let ours = self.takeovers(&lost);
        let took = !ours.is_empty();
        for id in ours {
            let held = lock(&self.cluster.0.directory).get(&id).cloned();
            let Some(Held { record, revision }) = held.filter(|held| lost.contains(&held.record.node)) else {
                continue;
            };
            let why = format!("the node {} is lost", record.node);
            tracing::warn!(%id, why, "taking over a streamer");
            let origin = Origin { node: record.node.clone(), by: "server".into(), why };
            let record = record.given_to(self.cluster.name(), origin, today());
            put_streamer(self.cluster, &self.nats, &id, record, Some(revision)).await?;
        }
        if took {
            self.agree().await?;
        }
        Ok(())
    }

    /// Who listens here is told of streamers whose node is lost since the last time, or is back.
    async fn tell_of_lost(&self) {
        let turned = lock(&self.cluster.0.directory).turned(now());
        if turned.is_empty() {
            return;
        }
        let event = |Streamer { id: streamer, state, reason, .. }: Streamer| {
            let what = Happening::State { state, reason };
            News::Event(StreamerEvent { at: today(), streamer, what })
        };
        self.node.registry.hear(turned.into_iter().map(event).collect()).await;
    }

    fn takeovers(&self, lost: &BTreeSet<String>) -> Vec<StreamerId> {
        let coming = lock(&self.cluster.0.coming);
        lock(&self.cluster.0.directory).takeovers(now(), lost, &coming)
    }

    /// The id of a record, and the record if it can be read.
    fn parse(&self, entry: &Entry, value: &[u8]) -> Option<(StreamerId, Result<StreamerRecord, Unreadable>)> {
        let key = &entry.key;
        let id = match StreamerId::parse(id_of(key)) {
            Ok(id) => id,
            Err(error) => {
                tracing::warn!(key, %error, "a record of a streamer is ignored");
                return None;
            }
        };
        let read = records::read::<StreamerRecord>(self.keys(), key, value).map_err(|error| {
            tracing::warn!(key, %error, "a record of a streamer is ignored");
            Unreadable { revision: entry.revision, newer: matches!(error, Malformed::Version(_)) }
        });
        Some((id, read))
    }

    fn list(&self, entries: BTreeMap<String, Entry>) {
        let mut known = BTreeMap::new();
        let mut unreadable = BTreeMap::new();
        for entry in entries.into_values() {
            let Some(value) = &entry.value else { continue };
            match self.parse(&entry, value) {
                Some((id, Ok(record))) => drop(known.insert(id, Held { record, revision: entry.revision })),
                Some((id, Err(found))) => drop(unreadable.insert(id, found)),
                None => {}
            }
        }
        lock(&self.cluster.0.directory).listed(&self.born, known, unreadable);
    }

    fn streamer(&mut self, entry: Entry) {
        match &entry.value {
            Some(value) => {
                let Some((id, read)) = self.parse(&entry, value) else { return };
                let before = self.owner(&id, entry.revision);
                let after = match read {
                    Ok(record) => {
                        let after = record.node == self.cluster.name();
                        let held = Held { record, revision: entry.revision };
                        lock(&self.cluster.0.directory).put(id, held);
                        after
                    }
                    Err(unreadable) => {
                        lock(&self.cluster.0.directory).cannot_read(id, unreadable);
                        false
                    }
                };
                self.changed_by_others(before, after);
            }
            None => {
                if let Ok(id) = StreamerId::parse(id_of(&entry.key)) {
                    let before = self.owner(&id, entry.revision);
                    lock(&self.cluster.0.directory).removed(&id, entry.revision);
                    self.changed_by_others(before, false);
                }
                self.markers.push((now(), entry.key, entry.revision));
            }
        }
    }

    /// Whether a streamer was ours before this revision; `None` for a revision that is no news.
    fn owner(&self, id: &StreamerId, revision: u64) -> Option<bool> {
        match lock(&self.cluster.0.directory).get(id) {
            Some(held) if held.revision >= revision => None,
            Some(held) => Some(held.record.node == self.cluster.name()),
            None => Some(false),
        }
    }

    /// Something of ours was given away or removed, or something was given to us.
    fn changed_by_others(&self, before: Option<bool>, after: bool) {
        if before.is_some_and(|before| before || after) {
            self.cluster.0.changed.notify_one();
        }
    }

    fn revocation(&self, entry: Entry) {
        let Some(value) = entry.value else { return };
        let token = entry.key.parse().map(TokenId);
        let read = records::read::<RevokedRecord>(self.keys(), &entry.key, &value);
        match (token, read) {
            (Ok(token), Ok(RevokedRecord { at })) => {
                let auth = self.node.auth.clone();
                // It is written to a file.
                tokio::task::spawn_blocking(move || match auth.revoke(token, at) {
                    Ok(()) => {}
                    Err(error) => {
                        tracing::error!(%token, %error, "a token that another node revoked is not revoked here")
                    }
                });
            }
            (_, Err(error)) => tracing::warn!(key = entry.key, %error, "a revocation is ignored"),
            (Err(error), _) => tracing::warn!(key = entry.key, %error, "a revocation is ignored"),
        }
    }

    /// Tokens that were revoked here while NATS could not be reached.
    async fn share_revocations(&self, known: &BTreeMap<String, Entry>) -> Result<(), Error> {
        for token in self.node.auth.revoked_tokens() {
            if !known.contains_key(&token.to_string()) {
                publish_revocation(self.keys(), &self.nats, token).await?;
            }
        }
        Ok(())
    }

    async fn forget_markers(&mut self) -> Result<(), Error> {
        let due = |(at, ..): &(Instant, String, u64)| at.elapsed() > KEEP_MARKERS;
        let Some(first) = self.markers.first() else { return Ok(()) };
        if !due(first) {
            return Ok(());
        }
        let kept = self.markers.partition_point(due);
        for (_, key, revision) in self.markers.drain(..kept).collect::<Vec<_>>() {
            self.nats.streamers.forget(&key, revision).await?;
            lock(&self.cluster.0.directory).forget_freed(revision);
        }
        Ok(())
    }

    async fn agree(&self) -> Result<(), Error> {
        agree(self.node, &self.nats, &self.born).await
    }
}

/// Renews the lease of this node, by a record of what it is now.
pub(super) async fn renew(cluster: &Cluster, nats: &Nats) -> Result<(), Error> {
    lock(&cluster.0.meter).read();
    let record = cluster.record();
    let sent = now();
    put(&cluster.0.keys, &nats.nodes, &key_of(&record.name), &record).await?;
    *lock(&cluster.0.renewed) = sent;
    lock(&cluster.0.directory).heard(now(), record);
    Ok(())
}
