//! One peer connection: `rtc`'s sans-IO state machine and what it takes to connect quickly.
//!
//! Nothing outside this folder names `rtc`. The shard gives it datagrams and the time, takes
//! [`ConnectionEvent`]s, and drains [`Connection::transmit`] after every input.
//!
//! ```text
//! Offered ──answer──▶ Connecting ──ICE, DTLS──▶ Connected ◀──▶ Lost ──▶ Closed
//!    └───────────── expires ────┘                  └── channels closed ──┘
//! ```

mod crypto;
mod descriptions;
mod egress;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::api::Transport;
use common::input::{GENERAL_CHANNEL, KEYS_CHANNEL, MAX_CHANNEL_MESSAGE, MOTION_CHANNEL};
use common::nat::Network;
use rtc::data_channel::{RTCDataChannel, RTCDataChannelId};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Registry, Slot};
use rtc::peer_connection::certificate::{CertificateParams, RTCCertificate};
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::{
    SctpMaxMessageSize, SettingEngine, SettingEngineBuilder,
};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::state::{RTCIceConnectionState, RTCPeerConnectionState};
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::sender_report::SenderReport;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext, TransportProtocol};

use super::checks::Checks;
use super::demux;
use super::feedback::{Feedback, FeedbackReader};
use super::intake::{self, Intake};
use super::multi_webrtc;
use super::negotiate;
use super::path::Path;
use super::slot::{Packet, SenderInfo};
use super::socket::Candidates;
use crate::publish;
use crypto::Keys;
use egress::{Egress, ExtensionIds};

/// Interval of checks until connected: nomination waits for the next one.
const CHECK_INTERVAL: Duration = Duration::from_millis(5);
/// Binding requests per candidate pair: ten seconds' worth of checks.
const CHECK_ATTEMPTS: u16 = 2000;
/// A peer that has sent no STUN for this long counts as lost.
const LOST_AFTER: Duration = Duration::from_secs(4);
const KEEPALIVE: Duration = Duration::from_secs(1);
/// ICE never gives up by itself: `rtc` would forget all candidates then, ours as well, and a restart would have none to try. Who is given up is
/// the peer's to decide, which may have a media socket.
const NEVER_FAILED: Duration = Duration::ZERO;
/// Head start of UDP: how long after the first packet by TCP responses by TCP are ignored, since the first path that answers is kept.
/// Where UDP works, the peer is heard on it a round trip before TCP, whose connections have to be opened first; this leaves room for a
/// check or two that are lost.
const HEAD_START: Duration = Duration::from_millis(100);
/// The same once the peer has been heard on UDP, which then works in one direction at least. On a busy machine the other may take longer.
const HEARD_HEAD_START: Duration = Duration::from_millis(500);
/// Datagrams kept that arrive before `rtc` can take them: a ClientHello is two, checks are repeated.
const MAX_HELD: usize = 16;
/// Bytes that may be queued on a peer's data channels before further messages are dropped.
const MAX_CHANNEL_BACKLOG: usize = 1024 * 1024;
/// Channels of one peer that are read: those of [`multi_webrtc`] are at most 24.
const MAX_CHANNELS: usize = 32;

/// Something that `rtc` refused, with its reason.
#[derive(Debug, thiserror::Error)]
#[error("{what}: {reason}")]
pub struct Error {
    what: &'static str,
    reason: String,
}

impl Error {
    /// `what` was refused for `reason`.
    pub fn new(what: &'static str, reason: impl std::fmt::Display) -> Self {
        Self { what, reason: reason.to_string() }
    }
}

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::new(what, error)
}

/// A data channel: one of our three, or one that a page of another server has created.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel {
    /// Reliable, ordered.
    Keys,
    /// Unreliable, unordered.
    Motion,
    /// Reliable JSON.
    General,
    /// Binary messages of `multi_webrtc`.
    MultiWebrtc(multi_webrtc::Channel),
}

