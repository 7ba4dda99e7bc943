//! The configuration file, YAML or TOML by its extension. It is read into [`File`], where absent settings stay absent; flags and
//! environment take precedence. `docs/CONFIG.md` describes it, `docs/oriel.example.yaml` is one.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use common::id::{SourceName, StreamerId};
use common::nat::PortRange;
use common::signal::IceServer;
use common::spec::StreamSpec;
use serde::Deserialize;
use serde_json::Value;

use super::access::{AuthFile, HttpFile, TlsFile};
use super::{LogFormat, cluster, files, keys, parse_ice_server, sessions};
use crate::limits;

/// Longest configuration file, in bytes.
const MAX_FILE: u64 = 1024 * 1024;
/// Least similarity of a name that is suggested for an unknown one (Jaro–Winkler, 1 is equal).
const SIMILAR: f64 = 0.75;

/// A configuration file as it was written.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// Paths of the settings that it has; see [`keys::KEYS`].
    #[serde(skip)]
    pub given: BTreeSet<&'static str>,
    /// `--listen`.
    pub listen: Option<SocketAddr>,
    /// `--port`.
    pub port: Option<u16>,
    /// `--state-dir`.
    pub state_dir: Option<PathBuf>,
    /// `--streamer-bin`.
    pub streamer_bin: Option<PathBuf>,
    /// `--listen-ip`.
    #[serde(default)]
    pub listen_ips: Vec<IpAddr>,
    /// `--ice-server`.
    pub ice_servers: Option<Vec<IceEntry>>,
    /// `--max-streamers`.
    pub max_streamers: Option<std::num::NonZeroU32>,
    /// `--max-peers`.
    pub max_peers: Option<std::num::NonZeroU32>,
    /// `--stop-streamers`.
    pub stop_streamers: Option<bool>,
    /// `--log`.
    pub log: Option<String>,
    /// `--log-format`.
    pub log_format: Option<LogFormat>,
    /// Streams by name, such as cameras. One streamer has all of them and is always there.
    #[serde(default)]
    pub streams: BTreeMap<SourceName, StreamSpec>,
    /// How the streams are served by `multistream/*`.
    #[serde(default, deserialize_with = "section")]
    pub multistream: Multistream,
    /// How slots are negotiated.
    #[serde(default, deserialize_with = "section")]
    pub slots: SlotsSection,
    /// TURN servers with credentials that expire.
    #[serde(default, deserialize_with = "section")]
    pub turn: TurnSection,
    /// Ports and addresses of streamers.
    #[serde(default, deserialize_with = "section")]
    pub webrtc: Webrtc,
    /// Streams by RTSP.
    #[serde(default, deserialize_with = "section")]
    pub rtsp: Rtsp,
    /// Clients of other servers.
    #[serde(default, deserialize_with = "section")]
    pub compat: CompatSection,
    /// What `/metrics` shows.
    #[serde(default, deserialize_with = "section")]
    pub metrics: MetricsSection,
    /// Admin secrets, and what admins may start.
    #[serde(default, deserialize_with = "section")]
    pub auth: AuthFile,
    /// Names and proxies by which the server is reached.
    #[serde(default, deserialize_with = "section")]
    pub http: HttpFile,
    /// Section `tls`: certificate and key.
    #[serde(default, deserialize_with = "section")]
    pub tls: TlsFile,
    /// Rate limits.
    #[serde(default, deserialize_with = "section")]
    pub limits: limits::File,
    /// User, limits and lifetimes of sessions.
    #[serde(default, deserialize_with = "section")]
    pub sessions: sessions::File,
    /// Access to the files of sessions.
    #[serde(default, deserialize_with = "section")]
    pub files: files::File,
    /// Other machines that the server is one with.
    #[serde(default, deserialize_with = "section")]
    pub cluster: cluster::File,
}

