//! Native peers in a process of their own, so that what they cost is not counted as the streamer's.
//!
//! Joins, and then obeys lines on standard input, answering each with a line of JSON:
//! `join N` (more peers), `publish N PIECES` (the first N publish cameras of 30 pictures a second in so many packets each, until the
//! end), `sent` (when the first of them sent its pictures since `start`), `start`, `stop` (a [`bench::reception::Reception`] of what came between), `frames` (when whole frames came
//! since `start`), `units FILE` (appends
//! the access units of the first peer to a file from its next keyframe on, with `--units`). Ends with standard input.

use std::collections::BTreeMap;
use std::io::{BufRead, Write};
use std::net::SocketAddr;
use std::sync::mpsc::{Receiver, TryRecvError, sync_channel};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail, ensure};
use bench::cpu;
use bench::janus::{self, Client};
use bench::reception::Receiver as Reception;
use clap::Parser;
use common::signal::{ClientMessage, PublishKind, Role, ServerMessage};
use native_peer::camera::{Camera, Place, places};
use native_peer::stack::Purpose;
use native_peer::{Event, Media, Options, Stack, Swarm};

#[derive(Parser)]
struct Args {
    /// The web-server
    #[arg(long, required_unless_present = "janus")]
    server: Option<SocketAddr>,
    /// Id of the streamer
    #[arg(long, required_unless_present = "janus")]
    streamer: Option<String>,
    /// Peers of Janus instead; `publish` comes before `join` then, and has one camera
    #[arg(long, conflicts_with_all = ["server", "streamer", "units", "controllers"])]
    janus: bool,
    /// Decrypt, and keep the newest access units of the first peer for `units`
    #[arg(long)]
    units: bool,
    /// Join as controllers, who may publish in a room
    #[arg(long)]
    controllers: bool,
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
/// From one picture of a camera to the next.
const PICTURE: Duration = Duration::from_nanos(33_333_333);
/// The header extension of a publisher at Janus that names the section.
const MID_EXTENSION: u8 = 1;
/// The stream of the first camera; those of others follow.
const FIRST_SSRC: u32 = 1000;

fn main() -> Result<()> {
    let args = Args::parse();
    let Args { server, streamer, janus, units, controllers, stack } = args;
    let janus = janus.then(Client::connect).transpose()?;
    // Of Janus' peers neither is used.
    let server = server.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 0)));
    let streamer = streamer.unwrap_or_default();
    let role = if controllers { Role::Controller } else { Role::Viewer };
    let media = if units { Media::Units } else { Media::Headers };
    let mut swarm = Swarm::on(stack, Options { server, streamer, role, media })?;
    if janus.is_some() {
        swarm.connect_from(janus::ADDRESS.into());
    }
    let (sender, commands) = sync_channel(4);
    std::thread::spawn(move || {
        for line in std::io::stdin().lock().lines().map_while(Result::ok) {
            if sender.send(line).is_err() {
                break;
            }
        }
    });
    let program = Program {
        swarm,
        janus,
        units,
        reception: Reception::default(),
        cpu_us: 0,
        offers: BTreeMap::new(),
        cameras: BTreeMap::new(),
        published: 0,
        next_picture: Instant::now(),
        sent_us: Vec::new(),
    };
    program.run(&commands)
}

