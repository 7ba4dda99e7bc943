//! Files in the home of a session: listed, read, written and removed, and nothing outside of it.
//!
//! A path is plain names ([`FilePath`]), which the kernel resolves below the home without following any link (`openat2(2)`), so nothing
//! that a program of the session changes meanwhile leads out. Where sessions run as other users, files are opened as the session's user
//! ([`SessionUser::act`]): what is written belongs to it, and what it may not read, such as a file of ours that a hard link leads to, is
//! not read for anybody else either.
//!
//! An upload is written into a directory of its own in the home and renamed when it is complete. One that breaks off is removed; one
//! in parts (`Content-Range`) stays for [`PARTS_LIFE`], so that it can be resumed.

mod archive;
mod home;
mod path;
mod upload;

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io;
use std::path::PathBuf;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use common::id::StreamerId;
use rustix::io::Errno;

pub use archive::zip;
pub use home::{Found, Home, Removal};
pub use path::FilePath;
pub use upload::{Range, Upload};

use crate::config::{FileAccess, Files as Config};
use crate::seats::{Seat, Seats};
use crate::user::SessionUser;

/// Uploads of one streamer at a time: a browser makes up to six requests at once.
const UPLOADS_AT_ONCE: u32 = 8;
/// Archives of one streamer at a time: each takes a thread, and a processor for compression.
const ARCHIVES_AT_ONCE: u32 = 2;
/// How long an upload in parts waits for its next one.
pub const PARTS_LIFE: Duration = Duration::from_secs(24 * 60 * 60);
/// How deep directories are removed, counted and archived: each takes a descriptor meanwhile.
const DEEPEST: u32 = 200;
/// Most entries of what is listed, counted or removed at once: about two seconds' work.
const MAX_ENTRIES: u32 = 1_000_000;

/// Where the home of a streamer is, and whose.
#[derive(Debug, Clone)]
pub struct Location {
    /// The directory; `None` where there is no desktop.
    pub home: Option<PathBuf>,
    /// As whom the session runs; `None`: as we do.
    pub user: Option<SessionUser>,
}

/// Why something cannot be done with files.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The streamer has no desktop, or has not started yet.
    #[error("this streamer has no home: only desktops have one, once they have started")]
    NoHome,
    /// The configuration does not allow it.
    #[error("this server {0} (files.access)")]
    Off(&'static str),
    /// The path is none below a home.
    #[error("the path {0}")]
    BadPath(&'static str),
    /// Longer than a file system allows.
    #[error("{what} has at most {max} bytes")]
    NameTooLong {
        /// A name or a path.
        what: &'static str,
        /// The most that is allowed.
        max: usize,
    },
    /// Nothing is there.
    #[error("there is no such file or directory")]
    NotFound,
    /// A directory is where a file is meant.
    #[error("this is a directory")]
    IsDirectory,
    /// Something else is where a directory is meant.
    #[error("this, or what it should be in, is no directory")]
    NotDirectory,
    /// A link is on the way.
    #[error("this is a symbolic link, or leads through one, and links are not followed")]
    Link,
    /// A pipe, socket or device.
    #[error("this is neither a file nor a directory")]
    Special,
    /// Only an empty directory is removed without saying more.
    #[error("the directory is not empty; remove what is in it, too, with recursive=true")]
    NotEmpty,
    /// It should not be replaced.
    #[error("there is a file of this name already, and If-None-Match: * was sent")]
    Exists,
    /// The upload is too long.
    #[error("a file has at most {max} bytes (files.max_upload_mb)")]
    TooLarge {
        /// The most that is allowed.
        max: u64,
    },
    /// The home would hold more than it may.
    #[error("the home holds at most {max} bytes (files.quota_mb), and {used} are used")]
    OverQuota {
        /// The most that is allowed.
        max: u64,
        /// What is used, unfinished uploads included.
        used: u64,
    },
    /// The disk is full.
    #[error("the disk has no room left")]
    NoSpace,
    /// Too much at once.
    #[error("too many {0} of this streamer at once; wait for one of them")]
    TooMany(&'static str),
    /// Two at once send the same.
    #[error("this file is being uploaded by another request")]
    UploadBusy,
    /// A part does not follow what is here.
    #[error("the next part begins at byte {received}")]
    WrongOffset {
        /// How many bytes are here.
        received: u64,
    },
    /// The header does not name a part, or not the one that was sent.
    #[error("Content-Range {0}")]
    BadRange(&'static str),
    /// The body ended early.
    #[error("the body ended before it was complete")]
    Incomplete,
    /// Too many entries, or too deep.
    #[error("the directory is too large: at most {MAX_ENTRIES} entries, {DEEPEST} deep")]
    TreeTooLarge,
    /// The session's user may not.
    #[error("the session's user may not do this")]
    Forbidden,
    /// The system fails.
    #[error("the file system fails: {0}")]
    Io(io::Error),
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match Errno::from_io_error(&error) {
            Some(Errno::NOENT) => Self::NotFound,
            Some(Errno::NOTDIR) => Self::NotDirectory,
            Some(Errno::ISDIR) => Self::IsDirectory,
            Some(Errno::LOOP) => Self::Link,
            // A pipe that nobody reads, a device that is not there.
            Some(Errno::NXIO | Errno::NODEV) => Self::Special,
            Some(Errno::NOTEMPTY) => Self::NotEmpty,
            Some(Errno::EXIST) => Self::Exists,
            Some(Errno::NOSPC | Errno::DQUOT) => Self::NoSpace,
            Some(Errno::ACCESS | Errno::PERM | Errno::ROFS) => Self::Forbidden,
            Some(Errno::NAMETOOLONG) => Self::NameTooLong { what: "a name or path here", max: 255 },
            // Out of the home: `openat2` says so where a name is no link.
            Some(Errno::XDEV) => Self::BadPath("leads out of the home"),
            _ => Self::Io(error),
        }
    }
}

impl From<Errno> for Error {
    fn from(error: Errno) -> Self {
        io::Error::from(error).into()
    }
}

/// Runs what waits for the file system on a thread for such.
///
/// # Errors
/// Its own.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => Err(Error::Io(io::Error::other(error))),
    }
}

