//! The X server of a desktop: Xvfb on a free display with a cookie of its own.
//!
//! It ends with the streamer, in whatever way that ends. What a killed server leaves in `/tmp` is
//! written down in the run directory ([`Footprint`]), so that the monitor can remove it.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::fs::File;
use std::io::{self, Read, Write};
use std::os::fd::{AsFd as _, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::Signal;

use super::display::Display;
use crate::media::Size;
use crate::process::{self, Child, exit_text, log_tail};
use crate::source::Error;
use crate::wake::wait_readable;

/// Timeout until the server is ready; usually it takes about 0.1 s.
const READY_TIME: Duration = Duration::from_secs(10);
/// Timeout for the end of the server after it was told to end.
const STOP_TIME: Duration = Duration::from_secs(2);
/// How much of its log goes into an error message.
const TAIL: u64 = 1024;
const PROGRAM: &str = "Xvfb";

/// What a server is to be able to do; both cost memory from the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Abilities {
    /// The largest size of the screen: RandR cannot make Xvfb's larger than it was at first, and the server paints all of it.
    pub largest: Size,
    /// OpenGL, by a software renderer (GLX).
    pub opengl: bool,
}

/// A running X server. Dropping it ends it.
#[derive(Debug)]
pub struct XServer {
    display: Display,
    child: Child,
    stopping: Arc<AtomicBool>,
    footprint: Footprint,
    dir: PathBuf,
}

impl XServer {
    /// Starts a server and returns when programs can connect. `on_death` is called when it ends by itself.
    ///
    /// # Errors
    /// [`Error::Program`] with the end of its log when it does not come up.
    pub fn start(
        dir: &Path,
        abilities: Abilities,
        on_death: impl FnOnce(String) + Send + 'static,
    ) -> Result<Self, Error> {
        let failed = |message: String| Error::Program { program: PROGRAM.into(), message };
        let path = process::search_path();
        let program = process::find_program(PROGRAM, &path)
            .ok_or_else(|| failed("is not installed (Debian: apt-get install xvfb)".into()))?;
        let xauthority = dir.join("Xauthority");
        write_cookie(&xauthority).map_err(|e| failed(format!("writing its cookie: {e}")))?;
        let log = dir.join("x.log");
        let (ready, tell) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.to_string()))?;
        let command = command(&program, &xauthority, &log, abilities, tell.as_raw_fd());
        let command = command.map_err(|e| failed(format!("opening its log: {e}")))?;

        // Until it is ready, its end is reported by our error, not by the callback.
        let stopping = Arc::new(AtomicBool::new(true));
        let stopped = Arc::clone(&stopping);
        let child = process::spawn("x-server", command, Some(tell), move |status| {
            if !stopped.load(Ordering::Acquire) {
                on_death(format!("the X server died ({})", exit_text(status)));
            }
        })
        .map_err(|e| failed(e.to_string()))?;
        match read_number(ready, Instant::now() + READY_TIME) {
            Ok(number) => {
                stopping.store(false, Ordering::Release);
                let footprint = Footprint::of(number, child.pid().as_raw_nonzero().get());
                let server = Self {
                    display: Display { name: format!(":{number}"), xauthority: Some(xauthority) },
                    child,
                    stopping,
                    footprint,
                    dir: dir.to_owned(),
                };
                server.footprint.write(dir).map_err(|e| failed(format!("writing its number: {e}")))?;
                Ok(server)
            }
            Err(why) => {
                child.kill();
                let tail = log_tail(&log, TAIL);
                Err(failed(if tail.is_empty() { why } else { format!("{why}: {tail}") }))
            }
        }
    }

    /// The display for programs.
    pub fn display(&self) -> &Display {
        &self.display
    }

    /// Its process.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid()
    }
}

impl Drop for XServer {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        self.child.signal(Signal::TERM);
        if self.child.wait_until(Instant::now() + STOP_TIME).is_none() {
            self.child.kill();
        }
        self.footprint.remove();
        let _ = std::fs::remove_file(self.dir.join(FOOTPRINT_FILE));
    }
}