/// A section may be there without keys.
fn section<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: serde::Deserializer<'de>,
    T: Default + Deserialize<'de>,
{
    Ok(Option::deserialize(deserializer)?.unwrap_or_default())
}

/// `multistream:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Multistream {
    /// Name of the streamer of the streams.
    pub streamer: Option<StreamerId>,
    /// Most slots of one client.
    pub max_slots: Option<u8>,
}

/// `slots:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SlotsSection {
    /// Negotiate all slots with the first offer.
    pub preallocate: Option<bool>,
}

/// `turn:`.
#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TurnSection {
    /// `--turn-url`.
    pub urls: Option<Vec<String>>,
    /// `--turn-secret`.
    pub secret: Option<String>,
    /// `--turn-secret-file`.
    pub secret_file: Option<PathBuf>,
    /// `--turn-ttl-s`.
    pub ttl_s: Option<u64>,
}

impl std::fmt::Debug for TurnSection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { urls, secret_file, ttl_s, .. } = self;
        let mut shown = f.debug_struct("TurnSection");
        shown
            .field("urls", urls)
            .field("secret_file", secret_file)
            .field("ttl_s", ttl_s)
            .finish_non_exhaustive()
    }
}

/// `webrtc:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Webrtc {
    /// `--webrtc-udp-ports`.
    pub udp_ports: Option<PortRange>,
    /// `--webrtc-tcp-port`.
    pub tcp_port: Option<u16>,
    /// `--webrtc-websocket-media`.
    pub websocket_media: Option<bool>,
    /// `--webrtc-public-ip`.
    pub public_ip: Option<Addresses>,
    /// `--webrtc-interface`.
    pub interfaces: Option<Vec<String>>,
    /// `--webrtc-deny-candidates`.
    pub deny_candidates: Option<Vec<String>>,
}

/// One address, or a list of them.
#[derive(Debug, PartialEq, Eq)]
pub struct Addresses(pub Vec<IpAddr>);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let value = match Value::deserialize(deserializer)? {
            one @ Value::String(_) => Value::Array(vec![one]),
            other => other,
        };
        serde_json::from_value(value).map(Self).map_err(serde::de::Error::custom)
    }
}

/// `rtsp:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rtsp {
    /// `--rtsp-listen`.
    pub listen: Option<SocketAddr>,
}

/// `compat:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct CompatSection {
    /// `--compat-sfu`.
    pub sfu: Option<bool>,
}

/// `metrics:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MetricsSection {
    /// `--metrics-per-peer`.
    pub per_peer: Option<bool>,
}

/// One of `ice_servers:`, in full or as for `--ice-server`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceEntry(pub IceServer);

impl<'de> Deserialize<'de> for IceEntry {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        use serde::de::Error as _;
        let entry = match Value::deserialize(deserializer)? {
            Value::String(text) => {
                parse_ice_server(&text).map_err(|message| D::Error::custom(format!("{text:?} {message}")))
            }
            other => serde_json::from_value(other).map_err(D::Error::custom),
        };
        entry.map(Self)
    }
}

/// Format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// YAML 1.2.
    Yaml,
    /// TOML 1.1.
    Toml,
}

/// Why a configuration file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum FileError {
    /// It cannot be read.
    #[error("{0}")]
    Read(#[from] std::io::Error),
    /// It is too long.
    #[error("has more than {MAX_FILE} bytes")]
    TooLong,
    /// Its extension is unknown.
    #[error("its name must end in .yaml, .yml or .toml")]
    Kind,
    /// It is no YAML or TOML.
    #[error("{0}")]
    Syntax(String),
    /// A key is unknown, or a value is invalid.
    #[error("{path}: {message}")]
    Value {
        /// Where in the file, such as `streams.door.url`.
        path: String,
        /// What is wrong, and what may have been meant.
        message: String,
    },
}

