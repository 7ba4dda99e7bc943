//! Settings of access: secrets, allowed programs, host names, proxies and TLS.

use std::path::{Path, PathBuf};

use clap::Args;
use common::spec::{Home, InvalidField};
use serde::Deserialize;

use crate::auth::address::Network;
use crate::auth::secrets::Secrets;

/// Longest file with secrets, bytes.
const MAX_SECRETS_FILE: u64 = 64 * 1024;

/// Settings from flags and environment, completed from the file.
#[derive(Default, Args)]
#[group(skip)]
pub struct Options {
    /// Admin secret; better by its variable or --admin-secret-file, as everybody on this machine sees flags; separated by
    /// commas
    #[arg(
        long,
        env = "ORIEL_ADMIN_SECRET",
        value_name = "SECRET",
        value_delimiter = ',',
        hide_env_values = true
    )]
    pub admin_secret: Option<Vec<String>>,

    /// File with admin secrets, one a line
    #[arg(long, env = "ORIEL_ADMIN_SECRET_FILE", value_name = "FILE")]
    pub admin_secret_file: Option<PathBuf>,

    /// Program that admins may run by REST; repeatable [default: all]
    #[arg(long, env = "ORIEL_ALLOWED_COMMANDS", value_name = "PROGRAM", value_delimiter = ',')]
    pub allowed_command: Option<Vec<String>>,

    /// How URLs and files that admins name by REST must begin; repeatable [default: in any way]
    #[arg(long, env = "ORIEL_ALLOWED_INPUTS", value_name = "BEGINNING", value_delimiter = ',')]
    pub allowed_input: Option<Vec<String>>,

    /// Directory that may be `home` of a desktop, with all below it; repeatable [default: none]
    #[arg(long, env = "ORIEL_ALLOWED_HOMES", value_name = "DIRECTORY", value_delimiter = ',')]
    pub allowed_home: Option<Vec<PathBuf>>,

    /// Serve everything below this path, as a proxy in front passes it on: /oriel
    #[arg(long, env = "ORIEL_BASE_PATH", value_name = "PATH")]
    pub base_path: Option<String>,

    /// Name by which the server is reached, besides addresses and localhost; repeatable
    #[arg(long, env = "ORIEL_ALLOWED_HOSTS", value_name = "NAME", value_delimiter = ',')]
    pub allowed_host: Option<Vec<String>>,

    /// Origin of pages, besides our own, that may use the server, such as `https://app.example`; repeatable
    #[arg(long, env = "ORIEL_ALLOWED_ORIGINS", value_name = "ORIGIN", value_delimiter = ',')]
    pub allowed_origin: Option<Vec<String>>,

    /// Address or network of proxies whose X-Forwarded-For is believed; repeatable
    #[arg(long, env = "ORIEL_TRUSTED_PROXIES", value_name = "NETWORK", value_delimiter = ',')]
    pub trusted_proxy: Option<Vec<Network>>,

    /// Serve HTTPS with this certificate chain (PEM)
    #[arg(long, env = "ORIEL_TLS_CERT", value_name = "FILE")]
    pub tls_cert: Option<PathBuf>,

    /// Private key of the certificate (PEM)
    #[arg(long, env = "ORIEL_TLS_KEY", value_name = "FILE")]
    pub tls_key: Option<PathBuf>,
}

/// `auth:`.
#[derive(Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct AuthFile {
    /// Admin secrets.
    pub admin_secrets: Option<Vec<String>>,
    /// `--admin-secret-file`.
    pub admin_secrets_file: Option<PathBuf>,
    /// Programs that may be run by REST; absent: all.
    pub allowed_commands: Option<Vec<String>>,
    /// How inputs by REST, URLs and files, must begin; absent: in any way.
    pub allowed_inputs: Option<Vec<String>>,
    /// Directories that may be homes of desktops, with all below them; absent: none.
    pub allowed_homes: Option<Vec<PathBuf>>,
}

impl std::fmt::Debug for AuthFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("AuthFile")
            .field("admin_secrets", &self.admin_secrets.as_ref().map(Vec::len))
            .finish_non_exhaustive()
    }
}

