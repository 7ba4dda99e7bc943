use std::time::{Duration, Instant};

use common::input::Position;
use streamer::input::sink::Action;
use streamer::media::Size;
use streamer::source::Event;
use streamer::source::desktop::display::Display;
use streamer::source::desktop::resize;
use x11rb::connection::Connection as _;
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{
    ChangeWindowAttributesAux, ConnectionExt as _, CreateGCAux, ImageFormat, Rectangle,
};
use x11rb::protocol::xtest::ConnectionExt as _;
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::painter::{BLUE, RED};
use crate::{PATIENCE, Stage};

const DESKTOP: &str = r#"{"type":"desktop","width":640,"height":480,"audio":false}"#;
/// With an X server whose screen can become as large as is possible.
const LARGEST: &str =
    r#"{"type":"desktop","width":640,"height":480,"max_width":3840,"max_height":2160,"audio":false}"#;
const EMBEDDED: &str = r#"{"type":"desktop","width":640,"height":480,"audio":false,"cursor":"embedded"}"#;

/// Another program on the desktop, that draws on its root window.
struct Painter {
    x: RustConnection,
    root: u32,
}

impl Painter {
    fn new(stage: &Stage) -> Self {
        let [number, _] = server(stage);
        let xauthority = Some(stage.dir.path().join("Xauthority"));
        let (x, screen) = Display { name: format!(":{number}"), xauthority }.connect().unwrap();
        let root = x.setup().roots[screen].root;
        Self { x, root }
    }

    fn fill(&self, rgb: u32, x: i16, y: i16, width: u16, height: u16) {
        let gc = self.x.generate_id().unwrap();
        self.x.create_gc(gc, self.root, &CreateGCAux::new().foreground(rgb)).unwrap();
        self.x.poly_fill_rectangle(self.root, gc, &[Rectangle { x, y, width, height }]).unwrap();
        self.x.free_gc(gc).unwrap();
        self.x.sync().unwrap();
    }

    /// Noise that is another one with each `seed`.
    fn noise(&self, seed: u32, x: i16, y: i16, width: u16, height: u16) {
        let mut random = fastrand::Rng::with_seed(seed.into());
        let pixels: Vec<u8> =
            (0..u32::from(width) * u32::from(height)).flat_map(|_| [random.u8(64..192); 4]).collect();
        let gc = self.x.generate_id().unwrap();
        self.x.create_gc(gc, self.root, &CreateGCAux::new()).unwrap();
        self.x.put_image(ImageFormat::Z_PIXMAP, self.root, gc, width, height, x, y, 0, 24, &pixels).unwrap();
        self.x.free_gc(gc).unwrap();
        self.x.sync().unwrap();
    }

    /// Shows a shape of the font `cursor` over the root window.
    fn show_glyph(&self, glyph: u16) -> u32 {
        let font = self.x.generate_id().unwrap();
        let cursor = self.x.generate_id().unwrap();
        self.x.open_font(font, b"cursor").unwrap();
        self.x.create_glyph_cursor(cursor, font, font, glyph, glyph + 1, 0, 0, 0, !0, !0, !0).unwrap();
        let aux = ChangeWindowAttributesAux::new().cursor(cursor);
        self.x.change_window_attributes(self.root, &aux).unwrap();
        self.x.close_font(font).unwrap();
        self.x.sync().unwrap();
        cursor
    }

    fn point(&self, x: i16, y: i16) {
        let motion = x11rb::protocol::xproto::MOTION_NOTIFY_EVENT;
        self.x.xtest_fake_input(motion, 0, x11rb::CURRENT_TIME, self.root, x, y, 0).unwrap();
        self.x.sync().unwrap();
    }
}

/// Number and process id of the stage's X server.
fn server(stage: &Stage) -> [i32; 2] {
    let note = std::fs::read_to_string(stage.dir.path().join("x-display")).unwrap();
    let mut words = note.split_whitespace().map(|word| word.parse().unwrap());
    [words.next().unwrap(), words.next().unwrap()]
}

