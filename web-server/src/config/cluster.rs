//! Settings of a cluster: NATS, this node, and the key that all nodes share.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use common::cluster::{Labels, check_labels, check_node_name};
use common::spec::InvalidField;
use serde::{Deserialize, Serialize};

use super::{Secret, secrets};

/// Shorter ones would lose nodes to a busy machine; with longer ones nobody would learn that a node is lost.
const LEASE_S: std::ops::RangeInclusive<u32> = 2..=60;
const DEFAULT_LEASE_S: u32 = 6;
/// Shorter ones could be guessed.
const MIN_KEY: usize = 32;
/// Most copies of the buckets; with two, NATS would need both.
const REPLICAS: [u8; 3] = [1, 3, 5];

/// Settings from flags and environment, completed from the file.
#[derive(Default, Args)]
#[group(skip)]
pub struct Options {
    /// URL of a NATS server with JetStream: makes this server a node of a cluster; repeatable
    #[arg(
        long,
        visible_alias = "nats",
        env = "ORIEL_CLUSTER_NATS",
        value_name = "URL",
        value_delimiter = ','
    )]
    pub cluster_nats: Option<Vec<String>>,

    /// Credentials of NATS, as `nsc` makes them
    #[arg(long, env = "ORIEL_CLUSTER_CREDENTIALS_FILE", value_name = "FILE")]
    pub cluster_credentials_file: Option<PathBuf>,

    /// User of NATS
    #[arg(long, env = "ORIEL_CLUSTER_USER", value_name = "NAME")]
    pub cluster_user: Option<String>,

    /// File with the user's password
    #[arg(long, env = "ORIEL_CLUSTER_PASSWORD_FILE", value_name = "FILE")]
    pub cluster_password_file: Option<PathBuf>,

    /// Certificates (PEM) by which NATS and other nodes are trusted, besides those of the system
    #[arg(long, env = "ORIEL_CLUSTER_CA", value_name = "FILE")]
    pub cluster_ca: Option<PathBuf>,

    /// Certificate (PEM) that NATS knows this node by
    #[arg(long, env = "ORIEL_CLUSTER_CERT", value_name = "FILE")]
    pub cluster_cert: Option<PathBuf>,

    /// Private key (PEM) of that certificate
    #[arg(long, env = "ORIEL_CLUSTER_CERT_KEY", value_name = "FILE")]
    pub cluster_cert_key: Option<PathBuf>,

    /// Key that all nodes share, at least 32 characters; better by --cluster-key-file, as everybody on this machine sees flags
    #[arg(long, env = "ORIEL_CLUSTER_KEY", value_name = "KEY", hide_env_values = true)]
    pub cluster_key: Option<String>,

    /// File with that key
    #[arg(long, env = "ORIEL_CLUSTER_KEY_FILE", value_name = "FILE")]
    pub cluster_key_file: Option<PathBuf>,

    /// Name of this node [default: the host's]
    #[arg(long, env = "ORIEL_CLUSTER_NAME", value_name = "NAME")]
    pub cluster_name: Option<String>,

    /// URL at which other nodes reach this one, with the base path if there is one
    #[arg(long, env = "ORIEL_CLUSTER_ADVERTISE", value_name = "URL")]
    pub cluster_advertise: Option<String>,

    /// URL at which browsers reach this node, with the base path if there is one: pages whose node dies go on at another one
    #[arg(long, env = "ORIEL_CLUSTER_PUBLIC_URL", value_name = "URL")]
    pub cluster_public_url: Option<String>,

    /// Label of this node, which streamers can ask for; repeatable
    #[arg(long, env = "ORIEL_CLUSTER_LABELS", value_name = "NAME=VALUE", value_delimiter = ',',
          value_parser = parse_label)]
    pub cluster_label: Option<Vec<(String, String)>>,

    /// This node takes no streamers while so many processors of its machine are busy, percent of one: 150 is one and a half; --max-streamers
    /// bounds their number [default: no bound]
    #[arg(long, env = "ORIEL_CLUSTER_MAX_CPU_PERCENT", value_name = "PERCENT")]
    pub cluster_max_cpu_percent: Option<u32>,

    /// This node takes no streamers while so much memory of its machine is in use, MiB [default: no bound]
    #[arg(long, env = "ORIEL_CLUSTER_MAX_MEMORY_MB", value_name = "MIB")]
    pub cluster_max_memory_mb: Option<u32>,

    /// A node that was not heard of for so long is lost, seconds, 2..=60 [default: 6]
    #[arg(long, env = "ORIEL_CLUSTER_LEASE_S", value_name = "SECONDS")]
    pub cluster_lease_s: Option<u32>,

    /// What becomes of streamers that other nodes may have started, as this one could not reach NATS for longer than its lease:
    /// they go on until it can (keep), or are stopped until then (stop) [default: keep]
    #[arg(long, env = "ORIEL_CLUSTER_ON_PARTITION", value_name = "keep|stop")]
    pub cluster_on_partition: Option<OnPartition>,

    /// Copies of the buckets that NATS keeps, 1, 3 or 5, when this node makes them [default: 1]
    #[arg(long, env = "ORIEL_CLUSTER_REPLICAS", value_name = "N")]
    pub cluster_replicas: Option<u8>,
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { cluster_nats, cluster_name, cluster_advertise, .. } = self;
        let mut shown = f.debug_struct("Options");
        shown.field("cluster_nats", cluster_nats).field("cluster_name", cluster_name);
        shown.field("cluster_advertise", cluster_advertise).finish_non_exhaustive()
    }
}

