//! Every setting by its name in the file: which flag and variable say the same, what it is now, and where that comes from.
//!
//! A new setting is a field of [`Options`], one of [`super::File`] or its sections, and a line of [`KEYS`]; tests
//! hold these, `docs/oriel.example.yaml` and `docs/CONFIG.md` together.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::path::PathBuf;

use clap::parser::ValueSource;
use clap::{ArgMatches, CommandFactory};
use common::signal::IceServer;
use common::spec::{Command, SourceSpec};
use serde_json::{Value, json};

use super::{Cluster, Config, LogFormat, Options, file};
use crate::supervisor::users::RunAs;

/// Stands for a secret.
pub(super) const HIDDEN: &str = "***";

/// A setting, by all its names.
#[derive(Clone, Copy)]
pub struct Key {
    /// In the file; a dot is between a section and its key.
    pub path: &'static str,
    /// Its field in [`Options`].
    pub option: &'static str,
    /// What it is, without secrets.
    shown: fn(&Config) -> Value,
}

const fn key(path: &'static str, option: &'static str, shown: fn(&Config) -> Value) -> Key {
    Key { path, option, shown }
}

/// All settings, in the order in which they are shown. Those of a section stand together.
pub const KEYS: &[Key] = &[
    key("listen", "listen", |c| json!(c.listen)),
    key("port", "port", |c| json!(c.listen.port())),
    key("state_dir", "state_dir", |c| json!(c.state_dir)),
    key("streamer_bin", "streamer_bin", |c| json!(c.streamer_bin)),
    key("listen_ips", "listen_ip", |c| json!(c.settings.listen_ips)),
    key("ice_servers", "ice_server", |c| c.ice.servers.iter().map(ice_server).collect()),
    key("max_streamers", "max_streamers", |c| json!(c.max_streamers)),
    key("max_peers", "max_peers", |c| json!(c.settings.max_peers)),
    key("stop_streamers", "stop_streamers", |c| json!(c.stop_streamers)),
    key("log", "log", |c| json!(c.log)),
    key("log_format", "log_format", |c| match c.log_format {
        LogFormat::Text => json!("text"),
        LogFormat::Json => json!("json"),
    }),
    key("streams", "stream", |c| {
        c.streams.sources.iter().map(|(name, source)| (name.to_string(), stream(source))).collect()
    }),
    key("multistream.streamer", "multistream_streamer", |c| json!(c.streams.streamer)),
    key("multistream.max_slots", "multistream_max_slots", |c| json!(c.streams.max_slots)),
    key("slots.preallocate", "preallocate_slots", |c| json!(c.settings.preallocate_slots)),
    key("turn.urls", "turn_url", |c| json!(c.ice.turn.as_ref().map(|turn| &turn.urls))),
    key("turn.secret", "turn_secret", |c| json!(c.ice.turn.as_ref().map(|_| HIDDEN))),
    key("turn.secret_file", "turn_secret_file", |c| json!(c.turn_secret_file)),
    key("turn.ttl_s", "turn_ttl_s", |c| json!(c.ice.turn.as_ref().map(|turn| turn.ttl.as_secs()))),
    key("webrtc.udp_ports", "webrtc_udp_ports", |c| json!(c.settings.udp_ports)),
    key("webrtc.tcp_port", "webrtc_tcp_port", |c| json!(c.settings.tcp_port.unwrap_or_default())),
    key("webrtc.websocket_media", "webrtc_websocket_media", |c| json!(c.websocket_media)),
    key("webrtc.public_ip", "webrtc_public_ip", |c| json!(c.settings.public_ips)),
    key("webrtc.interfaces", "webrtc_interface", |c| json!(c.settings.interfaces)),
    key("webrtc.deny_candidates", "webrtc_deny_candidates", |c| json!(c.settings.deny_candidates)),
    key("rtsp.listen", "rtsp_listen", |c| json!(c.rtsp_listen)),
    key("compat.sfu", "compat_sfu", |c| json!(c.compat.sfu)),
    key("metrics.per_peer", "metrics_per_peer", |c| json!(c.metrics_per_peer)),
    key("auth.admin_secrets", "admin_secret", |c| json!(vec![HIDDEN; c.access.secrets.len()])),
    key("auth.admin_secrets_file", "admin_secret_file", |c| json!(c.access.secrets_file)),
    key("auth.allowed_commands", "allowed_command", |c| json!(c.access.allowed.commands)),
    key("auth.allowed_inputs", "allowed_input", |c| json!(c.access.allowed.inputs)),
    key("auth.allowed_homes", "allowed_home", |c| json!(c.access.allowed.homes)),
    key("http.base_path", "base_path", |c| json!(c.access.base_path)),
    key("http.allowed_hosts", "allowed_host", |c| json!(c.access.hosts)),
    key("http.allowed_origins", "allowed_origin", |c| json!(c.access.origins)),
    key("http.trusted_proxies", "trusted_proxy", |c| {
        c.access.trusted_proxies.iter().map(|network| json!(network.to_string())).collect()
    }),
    key("tls.cert", "tls_cert", |c| json!(c.access.tls.as_ref().map(|tls| &tls.cert))),
    key("tls.key", "tls_key", |c| json!(c.access.tls.as_ref().map(|tls| &tls.key))),
    key("limits.requests_per_second", "requests_per_second", |c| json!(c.limits.requests_per_second)),
    key("limits.joins_per_minute", "joins_per_minute", |c| json!(c.limits.joins_per_minute)),
    key("limits.failed_logins_per_minute", "failed_logins_per_minute", |c| {
        json!(c.limits.failed_logins_per_minute)
    }),
    key("limits.connections", "connections", |c| json!(c.limits.connections)),
    key("limits.message_bytes", "message_bytes", |c| json!(c.limits.message_bytes)),
    key("limits.messages_per_second", "messages_per_second", |c| json!(c.limits.messages_per_second)),
    key("limits.data_messages_per_second", "data_messages_per_second", |c| {
        json!(c.limits.data_messages_per_second)
    }),
    key("sessions.user", "session_user", |c| match &c.sessions.run_as {
        RunAs::One(user) => json!(user.name()),
        RunAs::Server | RunAs::Each(_) => Value::Null,
    }),
    key("sessions.users", "session_users", |c| match &c.sessions.run_as {
        RunAs::Each(range) => json!(range.to_string()),
        RunAs::Server | RunAs::One(_) => Value::Null,
    }),
    key("sessions.memory_mb", "session_memory_mb", |c| json!(c.sessions.limits.memory_mb)),
    key("sessions.processes", "session_processes", |c| json!(c.sessions.limits.processes)),
    key("sessions.cpu_weight", "session_cpu_weight", |c| json!(c.sessions.limits.cpu_weight)),
    key("sessions.isolation", "session_isolation", |c| json!(c.sessions.isolation)),
    key("sessions.network", "session_network", |c| json!(c.sessions.network)),
    key("sessions.expires_in_s", "session_expires_in_s", |c| json!(c.sessions.lifetime.expires_in_s)),
    key("sessions.idle_timeout_s", "session_idle_timeout_s", |c| json!(c.sessions.lifetime.idle_timeout_s)),
    key("sessions.on_idle", "session_on_idle", |c| json!(c.sessions.lifetime.on_idle.unwrap_or_default())),
    key("files.access", "files_access", |c| json!(c.files.access)),
    key("files.max_upload_mb", "files_max_upload_mb", |c| json!(c.files.max_upload_mb)),
    key("files.quota_mb", "files_quota_mb", |c| json!(c.files.quota_mb)),
    key("cluster.nats", "cluster_nats", |c| of_cluster(c, |cluster| json!(cluster.nats))),
    key("cluster.credentials_file", "cluster_credentials_file", |c| {
        of_cluster(c, |cluster| json!(cluster.credentials.file))
    }),
    key("cluster.user", "cluster_user", |c| {
        of_cluster(c, |cluster| json!(cluster.credentials.user.as_ref().map(|(user, _)| user)))
    }),
    key("cluster.password_file", "cluster_password_file", |c| {
        of_cluster(c, |cluster| json!(cluster.password_file))
    }),
    key("cluster.ca", "cluster_ca", |c| of_cluster(c, |cluster| json!(cluster.ca))),
    key("cluster.cert", "cluster_cert", |c| {
        of_cluster(c, |cluster| json!(cluster.credentials.cert.as_ref().map(|(cert, _)| cert)))
    }),
    key("cluster.cert_key", "cluster_cert_key", |c| {
        of_cluster(c, |cluster| json!(cluster.credentials.cert.as_ref().map(|(_, key)| key)))
    }),
    key("cluster.key", "cluster_key", |c| of_cluster(c, |_| json!(HIDDEN))),
    key("cluster.key_file", "cluster_key_file", |c| of_cluster(c, |cluster| json!(cluster.key_file))),
    key("cluster.name", "cluster_name", |c| of_cluster(c, |cluster| json!(cluster.name))),
    key("cluster.advertise", "cluster_advertise", |c| of_cluster(c, |cluster| json!(cluster.advertise))),
    key("cluster.public_url", "cluster_public_url", |c| of_cluster(c, |cluster| json!(cluster.public_url))),
    key("cluster.labels", "cluster_label", |c| of_cluster(c, |cluster| json!(cluster.labels))),
    key("cluster.max_cpu_percent", "cluster_max_cpu_percent", |c| {
        of_cluster(c, |cluster| json!(cluster.max_cpu_percent))
    }),
    key("cluster.max_memory_mb", "cluster_max_memory_mb", |c| {
        of_cluster(c, |cluster| json!(cluster.max_memory_mb))
    }),
    key("cluster.lease_s", "cluster_lease_s", |c| of_cluster(c, |cluster| json!(cluster.lease.as_secs()))),
    key("cluster.on_partition", "cluster_on_partition", |c| {
        of_cluster(c, |cluster| json!(cluster.on_partition))
    }),
    key("cluster.replicas", "cluster_replicas", |c| of_cluster(c, |cluster| json!(cluster.replicas))),
];

