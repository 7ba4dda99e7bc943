//! Revoked tokens, until they would have expired. They are kept in a file of the state directory, so that they stay revoked
//! after a restart.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Duration, Utc};
use common::api::TOKEN_LIFE_S;
use common::id::TokenId;

use crate::durable;

/// In the state directory.
pub const REVOKED_FILE: &str = "revoked.json";
/// Most revoked tokens, of 70 bytes each in the file. Each is forgotten after the longest lifetime of a token.
pub const MAX_REVOKED: usize = 10_000;

/// Why a token cannot be revoked.
#[derive(Debug, thiserror::Error)]
pub enum Full {
    /// The list is full.
    #[error(
        "{MAX_REVOKED} revoked tokens are remembered, and no more can be; to revoke all tokens there are, \
         remove the file token.key and start the server again"
    )]
    TooMany,
    /// The file cannot be written.
    #[error("the revocation cannot be kept: {0}")]
    Io(#[from] io::Error),
}

/// Revoked tokens, each with the time at which it may be forgotten.
#[derive(Debug)]
pub struct Revoked {
    path: PathBuf,
    /// Read by every request with a token, changed rarely. A change is written to the file while the lock is held, so that
    /// the file is never older than the memory.
    tokens: Mutex<BTreeMap<TokenId, DateTime<Utc>>>,
}

impl Revoked {
    /// Reads the revoked tokens of a state directory.
    ///
    /// # Errors
    /// The file is there and cannot be read: revoked tokens would be valid again.
    pub fn load(state_dir: &Path, now: DateTime<Utc>) -> io::Result<Self> {
        let path = state_dir.join(REVOKED_FILE);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        let mut tokens: BTreeMap<TokenId, DateTime<Utc>> = match fs::read(&path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(|error| named(error.into()))?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => BTreeMap::new(),
            Err(error) => return Err(named(error)),
        };
        tokens.retain(|_, until| *until > now);
        Ok(Self { path, tokens: Mutex::new(tokens) })
    }

    /// Whether the token has been revoked.
    pub fn contains(&self, token: TokenId) -> bool {
        self.lock().contains_key(&token)
    }

    /// All of them.
    pub fn all(&self) -> Vec<TokenId> {
        self.lock().keys().copied().collect()
    }

    /// Remembers a token as revoked.
    ///
    /// # Errors
    /// The token is not revoked.
    pub fn add(&self, token: TokenId, now: DateTime<Utc>) -> Result<(), Full> {
        let mut tokens = self.lock();
        tokens.retain(|_, until| *until > now);
        if tokens.contains_key(&token) {
            return Ok(());
        }
        if tokens.len() >= MAX_REVOKED {
            return Err(Full::TooMany);
        }
        tokens.insert(token, now + Duration::seconds((*TOKEN_LIFE_S.end()).into()));
        if let Err(error) = write(&self.path, &tokens) {
            tokens.remove(&token);
            return Err(error.into());
        }
        Ok(())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, BTreeMap<TokenId, DateTime<Utc>>> {
        // What a panic leaves behind is whole: one insertion, or none.
        self.tokens.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn write(path: &Path, tokens: &BTreeMap<TokenId, DateTime<Utc>>) -> io::Result<()> {
    durable::replace(path, &serde_json::to_vec(tokens)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revoked_tokens_are_remembered_across_restarts_until_they_would_have_expired() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let token = TokenId::unique();
        let revoked = Revoked::load(dir.path(), now).unwrap();
        revoked.add(token, now).unwrap();
        revoked.add(token, now).unwrap();
        let life = Duration::seconds((*TOKEN_LIFE_S.end()).into());
        let later = |after| Revoked::load(dir.path(), now + after).unwrap();
        assert!(later(life - Duration::seconds(1)).contains(token));
        assert!(!later(life).contains(token));
        assert!(!later(Duration::zero()).contains(TokenId::unique()));
    }

    #[test]
    fn there_is_a_bound_and_time_makes_room() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let revoked = Revoked::load(dir.path(), now).unwrap();
        let until = now + Duration::seconds(1);
        *revoked.lock() = (0..MAX_REVOKED).map(|_| (TokenId::unique(), until)).collect();
        assert!(matches!(revoked.add(TokenId::unique(), now), Err(Full::TooMany)));
        revoked.add(TokenId::unique(), until).unwrap();
    }

    #[test]
    fn a_damaged_file_is_not_taken_for_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        fs::write(dir.path().join(REVOKED_FILE), "{").unwrap();
        assert!(Revoked::load(dir.path(), now).unwrap_err().to_string().contains(REVOKED_FILE));
    }

    #[test]
    fn what_cannot_be_written_down_is_not_revoked() {
        let dir = tempfile::tempdir().unwrap();
        let now = Utc::now();
        let revoked = Revoked::load(dir.path(), now).unwrap();
        fs::create_dir(dir.path().join("revoked.json.new")).unwrap();
        let token = TokenId::unique();
        assert!(matches!(revoked.add(token, now), Err(Full::Io(_))));
        assert!(!revoked.contains(token));
    }
}
