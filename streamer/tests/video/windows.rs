//! Windows as sources: what they show, whatever happens to them on the screen.

use std::time::{Duration, Instant};

use common::slots::Window;
use common::spec::WindowSpec;
use streamer::media::Size;
use streamer::source::{Error, Event};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ColormapAlloc, ConfigureWindowAux, ConnectionExt as _,
    CreateWindowAux, PropMode, WindowClass,
};
use x11rb::wrapper::ConnectionExt as _;

use crate::painter::{BARE, BLUE, Colour, GREEN, MANAGED, Program, RED, until};
use crate::picture::Decoded;
use crate::{PATIENCE, Stage};

/// A desktop with or without a window manager, and a program on it.
fn desktop(managed: bool) -> (Stage, Program) {
    let stage = Stage::start(if managed { MANAGED } else { BARE });
    let program = Program::on(&stage, managed);
    (stage, program)
}

fn on_both(test: impl Fn(&Stage, &Program)) {
    for managed in [false, true] {
        let (stage, program) = desktop(managed);
        test(&stage, &program);
    }
}

fn list(desktop: &Stage) -> Vec<Window> {
    desktop.source.windows().unwrap().list().unwrap()
}

/// The window in the list, once it is there: a window manager takes its time.
fn listed(desktop: &Stage, id: u32) -> Window {
    until("the window in the list", || list(desktop).into_iter().find(|window| window.id == id))
}

fn try_share(desktop: &Stage, window_id: u32) -> Result<Stage, Error> {
    let spec = WindowSpec { window_id, fps: 30, bitrate_kbps: Some(4000) };
    let windows = desktop.source.windows().unwrap();
    Stage::of(None, |outlets| windows.open(&spec, outlets))
}

/// Shares a window and watches it.
fn share(desktop: &Stage, window: u32) -> Stage {
    listed(desktop, window);
    let shared = try_share(desktop, window).unwrap();
    shared.watch();
    shared
}

/// All of a picture, up to its edges, has this colour.
fn is_all(decoded: &Decoded, colour: Colour) -> bool {
    let Size { width, height } = decoded.size;
    let xs = [2, width / 2, width - 3];
    let ys = [2, height / 2, height - 3];
    xs.into_iter().all(|x| ys.into_iter().all(|y| decoded.shows(x, y, colour.1)))
}

fn size(width: u32, height: u32) -> Size {
    Size { width, height }
}

#[test]
fn the_list_has_what_can_be_shared_the_topmost_first() {
    on_both(|desktop, program| {
        assert_eq!(list(desktop), []);
        let below = program.open("Below – 漢", RED, (50, 60), (301, 200));
        let above = program.open("Above", BLUE, (60, 70), (320, 240));
        program.open("tiny", GREEN, (500, 0), (8, 100));
        let hidden = program.create("hidden", GREEN, (0, 0), (100, 100));
        let popup = program.x.generate_id().unwrap();
        let aux = CreateWindowAux::new().override_redirect(1);
        let class = WindowClass::INPUT_OUTPUT;
        program.x.create_window(0, popup, program.root, 0, 0, 99, 99, 0, class, 0, &aux).unwrap();
        program.show(popup);
        let panel = program.create("panel", GREEN, (0, 500), (100, 50));
        let kind = program.atom("_NET_WM_WINDOW_TYPE");
        let dock = program.atom("_NET_WM_WINDOW_TYPE_DOCK");
        program.x.change_property32(PropMode::REPLACE, panel, kind, AtomEnum::ATOM, &[dock]).unwrap();
        program.show(panel);
        program.raise(above);
        listed(desktop, below);
        listed(desktop, above);
        program.focus(below);
        until("the focus", || listed(desktop, below).focused.then_some(()));
        let expected = |id, title: &str, width, height, focused| {
            let title = title.to_owned();
            let app = "Tester".to_owned();
            Window { id, title, app, width, height, focused }
        };
        let top = expected(above, "Above", 320, 240, false);
        let bottom = expected(below, "Below – 漢", 301, 200, true);
        until("the order", || (list(desktop) == [top.clone(), bottom.clone()]).then_some(()));
        program.raise(below);
        until("the other order", || (list(desktop) == [bottom.clone(), top.clone()]).then_some(()));
        for no in [program.root, popup, hidden, 0, 0x7fff_fff0] {
            assert!(matches!(try_share(desktop, no), Err(Error::NoWindow(id)) if id == no), "{no}");
        }
    });
}

