//! Pairing, the host's side: four calls in order, then one over TLS.
//!
//! ```text
//! getservercert ─▶ (PIN) ─▶ clientchallenge ─▶ serverchallengeresp ─▶ clientpairingsecret ─▶ paired
//! ```

use crate::crypto::{Key, ecb_decrypt, ecb_encrypt, sha256};
use crate::identity::{Client, Identity, random};
use crate::scenario::PairingFault;

/// How far a client has come.
pub struct Pairing {
    key: Key,
    client: Client,
    stage: Stage,
}

enum Stage {
    /// The PIN is known.
    Pinned,
    /// The client's challenge has been answered.
    Challenged { secret: [u8; 16], challenge: [u8; 16] },
    /// The client has committed itself to a secret.
    Committed { challenge: [u8; 16], client_hash: Vec<u8> },
}

/// Why a call was refused. The half-finished pairing ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refused {
    /// Another one was due.
    OutOfOrder,
    /// Too short or too long.
    Malformed,
}

impl Pairing {
    /// After `getservercert`, when the PIN has been typed.
    pub fn new(salt: &[u8; 16], pin: &str, client: Client) -> Self {
        let hash = sha256(&[salt, pin.as_bytes()]);
        let mut key = Key::default();
        key.copy_from_slice(&hash[..16]);
        Self { key, client, stage: Stage::Pinned }
    }

    /// `clientchallenge`: gives `challengeresponse`.
    ///
    /// # Errors
    /// When the call is not due or not of its length.
    pub fn challenge(
        &mut self,
        sent: &[u8],
        host: &Identity,
        fault: PairingFault,
    ) -> Result<Vec<u8>, Refused> {
        let Stage::Pinned = self.stage else { return Err(Refused::OutOfOrder) };
        let mut client: [u8; 16] = sent.try_into().map_err(|_| Refused::Malformed)?;
        ecb_decrypt(&self.key, &mut client);
        let secret = random();
        let challenge = random();
        let mut answer = sha256(&[&client, &host.signature, &secret]).to_vec();
        if fault == PairingFault::WrongHash {
            answer[0] ^= 1;
        }
        answer.extend(challenge);
        ecb_encrypt(&self.key, &mut answer);
        self.stage = Stage::Challenged { secret, challenge };
        Ok(answer)
    }

    /// `serverchallengeresp`: gives `pairingsecret`.
    ///
    /// # Errors
    /// When the call is not due or not of its length.
    pub fn response(
        &mut self,
        sent: &[u8],
        host: &Identity,
        fault: PairingFault,
    ) -> Result<Vec<u8>, Refused> {
        let Stage::Challenged { secret, challenge } = self.stage else { return Err(Refused::OutOfOrder) };
        if sent.len() != 32 {
            return Err(Refused::Malformed);
        }
        let mut client_hash = sent.to_vec();
        ecb_decrypt(&self.key, &mut client_hash);
        self.stage = Stage::Committed { challenge, client_hash };
        let mut answer = secret.to_vec();
        answer.extend(host.sign(&secret));
        if fault == PairingFault::WrongSignature {
            answer[20] ^= 1;
        }
        Ok(answer)
    }

    /// `clientpairingsecret`: gives the client if it knows the PIN and is who its certificate says.
    ///
    /// # Errors
    /// When the call is not due or too short.
    pub fn secret(self, sent: &[u8]) -> Result<Option<Client>, Refused> {
        let Stage::Committed { challenge, client_hash } = self.stage else { return Err(Refused::OutOfOrder) };
        let (secret, signature) = sent.split_at_checked(16).ok_or(Refused::Malformed)?;
        let expected = sha256(&[&challenge, &self.client.signature, secret]);
        let good = client_hash == expected && self.client.has_signed(secret, signature);
        Ok(good.then_some(self.client))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Certificate;

    /// A client that is a host's certificate, as there is no other key here.
    struct Peer {
        identity: Identity,
        key: Key,
    }

    const SALT: [u8; 16] = [9; 16];

    fn start(pin_of_client: &str) -> (Pairing, Peer, Identity) {
        let identity = Identity::load(Certificate::Second);
        let client = Client::from_pem(identity.pem.as_bytes()).unwrap();
        let key = sha256(&[&SALT, pin_of_client.as_bytes()])[..16].try_into().unwrap();
        let host = Identity::load(Certificate::First);
        (Pairing::new(&SALT, "1234", client), Peer { identity, key }, host)
    }

    /// The client's side up to its last call, with what it signs.
    fn run(pin: &str, signed: &[u8; 16]) -> Option<Client> {
        let (mut pairing, peer, host) = start(pin);
        let mut challenge = [3; 16];
        ecb_encrypt(&peer.key, &mut challenge);
        let mut answer = pairing.challenge(&challenge, &host, PairingFault::None).unwrap();
        ecb_decrypt(&peer.key, &mut answer);
        let (_, server_challenge) = answer.split_at(32);
        let secret = [4; 16];
        let mut hash = sha256(&[server_challenge, &peer.identity.signature, &secret]);
        ecb_encrypt(&peer.key, &mut hash);
        let host_secret = pairing.response(&hash, &host, PairingFault::None).unwrap();
        let reader = Client::from_pem(host.pem.as_bytes()).unwrap();
        assert!(reader.has_signed(&host_secret[..16], &host_secret[16..]));
        let mut last = secret.to_vec();
        last.extend(peer.identity.sign(signed));
        pairing.secret(&last).unwrap()
    }

    #[test]
    fn the_right_pin_and_key_are_accepted_and_no_others() {
        assert!(run("1234", &[4; 16]).is_some());
        assert!(run("1235", &[4; 16]).is_none(), "wrong PIN");
        assert!(run("1234", &[5; 16]).is_none(), "signed something else");
    }

    #[test]
    fn calls_out_of_order_are_refused() {
        let (mut pairing, _, host) = start("1234");
        assert_eq!(pairing.response(&[0; 32], &host, PairingFault::None), Err(Refused::OutOfOrder));
        assert_eq!(pairing.challenge(&[0; 15], &host, PairingFault::None), Err(Refused::Malformed));
        assert!(pairing.challenge(&[0; 16], &host, PairingFault::None).is_ok());
        assert_eq!(pairing.challenge(&[0; 16], &host, PairingFault::None), Err(Refused::OutOfOrder));
        assert_eq!(pairing.secret(&[0; 272]), Err(Refused::OutOfOrder));
    }
}
