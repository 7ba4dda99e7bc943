//! The pixels of a window or pixmap of an X server in shared memory, and its damage.
//!
//! The shared memory always holds the whole picture as it was at the last capture; only rows that were
//! damaged are copied into it, once, by the X server.

use std::os::fd::{AsFd, BorrowedFd};

use x11rb::connection::{Connection as _, RequestConnection as _};
use x11rb::errors::ReplyError;
use x11rb::protocol::ErrorKind;
use x11rb::protocol::damage::{self, ConnectionExt as _};
use x11rb::protocol::shm::ConnectionExt as _;
use x11rb::protocol::xfixes::{self, ConnectionExt as _};
use x11rb::protocol::xproto::{Drawable, ImageFormat, ImageOrder, Screen, VisualClass, Visualid, Window};
use x11rb::rust_connection::RustConnection;

use super::display::{Display, x};
use super::segment::Segment;
use crate::encode::rows::Rows;
use crate::media::Size;
use crate::source::Error;

/// Bytes of a pixel: BGRX.
const PIXEL: u32 = 4;

/// The result of a capture.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Grab {
    /// The rows were captured.
    Done,
    /// The size has changed: [`Surface::adopt_size`](super::surface::Surface::adopt_size).
    Resized,
}

/// The drawable that is captured, and which part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Area {
    /// A window or a pixmap.
    pub drawable: Drawable,
    /// The position in it of the picture's top left pixel.
    pub origin: (i16, i16),
    /// Size of the picture.
    pub size: Size,
}

/// A connection, the part of a drawable that is captured by it, and the memory for that.
pub struct Canvas {
    connection: RustConnection,
    area: Area,
    segment: Segment,
    damage: damage::Damage,
    region: xfixes::Region,
}

/// Connects to a display and checks that it can be captured. Returns the connection and its screen.
///
/// # Errors
/// [`Error::X`] when it cannot be reached, lacks an extension, or does not have 32 bits per pixel.
pub fn connect(display: &Display) -> Result<(RustConnection, Screen), Error> {
    let (connection, number) = display.connect()?;
    let screen = connection.setup().roots.get(number).ok_or_else(|| x("it has no such screen"))?.clone();
    check_format(&connection, &screen, screen.root_visual, screen.root_depth)?;
    for extension in [damage::X11_EXTENSION_NAME, xfixes::X11_EXTENSION_NAME] {
        connection.prefetch_extension_information(extension).map_err(x)?;
    }
    let damage = connection.damage_query_version(1, 1).map_err(x)?;
    let fixes = connection.xfixes_query_version(5, 0).map_err(x)?;
    let shared = connection.shm_query_version().map_err(x)?;
    damage.reply().map_err(x)?;
    fixes.reply().map_err(x)?;
    shared.reply().map_err(x)?;
    Ok((connection, screen))
}

impl Canvas {
    /// Watches the damage of `window` from now on, and makes memory for `area`.
    ///
    /// # Errors
    /// [`Error::X`] when the server refuses, has no memory or is gone.
    pub fn new(connection: RustConnection, window: Window, area: Area) -> Result<Self, Error> {
        let damage = connection.generate_id().map_err(x)?;
        let region = connection.generate_id().map_err(x)?;
        let regioned = connection.xfixes_create_region(region, &[]).map_err(x)?;
        let level = damage::ReportLevel::NON_EMPTY;
        let watched = connection.damage_create(damage, window, level).map_err(x)?;
        // Initial damage would keep the first event from ever coming.
        let cleared = connection.damage_subtract(damage, x11rb::NONE, x11rb::NONE).map_err(x)?;
        let segment = Segment::new(&connection, bytes(area.size))?;
        for request in [regioned, watched, cleared] {
            request.check().map_err(x)?;
        }
        Ok(Self { connection, area, segment, damage, region })
    }

    /// The connection; used by one thread alone.
    pub fn connection(&self) -> &RustConnection {
        &self.connection
    }

    /// Readable when the server has sent something.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.connection.stream().as_fd()
    }

    /// The area that is captured.
    pub fn area(&self) -> Area {
        self.area
    }

    /// The picture as of the last capture: BGRX, rows of [`Canvas::stride`] bytes.
    pub fn pixels(&self) -> &[u8] {
        self.segment.bytes()
    }

    /// Bytes of a row.
    pub fn stride(&self) -> usize {
        (self.area.size.width * PIXEL) as usize
    }

    /// The rows of the window drawn to since the last call.
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
            rows.add(top.max(0) as u32..bottom.max(0) as u32, self.area.size.height);
        }
        Ok(rows)
    }

    /// Copies rows into our memory.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone.
    pub fn grab(&self, rows: &Rows) -> Result<Grab, Error> {
        let Area { drawable, origin, size } = self.area;
        let mut replies = Vec::with_capacity(rows.strips().len());
        for strip in rows.strips() {
            let y = origin.1 + strip.start as i16;
            let height = (strip.end - strip.start) as u16;
            let width = size.width as u16;
            let offset = strip.start * size.width * PIXEL;
            let format = u8::from(ImageFormat::Z_PIXMAP);
            let segment = self.segment.id();
            let reply = self
                .connection
                .shm_get_image(drawable, origin.0, y, width, height, !0, format, segment, offset);
            replies.push(reply.map_err(x)?);
        }
        let mut grab = Grab::Done;
        // Waits for every reply: the server must not write while the memory is read.
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

    /// Captures something else from now on, into new memory if it has another size.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone or has no memory; it is then as it was.
    pub fn retarget(&mut self, area: Area) -> Result<(), Error> {
        if area.size != self.area.size {
            let segment = Segment::new(&self.connection, bytes(area.size))?;
            std::mem::replace(&mut self.segment, segment).detach(&self.connection)?;
        }
        self.area = area;
        Ok(())
    }
}

fn bytes(size: Size) -> usize {
    size.width as usize * size.height as usize * PIXEL as usize
}

/// Checks that pixels are BGRX in memory: no other format is converted.
///
/// # Errors
/// [`Error::X`] when those of this visual have another format.
pub fn check_format(
    connection: &RustConnection,
    screen: &Screen,
    visual: Visualid,
    depth: u8,
) -> Result<(), Error> {
    let setup = connection.setup();
    let bits = setup.pixmap_formats.iter().find(|format| format.depth == depth);
    let visual = screen
        .allowed_depths
        .iter()
        .flat_map(|depth| &depth.visuals)
        .find(|candidate| candidate.visual_id == visual);
    let known = bits.is_some_and(|format| format.bits_per_pixel == 32)
        && visual.is_some_and(|visual| {
            visual.red_mask == 0x00ff_0000 && visual.class != VisualClass::PSEUDO_COLOR
        })
        && setup.image_byte_order == ImageOrder::LSB_FIRST;
    if known { Ok(()) } else { Err(x("its pixels are not 8 bits each of blue, green, red and nothing")) }
}
