//! Looks whether the X server answers. Requests to it block for as long as it does not (stopped, swapped out, hung in a driver), so
//! that nobody who waits for one could say so.
//!
//! ```text
//! answers ──nothing for PATIENCE──▶ stalled (the source is offline) ──an answer──▶ answers
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

/// From one question to the next.
const INTERVAL: Duration = Duration::from_secs(2);
/// A server that has not answered for so long is stalled. One that is only busy answers within tenths of a second.
const PATIENCE: Duration = Duration::from_secs(5);
/// One that has not answered for so long does not come back.
const LIMIT: Duration = Duration::from_secs(60);

/// Asks until it is dropped.
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
    /// Begins to ask. `give_up` is called with the reason when the server does not come back.
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
        // It ends with whoever asks, or with the server that it waits for.
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

/// Asks the server once for each question.
fn answer(connection: &RustConnection, asked: &Receiver<()>, answers: &SyncSender<News>) {
    while asked.recv().is_ok() {
        let reply = connection.get_input_focus().map(|cookie| cookie.reply());
        // A server that is gone is somebody else's to tell.
        let Ok(Ok(_)) = reply else { return };
        if answers.send(News::Answer).is_err() {
            return;
        }
        // What is told to every client is not read otherwise.
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

/// The control loop takes what it is told within moments, or the session is ending.
fn tell(events: &Events, event: impl Fn() -> Event) {
    const TRIES: u32 = 50;
    for _ in 0..TRIES {
        if events.try_send(event()).is_ok() {
            return;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}
