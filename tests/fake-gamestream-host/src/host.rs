//! The host: its ports, its threads, and the one state that they share.

use std::collections::{HashMap, VecDeque};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::Context as _;
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use serde::Serialize;
use serde_json::Value;

use crate::identity::{Client, Identity};
use crate::pairing::Pairing;
use crate::scenario::{Certificate, Scenario};
use crate::session::{Launch, Session};
use crate::{api, control, rtsp, web};

/// How often threads look whether they should end.
pub const LOOK: Duration = Duration::from_millis(100);
/// A launch waits so long for RTSP, a session for pings and for control messages.
pub const PATIENCE: Duration = Duration::from_secs(10);
/// How long `getservercert` waits for the PIN.
pub const PIN_PATIENCE: Duration = Duration::from_secs(120);
/// Complaints and inputs that are kept; further ones are only counted.
const MAX_RECORD: usize = 100_000;
/// Frames whose times are kept: some minutes.
const MAX_SENT: usize = 20_000;

/// How to start a host.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// Ports are at the usual distances from this one; free ones if absent.
    pub base_port: Option<u16>,
    /// Typed as soon as a client asks to pair.
    pub pin: Option<String>,
    /// How it behaves.
    pub scenario: Scenario,
}

/// Where it listens, all on 127.0.0.1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Ports {
    /// GameStream's HTTP.
    pub http_port: u16,
    /// GameStream's HTTPS.
    pub https_port: u16,
    /// RTSP.
    pub rtsp_port: u16,
    /// Video.
    pub video_port: u16,
    /// Control.
    pub control_port: u16,
    /// Sound.
    pub audio_port: u16,
    /// The control interface of this program.
    pub api_port: u16,
}

/// What has happened so far.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Counters {
    /// Sessions that have begun.
    pub sessions: u64,
    /// Frames sent.
    pub frames: u64,
    /// Keyframes among them.
    pub keyframes: u64,
    /// Bytes of H.264.
    pub frame_bytes: u64,
    /// Number in the code of the newest frame.
    pub newest_frame: u32,
    /// Packets of video, parity included, before losses.
    pub video_packets: u64,
    /// Data packets of video that were lost on the way.
    pub video_data_lost: u64,
    /// Parity packets of video that were.
    pub video_parity_lost: u64,
    /// Blocks of video.
    pub video_blocks: u64,
    /// Blocks that can not be recovered: more was lost than there was parity.
    pub video_blocks_lost: u64,
    /// Frames of which a block can not be recovered.
    pub frames_lost: u64,
    /// Lies sent.
    pub lies: u64,
    /// Packets of sound, parity included, before losses.
    pub audio_packets: u64,
    /// Packets of sound that were lost on the way.
    pub audio_lost: u64,
    /// Requests for a keyframe, without the one that begins a session.
    pub keyframe_requests: u64,
    /// Control messages that were understood.
    pub control_messages: u64,
    /// Control messages that were not, for whatever reason.
    pub control_refused: u64,
    /// Pings for video and sound.
    pub pings: u64,
    /// Requests by HTTP and HTTPS.
    pub requests: u64,
}

/// What all threads share.
#[derive(Default)]
pub struct State {
    /// How the host behaves.
    pub scenario: Scenario,
    /// Paired clients.
    pub clients: Vec<Client>,
    /// Who is about to pair, by `uniqueid`.
    pub pairings: HashMap<String, Pairing>,
    /// The PIN that somebody has typed.
    pub pin: Option<String>,
    /// Somebody waits for a PIN.
    pub pin_wanted: bool,
    /// `OutOfOrderOnce` has been played.
    pub out_of_order: bool,
    /// What runs.
    pub app: Option<u32>,
    /// Connections that the app has inherited.
    pub app_sockets: Vec<TcpStream>,
    /// An app is being launched.
    pub launching: bool,
    /// RTSP may come for this.
    pub launch: Option<Launch>,
    /// What is streamed.
    pub session: Option<Arc<Session>>,
    /// The host is not there until then.
    pub down_until: Option<Instant>,
    /// Control messages to send, with their type.
    pub to_send: Vec<Outgoing>,
    /// Input that came, oldest first.
    pub inputs: Vec<Value>,
    /// When the newest frames were sent, oldest first.
    pub sent: VecDeque<Sent>,
    /// What a client did that the protocol does not allow.
    pub complaints: Vec<String>,
    /// What has happened.
    pub counters: Counters,
}

