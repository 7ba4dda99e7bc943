//! As much of HTTP/1.1 as a proxy needs that serves one request on each connection.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt};

/// Longest head of a request or an answer.
const MAX_HEAD: usize = 64 * 1024;

/// First line and header fields, and what has been read behind them.
#[derive(Debug, Clone, PartialEq)]
pub struct Head {
    /// Request or status line.
    pub first: String,
    /// Names as they came, and values.
    pub fields: Vec<(String, String)>,
    /// The beginning of the body.
    pub rest: Vec<u8>,
}

impl Head {
    /// Reads up to the empty line; `None` when the connection ends before anything comes.
    pub async fn read(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Self>> {
        let mut bytes = Vec::new();
        loop {
            if let Some(end) = bytes.windows(4).position(|window| window == b"\r\n\r\n") {
                let rest = bytes.split_off(end + 4);
                return Ok(Some(Self::parse(&bytes[..end], rest)?));
            }
            if bytes.len() > MAX_HEAD {
                return Err(io::Error::other("a head that does not end"));
            }
            match stream.read_buf(&mut bytes).await? {
                0 if bytes.is_empty() => return Ok(None),
                0 => return Err(io::ErrorKind::UnexpectedEof.into()),
                _ => {}
            }
        }
    }

    fn parse(head: &[u8], rest: Vec<u8>) -> io::Result<Self> {
        let text = std::str::from_utf8(head).map_err(io::Error::other)?;
        let mut lines = text.split("\r\n");
        let first = lines.next().unwrap_or_default().to_owned();
        let fields = lines
            .map(|line| line.split_once(':').map(|(name, value)| (name.to_owned(), value.trim().to_owned())))
            .collect::<Option<_>>()
            .ok_or_else(|| io::Error::other("a header field without a colon"))?;
        Ok(Self { first, fields, rest })
    }

    /// Value of a field.
    pub fn get(&self, name: &str) -> Option<&str> {
        let field = self.fields.iter().find(|(other, _)| other.eq_ignore_ascii_case(name));
        field.map(|(_, value)| value.as_str())
    }

    /// Sets a field, or removes it.
    pub fn set(&mut self, name: &str, value: Option<&str>) {
        self.fields.retain(|(other, _)| !other.eq_ignore_ascii_case(name));
        if let Some(value) = value {
            self.fields.push((name.to_owned(), value.to_owned()));
        }
    }

    /// Second word of a request line.
    pub fn path(&self) -> &str {
        self.first.split(' ').nth(1).unwrap_or_default()
    }

    /// It asks for a WebSocket.
    pub fn is_websocket(&self) -> bool {
        self.get("upgrade").is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
    }

    /// As it goes over the wire, without what is behind it.
    pub fn to_bytes(&self) -> Vec<u8> {
        let fields: String = self.fields.iter().map(|(name, value)| format!("{name}: {value}\r\n")).collect();
        format!("{}\r\n{fields}\r\n", self.first).into_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_head_is_read_changed_and_written() {
        let mut input = &b"GET /x HTTP/1.1\r\nHost: a\r\nUpgrade: WebSocket\r\n\r\nbody"[..];
        let mut head = Head::read(&mut input).await.unwrap().unwrap();
        assert_eq!((head.path(), head.is_websocket(), head.rest.as_slice()), ("/x", true, &b"body"[..]));
        head.set("host", Some("b"));
        head.set("upgrade", None);
        assert_eq!(head.to_bytes(), b"GET /x HTTP/1.1\r\nhost: b\r\n\r\n");
    }

    #[tokio::test]
    async fn what_is_no_head_is_an_error() {
        assert_eq!(Head::read(&mut &b""[..]).await.unwrap(), None);
        assert!(Head::read(&mut &b"GET /"[..]).await.is_err());
        assert!(Head::read(&mut &b"GET / HTTP/1.1\r\nnonsense\r\n\r\n"[..]).await.is_err());
        assert!(Head::read(&mut vec![b'x'; 2 * MAX_HEAD].as_slice()).await.is_err());
    }
}
