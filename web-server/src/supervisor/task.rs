//! The supervisor's task: the life of one process, from its start or adoption to the removal of its
//! run directory.

use std::path::PathBuf;
use std::time::Duration;

use common::id::StreamerId;
use common::ipc::{
    ErrorKind, Json, Purpose, Ready, Reply, RequestError, ServerIpcMessage, SessionState, StreamerIpcMessage,
};
use tokio::sync::{OwnedSemaphorePermit, mpsc, watch};
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_util::task::AbortOnDropHandle;

use super::adopt::Found;
use super::ask::{Ask, AskError, Joined, Pending, Waiting};
use super::link::{Connection, LinkError};
use super::process::{self, Monitor};
use super::rundir::{Meta, RunDir};
use super::{BULK_COMMANDS, COMMANDS, Command, Event, Events, Failure, Handle, Plan, bulk};

/// From the start of the process to its socket. It does next to nothing before it listens.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);
/// Apart between looks for the socket: costs nothing, and is not felt in the time to the first frame.
const CONNECT_INTERVAL: Duration = Duration::from_millis(1);
/// The same, once it takes suspiciously long.
const SLOW_CONNECT_INTERVAL: Duration = Duration::from_millis(20);
/// From StartSource to its reply. A desktop has an X server, a sound server and a command to start.
const START_DEADLINE: Duration = Duration::from_secs(30);
/// From being told to stop, or from a failed start, to the end of the monitor.
const STOP_DEADLINE: Duration = Duration::from_secs(5);
/// From a lost connection to the end of the monitor, or to a new connection.
const RECONNECT_DEADLINE: Duration = Duration::from_secs(6);
const RECONNECT_INTERVAL: Duration = Duration::from_millis(100);
/// A streamer whose connection is lost this often is not kept.
const MAX_RECONNECTS: u32 = 5;
/// From the death of a streamer to the end of its monitor, which cleans up in between.
const CLEANUP_DEADLINE: Duration = Duration::from_secs(3);

/// The longest turn of a streamer that starts. One that takes longer waits for something else than a processor.
const LONGEST_TURN: Duration = Duration::from_secs(2);

type BulkCommands = mpsc::Receiver<bulk::Command>;

pub(super) struct Supervisor {
    id: StreamerId,
    /// The program, which also clears away what a killed monitor has left.
    streamer_bin: PathBuf,
    events: Events,
    commands: mpsc::Receiver<Command>,
    /// Why to stop, once we shall.
    stop: watch::Receiver<Option<String>>,
    pending: Pending,
    /// When the process must have got on: started its source, or ended. Past it, it is killed.
    deadline: Option<(Instant, &'static str)>,
    /// What the source said instead of starting.
    start_error: Option<RequestError>,
    streamer_pid: Option<u32>,
    /// Its turn to start, while it lasts.
    turn: Option<AbortOnDropHandle<()>>,
}

/// Why serving a connection ended.
enum Lost {
    /// The monitor has ended.
    Ended,
    /// The deadline is over.
    Overdue(&'static str),
    /// The connection is of no more use.
    Link(LinkError),
}

impl Supervisor {
    pub(super) fn new(id: StreamerId, streamer_bin: PathBuf, events: Events) -> (Handle, Self, BulkCommands) {
        let (control, commands) = mpsc::channel(COMMANDS);
        let (bulk, bulk_commands) = mpsc::channel(BULK_COMMANDS);
        let (stop_sender, stop) = watch::channel(None);
        let pending = Pending::default();
        let supervisor = Self {
            id,
            streamer_bin,
            events,
            commands,
            stop,
            pending,
            deadline: None,
            start_error: None,
            streamer_pid: None,
            turn: None,
        };
        (Handle { control, bulk, stop: stop_sender.into() }, supervisor, bulk_commands)
    }

