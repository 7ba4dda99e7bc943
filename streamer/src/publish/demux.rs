//! Which stream a packet belongs to (RFC 9143 §9.2, RFC 8852): by its SSRC once that is known, before that by what is announced or
//! by its header extensions, and by its payload type where only one section has it.

use std::collections::BTreeMap;

use common::signal::PublishKind;

use super::sections::{Format, Section};
use super::{Layer, Packet};

/// SSRCs that a peer may ever send: what is more is ignored, as is one that another section has taken.
const MAX_SSRCS: usize = 32;

/// The stream of a packet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Route {
    /// Its section.
    pub kind: PublishKind,
    /// Its layer.
    pub layer: Layer,
    /// What its payload is.
    pub format: Format,
}

/// What is known of an SSRC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Known {
    kind: PublishKind,
    layer: Layer,
    rtx: bool,
}

/// Tells the streams of one peer apart.
#[derive(Debug, Default)]
pub struct Demux {
    sections: Vec<Section>,
    known: BTreeMap<u32, Known>,
}

impl Demux {
    /// The sections are these from now on. What was learnt of SSRCs stays.
    pub fn set_sections(&mut self, sections: Vec<Section>) {
        for section in &sections {
            for (ssrc, rtx) in &section.ssrcs {
                self.learn(*ssrc, Known { kind: section.kind, layer: Layer::High, rtx: *rtx });
            }
        }
        self.sections = sections;
    }

    /// The sections.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The stream of a packet; `None` when it belongs to none.
    pub fn route(&mut self, packet: &Packet) -> Option<Route> {
        let known = match self.known.get(&packet.ssrc) {
            Some(known) => *known,
            None => {
                let known = self.find(packet)?;
                self.learn(packet.ssrc, known).then_some(known)?
            }
        };
        let section = self.section(known.kind)?;
        let format = *section.formats.get(&packet.payload_type)?;
        // A stream is what it began as: retransmissions of none other, and never the media itself.
        let fits = known.rtx == matches!(format, Format::Rtx(_));
        fits.then_some(Route { kind: known.kind, layer: known.layer, format })
    }

    /// The codec of a payload type.
    pub fn format(&self, kind: PublishKind, payload_type: u8) -> Option<Format> {
        self.section(kind)?.formats.get(&payload_type).copied()
    }

    fn section(&self, kind: PublishKind) -> Option<&Section> {
        self.sections.iter().find(|section| section.kind == kind)
    }

    fn learn(&mut self, ssrc: u32, known: Known) -> bool {
        if self.known.len() >= MAX_SSRCS {
            return false;
        }
        *self.known.entry(ssrc).or_insert(known) == known
    }

    /// What a packet says of an SSRC that is not known.
    fn find(&self, packet: &Packet) -> Option<Known> {
        let named = |section: &&Section| {
            let mid = packet.extension(section.extensions.mid);
            mid.is_some_and(|mid| mid == section.mid.as_bytes())
        };
        let named = self.sections.iter().find(named);
        let section = named.or_else(|| self.only_one_with(packet.payload_type))?;
        let rtx = matches!(section.formats.get(&packet.payload_type)?, Format::Rtx(_));
        let ids = section.extensions;
        let rid = if rtx { packet.extension(ids.repaired_rid) } else { packet.extension(ids.rid) };
        let layer = match rid {
            Some(rid) => Layer::of_rid(rid)?,
            None => Layer::High,
        };
        Some(Known { kind: section.kind, layer, rtx })
    }

    /// The section that has a payload type, if no other one does.
    fn only_one_with(&self, payload_type: u8) -> Option<&Section> {
        let mut sections = self.sections.iter().filter(|section| section.formats.contains_key(&payload_type));
        let only = sections.next()?;
        sections.next().is_none().then_some(only)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::publish::sections;
    use bytes::Bytes;
    use common::media::VideoCodec;

    fn sections(mids: &[(&str, &str)]) -> Vec<Section> {
        let of = |(kind, mid): &(&str, &str)| {
            let formats = match *kind {
                "video" => "a=rtpmap:96 VP8/90000\r\na=rtpmap:97 rtx/90000\r\na=fmtp:97 apt=96\r\n",
                _ => "a=rtpmap:111 opus/48000/2\r\n",
            };
            format!(
                "\r\nm={kind} 9 x\r\na=mid:{mid}\r\na=recvonly\r\n{formats}\
                 a=extmap:1 urn:ietf:params:rtp-hdrext:sdes:mid\r\n\
                 a=extmap:2 urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id\r\n\
                 a=extmap:3 urn:ietf:params:rtp-hdrext:sdes:repaired-rtp-stream-id"
            )
        };
        let ours: String = mids.iter().map(of).collect();
        sections::read(&format!("v=0{ours}\r\n"), "")
    }

    fn packet(ssrc: u32, payload_type: u8, extensions: &[(u8, &'static str)]) -> Packet {
        let extensions = extensions.iter().map(|(id, value)| (*id, Bytes::from(*value))).collect();
        let payload = Bytes::from_static(&[1]);
        Packet { ssrc, payload_type, marker: true, sequence: 1, timestamp: 1, extensions, payload }
    }

    const VP8: Format = Format::Video(VideoCodec::VP8);

    #[test]
    fn streams_are_found_by_their_extensions_and_known_by_their_ssrc_after_that() {
        let mut demux = Demux::default();
        demux.set_sections(sections(&[("video", "8"), ("video", "9"), ("audio", "10")]));
        let mut route = |ssrc, payload_type, extensions: &[(u8, &'static str)]| {
            let route = demux.route(&packet(ssrc, payload_type, extensions));
            route.map(|route| (route.kind, route.layer, route.format))
        };
        use PublishKind::{Camera, Microphone, Screen};
        assert_eq!(route(1, 96, &[]), None, "either video section could have it");
        assert_eq!(route(1, 96, &[(1, "8"), (2, "l")]), Some((Camera, Layer::Low, VP8)));
        assert_eq!(route(1, 96, &[]), Some((Camera, Layer::Low, VP8)));
        assert_eq!(route(2, 96, &[(1, "8"), (2, "h")]), Some((Camera, Layer::High, VP8)));
        assert_eq!(route(3, 97, &[(1, "8"), (3, "l")]), Some((Camera, Layer::Low, Format::Rtx(96))));
        assert_eq!(route(4, 96, &[(1, "9")]), Some((Screen, Layer::High, VP8)));
        assert_eq!(route(5, 111, &[]), Some((Microphone, Layer::High, Format::Opus)));
        // Another section's SSRC stays there, and media is no retransmission.
        assert_eq!(route(4, 96, &[(1, "8")]), Some((Screen, Layer::High, VP8)));
        assert_eq!(route(3, 96, &[(1, "8")]), None);
        assert_eq!(route(4, 111, &[]), None);
        assert_eq!(route(6, 96, &[(1, "8"), (2, "x")]), None, "no such layer");
    }

    #[test]
    fn only_so_many_ssrcs_are_ever_learnt() {
        let mut demux = Demux::default();
        demux.set_sections(sections(&[("video", "0")]));
        let routed = (0..1000).filter(|ssrc| demux.route(&packet(*ssrc, 96, &[])).is_some());
        assert_eq!(routed.count(), MAX_SSRCS);
    }
}