impl Channel {
    /// Our channels, each with its label and its pre-negotiated id.
    const OURS: [(Channel, (&'static str, u16)); 3] = [
        (Channel::Keys, KEYS_CHANNEL),
        (Channel::Motion, MOTION_CHANNEL),
        (Channel::General, GENERAL_CHANNEL),
    ];

    /// Its label.
    pub fn label(self) -> &'static str {
        match self {
            Channel::Keys => KEYS_CHANNEL.0,
            Channel::Motion => MOTION_CHANNEL.0,
            Channel::General => GENERAL_CHANNEL.0,
            Channel::MultiWebrtc(channel) => channel.label(),
        }
    }
}

/// What happens on a connection.
#[derive(Debug)]
pub enum ConnectionEvent {
    /// Media can be sent.
    Connected,
    /// Nothing has been heard from the peer for `LOST_AFTER`.
    Lost,
    /// The connection has ended.
    Closed(&'static str),
    /// A data channel can be used.
    Open(Channel),
    /// A message on a data channel.
    Message(Channel, BytesMut),
    /// RTCP.
    Feedback(Feedback),
}

/// Which SRTP profiles are offered to a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Srtp {
    /// AES-GCM alone: browsers pick the slower AES-CM whenever it is offered.
    Gcm,
    /// Both, for players that lack GCM.
    Any,
}

/// The certificate that all peers of a streamer see.
#[derive(Clone)]
pub struct Identity(RTCCertificate);

impl Identity {
    /// Makes a new key and self-signed certificate.
    ///
    /// # Errors
    /// The system has no randomness.
    pub fn generate() -> Result<Self, Error> {
        let provider = rtc::crypto::default_provider().map_err(failed("crypto"))?;
        let scheme = rtc::crypto::SignatureScheme::EcdsaP256Sha256;
        let params = CertificateParams::new(vec!["oriel".to_owned()]).map_err(failed("certificate"))?;
        let certificate =
            RTCCertificate::generate(provider.crypto(), scheme, params).map_err(failed("certificate"))?;
        Ok(Self(certificate))
    }
}

struct Held {
    path: Path,
    data: Box<[u8]>,
}

/// One peer connection.
pub struct Connection {
    pc: RTCPeerConnection,
    feedback: FeedbackReader,
    channels: Vec<(RTCDataChannelId, Channel)>,
    open_channels: usize,
    /// The peer creates data channels itself.
    takes_channels: bool,
    /// Datagrams that arrived too early: STUN before the answer, DTLS before ICE has nominated. `rtc` would drop them, and waiting for
    /// the browser's retransmission costs 40 ms of every join.
    held: Vec<Held>,
    /// When the first packet arrived by TCP.
    tcp_since: Option<Instant>,
    /// Something has arrived by UDP.
    udp_heard: bool,
    answered: bool,
    ice_connected: bool,
    extensions: ExtensionIds,
    /// What is to be sent, before what `rtc` has.
    egress: Egress,
    remote_candidates: usize,
    public_ips: Vec<IpAddr>,
    checks: Checks,
    /// The peer's offer, if it has made one: a restart is another offer with the same sections.
    offered: Option<String>,
    /// Our last offer as it was sent, if the peer may publish: its header extensions are not all known to `rtc`.
    sent: Option<String>,
    /// Lets its RTP in, if the peer may publish.
    intake: Option<Intake>,
}

impl Connection {
    /// A connection without media sections. Its descriptions contain its ICE user name, which identifies its first packets; see [`negotiate::ice_ufrag`].
    ///
    /// # Errors
    /// When `rtc` refuses a setting.
    pub fn new(
        now: Instant,
        identity: &Identity,
        srtp: Srtp,
        candidates: &Candidates,
    ) -> Result<Self, Error> {
        let feedback = FeedbackReader::default();
        let keys = Keys::default();
        let provider = rtc::crypto::default_provider().map_err(failed("crypto"))?;
        let provider = Arc::new(crypto::Provider::new(provider, keys.clone()));
        let configuration =
            RTCConfigurationBuilder::new().with_certificates(vec![identity.0.clone()]).build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(negotiate::media_engine().map_err(failed("codecs"))?)
            .with_setting_engine(settings(srtp, provider))
            .with_interceptor_registry(Registry::new().with(Slot::NackResponder, feedback.tap()))
            .build(now)
            .map_err(failed("peer connection"))?;
        for candidate in lines(candidates) {
            pc.add_local_candidate(RTCIceCandidateInit { candidate, ..Default::default() })
                .map_err(failed("candidate"))?;
        }
        pc.add_local_candidate(RTCIceCandidateInit::default()).map_err(failed("candidate"))?;
        Ok(Self {
            pc,
            feedback,
            channels: Vec::new(),
            open_channels: 0,
            takes_channels: false,
            held: Vec::new(),
            tcp_since: None,
            udp_heard: false,
            answered: false,
            ice_connected: false,
            extensions: ExtensionIds::default(),
            egress: Egress::new(keys),
            remote_candidates: 0,
            public_ips: Vec::new(),
            checks: Checks::new(now, &[]),
            offered: None,
            sent: None,
            intake: None,
        })
    }

