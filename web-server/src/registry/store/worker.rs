//! The thread that writes. What waits is written together, in one transaction: however fast streamers come and go, the disk
//! is asked once per moment.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};
use common::audit::{AuditAction, AuditEntry};
use common::id::StreamerId;
use rusqlite::{Connection, Row, Transaction, TransactionBehavior, params};
use serde::Deserialize as _;
use serde::de::value::{Error as ValueError, StrDeserializer};
use tokio::sync::{mpsc, oneshot, watch};

use super::{Audit, Health, NotFlushed, Record, StoreError, Trail, Wanted, Write, degrade};

/// Most writes in one transaction.
const BATCH: usize = 512;
/// Entries of the audit trail that wait for a disk that is full. When there are more, the oldest go.
const MAX_WAITING: usize = 4096;
/// Entries that are kept of one streamer: a busy one must not push out what is known of the others.
const MAX_AUDIT_OF_ONE: u32 = 2_000;
/// Entries that are kept at all; about 10 MB.
const MAX_AUDIT: u32 = 50_000;

pub struct Worker {
    connection: Connection,
    queue: mpsc::Receiver<Write>,
    health: watch::Sender<Health>,
    /// Entries of the audit trail that are not on the disk yet.
    waiting: VecDeque<Audit>,
}

/// What one transaction does to the table of streamers.
enum Change {
    Put(Box<Record>),
    Remove(StreamerId),
    All(Vec<Record>),
}

impl Worker {
    pub fn new(connection: Connection, queue: mpsc::Receiver<Write>, health: watch::Sender<Health>) -> Self {
        Self { connection, queue, health, waiting: VecDeque::new() }
    }

    /// Works until every sender is gone.
    pub fn run(mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        loop {
            batch.clear();
            let Some(first) = self.queue.blocking_recv() else { return };
            batch.push(first);
            while batch.len() < BATCH
                && let Ok(write) = self.queue.try_recv()
            {
                batch.push(write);
            }
            self.take(batch.drain(..));
        }
    }

    fn take(&mut self, batch: impl Iterator<Item = Write>) {
        let (mut changes, mut flushed, mut reads) = (Vec::new(), Vec::new(), Vec::new());
        for write in batch {
            match write {
                Write::Put(record) => changes.push(Change::Put(record)),
                Write::Remove(id) => changes.push(Change::Remove(id)),
                Write::All(records) => changes.push(Change::All(records)),
                Write::Audit(audit) => self.waiting.push_back(audit),
                Write::Flush(done) => flushed.push(done),
                Write::ReadAudit { streamer, before, limit, answer } => {
                    reads.push((streamer, before, limit, answer));
                }
            }
        }
        let over = self.waiting.len().saturating_sub(MAX_WAITING);
        self.waiting.drain(..over);
        if !changes.is_empty() || !self.waiting.is_empty() {
            self.write(&changes);
        }
        for done in flushed {
            // Fails when nobody waits any more.
            let _ = done.send(self.flushed());
        }
        for (streamer, before, limit, answer) in reads {
            self.answer(&streamer, before, limit, answer);
        }
    }

    /// Whether all writes so far are on the disk.
    fn flushed(&self) -> Result<(), NotFlushed> {
        match &*self.health.borrow() {
            Health::Good => Ok(()),
            Health::Degraded { reason, .. } => Err(NotFlushed(reason.clone())),
        }
    }

    fn write(&mut self, changes: &[Change]) {
        match commit(&mut self.connection, changes, &self.waiting) {
            Ok(()) => {
                self.waiting.clear();
                // After a loss, only all of it together makes it whole again.
                if changes.iter().any(|change| matches!(change, Change::All(_))) {
                    self.health.send_if_modified(|health| {
                        let was_degraded = *health != Health::Good;
                        if was_degraded {
                            tracing::info!("the state of streamers is kept again");
                        }
                        *health = Health::Good;
                        was_degraded
                    });
                }
            }
            Err(error) => degrade(&self.health, &error.to_string()),
        }
    }

    fn answer(
        &self,
        streamer: &StreamerId,
        before: Option<u64>,
        limit: usize,
        answer: oneshot::Sender<Trail>,
    ) {
        let trail = trail(&self.connection, streamer, before, limit).map_err(|error| error.to_string());
        // Whoever has stopped waiting does not miss it.
        let _ = answer.send(trail);
    }
}

#[cfg(test)]
impl Worker {
    /// One batch of what waits.
    pub fn take_all(&mut self) {
        let mut batch = Vec::new();
        while let Ok(write) = self.queue.try_recv() {
            batch.push(write);
        }
        self.take(batch.into_iter());
    }

    /// Makes the disk larger.
    pub fn allow_pages(&self, pages: i64) {
        self.connection.pragma_update(None, "max_page_count", pages).unwrap();
    }
}

/// All or nothing.
fn commit(
    connection: &mut Connection,
    changes: &[Change],
    audit: &VecDeque<Audit>,
) -> Result<(), StoreError> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    for change in changes {
        match change {
            Change::Put(record) => put(&transaction, record)?,
            Change::Remove(id) => {
                transaction.execute("DELETE FROM streamer WHERE id = ?1", [id.as_str()])?;
            }
            Change::All(records) => {
                transaction.execute("DELETE FROM streamer", [])?;
                records.iter().try_for_each(|record| put(&transaction, record))?;
            }
        }
    }
    append(&transaction, audit)?;
    transaction.commit()?;
    Ok(())
}

