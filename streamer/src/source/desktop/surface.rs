//! What [`Capture`](super::capture::Capture) captures: a screen or a window, as it needs to know it.

use std::os::fd::BorrowedFd;
use std::time::Instant;

use super::canvas::{Canvas, Grab};
use super::cursor;
use crate::encode::rows::Rows;
use crate::media::Size;
use crate::source::{Error, WindowInfo};

/// A change of the surface.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Something was drawn.
    Damage,
    /// It may have another size.
    Size,
    /// The cursor has another shape, of this serial.
    Cursor(u32),
    /// The pointer has moved.
    Pointer,
    /// A window's title or class has changed.
    Window(WindowInfo),
}

/// Something that an X server shows. Its pixels are in memory as of the last capture; what was drawn since is
/// taken over by rows.
pub trait Surface: Send {
    /// The memory with its pixels.
    fn canvas(&self) -> &Canvas;

    /// Readable when the server has sent something.
    fn fd(&self) -> BorrowedFd<'_> {
        self.canvas().fd()
    }

    /// Its size as it is captured.
    fn size(&self) -> Size {
        self.canvas().area().size
    }

    /// The picture as of the last capture: BGRX, rows of [`Surface::stride`] bytes.
    fn pixels(&self) -> &[u8] {
        self.canvas().pixels()
    }

    /// Bytes of a row.
    fn stride(&self) -> usize {
        self.canvas().stride()
    }

    /// The next thing that has changed, without waiting. Everything must be taken before sleeping on
    /// [`Surface::fd`]: replies to requests bring events with them.
    ///
    /// # Errors
    /// [`Error::X`] when the server is gone, [`Error::NoWindow`] when the window is.
    fn next_change(&mut self, now: Instant) -> Result<Option<Change>, Error>;

    /// When [`Surface::next_change`] is to be called again, whatever the server sends.
    fn wake_at(&self, _now: Instant) -> Option<Instant> {
        None
    }

    /// Waits until the first picture is worth capturing; takes a few milliseconds at most.
    ///
    /// # Errors
    /// As of [`Surface::next_change`].
    fn prepare(&mut self) -> Result<(), Error> {
        Ok(())
    }

    /// The rows drawn to since the last call.
    ///
    /// # Errors
    /// As of [`Surface::next_change`].
    fn take_damage(&mut self) -> Result<Rows, Error>;

    /// Copies rows into our memory.
    ///
    /// # Errors
    /// As of [`Surface::next_change`].
    fn grab(&self, rows: &Rows) -> Result<Grab, Error>;

    /// Queries its size. If it has changed, allocates new memory and captures all of it; returns whether
    /// it was.
    ///
    /// # Errors
    /// As of [`Surface::next_change`], or when the server has no memory.
    fn adopt_size(&mut self) -> Result<bool, Error>;

    /// Gives it another size. [`Surface::adopt_size`] follows it.
    ///
    /// # Errors
    /// [`Error::X`] when that cannot be done; the size is then as it was.
    fn set_size(&mut self, size: Size) -> Result<(), Error>;

    /// The cursor over it.
    ///
    /// # Errors
    /// As of [`Surface::next_change`].
    fn cursor(&self) -> Result<cursor::Answer, Error> {
        Ok(cursor::Answer::Unknown)
    }

    /// Where the pointer is, in its pixels; perhaps outside.
    ///
    /// # Errors
    /// As of [`Surface::next_change`].
    fn pointer(&self) -> Result<(i32, i32), Error>;
}
