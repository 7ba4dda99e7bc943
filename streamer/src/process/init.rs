//! `streamer init`: the first process of a program that a session starts, in a pid namespace of its own (`pid_namespaces(7)`).
//!
//! ```text
//! streamer ─▶ outer (waits, passes signals on, ends as the program does)
//!               └─▶ first, pid 1 of the namespace (mounts /proc, reaps orphans)
//!                     ├─▶ dbus-daemon, where a message bus is wanted
//!                     └─▶ the program
//! ```
//!
//! The program sees its own processes alone: it can neither signal those of another session nor read what `/proc` says of
//! them. When it ends, so does everything in the namespace. Where the system gives us no namespace, [`confine`]
//! has said so, and the program is run without.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::ffi::{OsStr, OsString};
use std::io::{self, Read as _, Write as _};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, ExitStatus, Stdio};
use std::sync::LazyLock;
use std::time::{Duration, Instant};

use common::ipc::HELPER_PROGRAM;
use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::mount::MountFlags;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};

use super::signals::Signals;
use super::uplink::{self, Downlink};
use super::{confine, etc, find_program};
use crate::wake::wait_readable;

/// By which programs find their message bus.
pub const BUS_VARIABLE: &str = "DBUS_SESSION_BUS_ADDRESS";
const BUS: &str = "dbus-daemon";
/// From the start of the bus until it listens; it takes some hundredths of a second.
const BUS_READY: Duration = Duration::from_secs(3);
/// Longest address of a bus, bytes.
const MAX_ADDRESS: usize = 1024;
/// As shells say that a program cannot be run.
const CANNOT_RUN: u8 = 126;
/// Signals that are passed on to the program.
const PASSED_ON: [libc::c_int; 6] =
    [libc::SIGTERM, libc::SIGINT, libc::SIGHUP, libc::SIGQUIT, libc::SIGUSR1, libc::SIGUSR2];

/// What to run, and how.
#[derive(Debug, Clone, PartialEq, Eq, clap::Args)]
pub struct Options {
    /// Where the program's message bus is to listen; none is started if absent.
    #[arg(long)]
    pub bus: Option<PathBuf>,
    /// Where the program's processes cannot be hidden from others, it is not run.
    #[arg(long)]
    pub required: bool,
    /// It has a network of its own, whose loopback interface is to be there.
    #[arg(long)]
    pub own_network: bool,
    /// The program and its arguments.
    #[arg(last = true, required = true)]
    pub argv: Vec<OsString>,
}

/// A command that runs `program` below an init of its own. Arguments that are added are the program's.
pub fn command(program: &Path, bus: Option<&Path>, required: bool, own_network: bool) -> Command {
    let mut command = helper_command();
    command.arg("init");
    if let Some(bus) = bus {
        command.arg("--bus").arg(bus);
    }
    if required {
        command.arg("--required");
    }
    if own_network {
        command.arg("--own-network");
    }
    command.arg("--").arg(program);
    command
}

/// Runs it. Returns only what the program has ended with.
pub fn run(options: &Options) -> ExitCode {
    // As it was started by descriptor, its name would be a number.
    let _ = rustix::thread::set_name(c"streamer-init");
    match try_run(options) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("{error}");
            CANNOT_RUN.into()
        }
    }
}

fn try_run(options: &Options) -> io::Result<ExitCode> {
    if !has_namespace() {
        confine::drop_capabilities();
        let mut program = program(options)?;
        let _bus = start_bus(options, &mut program);
        // Returns only when it cannot be run.
        return Err(cannot_run(options, &program.exec()));
    }
    let downlink = Downlink::inherited()?;
    let (status, told) = pipe_with(PipeFlags::CLOEXEC)?;
    let signals = Signals::block(PASSED_ON.into_iter().chain([libc::SIGCHLD]))?;
    match fork()? {
        None => {
            drop(status);
            Ok(first(options, signals, told, downlink))
        }
        Some(first) => {
            drop((told, downlink));
            outer(first, &signals, status)
        }
    }
}

/// Children of this process begin a pid namespace.
fn has_namespace() -> bool {
    let link = |name: &str| std::fs::read_link(format!("/proc/self/ns/{name}")).ok();
    link("pid") != link("pid_for_children")
}

