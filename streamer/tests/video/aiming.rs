//! Input that is for one window, whatever is over it and wherever it is.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use common::input::{Button, KeyCode, Position};
use common::spec::{Command, WindowSpec};
use streamer::input::sink::{Action, Error, Press, Sink as _};
use streamer::source::Event as SourceEvent;
use streamer::source::desktop::command::{RunningCommand, Surroundings};
use streamer::source::desktop::sink::X11Sink;
use x11rb::connection::Connection as _;
use x11rb::protocol::Event;
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, EventMask, GetGeometryReply, MapState,
};

use crate::Stage;
use crate::painter::{BARE, BLUE, MANAGED, Program, RED, until};

fn on_both(test: impl Fn(&Stage, &Program, X11Sink, bool)) {
    for managed in [false, true] {
        let stage = Stage::start(if managed { MANAGED } else { BARE });
        let program = Program::on(&stage, managed);
        let sink = X11Sink::new(&program.display).unwrap();
        test(&stage, &program, sink, managed);
    }
}

/// xterm running `cat` into a file.
struct Terminal {
    _session: RunningCommand,
    _dir: tempfile::TempDir,
    file: PathBuf,
    window: u32,
}

impl Terminal {
    fn open(stage: &Stage, program: &Program, title: &str, geometry: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("typed");
        let line = format!("stty -echo; echo ready > {0}; exec cat >> {0}", file.display());
        let argv = ["xterm", "-u8", "-T", title, "-geometry", geometry, "-e", "sh", "-c", &line];
        let command = Command::Argv(argv.map(str::to_owned).to_vec());
        let around = Surroundings {
            display: &program.display,
            sound: None,
            dir: dir.path(),
            home: &common::spec::Home::Session,
            homes: &common::spec::HomeDirs::default(),
        };
        let session = RunningCommand::start(&command, &BTreeMap::new(), &around, |_| {}).unwrap();
        until("xterm", || (fs::read_to_string(&file).ok()? == "ready\n").then_some(()));
        let windows = stage.source.windows().unwrap();
        let window =
            until("its window", || windows.list().unwrap().into_iter().find(|window| window.title == title));
        Self { _session: session, _dir: dir, file, window: window.id }
    }

    fn lines(&self, lines: usize) -> String {
        until("the typed lines", || {
            let text = fs::read_to_string(&self.file).ok()?;
            let text = text.strip_prefix("ready\n")?;
            (text.matches('\n').count() >= lines).then(|| text.to_owned())
        })
    }
}

#[test]
fn two_windows_over_each_other_each_get_exactly_their_own_text() {
    on_both(|stage, program, mut sink, _| {
        let open = |title| Terminal::open(stage, program, title, "60x20+30+30");
        let terminals = [open("one"), open("two")];
        let cover = program.open("cover", BLUE, (0, 0), (800, 600));
        let mut expected = [String::new(), String::new()];
        for round in 0..10 {
            for (n, terminal) in terminals.iter().enumerate() {
                let text = format!("round {round} for {n}: aB€ {}\n", "x".repeat(round));
                sink.aim(Some(terminal.window)).unwrap();
                sink.apply(&Action::Text(text.clone())).unwrap();
                expected[n] += &text;
            }
            if round % 3 == 0 {
                program.raise(cover);
                program.focus(cover);
            }
        }
        for (terminal, expected) in terminals.iter().zip(expected) {
            assert_eq!(terminal.lines(10), expected);
        }
    });
}

/// A window that tells of clicks, and where they were.
fn clickable(program: &Program, title: &str, at: (i16, i16)) -> u32 {
    let window = program.open(title, RED, at, (300, 200));
    let events = EventMask::BUTTON_PRESS | EventMask::STRUCTURE_NOTIFY;
    let aux = ChangeWindowAttributesAux::new().event_mask(events);
    program.x.change_window_attributes(window, &aux).unwrap().check().unwrap();
    window
}

/// Clicks at a position of a window, and waits for the window to get it.
fn click(program: &Program, sink: &mut X11Sink, window: u32, x: f64, y: f64) -> (i16, i16) {
    sink.aim(Some(window)).unwrap();
    sink.apply(&Action::PointerTo(Position { x, y })).unwrap();
    for press in [Press::Down, Press::Up] {
        sink.apply(&Action::Button(Button::LEFT, press)).unwrap();
    }
    until("the click", || match program.x.poll_for_event().unwrap() {
        Some(Event::ButtonPress(press)) => {
            assert_eq!(press.event, window, "another window got it");
            Some((press.event_x, press.event_y))
        }
        _ => None,
    })
}

#[test]
fn clicks_reach_a_window_that_is_covered_or_off_the_screen_in_its_own_coordinates() {
    on_both(|_, program, mut sink, _| {
        let window = clickable(program, "window", (100, 100));
        let other = clickable(program, "other", (90, 90));
        assert_eq!(click(program, &mut sink, window, 20.9, 30.0), (20, 30));
        assert_eq!(click(program, &mut sink, other, 1.0, 2.0), (1, 2));
        assert_eq!(click(program, &mut sink, window, 150.0, 100.0), (150, 100));
        // Outside is its edge.
        assert_eq!(click(program, &mut sink, window, 1e9, -3.0), (299, 0));
        for (x, y) in [(-250, -150), (750, 580)] {
            program.configure(window, &ConfigureWindowAux::new().x(x).y(y));
            until("its new place", || {
                (program.place(window).0 < 0 || program.place(window).0 > 500).then_some(())
            });
            for at in [(0, 0), (299, 199), (150, 20)] {
                let clicked = click(program, &mut sink, window, f64::from(at.0), f64::from(at.1));
                assert_eq!(clicked, at);
            }
        }
        sink.aim(None).unwrap();
        sink.apply(&Action::PointerTo(Position { x: 7.0, y: 9.0 })).unwrap();
        until("the pointer", || (program.pointer_in(program.root) == (7, 9)).then_some(()));
    });
}

