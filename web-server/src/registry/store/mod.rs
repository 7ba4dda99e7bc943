//! What must outlive the web-server and the machine: specs, whether they are wanted, what was changed at run time, and the
//! audit trail. SQLite in WAL mode, mode 0600, in the state directory.
//!
//! ```text
//! registry ──Write (queue)──▶ thread `store` ──▶ state.db
//!     ▲                            │
//!     └── Health (watch) ──────────┘   lost writes: the registry hands in all that there is, every few seconds, until it fits
//! ```
//!
//! A mirror of what the registry knows, written behind its back: nobody who serves a viewer or a streamer ever waits for the
//! disk. Only the answers to `POST` and `DELETE` do, for a bounded time, so that what was answered outlives a crash. When the disk
//! is full or broken, everything goes on and [`Health`] says why nothing is kept. What is wrong with the file itself ends the start.

mod schema;
mod worker;

use std::fs::OpenOptions;
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::audit::{AuditAction, AuditEntry};
use common::id::StreamerId;
use common::spec::StreamerSpec;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use serde::{Deserialize, Serialize};
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::timeout;

use super::arrangement::Arrangement;
use super::lifetime::Lifetime;
use crate::supervisor::restart::History;

/// The file in the state directory.
pub const FILE: &str = "state.db";
/// Writes that wait for the disk. Each streamer makes a few in its life, each join one; when it is full, writes are lost
/// as if the disk were, and made up for.
const QUEUE: usize = 4096;
/// How long an answer waits for the disk. A disk that is slower than this is no reason to keep a client waiting.
const FLUSH_DEADLINE: Duration = Duration::from_secs(2);
/// Most entries of the audit trail that are read at once.
pub const MAX_AUDIT_PAGE: usize = 1000;

/// Why there is no store to start with. Nothing has been changed in the file then.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// A newer web-server has written it.
    #[error(
        "it was written by a newer version (schema {found}, this version knows up to {}); start that version, or restore the \
         copy of the state directory from before the upgrade",
        schema::VERSION
    )]
    Newer {
        /// Its version.
        found: i64,
    },
    /// Another program has written it.
    #[error("it is a database of another program; choose another state_dir")]
    Foreign,
    /// It cannot be read as a database.
    #[error(
        "it is damaged ({0}); restore it from a copy, or move it away to start without what it holds: streamers that run are \
         found all the same"
    )]
    Damaged(String),
    /// A row means nothing.
    #[error(
        "the row of the streamer {id:?} cannot be read ({message}); restore the database from a copy, or move it away"
    )]
    Row {
        /// Whose.
        id: String,
        /// What is wrong with it.
        message: String,
    },
    /// The file cannot be made or opened.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Anything else that SQLite has to say: the disk is full, another program holds the lock.
    #[error("{0}")]
    Sqlite(rusqlite::Error),
}

impl From<rusqlite::Error> for StoreError {
    fn from(error: rusqlite::Error) -> Self {
        match error.sqlite_error_code() {
            Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => {
                StoreError::Damaged(error.to_string())
            }
            _ => StoreError::Sqlite(error),
        }
    }
}

/// Whether a streamer is to run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Wanted {
    /// It is: after a restart of the machine it is started again.
    Running,
    /// It ended for good by itself.
    Ended,
    /// Its process was ended as nobody used it.
    Stopped,
}

/// One streamer as it is remembered: all that another process, here or at another node, needs to start it again.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Its name.
    pub id: StreamerId,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// What it was created from.
    pub spec: StreamerSpec,
    /// Whether it is to run.
    pub wanted: Wanted,
    /// What was changed at run time.
    #[serde(default)]
    pub arrangement: Arrangement,
    /// How it ended and was started again.
    #[serde(default)]
    pub history: History,
    /// How long it lives.
    #[serde(default)]
    pub lifetime: Lifetime,
}

impl Record {
    /// One that is created now.
    pub fn new(id: StreamerId, created: DateTime<Utc>, spec: StreamerSpec, lifetime: Lifetime) -> Self {
        let arrangement = Arrangement::default();
        let history = History::default();
        Self { id, created, spec, wanted: Wanted::Running, arrangement, history, lifetime }
    }
}

/// Something for the audit trail.
#[derive(Debug, Clone, PartialEq)]
pub struct Audit {
    /// When.
    pub at: DateTime<Utc>,
    /// With which streamer.
    pub streamer: StreamerId,
    /// What was done.
    pub action: AuditAction,
    /// Who did it.
    pub by: String,
    /// More about it.
    pub detail: Option<String>,
}

/// Whether what is known is on the disk.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Health {
    /// All but what has just been handed in.
    Good,
    /// Not all, and it is tried again and again.
    Degraded {
        /// Since when.
        since: DateTime<Utc>,
        /// Why not.
        reason: String,
    },
}

/// Earlier writes are not known to be on the disk; the reason.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct NotFlushed(String);

enum Write {
    Put(Box<Record>),
    Remove(StreamerId),
    /// Replaces all records.
    All(Vec<Record>),
    Audit(Audit),
    Flush(oneshot::Sender<Result<(), NotFlushed>>),
    ReadAudit {
        streamer: StreamerId,
        before: Option<u64>,
        limit: usize,
        answer: oneshot::Sender<Trail>,
    },
}

/// A part of the audit trail, or why it cannot be read.
pub type Trail = Result<Vec<AuditEntry>, String>;

