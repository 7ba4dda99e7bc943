//! The task of a node: it renews the lease, lists and watches the buckets, and makes records agree with what runs here.
//!
//! A connection that is lost, a watch that is deaf and a bucket that was made anew have one answer: connect, list everything, and watch
//! from there. What this node knows is written again where it is missing, so nothing depends on what NATS has kept.

#![expect(clippy::disallowed_methods, reason = "the task of a node is an edge")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::Utc;
use common::api::Streamer;
use common::control::Control;
use common::id::{StreamerId, TokenId};
use common::restart::LastEnd;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::directory::Held;
use super::nats::{Bucket, Entry, Error, Nats, Watched, WriteError};
use super::records::{self, NodeRecord, Record, RevokedRecord, StreamerRecord, id_of, key_of};
use super::seal::{Keys, Unsealed};
use super::{Cluster, lock};
use crate::auth::Auth;
use crate::registry::Handle;

/// Between two attempts to connect.
const RETRY: Duration = Duration::from_millis(500);
/// Changes of streamers are written together, so often at most.
const GATHER: Duration = Duration::from_millis(100);
/// So often in the time of a lease it is renewed: two renewals may be lost.
const RENEWALS: u32 = 3;
/// Markers of deletions stay for those who are a little behind; who was away for longer lists anyway.
const KEEP_MARKERS: Duration = Duration::from_secs(60);

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
pub async fn run(cluster: Cluster, registry: Handle, auth: Arc<Auth>) {
    let mut told = String::new();
    loop {
        let error = match session(&cluster, &registry, &auth).await {
            Ok(never) => match never {},
            Err(error) => error.to_string(),
        };
        let was_connected = lock(&cluster.0.nats).is_ok();
        *lock(&cluster.0.nats) = Err(error.clone());
        // An outage is one line, not one every half second.
        if was_connected || error != told {
            tracing::warn!(%error, "the cluster cannot be reached; what runs here goes on");
        }
        told = error;
        sleep(RETRY).await;
    }
}

/// Other nodes need not wait for the lease to run out.
pub async fn leave(cluster: &Cluster) {
    let Ok(nats) = cluster.nats() else { return };
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
    cluster: &'a Cluster,
    registry: &'a Handle,
    auth: &'a Arc<Auth>,
    nats: Nats,
    /// Markers that were seen, by when, to be forgotten: key and revision.
    markers: Vec<(Instant, String, u64)>,
}

