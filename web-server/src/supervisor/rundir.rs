//! The directory of one streamer's process: `<state>/run/<name>`, mode 0700.
//!
//! | file | written by | holds |
//! |---|---|---|
//! | `token` | us, 0600, before the process starts | 256 random bits that both ends of the IPC show |
//! | `id.json` | us, once the process started | [`Meta`]: whose directory this is, and its monitor's pid |
//! | `streamer.log` | the process | its standard output and error |
//! | `ipc.sock` | the streamer | |
//! | `exit.json` | whoever cleared the session away, as its very last act | [`StreamerExit`] |
//!
//! A socket's path must be short, so the directory's name is a hash of the streamer's id.
//! All operations are a few small files on a local disk, and block for no longer than that.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use chrono::{DateTime, Utc};
use common::exit::{EXIT_FILE, StreamerExit};
use common::id::StreamerId;
use common::ipc::{LOG_FILE, SOCKET_FILE, TOKEN_FILE};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

/// Length of a run directory's name: 64 bits of a hash, in hexadecimal digits.
pub const NAME_LEN: usize = 16;

/// Tells whose directory it is.
const META_FILE: &str = "id.json";

/// What a later web-server must know of a process before it can talk to it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Meta {
    /// The streamer's name.
    pub id: StreamerId,
    /// When it was created.
    pub created: DateTime<Utc>,
    /// Its monitor process.
    pub monitor: ProcessId,
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
    /// Makes the directory for `id` under `root`, with a fresh token in it.
    ///
    /// # Errors
    /// Also when the directory is already there.
    pub fn create(root: &Path, id: &StreamerId) -> io::Result<Self> {
        let dir = Self { path: root.join(name(id)) };
        DirBuilder::new().mode(0o700).create(&dir.path)?;
        let mut token = [0u8; 32];
        getrandom::fill(&mut token).map_err(io::Error::other)?;
        let mut file =
            OpenOptions::new().write(true).create_new(true).mode(0o600).open(dir.file(TOKEN_FILE))?;
        file.write_all(hex(&token).as_bytes())?;
        Ok(dir)
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

    /// Where the streamer listens.
    pub fn socket(&self) -> PathBuf {
        self.file(SOCKET_FILE)
    }

    /// The secret of this streamer's IPC.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn token(&self) -> io::Result<String> {
        Ok(fs::read_to_string(self.file(TOKEN_FILE))?.trim().to_owned())
    }

    /// Opens the log for the process to append to.
    ///
    /// # Errors
    /// The file cannot be made.
    pub fn log(&self) -> io::Result<File> {
        OpenOptions::new().append(true).create(true).mode(0o600).open(self.file(LOG_FILE))
    }

    /// Says whose directory it is. Readers see all of it or nothing.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn write_meta(&self, meta: &Meta) -> io::Result<()> {
        let temporary = self.file("id.json.new");
        let mut file =
            OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        file.write_all(&serde_json::to_vec(meta)?)?;
        fs::rename(temporary, self.file(META_FILE))
    }

    /// Whose directory it is.
    ///
    /// # Errors
    /// The file is missing or damaged.
    pub fn meta(&self) -> io::Result<Meta> {
        Ok(serde_json::from_slice(&fs::read(self.file(META_FILE))?)?)
    }

    /// How the process ended; `None` when nobody has cleared away after it yet.
    pub fn exit(&self) -> Option<StreamerExit> {
        let bytes = fs::read(self.file(EXIT_FILE)).ok()?;
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

    fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }
}

fn name(id: &StreamerId) -> String {
    let mut name = hex(&Sha256::digest(id.as_str()));
    name.truncate(NAME_LEN);
    name
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    fn id(text: &str) -> StreamerId {
        StreamerId::parse(text).unwrap()
    }

    #[test]
    fn only_the_owner_can_enter_it_or_read_the_token() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(root.path(), &id("demo")).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!(mode(dir.path()), 0o700);
        assert_eq!(mode(&dir.file(TOKEN_FILE)), 0o600);
        assert_eq!(mode(root.path()) & 0o700, 0o700);
        let token = dir.token().unwrap();
        assert_eq!((token.len(), token.chars().all(|c| c.is_ascii_hexdigit())), (64, true));
    }

    #[test]
    fn names_are_short_and_differ_by_id() {
        let (a, b) = (name(&id(&"a".repeat(64))), name(&id("b")));
        assert_eq!((a.len(), b.len()), (NAME_LEN, NAME_LEN));
        assert_ne!(a, b);
    }

    #[test]
    fn a_second_directory_for_the_same_id_is_refused_until_the_first_is_removed() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(root.path(), &id("demo")).unwrap();
        let again = RunDir::create(root.path(), &id("demo")).unwrap_err();
        assert_eq!(again.kind(), io::ErrorKind::AlreadyExists);
        dir.remove().unwrap();
        assert!(!dir.path().exists());
        dir.remove().unwrap();
        let fresh = RunDir::create(root.path(), &id("demo")).unwrap();
        assert_eq!(RunDir::all(root.path()).unwrap(), [fresh]);
    }

    #[test]
    fn what_it_says_about_its_owner_is_read_back() {
        let root = tempfile::tempdir().unwrap();
        let dir = RunDir::create(root.path(), &id("demo")).unwrap();
        assert!(dir.meta().is_err());
        assert_eq!(dir.exit(), None);
        let monitor = ProcessId { pid: 7, start_ticks: 99 };
        let meta = Meta { id: id("demo"), created: Utc::now(), monitor };
        dir.write_meta(&meta).unwrap();
        assert_eq!(dir.meta().unwrap(), meta);
    }
}
