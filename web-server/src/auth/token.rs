//! Tokens: JSON Web Tokens (RFC 7519) signed with HMAC-SHA-256 (`HS256`, RFC 7518 §3.2). Pure.
//!
//! Only tokens of this server are read, so there is one algorithm and one header, compared as a whole: nothing in a token
//! selects how it is verified.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, Utc};
use common::id::{StreamerId, TokenId};
use common::person::{Person, Rights};
use common::signal::Role;
use hmac::{Hmac, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;

use super::key::Key;

const HEADER: &str = r#"{"alg":"HS256","typ":"JWT"}"#;
/// Distinguishes our tokens from others that might be signed with the same key.
const ISSUER: &str = "oriel";
/// Longest token that is verified, bytes. Ours have about 330, and up to 2200 with a long name, user id and address.
const MAX_TOKEN: usize = 3072;

/// The claims of a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claims {
    /// The id of the streamer.
    pub streamer: StreamerId,
    /// What the token permits.
    pub role: Role,
    /// Who has it, and what it permits among the peers.
    pub person: Person,
    /// The id of the token.
    pub token: TokenId,
    /// What its peers are sent at most, kilobits per second.
    pub max_bitrate_kbps: Option<u32>,
    /// Time at which it expires; whole seconds.
    pub expires: DateTime<Utc>,
}

/// Why a token is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Invalid {
    /// It was not signed by this server.
    Wrong,
    /// It has expired.
    Expired,
}

#[derive(Serialize, Deserialize)]
struct Payload {
    iss: String,
    sub: StreamerId,
    role: Role,
    #[serde(default, skip_serializing_if = "Rights::is_empty")]
    rights: Rights,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    name: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    user_id: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    max_kbps: Option<u32>,
    jti: TokenId,
    iat: i64,
    exp: i64,
}

/// No claims besides our own.
#[derive(Debug, Serialize)]
pub struct NoMore {}

/// What a token says, with claims that others read and this server does not.
#[derive(Serialize)]
struct WithMore<'a, T> {
    #[serde(flatten)]
    ours: Payload,
    #[serde(flatten)]
    more: &'a T,
}

/// Signs a token with `claims`, and `more` that are none of ours.
pub fn sign(key: &Key, claims: &Claims, more: &impl Serialize, now: DateTime<Utc>) -> String {
    let person = claims.person.clone();
    let payload = Payload {
        iss: ISSUER.into(),
        sub: claims.streamer.clone(),
        role: claims.role,
        rights: person.rights,
        name: person.display_name,
        user_id: person.user_id,
        max_kbps: claims.max_bitrate_kbps,
        jti: claims.token,
        iat: now.timestamp(),
        exp: claims.expires.timestamp(),
    };
    let payload = WithMore { ours: payload, more };
    let payload = serde_json::to_vec(&payload).expect("texts and numbers");
    let signed = format!("{}.{}", URL_SAFE_NO_PAD.encode(HEADER), URL_SAFE_NO_PAD.encode(payload));
    let signature = URL_SAFE_NO_PAD.encode(mac(key, &signed).finalize().into_bytes());
    format!("{signed}.{signature}")
}

/// Verifies a token and returns its claims, if it is valid at `now`.
///
/// # Errors
/// The reason why it is invalid.
pub fn verify(key: &Key, token: &str, now: DateTime<Utc>) -> Result<Claims, Invalid> {
    if token.len() > MAX_TOKEN {
        return Err(Invalid::Wrong);
    }
    let (signed, signature) = token.rsplit_once('.').ok_or(Invalid::Wrong)?;
    let signature = URL_SAFE_NO_PAD.decode(signature).map_err(|_| Invalid::Wrong)?;
    // In constant time; before anything else in it is looked at.
    mac(key, signed).verify_slice(&signature).map_err(|_| Invalid::Wrong)?;
    let (header, payload) = signed.split_once('.').ok_or(Invalid::Wrong)?;
    if header != URL_SAFE_NO_PAD.encode(HEADER) {
        return Err(Invalid::Wrong);
    }
    let payload = URL_SAFE_NO_PAD.decode(payload).map_err(|_| Invalid::Wrong)?;
    let payload: Payload = serde_json::from_slice(&payload).map_err(|_| Invalid::Wrong)?;
    let expires = DateTime::from_timestamp(payload.exp, 0).ok_or(Invalid::Wrong)?;
    if payload.iss != ISSUER {
        return Err(Invalid::Wrong);
    }
    if now >= expires {
        return Err(Invalid::Expired);
    }
    let person = Person { display_name: payload.name, user_id: payload.user_id, rights: payload.rights };
    let max_bitrate_kbps = payload.max_kbps;
    let token = payload.jti;
    Ok(Claims { streamer: payload.sub, role: payload.role, person, token, max_bitrate_kbps, expires })
}