/// What window managers say of the order is wrong, each in its way: jwm's is upside down, fluxbox's never changes.
#[test]
fn the_order_is_that_of_the_screen_whatever_the_window_manager_says() {
    let (desktop, program) = desktop(false);
    let framed = |title: &str, colour| {
        let frame = program.create("frame", colour, (50, 50), (310, 220));
        let client = program.create(title, colour, (0, 0), (300, 200));
        program.x.reparent_window(client, frame, 5, 15).unwrap();
        program.x.map_window(client).unwrap();
        program.show(frame);
        (frame, client)
    };
    let red = framed("red", RED);
    let green = framed("green", GREEN);
    let blue = framed("blue", BLUE);
    let put = |window, name: &str, kind: AtomEnum, words: &[u32]| {
        program.x.change_property32(PropMode::REPLACE, window, program.atom(name), kind, words).unwrap();
    };
    let check = "_NET_SUPPORTING_WM_CHECK";
    let manager = program.create("manager", RED, (0, 0), (1, 1));
    put(manager, check, AtomEnum::WINDOW, &[manager]);
    let list_of_all = "_NET_CLIENT_LIST";
    let stacking = "_NET_CLIENT_LIST_STACKING";
    put(
        program.root,
        "_NET_SUPPORTED",
        AtomEnum::ATOM,
        &[list_of_all, stacking].map(|name| program.atom(name)),
    );
    put(program.root, list_of_all, AtomEnum::WINDOW, &[red.1, green.1, blue.1]);
    put(program.root, stacking, AtomEnum::WINDOW, &[blue.1, red.1]);
    put(program.root, check, AtomEnum::WINDOW, &[manager]);
    program.x.sync().unwrap();
    let order = || list(&desktop).into_iter().map(|window| window.id).collect::<Vec<u32>>();
    assert_eq!(order(), [blue.1, green.1, red.1]);
    program.raise(red.0);
    assert_eq!(order(), [red.1, blue.1, green.1]);
    program.raise(green.0);
    assert_eq!(order(), [green.1, red.1, blue.1]);
}

#[test]
fn covered_and_off_the_screen_it_is_seen_as_it_is() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (100, 100), (300, 200));
        program.open("cover", BLUE, (50, 50), (500, 400));
        let mut shared = share(desktop, window);
        let info = shared.source.info();
        assert_eq!((info.size, info.audio, info.input), (size(300, 200), false, true));
        let told = info.window.unwrap();
        assert_eq!((told.id, &*told.title, &*told.app), (window, "window", "Tester"));
        let first = shared.next();
        assert!(first.keyframe && first.size == size(300, 200));
        assert!(is_all(&first, RED), "covered, in its first picture");
        program.configure(window, &ConfigureWindowAux::new().x(-150).y(-90));
        program.paint(window, GREEN);
        shared.until("green", |decoded| is_all(decoded, GREEN));
        let picture = shared.snapshot();
        assert_eq!(picture.size, size(300, 200));
        assert!(picture.pixels.chunks(4).all(|pixel| pixel[..3] == [0, 255, 0]));
        assert!(!shared.events_so_far().iter().any(|event| matches!(event, Event::Cursor(_))));
    });
}

#[test]
fn sharing_a_window_leaves_the_focus_where_it_is() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (100, 100), (300, 200));
        listed(desktop, window);
        program.focus(window);
        until("the focus", || listed(desktop, window).focused.then_some(()));
        let mut shared = share(desktop, window);
        shared.next();
        assert!(listed(desktop, window).focused);
        assert!(shared.source.info().window.unwrap().focused);
    });
}

