//! What a streamer is made of: the body of `POST /api/streamers`, with its rules.
//!
//! A spec is checked here, by [`StreamerSpec::validate`], in the web-server that receives it and
//! again in the streamer that runs it.

mod camera;
mod home;
mod moonlight;
mod room;

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

pub use crate::field::InvalidField;
pub use crate::secret_url::{Ambiguous, SecretUrl, hide_addresses, redact_urls};
pub use camera::{ExecSpec, FfmpegSpec, InvalidStream, RtspSpec, RtspTransport, StreamSpec, VideoMode};
pub use home::{Home, HomeDirs};
pub use moonlight::{
    AppRef, Colorspace, DEFAULT_AUDIO_QUEUE, DEFAULT_VIDEO_QUEUE, HostAccess, MoonlightCodec, MoonlightSpec,
    PACKET_SIZES, QUEUES,
};
pub use room::{DEFAULT_PARTICIPANTS, MAX_PARTICIPANTS, RoomSpec, default_participants};

use crate::id::{MAIN_SOURCE, PeerId, SourceName, StreamerId};
use crate::person::PublishKind;
use crate::restart::RestartSpec;

/// Smallest picture side in pixels: below it neither a desktop nor an encoder makes sense.
pub const MIN_SIDE: u32 = 16;
/// Largest picture width in pixels.
pub const MAX_WIDTH: u32 = 3840;
/// Largest picture height in pixels.
pub const MAX_HEIGHT: u32 = 2160;
/// To at least this width a desktop can be resized if its spec does not say to which, pixels.
const USUAL_MAX_WIDTH: u32 = 1920;
/// To at least this height, likewise.
const USUAL_MAX_HEIGHT: u32 = 1200;
/// Highest frame rate that can be asked for, frames per second.
pub const MAX_FPS: u32 = 120;
/// Most slots a peer connection can be negotiated with.
pub const MAX_SLOTS: u8 = 16;
/// Slots when the spec does not say.
pub const DEFAULT_SLOTS: u8 = 4;
/// Longest command line in bytes, all arguments together.
const MAX_COMMAND_LEN: usize = 16 * 1024;
/// Most environment variables a spec can set.
const MAX_ENV: usize = 256;

/// Most named sources of a streamer.
pub const MAX_SOURCES: usize = 128;

/// All that is needed to run one streamer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct StreamerSpec {
    /// What the session is about, called `main`: when it ends, the session ends. A streamer of cameras has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub source: Option<SourceSpec>,
    /// Further sources, by the name under which they can be asked for.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub sources: BTreeMap<SourceName, SourceSpec>,
    /// Show `main` in slot 0 from the start. Without, all slots are free and viewers wait until something is shared.
    #[serde(default = "yes")]
    pub share: bool,
    /// Slots negotiated with every peer, 1..=16.
    #[serde(default = "default_slots")]
    #[schema(minimum = 1, maximum = 16)]
    pub slots: u8,
    /// How it is started again when it has ended by itself.
    #[serde(default, skip_serializing_if = "RestartSpec::is_default")]
    #[ts(as = "Option<RestartSpec>", optional)]
    pub restart: RestartSpec,
    /// What each peer is sent at most, kilobits per second, 100..=100000; absent: as much as its path carries.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    #[schema(minimum = 100, maximum = 100000)]
    pub max_bitrate_kbps: Option<u32>,
    /// It is a room, in which people meet. A room needs no source.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub room: Option<RoomSpec>,
}

fn default_slots() -> u8 {
    DEFAULT_SLOTS
}

/// What produces media, by `type`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(tag = "type", rename_all = "kebab-case")]
pub enum SourceSpec {
    /// A Linux desktop.
    Desktop(DesktopSpec),
    /// A moving picture with a frame counter and a time code, and a tone with clicks.
    Test(TestSpec),
    /// One window of the streamer's desktop.
    Window(WindowSpec),
    /// An IP camera.
    Rtsp(RtspSpec),
    /// Whatever ffmpeg can read; or another stream, encoded anew.
    Ffmpeg(FfmpegSpec),
    /// A program that writes MPEG-TS, fragmented MP4 or H.264 to its standard output.
    Exec(ExecSpec),
    /// A Moonlight host.
    Moonlight(MoonlightSpec),
    /// What a peer publishes. Made by its peer, never by a request.
    Publish(PublishSpec),
}