/// `time` without its fraction of a second, which a token has no room for.
pub fn whole_seconds(time: DateTime<Utc>) -> DateTime<Utc> {
    DateTime::from_timestamp(time.timestamp(), 0).unwrap_or(time)
}

fn mac(key: &Key, signed: &str) -> Hmac<Sha256> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key.expose()).expect("HMAC takes keys of any length");
    mac.update(signed.as_bytes());
    mac
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::Duration;
    use common::person::{MAX_DISPLAY_NAME, MAX_USER_ID};

    fn claims(now: DateTime<Utc>) -> Claims {
        Claims {
            streamer: StreamerId::parse("demo").unwrap(),
            role: Role::Viewer,
            person: Person::default(),
            token: TokenId::unique(),
            max_bitrate_kbps: Some(800),
            expires: whole_seconds(now + Duration::seconds(60)),
        }
    }

    #[test]
    fn a_token_says_what_it_was_made_to_say_until_its_time_is_over() {
        let key = Key::of(1);
        let now = Utc::now();
        let claims = claims(now);
        let token = sign(&key, &claims, &NoMore {}, now);
        assert_eq!(verify(&key, &token, now), Ok(claims.clone()));
        assert_eq!(verify(&key, &token, claims.expires - Duration::nanoseconds(1)), Ok(claims.clone()));
        assert_eq!(verify(&key, &token, claims.expires), Err(Invalid::Expired));
        assert!(token.len() < MAX_TOKEN / 4, "{}", token.len());
        // It must be possible as a WebSocket subprotocol: a token of RFC 9110 §5.6.2.
        assert!(token.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b)), "{token}");
    }

    #[test]
    fn the_longest_name_and_user_id_fit() {
        let key = Key::of(1);
        let now = Utc::now();
        let display_name = Some("🙂".repeat(MAX_DISPLAY_NAME));
        // Four bytes each: no character needs more.
        let user_id = Some("🙂".repeat(MAX_USER_ID));
        let person = Person { display_name, user_id, ..Person::admin() };
        let claims = Claims { person, ..claims(now) };
        assert_eq!(verify(&key, &sign(&key, &claims, &NoMore {}, now), now), Ok(claims));
    }

    #[test]
    fn a_token_that_anybody_else_has_touched_is_wrong() {
        let key = Key::of(1);
        let now = Utc::now();
        let token = sign(&key, &claims(now), &NoMore {}, now);
        assert_eq!(verify(&Key::of(2), &token, now), Err(Invalid::Wrong));
        for n in 0..token.len() {
            let mut touched = token.clone().into_bytes();
            touched[n] = if touched[n] == b'A' { b'B' } else { b'A' };
            let touched = String::from_utf8(touched).unwrap();
            assert_eq!(verify(&key, &touched, now), Err(Invalid::Wrong), "at {n}");
        }
        let parts: Vec<_> = token.split('.').collect();
        let none = URL_SAFE_NO_PAD.encode(r#"{"alg":"none"}"#);
        for wrong in [
            String::new(),
            "..".into(),
            parts[0].into(),
            format!("{}.{}", parts[0], parts[1]),
            format!("{}.{}.", parts[0], parts[1]),
            format!("{none}.{}.", parts[1]),
            format!("{none}.{}.{}", parts[1], parts[2]),
            format!("{token}."),
            format!("{token}="),
            "a".repeat(MAX_TOKEN + 1),
        ] {
            assert_eq!(verify(&key, &wrong, now), Err(Invalid::Wrong), "{wrong}");
        }
    }

    /// Signed with the right key, by somebody who says something else.
    #[test]
    fn another_header_or_issuer_is_wrong_whatever_its_signature() {
        let key = Key::of(1);
        let now = Utc::now();
        let token = sign(&key, &claims(now), &NoMore {}, now);
        let payload = token.split('.').nth(1).unwrap();
        let header = token.split('.').next().unwrap();
        let resign = |signed: String| {
            let signature = URL_SAFE_NO_PAD.encode(mac(&key, &signed).finalize().into_bytes());
            format!("{signed}.{signature}")
        };
        assert!(verify(&key, &resign(format!("{header}.{payload}")), now).is_ok());
        let other = URL_SAFE_NO_PAD.encode(r#"{"alg":"HS512","typ":"JWT"}"#);
        assert_eq!(verify(&key, &resign(format!("{other}.{payload}")), now), Err(Invalid::Wrong));
        let claims = String::from_utf8(URL_SAFE_NO_PAD.decode(payload).unwrap()).unwrap();
        let issuer = URL_SAFE_NO_PAD.encode(claims.replace("oriel", "other"));
        assert_eq!(verify(&key, &resign(format!("{header}.{issuer}")), now), Err(Invalid::Wrong));
    }
}
