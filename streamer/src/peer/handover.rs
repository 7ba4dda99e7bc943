//! Takes over TCP connections of peers from the web-server: a thread that knows which shard has the peer of each
//! ICE user name, sends these names to the web-server, and passes the connections on to the shards.
//!
//! ```text
//! shard ──Added, Removed──▶ ┌────────┐ ──Added, Removed──▶ web-server
//!       ◀──── Handed ────── │ thread │ ◀──Connection, fd──
//!                           └────────┘
//! ```
//!
//! It owns nothing else. Each web-server that connects is sent all names, so that a restart or replacement of the web-server loses nothing.
//! See [`common::ice_tcp::handover`] for the messages.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::mem::MaybeUninit;
use std::net::TcpStream;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use bytes::Bytes;
use common::ice_tcp::handover::{MAX_MESSAGE, Message, SOCKET_FILE};
use common::ipc::{TOKEN_FILE, knows_token};
use rustix::event::{PollFd, PollFlags};
use rustix::fd::AsFd;
use rustix::io::Errno;
use rustix::net::sockopt::socket_peercred;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendFlags, SocketAddrUnix,
    SocketFlags, SocketType, accept_with, bind, listen, recvmsg, send, socket_with,
};

use super::tcp::Handed;
use crate::wake::{Wake, wait_for};

/// Messages of shards that the thread has not read yet. It reads them at once; should it ever be that far behind, a peer whose message is
/// lost cannot connect by TCP.
const TOLD: usize = 1024;
/// Connections on their way to a shard. Further ones are closed, and their peers try again.
const HANDED: usize = 64;
/// Messages queued for the web-server, besides one for each name. A web-server that leaves more unread is disconnected, and sent all names
/// when it connects again.
const MAX_UNSENT: usize = 1024;
/// How often the thread checks whether the socket still exists in the file system, and whether the session has ended.
const LOOK: Duration = Duration::from_secs(1);

/// A message of a shard.
enum Told {
    Shard { shard: usize, inlet: Inlet },
    Added { shard: usize, ufrag: String },
    Removed { ufrag: String },
}

/// How connections reach a shard.
struct Inlet {
    handed: SyncSender<Handed>,
    wake: Arc<Wake>,
}

/// Sends messages of shards to the thread, which ends when the last of these is dropped.
#[derive(Clone)]
pub struct Handle {
    told: SyncSender<Told>,
    wake: Arc<Wake>,
}

impl Handle {
    /// The handle for one of the session's shards. The receiver delivers connections of its peers; `wake_shard` is woken for each.
    pub(super) fn of_shard(&self, shard: usize, wake_shard: Arc<Wake>) -> (Names, Receiver<Handed>) {
        let (handed, receiver) = sync_channel(HANDED);
        self.tell(Told::Shard { shard, inlet: Inlet { handed, wake: wake_shard } });
        (Names { handle: self.clone(), shard }, receiver)
    }

    fn tell(&self, told: Told) {
        if self.told.try_send(told).is_err() {
            tracing::error!("the thread for TCP connections is behind: a peer cannot come by TCP");
        }
        self.wake.wake();
    }
}

/// Announces the ICE user names of a shard's peers.
pub(super) struct Names {
    handle: Handle,
    shard: usize,
}

impl Names {
    /// Connections that name this user belong to the shard from now on.
    pub fn added(&self, ufrag: &str) {
        self.handle.tell(Told::Added { shard: self.shard, ufrag: ufrag.to_owned() });
    }

    /// Connections that name this user no longer belong to the shard. An empty name, of a peer that has none yet, is ignored.
    pub fn removed(&self, ufrag: &str) {
        if ufrag.is_empty() {
            return;
        }
        self.handle.tell(Told::Removed { ufrag: ufrag.to_owned() });
    }

    /// A peer has changed its name.
    pub fn renamed(&self, old: &str, new: &str) {
        self.removed(old);
        self.added(new);
    }
}

