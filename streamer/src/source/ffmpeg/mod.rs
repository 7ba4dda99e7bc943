//! Sources that ffmpeg reads or re-encodes: URLs, files, the output of programs, and other streams of the same
//! streamer. ffmpeg is Debian's, as a child process.
//!
//! ```text
//! URL, file ────────────────────────┐
//! program ──pipe────────────────────┼──▶ Child (ffmpeg) ──▶ Reader ──▶ Publisher
//! another stream ── Tap ── FLV, IVF ┘
//! ```
//!
//! When ffmpeg ends, for whatever reason, it is restarted after a pause; only a file has an end. A variant of another
//! stream reads that stream's feed, so that no camera is connected to twice; it has no sound of its own, as the sound of that
//! stream goes with it. ffmpeg reports whether there is sound once it has analysed the input, so that nothing has to be opened
//! twice.
//!
//! Passed-through pictures that browsers cannot show are refused, with the reason. At each retry after that, the source is observed for a
//! while before it is shown: otherwise it would be shown for a moment each time.
//!
//! Remote inputs may be fetched by RTSP, RTMP, SRT, HTTP, HLS and the protocols below them, and may not name files of this
//! machine; files may name other files. A URL with a password is passed to ffmpeg by a pipe.

pub mod arguments;
pub mod child;
pub mod flv;
pub mod ivf;
pub mod read;
pub mod secrets;
pub mod still;
pub mod tapped;
pub mod transcode;
pub mod ts;

use std::time::{Duration, Instant};

use common::slots;
use common::spec::{ExecSpec, FfmpegSpec, SecretUrl, VideoMode};

use self::arguments::{Action, Codecs, Container, Encoder, Input, Picture};
use self::child::{Child, End, Output, Program, Reads};
use self::read::Reader;
use self::secrets::Secrets;
use super::live::{Live, Publisher};
use super::{Ended, Error, Outlets};
use crate::feed::Tap;

/// An ffmpeg without output for this long is restarted.
const STALLED: Duration = Duration::from_secs(10);
/// The same before the first output: a camera or a program may take longer to start.
const FIRST: Duration = Duration::from_secs(30);

/// How long a source that could not be shown is observed before it is: longer than it takes to notice missing keyframes.
const DOUBT: Duration = Duration::from_secs(25);

/// Starts a source of `type` `ffmpeg`, of `upstream` if it is a variant of another stream.
///
/// # Errors
/// [`Error`] when the system has no more threads. Errors of the input are reported as events.
pub fn start(spec: &FfmpegSpec, upstream: Option<Tap>, outlets: Outlets) -> Result<Live, Error> {
    let picture = Picture {
        action: Action::of(spec.video),
        height: spec.height,
        interlaced: false,
        bitrate_kbps: spec.bitrate_kbps,
        known: None,
        hdtv: false,
    };
    match upstream {
        Some(tap) => Live::start("ffmpeg", outlets, still::newest, move |publisher| {
            tapped::run(tap, picture, publisher)
        }),
        None => {
            let input = Input::of(&spec.input, spec.repeat);
            let from = From::Named { input, secrets: Secrets::of(&spec.input) };
            let job = Job::new(from, picture, spec.audio, false);
            Live::start("ffmpeg", outlets, still::newest, move |publisher| job.run(publisher))
        }
    }
}

/// Starts a camera that only ffmpeg can read. Its pictures are passed through if browsers can show them.
///
/// # Errors
/// As [`start`].
pub fn start_camera(url: &SecretUrl, sound: bool, outlets: Outlets) -> Result<Live, Error> {
    let url = url.clone();
    Live::start("rtsp", outlets, still::newest, move |mut publisher| async move {
        publisher.has_reader(reader("rtsps:// is read by ffmpeg alone".into()));
        run_camera(&url, sound, publisher).await;
    })
}

/// The description of ffmpeg as the reader, with the reason.
pub fn reader(reason: String) -> slots::Reader {
    slots::Reader { program: slots::ReaderProgram::Ffmpeg, reason: Some(reason) }
}

/// The same, on the current thread. Runs as long as the camera is wanted.
pub async fn run_camera(url: &SecretUrl, sound: bool, publisher: Publisher) {
    camera(url, sound).run(publisher).await;
}

/// The same, but returns the reason if the first attempt yields no picture.
pub async fn try_camera(url: &SecretUrl, sound: bool, publisher: &mut Publisher) -> String {
    let mut job = camera(url, sound);
    loop {
        let end = job.attempt_all(publisher).await;
        if !publisher.is_online() && !job.proven {
            return end.to_string();
        }
        let wait = publisher.lost(end.to_string()).await;
        tokio::time::sleep(wait).await;
    }
}

fn camera(url: &SecretUrl, sound: bool) -> Job {
    let from = From::Named { input: Input::of(url, false), secrets: Secrets::of(url) };
    Job::new(from, unscaled(VideoMode::Copy), sound, true)
}

