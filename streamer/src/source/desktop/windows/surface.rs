//! One captured window. With Composite, it does not matter what covers it or where it is.
//!
//! ```text
//! window ──redirected──▶ pixmap, named anew with each size ──▶ Canvas
//!    └── damage, size, title, focus, map and unmap: events of its own connection
//! ```
//!
//! The picture is the window's content without its frame, at most [`MAX_WIDTH`]×[`MAX_HEIGHT`] of it. A window that is
//! not on the screen (minimised), or has a side shorter than [`MIN_SIDE`], keeps its last picture until it
//! appears again. Further windows of its program above it (menus) are composed with it: [`Overlay`].

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use common::slots::Window as Listed;
use common::spec::{MAX_HEIGHT, MAX_WIDTH, MIN_SIDE};
use tokio::sync::watch;
use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::cookie::VoidCookie;
use x11rb::errors::{ConnectionError, ReplyError};
use x11rb::protocol::composite::{self, ConnectionExt as _, Redirect};
use x11rb::protocol::xproto::{
    AtomEnum, ChangeWindowAttributesAux, ConfigureWindowAux, ConnectionExt as _, EventMask, Pixmap, Window,
};
use x11rb::protocol::{ErrorKind, Event as XEvent};
use x11rb::rust_connection::RustConnection;

use super::debounce::Debounce;
use super::ewmh::{self, Atoms, Names, of_window};
use super::overlay::Overlay;
use crate::encode::rows::Rows;
use crate::media::Size;
use crate::source::desktop::canvas::{self, Area, Canvas, Grab, check_format};
use crate::source::desktop::display::{Display, x};
use crate::source::desktop::surface::{Change, Surface};
use crate::source::{Error, WindowInfo};
use crate::throttle::Throttle;
use crate::wake::wait_readable;

/// Attempts to capture a window that is resized meanwhile.
const RESIZES: usize = 20;
/// A program repaints a window that is redirected. We wait until it has painted, for this long at most.
const REPAINT: Duration = Duration::from_millis(15);
/// A program that has painted and then not for this long is done.
const PAINTED: Duration = Duration::from_millis(3);
/// Titles and focus are reported at most this often: some programs show their progress in the title.
const INFO_INTERVAL: Duration = Duration::from_millis(100);
/// How long a window may take to adopt a requested size.
const RESIZE_TIME: Duration = Duration::from_millis(200);
const RESIZE_LOOK: Duration = Duration::from_millis(2);

/// A window, captured.
pub struct WindowSurface {
    canvas: Canvas,
    atoms: Atoms,
    root: Window,
    window: Window,
    pixmap: Pixmap,
    /// The window's own pixels.
    own: Area,
    overlay: Overlay,
    /// Size of the window in its last event.
    reported: Size,
    resized: Debounce,
    info: watch::Sender<WindowInfo>,
    retitled: Throttle,
    /// The pixmap was replaced: everything is to be captured.
    renewed: bool,
    redirected: Instant,
    /// Events that arrived while waiting for something else.
    waiting: VecDeque<XEvent>,
}