/// Listens in the run directory, whose mode (0700) keeps other users out.
///
/// # Errors
/// The token cannot be read, the socket cannot be bound, or no thread can be started.
pub fn start(run_dir: &Path) -> io::Result<Handle> {
    let token = std::fs::read_to_string(run_dir.join(TOKEN_FILE))?.trim().to_owned();
    let path = run_dir.join(SOCKET_FILE);
    let listener = listen_on(&path)?;
    let wake = Arc::new(Wake::new()?);
    let (told, receiver) = sync_channel(TOLD);
    let thread = Thread {
        path,
        token,
        listener,
        wake: wake.clone(),
        told: receiver,
        shards: HashMap::new(),
        names: HashMap::new(),
        guest: None,
        server: None,
    };
    crate::thread::spawn("handover", move || thread.run())?;
    Ok(Handle { told, wake })
}

fn listen_on(path: &Path) -> io::Result<OwnedFd> {
    let socket = socket_with(
        AddressFamily::UNIX,
        SocketType::SEQPACKET,
        SocketFlags::CLOEXEC | SocketFlags::NONBLOCK,
        None,
    )?;
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    bind(&socket, &SocketAddrUnix::new(path)?)?;
    listen(&socket, 8)?;
    Ok(socket)
}

struct Thread {
    path: PathBuf,
    token: String,
    listener: OwnedFd,
    wake: Arc<Wake>,
    told: Receiver<Told>,
    shards: HashMap<usize, Inlet>,
    /// Which shard has the peer of each name.
    names: HashMap<String, usize>,
    /// The newest connection, which has not sent the token yet.
    guest: Option<OwnedFd>,
    server: Option<Server>,
}

/// The web-server.
struct Server {
    socket: OwnedFd,
    unsent: VecDeque<Vec<u8>>,
}

/// Why a connection of the web-server is closed.
#[derive(Debug, thiserror::Error)]
enum Error {
    #[error(transparent)]
    Io(#[from] Errno),
    #[error("it has closed the connection")]
    Closed,
    #[error("it does not know the token")]
    Token,
    #[error("it runs as another user")]
    User,
    #[error("it says what is no message, or not here")]
    Message,
    #[error("it does not read")]
    Behind,
}

impl Thread {
    fn run(mut self) {
        loop {
            let ready = self.wait();
            if !self.hear() {
                // The name is free for the next process.
                let _ = std::fs::remove_file(&self.path);
                return;
            }
            if ready.listener {
                self.accept();
            }
            if ready.guest
                && let Some(guest) = self.guest.take()
            {
                match self.greet(&guest) {
                    Ok(()) => self.welcome(guest),
                    // It has not sent anything yet.
                    Err(Error::Io(Errno::AGAIN)) => self.guest = Some(guest),
                    Err(error) => tracing::warn!(%error, "handover: refused"),
                }
            }
            if let Err(error) = self.serve(ready.server) {
                tracing::debug!(%error, "handover: the web-server is gone");
                self.server = None;
            }
            self.check_socket();
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]
    fn wait(&self) -> Ready {
        let mut fds = vec![
            PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN),
            PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN),
        ];
        let guest = self.guest.as_ref().map(|guest| {
            fds.push(PollFd::from_borrowed_fd(guest.as_fd(), PollFlags::IN));
            fds.len() - 1
        });
        let server = self.server.as_ref().map(|server| {
            let waits = if server.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            fds.push(PollFd::from_borrowed_fd(server.socket.as_fd(), PollFlags::IN | waits));
            fds.len() - 1
        });
        // Fails only without memory; then the turn is taken at once.
        let _ = wait_for(&mut fds, Some(Instant::now() + LOOK));
        self.wake.reset();
        let is_ready = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        Ready { listener: is_ready(Some(1)), guest: is_ready(guest), server: is_ready(server) }
    }

    /// Takes messages of shards. False when no shard is left.
    fn hear(&mut self) -> bool {
        loop {
            match self.told.try_recv() {
                Ok(Told::Shard { shard, inlet }) => {
                    self.shards.insert(shard, inlet);
                }
                Ok(Told::Added { shard, ufrag }) => {
                    self.tell(&Message::Added(&ufrag));
                    self.names.insert(ufrag, shard);
                }
                Ok(Told::Removed { ufrag }) => {
                    self.tell(&Message::Removed(&ufrag));
                    self.names.remove(&ufrag);
                }
                Err(TryRecvError::Empty) => return true,
                Err(TryRecvError::Disconnected) => return false,
            }
        }
    }

    fn tell(&mut self, message: &Message<'_>) {
        if let Some(server) = &mut self.server {
            server.unsent.push_back(message.encode());
        }
    }