/// `http:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HttpFile {
    /// `--base-path`.
    pub base_path: Option<String>,
    /// `--allowed-host`.
    pub allowed_hosts: Option<Vec<String>>,
    /// `--allowed-origin`.
    pub allowed_origins: Option<Vec<String>>,
    /// `--trusted-proxy`.
    pub trusted_proxies: Option<Vec<Network>>,
}

/// `tls:`.
#[derive(Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsFile {
    /// `--tls-cert`.
    pub cert: Option<PathBuf>,
    /// `--tls-key`.
    pub key: Option<PathBuf>,
}

/// All settings, with defaults and bounds applied.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Access {
    /// Admin secrets; without any, everybody on this machine is an admin.
    pub secrets: Secrets,
    /// File that more of them were read from.
    pub secrets_file: Option<PathBuf>,
    /// Prefix of every path: empty, or such as `/oriel`.
    pub base_path: String,
    /// Names by which the server is reached, in lower case.
    pub hosts: Vec<String>,
    /// Origins that may do what our own pages may.
    pub origins: Vec<String>,
    /// Proxies whose `X-Forwarded-For` is trusted.
    pub trusted_proxies: Vec<Network>,
    /// Certificate and key; `None`: plain HTTP.
    pub tls: Option<TlsFiles>,
    /// What REST may start.
    pub allowed: Allowed,
}

/// Where certificate and key are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// The chain, PEM.
    pub cert: PathBuf,
    /// Its private key, PEM.
    pub key: PathBuf,
}

/// What admins may start by REST.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Allowed {
    /// Programs; `None`: all.
    pub commands: Option<Vec<String>>,
    /// Beginnings of URLs and paths; `None`: all.
    pub inputs: Option<Vec<String>>,
    /// Directories that may be homes, with all below them.
    pub homes: Vec<PathBuf>,
}

/// Why the settings of access are refused.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Without a secret, others than this machine could reach the server.
    #[error(
        "refusing to listen on {0} without an admin secret, as others could reach it: set ORIEL_ADMIN_SECRET or \
         ORIEL_ADMIN_SECRET_FILE (`openssl rand -hex 32` makes a good one), or listen on a loopback address, for \
         example --listen 127.0.0.1:8080"
    )]
    Open(std::net::SocketAddr),
    /// The same, by a proxy.
    #[error(
        "{0} is for a server that others reach through a proxy, which must have an admin secret: set \
         ORIEL_ADMIN_SECRET or ORIEL_ADMIN_SECRET_FILE"
    )]
    Proxied(&'static str),
    /// A file cannot be read.
    #[error("{}: {error}", .path.display())]
    File {
        /// Path of the file.
        path: PathBuf,
        /// What the system says.
        error: std::io::Error,
    },
    /// A value is invalid.
    #[error("{0}")]
    Invalid(#[from] InvalidField),
}

impl std::fmt::Debug for Options {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Options").field("base_path", &self.base_path).finish_non_exhaustive()
    }
}

impl Options {
    /// These settings; absent ones are taken from the file.
    pub(super) fn over(self, auth: AuthFile, http: HttpFile, tls: TlsFile) -> Self {
        // One place that names secrets goes before another, whichever of the two ways it names them by.
        let named = self.admin_secret.is_some() || self.admin_secret_file.is_some();
        Self {
            admin_secret: self.admin_secret.or(auth.admin_secrets.filter(|_| !named)),
            admin_secret_file: self.admin_secret_file.or(auth.admin_secrets_file.filter(|_| !named)),
            allowed_command: self.allowed_command.or(auth.allowed_commands),
            allowed_input: self.allowed_input.or(auth.allowed_inputs),
            allowed_home: self.allowed_home.or(auth.allowed_homes),
            base_path: self.base_path.or(http.base_path),
            allowed_host: self.allowed_host.or(http.allowed_hosts),
            allowed_origin: self.allowed_origin.or(http.allowed_origins),
            trusted_proxy: self.trusted_proxy.or(http.trusted_proxies),
            tls_cert: self.tls_cert.or(tls.cert),
            tls_key: self.tls_key.or(tls.key),
        }
    }
}