fn of_cluster(config: &Config, shown: fn(&Cluster) -> Value) -> Value {
    config.cluster.as_ref().map_or(Value::Null, shown)
}

fn ice_server(server: &IceServer) -> Value {
    let credential = server.credential.as_ref().map(|_| HIDDEN.to_owned());
    json!(IceServer { credential, ..server.clone() })
}

/// A stream without its secrets, which command lines and environments may hold as well as addresses.
fn stream(source: &SourceSpec) -> Value {
    let mut shown = source.redacted();
    match &mut shown {
        SourceSpec::Exec(spec) => spec.command = Command::Shell(HIDDEN.to_owned()),
        SourceSpec::Desktop(spec) => {
            spec.command = spec.command.as_ref().map(|_| Command::Shell(HIDDEN.to_owned()));
            for value in spec.env.values_mut() {
                HIDDEN.clone_into(value);
            }
        }
        SourceSpec::Test(_)
        | SourceSpec::Window(_)
        | SourceSpec::Rtsp(_)
        | SourceSpec::Ffmpeg(_)
        | SourceSpec::Moonlight(_)
        | SourceSpec::Publish(_) => {}
    }
    json!(shown)
}

/// Where the value of a setting comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// A flag of the command line, such as `--port`.
    Flag(String),
    /// A variable of the environment.
    Variable(String),
    /// The configuration file.
    File(PathBuf),
    /// The built-in default.
    Default,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Flag(flag) => f.write_str(flag),
            Origin::Variable(name) => f.write_str(name),
            Origin::File(path) => write!(f, "{}", path.display()),
            Origin::Default => f.write_str("default"),
        }
    }
}

