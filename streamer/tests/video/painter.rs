//! A program with windows on a desktop under test, and the desktop's window manager.

use std::time::{Duration, Instant};

use streamer::source::desktop::display::Display;
use x11rb::connection::Connection as _;
use x11rb::properties::{WmSizeHints, WmSizeHintsSpecification};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, CreateWindowAux, InputFocus,
    MapState, PropMode, StackMode, WindowClass,
};
use x11rb::rust_connection::RustConnection;
use x11rb::wrapper::ConnectionExt as _;

use crate::{PATIENCE, Stage};

/// As RGB and as BT.709.
pub type Colour = (u32, [u8; 3]);
pub const RED: Colour = (0x00ff_0000, [63, 102, 240]);
pub const GREEN: Colour = (0x0000_ff00, [173, 42, 26]);
pub const BLUE: Colour = (0x0000_00ff, [32, 240, 118]);

pub const BARE: &str = r#"{"type":"desktop","width":800,"height":600,"audio":false}"#;
pub const MANAGED: &str =
    r#"{"type":"desktop","width":800,"height":600,"audio":false,"command":["openbox","--sm-disable"]}"#;

/// A connection of another program.
pub struct Program {
    pub x: RustConnection,
    pub root: u32,
    pub display: Display,
}

/// Waits until `check` gives something.
pub fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

impl Program {
    /// On the desktop of this stage, once its window manager is there if it has one.
    pub fn on(stage: &Stage, managed: bool) -> Self {
        let note = std::fs::read_to_string(stage.dir.path().join("x-display")).unwrap();
        let name = format!(":{}", note.split_whitespace().next().unwrap());
        let display = Display { name, xauthority: Some(stage.dir.path().join("Xauthority")) };
        let (x, screen) = display.connect().unwrap();
        let root = x.setup().roots[screen].root;
        let program = Self { x, root, display };
        if managed {
            until("the window manager", || program.has(root, "_NET_SUPPORTING_WM_CHECK").then_some(()));
            until("the window manager to manage", || program.try_manager());
        }
        program
    }

    /// Openbox forgets windows that are opened while it starts.
    fn try_manager(&self) -> Option<()> {
        let probe = self.create("probe", GREEN, (0, 0), (100, 100));
        self.x.map_window(probe).unwrap();
        self.x.flush().unwrap();
        let deadline = Instant::now() + Duration::from_millis(200);
        while !self.is_shown(probe) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(2));
        }
        let shown = self.is_shown(probe);
        self.close(probe);
        let listed = || self.words(self.root, "_NET_CLIENT_LIST_STACKING").contains(&probe);
        until("the probe to go", || (!listed()).then_some(()));
        shown.then_some(())
    }

    pub fn atom(&self, name: &str) -> u32 {
        self.x.intern_atom(false, name.as_bytes()).unwrap().reply().unwrap().atom
    }

    fn has(&self, window: u32, name: &str) -> bool {
        let reply = self.x.get_property(false, window, self.atom(name), AtomEnum::ANY, 0, 0);
        reply.unwrap().reply().unwrap().type_ != x11rb::NONE
    }

    fn words(&self, window: u32, name: &str) -> Vec<u32> {
        let reply = self.x.get_property(false, window, self.atom(name), AtomEnum::ANY, 0, 999);
        reply.unwrap().reply().unwrap().value32().map(Iterator::collect).unwrap_or_default()
    }

    /// A window in one colour, which the X server paints whenever that is needed; not yet on the screen.
    pub fn create(&self, title: &str, colour: Colour, at: (i16, i16), size: (u16, u16)) -> u32 {
        let window = self.x.generate_id().unwrap();
        let aux = CreateWindowAux::new().background_pixel(colour.0);
        self.x
            .create_window(
                0,
                window,
                self.root,
                at.0,
                at.1,
                size.0,
                size.1,
                0,
                WindowClass::INPUT_OUTPUT,
                0,
                &aux,
            )
            .unwrap();
        self.retitle(window, title);
        self.x
            .change_property8(
                PropMode::REPLACE,
                window,
                AtomEnum::WM_CLASS,
                AtomEnum::STRING,
                b"test\0Tester\0",
            )
            .unwrap();
        let place = WmSizeHintsSpecification::UserSpecified;
        let hints = WmSizeHints {
            position: Some((place, at.0.into(), at.1.into())),
            size: Some((place, size.0.into(), size.1.into())),
            ..Default::default()
        };
        hints.set_normal_hints(&self.x, window).unwrap();
        window
    }

    /// The same on the screen.
    pub fn open(&self, title: &str, colour: Colour, at: (i16, i16), size: (u16, u16)) -> u32 {
        let window = self.create(title, colour, at, size);
        self.show(window);
        window
    }

    pub fn show(&self, window: u32) {
        self.x.map_window(window).unwrap();
        self.x.flush().unwrap();
        until("the window on the screen", || self.is_shown(window).then_some(()));
    }

    pub fn is_shown(&self, window: u32) -> bool {
        self.x.get_window_attributes(window).unwrap().reply().unwrap().map_state == MapState::VIEWABLE
    }

    pub fn hide(&self, window: u32) {
        self.x.unmap_window(window).unwrap();
        self.x.sync().unwrap();
    }

    pub fn retitle(&self, window: u32, title: &str) {
        let (name, utf8) = (self.atom("_NET_WM_NAME"), self.atom("UTF8_STRING"));
        self.x.change_property8(PropMode::REPLACE, window, name, utf8, title.as_bytes()).unwrap();
        self.x.sync().unwrap();
    }

    pub fn paint(&self, window: u32, colour: Colour) {
        let aux = ChangeWindowAttributesAux::new().background_pixel(colour.0);
        self.x.change_window_attributes(window, &aux).unwrap();
        self.x.clear_area(false, window, 0, 0, 0, 0).unwrap();
        self.x.sync().unwrap();
    }

    pub fn configure(&self, window: u32, aux: &ConfigureWindowAux) {
        self.x.configure_window(window, aux).unwrap();
        self.x.sync().unwrap();
    }

    pub fn resize(&self, window: u32, width: u32, height: u32) {
        self.configure(window, &ConfigureWindowAux::new().width(width).height(height));
    }

    pub fn raise(&self, window: u32) {
        self.configure(window, &ConfigureWindowAux::new().stack_mode(StackMode::ABOVE));
    }

    pub fn focus(&self, window: u32) {
        self.x.set_input_focus(InputFocus::PARENT, window, x11rb::CURRENT_TIME).unwrap();
        self.x.sync().unwrap();
    }

    pub fn close(&self, window: u32) {
        self.x.destroy_window(window).unwrap();
        self.x.sync().unwrap();
    }

    /// Where the content of a window is on the screen.
    pub fn place(&self, window: u32) -> (i16, i16) {
        let reply = self.x.translate_coordinates(window, self.root, 0, 0).unwrap().reply().unwrap();
        (reply.dst_x, reply.dst_y)
    }

    /// The window of the pointer, and where it is in it.
    pub fn pointer_in(&self, window: u32) -> (i16, i16) {
        let reply = self.x.query_pointer(window).unwrap().reply().unwrap();
        (reply.win_x, reply.win_y)
    }
}
