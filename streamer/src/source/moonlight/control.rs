//! The thread of the control stream: input to the host, keyframe requests, keep-alives, and the host's messages.
//!
//! ENet carries the messages. There is one connection with many channels, and one counter with which all messages are
//! sealed, so there can only be one thread.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::io;
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsFd as _;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use gamestream::control::{CHANNELS, GENERIC, HostMessage, Message, Opener, Sealer, URGENT};
use gamestream::input::Input;
use rusty_enet::{Event as Enet, EventNoRef, Host, HostSettings, MTU_MAX, Packet, PacketReceived, Socket};

use super::session::HostSession;
use super::sink::{Pressed, Steering};
use super::video::is_nothing;
use super::{End, Life, Shared};
use crate::feed::Demand;
use crate::feed::keyframe::KeyframeRequests;
use crate::input::Motors;
use crate::source::{Event, Events};
use crate::wake::wait_readable;

/// Interval of keep-alives: hosts give up clients that send nothing for 10 s.
const PING: Duration = Duration::from_millis(100);
/// Interval at which ENet runs its timers, to resend unacknowledged packets.
const SERVICE: Duration = Duration::from_millis(25);
/// Timeout of connecting, and of acknowledgements.
const PATIENCE: Duration = Duration::from_secs(10);
/// A host acknowledges every ping. If it has sent nothing for this long, it has not closed the stream on purpose.
const SILENT: Duration = Duration::from_secs(3);
/// What hosts and their networks take.
const MTU: u16 = 900;
/// Most inputs sent before anything else is handled.
const PER_TURN: usize = 256;

/// Keyframe requests of the thread that receives video.
#[derive(Debug, Default)]
pub struct Wishes {
    idr: AtomicBool,
    keyframes: AtomicU64,
}

impl Wishes {
    /// Requests an IDR frame, as frames were lost. True when none was requested before.
    pub fn want(&self) -> bool {
        !self.idr.swap(true, Ordering::AcqRel)
    }

    /// Notes that an IDR frame has arrived.
    pub fn keyframe_came(&self) {
        self.idr.store(false, Ordering::Release);
        self.keyframes.fetch_add(1, Ordering::AcqRel);
    }
}

/// A socket that receives from the host only.
struct Connected {
    socket: UdpSocket,
    host: SocketAddr,
    /// When its last message arrived.
    heard: Instant,
}

impl Socket for Connected {
    type Address = SocketAddr;
    type Error = std::io::Error;

    fn send(&mut self, _: SocketAddr, buffer: &[u8]) -> std::io::Result<usize> {
        match self.socket.send(buffer) {
            Err(error) if is_nothing(error.kind()) => Ok(0),
            sent => sent,
        }
    }

