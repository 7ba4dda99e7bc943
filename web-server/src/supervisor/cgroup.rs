//! A control group for each session, so that one that takes too much memory, too many processes or too much of the processors is
//! held back, and not the machine.
//!
//! | | where | needs |
//! |---|---|---|
//! | v2 | beside our own group | our group's parent may be written and has no processes of its own: `Delegate=yes` and `DelegateSubgroup=` of systemd 254 |
//! | v1 | below our own group, in each controller's hierarchy | those groups may be written |
//!
//! The kernel keeps groups of v2 with processes from having limited ones below them, hence beside. Groups are named after the
//! state directory and the run directory in it; one without processes is removed when its session has ended, and by the next start.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use common::cgroup::{self, Membership};
use sha2::{Digest, Sha256};

use crate::rundir::hex;

/// Lists, and takes, the processes of a group.
const PROCESSES: &str = "cgroup.procs";
/// Which weight is an ordinary one, in v2 and in v1.
const DEFAULT_WEIGHT: u64 = 100;
const DEFAULT_SHARES: u64 = 1024;

/// What one session may take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct SessionLimits {
    /// Of memory, MiB.
    pub memory_mb: Option<u32>,
    /// Processes and threads at once.
    pub processes: Option<u32>,
    /// Share of the processors while they are all busy, 1..=10000; what is not ours has 100.
    pub cpu_weight: Option<u32>,
}

impl SessionLimits {
    /// Whether anything is limited.
    pub fn any(&self) -> bool {
        *self != Self::default()
    }

    fn wanted(&self) -> impl Iterator<Item = Controller> {
        let memory = self.memory_mb.map(|mb| Controller::Memory(u64::from(mb) << 20));
        let processes = self.processes.map(|count| Controller::Pids(count.into()));
        let weight = self.cpu_weight.map(|weight| Controller::Cpu(weight.into()));
        [memory, processes, weight].into_iter().flatten()
    }
}

/// A controller, with what it shall hold a session to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Controller {
    /// Bytes.
    Memory(u64),
    /// Processes and threads.
    Pids(u64),
    /// Weight.
    Cpu(u64),
}

impl Controller {
    fn name(self) -> &'static str {
        match self {
            Controller::Memory(_) => "memory",
            Controller::Pids(_) => "pids",
            Controller::Cpu(_) => "cpu",
        }
    }

    /// Files of a group and what to write into them, for v2 and for v1.
    fn settings(self, v2: bool) -> Vec<(&'static str, u64)> {
        match (self, v2) {
            (Controller::Memory(bytes), true) => vec![("memory.max", bytes), ("memory.swap.max", 0)],
            // In this order: memory and swap together cannot be less than memory alone.
            (Controller::Memory(bytes), false) => {
                vec![("memory.limit_in_bytes", bytes), ("memory.memsw.limit_in_bytes", bytes)]
            }
            (Controller::Pids(count), _) => vec![("pids.max", count)],
            (Controller::Cpu(weight), true) => vec![("cpu.weight", weight)],
            (Controller::Cpu(weight), false) => {
                vec![("cpu.shares", (weight * DEFAULT_SHARES / DEFAULT_WEIGHT).max(2))]
            }
        }
    }

    /// Whether a kernel may be without it: swap need not be counted.
    fn is_optional(file: &str) -> bool {
        file.contains("swap") || file.contains("memsw")
    }
}

/// Where the groups of all sessions are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Groups {
    /// Directories in which each session gets one, and what that one is held to.
    parents: Vec<(PathBuf, Vec<Controller>)>,
    v2: bool,
    /// How the names of ours begin, and of no other server's.
    prefix: String,
}

