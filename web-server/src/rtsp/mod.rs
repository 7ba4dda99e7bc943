//! `rtsp://host:port/{id}/{source}`: a stream by RTSP 1.0 (RFC 2326), for recorders of cameras and for other programs that speak no
//! WebRTC.
//!
//! ```text
//! player ◀─ responses and interleaved packets ─ here ◀─ a connection of its own ─ a thread of the streamer's, which makes the packets
//! ```
//!
//! Nothing is kept here, as for MP4 ([`crate::api::mp4`]): what the player does not take stays in the connection, and the streamer sees that
//! it is full. `request` says what is asked for, `session` what is set up; `connection` does it.

mod connection;
pub mod message;
pub mod request;
mod sdp;
pub mod session;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use tokio::net::TcpListener;
use tokio::sync::Semaphore;

use crate::accept::accept;
use crate::auth::Auth;
use crate::limits::{Limits, network};
use crate::registry::Handle;
use crate::seats::Seats;

/// Connections in all: as many as there may be readers of some dozen streamers.
const MAX_CONNECTIONS: usize = 512;
/// Connections of one address (an IPv6 network of 64 bits is one): a recorder has one for each camera.
const MAX_PER_ADDRESS: u32 = 128;

/// What requests are served with.
#[derive(Clone)]
pub struct Server {
    /// Where the streamers are.
    pub registry: Handle,
    /// Who may read them.
    pub auth: Arc<Auth>,
    /// How often somebody may ask.
    pub limits: Arc<Limits>,
}

/// Accepts connections on `listener`, for ever.
pub async fn run(listener: TcpListener, server: Server) {
    let all = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let by_address = Seats::<IpAddr>::new(MAX_PER_ADDRESS);
    let begin = |stream, from: SocketAddr| {
        let seats = all.clone().try_acquire_owned().ok().zip(by_address.take(network(from.ip())));
        if seats.is_none() {
            tracing::debug!(%from, "too many connections by RTSP: one is closed");
        }
        let seats = seats?;
        let server = server.clone();
        Some(async move {
            connection::serve(stream, from, server).await;
            drop(seats);
        })
    };
    accept(listener, "connections by RTSP", begin).await;
}

/// Listens on this address.
///
/// # Errors
/// It is taken, or not ours.
pub async fn listen(address: SocketAddr) -> std::io::Result<TcpListener> {
    let listener = TcpListener::bind(address).await?;
    tracing::info!(address = %listener.local_addr()?, "listening for RTSP");
    Ok(listener)
}
