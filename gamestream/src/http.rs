//! Requests to hosts: HTTP/1.1 GET, one per connection, plain or over TLS to a host that is known.
//!
//! A request blocks, but never beyond its deadline, however slowly the host answers. Redirects are not followed:
//! hosts have no reason for any.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{CertificateError, ClientConfig, ClientConnection, StreamOwned};

/// Longest head of a response.
const MAX_HEAD: usize = 16 * 1024;
/// Longest body: pictures of apps have some hundred KiB.
pub const MAX_BODY: usize = 4 * 1024 * 1024;

/// Why there is no response.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Its name is unknown, or nothing listens there.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// Where.
        address: String,
        /// Why not.
        reason: String,
    },
    /// It was too slow.
    #[error("{address} has not answered within {} s", after.as_secs())]
    Timeout {
        /// Where.
        address: String,
        /// After how long it was given up.
        after: Duration,
    },
    /// It has another certificate than when we paired.
    #[error(
        "{0} has another certificate than when it was paired: pair again if it was installed anew, else somebody \
         may be in between"
    )]
    CertificateChanged(String),
    /// It answers something that is not HTTP, or too much.
    #[error("{address} answers what cannot be read: {reason}")]
    Malformed {
        /// Where.
        address: String,
        /// What is wrong.
        reason: String,
    },
}

impl Error {
    /// It may be there later.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Name or address.
    pub host: &'a str,
    /// TCP port.
    pub port: u16,
    /// Over TLS, with what [`crate::identity::Identity::tls`] makes.
    pub tls: Option<&'a Arc<ClientConfig>>,
}

/// A response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Hosts say 200 even when they refuse: see [`crate::reply`].
    pub status: u16,
    /// What follows the head.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Asks for `path` (with its query). Gives up after `patience`.
///
/// # Errors
/// [`Error`].
pub fn get(target: &Target<'_>, path: &str, patience: Duration) -> Result<Response, Error> {
    let address = format!("{}:{}", target.host, target.port);
    exchange(target, path, Instant::now() + patience).map_err(|failure| match failure {
        Failure::Io(error) if is_timeout(&error) => Error::Timeout { address, after: patience },
        Failure::Io(error) if is_other_certificate(&error) => Error::CertificateChanged(address),
        Failure::Io(error) => Error::Unreachable { address, reason: error.to_string() },
        Failure::Malformed(reason) => Error::Malformed { address, reason: reason.into() },
    })
}

