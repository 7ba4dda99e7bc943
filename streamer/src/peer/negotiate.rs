//! What is negotiated with a peer: codecs, header extensions, the media sections of an offer.
//!
//! ```text
//! mid 0, 1        video0, audio0     sendonly, msid slot0      all slots, active or not
//! mid 2, 3        video1, audio1
//! …
//! mid 2N, 2N+1    video              recvonly, two simulcast layers   where a controller may publish
//! mid 2N+2        audio              recvonly
//! mid 2N+3        application        data channels keys, motion, general
//! ```

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::net::IpAddr;

use common::id::SlotIndex;
use common::media::{AUDIO_CLOCK_HZ, VIDEO_CLOCK_HZ, VideoCodec};
use common::nat;
use rtc::media_stream::MediaStreamTrack;
use rtc::peer_connection::RTCPeerConnection;
use rtc::peer_connection::configuration::media_engine::{
    MIME_TYPE_AV1, MIME_TYPE_H264, MIME_TYPE_HEVC, MIME_TYPE_OPUS, MIME_TYPE_RTX, MIME_TYPE_VP8,
    MIME_TYPE_VP9, MediaEngine,
};
use rtc::rtp_transceiver::rtp_sender::{
    RTCPFeedback, RTCRtpCodec, RTCRtpCodecParameters, RTCRtpCodingParameters, RTCRtpEncodingParameters,
    RTCRtpHeaderExtensionCapability, RTCRtpRtxParameters, RtpCodecKind,
};
use rtc::rtp_transceiver::{
    RTCRtpSenderId, RTCRtpTransceiverDirection, RTCRtpTransceiverId, RTCRtpTransceiverInit,
};
use rtc::shared::error::Error;

use super::slot::{Codecs, PayloadTypes};
use crate::publish::sections;

/// Lets the receiver show frames without smoothing their timing.
pub const PLAYOUT_DELAY: &str = "http://www.webrtc.org/experiments/rtp-hdrext/playout-delay";
/// Numbers packets of all streams together, so that the receiver can say when each arrived.
pub const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";
/// How loud a packet of sound is (RFC 6464).
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
/// Needed to publish simulcast layers without SSRCs in the SDP.
const PUBLISH_EXTENSIONS: [&str; 3] = [
    "urn:ietf:params:rtp-hdrext:sdes:mid",
    "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id",
    "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id",
];

/// Constrained baseline, level 3.1, or higher if the receiver can decode it (level-asymmetry).
const H264_FMTP: &str = "level-asymmetry-allowed=1;packetization-mode=1;profile-level-id=42e01f";

/// Video codecs in order of preference: name, parameters, payload type; retransmissions have the next one.
const VIDEO_CODECS: [(VideoCodec, &str, &str, u8); 5] = [
    (VideoCodec::H264, MIME_TYPE_H264, H264_FMTP, 102),
    (VideoCodec::VP8, MIME_TYPE_VP8, "", 96),
    (VideoCodec::VP9, MIME_TYPE_VP9, "profile-id=0", 98),
    (VideoCodec::AV1, MIME_TYPE_AV1, "level-idx=5;profile=0;tier=0", 45),
    (VideoCodec::H265, MIME_TYPE_HEVC, "level-id=93;profile-id=1;tier-flag=0;tx-mode=SRST", 100),
];

const OPUS_FMTP: &str = "minptime=10;useinbandfec=1;stereo=1;sprop-stereo=1";
const OPUS_PAYLOAD_TYPE: u8 = 111;

/// All codecs that a slot may carry, so that its codec can change without renegotiation.
pub fn media_engine() -> Result<MediaEngine, Error> {
    let mut engine = MediaEngine::default();
    engine.register_codec(opus(), RtpCodecKind::Audio)?;
    for (_, mime, fmtp, payload_type) in VIDEO_CODECS {
        engine.register_codec(video(mime, fmtp, payload_type), RtpCodecKind::Video)?;
        engine.register_codec(rtx(payload_type), RtpCodecKind::Video)?;
    }
    let capability = |uri: &str| RTCRtpHeaderExtensionCapability { uri: uri.into() };
    engine.register_header_extension(capability(PLAYOUT_DELAY), RtpCodecKind::Video, None)?;
    engine.register_header_extension(capability(TRANSPORT_CC), RtpCodecKind::Video, None)?;
    for uri in PUBLISH_EXTENSIONS {
        engine.register_header_extension(capability(uri), RtpCodecKind::Video, None)?;
    }
    engine.register_header_extension(capability(PUBLISH_EXTENSIONS[0]), RtpCodecKind::Audio, None)?;
    engine.register_header_extension(capability(AUDIO_LEVEL), RtpCodecKind::Audio, None)?;
    Ok(engine)
}

