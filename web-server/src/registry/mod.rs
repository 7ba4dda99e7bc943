//! The one owner of what is known about every streamer: a task that holds it by value. Everybody else has
//! a [`Handle`].
//!
//! It takes calls from `api` and `signaling`, and events from the supervisors. It never waits for any
//! of them, so that no streamer and no viewer can hold up another.

pub mod arrangement;
pub mod events;
mod fate;
pub mod lifetime;
pub mod operations;
pub mod request;
mod session;
pub mod state;
pub mod store;
#[cfg(test)]
mod testing;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use common::api::{Peer, Streamer};
use common::audit::{AuditAction, AuditEntry};
use common::event::{Happening, StreamerEvent};
use common::exit::StreamerExit;
use common::id::{PeerId, StreamerId};
use common::ipc::{Join, Settings};
use common::lifetime::StreamerPatch;
use common::spec::StreamerSpec;
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::time::{MissedTickBehavior, interval, sleep_until};

use crate::config::Streams;
use crate::files;
use crate::hosts::Hosts;
use crate::ice_tcp;
use crate::limits::Limit;
use crate::metrics::Metrics;
use crate::rundir::RunDir;
use crate::socket::{Close, Socket};
use crate::supervisor::adopt::{self, Ended};
use crate::supervisor::homes::Homes;
use crate::supervisor::users::Users;
use crate::supervisor::{self, Event, Failure, LOG_LINES, Launcher, Plan};
use events::{After, Interest, Latest, News, Page};
use fate::Fate;
use lifetime::Lifetime;
pub use operations::OperationError;
use request::{Admission, Denied};
use session::{Joining, Moment, Session};
use state::Stage;
use store::{Audit, Health, Record, Store, Wanted};

/// Calls that wait. Each is answered in microseconds; when it is full, callers wait.
const CALLS: usize = 256;
/// Events that wait. Each is taken in within microseconds; when it is full, supervisors wait, and with
/// them what their streamers say.
const EVENTS: usize = 1024;
/// How often it is looked whether what was lost to a full disk would fit now.
const STORE_INTERVAL: Duration = Duration::from_secs(2);

/// What the registry needs to start streamers.
#[derive(Clone)]
pub struct Config {
    /// What starts their processes.
    pub launcher: Arc<Launcher>,
    /// Directory of run directories.
    pub run_root: PathBuf,
    /// For each streamer.
    pub settings: Settings,
    /// Most streamers at once.
    pub max_streamers: usize,
    /// Homes of desktops.
    pub homes: Homes,
    /// How long those live of which nothing else is said.
    pub lifetime: StreamerPatch,
    /// How streamers reach Moonlight hosts.
    pub hosts: Hosts,
    /// By which TCP connections of peers find their streamers.
    pub routes: ice_tcp::Routes,
    /// Told of what is created and what fails.
    pub metrics: Metrics,
}

/// Why a streamer is not running after its start.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StartError {
    /// It is not, or no more, to be started.
    #[error(transparent)]
    Denied(#[from] Denied),
    /// It could not be started.
    #[error("{}", .0.reason)]
    Failed(Box<Failure>),
}

/// A streamer that `POST` made or found.
#[derive(Debug, Clone, PartialEq)]
pub struct Created {
    /// Made now, or found as it was.
    pub how: Admission,
    /// As it is.
    pub streamer: Streamer,
}

/// A streamer, for those who keep it elsewhere as well.
#[derive(Debug, Clone, PartialEq)]
pub struct Kept {
    /// As it is.
    pub streamer: Streamer,
    /// What starts it again; `None` while it is ending.
    pub record: Option<Record>,
}

/// A viewer that has joined by WebSocket.
#[derive(Debug)]
pub struct Joined {
    /// The way to its streamer.
    pub streamer: supervisor::Handle,
    /// The peer that it is now.
    pub peer: PeerId,
    /// SDP, if it had offered.
    pub answer: Option<String>,
}

type Answer<T, E = Denied> = oneshot::Sender<Result<T, E>>;

