//! Reports which windows of a desktop are opened, closed, and renamed.
//!
//! A thread with a connection of its own sleeps until an event of the X server may mean such a change, lists the
//! windows again, and reports the difference. A window that is opened and closed in between is not reported.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use common::event::Happening;
use common::slots::Window as Listed;
use x11rb::connection::Connection as _;
use x11rb::errors::ConnectionError;
use x11rb::protocol::Event as XEvent;
use x11rb::protocol::xproto::{
    Atom, AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, EventMask, Window,
};
use x11rb::rust_connection::RustConnection;

use super::ewmh::Atoms;
use super::list;
use crate::source::desktop::display::{Display, x};
use crate::source::video::Outbox;
use crate::source::worker::{Inbox, Next, Worker};
use crate::source::{Error, Event, Events};
use crate::throttle::Throttle;

/// Windows are listed at most this often: some programs show their progress in the title.
const INTERVAL: Duration = Duration::from_millis(100);

/// The thread, which ends when this is dropped.
pub type Watch = Worker<Infallible>;

/// Starts watching: windows that are opened from now on are reported as [`Event::Windows`].
///
/// # Errors
/// [`Error::X`] when the display cannot be reached.
pub fn start(display: &Display, events: Events) -> Result<Watch, Error> {
    let mut watcher = Watcher::new(display, events)?;
    Worker::spawn("windows", move |inbox| {
        if let Err(error) = watcher.run(&inbox) {
            // The X server has ended, which others report.
            tracing::debug!(%error, "windows are not watched any more");
        }
    })
}

struct Watcher {
    x: RustConnection,
    root: Window,
    atoms: Atoms,
    known: Known,
    changed: Throttle,
    outbox: Outbox,
}

impl Watcher {
    fn new(display: &Display, events: Events) -> Result<Self, Error> {
        let (connection, number) = display.connect()?;
        let screen = connection.setup().roots.get(number).ok_or_else(|| x("it has no such screen"))?;
        let root = screen.root;
        let atoms = Atoms::new(&connection).map_err(x)?.reply().map_err(x)?;
        let events_of_root = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::PROPERTY_CHANGE;
        let selected = ChangeWindowAttributesAux::new().event_mask(events_of_root);
        connection.change_window_attributes(root, &selected).map_err(x)?.check().map_err(x)?;
        let mut watcher = Self {
            x: connection,
            root,
            atoms,
            known: Known::new(),
            changed: Throttle::new(INTERVAL),
            outbox: Outbox::new(events),
        };
        // On a display that is not ours there may be some already.
        watcher.poll().map_err(x)?;
        Ok(watcher)
    }

    fn run(&mut self, inbox: &Inbox<Infallible>) -> Result<(), Error> {
        loop {
            while let Some(event) = self.x.poll_for_event().map_err(x)? {
                if self.concerns(&event) {
                    self.changed.changed();
                }
            }
            match inbox.next() {
                Next::Command(never) => match never {},
                Next::Stop => return Ok(()),
                Next::Empty => {}
            }
            self.outbox.flush();
            let now = Instant::now();
            // While the last difference waits for room, the next one grows instead.
            let full = self.outbox.retry_at(now);
            if full.is_none() && self.changed.take(now) {
                let changes = self.poll().map_err(x)?;
                if !changes.is_empty() {
                    self.outbox.send(Event::Windows(changes));
                }
                continue;
            }
            let until = full.or_else(|| self.changed.due(now));
            inbox
                .sleep(&[self.x.stream().as_fd()], until)
                .map_err(|source| Error::Io { what: "waiting for the X server".into(), source })?;
        }
    }

    /// Whether this event may mean other windows or titles.
    fn concerns(&self, event: &XEvent) -> bool {
        let names: [Atom; 2] = [AtomEnum::WM_NAME.into(), self.atoms._NET_WM_NAME];
        match event {
            // Menus and the like are not reported.
            XEvent::MapNotify(event) => !event.override_redirect,
            XEvent::ReparentNotify(event) => !event.override_redirect,
            XEvent::UnmapNotify(_) | XEvent::DestroyNotify(_) => true,
            XEvent::PropertyNotify(event) if event.window == self.root => {
                event.atom == self.atoms._NET_CLIENT_LIST_STACKING
            }
            XEvent::PropertyNotify(event) => names.contains(&event.atom),
            _ => false,
        }
    }

    /// The difference to the previous list.
    fn poll(&mut self) -> Result<Vec<Happening>, ConnectionError> {
        let windows = list::list(&self.x, self.root, &self.atoms)?;
        let selected = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        for window in windows.iter().filter(|window| !self.known.contains_key(&window.id)) {
            // For a window that is gone, the reply is an error, which is ignored.
            self.x.change_window_attributes(window.id, &selected)?;
            // Its title may have changed before we receive events of it.
            self.changed.changed();
        }
        self.x.flush()?;
        Ok(update(&mut self.known, windows))
    }
}

/// The windows that there are, with their titles.
type Known = BTreeMap<u32, String>;

/// Takes a new list, and returns the difference.
fn update(known: &mut Known, windows: Vec<Listed>) -> Vec<Happening> {
    let mut changes = Vec::new();
    known.retain(|id, _| {
        let is_there = windows.iter().any(|window| window.id == *id);
        if !is_there {
            changes.push(Happening::WindowClosed { window_id: *id });
        }
        is_there
    });
    // The lowest first, as they were opened in general.
    for Listed { id, title, app, .. } in windows.into_iter().rev() {
        match known.insert(id, title.clone()) {
            None => changes.push(Happening::WindowOpened { window_id: id, title, app }),
            Some(before) if before != title => {
                changes.push(Happening::WindowTitled { window_id: id, title });
            }
            Some(_) => {}
        }
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn window(id: u32, title: &str) -> Listed {
        Listed { id, title: title.into(), app: "app".into(), width: 100, height: 100, focused: false }
    }

    #[test]
    fn what_is_opened_closed_and_renamed_is_told_once() {
        let mut known = Known::new();
        let opened = |window_id, title: &str| Happening::WindowOpened {
            window_id,
            title: title.into(),
            app: "app".into(),
        };
        // The topmost is the first.
        let changes = update(&mut known, vec![window(2, "b"), window(1, "a")]);
        assert_eq!(changes, [opened(1, "a"), opened(2, "b")]);
        assert_eq!(update(&mut known, vec![window(1, "a"), window(2, "b")]), []);
        let changes = update(&mut known, vec![window(1, "A"), window(3, "c")]);
        assert_eq!(
            changes,
            [
                Happening::WindowClosed { window_id: 2 },
                opened(3, "c"),
                Happening::WindowTitled { window_id: 1, title: "A".into() },
            ]
        );
        assert_eq!(update(&mut known, Vec::new()).len(), 2);
        assert!(known.is_empty());
    }
}
