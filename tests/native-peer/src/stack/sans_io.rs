//! An endpoint on `rtc`: its socket is read, and its timers run, by the thread that calls.

use std::io::IoSliceMut;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};
use rtc::data_channel::RTCDataChannelId;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent, RTCTrackEvent};
use rtc::peer_connection::message::{RTCMessage, TaggedRTCMessage};
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::RTCIceCandidateInit;
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtp_transceiver::rtp_sender::RtpCodecKind;
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext};

use super::codecs::{Units, media_engine, requests, rtcp, sender_reports};
use super::{Endpoint, Purpose, data_channels, failed, settings};
use crate::{Arrival, Channel, Error, Event, Media, Outgoing, Said};

/// For one datagram, or as many as the kernel has coalesced.
const DATAGRAM_BYTES: usize = 64 * 1024;
/// For all that one system call receives.
pub const BUFFER_BYTES: usize = BATCH_SIZE * DATAGRAM_BYTES;
/// For the bursts of a keyframe while the thread does something else.
const SOCKET_BUFFER_BYTES: usize = 1024 * 1024;

/// Everything decrypted, before `rtc` looks at it: it would drop some.
type Inbox = Arc<Mutex<Vec<Packet>>>;

/// One endpoint.
pub struct SansIo {
    pc: RTCPeerConnection,
    headers_only: bool,
    socket: Socket,
    inbox: Inbox,
    channels: Vec<(RTCDataChannelId, Channel)>,
    units: Units,
    /// Taken from `rtc`, not yet by the owner.
    events: Vec<Event>,
}

struct Socket {
    udp: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
}

impl SansIo {
    /// An endpoint that has negotiated nothing yet.
    pub fn open(
        purpose: Purpose,
        media: Media,
        certificate: RTCCertificate,
        address: IpAddr,
    ) -> Result<Self, Error> {
        let inbox = Inbox::default();
        let tap = Tap { inbox: inbox.clone(), write: Vec::new().into() };
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(RTCConfigurationBuilder::new().with_certificates(vec![certificate]).build())
            .with_media_engine(media_engine(media).map_err(failed("codecs"))?)
            .with_setting_engine(settings(purpose))
            .with_interceptor_registry(Registry::new().with(Slot::NackResponder, tap))
            .build(Instant::now())
            .map_err(failed("peer connection"))?;
        let mut channels = Vec::new();
        for (channel, label, init) in data_channels(purpose) {
            let created = pc.create_data_channel(label, Some(init)).map_err(failed("data channel"))?;
            channels.push((created.id(), channel));
        }
        if purpose == Purpose::Player {
            for kind in [RtpCodecKind::Video, RtpCodecKind::Audio] {
                pc.add_transceiver_from_kind(kind, None).map_err(failed("transceiver"))?;
            }
        }
        let headers_only = media == Media::Headers;
        let socket = Socket::bind(address)?;
        let units = Units::default();
        Ok(Self { pc, headers_only, socket, inbox, channels, units, events: Vec::new() })
    }

    fn candidate(&self) -> String {
        let local = self.socket.local;
        format!("candidate:1 1 udp 2130706431 {} {} typ host", local.ip(), local.port())
    }

    fn add_candidate(&mut self, candidate: String) -> Result<(), Error> {
        let init = RTCIceCandidateInit { candidate, ..Default::default() };
        self.pc.add_local_candidate(init).map_err(failed("candidate"))
    }

    fn receive(&mut self, now: Instant, peer_addr: SocketAddr, data: &[u8]) {
        let transport = TransportContext { local_addr: self.socket.local, peer_addr, ..Default::default() };
        // What is refused is as good as lost.
        let _ = self.pc.handle_read(TaggedBytesMut { now, transport, message: BytesMut::from(data) });
        // The end of the handshake is an event, and taking it is what installs the keys: media may be next.
        if data.first().is_some_and(|byte| (20..64).contains(byte)) {
            self.take_events();
        }
    }

    fn take_events(&mut self) {
        while let Some(event) = self.pc.poll_event() {
            match event {
                RTCPeerConnectionEvent::OnConnectionStateChangeEvent(state) => match state {
                    RTCPeerConnectionState::Connected => {
                        self.events.push(Event::Connected);
                    }
                    RTCPeerConnectionState::Failed | RTCPeerConnectionState::Closed => {
                        self.events.push(Event::Closed(format!("peer connection {state}")));
                    }
                    _ => {}
                },
                RTCPeerConnectionEvent::OnDataChannel(RTCDataChannelEvent::OnOpen(id)) => {
                    let channel = self.channel(id);
                    self.events.extend(channel.map(Event::Open));
                }
                RTCPeerConnectionEvent::OnTrack(RTCTrackEvent::OnOpen(track)) => {
                    let transceiver = self.pc.rtp_transceiver(track.receiver_id.into());
                    let mid = transceiver.and_then(|transceiver| transceiver.mid().clone());
                    self.events.extend(mid.map(|mid| Event::Track { ssrc: track.ssrc, mid }));
                }
                _ => {}
            }
        }
    }