/// Waits for the namespace to end, and ends as the program has.
fn outer(first: Pid, signals: &Signals, status: OwnedFd) -> io::Result<ExitCode> {
    let_go_of_everything_but(&[status.as_raw_fd()])?;
    loop {
        match signals.wait()? {
            libc::SIGCHLD => {
                let ended = rustix::process::waitpid(Some(first), WaitOptions::NOHANG)?;
                if ended.is_some() {
                    break;
                }
            }
            signal => kill(first, signal),
        }
    }
    let mut raw = [0; 4];
    // Without it the first process was killed, and all with it.
    let told = std::fs::File::from(status).read_exact(&mut raw).map(|()| i32::from_ne_bytes(raw));
    let ended = ExitStatus::from_raw(told.unwrap_or(libc::SIGKILL));
    if let Some(signal) = ended.signal() {
        signals.die_of(signal);
    }
    Ok(u8::try_from(ended.code().unwrap_or(1)).unwrap_or(1).into())
}

/// Pid 1 of the namespace.
fn first(options: &Options, signals: Signals, told: OwnedFd, downlink: Option<Downlink>) -> ExitCode {
    match begin(options, &signals, downlink.as_ref()) {
        Ok(program) => ExitCode::from(reap(program, &signals, told, downlink)),
        Err(error) => {
            eprintln!("{error}");
            tell(told, ExitStatus::from_raw(i32::from(CANNOT_RUN) << 8));
            ExitCode::FAILURE
        }
    }
}

fn begin(options: &Options, signals: &Signals, downlink: Option<&Downlink>) -> io::Result<Pid> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    let mut files = etc::account();
    files.extend(downlink.map(|_| etc::resolver(uplink::NAME_SERVER)));
    if let Err(error) = etc::mount(&files) {
        eprintln!("/etc is the system's: nothing can be mounted over it ({error})");
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    if let Err(error) = rustix::mount::mount(c"proc", c"/proc", c"proc", flags, c"") {
        let message = format!("/proc shows the processes of others: it cannot be mounted anew ({error})");
        if options.required {
            return Err(io::Error::other(message));
        }
        eprintln!("{message}");
    }
    if options.own_network {
        loopback_up().map_err(|error| io::Error::other(format!("it has no loopback interface: {error}")))?;
    }
    if let Some(downlink) = downlink {
        downlink.wait().map_err(|error| io::Error::other(format!("it has no network: {error}")))?;
    }
    confine::drop_capabilities();
    let mut program = program(options)?;
    let _bus = start_bus(options, &mut program);
    signals.restore_in(&mut program);
    let child = program.spawn().map_err(|error| cannot_run(options, &error))?;
    Pid::from_raw(child.id().cast_signed()).ok_or_else(|| io::Error::other("the program has no process"))
}

/// Takes in whatever ends in the namespace, until the program does.
fn reap(program: Pid, signals: &Signals, told: OwnedFd, downlink: Option<Downlink>) -> u8 {
    // Nothing of the program's must stay open because of us.
    let kept: Vec<_> = downlink.iter().map(AsRawFd::as_raw_fd).chain([told.as_raw_fd()]).collect();
    if let Err(error) = let_go_of_everything_but(&kept) {
        eprintln!("{error}");
    }
    loop {
        match signals.wait() {
            Ok(libc::SIGCHLD) => loop {
                match rustix::process::wait(WaitOptions::NOHANG) {
                    Ok(Some((pid, status))) if pid == program => {
                        tell(told, ExitStatus::from_raw(status.as_raw()));
                        return 0;
                    }
                    Ok(Some(_)) | Err(rustix::io::Errno::INTR) => {}
                    Ok(None) | Err(_) => break,
                }
            },
            Ok(signal) => kill(program, signal),
            Err(_) => return CANNOT_RUN,
        }
    }
}

fn tell(told: OwnedFd, status: ExitStatus) {
    // The outer process is there, or nobody is interested.
    let _ = std::fs::File::from(told).write_all(&status.into_raw().to_ne_bytes());
}

fn program(options: &Options) -> io::Result<Command> {
    let (name, arguments) = options.argv.split_first().ok_or_else(|| io::Error::other("no program"))?;
    let mut program = Command::new(name);
    program.args(arguments).env_remove(uplink::VARIABLE);
    Ok(program)
}

fn cannot_run(options: &Options, error: &io::Error) -> io::Error {
    let name = options.argv.first().map_or_else(Default::default, |name| name.to_string_lossy());
    io::Error::other(format!("cannot run {name:?}: {error}"))
}

