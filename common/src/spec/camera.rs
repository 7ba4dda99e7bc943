//! Sources that come from elsewhere: cameras, files, programs; and their short form, one text each, as
//! configuration files have it.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize};
use ts_rs::TS;
use utoipa::ToSchema;

use super::{Command, InvalidField, MAX_HEIGHT, MIN_SIDE, SecretUrl, SourceSpec, validate_command};
use crate::secret_url::Ambiguous;

/// Longest URL or file name, in bytes.
const MAX_INPUT: usize = 4096;

/// An IP camera by RTSP. Its H.264 is passed on as it is when browsers can decode it, else encoded anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RtspSpec {
    /// `rtsp://user:password@host:554/path`.
    pub url: SecretUrl,
    /// The transport of RTP.
    #[serde(default)]
    pub transport: RtspTransport,
    /// Take its sound too.
    #[serde(default = "super::yes")]
    pub audio: bool,
    /// Stay connected while nobody watches.
    #[serde(default)]
    pub always_on: bool,
}

/// How the media of an RTSP session travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum RtspTransport {
    /// Within the RTSP connection: passes every firewall, loses nothing.
    #[default]
    Tcp,
    /// Datagrams of its own: less delay on a lossy network.
    Udp,
}

/// What ffmpeg can read, or another stream of the same streamer, as a stream of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct FfmpegSpec {
    /// Name of another source of this streamer, else a URL or a file.
    pub input: SecretUrl,
    /// What becomes of the picture.
    #[serde(default)]
    pub video: VideoMode,
    /// Scaled to this height, pixels, even; the width follows.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub height: Option<u32>,
    /// Target bitrate of the video, kilobit per second; chosen from size and frame rate if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bitrate_kbps: Option<u32>,
    /// Take the sound too.
    #[serde(default = "super::yes")]
    pub audio: bool,
    /// Begin a file again when it ends.
    #[serde(default, rename = "loop")]
    pub repeat: bool,
    /// Run while nobody watches.
    #[serde(default)]
    pub always_on: bool,
}

/// What becomes of a picture that comes from elsewhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, TS, ToSchema)]
#[serde(rename_all = "kebab-case")]
pub enum VideoMode {
    /// Encoded anew as H.264.
    #[default]
    H264,
    /// Encoded anew as VP8.
    Vp8,
    /// Passed on as it is, which must be H.264 without B-frames, VP8, VP9 or AV1.
    Copy,
}

/// A program that writes media to its standard output.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, TS, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ExecSpec {
    /// The program that writes the stream.
    pub command: Command,
    /// What becomes of the picture.
    #[serde(default = "copy")]
    pub video: VideoMode,
    /// Take the sound too.
    #[serde(default = "super::yes")]
    pub audio: bool,
    /// Run while nobody watches.
    #[serde(default)]
    pub always_on: bool,
}

fn copy() -> VideoMode {
    VideoMode::Copy
}

impl RtspSpec {
    pub(super) fn validate(&self) -> Result<(), InvalidField> {
        validate_input("source.url", &self.url)?;
        let url = self.url.expose();
        let host = url.strip_prefix("rtsp://").or_else(|| url.strip_prefix("rtsps://"));
        match host {
            Some(rest) if !rest.is_empty() && !rest.starts_with('/') => Ok(()),
            _ => Err(InvalidField::new("source.url", "must be like rtsp://user:password@host:554/path")),
        }
    }
}

impl FfmpegSpec {
    pub(super) fn validate(&self) -> Result<(), InvalidField> {
        validate_input("source.input", &self.input)?;
        if let Some(height) = self.height
            && (!(MIN_SIDE..=MAX_HEIGHT).contains(&height) || height % 2 != 0)
        {
            let message = format!("must be even and from {MIN_SIDE} to {MAX_HEIGHT}, not {height}");
            return Err(InvalidField::new("source.height", message));
        }
        if self.height.is_some() && self.video == VideoMode::Copy {
            return Err(InvalidField::new(
                "source.height",
                "a picture that is passed on as it is cannot be scaled",
            ));
        }
        super::validate_rates(super::default_fps(), self.bitrate_kbps)
    }
}

