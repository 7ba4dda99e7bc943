//! Messages of the control stream, sealed; what carries them is ENet.
//!
//! ```text
//! u16 1 · u16 length · u32 sequence · tag · AES-GCM( u16 type · u16 length · payload )        little endian
//! ```

use crate::crypto::{Session, TAG};
use crate::read::{array, u16_le, u32_be, u32_le};

/// Channels that are negotiated: any that a message is sent on.
pub const CHANNELS: usize = 48;
/// Channel of messages without a channel of their own.
pub const GENERIC: u8 = 0;
/// Channel of messages that must not wait behind input.
pub const URGENT: u8 = 1;
/// Longest message of a host that is read.
pub const MAX_MESSAGE: usize = 4096;

const ENVELOPE: u16 = 1;
const HEADER: usize = 8 + TAG;

/// Types of messages.
mod kind {
    pub const START_A: u16 = 0x0302;
    pub const START_B: u16 = 0x0307;
    pub const PING: u16 = 0x0200;
    pub const INPUT: u16 = 0x0206;
    pub const RUMBLE: u16 = 0x010b;
    pub const TERMINATION: u16 = 0x0109;
    pub const OLD_TERMINATION: u16 = 0x0100;
    pub const HDR: u16 = 0x010e;
    pub const TRIGGERS: u16 = 0x5500;
    pub const LED: u16 = 0x5502;
}

/// How nonces are made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// 16 bytes, of which one counts.
    V1,
    /// 12 bytes, different for each direction.
    V2,
}

/// The end that seals a message; each has nonces of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Side {
    Client,
    Host,
}

fn nonce(side: Side, sequence: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sequence.to_le_bytes());
    nonce[10] = if side == Side::Client { b'C' } else { b'H' };
    nonce[11] = b'C';
    nonce
}

fn wide_nonce(sequence: u32) -> [u8; 16] {
    let mut nonce = [0; 16];
    nonce[0] = sequence as u8;
    nonce
}

/// Seals messages to the host. There is one for all channels, as they share the counter.
#[derive(Debug)]
pub struct Sealer {
    session: Session,
    version: Version,
    sequence: u32,
}

impl Sealer {
    /// The first message has number 0.
    pub fn new(session: Session, version: Version) -> Self {
        Self { session, version, sequence: 0 }
    }

    /// Seals one message.
    pub fn seal(&mut self, message: &Message<'_>) -> Vec<u8> {
        let (kind, payload) = message.parts();
        let mut body = Vec::with_capacity(4 + payload.len());
        body.extend_from_slice(&kind.to_le_bytes());
        body.extend_from_slice(&(payload.len() as u16).to_le_bytes());
        body.extend_from_slice(payload);
        let sequence = self.sequence;
        self.sequence = self.sequence.wrapping_add(1);
        let tag = match self.version {
            Version::V1 => self.session.seal_wide(&wide_nonce(sequence), &mut body),
            Version::V2 => self.session.seal(&nonce(Side::Client, sequence), &mut body),
        };
        let mut sealed = Vec::with_capacity(HEADER + body.len());
        sealed.extend_from_slice(&ENVELOPE.to_le_bytes());
        sealed.extend_from_slice(&((4 + TAG + body.len()) as u16).to_le_bytes());
        sealed.extend_from_slice(&sequence.to_le_bytes());
        sealed.extend_from_slice(&tag);
        sealed.extend_from_slice(&body);
        sealed
    }
}

/// A message to the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Message<'a> {
    /// The first one. Later it asks for an IDR frame.
    RequestIdr,
    /// The second one.
    Start,
    /// A sign of life, every 100 ms.
    Ping,
    /// An encoded [`crate::input`].
    Input(&'a [u8]),
}

impl Message<'_> {
    fn parts(&self) -> (u16, &[u8]) {
        match self {
            Self::RequestIdr => (kind::START_A, &[0, 0]),
            Self::Start => (kind::START_B, &[0]),
            Self::Ping => (kind::PING, &[4, 0, 0, 0, 0, 0, 0, 0]),
            Self::Input(payload) => (kind::INPUT, payload),
        }
    }
}

/// Why a message of the host is invalid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMessage {
    /// The bytes are no control message.
    #[error("not a control message")]
    Malformed,
    /// Cannot be decrypted.
    #[error(transparent)]
    Forged(#[from] crate::crypto::Forged),
}

/// A message of the host.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HostMessage {
    /// A gamepad rumbles until the next such message. 0 is off.
    Rumble {
        /// Number of the gamepad, from 0.
        pad: u16,
        /// The heavy motor.
        low: u16,
        /// The light motor.
        high: u16,
    },
    /// The same for the triggers.
    TriggerRumble {
        /// Number of the gamepad, from 0.
        pad: u16,
        /// Strength of the left, heavy motor.
        left: u16,
        /// Strength of the right, light motor.
        right: u16,
    },
    /// A gamepad's light.
    Light {
        /// Number of the gamepad, from 0.
        pad: u16,
        /// Red, green and blue.
        rgb: [u8; 3],
    },
    /// Whether pictures have a high dynamic range.
    Hdr(bool),
    /// The host ends the stream.
    Terminated(Termination),
    /// Something that means nothing here, by its type.
    Other(u16),
}

/// Why a host ended the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Termination(pub u32);

impl Termination {
    /// The app has ended, or the host is being stopped.
    pub fn is_graceful(self) -> bool {
        self.0 == 0x8003_0023
    }
}

impl std::fmt::Display for Termination {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.0 {
            0x8003_0023 => f.write_str("the app has ended (0x80030023)"),
            0x800e_9403 => f.write_str("the host cannot convert its frames (0x800e9403)"),
            0x800e_9302 => f.write_str("the host shows protected content (0x800e9302)"),
            code => write!(f, "the host has ended the stream (0x{code:08x})"),
        }
    }
}

