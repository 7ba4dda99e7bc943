//! The ciphers of the protocol, each as it is used on the wire.

use aes::Aes128;
use aes::cipher::block_padding::Pkcs7;
use aes::cipher::generic_array::GenericArray;
use aes::cipher::{BlockDecrypt as _, BlockEncrypt as _, BlockEncryptMut as _, KeyInit as _, KeyIvInit as _};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInPlace as _;
use aes_gcm::aead::consts::{U12, U16};

/// Length of a key, a block and an authentication tag.
pub const BLOCK: usize = 16;
/// An AES-128 key.
pub type Key = [u8; BLOCK];
/// An authentication tag.
pub type Tag = [u8; BLOCK];

/// AES-128-GCM with the IV that the place it is used at takes.
pub enum Gcm {
    /// 12 bytes: RTSP, control v2, video.
    Short(Box<AesGcm<Aes128, U12>>),
    /// 16 bytes: control v1.
    Long(Box<AesGcm<Aes128, U16>>),
}

impl Gcm {
    /// With IVs of 12 bytes.
    pub fn short(key: &Key) -> Self {
        Self::Short(Box::new(AesGcm::new(key.into())))
    }

    /// With IVs of 16 bytes.
    pub fn long(key: &Key) -> Self {
        Self::Long(Box::new(AesGcm::new(key.into())))
    }

    /// Encrypts in place. `iv` has at least as many bytes as this kind takes; further ones are not used.
    pub fn seal(&self, iv: &[u8; 16], data: &mut [u8]) -> Tag {
        let tag = match self {
            Self::Short(gcm) => gcm.encrypt_in_place_detached(GenericArray::from_slice(&iv[..12]), b"", data),
            Self::Long(gcm) => gcm.encrypt_in_place_detached(GenericArray::from_slice(iv), b"", data),
        };
        tag.expect("a message is shorter than the 64 GiB that GCM takes").into()
    }

    /// Decrypts in place; false when the tag says that it is not what was encrypted.
    pub fn open(&self, iv: &[u8; 16], tag: &Tag, data: &mut [u8]) -> bool {
        let tag = GenericArray::from_slice(tag);
        match self {
            Self::Short(gcm) => {
                gcm.decrypt_in_place_detached(GenericArray::from_slice(&iv[..12]), b"", data, tag)
            }
            Self::Long(gcm) => gcm.decrypt_in_place_detached(GenericArray::from_slice(iv), b"", data, tag),
        }
        .is_ok()
    }
}

/// AES-128-CBC with PKCS#7: audio.
pub fn cbc_encrypt(key: &Key, iv: &[u8; BLOCK], plain: &[u8]) -> Vec<u8> {
    cbc::Encryptor::<Aes128>::new(key.into(), iv.into()).encrypt_padded_vec_mut::<Pkcs7>(plain)
}

/// AES-128-ECB without padding: pairing. Bytes behind the last whole block stay as they are.
pub fn ecb_encrypt(key: &Key, data: &mut [u8]) {
    let aes = Aes128::new(key.into());
    for block in data.chunks_exact_mut(BLOCK) {
        aes.encrypt_block(GenericArray::from_mut_slice(block));
    }
}

/// The reverse of [`ecb_encrypt`].
pub fn ecb_decrypt(key: &Key, data: &mut [u8]) {
    let aes = Aes128::new(key.into());
    for block in data.chunks_exact_mut(BLOCK) {
        aes.decrypt_block(GenericArray::from_mut_slice(block));
    }
}

/// SHA-256 over parts, as if they were one.
pub fn sha256(parts: &[&[u8]]) -> [u8; 32] {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    for part in parts {
        context.update(part);
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}

/// Upper case, as Sunshine writes it.
pub fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02X}")).collect()
}

/// Of either case; `None` when it is none.
pub fn from_hex(text: &str) -> Option<Vec<u8>> {
    let digits: Option<Vec<u8>> = text.chars().map(|c| c.to_digit(16).map(|digit| digit as u8)).collect();
    let digits = digits.filter(|digits| digits.len() % 2 == 0)?;
    Some(digits.chunks_exact(2).map(|pair| pair[0] << 4 | pair[1]).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15];

    fn hex(text: &str) -> Vec<u8> {
        from_hex(text).unwrap()
    }

    #[test]
    fn the_pairing_key_is_as_published() {
        let hash = sha256(&[&KEY, b"1234"]);
        assert_eq!(hash[..16], hex("bad0b4f7cae08eb7c1b5acc763a8ed25"));
    }

    #[test]
    fn ecb_is_as_published_and_reversible() {
        let key: Key = hex("bad0b4f7cae08eb7c1b5acc763a8ed25").try_into().unwrap();
        let mut block = hex("101112131415161718191a1b1c1d1e1f");
        ecb_encrypt(&key, &mut block);
        assert_eq!(block, hex("5febcdc985b2baddd65925da162380eb"));
        ecb_decrypt(&key, &mut block);
        assert_eq!(block, hex("101112131415161718191a1b1c1d1e1f"));

        let client_hash = sha256(&[&[0x55; 16], &[0xbb; 256], &[0x44; 16]]);
        let published = hex("a60af381ad89179d3f743ccfa9247e050a68111ca5986323f080b5ced77dbc49");
        assert_eq!(client_hash[..], published);
        let mut sent = client_hash;
        ecb_encrypt(&key, &mut sent);
        assert_eq!(sent[..], hex("28dab17526c53377c82bb6af2b0f5d092acc9078d7019e334d2a66bec91fa79c"));
    }

    #[test]
    fn the_server_hash_is_as_published() {
        let challenge: Vec<u8> = (0x10..0x20).collect();
        let hash = sha256(&[&challenge, &[0xaa; 256], &[0x33; 16]]);
        assert_eq!(hash[..], hex("0dee1f4a6ed5b3f357937118d231a159ec72b5be3b8e0cf664a53fb5bafb7106"));
    }

    #[test]
    fn what_is_no_hex_is_none() {
        assert_eq!(from_hex("0"), None);
        assert_eq!(from_hex("0g"), None);
        assert_eq!(from_hex("é0"), None);
        assert_eq!(from_hex("aBFf"), Some(vec![0xab, 0xff]));
        assert_eq!(to_hex(&[0xab, 1]), "AB01");
    }

    #[test]
    fn a_forged_tag_is_noticed() {
        for gcm in [Gcm::short(&KEY), Gcm::long(&KEY)] {
            let mut data = *b"something";
            let mut tag = gcm.seal(&[7; 16], &mut data);
            tag[0] ^= 1;
            assert!(!gcm.open(&[7; 16], &tag, &mut data.clone()));
            tag[0] ^= 1;
            assert!(gcm.open(&[7; 16], &tag, &mut data));
            assert_eq!(data, *b"something");
        }
    }
}
