//! `/api/events` and `/api/streamers/{id}/events`: server-sent events (WHATWG HTML §9.2).

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use actix_web::http::{Method, header};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse, web};
use common::event::{EventData, Gap, MISSED};
use common::id::TokenId;
use futures_util::stream;
use serde::Serialize;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;

use crate::auth::{Auth, Right};
use crate::http::extract::Id;
use crate::http::problem::ApiError;
use crate::http::site::Caller;
use crate::registry::Handle;
use crate::registry::events::{After, Interest, Latest, Page, Whose};

/// Admins that listen at the same time.
const MOST_ADMINS: usize = 64;
/// Others that listen at the same time; apart from admins, so that they cannot keep those out.
const MOST_OTHERS: usize = 256;
/// A comment is sent after so long without an event, so that neither an end nor a proxy takes the connection for dead, and a listener that has
/// gone without a word is noticed: by the second comment, the first of which its system refuses.
const HEARTBEAT: Duration = Duration::from_secs(5);
/// Delay before a client reconnects, ms.
const RETRY_MS: u32 = 1000;

/// Limits the number of listeners.
#[derive(Debug, Clone)]
pub struct Listeners {
    admins: Arc<Semaphore>,
    others: Arc<Semaphore>,
}

impl Default for Listeners {
    fn default() -> Self {
        Self { admins: Semaphore::new(MOST_ADMINS).into(), others: Semaphore::new(MOST_OTHERS).into() }
    }
}

impl Listeners {
    fn enter(&self, right: &Right) -> Result<OwnedSemaphorePermit, ApiError> {
        let (places, max) = match right {
            Right::Admin => (&self.admins, MOST_ADMINS),
            Right::Streamer { .. } | Right::Nobody => (&self.others, MOST_OTHERS),
        };
        Arc::clone(places).try_acquire_owned().map_err(|_| ApiError::TooManyListeners { max })
    }
}

/// Listen to the events of all streamers, also of those at other nodes of a cluster.
///
/// Server-sent events: `event` is the type, `data` the JSON of an `EventData`, `id` is for `Last-Event-ID` when a client reconnects. `missed` is sent
/// in place of events that are lost; the client has to get the present state then. Comments are sent while there are no events.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/events", tag = "streamers", operation_id = "listen_to_all",
    params(("Last-Event-ID" = Option<String>, Header, description = "`id` of the last event that was received")),
    responses((status = 200, description = "Events, until the client leaves or the server ends", content(
        (EventData = "text/event-stream"),
    ))),
)]
pub async fn all(
    request: HttpRequest,
    caller: Caller,
    registry: web::Data<Handle>,
    auth: web::Data<Auth>,
    listeners: web::Data<Listeners>,
) -> Result<HttpResponse, ApiError> {
    let right = caller.right?;
    let interest = Interest { of: None, role: right.role(), whose: Whose::All };
    listen(&request, &right, interest, registry, auth, &listeners).await
}

/// Listen to the events of one streamer.
///
/// The same for one streamer. Events of windows and the clipboard are for controllers. The stream ends after `deleted`.
///
/// # Errors
/// See [`ApiError`].
#[utoipa::path(
    get, path = "/api/streamers/{id}/events", tag = "streamers", operation_id = "listen_to_one",
    params(
        ("id" = String, Path, description = "Its name"),
        ("Last-Event-ID" = Option<String>, Header, description = "`id` of the last event that was received"),
    ),
    responses((status = 200, description = "Events, until the streamer is gone, the client leaves or the server ends", content(
        (EventData = "text/event-stream"),
    ))),
)]
pub async fn of_one(
    request: HttpRequest,
    id: Id,
    caller: Caller,
    registry: web::Data<Handle>,
    auth: web::Data<Auth>,
    listeners: web::Data<Listeners>,
) -> Result<HttpResponse, ApiError> {
    registry.get(&id.0).await?;
    let right = caller.right?;
    let interest = Interest { of: Some(id.0), role: right.role(), whose: Whose::All };
    listen(&request, &right, interest, registry, auth, &listeners).await
}

async fn listen(
    request: &HttpRequest,
    right: &Right,
    interest: Interest,
    registry: web::Data<Handle>,
    auth: web::Data<Auth>,
    listeners: &Listeners,
) -> Result<HttpResponse, ApiError> {
    let last = request.headers().get("last-event-id").map(|value| value.to_str().unwrap_or_default());
    let after = match last {
        None => After::Now,
        Some(text) => text.parse().map_or(After::Unknown, After::Position),
    };
    let mut response = HttpResponse::Ok();
    response
        .content_type("text/event-stream")
        .insert_header((header::CACHE_CONTROL, "no-store"))
        // nginx would keep events back until it has a bufferful.
        .insert_header(("x-accel-buffering", "no"));
    if request.method() == Method::HEAD {
        return Ok(response.finish());
    }
    let permit = listeners.enter(right)?;
    let latest = registry.latest_event();
    // Before the head of the response is sent: what happens after that is told.
    let page = registry.events(after, interest.clone()).await?;
    let listener = Listener {
        registry,
        auth,
        token: right.token(),
        is_admin: *right == Right::Admin,
        interest,
        latest,
        last: page,
        state: State::New,
        _permit: permit,
    };
    Ok(response.streaming(stream::unfold(listener, |mut listener| async move {
        let chunk = listener.next().await?;
        Some((Ok::<_, actix_web::Error>(chunk), listener))
    })))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Nothing was sent yet.
    New,
    /// The last page was sent.
    Sent,
    /// The stream has ended.
    Over,
}

