//! TURN, ports and addresses: checks that their settings are consistent.

use std::net::IpAddr;
use std::time::Duration;

use common::nat::{self, Network, NoNetwork, PortRange};
use common::spec::InvalidField;

use super::secrets::given_or_read;
use super::{Options, Secret};
use crate::ice::Turn;
use crate::ice_tcp;

/// For how long credentials are good unless it is configured: a working day, after which a page that is opened anew has
/// others.
const DEFAULT_TTL: Duration = Duration::from_secs(12 * 3600);
/// Shorter ones would end while a viewer joins; longer ones protect nothing.
const TTL_S: std::ops::RangeInclusive<u64> = 60..=30 * 24 * 3600;

/// The TURN servers that share a secret with us.
pub(super) fn turn(options: &Options) -> Result<Option<Turn>, InvalidField> {
    let invalid = |field, message: &str| Err(InvalidField::new(field, message.to_owned()));
    let urls = options.turn_url.clone().unwrap_or_default();
    if let Some(bad) = urls.iter().find(|url| !url.starts_with("turn:") && !url.starts_with("turns:")) {
        return invalid("turn.urls", &format!("{bad:?} must begin with turn: or turns:"));
    }
    let secret = given_or_read(
        ["turn.secret", "turn.secret_file"],
        options.turn_secret.clone(),
        options.turn_secret_file.as_deref(),
    )?;
    let ttl = match options.turn_ttl_s {
        Some(seconds) if !TTL_S.contains(&seconds) => {
            let message = format!("must be from {} to {}, not {seconds}", TTL_S.start(), TTL_S.end());
            return invalid("turn.ttl_s", &message);
        }
        Some(seconds) => Duration::from_secs(seconds),
        None => DEFAULT_TTL,
    };
    match (urls.is_empty(), secret) {
        (true, None) => Ok(None),
        (true, Some(_)) => invalid("turn.urls", "is needed with turn.secret"),
        (false, None) => invalid("turn.secret", "is needed with turn.urls, or turn.secret_file"),
        (false, Some(secret)) if secret.is_empty() => invalid("turn.secret", "is empty"),
        (false, Some(secret)) => Ok(Some(Turn { urls, secret: Secret::new(secret), ttl })),
    }
}

/// The addresses of a 1:1 NAT, at most one of each family.
pub(super) fn public_ips(options: &Options) -> Result<Vec<IpAddr>, InvalidField> {
    let ips = options.webrtc_public_ip.clone().unwrap_or_default();
    let invalid = |message: String| Err(InvalidField::new("webrtc.public_ip", message));
    if let Some(ip) = ips.iter().find(|ip| ip.is_unspecified() || ip.is_multicast()) {
        return invalid(format!("{ip} is no address of a machine"));
    }
    let of = |v4: bool| ips.iter().filter(|ip| ip.is_ipv4() == v4).count();
    if of(true) > 1 || of(false) > 1 {
        return invalid("may be one address of IPv4 and one of IPv6".to_owned());
    }
    Ok(ips)
}

/// Addresses that streamers never contact. A configured list replaces the default.
pub(super) fn deny_candidates(options: &Options) -> Result<Vec<Network>, InvalidField> {
    let Some(networks) = &options.webrtc_deny_candidates else { return Ok(nat::denied_candidates()) };
    let parse = |network: &String| {
        let parsed = network.trim().parse();
        parsed.map_err(|error: NoNetwork| InvalidField::new("webrtc.deny_candidates", error.to_string()))
    };
    // An empty variable is a list with one empty entry.
    networks.iter().filter(|network| !network.trim().is_empty()).map(parse).collect()
}

/// Ports for streamers: enough for as many as there may be.
pub(super) fn udp_ports(options: &Options, max_streamers: u32) -> Result<Option<PortRange>, InvalidField> {
    let Some(range) = options.webrtc_udp_ports else { return Ok(None) };
    if range.count() < max_streamers as usize {
        let message = format!(
            "{range} is {} ports, and max_streamers is {max_streamers}, each of which needs one: name more ports, or \
             allow fewer streamers",
            range.count()
        );
        return Err(InvalidField::new("webrtc.udp_ports", message));
    }
    Ok(Some(range))
}

/// The TCP port for media; none where it is switched off.
pub(super) fn tcp_port(option: Option<u16>) -> Option<u16> {
    Some(option.unwrap_or(ice_tcp::DEFAULT_PORT)).filter(|port| *port != 0)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn options(args: &[&str]) -> Options {
        Options::try_parse_from(std::iter::once("web-server").chain(args.iter().copied())).unwrap()
    }

    #[test]
    fn turn_needs_servers_and_one_secret() {
        assert_eq!(turn(&options(&[])), Ok(None));
        let good =
            turn(&options(&["--turn-url", "turn:t", "--turn-secret", "s", "--turn-ttl-s", "600"])).unwrap();
        assert_eq!(good.map(|turn| (turn.urls, turn.ttl.as_secs())), Some((vec!["turn:t".to_owned()], 600)));
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("secret");
        std::fs::write(&file, "s3\n").unwrap();
        let file = file.to_str().unwrap();
        let good = turn(&options(&["--turn-url", "turn:t", "--turn-secret-file", file])).unwrap().unwrap();
        assert_eq!((good.secret.expose(), good.ttl), ("s3", DEFAULT_TTL));
        for (args, field) in [
            (&["--turn-url", "turn:t"][..], "turn.secret"),
            (&["--turn-secret", "s"], "turn.urls"),
            (&["--turn-url", "stun:t", "--turn-secret", "s"], "turn.urls"),
            (&["--turn-url", "turn:t", "--turn-secret", ""], "turn.secret"),
            (&["--turn-url", "turn:t", "--turn-secret", "s", "--turn-ttl-s", "5"], "turn.ttl_s"),
            (&["--turn-url", "turn:t", "--turn-secret", "s", "--turn-secret-file", file], "turn.secret"),
            (&["--turn-url", "turn:t", "--turn-secret-file", "/none/such"], "turn.secret_file"),
        ] {
            assert_eq!(turn(&options(args)).unwrap_err().field, field, "{args:?}");
        }
    }

    #[test]
    fn what_is_denied_stands_in_place_of_the_default() {
        let denied = |args: &[&str]| deny_candidates(&options(args));
        assert_eq!(denied(&[]), Ok(nat::denied_candidates()));
        let given = denied(&["--webrtc-deny-candidates", "10.0.0.0/8,fd00::/8"]).unwrap();
        assert_eq!(given.iter().map(Network::to_string).collect::<Vec<_>>(), ["10.0.0.0/8", "fd00::/8"]);
        assert_eq!(denied(&["--webrtc-deny-candidates", ""]), Ok(Vec::new()));
        let refused = denied(&["--webrtc-deny-candidates", "10.0.0.0/33"]).unwrap_err();
        assert_eq!(refused.field, "webrtc.deny_candidates");
        assert!(refused.message.contains("10.0.0.0/33"), "{}", refused.message);
    }

    #[test]
    fn ports_and_addresses_are_checked() {
        let ports = |text| udp_ports(&options(&["--webrtc-udp-ports", text]), 64);
        assert!(ports("50000-50063").is_ok());
        assert!(ports("50000-50062").unwrap_err().message.contains("max_streamers"));
        let ips = |text| public_ips(&options(&["--webrtc-public-ip", text]));
        assert_eq!(ips("203.0.113.7,2001:db8::7").unwrap().len(), 2);
        assert!(ips("203.0.113.7,203.0.113.8").is_err());
        assert!(ips("0.0.0.0").is_err());
    }
}
