//! The supervisor's task: the lives of a streamer's processes, one after the other, from the first start or adoption to the
//! removal of the run directory. When a process has had its time, and how its end is told, is decided in `expectation`.

#![expect(clippy::disallowed_methods, reason = "the task of a process is where the time is asked for")]

use std::time::{Duration, Instant};

use common::id::StreamerId;
use common::ipc::request::StartSource;
use common::ipc::{
    AnyRequest, Code, Json, Payload, Purpose, Ready, RequestError, ServerIpcMessage, SessionState,
    StreamerIpcMessage,
};
use common::spec::HomeDirs;
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use crate::ice_tcp;

use super::adopt::Found;
use super::ask::{AskError, Pending, Waiting};
use super::expectation::{Expectation, Forced, Unmet};
use super::link::{Connection, LinkError};
use super::process::{self, Monitor};
use super::{
    BULK_COMMANDS, COMMANDS, Command, Event, Events, Failure, Generation, Handle, LOG_LINES, Plan, bulk,
};
use crate::rundir::{Meta, RunDir, boot};
use crate::user::SessionUser;

/// From the start of the process to its socket. It does next to nothing before it listens.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Apart between looks for the socket: costs nothing, and is not felt in the time to the first frame.
const CONNECT_INTERVAL: Duration = Duration::from_millis(1);
/// The same, once it takes suspiciously long.
const SLOW_CONNECT_INTERVAL: Duration = Duration::from_millis(20);
/// From a lost connection to the end of the monitor, or to a new connection.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(6);
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// From the death of a streamer to the end of its monitor, which cleans up in between.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(3);

/// The longest turn of a streamer that starts. One that takes longer waits for something else than a processor.
const LONGEST_TURN: Duration = Duration::from_secs(2);

/// What a silent one may have said that we have not read yet, as we were stopped or busy ourselves.
const LAST_LOOK: Duration = Duration::from_secs(1);

type BulkCommands = mpsc::Receiver<bulk::Command>;

pub(super) struct Supervisor {
    id: StreamerId,
    /// What each process is made from.
    plan: Plan,
    events: Events,
    commands: mpsc::Receiver<Command>,
    /// Why to stop, once we shall.
    stop: watch::Receiver<Option<String>>,
    /// Which process another one is to replace.
    replace: watch::Receiver<Option<Generation>>,
    /// Which process is to end without a replacement.
    halt: watch::Receiver<Option<Generation>>,
    generation: Generation,
    pending: Pending<Waiting>,
    /// Of the process that there is, or was last.
    expectation: Expectation,
    streamer_pid: Option<u32>,
    /// Its turn to start, while it lasts.
    turn: Option<AbortOnDropHandle<()>>,
}

/// What there is of a streamer when its supervision begins.
pub(super) enum Begin {
    /// Nothing.
    New,
    /// A process, and a connection to it.
    Adopted(Box<Found>),
    /// What an ended process has left.
    Dormant,
}

/// Why serving a connection ended.
enum Lost {
    /// The monitor has ended.
    Ended,
    /// The process has not done what it had to.
    Unmet(Unmet),
    /// The connection is of no more use.
    Link(LinkError),
}

impl Supervisor {
    pub(super) fn new(plan: Plan, events: Events) -> (Handle, Self, BulkCommands) {
        let (control, commands) = mpsc::channel(COMMANDS);
        let (bulk, bulk_commands) = mpsc::channel(BULK_COMMANDS);
        let (stop_sender, stop) = watch::channel(None);
        let (replace_sender, replace) = watch::channel(None);
        let (halt_sender, halt) = watch::channel(None);
        let dir = RunDir::of(&plan.run_root, &plan.id);
        let supervisor = Self {
            id: plan.id.clone(),
            plan,
            events,
            commands,
            stop,
            replace,
            halt,
            generation: 0,
            pending: Pending::default(),
            expectation: Expectation::new(Instant::now()),
            streamer_pid: None,
            turn: None,
        };
        let handle = Handle {
            dir,
            control,
            bulk,
            stop: stop_sender.into(),
            replace: replace_sender.into(),
            halt: halt_sender.into(),
        };
        (handle, supervisor, bulk_commands)
    }

