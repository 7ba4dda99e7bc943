//! Begins a session with a host: queries what it runs, launches or resumes, RTSP. Blocks, with a deadline.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::time::{Duration, Instant};

use common::ipc::Code;
use common::slots::HostStage;
use common::spec::{AppRef, Colorspace, HostAccess, MoonlightCodec, MoonlightSpec};
use gamestream::crypto;
use gamestream::http::{self, Target};
use gamestream::identity::{Identity, certificate};
use gamestream::reply::{self, App, ServerInfo};
use gamestream::rtsp::{self, Reply, SessionUrl};
use gamestream::sdp::{self, Ask, Codec, Encryption, Offer, Setup};
use gamestream::video::long_header;
use rustls::ClientConfig;

use crate::source::Error;

/// Timeout of a response that a host has ready.
const HTTP_PATIENCE: Duration = Duration::from_secs(5);
/// Timeout of RTSP, including the connection.
const RTSP_PATIENCE: Duration = Duration::from_secs(15);
/// Interval of attempts to connect to a host that does not listen yet.
const RTSP_RETRY: Duration = Duration::from_millis(250);
/// Duration of an audio packet, milliseconds.
const AUDIO_MS: u32 = 10;
/// The host's name in RTSP, which selects sound of 96 kbit/s, as it is sent to each viewer.
const RTSP_HOST: &str = "0.0.0.0";
/// Default ports.
const PORTS: [u16; 3] = [48000, 47998, 47999];
/// Bytes that encryption adds to a video packet.
const VIDEO_PREFIX: u32 = gamestream::video::PREFIX as u32;
/// Size of an audio packet, generously, for buffers.
const AUDIO_PACKET: u32 = 1500;

