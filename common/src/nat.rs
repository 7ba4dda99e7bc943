//! The network of a streamer: the ports that it may bind, the interfaces whose addresses it offers, and the public
//! addresses by which it is reached.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// UDP ports, from the first to the last. Written `50000-50100`, or as one number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PortRange {
    first: u16,
    last: u16,
}

impl PortRange {
    /// Each of them, in order.
    pub fn ports(self) -> impl Iterator<Item = u16> {
        self.first..=self.last
    }

    /// How many there are.
    pub fn count(self) -> usize {
        usize::from(self.last - self.first) + 1
    }
}

/// The text is not a range of ports.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be FIRST-LAST with ports from 1 to 65535, like 50000-50100")]
pub struct InvalidPorts;

impl FromStr for PortRange {
    type Err = InvalidPorts;

    fn from_str(text: &str) -> Result<Self, InvalidPorts> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let port = |text: &str| text.trim().parse::<u16>().ok().filter(|port| *port != 0);
        match (port(first), port(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            _ => Err(InvalidPorts),
        }
    }
}

impl fmt::Display for PortRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.first, self.last)
    }
}

impl Serialize for PortRange {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PortRange {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether the interface `name` is wanted. A filter is a name in which `*` matches any characters; one that begins with `!`
/// excludes. Without any filter that includes, every interface is included.
pub fn interface_wanted(filters: &[String], name: &str) -> bool {
    let unwanted = filters.iter().filter_map(|filter| filter.strip_prefix('!'));
    let mut wanted = filters.iter().filter(|filter| !filter.starts_with('!')).peekable();
    let all = wanted.peek().is_none();
    (all || wanted.any(|filter| matches(filter, name)))
        && !unwanted.into_iter().any(|filter| matches(filter, name))
}

/// `pattern` with `*` for any characters. Takes time of at most the product of both lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(rest) = name.strip_prefix(parts.next().unwrap_or_default()) else { return false };
    let parts: Vec<&str> = parts.collect();
    let Some((last, middle)) = parts.split_last() else { return rest.is_empty() };
    let mut rest = rest;
    for part in middle {
        let Some(found) = rest.find(part) else { return false };
        rest = &rest[found + part.len()..];
    }
    rest.ends_with(last)
}

/// The address to offer for `own`: behind a 1:1 NAT, the public one of the same family. A loopback address is offered as it
/// is, as no NAT translates to it.
pub fn offered(own: IpAddr, public: &[IpAddr]) -> IpAddr {
    let of_family = |ip: &&IpAddr| ip.is_ipv4() == own.is_ipv4();
    match public.iter().find(of_family) {
        Some(public) if !own.is_loopback() || public.is_loopback() => *public,
        _ => own,
    }
}

/// Addresses with the same beginning: `10.0.0.0/8`, or a single one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    address: IpAddr,
    prefix: u8,
}

/// It is no network.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("must be an address or a network, as in 10.0.0.0/8, not {0:?}")]
pub struct NoNetwork(String);

impl FromStr for Network {
    type Err = NoNetwork;

    fn from_str(text: &str) -> Result<Self, NoNetwork> {
        let wrong = || NoNetwork(text.to_owned());
        let (address, prefix) = match text.split_once('/') {
            Some((address, prefix)) => (address, Some(prefix.parse().map_err(|_| wrong())?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let longest = if address.is_ipv4() { 32 } else { 128 };
        match prefix.unwrap_or(longest) {
            prefix if prefix <= longest => Ok(Self { address, prefix }),
            _ => Err(wrong()),
        }
    }
}

impl TryFrom<String> for Network {
    type Error = NoNetwork;

    fn try_from(text: String) -> Result<Self, NoNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.prefix)
    }
}

impl Network {
    /// Whether the address is in the network.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (ours, theirs, len) = match (self.address, address.to_canonical()) {
            (IpAddr::V4(ours), IpAddr::V4(theirs)) => (bits4(ours), bits4(theirs), 32),
            (IpAddr::V6(ours), IpAddr::V6(theirs)) => (u128::from(ours), u128::from(theirs), 128),
            _ => return false,
        };
        // A shift by all bits is none.
        let shift = u32::from(len - self.prefix);
        ours.checked_shr(shift).unwrap_or_default() == theirs.checked_shr(shift).unwrap_or_default()
    }
}

