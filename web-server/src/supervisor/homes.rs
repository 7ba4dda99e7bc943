//! Homes of desktops: `<state>/homes/session/<id>`, removed with its streamer, and `<state>/homes/kept/<id>`, which nobody removes
//! but the operator.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use common::id::StreamerId;
use common::spec::{Home, HomeDirs, SourceSpec, StreamerSpec};
use rustix::fs::{FileType, Mode, OFlags};

use crate::user::SessionUser;

/// Directories of homes, within the state directory: all of them, those of sessions, and those that are kept.
pub const DIRECTORIES: [&str; 3] = ["homes", SESSION, KEPT];
const SESSION: &str = "homes/session";
const KEPT: &str = "homes/kept";

/// How deep directories in a home may be for it to be given to another user: each takes a descriptor meanwhile.
const DEEPEST: u32 = 200;

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

    /// Makes what the desktops of a streamer ask for, owned by `owner` if that is not us. Blocks for a few small operations; for one
    /// on each file where the home belonged to somebody else.
    ///
    /// # Errors
    /// One cannot be made, or not be given to `owner`.
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

    /// Where the main desktop of a streamer has its home, or the first of its others; `None` for one without a desktop.
    pub fn of(&self, id: &StreamerId, spec: &StreamerSpec) -> Option<PathBuf> {
        let mut all = spec.source.iter().chain(spec.sources.values());
        let home = all.find_map(|source| match source {
            SourceSpec::Desktop(spec) => Some(&spec.home),
            _ => None,
        });
        Some(match home? {
            Home::Session => self.state_dir.join(SESSION).join(id.as_str()),
            Home::Kept => self.state_dir.join(KEPT).join(id.as_str()),
            Home::Path(path) => path.clone(),
        })
    }

    /// Who owns the homes that are kept.
    pub fn kept_owners(&self) -> Vec<(StreamerId, u32)> {
        let entries = fs::read_dir(self.state_dir.join(KEPT)).into_iter().flatten().flatten();
        let owner = |entry: fs::DirEntry| {
            let id = StreamerId::parse(entry.file_name().to_str()?).ok()?;
            Some((id, directory_owner(&entry.path())?))
        };
        entries.filter_map(owner).collect()
    }

    /// Who owns the home that is kept for this streamer, if there is one.
    pub fn kept_owner(&self, id: &StreamerId) -> Option<u32> {
        directory_owner(&self.state_dir.join(KEPT).join(id.as_str()))
    }

    /// Who owns the home that goes with this streamer, if there is one.
    pub fn session_owner(&self, id: &StreamerId) -> Option<u32> {
        directory_owner(&self.state_dir.join(SESSION).join(id.as_str()))
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
        let home = open(path)?;
        let before = home.metadata()?.uid();
        if before != owner.uid() {
            hand_over(&home, before, owner, DEEPEST)?;
        }
        // Last, so that a handover that was cut short is begun again.
        owner.give(home)?;
    }
    Ok(path.to_owned())
}

fn directory_owner(path: &Path) -> Option<u32> {
    fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir).map(|home| home.uid())
}

/// Gives what is in `directory`, and belongs to `before`, to `owner`. No link is followed. Of what root owns, files with further names
/// stay root's: one of those names may be elsewhere.
fn hand_over(directory: &File, before: u32, owner: &SessionUser, depth: u32) -> io::Result<()> {
    if depth == 0 {
        return Err(io::Error::other(format!("directories in it are more than {DEEPEST} deep")));
    }
    for entry in rustix::fs::Dir::read_from(directory)? {
        let entry = entry?;
        if matches!(entry.file_name().to_bytes(), b"." | b"..") {
            continue;
        }
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty())?;
        let stat = rustix::fs::fstat(&file)?;
        let is_directory = FileType::from_raw_mode(stat.st_mode) == FileType::Directory;
        if is_directory {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            let opened = rustix::fs::openat(directory, entry.file_name(), flags, Mode::empty())?;
            hand_over(&File::from(opened), before, owner, depth - 1)?;
        }
        if stat.st_uid == before && (is_directory || before != 0 || stat.st_nlink == 1) {
            owner.give_path(&file)?;
        }
    }
    Ok(())
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
    fn a_home_is_handed_over_with_what_is_in_it_and_nothing_else() {
        if !rustix::process::geteuid().is_root() {
            println!("not tested: only root can give files away");
            return;
        }
        let state = tempfile::tempdir().unwrap();
        for below in DIRECTORIES {
            fs::create_dir(state.path().join(below)).unwrap();
        }
        let homes = Homes::new(state.path().to_owned());
        let id = StreamerId::parse("a").unwrap();
        let outside = state.path().join("outside");
        fs::write(&outside, "root's").unwrap();
        let home = homes.make(&id, &spec("kept"), None).unwrap().kept.unwrap();
        fs::create_dir(home.join("folder")).unwrap();
        fs::write(home.join("folder/file"), "x").unwrap();
        fs::hard_link(&outside, home.join("hard")).unwrap();
        std::os::unix::fs::symlink(&outside, home.join("soft")).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).unwrap().uid();
        for uid in [20_005, 20_006] {
            homes.make(&id, &spec("kept"), Some(&SessionUser::numbered(uid))).unwrap();
            for of_home in ["", "folder", "folder/file", "soft"] {
                assert_eq!(owner(&home.join(of_home)), uid, "{of_home}");
            }
            assert_eq!(owner(&outside), 0);
            assert_eq!(homes.kept_owners(), [(id.clone(), uid)]);
        }
    }

    #[test]
    fn homes_of_sessions_go_and_kept_ones_stay() {
        let state = tempfile::tempdir().unwrap();
        for below in DIRECTORIES {
            fs::create_dir(state.path().join(below)).unwrap();
        }
        let homes = Homes::new(state.path().to_owned());
        let a = StreamerId::parse("a").unwrap();
        let b = StreamerId::parse("b").unwrap();
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
