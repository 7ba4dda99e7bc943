//! Requests that another node serves: sent to it by HTTP as they came, and its responses back, bodies and WebSockets included.
//!
//! One connection for each request; nothing is collected, so a body is as long as both ends allow, and who reads slowly slows down
//! whoever sends. What names the client to the other node is the pass ([`super::pass`]). A request with a pass is never forwarded again.

use std::io;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::{BodyStream, SizedStream};
use actix_web::dev::Payload;
use actix_web::http::StatusCode;
use actix_web::http::header::{self as ours, HeaderName, HeaderValue};
use actix_web::{HttpRequest, HttpResponse, HttpResponseBuilder};
use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use http_body_util::{BodyExt as _, Either, Empty, StreamBody};
use hyper::body::{Frame, Incoming};
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, ServerName};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::{sleep_until, timeout};
use tokio_rustls::TlsConnector;

use super::member::now;
use super::pass::{self, Pass};
use super::{Cluster, Error, lock};

/// Nodes are near each other.
const CONNECT_DEADLINE: Duration = Duration::from_secs(2);
/// A `POST` that waits until the source runs takes longest.
const RESPONSE_DEADLINE: Duration = Duration::from_secs(90);
/// A node that is lost may still be reached, as it is NATS that it has lost: then it answers within this time.
const LOST_DEADLINE: Duration = Duration::from_secs(5);
/// What is read of a WebSocket at once, bytes.
const CHUNK: usize = 16 * 1024;

/// Of one connection alone (RFC 9110 §7.6.1), or said anew by us.
const NOT_FORWARDED: [&str; 17] = [
    "connection",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
    "expect",
    "host",
    "origin",
    "forwarded",
    "via",
    "x-forwarded-for",
    "x-forwarded-host",
    "x-forwarded-proto",
    "x-real-ip",
    pass::HEADER,
];

type Body = Either<StreamBody<Pin<Box<dyn Stream<Item = io::Result<Frame<Bytes>>>>>>, Empty<Bytes>>;

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// How nodes with `https://` are trusted: by the certificates of the system, and those in `ca`.
pub(super) fn tls(ca: Option<&Path>) -> io::Result<TlsConnector> {
    let mut roots = rustls::RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if let Some(path) = ca {
        let named = |error: &dyn std::fmt::Display| io::Error::other(format!("{}: {error}", path.display()));
        for certificate in CertificateDer::pem_file_iter(path).map_err(|error| named(&error))? {
            let certificate = certificate.map_err(|error| named(&error))?;
            roots.add(certificate).map_err(|error| named(&error))?;
        }
    }
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
    let config = config.map_err(io::Error::other)?.with_root_certificates(roots).with_no_client_auth();
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A request to be forwarded.
pub struct Forwarded<'a> {
    /// As it came.
    pub request: &'a HttpRequest,
    /// Its body.
    pub payload: Payload,
    /// Path and query, without our base path.
    pub path: &'a str,
    /// Our base path, for the client.
    pub base: &'a str,
    /// Who asks.
    pub pass: Pass,
    /// Since 1970.
    pub now_ms: i64,
}

impl Cluster {
    /// Has another node serve a request.
    ///
    /// # Errors
    /// It cannot be reached, or does not answer in time: at the latest when it is lost, with some patience.
    pub async fn forward(&self, to: &str, forwarded: Forwarded<'_>) -> Result<HttpResponse, Error> {
        let advertise = lock(&self.0.directory).advertise(to).map(str::to_owned);
        let advertise = advertise.ok_or_else(|| failed(to, &"it has not been heard of"))?;
        let uri: hyper::Uri = advertise.parse().map_err(|error| failed(to, &error))?;
        let io = timeout(CONNECT_DEADLINE, self.connect(&uri)).await;
        let slow = |limit: Duration| Error::Slow { node: to.to_owned(), seconds: limit.as_secs() };
        let io = io.map_err(|_| slow(CONNECT_DEADLINE))?.map_err(|error| failed(to, &error))?;
        let handshake = hyper::client::conn::http1::handshake::<_, Body>(TokioIo::new(io)).await;
        let (mut sender, connection) = handshake.map_err(|error| failed(to, &error))?;
        actix_web::rt::spawn(async move {
            if let Err(error) = connection.with_upgrades().await {
                tracing::debug!(%error, "a connection to another node ended");
            }
        });
        let base = uri.path().trim_end_matches('/').to_owned();
        let authority = uri.authority().map(ToString::to_string).unwrap_or_default();
        let websocket = forwarded.request.headers().contains_key(ours::UPGRADE);
        let ours_base = forwarded.base.to_owned();
        let (request, payload) =
            self.request(to, &base, &authority, forwarded).map_err(|error| failed(to, &error))?;
        let response = tokio::select! {
            response = timeout(RESPONSE_DEADLINE, sender.send_request(request)) => response,
            () = self.given_up(to) => return Err(failed(to, &"it is lost, and does not answer")),
        };
        let response = response.map_err(|_| slow(RESPONSE_DEADLINE))?.map_err(|error| failed(to, &error))?;
        match response.status() {
            hyper::StatusCode::SWITCHING_PROTOCOLS if websocket => {
                upgraded(response, payload.unwrap_or(Payload::None)).await.map_err(|error| failed(to, &error))
            }
            _ => Ok(answer(response, &base, &ours_base)),
        }
    }

