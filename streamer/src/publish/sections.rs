//! The media sections in which a peer may send to us, read from both descriptions: payload types and header extensions are those
//! of ours, which say what may be sent (RFC 8829 §5.3); SSRCs and layers are the peer's.

use std::collections::BTreeMap;

use common::media::VideoCodec;
use common::signal::PublishKind;

/// Streams of one section that are kept: two layers and the retransmissions of each, and as many from before a change.
const MAX_SSRCS: usize = 8;

/// What a publisher of pictures needs.
pub const VIDEO_EXTENSIONS: &[&str] = &[MID, RID, REPAIRED_RID, TRANSPORT_CC];
/// What one of sound does.
pub const AUDIO_EXTENSIONS: &[&str] = &[MID, AUDIO_LEVEL, TRANSPORT_CC];

const MID: &str = "urn:ietf:params:rtp-hdrext:sdes:mid";
const RID: &str = "urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id";
const REPAIRED_RID: &str = "urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id";
const AUDIO_LEVEL: &str = "urn:ietf:params:rtp-hdrext:ssrc-audio-level";
const TRANSPORT_CC: &str = "http://www.ietf.org/id/draft-holmer-rmcat-transport-wide-cc-extensions-01";

/// What a payload type is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// A picture.
    Video(VideoCodec),
    /// Sound.
    Opus,
    /// Retransmissions of another payload type (RFC 4588).
    Rtx(u8),
}

/// Ids of header extensions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionIds {
    /// The section's mid (RFC 9143 §15).
    pub mid: Option<u8>,
    /// The layer (RFC 8852).
    pub rid: Option<u8>,
    /// The layer that a packet repairs.
    pub repaired_rid: Option<u8>,
    /// How loud the sound is (RFC 6464).
    pub audio_level: Option<u8>,
    /// The transport-wide number.
    pub transport_cc: Option<u8>,
}

/// One section in which a peer may send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// What it is for.
    pub kind: PublishKind,
    /// Its mid.
    pub mid: String,
    /// What its payload types are.
    pub formats: BTreeMap<u8, Format>,
    /// Ids of its header extensions.
    pub extensions: ExtensionIds,
    /// SSRCs that the peer has announced, each with whether it is of retransmissions.
    pub ssrcs: Vec<(u32, bool)>,
}

/// The sections in which we receive and the peer may send. The first video section is the camera's, the second one the
/// screen's.
pub fn read(ours: &str, theirs: &str) -> Vec<Section> {
    let mut kinds = [PublishKind::Camera, PublishKind::Screen].into_iter();
    let mut microphone = Some(PublishKind::Microphone);
    let mut sections = Vec::new();
    let mut peers = media(theirs);
    for section in media(ours) {
        let peer = peers.next();
        if !section.lines().any(|line| line.trim_end() == "a=recvonly") {
            continue;
        }
        let kind = if section.starts_with("video") { kinds.next() } else { microphone.take() };
        let Some(kind) = kind.filter(|_| !section.starts_with("application")) else { continue };
        sections.push(Section {
            kind,
            mid: attribute(section, "mid").unwrap_or_default().to_owned(),
            formats: formats(section),
            extensions: extensions(section),
            ssrcs: peer.map(ssrcs).unwrap_or_default(),
        });
    }
    sections
}

/// A description's sections, each from its kind on.
fn media(sdp: &str) -> impl Iterator<Item = &str> {
    sdp.split("\nm=").skip(1)
}

fn attributes<'a>(section: &'a str, name: &'a str) -> impl Iterator<Item = &'a str> {
    section.lines().filter_map(move |line| {
        line.strip_prefix("a=")?.strip_prefix(name)?.strip_prefix(':').map(str::trim_end)
    })
}

fn attribute<'a>(section: &'a str, name: &'a str) -> Option<&'a str> {
    attributes(section, name).next()
}

fn formats(section: &str) -> BTreeMap<u8, Format> {
    let mut formats = BTreeMap::new();
    for map in attributes(section, "rtpmap") {
        let Some((payload_type, encoding)) = map.split_once(' ') else { continue };
        let Some(payload_type) = payload_type.parse().ok().filter(|number: &u8| *number < 128) else {
            continue;
        };
        let name = encoding.split('/').next().unwrap_or_default().to_ascii_uppercase();
        let format = match name.as_str() {
            "H264" => Format::Video(VideoCodec::H264),
            "H265" => Format::Video(VideoCodec::H265),
            "VP8" => Format::Video(VideoCodec::VP8),
            "VP9" => Format::Video(VideoCodec::VP9),
            "AV1" => Format::Video(VideoCodec::AV1),
            "OPUS" => Format::Opus,
            "RTX" => match repaired(section, payload_type) {
                Some(of) => Format::Rtx(of),
                None => continue,
            },
            _ => continue,
        };
        formats.insert(payload_type, format);
    }
    formats
}

