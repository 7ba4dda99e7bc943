//! The clipboard, shared with another client of the X server.

use std::sync::mpsc::{SyncSender, sync_channel};
use std::thread::JoinHandle;

use common::clipboard::{ClipboardType, Content, InvalidContent, MAX_PICTURE, MAX_TEXT, Wanted};
use common::id::PeerId;
use common::input::Actor;
use streamer::source::desktop::clipboard::XClipboard;
use streamer::source::{Clipboard as _, ClipboardOffer, Error, Event, Events, SourceKey};
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

/// How a program hands over what it has.
#[derive(Clone, Copy, PartialEq)]
enum Way {
    AtOnce,
    /// In pieces of so many bytes.
    Pieces(usize),
    /// It has no list of its types.
    Unlisted,
    /// It gives the first that it has to whoever asks for whatever, as `xclip` does.
    Careless,
    /// It never answers.
    Never,
}

/// What a program has, by the names of its types.
type Things<'a> = &'a [(&'static str, &'a [u8])];

struct Program {
    x: RustConnection,
    window: Window,
}

/// A program that owns the clipboard.
struct Owning {
    window: Window,
    thread: JoinHandle<()>,
}

impl Program {
    fn start(desk: &Desk) -> Self {
        let (x, screen) = desk.server.display().connect().unwrap();
        let root = x.setup().roots[screen].root;
        let window = x.generate_id().unwrap();
        let aux = CreateWindowAux::new().event_mask(EventMask::PROPERTY_CHANGE);
        let made = x.create_window(0, window, root, 0, 0, 1, 1, 0, WindowClass::INPUT_ONLY, 0, &aux);
        made.unwrap().check().unwrap();
        Self { x, window }
    }

