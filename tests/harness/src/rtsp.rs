//! A player that speaks RTSP by hand, so that it can do what real ones do not.

use std::collections::VecDeque;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// A player waits no longer for anything.
const PATIENCE: Duration = Duration::from_secs(30);

/// A connection to the server.
pub struct RtspPlayer {
    stream: TcpStream,
    cseq: u32,
    packets: VecDeque<(u8, Vec<u8>)>,
}

/// A response.
#[derive(Debug)]
pub struct RtspResponse {
    /// Its status.
    pub status: u16,
    /// Its head, with line ends.
    pub head: String,
    /// Its body.
    pub body: String,
}

impl RtspResponse {
    /// The value of a header.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.find(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }

    /// The id of the session, as a header of a request.
    ///
    /// # Panics
    /// The response names none.
    pub fn session(&self) -> String {
        let session = self.header("Session").expect("the response names a session");
        format!("Session: {}\r\n", session.split(';').next().unwrap_or_default())
    }

    /// Panics, showing the response, unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }
}

impl RtspPlayer {
    /// Connects.
    ///
    /// # Panics
    /// Nobody listens there.
    pub fn connect(address: SocketAddr) -> Self {
        let stream = TcpStream::connect(address).expect("the server listens for RTSP");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        Self { stream, cseq: 0, packets: VecDeque::new() }
    }

    /// Sends these bytes.
    pub fn send(&mut self, bytes: &[u8]) {
        // Whether they are taken is seen by what comes back.
        let _ = self.stream.write_all(bytes);
    }

    /// Makes a request with these headers, each with its line end, and waits for the response.
    ///
    /// # Panics
    /// None comes.
    pub fn ask(&mut self, method: &str, url: &str, headers: &str) -> RtspResponse {
        self.cseq += 1;
        let cseq = self.cseq;
        self.send(format!("{method} {url} RTSP/1.0\r\nCSeq: {cseq}\r\n{headers}\r\n").as_bytes());
        let response = self.response().expect("a response");
        assert_eq!(response.header("CSeq"), Some(cseq.to_string().as_str()), "{response:?}");
        response
    }

    /// The next response; packets before it are kept. `None` when the server has closed the connection.
    pub fn response(&mut self) -> Option<RtspResponse> {
        loop {
            match self.read(1)?[0] {
                b'$' => {
                    let packet = self.packet_after_mark()?;
                    self.packets.push_back(packet);
                }
                first => {
                    let mut head = vec![first];
                    while !head.ends_with(b"\r\n\r\n") {
                        head.extend(self.read(1)?);
                    }
                    let head = String::from_utf8(head).expect("a head is text");
                    let status = head.split(' ').nth(1).and_then(|status| status.parse().ok());
                    let status = status.unwrap_or_else(|| panic!("no status in {head}"));
                    let mut response = RtspResponse { status, head, body: String::new() };
                    let length = response
                        .header("Content-Length")
                        .map_or(0, |length| length.parse().expect("a length"));
                    response.body = String::from_utf8(self.read(length)?).expect("a body is text");
                    return Some(response);
                }
            }
        }
    }

    /// The next packet and its channel. `None` when the server has closed the connection.
    ///
    /// # Panics
    /// Something else comes.
    pub fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        if let Some(packet) = self.packets.pop_front() {
            return Some(packet);
        }
        assert_eq!(self.read(1)?[0], b'$', "a packet");
        self.packet_after_mark()
    }

    /// Forgets packets that came before the last response.
    pub fn forget(&mut self) {
        self.packets.clear();
    }

    fn packet_after_mark(&mut self) -> Option<(u8, Vec<u8>)> {
        let head = self.read(3)?;
        let length = u16::from_be_bytes([head[1], head[2]]);
        Some((head[0], self.read(length.into())?))
    }

    /// Sets a stream up, with its sound if it has any, and plays it. Returns its description.
    ///
    /// # Panics
    /// The server refuses something.
    pub fn play(&mut self, url: &str) -> String {
        let described = self.ask("DESCRIBE", url, "Accept: application/sdp\r\n").expect(200);
        let base = described.header("Content-Base").expect("an address of the stream").to_owned();
        let mut session = String::new();
        for track in 0..described.body.matches("m=").count() {
            let channels = format!(
                "Transport: RTP/AVP/TCP;unicast;interleaved={}-{}\r\n{session}",
                2 * track,
                2 * track + 1
            );
            session = self.ask("SETUP", &format!("{base}trackID={track}"), &channels).expect(200).session();
        }
        self.ask("PLAY", &base, &session).expect(200);
        described.body
    }

    fn read(&mut self, length: usize) -> Option<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.stream.read_exact(&mut bytes).ok().map(|()| bytes)
    }
}
