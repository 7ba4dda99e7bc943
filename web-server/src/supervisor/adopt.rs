//! After our own start: finding the streamers that an earlier web-server left running.
//!
//! What runs is found out by talking to it, not by trusting files: a streamer that answers with our
//! token and knows its session is adopted; what is dead is removed, what is alive and of no use is killed.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::ipc::{Ready, SessionState};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::link::Connection;
use super::process::Monitor;
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
    /// All about it.
    pub session: SessionState,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// Looks through every run directory under `root`.
///
/// # Errors
/// `root` cannot be read. Trouble with a single directory is logged and does not keep the others from being
/// adopted.
pub async fn scan(root: &Path) -> io::Result<Vec<Found>> {
    let found = join_all(RunDir::all(root)?.into_iter().map(examine)).await;
    Ok(found.into_iter().flatten().collect())
}

async fn examine(dir: RunDir) -> Option<Found> {
    let path = dir.path().to_owned();
    let meta = dir.meta().inspect_err(|error| {
        // As an ended streamer's monitor leaves it.
        tracing::debug!(dir = %path.display(), %error, "a run directory says not whose it is");
    });
    let monitor = meta.as_ref().ok().and_then(|meta| Monitor::adopt(meta.monitor));
    let (Ok(meta), Some(mut monitor)) = (meta, monitor) else {
        discard(&dir);
        return None;
    };
    let problem = match timeout(ANSWER_DEADLINE, task::open(&dir)).await {
        Ok(Ok((connection, Ready { session: Some(session), pid }))) => {
            tracing::info!(id = %session.id, pid, peers = session.peers.len(), "adopted a streamer");
            return Some(Found { dir, monitor, connection, pid, session, created: meta.created });
        }
        Ok(Ok(_)) => "it was never told what to be".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(id = %meta.id, problem, "a streamer that runs cannot be adopted; killing it");
    monitor.kill().await;
    discard(&dir);
    None
}

fn discard(dir: &RunDir) {
    let exit = dir.exit().map(|exit| exit.to_string());
    tracing::info!(dir = %dir.path().display(), exit, "removing the run directory of a streamer that is gone");
    if let Err(error) = dir.remove() {
        tracing::error!(dir = %dir.path().display(), %error, "cannot remove a run directory");
    }
}