#[test]
fn what_is_drawn_is_seen_settles_sharp_and_then_costs_nothing() {
    let alone = crate::alone();
    let mut stage = Stage::start_beside(DESKTOP, None);
    stage.started();
    let painter = Painter::new(&stage);
    stage.watch();
    painter.fill(RED.0, 100, 100, 200, 150);
    stage.until("red", |decoded| decoded.shows(200, 175, RED.1) && !decoded.shows(50, 50, RED.1));
    for stripe in 0..60 {
        painter.fill(0x0030_60a0 ^ (stripe * 0x0001_0f11), 320, stripe as i16 * 8, 300, 5);
    }
    let settled = stage.settled();
    let snapshot = stage.snapshot();
    let psnr = settled.psnr(&snapshot);
    assert!(psnr > 42.0, "{psnr:.1} dB");
    let stripes = settled.psnr_within(&snapshot, 340..620, 0..480);
    assert!(stripes >= 50.0, "{stripes:.1} dB");

    let (encoded, captured, slept) =
        (stage.counters.encoded.get(), stage.counters.captured.get(), crate::sleeps("desktop"));
    assert!(stage.video.recv_timeout(Duration::from_millis(700)).is_err(), "idle and still encoding");
    assert_eq!((stage.counters.encoded.get(), stage.counters.captured.get()), (encoded, captured));
    let woke = crate::sleeps("desktop") - slept;
    assert!(slept > 0 && woke <= 1, "woke {woke} times while idle");
    drop(alone);
}

/// The film's encoder begins with a keyframe that nobody asked for, and so does the screen's when it has it back.
#[test]
fn a_film_on_a_desktop_is_encoded_as_one_and_sharp_when_it_stops() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    let painter = Painter::new(&stage);
    stage.watch();
    stage.settle();
    let before = stage.counters.keyframes.get();
    let begin = Instant::now();
    let deadline = begin + PATIENCE;
    let mut seed = 0;
    while stage.counters.keyframes.get() == before {
        assert!(Instant::now() < deadline, "a film is taken for a screen");
        painter.noise(seed, 100, 100, 200, 160);
        seed += 1;
        // Each picture of the film is painted after the one before has been sent.
        stage.next();
    }
    // What moves for less than a second is no film.
    assert!(begin.elapsed() > Duration::from_millis(900), "a keyframe after {:?}", begin.elapsed());
    while stage.counters.keyframes.get() < before + 2 {
        stage.next();
    }
    let at_rest = stage.settled();
    let psnr = at_rest.psnr_within(&stage.snapshot(), 100..300, 100..260);
    assert!(psnr >= 50.0, "{psnr:.1} dB");
}

#[test]
fn only_rows_that_changed_are_copied_and_converted() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    let painter = Painter::new(&stage);
    stage.watch();
    stage.settle();
    let before = (stage.counters.captured_bytes.get(), stage.counters.converted_bytes.get());
    painter.fill(BLUE.0, 10, 201, 20, 9);
    stage.until("blue", |decoded| decoded.shows(20, 205, BLUE.1));
    let rows = 200..210;
    let bytes = rows.len() as u64 * 640 * 4;
    let after = (stage.counters.captured_bytes.get(), stage.counters.converted_bytes.get());
    assert_eq!((after.0 - before.0, after.1 - before.1), (bytes, bytes));
}

