//! The directory of one streamer's process: `<state>/run/<name>`, mode 0700.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `token` | us, 0600, before the process starts | 256 random bits that both ends of the IPC show |
//! | `id.json` | us, once the process started | [`Meta`]: whose directory this is, and its monitor's pid |
//! | `streamer.log` | the process | its standard output and error |
//! | `ipc.sock` | the streamer | |
//! | `tcp.sock` | the streamer, where media may come by TCP | |
//! | `exit.json` | whoever cleared the session away, as its very last act | [`StreamerExit`] |
//!
//! A socket's path must be short, so the directory's name is a hash of the streamer's id.
//! All operations are a few small files on a local disk, and block for no longer than that.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use common::exit::{EXIT_FILE, StreamerExit};
use common::ice_tcp::handover;
use common::id::StreamerId;
use common::ipc::{LOG_FILE, SOCKET_FILE, TOKEN_FILE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::user::SessionUser;

/// Length of a run directory's name: 64 bits of a hash, in hexadecimal digits.
pub const NAME_LEN: usize = 16;

/// Tells whose directory it is.
const META_FILE: &str = "id.json";

/// Longest file that is read whole, bytes.
const MAX_FILE: u64 = 64 * 1024;
/// How much of the end of a log is looked at, bytes.
pub const LOG_TAIL: u64 = 256 * 1024;
/// Longest line of a log that is shown whole, characters.
const MAX_LINE: usize = 1000;

/// What a later web-server must know of a process before it can talk to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The streamer's name.
    pub id: StreamerId,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Its monitor process.
    pub monitor: ProcessId,
    /// Of which run of this machine its pid is: after a reboot the same number and time may be another's.
    #[serde(default)]
    pub boot: String,
}

/// Tells this run of the machine from all others.
pub fn boot() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().to_owned()
}

/// A process that cannot be mistaken for a later one that was given the same pid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessId {
    /// Process id.
    pub pid: i32,
    /// When it started, in clock ticks since boot (field 22 of `/proc/<pid>/stat`).
    pub start_ticks: u64,
}

/// One run directory. The files stay when this is dropped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    fn write_token(&self, owner: Option<&SessionUser>) -> io::Result<()> {
        let mut token = [0u8; 32];
        getrandom::fill(&mut token).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(self.file(TOKEN_FILE))?;
        file.write_all(hex(&token).as_bytes())?;
        owner.map_or(Ok(()), |owner| owner.give(&file))
    }

    /// That of `id` under `root`, whether or not it is there.
    pub fn of(root: &Path, id: &StreamerId) -> Self {
        Self { path: root.join(name(id)) }
    }

    /// Makes it ready for another process: a fresh token, and nothing of the last one but its log. `owner` is who that
    /// process runs as, unless as we do.
    ///
    /// # Errors
    /// It cannot be made, or something in it cannot be removed.
    pub fn renew(&self, owner: Option<&SessionUser>) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        let us = rustix::process::geteuid().as_raw();
        match owner {
            Some(owner) => owner.give(File::open(&self.path)?)?,
            // The last process may have run as somebody else.
            None if self.owner()? != us => {
                std::os::unix::fs::fchown(File::open(&self.path)?, Some(us), None)?;
            }
            None => {}
        }
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            if entry.file_name().to_string_lossy().starts_with(LOG_FILE) {
                continue;
            }
            // Symbolic links are removed, never followed.
            if entry.file_type()?.is_dir() {
                fs::remove_dir_all(entry.path())?;
            } else {
                fs::remove_file(entry.path())?;
            }
        }
        self.write_token(owner)
    }

    /// Every run directory under `root`.
    ///
    /// # Errors
    /// `root` cannot be read.
    pub fn all(root: &Path) -> io::Result<Vec<Self>> {
        let mut dirs = Vec::new();
        for entry in fs::read_dir(root)? {
            let entry = entry?;
            if entry.file_type()?.is_dir() {
                dirs.push(Self { path: entry.path() });
            }
        }
        Ok(dirs)
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// As which user its process runs.
    ///
    /// # Errors
    /// It is not there.
    pub fn owner(&self) -> io::Result<u32> {
        Ok(fs::metadata(&self.path)?.uid())
    }

    /// Where the streamer listens.
    pub fn socket(&self) -> PathBuf {
        self.file(SOCKET_FILE)
    }

    /// Where the streamer takes TCP connections of its peers.
    pub fn tcp_socket(&self) -> PathBuf {
        self.file(handover::SOCKET_FILE)
    }

    /// The secret of this streamer's IPC.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn token(&self) -> io::Result<String> {
        Ok(String::from_utf8_lossy(&read(&self.file(TOKEN_FILE))?).trim().to_owned())
    }

    /// Opens the log for the process to append to.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn log(&self, owner: Option<&SessionUser>) -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(0o600).custom_flags(libc::O_NOFOLLOW);
        let log = options.open(self.file(LOG_FILE))?;
        if let Some(owner) = owner {
            owner.give(&log)?;
        }
        Ok(log)
    }

    /// The last `count` lines of the log, in order. At most [`LOG_TAIL`] bytes are read, and of a long line its beginning is shown.
    pub fn log_tail(&self, count: usize) -> Vec<String> {
        let log = self.file(LOG_FILE);
        let mut lines = last_lines(&log);
        if lines.len() < count {
            let mut older = last_lines(&log.with_extension("log.1"));
            older.append(&mut lines);
            lines = older;
        }
        lines.drain(..lines.len().saturating_sub(count));
        lines
    }

    /// Says whose directory it is. Readers see all of it or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        let temporary = self.file("id.json.new");
        // What is there may be a link that leads elsewhere.
        match fs::remove_file(&temporary) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(meta)?)?;
        fs::rename(temporary, self.file(META_FILE))
    }

    /// Whose directory it is.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(serde_json::from_slice(&read(&self.file(META_FILE))?)?)
    }

    /// How the process ended; `None` when nobody has cleared away after it yet.
    pub fn exit(&self) -> Option<StreamerExit> {
        let bytes = read(&self.file(EXIT_FILE)).ok()?;
        serde_json::from_slice(&bytes)
            .inspect_err(|error| tracing::warn!(dir = %self.path.display(), %error, "unreadable exit.json"))
            .ok()
    }

    /// Removes the directory and everything in it; that it is gone already is fine.
    ///
    /// # Errors
    /// Something in it cannot be removed.
    pub fn remove(&self) -> io::Result<()> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Its own name, which is that of the session's control group as well.
    pub fn name(&self) -> String {
        self.path.file_name().unwrap_or_default().to_string_lossy().into_owned()
    }

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

