//! After our own start: finding the streamers that an earlier web-server left running.
//!
//! What runs is found out by talking to it, not by trusting files: a streamer that answers with our
//! token and knows its session is adopted; what is dead is cleared away, what is alive and of no use is killed.

use std::io;
use std::path::Path;
use std::time::Duration;

use chrono::{DateTime, Utc};
use common::exit::{ExitReason, StreamerExit};
use common::ipc::{Ready, SessionState};
use futures_util::future::join_all;
use tokio::time::timeout;

use super::launch::Launcher;
use super::link::Connection;
use super::process::Monitor;
use super::task;
use crate::rundir::{Meta, RunDir, boot};

/// How long a streamer may take to answer before it is given up; all are asked at once.
const ANSWER_DEADLINE: Duration = Duration::from_secs(5);

/// A running streamer.
pub struct Found {
    /// Its directory.
    pub dir: RunDir,
    pub(super) monitor: Monitor,
    pub(super) connection: Connection,
    pub(super) pid: u32,
    /// All about it.
    pub session: SessionState,
    /// When it was created.
    pub created: DateTime<Utc>,
}

/// What there was in the run directories.
#[derive(Default)]
pub struct Scan {
    /// Those that run.
    pub found: Vec<Found>,
    /// Directories of those that do not, cleared of all but their logs.
    pub ended: Vec<Ended>,
}

/// A streamer that ended while no web-server was there.
pub struct Ended {
    /// Its directory.
    pub dir: RunDir,
    /// How it ended; `None` when that was with the whole machine.
    pub exit: Option<StreamerExit>,
}

enum Examined {
    Runs(Box<Found>),
    Ended(Ended),
}

/// Looks through every run directory under `root`. `launcher` clears away what is left of the dead.
///
/// # Errors
/// `root` cannot be read. Trouble with a single directory is logged and does not keep the others from being
/// adopted.
pub async fn scan(root: &Path, launcher: &Launcher) -> io::Result<Scan> {
    let mut scan = Scan::default();
    for examined in join_all(RunDir::all(root)?.into_iter().map(|dir| examine(dir, launcher))).await {
        match examined {
            Examined::Runs(found) => scan.found.push(*found),
            Examined::Ended(ended) => scan.ended.push(ended),
        }
    }
    Ok(scan)
}

async fn examine(dir: RunDir, launcher: &Launcher) -> Examined {
    let path = dir.path().to_owned();
    let meta = dir.meta().inspect_err(|error| {
        // As an ended streamer's monitor leaves it.
        tracing::debug!(dir = %path.display(), %error, "a run directory says not whose it is");
    });
    let meta = meta.ok();
    // A pid of before a restart of the machine is somebody else's now.
    let rebooted = meta.as_ref().is_some_and(|meta| meta.boot != boot());
    // What a directory of the session's user says of processes holds for that user's only.
    let owned = |meta: &&Meta| launcher.may_kill(&dir, meta.monitor.pid);
    let monitor = meta.as_ref().filter(|_| !rebooted).filter(owned);
    let monitor = monitor.and_then(|meta| Monitor::adopt(meta.monitor));
    let (Some(meta), Some(mut monitor)) = (meta.as_ref(), monitor) else {
        // Nobody came to say whose it is: its process was never started.
        let started = meta.is_some() || dir.exit().is_some();
        let exit = clear(&dir, launcher).await;
        return Examined::Ended(Ended { dir, exit: exit.filter(|_| started && !rebooted) });
    };
    let problem = match timeout(ANSWER_DEADLINE, task::open(&dir)).await {
        Ok(Ok((connection, Ready { session: Some(session), pid }))) => {
            tracing::info!(id = %session.id, pid, peers = session.peers.len(), "adopted a streamer");
            let created = meta.created;
            return Examined::Runs(Box::new(Found { dir, monitor, connection, pid, session, created }));
        }
        Ok(Ok(_)) => "it was never told what to be".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(id = %meta.id, problem, "a streamer that runs cannot be adopted; killing it");
    monitor.kill().await;
    clear(&dir, launcher).await;
    let message = format!("it could not be adopted by a new web-server: {problem}");
    let exit = StreamerExit { code: None, signal: Some(9), reason: ExitReason::Hung { message } };
    Examined::Ended(Ended { dir, exit: Some(exit) })
}

async fn clear(dir: &RunDir, launcher: &Launcher) -> Option<StreamerExit> {
    if dir.exit().is_none() {
        launcher.clean(dir).await;
    }
    dir.exit()
}