impl ExecSpec {
    pub(super) fn validate(&self) -> Result<(), InvalidField> {
        validate_command(&self.command)
    }
}

fn validate_input(field: &'static str, input: &SecretUrl) -> Result<(), InvalidField> {
    match input.expose() {
        "" => Err(InvalidField::new(field, "must not be empty")),
        // ffmpeg would take it for an option.
        text if text.starts_with('-') => Err(InvalidField::new(field, "must not begin with '-'")),
        text if text.len() > MAX_INPUT => {
            Err(InvalidField::new(field, format!("must have at most {MAX_INPUT} bytes")))
        }
        text if text.chars().any(char::is_control) => {
            Err(InvalidField::new(field, "must have no control characters"))
        }
        _ => input.check().map_err(|error| InvalidField::new(field, error.to_string())),
    }
}

/// One entry of `streams:` in a configuration file: a source in full, or its short form.
#[derive(Debug, Clone, PartialEq)]
pub struct StreamSpec(pub SourceSpec);

/// Why a text is no source.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidStream {
    /// It begins with nothing that we know.
    #[error("a stream must begin with rtsp://, rtsps://, ffmpeg:, exec: or test:, not like {0:?}")]
    Kind(String),
    /// An option that this kind does not have. What follows a `#` may be a part of a password, so it is repeated only where
    /// there can be none.
    #[error("unknown option{}; there are {known}", .name.as_ref().map_or_else(String::new, |name| format!(" {name:?}")))]
    Option {
        /// Its name, if it may be shown.
        name: Option<String>,
        /// Those that there are.
        known: &'static str,
    },
    /// An option that stands twice.
    #[error("an option stands twice")]
    Twice,
    /// A value that means nothing.
    #[error("{name}: {message}")]
    Value {
        /// Of which option.
        name: String,
        /// What it must be.
        message: String,
    },
    /// A rule is broken.
    #[error(transparent)]
    Field(#[from] InvalidField),
}

/// Options of a short form, taken one by one; those that are left are unknown.
struct Options<'a> {
    given: BTreeMap<&'a str, &'a str>,
    known: &'static str,
    /// What they belong to is a URL, so that a `#` may be one of its password.
    of_url: bool,
}

impl<'a> Options<'a> {
    fn parse(text: &'a str, known: &'static str) -> Result<(&'a str, Self), InvalidStream> {
        let mut parts = text.split('#');
        let body = parts.next().unwrap_or_default();
        let mut given = BTreeMap::new();
        for part in parts {
            let (name, value) = part.split_once('=').unwrap_or((part, "true"));
            if given.insert(name, value).is_some() {
                return Err(InvalidStream::Twice);
            }
        }
        let of_url = body.contains("://");
        if of_url && text[body.len()..].contains('@') {
            // No option has one: it ends the user information.
            return Err(InvalidField::new("source", Ambiguous.to_string()).into());
        }
        Ok((body, Self { given, known, of_url }))
    }

    fn take<T: std::str::FromStr>(&mut self, name: &str, expected: &str) -> Result<Option<T>, InvalidStream> {
        let Some(value) = self.given.remove(name) else { return Ok(None) };
        let wrong = |_| InvalidStream::Value { name: name.to_owned(), message: self.not(expected, value) };
        value.parse().map(Some).map_err(wrong)
    }

    fn flag(&mut self, name: &str, default: bool) -> Result<bool, InvalidStream> {
        Ok(self.take(name, "true or false")?.unwrap_or(default))
    }

    fn word<T: Copy>(&mut self, name: &str, words: &[(&str, T)], default: T) -> Result<T, InvalidStream> {
        let Some(value) = self.given.remove(name) else { return Ok(default) };
        words.iter().find(|(word, _)| *word == value).map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            let message = self.not(&words.join(" or "), value);
            InvalidStream::Value { name: name.to_owned(), message }
        })
    }

    fn finish(self) -> Result<(), InvalidStream> {
        match self.given.keys().next() {
            Some(name) => {
                let name = (!self.of_url).then(|| (*name).to_owned());
                Err(InvalidStream::Option { name, known: self.known })
            }
            None => Ok(()),
        }
    }

    fn not(&self, expected: &str, value: &str) -> String {
        let given = if self.of_url { String::new() } else { format!(", not {value:?}") };
        format!("must be {expected}{given}")
    }
}

