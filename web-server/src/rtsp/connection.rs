//! One connection of a player: reads requests, and sends responses and, between them, what the streamer sends.

#![expect(clippy::disallowed_methods, reason = "the loop of a connection is where the time is asked for")]

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use common::access::Need;
use common::id::{SourceName, StreamerId};
use common::ipc::{Code, Join, RequestError};
use common::rtp_stream::{self, Description, Lane};
use rtsp_types::headers::{
    CONTENT_BASE, CONTENT_TYPE, CSEQ, PUBLIC, RTP_INFO, SERVER, SESSION, TRANSPORT, WWW_AUTHENTICATE,
};
use rtsp_types::{HeaderName, Request, Response, StatusCode, Version};
use rustix::net::sockopt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;
use uuid::Uuid;

use super::message::{Malformed, Requests};
use super::request::{self, Asked, Refusal, Target, Verb};
use super::session::{Session, TIMEOUT_S, another_stream, no_session};
use super::{Server, sdp};
use crate::auth::{Refused, Right};
use crate::http::problem::ApiError;
use crate::http::site;
use crate::limits::Exceeded;
use crate::registry::OperationError;
use crate::supervisor::ask::AskError;
use crate::supervisor::link::Media;

/// From the connection to its first request. Players send it at once.
const FIRST_REQUEST: Duration = Duration::from_secs(10);
/// A connection that does not play is closed when nothing was asked for so long.
const IDLE: Duration = Duration::from_secs(TIMEOUT_S + 10);
/// A player that takes nothing for so long is closed.
const WRITE_PATIENCE: Duration = Duration::from_secs(10);
/// Bytes that wait for the player. While there are more, neither the streamer nor the player is read.
const MAX_UNSENT: usize = 256 * 1024;
/// Bytes that the system keeps for the player: a second of a large picture.
const SEND_BUFFER: usize = 256 * 1024;
/// The first picture is waited for so long; the streamer gives up a little earlier.
const FIRST_PATIENCE: Duration = Duration::from_secs(25);
/// A stream that was opened for its description is played if `PLAY` comes this soon. Later its beginning would be old.
const FRESH: Duration = Duration::from_secs(2);
/// Methods that are known.
const METHODS: &str = "OPTIONS, DESCRIBE, SETUP, PLAY, PAUSE, GET_PARAMETER, TEARDOWN";

/// Why a connection ends.
#[derive(Debug, thiserror::Error)]
enum End {
    #[error("the player has left")]
    Left,
    #[error("the player asks for nothing")]
    Idle,
    #[error("the player does not read")]
    Stuck,
    #[error("the stream has ended")]
    Stream,
    #[error(transparent)]
    Malformed(#[from] Malformed),
    #[error("its address asks too often")]
    Limit,
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Serves a player until it leaves.
pub(super) async fn serve(stream: TcpStream, from: SocketAddr, server: Server) {
    // Small responses must not wait for more to send.
    let _ = stream.set_nodelay(true);
    // What lies there is late when it is read: a slow player goes on with a keyframe that is not old.
    let _ = sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER);
    let now = Instant::now();
    let (input, output) = stream.into_split();
    let requests = Requests::default();
    let mut connection = Connection {
        player: Player { input, output, requests, out: BytesMut::new(), heard: now, sent: now },
        server,
        from,
        asked: false,
        right: None,
        session: None,
        open: None,
    };
    let end = connection.run().await;
    let end = end.err().unwrap_or(End::Left);
    tracing::debug!(%from, %end, "a connection by RTSP ends");
    // What it is to be told may still be on its way; it need not take it.
    let _ = timeout(Duration::from_secs(1), connection.player.flush()).await;
}

struct Connection {
    player: Player,
    server: Server,
    from: SocketAddr,
    /// Whether there was a request.
    asked: bool,
    /// What the player may do, and with which streamer.
    right: Option<(StreamerId, Right)>,
    session: Option<Session>,
    open: Option<Open>,
}

/// The two ends of the connection.
struct Player {
    input: OwnedReadHalf,
    output: OwnedWriteHalf,
    requests: Requests,
    /// What is to be sent.
    out: BytesMut,
    /// When something came last,
    heard: Instant,
    /// and when something was taken.
    sent: Instant,
}

/// A stream on its way to the player.
struct Open {
    stream: (StreamerId, SourceName),
    description: Description,
    since: Instant,
    media: Media,
    buffer: BytesMut,
}

/// A response, but for what all have.
struct Reply {
    status: StatusCode,
    headers: Vec<(HeaderName, String)>,
    body: String,
}

impl Reply {
    fn ok() -> Self {
        Self { status: StatusCode::Ok, headers: Vec::new(), body: String::new() }
    }

