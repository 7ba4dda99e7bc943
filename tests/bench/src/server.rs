//! The web-server under measurement, in a state directory of its own, and its REST API.

use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use common::api::Streamer;
use common::stats::StreamerStats;
use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use crate::cpu;

/// From its start until it answers.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// For streamers to start and to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);

/// A program of this workspace, beside the one that runs.
///
/// # Errors
/// When it has not been built.
pub fn binary(name: &str) -> Result<PathBuf> {
    let path = std::env::current_exe()?.with_file_name(name);
    if !path.is_file() {
        bail!("{} is not there: run scripts/bench, which builds everything", path.display());
    }
    Ok(path)
}

/// The programs under measurement: web-server and streamer. All others, as peers and what is shown, are those of this build, so that
/// two builds are measured with the same.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Build(PathBuf);

/// Which build is measured now; `None`: this one.
static MEASURED: Mutex<Option<Build>> = Mutex::new(None);

impl Build {
    /// The programs beside this one.
    ///
    /// # Errors
    /// When it is not known where that is.
    pub fn this() -> Result<Self> {
        let own = std::env::current_exe()?;
        Ok(Self(own.parent().context("this program has no directory")?.to_owned()))
    }

    /// The programs in another directory.
    ///
    /// # Errors
    /// When they are not there.
    pub fn of(directory: &Path) -> Result<Self> {
        let build = Self(directory.canonicalize().with_context(|| directory.display().to_string())?);
        for name in ["web-server", "streamer"] {
            build.program(name)?;
        }
        Ok(build)
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let path = self.0.join(name);
        if !path.is_file() {
            bail!("{} is not there: scripts/bench builds it", path.display());
        }
        Ok(path)
    }
}

/// Servers are started from this build from now on.
pub fn measure_build(build: &Build) {
    *MEASURED.lock().unwrap_or_else(PoisonError::into_inner) = Some(build.clone());
}

fn measured(name: &str) -> Result<PathBuf> {
    let build = MEASURED.lock().unwrap_or_else(PoisonError::into_inner).clone();
    build.map_or_else(Build::this, Ok)?.program(name)
}

/// How much was allocated until some moment.
#[derive(Debug, Clone, Copy)]
pub struct Allocations {
    /// When, since 1970.
    pub at: Duration,
    /// How often.
    pub count: u64,
}

/// A running web-server; dropping it ends it and its streamers.
pub struct Server {
    child: Child,
    /// Name of the streamer's binary.
    streamer: String,
    /// Where it accepts media over TCP; 0: nowhere.
    tcp_port: u16,
    address: SocketAddr,
    agent: ureq::Agent,
    state: TempDir,
}

