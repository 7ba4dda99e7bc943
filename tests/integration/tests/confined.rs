//! What a session's programs cannot reach, as whom sessions run, and what one of them may take.

#![allow(clippy::unwrap_used, reason = "what a test cannot do fails it")]

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpStream;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::Duration;

use common::api::Streamer;
use common::signal::StreamerState;
use harness::camera::Clip;
use harness::{Process, Server, eventually, eventually_within, process as processes};
use serde_json::json;

const SECRET: &str = "an-admin-secret-of-a-test";
/// For a script, which may wait for what it cannot reach.
const SCRIPT: Duration = Duration::from_secs(90);

/// A desktop whose command is this script, and what it has printed into `seen` when it is done.
fn run_script(server: &Server, script: &str) -> String {
    run_script_of(server, "demo", script)
}

/// The same, of another name.
fn run_script_of(server: &Server, id: &str, script: &str) -> String {
    let script = format!(
        "( {script} ) > \"$ORIEL_SESSION/seen.new\" 2>&1; mv \"$ORIEL_SESSION/seen.new\" \"$ORIEL_SESSION/seen\"; exec sleep 1000"
    );
    let source = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sh", "-c", script] });
    server.create(id, source);
    let seen = eventually_within(SCRIPT, "the script is done", || {
        server.run_dirs().iter().find_map(|dir| fs::read(dir.join("shared/seen")).ok())
    });
    String::from_utf8_lossy(&seen).into_owned()
}

fn process(server: &Server, part: &str) -> Process {
    eventually(part, || server.session_processes().into_iter().find(|p| p.command_line.contains(part)))
}

