//! One attempt to pair, on a thread of its own, because a host replies only after somebody has typed the PIN there.

use std::time::Duration;

use common::hosts::{Pairing as View, PairingState};
use gamestream::http;
use gamestream::identity::Identity;
use gamestream::pairing::{self, Pairing, Random, Step};
use gamestream::reply;
use rustls::pki_types::CertificateDer;

use super::Error;
use super::requests::Client;

/// Timeout for the PIN: somebody has to walk to the host and type four digits.
const TYPING: Duration = Duration::from_secs(300);
/// Timeout for responses that the host has ready.
const PATIENCE: Duration = Duration::from_secs(10);

/// Why an attempt has failed.
#[derive(Debug, thiserror::Error)]
pub enum PairingFailure {
    /// The host does not answer.
    #[error(transparent)]
    Http(#[from] http::Error),
    /// The host or we refuse.
    #[error(transparent)]
    Pairing(#[from] pairing::Error),
    /// An error on our side.
    #[error("{0}")]
    Ours(String),
}

impl PairingFailure {
    /// Stable, for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Http(http::Error::Timeout { .. } | http::Error::Unreachable { .. }) => "host_timeout",
            Self::Http(http::Error::CertificateChanged(_)) => "host_certificate_changed",
            Self::Http(http::Error::Tls { .. } | http::Error::Malformed { .. }) => "host_protocol",
            Self::Pairing(pairing::Error::WrongPin) => "wrong_pin",
            Self::Pairing(pairing::Error::Busy) => "host_pairing_busy",
            Self::Pairing(pairing::Error::Forged) => "host_forged",
            Self::Pairing(pairing::Error::Refused | pairing::Error::Reply(reply::Error::Refused { .. })) => {
                "host_refused"
            }
            Self::Pairing(_) => "host_protocol",
            Self::Ours(_) => "hosts_state",
        }
    }

    /// As REST shows it.
    pub fn view(&self) -> View {
        View {
            state: PairingState::Failed,
            pin: None,
            error: Some(self.to_string()),
            code: Some(self.code().to_owned()),
        }
    }
}

/// Four digits, all equally likely.
///
/// # Errors
/// The system has no randomness.
pub fn pin() -> Result<String, Error> {
    // The largest multiple of 10,000 that fits: numbers above it would make small PINs likelier.
    const FAIR: u32 = u32::MAX / 10_000 * 10_000;
    loop {
        let number = getrandom::u32().map_err(|error| Error::State(error.to_string()))?;
        if number < FAIR {
            return Ok(format!("{:04}", number % 10_000));
        }
    }
}

/// Pairs, and returns the host's certificate. `verifying` is called when the PIN was typed.
///
/// # Errors
/// [`PairingFailure`]. Then the host has been told to remove the pairing.
pub fn run(
    client: &Client<'_>,
    identity: &Identity,
    pin: &str,
    mut verifying: impl FnMut(),
) -> Result<CertificateDer<'static>, PairingFailure> {
    let result = match attempt(client, identity, pin, &mut verifying) {
        Err(AttemptEnded { failure, begun: false }) if is_in_the_way(&failure) => {
            attempt(client, identity, pin, &mut verifying)
        }
        other => other,
    };
    result.map_err(|ended| {
        // Hosts that lack this request do not need it.
        let _ = client.plain("unpair", "", PATIENCE);
        ended.failure
    })
}

/// A previous attempt that was abandoned may make the first request fail: it is refused, or its reply is lost.
fn is_in_the_way(failure: &PairingFailure) -> bool {
    matches!(
        failure,
        PairingFailure::Pairing(pairing::Error::Reply(reply::Error::Refused { status: 400, .. }))
            | PairingFailure::Http(http::Error::Malformed { .. })
    )
}

/// A failed attempt.
struct AttemptEnded {
    failure: PairingFailure,
    /// The host had replied to its first call.
    begun: bool,
}

fn attempt(
    client: &Client<'_>,
    identity: &Identity,
    pin: &str,
    verifying: &mut impl FnMut(),
) -> Result<CertificateDer<'static>, AttemptEnded> {
    let fresh = || Ok(Random { salt: random()?, challenge: random()?, secret: random()? });
    let random = fresh().map_err(|failure| AttemptEnded { failure, begun: false })?;
    let (mut pairing, step) = Pairing::start(identity, pin, random);
    converse(client, identity, &mut pairing, step, verifying).map_err(|failure| {
        let farewell = pairing.farewell();
        if let Some(farewell) = &farewell {
            // Whatever the host replies, the attempt is over.
            let _ = client.plain("pair", farewell, PATIENCE);
        }
        AttemptEnded { failure, begun: farewell.is_some() }
    })
}

/// Runs the steps of pairing.
fn converse(
    client: &Client<'_>,
    identity: &Identity,
    pairing: &mut Pairing<'_>,
    mut step: Step,
    verifying: &mut impl FnMut(),
) -> Result<CertificateDer<'static>, PairingFailure> {
    let mut patience = TYPING;
    loop {
        let answer = match step {
            Step::Ask(parameters) => client.plain("pair", &parameters, patience)?,
            Step::AskOverTls(parameters, certificate) => {
                let tls =
                    identity.tls(certificate).map_err(|error| PairingFailure::Ours(error.to_string()))?;
                client.secure(&tls, "pair", &parameters, patience)?.text()
            }
            Step::Paired(certificate) => return Ok(certificate),
        };
        if patience == TYPING {
            verifying();
            patience = PATIENCE;
        }
        step = pairing.answer(&answer)?;
    }
}

fn random<const N: usize>() -> Result<[u8; N], PairingFailure> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(|error| PairingFailure::Ours(error.to_string()))?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pin_has_four_digits() {
        for _ in 0..100 {
            let pin = pin().unwrap();
            assert!(pin.len() == 4 && pin.bytes().all(|b| b.is_ascii_digit()), "{pin}");
        }
    }
}
