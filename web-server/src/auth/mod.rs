//! Authentication and authorization. Decisions are plain functions, which `api/edge.rs` calls for every request; the right
//! that each route needs is in the table of `api/mod.rs`.
//!
//! ```text
//! Authorization, subprotocol, or hello ──▶ Auth::identify ──▶ Right ──▶ Right::permits(Need, streamer)
//!     admin secrets (configuration) ──────────▲   ▲
//!     signed tokens (token.rs) less the revoked ──┘ (revoked.rs, kept in the state directory)
//! ```
//!
//! Without a configured secret, everybody who connects directly from this machine is an admin. A request that a proxy has
//! forwarded has no such right, as its sender is not known.

pub mod address;
pub mod key;
pub mod revoked;
pub mod secrets;
pub mod token;

use std::path::Path;

use chrono::{DateTime, Utc};
use common::access::Need;
use common::api::{CreateToken, Token};
use common::id::{StreamerId, TokenId};
use common::ipc::Ticket;
use common::person::{PeerRight, Person};
use common::signal::Role;
use tokio::sync::watch;

use key::Key;
use revoked::{Full, Revoked};
use secrets::Secrets;
use serde::Serialize;
use token::{Claims, NoMore};

/// What a caller may do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Right {
    /// Nothing that needs a right.
    Nobody,
    /// What a token permits.
    Streamer {
        /// The streamer that the token is for.
        id: StreamerId,
        /// What the token permits.
        role: Role,
        /// The id of the token.
        token: TokenId,
        /// What its peers are sent at most, kilobits per second.
        max_bitrate_kbps: Option<u32>,
        /// Who has it, and what it permits among the peers.
        person: Box<Person>,
    },
    /// May do everything.
    Admin,
}

/// Why a caller is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// There is no token, and one is needed.
    #[error("this needs a token: Authorization: Bearer …")]
    NoToken,
    /// The same, of a request that a proxy forwarded to a server without secrets.
    #[error(
        "requests that a proxy forwards need a token, and this server has none: configure an admin secret \
         (ORIEL_ADMIN_SECRET)"
    )]
    Forwarded,
    /// The token was not issued by this server.
    #[error("the token is not valid")]
    Wrong,
    /// It was one of ours.
    #[error("the token has expired")]
    Expired,
    /// It was one of ours.
    #[error("the token has been revoked")]
    Revoked,
    /// The role does not permit it.
    #[error("this needs the role {0}")]
    Role(Need),
    /// The rights do not permit it.
    #[error("this needs the right {}", .0.as_str())]
    Right(PeerRight),
    /// The token is for another streamer.
    #[error("the token is for another streamer")]
    OtherStreamer,
}

impl Right {
    /// Checks that the caller has the right `need`, for `streamer` if the request is about one.
    ///
    /// # Errors
    /// The reason for the refusal.
    pub fn permits(&self, need: Need, streamer: Option<&StreamerId>) -> Result<(), Refused> {
        match self {
            _ if need == Need::Nothing => Ok(()),
            Right::Admin => Ok(()),
            Right::Nobody => Err(Refused::NoToken),
            Right::Streamer { id, role, .. } => {
                if need == Need::Admin {
                    Err(Refused::Role(need))
                } else if streamer != Some(id) {
                    Err(Refused::OtherStreamer)
                } else if Need::from(*role) < need {
                    Err(Refused::Role(need))
                } else {
                    Ok(())
                }
            }
        }
    }

    /// The highest role as a peer of a streamer that the caller may watch.
    pub fn role(&self) -> Role {
        match self {
            Right::Admin => Role::Controller,
            Right::Streamer { role, .. } => *role,
            Right::Nobody => Role::Viewer,
        }
    }

    /// Who the caller is among the peers of a streamer, and what it may do there.
    pub fn person(&self) -> Person {
        match self {
            Right::Admin => Person::admin(),
            Right::Streamer { person, .. } => (**person).clone(),
            Right::Nobody => Person::default(),
        }
    }

    /// Checks that the caller has a right among the peers.
    ///
    /// # Errors
    /// It has not.
    pub fn has(&self, right: PeerRight) -> Result<(), Refused> {
        if self.person().rights.contains(&right) { Ok(()) } else { Err(Refused::Right(right)) }
    }

    /// What a peer of the caller's is admitted by.
    pub fn ticket(&self) -> Ticket {
        match self {
            Right::Streamer { token, max_bitrate_kbps, .. } => {
                let token_id = Some(*token);
                Ticket { token_id, max_bitrate_kbps: *max_bitrate_kbps, ..Ticket::default() }
            }
            Right::Nobody | Right::Admin => Ticket::default(),
        }
    }