#[test]
fn a_program_reaches_nothing_of_the_server_by_any_way() {
    let mut server = Server::start_with(&[("ORIEL_ADMIN_SECRET", SECRET)]);
    server.use_token(SECRET);
    let state = server.state_dir().display().to_string();
    let web_server = server.process().pid;
    let seen = run_script(
        &server,
        &format!(
            "echo state: $(ls -A {state}) run: $(ls -A {state}/run/*)
             cat {state}/token.key {state}/run/*/token
             touch {state}/mine
             umount {state} && cat {state}/token.key
             for pid in 1 {web_server} $(pgrep -f {state}/run); do
               cat /proc/$pid/root{state}/token.key && echo reached through $pid
             done
             tr '\\0' '\\n' < /proc/{web_server}/environ | grep ADMIN
             unshare -Urm umount {state} && echo unmounted
             touch \"$HOME/mine\" && rm \"$HOME/mine\" && echo home is there
             xwininfo -root | grep Width
             pactl info | grep 'Server String'"
        ),
    );
    println!("{seen}");
    let key = fs::read(server.state_dir().join("token.key")).unwrap();
    let token = fs::read_to_string(server.run_dirs()[0].join("token")).unwrap();
    assert!(seen.contains("state: homes run run: shared\n"), "only what is shared is there");
    assert!(!seen.contains(token.trim()) && !seen.contains(String::from_utf8_lossy(&key).trim()));
    for never in ["reached through", "unmounted", SECRET] {
        assert!(!seen.contains(never), "{never}");
    }
    assert!(!server.state_dir().join("mine").exists());
    for works in ["home is there", "Width: 320", "Server String: "] {
        assert!(seen.contains(works), "{works}");
    }
}

#[test]
fn isolation_can_be_turned_off() {
    let server = Server::start_configured("sessions: {isolation: off}");
    let state = server.state_dir().display();
    let seen = run_script(&server, &format!("ls {state}"));
    assert!(seen.contains("token.key"), "{seen}");
}

/// Programs where another user may run them.
struct Installed(tempfile::TempDir);

impl Installed {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for name in ["streamer", "streamer-helper"] {
            fs::copy(harness::server::binary(name), folder.path().join(name)).unwrap();
        }
        Self(folder)
    }

    fn streamer(&self) -> PathBuf {
        self.0.path().join("streamer")
    }
}

#[test]
fn sessions_run_as_their_own_user_and_are_adopted_killed_and_cleared_away() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start anything as another user");
        return;
    }
    let installed = Installed::new();
    let streamer_bin = installed.streamer();
    let config = format!("streamer_bin: {}\nsessions: {{user: nobody}}", streamer_bin.display());
    let mut server = Server::start_configured(&config);
    let state = server.state_dir().display();
    let seen = run_script(
        &server,
        &format!(
            "id -un; xwininfo -root | grep Width; echo state: $(ls -A {state}) run: $(ls -A {state}/run/*)
             unshare -Urm umount {state} && echo unmounted
             for pid in $(pgrep -f {state}/run); do
               cat /proc/$pid/root{state}/run/*/token && echo reached through $pid
             done
             touch \"$HOME/mine\" && echo home is there"
        ),
    );
    println!("{seen}");
    for works in ["nobody\n", "Width: 320", "state: homes run run: shared\n", "home is there"] {
        assert!(seen.contains(works), "{works}");
    }
    assert!(!seen.contains("unmounted") && !seen.contains("reached through"));
    let nobody = owner(&process(&server, "streamer session"));
    assert_ne!(nobody, 0);
    for part in ["streamer monitor", "Xvfb", "pulseaudio", "sleep"] {
        let process = process(&server, part);
        // The monitor's first name is its path.
        assert_eq!(owner(&process), nobody, "{}", process.command_line);
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().mode() & 0o777;
    assert_eq!((mode(server.state_dir()), mode(&server.state_dir().join("token.key"))), (0o711, 0o600));

    let streamer = process(&server, "streamer session");
    server.kill();
    server.start_again();
    let back: Streamer = eventually("adopted", || server.streamer("demo"));
    assert_eq!(back.state, StreamerState::Running);
    assert!(streamer.is_alive());
    let kill = |process: &Process| {
        let pid = rustix::process::Pid::from_raw(process.pid).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    };
    kill(&process(&server, "streamer monitor"));
    kill(&streamer);
    eventually("it runs again", || {
        let now = server.streamer("demo")?;
        (now.state == StreamerState::Running && now.restarts.count == 1).then_some(())
    });
    server.delete("/api/streamers/demo").expect(204);
    assert_eq!(server.session_processes().len(), 0);
    assert_eq!(server.run_dirs().len(), 0);
}

/// A session looks at another one: at its processes, what `/proc` says of them, and whether it can end them.
fn look_into_another(server: &Server) {
    let source = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "4321"],
        "env": { "TREASURE": "of-the-other" } });
    server.create("other", source);
    let other = eventually("the program of the other session", || {
        let mut all = server.session_processes().into_iter();
        all.find(|process| {
            process.command_line.ends_with("sleep 4321") && !process.command_line.contains(" init ")
        })
    });
    let seen = run_script_of(
        server,
        "demo",
        &format!(
            "echo processes: $(ls /proc | grep -c '^[0-9]')
             for all in /proc/[0-9]*/environ; do tr '\\0' '\\n' < $all | grep TREASURE; done
             for all in /proc/[0-9]*/root; do ls $all/proc/{pid}; done
             kill -9 {pid} && echo killed
             sleep 0.1 & wait $! && echo children are waited for
             (sleep 0.1 & exec sleep 0.3)
             tries=0
             while ps -e -o comm= | grep -q defunct && test $tries -lt 100; do sleep 0.1; tries=$((tries + 1)); done
             echo $(ps -e -o comm=)
             test -S \"${{DBUS_SESSION_BUS_ADDRESS#unix:path=}}\" || test -n \"$DBUS_SESSION_BUS_ADDRESS\" && echo has a bus",
            pid = other.pid
        ),
    );
    println!("{seen}");
    assert!(!seen.contains("of-the-other") && !seen.contains("killed"));
    assert!(other.is_alive());
    let count = seen.split_once("processes: ").and_then(|(_, rest)| rest.lines().next()?.parse::<u32>().ok());
    assert!(count.is_some_and(|count| (2..12).contains(&count)), "it sees its own processes alone");
    for works in ["children are waited for", "has a bus"] {
        assert!(seen.contains(works), "{works}");
    }
    assert!(!seen.contains("defunct"), "what has ended is taken in");
    server.delete("/api/streamers/demo").expect(204);
    server.delete("/api/streamers/other").expect(204);
    assert_eq!(server.session_processes().len(), 0);
}

#[test]
fn a_program_sees_nothing_of_another_session() {
    look_into_another(&Server::start());
}

#[test]
fn a_program_of_an_ordinary_user_sees_nothing_of_another_session() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested apart from the other: it was an ordinary user already");
        return;
    }
    let installed = Installed::new();
    let streamer_bin = installed.streamer();
    let config = format!("streamer_bin: {}\nsessions: {{user: nobody}}", streamer_bin.display());
    look_into_another(&Server::start_configured(&config));
}

