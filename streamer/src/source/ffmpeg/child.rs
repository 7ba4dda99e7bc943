//! A running ffmpeg: its input, its output, and why it ended.
//!
//! ```text
//! a program's output ─┐                        ┌─ pipe ▶ ts, ivf ▶ pictures
//! FLV, IVF of ours ───┴─▶ stdin  ffmpeg  ──────┼─ pipe ▶ ts ▶ sound
//!                                              └─ stderr ▶ last lines
//! ```
//!
//! Like every child ([`crate::process`]) it is in a session of its own and dies with us; it has a small clean environment
//! and no descriptors but these. Dropping [`Child`] kills it, with the program that feeds it.

use std::collections::VecDeque;
use std::io::Write as _;
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use common::spec::redact_urls;
use rustix::pipe::{PipeFlags, pipe_with};
use tokio::net::unix::pipe;
use tokio::sync::oneshot;

use super::arguments::{Action, Carrier, Codecs, Input, Picture, Plan, playlist};
use super::ivf;
use super::secrets::Secrets;
use super::ts::{self, Packet};
use crate::media::Size;
use crate::process::confine::{self, Depth};
use crate::process::{self, exit_text, tree};
use crate::source::live::h264::{self, Obstacle};

/// Bytes read at once: as much as a pipe holds.
const READ: usize = 64 * 1024;
/// Room in the pipes for pictures: a keyframe should fit, so that ffmpeg need not wait for us.
const PIPE_ROOM: usize = 512 * 1024;
/// Most bytes queued for ffmpeg. When it does not keep up, [`Child::write`] refuses more.
const MAX_WAITING: usize = 8 * 1024 * 1024;
/// How much of what a program prints is remembered, in bytes.
const TAIL: usize = 2048;
/// Longest part of it in a reason.
const REASON: usize = 300;
/// How long to wait for the end of a process whose output has ended.
const LAST_WORDS: Duration = Duration::from_secs(1);
/// Time for a program to exit by itself.
const GRACE: Duration = Duration::from_millis(300);
/// The name of the program.
pub(super) const FFMPEG: &str = "ffmpeg";

/// Output of ffmpeg.
#[derive(Debug)]
pub enum Output {
    /// An access unit, Annex B.
    Picture(Packet),
    /// A frame of another codec than H.264.
    Frame(ivf::Format, Packet),
    /// A decoded picture ([`Action::Decode`]).
    Raw(Bytes),
    /// Opus in its MPEG-TS envelope.
    Sound(Packet),
}

/// Why ffmpeg did not start, or has ended. The texts contain no passwords.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum End {
    /// It has read all of its input.
    #[error("there is no more of it")]
    Finished,
    /// The only picture is a cover: the input contains no video.
    #[error("there is no video in it, only a cover")]
    CoverAlone,
    /// Sound was requested, but there is none.
    #[error("there is no sound")]
    NoSound,
    /// It was to be passed through, and has another codec than those expected.
    #[error("it is not of the codec that it was taken for")]
    OtherCodec,
    /// It was to be passed through, and browsers could not show it.
    #[error("browsers cannot show {0}: have it encoded anew, with \"video\": \"h264\"")]
    CannotBeShown(Obstacle),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

/// See the module.
pub struct Child {
    pictures: Option<Stream>,
    sound: Option<Stream>,
    messages: Option<pipe::Receiver>,
    log: Log,
    input: Option<pipe::Sender>,
    waiting: VecDeque<Bytes>,
    waiting_bytes: usize,
    ready: VecDeque<Output>,
    buffer: Vec<u8>,
    /// How the picture is processed, if there is one.
    action: Option<Action>,
    /// Whether sound was requested beside the picture.
    sound_beside: bool,
    exit: Option<oneshot::Receiver<ExitStatus>>,
    secrets: Secrets,
    program: Option<Program>,
    process: process::Child,
}

struct Stream {
    pipe: pipe::Receiver,
    demuxer: Demuxer,
}