    /// The id of the token, if there is one; it can be revoked.
    pub fn token(&self) -> Option<TokenId> {
        match self {
            Right::Streamer { token, .. } => Some(*token),
            Right::Nobody | Right::Admin => None,
        }
    }

    /// A short name for the log.
    pub fn name(&self) -> String {
        match self {
            Right::Nobody => "nobody".into(),
            Right::Admin => "admin".into(),
            Right::Streamer { token, .. } => format!("token {token}"),
        }
    }
}

/// Checks secrets and tokens, and issues and revokes tokens.
#[derive(Debug)]
pub struct Auth {
    secrets: Secrets,
    key: Key,
    revoked: Revoked,
    /// Notified of each revocation.
    revocations: watch::Sender<()>,
}

impl Auth {
    /// Reads the signing key and the revoked tokens from the state directory, and creates the key if there is none.
    ///
    /// # Errors
    /// A file there cannot be read or created.
    pub fn new(secrets: Secrets, state_dir: &Path) -> std::io::Result<Self> {
        Self::with_key(secrets, Key::load(state_dir)?, state_dir)
    }

    /// Signs with a key that other servers have, too.
    ///
    /// # Errors
    /// The revoked tokens cannot be read.
    #[expect(clippy::disallowed_methods, reason = "reads files at the start")]
    pub fn with_key(secrets: Secrets, key: Key, state_dir: &Path) -> std::io::Result<Self> {
        let revoked = Revoked::load(state_dir, Utc::now())?;
        Ok(Self { secrets, key, revoked, revocations: watch::Sender::new(()) })
    }

    /// What the caller may do who shows this secret or token, or none. `direct`: no proxy has forwarded the request.
    ///
    /// # Errors
    /// The token is invalid, or one is needed and there is none.
    pub fn identify(&self, shown: Option<&str>, direct: bool, now: DateTime<Utc>) -> Result<Right, Refused> {
        let Some(shown) = shown else {
            return match (self.secrets.is_empty(), direct) {
                (true, true) => Ok(Right::Admin),
                (true, false) => Err(Refused::Forwarded),
                (false, _) => Ok(Right::Nobody),
            };
        };
        if self.secrets.contain(shown) {
            return Ok(Right::Admin);
        }
        let claims = token::verify(&self.key, shown, now).map_err(|error| match error {
            token::Invalid::Wrong => Refused::Wrong,
            token::Invalid::Expired => Refused::Expired,
        })?;
        if self.revoked.contains(claims.token) {
            return Err(Refused::Revoked);
        }
        let Claims { streamer: id, role, person, token, max_bitrate_kbps, expires: _ } = claims;
        Ok(Right::Streamer { id, role, token, max_bitrate_kbps, person: Box::new(person) })
    }

    /// Issues a token for a streamer.
    pub fn issue(&self, id: &StreamerId, wish: CreateToken, now: DateTime<Utc>) -> Token {
        self.issue_with(id, wish, &NoMore {}, now)
    }

    /// Issues a token for a streamer, with claims that its bearer reads and we do not.
    pub fn issue_with(
        &self,
        id: &StreamerId,
        wish: CreateToken,
        more: &impl Serialize,
        now: DateTime<Utc>,
    ) -> Token {
        let expires = token::whole_seconds(now + chrono::Duration::seconds(wish.expires_in_s.into()));
        let token_id = TokenId::unique();
        let claims = Claims {
            streamer: id.clone(),
            role: wish.role,
            person: wish.person(),
            token: token_id,
            max_bitrate_kbps: wish.max_bitrate_kbps,
            expires,
        };
        let token = token::sign(&self.key, &claims, more, now);
        Token { token, token_id, role: wish.role, rights: wish.rights, expires }
    }

    /// Revokes a token. Returns when that is on disk.
    ///
    /// # Errors
    /// Too many tokens are revoked already, or the file cannot be written.
    pub fn revoke(&self, token: TokenId, now: DateTime<Utc>) -> Result<(), Full> {
        self.revoked.add(token, now)?;
        self.revocations.send_replace(());
        Ok(())
    }

    /// All tokens that are revoked.
    pub fn revoked_tokens(&self) -> Vec<TokenId> {
        self.revoked.all()
    }

    /// Whether the token has been revoked; false without one.
    pub fn is_revoked(&self, token: Option<TokenId>) -> bool {
        token.is_some_and(|token| self.revoked.contains(token))
    }