/// The payload type whose retransmissions have this one.
fn repaired(section: &str, payload_type: u8) -> Option<u8> {
    attributes(section, "fmtp").find_map(|line| {
        let (of, parameters) = line.split_once(' ')?;
        let apt = parameters.split(';').find_map(|parameter| parameter.trim().strip_prefix("apt="))?;
        (of == payload_type.to_string()).then(|| apt.parse().ok()).flatten()
    })
}

fn extensions(section: &str) -> ExtensionIds {
    let id = |wanted: &str| {
        attributes(section, "extmap").find_map(|line| {
            let (id, uri) = line.split_once(' ')?;
            // A direction may follow the id.
            let id = id.split('/').next()?.parse().ok()?;
            (uri.split(' ').next() == Some(wanted)).then_some(id)
        })
    };
    ExtensionIds {
        mid: id(MID),
        rid: id(RID),
        repaired_rid: id(REPAIRED_RID),
        audio_level: id(AUDIO_LEVEL),
        transport_cc: id(TRANSPORT_CC),
    }
}

fn ssrcs(section: &str) -> Vec<(u32, bool)> {
    let groups = attributes(section, "ssrc-group").filter_map(|group| group.strip_prefix("FID "));
    let repairs: Vec<u32> =
        groups.filter_map(|group| group.split_whitespace().nth(1)?.parse().ok()).take(MAX_SSRCS).collect();
    let mut ssrcs: Vec<(u32, bool)> = Vec::new();
    for line in attributes(section, "ssrc") {
        let Some(ssrc) = line.split(' ').next().and_then(|ssrc| ssrc.parse().ok()) else { continue };
        if ssrcs.len() < MAX_SSRCS && ssrcs.iter().all(|(known, _)| *known != ssrc) {
            ssrcs.push((ssrc, repairs.contains(&ssrc)));
        }
    }
    ssrcs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sections_are_those_that_we_receive_in() {
        let ours = "v=0\r\nm=video 9 UDP/TLS/RTP/SAVPF 102\r\na=mid:0\r\na=sendonly\r\n\
            m=video 9 UDP/TLS/RTP/SAVPF 102 103 96\r\na=mid:2\r\na=recvonly\r\n\
            a=rtpmap:102 H264/90000\r\na=fmtp:102 packetization-mode=1\r\na=rtpmap:103 rtx/90000\r\n\
            a=fmtp:103 apt=102\r\na=rtpmap:96 VP8/90000\r\na=rtpmap:97 ulpfec/90000\r\n\
            a=extmap:4/recvonly urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
            a=extmap:5 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
            m=video 9 x\r\na=mid:3\r\na=recvonly\r\nm=video 9 x\r\na=mid:4\r\na=recvonly\r\n\
            m=audio 9 x\r\na=mid:5\r\na=recvonly\r\na=rtpmap:111 opus/48000/2\r\n\
            a=extmap:1 urn:ietf:params:rtp-hdrext:ssrc-audio-level\r\n\
            m=application 9 x\r\na=mid:6\r\na=recvonly\r\n";
        let theirs = "v=0\r\nm=video 9 x\r\na=ssrc:7 cname:x\r\nm=video 9 x\r\n\
            a=ssrc-group:FID 11 12\r\na=ssrc:11 cname:x\r\na=ssrc:11 msid:a b\r\na=ssrc:12 cname:x\r\n\
            m=video 9 x\r\n";
        let sections = read(ours, theirs);
        let kinds: Vec<_> = sections.iter().map(|section| (section.kind, section.mid.as_str())).collect();
        use PublishKind::{Camera, Microphone, Screen};
        assert_eq!(kinds, [(Camera, "2"), (Screen, "3"), (Microphone, "5")]);
        let camera = &sections[0];
        assert_eq!(camera.formats[&103], Format::Rtx(102));
        assert_eq!(camera.formats.len(), 3);
        assert_eq!((camera.extensions.mid, camera.extensions.rid), (Some(4), Some(5)));
        assert_eq!(camera.ssrcs, [(11, false), (12, true)]);
        assert_eq!(sections[2].formats[&111], Format::Opus);
        assert_eq!(sections[2].extensions.audio_level, Some(1));
    }
}
