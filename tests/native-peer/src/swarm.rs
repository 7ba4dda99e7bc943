//! Peers on one thread: their sockets in one epoll, their events in one queue.

use std::collections::VecDeque;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use common::person::Rights;
use common::signal::{Capabilities, ClientMessage, Role, ServerMessage};
use rustix::event::Timespec;
use rustix::event::epoll;

use crate::signalling::{Read, Signalling};
use crate::stack::{BUFFER_BYTES, Endpoint, Endpoints, Purpose, Stack};
use crate::{Channel, Error, Event, Media, Outgoing, Said};

/// Timers of peers that connect, and of those that are connected, are looked at this often.
const CONNECTING_TICK: Duration = Duration::from_millis(5);
const CONNECTED_TICK: Duration = Duration::from_millis(50);

/// Which of a peer's two descriptors is ready, in the epoll.
const SIGNALLING: u64 = 0;
const ENDPOINT: u64 = 1;

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
    endpoint: Box<dyn Endpoint>,
    /// Of its welcome.
    resume: Option<String>,
}

/// Any number of peers, driven by [`Swarm::next`].
pub struct Swarm {
    options: Options,
    capabilities: Capabilities,
    /// What they ask for at most; `None`: all that they may have.
    rights: Option<Rights>,
    /// How sound is to come to them; `None`: they do not say it.
    audio: Option<String>,
    /// They want to be told where the others point.
    pointers: bool,
    epoll: OwnedFd,
    peers: Vec<Peer>,
    endpoints: Endpoints,
    events: VecDeque<(usize, Event)>,
    buffer: Box<[u8]>,
    ready: Vec<epoll::Event>,
    next_tick: Instant,
    connecting: usize,
}

impl Swarm {
    /// Without any peers yet; they will be on [`Stack::Rtc`].
    ///
    /// # Errors
    /// When there is no randomness or no descriptor left.
    pub fn new(options: Options) -> Result<Self, Error> {
        Self::on(Stack::Rtc, options)
    }

