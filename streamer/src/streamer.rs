//! Assembly: the control loop of one session, and the order in which its parts come and go.
//!
//! ```text
//! ipc ─┐                          ┌─▶ shards (peers, media out)
//! shards ─┼─ Event ─▶ control loop ┼─▶ source (capture, encode)
//! source ─┤          (this thread) ├─▶ input thread
//! input ──┘                        └─▶ ipc
//! ```
//!
//! The loop owns the [`Session`], which decides, and the `Performer`, which carries out what it has decided. Neither
//! waits for anything: what takes time runs elsewhere and comes back as an event.

#![expect(clippy::disallowed_methods, reason = "the control loop is where the time is asked for")]

use std::io;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::Utc;
use common::exit::{ExitReason, StreamerExit};
use common::id::{SourceName, StreamerId};
use common::ipc::{Json, Ready, ServerIpcMessage, Settings, StreamerIpcMessage, TOKEN_FILE};
use common::spec::StreamerSpec;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tracing::Span;

use crate::link::{Asked, Finished, Link};
use crate::peer::Report;
use crate::perform::{Performer, Senders};
use crate::session::{Now, Session, Started};
use crate::source::SourceKey;
use crate::{cleanup, input, ipc, memory, monitor, process, source};

/// Heartbeat and counters.
const TICK: Duration = Duration::from_secs(1);
/// How long a graceful stop may take; the monitor ends what is left.
const STOP_DEADLINE: Duration = Duration::from_secs(4);
/// Events on their way to the control loop, per kind.
const QUEUE: usize = 1024;

/// Everything that can happen to a session.
enum LoopEvent {
    Ipc(ipc::Event),
    Report(Report),
    Source(SourceKey, source::Event),
    Started(SourceKey, Started),
    Finished(Finished),
    PictureOver(SourceName),
    Input(input::Notice),
    Announce,
    Tick,
    Terminate,
}

/// The queues that fill the loop. One for each kind, so that none can crowd out another.
struct Queues {
    ipc: mpsc::Receiver<ipc::Event>,
    reports: mpsc::Receiver<Report>,
    source: mpsc::Receiver<(SourceKey, source::Event)>,
    started: mpsc::Receiver<(SourceKey, Started)>,
    finished: mpsc::Receiver<Finished>,
    pictured: mpsc::Receiver<SourceName>,
    input: mpsc::Receiver<input::Notice>,
    tick: tokio::time::Interval,
    terminate: tokio::signal::unix::Signal,
}

