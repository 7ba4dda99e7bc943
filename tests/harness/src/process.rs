//! Processes, as seen in `/proc`, and what they leave behind.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A process at one moment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Process {
    /// Process id.
    pub pid: i32,
    /// Its parent.
    pub parent: i32,
    /// One letter of `ps`: `Z` has ended and waits to be reaped.
    pub state: char,
    /// When it started, in ticks since boot: with the pid, an identity.
    pub started: u64,
    /// Arguments, joined by spaces.
    pub command_line: String,
    /// Environment with which it was started.
    pub environment: Vec<String>,
}

impl Process {
    /// The process with this id, if there is one.
    pub fn read(pid: i32) -> Option<Self> {
        let dir = PathBuf::from(format!("/proc/{pid}"));
        let words = |name| {
            let bytes = fs::read(dir.join(name)).unwrap_or_default();
            let parts = bytes.split(|byte| *byte == 0).filter(|part| !part.is_empty());
            parts.map(|part| String::from_utf8_lossy(part).into_owned()).collect::<Vec<_>>()
        };
        let stat = fs::read_to_string(dir.join("stat")).ok()?;
        // The name before the last parenthesis may hold anything.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        Some(Self {
            pid,
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            started: fields.get(19)?.parse().ok()?,
            command_line: words("cmdline").join(" "),
            environment: words("environ"),
        })
    }

    /// It is still this one that runs under its id.
    pub fn is_alive(&self) -> bool {
        Self::read(self.pid).is_some_and(|now| now.started == self.started && now.state != 'Z')
    }

    /// A variable of its environment.
    pub fn variable(&self, name: &str) -> Option<&str> {
        self.environment.iter().find_map(|entry| entry.strip_prefix(name)?.strip_prefix('='))
    }

    /// Where its descriptors lead to: paths, `socket:[…]`, `anon_inode:…`.
    pub fn descriptors(&self) -> Vec<String> {
        let entries = fs::read_dir(format!("/proc/{}/fd", self.pid));
        let links =
            entries.into_iter().flatten().flatten().filter_map(|entry| fs::read_link(entry.path()).ok());
        links.map(|link| link.to_string_lossy().into_owned()).collect()
    }

    /// Files that it has mapped.
    fn mapped(&self) -> BTreeSet<String> {
        let maps = fs::read_to_string(format!("/proc/{}/maps", self.pid)).unwrap_or_default();
        maps.lines().filter_map(|line| line.find('/').map(|at| line[at..].to_owned())).collect()
    }

    /// Resident memory, bytes.
    pub fn resident_bytes(&self) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.pid)).unwrap_or_default();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kilobytes = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        kilobytes.unwrap_or_default() * 1024
    }
}

/// Every process.
pub fn all() -> Vec<Process> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| Process::read(entry.file_name().to_str()?.parse().ok()?)).collect()
}

/// Every process with `path` in its arguments or its environment.
pub fn mentioning(path: &Path) -> Vec<Process> {
    let path = path.to_string_lossy();
    let names = |process: &Process| {
        process.command_line.contains(&*path)
            || process.environment.iter().any(|entry| entry.contains(&*path))
    };
    all().into_iter().filter(names).collect()
}

/// All that some processes have of this machine, to be looked for when they have ended.
#[derive(Debug)]
pub struct Footprint {
    /// The processes.
    pub processes: Vec<Process>,
    /// Numbers of their sockets, as in `/proc/net`.
    pub sockets: BTreeSet<u64>,
    /// Files that they have open, mapped or bound.
    pub files: BTreeMap<PathBuf, FileId>,
}

/// Tells a file from a later one of the same name, even when that was given the same inode.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileId {
    device: u64,
    inode: u64,
    /// Its path in the file system.
    created: Option<SystemTime>,
}

impl FileId {
    /// The identity of the file at `path`, unless it is a directory or missing.
    fn of(path: &Path) -> Option<Self> {
        let meta = fs::symlink_metadata(path).ok().filter(|meta| !meta.is_dir())?;
        Some(Self { device: meta.dev(), inode: meta.ino(), created: meta.created().ok() })
    }
}

/// Directories of programs and libraries, in which no files are created.
const SYSTEM: [&str; 7] = ["/usr/", "/lib/", "/etc/", "/proc/", "/sys/", "/var/cache/", "/var/lib/"];

impl Footprint {
    /// Everything that `processes` have now, except for files below `except`.
    pub fn of(processes: Vec<Process>, except: &Path) -> Self {
        let mut sockets = BTreeSet::new();
        let mut paths = BTreeSet::new();
        for process in &processes {
            let descriptors = process.descriptors();
            sockets.extend(descriptors.iter().filter_map(|link| socket_inode(link)));
            paths.extend(descriptors);
            paths.extend(process.mapped());
        }
        paths.extend(bound_paths(&sockets));
        let ours = |path: &PathBuf| {
            let text = path.to_string_lossy();
            let device = text.starts_with("/dev/") && !text.starts_with("/dev/shm/");
            path.is_absolute()
                && !device
                && !path.starts_with(except)
                && !SYSTEM.iter().any(|dir| text.starts_with(dir))
        };
        // Programs of this workspace stay, wherever they were built.
        let streamer = crate::server::binary("streamer");
        let program = |path: &PathBuf| streamer.parent().is_some_and(|built| path.starts_with(built));
        let files = paths.into_iter().map(PathBuf::from).filter(|path| ours(path) && !program(path));
        let identified = files.filter_map(|path| FileId::of(&path).map(|id| (path, id)));
        Self { sockets, files: identified.collect(), processes }
    }

