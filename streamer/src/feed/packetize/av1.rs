//! AV1, the AOM's «RTP Payload Format For AV1», without a dependency descriptor: one layer.
//!
//! A temporal unit comes as its low-overhead bitstream (AV1 §5.2): OBUs with their lengths. On the wire each OBU is an
//! element behind its length (W = 0) and has none itself; delimiters, padding and tile lists do not travel.

use bytes::{BufMut, Bytes, BytesMut};

use super::{Cut, MAX_PAYLOAD};

/// Bit Z of the aggregation header: the first element continues one of the previous packet.
const CONTINUES: u8 = 0x80;
/// In the aggregation header: Y, the last element goes on in the next packet.
const CONTINUED: u8 = 0x40;
/// In the aggregation header: N, a coded video sequence begins.
const SEQUENCE: u8 = 0x08;
/// Bit of an OBU's header: there is an extension byte.
const HAS_EXTENSION: u8 = 0x04;
/// Bit of an OBU's header: there is a length.
const HAS_SIZE: u8 = 0x02;
/// Types of OBUs, AV1 §6.2.2.
const TEMPORAL_DELIMITER: u8 = 2;
const TILE_LIST: u8 = 8;
const PADDING: u8 = 15;

/// The RTP payloads of one temporal unit. Data after something invalid is left out.
pub fn payloads(temporal_unit: &[u8], keyframe: bool) -> Vec<Bytes> {
    let mut cut = Cut::of(temporal_unit.len());
    let mut packet = Packet { elements: BytesMut::new(), header: if keyframe { SEQUENCE } else { 0 } };
    for obu in obus(temporal_unit).filter(Obu::travels) {
        packet.put(&obu.element(), &mut cut);
    }
    if !packet.elements.is_empty() {
        packet.end(0, &mut cut);
    }
    cut.finish()
}

struct Packet {
    elements: BytesMut,
    header: u8,
}

impl Packet {
    /// Puts an element into this packet, and its remainder into as many others as needed.
    fn put(&mut self, mut element: &[u8], cut: &mut Cut) {
        while !element.is_empty() {
            let room = MAX_PAYLOAD - 1 - self.elements.len();
            // A length of at most MAX_PAYLOAD takes two bytes.
            let now = element.len().min(room.saturating_sub(2));
            if now == 0 {
                self.end(0, cut);
                continue;
            }
            let (part, later) = element.split_at(now);
            put_leb128(&mut self.elements, part.len());
            self.elements.put_slice(part);
            element = later;
            if !element.is_empty() {
                self.end(CONTINUED, cut);
                self.header = CONTINUES;
            }
        }
    }

    fn end(&mut self, flags: u8, cut: &mut Cut) {
        let header = std::mem::take(&mut self.header) | flags;
        cut.payload(&[&[header], &self.elements]);
        self.elements.clear();
    }
}

/// One OBU.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Obu<'a> {
    /// Its type, AV1 §6.2.2.
    pub kind: u8,
    header: u8,
    extension: Option<u8>,
    /// The payload after header and length.
    pub payload: &'a [u8],
}

impl Obu<'_> {
    fn travels(&self) -> bool {
        !matches!(self.kind, TEMPORAL_DELIMITER | TILE_LIST | PADDING)
    }

    /// As in RTP: without a length.
    fn element(&self) -> Vec<u8> {
        let mut element = Vec::with_capacity(2 + self.payload.len());
        element.push(self.header & !HAS_SIZE);
        element.extend(self.extension);
        element.extend_from_slice(self.payload);
        element
    }
}

/// The OBUs of a temporal unit, as far as it is valid.
pub fn obus(mut bytes: &[u8]) -> impl Iterator<Item = Obu<'_>> {
    std::iter::from_fn(move || {
        let (obu, rest) = next_obu(bytes)?;
        bytes = rest;
        Some(obu)
    })
}

