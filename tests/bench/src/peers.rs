//! The program `native-peers`, from the outside.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use native_peer::Stack;
use serde::Deserialize;

use crate::cpu;
use crate::janus::Janus;
use crate::line_process::LineProcess;
use crate::reception::Reception;
use crate::relay::Came;
use crate::server::{Server, binary};

/// Native peers of one streamer.
pub struct NativePeers(LineProcess);

/// They have joined.
#[derive(Debug, Clone, Deserialize)]
pub struct Joined {
    /// How many there are now.
    pub peers: usize,
    /// How long these took to join, milliseconds.
    pub ms: f64,
}

#[derive(Deserialize)]
struct Done {}

fn command(server: &Server, streamer: &str) -> Result<Command> {
    let mut command = Command::new(binary("native-peers")?);
    command.arg("--server").arg(server.address().to_string()).arg("--streamer").arg(streamer);
    Ok(command)
}

impl NativePeers {
    /// Without peers yet; they will be on the stack that costs least.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start(server: &Server, streamer: &str, units: bool) -> Result<Self> {
        Self::start_on(Stack::Rtc, server, streamer, units)
    }

    /// The same, on a stack of choice.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_on(stack: Stack, server: &Server, streamer: &str, units: bool) -> Result<Self> {
        let mut command = command(server, streamer)?;
        command.arg("--stack").arg(stack.to_string());
        if units {
            command.arg("--units");
        }
        Ok(Self(LineProcess::start("native-peers", &mut command)?))
    }

    /// Peers of a room, who may publish.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_in_room(server: &Server, room: &str) -> Result<Self> {
        let mut command = command(server, room)?;
        command.arg("--controllers");
        Ok(Self(LineProcess::start("native-peers", &mut command)?))
    }

    /// Peers of the videoroom of Janus. The first one is the publisher, and begins before others join.
    ///
    /// # Errors
    /// When the program cannot be started.
    pub fn start_at_janus(janus: &Janus) -> Result<Self> {
        let mut command = janus.command(binary("native-peers")?);
        command.arg("--janus");
        Ok(Self(LineProcess::start("native-peers", &mut command)?))
    }

    /// The first so many of a room publish cameras of 30 pictures a second, each in so many packets, until the end.
    ///
    /// # Errors
    /// When they may not.
    pub fn publish(&mut self, count: usize, pieces: usize) -> Result<()> {
        self.0.say(&format!("publish {count} {pieces}"))?;
        self.0.hear::<Done>().map(|Done {}| ())
    }

    /// When the first camera has sent its pictures since [`NativePeers::begin`], in order, microseconds since 1970.
    ///
    /// # Errors
    /// When a peer was lost.
    pub fn sent(&mut self) -> Result<Vec<u64>> {
        self.0.say("sent")?;
        self.0.hear()
    }

    /// Keeps the program on one processor.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn pin(&self, processor: usize) -> Result<()> {
        cpu::pin(self.0.pid(), processor)
    }

    /// Lets more peers join.
    ///
    /// # Errors
    /// When one does not connect.
    pub fn join(&mut self, count: usize) -> Result<Joined> {
        self.0.say(&format!("join {count}"))?;
        self.0.hear()
    }

    /// Begins to measure.
    ///
    /// # Errors
    /// When a peer was lost.
    pub fn begin(&mut self) -> Result<()> {
        self.0.say("start")?;
        self.0.hear::<Done>().map(|Done {}| ())
    }

    /// What was received since [`NativePeers::begin`].
    ///
    /// # Errors
    /// When a peer was lost.
    pub fn end(&mut self) -> Result<Reception> {
        self.0.say("stop")?;
        self.0.hear()
    }

    /// Of each peer, when the frames came since [`NativePeers::begin`], in order.
    ///
    /// # Errors
    /// When a peer was lost.
    pub fn frames(&mut self) -> Result<Vec<Vec<Came>>> {
        self.0.say("frames")?;
        self.0.hear()
    }

    /// Measures for some time.
    ///
    /// # Errors
    /// When a peer was lost.
    pub fn measure(&mut self, time: Duration) -> Result<Reception> {
        self.begin()?;
        std::thread::sleep(time);
        self.end()
    }

    /// Writes all access units of the first peer to a file.
    ///
    /// # Errors
    /// When a peer was lost, or the file cannot be written.
    pub fn write_units(&mut self, file: &Path) -> Result<()> {
        self.0.say(&format!("units {}", file.display()))?;
        self.0.hear::<serde_json::Value>().map(|_| ())
    }

    /// Lets all leave.
    ///
    /// # Errors
    /// When the program fails.
    pub fn finish(self) -> Result<()> {
        self.0.finish()
    }
}
