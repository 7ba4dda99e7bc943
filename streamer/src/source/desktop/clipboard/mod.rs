//! The clipboard of an X server: its selection CLIPBOARD (ICCCM §2), as text.
//!
//! ```text
//! programs ◀─ selection requests, notifications ─▶ thread "clipboard" ◀─ get, set ─ control loop
//!                                                        └─ Event::Clipboard ─▶
//! ```
//!
//! A thread owns a connection and a window. It tells of every new text, whoever puts it there, in the order in which
//! they came, and, while a text of ours is there, gives it to whoever asks. A text that is the same as the last one is not
//! told of again: what peers copy to their own clipboards and give back does not go round in circles. Texts have at most [`MAX_TEXT`] bytes in both directions, so
//! ours always fit into one property; those of others may come in pieces (ICCCM §2.7.2, INCR).

use std::os::fd::{AsFd, OwnedFd};
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel};
use std::sync::{Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use common::input::{Actor, MAX_TEXT};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd, poll};
use rustix::time::Timespec;
use tokio::sync::oneshot;
use x11rb::connection::Connection;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::Event as XEvent;
use x11rb::protocol::xfixes::{self, SelectionEventMask};
use x11rb::protocol::xproto::{
    self, Atom, AtomEnum, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, Property,
    SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::display::Display;
use crate::source::{Clipboard, Error, Event, Events};

/// How long the owner of the clipboard may take for one step of handing it over.
const STEP_TIME: Duration = Duration::from_secs(1);
/// How long who asks us waits: some steps, and ours.
const ANSWER_TIME: Duration = Duration::from_secs(5);
/// Requests that wait for the thread, which takes microseconds for each. Who reads one more waits until there is room;
/// one more text is refused.
const REQUESTS: usize = 8;

x11rb::atom_manager! {
    /// Names that the transfer of a selection uses.
    Atoms: AtomsCookie {
        CLIPBOARD,
        INCR,
        TARGETS,
        TEXT,
        TIMESTAMP,
        UTF8_STRING,
        PLAIN_UTF8: b"text/plain;charset=utf-8",
        ORIEL_CLIPBOARD,
    }
}

/// The clipboard of one X server. Dropping it ends its thread; what we put there is gone then.
#[derive(Debug)]
pub struct XClipboard {
    requests: Option<SyncSender<Request>>,
    wake: OwnedFd,
    thread: Mutex<Option<JoinHandle<()>>>,
}

enum Request {
    Get(SyncSender<Result<String, Error>>),
    Set(String, Actor, oneshot::Sender<Result<(), Error>>),
}

impl XClipboard {
    /// Connects and begins to watch. New texts are sent to `events` as [`Event::Clipboard`]; one
    /// that finds no room is dropped, and still there for [`Clipboard::get`].
    ///
    /// # Errors
    /// [`Error::X`] when the display cannot be reached or has no XFIXES.
    pub fn start(display: &Display, events: Events) -> Result<Self, Error> {
        let io = |source: std::io::Error| Error::Io { what: "starting the clipboard".into(), source };
        let (x, screen) = display.connect()?;
        let owner = Owner::new(x, screen, events).map_err(|e| Error::X(format!("clipboard: {e}")))?;
        let flags = EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK;
        let wake = eventfd(0, flags).map_err(|e| io(e.into()))?;
        let woken = wake.try_clone().map_err(io)?;
        let (requests, receiver) = sync_channel(REQUESTS);
        let run = move || {
            if let Err(error) = owner.run(&receiver, &woken) {
                tracing::debug!("the clipboard ended: {error}");
            }
        };
        let thread = crate::thread::spawn("clipboard", run).map_err(io)?;
        Ok(Self { requests: Some(requests), wake, thread: Mutex::new(Some(thread)) })
    }

    fn ask<T>(&self, request: impl FnOnce(SyncSender<Result<T, Error>>) -> Request) -> Result<T, Error> {
        let (sender, receiver) = sync_channel(1);
        let requests = self.requests.as_ref().ok_or(Error::Ended)?;
        requests.send(request(sender)).map_err(|_| Error::Ended)?;
        self.wake();
        receiver.recv_timeout(ANSWER_TIME).map_err(|_| Error::Ended)?
    }

    fn wake(&self) {
        // Fails only when it is readable already.
        let _ = rustix::io::write(&self.wake, &1u64.to_ne_bytes());
    }
}

impl Clipboard for XClipboard {
    fn get(&self) -> Result<String, Error> {
        self.ask(Request::Get)
    }

    fn set(&self, text: String, by: Actor) -> oneshot::Receiver<Result<(), Error>> {
        let (reply, receiver) = oneshot::channel();
        let queued = match &self.requests {
            Some(requests) if text.len() <= MAX_TEXT => requests.try_send(Request::Set(text, by, reply)),
            Some(_) => {
                let _ = reply.send(Err(too_long()));
                return receiver;
            }
            None => return receiver,
        };
        // When the thread has ended the reply is dropped, which says so.
        if let Err(TrySendError::Full(Request::Set(_, _, reply))) = queued {
            let _ = reply.send(Err(Error::X("the clipboard is busy".into())));
        }
        self.wake();
        receiver
    }
}

impl Drop for XClipboard {
    fn drop(&mut self) {
        self.requests = None;
        self.wake();
        if let Some(thread) = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // Only a panic, which has been reported.
            let _ = thread.join();
        }
    }
}

