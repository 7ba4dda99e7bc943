//! The session's cipher: AES-128 with one key for everything, in the modes that the parts of the protocol use.
//!
//! Every launch and resume has a fresh key, as the counters that the nonces are made of begin at 0 each time.

use std::fmt;

use aes::Aes128;
use aes::cipher::{
    BlockDecrypt, BlockDecryptMut, BlockEncrypt, KeyInit, KeyIvInit, generic_array::GenericArray,
};
use aes_gcm::aead::AeadInPlace;
use aes_gcm::aead::consts::{U12, U16};
use aes_gcm::{AesGcm, Tag};
use cbc::cipher::block_padding::Pkcs7;

/// Length of a GCM tag.
pub const TAG: usize = 16;

/// The data was sealed with another key, or modified.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot be decrypted by the session's key")]
pub struct Forged;

/// Key of a session (`rikey`) and the seed of its audio's initialisation vectors (`rikeyid`).
#[derive(Clone)]
pub struct Session {
    key: [u8; 16],
    key_id: i32,
    gcm: AesGcm<Aes128, U12>,
    /// With a nonce of 16 bytes, as in the first kind of control encryption.
    wide: AesGcm<Aes128, U16>,
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Session(…)")
    }
}

impl Session {
    /// A session of this key. `random` is to be fresh.
    pub fn new(key: [u8; 16], key_id: i32) -> Self {
        let gcm = AesGcm::new(GenericArray::from_slice(&key));
        let wide = AesGcm::new(GenericArray::from_slice(&key));
        Self { key, key_id, gcm, wide }
    }

    /// The key, as `/launch` takes it.
    pub fn key_hex(&self) -> String {
        hex::encode(self.key)
    }

    /// The seed, as `/launch` takes it.
    pub fn key_id(&self) -> i32 {
        self.key_id
    }

    /// Encrypts in place.
    pub fn seal(&self, nonce: &[u8; 12], data: &mut [u8]) -> [u8; TAG] {
        let tag = self.gcm.encrypt_in_place_detached(nonce.into(), &[], data);
        tag.expect("far less than the 64 GiB that one nonce is good for").into()
    }

    /// Decrypts in place.
    ///
    /// # Errors
    /// [`Forged`]; `data` means nothing then.
    pub fn open(&self, nonce: &[u8; 12], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), Forged> {
        self.gcm.decrypt_in_place_detached(nonce.into(), &[], data, Tag::from_slice(tag)).map_err(|_| Forged)
    }

    /// As [`Session::seal`], with the longer nonce.
    pub fn seal_wide(&self, nonce: &[u8; 16], data: &mut [u8]) -> [u8; TAG] {
        let tag = self.wide.encrypt_in_place_detached(nonce.into(), &[], data);
        tag.expect("far less than the 64 GiB that one nonce is good for").into()
    }

    /// As [`Session::open`], with the longer nonce.
    ///
    /// # Errors
    /// [`Forged`].
    pub fn open_wide(&self, nonce: &[u8; 16], data: &mut [u8], tag: &[u8; TAG]) -> Result<(), Forged> {
        self.wide.decrypt_in_place_detached(nonce.into(), &[], data, Tag::from_slice(tag)).map_err(|_| Forged)
    }

    /// Decrypts the audio packet of this sequence number in place; how long it is.
    ///
    /// # Errors
    /// [`Forged`] when its length or padding is wrong. (CBC does not tell more.)
    pub fn open_audio(&self, sequence: u16, data: &mut [u8]) -> Result<usize, Forged> {
        let mut iv = [0; 16];
        let seed = (self.key_id as u32).wrapping_add(u32::from(sequence));
        iv[..4].copy_from_slice(&seed.to_be_bytes());
        let cipher = cbc::Decryptor::<Aes128>::new(&self.key.into(), &iv.into());
        Ok(cipher.decrypt_padded_mut::<Pkcs7>(data).map_err(|_| Forged)?.len())
    }
}

/// AES-128 block by block, as pairing uses it.
pub(crate) struct Blocks(Aes128);

impl Blocks {
    pub(crate) fn new(key: &[u8; 16]) -> Self {
        Self(Aes128::new(key.into()))
    }

    /// Whole blocks only; remaining bytes stay as they are.
    pub(crate) fn encrypt(&self, data: &mut [u8]) {
        for block in data.chunks_exact_mut(16) {
            self.0.encrypt_block(GenericArray::from_mut_slice(block));
        }
    }

    /// Whole blocks only; remaining bytes stay as they are.
    pub(crate) fn decrypt(&self, data: &mut [u8]) {
        for block in data.chunks_exact_mut(16) {
            self.0.decrypt_block(GenericArray::from_mut_slice(block));
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) const KEY: [u8; 16] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    #[test]
    fn audio_is_decrypted_by_its_sequence_number() {
        let session = Session::new(KEY, -123_456_789);
        for (sequence, sealed) in
            [(0, "9ee1b814efc5896ce643788044a2b3a2"), (65530, "2a30883dbe878eee1442e2302093c7bb")]
        {
            let mut data = hex::decode(sealed).unwrap();
            let len = session.open_audio(sequence, &mut data).unwrap();
            assert_eq!(hex::encode(&data[..len]), "fc00000000112233");
        }
        assert_eq!(session.open_audio(0, &mut [0; 17]), Err(Forged), "no whole blocks");
        assert_eq!(session.open_audio(0, &mut []), Err(Forged));
    }

    #[test]
    fn what_was_changed_is_refused_and_debugging_shows_no_key() {
        let session = Session::new(KEY, 1);
        let mut data = *b"hello";
        let tag = session.seal(&[7; 12], &mut data);
        data[0] ^= 1;
        assert_eq!(session.open(&[7; 12], &mut data, &tag), Err(Forged));
        assert_eq!(format!("{session:?}"), "Session(…)");
    }
}
