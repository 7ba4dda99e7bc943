//! ICE over TCP: one port for the peers of all streamers. A connection is accepted here, its first packet tells whose it is, and it is
//! handed to that streamer's process. Media is the streamer's: it goes on whatever becomes of us.
//!
//! ```text
//!  accept ──▶ admit ──▶ first packet ──▶ whose? ──▶ hand over ──▶ (gone from here)
//!               │           │              │            │
//!               └───────────┴──────────────┴────────────┴──▶ refuse: close, and count why
//! ```

mod link;
mod routes;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener as StdListener};
use std::sync::Arc;
use std::time::Duration;

use common::ice_tcp::framing::{self, HEADER};
use common::ice_tcp::stun;
use rustix::net::{AddressFamily, SocketFlags, SocketType, ipproto, socket_with, sockopt};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::accept::accept;
use crate::limits::network;
use crate::metrics::tcp::{Counters, Outcome};
use crate::seats::Seats;

pub use link::run as run_link;
pub use routes::Routes;

/// The port unless another is configured. It is not registered for anything, and not one that browsers refuse.
pub const DEFAULT_PORT: u16 = 8189;
/// From the connection to its first packet, and to the streamer that knows the name in it. Peers send it at once; a packet that is lost
/// on the way costs a second or two.
const FIRST_PACKET_DEADLINE: Duration = Duration::from_secs(5);
/// Connections whose first packet is awaited, in all: more than the largest audience joins with in a second. One more is closed.
const MAX_WAITING: usize = 512;
/// The same of one address (an IPv6 network of 64 bits is one). A browser makes one to each of our addresses; many of them may be behind
/// one address.
const MAX_WAITING_PER_ADDRESS: u32 = 32;
/// Connections that the kernel keeps for us.
const BACKLOG: i32 = 256;

/// A connection on its way to a streamer.
#[derive(Debug)]
pub struct Handover {
    stream: std::net::TcpStream,
    /// The first packet, which was read from it.
    packet: Vec<u8>,
}

/// Listens on `port` of these addresses; of all that the machine has when none are named.
///
/// # Errors
/// The port is taken on one of them, or one is not ours.
pub fn listen(ips: &[IpAddr], port: u16) -> io::Result<Vec<StdListener>> {
    if !ips.is_empty() {
        return ips.iter().map(|ip| bind(SocketAddr::new(*ip, port))).collect();
    }
    let mut listeners = vec![bind(SocketAddr::from((Ipv4Addr::UNSPECIFIED, port)))?];
    match bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, port))) {
        Ok(listener) => listeners.push(listener),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
        Err(error) => tracing::info!(%error, "no IPv6 for TCP connections of peers"),
    }
    Ok(listeners)
}

fn bind(address: SocketAddr) -> io::Result<StdListener> {
    let family = if address.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, Some(ipproto::TCP))?;
    // Connections of streamers that go on have the port too, and must not keep us from it.
    sockopt::set_socket_reuseaddr(&socket, true)?;
    if address.is_ipv6() {
        // IPv4 has a socket of its own.
        sockopt::set_ipv6_v6only(&socket, true)?;
    }
    rustix::net::bind(&socket, &address)?;
    rustix::net::listen(&socket, BACKLOG)?;
    Ok(socket.into())
}

/// Accepts on all of `listeners`, for ever.
///
/// # Errors
/// The runtime cannot watch a listener.
pub fn start(listeners: Vec<StdListener>, routes: &Routes, counters: &Counters) -> io::Result<JoinSet<()>> {
    let mut tasks = JoinSet::new();
    let acceptor = Acceptor {
        routes: routes.clone(),
        counters: counters.clone(),
        waiting: Arc::new(Semaphore::new(MAX_WAITING)),
        by_address: Seats::new(MAX_WAITING_PER_ADDRESS),
    };
    for listener in listeners {
        tasks.spawn(acceptor.clone().run(TcpListener::from_std(listener)?));
    }
    Ok(tasks)
}

/// What all listeners share.
#[derive(Clone)]
struct Acceptor {
    routes: Routes,
    counters: Counters,
    waiting: Arc<Semaphore>,
    by_address: Seats<IpAddr>,
}

/// Why a connection is closed.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error("its first packet has not come in time, or not at all")]
    Silent,
    #[error("its first packet is no binding request with a user name")]
    NotIce,
    #[error("no streamer has the peer that it names")]
    Unknown,
    #[error("its streamer does not take it")]
    NotTaken,
}

impl Acceptor {
    async fn run(self, listener: TcpListener) {
        let begin = |stream, from: SocketAddr| {
            // Before a task is made for it.
            let room = self.admit(from.ip());
            if room.is_none() {
                self.counters.count(Outcome::Busy);
            }
            let room = room?;
            let acceptor = self.clone();
            Some(async move {
                let result = acceptor.connection(stream).await;
                drop(room);
                acceptor.count(&result);
            })
        };
        accept(listener, "TCP connections of peers", begin).await;
    }

