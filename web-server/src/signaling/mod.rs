//! What viewers speak: the native protocol on a WebSocket, and WHEP.
//!
//! Both only relay. A streamer gives out peer ids, offers and answers; here is known which peer has
//! which WebSocket, and nothing more.

pub mod peer_ws;
pub mod socket;
pub mod whep;

pub use socket::{Close, Out, Socket};
