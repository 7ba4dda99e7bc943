//! Requests to hosts: HTTP/1.1 GET, one per connection, plain or over TLS to a host that is known.
//!
//! A response ends where its head says, even if the connection stays open.
//! A request blocks, but never beyond its deadline, however slowly the host answers. Redirects are not followed:
//! hosts have no reason for any.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

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

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The host's name is unknown, or nothing listens there.
    #[error("{address} cannot be reached: {reason}")]
    Unreachable {
        /// The address that was asked.
        address: String,
        /// The error of the system or the host.
        reason: String,
    },
    /// It was too slow.
    #[error("{address} has not answered within {} s", after.as_secs())]
    Timeout {
        /// The address that was asked.
        address: String,
        /// The timeout.
        after: Duration,
    },
    /// It has another certificate than when we paired.
    #[error(
        "{0} has another certificate than when it was paired: pair again if it was installed anew, else somebody \
         may be in between"
    )]
    CertificateChanged(String),
    /// The host aborts or violates the TLS handshake.
    #[error("{address} has not agreed on TLS: {reason}")]
    Tls {
        /// The address that was asked.
        address: String,
        /// In the words of TLS.
        reason: String,
    },
    /// The response is not HTTP, or too long.
    #[error("{address} answers what cannot be read: {reason}")]
    Malformed {
        /// The address that was asked.
        address: String,
        /// A description of what is wrong, for people.
        reason: String,
    },
}

impl Error {
    /// Whether a retry may succeed.
    pub fn is_unreachable(&self) -> bool {
        matches!(self, Self::Unreachable { .. } | Self::Timeout { .. })
    }
}

/// Where a request goes.
#[derive(Debug, Clone)]
pub struct Target<'a> {
    /// Name or address.
    pub host: &'a str,
    /// TCP port of the service.
    pub port: u16,
    /// Over TLS, with a configuration of [`crate::identity::Identity::tls`].
    pub tls: Option<&'a Arc<ClientConfig>>,
}

/// A response of HTTP.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// Hosts say 200 even when they refuse: see [`crate::reply`].
    pub status: u16,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// The body as text.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

/// Requests `path` (with its query). Times out after `patience`.
///
/// # Errors
/// [`Error`].
pub fn get(target: &Target<'_>, path: &str, patience: Duration) -> Result<Response, Error> {
    let address = format!("{}:{}", target.host, target.port);
    exchange(target, path, Instant::now() + patience).map_err(|failure| match failure {
        Failure::Io(error) if is_timeout(&error) => Error::Timeout { address, after: patience },
        Failure::Io(error) if is_other_certificate(&error) => Error::CertificateChanged(address),
        Failure::Io(error) if tls_error(&error).is_some() => {
            Error::Tls { address, reason: error.to_string() }
        }
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
            // No certificate of a host contains its name: the certificate is pinned.
            let name = ServerName::try_from("host").map_err(|_| Failure::Malformed("its name"))?;
            let session = ClientConnection::new(Arc::clone(config), name).map_err(io::Error::other)?;
            let mut stream = StreamOwned::new(session, stream);
            stream.write_all(request.as_bytes())?;
            stream.flush()?;
            read_response(&mut stream)
        }
    }
}

/// A connection with a deadline.
pub struct Connection {
    stream: TcpStream,
    until: Instant,
}

/// Connects; tries all addresses that a name has.
///
/// # Errors
/// Errors of the system, and `TimedOut` at `until`.
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
    /// The address of the other end.
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
    let other = rustls::Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure);
    tls_error(error).is_some_and(|error| *error == other)
}

fn tls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref().and_then(|inner| inner.downcast_ref::<rustls::Error>())
}

/// Reads up to the end of the stream, but no more than `max` bytes. A missing
/// close_notify of TLS counts as the end: lengths are checked where there are any.
///
/// # Errors
/// Errors of the stream.
pub fn read_to_end(stream: &mut impl Read, max: usize) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = [0; 8192];
    while all.len() <= max && read_more(stream, &mut all, &mut buffer)? {}
    Ok(all)
}