    /// Room for one more, as long as what is returned lives.
    fn admit(&self, from: IpAddr) -> Option<impl Send + use<>> {
        let all = self.waiting.clone().try_acquire_owned().ok()?;
        let of_address = self.by_address.take(network(from))?;
        Some((all, of_address))
    }

    async fn connection(&self, mut stream: TcpStream) -> Result<(), Refused> {
        let first = timeout(FIRST_PACKET_DEADLINE, first_packet(&mut stream)).await;
        let packet = first.map_err(|_| Refused::Silent)??;
        let ufrag = ufrag(&packet)?;
        // A peer may be quicker than its streamer's word.
        let route = timeout(FIRST_PACKET_DEADLINE, self.routes.find(ufrag)).await;
        let route = route.map_err(|_| Refused::Unknown)?;
        let stream = stream.into_std().map_err(|_| Refused::Silent)?;
        route.try_send(Handover { stream, packet }).map_err(|_| Refused::NotTaken)
    }

    fn count(&self, result: &Result<(), Refused>) {
        let outcome = match result {
            Ok(()) => Outcome::HandedOver,
            Err(Refused::Silent) => Outcome::Silent,
            Err(Refused::NotIce) => Outcome::NotIce,
            Err(Refused::Unknown) => Outcome::Unknown,
            Err(Refused::NotTaken) => Outcome::NotTaken,
        };
        self.counters.count(outcome);
        if let Err(error) = result {
            tracing::debug!(%error, "a TCP connection is closed");
        }
    }
}

/// Reads one packet and not a byte more.
async fn first_packet(stream: &mut TcpStream) -> Result<Vec<u8>, Refused> {
    let mut header = [0; HEADER];
    stream.read_exact(&mut header).await.map_err(|_| Refused::Silent)?;
    let mut packet = vec![0; first_length(header)?];
    stream.read_exact(&mut packet).await.map_err(|_| Refused::Silent)?;
    Ok(packet)
}

/// How long the first packet is. Nothing is read of one that cannot be a binding request.
fn first_length(header: [u8; HEADER]) -> Result<usize, Refused> {
    framing::length(header).ok().filter(|len| *len >= stun::HEADER).ok_or(Refused::NotIce)
}

/// Whose peer the first packet is from.
fn ufrag(packet: &[u8]) -> Result<&str, Refused> {
    stun::our_ufrag(packet).filter(|ufrag| !ufrag.is_empty()).ok_or(Refused::NotIce)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_first_packet_is_a_binding_request_of_a_bounded_length() {
        for (header, expected) in [
            ([0, 0], Err(Refused::NotIce)),
            ([0, 19], Err(Refused::NotIce)),
            ([0, 20], Ok(20)),
            ([0x10, 0], Ok(4096)),
            ([0x10, 1], Err(Refused::NotIce)),
            // "GE" of "GET / HTTP/1.1", and the begin of a ClientHello.
            (*b"GE", Err(Refused::NotIce)),
            ([0x16, 3], Err(Refused::NotIce)),
        ] {
            assert_eq!(first_length(header), expected, "{header:?}");
        }
        let mut request = vec![0, 1, 0, 12, 0x21, 0x12, 0xa4, 0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(ufrag(&request), Err(Refused::NotIce));
        request.extend(*b"\x00\x06\x00\x05us:it\0\0\0");
        assert_eq!(ufrag(&request), Ok("us"));
        request[24] = b':';
        assert_eq!(ufrag(&request), Err(Refused::NotIce));
        request[0] = 0x80;
        assert_eq!(ufrag(&request), Err(Refused::NotIce));
    }

    #[test]
    fn one_address_cannot_take_all_the_room_and_gives_back_what_it_had() {
        let acceptor = Acceptor {
            routes: Routes::default(),
            counters: Counters::default(),
            waiting: Arc::new(Semaphore::new(MAX_WAITING)),
            by_address: Seats::new(MAX_WAITING_PER_ADDRESS),
        };
        let address = |n: u16| IpAddr::from([192, 0, (n >> 8) as u8, n as u8]);
        let mut held: Vec<_> = std::iter::from_fn(|| acceptor.admit(address(1))).collect();
        assert_eq!(held.len(), MAX_WAITING_PER_ADDRESS as usize);
        held.extend((2..).map_while(|n| acceptor.admit(address(n))));
        assert_eq!(held.len(), MAX_WAITING);
        held.truncate(1);
        assert!(acceptor.admit(address(1)).is_some());
    }
}
