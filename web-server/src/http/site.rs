//! The server as its clients see it: its proxies, names and base path.

#![expect(clippy::disallowed_methods, reason = "a request is taken at the time at which it comes")]

use std::future::{Ready, ready};
use std::net::IpAddr;
use std::time::Instant;

use actix_web::HttpMessage as _;
use actix_web::dev::{Payload, ServiceRequest};
use actix_web::http::header::{self, HeaderMap};
use actix_web::{FromRequest, HttpRequest};
use chrono::Utc;
use common::signal::TOKEN_SUBPROTOCOL;

use crate::auth::address::{self, FORWARDING};
use crate::auth::{Auth, Refused, Right};
use crate::config::{Access, Compat};
use crate::limits::{Exceeded, Limits};

/// The settings that requests are checked with.
#[derive(Debug, Clone, Default)]
pub struct Site {
    /// The settings of access.
    pub access: Access,
    /// What is served for clients of other servers.
    pub compat: Compat,
    /// Whether other machines can reach it by its addresses.
    pub public: bool,
}

impl Site {
    /// A path with the base path, as clients request it.
    pub fn path(&self, path: &str) -> String {
        format!("{}{path}", self.access.base_path)
    }

    /// The pattern of a route without the base path, as in the table of routes.
    pub fn without_base<'a>(&self, pattern: &'a str) -> &'a str {
        match pattern.strip_prefix(self.access.base_path.as_str()) {
            // The base path itself, which leads to the page below it.
            Some("") => "/",
            Some(ours) => ours,
            None => pattern,
        }
    }
}

/// Who sent a request.
#[derive(Debug, Clone)]
pub struct Caller {
    /// Address of the client; behind trusted proxies, the one that they have forwarded.
    pub address: IpAddr,
    /// Whether the request came without a proxy.
    pub direct: bool,
    /// Whether another node of the cluster was asked, and has forwarded the request.
    pub forwarded: bool,
    /// The caller's right, or why it has none.
    pub right: Result<Right, Refused>,
}

impl FromRequest for Caller {
    type Error = Refused;
    type Future = Ready<Result<Self, Refused>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        ready(caller(request))
    }
}

/// Who sent a request.
///
/// # Errors
/// Never behind the middleware, which stores the caller before any route is reached.
pub fn caller(request: &HttpRequest) -> Result<Caller, Refused> {
    request.extensions().get::<Caller>().cloned().ok_or(Refused::NoToken)
}

/// The address that a request comes from, and whether it came without a proxy.
pub fn origin_of(request: &ServiceRequest, site: &Site) -> (IpAddr, bool) {
    let unknown = IpAddr::from([0, 0, 0, 0]);
    let peer = request.peer_addr().map_or(unknown, |address| address.ip());
    let headers = request.headers();
    let forwarded_for: Vec<_> =
        headers.get_all("x-forwarded-for").filter_map(|value| value.to_str().ok()).collect();
    let direct = FORWARDING.iter().all(|name| !headers.contains_key(*name));
    (address::client(peer, &forwarded_for, &site.access.trusted_proxies), direct)
}

/// The key that a backend of another server shows, where such are served ([`crate::compat::sfu`]).
pub fn api_key<'a>(headers: &'a HeaderMap, site: &Site) -> Option<&'a str> {
    headers.get("x-api-key").filter(|_| site.compat.sfu)?.to_str().ok()
}

/// The right of a caller who shows this token. Only wrong tokens are counted, so that nobody can lock out callers with a valid one.
///
/// # Errors
/// Too many tokens of this address were wrong.
pub fn login(
    auth: &Auth,
    limits: &Limits,
    shown: Option<&str>,
    address: IpAddr,
    direct: bool,
) -> Result<Result<Right, Refused>, Exceeded> {
    let right = auth.identify(shown, direct, Utc::now());
    if right == Err(Refused::Wrong) {
        limits.login_failed(Instant::now(), address)?;
        // After the limit: guesses must not fill the log.
        tracing::warn!(%address, "a wrong token");
    }
    Ok(right)
}

/// The token that a request brings: in `Authorization`, or as a subprotocol of a WebSocket.
pub fn token_of(headers: &HeaderMap) -> Option<&str> {
    let bearer = |value: &'static str, text: &str| {
        text.get(..value.len()).is_some_and(|s| s.eq_ignore_ascii_case(value))
    };
    let authorization = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    // What is of another scheme is for somebody else, such as a proxy that passes it on.
    let authorization = authorization.filter(|text| bearer("bearer ", text)).map(|text| text[7..].trim());
    authorization.or_else(|| {
        let offered = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).filter_map(|value| value.to_str().ok());
        offered.flat_map(|list| list.split(',')).find_map(|item| item.trim().strip_prefix(TOKEN_SUBPROTOCOL))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::http::header::HeaderName;
    use actix_web::test::TestRequest;

    #[test]
    fn wrong_tokens_lock_out_nobody_who_has_a_valid_one() {
        let dir = tempfile::tempdir().unwrap();
        let secret = "a-secret-of-enough-length";
        let secrets = crate::auth::secrets::Secrets::new(vec![secret.into()]).unwrap();
        let auth = Auth::new(secrets, dir.path()).unwrap();
        let limits = Limits::new(crate::limits::Config::default(), crate::limits::Refusals::default());
        let id = common::id::StreamerId::parse("a").unwrap();
        let wish = common::api::CreateToken::of(common::signal::Role::Viewer, 60);
        let token = auth.issue(&id, wish, Utc::now()).token;
        let login = |shown| login(&auth, &limits, shown, IpAddr::from([127, 0, 0, 1]), true);
        let most = limits.config().failed_logins_per_minute as usize;
        let refused: Vec<_> = (0..most + 1).map(|_| login(Some("a guess"))).collect();
        assert!(refused[..most].iter().all(|refused| *refused == Ok(Err(Refused::Wrong))));
        assert_eq!(refused[most], Err(Exceeded::Logins));
        assert_eq!(login(Some(secret)), Ok(Ok(Right::Admin)));
        assert!(matches!(login(Some(&token)), Ok(Ok(Right::Streamer { .. }))));
        assert_eq!(login(None), Ok(Ok(Right::Nobody)));
    }

    #[test]
    fn a_token_comes_in_a_header_or_as_a_subprotocol_and_nowhere_else() {
        let token = |headers: &[(&'static str, &str)]| {
            let request = headers.iter().fold(TestRequest::default(), |request, (name, value)| {
                request.append_header((HeaderName::from_static(name), *value))
            });
            token_of(request.to_http_request().headers()).map(str::to_owned)
        };
        for (headers, expected) in [
            (&[("authorization", "Bearer abc")][..], Some("abc")),
            (&[("authorization", "bearer  abc ")], Some("abc")),
            (&[("authorization", "Basic abc")], None),
            (&[("authorization", "Bearer")], None),
            (&[("sec-websocket-protocol", "oriel.v1, oriel.token.a.b.c")], Some("a.b.c")),
            (
                &[("sec-websocket-protocol", "oriel.v1"), ("sec-websocket-protocol", "oriel.token.x")],
                Some("x"),
            ),
            (&[("sec-websocket-protocol", "oriel.v1")], None),
            (&[("cookie", "token=abc")], None),
            (&[], None),
        ] {
            assert_eq!(token(headers).as_deref(), expected, "{headers:?}");
        }
    }
}