/// Opens messages of the host.
#[derive(Debug)]
pub struct Opener {
    session: Session,
    version: Version,
}

impl Opener {
    /// For messages that are sealed like this.
    pub fn new(session: Session, version: Version) -> Self {
        Self { session, version }
    }

    /// Reads one message.
    ///
    /// # Errors
    /// [`InvalidMessage`].
    pub fn open(&self, sealed: &[u8]) -> Result<HostMessage, InvalidMessage> {
        let malformed = InvalidMessage::Malformed;
        if sealed.len() > MAX_MESSAGE || u16_le(sealed, 0) != Some(ENVELOPE) {
            return Err(malformed);
        }
        let len = usize::from(u16_le(sealed, 2).ok_or(malformed)?);
        let sequence = u32_le(sealed, 4).ok_or(malformed)?;
        let tag = array(sealed, 8).ok_or(malformed)?;
        let mut body = sealed.get(HEADER..4 + len).ok_or(malformed)?.to_vec();
        match self.version {
            Version::V1 => self.session.open_wide(&wide_nonce(sequence), &mut body, &tag)?,
            Version::V2 => self.session.open(&nonce(Side::Host, sequence), &mut body, &tag)?,
        }
        read(&body).ok_or(malformed)
    }
}

fn read(body: &[u8]) -> Option<HostMessage> {
    let kind = u16_le(body, 0)?;
    let len = usize::from(u16_le(body, 2)?);
    let payload = body.get(4..4 + len)?;
    let at = |offset| u16_le(payload, offset);
    Some(match kind {
        kind::RUMBLE => HostMessage::Rumble { pad: at(4)?, low: at(6)?, high: at(8)? },
        kind::TRIGGERS => HostMessage::TriggerRumble { pad: at(0)?, left: at(2)?, right: at(4)? },
        kind::LED => HostMessage::Light { pad: at(0)?, rgb: array(payload, 2)? },
        kind::HDR => HostMessage::Hdr(*payload.first()? != 0),
        kind::TERMINATION => HostMessage::Terminated(Termination(u32_be(payload, 0)?)),
        kind::OLD_TERMINATION => HostMessage::Terminated(Termination(u32::from(u16_le(payload, 0)?))),
        other => HostMessage::Other(other),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::KEY;
    use proptest::prelude::*;

    fn session() -> Session {
        Session::new(KEY, 0)
    }

    fn sealed_as(version: Version, sequence: u32) -> String {
        let mut sealer = Sealer { sequence, ..Sealer::new(session(), version) };
        hex::encode(sealer.seal(&Message::RequestIdr))
    }

    #[test]
    fn messages_are_sealed_as_the_protocol_says() {
        for (version, sequence, sealed) in [
            (Version::V2, 0, "01001a000000000022302723537811166cb9bfead7dad4575cd629f5cafe"),
            (Version::V2, 1, "01001a00010000006c12bedcfec5f08348afa44cd89b857221270741031b"),
            (Version::V2, 256, "01001a00000100003b927efda9aa64c17879ada6b1d39c6af8bdf4eeeddd"),
            (Version::V1, 0, "01001a0000000000566c8363e380dad031b24ee56ee40bb6021579f6ebbe"),
            (Version::V1, 257, "01001a0001010000db44075091248d9f4ed1d166104ad599e5503cd7b9df"),
        ] {
            assert_eq!(sealed_as(version, sequence), sealed, "{version:?} {sequence}");
        }
    }

    #[test]
    fn every_message_has_the_next_number() {
        let mut sealer = Sealer::new(session(), Version::V2);
        let numbers: Vec<_> = (0..3).map(|_| u32_le(&sealer.seal(&Message::Ping), 4)).collect();
        assert_eq!(numbers, [Some(0), Some(1), Some(2)]);
    }

    #[test]
    fn the_end_of_a_stream_is_read() {
        let sealed = hex::decode("01001c0007000000a825d6bd20ccfe5ba7fbb60530900ef17f27937ed176265a").unwrap();
        let opener = Opener::new(session(), Version::V2);
        let message = opener.open(&sealed).unwrap();
        assert_eq!(message, HostMessage::Terminated(Termination(0x8003_0023)));
        let wrong = Opener::new(session(), Version::V1);
        assert!(matches!(wrong.open(&sealed), Err(InvalidMessage::Forged(_))));
        assert_eq!(opener.open(&sealed[..31]), Err(InvalidMessage::Malformed));
    }

    #[test]
    fn messages_of_the_host_are_read() {
        let body = |hex: &str| read(&hex::decode(hex).unwrap());
        let rumble = HostMessage::Rumble { pad: 0, low: 0x1234, high: 0xabcd };
        assert_eq!(body("0b010a00eeffc00000003412cdab"), Some(rumble));
        assert_eq!(
            body("0055060001000200ff00"),
            Some(HostMessage::TriggerRumble { pad: 1, left: 2, right: 255 })
        );
        assert_eq!(body("0255050001000a0b0c"), Some(HostMessage::Light { pad: 1, rgb: [10, 11, 12] }));
        assert_eq!(body("0e01010001"), Some(HostMessage::Hdr(true)));
        assert_eq!(body("aaaa0000"), Some(HostMessage::Other(0xaaaa)));
        assert_eq!(body("0b010400eeffc000"), None, "too short");
        assert_eq!(body("0e01ff0001"), None, "a length that lies");
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let _ = read(&bytes);
            let _ = Opener::new(session(), Version::V1).open(&bytes);
            let _ = Opener::new(session(), Version::V2).open(&bytes);
        }
    }
}
