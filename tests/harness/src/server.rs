//! A web-server of a test's own, and its REST API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use common::api::{Problem, Streamer};
use common::signal::StreamerState;
use common::stats::StreamerStats;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::process::{self, Process};
use crate::wait::{SOON, eventually};

/// Timeout of one request; creating with `wait=running` takes longest.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// A connection is used again for so long: less than the server keeps one that is idle, which may be closed as a request is sent.
const IDLE: Duration = Duration::from_secs(2);
/// How much of a log is shown when a test fails, bytes.
const LOG_TAIL: usize = 8 * 1024;

/// Sends a signal to a process that has not been waited for.
pub(crate) fn send_signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().cast_signed()).expect("its pid");
    kill_process(pid, signal).expect("the right to signal it");
}

/// A program of this workspace, which must have been built.
///
/// # Panics
/// When it has not.
#[track_caller]
pub fn binary(name: &str) -> PathBuf {
    let this = std::env::current_exe().expect("the file of this program");
    // Tests are in `deps/`, programs beside it.
    let mut folders = this.ancestors().skip(1).take(2);
    let found = folders.find_map(|folder| Some(folder.join(name)).filter(|path| path.is_file()));
    found.unwrap_or_else(|| panic!("{name} is not built; run: cargo build --workspace --all-targets"))
}

/// The program that stands in for streamers, for `ORIEL_STREAMER_BIN`, in this folder: as it is its own monitor, no other must be beside it.
///
/// # Panics
/// It is not built, or the folder cannot be written.
#[track_caller]
pub fn stand_in(folder: &Path) -> PathBuf {
    let program = folder.join("stand-in");
    std::os::unix::fs::symlink(binary("stand-in"), &program).expect("a folder that can be written");
    program
}

/// A running web-server in a state directory of its own. Dropping it ends it and all that it started.
pub struct Server {
    child: Option<Child>,
    address: SocketAddr,
    agent: ureq::Agent,
    state: TempDir,
    /// For its log and its configuration.
    beside: TempDir,
    /// Shown with every request, if any.
    token: Option<String>,
    /// Of its environment.
    variables: Vec<(String, String)>,
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `Content-Type`.
    pub content_type: String,
    /// `Location`.
    pub location: Option<String>,
    /// `ETag`.
    pub etag: Option<String>,
    /// The body.
    pub body: Vec<u8>,
}

impl Answer {
    /// The body as JSON.
    ///
    /// # Panics
    /// When it is none.
    #[track_caller]
    pub fn json<T: serde::de::DeserializeOwned>(&self) -> T {
        serde_json::from_slice(&self.body)
            .unwrap_or_else(|error| panic!("{error} in {}", String::from_utf8_lossy(&self.body)))
    }

    /// The body as a problem, which must be well formed.
    ///
    /// # Panics
    /// It is none, or does not match the status.
    #[track_caller]
    pub fn problem(&self) -> Problem {
        assert_eq!(self.content_type, "application/problem+json", "{self:?}");
        let problem: Problem = self.json();
        assert_eq!(problem.status, self.status);
        assert!(!problem.detail.is_empty() && !problem.request_id.is_empty(), "{problem:?}");
        problem
    }

    /// Panics, showing the body, unless the status is this one.
    #[track_caller]
    pub fn expect(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{}", String::from_utf8_lossy(&self.body));
        self
    }
}

impl Server {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start() -> Self {
        let mut server = Self::new();
        server.start_again();
        server
    }

    /// Where it listens for RTSP, by its log.
    ///
    /// # Panics
    /// It does not say so.
    #[track_caller]
    pub fn rtsp_address(&self) -> std::net::SocketAddr {
        crate::eventually("it says where it listens for RTSP", || {
            let log = self.log();
            let line = log.lines().find(|line| line.contains("listening for RTSP"))?;
            line.split("address=").nth(1)?.split_whitespace().next()?.parse().ok()
        })
    }

