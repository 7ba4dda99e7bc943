//! Reports files that programs of the session have put into `Downloads` of its home.
//!
//! ```text
//! home ──made──▶ Downloads ──closed after writing, or renamed into it──▶ settling, until it is quiet ▶ Event::Downloaded
//! ```
//!
//! A thread of its own sleeps until the kernel reports a change (`inotify(7)`). It follows no link, reads no content, and keeps at most
//! `MAX_SETTLING` names.

#![expect(clippy::disallowed_methods, reason = "the loop of a thread is where the time is asked for")]

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsStr;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use chrono::DateTime;
use common::files::{FileEntry, FileKind, encoded};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

use crate::source::video::Outbox;
use crate::source::worker::{Inbox, Next, Worker};
use crate::source::{Error, Event, Events};

/// Where browsers and other programs put what they download, unless they are told otherwise.
const DOWNLOADS: &str = "Downloads";
/// A file is taken for finished when nothing has happened to it for this time: some programs write in several pieces.
const QUIET: Duration = Duration::from_millis(500);
/// Files that may have been finished within [`QUIET`]; of more, the others are not reported. Nobody could read so many offers.
const MAX_SETTLING: usize = 32;
/// Names of what is not finished: of Chromium, Firefox, and others.
const UNFINISHED: [&str; 4] = [".crdownload", ".part", ".partial", ".tmp"];
/// For several events with the longest names.
const BUFFER: usize = 4096;

/// The thread, which ends when this is dropped.
pub type Watch = Worker<Infallible>;

/// Starts watching: files that are finished from now on are reported as [`Event::Downloaded`].
///
/// # Errors
/// The home is not there, or the system has no more watches.
pub fn start(home: &Path, events: Events) -> Result<Watch, Error> {
    let mut watcher = Watcher::new(home, events)
        .map_err(|error| Error::Io { what: "watching for downloads".into(), source: error.into() })?;
    Worker::spawn("downloads", move |inbox| {
        if let Err(error) = watcher.run(&inbox) {
            tracing::warn!(%error, "downloads are not reported any more");
        }
    })
}

struct Watcher {
    kernel: OwnedFd,
    home: i32,
    directory: PathBuf,
    /// While the directory is there.
    downloads: Option<i32>,
    settling: Settling,
    outbox: Outbox,
}

impl Watcher {
    fn new(home: &Path, events: Events) -> Result<Self, Errno> {
        let kernel = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let made = WatchFlags::CREATE | WatchFlags::MOVED_TO | WatchFlags::ONLYDIR;
        let mut watcher = Self {
            home: inotify::add_watch(&kernel, home, made)?,
            kernel,
            directory: home.join(DOWNLOADS),
            downloads: None,
            settling: Settling::default(),
            outbox: Outbox::new(events),
        };
        watcher.watch_downloads();
        Ok(watcher)
    }

    /// Watches the directory, if it is there.
    fn watch_downloads(&mut self) {
        let finished = WatchFlags::CLOSE_WRITE | WatchFlags::MOVED_TO | WatchFlags::MOVE_SELF;
        let flags = finished | WatchFlags::ONLYDIR | WatchFlags::DONT_FOLLOW;
        self.downloads = inotify::add_watch(&self.kernel, &self.directory, flags).ok();
    }

    fn run(&mut self, inbox: &Inbox<Infallible>) -> Result<(), Error> {
        loop {
            self.read().map_err(|error| failed(error.into()))?;
            match inbox.next() {
                Next::Command(never) => match never {},
                Next::Stop => return Ok(()),
                Next::Empty => {}
            }
            self.outbox.flush();
            let now = Instant::now();
            for name in self.settling.take(now) {
                if let Some(entry) = entry(&self.directory, &name) {
                    self.outbox.send(Event::Downloaded(entry));
                }
            }
            let until = self.outbox.retry_at(now).or_else(|| self.settling.due());
            inbox.sleep(&[self.kernel.as_fd()], until).map_err(failed)?;
        }
    }