fn put(transaction: &Transaction<'_>, record: &Record) -> Result<(), StoreError> {
    let json = "specs have string keys and finite numbers";
    transaction
        .prepare_cached(
            "INSERT OR REPLACE INTO streamer (id, created, wanted, spec, arrangement, history, lifetime)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            record.id.as_str(),
            record.created.to_rfc3339(),
            match record.wanted {
                Wanted::Running => "running",
                Wanted::Ended => "ended",
                Wanted::Stopped => "stopped",
            },
            serde_json::to_string(&record.spec).expect(json),
            serde_json::to_string(&record.arrangement).expect(json),
            serde_json::to_string(&record.history).expect(json),
            serde_json::to_string(&record.lifetime).expect(json),
        ])?;
    Ok(())
}

fn append(transaction: &Transaction<'_>, audit: &VecDeque<Audit>) -> Result<(), StoreError> {
    if audit.is_empty() {
        return Ok(());
    }
    let mut insert = transaction.prepare_cached(
        "INSERT INTO audit (streamer, at, action, actor, detail) VALUES (?1, ?2, ?3, ?4, ?5)",
    )?;
    let mut trim = transaction.prepare_cached(
        "DELETE FROM audit WHERE streamer = ?1 AND seq <=
             (SELECT seq FROM audit WHERE streamer = ?1 ORDER BY seq DESC LIMIT 1 OFFSET ?2)",
    )?;
    let mut touched = Vec::new();
    for Audit { at, streamer, action, by, detail } in audit {
        insert.execute(params![streamer.as_str(), at.to_rfc3339(), name(*action), by, detail])?;
        if !touched.contains(&streamer) {
            touched.push(streamer);
        }
    }
    for streamer in touched {
        trim.execute(params![streamer.as_str(), MAX_AUDIT_OF_ONE])?;
    }
    transaction
        .prepare_cached("DELETE FROM audit WHERE seq <= (SELECT max(seq) FROM audit) - ?1")?
        .execute([MAX_AUDIT])?;
    Ok(())
}

/// The name of an action in JSON is its name in the database too.
fn name(action: AuditAction) -> String {
    match serde_json::to_value(action) {
        Ok(serde_json::Value::String(name)) => name,
        other => unreachable!("an action is written as a text, not as {other:?}"),
    }
}

fn trail(
    connection: &Connection,
    streamer: &StreamerId,
    before: Option<u64>,
    limit: usize,
) -> Result<Vec<AuditEntry>, StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT seq, at, action, actor, detail FROM audit
             WHERE streamer = ?1 AND seq < ?2 ORDER BY seq DESC LIMIT ?3",
    )?;
    // SQLite's numbers are signed.
    let before = before.and_then(|seq| i64::try_from(seq).ok()).unwrap_or(i64::MAX);
    let rows = statement.query_map(params![streamer.as_str(), before, limit as i64], entry)?;
    // An action that only a newer version knows is left out.
    Ok(rows.collect::<Result<Vec<_>, _>>()?.into_iter().flatten().collect())
}

fn entry(row: &Row<'_>) -> rusqlite::Result<Option<AuditEntry>> {
    let (at, action): (String, String) = (row.get(1)?, row.get(2)?);
    let action = AuditAction::deserialize(StrDeserializer::<ValueError>::new(&action)).ok();
    let at = time(&at).ok();
    let (seq, by, detail) = (row.get::<_, i64>(0)?.unsigned_abs(), row.get(3)?, row.get(4)?);
    Ok(action.zip(at).map(|(action, at)| AuditEntry { seq, at, action, by, detail }))
}

/// Every streamer that is remembered.
///
/// # Errors
/// A row that means nothing is not skipped: it would be lost with the next write.
pub fn records(connection: &Connection) -> Result<Vec<Record>, StoreError> {
    let mut statement = connection.prepare(
        "SELECT id, created, wanted, spec, arrangement, history, lifetime FROM streamer ORDER BY id",
    )?;
    let texts = statement.query_map([], |row| {
        let [id, created, wanted, spec] = [row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?];
        Ok([id, created, wanted, spec, row.get(4)?, row.get(5)?, row.get::<_, String>(6)?])
    })?;
    texts.map(|texts| record(&texts?)).collect()
}

fn record(texts: &[String; 7]) -> Result<Record, StoreError> {
    let [id, created, wanted, spec, arrangement, history, lifetime] = texts;
    let bad = |message: String| StoreError::Row { id: id.clone(), message };
    Ok(Record {
        id: StreamerId::parse(id.as_str()).map_err(|error| bad(error.to_string()))?,
        created: time(created).map_err(|error| bad(format!("created: {error}")))?,
        wanted: match wanted.as_str() {
            "running" => Wanted::Running,
            "ended" => Wanted::Ended,
            "stopped" => Wanted::Stopped,
            other => return Err(bad(format!("wanted: {other:?}"))),
        },
        spec: serde_json::from_str(spec).map_err(|error| bad(format!("spec: {error}")))?,
        arrangement: serde_json::from_str(arrangement)
            .map_err(|error| bad(format!("arrangement: {error}")))?,
        history: serde_json::from_str(history).map_err(|error| bad(format!("history: {error}")))?,
        lifetime: serde_json::from_str(lifetime).map_err(|error| bad(format!("lifetime: {error}")))?,
    })
}

fn time(text: &str) -> chrono::ParseResult<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).map(|time| time.to_utc())
}