/// `cluster:`.
#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct File {
    /// `--cluster-nats`.
    pub nats: Option<Vec<String>>,
    /// `--cluster-credentials-file`.
    pub credentials_file: Option<PathBuf>,
    /// `--cluster-user`.
    pub user: Option<String>,
    /// `--cluster-password-file`.
    pub password_file: Option<PathBuf>,
    /// `--cluster-ca`.
    pub ca: Option<PathBuf>,
    /// `--cluster-cert`.
    pub cert: Option<PathBuf>,
    /// `--cluster-cert-key`.
    pub cert_key: Option<PathBuf>,
    /// `--cluster-key`.
    pub key: Option<String>,
    /// `--cluster-key-file`.
    pub key_file: Option<PathBuf>,
    /// `--cluster-name`.
    pub name: Option<String>,
    /// `--cluster-advertise`.
    pub advertise: Option<String>,
    /// `--cluster-public-url`.
    pub public_url: Option<String>,
    /// `--cluster-label`.
    pub labels: Option<Labels>,
    /// `--cluster-max-cpu-percent`.
    pub max_cpu_percent: Option<u32>,
    /// `--cluster-max-memory-mb`.
    pub max_memory_mb: Option<u32>,
    /// `--cluster-lease-s`.
    pub lease_s: Option<u32>,
    /// `--cluster-on-partition`.
    pub on_partition: Option<OnPartition>,
    /// `--cluster-replicas`.
    pub replicas: Option<u8>,
}

impl std::fmt::Debug for File {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { nats, name, advertise, .. } = self;
        let mut shown = f.debug_struct("File");
        shown.field("nats", nats).field("name", name).field("advertise", advertise).finish_non_exhaustive()
    }
}

/// How NATS is told who we are.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Credentials {
    /// File of `nsc`.
    pub file: Option<PathBuf>,
    /// User and password.
    pub user: Option<(String, Secret)>,
    /// Certificate and key for TLS.
    pub cert: Option<(PathBuf, PathBuf)>,
}