/// Parses a pipe's bytes.
enum Demuxer {
    Pictures(ts::Demuxer),
    Frames(ivf::Demuxer),
    Raw(RawPictures),
    Sound(ts::Demuxer),
}

impl Demuxer {
    fn push(&mut self, bytes: &[u8], ready: &mut VecDeque<Output>) -> Result<(), String> {
        match self {
            Self::Pictures(ts) => {
                ts.push(bytes, |packet| ready.push_back(Output::Picture(packet))).map_err(|e| e.to_string())
            }
            Self::Frames(ivf) => ivf
                .push(bytes, |format, packet| ready.push_back(Output::Frame(format, packet)))
                .map_err(|e| e.to_string()),
            Self::Raw(pictures) => {
                pictures.push(bytes, |picture| ready.push_back(Output::Raw(picture)));
                Ok(())
            }
            Self::Sound(ts) => {
                ts.push(bytes, |packet| ready.push_back(Output::Sound(packet))).map_err(|e| e.to_string())
            }
        }
    }
}

/// Decoded pictures, one after the other.
struct RawPictures {
    /// Bytes of each.
    len: usize,
    pending: BytesMut,
}

impl RawPictures {
    fn of(size: Size) -> Self {
        let luma = size.width as usize * size.height as usize;
        Self { len: luma + luma / 2, pending: BytesMut::new() }
    }

    fn push(&mut self, bytes: &[u8], mut picture: impl FnMut(Bytes)) {
        self.pending.reserve(self.len);
        self.pending.extend_from_slice(bytes);
        while self.pending.len() >= self.len {
            picture(self.pending.split_to(self.len).freeze());
        }
    }
}

/// Where ffmpeg is.
///
/// # Errors
/// [`End::Failed`] when it is not installed.
pub fn find() -> Result<PathBuf, End> {
    process::find_program(FFMPEG, &process::search_path())
        .ok_or_else(|| End::Failed("ffmpeg is not installed: install the package \"ffmpeg\"".into()))
}

/// The input of ffmpeg.
pub enum Reads {
    /// From what the plan's input names.
    Named,
    /// From its standard input, the pieces given to [`Child::write`].
    Ours,
    /// From its standard input, the output of a program.
    Program(Program),
}

impl Child {
    /// Starts ffmpeg. Picture and sound, as asked for, each leave by a pipe.
    ///
    /// # Errors
    /// [`End::Failed`] when there is no ffmpeg, or it cannot be run.
    pub fn start(
        input: Input,
        reads: Reads,
        picture: Option<Picture>,
        sound: bool,
        secrets: Secrets,
    ) -> Result<Self, End> {
        let ffmpeg = find()?;
        let start = || Self::spawn(ffmpeg, input, reads, picture, sound, secrets);
        start().map_err(|error| End::Failed(format!("ffmpeg cannot be run: {error}")))
    }

