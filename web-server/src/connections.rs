//! Limits the open connections of one address. One over the limit is closed before a byte is read, so that no client can use up
//! the server's descriptors.

use std::any::Any;
use std::net::IpAddr;

use actix_tls::accept::rustls_0_23::TlsStream;
use actix_web::dev::Extensions;
use actix_web::rt::net::TcpStream;

use crate::auth::address::Network;
use crate::limits::{Limit, Refusals, network};
use crate::seats::{Seat, Seats};

/// Open connections by address. Clones share the counts.
#[derive(Debug, Clone)]
pub struct Connections {
    open: Seats<IpAddr>,
    /// Trusted proxies, whose connections are not counted.
    proxies: Vec<Network>,
    refusals: Refusals,
}

impl Connections {
    /// No connections; at most `most` of one address (an IPv6 network of 64 bits is one), but any number of loopback addresses and `proxies`.
    pub fn new(most: u32, proxies: Vec<Network>, refusals: Refusals) -> Self {
        Self { open: Seats::new(most), proxies, refusals }
    }

    /// Counts a connection that actix has accepted, and closes it if it is over the limit.
    pub fn accepted(&self, connection: &dyn Any, extensions: &mut Extensions) {
        let tls = || connection.downcast_ref::<TlsStream<TcpStream>>().map(|stream| stream.get_ref().0);
        let Some(stream) = connection.downcast_ref::<TcpStream>().or_else(tls) else { return };
        // One that is closed already has no address.
        let Ok(address) = stream.peer_addr() else { return };
        match self.open(address.ip()) {
            Ok(open) => drop(extensions.insert(open)),
            Err(TooMany) => {
                // Seen as its end by whoever reads or writes it next, us among them.
                let _ = rustix::net::shutdown(stream, rustix::net::Shutdown::Both);
            }
        }
    }

    fn open(&self, address: IpAddr) -> Result<Option<Seat<IpAddr>>, TooMany> {
        let address = address.to_canonical();
        if address.is_loopback() || self.proxies.iter().any(|proxy| proxy.contains(address)) {
            return Ok(None);
        }
        let seat = self.open.take(network(address)).ok_or_else(|| {
            self.refusals.refused(Limit::Connections);
            TooMany
        })?;
        Ok(Some(seat))
    }
}

/// Closes a connection over the limit.
#[derive(Debug, PartialEq, Eq)]
struct TooMany;

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    #[test]
    fn an_address_has_so_many_until_it_closes_some() {
        let refusals = Refusals::default();
        let connections = Connections::new(2, vec!["10.0.0.0/8".parse().unwrap()], refusals.clone());
        let open = |address| connections.open(ip(address));
        let held = [open("2001:db8::1"), open("2001:db8::2")].map(Result::unwrap);
        assert_eq!(open("2001:db8::3").unwrap_err(), TooMany, "the same network");
        assert_eq!(refusals.of(Limit::Connections), 1);
        assert!(open("2001:db8:0:1::1").is_ok() && open("192.0.2.1").is_ok());
        for many in ["127.0.0.1", "::1", "10.1.2.3", "::ffff:10.1.2.3"] {
            assert!((0..5).all(|_| open(many).is_ok_and(|open| open.is_none())), "{many}");
        }
        drop(held);
        assert!(connections.open.is_empty(), "nothing is kept of those that are closed");
        assert!(open("2001:db8::3").is_ok());
    }
}