    /// The same, on a stack of choice.
    ///
    /// # Errors
    /// When there is no randomness, descriptor or thread left.
    pub fn on(stack: Stack, options: Options) -> Result<Self, Error> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| Error::Io("epoll", e.into()))?;
        Ok(Self {
            endpoints: Endpoints::new(stack, options.media)?,
            options,
            capabilities: Capabilities::default(),
            rights: None,
            audio: None,
            pointers: false,
            epoll,
            peers: Vec::new(),
            events: VecDeque::new(),
            buffer: vec![0; BUFFER_BYTES].into_boxed_slice(),
            ready: Vec::with_capacity(256),
            next_tick: Instant::now(),
            connecting: 0,
        })
    }

    /// What peers that join from now on say that they can do.
    pub fn set_capabilities(&mut self, capabilities: Capabilities) {
        self.capabilities = capabilities;
    }

    /// Peers that join from now on ask for no more than these rights.
    pub fn set_rights(&mut self, rights: Rights) {
        self.rights = Some(rights);
    }

    /// How sound is to come to peers that join from now on: `mix`, or `tracks`.
    pub fn set_audio(&mut self, audio: &str) {
        self.audio = Some(audio.to_owned());
    }

    /// Peers that join from now on are told where the others point, or not.
    pub fn set_pointers(&mut self, wanted: bool) {
        self.pointers = wanted;
    }

    /// One more peer begins to join; returns its index. [`Event::Connected`] tells when it has.
    ///
    /// # Errors
    /// When the web-server refuses the WebSocket.
    pub fn join(&mut self) -> Result<usize, Error> {
        let endpoint = self.endpoints.open(Purpose::Viewer)?;
        let signalling = self.signal(None)?;
        let index = self.peers.len();
        self.watch(signalling.fd(), index, SIGNALLING)?;
        self.watch(endpoint.fd(), index, ENDPOINT)?;
        self.peers.push(Peer { signalling: Some(signalling), endpoint, resume: None });
        self.connecting += 1;
        Ok(index)
    }

    /// Peers that join from now on connect from this address of the machine.
    pub fn connect_from(&mut self, address: IpAddr) {
        self.endpoints.connect_from(address);
    }

    /// An endpoint of another server's connection, to be negotiated by the caller and given to [`Swarm::adopt`] then.
    ///
    /// # Errors
    /// The stack or the system refuses.
    pub fn open(&self, purpose: Purpose) -> Result<Box<dyn Endpoint>, Error> {
        self.endpoints.open(purpose)
    }

    /// A peer without signalling of ours; returns its index.
    ///
    /// # Errors
    /// When the system refuses to watch it.
    pub fn adopt(&mut self, endpoint: Box<dyn Endpoint>) -> Result<usize, Error> {
        let index = self.peers.len();
        self.watch(endpoint.fd(), index, ENDPOINT)?;
        self.peers.push(Peer { signalling: None, endpoint, resume: None });
        self.connecting += 1;
        Ok(index)
    }

    /// A peer loses its WebSocket, and opens another one to go on as the same peer. A [`ServerMessage::Welcome`] tells whether
    /// it may.
    ///
    /// # Errors
    /// When the web-server refuses the WebSocket, or the peer has never been welcome.
    pub fn reconnect(&mut self, index: usize) -> Result<(), Error> {
        let never = || Error::Signalling("there is no peer to go on as".into());
        let resume = self.peers[index].resume.clone().ok_or_else(never)?;
        // Closing it takes it out of the epoll as well.
        self.peers[index].signalling = None;
        let signalling = self.signal(Some(resume))?;
        self.watch(signalling.fd(), index, SIGNALLING)?;
        self.peers[index].signalling = Some(signalling);
        Ok(())
    }

    fn signal(&self, resume: Option<String>) -> Result<Signalling, Error> {
        let Options { server, streamer, role, .. } = &self.options;
        let capabilities = self.capabilities.clone();
        let hello = ClientMessage::Hello {
            token: None,
            resume,
            role: Some(*role),
            rights: self.rights.clone(),
            display_name: None,
            max_bitrate_kbps: None,
            audio: self.audio.clone(),
            pointers: self.pointers,
            capabilities,
        };
        Signalling::connect(*server, streamer, &hello)
    }

    fn watch(&self, fd: BorrowedFd<'_>, index: usize, kind: u64) -> Result<(), Error> {
        let data = epoll::EventData::new_u64(index as u64 * 2 + kind);
        epoll::add(&self.epoll, fd, data, epoll::EventFlags::IN).map_err(|e| Error::Io("epoll", e.into()))
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
                if data % 2 == SIGNALLING { self.signals(index) } else { self.take(index) }
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
        for (index, peer) in self.peers.iter_mut().enumerate() {
            peer.endpoint.timers(now, &mut happened(&mut self.events, &mut self.connecting, index));
        }
    }

    fn take(&mut self, index: usize) {
        let mut each = happened(&mut self.events, &mut self.connecting, index);
        self.peers[index].endpoint.take(&mut self.buffer, &mut each);
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
                    if let ServerMessage::Welcome { resume_token, .. } = &message {
                        self.peers[index].resume = Some(resume_token.clone());
                    }
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
        let sdp = self.peers[index].endpoint.answer(offer)?;
        self.tell(index, &ClientMessage::Answer { sdp })
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
        self.peers[index].endpoint.send_text(channel, text)
    }

    /// Sends RTP packets of a peer, whatever was negotiated.
    pub fn send_rtp(&mut self, index: usize, packets: &[Outgoing]) {
        for packet in packets {
            self.peers[index].endpoint.send_rtp(packet);
        }
    }

    /// A peer says something by RTCP of a stream that it receives.
    pub fn say(&mut self, index: usize, ssrc: u32, said: &[Said]) {
        self.peers[index].endpoint.say(ssrc, said);
    }

    /// A peer leaves in good order. Its events go on until the streamer has let it go.
    pub fn bye(&mut self, index: usize) {
        // A WebSocket that has ended needs no goodbye.
        let _ = self.tell(index, &ClientMessage::Bye);
    }

    /// Ends all peers in good order.
    pub fn leave(&mut self) {
        for index in 0..self.peers.len() {
            // A WebSocket that has ended needs no goodbye.
            let _ = self.tell(index, &ClientMessage::Bye);
            self.peers[index].endpoint.close();
        }
        self.peers.clear();
        self.events.clear();
    }
}

/// Queues what happens to a peer.
fn happened<'a>(
    events: &'a mut VecDeque<(usize, Event)>,
    connecting: &'a mut usize,
    index: usize,
) -> impl FnMut(Event) + 'a {
    move |event| {
        // A connection that was interrupted has connected twice.
        *connecting = connecting.saturating_sub(usize::from(event == Event::Connected));
        events.push_back((index, event));
    }
}
