//! What the web-server was asked for: flags, `ORIEL_…` environment variables and a configuration file, read once
//! into [`Options`] and [`File`] (where absent stays absent), then merged with the defaults into a plain [`Config`]
//! that is passed by value. A flag goes before its variable, and both before the file.

pub mod file;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::builder::FalseyValueParser;
use clap::{Parser, ValueEnum};
use common::id::{SourceName, StreamerId};
use common::ipc::{SOCKET_FILE, Settings};
use common::multistream::{DEFAULT_MAX_SLOTS, DEFAULT_STREAMER};
use common::restart::RestartSpec;
use common::signal::IceServer;
use common::spec::{DEFAULT_SLOTS, InvalidField, MAX_SLOTS, SourceSpec, StreamSpec, StreamerSpec};
use serde::Deserialize;

pub use self::file::{File, FileError};
use crate::supervisor::rundir;

/// Longest path of a Unix socket on Linux, `sun_path` without its closing NUL.
const MAX_SOCKET_PATH: usize = 107;

/// Flags and environment as they were given.
#[derive(Debug, Default, Parser)]
#[command(name = "web-server", version, about = "Oriel's control plane: REST, signalling and the web page")]
pub struct Options {
    /// Configuration file, YAML or TOML; flags and environment go before it
    #[arg(long, env = "ORIEL_CONFIG", value_name = "FILE")]
    pub config: Option<PathBuf>,

    /// Address to listen on [default: 127.0.0.1:8080]
    #[arg(long, env = "ORIEL_LISTEN", value_name = "IP:PORT")]
    pub listen: Option<SocketAddr>,

    /// Port to listen on, in place of the one in --listen; 0 takes a free one
    #[arg(long, env = "ORIEL_PORT")]
    pub port: Option<u16>,

    /// Where run directories are kept [default: $XDG_STATE_HOME/oriel, else ./.oriel]
    #[arg(long, env = "ORIEL_STATE_DIR", value_name = "DIR")]
    pub state_dir: Option<PathBuf>,

    /// The streamer's binary [default: `streamer` beside this program]
    #[arg(long, env = "ORIEL_STREAMER_BIN", value_name = "FILE")]
    pub streamer_bin: Option<PathBuf>,

    /// Address that streamers offer to peers and listen on; repeatable [default: all of this machine]
    #[arg(long, env = "ORIEL_LISTEN_IP", value_name = "IP", value_delimiter = ',')]
    pub listen_ip: Vec<IpAddr>,

    /// STUN or TURN server: URL, or URL,USER,CREDENTIAL; repeatable, separated by spaces in the environment
    #[arg(long, env = "ORIEL_ICE_SERVER", value_name = "URL[,USER,CREDENTIAL]", value_delimiter = ' ',
          value_parser = parse_ice_server)]
    pub ice_server: Vec<IceServer>,

    /// Most streamers at once [default: 64]
    #[arg(long, env = "ORIEL_MAX_STREAMERS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streamers: Option<u32>,

    /// Most peers of one streamer at once [default: 500]
    #[arg(long, env = "ORIEL_MAX_PEERS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_peers: Option<u32>,

    /// End all streamers when this server ends; otherwise they go on and the next start adopts them
    #[arg(long, env = "ORIEL_STOP_STREAMERS", num_args = 0..=1, require_equals = true,
          default_missing_value = "true", value_parser = FalseyValueParser::new())]
    pub stop_streamers: Option<bool>,

    /// What to log: `error`, `warn`, `info`, `debug`, or a filter by module [default: info]
    #[arg(long, env = "ORIEL_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to log, on standard error [default: text]
    #[arg(long, env = "ORIEL_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,
}

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// For people.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// Everything decided.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address of the HTTP server.
    pub listen: SocketAddr,
    /// Absolute; holds the lock file and `run/`.
    pub state_dir: PathBuf,
    /// Absolute.
    pub streamer_bin: PathBuf,
    /// Handed to each streamer.
    pub settings: Settings,
    /// Most streamers at once.
    pub max_streamers: usize,
    /// End all streamers on shutdown.
    pub stop_streamers: bool,
    /// Filter of `tracing_subscriber::EnvFilter`.
    pub log: String,
    /// Shape of a log line.
    pub log_format: LogFormat,
    /// The configured streams, which one streamer has together.
    pub streams: Streams,
}

/// What `multistream/*` serves.
#[derive(Debug, Clone, PartialEq)]
pub struct Streams {
    /// Name of their streamer.
    pub streamer: StreamerId,
    /// By name; without any there is no streamer.
    pub sources: BTreeMap<SourceName, SourceSpec>,
    /// Most slots of one client.
    pub max_slots: u8,
}

