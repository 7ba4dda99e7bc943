//! One datagram.

use super::PREFIX;
use crate::crypto::{Forged, Session};
use crate::fec::MAX_SHARDS;
use crate::read::{array, u16_be, u32_be, u32_le};

/// Header in front of the payload.
const HEADER: usize = 32;
/// Offset of the part that parity covers: of the header, only the flags are as they were when parity was computed.
const COVERED: usize = 24;

/// First data packet of its block.
pub(super) const FIRST: u8 = 4;
/// Last data packet of its block.
pub(super) const LAST: u8 = 2;
/// All known flags.
pub(super) const FLAGS: u8 = 7;

/// Why a datagram is not video.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPacket {
    /// Has no room for a header.
    #[error("{0} bytes are too short for a video packet")]
    Short(usize),
    /// Longer than was agreed on.
    #[error("{0} bytes are more than was agreed on")]
    Long(usize),
    /// Of a block that cannot be.
    #[error("shard {index} of {data} + {parity}")]
    Shard {
        /// Its place in the block.
        index: usize,
        /// Number of data shards.
        data: usize,
        /// Number of parity shards.
        parity: usize,
    },
    /// Of a block that the frame does not have.
    #[error("block {0} of {1}")]
    Block(u8, u8),
}

/// A packet, read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Packet<'a> {
    /// Counts all packets.
    pub sequence: u16,
    /// Ticks of 90 kHz; 0 on old hosts.
    pub timestamp: u32,
    /// Number of its frame.
    pub frame: u32,
    /// Its block in the frame, 0..=3.
    pub block: u8,
    /// The frame's last block.
    pub last_block: u8,
    /// Its place in the block, parity after data.
    pub index: usize,
    /// Data shards of the block.
    pub data: usize,
    /// Parity shards of the block.
    pub parity: usize,
    /// The part that parity covers: two bytes of flags, six unused ones, the payload.
    pub(super) shard: &'a [u8],
}

/// Bytes of a shard in front of the payload.
pub(super) const SHARD_HEADER: usize = HEADER - COVERED;

impl<'a> Packet<'a> {
    /// Parses a (decrypted) packet. `packet_size` is the negotiated one.
    ///
    /// # Errors
    /// [`InvalidPacket`].
    pub fn read(bytes: &'a [u8], packet_size: usize) -> Result<Self, InvalidPacket> {
        let short = InvalidPacket::Short(bytes.len());
        if bytes.len() > packet_size + super::OVERHEAD {
            return Err(InvalidPacket::Long(bytes.len()));
        }
        if bytes.len() < HEADER {
            return Err(short);
        }
        let blocks = *bytes.get(27).ok_or(short)?;
        let info = u32_le(bytes, 28).ok_or(short)?;
        let percent = info >> 4 & 0xff;
        let index = info >> 12 & 0x3ff;
        let data = info >> 22;
        let parity = (data * percent).div_ceil(100) as usize;
        let index = index as usize;
        let data = data as usize;
        if data == 0 || data + parity > MAX_SHARDS || index >= data + parity {
            return Err(InvalidPacket::Shard { index, data, parity });
        }
        let block = blocks >> 4 & 3;
        let last_block = blocks >> 6;
        if block > last_block {
            return Err(InvalidPacket::Block(block, last_block));
        }
        Ok(Self {
            sequence: u16_be(bytes, 2).ok_or(short)?,
            timestamp: u32_be(bytes, 4).ok_or(short)?,
            frame: u32_le(bytes, 20).ok_or(short)?,
            block,
            last_block,
            index,
            data,
            parity,
            shard: &bytes[COVERED..],
        })
    }
}

/// Decrypts a datagram in place; the packet in it.
///
/// # Errors
/// [`Forged`], also when it is too short.
pub fn open<'a>(session: &Session, datagram: &'a mut [u8]) -> Result<&'a mut [u8], Forged> {
    let nonce: [u8; 12] = array(datagram, 0).ok_or(Forged)?;
    let tag: [u8; 16] = array(datagram, 16).ok_or(Forged)?;
    let packet = datagram.get_mut(PREFIX..).ok_or(Forged)?;
    session.open(&nonce, packet, &tag)?;
    Ok(packet)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::KEY;
    use proptest::prelude::*;

    const PLAIN: &str =
        "90000005000023280000000000000000000500000200000007001000800c4000010700020e000000000000016742";

    #[test]
    fn the_encrypted_packet_of_the_protocol_is_read() {
        let sealed = "030000000000000000000056020000003a7cab38c0f1e3dca38665f60cf98aa1f81487388335f7ffb7272e58b93f9a\
                      b249eaa3dda190d0bec5b58cd34ea9c678e8b70845a09d20286ebb82ca5109";
        let mut datagram = hex::decode(sealed).unwrap();
        let packet = open(&Session::new(KEY, 0), &mut datagram).unwrap();
        assert_eq!(hex::encode(&*packet), PLAIN);
        let read = Packet::read(packet, 1024).unwrap();
        assert_eq!((read.sequence, read.timestamp, read.frame), (5, 9000, 2));
        assert_eq!((read.index, read.data, read.parity, read.block, read.last_block), (0, 1, 2, 0, 0));
        datagram[40] ^= 1;
        assert!(open(&Session::new(KEY, 0), &mut datagram).is_err());
        assert!(open(&Session::new(KEY, 0), &mut [0; 31]).is_err());
    }

    #[test]
    fn the_first_packet_of_a_real_host_is_read() {
        let bytes = "900000000000388300000000000000000000000001000000050010004001c006\
                     0100000218030000000000016742c01f";
        let bytes = hex::decode(bytes).unwrap();
        let read = Packet::read(&bytes, 1024).unwrap();
        assert_eq!((read.sequence, read.timestamp, read.frame, read.data), (0, 0x3883, 1, 27));
        assert_eq!((read.index, read.parity), (0, 6));
        assert_eq!(read.shard[0], FIRST | 1);
    }

    #[test]
    fn blocks_that_cannot_be_are_refused() {
        let with = |blocks: u8, info: u32| {
            let mut bytes = vec![0; 40];
            bytes[27] = blocks;
            bytes[28..32].copy_from_slice(&info.to_le_bytes());
            Packet::read(&bytes, 1024).map(|packet| packet.data)
        };
        assert_eq!(with(0, 3 << 22), Ok(3));
        assert!(matches!(with(0, 0), Err(InvalidPacket::Shard { .. })), "no data");
        assert!(matches!(with(0, 3 << 22 | 3 << 12), Err(InvalidPacket::Shard { .. })), "no such shard");
        assert!(matches!(with(0, 250 << 22 | 20 << 4), Err(InvalidPacket::Shard { .. })), "too many");
        assert_eq!(with(0x30, 3 << 22), Err(InvalidPacket::Block(3, 0)));
        assert_eq!(Packet::read(&[0; 31], 1024), Err(InvalidPacket::Short(31)));
        assert_eq!(Packet::read(&[0; 1041], 1024), Err(InvalidPacket::Long(1041)));
    }

    proptest! {
        #[test]
        fn no_bytes_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            let _ = Packet::read(&bytes, 64);
            let _ = open(&Session::new(KEY, 0), &mut bytes);
        }
    }
}