enum Call {
    Create { id: Option<StreamerId>, spec: StreamerSpec, lifetime: StreamerPatch, answer: Answer<Created> },
    Ping { answer: oneshot::Sender<bool> },
    List { answer: oneshot::Sender<Vec<Streamer>> },
    ListKept { only: Option<StreamerId>, answer: oneshot::Sender<Vec<Kept>> },
    TakeOver { record: Box<Record>, answer: Answer<Streamer> },
    GiveUp { id: StreamerId, created: DateTime<Utc>, reason: String, answer: Answer<()> },
    Pause { id: StreamerId, reason: String, answer: Answer<bool> },
    Get { id: StreamerId, answer: Answer<Streamer> },
    WaitStarted { id: StreamerId, answer: Answer<Streamer, StartError> },
    Delete { id: StreamerId, answer: Answer<oneshot::Receiver<()>> },
    Reach { id: StreamerId, may: fn(&state::Life) -> Result<(), Denied>, answer: Answer<supervisor::Handle> },
    Peer { id: StreamerId, peer: PeerId, answer: Answer<Option<Peer>> },
    Join { id: StreamerId, joining: Joining },
    Perform { id: StreamerId, start: operations::Start },
    Home { id: StreamerId, answer: Answer<files::Location> },
    Leave { id: StreamerId, peer: PeerId, socket: u64, said_bye: bool },
    Restart { id: StreamerId, by: String, answer: Answer<Streamer> },
    Patch { id: StreamerId, patch: StreamerPatch, by: String, answer: Answer<Streamer> },
    Events { after: After, interest: Interest, answer: oneshot::Sender<Page> },
    Hear { news: Vec<News> },
    Shutdown { stop_streamers: bool, done: oneshot::Sender<()> },
}

/// Asks the registry. Cheap to clone.
#[derive(Clone)]
pub struct Handle {
    calls: mpsc::Sender<Call>,
    store: Store,
    hosts: Hosts,
    run_root: Arc<Path>,
    latest: watch::Receiver<Latest>,
}

