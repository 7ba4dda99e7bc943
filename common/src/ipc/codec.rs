//! Framing and encoding of IPC messages: a `u32` length (little endian), then that many bytes of
//! bincode. The only place that knows either.

use bytes::{Buf, BufMut, Bytes, BytesMut};
use serde::{Serialize, de::DeserializeOwned};

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
        let (message, used) = bincode::serde::decode_from_slice(&body, config())
            .map_err(|e| FrameError::Malformed(e.to_string()))?;
        if used != len {
            return Err(FrameError::Malformed(format!("{} bytes left over", len - used)));
        }
        Ok(Some(message))
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
    use crate::ipc::{Hello, Purpose, ServerIpcMessage};
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

    proptest! {
        #[test]
        fn messages_survive_any_cutting(cuts in proptest::collection::vec(1usize..40, 1..40)) {
            let sent: Vec<_> =
                (0..5).map(|n| ServerIpcMessage::StartSource { request: RequestId(n) }).collect();
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