    fn atom(&self, name: &str) -> u32 {
        self.x.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    /// Reads the clipboard as `target`: the type and the bytes, or nothing if it is refused.
    fn read(&self, target: &str) -> Option<(u32, Vec<u8>)> {
        let selection = self.atom("CLIPBOARD");
        let property = self.atom("HERE");
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
        let (kind, bytes) = self.take(property);
        if kind == self.atom("INCR") { Some(self.read_pieces(property)) } else { Some((kind, bytes)) }
    }

    fn read_pieces(&self, property: u32) -> (u32, Vec<u8>) {
        let mut all = Vec::new();
        loop {
            if let XEvent::PropertyNotify(notify) = self.x.wait_for_event().unwrap()
                && (notify.atom, notify.state) == (property, Property::NEW_VALUE)
            {
                let (kind, piece) = self.take(property);
                if piece.is_empty() {
                    return (kind, all);
                }
                all.extend(piece);
            }
        }
    }

    fn take(&self, property: u32) -> (u32, Vec<u8>) {
        let reply = self.x.get_property(true, self.window, property, AtomEnum::ANY, 0, u32::MAX / 4);
        let reply = reply.unwrap().reply().unwrap();
        (reply.type_, reply.value)
    }

    /// The names of the types that are offered.
    fn targets(&self) -> Vec<String> {
        let (kind, bytes) = self.read("TARGETS").unwrap();
        assert_eq!(kind, u32::from(AtomEnum::ATOM));
        let name = |atom: &[u8; 4]| {
            let reply = self.x.get_atom_name(u32::from_ne_bytes(*atom)).unwrap().reply().unwrap();
            String::from_utf8(reply.name).unwrap()
        };
        bytes.as_chunks::<4>().0.iter().map(name).collect()
    }

    fn own(&self, selection: &str) {
        self.x.set_selection_owner(self.window, self.atom(selection), x11rb::CURRENT_TIME).unwrap();
        self.x.sync().unwrap();
    }

    /// Puts a text on the clipboard and serves it until somebody else takes it.
    fn offer(self, text: &str, way: Way) -> Owning {
        self.offer_all(&[("UTF8_STRING", text.as_bytes())], way)
    }

    /// The same with things of any types.
    fn offer_all(self, things: Things<'_>, way: Way) -> Owning {
        self.own("CLIPBOARD");
        let things: Vec<(u32, Vec<u8>)> =
            things.iter().map(|(name, bytes)| (self.atom(name), bytes.to_vec())).collect();
        let window = self.window;
        let thread = std::thread::spawn(move || {
            loop {
                match self.x.wait_for_event() {
                    Ok(XEvent::SelectionRequest(request)) => self.serve(&request, &things, way),
                    Ok(XEvent::SelectionClear(_)) | Err(_) => return,
                    Ok(_) => {}
                }
            }
        });
        Owning { window, thread }
    }

    fn serve(&self, request: &SelectionRequestEvent, things: &[(u32, Vec<u8>)], way: Way) {
        let to = request.requestor;
        let property = request.property;
        let mut notify = SelectionNotifyEvent {
            response_type: SELECTION_NOTIFY_EVENT,
            sequence: 0,
            time: request.time,
            requestor: to,
            selection: request.selection,
            target: request.target,
            property,
        };
        let targets = self.atom("TARGETS");
        let mut known = things.iter().find(|(target, _)| *target == request.target);
        if way == Way::Careless && request.target != targets {
            known = things.first();
        }
        match (way, known) {
            (Way::Never, _) => return,
            (Way::AtOnce | Way::Pieces(_) | Way::Careless, None) if request.target == targets => {
                let mut all = vec![targets];
                all.extend(things.iter().map(|(target, _)| target));
                self.x.change_property32(PropMode::REPLACE, to, property, AtomEnum::ATOM, &all).unwrap();
            }
            (_, None) => notify.property = x11rb::NONE,
            (Way::Pieces(_), Some((_, bytes))) => {
                let aux = ChangeWindowAttributesAux::new().event_mask(EventMask::PROPERTY_CHANGE);
                self.x.change_window_attributes(to, &aux).unwrap();
                let len = [bytes.len() as u32];
                self.x.change_property32(PropMode::REPLACE, to, property, self.atom("INCR"), &len).unwrap();
            }
            (_, Some((_, bytes))) => {
                self.x.change_property8(PropMode::REPLACE, to, property, request.target, bytes).unwrap();
            }
        }
        self.x.send_event(false, to, EventMask::NO_EVENT, notify).unwrap();
        self.x.flush().unwrap();
        if let (Way::Pieces(size), Some((kind, bytes))) = (way, known) {
            for piece in bytes.chunks(size).chain([&b""[..]]) {
                if !self.wait_deleted(to, property) {
                    return;
                }
                self.x.change_property8(PropMode::REPLACE, to, property, *kind, piece).unwrap();
                self.x.flush().unwrap();
            }
        }
    }

    /// False when the window is gone instead.
    fn wait_deleted(&self, window: Window, property: u32) -> bool {
        loop {
            match self.x.wait_for_event() {
                Ok(XEvent::PropertyNotify(notify))
                    if (notify.window, notify.atom, notify.state) == (window, property, Property::DELETE) =>
                {
                    return true;
                }
                Ok(XEvent::Error(_)) | Err(_) => return false,
                Ok(_) => {}
            }
        }
    }

    /// Ends the program that owns the clipboard.
    fn kill(&self, owning: Owning) {
        self.x.kill_client(owning.window).unwrap().check().unwrap();
        owning.thread.join().unwrap();
    }
}

fn start(desk: &Desk) -> (XClipboard, mpsc::Receiver<(SourceKey, Event)>) {
    let (sender, receiver) = mpsc::channel(16);
    let events = Events::new(SourceKey::default(), sender);
    (XClipboard::start(desk.server.display(), events).unwrap(), receiver)
}

fn set(clipboard: &XClipboard, text: &str, by: Actor) -> Result<(), Error> {
    put(clipboard, Content::text(text), by)
}

fn put(clipboard: &XClipboard, content: Content, by: Actor) -> Result<(), Error> {
    clipboard.set(content, by).blocking_recv().unwrap()
}

/// The text that is there, if there is one.
fn text(clipboard: &XClipboard) -> Option<String> {
    clipboard.get(Wanted::Texts).unwrap().content.text
}

/// What was copied next, and by whom.
fn told_all(events: &mut mpsc::Receiver<(SourceKey, Event)>) -> (ClipboardOffer, Option<Actor>) {
    until("the new clipboard", || match events.try_recv() {
        Ok((_, Event::Clipboard { offer, by })) => Some((offer, by)),
        Ok(other) => panic!("{other:?}"),
        Err(_) => None,
    })
}

/// The text that was copied next, and by whom.
fn told(events: &mut mpsc::Receiver<(SourceKey, Event)>) -> (String, Option<Actor>) {
    let (offer, by) = told_all(events);
    (offer.content.text.unwrap(), by)
}

/// Bytes that begin as a PNG does, and have zeros in them.
fn png(len: usize) -> Vec<u8> {
    let mut png = b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR".to_vec();
    png.extend((0..len - png.len()).map(|n| (n * 7 + n / 251) as u8));
    png
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
    assert_eq!(
        clipboard.get(Wanted::Texts).unwrap(),
        ClipboardOffer::default(),
        "nobody has put anything there"
    );
    for text in ["Grüße", &long(100_000), &long(MAX_TEXT), ""] {
        set(&clipboard, text, Actor::Api).unwrap();
        let utf8 = program.atom("UTF8_STRING");
        assert_eq!(program.read("UTF8_STRING"), Some((utf8, text.as_bytes().to_vec())));
        assert_eq!(program.read("TEXT"), Some((utf8, text.as_bytes().to_vec())));
        assert_eq!(self::text(&clipboard).as_deref(), Some(text));
    }
    set(&clipboard, "Grüße 漢", Actor::Api).unwrap();
    assert_eq!(program.read("STRING").unwrap().1, b"Gr\xfc\xdfe ?");
    assert_eq!(program.read("image/png"), None);
    let targets = program.targets();
    assert!(
        ["UTF8_STRING", "text/plain", "STRING"].iter().all(|text| targets.iter().any(|name| name == text))
    );
    assert!(!targets.iter().any(|name| name == "text/html" || name == "image/png"), "{targets:?}");
    assert_eq!(program.read("TIMESTAMP").unwrap().1.len(), 4);
    let error = set(&clipboard, &"x".repeat(MAX_TEXT + 1), Actor::Api).unwrap_err();
    assert!(matches!(error, Error::Clipboard(InvalidContent::TooLong { len, .. }) if len == MAX_TEXT + 1));
}

#[test]
fn a_text_of_ours_is_told_of_once_with_who_set_it() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let a = Actor::Peer(PeerId::unique());
    let b = Actor::Peer(PeerId::unique());
    // Given back by everybody who was told of it, it is no news.
    for by in [a, b, a] {
        set(&clipboard, "one", by).unwrap();
    }
    // A program gives nothing back: what it puts there is meant.
    for _ in 0..2 {
        set(&clipboard, "two", Actor::Api).unwrap();
    }
    let program = Program::start(&desk);
    program.offer("of a program", Way::AtOnce);
    let mut heard: Vec<_> = (0..4).map(|_| told(&mut events)).collect();
    set(&clipboard, "of a program", b).unwrap();
    set(&clipboard, "one", b).unwrap();
    heard.push(told(&mut events));
    let api = Some(Actor::Api);
    let program = ("of a program", None);
    let expected = [("one", Some(a)), ("two", api), ("two", api), program, ("one", Some(b))];
    assert_eq!(heard, expected.map(|(text, by)| (text.to_owned(), by)));
}