fn too_long() -> Error {
    Error::X(format!("the clipboard's text is longer than {MAX_TEXT} bytes"))
}

/// What the thread owns.
struct Owner {
    x: RustConnection,
    root: Window,
    /// Owns the clipboard for us.
    window: Window,
    atoms: Atoms,
    events: Events,
    /// Our text, while it is on the clipboard.
    ours: Option<Ours>,
    /// A transfer from another program.
    fetch: Option<Fetch>,
    /// The text that was told of last: only another one is told of.
    known: String,
}

struct Ours {
    text: String,
    /// Server time since when.
    since: xproto::Timestamp,
}

/// A transfer from another program, and who waits for it.
struct Fetch {
    /// Where it comes to. Each transfer has its own: the owner of one that was broken off may go on writing.
    window: Window,
    target: Atom,
    /// What has come so far, once it is known to come in pieces.
    pieces: Option<Vec<u8>>,
    deadline: Instant,
    waiting: Vec<SyncSender<Result<String, Error>>>,
    /// It is a new text, to be told of.
    tell: bool,
    /// The clipboard has changed meanwhile: there is a newer text to fetch after this. A transfer is not broken off, as
    /// its owner would then wait for us and answer nothing else.
    outdated: bool,
}

impl Owner {
    fn new(x: RustConnection, screen: usize, events: Events) -> Result<Self, ReplyOrIdError> {
        let atoms = Atoms::new(&x)?.reply()?;
        xfixes::query_version(&x, 5, 0)?.reply()?;
        let root = x.setup().roots[screen].root;
        let window = hidden_window(&x, root)?;
        let changes = SelectionEventMask::SET_SELECTION_OWNER
            | SelectionEventMask::SELECTION_WINDOW_DESTROY
            | SelectionEventMask::SELECTION_CLIENT_CLOSE;
        xfixes::select_selection_input(&x, window, atoms.CLIPBOARD, changes)?.check()?;
        Ok(Self { x, root, window, atoms, events, ours: None, fetch: None, known: String::new() })
    }

    fn run(mut self, requests: &Receiver<Request>, wake: &OwnedFd) -> Result<(), ReplyOrIdError> {
        loop {
            while let Some(event) = self.x.poll_for_event()? {
                self.handle(event)?;
            }
            // Emptied before the requests are looked at, so that none is missed.
            let _ = rustix::io::read(wake, &mut [0; 8]);
            match requests.try_recv() {
                Ok(Request::Get(reply)) => self.get(reply)?,
                Ok(Request::Set(text, by, reply)) => {
                    let result = self.set(text, by)?;
                    // Who asked has gone, if it fails.
                    let _ = reply.send(result);
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    self.x.flush()?;
                    self.wait(wake);
                }
            }
            if self.fetch.as_ref().is_some_and(|fetch| fetch.deadline <= Instant::now()) {
                self.finish(Err(Error::X("the owner of the clipboard does not answer".into())))?;
            }
        }
    }

