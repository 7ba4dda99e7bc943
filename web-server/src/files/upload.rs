//! What is being uploaded: written beside, into a directory of its own, and renamed when it is complete.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use chrono::{DateTime, Utc};
use common::files::FileKind;
use rustix::fs::{AtFlags, FlockOperation, Mode, OFlags, RenameFlags, Stat};
use rustix::io::Errno;
use sha2::{Digest as _, Sha256};
use tokio::io::AsyncWriteExt as _;
use uuid::Uuid;

use super::home::{ENTERED, LISTED, kind, modified, names, stat};
use super::path::UPLOADS;
use super::{Error, FilePath, Home, MAX_ENTRIES, PARTS_LIFE};

/// Of a file that was not there before: as usual. The home itself is closed to others.
const FILE_MODE: u32 = 0o644;
/// The directory of uploads goes with its last one; one that begins at that moment makes it anew.
const ATTEMPTS: u32 = 5;

/// `Content-Range` of an upload in parts (RFC 9110 §14.4).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Range {
    /// `bytes FIRST-LAST/TOTAL`: this part follows.
    Part {
        /// Its first byte.
        first: u64,
        /// Its last byte.
        last: u64,
        /// Length of the whole file.
        total: u64,
    },
    /// `bytes */TOTAL`: how much is there?
    Ask {
        /// Length of the whole file.
        total: u64,
    },
}

impl Range {
    /// Reads the header.
    ///
    /// # Errors
    /// It is malformed.
    pub fn parse(text: &str) -> Result<Self, Error> {
        let parse = || {
            let (range, total) = text.strip_prefix("bytes ")?.split_once('/')?;
            let number =
                |text: &str| text.parse::<u64>().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
            let total = number(total)?;
            if range == "*" {
                return Some(Self::Ask { total });
            }
            let (first, last) = range.split_once('-')?;
            let (first, last) = (number(first)?, number(last)?);
            (first <= last && last < total).then_some(Self::Part { first, last, total })
        };
        parse().ok_or(Error::BadRange(
            "must be \"bytes FIRST-LAST/TOTAL\", or \"bytes */TOTAL\" to ask how much is there",
        ))
    }

    /// Length of the whole file.
    pub fn total(self) -> u64 {
        match self {
            Self::Part { total, .. } | Self::Ask { total } => total,
        }
    }
}

/// An upload that is under way. Dropped before it is [`finish`](Upload::finish)ed, it leaves nothing, unless it is one in parts.
#[derive(Debug)]
pub struct Upload {
    home: Arc<Home>,
    target: FilePath,
    directory: OwnedFd,
    temporary: OsString,
    file: tokio::fs::File,
    /// Whether it stays when it is not complete.
    stays: bool,
    received: u64,
}

impl Upload {
    /// Begins one, or goes on with one in parts. Blocks.
    ///
    /// # Errors
    /// Something else than a file has that name, its directory is not there, or a part does not follow what is here.
    pub fn begin(
        home: Arc<Home>,
        target: FilePath,
        range: Option<Range>,
        now: SystemTime,
    ) -> Result<Self, Error> {
        let acting = home.act()?;
        let name = target.name().filter(|_| !target.means_directory()).ok_or(Error::IsDirectory)?;
        let parent = home.open_at(&target.parent().relative(), ENTERED, Mode::empty())?;
        replaced(&parent, name)?;
        let temporary = match range {
            None => OsString::from(Uuid::new_v4().simple().to_string()),
            Some(range) => part_name(&target, range.total()),
        };
        let mut flags =
            OFlags::WRONLY | OFlags::CREATE | OFlags::NONBLOCK | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        flags |= if range.is_none() { OFlags::EXCL } else { OFlags::empty() };
        let mode = Mode::RUSR | Mode::WUSR;
        let mut attempts = 0..ATTEMPTS;
        let (directory, file) = loop {
            let directory = uploads(&home)?;
            sweep(&directory, now);
            match rustix::fs::openat(&directory, &temporary, flags, mode) {
                Err(Errno::NOENT) if attempts.next().is_some() => {}
                file => break (directory, file?),
            }
        };
        drop(acting);
        let mut upload = Self {
            home,
            target,
            directory,
            temporary,
            file: tokio::fs::File::from_std(file.into()),
            stays: range.is_some(),
            received: 0,
        };
        if let Some(range) = range {
            upload.go_on(range)?;
        }
        Ok(upload)
    }

    /// Forgets one in parts. Blocks.
    ///
    /// # Errors
    /// There is none.
    pub fn discard(home: &Home, target: &FilePath, total: u64) -> Result<(), Error> {
        let _acting = home.act()?;
        let directory = home.open_at(Path::new(UPLOADS), ENTERED, Mode::empty())?;
        rustix::fs::unlinkat(&directory, part_name(target, total), AtFlags::empty())?;
        remove_if_empty(home);
        Ok(())
    }

    /// Finds the end of what is there.
    fn go_on(&mut self, range: Range) -> Result<(), Error> {
        let locked = rustix::fs::flock(&self.file, FlockOperation::NonBlockingLockExclusive);
        locked.map_err(|_| Error::UploadBusy)?;
        let found = rustix::fs::fstat(&self.file)?;
        if kind(&found) != FileKind::File {
            return Err(Error::Special);
        }
        // Whoever had it locked may have finished it.
        let named = stat(&self.directory, &self.temporary).map_err(|_| Error::UploadBusy)?;
        if (named.st_dev, named.st_ino) != (found.st_dev, found.st_ino) {
            return Err(Error::UploadBusy);
        }
        self.received = u64::try_from(found.st_size).unwrap_or_default();
        // An empty one was made just now.
        self.stays = self.received > 0;
        match range {
            Range::Part { first: 0, .. } => {
                rustix::fs::ftruncate(&self.file, 0)?;
                self.received = 0;
                self.stays = true;
            }
            Range::Part { first, .. } if first != self.received => {
                return Err(Error::WrongOffset { received: self.received });
            }
            Range::Part { .. } | Range::Ask { .. } => {}
        }
        rustix::fs::seek(&self.file, rustix::fs::SeekFrom::Start(self.received))?;
        Ok(())
    }