#[test]
fn unwatched_it_captures_and_does_not_encode_until_somebody_comes() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    assert!(stage.next().keyframe);
    let painter = Painter::new(&stage);
    let captured = stage.counters.captured.get();
    let deadline = Instant::now() + PATIENCE;
    let mut drawn = 0;
    while stage.counters.captured.get() < captured + 3 {
        painter.fill(RED.0 + drawn, 0, 0, 640, 480);
        drawn += 1;
        assert!(Instant::now() < deadline);
    }
    assert!(drawn > 6, "it captures less often than it is drawn to");
    assert_eq!(stage.counters.encoded.get(), 1);
    painter.fill(BLUE.0, 0, 0, 640, 480);
    stage.watch();
    // What was drawn is known here when the X server has told the source, which may be a moment later than it has told us.
    let mut joined = false;
    stage.until("the picture of now, from a keyframe on", |decoded| {
        joined |= decoded.keyframe;
        joined && decoded.shows(300, 300, BLUE.1)
    });
}

#[test]
fn a_keyframe_comes_at_once_on_an_idle_desktop() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    stage.watch();
    stage.settle();
    stage.video_demand.ask_keyframe();
    assert!(stage.next().keyframe);
    let detail = stage.settle();
    assert!(
        detail.is_none_or(|decoded| !decoded.keyframe),
        "what follows adds detail, if there is any to add"
    );
}

#[test]
fn an_x_server_that_does_not_answer_is_told_and_so_is_its_return() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    let [_, pid] = server(&stage);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let reason = stage.event("it is stalled", |event| match event {
        Event::Offline(reason) => Some(reason),
        _ => None,
    });
    assert!(reason.starts_with("stalled: "), "{reason}");
    rustix::process::kill_process(pid, rustix::process::Signal::CONT).unwrap();
    stage.started();
}

#[test]
fn its_output_lists_the_usual_sizes_and_its_own() {
    let mut stage = Stage::start(LARGEST);
    stage.started();
    let painter = Painter::new(&stage);
    let sizes = || {
        let resources = painter.x.randr_get_screen_resources_current(painter.root).unwrap().reply().unwrap();
        let output = painter.x.randr_get_output_info(resources.outputs[0], 0).unwrap().reply().unwrap();
        let listed = resources.modes.iter().filter(|mode| output.modes.contains(&mode.id));
        let mut sizes: Vec<_> = listed.map(|mode| (mode.width, mode.height)).collect();
        sizes.sort_unstable();
        sizes
    };
    // The last one is the X server's own, which cannot be taken from it.
    let usual = [
        (640, 480),
        (800, 600),
        (1024, 768),
        (1152, 864),
        (1280, 720),
        (1280, 800),
        (1280, 960),
        (1280, 1024),
        (1366, 768),
        (1440, 900),
        (1600, 900),
        (1680, 1050),
        (1920, 1080),
        (1920, 1200),
        (2560, 1440),
        (3840, 2160),
    ];
    assert_eq!(sizes(), usual);
    stage.resize(1300, 800);
    let mut with_its_own = usual.to_vec();
    with_its_own.insert(8, (1300, 800));
    assert_eq!(sizes(), with_its_own);
    // As a game does that wants the whole screen.
    let resources = painter.x.randr_get_screen_resources_current(painter.root).unwrap().reply().unwrap();
    let mode = resources.modes.iter().find(|mode| (mode.width, mode.height) == (1024, 768)).unwrap().id;
    let now = x11rb::CURRENT_TIME;
    let rotation = randr::Rotation::ROTATE0;
    let set = painter.x.randr_set_crtc_config(
        resources.crtcs[0],
        now,
        now,
        0,
        0,
        mode,
        rotation,
        &resources.outputs,
    );
    assert_eq!(set.unwrap().reply().unwrap().status, randr::SetConfig::SUCCESS);
    let root = painter.x.get_geometry(painter.root).unwrap().reply().unwrap();
    assert_eq!((root.width, root.height), (1300, 800), "the picture stays as large as it is");
    stage.resize(640, 480);
    assert_eq!(sizes(), usual);
}