#[test]
fn it_is_followed_when_it_is_resized_once_it_rests() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (10, 30), (300, 200));
        let mut shared = share(desktop, window);
        shared.next();
        for step in 1..=5 {
            program.resize(window, 300 + 20 * step, 200 + 10 * step);
        }
        program.resize(window, 401, 301);
        program.paint(window, BLUE);
        // Odd sides are cut.
        let resized = shared.until("the new size", |decoded| decoded.size == size(400, 300));
        assert!(resized.keyframe);
        if !is_all(&resized, BLUE) {
            shared.until("blue", |decoded| is_all(decoded, BLUE));
        }
        assert_eq!(shared.source.info().size, size(400, 300));
        let told = |shared: &mut Stage| -> Vec<Size> {
            let sizes = shared.events_so_far().into_iter().filter_map(|event| match event {
                Event::Resized(size) => Some(size),
                _ => None,
            });
            sizes.collect()
        };
        // One more if this thread was kept from its turn in between.
        let sizes = told(&mut shared);
        assert!(sizes.ends_with(&[size(400, 300)]) && sizes.len() <= 2, "{sizes:?}");

        // Too small for a picture: the last one stays.
        program.resize(window, 400, 9);
        let picture = shared.snapshot();
        assert_eq!(picture.size, size(400, 300));
        program.resize(window, 320, 200);
        shared.until("the size after", |decoded| decoded.size == size(320, 200));
        assert_eq!(told(&mut shared), [size(320, 200)]);
    });
}

#[test]
fn it_can_be_asked_for_a_size() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (10, 30), (300, 200));
        let mut shared = share(desktop, window);
        shared.next();
        let asked = Instant::now();
        shared.resize(420, 260);
        assert_eq!(shared.source.info().size, size(420, 260));
        shared.until("the new size", |decoded| decoded.size == size(420, 260));
        assert!(
            asked.elapsed() < Duration::from_millis(250) || cfg!(debug_assertions),
            "it is not waited for"
        );
        let error = shared.source.resize(size(9000, 9)).blocking_recv().unwrap().unwrap_err();
        assert!(error.to_string().contains("9000x9"), "{error}");
    });
}

#[test]
fn titles_and_focus_are_told() {
    on_both(|desktop, program| {
        let window = program.open("first", RED, (10, 30), (300, 200));
        let other = program.open("other", BLUE, (400, 30), (300, 200));
        listed(desktop, other);
        let mut shared = share(desktop, window);
        shared.next();
        for n in 0..500 {
            program.retitle(window, &format!("{n} %"));
        }
        program.retitle(window, "done");
        let mut told = 0;
        shared.event("the title", |event| match event {
            Event::Window(info) => {
                told += 1;
                (info.title == "done").then_some(())
            }
            _ => None,
        });
        assert!(told < 50, "told {told} times");
        assert_eq!(shared.source.info().window.unwrap().title, "done");
        for (focused, target) in [(true, window), (false, other)] {
            program.focus(target);
            shared.event("the focus", |event| match event {
                Event::Window(info) => (info.focused == focused).then_some(()),
                _ => None,
            });
        }
    });
}

#[test]
fn minimised_it_keeps_its_picture_and_goes_on_when_it_is_back() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (10, 30), (300, 200));
        let mut shared = share(desktop, window);
        shared.until("red", |decoded| is_all(decoded, RED));
        shared.settle();
        program.hide(window);
        assert!(!list(desktop).iter().any(|listed| listed.id == window));
        let picture = shared.snapshot();
        assert!(picture.pixels.chunks(4).all(|pixel| pixel[..3] == [0, 0, 255]));
        shared.video_demand.ask_keyframe();
        let kept = shared.until("a keyframe", |decoded| decoded.keyframe);
        assert!(is_all(&kept, RED));
        program.paint(window, BLUE);
        program.show(window);
        shared.until("blue", |decoded| is_all(decoded, BLUE));
        program.paint(window, GREEN);
        shared.until("green", |decoded| is_all(decoded, GREEN));
        program.hide(window);
        program.resize(window, 200, 100);
        program.show(window);
        shared.until("another size", |decoded| decoded.size == size(200, 100) && is_all(decoded, GREEN));
    });
}

#[test]
fn its_end_is_told_when_it_is_closed() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (10, 30), (300, 200));
        let mut shared = share(desktop, window);
        shared.next();
        program.close(window);
        let reason = shared.event("the end", |event| match event {
            Event::Ended(ended) => Some(ended.message().to_owned()),
            _ => None,
        });
        assert_eq!(reason, "the window was closed");
        assert!(matches!(try_share(desktop, window), Err(Error::NoWindow(_))));
    });
}

/// A window that the window manager leaves alone, as menus are.
fn popup(program: &Program, colour: Colour, at: (i16, i16), size: (u16, u16)) -> u32 {
    let popup = program.create("popup", colour, at, size);
    let aux = ChangeWindowAttributesAux::new().override_redirect(1);
    program.x.change_window_attributes(popup, &aux).unwrap();
    program.show(popup);
    popup
}