impl Handle {
    /// Starts a streamer for `by`, as [`AuditEntry::by`] has it, or finds it running. When this returns it will be started
    /// again after a restart of the machine. `lifetime` counts for one that is started.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn create(
        &self,
        id: Option<StreamerId>,
        spec: StreamerSpec,
        lifetime: StreamerPatch,
        by: &str,
    ) -> Result<Created, Denied> {
        let created = self.call(|answer| Call::Create { id, spec, lifetime, answer }).await??;
        if created.how == Admission::Create {
            self.audit(&created.streamer.id, AuditAction::Created, by, None);
            // A streamer that runs is of use, kept or not; readiness and the log tell what is not.
            let _ = self.store.flushed().await;
        }
        Ok(created)
    }

    /// Returns when the registry has answered: whether it takes on work, which it does until it is shut down.
    ///
    /// # Errors
    /// It has ended.
    pub async fn ping(&self) -> Result<bool, Denied> {
        self.call(|answer| Call::Ping { answer }).await
    }

    /// Every streamer, in order of ids.
    ///
    /// # Errors
    /// We are shutting down.
    pub async fn list(&self) -> Result<Vec<Streamer>, Denied> {
        self.call(|answer| Call::List { answer }).await
    }

    /// Every streamer, or `only` one, with what starts it again, in order of ids.
    ///
    /// # Errors
    /// We are shutting down.
    pub async fn list_kept(&self, only: Option<StreamerId>) -> Result<Vec<Kept>, Denied> {
        self.call(|answer| Call::ListKept { only, answer }).await
    }

    /// Starts a streamer that another process ran, as that has kept it. `why` is for the audit trail.
    ///
    /// # Errors
    /// See [`Denied`].
    pub async fn take_over(&self, record: Record, by: &str, why: String) -> Result<Streamer, Denied> {
        let record = Box::new(record);
        let streamer = self.call(|answer| Call::TakeOver { record, answer }).await??;
        self.audit(&streamer.id, AuditAction::Moved, by, Some(why));
        // As in `create`.
        let _ = self.store.flushed().await;
        Ok(streamer)
    }

    /// Has a streamer end that runs elsewhere from now on, without waiting for that. Its viewers are told to come back. `created`: when it
    /// was, so that one of the same id that was created since is not meant.
    ///
    /// # Errors
    /// There is none of that id, or not that one.
    pub async fn give_up(
        &self,
        id: &StreamerId,
        created: DateTime<Utc>,
        by: &str,
        reason: String,
    ) -> Result<(), Denied> {
        let why = Some(reason.clone());
        self.call(|answer| Call::GiveUp { id: id.clone(), created, reason, answer }).await??;
        self.audit(id, AuditAction::Moved, by, why);
        Ok(())
    }

    /// Ends the process of a streamer until [`Self::restart`]. Its viewers are told to come back. Returns whether it has one that could
    /// be ended now.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn pause(&self, id: &StreamerId, reason: String) -> Result<bool, Denied> {
        self.call(|answer| Call::Pause { id: id.clone(), reason, answer }).await?
    }

    /// One streamer.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn get(&self, id: &StreamerId) -> Result<Streamer, Denied> {
        self.call(|answer| Call::Get { id: id.clone(), answer }).await?
    }

    /// Waits until the source of a streamer runs. How long that can take is bounded by its supervisor.
    ///
    /// # Errors
    /// It cannot be started, or there is none of that id.
    pub async fn wait_started(&self, id: &StreamerId) -> Result<Streamer, StartError> {
        self.call(|answer| Call::WaitStarted { id: id.clone(), answer }).await?
    }

    /// Ends a streamer and waits until nothing of it is left, also not on the disk. Cancelling stops only the waiting.
    ///
    /// # Errors
    /// There is none of that id; or it has ended, but that is not on the disk.
    pub async fn delete(&self, id: &StreamerId, by: &str) -> Result<(), Denied> {
        let gone = self.call(|answer| Call::Delete { id: id.clone(), answer }).await??;
        gone.await.map_err(|_| Denied::ShuttingDown)?;
        self.audit(id, AuditAction::Deleted, by, None);
        // Else a web-server that dies now would be followed by one that starts the streamer again.
        let flushed = self.store.flushed().await;
        flushed.map_err(|why| Denied::NotDurable { id: id.clone(), reason: why.to_string() })
    }

    /// The way to a running streamer.
    ///
    /// # Errors
    /// It is not running.
    pub async fn reach(&self, id: &StreamerId) -> Result<supervisor::Handle, Denied> {
        self.call(|answer| Call::Reach { id: id.clone(), may: request::reach, answer }).await?
    }

    /// The way to a streamer that runs or is starting.
    ///
    /// # Errors
    /// It is neither.
    pub async fn reach_while_starting(&self, id: &StreamerId) -> Result<supervisor::Handle, Denied> {
        self.call(|answer| Call::Reach { id: id.clone(), may: request::reach_while_starting, answer }).await?
    }

    /// One peer; `None` when it is not known (yet).
    ///
    /// # Errors
    /// There is no streamer of that id.
    pub async fn peer(&self, id: &StreamerId, peer: PeerId) -> Result<Option<Peer>, Denied> {
        self.call(|answer| Call::Peer { id: id.clone(), peer, answer }).await?
    }

    /// Brings a viewer with its WebSocket; waits while the streamer is starting. A viewer that waits no longer does not
    /// stay.
    ///
    /// # Errors
    /// The streamer is not running and will not, or it has refused the viewer.
    pub async fn join(&self, id: &StreamerId, join: Join, socket: Socket) -> Result<Joined, OperationError> {
        self.call(|answer| Call::Join { id: id.clone(), joining: Joining { join, socket, answer } }).await?
    }

    /// A viewer's WebSocket has ended.
    pub async fn leave(&self, id: &StreamerId, peer: PeerId, socket: u64, said_bye: bool) {
        // Without a registry nobody needs to know.
        let _ = self.calls.send(Call::Leave { id: id.clone(), peer, socket, said_bye }).await;
    }

    /// Another process shall take the place of a streamer's present one, or of its last. `by`: whose wish that is, for the audit
    /// trail.
    ///
    /// # Errors
    /// It is stopping, or there is none of that id.
    pub async fn restart(&self, id: &StreamerId, by: &str) -> Result<Streamer, Denied> {
        self.call(|answer| Call::Restart { id: id.clone(), by: by.to_owned(), answer }).await?
    }

    /// Changes how long a streamer lives. When this returns it outlives us. `by`: whose wish that is, for the audit trail.
    ///
    /// # Errors
    /// It is stopping, or there is none of that id.
    pub async fn patch(&self, id: &StreamerId, patch: StreamerPatch, by: &str) -> Result<Streamer, Denied> {
        let by = by.to_owned();
        let streamer = self.call(|answer| Call::Patch { id: id.clone(), patch, by, answer }).await??;
        // It counts, kept or not; readiness and the log tell what is not.
        let _ = self.store.flushed().await;
        Ok(streamer)
    }

    /// The last lines of a streamer's log, in order.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn log(&self, id: &StreamerId, lines: usize) -> Result<Vec<String>, Denied> {
        self.get(id).await?;
        let dir = RunDir::of(&self.run_root, id);
        let read = tokio::task::spawn_blocking(move || dir.log_tail(lines));
        read.await.map_err(|_| Denied::ShuttingDown)
    }

    /// The run directory of a streamer, in which its process listens.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn run_dir(&self, id: &StreamerId) -> Result<RunDir, Denied> {
        self.get(id).await?;
        Ok(RunDir::of(&self.run_root, id))
    }

    /// Where the home of a streamer's desktop is, and whose. Asking counts as use.
    ///
    /// # Errors
    /// There is none of that id.
    pub async fn home(&self, id: &StreamerId) -> Result<files::Location, Denied> {
        self.call(|answer| Call::Home { id: id.clone(), answer }).await?
    }

    /// Adds to the audit trail of a streamer. `by`: who did it, as [`AuditEntry::by`] has it. Never waits.
    pub fn audit(&self, id: &StreamerId, action: AuditAction, by: &str, detail: Option<String>) {
        audit(&self.store, id, action, by, detail);
    }

    /// The audit trail of a streamer, also of one that is gone: at most `limit` entries from before `before`, the newest first.
    ///
    /// # Errors
    /// There is no trail, or it cannot be read.
    pub async fn trail(
        &self,
        id: &StreamerId,
        before: Option<u64>,
        limit: usize,
    ) -> Result<Vec<AuditEntry>, Denied> {
        let trail = self.store.trail(id.clone(), before, limit).await.map_err(Denied::Store)?;
        if trail.is_empty() && before.is_none() {
            self.get(id).await?;
        }
        Ok(trail)
    }

    /// Some of what has happened `after` something, as far as `interest` goes.
    ///
    /// # Errors
    /// The registry has ended.
    pub async fn events(&self, after: After, interest: Interest) -> Result<Page, Denied> {
        self.call(|answer| Call::Events { after, interest, answer }).await
    }

    /// What other nodes tell is told to whoever listens here, too. Waits while the registry is busy.
    pub async fn hear(&self, news: Vec<News>) {
        // One that has ended has no listeners.
        let _ = self.calls.send(Call::Hear { news }).await;
    }

    /// Changes with everything that happens.
    pub fn latest_event(&self) -> watch::Receiver<Latest> {
        self.latest.clone()
    }

    /// Changes with what would start a streamer again.
    pub fn kept_changes(&self) -> watch::Receiver<u64> {
        self.store.changes()
    }

    /// Whether what is known of streamers is kept on the disk.
    pub fn store_health(&self) -> watch::Receiver<Health> {
        self.store.health()
    }

    /// Closes every WebSocket; returns when that is under way, and the streamers are gone if they shall be.
    pub async fn shutdown(&self, stop_streamers: bool) {
        // A registry that has ended already needs no shutdown.
        let _ = self.call(|done| Call::Shutdown { stop_streamers, done }).await;
    }

    async fn call<T>(&self, call: impl FnOnce(oneshot::Sender<T>) -> Call) -> Result<T, Denied> {
        let (sender, receiver) = oneshot::channel();
        self.calls.send(call(sender)).await.map_err(|_| Denied::ShuttingDown)?;
        receiver.await.map_err(|_| Denied::ShuttingDown)
    }
}