/// Why a session could not begin.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The host does not answer, or another one does.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// Its response is invalid.
    #[error(transparent)]
    Reply(#[from] reply::Error),
    /// We are not paired (any more).
    #[error("the host does not know this server: pair with it again")]
    NotPaired,
    /// It runs another app.
    #[error("the host is busy: {0}")]
    Busy(String),
    /// It has no such app.
    #[error("the host has no app {0}")]
    NoApp(AppRef),
    /// It does not support the codec.
    #[error("the host does not encode {0}")]
    NoCodec(MoonlightCodec),
    /// Its app was quit while we were away.
    #[error("the app was ended on the host")]
    Quit,
    /// RTSP failed.
    #[error(transparent)]
    Rtsp(#[from] rtsp::Error),
    /// The deadline has passed.
    #[error("the host has not answered in time to {0}")]
    Timeout(&'static str),
    /// A socket or key failed.
    #[error("{what}: {source}")]
    Io {
        /// The operation that failed.
        what: &'static str,
        /// The reason.
        source: io::Error,
    },
    /// It uses another protocol, or our own keys are invalid.
    #[error("{0}")]
    Unusable(String),
}

impl Failure {
    /// Whether a retry may succeed.
    pub fn is_unreachable(&self) -> bool {
        match self {
            Self::Http(error) => error.is_unreachable(),
            other => matches!(other, Self::Timeout(_) | Self::Io { .. }),
        }
    }
}

impl Failure {
    /// The stable code for programs.
    pub fn code(&self) -> Code {
        match self {
            failure if failure.is_unreachable() => Code::HostTimeout,
            Failure::Http(http::Error::CertificateChanged(_)) => Code::HostCertificateChanged,
            Failure::NotPaired => Code::HostNotPaired,
            Failure::Busy(_) => Code::HostBusy,
            Failure::NoApp(_) => Code::AppNotFound,
            Failure::NoCodec(_) => Code::HostCodecUnsupported,
            Failure::Reply(reply::Error::Refused { .. }) | Failure::Rtsp(rtsp::Error::Refused { .. }) => {
                Code::HostRefused
            }
            Failure::Quit => Code::HostAppEnded,
            _ => Code::HostProtocol,
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Error::Host { code: failure.code(), message: failure.to_string() }
    }
}

/// A stream of packets from the host.
pub struct Stream {
    /// Connected to the host's port.
    pub socket: UdpSocket,
    /// Payload of pings.
    pub setup: Setup,
}

/// A session that has begun: the host waits for our pings.
pub struct HostSession {
    /// Key of all encryption.
    pub crypto: crypto::Session,
    /// Which streams are encrypted.
    pub encryption: Encryption,
    /// Packet size of video, as negotiated.
    pub packet_size: usize,
    /// Frame header format of old hosts.
    pub long_header: usize,
    /// Duration of an audio packet, milliseconds.
    pub audio_ms: u32,
    /// The picture.
    pub video: Stream,
    /// The sound.
    pub audio: Stream,
    /// Address of the control stream.
    pub control: SocketAddr,
    /// Data for its connection.
    pub connect_data: u32,
    /// Whether the host accepts touches.
    pub touch: bool,
}

/// Sends a request to the host over TLS.
struct Host<'a> {
    access: &'a HostAccess,
    tls: Arc<ClientConfig>,
    until: Instant,
}

impl HostSession {
    /// Begins a session, and reports its progress. With `may_be_quit` an app that does not run is not launched.
    ///
    /// # Errors
    /// [`Failure`].
    pub fn open(
        spec: &MoonlightSpec,
        access: &HostAccess,
        may_be_quit: bool,
        until: Instant,
        stage: &dyn Fn(HostStage),
    ) -> Result<Self, Failure> {
        stage(HostStage::Asking);
        let unusable = |error: &dyn std::fmt::Display| Failure::Unusable(error.to_string());
        let identity = Identity::from_pem(&access.certificate, &access.key).map_err(|e| unusable(&e))?;
        let pinned = certificate(access.host_certificate.as_bytes()).map_err(|e| unusable(&e))?;
        let tls = identity.tls(pinned).map_err(|e| unusable(&e))?;
        let host = Host { access, tls, until };
        let info = host.info()?;
        let has_codec = match spec.codec {
            MoonlightCodec::H264 => info.codecs.h264(),
            MoonlightCodec::Hevc => info.codecs.hevc(),
            MoonlightCodec::Av1 => info.codecs.av1(),
        };
        if !has_codec {
            return Err(Failure::NoCodec(spec.codec));
        }
        let app = host.app(&spec.app)?;
        let crypto = new_key()?;
        stage(HostStage::Launching);
        let url = host.begin(spec, &info, &app, &crypto, may_be_quit)?;
        let url = SessionUrl::parse(&url)
            .ok_or_else(|| Failure::Unusable(format!("the host's session has a strange URL: {url:?}")))?;
        stage(HostStage::Negotiating);
        Negotiation::new(access, &url, &crypto, until).run(spec, &info, &crypto)
    }
}

fn new_key() -> Result<crypto::Session, Failure> {
    let random = |bytes: &mut [u8]| {
        rustix::rand::getrandom(bytes, rustix::rand::GetRandomFlags::empty())
            .map_err(|error| Failure::Io { what: "getting a random key", source: error.into() })
    };
    let mut key = [0; 16];
    let mut id = [0; 4];
    random(&mut key)?;
    random(&mut id)?;
    Ok(crypto::Session::new(key, i32::from_be_bytes(id)))
}

impl Host<'_> {
    fn ask(&self, command: &str, parameters: &str, patience: Duration) -> Result<String, Failure> {
        let left = self.until.saturating_duration_since(Instant::now());
        let HostAccess { address, https_port, unique_id, .. } = self.access;
        let target = Target { host: address, port: *https_port, tls: Some(&self.tls) };
        let request = uuid::Uuid::new_v4().simple();
        let path = format!("/{command}?uniqueid={unique_id}&uuid={request}{parameters}");
        Ok(http::get(&target, &path, patience.min(left))?.text())
    }

    fn info(&self) -> Result<ServerInfo, Failure> {
        let reply = self.ask("serverinfo", "", HTTP_PATIENCE)?;
        match reply::server_info(&reply) {
            Ok(info) if !info.paired => Err(Failure::NotPaired),
            Ok(info) => Ok(info),
            Err(error) if error.is_unauthorised() => Err(Failure::NotPaired),
            Err(error) => Err(error.into()),
        }
    }

    fn app(&self, wanted: &AppRef) -> Result<App, Failure> {
        let apps = reply::apps(&self.ask("applist", "", HTTP_PATIENCE)?)?;
        let is_it = |app: &App| match wanted {
            AppRef::Id(id) => app.id == *id,
            AppRef::Name(name) => app.name == *name,
        };
        apps.into_iter().find(is_it).ok_or_else(|| Failure::NoApp(wanted.clone()))
    }

    /// The URL of the session.
    fn begin(
        &self,
        spec: &MoonlightSpec,
        info: &ServerInfo,
        app: &App,
        crypto: &crypto::Session,
        may_be_quit: bool,
    ) -> Result<String, Failure> {
        let command = match info.current_app {
            Some(running) if running == app.id => "resume",
            _ if may_be_quit => return Err(Failure::Quit),
            Some(running) => return Err(Failure::Busy(format!("it runs app {running}"))),
            None => "launch",
        };
        let MoonlightSpec { width, height, fps, .. } = spec;
        let parameters = format!(
            "&appid={}&mode={width}x{height}x{fps}&additionalStates=1&sops=0&rikey={}&rikeyid={}\
             &localAudioPlayMode={}&surroundAudioInfo=196610&remoteControllersBitmap=0&gcmap=0&gcpersist=0&corever=1",
            app.id,
            crypto.key_hex(),
            crypto.key_id(),
            u8::from(spec.play_audio_local),
        );
        let reply = self.ask(command, &parameters, Duration::MAX)?;
        match reply::session_url(&reply) {
            Err(reply::Error::Refused { status: 400, message }) if command == "launch" => {
                Err(Failure::Busy(message))
            }
            // It has reached its limit of sessions; one of them may be our previous one.
            Err(reply::Error::Refused { status: 503, message }) => Err(Failure::Busy(message)),
            Err(error) if error.is_unauthorised() => Err(Failure::NotPaired),
            other => Ok(other?),
        }
    }
}

/// RTSP: what is streamed, and where to.
struct Negotiation<'a> {
    host: &'a str,
    url: &'a SessionUrl,
    target: String,
    client: rtsp::Client,
    until: Instant,
    peer: Option<IpAddr>,
}