    /// Takes what the kernel reports.
    fn read(&mut self) -> Result<(), Errno> {
        let mut buffer = [MaybeUninit::uninit(); BUFFER];
        let mut made = false;
        let mut gone = false;
        let mut reader = inotify::Reader::new(&self.kernel, &mut buffer);
        loop {
            let event = match reader.next() {
                Err(Errno::AGAIN) => break,
                Err(Errno::INTR) => continue,
                event => event?,
            };
            let name = event.file_name().map(std::ffi::CStr::to_bytes).unwrap_or_default();
            if event.wd() == self.home {
                made |= name == DOWNLOADS.as_bytes();
            } else if Some(event.wd()) == self.downloads {
                gone |= event.events().intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF);
                if !event.events().contains(ReadFlags::ISDIR) {
                    self.settling.changed(Instant::now(), name);
                }
            }
        }
        if gone && let Some(watch) = self.downloads.take() {
            // A directory that has another name now; one that was removed has no watch any more.
            let _ = inotify::remove_watch(&self.kernel, watch);
        }
        if made || gone {
            self.watch_downloads();
        }
        if made {
            // What came between its making and the watch.
            for entry in std::fs::read_dir(&self.directory).into_iter().flatten().flatten().take(MAX_SETTLING)
            {
                self.settling.changed(Instant::now(), entry.file_name().as_bytes());
            }
        }
        Ok(())
    }
}

fn failed(source: std::io::Error) -> Error {
    Error::Io { what: "waiting for downloads".into(), source }
}

/// Of a file that is there and has content.
fn entry(directory: &Path, name: &[u8]) -> Option<FileEntry> {
    let file = std::fs::symlink_metadata(directory.join(OsStr::from_bytes(name))).ok()?;
    (file.is_file() && file.len() > 0).then(|| FileEntry {
        name: String::from_utf8_lossy(name).into_owned(),
        path: format!("{DOWNLOADS}/{}", encoded(name)),
        kind: FileKind::File,
        size: file.len(),
        modified: DateTime::from_timestamp(file.mtime(), 0).unwrap_or_default(),
    })
}

/// Files to which something has happened, and when each is taken for finished.
#[derive(Debug, Default)]
struct Settling(BTreeMap<Vec<u8>, Instant>);

impl Settling {
    fn changed(&mut self, now: Instant, name: &[u8]) {
        let is_unfinished = UNFINISHED.iter().any(|ending| name.ends_with(ending.as_bytes()));
        let is_shown = !name.is_empty() && !name.starts_with(b".") && !is_unfinished;
        if is_shown && (self.0.len() < MAX_SETTLING || self.0.contains_key(name)) {
            self.0.insert(name.to_vec(), now + QUIET);
        }
    }

    fn take(&mut self, now: Instant) -> Vec<Vec<u8>> {
        self.0.extract_if(.., |_, due| *due <= now).map(|(name, _)| name).collect()
    }

    fn due(&self) -> Option<Instant> {
        self.0.values().min().copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_reported_once_it_is_quiet_and_unfinished_ones_never() {
        let start = Instant::now();
        let mut settling = Settling::default();
        for name in ["a.pdf.crdownload", "b.part", ".com.google.Chrome.x", "c.tmp", ""] {
            settling.changed(start, name.as_bytes());
        }
        assert_eq!(settling.due(), None);
        settling.changed(start, b"a.pdf");
        settling.changed(start + QUIET / 2, b"a.pdf");
        assert!(settling.take(start + QUIET).is_empty(), "it has changed since");
        assert_eq!(settling.due(), Some(start + QUIET / 2 + QUIET));
        assert_eq!(settling.take(start + 2 * QUIET), [b"a.pdf".to_vec()]);
        assert!(settling.take(start + 9 * QUIET).is_empty(), "once");
    }

    #[test]
    fn of_too_many_the_first_are_reported() {
        let start = Instant::now();
        let mut settling = Settling::default();
        for n in 0..100 {
            settling.changed(start, format!("{n:03}").as_bytes());
        }
        assert_eq!(settling.take(start + QUIET).len(), MAX_SETTLING);
    }
}