    /// The peer may publish: what it sends is taken from now on.
    pub fn allow_publishing(&mut self, now: Instant) {
        self.intake.get_or_insert_with(|| Intake::new(now));
    }

    /// The peer may publish, by sections that have been offered.
    pub fn allows_publishing(&self) -> bool {
        self.intake.is_some()
    }

    /// Offers candidates with these addresses in place of our own of the same family, for a 1:1 NAT that forwards them to us.
    pub fn set_public_ips(&mut self, ips: &[IpAddr]) {
        self.public_ips = ips.to_vec();
    }

    /// Never sends to these addresses, nor receives from them. To be called before any candidate is added.
    pub fn deny_candidates(&mut self, now: Instant, denied: &[Network]) {
        self.checks = Checks::new(now, denied);
    }

    /// The peer connection of `rtc`, to add media sections and to read what was negotiated in them.
    pub fn pc(&mut self) -> &mut RTCPeerConnection {
        self.egress.forget_path();
        &mut self.pc
    }

    /// Takes over what was agreed for the video sender `index`, and so for all. Offer and answer must be in place.
    pub fn negotiated(&mut self, index: usize) {
        let mut id_of = |uri| {
            // Others would need longer headers (RFC 8285 §4.3).
            negotiate::extension_id(&mut self.pc, index, uri).filter(|id| (1..=14).contains(id))
        };
        let playout_delay = id_of(negotiate::PLAYOUT_DELAY);
        let transport_cc = id_of(negotiate::TRANSPORT_CC);
        self.extensions = ExtensionIds { playout_delay, transport_cc };
    }

    /// True once offer and answer are in place.
    pub fn is_answered(&self) -> bool {
        self.answered
    }

    /// Takes a datagram.
    pub fn receive(&mut self, now: Instant, path: Path, data: &[u8]) {
        if intake::is_rtp(data) && !self.intake.as_mut().is_some_and(|intake| intake.admits(now, data)) {
            return;
        }
        // First byte (RFC 7983): 20..=63 is DTLS.
        let dtls = data.first().is_some_and(|byte| (20..64).contains(byte));
        if !self.answered || dtls && !self.ice_connected {
            if self.held.len() < MAX_HELD {
                self.held.push(Held { path, data: data.into() });
            }
            return;
        }
        self.pass_on(now, path, data);
    }