/// What a peer publishes: its camera and microphone, or its screen.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PublishSpec {
    /// The peer.
    pub peer: PeerId,
    /// What it sends of it now.
    pub kinds: BTreeSet<PublishKind>,
}

/// A Linux desktop: an X server of its own with a command in it, or a display that already runs.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DesktopSpec {
    /// Pixels, even.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Pixels, even.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Largest width that it can be resized to, pixels; the X server keeps memory for it. If absent: half as much again as `width`,
    /// and at least 1920.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_width: Option<u32>,
    /// Largest height that it can be resized to, pixels. If absent: half as much again as `height`, and at least 1200.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_height: Option<u32>,
    /// Highest frame rate; an idle desktop produces no frames.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// Started in the session; when it ends, the session ends. Without one there is a small desktop (a window manager with
    /// its menu, and a terminal) if openbox and xterm are there and `auth.allowed_commands` is not set; else it is empty.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub command: Option<Command>,
    /// Set for the command, on top of a small clean environment.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub env: BTreeMap<String, String>,
    /// Where its programs keep what is theirs.
    #[serde(default, skip_serializing_if = "Home::is_default")]
    pub home: Home,
    /// Attach to this running X display (`:7`) and start no X server.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display: Option<String>,
    /// Capture the session's sound.
    #[serde(default = "yes")]
    pub audio: bool,
    /// Give its programs a microphone, which peers can speak into; needs `audio`.
    #[serde(default = "yes")]
    pub microphone: bool,
    /// The camera of its programs, which a peer's camera can be: a V4L2 device that takes pictures, as the kernel module v4l2loopback
    /// makes them, `/dev/video10`. One desktop at a time can have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[ts(optional)]
    pub camera: Option<String>,
    /// Who draws the mouse cursor.
    #[serde(default)]
    pub cursor: CursorMode,
    /// Its programs can use OpenGL, drawn by the processor. Without it the X server takes 50 MB less and starts sooner.
    #[serde(default = "yes", skip_serializing_if = "is_yes")]
    pub opengl: bool,
}

/// Who draws the mouse cursor of a desktop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum CursorMode {
    /// The viewer: shape and position are sent to it, so that its own pointer has no latency and
    /// moving it costs no encoding.
    #[default]
    Client,
    /// The streamer draws it into the picture; for players that show the video and nothing else.
    Embedded,
}

/// The built-in test picture and tone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TestSpec {
    /// Pixels, even.
    #[serde(default = "default_width")]
    pub width: u32,
    /// Pixels, even.
    #[serde(default = "default_height")]
    pub height: u32,
    /// Frames per second.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// Produce the tone.
    #[serde(default = "yes")]
    pub audio: bool,
}

/// One window of the streamer's desktop. Only in a slot, never on its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct WindowSpec {
    /// Which, as `GET …/windows` names it.
    pub window_id: u32,
    /// Highest frame rate; a window at rest produces no frames.
    #[serde(default = "default_fps")]
    pub fps: u32,
    /// Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
}

fn default_width() -> u32 {
    1280
}
fn default_height() -> u32 {
    720
}
fn default_fps() -> u32 {
    30
}
fn yes() -> bool {
    true
}

fn is_yes(value: &bool) -> bool {
    *value
}

/// What to run: one text for the shell, or a program with its arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(untagged)]
pub enum Command {
    /// Run by `/bin/sh -c`.
    Shell(String),
    /// Program (looked up in `PATH`) and arguments, run without a shell.
    Argv(Vec<String>),
}

impl Command {
    /// Program and arguments.
    pub fn argv(&self) -> Vec<String> {
        match self {
            Command::Shell(line) => vec!["/bin/sh".into(), "-c".into(), line.clone()],
            Command::Argv(argv) => argv.clone(),
        }
    }
}

impl StreamerSpec {
    /// A spec with this source and all defaults.
    pub fn new(source: SourceSpec) -> Self {
        let sources = BTreeMap::new();
        let restart = RestartSpec::default();
        Self {
            source: Some(source),
            sources,
            share: true,
            slots: DEFAULT_SLOTS,
            restart,
            max_bitrate_kbps: None,
            room: None,
        }
    }