fn feedback(kind: &str, parameter: &str) -> RTCPFeedback {
    RTCPFeedback { typ: kind.into(), parameter: parameter.into() }
}

fn video(mime: &str, fmtp: &str, payload_type: u8) -> RTCRtpCodecParameters {
    let kinds = [("ccm", "fir"), ("nack", ""), ("nack", "pli"), ("transport-cc", "")];
    let rtcp_feedback = kinds.into_iter().map(|(kind, parameter)| feedback(kind, parameter)).collect();
    codec(mime, VIDEO_CLOCK_HZ, 0, fmtp, rtcp_feedback, payload_type)
}

fn rtx(of: u8) -> RTCRtpCodecParameters {
    codec(MIME_TYPE_RTX, VIDEO_CLOCK_HZ, 0, &format!("apt={of}"), Vec::new(), of + 1)
}

fn opus() -> RTCRtpCodecParameters {
    codec(MIME_TYPE_OPUS, AUDIO_CLOCK_HZ, 2, OPUS_FMTP, Vec::new(), OPUS_PAYLOAD_TYPE)
}

fn codec(
    mime: &str,
    clock_rate: u32,
    channels: u16,
    fmtp: &str,
    rtcp_feedback: Vec<RTCPFeedback>,
    payload_type: u8,
) -> RTCRtpCodecParameters {
    let mime_type = mime.into();
    let sdp_fmtp_line = fmtp.into();
    let rtp_codec = RTCRtpCodec { mime_type, clock_rate, channels, sdp_fmtp_line, rtcp_feedback };
    RTCRtpCodecParameters { rtp_codec, payload_type }
}

/// Adds the two sending sections of a slot: the next two mids of an offer. Returns the index of its video sender; that of
/// its sound is the next.
pub fn add_slot(
    pc: &mut RTCPeerConnection,
    slot: SlotIndex,
    video: (u32, u32),
    audio_ssrc: u32,
) -> Result<usize, Error> {
    let index = pc.get_transceivers().count();
    let kinds = [
        (RtpCodecKind::Video, "video", video.0, Some(RTCRtpRtxParameters { ssrc: video.1 })),
        (RtpCodecKind::Audio, "audio", audio_ssrc, None),
    ];
    for (kind, name, ssrc, rtx) in kinds {
        // With no codec named here, all of the media engine's are offered.
        let encoding = RTCRtpEncodingParameters {
            rtp_coding_parameters: RTCRtpCodingParameters { ssrc: Some(ssrc), rtx, ..Default::default() },
            active: true,
            ..Default::default()
        };
        let stream = format!("slot{slot}");
        let track = format!("{name}{slot}");
        let track = MediaStreamTrack::new(stream, track, String::new(), kind, vec![encoding]);
        let direction = RTCRtpTransceiverDirection::Sendonly;
        pc.add_transceiver_from_track(
            track,
            Some(RTCRtpTransceiverInit { direction, ..Default::default() }),
        )?;
    }
    Ok(index)
}

/// The description with `public` addresses in its candidates in place of our own; see [`nat::offered`]. Of candidates that become
/// equal, the first one stays, which has the highest priority.
pub fn with_public_ips(sdp: &str, public: &[IpAddr]) -> String {
    if public.is_empty() {
        return sdp.to_owned();
    }
    let mut lines = Vec::new();
    let mut offered = HashSet::new();
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            offered.clear();
        }
        // foundation component transport priority address port typ …
        let mut words: Vec<&str> = line.split(' ').collect();
        let own = words.get(4).and_then(|address| address.parse().ok());
        let (Some(own), true) = (own, line.starts_with("a=candidate:")) else {
            lines.push(line.to_owned());
            continue;
        };
        let address = nat::offered(own, public).to_string();
        let word = |n: usize| words.get(n).copied().unwrap_or_default().to_owned();
        if offered.insert((word(2), address.clone(), word(5))) {
            words[4] = &address;
            lines.push(words.join(" "));
        }
    }
    lines.concat()
}

