//! The HTTP side: passes everything on to the web-server, changes signalling on its way, and takes the rules.

use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::protocol::Role;

use crate::http::Head;
use crate::link::Counters;
use crate::relay::{self, Observe};
use crate::rules::Rules;
use crate::signaling::{self, FromServer};

/// Longest body of `PUT /netsim/rules`.
const MAX_RULES: usize = 4096;

/// What all connections share.
pub struct Proxy {
    upstream: SocketAddr,
    seed: u64,
    rules: watch::Sender<Rules>,
    counters: Arc<Mutex<Totals>>,
}

/// Of all relays, since the start.
#[derive(Debug, Clone, Copy, Default, serde::Serialize)]
struct Totals {
    relays: u64,
    down: Counters,
    up: Counters,
}

struct Report(Arc<Mutex<Totals>>);

impl Observe for Report {
    fn add(&mut self, down: Counters, up: Counters) {
        let totals = &mut *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (total, more) in [(&mut totals.down, down), (&mut totals.up, up)] {
            total.passed += more.passed;
            total.dropped += more.dropped;
        }
    }
}

impl Proxy {
    /// In front of `upstream`. Links draw from `seed`.
    pub fn new(upstream: SocketAddr, seed: u64) -> Self {
        Self { upstream, seed, rules: watch::Sender::new(Rules::default()), counters: Arc::default() }
    }

    /// Serves for ever.
    pub async fn serve(self: Arc<Self>, listener: TcpListener) -> io::Result<()> {
        loop {
            let (stream, _) = listener.accept().await?;
            let proxy = Arc::clone(&self);
            tokio::spawn(async move {
                if let Err(error) = proxy.connection(stream).await {
                    eprintln!("netsim: {error}");
                }
            });
        }
    }

    async fn connection(&self, mut browser: TcpStream) -> io::Result<()> {
        browser.set_nodelay(true)?;
        let Some(mut head) = Head::read(&mut browser).await? else { return Ok(()) };
        if head.path().starts_with("/netsim/") {
            return self.control(browser, head).await;
        }
        let mut server = TcpStream::connect(self.upstream).await?;
        server.set_nodelay(true)?;
        // The web-server checks by what name it is reached, and from which site.
        head.set("host", Some(&self.upstream.to_string()));
        head.set("origin", None);
        if head.is_websocket() {
            // Compressed messages could not be read.
            head.set("sec-websocket-extensions", None);
            return self.websocket(browser, server, head).await;
        }
        head.set("connection", Some("close"));
        server.write_all(&head.to_bytes()).await?;
        server.write_all(&head.rest).await?;
        let (mut from_browser, mut to_browser) = browser.split();
        let (mut from_server, mut to_server) = server.split();
        // Over when the answer is: a browser may leave its side open.
        tokio::select! {
            result = tokio::io::copy(&mut from_server, &mut to_browser) => result.map(drop),
            Err(error) = tokio::io::copy(&mut from_browser, &mut to_server) => Err(error),
        }
    }

    async fn websocket(
        &self,
        mut browser: TcpStream,
        mut server: TcpStream,
        request: Head,
    ) -> io::Result<()> {
        server.write_all(&request.to_bytes()).await?;
        let answer = Head::read(&mut server).await?.ok_or(io::ErrorKind::UnexpectedEof)?;
        browser.write_all(&answer.to_bytes()).await?;
        if !answer.first.contains(" 101 ") {
            browser.write_all(&answer.rest).await?;
            return tokio::io::copy(&mut server, &mut browser).await.map(drop);
        }
        let mut browser =
            WebSocketStream::from_partially_read(browser, request.rest, Role::Server, None).await;
        let mut server = WebSocketStream::from_partially_read(server, answer.rest, Role::Client, None).await;
        loop {
            let done = tokio::select! {
                message = browser.next() => match message {
                    Some(Ok(Message::Text(text))) => match signaling::from_browser(&text) {
                        Some(text) => server.send(Message::text(text)).await,
                        None => Ok(()),
                    },
                    Some(Ok(message)) => server.send(message).await,
                    Some(Err(_)) | None => return Ok(()),
                },
                message = server.next() => match message {
                    Some(Ok(Message::Text(text))) => match self.changed(&text).await? {
                        Some(text) => browser.send(Message::text(text)).await,
                        None => Ok(()),
                    },
                    Some(Ok(message)) => browser.send(message).await,
                    Some(Err(_)) | None => return Ok(()),
                },
            };
            if done.is_err() {
                return Ok(());
            }
        }
    }

    /// What the browser gets instead of what the server said.
    async fn changed(&self, text: &str) -> io::Result<Option<String>> {
        match signaling::from_server(text) {
            FromServer::Pass => Ok(Some(text.to_owned())),
            FromServer::Drop => Ok(None),
            FromServer::Offer(session) => {
                let report = Report(Arc::clone(&self.counters));
                self.counters.lock().unwrap_or_else(PoisonError::into_inner).relays += 1;
                let places = relay::start(session, self.rules.subscribe(), self.seed, report).await?;
                Ok(Some(signaling::with_relay(text, |address| places.get(&address).copied())))
            }
        }
    }

    /// `GET` and `PUT /netsim/rules`, `GET /netsim/stats`.
    async fn control(&self, mut browser: TcpStream, head: Head) -> io::Result<()> {
        let method = head.first.split(' ').next().unwrap_or_default();
        let (status, body) = match (method, head.path()) {
            ("GET", "/netsim/rules") => ("200 OK", serde_json::to_string(&*self.rules.borrow())?),
            ("GET", "/netsim/stats") => {
                let totals = *self.counters.lock().unwrap_or_else(PoisonError::into_inner);
                ("200 OK", serde_json::to_string(&totals)?)
            }
            ("PUT", "/netsim/rules") => {
                let rules = match body(&mut browser, &head).await? {
                    Some(body) => Rules::parse(&body),
                    None => Err(format!("a body of at most {MAX_RULES} bytes is expected")),
                };
                match rules {
                    Ok(rules) => {
                        self.rules.send_replace(rules);
                        ("200 OK", serde_json::to_string(&rules)?)
                    }
                    Err(error) => ("400 Bad Request", serde_json::json!({"error": error}).to_string()),
                }
            }
            _ => ("404 Not Found", r#"{"error":"no such thing"}"#.to_owned()),
        };
        let length = body.len();
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        browser.write_all(answer.as_bytes()).await
    }
}

/// The body of a request; `None` when its length is not given or too large.
async fn body(browser: &mut TcpStream, head: &Head) -> io::Result<Option<Vec<u8>>> {
    let length = head.get("content-length").and_then(|length| length.parse::<usize>().ok());
    let Some(length) = length.filter(|length| *length <= MAX_RULES) else { return Ok(None) };
    let mut body = head.rest.clone();
    while body.len() < length {
        if browser.read_buf(&mut body).await? == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
    }
    Ok(Some(body))
}
