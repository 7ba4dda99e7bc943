//! RTP on its way out. `rtc` gets one packet now and then; all others are written and encrypted here, one after another into one
//! piece of memory, without an allocation, a map or a copy of their own.
//!
//! ```text
//! send_rtp ─▶ Egress::push ──────────────────────────▶ waiting datagrams ─▶ Connection::transmit ─▶ Sockets
//!                 └── while it lacks the path or the keys: rtc ──▲
//! ```
//!
//! `rtc` decides on the path and makes the keys. A packet that has been through it shows both: its path by the addresses that
//! it has got, the keys as [`Keys`] says. After whatever may change the path, the next packet goes by way of `rtc` again.

use super::crypto::{Keys, PacketIndex, TAG};
use crate::peer::intake::is_rtp;
use crate::peer::path::Path;
use crate::peer::slot::Packet;

/// A stream's packet goes by way of `rtc` after so many others, as `rtc` counts how often sequence numbers wrap around by the packets
/// that it sees: it must see one in 32768.
const MAX_UNSEEN: u16 = 4096;
/// Memory that is kept for the next packets; with more, that of a keyframe, each idle peer would keep as much.
const KEPT: usize = 16 * 1024;
/// Bytes of an RTP header without extensions (RFC 3550 §5.1).
const HEADER: usize = 12;
/// Bytes of both of our header extensions with what is before them (RFC 8285 §4.2).
const EXTENSIONS: usize = 4 + 8;

/// The ids of header extensions that were negotiated.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct ExtensionIds {
    /// Playout delay.
    pub playout_delay: Option<u8>,
    /// Transport-wide sequence number.
    pub transport_cc: Option<u8>,
}

/// Packets of one connection that wait for [`Egress::drain`], encrypted.
pub struct Egress {
    keys: Keys,
    path: Option<Path>,
    streams: Vec<Stream>,
    bytes: Vec<u8>,
    /// Path and end, in `bytes`, of each datagram.
    datagrams: Vec<(Path, usize)>,
}

/// One of our RTP streams.
#[derive(Debug, Clone, Copy)]
struct Stream {
    ssrc: u32,
    /// Of the last packet.
    sequence: u16,
    rollover: u32,
    /// Packets since the last one that `rtc` has encrypted.
    unseen: u16,
}

impl Stream {
    /// The index of a packet, which is at most half the range of sequence numbers ahead of the newest or behind it (RFC 3711 §3.3.1).
    fn follow(&mut self, sequence: u16) -> PacketIndex {
        let is_newer = sequence.wrapping_sub(self.sequence) < 1 << 15;
        let rollover = match (is_newer, sequence < self.sequence) {
            (true, true) => self.rollover.wrapping_add(1),
            (false, false) => self.rollover.wrapping_sub(1),
            _ => self.rollover,
        };
        if is_newer {
            self.rollover = rollover;
            self.sequence = sequence;
        }
        PacketIndex { ssrc: self.ssrc, rollover, sequence }
    }
}

impl Egress {
    /// Nothing is known.
    pub fn new(keys: Keys) -> Self {
        Self { keys, path: None, streams: Vec::new(), bytes: Vec::new(), datagrams: Vec::new() }
    }

    /// The path may have changed.
    pub fn forget_path(&mut self) {
        self.path = None;
    }

    /// Writes a packet. False when it has to go by way of `rtc`; [`Egress::pass`] is to be called with what comes out.
    pub fn push(&mut self, packet: &Packet, number: Option<u16>, ids: ExtensionIds) -> bool {
        let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == packet.ssrc) else {
            // Until `rtc` has encrypted one, all go by way of it.
            let sequence = packet.sequence;
            let first = Stream { ssrc: packet.ssrc, sequence, rollover: 0, unseen: MAX_UNSEEN };
            self.streams.push(first);
            return false;
        };
        let index = stream.follow(packet.sequence);
        let path = self.path.filter(|_| stream.unseen < MAX_UNSEEN);
        let start = self.bytes.len();
        let header = write_header(&mut self.bytes, packet, number, ids);
        self.bytes.extend_from_slice(&packet.payload);
        match path {
            Some(path) if self.keys.seal(&mut self.bytes, start, header, index) => {
                stream.unseen += 1;
                self.datagrams.push((path, self.bytes.len()));
                true
            }
            _ => {
                self.bytes.truncate(start);
                false
            }
        }
    }

    /// Takes a datagram that `rtc` has made, to be sent after those before it.
    pub fn pass(&mut self, path: Path, data: &[u8]) {
        if is_media(data) {
            self.path = Some(path);
        }
        let ssrc = data.get(8..12).filter(|_| is_rtp(data)).and_then(|ssrc| ssrc.try_into().ok());
        if let Some(ssrc) = ssrc.map(u32::from_be_bytes)
            && let Some(stream) = self.streams.iter_mut().find(|stream| stream.ssrc == ssrc)
        {
            stream.unseen = 0;
        }
        self.bytes.extend_from_slice(data);
        self.datagrams.push((path, self.bytes.len()));
    }

    /// All that waits, in order.
    pub fn drain(&mut self, mut each: impl FnMut(Path, &[u8])) {
        let mut start = 0;
        for (path, end) in self.datagrams.drain(..) {
            each(path, &self.bytes[start..end]);
            start = end;
        }
        self.bytes.clear();
        self.bytes.shrink_to(KEPT);
    }
}

