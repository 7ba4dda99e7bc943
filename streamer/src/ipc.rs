//! The socket edge towards the web-server: listens, checks who connects, frames messages.
//!
//! A newer connection of the same purpose replaces the older one. What does not fit a connection's queue ends that
//! connection: a web-server that does not read can connect again and is told everything by `Ready`.

use std::io;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use common::id::PeerId;
use common::ipc::{
    Attach, Decoder, FrameError, Hello, HelloReply, Json, PROTOCOL, Purpose, Refusal, SOCKET_FILE,
    ServerIpcMessage, StreamerIpcMessage, encode, knows_token,
};
use common::media_socket::AttachMedia;
use interprocess::local_socket::tokio::{Listener, Stream};
use interprocess::local_socket::traits::StreamCommon as _;
use interprocess::local_socket::traits::tokio::Listener as _;
use interprocess::local_socket::{GenericFilePath, ListenerOptions, ToFsName};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Duration, MissedTickBehavior, interval, timeout};

/// Messages waiting for the web-server on one connection, before it counts as not reading.
const OUT_QUEUE: usize = 1024;
/// A connection that has not introduced itself by then is closed.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);

/// How often it is looked whether the socket can still be found: a web-server that starts must find it.
const SOCKET_LOOK: Duration = Duration::from_secs(1);

/// Number of a connection, to tell an old one's end from a new one's.
pub type ConnectionId = u64;

/// What comes from the socket.
#[derive(Debug)]
pub enum Event {
    /// Somebody who knows the token has connected.
    Connected(Connection),
    /// It said something.
    Message(ConnectionId, Box<ServerIpcMessage>),
    /// A connection for the stream that this peer reads.
    Attached(PeerId, UnixStream),
    /// It is gone.
    Closed(ConnectionId),
    /// It relays the media socket of a peer; from here on its stream has frames of media.
    Media(Box<AttachMedia>, UnixStream),
}

/// What a connection for messages is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lane {
    /// Signalling and everything small.
    Control,
    /// Snapshots and other large replies.
    Bulk,
}

/// An introduced connection. Dropping it closes it.
#[derive(Debug)]
pub struct Connection {
    /// Its number.
    pub id: ConnectionId,
    /// What it is for.
    pub lane: Lane,
    sender: mpsc::Sender<StreamerIpcMessage>,
    /// Resolves, with an error, when the connection has ended.
    ended: oneshot::Receiver<()>,
}

impl Connection {
    /// Queues a message. False when the other side does not read: the connection is of no more use.
    pub fn send(&self, message: StreamerIpcMessage) -> bool {
        match self.sender.try_send(message) {
            Err(mpsc::error::TrySendError::Full(message)) => message.is_replaceable(),
            Err(mpsc::error::TrySendError::Closed(_)) | Ok(()) => true,
        }
    }

    /// Closes it; returns when all that was queued has been written.
    pub async fn close(self) {
        drop(self.sender);
        let _ = self.ended.await;
    }
}

/// Why a connection ended before it was introduced, or at all.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Frame(#[from] FrameError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("refused: {0}")]
    Refused(Refusal),
    #[error("it did not introduce itself in time")]
    Silent,
    #[error("it sends before it may")]
    Early,
}

/// Listens on the socket of `run_dir`, whose mode (0700) keeps other users out.
///
/// # Errors
/// When the socket cannot be bound.
pub fn listen(run_dir: &Path, token: String, events: mpsc::Sender<Event>) -> io::Result<()> {
    let path = run_dir.join(SOCKET_FILE);
    let listener = bind(&path)?;
    tokio::spawn(accept(listener, path, token.into(), events));
    Ok(())
}

fn bind(path: &Path) -> io::Result<Listener> {
    ListenerOptions::new().name(path.to_fs_name::<GenericFilePath>()?).create_tokio()
}