/// The host of a candidate, an address or a name: `candidate:` and then foundation, component, transport, priority, address
/// (RFC 8839 §5.1). The prefix may be missing, as `rtc` takes it without.
pub fn candidate_host(candidate: &str) -> Option<&str> {
    candidate.split_whitespace().nth(4)
}

/// A description with only those candidates whose addresses are `usable`, each once, as some clients repeat them in every
/// section; and their number. Candidates with names are left out, as names are never resolved.
pub fn with_candidates(sdp: &str, usable: impl Fn(IpAddr) -> bool) -> (String, usize) {
    let mut out = String::with_capacity(sdp.len());
    let mut kept = HashSet::new();
    let mut left_out = false;
    for line in sdp.split_inclusive(['\n', '\r']) {
        // The line feed of a line that was left out: an empty line would end the description.
        if line == "\n" && left_out {
            continue;
        }
        left_out = false;
        // The parser allows blanks here.
        let attribute = line.strip_prefix("a=").map(str::trim_start);
        if let Some(candidate) = attribute.and_then(|attribute| attribute.strip_prefix("candidate:")) {
            let host = candidate_host(candidate).and_then(|host| host.parse().ok());
            if !host.is_some_and(&usable) || !kept.insert(candidate.trim_end()) {
                left_out = true;
                continue;
            }
        }
        out.push_str(line);
    }
    (out, kept.len())
}

/// Whether the next offer sends in the sections of a slot, whose video sender is `index`.
pub fn set_sending(pc: &mut RTCPeerConnection, index: usize, sending: bool) {
    let direction =
        if sending { RTCRtpTransceiverDirection::Sendonly } else { RTCRtpTransceiverDirection::Inactive };
    for index in [index, index + 1] {
        if let Some(mut transceiver) = pc.rtp_transceiver(RTCRtpTransceiverId::from(index)) {
            transceiver.set_direction(direction);
        }
    }
}

/// Adds the receiving sections in which a controller can publish later by `replaceTrack`.
pub fn add_publishing_sections(pc: &mut RTCPeerConnection) -> Result<(), Error> {
    for kind in [RtpCodecKind::Video, RtpCodecKind::Video, RtpCodecKind::Audio] {
        // Without an init the direction is recvonly.
        pc.add_transceiver_from_kind(kind, None)?;
    }
    Ok(())
}

/// The offer as it is sent to the browser: `rtc` cannot offer to receive simulcast, so the layers are added
/// to the copy that is sent (RFC 8853).
pub fn with_simulcast(sdp: &str) -> String {
    const LAYERS: &str = "a=rid:h recv\r\na=rid:l recv\r\na=simulcast:recv h;l\r\n";
    let mut out = String::with_capacity(sdp.len() + 2 * LAYERS.len());
    for (n, section) in sdp.split("m=").enumerate() {
        if n > 0 {
            out.push_str("m=");
        }
        out.push_str(section);
        if section.starts_with("video") && section.contains("a=recvonly") {
            out.push_str(LAYERS);
        }
    }
    out
}

/// The offer as it is sent, with the header extensions that a publisher needs in each section in which we receive. `rtc` offers what
/// it has registered the first time, and later only what was agreed on for the sections that there were.
pub fn with_publishing_extensions(sdp: &str) -> String {
    // Of a bundle, an id means the same in all sections (RFC 8843 §7.1).
    let mut ids: BTreeMap<&str, u8> = sdp.lines().filter_map(extension).collect();
    let mut out = String::with_capacity(sdp.len() + 1024);
    for (n, section) in sdp.split("m=").enumerate() {
        if n > 0 {
            out.push_str("m=");
        }
        out.push_str(section);
        let wanted = match section {
            _ if !section.contains("a=recvonly") => continue,
            _ if section.starts_with("video") => sections::VIDEO_EXTENSIONS,
            _ if section.starts_with("audio") => sections::AUDIO_EXTENSIONS,
            _ => continue,
        };
        let offered: BTreeSet<&str> = section.lines().filter_map(extension).map(|(uri, _)| uri).collect();
        for uri in wanted.iter().copied().filter(|uri| !offered.contains(uri)) {
            let free = |id: &u8| !ids.values().any(|taken| taken == id);
            // One-byte headers have 14 ids (RFC 8285 §4.2).
            let Some(id) = ids.get(uri).copied().or_else(|| (1..=14).rev().find(free)) else { continue };
            ids.insert(uri, id);
            out.push_str(&format!("a=extmap:{id} {uri}\r\n"));
        }
    }
    out
}

