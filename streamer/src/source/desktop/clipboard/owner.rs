//! The thread that owns the clipboard's connection: it tracks the content, fetches it, and reports copies.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::os::fd::AsFd as _;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, TryRecvError};
use std::time::Instant;

use common::clipboard::{ClipboardType, Content, Wanted};
use common::input::Actor;
use x11rb::connection::{Connection as _, SequenceNumber};
use x11rb::errors::{ConnectionError, ReplyOrIdError};
use x11rb::protocol::Event as XEvent;
use x11rb::protocol::xfixes::{self, SelectionEvent, SelectionEventMask};
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ConnectionExt as _, Property, SelectionNotifyEvent, Timestamp, Window,
};
use x11rb::rust_connection::RustConnection;

use super::fetch::{Fetch, Next, Read};
use super::serve::{Ours, Outgoing};
use super::{Atoms, Reply, Request, hidden_window};
use crate::source::{ClipboardOffer, Error, Event, Events};
use crate::wake::{Wake, wait_readable};

/// What the thread owns.
pub struct Owner {
    x: RustConnection,
    root: Window,
    /// The window by which we own the clipboard.
    window: Window,
    atoms: Atoms,
    events: Events,
    /// Content that we have put on the clipboard, while we own it.
    ours: Option<Ours>,
    /// The request by which we became the owner: events of the time before are outdated.
    taken: SequenceNumber,
    /// A transfer from another program.
    fetch: Option<Fetch>,
    /// Transfers to other programs.
    outgoing: Outgoing,
    /// Texts of the program that owns the clipboard, which we take over when it ends.
    kept: Option<Content>,
    /// The owner of the clipboard has ended. Content that a clipboard manager restores is no copy.
    handed_over: bool,
    /// The copy that was reported last.
    known: ClipboardOffer,
}

impl Owner {
    pub fn new(x: RustConnection, screen: usize, events: Events) -> Result<Self, ReplyOrIdError> {
        let atoms = Atoms::new(&x)?.reply()?;
        xfixes::query_version(&x, 5, 0)?.reply()?;
        let root = x.setup().roots[screen].root;
        let window = hidden_window(&x, root)?;
        let changes = SelectionEventMask::SET_SELECTION_OWNER
            | SelectionEventMask::SELECTION_WINDOW_DESTROY
            | SelectionEventMask::SELECTION_CLIENT_CLOSE;
        xfixes::select_selection_input(&x, window, atoms.CLIPBOARD, changes)?.check()?;
        Ok(Self {
            x,
            root,
            window,
            atoms,
            events,
            ours: None,
            taken: 0,
            fetch: None,
            outgoing: Outgoing::default(),
            kept: None,
            handed_over: false,
            known: ClipboardOffer::default(),
        })
    }

    pub fn run(mut self, requests: &Receiver<Request>, wake: &Wake) -> Result<(), ReplyOrIdError> {
        loop {
            while let Some((event, sequence)) = self.x.poll_for_event_with_sequence()? {
                self.handle(event, sequence)?;
            }
            wake.reset();
            match requests.try_recv() {
                Ok(Request::Get(wanted, reply)) => self.get(wanted, reply)?,
                Ok(Request::Set(content, by, reply)) => {
                    let result = self.set(content, by)?;
                    // Fails when the requester is gone.
                    let _ = reply.send(result);
                }
                Err(TryRecvError::Disconnected) => return Ok(()),
                Err(TryRecvError::Empty) => {
                    self.x.flush()?;
                    self.wait(wake)?;
                }
            }
            let now = Instant::now();
            self.outgoing.expire(now);
            if self.fetch.as_ref().is_some_and(|fetch| fetch.deadline() <= now) {
                self.finish(Err(Error::SilentClipboard))?;
            }
        }
    }

    /// Waits until there is something to do.
    fn wait(&self, wake: &Wake) -> Result<(), ConnectionError> {
        let due = self.fetch.as_ref().map(Fetch::deadline).into_iter().chain(self.outgoing.deadline()).min();
        wait_readable([self.x.stream().as_fd(), wake.as_fd()], due)?;
        Ok(())
    }

    fn handle(&mut self, event: XEvent, sequence: SequenceNumber) -> Result<(), ReplyOrIdError> {
        let now = Instant::now();
        match event {
            XEvent::XfixesSelectionNotify(change) if change.owner == self.window => {
                if let Some(ours) = &mut self.ours {
                    ours.since = change.selection_timestamp;
                }
            }
            // An event of the time before we became the owner.
            XEvent::XfixesSelectionNotify(_) if sequence < self.taken => {}
            XEvent::XfixesSelectionNotify(change) if change.owner == x11rb::NONE => {
                let ended = change.subtype != SelectionEvent::SET_SELECTION_OWNER;
                self.given_up(ended, change.timestamp)?;
            }
            XEvent::XfixesSelectionNotify(_) => {
                self.ours = None;
                self.kept = None;
                match &mut self.fetch {
                    Some(fetch) => fetch.outdated = true,
                    None => self.start_fetch(Wanted::Texts, Vec::new(), true)?,
                }
            }
            XEvent::SelectionRequest(request) => {
                self.outgoing.serve(now, &self.x, &self.atoms, self.ours.as_ref(), &request)?;
            }
            XEvent::SelectionNotify(notify) => self.receive(now, &notify)?,
            XEvent::PropertyNotify(notify) if notify.state == Property::DELETE => {
                self.outgoing.deleted(now, &self.x, notify.window, notify.atom)?;
            }
            XEvent::PropertyNotify(notify) if notify.atom == self.atoms.ORIEL_CLIPBOARD => {
                self.receive_piece(now, notify.window)?;
            }
            _ => {}
        }
        Ok(())
    }

