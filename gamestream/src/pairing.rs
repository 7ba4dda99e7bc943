//! Pairing: host and client prove to each other that they know the same PIN, and learn each other's certificate.
//!
//! ```text
//! getservercert ─(PIN typed on the host)─▶ challenge ─▶ challenge response ─▶ secret ─▶ pairchallenge over TLS
//!    plaincert                              its hash       its secret, signed     paired    paired
//! ```

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256};

use crate::crypto::Blocks;
use crate::identity::{self, Identity, InvalidCertificate};
use crate::reply;

/// Longest reply in hexadecimal digits: certificates have 2 to 4 KiB.
const MAX_HEX: usize = 32 * 1024;

/// Bytes of a signature by RSA with 2048 bits.
const SIGNATURE_LEN: usize = 256;

/// Random data, fresh for every attempt.
#[derive(Clone)]
pub struct Random {
    /// Goes into the key with the PIN.
    pub salt: [u8; 16],
    /// The challenge that the host has to encrypt.
    pub challenge: [u8; 16],
    /// The secret that we sign.
    pub secret: [u8; 16],
}

/// Why pairing has failed. It can be begun again.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host refuses, or its reply cannot be read.
    #[error(transparent)]
    Reply(#[from] reply::Error),
    /// The host refuses.
    #[error("the host refuses to pair")]
    Refused,
    /// It sends no certificate because it is pairing with another client.
    #[error("the host is pairing with somebody else; try again in a minute")]
    Busy,
    /// The PIN on the host was another one.
    #[error("the PIN typed on the host was not this one")]
    WrongPin,
    /// Somebody is intercepting the connection to the host.
    #[error("the host does not have the key of its certificate: somebody may be listening")]
    Forged,
    /// The certificate cannot be used.
    #[error(transparent)]
    Certificate(#[from] InvalidCertificate),
}

/// The next step.
#[derive(Debug)]
pub enum Step {
    /// Request `/pair` over plain HTTP with these parameters. The first reply comes when somebody has typed the PIN.
    Ask(String),
    /// Ask `/pair` over TLS, with this certificate as the only one that is accepted.
    AskOverTls(String, CertificateDer<'static>),
    /// Paired with the host of this certificate.
    Paired(CertificateDer<'static>),
}

/// One attempt. [`Pairing::start`] begins it; then every reply is passed to it.
pub struct Pairing<'a> {
    identity: &'a Identity,
    random: Random,
    cipher: Blocks,
    stage: Stage,
    /// Whether the host has replied to the first request, and so waits for the others.
    begun: bool,
}

enum Stage {
    Certificate,
    Challenge { host: CertificateDer<'static> },
    Secret { host: CertificateDer<'static>, hash: [u8; 32] },
    Accepted { host: CertificateDer<'static> },
    OverTls { host: CertificateDer<'static> },
    Over,
}

impl<'a> Pairing<'a> {
    /// An attempt with this PIN, and its first step.
    pub fn start(identity: &'a Identity, pin: &str, random: Random) -> (Self, Step) {
        let salt = hex::encode(random.salt);
        let certificate = hex::encode(identity.certificate_pem());
        let query = format!("phrase=getservercert&salt={salt}&clientcert={certificate}");
        let cipher = Blocks::new(&key(&random.salt, pin));
        (Self { identity, random, cipher, stage: Stage::Certificate, begun: false }, ask(&query))
    }

    /// Takes the reply to the last step.
    ///
    /// # Errors
    /// [`Error`]; the attempt is over.
    pub fn answer(&mut self, reply: &str) -> Result<Step, Error> {
        if reply::element(reply, "paired")? != "1" {
            return Err(Error::Refused);
        }
        self.begun = true;
        match std::mem::replace(&mut self.stage, Stage::Over) {
            Stage::Certificate => self.certificate(reply),
            Stage::Challenge { host } => self.challenge(reply, host),
            Stage::Secret { host, hash } => self.secret(reply, host, &hash),
            Stage::Accepted { host } => {
                self.stage = Stage::OverTls { host: host.clone() };
                Ok(Step::AskOverTls(parameters("phrase=pairchallenge"), host))
            }
            Stage::OverTls { host } => Ok(Step::Paired(host)),
            Stage::Over => Err(Error::Refused),
        }
    }

    /// The request of `/pair` when the attempt is aborted, if the host has begun it: a secret that cannot be right. A
    /// host keeps an attempt open until it has one, and Sunshine 2025 loses its reply to the next attempt meanwhile.
    pub fn farewell(&self) -> Option<String> {
        let mut wrong = self.random.secret.map(|byte| !byte).to_vec();
        wrong.extend([0; SIGNATURE_LEN]);
        self.begun.then(|| parameters(&format!("clientpairingsecret={}", hex::encode(wrong))))
    }

    fn certificate(&mut self, reply: &str) -> Result<Step, Error> {
        let pem = bytes(reply, "plaincert").ok().filter(|pem| !pem.is_empty()).ok_or(Error::Busy)?;
        let host = identity::certificate(&pem)?;
        let mut challenge = self.random.challenge;
        self.cipher.encrypt(&mut challenge);
        self.stage = Stage::Challenge { host };
        Ok(ask(&format!("clientchallenge={}", hex::encode(challenge))))
    }

    fn challenge(&mut self, reply: &str, host: CertificateDer<'static>) -> Result<Step, Error> {
        let mut response = bytes(reply, "challengeresponse")?;
        self.cipher.decrypt(&mut response);
        let (Some(hash), Some(challenge)) = (response.first_chunk::<32>(), response.get(32..48)) else {
            return Err(reply::Error::Malformed("challengeresponse is too short".into()).into());
        };
        let mut answer = digest(&[challenge, self.identity.signature(), &self.random.secret]);
        self.cipher.encrypt(&mut answer);
        self.stage = Stage::Secret { host, hash: *hash };
        Ok(ask(&format!("serverchallengeresp={}", hex::encode(answer))))
    }

    fn secret(&mut self, reply: &str, host: CertificateDer<'static>, hash: &[u8; 32]) -> Result<Step, Error> {
        let pairing_secret = bytes(reply, "pairingsecret")?;
        let Some((secret, signature)) = pairing_secret.split_at_checked(16) else {
            return Err(reply::Error::Malformed("pairingsecret is too short".into()).into());
        };
        if !identity::has_signed(&host, secret, signature)? {
            return Err(Error::Forged);
        }
        if digest(&[&self.random.challenge, &identity::signature(&host)?, secret]) != *hash {
            return Err(Error::WrongPin);
        }
        let mut ours = self.random.secret.to_vec();
        ours.extend(self.identity.sign(&self.random.secret));
        self.stage = Stage::Accepted { host };
        Ok(ask(&format!("clientpairingsecret={}", hex::encode(ours))))
    }
}

fn parameters(phase: &str) -> String {
    format!("devicename=roth&updateState=1&{phase}")
}

fn ask(phase: &str) -> Step {
    Step::Ask(parameters(phase))
}

fn key(salt: &[u8; 16], pin: &str) -> [u8; 16] {
    let hash = digest(&[salt, pin.as_bytes()]);
    let mut key = [0; 16];
    key.copy_from_slice(&hash[..16]);
    key
}

fn digest(parts: &[&[u8]]) -> [u8; 32] {
    let mut hash = Sha256::new();
    for part in parts {
        hash.update(part);
    }
    hash.finalize().into()
}

fn bytes(reply: &str, name: &str) -> Result<Vec<u8>, reply::Error> {
    let text = reply::element(reply, name)?;
    let malformed = || reply::Error::Malformed(format!("{name} is not hexadecimal"));
    if text.len() > MAX_HEX {
        return Err(malformed());
    }
    hex::decode(text).map_err(|_| malformed())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::KEY;

    #[test]
    fn keys_and_hashes_are_those_of_the_protocol() {
        let key = key(&KEY, "1234");
        assert_eq!(hex::encode(key), "bad0b4f7cae08eb7c1b5acc763a8ed25");
        let mut block: [u8; 16] = std::array::from_fn(|i| 0x10 + i as u8);
        let challenge = block;
        Blocks::new(&key).encrypt(&mut block);
        assert_eq!(hex::encode(block), "5febcdc985b2baddd65925da162380eb");
        Blocks::new(&key).decrypt(&mut block);
        assert_eq!(block, challenge);
        let hash = digest(&[&challenge, &[0xaa; 256], &[0x33; 16]]);
        assert_eq!(hex::encode(hash), "0dee1f4a6ed5b3f357937118d231a159ec72b5be3b8e0cf664a53fb5bafb7106");
        let mut hash = digest(&[&[0x55; 16], &[0xbb; 256], &[0x44; 16]]);
        assert_eq!(hex::encode(hash), "a60af381ad89179d3f743ccfa9247e050a68111ca5986323f080b5ced77dbc49");
        Blocks::new(&key).encrypt(&mut hash);
        assert_eq!(hex::encode(hash), "28dab17526c53377c82bb6af2b0f5d092acc9078d7019e334d2a66bec91fa79c");
    }
}
