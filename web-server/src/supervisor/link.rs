//! One connection to a streamer's socket: greeting, framing, and both directions at once.

use std::io;
use std::time::Duration;

use bytes::{Buf, Bytes, BytesMut};
use common::id::PeerId;
use common::ipc::{
    Attach, Decoder, FrameError, Hello, HelloReply, Json, PROTOCOL, Purpose, Refusal, ServerIpcMessage,
    StreamerIpcMessage, encode,
};
use common::media_socket::AttachMedia;
use interprocess::local_socket::tokio::{Stream, prelude::*};
use interprocess::local_socket::{GenericFilePath, ToFsName};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;

use crate::rundir::RunDir;

/// How long a streamer may take to answer the greeting once its socket is there.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// A streamer that leaves this much unread is not read from its command queue either: 4 MiB is far more than
/// all signalling of a full house, and far less than would hurt us.
const MAX_BACKLOG: usize = 4 * 1024 * 1024;
/// Room for each read: most messages are smaller, a snapshot takes a few dozen reads.
const READ_SIZE: usize = 64 * 1024;

/// Why a connection cannot be made or has ended.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// The socket.
    #[error("IPC socket: {0}")]
    Io(#[from] io::Error),
    /// The other end does not speak as agreed.
    #[error("IPC: {0}")]
    Frame(#[from] FrameError),
    /// The streamer does not want us.
    #[error("the streamer refused the connection: {0}")]
    Refused(#[from] Refusal),
    /// Who listens cannot read the token, or runs as somebody else.
    #[error("what listens on the socket is not our streamer: {0}")]
    Impostor(&'static str),
    /// No answer to the greeting.
    #[error("the streamer does not answer")]
    Silent,
    /// The streamer closed the connection between two messages.
    #[error("the streamer closed the connection")]
    Closed,
}

impl LinkError {
    /// True while the streamer may simply not be listening yet.
    pub fn is_not_there_yet(&self) -> bool {
        use io::ErrorKind::{ConnectionRefused, NotFound};
        matches!(self, LinkError::Io(e) if matches!(e.kind(), NotFound | ConnectionRefused))
    }
}

/// A stream for one reader. Dropping it ends the reader.
pub struct Media {
    stream: Stream,
}

impl Media {
    /// The next bytes; `None` at the end of the stream.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut bytes = BytesMut::with_capacity(READ_SIZE);
        let mut reader = &self.stream;
        let read = reader.read_buf(&mut bytes).await?;
        Ok((read > 0).then(|| bytes.freeze()))
    }
}

/// An open connection, greeted and checked.
pub struct Connection {
    stream: Stream,
    decoder: Decoder,
    unsent: BytesMut,
}

/// Opens a connection to the streamer of `dir` for the media socket of a peer. It has frames of [`common::media_socket`] from here on, of
/// which the first says that it was taken; the streamer closes it if the peer is not that client's.
///
/// # Errors
/// The streamer cannot be reached.
pub async fn open_media(dir: &RunDir, attach: AttachMedia) -> Result<UnixStream, LinkError> {
    let Connection { stream, .. } = Connection::open(dir, Purpose::Media).await?;
    let Stream::UdSocket(stream) = stream;
    let mut stream = UnixStream::from(stream);
    stream.write_all(&encode(&Json(attach))?).await?;
    Ok(stream)
}

impl Connection {
    /// Connects to the streamer of `dir`, checks whom we reached, and exchanges greetings.
    ///
    /// # Errors
    /// [`LinkError::is_not_there_yet`] tells whether to try again.
    pub async fn open(dir: &RunDir, purpose: Purpose) -> Result<Self, LinkError> {
        let name = dir.socket().to_fs_name::<GenericFilePath>()?;
        let stream = Stream::connect(name).await?;
        // Whose directory it is only we decide.
        if stream.peer_creds()?.euid() != Some(dir.owner()?) {
            return Err(LinkError::Impostor("it runs as another user"));
        }
        let mut connection = Self { stream, decoder: Decoder::default(), unsent: BytesMut::new() };
        match tokio::time::timeout(HELLO_DEADLINE, connection.greet(dir.token()?, purpose)).await {
            Ok(result) => result.map(|()| connection),
            Err(_) => Err(LinkError::Silent),
        }
    }

    async fn greet(&mut self, token: String, purpose: Purpose) -> Result<(), LinkError> {
        let build = env!("CARGO_PKG_VERSION").to_owned();
        let hello = Hello { protocol: PROTOCOL, build, token, purpose };
        self.unsent.extend_from_slice(&encode(&hello)?);
        match self.receive().await? {
            HelloReply::Refused(refusal) => Err(refusal.into()),
            HelloReply::Accepted(reply) if reply.token != hello.token => {
                Err(LinkError::Impostor("it does not know the token"))
            }
            HelloReply::Accepted(reply) if reply.protocol != PROTOCOL => {
                Err(Refusal::Protocol { streamer: reply.protocol, server: PROTOCOL }.into())
            }
            HelloReply::Accepted(reply) => {
                tracing::debug!(build = reply.build, ?purpose, "connected to a streamer");
                Ok(())
            }
        }
    }

    /// Makes it the connection for the stream that a peer reads.
    ///
    /// # Errors
    /// The streamer has closed it.
    pub async fn attach(mut self, peer: PeerId) -> Result<Media, LinkError> {
        self.unsent.extend_from_slice(&encode(&Attach { peer })?);
        let mut writer = &self.stream;
        writer.write_all(&self.unsent).await?;
        Ok(Media { stream: self.stream })
    }

    /// Takes `message` for sending, which [`Self::next`] does.
    ///
    /// # Errors
    /// It is too long for a frame; nothing of it is sent.
    pub fn queue(&mut self, message: &ServerIpcMessage) -> Result<(), FrameError> {
        self.unsent.extend_from_slice(&encode(message)?);
        Ok(())
    }

    /// True while the streamer reads what it is sent.
    pub fn has_room(&self) -> bool {
        self.unsent.len() < MAX_BACKLOG
    }

    /// Sends what is queued and returns the next message that arrives. Cancel safe.
    ///
    /// # Errors
    /// The connection is of no more use.
    pub async fn next(&mut self) -> Result<StreamerIpcMessage, LinkError> {
        self.receive().await
    }

    async fn receive<T: serde::de::DeserializeOwned>(&mut self) -> Result<T, LinkError> {
        loop {
            if let Some(message) = self.decoder.next_message()? {
                return Ok(message);
            }
            self.decoder.buffer().reserve(READ_SIZE);
            let (mut reader, mut writer) = (&self.stream, &self.stream);
            // Both are cancel safe: each moves bytes only when it completes.
            tokio::select! {
                read = reader.read_buf(self.decoder.buffer()) => {
                    if read? == 0 {
                        self.decoder.finish()?;
                        return Err(LinkError::Closed);
                    }
                }
                written = writer.write_buf(&mut self.unsent), if self.unsent.has_remaining() => {
                    if written? == 0 {
                        return Err(LinkError::Closed);
                    }
                }
            }
        }
    }
}