#[test]
fn a_text_of_a_program_is_told_of_and_read() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let long_texts = [long(100_000), long(MAX_TEXT), long(MAX_TEXT - 9)];
    let utf8 = "Grüße 漢😀";
    for (text, name, bytes, way) in [
        (utf8, "UTF8_STRING", utf8.as_bytes(), Way::AtOnce),
        (utf8, "text/plain;charset=utf-8", utf8.as_bytes(), Way::AtOnce),
        (utf8, "UTF8_STRING", utf8.as_bytes(), Way::Unlisted),
        ("Grüße", "STRING", b"Gr\xfc\xdfe", Way::AtOnce),
        ("Grüße", "STRING", b"Gr\xfc\xdfe", Way::Unlisted),
        (&long_texts[0], "UTF8_STRING", long_texts[0].as_bytes(), Way::Pieces(4_000)),
        (&long_texts[1], "UTF8_STRING", long_texts[1].as_bytes(), Way::Pieces(50_000)),
        (&long_texts[2], "UTF8_STRING", long_texts[2].as_bytes(), Way::AtOnce),
    ] {
        let program = Program::start(&desk);
        let served = program.offer_all(&[(name, bytes)], way);
        assert!(told(&mut events) == (text.to_owned(), None), "told of another text of {} bytes", text.len());
        assert!(self::text(&clipboard).as_deref() == Some(text), "read another text of {} bytes", text.len());
        // Ours takes its place.
        set(&clipboard, "ours", Actor::Api).unwrap();
        assert_eq!(told(&mut events), ("ours".to_owned(), Some(Actor::Api)));
        served.thread.join().unwrap();
    }
}

/// A viewer who has copied something else meanwhile, where the page may not look, pastes that otherwise.
#[test]
fn a_copy_of_the_same_text_is_told_of_again() {
    let desk = Desk::start();
    let (_clipboard, mut events) = start(&desk);
    let _programs = [0; 3].map(|_| {
        let owning = Program::start(&desk).offer("foo", Way::AtOnce);
        assert_eq!(told(&mut events), ("foo".to_owned(), None));
        owning
    });
}