    /// Waits until there is no point in waiting for a node any longer.
    async fn given_up(&self, node: &str) {
        let mut until = now() + LOST_DEADLINE;
        loop {
            sleep_until(until.into()).await;
            let expiry = lock(&self.0.directory).expiry(node);
            // While NATS is away nobody is heard of.
            until = match expiry {
                Some(expiry) if expiry > now() => expiry,
                Some(_) if self.is_connected() => return,
                _ => now() + LOST_DEADLINE,
            };
        }
    }

    async fn connect(&self, uri: &hyper::Uri) -> io::Result<Box<dyn Io>> {
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let secure = uri.scheme_str() == Some("https");
        let port = uri.port_u16().unwrap_or(if secure { 443 } else { 80 });
        let stream = TcpStream::connect((host, port)).await?;
        stream.set_nodelay(true)?;
        if !secure {
            return Ok(Box::new(stream));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        Ok(Box::new(self.0.tls.connect(name, stream).await?))
    }

    /// The request as the other node gets it; and the payload again where it is a WebSocket's.
    fn request(
        &self,
        to: &str,
        base: &str,
        authority: &str,
        forwarded: Forwarded<'_>,
    ) -> Result<(hyper::Request<Body>, Option<Payload>), hyper::http::Error> {
        let Forwarded { request, payload, path, pass, now_ms, .. } = forwarded;
        let method = request.method().as_str();
        let covered = pass::Request { method, path, to };
        let nonce = getrandom::u64().unwrap_or_default();
        let shown = pass::sign(&self.0.keys.requests, covered, &pass, nonce, now_ms);
        let mut builder = hyper::Request::builder().method(method).uri(format!("{base}{path}"));
        builder = builder.header("host", authority).header(pass::HEADER, shown);
        for (name, value) in request.headers() {
            if !NOT_FORWARDED.contains(&name.as_str()) {
                builder = builder.header(name.as_str(), value.as_bytes());
            }
        }
        if let Some(protocol) = request.headers().get(ours::UPGRADE) {
            builder = builder.header("connection", "upgrade").header("upgrade", protocol.as_bytes());
            return Ok((builder.body(Either::Right(Empty::new()))?, Some(payload)));
        }
        let headers = request.headers();
        let body =
            headers.contains_key(ours::CONTENT_LENGTH) || headers.contains_key(ours::TRANSFER_ENCODING);
        let body = match body {
            true => {
                let frames = payload
                    .map(|part| part.map(Frame::data).map_err(|error| io::Error::other(error.to_string())));
                Either::Left(StreamBody::new(Box::pin(frames) as Pin<Box<dyn Stream<Item = _>>>))
            }
            false => Either::Right(Empty::new()),
        };
        Ok((builder.body(body)?, None))
    }
}

fn failed(node: &str, why: &dyn std::fmt::Display) -> Error {
    Error::Node { node: node.to_owned(), why: why.to_string() }
}

fn builder(response: &hyper::Response<Incoming>) -> HttpResponseBuilder {
    let status = StatusCode::from_u16(response.status().as_u16()).unwrap_or(StatusCode::BAD_GATEWAY);
    let mut builder = HttpResponse::build(status);
    for (name, value) in response.headers() {
        let name = name.as_str();
        if NOT_FORWARDED.contains(&name) || name == "content-length" || name == "date" {
            continue;
        }
        if let (Ok(name), Ok(value)) = (HeaderName::try_from(name), HeaderValue::from_bytes(value.as_bytes()))
        {
            builder.append_header((name, value));
        }
    }
    builder
}

/// The response of the other node, as ours. `base`: its base path, in place of which a `Location` gets `ours_base`.
fn answer(response: hyper::Response<Incoming>, base: &str, ours_base: &str) -> HttpResponse {
    let mut builder = builder(&response);
    let location = response.headers().get("location").and_then(|value| value.to_str().ok());
    if let Some(path) =
        location.and_then(|location| location.strip_prefix(base)).filter(|path| path.starts_with('/'))
    {
        builder.insert_header((ours::LOCATION, format!("{ours_base}{path}")));
    }
    let length = response.headers().get("content-length").and_then(|value| value.to_str().ok()?.parse().ok());
    let bodiless = matches!(response.status().as_u16(), 204 | 304);
    let parts = response.into_body().into_data_stream();
    match length {
        _ if bodiless => builder.finish(),
        Some(length) => builder.body(SizedStream::new(length, parts)),
        None => builder.body(BodyStream::new(parts)),
    }
}

/// Both directions of a WebSocket, as bytes: neither end notices that there are two connections.
async fn upgraded(
    mut response: hyper::Response<Incoming>,
    mut payload: Payload,
) -> Result<HttpResponse, hyper::Error> {
    let mut builder = builder(&response);
    let upgraded = hyper::upgrade::on(&mut response).await?;
    let (from_node, mut to_node) = tokio::io::split(TokioIo::new(upgraded));
    actix_web::rt::spawn(async move {
        while let Some(Ok(part)) = payload.next().await {
            if to_node.write_all(&part).await.is_err() {
                return;
            }
        }
        // The client is gone: the other node learns it.
        let _ = to_node.shutdown().await;
    });
    let parts = stream::unfold(Some((from_node, vec![0; CHUNK])), |state| async move {
        let (mut from_node, mut chunk) = state?;
        match from_node.read(&mut chunk).await {
            Ok(0) => None,
            Ok(len) => {
                let part = Bytes::copy_from_slice(&chunk[..len]);
                Some((Ok::<_, io::Error>(part), Some((from_node, chunk))))
            }
            Err(error) => Some((Err(error), None)),
        }
    });
    Ok(builder.upgrade("websocket").body(BodyStream::new(Box::pin(parts))))
}
