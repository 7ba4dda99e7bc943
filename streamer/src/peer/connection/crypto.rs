//! The cryptography of one connection: that of `rtc`, except that the cipher of our RTP is shared with [`Egress`](super::egress::Egress),
//! which encrypts most packets without `rtc`.
//!
//! Which of the ciphers that `rtc` makes is that one, and its salt, show when it is first used: `rtc` says nothing of either, and a
//! packet's header and nonce name them (RFC 7714 §8.1).

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rtc::crypto::{
    ActiveKeyExchange, AeadAlgorithm, AeadCipher, BlockCipherAlgorithm, CbcAlgorithm, CbcCipher,
    CryptoAlgorithm, CryptoError, HashAlgorithm, HmacAlgorithm, KeyExchangeAlgorithm, Mac, PublicKey,
    RTCCrypto, RTCCryptoProvider, RTCRandom, SignatureScheme, SigningKey, StreamCipher,
    StreamCipherAlgorithm,
};

use crate::peer::intake::is_rtp;

/// Bytes of the salt, and of a nonce (RFC 7714 §8.1).
const SALT: usize = 12;
/// Bytes that authenticate a packet.
pub const TAG: usize = 16;

/// A cipher that this thread and `rtc`, on the same one, take turns with: the lock is never contended.
type Cipher = Arc<Mutex<Box<dyn AeadCipher>>>;

/// What encrypts our RTP, once that is known.
#[derive(Clone, Default)]
pub struct Keys(Arc<Mutex<Option<Sealer>>>);

/// Encrypts RTP packets by AES-GCM (RFC 7714).
struct Sealer {
    cipher: Cipher,
    salt: [u8; SALT],
}

impl Keys {
    /// Encrypts the packet in `packet`, whose header is `header` bytes long, in place, and appends the tag. False when the keys are not
    /// known, and nothing has changed.
    pub fn seal(&self, packet: &mut Vec<u8>, start: usize, header: usize, index: PacketIndex) -> bool {
        let known = lock(&self.0);
        let Some(Sealer { cipher, salt }) = &*known else { return false };
        let nonce = index.nonce(salt);
        let mut tag = [0; TAG];
        let (header, payload) = packet[start..].split_at_mut(header);
        if lock(cipher).seal_in_place(&nonce, header, payload, &mut tag).is_err() {
            return false;
        }
        packet.extend_from_slice(&tag);
        true
    }
}

/// Names a packet among all that are encrypted with one key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PacketIndex {
    /// SSRC.
    pub ssrc: u32,
    /// How often the sequence number has wrapped around.
    pub rollover: u32,
    /// Sequence number.
    pub sequence: u16,
}

impl PacketIndex {
    /// That of the first packet of a stream, by its header.
    fn of_first(header: &[u8]) -> Option<Self> {
        let sequence = header.get(2..4)?.try_into().ok()?;
        let ssrc = header.get(8..12)?.try_into().ok()?;
        Some(Self { ssrc: u32::from_be_bytes(ssrc), rollover: 0, sequence: u16::from_be_bytes(sequence) })
    }

    fn nonce(self, salt: &[u8; SALT]) -> [u8; SALT] {
        let mut nonce = [0; SALT];
        nonce[2..6].copy_from_slice(&self.ssrc.to_be_bytes());
        nonce[6..10].copy_from_slice(&self.rollover.to_be_bytes());
        nonce[10..].copy_from_slice(&self.sequence.to_be_bytes());
        for (byte, salt) in nonce.iter_mut().zip(salt) {
            *byte ^= salt;
        }
        nonce
    }
}

/// A cipher as `rtc` has it.
struct Shared {
    cipher: Cipher,
    keys: Keys,
    /// It has encrypted something, so that what it is for is known.
    used: bool,
}

impl AeadCipher for Shared {
    fn tag_len(&self) -> usize {
        lock(&self.cipher).tag_len()
    }

