//! The sockets of a shard: one UDP port, every address of the machine, segmented sends; and the TCP connections of its peers.

use std::io::{self, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, BorrowedFd};

use common::api::Transport;
use common::ipc::Settings;
use common::nat::{self, PortRange};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

use super::path::Path;
use super::tcp;

/// Requested size of kernel buffers: room for a keyframe to each of hundreds of peers at once.
const BUFFER_BYTES: usize = 4 * 1024 * 1024;
/// Largest UDP payload; also the bound of one segmented send.
const MAX_DATAGRAM: usize = 65_000;
/// Segments in one send. The kernel takes 64.
const MAX_SEGMENTS: usize = 64;

/// Where to listen, and what to offer to peers.
#[derive(Debug, Clone, Default)]
pub struct Network {
    /// Addresses to listen on; none: those of the machine's interfaces.
    pub ips: Vec<IpAddr>,
    /// The interfaces to use; see [`nat::interface_wanted`].
    pub interfaces: Vec<String>,
    /// Ports to choose from; `None`: any.
    pub ports: Option<PortRange>,
    /// The port of TCP connections, which the web-server accepts for us; `None`: there are none.
    pub tcp_port: Option<u16>,
    /// Addresses that replace our own in what is offered; see [`nat::offered`].
    pub public_ips: Vec<IpAddr>,
    /// Networks that are never contacted.
    pub deny_candidates: Vec<nat::Network>,
}

impl Network {
    /// From the settings.
    pub fn of(settings: &Settings) -> Self {
        Self {
            ips: settings.listen_ips.clone(),
            interfaces: settings.interfaces.clone(),
            ports: settings.udp_ports,
            tcp_port: settings.tcp_port,
            public_ips: settings.public_ips.clone(),
            deny_candidates: settings.deny_candidates.clone(),
        }
    }

    /// Addresses to listen on, and to offer as host candidates.
    fn own(&self) -> io::Result<Vec<IpAddr>> {
        if !self.ips.is_empty() {
            return Ok(self.ips.clone());
        }
        let ips = machine_ips(&self.interfaces)?;
        if ips.is_empty() {
            let message = format!(
                "no interface of this machine fits webrtc.interfaces ({})",
                self.interfaces.join(", ")
            );
            return Err(io::Error::new(io::ErrorKind::AddrNotAvailable, message));
        }
        Ok(ips)
    }
}

/// A datagram that has arrived.
#[derive(Debug, Clone, Copy)]
pub struct Received<'a> {
    /// The path on which it arrived.
    pub path: Path,
    /// Its bytes.
    pub data: &'a [u8],
}

/// Datagrams copied out of the socket's buffer, in one reused piece of memory.
#[derive(Debug, Default)]
pub struct Inbox {
    bytes: Vec<u8>,
    datagrams: Vec<(Path, std::ops::Range<usize>)>,
}

impl Inbox {
    /// Removes all datagrams.
    pub fn clear(&mut self) {
        self.bytes.clear();
        self.datagrams.clear();
    }

    /// Adds a copy of a datagram.
    pub fn push(&mut self, datagram: &Received<'_>) {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(datagram.data);
        self.datagrams.push((datagram.path, start..self.bytes.len()));
    }

    /// Path and bytes of each, in order of arrival.
    pub fn iter(&self) -> impl Iterator<Item = (Path, &[u8])> {
        self.datagrams.iter().map(|(path, range)| (*path, &self.bytes[range.clone()]))
    }
}

/// One bound socket.
struct Socket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// The host candidates of a shard.
#[derive(Debug, Clone, Default)]
pub struct Candidates {
    /// Of UDP.
    pub udp: Vec<SocketAddr>,
    /// Of TCP, passive (RFC 6544 §4.1).
    pub tcp: Vec<SocketAddr>,
}

/// Counters of what was sent.
#[derive(Debug, Clone, Copy, Default)]
pub struct SendCounts {
    /// System calls.
    pub calls: u64,
    /// Bytes.
    pub bytes: u64,
    /// Datagrams that the kernel had no room for.
    pub drops: u64,
}

