//! The X server and the command in it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::mpsc::sync_channel;

use common::spec::Command;
use streamer::source::desktop::command::{RunningCommand, Surroundings};
use streamer::source::desktop::display::Display;
use streamer::source::desktop::xserver::{Abilities, XServer};
use x11rb::connection::{Connection as _, RequestConnection as _};

use crate::{ABILITIES, Desk, PATIENCE, is_alive, until};

fn shell(line: &str) -> Command {
    Command::Shell(line.into())
}

fn start(
    dir: &Path,
    command: &Command,
    on_exit: impl FnOnce(String) + Send + 'static,
) -> Result<RunningCommand, streamer::source::Error> {
    let display = Display { name: ":7".into(), xauthority: Some(dir.join("Xauthority")) };
    let around = Surroundings {
        display: &display,
        sound: Some("unix:/somewhere"),
        dir,
        home: &common::spec::Home::Session,
        homes: &common::spec::HomeDirs::default(),
    };
    let env = BTreeMap::from([("EXTRA".to_owned(), "from the spec".to_owned())]);
    RunningCommand::start(command, &env, &around, |ended| on_exit(ended.message().to_owned()))
}

fn number(server: &XServer) -> String {
    server.display().name.trim_start_matches(':').to_owned()
}

#[test]
fn an_x_server_lets_in_who_has_the_cookie_and_leaves_nothing() {
    let desk = Desk::start();
    let display = desk.server.display().clone();
    let (x, screen) = display.connect().unwrap();
    let root = &x.setup().roots[screen];
    assert_eq!((root.width_in_pixels, root.height_in_pixels, root.root_depth), (1600, 1000, 24));
    for extension in ["DAMAGE", "XFIXES", "RANDR", "XTEST", "MIT-SHM", "Composite", "XKEYBOARD", "GLX"] {
        assert!(x.extension_information(Box::leak(extension.into())).unwrap().is_some(), "{extension}");
    }
    drop(x);
    let stranger = tempfile::NamedTempFile::new().unwrap();
    let stranger = Display { xauthority: Some(stranger.path().into()), ..display };
    assert!(stranger.connect().is_err(), "without the cookie nobody is let in");

    let socket = format!("/tmp/.X11-unix/X{}", number(&desk.server));
    let pid = desk.server.pid();
    assert!(Path::new(&socket).exists());
    drop(desk);
    assert!(!is_alive(pid.as_raw_nonzero().get()));
    assert!(!Path::new(&socket).exists());
}

#[test]
fn an_x_server_without_opengl_takes_far_less_memory() {
    let memory = |opengl| {
        let dir = tempfile::tempdir().unwrap();
        let server = XServer::start(dir.path(), Abilities { opengl, ..ABILITIES }, |_| {}).unwrap();
        let (x, _) = server.display().connect().unwrap();
        assert_eq!(x.extension_information("GLX").unwrap().is_some(), opengl);
        let pid = server.pid().as_raw_nonzero();
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
        let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
        resident.trim().trim_end_matches(" kB").parse::<u64>().unwrap()
    };
    let with = memory(true);
    let without = memory(false);
    assert!(without * 2 < with, "{without} kB without, {with} kB with it");
}

#[test]
fn x_servers_that_start_at_once_get_displays_of_their_own() {
    let starts: Vec<_> = (0..6).map(|_| std::thread::spawn(Desk::start)).collect();
    let desks: Vec<_> = starts.into_iter().map(|start| start.join().unwrap()).collect();
    let mut numbers: Vec<_> = desks.iter().map(|desk| number(&desk.server)).collect();
    for desk in &desks {
        desk.server.display().connect().unwrap();
    }
    numbers.sort();
    numbers.dedup();
    assert_eq!(numbers.len(), 6);
}

#[test]
fn the_death_of_the_x_server_is_told_at_once_and_its_socket_removed() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = sync_channel(1);
    let server = XServer::start(dir.path(), ABILITIES, move |why| sender.send(why).unwrap()).unwrap();
    rustix::process::kill_process(server.pid(), rustix::process::Signal::KILL).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "the X server died (signal 9)");
    let socket = format!("/tmp/.X11-unix/X{}", number(&server));
    drop(server);
    assert!(!Path::new(&socket).exists());
}

#[test]
fn an_x_server_that_does_not_come_up_says_why() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("Xauthority")).unwrap();
    let error = XServer::start(dir.path(), ABILITIES, |_| {}).unwrap_err().to_string();
    assert!(error.starts_with("Xvfb: ") && error.contains("cookie"), "{error}");
}