    /// How many bytes are here.
    pub fn received(&self) -> u64 {
        self.received
    }

    /// Appends.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.file.write_all(bytes).await?;
        self.received += bytes.len() as u64;
        Ok(())
    }

    /// Waits until all that was written is in the file.
    ///
    /// # Errors
    /// The disk is full, or fails.
    pub async fn flush(&mut self) -> Result<(), Error> {
        Ok(self.file.flush().await?)
    }

    /// Gives it its name, in place of the file that has it; or, with `replace` false, of none. Returns whether there was none. After
    /// this it is on the disk.
    ///
    /// # Errors
    /// The disk fails, or something else has the name by now.
    pub async fn finish(mut self, replace: bool) -> Result<bool, Error> {
        self.flush().await?;
        self.file.sync_all().await?;
        super::blocking(move || self.rename(replace)).await
    }

    fn rename(mut self, replace: bool) -> Result<bool, Error> {
        let _acting = self.home.act()?;
        let name = self.target.name().ok_or(Error::IsDirectory)?;
        let parent = self.home.open_at(&self.target.parent().relative(), ENTERED, Mode::empty())?;
        let before = replaced(&parent, name)?;
        let mode = before.as_ref().map_or(FILE_MODE, |before| before.st_mode & 0o777);
        rustix::fs::fchmod(&self.file, Mode::from_raw_mode(mode))?;
        let flags = if replace { RenameFlags::empty() } else { RenameFlags::NOREPLACE };
        rustix::fs::renameat_with(&self.directory, &self.temporary, &parent, name, flags)?;
        // What `drop` would remove has gone.
        self.stays = true;
        Ok(before.is_none())
    }
}

impl Drop for Upload {
    fn drop(&mut self) {
        // Nobody is left who could be told of a failure; what stays is swept later.
        let Ok(_acting) = self.home.act() else { return };
        if !self.stays {
            let _ = rustix::fs::unlinkat(&self.directory, &self.temporary, AtFlags::empty());
        }
        remove_if_empty(&self.home);
    }
}

/// Removes the directory of uploads with the last one.
fn remove_if_empty(home: &Home) {
    if let Ok(home) = home.open_at(Path::new("."), ENTERED, Mode::empty()) {
        // It may not be empty, or be gone.
        let _ = rustix::fs::unlinkat(home, UPLOADS, AtFlags::REMOVEDIR);
    }
}

/// The file that an upload takes the place of, if there is one.
fn replaced(directory: &OwnedFd, name: &OsStr) -> Result<Option<Stat>, Error> {
    let found = match stat(directory, name) {
        Err(Errno::NOENT) => return Ok(None),
        found => found?,
    };
    match kind(&found) {
        FileKind::File => Ok(Some(found)),
        FileKind::Directory => Err(Error::IsDirectory),
        FileKind::Link => Err(Error::Link),
        FileKind::Other => Err(Error::Special),
    }
}

/// The same for whoever goes on with the upload, also by another server.
fn part_name(target: &FilePath, total: u64) -> OsString {
    let digest = Sha256::digest(format!("{total} {}", target.encoded()));
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!("{hex}.part").into()
}

/// The directory of uploads, made if it is not there.
fn uploads(home: &Home) -> Result<OwnedFd, Error> {
    let top = home.open_at(Path::new("."), ENTERED, Mode::empty())?;
    match rustix::fs::mkdirat(&top, UPLOADS, Mode::RWXU) {
        Ok(()) | Err(Errno::EXIST) => Ok(home.open_at(Path::new(UPLOADS), LISTED, Mode::empty())?),
        Err(error) => Err(error.into()),
    }
}

/// Removes what nobody has gone on with, and what a server that was killed has left.
fn sweep(directory: &OwnedFd, now: SystemTime) {
    let now = DateTime::<Utc>::from(now);
    let life = chrono::TimeDelta::from_std(PARTS_LIFE).unwrap_or_default();
    let Ok(all) =
        names(directory.as_fd(), &mut MAX_ENTRIES.clone()).map(|all| all.flatten().collect::<Vec<_>>())
    else {
        return;
    };
    for name in all {
        let name = OsStr::from_bytes(&name);
        if stat(directory, name).is_ok_and(|found| now - modified(&found) > life) {
            let _ = rustix::fs::unlinkat(directory, name, AtFlags::empty());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_within_its_whole() {
        let part = |first, last, total| Some(Range::Part { first, last, total });
        for (text, expected) in [
            ("bytes 0-0/1", part(0, 0, 1)),
            ("bytes 5-9/10", part(5, 9, 10)),
            ("bytes */10", Some(Range::Ask { total: 10 })),
            ("bytes 5-10/10", None),
            ("bytes 6-5/10", None),
            ("bytes 0-9/*", None),
            ("bytes +0-9/10", None),
            ("bytes 0-9/99999999999999999999", None),
            ("0-9/10", None),
            ("", None),
        ] {
            assert_eq!(Range::parse(text).ok(), expected, "{text}");
        }
    }
}