    pub(super) async fn run(mut self, begin: Begin, bulk: BulkCommands) {
        let dir = RunDir::of(&self.plan.run_root, &self.id);
        let _bulk = AbortOnDropHandle::new(tokio::spawn(bulk::run(dir.clone(), bulk)));
        let routes = self.plan.routes.clone();
        let _tcp = AbortOnDropHandle::new(tokio::spawn(ice_tcp::run_link(dir.clone(), routes)));
        let mut failure = match begin {
            Begin::New => Some(self.new_life(&dir).await),
            Begin::Adopted(found) => Some(self.adopted_life(*found).await),
            Begin::Dormant => None,
        };
        while self.wait_for_restart(failure.take()).await {
            self.generation += 1;
            failure = Some(self.new_life(&dir).await);
        }
        self.finish(&dir).await;
    }

    async fn new_life(&mut self, dir: &RunDir) -> Failure {
        self.expectation = Expectation::new(Instant::now());
        self.streamer_pid = None;
        let stop = self.stop.clone();
        tokio::select! {
            turn = self.plan.starts.clone().acquire_owned() => self.turn = turn.ok().map(hold),
            _ = stop_requested(stop) => return Failure::new("stopped before it started"),
        }
        let user = match &self.plan.user {
            Ok(user) => user.clone(),
            Err(error) => return Failure::new(error.to_string()),
        };
        if let Err(error) = dir.renew(user.as_ref()) {
            return Failure::new(format!("cannot make the run directory {}: {error}", dir.path().display()));
        }
        match self.make_homes(user.clone()).await {
            Ok(homes) => self.plan.settings.homes = homes,
            Err(error) => return Failure::new(format!("cannot make its home: {error}")),
        }
        let failure = match self.launch(dir, user.as_ref()) {
            Ok(monitor) => self.live(dir, monitor, None).await,
            Err(error) => {
                Failure::new(format!("cannot start {}: {error}", self.plan.launcher.streamer_bin.display()))
            }
        };
        self.turn = None;
        failure
    }

    async fn adopted_life(&mut self, found: Found) -> Failure {
        self.streamer_pid = Some(found.pid);
        let Found { dir, monitor, mut connection, session, .. } = found;
        if session.running_since.is_none() {
            // It may have been given its spec and nothing more; if it is starting already, it says so.
            self.start_source(&mut connection);
        }
        self.live(&dir, monitor, Some(connection)).await
    }

    /// On a thread of its own: one that was another user's may hold many files.
    async fn make_homes(&self, owner: Option<SessionUser>) -> std::io::Result<HomeDirs> {
        let homes = self.plan.homes.clone();
        let id = self.id.clone();
        let spec = self.plan.spec.clone();
        let made = tokio::task::spawn_blocking(move || homes.make(&id, &spec, owner.as_ref()));
        made.await.unwrap_or_else(|error| Err(std::io::Error::other(error)))
    }

    fn launch(&self, dir: &RunDir, user: Option<&SessionUser>) -> std::io::Result<Monitor> {
        let monitor = Monitor::spawn(&self.plan.launcher, dir, user)?;
        tracing::info!(pid = monitor.id().pid, dir = %dir.path().display(), "monitor started");
        let id = self.id.clone();
        let created = self.plan.created;
        let meta = Meta { id, created, monitor: monitor.id(), boot: boot() };
        if let Err(error) = dir.write_meta(&meta) {
            process::kill(monitor.id().pid);
            return Err(error);
        }
        Ok(monitor)
    }

    /// From the first connection to the end of the process.
    async fn live(&mut self, dir: &RunDir, mut monitor: Monitor, connection: Option<Connection>) -> Failure {
        let mut forced = None;
        let mut next = match connection {
            Some(connection) => Some(connection),
            None => match self.first_connection(dir, &mut monitor).await {
                Ok(connection) => connection,
                Err(reason) => {
                    forced = Some(Forced::Overdue(reason));
                    None
                }
            },
        };
        while let Some(mut connection) = next.take() {
            let lost = self.serve(&mut connection, &mut monitor).await;
            for waiting in self.pending.take_all() {
                self.fail(waiting, AskError::Gone).await;
            }
            match lost {
                Lost::Ended => break,
                Lost::Unmet(unmet) => forced = Some(unmet.into()),
                Lost::Link(error) => {
                    tracing::debug!(%error, "the control connection ended");
                    match self.reconnect(dir, &mut monitor).await {
                        Ok(connection) => next = connection,
                        Err(reason) => forced = Some(Forced::Hung(format!("{reason} ({error})"))),
                    }
                }
            }
        }
        if forced.is_some() {
            self.end_by_force(dir, &mut monitor).await;
        }
        self.autopsy(dir, monitor, forced).await
    }

