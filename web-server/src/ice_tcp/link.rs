//! The connection to one streamer's socket for TCP connections of its peers: it says which they are, and we hand them over.

use std::io::{self, IoSlice};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use common::ice_tcp::handover::{MAX_MESSAGE, Message};
use rustix::net::{
    AddressFamily, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, connect, recv, sendmsg, socket_with, sockopt,
};
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc;
use tokio::time::{sleep, timeout};

use super::routes::Names;
use super::{Handover, Routes};
use crate::rundir::RunDir;

/// Connections on their way to a streamer. What is more is closed: the peer tries again.
const QUEUE: usize = 64;
/// For the streamer to answer the greeting.
const HELLO_DEADLINE: Duration = Duration::from_secs(5);
/// Between looks for the socket: of a process that starts, and of one that has none, as it is of an older build.
const QUICK: Duration = Duration::from_millis(50);
const SLOW: Duration = Duration::from_secs(1);
/// How often it is looked for quickly.
const QUICK_LOOKS: u32 = 100;

/// Why there is no connection, or no more.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("what listens on the socket is not our streamer: {0}")]
    Impostor(&'static str),
    #[error("the streamer does not answer")]
    Silent,
    #[error("the streamer has closed the connection")]
    Closed,
    #[error("the streamer says what is no message, or not here")]
    Message,
}

/// Keeps a connection to the streamer of `dir` whenever it listens. For ever: its supervisor ends it.
pub async fn run(dir: RunDir, routes: Routes) {
    let mut looks = 0;
    loop {
        match open(&dir).await {
            Ok(socket) => {
                looks = 0;
                let error = serve(&socket, &routes).await;
                tracing::debug!(%error, "the connection for TCP connections ended");
            }
            Err(error @ Error::Io(_)) => tracing::trace!(%error, "no socket for TCP connections"),
            Err(error) => tracing::warn!(%error, "no TCP connections for this streamer"),
        }
        looks += 1;
        sleep(if looks < QUICK_LOOKS { QUICK } else { SLOW }).await;
    }
}

async fn open(dir: &RunDir) -> Result<AsyncFd<OwnedFd>, Error> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket =
        socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None).map_err(io::Error::from)?;
    let address = SocketAddrUnix::new(dir.tcp_socket()).map_err(io::Error::from)?;
    connect(&socket, &address).map_err(io::Error::from)?;
    // Whose directory it is only we decide.
    let user = sockopt::socket_peercred(&socket).map_err(io::Error::from)?.uid;
    if user.as_raw() != dir.owner()? {
        return Err(Error::Impostor("it runs as another user"));
    }
    // SAFETY: an `OwnedFd` has the same open descriptor as long as it lives, and nobody else closes it.
    let socket = unsafe { AsyncFd::register(socket) }.map_err(io::Error::from)?;
    match timeout(HELLO_DEADLINE, greet(&socket, &dir.token()?)).await {
        Ok(greeted) => greeted.map(|()| socket),
        Err(_) => Err(Error::Silent),
    }
}

async fn greet(socket: &AsyncFd<OwnedFd>, token: &str) -> Result<(), Error> {
    send(socket, &Message::Hello(token), None).await?;
    let mut buffer = [0; MAX_MESSAGE];
    match Message::decode(receive(socket, &mut buffer).await?) {
        Ok(Message::Hello(theirs)) if theirs == token => Ok(()),
        Ok(Message::Hello(_)) => Err(Error::Impostor("it does not know the token")),
        _ => Err(Error::Message),
    }
}

/// Until the connection is of no more use.
async fn serve(socket: &AsyncFd<OwnedFd>, routes: &Routes) -> Error {
    let (route, mut handovers) = mpsc::channel::<Handover>(QUEUE);
    let mut names = routes.of_streamer(route);
    let mut buffer = [0; MAX_MESSAGE];
    loop {
        let done = tokio::select! {
            said = receive(socket, &mut buffer) => said.and_then(|said| hear(&mut names, said)),
            Some(handover) = handovers.recv() => hand_over(socket, &handover).await,
        };
        if let Err(error) = done {
            return error;
        }
    }
}

fn hear(names: &mut Names, said: &[u8]) -> Result<(), Error> {
    match Message::decode(said) {
        Ok(Message::Added(ufrag)) => {
            if !names.added(ufrag) {
                tracing::warn!("a streamer has said too many names of peers, or another's");
            }
        }
        Ok(Message::Removed(ufrag)) => names.removed(ufrag),
        _ => return Err(Error::Message),
    }
    Ok(())
}

async fn hand_over(socket: &AsyncFd<OwnedFd>, handover: &Handover) -> Result<(), Error> {
    send(socket, &Message::Connection(&handover.packet), Some(&handover.stream)).await
}

async fn send(
    socket: &AsyncFd<OwnedFd>,
    message: &Message<'_>,
    with: Option<&std::net::TcpStream>,
) -> Result<(), Error> {
    let message = message.encode();
    loop {
        let mut ready = socket.writable().await?;
        let sent = ready.try_io(|socket| {
            let descriptors = with.map(|stream| [stream.as_fd()]);
            let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
            let mut ancillary = SendAncillaryBuffer::new(&mut space);
            if let Some(descriptors) = &descriptors {
                ancillary.push(SendAncillaryMessage::ScmRights(descriptors));
            }
            let flags = SendFlags::NOSIGNAL | SendFlags::DONTWAIT;
            Ok(sendmsg(socket.get_ref(), &[IoSlice::new(&message)], &mut ancillary, flags)?)
        });
        if let Ok(sent) = sent {
            return sent.map(|_| ()).map_err(Error::Io);
        }
    }
}

/// The next message. Cancel safe.
async fn receive<'a>(socket: &AsyncFd<OwnedFd>, buffer: &'a mut [u8]) -> Result<&'a [u8], Error> {
    let len = loop {
        let mut ready = socket.readable().await?;
        let received = ready.try_io(|socket| {
            let (len, _) = recv(socket.get_ref(), &mut *buffer, RecvFlags::DONTWAIT)?;
            Ok(len)
        });
        if let Ok(received) = received {
            break received?;
        }
    };
    if len == 0 { Err(Error::Closed) } else { Ok(&buffer[..len]) }
}
