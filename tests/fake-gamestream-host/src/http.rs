//! As much of HTTP/1.1 as the protocol and the control interface use: one request per connection.

use std::io::{self, Read, Write};

/// Longest request that is read, in bytes; a certificate in hexadecimal has about 3000.
const MAX_REQUEST: usize = 64 * 1024;

/// A request.
#[derive(Debug, Default)]
pub struct Request {
    /// `GET` and so on.
    pub method: String,
    /// Without the query.
    pub path: String,
    /// In order, decoded.
    pub query: Vec<(String, String)>,
    /// What follows the head.
    pub body: String,
}

impl Request {
    /// A parameter of the query.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    /// Reads one.
    ///
    /// # Errors
    /// When the connection ends or what comes is no HTTP.
    pub fn read(stream: &mut impl Read) -> io::Result<Self> {
        let mut bytes = Vec::new();
        let end = loop {
            if let Some(at) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                break at;
            }
            read_more(stream, &mut bytes)?;
        };
        let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
        let mut lines = head.split("\r\n");
        let mut words = lines.next().unwrap_or_default().split(' ');
        let (Some(method), Some(target)) = (words.next(), words.next()) else {
            return Err(io::Error::other("no request line"));
        };
        let length = lines.filter_map(|line| line.split_once(':'));
        let mut length = length.filter(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.next().and_then(|(_, value)| value.trim().parse().ok()).unwrap_or(0);
        while bytes.len() < end + 4 + length {
            read_more(stream, &mut bytes)?;
        }
        let (path, query) = target.split_once('?').unwrap_or((target, ""));
        let pairs = query.split('&').filter(|pair| !pair.is_empty());
        let pairs = pairs.map(|pair| pair.split_once('=').unwrap_or((pair, "")));
        Ok(Self {
            method: method.to_owned(),
            path: path.to_owned(),
            query: pairs.map(|(key, value)| (decoded(key), decoded(value))).collect(),
            body: String::from_utf8_lossy(&bytes[end + 4..]).into_owned(),
        })
    }
}

fn read_more(stream: &mut impl Read, bytes: &mut Vec<u8>) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let count = stream.read(&mut buffer)?;
    bytes.extend_from_slice(&buffer[..count]);
    match count {
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        _ if bytes.len() > MAX_REQUEST => Err(io::Error::other("the request is too long")),
        _ => Ok(()),
    }
}

fn decoded(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail.get(..2).and_then(|digits| std::str::from_utf8(digits).ok());
        match (first, escaped.and_then(|digits| u8::from_str_radix(digits, 16).ok())) {
            (b'%', Some(byte)) => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            (byte, _) => {
                bytes.push(if *byte == b'+' { b' ' } else { *byte });
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Of the status line.
    pub status: u16,
    /// `Content-Type`.
    pub kind: &'static str,
    /// What follows.
    pub body: Vec<u8>,
}

impl Response {
    /// With 200.
    pub fn ok(kind: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self { status: 200, kind, body: body.into() }
    }

    /// Head and body.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut bytes =
            head(self.status, &format!("Content-Type: {}", self.kind), self.body.len()).into_bytes();
        bytes.extend_from_slice(&self.body);
        bytes
    }

    /// Writes it. The connection ends with it.
    ///
    /// # Errors
    /// When the connection has ended before.
    pub fn write(&self, stream: &mut impl Write) -> io::Result<()> {
        stream.write_all(&self.to_bytes())?;
        stream.flush()
    }
}

/// A head with one line of the caller's.
pub fn head(status: u16, line: &str, length: usize) -> String {
    format!("HTTP/1.1 {status} Status\r\n{line}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_read_with_its_query_and_body() {
        let text = "POST /a?x=1&y=a%20b+c&z HTTP/1.1\r\nContent-length: 4\r\n\r\nbody";
        let request = Request::read(&mut text.as_bytes()).unwrap();
        assert_eq!(
            (request.method.as_str(), request.path.as_str(), request.body.as_str()),
            ("POST", "/a", "body")
        );
        assert_eq!(
            ["x", "y", "z", "w"].map(|name| request.parameter(name)),
            [Some("1"), Some("a b c"), Some(""), None]
        );
    }

    #[test]
    fn what_ends_early_is_no_request() {
        assert!(Request::read(&mut "GET / HTTP/1.1\r\n".as_bytes()).is_err());
        assert!(Request::read(&mut vec![b'x'; 100_000].as_slice()).is_err());
    }
}