fn next_obu(bytes: &[u8]) -> Option<(Obu<'_>, &[u8])> {
    let (&header, mut rest) = bytes.split_first()?;
    let mut extension = None;
    if header & HAS_EXTENSION != 0 {
        let (&byte, after) = rest.split_first()?;
        extension = Some(byte);
        rest = after;
    }
    let len = if header & HAS_SIZE == 0 {
        rest.len()
    } else {
        let (len, after) = leb128(rest)?;
        rest = after;
        len
    };
    let (payload, after) = rest.split_at_checked(len)?;
    Some((Obu { kind: header >> 3 & 0x0f, header, extension, payload }, after))
}

/// AV1 §4.10.5.
fn leb128(bytes: &[u8]) -> Option<(usize, &[u8])> {
    let len = bytes.iter().take(8).position(|byte| byte & 0x80 == 0)? + 1;
    let (number, rest) = bytes.split_at(len);
    let value = number.iter().rev().fold(0u64, |value, byte| value << 7 | u64::from(byte & 0x7f));
    Some((usize::try_from(value).ok()?, rest))
}

fn put_leb128(buffer: &mut BytesMut, mut value: usize) {
    while value >= 0x80 {
        buffer.put_u8(value as u8 | 0x80);
        value >>= 7;
    }
    buffer.put_u8(value as u8);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn small_units_travel_together_without_their_lengths_and_delimiters() {
        // Temporal delimiter; sequence header of 3 bytes; frame of 2 bytes with an extension.
        let unit = [0x12, 0, 0x0a, 3, 1, 2, 3, 0x36, 0x20, 2, 8, 9];
        let element = [0x08, 4, 0x08, 1, 2, 3, 4, 0x34, 0x20, 8, 9];
        assert_eq!(payloads(&unit, true), [element.to_vec()]);
        assert_eq!(payloads(&unit[7..], false), [vec![0x00, 4, 0x34, 0x20, 8, 9]]);
    }

    #[test]
    fn a_long_unit_goes_on_in_the_next_packet() {
        let mut unit = vec![0x32, 0xd0, 0x0f];
        unit.extend([7; 2000]);
        let cut = payloads(&unit, true);
        // 1149 bytes are 0xfd 0x08, 852 are 0xd4 0x06; the OBU's header counts.
        assert_eq!((&cut[0][..5], cut[0].len()), (&[0x48, 0xfd, 0x08, 0x30, 7][..], MAX_PAYLOAD));
        assert_eq!((&cut[1][..4], cut[1].len()), (&[0x80, 0xd4, 0x06, 7][..], 855));
        assert_eq!(cut.len(), 2);
    }

    /// The receiver's side, written from the document.
    fn depacketize(payloads: &[Bytes]) -> Vec<Vec<u8>> {
        let mut elements: Vec<Vec<u8>> = Vec::new();
        for payload in payloads {
            let mut continues = payload[0] & 0x80 != 0;
            let mut rest = &payload[1..];
            while !rest.is_empty() {
                let (len, after) = leb128(rest).unwrap();
                let (part, later) = after.split_at(len);
                if std::mem::take(&mut continues) {
                    elements.last_mut().unwrap().extend(part);
                } else {
                    elements.push(part.to_vec());
                }
                rest = later;
            }
        }
        elements
    }

    proptest! {
        #[test]
        fn every_obu_arrives_whole(lens in proptest::collection::vec(0usize..4000, 1..6)) {
            let mut unit = BytesMut::new();
            let mut expected = Vec::new();
            for len in lens {
                unit.put_u8(0x32);
                put_leb128(&mut unit, len);
                unit.put_bytes(5, len);
                expected.push([vec![0x30], vec![5; len]].concat());
            }
            let cut = payloads(&unit, false);
            prop_assert!(cut.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
            prop_assert_eq!(depacketize(&cut), expected);
        }

        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..3000)) {
            payloads(&bytes, true);
        }
    }
}
