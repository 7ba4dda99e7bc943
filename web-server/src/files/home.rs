//! A home as a directory: every path is resolved below it, by the kernel, and no link is followed.

use std::collections::BinaryHeap;
use std::ffi::{CStr, OsStr};
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use chrono::{DateTime, Utc};
use common::files::{FileEntry, FileKind};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use super::path::UPLOADS;
use super::{DEEPEST, Error, FilePath, Location, MAX_ENTRIES};
use crate::user::{Acting, SessionUser};

/// Of directories that are made: as usual, less what others may. The home itself is closed to them anyway.
const DIRECTORY_MODE: Mode = Mode::from_raw_mode(0o755);
/// For reading a directory.
pub(super) const LISTED: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY);
/// For what is in a directory, without reading it.
pub(super) const ENTERED: OFlags = OFlags::PATH.union(OFlags::DIRECTORY);

/// A home that is open. Its functions block, and open files as the session's user.
#[derive(Debug)]
pub struct Home {
    directory: OwnedFd,
    user: Option<SessionUser>,
}

/// What a path leads to.
#[derive(Debug)]
pub enum Found {
    /// A regular file, open for reading.
    File(File),
    /// A directory.
    Directory(OwnedFd),
}

/// What is removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Removal {
    /// A file, a link itself, or an empty directory.
    One,
    /// Whatever is in it, too.
    Recursive,
}

impl Home {
    /// Opens the home that is there.
    ///
    /// # Errors
    /// There is none.
    pub fn open(location: Location) -> Result<Self, Error> {
        let path = location.home.ok_or(Error::NoHome)?;
        // As ourselves: the way to it is ours.
        let opened = rustix::fs::open(path, ENTERED | OFlags::CLOEXEC, Mode::empty());
        let directory = opened.map_err(|error| match error {
            Errno::NOENT | Errno::NOTDIR => Error::NoHome,
            error => error.into(),
        })?;
        Ok(Self { directory, user: location.user })
    }

    /// As whom files are opened until what is returned is dropped.
    pub(super) fn act(&self) -> Result<Option<Acting>, Error> {
        Ok(self.user.as_ref().map(SessionUser::act).transpose()?)
    }