/// What is allowed, and what is under way.
#[derive(Debug)]
pub struct Files {
    config: Config,
    /// By hashes of ids: two that share one share their seats.
    uploads: Seats<u64>,
    archives: Seats<u64>,
    /// What uploads that are under way may still write.
    reserved: Mutex<HashMap<StreamerId, Vec<Weak<AtomicU64>>>>,
    /// One home at a time is measured, so that two uploads do not both take the last room.
    measuring: tokio::sync::Mutex<()>,
}

impl Files {
    /// Nothing is under way.
    pub fn new(config: Config) -> Self {
        Self {
            config,
            uploads: Seats::new(UPLOADS_AT_ONCE),
            archives: Seats::new(ARCHIVES_AT_ONCE),
            reserved: Mutex::default(),
            measuring: tokio::sync::Mutex::default(),
        }
    }

    /// Checks that files may be read.
    ///
    /// # Errors
    /// They may not.
    pub fn may_read(&self) -> Result<(), Error> {
        match self.config.access {
            FileAccess::None => Err(Error::Off("gives no access to files")),
            FileAccess::Read | FileAccess::Write => Ok(()),
        }
    }

    /// Checks that files may be written.
    ///
    /// # Errors
    /// They may not.
    pub fn may_write(&self) -> Result<(), Error> {
        self.may_read()?;
        match self.config.access {
            FileAccess::Write => Ok(()),
            FileAccess::None | FileAccess::Read => Err(Error::Off("lets nobody write files")),
        }
    }

    /// A turn for an upload.
    ///
    /// # Errors
    /// Too many are under way.
    pub fn upload_turn(&self, id: &StreamerId) -> Result<Seat<u64>, Error> {
        self.uploads.take(hash(id)).ok_or(Error::TooMany("uploads"))
    }

    /// A turn for an archive.
    ///
    /// # Errors
    /// Too many are under way.
    pub fn archive_turn(&self, id: &StreamerId) -> Result<Seat<u64>, Error> {
        self.archives.take(hash(id)).ok_or(Error::TooMany("archives"))
    }

    /// Room for `wanted` more bytes of a file that will have `total`; where neither is known, for as much as there is.
    ///
    /// # Errors
    /// A file must not be so long, or the home has no room for it.
    pub async fn reserve(
        &self,
        id: &StreamerId,
        home: &Arc<Home>,
        wanted: Option<u64>,
        total: Option<u64>,
    ) -> Result<Reservation, Error> {
        let max = self.config.max_upload_bytes();
        if total.is_some_and(|total| total > max) {
            return Err(Error::TooLarge { max });
        }
        let most = wanted.unwrap_or(max);
        let Some(quota) = self.config.quota_bytes() else {
            return Ok(Reservation { left: Arc::new(AtomicU64::new(most)), over: Over::Length { max } });
        };
        let _turn = self.measuring.lock().await;
        // In this order: what is written in between counts twice, and not never.
        let pending = self.pending(id);
        let home = home.clone();
        let used = blocking(move || home.usage()).await?.saturating_add(pending);
        let free = quota.saturating_sub(used);
        if wanted.is_some_and(|wanted| wanted > free) || free == 0 {
            return Err(Error::OverQuota { max: quota, used });
        }
        let left = Arc::new(AtomicU64::new(most.min(free)));
        let over = if free < most { Over::Quota { max: quota, used } } else { Over::Length { max } };
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.entry(id.clone()).or_default().push(Arc::downgrade(&left));
        Ok(Reservation { left, over })
    }

    /// What uploads to one home may still write. Those that have ended are forgotten.
    fn pending(&self, id: &StreamerId) -> u64 {
        let mut reserved = self.reserved.lock().unwrap_or_else(PoisonError::into_inner);
        reserved.retain(|_, uploads| {
            uploads.retain(|left| left.strong_count() > 0);
            !uploads.is_empty()
        });
        let of_it = reserved.get(id).into_iter().flatten().filter_map(Weak::upgrade);
        of_it.map(|left| left.load(Ordering::Relaxed)).sum()
    }
}

fn hash(id: &StreamerId) -> u64 {
    let mut hasher = DefaultHasher::new();
    id.hash(&mut hasher);
    hasher.finish()
}

/// Room that an upload may use. What is left of it is free again when it is dropped.
#[derive(Debug)]
pub struct Reservation {
    left: Arc<AtomicU64>,
    over: Over,
}

/// What a longer upload exceeds.
#[derive(Debug, Clone, Copy)]
enum Over {
    Length { max: u64 },
    Quota { max: u64, used: u64 },
}

impl Reservation {
    /// Uses some of it.
    ///
    /// # Errors
    /// It has not so much.
    pub fn take(&self, bytes: u64) -> Result<(), Error> {
        let taken =
            self.left.try_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(bytes));
        match (taken, self.over) {
            (Ok(_), _) => Ok(()),
            (Err(_), Over::Length { max }) => Err(Error::TooLarge { max }),
            (Err(_), Over::Quota { max, used }) => Err(Error::OverQuota { max, used }),
        }
    }
}