/// The header extension that a line names, and its id.
fn extension(line: &str) -> Option<(&str, u8)> {
    let (id, uri) = line.strip_prefix("a=extmap:")?.trim_end().split_once(' ')?;
    Some((uri.split(' ').next()?, id.split('/').next()?.parse().ok()?))
}

/// A peer's description without the streams that it announces, as `rtc` gets it: it would keep a state for each, and finds them in
/// fewer ways than we do; see [`crate::publish::demux`].
pub fn without_streams(sdp: &str) -> String {
    // A section with an msid must have an SSRC or rids for `rtc`.
    const STREAMS: [&str; 5] = ["a=msid:", "a=ssrc:", "a=ssrc-group:", "a=rid:", "a=simulcast:"];
    let kept = sdp.split_inclusive('\n').filter(|line| !STREAMS.iter().any(|name| line.starts_with(name)));
    kept.collect()
}

/// A peer's offer as `rtc` gets it, with `direction` for sections in which the peer would send as well as receive: what of that
/// becomes true is a matter of the answer. `rtc` takes the transport of the first section for all of them, as we bundle everything,
/// and would refuse others that differ from it.
pub fn one_way(offer: &str, direction: &str) -> String {
    const TRANSPORT: [&str; 3] = ["a=candidate:", "a=ice-ufrag:", "a=ice-pwd:"];
    let mut sections = 0;
    let mut out = String::with_capacity(offer.len());
    for line in offer.split_inclusive('\n') {
        sections += usize::from(line.starts_with("m="));
        if sections > 1 && TRANSPORT.iter().any(|name| line.starts_with(name)) {
            continue;
        }
        match line.strip_prefix("a=sendrecv") {
            Some(end) => out.extend([direction, end]),
            None => out.push_str(line),
        }
    }
    out
}

/// The ICE user name in a description; that of the first section, as all share one transport.
pub fn ice_ufrag(sdp: &str) -> Option<&str> {
    sdp.lines().find_map(|line| line.strip_prefix("a=ice-ufrag:")).map(str::trim_end)
}

/// A description with another transport: with these credentials instead of its own, and only these candidates, in its
/// first section.
pub fn with_transport(sdp: &str, ufrag: &str, pwd: &str, candidates: &[String]) -> String {
    let mut sections = 0;
    let mut out = String::with_capacity(sdp.len());
    let add_candidates = |out: &mut String| {
        for candidate in candidates {
            out.extend(["a=", candidate, "\r\n"]);
        }
    };
    for line in sdp.split_inclusive('\n') {
        if line.starts_with("m=") {
            sections += 1;
            if sections == 2 {
                add_candidates(&mut out);
            }
        }
        if line.starts_with("a=ice-ufrag:") {
            out.extend(["a=ice-ufrag:", ufrag, "\r\n"]);
        } else if line.starts_with("a=ice-pwd:") {
            out.extend(["a=ice-pwd:", pwd, "\r\n"]);
        } else if !line.starts_with("a=candidate:") && !line.starts_with("a=end-of-candidates") {
            out.push_str(line);
        }
    }
    if sections == 1 {
        add_candidates(&mut out);
    }
    out
}

/// True when a section of the offer was found for one of our senders.
fn has_section(pc: &mut RTCPeerConnection, sender: usize) -> bool {
    let id = pc.get_transceivers().nth(sender);
    id.and_then(|id| pc.rtp_transceiver(id)).is_some_and(|transceiver| transceiver.mid().is_some())
}