#[test]
fn a_picture_is_offered_and_never_taken_for_a_text() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let small = png(1000);
    let large = png(MAX_PICTURE);
    for (png, way) in [
        (&small, Way::AtOnce),
        (&small, Way::Careless),
        (&large, Way::AtOnce),
        (&large, Way::Pieces(300_000)),
    ] {
        Program::start(&desk).offer_all(&[("image/png", png)], way);
        let expected = ClipboardOffer { types: vec![ClipboardType::Png], content: Content::default() };
        assert_eq!(told_all(&mut events), (expected.clone(), None));
        assert_eq!(clipboard.get(Wanted::Texts).unwrap(), expected);
        let picture = clipboard.get(Wanted::Picture).unwrap();
        assert!(picture.content.png.as_ref() == Some(png) && picture.types == [ClipboardType::Png]);
    }
    // Without a list of types nobody knows that it is a picture: it is no text all the same.
    let program = Program::start(&desk);
    program.offer_all(&[("UTF8_STRING", &small)], Way::Unlisted);
    assert_eq!(clipboard.get(Wanted::Texts).unwrap(), ClipboardOffer::default());
    Program::start(&desk).offer_all(&[("image/png", b"GIF89a")], Way::AtOnce);
    assert_eq!(told_all(&mut events).0.types, [ClipboardType::Png]);
    assert_eq!(clipboard.get(Wanted::Picture).unwrap(), ClipboardOffer::default(), "it is none");
}

#[test]
fn html_is_carried_beside_its_text_both_ways() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let program = Program::start(&desk);
    let both =
        |text: &str, html: &str| Content { text: Some(text.into()), html: Some(html.into()), png: None };
    program.offer_all(&[("UTF8_STRING", b"bold"), ("text/html", b"<b>bold</b>")], Way::AtOnce);
    let (offer, by) = told_all(&mut events);
    assert_eq!((&offer.content, by), (&both("bold", "<b>bold</b>"), None));
    assert_eq!(offer.types, [ClipboardType::Text, ClipboardType::Html]);
    assert_eq!(clipboard.get(Wanted::Texts).unwrap(), offer);
    // Its layout is too long; its text is not.
    let html = "x".repeat(MAX_TEXT + 1);
    for way in [Way::AtOnce, Way::Pieces(50_000)] {
        let things: Things<'_> = &[("UTF8_STRING", b"long"), ("text/html", html.as_bytes())];
        Program::start(&desk).offer_all(things, way);
        let (offer, _) = told_all(&mut events);
        assert_eq!((offer.content, offer.types), (Content::text("long"), vec![ClipboardType::Text]));
    }

    put(&clipboard, both("ours", "<i>ours</i>"), Actor::Api).unwrap();
    assert_eq!(told_all(&mut events).0.content, both("ours", "<i>ours</i>"));
    let program = Program::start(&desk);
    assert_eq!(program.read("UTF8_STRING").unwrap().1, b"ours");
    assert_eq!(program.read("text/html").unwrap(), (program.atom("text/html"), b"<i>ours</i>".to_vec()));
    assert!(program.targets().iter().any(|name| name == "text/html"));
}

#[test]
fn a_picture_of_ours_is_given_to_programs_in_pieces() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    for len in [1000, MAX_TEXT, 1_000_000, MAX_PICTURE] {
        let content = Content { png: Some(png(len)), ..Content::default() };
        put(&clipboard, content.clone(), Actor::Api).unwrap();
        let (offer, _) = told_all(&mut events);
        assert_eq!((offer.types, offer.content), (vec![ClipboardType::Png], Content::default()));
        let one = Program::start(&desk);
        let other = Program::start(&desk);
        let targets = one.targets();
        assert!(targets.iter().any(|name| name == "image/png"), "{targets:?}");
        assert_eq!(one.read("UTF8_STRING"), None);
        std::thread::scope(|scope| {
            for program in [&one, &other] {
                scope.spawn(|| {
                    let (kind, bytes) = program.read("image/png").unwrap();
                    assert!(kind == program.atom("image/png") && Some(bytes) == content.png);
                });
            }
        });
        assert_eq!(clipboard.get(Wanted::Picture).unwrap().content, content);
    }
    for (png, message) in [(png(MAX_PICTURE + 1), "4194304"), (b"GIF89a".to_vec(), "not a PNG")] {
        let content = Content { png: Some(png), ..Content::default() };
        let error = put(&clipboard, content, Actor::Api).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
}