impl File {
    /// Reads the file.
    ///
    /// # Errors
    /// [`FileError`].
    pub fn read(path: &Path) -> Result<Self, FileError> {
        if std::fs::metadata(path)?.len() > MAX_FILE {
            return Err(FileError::TooLong);
        }
        let text = std::fs::read_to_string(path)?;
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("yaml" | "yml") => Self::parse(&text, Format::Yaml),
            Some("toml") => Self::parse(&text, Format::Toml),
            _ => Err(FileError::Kind),
        }
    }

    /// Parses `text`.
    ///
    /// # Errors
    /// [`FileError`], which contains no part of `text` that may be a password.
    pub fn parse(text: &str, format: Format) -> Result<Self, FileError> {
        match format {
            Format::Yaml => Self::from_value(yaml(text)?),
            Format::Toml => {
                // Its own text would show the line, in which a password may stand.
                let wrong =
                    |error: toml::de::Error| FileError::Syntax(position(text, error.span(), error.message()));
                Self::from_value(toml::from_str(text).map_err(wrong)?)
            }
        }
    }

    pub(super) fn from_value(value: Value) -> Result<Self, FileError> {
        // An empty file says nothing.
        let value = if value.is_null() { Value::Object(serde_json::Map::new()) } else { value };
        if !value.is_object() {
            let message = "must be keys with their values".to_owned();
            return Err(FileError::Value { path: "the file".into(), message });
        }
        let given = keys::given(&value);
        let file: Self = serde_path_to_error::deserialize(value).map_err(|error| {
            let path = match error.path().to_string() {
                path if path == "." => "the file".to_owned(),
                path => path,
            };
            FileError::Value { path, message: with_suggestion(&error.inner().to_string()) }
        })?;
        Ok(Self { given, ..file })
    }
}

fn yaml(text: &str) -> Result<Value, FileError> {
    let options = serde_saphyr::options! {
        // "on" and "yes" are words; and the lines around an error may hold a password.
        strict_booleans: true,
        with_snippet: false,
    };
    serde_saphyr::from_str_with_options(text, options).map_err(|error| FileError::Syntax(error.to_string()))
}

fn position(text: &str, span: Option<std::ops::Range<usize>>, message: &str) -> String {
    let line = span.and_then(|span| text.get(..span.start)).map(|before| before.matches('\n').count() + 1);
    match line {
        Some(line) => format!("line {line}: {message}"),
        None => message.to_owned(),
    }
}

/// Serde's error about an unknown name, with the known one that is most like it.
fn with_suggestion(message: &str) -> String {
    let mut names = message.split('`').skip(1).step_by(2);
    let meant = names
        .next()
        .filter(|_| message.starts_with("unknown "))
        .and_then(|unknown| most_similar(unknown, names, 0));
    match meant {
        Some(known) => format!("{message}; did you mean `{known}`?"),
        None => message.to_owned(),
    }
}

/// The known name that may have been meant by one that is not. The first `prefix` bytes are in all of them.
pub(super) fn most_similar<'a>(
    name: &str,
    known: impl Iterator<Item = &'a str>,
    prefix: usize,
) -> Option<&'a str> {
    let own = |name: &'a str| name.get(prefix..).unwrap_or(name);
    let meant = name.get(prefix..).unwrap_or(name);
    let similar = known.map(|known| (strsim::jaro_winkler(meant, own(known)), known));
    let (_, known) =
        similar.filter(|(similarity, _)| *similarity > SIMILAR).max_by(|(a, _), (b, _)| a.total_cmp(b))?;
    Some(known)
}

#[cfg(test)]
mod tests {
    use super::*;
    use common::spec::SourceSpec;

    fn read(name: &str, text: &str) -> Result<File, String> {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(name);
        std::fs::write(&path, text).unwrap();
        File::read(&path).map_err(|error| error.to_string())
    }

