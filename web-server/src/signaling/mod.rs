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

use actix_web::HttpRequest;
use common::signal::AudioLayout;

use crate::http::extract::Query;
use crate::http::problem::ApiError;

/// How sound is to come, as the query of a request says it. It may hold nothing else.
///
/// # Errors
/// It names another layout, or has another parameter.
fn audio_layout(request: &HttpRequest) -> Result<AudioLayout, ApiError> {
    Query::of(request, &["audio"])?.get("audio").map_or(Ok(AudioLayout::default()), read_layout)
}

/// # Errors
/// There is no such layout.
fn read_layout(audio: &str) -> Result<AudioLayout, ApiError> {
    audio.parse().map_err(|error| ApiError::field("audio", format!("{error}, not {audio:?}")))
}
