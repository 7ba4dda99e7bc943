//! The protocols of viewers and publishers: the native one and `multistream/*` on WebSockets, WHEP and WHIP.
//!
//! All of them only relay. A streamer gives out peer ids, offers and answers; these modules know which peer has
//! which WebSocket, and nothing more.

pub mod gate;
pub mod media_ws;
pub mod multi_webrtc;
pub mod multistream;
pub mod offered;
pub mod opened;
pub mod peer_ws;
pub mod sfu;
pub mod websocket;
pub mod whep;
pub mod whip;
