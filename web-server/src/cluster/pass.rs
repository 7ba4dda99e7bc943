//! How a node shows another that a request comes from a node of the cluster, and on whose behalf: a header with a message
//! authentication code. Pure; `now` is passed in.
//!
//! A pass is good for one request at one node: its code covers method, path, the node that it is for, the time and a nonce. The token of
//! the client travels beside it as it came, and is checked where the streamer is.

use std::collections::HashSet;
use std::net::IpAddr;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, Mac};
use sha2::Sha256;

/// The header.
pub const HEADER: &str = "x-oriel-pass";
/// By how much the clocks of two nodes may differ.
pub const MAX_SKEW_MS: i64 = 30_000;
/// First word of the header.
const VERSION: &str = "1";

/// Who asked the node that asks us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pass {
    /// The node that asks.
    pub from: String,
    /// Address of its client.
    pub address: IpAddr,
    /// Whether the client reached it without a proxy.
    pub direct: bool,
}

/// A request, as far as a pass covers it.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a> {
    /// HTTP method.
    pub method: &'a str,
    /// Path and query, without a base path.
    pub path: &'a str,
    /// The node that is asked.
    pub to: &'a str,
}

/// Why a pass is not good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is no pass.
    #[error("the pass of the node that forwards this request is malformed")]
    Malformed,
    /// It was made with another key, for another request or for another node.
    #[error(
        "the pass of the node that forwards this request was not made with this cluster's key, or for this node"
    )]
    Wrong,
    /// Its time is not now.
    #[error(
        "the clocks of the node that forwards this request and of this one differ by {0} ms; at most {MAX_SKEW_MS} are \
         possible"
    )]
    Clock(i64),
    /// It has been used.
    #[error("the pass of the node that forwards this request has been used already")]
    Used,
}

/// Makes the header of a request. `nonce` is random, `now_ms` the time since 1970.
pub fn sign(key: &[u8; 32], request: Request<'_>, pass: &Pass, nonce: u64, now_ms: i64) -> String {
    let Pass { from, address, direct } = pass;
    let said = format!("{VERSION} {from} {address} {} {now_ms} {nonce:016x}", u8::from(*direct));
    let code = URL_SAFE_NO_PAD.encode(mac(key, request, &said).finalize().into_bytes());
    format!("{said} {code}")
}

/// Reads the header of a request. The pass is used up with it.
///
/// # Errors
/// See [`Invalid`].
pub fn verify(
    key: &[u8; 32],
    request: Request<'_>,
    header: &str,
    used: &mut Used,
    now_ms: i64,
) -> Result<Pass, Invalid> {
    let (said, code) = header.rsplit_once(' ').ok_or(Invalid::Malformed)?;
    let code = URL_SAFE_NO_PAD.decode(code).map_err(|_| Invalid::Malformed)?;
    // In constant time, before anything in it counts.
    mac(key, request, said).verify_slice(&code).map_err(|_| Invalid::Wrong)?;
    let mut words = said.split(' ');
    let mut next = || words.next().ok_or(Invalid::Malformed);
    if next()? != VERSION {
        return Err(Invalid::Malformed);
    }
    let from = next()?.to_owned();
    let address = next()?.parse().map_err(|_| Invalid::Malformed)?;
    let direct = next()? == "1";
    let at: i64 = next()?.parse().map_err(|_| Invalid::Malformed)?;
    let nonce = u64::from_str_radix(next()?, 16).map_err(|_| Invalid::Malformed)?;
    let skew = now_ms.saturating_sub(at);
    if skew.abs() > MAX_SKEW_MS {
        return Err(Invalid::Clock(skew));
    }
    if !used.insert(nonce, now_ms) {
        return Err(Invalid::Used);
    }
    Ok(Pass { from, address, direct })
}

fn mac(key: &[u8; 32], request: Request<'_>, said: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("HMAC takes keys of any length");
    // No part can contain a line break.
    for part in [request.method, request.path, request.to, said] {
        mac.update(part.as_bytes());
        mac.update(b"\n");
    }
    mac
}

/// Nonces of passes that were used, for as long as their time is good. Only nodes with the key add to it.
#[derive(Debug, Default)]
pub struct Used {
    /// Since when `current` is added to.
    since_ms: i64,
    current: HashSet<u64>,
    previous: HashSet<u64>,
}

impl Used {
    /// False if it is there already.
    fn insert(&mut self, nonce: u64, now_ms: i64) -> bool {
        // A pass may be early by the skew and used late by the skew.
        if now_ms.saturating_sub(self.since_ms) > 2 * MAX_SKEW_MS {
            self.previous = std::mem::take(&mut self.current);
            self.since_ms = now_ms;
        }
        !self.previous.contains(&nonce) && self.current.insert(nonce)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: [u8; 32] = [1; 32];
    const REQUEST: Request<'_> = Request { method: "GET", path: "/api/streamers/a?x=1", to: "b" };

    fn pass() -> Pass {
        Pass { from: "a".into(), address: "10.0.0.1".parse().unwrap(), direct: true }
    }

    #[test]
    fn a_pass_is_good_once_for_its_request_at_its_node() {
        let header = sign(&KEY, REQUEST, &pass(), 5, 1000);
        let mut used = Used::default();
        for other in [
            Request { method: "DELETE", ..REQUEST },
            Request { path: "/api/streamers/b?x=1", ..REQUEST },
            Request { to: "c", ..REQUEST },
        ] {
            assert_eq!(verify(&KEY, other, &header, &mut used, 1000), Err(Invalid::Wrong));
        }
        assert_eq!(verify(&[2; 32], REQUEST, &header, &mut used, 1000), Err(Invalid::Wrong));
        assert_eq!(verify(&KEY, REQUEST, &header, &mut used, 1000), Ok(pass()));
        for later in [1000, 1000 + MAX_SKEW_MS] {
            assert_eq!(verify(&KEY, REQUEST, &header, &mut used, later), Err(Invalid::Used));
        }
        let skew = 1000 + MAX_SKEW_MS + 1;
        assert_eq!(verify(&KEY, REQUEST, &header, &mut used, skew), Err(Invalid::Clock(MAX_SKEW_MS + 1)));
        let hour = 1000 - 3_600_000;
        assert_eq!(verify(&KEY, REQUEST, &header, &mut used, hour), Err(Invalid::Clock(-3_600_000)));
    }

    #[test]
    fn whatever_is_touched_is_not_good() {
        let header = sign(&KEY, REQUEST, &pass(), 5, 1000);
        for n in 0..header.len() {
            let mut touched = header.clone().into_bytes();
            touched[n] = if touched[n] == b'1' { b'2' } else { b'1' };
            let touched = String::from_utf8(touched).unwrap();
            if touched != header {
                assert!(verify(&KEY, REQUEST, &touched, &mut Used::default(), 1000).is_err(), "{touched}");
            }
        }
        for malformed in ["", " ", "1", "1 a 10.0.0.1 1 5", "\u{e4} \u{e4}"] {
            assert!(verify(&KEY, REQUEST, malformed, &mut Used::default(), 1000).is_err());
        }
    }

    #[test]
    fn nonces_are_forgotten_only_when_their_time_is_over() {
        let mut used = Used::default();
        let mut now = 1_000_000;
        for nonce in 0..1000 {
            assert!(used.insert(nonce, now));
            now += 1000;
            for recent in (0..=nonce).rev().take(60) {
                assert!(!used.insert(recent, now), "{recent} of {nonce}");
            }
        }
        assert!(used.current.len() + used.previous.len() < 200);
    }
}