/// Without a bus of their own, programs of two sessions would meet on the user's, where a browser that is started has its page
/// opened by the other session's.
fn start_bus(options: &Options, program: &mut Command) -> Option<std::process::Child> {
    let path = options.bus.as_ref().filter(|_| std::env::var_os(BUS_VARIABLE).is_none())?;
    let Some(daemon) = find_program(BUS, &super::search_path()) else {
        eprintln!("there is no message bus: {BUS} is not installed");
        return None;
    };
    let start = || {
        let mut command = Command::new(daemon);
        command.args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
        let mut address = OsString::from("--address=unix:path=");
        address.push(path);
        command.arg(address).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn()?;
        let output = child.stdout.take().ok_or_else(|| io::Error::other("it has no output"))?;
        io::Result::Ok((first_line(output, Instant::now() + BUS_READY)?, child))
    };
    match start() {
        Ok((address, child)) => {
            program.env(BUS_VARIABLE, address);
            Some(child)
        }
        Err(error) => {
            eprintln!("there is no message bus: {error}");
            None
        }
    }
}

fn first_line(mut pipe: std::process::ChildStdout, until: Instant) -> io::Result<OsString> {
    let mut text = Vec::new();
    let mut buffer = [0; 256];
    while text.len() <= MAX_ADDRESS {
        if !wait_readable([pipe.as_fd()], Some(until))? {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not listen"));
        }
        let count = pipe.read(&mut buffer)?;
        text.extend_from_slice(&buffer[..count]);
        if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            return Ok(OsStr::from_bytes(&text[..end]).to_owned());
        }
        if count == 0 {
            return Err(io::Error::other("it ended at once"));
        }
    }
    Err(io::Error::other("it says what is no address"))
}

/// A network namespace begins with a loopback interface that is down (`network_namespaces(7)`, `netdevice(7)`).
fn loopback_up() -> io::Result<()> {
    let socket = std::net::UdpSocket::bind((std::net::Ipv4Addr::UNSPECIFIED, 0))?;
    // SAFETY: the request is plain data, named and filled before the call that reads it.
    unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = from.cast_signed();
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as libc::c_short;
        match libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS, &raw const request) {
            0 => Ok(()),
            _ => Err(io::Error::last_os_error()),
        }
    }
}

fn fork() -> io::Result<Option<Pid>> {
    // SAFETY: this process has one thread, so the child may do whatever we may.
    match unsafe { libc::fork() } {
        -1 => Err(io::Error::last_os_error()),
        pid => Ok(Pid::from_raw(pid)),
    }
}

fn kill(pid: Pid, signal: libc::c_int) {
    // SAFETY: a plain system call. Whoever it is for may have ended.
    unsafe { libc::kill(pid.as_raw_nonzero().get(), signal) };
}

/// Of all descriptors only `kept` stay, which are none of the standard ones; those lead nowhere.
fn let_go_of_everything_but(kept: &[libc::c_int]) -> io::Result<()> {
    let mut kept: Vec<_> = kept.iter().map(|number| number.cast_unsigned()).collect();
    kept.sort_unstable();
    let null = std::fs::File::options().read(true).write(true).open("/dev/null")?;
    // SAFETY: plain system calls on numbers. Nothing else of this process uses a descriptor from here on.
    unsafe {
        for standard in 0..3 {
            if libc::dup2(null.as_raw_fd(), standard) < 0 {
                return Err(io::Error::last_os_error());
            }
        }
        drop(null);
        let mut next = 3;
        for number in kept {
            if number > next {
                libc::close_range(next, number - 1, 0);
            }
            next = number + 1;
        }
        libc::close_range(next, libc::c_uint::MAX, 0);
    }
    Ok(())
}

/// A command that runs the helper beside this program, or this program. Arguments are added by the caller.
fn helper_command() -> Command {
    // By descriptor, as the path may lead to nothing where the command is run: in a mount namespace.
    static HELPER: LazyLock<Option<OwnedFd>> = LazyLock::new(|| {
        let path = std::env::current_exe().ok()?.with_file_name(HELPER_PROGRAM);
        openat(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).ok()
    });
    let program = match &*HELPER {
        Some(helper) => format!("/proc/self/fd/{}", helper.as_raw_fd()),
        None => "/proc/self/exe".into(),
    };
    let mut command = Command::new(program);
    command.arg0("streamer");
    command
}