    /// Gives out what has happened, and sends what follows from it.
    fn drive(&mut self, each: &mut dyn FnMut(Event)) {
        self.take_events();
        for event in self.events.drain(..) {
            each(event);
        }
        while let Some(message) = self.pc.poll_read() {
            if let RTCMessage::DataChannelMessage(id, message) = message.message
                && let Some(channel) = self.channel(id)
            {
                each(Event::Message(channel, String::from_utf8_lossy(&message.data).into_owned()));
            }
        }
        let packets = std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for packet in packets {
            match packet {
                Packet::Rtp(packet) => {
                    if let Some(event) = self.units.push(&packet) {
                        each(event);
                    }
                }
                Packet::Rtcp(packets) => {
                    for event in sender_reports(&packets).chain(requests(&packets)) {
                        each(event);
                    }
                }
                _ => {}
            }
        }
        self.transmit();
    }

    fn transmit(&mut self) {
        while let Some(datagram) = self.pc.poll_write() {
            // Otherwise it is of a socket that was left.
            if datagram.transport.local_addr == self.socket.local {
                self.socket.send(datagram.transport.peer_addr, &datagram.message);
            }
        }
    }

    fn channel(&self, id: RTCDataChannelId) -> Option<Channel> {
        self.channels.iter().find(|(known, _)| *known == id).map(|(_, channel)| *channel)
    }
}

impl Endpoint for SansIo {
    fn fd(&self) -> BorrowedFd<'_> {
        self.socket.udp.as_fd()
    }

    fn answer(&mut self, offer: String) -> Result<String, Error> {
        let now = Instant::now();
        let first = self.pc.current_remote_description().is_none();
        let offer = RTCSessionDescription::offer(offer).map_err(failed("offer"))?;
        self.pc.set_remote_description(now, offer).map_err(failed("offer"))?;
        if first {
            self.add_candidate(self.candidate())?;
            // There are no others.
            self.add_candidate(String::new())?;
        }
        let answer = self.pc.create_answer(None).map_err(failed("answer"))?;
        let sdp = answer.sdp.clone();
        self.pc.set_local_description(now, answer).map_err(failed("answer"))?;
        self.transmit();
        Ok(sdp)
    }

    fn offer(&mut self, restart: bool) -> Result<String, Error> {
        if restart {
            self.pc.restart_ice();
            self.socket = Socket::bind(self.socket.local.ip())?;
        }
        let offer = self.pc.create_offer(None).map_err(failed("offer"))?;
        let sdp = offer.sdp.clone();
        self.pc.set_local_description(Instant::now(), offer).map_err(failed("offer"))?;
        self.add_candidate(self.candidate())?;
        Ok(sdp)
    }

    fn candidates(&self) -> Vec<String> {
        vec![self.candidate()]
    }

    fn accept(&mut self, answer: String) -> Result<(), Error> {
        let answer = RTCSessionDescription::answer(answer).map_err(failed("answer"))?;
        self.pc.set_remote_description(Instant::now(), answer).map_err(failed("answer"))
    }

    fn take(&mut self, buffer: &mut [u8], each: &mut dyn FnMut(Event)) {
        let mut for_rtc = false;
        loop {
            let mut metas = [RecvMeta::default(); BATCH_SIZE];
            let mut chunks = buffer.chunks_mut(DATAGRAM_BYTES);
            // The buffer has BATCH_SIZE chunks.
            let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
                std::array::from_fn(|_| IoSliceMut::new(chunks.next().unwrap_or_default()));
            let Ok(count) = self.socket.receive(&mut slices, &mut metas) else { break };
            let now = Instant::now();
            for (meta, slice) in metas[..count].iter().zip(&slices) {
                for data in slice[..meta.len].chunks(meta.stride.max(1)) {
                    if let Some(arrival) = arrival(data, meta.timestamp) {
                        each(Event::Rtp(arrival));
                        if self.headers_only {
                            continue;
                        }
                    }
                    self.receive(now, meta.addr, data);
                    for_rtc = true;
                }
            }
            if count < BATCH_SIZE {
                break;
            }
        }
        if for_rtc {
            self.drive(each);
        }
    }

    fn timers(&mut self, now: Instant, each: &mut dyn FnMut(Event)) {
        if self.pc.poll_timeout().is_some_and(|at| at <= now) {
            // A timer that fails ends the connection, which is seen by its event.
            let _ = self.pc.handle_timeout(now);
        }
        self.drive(each);
    }

    fn send_text(&mut self, channel: Channel, text: &str) -> bool {
        let found = self.channels.iter().find(|(_, known)| *known == channel).map(|(id, _)| *id);
        let open = found.and_then(|id| self.pc.data_channel(id));
        let sent = open.is_some_and(|mut open| open.send_text(Instant::now(), text).is_ok());
        self.transmit();
        sent
    }

    fn send_rtp(&mut self, packet: &Outgoing) {
        let mut header = rtc::rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            ..Default::default()
        };
        for (id, value) in &packet.extensions {
            // One that cannot be written is left out.
            let _ = header.set_extension(*id, value.clone());
        }
        let packet = rtc::rtp::Packet { header, payload: packet.payload.clone() };
        let message = RTCMessage::RtpPacket(String::new(), packet);
        // What cannot be sent is as good as lost.
        let _ = self.pc.handle_write(TaggedRTCMessage { now: Instant::now(), message });
        self.transmit();
    }

    fn say(&mut self, ssrc: u32, said: &[Said]) {
        let packets = said.iter().map(|said| rtcp(ssrc, said)).collect();
        let message = RTCMessage::RtcpPacket(String::new(), packets);
        // What cannot be sent is as good as lost.
        let _ = self.pc.handle_write(TaggedRTCMessage { now: Instant::now(), message });
        self.transmit();
    }

    fn close(&mut self) {
        // There is nothing left to do when even this fails.
        let _ = self.pc.close();
        self.transmit();
    }
}