fn unscaled(mode: VideoMode) -> Picture {
    let action = Action::of(mode);
    Picture { action, height: None, interlaced: false, bitrate_kbps: None, known: None, hdtv: false }
}

/// Starts a source of `type` `exec`.
///
/// # Errors
/// [`Error`] when the system has no more threads. Errors of the program are reported as events.
pub fn start_program(spec: &ExecSpec, outlets: Outlets) -> Result<Live, Error> {
    let picture = unscaled(spec.video);
    let job = Job::new(From::Program(spec.command.argv()), picture, spec.audio, false);
    Live::start("exec", outlets, still::newest, move |publisher| job.run(publisher))
}

struct Job {
    from: From,
    picture: Picture,
    /// Whether to take the sound, if there is any.
    sound: bool,
    /// Whether to re-encode the picture if browsers cannot show it.
    adapts: bool,
    /// Browsers could not show it, and it is not re-encoded.
    refused: bool,
    /// It has delivered a picture.
    proven: bool,
}

enum From {
    Named { input: Input, secrets: Secrets },
    Program(Vec<String>),
}

impl Job {
    fn new(from: From, picture: Picture, sound: bool, adapts: bool) -> Self {
        Self { from, picture, sound, adapts, refused: false, proven: false }
    }

    async fn run(mut self, mut publisher: Publisher) {
        loop {
            match (self.attempt_all(&mut publisher).await, &self.from) {
                (End::Finished, From::Named { input: Input::File(..), .. }) => {
                    return publisher.ended(Ended::Finished("the file is at its end".into())).await;
                }
                (end, _) => {
                    self.refused |= matches!(end, End::CannotBeShown(_));
                    let wait = publisher.lost(end.to_string()).await;
                    tokio::time::sleep(wait).await;
                }
            }
        }
    }

    /// Runs until the source is lost. Changes of the way of reading are handled here.
    async fn attempt_all(&mut self, publisher: &mut Publisher) -> End {
        loop {
            let Err(end) = self.attempt(publisher).await;
            match end {
                End::NoSound if self.sound => self.sound = false,
                End::OtherCodec => self.picture.action = Action::Copy(Codecs::Open),
                End::CannotBeShown(obstacle) if self.adapts => {
                    tracing::info!(%obstacle, "pictures are encoded anew, as browsers cannot show them");
                    self.picture.action = Action::Encode(Encoder::H264);
                }
                end => return end,
            }
        }
    }

    #[expect(clippy::disallowed_methods, reason = "the task of a source is where the time is asked for")]
    async fn attempt(&mut self, publisher: &mut Publisher) -> Result<std::convert::Infallible, End> {
        let mut child = self.start().await?;
        let mut reader = Reader::theirs();
        publisher.has_audio(self.sound);
        let mut patience = FIRST;
        let mut described = false;
        let shown_from = self.refused.then(|| Instant::now() + DOUBT);
        loop {
            let output = tokio::time::timeout(patience, child.next());
            let output = output.await.map_err(|_| End::Failed("nothing comes any more".into()))??;
            patience = STALLED;
            let now = Instant::now();
            if !matches!(output, Output::Sound(_)) && !std::mem::replace(&mut described, true) {
                child.read_description();
                if self.picture.action == Action::Copy(Codecs::H264) && child.is_other_codec() {
                    return Err(End::OtherCodec);
                }
                if self.sound && child.is_soundless() {
                    self.sound = false;
                    publisher.has_audio(false);
                }
            }
            let unseen = shown_from.is_some_and(|from| now < from);
            let (unit, format) = match output {
                Output::Picture(packet) => (reader.picture(&packet, now), reader.format()),
                Output::Frame(format, packet) => (reader.frame(format, &packet, now), None),
                // No source asks for these.
                Output::Raw(_) => continue,
                Output::Sound(packet) => {
                    let packets = reader.sound(&packet, now).into_iter().filter(|_| !unseen);
                    for packet in packets {
                        publisher.audio(packet);
                    }
                    continue;
                }
            };
            let Some(unit) = unit else { continue };
            if matches!(self.picture.action, Action::Copy(_))
                && let Some(obstacle) = child.obstacle().or(reader.obstacle())
            {
                return Err(End::CannotBeShown(obstacle));
            }
            if !unseen {
                publisher.video(unit, format).await;
                self.proven |= publisher.is_online();
            }
        }
    }

    async fn start(&self) -> Result<Child, End> {
        match &self.from {
            From::Named { input, secrets } => {
                Child::start(input.clone(), Reads::Named, Some(self.picture), self.sound, secrets.clone())
            }
            From::Program(argv) => {
                let mut program = Program::start(argv)?;
                let sample = tokio::time::timeout(FIRST, program.peek(Container::SAMPLE)).await;
                let sample = sample.map_err(|_| End::Failed("the program writes nothing".into()))??;
                let input = Input::Program(Container::of(&sample));
                Child::start(
                    input,
                    Reads::Program(program),
                    Some(self.picture),
                    self.sound,
                    Secrets::default(),
                )
            }
        }
    }
}