/// Appends the next bytes. `false` at the end of the stream.
fn read_more(stream: &mut impl Read, all: &mut Vec<u8>, buffer: &mut [u8]) -> io::Result<bool> {
    match stream.read(buffer) {
        Ok(count) => {
            all.extend_from_slice(&buffer[..count]);
            Ok(count > 0)
        }
        Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof && !all.is_empty() => Ok(false),
        // A host that closes at once may reset the connection after its response.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset && !all.is_empty() => Ok(false),
        Err(error) => Err(error),
    }
}

/// A host's response, head and body. `None` when it cannot be used.
pub fn parse(answer: &[u8]) -> Option<Response> {
    response(answer).ok()
}

/// Reads up to the end of the response, which is not that of the connection: Sunshine 0.23 lets the app that it
/// launches inherit the socket, which stays open for as long as the app runs.
fn read_response(stream: &mut impl Read) -> Result<Response, Failure> {
    let mut all = Vec::new();
    let mut buffer = [0; 8192];
    let mut head = None;
    while all.len() <= MAX_HEAD + MAX_BODY {
        if head.is_none() {
            head = Head::read(&all)?;
        }
        if head.as_ref().is_some_and(|head| head.is_whole(&all)) {
            break;
        }
        if !read_more(stream, &mut all, &mut buffer)? {
            break;
        }
    }
    response(&all)
}

/// Where a body ends (RFC 9112, section 6.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    Length(usize),
    Chunked,
    Connection,
}

/// The head of a response.
struct Head {
    status: u16,
    body_at: usize,
    framing: Framing,
}

impl Head {
    /// `None` while its end has not come.
    fn read(all: &[u8]) -> Result<Option<Self>, Failure> {
        let Some(end) = all.windows(4).take(MAX_HEAD).position(|window| window == b"\r\n\r\n") else {
            let more_may_come = all.len() < MAX_HEAD + 4;
            return if more_may_come { Ok(None) } else { Err(Failure::Malformed("no HTTP")) };
        };
        let head = String::from_utf8_lossy(&all[..end]);
        let mut lines = head.lines();
        let status = lines.next().and_then(|line| line.strip_prefix("HTTP/1.")?.get(2..5)?.parse().ok());
        let status = status.ok_or(Failure::Malformed("no HTTP"))?;
        if (300..400).contains(&status) {
            return Err(Failure::Malformed("a redirect, which is not followed"));
        }
        Ok(Some(Self { status, body_at: end + 4, framing: framing(status, &head)? }))
    }

    /// Nothing that follows belongs to this response.
    fn is_whole(&self, all: &[u8]) -> bool {
        let body = &all[self.body_at..];
        match self.framing {
            Framing::Length(len) => body.len() >= len,
            // Chunks and trailers end with an empty line: only then is it worth to walk through them.
            Framing::Chunked => body.ends_with(b"\r\n\r\n") && unchunk(body).is_some(),
            Framing::Connection => false,
        }
    }
}

fn framing(status: u16, head: &str) -> Result<Framing, Failure> {
    let headers = || head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let values = |name: &'static str| {
        headers().filter(move |(known, _)| known.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    };
    if status == 204 {
        return Ok(Framing::Length(0));
    }
    if values("transfer-encoding").any(|coding| coding.eq_ignore_ascii_case("chunked")) {
        return Ok(Framing::Chunked);
    }
    let mut lengths = values("content-length");
    let Some(length) = lengths.next() else { return Ok(Framing::Connection) };
    if lengths.any(|other| other != length) {
        return Err(Failure::Malformed("it has two lengths"));
    }
    // `parse` would take a sign.
    let digits = length.bytes().all(|byte| byte.is_ascii_digit());
    let length = length.parse::<usize>().ok().filter(|_| digits);
    match length.ok_or(Failure::Malformed("its length is no number"))? {
        length if length > MAX_BODY => Err(Failure::Malformed("it is too long")),
        length => Ok(Framing::Length(length)),
    }
}

