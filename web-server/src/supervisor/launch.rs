//! How processes of sessions are started: in what surroundings, as whom, held to what.

use std::fs::{self, File};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use common::ipc::{HELPER_PROGRAM, LOG_FORMAT_VARIABLE, LOG_VARIABLE};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::process::{Child, Command};

use super::cgroup::Groups;
use super::descriptors;
use super::users::RunAs;
use crate::rundir::RunDir;
use crate::user::SessionUser;

/// What a session may know of our environment; anything else may be a secret.
const PASSED_VARIABLES: [&str; 12] = [
    "HOME",
    "LANG",
    "LD_LIBRARY_PATH",
    "LOGNAME",
    "PATH",
    "RUST_BACKTRACE",
    "SHELL",
    "TMPDIR",
    "TZ",
    "USER",
    "XAUTHORITY",
    "XDG_RUNTIME_DIR",
];

/// How long clearing away may take: a streamer that lost its monitor has eight seconds to end by itself.
const CLEAN_DEADLINE: Duration = Duration::from_secs(20);

/// How a streamer logs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogSettings {
    /// Filter of `tracing_subscriber::EnvFilter`.
    pub filter: String,
    /// One JSON object per line, not text.
    pub json: bool,
}

/// Starts the processes of sessions. The same for all of them.
#[derive(Debug)]
pub struct Launcher {
    /// The program.
    pub streamer_bin: PathBuf,
    /// How it logs.
    pub log: LogSettings,
    /// As whom.
    pub run_as: RunAs,
    /// Where they are held to limits; `None`: nowhere.
    pub groups: Option<Groups>,
    /// Most processes of the session user, where no control group counts those of each session.
    pub user_processes: Option<u32>,
}

impl Launcher {
    /// Starts `streamer monitor` for `dir` as `user`, in a session of its own, with its output going to the log in
    /// `dir`, and with none of our descriptors: it must not notice when we end.
    ///
    /// # Errors
    /// The program cannot be started.
    pub fn monitor(&self, dir: &RunDir, user: Option<&SessionUser>) -> io::Result<Child> {
        // The helper is the smaller program. Without one the streamer is its own monitor.
        let helper = self.streamer_bin.with_file_name(HELPER_PROGRAM);
        let mut command = if helper.is_file() {
            let mut command = self.command(&helper, "monitor", dir, user)?;
            command.arg("--streamer").arg(&self.streamer_bin);
            command
        } else {
            self.command(&self.streamer_bin, "monitor", dir, user)?
        };
        command.env(LOG_VARIABLE, &self.log.filter);
        command.env(LOG_FORMAT_VARIABLE, if self.log.json { "json" } else { "text" });
        let entrances = match &self.groups {
            Some(groups) => groups.make(&dir.name()).map_err(io::Error::other)?,
            None => Vec::new(),
        };
        let user = user.cloned();
        let processes = self.user_processes;
        // SAFETY: runs between fork and exec, where only async-signal-safe calls are allowed: these are bare system calls that neither
        // allocate nor take locks. close_range only marks descriptors close-on-exec, so the pipe by which exec's failure is
        // reported still works.
        unsafe {
            command.pre_exec(move || {
                rustix::process::setsid()?;
                enter(&entrances)?;
                descriptors::restore()?;
                if let Some(user) = &user {
                    user.become_it()?;
                }
                restrict(processes)
            });
        }
        command.spawn()
    }

    /// Clears away what a monitor has left that ended without doing so: `streamer clean` knows what is the session's. Waits
    /// for that.
    pub async fn clean(&self, dir: &RunDir) {
        tracing::warn!(dir = %dir.path().display(), "a monitor ended without clearing away its session");
        let cleaned = async {
            let user = self.owner(dir)?;
            let mut command = self.command(&self.streamer_bin, "clean", dir, user.as_ref())?;
            if let Some(user) = user {
                // SAFETY: as above.
                unsafe { command.pre_exec(move || user.become_it()) };
            }
            command.kill_on_drop(true).status().await
        };
        match tokio::time::timeout(CLEAN_DEADLINE, cleaned).await {
            Ok(Ok(status)) if status.success() => {}
            Ok(Ok(status)) => tracing::error!(%status, "clearing away a session failed; its log says why"),
            Ok(Err(error)) => tracing::error!(%error, "cannot clear away a session"),
            Err(_) => tracing::error!("clearing away a session took too long"),
        }
        self.ended(dir);
    }

    /// Whether a process can be that of the session of `dir`, of which only the session says that it is: a user may say that any
    /// process is its streamer's.
    pub fn may_kill(&self, dir: &RunDir, pid: i32) -> bool {
        let Ok(owner) = dir.owner() else { return false };
        let process = || fs::metadata(format!("/proc/{pid}")).map(|process| process.uid());
        owner == rustix::process::geteuid().as_raw() || process().is_ok_and(|process| process == owner)
    }

    /// Who the process of `dir` runs as; `None`: as we do. What is configured now may not be what it was started with, but whose
    /// directory it is only we decide.
    fn owner(&self, dir: &RunDir) -> io::Result<Option<SessionUser>> {
        let owner = dir.owner()?;
        Ok(match &self.run_as {
            _ if owner == rustix::process::geteuid().as_raw() => None,
            RunAs::One(user) if user.uid() == owner => Some(user.clone()),
            _ => Some(SessionUser::numbered(owner)),
        })
    }

    /// The processes of a session have ended.
    pub fn ended(&self, dir: &RunDir) {
        if let Some(groups) = &self.groups {
            groups.remove(&dir.name());
        }
    }

    fn command(
        &self,
        program: &Path,
        part: &str,
        dir: &RunDir,
        user: Option<&SessionUser>,
    ) -> io::Result<Command> {
        let output = dir.log(user)?;
        let mut command = Command::new(program);
        command.arg0("streamer").arg(part).arg("--run-dir").arg(dir.path());
        command.stdin(Stdio::null()).stdout(output.try_clone()?).stderr(output).env_clear();
        for name in PASSED_VARIABLES {
            if let Some(value) = std::env::var_os(name) {
                command.env(name, value);
            }
        }
        if let Some(user) = user {
            user.introduce(&mut command);
        }
        Ok(command)
    }
}

/// Goes into control groups.
fn enter(entrances: &[File]) -> io::Result<()> {
    for entrance in entrances {
        rustix::io::write(entrance.as_fd(), b"0")?;
    }
    Ok(())
}

/// Nothing in a session becomes more than it is, by no set-user-id program; a crash leaves no memory, with keys and what was on a screen
/// in it, in a file; and descriptors of ours end here.
fn restrict(processes: Option<u32>) -> io::Result<()> {
    if let Some(most) = processes.map(u64::from) {
        let maximum = getrlimit(Resource::Nproc).maximum.map_or(most, |hard| hard.min(most));
        setrlimit(Resource::Nproc, Rlimit { current: Some(maximum), maximum: Some(maximum) })?;
    }
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    // SAFETY: plain system calls on numbers.
    let done = unsafe {
        libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0
            && libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) == 0
    };
    if done { Ok(()) } else { Err(io::Error::last_os_error()) }
}
