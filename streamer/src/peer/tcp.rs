//! TCP connections of peers (ICE-TCP, RFC 6544). Each is a path for packets, like a pair of UDP addresses, framed by RFC 4571.
//!
//! The web-server accepts them and hands them over; see [`super::handover`]. Nothing here waits. Bytes that the network does not take
//! at once are queued, up to a bound for each connection, so that a slow or dead one costs nobody else anything.

use std::collections::HashMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;

use bytes::{Buf, Bytes, BytesMut};
use common::api::Transport;
use common::ice_tcp::framing::{self, Packets};
use rustix::event::{PollFd, PollFlags};

use super::Key;
use super::demux;
use super::path::Path;

/// Bytes that may be queued on a connection. A picture of a full screen fits; further packets are dropped,
/// as by a full UDP socket.
const MAX_UNSENT: usize = 1024 * 1024;
/// With more bytes queued than this, no pictures are sent on a connection: its peer skips to a keyframe once less than
/// [`LOW`] is queued. The queue is latency: at 10 Mbit/s, this is 200 ms.
const HIGH: usize = 256 * 1024;
const LOW: usize = 32 * 1024;
/// Send buffer of the kernel, which doubles this. By default it grows to megabytes, seconds of a slow path, before we
/// would notice that anything is queued.
const KERNEL_BUFFER: usize = 256 * 1024;
/// Most connections of one peer. A browser opens one from each of its addresses to each of ours. For one more, the oldest without an
/// answered check is closed; if there is none, the new one is refused.
const MAX_PER_VIEWER: usize = 16;
/// Most bytes read from a connection in one turn of the shard. The rest waits for the next turn.
const READ: usize = 64 * 1024;

/// A connection that the web-server has accepted.
#[derive(Debug)]
pub struct Handed {
    /// The connection.
    pub stream: TcpStream,
    /// Its first packet, a binding request, which the web-server has read to identify the peer.
    pub packet: Bytes,
}

/// Why a connection is not taken.
#[derive(Debug, thiserror::Error)]
pub enum NotTaken {
    /// It is closed already, or cannot be set up.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// The peer has the maximum number of connections.
    #[error("the peer has {MAX_PER_VIEWER} TCP connections already")]
    TooMany,
}

/// A packet that has arrived.
#[derive(Debug)]
pub struct Arrived {
    /// The peer that owns the connection.
    pub owner: Key,
    /// The path on which it arrived.
    pub path: Path,
    /// Its bytes.
    pub data: Bytes,
}

/// Counters of what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counts {
    /// System calls.
    pub calls: u64,
    /// Bytes, those of the framing included.
    pub bytes: u64,
    /// Packets that were dropped because a connection had no room, or was gone.
    pub drops: u64,
}

/// All TCP connections of a shard.
#[derive(Debug, Default)]
pub struct Connections {
    open: HashMap<Path, Connection>,
    /// Number of the next one, which tells older ones from newer.
    next: u64,
    /// Paths with something to write.
    dirty: Vec<Path>,
    /// In the order of the last [`Connections::poll_fds`].
    polled: Vec<Path>,
    /// Paths on which we have answered a check, and whose connection is gone. See [`Connections::add`].
    lost: HashMap<Key, Vec<Path>>,
    counts: Counts,
}

#[derive(Debug)]
struct Connection {
    stream: TcpStream,
    owner: Key,
    number: u64,
    packets: Packets,
    unsent: BytesMut,
    /// More than `HIGH` was queued, and not less than `LOW` since then.
    full: bool,
    /// We have answered a binding request on it, so ICE has verified that its peer knows the password.
    proven: bool,
    readable: bool,
}

