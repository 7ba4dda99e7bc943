//! The clipboard of an X server: its selection CLIPBOARD (ICCCM §2).
//!
//! ```text
//! programs ◀─ selection requests, notifications ─▶ thread "clipboard" ◀─ get, set ─ control loop
//!                                                        └─ Event::Clipboard ─▶
//! ```
//!
//! A thread (`owner`) owns a connection and a window. What a program copies is an offer: we request its types first,
//! then those that are transferred ([`common::clipboard`]) and wanted: texts after each copy, pictures when somebody requests them.
//! Every copy of a program is reported, even of the same text, as somebody may have copied another one elsewhere meanwhile.
//! Copies of peers are reported only if they differ from the last one, so that a text which a page sends back does not go
//! round in circles. Content that we own is served to whoever requests it. When a program ends that owns the clipboard,
//! we take over its last texts, as programs that only copy (`xclip`, screenshot tools) end soon; unless there is a
//! clipboard manager, whose task that is, or they are marked as secret.
//!
//! Long content is transferred in pieces (ICCCM §2.7.2, INCR): `fetch`, `serve`. Every length and every wait is bounded.

mod fetch;
mod owner;
mod serve;

use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use common::clipboard::{Content, Wanted};
use common::input::Actor;
use tokio::sync::oneshot;
use x11rb::connection::Connection as _;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::xproto::{ConnectionExt as _, CreateWindowAux, EventMask, Window, WindowClass};
use x11rb::rust_connection::RustConnection;

use self::owner::Owner;
use super::display::Display;
use crate::source::{Clipboard, ClipboardOffer, Error, Events};
use crate::wake::Wake;

/// Timeout of a request to the thread: longer than a fetch may take.
const ANSWER_TIME: Duration = Duration::from_secs(6);
/// Requests queued for the thread, which takes microseconds for each. When the queue is full, a read waits until there is room;
/// a write is refused.
const REQUESTS: usize = 8;

x11rb::atom_manager! {
    /// Names that the transfer of a selection uses.
    Atoms: AtomsCookie {
        CLIPBOARD,
        CLIPBOARD_MANAGER,
        INCR,
        TARGETS,
        TEXT,
        TIMESTAMP,
        UTF8_STRING,
        COMPOUND_TEXT,
        PLAIN: b"text/plain",
        PLAIN_UTF8: b"text/plain;charset=utf-8",
        HTML: b"text/html",
        PNG: b"image/png",
        SECRET: b"x-kde-passwordManagerHint",
        ORIEL_CLIPBOARD,
    }
}

/// The clipboard of one X server. Dropping it ends its thread, and with it the content that we own.
#[derive(Debug)]
pub struct XClipboard {
    requests: Option<SyncSender<Request>>,
    wake: Arc<Wake>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

/// Receives the requested content.
type Reply = SyncSender<Result<ClipboardOffer, Error>>;

enum Request {
    Get(Wanted, Reply),
    Set(Content, Actor, oneshot::Sender<Result<(), Error>>),
}

impl XClipboard {
    /// Connects and begins to watch. Copies are sent to `events` as [`Event::Clipboard`](crate::source::Event::Clipboard);
    /// one for which there is no room is dropped, and can still be read by [`Clipboard::get`].
    ///
    /// # Errors
    /// [`Error::X`] when the display cannot be reached or has no XFIXES.
    pub fn start(display: &Display, events: Events) -> Result<Self, Error> {
        let io = |source: std::io::Error| Error::Io { what: "starting the clipboard".into(), source };
        let (x, screen) = display.connect()?;
        let owner = Owner::new(x, screen, events).map_err(|e| Error::X(format!("clipboard: {e}")))?;
        let wake = Arc::new(Wake::new().map_err(io)?);
        let woken = Arc::clone(&wake);
        let (requests, receiver) = sync_channel(REQUESTS);
        let run = move || {
            if let Err(error) = owner.run(&receiver, &woken) {
                tracing::debug!("the clipboard ended: {error}");
            }
        };
        let thread = crate::thread::spawn("clipboard", run).map_err(io)?;
        Ok(Self { requests: Some(requests), wake, thread: Mutex::new(Some(thread)) })
    }
}

impl Clipboard for XClipboard {
    fn get(&self, wanted: Wanted) -> Result<ClipboardOffer, Error> {
        let (sender, receiver) = sync_channel(1);
        let requests = self.requests.as_ref().ok_or(Error::Ended)?;
        requests.send(Request::Get(wanted, sender)).map_err(|_| Error::Ended)?;
        self.wake.wake();
        receiver.recv_timeout(ANSWER_TIME).map_err(|_| Error::Ended)?
    }

    fn set(&self, content: Content, by: Actor) -> oneshot::Receiver<Result<(), Error>> {
        let (reply, receiver) = oneshot::channel();
        if let Err(error) = content.validate() {
            let _ = reply.send(Err(Error::Clipboard(error)));
            return receiver;
        }
        let Some(requests) = &self.requests else { return receiver };
        let queued = requests.try_send(Request::Set(content, by, reply));
        // When the thread has ended the reply is dropped, which says so.
        if let Err(TrySendError::Full(Request::Set(_, _, reply))) = queued {
            let _ = reply.send(Err(Error::X("the clipboard is busy".into())));
        }
        self.wake.wake();
        receiver
    }
}

impl Drop for XClipboard {
    fn drop(&mut self) {
        self.requests = None;
        self.wake.wake();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Only a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

/// Creates a window that is never shown, and whose property changes we receive.
fn hidden_window(x: &RustConnection, root: Window) -> Result<Window, ReplyOrIdError> {
    let window = x.generate_id()?;
    let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE).override_redirect(1);
    x.create_window(0, window, root, -1, -1, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &aux)?;
    Ok(window)
}
