//! The clipboard, shared with another client of the X server.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use common::id::PeerId;
use common::input::{Actor, MAX_TEXT};
use streamer::source::desktop::clipboard::XClipboard;
use streamer::source::{Clipboard as _, Error, Event, Events, SourceKey};
use tokio::sync::mpsc;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event as XEvent;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConnectionExt as _, CreateWindowAux, EventMask, PropMode, Property,
    SELECTION_NOTIFY_EVENT, SelectionNotifyEvent, SelectionRequestEvent, Window, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::{Desk, until};

/// How a program hands its text over.
#[derive(Clone, Copy)]
enum Way {
    AtOnce,
    /// In pieces of so many bytes.
    Pieces(usize),
    /// It knows Latin-1 only.
    Latin1,
    /// It never answers.
    Never,
}

struct Program {
    x: RustConnection,
    window: Window,
}

impl Program {
    fn start(desk: &Desk) -> Self {
        let (x, screen) = desk.server.display().connect().unwrap();
        let root = x.setup().roots[screen].root;
        let window = x.generate_id().unwrap();
        x.create_window(0, window, root, 0, 0, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &CreateWindowAux::new())
            .unwrap()
            .check()
            .unwrap();
        Self { x, window }
    }

    fn atom(&self, name: &str) -> u32 {
        self.x.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Reads the clipboard as `target`: the type and the bytes, or nothing if it is refused.
    fn read(&self, target: &str) -> Option<(u32, Vec<u8>)> {
        let (selection, property) = (self.atom("CLIPBOARD"), self.atom("HERE"));
        self.x
            .convert_selection(self.window, selection, self.atom(target), property, x11rb::CURRENT_TIME)
            .unwrap();
        self.x.flush().unwrap();
        let notify = loop {
            if let XEvent::SelectionNotify(notify) = self.x.wait_for_event().unwrap() {
                break notify;
            }
        };
        if notify.property == x11rb::NONE {
            return None;
        }
        let reply = self.x.get_property(true, self.window, property, AtomEnum::ANY, 0, 1 << 20);
        let reply = reply.unwrap().reply().unwrap();
        Some((reply.type_, reply.value))
    }

    fn own(&self) {
        self.x.set_selection_owner(self.window, self.atom("CLIPBOARD"), x11rb::CURRENT_TIME).unwrap();
        self.x.flush().unwrap();
    }

    /// Puts `text` on the clipboard and serves it until somebody else takes it.
    fn offer(self, text: &str, way: Way) -> JoinHandle<()> {
        self.own();
        let text = match way {
            Way::Latin1 => text.chars().map(|c| u8::try_from(c).unwrap()).collect(),
            _ => text.as_bytes().to_vec(),
        };
        std::thread::spawn(move || {
            loop {
                match self.x.wait_for_event() {
                    Ok(XEvent::SelectionRequest(request)) => self.serve(&request, &text, way),
                    Ok(XEvent::SelectionClear(_)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        })
    }

    fn serve(&self, request: &SelectionRequestEvent, text: &[u8], way: Way) {
        let (to, property) = (request.requestor, request.property);
        let known = match way {
            Way::Latin1 => u32::from(AtomEnum::STRING),
            _ => self.atom("UTF8_STRING"),
        };
        let mut notify = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: to,
            selection: request.selection,
            target: request.target,
            property,
        };
        match way {
            Way::Never => return,
            _ if request.target != known => notify.property = x11rb::NONE,
            Way::AtOnce | Way::Latin1 => {
                self.x.change_property8(PropMode::REPLACE, to, property, known, text).unwrap();
            }
            Way::Pieces(_) => {
                let aux = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
                self.x.change_window_attributes(to, &aux).unwrap();
                let len = [text.len() as u32];
                self.x.change_property32(PropMode::REPLACE, to, property, self.atom("INCR"), &len).unwrap();
            }
        }
        self.x.send_event(false, to, EventMask::NO_EVENT, notify).unwrap();
        self.x.flush().unwrap();
        if let Way::Pieces(size) = way {
            for piece in text.chunks(size).chain([&b""[..]]) {
                self.wait_deleted(to, property);
                self.x.change_property8(PropMode::REPLACE, to, property, known, piece).unwrap();
                self.x.flush().unwrap();
            }
        }
    }

    fn wait_deleted(&self, window: Window, property: u32) {
        loop {
            if let XEvent::PropertyNotify(notify) = self.x.wait_for_event().unwrap()
                && (notify.window, notify.atom, notify.state) == (window, property, Property::DELETE)
            {
                return;
            }
        }
    }
}

fn start(desk: &Desk) -> (XClipboard, mpsc::Receiver<(SourceKey, Event)>) {
    let (sender, receiver) = mpsc::channel(16);
    let events = Events::new(SourceKey::default(), sender);
    (XClipboard::start(desk.server.display(), events).unwrap(), receiver)
}

fn set(clipboard: &XClipboard, text: &str, by: Actor) -> Result<(), Error> {
    clipboard.set(text.to_owned(), by).blocking_recv().unwrap()
}

/// The next new text, and who set it.
fn told(events: &mut mpsc::Receiver<(SourceKey, Event)>) -> (String, Option<Actor>) {
    until("the new clipboard", || match events.try_recv() {
        Ok((_, Event::Clipboard { text, by })) => Some((text, by)),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    })
}

fn long(len: usize) -> String {
    "漢字 and words\n"
        .chars()
        .cycle()
        .scan(0, |n, c| {
            *n += c.len_utf8();
            (*n <= len).then_some(c)
        })
        .collect()
}

#[test]
fn a_text_of_ours_is_given_to_programs() {
    let desk = Desk::start();
    let (clipboard, _events) = start(&desk);
    let program = Program::start(&desk);
    assert_eq!(clipboard.get().unwrap(), "", "nobody has put anything there");
    for text in ["Grüße", &long(100_000), &long(MAX_TEXT), ""] {
        set(&clipboard, text, Actor::Api).unwrap();
        let utf8 = program.atom("UTF8_STRING");
        assert_eq!(program.read("UTF8_STRING"), Some((utf8, text.as_bytes().to_vec())));
        assert_eq!(program.read("TEXT"), Some((utf8, text.as_bytes().to_vec())));
        assert_eq!(clipboard.get().unwrap(), text);
    }
    set(&clipboard, "Grüße 漢", Actor::Api).unwrap();
    assert_eq!(program.read("STRING").unwrap().1, b"Gr\xfc\xdfe ?");
    assert_eq!(program.read("image/png"), None);
    let targets = program.read("TARGETS").unwrap();
    let names: Vec<u32> = targets.1.as_chunks::<4>().0.iter().map(|atom| u32::from_ne_bytes(*atom)).collect();
    assert!(names.contains(&program.atom("UTF8_STRING")) && targets.0 == u32::from(AtomEnum::ATOM));
    assert_eq!(program.read("TIMESTAMP").unwrap().1.len(), 4);
    assert!(set(&clipboard, &"x".repeat(MAX_TEXT + 1), Actor::Api).is_err());
}

#[test]
fn a_text_of_ours_is_told_of_once_with_who_set_it() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let (a, b) = (Actor::Peer(PeerId::unique()), Actor::Peer(PeerId::unique()));
    // Given back by everybody who was told of it, it is no news.
    for by in [a, b, Actor::Api] {
        set(&clipboard, "one", by).unwrap();
    }
    set(&clipboard, "two", Actor::Api).unwrap();
    let program = Program::start(&desk);
    program.offer("of a program", Way::AtOnce);
    let mut heard = vec![told(&mut events), told(&mut events), told(&mut events)];
    set(&clipboard, "of a program", b).unwrap();
    set(&clipboard, "one", b).unwrap();
    heard.push(told(&mut events));
    let expected = [("one", Some(a)), ("two", Some(Actor::Api)), ("of a program", None), ("one", Some(b))];
    assert_eq!(heard, expected.map(|(text, by)| (text.to_owned(), by)));
}

#[test]
fn a_text_of_a_program_is_told_of_and_read() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    for (text, way) in [
        ("Grüße 漢😀".to_owned(), Way::AtOnce),
        (long(100_000), Way::Pieces(4_000)),
        ("Grüße".to_owned(), Way::Latin1),
        (long(MAX_TEXT), Way::Pieces(50_000)),
        (long(MAX_TEXT - 9), Way::AtOnce),
    ] {
        let program = Program::start(&desk);
        let served = program.offer(&text, way);
        assert!(told(&mut events) == (text.clone(), None), "told of another text of {} bytes", text.len());
        assert!(clipboard.get().unwrap() == text, "read another text of {} bytes", text.len());
        // Ours takes its place.
        set(&clipboard, "ours", Actor::Api).unwrap();
        assert_eq!(told(&mut events), ("ours".to_owned(), Some(Actor::Api)));
        served.join().unwrap();
    }
}

#[test]
fn a_text_that_is_too_long_or_does_not_come_is_an_error_and_not_the_end() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    for (text, way) in [
        (long(MAX_TEXT + 100), Way::AtOnce),
        (long(MAX_TEXT * 2), Way::Pieces(50_000)),
        ("nothing".to_owned(), Way::Never),
    ] {
        let program = Program::start(&desk);
        program.offer(&text, way);
        until("the error", || clipboard.get().err());
    }
    let program = Program::start(&desk);
    program.offer("good", Way::AtOnce);
    assert_eq!(told(&mut events), ("good".to_owned(), None));
    drop(desk);
    assert!(clipboard.get().is_err());
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let desk = Desk::start();
    let (clipboard, _events) = start(&desk);
    let program = Program::start(&desk);
    program.offer(&long(100_000), Way::Pieces(10_000));
    until("the text", || (clipboard.get().unwrap().len() > 1).then_some(()));
    let (sender, receiver): (SyncSender<usize>, _) = sync_channel(10);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            let (clipboard, sender) = (&clipboard, sender.clone());
            scope.spawn(move || sender.send(clipboard.get().unwrap().len()).unwrap());
        }
    });
    let lengths: Vec<usize> = receiver.try_iter().collect();
    assert_eq!(lengths.len(), 10);
    assert!(lengths.iter().all(|len| *len == long(100_000).len()));
}