fn homes(paths: Vec<PathBuf>) -> Result<Vec<PathBuf>, InvalidField> {
    for path in &paths {
        Home::Path(path.clone())
            .validate()
            .map_err(|error| InvalidField::new("auth.allowed_homes", error.message))?;
    }
    Ok(paths)
}

impl Access {
    /// The settings of this section, with defaults and bounds applied.
    ///
    /// # Errors
    /// A value is invalid, or the settings are not safe on `listen`.
    pub fn decide(
        options: Options,
        mut listen: impl Iterator<Item = std::net::SocketAddr>,
    ) -> Result<Self, AccessError> {
        let mut secrets = options.admin_secret.unwrap_or_default();
        if let Some(path) = options.admin_secret_file.clone() {
            secrets.extend(read_secrets(&path).map_err(|error| AccessError::File { path, error })?);
        }
        let secrets = Secrets::new(secrets)
            .map_err(|unfit| InvalidField::new("auth.admin_secrets", unfit.to_string()))?;
        let access = Self {
            secrets,
            secrets_file: options.admin_secret_file,
            base_path: base_path(options.base_path.unwrap_or_default())?,
            hosts: hosts(options.allowed_host.unwrap_or_default())?,
            origins: origins(options.allowed_origin.unwrap_or_default())?,
            trusted_proxies: options.trusted_proxy.unwrap_or_default(),
            tls: tls_files(options.tls_cert, options.tls_key)?,
            allowed: Allowed {
                commands: options.allowed_command,
                inputs: options.allowed_input,
                homes: homes(options.allowed_home.unwrap_or_default())?,
            },
        };
        access.check(listen.find(|address| !address.ip().is_loopback()))?;
        Ok(access)
    }

    /// `public`: an address at which others can reach the server.
    fn check(&self, public: Option<std::net::SocketAddr>) -> Result<(), AccessError> {
        if !self.secrets.is_empty() {
            return Ok(());
        }
        let proxied = [
            ("http.base_path", !self.base_path.is_empty()),
            ("http.allowed_hosts", !self.hosts.is_empty()),
            ("http.trusted_proxies", !self.trusted_proxies.is_empty()),
        ];
        match (public, proxied.into_iter().find(|(_, set)| *set)) {
            (Some(public), _) => Err(AccessError::Open(public)),
            (None, Some((key, _))) => Err(AccessError::Proxied(key)),
            (None, None) => Ok(()),
        }
    }
}

fn read_secrets(path: &Path) -> std::io::Result<Vec<String>> {
    if std::fs::metadata(path)?.len() > MAX_SECRETS_FILE {
        return Err(std::io::Error::other(format!("has more than {MAX_SECRETS_FILE} bytes")));
    }
    let text = std::fs::read_to_string(path)?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    match lines.map(str::to_owned).collect::<Vec<_>>() {
        // Whoever names a file wants the server locked.
        none if none.is_empty() => Err(std::io::Error::other("holds no secret")),
        secrets => Ok(secrets),
    }
}

fn base_path(text: String) -> Result<String, InvalidField> {
    let path = text.trim_matches('/');
    let segment = |segment: &str| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
        !segment.is_empty() && segment != "." && segment != ".." && segment.bytes().all(allowed)
    };
    match path {
        "" => Ok(String::new()),
        path if path.split('/').all(segment) => Ok(format!("/{path}")),
        _ => Err(InvalidField::new("http.base_path", format!("must be a path like /oriel, not {text:?}"))),
    }
}

fn hosts(names: Vec<String>) -> Result<Vec<String>, InvalidField> {
    let host = |name: String| {
        let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-.".contains(&byte);
        if !name.is_empty() && name.bytes().all(allowed) {
            return Ok(name.to_ascii_lowercase());
        }
        let message = format!("must be names without scheme and port, as in oriel.example, not {name:?}");
        Err(InvalidField::new("http.allowed_hosts", message))
    };
    names.into_iter().map(host).collect()
}

