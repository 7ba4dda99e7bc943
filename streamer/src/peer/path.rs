//! The path of packets between us and a peer.

use std::net::SocketAddr;

use common::api::Transport;

/// The path of packets between us and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// The transport that carries them.
    pub transport: Transport,
    /// Our address: that of one of our candidates.
    pub local: SocketAddr,
    /// The peer's address.
    pub remote: SocketAddr,
}

impl Path {
    /// A path by UDP.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote }
    }
}