#[test]
fn its_menus_are_in_its_picture_at_their_places_and_other_programs_are_not() {
    on_both(|desktop, program| {
        let window = program.open("window", RED, (100, 100), (300, 200));
        let mut shared = share(desktop, window);
        shared.until("red", |decoded| is_all(decoded, RED));
        let (x, y) = program.place(window);
        let menu = popup(program, GREEN, (x + 50, y + 40), (80, 60));
        let inside = |decoded: &Decoded, colour: Colour| decoded.shows(90, 70, colour.1);
        let outside = |decoded: &Decoded| {
            [(46, 70), (134, 70), (90, 36), (90, 104), (2, 2)]
                .into_iter()
                .all(|(x, y)| decoded.shows(x, y, RED.1))
        };
        shared.until("the menu", |decoded| inside(decoded, GREEN) && outside(decoded));
        program.paint(menu, BLUE);
        shared.until("what is drawn in it", |decoded| inside(decoded, BLUE) && outside(decoded));
        let snapshot = shared.snapshot();
        assert_eq!(snapshot.pixels[4 * (70 * 300 + 90)..][..3], [255, 0, 0], "in snapshots too");
        // Of another program, it is over the window and not of it.
        let stranger = Program::on(desktop, false);
        let tooltip = popup(&stranger, GREEN, (x + 200, y + 100), (50, 50));
        // A part of it is beyond the edge.
        program.configure(menu, &ConfigureWindowAux::new().x(i32::from(x) - 20).y(i32::from(y) + 170));
        let clipped = shared.until("the menu elsewhere", |decoded| decoded.shows(20, 190, BLUE.1));
        assert!(inside(&clipped, RED) && clipped.shows(66, 190, RED.1) && clipped.shows(225, 125, RED.1));
        stranger.close(tooltip);
        // What a window of the program is there for is where that is.
        let dialog = program.create("dialog", GREEN, (x + 200, y + 20), (60, 40));
        let name = AtomEnum::WM_TRANSIENT_FOR;
        let kind = AtomEnum::WINDOW;
        program.x.change_property32(PropMode::REPLACE, dialog, name, kind, &[window]).unwrap();
        program.show(dialog);
        let (dx, dy) = program.place(dialog);
        let dx = i32::from(dx - x) + 30;
        let dy = i32::from(dy - y) + 20;
        let within = (0..300).contains(&dx) && (0..200).contains(&dy);
        if within {
            let at = (dx.cast_unsigned(), dy.cast_unsigned());
            shared.until("the dialog", |decoded| decoded.shows(at.0, at.1, GREEN.1));
        }
        program.close(dialog);
        program.close(menu);
        shared.until("the window alone", |decoded| is_all(decoded, RED));
        // And once more while its size changes.
        let menu = popup(program, GREEN, (x + 50, y + 40), (80, 60));
        program.resize(window, 340, 240);
        shared.until("both", |decoded| {
            decoded.size == size(340, 240) && inside(decoded, GREEN) && decoded.shows(330, 230, RED.1)
        });
        program.close(menu);
        shared.until("the window alone", |decoded| is_all(decoded, RED));
    });
}