const VIDEO_WORDS: [(&str, VideoMode); 3] =
    [("h264", VideoMode::H264), ("vp8", VideoMode::Vp8), ("copy", VideoMode::Copy)];
const TRANSPORT_WORDS: [(&str, RtspTransport); 2] =
    [("tcp", RtspTransport::Tcp), ("udp", RtspTransport::Udp)];

impl std::str::FromStr for StreamSpec {
    type Err = InvalidStream;

    /// `rtsp://host/path#transport=udp`, `ffmpeg:camera1#video=h264#height=360`, `exec:program arguments`.
    fn from_str(text: &str) -> Result<Self, InvalidStream> {
        let source = if text.starts_with("rtsp://") || text.starts_with("rtsps://") {
            rtsp(text)?
        } else if let Some(rest) = text.strip_prefix("ffmpeg:") {
            ffmpeg(rest)?
        } else if let Some(rest) = text.strip_prefix("exec:") {
            exec(rest)?
        } else if let Some(rest) = text.strip_prefix("test:") {
            test(rest)?
        } else {
            // Not more than its scheme: a password may follow.
            let scheme = text.split(':').next().unwrap_or_default();
            return Err(InvalidStream::Kind(scheme.chars().take(12).collect()));
        };
        source.validate_alone()?;
        Ok(Self(source))
    }
}

fn rtsp(text: &str) -> Result<SourceSpec, InvalidStream> {
    let (url, mut options) = Options::parse(text, "transport, audio, always_on")?;
    let spec = RtspSpec {
        url: SecretUrl::new(url),
        transport: options.word("transport", &TRANSPORT_WORDS, RtspTransport::default())?,
        audio: options.flag("audio", true)?,
        always_on: options.flag("always_on", false)?,
    };
    options.finish()?;
    Ok(SourceSpec::Rtsp(spec))
}

fn ffmpeg(text: &str) -> Result<SourceSpec, InvalidStream> {
    let (input, mut options) = Options::parse(text, "video, height, bitrate, audio, loop, always_on")?;
    let spec = FfmpegSpec {
        input: SecretUrl::new(input),
        video: options.word("video", &VIDEO_WORDS, VideoMode::default())?,
        height: options.take("height", "a number of pixels")?,
        bitrate_kbps: options.take("bitrate", "a number of kilobits per second")?,
        audio: options.flag("audio", true)?,
        repeat: options.flag("loop", false)?,
        always_on: options.flag("always_on", false)?,
    };
    options.finish()?;
    Ok(SourceSpec::Ffmpeg(spec))
}

fn exec(text: &str) -> Result<SourceSpec, InvalidStream> {
    let (command, mut options) = Options::parse(text, "video, audio, always_on")?;
    let spec = ExecSpec {
        command: Command::Shell(command.to_owned()),
        video: options.word("video", &VIDEO_WORDS, VideoMode::Copy)?,
        audio: options.flag("audio", true)?,
        always_on: options.flag("always_on", false)?,
    };
    options.finish()?;
    Ok(SourceSpec::Exec(spec))
}

fn test(text: &str) -> Result<SourceSpec, InvalidStream> {
    let (_, mut options) = Options::parse(text, "width, height, fps, bitrate, audio")?;
    let spec = super::TestSpec {
        width: options.take("width", "a number of pixels")?.unwrap_or_else(super::default_width),
        height: options.take("height", "a number of pixels")?.unwrap_or_else(super::default_height),
        fps: options.take("fps", "a number")?.unwrap_or_else(super::default_fps),
        bitrate_kbps: options.take("bitrate", "a number of kilobits per second")?,
        audio: options.flag("audio", true)?,
    };
    options.finish()?;
    Ok(SourceSpec::Test(spec))
}

impl<'de> Deserialize<'de> for StreamSpec {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Entry)
    }
}

/// By hand, as an untagged enum would hide what is wrong with either form.
struct Entry;

