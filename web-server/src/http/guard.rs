//! Refuses requests of other web sites that a visitor's browser sends on their behalf.
//!
//! A page of another site can send requests to us, also where only this machine reaches us. What it cannot do is lie
//! about its `Origin`, or about the name by which it reached us in `Host`: a name of its own that it
//! rebinds to our address (DNS rebinding) is none of ours.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::Method;

use super::site::Site;

/// Why a request is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// `Host` is not a name of this server.
    #[error(
        "this server is not known as {0:?} (Host); http.allowed_hosts of the configuration names how it is reached"
    )]
    Host(String),
    /// `Origin` is another site.
    #[error(
        "requests from pages of another site ({0}) are not allowed (Origin); http.allowed_origins permits some"
    )]
    Origin(String),
}

/// The parts of a request that the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `None` when absent or not text.
    pub host: Option<&'a str>,
    /// `None` when absent; not text counts as `null`.
    pub origin: Option<&'a str>,
    /// That is a site whose pages may do what ours may.
    pub befriended: bool,
    /// Method of the request.
    pub method: &'a Method,
    /// It asks to become a WebSocket.
    pub websocket: bool,
}

/// Checks whether the request may be served.
///
/// # Errors
/// The reason why not.
pub fn check(facts: Facts<'_>, site: &Site) -> Result<(), Forbidden> {
    let host = facts.host.unwrap_or_default();
    if !is_ours(host, site) {
        return Err(Forbidden::Host(host.to_owned()));
    }
    let harmless = matches!(*facts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !facts.websocket;
    match facts.origin {
        Some(origin) if !harmless && !is_same(origin, host) && !facts.befriended => {
            Err(Forbidden::Origin(origin.to_owned()))
        }
        _ => Ok(()),
    }
}

/// True for an origin that is configured to do what our own pages may.
pub fn is_allowed(origin: &str, site: &Site) -> bool {
    site.access.origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

fn is_same(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// `host` as in the header: with a port or without. A name that an attacker rebinds to our address is his own; an
/// address is nobody's, and ours if we can be reached by it.
fn is_ours(host: &str, site: &Site) -> bool {
    let is_address = |ip: IpAddr| site.public || ip.is_loopback();
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let ours = address.parse::<Ipv6Addr>().is_ok_and(|ip| is_address(ip.into()));
                return ours && is_port(port);
            }
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let known = name.eq_ignore_ascii_case("localhost")
        || site.access.hosts.iter().any(|host| host.eq_ignore_ascii_case(name))
        || matches!(name.parse::<IpAddr>(), Ok(ip @ IpAddr::V4(_)) if is_address(ip));
    known && is_port(port)
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: Facts<'_>) -> Result<(), Forbidden> {
        super::check(facts, &Site::default())
    }

    #[test]
    fn configured_names_and_origins_are_ours_and_addresses_where_we_have_some() {
        let access = crate::config::Access {
            hosts: vec!["oriel.example".into()],
            origins: vec!["https://app.example".into()],
            ..Default::default()
        };
        let mut site = Site { access, ..Site::default() };
        let ok = |site: &Site, host, origin: Option<&str>| {
            let befriended = origin.is_some_and(|origin| is_allowed(origin, site));
            super::check(Facts { befriended, ..facts(host, origin, &Method::POST) }, site).is_ok()
        };
        assert!(ok(&site, "Oriel.Example:8443", None) && !ok(&site, "x.oriel.example", None));
        assert!(ok(&site, "oriel.example", Some("https://app.example")));
        assert!(!ok(&site, "oriel.example", Some("http://app.example")));
        assert!(!ok(&site, "oriel.example", Some("https://oriel.example.evil")));
        assert!(!ok(&site, "10.0.0.1", None));
        site.public = true;
        assert!(ok(&site, "10.0.0.1:80", None) && ok(&site, "[2001:db8::1]", None));
        assert!(!ok(&site, "evil.example", None));
    }

    fn facts<'a>(host: &'a str, origin: Option<&'a str>, method: &'a Method) -> Facts<'a> {
        Facts { host: Some(host), origin, befriended: false, method, websocket: false }
    }

    #[test]
    fn only_names_of_this_machine_are_served() {
        for host in ["localhost", "LOCALHOST:80", "127.0.0.1:8080", "127.8.8.8", "[::1]", "[::1]:9"] {
            assert_eq!(check(facts(host, None, &Method::GET)), Ok(()), "{host}");
        }
        for host in [
            "",
            "evil.example:8080",
            "127.0.0.1.evil.example",
            "localhost.evil",
            "10.0.0.1",
            "[::2]",
            "[::1",
            "[::1]x",
            "localhost:x",
            "localhost:80:80",
            "::1",
        ] {
            assert!(matches!(check(facts(host, None, &Method::GET)), Err(Forbidden::Host(_))), "{host}");
        }
        let none = Facts { host: None, ..facts("", None, &Method::GET) };
        assert!(check(none).is_err());
    }

    #[test]
    fn pages_of_other_sites_can_change_nothing_and_open_no_websocket() {
        let host = "localhost:8080";
        let websocket = |origin| Facts { websocket: true, ..facts(host, origin, &Method::GET) };
        for origin in
            ["http://evil.example", "null", "http://localhost:3000", "http://localhost", "localhost:8080"]
        {
            for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
                let result = check(facts(host, Some(origin), &method));
                assert!(matches!(result, Err(Forbidden::Origin(_))), "{origin} {method}");
            }
            assert!(check(websocket(Some(origin))).is_err(), "{origin}");
            assert!(check(facts(host, Some(origin), &Method::GET)).is_ok());
        }
    }

    #[test]
    fn our_own_pages_and_programs_without_an_origin_may_do_everything() {
        let host = "localhost:8080";
        for origin in [None, Some("http://localhost:8080"), Some("https://localhost:8080")] {
            assert_eq!(check(facts(host, origin, &Method::POST)), Ok(()));
            assert_eq!(check(Facts { websocket: true, ..facts(host, origin, &Method::GET) }), Ok(()));
        }
    }
}