    /// It is a desktop with a command, with which it ends.
    pub fn has_command(&self) -> bool {
        matches!(&self.source, Some(SourceSpec::Desktop(DesktopSpec { command: Some(_), .. })))
    }

    /// The same without passwords, for everybody to see.
    #[must_use]
    pub fn redacted(&self) -> Self {
        Self {
            source: self.source.as_ref().map(SourceSpec::redacted),
            sources: self.sources.iter().map(|(name, source)| (name.clone(), source.redacted())).collect(),
            ..self.clone()
        }
    }

    /// The same with every source put through `change`.
    ///
    /// # Errors
    /// The first one of `change`.
    pub fn try_map_sources<E>(self, change: impl Fn(SourceSpec) -> Result<SourceSpec, E>) -> Result<Self, E> {
        let source = self.source.map(&change).transpose()?;
        let sources = self.sources.into_iter().map(|(name, source)| Ok((name, change(source)?)));
        Ok(Self { source, sources: sources.collect::<Result<_, E>>()?, ..self })
    }

    /// The same as a client has given it: without what the web-server adds for the streamer.
    #[must_use]
    pub fn as_given(self) -> Self {
        let given = self.try_map_sources(|source| Ok::<_, std::convert::Infallible>(source.as_given()));
        given.unwrap_or_else(|never| match never {})
    }

    /// The same without what it runs and reads: command lines, environments and addresses hold secrets.
    #[must_use]
    pub fn without_programs(&self) -> Self {
        Self {
            source: self.source.as_ref().map(SourceSpec::without_programs),
            sources: self
                .sources
                .iter()
                .map(|(name, spec)| (name.clone(), spec.without_programs()))
                .collect(),
            ..self.clone()
        }
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidField> {
        if !(1..=MAX_SLOTS).contains(&self.slots) {
            return Err(InvalidField::new(
                "slots",
                format!("must be from 1 to {MAX_SLOTS}, not {}", self.slots),
            ));
        }
        self.restart.validate()?;
        validate_peer_bitrate(self.max_bitrate_kbps)?;
        if let Some(room) = &self.room {
            room.validate()?;
        }
        match &self.source {
            Some(source) => source.validate_alone()?,
            None if self.sources.is_empty() && self.room.is_none() => {
                return Err(InvalidField::new(
                    "source",
                    "a streamer needs a source, or named ones in \"sources\"",
                ));
            }
            None => {}
        }
        if self.sources.len() > MAX_SOURCES {
            return Err(InvalidField::new(
                "sources",
                format!("at most {MAX_SOURCES}, not {}", self.sources.len()),
            ));
        }
        for (name, source) in &self.sources {
            validate_name(name)
                .and_then(|()| source.validate_alone())
                .map_err(|error| InvalidField::new("sources", format!("{name:?}: {error}")))?;
        }
        Ok(())
    }
}

/// Checks the name of a source; it follows the rules of streamer ids.
///
/// # Errors
/// `name`, with the rule that it breaks.
pub fn validate_name(name: &str) -> Result<(), InvalidField> {
    if name == MAIN_SOURCE {
        return Err(InvalidField::new(
            "name",
            format!("{MAIN_SOURCE:?} is what the streamer's own source is called"),
        ));
    }
    StreamerId::parse(name).map(drop).map_err(|error| InvalidField::new("name", error.to_string()))
}

impl SourceSpec {
    /// The `type` of the source.
    pub fn kind(&self) -> &'static str {
        match self {
            SourceSpec::Desktop(_) => "desktop",
            SourceSpec::Test(_) => "test",
            SourceSpec::Window(_) => "window",
            SourceSpec::Rtsp(_) => "rtsp",
            SourceSpec::Ffmpeg(_) => "ffmpeg",
            SourceSpec::Exec(_) => "exec",
            SourceSpec::Moonlight(_) => "moonlight",
            SourceSpec::Publish(_) => "publish",
        }
    }