    fn spawn(
        ffmpeg: PathBuf,
        input: Input,
        reads: Reads,
        picture: Option<Picture>,
        sound: bool,
        secrets: Secrets,
    ) -> std::io::Result<Self> {
        let (messages, stderr) = receiver()?;
        let (outputs, plan, stdout) = Outputs::open(&input, picture, sound)?;
        let mut command = confine::command(&ffmpeg, None, Depth::Processes);
        command.args(plan.arguments()).stdout(stdout).stderr(stderr);
        clean(&mut command);
        let mut writer = None;
        let mut program = None;
        match (reads, input) {
            (Reads::Named, Input::Secret(url)) => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                // A URL is far shorter than what a pipe holds.
                std::fs::File::from(write).write_all(playlist(&url).as_bytes())?;
                command.stdin(read);
            }
            (Reads::Named, _) => {
                command.stdin(Stdio::null());
            }
            (Reads::Ours, _) => {
                let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
                command.stdin(read);
                writer = Some(pipe::Sender::from_owned_fd(write)?);
            }
            (Reads::Program(mut started), _) => {
                command.stdin(started.output.take().map_or_else(Stdio::null, Stdio::from));
                program = Some(started);
            }
        }
        let Outputs { pictures, sound, keep } = outputs;
        let sound_beside = pictures.is_some() && sound.is_some();
        let (process, exit) = spawn(FFMPEG, command, Depth::Processes, keep)?;
        Ok(Self {
            pictures,
            sound,
            messages: Some(messages),
            log: Log::default(),
            input: writer,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            ready: VecDeque::new(),
            buffer: vec![0; READ],
            action: picture.map(|picture| picture.action),
            sound_beside,
            exit: Some(exit),
            secrets,
            program,
            process,
        })
    }

    /// Queues input, if there is room; [`Child::next`] writes it. False when ffmpeg does not keep up.
    pub fn write(&mut self, piece: Bytes) -> bool {
        if self.waiting_bytes + piece.len() > MAX_WAITING {
            return false;
        }
        self.waiting_bytes += piece.len();
        self.waiting.push_back(piece);
        true
    }

    /// The next output. Cancel safe.
    ///
    /// # Errors
    /// [`End`] when it has ended.
    pub async fn next(&mut self) -> Result<Output, End> {
        loop {
            if let Some(output) = self.ready.pop_front() {
                return Ok(output);
            }
            if self.log.cover_alone {
                return Err(End::CoverAlone);
            }
            if self.pictures.is_none() && self.sound.is_none() {
                return Err(self.ended().await);
            }
            tokio::select! {
                biased;
                () = readable(self.pictures.as_ref().map(|stream| &stream.pipe)) => {
                    let read = read(&mut self.pictures, &mut self.buffer, &mut self.ready);
                    if let Err(end) = read {
                        // Its messages came first, and say more than what could not be read.
                        self.read_description();
                        return Err(if self.log.cover_alone { End::CoverAlone } else { end });
                    }
                }
                () = readable(self.sound.as_ref().map(|stream| &stream.pipe)) => {
                    let read = read(&mut self.sound, &mut self.buffer, &mut self.ready);
                    // A picture instead of sound may be far too large.
                    read.map_err(|end| if self.sound_beside { End::NoSound } else { end })?;
                }
                () = readable(self.messages.as_ref()) => read_messages(&mut self.messages, &mut self.log),
                () = readable(self.program.as_ref().and_then(|program| program.messages.as_ref())) => {
                    if let Some(program) = &mut self.program {
                        read_messages(&mut program.messages, &mut program.tail);
                    }
                }
                () = writable(self.input.as_ref().filter(|_| !self.waiting.is_empty())) => self.write_waiting(),
            }
        }
    }

    /// Reads its messages about input and output, all of which come before its first output.
    pub fn read_description(&mut self) {
        read_messages(&mut self.messages, &mut self.log);
    }

    /// Properties of passed-through pictures that the container declares, and that browsers would not see.
    pub fn obstacle(&self) -> Option<Obstacle> {
        self.log.obstacle
    }

    /// Whether its messages tell that it passes through another codec than H.264.
    pub fn is_other_codec(&self) -> bool {
        self.log.other_codec
    }

    /// Whether sound was requested beside the picture, and there is none.
    pub fn is_soundless(&self) -> bool {
        self.log.soundless
    }

    fn write_waiting(&mut self) {
        let Some(input) = &self.input else { return };
        while let Some(piece) = self.waiting.front_mut() {
            match input.try_write(piece) {
                Ok(written) => {
                    self.waiting_bytes -= written;
                    bytes::Buf::advance(piece, written);
                    if piece.is_empty() {
                        self.waiting.pop_front();
                    }
                }
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => return,
                // It reads no more; its outputs tell why.
                Err(_) => return self.input = None,
            }
        }
    }

    /// Why it ended, once its outputs have.
    async fn ended(&mut self) -> End {
        let status = last_words(&mut self.messages, &mut self.log, self.exit.take()).await;
        self.log.finish();
        // Its outputs may end before this message is read.
        if self.log.cover_alone {
            return End::CoverAlone;
        }
        let tail = &self.log.tail;
        let said = tail.last_line();
        if said.contains("does not contain any stream") {
            // Outputs are numbered in the order of the command line: pictures first.
            return match self.action {
                Some(_) if said.contains("#0") => End::Failed("ffmpeg: there is no video in it".into()),
                _ => End::NoSound,
            };
        }
        let said = self.secrets.clean(&said);
        let refused = |message: &str| tail.text().contains(message);
        // There is none that can be used.
        if self.sound_beside && (refused("output file #1") || refused("output stream 1:")) {
            return End::NoSound;
        }
        match self.action {
            Some(Action::Copy(Codecs::H264)) if refused("is not supported by the bitstream filter") => {
                return End::OtherCodec;
            }
            Some(Action::Copy(Codecs::Open)) if refused("Currently only VP8, VP9 and AV1 are supported") => {
                return End::CannotBeShown(Obstacle::Codec);
            }
            _ => {}
        }
        if let Some(program) = &mut self.program
            && let Some(reason) = program.ended().await
        {
            return End::Failed(self.secrets.clean(&reason));
        }
        match status {
            Some(status) if status.success() => End::Finished,
            _ if !said.is_empty() => End::Failed(format!("ffmpeg: {said}")),
            Some(status) => End::Failed(format!("ffmpeg ended ({})", exit_text(status))),
            None => End::Failed("ffmpeg closed its output".into()),
        }
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        self.process.kill();
    }
}