    fn receive(
        &mut self,
        buffer: &mut [u8; MTU_MAX],
    ) -> std::io::Result<Option<(SocketAddr, PacketReceived)>> {
        match self.socket.recv(buffer) {
            Ok(len) => {
                self.heard = Instant::now();
                Ok(Some((self.host, PacketReceived::Complete(len))))
            }
            Err(error) if is_nothing(error.kind()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// What the thread shares with others.
#[derive(Clone, Copy)]
pub struct Around<'a> {
    /// The input of viewers, with its receiving end.
    pub steering: &'a Steering,
    /// Demand of viewers.
    pub demand: &'a Demand,
    /// Key and parameters of this session.
    pub life: &'a Life,
    /// Keyframe requests of the thread that receives video.
    pub wishes: &'a Wishes,
    /// The status that is shown.
    pub shared: &'a Shared,
    /// Sends events to the control loop.
    pub events: &'a Events,
}

/// Works until the session is over.
pub fn run(session: &HostSession, inputs: &mut Receiver<Input>, around: Around<'_>) {
    let end = match Thread::new(session, inputs, around) {
        Ok(mut thread) => thread.run(),
        Err(reason) => End::Lost(reason),
    };
    around.steering.disconnected();
    around.life.end(end);
}

struct Thread<'a> {
    inputs: &'a mut Receiver<Input>,
    around: Around<'a>,
    /// The same socket, for polling.
    socket: UdpSocket,
    enet: Host<Connected>,
    peer: rusty_enet::PeerID,
    sealer: Sealer,
    opener: Opener,
    began: Instant,
    connected: bool,
    next_ping: Instant,
    requests: KeyframeRequests,
    keyframes: u64,
    pressed: Pressed,
    /// Whether the host accepts touches.
    touch: bool,
}

impl<'a> Thread<'a> {
    fn new(
        session: &'a HostSession,
        inputs: &'a mut Receiver<Input>,
        around: Around<'a>,
    ) -> Result<Self, String> {
        let failed = |error: &dyn std::fmt::Display| format!("the control stream: {error}");
        let host = session.control;
        let any = if host.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let socket = UdpSocket::bind(any).map_err(|e| failed(&e))?;
        socket.connect(host).map_err(|e| failed(&e))?;
        socket.set_nonblocking(true).map_err(|e| failed(&e))?;
        let waiting = socket.try_clone().map_err(|e| failed(&e))?;
        let began = Instant::now();
        let settings = HostSettings {
            peer_limit: 1,
            channel_limit: CHANNELS,
            // Its own clock may be set.
            time: Box::new(move || began.elapsed()),
            ..HostSettings::default()
        };
        let mut enet =
            Host::new(Connected { socket, host, heard: began }, settings).map_err(|e| failed(&e))?;
        enet.set_mtu(MTU).map_err(|e| failed(&e))?;
        let peer = enet.connect(host, CHANNELS, session.connect_data).map_err(|e| failed(&e))?;
        let patience = PATIENCE.as_millis() as u32;
        peer.set_timeout(2, patience, patience);
        let peer = peer.id();
        let version = session.encryption.control;
        Ok(Self {
            inputs,
            around,
            socket: waiting,
            enet,
            peer,
            sealer: Sealer::new(session.crypto.clone(), version),
            opener: Opener::new(session.crypto.clone(), version),
            began,
            connected: false,
            next_ping: began,
            requests: KeyframeRequests::default(),
            keyframes: 0,
            pressed: Pressed::default(),
            touch: session.touch,
        })
    }

    fn run(&mut self) -> End {
        while !self.around.life.is_over() {
            if let Some(end) = self.service() {
                return end;
            }
            let now = Instant::now();
            if self.connected {
                self.send_inputs();
                self.ask_keyframe(now);
                if now >= self.next_ping {
                    self.next_ping = now + PING;
                    self.send(GENERIC, &Message::Ping);
                    self.report();
                }
            } else if now > self.began + PATIENCE {
                return End::Lost("the host's control stream does not answer".into());
            }
            self.enet.flush();
            if let Err(error) = self.sleep() {
                return End::Lost(format!("waiting for the control stream: {error}"));
            }
        }
        self.enet.peer_mut(self.peer).disconnect_now(0);
        End::Stopped
    }

    /// Runs ENet, and handles the host's messages.
    fn service(&mut self) -> Option<End> {
        let mut gone = false;
        loop {
            let event = match self.enet.service() {
                Ok(event) => event.map(Enet::no_ref),
                Err(error) => return Some(End::Lost(format!("the control stream: {error}"))),
            };
            match event {
                Some(EventNoRef::Connect { .. }) => self.greet(),
                // The reason may follow in the queue.
                Some(EventNoRef::Disconnect { .. }) => gone = true,
                Some(EventNoRef::Receive { packet, .. }) => {
                    if let Some(end) = self.heard(packet.data()) {
                        return Some(end);
                    }
                }
                // ENet reports the same when it gives up a silent host.
                None if gone && self.enet.socket().heard.elapsed() > SILENT => {
                    return Some(End::Lost("the host does not answer any more".into()));
                }
                None if gone => return Some(End::Closed("the host has closed the stream".into())),
                None => return None,
            }
        }
    }

    fn greet(&mut self) {
        self.connected = true;
        self.around.steering.connected(self.touch);
        self.send(URGENT, &Message::RequestIdr);
        self.send(URGENT, &Message::Start);
        let rumble = Input::EnableRumble.encode();
        self.send(rumble.channel, &Message::Input(&rumble.payload));
    }

    fn heard(&mut self, sealed: &[u8]) -> Option<End> {
        match self.opener.open(sealed) {
            Ok(HostMessage::Terminated(why)) => {
                let code = format!("0x{:08x}", why.0);
                self.around.shared.stream(|stream| stream.termination = Some(code));
                let reason = why.to_string();
                // A host that is being stopped sends the same code as one whose app has ended.
                return Some(if why.is_graceful() { End::Closed(reason) } else { End::Lost(reason) });
            }
            Ok(HostMessage::Rumble { pad, low, high }) => {
                let part = |motor: u16| f32::from(motor) / f32::from(u16::MAX);
                let motors = Motors { strong: part(low), weak: part(high) };
                // If there is no room for it, another one follows.
                let _ = self.around.events.try_send(Event::Rumble(pad.try_into().unwrap_or(u8::MAX), motors));
            }
            Ok(other) => tracing::trace!(?other, "the host says"),
            Err(error) => tracing::debug!(%error, "a message of the host"),
        }
        None
    }

    fn send_inputs(&mut self) {
        for _ in 0..PER_TURN {
            let Ok(input) = self.inputs.try_recv() else { break };
            self.input(input);
        }
        if self.around.steering.take_overflow() {
            // Something was dropped, perhaps a release: everything is released.
            for release in self.pressed.take() {
                self.input(release);
            }
        }
    }

    fn input(&mut self, input: Input) {
        self.pressed.see(&input);
        let encoded = input.encode();
        self.send(encoded.channel, &Message::Input(&encoded.payload));
    }

    /// Requests an IDR frame from the host when viewers want one or frames were lost, but not too often.
    fn ask_keyframe(&mut self, now: Instant) {
        let keyframes = self.around.wishes.keyframes.load(Ordering::Acquire);
        if std::mem::replace(&mut self.keyframes, keyframes) != keyframes {
            self.requests.made(now);
        }
        let wanted =
            self.around.demand.take_keyframe() | self.around.wishes.idr.swap(false, Ordering::AcqRel);
        if (wanted && self.requests.request(now)) || self.requests.due(now) {
            self.around.shared.stream(|stream| stream.keyframe_requests += 1);
            self.send(URGENT, &Message::RequestIdr);
        }
    }

    fn send(&mut self, channel: u8, message: &Message<'_>) {
        let sealed = self.sealer.seal(message);
        // A connection that is stuck ends by itself.
        let _ = self.enet.peer_mut(self.peer).send(channel, &Packet::reliable(sealed));
    }

    fn report(&self) {
        let peer = self.enet.peer(self.peer);
        // ENet starts with a guess of 500 ms; the variance is set by the first measurement.
        let known = !peer.round_trip_time_variance().is_zero();
        let round_trip = known.then(|| peer.round_trip_time().as_secs_f64() * 1000.0);
        self.around.shared.stream(|stream| stream.round_trip_ms = round_trip);
    }

    /// Waits until there is something to do.
    fn sleep(&self) -> io::Result<()> {
        let ping = self.connected.then_some(self.next_ping);
        let service = Instant::now() + SERVICE;
        let until = [ping, self.requests.deadline()].into_iter().flatten().fold(service, Instant::min);
        let wakes = [self.around.steering.wake_fd(), self.around.demand.wake_fd()];
        wait_readable([self.socket.as_fd()].into_iter().chain(wakes), Some(until))?;
        self.around.steering.reset_wake();
        self.around.demand.reset_wake();
        Ok(())
    }
}