fn bits4(address: Ipv4Addr) -> u128 {
    u128::from(u32::from(address))
}

/// Networks that are never contacted unless it is configured otherwise: no peer is there, and a peer that claims such an
/// address must not make us send to what is. Loopback is not among them, for viewers on this machine.
const DENIED: [&str; 13] = [
    // "This network" and no address at all (RFC 1122 §3.2.1.3).
    "0.0.0.0/8",
    "::/128",
    // Link-local; clouds serve their metadata at 169.254.169.254.
    "169.254.0.0/16",
    "fe80::/10",
    // Metadata elsewhere: Azure, Alibaba, Oracle, AWS, Google, and the first by NAT64.
    "168.63.129.16/32",
    "100.100.100.200/32",
    "192.0.0.192/32",
    "fd00:ec2::/32",
    "fd20:ce::254/128",
    "64:ff9b::a9fe:0/112",
    // Multicast and broadcast.
    "224.0.0.0/4",
    "ff00::/8",
    "255.255.255.255/32",
];

/// The default of `webrtc.deny_candidates`.
pub fn denied_candidates() -> Vec<Network> {
    DENIED.iter().map(|network| network.parse().expect("they are networks; a test reads them")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_read_and_written_back() {
        for (text, count) in [("50000-50100", 101), ("7-7", 1), ("9", 1), ("1 - 65535", 65535)] {
            let range: PortRange = text.parse().unwrap();
            assert_eq!(range.count(), count, "{text}");
            assert_eq!(range.to_string().parse(), Ok(range));
            assert_eq!(range.ports().count(), count);
        }
        for text in ["", "0-5", "5-4", "1-65536", "a-b", "1-2-3", "-"] {
            assert_eq!(text.parse::<PortRange>(), Err(InvalidPorts), "{text}");
        }
    }

    #[test]
    fn interfaces_are_taken_and_left_out_by_name() {
        let wanted = |filters: &[&str], name| {
            interface_wanted(&filters.iter().map(|&filter| filter.to_owned()).collect::<Vec<_>>(), name)
        };
        assert!(wanted(&[], "eth0"));
        assert!(wanted(&["eth*"], "eth0") && !wanted(&["eth*"], "wlan0") && !wanted(&["eth"], "eth0"));
        assert!(wanted(&["!docker*"], "eth0") && !wanted(&["!docker*"], "docker0"));
        assert!(wanted(&["e*", "!*1"], "eth0") && !wanted(&["e*", "!*1"], "eth1"));
        assert!(wanted(&["*"], "") && wanted(&["a*b*c"], "aXbYbZc") && !wanted(&["a*b*c"], "acb"));
        assert!(!wanted(&["ab*ba"], "aba"));
    }

    #[test]
    fn public_addresses_stand_for_those_of_their_family() {
        let ip = |text: &str| text.parse::<IpAddr>().unwrap();
        let public = [ip("203.0.113.7"), ip("2001:db8::7")];
        assert_eq!(offered(ip("10.0.0.2"), &public), public[0]);
        assert_eq!(offered(ip("fd00::2"), &public), public[1]);
        assert_eq!(offered(ip("fd00::2"), &public[..1]), ip("fd00::2"));
        assert_eq!(offered(ip("127.0.0.1"), &public), ip("127.0.0.1"));
        assert_eq!(offered(ip("127.0.0.1"), &[ip("127.0.0.9")]), ip("127.0.0.9"));
        assert_eq!(offered(ip("10.0.0.2"), &[]), ip("10.0.0.2"));
    }

    #[test]
    fn metadata_and_link_local_are_denied_and_peers_are_not() {
        let denied = denied_candidates();
        let denies = |text: &str| denied.iter().any(|network| network.contains(text.parse().unwrap()));
        for text in [
            "169.254.169.254",
            "::ffff:169.254.169.254",
            "64:ff9b::169.254.169.254",
            "fe80::1",
            "fd00:ec2::254",
            "0.0.0.0",
            "::",
            "239.1.2.3",
            "ff02::1",
            "255.255.255.255",
        ] {
            assert!(denies(text), "{text}");
        }
        for text in ["127.0.0.1", "::1", "10.0.0.1", "192.168.1.2", "100.64.0.1", "fd00::2", "2001:db8::1"] {
            assert!(!denies(text), "{text}");
        }
    }
}