/// Hands in what is to be kept. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    writes: mpsc::Sender<Write>,
    health: watch::Sender<Health>,
    /// Counts what was handed in of streamers.
    changes: watch::Sender<u64>,
}

impl Store {
    /// Opens the database in the state directory, makes it if there is none, and reads what it remembers.
    ///
    /// # Errors
    /// See [`StoreError`].
    pub fn open(state_dir: &Path) -> Result<(Self, Vec<Record>), StoreError> {
        let path = state_dir.join(FILE);
        let (connection, records) = match prepare(&path, Sharing::Others) {
            Err(StoreError::Sqlite(error)) if is_trouble_with_the_disk(&error) => {
                tracing::warn!(%error, "the state directory's disk is full or broken: the database is used without its shared memory");
                prepare(&path, Sharing::Nobody)?
            }
            prepared => prepared?,
        };
        let (writes, queue) = mpsc::channel(QUEUE);
        let health = watch::Sender::new(Health::Good);
        let worker = worker::Worker::new(connection, queue, health.clone());
        std::thread::Builder::new().name("store".into()).spawn(move || worker.run())?;
        Ok((Self { writes, health, changes: watch::Sender::new(0) }, records))
    }

    /// Keeps a streamer as it is now.
    pub fn put(&self, record: Record) {
        self.changes.send_modify(|count| *count += 1);
        self.write(Write::Put(Box::new(record)));
    }

    /// Forgets a streamer, but not what the audit trail has of it.
    pub fn remove(&self, id: StreamerId) {
        self.write(Write::Remove(id));
    }

    /// Replaces all streamers, after some were lost.
    pub fn replace_all(&self, records: Vec<Record>) {
        self.write(Write::All(records));
    }

    /// Adds to the audit trail.
    pub fn audit(&self, audit: Audit) {
        self.write(Write::Audit(audit));
    }

    /// Changes whenever a streamer is kept as it is then.
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }

    /// Whether all is kept.
    pub fn health(&self) -> watch::Receiver<Health> {
        self.health.subscribe()
    }

    /// Waits until all earlier writes are on the disk, for a bounded time.
    ///
    /// # Errors
    /// They are not, or not in time.
    pub async fn flushed(&self) -> Result<(), NotFlushed> {
        let (done, flushed) = oneshot::channel();
        let ended = || NotFlushed("the store has ended".into());
        let flush = async {
            self.writes.send(Write::Flush(done)).await.map_err(|_| ended())?;
            flushed.await.map_err(|_| ended())?
        };
        timeout(FLUSH_DEADLINE, flush).await.unwrap_or_else(|_| {
            tracing::warn!("the state directory's disk is slow: an answer did not wait for it");
            Err(NotFlushed("the disk is slow".into()))
        })
    }

    /// The audit trail of a streamer, the newest entry first, from before `before` on.
    ///
    /// # Errors
    /// Why it cannot be read.
    pub async fn trail(&self, streamer: StreamerId, before: Option<u64>, limit: usize) -> Trail {
        let (answer, trail) = oneshot::channel();
        let read = Write::ReadAudit { streamer, before, limit: limit.min(MAX_AUDIT_PAGE), answer };
        let gone = |_| "the store has ended".to_owned();
        self.writes.send(read).await.map_err(|_| "the store has ended".to_owned())?;
        trail.await.map_err(gone)?
    }

    fn write(&self, write: Write) {
        if self.writes.try_send(write).is_err() {
            self.degrade("more was to be written than the disk could take");
        }
    }

    fn degrade(&self, reason: &str) {
        degrade(&self.health, reason);
    }
}

#[expect(clippy::disallowed_methods, reason = "the trouble of a disk is told when it is met")]
fn degrade(health: &watch::Sender<Health>, reason: &str) {
    health.send_if_modified(|health| match health {
        // The first reason and time are the ones to look for.
        Health::Degraded { .. } => false,
        Health::Good => {
            tracing::error!(reason, "the state of streamers is not kept; they go on, and it is tried again");
            *health = Health::Degraded { since: Utc::now(), reason: reason.to_owned() };
            true
        }
    });
}

/// Who else may read the database at the same time.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Sharing {
    /// An operator who makes a copy, by a file of shared memory.
    Others,
    /// Nobody: SQLite then needs no such file, which a full disk has no room for.
    Nobody,
}

fn prepare(path: &Path, sharing: Sharing) -> Result<(Connection, Vec<Record>), StoreError> {
    let mut connection = open(path)?;
    if sharing == Sharing::Nobody {
        connection.pragma_update(None, "locking_mode", "EXCLUSIVE")?;
    }
    schema::prepare(&mut connection)?;
    // Only now that the file is known to be ours. An answered request must survive a loss of power.
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    let records = worker::records(&connection)?;
    Ok((connection, records))
}

fn is_trouble_with_the_disk(error: &rusqlite::Error) -> bool {
    matches!(
        error.sqlite_error_code(),
        Some(ErrorCode::DiskFull | ErrorCode::SystemIoFailure | ErrorCode::CannotOpen)
    )
}

fn open(path: &Path) -> Result<Connection, StoreError> {
    // SQLite gives its other files the mode of this one.
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
        _ => {}
    }
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_secs(5))?;
    Ok(connection)
}

#[cfg(test)]
mod tests;
