//! Carries out what [`decide`](super::decide) says: makes records and what runs here agree.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use common::cluster::Placement;
use common::control::Control;
use common::id::StreamerId;
use common::restart::{LastEnd, RestartPolicy};

use super::decide::{Lineage, Local, Step, reconcile};
use super::directory::Held;
use super::member::{Node, today};
use super::memory::Remembered;
use super::nats::{Error, Nats, WriteError};
use super::records::{self, Origin, StreamerRecord, key_of};
use super::seal::{Keys, Unsealed};
use super::{Cluster, lock};
use crate::registry::request::Denied;
use crate::registry::store::Wanted;
use crate::registry::{Handle, Kept};

/// `by` in the audit trail.
const BY: &str = "server";

/// Makes the records of our streamers and what the registry has agree. `born`: the bucket that the records are in.
///
/// # Errors
/// The outcome of a write is unknown, so all must be read again before anything else is decided.
pub(super) async fn agree(node: &Node, nats: &Nats, born: &str) -> Result<(), Error> {
    let cluster = &node.cluster;
    let _turn = cluster.0.turn.lock().await;
    // In this order: an id that is being created has a claim before it has a record, and a record before the registry has it.
    let own = lock(&cluster.0.directory).own_lineages();
    let claims = lock(&cluster.0.claims).clone();
    // It ends with the server.
    let Ok(local) = node.registry.list_kept(None).await else { return Ok(()) };
    let local = local.into_iter().map(|kept| as_told(cluster.name(), kept));
    let local: BTreeMap<_, _> = local.map(|kept| (kept.streamer.id.clone(), kept)).collect();
    let same_bucket = lock(&cluster.0.memory).is_bucket(born);
    let remembered = lock(&cluster.0.memory).ids();
    let ids: BTreeSet<&StreamerId> = own.keys().chain(local.keys()).chain(&remembered).collect();
    let mut conflicts = BTreeSet::new();
    let mut all_written = true;
    for id in ids.into_iter().filter(|id| !claims.contains(*id)) {
        let runs = match local.get(id) {
            // It is ending; what follows is decided when it has.
            Some(Kept { record: None, .. }) => continue,
            Some(kept) => Some(kept),
            None => None,
        };
        // Each change of one streamer asks about all of this node's: nearly all are as they were.
        if runs.is_some_and(|kept| is_as_recorded(cluster, id, kept)) {
            continue;
        }
        // In this order: what ends is taken out of the directory first, so none that has just ended looks like one that is to be started.
        let remembered = lock(&cluster.0.memory).get(id).cloned();
        let held = lock(&cluster.0.directory).get(id).cloned();
        let since = held
            .as_ref()
            .is_some_and(|held| is_ours(cluster, held) && own.get(id) != Some(&held.record.lineage()));
        if runs.is_none() && since {
            // It was given to us, or created, since we began; perhaps after one of the same id had ended.
            continue;
        }
        let known = remembered.as_ref().map(|known| known.lineage);
        let unreadable = lock(&cluster.0.directory).unreadable(id);
        if let Some(unreadable) = unreadable {
            // Whoever runs it writes it anew, unless it is of a web-server that knows more.
            if let (Some(known), Some(kept), false) = (remembered, runs, unreadable.newer) {
                let record = StreamerRecord::new(cluster.name(), known.lineage, known.labels, today());
                put(cluster, nats, id, filled(record, kept), Some(unreadable.revision)).await?;
            }
            continue;
        }
        let facts = Local { runs: runs.is_some(), remembered: known };
        let step = reconcile(cluster.name(), facts, held.as_ref().map(|held| &held.record), same_bucket);
        let done =
            Change { node, nats, id, held, runs, remembered: known }.carry_out(step, &mut conflicts).await?;
        all_written &= done;
    }
    *lock(&cluster.0.conflicts) = conflicts;
    if all_written {
        lock(&cluster.0.memory).set_bucket(born);
    }
    cluster.0.agreed.notify_waiters();
    Ok(())
}