/// Codecs that one sender may send, once offer and answer are in place; none if the peer did not offer to receive them.
fn negotiated(pc: &mut RTCPeerConnection, sender: usize) -> Vec<RTCRtpCodecParameters> {
    if !has_section(pc, sender) {
        return Vec::new();
    }
    let sender = pc.rtp_sender(RTCRtpSenderId::from(sender));
    sender.map(|mut sender| sender.get_parameters().rtp_parameters.codecs.clone()).unwrap_or_default()
}

/// Payload types of a video sender.
pub fn video_codecs(pc: &mut RTCPeerConnection, sender: usize) -> Codecs {
    let negotiated = negotiated(pc, sender);
    let mut codecs = Codecs::default();
    for (codec, mime, ..) in VIDEO_CODECS {
        let fits = |c: &&RTCRtpCodecParameters| {
            let mode_0 =
                mime == MIME_TYPE_H264 && !c.rtp_codec.sdp_fmtp_line.contains("packetization-mode=1");
            c.rtp_codec.mime_type.eq_ignore_ascii_case(mime) && !mode_0
        };
        let types = negotiated.iter().find(fits).map(|chosen| {
            let apt = format!("apt={}", chosen.payload_type);
            let rtx = negotiated.iter().find(|c| c.rtp_codec.sdp_fmtp_line == apt);
            PayloadTypes { media: chosen.payload_type, rtx: rtx.map(|rtx| rtx.payload_type) }
        });
        codecs.set(codec, types);
    }
    codecs
}

/// Payload type of a sound sender.
pub fn audio_payload_type(pc: &mut RTCPeerConnection, sender: usize) -> Option<u8> {
    let is_opus = |c: &&RTCRtpCodecParameters| c.rtp_codec.mime_type.eq_ignore_ascii_case(MIME_TYPE_OPUS);
    negotiated(pc, sender).iter().find(is_opus).map(|opus| opus.payload_type)
}

/// Id of a negotiated header extension at one sender.
pub fn extension_id(pc: &mut RTCPeerConnection, sender: usize, uri: &str) -> Option<u8> {
    let mut sender = pc.rtp_sender(RTCRtpSenderId::from(sender))?;
    let extensions = &sender.get_parameters().rtp_parameters.header_extensions;
    let id = extensions.iter().find(|extension| extension.uri == uri)?.id;
    // One-byte headers (RFC 8285 §4.2) hold 1..=14.
    u8::try_from(id).ok().filter(|id| (1..=14).contains(id))
}

/// Mids of a slot in an offer that has been made: video, whose sender is `index`, and audio.
pub fn mids(pc: &mut RTCPeerConnection, index: usize) -> Option<(String, String)> {
    let mut mid = |sender| {
        let id = pc.get_transceivers().nth(sender)?;
        pc.rtp_transceiver(id)?.mid().clone()
    };
    Some((mid(index)?, mid(index + 1)?))
}