    fn pass_on(&mut self, now: Instant, path: Path, data: &[u8]) {
        if !self.checks.may_receive(now, path.local, path.remote, data) || self.is_early(now, path, data) {
            return;
        }
        if demux::is_stun(data) {
            self.egress.forget_path();
        }
        let transport_protocol = match path.transport {
            Transport::Udp => TransportProtocol::UDP,
            Transport::Tcp => TransportProtocol::TCP,
            // Nothing of ICE goes there.
            Transport::Websocket => return,
        };
        let local_addr = path.local;
        let peer_addr = path.remote;
        let transport = TransportContext { local_addr, peer_addr, transport_protocol, ..Default::default() };
        let message = TaggedBytesMut { now, transport, message: BytesMut::from(data) };
        if let Err(error) = self.pc.handle_read(message) {
            tracing::debug!(%error, "datagram refused");
        }
    }

    /// Whether this is a response by TCP while UDP may still work. `rtc` does not get to see it, and repeats its check.
    fn is_early(&mut self, now: Instant, path: Path, data: &[u8]) -> bool {
        if path.transport == Transport::Udp {
            self.udp_heard = true;
            return false;
        }
        let since = *self.tcp_since.get_or_insert(now);
        let head_start = if self.udp_heard { HEARD_HEAD_START } else { HEAD_START };
        !self.ice_connected && now < since + head_start && demux::proves_address(data)
    }

    /// Collects what has happened. To be called after every input, and followed by draining `transmit`.
    pub fn poll(&mut self, now: Instant, events: &mut Vec<ConnectionEvent>) {
        loop {
            // First: this is what installs the SRTP keys.
            while let Some(event) = self.pc.poll_event() {
                self.take_event(event, events);
            }
            while let Some(message) = self.pc.poll_read() {
                if let RTCMessage::DataChannelMessage(id, message) = message.message
                    && let Some(channel) = self.channel(id)
                {
                    events.push(ConnectionEvent::Message(channel, message.data));
                }
            }
            events.extend(self.feedback.take().into_iter().map(ConnectionEvent::Feedback));
            if !self.answered || self.held.is_empty() {
                return;
            }
            let held = std::mem::take(&mut self.held);
            let before = held.len();
            for Held { path, data } in held {
                self.receive(now, path, &data);
            }
            if self.held.len() == before {
                return;
            }
        }
    }

