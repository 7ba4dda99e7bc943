//! The address of the client that sent a request, behind trusted proxies. Pure.

use std::net::{IpAddr, Ipv6Addr};

pub use common::nat::Network;

/// Headers that only a proxy sets.
pub const FORWARDING: [&str; 6] =
    ["forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip"];

/// The client's own address: the last address in `forwarded_for` (`X-Forwarded-For`, nearest proxy last) that is not a
/// trusted proxy's, provided that every proxy after it is trusted.
pub fn client(peer: IpAddr, forwarded_for: &[&str], trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.contains(address));
    let mut client = peer.to_canonical();
    let entries = forwarded_for.iter().rev().flat_map(|value| value.rsplit(','));
    for entry in entries {
        if !is_trusted(client) {
            break;
        }
        match parse(entry.trim()) {
            Some(address) => client = address.to_canonical(),
            // Whatever that is: the proxy that wrote it is the last that is known.
            None => break,
        }
    }
    client
}

/// An address, with a port or without.
fn parse(entry: &str) -> Option<IpAddr> {
    let socket = || entry.parse::<std::net::SocketAddr>().ok().map(|socket| socket.ip());
    let bracketed = || entry.strip_prefix('[')?.strip_suffix(']')?.parse::<Ipv6Addr>().ok().map(IpAddr::V6);
    entry.parse().ok().or_else(socket).or_else(bracketed)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(text: &str) -> IpAddr {
        text.parse().unwrap()
    }

    fn networks(texts: &[&str]) -> Vec<Network> {
        texts.iter().map(|text| text.parse().unwrap()).collect()
    }

    #[test]
    fn networks_contain_what_begins_as_they_do() {
        for (network, inside, outside) in [
            ("10.0.0.0/8", "10.255.0.1", "11.0.0.1"),
            ("127.0.0.1", "127.0.0.1", "127.0.0.2"),
            ("192.168.4.0/22", "192.168.7.255", "192.168.8.0"),
            ("0.0.0.0/0", "1.2.3.4", "::1"),
            ("fd00::/8", "fd12::1", "fe80::1"),
            ("::/0", "::1", "1.2.3.4"),
            ("::1", "::1", "::2"),
            ("10.0.0.0/8", "::ffff:10.1.1.1", "::ffff:11.1.1.1"),
        ] {
            let parsed: Network = network.parse().unwrap();
            assert!(parsed.contains(ip(inside)) && !parsed.contains(ip(outside)), "{network}");
        }
        for wrong in ["", "10.0.0.0/33", "::/129", "10.0.0/8", "10.0.0.0/x", "host", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn only_what_trusted_proxies_say_of_an_address_is_believed() {
        let trusted = networks(&["127.0.0.1", "10.0.0.0/8"]);
        for (peer, headers, expected) in [
            ("9.9.9.9", &["1.1.1.1"][..], "9.9.9.9"),
            ("127.0.0.1", &[], "127.0.0.1"),
            ("127.0.0.1", &["1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["6.6.6.6, 1.1.1.1"], "1.1.1.1"),
            ("127.0.0.1", &["6.6.6.6, 1.1.1.1, 10.0.0.3"], "1.1.1.1"),
            ("127.0.0.1", &["6.6.6.6", "1.1.1.1,10.0.0.3"], "1.1.1.1"),
            ("127.0.0.1", &["nonsense, 10.0.0.3"], "10.0.0.3"),
            ("127.0.0.1", &["1.1.1.1:4711"], "1.1.1.1"),
            ("::ffff:127.0.0.1", &["[2001:db8::1]:80"], "2001:db8::1"),
            ("127.0.0.1", &["[2001:db8::1]"], "2001:db8::1"),
        ] {
            assert_eq!(client(ip(peer), headers, &trusted), ip(expected), "{peer} {headers:?}");
        }
        assert_eq!(client(ip("127.0.0.1"), &["1.1.1.1"], &[]), ip("127.0.0.1"));
    }
}