/// Origin of each setting, by its path.
pub type Origins = BTreeMap<&'static str, Origin>;

/// Where settings come from: what flags and environment gave, and which paths the file has.
pub(super) fn origins(matches: &ArgMatches, in_file: Option<(&PathBuf, &BTreeSet<&'static str>)>) -> Origins {
    let command = Options::command();
    let origin = |key: &Key| {
        let arg = command.get_arguments().find(|arg| arg.get_id() == key.option);
        let arg = arg.expect("every setting has a flag; a test holds them together");
        match matches.value_source(key.option) {
            Some(ValueSource::CommandLine) => {
                Origin::Flag(format!("--{}", arg.get_long().unwrap_or_default()))
            }
            Some(ValueSource::EnvVariable) => {
                Origin::Variable(arg.get_env().unwrap_or_default().to_string_lossy().into_owned())
            }
            _ => match in_file {
                Some((path, given)) if given.contains(key.path) => Origin::File(path.clone()),
                _ => Origin::Default,
            },
        }
    };
    KEYS.iter().map(|key| (key.path, origin(key))).collect()
}

/// Which settings a file has.
pub(super) fn given(file: &Value) -> BTreeSet<&'static str> {
    let has = |key: &&Key| {
        let pointer = format!("/{}", key.path.replace('.', "/"));
        file.pointer(&pointer).is_some_and(|value| !value.is_null())
    };
    KEYS.iter().filter(has).map(|key| key.path).collect()
}

