//! Input by XTest, seen by programs: xterm, which looks keys up as most programs do, and a window of our own.

use std::collections::BTreeMap;
use std::fs;

use common::input::{Button, KeyCode, Position};
use common::spec::Command;
use streamer::input::sink::{Action, Error, Press, Sink as _};
use streamer::source::desktop::command::{RunningCommand, Surroundings};
use streamer::source::desktop::sink::X11Sink;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ConnectionExt as _, CreateWindowAux, EventMask, InputFocus, KeyButMask, KeyPressEvent, WindowClass,
};
use x11rb::rust_connection::RustConnection;

use crate::{ABILITIES, Desk, until};

fn key(code: &str, press: Press) -> Action {
    Action::Key(KeyCode::parse(code).unwrap(), press)
}

fn tap(sink: &mut X11Sink, code: &str) {
    sink.apply(&key(code, Press::Down)).unwrap();
    sink.apply(&key(code, Press::Up)).unwrap();
}

/// A window over the whole screen that has the focus.
struct Window {
    x: RustConnection,
}

impl Window {
    fn open(desk: &Desk) -> Self {
        let (x, screen) = desk.server.display().connect().unwrap();
        let root = x.setup().roots[screen].clone();
        let window = x.generate_id().unwrap();
        let events = EventMask::KEY_PRESS
            | EventMask::KEY_RELEASE
            | EventMask::BUTTON_PRESS
            | EventMask::BUTTON_RELEASE
            | EventMask::POINTER_MOTION
            | EventMask::EXPOSURE;
        let aux = CreateWindowAux::new().event_mask(events).background_pixel(1);
        let w = root.width_in_pixels;
        let h = root.height_in_pixels;
        x.create_window(24, window, root.root, 0, 0, w, h, 0, WindowClass::INPUT_OUTPUT, 0, &aux).unwrap();
        x.map_window(window).unwrap();
        x.flush().unwrap();
        while !matches!(x.wait_for_event().unwrap(), Event::Expose(_)) {}
        x.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME).unwrap().check().unwrap();
        Self { x }
    }

    /// All events so far: a round trip makes sure that those of what was injected before have come. The sink's
    /// own round trip must have been before that.
    fn events(&self, sink: &mut X11Sink) -> Vec<Event> {
        // A key that nothing else uses marks the end.
        tap(sink, "F12");
        let mut events = Vec::new();
        loop {
            match self.x.wait_for_event().unwrap() {
                Event::KeyPress(press) if press.detail == 96 => {}
                Event::KeyRelease(release) if release.detail == 96 => return events,
                event => events.push(event),
            }
        }
    }

    /// What a program without modifiers of its own would get: the symbol of the key and the state.
    fn keys(&self, sink: &mut X11Sink) -> Vec<(u8, KeyButMask)> {
        let press = |event| match event {
            Event::KeyPress(KeyPressEvent { detail, state, .. }) => Some((detail, state)),
            _ => None,
        };
        self.events(sink).into_iter().filter_map(press).collect()
    }

    fn down(&self) -> Vec<u8> {
        let keys = self.x.query_keymap().unwrap().reply().unwrap().keys;
        (8..=255u8).filter(|k| keys[usize::from(k / 8)] & (1 << (k % 8)) != 0).collect()
    }
}

/// xterm running `cat` into a file.
struct Terminal {
    _session: RunningCommand,
    file: std::path::PathBuf,
}

impl Terminal {
    fn open(desk: &Desk, sink: &mut X11Sink) -> Self {
        let file = desk.path().join("typed");
        let line = format!("stty -echo; echo ready > {0}; exec cat >> {0}", file.display());
        let argv = ["xterm", "-u8", "-geometry", "80x24+0+0", "-e", "sh", "-c", &line];
        let command = Command::Argv(argv.map(str::to_owned).to_vec());
        let around = Surroundings {
            display: desk.server.display(),
            sound: None,
            dir: desk.path(),
            home: &common::spec::Home::Session,
            homes: &common::spec::HomeDirs::default(),
        };
        let session =
            RunningCommand::start(&command, &BTreeMap::new(), &around, |why| panic!("{why:?}")).unwrap();
        until("xterm", || (fs::read_to_string(&file).ok()? == "ready\n").then_some(()));
        // Without a window manager the window under the pointer has the focus.
        sink.apply(&Action::PointerTo(Position { x: 100.0, y: 100.0 })).unwrap();
        Self { _session: session, file }
    }

    /// What was typed, up to the last line end, once `lines` of them have come.
    fn lines(&self, lines: usize) -> String {
        until("the typed lines", || {
            let text = fs::read_to_string(&self.file).ok()?;
            let text = text.strip_prefix("ready\n")?;
            (text.matches('\n').count() >= lines).then(|| text.to_owned())
        })
    }
}

