//! Serves our clipboard content to programs that request it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use common::clipboard::Content;
use common::clipboard::MAX_TEXT;
use x11rb::errors::ReplyOrIdError;
use x11rb::protocol::xproto::{
    self, Atom, AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, PropMode,
    SelectionNotifyEvent, SelectionRequestEvent, Window,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use super::Atoms;

/// Longer content is sent in pieces of this many bytes. Texts never are; the protocol's own limit is twice as much.
const PIECE: usize = MAX_TEXT;
/// Most transfers in pieces at once; a further one is refused.
const MOST: usize = 8;
/// How long a program may take to fetch a piece.
const PIECE_TIME: Duration = Duration::from_secs(5);

/// Content that we own on the clipboard.
#[derive(Clone)]
pub struct Ours {
    pub content: Arc<Content>,
    /// Server time at which we became its owner.
    pub since: xproto::Timestamp,
}

/// The transfers that are under way: pictures, in pieces.
#[derive(Default)]
pub struct Outgoing(Vec<Transfer>);

struct Transfer {
    to: Window,
    property: Atom,
    kind: Atom,
    content: Arc<Content>,
    /// Bytes of the picture that have been sent.
    sent: usize,
    deadline: Instant,
}

impl Outgoing {
    /// When the first of them times out.
    pub fn deadline(&self) -> Option<Instant> {
        self.0.iter().map(|transfer| transfer.deadline).min()
    }

    /// Drops transfers that nobody fetches.
    pub fn expire(&mut self, now: Instant) {
        self.0.retain(|transfer| transfer.deadline > now);
    }

    /// Replies to a program: with what it requests, or with a refusal.
    pub fn serve(
        &mut self,
        now: Instant,
        x: &RustConnection,
        atoms: &Atoms,
        ours: Option<&Ours>,
        request: &SelectionRequestEvent,
    ) -> Result<(), ReplyOrIdError> {
        // Old programs name no property (ICCCM §2.2).
        let property = if request.property == x11rb::NONE { request.target } else { request.property };
        let answered = match ours {
            Some(ours) if request.selection == atoms.CLIPBOARD => {
                self.answer(now, x, atoms, ours, request, property)?
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
        x.send_event(false, request.requestor, EventMask::NO_EVENT, notify)?;
        Ok(())
    }

    /// Writes the requested content to the requestor's window. False when we do not have it.
    fn answer(
        &mut self,
        now: Instant,
        x: &RustConnection,
        atoms: &Atoms,
        ours: &Ours,
        request: &SelectionRequestEvent,
        property: Atom,
    ) -> Result<bool, ReplyOrIdError> {
        let SelectionRequestEvent { requestor: to, target, .. } = *request;
        let latin1 = Atom::from(AtomEnum::STRING);
        let replace = PropMode::REPLACE;
        let Content { text, html, png } = &*ours.content;
        if target == atoms.TARGETS {
            let mut all = vec![atoms.TARGETS, atoms.TIMESTAMP];
            if text.is_some() {
                all.extend([atoms.UTF8_STRING, atoms.PLAIN_UTF8, atoms.PLAIN, atoms.TEXT, latin1]);
            }
            all.extend(html.is_some().then_some(atoms.HTML));
            all.extend(png.is_some().then_some(atoms.PNG));
            x.change_property32(replace, to, property, AtomEnum::ATOM, &all)?;
            return Ok(true);
        }
        if target == atoms.TIMESTAMP {
            x.change_property32(replace, to, property, AtomEnum::INTEGER, &[ours.since])?;
            return Ok(true);
        }
        let given = match (text, html, png) {
            (Some(text), ..) if [atoms.UTF8_STRING, atoms.PLAIN_UTF8, atoms.PLAIN].contains(&target) => {
                (target, text.as_bytes())
            }
            (Some(text), ..) if target == atoms.TEXT => (atoms.UTF8_STRING, text.as_bytes()),
            (Some(text), ..) if target == latin1 => {
                let text: Vec<u8> = text.chars().map(|c| u8::try_from(c).unwrap_or(b'?')).collect();
                x.change_property8(replace, to, property, latin1, &text)?;
                return Ok(true);
            }
            (_, Some(html), _) if target == atoms.HTML => (target, html.as_bytes()),
            (.., Some(png)) if target == atoms.PNG => (target, &png[..]),
            _ => return Ok(false),
        };
        let (kind, bytes) = given;
        if bytes.len() <= PIECE {
            x.change_property8(replace, to, property, kind, bytes)?;
            return Ok(true);
        }
        // A new request of the same window replaces the one before.
        self.0.retain(|transfer| (transfer.to, transfer.property) != (to, property));
        if self.0.len() == MOST {
            return Ok(false);
        }
        // Before the transfer is announced, so that no deletion is missed.
        watch(x, to, EventMask::PROPERTY_CHANGE)?;
        // At most MAX_PICTURE.
        x.change_property32(replace, to, property, atoms.INCR, &[bytes.len() as u32])?;
        let content = Arc::clone(&ours.content);
        self.0.push(Transfer { to, property, kind, content, sent: 0, deadline: now + PIECE_TIME });
        Ok(true)
    }

    /// A program has deleted a property: if it held a piece, the next one follows, and an empty one at the end.
    pub fn deleted(
        &mut self,
        now: Instant,
        x: &RustConnection,
        window: Window,
        property: Atom,
    ) -> Result<(), ReplyOrIdError> {
        let is_it = |transfer: &Transfer| (transfer.to, transfer.property) == (window, property);
        let Some(n) = self.0.iter().position(is_it) else { return Ok(()) };
        let Transfer { kind, content, sent, deadline, .. } = &mut self.0[n];
        let all = content.png.as_deref().unwrap_or_default();
        let piece = &all[*sent..all.len().min(*sent + PIECE)];
        x.change_property8(PropMode::REPLACE, window, property, *kind, piece)?;
        *sent += piece.len();
        *deadline = now + PIECE_TIME;
        if piece.is_empty() {
            self.0.swap_remove(n);
            if !self.0.iter().any(|transfer| transfer.to == window) {
                watch(x, window, EventMask::NO_EVENT)?;
            }
        }
        Ok(())
    }
}

/// Selects which events of another client's window we receive.
fn watch(x: &RustConnection, window: Window, events: EventMask) -> Result<(), ReplyOrIdError> {
    x.change_window_attributes(window, &ChangeWindowAttributesAux::new().event_mask(events))?;
    Ok(())
}
