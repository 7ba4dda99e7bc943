//! What the web-server was asked for: flags, `ORIEL_…` environment variables and a configuration file, read once
//! into [`Options`] and [`File`] (where absent stays absent), then merged with the defaults into a plain [`Config`]
//! that is passed by value. A flag goes before its variable, and both before the file. [`keys`] lists all settings.

pub mod access;
pub mod cluster;
pub mod file;
pub mod files;
pub mod keys;
mod network;
mod secrets;
pub mod sessions;

use std::collections::BTreeMap;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand, ValueEnum};
use common::id::{SourceName, StreamerId};
use common::ipc::Settings;
use common::multistream::{DEFAULT_MAX_SLOTS, DEFAULT_STREAMER};
use common::nat::PortRange;
use common::restart::RestartSpec;
use common::signal::IceServer;
use common::spec::{DEFAULT_SLOTS, InvalidField, MAX_SLOTS, SourceSpec, StreamSpec, StreamerSpec};
use serde::Deserialize;
use tracing_subscriber::EnvFilter;

pub use self::access::{Access, AccessError, Allowed, TlsFiles};
pub use self::cluster::Cluster;
pub use self::file::{File, FileError};
pub use self::files::{FileAccess, Files};
use self::keys::Origins;
pub use self::sessions::Sessions;
use crate::ice;
use crate::limits;
use crate::rundir;
pub use crate::secret::Secret;

