//! What a peer publishes: pictures and sound that are cut into packets as a browser does it, and sent again when they are asked
//! for. Nothing is encoded: the streamer looks no deeper into them than at their kinds, and receivers compare the rest.

use std::collections::VecDeque;

use bytes::{BufMut, Bytes, BytesMut};

use crate::Outgoing;

/// By x264: 320×180, High.
const SPS: [u8; 24] = [
    0x67, 0x64, 0, 0x0c, 0xac, 0xb4, 0x0a, 0x0c, 0xfc, 0xf8, 0x08, 0x80, 0, 0, 3, 0, 0x80, 0, 0, 0x19, 7,
    0x8a, 0x15, 0x50,
];
const PPS: [u8; 4] = [0x68, 0xef, 0x0f, 0xcb];
/// Kinds of NAL units, with the importance that encoders give them.
const IDR: u8 = 0x65;
const SLICE: u8 = 0x61;
/// The beginning of a piece of one, RFC 6184 §5.8.
const FU_A: u8 = 0x7c;
/// Packets that can be sent again.
const HISTORY: usize = 1024;
/// Of the pictures' clock, at 30 a second.
const FRAME_TICKS: u32 = 3000;

/// Where in an offer something is to be sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The section.
    pub mid: String,
    /// Id of the header extension that names it.
    pub mid_extension: u8,
    /// Id of the one that names a layer (RFC 8852); `None`: there are none.
    pub rid_extension: Option<u8>,
}

/// The sections of an offer in which a peer may send, in their order: camera, screen, microphone.
pub fn places(offer: &str) -> Vec<Place> {
    // The last line of a section has lost its line feed to the split.
    let receives = |section: &&str| section.lines().any(|line| line.trim_end() == "a=recvonly");
    let sections = offer.split("\nm=").skip(1).filter(receives);
    let place = |section: &str| {
        let attribute = |name: &str| section.lines().find_map(|line| line.strip_prefix(name));
        let mid = attribute("a=mid:")?.to_owned();
        let extension = |name: &str| {
            let named = section.lines().find(|line| line.trim_end().ends_with(name))?;
            named.strip_prefix("a=extmap:")?.split(' ').next()?.parse().ok()
        };
        let mid_extension = extension("urn:ietf:params:rtp-hdrext:sdes:mid")?;
        let rid_extension = extension("urn:ietf:params:rtp-hdrext:sdes:rtp-stream-id");
        Some(Place { mid, mid_extension, rid_extension })
    };
    sections.filter_map(place).collect()
}

/// A camera that sends H.264.
#[derive(Debug)]
pub struct Camera {
    place: Place,
    ssrc: u32,
    sequence: u16,
    frame: u32,
    pieces: usize,
    piece_bytes: usize,
    /// The simulcast layer that its packets name, by its rid.
    layer: Option<&'static str>,
    sent: VecDeque<Outgoing>,
}

/// Bytes of each piece of a picture.
const PIECE_BYTES: usize = 900;

impl Camera {
    /// One that sends in this section, small pictures.
    pub fn new(place: Place, ssrc: u32) -> Self {
        Self::with_pieces(place, ssrc, 3)
    }

    /// One whose pictures are cut into so many packets, at least two.
    pub fn with_pieces(place: Place, ssrc: u32, pieces: usize) -> Self {
        // Soon to wrap.
        let (sequence, pieces) = (u16::MAX - 5, pieces.max(2));
        let piece_bytes = PIECE_BYTES;
        Self { place, ssrc, sequence, frame: 0, pieces, piece_bytes, layer: None, sent: VecDeque::new() }
    }

    /// One layer of a camera that sends several: in so many packets of so many bytes.
    pub fn layer(place: Place, ssrc: u32, rid: &'static str, pieces: usize, piece_bytes: usize) -> Self {
        Self { layer: Some(rid), piece_bytes, ..Self::with_pieces(place, ssrc, pieces) }
    }

    /// Its stream.
    pub fn ssrc(&self) -> u32 {
        self.ssrc
    }

    /// The next picture, in packets.
    pub fn picture(&mut self, keyframe: bool) -> Vec<Outgoing> {
        self.frame += 1;
        let mut payloads = Vec::new();
        let unit = if keyframe { IDR } else { SLICE };
        if keyframe {
            payloads.push(Bytes::from_static(&SPS));
            payloads.push(Bytes::from_static(&PPS));
        }
        for piece in 1..=self.pieces {
            let (first, last) = (piece == 1, piece == self.pieces);
            let mut payload = BytesMut::new();
            payload.put_u8(FU_A);
            payload.put_u8(unit & 0x1f | u8::from(first) << 7 | u8::from(last) << 6);
            payload.put_bytes(mark(self.frame), self.piece_bytes);
            payloads.push(payload.freeze());
        }
        let last = payloads.len() - 1;
        let packets: Vec<_> =
            payloads.into_iter().enumerate().map(|(n, payload)| self.packet(n == last, payload)).collect();
        self.sent.extend(packets.iter().cloned());
        while self.sent.len() > HISTORY {
            self.sent.pop_front();
        }
        packets
    }

    fn packet(&mut self, marker: bool, payload: Bytes) -> Outgoing {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mid = Bytes::copy_from_slice(self.place.mid.as_bytes());
        let mut extensions = vec![(self.place.mid_extension, mid)];
        let layer = self.place.rid_extension.zip(self.layer);
        extensions.extend(layer.map(|(id, rid)| (id, Bytes::from_static(rid.as_bytes()))));
        Outgoing {
            ssrc: self.ssrc,
            payload_type: 102,
            marker,
            sequence,
            timestamp: self.frame.wrapping_mul(FRAME_TICKS),
            extensions,
            payload,
        }
    }

    /// Packets that are asked for again, as far as they are remembered.
    pub fn again(&self, sequences: &[u16]) -> Vec<Outgoing> {
        self.sent.iter().filter(|packet| sequences.contains(&packet.sequence)).cloned().collect()
    }
}

/// What every byte of a picture is; never one that a start code could be made of.
fn mark(frame: u32) -> u8 {
    8 + (frame % 240) as u8
}

/// A microphone: the next packet of 20 ms of Opus.
#[derive(Debug)]
pub struct Microphone {
    place: Place,
    ssrc: u32,
    sequence: u16,
}

impl Microphone {
    /// One that sends in this section.
    pub fn new(place: Place, ssrc: u32) -> Self {
        Self { place, ssrc, sequence: 7 }
    }

    /// The next packet.
    pub fn packet(&mut self) -> Outgoing {
        let sequence = self.sequence;
        self.sequence = sequence.wrapping_add(1);
        let mid = Bytes::copy_from_slice(self.place.mid.as_bytes());
        Outgoing {
            ssrc: self.ssrc,
            payload_type: 111,
            marker: false,
            sequence,
            timestamp: u32::from(sequence).wrapping_mul(960),
            extensions: vec![(self.place.mid_extension, mid)],
            // CELT, 20 ms, stereo.
            payload: Bytes::from_static(&[0xfc, 1, 2, 3]),
        }
    }
}
