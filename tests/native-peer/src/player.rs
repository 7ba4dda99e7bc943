//! A WHEP player, all but its HTTP: it offers to receive, takes the answer, and restarts ICE on another socket.

use std::net::{Ipv4Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::connection::media_engine;
use crate::swarm::arrival;
use crate::{Error, Media};

/// Timers and the socket are looked at this often at least.
const TICK: Duration = Duration::from_millis(5);

/// One player.
pub struct Player {
    pc: RTCPeerConnection,
    udp: UdpSocket,
    local: SocketAddr,
    /// Its last offer.
    offer: String,
    /// The answer to the first one.
    answer: String,
}

fn rtc<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Rtc(what, error.to_string())
}

fn bind() -> Result<(UdpSocket, SocketAddr), Error> {
    let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::Io("binding", e))?;
    udp.set_nonblocking(true).map_err(|e| Error::Io("setting O_NONBLOCK", e))?;
    let local = udp.local_addr().map_err(|e| Error::Io("own address", e))?;
    Ok((udp, local))
}

/// The value of the first such attribute in a description or fragment.
fn attribute<'a>(sdp: &'a str, name: &str) -> &'a str {
    let line = sdp.lines().find_map(|line| line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':'));
    line.unwrap_or_default().trim_end()
}

impl Player {
    /// A player whose offer is [`Player::offer`]. It has no candidates in it.
    ///
    /// # Errors
    /// When `rtc` or the system refuses.
    pub fn new() -> Result<Self, Error> {
        let now = Instant::now();
        let settings = SettingEngineBuilder::new()
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .with_discard_local_candidates_during_ice_restart(true)
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media_engine(Media::Headers).map_err(rtc("codecs"))?)
            .with_setting_engine(settings)
            .build(now)
            .map_err(rtc("peer connection"))?;
        for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
            pc.add_transceiver_from_kind(kind, None).map_err(rtc("transceiver"))?;
        }
        let (udp, local) = bind()?;
        let mut player = Self { pc, udp, local, offer: String::new(), answer: String::new() };
        player.describe(now)?;
        Ok(player)
    }

    fn describe(&mut self, now: Instant) -> Result<(), Error> {
        let offer = self.pc.create_offer(None).map_err(rtc("offer"))?;
        self.offer = offer.sdp.clone();
        self.pc.set_local_description(now, offer).map_err(rtc("offer"))?;
        let init = RTCIceCandidateInit { candidate: self.candidate(), ..Default::default() };
        self.pc.add_local_candidate(init).map_err(rtc("candidate"))
    }

    fn candidate(&self) -> String {
        format!("candidate:1 1 udp 2130706431 {} {} typ host", self.local.ip(), self.local.port())
    }

    /// What it offers to the server.
    pub fn offer(&self) -> &str {
        &self.offer
    }

    /// Takes the server's answer.
    ///
    /// # Errors
    /// It is none.
    pub fn answered(&mut self, sdp: &str) -> Result<(), Error> {
        self.answer = sdp.to_owned();
        let answer = RTCSessionDescription::answer(sdp.to_owned()).map_err(rtc("answer"))?;
        self.pc.set_remote_description(Instant::now(), answer).map_err(rtc("answer"))
    }

    /// Its credentials and its candidate, as a fragment.
    pub fn fragment(&self) -> String {
        let (ufrag, pwd) = (attribute(&self.offer, "ice-ufrag"), attribute(&self.offer, "ice-pwd"));
        format!(
            "m=video 9 UDP/TLS/RTP/SAVPF 0\r\na=mid:0\r\na=ice-ufrag:{ufrag}\r\na=ice-pwd:{pwd}\r\na={}\r\n",
            self.candidate()
        )
    }

    /// Restarts ICE, and leaves its socket for another one. [`Player::fragment`] is for the server then.
    ///
    /// # Errors
    /// When `rtc` or the system refuses.
    pub fn restart(&mut self) -> Result<(), Error> {
        self.pc.restart_ice();
        (self.udp, self.local) = bind()?;
        self.describe(Instant::now())
    }

    /// Takes the server's fragment.
    ///
    /// # Errors
    /// It does not fit.
    pub fn restarted(&mut self, fragment: &str) -> Result<(), Error> {
        let mut answer = String::new();
        for line in self.answer.split_inclusive('\n') {
            match line.strip_prefix("a=").and_then(|line| line.split(':').next()) {
                Some(name @ ("ice-ufrag" | "ice-pwd")) => {
                    answer.extend(["a=", name, ":", attribute(fragment, name), "\r\n"]);
                }
                _ => answer.push_str(line),
            }
        }
        self.answered(&answer)
    }

    /// Receives until so many RTP packets have come to the socket that it has now; false when `deadline` was sooner.
    pub fn receives(&mut self, packets: usize, deadline: Instant) -> bool {
        let mut seen = 0;
        while seen < packets {
            if Instant::now() >= deadline {
                return false;
            }
            let timeout = Timespec { tv_sec: 0, tv_nsec: i64::from(TICK.subsec_nanos()) };
            // An interrupted wait is a short one.
            let _ = poll(&mut [PollFd::new(&self.udp, PollFlags::IN)], Some(&timeout));
            let mut buffer = [0; 2048];
            while let Ok((len, from)) = self.udp.recv_from(&mut buffer) {
                let data = &buffer[..len];
                if arrival(data, None).is_some() {
                    seen += 1;
                    continue;
                }
                let transport =
                    TransportContext { local_addr: self.local, peer_addr: from, ..Default::default() };
                let message = BytesMut::from(data);
                // What is refused is as good as lost.
                let _ = self.pc.handle_read(TaggedBytesMut { now: Instant::now(), transport, message });
                while self.pc.poll_event().is_some() {}
            }
            self.drive();
        }
        true
    }

    fn drive(&mut self) {
        let now = Instant::now();
        if self.pc.poll_timeout().is_some_and(|at| at <= now) {
            // A timer that fails ends the connection.
            let _ = self.pc.handle_timeout(now);
        }
        while let Some(datagram) = self.pc.poll_write() {
            if datagram.transport.local_addr == self.local {
                // As lossy as the network.
                let _ = self.udp.send_to(&datagram.message, datagram.transport.peer_addr);
            }
        }
        while self.pc.poll_event().is_some() {}
    }
}
