//! RTSP as hosts speak it: one request per TCP connection, perhaps encrypted; the reply ends with the stream.

use crate::crypto::{Forged, Session, TAG};
use crate::read::{array, u32_be};

/// Longest request that every host has room for.
pub const MAX_REQUEST: usize = 2000;
/// Longest reply that is read.
pub const MAX_REPLY: usize = 64 * 1024;

/// Length and flag, number, tag.
const HEADER: usize = 8 + TAG;
const ENCRYPTED: u32 = 0x8000_0000;
const VERSION: &str = "14";

/// Why a reply is of no use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Error {
    /// The host refuses.
    #[error("the host answers {status} to {method}")]
    Refused {
        /// The request that it is the reply to.
        method: &'static str,
        /// As HTTP has them.
        status: u16,
    },
    /// Cannot be read.
    #[error("the host's answer to {0} cannot be read")]
    Malformed(&'static str),
    /// Cannot be decrypted.
    #[error("the host's answer to {0} cannot be decrypted")]
    Forged(&'static str),
    /// Has no room on hosts.
    #[error("a {0} of {1} bytes is too long for hosts")]
    TooLong(&'static str, usize),
}

/// The RTSP service in the URL of a session.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUrl {
    /// The URL, as used in requests.
    pub url: String,
    /// TCP port of the service.
    pub port: u16,
    /// Whether messages are encrypted.
    pub encrypted: bool,
}

impl SessionUrl {
    /// Parses it. The host name in it may be wrong, so the host is reached at its known address.
    pub fn parse(url: &str) -> Option<Self> {
        let (scheme, rest) = url.split_once("://")?;
        let authority = rest.split('/').next()?;
        let port = authority.rsplit_once(':').map_or(Some(48010), |(_, port)| port.parse().ok())?;
        let encrypted = match scheme {
            "rtsp" => false,
            "rtspenc" => true,
            _ => return None,
        };
        Some(Self { url: url.to_owned(), port, encrypted })
    }
}

/// Makes requests and reads replies of one session.
#[derive(Debug)]
pub struct Client {
    host: String,
    /// Encrypts; `None`: everything is plain.
    session: Option<Session>,
    sequence: u32,
    id: Option<String>,
}

/// The reply to a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    headers: Vec<(String, String)>,
    /// The body.
    pub body: String,
}

impl Reply {
    /// Value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| &value[..])
    }
}

impl Client {
    /// `host` is the name of the host in requests; `0.0.0.0` selects sound of 96 kbit/s.
    pub fn new(host: &str, session: Option<Session>) -> Self {
        Self { host: host.to_owned(), session, sequence: 0, id: None }
    }

    /// A request, as it is written to a connection of its own.
    ///
    /// # Errors
    /// [`Error::TooLong`].
    pub fn request(
        &mut self,
        method: &'static str,
        target: &str,
        headers: &[(&str, &str)],
        body: &str,
    ) -> Result<Vec<u8>, Error> {
        self.sequence += 1;
        let mut text = format!(
            "{method} {target} RTSP/1.0\r\nCSeq: {}\r\nX-GS-ClientVersion: {VERSION}\r\nHost: {}\r\n",
            self.sequence, self.host
        );
        if let Some(id) = &self.id {
            text.push_str(&format!("Session: {id}\r\n"));
        }
        for (name, value) in headers {
            text.push_str(&format!("{name}: {value}\r\n"));
        }
        if !body.is_empty() {
            text.push_str(&format!("Content-type: application/sdp\r\nContent-length: {}\r\n", body.len()));
        }
        text.push_str("\r\n");
        text.push_str(body);
        if text.len() + HEADER > MAX_REQUEST {
            return Err(Error::TooLong(method, text.len()));
        }
        Ok(match &self.session {
            None => text.into_bytes(),
            Some(session) => seal(session, b'C', self.sequence, text.into_bytes()),
        })
    }

    /// Parses the response to the last request. Remembers the session's name.
    ///
    /// # Errors
    /// [`Error`].
    pub fn reply(&mut self, method: &'static str, bytes: &[u8]) -> Result<Reply, Error> {
        let malformed = Error::Malformed(method);
        if bytes.len() > MAX_REPLY {
            return Err(malformed);
        }
        let plain = match &self.session {
            None => bytes.to_vec(),
            Some(session) => {
                let plain = open(session, b'H', bytes).ok_or(malformed.clone())?;
                plain.map_err(|_| Error::Forged(method))?
            }
        };
        let text = String::from_utf8_lossy(&plain);
        let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("RTSP/1.0 ")?.get(..3)?.parse().ok());
        match status.ok_or(malformed)? {
            200 => {}
            status => return Err(Error::Refused { method, status }),
        }
        let headers = lines.filter_map(|line| line.split_once(':'));
        let headers =
            headers.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect();
        let reply = Reply { headers, body: body.to_owned() };
        if let Some(id) = reply.header("Session") {
            self.id = id.split(';').next().map(|id| id.trim().to_owned());
        }
        Ok(reply)
    }
}