/// Longest path of a Unix socket on Linux, `sun_path` without its closing NUL.
const MAX_SOCKET_PATH: usize = 107;
/// Of those in a run directory: a sound server's, in [`common::ipc::SHARED_DIR`].
const LONGEST_SOCKET: &str = "shared/pulse.sock";

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

    /// STUN or TURN server for peers: URL, or URL,USER,CREDENTIAL; repeatable, separated by spaces in the environment;
    /// `none` for none [default: a public STUN server]
    #[arg(long, env = "ORIEL_ICE_SERVERS", value_name = "URL[,USER,CREDENTIAL]", value_delimiter = ' ',
          hide_env_values = true, value_parser = parse_ice_option)]
    pub ice_server: Option<Vec<IceOption>>,

    /// Most streamers at once [default: 64]
    #[arg(long, env = "ORIEL_MAX_STREAMERS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_streamers: Option<u32>,

    /// Most peers of one streamer at once [default: 500]
    #[arg(long, env = "ORIEL_MAX_PEERS", value_parser = clap::value_parser!(u32).range(1..))]
    pub max_peers: Option<u32>,

    /// End all streamers when this server ends; otherwise they go on and the next start adopts them
    #[arg(long, env = "ORIEL_STOP_STREAMERS", num_args = 0..=1,
          default_missing_value = "true", value_parser = parse_switch)]
    pub stop_streamers: Option<bool>,

    /// What to log: `error`, `warn`, `info`, `debug`, or a filter by module [default: info]
    #[arg(long, env = "ORIEL_LOG", value_name = "FILTER")]
    pub log: Option<String>,

    /// How to log, on standard error [default: text]
    #[arg(long, env = "ORIEL_LOG_FORMAT", value_enum)]
    pub log_format: Option<LogFormat>,

    /// Stream by its name, as under `streams` in the file, all of which it replaces; repeatable, one a line in the environment
    #[arg(long, env = "ORIEL_STREAMS", value_name = "NAME=SOURCE", value_delimiter = '\n', hide_env_values = true,
          value_parser = parse_stream)]
    pub stream: Option<Vec<(SourceName, StreamSpec)>>,

    /// Name of the streamer that has the streams [default: cameras]
    #[arg(long, env = "ORIEL_MULTISTREAM_STREAMER", value_name = "ID", value_parser = parse_streamer_id)]
    pub multistream_streamer: Option<StreamerId>,

    /// Most slots of one `multistream/*` client, 1..=16 [default: 9]
    #[arg(long, env = "ORIEL_MULTISTREAM_MAX_SLOTS", value_name = "N")]
    pub multistream_max_slots: Option<u8>,

    /// Negotiate all slots with the first offer; otherwise active ones only, and a new offer with each change [default: true]
    #[arg(long, env = "ORIEL_PREALLOCATE_SLOTS", num_args = 0..=1,
          default_missing_value = "true", value_parser = parse_switch)]
    pub preallocate_slots: Option<bool>,

    /// URL of a TURN server that shares a secret with us, from which each peer gets credentials that end; repeatable, separated
    /// by spaces in the environment
    #[arg(long, env = "ORIEL_TURN_URLS", value_name = "URL", value_delimiter = ' ')]
    pub turn_url: Option<Vec<String>>,

    /// That secret, `static-auth-secret` of coturn; better by --turn-secret-file, as everybody on this machine sees flags
    #[arg(long, env = "ORIEL_TURN_SECRET", value_name = "SECRET", hide_env_values = true)]
    pub turn_secret: Option<String>,

    /// File with that secret
    #[arg(long, env = "ORIEL_TURN_SECRET_FILE", value_name = "FILE")]
    pub turn_secret_file: Option<PathBuf>,

    /// For how long such credentials are good, seconds [default: 43200]
    #[arg(long, env = "ORIEL_TURN_TTL_S", value_name = "SECONDS")]
    pub turn_ttl_s: Option<u64>,

    /// UDP ports for streamers, one each [default: any free one]
    #[arg(long, env = "ORIEL_WEBRTC_UDP_PORTS", value_name = "FIRST-LAST")]
    pub webrtc_udp_ports: Option<PortRange>,

    /// TCP port for viewers whom UDP does not reach, one for all streamers; 0: none [default: 8189, unless it is taken]
    #[arg(long, env = "ORIEL_WEBRTC_TCP_PORT", value_name = "PORT")]
    pub webrtc_tcp_port: Option<u16>,

    /// Send media by WebSocket to viewers whom neither UDP nor TCP of WebRTC reaches [default: true]
    #[arg(long, env = "ORIEL_WEBRTC_WEBSOCKET_MEDIA", num_args = 0..=1,
          default_missing_value = "true", value_parser = parse_switch)]
    pub webrtc_websocket_media: Option<bool>,

    /// Address that a 1:1 NAT gives this machine outside: offered to peers in place of its own; at most one of IPv4 and one of
    /// IPv6
    #[arg(long, env = "ORIEL_WEBRTC_PUBLIC_IP", value_name = "IP", value_delimiter = ',')]
    pub webrtc_public_ip: Option<Vec<IpAddr>>,

    /// Network interface whose addresses are offered when --listen-ip names none; `*` stands for any characters, and a name
    /// after `!` is left out; repeatable [default: all]
    #[arg(long, env = "ORIEL_WEBRTC_INTERFACES", value_name = "NAME", value_delimiter = ',')]
    pub webrtc_interface: Option<Vec<String>>,

    /// Addresses that are never contacted, whatever a viewer says of its candidates: NETWORK as in 169.254.0.0/16; repeatable; an
    /// empty one alone denies none [default: link-local, cloud metadata, multicast, broadcast, unspecified]
    #[arg(long, env = "ORIEL_WEBRTC_DENY_CANDIDATES", value_name = "NETWORK", value_delimiter = ',')]
    pub webrtc_deny_candidates: Option<Vec<String>>,

    /// Address at which streams are served by RTSP [default: none]
    #[arg(long, env = "ORIEL_RTSP_LISTEN", value_name = "IP:PORT")]
    pub rtsp_listen: Option<SocketAddr>,

    /// Serve backends and pages that were written for a small SFU: `/ws`, and `/api/v1/tokens` and `/api/v1/rooms` in its words
    /// [default: false]
    #[arg(long, env = "ORIEL_COMPAT_SFU", num_args = 0..=1,
          default_missing_value = "true", value_parser = parse_switch)]
    pub compat_sfu: Option<bool>,

    /// Show each peer in `/metrics`, which makes as many series as there are peers [default: false]
    #[arg(long, env = "ORIEL_METRICS_PER_PEER", num_args = 0..=1,
          default_missing_value = "true", value_parser = parse_switch)]
    pub metrics_per_peer: Option<bool>,

    /// Who may reach it, and as whom.
    #[command(flatten)]
    pub access: access::Options,

    /// How often somebody may ask, join, guess and talk.
    #[command(flatten)]
    pub limits: limits::Options,

    /// As whom sessions run, and what they may take.
    #[command(flatten)]
    pub sessions: sessions::Options,

    /// What may be done with the files of sessions.
    #[command(flatten)]
    pub files: files::Options,

    /// Other machines that it is one with.
    #[command(flatten)]
    pub cluster: cluster::Options,
}

/// The whole command line. What is said before a command may be said after it as well.
#[derive(Debug, Parser)]
#[command(
    name = "web-server",
    version,
    about = "Oriel's control plane: REST, signalling and the web page",
    subcommand_precedence_over_arg = true
)]
struct CommandLine {
    #[command(flatten)]
    options: Options,
    #[command(subcommand)]
    command: Option<Command>,
}