impl Streams {
    /// What their streamer is made from, if there are any.
    pub fn spec(&self) -> Option<StreamerSpec> {
        let spec = StreamerSpec {
            source: None,
            sources: self.sources.clone(),
            share: false,
            slots: DEFAULT_SLOTS,
            restart: RestartSpec::default(),
        };
        (!self.sources.is_empty()).then_some(spec)
    }
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Somebody else could reach the server.
    #[error(
        "refusing to listen on {0}: access control is not built yet, so only loopback addresses are \
         allowed (for example --listen 127.0.0.1:8080); use an SSH tunnel to reach it from elsewhere"
    )]
    NotLoopback(SocketAddr),
    /// Nothing to start streamers with.
    #[error("no streamer binary at {}: build it (cargo build -p streamer) or name it with --streamer-bin", .0.display())]
    NoStreamer(PathBuf),
    /// Sockets in it could not be bound.
    #[error(
        "the state directory's path is too long for sockets in it: {} would have {len} bytes, at most \
         {MAX_SOCKET_PATH} are possible; choose a shorter --state-dir", .path.display()
    )]
    StateDirTooLong {
        /// A socket in it.
        path: PathBuf,
        /// Length of that path in bytes.
        len: usize,
    },
    /// The configuration file says something that cannot be.
    #[error("{}: {error}", .path.display())]
    File {
        /// Which file.
        path: PathBuf,
        /// What.
        error: FileError,
    },
    /// It says something that cannot be done.
    #[error("{0}")]
    Invalid(#[from] InvalidField),
    /// The system does not say where we are.
    #[error("{0}: {1}")]
    Io(&'static str, #[source] std::io::Error),
}

impl Options {
    /// These, with what they leave open from `file`; and what else there is in it.
    fn over(self, file: File) -> (Self, Rest) {
        let File { streams, multistream, slots, .. } = file;
        let or_listed = |flags: Vec<_>, listed: Vec<file::IceEntry>| {
            if flags.is_empty() { listed.into_iter().map(|entry| entry.0).collect() } else { flags }
        };
        let options = Self {
            config: self.config,
            // A port belongs to the address that it stands beside.
            port: self.port.or(if self.listen.is_some() { None } else { file.port }),
            listen: self.listen.or(file.listen),
            state_dir: self.state_dir.or(file.state_dir),
            streamer_bin: self.streamer_bin.or(file.streamer_bin),
            listen_ip: if self.listen_ip.is_empty() { file.listen_ips } else { self.listen_ip },
            ice_server: or_listed(self.ice_server, file.ice_servers),
            max_streamers: self.max_streamers.or(file.max_streamers.map(Into::into)),
            max_peers: self.max_peers.or(file.max_peers.map(Into::into)),
            stop_streamers: self.stop_streamers.or(file.stop_streamers),
            log: self.log.or(file.log),
            log_format: self.log_format.or(file.log_format),
        };
        (options, Rest { streams, multistream, slots })
    }
}

/// What there is only in a configuration file.
struct Rest {
    streams: BTreeMap<SourceName, StreamSpec>,
    multistream: file::Multistream,
    slots: file::Slots,
}

impl Rest {
    fn streams(&self) -> Result<Streams, InvalidField> {
        let default = || StreamerId::parse(DEFAULT_STREAMER).expect("a valid id");
        let streams = Streams {
            streamer: self.multistream.streamer.clone().unwrap_or_else(default),
            sources: self.streams.iter().map(|(name, stream)| (name.clone(), stream.0.clone())).collect(),
            max_slots: self.multistream.max_slots.unwrap_or(DEFAULT_MAX_SLOTS),
        };
        if !(1..=MAX_SLOTS).contains(&streams.max_slots) {
            let message = format!("must be from 1 to {MAX_SLOTS}, not {}", streams.max_slots);
            return Err(InvalidField::new("multistream.max_slots", message));
        }
        if let Some(spec) = streams.spec() {
            spec.validate().map_err(|error| InvalidField { field: "streams", ..error })?;
        }
        Ok(streams)
    }
}

impl Config {
    /// Reads flags and environment; `--help` and wrong flags end the process here, as is usual.
    ///
    /// # Errors
    /// What was asked for cannot be done.
    pub fn load() -> Result<Self, ConfigError> {
        let xdg = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let exe = std::env::current_exe().map_err(|e| ConfigError::Io("finding this program's file", e))?;
        let options = Options::parse();
        let file = match &options.config {
            Some(path) => {
                File::read(path).map_err(|error| ConfigError::File { path: path.clone(), error })?
            }
            None => File::default(),
        };
        let config = Self::merge(options, file, xdg.as_deref(), &exe)?;
        if !config.streamer_bin.is_file() {
            return Err(ConfigError::NoStreamer(config.streamer_bin));
        }
        Ok(config)
    }

    /// Fills in what `options` leave open from `file`, and what that leaves open from the defaults. `xdg_state` is
    /// `$XDG_STATE_HOME`, `exe` this program's file.
    ///
    /// # Errors
    /// What was asked for cannot be done.
    pub fn merge(
        options: Options,
        file: File,
        xdg_state: Option<&Path>,
        exe: &Path,
    ) -> Result<Self, ConfigError> {
        let (options, rest) = options.over(file);
        let streams = rest.streams()?;
        let defaults = Settings::default();
        let mut listen = options.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        if let Some(port) = options.port {
            listen.set_port(port);
        }
        if !listen.ip().is_loopback() {
            return Err(ConfigError::NotLoopback(listen));
        }
        let state_dir = options.state_dir.unwrap_or_else(|| match xdg_state {
            Some(dir) => dir.join("oriel"),
            None => PathBuf::from(".oriel"),
        });
        let streamer_bin = options.streamer_bin.unwrap_or_else(|| exe.with_file_name("streamer"));
        let absolute = |path: PathBuf| {
            std::path::absolute(path).map_err(|e| ConfigError::Io("finding the current directory", e))
        };
        let config = Self {
            listen,
            state_dir: absolute(state_dir)?,
            streamer_bin: absolute(streamer_bin)?,
            settings: Settings {
                ice_servers: options.ice_server,
                listen_ips: options.listen_ip,
                max_peers: options.max_peers.unwrap_or(defaults.max_peers),
                preallocate_slots: rest.slots.preallocate.unwrap_or(defaults.preallocate_slots),
                ..defaults
            },
            max_streamers: options.max_streamers.unwrap_or(64) as usize,
            stop_streamers: options.stop_streamers.unwrap_or_default(),
            log: options.log.unwrap_or_else(|| "info".into()),
            log_format: options.log_format.unwrap_or_default(),
            streams,
        };
        config.check_socket_path()?;
        Ok(config)
    }

    /// Holds one directory for each streamer.
    pub fn run_root(&self) -> PathBuf {
        self.state_dir.join("run")
    }

    fn check_socket_path(&self) -> Result<(), ConfigError> {
        let path = self.run_root().join("0".repeat(rundir::NAME_LEN)).join(SOCKET_FILE);
        match path.as_os_str().len() {
            len if len > MAX_SOCKET_PATH => Err(ConfigError::StateDirTooLong { path, len }),
            _ => Ok(()),
        }
    }
}

fn parse_ice_server(text: &str) -> Result<IceServer, String> {
    let mut parts = text.splitn(3, ',');
    let url = parts.next().unwrap_or_default();
    if !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("must begin with stun:, stuns:, turn: or turns:".into());
    }
    let (username, credential) = (parts.next(), parts.next());
    if url.starts_with("turn") && credential.is_none() {
        return Err("a TURN server needs a user and a credential: URL,USER,CREDENTIAL".into());
    }
    Ok(IceServer {
        urls: vec![url.to_owned()],
        username: username.map(str::to_owned),
        credential: credential.map(str::to_owned),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merge(args: &[&str]) -> Result<Config, ConfigError> {
        merge_over(args, File::default())
    }

    fn merge_over(args: &[&str], file: File) -> Result<Config, ConfigError> {
        let options = Options::try_parse_from(std::iter::once("web-server").chain(args.iter().copied()))
            .expect("valid flags");
        Config::merge(options, file, None, Path::new("/opt/oriel/web-server"))
    }

    fn file(yaml: &str) -> File {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        std::fs::write(&path, yaml).unwrap();
        File::read(&path).unwrap()
    }

    #[test]
    fn without_flags_it_listens_on_loopback_and_runs_the_streamer_beside_it() {
        let config = merge(&[]).unwrap();
        assert_eq!(config.listen, "127.0.0.1:8080".parse().unwrap());
        assert_eq!(config.streamer_bin, Path::new("/opt/oriel/streamer"));
        assert!(config.state_dir.is_absolute() && config.state_dir.ends_with(".oriel"));
        assert_eq!(config.settings, Settings::default());
    }

    #[test]
    fn a_port_replaces_only_the_port() {
        let config = merge(&["--listen", "[::1]:9000", "--port", "0"]).unwrap();
        assert_eq!(config.listen, "[::1]:0".parse().unwrap());
    }

    #[test]
    fn an_address_that_others_can_reach_is_refused_with_the_reason() {
        for address in ["0.0.0.0:8080", "192.168.1.2:80", "[::]:8080"] {
            let error = merge(&["--listen", address]).unwrap_err();
            assert!(matches!(error, ConfigError::NotLoopback(_)), "{error}");
            assert!(error.to_string().contains("access control"), "{error}");
        }
    }

    #[test]
    fn the_state_directory_follows_xdg_and_a_flag_beats_it() {
        let xdg = Some(Path::new("/var/lib/me"));
        let exe = Path::new("/x");
        let config = Config::merge(Options::default(), File::default(), xdg, exe).unwrap();
        assert_eq!(config.state_dir, Path::new("/var/lib/me/oriel"));
        let options = Options { state_dir: Some("/s".into()), ..Options::default() };
        assert_eq!(Config::merge(options, File::default(), xdg, exe).unwrap().state_dir, Path::new("/s"));
    }

    #[test]
    fn a_state_directory_too_deep_for_sockets_is_refused() {
        let deep = format!("/{}", "d".repeat(90));
        let error = merge(&["--state-dir", &deep]).unwrap_err();
        assert!(matches!(error, ConfigError::StateDirTooLong { .. }), "{error}");
    }

    #[test]
    fn ice_servers_carry_their_credentials() {
        let config =
            merge(&["--ice-server", "stun:s:3478", "--ice-server", "turn:t:3478,user,se,cret"]).unwrap();
        let servers = config.settings.ice_servers;
        assert_eq!(servers[0].urls, ["stun:s:3478"]);
        assert_eq!(servers[1].username.as_deref(), Some("user"));
        assert_eq!(servers[1].credential.as_deref(), Some("se,cret"));
        for bad in ["http://s", "turn:t:3478", ""] {
            assert!(parse_ice_server(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_go_before_the_file_and_the_file_before_defaults() {
        let text = "listen: '[::1]:9000'\nport: 9001\nmax_peers: 7\nstop_streamers: true\n\
                    listen_ips: [127.0.0.1]\nice_servers: ['stun:s']\nlog: debug\nslots: {preallocate: false}";
        let config = merge_over(&[], file(text)).unwrap();
        assert_eq!(config.listen, "[::1]:9001".parse().unwrap());
        assert_eq!(
            (config.settings.max_peers, config.stop_streamers, config.log.as_str()),
            (7, true, "debug")
        );
        assert_eq!(config.settings.listen_ips, ["127.0.0.1".parse::<IpAddr>().unwrap()]);
        assert_eq!(config.settings.ice_servers[0].urls, ["stun:s"]);
        assert!(!config.settings.preallocate_slots);
        let flags = [
            "--listen",
            "127.0.0.1:1",
            "--max-peers",
            "8",
            "--stop-streamers=false",
            "--ice-server",
            "stun:t",
        ];
        let config = merge_over(&flags, file(text)).unwrap();
        assert_eq!(
            config.listen,
            "127.0.0.1:1".parse().unwrap(),
            "the file's port is that of its own address"
        );
        assert_eq!((config.settings.max_peers, config.stop_streamers), (8, false));
        assert_eq!(config.settings.ice_servers[0].urls, ["stun:t"]);
        assert!(merge(&["--stop-streamers"]).unwrap().stop_streamers);
        assert!(!merge(&[]).unwrap().stop_streamers);
    }

    #[test]
    fn streams_are_one_streamer() {
        let streams =
            merge_over(&[], file("streams: {a: 'test:', b: 'ffmpeg:a#height=90'}")).unwrap().streams;
        assert_eq!((streams.streamer.as_str(), streams.max_slots), ("cameras", 9));
        let spec = streams.spec().unwrap();
        assert_eq!((spec.source, spec.sources.len()), (None, 2));
        assert_eq!(merge(&[]).unwrap().streams.spec(), None);
        for (text, field) in [
            ("multistream: {max_slots: 0}", "multistream.max_slots"),
            ("multistream: {max_slots: 17}", "multistream.max_slots"),
            ("streams: {main: 'test:'}", "streams"),
            ("streams: {'a b': 'test:'}", "streams"),
        ] {
            let error = merge_over(&[], file(text)).unwrap_err();
            assert!(
                matches!(&error, ConfigError::Invalid(invalid) if invalid.field == field),
                "{text}: {error}"
            );
        }
    }

    #[test]
    fn the_example_is_a_configuration() {
        let example = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/oriel.example.yaml");
        let config = merge_over(&[], File::read(&example).unwrap()).unwrap();
        assert!(config.streams.sources.len() >= 4, "{:?}", config.streams);
    }
}