    /// Until there is something to do.
    fn wait(&self, wake: &OwnedFd) {
        let left = self.fetch.as_ref().map(|fetch| fetch.deadline.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        let mut fds = [
            PollFd::from_borrowed_fd(self.x.stream().as_fd(), PollFlags::IN),
            PollFd::new(wake, PollFlags::IN),
        ];
        // Interrupted or not: everything is looked at again.
        let _ = poll(&mut fds, left.as_ref());
    }

    fn handle(&mut self, event: XEvent) -> Result<(), ReplyOrIdError> {
        match event {
            XEvent::XfixesSelectionNotify(change) if change.owner == self.window => {
                if let Some(ours) = &mut self.ours {
                    ours.since = change.selection_timestamp;
                }
            }
            XEvent::XfixesSelectionNotify(change) => {
                self.ours = None;
                match &mut self.fetch {
                    Some(fetch) => fetch.outdated = true,
                    None if change.owner != x11rb::NONE => self.start_fetch(Vec::new(), true)?,
                    None => {}
                }
            }
            XEvent::SelectionRequest(request) => self.serve(&request)?,
            XEvent::SelectionNotify(notify) => self.receive(&notify)?,
            XEvent::PropertyNotify(notify)
                if notify.state == Property::NEW_VALUE && notify.atom == self.atoms.ORIEL_CLIPBOARD =>
            {
                self.receive_piece(notify.window)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn get(&mut self, reply: SyncSender<Result<String, Error>>) -> Result<(), ReplyOrIdError> {
        if let Some(ours) = &self.ours {
            // Who asked has gone, if it fails.
            let _ = reply.try_send(Ok(ours.text.clone()));
            return Ok(());
        }
        if let Some(fetch) = &mut self.fetch {
            fetch.waiting.push(reply);
            return Ok(());
        }
        self.start_fetch(vec![reply], false)
    }

    fn set(&mut self, text: String, by: Actor) -> Result<Result<(), Error>, ReplyOrIdError> {
        self.ours = Some(Ours { text: text.clone(), since: x11rb::CURRENT_TIME });
        self.x.set_selection_owner(self.window, self.atoms.CLIPBOARD, x11rb::CURRENT_TIME)?;
        let owner = self.x.get_selection_owner(self.atoms.CLIPBOARD)?.reply()?.owner;
        if owner != self.window {
            return Ok(Err(Error::X("the clipboard is taken".into())));
        }
        self.tell(text, Some(by));
        Ok(Ok(()))
    }

    fn tell(&mut self, text: String, by: Option<Actor>) {
        if text == self.known {
            return;
        }
        self.known.clone_from(&text);
        if self.events.try_send(Event::Clipboard { text, by }).is_err() {
            tracing::debug!("nobody hears of the new clipboard");
        }
    }

    /// Asks the owner for its text.
    fn start_fetch(
        &mut self,
        waiting: Vec<SyncSender<Result<String, Error>>>,
        tell: bool,
    ) -> Result<(), ReplyOrIdError> {
        let window = hidden_window(&self.x, self.root)?;
        let target = self.atoms.UTF8_STRING;
        let deadline = Instant::now() + STEP_TIME;
        self.fetch = Some(Fetch { window, target, pieces: None, deadline, waiting, tell, outdated: false });
        self.convert(window, target)
    }

    fn convert(&self, window: Window, target: Atom) -> Result<(), ReplyOrIdError> {
        let Atoms { CLIPBOARD, ORIEL_CLIPBOARD, .. } = self.atoms;
        self.x.convert_selection(window, CLIPBOARD, target, ORIEL_CLIPBOARD, x11rb::CURRENT_TIME)?;
        Ok(())
    }

    /// The owner has answered: with the text, with the promise of pieces, or with a refusal.
    fn receive(&mut self, notify: &SelectionNotifyEvent) -> Result<(), ReplyOrIdError> {
        let Some(fetch) = self.fetch.as_mut().filter(|fetch| fetch.window == notify.requestor) else {
            return Ok(());
        };
        fetch.deadline = Instant::now() + STEP_TIME;
        if notify.property == x11rb::NONE {
            let latin1 = Atom::from(AtomEnum::STRING);
            if fetch.target == latin1 {
                return self.finish(Ok(String::new()));
            }
            fetch.target = latin1;
            let window = fetch.window;
            return self.convert(window, latin1);
        }
        let (kind, bytes) = self.take_property(notify.requestor)?;
        match (&mut self.fetch, bytes) {
            (Some(fetch), _) if kind == self.atoms.INCR => {
                fetch.pieces = Some(Vec::new());
                Ok(())
            }
            (_, Ok(bytes)) => self.finish_with(kind, &bytes),
            (_, Err(error)) => self.finish(Err(error)),
        }
    }

    /// The next piece is there; an empty one is the last.
    fn receive_piece(&mut self, window: Window) -> Result<(), ReplyOrIdError> {
        let is_ours = |fetch: &Fetch| fetch.window == window && fetch.pieces.is_some();
        if !self.fetch.as_ref().is_some_and(is_ours) {
            return Ok(());
        }
        let (kind, bytes) = self.take_property(window)?;
        let Some(Fetch { pieces: Some(pieces), deadline, .. }) = &mut self.fetch else { return Ok(()) };
        *deadline = Instant::now() + STEP_TIME;
        match bytes {
            Ok(bytes) if bytes.is_empty() => {
                let all = std::mem::take(pieces);
                self.finish_with(kind, &all)
            }
            Ok(bytes) if pieces.len() + bytes.len() <= MAX_TEXT => {
                pieces.extend(bytes);
                Ok(())
            }
            Ok(_) => self.finish(Err(too_long())),
            Err(error) => self.finish(Err(error)),
        }
    }

    /// Reads and deletes the property by which texts come: its type and content. No more than a text may be long is read.
    fn take_property(&self, window: Window) -> Result<(Atom, Result<Vec<u8>, Error>), ReplyOrIdError> {
        let words = (MAX_TEXT as u32).div_ceil(4);
        let property = self.atoms.ORIEL_CLIPBOARD;
        let reply = self.x.get_property(true, window, property, AtomEnum::ANY, 0, words)?.reply()?;
        if reply.bytes_after > 0 {
            self.x.delete_property(window, property)?;
            return Ok((reply.type_, Err(too_long())));
        }
        Ok((reply.type_, Ok(reply.value)))
    }

    fn finish_with(&mut self, kind: Atom, bytes: &[u8]) -> Result<(), ReplyOrIdError> {
        let text = if kind == Atom::from(AtomEnum::STRING) {
            bytes.iter().map(|byte| char::from(*byte)).collect()
        } else {
            String::from_utf8_lossy(bytes).into_owned()
        };
        // Latin-1 grows when it becomes UTF-8.
        self.finish(if text.len() <= MAX_TEXT { Ok(text) } else { Err(too_long()) })
    }

    /// The transfer is over.
    fn finish(&mut self, result: Result<String, Error>) -> Result<(), ReplyOrIdError> {
        let Some(fetch) = self.fetch.take() else { return Ok(()) };
        self.x.destroy_window(fetch.window)?;
        if fetch.outdated && self.ours.is_none() {
            return self.start_fetch(fetch.waiting, true);
        }
        // Who waits while we have taken the clipboard gets what it is now.
        let result = self.ours.as_ref().map_or(result, |ours| Ok(ours.text.clone()));
        let copy = |result: &Result<String, Error>| match result {
            Ok(text) => Ok(text.clone()),
            Err(error) => Err(Error::X(error.to_string())),
        };
        for reply in fetch.waiting {
            // Who asked has gone, if it fails.
            let _ = reply.try_send(copy(&result));
        }
        match result {
            // While a text of ours is there, it has been told of.
            Ok(text) if fetch.tell && self.ours.is_none() && !text.is_empty() => self.tell(text, None),
            Ok(_) => {}
            Err(error) => tracing::debug!("{error}"),
        }
        Ok(())
    }

    /// Gives our text to a program that asks for it.
    fn serve(&self, request: &SelectionRequestEvent) -> Result<(), ReplyOrIdError> {
        // Old programs name no property (ICCCM §2.2).
        let property = if request.property == x11rb::NONE { request.target } else { request.property };
        let answered = match &self.ours {
            Some(ours) if request.selection == self.atoms.CLIPBOARD => {
                self.answer(ours, request.requestor, request.target, property)?
            }
            _ => false,
        };
        let notify = SelectionNotifyEvent {
            response_type: xproto::SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: request.requestor,
            selection: request.selection,
            target: request.target,
            property: if answered { property } else { x11rb::NONE },
        };
        self.x.send_event(false, request.requestor, EventMask::NO_EVENT, notify)?;
        Ok(())
    }

    /// Puts what is asked for on the other's window. False when we have no such thing.
    fn answer(&self, ours: &Ours, to: Window, target: Atom, property: Atom) -> Result<bool, ReplyOrIdError> {
        let atoms = &self.atoms;
        let latin1 = Atom::from(AtomEnum::STRING);
        let replace = PropMode::REPLACE;
        let text = ours.text.as_bytes();
        if target == atoms.TARGETS {
            let all =
                [atoms.TARGETS, atoms.TIMESTAMP, atoms.UTF8_STRING, atoms.PLAIN_UTF8, atoms.TEXT, latin1];
            self.x.change_property32(replace, to, property, AtomEnum::ATOM, &all)?;
        } else if target == atoms.TIMESTAMP {
            self.x.change_property32(replace, to, property, AtomEnum::INTEGER, &[ours.since])?;
        } else if target == atoms.UTF8_STRING || target == atoms.PLAIN_UTF8 {
            self.x.change_property8(replace, to, property, target, text)?;
        } else if target == atoms.TEXT {
            self.x.change_property8(replace, to, property, atoms.UTF8_STRING, text)?;
        } else if target == latin1 {
            let text: Vec<u8> = ours.text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
            self.x.change_property8(replace, to, property, latin1, &text)?;
        } else {
            return Ok(false);
        }
        Ok(true)
    }
}

/// A window that is never shown and tells of its properties.
fn hidden_window(x: &RustConnection, root: Window) -> Result<Window, ReplyOrIdError> {
    let window = x.generate_id()?;
    let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE).override_redirect(1);
    x.create_window(0, window, root, -1, -1, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &aux)?;
    Ok(window)
}