#[test]
fn a_command_has_a_small_clean_environment_and_no_descriptors() {
    let dir = tempfile::tempdir().unwrap();
    let _leak = std::fs::File::open("/dev/null").unwrap();
    let (sender, receiver) = sync_channel(1);
    let line = format!(
        "cd {0} && env | sort > env && ls /proc/self/fd > fds; echo bye >&2; exit 3",
        dir.path().display()
    );
    let _session = start(dir.path(), &shell(&line), move |why| sender.send(why).unwrap()).unwrap();
    assert_eq!(receiver.recv_timeout(PATIENCE).unwrap(), "the command ended (exit code 3): bye");
    let env = std::fs::read_to_string(dir.path().join("env")).unwrap();
    let names: Vec<&str> = env.lines().filter_map(|line| Some(line.split_once('=')?.0)).collect();
    let expected = [
        "DISPLAY",
        "EXTRA",
        "GSK_RENDERER",
        "HOME",
        "LANG",
        "LOGNAME",
        "OLDPWD",
        "ORIEL_SESSION",
        "PATH",
        "PULSE_SERVER",
        "PWD",
        "TMPDIR",
        "USER",
        "XAUTHORITY",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
        "XDG_SESSION_TYPE",
        "XDG_STATE_HOME",
    ];
    assert_eq!(names, expected);
    assert!(env.contains("EXTRA=from the spec\n") && env.contains("DISPLAY=:7\n"), "{env}");
    // 3 is the directory that `ls` reads.
    assert_eq!(std::fs::read_to_string(dir.path().join("fds")).unwrap(), "0\n1\n2\n3\n");
}

#[test]
fn toolkits_draw_cheaply_unless_the_spec_says_otherwise() {
    let dir = tempfile::tempdir().unwrap();
    let renderer = |display: &Display, env: &[(&str, &str)]| {
        let around = Surroundings {
            display,
            sound: None,
            dir: dir.path(),
            home: &common::spec::Home::Session,
            homes: &common::spec::HomeDirs::default(),
        };
        let env = env.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let (sender, ended) = sync_channel(1);
        let line = shell("echo \"renderer: ${GSK_RENDERER-none}\"; exit 1");
        let _session =
            RunningCommand::start(&line, &env, &around, move |how| sender.send(how).unwrap()).unwrap();
        let how = ended.recv_timeout(PATIENCE).unwrap();
        how.message().rsplit_once("renderer: ").unwrap().1.to_owned()
    };
    let ours = Display { name: ":7".into(), xauthority: Some(dir.path().join("Xauthority")) };
    assert_eq!(renderer(&ours, &[]), "cairo");
    assert_eq!(renderer(&ours, &[("GSK_RENDERER", "gl")]), "gl");
    let attached = Display { xauthority: None, ..ours };
    assert_eq!(renderer(&attached, &[]), "none", "it may have a graphics card");
}

#[test]
fn a_program_that_is_not_there_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = Command::Argv(vec!["no-such-program".into()]);
    let error = start(dir.path(), &missing, |_| {}).unwrap_err().to_string();
    assert_eq!(error, "source.command: no program \"no-such-program\" in PATH");
    let missing = Command::Argv(vec!["/etc/passwd".into()]);
    let error = start(dir.path(), &missing, |_| {}).unwrap_err().to_string();
    assert_eq!(error, "source.command: \"/etc/passwd\" is no program");
}

#[test]
fn everything_that_a_command_started_ends_with_the_session() {
    let dir = tempfile::tempdir().unwrap();
    // A child, one that ignores SIGTERM, and a daemon in a session of its own whose parents are gone.
    let line = format!(
        "cd {}; sleep 1000 & echo $! > child; \
         (trap '' TERM; echo $$ > /dev/null; exec sh -c 'echo $$ > stubborn; while :; do sleep 1; done') & \
         (setsid sh -c 'echo $$ > daemon; exec sleep 1000' &) ; wait",
        dir.path().display()
    );
    let session = start(dir.path(), &shell(&line), |_| {}).unwrap();
    let pids: Vec<i32> = ["child", "stubborn", "daemon"]
        .iter()
        .map(|name| until(name, || std::fs::read_to_string(dir.path().join(name)).ok()?.trim().parse().ok()))
        .collect();
    let foreign = std::process::Command::new("sleep").arg("1000").spawn().unwrap();
    assert!(pids.iter().all(|pid| is_alive(*pid)));
    drop(session);
    // The daemon's new parent is not this process, which is no subreaper: the monitor's test sees that it ends.
    assert!(!is_alive(pids[0]) && !is_alive(pids[1]));
    assert!(is_alive(foreign.id() as i32), "another process is left alone");
    for pid in [foreign.id() as i32, pids[2]] {
        let _ = rustix::process::kill_process(
            rustix::process::Pid::from_raw(pid).unwrap(),
            rustix::process::Signal::KILL,
        );
    }
    let mut foreign = foreign;
    foreign.wait().unwrap();
}

#[test]
fn the_output_of_a_command_is_bounded() {
    let dir = tempfile::tempdir().unwrap();
    let (sender, receiver) = sync_channel(1);
    let line = "head -c 5000000 /dev/zero | tr '\\0' 'x'; echo; echo end";
    let _session = start(dir.path(), &shell(line), move |why| sender.send(why).unwrap()).unwrap();
    let why = receiver.recv_timeout(PATIENCE).unwrap();
    assert!(why.starts_with("the command ended (exit code 0): x") && why.ends_with("\nend"), "{why}");
    assert!(why.len() < 2000);
    let files = std::fs::read_dir(dir.path()).unwrap().flatten();
    let size: u64 = files.map(|file| file.metadata().unwrap().len()).sum();
    assert!(size < 3 << 20, "{size} bytes");
}