    fn accept(&mut self) {
        match accept_with(&self.listener, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK) {
            Ok(guest) => self.guest = Some(guest),
            Err(error) => tracing::debug!(%error, "handover: cannot accept"),
        }
    }

    /// Authenticates a connection by its token, as on the socket for messages, and replies.
    fn greet(&self, guest: &OwnedFd) -> Result<(), Error> {
        let user = socket_peercred(guest)?.uid;
        if user != rustix::process::geteuid() && !user.is_root() {
            return Err(Error::User);
        }
        let (said, _) = receive(guest)?;
        let Ok(Message::Hello(token)) = Message::decode(&said) else { return Err(Error::Message) };
        if !knows_token(token, &self.token) {
            return Err(Error::Token);
        }
        send(guest, &Message::Hello(&self.token).encode(), SendFlags::NOSIGNAL)?;
        Ok(())
    }

    /// A newer web-server replaces the older one.
    fn welcome(&mut self, socket: OwnedFd) {
        tracing::debug!("handover: the web-server has connected");
        let unsent = self.names.keys().map(|ufrag| Message::Added(ufrag).encode()).collect();
        self.server = Some(Server { socket, unsent });
    }

    fn serve(&mut self, readable: bool) -> Result<(), Error> {
        let Some(server) = &mut self.server else { return Ok(()) };
        server.send()?;
        if server.unsent.len() > self.names.len() + MAX_UNSENT {
            return Err(Error::Behind);
        }
        if !readable {
            return Ok(());
        }
        loop {
            let (said, descriptor) = match receive(&server.socket) {
                Err(Error::Io(Errno::AGAIN | Errno::INTR)) => return Ok(()),
                received => received?,
            };
            let (Ok(Message::Connection(packet)), Some(descriptor)) = (Message::decode(&said), descriptor)
            else {
                return Err(Error::Message);
            };
            pass_on(&self.names, &self.shards, packet, descriptor);
        }
    }

    /// A web-server that starts must find the socket, whatever has been deleted.
    fn check_socket(&mut self) {
        if self.path.exists() {
            return;
        }
        match listen_on(&self.path) {
            Ok(listener) => {
                tracing::warn!("handover: the socket was deleted; listening again");
                self.listener = listener;
            }
            Err(error) => tracing::debug!(%error, "handover: the socket was deleted"),
        }
    }
}

struct Ready {
    listener: bool,
    guest: bool,
    server: bool,
}