/// All sockets of a shard. Datagrams to one address are collected into one system call.
pub struct Sockets {
    sockets: Vec<Socket>,
    tcp: tcp::Connections,
    candidates: Candidates,
    receive_buffer: Box<[u8]>,
    batch: Batch,
    /// Most segments of one send; 1 after the kernel or a device has refused segmentation.
    max_segments: usize,
    counts: SendCounts,
}

/// Datagrams to one address, all but the last of equal size.
#[derive(Default)]
struct Batch {
    bytes: Vec<u8>,
    route: Option<(SocketAddr, SocketAddr)>,
    segment: usize,
    count: usize,
    closed: bool,
}

impl Sockets {
    /// Binds one port; when `network` names neither addresses nor interfaces, on every address that this machine has,
    /// loopback included.
    ///
    /// # Errors
    /// When nothing can be bound, or no port of the range is free.
    pub fn bind(network: &Network) -> io::Result<Self> {
        let candidates_ips = network.own()?;
        let sockets = match network.ports {
            None => bind_families(&candidates_ips, 0)?,
            Some(range) => {
                let mut ports = range.ports();
                loop {
                    let Some(port) = ports.next() else {
                        let message = format!("no UDP port of webrtc.udp_ports ({range}) is free");
                        return Err(io::Error::new(io::ErrorKind::AddrInUse, message));
                    };
                    match bind_families(&candidates_ips, port) {
                        Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                        bound => break bound?,
                    }
                }
            }
        };
        let port_of = |ip: &IpAddr| {
            let socket = sockets.iter().find(|socket| socket.local.is_ipv4() == ip.is_ipv4())?;
            Some(SocketAddr::new(*ip, socket.local.port()))
        };
        let tcp = network.tcp_port.into_iter();
        let tcp = tcp.flat_map(|port| candidates_ips.iter().map(move |ip| SocketAddr::new(*ip, port)));
        let candidates =
            Candidates { udp: candidates_ips.iter().filter_map(port_of).collect(), tcp: tcp.collect() };
        let receive_buffer = vec![0; BATCH_SIZE * 2048 * 16].into_boxed_slice();
        let batch = Batch::default();
        let counts = SendCounts::default();
        let max_segments = max_segments(&sockets);
        let tcp = tcp::Connections::default();
        Ok(Self { sockets, tcp, candidates, receive_buffer, batch, max_segments, counts })
    }

    /// Addresses to offer as host candidates.
    pub fn candidates(&self) -> &Candidates {
        &self.candidates
    }

    /// What to poll: the sockets for datagrams, and the connections.
    pub fn fds(&mut self) -> (impl Iterator<Item = BorrowedFd<'_>>, &mut tcp::Connections) {
        (self.sockets.iter().map(|socket| socket.socket.as_fd()), &mut self.tcp)
    }

    /// The TCP connections.
    pub fn tcp(&mut self) -> &mut tcp::Connections {
        &mut self.tcp
    }

    /// What was sent so far.
    pub fn counts(&self) -> SendCounts {
        let udp = self.counts;
        let tcp = self.tcp.counts();
        SendCounts {
            calls: udp.calls + tcp.calls,
            bytes: udp.bytes + tcp.bytes,
            drops: udp.drops + tcp.drops,
        }
    }