enum Failure {
    Io(io::Error),
    Malformed(&'static str),
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

fn exchange(target: &Target<'_>, path: &str, until: Instant) -> Result<Response, Failure> {
    let mut stream = connect(target.host, target.port, until)?;
    let request = format!(
        "GET {path} HTTP/1.1\r\nHost: {}:{}\r\nUser-Agent: Oriel\r\nAccept: */*\r\nConnection: close\r\n\r\n",
        target.host, target.port
    );
    match target.tls {
        None => {
            stream.write_all(request.as_bytes())?;
            read_response(&mut stream)
        }
        Some(config) => {
            // No certificate of a host bears its name: it is known as a whole.
            let name = ServerName::try_from("host").map_err(|_| Failure::Malformed("its name"))?;
            let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(request.as_bytes())?;
            stream.flush()?;
            read_response(&mut stream)
        }
    }
}

/// A connection that is given up at its deadline.
pub struct Connection {
    stream: TcpStream,
    until: Instant,
}

/// Connects; tries all addresses that a name has.
///
/// # Errors
/// Those of the system, and `TimedOut` when it is `until`.
pub fn connect(host: &str, port: u16, until: Instant) -> io::Result<Connection> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "it has no address");
    for address in (host, port).to_socket_addrs()? {
        match connect_to(&address, until) {
            Ok(connection) => return Ok(connection),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn connect_to(address: &SocketAddr, until: Instant) -> io::Result<Connection> {
    let stream = TcpStream::connect_timeout(address, left(until)?)?;
    stream.set_nodelay(true)?;
    Ok(Connection { stream, until })
}

fn left(until: Instant) -> io::Result<Duration> {
    match until.saturating_duration_since(Instant::now()) {
        Duration::ZERO => Err(io::ErrorKind::TimedOut.into()),
        left => Ok(left),
    }
}

impl Connection {
    /// Who is at the other end.
    ///
    /// # Errors
    /// When it is not connected any more.
    pub fn peer(&self) -> io::Result<SocketAddr> {
        self.stream.peer_addr()
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(left(self.until)?))?;
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(left(self.until)?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.stream.flush()
    }
}

fn is_timeout(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock)
}

fn is_other_certificate(error: &io::Error) -> bool {
    let tls = error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let other = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    tls.is_some_and(|error| *error == other)
}

/// Reads up to the end of the stream, but no more than `max` bytes. Hosts that end TLS without saying so have
/// ended it all the same: lengths are checked where there are any.
///
/// # Errors
/// Those of the stream.
pub fn read_to_end(stream: &mut impl Read, max: usize) -> io::Result<Vec<u8>> {
    let (mut all, mut buffer) = (Vec::new(), [0; 8192]);
    while all.len() <= max {
        match stream.read(&mut buffer) {
            Ok(0) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !all.is_empty() => break,
            // A host that closes at once may reset the connection after its answer.
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(all)
}

/// What a host has answered, head and body. `None` when it is no answer that can be used.
pub fn parse(answer: &[u8]) -> Option<Response> {
    response(answer).ok()
}

fn read_response(stream: &mut impl Read) -> Result<Response, Failure> {
    response(&read_to_end(stream, MAX_HEAD + MAX_BODY)?)
}

fn response(all: &[u8]) -> Result<Response, Failure> {
    let end = all.windows(4).take(MAX_HEAD).position(|window| window == b"\r\n\r\n");
    let (head, body) = end.map(|end| (&all[..end], &all[end + 4..])).ok_or(Failure::Malformed("no HTTP"))?;
    let head = String::from_utf8_lossy(head);
    let mut lines = head.lines();
    let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
    let status = status.ok_or(Failure::Malformed("no HTTP"))?;
    if (300..400).contains(&status) {
        return Err(Failure::Malformed("a redirect, which is not followed"));
    }
    let header = |name: &str| {
        let headers = head.lines().skip(1).filter_map(|line| line.split_once(':'));
        headers.filter(|(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    };
    let chunked = header("transfer-encoding").is_some_and(|coding| coding.eq_ignore_ascii_case("chunked"));
    let body = match header("content-length") {
        _ if chunked => unchunk(body).ok_or(Failure::Malformed("broken chunks"))?,
        None => body.to_vec(),
        Some(len) => {
            let len = len.parse::<usize>().map_err(|_| Failure::Malformed("its length is no number"))?;
            body.get(..len).ok_or(Failure::Malformed("it ends too early"))?.to_vec()
        }
    };
    if body.len() > MAX_BODY {
        return Err(Failure::Malformed("it is too long"));
    }
    Ok(Response { status, body })
}

fn unchunk(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    loop {
        let line = rest.windows(2).position(|window| window == b"\r\n")?;
        let size = std::str::from_utf8(rest.get(..line)?).ok()?.split(';').next()?.trim();
        let size = usize::from_str_radix(size, 16).ok()?;
        if size == 0 {
            return Some(out);
        }
        let chunk = rest.get(line + 2..)?;
        out.extend_from_slice(chunk.get(..size)?);
        rest = chunk.get(size.checked_add(2)?..)?;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// A host that answers one request by `answer`.
    fn host(answer: impl FnOnce(TcpStream) + Send + 'static) -> u16 {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        std::thread::spawn(move || answer(listener.accept().unwrap().0));
        port
    }

    fn ask(port: u16, patience: Duration) -> Result<Response, Error> {
        get(&Target { host: "127.0.0.1", port, tls: None }, "/x", patience)
    }

    fn says(text: &'static str) -> u16 {
        host(move |mut stream| {
            let mut request = [0; 1024];
            let len = stream.read(&mut request).unwrap();
            assert!(request[..len].starts_with(b"GET /x HTTP/1.1\r\n"));
            stream.write_all(text.as_bytes()).unwrap();
        })
    }

    const LONG: Duration = Duration::from_secs(10);

    #[test]
    fn bodies_end_by_length_by_chunks_or_with_the_connection() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi and more",
            "HTTP/1.0 200 OK\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nh\r\n1;x=y\r\ni\r\n0\r\n\r\n",
        ] {
            assert_eq!(ask(says(text), LONG).unwrap().text(), "hi", "{text}");
        }
    }

    #[test]
    fn what_is_not_http_is_refused() {
        for text in [
            "",
            "hello\r\n\r\n",
            "HTTP/1.1 302 Found\r\nLocation: /x\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nh",
        ] {
            let error = ask(says(text), LONG).unwrap_err();
            assert!(matches!(error, Error::Malformed { .. }), "{text}: {error}");
        }
    }

    #[test]
    fn a_host_that_drips_is_given_up() {
        let port = host(|mut stream| while stream.write_all(b"H").is_ok() {});
        let error = ask(port, Duration::from_millis(300)).unwrap_err();
        assert!(matches!(error, Error::Malformed { .. } | Error::Timeout { .. }), "{error}");
        let port = host(|mut stream| {
            let _ = stream.read_to_end(&mut Vec::new());
        });
        let error = ask(port, Duration::from_millis(100)).unwrap_err();
        assert!(matches!(error, Error::Timeout { .. }), "{error}");
    }

    #[test]
    fn nobody_there_is_unreachable() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        assert!(ask(port, LONG).unwrap_err().is_unreachable());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = response(&bytes);
            let _ = response(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat());
        }
    }
}