/// What the program of a window has put over it.
fn menu_over(program: &Program, window: u32) -> Option<(u32, GetGeometryReply)> {
    let children = program.x.query_tree(program.root).unwrap().reply().unwrap().children;
    children.into_iter().rev().find_map(|other| {
        let attributes = program.x.get_window_attributes(other).unwrap().reply().ok()?;
        let is_menu = attributes.override_redirect && attributes.map_state == MapState::VIEWABLE;
        let geometry = program.x.get_geometry(other).unwrap().reply().ok()?;
        (is_menu && other != window && geometry.width > 20 && geometry.height > 40)
            .then_some((other, geometry))
    })
}

#[test]
fn the_menu_of_a_terminal_is_seen_in_its_slot_and_takes_what_is_chosen_there() {
    on_both(|stage, program, mut sink, _| {
        let terminal = Terminal::open(stage, program, "terminal", "60x40+30+30");
        let spec = WindowSpec { window_id: terminal.window, fps: 30, bitrate_kbps: Some(4000) };
        let windows = stage.source.windows().unwrap();
        let mut shared = Stage::of(None, |outlets| windows.open(&spec, outlets)).unwrap();
        shared.watch();
        shared.next();
        let before = shared.snapshot();
        sink.aim(Some(terminal.window)).unwrap();
        let press = |sink: &mut X11Sink, press: Press| {
            sink.apply(&Action::Button(Button::LEFT, press)).unwrap();
        };
        let control = KeyCode::parse("ControlLeft").unwrap();
        sink.apply(&Action::Key(control.clone(), Press::Down)).unwrap();
        sink.apply(&Action::PointerTo(Position { x: 30.0, y: 20.0 })).unwrap();
        press(&mut sink, Press::Down);
        let (_, menu) = until("xterm's main menu", || menu_over(program, terminal.window));
        let (x, y) = program.place(terminal.window);
        let at = (i32::from(menu.x - x), i32::from(menu.y - y));
        // Both are white: it is the lines of its text that are new.
        until("the menu in the picture of the window", || {
            let now = shared.snapshot();
            let stride = 4 * now.size.width as usize;
            let columns = 4 * at.0.max(0) as usize..4 * (at.0 + i32::from(menu.width)).max(0) as usize;
            let rows = at.1.max(0) as usize..(at.1 + i32::from(menu.height)).max(0) as usize;
            let differs = |row: &usize| {
                let span = row * stride + columns.start..row * stride + columns.end.min(stride);
                now.pixels[span.clone()] != before.pixels[span]
            };
            (now.size == before.size && rows.filter(differs).count() > 100).then_some(())
        });
        // Its last line ends the program.
        let last = Position { x: f64::from(at.0 + 20), y: f64::from(at.1 + i32::from(menu.height) - 8) };
        assert!(
            last.y < f64::from(before.size.height),
            "the menu's end is within the window: {last:?} {before:?}",
            before = before.size
        );
        sink.aim(Some(terminal.window)).unwrap();
        sink.apply(&Action::PointerTo(last)).unwrap();
        press(&mut sink, Press::Up);
        sink.apply(&Action::Key(control, Press::Up)).unwrap();
        let reason = shared.event("the end", |event| match event {
            SourceEvent::Ended(ended) => Some(ended.message().to_owned()),
            _ => None,
        });
        assert_eq!(reason, "the window was closed");
    });
}

#[test]
fn a_minimised_window_comes_back_for_input() {
    on_both(|stage, program, mut sink, managed| {
        let window = clickable(program, "window", (100, 100));
        click(program, &mut sink, window, 5.0, 5.0);
        if managed {
            let event = x11rb::protocol::xproto::ClientMessageEvent::new(
                32,
                window,
                program.atom("WM_CHANGE_STATE"),
                [3, 0, 0, 0, 0],
            );
            let mask = EventMask::SUBSTRUCTURE_NOTIFY | EventMask::SUBSTRUCTURE_REDIRECT;
            program.x.send_event(false, program.root, mask, event).unwrap().check().unwrap();
        } else {
            program.hide(window);
        }
        // The window itself goes first, then its frame, which shrinks.
        let parent = program.x.query_tree(window).unwrap().reply().unwrap().parent;
        let is_gone = || !program.is_shown(window) && (!managed || !program.is_shown(parent));
        until("it to be gone", || is_gone().then_some(()));
        assert_eq!(click(program, &mut sink, window, 5.0, 6.0), (5, 6));
        let listed = stage.source.windows().unwrap().list().unwrap();
        assert!(listed.iter().any(|listed| listed.id == window && listed.focused));
    });
}

#[test]
fn what_cannot_take_input_is_said_and_gets_none() {
    on_both(|_, program, mut sink, _| {
        let window = clickable(program, "window", (100, 100));
        click(program, &mut sink, window, 5.0, 5.0);
        program.close(window);
        for no in [window, program.root, 0, 0x7fff_fff0] {
            assert!(matches!(sink.aim(Some(no)), Err(Error::NoSuchWindow(id)) if id == no));
        }
        let other = clickable(program, "other", (100, 100));
        assert_eq!(click(program, &mut sink, other, 5.0, 5.0), (5, 5));
    });
}