/// All settings of a node, with defaults and bounds applied.
#[derive(Debug, Clone, PartialEq)]
pub struct Cluster {
    /// URLs of NATS.
    pub nats: Vec<String>,
    /// Who we are there.
    pub credentials: Credentials,
    /// Where the password was read from.
    pub password_file: Option<PathBuf>,
    /// Certificates that are trusted besides the system's.
    pub ca: Option<PathBuf>,
    /// The key that all nodes share.
    pub key: Secret,
    /// Where it was read from.
    pub key_file: Option<PathBuf>,
    /// Name of this node.
    pub name: String,
    /// URL of this node, without a `/` at its end.
    pub advertise: String,
    /// URL at which browsers reach this node, without a `/` at its end.
    pub public_url: Option<String>,
    /// Labels of this node.
    pub labels: Labels,
    /// It takes no streamers while so many processors are busy, percent of one.
    pub max_cpu_percent: Option<u32>,
    /// It takes no streamers while so much memory is in use, MiB.
    pub max_memory_mb: Option<u32>,
    /// A node that was not heard of for so long is lost.
    pub lease: Duration,
    /// What becomes of streamers that may have been started elsewhere.
    pub on_partition: OnPartition,
    /// Copies of the buckets.
    pub replicas: u8,
}

/// What a node that could not reach NATS for longer than its lease does with streamers that other nodes may have started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "snake_case")]
pub enum OnPartition {
    /// They go on, and end when it learns that another node has them.
    #[default]
    Keep,
    /// They are stopped, and go on when it learns that no other node has them.
    Stop,
}

impl Options {
    /// These settings; absent ones are taken from the file.
    pub fn over(self, file: File) -> Self {
        let listed = |labels: Labels| labels.into_iter().collect();
        let (cluster_key, cluster_key_file) =
            secrets::over((self.cluster_key, self.cluster_key_file), (file.key, file.key_file));
        Self {
            cluster_nats: self.cluster_nats.or(file.nats),
            cluster_credentials_file: self.cluster_credentials_file.or(file.credentials_file),
            cluster_user: self.cluster_user.or(file.user),
            cluster_password_file: self.cluster_password_file.or(file.password_file),
            cluster_ca: self.cluster_ca.or(file.ca),
            cluster_cert: self.cluster_cert.or(file.cert),
            cluster_cert_key: self.cluster_cert_key.or(file.cert_key),
            cluster_key,
            cluster_key_file,
            cluster_name: self.cluster_name.or(file.name),
            cluster_advertise: self.cluster_advertise.or(file.advertise),
            cluster_public_url: self.cluster_public_url.or(file.public_url),
            cluster_label: self.cluster_label.or(file.labels.map(listed)),
            cluster_max_cpu_percent: self.cluster_max_cpu_percent.or(file.max_cpu_percent),
            cluster_max_memory_mb: self.cluster_max_memory_mb.or(file.max_memory_mb),
            cluster_lease_s: self.cluster_lease_s.or(file.lease_s),
            cluster_on_partition: self.cluster_on_partition.or(file.on_partition),
            cluster_replicas: self.cluster_replicas.or(file.replicas),
        }
    }
}

