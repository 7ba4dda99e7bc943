//! What peers can receive, and what of it is made from packets.

use std::time::Duration;

use common::media::VideoCodec;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS, MIME_TYPE_RTX, MediaEngine,
};
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::payload_feedbacks::receiver_estimated_maximum_bitrate::ReceiverEstimatedMaximumBitrate;
use rtc::rtcp::sender_report::SenderReport;
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};
use rtc::rtp_transceiver::rtp_sender::{RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RtpCodecKind};
use rtc::shared::error::Error;

use crate::depacketize::Depacketizer;
use crate::{Event, Media, Said, Unit};

/// Seconds from 1900, where NTP begins, to 1970.
const NTP_UNIX: u64 = 2_208_988_800;

/// Payload types in the streamer's offer, and in those of players.
const H264: u8 = 102;
const H265: u8 = 100;
const AV1: u8 = 45;
const OPUS: u8 = 111;

/// What a peer that does this with its media can receive.
///
/// # Errors
/// When `rtc` refuses a codec.
pub fn media_engine(media: Media) -> Result<MediaEngine, Error> {
    let codec = |mime: &str, clock_rate, channels, fmtp: &str, feedback: &[(&str, &str)], payload_type| {
        let rtcp_feedback = feedback
            .iter()
            .map(|(typ, parameter)| RTCPFeedback { typ: (*typ).into(), parameter: (*parameter).into() })
            .collect();
        let rtp_codec = RTCRtpCodec {
            mime_type: mime.into(),
            clock_rate,
            channels,
            sdp_fmtp_line: fmtp.into(),
            rtcp_feedback,
        };
        RTCRtpCodecParameters { rtp_codec, payload_type }
    };
    let h264 = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";
    let hevc = "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST";
    let feedback = [("ccm", "fir"), ("nack", ""), ("nack", "pli")];
    let mut engine = MediaEngine::default();
    engine.register_codec(codec(MIME_TYPE_OPUS, 48_000, 2, "stereo=1", &[], OPUS), RtpCodecKind::Audio)?;
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

/// Joins the packets of all streams of a connection to access units.
#[derive(Default)]
pub struct Units(Vec<(u32, Depacketizer)>);

impl Units {
    /// Takes a packet; returns the unit that it completes, or the sound that it is. Retransmissions are neither.
    pub fn push(&mut self, packet: &rtc::rtp::Packet) -> Option<Event> {
        let header = &packet.header;
        let codec = match header.payload_type {
            OPUS => {
                let data = packet.payload.clone();
                return Some(Event::Sound(Unit { ssrc: header.ssrc, rtp_time: header.timestamp, data }));
            }
            H264 => VideoCodec::H264,
            H265 => VideoCodec::H265,
            AV1 => VideoCodec::AV1,
            _ => return None,
        };
        let ssrc = header.ssrc;
        let known = self.0.iter().position(|(known, _)| *known == ssrc);
        let index = known.unwrap_or_else(|| {
            self.0.push((ssrc, Depacketizer::default()));
            self.0.len() - 1
        });
        self.0[index].1.push(codec, header, &packet.payload).map(Event::Unit)
    }
}

/// The sender reports among packets of RTCP.
pub fn sender_reports(packets: &[Box<dyn rtc::rtcp::Packet>]) -> impl Iterator<Item = Event> + '_ {
    let reports = packets.iter().filter_map(|packet| packet.as_any().downcast_ref::<SenderReport>());
    reports.map(|report| Event::SenderReport {
        ssrc: report.ssrc,
        rtp_time: report.rtp_time,
        wall: unix(report.ntp_time),
    })
}

/// What the other end asks of what is sent to it, among packets of RTCP.
pub fn requests(packets: &[Box<dyn rtc::rtcp::Packet>]) -> impl Iterator<Item = Event> + '_ {
    packets.iter().filter_map(|packet| {
        let packet = packet.as_any();
        if let Some(nack) = packet.downcast_ref::<TransportLayerNack>() {
            let sequences = nack.nacks.iter().flat_map(|pair| pair.packet_list()).collect();
            return Some(Event::Nack { ssrc: nack.media_ssrc, sequences });
        }
        let pli = packet.downcast_ref::<PictureLossIndication>()?;
        Some(Event::Pli { ssrc: pli.media_ssrc })
    })
}

/// What is said of a stream, as a packet.
pub fn rtcp(media_ssrc: u32, said: &Said) -> Box<dyn rtc::rtcp::Packet> {
    match said {
        Said::Keyframe => Box::new(PictureLossIndication { media_ssrc, ..Default::default() }),
        Said::Missing(sequences) => {
            let nacks = nack_pairs_from_sequence_numbers(sequences);
            Box::new(TransportLayerNack { media_ssrc, nacks, ..Default::default() })
        }
        Said::AtMost(bitrate) => Box::new(ReceiverEstimatedMaximumBitrate {
            bitrate: *bitrate,
            ssrcs: vec![media_ssrc],
            ..Default::default()
        }),
    }
}

/// Wall clock time since 1970 of an NTP time.
fn unix(ntp: u64) -> Duration {
    let seconds = Duration::from_secs((ntp >> 32).saturating_sub(NTP_UNIX));
    seconds + Duration::from_nanos(((ntp & 0xffff_ffff) * 1_000_000_000) >> 32)
}
