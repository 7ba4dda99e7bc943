//! The STUN and TURN servers for peers. Each peer gets credentials of its own for the configured TURN servers, made from a
//! secret that only the TURN server and this server know; they expire.
//!
//! The scheme is that of coturn's `use-auth-secret` (draft-uberti-behave-turn-rest-00): the user name is the time at
//! which it ends and a name, the password is the HMAC-SHA1 of it.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use common::signal::{IceServer, ServerMessage};
use hmac::{Hmac, Mac};
use sha1::Sha1;

use crate::secret::Secret;

/// The configured STUN and TURN servers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Config {
    /// Servers that are passed on as configured.
    pub servers: Vec<IceServer>,
    /// TURN servers with credentials that expire.
    pub turn: Option<Turn>,
}

/// TURN servers that share a secret with us.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// `turn:` and `turns:` URLs.
    pub urls: Vec<String>,
    /// The secret, `static-auth-secret` in coturn.
    pub secret: Secret,
    /// Lifetime of credentials.
    pub ttl: Duration,
}

impl Config {
    /// The servers for a peer. `name` is the user in the TURN server's log.
    pub fn servers(&self, now: DateTime<Utc>, name: &str) -> Vec<IceServer> {
        let of_turn = self.turn.as_ref().map(|turn| turn.server(now, name));
        self.servers.iter().cloned().chain(of_turn).collect()
    }

    /// Adds the servers to a `welcome`; the streamer that made it knows none.
    pub fn complete(&self, now: DateTime<Utc>, message: &mut ServerMessage) {
        if let ServerMessage::Welcome { ice_servers, peer_id, .. } = message {
            *ice_servers = self.servers(now, &peer_id.to_string());
        }
    }
}

impl Turn {
    fn server(&self, now: DateTime<Utc>, name: &str) -> IceServer {
        let ends = now.timestamp() + i64::try_from(self.ttl.as_secs()).unwrap_or(i64::MAX / 2);
        let username = format!("{ends}:{name}");
        let mut mac = Hmac::<Sha1>::new_from_slice(self.secret.expose().as_bytes())
            .expect("HMAC takes a key of any length");
        mac.update(username.as_bytes());
        let credential = STANDARD.encode(mac.finalize().into_bytes());
        IceServer { urls: self.urls.clone(), username: Some(username), credential: Some(credential) }
    }
}

/// `Link` headers as WHEP has them (draft-ietf-wish-whep §4.4). What cannot stand in a header is left out.
pub fn links(servers: &[IceServer]) -> Vec<String> {
    let plain = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic() && !b"\"\\<>".contains(&byte));
    let mut links = Vec::new();
    for IceServer { urls, username, credential } in servers {
        for url in urls.iter().filter(|url| plain(url)) {
            let mut link = format!("<{url}>; rel=\"ice-server\"");
            if let (Some(user), Some(credential)) = (username, credential) {
                if !plain(user) || !plain(credential) {
                    continue;
                }
                link += &format!(
                    "; username=\"{user}\"; credential=\"{credential}\"; credential-type=\"password\""
                );
            }
            links.push(link);
        }
    }
    links
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::id::PeerId;
    use common::signal::Role;

    fn config() -> Config {
        let stun = IceServer { urls: vec!["stun:s:3478".into()], username: None, credential: None };
        let turn = Turn {
            urls: vec!["turn:t:3478".into(), "turns:t:5349".into()],
            secret: Secret::new("north"),
            ttl: Duration::from_secs(3600),
        };
        Config { servers: vec![stun], turn: Some(turn) }
    }

    #[test]
    fn credentials_are_those_of_coturns_rest_scheme() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let servers = config().servers(now, "alice");
        assert_eq!(servers.len(), 2);
        assert_eq!(servers[1].username.as_deref(), Some("1700003600:alice"));
        // printf '1700003600:alice' | openssl dgst -sha1 -hmac north -binary | base64
        assert_eq!(servers[1].credential.as_deref(), Some("wjwSXO2ch1B6VaLTLMy2Avn5O9o="));
        let later = config().servers(now + chrono::TimeDelta::seconds(1), "alice");
        assert_ne!(servers[1].credential, later[1].credential, "made anew");
    }

    #[test]
    fn a_welcome_is_completed_and_nothing_else_changes() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let peer_id = PeerId::unique();
        let mut welcome = ServerMessage::Welcome {
            peer_id,
            resume_token: "r".into(),
            resumed: true,
            role: Role::Viewer,
            rights: common::person::Rights::new(),
            display_name: None,
            slots: 4,
            ice_servers: Vec::new(),
            protocol: 1,
            nodes: Vec::new(),
        };
        config().complete(now, &mut welcome);
        let ServerMessage::Welcome { ice_servers, resumed: true, slots: 4, .. } = &welcome else {
            panic!("{welcome:?}")
        };
        assert_eq!(ice_servers, &config().servers(now, &peer_id.to_string()));
    }

    #[test]
    fn the_secret_is_in_no_debug_output() {
        assert!(!format!("{:?}", config()).contains("north"));
    }

    #[test]
    fn players_are_told_by_link_headers() {
        let now = DateTime::from_timestamp(1_700_000_000, 0).unwrap();
        let links = links(&config().servers(now, "alice"));
        assert_eq!(links.len(), 3);
        assert_eq!(links[0], "<stun:s:3478>; rel=\"ice-server\"");
        assert!(
            links[1]
                .starts_with("<turn:t:3478>; rel=\"ice-server\"; username=\"1700003600:alice\"; credential=")
        );
        let odd = IceServer { urls: vec!["turn:a b".into()], username: None, credential: None };
        assert!(super::links(&[odd]).is_empty());
    }
}