#[test]
fn a_program_of_one_user_sees_nothing_of_the_session_of_another() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start anything as another user");
        return;
    }
    let (_installed, server) = start_with_users("20100-20109", "required");
    look_into_another(&server);
}

#[test]
fn programs_with_an_isolated_network_reach_each_other_and_nobody_else() {
    let server = Server::start_configured("sessions: {network: isolated}");
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let seen = run_script(
        &server,
        &format!(
            "curl -s -m 5 http://127.0.0.1:{web}/healthz && echo reached the server
             curl -s -m 2 telnet://127.0.0.1:{port} </dev/null && echo reached the host
             python3 -m http.server 8000 >/dev/null 2>&1 &
             curl -s --retry 20 --retry-delay 1 --retry-connrefused http://127.0.0.1:8000/ >/dev/null && echo reached each other
             xwininfo -root | grep Width",
            web = server.address().port()
        ),
    );
    assert!(!seen.contains("reached the"), "{seen}");
    for works in ["reached each other", "Width: 320"] {
        assert!(seen.contains(works), "{works}: {seen}");
    }
}

fn owner(process: &Process) -> u32 {
    fs::metadata(format!("/proc/{}", process.pid)).unwrap().uid()
}

/// Whether this machine lets us make control groups with this controller.
fn can_limit(controller: &str) -> bool {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let group = common::cgroup::memberships(&text).find(|group| group.has(controller));
    let directory = group.map(|group| group.directory(&Path::new(common::cgroup::ROOT).join(controller)));
    let can = directory
        .is_some_and(|directory| rustix::fs::access(&directory, rustix::fs::Access::WRITE_OK).is_ok());
    if !can {
        println!("not tested: this machine does not let us limit {controller}");
    }
    can
}

#[test]
fn a_session_that_takes_too_much_memory_ends_and_says_so() {
    if !can_limit("memory") {
        return;
    }
    let server = Server::start_configured("sessions: {memory_mb: 256}");
    // Not before whoever waits for its start has been answered.
    let command = "until [ -e \"$HOME/go\" ]; do sleep 0.1; done; exec tail /dev/zero";
    let body = json!({
        "id": "demo",
        "source": { "type": "desktop", "width": 320, "height": 240, "command": command },
        "restart": { "policy": "never" }
    });
    server.post("/api/streamers?wait=running", &body).expect(201);
    let go = server.state_dir().join("homes/session/demo/go");
    eventually("its home is there", || fs::write(&go, "").ok());
    let ended = eventually("it has ended", || {
        server.streamer("demo").filter(|now| now.state == StreamerState::Failed)
    });
    let reason = ended.reason.unwrap();
    assert!(reason.contains("signal 9") || reason.contains("memory"), "{reason}");
    server.delete("/api/streamers/demo").expect(204);
    eventually("its group is gone", || groups("memory").is_empty().then_some(()));
}

#[test]
fn a_session_that_forks_too_much_is_held_back_and_others_are_not() {
    if !can_limit("pids") {
        return;
    }
    let server = Server::start_configured("sessions: {processes: 150}");
    let script = "i=0; while [ $i -lt 300 ]; do sleep 1000 & i=$((i+1)); done; echo forked all";
    let seen = run_script(&server, script);
    assert!(!seen.contains("forked all"), "{seen}");
    let sleeping = server.session_processes().iter().filter(|p| p.command_line.starts_with("sleep")).count();
    assert!((50..150).contains(&sleeping), "{sleeping}");
    assert_eq!(server.streamer("demo").unwrap().state, StreamerState::Running);
    server.create("other", json!({ "type": "test", "width": 160, "height": 90 }));
    server.delete("/api/streamers/demo").expect(204);
    server.delete("/api/streamers/other").expect(204);
    eventually("their groups are gone", || groups("pids").is_empty().then_some(()));
}

/// Control groups of sessions that are left without processes. Other tests, at the same time, have them only for moments.
fn groups(controller: &str) -> Vec<PathBuf> {
    let text = fs::read_to_string("/proc/self/cgroup").unwrap();
    let group = common::cgroup::memberships(&text).find(|group| group.has(controller)).unwrap();
    let directory = group.directory(&Path::new(common::cgroup::ROOT).join(controller));
    let entries = fs::read_dir(directory).unwrap().flatten().map(|entry| entry.path());
    let ours = entries.filter(|path| path.file_name().unwrap().to_string_lossy().starts_with("oriel-"));
    let empty =
        |path: &PathBuf| fs::read_to_string(path.join("cgroup.procs")).is_ok_and(|list| list.is_empty());
    ours.filter(empty).collect()
}

