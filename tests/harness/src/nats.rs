//! A NATS server of a test's own, and a way to it that can be cut.

use std::io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use common::cluster::{NodeList, NodeState};
use rustix::process::Signal;
use serde_json::{Value, json};

use crate::server::{Answer, Server, send_signal};
use crate::wait::{SOON, eventually, eventually_within};

/// How soon a way that was cut notices that it is whole again, and that its end has come.
const TICK: Duration = Duration::from_millis(5);

/// A reply to a request that takes longer does not come.
const REPLY: Duration = Duration::from_secs(2);

/// A NATS server of a test's own.
pub struct Nats {
    child: Option<Child>,
    port: u16,
    dir: tempfile::TempDir,
    options: Vec<String>,
}

impl Nats {
    /// One with JetStream.
    ///
    /// # Panics
    /// It is not installed.
    #[track_caller]
    pub fn start() -> Self {
        Self::start_with(&["-js"])
    }

    /// One with these options.
    ///
    /// # Panics
    /// It is not installed.
    #[track_caller]
    pub fn start_with(options: &[&str]) -> Self {
        let port = free_port();
        let options = options.iter().map(ToString::to_string).collect();
        let dir = tempfile::tempdir().expect("a temporary directory");
        let mut nats = Self { child: None, port, dir, options };
        nats.start_again();
        nats
    }

    /// Three that are one, called `n0`, `n1` and `n2`: each keeps a copy of what is to have three.
    ///
    /// # Panics
    /// It is not installed.
    #[track_caller]
    pub fn three() -> [Self; 3] {
        let ports = [(); 3].map(|()| free_port());
        let routes = ports.map(url).join(",");
        [0, 1, 2].map(|n| {
            let [name, listens] = [format!("n{n}"), url(ports[n])];
            Self::start_with(&[
                "-js",
                "-n",
                &name,
                "--cluster_name",
                "three",
                "--cluster",
                &listens,
                "--routes",
                &routes,
            ])
        })
    }

    /// Starts it on the same port, with the data that it has.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    pub fn start_again(&mut self) {
        let child = Command::new("nats-server")
            .args(["-a", "127.0.0.1", "-p", &self.port.to_string(), "-sd"])
            .arg(self.dir.path())
            .args(&self.options)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("nats-server is installed (scripts/test does it)");
        self.child = Some(child);
        eventually("NATS listens", || TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).ok());
    }

    /// Ends it as a crash would.
    pub fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            child.kill().expect("the right to kill it");
            child.wait().expect("its end");
        }
    }

    /// Has it stand still.
    pub fn pause(&self) {
        self.signal(Signal::STOP);
    }

    /// Has it go on.
    pub fn go_on(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        send_signal(self.child.as_ref().expect("it runs"), signal);
    }

    /// Removes its data. It must not run.
    ///
    /// # Panics
    /// The data cannot be removed.
    pub fn lose_data(&self) {
        std::fs::remove_dir_all(self.dir.path().join("jetstream")).expect("its data");
    }

    /// Where it listens.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Its address.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Publishes messages, and returns once the server has them.
    ///
    /// # Panics
    /// It does not take them.
    #[track_caller]
    pub fn publish(&self, subject: &str, messages: &[&[u8]]) {
        let mut client = self.client();
        for message in messages {
            write_message(&mut client, &format!("PUB {subject}"), message);
        }
        client.get_mut().write_all(b"PING\r\n").expect("a connection to NATS");
        while line(&mut client) != "PONG" {}
    }

    /// Sends a request, again and again until there is a reply: several servers give none until they have a leader.
    ///
    /// # Panics
    /// There is none.
    #[track_caller]
    pub fn request(&self, subject: &str, body: &[u8]) -> Vec<u8> {
        eventually("NATS replies", || self.ask(subject, body))
    }

    /// The reply to a request, if it comes in time.
    #[track_caller]
    fn ask(&self, subject: &str, body: &[u8]) -> Option<Vec<u8>> {
        let mut client = self.client();
        client.get_ref().set_read_timeout(Some(REPLY)).expect("a timeout");
        client.get_mut().write_all(b"SUB reply 1\r\n").expect("a connection to NATS");
        write_message(&mut client, &format!("PUB {subject} reply"), body);
        loop {
            let line = match read_line(&mut client) {
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                    return None;
                }
                line => line.expect("a line of NATS"),
            };
            if let Some(message) = line.strip_prefix("MSG ") {
                let len = message.rsplit(' ').next().and_then(|len| len.parse().ok()).expect("a length");
                let mut reply = vec![0; len];
                client.read_exact(&mut reply).expect("the reply");
                return Some(reply);
            }
        }
    }

    #[track_caller]
    fn client(&self) -> BufReader<TcpStream> {
        let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("NATS listens");
        stream.set_read_timeout(Some(SOON)).expect("a timeout");
        let mut client = BufReader::new(stream);
        client.get_mut().write_all(b"CONNECT {\"verbose\":false}\r\n").expect("a connection to NATS");
        client
    }

    /// A web-server that is a node of its cluster.
    ///
    /// # Panics
    /// It does not come up.
    #[track_caller]
    pub fn node(&self, key: &str, name: &str, more: &[(&str, &str)]) -> Server {
        Server::start_node(&self.url(), key, name, more)
    }
}

impl Drop for Nats {
    fn drop(&mut self) {
        self.kill();
    }
}

