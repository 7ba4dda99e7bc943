//! Requests to a server. The one place that knows HTTP.

use std::fmt;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use common::api::Problem;
use common::event::StreamerEvent;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use ureq::http::{Request, Response, Uri, header};
use ureq::tls::{PemItem, RootCerts, TlsConfig, parse_pem};
use ureq::{Agent, AsSendBody, Body};

use crate::failure::Failure;

/// Time to reach a server.
const CONNECT: Duration = Duration::from_secs(10);
/// Longest silence in a stream of events; the server sends a comment every 5 s.
const SILENCE: Duration = Duration::from_secs(20);
/// Longest response, bytes: a snapshot of the largest desktop, and room.
const MAX_RESPONSE: u64 = 64 << 20;
/// Longest line in a stream of events, bytes.
const MAX_LINE: u64 = 1 << 20;

/// The address of a server: scheme, host, and its base path if it has one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Base(String);

impl Base {
    /// An address without a slash at its end.
    ///
    /// # Errors
    /// It is none of `http` or `https`, or holds more than host, port and path.
    pub fn parse(text: &str) -> Result<Self, String> {
        let wrong = |what: &str| Err(format!("{what}; write it as https://host:port or https://host/path"));
        let Ok(uri) = text.parse::<Uri>() else { return wrong("this is no URL") };
        let Some(authority) = uri.authority().filter(|authority| !authority.host().is_empty()) else {
            return wrong("the URL has no host");
        };
        if !matches!(uri.scheme_str(), Some("http" | "https")) {
            return wrong("the URL must begin with http:// or https://");
        }
        // Not shown: it may be a password.
        if authority.as_str().contains('@') {
            return wrong("the URL has a user in it, which Oriel does not know");
        }
        if uri.query().is_some() || text.contains('#') {
            return wrong("the URL has a query or a fragment");
        }
        Ok(Self(text.trim_end_matches('/').to_owned()))
    }

    /// The URL of a path, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{}{path}", self.0)
    }
}

impl TryFrom<String> for Base {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        Self::parse(&text)
    }
}

impl From<Base> for String {
    fn from(base: Base) -> String {
        base.0
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A server, and how to be let in.
#[derive(Clone)]
pub struct Target {
    /// Its address.
    pub base: Base,
    /// Sent with every request.
    pub token: Option<String>,
    /// Trusted in place of the usual authorities.
    pub ca_file: Option<PathBuf>,
}

/// A connection to one server.
pub struct Client {
    target: Target,
    agent: Agent,
    timeout: Duration,
}

/// A successful response.
pub struct Answer {
    url: String,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as one of the API's.
    ///
    /// # Errors
    /// It is something else.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::Unreadable { url: self.url.clone(), reason: error.to_string() })
    }
}

impl Client {
    /// For requests that take at most `timeout`.
    ///
    /// # Errors
    /// The certificates to trust cannot be read.
    pub fn new(target: Target, timeout: Duration) -> Result<Self, Failure> {
        let roots = match &target.ca_file {
            Some(file) => certificates(file)?,
            None => RootCerts::WebPki,
        };
        let config = Agent::config_builder()
            .http_status_as_error(false)
            // A token is for the server that it was given for.
            .max_redirects(0)
            .max_redirects_will_error(false)
            .timeout_connect(Some(CONNECT))
            .user_agent(concat!("oriel/", env!("CARGO_PKG_VERSION")))
            .tls_config(TlsConfig::builder().root_certs(roots).build());
        Ok(Self { target, agent: config.build().into(), timeout })
    }

    /// The server's address.
    pub fn base(&self) -> &Base {
        &self.target.base
    }

    /// `GET`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn get(&self, path: &str) -> Result<Answer, Failure> {
        self.send("GET", path, None)
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn delete(&self, path: &str) -> Result<Answer, Failure> {
        self.send("DELETE", path, None)
    }

    /// A request with a body of JSON.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn json(&self, method: &str, path: &str, body: &impl Serialize) -> Result<Answer, Failure> {
        let body = serde_json::to_vec(body).map_err(|error| Failure::Other(error.to_string()))?;
        self.send(method, path, Some(("application/json", body)))
    }

