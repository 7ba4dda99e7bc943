//! Homes of desktops: `<state>/homes/session/<id>`, removed with its streamer, and `<state>/homes/kept/<id>`, which nobody removes
//! but the operator.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::id::StreamerId;
use common::spec::{Home, HomeDirs, SourceSpec, StreamerSpec};

use super::user::SessionUser;

/// Directories of homes, within the state directory: all of them, those of sessions, and those that are kept.
pub const DIRECTORIES: [&str; 3] = ["homes", SESSION, KEPT];
const SESSION: &str = "homes/session";
const KEPT: &str = "homes/kept";

/// Makes and removes homes.
#[derive(Debug, Clone)]
pub struct Homes {
    state_dir: PathBuf,
}

impl Homes {
    /// Those below this state directory, which has [`DIRECTORIES`] already.
    pub fn new(state_dir: PathBuf) -> Self {
        Self { state_dir }
    }

    /// Makes what the desktops of a streamer ask for, owned by `owner` if that is not us. Blocks for a few small operations.
    ///
    /// # Errors
    /// One cannot be made.
    pub fn make(
        &self,
        id: &StreamerId,
        spec: &StreamerSpec,
        owner: Option<&SessionUser>,
    ) -> io::Result<HomeDirs> {
        let wants = |wanted: &Home| {
            let mut all = spec.source.iter().chain(spec.sources.values());
            all.any(|source| matches!(source, SourceSpec::Desktop(spec) if spec.home == *wanted))
        };
        let make = |wanted: Home, below: &str| {
            wants(&wanted).then(|| make(&self.state_dir.join(below).join(id.as_str()), owner)).transpose()
        };
        Ok(HomeDirs { session: make(Home::Session, SESSION)?, kept: make(Home::Kept, KEPT)? })
    }

    /// Puts the home of a streamer that is deleted aside, so that the next one of this id gets another; [`Homes::sweep`] removes it.
    ///
    /// # Errors
    /// It cannot be moved.
    pub fn discard(&self, id: &StreamerId) -> io::Result<()> {
        let sessions = self.state_dir.join(SESSION);
        // No id begins with a dot.
        let aside = sessions.join(format!(".{}", uuid::Uuid::new_v4()));
        match fs::rename(sessions.join(id.as_str()), aside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Removes what was put aside, and homes of sessions that `is_known` does not know. Blocks for as long as that takes.
    pub fn sweep(&self, is_known: impl Fn(&str) -> bool) {
        let sessions = self.state_dir.join(SESSION);
        let entries = fs::read_dir(&sessions).into_iter().flatten().flatten();
        for entry in entries.filter(|entry| !entry.file_name().to_str().is_some_and(&is_known)) {
            if let Err(error) = fs::remove_dir_all(entry.path())
                && error.kind() != io::ErrorKind::NotFound
            {
                let home = entry.path();
                tracing::warn!(home = %home.display(), %error, "the home of a session that is no more cannot be removed");
            }
        }
    }
}

fn make(path: &Path, owner: Option<&SessionUser>) -> io::Result<PathBuf> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error),
        _ => {}
    }
    if let Some(owner) = owner {
        owner.give(open(path)?)?;
    }
    Ok(path.to_owned())
}

fn open(path: &Path) -> io::Result<File> {
    OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(home: &str) -> StreamerSpec {
        let source = serde_json::json!({"type": "desktop", "home": home});
        serde_json::from_value(serde_json::json!({"source": source})).unwrap()
    }

    #[test]
    fn homes_of_sessions_go_and_kept_ones_stay() {
        let state = tempfile::tempdir().unwrap();
        for below in DIRECTORIES {
            fs::create_dir(state.path().join(below)).unwrap();
        }
        let homes = Homes::new(state.path().to_owned());
        let (a, b) = (StreamerId::parse("a").unwrap(), StreamerId::parse("b").unwrap());
        let made = homes.make(&a, &spec("session"), None).unwrap();
        let session = made.session.expect("it asks for one");
        assert_eq!(made.kept, None);
        fs::write(session.join("file"), "x").unwrap();
        assert_eq!(homes.make(&a, &spec("session"), None).unwrap().session.as_ref(), Some(&session));
        assert!(session.join("file").exists(), "a second process finds what the first one left");
        let kept = homes.make(&b, &spec("kept"), None).unwrap().kept.expect("it asks for one");
        assert_eq!(homes.make(&b, &spec("/srv"), None).unwrap(), HomeDirs::default());
        homes.sweep(|name| name == "a");
        assert!(session.exists() && kept.exists());
        for id in [&a, &b] {
            homes.discard(id).unwrap();
        }
        assert!(!session.exists() && kept.exists());
        let again = homes.make(&a, &spec("session"), None).unwrap().session.expect("it asks for one");
        assert_eq!(fs::read_dir(&again).unwrap().count(), 0, "it is another one");
        homes.sweep(|name| name == "a");
        let left: Vec<_> = fs::read_dir(state.path().join(SESSION)).unwrap().collect();
        assert_eq!(left.len(), 1, "what was put aside is gone: {left:?}");
    }
}
