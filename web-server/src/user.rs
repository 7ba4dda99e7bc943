//! The user that sessions run as, when it is another than the server's.

use std::ffi::CString;
use std::io;
use std::os::fd::AsFd;
use std::path::PathBuf;

use nix::unistd::{Gid, Uid, User};
use tokio::process::Command;

/// Of somebody without an account; a desktop's programs have one of their own.
const NO_HOME: &str = "/nonexistent";
const SHELL: &str = "/bin/sh";

/// Who sessions run as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionUser {
    name: String,
    uid: Uid,
    gid: Gid,
    /// All of its groups.
    groups: Vec<libc::gid_t>,
    home: PathBuf,
    shell: PathBuf,
}

/// Checks that we may become somebody else.
///
/// # Errors
/// We are not root.
pub fn check_root() -> Result<(), UserError> {
    match Uid::effective() {
        us if us.is_root() => Ok(()),
        us => Err(UserError::NotRoot(us)),
    }
}

/// Why nobody can be found by a name.
#[derive(Debug, thiserror::Error)]
pub enum UserError {
    /// The system's databases do not have it.
    #[error("there is no user {0:?} on this machine")]
    Unknown(String),
    /// We may not become anybody else.
    #[error("only root can start sessions as another user, and this server runs as {0}")]
    NotRoot(Uid),
    /// Root would gain nothing.
    #[error("{0:?} is root, who can reach everything of the server's")]
    Root(String),
    /// The databases cannot be read.
    #[error("looking up {0:?}: {1}")]
    Lookup(String, #[source] nix::Error),
}

impl SessionUser {
    /// Looks a user up by its name.
    ///
    /// # Errors
    /// There is none, it is root, or we may not start anything as it.
    pub fn find(name: &str) -> Result<Self, UserError> {
        let failed = |error| UserError::Lookup(name.to_owned(), error);
        let user = User::from_name(name).map_err(failed)?;
        let user = user.ok_or_else(|| UserError::Unknown(name.to_owned()))?;
        if user.uid.is_root() {
            return Err(UserError::Root(name.to_owned()));
        }
        check_root()?;
        let login = CString::new(name).map_err(|_| UserError::Unknown(name.to_owned()))?;
        let groups = nix::unistd::getgrouplist(&login, user.gid).map_err(failed)?;
        Ok(Self {
            name: user.name,
            uid: user.uid,
            gid: user.gid,
            groups: groups.into_iter().map(Gid::as_raw).collect(),
            home: user.dir,
            shell: user.shell,
        })
    }

    /// Somebody without an account: a number, alone in the group of the same number.
    pub fn numbered(id: u32) -> Self {
        Self {
            name: format!("oriel-{id}"),
            uid: Uid::from_raw(id),
            gid: Gid::from_raw(id),
            groups: vec![id],
            home: NO_HOME.into(),
            shell: SHELL.into(),
        }
    }

    /// Login name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its id.
    pub fn uid(&self) -> u32 {
        self.uid.as_raw()
    }

    /// Makes `command` tell its program who it is. That it *is* this user is [`SessionUser::become_it`]'s.
    pub fn introduce(&self, command: &mut Command) {
        command.env("HOME", &self.home).env("SHELL", &self.shell);
        command.env("USER", &self.name).env("LOGNAME", &self.name);
        // These lead to what is the server's user's.
        command.env_remove("XAUTHORITY").env_remove("XDG_RUNTIME_DIR");
    }

    /// Becomes this user for good. Only system calls, without locks and memory: may be called between fork and exec.
    ///
    /// # Errors
    /// The system refuses.
    pub fn become_it(&self) -> io::Result<()> {
        let uid = self.uid.as_raw();
        let gid = self.gid.as_raw();
        // SAFETY: the list is as long as it says. Called in a process of one thread, where the C library has no other threads to
        // tell.
        let done = unsafe {
            libc::setgroups(self.groups.len(), self.groups.as_ptr()) == 0
                && libc::setresgid(gid, gid, gid) == 0
                && libc::setresuid(uid, uid, uid) == 0
        };
        if done { Ok(()) } else { Err(io::Error::last_os_error()) }
    }

    /// Gives it what a descriptor of `O_PATH` leads to, a symbolic link itself too.
    ///
    /// # Errors
    /// The system refuses.
    pub fn give_path(&self, file: impl AsFd) -> io::Result<()> {
        let flags = nix::fcntl::AtFlags::AT_EMPTY_PATH;
        Ok(nix::unistd::fchownat(file, c"", Some(self.uid), Some(self.gid), flags)?)
    }

    /// Has this thread open and make files as this user, with its groups, until what is returned is dropped: files belong to it, and what
    /// it may not read is not read. Only for code that does not move to another thread.
    ///
    /// # Errors
    /// The system refuses.
    pub fn act(&self) -> io::Result<Acting> {
        let mut acting = Acting { groups: rustix::process::getgroups()?, gid: None, uid: None };
        let groups: Vec<_> = self.groups.iter().map(|gid| rustix::process::Gid::from_raw(*gid)).collect();
        rustix::thread::set_thread_groups(&groups)?;
        acting.gid = Some(nix::unistd::setfsgid(self.gid));
        acting.uid = Some(nix::unistd::setfsuid(self.uid));
        // These calls report no error: what the id is now tells whether they were allowed (`setfsuid(2)`).
        match nix::unistd::setfsgid(self.gid) == self.gid && nix::unistd::setfsuid(self.uid) == self.uid {
            true => Ok(acting),
            false => Err(io::ErrorKind::PermissionDenied.into()),
        }
    }

    /// Gives it a file or directory of ours.
    ///
    /// # Errors
    /// The system refuses.
    pub fn give(&self, file: impl AsFd) -> io::Result<()> {
        Ok(nix::unistd::fchown(file, Some(self.uid), Some(self.gid))?)
    }
}

/// As whom this thread opened files before [`SessionUser::act`]; dropping it returns to that.
#[must_use]
#[derive(Debug)]
pub struct Acting {
    groups: Vec<rustix::process::Gid>,
    gid: Option<Gid>,
    uid: Option<Uid>,
}

impl Drop for Acting {
    fn drop(&mut self) {
        let mut restored = true;
        if let Some(uid) = self.uid {
            nix::unistd::setfsuid(uid);
            restored &= nix::unistd::setfsuid(uid) == uid;
        }
        if let Some(gid) = self.gid {
            nix::unistd::setfsgid(gid);
            restored &= nix::unistd::setfsgid(gid) == gid;
        }
        restored &= rustix::thread::set_thread_groups(&self.groups).is_ok();
        // The thread goes on to serve others, as somebody whom they do not expect. A process may always return to its own ids.
        if !restored {
            std::process::abort();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_and_root_are_refused() {
        assert!(matches!(SessionUser::find("no-such-user"), Err(UserError::Unknown(_))));
        assert!(matches!(SessionUser::find("root"), Err(UserError::Root(_))));
    }
}