    /// Opens what is at `path`, below the home and without following any link.
    pub(super) fn open_at(&self, path: &Path, flags: OFlags, mode: Mode) -> Result<OwnedFd, Errno> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS;
        rustix::fs::openat2(&self.directory, path, flags | OFlags::CLOEXEC, mode, resolve)
    }

    /// Opens what a path leads to.
    ///
    /// # Errors
    /// There is nothing, or it is neither a file nor a directory.
    pub fn find(&self, path: &FilePath) -> Result<Found, Error> {
        let _acting = self.act()?;
        let found = self.open_at(&path.relative(), OFlags::PATH | OFlags::NOFOLLOW, Mode::empty())?;
        match kind(&rustix::fs::fstat(&found)?) {
            FileKind::Directory => {
                Ok(Found::Directory(self.open_at(&path.relative(), LISTED, Mode::empty())?))
            }
            FileKind::File if path.means_directory() => Err(Error::NotDirectory),
            FileKind::File => Ok(Found::File(reopened(&found)?)),
            FileKind::Link => Err(Error::Link),
            FileKind::Other => Err(Error::Special),
        }
    }

    /// Some of what is in a directory, which is at `path`: at most `limit` entries after the name `after`, in the order of their names;
    /// and the last of these if more follow.
    ///
    /// # Errors
    /// It cannot be read, or is too large to be.
    pub fn list(
        &self,
        directory: &OwnedFd,
        path: &FilePath,
        after: Option<&[u8]>,
        limit: usize,
    ) -> Result<(Vec<FileEntry>, Option<Vec<u8>>), Error> {
        let _acting = self.act()?;
        let is_home = path.name().is_none();
        // The first names after `after`, so that however many there are, few are kept.
        let mut first: BinaryHeap<Vec<u8>> = BinaryHeap::new();
        let mut budget = MAX_ENTRIES;
        for name in names(directory.as_fd(), &mut budget)? {
            let name = name?;
            let hidden = is_home && name == UPLOADS.as_bytes();
            if hidden || after.is_some_and(|after| *name <= *after) {
                continue;
            }
            first.push(name);
            if first.len() > limit + 1 {
                first.pop();
            }
        }
        let mut names = first.into_sorted_vec();
        let more = names.len() > limit;
        names.truncate(limit);
        let next = names.last().filter(|_| more).cloned();
        let entries = names.iter().filter_map(|name| entry(directory.as_fd(), path, name).transpose());
        Ok((entries.collect::<Result<_, Error>>()?, next))
    }

    /// How a file or directory is shown.
    ///
    /// # Errors
    /// It is not there.
    pub fn describe(&self, path: &FilePath) -> Result<FileEntry, Error> {
        let _acting = self.act()?;
        let name = path.name().ok_or(Error::BadPath("names the home itself"))?;
        let parent = self.open_at(&path.parent().relative(), ENTERED, Mode::empty())?;
        entry(parent.as_fd(), &path.parent(), name.as_bytes())?.ok_or(Error::NotFound)
    }

    /// Makes a directory. Returns whether it was not there before.
    ///
    /// # Errors
    /// What it should be in is not there, or something else has its name.
    pub fn make_directory(&self, path: &FilePath) -> Result<bool, Error> {
        let _acting = self.act()?;
        let Some(name) = path.name() else { return Ok(false) };
        let parent = self.open_at(&path.parent().relative(), ENTERED, Mode::empty())?;
        match rustix::fs::mkdirat(&parent, name, DIRECTORY_MODE) {
            Ok(()) => Ok(true),
            Err(Errno::EXIST) => match kind(&stat(&parent, name)?) {
                FileKind::Directory => Ok(false),
                _ => Err(Error::NotDirectory),
            },
            Err(error) => Err(error.into()),
        }
    }

    /// Removes what is at a path; of a link, the link itself.
    ///
    /// # Errors
    /// It is not there, is the home itself, or is a directory that is not empty and not all shall go.
    pub fn remove(&self, path: &FilePath, removal: Removal) -> Result<(), Error> {
        let _acting = self.act()?;
        let name = path.name().ok_or(Error::BadPath("names the home itself, which stays"))?;
        let parent = self.open_at(&path.parent().relative(), ENTERED, Mode::empty())?;
        let found = stat(&parent, name)?;
        match (kind(&found), removal) {
            (FileKind::Directory, Removal::One) => {}
            (FileKind::Directory, Removal::Recursive) => {
                let directory = open_child(parent.as_fd(), name, LISTED)?;
                empty(directory.as_fd(), DEEPEST, &mut MAX_ENTRIES.clone())?;
            }
            _ if path.means_directory() => return Err(Error::NotDirectory),
            _ => return Ok(rustix::fs::unlinkat(&parent, name, AtFlags::empty())?),
        }
        Ok(rustix::fs::unlinkat(&parent, name, AtFlags::REMOVEDIR)?)
    }

    /// How much of the disk the home takes, bytes.
    ///
    /// # Errors
    /// It is too large to be measured.
    pub fn usage(&self) -> Result<u64, Error> {
        let _acting = self.act()?;
        let directory = self.open_at(Path::new("."), LISTED, Mode::empty())?;
        usage(directory.as_fd(), DEEPEST, &mut MAX_ENTRIES.clone())
    }
}

/// What it is.
pub(super) fn kind(stat: &Stat) -> FileKind {
    match FileType::from_raw_mode(stat.st_mode) {
        FileType::RegularFile => FileKind::File,
        FileType::Directory => FileKind::Directory,
        FileType::Symlink => FileKind::Link,
        _ => FileKind::Other,
    }
}

/// Of what has a name in a directory; of a link, of itself.
pub(super) fn stat(directory: impl AsFd, name: &OsStr) -> Result<Stat, Errno> {
    rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW)
}

