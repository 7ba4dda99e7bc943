//! The way out of a network namespace: `slirp4netns(1)`, a network stack in a process of this machine's network, which takes what
//! programs send to an interface of theirs and makes connections of its own of it.
//!
//! ```text
//! streamer ─┬▶ init (in the namespace) ─▶ program ─▶ tap0
//!           │    ▲ one byte: ready         │
//!           └▶ slirp4netns ◀───────────────┘ ─▶ this machine's network
//! ```
//!
//! A pair of sockets joins the two. The program is started when slirp4netns says that it is ready, and slirp4netns ends when the first
//! process of the namespace has. Nothing outside can connect inwards, and this machine's loopback addresses cannot be reached.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd as _, AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::io::FdFlags;
use rustix::net::{AddressFamily, SocketFlags, SocketType, socketpair};
use rustix::process::Pid;

use super::{MARK, find_program, search_path, spawn};
use crate::wake::wait_readable;

/// The program; the package has the same name.
const PROGRAM: &str = "slirp4netns";
/// What it resolves names by, for programs (`slirp4netns(1)`, with the default network 10.0.2.0/24).
pub const NAME_SERVER: &str = "10.0.2.3";
/// The interface in the namespace.
const INTERFACE: &str = "tap0";
/// The largest that it can; nothing of it is a packet outside.
const MTU: &str = "65520";
/// Says to init by which descriptor it hears of the network.
pub const VARIABLE: &str = "ORIEL_UPLINK";
/// From the start of slirp4netns until it is ready; it takes some hundredths of a second.
const READY: Duration = Duration::from_secs(10);

/// The end of slirp4netns.
#[derive(Debug)]
pub struct Uplink {
    end: OwnedFd,
    /// By which processes of a session are known, if `init` has it.
    mark: Option<OsString>,
}

/// Makes `command`, which starts init in a network namespace, wait for the network. The descriptor must be inherited by it.
///
/// # Errors
/// Descriptors have run out.
pub fn announce(command: &mut Command) -> io::Result<(Uplink, OwnedFd)> {
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::STREAM, SocketFlags::CLOEXEC, None)?;
    command.env(VARIABLE, theirs.as_raw_fd().to_string());
    let mark = command.get_envs().find(|(name, _)| *name == MARK);
    let mark = mark.and_then(|(_, value)| value.map(OsStr::to_owned));
    Ok((Uplink { end: ours, mark }, theirs))
}

impl Uplink {
    /// Gives the network namespace of init its way out. Init notices when that fails, and ends.
    ///
    /// # Errors
    /// slirp4netns cannot be started.
    pub fn start(self, init: Pid) -> io::Result<()> {
        let program = find_program(PROGRAM, &search_path());
        let program = program.ok_or_else(|| io::Error::other(format!("{PROGRAM} is not installed")))?;
        let namespace = |name: &str| format!("/proc/{}/ns/{name}", init.as_raw_nonzero());
        let ready = self.end.try_clone()?;
        let mut command = Command::new(program);
        command.env_clear().envs(self.mark.map(|mark| (MARK, mark))).current_dir("/");
        command.args(["--configure", "--mtu", MTU, "--disable-host-loopback", "--enable-seccomp"]);
        command.args(["--exit-fd", "0", "--ready-fd", &ready.as_raw_fd().to_string()]);
        if std::fs::read_link(namespace("user"))? == std::fs::read_link("/proc/self/ns/user")? {
            command.arg("--enable-sandbox");
        } else {
            // There its sandbox would want to be root, which nobody is in a user namespace of ours.
            command.args(["--userns-path", &namespace("user")]);
        }
        command.args(["--netns-type", "path", &namespace("net"), INTERFACE]);
        command.stdin(self.end).stdout(Stdio::null());
        spawn("network", command, Some(ready), |status| {
            if !status.success() {
                tracing::warn!(%status, "the network of a program has ended");
            }
        })
        .map(drop)
    }
}

/// Init's end, held for as long as the network is wanted.
#[derive(Debug)]
pub struct Downlink(OwnedFd);

impl Downlink {
    /// The one that [`announce`] told of, if there is one. Must be asked for once, before the descriptor can be anything else.
    pub fn inherited() -> io::Result<Option<Self>> {
        let Some(text) = std::env::var_os(VARIABLE) else { return Ok(None) };
        let number = text.to_str().and_then(|text| text.parse::<RawFd>().ok()).filter(|number| *number > 2);
        let number = number.ok_or_else(|| io::Error::other(format!("{VARIABLE} is not a descriptor")))?;
        // SAFETY: whoever sets the variable passes the descriptor on to us, and nobody else in this process has it.
        let end = unsafe { OwnedFd::from_raw_fd(number) };
        // Fails when there is no such descriptor. Programs do not get it.
        rustix::io::fcntl_setfd(&end, FdFlags::CLOEXEC)?;
        Ok(Some(Self(end)))
    }

    /// Waits until the network leads out of the machine.
    ///
    /// # Errors
    /// It does not.
    pub fn wait(&self) -> io::Result<()> {
        if !wait_readable([self.0.as_fd()], Some(Instant::now() + READY))? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("{PROGRAM} is not ready")));
        }
        match rustix::io::read(&self.0, &mut [0; 1])? {
            0 => Err(io::Error::other(format!("{PROGRAM} cannot be started or has ended, see the log"))),
            _ => Ok(()),
        }
    }
}

impl AsRawFd for Downlink {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}
