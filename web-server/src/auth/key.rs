//! The key that tokens are signed with: made once, kept in a file that only its owner can read.

use std::fmt;
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::durable;

/// In the state directory.
pub const KEY_FILE: &str = "token.key";
/// As long as the hash that it is used with (RFC 7518 §3.2).
const LEN: usize = 32;

/// A secret key.
pub struct Key([u8; LEN]);

impl Key {
    /// The key of a state directory; made if there is none. Removing the file makes all tokens worthless.
    ///
    /// # Errors
    /// It cannot be read or made, or others can read it.
    pub fn load(state_dir: &Path) -> io::Result<Self> {
        let path = state_dir.join(KEY_FILE);
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", path.display()));
        match Self::make(&path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Self::read(&path),
            made => made,
        }
        .map_err(named)
    }

    fn make(path: &Path) -> io::Result<Self> {
        if path.exists() {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let mut key = [0; LEN];
        getrandom::fill(&mut key).map_err(io::Error::other)?;
        durable::replace(path, &key)?;
        Ok(Self(key))
    }

    fn read(path: &Path) -> io::Result<Self> {
        let mode = fs::metadata(path)?.permissions().mode();
        if mode & 0o077 != 0 {
            let message = format!("others can read this secret (mode {:o}); chmod 600 it", mode & 0o777);
            return Err(io::Error::new(io::ErrorKind::PermissionDenied, message));
        }
        let bytes = fs::read(path)?;
        let key = <[u8; LEN]>::try_from(bytes.as_slice()).map_err(|_| {
            let message = format!("is damaged: must have {LEN} bytes; remove it to have a new one made");
            io::Error::new(io::ErrorKind::InvalidData, message)
        })?;
        Ok(Self(key))
    }

    /// The key itself.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A key that is kept elsewhere.
    pub fn given(key: [u8; LEN]) -> Self {
        Self(key)
    }

    /// A key for tests.
    #[cfg(test)]
    pub fn of(byte: u8) -> Self {
        Self([byte; LEN])
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_made_once_for_its_owner_alone() {
        let dir = tempfile::tempdir().unwrap();
        let first = Key::load(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(Key::load(dir.path()).unwrap().expose(), first.expose());
        assert!(first.expose().iter().any(|byte| *byte != 0) && !format!("{first:?}").contains('['));
    }

    #[test]
    fn one_that_others_can_read_or_that_is_damaged_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        Key::load(dir.path()).unwrap();
        let path = dir.path().join(KEY_FILE);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(Key::load(dir.path()).unwrap_err().to_string().contains("chmod 600"));
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        fs::write(&path, "short").unwrap();
        assert!(Key::load(dir.path()).unwrap_err().to_string().contains("damaged"));
    }
}