    /// Reads one batch of datagrams from each socket. True when there may be more.
    pub fn receive(&mut self, mut each: impl FnMut(Received<'_>)) -> bool {
        let mut more = false;
        for socket in &self.sockets {
            let size = self.receive_buffer.len() / BATCH_SIZE;
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.receive_buffer.chunks_mut(size);
            // The buffer is BATCH_SIZE chunks of `size` long.
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let Ok(count) = socket.state.recv((&socket.socket).into(), &mut slices, &mut metas) else {
                continue;
            };
            more |= count == BATCH_SIZE;
            for (meta, slice) in metas[..count].iter().zip(&slices) {
                let ip = meta.dst_ip.unwrap_or(socket.local.ip());
                let local = SocketAddr::new(ip, socket.local.port());
                for data in slice[..meta.len].chunks(meta.stride.max(1)) {
                    each(Received { path: Path::udp(local, meta.addr), data });
                }
            }
        }
        more
    }

    /// Queues a packet. It is sent together with the ones before it if possible, by [`Sockets::flush`] at the latest.
    pub fn send(&mut self, path: Path, data: &[u8]) {
        let Path { transport, local, remote: to } = path;
        if transport == Transport::Tcp {
            return self.tcp.send(path, data);
        }
        if self.batch.count >= self.max_segments || !self.batch.takes((local, to), data.len()) {
            self.flush_datagrams();
        }
        self.batch.push((local, to), data);
    }

    /// Sends what is queued.
    pub fn flush(&mut self) {
        self.flush_datagrams();
        self.tcp.flush();
    }

    fn flush_datagrams(&mut self) {
        let Some((local, to)) = self.batch.route.take() else { return };
        let socket = self.sockets.iter().find(|socket| socket.local.is_ipv4() == to.is_ipv4());
        if let Some(socket) = socket {
            let transmit = Transmit {
                destination: to,
                ecn: None,
                contents: &self.batch.bytes,
                segment_size: (self.batch.count > 1).then_some(self.batch.segment),
                src_ip: socket.local.ip().is_unspecified().then_some(local.ip()),
            };
            self.counts.calls += 1;
            match socket.state.try_send((&socket.socket).into(), &transmit) {
                Ok(()) => self.counts.bytes += self.batch.bytes.len() as u64,
                // The socket is full or the route is gone. The packet is lost, which RTP can repair.
                Err(_) => {
                    self.counts.drops += self.batch.count as u64;
                    self.max_segments = max_segments(&self.sockets);
                }
            }
        }
        self.batch.clear();
    }
}

fn max_segments(sockets: &[Socket]) -> usize {
    let limits = sockets.iter().map(|socket| socket.state.max_gso_segments());
    limits.min().unwrap_or(1).clamp(1, MAX_SEGMENTS)
}

/// Binds a socket for each family of addresses, both on this port; 0: each on any port.
fn bind_families(ips: &[IpAddr], port: u16) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    if let Some(ip) = bind_ip(ips, IpAddr::V4(Ipv4Addr::UNSPECIFIED)) {
        sockets.push(Socket::bind(SocketAddr::new(ip, port))?);
    }
    if let Some(ip) = bind_ip(ips, IpAddr::V6(Ipv6Addr::UNSPECIFIED)) {
        match Socket::bind(SocketAddr::new(ip, port)) {
            Ok(socket) => sockets.push(socket),
            Err(error) if sockets.is_empty() || error.kind() == io::ErrorKind::AddrInUse => {
                return Err(error);
            }
            Err(error) => tracing::info!(%error, "no IPv6"),
        }
    }
    Ok(sockets)
}

/// The address to bind for all of `ips` that are of the family of `unspecified`.
fn bind_ip(ips: &[IpAddr], unspecified: IpAddr) -> Option<IpAddr> {
    let mut of_family = ips.iter().filter(|ip| ip.is_ipv4() == unspecified.is_ipv4());
    match (of_family.next(), of_family.next()) {
        (None, _) => None,
        (Some(only), None) => Some(*only),
        _ => Some(unspecified),
    }
}

/// Puts loopback last: it is useful only to peers on this machine.
fn machine_ips(filters: &[String]) -> io::Result<Vec<IpAddr>> {
    let mut interfaces = if_addrs::get_if_addrs()?;
    interfaces.retain(|interface| nat::interface_wanted(filters, &interface.name));
    let usable = |ip: &IpAddr| match ip {
        IpAddr::V4(ip) => !ip.is_link_local(),
        IpAddr::V6(ip) => !ip.is_unicast_link_local(),
    };
    let mut ips: Vec<_> = interfaces.iter().map(if_addrs::Interface::ip).filter(usable).collect();
    ips.sort_by_key(|ip| (ip.is_loopback(), ip.is_ipv6()));
    ips.dedup();
    Ok(ips)
}

