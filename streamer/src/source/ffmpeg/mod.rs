//! What ffmpeg can read, and what it encodes anew: URLs, files, the output of programs, and other streams of the same
//! streamer. ffmpeg is Debian's, as a child process.
//!
//! ```text
//! URL, file ────────────────────────┐
//! program ──pipe────────────────────┼──▶ Child (ffmpeg) ──▶ Reader ──▶ Publisher
//! another stream ── Tap ── FLV, IVF ┘
//! ```
//!
//! When it ends, for whatever reason, it is started again after a while; only a file has an end. A variant of another
//! stream reads that stream's feed, so that no camera is connected to twice; it has no sound of its own, as the sound of that
//! stream goes with it. A program without sound should be said to have none (`audio: false`): else it is started twice,
//! as only its first ffmpeg finds out.
//!
//! Remote inputs may be fetched by RTSP, HTTP, HLS and the protocols below them, and may not name files of this
//! machine; files may name other files. A URL with a password is told to ffmpeg by a pipe.

pub mod arguments;
pub mod child;
pub mod flv;
pub mod ivf;
pub mod read;
pub mod secrets;
pub mod still;
mod tapped;
pub mod transcode;
pub mod ts;

use std::time::{Duration, Instant};

use common::spec::{ExecSpec, FfmpegSpec, SecretUrl, VideoMode};

use self::arguments::{Action, Codecs, Container, Encoder, Input, Picture};
use self::child::{Child, End, Feed, Output, Program};
use self::read::Reader;
use self::secrets::Secrets;
use super::live::{Live, Publisher};
use super::{Ended, Error, Outlets};
use crate::feed::Tap;

/// What gives nothing for so long is started again.
const STALLED: Duration = Duration::from_secs(10);
/// A camera or a program may take its time to begin.
const FIRST: Duration = Duration::from_secs(30);

/// Starts a source of `type` `ffmpeg`, of `upstream` if it is a variant of another stream.
///
/// # Errors
/// [`Error`] when the system has no more threads. That there is nothing to read is told by events.
pub fn start(spec: &FfmpegSpec, upstream: Option<Tap>, outlets: Outlets) -> Result<Live, Error> {
    let picture = Picture {
        action: Action::of(spec.video),
        height: spec.height,
        interlaced: false,
        bitrate_kbps: spec.bitrate_kbps,
        known: None,
    };
    match upstream {
        Some(tap) => Live::start("ffmpeg", outlets, move |publisher| tapped::run(tap, picture, publisher)),
        None => {
            let input = Input::of(&spec.input, spec.repeat);
            let from = From::Named { input, secrets: Secrets::of(&spec.input) };
            let job = Job { from, picture, sound: spec.audio, adapts: false };
            Live::start("ffmpeg", outlets, move |publisher| job.run(publisher))
        }
    }
}

/// Starts a camera that only ffmpeg can speak to. Its pictures are passed on as they are if browsers can show them.
///
/// # Errors
/// As [`start`].
pub fn start_camera(url: &SecretUrl, sound: bool, outlets: Outlets) -> Result<Live, Error> {
    let url = url.clone();
    Live::start("rtsp", outlets, move |publisher| async move { run_camera(&url, sound, publisher).await })
}

/// The same, on a thread that there is already. Runs for as long as the camera is wanted.
pub async fn run_camera(url: &SecretUrl, sound: bool, publisher: Publisher) {
    let from = From::Named { input: Input::of(url, false), secrets: Secrets::of(url) };
    Job { from, picture: unscaled(VideoMode::Copy), sound, adapts: true }.run(publisher).await;
}

fn unscaled(mode: VideoMode) -> Picture {
    Picture { action: Action::of(mode), height: None, interlaced: false, bitrate_kbps: None, known: None }
}

/// Starts a source of `type` `exec`.
///
/// # Errors
/// [`Error`] when the system has no more threads. That the program gives nothing is told by events.
pub fn start_program(spec: &ExecSpec, outlets: Outlets) -> Result<Live, Error> {
    let picture = unscaled(spec.video);
    let job = Job { from: From::Program(spec.command.argv()), picture, sound: spec.audio, adapts: false };
    Live::start("exec", outlets, move |publisher| job.run(publisher))
}

struct Job {
    from: From,
    picture: Picture,
    /// Take the sound, unless there is none.
    sound: bool,
    /// Encode the picture anew if it cannot be shown as it is.
    adapts: bool,
}

enum From {
    Named { input: Input, secrets: Secrets },
    Program(Vec<String>),
}

impl Job {
    async fn run(mut self, mut publisher: Publisher) {
        loop {
            let end = match self.attempt(&mut publisher).await {
                Ok(never) => match never {},
                Err(end) => end,
            };
            match (end, &self.from) {
                (End::NoSound, _) if self.sound => self.sound = false,
                (End::OtherCodec, _) => self.picture.action = Action::Copy(Codecs::Open),
                (End::CannotBeShown(_), _) if self.adapts => {
                    self.picture.action = Action::Encode(Encoder::H264);
                }
                (End::Finished, From::Named { input: Input::File(..), .. }) => {
                    return publisher.ended(Ended::Finished("the file is at its end".into())).await;
                }
                (end, _) => {
                    let wait = publisher.lost(end.to_string()).await;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    async fn attempt(&self, publisher: &mut Publisher) -> Result<std::convert::Infallible, End> {
        let (mut child, mut reader) = (self.start().await?, Reader::theirs());
        publisher.has_audio(self.sound);
        let mut patience = FIRST;
        loop {
            let output = tokio::time::timeout(patience, child.next());
            let output = output.await.map_err(|_| End::Failed("nothing comes any more".into()))??;
            patience = STALLED;
            let now = Instant::now();
            match output {
                Output::Picture(packet) => {
                    let Some(unit) = reader.picture(&packet, now) else { continue };
                    let obstacle = reader.obstacle();
                    if let Some(obstacle) =
                        obstacle.filter(|_| matches!(self.picture.action, Action::Copy(_)))
                    {
                        return Err(End::CannotBeShown(obstacle));
                    }
                    publisher.video(unit, reader.format()).await;
                }
                Output::Frame(format, packet) => {
                    if let Some(unit) = reader.frame(format, &packet, now) {
                        publisher.video(unit, None).await;
                    }
                }
                Output::Sound(packet) => {
                    reader.sound(&packet, now).into_iter().for_each(|packet| publisher.audio(packet));
                }
            }
        }
    }

    async fn start(&self) -> Result<Child, End> {
        match &self.from {
            From::Named { input, secrets } => {
                Child::start(input.clone(), Feed::Named, Some(self.picture), self.sound, secrets.clone())
            }
            From::Program(argv) => {
                let mut program = Program::start(argv)?;
                let sample = tokio::time::timeout(FIRST, program.peek(Container::SAMPLE)).await;
                let sample = sample.map_err(|_| End::Failed("the program writes nothing".into()))??;
                let input = Input::Program(Container::of(&sample));
                Child::start(
                    input,
                    Feed::Program(program),
                    Some(self.picture),
                    self.sound,
                    Secrets::default(),
                )
            }
        }
    }
}
