//! The PulseAudio process.

#![expect(clippy::disallowed_methods, reason = "waits for somebody else, with a deadline")]

use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::Signal;

use super::Stop;
use super::microphone::{SINK, SOURCE};
use crate::process::{self, Child, exit_text, log_tail};
use crate::source::Error;

/// Timeout until programs can connect; usually it takes about 0.1 s.
const READY_TIME: Duration = Duration::from_secs(10);
/// Interval of attempts to connect.
const RETRY: Duration = Duration::from_millis(10);
/// Timeout for the end of the server after it was told to end.
const STOP_TIME: Duration = Duration::from_secs(1);
/// How much of its log goes into an error message.
const TAIL: u64 = 512;
const PROGRAM: &str = "pulseaudio";

/// A running sound server. Dropping it ends it.
pub struct Server {
    child: Child,
    socket: PathBuf,
    log: PathBuf,
}

fn failed(message: String) -> Error {
    Error::Sound(format!("{PROGRAM}: {message}"))
}

impl Server {
    /// Starts one that listens on `socket`, with all its files in `dir`, and with a `microphone` if it is to have one.
    ///
    /// # Errors
    /// It cannot be run.
    pub fn start(dir: &Path, socket: &Path, microphone: bool) -> Result<Self, Error> {
        let program = process::find_program(PROGRAM, &process::search_path())
            .ok_or_else(|| failed("is not installed (Debian: apt-get install pulseaudio)".into()))?;
        let home = dir.join("pulse");
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&home)
            .map_err(|e| failed(format!("making its directory: {e}")))?;
        let log = dir.join("pulse.log");
        // Truncated at each start, so that a server that keeps failing fills no disk.
        let output = File::options().create(true).write(true).truncate(true).mode(0o600).open(&log);
        let output = output.map_err(|e| failed(format!("opening its log: {e}")))?;
        let copy = output.try_clone().map_err(|e| failed(e.to_string()))?;

        let mut command = Command::new(program);
        command.env_clear().env("PATH", process::search_path()).env("LANG", "C.UTF-8");
        command.env("HOME", &home).env("XDG_RUNTIME_DIR", &home).current_dir("/");
        command.args(["-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no"]);
        // Sound is little data; without shared memory nothing is left in /dev/shm when the server is killed.
        command.args(["--disable-shm=yes", "--realtime=no", "--high-priority=no"]);
        command.args(["--log-target=stderr", "--log-level=warn"]);
        // Only we can enter the directory, so whoever reaches the socket may use it.
        command
            .arg("-L")
            .arg(format!("module-native-protocol-unix socket={} auth-anonymous=1", socket.display()));
        // Without rewinding it works in blocks of 50 ms when nothing asks for less, else of 2 s: that
        // long the first listener would wait.
        command
            .args(["-L", "module-null-sink sink_name=desk format=s16le rate=48000 channels=2 norewinds=1"]);
        if microphone {
            command.args(microphone_args(&home)?);
        }
        // The server sleeps while nothing plays and nothing is captured.
        command.args(["-L", "module-suspend-on-idle timeout=1"]);
        command.stdin(Stdio::null()).stdout(copy).stderr(output);
        let child = process::spawn("sound-server", command, None, |_| {});
        let child = child.map_err(|e| failed(e.to_string()))?;
        Ok(Self { child, socket: socket.to_owned(), log })
    }

    /// Waits until programs can connect. False when stopped before.
    ///
    /// # Errors
    /// It does not come up; the error contains the end of its log.
    pub fn wait_ready(&self, stop: &Stop) -> Result<bool, Error> {
        let deadline = Instant::now() + READY_TIME;
        loop {
            if UnixStream::connect(&self.socket).is_ok() {
                return Ok(true);
            }
            if stop.is_stopped() {
                return Ok(false);
            }
            if let Some(died) = self.died() {
                return Err(died);
            }
            if Instant::now() > deadline {
                return Err(self.error(format!("was not ready after {} s", READY_TIME.as_secs())));
            }
            stop.sleep(RETRY);
        }
    }

    /// How it ended, if it has.
    pub fn died(&self) -> Option<Error> {
        self.child.exited().map(|status| self.error(format!("died ({})", exit_text(status))))
    }

    fn error(&self, what: String) -> Error {
        let tail = log_tail(&self.log, TAIL);
        failed(if tail.is_empty() { what } else { format!("{what}: {tail}") })
    }
}

/// Arguments for a recording device whose sound is what is played to a sink of its own. It is the default one: programs
/// would otherwise record what they play. That it is a device and no monitor makes programs offer it.
fn microphone_args(home: &Path) -> Result<Vec<String>, Error> {
    let defaults = home.join("defaults.pa");
    let lines = format!("set-default-sink desk\nset-default-source {SOURCE}\n");
    std::fs::write(&defaults, lines).map_err(|e| failed(format!("writing {}: {e}", defaults.display())))?;
    let sink = format!(
        "module-null-sink sink_name={SINK} format=s16le rate=48000 channels=2 norewinds=1 \
         sink_properties=device.description=Peers"
    );
    let source = format!(
        "module-remap-source source_name={SOURCE} master={SINK}.monitor remix=no \
         source_properties=device.description=Microphone"
    );
    let defaults = format!("--file={}", defaults.display());
    Ok(vec!["-L".to_owned(), sink, "-L".to_owned(), source, defaults])
}

impl Drop for Server {
    fn drop(&mut self) {
        self.child.signal(Signal::TERM);
        if self.child.wait_until(Instant::now() + STOP_TIME).is_none() {
            self.child.kill();
        }
        // A killed server leaves this file, and the next one would take it for that of a running one.
        let _ = std::fs::remove_file(&self.socket);
    }
}