/// A server as root whose sessions are users of this range.
fn start_with_users(range: &str, isolation: &str) -> (Installed, Server) {
    let installed = Installed::new();
    let streamer_bin = installed.streamer();
    let server = Server::start_configured(&format!(
        "streamer_bin: {}\nsessions: {{users: {range}, isolation: {isolation}}}",
        streamer_bin.display()
    ));
    (installed, server)
}

/// Who runs processes of this kind.
fn owners(server: &Server, part: &str) -> BTreeSet<u32> {
    let all = server.session_processes();
    all.iter().filter(|process| process.command_line.contains(part)).map(owner).collect()
}

fn run_dir_owners(server: &Server) -> BTreeSet<u32> {
    server.run_dirs().iter().map(|dir| fs::metadata(dir).unwrap().uid()).collect()
}

#[test]
fn each_session_is_another_user_for_as_long_as_it_is_there() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start anything as another user");
        return;
    }
    let (_installed, mut server) = start_with_users("20100-20101", "auto");
    let desktop = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "4321"] });
    server.create("other", desktop.clone());
    let other = *run_dir_owners(&server).first().unwrap();
    let seen = run_script(
        &server,
        "id -un; id -G; getent passwd $(id -u); xwininfo -root | grep Width
         touch \"$HOME/mine\" && echo home is there
         test -n \"$DBUS_SESSION_BUS_ADDRESS\" && echo has a bus",
    );
    println!("{seen}");
    let demo = *run_dir_owners(&server).iter().find(|uid| **uid != other).expect("it is somebody else");
    let account = format!("oriel-{demo}\n{demo}\noriel-{demo}:x:{demo}:{demo}::");
    for works in [account.as_str(), "Width: 320", "home is there", "has a bus"] {
        assert!(seen.contains(works), "{works}");
    }
    let both = BTreeSet::from([20_100, 20_101]);
    assert_eq!(run_dir_owners(&server), both);
    for part in ["streamer monitor", "streamer session", "Xvfb", "pulseaudio", "dbus-daemon", "sleep"] {
        assert_eq!(owners(&server, part), both, "{part}");
    }
    // Files are written, and read, as the session's user: a link to one of ours opens nothing.
    let home = server.state_dir().join("homes/session/demo");
    let files = "/api/streamers/demo/files";
    server.send("PUT", &format!("{files}/folder/"), "", &[]).expect(201);
    server.send("PUT", &format!("{files}/folder/file"), "application/octet-stream", b"x").expect(201);
    for of_home in ["folder", "folder/file"] {
        assert_eq!(fs::metadata(home.join(of_home)).unwrap().uid(), demo, "{of_home}");
    }
    fs::hard_link(server.state_dir().join("token.key"), home.join("folder/key")).unwrap();
    let problem = server.get(&format!("{files}/folder/key")).expect(403).problem();
    assert_eq!(problem.code, "file_forbidden");
    server.delete(&format!("{files}/folder?recursive=true")).expect(204);
    assert!(server.state_dir().join("token.key").exists());
    let full =
        server.post("/api/streamers", &json!({ "id": "third", "source": desktop.clone() })).expect(429);
    assert_eq!(full.problem().code, "no_user_left");
    assert!(full.problem().detail.contains("20100-20101"), "{:?}", full.problem());

    server.kill();
    server.start_again();
    eventually("both are adopted", || server.streamer("other").and(server.streamer("demo")));
    server.post("/api/streamers", &json!({ "id": "third", "source": desktop.clone() })).expect(429);
    let before = server
        .session_processes()
        .into_iter()
        .find(|process| process.command_line.contains("streamer session") && owner(process) == other);
    let before = before.expect("its streamer");
    server.post("/api/streamers/other/restart", &json!({})).expect(202);
    eventually("it runs again as the same user", || {
        let now = server.streamer("other")?;
        let again = !before.is_alive() && now.state == StreamerState::Running;
        (again && owners(&server, "sleep 4321") == BTreeSet::from([other])).then_some(())
    });
    server.delete("/api/streamers/demo").expect(204);
    server.create("third", desktop);
    assert_eq!(run_dir_owners(&server), both);
}