/// The pipes that ffmpeg writes to, and our ends of them.
struct Outputs {
    pictures: Option<Stream>,
    sound: Option<Stream>,
    /// A pipe's end that ffmpeg inherits.
    keep: Option<OwnedFd>,
}

impl Outputs {
    /// With the plan that has them in it, and standard output.
    fn open(input: &Input, picture: Option<Picture>, sound: bool) -> std::io::Result<(Self, Plan, OwnedFd)> {
        let (first, stdout) = receiver()?;
        let mut outputs = Self { pictures: None, sound: None, keep: None };
        let mut plan = Plan { input: input.clone(), picture: None, sound: None };
        let Some(picture) = picture else {
            (plan.sound, outputs.sound) = (Some(1), Some(Stream::sound(first)));
            return Ok((outputs, plan, stdout));
        };
        plan.picture = Some((picture, 1));
        outputs.pictures = Some(Stream::pictures(first, picture.action));
        if sound {
            // By a pipe of its own, that ffmpeg inherits.
            let (second, write) = receiver()?;
            (plan.sound, outputs.sound) = (Some(write.as_raw_fd()), Some(Stream::sound(second)));
            outputs.keep = Some(write);
        }
        Ok((outputs, plan, stdout))
    }
}

impl Stream {
    fn new(pipe: pipe::Receiver, demuxer: Demuxer) -> Self {
        // Fails only where pipes must be smaller; then ffmpeg waits for us more often.
        let _ = rustix::pipe::fcntl_setpipe_size(&pipe, PIPE_ROOM);
        Self { pipe, demuxer }
    }

    fn sound(pipe: pipe::Receiver) -> Self {
        Self::new(pipe, Demuxer::Sound(ts::Demuxer::default()))
    }

    fn pictures(pipe: pipe::Receiver, action: Action) -> Self {
        let demuxer = match action.gives() {
            Carrier::MpegTs => Demuxer::Pictures(ts::Demuxer::default()),
            Carrier::Ivf => Demuxer::Frames(ivf::Demuxer::default()),
            Carrier::Raw(size) => Demuxer::Raw(RawPictures::of(size)),
        };
        Self::new(pipe, demuxer)
    }
}

fn read(stream: &mut Option<Stream>, buffer: &mut [u8], ready: &mut VecDeque<Output>) -> Result<(), End> {
    let Some(Stream { pipe, demuxer }) = stream else { return Ok(()) };
    match pipe.try_read(buffer) {
        Ok(0) => *stream = None,
        Ok(len) => demuxer.push(&buffer[..len], ready).map_err(End::Failed)?,
        Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
        Err(error) => return Err(End::Failed(format!("reading from ffmpeg: {error}"))),
    }
    Ok(())
}