async fn accept(mut listener: Listener, path: PathBuf, token: Arc<str>, events: mpsc::Sender<Event>) {
    let mut next_id = 0;
    let mut look = interval(SOCKET_LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = look.tick() => {
                if !path.exists() {
                    match bind(&path) {
                        Ok(again) => {
                            tracing::warn!("ipc: the socket was deleted; listening again");
                            // Its drop would remove the file by its name, which is the new one's now.
                            std::mem::replace(&mut listener, again).do_not_reclaim_name_on_drop();
                        }
                        Err(error) => tracing::error!(%error, "ipc: the socket was deleted"),
                    }
                }
                continue;
            }
        };
        match accepted {
            Ok(stream) => {
                next_id += 1;
                tokio::spawn(serve(stream, next_id, token.clone(), events.clone()));
            }
            Err(error) => {
                // Out of descriptors, for example: connections wait in the kernel meanwhile.
                tracing::error!(%error, "ipc: cannot accept");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

async fn serve(stream: Stream, id: ConnectionId, token: Arc<str>, events: mpsc::Sender<Event>) {
    match run(stream, id, &token, &events).await {
        Ok(()) => tracing::debug!(id, "ipc: connection ended"),
        Err(error) => tracing::warn!(id, %error, "ipc: connection ended"),
    }
    let _ = events.send(Event::Closed(id)).await;
}

async fn run(
    stream: Stream,
    id: ConnectionId,
    token: &str,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    // Root starts sessions as another user than itself, and could do anything with them anyway.
    let may_connect = [rustix::process::geteuid().as_raw(), 0];
    let right_user = stream.peer_creds()?.euid().is_some_and(|user| may_connect.contains(&user));
    let mut reader = Reader { stream: &stream, decoder: Decoder::default() };
    let hello = timeout(HELLO_DEADLINE, reader.next::<Hello>()).await.map_err(|_| Error::Silent)??;
    let Some(hello) = hello else { return Ok(()) };
    if let Some(refusal) = refusal(&hello, token, right_user) {
        write(&stream, &HelloReply::Refused(refusal.clone())).await?;
        return Err(Error::Refused(refusal));
    }
    let ours = Hello {
        protocol: PROTOCOL,
        build: env!("CARGO_PKG_VERSION").to_owned(),
        token: token.to_owned(),
        purpose: hello.purpose,
    };
    write(&stream, &HelloReply::Accepted(ours)).await?;
    tracing::info!(id, purpose = ?hello.purpose, build = hello.build, "ipc: connected");
    let lane = match hello.purpose {
        Purpose::Control => Lane::Control,
        Purpose::Bulk => Lane::Bulk,
        // Without a control loop the session has ended.
        Purpose::Media => {
            let decoder = reader.decoder;
            if let Some((Json(attach), stream)) = passed_on::<Json<AttachMedia>>(stream, decoder).await? {
                let _ = events.send(Event::Media(Box::new(attach), stream)).await;
            }
            return Ok(());
        }
        Purpose::Reader => {
            let decoder = reader.decoder;
            if let Some((Attach { peer }, stream)) = passed_on(stream, decoder).await? {
                let _ = events.send(Event::Attached(peer, stream)).await;
            }
            return Ok(());
        }
    };
    let (sender, queue) = mpsc::channel(OUT_QUEUE);
    // Dropped at the end of this function, whatever that comes from.
    let (_running, ended) = oneshot::channel();
    let connection = Connection { id, lane, sender, ended };
    if events.send(Event::Connected(connection)).await.is_err() {
        return Ok(());
    }
    tokio::select! {
        read = read_all(&mut reader, id, events) => read,
        written = write_all(&stream, queue) => written,
    }
}

/// The stream of a connection that is not for messages, once it is said what it is for; `None` if it ends before.
async fn passed_on<T: DeserializeOwned>(
    stream: Stream,
    decoder: Decoder,
) -> Result<Option<(T, UnixStream)>, Error> {
    let mut reader = Reader { stream: &stream, decoder };
    let said = timeout(HELLO_DEADLINE, reader.next::<T>()).await.map_err(|_| Error::Silent)??;
    let Some(said) = said else { return Ok(None) };
    if !reader.decoder.buffer().is_empty() {
        return Err(Error::Early);
    }
    let Stream::UdSocket(stream) = stream;
    Ok(Some((said, tokio::net::UnixStream::from(stream).into_std()?)))
}

fn refusal(hello: &Hello, token: &str, right_user: bool) -> Option<Refusal> {
    if hello.protocol != PROTOCOL {
        return Some(Refusal::Protocol { streamer: PROTOCOL, server: hello.protocol });
    }
    if !knows_token(&hello.token, token) {
        return Some(Refusal::Token);
    }
    (!right_user).then_some(Refusal::User)
}

async fn read_all(
    reader: &mut Reader<'_>,
    id: ConnectionId,
    events: &mpsc::Sender<Event>,
) -> Result<(), Error> {
    while let Some(message) = reader.next::<ServerIpcMessage>().await? {
        if events.send(Event::Message(id, Box::new(message))).await.is_err() {
            break;
        }
    }
    Ok(())
}

/// Ends when the [`Connection`] is dropped: everything queued before has been written then.
async fn write_all(stream: &Stream, mut queue: mpsc::Receiver<StreamerIpcMessage>) -> Result<(), Error> {
    while let Some(message) = queue.recv().await {
        write(stream, &message).await?;
    }
    Ok(())
}

async fn write<T: Serialize>(mut stream: &Stream, message: &T) -> Result<(), Error> {
    stream.write_all(&encode(message)?).await?;
    Ok(())
}

struct Reader<'a> {
    stream: &'a Stream,
    decoder: Decoder,
}

impl Reader<'_> {
    /// The next message; `None` at the end of the stream. Cancel safe: what has been read stays in the decoder.
    async fn next<T: DeserializeOwned>(&mut self) -> Result<Option<T>, Error> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(Some(message));
            }
            if self.stream.read_buf(self.decoder.buffer()).await? == 0 {
                self.decoder.finish()?;
                return Ok(None);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hello(protocol: u16, token: &str) -> Hello {
        Hello { protocol, build: String::new(), token: token.into(), purpose: Purpose::Control }
    }

    #[test]
    fn only_who_knows_the_token_and_speaks_the_protocol_comes_in() {
        assert_eq!(refusal(&hello(PROTOCOL, "abc"), "abc", true), None);
        assert_eq!(refusal(&hello(PROTOCOL, "abd"), "abc", true), Some(Refusal::Token));
        assert_eq!(refusal(&hello(PROTOCOL, "ab"), "abc", true), Some(Refusal::Token));
        assert_eq!(refusal(&hello(PROTOCOL, ""), "", true), Some(Refusal::Token));
        assert_eq!(refusal(&hello(PROTOCOL, "abc"), "abc", false), Some(Refusal::User));
        let other = Refusal::Protocol { streamer: PROTOCOL, server: 99 };
        assert_eq!(refusal(&hello(99, "abc"), "abc", true), Some(other));
    }
}