fn nonce(side: u8, sequence: u32) -> [u8; 12] {
    let mut nonce = [0; 12];
    nonce[..4].copy_from_slice(&sequence.to_le_bytes());
    nonce[10] = side;
    nonce[11] = b'R';
    nonce
}

fn seal(session: &Session, side: u8, sequence: u32, mut text: Vec<u8>) -> Vec<u8> {
    let tag = session.seal(&nonce(side, sequence), &mut text);
    let mut out = (ENCRYPTED | text.len() as u32).to_be_bytes().to_vec();
    out.extend(sequence.to_be_bytes());
    out.extend(tag);
    out.extend(text);
    out
}

fn open(session: &Session, side: u8, bytes: &[u8]) -> Option<Result<Vec<u8>, Forged>> {
    let len = u32_be(bytes, 0)?;
    if len & ENCRYPTED == 0 {
        return None;
    }
    let sequence = u32_be(bytes, 4)?;
    let tag = array(bytes, 8)?;
    let len = usize::try_from(len & !ENCRYPTED).ok()?;
    let mut text = bytes.get(HEADER..HEADER.checked_add(len)?)?.to_vec();
    Some(session.open(&nonce(side, sequence), &mut text, &tag).map(|()| text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crypto::tests::KEY;
    use proptest::prelude::*;

    fn encrypted() -> Client {
        Client::new("10.0.0.2", Some(Session::new(KEY, 0)))
    }

    #[test]
    fn requests_are_encrypted_as_the_protocol_says() {
        let request = encrypted().request("OPTIONS", "rtspenc://10.0.0.2:48010", &[], "").unwrap();
        let expected = "8000005e000000012d08db93e955792ddd3a6271f2d5a8dd9fe452003a42126629e9a38df3e5ba69a1abdaec51aa1\
                        661850e8735998f849928429fae652a7d7788916ae9ff8d5721d8bff2ab045348a1a29682f061923eb620ad7296ec1\
                        24ce9376925fd34731fbb9a57546d489c9a459a48b2bbecf2";
        assert_eq!(hex::encode(request), expected);
    }

    #[test]
    fn replies_are_decrypted_as_the_protocol_says() {
        let reply = "8000001c00000001f1734c68fca6356daf5717bc54c6f6a2600872b43a271f6b4fc685cedf9a7cb84351077c0cc521456\
                     e1d06e9";
        let bytes = hex::decode(reply).unwrap();
        let reply = encrypted().reply("OPTIONS", &bytes).unwrap();
        assert_eq!(reply.header("cseq"), Some("1"));
        let mut wrong = bytes.clone();
        wrong[30] ^= 1;
        assert_eq!(encrypted().reply("OPTIONS", &wrong), Err(Error::Forged("OPTIONS")));
        assert_eq!(encrypted().reply("OPTIONS", &bytes[..40]), Err(Error::Malformed("OPTIONS")));
        assert_eq!(
            encrypted().reply("OPTIONS", b"RTSP/1.0 200 OK\r\n\r\n"),
            Err(Error::Malformed("OPTIONS"))
        );
    }

    #[test]
    fn a_session_is_named_in_all_that_follows() {
        let mut client = Client::new("0.0.0.0", None);
        let reply =
            b"RTSP/1.0 200 OK\r\nSession: DEADBEEFCAFE;timeout = 90\r\nTransport: server_port=48000\r\n\r\n";
        let reply = client.reply("SETUP", reply).unwrap();
        assert_eq!(reply.header("Transport"), Some("server_port=48000"));
        let request = client.request("PLAY", "/", &[], "").unwrap();
        let text = String::from_utf8(request).unwrap();
        assert!(
            text.starts_with("PLAY / RTSP/1.0\r\nCSeq: 1\r\n") && text.contains("Session: DEADBEEFCAFE\r\n")
        );
        let refused = client.reply("PLAY", b"RTSP/1.0 404 Not Found\r\n\r\n");
        assert_eq!(refused, Err(Error::Refused { method: "PLAY", status: 404 }));
        assert_eq!(client.reply("PLAY", b""), Err(Error::Malformed("PLAY")));
        assert!(matches!(client.request("X", "/", &[], &"a".repeat(3000)), Err(Error::TooLong("X", _))));
    }

    #[test]
    fn urls_of_sessions_are_read() {
        let url = SessionUrl::parse("rtspenc://192.168.0.2:48010").unwrap();
        assert!((url.port, url.encrypted) == (48010, true));
        assert!(!SessionUrl::parse("rtsp://h:1/x").unwrap().encrypted);
        for wrong in ["", "http://h:1", "rtsp://h:99999", "rtsp:h"] {
            assert_eq!(SessionUrl::parse(wrong), None, "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Client::new("h", None).reply("X", &bytes);
            let _ = encrypted().reply("X", &bytes);
            let mut bytes = bytes;
            bytes.splice(0..0, [0x80, 0, 0, 8]);
            let _ = encrypted().reply("X", &bytes);
        }
    }
}