/// A program whose output ffmpeg reads.
pub struct Program {
    process: process::Child,
    output: Option<OwnedFd>,
    exit: Option<oneshot::Receiver<ExitStatus>>,
    messages: Option<pipe::Receiver>,
    tail: Tail,
}

impl Program {
    /// Starts it.
    ///
    /// # Errors
    /// [`End::Failed`] when there is no such program, or it cannot be run.
    pub fn start(argv: &[String]) -> Result<Self, End> {
        let (name, arguments) =
            argv.split_first().ok_or_else(|| End::Failed("the command names no program".into()))?;
        let failed = |why: String| End::Failed(format!("{name:?} {why}"));
        let program = process::find_program(name, &process::search_path())
            .ok_or_else(|| failed("is not a program that can be run".into()))?;
        let mut command = confine::command(&program, None, Depth::Network);
        command.args(arguments).stdin(Stdio::null());
        clean(&mut command);
        let start = || {
            let (messages, stderr) = receiver()?;
            let (output, stdout) = pipe_with(PipeFlags::CLOEXEC)?;
            command.stdout(stdout).stderr(stderr);
            let (process, exit) = spawn("exec", command, Depth::Network, None)?;
            Ok(Self {
                process,
                output: Some(output),
                exit: Some(exit),
                messages: Some(messages),
                tail: Tail::default(),
            })
        };
        start().map_err(|error: std::io::Error| failed(format!("cannot be run: {error}")))
    }

    /// Waits until it has written `len` bytes, or has ended, and peeks at them. They stay in the pipe.
    ///
    /// # Errors
    /// [`End::Failed`] when it ended without writing anything.
    pub async fn peek(&mut self, len: usize) -> Result<Vec<u8>, End> {
        let failed = |error: std::io::Error| End::Failed(format!("reading from the program: {error}"));
        let Some(output) = self.output.take() else { return Ok(Vec::new()) };
        let output = pipe::Receiver::from_owned_fd(output).map_err(failed)?;
        output.readable().await.map_err(failed)?;
        let sample = sample(&output, len).map_err(failed)?;
        // ffmpeg must block when there is nothing to read.
        self.output = Some(output.into_blocking_fd().map_err(failed)?);
        if sample.is_empty() {
            let reason = self.ended().await;
            return Err(End::Failed(
                reason.unwrap_or_else(|| "the program ended without writing anything".into()),
            ));
        }
        Ok(sample)
    }

    /// Why it ended, if it ended with an error.
    async fn ended(&mut self) -> Option<String> {
        let status = last_words(&mut self.messages, &mut self.tail, self.exit.take()).await?;
        if status.success() {
            return None;
        }
        // A command line may contain addresses, too.
        let said = redact_urls(&self.tail.last_line());
        let said = if said.is_empty() { String::new() } else { format!(": {said}") };
        Some(format!("the program ended ({}){said}", exit_text(status)))
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let root = self.process.exited().is_none().then(|| self.process.pid());
        if root.is_some() {
            tree::end(tree::Target { root, mark: None }, GRACE);
        }
    }
}

fn read_messages(messages: &mut Option<pipe::Receiver>, into: &mut impl Messages) {
    if messages.as_ref().is_some_and(|messages| !read_all(messages, into)) {
        *messages = None;
    }
}