    /// Starts one with a configuration in YAML.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_configured(yaml: &str) -> Self {
        let mut server = Self::new();
        server.configure(yaml);
        server.start_again();
        server
    }

    /// Starts a server whose state directory is created in `folder`. Its own log is elsewhere.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_in(folder: &Path) -> Self {
        let mut server = Self::new();
        server.state = tempfile::Builder::new().prefix("state").tempdir_in(folder).expect("a directory");
        server.start_again();
        server
    }

    /// Starts one with these variables besides its own.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_with(variables: &[(&str, &str)]) -> Self {
        let mut server = Self::new();
        server.variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        server.start_again();
        server
    }

    /// Starts one as a node of a cluster.
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_node(nats: &str, key: &str, name: &str, more: &[(&str, &str)]) -> Self {
        let mut server = Self::new();
        let advertise = server.url("");
        let own = [
            ("ORIEL_CLUSTER_NATS", nats),
            ("ORIEL_CLUSTER_KEY", key),
            ("ORIEL_CLUSTER_NAME", name),
            ("ORIEL_CLUSTER_ADVERTISE", &advertise),
            ("ORIEL_CLUSTER_LEASE_S", "20"),
        ];
        let variables = own.iter().chain(more).map(|(name, value)| ((*name).into(), (*value).into()));
        server.variables = variables.collect();
        server.start_again();
        server
    }

    /// The configuration from the next start on.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn configure(&self, yaml: &str) {
        std::fs::write(self.config_file(), yaml).expect("the configuration");
    }

    #[track_caller]
    fn new() -> Self {
        let folder =
            || tempfile::Builder::new().prefix("oriel-test").tempdir().expect("a temporary directory");
        let state = folder();
        let beside = folder();
        // Free now, and given to nobody else.
        let address = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .and_then(|listener| listener.local_addr())
            .expect("a free port");
        let config = ureq::Agent::config_builder()
            .timeout_global(Some(REQUEST_TIMEOUT))
            .max_idle_age(IDLE)
            .http_status_as_error(false);
        let agent = config.build().into();
        Self { child: None, address, agent, state, beside, token: None, variables: Vec::new() }
    }

    /// Starts a web-server on the same state directory and address, after [`Self::kill`].
    ///
    /// # Panics
    /// When it does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        assert!(self.child.is_none(), "it still runs");
        let open = std::fs::OpenOptions::new().append(true).create(true).open(self.log_file());
        let log = open.expect("the log of the web-server");
        let mut command = Command::new(binary("web-server"));
        if self.config_file().exists() {
            command.arg("--config").arg(self.config_file());
        }
        // Servers of other tests have the port; a test that needs one names it.
        command.env("ORIEL_WEBRTC_TCP_PORT", "0");
        command.envs(self.variables.iter().map(|(name, value)| (name, value)));
        let child = command
            .args(["--listen", &self.address.to_string(), "--listen-ip", "127.0.0.1"])
            // Tests do not talk to the world.
            .args(["--ice-server", "none", "--state-dir"])
            .arg(self.state.path())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second descriptor"))
            .stderr(log)
            .process_group(0)
            .spawn()
            .expect("the web-server starts");
        self.child = Some(child);
        let base = self.variables.iter().find(|(name, _)| name == "ORIEL_BASE_PATH");
        let base = base.map_or("", |(_, base)| base);
        eventually("the web-server answers", || {
            self.agent
                .get(self.url(&format!("{base}/healthz")))
                .call()
                .ok()
                .filter(|answer| answer.status() == 200)
        });
    }

    /// Has the web-server stand still. Its streamers go on.
    pub fn pause(&self) {
        send_signal(self.child.as_ref().expect("it runs"), Signal::STOP);
    }

    /// Has it go on.
    pub fn go_on(&self) {
        send_signal(self.child.as_ref().expect("it runs"), Signal::CONT);
    }

    /// Ends the web-server as a crash would. Its streamers go on.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the right to kill it");
            child.wait().expect("its end");
        }
    }

    /// Ends the web-server and all that it started, as if the machine were lost.
    pub fn kill_machine(&mut self) {
        self.kill();
        loop {
            let left = self.session_processes();
            if left.is_empty() {
                return;
            }
            for process in left {
                // It may have ended meanwhile.
                let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, Signal::KILL));
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// Its process.
    ///
    /// # Panics
    /// While it does not run.
    pub fn process(&self) -> Process {
        let pid = self.child.as_ref().expect("it runs").id();
        Process::read(pid.cast_signed()).expect("its process")
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Its state directory.
    pub fn state_dir(&self) -> &Path {
        self.state.path()
    }

    /// What the web-server has logged.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(self.log_file()).unwrap_or_default()).into_owned()
    }

    /// The logs of it and of its streamers, as far as their directories still exist.
    pub fn logs(&self) -> String {
        let read = |file: PathBuf| std::fs::read(file).unwrap_or_default();
        self.log_files().into_iter().map(|file| String::from_utf8_lossy(&read(file)).into_owned()).collect()
    }

    /// All run directories.
    pub fn run_dirs(&self) -> Vec<PathBuf> {
        let entries = std::fs::read_dir(self.state.path().join("run"));
        entries.into_iter().flatten().flatten().map(|entry| entry.path()).collect()
    }

    /// Every process that belongs to one of its streamers.
    pub fn session_processes(&self) -> Vec<Process> {
        process::mentioning(&self.state.path().join("run"))
    }

    /// Sends a request with these bytes as its body.
    ///
    /// # Panics
    /// When nothing comes back.
    #[track_caller]
    pub fn send(&self, method: &str, path: &str, content_type: &str, body: &[u8]) -> Answer {
        let bearer = self.token.as_ref().map(|token| format!("Bearer {token}"));
        let authorization = bearer.as_deref().map(|bearer| ("authorization", bearer));
        let headers: Vec<_> = [("content-type", content_type)].into_iter().chain(authorization).collect();
        self.send_with(method, path, &headers, body)
    }

    /// Shows this token with every request from now on.
    pub fn use_token(&mut self, token: &str) {
        self.token = Some(token.to_owned());
    }

    /// Sends a request with these headers, and no other token.
    ///
    /// # Panics
    /// When nothing comes back.
    #[track_caller]
    pub fn send_with(&self, method: &str, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Answer {
        let request = ureq::http::Request::builder().method(method).uri(self.url(path));
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let request = request.body(body).expect("a request");
        let mut response = self.agent.run(request).unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        let header =
            |name: &str| response.headers().get(name).and_then(|v| v.to_str().ok()).map(str::to_owned);
        Answer {
            status: response.status().as_u16(),
            content_type: header("content-type").unwrap_or_default(),
            location: header("location"),
            etag: header("etag"),
            body: response.body_mut().with_config().limit(64 << 20).read_to_vec().expect("the body"),
        }
    }

    /// `GET`.
    #[track_caller]
    pub fn get(&self, path: &str) -> Answer {
        self.send("GET", path, "", &[])
    }

    /// `DELETE`.
    #[track_caller]
    pub fn delete(&self, path: &str) -> Answer {
        self.send("DELETE", path, "", &[])
    }

    /// `POST` of JSON.
    #[track_caller]
    pub fn post(&self, path: &str, body: &Value) -> Answer {
        self.send("POST", path, "application/json", body.to_string().as_bytes())
    }

    /// `PUT` of JSON.
    #[track_caller]
    pub fn put(&self, path: &str, body: &Value) -> Answer {
        self.send("PUT", path, "application/json", body.to_string().as_bytes())
    }

    /// Creates a streamer and waits until it runs.
    ///
    /// # Panics
    /// When it does not.
    #[track_caller]
    pub fn create(&self, id: &str, source: Value) -> Streamer {
        let body = json!({ "id": id, "source": source });
        self.post("/api/streamers?wait=running", &body).expect(201).json()
    }

    /// The current state of a streamer; `None` when it does not exist.
    #[track_caller]
    pub fn streamer(&self, id: &str) -> Option<Streamer> {
        let answer = self.get(&format!("/api/streamers/{id}"));
        (answer.status != 404).then(|| answer.expect(200).json())
    }

    /// Waits for a report of counters that satisfies `condition`.
    #[track_caller]
    pub fn stats_until(
        &self,
        id: &str,
        what: &str,
        condition: impl Fn(&StreamerStats) -> bool,
    ) -> StreamerStats {
        eventually(what, || self.streamer(id)?.stats.filter(|stats| condition(stats)))
    }

    /// Waits until a streamer is in `state`.
    #[track_caller]
    pub fn state_until(&self, id: &str, state: StreamerState) -> Streamer {
        eventually(&format!("{id} is {state:?}"), || self.streamer(id).filter(|now| now.state == state))
    }
}

impl Server {
    fn config_file(&self) -> PathBuf {
        self.beside.path().join("oriel.yaml")
    }

    fn log_files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.log_file()];
        files.extend(self.run_dirs().into_iter().map(|dir| dir.join(common::ipc::LOG_FILE)));
        files
    }

    fn log_file(&self) -> PathBuf {
        self.beside.path().join("web-server.log")
    }

    /// Asks the monitors to end their streamers, and kills those that do not.
    fn end_sessions(&self) {
        let deadline = Instant::now() + SOON;
        let mut signal = Signal::TERM;
        let mut asked = Vec::new();
        loop {
            let left = self.session_processes();
            if left.is_empty() {
                return;
            }
            if Instant::now() > deadline {
                signal = Signal::KILL;
                asked.clear();
            }
            for process in left {
                let target = signal == Signal::KILL || process.command_line.contains(" monitor ");
                if target && !asked.contains(&process.pid) {
                    // It may have ended meanwhile.
                    let _ = Pid::from_raw(process.pid).map(|pid| kill_process(pid, signal));
                    asked.push(process.pid);
                }
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn show_logs(&self) {
        for file in self.log_files() {
            let text = std::fs::read(&file).unwrap_or_default();
            let tail = &text[text.len().saturating_sub(LOG_TAIL)..];
            eprintln!("---- {}\n{}", file.display(), String::from_utf8_lossy(tail));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if std::thread::panicking() {
            self.show_logs();
        }
        self.kill();
        self.end_sessions();
    }
}