    fn with(mut self, name: HeaderName, value: impl Into<String>) -> Self {
        self.headers.push((name, value.into()));
        self
    }
}

impl From<Refusal> for Reply {
    fn from(refusal: Refusal) -> Self {
        let is_unauthorized = refusal.status == StatusCode::Unauthorized;
        let reply = Self { status: refusal.status, headers: Vec::new(), body: refusal.detail };
        let reply = reply.with(CONTENT_TYPE, "text/plain; charset=utf-8");
        match is_unauthorized {
            true => reply.with(WWW_AUTHENTICATE, "Basic realm=\"a token as the password\""),
            false => reply,
        }
    }
}

/// The statuses that RTSP has too; of the others what is nearest.
fn refusal(error: &ApiError) -> Refusal {
    let problem = error.problem("");
    let status = match problem.status {
        status @ (400 | 401 | 403 | 404) => status.into(),
        409 => StatusCode::MethodNotValidInThisState,
        429 => StatusCode::NotEnoughBandwidth,
        _ => StatusCode::ServiceUnavailable,
    };
    Refusal::new(status, problem.detail)
}

impl Connection {
    async fn run(&mut self) -> Result<(), End> {
        loop {
            // One after another, as long as there is room for their responses.
            if self.player.has_room() {
                match self.player.requests.take() {
                    Ok(Some(request)) => {
                        self.asked = true;
                        self.player.heard = Instant::now();
                        self.serve(&request).await?;
                        continue;
                    }
                    Ok(None) => {}
                    Err(malformed) => {
                        let refusal = Refusal::new(StatusCode::BadRequest, malformed.to_string());
                        self.player.respond(None, None, refusal.into());
                        return Err(malformed.into());
                    }
                }
            }
            let is_playing = self.session.as_ref().is_some_and(Session::is_playing);
            if is_playing {
                self.forward()?;
            }
            let deadline = self.deadline(is_playing);
            let takes_media = is_playing && self.player.has_room();
            tokio::select! {
                happened = self.player.next() => happened?,
                media = next(self.open.as_mut()), if takes_media => media?,
                end = at(deadline) => return Err(end),
            }
        }
    }

    /// When the connection is given up, and why; never while it plays and everything was taken.
    fn deadline(&self, is_playing: bool) -> Option<(Instant, End)> {
        let Player { out, heard, sent, .. } = &self.player;
        if !out.is_empty() {
            return Some((*sent + WRITE_PATIENCE, End::Stuck));
        }
        let patience = if self.asked { IDLE } else { FIRST_REQUEST };
        (!is_playing).then_some((*heard + patience, End::Idle))
    }

    /// Passes on what has come from the streamer, in the channels that the player has named.
    fn forward(&mut self) -> Result<(), End> {
        let (Some(open), Some(session)) = (&mut self.open, &self.session) else { return Ok(()) };
        while let Some((lane, packet)) = rtp_stream::take(&mut open.buffer).map_err(io::Error::other)? {
            if let Some(channel) = session.channel(lane) {
                self.player.packet(channel, &packet);
            }
        }
        Ok(())
    }

    async fn serve(&mut self, request: &Request<Vec<u8>>) -> Result<(), End> {
        if let Err(exceeded) = self.count() {
            self.player.respond(request::cseq(request), None, refusal(&exceeded.into()).into());
            return Err(End::Limit);
        }
        let reply = match request::read(request) {
            Ok(asked) => self.carry_out(request, asked).await?,
            Err(refusal) => Err(refusal),
        };
        let session = self.session.as_ref().map(Session::id);
        self.player.respond(request::cseq(request), session, reply.unwrap_or_else(Reply::from));
        Ok(())
    }