/// What to do other than to serve.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Subcommand)]
pub enum Command {
    /// Says whether the server would start with this configuration, and ends
    CheckConfig,
    /// Shows every setting and where it comes from, secrets hidden, and ends
    PrintConfig,
}

/// `--ice-server`: one server, or the word that there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IceOption(Option<IceServer>);

/// A public STUN server: it tells a browser its address as the internet sees it.
const DEFAULT_STUN: &str = "stun:stun.l.google.com:19302";

/// Shape of a log line.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum LogFormat {
    /// Lines of text.
    #[default]
    Text,
    /// One JSON object per line.
    Json,
}

/// All settings, with defaults and bounds applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// Address of the HTTP server.
    pub listen: SocketAddr,
    /// Absolute; holds the lock file and `run/`.
    pub state_dir: PathBuf,
    /// Path of the streamer program; absolute.
    pub streamer_bin: PathBuf,
    /// Handed to each streamer.
    pub settings: Settings,
    /// STUN and TURN servers for peers.
    pub ice: ice::Config,
    /// Whether the TCP port for media was named, and must be had.
    pub tcp_port_configured: bool,
    /// Whether media is sent by WebSocket where nothing else gets through.
    pub websocket_media: bool,
    /// Where the secret of the TURN servers was read from.
    pub turn_secret_file: Option<PathBuf>,
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
    /// Address at which streams are served by RTSP.
    pub rtsp_listen: Option<SocketAddr>,
    /// What is served for clients of other servers.
    pub compat: Compat,
    /// Show each peer in `/metrics`.
    pub metrics_per_peer: bool,
    /// Who may reach the server, and as whom.
    pub access: Access,
    /// How often somebody may ask, join, guess and talk.
    pub limits: limits::Config,
    /// As whom sessions run, and what they may take.
    pub sessions: Sessions,
    /// What may be done with the files of sessions.
    pub files: Files,
    /// What makes it a node of a cluster.
    pub cluster: Option<Cluster>,
}

/// What is served for clients of other servers, besides what is served always.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Compat {
    /// Rooms, tokens and the WebSocket of a small SFU.
    pub sfu: bool,
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
            max_bitrate_kbps: None,
            room: None,
        };
        (!self.sources.is_empty()).then_some(spec)
    }
}