fn origins(origins: Vec<String>) -> Result<Vec<String>, InvalidField> {
    let origin = |origin: String| {
        let origin = origin.to_ascii_lowercase();
        let authority = origin.strip_prefix("http://").or_else(|| origin.strip_prefix("https://"));
        match authority {
            Some(authority) if !authority.is_empty() && !authority.contains(['/', '@', '*', ' ']) => {
                Ok(origin)
            }
            _ => {
                let message =
                    format!("must be like https://app.example:8443, without a path, not {origin:?}");
                Err(InvalidField::new("http.allowed_origins", message))
            }
        }
    };
    origins.into_iter().map(origin).collect()
}

fn tls_files(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<TlsFiles>, InvalidField> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Ok(Some(TlsFiles { cert, key })),
        (Some(_), None) => Err(InvalidField::new("tls.key", "is needed beside tls.cert")),
        (None, Some(_)) => Err(InvalidField::new("tls.cert", "is needed beside tls.key")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &str = "a-secret-of-enough-length";

    fn merge(options: Options, http: HttpFile, listen: &str) -> Result<Access, AccessError> {
        let options = options.over(AuthFile::default(), http, TlsFile::default());
        Access::decide(options, std::iter::once(listen.parse().expect("an address")))
    }

    fn secret() -> Options {
        Options { admin_secret: Some(vec![SECRET.into()]), ..Options::default() }
    }

    #[test]
    fn what_others_can_reach_needs_a_secret_and_the_refusal_says_how() {
        for listen in ["0.0.0.0:80", "[::]:80", "10.0.0.1:80"] {
            let error = merge(Options::default(), HttpFile::default(), listen).unwrap_err();
            assert!(matches!(error, AccessError::Open(_)), "{error}");
            assert!(error.to_string().contains("ORIEL_ADMIN_SECRET"), "{error}");
            assert!(merge(secret(), HttpFile::default(), listen).is_ok());
        }
        assert!(merge(Options::default(), HttpFile::default(), "[::1]:80").unwrap().secrets.is_empty());
        for http in [
            HttpFile { base_path: Some("/x".into()), ..HttpFile::default() },
            HttpFile { allowed_hosts: Some(vec!["a.example".into()]), ..HttpFile::default() },
            HttpFile { trusted_proxies: Some(vec!["127.0.0.1".parse().unwrap()]), ..HttpFile::default() },
        ] {
            let error = merge(Options::default(), http, "127.0.0.1:80").unwrap_err();
            assert!(matches!(error, AccessError::Proxied(_)), "{error}");
        }
    }

    #[test]
    fn secrets_come_from_a_file_with_comments_and_never_from_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("secrets");
        let from = |text: &str| {
            std::fs::write(&path, text).unwrap();
            let options = Options { admin_secret_file: Some(path.clone()), ..Options::default() };
            merge(options, HttpFile::default(), "0.0.0.0:80")
        };
        let access = from(&format!("# ours\n\n  {SECRET}  \nanother-secret-of-length\n")).unwrap();
        assert!(access.secrets.contain(SECRET) && access.secrets.contain("another-secret-of-length"));
        assert!(from("# nothing\n").unwrap_err().to_string().contains("no secret"));
        let error = from("shorty\n").unwrap_err().to_string();
        assert!(error.contains("16") && !error.contains("shorty"), "{error}");
    }

    #[test]
    fn values_are_checked_and_made_alike() {
        for (given, expected) in [("", ""), ("/", ""), ("oriel", "/oriel"), ("/a/b/", "/a/b")] {
            assert_eq!(base_path(given.into()).unwrap(), expected);
        }
        for wrong in ["/a//b", "/a/../b", "/{id}", "/a b", "https://x"] {
            assert!(base_path(wrong.into()).is_err(), "{wrong}");
        }
        assert_eq!(hosts(vec!["Oriel.Example".into()]).unwrap(), ["oriel.example"]);
        assert_eq!(origins(vec!["https://A.example:1".into()]).unwrap(), ["https://a.example:1"]);
        for wrong in ["a.example:80", "https://a.example", "", "*"] {
            assert!(hosts(vec![wrong.into()]).is_err(), "{wrong}");
        }
        for wrong in ["a.example", "https://", "https://a.example/", "*", "https://*"] {
            assert!(origins(vec![wrong.into()]).is_err(), "{wrong}");
        }
        assert!(tls_files(Some("c".into()), None).is_err() && tls_files(None, Some("k".into())).is_err());
    }
}