    /// Counts a request, as those of HTTP are.
    fn count(&self) -> Result<(), Exceeded> {
        let now = Instant::now();
        match &self.right {
            Some((_, Right::Admin)) => Ok(()),
            Some((_, Right::Streamer { .. })) => self.server.limits.request(now, self.from.ip()),
            Some((_, Right::Nobody)) | None => self.server.limits.stranger(now, self.from.ip()),
        }
    }

    /// Does what is asked for. The connection ends where the outer result says so.
    async fn carry_out(
        &mut self,
        request: &Request<Vec<u8>>,
        asked: Asked,
    ) -> Result<Result<Reply, Refusal>, End> {
        let Asked { session, token, verb, .. } = asked;
        let token = token.as_ref().map(crate::secret::Secret::expose);
        Ok(match verb {
            Verb::Options => Ok(Reply::ok().with(PUBLIC, METHODS)),
            Verb::Describe(target) => {
                if let Err(refusal) = self.authorize(token, &target.id) {
                    return Ok(Err(refusal));
                }
                let stream = (target.id, target.source);
                match self.open(&stream).await? {
                    Err(refusal) => Err(refusal),
                    Ok(description) => {
                        let body = sdp::describe(&format!("{}/{}", stream.0, stream.1), description);
                        let reply = Reply { status: StatusCode::Ok, headers: Vec::new(), body };
                        let reply = reply.with(CONTENT_TYPE, "application/sdp");
                        Ok(reply.with(CONTENT_BASE, base(request, &stream)))
                    }
                }
            }
            Verb::Setup(target, ways) => {
                if let Err(refusal) = self.authorize(token, &target.id) {
                    return Ok(Err(refusal));
                }
                if let Some(refusal) = self.wrong_session(session.as_deref()) {
                    return Ok(Err(refusal));
                }
                self.set_up(&target, &ways).await?
            }
            Verb::Play => match self.session.as_ref().map(|of| of.named(session.as_deref())) {
                None => Err(no_session()),
                Some(Err(refusal)) => Err(refusal),
                Some(Ok(())) => self.play(request).await?,
            },
            Verb::Pause => match &mut self.session {
                None => Err(no_session()),
                Some(of) => of.named(session.as_deref()).map(|()| {
                    of.pause();
                    // What comes later begins with a keyframe again.
                    self.open = None;
                    Reply::ok()
                }),
            },
            // Some players name no session here.
            Verb::KeepAlive => match self.wrong_session(session.as_deref()) {
                Some(refusal) => Err(refusal),
                None => Ok(Reply::ok()),
            },
            Verb::Teardown => match &self.session {
                None => Err(no_session()),
                Some(of) => of.named(session.as_deref()).map(|()| {
                    self.session = None;
                    self.open = None;
                    Reply::ok()
                }),
            },
        })
    }

    /// A session that is named, and is not the one that there is.
    fn wrong_session(&self, named: Option<&str>) -> Option<Refusal> {
        named?;
        match &self.session {
            None => Some(no_session()),
            Some(session) => session.named(named).err(),
        }
    }

    /// Checks that the player may watch a streamer, by the token that the request brings, or by an earlier one.
    fn authorize(&mut self, token: Option<&str>, id: &StreamerId) -> Result<(), Refusal> {
        let Server { auth, limits, .. } = &self.server;
        let earlier = self.right.take().filter(|(of, _)| token.is_none() && of == id);
        let checked = || -> Result<Right, ApiError> {
            let right = match earlier {
                Some((_, right)) => right,
                // No proxy of HTTP has forwarded it.
                None => site::login(auth, limits, token, self.from.ip(), true)??,
            };
            if auth.is_revoked(right.token()) {
                return Err(Refused::Revoked.into());
            }
            right.permits(Need::Viewer, Some(id))?;
            Ok(right)
        };
        let right = checked().map_err(|error| refusal(&error))?;
        self.right = Some((id.clone(), right));
        Ok(())
    }