/// A file that the session's user may have put there: an ordinary one, and of it what can be meant.
fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK;
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("is no ordinary file"));
    }
    Ok(file)
}

fn read(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    open(path)?.take(MAX_FILE).read_to_end(&mut bytes)?;
    Ok(bytes)
}

fn last_lines(log: &Path) -> Vec<String> {
    let read = || {
        let mut file = open(log)?;
        let skipped = file.metadata()?.len().saturating_sub(LOG_TAIL);
        file.seek(SeekFrom::Start(skipped))?;
        let mut bytes = Vec::new();
        file.take(LOG_TAIL).read_to_end(&mut bytes)?;
        // The first line is likely to be cut.
        let start =
            if skipped == 0 { 0 } else { bytes.iter().position(|b| *b == b'\n').map_or(0, |at| at + 1) };
        io::Result::Ok(String::from_utf8_lossy(&bytes[start..]).into_owned())
    };
    let text = read().unwrap_or_default();
    text.lines().map(|line| line.chars().take(MAX_LINE).collect()).collect()
}

fn name(id: &StreamerId) -> String {
    let mut name = hex(&Sha256::digest(id.as_str()));
    name.truncate(NAME_LEN);
    name
}

/// Bytes as lower-case hexadecimal digits.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn id(text: &str) -> StreamerId {
        StreamerId::parse(text).unwrap()
    }

    fn made(root: &Path) -> RunDir {
        let dir = RunDir::of(root, &id("demo"));
        dir.renew(None).unwrap();
        dir
    }

    #[test]
    fn only_the_owner_can_enter_it_or_read_the_token() {
        let root = tempfile::tempdir().unwrap();
        let dir = made(root.path());
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.file(TOKEN_FILE)), 0o600);
        assert_eq!(mode(root.path()) & 0o700, 0o700);
        let token = dir.token().unwrap();
        assert_eq!((token.len(), token.chars().all(|c| c.is_ascii_hexdigit())), (64, true));
    }

    #[test]
    fn names_are_short_and_differ_by_id() {
        let a = name(&id(&"a".repeat(64)));
        let b = name(&id("b"));
        assert_eq!((a.len(), b.len()), (NAME_LEN, NAME_LEN));
        assert_ne!(a, b);
    }

    #[test]
    fn what_it_says_about_its_owner_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = made(root.path());
        assert!(dir.meta().is_err());
        assert_eq!(dir.exit(), None);
        let monitor = ProcessId { pid: 7, start_ticks: 99 };
        let meta = Meta { id: id("demo"), created: Utc::now(), monitor, boot: boot() };
        dir.write_meta(&meta).unwrap();
        assert_eq!(dir.meta().unwrap(), meta);
    }

    #[test]
    fn another_process_gets_a_fresh_token_and_finds_the_log() {
        let root = tempfile::tempdir().unwrap();
        let dir = made(root.path());
        let token = dir.token().unwrap();
        dir.log(None).unwrap().write_all(b"one\ntwo\n").unwrap();
        fs::create_dir(dir.file("source")).unwrap();
        fs::write(dir.file(EXIT_FILE), "{}").unwrap();
        dir.renew(None).unwrap();
        assert_ne!(dir.token().unwrap(), token);
        assert_eq!(dir.log_tail(10), ["one", "two"]);
        assert!(!dir.file("source").exists() && !dir.file(EXIT_FILE).exists());
        assert_eq!(RunDir::all(root.path()).unwrap(), std::slice::from_ref(&dir));
        dir.remove().unwrap();
        dir.remove().unwrap();
        assert!(!dir.path().exists());
        dir.renew(None).unwrap();
        assert!(dir.token().is_ok());
    }

    #[test]
    fn the_end_of_a_log_is_bounded_and_goes_on_before_its_rotation() {
        let root = tempfile::tempdir().unwrap();
        let dir = made(root.path());
        assert_eq!(dir.log_tail(5), Vec::<String>::new());
        fs::write(dir.file("streamer.log.1"), "a\nb\n").unwrap();
        fs::write(dir.file(LOG_FILE), format!("c\n{}\n", "x".repeat(5000))).unwrap();
        let tail = dir.log_tail(3);
        assert_eq!((tail[0].as_str(), tail[1].as_str(), tail[2].len()), ("b", "c", MAX_LINE));
        let many = "a line\n".repeat(100_000);
        fs::write(dir.file(LOG_FILE), many).unwrap();
        let tail = dir.log_tail(1_000_000);
        assert!(tail.len() < 50_000 && tail[2..].iter().all(|line| line == "a line"), "{}", tail.len());
    }
}