impl Socket {
    fn bind(address: IpAddr) -> Result<Self, Error> {
        let io = |what| move |error| Error::Io(what, error);
        let udp = UdpSocket::bind((address, 0)).map_err(io("binding"))?;
        let state = UdpSocketState::new((&udp).into()).map_err(io("socket options"))?;
        // Datagrams are to come as they would to a browser: without coalescing, the kernel cuts what was sent
        // in one call, and the sender pays for it.
        without_coalescing(&udp).map_err(io("UDP_GRO"))?;
        // More than the system lets everybody have, where we may: what comes while this program is not scheduled is no loss of the
        // network. A smaller buffer than asked for is still one.
        if rustix::net::sockopt::set_socket_recv_buffer_size_force(&udp, SOCKET_BUFFER_BYTES).is_err() {
            let _ = state.set_recv_buffer_size((&udp).into(), SOCKET_BUFFER_BYTES);
        }
        let local = udp.local_addr().map_err(io("own address"))?;
        Ok(Self { udp, state, local })
    }

    fn receive(&self, slices: &mut [IoSliceMut<'_>], metas: &mut [RecvMeta]) -> std::io::Result<usize> {
        self.state.recv((&self.udp).into(), slices, metas)
    }

    fn send(&self, destination: SocketAddr, contents: &[u8]) {
        let transmit = Transmit { destination, ecn: None, contents, segment_size: None, src_ip: None };
        // As lossy as the network.
        let _ = self.state.try_send((&self.udp).into(), &transmit);
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

/// Takes all that arrives out of `rtc`'s pipeline, and lets what is sent pass.
struct Tap {
    inbox: Inbox,
    write: std::collections::VecDeque<TaggedPacket>,
}

impl Protocol<TaggedPacket, TaggedPacket, ()> for Tap {
    type Rout = TaggedPacket;
    type Wout = TaggedPacket;
    type Eout = ();
    type Error = rtc::shared::error::Error;
    type Time = Instant;

    fn handle_read(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner).push(message.message.packet);
        Ok(())
    }

    fn poll_read(&mut self) -> Option<TaggedPacket> {
        None
    }

    fn handle_write(&mut self, message: TaggedPacket) -> Result<(), Self::Error> {
        self.write.push_back(message);
        Ok(())
    }

    fn poll_write(&mut self) -> Option<TaggedPacket> {
        self.write.pop_front()
    }
}

impl Interceptor for Tap {
    fn bind_local_stream(&mut self, _: &StreamInfo) {}
    fn unbind_local_stream(&mut self, _: &StreamInfo) {}
    fn bind_remote_stream(&mut self, _: &StreamInfo) {}
    fn unbind_remote_stream(&mut self, _: &StreamInfo) {}
}