impl Connections {
    /// Takes a connection of a peer. Returns its path.
    ///
    /// A client whose connection broke opens another one, from another port. It replaces the broken one: to ICE it is the
    /// same path, so nothing has to be negotiated. An impostor gains nothing: ICE and SRTP authenticate the peer by its keys.
    ///
    /// # Errors
    /// It is closed, or the peer has too many.
    pub fn add(&mut self, owner: Key, stream: TcpStream) -> Result<Path, NotTaken> {
        let local = canonical(stream.local_addr()?);
        let remote = canonical(stream.peer_addr()?);
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        rustix::net::sockopt::set_socket_send_buffer_size(&stream, KERNEL_BUFFER).map_err(io::Error::from)?;
        self.make_room(owner)?;
        let mut path = Path { transport: Transport::Tcp, local, remote };
        if let Some(lost) = self.lost.get_mut(&owner) {
            let same = |lost: &Path| lost.local == local && lost.remote.ip() == remote.ip();
            if let Some(at) = lost.iter().rposition(same) {
                path = lost.swap_remove(at);
            }
        }
        let number = self.next;
        self.next += 1;
        let connection = Connection {
            stream,
            owner,
            number,
            packets: Packets::default(),
            unsent: BytesMut::new(),
            full: false,
            proven: false,
            // More may have arrived since the web-server read from it.
            readable: true,
        };
        self.open.insert(path, connection);
        Ok(path)
    }

    fn make_room(&mut self, owner: Key) -> Result<(), NotTaken> {
        let of_owner = || self.open.iter().filter(move |(_, connection)| connection.owner == owner);
        if of_owner().count() < MAX_PER_VIEWER {
            return Ok(());
        }
        let unproven = of_owner().filter(|(_, connection)| !connection.proven);
        let oldest = unproven.min_by_key(|(_, connection)| connection.number).map(|(path, _)| *path);
        let path = oldest.ok_or(NotTaken::TooMany)?;
        self.open.remove(&path);
        Ok(())
    }

    /// What to poll.
    pub fn poll_fds(&mut self) -> impl Iterator<Item = PollFd<'_>> {
        self.polled.clear();
        self.polled.extend(self.open.keys());
        self.open.values().map(|connection| {
            let waits = if connection.unsent.is_empty() { PollFlags::empty() } else { PollFlags::OUT };
            PollFd::from_borrowed_fd(connection.stream.as_fd(), PollFlags::IN | waits)
        })
    }

    /// Takes the results of `poll`, in the same order.
    pub fn polled(&mut self, said: impl Iterator<Item = PollFlags>) {
        for (path, flags) in self.polled.iter().zip(said) {
            let Some(connection) = self.open.get_mut(path) else { continue };
            // A failed connection reports its error when it is read.
            connection.readable |= flags.intersects(PollFlags::IN | PollFlags::HUP | PollFlags::ERR);
            if flags.contains(PollFlags::OUT) {
                self.dirty.push(*path);
            }
        }
        self.flush();
    }

    /// Reads what has arrived.
    pub fn receive(&mut self, arrived: &mut Vec<Arrived>) {
        let mut ended = Vec::new();
        for (path, connection) in &mut self.open {
            if !std::mem::take(&mut connection.readable) {
                continue;
            }
            if let Err(error) = connection.receive(*path, arrived) {
                tracing::debug!(%error, "a TCP connection of a peer's has ended");
                ended.push(*path);
            }
        }
        for path in ended {
            self.end(path);
        }
    }

    /// Queues a packet. It is written by [`Connections::flush`], or when the connection has room.
    pub fn send(&mut self, path: Path, data: &[u8]) {
        let connection = self.open.get_mut(&path);
        let Some((connection, header)) = connection.zip(framing::header(data)) else {
            self.counts.drops += 1;
            return;
        };
        if connection.unsent.len() + framing::HEADER + data.len() > MAX_UNSENT {
            self.counts.drops += 1;
            return;
        }
        connection.proven |= demux::proves_address(data);
        connection.unsent.extend_from_slice(&header);
        connection.unsent.extend_from_slice(data);
        if self.dirty.last() != Some(&path) {
            self.dirty.push(path);
        }
    }

    /// Writes as much as the network takes at once.
    pub fn flush(&mut self) {
        while let Some(path) = self.dirty.pop() {
            let Some(connection) = self.open.get_mut(&path) else { continue };
            if let Err(error) = connection.write(&mut self.counts) {
                tracing::debug!(%error, "a TCP connection of a peer's has ended");
                self.end(path);
            }
        }
    }

    /// Whether too much is queued on a path to send pictures on it.
    pub fn is_full(&self, path: &Path) -> bool {
        self.open.get(path).is_some_and(|connection| connection.full)
    }

    /// Closes all connections of a peer that is gone.
    pub fn remove(&mut self, owner: Key) {
        self.open.retain(|_, connection| connection.owner != owner);
        self.lost.remove(&owner);
    }

    /// What was sent so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    fn end(&mut self, path: Path) {
        let Some(connection) = self.open.remove(&path) else { return };
        if connection.proven {
            let lost = self.lost.entry(connection.owner).or_default();
            if lost.len() == MAX_PER_VIEWER {
                lost.remove(0);
            }
            lost.push(path);
        }
    }
}