impl Socket {
    fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = UdpSocket::bind(address)?;
        let state = UdpSocketState::new((&socket).into())?;
        // The system reduces the size to what it allows.
        let _ = state.set_send_buffer_size((&socket).into(), BUFFER_BYTES);
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        let local = socket.local_addr()?;
        Ok(Self { socket, state, local })
    }
}

impl Batch {
    fn takes(&self, route: (SocketAddr, SocketAddr), len: usize) -> bool {
        match self.route {
            None => true,
            Some(current) => {
                current == route
                    && !self.closed
                    && len <= self.segment
                    && self.bytes.len() + len <= MAX_DATAGRAM
            }
        }
    }

    fn push(&mut self, route: (SocketAddr, SocketAddr), data: &[u8]) {
        if self.route.is_none() {
            self.route = Some(route);
            self.segment = data.len();
        }
        // Only the last segment may be shorter.
        self.closed = data.len() < self.segment;
        self.bytes.extend_from_slice(data);
        self.count += 1;
    }

    fn clear(&mut self) {
        self.bytes.clear();
        self.count = 0;
        self.closed = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn loopback() -> Network {
        Network { ips: vec![IpAddr::V4(Ipv4Addr::LOCALHOST)], ..Network::default() }
    }

    #[test]
    fn ports_come_from_the_range_each_once() {
        // Two adjacent ports that are free now.
        let (first, range) = loop {
            let port = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap().port();
            let next =
                port.checked_add(1).filter(|next| UdpSocket::bind((Ipv4Addr::LOCALHOST, *next)).is_ok());
            if let Some(next) = next {
                break (port, format!("{port}-{next}"));
            }
        };
        let network = Network { ports: Some(range.parse().unwrap()), ..loopback() };
        let one = Sockets::bind(&network).unwrap();
        let two = Sockets::bind(&network).unwrap();
        let ports = [one.candidates().udp[0].port(), two.candidates().udp[0].port()];
        assert_eq!(ports, [first, first + 1]);
        let error = Sockets::bind(&network).err().unwrap();
        assert!(error.to_string().contains(&format!("webrtc.udp_ports ({range})")), "{error}");
    }

    #[test]
    fn interfaces_can_be_left_out() {
        let only = |filter: &str| Network { interfaces: vec![filter.to_owned()], ..Network::default() };
        let sockets = Sockets::bind(&only("lo")).unwrap();
        assert!(
            sockets.candidates().udp.iter().all(|address| address.ip().is_loopback()),
            "{:?}",
            sockets.candidates()
        );
        let error = Sockets::bind(&only("none-such")).err().unwrap();
        assert!(error.to_string().contains("webrtc.interfaces (none-such)"), "{error}");
    }

    #[test]
    fn equal_datagrams_leave_in_one_call_and_arrive_as_they_were() {
        let (mut sender, mut receiver) =
            (Sockets::bind(&loopback()).unwrap(), Sockets::bind(&loopback()).unwrap());
        let local = sender.candidates().udp[0];
        let to = receiver.candidates().udp[0];
        let sent: Vec<Vec<u8>> =
            [100, 100, 100, 40, 100, 7].iter().map(|&len| vec![len as u8; len]).collect();
        for data in &sent {
            sender.send(Path::udp(local, to), data);
        }
        sender.flush();
        assert_eq!(sender.counts().calls, 2);
        let mut got = Vec::new();
        while got.len() < sent.len() {
            let fd = receiver.fds().0.next().unwrap();
            let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
            rustix::event::poll(&mut fds, None).unwrap();
            receiver.receive(|datagram| {
                assert_eq!(datagram.path, Path::udp(to, local));
                got.push(datagram.data.to_vec());
            });
        }
        assert_eq!(got, sent);
    }

    #[test]
    fn every_address_of_the_machine_is_a_candidate_when_none_is_named() {
        let sockets = Sockets::bind(&Network::default()).unwrap();
        let ports: Vec<_> = sockets.candidates().udp.iter().map(SocketAddr::port).collect();
        assert!(sockets.candidates().udp.iter().any(|c| c.ip() == IpAddr::V4(Ipv4Addr::LOCALHOST)));
        assert!(ports.iter().all(|&port| port != 0));
    }
}
