//! Stands in for a streamer and its monitor where thousands are wanted, or many in a short time, and nobody watches any: one small process
//! that says to the web-server what a streamer says whose source runs (`ORIEL_STREAMER_BIN`). It shows nothing and takes no peers.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use chrono::Utc;
use common::control::Control;
use common::exit::{EXIT_FILE, ExitReason, StreamerExit};
use common::ipc::{
    AnyRequest, Code, Decoder, Hello, HelloReply, Json, PROTOCOL, Payload, Purpose, Ready, Refusal,
    RequestError, SOCKET_FILE, ServerIpcMessage, SessionState, StreamerIpcMessage, TOKEN_FILE, encode,
    knows_token,
};
use common::stats::StreamerStats;
use rustix::event::{PollFd, PollFlags, Timespec, poll};

/// Streamers report each second. A web-server takes one for hung that has been silent for ten, so this is enough, and thousands of us leave
/// the processor to what is measured.
const HEARTBEAT: Duration = Duration::from_secs(4);
/// A web-server reads what it is sent; one that does not is gone.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// One connection of the web-server.
struct Connection {
    stream: UnixStream,
    decoder: Decoder,
    /// `None` before the greeting.
    purpose: Option<Purpose>,
}

struct StandIn {
    token: String,
    session: Option<SessionState>,
    connections: BTreeMap<u64, Connection>,
    began: Instant,
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, part, flag, run_dir] = arguments.as_slice() else {
        eprintln!("stand-in monitor|clean --run-dir DIR: started by a web-server, not by hand");
        return ExitCode::FAILURE;
    };
    let run_dir = PathBuf::from(run_dir);
    let done = match (part.as_str(), flag.as_str()) {
        ("monitor", "--run-dir") => serve(&run_dir).and_then(|reason| leave(&run_dir, Some(0), reason)),
        // Its only process has ended.
        ("clean", "--run-dir") => leave(&run_dir, None, ExitReason::Unknown),
        _ => Err(io::Error::other(format!("{part} {flag} is not understood"))),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("stand-in: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Writes why it ended, as a monitor does last.
fn leave(run_dir: &Path, code: Option<i32>, reason: ExitReason) -> io::Result<()> {
    let exit = StreamerExit { code, signal: None, reason };
    let unfinished = run_dir.join("exit.json.new");
    std::fs::write(&unfinished, serde_json::to_vec(&exit)?)?;
    std::fs::rename(unfinished, run_dir.join(EXIT_FILE))
}

/// Serves until it is told to stop. Returns why it ends.
fn serve(run_dir: &Path) -> io::Result<ExitReason> {
    let listener = UnixListener::bind(run_dir.join(SOCKET_FILE))?;
    let token = std::fs::read_to_string(run_dir.join(TOKEN_FILE))?.trim().to_owned();
    let mut stand_in = StandIn { token, session: None, connections: BTreeMap::new(), began: Instant::now() };
    let mut next = 0;
    let mut heartbeat = Instant::now() + HEARTBEAT;
    loop {
        let (accepts, ready) = wait(&listener, &stand_in.connections, heartbeat)?;
        if accepts {
            let (stream, _) = listener.accept()?;
            stream.set_nonblocking(true)?;
            stand_in
                .connections
                .insert(next, Connection { stream, decoder: Decoder::default(), purpose: None });
            next += 1;
        }
        for id in ready {
            match stand_in.read(id) {
                Ok(None) => {}
                Ok(Some(reason)) => return Ok(reason),
                Err(error) => {
                    eprintln!("stand-in: a connection ended: {error}");
                    stand_in.connections.remove(&id);
                }
            }
        }
        if Instant::now() >= heartbeat {
            heartbeat = Instant::now() + HEARTBEAT;
            stand_in.beat();
        }
    }
}

/// Waits until somebody connects or sends something, or until `until`. Returns whether somebody connects, and who sends.
fn wait(
    listener: &UnixListener,
    connections: &BTreeMap<u64, Connection>,
    until: Instant,
) -> io::Result<(bool, Vec<u64>)> {
    let mut fds = vec![PollFd::from_borrowed_fd(listener.as_fd(), PollFlags::IN)];
    fds.extend(
        connections
            .values()
            .map(|connection| PollFd::from_borrowed_fd(connection.stream.as_fd(), PollFlags::IN)),
    );
    let left = until.saturating_duration_since(Instant::now());
    let timeout = Timespec {
        tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
        tv_nsec: left.subsec_nanos().into(),
    };
    match poll(&mut fds, Some(&timeout)) {
        Err(rustix::io::Errno::INTR) => return Ok((false, Vec::new())),
        other => other?,
    };
    let ready: Vec<bool> = fds.iter().map(|fd| !fd.revents().is_empty()).collect();
    let sends = connections.keys().zip(&ready[1..]).filter(|(_, ready)| **ready).map(|(id, _)| *id);
    Ok((ready[0], sends.collect()))
}

impl StandIn {
    /// Reads what a connection has sent, and replies. Returns why to end, once it is told to.
    fn read(&mut self, id: u64) -> io::Result<Option<ExitReason>> {
        let mut bytes = [0; 16 * 1024];
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(None) };
        match connection.stream.read(&mut bytes) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => connection.decoder.buffer().extend_from_slice(&bytes[..len]),
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        }
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return Ok(None) };
            if connection.purpose.is_none() {
                let Some(hello) = connection.decoder.next_message().map_err(io::Error::other)? else {
                    return Ok(None);
                };
                self.greet(id, hello)?;
                continue;
            }
            let Some(message) = connection.decoder.next_message().map_err(io::Error::other)? else {
                return Ok(None);
            };
            match message {
                ServerIpcMessage::Init { id, spec, .. } if self.session.is_none() => {
                    self.session = Some(SessionState {
                        id,
                        spec: spec.0,
                        started: Utc::now(),
                        running_since: None,
                        slots: Vec::new(),
                        peers: Vec::new(),
                        control: Control::default(),
                    });
                }
                ServerIpcMessage::Init { .. } | ServerIpcMessage::Tell(_) => {}
                ServerIpcMessage::Stop { .. } => return Ok(Some(ExitReason::Stopped)),
                ServerIpcMessage::Request { id: request, request: asked } => {
                    let result = self.reply(&asked);
                    self.send(id, &StreamerIpcMessage::Reply { request, result })?;
                }
            }
        }
    }

    fn greet(&mut self, id: u64, hello: Hello) -> io::Result<()> {
        let refusal = match hello {
            Hello { protocol, .. } if protocol != PROTOCOL => {
                Some(Refusal::Protocol { streamer: PROTOCOL, server: protocol })
            }
            Hello { ref token, .. } if !knows_token(token, &self.token) => Some(Refusal::Token),
            _ => None,
        };
        if let Some(refusal) = refusal {
            self.send(id, &HelloReply::Refused(refusal.clone()))?;
            return Err(io::Error::other(refusal));
        }
        let purpose = hello.purpose;
        self.send(id, &HelloReply::Accepted(hello))?;
        // A newer one replaces an older one of its own purpose.
        self.connections.retain(|other, connection| *other == id || connection.purpose != Some(purpose));
        if let Some(connection) = self.connections.get_mut(&id) {
            connection.purpose = Some(purpose);
        }
        if purpose == Purpose::Control {
            let ready = Ready { session: self.session.clone(), pid: std::process::id() };
            self.send(id, &StreamerIpcMessage::Ready(Box::new(Json(ready))))?;
        }
        Ok(())
    }

    fn reply(&mut self, request: &AnyRequest) -> Result<Payload, RequestError> {
        let failed = |why: String| RequestError::new(Code::Unsupported, why);
        match (request, &mut self.session) {
            (AnyRequest::StartSource(_), Some(session)) => {
                if session.running_since.is_some() {
                    return Err(RequestError::new(Code::AlreadyStarted, "it runs already"));
                }
                session.running_since = Some(Utc::now());
                Payload::of(&()).map_err(|error| failed(error.to_string()))
            }
            _ => Err(failed("this process only stands in for a streamer".into())),
        }
    }

    fn beat(&mut self) {
        let uptime_ms = u64::try_from(self.began.elapsed().as_millis()).unwrap_or(u64::MAX);
        let stats = Box::new(Json(StreamerStats { uptime_ms, ..StreamerStats::default() }));
        let message = StreamerIpcMessage::Stats { stats, peers: Vec::new() };
        let control =
            self.connections.iter().find(|(_, connection)| connection.purpose == Some(Purpose::Control));
        if let Some((id, _)) = control {
            let id = *id;
            // Whoever has gone is found out when it is read.
            if let Err(error) = self.send(id, &message) {
                eprintln!("stand-in: a heartbeat was not sent: {error}");
            }
        }
    }

    fn send<T: serde::Serialize>(&mut self, id: u64, message: &T) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&id) else { return Ok(()) };
        let frame = encode(message).map_err(io::Error::other)?;
        connection.stream.set_nonblocking(false)?;
        connection.stream.set_write_timeout(Some(WRITE_DEADLINE))?;
        connection.stream.write_all(&frame)?;
        connection.stream.set_nonblocking(true)
    }
}