    fn get(&mut self, wanted: Wanted, reply: Reply) -> Result<(), ReplyOrIdError> {
        if let Some(ours) = &self.ours {
            // Fails when the requester is gone.
            let _ = reply.try_send(Ok(offer_of(ours, wanted)));
            return Ok(());
        }
        if let Some(fetch) = &mut self.fetch {
            fetch.waiting.push((wanted, reply));
            return Ok(());
        }
        self.start_fetch(wanted, vec![(wanted, reply)], false)
    }

    fn set(&mut self, content: Content, by: Actor) -> Result<Result<(), Error>, ReplyOrIdError> {
        let offer = ClipboardOffer { types: content.types(), content };
        if !self.take(offer.content.clone(), x11rb::CURRENT_TIME)? {
            return Ok(Err(Error::X("the clipboard is taken".into())));
        }
        self.tell(offer, Some(by));
        Ok(Ok(()))
    }

    /// Puts content on the clipboard, unless another client has done so since `time`. False when another client owns it.
    fn take(&mut self, content: Content, time: Timestamp) -> Result<bool, ReplyOrIdError> {
        let taken = self.x.set_selection_owner(self.window, self.atoms.CLIPBOARD, time)?.sequence_number();
        let owner = self.x.get_selection_owner(self.atoms.CLIPBOARD)?.reply()?.owner;
        if owner != self.window {
            // The event that follows has the details.
            return Ok(false);
        }
        self.taken = taken;
        self.kept = None;
        self.handed_over = false;
        self.ours = Some(Ours { content: Arc::new(content), since: time });
        Ok(true)
    }

    /// The clipboard has no owner any more: the owner has ended, or cleared it.
    fn given_up(&mut self, ended: bool, time: Timestamp) -> Result<(), ReplyOrIdError> {
        self.ours = None;
        // Nothing more will come of it.
        if let Some(fetch) = &mut self.fetch {
            if std::mem::take(&mut fetch.outdated) {
                // It belongs to the previous owner.
                fetch.offer = ClipboardOffer::default();
            }
            fetch.offer.types = fetch.offer.content.types();
            self.finish(Ok(()))?;
        }
        let Some(kept) = self.kept.take().filter(|_| ended) else { return Ok(()) };
        let manager = self.x.get_selection_owner(self.atoms.CLIPBOARD_MANAGER)?.reply()?.owner;
        if manager == x11rb::NONE {
            self.take(kept, time)?;
        } else {
            self.handed_over = true;
        }
        Ok(())
    }

    /// Reports a copy. A copy of a peer may be what was reported to it before.
    fn tell(&mut self, offer: ClipboardOffer, by: Option<Actor>) {
        let new = &offer.content;
        let known = &self.known.content;
        let echo = match by {
            // A page may send back the text without its HTML.
            Some(Actor::Peer(_)) => {
                new.text == known.text && new.png.is_none() && (new.html.is_none() || new.html == known.html)
            }
            Some(Actor::Api) => false,
            None => self.handed_over && new == known,
        };
        if echo {
            return;
        }
        let offer = without_picture(offer);
        self.known.clone_from(&offer);
        if self.events.try_send(Event::Clipboard { offer, by }).is_err() {
            tracing::debug!("nobody hears of the new clipboard");
        }
    }

    /// Starts a transfer from the owner, with the list of types.
    fn start_fetch(
        &mut self,
        wanted: Wanted,
        waiting: Vec<(Wanted, Reply)>,
        tell: bool,
    ) -> Result<(), ReplyOrIdError> {
        let window = hidden_window(&self.x, self.root)?;
        self.fetch = Some(Fetch::new(Instant::now(), window, wanted, waiting, tell));
        self.convert(window, self.atoms.TARGETS)
    }

    fn convert(&self, window: Window, target: Atom) -> Result<(), ReplyOrIdError> {
        let Atoms { CLIPBOARD, ORIEL_CLIPBOARD, .. } = self.atoms;
        self.x.convert_selection(window, CLIPBOARD, target, ORIEL_CLIPBOARD, x11rb::CURRENT_TIME)?;
        Ok(())
    }

    /// The owner has replied: with the content, with the announcement of pieces, or with a refusal.
    fn receive(&mut self, now: Instant, notify: &SelectionNotifyEvent) -> Result<(), ReplyOrIdError> {
        let Some(fetch) = self.fetch.as_ref().filter(|fetch| fetch.window == notify.requestor) else {
            return Ok(());
        };
        let read = match notify.property {
            x11rb::NONE => None,
            _ => Some(self.take_property(notify.requestor, fetch.max_len())?),
        };
        let Some(fetch) = &mut self.fetch else { return Ok(()) };
        let next = match read {
            Some(read) => fetch.answered(now, &self.atoms, read),
            None => fetch.refused(now, &self.atoms),
        };
        self.go_on(next)
    }