impl Cluster {
    /// The settings of a node; `None` without NATS.
    ///
    /// # Errors
    /// The first rule that is broken.
    pub fn decide(options: Options) -> Result<Option<Self>, InvalidField> {
        let invalid = |field, message: String| Err(InvalidField::new(field, message));
        let nats = options.cluster_nats.unwrap_or_default();
        let nats: Vec<String> = nats.into_iter().filter(|url| !url.is_empty()).collect();
        if nats.is_empty() {
            return Ok(None);
        }
        for url in &nats {
            let known = url.starts_with("nats://") || url.starts_with("tls://");
            if !known || url.contains('@') || url.parse::<async_nats::ServerAddr>().is_err() {
                let message = "must be nats://HOST:PORT or tls://HOST:PORT, without a password, which \
                               cluster.password_file names";
                return invalid("cluster.nats", message.into());
            }
        }
        let key = secrets::given_or_read(
            ["cluster.key", "cluster.key_file"],
            options.cluster_key,
            options.cluster_key_file.as_deref(),
        )?;
        let Some(key) = key else {
            return invalid("cluster.key", "is needed with cluster.nats, or cluster.key_file".into());
        };
        if key.len() < MIN_KEY {
            let message = format!(
                "must have at least {MIN_KEY} characters, the same at all nodes; openssl rand -hex 32 makes one"
            );
            return invalid("cluster.key", message);
        }
        let name = match options.cluster_name {
            Some(name) => name,
            None => rustix::system::uname().nodename().to_string_lossy().into_owned(),
        };
        if let Err(message) = check_node_name(&name) {
            return invalid("cluster.name", message);
        }
        let Some(advertise) = options.cluster_advertise else {
            let message = "is needed with cluster.nats: the URL at which other nodes reach this one";
            return invalid("cluster.advertise", message.into());
        };
        let advertise = advertise.trim_end_matches('/').to_owned();
        if let Err(message) = check_url(&advertise) {
            return invalid("cluster.advertise", message);
        }
        let public_url = options.cluster_public_url.map(|url| url.trim_end_matches('/').to_owned());
        if let Some(Err(message)) = public_url.as_deref().map(check_url) {
            return invalid("cluster.public_url", message);
        }
        let labels: Labels = options.cluster_label.unwrap_or_default().into_iter().collect();
        if let Err(message) = check_labels(&labels) {
            return invalid("cluster.labels", message);
        }
        for (field, most) in [
            ("cluster.max_cpu_percent", options.cluster_max_cpu_percent),
            ("cluster.max_memory_mb", options.cluster_max_memory_mb),
        ] {
            if most == Some(0) {
                return invalid(field, "must be at least 1; a node that takes nothing is drained".into());
            }
        }
        let lease_s = options.cluster_lease_s.unwrap_or(DEFAULT_LEASE_S);
        if !LEASE_S.contains(&lease_s) {
            let message = format!("must be from {} to {}, not {lease_s}", LEASE_S.start(), LEASE_S.end());
            return invalid("cluster.lease_s", message);
        }
        let replicas = options.cluster_replicas.unwrap_or(1);
        if !REPLICAS.contains(&replicas) {
            return invalid("cluster.replicas", format!("must be 1, 3 or 5, not {replicas}"));
        }
        let user = match (options.cluster_user, &options.cluster_password_file) {
            (Some(user), Some(path)) => {
                Some((user, Secret::new(secrets::read("cluster.password_file", path)?)))
            }
            (None, None) => None,
            (Some(_), None) => return invalid("cluster.password_file", "is needed with cluster.user".into()),
            (None, Some(_)) => return invalid("cluster.user", "is needed with cluster.password_file".into()),
        };
        let cert = match (options.cluster_cert, options.cluster_cert_key) {
            (Some(cert), Some(key)) => Some((cert, key)),
            (None, None) => None,
            (Some(_), None) => return invalid("cluster.cert_key", "is needed with cluster.cert".into()),
            (None, Some(_)) => return invalid("cluster.cert", "is needed with cluster.cert_key".into()),
        };
        let credentials = Credentials { file: options.cluster_credentials_file, user, cert };
        Ok(Some(Self {
            nats,
            credentials,
            password_file: options.cluster_password_file,
            ca: options.cluster_ca,
            key: Secret::new(key),
            key_file: options.cluster_key_file,
            name,
            advertise,
            public_url,
            labels,
            max_cpu_percent: options.cluster_max_cpu_percent,
            max_memory_mb: options.cluster_max_memory_mb,
            lease: Duration::from_secs(lease_s.into()),
            on_partition: options.cluster_on_partition.unwrap_or_default(),
            replicas,
        }))
    }
}

impl Cluster {
    /// Files that no session may read.
    pub fn secret_files(&self) -> impl Iterator<Item = &PathBuf> {
        let cert_key = self.credentials.cert.as_ref().map(|(_, key)| key);
        [self.key_file.as_ref(), self.password_file.as_ref(), self.credentials.file.as_ref(), cert_key]
            .into_iter()
            .flatten()
    }
}

/// Checks the URL of a node's HTTP: scheme, authority, perhaps a base path, and no more.
///
/// # Errors
/// What is wrong with it, for people.
pub fn check_url(url: &str) -> Result<(), String> {
    let uri: hyper::Uri = url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?;
    let http = matches!(uri.scheme_str(), Some("http" | "https"));
    // No more than a name or an address, and a port: it stands in headers of pages, where a `;` would begin something else.
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    let plain = uri.authority().is_some_and(|authority| authority.as_str().bytes().all(is_plain));
    match http && plain && uri.query().is_none() && !url.contains('#') {
        true => Ok(()),
        false => {
            Err(format!("{url:?} must be http:// or https:// with a host, such as http://10.0.0.7:8080"))
        }
    }
}

