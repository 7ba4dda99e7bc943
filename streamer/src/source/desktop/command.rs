//! The command of a desktop, and everything that it starts.
//!
//! It runs with a small clean environment. Its output goes to a file of bounded size in the session's directory.
//! When it ends, the session ends; when the session is dropped, everything that it started ends.

use std::collections::{BTreeMap, VecDeque};
use std::ffi::OsString;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

use common::spec::{self, Home, HomeDirs};
use rustix::pipe::{PipeFlags, pipe_with};

use super::display::Display;
use crate::process::confine::{self, Depth};
use crate::process::{self, Child, MARK, exit_text, tree};
use crate::source::{Ended, Error};

/// Time for programs to exit after SIGTERM.
const GRACE: Duration = Duration::from_secs(2);
/// Size at which the output file is renamed to `.1` and a new one started.
const MAX_OUTPUT: u64 = 1024 * 1024;
/// How much of the output is included in the reason of an end.
const TAIL: usize = 1024;
/// How long to wait for the last output of a command that has ended. Programs that it left behind may
/// hold its output open.
const DRAIN: Duration = Duration::from_millis(200);

/// Makes toolkits cheap on our X servers, which draw in software and whose changes are encoded. With its
/// default renderer a GTK 4 program repaints its whole window for a blinking caret, with a software OpenGL at that.
const CHEAP_DRAWING: &[(&str, &str)] = &[("GSK_RENDERER", "cairo")];

/// The surroundings of a command.
#[derive(Debug)]
pub struct Surroundings<'a> {
    /// Its display.
    pub display: &'a Display,
    /// Address of its sound server, for `PULSE_SERVER`.
    pub sound: Option<&'a str>,
    /// Directory that the session shares with its programs.
    pub dir: &'a Path,
    /// The home of its programs.
    pub home: &'a Home,
    /// Homes that the web-server has made.
    pub homes: &'a HomeDirs,
}

/// A running command. Dropping it ends it and everything that it started.
#[derive(Debug)]
pub struct RunningCommand {
    child: Child,
    mark: String,
    stopping: Arc<AtomicBool>,
}

impl RunningCommand {
    /// Starts `command` with `env` on top of the environment of a session. `on_exit` is called when it ends
    /// by itself.
    ///
    /// # Errors
    /// [`Error::Command`] when there is no such program, or it cannot be run.
    pub fn start(
        command: &spec::Command,
        env: &BTreeMap<String, String>,
        around: &Surroundings<'_>,
        on_exit: impl FnOnce(Ended) + Send + 'static,
    ) -> Result<Self, Error> {
        let failed = Error::Command;
        let mark = around.dir.to_string_lossy().into_owned();
        let home = home(around).map_err(failed)?;
        let environment = environment(env, around, &home, &mark).map_err(|e| failed(e.to_string()))?;
        let argv = command.argv();
        let (name, args) = argv.split_first().ok_or_else(|| failed("names no program".into()))?;
        let path = environment.get("PATH").cloned().unwrap_or_default();
        let program = process::find_program(name, &path).ok_or_else(|| failed(no_such_program(name)))?;

        let (read, write) = pipe_with(PipeFlags::CLOEXEC).map_err(|e| failed(e.to_string()))?;
        let output = Output::start(File::from(read), around.dir.join("session.log"))
            .map_err(|e| failed(format!("opening its log: {e}")))?;
        let mut start = confine::command(&program, Some(&runtime_dir(around).join("bus")), Depth::Network);
        start.args(args).env_clear().current_dir(&home);
        start
            .stdin(Stdio::null())
            .stdout(write.try_clone().map_err(|e| failed(e.to_string()))?)
            .stderr(write);
        start.envs(&environment);

        let stopping = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stopping);
        let child = process::spawn_confined("command", start, Depth::Network, None, move |status| {
            if !stopped.load(Ordering::Acquire) {
                on_exit(ended(status, &output.tail()));
            }
        })
        .map_err(|e| failed(format!("cannot run {name:?}: {e}")))?;
        Ok(Self { child, mark: format!("{MARK}={mark}"), stopping })
    }

    /// Its first process.
    pub fn pid(&self) -> rustix::process::Pid {
        self.child.pid()
    }
}

impl Drop for RunningCommand {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Release);
        let root = self.child.exited().is_none().then(|| self.child.pid());
        tree::end(tree::Target { root, mark: Some(&self.mark) }, GRACE);
    }
}

fn no_such_program(name: &str) -> String {
    if name.contains('/') {
        format!("{name:?} is no program")
    } else {
        format!("no program {name:?} in PATH")
    }
}

fn ended(status: ExitStatus, tail: &str) -> Ended {
    let how = exit_text(status);
    let message = if tail.is_empty() {
        format!("the command ended ({how})")
    } else {
        format!("the command ended ({how}): {tail}")
    };
    if status.success() { Ended::Finished(message) } else { Ended::Command(message) }
}