    /// A request with or without a body, and its media type.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn send(&self, method: &str, path: &str, body: Option<(&str, Vec<u8>)>) -> Result<Answer, Failure> {
        self.send_with(method, path, &[], body)
    }

    /// The same with further headers.
    ///
    /// # Errors
    /// See [`Failure`].
    pub fn send_with(
        &self,
        method: &str,
        path: &str,
        headers: &[(header::HeaderName, String)],
        body: Option<(&str, Vec<u8>)>,
    ) -> Result<Answer, Failure> {
        let url = self.target.base.join(path);
        let request = self.request(method, &url);
        let request = headers.iter().fold(request, |request, (name, value)| request.header(name, value));
        let mut response = match body {
            Some((kind, bytes)) => self.run(request.header(header::CONTENT_TYPE, kind).body(bytes))?,
            None => self.run(request.body(()))?,
        };
        let status = response.status();
        let body = self.body(&mut response)?;
        if status.is_success() { Ok(Answer { url, body }) } else { Err(refused(url, status.as_u16(), &body)) }
    }

    /// `GET` of a file of whatever length, which is written to `into`. It may take as long as something of it comes.
    ///
    /// # Errors
    /// See [`Failure`]; it is no file, or cannot be written.
    pub fn download(&self, path: &str, into: &mut dyn Write) -> Result<(), Failure> {
        let url = self.target.base.join(path);
        let request = self.request("GET", &url).body(()).map_err(|_| self.no_header())?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(self.timeout)).build();
        let mut response: Response<Body> = self.agent.run(request).map_err(|error| self.failed(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(url, status.as_u16(), &self.body(&mut response)?));
        }
        if !response.headers().contains_key(header::CONTENT_DISPOSITION) {
            return Err(Failure::Usage("this is a directory: copy it with --zip".into()));
        }
        let expected = response.body().content_length();
        let written = std::io::copy(&mut response.into_body().into_reader(), into)?;
        match expected {
            Some(expected) if expected != written => {
                Err(Failure::Unreadable { url, reason: format!("{written} of {expected} bytes came") })
            }
            _ => Ok(()),
        }
    }

    /// Events, as they happen, until `each` returns false or the server ends the stream: then `Ok(false)` or `Ok(true)`.
    /// `last` is the id of the last event that was seen.
    ///
    /// # Errors
    /// See [`Failure`]; those of `each` as well.
    pub fn events(
        &self,
        path: &str,
        last: &mut Option<String>,
        each: &mut dyn FnMut(&Event) -> Result<bool, Failure>,
    ) -> Result<bool, Failure> {
        let url = self.target.base.join(path);
        let mut request = self.request("GET", &url).header(header::ACCEPT, "text/event-stream");
        if let Some(last) = last.as_deref() {
            request = request.header("Last-Event-ID", last);
        }
        let request = request.body(()).map_err(|_| self.no_header())?;
        let request = self.agent.configure_request(request).timeout_per_read(Some(SILENCE)).build();
        let mut response: Response<Body> = self.agent.run(request).map_err(|error| self.failed(error))?;
        let status = response.status();
        if !status.is_success() {
            return Err(refused(url, status.as_u16(), &self.body(&mut response)?));
        }
        let mut reader = BufReader::new(response.into_body().into_reader());
        let mut event = Event::default();
        loop {
            let mut line = Vec::new();
            match reader.by_ref().take(MAX_LINE).read_until(b'\n', &mut line) {
                // A connection that breaks is one that ends: what is missed can be asked for.
                Ok(0) | Err(_) => return Ok(true),
                Ok(_) if line.last() != Some(&b'\n') => {
                    let reason = "the stream of events ends within a line".into();
                    return Err(Failure::Unreadable { url, reason });
                }
                Ok(_) => {}
            }
            let line = String::from_utf8_lossy(&line);
            if !event.take(line.trim_end_matches(['\r', '\n'])) {
                continue;
            }
            let complete = std::mem::take(&mut event);
            if complete.id.is_some() {
                last.clone_from(&complete.id);
            }
            if !complete.data.is_empty() && !each(&complete)? {
                return Ok(false);
            }
        }
    }

    /// Sends a request, whose response must come in time.
    fn run(
        &self,
        request: Result<Request<impl AsSendBody>, ureq::http::Error>,
    ) -> Result<Response<Body>, Failure> {
        let request = request.map_err(|_| self.no_header())?;
        let request = self.agent.configure_request(request).timeout_global(Some(self.timeout)).build();
        self.agent.run(request).map_err(|error| self.failed(error))
    }

    /// All of a response's body.
    fn body(&self, response: &mut Response<Body>) -> Result<Vec<u8>, Failure> {
        let body = response.body_mut().with_config().limit(MAX_RESPONSE).read_to_vec();
        body.map_err(|error| self.failed(error))
    }

    fn request(&self, method: &str, url: &str) -> ureq::http::request::Builder {
        let request = Request::builder().method(method).uri(url);
        match &self.target.token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        }
    }

    /// What the crate `http` refuses is never shown: it may be the token.
    fn no_header(&self) -> Failure {
        Failure::Usage(
            "the token has characters that cannot be sent, or the address has; a token is one line of printable ASCII".into(),
        )
    }

    fn failed(&self, error: ureq::Error) -> Failure {
        let server = self.target.base.to_string();
        match error {
            ureq::Error::Timeout(ureq::Timeout::Connect | ureq::Timeout::Resolve) => Failure::Unreachable {
                server,
                reason: format!("no connection within {} s", CONNECT.as_secs()),
            },
            ureq::Error::Timeout(_) => {
                Failure::TimedOut(format!("{server} has not answered in time (--timeout)"))
            }
            ureq::Error::BodyExceedsLimit(_) => {
                Failure::Unreadable { url: server, reason: format!("more than {MAX_RESPONSE} bytes") }
            }
            ureq::Error::Http(_) | ureq::Error::BadUri(_) => self.no_header(),
            other => Failure::Unreachable { server, reason: other.to_string() },
        }
    }
}