    /// The next piece has arrived.
    fn receive_piece(&mut self, now: Instant, window: Window) -> Result<(), ReplyOrIdError> {
        let is_ours = |fetch: &&Fetch| fetch.window == window && fetch.takes_pieces();
        let Some(fetch) = self.fetch.as_ref().filter(is_ours) else { return Ok(()) };
        let read = self.take_property(window, fetch.max_len())?;
        let Some(fetch) = &mut self.fetch else { return Ok(()) };
        let next = fetch.piece(now, &self.atoms, read);
        self.go_on(next)
    }

    fn go_on(&mut self, next: Next) -> Result<(), ReplyOrIdError> {
        match (next, &mut self.fetch) {
            (Next::Ask(target), Some(fetch)) => {
                let window = fetch.window;
                self.convert(window, target)
            }
            (Next::AskElsewhere(target), Some(fetch)) => {
                self.x.destroy_window(fetch.window)?;
                let window = hidden_window(&self.x, self.root)?;
                fetch.window = window;
                self.convert(window, target)
            }
            (Next::Done(result), Some(_)) => self.finish(result),
            (Next::Wait, _) | (_, None) => Ok(()),
        }
    }

    /// Reads and deletes the property of a transfer, up to the maximal length.
    fn take_property(&self, window: Window, max: usize) -> Result<Read, ReplyOrIdError> {
        // At most MAX_PICTURE.
        let words = (max as u32).div_ceil(4);
        let property = self.atoms.ORIEL_CLIPBOARD;
        let reply = self.x.get_property(true, window, property, AtomEnum::ANY, 0, words)?.reply()?;
        let too_long = reply.bytes_after > 0 || reply.value.len() > max;
        if reply.bytes_after > 0 {
            self.x.delete_property(window, property)?;
        }
        Ok(Read { kind: reply.type_, bytes: reply.value, too_long })
    }

    /// The transfer is complete.
    fn finish(&mut self, result: Result<(), Error>) -> Result<(), ReplyOrIdError> {
        let Some(fetch) = self.fetch.take() else { return Ok(()) };
        self.x.destroy_window(fetch.window)?;
        if fetch.outdated && self.ours.is_none() {
            return self.start_fetch(Wanted::Texts, fetch.waiting, true);
        }
        let Fetch { wanted, waiting, tell, secret, offer, .. } = fetch;
        let mut others = Vec::new();
        for (asked, reply) in waiting {
            let answer = match (&self.ours, &result) {
                // If we have become the owner meanwhile, those who wait get the content of now.
                (Some(ours), _) => Ok(offer_of(ours, asked)),
                (None, Ok(())) if asked != wanted => {
                    others.push((asked, reply));
                    continue;
                }
                (None, Ok(())) => Ok(offer.clone()),
                (None, Err(Error::Clipboard(error))) if asked != wanted => {
                    tracing::debug!("{error}");
                    others.push((asked, reply));
                    continue;
                }
                (None, Err(Error::Clipboard(error))) => Err(Error::Clipboard(error.clone())),
                (None, Err(Error::SilentClipboard)) => Err(Error::SilentClipboard),
                (None, Err(Error::X(message))) => Err(Error::X(message.clone())),
                (None, Err(error)) => Err(Error::X(error.to_string())),
            };
            // Fails when the requester is gone.
            let _ = reply.try_send(answer);
        }
        match result {
            // Content of ours has been reported already.
            Ok(()) if tell && self.ours.is_none() && is_something(&offer) => {
                self.kept = (!secret && wanted == Wanted::Texts).then(|| offer.content.clone());
                self.kept = self.kept.take().filter(|kept| kept.text.is_some() || kept.html.is_some());
                self.tell(offer, None);
                self.handed_over = false;
            }
            Ok(()) => {}
            Err(error) => tracing::debug!("{error}"),
        }
        match others.first() {
            Some((wanted, _)) => self.start_fetch(*wanted, others, false),
            None => Ok(()),
        }
    }
}

/// The requested part of the content that we own.
fn offer_of(ours: &Ours, wanted: Wanted) -> ClipboardOffer {
    let Content { text, html, png } = &*ours.content;
    let content = match wanted {
        Wanted::Texts => Content { text: text.clone(), html: html.clone(), png: None },
        Wanted::Picture => Content { png: png.clone(), ..Content::default() },
    };
    ClipboardOffer { types: ours.content.types(), content }
}

/// A report names a picture, which is fetched only when somebody requests it.
fn without_picture(mut offer: ClipboardOffer) -> ClipboardOffer {
    offer.content.png = None;
    offer
}

/// An empty text alone is no copy.
fn is_something(offer: &ClipboardOffer) -> bool {
    offer.content.text.as_ref().is_some_and(|text| !text.is_empty())
        || offer.types.iter().any(|kind| *kind != ClipboardType::Text)
}
