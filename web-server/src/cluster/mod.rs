//! Many machines as one: this server as a node of a cluster. Without `cluster.nats` nothing of it runs.
//!
//! ```text
//! api ──claim, release, place──▶ Cluster ──▶ nats (buckets: nodes, streamers, revoked) ──▶ NATS
//!  │                               ▲ └── directory (who is alive, who has which id) ◀──watched entries──┘
//!  └──forward (HTTP to the node that has the id)        member task: lease, lists, watches, records that agree; events
//! ```
//!
//! An id belongs to whoever created its key, and its record says which node is to run the streamer. That node writes how it is; another one
//! writes only to give it to a node, by a compare-and-set that counts its generation up: when the node is lost, or when somebody moves it.
//! What runs and what the record says differ for as long as NATS cannot be reached, and `agree` carries out what [`decide`] says then.

mod agree;
pub mod decide;
pub mod directory;
mod events;
pub mod forward;
mod load;
pub mod member;
mod memory;
pub mod nats;
pub mod pass;
pub mod place;
pub mod records;
pub mod seal;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::{Duration, Instant};

use actix_web::web;
use common::api::Streamer;
use common::cluster::{Labels, Node, NodeState, Placement};
use common::id::{StreamerId, TokenId};
use common::signal::StreamerState;
use tokio::sync::Notify;
use tokio::time::timeout;

use self::decide::Lineage;
use self::directory::{Directory, Held};
use self::load::Meter;
use self::member::{now, today};
use self::memory::Memory;
use self::nats::{Bucket, Nats, WriteError};
use self::pass::{Pass, Used};
use self::place::NoCapacity;
use self::records::{NodeRecord, Origin, Record, StreamerRecord, key_of};
use self::seal::Keys;
use crate::config::Cluster as Config;
use crate::registry::Handle;

/// In the state directory: which process of a name this is, so that it is known again after a restart.
const INSTANCE_FILE: &str = "cluster.instance";
/// There while the node is draining, so that it still is after a restart.
const DRAINING_FILE: &str = "cluster.draining";
/// A request waits so long for a streamer that was given to this node and is about to be started.
const START_PATIENCE: Duration = Duration::from_secs(5);
/// So often a write is tried again when somebody else was first.
const ATTEMPTS: usize = 5;