impl Server {
    fn send(&mut self) -> Result<(), Errno> {
        while let Some(message) = self.unsent.front() {
            match send(&self.socket, message, SendFlags::NOSIGNAL) {
                Ok(_) => drop(self.unsent.pop_front()),
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

/// Passes a connection to the shard of the peer that its first packet names. If there is none, the connection is closed.
fn pass_on(
    names: &HashMap<String, usize>,
    shards: &HashMap<usize, Inlet>,
    packet: &[u8],
    descriptor: OwnedFd,
) {
    let shard = common::ice_tcp::stun::our_ufrag(packet).and_then(|ufrag| names.get(ufrag));
    let Some(inlet) = shard.and_then(|shard| shards.get(shard)) else {
        return tracing::debug!("a TCP connection names a peer that is gone");
    };
    let handed = Handed { stream: TcpStream::from(descriptor), packet: Bytes::copy_from_slice(packet) };
    if inlet.handed.try_send(handed).is_err() {
        tracing::debug!("a shard is behind: a TCP connection is closed");
    }
    inlet.wake.wake();
}

/// One message, and the descriptor that came with it.
fn receive(socket: &OwnedFd) -> Result<(Vec<u8>, Option<OwnedFd>), Error> {
    let mut bytes = vec![0; MAX_MESSAGE];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut ancillary = RecvAncillaryBuffer::new(&mut space);
    let mut parts = [io::IoSliceMut::new(&mut bytes)];
    let received = recvmsg(socket, &mut parts, &mut ancillary, RecvFlags::CMSG_CLOEXEC)?;
    let mut descriptor = None;
    for message in ancillary.drain() {
        if let RecvAncillaryMessage::ScmRights(mut descriptors) = message {
            descriptor = descriptors.next_back();
        }
    }
    if received.bytes == 0 {
        return Err(Error::Closed);
    }
    bytes.truncate(received.bytes);
    Ok((bytes, descriptor))
}

#[cfg(test)]
mod tests {
    use std::io::{IoSlice, Write};
    use std::net::TcpListener;
    use std::time::Duration;

    use rustix::net::{RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, connect, recv, sendmsg};

    use super::*;

    const TOKEN: &str = "0123456789abcdef";

    struct Fixture {
        dir: tempfile::TempDir,
        handle: Handle,
    }

    fn fixture() -> Fixture {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(TOKEN_FILE), TOKEN).unwrap();
        let handle = start(dir.path()).unwrap();
        Fixture { dir, handle }
    }

    impl Fixture {
        fn connect(&self, token: &str) -> OwnedFd {
            let socket =
                socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None).unwrap();
            let path = self.dir.path().join(SOCKET_FILE);
            connect(&socket, &SocketAddrUnix::new(&path).unwrap()).unwrap();
            send(&socket, &Message::Hello(token).encode(), SendFlags::NOSIGNAL).unwrap();
            socket
        }
    }

    fn read(socket: &OwnedFd) -> Vec<u8> {
        let mut bytes = vec![0; MAX_MESSAGE];
        let (len, _) = recv(socket, &mut bytes[..], RecvFlags::empty()).unwrap();
        bytes.truncate(len);
        bytes
    }

    fn expect(socket: &OwnedFd, message: &Message<'_>) {
        assert_eq!(Message::decode(&read(socket)).as_ref(), Ok(message));
    }

    fn request(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:them");
        let mut packet = vec![0, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 6];
        packet.extend((name.len() as u16).to_be_bytes());
        packet.extend(name.as_bytes());
        packet.resize(packet.len().next_multiple_of(4), 0);
        packet
    }

    fn hand_over(socket: &OwnedFd, packet: &[u8], stream: &TcpStream) {
        let descriptors = [stream.as_fd()];
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut ancillary = SendAncillaryBuffer::new(&mut space);
        assert!(ancillary.push(SendAncillaryMessage::ScmRights(&descriptors)));
        let message = Message::Connection(packet).encode();
        sendmsg(socket, &[IoSlice::new(&message)], &mut ancillary, SendFlags::NOSIGNAL).unwrap();
    }

    fn shard(fixture: &Fixture, n: usize) -> (Names, Receiver<Handed>) {
        fixture.handle.of_shard(n, Arc::new(Wake::new().unwrap()))
    }

    #[test]
    fn a_connection_goes_to_the_shard_whose_peer_it_names() {
        let fixture = fixture();
        let (zero, _zeros) = shard(&fixture, 0);
        let (one, ones) = shard(&fixture, 1);
        zero.added("zero");
        let server = fixture.connect(TOKEN);
        expect(&server, &Message::Hello(TOKEN));
        expect(&server, &Message::Added("zero"));
        one.added("one");
        expect(&server, &Message::Added("one"));
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (accepted, _) = listener.accept().unwrap();
        let packet = request("one");
        hand_over(&server, &packet, &accepted);
        drop(accepted);
        let mut handed = ones.recv_timeout(Duration::from_secs(5)).unwrap();
        assert_eq!(handed.packet, packet);
        assert_eq!(handed.stream.peer_addr().unwrap(), client.local_addr().unwrap());
        handed.stream.write_all(b"x").unwrap();
        std::io::Read::read_exact(&mut client, &mut [0]).unwrap();
    }

    #[test]
    fn a_web_server_that_connects_is_told_all_names_and_replaces_the_older_one() {
        let fixture = fixture();
        let (names, _handed) = shard(&fixture, 0);
        names.added("one");
        names.added("two");
        let first = fixture.connect(TOKEN);
        expect(&first, &Message::Hello(TOKEN));
        names.removed("one");
        while Message::decode(&read(&first)).expect("a message") != Message::Removed("one") {}
        let second = fixture.connect(TOKEN);
        expect(&second, &Message::Hello(TOKEN));
        expect(&second, &Message::Added("two"));
        assert!(read(&first).is_empty(), "the older one's connection is closed");
    }

    #[test]
    fn who_does_not_know_the_token_is_told_nothing() {
        let fixture = fixture();
        let (names, _handed) = shard(&fixture, 0);
        names.added("one");
        for token in ["", "0123456789abcdee", "0123456789abcde"] {
            assert!(read(&fixture.connect(token)).is_empty(), "{token:?}");
        }
    }
}
