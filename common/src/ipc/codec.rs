//! Framing and encoding of IPC messages: a `u32` length (little endian), then that many bytes of
//! bincode. The only place that knows either.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Longest frame, in bytes without its length: room for a raw snapshot reply.
pub const MAX_FRAME: usize = 8 * 1024 * 1024;

/// Why bytes are not a message. It ends the connection; it is never taken for its end.
#[derive(Debug, thiserror::Error)]
pub enum FrameError {
    /// A frame says that it is longer than [`MAX_FRAME`].
    #[error("a frame has at most {MAX_FRAME} bytes, this one claims {0}")]
    TooLong(usize),
    /// The connection ended inside a frame.
    #[error("the connection ended inside a frame, {missing} bytes short")]
    Truncated {
        /// Bytes that did not come.
        missing: usize,
    },
    /// The bytes of a frame are not the message that is expected.
    #[error("malformed frame: {0}")]
    Malformed(String),
}

fn config() -> impl bincode::config::Config {
    // The limit keeps a lying length inside a frame from allocating more than the frame could hold.
    bincode::config::standard().with_limit::<MAX_FRAME>()
}

/// One message as a frame.
///
/// # Errors
/// [`FrameError::TooLong`] when it does not fit; the sender must say something smaller.
pub fn encode<T: Serialize>(message: &T) -> Result<Bytes, FrameError> {
    let body =
        bincode::serde::encode_to_vec(message, config()).map_err(|e| FrameError::Malformed(e.to_string()))?;
    if body.len() > MAX_FRAME {
        return Err(FrameError::TooLong(body.len()));
    }
    let mut frame = BytesMut::with_capacity(4 + body.len());
    // MAX_FRAME fits a u32.
    frame.put_u32_le(body.len() as u32);
    frame.put_slice(&body);
    Ok(frame.freeze())
}

/// Longest [`Payload`], in bytes: a frame has room for it and what stands around it.
pub const MAX_PAYLOAD: usize = MAX_FRAME - 64;

/// A reply as it travels. Only the type that its request names as [`super::Request::Reply`] can be read from it, so the
/// message around it need not know what was asked.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Payload(#[serde(with = "blob")] Vec<u8>);

impl Payload {
    /// Encodes a reply.
    ///
    /// # Errors
    /// [`FrameError::TooLong`] when it has more than [`MAX_PAYLOAD`] bytes.
    pub fn of<T: Serialize>(reply: &T) -> Result<Self, FrameError> {
        let bytes = bincode::serde::encode_to_vec(reply, config())
            .map_err(|error| FrameError::Malformed(error.to_string()))?;
        match bytes.len() {
            len if len > MAX_PAYLOAD => Err(FrameError::TooLong(len)),
            _ => Ok(Self(bytes)),
        }
    }

    /// Decodes a reply.
    ///
    /// # Errors
    /// [`FrameError::Malformed`] when it is of another type.
    pub fn read<T: DeserializeOwned>(&self) -> Result<T, FrameError> {
        decode(&self.0)
    }
}

impl std::fmt::Debug for Payload {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Payload({} bytes)", self.0.len())
    }
}

fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, FrameError> {
    let (value, used) = bincode::serde::decode_from_slice(bytes, config())
        .map_err(|error| FrameError::Malformed(error.to_string()))?;
    if used != bytes.len() {
        return Err(FrameError::Malformed(format!("{} bytes left over", bytes.len() - used)));
    }
    Ok(value)
}

/// For `#[serde(with)]`: bytes that are copied as a whole. A plain `Vec<u8>` is encoded byte by byte.
pub(super) mod blob {
    use std::fmt;

    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_bytes(bytes)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        struct Bytes;

        impl Visitor<'_> for Bytes {
            type Value = Vec<u8>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }

            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }

            fn visit_byte_buf<E: Error>(self, bytes: Vec<u8>) -> Result<Vec<u8>, E> {
                Ok(bytes)
            }
        }

        deserializer.deserialize_byte_buf(Bytes)
    }
}

