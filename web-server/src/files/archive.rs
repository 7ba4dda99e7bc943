//! A directory as a ZIP archive, made while it is sent.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use chrono::{Datelike as _, Timelike as _};
use common::files::FileKind;
use rustix::fs::{OFlags, Stat};
use tokio::sync::mpsc;
use zip::write::{SimpleFileOptions, StreamWriter};
use zip::{CompressionMethod, ZipWriter};

use super::home::{LISTED, kind, modified, names, open_child, reopened, stat};
use super::path::{UPLOADS, archived};
use super::{DEEPEST, Error, Home};

/// What is sent at once, bytes.
const CHUNK: usize = 64 * 1024;
/// Chunks that wait for the reader of the archive; when so many do, making it waits.
const CHUNKS: usize = 4;
/// Most entries of an archive: their names are kept until its end.
const MAX_ARCHIVED: u32 = 100_000;
/// As quick as it can be: the processor has pictures to encode.
const COMPRESSION: i64 = 1;

/// What comes of an archive, or why it cannot be completed.
pub type Parts = mpsc::Receiver<io::Result<Bytes>>;

/// Begins an archive of a directory of `home`. Links, pipes and devices are left out, and what the session's user may not read. It ends
/// when its reader goes. `turn` is held until then.
pub fn zip<T: Send + 'static>(home: Arc<Home>, directory: OwnedFd, turn: T) -> Parts {
    let (sender, parts) = mpsc::channel(CHUNKS);
    tokio::task::spawn_blocking(move || {
        let out = Sender { sender: sender.clone(), chunk: BytesMut::with_capacity(CHUNK) };
        if let Err(error) = write(&home, directory, out) {
            tracing::debug!(%error, "an archive is not complete");
            // An error ends the connection, so that nobody takes it for complete. Whoever has gone does not miss it.
            let _ = sender.blocking_send(Err(io::Error::other(error.to_string())));
        }
        drop(turn);
    });
    parts
}

fn write(home: &Home, directory: OwnedFd, out: Sender) -> Result<(), Error> {
    let _acting = home.act()?;
    let mut archive = ZipWriter::new_stream(out);
    add(&mut archive, directory.as_fd(), "", DEEPEST, &mut MAX_ARCHIVED.clone())?;
    archive.finish().map_err(failed)?.into_inner().flush()?;
    Ok(())
}

type Archive = ZipWriter<StreamWriter<Sender>>;

fn add(
    archive: &mut Archive,
    directory: BorrowedFd<'_>,
    above: &str,
    depth: u32,
    budget: &mut u32,
) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::TreeTooLarge)?;
    let mut all = names(directory, budget)?.collect::<Result<Vec<_>, _>>()?;
    all.sort_unstable();
    for name in all.iter().filter(|name| !above.is_empty() || name.as_slice() != UPLOADS.as_bytes()) {
        let path = format!("{above}{}", archived(name));
        let name = OsStr::from_bytes(name);
        // What goes or is replaced meanwhile, or may not be read, is left out.
        let Ok(found) = stat(directory, name) else { continue };
        match kind(&found) {
            FileKind::Directory => {
                let Ok(child) = open_child(directory, name, LISTED) else { continue };
                archive.add_directory(path.as_str(), options(&found)).map_err(failed)?;
                add(archive, child.as_fd(), &format!("{path}/"), depth, budget)?;
            }
            FileKind::File => {
                let Some(mut file) = open(directory, name) else { continue };
                archive.start_file(path, options(&found)).map_err(failed)?;
                io::copy(&mut file, archive)?;
            }
            FileKind::Link | FileKind::Other => {}
        }
    }
    Ok(())
}

/// A file, if that is what the name still leads to.
fn open(directory: BorrowedFd<'_>, name: &OsStr) -> Option<File> {
    let found = open_child(directory, name, OFlags::PATH).ok()?;
    let stat = rustix::fs::fstat(&found).ok()?;
    if kind(&stat) == FileKind::File { reopened(&found).ok() } else { None }
}

fn options(stat: &Stat) -> SimpleFileOptions {
    // How long a file is when it has been read is not known before.
    let options = SimpleFileOptions::default()
        .compression_method(CompressionMethod::Deflated)
        .compression_level(Some(COMPRESSION))
        .unix_permissions(stat.st_mode & 0o777)
        .large_file(true);
    let at = modified(stat);
    let part = |value: u32| u8::try_from(value).unwrap_or_default();
    let at = zip::DateTime::from_date_and_time(
        u16::try_from(at.year()).unwrap_or_default(),
        part(at.month()),
        part(at.day()),
        part(at.hour()),
        part(at.minute()),
        part(at.second()),
    );
    // ZIP knows no time before 1980.
    at.map_or(options, |at| options.last_modified_time(at))
}

fn failed(error: zip::result::ZipError) -> Error {
    match error {
        zip::result::ZipError::Io(error) => Error::Io(error),
        error => Error::Io(io::Error::other(error)),
    }
}

/// Sends what is written to it, in chunks.
struct Sender {
    sender: mpsc::Sender<io::Result<Bytes>>,
    chunk: BytesMut,
}

impl Write for Sender {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let len = bytes.len().min(CHUNK - self.chunk.len());
        self.chunk.extend_from_slice(&bytes[..len]);
        if self.chunk.len() == CHUNK {
            self.flush()?;
        }
        Ok(len)
    }

    fn flush(&mut self) -> io::Result<()> {
        let chunk = std::mem::replace(&mut self.chunk, BytesMut::with_capacity(CHUNK));
        if chunk.is_empty() {
            return Ok(());
        }
        self.sender.blocking_send(Ok(chunk.freeze())).map_err(|_| io::ErrorKind::BrokenPipe.into())
    }
}