#[test]
fn file_modes_alone_keep_sessions_of_different_users_apart() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start anything as another user");
        return;
    }
    let (_installed, server) = start_with_users("20100-20109", "off");
    let source = json!({ "type": "desktop", "width": 320, "height": 240, "command": ["sleep", "4321"],
        "env": { "TREASURE": "of-the-other" } });
    server.create("other", source);
    let other = server.run_dirs()[0].display().to_string();
    let pid = eventually("its program", || {
        let mut all = server.session_processes().into_iter();
        all.find(|process| process.command_line.ends_with("sleep 4321")).map(|process| process.pid)
    });
    let state = server.state_dir().display();
    let seen = run_script(
        &server,
        &format!(
            "cat /proc/{pid}/cmdline | grep -q sleep && echo it is in sight
             tr '\\0' '\\n' < /proc/{pid}/environ | grep TREASURE
             ls /proc/{pid}/root/ && echo reached through /proc
             kill -9 {pid} && echo killed
             ls {other} && echo reached its directory
             ls {state}/homes/session/other && echo reached its home
             cat {other}/token && echo reached its token
             ls {state}/homes/session && echo listed homes"
        ),
    );
    println!("{seen}");
    assert!(seen.contains("it is in sight"), "or nothing of this means anything");
    for never in ["of-the-other", "reached", "killed", "listed"] {
        assert!(
            !seen.lines().any(|line| line.starts_with(never) || line.contains("=of-the-other")),
            "{never}"
        );
    }
}

#[test]
fn a_kept_home_keeps_its_user() {
    if !rustix::process::geteuid().is_root() {
        println!("not tested: only root can start anything as another user");
        return;
    }
    let (_installed, mut server) = start_with_users("20100-20101", "auto");
    let alice = |script: &str| json!({ "type": "desktop", "width": 320, "height": 240, "home": "kept", "command": ["sh", "-c", script] });
    let kept = server.state_dir().join("homes/kept/alice");
    server.create("alice", alice("echo mine > \"$HOME/diary\"; chmod 600 \"$HOME/diary\"; exec sleep 1000"));
    eventually("it has written", || fs::metadata(kept.join("diary")).ok().filter(|file| file.len() == 5));
    let uid = fs::metadata(&kept).unwrap().uid();
    server.delete("/api/streamers/alice").expect(204);
    let test = json!({ "type": "test", "width": 160, "height": 90 });
    for again in [false, true] {
        if again {
            server.kill();
            server.start_again();
        }
        server.create("bob", test.clone());
        assert!(!run_dir_owners(&server).contains(&uid), "nobody else is given the id of the home");
        server.post("/api/streamers", &json!({ "id": "carol", "source": test })).expect(429);
        server.create("alice", alice("cat \"$HOME/diary\" > \"$HOME/read\"; exec sleep 1000"));
        let read = eventually("it has read", || {
            fs::read_to_string(kept.join("read")).ok().filter(|text| !text.is_empty())
        });
        assert_eq!(read, "mine\n");
        assert_eq!(fs::metadata(kept.join("read")).unwrap().uid(), uid);
        for id in ["alice", "bob"] {
            server.delete(&format!("/api/streamers/{id}")).expect(204);
        }
        fs::remove_file(kept.join("read")).unwrap();
    }
}

/// Another network namespace, joined with this one by a pair of interfaces, with an HTTP server in it.
struct Elsewhere {
    server: Child,
    address: String,
}

