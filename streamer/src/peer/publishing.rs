//! What a peer publishes, on its way from its connection to feeds. Decided in [`crate::publish`]; here are its outlets, and the RTCP
//! that goes back.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use common::media::VideoCodec;
use common::signal::PublishKind;
use rtc::rtcp::payload_feedbacks::picture_loss_indication::PictureLossIndication;
use rtc::rtcp::receiver_report::ReceiverReport;
use rtc::rtcp::reception_report::ReceptionReport;
use rtc::rtcp::transport_feedbacks::transport_layer_cc::{
    PacketStatusChunk, RecvDelta, StatusChunkTypeTcc, StatusVectorChunk, SymbolSizeTypeTcc, SymbolTypeTcc,
    TransportLayerCc,
};
use rtc::rtcp::transport_feedbacks::transport_layer_nack::{
    TransportLayerNack, nack_pairs_from_sequence_numbers,
};

use super::connection::Connection;
use super::{Binding, FeedId};
use crate::feed::{AudioOutlet, Cut, Demand, VideoOutlet};
use crate::media::{AccessUnit, AudioPacket, Size};
use crate::publish::arrivals::Told;
use crate::publish::frames::Frame;
use crate::publish::sections::Section;
use crate::publish::whole::put as join;
use crate::publish::{Layer, Output, Packet, Publisher, keyframe};
use crate::source::live::opus;
use crate::source::rtsp::depacketize;

/// Symbols of two bits in a chunk of arrivals.
const SYMBOLS: usize = 7;

/// Where one thing that a peer publishes goes.
pub struct Outlet {
    /// What.
    pub kind: PublishKind,
    /// Feeds of the source that it belongs to: the peer itself gets none of them.
    pub feeds: Vec<FeedId>,
    /// Its outlet.
    pub media: MediaOutlet,
}

/// Where media go.
pub enum MediaOutlet {
    /// Pictures, and the low layer of them.
    Video {
        /// The high layer, or the only one.
        high: VideoOutlet,
        /// The low one.
        low: Option<VideoOutlet>,
    },
    /// Sound.
    Audio(AudioOutlet),
}

impl fmt::Debug for Outlet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outlet").field("kind", &self.kind).field("feeds", &self.feeds).finish_non_exhaustive()
    }
}

/// What pictures that are published are, when it is known and when it changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pictured {
    /// Of what.
    pub kind: PublishKind,
    /// Their codec.
    pub codec: VideoCodec,
    /// Their size, if they say it.
    pub size: Option<Size>,
}

/// Which layers of something that is published anybody takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Of what.
    pub kind: PublishKind,
    /// The layers.
    pub layers: BTreeSet<Layer>,
}

/// A layer that nobody has taken for so long need not be sent. Whoever takes one gets it at once.
const UNUSED: Duration = Duration::from_secs(3);

/// What is known of who takes the layers of something.
#[derive(Debug, Default)]
struct Layers {
    /// As it was told last; `None`: not at all, so that all are sent.
    told: Option<BTreeSet<Layer>>,
    /// When what nobody takes any more is to be told.
    due: Option<Instant>,
}

impl Layers {
    /// What is to be told now of those that are taken.
    fn tell(&mut self, now: Instant, taken: &BTreeSet<Layer>) -> bool {
        let all: BTreeSet<_> = Layer::ALL.into();
        let told = self.told.as_ref().unwrap_or(&all);
        if told == taken {
            self.due = None;
            return false;
        }
        let wanted = !taken.is_subset(told);
        let due = *self.due.get_or_insert(now + UNUSED);
        if !wanted && now < due {
            return false;
        }
        self.told = Some(taken.clone());
        self.due = None;
        true
    }
}

/// What one peer publishes.
pub struct Publishing {
    publisher: Publisher,
    video: BTreeMap<(PublishKind, Layer), VideoOutlet>,
    layers: BTreeMap<PublishKind, Layers>,
    audio: Option<AudioOutlet>,
    /// Feeds of its sources, by what is published.
    feeds: BTreeMap<PublishKind, Vec<FeedId>>,
    pictured: BTreeMap<PublishKind, Pictured>,
    /// News of that which nobody has taken yet.
    told: Vec<Pictured>,
    /// Whether the peer speaks, if that is news.
    speaking: Option<bool>,
    /// Scratch space.
    packets: Vec<Packet>,
    out: Vec<Output>,
}