    fn take_event(&mut self, event: RTCPeerConnectionEvent, events: &mut Vec<ConnectionEvent>) {
        match event {
            RTCPeerConnectionEvent::OnIceConnectionStateChangeEvent(RTCIceConnectionState::Connected) => {
                self.ice_connected = true;
            }
            RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                RTCPeerConnectionState::Connected => events.push(ConnectionEvent::Connected),
                RTCPeerConnectionState::Disconnected => events.push(ConnectionEvent::Lost),
                RTCPeerConnectionState::Failed => {
                    events.push(ConnectionEvent::Closed("the connection failed"))
                }
                RTCPeerConnectionState::Closed => {
                    events.push(ConnectionEvent::Closed("the connection was closed"))
                }
                _ => {}
            },
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                self.open_channels += 1;
                self.learn_channel(id);
                events.extend(self.channel(id).map(ConnectionEvent::Open));
            }
            RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnClose(_)) => {
                // A browser that closes its connection closes its channels; `rtc` reports nothing else.
                self.open_channels = self.open_channels.saturating_sub(1);
                if self.open_channels == 0 {
                    events.push(ConnectionEvent::Closed("the peer closed the connection"));
                }
            }
            _ => {}
        }
    }

    /// Notes a channel that the peer has created, if its label is known.
    fn learn_channel(&mut self, id: RTCDataChannelId) {
        if !self.takes_channels || self.channel(id).is_some() || self.channels.len() >= MAX_CHANNELS {
            return;
        }
        let made = self.pc.data_channel(id).and_then(|made| multi_webrtc::Channel::of(made.label()));
        self.channels.extend(made.map(|channel| (id, Channel::MultiWebrtc(channel))));
    }

    fn channel(&self, id: RTCDataChannelId) -> Option<Channel> {
        self.channels.iter().find(|(known, _)| *known == id).map(|(_, channel)| *channel)
    }

    /// Queues a text on a data channel. False when it was dropped, because the channel is not open or too much is queued.
    pub fn send_text(&mut self, now: Instant, channel: Channel, text: &str) -> bool {
        self.writable(channel).is_some_and(|mut open| open.send_text(now, text).is_ok())
    }

    /// Queues bytes on a data channel. False as with [`Connection::send_text`].
    pub fn send_bytes(&mut self, now: Instant, channel: Channel, bytes: &[u8]) -> bool {
        self.writable(channel).is_some_and(|mut open| open.send(now, bytes.into()).is_ok())
    }

    /// The channel, if it is open and not too much is queued on it.
    fn writable(&mut self, channel: Channel) -> Option<RTCDataChannel<'_>> {
        let (id, _) = self.channels.iter().find(|(_, known)| *known == channel).copied()?;
        let open = self.pc.data_channel(id)?;
        (open.outstanding_bytes() < MAX_CHANNEL_BACKLOG).then_some(open)
    }

    /// Queues an RTP packet, with its transport-wide sequence number if it has one. It is dropped when the connection is not up.
    pub fn send_rtp(&mut self, now: Instant, packet: Packet, transport_wide: Option<u16>) {
        if self.egress.push(&packet, transport_wide, self.extensions) {
            return;
        }
        let mut header = rtc::rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            ..Default::default()
        };
        if let Some(id) = self.extensions.playout_delay.filter(|_| packet.playout_delay) {
            // Minimum and maximum delay of zero; the id was checked when it was negotiated.
            let _ = header.set_extension(id, Bytes::from_static(&[0; 3]));
        }
        if let Some((id, number)) = self.extensions.transport_cc.zip(transport_wide) {
            let _ = header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes()));
        }
        let packet = rtc::rtp::Packet { header, payload: packet.payload };
        // `rtc` ignores the track's id; payload types and SSRCs are our own.
        self.write(now, RTCMessage::RtpPacket(String::new(), packet));
        while let Some((path, data)) = self.next_of_rtc() {
            self.egress.pass(path, &data);
        }
    }

    /// Queues sender reports; `ntp_time` is their moment on the wall clock (RFC 3550 §4).
    pub fn send_reports(&mut self, now: Instant, ntp_time: u64, reports: &[SenderInfo]) {
        let report = |report: &SenderInfo| -> Box<dyn rtc::rtcp::Packet> {
            Box::new(SenderReport {
                ssrc: report.ssrc,
                ntp_time,
                rtp_time: report.rtp_time,
                packet_count: report.packets,
                octet_count: report.octets,
                ..Default::default()
            })
        };
        if !reports.is_empty() {
            let packets = reports.iter().map(report).collect();
            self.write(now, RTCMessage::RtcpPacket(String::new(), packets));
        }
    }

    /// What the peer has published since the last call. `packets`, which is empty, takes its place.
    pub fn take_rtp(&mut self, packets: &mut Vec<publish::Packet>) {
        self.feedback.take_rtp(packets);
    }

    /// Queues RTCP about what the peer publishes.
    pub fn send_rtcp(&mut self, now: Instant, packets: Vec<Box<dyn rtc::rtcp::Packet>>) {
        if !packets.is_empty() {
            self.write(now, RTCMessage::RtcpPacket(String::new(), packets));
        }
    }

    fn write(&mut self, now: Instant, message: RTCMessage) {
        if let Err(error) = self.pc.handle_write(TaggedRTCMessage { now, message }) {
            tracing::debug!(%error, "not sent");
        }
    }

    /// The round trip of the path, measured by its connectivity checks.
    pub fn round_trip(&self) -> Option<Duration> {
        self.checks.round_trip()
    }

    /// Takes all datagrams to send, in order.
    pub fn transmit(&mut self, mut each: impl FnMut(Path, &[u8])) {
        self.egress.drain(&mut each);
        while let Some((path, data)) = self.next_of_rtc() {
            each(path, &data);
        }
    }

    /// The next datagram that `rtc` wants to send.
    fn next_of_rtc(&mut self) -> Option<(Path, BytesMut)> {
        loop {
            let TaggedBytesMut { now, transport, message: data } = self.pc.poll_write()?;
            let TransportContext { local_addr: local, peer_addr: remote, transport_protocol, .. } = transport;
            if self.checks.may_send(now, local, remote, &data) {
                // We have no other candidates.
                let is_tcp = transport_protocol == TransportProtocol::TCP;
                let transport = if is_tcp { Transport::Tcp } else { Transport::Udp };
                return Some((Path { transport, local, remote }, data));
            }
        }
    }

    /// When [`Connection::timeout`] is due.
    pub fn deadline(&mut self) -> Option<Instant> {
        self.pc.poll_timeout()
    }

    /// Lets timers run.
    pub fn timeout(&mut self, now: Instant) {
        if self.pc.poll_timeout().is_some_and(|due| due <= now) {
            self.egress.forget_path();
        }
        if let Err(error) = self.pc.handle_timeout(now) {
            tracing::debug!(%error, "timer");
        }
    }

    /// Says goodbye; `transmit` is to be drained once more.
    pub fn close(&mut self) {
        self.egress.forget_path();
        if let Err(error) = self.pc.close() {
            tracing::debug!(%error, "close");
        }
    }
}