/// A configuration as YAML, with the origin of each value beside it.
pub fn print(config: &Config, origins: &Origins) -> String {
    let mut text = String::new();
    let mut section = "";
    for key in KEYS {
        let (indent, name) = match key.path.split_once('.') {
            Some((of, name)) => {
                if of != section {
                    text += &format!("{of}:\n");
                }
                section = of;
                ("  ", name)
            }
            None => ("", key.path),
        };
        // JSON is YAML too.
        let line = format!("{indent}{name}: {}", (key.shown)(config));
        let origin = origins.get(key.path).unwrap_or(&Origin::Default);
        text += &format!("{line:<46} # {origin}\n");
    }
    text
}

/// What is wrong with the names of variables: each that begins like ours and is none of them.
pub fn unknown_variables(names: impl Iterator<Item = String>) -> Vec<String> {
    let command = Options::command();
    let known: Vec<String> = command
        .get_arguments()
        .filter_map(|arg| Some(arg.get_env()?.to_string_lossy().into_owned()))
        .collect();
    let unknown = names.filter(|name| name.starts_with(PREFIX) && !known.contains(name));
    let warn = |name: String| match file::most_similar(&name, known.iter().map(String::as_str), PREFIX.len())
    {
        Some(meant) => format!("{name} is no variable that is known; did you mean {meant}?"),
        None => format!("{name} is no variable that is known"),
    };
    unknown.map(warn).collect()
}