/// As Qt makes menus with rounded corners: 32 bits, in a window of 24.
#[test]
fn a_menu_with_translucent_pixels_is_in_its_picture_and_its_corners_show_what_is_below() {
    let (desktop, program) = desktop(false);
    let window = program.open("window", BLUE, (100, 100), (300, 200));
    let mut shared = share(&desktop, window);
    shared.until("blue", |decoded| is_all(decoded, BLUE));
    let (x, y) = program.place(window);
    let depths = &program.x.setup().roots[0].allowed_depths;
    let visual = depths.iter().find(|known| known.depth == 32).unwrap().visuals[0].visual_id;
    let colours = program.x.generate_id().unwrap();
    program.x.create_colormap(ColormapAlloc::NONE, colours, program.root, visual).unwrap();
    let translucent = |colour: u32, at: (i16, i16), size: (u16, u16), parent: u32| {
        let window = program.x.generate_id().unwrap();
        let aux = CreateWindowAux::new()
            .background_pixel(colour)
            .border_pixel(0)
            .override_redirect(1)
            .colormap(colours);
        let class = WindowClass::INPUT_OUTPUT;
        program
            .x
            .create_window(32, window, parent, at.0, at.1, size.0, size.1, 0, class, visual, &aux)
            .unwrap();
        window
    };
    let menu = translucent(0, (x + 20, y + 20), (120, 100), program.root);
    let entries = translucent(0xffff_0000, (20, 20), (80, 60), menu);
    program.x.map_window(entries).unwrap();
    program.show(menu);
    let corners = |decoded: &Decoded| {
        [(26, 26), (134, 114), (26, 114), (2, 2)].into_iter().all(|(x, y)| decoded.shows(x, y, BLUE.1))
    };
    shared.until("the menu", |decoded| decoded.shows(80, 70, RED.1) && corners(decoded));
    program.paint(entries, (0xff00_ff00, GREEN.1));
    shared.until("what is drawn in it", |decoded| decoded.shows(80, 70, GREEN.1) && corners(decoded));
    // Half transparent, it is not put over itself again when something else is drawn.
    program.paint(entries, (0x8080_0000, RED.1));
    let half = |pixels: &[u8]| {
        let [blue, green, red] = pixels[4 * (70 * 300 + 80)..][..3] else { unreachable!() };
        (120..136).contains(&blue) && green == 0 && (120..136).contains(&red)
    };
    until("the mixture", || half(&shared.snapshot().pixels).then_some(()));
    for colour in [RED, GREEN] {
        let dot = popup(&program, colour, (x + 200, y + 60), (30, 30));
        shared.until("the other menu", |decoded| decoded.shows(214, 74, colour.1));
        assert!(half(&shared.snapshot().pixels));
        program.close(dot);
        shared.until("it gone", |decoded| decoded.shows(214, 74, BLUE.1));
    }
    program.close(menu);
    shared.until("the window alone", |decoded| is_all(decoded, BLUE));
}

#[test]
fn windows_that_come_resize_and_go_at_random_break_nothing() {
    let (desktop, program) = desktop(false);
    for round in 0..12 {
        let window = program.open("window", RED, (10, 30), (300, 200));
        let shared = try_share(&desktop, window).unwrap();
        shared.watch();
        for step in 0..round {
            program.resize(window, 100 + 30 * step, 300 - 20 * step);
            if step % 3 == 0 {
                program.hide(window);
                program.show(window);
            }
            if step % 4 == 0 {
                shared.resize(200 + 2 * step, 200);
            }
        }
        program.close(window);
        let mut shared = shared;
        let reason = shared.event("the end", |event| match event {
            Event::Ended(ended) => Some(ended.message().to_owned()),
            _ => None,
        });
        assert_eq!(reason, "the window was closed", "round {round}");
    }
    assert_eq!(list(&desktop), []);
    assert!(!desktop.source.picture().blocking_recv().unwrap().pixels.is_empty());
}

#[test]
fn a_window_at_rest_costs_nothing() {
    let alone = crate::alone();
    let desktop = Stage::start_beside(BARE, None);
    let program = Program::on(&desktop, false);
    let window = program.open("window", RED, (10, 30), (300, 200));
    let mut shared = share(&desktop, window);
    shared.settle();
    let counters = |stage: &Stage| (stage.counters.captured.get(), stage.counters.encoded.get());
    let before = (counters(&shared), crate::sleeps("window"));
    assert!(shared.video.recv_timeout(Duration::from_millis(700)).is_err(), "idle and still encoding");
    let after = (counters(&shared), crate::sleeps("window"));
    assert_eq!(after.0, before.0);
    assert!(before.1 > 0 && after.1 - before.1 <= 1, "woke {} times", after.1 - before.1);
    drop(alone);
}

#[test]
fn the_first_keyframe_of_a_window_comes_soon() {
    let alone = crate::alone();
    let desktop = Stage::start_beside(BARE, None);
    let program = Program::on(&desktop, false);
    let window = program.open("window", RED, (0, 0), (800, 600));
    let mut times = Vec::new();
    for _ in 0..10 {
        let start = Instant::now();
        let mut shared = try_share(&desktop, window).unwrap();
        let opened = start.elapsed();
        assert!(shared.next().keyframe);
        times.push((start.elapsed(), opened, Duration::from_micros(shared.counters.encode_us.get())));
    }
    times.sort();
    eprintln!("open to first keyframe decoded; of it open alone, and encoding: {times:?}");
    assert!(times[5].0 < PATIENCE / 20, "{times:?}");
    drop(alone);
}
