//! VP8, RFC 7741, with the 15 bits of a picture's number and no layers.

use bytes::Bytes;

use super::{Cut, long_picture_id};

/// Bit X of the descriptor: there are extensions.
const EXTENDED: u8 = 0x80;
/// In the descriptor: S, a partition begins here. A picture travels as one partition.
const START: u8 = 0x10;
/// Bit I of the extensions: there is a picture number.
const HAS_PICTURE_ID: u8 = 0x80;
/// Length of the descriptor.
const DESCRIPTOR: usize = 4;
/// Where the number of its picture is, if a payload has one.
pub fn picture_id_at(payload: &[u8]) -> Option<usize> {
    const AT: usize = 2;
    let has_number = payload.first()? & EXTENDED != 0 && payload.get(1)? & HAS_PICTURE_ID != 0;
    has_number.then_some(AT)
}

/// The RTP payloads of one picture.
pub fn payloads(picture: &[u8], id: u16) -> Vec<Bytes> {
    let mut cut = Cut::of(picture.len());
    let [high, low] = long_picture_id(id);
    cut.fragments(picture, DESCRIPTOR, |first, _, part, cut| {
        let start = if first { START } else { 0 };
        cut.payload(&[&[EXTENDED | start, HAS_PICTURE_ID, high, low], part]);
    });
    cut.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::feed::packetize::MAX_PAYLOAD;

    #[test]
    fn a_small_picture_is_one_payload() {
        assert_eq!(payloads(&[0x10, 2, 3], 0x1234), [[0x90, 0x80, 0x92, 0x34, 0x10, 2, 3][..].to_vec()]);
        assert!(payloads(&[], 0).is_empty());
    }

    #[test]
    fn only_the_first_payload_begins_a_partition_and_all_bear_the_number() {
        let picture: Vec<u8> = (0..3000).map(|n| n as u8).collect();
        let payloads = payloads(&picture, 0x7fff);
        let headers: Vec<_> = payloads.iter().map(|payload| payload[..4].to_vec()).collect();
        assert_eq!(headers, [[0x90, 0x80, 0xff, 0xff], [0x80, 0x80, 0xff, 0xff], [0x80, 0x80, 0xff, 0xff]]);
        assert_eq!(payloads.iter().map(Bytes::len).collect::<Vec<_>>(), [1004, 1004, 1004]);
        assert!(payloads.iter().all(|payload| payload.len() <= MAX_PAYLOAD));
        assert_eq!(payloads.iter().flat_map(|payload| payload[4..].to_vec()).collect::<Vec<_>>(), picture);
    }
}