    async fn set_up(
        &mut self,
        target: &Target,
        ways: &[request::Transport],
    ) -> Result<Result<Reply, Refusal>, End> {
        let stream = (target.id.clone(), target.source.clone());
        if self.session.as_ref().is_some_and(|session| *session.stream() != stream) {
            return Ok(Err(another_stream()));
        }
        if let Err(refusal) = self.open(&stream).await? {
            return Ok(Err(refusal));
        }
        let Some(open) = &self.open else { return Ok(Err(no_session())) };
        let is_new = self.session.is_none();
        let new = || Session::new(Uuid::new_v4().simple().to_string(), target);
        let set_up = self.session.get_or_insert_with(new).set_up(target, ways, &open.description);
        if set_up.is_err() && is_new {
            self.session = None;
        }
        Ok(set_up.map(|transport| Reply::ok().with(TRANSPORT, transport)))
    }

    async fn play(&mut self, request: &Request<Vec<u8>>) -> Result<Result<Reply, Refusal>, End> {
        let Some(session) = &self.session else { return Ok(Err(no_session())) };
        let stream = session.stream().clone();
        if !session.is_playing() {
            // Its token may have been revoked since it was set up.
            if let Err(refusal) = self.authorize(None, &stream.0) {
                return Ok(Err(refusal));
            }
            self.open = self.open.take().filter(|open| open.since.elapsed() < FRESH);
            if let Err(refusal) = self.open(&stream).await? {
                return Ok(Err(refusal));
            }
        }
        let (Some(session), Some(open)) = (&mut self.session, &self.open) else {
            return Ok(Err(no_session()));
        };
        let info = session.play(&base(request, &stream), &open.description);
        Ok(info.map(|info| Reply::ok().with(RTP_INFO, info)))
    }

    /// Opens a stream, unless it is open.
    async fn open(
        &mut self,
        stream: &(StreamerId, SourceName),
    ) -> Result<Result<&Description, Refusal>, End> {
        if self.open.as_ref().is_none_or(|open| open.stream != *stream) {
            self.open = None;
            let right = self.right.as_ref().map(|(_, right)| right.clone()).unwrap_or(Right::Nobody);
            let joined = match right {
                Right::Admin => Ok(()),
                _ => self.server.limits.join(Instant::now(), self.from.ip()),
            };
            if let Err(exceeded) = joined {
                return Ok(Err(refusal(&exceeded.into())));
            }
            let opening = open(self.server.clone(), stream.clone(), right);
            // Meanwhile the player may leave, and send its next requests.
            let opened = tokio::select! {
                opened = opening => opened,
                end = self.player.wait() => return Err(end),
            };
            match opened {
                Ok(opened) => self.open = Some(opened),
                Err(error) => return Ok(Err(refusal(&error))),
            }
            self.player.heard = Instant::now();
        }
        Ok(self.open.as_ref().map(|open| &open.description).ok_or_else(no_session))
    }
}

impl Player {
    fn has_room(&self) -> bool {
        self.out.len() < MAX_UNSENT
    }

    /// Reads or writes something. Cancel safe.
    async fn next(&mut self) -> Result<(), End> {
        let can_read = self.has_room() && self.requests.has_room();
        tokio::select! {
            read = self.input.read_buf(self.requests.buffer()), if can_read => {
                if read? == 0 {
                    return Err(End::Left);
                }
            }
            written = self.output.write_buf(&mut self.out), if !self.out.is_empty() => match written? {
                0 => return Err(End::Left),
                _ => self.sent = Instant::now(),
            },
            // Nothing can be done, until the streamer or a deadline does something.
            () = pending() => {}
        }
        Ok(())
    }

    /// Reads and writes until the connection ends; returns why.
    async fn wait(&mut self) -> End {
        loop {
            if let Err(end) = self.next().await {
                return end;
            }
        }
    }

    async fn flush(&mut self) -> io::Result<()> {
        self.output.write_all_buf(&mut self.out).await?;
        self.output.shutdown().await
    }