/// Mids of a slot in our offers, where all slots are in the first one: video and audio.
pub fn offered_mids(slot: SlotIndex) -> (String, String) {
    let video = 2 * u16::from(slot);
    (video.to_string(), (video + 1).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn candidates_bear_the_public_address_once() {
        let sdp = "v=0\r\nm=video 9 x\r\na=candidate:1 1 udp 2130706431 10.0.0.2 5000 typ host\r\n\
                   a=candidate:2 1 udp 2130706175 10.1.0.2 5000 typ host\r\n\
                   a=candidate:3 1 udp 2130705919 fd00::2 5001 typ host\r\n\
                   a=candidate:4 1 udp 2130705663 127.0.0.1 5000 typ host\r\nm=audio 9 x\r\n";
        let public = with_public_ips(sdp, &["203.0.113.7".parse().unwrap()]);
        assert_eq!(
            public,
            "v=0\r\nm=video 9 x\r\na=candidate:1 1 udp 2130706431 203.0.113.7 5000 typ host\r\n\
             a=candidate:3 1 udp 2130705919 fd00::2 5001 typ host\r\n\
             a=candidate:4 1 udp 2130705663 127.0.0.1 5000 typ host\r\nm=audio 9 x\r\n"
        );
        assert_eq!(with_public_ips(sdp, &[]), sdp);
    }

    #[test]
    fn candidates_at_unusable_addresses_are_left_out_and_the_same_count_once() {
        let candidate = |host: &str| format!("a=candidate:1 1 udp 2130706431 {host} 5000 typ host\r\n");
        let good = candidate("192.0.2.1");
        let other = candidate("2001:db8::1");
        let denied = candidate("169.254.169.254");
        let indented = denied.replacen("a=", "a= ", 1);
        let bad = [denied, indented, candidate("x.local"), "a=candidate:1 1 udp\r\n".to_owned()];
        let sdp =
            format!("v=0\r\nm=video 9 x\r\n{good}{}m=audio 9 x\r\n{good}{other}a=mid:1\r\n", bad.concat());
        let denied: IpAddr = "169.254.169.254".parse().unwrap();
        let expected = format!("v=0\r\nm=video 9 x\r\n{good}m=audio 9 x\r\n{other}a=mid:1\r\n");
        assert_eq!(with_candidates(&sdp, |ip| ip != denied), (expected, 2));
    }

    #[test]
    fn a_restart_is_the_same_offer_with_another_transport() {
        let offer = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:1\r\n\
            a=end-of-candidates\r\na=recvonly\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\n";
        let expected = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:c\r\na=ice-pwd:d\r\na=recvonly\r\n\
            a=candidate:2\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=recvonly\r\n";
        assert_eq!(with_transport(offer, "c", "d", &["candidate:2".to_owned()]), expected);
        assert_eq!((ice_ufrag(offer), ice_ufrag(expected), ice_ufrag("v=0")), (Some("a"), Some("c"), None));
        let one = "v=0\r\nm=video 9\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\n";
        let expected = "v=0\r\nm=video 9\r\na=ice-ufrag:c\r\na=ice-pwd:d\r\na=candidate:2\r\n";
        assert_eq!(with_transport(one, "c", "d", &["candidate:2".to_owned()]), expected);
    }

    #[test]
    fn a_later_offer_has_what_publishers_need_by_ids_that_mean_nothing_else() {
        let offer = "v=0\r\nm=video 9 x\r\na=extmap:14 urn:other\r\n\
            a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:mid\r\na=sendonly\r\n\
            m=audio 9 x\r\na=recvonly\r\nm=video 9 x\r\na=recvonly\r\n";
        let offer = with_publishing_extensions(offer);
        let sections: Vec<_> = offer.split("m=").skip(1).map(|s| s.lines().filter_map(extension)).collect();
        let of: Vec<BTreeMap<&str, u8>> = sections.into_iter().map(Iterator::collect).collect();
        assert_eq!(of[0].len(), 2, "where we send it stays as it was");
        assert_eq!(
            (of[1].len(), of[2].len()),
            (sections::AUDIO_EXTENSIONS.len(), sections::VIDEO_EXTENSIONS.len())
        );
        assert_eq!(of[1]["urn:ietf:params:rtp-hdrext:sdes:mid"], 3);
        let mut ids: Vec<_> = of.iter().flatten().collect();
        ids.sort_unstable();
        ids.dedup();
        let numbers: BTreeSet<_> = ids.iter().map(|(_, id)| **id).collect();
        assert_eq!(numbers.len(), ids.len(), "one meaning for each id");
        assert_eq!(with_publishing_extensions(&offer), offer, "nothing is missing any more");
    }

    #[test]
    fn a_description_without_its_streams_has_everything_else() {
        let answer = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:8\r\na=sendonly\r\na=msid:- x\r\na=rid:h send\r\n\
            a=simulcast:send h\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=ssrc-group:FID 1 2\r\na=ssrc:1 cname:x\r\na=mid:9\r\n";
        let expected = "m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=mid:8\r\na=sendonly\r\nm=audio 9 UDP/TLS/RTP/SAVPF 111\r\na=mid:9\r\n";
        assert_eq!(without_streams(answer), expected);
    }

    #[test]
    fn an_offer_has_one_transport_and_only_receives() {
        let offer = "v=0\r\na=ice-options:trickle\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:1\r\na=sendrecv\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:c\r\na=ice-pwd:d\r\na=candidate:2\r\na=recvonly\r\n";
        let expected = "v=0\r\na=ice-options:trickle\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=ice-ufrag:a\r\na=ice-pwd:b\r\na=candidate:1\r\na=recvonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 96\r\na=recvonly\r\n";
        assert_eq!(one_way(offer, "a=recvonly"), expected);
    }
}