/// Runs a session until it ends, and notes why. Blocks.
pub fn run(run_dir: &Path) -> ExitCode {
    memory::use_small_pages();
    let monitor = rustix::process::getppid();
    let reason = match try_run(run_dir) {
        Ok(reason) => reason,
        Err(error) => ExitReason::Fatal { message: error.to_string() },
    };
    tracing::info!(?reason, "the session has ended");
    if let Err(error) = monitor::write_reason(run_dir, &reason) {
        tracing::error!(%error, "the reason cannot be noted");
    }
    if rustix::process::getppid() != monitor {
        // It was killed, which is why we were told to end. Nobody is left to do this.
        let exit = StreamerExit { code: Some(1), signal: None, reason: cleanup::monitor_killed() };
        if let Err(error) = cleanup::finish(run_dir, &exit) {
            tracing::error!(%error, "the end cannot be noted");
        }
        return ExitCode::FAILURE;
    }
    match reason {
        ExitReason::Stopped => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn try_run(run_dir: &Path) -> io::Result<ExitReason> {
    process::become_subreaper()?;
    let token = std::fs::read_to_string(run_dir.join(TOKEN_FILE))?.trim().to_owned();
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().max_blocking_threads(8).build()?;
    let reason = runtime.block_on(async {
        let (ipc_events, ipc) = mpsc::channel(QUEUE);
        ipc::listen(run_dir, token, ipc_events)?;
        let (senders, queues) = queues(ipc)?;
        io::Result::Ok(control(run_dir.to_owned(), senders, queues).await)
    })?;
    // A thread that still waits for a dead X server must not keep the process.
    runtime.shutdown_background();
    Ok(reason)
}

fn queues(ipc: mpsc::Receiver<ipc::Event>) -> io::Result<(Senders, Queues)> {
    let (report_sender, reports) = mpsc::channel(QUEUE);
    let (source_sender, source) = mpsc::channel(source::EVENT_QUEUE);
    let (started_sender, started) = mpsc::channel(16);
    let (finished_sender, finished) = mpsc::channel(QUEUE);
    let (pictured_sender, pictured) = mpsc::channel(16);
    let (input_sender, input) = mpsc::channel(16);
    let mut tick = tokio::time::interval(TICK);
    tick.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let terminate = signal(SignalKind::terminate())?;
    let senders = Senders {
        reports: report_sender,
        source: source_sender,
        started: started_sender,
        finished: finished_sender,
        pictured: pictured_sender,
        input: input_sender,
    };
    Ok((senders, Queues { ipc, reports, source, started, finished, pictured, input, tick, terminate }))
}

impl Queues {
    /// The next event; [`LoopEvent::Announce`] at `announcement`. The senders of all queues live as long as the loop.
    async fn next(&mut self, announcement: Option<Instant>) -> LoopEvent {
        let due = announcement.unwrap_or_else(Instant::now).into();
        tokio::select! {
            Some(event) = self.ipc.recv() => LoopEvent::Ipc(event),
            Some(report) = self.reports.recv() => LoopEvent::Report(report),
            Some((key, event)) = self.source.recv() => LoopEvent::Source(key, event),
            Some((key, started)) = self.started.recv() => LoopEvent::Started(key, started),
            Some(finished) = self.finished.recv() => LoopEvent::Finished(finished),
            Some(source) = self.pictured.recv() => LoopEvent::PictureOver(source),
            Some(notice) = self.input.recv() => LoopEvent::Input(notice),
            () = tokio::time::sleep_until(due), if announcement.is_some() => LoopEvent::Announce,
            _ = self.tick.tick() => LoopEvent::Tick,
            _ = self.terminate.recv() => LoopEvent::Terminate,
        }
    }
}

async fn control(run_dir: PathBuf, senders: Senders, mut queues: Queues) -> ExitReason {
    let mut control = Control { run_dir, senders, link: Link::default(), span: Span::none(), running: None };
    loop {
        let announcement =
            control.running.as_ref().and_then(|running| running.session.announcement_due(now()));
        let event = queues.next(announcement).await;
        let reason = control.handle(now(), event);
        control.perform();
        if let Some(reason) = reason {
            control.end(&reason).await;
            return reason;
        }
    }
}

/// The time, for an event that is taken up now.
fn now() -> Now {
    Now { instant: Instant::now(), utc: Utc::now() }
}

struct Control {
    run_dir: PathBuf,
    senders: Senders,
    link: Link,
    /// Of all that is said of the session, by its threads too.
    span: Span,
    /// `None` until `Init`.
    running: Option<RunningSession>,
}

struct RunningSession {
    session: Session,
    performer: Performer,
}

impl Control {
    /// Handles one event. A reason ends the session.
    fn handle(&mut self, now: Now, event: LoopEvent) -> Option<ExitReason> {
        let _entered = self.span.clone().entered();
        match (event, &mut self.running) {
            (LoopEvent::Ipc(event), _) => return self.ipc(now, event),
            (LoopEvent::Terminate, _) => return Some(ExitReason::Stopped),
            (_, None) => {}
            (LoopEvent::Report(report), Some(running)) => running.session.report(now, report),
            (LoopEvent::Started(key, started), Some(running)) => {
                return running.session.started(now, key, started);
            }
            (LoopEvent::Source(key, event), Some(running)) => {
                return running.session.source_event(now, key, event);
            }
            (LoopEvent::Finished(finished), Some(_)) => self.link.finish(finished),
            (LoopEvent::PictureOver(source), Some(running)) => running.session.picture_over(&source),
            (LoopEvent::Input(notice), Some(running)) => running.session.input_notice(notice),
            (LoopEvent::Announce, Some(running)) => running.session.announce(now),
            (LoopEvent::Tick, Some(RunningSession { session, performer })) => {
                performer.tick(now.instant);
                return performer.trouble().or_else(|| session.tick(now));
            }
        }
        None
    }

    /// Carries out what the session has decided.
    fn perform(&mut self) {
        let _entered = self.span.clone().entered();
        let Some(RunningSession { session, performer }) = &mut self.running else { return };
        for effect in session.take_effects() {
            performer.perform(&mut self.link, effect);
        }
        performer.flush();
    }

    fn ipc(&mut self, now: Now, event: ipc::Event) -> Option<ExitReason> {
        match event {
            ipc::Event::Connected(connection) => {
                let lane = connection.lane;
                self.link.connected(connection);
                if lane == ipc::Lane::Control {
                    let session = self.running.as_mut().map(|running| running.session.adopted(now));
                    let ready = Ready { session, pid: std::process::id() };
                    self.link.send(StreamerIpcMessage::Ready(Box::new(Json(ready))));
                    if let Some(RunningSession { session, .. }) = &mut self.running {
                        session.report_absence();
                    }
                }
            }
            ipc::Event::Attached(peer, socket) => {
                if let Some(RunningSession { performer, .. }) = &mut self.running {
                    performer.reader_connected(peer, socket);
                }
            }
            ipc::Event::Closed(id) => {
                if self.link.closed(id)
                    && let Some(RunningSession { session, .. }) = &mut self.running
                {
                    session.web_server_gone(now);
                }
            }
            ipc::Event::Media(attach, stream) => {
                if let Some(running) = &mut self.running {
                    running.session.attach_media(*attach, stream);
                }
            }
            // What a replaced connection had still queued is not for this session any more.
            ipc::Event::Message(from, _) if !self.link.is_current(from) => {}
            ipc::Event::Message(from, message) => match (*message, &mut self.running) {
                (ServerIpcMessage::Init { id, spec, settings }, None) => {
                    return self
                        .init(now, id, spec.0, settings.0)
                        .err()
                        .map(|message| ExitReason::Fatal { message });
                }
                (ServerIpcMessage::Init { .. }, Some(_)) => tracing::warn!("a second Init was ignored"),
                (ServerIpcMessage::Stop { reason }, _) => {
                    tracing::info!(reason, "told to stop");
                    return Some(ExitReason::Stopped);
                }
                (ServerIpcMessage::Tell(tell), Some(running)) => running.session.tell_received(now, tell),
                (ServerIpcMessage::Request { id, request }, Some(running)) => {
                    let asked = Asked { connection: from, request: id };
                    running.session.request(now, asked, request);
                }
                (ServerIpcMessage::Tell(_) | ServerIpcMessage::Request { .. }, None) => {
                    tracing::warn!("a message before Init was ignored");
                }
            },
        }
        None
    }

    fn init(
        &mut self,
        now: Now,
        id: StreamerId,
        spec: StreamerSpec,
        settings: Settings,
    ) -> Result<(), String> {
        spec.validate().map_err(|error| error.to_string())?;
        self.span = tracing::info_span!("streamer", %id);
        let _entered = self.span.clone().entered();
        self.running = Some(self.start(now, id, spec, settings).map_err(|error| error.to_string())?);
        tracing::info!("the session begins");
        Ok(())
    }

    fn start(
        &self,
        now: Now,
        id: StreamerId,
        spec: StreamerSpec,
        settings: Settings,
    ) -> io::Result<RunningSession> {
        let performer = Performer::start(&spec, &settings, &self.run_dir, self.senders.clone())?;
        let shards = performer.shards();
        let session = Session::new(now, id, spec, settings, shards, performer.counters().clone())?;
        Ok(RunningSession { session, performer })
    }

    /// Says goodbye to everybody and takes the session down, within [`STOP_DEADLINE`].
    async fn end(&mut self, reason: &ExitReason) {
        let deadline = Instant::now() + STOP_DEADLINE;
        if let Some(RunningSession { session, performer }) = self.running.take() {
            let left = deadline.saturating_duration_since(Instant::now());
            if tokio::time::timeout(left, performer.end(session.end())).await.is_err() {
                tracing::warn!("the session did not end in time; the monitor ends what is left");
            }
        }
        self.link.send(StreamerIpcMessage::Exit { reason: Json(reason.clone()) });
        self.link.close().await;
    }
}
