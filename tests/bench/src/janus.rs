//! Janus, with which `rooms` compares: its process in a network namespace, and a client of its HTTP interface for native peers.
//!
//! Janus gathers no candidate on a loopback interface, so it gets another one that leads nowhere: what is sent to its address stays on
//! the machine, as on loopback.

use std::net::Ipv4Addr;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use tempfile::TempDir;

/// Where it answers, in its namespace.
const URL: &str = "http://127.0.0.1:8088/janus";
/// Where it sends from and receives, and its peers do.
pub const ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 99, 0, 1);
/// From its start until it answers.
const START_DEADLINE: Duration = Duration::from_secs(10);
/// A long poll is answered after half a minute when nothing has happened.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(40);
/// Of several events in a row, one is what was waited for.
const MOST_EVENTS: usize = 20;
/// The only room, and who publishes in it.
const ROOM: u32 = 1;
const PUBLISHER: u32 = 1;

/// A network namespace; dropping it removes it, once nothing runs in it any more.
struct Namespace(String);

impl Namespace {
    fn new() -> Result<Self> {
        let namespace = Self(format!("oriel-bench-{}", std::process::id()));
        ip(&["netns", "add", &namespace.0])?;
        let inside = |arguments: &[&str]| ip(&[&["-n", &namespace.0], arguments].concat());
        inside(&["link", "set", "lo", "up"])?;
        inside(&["link", "add", "media", "type", "veth", "peer", "name", "nowhere"])?;
        inside(&["addr", "add", &format!("{ADDRESS}/24"), "dev", "media"])?;
        inside(&["link", "set", "media", "up"])?;
        inside(&["link", "set", "nowhere", "up"])?;
        Ok(namespace)
    }

    /// Runs a program in it; the process is that of the program.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.0]).arg(program);
        command
    }
}

impl Drop for Namespace {
    fn drop(&mut self) {
        // It is named after this process: nobody else has it.
        let _ = ip(&["netns", "del", &self.0]);
    }
}

fn ip(arguments: &[&str]) -> Result<()> {
    let status = Command::new("ip").args(arguments).status().context("ip")?;
    ensure!(status.success(), "ip {}: {status} (it needs root)", arguments.join(" "));
    Ok(())
}

/// A running Janus; dropping it ends it.
pub struct Janus {
    child: Child,
    namespace: Namespace,
    _configuration: TempDir,
}