/// How our variables begin.
const PREFIX: &str = "ORIEL_";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;
    use std::path::Path;

    fn document(name: &str) -> String {
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs").join(name)).unwrap()
    }

    /// The keys that a file may have, as serde tells them when it meets one that it does not know.
    fn keys_of_file() -> BTreeSet<String> {
        let known = |value: Value| -> Vec<String> {
            let message = file::File::from_value(value).unwrap_err().to_string();
            message.split('`').skip(3).step_by(2).map(str::to_owned).collect()
        };
        let mut keys = BTreeSet::new();
        for top in known(json!({"?": 0})) {
            let inner = match file::File::from_value(json!({ &top: {"?": 0} })) {
                // Names of streams are anybody's.
                Err(error) if top != "streams" && error.to_string().contains("unknown field `?`") => {
                    known(json!({ &top: {"?": 0} }))
                }
                _ => Vec::new(),
            };
            if inner.is_empty() {
                keys.insert(top);
            } else {
                keys.extend(inner.iter().map(|inner| format!("{top}.{inner}")));
            }
        }
        keys
    }

    #[test]
    fn every_setting_has_a_key_a_flag_and_a_variable() {
        let paths: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
        assert_eq!(paths, keys_of_file());
        let command = Options::command();
        let options: BTreeSet<_> =
            command.get_arguments().map(|arg| arg.get_id().as_str().to_owned()).collect();
        let ours: BTreeSet<_> = KEYS.iter().map(|key| key.option.to_owned()).collect();
        let other = BTreeSet::from(["config", "help", "version"].map(str::to_owned));
        assert_eq!(ours, &options - &other);
        for arg in command.get_arguments().filter(|arg| ours.contains(arg.get_id().as_str())) {
            assert!(arg.get_long().is_some(), "{arg:?}");
            assert!(arg.get_env().is_some_and(|name| name.to_string_lossy().starts_with(PREFIX)), "{arg:?}");
        }
    }

    #[test]
    fn the_example_names_every_setting() {
        let mut named = BTreeSet::new();
        let mut section = String::new();
        for line in document("oriel.example.yaml").lines() {
            // What is commented out is named too.
            let line =
                if line.trim_start().starts_with("# ") { line.replacen("# ", "", 1) } else { line.into() };
            let Some((name, _)) = line.split_once(':') else { continue };
            let key = name.trim_start();
            if key.is_empty() || !key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_') {
                continue;
            }
            if name.len() == key.len() {
                section = key.to_owned();
                named.insert(key.to_owned());
            } else {
                named.insert(format!("{section}.{key}"));
            }
        }
        let missing: Vec<_> = KEYS.iter().map(|key| key.path).filter(|path| !named.contains(*path)).collect();
        assert!(missing.is_empty(), "not in oriel.example.yaml: {missing:?}");
    }

    #[test]
    fn the_manual_names_every_setting_with_its_flag_and_variable_and_no_other() {
        let manual = document("CONFIG.md");
        let table = manual.lines().skip_while(|line| !line.starts_with("| file |")).skip(2);
        let rows = table.map_while(|line| line.strip_prefix("| `")?.split_once('`')).map(|(path, _)| path);
        let paths = KEYS.iter().map(|key| key.path);
        assert_eq!(
            rows.collect::<BTreeSet<_>>(),
            paths.collect::<BTreeSet<_>>(),
            "the table in docs/CONFIG.md"
        );
        let command = Options::command();
        for key in KEYS {
            let row = manual.lines().find(|line| line.starts_with(&format!("| `{}` |", key.path)));
            let row = row.unwrap_or_else(|| panic!("docs/CONFIG.md has no row for {}", key.path));
            let arg = command.get_arguments().find(|arg| arg.get_id() == key.option).unwrap();
            let flag = format!("`--{}`", arg.get_long().unwrap());
            let variable = format!("`{}`", arg.get_env().unwrap().to_string_lossy());
            assert!(row.contains(&flag) && row.contains(&variable), "{flag}, {variable}: {row}");
        }
    }

    #[test]
    fn a_variable_that_is_not_known_is_told_with_what_was_meant() {
        let names = ["ORIEL_MAX_PEER", "ORIEL_LOG", "PATH", "ORIEL_QUANTUM"].map(str::to_owned);
        let warnings = unknown_variables(names.into_iter());
        assert_eq!(warnings.len(), 2, "{warnings:?}");
        assert!(warnings[0].ends_with("did you mean ORIEL_MAX_PEERS?"), "{warnings:?}");
        assert!(!warnings[1].contains("mean"), "{warnings:?}");
    }

    #[test]
    fn what_is_printed_can_be_read_and_names_origins_but_no_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("a.yaml");
        let text = "ice_servers: [{urls: ['turn:t'], username: u, credential: hunter2}]\nmax_peers: 7\n\
                    streams: {a: 'rtsp://u:hunter2@h/x', b: 'ffmpeg:rtsp://u:hunter2@h/y#height=90'}";
        std::fs::write(&path, text).unwrap();
        let arguments = ["web-server", "--log", "debug"];
        let matches = Options::command().try_get_matches_from(arguments).unwrap();
        let file = file::File::read(&path).unwrap();
        let origins = origins(&matches, Some((&path, &file.given)));
        let options = Options::try_parse_from(arguments).unwrap();
        let config = Config::merge(options, file, None, Path::new("/opt/oriel/web-server")).unwrap();
        let printed = print(&config, &origins);
        assert!(!printed.contains("hunter2"), "{printed}");
        let origin = |key: &str| {
            let line = printed.lines().find(|line| line.trim_start().starts_with(&format!("{key}: ")));
            line.and_then(|line| line.rsplit_once("# ")).unwrap().1.to_owned()
        };
        assert_eq!((origin("log"), origin("listen")), ("--log".into(), "default".into()));
        assert_eq!(origin("max_peers"), path.display().to_string());
        std::fs::write(&path, &printed).unwrap();
        let again = file::File::read(&path).unwrap();
        let set = printed.lines().filter(|line| line.contains(" # ") && !line.contains(": null "));
        assert_eq!(again.given.len(), set.count(), "{printed}");
    }
}