fn parse_label(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("must be NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    const KEY: &str = "a-key-of-the-cluster-that-is-long-enough";

    fn decide(args: &[&str]) -> Result<Option<Cluster>, InvalidField> {
        let args = std::iter::once("web-server").chain(args.iter().copied());
        Cluster::decide(super::super::Options::try_parse_from(args).unwrap().cluster)
    }

    fn node(more: &[&str]) -> Result<Option<Cluster>, InvalidField> {
        let args = ["--cluster-nats", "nats://h:4222", "--cluster-key", KEY, "--cluster-name", "a"];
        let args = [&args[..], &["--cluster-advertise", "http://10.0.0.1:8080/"], more].concat();
        decide(&args)
    }

    #[test]
    fn without_nats_there_is_no_cluster() {
        assert_eq!(decide(&[]), Ok(None));
        assert_eq!(decide(&["--cluster-name", "a", "--cluster-lease-s", "6"]), Ok(None));
    }

    #[test]
    fn a_node_has_a_key_a_name_and_a_url() {
        let cluster = node(&["--cluster-label", "gpu=yes,zone=b"]).unwrap().unwrap();
        assert_eq!((cluster.name.as_str(), cluster.advertise.as_str()), ("a", "http://10.0.0.1:8080"));
        assert_eq!((cluster.lease, cluster.replicas, cluster.labels.len()), (Duration::from_secs(6), 1, 2));
        assert_eq!(cluster.on_partition, OnPartition::Keep);
        let stop = node(&["--cluster-on-partition", "stop"]).unwrap().unwrap();
        assert_eq!(stop.on_partition, OnPartition::Stop);
        assert!(!format!("{cluster:?}").contains(KEY));
        for (args, field) in [
            (&["--cluster-nats", "nats://h"][..], "cluster.key"),
            (&["--cluster-nats", "nats://h", "--cluster-key", "short"], "cluster.key"),
            (
                &["--cluster-nats", "nats://h", "--cluster-key", KEY, "--cluster-name", "a"],
                "cluster.advertise",
            ),
            (&["--cluster-nats", "http://h", "--cluster-key", KEY], "cluster.nats"),
            (&["--cluster-nats", "nats://u:p@h", "--cluster-key", KEY], "cluster.nats"),
            (&["--cluster-nats", "nats://h", "--cluster-key-file", "/none/such"], "cluster.key_file"),
        ] {
            assert_eq!(decide(args).unwrap_err().field, field, "{args:?}");
        }
        for (more, field) in [
            (&["--cluster-lease-s", "1"][..], "cluster.lease_s"),
            (&["--cluster-max-cpu-percent", "0"][..], "cluster.max_cpu_percent"),
            (&["--cluster-max-memory-mb", "0"][..], "cluster.max_memory_mb"),
            (&["--cluster-replicas", "2"], "cluster.replicas"),
            (&["--cluster-public-url", "https://a;b"], "cluster.public_url"),
            (&["--cluster-label", "a b=c"], "cluster.labels"),
            (&["--cluster-user", "u"], "cluster.password_file"),
            (&["--cluster-cert", "c"], "cluster.cert_key"),
            (&["--cluster-key-file", "k"], "cluster.key"),
        ] {
            assert_eq!(node(more).unwrap_err().field, field, "{more:?}");
        }
    }

    #[test]
    fn a_node_is_advertised_by_a_plain_url() {
        for good in ["http://10.0.0.7:8080", "https://node-1.example/oriel", "http://[::1]:80"] {
            assert_eq!(check_url(good), Ok(()), "{good}");
        }
        for bad in [
            "",
            "10.0.0.7:8080",
            "ftp://x",
            "http://",
            "http://u:p@x",
            "http://x;y",
            "http://x/?a",
            "http://x/#a",
            "/x",
        ] {
            assert!(check_url(bad).is_err(), "{bad}");
        }
    }
}