/// Host candidates, each with its priority: the first addresses are preferred (RFC 8445 §5.1.2), and UDP to TCP (RFC 6544 §4.2: a
/// passive one has 4 as its preference among TCP's).
fn lines(candidates: &Candidates) -> impl Iterator<Item = String> {
    let line = |n: usize, address: &SocketAddr, (transport, preference, end): (&str, u32, &str)| {
        // There are far fewer addresses than preferences.
        let priority = (126u32 << 24) + ((preference - n as u32) << 8) + 255;
        let ip = address.ip();
        let port = address.port();
        format!("candidate:{} 1 {transport} {priority} {ip} {port} typ host{end}", n + 1)
    };
    let udp = candidates.udp.iter().enumerate();
    let udp = udp.map(move |(n, address)| line(n, address, ("udp", 65_535, "")));
    // Foundations differ by transport (RFC 8445 §5.1.1.3).
    let first = candidates.udp.len();
    let tcp = candidates.tcp.iter().enumerate();
    let tcp = tcp.map(move |(n, address)| {
        let preference = (4 << 13) + 8191 + first as u32;
        line(first + n, address, ("tcp", preference, " tcptype passive"))
    });
    udp.chain(tcp)
}

fn settings(srtp: Srtp, provider: Arc<crypto::Provider>) -> SettingEngine {
    let profiles = match srtp {
        Srtp::Gcm => vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm],
        Srtp::Any => vec![
            SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm,
            SrtpProtectionProfile::Srtp_Aes128_Cm_Hmac_Sha1_80,
        ],
    };
    // No ICE credentials are set: `rtc` would use the same ones after a restart.
    SettingEngineBuilder::new()
        .with_crypto_provider(provider)
        .with_srtp_protection_profiles(profiles)
        .with_answering_dtls_role(RTCDtlsRole::Server)
        .with_multicast_dns_mode(MulticastDnsMode::Disabled)
        .with_ice_connection_attempts(Some(CHECK_INTERVAL), Some(CHECK_ATTEMPTS))
        // A browser behind mDNS is peer-reflexive to us: waiting for something better costs a second.
        .with_prflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_srflx_acceptance_min_wait(Some(Duration::ZERO))
        .with_ice_timeouts(Some(LOST_AFTER), Some(NEVER_FAILED), Some(KEEPALIVE))
        // Without this it is 64 KiB (RFC 8841 §6.1), less than a long text on the clipboard.
        .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(MAX_CHANNEL_MESSAGE as u32))
        .build()
}

#[cfg(test)]
mod tests;