    /// True for what runs whether or not anybody watches.
    pub fn is_always_on(&self) -> bool {
        match self {
            SourceSpec::Desktop(_)
            | SourceSpec::Test(_)
            | SourceSpec::Window(_)
            | SourceSpec::Moonlight(_)
            | SourceSpec::Publish(_) => true,
            SourceSpec::Rtsp(spec) => spec.always_on,
            SourceSpec::Ffmpeg(spec) => spec.always_on,
            SourceSpec::Exec(spec) => spec.always_on,
        }
    }

    /// True for what may be absent for any time, and is retried by itself. A Moonlight host is not: it has deadlines of its own.
    pub fn may_be_absent(&self) -> bool {
        matches!(self, SourceSpec::Rtsp(_) | SourceSpec::Ffmpeg(_) | SourceSpec::Exec(_))
    }

    /// Checks every bound.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidField> {
        match self {
            SourceSpec::Desktop(spec) => spec.validate(),
            SourceSpec::Test(spec) => spec.validate(),
            SourceSpec::Window(spec) => validate_rates(spec.fps, spec.bitrate_kbps),
            SourceSpec::Rtsp(spec) => spec.validate(),
            SourceSpec::Ffmpeg(spec) => spec.validate(),
            SourceSpec::Exec(spec) => spec.validate(),
            SourceSpec::Moonlight(spec) => spec.validate(),
            SourceSpec::Publish(_) => Err(InvalidField::new(
                "source.type",
                "what a peer publishes becomes a source by itself; have the peer send `publish`",
            )),
        }
    }

    /// As [`SourceSpec::validate`], for a source that belongs to no slot.
    ///
    /// # Errors
    /// The first field that breaks a rule.
    pub fn validate_alone(&self) -> Result<(), InvalidField> {
        match self {
            SourceSpec::Window(_) => Err(InvalidField::new(
                "source.type",
                "a window can only be shown in a slot of its desktop's streamer: PUT …/slots/{n}",
            )),
            other => other.validate(),
        }
    }

    /// The same as a client has given it: without what the web-server adds for the streamer.
    #[must_use]
    pub fn as_given(mut self) -> Self {
        if let SourceSpec::Moonlight(spec) = &mut self {
            spec.access = None;
        }
        self
    }

    /// The same without passwords, for everybody to see.
    #[must_use]
    pub fn redacted(&self) -> Self {
        let mut shown = self.clone();
        match &mut shown {
            SourceSpec::Rtsp(spec) => spec.url = spec.url.redacted(),
            SourceSpec::Ffmpeg(spec) => spec.input = spec.input.redacted(),
            SourceSpec::Moonlight(spec) => spec.access = None,
            SourceSpec::Desktop(_)
            | SourceSpec::Test(_)
            | SourceSpec::Window(_)
            | SourceSpec::Exec(_)
            | SourceSpec::Publish(_) => {}
        }
        shown
    }

    /// The same without what it runs and reads: command lines, environments and addresses are for admins alone.
    #[must_use]
    pub fn without_programs(&self) -> Self {
        let mut shown = self.clone();
        match &mut shown {
            SourceSpec::Desktop(spec) => {
                spec.command = None;
                spec.env.clear();
                spec.home = Home::default();
            }
            SourceSpec::Rtsp(spec) => spec.url = SecretUrl::new("***"),
            SourceSpec::Ffmpeg(spec) => spec.input = SecretUrl::new("***"),
            SourceSpec::Exec(spec) => spec.command = Command::Argv(vec!["***".into()]),
            SourceSpec::Moonlight(spec) => spec.access = None,
            SourceSpec::Test(_) | SourceSpec::Window(_) | SourceSpec::Publish(_) => {}
        }
        shown
    }
}

impl DesktopSpec {
    /// The largest width and height that it can be resized to.
    pub fn largest(&self) -> (u32, u32) {
        let width = self.max_width.unwrap_or_else(|| most(self.width, USUAL_MAX_WIDTH, MAX_WIDTH));
        let height = self.max_height.unwrap_or_else(|| most(self.height, USUAL_MAX_HEIGHT, MAX_HEIGHT));
        (width, height)
    }

