//! Which way packets go between us and a peer.

use std::net::SocketAddr;

use common::api::Transport;

/// Which way packets go between us and a peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Path {
    /// What carries them.
    pub transport: Transport,
    /// Our end: one of the candidates.
    pub local: SocketAddr,
    /// The peer's.
    pub remote: SocketAddr,
}

impl Path {
    /// One of datagrams.
    pub fn udp(local: SocketAddr, remote: SocketAddr) -> Self {
        Self { transport: Transport::Udp, local, remote }
    }
}