impl WindowSurface {
    /// Connects, and begins to watch and to redirect a window.
    ///
    /// # Errors
    /// [`Error::NoWindow`] when it is gone or not on the screen; [`Error::X`] when the server has no Composite
    /// extension or the window's pixels are of a kind that is not known here.
    pub fn open(display: &Display, found: Listed) -> Result<(Self, watch::Receiver<WindowInfo>), Error> {
        let Listed { id: window, title, app, focused, width, height } = found;
        let (connection, screen) = canvas::connect(display)?;
        let name = composite::X11_EXTENSION_NAME;
        if connection.extension_information(name).map_err(x)?.is_none() {
            return Err(x(format!("display {} has no {name} extension", display.name)));
        }
        let version = connection.composite_query_version(0, 4).map_err(x)?;
        let atoms = Atoms::new(&connection).map_err(x)?;
        let events = EventMask::STRUCTURE_NOTIFY
            | EventMask::PROPERTY_CHANGE
            | EventMask::FOCUS_CHANGE
            // Without a window manager the focus follows the pointer.
            | EventMask::ENTER_WINDOW
            | EventMask::LEAVE_WINDOW;
        let selected = ChangeWindowAttributesAux::new().event_mask(events);
        let selected = connection.change_window_attributes(window, &selected).map_err(x)?;
        let attributes = connection.get_window_attributes(window).map_err(x)?;
        let geometry = connection.get_geometry(window).map_err(x)?;
        let redirect = connection.composite_redirect_window(window, Redirect::AUTOMATIC).map_err(x)?;
        version.reply().map_err(x)?;
        let atoms = atoms.reply().map_err(x)?;
        done(selected, window)?;
        let attributes = attributes.reply();
        let geometry = geometry.reply();
        done(redirect, window)?;
        let redirected = Instant::now();
        let (Some(attributes), Some(geometry)) =
            (of_window(attributes).map_err(x)?, of_window(geometry).map_err(x)?)
        else {
            return Err(Error::NoWindow(window));
        };
        check_format(&connection, &screen, attributes.visual, geometry.depth)?;
        let named = name_pixmap(&connection, window)?;
        let (pixmap, area) =
            named.filter(|(_, area)| is_picture(area.size)).ok_or(Error::NoWindow(window))?;
        let info = WindowInfo { id: window, title, app, focused };
        let (info, info_now) = watch::channel(info);
        let overlay = Overlay::watch(&connection, screen.root, window, geometry.depth, attributes.visual)?;
        let mut surface = Self {
            canvas: Canvas::new(connection, window, area)?,
            atoms,
            root: screen.root,
            window,
            pixmap,
            own: area,
            overlay,
            reported: Size { width, height },
            resized: Debounce::default(),
            info,
            retitled: Throttle::new(INFO_INTERVAL),
            renewed: false,
            redirected,
            waiting: VecDeque::new(),
        };
        surface.look_over()?;
        Ok((surface, info_now))
    }

    /// Finds the windows above the window. Returns whether the picture has changed because of that.
    fn look_over(&mut self) -> Result<bool, Error> {
        let Some(target) = self.overlay.update(self.canvas.connection(), &self.atoms, self.own)? else {
            return Ok(false);
        };
        self.canvas.retarget(target)?;
        Ok(true)
    }

    /// Handles an event.
    fn note(&mut self, event: &XEvent, now: Instant) -> Result<Option<Change>, Error> {
        if self.overlay.note(self.canvas.connection(), event, self.own.size)? {
            return Ok(Some(Change::Damage));
        }
        match event {
            XEvent::DamageNotify(_) => return Ok(Some(Change::Damage)),
            XEvent::ConfigureNotify(event) if event.window == self.window => {
                let size = Size { width: event.width.into(), height: event.height.into() };
                if size != self.reported {
                    self.reported = size;
                    self.resized.changed(now);
                }
            }
            // It has another pixmap from now on.
            XEvent::MapNotify(event) if event.window == self.window => self.resized.at_once(now),
            XEvent::DestroyNotify(event) if event.window == self.window => {
                return Err(Error::NoWindow(self.window));
            }
            XEvent::PropertyNotify(event) => {
                let names = [AtomEnum::WM_NAME.into(), AtomEnum::WM_CLASS.into(), self.atoms._NET_WM_NAME];
                if names.contains(&event.atom) {
                    self.retitled.changed();
                }
            }
            XEvent::FocusIn(_) | XEvent::FocusOut(_) | XEvent::EnterNotify(_) | XEvent::LeaveNotify(_) => {
                self.retitled.changed();
            }
            // Errors of requests whose outcome does not matter, and events for every client.
            _ => {}
        }
        Ok(None)
    }