/// Why there is no configuration to start with.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Who may reach the server is not said, or not in a way that could be.
    #[error(transparent)]
    Access(#[from] AccessError),
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
        /// Path of the file.
        path: PathBuf,
        /// What is wrong in it.
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
    /// These, with what they leave open from `file`.
    fn over(self, file: File) -> Self {
        let or_listed = |options: Option<Vec<_>>, listed: Option<Vec<file::IceEntry>>| {
            let listed = || Some(listed?.into_iter().map(|entry| IceOption(Some(entry.0))).collect());
            options.or_else(listed)
        };
        let (turn_secret, turn_secret_file) = secrets::over(
            (self.turn_secret, self.turn_secret_file),
            (file.turn.secret, file.turn.secret_file),
        );
        let listed_streams = (!file.streams.is_empty()).then(|| file.streams.into_iter().collect());
        Self {
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
            stream: self.stream.or(listed_streams),
            multistream_streamer: self.multistream_streamer.or(file.multistream.streamer),
            multistream_max_slots: self.multistream_max_slots.or(file.multistream.max_slots),
            preallocate_slots: self.preallocate_slots.or(file.slots.preallocate),
            rtsp_listen: self.rtsp_listen.or(file.rtsp.listen),
            compat_sfu: self.compat_sfu.or(file.compat.sfu),
            metrics_per_peer: self.metrics_per_peer.or(file.metrics.per_peer),
            turn_url: self.turn_url.or(file.turn.urls),
            turn_secret,
            turn_secret_file,
            turn_ttl_s: self.turn_ttl_s.or(file.turn.ttl_s),
            webrtc_udp_ports: self.webrtc_udp_ports.or(file.webrtc.udp_ports),
            webrtc_tcp_port: self.webrtc_tcp_port.or(file.webrtc.tcp_port),
            webrtc_websocket_media: self.webrtc_websocket_media.or(file.webrtc.websocket_media),
            webrtc_public_ip: self
                .webrtc_public_ip
                .or(file.webrtc.public_ip.map(|one_or_more| one_or_more.0)),
            webrtc_interface: self.webrtc_interface.or(file.webrtc.interfaces),
            webrtc_deny_candidates: self.webrtc_deny_candidates.or(file.webrtc.deny_candidates),
            access: self.access.over(file.auth, file.http, file.tls),
            limits: self.limits.over(file.limits),
            sessions: self.sessions.over(file.sessions),
            files: self.files.over(file.files),
            cluster: self.cluster.over(file.cluster),
        }
    }

    fn streams(&self) -> Result<Streams, InvalidField> {
        let default = || StreamerId::parse(DEFAULT_STREAMER).expect("a valid id");
        let mut sources = BTreeMap::new();
        for (name, stream) in self.stream.iter().flatten() {
            if sources.insert(name.clone(), stream.0.clone()).is_some() {
                return Err(InvalidField::new("streams", format!("{name} stands twice")));
            }
        }
        let streams = Streams {
            streamer: self.multistream_streamer.clone().unwrap_or_else(default),
            sources,
            max_slots: self.multistream_max_slots.unwrap_or(DEFAULT_MAX_SLOTS),
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

/// What the process was started for.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub config: Config,
    /// Where they come from.
    pub origins: Origins,
    /// Something else than to serve.
    pub command: Option<Command>,
    /// What is odd, and harms nothing.
    pub warnings: Vec<String>,
}

impl Loaded {
    /// Reads flags, environment and file; `--help` and wrong flags end the process here, as is usual.
    ///
    /// # Errors
    /// What was asked for cannot be done.
    pub fn from_process() -> Result<Self, ConfigError> {
        let xdg = std::env::var_os("XDG_STATE_HOME").filter(|v| !v.is_empty()).map(PathBuf::from);
        let exe = std::env::current_exe().map_err(|e| ConfigError::Io("finding this program's file", e))?;
        let matches = CommandLine::command().mut_args(|arg| arg.global(true)).get_matches();
        let command = CommandLine::from_arg_matches(&matches).unwrap_or_else(|error| error.exit()).command;
        // A command has the flags that were given before and after it.
        let matches = matches.subcommand().map_or(&matches, |(_, of_command)| of_command);
        let options = Options::from_arg_matches(matches).unwrap_or_else(|error| error.exit());
        let (path, file) = match &options.config {
            Some(path) => {
                let read = File::read(path).map_err(|error| ConfigError::File { path: path.clone(), error });
                (Some(path.clone()), read?)
            }
            None => (None, File::default()),
        };
        let origins = keys::origins(matches, path.as_ref().map(|path| (path, &file.given)));
        let config = Config::merge(options, file, xdg.as_deref(), &exe)?;
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        let mut warnings = keys::unknown_variables(names);
        if !config.streamer_bin.is_file() {
            let missing = ConfigError::NoStreamer(config.streamer_bin.clone());
            // A configuration can be looked at where it is written, too.
            match command {
                None => return Err(missing),
                Some(_) => warnings.push(missing.to_string()),
            }
        }
        Ok(Self { config, origins, command, warnings })
    }
}

impl Config {
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
        let options = options.over(file);
        let streams = options.streams()?;
        let max_streamers = options.max_streamers.unwrap_or(64);
        let turn = network::turn(&options)?;
        let public_ips = network::public_ips(&options)?;
        let udp_ports = network::udp_ports(&options, max_streamers)?;
        let interfaces = options.webrtc_interface.clone().unwrap_or_default();
        let deny_candidates = network::deny_candidates(&options)?;
        let defaults = Settings::default();
        let mut listen = options.listen.unwrap_or_else(|| SocketAddr::from(([127, 0, 0, 1], 8080)));
        if let Some(port) = options.port {
            listen.set_port(port);
        }
        let limits = limits::Config::merge(&options.limits)?;
        let sessions = Sessions::decide(&options.sessions)?;
        let files = Files::decide(&options.files)?;
        let addresses = std::iter::once(listen).chain(options.rtsp_listen);
        let access = Access::decide(options.access, addresses)?;
        let cluster = Cluster::decide(options.cluster)?;
        let state_dir = options.state_dir.unwrap_or_else(|| match xdg_state {
            Some(dir) => dir.join("oriel"),
            None => PathBuf::from(".oriel"),
        });
        let streamer_bin = options.streamer_bin.unwrap_or_else(|| exe.with_file_name("streamer"));
        let absolute = |path: PathBuf| {
            std::path::absolute(path).map_err(|e| ConfigError::Io("finding the current directory", e))
        };
        let log = options.log.unwrap_or_else(|| "info".into());
        if let Err(error) = EnvFilter::builder().parse(&log) {
            return Err(InvalidField::new("log", error.to_string()).into());
        }
        let servers = match options.ice_server {
            Some(servers) => servers.into_iter().filter_map(|option| option.0).collect(),
            None => vec![stun(DEFAULT_STUN)],
        };
        let state_dir = absolute(state_dir)?;
        let own_files = [&options.config, &access.secrets_file, &options.turn_secret_file];
        let keys = access.tls.as_ref().map(|tls| &tls.key);
        let of_cluster = cluster.iter().flat_map(Cluster::secret_files);
        let hidden = own_files.into_iter().flatten().chain(keys).chain(of_cluster).cloned().map(absolute);
        let hidden = std::iter::once(Ok(state_dir.clone())).chain(hidden).collect::<Result<_, _>>()?;
        let config = Self {
            listen,
            state_dir,
            streamer_bin: absolute(streamer_bin)?,
            settings: Settings {
                listen_ips: options.listen_ip,
                interfaces,
                udp_ports,
                tcp_port: network::tcp_port(options.webrtc_tcp_port),
                public_ips,
                deny_candidates,
                max_peers: options.max_peers.unwrap_or(defaults.max_peers),
                data_messages_per_second: limits.data_messages_per_second,
                preallocate_slots: options.preallocate_slots.unwrap_or(defaults.preallocate_slots),
                isolation: sessions.isolation,
                network: sessions.network,
                hidden,
                // In a terminal anything can be started.
                furnish_desktops: access.allowed.commands.is_none(),
                ..defaults
            },
            ice: ice::Config { servers, turn },
            tcp_port_configured: options.webrtc_tcp_port.is_some(),
            websocket_media: options.webrtc_websocket_media.unwrap_or(true),
            turn_secret_file: options.turn_secret_file,
            max_streamers: max_streamers as usize,
            stop_streamers: options.stop_streamers.unwrap_or_default(),
            log,
            log_format: options.log_format.unwrap_or_default(),
            streams,
            rtsp_listen: options.rtsp_listen,
            compat: Compat { sfu: options.compat_sfu.unwrap_or_default() },
            metrics_per_peer: options.metrics_per_peer.unwrap_or_default(),
            access,
            limits,
            sessions,
            files,
            cluster,
        };
        config.check_socket_path()?;
        Ok(config)
    }

    /// Holds one directory for each streamer.
    pub fn run_root(&self) -> PathBuf {
        self.state_dir.join("run")
    }

    fn check_socket_path(&self) -> Result<(), ConfigError> {
        let path = self.run_root().join("0".repeat(rundir::NAME_LEN)).join(LONGEST_SOCKET);
        match path.as_os_str().len() {
            len if len > MAX_SOCKET_PATH => Err(ConfigError::StateDirTooLong { path, len }),
            _ => Ok(()),
        }
    }
}

fn stun(url: &str) -> IceServer {
    IceServer { urls: vec![url.to_owned()], username: None, credential: None }
}

fn parse_ice_option(text: &str) -> Result<IceOption, String> {
    if text == "none" {
        return Ok(IceOption(None));
    }
    parse_ice_server(text).map(|server| IceOption(Some(server)))
}

/// A setting that is on or off, after its flag or in its variable; empty is off there.
fn parse_switch(text: &str) -> Result<bool, String> {
    match text.trim().to_ascii_lowercase().as_str() {
        "true" | "t" | "yes" | "y" | "on" | "1" => Ok(true),
        "false" | "f" | "no" | "n" | "off" | "0" | "" => Ok(false),
        _ => Err("must be true or false".into()),
    }
}

fn parse_stream(text: &str) -> Result<(SourceName, StreamSpec), String> {
    let (name, source) = text.split_once('=').ok_or("must be NAME=SOURCE")?;
    Ok((name.to_owned(), source.parse().map_err(|error: common::spec::InvalidStream| error.to_string())?))
}

fn parse_streamer_id(text: &str) -> Result<StreamerId, String> {
    StreamerId::parse(text).map_err(|error| error.to_string())
}

fn parse_ice_server(text: &str) -> Result<IceServer, String> {
    let mut parts = text.splitn(3, ',');
    let url = parts.next().unwrap_or_default();
    if !["stun:", "stuns:", "turn:", "turns:"].iter().any(|scheme| url.starts_with(scheme)) {
        return Err("must begin with stun:, stuns:, turn: or turns:".into());
    }
    let username = parts.next();
    let credential = parts.next();
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
        let hidden = vec![config.state_dir.clone()];
        let tcp_port = Some(crate::ice_tcp::DEFAULT_PORT);
        let expected = Settings { hidden, furnish_desktops: true, tcp_port, ..Settings::default() };
        assert_eq!(config.settings, expected);
        assert_eq!(config.ice, ice::Config { servers: vec![stun(DEFAULT_STUN)], turn: None });
    }

    #[test]
    fn a_port_replaces_only_the_port() {
        let config = merge(&["--listen", "[::1]:9000", "--port", "0"]).unwrap();
        assert_eq!(config.listen, "[::1]:0".parse().unwrap());
    }

    #[test]
    fn an_address_that_others_can_reach_needs_a_secret() {
        for address in ["0.0.0.0:8080", "192.168.1.2:80", "[::]:8080"] {
            for flag in ["--listen", "--rtsp-listen"] {
                let error = merge(&[flag, address]).unwrap_err();
                assert!(matches!(error, ConfigError::Access(AccessError::Open(_))), "{error}");
            }
        }
        let with_secret = file("listen: 0.0.0.0:80\nauth: {admin_secrets: [a-secret-of-enough-length]}");
        assert!(!merge_over(&[], with_secret).unwrap().access.secrets.is_empty());
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
        let servers = config.ice.servers;
        assert_eq!(servers[0].urls, ["stun:s:3478"]);
        assert_eq!(servers[1].username.as_deref(), Some("user"));
        assert_eq!(servers[1].credential.as_deref(), Some("se,cret"));
        for bad in ["http://s", "turn:t:3478", ""] {
            assert!(parse_ice_server(bad).is_err(), "{bad}");
        }
        for none in [merge(&["--ice-server", "none"]), merge_over(&[], file("ice_servers: []"))] {
            assert!(none.unwrap().ice.servers.is_empty());
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
        assert_eq!(config.ice.servers[0].urls, ["stun:s"]);
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
        assert_eq!(config.ice.servers[0].urls, ["stun:t"]);
        assert!(merge(&["--stop-streamers"]).unwrap().stop_streamers);
        assert!(!merge(&[]).unwrap().stop_streamers);
    }

    #[test]
    fn switches_are_set_with_and_without_an_equals_sign() {
        let preallocates = |flags: &[&str]| merge(flags).unwrap().settings.preallocate_slots;
        assert!(preallocates(&[]) && preallocates(&["--preallocate-slots"]));
        assert!(preallocates(&["--preallocate-slots", "true"]));
        assert!(!preallocates(&["--preallocate-slots", "false"]));
        assert!(!preallocates(&["--preallocate-slots=false", "--port", "0"]));
        assert!(preallocates(&["--preallocate-slots", "--stop-streamers", "no"]));
        let wrong = Options::try_parse_from(["web-server", "--preallocate-slots", "nonsense"]).unwrap_err();
        assert!(wrong.to_string().contains("true or false"), "{wrong}");
        let line =
            CommandLine::try_parse_from(["web-server", "--preallocate-slots", "check-config"]).unwrap();
        assert!(line.options.preallocate_slots == Some(true) && line.command == Some(Command::CheckConfig));
    }

    #[test]
    fn streams_are_one_streamer() {
        let streams =
            merge_over(&[], file("streams: {a: 'test:', b: 'ffmpeg:a#height=90'}")).unwrap().streams;
        assert_eq!((streams.streamer.as_str(), streams.max_slots), ("cameras", 9));
        let spec = streams.spec().unwrap();
        assert_eq!((spec.source, spec.sources.len()), (None, 2));
        assert_eq!(merge(&[]).unwrap().streams.spec(), None);
        let flags =
            ["--stream", "c=rtsp://h/x?a=b", "--multistream-streamer", "eyes", "--preallocate-slots=false"];
        let config =
            merge_over(&flags, file("streams: {a: 'test:'}\nmultistream: {streamer: cameras}")).unwrap();
        assert_eq!(
            config.streams.sources.keys().collect::<Vec<_>>(),
            ["c"],
            "flags replace all of the file's"
        );
        assert_eq!((config.streams.streamer.as_str(), config.settings.preallocate_slots), ("eyes", false));
        assert!(
            merge(&["--stream", "c=test:", "--stream", "c=test:"]).unwrap_err().to_string().contains("twice")
        );
        for (text, field) in [
            ("multistream: {max_slots: 0}", "multistream.max_slots"),
            ("multistream: {max_slots: 17}", "multistream.max_slots"),
            ("log: 'info,='", "log"),
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
