//! VP9, RFC 9628, non-flexible mode, one layer, with the 15 bits of a picture's number.

use bytes::Bytes;

use super::{Cut, long_picture_id};

/// Bit I of the descriptor: there is a picture number.
const HAS_PICTURE_ID: u8 = 0x80;
/// Bit P of the descriptor: the picture is predicted from earlier ones.
const PREDICTED: u8 = 0x40;
/// In the descriptor: B, a picture begins here.
const BEGINS: u8 = 0x08;
/// In the descriptor: E, a picture ends here.
const ENDS: u8 = 0x04;
/// Length of the descriptor.
const DESCRIPTOR: usize = 3;
/// Where the number of its picture is, if a payload has one.
pub fn picture_id_at(payload: &[u8]) -> Option<usize> {
    const AT: usize = 1;
    (payload.first()? & HAS_PICTURE_ID != 0).then_some(AT)
}

/// The RTP payloads of one picture (a superframe, if its encoder makes those).
pub fn payloads(picture: &[u8], keyframe: bool, id: u16) -> Vec<Bytes> {
    let mut cut = Cut::of(picture.len());
    let [high, low] = long_picture_id(id);
    let predicted = if keyframe { 0 } else { PREDICTED };
    cut.fragments(picture, DESCRIPTOR, |first, last, part, cut| {
        let begins = if first { BEGINS } else { 0 };
        let ends = if last { ENDS } else { 0 };
        cut.payload(&[&[HAS_PICTURE_ID | predicted | begins | ends, high, low], part]);
    });
    cut.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_descriptor_says_where_pictures_begin_and_end_and_what_they_need() {
        assert_eq!(payloads(&[0x82, 1], true, 5), [vec![0x8c, 0x80, 5, 0x82, 1]]);
        let cut = payloads(&[7; 3000], false, 0x7fff);
        let headers: Vec<_> = cut.iter().map(|payload| payload[..3].to_vec()).collect();
        assert_eq!(headers, [[0xc8, 0xff, 0xff], [0xc0, 0xff, 0xff], [0xc4, 0xff, 0xff]]);
        assert_eq!(cut.iter().map(|payload| payload.len() - 3).sum::<usize>(), 3000);
    }
}