/// The requested home. If the web-server has not created one, it lasts as long as the session's directory.
///
/// # Errors
/// It is not there, or cannot be made.
pub fn home(around: &Surroundings<'_>) -> Result<PathBuf, String> {
    let made = match around.home {
        Home::Session => around.homes.session.clone(),
        Home::Kept => Some(around.homes.kept.clone().ok_or("no home is kept for this streamer")?),
        Home::Path(path) if path.is_dir() && confine::reaches(path) => Some(path.clone()),
        Home::Path(path) => return Err(format!("its home {} is no directory", path.display())),
    };
    made.map_or_else(|| make_dir(around.dir.join("home")).map_err(|e| format!("making its home: {e}")), Ok)
}

/// Where programs put their sockets.
fn runtime_dir(around: &Surroundings<'_>) -> PathBuf {
    around.dir.join("xdg")
}

fn make_dir(dir: PathBuf) -> io::Result<PathBuf> {
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir)?;
    Ok(dir)
}

fn environment(
    env: &BTreeMap<String, String>,
    around: &Surroundings<'_>,
    home: &Path,
    mark: &str,
) -> io::Result<BTreeMap<String, OsString>> {
    let runtime = make_dir(runtime_dir(around))?;
    let temporary = make_dir(around.dir.join("tmp"))?;
    let user = std::env::var_os("USER").unwrap_or_else(|| "root".into());
    let mut all: BTreeMap<String, OsString> = BTreeMap::from([
        ("PATH".into(), process::search_path()),
        ("HOME".into(), home.into()),
        ("USER".into(), user.clone()),
        ("LOGNAME".into(), user),
        ("LANG".into(), "C.UTF-8".into()),
        ("DISPLAY".into(), around.display.name.clone().into()),
        ("XDG_RUNTIME_DIR".into(), runtime.into()),
        ("XDG_CONFIG_HOME".into(), home.join(".config").into()),
        ("XDG_CACHE_HOME".into(), home.join(".cache").into()),
        ("XDG_DATA_HOME".into(), home.join(".local/share").into()),
        ("XDG_STATE_HOME".into(), home.join(".local/state").into()),
        ("TMPDIR".into(), temporary.into()),
        ("XDG_SESSION_TYPE".into(), "x11".into()),
    ]);
    if let Some(xauthority) = &around.display.xauthority {
        all.insert("XAUTHORITY".into(), xauthority.into());
        all.extend(CHEAP_DRAWING.iter().map(|(name, value)| ((*name).into(), (*value).into())));
    } else if let Some(inherited) = std::env::var_os("XAUTHORITY") {
        all.insert("XAUTHORITY".into(), inherited);
    }
    if let Some(sound) = around.sound {
        all.insert("PULSE_SERVER".into(), sound.into());
    }
    all.extend(env.iter().map(|(name, value)| (name.clone(), value.into())));
    // Last, so that `env` cannot change it: leftovers are found by it.
    all.insert(MARK.into(), mark.into());
    Ok(all)
}

/// Writes the output of a command to a file of bounded size, and remembers its end.
#[derive(Debug)]
struct Output {
    shared: Arc<OutputState>,
}

#[derive(Debug, Default)]
struct OutputState {
    tail: Mutex<Tail>,
    closed: Condvar,
}

#[derive(Debug, Default)]
struct Tail {
    bytes: VecDeque<u8>,
    closed: bool,
}

impl Output {
    /// The thread ends when nobody holds the other end of the pipe any more.
    fn start(pipe: File, path: PathBuf) -> io::Result<Self> {
        let file = open_output(&path)?;
        let shared = Arc::new(OutputState::default());
        let state = Arc::clone(&shared);
        thread::Builder::new().name("command log".into()).spawn(move || {
            copy(pipe, file, &path, &state);
            let mut tail = state.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.closed = true;
            state.closed.notify_all();
        })?;
        Ok(Self { shared })
    }

    /// The last lines, once the output has ended or it takes too long.
    fn tail(&self) -> String {
        let tail = self.shared.tail.lock().unwrap_or_else(PoisonError::into_inner);
        let (mut tail, _) = self
            .shared
            .closed
            .wait_timeout_while(tail, DRAIN, |tail| !tail.closed)
            .unwrap_or_else(PoisonError::into_inner);
        String::from_utf8_lossy(tail.bytes.make_contiguous()).trim().to_owned()
    }
}

fn open_output(path: &Path) -> io::Result<File> {
    File::options().create(true).append(true).mode(0o600).open(path)
}

fn copy(mut pipe: File, mut file: File, path: &Path, state: &OutputState) {
    let mut buffer = [0; 8192];
    let mut written = 0;
    loop {
        let bytes = match pipe.read(&mut buffer) {
            Ok(0) => return,
            Ok(n) => &buffer[..n],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => return,
        };
        {
            let mut tail = state.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.bytes.extend(bytes);
            let over = tail.bytes.len().saturating_sub(TAIL);
            tail.bytes.drain(..over);
        }
        // A full disk must not stop the command: it goes on unlogged.
        let _ = file.write_all(bytes);
        written += bytes.len() as u64;
        if written >= MAX_OUTPUT {
            written = 0;
            let _ = std::fs::rename(path, path.with_extension("log.1"));
            match open_output(path) {
                Ok(new) => file = new,
                Err(e) => tracing::warn!("the command's log: {e}"),
            }
        }
    }
}