/// Whether a streamer that runs here is ours by its record, and that says how it is.
fn is_as_recorded(cluster: &Cluster, id: &StreamerId, Kept { streamer, record: kept }: &Kept) -> bool {
    let known = lock(&cluster.0.memory).get(id).filter(|known| !known.paused).cloned();
    let Some(Remembered { lineage, labels, .. }) = known else { return false };
    let directory = lock(&cluster.0.directory);
    let as_recorded = |Held { record, .. }: &Held| {
        record.node == cluster.name()
            && record.lineage() == lineage
            && record.labels == labels
            && record.refused.is_empty()
            && record.streamer.as_ref() == Some(streamer)
            && record.kept == *kept
    };
    directory.unreadable(id).is_none() && directory.get(id).is_some_and(as_recorded)
}

fn is_ours(cluster: &Cluster, held: &Held) -> bool {
    held.record.node == cluster.name()
}

/// What is done with one streamer.
struct Change<'a> {
    node: &'a Node,
    nats: &'a Nats,
    id: &'a StreamerId,
    held: Option<Held>,
    runs: Option<&'a Kept>,
    remembered: Option<Lineage>,
}

impl Change<'_> {
    /// Whether the record is as it ought to be now.
    async fn carry_out(self, step: Step, conflicts: &mut BTreeSet<StreamerId>) -> Result<bool, Error> {
        let Self { node, nats, id, .. } = self;
        let cluster = &node.cluster;
        match step {
            Step::Forget => {
                if let Some(known) = self.remembered {
                    lock(&cluster.0.memory).forget(id, known.claim);
                }
            }
            Step::Write(lineage) => {
                let drawn = || Lineage { claim: getrandom::u64().unwrap_or_default(), generation: 1 };
                let lineage = lineage.unwrap_or_else(drawn);
                let labels = lock(&cluster.0.memory).get(id).map(|known| known.labels.clone());
                let record =
                    StreamerRecord::new(cluster.name(), lineage, labels.unwrap_or_default(), today());
                return self.write(record, None).await;
            }
            Step::Keep(lineage) => return self.keep(lineage).await,
            Step::Override => {
                let Some(Held { record, revision }) = &self.held else { return Ok(false) };
                let known = lock(&cluster.0.memory).get(id).map(|known| known.lineage.generation);
                tracing::warn!(%id, node = record.node, "a record that is older than this node's streamer is replaced");
                let generation = known.unwrap_or(record.generation);
                let node = cluster.name().to_owned();
                let record = StreamerRecord { node, generation, origin: None, ..record.clone() };
                return self.write(record, Some(*revision)).await;
            }
            Step::End(why) => {
                let Some(Kept { streamer, .. }) = self.runs else { return Ok(true) };
                tracing::warn!(%id, %why, "ending this node's copy of a streamer");
                if let Err(error) = node.registry.give_up(id, streamer.created, BY, why.to_string()).await {
                    tracing::debug!(%id, %error, "it has ended by itself");
                }
            }
            Step::Conflict { node: other } => {
                if !lock(&cluster.0.conflicts).contains(id) {
                    tracing::error!(
                        %id, node = other,
                        "this node and another one have a streamer of the same id: each answers for its own, all other nodes for \
                         the other one's; delete one of them at its node"
                    );
                }
                conflicts.insert(id.clone());
            }
            Step::Start => return self.start().await,
            Step::Remove => {
                let Some(held) = &self.held else { return Ok(true) };
                // Whoever deletes it may do the same at this moment.
                if let Err(error) = nats.streamers.remove(&key_of(id.as_str()), held.revision).await {
                    tracing::debug!(%id, %error, "a record is not removed yet");
                    return Ok(false);
                }
                lock(&cluster.0.directory).removed(id, held.revision + 1);
                lock(&cluster.0.memory).forget(id, held.record.claim);
            }
        }
        Ok(true)
    }

    /// Writes `record` with what runs here in it.
    async fn write(&self, record: StreamerRecord, revision: Option<u64>) -> Result<bool, Error> {
        let Some(kept) = self.runs else { return Ok(false) };
        let record = filled(record, kept);
        let lineage = record.lineage();
        let labels = record.labels.clone();
        let written = put(&self.node.cluster, self.nats, self.id, record, revision).await?;
        if written {
            lock(&self.node.cluster.0.memory).started(self.id, lineage, &labels);
        }
        Ok(written)
    }

    async fn keep(&self, lineage: Lineage) -> Result<bool, Error> {
        let cluster = &self.node.cluster;
        let (Some(held), Some(kept)) = (&self.held, self.runs) else { return Ok(false) };
        let was_paused = {
            let mut memory = lock(&cluster.0.memory);
            memory.started(self.id, lineage, &held.record.labels);
            memory.get(self.id).is_some_and(|known| known.paused)
        };
        if was_paused {
            tracing::info!(id = %self.id, "no other node has started it: it goes on here");
            lock(&cluster.0.memory).set_paused(self.id, false);
            if let Err(error) = self.node.registry.restart(self.id, BY).await {
                tracing::warn!(id = %self.id, %error, "a streamer does not go on");
            }
            // It changes now, and is written then.
            return Ok(true);
        }
        rewrite(cluster, self.nats, self.id, lineage, kept, held).await
    }

    /// Starts what was given to us, or gives it to somebody else.
    async fn start(&self) -> Result<bool, Error> {
        let cluster = &self.node.cluster;
        let id = self.id;
        let Some(Held { record, .. }) = &self.held else { return Ok(false) };
        let Some(kept) = record.kept.clone() else {
            return self.hand_on("its spec needs a newer web-server".into()).await;
        };
        let origin = record.origin.as_ref();
        let why = origin.map_or_else(
            || format!("generation {}", record.generation),
            |origin| {
                format!("from the node {}: {} (generation {})", origin.node, origin.why, record.generation)
            },
        );
        let by = origin.map_or(BY, |origin| origin.by.as_str());
        let refused = match (self.node.allows)(&kept.spec) {
            Err(why) => why,
            Ok(()) => match self.node.registry.take_over(kept, by, why).await {
                Ok(_) => {
                    tracing::info!(%id, generation = record.generation, "a streamer is this node's now");
                    lock(&cluster.0.memory).started(id, record.lineage(), &record.labels);
                    lock(&cluster.0.stuck).remove(id);
                    return Ok(true);
                }
                // Its last copy here is not gone yet, or we are about to end.
                Err(Denied::Stopping | Denied::Exists(_) | Denied::ShuttingDown) => return Ok(true),
                Err(denied) => denied.to_string(),
            },
        };
        self.hand_on(refused).await
    }

    /// Gives a streamer that cannot be started here to the node with the most room of those that have not refused it.
    async fn hand_on(&self, why: String) -> Result<bool, Error> {
        let cluster = &self.node.cluster;
        let Some(Held { record, revision }) = &self.held else { return Ok(false) };
        let mut refused = record.refused.clone();
        refused.insert(cluster.name().to_owned());
        let wish = Placement { node: None, labels: record.labels.clone() };
        let Ok((to, _coming)) = cluster.reserve(&wish, &refused) else {
            if lock(&cluster.0.stuck).insert(self.id.clone(), why.clone()).is_none() {
                tracing::error!(id = %self.id, why, "no node can start this streamer; it is tried again");
            }
            return Ok(true);
        };
        tracing::warn!(id = %self.id, why, to, "a streamer cannot be started here");
        let origin = Origin { node: cluster.name().to_owned(), by: BY.to_owned(), why };
        let record = StreamerRecord { refused, ..record.given_to(&to, origin, today()) };
        put(cluster, self.nats, self.id, record, Some(*revision)).await
    }
}

