//! Our identity for hosts, and theirs for us: RSA keys, and pinned certificates.

use std::fmt;
use std::sync::Arc;

use ring::rand::SystemRandom;
use ring::signature::{RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RsaKeyPair, UnparsedPublicKey};
use rustls::client::Resumption;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::{CertificateError, ClientConfig, DigitallySignedStruct, SignatureScheme};
use x509_parser::prelude::{FromDer, X509Certificate};

/// Why an identity cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum InvalidIdentity {
    /// The certificate cannot be read.
    #[error("no X.509 certificate in PEM: {0}")]
    Certificate(String),
    /// The key cannot be read.
    #[error("no RSA key of at least 2048 bits in PKCS#8 and PEM: {0}")]
    Key(String),
    /// They cannot be used for TLS.
    #[error("key and certificate cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}

/// Our certificate and its key. Hosts know us by it, so it is made once.
pub struct Identity {
    certificate_pem: String,
    certificate: CertificateDer<'static>,
    signature: Vec<u8>,
    key: PrivatePkcs8KeyDer<'static>,
    signer: RsaKeyPair,
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Identity(…)")
    }
}

impl Identity {
    /// From PEM texts.
    ///
    /// # Errors
    /// [`InvalidIdentity`].
    pub fn from_pem(certificate: &str, key: &str) -> Result<Self, InvalidIdentity> {
        let invalid = |error: &dyn fmt::Display| InvalidIdentity::Certificate(error.to_string());
        let der = CertificateDer::from_pem_slice(certificate.as_bytes()).map_err(|e| invalid(&e))?;
        let signature = signature(&der).map_err(|e| invalid(&e))?;
        let no_key = |error: &dyn fmt::Display| InvalidIdentity::Key(error.to_string());
        let key = PrivatePkcs8KeyDer::from_pem_slice(key.as_bytes()).map_err(|e| no_key(&e))?;
        let signer = RsaKeyPair::from_pkcs8(key.secret_pkcs8_der()).map_err(|e| no_key(&e))?;
        Ok(Self { certificate_pem: certificate.to_owned(), certificate: der, signature, key, signer })
    }

    /// The text that hosts are given.
    pub fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Bytes of our certificate's own signature.
    pub(crate) fn signature(&self) -> &[u8] {
        &self.signature
    }

    /// Signs (PKCS #1 v1.5 with SHA-256).
    pub(crate) fn sign(&self, message: &[u8]) -> Vec<u8> {
        let mut signature = vec![0; self.signer.public().modulus_len()];
        let signed = self.signer.sign(&RSA_PKCS1_SHA256, &SystemRandom::new(), message, &mut signature);
        signed.expect("the signature has the length of the modulus");
        signature
    }

    /// TLS to the host with this certificate, and to no other. Every connection does a full handshake: hosts ask
    /// for certificates without having set a session-id context, and OpenSSL ends what is resumed there with the
    /// alert `internal_error`.
    ///
    /// # Errors
    /// [`InvalidIdentity::Tls`].
    pub fn tls(&self, pinned: CertificateDer<'static>) -> Result<Arc<ClientConfig>, InvalidIdentity> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let verifier = Arc::new(Pinned { certificate: pinned, provider: Arc::clone(&provider) });
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_client_auth_cert(vec![self.certificate.clone()], self.key.clone_key().into())?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// Why a host's certificate cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the host's certificate cannot be read: {0}")]
pub struct InvalidCertificate(pub String);

/// A certificate from its PEM text.
///
/// # Errors
/// [`InvalidCertificate`].
pub fn certificate(pem: &[u8]) -> Result<CertificateDer<'static>, InvalidCertificate> {
    let der = CertificateDer::from_pem_slice(pem).map_err(|error| InvalidCertificate(error.to_string()))?;
    signature(&der)?;
    Ok(der)
}

/// Bytes of a certificate's signature.
pub(crate) fn signature(der: &[u8]) -> Result<Vec<u8>, InvalidCertificate> {
    Ok(parse(der)?.signature_value.data.to_vec())
}

/// Whether the key of this certificate has signed that.
pub(crate) fn has_signed(der: &[u8], message: &[u8], signature: &[u8]) -> Result<bool, InvalidCertificate> {
    let certificate = parse(der)?;
    let key = &certificate.public_key().subject_public_key.data;
    let key = UnparsedPublicKey::new(&RSA_PKCS1_2048_8192_SHA256, key);
    Ok(key.verify(message, signature).is_ok())
}

fn parse(der: &[u8]) -> Result<X509Certificate<'_>, InvalidCertificate> {
    X509Certificate::from_der(der)
        .map(|(_, certificate)| certificate)
        .map_err(|error| InvalidCertificate(error.to_string()))
}

/// Accepts one certificate. That the host has its key is verified as usual.
#[derive(Debug)]
struct Pinned {
    certificate: CertificateDer<'static>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if *end_entity == self.certificate {
            return Ok(ServerCertVerified::assertion());
        }
        Err(CertificateError::ApplicationVerificationFailure.into())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn what_is_no_certificate_or_no_key_is_refused() {
        let error = Identity::from_pem("", "").unwrap_err().to_string();
        assert!(error.contains("certificate"), "{error}");
        let pem = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        assert!(certificate(pem.as_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = certificate(&bytes);
            let _ = signature(&bytes);
            let _ = has_signed(&bytes, b"", b"");
        }
    }
}
