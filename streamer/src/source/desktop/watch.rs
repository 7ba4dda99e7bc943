//! Checks whether the X server responds. While it does not (stopped, swapped out, hung in a driver), all requests to it block, so
//! that threads that wait for one cannot report it.
//!
//! ```text
//! responds ──nothing for PATIENCE──▶ stalled (the source is offline) ──a reply──▶ responds
//!                                      └──nothing for LIMIT──▶ given up: the session ends, if the server is its own
//! ```

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;

use super::display::Display;
use crate::source::{Error, Event, Events};

/// Interval of requests.
const INTERVAL: Duration = Duration::from_secs(2);
/// A server that has not replied for this long is stalled. One that is only busy replies within tenths of a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// A server that has not replied for this long is given up.
const LIMIT: Duration = Duration::from_secs(60);

/// Watches the server until this is dropped.
#[derive(Debug)]
pub struct Watch {
    news: SyncSender<News>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum News {
    Answer,
    Stop,
}

impl Watch {
    /// Starts watching. `give_up` is called with the reason when the server does not recover.
    ///
    /// # Errors
    /// [`Error`] when the server cannot be connected to, or there are no more threads.
    pub fn start(
        display: &Display,
        events: Events,
        give_up: impl FnOnce(String) + Send + 'static,
    ) -> Result<Self, Error> {
        let (connection, _) = display.connect()?;
        let failed = |source| Error::Io { what: "starting a thread".into(), source };
        let (news, heard) = sync_channel(2);
        let (ask, asked) = sync_channel(1);
        let answers = news.clone();
        // This thread ends with the watching one, or with the server that it waits for.
        crate::thread::spawn("x-ping", move || answer(&connection, &asked, &answers)).map_err(failed)?;
        let run = move || {
            if let Some(reason) = watch(&ask, &heard, &events) {
                give_up(reason);
            }
        };
        let thread = crate::thread::spawn("x-watch", run).map_err(failed)?;
        Ok(Self { news, thread: Some(thread) })
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        // Full only when it is about to be read.
        let _ = self.news.send(News::Stop);
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the thread that watches an X server panicked");
        }
    }
}

/// Sends one request to the server for each message.
fn answer(connection: &RustConnection, asked: &Receiver<()>, answers: &SyncSender<News>) {
    while asked.recv().is_ok() {
        let reply = connection.get_input_focus().map(|cookie| cookie.reply());
        // That the server is gone is reported elsewhere.
        let Ok(Ok(_)) = reply else { return };
        if answers.send(News::Answer).is_err() {
            return;
        }
        // Events for all clients are not read otherwise.
        while let Ok(Some(_)) = connection.poll_for_event() {}
    }
}

/// The reason for which the server is given up; `None` when there is nothing more to watch.
fn watch(ask: &SyncSender<()>, heard: &Receiver<News>, events: &Events) -> Option<String> {
    loop {
        match heard.recv_timeout(INTERVAL) {
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Ok(News::Answer) | Err(RecvTimeoutError::Timeout) => {}
        }
        ask.send(()).ok()?;
        let asked = Instant::now();
        match heard.recv_timeout(PATIENCE) {
            Ok(News::Answer) => continue,
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {}
        }
        let stalled = format!("stalled: the X server has not answered for {} s", PATIENCE.as_secs());
        tracing::warn!("{stalled}");
        tell(events, || Event::Offline(stalled.clone()));
        match heard.recv_timeout(LIMIT.saturating_sub(asked.elapsed())) {
            Ok(News::Answer) => {
                tracing::info!(seconds = asked.elapsed().as_secs(), "the X server answers again");
                tell(events, || Event::Started);
            }
            Ok(News::Stop) | Err(RecvTimeoutError::Disconnected) => return None,
            Err(RecvTimeoutError::Timeout) => {
                return Some(format!("the X server has not answered for {} s", LIMIT.as_secs()));
            }
        }
    }
}

/// Sends an event. The control loop reads it within moments, unless the session is ending.
fn tell(events: &Events, event: impl Fn() -> Event) {
    const TRIES: u32 = 50;
    for _ in 0..TRIES {
        if events.try_send(event()).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