fn response(all: &[u8]) -> Result<Response, Failure> {
    let head = Head::read(all)?.ok_or(Failure::Malformed("no HTTP"))?;
    let body = &all[head.body_at..];
    let body = match head.framing {
        Framing::Length(len) => body.get(..len).ok_or(Failure::Malformed("it ends too early"))?.to_vec(),
        Framing::Chunked => unchunk(body).ok_or(Failure::Malformed("broken chunks"))?,
        Framing::Connection => body.to_vec(),
    };
    if body.len() > MAX_BODY {
        return Err(Failure::Malformed("it is too long"));
    }
    Ok(Response { status: head.status, body })
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
    use rustls::pki_types::pem::PemObject;
    use rustls::pki_types::{CertificateDer, PrivateKeyDer};
    use rustls::{HandshakeKind, ServerConfig, ServerConnection};
    use std::net::TcpListener;

    /// A host whose response to one request is `answer`.
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
    fn an_answer_ends_before_its_connection() {
        for text in [
            "HTTP/1.1 200 OK\r\nContent-length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\nA: b\r\n\r\n",
        ] {
            let (done, hold) = std::sync::mpsc::sync_channel::<()>(1);
            let port = host(move |mut stream| {
                let _ = stream.read(&mut [0; 1024]).unwrap();
                stream.write_all(text.as_bytes()).unwrap();
                // Open until the test has the response.
                let _ = hold.recv();
            });
            assert_eq!(ask(port, LONG).unwrap().text(), "hi", "{text}");
            drop(done);
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
            "HTTP/1.1 200 OK\r\nContent-Length: +2\r\n\r\nhi",
            "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nhi",
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

    /// An identity for a host and a client, as any RSA key serves both.
    const CERTIFICATE: &str = include_str!("../../tests/fake-gamestream-host/data/first.cert.pem");
    const KEY: &str = include_str!("../../tests/fake-gamestream-host/data/first.key.pem");

    fn tls() -> Arc<ClientConfig> {
        let host = crate::identity::certificate(CERTIFICATE.as_bytes()).unwrap();
        crate::identity::Identity::from_pem(CERTIFICATE, KEY).unwrap().tls(host).unwrap()
    }

    fn ask_over_tls(port: u16, tls: &Arc<ClientConfig>) -> Result<Response, Error> {
        get(&Target { host: "127.0.0.1", port, tls: Some(tls) }, "/x", LONG)
    }

    #[test]
    fn no_handshake_is_resumed() {
        for version in [&rustls::version::TLS12, &rustls::version::TLS13] {
            let chain = vec![CertificateDer::from_pem_slice(CERTIFICATE.as_bytes()).unwrap()];
            let key = PrivateKeyDer::from_pem_slice(KEY.as_bytes()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let builder = ServerConfig::builder_with_provider(provider).with_protocol_versions(&[version]);
            let config = builder.unwrap().with_no_client_auth().with_single_cert(chain, key).unwrap();
            let config = Arc::new(config);
            let client = tls();
            for _ in 0..3 {
                let config = Arc::clone(&config);
                let (kinds, kind) = std::sync::mpsc::sync_channel(1);
                let port = host(move |stream| {
                    let mut stream = StreamOwned::new(ServerConnection::new(config).unwrap(), stream);
                    let _ = stream.read(&mut [0; 1024]).unwrap();
                    kinds.send(stream.conn.handshake_kind()).unwrap();
                    stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi").unwrap();
                });
                assert_eq!(ask_over_tls(port, &client).unwrap().text(), "hi");
                assert_eq!(kind.recv().unwrap(), Some(HandshakeKind::Full), "{version:?}");
            }
        }
    }

    #[test]
    fn an_alert_is_no_silence() {
        // Fatal, internal_error: sent by OpenSSL to clients that resume where that is not possible.
        let port = host(|mut stream| {
            let _ = stream.read(&mut [0; 4096]).unwrap();
            stream.write_all(&[21, 3, 3, 0, 2, 2, 80]).unwrap();
        });
        let error = ask_over_tls(port, &tls()).unwrap_err();
        assert!(matches!(&error, Error::Tls { reason, .. } if reason.contains("InternalError")), "{error}");
        assert!(!error.is_unreachable());
    }

    proptest! {
        #[test]
        fn no_bytes_panic(bytes in proptest::collection::vec(any::<u8>(), 0..100)) {
            let _ = response(&bytes);
            let _ = response(&[b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", &bytes[..]].concat());
        }
    }
}
