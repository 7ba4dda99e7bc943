//! A page that was written for another server: it does on its WebSocket, with its peer connection and its data channels
//! what `docs/COMPAT.md` says that those pages do. Nothing of the server's own code is in its messages.

use std::collections::VecDeque;
use std::io::ErrorKind;
use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rtc::data_channel::RTCDataChannelId;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::setting_engine::SettingEngineBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde_json::{Value, json};
use tungstenite::{Message, WebSocket};

use crate::stack::{arrival, media_engine};
use crate::{Error, Media};

/// Timers and sockets are looked at this often at least.
const TICK: Duration = Duration::from_millis(5);
/// The channels that it makes, before it looks at any offer.
const CHANNELS: [&str; 5] = ["keyboard", "mouse", "touch", "controllers", "controller0"];

/// Something that a page has seen.
#[derive(Debug, Clone, PartialEq)]
pub enum PageEvent {
    /// A message on its WebSocket.
    Heard(Value),
    /// One of its data channels, or one that was made for it, can be used.
    Open(String),
    /// A message on that.
    Message(String, Vec<u8>),
    /// An RTP packet of this payload type has arrived.
    Rtp(u8),
    /// The WebSocket has ended.
    Closed(String),
}

/// One page.
pub struct Page {
    socket: WebSocket<TcpStream>,
    udp: UdpSocket,
    local: SocketAddr,
    /// The offer that it holds until it makes its peer connection.
    offer: Option<String>,
    pc: Option<RTCPeerConnection>,
    channels: Vec<(RTCDataChannelId, String)>,
    events: VecDeque<PageEvent>,
    ended: bool,
}

fn rtc<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Rtc(what, error.to_string())
}

impl Page {
    /// Opens the WebSocket at `path`: without a subprotocol, and without saying anything.
    ///
    /// # Errors
    /// It is refused.
    pub fn open(server: SocketAddr, path: &str) -> Result<Self, Error> {
        let stream = TcpStream::connect(server).map_err(|e| Error::Io("connecting", e))?;
        let url = format!("ws://{server}{path}");
        let (socket, _) =
            tungstenite::client(url, stream).map_err(|error| Error::Signalling(error.to_string()))?;
        socket.get_ref().set_nonblocking(true).map_err(|e| Error::Io("setting O_NONBLOCK", e))?;
        let udp = UdpSocket::bind((Ipv4Addr::LOCALHOST, 0)).map_err(|e| Error::Io("binding", e))?;
        udp.set_nonblocking(true).map_err(|e| Error::Io("setting O_NONBLOCK", e))?;
        let local = udp.local_addr().map_err(|e| Error::Io("own address", e))?;
        let channels = Vec::new();
        let events = VecDeque::new();
        Ok(Self { socket, udp, local, offer: None, pc: None, channels, events, ended: false })
    }