    /// The window's title and class, if they have changed.
    fn query_info(&self) -> Result<Option<WindowInfo>, Error> {
        let connection = self.canvas.connection();
        let names = Names::ask(connection, self.window, &self.atoms).map_err(x)?;
        let alive = connection.get_geometry(self.window).map_err(x)?;
        let focused = ewmh::focused(connection, self.root).map_err(x)?.contains(&self.window);
        let (title, app) = names.reply().map_err(x)?;
        // An event reports its end.
        if of_window(alive.reply()).map_err(x)?.is_none() {
            return Ok(None);
        }
        let info = WindowInfo { id: self.window, title, app, focused };
        let changed = self.info.send_if_modified(|before| {
            let changed = *before != info;
            before.clone_from(&info);
            changed
        });
        Ok(changed.then_some(info))
    }

    /// Adopts the window's current pixmap. Returns whether the picture has another size.
    fn renew(&mut self) -> Result<bool, Error> {
        let Some((pixmap, area)) = name_pixmap(self.canvas.connection(), self.window)? else {
            return Ok(false);
        };
        if !is_picture(area.size) {
            free(self.canvas.connection(), pixmap)?;
            return Ok(false);
        }
        let resized = area.size != self.canvas.area().size;
        let target = self.overlay.target(self.canvas.connection(), area)?;
        self.canvas.retarget(target)?;
        self.own = area;
        free(self.canvas.connection(), std::mem::replace(&mut self.pixmap, pixmap))?;
        self.renewed = true;
        Ok(resized)
    }

    fn geometry(&self) -> Result<Size, Error> {
        let reply = self.canvas.connection().get_geometry(self.window).map_err(x)?.reply();
        let geometry = of_window(reply).map_err(x)?.ok_or(Error::NoWindow(self.window))?;
        Ok(Size { width: geometry.width.into(), height: geometry.height.into() })
    }
}

impl Surface for WindowSurface {
    fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    fn next_change(&mut self, now: Instant) -> Result<Option<Change>, Error> {
        loop {
            let waiting = self.waiting.pop_front();
            let event = match waiting {
                Some(event) => event,
                None => match self.canvas.connection().poll_for_event().map_err(x)? {
                    Some(event) => event,
                    None => break,
                },
            };
            if let Some(change) = self.note(&event, now)? {
                return Ok(Some(change));
            }
        }
        if self.resized.take(now) {
            return Ok(Some(Change::Size));
        }
        if self.look_over()? {
            return Ok(Some(Change::Damage));
        }
        if self.retitled.take(now)
            && let Some(info) = self.query_info()?
        {
            return Ok(Some(Change::Window(info)));
        }
        Ok(None)
    }

    fn wake_at(&self, now: Instant) -> Option<Instant> {
        self.resized.due().into_iter().chain(self.retitled.due(now)).min()
    }

    /// The server fills a new pixmap with what is on the screen at the window's place, which may be another window. It
    /// asks the program to repaint, and we wait for that.
    fn prepare(&mut self) -> Result<(), Error> {
        let latest = self.redirected + REPAINT;
        let mut until = latest;
        loop {
            while let Some(event) = self.canvas.connection().poll_for_event().map_err(x)? {
                if let XEvent::DamageNotify(event) = &event
                    && event.drawable == self.window
                {
                    self.canvas.take_damage()?;
                    until = latest.min(Instant::now() + PAINTED);
                } else {
                    self.waiting.push_back(event);
                }
            }
            if Instant::now() >= until {
                return Ok(());
            }
            wait_readable([self.canvas.fd()], Some(until))
                .map_err(|source| Error::Io { what: "waiting for the X server".into(), source })?;
        }
    }

    fn take_damage(&mut self) -> Result<Rows, Error> {
        let mut rows = self.canvas.take_damage()?;
        rows.extend(&self.overlay.take_dirty(), self.own.size.height);
        let renewed = std::mem::take(&mut self.renewed);
        Ok(if renewed { Rows::all(self.size().height) } else { rows })
    }

    fn grab(&self, rows: &Rows) -> Result<Grab, Error> {
        self.overlay.compose(self.canvas.connection(), self.own, rows)?;
        self.canvas.grab(rows)
    }