    /// One packet, interleaved (RFC 2326 §10.12).
    fn packet(&mut self, channel: u8, packet: &[u8]) {
        self.begin_to_send();
        self.out.put_u8(b'$');
        self.out.put_u8(channel);
        // A frame of the streamer's is shorter than this can say.
        self.out.put_u16(packet.len() as u16);
        self.out.put_slice(packet);
    }

    fn respond(&mut self, cseq: Option<&str>, session: Option<&str>, reply: Reply) {
        let Reply { status, headers, body } = reply;
        let mut response = Response::builder(Version::V1_0, status).header(SERVER, "Oriel");
        if let Some(cseq) = cseq {
            response = response.header(CSEQ, cseq);
        }
        if let Some(session) = session {
            response = response.header(SESSION, format!("{session};timeout={TIMEOUT_S}"));
        }
        for (name, value) in headers {
            response = response.header(name, value);
        }
        self.begin_to_send();
        let mut bytes = Vec::new();
        let written = match body.is_empty() {
            true => response.empty().write(&mut bytes),
            false => response.build(body).write(&mut bytes),
        };
        written.expect("a vector takes everything");
        self.out.put_slice(&bytes);
    }

    /// The player has its time from when there is something to take.
    fn begin_to_send(&mut self) {
        if self.out.is_empty() {
            self.sent = Instant::now();
        }
    }
}

/// Reads something of a stream; never without one. Cancel safe.
async fn next(open: Option<&mut Open>) -> Result<(), End> {
    let Some(open) = open else { return pending().await };
    let chunk = open.media.next().await?.ok_or(End::Stream)?;
    open.buffer.extend_from_slice(&chunk);
    Ok(())
}

async fn at(deadline: Option<(Instant, End)>) -> End {
    match deadline {
        Some((at, end)) => {
            tokio::time::sleep_until(at.into()).await;
            end
        }
        None => pending().await,
    }
}

/// Joins as a reader, and waits for the description.
async fn open(server: Server, stream: (StreamerId, SourceName), right: Right) -> Result<Open, ApiError> {
    let join = Join::Rtsp { stream: stream.1.clone(), ticket: right.ticket() };
    let added = server.registry.add_peer(&stream.0, join).await?;
    let streamer = server.registry.reach(&stream.0).await?;
    let mut media = streamer.attach(added.peer).await.map_err(|error| {
        tracing::warn!(peer = %added.peer, %error, "no connection for a stream");
        ApiError::from(AskError::Gone)
    })?;
    let mut buffer = BytesMut::new();
    let described = timeout(FIRST_PATIENCE, describe(&mut media, &mut buffer)).await;
    match described {
        Ok(Ok(Some(description))) => Ok(Open { stream, description, since: Instant::now(), media, buffer }),
        Ok(Ok(None) | Err(_)) | Err(_) => {
            tracing::debug!(peer = %added.peer, "a stream gives nothing that could be read");
            let error =
                RequestError::new(Code::SourceOffline, "the stream gives no picture that could be read");
            Err(OperationError::Ask(AskError::Refused(error)).into())
        }
    }
}

/// The first frame of a stream; what comes after it stays in the buffer.
async fn describe(media: &mut Media, buffer: &mut BytesMut) -> io::Result<Option<Description>> {
    loop {
        if let Some((lane, frame)) = rtp_stream::take(buffer).map_err(io::Error::other)? {
            let is_first = lane == Lane::Description;
            let frame = Some(frame).filter(|_| is_first).ok_or_else(|| io::Error::other("no description"))?;
            return Ok(Some(serde_json::from_slice(&frame)?));
        }
        match media.next().await? {
            Some(chunk) => buffer.extend_from_slice(&chunk),
            None => return Ok(None),
        }
    }
}

/// The address of a stream as the player knows it, without what it has shown to be let in.
fn base(request: &Request<Vec<u8>>, (id, source): &(StreamerId, SourceName)) -> String {
    let authority = request.request_uri().map(|url| match (url.host_str(), url.port()) {
        (Some(host), Some(port)) => format!("{host}:{port}"),
        (host, _) => host.unwrap_or_default().to_owned(),
    });
    format!("rtsp://{}/{id}/{source}/", authority.unwrap_or_default())
}