fn command(
    program: &Path,
    xauthority: &Path,
    log: &Path,
    Abilities { largest, opengl }: Abilities,
    displayfd: i32,
) -> io::Result<Command> {
    let log = File::options().create(true).append(true).mode(0o600).open(log)?;
    let mut command = Command::new(program);
    command.env_clear().env("PATH", process::search_path()).env("LANG", "C.UTF-8");
    command.args(["-displayfd", &displayfd.to_string()]).arg("-auth").arg(xauthority);
    command.args(["-screen", "0", &format!("{}x{}x24", largest.width, largest.height)]);
    command.args(["-nolisten", "tcp", "-noreset", "-s", "0"]);
    for extension in ["DAMAGE", "XFIXES", "RANDR", "XTEST", "MIT-SHM", "Composite"] {
        command.args(["+extension", extension]);
    }
    if !opengl {
        command.args(["-extension", "GLX"]);
    }
    command.current_dir("/").stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
    Ok(command)
}

/// An Xauthority file (Xau(3)) with a new cookie for any display of any host (FamilyWild).
fn write_cookie(path: &Path) -> io::Result<()> {
    let mut cookie = [0; 16];
    File::open("/dev/urandom")?.read_exact(&mut cookie)?;
    let mut entry = 0xffffu16.to_be_bytes().to_vec();
    for field in [&b""[..], b"", b"MIT-MAGIC-COOKIE-1", &cookie] {
        entry.extend((field.len() as u16).to_be_bytes());
        entry.extend(field);
    }
    File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?.write_all(&entry)
}

/// The display number that the server writes when it is ready.
fn read_number(ready: OwnedFd, deadline: Instant) -> Result<u16, String> {
    let mut ready = File::from(ready);
    let mut text = Vec::new();
    while !text.ends_with(b"\n") {
        if !wait_readable([ready.as_fd()], Some(deadline)).map_err(|e| e.to_string())? {
            return Err(format!("was not ready after {} s", READY_TIME.as_secs()));
        }
        let mut bytes = [0; 16];
        match ready.read(&mut bytes).map_err(|e| e.to_string())? {
            0 => return Err("ended before it was ready".into()),
            n => text.extend_from_slice(&bytes[..n]),
        }
        if text.len() > 16 {
            return Err("answered with no display number".into());
        }
    }
    let text = String::from_utf8_lossy(&text);
    text.trim().parse().map_err(|_| format!("answered {text:?} instead of a display number"))
}

/// Name of the file in the run directory that lists what an X server has put into `/tmp`.
pub const FOOTPRINT_FILE: &str = "x-display";

/// What an X server puts into `/tmp`, and leaves there when it is killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Footprint {
    number: u16,
    pid: i32,
    /// Inode and change time of its socket: another server may have taken the display number since.
    socket: Option<(u64, i64, i64)>,
}

impl Footprint {
    fn of(number: u16, pid: i32) -> Self {
        Self { number, pid, socket: identity(&socket(number)) }
    }

    fn write(&self, dir: &Path) -> io::Result<()> {
        let (inode, seconds, nanoseconds) = self.socket.unwrap_or_default();
        let text = format!("{} {} {inode} {seconds} {nanoseconds}\n", self.number, self.pid);
        std::fs::write(dir.join(FOOTPRINT_FILE), text)
    }

    /// Reads what a server that ran in `dir` has left behind.
    pub fn read(dir: &Path) -> Option<Self> {
        let text = std::fs::read_to_string(dir.join(FOOTPRINT_FILE)).ok()?;
        let mut words = text.split_whitespace();
        Some(Self {
            number: words.next()?.parse().ok()?,
            pid: words.next()?.parse().ok()?,
            socket: Some((
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
                words.next()?.parse().ok()?,
            )),
        })
    }

    /// Removes socket and lock, if they are still those of the server that was noted. Only after its end.
    pub fn remove(&self) {
        let lock = PathBuf::from(format!("/tmp/.X{}-lock", self.number));
        let holder = std::fs::read_to_string(&lock).ok().and_then(|text| text.trim().parse::<i32>().ok());
        if holder == Some(self.pid) {
            let _ = std::fs::remove_file(&lock);
        }
        let socket = socket(self.number);
        if self.socket.is_some() && self.socket == identity(&socket) {
            let _ = std::fs::remove_file(&socket);
        }
    }
}

fn socket(number: u16) -> PathBuf {
    format!("/tmp/.X11-unix/X{number}").into()
}

fn identity(path: &Path) -> Option<(u64, i64, i64)> {
    let metadata = std::fs::symlink_metadata(path).ok()?;
    Some((metadata.ino(), metadata.ctime(), metadata.ctime_nsec()))
}