/// Why something cannot be done in the cluster.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Without NATS it is not known whether an id is free.
    #[error("this node cannot reach NATS, so nothing can be created now: {0}")]
    Unreachable(String),
    /// No node can take it.
    #[error(transparent)]
    NoCapacity(#[from] NoCapacity),
    /// Another node has the id.
    #[error("a streamer {id} is already there, at the node {node}; delete it first or choose another id")]
    Taken {
        /// The id.
        id: StreamerId,
        /// The node that has it.
        node: String,
    },
    /// No node has the id.
    #[error("there is no streamer {0}")]
    NotFound(StreamerId),
    /// It cannot be given to another node.
    #[error("the streamer {id} cannot be moved: {why}")]
    Immovable {
        /// The id.
        id: StreamerId,
        /// Why.
        why: &'static str,
    },
    /// It was forwarded to us, and another node has it by now.
    #[error("the streamer {id} is at the node {node} now; try again")]
    Moved {
        /// The id.
        id: StreamerId,
        /// The node that has it.
        node: String,
    },
    /// There is no such node.
    #[error("there is no node {0:?}")]
    NoNode(String),
    /// The server is in no cluster.
    #[error("this server is in no cluster (cluster.nats)")]
    NoCluster,
    /// A node does not answer.
    #[error("the node {node} cannot be reached: {why}")]
    Node {
        /// Its name.
        node: String,
        /// Why.
        why: String,
    },
    /// A node answers too slowly.
    #[error("the node {node} has not answered within {seconds} s")]
    Slow {
        /// Its name.
        node: String,
        /// How long it had.
        seconds: u64,
    },
    /// It does not come from a node of this cluster.
    #[error(transparent)]
    Pass(#[from] pass::Invalid),
    /// The state directory cannot be written.
    #[error("{0}")]
    State(#[from] io::Error),
}

/// The cluster that the server is in, if it is in one: an argument of handlers.
pub type Membership = Option<web::Data<Cluster>>;

/// This server as a node. Clones are the same node.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    config: Config,
    keys: Keys,
    instance: u64,
    max_streamers: u32,
    draining: AtomicBool,
    /// It has read what there is. Before that it has a lease, and gets no streamers.
    ready: AtomicBool,
    draining_file: PathBuf,
    meter: Mutex<Meter>,
    tls: tokio_rustls::TlsConnector,
    directory: Mutex<Directory>,
    used: Mutex<Used>,
    /// `Err`: why NATS cannot be reached.
    nats: Mutex<Result<Nats, String>>,
    /// Ids that are being created here.
    claims: Mutex<BTreeSet<StreamerId>>,
    claim_ended: Notify,
    /// Streamers that we have sent to a node and that no record says yet.
    coming: Mutex<BTreeMap<String, u32>>,
    /// Ids that we run although another node has them.
    conflicts: Mutex<BTreeSet<StreamerId>>,
    /// What was given to us, and neither we nor others can start; why.
    stuck: Mutex<BTreeMap<StreamerId, String>>,
    memory: Mutex<Memory>,
    /// Of those who start and end streamers here: one at a time.
    turn: tokio::sync::Mutex<()>,
    /// When the lease was last renewed; before that, when this process began.
    renewed: Mutex<Instant>,
    /// Something of ours has changed.
    changed: Notify,
    /// What runs here and what the records say agree, as far as can be.
    agreed: Notify,
}

/// What a panic leaves behind in these is whole: each change is one insertion or removal.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The id is ours, for as long as this is held to create its streamer.
pub struct Claim {
    cluster: Cluster,
    id: StreamerId,
    /// The key was created now.
    pub fresh: bool,
}

impl Drop for Claim {
    fn drop(&mut self) {
        lock(&self.cluster.0.claims).remove(&self.id);
        self.cluster.0.claim_ended.notify_waiters();
        self.cluster.0.changed.notify_one();
    }
}

/// What a wish to move a streamer has led to.
#[derive(Debug, Clone, PartialEq)]
pub enum Relocated {
    /// The node that is named in it starts it.
    Moves(Streamer),
    /// It was at the wanted node already.
    IsThere(Streamer),
}

/// A streamer is on its way to a node.
pub struct Coming {
    cluster: Cluster,
    node: String,
}

impl Drop for Coming {
    fn drop(&mut self) {
        let mut coming = lock(&self.cluster.0.coming);
        if let Some(count) = coming.get_mut(&self.node) {
            *count = count.saturating_sub(1);
        }
        coming.retain(|_, count| *count > 0);
    }
}

impl Cluster {
    /// This server as a node, which reaches nobody yet.
    ///
    /// # Errors
    /// Files cannot be read or written.
    pub fn new(config: Config, max_streamers: usize, state_dir: &Path) -> io::Result<Self> {
        let keys = Keys::derive(config.key.expose());
        let draining_file = state_dir.join(DRAINING_FILE);
        let shared = Shared {
            keys,
            instance: instance(&state_dir.join(INSTANCE_FILE))?,
            max_streamers: max_streamers.try_into().unwrap_or(u32::MAX),
            draining: AtomicBool::new(draining_file.exists()),
            ready: AtomicBool::new(false),
            draining_file,
            meter: Mutex::default(),
            tls: forward::tls(config.ca.as_deref())?,
            directory: Mutex::new(Directory::new(config.name.clone(), config.lease)),
            used: Mutex::default(),
            nats: Mutex::new(Err("it has not been connected yet".into())),
            claims: Mutex::default(),
            claim_ended: Notify::new(),
            coming: Mutex::default(),
            conflicts: Mutex::default(),
            stuck: Mutex::default(),
            memory: Mutex::new(Memory::open(state_dir)?),
            turn: tokio::sync::Mutex::default(),
            renewed: Mutex::new(now()),
            changed: Notify::new(),
            agreed: Notify::new(),
            config,
        };
        Ok(Self(Arc::new(shared)))
    }

    /// Name of this node.
    pub fn name(&self) -> &str {
        &self.0.config.name
    }

    /// The key that tokens of all nodes are signed with.
    pub fn token_key(&self) -> [u8; 32] {
        self.0.keys.tokens
    }

    /// The node that has an id, if it is another one.
    pub fn elsewhere(&self, id: &StreamerId) -> Option<String> {
        if lock(&self.0.conflicts).contains(id) {
            return None;
        }
        lock(&self.0.directory).elsewhere(id).map(str::to_owned)
    }

    /// The node that has an id, if it is another one. An id that is not known is looked up: its record may be younger than what we
    /// have been told.
    pub async fn locate(&self, id: &StreamerId) -> Option<String> {
        if self.elsewhere(id).is_none() && !self.is_ours(id) {
            let nats = self.nats().ok()?;
            let (record, revision) = self.read(&nats.streamers, id.as_str()).await.ok()??;
            lock(&self.0.directory).put(id.clone(), Held { record, revision });
        }
        self.elsewhere(id)
    }

    /// Whether this node has an id.
    pub fn is_ours(&self, id: &StreamerId) -> bool {
        let known = lock(&self.0.directory).get(id).map(|held| held.record.node == self.name());
        known == Some(true) || lock(&self.0.conflicts).contains(id)
    }

    /// All nodes.
    pub fn nodes(&self) -> Vec<Node> {
        lock(&self.0.directory).nodes(now())
    }

    /// Where browsers reach the nodes that are alive, in order of names; those that say it.
    pub fn public_urls(&self) -> Vec<String> {
        lock(&self.0.directory).public_urls(now())
    }

    /// Whether pages of this origin are of a node, also of one that is lost: those are the ones that go on elsewhere.
    pub fn is_origin(&self, origin: &str) -> bool {
        lock(&self.0.directory).is_origin(origin)
    }

    /// The streamers of other nodes as they were lately, in order of ids: at most `limit`, after `after`, of `node` alone if it is given.
    pub fn others(&self, node: Option<&str>, after: Option<&StreamerId>, limit: usize) -> Vec<Streamer> {
        let conflicts = lock(&self.0.conflicts).clone();
        lock(&self.0.directory).others(now(), node, after, limit, &conflicts)
    }

    /// Streamers that were given to this node and do not run here yet, in order of ids.
    pub fn pending(&self) -> Vec<Streamer> {
        // Nearly always there are none, and nothing need be copied to see that.
        let own = lock(&self.0.directory).own_lineages();
        let given: Vec<_> = {
            let memory = lock(&self.0.memory);
            let started = |id: &StreamerId, lineage: Lineage| {
                memory.get(id).is_some_and(|known| known.lineage == lineage)
            };
            own.into_iter().filter(|(id, lineage)| !started(id, *lineage)).map(|(id, _)| id).collect()
        };
        let held = |id: &StreamerId| lock(&self.0.directory).get(id).cloned();
        given.iter().filter_map(|id| self.awaited(id, &held(id)?)).collect()
    }

    /// How a streamer is shown that was given to this node and does not run here yet.
    fn awaited(&self, id: &StreamerId, held: &Held) -> Option<Streamer> {
        let started = lock(&self.0.memory).get(id).map(|known| known.lineage) == Some(held.record.lineage());
        if started || held.record.node != self.name() || !held.record.can_be_started() {
            return None;
        }
        let mut streamer = held.record.streamer.clone()?;
        let stuck = lock(&self.0.stuck).get(id).cloned();
        (streamer.state, streamer.reason) = match stuck {
            Some(why) => (StreamerState::Lost, Some(format!("no node can start it: {why}"))),
            None => (StreamerState::Restarting, Some("it is being started at another node".into())),
        };
        streamer.node = Some(self.name().to_owned());
        Some(streamer)
    }

    /// Waits, for a bounded time, until a streamer runs that was given to this node.
    pub async fn settled(&self, id: &StreamerId) {
        let wait = async {
            loop {
                let agreed = self.0.agreed.notified();
                tokio::pin!(agreed);
                agreed.as_mut().enable();
                let held = lock(&self.0.directory).get(id).cloned();
                let awaited = held.is_some_and(|held| self.awaited(id, &held).is_some());
                if !awaited || lock(&self.0.stuck).contains_key(id) {
                    return;
                }
                agreed.await;
            }
        };
        if timeout(START_PATIENCE, wait).await.is_err() {
            tracing::debug!(%id, "a streamer that was given to this node is not started yet");
        }
    }

    /// A streamer that no node runs, as its record says: its node is lost, or it was given to this node and does not run here yet.
    pub fn unserved(&self, id: &StreamerId) -> Option<Streamer> {
        let held = lock(&self.0.directory).get(id).cloned()?;
        if held.record.node == self.name() {
            return self.awaited(id, &held);
        }
        let directory = lock(&self.0.directory);
        let lost = directory.state(now(), &held.record.node) == NodeState::Lost;
        if lost { directory.shown(now(), &held) } else { None }
    }

    /// Deletes a streamer that no node runs: nobody starts it any more, and when a lost node comes back, it ends there. Returns whether
    /// there was one.
    ///
    /// # Errors
    /// NATS cannot be reached, or another node runs it.
    pub async fn discard(&self, id: &StreamerId) -> Result<bool, Error> {
        let nats = self.nats()?;
        let Some((record, revision)) = self.fresh(&nats, id).await? else { return Ok(false) };
        if self.unserved(id).is_none() {
            return match record.node == self.name() {
                // It has just ended here.
                true => Ok(false),
                false => Err(Error::Moved { id: id.clone(), node: record.node }),
            };
        }
        let removed = nats.streamers.remove(&key_of(id.as_str()), revision).await;
        removed.map_err(|error| Error::Unreachable(error.to_string()))?;
        lock(&self.0.directory).removed(id, revision + 1);
        Ok(true)
    }

    /// Gives a streamer to another node, which starts it while the present one ends it. Returns how it is shown from now on. Without a
    /// wish, the labels that it was created with count.
    ///
    /// # Errors
    /// There is none of that id, no node can take it, or NATS cannot be reached.
    pub async fn relocate(&self, id: &StreamerId, wish: &Placement, by: &str) -> Result<Relocated, Error> {
        let nats = self.nats()?;
        let immovable = |why| Error::Immovable { id: id.clone(), why };
        for _ in 0..ATTEMPTS {
            let found = self.fresh(&nats, id).await?;
            let (record, revision) = found.ok_or_else(|| Error::NotFound(id.clone()))?;
            if !record.can_be_started() {
                return Err(immovable("it is being created, or its spec is too long for a record"));
            }
            let Some(shown) = record.streamer.clone() else {
                return Err(immovable(
                    "its spec needs a newer web-server; ask a node that has been upgraded",
                ));
            };
            let here = Some(record.node.clone());
            if wish.node == here {
                return Ok(Relocated::IsThere(Streamer { node: here, ..shown }));
            }
            let labels = if wish.labels.is_empty() { record.labels.clone() } else { wish.labels.clone() };
            let wanted = match &wish.node {
                Some(_) => wish.clone(),
                None => Placement { node: None, labels: labels.clone() },
            };
            let (node, _coming) = self.reserve(&wanted, &here.into_iter().collect())?;
            let why = format!("moved to the node {node}");
            let origin = Origin { node: record.node.clone(), by: by.to_owned(), why: why.clone() };
            let given = StreamerRecord {
                labels,
                refused: BTreeSet::new(),
                ..record.given_to(&node, origin, today())
            };
            let written = agree::put(self, &nats, id, given, Some(revision)).await;
            if written.map_err(|error| Error::Unreachable(error.to_string()))? {
                self.0.changed.notify_one();
                let state = StreamerState::Restarting;
                let node = Some(node);
                return Ok(Relocated::Moves(Streamer { node, state, reason: Some(why), ..shown }));
            }
        }
        Err(immovable("others change it at the same time; try again"))
    }

    /// The record of an id as NATS has it now.
    async fn fresh(&self, nats: &Nats, id: &StreamerId) -> Result<Option<(StreamerRecord, u64)>, Error> {
        let read = self.read::<StreamerRecord>(&nats.streamers, id.as_str()).await;
        let read = read.map_err(|error| Error::Unreachable(error.to_string()))?;
        if let Some((record, revision)) = &read {
            lock(&self.0.directory).put(id.clone(), Held { record: record.clone(), revision: *revision });
        }
        Ok(read)
    }

    /// Checks the pass of a request that a node forwards.
    ///
    /// # Errors
    /// It is not good.
    pub fn admit(&self, method: &str, path: &str, header: &str, now_ms: i64) -> Result<Pass, Error> {
        let request = pass::Request { method, path, to: self.name() };
        Ok(pass::verify(&self.0.keys.requests, request, header, &mut lock(&self.0.used), now_ms)?)
    }

    /// The node for a streamer, which is none of `avoid` and counts there until what is returned is dropped.
    ///
    /// # Errors
    /// No node can take it.
    fn reserve(&self, wish: &Placement, avoid: &BTreeSet<String>) -> Result<(String, Coming), NoCapacity> {
        let mut coming = lock(&self.0.coming);
        let node = lock(&self.0.directory).place(now(), wish, &coming, avoid)?;
        *coming.entry(node.clone()).or_default() += 1;
        Ok((node.clone(), Coming { cluster: self.clone(), node }))
    }

    /// The node for a new streamer, as of `reserve()`, as it says itself at this moment.
    ///
    /// # Errors
    /// No node can take it, or NATS cannot be reached.
    pub async fn place(&self, wish: &Placement, avoid: &BTreeSet<String>) -> Result<(String, Coming), Error> {
        let nats = self.nats()?;
        loop {
            let (node, coming) = self.reserve(wish, avoid)?;
            // It may be draining since a moment ago.
            if node == self.name() || !self.has_changed(&nats, &node).await? {
                return Ok((node, coming));
            }
        }
    }

    /// The record of a name, and its revision; `None` without one that can be read.
    async fn read<T: Record>(&self, bucket: &Bucket, name: &str) -> Result<Option<(T, u64)>, nats::Error> {
        let key = key_of(name);
        let Some(entry) = bucket.get(&key).await? else { return Ok(None) };
        let record = entry.value.and_then(|value| records::read(&self.0.keys, &key, &value).ok());
        Ok(record.map(|record| (record, entry.revision)))
    }

    /// Reads the record of a node again. Whether it says something else than before.
    async fn has_changed(&self, nats: &Nats, name: &str) -> Result<bool, Error> {
        let read = self.read::<NodeRecord>(&nats.nodes, name).await;
        let read = read.map_err(|error| Error::Unreachable(error.to_string()))?;
        let mut directory = lock(&self.0.directory);
        let Some((record, _)) = read else {
            directory.left(name);
            return Ok(true);
        };
        let changed = directory.record(name) != Some(&record);
        directory.corrected(record);
        Ok(changed)
    }

    /// Writes what a streamer of ours is into its record. What cannot be written now is written by [`member`] later.
    pub async fn publish(&self, id: &StreamerId, registry: &Handle) {
        let held = lock(&self.0.directory).get(id).filter(|held| held.record.node == self.name()).cloned();
        let (Some(held), Ok(nats)) = (held, self.nats()) else { return };
        let lineage = held.record.lineage();
        lock(&self.0.memory).started(id, lineage, &held.record.labels);
        let Ok(kept) = registry.list_kept(Some(id.clone())).await else { return };
        let Some(kept) = kept.into_iter().next().map(|kept| agree::as_told(self.name(), kept)) else {
            return;
        };
        if let Err(error) = agree::rewrite(self, &nats, id, lineage, &kept, &held).await {
            tracing::debug!(%id, %error, "a record is written later");
        }
    }

    /// Takes an id for a streamer that is created here and needs these labels. Waits while another request creates it.
    ///
    /// # Errors
    /// Another node has it, or NATS cannot be reached.
    pub async fn claim(&self, id: &StreamerId, labels: Labels) -> Result<Claim, Error> {
        loop {
            let ended = self.0.claim_ended.notified();
            tokio::pin!(ended);
            ended.as_mut().enable();
            if lock(&self.0.claims).insert(id.clone()) {
                break;
            }
            ended.await;
        }
        let mut claim = Claim { cluster: self.clone(), id: id.clone(), fresh: false };
        let known = lock(&self.0.directory).get(id).map(|held| held.record.node.clone());
        match known {
            Some(node) if node == self.name() => return Ok(claim),
            Some(node) if !lock(&self.0.conflicts).contains(id) => {
                return Err(Error::Taken { id: id.clone(), node });
            }
            _ => {}
        }
        let nats = self.nats()?;
        let key = key_of(id.as_str());
        let drawn = getrandom::u64().unwrap_or_default();
        let lineage = Lineage { claim: drawn, generation: 1 };
        let record = StreamerRecord::new(self.name(), lineage, labels, today());
        let sealed = records::write(&self.0.keys, &key, &record);
        let sealed = sealed.map_err(|error| Error::Unreachable(error.to_string()))?;
        match nats.streamers.create(&key, sealed).await {
            Ok(revision) => {
                lock(&self.0.directory).put(id.clone(), Held { record, revision });
                claim.fresh = true;
                return Ok(claim);
            }
            Err(WriteError::Conflict | WriteError::Unknown(_)) => {}
        }
        // Somebody was first, or the outcome is unknown: what is there decides.
        let read = nats.streamers.get(&key).await.map_err(|error| Error::Unreachable(error.to_string()))?;
        let unknown = || Error::Unreachable("the outcome of a write is unknown; try again".into());
        let entry = read.ok_or_else(unknown)?;
        let value = entry.value.ok_or_else(unknown)?;
        let found: StreamerRecord = records::read(&self.0.keys, &key, &value)
            .map_err(|error| Error::Unreachable(format!("the record of {id} cannot be read: {error}")))?;
        let node = found.node.clone();
        let ours = found.claim == drawn;
        lock(&self.0.directory).put(id.clone(), Held { record: found, revision: entry.revision });
        if node != self.name() {
            return Err(Error::Taken { id: id.clone(), node });
        }
        claim.fresh = ours;
        Ok(claim)
    }

    /// Frees the id of a streamer of ours that is gone. What cannot be written now is written by [`member`] later.
    pub async fn release(&self, id: &StreamerId) {
        let Some(held) = lock(&self.0.directory).get(id).cloned() else { return };
        let Ok(nats) = self.nats() else { return };
        let claim = held.record.claim;
        let mut revision = held.revision;
        for _ in 0..ATTEMPTS {
            let removed = nats.streamers.remove(&key_of(id.as_str()), revision).await;
            let Err(error) = removed else {
                // Above what is known of it, and below what anybody can write next.
                lock(&self.0.directory).removed(id, revision + 1);
                lock(&self.0.memory).forget(id, claim);
                return;
            };
            // The same streamer may have been given to another node at this moment: it is deleted all the same.
            match self.fresh(&nats, id).await {
                Ok(Some((record, now))) if record.claim == claim && now != revision => revision = now,
                Ok(Some((record, _))) if record.claim == claim => {
                    tracing::warn!(%id, %error, "the record of a streamer that is gone is removed later");
                    return;
                }
                Ok(_) | Err(_) => return,
            }
        }
    }

    /// Tells all nodes that a token is good for nothing any more. What cannot be written now is written at the next connection.
    pub async fn revoke(&self, token: TokenId) {
        let Ok(nats) = self.nats() else { return };
        if let Err(error) = member::publish_revocation(&self.0.keys, &nats, token).await {
            tracing::warn!(%token, %error, "other nodes learn of a revoked token later");
        }
    }

    /// From now on this node takes no new streamers, or takes them again.
    ///
    /// # Errors
    /// The state directory cannot be written.
    pub async fn set_draining(&self, draining: bool) -> Result<(), Error> {
        match draining {
            true => std::fs::write(&self.0.draining_file, "")?,
            false => match std::fs::remove_file(&self.0.draining_file) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
                _ => {}
            },
        }
        self.0.draining.store(draining, Ordering::Relaxed);
        // Our own requests count with it at once, those of other nodes when they hear of it.
        lock(&self.0.directory).heard(now(), self.record());
        if let Ok(nats) = self.nats()
            && let Err(error) = member::renew(self, &nats).await
        {
            tracing::warn!(%error, "other nodes learn later whether this one is draining");
        }
        Ok(())
    }

    fn record(&self) -> NodeRecord {
        let Shared { config, instance, max_streamers, draining, ready, .. } = &*self.0;
        let load = lock(&self.0.meter).load();
        NodeRecord {
            name: config.name.clone(),
            instance: *instance,
            advertise: config.advertise.clone(),
            public_url: config.public_url.clone(),
            labels: config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_streamers: *max_streamers,
            load,
            max_cpu_percent: config.max_cpu_percent,
            max_memory_mb: config.max_memory_mb,
            draining: draining.load(Ordering::Relaxed) || !ready.load(Ordering::Relaxed),
        }
    }

    /// Whether NATS is reached.
    pub fn is_connected(&self) -> bool {
        lock(&self.0.nats).is_ok()
    }

    fn nats(&self) -> Result<Nats, Error> {
        lock(&self.0.nats).clone().map_err(Error::Unreachable)
    }
}

/// The number of this node's state directory; drawn at the first start.
fn instance(file: &Path) -> io::Result<u64> {
    if let Ok(text) = std::fs::read_to_string(file)
        && let Ok(instance) = text.trim().parse()
    {
        return Ok(instance);
    }
    let instance = getrandom::u64().map_err(io::Error::other)?;
    std::fs::write(file, instance.to_string())?;
    Ok(instance)
}