#[test]
fn it_is_resized_by_request_and_by_a_program() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    stage.watch();
    let painter = Painter::new(&stage);
    for (size, by_request) in [((1280, 720), true), ((322, 200), false), ((640, 480), true)] {
        let size = Size { width: size.0, height: size.1 };
        if by_request {
            stage.resize(size.width, size.height);
        } else {
            resize::set_size(&painter.x, painter.root, size).unwrap();
        }
        stage.event("resized", |event| matches!(event, Event::Resized(to) if to == size).then_some(()));
        assert_eq!(stage.source.info().size, size);
        let first = stage.until("the new size", |decoded| decoded.size == size);
        assert!(first.keyframe);
        let corner = (size.width as i16 - 20, size.height as i16 - 20);
        painter.fill(RED.0, corner.0, corner.1, 20, 20);
        let at = (size.width - 10, size.height - 10);
        stage.until("drawing in the new corner", |decoded| decoded.shows(at.0, at.1, RED.1));
        assert_eq!(stage.snapshot().size, size);
    }
}

#[test]
fn a_program_that_has_grabbed_the_server_holds_up_neither_pictures_nor_input() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    stage.watch();
    let painter = Painter::new(&stage);
    let mut sink = stage.source.take_sink().unwrap();
    painter.x.grab_server().unwrap();
    painter.fill(RED.0, 0, 0, 640, 480);
    stage.until("red", |decoded| decoded.shows(50, 50, RED.1));
    assert_eq!(stage.snapshot().pixels[..3], [0, 0, 255]);
    sink.apply(&Action::PointerTo(Position { x: 321.0, y: 123.0 })).unwrap();
    sink.apply(&Action::Text("typed".into())).unwrap();
    let pointer = painter.x.query_pointer(painter.root).unwrap().reply().unwrap();
    assert_eq!((pointer.root_x, pointer.root_y), (321, 123));
    stage.resize(800, 400);
    stage.until("the new size", |decoded| decoded.size == Size { width: 800, height: 400 });
    painter.x.ungrab_server().unwrap();
    painter.x.sync().unwrap();
}

#[test]
fn a_size_that_is_not_possible_is_an_error_and_changes_nothing() {
    for (spec, largest) in [(LARGEST, (3840, 2160)), (DESKTOP, (1920, 1200))] {
        let mut stage = Stage::start(spec);
        stage.started();
        assert_eq!(stage.source.largest(), Some(Size { width: largest.0, height: largest.1 }));
        let too_wide = Size { width: largest.0 + 2, height: 480 };
        let answer = stage.source.resize(too_wide).blocking_recv().unwrap();
        assert!(answer.unwrap_err().to_string().contains(&format!("{}x{}", largest.0, largest.1)));
        assert_eq!(stage.source.info().size, Size { width: 640, height: 480 });
        assert_eq!(stage.snapshot().size, Size { width: 640, height: 480 });
    }
}

#[test]
fn the_cursor_is_told_to_viewers_and_is_in_snapshots_only() {
    let mut stage = Stage::start(DESKTOP);
    let shape = stage.event("cursor", |event| match event {
        Event::Cursor(shape) => Some(shape),
        _ => None,
    });
    let shape = shape.expect("an X server shows a cursor");
    assert!(shape.width > 0 && shape.hot_x < shape.width && !shape.png.is_empty());
    let painter = Painter::new(&stage);
    painter.fill(RED.0, 0, 0, 640, 480);
    painter.point(300, 200);
    stage.watch();
    let decoded = stage.settled();
    assert!(decoded.shows(300, 200, RED.1));
    let snapshot = stage.snapshot();
    let around = |x: usize, y: usize| &snapshot.pixels[(y * 640 + x) * 4..][..3];
    assert_eq!(around(100, 100), [0, 0, 255]);
    let covered = (190..210).flat_map(|y| (290..310).map(move |x| (x, y)));
    assert!(covered.into_iter().any(|(x, y)| around(x, y) != [0, 0, 255]), "the cursor");
}