    /// The next event; `None` when there is none until `deadline`.
    ///
    /// # Errors
    /// The peer connection cannot be made.
    pub fn next(&mut self, deadline: Instant) -> Result<Option<PageEvent>, Error> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Ok(Some(event));
            }
            let now = Instant::now();
            if now >= deadline || self.ended && self.pc.is_none() {
                return Ok(None);
            }
            self.wait(deadline.saturating_duration_since(now).min(TICK));
            self.read_socket()?;
            self.read_datagrams();
            self.drive();
        }
    }

    /// Says something on the WebSocket.
    ///
    /// # Errors
    /// It has ended.
    pub fn say(&mut self, message: &Value) -> Result<(), Error> {
        let sent = self.socket.send(Message::text(message.to_string()));
        sent.map_err(|error| Error::Signalling(error.to_string()))
    }

    /// Sends bytes on a data channel. False when it is not open.
    pub fn send(&mut self, label: &str, bytes: &[u8]) -> bool {
        let Some(id) = self.channels.iter().find(|(_, known)| known == label).map(|(id, _)| *id) else {
            return false;
        };
        let open = self.pc.as_mut().and_then(|pc| pc.data_channel(id));
        let sent = open.is_some_and(|mut open| open.send(Instant::now(), bytes.into()).is_ok());
        self.drive();
        sent
    }

    fn wait(&self, timeout: Duration) {
        let timeout =
            Timespec { tv_sec: timeout.as_secs() as i64, tv_nsec: i64::from(timeout.subsec_nanos()) };
        let mut fds = vec![PollFd::new(&self.udp, PollFlags::IN)];
        if !self.ended {
            fds.push(PollFd::new(self.socket.get_ref(), PollFlags::IN));
        }
        // An interrupted wait is a short one.
        let _ = poll(&mut fds, Some(&timeout));
    }

    fn read_socket(&mut self) -> Result<(), Error> {
        while !self.ended {
            match self.socket.read() {
                Ok(Message::Text(text)) => {
                    let heard: Value = serde_json::from_str(&text)
                        .map_err(|error| Error::Signalling(format!("{error}: {text}")))?;
                    self.hear(&heard)?;
                    self.events.push_back(PageEvent::Heard(heard));
                }
                Ok(Message::Close(frame)) => {
                    let reason = frame.map_or_else(|| "closed".into(), |frame| frame.to_string());
                    self.end(reason);
                }
                Ok(_) => {}
                Err(tungstenite::Error::Io(error)) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) => self.end(error.to_string()),
            }
        }
        Ok(())
    }

    fn end(&mut self, reason: String) {
        self.ended = true;
        self.events.push_back(PageEvent::Closed(reason));
    }

    fn hear(&mut self, heard: &Value) -> Result<(), Error> {
        let description = &heard["Signaling"]["Description"];
        if description["ty"] == "offer" {
            self.offer = description["sdp"].as_str().map(str::to_owned);
        }
        if heard.get("WebRtcConfig").is_some() && self.pc.is_none() {
            let missing = || Error::Rtc("offer", "it makes its own, as it has none yet".into());
            let offer = self.offer.take().ok_or_else(missing)?;
            self.answer(offer)?;
        }
        Ok(())
    }

    fn answer(&mut self, offer: String) -> Result<(), Error> {
        let now = Instant::now();
        let settings = SettingEngineBuilder::new()
            .with_answering_dtls_role(RTCDtlsRole::Client)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().build())
            .with_media_engine(media_engine(Media::Headers).map_err(rtc("codecs"))?)
            .with_setting_engine(settings)
            .build(now)
            .map_err(rtc("peer connection"))?;
        for label in CHANNELS {
            let made = pc.create_data_channel(label, None).map_err(rtc("data channel"))?;
            self.channels.push((made.id(), label.to_owned()));
        }
        let ip = self.local.ip();
        let port = self.local.port();
        let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
        let init = RTCIceCandidateInit { candidate: candidate.clone(), ..Default::default() };
        pc.add_local_candidate(init).map_err(rtc("candidate"))?;
        let offer = RTCSessionDescription::offer(offer).map_err(rtc("offer"))?;
        pc.set_remote_description(now, offer).map_err(rtc("offer"))?;
        let answer = pc.create_answer(None).map_err(rtc("answer"))?;
        // Candidates follow one by one, as a browser's do.
        let is_candidate =
            |line: &&str| line.starts_with("a=candidate:") || line.starts_with("a=end-of-candidates");
        let sdp: String = answer.sdp.split_inclusive('\n').filter(|line| !is_candidate(line)).collect();
        pc.set_local_description(now, answer).map_err(rtc("answer"))?;
        self.pc = Some(pc);
        self.say(&json!({ "Signaling": { "Description": { "ty": "answer", "sdp": sdp } } }))?;
        self.say(&json!({ "Signaling": { "AddIceCandidate": {
            "candidate": candidate, "sdp_mid": "0", "sdp_mline_index": 0, "username_fragment": null,
        } } }))
    }

    fn read_datagrams(&mut self) {
        let mut buffer = [0; 2048];
        while let Ok((len, from)) = self.udp.recv_from(&mut buffer) {
            let data = &buffer[..len];
            if let Some(arrival) = arrival(data, None) {
                self.events.push_back(PageEvent::Rtp(arrival.payload_type));
                continue;
            }
            let Some(pc) = &mut self.pc else { continue };
            let transport =
                TransportContext { local_addr: self.local, peer_addr: from, ..Default::default() };
            let message = TaggedBytesMut { now: Instant::now(), transport, message: BytesMut::from(data) };
            // What is refused is as good as lost.
            let _ = pc.handle_read(message);
            self.take_events();
        }
    }

    fn take_events(&mut self) {
        let Some(pc) = &mut self.pc else { return };
        while let Some(event) = pc.poll_event() {
            if let RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) = event {
                if !self.channels.iter().any(|(known, _)| *known == id)
                    && let Some(made) = pc.data_channel(id)
                {
                    self.channels.push((id, made.label().to_owned()));
                }
                let label = self.channels.iter().find(|(known, _)| *known == id);
                self.events.extend(label.map(|(_, label)| PageEvent::Open(label.clone())));
            }
        }
        while let Some(message) = pc.poll_read() {
            if let RTCMessage::DataChannelMessage(id, message) = message.message
                && let Some((_, label)) = self.channels.iter().find(|(known, _)| *known == id)
            {
                self.events.push_back(PageEvent::Message(label.clone(), message.data.to_vec()));
            }
        }
    }

    fn drive(&mut self) {
        let Some(pc) = &mut self.pc else { return };
        let now = Instant::now();
        if pc.poll_timeout().is_some_and(|at| at <= now) {
            // A timer that fails ends the connection.
            let _ = pc.handle_timeout(now);
        }
        while let Some(datagram) = pc.poll_write() {
            // As lossy as the network.
            let _ = self.udp.send_to(&datagram.message, datagram.transport.peer_addr);
        }
        self.take_events();
    }
}