/// Writes how a streamer of ours is into its record, if that says something else.
///
/// # Errors
/// As of [`put`].
pub(super) async fn rewrite(
    cluster: &Cluster,
    nats: &Nats,
    id: &StreamerId,
    lineage: Lineage,
    kept: &Kept,
    held: &Held,
) -> Result<bool, Error> {
    let Lineage { claim, generation } = lineage;
    let record = StreamerRecord { claim, generation, refused: BTreeSet::new(), ..held.record.clone() };
    let record = filled(record, kept);
    // Nothing need be encrypted to see that.
    if record == held.record {
        return Ok(true);
    }
    let Some((record, sealed)) = seal(&cluster.0.keys, &key_of(id.as_str()), record) else {
        return Ok(true);
    };
    // One that is too long for what starts it.
    if record == held.record {
        return Ok(true);
    }
    put_sealed(cluster, nats, id, (record, sealed), Some(held.revision)).await
}

/// Writes a record that has this revision, or none. Returns whether it is there now; if not, somebody else was first.
///
/// # Errors
/// The outcome is unknown: it may be done later.
pub(super) async fn put(
    cluster: &Cluster,
    nats: &Nats,
    id: &StreamerId,
    record: StreamerRecord,
    revision: Option<u64>,
) -> Result<bool, Error> {
    match seal(&cluster.0.keys, &key_of(id.as_str()), record) {
        Some(sealed) => put_sealed(cluster, nats, id, sealed, revision).await,
        None => Ok(false),
    }
}