    const YAML: &str = r#"
listen: 127.0.0.1:9000
ice_servers: ["stun:s:3478", {urls: ["turn:t"], username: u, credential: c}]
log_format: json
streams:
  front: rtsp://admin:pass@10.0.0.7/1
  front-360p: ffmpeg:front#height=360
  pattern: {type: test, width: 320, height: 180, fps: 10}
multistream: {streamer: eyes, max_slots: 6}
slots: {preallocate: false}
"#;

    const TOML: &str = r#"
listen = "127.0.0.1:9000"
ice_servers = ["stun:s:3478", { urls = ["turn:t"], username = "u", credential = "c" }]
log_format = "json"
[streams]
front = "rtsp://admin:pass@10.0.0.7/1"
front-360p = "ffmpeg:front#height=360"
pattern = { type = "test", width = 320, height = 180, fps = 10 }
[multistream]
streamer = "eyes"
max_slots = 6
[slots]
preallocate = false
"#;

    #[test]
    fn yaml_and_toml_say_the_same() {
        let file = read("a.yaml", YAML).unwrap();
        assert_eq!(Ok(&file), read("a.toml", TOML).as_ref());
        assert_eq!(file.listen, "127.0.0.1:9000".parse().ok());
        assert_eq!(file.ice_servers.as_ref().map(Vec::len), Some(2));
        assert!(file.given.contains("slots.preallocate") && !file.given.contains("port"));
        assert_eq!(file.streams.keys().collect::<Vec<_>>(), ["front", "front-360p", "pattern"]);
        assert!(matches!(&file.streams["pattern"].0, SourceSpec::Test(test) if test.width == 320));
        assert_eq!((file.multistream.max_slots, file.slots.preallocate), (Some(6), Some(false)));
    }

    #[test]
    fn an_empty_file_says_nothing() {
        for name in ["a.yaml", "a.yml", "a.toml"] {
            assert_eq!(read(name, "# nothing\n"), Ok(File::default()), "{name}");
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_what_was_meant() {
        for (text, parts) in [
            ("lisen: 127.0.0.1:80", &["lisen", "did you mean `listen`"][..]),
            ("multistream: {max_slot: 3}", &["multistream.max_slot", "did you mean `max_slots`"]),
            ("slots: {prealocate: true}", &["slots.prealocate", "did you mean `preallocate`"]),
            ("quantum: 1", &["quantum", "expected one of"]),
            ("streams: {a: {type: test, widht: 320}}", &["streams.a", "did you mean `width`"]),
            ("streams: {a: {type: tset}}", &["streams.a", "did you mean `test`"]),
            ("streams: {a: \"ffmpeg:x#hight=360\"}", &["streams.a", "hight"]),
            ("port: 80000", &["port"]),
            ("max_peers: 0", &["max_peers"]),
            ("listen: nowhere", &["listen"]),
            ("log_format: xml", &["log_format"]),
            ("multistream: {streamer: a b}", &["multistream.streamer"]),
            ("ice_servers: [http://x]", &["ice_servers[0]", "stun:"]),
            ("stop_streamers: yes", &["stop_streamers"]),
            ("port: 1\nport: 2", &["port", "line 2"]),
            ("a: [", &["line"]),
            ("- 1", &["the file"]),
        ] {
            let error = read("a.yaml", text).unwrap_err();
            for part in parts {
                assert!(error.contains(part), "{text}: {error}");
            }
        }
        let error = read("a.toml", "a = 1\nb = rtsp://u:secret@h").unwrap_err();
        assert!(error.starts_with("line 2:") && !error.contains("secret"), "{error}");
        assert!(read("a.json", "{}").unwrap_err().contains(".toml"));
    }

    #[test]
    fn a_password_is_in_no_error() {
        for text in
            ["streams:\n  a: rtsp://u:secret@h/x\n  a: rtsp://u:secret@h/y", "a: \"rtsp://u:secret@h\n\tb: ]"]
        {
            let error = read("a.yaml", text).unwrap_err();
            assert!(!error.contains("secret"), "{error}");
        }
    }
}