    /// Waits until the token is revoked. Cancel safe.
    pub async fn revoked(&self, token: Option<TokenId>) {
        let mut revocations = self.revocations.subscribe();
        while !self.is_revoked(token) {
            // We hold the other end.
            let _ = revocations.changed().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> StreamerId {
        StreamerId::parse(text).unwrap()
    }

    fn auth(secrets: &[&str]) -> (Auth, tempfile::TempDir) {
        let dir = tempfile::tempdir().unwrap();
        let secrets = Secrets::new(secrets.iter().map(ToString::to_string).collect()).unwrap();
        (Auth::new(secrets, dir.path()).unwrap(), dir)
    }

    const SECRET: &str = "a-secret-of-enough-length";

    #[test]
    fn a_token_permits_its_role_on_its_streamer_and_nothing_else() {
        let of = |role| Right::Streamer {
            id: id("a"),
            role,
            token: TokenId::unique(),
            max_bitrate_kbps: None,
            person: Box::new(Person::default()),
        };
        let viewer = of(Role::Viewer);
        let controller = of(Role::Controller);
        let a = id("a");
        let b = id("b");
        for (right, need, streamer, expected) in [
            (&viewer, Need::Nothing, None, Ok(())),
            (&viewer, Need::Viewer, Some(&a), Ok(())),
            (&viewer, Need::Controller, Some(&a), Err(Refused::Role(Need::Controller))),
            (&viewer, Need::Viewer, Some(&b), Err(Refused::OtherStreamer)),
            (&viewer, Need::Viewer, None, Err(Refused::OtherStreamer)),
            (&viewer, Need::Admin, Some(&a), Err(Refused::Role(Need::Admin))),
            (&controller, Need::Viewer, Some(&a), Ok(())),
            (&controller, Need::Controller, Some(&a), Ok(())),
            (&controller, Need::Controller, Some(&b), Err(Refused::OtherStreamer)),
            (&controller, Need::Admin, None, Err(Refused::Role(Need::Admin))),
            (&Right::Admin, Need::Admin, Some(&b), Ok(())),
            (&Right::Nobody, Need::Nothing, Some(&a), Ok(())),
            (&Right::Nobody, Need::Viewer, Some(&a), Err(Refused::NoToken)),
        ] {
            assert_eq!(right.permits(need, streamer), expected, "{right:?} {need} {streamer:?}");
        }
    }

    #[test]
    fn without_secrets_only_who_comes_directly_is_an_admin() {
        let (auth, _dir) = auth(&[]);
        let now = Utc::now();
        assert_eq!(auth.identify(None, true, now), Ok(Right::Admin));
        assert_eq!(auth.identify(None, false, now), Err(Refused::Forwarded));
        assert_eq!(auth.identify(Some("guess"), true, now), Err(Refused::Wrong));
    }

    #[test]
    fn with_a_secret_it_or_a_token_must_be_shown() {
        let (auth, dir) = auth(&[SECRET]);
        let now = Utc::now();
        assert_eq!(auth.identify(None, true, now), Ok(Right::Nobody));
        assert_eq!(auth.identify(Some(SECRET), false, now), Ok(Right::Admin));
        assert_eq!(auth.identify(Some("another"), true, now), Err(Refused::Wrong));
        let rights = [PeerRight::Chat].into();
        let display_name = Some("Ada".to_owned());
        let wish = CreateToken { rights, display_name, ..CreateToken::of(Role::Viewer, 60) };
        let person = wish.person();
        let token = auth.issue(&id("a"), wish, now);
        let token_id = token.token_id;
        let right = Right::Streamer {
            id: id("a"),
            role: Role::Viewer,
            token: token_id,
            max_bitrate_kbps: None,
            person: Box::new(person),
        };
        assert_eq!(auth.identify(Some(&token.token), true, now), Ok(right.clone()));
        assert_eq!(auth.identify(Some(&token.token), true, token.expires), Err(Refused::Expired));
        // The key and what is revoked survive.
        let secrets = || Secrets::new(vec![SECRET.into()]).unwrap();
        let again = Auth::new(secrets(), dir.path()).unwrap();
        assert_eq!(again.identify(Some(&token.token), true, now), Ok(right));
        again.revoke(token.token_id, now).unwrap();
        assert_eq!(again.identify(Some(&token.token), true, now), Err(Refused::Revoked));
        let again = Auth::new(secrets(), dir.path()).unwrap();
        assert_eq!(again.identify(Some(&token.token), true, now), Err(Refused::Revoked));
    }
}
