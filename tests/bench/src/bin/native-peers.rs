//! Native peers in a process of their own, so that what they cost is not counted as the streamer's.
//!
//! Joins, and then obeys lines on standard input, answering each with a line of JSON:
//! `join N` (more peers), `start`, `stop` (a [`bench::reception::Reception`] of what came between), `frames` (when whole frames came
//! since `start`), `units FILE` (appends
//! the access units of the first peer to a file from its next keyframe on, with `--units`). Ends with standard input.

use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use bench::cpu;
use bench::reception::Receiver as Reception;
use clap::Parser;
use common::signal::{ClientMessage, Role};
use native_peer::{Event, Media, Options, Stack, Swarm};

#[derive(Parser)]
struct Args {
    /// The web-server
    #[arg(long)]
    server: SocketAddr,
    /// Id of the streamer
    #[arg(long)]
    streamer: String,
    /// Decrypt, and keep the newest access units of the first peer for `units`
    #[arg(long)]
    units: bool,
    /// By which crate they do WebRTC: rtc or webrtc
    #[arg(long, default_value_t = Stack::Rtc)]
    stack: Stack,
}

/// The WebSockets and the handshakes of so many peers take far less.
const JOIN_DEADLINE: Duration = Duration::from_secs(60);
/// One more peer joins this often at most.
const JOIN_TICK: Duration = Duration::from_millis(2);
/// Commands are looked for this often when nothing arrives.
const COMMAND_TICK: Duration = Duration::from_millis(10);

fn main() -> Result<()> {
    let args = Args::parse();
    let Args { server, streamer, units, stack } = args;
    let media = if units { Media::Units } else { Media::Headers };
    let swarm = Swarm::on(stack, Options { server, streamer, role: Role::Viewer, media })?;
    let (sender, commands) = sync_channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    Program { swarm, units, reception: Reception::default(), cpu_us: 0 }.run(&commands)
}

struct Program {
    swarm: Swarm,
    units: bool,
    reception: Reception,
    cpu_us: u64,
}

impl Program {
    fn run(mut self, commands: &Receiver<String>) -> Result<()> {
        loop {
            match commands.try_recv() {
                Ok(line) => {
                    let answer = self.command(&line)?;
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "{answer}")?;
                    out.flush()?;
                }
                Err(TryRecvError::Empty) => {}
                Err(TryRecvError::Disconnected) => {
                    self.swarm.leave();
                    return Ok(());
                }
            }
            let deadline = Instant::now() + COMMAND_TICK;
            while let Some((peer, event)) = self.swarm.next(deadline)? {
                self.event(peer, event)?;
            }
        }
    }

    fn event(&mut self, peer: usize, event: Event) -> Result<bool> {
        match event {
            Event::Connected => {
                if self.units {
                    // What was sent before the keys were there is lost.
                    self.swarm.tell(peer, &ClientMessage::Keyframe { slot: 0 })?;
                }
                return Ok(true);
            }
            Event::Closed(reason) => bail!("peer {peer}: {reason}"),
            event => self.reception.event(peer, event),
        }
        Ok(false)
    }

    fn command(&mut self, line: &str) -> Result<serde_json::Value> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "join" => self.join(argument.parse().context("how many")?),
            "start" => {
                self.reception.start();
                self.cpu_us = cpu::process_us(std::process::id())?;
                Ok(serde_json::json!({}))
            }
            "stop" => {
                let mut report = self.reception.stop();
                report.cpu_us = cpu::process_us(std::process::id())? - self.cpu_us;
                Ok(serde_json::to_value(report)?)
            }
            "frames" => Ok(serde_json::to_value(self.reception.frames())?),
            "units" => Ok(serde_json::json!({ "units": self.reception.write_units(argument.as_ref())? })),
            _ => bail!("unknown command {line:?}"),
        }
    }

    fn join(&mut self, count: usize) -> Result<serde_json::Value> {
        let begin = Instant::now();
        let mut connected = 0;
        for _ in 0..count {
            self.swarm.join()?;
            // Those that have joined read what they are told meanwhile.
            let deadline = Instant::now() + JOIN_TICK;
            while let Some((peer, event)) = self.swarm.next(deadline)? {
                connected += usize::from(self.event(peer, event)?);
            }
        }
        while connected < count {
            let (peer, event) = self
                .swarm
                .next(begin + JOIN_DEADLINE)?
                .context("not all peers have connected within 60 s")?;
            connected += usize::from(self.event(peer, event)?);
        }
        Ok(serde_json::json!({ "peers": self.swarm.len(), "ms": begin.elapsed().as_secs_f64() * 1000.0 }))
    }
}
