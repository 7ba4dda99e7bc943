//! The monitor with a real tree of processes: whatever happens to the streamer, nothing is left.
//!
//! This binary plays three parts, chosen by its arguments: the test, `monitor`, and the streamer
//! (`session`) that the monitor starts. So it has its own `main`.

#![allow(clippy::disallowed_methods, reason = "tests measure")]
#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode};
use std::time::{Duration, Instant};

use common::exit::{EXIT_FILE, ExitReason, StreamerExit};
use rustix::process::{Pid, Signal, kill_process};
use streamer::media::Size;
use streamer::source::desktop::command::{RunningCommand, Surroundings};
use streamer::source::desktop::xserver::{Abilities, XServer};
use streamer::{cleanup, monitor, process};

/// Longer than anything here may take, on a busy machine too.
const PATIENCE: Duration = Duration::from_secs(60);
/// Of the X server, which shows nothing.
const ABILITIES: Abilities = Abilities { largest: Size { width: 640, height: 480 }, opengl: false };
/// Tells the streamer how to behave.
const BEHAVIOUR: &str = "ORIEL_TEST_BEHAVIOUR";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().collect();
    let run_dir = || PathBuf::from(&args[3]);
    // What a test runner asks first.
    if args.iter().any(|arg| arg == "--list") {
        if !args.iter().any(|arg| arg == "--ignored") {
            for (name, _) in &TESTS {
                println!("{name}: test");
            }
        }
        return ExitCode::SUCCESS;
    }
    match args.get(1).map(String::as_str) {
        Some("monitor") => monitor::run(&run_dir(), &std::env::current_exe().unwrap()),
        Some("session") => session(&run_dir()),
        _ => test(),
    }
}

/// The streamer: an X server, and a command that leaves all kinds of processes behind.
fn session(run_dir: &Path) -> ExitCode {
    process::become_subreaper().unwrap();
    let source = run_dir.join("source");
    fs::create_dir(&source).unwrap();
    let server = XServer::start(&source, ABILITIES, |_| {}).unwrap();
    let line = format!(
        "cd {}; sleep 1000 & echo $! > child.pid; \
         (setsid sh -c 'echo $$ > daemon.pid; exec sleep 1000' &); \
         (setsid sh -c 'setsid sh -c \"trap : TERM; echo \\$\\$ > stubborn.pid; while :; do sleep 1; done\" &'); \
         (env -i setsid sh -c 'echo $$ > bare.pid; exec sleep 1000' &); \
         wait",
        run_dir.display()
    );
    let command = common::spec::Command::Shell(line);
    let around = Surroundings {
        display: server.display(),
        sound: None,
        dir: &source,
        home: &common::spec::Home::Session,
        homes: &common::spec::HomeDirs::default(),
    };
    let command = RunningCommand::start(&command, &BTreeMap::new(), &around, |_| {}).unwrap();
    for name in ["child", "daemon", "stubborn", "bare"] {
        until(name, || read_pid(run_dir, name));
    }
    fs::write(run_dir.join("ipc.sock"), "").unwrap();
    fs::write(run_dir.join("x.pid"), server.pid().as_raw_nonzero().to_string()).unwrap();
    println!("display {}", server.display().name);
    fs::write(run_dir.join("session.pid"), std::process::id().to_string()).unwrap();
    if std::env::var(BEHAVIOUR).unwrap() == "orderly" {
        drop(command);
        for name in ["child", "daemon", "stubborn"] {
            println!("{name} alive: {}", is_there(read_pid(run_dir, name).unwrap()));
        }
        drop(server);
        let reason = ExitReason::SourceEnded { message: "enough".into() };
        monitor::write_reason(run_dir, &reason).unwrap();
        return ExitCode::from(7);
    }
    loop {
        std::thread::park();
    }
}

const TESTS: [(&str, fn()); 5] = [
    ("a_killed_streamer_leaves_nothing", a_killed_streamer_leaves_nothing),
    ("an_orderly_end_is_told_with_its_reason", an_orderly_end_is_told_with_its_reason),
    ("the_monitor_passes_the_wish_to_stop_on", the_monitor_passes_the_wish_to_stop_on),
    ("a_killed_monitor_takes_the_streamer_with_it", a_killed_monitor_takes_the_streamer_with_it),
    (
        "what_a_monitor_that_is_gone_could_not_do_is_done_by_clean",
        what_a_monitor_that_is_gone_could_not_do_is_done_by_clean,
    ),
];

fn test() -> ExitCode {
    // Should an assertion fail, what it left is still found.
    rustix::process::set_child_subreaper(Some(rustix::process::getpid())).unwrap();
    let filter = std::env::args().skip(1).find(|arg| !arg.starts_with('-')).unwrap_or_default();
    let chosen: Vec<_> = TESTS.iter().filter(|(name, _)| name.contains(&filter)).collect();
    if chosen.is_empty() {
        println!("there is no test named {filter:?}");
        return ExitCode::FAILURE;
    }
    let mut failed = 0;
    for (name, test) in chosen {
        let result = std::panic::catch_unwind(test);
        println!("test {name} ... {}", if result.is_ok() { "ok" } else { "FAILED" });
        failed += u8::from(result.is_err());
        process::tree::kill_all_descendants();
    }
    ExitCode::from(failed)
}

/// A monitor with its streamer, which is up.
struct Run {
    dir: tempfile::TempDir,
    monitor: Child,
    display: String,
    pids: BTreeMap<&'static str, i32>,
}

