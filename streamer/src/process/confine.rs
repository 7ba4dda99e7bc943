//! Keeps the programs of a session from what is the server's: its state directory, configuration and keys.
//!
//! They run as the same user as the streamer, so file modes do not help. Instead they get a mount namespace of their own
//! (`mount_namespaces(7)`) in which these paths are empty, and only what a session shares with its programs is put back.
//! Where we may not make one, a user namespace (`user_namespaces(7)`) comes with it, in which the user is the same
//! and the mounts are locked. Processes outside cannot be looked into or traced from there, so neither their memory nor
//! their environment nor `/proc/<pid>/root` leads back. Somebody who is root inside keeps what a program needs
//! (files of others, ports below 1024) and loses what would undo all this.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

use common::ipc::{Isolation, ProgramNetwork};
use rustix::event::{EventfdFlags, eventfd};
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags};
use rustix::thread::{CapabilitySet, UnshareFlags};

use super::uplink::Uplink;
use super::{init, uplink};

/// Capabilities that a root inside keeps, by number (`capabilities(7)`): CHOWN, DAC_OVERRIDE, FOWNER, FSETID, KILL, SETGID, SETUID,
/// SETPCAP, NET_BIND_SERVICE, NET_RAW, SYS_CHROOT, AUDIT_WRITE, SETFCAP.
const KEPT_CAPABILITIES: [u32; 13] = [0, 1, 3, 4, 5, 6, 7, 8, 10, 13, 18, 29, 31];
/// More than there are; those that the kernel does not know are refused, which is fine.
const CAPABILITIES: u32 = 64;

/// Most directories that are shared with programs: the session's own, and its homes.
const MAX_SHARED: usize = 4;

/// What is hidden from programs, and whether it must be.
#[derive(Debug, Default)]
struct Confinement {
    isolation: Isolation,
    network: ProgramNetwork,
    hidden: Vec<PathBuf>,
    /// Within what is hidden, and there for programs.
    shared: Vec<PathBuf>,
}

impl Confinement {
    /// A program that cannot be confined is not started: who cannot be kept from the network must not have it.
    fn is_required(&self) -> bool {
        self.isolation == Isolation::Required || self.network.is_own()
    }

    fn has_own_network(&self, depth: Depth) -> bool {
        depth == Depth::Network && self.network.is_own()
    }
}

/// Set once, before the first source starts: like the user that we are, it is the same for all that this process starts.
static CONFINEMENT: OnceLock<Confinement> = OnceLock::new();

/// Says what to hide from the programs that are started from now on, and which directories to share with them.
pub fn configure(isolation: Isolation, network: ProgramNetwork, hidden: &[PathBuf], shared: Vec<PathBuf>) {
    let confinement = Confinement { isolation, network, hidden: hidden.to_vec(), shared };
    if CONFINEMENT.set(confinement).is_err() {
        tracing::warn!("programs are confined as it was said first");
    }
}

/// Whether a program can reach this path.
pub fn reaches(path: &Path) -> bool {
    CONFINEMENT.get().is_none_or(|c| {
        c.isolation == Isolation::Off
            || c.shared.iter().any(|shared| path.starts_with(shared))
            || !c.hidden.iter().any(|hidden| path.starts_with(hidden))
    })
}

/// Tells, once the program runs, whether it was confined.
#[derive(Debug)]
pub struct Outcome(Option<OwnedFd>);

impl Outcome {
    /// Why it is not confined though it should be.
    pub fn failure(&self) -> Option<io::Error> {
        let mut value = [0; 8];
        rustix::io::read(self.0.as_ref()?, &mut value).ok()?;
        Some(io::Error::from_raw_os_error(u64::from_ne_bytes(value) as i32))
    }
}

/// How far a program is kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Depth {
    /// From what is the server's, and from the processes of others.
    Processes,
    /// From the network as well, where programs have one of their own.
    Network,
}

/// A command that runs `program` with no other processes in its sight, by way of [`init`]; it has to be started with the same
/// `depth`. There is a message bus at `bus`. Before [`configure`] was called it is the bare program.
pub fn command(program: &Path, bus: Option<&Path>, depth: Depth) -> Command {
    let Some(confinement) = CONFINEMENT.get() else { return Command::new(program) };
    init::command(program, bus, confinement.is_required(), confinement.has_own_network(depth))
}

