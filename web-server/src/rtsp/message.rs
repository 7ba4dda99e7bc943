//! Requests out of the bytes of a connection, bounded before they are parsed. Pure; RTSP itself is read and written by `rtsp-types`.

use bytes::{Buf, BytesMut};
use rtsp_types::{Message, ParseError, Request};

/// The longest request, with its body. Players send some hundred bytes.
pub const MAX_REQUEST: usize = 16 * 1024;
/// Ends the head of a request.
const END: &[u8] = b"\r\n\r\n";
/// First byte of a packet of the player's (RFC 2326 §10.12): its reports, which nobody needs.
const PACKET: u8 = b'$';
/// Bytes before such a packet.
const PACKET_HEADER: usize = 4;

/// Bytes of a connection, from which requests are taken.
#[derive(Debug, Default)]
pub struct Requests {
    buffer: BytesMut,
    /// Bytes of a packet of the player's that have not come yet.
    skip: usize,
}

/// What a player sends is no request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// It is too long.
    #[error("a request has at most {MAX_REQUEST} bytes")]
    TooLong,
    /// It is something else.
    #[error("this is not RTSP")]
    NotRtsp,
}

impl Requests {
    /// Where bytes are appended that were read.
    pub fn buffer(&mut self) -> &mut BytesMut {
        &mut self.buffer
    }

    /// Whether there is room for more, so that reading goes on.
    pub fn has_room(&self) -> bool {
        self.buffer.len() < MAX_REQUEST
    }

    /// The next request, once it is whole. Packets of the player's are left out.
    ///
    /// # Errors
    /// [`Malformed`]: nothing after it can be read.
    pub fn take(&mut self) -> Result<Option<Request<Vec<u8>>>, Malformed> {
        loop {
            let skipped = self.skip.min(self.buffer.len());
            self.buffer.advance(skipped);
            self.skip -= skipped;
            match self.buffer.first() {
                None => return Ok(None),
                // Some players send lines that are empty between two requests.
                Some(b'\r' | b'\n') => self.buffer.advance(1),
                Some(&PACKET) => {
                    let Some(header) = self.buffer.first_chunk::<PACKET_HEADER>() else { return Ok(None) };
                    let length = u16::from_be_bytes([header[2], header[3]]);
                    self.skip = PACKET_HEADER + usize::from(length);
                }
                Some(_) => match self.message()? {
                    Some(Message::Request(request)) => return Ok(Some(request)),
                    // We ask for nothing, so a response is to nothing of ours.
                    Some(Message::Response(_) | Message::Data(_)) => {}
                    None => return Ok(None),
                },
            }
        }
    }

    fn message(&mut self) -> Result<Option<Message<Vec<u8>>>, Malformed> {
        let bounded = &self.buffer[..self.buffer.len().min(MAX_REQUEST)];
        let is_full = bounded.len() == MAX_REQUEST;
        let more = || if is_full { Err(Malformed::TooLong) } else { Ok(None) };
        // Only a whole head is parsed, so that one which comes a byte at a time costs little.
        if !bounded.windows(END.len()).any(|window| window == END) {
            return more();
        }
        match Message::parse(bounded) {
            Ok((message, length)) => {
                self.buffer.advance(length);
                Ok(Some(message))
            }
            Err(ParseError::Incomplete(_)) => more(),
            Err(ParseError::Error) => Err(Malformed::NotRtsp),
        }
    }
}

#[cfg(test)]
mod tests {
    use rtsp_types::Method;

    use super::*;

    const OPTIONS: &[u8] = b"OPTIONS rtsp://h/demo RTSP/1.0\r\nCSeq: 1\r\n\r\n";

    fn requests(bytes: &[u8]) -> Requests {
        Requests { buffer: BytesMut::from(bytes), skip: 0 }
    }

    #[test]
    fn requests_come_one_after_another_and_packets_between_them_are_left_out() {
        let play = b"PLAY rtsp://h/demo RTSP/1.0\r\nCSeq: 2\r\nContent-Length: 3\r\n\r\nabc";
        let packet = b"$\x01\x00\x05OPTIO";
        let bytes =
            [OPTIONS, packet, b"\r\n", packet, play, b"RTSP/1.0 200 OK\r\nCSeq: 1\r\n\r\n", OPTIONS].concat();
        let mut whole = requests(&bytes);
        let mut dripping = Requests::default();
        let mut dripped = Vec::new();
        for byte in &bytes {
            dripping.buffer().extend_from_slice(&[*byte]);
            dripped.extend(dripping.take().unwrap());
        }
        let all: Vec<_> = std::iter::from_fn(|| whole.take().unwrap()).collect();
        let methods: Vec<_> = all.iter().map(Request::method).collect();
        assert_eq!(methods, [&Method::Options, &Method::Play, &Method::Options]);
        assert_eq!(all[1].body(), b"abc");
        assert_eq!(all, dripped);
        assert!(whole.buffer.is_empty() && dripping.buffer.is_empty());
    }

    #[test]
    fn what_is_too_long_or_no_rtsp_is_refused() {
        let long = [b"OPTIONS * RTSP/1.0\r\nX: ".as_slice(), &[b'a'; MAX_REQUEST]].concat();
        let body =
            [b"PLAY rtsp://h/ RTSP/1.0\r\nContent-Length: 99999999\r\n\r\n".as_slice(), &[0; MAX_REQUEST]]
                .concat();
        for (bytes, expected) in [
            (&long[..], Malformed::TooLong),
            (&body, Malformed::TooLong),
            (b"GET / HTTP/1.1\r\nHost: h\r\n\r\n", Malformed::NotRtsp),
            (b"OPTIONS rtsp://h/ RTSP/1.0\r\nno header\r\n\r\n", Malformed::NotRtsp),
            (b"OPTIONS nowhere RTSP/1.0\r\nCSeq: 1\r\n\r\n", Malformed::NotRtsp),
            (b"\x16\x03\x01\r\n\r\n", Malformed::NotRtsp),
        ] {
            assert_eq!(requests(bytes).take(), Err(expected), "{:?}", String::from_utf8_lossy(bytes));
        }
        // A packet is longer than a request may be, and is not kept.
        let mut long = requests(b"$\x00\xff\xff");
        for _ in 0..64 {
            assert_eq!(long.take(), Ok(None));
            assert!(long.has_room() && long.buffer.is_empty());
            long.buffer.extend_from_slice(&[b'$'; 1024]);
        }
    }
}
