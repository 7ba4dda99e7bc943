//! Who we are to hosts: a key and a certificate in files of their own, made once.
//!
//! The key is RSA, as hosts know no other. It is made by `rsa`; everything that is done with it later is done by
//! `ring`.

use std::fs::OpenOptions;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use chrono::Datelike;
use gamestream::identity::{Identity, InvalidIdentity};
use rcgen::{CertificateParams, DnType, KeyPair, SerialNumber, date_time_ymd};
use rsa::pkcs8::{EncodePrivateKey, LineEnding};

/// Files, readable by us alone.
const KEY_FILE: &str = "client-key.pem";
const CERTIFICATE_FILE: &str = "client-certificate.pem";
/// What hosts expect.
const KEY_BITS: usize = 2048;
const YEARS: i32 = 20;
const NAME: &str = "NVIDIA GameStream Client";

/// Why there is no identity.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files cannot be read or written.
    #[error("{}: {source}", path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// What is in them cannot be used.
    #[error("{}: {source}; hosts must be paired again if it is removed", path.display())]
    Invalid {
        /// Path of the file.
        path: PathBuf,
        /// What is wrong with its content.
        source: InvalidIdentity,
    },
    /// It could not be made.
    #[error("making a key and a certificate: {0}")]
    Make(String),
}

/// The identity, and the texts that it was made from, for the streamer.
#[derive(Debug)]
pub struct Known {
    /// For requests of our own.
    pub identity: Identity,
    /// The private key, as PEM.
    pub key: SecretKey,
}

/// A text that is not shown.
pub struct SecretKey(pub String);

impl std::fmt::Debug for SecretKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("SecretKey(…)")
    }
}

/// Reads the identity in `dir`, or makes it. Blocks, the first time for some seconds.
///
/// # Errors
/// [`Error`].
pub fn load_or_make(dir: &Path) -> Result<Known, Error> {
    let key_path = dir.join(KEY_FILE);
    let certificate_path = dir.join(CERTIFICATE_FILE);
    let key = match std::fs::read_to_string(&key_path) {
        Ok(key) => key,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let key = make_key()?;
            write(&key_path, &key)?;
            key
        }
        Err(source) => return Err(Error::File { path: key_path, source }),
    };
    let certificate = match std::fs::read_to_string(&certificate_path) {
        Ok(certificate) => certificate,
        Err(source) if source.kind() == io::ErrorKind::NotFound => {
            let certificate = make_certificate(&key)?;
            write(&certificate_path, &certificate)?;
            certificate
        }
        Err(source) => return Err(Error::File { path: certificate_path, source }),
    };
    let identity =
        Identity::from_pem(&certificate, &key).map_err(|source| Error::Invalid { path: key_path, source })?;
    Ok(Known { identity, key: SecretKey(key) })
}

fn write(path: &Path, text: &str) -> Result<(), Error> {
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    let written = written.and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()));
    written.map_err(|source| Error::File { path: path.to_owned(), source })
}

fn make_key() -> Result<String, Error> {
    let failed = |error: &dyn std::fmt::Display| Error::Make(error.to_string());
    let key = rsa::PrivateKey::new(&mut getrandom::SysRng, KEY_BITS).map_err(|e| failed(&e))?;
    Ok(key.to_pkcs8_pem(LineEnding::LF).map_err(|e| failed(&e))?.to_string())
}

#[expect(clippy::disallowed_methods, reason = "a certificate is made once, for years")]
fn make_certificate(key: &str) -> Result<String, Error> {
    let failed = |error: rcgen::Error| Error::Make(error.to_string());
    let key = KeyPair::from_pkcs8_pem_and_sign_algo(key, &rcgen::PKCS_RSA_SHA256).map_err(failed)?;
    let mut params = CertificateParams::default();
    params.distinguished_name = rcgen::DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, NAME);
    params.serial_number = Some(SerialNumber::from(0));
    let year = chrono::Utc::now().year();
    // Clocks of hosts may be wrong by a little.
    params.not_before = date_time_ymd(year - 1, 1, 1);
    params.not_after = date_time_ymd(year + YEARS, 1, 1);
    Ok(params.self_signed(&key).map_err(failed)?.pem())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn it_is_made_once_and_readable_by_us_alone() {
        let dir = tempfile::tempdir().unwrap();
        let made = load_or_make(dir.path()).unwrap();
        let again = load_or_make(dir.path()).unwrap();
        assert_eq!(made.identity.certificate_pem(), again.identity.certificate_pem());
        assert_eq!(made.key.0, again.key.0);
        for file in [KEY_FILE, CERTIFICATE_FILE] {
            let mode = std::fs::metadata(dir.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
        std::fs::write(dir.path().join(CERTIFICATE_FILE), "nonsense").unwrap();
        assert!(matches!(load_or_make(dir.path()), Err(Error::Invalid { .. })));
    }
}
