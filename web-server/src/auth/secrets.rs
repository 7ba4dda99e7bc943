//! The configured admin secrets. Only their hashes are kept, and compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq as _;

/// Shortest secret, in characters: 16 random ones of 64 cannot be guessed.
const MIN_LEN: usize = 16;
/// Longest, so that it fits into a header.
const MAX_LEN: usize = 512;
/// Most admin secrets.
const MAX_SECRETS: usize = 16;

/// The admin secrets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secrets(Vec<[u8; 32]>);

/// Why a text cannot be a secret. It does not contain the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unfit {
    /// It is too short or too long.
    #[error(
        "an admin secret has from {MIN_LEN} to {MAX_LEN} characters; `openssl rand -hex 32` makes a good one"
    )]
    Length,
    /// It could not be sent in a header, or as a subprotocol.
    #[error("an admin secret is made of ASCII letters, digits and -._~ only")]
    Characters,
    /// There are too many.
    #[error("there can be at most {MAX_SECRETS} admin secrets")]
    TooMany,
}

impl Secrets {
    /// Checks and hashes the configured texts.
    ///
    /// # Errors
    /// The first that cannot be a secret.
    pub fn new(texts: Vec<String>) -> Result<Self, Unfit> {
        if texts.len() > MAX_SECRETS {
            return Err(Unfit::TooMany);
        }
        let hashed = texts.iter().map(|text| {
            let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
            match text.len() {
                _ if !text.bytes().all(allowed) => Err(Unfit::Characters),
                MIN_LEN..=MAX_LEN => Ok(hash(text)),
                _ => Err(Unfit::Length),
            }
        });
        hashed.collect::<Result<_, _>>().map(Self)
    }

    /// Whether there are none: access is not restricted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether this is one of the secrets. Takes the same time for every text.
    pub fn contain(&self, shown: &str) -> bool {
        let shown = hash(shown);
        let found = self.0.iter().fold(subtle::Choice::from(0), |found, known| found | known.ct_eq(&shown));
        found.into()
    }
}

fn hash(text: &str) -> [u8; 32] {
    Sha256::digest(text).into()
}

impl fmt::Debug for Secrets {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Secrets({} of them)", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_configured_is_one() {
        let secrets = Secrets::new(vec!["first-secret-0123".into(), "second_secret.0123".into()]).unwrap();
        assert!(secrets.contain("first-secret-0123") && secrets.contain("second_secret.0123"));
        for wrong in ["", "first-secret-012", "first-secret-01234", "FIRST-SECRET-0123"] {
            assert!(!secrets.contain(wrong), "{wrong}");
        }
        assert!(!Secrets::default().contain(""));
        assert!(!format!("{secrets:?}").contains("first"));
    }

    #[test]
    fn what_could_be_guessed_or_not_be_sent_is_refused_without_saying_it() {
        for (text, why) in [
            ("short", Unfit::Length),
            ("", Unfit::Length),
            ("with a space in the middle", Unfit::Characters),
            ("umlauts-are-äöü-no-good", Unfit::Characters),
        ] {
            assert_eq!(Secrets::new(vec![text.into()]).unwrap_err(), why);
            assert!(text.is_empty() || !why.to_string().contains(text));
        }
        assert_eq!(Secrets::new(vec!["x".repeat(MAX_LEN + 1)]).unwrap_err(), Unfit::Length);
        assert_eq!(Secrets::new(vec!["x".repeat(20); MAX_SECRETS + 1]).unwrap_err(), Unfit::TooMany);
    }
}
