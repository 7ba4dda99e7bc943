//! The X side of capturing: the root window's pixels in shared memory, its damage, its cursor.
//!
//! The shared memory always holds the whole picture as it was at the last capture; only rows that were
//! damaged are copied into it, once, by the X server.

use std::os::fd::{AsFd, BorrowedFd};

use x11rb::connection::Connection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::damage::{self, ConnectionExt as _};
use x11rb::protocol::randr::{self, ConnectionExt as _};
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xinput::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{ConnectionExt as _, ImageFormat, ImageOrder, Window};
use x11rb::protocol::{ErrorKind, Event as XEvent};
use x11rb::rust_connection::RustConnection;

use super::cursor::Cursor;
use super::display::Display;
use super::resize;
use super::rows::Rows;
use super::segment::Segment;
use crate::media::Size;
use crate::source::Error;

/// Bytes of a pixel: BGRX.
const PIXEL: u32 = 4;
/// A screen that is resized again and again while we look at it is given up after this many times.
const RESIZES: usize = 20;

/// What the X server tells of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Something was drawn.
    Damage,
    /// The screen may have another size.
    Size,
    /// The cursor has another shape.
    Cursor,
    /// The pointer has moved.
    Pointer,
}

/// How a capture went.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grab {
    /// The rows are there.
    Done,
    /// The screen has another size by now: [`Screen::adopt_size`].
    Resized,
}

/// The screen of an X server.
pub struct Screen {
    connection: RustConnection,
    root: Window,
    /// Of the root window, as it was when the segment was made.
    size: Size,
    segment: Segment,
    damage: damage::Damage,
    region: xfixes::Region,
}

/// What went wrong, in the X server's words.
pub fn x(error: impl std::fmt::Display) -> Error {
    Error::X(error.to_string())
}

impl Screen {
    /// Connects to it and begins to watch its damage, size and cursor; the pointer's motion if `pointer`.
    ///
    /// # Errors
    /// [`Error::X`] when it cannot be reached, lacks an extension, or has not 32 bits to a pixel.
    pub fn connect(display: &Display, pointer: bool) -> Result<Self, Error> {
        let (connection, number) = display.connect()?;
        check_format(&connection, number)?;
        let root = connection.setup().roots[number].root;
        connection.damage_query_version(1, 1).map_err(x)?.reply().map_err(x)?;
        connection.xfixes_query_version(5, 0).map_err(x)?.reply().map_err(x)?;
        connection.shm_query_version().map_err(x)?.reply().map_err(x)?;
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
        let (damage, region) = (connection.generate_id().map_err(x)?, connection.generate_id().map_err(x)?);
        connection.xfixes_create_region(region, &[]).map_err(x)?.check().map_err(x)?;
        let level = damage::ReportLevel::NON_EMPTY;
        connection.damage_create(damage, root, level).map_err(x)?.check().map_err(x)?;
        // What is damaged from the start would keep the first event from ever coming.
        connection.damage_subtract(damage, x11rb::NONE, x11rb::NONE).map_err(x)?.check().map_err(x)?;
        let size = root_size(&connection, root)?;
        let segment = Segment::new(&connection, bytes(size))?;
        Ok(Self { connection, root, size, segment, damage, region })
    }

    /// Readable when the server has sent something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    /// Size of the screen as it is captured.
    pub fn size(&self) -> Size {
        self.size
    }