    /// Waits for the socket of a new process, and says what to be. `None` when the monitor has ended.
    ///
    /// # Errors
    /// Why it must be killed.
    async fn first_connection(
        &mut self,
        dir: &RunDir,
        monitor: &mut Monitor,
    ) -> Result<Option<Connection>, String> {
        let replace = self.replace.clone();
        let (mut connection, ready) = tokio::select! {
            result = connect(dir) => result.map_err(|error| format!("the streamer does not listen: {error}"))?,
            _ = monitor.ended() => return Ok(None),
            _ = self.stop.wait_for(Option::is_some) => return Err("stopped while it started".into()),
            () = names(replace, self.generation) => return Err("restarted while it started".into()),
        };
        self.streamer_pid = Some(ready.pid);
        let Plan { id, spec, settings, hosts, .. } = self.plan.clone();
        // Blocks only if the identity is not made yet, and then there is no host that knows us.
        let spec = spec.try_map_sources(|source| hosts.resolve(source)).map_err(|e| e.to_string())?;
        let init = ServerIpcMessage::Init { id, spec: Json(spec), settings: Box::new(Json(settings)) };
        connection.queue(&init).map_err(|error| format!("cannot send the spec: {error}"))?;
        self.start_source(&mut connection);
        Ok(Some(connection))
    }

    fn start_source(&mut self, connection: &mut Connection) {
        self.expectation.starts(Instant::now(), self.plan.spec.source.as_ref());
        if let Ok(id) = self.pending.enter(Waiting::Start) {
            self.queue(connection, &ServerIpcMessage::Request { id, request: StartSource.into() });
        }
    }

    /// Moves messages and commands until the connection or the process is gone.
    async fn serve(&mut self, connection: &mut Connection, monitor: &mut Monitor) -> Lost {
        self.expectation.connected(Instant::now());
        loop {
            let end =
                end_requested(self.stop.clone(), self.replace.clone(), self.halt.clone(), self.generation);
            tokio::select! {
                message = connection.next() => match message {
                    Ok(message) => self.heard(message).await,
                    Err(error) => return Lost::Link(error),
                },
                Some(command) = self.commands.recv(), if connection.has_room() => {
                    self.command(connection, command).await;
                }
                reason = end, if !self.expectation.is_told_to_end() => {
                    self.expectation.ends(Instant::now());
                    self.queue(connection, &ServerIpcMessage::Stop { reason });
                }
                () = sleep_until(self.expectation.next_check().into()) => {
                    match self.expectation.check(Instant::now()) {
                        None => {}
                        Some(Unmet::Silent) => match timeout(LAST_LOOK, connection.next()).await {
                            Err(_) => return Lost::Unmet(Unmet::Silent),
                            Ok(Err(error)) => return Lost::Link(error),
                            Ok(Ok(message)) => self.heard(message).await,
                        },
                        Some(unmet) => return Lost::Unmet(unmet),
                    }
                }
                _ = monitor.ended() => return Lost::Ended,
            }
        }
    }

    async fn command(&mut self, connection: &mut Connection, command: Command) {
        match command {
            Command::Tell(tell) => self.queue(connection, &ServerIpcMessage::Tell(tell)),
            Command::Ask { request, answer } => {
                self.request(connection, Waiting::Answer(answer), request).await;
            }
            Command::Request { ticket, request } => {
                self.request(connection, Waiting::Registry(ticket), request).await;
            }
        }
    }

    async fn request(&mut self, connection: &mut Connection, waiting: Waiting, request: AnyRequest) {
        let id = match self.pending.enter(waiting) {
            Ok(id) => id,
            Err(waiting) => return self.fail(waiting, AskError::Busy).await,
        };
        if let Err(error) = connection.queue(&ServerIpcMessage::Request { id, request }) {
            tracing::error!(%error, "cannot send to a streamer");
            if let Some(waiting) = self.pending.take(id) {
                self.fail(waiting, error.into()).await;
            }
        }
    }