#[test]
fn any_text_arrives_exactly() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let terminal = Terminal::open(&desk, &mut sink);
    let mixed = "Aä€漢😀 ß|~@ \"Quoted\" {x^2} ÅŁЖжΩ¿ naïve";
    let many: String = ('一'..).take(60).chain(('😀'..).take(40)).collect();
    for text in [mixed, &many, &many, "the quick brown FOX 0123456789"] {
        sink.apply(&Action::Text(format!("{text}\n"))).unwrap();
    }
    assert_eq!(terminal.lines(4), format!("{mixed}\n{many}\n{many}\nthe quick brown FOX 0123456789\n"));
}

/// As the input thread types a long text, so that others' input is not kept waiting.
#[test]
fn a_text_typed_in_slices_arrives_exactly() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let terminal = Terminal::open(&desk, &mut sink);
    let text: String = ('一'..).take(200).collect();
    let chars: Vec<char> = text.chars().collect();
    for slice in chars.chunks(8) {
        sink.apply(&Action::Text(slice.iter().collect())).unwrap();
    }
    sink.apply(&Action::Text("\n".to_owned())).unwrap();
    assert_eq!(terminal.lines(1), format!("{text}\n"));
}

#[test]
fn characters_arrive_whatever_is_held_and_whatever_the_layout() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let terminal = Terminal::open(&desk, &mut sink);
    let type_chars = |sink: &mut X11Sink, text: &str| {
        for char in text.chars() {
            sink.apply(&Action::Char(char, Press::Down)).unwrap();
            sink.apply(&Action::Char(char, Press::Up)).unwrap();
        }
    };
    type_chars(&mut sink, "aBé漢/?\n");
    sink.apply(&key("ShiftLeft", Press::Down)).unwrap();
    type_chars(&mut sink, "aBé漢/?\n");
    sink.apply(&Action::Text("aB/é\n".into())).unwrap();
    sink.apply(&key("ShiftLeft", Press::Up)).unwrap();
    tap(&mut sink, "CapsLock");
    type_chars(&mut sink, "aBé漢/?\n");
    sink.apply(&Action::Text("aB/é\n".into())).unwrap();
    tap(&mut sink, "KeyA");
    tap(&mut sink, "CapsLock");
    tap(&mut sink, "KeyA");
    tap(&mut sink, "Enter");
    sink.apply(&key("ControlLeft", Press::Down)).unwrap();
    sink.apply(&Action::Text("no shortcut\n".into())).unwrap();
    sink.apply(&key("ControlLeft", Press::Up)).unwrap();
    let expected = "aBé漢/?\naBé漢/?\naB/é\naBé漢/?\naB/é\nAa\nno shortcut\n";
    assert_eq!(terminal.lines(7), expected);

    // A German keyboard: other places, AltGr, a dead key; and one with two layouts.
    for layout in [["de", "@{[]}\\~€µ ^`´ yzYZ ÄÖÜß z漢"], ["us,ru", "hello Привет №"]] {
        let [layout, text] = layout;
        fs::write(&terminal.file, "ready\n").unwrap();
        let display = desk.server.display();
        let status = std::process::Command::new("setxkbmap")
            .args(["-display", &display.name, "-layout", layout])
            .env("XAUTHORITY", display.xauthority.as_ref().unwrap())
            .status();
        assert!(status.unwrap().success());
        sink.apply(&Action::Text(format!("{text}\n"))).unwrap();
        type_chars(&mut sink, &format!("{text}\n"));
        assert_eq!(terminal.lines(2), format!("{text}\n{text}\n"), "{layout}");
    }
}

#[test]
fn the_number_pad_gives_numbers_and_texts_are_as_ever() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    sink.lock_num().unwrap();
    let terminal = Terminal::open(&desk, &mut sink);
    for code in ["Numpad7", "Numpad1", "NumpadDecimal", "Numpad5", "Enter"] {
        tap(&mut sink, code);
    }
    let text = "aB1.5 +-*/=é漢/?\n";
    sink.apply(&Action::Text(text.into())).unwrap();
    for char in text.chars() {
        sink.apply(&Action::Char(char, Press::Down)).unwrap();
        sink.apply(&Action::Char(char, Press::Up)).unwrap();
    }
    assert_eq!(terminal.lines(3), format!("71.5\n{text}{text}"));
    // A viewer's keyboard is locked otherwise, and then as before.
    sink.apply(&Action::Locks { caps: Some(true), num: None }).unwrap();
    for code in ["KeyQ", "Numpad7", "Enter"] {
        tap(&mut sink, code);
    }
    sink.apply(&Action::Locks { caps: Some(false), num: Some(true) }).unwrap();
    for code in ["KeyQ", "Numpad7", "Enter"] {
        tap(&mut sink, code);
    }
    assert!(terminal.lines(5).ends_with("Q7\nq7\n"));
    // A viewer turns it off.
    tap(&mut sink, "NumLock");
    tap(&mut sink, "Numpad7");
    tap(&mut sink, "Enter");
    let last = terminal.lines(6);
    assert!(!last.ends_with("q7\n7\n"), "{last}");
}