/// Reads what is available. False at the end.
fn read_all(pipe: &pipe::Receiver, into: &mut impl Messages) -> bool {
    let mut buffer = [0; 1024];
    loop {
        match pipe.try_read(&mut buffer) {
            Ok(0) => return false,
            Ok(len) => into.push(&buffer[..len]),
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

/// Reads a process's messages until it has ended, and how it ended; waits for both for a bounded time.
async fn last_words(
    messages: &mut Option<pipe::Receiver>,
    into: &mut impl Messages,
    exit: Option<oneshot::Receiver<ExitStatus>>,
) -> Option<ExitStatus> {
    let status = tokio::time::timeout(LAST_WORDS, exit?).await.ok()?.ok();
    // Processes that it left behind may hold its end open, so only what has been written is read.
    read_messages(messages, into);
    status
}

/// The first bytes in a pipe, which stay in it.
fn sample(pipe: &pipe::Receiver, len: usize) -> std::io::Result<Vec<u8>> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    let len = rustix::pipe::tee(pipe, &write, len, rustix::pipe::SpliceFlags::NONBLOCK)?;
    drop(write);
    let mut sample = vec![0; len];
    let len = rustix::io::read(&read, &mut sample[..])?;
    sample.truncate(len);
    Ok(sample)
}

/// A pipe whose reading end is ours.
fn receiver() -> std::io::Result<(pipe::Receiver, OwnedFd)> {
    let (read, write) = pipe_with(PipeFlags::CLOEXEC)?;
    Ok((pipe::Receiver::from_owned_fd(read)?, write))
}

/// The environment of every child.
pub(super) fn clean(command: &mut Command) {
    let home = std::env::var_os("HOME").unwrap_or_else(|| "/".into());
    command.env_clear().env("PATH", process::search_path()).env("HOME", home).env("LANG", "C.UTF-8");
}

type Spawned = (process::Child, oneshot::Receiver<ExitStatus>);

fn spawn(name: &str, command: Command, depth: Depth, keep: Option<OwnedFd>) -> std::io::Result<Spawned> {
    let (told, exit) = oneshot::channel();
    let process = process::spawn_confined(name, command, depth, keep, move |status| {
        // Fails when nobody waits any more.
        let _ = told.send(status);
    })?;
    Ok((process, exit))
}

/// Waits until the pipe is readable or has ended; for ever without a pipe.
async fn readable(pipe: Option<&pipe::Receiver>) {
    match pipe {
        // An error shows when it is read from.
        Some(pipe) => drop(pipe.readable().await),
        None => std::future::pending().await,
    }
}

async fn writable(pipe: Option<&pipe::Sender>) {
    match pipe {
        Some(pipe) => drop(pipe.writable().await),
        None => std::future::pending().await,
    }
}

/// Collects the messages of a program.
trait Messages {
    fn push(&mut self, bytes: &[u8]);
}

/// The messages of an ffmpeg that prefixes them with levels.
#[derive(Debug, Default)]
struct Log {
    /// The last errors, without levels.
    tail: Tail,
    /// The unfinished line, as far as it is kept.
    line: Vec<u8>,
    section: Section,
    obstacle: Option<Obstacle>,
    /// It passes through another codec than H.264.
    other_codec: bool,
    /// It writes a picture instead of sound ([`Plan`]).
    soundless: bool,
    /// The picture is the cover of a sound file.
    cover_alone: bool,
    /// Covers among the inputs' streams, as in `#0:1`.
    covers: Vec<String>,
}

/// Covers that are remembered; no file has as many.
const MOST_COVERS: usize = 64;

/// The section of the description that it is in.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Section {
    /// The inputs.
    #[default]
    Inputs,
    /// Streams that are passed through. Encoded ones come last.
    Outputs,
    /// The mapping of streams.
    Mapping,
}

impl Log {
    fn line_ended(&mut self) {
        let line = String::from_utf8_lossy(&self.line).into_owned();
        self.line.clear();
        // Levels are in brackets, after the component, which is in brackets of its own.
        let mut levels = ["info", "warning", "verbose", "error", "fatal", "panic"].into_iter();
        let level = levels.find(|level| line.contains(&format!("[{level}] ")));
        match level {
            Some("info") => self.described(&line),
            Some("warning" | "verbose") => {}
            Some(level) => {
                self.tail.push(line.replacen(&format!("[{level}] "), "", 1).as_bytes());
                self.tail.push(b"\n");
            }
            None => {
                self.tail.push(line.as_bytes());
                self.tail.push(b"\n");
            }
        }
    }

    fn described(&mut self, line: &str) {
        match self.section {
            _ if line.contains("Stream mapping:") => self.section = Section::Mapping,
            Section::Inputs if line.contains("Output #") => self.section = Section::Outputs,
            _ => {}
        }
        let picture = self.section != Section::Inputs && line.contains("Stream #0:0");
        self.cover_alone |= picture && line.contains("(attached pic)");
        // Where the output cannot be begun, it is not described; which stream it was to be made of is told all the same.
        match line.split_once("Stream #").and_then(|(_, stream)| stream.split_once([' ', '[', '('])) {
            Some((stream, _))
                if self.section == Section::Inputs
                    && line.contains("(attached pic)")
                    && self.covers.len() < MOST_COVERS =>
            {
                self.covers.push(stream.trim_end_matches(':').to_owned());
            }
            Some((stream, to)) if self.section == Section::Mapping && to.contains("-> #0:0 ") => {
                self.cover_alone |= self.covers.iter().any(|cover| cover == stream);
            }
            _ => {}
        }
        self.soundless |= self.section == Section::Mapping && line.contains("-> #1:0 (copy)");
        if self.section == Section::Outputs {
            let codec = line.split_once("Stream #0:0").and_then(|(_, stream)| stream.split_once("Video: "));
            self.other_codec |= codec.is_some_and(|(_, codec)| !codec.starts_with("h264"));
            let turned =
                number_behind(line, "displaymatrix: rotation of ").is_some_and(|angle| angle.abs() >= 1.0);
            self.obstacle = self
                .obstacle
                .or(turned.then_some(Obstacle::Rotated))
                .or(stretched(line).then_some(Obstacle::Pixels));
        }
    }

    /// Takes the end of the messages.
    fn finish(&mut self) {
        if !self.line.is_empty() {
            self.line_ended();
        }
    }
}

impl Messages for Log {
    fn push(&mut self, bytes: &[u8]) {
        for &byte in bytes {
            match byte {
                b'\n' | b'\r' => self.line_ended(),
                // The end of a longer line does not matter.
                _ if self.line.len() < TAIL => self.line.push(byte),
                _ => {}
            }
        }
    }
}

/// A line about a video, with `SAR 64:45`.
fn stretched(line: &str) -> bool {
    let sides = line.split_once("Video: ").and_then(|(_, video)| video.split_once("SAR "));
    let sides = sides.and_then(|(_, ratio)| ratio.split([' ', ']', ',']).next()?.split_once(':'));
    let sides = sides.and_then(|(width, height)| width.parse().ok().zip(height.parse().ok()));
    // 0:1 means unknown.
    sides.is_some_and(|(width, height)| width > 0 && height > 0 && !h264::square(width, height))
}

fn number_behind(line: &str, words: &str) -> Option<f64> {
    line.split_once(words)?.1.split_whitespace().next()?.parse().ok()
}

/// The last output of a program.
#[derive(Debug, Default)]
struct Tail(VecDeque<u8>);

impl Messages for Tail {
    fn push(&mut self, bytes: &[u8]) {
        self.0.extend(bytes);
        let over = self.0.len().saturating_sub(TAIL);
        self.0.drain(..over);
    }
}

impl Tail {
    fn text(&self) -> String {
        let bytes: Vec<u8> = self.0.iter().copied().collect();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    fn last_line(&self) -> String {
        let text = self.text();
        let line = text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or_default();
        line.chars().filter(|c| !c.is_control()).take(REASON).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_line_is_remembered_however_much_is_printed() {
        let mut tail = Tail::default();
        for n in 0..1000 {
            tail.push(format!("line {n}\n").as_bytes());
        }
        tail.push(b"the \x1b[31mend\n\n");
        assert_eq!(tail.last_line(), "the [31mend");
        assert!(tail.0.len() <= TAIL);
        assert_eq!(Tail::default().last_line(), "");
    }

    #[test]
    fn only_what_is_grave_is_remembered_without_its_level() {
        let mut log = Log::default();
        log.push(b"[info] Input #0\n[http @ 0x55] [error] HTTP error 404\n[warning] no\n[fatal] x.mp4: gone");
        log.finish();
        assert_eq!(log.tail.text(), "[http @ 0x55] HTTP error 404\nx.mp4: gone\n");
    }

    /// As ffmpeg 5.1 describes what it reads, and then what it writes.
    fn described(read: &str, written: &str) -> Option<Obstacle> {
        let mut log = Log::default();
        let text = format!(
            "[info] Input #0, mov, from 'x':\n{read}[info] Output #0, mpegts, to 'pipe:1':\n{written}[info] Stream mapping:\n[info]   Video: SAR 2:1\n"
        );
        log.push(text.as_bytes());
        log.obstacle
    }

    #[test]
    fn the_codec_of_what_is_passed_on_is_known() {
        for (codec, other) in
            [("h264 (High) (avc1 / 0x31637661), yuv420p", false), ("vp8 (VP80 / 0x30385056), yuv420p", true)]
        {
            let mut log = Log::default();
            log.push(format!("[info] Input #0\n[info]   Stream #0:0: Video: mjpeg\n[info] Output #0\n[info]   Stream #0:0(und): Video: {codec}\n").as_bytes());
            assert_eq!(log.other_codec, other);
        }
    }

    #[test]
    fn a_picture_in_the_place_of_sound_is_known() {
        for (second, soundless) in
            [("#0:0 -> #1:0 (copy)", true), ("#0:1 -> #1:0 (aac (native) -> opus (libopus))", false)]
        {
            let mut log = Log::default();
            log.push(b"[info] Stream mapping:\n[info]   Stream #0:0 -> #0:0 (copy)\n");
            assert!(!log.soundless);
            log.push(format!("[info]   Stream {second}\n").as_bytes());
            assert_eq!(log.soundless, soundless);
        }
    }

    #[test]
    fn a_cover_without_a_film_is_known_whether_it_is_encoded_or_passed_on() {
        let input = "[info] Input #0\n[info]   Stream #0:1: Video: png, 64x64 (attached pic)\n";
        let mapping = "[info] Stream mapping:\n[info]   Stream #0:1 -> #0:0 (png -> h264)\n";
        let output = "[info] Output #0\n";
        let picture = |more| format!("[info]   Stream #0:0: Video: h264, 64x64{more}\n");
        let seen = |text: String| {
            let mut log = Log::default();
            log.push(text.as_bytes());
            log.cover_alone
        };
        assert!(seen(format!("{input}{mapping}{output}{}", picture(" (attached pic)"))));
        assert!(seen(format!("{input}{output}{}{mapping}", picture(" (attached pic)"))));
        // The output cannot be begun, and is not described.
        let copied = "[info] Stream mapping:\n[info]   Stream #0:1 -> #0:0 (copy)\n";
        assert!(seen(format!("{input}[error] Could not write header\n{copied}")));
        let film = "[info]   Stream #0:0: Video: h264, 64x64\n";
        let of_film = "[info] Stream mapping:\n[info]   Stream #0:0 -> #0:0 (copy)\n";
        assert!(!seen(format!("{input}{film}{of_film}{output}{}", picture(" (default)"))));
    }

    #[test]
    fn what_a_container_says_of_what_is_passed_on_is_known() {
        let video = |more: &str| {
            format!("[info]   Stream #0:0(und): Video: h264 (High), yuv420p, 720x576{more}, 10 fps\n")
        };
        let square = video(" [SAR 1:1 DAR 5:4]");
        let stretched = video(" [SAR 64:45 DAR 16:9]");
        let turned = format!(
            "{square}[info]     Side data:\n[info]       displaymatrix: rotation of -90.00 degrees\n"
        );
        assert_eq!(described(&square, &square), None);
        assert_eq!(described(&stretched, &square), None, "another one is written");
        assert_eq!(described(&square, &stretched), Some(Obstacle::Pixels));
        assert_eq!(described(&square, &video(", SAR 427:320 DAR 427:180")), Some(Obstacle::Pixels));
        assert_eq!(described(&square, &turned), Some(Obstacle::Rotated));
        assert_eq!(described("", &turned.replace("-90", "-0")), None);
        assert_eq!(described("", &video(" [SAR 0:1 DAR 0:1]")), None);
    }
}