    fn seal_in_place(
        &mut self,
        nonce: &[u8],
        aad: &[u8],
        plaintext_and_ciphertext: &mut [u8],
        tag_out: &mut [u8],
    ) -> Result<(), CryptoError> {
        if !std::mem::replace(&mut self.used, true)
            && let Some(first) = PacketIndex::of_first(aad).filter(|_| is_rtp(aad))
            && let Ok(nonce) = nonce.try_into()
            && tag_out.len() == TAG
        {
            // Applied twice, it is undone.
            let salt = first.nonce(nonce);
            *lock(&self.keys.0) = Some(Sealer { cipher: self.cipher.clone(), salt });
        }
        lock(&self.cipher).seal_in_place(nonce, aad, plaintext_and_ciphertext, tag_out)
    }

    fn open_in_place(
        &mut self,
        nonce: &[u8],
        aad: &[u8],
        ciphertext_and_plaintext: &mut [u8],
        tag: &[u8],
    ) -> Result<(), CryptoError> {
        lock(&self.cipher).open_in_place(nonce, aad, ciphertext_and_plaintext, tag)
    }
}

/// The provider of one connection.
pub struct Provider {
    inner: Arc<dyn RTCCryptoProvider>,
    keys: Keys,
}

impl Provider {
    /// As `inner`, sharing what encrypts RTP as `keys`.
    pub fn new(inner: Arc<dyn RTCCryptoProvider>, keys: Keys) -> Self {
        Self { inner, keys }
    }
}

impl RTCCryptoProvider for Provider {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn crypto(&self) -> &dyn RTCCrypto {
        self
    }

    fn random(&self) -> &dyn RTCRandom {
        self.inner.random()
    }
}

impl RTCCrypto for Provider {
    fn new_aead(&self, algorithm: AeadAlgorithm, key: &[u8]) -> Result<Box<dyn AeadCipher>, CryptoError> {
        let cipher = self.inner.crypto().new_aead(algorithm, key)?;
        if algorithm != AeadAlgorithm::Aes128Gcm {
            return Ok(cipher);
        }
        let cipher = Arc::new(Mutex::new(cipher));
        Ok(Box::new(Shared { cipher, keys: self.keys.clone(), used: false }))
    }

    fn supports(&self, algorithm: CryptoAlgorithm) -> bool {
        self.inner.crypto().supports(algorithm)
    }

    fn hash(&self, algorithm: HashAlgorithm, data: &[u8]) -> Result<Vec<u8>, CryptoError> {
        self.inner.crypto().hash(algorithm, data)
    }

    fn block_encrypt(
        &self,
        algorithm: BlockCipherAlgorithm,
        key: &[u8],
        block: &mut [u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().block_encrypt(algorithm, key, block)
    }

    fn new_hmac(&self, algorithm: HmacAlgorithm, key: &[u8]) -> Result<Box<dyn Mac>, CryptoError> {
        self.inner.crypto().new_hmac(algorithm, key)
    }

    fn new_stream_cipher(
        &self,
        algorithm: StreamCipherAlgorithm,
        key: &[u8],
    ) -> Result<Box<dyn StreamCipher>, CryptoError> {
        self.inner.crypto().new_stream_cipher(algorithm, key)
    }

    fn new_cbc(&self, algorithm: CbcAlgorithm, key: &[u8]) -> Result<Box<dyn CbcCipher>, CryptoError> {
        self.inner.crypto().new_cbc(algorithm, key)
    }

    fn start_key_exchange(
        &self,
        algorithm: KeyExchangeAlgorithm,
    ) -> Result<Box<dyn ActiveKeyExchange>, CryptoError> {
        self.inner.crypto().start_key_exchange(algorithm)
    }

    fn generate_signing_key(&self, scheme: SignatureScheme) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().generate_signing_key(scheme)
    }

    fn import_signing_key(
        &self,
        scheme: SignatureScheme,
        pkcs8_der: &[u8],
    ) -> Result<Arc<dyn SigningKey>, CryptoError> {
        self.inner.crypto().import_signing_key(scheme, pkcs8_der)
    }

    fn verify_signature(
        &self,
        scheme: SignatureScheme,
        public_key: PublicKey<'_>,
        message: &[u8],
        signature: &[u8],
    ) -> Result<(), CryptoError> {
        self.inner.crypto().verify_signature(scheme, public_key, message, signature)
    }
}

/// What a lock guards is always whole.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
