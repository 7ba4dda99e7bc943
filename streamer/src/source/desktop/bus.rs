//! The session's message bus (D-Bus): what programs of a desktop find each other by. Without one of their own, those of two
//! desktops would meet on the user's, where a browser that is started opens its page in the other desktop's.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use crate::process::{self, Child};

/// By which programs find it.
pub const VARIABLE: &str = "DBUS_SESSION_BUS_ADDRESS";
const PROGRAM: &str = "dbus-daemon";
/// From its start until it listens; it takes some hundredths of a second.
const READY_TIME: Duration = Duration::from_secs(3);
/// Longest address that is read, bytes.
const MAX_ADDRESS: usize = 1024;

/// A running bus. What it has started, and it itself, ends with the session, by its mark.
#[derive(Debug)]
pub struct Bus {
    _child: Child,
    address: String,
}

impl Bus {
    /// Starts one that listens in `runtime`, and waits until it does. What it starts has this environment. `None` where there
    /// is no such program: desktops do without.
    ///
    /// # Errors
    /// It cannot be run, or does not listen.
    pub fn start(
        environment: &BTreeMap<String, OsString>,
        home: &Path,
        runtime: &Path,
    ) -> io::Result<Option<Self>> {
        let path = environment.get("PATH").cloned().unwrap_or_default();
        let Some(program) = process::find_program(PROGRAM, &path) else {
            tracing::info!("this desktop has no message bus: {PROGRAM} is not installed");
            return Ok(None);
        };
        let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
        let mut command = Command::new(program);
        command.args(["--session", "--nofork", "--nopidfile", "--nosyslog", "--print-address=1"]);
        command.arg(format!("--address=unix:path={}", runtime.join("bus").display()));
        command.env_clear().envs(environment).current_dir(home);
        command.stdin(Stdio::null()).stdout(write).stderr(Stdio::null());
        let child = process::spawn_confined("message-bus", command, None, |_| {})?;
        let address = first_line(read.into(), Instant::now() + READY_TIME)?;
        Ok(Some(Self { _child: child, address }))
    }

    /// What programs are told.
    pub fn address(&self) -> &str {
        &self.address
    }
}

fn first_line(mut pipe: std::fs::File, until: Instant) -> io::Result<String> {
    let (mut text, mut buffer) = (Vec::new(), [0; 256]);
    while text.len() <= MAX_ADDRESS {
        let left = until.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&pipe, PollFlags::IN)], Some(&timeout)) {
            Ok(0) => return Err(io::Error::new(io::ErrorKind::TimedOut, "it does not listen")),
            Err(rustix::io::Errno::INTR) => continue,
            other => other?,
        };
        let count = pipe.read(&mut buffer)?;
        text.extend_from_slice(&buffer[..count]);
        if let Some(end) = text.iter().position(|byte| *byte == b'\n') {
            text.truncate(end);
            return String::from_utf8(text).map_err(io::Error::other);
        }
        if count == 0 {
            return Err(io::Error::other("it ended at once"));
        }
    }
    Err(io::Error::other("it says what is no address"))
}