    fn validate(&self) -> Result<(), InvalidField> {
        validate_picture(self.width, self.height, self.fps, self.bitrate_kbps)?;
        self.validate_largest("source.max_width", self.max_width, self.width, MAX_WIDTH)?;
        self.validate_largest("source.max_height", self.max_height, self.height, MAX_HEIGHT)?;
        if let Some(command) = &self.command {
            validate_command(command)?;
        }
        validate_env(&self.env)?;
        self.home.validate()?;
        if let Some(camera) = &self.camera {
            validate_camera(camera)?;
        }
        match &self.display {
            Some(_) if !self.opengl => {
                let message = "the X server of source.display has OpenGL or not; leave this out";
                Err(InvalidField::new("source.opengl", message))
            }
            Some(display) => validate_display(display),
            None => Ok(()),
        }
    }

    fn validate_largest(
        &self,
        field: &'static str,
        largest: Option<u32>,
        at_first: u32,
        most: u32,
    ) -> Result<(), InvalidField> {
        match largest {
            Some(_) if self.display.is_some() => {
                let message =
                    "the X server of source.display says how large its screen can be; leave this out";
                Err(InvalidField::new(field, message))
            }
            Some(largest) if !(at_first..=most).contains(&largest) => {
                let message = format!("must be from {at_first}, the size at first, to {most}, not {largest}");
                Err(InvalidField::new(field, message))
            }
            _ => Ok(()),
        }
    }
}

/// The largest side if the spec says nothing: half as much again as at first, but not less than is usual, nor more than is possible.
fn most(at_first: u32, usual: u32, possible: u32) -> u32 {
    (at_first.saturating_mul(3) / 2).max(usual).min(possible)
}

impl TestSpec {
    fn validate(&self) -> Result<(), InvalidField> {
        validate_picture(self.width, self.height, self.fps, self.bitrate_kbps)
    }
}

/// Checks a size asked for at run time by the same rule as one in a spec.
///
/// # Errors
/// `width` or `height`, with the bound that it breaks.
pub fn validate_size(width: u32, height: u32) -> Result<(), InvalidField> {
    for (field, value, max) in [("width", width, MAX_WIDTH), ("height", height, MAX_HEIGHT)] {
        if !(MIN_SIDE..=max).contains(&value) {
            return Err(InvalidField::new(field, format!("must be from {MIN_SIDE} to {max}, not {value}")));
        }
        if value % 2 != 0 {
            return Err(InvalidField::new(field, format!("must be even (4:2:0 video), not {value}")));
        }
    }
    Ok(())
}

fn validate_picture(width: u32, height: u32, fps: u32, kbps: Option<u32>) -> Result<(), InvalidField> {
    validate_size(width, height).map_err(|e| InvalidField {
        field: if e.field == "width" { "source.width" } else { "source.height" },
        ..e
    })?;
    validate_rates(fps, kbps)
}

/// What a peer may be limited to, kilobits per second.
pub const PEER_KBPS: std::ops::RangeInclusive<u32> = 100..=100_000;

/// Checks what a peer is to be sent at most.
///
/// # Errors
/// It is not within [`PEER_KBPS`].
pub fn validate_peer_bitrate(kbps: Option<u32>) -> Result<(), InvalidField> {
    match kbps {
        Some(kbps) if !PEER_KBPS.contains(&kbps) => {
            let message = format!("must be from {} to {}, not {kbps}", PEER_KBPS.start(), PEER_KBPS.end());
            Err(InvalidField::new("max_bitrate_kbps", message))
        }
        _ => Ok(()),
    }
}

fn validate_rates(fps: u32, kbps: Option<u32>) -> Result<(), InvalidField> {
    if !(1..=MAX_FPS).contains(&fps) {
        return Err(InvalidField::new("source.fps", format!("must be from 1 to {MAX_FPS}, not {fps}")));
    }
    match kbps {
        Some(kbps) if !(50..=100_000).contains(&kbps) => {
            Err(InvalidField::new("source.bitrate_kbps", format!("must be from 50 to 100000, not {kbps}")))
        }
        _ => Ok(()),
    }
}

