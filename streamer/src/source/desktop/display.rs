//! How to reach an X display: its name and the file with its cookie.
//!
//! The cookie is handed to the server explicitly: a streamer never changes its own environment, which
//! is shared by all of its threads.

use std::io::Read as _;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use x11rb::connection::RequestConnection as _;
use x11rb::errors::ReplyError;
use x11rb::protocol::xtest::{self, ConnectionExt as _};
use x11rb::rust_connection::{DefaultStream, RustConnection};

use crate::source::Error;

/// The error that the X server reports.
pub fn x(error: impl std::fmt::Display) -> Error {
    Error::X(error.to_string())
}

/// An X display on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Display {
    /// `:7`.
    pub name: String,
    /// The file with its cookie; `None` for where X programs look by themselves (`XAUTHORITY`,
    /// `~/.Xauthority`).
    pub xauthority: Option<PathBuf>,
}

/// Longest cookie file that is read, in bytes: one for a session has about 100.
const MAX_XAUTHORITY: u64 = 64 * 1024;
/// The authorization method that every X server supports.
const COOKIE: &[u8] = b"MIT-MAGIC-COOKIE-1";

impl Display {
    /// Connects to it by its local socket. Returns the connection and the number of its screen.
    ///
    /// The connection is served while a program has grabbed the server (`XGrabServer`), as window managers do while a
    /// window is dragged: pictures, input and the clipboard go on.
    ///
    /// # Errors
    /// [`Error::X`] when there is no such server or it does not let us in; [`Error::Io`] when the
    /// cookie file cannot be read.
    pub fn connect(&self) -> Result<(RustConnection, usize), Error> {
        let (connection, screen) = self.open()?;
        exempt_from_grabs(&connection).map_err(|e| self.refused(&e))?;
        Ok((connection, screen))
    }

    fn open(&self) -> Result<(RustConnection, usize), Error> {
        let Some(xauthority) = &self.xauthority else {
            return RustConnection::connect(Some(&self.name)).map_err(|e| self.refused(&e));
        };
        let number = self.number()?;
        let (name, cookie) = match cookie(&read(xauthority)?, number) {
            Some(cookie) => (COOKIE.to_vec(), cookie),
            None => (Vec::new(), Vec::new()),
        };
        let socket =
            UnixStream::connect(format!("/tmp/.X11-unix/X{number}")).map_err(|e| self.refused(&e))?;
        let (stream, _) = DefaultStream::from_unix_stream(socket).map_err(|e| self.refused(&e))?;
        let connection = RustConnection::connect_to_stream_with_auth_info(stream, 0, name, cookie)
            .map_err(|e| self.refused(&e))?;
        Ok((connection, 0))
    }

    fn refused(&self, why: &dyn std::fmt::Display) -> Error {
        Error::X(format!("display {}: {why}", self.name))
    }

    /// The number in its name.
    fn number(&self) -> Result<u16, Error> {
        let number = self.name.strip_prefix(':').and_then(|number| number.parse().ok());
        number.ok_or_else(|| Error::X(format!("{:?} is not a local display such as \":7\"", self.name)))
    }
}

/// XTest §5, `XTestGrabControl`. On a server without XTest this does nothing: it can be captured, but not steered.
fn exempt_from_grabs(connection: &RustConnection) -> Result<(), ReplyError> {
    if connection.extension_information(xtest::X11_EXTENSION_NAME)?.is_some() {
        connection.xtest_grab_control(true)?.check()?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>, Error> {
    let failed = |source| Error::Io { what: format!("reading {}", path.display()), source };
    let mut bytes = Vec::new();
    let file = std::fs::File::open(path).map_err(failed)?;
    file.take(MAX_XAUTHORITY).read_to_end(&mut bytes).map_err(failed)?;
    Ok(bytes)
}

/// The cookie for display `number` in the content of an Xauthority file (Xau(3)): entries of a
/// family (16 bits, big endian) and four fields, each with a length of 16 bits: address, display
/// number (as text, empty for any), name of the method, data.
fn cookie(mut file: &[u8], number: u16) -> Option<Vec<u8>> {
    let number = number.to_string();
    loop {
        let (_family, rest) = file.split_first_chunk::<2>()?;
        file = rest;
        let _address = field(&mut file)?;
        let display = field(&mut file)?;
        let method = field(&mut file)?;
        let data = field(&mut file)?;
        if method == COOKIE && (display.is_empty() || display == number.as_bytes()) {
            return Some(data.to_vec());
        }
    }
}

fn field<'a>(file: &mut &'a [u8]) -> Option<&'a [u8]> {
    let (len, rest) = file.split_first_chunk::<2>()?;
    let (field, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes(*len)))?;
    *file = rest;
    Some(field)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(display: &str, method: &[u8], data: &[u8]) -> Vec<u8> {
        let mut entry = 256u16.to_be_bytes().to_vec();
        for field in [b"host", display.as_bytes(), method, data] {
            entry.extend((field.len() as u16).to_be_bytes());
            entry.extend(field);
        }
        entry
    }

    #[test]
    fn the_cookie_of_the_display_is_found_among_others() {
        let file = [
            entry("6", COOKIE, b"six"),
            entry("7", b"XDM-AUTHORIZATION-1", b"no"),
            entry("7", COOKIE, b"seven"),
        ];
        let file = file.concat();
        assert_eq!(cookie(&file, 7).as_deref(), Some(&b"seven"[..]));
        assert_eq!(cookie(&file, 8), None);
        assert_eq!(cookie(&entry("", COOKIE, b"any"), 8).as_deref(), Some(&b"any"[..]));
    }

    #[test]
    fn a_truncated_file_has_no_cookie() {
        let file = entry("7", COOKIE, b"seven");
        for len in 0..file.len() {
            assert_eq!(cookie(&file[..len], 7), None, "{len} bytes");
        }
    }

    #[test]
    fn only_a_local_display_is_a_display() {
        for name in ["7", "host:7", ":7.0", ":", ""] {
            let display = Display { name: name.into(), xauthority: Some("/nowhere".into()) };
            assert!(matches!(display.connect(), Err(Error::X(_))), "{name:?}");
        }
    }
}