    /// Whoever waits gets no reply.
    async fn fail(&self, waiting: Waiting, error: AskError) {
        match waiting {
            // Whoever has stopped waiting does not miss it.
            Waiting::Answer(answer) => drop(answer.send(Err(error))),
            Waiting::Registry(ticket) => self.report(Event::Replied { ticket, reply: Err(error) }).await,
            // What it should have said is due by a deadline.
            Waiting::Start => {}
        }
    }

    /// Of a command that comes when there is no streamer to take it.
    async fn refuse(&self, command: Command) {
        match command {
            Command::Ask { answer, .. } => self.fail(Waiting::Answer(answer), AskError::Gone).await,
            Command::Request { ticket, .. } => self.fail(Waiting::Registry(ticket), AskError::Gone).await,
            Command::Tell(_) => {}
        }
    }

    /// What does not fit a frame is left out; all that clients can make long is bounded far below it.
    fn queue(&self, connection: &mut Connection, message: &ServerIpcMessage) {
        if let Err(error) = connection.queue(message) {
            tracing::error!(%error, "cannot send to a streamer");
        }
    }

    async fn heard(&mut self, message: StreamerIpcMessage) {
        self.expectation.heard(Instant::now());
        match message {
            StreamerIpcMessage::SourceConnected => self.source_runs().await,
            StreamerIpcMessage::Reply { request, result } => match self.pending.take(request) {
                // Whoever has stopped waiting does not miss it.
                None => {}
                Some(Waiting::Start) => self.start_result(result).await,
                Some(Waiting::Answer(answer)) => drop(answer.send(result.map_err(AskError::Refused))),
                Some(Waiting::Registry(ticket)) => {
                    let reply = result.map_err(AskError::Refused);
                    self.report(Event::Replied { ticket, reply }).await;
                }
            },
            other => self.report(Event::Said(other)).await,
        }
    }

    async fn start_result(&mut self, result: Result<Payload, RequestError>) {
        match result {
            Ok(_) => self.source_runs().await,
            // An adopted streamer was started by our predecessor.
            Err(error) if error.code == Code::AlreadyStarted => {}
            Err(error) => self.expectation.start_failed(Instant::now(), error),
        }
    }

    async fn source_runs(&mut self) {
        self.turn = None;
        self.expectation.runs();
        self.report(Event::Running).await;
    }

    /// After a lost connection: the process is ending, or the connection broke and can be made again.
    /// `None` when the monitor has ended.
    ///
    /// # Errors
    /// Why it must be killed.
    async fn reconnect(
        &mut self,
        dir: &RunDir,
        monitor: &mut Monitor,
    ) -> Result<Option<Connection>, &'static str> {
        let is_worth_it = self.expectation.lost();
        let deadline = Instant::now() + RECONNECT_DEADLINE;
        while Instant::now() < deadline {
            if timeout(RECONNECT_INTERVAL, monitor.ended()).await.is_ok() {
                return Ok(None);
            }
            if is_worth_it && let Ok((connection, Ready { session: Some(session), .. })) = open(dir).await {
                tracing::warn!("connected to the streamer again");
                self.reconnected(session).await;
                return Ok(Some(connection));
            }
        }
        Err("it does not answer any more")
    }

    async fn reconnected(&mut self, session: SessionState) {
        let running = session.running_since.is_some();
        self.report(Event::Session(Box::new(session))).await;
        if running {
            self.source_runs().await;
        }
    }

    /// Kills the streamer, so that its monitor cleans up; and if it does not, everything.
    async fn end_by_force(&self, dir: &RunDir, monitor: &mut Monitor) {
        tracing::warn!("killing the streamer");
        let pid = self.streamer_pid.and_then(|pid| i32::try_from(pid).ok());
        if let Some(pid) = pid.filter(|pid| self.plan.launcher.may_kill(dir, *pid)) {
            // Still the streamer: its monitor reaps it, and ends then.
            process::kill(pid);
            if timeout(CLEANUP_DEADLINE, monitor.ended()).await.is_ok() {
                return;
            }
        }
        monitor.kill().await;
    }

    /// Finds out why the process ended. The monitor is gone, or goes in a moment.
    async fn autopsy(&mut self, dir: &RunDir, mut monitor: Monitor, forced: Option<Forced>) -> Failure {
        let status = monitor.ended().await;
        self.plan.launcher.ended(dir);
        let exit = match dir.exit() {
            Some(exit) => exit,
            None => {
                self.plan.launcher.clean(dir).await;
                dir.exit().unwrap_or_else(|| process::exit_from_status(status))
            }
        };
        let expectation = std::mem::replace(&mut self.expectation, Expectation::new(Instant::now()));
        expectation.failure(exit, forced, dir.log_tail(LOG_LINES))
    }

    /// Reports the end, and waits: true when another process is to start, false when the streamer is to be removed. The run
    /// directory, with its log, stays.
    async fn wait_for_restart(&mut self, failure: Option<Failure>) -> bool {
        if self.stop.borrow().is_some() {
            return false;
        }
        if let Some(failure) = failure {
            tracing::warn!(reason = failure.reason, "the streamer ended");
            self.report(Event::Ended(failure)).await;
        }
        let stopped = stop_requested(self.stop.clone());
        let replaced = names(self.replace.clone(), self.generation);
        tokio::pin!(stopped, replaced);
        loop {
            tokio::select! {
                _ = &mut stopped => return false,
                () = &mut replaced => return true,
                Some(command) = self.commands.recv() => self.refuse(command).await,
            }
        }
    }

    async fn finish(mut self, dir: &RunDir) {
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            self.refuse(command).await;
        }
        if let Err(error) = dir.remove() {
            tracing::error!(dir = %dir.path().display(), %error, "cannot remove a run directory");
        }
        tracing::info!("the streamer is gone");
        self.report(Event::Gone).await;
    }

    async fn report(&self, event: Event) {
        // Without a registry the whole server is ending, and us with it.
        let _ = self.events.send((self.id.clone(), event)).await;
    }
}