async fn put_sealed(
    cluster: &Cluster,
    nats: &Nats,
    id: &StreamerId,
    (record, sealed): (StreamerRecord, Vec<u8>),
    revision: Option<u64>,
) -> Result<bool, Error> {
    let key = key_of(id.as_str());
    let written = match revision {
        Some(revision) => nats.streamers.update(&key, sealed, revision).await,
        None => nats.streamers.create(&key, sealed).await,
    };
    match written {
        Ok(revision) => {
            lock(&cluster.0.directory).put(id.clone(), Held { record, revision });
            Ok(true)
        }
        Err(WriteError::Conflict) => {
            tracing::debug!(%id, "somebody else has written a record");
            Ok(false)
        }
        Err(WriteError::Unknown(why)) => {
            let read = cluster.read::<StreamerRecord>(&nats.streamers, id.as_str()).await?;
            match read {
                Some((found, revision)) if found == record => {
                    lock(&cluster.0.directory).put(id.clone(), Held { record, revision });
                    Ok(true)
                }
                _ => Err(Error::Unknown(why)),
            }
        }
    }
}

/// A record whose streamer has too long a spec goes without what starts it, so that it stays where it is. If that is not enough, other nodes
/// know the id alone.
fn seal(keys: &Keys, key: &str, mut record: StreamerRecord) -> Option<(StreamerRecord, Vec<u8>)> {
    let mut sealed = records::write(keys, key, &record);
    if let Err(Unsealed::TooLong(_)) = sealed {
        record.kept = None;
        sealed = records::write(keys, key, &record);
    }
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

/// A record that says how its streamer is.
fn filled(record: StreamerRecord, Kept { streamer, record: kept }: &Kept) -> StreamerRecord {
    record.saying(streamer.clone(), kept.clone())
}

/// A streamer as its record tells of it, by the word of the node `own`: without what changes while it runs, and what matters to this node alone.
pub(super) fn as_told(own: &str, mut kept: Kept) -> Kept {
    let Kept { streamer, record } = &mut kept;
    streamer.node = Some(own.to_owned());
    streamer.idle_since = None;
    streamer.slots.clear();
    streamer.peers.clear();
    streamer.control = Control::default();
    streamer.stats = None;
    streamer.pointer = None;
    streamer.restarts.last = streamer.restarts.last.take().map(LastEnd::without_log);
    if let Some(record) = record {
        record.history = record.history.for_successor();
    }
    kept
}

/// Ends the processes of streamers that other nodes may start, as this node is lost to them (`cluster.on_partition`). Those that are
/// being started are left for the next time.
pub(super) async fn pause(cluster: &Cluster, registry: &Handle, now: fn() -> Instant) {
    let _turn = cluster.0.turn.lock().await;
    // NATS may have been reached again while we waited for our turn.
    if now() < *lock(&cluster.0.renewed) + cluster.0.config.lease {
        return;
    }
    // It ends with the server.
    let Ok(local) = registry.list_kept(None).await else { return };
    for Kept { record, .. } in local {
        let Some(record) = record else { continue };
        let fails_over =
            record.wanted == Wanted::Running && record.spec.restart.policy != RestartPolicy::Never;
        let id = record.id;
        let known = lock(&cluster.0.memory).get(&id).is_some_and(|known| !known.paused);
        if !fails_over || !known {
            continue;
        }
        // First: what is stopped and not known to be paused would stay stopped.
        lock(&cluster.0.memory).set_paused(&id, true);
        let reason = "this node cannot reach NATS, so another one may have started it (cluster.on_partition)";
        if registry.pause(&id, reason.to_owned()).await != Ok(true) {
            lock(&cluster.0.memory).set_paused(&id, false);
        }
    }
}