impl Publishing {
    /// Of a peer that may send in these sections.
    pub fn new(now: Instant, sections: Vec<Section>) -> Self {
        Self {
            publisher: Publisher::new(now, sections),
            video: BTreeMap::new(),
            layers: BTreeMap::new(),
            audio: None,
            feeds: BTreeMap::new(),
            pictured: BTreeMap::new(),
            told: Vec::new(),
            speaking: None,
            packets: Vec::new(),
            out: Vec::new(),
        }
    }

    /// The sections are these from now on.
    pub fn set_sections(&mut self, sections: Vec<Section>) {
        self.publisher.set_sections(sections);
    }

    /// Publishes what comes in a section from now on. False when there is no such section.
    pub fn publish(&mut self, outlet: Outlet) -> bool {
        let Outlet { kind, feeds, media } = outlet;
        if !self.publisher.may_publish(kind) {
            return false;
        }
        self.feeds.insert(kind, feeds);
        match media {
            MediaOutlet::Video { high, low } => {
                self.video.insert((kind, Layer::High), high);
                self.video.extend(low.map(|low| ((kind, Layer::Low), low)));
                self.layers.insert(kind, Layers::default());
            }
            MediaOutlet::Audio(outlet) => self.audio = Some(outlet),
        }
        self.publisher.publish(kind);
        true
    }

    /// Publishes it no longer.
    pub fn unpublish(&mut self, kind: PublishKind) {
        self.publisher.unpublish(kind);
        self.feeds.remove(&kind);
        self.pictured.remove(&kind);
        self.video.retain(|(of, _), _| *of != kind);
        self.layers.remove(&kind);
        if kind == PublishKind::Microphone {
            self.audio = None;
        }
    }

    /// Whether what a slot shows is the peer's own.
    pub fn is_own(&self, binding: &Binding) -> bool {
        self.feeds.values().flatten().any(|feed| *feed == binding.video || Some(*feed) == binding.audio)
    }

    /// What those who watch say of it.
    pub fn demands(&self) -> impl Iterator<Item = &Arc<Demand>> {
        self.video.values().map(VideoOutlet::demand)
    }

    /// Takes what has come, and sends what is to be sent.
    pub fn receive(&mut self, now: Instant, connection: &mut Connection) {
        let mut packets = std::mem::take(&mut self.packets);
        connection.take_rtp(&mut packets);
        for packet in packets.drain(..) {
            self.publisher.receive(now, packet, &mut self.out);
        }
        self.packets = packets;
        self.act(now, connection);
    }

    /// Whether the peer speaks, if that is news.
    pub fn take_speaking(&mut self) -> Option<bool> {
        self.speaking.take()
    }

    /// What is new of the pictures.
    pub fn take_pictured(&mut self) -> Vec<Pictured> {
        std::mem::take(&mut self.told)
    }

    /// Lets time pass.
    pub fn timeout(&mut self, now: Instant, connection: &mut Connection) {
        if let Some(round_trip) = connection.round_trip() {
            self.publisher.set_round_trip(round_trip);
        }
        self.publisher.timeout(now, &mut self.out);
        self.act(now, connection);
    }

    /// Takes the wishes of those who watch.
    pub fn take_wishes(&mut self, now: Instant, connection: &mut Connection) {
        for ((kind, layer), outlet) in &self.video {
            if outlet.demand().take_keyframe() {
                self.publisher.request_keyframe(now, *kind, *layer, &mut self.out);
            }
        }
        self.act(now, connection);
    }

    /// Which layers anybody takes, of all of which that is news.
    pub fn news_of_layers(&mut self, now: Instant) -> Vec<Taken> {
        let mut news = Vec::new();
        for (kind, layers) in &mut self.layers {
            let of =
                self.video.iter().filter(|((of, _), outlet)| of == kind && outlet.demand().watchers() > 0);
            let taken = of.map(|((_, layer), _)| *layer).collect();
            if layers.tell(now, &taken) {
                news.push(Taken { kind: *kind, layers: taken });
            }
        }
        news
    }

    /// A sender report of the peer's.
    pub fn sender_report(&mut self, now: Instant, ssrc: u32, ntp: u32) {
        self.publisher.sender_report(now, ssrc, ntp);
    }