impl Janus {
    /// Starts it with its room, if it is installed.
    ///
    /// # Errors
    /// When it does not come up, or there may be no namespace.
    pub fn start() -> Result<Option<Self>> {
        let Some(program) = installed("janus") else { return Ok(None) };
        let configuration = tempfile::tempdir()?;
        let write = |name: &str, text: &str| std::fs::write(configuration.path().join(name), text);
        // Sessions live for as long as they are needed, whether anybody asks for events or not.
        write("janus.jcfg", "general: { session_timeout = 0 }\nnat: {}\nmedia: { ipv6 = false }\n")?;
        write(
            "janus.transport.http.jcfg",
            "general: { json = \"compact\", base_path = \"/janus\", http = true, port = 8088 }\n",
        )?;
        write(
            "janus.plugin.videoroom.jcfg",
            &format!(
                "room-{ROOM}: {{ publishers = 10, bitrate = 0, videocodec = \"h264\", audiocodec = \"opus\" }}\n"
            ),
        )?;
        let namespace = Namespace::new()?;
        let mut command = namespace.command(program);
        command.arg("-C").arg(configuration.path().join("janus.jcfg")).arg("-F").arg(configuration.path());
        let log = std::fs::File::create(configuration.path().join("log"))?;
        let child =
            command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log).spawn().context("janus")?;
        let mut janus = Self { child, namespace, _configuration: configuration };
        janus.wait()?;
        Ok(Some(janus))
    }

    fn wait(&mut self) -> Result<()> {
        let begin = Instant::now();
        while begin.elapsed() < START_DEADLINE {
            if let Some(status) = self.child.try_wait()? {
                bail!("janus has ended: {status}");
            }
            let mut curl = self.namespace.command("curl");
            let curl = curl.args(["--silent", "--fail", "--max-time", "2", "--output", "/dev/null"]);
            if curl.arg(format!("{URL}/info")).status()?.success() {
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        bail!("janus does not answer within {START_DEADLINE:?}")
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A program that can reach it.
    pub fn command(&self, program: PathBuf) -> Command {
        self.namespace.command(program)
    }
}

impl Drop for Janus {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn installed(name: &str) -> Option<PathBuf> {
    std::env::split_paths(&std::env::var_os("PATH")?).map(|dir| dir.join(name)).find(|path| path.is_file())
}

/// A session with Janus, of all peers together.
pub struct Client {
    agent: ureq::Agent,
    session: String,
}

impl Client {
    /// A new session; in the namespace of Janus.
    ///
    /// # Errors
    /// When it is refused.
    pub fn connect() -> Result<Self> {
        let config = ureq::Agent::config_builder().timeout_global(Some(REQUEST_TIMEOUT));
        let agent = ureq::Agent::from(config.build());
        let mut client = Self { agent, session: URL.to_owned() };
        let id = client.post(&client.session, &json!({ "janus": "create" }))?["data"]["id"].clone();
        client.session = format!("{URL}/{id}");
        Ok(client)
    }

    /// Publishes video; returns the answer to the offer.
    ///
    /// # Errors
    /// When it is refused.
    pub fn publish(&self, offer: &str) -> Result<String> {
        let handle = self.attach()?;
        self.say(
            &handle,
            &json!({ "request": "join", "ptype": "publisher", "room": ROOM, "id": PUBLISHER }),
            None,
        )?;
        let jsep = json!({ "type": "offer", "sdp": offer });
        let event = self.say(&handle, &json!({ "request": "publish" }), Some(&jsep))?;
        Ok(event["jsep"]["sdp"].as_str().context("no answer")?.to_owned())
    }

    /// Watches what is published. `answer` makes the answer to the offer.
    ///
    /// # Errors
    /// When it is refused.
    pub fn watch(&self, answer: impl FnOnce(String) -> Result<String>) -> Result<()> {
        let handle = self.attach()?;
        let join = json!({
            "request": "join", "ptype": "subscriber", "room": ROOM, "streams": [{ "feed": PUBLISHER }],
        });
        let event = self.say(&handle, &join, None)?;
        let offer = event["jsep"]["sdp"].as_str().with_context(|| format!("no offer: {event}"))?;
        let jsep = json!({ "type": "answer", "sdp": answer(offer.to_owned())? });
        self.say(&handle, &json!({ "request": "start" }), Some(&jsep))?;
        Ok(())
    }

    fn attach(&self) -> Result<Value> {
        let attach = json!({ "janus": "attach", "plugin": "janus.plugin.videoroom" });
        Ok(self.post(&self.session, &attach)?["data"]["id"].clone())
    }

    /// Says something to the plugin; returns the event that answers it.
    fn say(&self, handle: &Value, body: &Value, jsep: Option<&Value>) -> Result<Value> {
        let mut message = json!({ "janus": "message", "body": body });
        if let Some(jsep) = jsep {
            message["jsep"] = jsep.clone();
        }
        self.post(&format!("{}/{handle}", self.session), &message)?;
        for _ in 0..MOST_EVENTS {
            let event: Value = self.agent.get(&self.session).call()?.body_mut().read_json()?;
            // Others tell that some connection is up, or that a keyframe came.
            if event["janus"] == "event" && event["sender"] == *handle {
                let data = &event["plugindata"]["data"];
                ensure!(data.get("error").is_none(), "{body}: {data}");
                return Ok(event);
            }
        }
        bail!("no answer to {body}")
    }

    fn post(&self, url: &str, message: &Value) -> Result<Value> {
        let mut message = message.clone();
        message["transaction"] = "bench".into();
        let answer: Value = self.agent.post(url).send_json(&message)?.body_mut().read_json()?;
        ensure!(answer["janus"] != "error", "{message}: {answer}");
        Ok(answer)
    }
}