    pub(super) async fn run_new(mut self, plan: Plan, bulk: BulkCommands) {
        let stop = self.stop.clone();
        tokio::select! {
            turn = plan.starts.clone().acquire_owned() => self.turn = turn.ok().map(hold),
            _ = wanted(stop) => return self.finish(None, Failure::new("stopped before it started")).await,
        }
        let dir = match RunDir::create(&plan.run_root, &self.id) {
            Ok(dir) => dir,
            Err(error) => {
                let reason = format!("cannot make a run directory in {}: {error}", plan.run_root.display());
                return self.finish(None, Failure::new(reason)).await;
            }
        };
        let failure = match self.launch(&plan, &dir) {
            Ok(monitor) => self.live(&dir, monitor, None, Some(plan), bulk).await,
            Err(error) => Failure::new(format!("cannot start {}: {error}", plan.streamer_bin.display())),
        };
        self.finish(Some(dir), failure).await;
    }

    pub(super) async fn run_adopted(mut self, found: Found, bulk: BulkCommands) {
        self.streamer_pid = Some(found.pid);
        let Found { dir, monitor, mut connection, session, .. } = found;
        if session.running_since.is_none() {
            // It may have been given its spec and nothing more; if it is starting already, it says so.
            self.start_source(&mut connection);
        }
        let failure = self.live(&dir, monitor, Some(connection), None, bulk).await;
        self.finish(Some(dir), failure).await;
    }

    fn launch(&self, plan: &Plan, dir: &RunDir) -> std::io::Result<Monitor> {
        let monitor = Monitor::spawn(&plan.streamer_bin, dir, &plan.log)?;
        tracing::info!(id = %self.id, pid = monitor.id().pid, dir = %dir.path().display(), "monitor started");
        let meta = Meta { id: self.id.clone(), created: plan.created, monitor: monitor.id() };
        if let Err(error) = dir.write_meta(&meta) {
            process::kill(monitor.id().pid);
            return Err(error);
        }
        Ok(monitor)
    }