/// The way out of the network that `command`, made by [`command`], begins, where there is to be one; and a descriptor that it inherits.
///
/// # Errors
/// Descriptors have run out.
pub fn uplink(command: &mut Command, depth: Depth) -> io::Result<Option<(Uplink, OwnedFd)>> {
    let is_wanted = CONFINEMENT.get().is_some_and(|confinement| confinement.network == ProgramNetwork::Nat);
    (is_wanted && depth == Depth::Network).then(|| uplink::announce(command)).transpose()
}

/// Makes `command` start confined. Where the system does not allow that it fails if it is required, else [`Outcome`] tells.
///
/// # Errors
/// A path cannot be said to the system, or descriptors have run out.
pub(super) fn confine(command: &mut Command, depth: Depth) -> io::Result<Outcome> {
    let Some(confinement) = CONFINEMENT.get().filter(|c| c.isolation != Isolation::Off) else {
        return Ok(Outcome(None));
    };
    let plan = Plan::new(confinement)?;
    let failure = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
    let told = failure.try_clone()?;
    let required = confinement.is_required();
    let own_network = confinement.has_own_network(depth);
    let setup = move || match plan.enter(own_network) {
        Err(Failed::Refused(error)) if !required => {
            let value = u64::from(error.raw_os_error().unsigned_abs()).to_ne_bytes();
            rustix::io::write(&told, &value).map(drop).map_err(io::Error::from)
        }
        Err(Failed::Refused(error) | Failed::Halfway(error)) => Err(error.into()),
        Ok(()) => Ok(()),
    };
    // SAFETY: between fork and exec only system calls are made, on memory that was allocated before.
    unsafe { command.pre_exec(setup) };
    Ok(Outcome(Some(failure)))
}

/// Why a child is not confined.
enum Failed {
    /// The system does not let us begin; nothing has changed.
    Refused(Errno),
    /// Something is hidden and something is not.
    Halfway(Errno),
}

/// Everything that has to be said to the system, ready to be said between fork and exec.
struct Plan {
    directories: Vec<CString>,
    files: Vec<CString>,
    /// What is shared of that, at most [`MAX_SHARED`].
    shared: Vec<CString>,
    /// Parents of what is shared, below the hidden directory, outermost first.
    parents: Vec<CString>,
    uid_map: Vec<u8>,
    gid_map: Vec<u8>,
}

impl Plan {
    fn new(confinement: &Confinement) -> io::Result<Self> {
        let text = |path: &Path| CString::new(path.as_os_str().as_bytes()).map_err(io::Error::other);
        let mut directories = Vec::new();
        let mut files = Vec::new();
        let mut parents = Vec::new();
        for path in &confinement.hidden {
            // What is not there has nothing to hide.
            let Ok(kind) = path.metadata() else { continue };
            if !kind.is_dir() {
                files.push(text(path)?);
                continue;
            }
            directories.push(text(path)?);
            for below in confinement.shared.iter().filter_map(|shared| shared.strip_prefix(path).ok()) {
                let mut parent = path.clone();
                for part in below {
                    parent.push(part);
                    let parent = text(&parent)?;
                    if !parents.contains(&parent) {
                        parents.push(parent);
                    }
                }
            }
        }
        let hides = |shared: &Path| confinement.hidden.iter().any(|hidden| shared.starts_with(hidden));
        let shared = confinement.shared.iter().filter(|path| hides(path));
        let shared: Vec<_> = shared.map(|path| text(path)).collect::<io::Result<_>>()?;
        if shared.len() > MAX_SHARED {
            return Err(io::Error::other("more directories are shared than can be"));
        }
        let uid = rustix::process::geteuid().as_raw();
        let gid = rustix::process::getegid().as_raw();
        Ok(Self {
            directories,
            files,
            shared,
            parents,
            uid_map: format!("{uid} {uid} 1").into_bytes(),
            gid_map: format!("{gid} {gid} 1").into_bytes(),
        })
    }

    /// Only system calls: runs between fork and exec.
    fn enter(&self, own_network: bool) -> Result<(), Failed> {
        self.namespaces(own_network).map_err(Failed::Refused)?;
        self.hide().map_err(Failed::Halfway)?;
        // Whoever is not root in a user namespace loses all with exec. What init cannot do then, it says.
        let _ = keep_for_init();
        Ok(())
    }