async fn session(cluster: &Cluster, registry: &Handle, auth: &Arc<Auth>) -> Result<Infallible, Error> {
    let nats = Nats::connect(&cluster.0.config).await?;
    let (entries, mut nodes) = nats.nodes.list().await?;
    let mut session = Session { cluster, registry, auth, nats: nats.clone(), markers: Vec::new() };
    for entry in entries.into_values() {
        session.node(entry);
    }
    let taken = lock(&cluster.0.directory).is_taken(now(), cluster.name(), cluster.0.instance);
    if taken {
        return Err(Error::NameTaken(cluster.name().to_owned()));
    }
    session.renew().await?;
    let (entries, mut streamers) = nats.streamers.list().await?;
    session.list(entries);
    let (entries, mut revoked) = nats.revoked.list().await?;
    session.share_revocations(&entries).await?;
    for entry in entries.into_values() {
        session.revocation(entry);
    }
    session.agree().await;
    *lock(&cluster.0.nats) = Ok(nats.clone());
    tracing::info!(node = cluster.name(), "this server is a node of a cluster");

    let mut renewals = interval(cluster.0.config.lease / RENEWALS);
    renewals.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut happened = registry.latest_event();
    loop {
        tokio::select! {
            () = nats.lost.cancelled() => return Err(Error::Lost),
            entry = nodes.next() => session.node(entry?),
            entry = streamers.next() => session.streamer(entry?),
            entry = revoked.next() => session.revocation(entry?),
            _ = renewals.tick() => {
                session.renew().await?;
                check(&nats, &mut nodes, &mut streamers, &mut revoked).await?;
                session.forget_markers().await?;
                session.agree().await;
            }
            changed = happened.changed() => {
                // Without a registry nothing changes any more.
                if changed.is_err() {
                    std::future::pending::<()>().await;
                }
                sleep(GATHER).await;
                session.agree().await;
            }
            () = cluster.0.changed.notified() => {
                session.renew().await?;
                session.agree().await;
            }
        }
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

    async fn renew(&self) -> Result<(), Error> {
        renew(self.cluster, &self.nats).await
    }

    fn node(&self, entry: Entry) {
        let name = id_of(&entry.key);
        let Some(value) = entry.value else {
            if name != self.cluster.name() {
                lock(&self.cluster.0.directory).left(&name);
            }
            return;
        };
        match records::read::<NodeRecord>(self.keys(), &entry.key, &value) {
            Ok(record) => lock(&self.cluster.0.directory).heard(now(), record),
            Err(error) => tracing::warn!(node = name, %error, "a record of a node is ignored"),
        }
    }

    fn parse(&self, key: &str, value: &[u8]) -> Option<(StreamerId, StreamerRecord)> {
        let id = StreamerId::parse(id_of(key)).map_err(|error| error.to_string());
        let read =
            records::read::<StreamerRecord>(self.keys(), key, value).map_err(|error| error.to_string());
        match id.and_then(|id| read.map(|record| (id, record))) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                tracing::warn!(key, error, "a record of a streamer is ignored");
                None
            }
        }
    }

    fn list(&self, entries: BTreeMap<String, Entry>) {
        let parse = |(key, entry): (String, Entry)| {
            let (id, record) = self.parse(&key, &entry.value?)?;
            Some((id, Held { record, revision: entry.revision }))
        };
        lock(&self.cluster.0.directory).listed(entries.into_iter().filter_map(parse).collect());
    }

    fn streamer(&mut self, entry: Entry) {
        match entry.value {
            Some(value) => {
                if let Some((id, record)) = self.parse(&entry.key, &value) {
                    lock(&self.cluster.0.directory).put(id, Held { record, revision: entry.revision });
                }
            }
            None => {
                if let Ok(id) = StreamerId::parse(id_of(&entry.key)) {
                    lock(&self.cluster.0.directory).removed(&id, entry.revision);
                }
                self.markers.push((now(), entry.key, entry.revision));
            }
        }
    }

    fn revocation(&self, entry: Entry) {
        let Some(value) = entry.value else { return };
        let token = entry.key.parse().map(TokenId);
        let read = records::read::<RevokedRecord>(self.keys(), &entry.key, &value);
        match (token, read) {
            (Ok(token), Ok(RevokedRecord { at })) => {
                let auth = self.auth.clone();
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
        for token in self.auth.revoked_tokens() {
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

    /// Makes the records of our streamers agree with what the registry has.
    async fn agree(&self) {
        // In this order: an id that is being created has a claim before it has a record, and a record before the registry has it.
        let own = lock(&self.cluster.0.directory).own();
        let claims = lock(&self.cluster.0.claims).clone();
        // It ends with the server.
        let Ok(local) = self.registry.list().await else { return };
        let local: BTreeMap<_, _> =
            local.into_iter().map(|streamer| (streamer.id.clone(), streamer)).collect();
        for (id, held) in own.iter().filter(|(id, _)| !local.contains_key(id) && !claims.contains(id)) {
            match self.nats.streamers.remove(&key_of(id.as_str()), held.revision).await {
                Ok(()) => lock(&self.cluster.0.directory).removed(id, held.revision + 1),
                Err(error) => tracing::debug!(%id, %error, "a record is not removed yet"),
            }
        }
        let mut conflicts = std::collections::BTreeSet::new();
        for (id, streamer) in local.into_iter().filter(|(id, _)| !claims.contains(id)) {
            let held = lock(&self.cluster.0.directory).get(&id).cloned();
            match held {
                Some(held) if held.record.node != self.cluster.name() => {
                    if !lock(&self.cluster.0.conflicts).contains(&id) {
                        tracing::error!(
                            %id, node = held.record.node,
                            "this node and another one have a streamer of the same id: each answers for its own, all \
                             other nodes for the other one's"
                        );
                    }
                    conflicts.insert(id);
                }
                Some(held) => rewrite(self.cluster, &self.nats, &id, streamer, held).await,
                // It was gone before the registry was asked, or has no record yet: a bucket was lost, or the node is new.
                None if own.contains_key(&id) => {}
                None => self.write(&id, streamer).await,
            }
        }
        *lock(&self.cluster.0.conflicts) = conflicts;
    }

    async fn write(&self, id: &StreamerId, streamer: Streamer) {
        let claim = getrandom::u64().unwrap_or_default();
        let record =
            StreamerRecord { node: self.cluster.name().to_owned(), claim, streamer: Some(summary(streamer)) };
        let key = key_of(id.as_str());
        let Some((record, sealed)) = seal(self.keys(), &key, record) else { return };
        match self.nats.streamers.create(&key, sealed).await {
            Ok(revision) => lock(&self.cluster.0.directory).put(id.clone(), Held { record, revision }),
            Err(WriteError::Conflict) => tracing::debug!(%id, "there is a record that is not known yet"),
            Err(error) => tracing::debug!(%id, %error, "a record is written later"),
        }
    }
}

/// Renews the lease of this node, by a record of what it is now.
pub(super) async fn renew(cluster: &Cluster, nats: &Nats) -> Result<(), Error> {
    let record = cluster.record();
    put(&cluster.0.keys, &nats.nodes, &key_of(&record.name), &record).await?;
    lock(&cluster.0.directory).heard(now(), record);
    Ok(())
}

/// Writes what a streamer of ours is into its record, if the record says something else.
pub(super) async fn rewrite(cluster: &Cluster, nats: &Nats, id: &StreamerId, streamer: Streamer, held: Held) {
    let streamer = summary(streamer);
    if held.record.streamer.as_ref() == Some(&streamer) {
        return;
    }
    let key = key_of(id.as_str());
    let record = StreamerRecord { streamer: Some(streamer), ..held.record.clone() };
    let Some((record, sealed)) = seal(&cluster.0.keys, &key, record) else { return };
    if record == held.record {
        return;
    }
    match nats.streamers.update(&key, sealed, held.revision).await {
        Ok(revision) => lock(&cluster.0.directory).put(id.clone(), Held { record, revision }),
        Err(error) => tracing::debug!(%id, %error, "a record is written later"),
    }
}

/// A record whose streamer has too long a spec goes without it: the id counts.
fn seal(keys: &Keys, key: &str, mut record: StreamerRecord) -> Option<(StreamerRecord, Vec<u8>)> {
    let mut sealed = records::write(keys, key, &record);
    if let Err(Unsealed::TooLong(_)) = sealed {
        record.streamer = None;
        sealed = records::write(keys, key, &record);
    }
    match sealed {
        Ok(sealed) => Some((record, sealed)),
        Err(error) => {
            tracing::error!(key, %error, "a record cannot be written");
            None
        }
    }
}

/// A streamer without what changes while it runs.
fn summary(mut streamer: Streamer) -> Streamer {
    streamer.idle_since = None;
    streamer.slots.clear();
    streamer.peers.clear();
    streamer.control = Control::default();
    streamer.stats = None;
    streamer.pointer = None;
    streamer.restarts.last = streamer.restarts.last.map(LastEnd::without_log);
    streamer
}
