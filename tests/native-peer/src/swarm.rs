//! Peers on one thread: their sockets in one epoll, their events in one queue.

use std::collections::VecDeque;
use std::io::IoSliceMut;
use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use common::signal::{ClientMessage, Role, ServerMessage};
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rustix::event::Timespec;
use rustix::event::epoll;

use crate::connection::Connection;
use crate::signalling::{Read, Signalling};
use crate::{Arrival, Channel, Error, Event, Media};

/// Timers of peers that connect, and of those that are connected, are looked at this often.
const CONNECTING_TICK: Duration = Duration::from_millis(5);
const CONNECTED_TICK: Duration = Duration::from_millis(50);
/// For one datagram, or as many as the kernel has coalesced.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// For the bursts of a keyframe while the thread does something else.
const BUFFER_BYTES: usize = 1024 * 1024;

/// How peers join.
#[derive(Debug, Clone)]
pub struct Options {
    /// The web-server; loopback.
    pub server: SocketAddr,
    /// Id of the streamer.
    pub streamer: String,
    /// What they ask for.
    pub role: Role,
    /// What they do with RTP.
    pub media: Media,
}

struct Peer {
    signalling: Option<Signalling>,
    connection: Option<Connection>,
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

/// Any number of peers, driven by [`Swarm::next`].
pub struct Swarm {
    options: Options,
    certificate: RTCCertificate,
    epoll: OwnedFd,
    peers: Vec<Peer>,
    events: VecDeque<(usize, Event)>,
    buffer: Box<[u8]>,
    ready: Vec<epoll::Event>,
    next_tick: Instant,
    connecting: usize,
}

impl Swarm {
    /// Without any peers yet.
    ///
    /// # Errors
    /// When there is no randomness or no descriptor left.
    pub fn new(options: Options) -> Result<Self, Error> {
        let failed = |error: &dyn std::fmt::Display| Error::Rtc("certificate", error.to_string());
        let provider = rtc::crypto::default_provider().map_err(|e| failed(&e))?;
        let params = CertificateParams::new(vec!["native-peer".to_owned()]).map_err(|e| failed(&e))?;
        let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
        let certificate =
            RTCCertificate::generate(provider.crypto(), scheme, params).map_err(|e| failed(&e))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| Error::Io("epoll", e.into()))?;
        Ok(Self {
            options,
            certificate,
            epoll,
            peers: Vec::new(),
            events: VecDeque::new(),
            buffer: vec![0; BATCH_SIZE * DATAGRAM_BYTES].into_boxed_slice(),
            ready: Vec::with_capacity(256),
            next_tick: Instant::now(),
            connecting: 0,
        })
    }