fn audit(store: &Store, id: &StreamerId, action: AuditAction, by: &str, detail: Option<String>) {
    let Moment { time, .. } = Moment::now();
    store.audit(Audit { at: time, streamer: id.clone(), action, by: by.to_owned(), detail });
}

/// Returns at `due`; without it, never.
async fn wait_until(due: Option<Instant>) {
    match due {
        Some(due) => sleep_until(due.into()).await,
        None => std::future::pending().await,
    }
}

/// The task's state.
pub struct Registry {
    config: Config,
    store: Store,
    /// Turns of those that start.
    starts: Arc<Semaphore>,
    sessions: BTreeMap<StreamerId, Session>,
    /// As whom they run.
    users: Users,
    calls: mpsc::Receiver<Call>,
    events: mpsc::Receiver<(StreamerId, Event)>,
    events_sender: supervisor::Events,
    /// What has happened lately.
    log: events::Log,
    /// Set by [`Handle::shutdown`]: told when it is done.
    shutdown: Option<Shutdown>,
}

struct Shutdown {
    stop_streamers: bool,
    done: Vec<oneshot::Sender<()>>,
}

impl Registry {
    /// A registry without streamers, and the way to it.
    pub fn new(config: Config, store: Store) -> (Handle, Self) {
        let (calls_sender, calls) = mpsc::channel(CALLS);
        let (events_sender, events) = mpsc::channel(EVENTS);
        let sessions = BTreeMap::new();
        let starts = Arc::new(Semaphore::new(supervisor::starts_at_once()));
        let run_root = config.run_root.as_path().into();
        // Without randomness, who comes back after a restart may not be told that events were missed.
        let log = events::Log::new(getrandom::u32().unwrap_or_default());
        // Nor are ids of users used again as late as they could be.
        let users = Users::new(config.launcher.run_as.clone(), getrandom::u32().unwrap_or_default());
        let hosts = config.hosts.clone();
        let latest = log.latest();
        let handle = Handle { calls: calls_sender, store: store.clone(), hosts, run_root, latest };
        let registry = Self {
            config,
            store,
            starts,
            sessions,
            users,
            calls,
            events,
            events_sender,
            log,
            shutdown: None,
        };
        (handle, registry)
    }