    /// What still exists of it, as a text; empty if nothing does.
    pub fn leftovers(&self) -> Vec<String> {
        let processes = self.processes.iter().filter(|process| process.is_alive());
        let mut left: Vec<String> =
            processes.map(|p| format!("process {} {}", p.pid, p.command_line)).collect();
        let open = open_sockets();
        left.extend(self.sockets.intersection(&open).map(|inode| format!("socket {inode}")));
        let files = self.files.iter().filter(|(path, id)| FileId::of(path) == Some(**id));
        left.extend(files.map(|(path, _)| format!("file {}", path.display())));
        left.extend(self.shared_memory());
        left
    }

    /// Segments of System V shared memory that one of the processes created.
    fn shared_memory(&self) -> Vec<String> {
        let table = fs::read_to_string("/proc/sysvipc/shm").unwrap_or_default();
        let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
        let pids: BTreeSet<String> = self.processes.iter().map(|process| process.pid.to_string()).collect();
        rows.filter(|row| row.get(4).is_some_and(|creator| pids.contains(*creator)))
            .map(|row| format!("shared memory {row:?}"))
            .collect()
    }
}

fn socket_inode(link: &str) -> Option<u64> {
    link.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

/// Paths to which Unix sockets of these numbers are bound.
fn bound_paths(sockets: &BTreeSet<u64>) -> Vec<String> {
    let table = fs::read_to_string("/proc/net/unix").unwrap_or_default();
    let rows = table.lines().skip(1).map(|line| line.split_whitespace().collect::<Vec<_>>());
    rows.filter_map(|row| {
        let inode = row.get(6)?.parse().ok()?;
        sockets.contains(&inode).then(|| row.get(7).map(|path| (*path).to_owned()))?
    })
    .collect()
}

/// Numbers of all existing sockets.
fn open_sockets() -> BTreeSet<u64> {
    let tables = [("unix", 6), ("udp", 9), ("udp6", 9), ("tcp", 9), ("tcp6", 9)];
    let of_table = |(name, column): (&str, usize)| {
        let table = fs::read_to_string(format!("/proc/net/{name}")).unwrap_or_default();
        let rows = table.lines().skip(1);
        rows.filter_map(|line| line.split_whitespace().nth(column)?.parse().ok()).collect::<Vec<u64>>()
    };
    // A closed connection that still waits for stray packets has no number.
    tables.into_iter().flat_map(of_table).filter(|inode| *inode != 0).collect()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

    use std::net::UdpSocket;
    use std::os::unix::net::UnixListener;
    use std::process::Command;

    use super::*;
    use crate::wait::eventually;

    /// The [`Footprint`] of this process.
    fn of_ourselves() -> Footprint {
        Footprint::of(vec![Process::read(std::process::id().cast_signed()).unwrap()], Path::new("/nowhere"))
    }

    fn is_left(footprint: &Footprint, what: &str) -> bool {
        footprint.leftovers().iter().any(|left| left.contains(what))
    }

    /// Ends with the test, also with one that fails.
    struct Sleeper(std::process::Child);

    impl Drop for Sleeper {
        fn drop(&mut self) {
            let _ = self.0.kill();
            let _ = self.0.wait();
        }
    }

    #[test]
    fn a_process_is_left_until_it_has_ended() {
        let folder = tempfile::tempdir().unwrap();
        let child = Command::new("sleep").arg("1000").env("PLACE", folder.path()).spawn().unwrap();
        let sleeper = Sleeper(child);
        // Between fork and exec it is still us.
        let found = eventually("it is found by its environment", || {
            Some(mentioning(folder.path()))
                .filter(|found| found.iter().any(|it| it.command_line == "sleep 1000"))
        });
        assert_eq!(found.len(), 1);
        let footprint = Footprint::of(found, Path::new("/nowhere"));
        assert!(is_left(&footprint, "sleep 1000"));
        drop(sleeper);
        assert!(!is_left(&footprint, "sleep 1000"));
    }

    #[test]
    fn sockets_and_files_are_left_until_they_are_gone() {
        let folder = tempfile::tempdir().unwrap();
        let socket = folder.path().join("socket");
        let file = folder.path().join("file");
        let listener = UnixListener::bind(&socket).unwrap();
        let opened = fs::File::create(&file).unwrap();
        let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
        let footprint = of_ourselves();
        let numbers =
            |footprint: &Footprint| footprint.leftovers().iter().filter(|l| l.starts_with("socket")).count();
        let before = numbers(&footprint);
        assert!(is_left(&footprint, "/socket") && is_left(&footprint, "/file") && before >= 2);

        drop((listener, opened, udp));
        // A child that another test is about to start may have them for a moment.
        eventually("both are closed", || (numbers(&footprint) == before - 2).then_some(()));
        assert!(is_left(&footprint, "/socket"), "closed, but its path is there");
        fs::remove_file(&socket).unwrap();
        fs::remove_file(&file).unwrap();
        assert!(!is_left(&footprint, "/socket") && !is_left(&footprint, "/file"));
    }
}
