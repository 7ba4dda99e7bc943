//! After our own start: finding the streamers that an earlier web-server left running.
//!
//! What runs is found out by talking to it, not by trusting files: a streamer that answers with our
//! token and knows its session is adopted; what is dead is cleared away, what is alive and of no use is killed.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::ipc::{Ready, SessionState};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::link::Connection;
use super::process::{self, Monitor};
use super::rundir::RunDir;
use super::task;

/// How long a streamer may take to answer before it is given up; all are asked at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// A running streamer.
pub struct Found {
    pub(super) dir: RunDir,
    pub(super) monitor: Monitor,
    pub(super) connection: Connection,
    pub(super) pid: u32,
    pub(super) streamer_bin: PathBuf,
    /// All about it.
    pub session: SessionState,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// Looks through every run directory under `root`. `streamer_bin` clears away what is left of the dead.
///
/// # Errors
/// `root` cannot be read. Trouble with a single directory is logged and does not keep the others from being
/// adopted.
pub async fn scan(root: &Path, streamer_bin: &Path) -> io::Result<Vec<Found>> {
    let found = join_all(RunDir::all(root)?.into_iter().map(|dir| examine(dir, streamer_bin))).await;
    Ok(found.into_iter().flatten().collect())
}

async fn examine(dir: RunDir, streamer_bin: &Path) -> Option<Found> {
    let path = dir.path().to_owned();
    let meta = dir.meta().inspect_err(|error| {
        // As an ended streamer's monitor leaves it.
        tracing::debug!(dir = %path.display(), %error, "a run directory says not whose it is");
    });
    let monitor = meta.as_ref().ok().and_then(|meta| Monitor::adopt(meta.monitor));
    let (Ok(meta), Some(mut monitor)) = (meta, monitor) else {
        discard(&dir, streamer_bin).await;
        return None;
    };
    let problem = match timeout(ANSWER_DEADLINE, task::open(&dir)).await {
        Ok(Ok((connection, Ready { session: Some(session), pid }))) => {
            tracing::info!(id = %session.id, pid, peers = session.peers.len(), "adopted a streamer");
            let (created, streamer_bin) = (meta.created, streamer_bin.to_owned());
            return Some(Found { dir, monitor, connection, pid, streamer_bin, session, created });
        }
        Ok(Ok(_)) => "it was never told what to be".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(id = %meta.id, problem, "a streamer that runs cannot be adopted; killing it");
    monitor.kill().await;
    discard(&dir, streamer_bin).await;
    None
}

async fn discard(dir: &RunDir, streamer_bin: &Path) {
    if dir.exit().is_none() {
        process::clean(streamer_bin, dir).await;
    }
    let exit = dir.exit().map(|exit| exit.to_string());
    tracing::info!(dir = %dir.path().display(), exit, "removing the run directory of a streamer that is gone");
    if let Err(error) = dir.remove() {
        tracing::error!(dir = %dir.path().display(), %error, "cannot remove a run directory");
    }
}
