//! Framing of packets on a stream (RFC 4571 §2): two bytes of length, and then as many of the packet. Pure.

use bytes::{Buf, Bytes, BytesMut};

/// Bytes of the length before each packet.
pub const HEADER: usize = 2;
/// The longest packet that is taken. What peers send are STUN, DTLS, RTCP and SCTP, all cut to fit a datagram of 1500 bytes; this
/// leaves room for paths with larger ones.
pub const MAX_PACKET: usize = 4096;

/// A stream that is not framed as it should be. Nothing that follows can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// A packet without bytes.
    #[error("a framed packet has no bytes")]
    Empty,
    /// A packet that is too long.
    #[error("a framed packet has {0} bytes, more than {MAX_PACKET}")]
    TooLong(usize),
}

/// The length that a header says.
///
/// # Errors
/// No packet that is taken has this length.
pub fn length(header: [u8; HEADER]) -> Result<usize, Malformed> {
    match usize::from(u16::from_be_bytes(header)) {
        0 => Err(Malformed::Empty),
        len if len > MAX_PACKET => Err(Malformed::TooLong(len)),
        len => Ok(len),
    }
}

/// The header of a packet. `None` when the packet is too long to be framed.
pub fn header(packet: &[u8]) -> Option<[u8; HEADER]> {
    u16::try_from(packet.len()).ok().map(u16::to_be_bytes)
}

/// Takes packets out of a stream that arrives in pieces. Holds less than one packet between reads, if all packets are taken.
#[derive(Debug, Default)]
pub struct Packets {
    bytes: BytesMut,
}

impl Packets {
    /// Takes what has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// The next packet, if all of it is there.
    ///
    /// # Errors
    /// The stream cannot be read any further.
    pub fn next_packet(&mut self) -> Result<Option<Bytes>, Malformed> {
        let Some(header) = self.bytes.first_chunk::<HEADER>() else { return Ok(None) };
        let len = length(*header)?;
        if self.bytes.len() < HEADER + len {
            return Ok(None);
        }
        self.bytes.advance(HEADER);
        Ok(Some(self.bytes.split_to(len).freeze()))
    }

    /// Bytes that have not been taken yet.
    pub fn buffered(&self) -> usize {
        self.bytes.len()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn framed(packets: &[Vec<u8>]) -> Vec<u8> {
        let framed = |packet: &Vec<u8>| [&header(packet).unwrap()[..], packet].concat();
        packets.iter().flat_map(framed).collect()
    }

    fn all(packets: &mut Packets) -> Vec<Vec<u8>> {
        std::iter::from_fn(|| packets.next_packet().unwrap()).map(|packet| packet.to_vec()).collect()
    }

    #[test]
    fn a_packet_is_there_once_its_last_byte_is() {
        let stream = framed(&[vec![1, 2, 3], vec![4]]);
        let mut packets = Packets::default();
        let mut taken = Vec::new();
        for (n, byte) in stream.iter().enumerate() {
            packets.push(&[*byte]);
            taken.extend(all(&mut packets).into_iter().map(|packet| (n, packet)));
        }
        assert_eq!(taken, [(4, vec![1, 2, 3]), (7, vec![4])]);
        assert_eq!(packets.buffered(), 0);
    }

    #[test]
    fn packets_without_bytes_or_with_too_many_end_the_stream() {
        let mut packets = Packets::default();
        packets.push(&[0, 0]);
        assert_eq!(packets.next_packet(), Err(Malformed::Empty));
        // Known from the length alone: nothing of such a packet is waited for.
        let len = MAX_PACKET + 1;
        let mut packets = Packets::default();
        packets.push(&(len as u16).to_be_bytes());
        assert_eq!(packets.next_packet(), Err(Malformed::TooLong(len)));
        let longest = vec![7; MAX_PACKET];
        let mut packets = Packets::default();
        packets.push(&framed(std::slice::from_ref(&longest)));
        assert_eq!(all(&mut packets), [longest]);
    }

    #[test]
    fn what_no_header_can_say_is_not_framed() {
        assert_eq!(header(&vec![0; 0xffff]), Some([0xff, 0xff]));
        assert_eq!(header(&vec![0; 0x1_0000]), None);
    }

    proptest! {
        #[test]
        fn packets_come_out_as_they_went_in_however_the_stream_is_cut(
            packets in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 1..64), 0..8),
            cuts in proptest::collection::vec(1_usize..32, 1..8),
        ) {
            let stream = framed(&packets);
            let (mut rest, mut cuts) = (&stream[..], cuts.into_iter().cycle());
            let (mut decoder, mut taken) = (Packets::default(), Vec::new());
            while !rest.is_empty() {
                let (piece, left) = rest.split_at(cuts.next().unwrap().min(rest.len()));
                decoder.push(piece);
                taken.extend(all(&mut decoder));
                rest = left;
            }
            prop_assert_eq!(taken, packets);
        }
    }
}