/// A listener. It reads the next events when its client has taken the last ones.
struct Listener {
    registry: web::Data<Handle>,
    auth: web::Data<Auth>,
    token: Option<TokenId>,
    is_admin: bool,
    interest: Interest,
    latest: watch::Receiver<Latest>,
    last: Page,
    state: State,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    /// What to send next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        match self.state {
            State::Over => return None,
            State::New => {
                let begin = format!(": what happens from here on\nretry: {RETRY_MS}\n\n");
                return Some(self.sent(begin));
            }
            State::Sent => {}
        }
        loop {
            // Before the page is read, or what comes in between would wake nobody.
            if self.latest.borrow_and_update().closing || self.auth.is_revoked(self.token) {
                return None;
            }
            let after = After::Position(self.last.next);
            self.last = self.registry.events(after, self.interest.clone()).await.ok()?;
            if self.last.missed || !self.last.events.is_empty() {
                return Some(self.sent(String::new()));
            }
            if self.last.over {
                return None;
            }
            tokio::select! {
                changed = self.latest.changed() => changed.ok()?,
                () = self.auth.revoked(self.token) => return None,
                // With the position, so that who comes back later need not go through what was not for it.
                () = sleep(HEARTBEAT) => return Some(format!(": nothing new\nid: {}\n\n", self.last.next).into()),
            }
        }
    }

    /// `begin`, and the last page.
    fn sent(&mut self, mut begin: String) -> Bytes {
        self.state = if self.last.over && !self.last.more { State::Over } else { State::Sent };
        write_page(&mut begin, &self.last, self.is_admin);
        begin.into()
    }
}

/// Writes a page as it is sent to an admin, or to somebody else.
fn write_page(text: &mut String, page: &Page, is_admin: bool) {
    let text_only = "a String takes all that is written";
    if page.missed {
        // The first of what follows, or what is next: who comes back with this id has been told.
        let gap = json(&Gap::Missed);
        write!(text, "event: {MISSED}\ndata: {gap}\n\n").expect(text_only);
    }
    for (position, event) in &page.events {
        let data = if is_admin { json(&**event) } else { json(&event.without_addresses()) };
        write!(text, "id: {position}\nevent: {}\ndata: {data}\n\n", event.what.name()).expect(text_only);
    }
    if page.events.is_empty() {
        write!(text, "id: {}\n\n", page.next).expect(text_only);
    }
}

/// `data` of an event, in one line: JSON has no line breaks but those that it escapes.
fn json(data: &impl Serialize) -> String {
    serde_json::to_string(data).expect("events have string keys and finite numbers")
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use common::event::{Happening, StreamerEvent};
    use common::id::StreamerId;
    use common::signal::Role;

    #[test]
    fn places_of_admins_are_their_own() {
        let listeners = Listeners::default();
        let right = || Right::Streamer {
            id: StreamerId::parse("a").unwrap(),
            role: Role::Viewer,
            token: TokenId::unique(),
            max_bitrate_kbps: None,
            person: Default::default(),
        };
        let taken: Vec<_> = (0..MOST_OTHERS).map(|_| listeners.enter(&right()).unwrap()).collect();
        assert!(matches!(listeners.enter(&right()), Err(ApiError::TooManyListeners { max: MOST_OTHERS })));
        assert!(listeners.enter(&Right::Admin).is_ok());
        drop(taken);
        assert!(listeners.enter(&right()).is_ok());
    }

    #[test]
    fn who_is_no_admin_is_told_no_addresses() {
        let reason = Some("ffmpeg: file:/srv/film.mp4: No such file or directory".to_owned());
        let event = StreamerEvent {
            at: DateTime::UNIX_EPOCH,
            streamer: StreamerId::parse("demo").unwrap(),
            what: Happening::State { state: common::signal::StreamerState::Failed, reason },
        };
        let position = "00000007-5".parse().unwrap();
        let events = vec![(position, Arc::new(event))];
        let page = Page { events, next: position, missed: false, more: false, over: false };
        for (is_admin, shown) in [(true, "film.mp4"), (false, "***: No such file")] {
            let mut text = String::new();
            write_page(&mut text, &page, is_admin);
            assert!(text.contains(shown) && text.contains("film") == is_admin, "{text}");
        }
    }

    #[test]
    fn a_page_is_written_as_the_standard_has_it() {
        let position = "00000007-5".parse().unwrap();
        let event = StreamerEvent {
            at: DateTime::UNIX_EPOCH,
            streamer: StreamerId::parse("demo").unwrap(),
            what: Happening::WindowTitled { window_id: 1, title: "two\nlines".into() },
        };
        let events = vec![(position, Arc::new(event))];
        let page = Page { events, next: position, missed: true, more: false, over: false };
        let mut text = String::new();
        write_page(&mut text, &page, true);
        assert_eq!(
            text,
            "event: missed\ndata: {\"type\":\"missed\"}\n\n\
             id: 00000007-5\nevent: window-titled\n\
             data: {\"at\":\"1970-01-01T00:00:00Z\",\"streamer\":\"demo\",\"type\":\"window-titled\",\
             \"window_id\":1,\"title\":\"two\\nlines\"}\n\n"
        );
    }
}