/// RTP or RTCP (RFC 7983 §7).
fn is_media(datagram: &[u8]) -> bool {
    datagram.first().is_some_and(|byte| (128..192).contains(byte))
}

/// Appends the header of a packet. Returns its length.
fn write_header(out: &mut Vec<u8>, packet: &Packet, number: Option<u16>, ids: ExtensionIds) -> usize {
    let mut header = [0; HEADER + EXTENSIONS];
    header[0] = 0x80;
    header[1] = u8::from(packet.marker) << 7 | packet.payload_type;
    header[2..4].copy_from_slice(&packet.sequence.to_be_bytes());
    header[4..8].copy_from_slice(&packet.timestamp.to_be_bytes());
    header[8..12].copy_from_slice(&packet.ssrc.to_be_bytes());
    let mut end = HEADER;
    let mut extend = |id: u8, value: &[u8]| {
        if end == HEADER {
            end += 4;
        }
        // Ids are from 1 to 14, and the length is one less than it is.
        header[end] = id << 4 | (value.len() as u8 - 1);
        header[end + 1..=end + value.len()].copy_from_slice(value);
        end += 1 + value.len();
    };
    if let Some(id) = ids.playout_delay.filter(|_| packet.playout_delay) {
        // Minimum and maximum delay of zero.
        extend(id, &[0; 3]);
    }
    if let Some((id, number)) = ids.transport_cc.zip(number) {
        extend(id, &number.to_be_bytes());
    }
    let end = end.next_multiple_of(4);
    if end > HEADER {
        header[0] |= 0x10;
        header[HEADER..HEADER + 2].copy_from_slice(&[0xbe, 0xde]);
        header[HEADER + 3] = ((end - HEADER - 4) / 4) as u8;
    }
    // With room for the tag, so that it grows once at most.
    out.reserve(end + packet.payload.len() + TAG);
    out.extend_from_slice(&header[..end]);
    end
}

#[cfg(test)]
mod tests {
    use std::net::{Ipv4Addr, SocketAddr};
    use std::sync::Arc;

    use bytes::Bytes;
    use rtc::crypto::RTCCryptoProvider as _;
    use rtc::srtp::context::Context;
    use rtc::srtp::protection_profile::ProtectionProfile;

    use super::super::crypto::Provider;
    use super::*;

    const KEY: [u8; 16] = [7; 16];
    const SALT: [u8; 12] = [9; 12];
    const IDS: ExtensionIds = ExtensionIds { playout_delay: Some(4), transport_cc: Some(3) };

    fn context(provider: &Provider) -> Context {
        let profile = ProtectionProfile::AeadAes128Gcm;
        Context::new(&KEY, &SALT, profile, None, None, provider.crypto()).unwrap()
    }

    fn provider() -> (Provider, Keys) {
        let keys = Keys::default();
        (Provider::new(rtc::crypto::default_provider().unwrap(), keys.clone()), keys)
    }

    fn packet(ssrc: u32, sequence: u16) -> Packet {
        Packet {
            payload_type: 102,
            marker: sequence.is_multiple_of(3),
            sequence,
            timestamp: 0x0102_0304,
            ssrc,
            playout_delay: sequence.is_multiple_of(2),
            payload: Bytes::from(vec![sequence as u8; 100 + usize::from(sequence % 7)]),
        }
    }

    /// As `rtc` writes it.
    fn by_rtc(packet: &Packet, number: Option<u16>, ids: ExtensionIds) -> Vec<u8> {
        let mut header = rtc::rtp::Header {
            version: 2,
            marker: packet.marker,
            payload_type: packet.payload_type,
            sequence_number: packet.sequence,
            timestamp: packet.timestamp,
            ssrc: packet.ssrc,
            ..Default::default()
        };
        if let Some(id) = ids.playout_delay.filter(|_| packet.playout_delay) {
            header.set_extension(id, Bytes::from_static(&[0; 3])).unwrap();
        }
        if let Some((id, number)) = ids.transport_cc.zip(number) {
            header.set_extension(id, Bytes::copy_from_slice(&number.to_be_bytes())).unwrap();
        }
        let packet = rtc::rtp::Packet { header, payload: packet.payload.clone() };
        rtc::shared::marshal::Marshal::marshal(&packet).unwrap().to_vec()
    }

    fn path() -> Path {
        Path::udp(SocketAddr::from((Ipv4Addr::LOCALHOST, 1)), SocketAddr::from((Ipv4Addr::LOCALHOST, 2)))
    }