    /// When [`Publishing::timeout`] has something to do.
    pub fn deadline(&self) -> Option<Instant> {
        let layers = self.layers.values().filter_map(|layers| layers.due);
        layers.chain(self.publisher.deadline()).min()
    }

    fn act(&mut self, now: Instant, connection: &mut Connection) {
        let mut rtcp = Vec::new();
        for output in std::mem::take(&mut self.out) {
            match output {
                Output::Frame { kind, layer, captured, frame } => self.frame((kind, layer), captured, frame),
                Output::Sound { captured, payload, .. } => self.sound(captured, payload),
                Output::Speaking(speaking) => self.speaking = Some(speaking),
                back => rtcp.extend(packet(back)),
            }
        }
        connection.send_rtcp(now, rtcp);
    }

    fn frame(&mut self, id: (PublishKind, Layer), captured: Instant, frame: Frame) {
        let Some(outlet) = self.video.get_mut(&id) else { return };
        let (kind, layer) = id;
        let Frame { codec, keyframe, payloads, .. } = frame;
        // The low layer says something of the picture only while there is no other.
        if keyframe && (layer == Layer::High || !self.pictured.contains_key(&kind)) {
            let known = self.pictured.get(&kind).filter(|known| known.codec == codec);
            let size = keyframe::size(codec, &payloads).or(known.and_then(|known| known.size));
            let pictured = Pictured { kind, codec, size };
            if self.pictured.insert(kind, pictured) != Some(pictured) {
                self.told.push(pictured);
            }
        }
        let size = self.pictured.get(&kind).and_then(|known| known.size);
        let whole = size.filter(|_| outlet.is_tapped()).and_then(|size| {
            let data = whole(codec, &payloads)?;
            Some(AccessUnit { codec, data, keyframe, captured, size })
        });
        outlet.publish_cut(Cut { codec, keyframe, captured, payloads }, whole.as_ref());
    }

    fn sound(&mut self, captured: Instant, data: Bytes) {
        let (Some(outlet), Some(ticks)) = (&mut self.audio, opus::ticks(&data)) else { return };
        outlet.publish(AudioPacket { data, captured, ticks });
    }
}

/// A picture as an access unit, from its payloads; `None` if they cannot be read.
fn whole(codec: VideoCodec, payloads: &[Bytes]) -> Option<Bytes> {
    let mut data = BytesMut::new();
    if codec != VideoCodec::H264 {
        join(codec, payloads, &mut data)?;
        return Some(data.freeze()).filter(|data| !data.is_empty());
    }
    let mut assembled = depacketize::H264::default();
    for (n, payload) in payloads.iter().enumerate() {
        let marker = n + 1 == payloads.len();
        for nals in assembled.push(depacketize::Packet { payload, ticks: 0, marker, loss: false }) {
            for unit in nals.units {
                data.extend_from_slice(&[0, 0, 0, 1]);
                data.extend_from_slice(&unit);
            }
        }
    }
    Some(data.freeze()).filter(|data| !data.is_empty())
}

/// What goes back to the peer. Its SSRC is none of ours: what we send in sections of their own is no matter of these.
fn packet(output: Output) -> Option<Box<dyn rtc::rtcp::Packet>> {
    match output {
        Output::Frame { .. } | Output::Sound { .. } | Output::Speaking(_) => None,
        Output::Nack { ssrc, sequences } => Some(Box::new(TransportLayerNack {
            sender_ssrc: 0,
            media_ssrc: ssrc,
            nacks: nack_pairs_from_sequence_numbers(&sequences),
        })),
        Output::Pli { ssrc } => Some(Box::new(PictureLossIndication { sender_ssrc: 0, media_ssrc: ssrc })),
        Output::Arrivals(told) => Some(Box::new(arrivals(&told))),
        Output::Reports(reports) => {
            let report = |report: &crate::publish::reception::Report| ReceptionReport {
                ssrc: report.ssrc,
                fraction_lost: report.fraction_lost,
                total_lost: report.lost,
                last_sequence_number: report.highest,
                jitter: report.jitter,
                last_sender_report: report.last_report,
                delay: report.delay,
            };
            let reports = reports.iter().map(report).collect();
            Some(Box::new(ReceiverReport { reports, ..ReceiverReport::default() }))
        }
    }
}