impl<'de> Visitor<'de> for Entry {
    type Value = StreamSpec;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a source, or its short form such as \"rtsp://camera/stream\"")
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<StreamSpec, E> {
        text.parse().map_err(E::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<StreamSpec, A::Error> {
        let source = SourceSpec::deserialize(MapAccessDeserializer::new(map))?;
        source.validate_alone().map_err(serde::de::Error::custom)?;
        Ok(StreamSpec(source))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<SourceSpec, String> {
        text.parse::<StreamSpec>().map(|spec| spec.0).map_err(|error| error.to_string())
    }

    #[test]
    fn passwords_are_never_shown() {
        let spec = parse("rtsp://u:secret@h/x").unwrap();
        assert!(!format!("{spec:?}").contains("secret"));
        assert!(!serde_json::to_string(&spec.redacted()).unwrap().contains("secret"));
        assert!(serde_json::to_string(&spec).unwrap().contains("secret"), "the streamer needs it");
    }

    #[test]
    fn a_password_that_is_not_encoded_is_refused_in_every_form() {
        for raw in ["geh#eim", "geh/eim", "geh?eim", "geh@eim", "geh#audio=eim"] {
            for text in [format!("rtsp://u:{raw}@h/x"), format!("ffmpeg:http://u:{raw}@h/x")] {
                let error = parse(&text).unwrap_err();
                assert!(error.contains("%23") && !error.contains("geh") && !error.contains("eim"), "{error}");
            }
            let json = serde_json::json!({ "type": "rtsp", "url": format!("rtsp://u:{raw}@h/x") });
            let error = serde_json::from_value::<StreamSpec>(json).unwrap_err().to_string();
            assert!(error.contains("%23") && !error.contains("geh") && !error.contains("eim"), "{error}");
        }
        for text in
            ["http://u:geh@h", "rtsp://h/x?p=1#geh", "rtsp://h/x?p=1#audio=geh", "ffmpeg:http://h#geh#geh"]
        {
            assert!(!parse(text).unwrap_err().contains("geh"), "{text}");
        }
    }

    #[test]
    fn short_forms_are_read() {
        let SourceSpec::Rtsp(rtsp) = parse("rtsp://u:p@h:554/s1#transport=udp#audio=false").unwrap() else {
            panic!("rtsp")
        };
        assert_eq!(
            (rtsp.url.expose(), rtsp.transport, rtsp.audio),
            ("rtsp://u:p@h:554/s1", RtspTransport::Udp, false)
        );
        let SourceSpec::Ffmpeg(ffmpeg) = parse("ffmpeg:camera1#video=h264#height=360").unwrap() else {
            panic!("ffmpeg")
        };
        assert_eq!((ffmpeg.input.expose(), ffmpeg.height), ("camera1", Some(360)));
        let SourceSpec::Exec(exec) = parse("exec:my-camera --fast 2>/dev/null").unwrap() else {
            panic!("exec")
        };
        assert_eq!(exec.command, Command::Shell("my-camera --fast 2>/dev/null".into()));
        assert!(matches!(parse("test:#width=320#height=180#fps=10"), Ok(SourceSpec::Test(_))));
    }

    #[test]
    fn what_is_wrong_is_named() {
        for (text, part) in [
            ("http://x", "must begin with"),
            ("rtsp:///x", "source.url"),
            ("ffmpeg:x#hight=360", "\"hight\""),
            ("ffmpeg:x#height=big", "height"),
            ("ffmpeg:x#video=vp6", "h264 or vp8 or copy"),
            ("ffmpeg:x#height=360#height=180", "twice"),
            ("ffmpeg:-y", "begin with '-'"),
            ("exec:", "source.command"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn both_forms_are_one_kind_of_entry() {
        let short: StreamSpec = serde_json::from_str(r#""ffmpeg:a.mp4#loop""#).unwrap();
        let full: StreamSpec =
            serde_json::from_str(r#"{"type":"ffmpeg","input":"a.mp4","loop":true}"#).unwrap();
        assert_eq!(short, full);
        assert!(serde_json::from_str::<StreamSpec>(r#"{"type":"window","window_id":1}"#).is_err());
    }
}