/// A frame that was sent whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Sent {
    /// Its number in its session.
    pub frame: u32,
    /// When its last data packet was given to the system, microseconds since 1970; parity may have followed.
    pub at_us: u64,
}

/// What the control thread is to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outgoing {
    /// A message, encrypted as agreed.
    Message {
        /// Its type.
        kind: u16,
        /// What follows type and length.
        payload: Vec<u8>,
    },
    /// Bytes as they are.
    Raw(Vec<u8>),
    /// ENet's disconnect.
    Disconnect,
    /// The host ends in good order, saying so, and begins again after this.
    Shutdown(Duration),
}

/// The host as its threads see it.
pub struct Shared {
    state: Mutex<State>,
    changed: Condvar,
    stop: AtomicBool,
    /// Typed for everybody who pairs.
    pub pin: Option<String>,
    /// Where it listens.
    pub ports: Ports,
    /// Certificates, first and second.
    pub identities: [Arc<Identity>; 2],
    /// The port of video.
    pub video: UdpSocket,
    /// The port of sound.
    pub audio: UdpSocket,
}

impl Shared {
    /// The state, for a moment: nobody blocks with it.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with the state")
    }

    /// The host is to end.
    pub fn is_stopped(&self) -> bool {
        self.stop.load(Ordering::Relaxed)
    }

    /// The host plays dead, as while it restarts.
    pub fn is_down(&self) -> bool {
        self.state().down_until.is_some_and(|until| Instant::now() < until)
    }

    /// Somebody waits in [`Shared::wait`] for what has changed.
    pub fn notify(&self) {
        self.changed.notify_all();
    }

    /// Waits until `look` gives something; `None` when it has not within `patience` or the host ends.
    pub fn wait<T>(&self, patience: Duration, mut look: impl FnMut(&mut State) -> Option<T>) -> Option<T> {
        let deadline = Instant::now() + patience;
        let mut state = self.state();
        loop {
            if let Some(found) = look(&mut state) {
                return Some(found);
            }
            if self.is_stopped() || Instant::now() >= deadline {
                return None;
            }
            state = self.changed.wait_timeout(state, LOOK).expect("no thread panics with the state").0;
        }
    }

    /// The certificate of now.
    pub fn identity(&self) -> Arc<Identity> {
        let which = self.state().scenario.certificate;
        self.identities[usize::from(which == Certificate::Second)].clone()
    }
}

impl State {
    /// The client has done what the protocol does not allow.
    pub fn complain(&mut self, complaint: impl Into<String>) {
        if self.complaints.len() < MAX_RECORD {
            self.complaints.push(complaint.into());
        }
    }

    /// Input has come.
    pub fn record(&mut self, input: Value) {
        if self.inputs.len() < MAX_RECORD {
            self.inputs.push(input);
        }
    }

    /// A frame was sent.
    pub fn sent(&mut self, sent: Sent) {
        if self.sent.len() >= MAX_SENT {
            self.sent.pop_front();
        }
        self.sent.push_back(sent);
    }

    /// Ends the session, if there is one; the app goes on.
    pub fn end_session(&mut self) {
        if let Some(session) = self.session.take() {
            session.end();
        }
    }

    /// The app ends.
    pub fn end_app(&mut self) {
        self.app = None;
        self.app_sockets.clear();
    }

    /// As if the host's program had ended and begun again: clients stay paired, all else is gone.
    pub fn restart(&mut self, down: Duration) {
        self.end_session();
        self.end_app();
        self.launch = None;
        self.pairings.clear();
        self.down_until = Some(Instant::now() + down);
    }
}