fn arrivals(told: &Told) -> TransportLayerCc {
    let symbol = |delta: &Option<i16>| match delta {
        None => SymbolTypeTcc::PacketNotReceived,
        Some(0..=255) => SymbolTypeTcc::PacketReceivedSmallDelta,
        Some(_) => SymbolTypeTcc::PacketReceivedLargeDelta,
    };
    let chunk = |deltas: &[Option<i16>]| {
        PacketStatusChunk::StatusVectorChunk(StatusVectorChunk {
            type_tcc: StatusChunkTypeTcc::StatusVectorChunk,
            symbol_size: SymbolSizeTypeTcc::TwoBit,
            symbol_list: deltas.iter().map(symbol).collect(),
        })
    };
    let delta = |delta: &Option<i16>| {
        // In microseconds here.
        delta.map(|units| RecvDelta { type_tcc_packet: symbol(&Some(units)), delta: 250 * i64::from(units) })
    };
    TransportLayerCc {
        sender_ssrc: 0,
        media_ssrc: 0,
        base_sequence_number: told.first,
        // At most a thousand.
        packet_status_count: told.deltas.len() as u16,
        reference_time: told.reference,
        fb_pkt_count: told.count,
        packet_chunks: told.deltas.chunks(SYMBOLS).map(chunk).collect(),
        recv_deltas: told.deltas.iter().filter_map(delta).collect(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packetize;
    use rtc::shared::marshal::{Marshal as _, Unmarshal as _};

    #[test]
    fn what_is_taken_is_told_at_once_and_what_is_not_after_a_while() {
        let now = Instant::now();
        let mut layers = Layers::default();
        let both: BTreeSet<_> = Layer::ALL.into();
        let high: BTreeSet<_> = [Layer::High].into();
        let none = BTreeSet::new();
        assert!(!layers.tell(now, &both), "all are sent at first");
        assert!(!layers.tell(now, &high));
        assert_eq!(layers.due, Some(now + UNUSED));
        assert!(!layers.tell(now + UNUSED / 2, &both) && layers.due.is_none(), "somebody came back");
        assert!(!layers.tell(now + UNUSED / 2, &none));
        assert!(layers.tell(now + UNUSED * 2, &none));
        assert!(layers.tell(now + UNUSED * 2, &high), "at once");
        assert!(!layers.tell(now + UNUSED * 9, &high));
    }

    #[test]
    fn a_picture_that_was_cut_is_whole_again() {
        let units = [vec![0x67, 66, 192, 31], vec![0x68, 8, 1], vec![0x65; 5000]];
        let data: Vec<u8> = units.iter().flat_map(|unit| [&[0, 0, 0, 1][..], unit].concat()).collect();
        let payloads = packetize::payloads(&AccessUnit::sample(&data, true), 0);
        assert!(payloads.len() > 3);
        assert_eq!(whole(VideoCodec::H264, &payloads).as_deref(), Some(&data[..]));
        assert_eq!(whole(VideoCodec::H264, &payloads[..2]), None, "its end is missing");
        let vp8 = AccessUnit { codec: VideoCodec::VP8, ..AccessUnit::sample(&[7; 5000], true) };
        let payloads = packetize::payloads(&vp8, 0);
        assert_eq!(whole(VideoCodec::VP8, &payloads), Some(vp8.data));
        assert_eq!(whole(VideoCodec::VP8, &[Bytes::new()]), None, "there is nothing in it");
    }

    #[test]
    fn arrivals_are_read_as_they_were_meant() {
        let deltas = vec![Some(2), None, Some(300), Some(-4), Some(0), None, None, Some(1), None];
        let told = Told { first: 65_534, reference: 7, deltas: deltas.clone(), count: 3 };
        let bytes = arrivals(&told).marshal().unwrap();
        let read = TransportLayerCc::unmarshal(&mut &bytes[..]).unwrap();
        assert_eq!((read.base_sequence_number, read.reference_time, read.fb_pkt_count), (65_534, 7, 3));
        let read: Vec<_> = read.recv_deltas.iter().map(|delta| delta.delta / 250).collect();
        assert_eq!(read, deltas.iter().flatten().map(|delta| i64::from(*delta)).collect::<Vec<_>>());
    }
}