    fn adopt_size(&mut self) -> Result<bool, Error> {
        if !self.renew()? {
            return Ok(false);
        }
        for _ in 0..RESIZES {
            // Damage up to here is included in the next capture.
            let rows = self.take_damage()?;
            if self.grab(&rows)? == Grab::Done {
                return Ok(true);
            }
            self.renew()?;
        }
        Err(x("the window is resized all the time"))
    }

    fn pointer(&self) -> Result<(i32, i32), Error> {
        let reply = self.canvas.connection().query_pointer(self.window).map_err(x)?.reply();
        let pointer = of_window(reply).map_err(x)?.ok_or(Error::NoWindow(self.window))?;
        Ok((i32::from(pointer.win_x), i32::from(pointer.win_y)))
    }

    /// Its program, or the window manager, may give it a size that is only close to the requested one.
    fn set_size(&mut self, size: Size) -> Result<(), Error> {
        if !is_picture(size) || size.width > MAX_WIDTH || size.height > MAX_HEIGHT {
            return Err(x(format!("a window of {}x{} cannot be shown", size.width, size.height)));
        }
        let before = self.geometry()?;
        if before == size {
            return Ok(());
        }
        let request = ConfigureWindowAux::new().width(size.width).height(size.height);
        let connection = self.canvas.connection();
        done(connection.configure_window(self.window, &request).map_err(x)?, self.window)?;
        let deadline = Instant::now() + RESIZE_TIME;
        while self.geometry()? == before {
            if Instant::now() > deadline {
                return Err(x(format!("the window stays at {}x{}", before.width, before.height)));
            }
            std::thread::sleep(RESIZE_LOOK);
        }
        Ok(())
    }
}

/// Whether it can be captured now.
fn is_picture(size: Size) -> bool {
    size.width >= MIN_SIDE && size.height >= MIN_SIDE
}

/// Names the window's current pixmap; `None` when it has none, because it is not on the screen.
fn name_pixmap(connection: &RustConnection, window: Window) -> Result<Option<(Pixmap, Area)>, Error> {
    for _ in 0..RESIZES {
        let pixmap = connection.generate_id().map_err(x)?;
        let named = connection.composite_name_window_pixmap(window, pixmap).map_err(x)?;
        let of_pixmap = connection.get_geometry(pixmap).map_err(x)?;
        let of_itself = connection.get_geometry(window).map_err(x)?;
        match named.check() {
            Ok(()) => {}
            Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Match => return Ok(None),
            Err(ReplyError::X11Error(_)) => return Err(Error::NoWindow(window)),
            Err(error) => return Err(x(error)),
        }
        let of_pixmap = of_pixmap.reply().map_err(x)?;
        let Some(itself) = of_window(of_itself.reply()).map_err(x)? else {
            free(connection, pixmap)?;
            return Err(Error::NoWindow(window));
        };
        // The pixmap includes the window's border.
        let side = |inner: u16| u32::from(inner) + 2 * u32::from(itself.border_width);
        if (u32::from(of_pixmap.width), u32::from(of_pixmap.height))
            == (side(itself.width), side(itself.height))
        {
            let border = itself.border_width.cast_signed();
            let width = u32::from(itself.width);
            let height = u32::from(itself.height);
            let size = Size { width: width.min(MAX_WIDTH), height: height.min(MAX_HEIGHT) };
            return Ok(Some((pixmap, Area { drawable: pixmap, origin: (border, border), size })));
        }
        // It was resized in between.
        free(connection, pixmap)?;
    }
    Err(x("the window is resized all the time"))
}

fn free(connection: &RustConnection, pixmap: Pixmap) -> Result<(), Error> {
    connection.free_pixmap(pixmap).map_err(x)?.ignore_error();
    Ok(())
}

/// Checks that a request about the window succeeded; if not, the window is gone.
fn done(request: VoidCookie<'_, RustConnection>, window: Window) -> Result<(), Error> {
    let checked: Result<Option<()>, ConnectionError> = of_window(request.check());
    checked.map_err(x)?.ok_or(Error::NoWindow(window))
}
