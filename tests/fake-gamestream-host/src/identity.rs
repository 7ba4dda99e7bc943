//! Certificates: the host's two, and what of a client's pairing looks at.
//!
//! The keys in `data/` are for this program alone: they protect nothing.

use anyhow::{Context as _, anyhow};
use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::scenario::Certificate;

/// A certificate of the host with its key.
pub struct Identity {
    /// The certificate's text, as `plaincert` carries it.
    pub pem: &'static str,
    /// The certificate.
    pub der: Vec<u8>,
    /// Its signature value.
    pub signature: Vec<u8>,
    /// PKCS#8 of the key.
    pub key_der: Vec<u8>,
    key: RsaKeyPair,
}

impl Identity {
    /// One of the two that there are.
    pub fn load(which: Certificate) -> Self {
        let (pem, key) = match which {
            Certificate::First => {
                (include_str!("../data/first.cert.pem"), include_str!("../data/first.key.pem"))
            }
            Certificate::Second => {
                (include_str!("../data/second.cert.pem"), include_str!("../data/second.key.pem"))
            }
        };
        let der = der_of(pem.as_bytes()).expect("the file is a certificate");
        let key_der = der_of(key.as_bytes()).expect("the file is a key");
        let signature = Client::read(der.clone()).expect("the certificate can be read").signature;
        let key = RsaKeyPair::from_pkcs8(&key_der).expect("the key is RSA in PKCS#8");
        Self { pem, der, signature, key_der, key }
    }

    /// RSA PKCS#1 v1.5 with SHA-256.
    pub fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key
            .sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature)
            .expect("a key of 2048 bits can sign");
        signature
    }
}

/// A client, by its certificate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Client {
    /// The certificate.
    pub der: Vec<u8>,
    /// Its signature value.
    pub signature: Vec<u8>,
    public_key: Vec<u8>,
}

impl Client {
    /// From the text that `clientcert` carries.
    ///
    /// # Errors
    /// When it is no certificate.
    pub fn from_pem(pem: &[u8]) -> anyhow::Result<Self> {
        Self::read(der_of(pem).context("clientcert is no PEM")?)
    }

    fn read(der: Vec<u8>) -> anyhow::Result<Self> {
        let (_, certificate) =
            X509Certificate::from_der(&der).map_err(|error| anyhow!("not a certificate: {error}"))?;
        let signature = certificate.signature_value.data.to_vec();
        let public_key = certificate.public_key().subject_public_key.data.to_vec();
        Ok(Self { signature, public_key, der })
    }

    /// It has signed this.
    pub fn has_signed(&self, message: &[u8], signature: &[u8]) -> bool {
        let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, &self.public_key);
        key.verify(message, signature).is_ok()
    }
}

fn der_of(pem: &[u8]) -> Option<Vec<u8>> {
    x509_parser::pem::parse_x509_pem(pem).ok().map(|(_, pem)| pem.contents)
}

/// Random bytes.
pub fn random<const N: usize>() -> [u8; N] {
    std::array::from_fn(|_| fastrand::u8(..))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_host_signs_is_verified_by_its_certificate() {
        for which in [Certificate::First, Certificate::Second] {
            let host = Identity::load(which);
            let reader = Client::from_pem(host.pem.as_bytes()).unwrap();
            assert_eq!((reader.signature.len(), &reader.der), (256, &host.der));
            let signature = host.sign(b"secret");
            assert!(reader.has_signed(b"secret", &signature));
            assert!(!reader.has_signed(b"secrets", &signature));
        }
    }
}