#[test]
fn a_cursor_that_was_freed_while_it_is_shown_is_still_there() {
    let mut stage = Stage::start(DESKTOP);
    stage.started();
    stage.watch();
    let painter = Painter::new(&stage);
    painter.fill(RED.0, 0, 0, 640, 480);
    painter.point(300, 200);
    // As `xsetroot -cursor_name` does.
    painter.x.free_cursor(painter.show_glyph(68)).unwrap();
    painter.x.sync().unwrap();
    stage.settle();
    let snapshot = stage.snapshot();
    let around = |x: usize, y: usize| &snapshot.pixels[(y * 640 + x) * 4..][..3];
    let covered = (190..220).flat_map(|y| (290..320).map(move |x| (x, y)));
    assert!(covered.into_iter().any(|(x, y)| around(x, y) != [0, 0, 255]), "the cursor");
    let told = stage.events_so_far().into_iter().filter(|event| matches!(event, Event::Cursor(None))).count();
    assert_eq!(told, 0, "nobody has hidden it");
}

#[test]
fn a_cursor_that_changes_all_the_time_is_looked_up_for_viewers_only() {
    let mut stage = Stage::start(DESKTOP);
    let is_cursor = |event: &Event| matches!(event, Event::Cursor(_));
    stage.event("the first shape", |event| is_cursor(&event).then_some(()));
    stage.started();
    let painter = Painter::new(&stage);
    painter.point(300, 200);
    let glyphs = [2, 58, 68];
    for glyph in glyphs.iter().cycle().take(30) {
        painter.show_glyph(*glyph);
    }
    // What it has been asked for has been answered after the changes.
    stage.snapshot();
    let told = stage.events_so_far().iter().filter(|event| is_cursor(event)).count();
    assert_eq!(told, 0, "nobody watches");
    stage.watch();
    stage.event("the shape of now", |event| is_cursor(&event).then_some(()));
}

#[test]
fn an_embedded_cursor_moves_in_the_picture() {
    let mut stage = Stage::start(EMBEDDED);
    stage.started();
    let painter = Painter::new(&stage);
    stage.watch();
    painter.fill(RED.0, 0, 0, 640, 480);
    stage.settle();
    let has_cursor = |decoded: &crate::picture::Decoded, x: u32, y: u32| {
        (y - 8..y + 8).any(|y| (x - 8..x + 8).any(|x| !decoded.shows(x, y, RED.1)))
    };
    for (x, y) in [(100, 100), (500, 300), (40, 400)] {
        painter.point(x as i16, y as i16);
        stage.until("the cursor", |decoded| has_cursor(decoded, x, y));
        let settled = stage.settle();
        if let Some(settled) = settled {
            let others = [(100, 100), (500, 300), (40, 400)].into_iter().filter(|at| *at != (x, y));
            for (other_x, other_y) in others {
                assert!(!has_cursor(&settled, other_x, other_y), "left behind at {other_x},{other_y}");
            }
        }
    }
}

#[test]
fn the_end_of_the_command_or_of_the_server_is_told_once() {
    let mut stage = Stage::start(
        r#"{"type":"desktop","width":640,"height":480,"audio":false,"command":"sleep 0.2; exit 3"}"#,
    );
    let reason = stage.event("ended", |event| match event {
        Event::Ended(ended) => Some(ended.message().to_owned()),
        _ => None,
    });
    assert!(reason.contains('3'), "{reason}");
    drop(stage);

    let mut stage = Stage::start(DESKTOP);
    stage.started();
    let [_, pid] = server(&stage);
    let pid = rustix::process::Pid::from_raw(pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let reason = stage.event("ended", |event| match event {
        Event::Ended(ended) => Some(ended.message().to_owned()),
        _ => None,
    });
    assert!(reason.contains("X server"), "{reason}");
    drop(stage.source);
    while let Ok(event) = stage.events.try_recv() {
        assert!(!matches!(event, (_, Event::Ended(_))), "told twice");
    }
}