impl Server {
    /// Starts one, with `streamer` as the streamer's binary.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start(streamer: &str) -> Result<Self> {
        Self::start_with(streamer, free()?.port())
    }

    /// The same without media over TCP, so that what UDP does not reach is reached by WebSocket only.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn without_tcp(streamer: &str) -> Result<Self> {
        Self::start_with(streamer, 0)
    }

    fn start_with(streamer: &str, tcp_port: u16) -> Result<Self> {
        let state = tempfile::Builder::new().prefix("oriel-bench").tempdir()?;
        let address = free()?;
        let child = spawn(address, tcp_port, &state, streamer)?;
        let config =
            ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT)).http_status_as_error(false);
        let agent = config.build().into();
        let server = Self { child, streamer: streamer.to_owned(), tcp_port, address, agent, state };
        server.wait()?;
        Ok(server)
    }

    fn wait(&self) -> Result<()> {
        let deadline = Instant::now() + START_DEADLINE;
        while self.agent.get(self.url("/healthz")).call().is_err() {
            if Instant::now() > deadline {
                bail!("the web-server does not answer");
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends the web-server as a crash would. Its streamers go on.
    ///
    /// # Errors
    /// When it cannot be ended.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Starts it again after [`Self::kill`]; it answers when this returns. Tells when it was started.
    ///
    /// # Errors
    /// When it does not come up.
    pub fn start_again(&mut self) -> Result<Instant> {
        let begin = Instant::now();
        self.child = spawn(self.address, self.tcp_port, &self.state, &self.streamer)?;
        self.wait()?;
        Ok(begin)
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// URL of a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// URL of the page on which a streamer is watched.
    pub fn viewer(&self, id: &str) -> String {
        self.url(&format!("/s/{id}"))
    }

    /// Creates a streamer and waits until it runs.
    ///
    /// # Errors
    /// When it is refused or does not start.
    pub fn create(&self, id: &str, source: serde_json::Value) -> Result<Streamer> {
        let body = serde_json::json!({ "id": id, "source": source });
        self.post("/api/streamers?wait=running", &body)?;
        self.get(id)
    }

    /// `POST`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn post(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        done(self.agent.post(self.url(path)).send_json(body)?, path)
    }

    /// `POST` of a text.
    ///
    /// # Errors
    /// When it is refused.
    pub fn post_text(&self, path: &str, content_type: &str, text: &str) -> Result<()> {
        done(self.agent.post(self.url(path)).header("content-type", content_type).send(text)?, path)
    }

    /// `PUT`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn put(&self, path: &str, body: &serde_json::Value) -> Result<()> {
        done(self.agent.put(self.url(path)).send_json(body)?, path)
    }

    /// `DELETE`.
    ///
    /// # Errors
    /// When it is refused.
    pub fn delete_path(&self, path: &str) -> Result<()> {
        done(self.agent.delete(self.url(path)).call()?, path)
    }

    /// `GET`, decoded.
    ///
    /// # Errors
    /// When it is refused.
    pub fn json<T: serde::de::DeserializeOwned>(&self, path: &str) -> Result<T> {
        Ok(self.agent.get(self.url(path)).call()?.body_mut().read_json()?)
    }

    /// `GET`, as it comes.
    ///
    /// # Errors
    /// When there is no answer.
    pub fn text(&self, path: &str) -> Result<String> {
        Ok(self
            .agent
            .get(self.url(path))
            .call()?
            .body_mut()
            .with_config()
            .limit(64 << 20)
            .read_to_string()?)
    }

    /// A streamer as it is now.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, id: &str) -> Result<Streamer> {
        Ok(self.agent.get(self.url(&format!("/api/streamers/{id}"))).call()?.body_mut().read_json()?)
    }

    /// A streamer's next report of its counters, which come once a second.
    ///
    /// # Errors
    /// When none comes.
    pub fn stats(&self, id: &str) -> Result<StreamerStats> {
        let uptime = |streamer: &Streamer| streamer.stats.as_ref().map(|stats| stats.uptime_ms);
        let before = uptime(&self.get(id)?);
        let deadline = Instant::now() + Duration::from_secs(5);
        while Instant::now() < deadline {
            let streamer = self.get(id)?;
            if uptime(&streamer) != before
                && let Some(stats) = streamer.stats
            {
                return Ok(stats);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("{id} does not report its counters")
    }

    /// A PNG of a streamer's picture.
    ///
    /// # Errors
    /// When there is none.
    pub fn snapshot(&self, id: &str) -> Result<Vec<u8>> {
        let mut response = self.agent.get(self.url(&format!("/api/streamers/{id}/snapshot"))).call()?;
        if !response.status().is_success() {
            bail!("snapshot of {id}: {}", response.body_mut().read_to_string()?);
        }
        Ok(response.body_mut().with_config().limit(64 << 20).read_to_vec()?)
    }

    /// What the only streamer has allocated, if its binary counts that: the newest of its reports, which come once a second.
    ///
    /// # Errors
    /// When it does not count.
    pub fn allocations(&self) -> Result<Allocations> {
        for run_dir in std::fs::read_dir(self.state.path().join("run"))? {
            if let Ok(line) = std::fs::read_to_string(run_dir?.path().join("allocations")) {
                let numbers = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
                let [at_us, count, ..] = numbers[..] else { bail!("not a report of allocations: {line:?}") };
                return Ok(Allocations { at: Duration::from_micros(at_us), count });
            }
        }
        bail!("no streamer counts its allocations")
    }

    /// Ends a streamer.
    ///
    /// # Errors
    /// When there is none.
    pub fn delete(&self, id: &str) -> Result<()> {
        self.delete_path(&format!("/api/streamers/{id}"))
    }

    /// Process id of a streamer.
    ///
    /// # Errors
    /// When it does not run.
    pub fn pid(&self, id: &str) -> Result<u32> {
        Ok(self.stats(id)?.process.pid)
    }

    /// Process id of a program that was started in a streamer's session.
    ///
    /// # Errors
    /// When there is none.
    pub fn pid_in_session(&self, id: &str, name: &str) -> Result<u32> {
        cpu::find(self.pid(id)?, name)
    }
}

/// Free now, and nobody else is told of it.
fn free() -> Result<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

fn spawn(address: SocketAddr, tcp_port: u16, state: &TempDir, streamer: &str) -> Result<Child> {
    let log = std::fs::File::options().create(true).append(true).open(state.path().join("web-server.log"))?;
    let child = Command::new(measured("web-server")?)
        .args([
            "--listen",
            &address.to_string(),
            "--stop-streamers",
            "--listen-ip",
            "127.0.0.1",
            "--ice-server",
            "none",
            "--webrtc-tcp-port",
            &tcp_port.to_string(),
            "--max-streamers",
            "1000",
            "--state-dir",
        ])
        .arg(state.path())
        .arg("--streamer-bin")
        .arg(measured(streamer)?)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        .spawn();
    child.context("starting the web-server")
}

fn done(mut response: ureq::http::Response<ureq::Body>, path: &str) -> Result<()> {
    if !response.status().is_success() {
        bail!("{path}: {}", response.body_mut().read_to_string()?);
    }
    Ok(())
}

impl Drop for Server {
    fn drop(&mut self) {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        // It has ended already.
        let _ = pid.map(|pid| kill_process(pid, Signal::TERM));
        let _ = self.child.wait();
    }
}