#[track_caller]
fn write_message(client: &mut BufReader<TcpStream>, command: &str, body: &[u8]) {
    let message = [format!("{command} {}\r\n", body.len()).as_bytes(), body, b"\r\n"].concat();
    client.get_mut().write_all(&message).expect("a connection to NATS");
}

#[track_caller]
fn line(client: &mut BufReader<TcpStream>) -> String {
    read_line(client).expect("a line of NATS")
}

fn read_line(client: &mut BufReader<TcpStream>) -> std::io::Result<String> {
    let mut line = String::new();
    match client.read_line(&mut line)? {
        0 => Err(ErrorKind::UnexpectedEof.into()),
        _ => Ok(line.trim_end().to_owned()),
    }
}

/// The key of a cluster in a test.
pub const KEY: &str = "the-key-of-a-cluster-in-a-test-0123456789";

/// Waits until each of these nodes knows that all of them are alive, and places streamers: others hear of a node a moment before it has
/// read what there is.
///
/// # Panics
/// It takes longer than `limit`.
#[track_caller]
pub fn together_within(limit: Duration, servers: &[&Server]) {
    for server in servers {
        eventually_within(limit, "all nodes are alive", || {
            let answer = server.get("/api/nodes");
            let nodes = (answer.status == 200).then(|| answer.json::<NodeList>().nodes)?;
            let alive = nodes.iter().filter(|node| node.state == NodeState::Alive);
            (alive.count() == servers.len()).then_some(())
        });
        let nowhere =
            json!({ "id": "nowhere", "placement": { "node": "nobody" }, "source": { "type": "test" } });
        eventually_within(limit, "it places streamers", || {
            let answer = server.post("/api/streamers", &nowhere).expect(503);
            (answer.problem().code == "no_capacity").then_some(())
        });
    }
}

/// The same, within [`SOON`].
///
/// # Panics
/// It takes longer.
#[track_caller]
pub fn together(servers: &[&Server]) {
    together_within(SOON, servers);
}

fn url(port: u16) -> String {
    format!("nats://127.0.0.1:{port}")
}

#[track_caller]
fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// A way to a NATS server that can be cut, in one direction or both. What is sent meanwhile is held, and goes on when the way is whole again:
/// as with a network that loses packets, whoever has given up waiting is obeyed all the same.
pub struct Way {
    port: u16,
    cut: Arc<Cut>,
}

#[derive(Default)]
struct Cut {
    to_nats: AtomicBool,
    from_nats: AtomicBool,
    over: AtomicBool,
}

impl Way {
    /// A way to what listens on `port`.
    ///
    /// # Panics
    /// There is no free port.
    pub fn to(port: u16) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let own = listener.local_addr().expect("its address").port();
        let cut = Arc::new(Cut::default());
        let ends = cut.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if ends.over.load(Ordering::Relaxed) {
                    return;
                }
                // Nobody listens there at the moment: the client learns it by the end.
                let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, port)) else { continue };
                let (Ok(from_client), Ok(from_server)) = (client.try_clone(), server.try_clone()) else {
                    continue;
                };
                let there = ends.clone();
                let back = ends.clone();
                std::thread::spawn(move || carry(from_client, server, &there, |cut| &cut.to_nats));
                std::thread::spawn(move || carry(from_server, client, &back, |cut| &cut.from_nats));
            }
        });
        Self { port: own, cut }
    }

    /// The address by which NATS is reached on this way.
    pub fn url(&self) -> String {
        url(self.port)
    }

    /// Cuts it or makes it whole, in each direction.
    pub fn cut(&self, to_nats: bool, from_nats: bool) {
        self.cut.to_nats.store(to_nats, Ordering::Relaxed);
        self.cut.from_nats.store(from_nats, Ordering::Relaxed);
    }
}

impl Drop for Way {
    fn drop(&mut self) {
        self.cut.over.store(true, Ordering::Relaxed);
        // So that the thread that accepts connections sees it. Fails if that has ended.
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
    }
}

/// Carries bytes in one direction until an end is gone, or the way is over.
fn carry(mut from: TcpStream, mut to: TcpStream, cut: &Cut, stopped: fn(&Cut) -> &AtomicBool) {
    let mut bytes = [0; 16 * 1024];
    let over = || cut.over.load(Ordering::Relaxed);
    let hold = || {
        while stopped(cut).load(Ordering::Relaxed) && !over() {
            std::thread::sleep(TICK);
        }
    };
    from.set_read_timeout(Some(TICK * 10)).expect("a timeout");
    while !over() {
        hold();
        match from.read(&mut bytes) {
            Ok(0) => break,
            Ok(len) => {
                hold();
                if to.write_all(&bytes[..len]).is_err() {
                    break;
                }
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(_) => break,
        }
    }
    // The other end may be gone already.
    let _ = to.shutdown(Shutdown::Write);
}

/// Creates a streamer, and waits until it runs. A node refuses while it does not reach NATS, as when this machine has stood still for a
/// moment; one that was refused while its outcome was not known may be there.
///
/// # Panics
/// It is not created.
#[track_caller]
pub fn create(server: &Server, body: &Value) -> Answer {
    eventually("it is created", || {
        let answer = server.post("/api/streamers?wait=running", body);
        let refused = matches!(answer.status, 502..=504);
        assert!(refused || matches!(answer.status, 200 | 201), "{answer:?}");
        (!refused).then_some(answer)
    })
}