fn validate_command(command: &Command) -> Result<(), InvalidField> {
    let bad = |message: &str| Err(InvalidField::new("source.command", message));
    let argv = command.argv();
    match argv.first() {
        None => return bad("must name a program"),
        Some(program) if program.is_empty() => return bad("the program's name must not be empty"),
        Some(_) => {}
    }
    if let Command::Shell(line) = command
        && line.trim().is_empty()
    {
        return bad("must not be empty");
    }
    if argv.iter().map(String::len).sum::<usize>() > MAX_COMMAND_LEN {
        return bad("must not be longer than 16384 bytes");
    }
    if argv.iter().any(|arg| arg.contains('\0')) {
        return bad("must not contain a NUL character");
    }
    Ok(())
}

fn validate_env(env: &BTreeMap<String, String>) -> Result<(), InvalidField> {
    let bad = |message: String| Err(InvalidField::new("source.env", message));
    if env.len() > MAX_ENV {
        return bad(format!("at most {MAX_ENV} variables, not {}", env.len()));
    }
    for (name, value) in env {
        let word = |c: char| c.is_ascii_alphanumeric() || c == '_';
        if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) || !name.chars().all(word) {
            return bad(format!("{name:?} is not a name of a variable (letters, digits and '_')"));
        }
        if value.contains('\0') || value.len() > MAX_COMMAND_LEN {
            return bad(format!("the value of {name} must have no NUL and at most 16384 bytes"));
        }
    }
    Ok(())
}

fn validate_display(display: &str) -> Result<(), InvalidField> {
    let number = display.strip_prefix(':').and_then(|n| n.parse::<u16>().ok());
    match number {
        Some(_) => Ok(()),
        None => Err(InvalidField::new(
            "source.display",
            format!("must be a local display such as \":7\", not {display:?}"),
        )),
    }
}