    /// A mount and a pid namespace, with a user namespace if it needs to be; what is mounted outside later is seen in it.
    fn namespaces(&self, own_network: bool) -> Result<(), Errno> {
        let network = if own_network { UnshareFlags::NEWNET } else { UnshareFlags::empty() };
        let wanted = UnshareFlags::NEWNS | UnshareFlags::NEWPID | network;
        match unshare(wanted) {
            Err(Errno::PERM) => {
                unshare(wanted | UnshareFlags::NEWUSER)?;
                // user_namespaces(7): groups may be mapped only when they can no longer be dropped.
                write_file(c"/proc/self/setgroups", b"deny")?;
                write_file(c"/proc/self/uid_map", &self.uid_map)?;
                write_file(c"/proc/self/gid_map", &self.gid_map)?;
            }
            other => other?,
        }
        let downwards = MountPropagationFlags::DOWNSTREAM | MountPropagationFlags::REC;
        rustix::mount::mount_change(c"/", downwards)
    }

    fn hide(&self) -> Result<(), Errno> {
        let cwd = open_directory(c".")?;
        // In this namespace, and before their paths lead to something empty. No memory may be asked for here.
        let mut opened: [Option<OwnedFd>; MAX_SHARED] = Default::default();
        for (opened, path) in opened.iter_mut().zip(&self.shared) {
            *opened = match open_directory(path) {
                Err(Errno::NOENT) => None,
                other => Some(other?),
            };
        }
        let nothing = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        for file in &self.files {
            rustix::mount::mount_bind(c"/dev/null", file.as_c_str())?;
        }
        for directory in &self.directories {
            rustix::mount::mount(c"none", directory.as_c_str(), c"tmpfs", nothing, c"size=64k,mode=755")?;
        }
        for parent in &self.parents {
            rustix::fs::mkdir(parent.as_c_str(), Mode::from_raw_mode(0o755))?;
        }
        for (opened, path) in opened.iter().zip(&self.shared) {
            // By way of the working directory, as its path leads to the new, empty one.
            let Some(directory) = opened else { continue };
            rustix::process::fchdir(directory.as_fd())?;
            rustix::mount::mount_bind(c".", path.as_c_str())?;
        }
        for directory in &self.directories {
            let flags = nothing | MountFlags::RDONLY;
            rustix::mount::mount_remount(directory.as_c_str(), flags, c"")?;
        }
        rustix::process::fchdir(cwd.as_fd())
    }
}

fn unshare(flags: UnshareFlags) -> Result<(), Errno> {
    // SAFETY: the child has one thread and shares none of what is unshared here with anybody.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

fn open_directory(path: &CStr) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

fn write_file(path: &CStr, text: &[u8]) -> Result<(), Errno> {
    let file = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::io::write(&file, text).map(drop)
}

/// What init needs to mount `/proc` and to have a loopback interface, and then to give all of that up.
fn keep_for_init() -> Result<(), Errno> {
    const NEEDED: [CapabilitySet; 3] =
        [CapabilitySet::SYS_ADMIN, CapabilitySet::SETPCAP, CapabilitySet::NET_ADMIN];
    let mut sets = rustix::thread::capabilities(None)?;
    for one in NEEDED {
        sets.inheritable |= one;
    }
    rustix::thread::set_capabilities(None, sets)?;
    NEEDED.into_iter().try_for_each(|one| rustix::thread::configure_capability_in_ambient_set(one, true))
}

/// From what a program can ever have: what it has now goes with exec.
pub fn drop_capabilities() {
    // There are none where nobody has kept any.
    let _ = rustix::thread::clear_ambient_capability_set();
    if let Ok(mut sets) = rustix::thread::capabilities(None) {
        sets.inheritable = CapabilitySet::empty();
        let _ = rustix::thread::set_capabilities(None, sets);
    }
    for capability in (0..CAPABILITIES).filter(|number| !KEPT_CAPABILITIES.contains(number)) {
        // SAFETY: a plain system call on numbers. It is refused for capabilities that do not exist, and to those who have none
        // to drop.
        unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
    }
}