const SETUP_HEADERS: [(&str, &str); 2] =
    [("Transport", "unicast;X-GS-ClientPort=50000-50001"), ("If-Modified-Since", NEVER)];
const NEVER: &str = "Thu, 01 Jan 1970 00:00:00 GMT";
const CONTROL: &str = "streamid=control/13/0";

impl<'a> Negotiation<'a> {
    fn new(access: &'a HostAccess, url: &'a SessionUrl, crypto: &crypto::Session, until: Instant) -> Self {
        let scheme = if url.encrypted { "rtspenc" } else { "rtsp" };
        let until = until.min(Instant::now() + RTSP_PATIENCE);
        Self {
            host: &access.address,
            url,
            target: format!("{scheme}://{RTSP_HOST}:{}", url.port),
            client: rtsp::Client::new(RTSP_HOST, url.encrypted.then(|| crypto.clone())),
            until,
            peer: None,
        }
    }

    fn run(
        mut self,
        spec: &MoonlightSpec,
        info: &ServerInfo,
        crypto: &crypto::Session,
    ) -> Result<HostSession, Failure> {
        let target = self.target.clone();
        self.ask("OPTIONS", &target, &[], "")?;
        let described = self.ask(
            "DESCRIBE",
            &target,
            &[("Accept", "application/sdp"), ("If-Modified-Since", NEVER)],
            "",
        )?;
        let offer = Offer::parse(&described.body);
        let audio = self.ask("SETUP", "streamid=audio/0/0", &SETUP_HEADERS, "")?;
        let audio = self.stream(Setup::read(&audio, PORTS[0]), AUDIO_PACKET * spec.audio_queue)?;
        // Some hosts wait for one before they continue.
        let _ = audio.socket.send(&audio.setup.ping(1));
        let video = self.ask("SETUP", "streamid=video/0/0", &SETUP_HEADERS, "")?;
        let video = self.stream(Setup::read(&video, PORTS[1]), spec.packet_size * spec.video_queue)?;
        let control = Setup::read(&self.ask("SETUP", CONTROL, &SETUP_HEADERS, "")?, PORTS[2]);
        let peer = self.peer()?;
        let encryption = offer.encryption(!is_near(peer));
        let packet_size = match encryption.video {
            true => spec.packet_size.saturating_sub(VIDEO_PREFIX),
            false => spec.packet_size,
        };
        let ask = ask(spec, packet_size as usize, encryption);
        let body = sdp::announce(&ask, RTSP_HOST, video.setup.port);
        self.ask("ANNOUNCE", CONTROL, &[], &body)?;
        self.ask("PLAY", "/", &[], "")?;
        Ok(HostSession {
            crypto: crypto.clone(),
            encryption,
            packet_size: ask.packet_size,
            long_header: long_header(info.version),
            audio_ms: AUDIO_MS,
            video,
            audio,
            control: SocketAddr::new(peer, control.port),
            connect_data: control.connect_data,
            touch: offer.touch(),
        })
    }

    fn peer(&self) -> Result<IpAddr, Failure> {
        self.peer.ok_or(Failure::Timeout("RTSP"))
    }