    /// Takes over the streamers that ran before we did, and sees to those that are `remembered` and do not run: by their policy when
    /// they ended meanwhile, at once when that was with the whole machine. Of the configured streams, what is configured now counts.
    pub fn resume(&mut self, scan: adopt::Scan, remembered: Vec<Record>, streams: &Streams) {
        let now = Moment::now();
        let mut remembered: BTreeMap<_, _> =
            remembered.into_iter().map(|record| (record.id.clone(), record)).collect();
        self.learn_users(&scan, remembered.keys());
        for found in scan.found {
            let record = remembered.remove(&found.session.id);
            self.adopt(now, found, record);
        }
        let mut ended: BTreeMap<_, _> =
            scan.ended.into_iter().map(|ended| (ended.dir.path().to_owned(), ended)).collect();
        for record in remembered.into_values() {
            let path = RunDir::of(&self.config.run_root, &record.id).path().to_owned();
            let has_ended = ended.get(&path).is_some_and(|ended| ended.exit.is_some());
            let configured = streams.spec().filter(|_| record.id == streams.streamer);
            match Fate::of(&record, configured.as_ref(), has_ended, now.time) {
                Fate::Replaced => self.store.remove(record.id),
                Fate::Expired => {
                    let reason = Some("its time was over (expires_in_s)".into());
                    audit(&self.store, &record.id, AuditAction::Deleted, "server", reason);
                    self.store.remove(record.id);
                }
                // What the others have left in their run directories is theirs.
                fate => match (fate, ended.remove(&path)) {
                    (Fate::Ended, Some(Ended { exit: Some(exit), dir })) => {
                        self.ended_meanwhile(now, record, exit, &dir);
                    }
                    (Fate::Dormant, _) => self.keep_dormant(now, record),
                    _ => self.restore(now, record),
                },
            }
        }
        for Ended { dir, exit } in ended.into_values() {
            let exit = exit.map(|exit| exit.to_string());
            tracing::info!(dir = %dir.path().display(), exit, "removing the run directory of a streamer that is gone");
            if let Err(error) = dir.remove() {
                tracing::error!(dir = %dir.path().display(), %error, "cannot remove a run directory");
            }
        }
        let known: BTreeSet<_> = self.sessions.keys().map(ToString::to_string).collect();
        let homes = self.config.homes.clone();
        tokio::task::spawn_blocking(move || homes.sweep(|name| known.contains(name)));
    }