/// A running host. It ends when dropped.
pub struct Host {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

impl Host {
    /// Starts it on the loopback interface.
    ///
    /// # Errors
    /// When a port is not free.
    pub fn start(options: Options) -> anyhow::Result<Self> {
        let port = |distance: i32| match options.base_port {
            None => Ok(0),
            Some(base) => {
                u16::try_from(i32::from(base) + distance).context("the base port is too low or too high")
            }
        };
        let tcp = |port: u16| {
            let listener =
                TcpListener::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("TCP {port}"))?;
            set_socket_timeout(&listener, Timeout::Recv, Some(LOOK))?;
            anyhow::Ok((listener.local_addr()?.port(), listener))
        };
        let udp = |port: u16| {
            let socket =
                UdpSocket::bind((Ipv4Addr::LOCALHOST, port)).with_context(|| format!("UDP {port}"))?;
            anyhow::Ok((socket.local_addr()?.port(), socket))
        };
        let (https_port, https) = tcp(port(-5)?)?;
        let (http_port, http) = tcp(port(0)?)?;
        let (rtsp_port, rtsp) = tcp(port(21)?)?;
        let (api_port, api) = tcp(port(1)?)?;
        let (video_port, video) = udp(port(9)?)?;
        let (control_port, control) = udp(port(10)?)?;
        let (audio_port, audio) = udp(port(11)?)?;
        for socket in [&video, &audio] {
            socket.set_nonblocking(true)?;
        }
        let ports =
            Ports { http_port, https_port, rtsp_port, video_port, control_port, audio_port, api_port };
        let identities =
            [Certificate::First, Certificate::Second].map(|which| Arc::new(Identity::load(which)));
        let tls = web::Tls::new(&identities)?;
        let state = State { scenario: options.scenario, ..State::default() };
        let shared = Arc::new(Shared {
            state: Mutex::new(state),
            changed: Condvar::new(),
            stop: AtomicBool::new(false),
            pin: options.pin,
            ports,
            identities,
            video,
            audio,
        });
        let mut host = Self { shared, threads: Vec::new() };
        host.accept("http", http, web::serve);
        host.accept("https", https, move |shared, stream| tls.serve(shared, stream));
        host.accept("rtsp", rtsp, rtsp::serve);
        host.accept("api", api, api::serve);
        host.spawn("control", move |shared| control::run(shared, control));
        Ok(host)
    }

    /// Where it listens.
    pub fn ports(&self) -> Ports {
        self.shared.ports
    }

    /// What its threads see.
    pub fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// A thread for each connection: there are few.
    fn accept(
        &mut self,
        name: &'static str,
        listener: TcpListener,
        serve: impl Fn(&Arc<Shared>, TcpStream) + Send + Sync + 'static,
    ) {
        let serve = Arc::new(serve);
        self.spawn(name, move |shared| {
            while !shared.is_stopped() {
                let Ok((stream, _)) = listener.accept() else { continue };
                if name != "api" && shared.is_down() {
                    continue;
                }
                let _ = stream.set_nodelay(true);
                let _ = stream.set_read_timeout(Some(PATIENCE));
                let shared = shared.clone();
                let serve = serve.clone();
                std::thread::spawn(move || serve(&shared, stream));
            }
        });
    }

    fn spawn(&mut self, name: &str, run: impl FnOnce(&Arc<Shared>) + Send + 'static) {
        let shared = self.shared.clone();
        let thread = std::thread::Builder::new().name(name.to_owned()).spawn(move || run(&shared));
        self.threads.push(thread.expect("a thread can be started"));
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        self.shared.state().end_session();
        self.shared.notify();
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Waits for a client's ping on a port of video or sound; gives where it came from.
pub fn await_ping(shared: &Shared, session: &Session, socket: &UdpSocket) -> Option<SocketAddr> {
    let deadline = Instant::now() + PATIENCE;
    while !session.has_ended() && Instant::now() < deadline {
        if let Some(from) = take_pings(shared, session, socket) {
            return Some(from);
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    None
}

/// Reads the pings that have come; gives where the last one of this session came from.
pub fn take_pings(shared: &Shared, session: &Session, socket: &UdpSocket) -> Option<SocketAddr> {
    let mut datagram = [0; 64];
    let mut found = None;
    // Longer ones are cut, and are no pings then either.
    while let Ok((length, from)) = socket.recv_from(&mut datagram) {
        if session.is_ping(&datagram[..length]) {
            shared.state().counters.pings += 1;
            found = Some(from);
        }
    }
    found
}