    /// From the first connection to the end of the process.
    async fn live(
        &mut self,
        dir: &RunDir,
        mut monitor: Monitor,
        connection: Option<Connection>,
        plan: Option<Plan>,
        bulk: BulkCommands,
    ) -> Failure {
        let _bulk = AbortOnDropHandle::new(tokio::spawn(bulk::run(dir.clone(), bulk)));
        let mut forced = None;
        let mut next = match connection {
            Some(connection) => Some(connection),
            None => match self.first_connection(dir, &mut monitor, plan).await {
                Ok(connection) => connection,
                Err(reason) => {
                    forced = Some(reason);
                    None
                }
            },
        };
        let mut reconnects = 0;
        while let Some(mut connection) = next.take() {
            let lost = self.serve(&mut connection, &mut monitor).await;
            self.pending.fail_all();
            match lost {
                Lost::Ended => break,
                Lost::Overdue(reason) => forced = Some(reason.to_owned()),
                Lost::Link(error) => {
                    tracing::debug!(id = %self.id, %error, "the control connection ended");
                    reconnects += 1;
                    match self.reconnect(dir, &mut monitor, reconnects).await {
                        Ok(connection) => next = connection,
                        Err(reason) => forced = Some(format!("{reason} ({error})")),
                    }
                }
            }
        }
        if forced.is_some() {
            self.end_by_force(&mut monitor).await;
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
        plan: Option<Plan>,
    ) -> Result<Option<Connection>, String> {
        let (mut connection, ready) = tokio::select! {
            result = connect(dir) => result.map_err(|error| format!("the streamer does not listen: {error}"))?,
            _ = monitor.ended() => return Ok(None),
            _ = self.stop.wait_for(Option::is_some) => return Err("stopped while it started".into()),
        };
        self.streamer_pid = Some(ready.pid);
        if let Some(Plan { id, spec, settings, .. }) = plan {
            let init = ServerIpcMessage::Init { id, spec: Json(spec), settings: Json(settings) };
            connection.queue(&init).map_err(|error| format!("cannot send the spec: {error}"))?;
        }
        self.start_source(&mut connection);
        Ok(Some(connection))
    }

    fn start_source(&mut self, connection: &mut Connection) {
        self.deadline = Some((Instant::now() + START_DEADLINE, "its source did not start in time"));
        if let Ok(request) = self.pending.enter(Waiting::Start) {
            self.queue(connection, &ServerIpcMessage::StartSource { request });
        }
    }

    /// Moves messages and commands until the connection or the process is gone.
    async fn serve(&mut self, connection: &mut Connection, monitor: &mut Monitor) -> Lost {
        let mut told_to_stop = false;
        loop {
            let stop = self.stop.clone();
            tokio::select! {
                message = connection.next() => match message {
                    Ok(message) => self.heard(connection, message).await,
                    Err(error) => return Lost::Link(error),
                },
                Some(command) = self.commands.recv(), if connection.has_room() => {
                    self.command(connection, command);
                }
                reason = wanted(stop), if !told_to_stop => {
                    told_to_stop = true;
                    self.deadline = Some((Instant::now() + STOP_DEADLINE, "it did not stop in time"));
                    self.queue(connection, &ServerIpcMessage::Stop { reason });
                }
                reason = overdue(self.deadline) => return Lost::Overdue(reason),
                _ = monitor.ended() => return Lost::Ended,
            }
        }
    }

    fn command(&mut self, connection: &mut Connection, command: Command) {
        let (waiting, ask) = match command {
            Command::Tell(message) => return self.queue(connection, &message),
            Command::Ask { ask, answer } => (Waiting::Answer(answer), ask),
            Command::Join { join, socket, answer } => (Waiting::Join { socket, answer }, Ask::AddPeer(join)),
        };
        match self.pending.enter(waiting) {
            Err(waiting) => waiting.fail(AskError::Busy),
            Ok(request) => self.queue(connection, &ask.into_message(request)),
        }
    }

    /// What does not fit a frame is left out; all that clients can make long is bounded far below it.
    fn queue(&self, connection: &mut Connection, message: &ServerIpcMessage) {
        if let Err(error) = connection.queue(message) {
            tracing::error!(id = %self.id, %error, "cannot send to a streamer");
        }
    }

    async fn heard(&mut self, connection: &mut Connection, message: StreamerIpcMessage) {
        match message {
            StreamerIpcMessage::SourceConnected => self.source_runs().await,
            StreamerIpcMessage::Reply { request, result } => match self.pending.take(request) {
                None => self.unwanted(connection, result),
                Some(Waiting::Start) => self.start_result(result).await,
                Some(Waiting::Answer(answer)) => {
                    let answered = answer.send(result.map_err(AskError::Refused));
                    if let Err(result) = answered {
                        self.unwanted(connection, result);
                    }
                }
                Some(Waiting::Join { socket, answer }) => match result {
                    Ok(Reply::PeerAdded { peer, answer: sdp }) => {
                        let joined = Joined { peer, answer: sdp };
                        self.report(Event::Joined { joined, socket, answer }).await;
                    }
                    Ok(_) => Waiting::Join { socket, answer }.fail(AskError::Unexpected),
                    Err(error) => Waiting::Join { socket, answer }.fail(AskError::Refused(error)),
                },
            },
            other => self.report(Event::Said(other)).await,
        }
    }

    /// Nobody waits for this answer any more: a peer that was added for them must not stay.
    fn unwanted<E: std::fmt::Debug>(&mut self, connection: &mut Connection, result: Result<Reply, E>) {
        if let Ok(Reply::PeerAdded { peer, .. }) = result {
            let request = self.pending.fresh_id();
            let ask = Ask::RemovePeer { peer, reason: "nobody waited for the answer".into() };
            self.queue(connection, &ask.into_message(request));
        }
    }

    async fn start_result(&mut self, result: Result<Reply, RequestError>) {
        match result {
            Ok(_) => self.source_runs().await,
            // An adopted streamer was started by our predecessor.
            Err(error) if error.kind == ErrorKind::Conflict => {}
            Err(error) => {
                self.start_error = Some(error);
                self.deadline = Some((Instant::now() + STOP_DEADLINE, "it failed to start and did not end"));
            }
        }
    }

    async fn source_runs(&mut self) {
        self.turn = None;
        if self.stop.borrow().is_none() {
            self.deadline = None;
        }
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
        attempt: u32,
    ) -> Result<Option<Connection>, &'static str> {
        let deadline = Instant::now() + RECONNECT_DEADLINE;
        while Instant::now() < deadline {
            if timeout(RECONNECT_INTERVAL, monitor.ended()).await.is_ok() {
                return Ok(None);
            }
            if attempt > MAX_RECONNECTS || self.start_error.is_some() {
                continue;
            }
            if let Ok((connection, Ready { session: Some(session), .. })) = open(dir).await {
                tracing::warn!(id = %self.id, attempt, "connected to the streamer again");
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
    async fn end_by_force(&self, monitor: &mut Monitor) {
        tracing::warn!(id = %self.id, "killing the streamer");
        if let Some(pid) = self.streamer_pid.and_then(|pid| i32::try_from(pid).ok()) {
            // Still the streamer: its monitor reaps it, and ends then.
            process::kill(pid);
            if timeout(CLEANUP_DEADLINE, monitor.ended()).await.is_ok() {
                return;
            }
        }
        monitor.kill().await;
    }

    /// Finds out why the process ended. The monitor is gone, or goes in a moment.
    async fn autopsy(&mut self, dir: &RunDir, mut monitor: Monitor, forced: Option<String>) -> Failure {
        let status = monitor.ended().await;
        let exit = match dir.exit() {
            Some(exit) => exit,
            None => {
                process::clean(&self.streamer_bin, dir).await;
                dir.exit().unwrap_or_else(|| process::exit_from_status(status))
            }
        };
        let error = self.start_error.take();
        let reason = match (&error, forced) {
            (Some(error), _) => error.message.clone(),
            (None, Some(forced)) => forced,
            (None, None) => exit.to_string(),
        };
        Failure { reason, exit: Some(exit), error }
    }

    /// Reports the end. The run directory, with its log, stays until we are told to stop.
    async fn finish(mut self, dir: Option<RunDir>, failure: Failure) {
        self.turn = None;
        if self.stop.borrow().is_none() {
            tracing::warn!(id = %self.id, reason = failure.reason, "the streamer ended");
            self.report(Event::Ended(failure)).await;
            let stop = self.stop.clone();
            let stopped = wanted(stop);
            tokio::pin!(stopped);
            loop {
                tokio::select! {
                    _ = &mut stopped => break,
                    Some(command) = self.commands.recv() => refuse(command),
                }
            }
        }
        self.commands.close();
        while let Some(command) = self.commands.recv().await {
            refuse(command);
        }
        if let Some(dir) = dir
            && let Err(error) = dir.remove()
        {
            tracing::error!(dir = %dir.path().display(), %error, "cannot remove a run directory");
        }
        tracing::info!(id = %self.id, "the streamer is gone");
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

fn refuse(command: Command) {
    match command {
        Command::Ask { answer, .. } => Waiting::Answer(answer).fail(AskError::Gone),
        Command::Join { socket, answer, .. } => Waiting::Join { socket, answer }.fail(AskError::Gone),
        Command::Tell(_) => {}
    }
}

/// Resolves with the reason once the streamer shall stop; never if nobody can say so any more.
async fn wanted(mut stop: watch::Receiver<Option<String>>) -> String {
    match stop.wait_for(Option::is_some).await.map(|reason| reason.clone()) {
        Ok(reason) => reason.unwrap_or_default(),
        Err(_) => std::future::pending().await,
    }
}

async fn overdue(deadline: Option<(Instant, &'static str)>) -> &'static str {
    match deadline {
        Some((at, reason)) => {
            sleep_until(at).await;
            reason
        }
        None => std::future::pending().await,
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
