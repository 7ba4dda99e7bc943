//! The WebRTC side of one peer: answers the streamer's offer.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::BytesMut;
use common::input::{GENERAL_CHANNEL, KEYS_CHANNEL, MOTION_CHANNEL};
use common::media::VideoCodec;
use rtc::data_channel::{RTCDataChannelId, RTCDataChannelInit};
use rtc::dtls::extension::extension_use_srtp::SrtpProtectionProfile;
use rtc::ice::mdns::MulticastDnsMode;
use rtc::interceptor::{Interceptor, Packet, Registry, Slot, StreamInfo, TaggedPacket};
use rtc::peer_connection::certificate::RTCCertificate;
use rtc::peer_connection::configuration::RTCConfigurationBuilder;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS, MIME_TYPE_RTX, MediaEngine,
};
use rtc::peer_connection::configuration::setting_engine::{SctpMaxMessageSize, SettingEngineBuilder};
use rtc::peer_connection::event::{RTCDataChannelEvent, RTCPeerConnectionEvent};
use rtc::peer_connection::message::RTCMessage;
use rtc::peer_connection::sdp::RTCSessionDescription;
use rtc::peer_connection::state::RTCPeerConnectionState;
use rtc::peer_connection::transport::{RTCDtlsRole, RTCIceCandidateInit};
use rtc::peer_connection::{RTCPeerConnection, RTCPeerConnectionBuilder};
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::sansio::Protocol;
use rtc::shared::{TaggedBytesMut, TransportContext};

use crate::depacketize::Depacketizer;
use crate::{Channel, Error, Event, Media};

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// Payload types in the streamer's offer.
const H264: u8 = 102;
const H265: u8 = 100;
const AV1: u8 = 45;

fn failed<E: std::fmt::Display>(what: &'static str) -> impl FnOnce(E) -> Error {
    move |error| Error::Rtc(what, error.to_string())
}

/// Everything decrypted, before `rtc` looks at it: it would drop some.
type Inbox = Arc<Mutex<Vec<Packet>>>;

/// One peer connection.
pub struct Connection {
    pc: RTCPeerConnection,
    inbox: Inbox,
    channels: Vec<(RTCDataChannelId, Channel)>,
    streams: Vec<(u32, Depacketizer)>,
    /// Taken from `rtc`, not yet by the owner.
    events: Vec<Event>,
}

impl Connection {
    /// Answers `offer`; `local` is the only candidate. Returns the answer.
    pub fn answer(
        now: Instant,
        offer: String,
        local: SocketAddr,
        certificate: &RTCCertificate,
        media: Media,
    ) -> Result<(Self, String), Error> {
        let inbox = Inbox::default();
        let tap = Tap { inbox: inbox.clone(), write: Vec::new().into() };
        let configuration =
            RTCConfigurationBuilder::new().with_certificates(vec![certificate.clone()]).build();
        let settings = SettingEngineBuilder::new()
            .with_srtp_protection_profiles(vec![SrtpProtectionProfile::Srtp_Aead_Aes_128_Gcm])
            .with_answering_dtls_role(RTCDtlsRole::Client)
            .with_multicast_dns_mode(MulticastDnsMode::Disabled)
            // As of browsers.
            .with_sctp_max_message_size(SctpMaxMessageSize::Bounded(256 * 1024))
            .build();
        let mut pc = RTCPeerConnectionBuilder::new()
            .with_configuration(configuration)
            .with_media_engine(media_engine(media).map_err(failed("codecs"))?)
            .with_setting_engine(settings)
            .with_interceptor_registry(Registry::new().with(Slot::NackResponder, tap))
            .build(now)
            .map_err(failed("peer connection"))?;
        let (ip, port) = (local.ip(), local.port());
        let candidate = format!("candidate:1 1 udp 2130706431 {ip} {port} typ host");
        for candidate in [candidate, String::new()] {
            let init = RTCIceCandidateInit { candidate, ..Default::default() };
            pc.add_local_candidate(init).map_err(failed("candidate"))?;
        }
        let offer = RTCSessionDescription::offer(offer).map_err(failed("offer"))?;
        pc.set_remote_description(now, offer).map_err(failed("offer"))?;
        let channels = create_channels(&mut pc)?;
        let answer = pc.create_answer(None).map_err(failed("answer"))?;
        let sdp = answer.sdp.clone();
        pc.set_local_description(now, answer).map_err(failed("answer"))?;
        Ok((Self { pc, inbox, channels, streams: Vec::new(), events: Vec::new() }, sdp))
    }