impl Run {
    fn start(behaviour: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let monitor = Command::new(std::env::current_exe().unwrap())
            .args(["monitor", "--run-dir"])
            .arg(dir.path())
            .env(BEHAVIOUR, behaviour)
            .spawn()
            .unwrap();
        let mut run = Self { dir, monitor, display: String::new(), pids: BTreeMap::new() };
        if behaviour == "orderly" {
            return run;
        }
        run.display = until("the streamer", || {
            read_pid(run.dir.path(), "session")?;
            Some(run.log().lines().find_map(|line| line.strip_prefix("display :"))?.to_owned())
        });
        let names = ["session", "x", "child", "daemon", "stubborn", "bare"];
        run.pids = names.map(|name| (name, read_pid(run.dir.path(), name).unwrap())).into();
        assert!(run.pids.values().all(|pid| is_there(*pid)), "{:?}", run.pids);
        assert!(run.socket().exists());
        run
    }

    fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("streamer.log")).unwrap_or_default()
    }

    fn socket(&self) -> PathBuf {
        format!("/tmp/.X11-unix/X{}", self.display).into()
    }

    fn signal(&self, name: &str, signal: Signal) {
        kill_process(Pid::from_raw(self.pids[name]).unwrap(), signal).unwrap();
    }

    fn signal_monitor(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.monitor), signal).unwrap();
    }

    fn files(&self) -> Vec<String> {
        let names = fs::read_dir(&self.dir).unwrap().map(|entry| entry.unwrap().file_name());
        let mut files: Vec<_> = names.map(|name| name.into_string().unwrap()).collect();
        files.sort();
        files
    }

    /// Waits for the end of the streamer, and of the X server with it.
    fn streamer_ends(&self) {
        until("the streamer's end", || {
            (!is_there(self.pids["session"]) && !is_there(self.pids["x"])).then_some(())
        });
    }

    /// Waits for the monitor's end and checks that nothing else is left.
    fn finish(&mut self) -> StreamerExit {
        let status = until("the monitor's end", || self.monitor.try_wait().unwrap());
        assert!(status.success());
        let left: Vec<_> = self.pids.iter().filter(|(_, pid)| is_there(**pid)).collect();
        assert!(left.is_empty(), "left: {left:?}");
        assert!(self.display.is_empty() || !self.socket().exists());
        assert_eq!(self.files(), [EXIT_FILE, "streamer.log"]);
        serde_json::from_slice(&fs::read(self.dir.path().join(EXIT_FILE)).unwrap()).unwrap()
    }
}

fn a_killed_streamer_leaves_nothing() {
    let mut run = Run::start("wait");
    run.signal("session", Signal::KILL);
    let expected = StreamerExit { code: None, signal: Some(9), reason: ExitReason::Unknown };
    assert_eq!(run.finish(), expected);
}

fn an_orderly_end_is_told_with_its_reason() {
    let mut run = Run::start("orderly");
    let reason = ExitReason::SourceEnded { message: "enough".into() };
    assert_eq!(run.finish(), StreamerExit { code: Some(7), signal: None, reason });
    // The streamer itself has ended all that can be told to be the session's.
    for name in ["child", "daemon", "stubborn"] {
        assert!(run.log().contains(&format!("{name} alive: false")), "{}", run.log());
    }
}

fn the_monitor_passes_the_wish_to_stop_on() {
    let mut run = Run::start("wait");
    run.signal_monitor(Signal::HUP);
    run.signal_monitor(Signal::TERM);
    assert_eq!(run.finish().signal, Some(15), "a hangup does nothing, SIGTERM ends the streamer");
}

fn a_killed_monitor_takes_the_streamer_with_it() {
    let mut run = Run::start("wait");
    run.signal_monitor(Signal::KILL);
    run.monitor.wait().unwrap();
    run.streamer_ends();
    cleanup::run(run.dir.path());
}

fn what_a_monitor_that_is_gone_could_not_do_is_done_by_clean() {
    let mut run = Run::start("wait");
    // Another session, with the same programs.
    let mut other = Run::start("wait");
    run.signal_monitor(Signal::KILL);
    run.monitor.wait().unwrap();
    run.streamer_ends();
    let left = ["child", "daemon", "stubborn"].map(|name| run.pids[name]);
    assert!(run.socket().exists() && left.iter().any(|pid| is_there(*pid)), "there is something to do");
    cleanup::run(run.dir.path());
    let still_there: Vec<_> = left.into_iter().filter(|pid| is_there(*pid)).collect();
    assert!(still_there.is_empty() && !run.socket().exists(), "{still_there:?}");
    assert_eq!(run.files(), [EXIT_FILE, "streamer.log"]);
    let exit: StreamerExit =
        serde_json::from_slice(&fs::read(run.dir.path().join(EXIT_FILE)).unwrap()).unwrap();
    assert_eq!(exit.reason, cleanup::monitor_killed());
    assert!(other.pids.values().all(|pid| is_there(*pid)) && other.socket().exists(), "it is left alone");
    other.signal_monitor(Signal::TERM);
    other.finish();
}

fn read_pid(dir: &Path, name: &str) -> Option<i32> {
    fs::read_to_string(dir.join(format!("{name}.pid"))).ok()?.trim().parse().ok()
}

/// A process that has ended and waits to be reaped counts as gone.
fn is_there(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

fn until<T>(what: &str, mut check: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = check() {
            return found;
        }
        assert!(Instant::now() < deadline, "waiting for {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}