impl Elsewhere {
    fn new() -> Self {
        let us = std::process::id();
        // Interfaces and addresses of our own, of a network that is for tests.
        let here = format!("or{us}h");
        let there = format!("or{us}t");
        let network = format!("198.18.{}", us % 256);
        let address = format!("{network}.2");
        let script = format!(
            "until ip link show dev {there} >/dev/null 2>&1; do sleep 0.05; done
             ip addr add {address}/30 dev {there} && ip link set {there} up
             exec python3 -m http.server 8000 --bind {address}"
        );
        let server = Command::new("unshare").args(["--net", "sh", "-c", &script]).spawn().unwrap();
        let elsewhere = Self { server, address };
        let pid = elsewhere.server.id().to_string();
        let own = fs::read_link("/proc/self/ns/net").unwrap();
        let its = format!("/proc/{pid}/ns/net");
        eventually("another network", || fs::read_link(&its).ok().filter(|its| *its != own));
        let ip = |arguments: &[&str]| assert!(Command::new("ip").args(arguments).status().unwrap().success());
        ip(&["link", "add", &here, "type", "veth", "peer", "name", &there, "netns", &pid]);
        ip(&["addr", "add", &format!("{network}.1/30"), "dev", &here]);
        ip(&["link", "set", &here, "up"]);
        eventually("a server there", || TcpStream::connect((elsewhere.address.as_str(), 8000)).ok());
        elsewhere
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        // The pair goes with the namespace.
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// What this machine lacks for networks with a way out, if anything.
fn no_nat(for_all: bool) -> Option<&'static str> {
    if !rustix::process::geteuid().is_root() {
        return Some("only root can make another network to be reached");
    }
    let Ok(device) = fs::metadata("/dev/net/tun") else { return Some("there is no /dev/net/tun") };
    if for_all && device.mode() & 0o006 != 0o006 {
        return Some("users may not open /dev/net/tun on this machine");
    }
    let found = |name: &str| Command::new(name).arg("--version").output().is_ok();
    (!found("slirp4netns") || !found("ip")).then_some("slirp4netns or ip is not installed")
}

/// From a session with a way out: what is elsewhere is reached, what listens on this machine's loopback addresses is not.
fn reach_by_nat(server: &Server) {
    let elsewhere = Elsewhere::new();
    let outside = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = outside.local_addr().unwrap().port();
    let seen = run_script(
        server,
        &format!(
            "curl -s -m 10 http://{there}:8000/ >/dev/null && echo reached elsewhere
             for address in 127.0.0.1 10.0.2.2 10.0.2.3; do
               curl -s -m 5 http://$address:{web}/healthz && echo reached the server
               curl -s -m 2 telnet://$address:{port} </dev/null && echo reached the host
             done
             cat /etc/resolv.conf
             python3 -m http.server 8000 >/dev/null 2>&1 &
             curl -s --retry 20 --retry-delay 1 --retry-connrefused http://127.0.0.1:8000/ >/dev/null && echo reached each other
             ls -l /proc/self/fd | grep socket && echo inherited a socket
             echo uplink: $ORIEL_UPLINK.
             xwininfo -root | grep Width",
            there = elsewhere.address,
            web = server.address().port()
        ),
    );
    println!("{seen}");
    assert!(!seen.contains("reached the") && !seen.contains("inherited"));
    for works in ["reached elsewhere", "reached each other", "nameserver 10.0.2.3", "uplink: .", "Width: 320"]
    {
        assert!(seen.contains(works), "{works}");
    }
    let helper = process(server, "slirp4netns");
    let session = process(server, "streamer session");
    assert_eq!(owner(&helper), owner(&session));
    server.delete("/api/streamers/demo").expect(204);
    eventually("it ends with the session", || (!helper.is_alive()).then_some(()));
    assert_eq!(server.session_processes().len(), 0);
}

#[test]
fn programs_behind_nat_reach_other_machines_and_not_this_ones_loopback() {
    if let Some(lack) = no_nat(false) {
        println!("not tested: {lack}");
        return;
    }
    reach_by_nat(&Server::start_configured("sessions: {network: nat}"));
    // Not a test of its own: both make the same interfaces.
    if let Some(lack) = no_nat(true) {
        println!("not tested as an ordinary user: {lack}");
        return;
    }
    let installed = Installed::new();
    let streamer_bin = installed.streamer();
    let config =
        format!("streamer_bin: {}\nsessions: {{user: nobody, network: nat}}", streamer_bin.display());
    reach_by_nat(&Server::start_configured(&config));
}

#[test]
fn an_ffmpeg_sees_its_own_processes_alone() {
    let server = Server::start();
    let dir = tempfile::tempdir().unwrap();
    let film = Clip::default().make(dir.path(), "film.mp4");
    server.create("demo", json!({ "type": "ffmpeg", "input": film, "loop": true, "always_on": true }));
    let namespace = |pid: i32| fs::read_link(format!("/proc/{pid}/ns/pid")).ok();
    let (its, seen) = eventually("ffmpeg", || {
        let all = processes::all().into_iter();
        let mut ours = all.filter(|process| process.command_line.contains(&*film.to_string_lossy()));
        let ffmpeg = ours.find(|process| !process.command_line.contains(" init "))?;
        // One that only looks at the film may have ended meanwhile.
        let its = namespace(ffmpeg.pid)?;
        let seen = fs::read_dir(format!("/proc/{}/root/proc", ffmpeg.pid)).ok()?.flatten();
        let seen = seen.filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count();
        (seen > 0).then_some((its, seen))
    });
    assert_ne!(Some(its), namespace(std::process::id() as i32));
    assert!((1..=4).contains(&seen), "{seen} processes are in its sight");
}