    /// The picture as of the last capture: BGRX, rows of [`Screen::stride`] bytes.
    pub fn pixels(&self) -> &[u8] {
        self.segment.bytes()
    }

    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        (self.size.width * PIXEL) as usize
    }

    /// The next thing that the server has told of, without waiting. Everything must be taken before sleeping on
    /// [`Screen::fd`]: answers to requests bring events with them.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn next_change(&self) -> Result<Option<Change>, Error> {
        while let Some(event) = self.connection.poll_for_event().map_err(x)? {
            match event {
                XEvent::DamageNotify(_) => return Ok(Some(Change::Damage)),
                XEvent::RandrScreenChangeNotify(_) => return Ok(Some(Change::Size)),
                XEvent::XfixesCursorNotify(_) => return Ok(Some(Change::Cursor)),
                XEvent::XinputRawMotion(_) => return Ok(Some(Change::Pointer)),
                // Errors of requests whose outcome does not matter, and events for every client.
                _ => {}
            }
        }
        Ok(None)
    }

    /// The rows drawn to since the last call.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn take_damage(&self) -> Result<Rows, Error> {
        self.connection.damage_subtract(self.damage, x11rb::NONE, self.region).map_err(x)?;
        let region = self.connection.xfixes_fetch_region(self.region).map_err(x)?.reply().map_err(x)?;
        let mut rows = Rows::default();
        for rectangle in region.rectangles {
            let top = i32::from(rectangle.y);
            let bottom = top + i32::from(rectangle.height);
            rows.add(top.max(0) as u32..bottom.max(0) as u32, self.size.height);
        }
        Ok(rows)
    }

    /// Copies rows of the screen into our memory.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn grab(&self, rows: &Rows) -> Result<Grab, Error> {
        let mut replies = Vec::with_capacity(rows.strips().len());
        for strip in rows.strips() {
            let (y, height) = (strip.start as i16, (strip.end - strip.start) as u16);
            let (width, offset) = (self.size.width as u16, strip.start * self.size.width * PIXEL);
            let format = u8::from(ImageFormat::Z_PIXMAP);
            let segment = self.segment.id();
            replies.push(
                self.connection
                    .shm_get_image(self.root, 0, y, width, height, !0, format, segment, offset)
                    .map_err(x)?,
            );
        }
        let mut grab = Grab::Done;
        // Every reply is waited for: the server must not write any more when the memory is read.
        for reply in replies {
            match reply.reply() {
                Ok(_) => {}
                Err(ReplyError::X11Error(error)) if error.error_kind == ErrorKind::Match => {
                    grab = Grab::Resized
                }
                Err(error) => return Err(x(error)),
            }
        }
        Ok(grab)
    }

    /// Looks up the size of the screen. If it is another one, makes new memory for it and captures all of it;
    /// answers whether it was.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone or has no memory.
    pub fn adopt_size(&mut self) -> Result<bool, Error> {
        let size = root_size(&self.connection, self.root)?;
        if size == self.size {
            return Ok(false);
        }
        for _ in 0..RESIZES {
            self.remake(root_size(&self.connection, self.root)?)?;
            // Damage up to here is in what is grabbed now.
            self.take_damage()?;
            if self.grab(&Rows::all(self.size.height))? == Grab::Done {
                return Ok(true);
            }
        }
        Err(x("the screen is resized all the time"))
    }

    fn remake(&mut self, size: Size) -> Result<(), Error> {
        let segment = Segment::new(&self.connection, bytes(size))?;
        std::mem::replace(&mut self.segment, segment).detach(&self.connection)?;
        self.size = size;
        Ok(())
    }

    /// Sets the size of the screen at the server. [`Screen::adopt_size`] follows it.
    ///
    /// # Errors
    /// [`Error::X`] when the server cannot do that.
    pub fn set_size(&mut self, size: Size) -> Result<(), Error> {
        resize::set_size(&self.connection, self.root, size)?;
        let now = root_size(&self.connection, self.root)?;
        if now == size { Ok(()) } else { Err(x(format!("the screen stays at {}x{}", now.width, now.height))) }
    }

    /// The cursor; `None` if it is hidden.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn cursor(&self) -> Result<Option<Cursor>, Error> {
        match self.connection.xfixes_get_cursor_image().map_err(x)?.reply() {
            Ok(reply) => Ok(Cursor::new(reply)),
            // There is none.
            Err(ReplyError::X11Error(_)) => Ok(None),
            Err(error) => Err(x(error)),
        }
    }

    /// Where the pointer is.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn pointer(&self) -> Result<(i32, i32), Error> {
        let pointer = self.connection.query_pointer(self.root).map_err(x)?.reply().map_err(x)?;
        Ok((i32::from(pointer.root_x), i32::from(pointer.root_y)))
    }
}

/// Raw motion is told of whoever has grabbed the pointer.
fn select_motion(connection: &RustConnection, root: Window) -> Result<(), Error> {
    connection.xinput_xi_query_version(2, 2).map_err(x)?.reply().map_err(x)?;
    let mask = xinput::EventMask {
        deviceid: u16::from(xinput::Device::ALL_MASTER),
        mask: vec![xinput::XIEventMask::RAW_MOTION],
    };
    connection.xinput_xi_select_events(root, &[mask]).map_err(x)?.check().map_err(x)
}

fn root_size(connection: &RustConnection, root: Window) -> Result<Size, Error> {
    let geometry = connection.get_geometry(root).map_err(x)?.reply().map_err(x)?;
    Ok(Size { width: geometry.width.into(), height: geometry.height.into() })
}

fn bytes(size: Size) -> usize {
    size.width as usize * size.height as usize * PIXEL as usize
}

/// Pixels must be BGRX in memory: nothing else is converted.
fn check_format(connection: &RustConnection, number: usize) -> Result<(), Error> {
    let setup = connection.setup();
    let root = setup.roots.get(number).ok_or_else(|| x("it has no such screen"))?;
    let bits = setup.pixmap_formats.iter().find(|format| format.depth == root.root_depth);
    let visual = root.allowed_depths.iter().flat_map(|depth| &depth.visuals);
    let red = visual.into_iter().find(|visual| visual.visual_id == root.root_visual).map(|v| v.red_mask);
    let known = bits.is_some_and(|format| format.bits_per_pixel == 32)
        && red == Some(0x00ff_0000)
        && setup.image_byte_order == ImageOrder::LSB_FIRST;
    if known { Ok(()) } else { Err(x("its pixels are not 8 bits each of blue, green, red and nothing")) }
}
