//! The windows of a desktop: the list of them, and each as a source of its own.
//!
//! ```text
//! XWindows: list ── one connection
//!    └─ open ─▶ thread `window`: WindowSurface ▶ Capture ▶ VideoOutlet     a connection each
//! ```
//!
//! A thread of its own reports which are opened and closed: [`watcher`].
//!
//! A shared window has no sound, and takes input by the sink of its desktop. When it is closed, its end is reported.

mod debounce;
pub(crate) mod ewmh;
mod list;
mod overlay;
mod surface;
pub mod watcher;

use std::sync::Arc;

use common::media::VideoCodec;
use common::slots::{Pixel, Window as Listed};
use common::spec::{CursorMode, WindowSpec};
use tokio::sync::{oneshot, watch};
use x11rb::connection::Connection as _;
use x11rb::protocol::xproto::Window;
use x11rb::rust_connection::RustConnection;

use self::ewmh::Atoms;
use self::surface::WindowSurface;
use super::capture::Capture;
use super::cursor::{Onlooker, Onlookers};
use super::display::{Display, x};
use crate::media::{Picture, Size};
use crate::source::video::{Outbox, Settings};
use crate::source::worker::{Request, Worker};
use crate::source::{Error, Frames, Info, Outlets, Running, WindowInfo, Windows};

/// The windows of one X server.
pub struct XWindows {
    display: Display,
    connection: RustConnection,
    root: Window,
    atoms: Atoms,
    onlookers: Arc<Onlookers>,
}

impl XWindows {
    /// Connects to a display. Each window that is opened shows the display's cursor.
    ///
    /// # Errors
    /// [`Error::X`] when it cannot be reached.
    pub fn connect(display: &Display, onlookers: Arc<Onlookers>) -> Result<Self, Error> {
        let (connection, number) = display.connect()?;
        let screen = connection.setup().roots.get(number).ok_or_else(|| x("it has no such screen"))?;
        let root = screen.root;
        let atoms = Atoms::new(&connection).map_err(x)?.reply().map_err(x)?;
        Ok(Self { display: display.clone(), connection, root, atoms, onlookers })
    }
}

impl Windows for XWindows {
    fn list(&self) -> Result<Vec<Listed>, Error> {
        list::list(&self.connection, self.root, &self.atoms).map_err(x)
    }

    fn open(&self, spec: &WindowSpec, outlets: Outlets) -> Result<Box<dyn Running>, Error> {
        let found = self.list()?.into_iter().find(|window| window.id == spec.window_id);
        let found = found.ok_or(Error::NoWindow(spec.window_id))?;
        Ok(Box::new(SharedWindow::start(&self.display, found, spec, outlets, self.onlookers.join())?))
    }
}

/// A captured window. Dropping this ends the capture; the window stays as it is.
struct SharedWindow {
    capture: Worker<Request>,
    frames: Arc<Frames>,
    size: watch::Receiver<Size>,
    window: watch::Receiver<WindowInfo>,
    fps: u32,
    _onlooker: Onlooker,
}

impl SharedWindow {
    fn start(
        display: &Display,
        found: Listed,
        spec: &WindowSpec,
        outlets: Outlets,
        onlooker: Onlooker,
    ) -> Result<Self, Error> {
        let id = found.id;
        let (surface, window) = WindowSurface::open(display, found)?;
        let settings = Settings { fps: spec.fps, bitrate_kbps: spec.bitrate_kbps };
        let outbox = Outbox::new(outlets.events);
        let frames = Arc::new(Frames::of(Arc::clone(outlets.video.demand())));
        let (mut capture, size) = Capture::new(
            surface,
            settings,
            None,
            outlets.video,
            Arc::clone(&frames),
            outlets.counters,
            outbox,
        )?;
        let capture = Worker::spawn("window", move |inbox| {
            if let Err(error) = capture.run(&inbox) {
                capture.ended(match error {
                    Error::NoWindow(gone) if gone == id => "the window was closed".to_owned(),
                    error => error.to_string(),
                });
            }
        })?;
        Ok(Self { capture, frames, size, window, fps: spec.fps, _onlooker: onlooker })
    }
}

impl Running for SharedWindow {
    fn info(&self) -> Info {
        Info {
            size: *self.size.borrow(),
            fps: self.fps,
            audio: false,
            cursor: CursorMode::Client,
            input: true,
            microphone: false,
            camera: false,
            codec: VideoCodec::H264,
            window: Some(self.window.borrow().clone()),
            reader: None,
        }
    }

    fn picture(&self) -> oneshot::Receiver<Picture> {
        self.capture.picture()
    }

    fn pointer(&self) -> oneshot::Receiver<Pixel> {
        self.capture.pointer()
    }

    fn resize(&self, size: Size) -> oneshot::Receiver<Result<(), Error>> {
        self.capture.resize(size)
    }

    fn frames(&self) -> Option<Arc<Frames>> {
        Some(Arc::clone(&self.frames))
    }
}