/// Opens what has a name in a directory, no link.
pub(super) fn open_child(directory: BorrowedFd<'_>, name: &OsStr, flags: OFlags) -> Result<OwnedFd, Errno> {
    rustix::fs::openat(directory, name, flags | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// For reading, what was found to be a regular file. Not by its name: a pipe of that name would be waited for by now, and a device woken.
pub(super) fn reopened(found: &OwnedFd) -> Result<File, Errno> {
    let path = format!("/proc/self/fd/{}", found.as_raw_fd());
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map(File::from)
}

/// Names in a directory, each of which takes one of `budget`.
pub(super) fn names<'a>(
    directory: BorrowedFd<'_>,
    budget: &'a mut u32,
) -> Result<impl Iterator<Item = Result<Vec<u8>, Error>> + use<'a>, Error> {
    let entries = Dir::read_from(directory)?;
    let is_own = |name: &CStr| matches!(name.to_bytes(), b"." | b"..");
    let names = entries.filter(move |entry| !entry.as_ref().is_ok_and(|entry| is_own(entry.file_name())));
    Ok(names.map(move |entry| {
        *budget = budget.checked_sub(1).ok_or(Error::TreeTooLarge)?;
        Ok(entry?.file_name().to_bytes().to_vec())
    }))
}

/// `None`: it has gone meanwhile.
fn entry(directory: BorrowedFd<'_>, path: &FilePath, name: &[u8]) -> Result<Option<FileEntry>, Error> {
    let stat = match stat(directory, OsStr::from_bytes(name)) {
        Err(Errno::NOENT) => return Ok(None),
        stat => stat?,
    };
    let kind = kind(&stat);
    Ok(Some(FileEntry {
        name: String::from_utf8_lossy(name).into_owned(),
        path: path.encoded_child(name),
        kind,
        size: if kind == FileKind::File { u64::try_from(stat.st_size).unwrap_or_default() } else { 0 },
        modified: modified(&stat),
    }))
}

/// When its content changed. What is out of the calendar's range counts as its beginning.
pub(super) fn modified(stat: &Stat) -> DateTime<Utc> {
    let nanoseconds = u32::try_from(stat.st_mtime_nsec).unwrap_or_default();
    DateTime::from_timestamp(stat.st_mtime, nanoseconds).unwrap_or_default()
}

/// Removes what is in a directory.
fn empty(directory: BorrowedFd<'_>, depth: u32, budget: &mut u32) -> Result<(), Error> {
    let depth = depth.checked_sub(1).ok_or(Error::TreeTooLarge)?;
    let all = names(directory, budget)?.collect::<Result<Vec<_>, _>>()?;
    for name in all {
        let name = OsStr::from_bytes(&name);
        let mut flags = AtFlags::empty();
        if kind(&stat(directory, name)?) == FileKind::Directory {
            empty(open_child(directory, name, LISTED)?.as_fd(), depth, budget)?;
            flags = AtFlags::REMOVEDIR;
        }
        match rustix::fs::unlinkat(directory, name, flags) {
            Err(Errno::NOENT) => {}
            removed => removed?,
        }
    }
    Ok(())
}

fn usage(directory: BorrowedFd<'_>, depth: u32, budget: &mut u32) -> Result<u64, Error> {
    let depth = depth.checked_sub(1).ok_or(Error::TreeTooLarge)?;
    let all = names(directory, budget)?.collect::<Result<Vec<_>, _>>()?;
    let mut used = 0_u64;
    for name in all {
        let name = OsStr::from_bytes(&name);
        // What goes or is replaced meanwhile, or is not readable, is not counted.
        let Ok(stat) = stat(directory, name) else { continue };
        match kind(&stat) {
            FileKind::Directory => {
                let Ok(child) = open_child(directory, name, LISTED) else { continue };
                used = used.saturating_add(usage(child.as_fd(), depth, budget)?);
            }
            FileKind::File => {
                used = used.saturating_add(u64::try_from(stat.st_blocks).unwrap_or_default() * 512)
            }
            FileKind::Link | FileKind::Other => {}
        }
    }
    Ok(used)
}