#[test]
fn the_text_of_a_program_that_has_ended_stays() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    let other = Program::start(&desk);
    let things: Things<'_> =
        &[("UTF8_STRING", b"kept"), ("text/html", b"<p>kept</p>"), ("image/png", &png(100))];
    let owning = Program::start(&desk).offer_all(things, Way::AtOnce);
    told_all(&mut events);
    other.kill(owning);
    until("the text of the program that has ended", || {
        (other.read("UTF8_STRING")?.1 == b"kept" && other.read("text/html")?.1 == b"<p>kept</p>")
            .then_some(())
    });
    let kept = clipboard.get(Wanted::Texts).unwrap();
    assert_eq!(kept.content.text.as_deref(), Some("kept"));
    assert_eq!(kept.types, [ClipboardType::Text, ClipboardType::Html], "the picture had not been asked for");
    // The next copy is told of, as ever; that it was kept is not.
    let owning = Program::start(&desk).offer("kept", Way::AtOnce);
    assert_eq!(told(&mut events), ("kept".to_owned(), None));
    other.kill(owning);

    // Cleared on purpose, secret, or the task of a clipboard manager, it is not kept.
    let gone = |program: &Program| program.read("UTF8_STRING").is_none().then_some(());
    let program = Program::start(&desk);
    let _owning = program.offer("cleared", Way::AtOnce);
    assert_eq!(told(&mut events).0, "cleared");
    let selection = other.atom("CLIPBOARD");
    other.x.set_selection_owner(x11rb::NONE, selection, x11rb::CURRENT_TIME).unwrap().check().unwrap();
    until("it cleared", || gone(&other));
    assert_eq!(text(&clipboard), None);

    let things: Things<'_> = &[("UTF8_STRING", b"pass"), ("x-kde-passwordManagerHint", b"secret")];
    let owning = Program::start(&desk).offer_all(things, Way::AtOnce);
    assert_eq!(told(&mut events).0, "pass");
    other.kill(owning);
    assert_eq!(text(&clipboard), None);

    let manager = Program::start(&desk);
    manager.own("CLIPBOARD_MANAGER");
    let owning = Program::start(&desk).offer("managed", Way::AtOnce);
    assert_eq!(told(&mut events).0, "managed");
    other.kill(owning);
    assert_eq!(text(&clipboard), None);
    // What it puts there again is no copy; what comes then is one.
    let again = manager.offer("managed", Way::AtOnce);
    until("it there again", || (text(&clipboard)? == "managed").then_some(()));
    Program::start(&desk).offer("managed", Way::AtOnce);
    assert_eq!(told(&mut events).0, "managed");
    assert!(events.try_recv().is_err(), "told of once");
    again.thread.join().unwrap();
}

#[test]
fn what_is_too_long_or_does_not_come_is_an_error_and_not_the_end() {
    let desk = Desk::start();
    let (clipboard, mut events) = start(&desk);
    for (len, way) in [(MAX_TEXT + 100, Way::AtOnce), (MAX_TEXT * 2, Way::Pieces(50_000))] {
        let program = Program::start(&desk);
        program.offer(&long(len), way);
        let error = until("the error", || clipboard.get(Wanted::Texts).err());
        assert!(matches!(error, Error::Clipboard(InvalidContent::TooLong { .. })), "{error}");
        assert!(error.to_string().contains("131072"), "{error}");
    }
    for way in [Way::AtOnce, Way::Pieces(1_000_000)] {
        Program::start(&desk).offer_all(&[("image/png", &png(MAX_PICTURE + 1))], way);
        let error = until("the error", || clipboard.get(Wanted::Picture).err());
        assert!(error.to_string().contains("4194304"), "{error}");
    }
    Program::start(&desk).offer("nothing", Way::Never);
    until("the error", || clipboard.get(Wanted::Texts).err());
    while events.try_recv().is_ok() {}
    let program = Program::start(&desk);
    program.offer("good", Way::AtOnce);
    assert_eq!(told(&mut events), ("good".to_owned(), None));
    drop(desk);
    assert!(clipboard.get(Wanted::Texts).is_err());
}

#[test]
fn many_who_ask_at_once_are_all_answered() {
    let desk = Desk::start();
    let (clipboard, _events) = start(&desk);
    let program = Program::start(&desk);
    program.offer(&long(100_000), Way::Pieces(10_000));
    until("the text", || text(&clipboard).filter(|text| text.len() > 1));
    let (sender, receiver): (SyncSender<usize>, _) = sync_channel(10);
    std::thread::scope(|scope| {
        for _ in 0..10 {
            let clipboard = &clipboard;
            let sender = sender.clone();
            scope.spawn(move || sender.send(text(clipboard).unwrap().len()).unwrap());
        }
    });
    let lengths: Vec<usize> = receiver.try_iter().collect();
    assert_eq!(lengths.len(), 10);
    assert!(lengths.iter().all(|len| *len == long(100_000).len()));
}