/// A device of the machine's, and nothing else that has a path.
fn validate_camera(camera: &str) -> Result<(), InvalidField> {
    let digits = camera.strip_prefix("/dev/video");
    let number = digits.filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()));
    // The kernel numbers them in a byte.
    match number.and_then(|digits| digits.parse::<u8>().ok()) {
        Some(_) => Ok(()),
        None => Err(InvalidField::new(
            "source.camera",
            format!("must be a video device such as \"/dev/video10\", not {camera:?}"),
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_camera_is_a_video_device_and_no_other_file() {
        for (camera, allowed) in [
            ("/dev/video0", true),
            ("/dev/video10", true),
            ("/dev/video", false),
            ("/dev/video256", false),
            ("/dev/video+1", false),
            ("/dev/video1/../sda", false),
            ("/dev/null", false),
            ("video10", false),
            ("/tmp/video10", false),
        ] {
            let json = serde_json::json!({ "source": { "type": "desktop", "camera": camera } });
            let refused = spec(&json.to_string()).unwrap().validate().err();
            let field = refused.map(|error| error.field);
            assert_eq!(field, (!allowed).then_some("source.camera"), "{camera}");
        }
    }

    fn spec(json: &str) -> Result<StreamerSpec, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn a_desktop_needs_nothing_but_its_type() {
        let spec = spec(r#"{"source":{"type":"desktop"}}"#).unwrap();
        assert!(spec.validate().is_ok());
        let Some(SourceSpec::Desktop(desktop)) = spec.source else { panic!("a desktop") };
        assert_eq!((desktop.width, desktop.height, desktop.fps, desktop.audio), (1280, 720, 30, true));
    }

    #[test]
    fn a_desktop_can_become_larger_than_it_is_at_first_and_not_without_bounds() {
        let largest = |fields: &str| {
            let spec = spec(&format!(r#"{{"source":{{"type":"desktop"{fields}}}}}"#)).unwrap();
            assert_eq!(spec.validate(), Ok(()));
            let Some(SourceSpec::Desktop(desktop)) = spec.source else { panic!("a desktop") };
            desktop.largest()
        };
        assert_eq!(largest(""), (1920, 1200));
        assert_eq!(largest(r#","width":640,"height":480"#), (1920, 1200));
        assert_eq!(largest(r#","width":1920,"height":1080"#), (2880, 1620));
        assert_eq!(largest(r#","width":3840,"height":2160"#), (MAX_WIDTH, MAX_HEIGHT));
        assert_eq!(largest(r#","max_width":1280,"max_height":2160"#), (1280, 2160));
    }

    #[test]
    fn a_misspelt_field_is_refused_by_name() {
        let error = spec(r#"{"source":{"type":"test","widht":10}}"#).unwrap_err().to_string();
        assert!(error.contains("widht"), "{error}");
        let error = spec(r#"{"source":{"type":"tset"}}"#).unwrap_err().to_string();
        assert!(error.contains("tset") && error.contains("desktop"), "{error}");
    }

    #[test]
    fn every_bound_names_its_field() {
        for (json, field) in [
            (r#"{"source":{"type":"test","width":0}}"#, "source.width"),
            (r#"{"source":{"type":"test","width":100000}}"#, "source.width"),
            (r#"{"source":{"type":"test","height":101}}"#, "source.height"),
            (r#"{"source":{"type":"test","fps":0}}"#, "source.fps"),
            (r#"{"source":{"type":"test","bitrate_kbps":1}}"#, "source.bitrate_kbps"),
            (r#"{"source":{"type":"test"},"slots":0}"#, "slots"),
            (r#"{"source":{"type":"test"},"slots":17}"#, "slots"),
            (r#"{"source":{"type":"desktop","command":[]}}"#, "source.command"),
            (r#"{"source":{"type":"desktop","command":"  "}}"#, "source.command"),
            (r#"{"source":{"type":"desktop","command":["a\u0000"]}}"#, "source.command"),
            (r#"{"source":{"type":"desktop","env":{"A=B":"c"}}}"#, "source.env"),
            (r#"{"source":{"type":"desktop","display":"evil:0"}}"#, "source.display"),
            (r#"{"source":{"type":"desktop","max_width":1278}}"#, "source.max_width"),
            (r#"{"source":{"type":"desktop","max_width":3842}}"#, "source.max_width"),
            (r#"{"source":{"type":"desktop","max_height":2162}}"#, "source.max_height"),
            (r#"{"source":{"type":"desktop","display":":7","max_height":1000}}"#, "source.max_height"),
            (r#"{"source":{"type":"desktop","display":":7","opengl":false}}"#, "source.opengl"),
            (r#"{"source":{"type":"window","window_id":7}}"#, "source.type"),
            (r#"{"source":{"type":"rtsp","url":"http://camera/"}}"#, "source.url"),
            (r#"{"source":{"type":"ffmpeg","input":""}}"#, "source.input"),
            (r#"{"source":{"type":"ffmpeg","input":"camera1","height":7}}"#, "source.height"),
            (r#"{"source":{"type":"exec","command":[]}}"#, "source.command"),
            (r#"{"source":{"type":"moonlight","host_id":"","app":1}}"#, "source.host_id"),
            (r#"{"source":{"type":"moonlight","host_id":"h","app":""}}"#, "source.app"),
            (
                r#"{"source":{"type":"moonlight","host_id":"h","app":1,"packet_size":1000}}"#,
                "source.packet_size",
            ),
            (
                r#"{"source":{"type":"moonlight","host_id":"h","app":1,"video_queue":1}}"#,
                "source.video_queue",
            ),
            (
                r#"{"source":{"type":"moonlight","host_id":"h","app":1,"client_unique_id":"x"}}"#,
                "source.client_unique_id",
            ),
            ("{}", "source"),
            (r#"{"sources":{"main":{"type":"test"}}}"#, "sources"),
            (r#"{"sources":{"a b":{"type":"test"}}}"#, "sources"),
            (r#"{"sources":{"a":{"type":"test","fps":0}}}"#, "sources"),
        ] {
            assert_eq!(spec(json).unwrap().validate().unwrap_err().field, field, "{json}");
        }
    }

    #[test]
    fn how_a_host_is_reached_is_shown_to_nobody() {
        let json = r#"{"source":{"type":"moonlight","host_id":"h","app":"Desktop","access":{"address":"a",
            "https_port":1,"unique_id":"u","host_certificate":"c","certificate":"c","key":"secret"}}}"#;
        let spec = spec(json).unwrap();
        assert!(!format!("{spec:?}").contains("secret"));
        for shown in [spec.redacted(), spec.clone().as_given()] {
            assert!(!serde_json::to_string(&shown).unwrap().contains("access"));
        }
        assert!(serde_json::to_string(&spec).unwrap().contains("secret"), "but the streamer must know");
    }
}