fn refused(url: String, status: u16, body: &[u8]) -> Failure {
    match serde_json::from_slice::<Problem>(body) {
        Ok(problem) => Failure::Refused(Box::new(problem)),
        Err(_) => Failure::Foreign { url, status },
    }
}

fn certificates(file: &Path) -> Result<RootCerts, Failure> {
    let pem = std::fs::read(file).map_err(|error| Failure::file(file, error))?;
    let mut found = Vec::new();
    for item in parse_pem(&pem) {
        match item {
            Ok(PemItem::Certificate(certificate)) => found.push(certificate),
            Ok(_) => {}
            Err(error) => return Err(Failure::Usage(format!("{}: {error}", file.display()))),
        }
    }
    if found.is_empty() {
        return Err(Failure::Usage(format!("{} has no certificate in it (PEM)", file.display())));
    }
    Ok(RootCerts::from(found))
}

/// One event of a stream (WHATWG HTML §9.2.6).
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Event {
    /// Its id, to go on after it.
    pub id: Option<String>,
    /// What kind it is.
    pub kind: String,
    /// JSON.
    pub data: String,
}

impl Event {
    /// Takes a line; true when the event is complete.
    fn take(&mut self, line: &str) -> bool {
        if line.is_empty() {
            return true;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "id" => self.id = Some(value.to_owned()),
            "event" => value.clone_into(&mut self.kind),
            "data" => {
                if !self.data.is_empty() {
                    self.data.push('\n');
                }
                self.data += value;
            }
            // A comment, `retry`, or a field of a later version.
            _ => {}
        }
        false
    }

    /// What happened, if it is of a kind that this program knows.
    pub fn known(&self) -> Option<StreamerEvent> {
        serde_json::from_str(&self.data).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_checked_and_joined() {
        for (text, expected) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/api"),
            ("https://example.org/", "https://example.org/api"),
            ("https://example.org/oriel//", "https://example.org/oriel/api"),
            ("http://[::1]:80", "http://[::1]:80/api"),
        ] {
            assert_eq!(Base::parse(text).unwrap().join("/api"), expected);
        }
        for text in [
            "",
            "example.org",
            "/api",
            "ftp://a",
            "http://",
            "http://u:s3cret@a/",
            "http://a/?q",
            "http://a/#f",
        ] {
            let error = Base::parse(text).unwrap_err();
            assert!(!error.contains("s3cret"), "{error}");
        }
    }

    #[test]
    fn events_are_put_together_from_lines() {
        let mut event = Event::default();
        for line in
            [": comment", "retry: 1000", "id: a-1", "event: state", "data: {\"a\":1,", "data:\"b\":2}"]
        {
            assert!(!event.take(line), "{line}");
        }
        assert!(event.take(""));
        let data = "{\"a\":1,\n\"b\":2}".into();
        assert_eq!(event, Event { id: Some("a-1".into()), kind: "state".into(), data });
    }

    #[test]
    fn what_is_no_problem_is_foreign() {
        let failure = refused("http://a/api".into(), 502, b"<html>");
        assert_eq!(
            failure.to_string(),
            "http://a/api answered 502, which is no answer of Oriel's API; is the address right?"
        );
        assert_eq!(refused(String::new(), 404, b"").exit_code(), 3);
    }
}
