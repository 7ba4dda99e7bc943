//! The X side of capturing a screen: the pixels of its root window, its damage, its size, its cursor.

use std::sync::Arc;
use std::time::Instant;

use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::Event as XEvent;
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xinput::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, Window};
use x11rb::rust_connection::RustConnection;

use super::canvas::{self, Area, Canvas, Grab};
use super::cursor::{Answer, Cursor};
use super::display::{Display, x};
use super::resize::{self, root_size};
use super::surface::{Change, Surface};
use crate::encode::rows::Rows;
use crate::media::Size;
use crate::source::Error;

/// Attempts to read the size of a screen that is resized meanwhile.
const RESIZES: usize = 20;

/// The screen of an X server.
pub struct Screen {
    canvas: Canvas,
    root: Window,
}

impl Screen {
    /// Connects to it and begins to watch its damage, size and cursor; the pointer's motion if `pointer`.
    ///
    /// # Errors
    /// [`Error::X`] when it cannot be reached, lacks an extension, or does not have 32 bits per pixel.
    pub fn connect(display: &Display, pointer: bool) -> Result<Self, Error> {
        let (connection, screen) = canvas::connect(display)?;
        let root = screen.root;
        connection.randr_query_version(1, 3).map_err(x)?.reply().map_err(x)?;
        connection
            .randr_select_input(root, randr::NotifyMask::SCREEN_CHANGE)
            .map_err(x)?
            .check()
            .map_err(x)?;
        let cursor = xfixes::CursorNotifyMask::DISPLAY_CURSOR;
        connection.xfixes_select_cursor_input(root, cursor).map_err(x)?.check().map_err(x)?;
        if pointer {
            select_motion(&connection, root)?;
        }
        let area = area(root, root_size(&connection, root)?);
        Ok(Self { canvas: Canvas::new(connection, root, area)?, root })
    }
}

impl Surface for Screen {
    fn canvas(&self) -> &Canvas {
        &self.canvas
    }

    fn next_change(&mut self, _now: Instant) -> Result<Option<Change>, Error> {
        while let Some(event) = self.canvas.connection().poll_for_event().map_err(x)? {
            match event {
                XEvent::DamageNotify(_) => return Ok(Some(Change::Damage)),
                XEvent::RandrScreenChangeNotify(_) => return Ok(Some(Change::Size)),
                XEvent::XfixesCursorNotify(notify) => return Ok(Some(Change::Cursor(notify.cursor_serial))),
                XEvent::XinputRawMotion(_) => return Ok(Some(Change::Pointer)),
                // Errors of requests whose outcome does not matter, and events for every client.
                _ => {}
            }
        }
        Ok(None)
    }

    fn take_damage(&mut self) -> Result<Rows, Error> {
        self.canvas.take_damage()
    }

    fn grab(&self, rows: &Rows) -> Result<Grab, Error> {
        self.canvas.grab(rows)
    }

    fn adopt_size(&mut self) -> Result<bool, Error> {
        if root_size(self.canvas.connection(), self.root)? == self.size() {
            return Ok(false);
        }
        for _ in 0..RESIZES {
            let size = root_size(self.canvas.connection(), self.root)?;
            self.canvas.retarget(area(self.root, size))?;
            // Damage up to here is included in the next capture.
            self.take_damage()?;
            if self.grab(&Rows::all(size.height))? == Grab::Done {
                return Ok(true);
            }
        }
        Err(x("the screen is resized all the time"))
    }

    fn set_size(&mut self, size: Size) -> Result<(), Error> {
        let connection = self.canvas.connection();
        resize::set_size(connection, self.root, size)?;
        let now = root_size(connection, self.root)?;
        if now == size { Ok(()) } else { Err(x(format!("the screen stays at {}x{}", now.width, now.height))) }
    }

    fn cursor(&self) -> Result<Answer, Error> {
        match self.canvas.connection().xfixes_get_cursor_image().map_err(x)?.reply() {
            Ok(reply) => {
                Ok(Answer::Shape { serial: reply.cursor_serial, cursor: Cursor::new(reply).map(Arc::new) })
            }
            Err(ReplyError::X11Error(_)) => Ok(Answer::Unknown),
            Err(error) => Err(x(error)),
        }
    }

    fn pointer(&self) -> Result<(i32, i32), Error> {
        let reply = self.canvas.connection().query_pointer(self.root).map_err(x)?;
        let pointer = reply.reply().map_err(x)?;
        Ok((i32::from(pointer.root_x), i32::from(pointer.root_y)))
    }
}

fn area(root: Window, size: Size) -> Area {
    Area { drawable: root, origin: (0, 0), size }
}

/// Raw motion is reported even while another client has grabbed the pointer.
fn select_motion(connection: &RustConnection, root: Window) -> Result<(), Error> {
    connection.xinput_xi_query_version(2, 2).map_err(x)?.reply().map_err(x)?;
    let mask = xinput::EventMask {
        deviceid: u16::from(xinput::Device::ALL_MASTER),
        mask: vec![xinput::XIEventMask::RAW_MOTION],
    };
    connection.xinput_xi_select_events(root, &[mask]).map_err(x)?.check().map_err(x)
}
