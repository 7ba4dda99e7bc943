//! Video: datagrams into frames.
//!
//! ```text
//! datagram ─(open)─▶ Packet ──▶ Block: data + parity ──K of them──▶ Frame: up to 4 blocks ──▶ Receiver: in order
//! ```
//!
//! A frame is cut into blocks, a block into data shards of equal size, and parity is added to each block. Nothing
//! is asked for again: what parity cannot replace is lost, and everything after it cannot be decoded until
//! the host sends an IDR frame.

mod block;
mod frame;
mod packet;
mod receiver;

pub use frame::{Frame, Kind, long_header};
pub use packet::{InvalidPacket, Packet, open};
pub use receiver::{Counts, Receiver};

/// Bytes of a datagram beyond the negotiated packet size.
pub const OVERHEAD: usize = 16;
/// Bytes in front of an encrypted packet.
pub const PREFIX: usize = 32;