    #[test]
    fn headers_are_those_of_rtc() {
        for sequence in 0..4 {
            for ids in [IDS, ExtensionIds { playout_delay: None, ..IDS }, ExtensionIds::default()] {
                for number in [None, Some(0xfedc)] {
                    let packet = packet(5, sequence);
                    let mut bytes = Vec::new();
                    let header = write_header(&mut bytes, &packet, number, ids);
                    assert_eq!(header, bytes.len());
                    bytes.extend_from_slice(&packet.payload);
                    assert_eq!(bytes, by_rtc(&packet, number, ids));
                }
            }
        }
    }

    /// Three streams whose sequence numbers wrap around twice, as a receiver decrypts them, and as `rtc` alone would have
    /// encrypted them.
    #[test]
    fn packets_are_bit_for_bit_those_of_rtc_over_rollovers_and_changes_of_the_path() {
        let (provider, keys) = provider();
        let mut by_way_of_rtc = context(&provider);
        let mut alone = context(&Provider::new(rtc::crypto::default_provider().unwrap(), Keys::default()));
        let mut egress = Egress::new(keys);
        let mut sent_by_rtc = 0;
        for n in 0..150_000u32 {
            if n % 10_007 == 0 {
                egress.forget_path();
            }
            for ssrc in [11, 12, 13] {
                let sequence = (n + 64_000 * ssrc) as u16;
                let packet = packet(ssrc, sequence);
                let number = (ssrc != 13).then_some(n as u16);
                let plain = by_rtc(&packet, number, IDS);
                let expected = alone.encrypt_rtp(&plain).unwrap();
                if !egress.push(&packet, number, IDS) {
                    sent_by_rtc += 1;
                    let datagram = by_way_of_rtc.encrypt_rtp(&plain).unwrap();
                    egress.pass(path(), &datagram);
                }
                let mut seen = 0;
                egress.drain(|at, datagram| {
                    seen += 1;
                    assert_eq!((at, datagram), (path(), &expected[..]), "packet {n} of {ssrc}");
                });
                assert_eq!(seen, 1);
            }
        }
        // The first of each, one after each change of the path, and one in MAX_UNSEEN.
        assert!(sent_by_rtc < 3 * (2 + 150_000 / u32::from(MAX_UNSEEN)) + 16, "{sent_by_rtc}");
    }

    #[test]
    fn a_packet_has_its_index_whether_it_is_late_or_not() {
        let mut stream = Stream { ssrc: 1, sequence: 65_530, rollover: 0, unseen: 0 };
        let mut rollover = |sequence| stream.follow(sequence).rollover;
        let seen = [65_534, 65_533, 2, 65_535, 1, 3, 30_000, 60_000, 10, 60_001, 11].map(&mut rollover);
        assert_eq!(seen, [0, 0, 1, 0, 1, 1, 1, 1, 2, 1, 2]);
    }

    #[test]
    fn datagrams_leave_in_the_order_in_which_they_came() {
        let (provider, keys) = provider();
        let mut rtc = context(&provider);
        let mut egress = Egress::new(keys);
        assert!(!egress.push(&packet(1, 1), None, IDS), "neither path nor keys are known");
        egress.pass(path(), &rtc.encrypt_rtp(&by_rtc(&packet(1, 1), None, IDS)).unwrap());
        assert!(egress.push(&packet(1, 2), None, IDS));
        egress.pass(path(), &[0; 20]);
        assert!(egress.push(&packet(1, 3), None, IDS));
        let mut sequences = Vec::new();
        egress.drain(|_, datagram| sequences.push(datagram[3]));
        assert_eq!(sequences, [1, 2, 0, 3]);
        egress.drain(|_, _| panic!("once"));
    }

    #[test]
    fn a_keyframe_leaves_no_memory_behind() {
        let (provider, keys) = provider();
        let mut rtc = context(&provider);
        let mut egress = Egress::new(keys);
        egress.push(&packet(1, 0), None, IDS);
        egress.pass(path(), &rtc.encrypt_rtp(&by_rtc(&packet(1, 0), None, IDS)).unwrap());
        for sequence in 1..1000 {
            assert!(egress.push(&packet(1, sequence), None, IDS));
        }
        assert!(egress.bytes.len() > 2 * KEPT);
        egress.drain(|_, _| {});
        assert!(egress.bytes.capacity() <= KEPT);
    }

    #[test]
    fn the_provider_of_rtc_is_in_all_else_the_usual_one() {
        let usual = rtc::crypto::default_provider().unwrap();
        let (ours, _) = provider();
        let ours: Arc<dyn rtc::crypto::RTCCryptoProvider> = Arc::new(ours);
        assert_eq!(ours.name(), usual.name());
        let hash = rtc::crypto::HashAlgorithm::Sha256;
        assert_eq!(ours.crypto().hash(hash, b"abc").unwrap(), usual.crypto().hash(hash, b"abc").unwrap());
    }
}
