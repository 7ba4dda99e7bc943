//! Tells which peer of a shard a datagram is for. Pure.
//!
//! All peers share one port. A binding request names its peer by our ICE user name; everything else is matched by its source
//! address, which is learnt from what we send.

use std::collections::HashMap;
use std::net::SocketAddr;

use super::{Key, demux};

/// The peers of a shard by their names and addresses.
#[derive(Debug, Default)]
pub struct Routes {
    by_ufrag: HashMap<String, Key>,
    by_address: HashMap<SocketAddr, Key>,
}

impl Routes {
    /// The peer that sent a datagram from this address, if it is known.
    pub fn find(&self, from: SocketAddr, datagram: &[u8]) -> Option<Key> {
        self.named(datagram).or_else(|| self.by_address.get(&from).copied())
    }

    /// The peer that a binding request names; `None` if it names none, or is no binding request.
    pub fn named(&self, packet: &[u8]) -> Option<Key> {
        self.by_ufrag.get(demux::our_ufrag(packet)?).copied()
    }

    /// A description of ours gives a peer this ICE user name. Its former name, `former`, is forgotten.
    pub fn rename(&mut self, key: Key, former: &str, ufrag: &str) {
        self.by_ufrag.remove(former);
        self.by_ufrag.insert(ufrag.to_owned(), key);
    }

    /// A datagram was sent to this address on behalf of a peer. A response to the peer's check proves that the address is the peer's.
    /// Anything else may be sent to an address that a peer merely claims, and takes no address from another peer.
    pub fn sent(&mut self, key: Key, to: SocketAddr, datagram: &[u8]) {
        if demux::proves_address(datagram) {
            self.by_address.insert(to, key);
        } else {
            self.by_address.entry(to).or_insert(key);
        }
    }

    /// A peer has gone; `ufrag` is its last name.
    pub fn remove(&mut self, key: Key, ufrag: &str) {
        self.by_ufrag.remove(ufrag);
        self.by_address.retain(|_, owner| *owner != key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A binding request that contains this user name of ours.
    fn request(ufrag: &str) -> Vec<u8> {
        let name = format!("{ufrag}:them");
        let mut attribute = vec![0, 6, 0, name.len() as u8];
        attribute.extend_from_slice(name.as_bytes());
        attribute.resize(attribute.len().next_multiple_of(4), 0);
        stun([0, 1], &attribute)
    }

    /// A response to a binding request.
    fn response() -> Vec<u8> {
        stun([1, 1], &[])
    }

    fn stun(kind: [u8; 2], attributes: &[u8]) -> Vec<u8> {
        let len = [0, attributes.len() as u8];
        let cookie = [0x21, 0x12, 0xa4, 0x42];
        [&kind[..], &len, &cookie, &[7; 12], attributes].concat()
    }

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    const MEDIA: &[u8] = &[0x80, 96, 0, 1];

    #[test]
    fn a_request_goes_by_its_name_and_everything_else_by_its_address() {
        let mut routes = Routes::default();
        routes.rename(1, "", "alice");
        routes.rename(2, "", "bob");
        routes.sent(1, address(1), MEDIA);
        for (from, datagram, expected) in [
            (1, request("alice"), Some(1)),
            (1, request("bob"), Some(2)),
            (9, request("bob"), Some(2)),
            (1, request("nobody"), Some(1)),
            (9, request("nobody"), None),
            (1, response(), Some(1)),
            (1, MEDIA.to_vec(), Some(1)),
            (9, MEDIA.to_vec(), None),
            (1, Vec::new(), Some(1)),
        ] {
            assert_eq!(routes.find(address(from), &datagram), expected, "{from} {datagram:?}");
        }
    }

    #[test]
    fn only_a_response_takes_an_address_from_another_viewer() {
        for (datagram, expected) in [(response(), 2), (request("them"), 1), (MEDIA.to_vec(), 1)] {
            let mut routes = Routes::default();
            routes.sent(1, address(1), MEDIA);
            routes.sent(2, address(1), &datagram);
            assert_eq!(routes.find(address(1), MEDIA), Some(expected), "{datagram:?}");
        }
    }

    #[test]
    fn the_former_name_and_all_that_was_known_of_who_has_gone_are_forgotten() {
        let mut routes = Routes::default();
        routes.rename(1, "", "old");
        routes.rename(1, "old", "new");
        routes.sent(1, address(1), &response());
        routes.sent(2, address(2), &response());
        assert_eq!(routes.find(address(9), &request("old")), None);
        assert_eq!(routes.find(address(9), &request("new")), Some(1));
        routes.remove(1, "new");
        assert_eq!(routes.find(address(9), &request("new")), None);
        assert_eq!(routes.find(address(1), MEDIA), None);
        assert_eq!(routes.find(address(2), MEDIA), Some(2));
    }
}