#[test]
fn keys_by_place_and_chords_arrive_as_they_are() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let window = Window::open(&desk);
    sink.apply(&key("ControlLeft", Press::Down)).unwrap();
    tap(&mut sink, "KeyC");
    sink.apply(&Action::Char('v', Press::Down)).unwrap();
    sink.apply(&Action::Char('v', Press::Up)).unwrap();
    sink.apply(&key("ControlLeft", Press::Up)).unwrap();
    tap(&mut sink, "ArrowLeft");
    let none = KeyButMask::default();
    let expected = [(37, none), (54, KeyButMask::CONTROL), (55, KeyButMask::CONTROL), (113, none)];
    assert_eq!(window.keys(&mut sink), expected);
    assert!(matches!(sink.apply(&key("Fn", Press::Down)), Err(Error::NoSuchKey(code)) if code == "Fn"));
}

#[test]
fn a_held_character_is_held_by_one_key() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let window = Window::open(&desk);
    for char in ['x', '漢', 'Q'] {
        sink.apply(&Action::Char(char, Press::Down)).unwrap();
        // Another key takes the borrowed Shift away from the held one.
        sink.apply(&key("F11", Press::Down)).unwrap();
        sink.apply(&key("F11", Press::Up)).unwrap();
        window.events(&mut sink);
        assert_eq!(window.down().len(), 1, "{char}");
        sink.apply(&Action::Char(char, Press::Up)).unwrap();
        window.events(&mut sink);
        assert!(window.down().is_empty(), "{char}");
    }
}

#[test]
fn buttons_wheel_and_pointer_arrive() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    let window = Window::open(&desk);
    let mut apply = |actions: &[Action]| {
        for action in actions {
            sink.apply(action).unwrap();
        }
        window.events(&mut sink)
    };
    let position = |x, y| Action::PointerTo(Position { x, y });
    let pointer = || {
        let reply = window.x.query_pointer(window.x.setup().roots[0].root).unwrap().reply().unwrap();
        (reply.root_x, reply.root_y)
    };
    apply(&[position(10.9, 20.2)]);
    assert_eq!(pointer(), (10, 20));
    apply(&[Action::PointerBy { dx: 0.5, dy: -1.0 }, Action::PointerBy { dx: 0.5, dy: -1.0 }]);
    assert_eq!(pointer(), (11, 18));
    apply(&[position(1e9, -5.0)]);
    assert_eq!(pointer(), (ABILITIES.largest.width as i16 - 1, 0));
    apply(&[position(500.0, 500.0)]);

    for number in 1..=9 {
        let button = Button::new(number).unwrap();
        let events = apply(&[Action::Button(button, Press::Down), Action::Button(button, Press::Up)]);
        let [Event::ButtonPress(press), Event::ButtonRelease(release)] = &events[..] else {
            panic!("{events:?}")
        };
        assert_eq!((press.detail, release.detail), (number, number));
    }
    let events = apply(&vec![Action::Wheel { dx: -0.25, dy: 0.1 }; 20]);
    let clicks: Vec<u8> = events
        .iter()
        .filter_map(|event| match event {
            Event::ButtonPress(press) => Some(press.detail),
            _ => None,
        })
        .collect();
    assert_eq!(clicks, [6, 6, 5, 6, 6, 5, 6]);
}

#[test]
fn what_is_held_is_released_when_the_sink_goes() {
    let desk = Desk::start();
    let window = Window::open(&desk);
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    for action in [key("KeyA", Press::Down), key("ShiftLeft", Press::Down), Action::Char('漢', Press::Down)]
    {
        sink.apply(&action).unwrap();
    }
    sink.apply(&Action::Button(Button::LEFT, Press::Down)).unwrap();
    window.events(&mut sink);
    assert_eq!(window.down().len(), 3);
    drop(sink);
    until("the release", || window.down().is_empty().then_some(()));
    let reply = window.x.query_pointer(window.x.setup().roots[0].root).unwrap().reply().unwrap();
    assert_eq!(reply.mask, KeyButMask::default());
}

#[test]
fn the_end_of_the_server_is_the_end_of_the_sink() {
    let desk = Desk::start();
    let mut sink = X11Sink::new(desk.server.display()).unwrap();
    drop(desk);
    assert!(matches!(sink.apply(&key("KeyA", Press::Down)), Err(Error::Gone(_))));
    assert!(matches!(sink.apply(&Action::Text("a".into())), Err(Error::Gone(_))));
}