    /// Takes a datagram.
    pub fn receive(&mut self, now: Instant, local_addr: SocketAddr, peer_addr: SocketAddr, data: &[u8]) {
        let transport = TransportContext { local_addr, peer_addr, ..Default::default() };
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
                _ => {}
            }
        }
    }

    /// What has happened.
    pub fn poll(&mut self, mut each: impl FnMut(Event)) {
        self.take_events();
        self.events.drain(..).for_each(&mut each);
        while let Some(message) = self.pc.poll_read() {
            if let RTCMessage::DataChannelMessage(id, message) = message.message
                && let Some(channel) = self.channel(id)
            {
                each(Event::Message(channel, String::from_utf8_lossy(&message.data).into_owned()));
            }
        }
        let packets = std::mem::take(&mut *self.inbox.lock().unwrap_or_else(PoisonError::into_inner));
        for packet in packets {
            self.packet(packet, &mut each);
        }
    }

    fn packet(&mut self, packet: Packet, each: &mut impl FnMut(Event)) {
        match packet {
            Packet::Rtp(packet) => {
                let ssrc = packet.header.ssrc;
                let known = self.streams.iter().position(|(known, _)| *known == ssrc);
                let index = known.unwrap_or_else(|| {
                    self.streams.push((ssrc, Depacketizer::default()));
                    self.streams.len() - 1
                });
                let codec = match packet.header.payload_type {
                    H265 => VideoCodec::H265,
                    AV1 => VideoCodec::AV1,
                    _ => VideoCodec::H264,
                };
                let unit = self.streams[index].1.push(codec, &packet.header, &packet.payload);
                unit.into_iter().for_each(|unit| each(Event::Unit(unit)));
            }
            Packet::Rtcp(packets) => {
                let reports =
                    packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<SenderReport>());
                for report in reports {
                    let (ssrc, rtp_time, wall) = (report.ssrc, report.rtp_time, unix(report.ntp_time));
                    each(Event::SenderReport { ssrc, rtp_time, wall });
                }
            }
            _ => {}
        }
    }

    fn channel(&self, id: RTCDataChannelId) -> Option<Channel> {
        self.channels.iter().find(|(known, _)| *known == id).map(|(_, channel)| *channel)
    }

    /// Sends a text on a data channel. False when it is not open.
    pub fn send_text(&mut self, now: Instant, channel: Channel, text: &str) -> bool {
        let found = self.channels.iter().find(|(_, known)| *known == channel).map(|(id, _)| *id);
        let open = found.and_then(|id| self.pc.data_channel(id));
        open.is_some_and(|mut open| open.send_text(now, text).is_ok())
    }

    /// The next datagram to send, and where to.
    pub fn transmit(&mut self) -> Option<(SocketAddr, BytesMut)> {
        self.pc.poll_write().map(|datagram| (datagram.transport.peer_addr, datagram.message))
    }

    /// Runs timers that are due.
    pub fn timers(&mut self, now: Instant) {
        if self.pc.poll_timeout().is_some_and(|at| at <= now) {
            // A timer that fails ends the connection, which is seen by its event.
            let _ = self.pc.handle_timeout(now);
        }
    }

    /// Says goodbye; [`Connection::transmit`] is to be drained once more.
    pub fn close(&mut self) {
        // There is nothing left to do when even this fails.
        let _ = self.pc.close();
    }
}

fn create_channels(pc: &mut RTCPeerConnection) -> Result<Vec<(RTCDataChannelId, Channel)>, Error> {
    let all = [
        (KEYS_CHANNEL, Channel::Keys),
        (MOTION_CHANNEL, Channel::Motion),
        (GENERAL_CHANNEL, Channel::General),
    ];
    let mut channels = Vec::new();
    for ((label, id), channel) in all {
        let lossy = channel == Channel::Motion;
        let (max_retransmits, negotiated) = (lossy.then_some(0), Some(id));
        let init = RTCDataChannelInit { ordered: !lossy, max_retransmits, negotiated, ..Default::default() };
        let created = pc.create_data_channel(label, Some(init)).map_err(failed("data channel"))?;
        channels.push((created.id(), channel));
    }
    Ok(channels)
}

/// Wall clock time since 1970 of an NTP time.
fn unix(ntp: u64) -> Duration {
    let seconds = Duration::from_secs((ntp >> 32).saturating_sub(NTP_UNIX));
    seconds + Duration::from_nanos(((ntp & 0xffff_ffff) * 1_000_000_000) >> 32)
}

pub fn media_engine(media: Media) -> Result<MediaEngine, rtc::shared::error::Error> {
    let codec = |mime: &str, clock_rate, channels, fmtp: &str, feedback: &[(&str, &str)], payload_type| {
        let rtcp_feedback = feedback
            .iter()
            .map(|(typ, parameter)| RTCPFeedback { typ: (*typ).into(), parameter: (*parameter).into() })
            .collect();
        let (mime_type, sdp_fmtp_line) = (mime.into(), fmtp.into());
        let rtp_codec = RTCRtpCodec { mime_type, clock_rate, channels, sdp_fmtp_line, rtcp_feedback };
        RTCRtpCodecParameters { rtp_codec, payload_type }
    };
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    let hevc = "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST";
    let feedback = [("ccm", "fir"), ("nack", ""), ("nack", "pli")];
    let mut engine = MediaEngine::default();
    engine.register_codec(codec(MIME_TYPE_OPUS, 48_000, 2, "stereo=1", &[], 111), RtpCodecKind::Audio)?;
    let mut video = vec![(MIME_TYPE_H264, h264, H264)];
    video.extend(match media {
        Media::UnitsOf(VideoCodec::H265) => Some((MIME_TYPE_HEVC, hevc, H265)),
        Media::UnitsOf(VideoCodec::AV1) => Some((MIME_TYPE_AV1, "level-idx=5;profile=0;tier=0", AV1)),
        _ => None,
    });
    for (mime, fmtp, payload_type) in video {
        engine.register_codec(codec(mime, 90_000, 0, fmtp, &feedback, payload_type), RtpCodecKind::Video)?;
        let apt = format!("apt={payload_type}");
        let again = codec(MIME_TYPE_RTX, 90_000, 0, &apt, &[], payload_type + 1);
        engine.register_codec(again, RtpCodecKind::Video)?;
    }
    Ok(engine)
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
