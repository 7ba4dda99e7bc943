//! What is derived from the cluster key, and the encryption of records. Pure but for the nonce.
//!
//! Whoever can read or write the buckets without the key learns and changes nothing: a record is encrypted with the name of its key
//! as associated data, so that it cannot be put in the place of another either.

use std::fmt;

use hmac::{Hmac, Mac};
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use sha2::Sha256;

/// First byte of a sealed record: how it is sealed.
const SEAL: u8 = 1;
/// Longest sealed record, bytes; below what a NATS server takes by default (1 MiB).
pub const MAX_SEALED: usize = 768 * 1024;

/// Why a record cannot be opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unopened {
    /// It is empty, too long or sealed in a way that is not known.
    #[error("it is not a sealed record")]
    Shape,
    /// It was sealed with another key, or has been changed.
    #[error("it was not sealed with this cluster's key (cluster.key)")]
    Key,
}

/// It cannot be sealed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Unsealed {
    /// It is too long.
    #[error("the record has {0} bytes; at most {max} are possible", max = MAX_SEALED)]
    TooLong(usize),
    /// The system has no randomness.
    #[error("the system gives no random bytes")]
    NoRandomness,
}

/// The keys of a cluster.
pub struct Keys {
    records: LessSafeKey,
    /// For requests between nodes.
    pub requests: [u8; 32],
    /// For tokens.
    pub tokens: [u8; 32],
}

impl Keys {
    /// Derives the keys from the configured one.
    pub fn derive(secret: &str) -> Self {
        let derive = |purpose: &str| -> [u8; 32] {
            let mut mac =
                Hmac::<Sha256>::new_from_slice(secret.as_bytes()).expect("HMAC takes keys of any length");
            mac.update(b"oriel cluster 1 ");
            mac.update(purpose.as_bytes());
            mac.finalize().into_bytes().into()
        };
        let records = UnboundKey::new(&AES_256_GCM, &derive("records")).expect("a key of 32 bytes");
        let records = LessSafeKey::new(records);
        Self { records, requests: derive("requests"), tokens: derive("tokens") }
    }

    /// Encrypts a record that is stored as `name`.
    ///
    /// # Errors
    /// See [`Unsealed`].
    pub fn seal(&self, name: &str, record: &[u8]) -> Result<Vec<u8>, Unsealed> {
        let mut nonce = [0; NONCE_LEN];
        getrandom::fill(&mut nonce).map_err(|_| Unsealed::NoRandomness)?;
        let len = 1 + NONCE_LEN + record.len() + AES_256_GCM.tag_len();
        if len > MAX_SEALED {
            return Err(Unsealed::TooLong(len));
        }
        let mut sealed = Vec::with_capacity(len);
        sealed.push(SEAL);
        sealed.extend_from_slice(&nonce);
        let mut text = record.to_vec();
        let nonce = Nonce::assume_unique_for_key(nonce);
        let sealing = self.records.seal_in_place_append_tag(nonce, Aad::from(name.as_bytes()), &mut text);
        sealing.expect("a record is far shorter than AES-GCM's bound");
        sealed.extend_from_slice(&text);
        Ok(sealed)
    }

    /// Decrypts what is stored as `name`.
    ///
    /// # Errors
    /// See [`Unopened`].
    pub fn open(&self, name: &str, sealed: &[u8]) -> Result<Vec<u8>, Unopened> {
        let (&seal, rest) = sealed.split_first().ok_or(Unopened::Shape)?;
        let (nonce, text) = rest.split_first_chunk::<NONCE_LEN>().ok_or(Unopened::Shape)?;
        if seal != SEAL || sealed.len() > MAX_SEALED {
            return Err(Unopened::Shape);
        }
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let mut text = text.to_vec();
        let opened = self.records.open_in_place(nonce, Aad::from(name.as_bytes()), &mut text);
        let len = opened.map_err(|_| Unopened::Key)?.len();
        text.truncate(len);
        Ok(text)
    }
}

impl fmt::Debug for Keys {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Keys(***)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_is_opened_by_its_own_key_under_its_own_name_alone() {
        let keys = Keys::derive("a key of the cluster, long enough");
        let sealed = keys.seal("a", b"{}").unwrap();
        assert_eq!(keys.open("a", &sealed).as_deref(), Ok(&b"{}"[..]));
        assert_eq!(keys.open("b", &sealed), Err(Unopened::Key));
        assert_eq!(Keys::derive("another key of another cluster!!").open("a", &sealed), Err(Unopened::Key));
        for n in 0..sealed.len() {
            let mut touched = sealed.clone();
            touched[n] ^= 1;
            assert!(keys.open("a", &touched).is_err(), "at {n}");
        }
        for malformed in [&[][..], &[SEAL], &[SEAL; 1 + NONCE_LEN], b"{}"] {
            assert!(keys.open("a", malformed).is_err());
        }
        assert!(matches!(keys.seal("a", &vec![0; MAX_SEALED]), Err(Unsealed::TooLong(_))));
        assert!(keys.requests != keys.tokens && !format!("{keys:?}").contains('['));
    }
}