struct Program {
    swarm: Swarm,
    janus: Option<Client>,
    units: bool,
    reception: Reception,
    cpu_us: u64,
    /// The last of each peer.
    offers: BTreeMap<usize, String>,
    /// Each with whether its next picture is a keyframe.
    cameras: BTreeMap<usize, (Camera, bool)>,
    published: usize,
    next_picture: Instant,
    /// When the first camera sent its pictures, microseconds since 1970.
    sent_us: Vec<u64>,
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
            self.pass(Instant::now() + COMMAND_TICK)?;
        }
    }

    /// Takes what comes and sends what is due until then; how many peers have connected meanwhile.
    fn pass(&mut self, deadline: Instant) -> Result<usize> {
        let mut connected = 0;
        loop {
            let now = Instant::now();
            if !self.cameras.is_empty() && now >= self.next_picture {
                // What could not be sent in time is not made up for: a burst is no camera.
                self.next_picture = (self.next_picture + PICTURE).max(now);
                self.send_pictures();
            }
            let until = if self.cameras.is_empty() { deadline } else { deadline.min(self.next_picture) };
            match self.swarm.next(until)? {
                Some((peer, event)) => connected += usize::from(self.event(peer, event)?),
                None if Instant::now() >= deadline => return Ok(connected),
                None => {}
            }
        }
    }

    fn send_pictures(&mut self) {
        for (peer, (camera, keyframe)) in &mut self.cameras {
            let packets = camera.picture(std::mem::take(keyframe));
            self.swarm.send_rtp(*peer, &packets);
            if *peer == 0 {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
                self.sent_us.push(since.as_micros() as u64);
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
            Event::Signal(ServerMessage::Offer { sdp, .. }) => drop(self.offers.insert(peer, sdp)),
            Event::Signal(ServerMessage::Published { .. }) => self.published += 1,
            Event::Pli { .. } => {
                if let Some((_, keyframe)) = self.cameras.get_mut(&peer) {
                    *keyframe = true;
                }
            }
            Event::Nack { sequences, .. } => {
                if let Some((camera, _)) = self.cameras.get(&peer) {
                    self.swarm.send_rtp(peer, &camera.again(&sequences));
                }
            }
            event => self.reception.event(peer, event),
        }
        Ok(false)
    }

    fn command(&mut self, line: &str) -> Result<serde_json::Value> {
        let (verb, argument) = line.split_once(' ').unwrap_or((line, ""));
        match verb {
            "join" => self.join(argument.parse().context("how many")?),
            "publish" => {
                let (count, pieces) =
                    argument.split_once(' ').context("how many, and of how many packets")?;
                self.publish(count.parse()?, pieces.parse()?)
            }
            "sent" => Ok(serde_json::to_value(&self.sent_us)?),
            "start" => {
                self.reception.start();
                self.sent_us.clear();
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
            match &self.janus {
                None => self.swarm.join()?,
                Some(janus) => {
                    let mut endpoint = self.swarm.open(Purpose::Viewer)?;
                    let reception = &mut self.reception;
                    janus.watch(|offer| {
                        reception.expect(first_format(&offer).context("no video is offered")?);
                        Ok(endpoint.answer(offer)?)
                    })?;
                    self.swarm.adopt(endpoint)?
                }
            };
            // Those that have joined read what they are told meanwhile.
            connected += self.pass(Instant::now() + JOIN_TICK)?;
        }
        self.connect(count - connected)?;
        Ok(serde_json::json!({ "peers": self.swarm.len(), "ms": begin.elapsed().as_secs_f64() * 1000.0 }))
    }

    /// Waits until so many more have connected.
    fn connect(&mut self, count: usize) -> Result<()> {
        let begin = Instant::now();
        let mut connected = 0;
        while connected < count {
            ensure!(begin.elapsed() < JOIN_DEADLINE, "not all peers have connected within {JOIN_DEADLINE:?}");
            connected += self.pass(Instant::now() + JOIN_TICK)?;
        }
        Ok(())
    }

    /// The publisher of Janus joins.
    fn publish_at(&mut self, pieces: usize) -> Result<serde_json::Value> {
        let janus = self.janus.as_ref().context("--janus")?;
        let mut endpoint = self.swarm.open(Purpose::Player)?;
        let answer = janus.publish(&publishing(&endpoint.offer(false)?, &endpoint.candidates()))?;
        endpoint.accept(answer)?;
        let peer = self.swarm.adopt(endpoint)?;
        self.connect(1)?;
        let place = Place { mid: "0".to_owned(), mid_extension: MID_EXTENSION, rid_extension: None };
        self.cameras.insert(peer, (Camera::with_pieces(place, FIRST_SSRC, pieces), true));
        Ok(serde_json::json!({}))
    }

    fn publish(&mut self, count: usize, pieces: usize) -> Result<serde_json::Value> {
        if self.janus.is_some() {
            ensure!(count == 1, "Janus has one camera");
            return self.publish_at(pieces);
        }
        for peer in 0..count {
            let offer = self.offers.get(&peer).with_context(|| format!("peer {peer} has no offer"))?;
            let place = places(offer).into_iter().next().context("nothing may be sent (--controllers)")?;
            let camera = Camera::with_pieces(place, FIRST_SSRC + peer as u32, pieces);
            self.cameras.insert(peer, (camera, true));
            let name = Some(format!("Peer {peer}"));
            self.swarm.tell(peer, &ClientMessage::Publish { kind: PublishKind::Camera, name })?;
        }
        let begin = Instant::now();
        while self.published < count {
            ensure!(begin.elapsed() < JOIN_DEADLINE, "{} of {count} cameras are published", self.published);
            self.pass(Instant::now() + JOIN_TICK)?;
        }
        Ok(serde_json::json!({}))
    }
}

/// An offer to receive as one to send: video first, with its stream and the extension that names its section.
fn publishing(offer: &str, candidates: &[String]) -> String {
    let mut sections = offer.split_inclusive("\r\n").fold(vec![String::new()], |mut sections, line| {
        if line.starts_with("m=") {
            sections.push(String::new());
        }
        sections.last_mut().expect("there is one from the beginning").push_str(line);
        sections
    });
    for section in sections.iter_mut().filter(|section| section.starts_with("m=video")) {
        *section = section.replace("a=recvonly", "a=sendonly");
        section.push_str(&format!("a=ssrc:{FIRST_SSRC} cname:bench\r\n"));
        section.push_str(&format!("a=extmap:{MID_EXTENSION} urn:ietf:params:rtp-hdrext:sdes:mid\r\n"));
        section.extend(candidates.iter().map(|candidate| format!("a={candidate}\r\n")));
        section.push_str("a=end-of-candidates\r\n");
    }
    sections.concat()
}

/// The payload type that an offer of one video prefers.
fn first_format(offer: &str) -> Option<u8> {
    let line = offer.lines().find_map(|line| line.strip_prefix("m=video "))?;
    line.split_whitespace().nth(2)?.parse().ok()
}
