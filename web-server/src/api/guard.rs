//! Keeps other web sites out of a server that trusts everybody on this machine.
//!
//! A page of another site, open in a browser here, can send requests to loopback. What it cannot do is lie
//! about its `Origin`, or about the name by which it reached us in `Host`: a name of its own that it
//! rebinds to 127.0.0.1 (DNS rebinding) is not a loopback name.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::Method;

/// Why a request is not even looked at.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Forbidden {
    /// Reached by a name that is not of this machine.
    #[error("this server is reached as localhost, 127.0.0.1 or [::1] only, not as {0:?} (Host)")]
    Host(String),
    /// Sent by a page of another site.
    #[error("requests from pages of another site ({0}) are not allowed (Origin)")]
    Origin(String),
}

/// What of a request decides.
#[derive(Debug, Clone, Copy)]
pub struct Facts<'a> {
    /// `None` when absent or not text.
    pub host: Option<&'a str>,
    /// `None` when absent; not text counts as `null`.
    pub origin: Option<&'a str>,
    /// The method.
    pub method: &'a Method,
    /// It asks to become a WebSocket.
    pub websocket: bool,
}

/// May this request be served?
///
/// # Errors
/// The reason why not.
pub fn check(facts: Facts<'_>) -> Result<(), Forbidden> {
    let host = facts.host.unwrap_or_default();
    if !is_loopback(host) {
        return Err(Forbidden::Host(host.to_owned()));
    }
    let harmless = matches!(*facts.method, Method::GET | Method::HEAD | Method::OPTIONS) && !facts.websocket;
    match facts.origin {
        Some(origin) if !harmless && !is_same(origin, host) => Err(Forbidden::Origin(origin.to_owned())),
        _ => Ok(()),
    }
}

fn is_same(origin: &str, host: &str) -> bool {
    let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

/// `host` as in the header: with a port or without.
fn is_loopback(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[') {
        Some(rest) => match rest.split_once(']') {
            Some((address, port)) => {
                let loopback = address.parse::<Ipv6Addr>().is_ok_and(|ip| ip.is_loopback());
                return loopback && is_port(port);
            }
            None => return false,
        },
        None => host.split_at(host.find(':').unwrap_or(host.len())),
    };
    let known = name.eq_ignore_ascii_case("localhost")
        || matches!(name.parse::<IpAddr>(), Ok(IpAddr::V4(ip)) if ip.is_loopback());
    known && is_port(port)
}

/// Nothing, or a colon and digits.
fn is_port(text: &str) -> bool {
    text.is_empty() || text.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts<'a>(host: &'a str, origin: Option<&'a str>, method: &'a Method) -> Facts<'a> {
        Facts { host: Some(host), origin, method, websocket: false }
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