    /// One more peer begins to join; returns its index. [`Event::Connected`] tells when it has.
    ///
    /// # Errors
    /// When the web-server refuses the WebSocket.
    pub fn join(&mut self) -> Result<usize, Error> {
        let io = |what| move |error| Error::Io(what, error);
        let socket = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(io("binding"))?;
        let state = UdpSocketState::new((&socket).into()).map_err(io("socket options"))?;
        // Datagrams are to come as they would to a browser: without coalescing, the kernel cuts what was sent
        // in one call, and the sender pays for it.
        without_coalescing(&socket).map_err(io("UDP_GRO"))?;
        // A smaller buffer than asked for is still one.
        let _ = state.set_recv_buffer_size((&socket).into(), BUFFER_BYTES);
        let local = socket.local_addr().map_err(io("own address"))?;
        let Options { server, streamer, role, .. } = &self.options;
        let signalling = Signalling::connect(*server, streamer, *role)?;
        let index = self.peers.len();
        for (fd, kind) in [(signalling.fd(), 0), (socket.as_fd(), 1)] {
            let data = epoll::EventData::new_u64(index as u64 * 2 + kind);
            epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN)
                .map_err(|e| Error::Io("epoll", e.into()))?;
        }
        self.peers.push(Peer { signalling: Some(signalling), connection: None, socket, state, local });
        self.connecting += 1;
        Ok(index)
    }

    /// Peers that have joined or are joining.
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// No peers.
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// The next event and whose it is; `None` when there is none until `deadline`.
    ///
    /// # Errors
    /// When the system refuses to wait.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<(usize, Event)>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let now = Instant::now();
            if now >= deadline {
                return Ok(None);
            }
            self.wait(deadline.min(self.next_tick).saturating_duration_since(now))?;
            let mut ready = std::mem::take(&mut self.ready);
            for event in ready.drain(..) {
                let data = event.data.u64();
                let index = (data / 2) as usize;
                if data % 2 == 0 { self.signals(index) } else { self.datagrams(index) }
            }
            self.ready = ready;
            self.tick();
        }
    }

    fn wait(&mut self, timeout: Duration) -> Result<(), Error> {
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        self.ready.clear();
        let buffer = rustix::buffer::spare_capacity(&mut self.ready);
        match epoll::wait(&self.epoll, buffer, Some(&timeout)) {
            Ok(_) | Err(rustix::io::Errno::INTR) => Ok(()),
            Err(error) => Err(Error::Io("epoll", error.into())),
        }
    }

    fn tick(&mut self) {
        let now = Instant::now();
        if now < self.next_tick {
            return;
        }
        self.next_tick = now + if self.connecting > 0 { CONNECTING_TICK } else { CONNECTED_TICK };
        for index in 0..self.peers.len() {
            if let Some(connection) = &mut self.peers[index].connection {
                connection.timers(now);
                self.after_input(index);
            }
        }
    }

    fn signals(&mut self, index: usize) {
        loop {
            let Some(signalling) = &mut self.peers[index].signalling else { return };
            match signalling.read() {
                Read::Nothing => return,
                Read::Ended(reason) => {
                    self.peers[index].signalling = None;
                    self.events.push_back((index, Event::Closed(format!("signalling: {reason}"))));
                }
                Read::Message(message) => {
                    if let ServerMessage::Offer { sdp } = &message
                        && let Err(error) = self.answer(index, sdp.clone())
                    {
                        self.events.push_back((index, Event::Closed(error.to_string())));
                    }
                    self.events.push_back((index, Event::Signal(message)));
                }
            }
        }
    }

    fn answer(&mut self, index: usize, offer: String) -> Result<(), Error> {
        let media = self.options.media;
        let peer = &mut self.peers[index];
        let (connection, sdp) =
            Connection::answer(Instant::now(), offer, peer.local, &self.certificate, media)?;
        peer.connection = Some(connection);
        self.tell(index, &ClientMessage::Answer { sdp })?;
        self.after_input(index);
        Ok(())
    }

    /// Sends a signalling message of a peer.
    ///
    /// # Errors
    /// When its WebSocket has ended.
    pub fn tell(&mut self, index: usize, message: &ClientMessage) -> Result<(), Error> {
        match &mut self.peers[index].signalling {
            Some(signalling) => signalling.send(message),
            None => Err(Error::Signalling("it has ended".into())),
        }
    }

    /// Sends a text on a data channel of a peer. False when it is not open.
    pub fn send_text(&mut self, index: usize, channel: Channel, text: &str) -> bool {
        let connection = self.peers[index].connection.as_mut();
        let sent = connection.is_some_and(|connection| connection.send_text(Instant::now(), channel, text));
        self.after_input(index);
        sent
    }

    /// Ends all peers in good order.
    pub fn leave(&mut self) {
        for index in 0..self.peers.len() {
            // A WebSocket that has ended needs no goodbye.
            let _ = self.tell(index, &ClientMessage::Bye);
            if let Some(connection) = &mut self.peers[index].connection {
                connection.close();
                self.transmit(index);
            }
        }
        self.peers.clear();
        self.events.clear();
    }

    fn datagrams(&mut self, index: usize) {
        let headers_only = self.options.media == Media::Headers;
        let mut for_rtc = false;
        loop {
            let peer = &mut self.peers[index];
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = self.buffer.chunks_mut(DATAGRAM_BYTES);
            // The buffer has BATCH_SIZE chunks.
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let Ok(count) = peer.state.recv((&peer.socket).into(), &mut slices, &mut metas) else { break };
            let now = Instant::now();
            for (meta, slice) in metas[..count].iter().zip(&slices) {
                for data in slice[..meta.len].chunks(meta.stride.max(1)) {
                    if let Some(arrival) = arrival(data, meta.timestamp) {
                        self.events.push_back((index, Event::Rtp(arrival)));
                        if headers_only {
                            continue;
                        }
                    }
                    if let Some(connection) = &mut peer.connection {
                        connection.receive(now, peer.local, meta.addr, data);
                        for_rtc = true;
                    }
                }
            }
            if count < BATCH_SIZE {
                break;
            }
        }
        if for_rtc {
            self.after_input(index);
        }
    }

    fn after_input(&mut self, index: usize) {
        let Some(connection) = &mut self.peers[index].connection else { return };
        let (events, connecting) = (&mut self.events, &mut self.connecting);
        connection.poll(|event| {
            *connecting -= usize::from(event == Event::Connected);
            events.push_back((index, event));
        });
        self.transmit(index);
    }

    fn transmit(&mut self, index: usize) {
        let Peer { connection: Some(connection), socket, state, .. } = &mut self.peers[index] else { return };
        while let Some((destination, data)) = connection.transmit() {
            let transmit =
                Transmit { destination, ecn: None, contents: &data, segment_size: None, src_ip: None };
            // As lossy as the network.
            let _ = state.try_send((&*socket).into(), &transmit);
        }
    }
}

/// Switches off what `quinn_udp` has switched on.
fn without_coalescing(socket: &UdpSocket) -> std::io::Result<()> {
    let off: libc::c_int = 0;
    let len = size_of_val(&off) as libc::socklen_t;
    // SAFETY: the option is an int, of which the kernel reads `len` bytes during the call; the descriptor is open.
    let code = unsafe {
        libc::setsockopt(socket.as_raw_fd(), libc::SOL_UDP, libc::UDP_GRO, (&raw const off).cast(), len)
    };
    if code == 0 { Ok(()) } else { Err(std::io::Error::last_os_error()) }
}

/// The header of an RTP packet; `None` for everything else on the same port (RFC 7983, RFC 5761 §4).
pub fn arrival(data: &[u8], kernel_time: Option<Duration>) -> Option<Arrival> {
    let header: &[u8; 12] = data.first_chunk()?;
    if header[0] >> 6 != 2 || (64..96).contains(&(header[1] & 0x7f)) {
        return None;
    }
    let word = |at: usize| u32::from_be_bytes([header[at], header[at + 1], header[at + 2], header[at + 3]]);
    let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Some(Arrival {
        ssrc: word(8),
        payload_type: header[1] & 0x7f,
        sequence: u16::from_be_bytes([header[2], header[3]]),
        rtp_time: word(4),
        marker: header[1] & 0x80 != 0,
        len_bytes: data.len(),
        at: kernel_time.unwrap_or_else(now),
    })
}