/// Why sessions cannot be limited.
#[derive(Debug, thiserror::Error)]
pub enum Unavailable {
    /// Not what is needed.
    #[error("this process is in no control group with the controller {0}")]
    Controller(&'static str),
    /// v2, and not by systemd 254.
    #[error("{} has processes of its own: the server must be in a group of its own below a delegated one", .0.display())]
    NotDelegated(PathBuf),
    /// Somebody else's.
    #[error("{}: {error}", .path.display())]
    Io {
        /// Which file.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
}

impl Groups {
    /// Where sessions with their run directories in `run_root` can be held to `limits`; groups of those that are no more are removed.
    ///
    /// # Errors
    /// Nowhere.
    pub fn find(limits: &SessionLimits, run_root: &Path) -> Result<Self, Unavailable> {
        let path = Path::new("/proc/self/cgroup");
        let text = fs::read_to_string(path).map_err(|error| unavailable(path, error))?;
        let digest = Sha256::digest(run_root.as_os_str().as_bytes());
        let prefix = format!("oriel-{}-", hex(&digest[..4]));
        let groups = Self::below(Path::new(cgroup::ROOT), &text, limits, prefix)?;
        groups.sweep();
        Ok(groups)
    }

    fn below(
        root: &Path,
        memberships: &str,
        limits: &SessionLimits,
        prefix: String,
    ) -> Result<Self, Unavailable> {
        let all: Vec<Membership<'_>> = cgroup::memberships(memberships).collect();
        let v1 = |controller: &str| all.iter().find(|group| group.has(controller));
        let v2 = all.iter().find(|group| group.is_v2());
        match v2 {
            Some(group) if limits.wanted().all(|c| v1(c.name()).is_none()) => {
                Self::beside(&group.directory(root), limits, prefix)
            }
            _ => {
                let mut parents = Vec::new();
                for controller in limits.wanted() {
                    let name = controller.name();
                    let group = v1(name).ok_or(Unavailable::Controller(name))?;
                    let mount = group.controllers.split(',').map(|part| root.join(part));
                    let mount = mount.into_iter().find(|dir| dir.is_dir()).unwrap_or_else(|| root.join(name));
                    let directory = group.directory(&mount);
                    writable(&directory)?;
                    parents.push((directory, vec![controller]));
                }
                Ok(Self { parents, v2: false, prefix })
            }
        }
    }

    fn beside(own: &Path, limits: &SessionLimits, prefix: String) -> Result<Self, Unavailable> {
        let parent = own.parent().filter(|parent| parent.join(PROCESSES).exists());
        let parent = parent.ok_or_else(|| Unavailable::NotDelegated(own.to_owned()))?;
        let read = |file: &str| {
            let path = parent.join(file);
            fs::read_to_string(&path).map_err(|error| unavailable(&path, error))
        };
        if !read(PROCESSES)?.trim().is_empty() {
            return Err(Unavailable::NotDelegated(parent.to_owned()));
        }
        let there = read("cgroup.controllers")?;
        let enabled = read("cgroup.subtree_control")?;
        let has = |list: &str, name: &str| list.split_whitespace().any(|listed| listed == name);
        for controller in limits.wanted() {
            let name = controller.name();
            if !has(&there, name) {
                return Err(Unavailable::Controller(name));
            }
            if !has(&enabled, name) {
                write(&parent.join("cgroup.subtree_control"), &format!("+{name}"))?;
            }
        }
        writable(parent)?;
        let parents = vec![(parent.to_owned(), limits.wanted().collect())];
        Ok(Self { parents, v2: true, prefix })
    }

    /// Makes the group of the session whose run directory has this name. What is written "0" into the files that this gives goes into
    /// it.
    ///
    /// # Errors
    /// It cannot be made, or not be held to its limits.
    pub fn make(&self, name: &str) -> Result<Vec<File>, Unavailable> {
        let mut entrances = Vec::new();
        for (parent, controllers) in &self.parents {
            let group = self.group(parent, name);
            match fs::create_dir(&group) {
                Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(unavailable(&group, error));
                }
                _ => {}
            }
            for (file, value) in controllers.iter().flat_map(|controller| controller.settings(self.v2)) {
                let path = group.join(file);
                match write(&path, &value.to_string()) {
                    Err(_) if Controller::is_optional(file) => {}
                    other => other?,
                }
            }
            let path = group.join(PROCESSES);
            let entrance = OpenOptions::new().write(true).open(&path);
            entrances.push(entrance.map_err(|error| unavailable(&path, error))?);
        }
        Ok(entrances)
    }

    /// Removes the group of a session whose processes have ended; whatever is left is removed by the next start.
    pub fn remove(&self, name: &str) {
        for (parent, _) in &self.parents {
            // Fails while there are processes in it, and that is how it should be.
            let _ = fs::remove_dir(self.group(parent, name));
        }
    }

    fn group(&self, parent: &Path, name: &str) -> PathBuf {
        parent.join(format!("{}{name}", self.prefix))
    }

    fn sweep(&self) {
        for (parent, _) in &self.parents {
            for entry in fs::read_dir(parent).into_iter().flatten().flatten() {
                if entry.file_name().to_string_lossy().starts_with(&self.prefix) {
                    let _ = fs::remove_dir(entry.path());
                }
            }
        }
    }
}

fn writable(directory: &Path) -> Result<(), Unavailable> {
    use rustix::fs::{Access, access};
    access(directory, Access::WRITE_OK).map_err(|error| unavailable(directory, error.into()))
}

fn write(path: &Path, text: &str) -> Result<(), Unavailable> {
    // Not created: a kernel that does not know the file must be noticed.
    let write = || io::Write::write_all(&mut OpenOptions::new().write(true).open(path)?, text.as_bytes());
    write().map_err(|error| unavailable(path, error))
}

fn unavailable(path: &Path, error: io::Error) -> Unavailable {
    Unavailable::Io { path: path.to_owned(), error }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: SessionLimits =
        SessionLimits { memory_mb: Some(64), processes: Some(20), cpu_weight: Some(50) };

    /// A directory with files as the kernel has them.
    fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    #[test]
    fn in_v2_sessions_are_beside_the_server() {
        let root = tree(&[
            ("oriel.service/cgroup.procs", ""),
            ("oriel.service/cgroup.controllers", "cpu memory pids"),
            ("oriel.service/cgroup.subtree_control", "cpu memory pids"),
            ("oriel.service/server/cgroup.procs", "1\n"),
            ("oriel.service/oriel-a/memory.max", ""),
            ("oriel.service/oriel-a/pids.max", ""),
            ("oriel.service/oriel-a/cpu.weight", ""),
            ("oriel.service/oriel-a/cgroup.procs", ""),
        ]);
        let groups =
            Groups::below(root.path(), "0::/oriel.service/server\n", &LIMITS, "oriel-".into()).unwrap();
        assert_eq!(groups.make("a").unwrap().len(), 1);
        let read =
            |file: &str| fs::read_to_string(root.path().join("oriel.service/oriel-a").join(file)).unwrap();
        assert_eq!((read("memory.max").as_str(), read("pids.max").as_str()), ("67108864", "20"));
        assert_eq!(read("cpu.weight"), "50");
    }

    #[test]
    fn in_v2_a_server_among_others_cannot_limit_anything() {
        let root =
            tree(&[("oriel.service/cgroup.procs", "1\n2\n"), ("oriel.service/server/cgroup.procs", "")]);
        let below = |memberships| Groups::below(root.path(), memberships, &LIMITS, "oriel-".into());
        assert!(matches!(below("0::/oriel.service/server\n"), Err(Unavailable::NotDelegated(_))));
        assert!(matches!(below("0::/oriel.service\n"), Err(Unavailable::NotDelegated(_))));
        assert!(matches!(below("1:name=systemd:/\n"), Err(Unavailable::Controller("memory"))));
    }

    #[test]
    fn in_v1_each_controller_has_its_own_tree() {
        let root = tree(&[
            ("memory/box/cgroup.procs", ""),
            ("cpu,cpuacct/cgroup.procs", ""),
            ("cpu/cgroup.procs", ""),
            ("pids/box/oriel-a/pids.max", ""),
            ("pids/box/oriel-a/cgroup.procs", ""),
        ]);
        let memberships = "3:memory:/box\n2:cpu,cpuacct:/\n1:pids:/box\n0::/\n";
        let limits = SessionLimits { processes: Some(7), ..SessionLimits::default() };
        let groups = Groups::below(root.path(), memberships, &limits, "oriel-".into()).unwrap();
        assert_eq!(groups.make("a").unwrap().len(), 1);
        let pids = root.path().join("pids/box/oriel-a/pids.max");
        assert_eq!(fs::read_to_string(pids).unwrap(), "7");
        let all = Groups::below(root.path(), memberships, &LIMITS, "oriel-".into()).unwrap();
        assert_eq!(all.parents.len(), 3);
        // These files do not grow by themselves here.
        assert!(matches!(all.make("b"), Err(Unavailable::Io { .. })));
    }
}