    /// Before anybody is given another id: those that run have theirs, and what is left of the others belongs to theirs.
    fn learn_users<'a>(&mut self, scan: &adopt::Scan, remembered: impl Iterator<Item = &'a StreamerId>) {
        for (id, owner) in self.config.homes.kept_owners() {
            self.users.keep(&id, owner);
        }
        for found in &scan.found {
            if let Ok(owner) = found.dir.owner() {
                self.users.claim(&found.session.id, owner);
            }
        }
        for id in remembered {
            let owner = RunDir::of(&self.config.run_root, id).owner().ok();
            if let Some(owner) = owner.or_else(|| self.config.homes.session_owner(id)) {
                self.users.claim(id, owner);
            }
        }
    }

    fn adopt(&mut self, now: Moment, found: adopt::Found, record: Option<Record>) {
        let state = found.session.clone();
        let mut record = record.unwrap_or_else(|| {
            Record::new(state.id.clone(), found.created, state.spec.clone(), Lifetime::default())
        });
        record.spec = state.spec.clone();
        record.wanted = Wanted::Running;
        let plan = self.plan(&record);
        let handle = supervisor::resume(found, plan, self.events_sender.clone());
        let store = self.store.clone();
        let hosts = self.config.hosts.clone();
        let session = Session::adopted(state, now, record, handle, store, hosts);
        audit(&self.store, &session.id, AuditAction::Adopted, "server", None);
        // It may have been made and not been kept any more.
        self.insert(session);
    }

    /// Starts one that is to run, as after a restart of the machine.
    fn restore(&mut self, now: Moment, mut record: Record) {
        tracing::info!(id = %record.id, "starting a streamer that is to run");
        audit(&self.store, &record.id, AuditAction::Restarted, "server", None);
        record.history.restarted();
        self.start(now, record);
    }

    /// Keeps a streamer that does not run: one that has failed for good can be examined, one that was stopped restarted.
    fn keep_dormant(&mut self, now: Moment, record: Record) {
        let plan = self.plan(&record);
        let handle = supervisor::dormant(plan, self.events_sender.clone());
        let session = Session::dormant(record, now, handle, self.store.clone(), self.config.hosts.clone());
        self.insert(session);
    }

    fn ended_meanwhile(&mut self, now: Moment, record: Record, exit: StreamerExit, dir: &RunDir) {
        let reason = exit.to_string();
        let log = dir.log_tail(LOG_LINES);
        let failure = Failure { exit: Some(exit), log, ..Failure::new(reason) };
        let plan = self.plan(&record);
        let handle = supervisor::dormant(plan, self.events_sender.clone());
        let mut session = Session::new(record, now, handle, self.store.clone(), self.config.hosts.clone());
        session.ended(now, failure);
        self.insert(session);
    }

    fn start(&mut self, now: Moment, record: Record) {
        let plan = self.plan(&record);
        let handle = supervisor::start(plan, self.events_sender.clone());
        self.insert(Session::new(record, now, handle, self.store.clone(), self.config.hosts.clone()));
    }

    fn insert(&mut self, session: Session) {
        self.store.put(session.record());
        self.sessions.insert(session.id.clone(), session);
    }

    fn plan(&mut self, record: &Record) -> Plan {
        Plan {
            user: self.users.of(&record.id),
            id: record.id.clone(),
            created: record.created,
            spec: record.spec.clone(),
            settings: self.config.settings.clone(),
            launcher: self.config.launcher.clone(),
            run_root: self.config.run_root.clone(),
            starts: self.starts.clone(),
            hosts: self.config.hosts.clone(),
            homes: self.config.homes.clone(),
            routes: self.config.routes.clone(),
        }
    }

    /// Works until every [`Handle`] is gone.
    pub async fn run(mut self) {
        let mut store_tick = interval(STORE_INTERVAL);
        store_tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let health = self.store.health();
        loop {
            let due = self.next_due(Moment::now());
            tokio::select! {
                () = wait_until(due) => self.timeout(Moment::now()),
                _ = store_tick.tick() => if *health.borrow() != Health::Good {
                    self.store.replace_all(self.sessions.values().filter_map(Session::kept).collect());
                },
                call = self.calls.recv() => match call {
                    Some(call) => self.call(Moment::now(), call),
                    None => return,
                },
                // Never `None`: we hold a sender.
                Some((id, event)) = self.events.recv() => self.event(Moment::now(), id, event),
            }
            self.tell(Moment::now());
        }
    }

    /// When [`Self::timeout`] has something to do, as far as can be told now.
    fn next_due(&self, now: Moment) -> Option<Instant> {
        let restarts = self.sessions.values().filter_map(Session::due);
        // None ends while we do: we could not see to it.
        let living = self.sessions.values().filter(|_| self.shutdown.is_none());
        restarts.chain(living.filter_map(|session| session.ends(now))).min()
    }

    /// Does what is due.
    fn timeout(&mut self, now: Moment) {
        for session in self.sessions.values_mut() {
            session.start_if_due(now);
            session.reply_if_proven(now);
            if self.shutdown.is_none() {
                session.end_if_over(now);
            }
        }
    }

    /// Whoever listens is told what has happened to streamers.
    fn tell(&mut self, now: Moment) {
        for session in self.sessions.values_mut() {
            for what in session.take_happenings() {
                self.log.push(StreamerEvent { at: now.time, streamer: session.id.clone(), what });
            }
        }
    }

    fn call(&mut self, now: Moment, call: Call) {
        // In each arm: whoever has stopped waiting for the answer does not miss it.
        match call {
            Call::Create { id, spec, lifetime, answer } => {
                let created = self.create(now, id, spec, lifetime);
                let _ = answer.send(created);
            }
            Call::Ping { answer } => {
                let _ = answer.send(self.shutdown.is_none());
            }
            Call::List { answer } => {
                let _ = answer.send(self.sessions.values().map(Session::view).collect());
            }
            Call::ListKept { only, answer } => {
                let kept = |session: &Session| Kept {
                    streamer: session.view(),
                    record: session.kept().filter(|_| !matches!(session.life.stage, Stage::Stopping { .. })),
                };
                let _ = answer.send(match only {
                    Some(id) => self.sessions.get(&id).map(kept).into_iter().collect(),
                    None => self.sessions.values().map(kept).collect(),
                });
            }
            Call::TakeOver { record, answer } => {
                let _ = answer.send(self.take_over(now, *record));
            }
            Call::GiveUp { id, created, reason, answer } => {
                let _ = answer.send(match self.session(&id) {
                    Ok(session) if session.created() == created => {
                        session.give_up(now, &reason);
                        Ok(())
                    }
                    _ => Err(Denied::NotFound(id)),
                });
            }
            Call::Pause { id, reason, answer } => {
                let _ = answer.send(self.session(&id).map(|session| session.pause(now, reason)));
            }
            Call::Get { id, answer } => {
                let _ = answer.send(self.session(&id).map(|session| session.view()));
            }
            Call::WaitStarted { id, answer } => match self.session(&id) {
                Ok(session) => session.wait_started(now, answer),
                Err(denied) => drop(answer.send(Err(denied.into()))),
            },
            Call::Delete { id, answer } => {
                let _ = answer.send(self.session(&id).map(|session| {
                    let (sender, receiver) = oneshot::channel();
                    session.delete(now, "the streamer was deleted", sender);
                    receiver
                }));
            }
            Call::Reach { id, may, answer } => {
                let _ = answer.send(self.session(&id).and_then(|session| {
                    session.used(now);
                    may(&session.life).map(|()| session.handle.clone())
                }));
            }
            Call::Peer { id, peer, answer } => {
                let _ = answer.send(self.session(&id).map(|session| session.peer(peer)));
            }
            Call::Join { id, joining } => match self.session(&id) {
                Ok(session) => {
                    session.join(joining);
                    session.used(now);
                    session.notice(now);
                }
                Err(denied) => drop(joining.answer.send(Err(denied.into()))),
            },
            Call::Perform { id, start } => match self.session(&id) {
                Ok(session) => {
                    session.used(now);
                    start(Ok(session));
                }
                Err(denied) => start(Err(denied)),
            },
            Call::Home { id, answer } => {
                let _ = answer.send(self.home(now, &id));
            }
            Call::Leave { id, peer, socket, said_bye } => {
                if let Ok(session) = self.session(&id) {
                    session.leave(peer, socket, said_bye);
                    session.notice(now);
                }
            }
            Call::Restart { id, by, answer } => {
                let stopping = self.shutdown.is_some();
                let _ = answer.send(match self.session(&id) {
                    Ok(_) if stopping => Err(Denied::ShuttingDown),
                    Ok(session) => session.restart(now, &by).map(|()| session.view()),
                    Err(denied) => Err(denied),
                });
            }
            Call::Patch { id, patch, by, answer } => {
                let _ = answer.send(self.session(&id).and_then(|session| {
                    session.patch(now, patch, &by)?;
                    Ok(session.view())
                }));
            }
            Call::Events { after, interest, answer } => {
                let mut page = self.log.read(after, &interest);
                let gone = interest.of.is_some_and(|id| !self.sessions.contains_key(&id));
                page.over = gone && !page.more;
                let _ = answer.send(page);
            }
            Call::Hear { news } => news.into_iter().for_each(|news| self.log.hear(news)),
            Call::Shutdown { stop_streamers, done } => self.begin_shutdown(now, stop_streamers, done),
        }
    }

    fn home(&mut self, now: Moment, id: &StreamerId) -> Result<files::Location, Denied> {
        let session = self.session(id)?;
        session.used(now);
        let spec = session.spec.clone();
        Ok(files::Location { home: self.config.homes.of(id, &spec), user: self.users.of(id)? })
    }

    fn session(&mut self, id: &StreamerId) -> Result<&mut Session, Denied> {
        self.sessions.get_mut(id).ok_or_else(|| Denied::NotFound(id.clone()))
    }

    fn create(
        &mut self,
        now: Moment,
        id: Option<StreamerId>,
        spec: StreamerSpec,
        lifetime: StreamerPatch,
    ) -> Result<Created, Denied> {
        if self.shutdown.is_some() {
            return Err(Denied::ShuttingDown);
        }
        let id = id.unwrap_or_else(StreamerId::unique);
        let holder = self.sessions.get(&id).map(|session| (&session.life, &session.spec));
        let how = request::create(&id, &spec, holder, self.sessions.len(), self.config.max_streamers);
        let how = how.inspect_err(|denied| {
            if matches!(denied, Denied::TooMany { .. }) {
                self.config.metrics.refusals().refused(Limit::Streamers);
            }
        })?;
        if how == Admission::Create {
            self.users.of(&id)?;
            let lifetime = Lifetime::default().changed(lifetime.over(self.config.lifetime), now.time);
            self.start(now, Record::new(id.clone(), now.time, spec, lifetime));
            self.config.metrics.created();
            self.session(&id)?.happened(Happening::Created);
        }
        Ok(Created { how, streamer: self.session(&id)?.view() })
    }

    fn take_over(&mut self, now: Moment, mut record: Record) -> Result<Streamer, Denied> {
        if self.shutdown.is_some() {
            return Err(Denied::ShuttingDown);
        }
        let id = record.id.clone();
        if let Some(session) = self.sessions.get(&id) {
            return match session.life.stage {
                Stage::Stopping { .. } => Err(Denied::Stopping),
                _ => Err(Denied::Exists(id)),
            };
        }
        let max = self.config.max_streamers;
        if self.sessions.len() >= max {
            return Err(Denied::TooMany { max });
        }
        self.users.of(&id)?;
        if record.wanted == Wanted::Running {
            record.history.restarted();
            self.start(now, record);
        } else {
            self.keep_dormant(now, record);
        }
        let session = self.session(&id)?;
        session.happened(Happening::Moved);
        Ok(session.view())
    }

    fn event(&mut self, now: Moment, id: StreamerId, event: Event) {
        if matches!(event, Event::Gone) {
            self.tell(now);
            if let Some(session) = self.sessions.remove(&id) {
                if session.is_deleted() {
                    self.discard_home(&id);
                }
                self.users.release(&id, self.config.homes.kept_owner(&id));
                // Of one that goes on elsewhere, the other node tells.
                if !session.is_given_up() {
                    self.log.push(StreamerEvent { at: now.time, streamer: id, what: Happening::Deleted });
                }
                session.gone();
            }
            return self.finish_shutdown();
        }
        let metrics = self.config.metrics.clone();
        // A session is removed only by the last event of its supervisor.
        let Ok(session) = self.session(&id) else { return };
        if matches!(event, Event::Ended(_)) && !session.ends_as_told() {
            metrics.failed();
        }
        match event {
            Event::Session(state) => session.learn(*state),
            Event::Running => session.source_runs(now),
            Event::Said(message) => session.said(message),
            Event::Replied { ticket, reply } => session.replied(ticket, reply),
            Event::Ended(failure) => session.ended(now, failure),
            Event::Gone => {}
        }
        session.notice(now);
    }

    /// Before anybody is told that the streamer is gone: the next one of this id must not find it.
    fn discard_home(&self, id: &StreamerId) {
        let homes = self.config.homes.clone();
        if let Err(error) = homes.discard(id) {
            tracing::error!(%id, %error, "the home of a streamer that was deleted cannot be removed");
        }
        tokio::task::spawn_blocking(move || homes.sweep(|name| !name.starts_with('.')));
    }

    fn begin_shutdown(&mut self, now: Moment, stop_streamers: bool, done: oneshot::Sender<()>) {
        let shutdown = self.shutdown.get_or_insert(Shutdown { stop_streamers, done: Vec::new() });
        shutdown.done.push(done);
        for session in self.sessions.values_mut() {
            if stop_streamers {
                session.stop(now, "the server is shutting down");
            } else {
                session.close_sockets(&Close::Server);
            }
        }
        self.finish_shutdown();
    }

    fn finish_shutdown(&mut self) {
        if let Some(shutdown) = &mut self.shutdown
            && (!shutdown.stop_streamers || self.sessions.is_empty())
        {
            for done in shutdown.done.drain(..) {
                // Whoever has stopped waiting does not miss it.
                let _ = done.send(());
            }
            // Who listens would keep the server.
            self.log.close();
        }
    }
}
