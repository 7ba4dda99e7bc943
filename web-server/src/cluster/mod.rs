//! Many machines as one: this server as a node of a cluster. Without `cluster.nats` nothing of it runs.
//!
//! ```text
//! api ──claim, release, place──▶ Cluster ──▶ nats (buckets: nodes, streamers, revoked) ──▶ NATS
//!  │                               ▲ └── directory (who is alive, who has which id) ◀──watched entries──┘
//!  └──forward (HTTP to the node that has the id)        member task: lease, lists, watches, records that agree
//! ```
//!
//! An id belongs to whoever created its key. The node that runs a streamer writes its record, and no other: so the record and what runs
//! differ only for as long as NATS cannot be reached, and [`member`] makes them agree afterwards.

pub mod directory;
pub mod forward;
pub mod member;
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

use common::api::Streamer;
use common::cluster::{Node, Placement};
use common::id::{StreamerId, TokenId};
use tokio::sync::Notify;

use self::directory::{Directory, Held};
use self::member::now;
use self::nats::{Bucket, Nats, WriteError};
use self::pass::{Pass, Used};
use self::place::NoCapacity;
use self::records::{NodeRecord, Record, StreamerRecord, key_of};
use self::seal::Keys;
use crate::config::Cluster as Config;

/// In the state directory: which process of a name this is, so that it is known again after a restart.
const INSTANCE_FILE: &str = "cluster.instance";
/// There while the node is draining, so that it still is after a restart.
const DRAINING_FILE: &str = "cluster.draining";

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

/// This server as a node. Clones are the same node.
#[derive(Clone)]
pub struct Cluster(Arc<Shared>);

struct Shared {
    config: Config,
    keys: Keys,
    instance: u64,
    max_streamers: u32,
    draining: AtomicBool,
    draining_file: PathBuf,
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
    /// Something of ours has changed.
    changed: Notify,
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
            draining_file,
            tls: forward::tls(config.ca.as_deref())?,
            directory: Mutex::new(Directory::new(config.name.clone(), config.lease)),
            used: Mutex::default(),
            nats: Mutex::new(Err("it has not been connected yet".into())),
            claims: Mutex::default(),
            claim_ended: Notify::new(),
            coming: Mutex::default(),
            conflicts: Mutex::default(),
            changed: Notify::new(),
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

    /// The streamers of other nodes as they were lately, in order of ids.
    pub fn others(&self) -> Vec<Streamer> {
        let mut others = lock(&self.0.directory).others(now());
        let conflicts = lock(&self.0.conflicts);
        others.retain(|streamer| !conflicts.contains(&streamer.id));
        others
    }

    /// Checks the pass of a request that a node forwards.
    ///
    /// # Errors
    /// It is not good.
    pub fn admit(&self, method: &str, path: &str, header: &str, now_ms: i64) -> Result<Pass, Error> {
        let request = pass::Request { method, path, to: self.name() };
        Ok(pass::verify(&self.0.keys.requests, request, header, &mut lock(&self.0.used), now_ms)?)
    }

    /// The node for a new streamer, which counts there until what is returned is dropped.
    ///
    /// # Errors
    /// No node can take it, or NATS cannot be reached.
    pub async fn place(&self, wish: &Placement) -> Result<(String, Coming), Error> {
        let nats = self.nats()?;
        loop {
            let node = {
                let mut coming = lock(&self.0.coming);
                let node = lock(&self.0.directory).place(now(), wish, &coming)?;
                *coming.entry(node.clone()).or_default() += 1;
                node
            };
            let coming = Coming { cluster: self.clone(), node: node.clone() };
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
    pub async fn publish(&self, id: &StreamerId, streamer: &Streamer) {
        let held = lock(&self.0.directory).get(id).filter(|held| held.record.node == self.name()).cloned();
        let (Some(held), Ok(nats)) = (held, self.nats()) else { return };
        member::rewrite(self, &nats, id, streamer.clone(), held).await;
    }

    /// Takes an id for a streamer that is created here. Waits while another request creates it.
    ///
    /// # Errors
    /// Another node has it, or NATS cannot be reached.
    pub async fn claim(&self, id: &StreamerId) -> Result<Claim, Error> {
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
        let record = StreamerRecord { node: self.name().to_owned(), claim: drawn, streamer: None };
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
        let held = lock(&self.0.directory).get(id).filter(|held| held.record.node == self.name()).cloned();
        let (Some(held), Ok(nats)) = (held, self.nats()) else { return };
        match nats.streamers.remove(&key_of(id.as_str()), held.revision).await {
            // Above what is known of it, and below what anybody can write next.
            Ok(()) => lock(&self.0.directory).removed(id, held.revision + 1),
            Err(error) => {
                tracing::warn!(%id, %error, "the record of a streamer that is gone is removed later")
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
        let Shared { config, instance, max_streamers, draining, .. } = &*self.0;
        NodeRecord {
            name: config.name.clone(),
            instance: *instance,
            advertise: config.advertise.clone(),
            labels: config.labels.clone(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
            max_streamers: *max_streamers,
            draining: draining.load(Ordering::Relaxed),
        }
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