/// Reads what a stream that does not block has, but not much more than `most` bytes; the rest is there in the next turn.
///
/// # Errors
/// It has ended or failed, or so says `take`.
pub(super) fn read_available(
    stream: &mut impl Read,
    most: usize,
    mut take: impl FnMut(&[u8]) -> io::Result<()>,
) -> io::Result<()> {
    let mut buffer = [0; 16 * 1024];
    for _ in 0..most / buffer.len() {
        let len = match stream.read(&mut buffer) {
            Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Ok(len) => len,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        take(&buffer[..len])?;
        if len < buffer.len() {
            return Ok(());
        }
    }
    Ok(())
}

impl Connection {
    fn receive(&mut self, path: Path, arrived: &mut Vec<Arrived>) -> io::Result<()> {
        let Self { stream, packets, owner, .. } = self;
        read_available(stream, READ, |bytes| {
            packets.push(bytes);
            while let Some(data) = packets.next_packet().map_err(io::Error::other)? {
                arrived.push(Arrived { owner: *owner, path, data });
            }
            Ok(())
        })
    }

    fn write(&mut self, counts: &mut Counts) -> io::Result<()> {
        while !self.unsent.is_empty() {
            counts.calls += 1;
            match self.stream.write(&self.unsent) {
                Ok(len) => {
                    counts.bytes += len as u64;
                    self.unsent.advance(len);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.full = self.unsent.len() > if self.full { LOW } else { HIGH };
        Ok(())
    }
}

/// Turns an IPv4-mapped address of an IPv6 socket into an IPv4 address, as in our candidates.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const SUCCESS: [u8; 20] = [1, 1, 0, 0, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    fn listener() -> TcpListener {
        TcpListener::bind("127.0.0.1:0").unwrap()
    }

    /// The peer's end, and ours.
    fn pair(listener: &TcpListener) -> (TcpStream, TcpStream) {
        let theirs = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        (theirs, listener.accept().unwrap().0)
    }

    /// Waits for what poll says.
    fn poll(connections: &mut Connections) {
        let mut fds: Vec<_> = connections.poll_fds().collect();
        rustix::event::poll(&mut fds, None).unwrap();
        let said: Vec<_> = fds.iter().map(PollFd::revents).collect();
        drop(fds);
        connections.polled(said.into_iter());
    }

    fn receive(connections: &mut Connections) -> Vec<Arrived> {
        let mut arrived = Vec::new();
        connections.receive(&mut arrived);
        arrived
    }

    #[test]
    fn packets_go_both_ways_framed() {
        let (mut theirs, ours) = pair(&listener());
        let mut connections = Connections::default();
        let path = connections.add(7, ours).unwrap();
        assert_eq!((path.remote, path.transport), (theirs.local_addr().unwrap(), Transport::Tcp));
        assert!(receive(&mut connections).is_empty());
        theirs.write_all(&[0, 2, 5, 6, 0, 1, 7, 0]).unwrap();
        poll(&mut connections);
        let arrived = receive(&mut connections);
        let arrived: Vec<_> = arrived.iter().map(|a| (a.owner, a.path, &a.data[..])).collect();
        assert_eq!(arrived, [(7, path, &[5, 6][..]), (7, path, &[7])]);
        connections.send(path, &[1, 2, 3]);
        connections.send(path, &[4]);
        connections.flush();
        let mut read = [0; 8];
        theirs.read_exact(&mut read).unwrap();
        assert_eq!(read, [0, 3, 1, 2, 3, 0, 1, 4]);
        assert_eq!((connections.counts().calls, connections.counts().drops), (1, 0));
    }

    #[test]
    fn a_peer_that_does_not_read_is_full_and_loses_packets_and_is_not_when_it_has_read() {
        let (mut theirs, ours) = pair(&listener());
        let mut connections = Connections::default();
        let path = connections.add(1, ours).unwrap();
        let packet = [9; 1200];
        let mut sent = 0;
        while connections.counts().drops == 0 {
            connections.send(path, &packet);
            connections.flush();
            sent += 1;
        }
        assert!(connections.is_full(&path));
        sent -= 1;
        let mut read = vec![0; sent * (packet.len() + framing::HEADER)];
        let reader = std::thread::spawn(move || theirs.read_exact(&mut read).map(|()| theirs));
        while connections.is_full(&path) {
            poll(&mut connections);
        }
        while !connections.open[&path].unsent.is_empty() {
            poll(&mut connections);
        }
        // All of what was not dropped has come.
        reader.join().unwrap().unwrap();
    }

    #[test]
    fn what_is_not_framed_ends_its_connection_alone() {
        let listener = listener();
        let ((mut bad, one), (_good, other)) = (pair(&listener), pair(&listener));
        let mut connections = Connections::default();
        connections.add(1, one).unwrap();
        let stays = connections.add(1, other).unwrap();
        receive(&mut connections);
        bad.write_all(&[0, 0]).unwrap();
        poll(&mut connections);
        assert!(receive(&mut connections).is_empty());
        assert_eq!(connections.open.keys().collect::<Vec<_>>(), [&stays]);
    }

    #[test]
    fn a_connection_that_is_made_anew_keeps_the_path_that_was_proven() {
        let listener = listener();
        let mut connections = Connections::default();
        let again = |connections: &mut Connections, owner| {
            let (theirs, ours) = pair(&listener);
            (theirs, connections.add(owner, ours).unwrap())
        };
        let (theirs, unproven) = again(&mut connections, 1);
        drop(theirs);
        poll(&mut connections);
        receive(&mut connections);
        let (theirs, path) = again(&mut connections, 1);
        assert_ne!(path, unproven);
        connections.send(path, &SUCCESS);
        connections.flush();
        drop(theirs);
        while !connections.open.is_empty() {
            poll(&mut connections);
            receive(&mut connections);
        }
        let (_other, others) = again(&mut connections, 2);
        assert_ne!(others, path);
        let (_theirs, same) = again(&mut connections, 1);
        assert_eq!(same, path);
        connections.remove(1);
        assert_eq!(connections.open.keys().collect::<Vec<_>>(), [&others]);
    }

    #[test]
    fn for_one_too_many_the_oldest_without_an_answer_goes() {
        let listener = listener();
        let mut connections = Connections::default();
        let mut kept = Vec::new();
        let mut paths = Vec::new();
        for n in 0..MAX_PER_VIEWER {
            let (theirs, ours) = pair(&listener);
            kept.push(theirs);
            paths.push(connections.add(1, ours).unwrap());
            if n != 3 {
                connections.send(paths[n], &SUCCESS);
            }
        }
        let (theirs, ours) = pair(&listener);
        kept.push(theirs);
        let last = connections.add(1, ours).unwrap();
        assert!(!connections.open.contains_key(&paths[3]));
        connections.send(last, &SUCCESS);
        let (theirs, ours) = pair(&listener);
        kept.push(theirs);
        assert!(matches!(connections.add(1, ours), Err(NotTaken::TooMany)));
        let (theirs, ours) = pair(&listener);
        kept.push(theirs);
        assert!(connections.add(2, ours).is_ok());
    }
}
