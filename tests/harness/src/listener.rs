//! A client of server-sent events (WHATWG HTML §9.2).

use std::io::{BufRead, BufReader, Read, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use serde_json::Value;

use crate::server::Server;
use crate::wait::SOON;

/// A client of server-sent events.
pub struct Listener {
    reader: BufReader<Body>,
    /// `id` of the last event.
    pub last_id: String,
}

/// A line without its end; `None` at the end of the stream.
fn line_of(reader: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    let length = reader.read_line(&mut line).expect("a line in time");
    (length > 0).then(|| line.trim_end_matches(['\r', '\n']).to_owned())
}

/// What follows the head, out of its chunks (RFC 9112, section 7.1).
struct Body {
    stream: BufReader<TcpStream>,
    chunked: bool,
    /// Bytes of the chunk that have not been read.
    left: usize,
    /// The chunk of size zero has come, by which the sender ends it.
    complete: bool,
}

impl Read for Body {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if !self.chunked {
            return self.stream.read(buffer);
        }
        if self.left == 0 {
            // The end of the last chunk is an empty line before the size of the next.
            let size = std::iter::from_fn(|| line_of(&mut self.stream)).find(|line| !line.is_empty());
            self.left =
                size.as_ref().map_or(0, |size| usize::from_str_radix(size, 16).expect("the size of a chunk"));
            if self.left == 0 {
                self.complete |= size.is_some();
                return Ok(0);
            }
        }
        let length = buffer.len().min(self.left);
        let count = self.stream.read(&mut buffer[..length])?;
        self.left -= count;
        Ok(count)
    }
}

/// An event.
#[derive(Debug)]
pub struct Told {
    /// Its name.
    pub event: String,
    /// Its JSON.
    pub data: Value,
}

impl Listener {
    /// Sends a request, and reads the head of its answer: the status.
    ///
    /// # Panics
    /// There is no answer, or not of the type that it should have.
    #[track_caller]
    pub fn ask(server: &Server, path: &str, headers: &[(&str, &str)]) -> (u16, Self) {
        let mut stream = TcpStream::connect(server.address()).expect("what the server sends");
        stream.set_read_timeout(Some(SOON)).expect("what the server sends");
        let mut request =
            format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n", server.address());
        for (name, value) in headers {
            request += &format!("{name}: {value}\r\n");
        }
        stream.write_all((request + "\r\n").as_bytes()).expect("what the server sends");
        let mut stream = BufReader::new(stream);
        let head: Vec<String> =
            std::iter::from_fn(|| line_of(&mut stream)).take_while(|line| !line.is_empty()).collect();
        let chunked = head.iter().any(|line| line.eq_ignore_ascii_case("transfer-encoding: chunked"));
        let body = Body { stream, chunked, left: 0, complete: false };
        let listener = Self { reader: BufReader::new(body), last_id: String::new() };
        let status =
            head[0].split(' ').nth(1).expect("what the server sends").parse().expect("what the server sends");
        let is_stream = head.iter().any(|line| line.eq_ignore_ascii_case("content-type: text/event-stream"));
        assert_eq!(status == 200, is_stream, "{head:?}");
        (status, listener)
    }

    /// Listens.
    ///
    /// # Panics
    /// The server does not let it.
    #[track_caller]
    pub fn open(server: &Server, path: &str, headers: &[(&str, &str)]) -> Self {
        let (status, mut listener) = Self::ask(server, path, headers);
        assert_eq!(status, 200);
        // The server says at once that it is there.
        assert!(listener.line().expect("what the server sends").starts_with(':'));
        listener
    }

    /// A line; `None` at the end.
    pub fn line(&mut self) -> Option<String> {
        line_of(&mut self.reader)
    }

    /// The next event; `None` at the end.
    ///
    /// # Panics
    /// It is not as it should be, or none comes.
    #[track_caller]
    pub fn event(&mut self) -> Option<Told> {
        let mut event = String::new();
        let mut data = String::new();
        let deadline = Instant::now() + SOON;
        loop {
            // Comments come all the time.
            assert!(Instant::now() < deadline, "no event has come");
            let line = self.line()?;
            match line.split_once(": ") {
                Some(("id", id)) => self.last_id = id.to_owned(),
                Some(("event", name)) => event = name.to_owned(),
                Some(("data", text)) => data = text.to_owned(),
                None if line.is_empty() && !data.is_empty() => break,
                _ => {}
            }
        }
        let data: Value = serde_json::from_str(&data).expect("what the server sends");
        assert_eq!(data["type"], event.as_str(), "{data}");
        Some(Told { event, data })
    }

    /// Reads on to an event of this name of which `condition` holds.
    ///
    /// # Panics
    /// None comes.
    #[track_caller]
    pub fn until(&mut self, name: &str, condition: impl Fn(&Value) -> bool) -> Value {
        let deadline = Instant::now() + SOON;
        let mut before = Vec::new();
        while Instant::now() < deadline {
            let told = self.event().unwrap_or_else(|| panic!("it ended before {name}, after {before:?}"));
            if told.event == name && condition(&told.data) {
                return told.data;
            }
            before.push(told);
        }
        panic!("no {name} came, but {before:?}");
    }

    /// All that is left, to the end, where these are no events.
    ///
    /// # Panics
    /// It is no text.
    pub fn text(mut self) -> String {
        let mut text = String::new();
        self.reader.read_to_string(&mut text).expect("a text");
        text
    }

    /// All events that are left, to the end.
    pub fn rest(mut self) -> Vec<String> {
        std::iter::from_fn(|| self.event()).map(|told| told.event).collect()
    }

    /// Reads to the end. Whether the server has ended it, rather than the connection being cut.
    pub fn is_ended(mut self) -> bool {
        while self.event().is_some() {}
        self.reader.get_ref().complete
    }
}