/// Cuts a byte stream into messages. Feed it what arrives, then take messages until there is none.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Where to append what arrives; bytes of incomplete frames stay in it.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// The next complete message, or `None` until more bytes arrive.
    ///
    /// # Errors
    /// The stream is of no more use after any.
    pub fn next_message<T: DeserializeOwned>(&mut self) -> Result<Option<T>, FrameError> {
        let Some(header) = self.buffer.first_chunk::<4>() else { return Ok(None) };
        let len = u32::from_le_bytes(*header) as usize;
        if len > MAX_FRAME {
            return Err(FrameError::TooLong(len));
        }
        if self.buffer.len() < 4 + len {
            return Ok(None);
        }
        self.buffer.advance(4);
        let body = self.buffer.split_to(len);
        decode(&body).map(Some)
    }

    /// To be called at the end of the stream.
    ///
    /// # Errors
    /// [`FrameError::Truncated`] when it ended inside a frame.
    pub fn finish(&self) -> Result<(), FrameError> {
        match self.buffer.first_chunk::<4>() {
            _ if self.buffer.is_empty() => Ok(()),
            None => Err(FrameError::Truncated { missing: 4 - self.buffer.len() }),
            Some(header) => {
                let len = u32::from_le_bytes(*header) as usize;
                Err(FrameError::Truncated { missing: (4 + len).saturating_sub(self.buffer.len()) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::RequestId;
    use crate::ipc::request::{PeerAdded, Picture, StartSource};
    use crate::ipc::{Hello, Purpose, ServerIpcMessage, StreamerIpcMessage};
    use proptest::prelude::*;

    fn hello() -> Hello {
        Hello { protocol: 1, build: "b".into(), token: "t".into(), purpose: Purpose::Control }
    }

    #[test]
    fn a_frame_over_the_limit_is_refused_before_it_is_read() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.next_message::<Hello>(), Err(FrameError::TooLong(_))));
    }

    #[test]
    fn an_end_inside_a_frame_is_an_error_and_not_an_end() {
        let frame = encode(&hello()).unwrap();
        for cut in 1..frame.len() {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&frame[..cut]);
            assert!(decoder.next_message::<Hello>().unwrap().is_none());
            assert!(matches!(decoder.finish(), Err(FrameError::Truncated { missing }) if missing > 0));
        }
        assert!(Decoder::default().finish().is_ok());
    }

    #[test]
    fn a_message_of_another_kind_or_with_more_behind_it_is_malformed() {
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&3u32.to_le_bytes());
        decoder.buffer().extend_from_slice(&[255, 255, 255]);
        assert!(matches!(decoder.next_message::<ServerIpcMessage>(), Err(FrameError::Malformed(_))));

        let frame = encode(&hello()).unwrap();
        let mut longer = Decoder::default();
        longer.buffer().extend_from_slice(&((frame.len() - 4 + 1) as u32).to_le_bytes());
        longer.buffer().extend_from_slice(&frame[4..]);
        longer.buffer().extend_from_slice(&[0]);
        assert!(matches!(longer.next_message::<Hello>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn a_reply_is_read_as_what_it_is_and_as_nothing_else() {
        let picture = Picture { image: vec![7; 3], version: Some(9), width: 2, height: 5 };
        let payload = Payload::of(&picture).unwrap();
        let message = StreamerIpcMessage::Reply { request: RequestId(1), result: Ok(payload) };
        let mut decoder = Decoder::default();
        decoder.buffer().extend_from_slice(&encode(&message).unwrap());
        let Ok(Some(StreamerIpcMessage::Reply { result: Ok(payload), .. })) = decoder.next_message() else {
            panic!("not a reply");
        };
        assert_eq!(payload.read::<Picture>().unwrap(), picture);
        assert!(matches!(payload.read::<()>(), Err(FrameError::Malformed(_))), "all of it must be read");
        assert!(matches!(payload.read::<PeerAdded>(), Err(FrameError::Malformed(_))));
    }

    #[test]
    fn the_longest_reply_fits_a_frame_and_a_longer_one_is_refused() {
        let picture = |len| Picture { image: vec![7; len], version: None, width: u32::MAX, height: u32::MAX };
        let around = Payload::of(&picture(MAX_PAYLOAD / 2)).unwrap().0.len() - MAX_PAYLOAD / 2;
        let longest = Payload::of(&picture(MAX_PAYLOAD - around)).unwrap();
        let message = StreamerIpcMessage::Reply { request: RequestId(u64::MAX), result: Ok(longest) };
        assert!(encode(&message).is_ok());
        assert!(matches!(Payload::of(&picture(MAX_PAYLOAD)), Err(FrameError::TooLong(_))));
    }

    proptest! {
        #[test]
        fn messages_survive_any_cutting(cuts in proptest::collection::vec(1usize..40, 1..40)) {
            let request = |n| ServerIpcMessage::Request { id: RequestId(n), request: StartSource.into() };
            let sent: Vec<_> = (0..5).map(request).collect();
            let stream: Vec<u8> =
                sent.iter().flat_map(|m| encode(m).unwrap().to_vec()).collect();
            let mut decoder = Decoder::default();
            let mut received = Vec::new();
            let mut rest = stream.as_slice();
            for cut in cuts.into_iter().cycle() {
                if rest.is_empty() { break }
                let (now, later) = rest.split_at(cut.min(rest.len()));
                decoder.buffer().extend_from_slice(now);
                rest = later;
                while let Some(message) = decoder.next_message::<ServerIpcMessage>().unwrap() {
                    received.push(message);
                }
            }
            prop_assert_eq!(received, sent);
            prop_assert!(decoder.finish().is_ok());
        }

        #[test]
        fn no_bytes_panic_or_allocate_beyond_the_limit(bytes in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut decoder = Decoder::default();
            decoder.buffer().extend_from_slice(&bytes);
            while let Ok(Some(_)) = decoder.next_message::<ServerIpcMessage>() {}
        }
    }
}