    fn stream(&self, setup: Setup, buffer: u32) -> Result<Stream, Failure> {
        let peer = self.peer()?;
        let socket = udp(SocketAddr::new(peer, setup.port), buffer as usize);
        Ok(Stream { socket: socket.map_err(|source| Failure::Io { what: "a UDP socket", source })?, setup })
    }

    /// Sends one request on a connection of its own, as hosts require.
    fn ask(
        &mut self,
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Reply, Failure> {
        let request = self.client.request(method, target, headers, body)?;
        let reply = self.exchange(&request).map_err(|source| match source.kind() {
            io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => Failure::Timeout(method),
            _ => Failure::Io { what: method, source },
        })?;
        Ok(self.client.reply(method, &reply)?)
    }

    fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut connection = loop {
            match http::connect(self.host, self.url.port, self.until) {
                Err(error)
                    if error.kind() == io::ErrorKind::ConnectionRefused && Instant::now() < self.until =>
                {
                    std::thread::sleep(RTSP_RETRY);
                }
                other => break other?,
            }
        };
        self.peer = Some(connection.peer()?.ip());
        connection.write_all(request)?;
        http::read_to_end(&mut connection, rtsp::MAX_REPLY)
    }
}

fn ask(spec: &MoonlightSpec, packet_size: usize, encryption: Encryption) -> Ask {
    let usual = u64::from(spec.width) * u64::from(spec.height) * u64::from(spec.fps) * 17 / 100_000;
    Ask {
        width: spec.width,
        height: spec.height,
        fps: spec.fps,
        bitrate_kbps: spec.bitrate_kbps.unwrap_or(usual.clamp(1000, 50_000) as u32),
        packet_size: packet_size / 16 * 16,
        codec: match spec.codec {
            MoonlightCodec::H264 => Codec::H264,
            MoonlightCodec::Hevc => Codec::Hevc,
            MoonlightCodec::Av1 => Codec::Av1,
        },
        colorspace: match spec.colorspace {
            Colorspace::Rec601 => 0,
            Colorspace::Rec709 => 1,
            Colorspace::Rec2020 => 2,
        },
        full_range: spec.color_range_full,
        audio_ms: AUDIO_MS,
        encryption,
    }
}

/// A socket that receives from this peer only, with a buffer of `buffer` bytes if the system allows it.
fn udp(peer: SocketAddr, buffer: usize) -> io::Result<UdpSocket> {
    let any: IpAddr = match peer {
        SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(peer)?;
    // Beyond the system's limit if permitted; otherwise the system reduces it to its limit.
    if rustix::net::sockopt::set_socket_recv_buffer_size_force(&socket, buffer).is_err() {
        rustix::net::sockopt::set_socket_recv_buffer_size(&socket, buffer)?;
    }
    socket.set_read_timeout(Some(super::LOOK))?;
    Ok(socket)
}

/// Whether the host is on this machine or in its network, where media is encrypted only if the host wants it.
fn is_near(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_loopback() || v4.is_private() || v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_loopback() || v6.is_unique_local() || v6.is_unicast_link_local(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::ipc::ErrorKind;

    #[test]
    fn what_is_near_need_not_be_encrypted() {
        for near in ["127.0.0.1", "192.168.1.2", "10.0.0.1", "169.254.1.1", "::1", "fd00::1", "fe80::1"] {
            assert!(is_near(near.parse().unwrap()), "{near}");
        }
        for far in ["8.8.8.8", "2001:db8::1"] {
            assert!(!is_near(far.parse().unwrap()), "{far}");
        }
    }

    #[test]
    fn failures_have_the_codes_that_programs_know() {
        let code = |failure: Failure| match Error::from(failure) {
            Error::Host { code, .. } => (code.as_str(), code.kind()),
            other => panic!("{other}"),
        };
        assert_eq!(code(Failure::Busy("x".into())), ("host_busy", ErrorKind::Conflict));
        assert_eq!(code(Failure::NoApp(AppRef::Id(1))), ("app_not_found", ErrorKind::NotFound));
        assert_eq!(code(Failure::NotPaired), ("host_not_paired", ErrorKind::Invalid));
        assert_eq!(code(Failure::Timeout("PLAY")), ("host_timeout", ErrorKind::Timeout));
        let changed = http::Error::CertificateChanged("h".into());
        assert_eq!(code(changed.into()), ("host_certificate_changed", ErrorKind::Conflict));
    }
}