/// Gives the turn back when it is dropped, or has lasted too long.
fn hold(turn: OwnedSemaphorePermit) -> AbortOnDropHandle<()> {
    AbortOnDropHandle::new(tokio::spawn(async move {
        sleep(LONGEST_TURN).await;
        drop(turn);
    }))
}

/// Resolves with the reason once the streamer is to stop; never when nobody can ask for it any more.
async fn stop_requested(mut stop: watch::Receiver<Option<String>>) -> String {
    match stop.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
        Ok(reason) => reason.unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

/// Resolves once the channel names this generation.
async fn names(mut channel: watch::Receiver<Option<Generation>>, generation: Generation) {
    if channel.wait_for(|after| *after == Some(generation)).await.is_err() {
        std::future::pending().await
    }
}

/// Resolves with the reason once the process of this generation is to end: for good, to be replaced, or to stay ended.
async fn end_requested(
    stop: watch::Receiver<Option<String>>,
    replace: watch::Receiver<Option<Generation>>,
    halt: watch::Receiver<Option<Generation>>,
    generation: Generation,
) -> String {
    tokio::select! {
        reason = stop_requested(stop) => reason,
        () = names(replace, generation) => "the streamer is started again".into(),
        () = names(halt, generation) => "nobody uses the streamer".into(),
    }
}

/// Connects to a process that may not listen yet.
async fn connect(dir: &RunDir) -> Result<(Connection, Ready), LinkError> {
    let started = Instant::now();
    loop {
        match open(dir).await {
            Err(error) if error.is_not_there_yet() && started.elapsed() < CONNECT_DEADLINE => {}
            result => return result,
        }
        let quick = started.elapsed() < Duration::from_millis(500);
        sleep(if quick { CONNECT_INTERVAL } else { SLOW_CONNECT_INTERVAL }).await;
    }
}

/// Connects for control; the streamer's `Ready` comes first.
pub(super) async fn open(dir: &RunDir) -> Result<(Connection, Ready), LinkError> {
    let mut connection = Connection::open(dir, Purpose::Control).await?;
    match timeout(Duration::from_secs(5), connection.next()).await {
        Err(_) => Err(LinkError::Silent),
        Ok(Err(error)) => Err(error),
        Ok(Ok(StreamerIpcMessage::Ready(ready))) => Ok((connection, ready.0)),
        Ok(Ok(_)) => Err(LinkError::Impostor("it did not begin with Ready")),
    }
}
